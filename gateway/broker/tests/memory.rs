//! What state costs, by resident memory, at the sizes of the project's performance figures. The
//! bounds asserted are those required of the whole gateway; the figures are printed.
#![allow(clippy::unwrap_used)] // in tests and their helpers
#![cfg(target_os = "linux")]

use std::time::Duration;

use bytes::Bytes;
use motegate_broker::*;
use motegate_message::*;
use motegate_timers::Instant;

const COUNT: usize = 50_000;

fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4_096
}

fn turn() -> Turn {
    Turn::new(Instant::from_secs(1), Wall::from_millis(1))
}

fn ask(broker: &mut Broker, request: Request) -> Option<SessionId> {
    broker.handle(&turn(), request);
    let mut session = None;
    while let Some(effect) = broker.poll_effect() {
        assert!(!matches!(effect, Effect::Refused { .. } | Effect::Dropped { .. }), "{effect:?}");
        if let Effect::Opened { session: id, .. } = effect {
            session = Some(id);
        }
    }
    session
}

fn open(broker: &mut Broker, key: Option<SessionKey>, window: u16) -> SessionId {
    let open = Open {
        ticket: 0,
        key,
        handle: Handle(1),
        clean: false,
        expiry: Duration::MAX,
        will: WillChange::Set(None),
        window,
        room: 1_000,
        queue: QueuePolicy {
            max_messages: 1_000_000,
            max_bytes: 1_000_000_000,
            overflow: Overflow::DropNewest,
            queue_qos0: false,
            max_payload: u16::MAX,
        },
    };
    ask(broker, Request::Open(open)).unwrap()
}

fn subscribe(broker: &mut Broker, session: SessionId, filter: &str) {
    let filters = vec![Subscribe {
        filter: SubscriptionFilter::new(filter).unwrap(),
        qos: Qos::AtLeastOnce,
        no_local: false,
        retain_as_published: false,
        retain_handling: RetainHandling::Always,
        identifier: None,
        spares_dollar: false,
        by_rule: false,
        hears_expiry: false,
    }];
    ask(broker, Request::Subscribe { ticket: 0, session, filters, most: None });
}

fn publish(broker: &mut Broker, topic: &str, retain: bool) {
    let payload = Bytes::from(vec![0x55_u8; 64]);
    let mut message = Message::new(TopicName::new(topic).unwrap(), payload);
    (message.qos, message.retain) = (Qos::AtLeastOnce, retain);
    ask(broker, Request::Publish { ticket: 0, message, precondition: None });
}

/// Bytes each of `COUNT` things; fails above `most`.
fn measure(what: &str, most: usize, mut one: impl FnMut(usize)) {
    let before = resident();
    (0..COUNT).for_each(&mut one);
    let each = resident().saturating_sub(before) / COUNT;
    println!("{what}: {each} bytes each");
    assert!((1..=most).contains(&each), "{what}: {each} bytes each, at most {most}");
}

/// One test, one process: nothing else allocates meanwhile, and nothing is freed between.
#[test]
fn state_stays_within_its_figures() {
    let mut broker = Broker::new(Config::default());
    let hundred: Vec<SessionId> = (0..100)
        .map(|i| open(&mut broker, Some(SessionKey::new("mqtt", &format!("many-{i}"))), 10))
        .collect();
    measure("filter without wildcard", 600, |i| {
        subscribe(&mut broker, hundred[i % 100], &format!("plant/line{i}/sensor/temperature"));
    });
    measure("filter with wildcards", 600, |i| {
        subscribe(&mut broker, hundred[i % 100], &format!("site/device{i}/+/temperature"));
    });
    measure("retained topic", 400, |i| {
        publish(&mut broker, &format!("building/room{i}/temperature"), true);
    });
    let sleeper = open(&mut broker, Some(SessionKey::new("mqtt", "sleeper")), 0);
    subscribe(&mut broker, sleeper, "queue/me");
    measure("queued message", 400, |_| publish(&mut broker, "queue/me", false));
    measure("idle session", 400, |i| {
        open(&mut broker, Some(SessionKey::new("mqtt", &format!("device-{i:07}"))), 10);
    });
    measure("observation without a name", 320, |i| {
        let session = open(&mut broker, None, 1);
        subscribe(&mut broker, session, &format!("observed/{}", i % 1_000));
    });
}
