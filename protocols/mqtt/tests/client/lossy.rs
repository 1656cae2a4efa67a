//! A publisher and a subscriber against the real endpoint, over connections that are cut at any
//! byte, with a server that crashes: each publish has one outcome, nothing that was acknowledged
//! is lost, QoS 2 comes once, order holds.

use std::collections::HashMap;
use std::time::Duration;

use motegate_message::{ConnectionId, Qos};
use motegate_mqtt::client::{
    AckHandle, Client, ClientConfig, Event, Filter, Publish, PublishError, Reconnect, Transmit,
};
use motegate_mqtt::{Config, PropertyBuf, ReasonCode, Version};

use crate::common::World;

struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        usize::try_from(self.0 >> 33).unwrap() % n
    }
}

/// A client and its wire.
struct Node {
    client: Client,
    conn: Option<ConnectionId>,
    up: Vec<u8>,
    down: Vec<u8>,
    outcomes: HashMap<u64, bool>,
    got: Vec<u64>,
    unacked: Vec<AckHandle>,
    subscribed: bool,
    free: bool,
}

impl Node {
    fn new(config: ClientConfig, seed: u64) -> Self {
        Node {
            client: Client::new(config, seed).unwrap(),
            conn: None,
            up: vec![],
            down: vec![],
            outcomes: HashMap::new(),
            got: vec![],
            unacked: vec![],
            subscribed: false,
            free: true,
        }
    }

    /// Moves up to `max` bytes each way, one stage of the way each.
    fn step(&mut self, w: &mut World, random: &mut Random, max: usize) {
        while let Some(transmit) = self.client.poll_transmit() {
            match transmit {
                Transmit::Open => {
                    self.conn = Some(w.open());
                    self.client.handle_opened(w.now);
                }
                Transmit::Close => self.cut(w),
                Transmit::PauseReads | Transmit::ResumeReads => {}
            }
        }
        self.client.handle_timeout(w.now);
        let Some(conn) = self.conn else { return self.drain() };
        let n = self.client.outbox().len().min(random.below(max) + 1);
        self.up.extend_from_slice(&self.client.outbox()[..n]);
        self.client.handle_written(w.now, n);
        let n = self.up.len().min(random.below(max) + 1);
        let bytes: Vec<u8> = self.up.drain(..n).collect();
        w.send_bytes(conn, &bytes);
        self.down.extend(w.take(conn));
        let n = self.down.len().min(random.below(max) + 1);
        let bytes: Vec<u8> = self.down.drain(..n).collect();
        self.client.handle_bytes(w.now, &bytes);
        if w.closed.contains_key(&conn) && self.down.is_empty() {
            self.cut(w);
        }
        self.drain();
    }

    /// The connection breaks; what is under way is lost.
    fn cut(&mut self, w: &mut World) {
        if let Some(conn) = self.conn.take() {
            w.lose(conn);
            w.take(conn);
        }
        self.gone(w);
    }

    fn gone(&mut self, w: &World) {
        self.conn = None;
        self.up.clear();
        self.down.clear();
        self.client.handle_closed(w.now);
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(event) = self.client.poll_event() {
            match event {
                Event::Published { token, .. } => {
                    assert_eq!(self.outcomes.insert(token, true), None, "{token} twice");
                }
                Event::PublishFailed { token, error } => {
                    assert_eq!(error, PublishError::ConnectionLost);
                    assert_eq!(self.outcomes.insert(token, false), None, "{token} twice");
                }
                Event::Message(message) => {
                    let number = message.payload().try_into().map(u64::from_be_bytes).unwrap();
                    self.got.push(number);
                    self.unacked.extend(message.ack());
                }
                Event::Subscribed { codes, .. } => {
                    assert_eq!(codes, [ReasonCode::GrantedQos2]);
                    self.subscribed = true;
                }
                Event::QueueFree => self.free = true,
                Event::Connected(_) => {}
                Event::Disconnected { error, retry_at } => {
                    assert!(retry_at.is_some(), "{error:?}");
                    let ours = matches!(
                        error,
                        Some(motegate_mqtt::client::ClientError::Violation(_))
                            | Some(motegate_mqtt::client::ClientError::Malformed(_))
                    );
                    assert!(!ours, "{error:?}");
                }
                event => panic!("{event:?}"),
            }
        }
    }
}

fn config(id: &str, version: Version) -> ClientConfig {
    ClientConfig {
        version,
        clean: false,
        session_expiry_secs: 3600,
        max_queue: 12,
        max_topic_aliases: 2,
        reconnect: Some(Reconnect {
            first: Duration::from_millis(100),
            max: Duration::from_secs(1),
            initially: true,
            ..Reconnect::default()
        }),
        ..ClientConfig::new(id)
    }
}

const MESSAGES: u64 = 60;

/// Every third message of each QoS.
fn qos_of(number: u64) -> Qos {
    Qos::from_bits(u8::try_from(number % 3).unwrap()).unwrap()
}

/// Repetitions sent, and repetitions that came.
fn run(seed: u64, version: Version, durable: bool) -> (u64, u64) {
    let mut random = Random(seed);
    let mut w = World::with(Config { receive_maximum: 4, max_inflight: 4, ..Config::default() });
    w.durable = durable;
    let manual_ack = seed % 2 == 1;
    let mut publisher = Node::new(config("p", version), seed);
    let mut subscriber = Node::new(
        ClientConfig { manual_ack, receive_maximum: 3, ..config("s", version) },
        seed + 1,
    );
    for node in [&mut publisher, &mut subscriber] {
        node.client.connect(w.now);
    }
    let filter = Filter::new("n/#", Qos::ExactlyOnce);
    subscriber.client.subscribe(&[filter], &PropertyBuf::new(), 0).unwrap();
    let mut next = 0;
    for round in 0..20_000 {
        let calm = round > 6_000;
        for node in [&mut publisher, &mut subscriber] {
            if !calm && random.below(25) == 0 {
                node.cut(&mut w);
            }
            node.step(&mut w, &mut random, 60);
        }
        if durable && !calm && random.below(150) == 0 {
            w.crash();
            for node in [&mut publisher, &mut subscriber] {
                node.gone(&w);
            }
        }
        if subscriber.subscribed && next < MESSAGES && random.below(4) == 0 {
            let payload = next.to_be_bytes();
            let topic = format!("n/{}", next % 4);
            let publish = Publish::new(&topic, &payload, qos_of(next));
            match publisher.client.publish(&publish, next) {
                Ok(()) => next += 1,
                Err(error) => {
                    assert_eq!(error, PublishError::QueueFull);
                    publisher.free = false;
                }
            }
        }
        if random.below(3) == 0 && !subscriber.unacked.is_empty() {
            let i = random.below(subscriber.unacked.len());
            let handle = subscriber.unacked.swap_remove(i);
            subscriber.client.acknowledge(handle, ReasonCode::Success);
        }
        w.advance(Duration::from_millis(7));
        let idle = |node: &Node| node.client.is_idle() && node.down.is_empty();
        let through = subscriber.unacked.is_empty()
            && w.sessions.get("s").is_none_or(|s| s.open.is_empty() && s.queue.is_empty());
        if next == MESSAGES && through && idle(&publisher) && idle(&subscriber) {
            check(&publisher, &subscriber, &w);
            let sent = publisher.client.counters().publishes_repeated;
            return (sent, subscriber.client.counters().duplicates);
        }
    }
    panic!("not through: {next} {:?} {:?}", publisher.client, subscriber.client);
}

fn check(publisher: &Node, subscriber: &Node, w: &World) {
    assert!(publisher.free, "a full queue is followed by room");
    let arrived = |number: u64| subscriber.got.iter().filter(|n| **n == number).count();
    for number in 0..MESSAGES {
        let outcome = publisher.outcomes.get(&number).copied();
        let count = arrived(number);
        match qos_of(number) {
            Qos::AtMostOnce => assert!(outcome.is_some() && count <= 1, "{number}"),
            Qos::AtLeastOnce => assert!(outcome == Some(true) && count >= 1, "{number}"),
            Qos::ExactlyOnce => assert!(outcome == Some(true) && count == 1, "{number}"),
        }
    }
    assert_eq!(publisher.outcomes.len(), usize::try_from(MESSAGES).unwrap());
    let at_broker = w.published.iter().filter(|m| m.qos == Qos::ExactlyOnce).count();
    assert_eq!(at_broker, usize::try_from(MESSAGES / 3).unwrap(), "QoS 2 is published once");
    // The first of each, and QoS 2 altogether, come in order.
    for qos in [Qos::AtLeastOnce, Qos::ExactlyOnce] {
        let mut first: Vec<u64> = vec![];
        for number in subscriber.got.iter().filter(|n| qos_of(**n) == qos) {
            if !first.contains(number) {
                first.push(*number);
            }
        }
        assert!(first.is_sorted(), "{qos:?}: {first:?}");
    }
}

fn run_all(version: Version, seeds: std::ops::Range<u64>) {
    let (mut sent, mut came) = (0, 0);
    for seed in seeds {
        let (a, b) = run(seed, version, seed % 4 < 2);
        sent += a;
        came += b;
    }
    assert!(sent > 20 && came > 20, "the harness does not harm: {sent} {came}");
}

#[test]
fn mqtt5_over_broken_connections() {
    run_all(Version::V5, 0..120);
}

#[test]
fn mqtt311_over_broken_connections() {
    run_all(Version::V311, 1000..1060);
}

#[test]
fn mqtt31_over_broken_connections() {
    run_all(Version::V31, 2000..2060);
}
