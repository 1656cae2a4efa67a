//! Every bound of the endpoint: what the client hears, whether it may go on, and that it was
//! counted (`protocols/mqtt.md` §4).
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod common;

use std::time::Duration;

use common::{World, connect_bytes, field, hex, packet, show};
use motegate_message::{ListenerId, Qos, Reason};
use motegate_mqtt::Config;
use motegate_mqtt::endpoint::Limit;

/// What the code in a CONNACK or DISCONNECT of MQTT 5 is.
fn code(bytes: &[u8]) -> u8 {
    match bytes.first() {
        Some(0x20) => bytes[3],
        Some(0xe0) => bytes[2],
        _ => 0,
    }
}

/// A CONNECT of MQTT 5 with a will of so many bytes.
fn with_will(len: usize) -> String {
    let body =
        format!("{} 05 06 003c 00 {} 00 {} {:04x}", field("MQTT"), field("a"), field("w"), len);
    packet(0x10, &(body + &"78".repeat(len)))
}

fn publish(qos: u8, topic: &str, properties: &str) -> String {
    let id = if qos > 0 { "0007" } else { "" };
    let properties_len = format!("{:02x}", hex(properties).len());
    packet(0x30 | qos << 1, &format!("{} {id} {properties_len} {properties}", field(topic)))
}

/// Sent first of all: the code, and which bound acted.
#[test]
fn bounds_of_a_connect() {
    let small = Config {
        max_connect_size: 200,
        max_client_id_length: 23,
        max_will_payload: 4,
        max_user_properties: 1,
        max_user_property_bytes: 8,
        max_topic_length: 4,
        max_topic_levels: 2,
        ..Config::default()
    };
    let twice = "26 0001 61 0001 62 26 0001 61 0001 62";
    let long = "26 0008 6161616161616161 0001 62";
    let topic = |topic| common::connect_with_will(5, "", "a", topic);
    let cases = [
        (connect_bytes(5, 2, 60, "", &"x".repeat(24)), 0x85, "max_client_id_length!"),
        (with_will(5), 0x95, "max_will_payload!"),
        (connect_bytes(5, 2, 60, twice, "a"), 0x97, "max_user_properties!"),
        (connect_bytes(5, 2, 60, long, "a"), 0x97, "max_user_property_bytes!"),
        (topic("12345"), 0x90, "max_topic_length!"),
        (topic("1/2/"), 0x90, "max_topic_levels!"),
        (connect_bytes(5, 2, 60, "", &"x".repeat(200)), 0, "max_connect_size!"),
    ];
    for (connect, expected, limit) in cases {
        let mut w = World::with(small.clone());
        let c = w.open();
        w.send(c, &connect);
        let got = w.take(c);
        assert_eq!(code(&got), expected, "{limit}: {}", show(&got));
        assert!(w.closed.contains_key(&c), "{limit}");
        assert_eq!(w.limits, [limit]);
    }
    let mut w = World::with(small);
    let c = w.open();
    w.send(c, &with_will(4));
    assert_eq!(code(&w.take(c)), 0, "at the bound");
    assert!(w.limits.is_empty());
}

/// Judged by the header: nothing of 256 MB is buffered (CVE-like; §2.17).
#[test]
fn an_announced_packet_is_judged_before_it_comes() {
    let mut w = World::new();
    let c = w.open();
    w.send(c, "10 ff ff ff 7f");
    w.expect_close(c, "", Reason::TooLarge);
    assert_eq!(w.limits, ["max_connect_size!"]);
    let c = w.connect_v5("a", "");
    w.send(c, "30 ff ff ff 7f");
    assert_eq!(code(&w.take(c)), 0x95);
    assert_eq!(w.closed[&c], Reason::TooLarge);
    assert_eq!(w.limits[1..], ["max_packet_size!"]);
}

#[test]
fn bounds_of_an_open_connection() {
    let config = Config {
        max_topic_length: 8,
        max_topic_levels: 3,
        max_user_properties: 1,
        receive_maximum: 1,
        topic_alias_maximum: 2,
        ..Config::default()
    };
    let twice = "26 0001 61 0001 62 26 0001 61 0001 62";
    let subscribe = |filter: &str| packet(0x82, &format!("0001 00 {} 00", field(filter)));
    let cases = [
        (publish(0, "123456789", ""), 0x90, "max_topic_length!"),
        (publish(1, "1/2/3/4", ""), 0x90, "max_topic_levels!"),
        (subscribe("1/2/3/#"), 0x8f, "max_topic_levels!"),
        (subscribe("123456789"), 0x8f, "max_topic_length!"),
        (publish(0, "a", twice), 0x97, "max_user_properties!"),
        (publish(0, "a", "23 0003"), 0x94, "topic_alias_maximum!"),
        (
            publish(2, "a", "") + &packet(0x34, &format!("{} 0008 00", field("a"))),
            0x93,
            "receive_maximum!",
        ),
    ];
    for (packet, expected, limit) in cases {
        let mut w = World::with(config.clone());
        let c = w.connect_v5("a", "");
        w.send(c, &packet);
        let got = w.take(c);
        let goodbye = got.iter().position(|b| *b == 0xe0).unwrap();
        assert_eq!(code(&got[goodbye..]), expected, "{limit}: {}", show(&got));
        assert_eq!(w.limits, [limit]);
    }
    // At QoS 1 there is an answer: the connection stays.
    let mut w = World::with(config);
    let c = w.connect_v5("a", "");
    w.send(c, &publish(1, "a", twice));
    let got = w.take(c);
    assert_eq!((got[0], got[4]), (0x40, 0x97), "{}", show(&got));
    assert!(w.closed.is_empty());
    assert_eq!(w.limits, ["max_user_properties"]);
}

#[test]
fn what_is_clamped_is_told_and_counted() {
    let config = Config {
        max_session_expiry: Duration::from_secs(10),
        max_keep_alive: Duration::from_secs(30),
        ..Config::default()
    };
    let mut w = World::with(config);
    let c = w.open();
    w.send(c, &connect_bytes(5, 2, 60, "11 0000000b", "a"));
    let got = show(&w.take(c));
    assert!(got.contains("11 00 00 00 0a") && got.contains("13 00 1e"), "{got}");
    assert_eq!(w.limits, ["max_session_expiry", "max_keep_alive"]);
    let c = w.open();
    w.send(c, &connect_bytes(4, 2, 60, "", "b"));
    w.expect_close(c, "20 02 00 02", Reason::NotSupported);
    assert_eq!(w.limits[2..], ["max_keep_alive!"]);
    w.connect(&connect_bytes(4, 0, 30, "", "c"));
    assert_eq!(w.limits.len(), 3, "MQTT 3 asks for no expiry");
}

/// One byte a second: neither before nor after CONNECT does it last.
#[test]
fn a_byte_a_second_does_not_last() {
    let mut w = World::new();
    let slow = w.open();
    let bytes = hex(&connect_bytes(5, 2, 0, "", "a"));
    for byte in &bytes[..9] {
        w.send_bytes(slow, &[*byte]);
        w.advance(Duration::from_secs(1));
    }
    assert!(w.closed.is_empty());
    w.advance(Duration::from_secs(1));
    assert_eq!(w.closed[&slow], Reason::ConnectTimeout);
    assert_eq!(w.limits, ["connect_timeout!"]);
    // Keep alive 0: a started packet has a minute.
    let c = w.connect(&connect_bytes(5, 2, 0, "", "a"));
    let bytes = hex(&publish(0, &"t".repeat(100), ""));
    for byte in &bytes[..60] {
        w.send_bytes(c, &[*byte]);
        w.advance(Duration::from_secs(1));
    }
    assert_eq!(w.closed[&c], Reason::KeepaliveTimeout);
    // With a keep alive bytes are no packets.
    let c = w.connect(&connect_bytes(5, 2, 10, "", "b"));
    for byte in &bytes[..15] {
        assert!(!w.closed.contains_key(&c));
        w.send_bytes(c, &[*byte]);
        w.advance(Duration::from_secs(1));
    }
    assert_eq!(w.closed[&c], Reason::KeepaliveTimeout);
}

/// A packet is answered in one turn: half a million filters fit into 2 MiB.
#[test]
fn filters_of_one_packet_have_an_end() {
    for (kind, options) in [(0x82, "00"), (0xa2, "")] {
        let with = |count: usize| {
            let filters = format!("{}{options}", field("a")).repeat(count);
            packet(kind, &format!("0001 00 {filters}"))
        };
        let mut w = World::new();
        let c = w.connect_v5("a", "");
        w.send(c, &with(10_000));
        assert!(w.closed.is_empty(), "{kind:x}");
        w.take(c);
        w.send(c, &with(10_001));
        assert_eq!(w.take(c).get(..3), Some(&[0xe0, 0x13, 0x97][..]), "{kind:x}");
        assert_eq!(w.closed[&c], Reason::QuotaExceeded, "{kind:x}");
    }
}

#[test]
fn the_oldest_half_open_connection_gives_way() {
    let mut w = World::with(Config { max_half_open: 3, ..Config::default() });
    let first = w.open();
    let done = w.connect_311("a");
    let rest = [w.open(), w.open()];
    assert_eq!(w.endpoint.half_open(None), 3);
    assert!(w.closed.is_empty());
    let last = w.open();
    assert_eq!(w.closed.get(&first), Some(&Reason::HalfOpen));
    assert_eq!(w.endpoint.half_open(None), 3);
    w.open();
    assert_eq!(w.closed.get(&rest[0]), Some(&Reason::HalfOpen));
    assert!(!w.closed.contains_key(&done), "who has said CONNECT is not one of them");
    w.send(last, &connect_bytes(4, 2, 60, "", "b"));
    w.expect(last, "20 02 00 00");
    assert_eq!(w.endpoint.half_open(None), 2);
    w.lose(rest[1]);
    assert_eq!(w.endpoint.half_open(None), 1);
    assert_eq!(w.endpoint.acted().of(Limit::MaxHalfOpen), 2);
}

/// A listener's own bound closes the oldest of its own, whoever else waits longer.
#[test]
fn the_oldest_half_open_connection_of_a_listener_gives_way() {
    let mut w = World::new();
    let (all, own) = (Config::default(), Config { max_half_open: 1, ..Config::default() });
    w.endpoint.reconfigure_listeners(all, vec![None, Some(own)]);
    let first = w.open_by(0);
    let second = w.open_by(1);
    w.open_by(0);
    assert!(w.closed.is_empty());
    let third = w.open_by(1);
    assert_eq!(w.closed.get(&second), Some(&Reason::HalfOpen));
    assert!(!w.closed.contains_key(&first));
    let of = |w: &World, n| w.endpoint.half_open(Some(ListenerId(n)));
    assert_eq!((of(&w, 0), of(&w, 1)), (2, 1));
    w.send(third, &connect_bytes(4, 2, 60, "", "b"));
    w.expect(third, "20 02 00 00");
    assert_eq!((of(&w, 0), of(&w, 1), w.endpoint.half_open(None)), (2, 0, 2));
}

#[test]
fn who_publishes_too_fast_is_not_read_and_at_last_sent_away() {
    let config = Config { max_publish_rate: 10, ..Config::default() };
    let mut w = World::with(config.clone());
    let c = w.connect_v5("a", "");
    let one = publish(0, "t", "");
    w.send(c, &one.repeat(10));
    assert_eq!(w.paused.get(&c), None, "a second's worth at once");
    w.send(c, &one.repeat(5));
    assert_eq!(w.paused.get(&c), Some(&true));
    assert_eq!(w.limits, ["max_publish_rate"]);
    assert_eq!(w.published.len(), 11, "the rest is not looked at yet");
    w.advance(Duration::from_millis(499));
    assert_eq!(w.paused.get(&c), Some(&true));
    w.advance(Duration::from_millis(201));
    assert_eq!(w.paused.get(&c), Some(&false), "read again");
    assert_eq!(w.published.len(), 15, "nothing is lost");
    // Whoever goes on like that for a minute, with more than buffers on the way can hold.
    let one = packet(0x30, &format!("{} 00 {}", field("t"), "61".repeat(1_000)));
    let mut waited = Duration::ZERO;
    while w.closed.is_empty() && waited < Duration::from_secs(90) {
        if w.paused.get(&c) == Some(&false) {
            w.send(c, &one.repeat(30));
        }
        w.advance(Duration::from_millis(100));
        waited += Duration::from_millis(100);
    }
    assert!(waited >= Duration::from_secs(59) && waited < Duration::from_secs(65), "{waited:?}");
    assert_eq!(code(&w.take(c)), 0x96);
    assert_eq!(w.closed[&c], Reason::RateLimited);
    // MQTT 3 has no word for it.
    let mut w = World::with(config);
    let c = w.connect_311("a");
    for _ in 0..2 {
        let large = packet(0x30, &format!("{} {}", field("t"), "61".repeat(250)));
        w.send(c, &large.repeat(605));
        w.advance(Duration::from_secs(60) + Duration::from_millis(100));
    }
    w.expect_close(c, "", Reason::RateLimited);
}

/// One burst is taken at the rate, and acknowledged so, and nothing else comes of it, though that
/// takes more than a minute; what came behind it has its turn, a goodbye too.
#[test]
fn a_burst_is_no_minute_of_speed() {
    let config = Config { max_publish_rate: 10, ..Config::default() };
    let mut w = World::with(config.clone());
    let c = w.connect_v5("a", "");
    let burst: String =
        (1..=800).map(|id| packet(0x32, &format!("{} {id:04x} 00", field("t")))).collect();
    w.send(c, &(burst.clone() + "c000"));
    w.take(c);
    for seconds in 1..=78 {
        w.advance(Duration::from_secs(1));
        let so_far = 10 * (seconds + 1);
        assert!(w.published.len().abs_diff(so_far) <= 2, "{} {so_far}", w.published.len());
    }
    w.advance(Duration::from_secs(2));
    let got = w.take(c);
    let last = show(&got[got.len() - 20..]);
    assert!(last.contains("d0 00"), "{last}");
    assert_eq!(w.published.len(), 800);
    assert_eq!(w.limits, ["max_publish_rate"], "held back once");
    w.send(c, "c000");
    w.expect(c, "d000");
    assert!(w.closed.is_empty());
    // In pieces, as sockets give it, it is the same: it was all sent at once.
    let mut w = World::with(config.clone());
    let c = w.connect_v5("p", "");
    for piece in 0..8 {
        w.send(c, &packet(0x30, &format!("{} 00", field("t"))).repeat(100));
        for _ in 0..110 {
            if piece < 7 && w.paused.get(&c) == Some(&false) {
                break;
            }
            w.advance(Duration::from_millis(100));
        }
    }
    assert_eq!((w.published.len(), w.closed.len()), (800, 0));
    let mut w = World::with(config);
    let c = w.connect_v5("b", "");
    w.send(c, &(burst + "e000"));
    w.lose(c);
    assert_eq!(w.published.len(), 800);
    assert_eq!(w.log.last().unwrap(), "disconnected client_disconnect drop_will=true");
}

#[test]
fn a_connection_lasts_as_long_as_it_may() {
    let age = Duration::from_secs(90);
    let mut w = World::with(Config { max_connection_age: age, ..Config::default() });
    let c = w.connect(&connect_bytes(5, 2, 0, "", "a"));
    let old = w.connect(&connect_bytes(4, 2, 0, "", "b"));
    w.advance(Duration::from_millis(89_999));
    assert!(w.closed.is_empty());
    w.advance(Duration::from_millis(1));
    assert_eq!(code(&w.take(c)), 0xa0);
    assert_eq!(w.closed[&c], Reason::ConnectionAge);
    w.expect_close(old, "", Reason::ConnectionAge);
    assert_eq!(w.limits, ["max_connection_age!", "max_connection_age!"]);
}

/// The outbox holds what the peer has not read; then nothing more is taken from it, and after a
/// time without progress it is closed, whatever waits.
#[test]
fn a_peer_that_reads_nothing_ends_as_a_slow_consumer() {
    let mut w = World::with(Config { max_outbox_bytes: 1_024, ..Config::default() });
    let c = w.connect_v5("a", "");
    w.stuck.push(c);
    w.inject("nobody", Qos::AtMostOnce, b"");
    for _ in 0..40_000 {
        w.send(c, "c000");
    }
    assert_eq!(w.paused.get(&c), Some(&true), "its pings are not read any more");
    assert_eq!(w.limits, ["max_outbox_bytes"]);
    w.advance(Duration::from_secs(30));
    assert_eq!(w.closed[&c], Reason::SlowConsumer);
    assert_eq!(w.limits[1..], ["write_stall_timeout!"]);
}

#[test]
fn a_listener_has_its_own_bounds() {
    let mut w = World::new();
    let own = Config { max_packet_size: 200, ..Config::default() };
    w.endpoint.reconfigure_listeners(Config::default(), vec![None, None, None, Some(own)]);
    let c = w.open(); // of listener 3
    w.send(c, &connect_bytes(5, 2, 60, "", "a"));
    let got = show(&w.take(c));
    assert!(got.contains("27 00 00 00 c8"), "told: {got}");
    w.send(c, "30 c9 01");
    assert_eq!(code(&w.take(c)), 0x95);
    let turn = w.turn();
    let other = motegate_message::ConnectionId::new(77, 1);
    w.endpoint.handle_opened(&turn, other, ListenerId(0), turn.now);
    w.send(other, &connect_bytes(5, 2, 60, "", "b"));
    w.take(other);
    w.send(other, "30 c9 01");
    assert!(!w.closed.contains_key(&other), "2 MiB there");
}
