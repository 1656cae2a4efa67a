//! Bounds that the core keeps itself, and how each is told: one line a kind, and a row in the
//! status (`protocols/mqtt.md` §4, 2.1 h).

mod common;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use common::{Gateway, MQTT, SN, config, publish, sn_connect};
use motegate_core::{ConnectRate, Input, ListenerLimits, NoticeKind};
use motegate_message::{ConnectionId, Reason};

fn rate(count: u32) -> ConnectRate {
    ConnectRate { spares_loopback: false, ..ConnectRate::per_second(count) }
}

/// A CONNECT of MQTT 5, clean.
fn connect(id: &str) -> Vec<u8> {
    let mut packet = vec![0x10, u8::try_from(13 + id.len()).expect("short"), 0, 4];
    packet.extend_from_slice(b"MQTT\x05\x02\x00\x3c\x00\x00");
    packet.push(u8::try_from(id.len()).expect("short"));
    packet.extend_from_slice(id.as_bytes());
    packet
}

fn try_connect(gateway: &mut Gateway, id: &str) -> ConnectionId {
    let conn = gateway.open();
    gateway.send(conn, &connect(id));
    conn
}

/// The CONNACK's code, if it has come.
fn connack(gateway: &mut Gateway, conn: ConnectionId) -> Option<u8> {
    gateway.received(conn).get(3).copied()
}

#[test]
fn a_connect_that_comes_too_early_waits_and_then_is_refused() {
    let mut config = config();
    config.max_connect_rate = rate(2);
    let mut gateway = Gateway::new(config);
    let all: Vec<ConnectionId> =
        (0..6).map(|n| try_connect(&mut gateway, &format!("c{n}"))).collect();
    let codes = |gateway: &mut Gateway| -> Vec<Option<u8>> {
        all.iter().map(|conn| connack(gateway, *conn)).collect()
    };
    let (ok, refused) = (Some(0), Some(0x9f));
    assert_eq!(codes(&mut gateway), [ok, ok, None, None, refused, refused]);
    assert_eq!(gateway.limit("max_connect_rate").used, Some(2), "two wait");
    gateway.advance(Duration::from_millis(499));
    assert_eq!(codes(&mut gateway), [None; 6]);
    gateway.advance(Duration::from_millis(1));
    assert_eq!(codes(&mut gateway), [None, None, ok, None, None, None]);
    gateway.advance(Duration::from_millis(500));
    assert_eq!(codes(&mut gateway), [None, None, None, ok, None, None]);
    let row = gateway.limit("max_connect_rate");
    assert_eq!((row.max, row.used, row.acted), (2, Some(0), Some(4)));
    let told: Vec<_> = gateway.notices.iter().filter(|n| n.limit.is_some()).collect();
    assert_eq!(told.len(), 1, "folded: {told:?}");
    assert_eq!(told[0].kind, NoticeKind::Refused(Reason::RateLimited));
    assert_eq!(told[0].limit, Some("max_connect_rate"));
    assert_eq!(told[0].peer, Some(SocketAddr::from(([127, 0, 0, 1], 40_000))));
}

#[test]
fn one_address_has_its_own_rate_and_mqtt_3_its_own_word() {
    let mut config = config();
    config.max_connect_rate_per_address = rate(1);
    let mut gateway = Gateway::new(config);
    for n in 0..2 {
        try_connect(&mut gateway, &format!("c{n}"));
    }
    let third = gateway.open();
    gateway.send(third, b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01a");
    assert_eq!(gateway.received(third), [0x20, 2, 0, 3], "server unavailable");
    assert_eq!(gateway.limit("max_connect_rate_per_address").acted, Some(2));
}

/// Nobody waits for who has gone meanwhile, and a stop does not wait either.
#[test]
fn who_goes_while_it_waits_leaves_nothing() {
    let mut config = config();
    config.max_connect_rate = rate(1);
    let mut gateway = Gateway::new(config);
    try_connect(&mut gateway, "a");
    let waiting = try_connect(&mut gateway, "b");
    gateway.input(Input::Closed { conn: waiting, reason: Reason::ConnectionLost });
    gateway.advance(Duration::from_secs(2));
    let other = try_connect(&mut gateway, "c");
    let held = try_connect(&mut gateway, "d");
    gateway.input(Input::Shutdown);
    assert_eq!(gateway.closed.get(&other), Some(&Reason::Shutdown));
    assert_eq!(gateway.closed.get(&held), Some(&Reason::Shutdown));
    gateway.advance(Duration::from_secs(2));
    assert_eq!(gateway.limit("max_sessions").used, Some(0));
}

/// mqtt.md 2.1 (h): two clients that take one id from each other.
#[test]
fn a_fight_over_a_client_id_is_slowed_down_and_told_once() {
    let mut gateway = Gateway::new(config());
    let mut refused = 0;
    for _ in 0..150 {
        let conn = try_connect(&mut gateway, "same");
        refused += usize::from(connack(&mut gateway, conn) == Some(0x9f));
        let peaceful = try_connect(&mut gateway, "other");
        assert_eq!(connack(&mut gateway, peaceful), Some(0));
        gateway.send(peaceful, &[0xe0, 0]);
    }
    assert!(refused >= 25, "{refused}");
    let of_it = |n: &&motegate_core::Notice| {
        n.client.as_ref().is_some_and(|client| client.client_id() == "same")
    };
    let told: Vec<NoticeKind> = gateway.notices.iter().filter(of_it).map(|n| n.kind).collect();
    assert_eq!(told.iter().filter(|kind| **kind == NoticeKind::Limited).count(), 1);
    // Ten who came, nine who went, the fight, and refusals by the ten seconds: not a line for each.
    assert!(told.len() <= 22, "{told:?}");
    assert_eq!(gateway.core.stats().dropped(Reason::TakenOver), 100, "counted");
    // Some takeovers go on.
    for _ in 0..5 {
        gateway.advance(Duration::from_secs(2));
        let conn = try_connect(&mut gateway, "same");
        gateway.advance(Duration::from_secs(1));
        assert_eq!(connack(&mut gateway, conn), Some(0));
    }
    assert!(gateway.limit("takeovers").acted >= Some(25));
}

#[test]
fn bounds_of_broker_and_endpoint_are_counted_and_told_once_each() {
    let mut config = config();
    config.broker.max_subscriptions_per_session = 2;
    config.broker.max_retained_messages = 1;
    config.mqtt.max_packet_size = 200;
    let mut gateway = Gateway::new(config);
    let conn = gateway.mqtt("a", true);
    for filter in [b"1", b"2", b"3", b"4"] {
        gateway.send(conn, &[0x82, 6, 0, 1, 0, 1, filter[0], 0]);
    }
    let answers = gateway.received(conn);
    assert_eq!(answers.chunks(5).map(|suback| suback[4]).collect::<Vec<_>>(), [0, 0, 0x80, 0x80]);
    for topic in ["x", "y", "z"] {
        gateway.send(conn, &publish(topic, b"1", 1, true, 7));
    }
    gateway.send(conn, b"\x30\xff\xff\xff\x7f");
    assert_eq!(gateway.closed.get(&conn), Some(&Reason::TooLarge));
    let mut acted = |key| gateway.limit(key).acted;
    assert_eq!(acted("max_subscriptions_per_session"), Some(2));
    assert_eq!(acted("max_retained_messages"), Some(2));
    assert_eq!(acted("max_packet_size"), Some(1));
    let told = |key| {
        let of = |n: &&motegate_core::Notice| n.limit == Some(key);
        gateway.notices.iter().filter(of).map(|n| n.kind).collect::<Vec<_>>()
    };
    assert_eq!(told("max_subscriptions_per_session"), [NoticeKind::Limited]);
    assert_eq!(told("max_retained_messages"), [NoticeKind::Limited]);
    assert_eq!(told("max_packet_size"), [NoticeKind::Disconnected(Reason::TooLarge)]);
}

#[test]
fn every_bound_of_the_configuration_has_a_row() {
    let mut gateway = Gateway::new(config());
    for key in [
        "max_connect_rate",
        "max_connect_rate_per_address",
        "connect_timeout",
        "max_half_open",
        "max_connect_size",
        "max_packet_size",
        "max_client_id_length",
        "max_topic_length",
        "max_topic_levels",
        "max_user_properties",
        "max_user_property_bytes",
        "max_will_payload",
        "max_sessions",
        "max_session_expiry",
        "max_subscriptions_per_session",
        "max_subscription_bytes_per_session",
        "max_subscriptions",
        "max_share_groups",
        "receive_maximum",
        "max_inflight",
        "max_queued_messages",
        "max_queued_bytes",
        "max_memory_queued",
        "max_disk_queued",
        "max_uncommitted_bytes",
        "max_outbox_bytes",
        "write_stall_timeout",
        "topic_alias_maximum",
        "max_retained_messages",
        "max_retained_bytes",
        "max_publish_rate",
        "max_keep_alive",
        "max_connection_age",
        "max_sn_topics_per_client",
        "max_observers",
        "max_observers_per_peer",
        "max_observers_per_topic",
        "packet_rate_per_peer",
        "max_blocks_in_progress_per_peer",
        "max_exchanges",
        "max_pubsub_topics",
        "max_pubsub_topic_size",
        "max_coap_logins",
        "heartbeat",
    ] {
        assert!(gateway.limit(key).acted.is_some(), "{key}");
    }
}

#[test]
fn a_listener_has_its_own_bounds() {
    let mut config = config();
    let mut own = ListenerLimits::of(&config, 10);
    own.max_connect_rate = rate(1);
    own.max_connect_rate_per_address = rate(0);
    own.mqtt.max_client_id_length = 23;
    own.queue.max_messages = 1;
    config.listeners[usize::from(MQTT.0)].limits = Some(Arc::new(own));
    let mut gateway = Gateway::new(config);
    let long = try_connect(&mut gateway, &"x".repeat(24));
    assert_eq!(connack(&mut gateway, long), Some(0x85));
    let sub = gateway.mqtt("sub", false);
    gateway.mqtt_subscribe(sub, "q", 1);
    gateway.send(sub, &[0xe0, 0]);
    gateway.advance(Duration::from_secs(1));
    let conn = gateway.mqtt("pub", true);
    for id in 1..=3 {
        gateway.send(conn, &publish("q", b"m", 1, false, id));
    }
    assert_eq!(gateway.limit("max_queued_messages").acted, Some(2));
}

/// New MQTT-SN sessions have the same rates and a pace of their own; who has a session comes back.
#[test]
fn new_sessions_of_mqtt_sn_come_at_a_rate_and_known_clients_at_once() {
    let mut config = config();
    config.max_connect_rate = rate(10);
    let mut gateway = Gateway::new(config);
    let code = |gateway: &mut Gateway, n: u16, id: &str| {
        let from = SocketAddr::from(([10, 0, 0, 1], 2_000 + n));
        gateway.datagram(SN, from, &sn_connect(id, false, 60))[0][2]
    };
    let codes: Vec<u8> = (0..30).map(|n| code(&mut gateway, n, &format!("c{n}"))).collect();
    assert_eq!(codes.iter().filter(|code| **code == 0).count(), 20, "two seconds' worth");
    assert!(codes[20..].iter().all(|code| *code == 1), "congestion: {codes:?}");
    assert_eq!(code(&mut gateway, 40, "c0"), 0, "from another address");
    assert_eq!(code(&mut gateway, 41, "new"), 1);
    let told: Vec<_> =
        gateway.notices.iter().filter(|n| n.limit == Some("max_connect_rate")).collect();
    assert_eq!(told[0].kind, NoticeKind::Refused(Reason::RateLimited));
    assert_eq!(gateway.limit("max_connect_rate").acted, Some(21));
    // Clients of MQTT do not wait for it.
    let phone = try_connect(&mut gateway, "phone");
    assert_eq!(connack(&mut gateway, phone), Some(0));
    gateway.advance(Duration::from_secs(2));
    assert_eq!(code(&mut gateway, 41, "new"), 0);
}

/// mqtt.md 2.1 (h), of MQTT-SN: two addresses that take one id from each other are answered
/// "congestion"; a client that wakes or repeats CONNECT from where it was is no fight.
#[test]
fn a_fight_over_an_id_of_mqtt_sn_is_slowed_down_and_told_once() {
    let mut gateway = Gateway::new(config());
    let code = |gateway: &mut Gateway, port: u16, id: &str| {
        let from = SocketAddr::from(([10, 0, 0, 1], port));
        gateway.datagram(SN, from, &sn_connect(id, false, 60))[0][2]
    };
    let codes: Vec<u8> = (0..150).map(|n| code(&mut gateway, 2_000 + n % 2, "same")).collect();
    let refused = codes.iter().filter(|code| **code == 1).count();
    // Every second one is of the client that has the session and only repeats itself.
    assert_eq!(refused, 25);
    assert_eq!(code(&mut gateway, 3_000, "other"), 0);
    let told = gateway.notices.iter().filter(|n| n.kind == NoticeKind::Limited).count();
    assert_eq!(told, 1);
    assert!(gateway.limit("takeovers").acted >= Some(25));
    // Some go on.
    gateway.advance(Duration::from_secs(2));
    assert!([2_000, 2_001].map(|port| code(&mut gateway, port, "same")).contains(&0));
    // Alone it comes as often as it likes.
    assert!((0..300).all(|_| code(&mut gateway, 3_000, "other") == 0));
}
