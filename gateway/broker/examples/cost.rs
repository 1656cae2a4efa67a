//! What one publish costs inside the broker, by scenario: `cargo run --release --example cost`.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)] // a measurement reads the real clock

use std::time::{Duration, Instant as Clock};

use bytes::Bytes;
use motegate_broker::*;
use motegate_message::*;
use motegate_timers::Instant;

fn turn(durable: bool) -> Turn {
    Turn { durable, ..Turn::new(Instant::from_secs(1), Wall::from_millis(1)) }
}

struct Bench {
    broker: Broker,
    turn: Turn,
}

impl Bench {
    fn new(durable: bool) -> Self {
        Bench { broker: Broker::new(Config::default()), turn: turn(durable) }
    }

    fn drain(&mut self) -> (usize, Option<SessionId>, Vec<(SessionId, DeliveryId)>) {
        let (mut delivered, mut opened, mut acks) = (0, None, Vec::new());
        while let Some(effect) = self.broker.poll_effect() {
            match effect {
                Effect::Opened { session, .. } => opened = Some(session),
                Effect::Deliver { session, delivery, .. } => {
                    delivered += 1;
                    if delivery.qos != Qos::AtMostOnce {
                        acks.push((session, delivery.id));
                    }
                }
                _ => {}
            }
        }
        while self.broker.poll_record().is_some() {}
        (delivered, opened, acks)
    }

    fn client(&mut self, name: &str, filters: &[String]) -> SessionId {
        let open = Open {
            ticket: 0,
            key: Some(SessionKey::new("r", name)),
            handle: Handle(1),
            clean: false,
            expiry: Duration::from_secs(u64::from(self.turn.durable) * 1_000),
            will: WillChange::Set(None),
            window: 128,
            room: u32::MAX,
            queue: QueuePolicy {
                max_messages: 1_000,
                max_bytes: 1_000_000,
                overflow: Overflow::DropOldest,
                queue_qos0: false,
                max_payload: u16::MAX,
            },
        };
        self.broker.handle(&self.turn, Request::Open(open));
        let session = self.drain().1.unwrap();
        let filters = filters
            .iter()
            .map(|filter| Subscribe {
                filter: SubscriptionFilter::new(filter).unwrap(),
                qos: Qos::ExactlyOnce,
                no_local: false,
                retain_as_published: false,
                retain_handling: RetainHandling::Always,
                identifier: None,
                spares_dollar: false,
                by_rule: false,
                hears_expiry: false,
            })
            .collect();
        self.broker
            .handle(&self.turn, Request::Subscribe { ticket: 0, session, filters, most: None });
        self.drain();
        session
    }

    fn run(&mut self, what: &str, qos: Qos, topics: &[String]) {
        let topics: Vec<TopicName> = topics.iter().map(|t| TopicName::new(t).unwrap()).collect();
        let payload = Bytes::from(vec![7; 64]);
        let start = Clock::now();
        let (mut published, mut delivered) = (0_u32, 0);
        while start.elapsed() < Duration::from_millis(500) {
            for topic in &topics {
                let mut message = Message::new(topic.clone(), payload.clone());
                message.qos = qos;
                let publish = Request::Publish { ticket: 0, message, precondition: None };
                self.broker.handle(&self.turn, publish);
                published += 1;
                let (count, _, acks) = self.drain();
                delivered += count;
                for (session, delivery) in acks {
                    self.broker.handle(&self.turn, Request::Ack { session, delivery });
                }
            }
        }
        let each = start.elapsed() / published;
        println!("{what}: {each:?} a publish, {delivered} of {published} delivered");
    }
}

fn main() {
    let filters = |n: usize| -> Vec<String> {
        (0..n).map(|i| format!("site/device{i}/+/temperature")).collect()
    };
    let topics: Vec<String> = (0..100).map(|i| format!("site/device{i}/a/temperature")).collect();
    for qos in [Qos::AtMostOnce, Qos::AtLeastOnce] {
        let mut b = Bench::new(false);
        b.client("one", &["a/b".into()]);
        b.run(&format!("pair, {qos:?}"), qos, &["a/b".into()]);
    }
    let mut b = Bench::new(true);
    b.client("one", &["a/b".into()]);
    b.run("pair, durable", Qos::AtLeastOnce, &["a/b".into()]);
    for n in [1_000, 100_000] {
        let mut b = Bench::new(false);
        b.client("one", &filters(n));
        b.run(&format!("{n} filters"), Qos::AtMostOnce, &topics);
    }
    let mut b = Bench::new(false);
    for i in 0..500 {
        b.client(&format!("{i}"), &["a/b".into()]);
    }
    b.run("fan-out to 500", Qos::AtMostOnce, &["a/b".into()]);
    println!("an effect: {} bytes", size_of::<Effect>());
}
