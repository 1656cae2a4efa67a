//! CONNECT, CONNACK, takeover, wills, goodbyes (protocols/mqtt.md §1.2…1.4, §2.1, §2.16).
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod common;

use std::time::Duration;

use common::{World, connect_bytes, connect_with_will, field, hex, packet, show};
use motegate_message::{Reason, Seq, SessionId};
use motegate_mqtt::Config;
use motegate_mqtt::endpoint::{Accept, Event};

/// What a CONNACK of ours always carries: receive maximum, packet size, alias maximum.
const CAPABILITIES: &str = "21 0400 27 00200000 22 0040";

fn connack(flags: u8, properties: &str) -> String {
    let len = hex(properties).len();
    packet(0x20, &format!("{flags:02x} 00 {len:02x} {properties}"))
}

#[test]
fn each_version_gets_its_connack() {
    let mut w = World::new();
    let c = w.open();
    w.send(c, &connect_bytes(3, 2, 60, "", "a"));
    w.expect(c, "20 02 00 00");
    let c = w.open();
    w.send(c, &connect_bytes(4, 2, 60, "", "b"));
    w.expect(c, "20 02 00 00");
    let c = w.open();
    w.send(c, &connect_bytes(5, 2, 60, "", "c"));
    w.expect(c, &connack(0, CAPABILITIES));
}

#[test]
fn session_present_tells_the_truth() {
    let mut w = World::new();
    for (level, present) in [(3, "20 02 00 00"), (4, "20 02 01 00")] {
        let id = format!("c{level}");
        let c = w.open();
        w.send(c, &connect_bytes(level, 0, 60, "", &id));
        w.expect(c, "20 02 00 00");
        w.send(c, "e0 00");
        w.expect_close(c, "", Reason::ClientDisconnect);
        let c = w.open();
        w.send(c, &connect_bytes(level, 0, 60, "", &id));
        w.expect(c, present);
    }
}

#[test]
fn bytes_may_come_one_at_a_time() {
    let mut w = World::new();
    let c = w.open();
    let all = connect_bytes(4, 2, 60, "", "slow")
        + &packet(0x82, &format!("0001 {} 01", field("t")))
        + &packet(0x32, &format!("{} 0007 \"hello\"", field("t")))
        + "c000";
    for byte in hex(&all) {
        w.send_bytes(c, &[byte]);
    }
    w.expect(c, r#"20020000 9003000101 320a 0001 "t" 0001 "hello" 40020007 d000"#);
}

#[test]
fn the_first_packet_is_judged_before_it_is_buffered() {
    let mut w = World::new();
    for first in ["c0", "30", "00", "f0", "82"] {
        let c = w.open();
        w.send(c, first);
        w.expect_close(c, "", Reason::ProtocolError);
    }
    let c = w.open();
    w.send(c, "10 ff ff ff 7f");
    w.expect_close(c, "", Reason::TooLarge);
    let c = w.open();
    w.send(c, "10 ff ff ff ff");
    w.expect_close(c, "", Reason::Malformed);
}

#[test]
fn unknown_names_and_levels() {
    let mut w = World::new();
    for (level, reply) in [(6, "20 02 00 01"), (3, "20 02 00 01"), (0x85, "20 02 00 01")] {
        let c = w.open();
        let body = format!("{} {level:02x} 02 003c {}", field("MQTT"), field("a"));
        w.send(c, &packet(0x10, &body));
        w.expect_close(c, reply, Reason::UnsupportedVersion);
    }
    let c = w.open();
    w.send(c, &packet(0x10, &format!("{} 04 02 003c {}", field("HTTP"), field("a"))));
    w.expect_close(c, "", Reason::Malformed);
}

#[test]
fn versions_can_be_switched_off() {
    let config = Config { allow_v31: false, allow_v5: false, ..Config::default() };
    let mut w = World::with(config);
    let c = w.open();
    w.send(c, &connect_bytes(3, 2, 60, "", "a"));
    w.expect_close(c, "20 02 00 01", Reason::UnsupportedVersion);
    let c = w.open();
    w.send(c, &connect_bytes(5, 2, 60, "", "a"));
    let text = field("protocol version not supported");
    w.expect_close(c, &packet(0x20, &format!("00 84 21 1f {text}")), Reason::UnsupportedVersion);
}

#[test]
fn a_malformed_connect_is_answered_in_v5_only() {
    let mut w = World::new();
    let c = w.open();
    w.send(c, &connect_bytes(4, 3, 60, "", "a"));
    w.expect_close(c, "", Reason::Malformed);
    let c = w.open();
    w.send(c, &connect_bytes(5, 3, 60, "", "a"));
    let text = field("malformed packet");
    w.expect_close(c, &packet(0x20, &format!("00 81 13 1f {text}")), Reason::Malformed);
    let c = w.open();
    w.send(c, &connect_bytes(5, 2, 60, "21 0000", "a"));
    let text = field("protocol error");
    w.expect_close(c, &packet(0x20, &format!("00 82 11 1f {text}")), Reason::ProtocolError);
}

#[test]
fn client_ids_are_assigned_where_they_may_be() {
    let mut w = World::new();
    let c = w.open();
    w.send(c, &connect_bytes(3, 2, 60, "", ""));
    w.expect_close(c, "20 02 00 02", Reason::BadClientId);
    let c = w.open();
    w.send(c, &connect_bytes(4, 0, 60, "", ""));
    w.expect_close(c, "20 02 00 02", Reason::BadClientId);
    w.connect_311("");
    assert!(w.sessions.keys().all(|id| id.starts_with("auto-") && id.len() == 41));
    let c = w.open();
    w.send(c, &connect_bytes(5, 0, 60, "", ""));
    let got = show(&w.take(c));
    let told = format!("12 00 29 {}", show(b"auto-"));
    assert!(got.contains(&told), "{got}");
    let long = "x".repeat(1025);
    let c = w.open();
    w.send(c, &connect_bytes(4, 2, 60, "", &long));
    w.expect_close(c, "20 02 00 02", Reason::BadClientId);
}

#[test]
fn refusals_by_version() {
    // protocols/mqtt.md §1.2: 84→1, 85→2, 88 89 97 9F→3, 86 8C→4, 87 8A→5.
    for (reason, v3, v5) in [
        (Reason::AuthFailed, Some(4), 0x86),
        (Reason::AuthMissing, Some(5), 0x87),
        (Reason::LockedOut, Some(5), 0x8a),
        (Reason::AuthMethod, Some(4), 0x8c),
        (Reason::Overloaded, Some(3), 0x89),
        (Reason::AclDeny, Some(5), 0x87),
        (Reason::SourceDenied, Some(5), 0x8a),
        (Reason::RateLimited, Some(3), 0x9f),
        (Reason::QuotaExceeded, Some(3), 0x97),
        (Reason::Overloaded, Some(3), 0x89),
        (Reason::Shutdown, Some(3), 0x88),
        (Reason::BadClientId, Some(2), 0x85),
        (Reason::BadTopic, None, 0x90),
    ] {
        let mut w = World::new();
        w.script.refuse_connect = Some(reason);
        let c = w.open();
        w.send(c, &connect_bytes(4, 2, 60, "", "a"));
        let bytes = v3.map_or(String::new(), |code: u8| format!("20 02 00 {code:02x}"));
        w.expect_close(c, &bytes, reason);
        let c = w.open();
        w.send(c, &connect_bytes(5, 2, 60, "", "a"));
        let got = w.take(c);
        assert_eq!((got[0], got[2], got[3]), (0x20, 0, v5), "{reason}");
        assert_eq!(w.closed[&c], reason);
        assert!(w.log.is_empty(), "no session, no Disconnected: {:?}", w.log);
    }
}

#[test]
fn nothing_is_handled_before_the_answer_nor_after_a_refusal() {
    let publish = packet(0x30, &format!("{} \"x\"", field("t")));
    let pipelined = connect_bytes(4, 2, 60, "", "a") + &publish + "c000";
    let mut w = World::new();
    w.script.manual = true;
    let c = w.open();
    w.send(c, &pipelined);
    w.send(c, &publish);
    assert!(matches!(w.events.pop_front(), Some(Event::Connect(_))));
    assert!(w.events.is_empty());
    w.expect(c, "");
    let accept = Accept { session: SessionId::new(0, 0), present: false, after: Seq::NONE };
    let turn = w.turn();
    w.endpoint.accept(&turn, c, accept);
    w.read_outbox(c, usize::MAX);
    w.expect(c, "20020000 d000");
    assert_eq!(w.events.len(), 2, "both publishes");

    let mut w = World::new();
    w.script.refuse_connect = Some(Reason::AuthFailed);
    let c = w.open();
    w.send(c, &pipelined);
    w.expect_close(c, "20020004", Reason::AuthFailed);
    assert!(w.published.is_empty());
}

#[test]
fn what_comes_too_early_is_bounded() {
    let mut w = World::new();
    w.script.manual = true;
    let c = w.open();
    w.send(c, &connect_bytes(4, 2, 60, "", "a"));
    w.send_bytes(c, &[0x30; 16 * 1024]);
    assert_eq!(w.paused.get(&c), None);
    w.send_bytes(c, &[0x30; 1024]);
    assert_eq!(w.paused.get(&c), Some(&true));
    w.send_bytes(c, &[0x30; 256 * 1024]);
    assert_eq!(w.closed.get(&c), Some(&Reason::QuotaExceeded));
    // The answer comes all the same: the session is given back.
    w.events.clear();
    let accept = Accept { session: SessionId::new(0, 0), present: false, after: Seq::NONE };
    let turn = w.turn();
    w.endpoint.accept(&turn, c, accept);
    assert!(matches!(w.endpoint.poll_event(), Some(Event::Disconnected { .. })));
}

#[test]
fn a_client_that_connects_sends_and_leaves_is_heard() {
    let mut w = World::new();
    w.script.manual = true;
    let c = w.open();
    let publish = packet(0x30, &format!("{} \"x\"", field("t")));
    w.send(c, &(connect_bytes(4, 2, 60, "", "a") + &publish + "e000"));
    w.lose(c); // before the authentication is done
    let accept = Accept { session: SessionId::new(0, 0), present: false, after: Seq::NONE };
    let turn = w.turn();
    w.endpoint.accept(&turn, c, accept);
    w.events.pop_front();
    let events: Vec<Event> = std::iter::from_fn(|| w.endpoint.poll_event()).collect();
    assert!(matches!(events[0], Event::Publish { .. }), "{events:?}");
    assert!(
        matches!(
            events[1],
            Event::Disconnected { reason: Reason::ClientDisconnect, drop_will: true, .. }
        ),
        "{events:?}"
    );
    assert!(w.endpoint.poll_transmit().is_none(), "there is nobody to close");
}

#[test]
fn takeover_says_so_in_v5() {
    let mut w = World::new();
    let old = w.connect_v5("same", "");
    let new = w.connect_v5("same", "");
    let text = field("session taken over");
    w.expect_close(old, &packet(0xe0, &format!("8e 15 1f {text}")), Reason::TakenOver);
    assert!(w.log.is_empty(), "no Disconnected after a close from above");
    let old = new;
    w.connect_311("same");
    let got = w.take(old);
    assert_eq!((got[0], got[2]), (0xe0, 0x8e));
    let old = w.sessions["same"].conn.unwrap();
    w.connect_311("same");
    w.expect_close(old, "", Reason::TakenOver);
    // The late close of the old one ends nothing.
    w.lose(old);
    assert!(w.sessions["same"].conn.is_some());
}

#[test]
fn closes_from_above_have_codes() {
    for (reason, code) in [
        (Reason::Shutdown, 0x8b),
        (Reason::Kicked, 0x98),
        (Reason::QueueFull, 0x97),
        (Reason::RateLimited, 0x96),
    ] {
        let mut w = World::new();
        let c = w.connect_v5("a", "");
        w.close(c, reason);
        let got = w.take(c);
        assert_eq!((got[0], got[2], w.closed[&c]), (0xe0, code, reason));
        let c = w.connect_311("b");
        w.close(c, reason);
        w.expect_close(c, "", reason);
        assert!(w.log.is_empty());
    }
}

#[test]
fn a_second_connect_is_a_protocol_error_and_the_will_is_due() {
    let mut w = World::new();
    let c = w.connect(&connect_with_will(5, "", "a", "will"));
    w.send(c, &connect_bytes(5, 2, 60, "", "a"));
    let got = w.take(c);
    assert_eq!((got[0], got[2], w.closed[&c]), (0xe0, 0x82, Reason::ProtocolError));
    assert_eq!(w.wills.len(), 1);
    let c = w.connect(&connect_with_will(4, "", "b", "will"));
    w.send(c, &connect_bytes(4, 2, 60, "", "b"));
    w.expect_close(c, "", Reason::ProtocolError);
    assert_eq!(w.wills.len(), 2);
}

#[test]
fn only_a_normal_goodbye_drops_the_will() {
    for (bytes, sent) in
        [("e0 00", 0), ("e0 01 00", 0), ("e0 02 00 00", 0), ("e0 01 04", 1), ("e0 01 80", 1)]
    {
        let mut w = World::new();
        let c = w.connect(&connect_with_will(5, "", "a", "will"));
        w.send(c, &(bytes.to_string() + "c000"));
        w.expect_close(c, "", Reason::ClientDisconnect);
        assert_eq!(w.wills.len(), sent, "{bytes}");
    }
    let mut w = World::new();
    let c = w.connect(&connect_with_will(4, "", "a", "will"));
    w.lose(c);
    assert_eq!(w.wills.len(), 1);
    assert_eq!(w.wills[0].topic.as_str(), "will");
}

#[test]
fn session_expiry_in_disconnect() {
    // MQTT 5 §3.14.2.2.2: none in CONNECT, some in DISCONNECT.
    let mut w = World::new();
    let c = w.connect_v5("a", "");
    w.send(c, "e0 07 00 05 11 00000001");
    assert_eq!(w.take(c)[2], 0x82);
    let c = w.connect_v5("b", "11 00000010");
    w.send(c, "e0 07 00 05 11 00000005");
    w.expect_close(c, "", Reason::ClientDisconnect);
    assert_eq!(w.sessions["b"].expiry, Duration::from_secs(5));
    let c = w.connect_v5("c", "11 00000010");
    w.send(c, "e0 07 00 05 11 00000000");
    w.expect_close(c, "", Reason::ClientDisconnect);
    assert!(!w.sessions.contains_key("c"));
}

#[test]
fn a_clamped_expiry_is_told() {
    let config = Config { max_session_expiry: Duration::from_secs(100), ..Config::default() };
    let mut w = World::with(config);
    let c = w.open();
    w.send(c, &connect_bytes(5, 2, 60, "11 ffffffff", "a"));
    w.expect(c, &connack(0, &format!("11 00000064 {CAPABILITIES}")));
    assert_eq!(w.sessions["a"].expiry, Duration::from_secs(100));
    w.connect(&connect_bytes(4, 0, 60, "", "b"));
    assert_eq!(w.sessions["b"].expiry, Duration::from_secs(100));
}

#[test]
fn switched_off_capabilities_are_told() {
    let config = Config {
        max_qos: 1,
        retain_available: false,
        wildcard_subscriptions: false,
        shared_subscriptions: false,
        subscription_identifiers: false,
        max_keep_alive: Duration::from_secs(30),
        ..Config::default()
    };
    let mut w = World::with(config);
    let c = w.open();
    w.send(c, &connect_bytes(5, 2, 60, "", "a"));
    w.expect(c, &connack(0, "21 0400 24 01 25 00 27 00200000 22 0040 28 00 29 00 2a 00 13 001e"));
    // Keep alive within the bound is not repeated; MQTT 3 above it is refused.
    let c = w.open();
    w.send(c, &connect_bytes(4, 2, 60, "", "b"));
    w.expect_close(c, "20 02 00 02", Reason::NotSupported);
    w.connect(&connect_bytes(4, 2, 30, "", "b"));
    // What is off and used all the same.
    let c = w.connect_v5("c", "");
    w.send(c, &packet(0x34, &format!("{} 0001 00 \"x\"", field("t"))));
    assert_eq!(w.take(c)[2], 0x9b);
    let c = w.connect_v5("c", "");
    w.send(c, &packet(0x31, &format!("{} 00 \"x\"", field("t"))));
    assert_eq!(w.take(c)[2], 0x9a);
    let c = w.connect_v5("c", "");
    w.send(c, &packet(0x82, &format!("0001 02 0b 07 {} 00", field("t"))));
    assert_eq!(w.take(c)[2], 0xa1);
    // MQTT 5 §3.2.2.3.11, §3.2.2.3.13: whoever was told that there are none gets no SUBACK.
    for (filter, code) in [("a/+", 0xa2), ("$share/g/t", 0x9e), ("$share/g/a/#", 0x9e)] {
        let c = w.connect_v5("c", "");
        w.send(c, &packet(0x82, &format!("0001 00 {} 01 {} 02", field("t"), field(filter))));
        let got = w.take(c);
        assert_eq!((got[0], got[2], w.closed[&c]), (0xe0, code, Reason::NotSupported), "{filter}");
    }
    // [MQTT-3.2.2-10]: any QoS may be asked for.
    let c = w.connect_v5("c", "");
    w.send(
        c,
        &packet(0x82, &format!("0001 00 {} 00 {} 01 {} 02", field("a"), field("b"), field("c"))),
    );
    w.expect(c, "90 06 0001 00 00 01 01");
    let c = w.connect(&connect_bytes(4, 2, 30, "", "d"));
    w.send(c, &packet(0x82, &format!("0001 {} 02 {} 02", field("a/+"), field("t"))));
    w.expect(c, "90 04 0001 80 01");
}

#[test]
fn will_limits() {
    let config = Config { max_qos: 0, ..Config::default() };
    let mut w = World::with(config);
    let c = w.open();
    let body =
        format!("{} 05 0e 003c 00 {} 00 {} {}", field("MQTT"), field("a"), field("t"), field("p"));
    w.send(c, &packet(0x10, &body));
    let got = w.take(c);
    assert_eq!((got[0], got[3]), (0x20, 0x9b));
}

#[test]
fn deadlines_of_the_connection() {
    let mut w = World::new();
    let c = w.open();
    w.send(c, "10");
    w.advance(Duration::from_millis(9_999));
    assert!(w.closed.is_empty());
    w.advance(Duration::from_millis(1));
    w.expect_close(c, "", Reason::ConnectTimeout);
}
