//! Keep alive, outbox and credit, maximum packet size, aliases, expiry, subscriptions
//! (protocols/mqtt.md §2.12…2.17).
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod common;

use std::time::Duration;

use common::{World, connect_bytes, field, hex, packet, show};
use motegate_message::{Message, Properties, Qos, Reason, TopicName};
use motegate_mqtt::Config;

fn subscribe(filter: &str, qos: u8) -> String {
    packet(0x82, &format!("0001 00 {} {qos:02x}", field(filter)))
}

fn subscribe_3(filter: &str, qos: u8) -> String {
    packet(0x82, &format!("0001 {} {qos:02x}", field(filter)))
}

#[test]
fn keep_alive_is_one_and_a_half_times() {
    let mut w = World::new();
    let c = w.connect(&connect_bytes(5, 2, 10, "", "a"));
    w.advance(Duration::from_millis(14_000));
    w.send(c, "c000");
    w.expect(c, "d000");
    w.advance(Duration::from_millis(14_999));
    w.expect(c, "");
    // Bytes are not packets, and what we send does not count.
    w.send(c, "c0");
    w.advance(Duration::from_millis(1));
    let got = w.take(c);
    assert_eq!((got[0], got[2], w.closed[&c]), (0xe0, 0x8d, Reason::KeepaliveTimeout));
    assert_eq!(w.log, ["disconnected keepalive_timeout drop_will=false"]);
}

#[test]
fn without_keep_alive_only_a_started_packet_is_timed() {
    let mut w = World::new();
    let c = w.connect(&connect_bytes(4, 2, 0, "", "a"));
    w.advance(Duration::from_secs(1_000_000));
    w.send(c, "30 05");
    w.advance(Duration::from_millis(59_999));
    w.send(c, "00");
    assert!(w.closed.is_empty());
    w.advance(Duration::from_millis(1));
    w.expect_close(c, "", Reason::KeepaliveTimeout);
    let c = w.connect(&connect_bytes(4, 2, 0, "", "b"));
    w.send(c, "c0");
    w.advance(Duration::from_secs(59));
    w.send(c, "00 c0");
    w.advance(Duration::from_secs(59));
    w.send(c, "00");
    w.advance(Duration::from_secs(1_000));
    w.expect(c, "d000 d000");
}

/// protocols/mqtt.md §2.17: whoever sends a byte a second gets no more time than who sends nothing.
#[test]
fn a_byte_a_second_is_no_sign_of_life() {
    let drip = |w: &mut World, c, bytes: &str, secs: u64| {
        for (second, byte) in hex(bytes).into_iter().enumerate() {
            assert_eq!(w.closed.contains_key(&c), second as u64 >= secs, "after {second} s");
            w.send_bytes(c, &[byte]);
            w.advance(Duration::from_secs(1));
        }
    };
    let long = packet(0x30, &format!("{} \"{}\"", field("t"), "x".repeat(100)));
    for (level, keep_alive, secs, reason) in [
        (4, 4, 6, Reason::KeepaliveTimeout),
        (3, 20, 30, Reason::KeepaliveTimeout),
        (4, 0, 60, Reason::KeepaliveTimeout),
    ] {
        let mut w = World::new();
        let c = w.connect(&connect_bytes(level, 2, keep_alive, "", "a"));
        drip(&mut w, c, &long, secs);
        w.expect_close(c, "", reason);
        assert!(w.published.is_empty());
    }
    let mut w = World::new();
    let c = w.open();
    drip(&mut w, c, &connect_bytes(4, 2, 60, "", "a client"), 10);
    w.expect_close(c, "", Reason::ConnectTimeout);
    // Whole packets are, whatever they are, and however they come.
    let mut w = World::new();
    let c = w.connect(&connect_bytes(4, 2, 4, "", "a"));
    drip(&mut w, c, "c000 40020009 c000 70020009 3003 0001 61 c000", 99);
    w.expect(c, "d000 d000 d000");
}

/// Announced is not sent: a packet is judged by its type and its length as soon as they are there.
#[test]
fn what_a_header_announces_is_judged_at_once() {
    for (header, reason) in [
        ("30 ff ff ff 7f", Reason::TooLarge),
        ("82 ff ff ff 7f", Reason::TooLarge),
        ("30 ff ff ff ff", Reason::Malformed),
        ("c0 ff ff ff ff", Reason::Malformed),
        ("c0 01", Reason::Malformed),
        ("c0 ff ff ff 7f", Reason::Malformed),
        ("40 03", Reason::Malformed),
        ("e0 80 01", Reason::Malformed),
        ("36", Reason::Malformed),
        ("90", Reason::ProtocolError),
        ("f0", Reason::Malformed),
        ("10", Reason::ProtocolError),
    ] {
        let mut w = World::new();
        let c = w.connect(&connect_bytes(4, 2, 60, "", "a"));
        let bytes = hex(header);
        for (at, byte) in bytes.iter().enumerate() {
            assert_eq!(w.closed.get(&c), None, "{header} before byte {at}");
            w.send_bytes(c, &[*byte]);
        }
        assert_eq!(w.closed.get(&c), Some(&reason), "{header}");
        assert_eq!(w.log, [format!("disconnected {reason} drop_will=false")]);
    }
}

#[test]
fn server_keep_alive_holds() {
    let config = Config { max_keep_alive: Duration::from_secs(10), ..Config::default() };
    let mut w = World::with(config);
    let c = w.connect(&connect_bytes(5, 2, 0, "", "a"));
    w.advance(Duration::from_secs(15));
    assert_eq!(w.closed[&c], Reason::KeepaliveTimeout);
}

#[test]
fn a_packet_too_large_is_refused_by_its_header() {
    let mut w = World::with(Config { max_packet_size: 100, ..Config::default() });
    let c = w.connect_v5("a", "");
    w.send(c, &packet(0x30, &format!("{} 00 {}", field("t"), "61".repeat(94))));
    w.expect(c, "");
    w.send(c, "30 63");
    let got = w.take(c);
    assert_eq!((got[0], got[2], w.closed[&c]), (0xe0, 0x95, Reason::TooLarge));
    let c = w.connect_311("b");
    w.send(c, "30 ff 7f");
    w.expect_close(c, "", Reason::TooLarge);
}

#[test]
fn the_clients_maximum_packet_size() {
    let mut w = World::new();
    // 39 bytes: room for the CONNACK, and for a PUBLISH of 39.
    let c = w.connect_v5("a", "27 00000027");
    w.send(c, &subscribe("t", 1));
    w.take(c);
    w.inject("t", Qos::AtLeastOnce, &[b'x'; 32]);
    assert_eq!(w.log, ["acked 1"], "one byte too much: over at once");
    w.inject("t", Qos::AtLeastOnce, &[b'x'; 31]);
    let got = w.take(c);
    assert_eq!((got.len(), &got[5..7]), (39, &[0, 1][..]), "equal is allowed, and id 1 was free");
    w.inject("t", Qos::AtMostOnce, &[b'x'; 34]);
    w.expect(c, "");
    assert_eq!(w.endpoint.counters().oversize_dropped, 2);
}

#[test]
fn a_reason_string_that_does_not_fit_is_left_out() {
    let mut w = World::new();
    w.script.refuse_publish = Some(Reason::AclDeny);
    let c = w.connect_v5("a", "27 00000017");
    w.send(c, &packet(0x32, &format!("{} 0001 00", field("t"))));
    assert_eq!(w.take(c).len(), 23, "23 bytes fit");
    w.script.refuse_publish = Some(Reason::BadTopic);
    w.send(c, &packet(0x32, &format!("{} 0002 00", field("t"))));
    w.expect(c, "40 03 0002 90");
    // A SUBACK that does not fit at all ends it.
    let filters = format!("{} 00", field("t")).repeat(20);
    w.send(c, &packet(0x82, &format!("0003 00 {filters}")));
    w.expect_close(c, &format!("e0 15 95 13 1f {}", field("packet too large")), Reason::TooLarge);
}

#[test]
fn inbound_aliases() {
    let mut w = World::new();
    let c = w.connect_v5("a", "");
    let publish = |topic: &str, alias: u16| {
        packet(0x30, &format!("{} 03 23 {alias:04x} \"x\"", field(topic)))
    };
    w.send(c, &publish("one", 1));
    w.send(c, &publish("two", 64));
    w.send(c, &publish("", 1));
    w.send(c, &publish("three", 1));
    w.send(c, &publish("", 1));
    w.send(c, &publish("", 64));
    let topics: Vec<&str> = w.published.iter().map(|m| m.topic.as_str()).collect();
    assert_eq!(topics, ["one", "two", "one", "three", "three", "two"]);
    w.send(c, &publish("", 2));
    assert_eq!(w.take(c)[2], 0x82, "never set");
    for bad in [0, 65] {
        let c = w.connect_v5("a", "");
        w.send(c, &publish("t", bad));
        assert_eq!(w.take(c)[2], 0x94, "{bad}");
    }
    // Gone with the connection; set even by a refused publish.
    let c = w.connect_v5("a", "");
    w.send(c, &publish("", 1));
    assert_eq!(w.take(c)[2], 0x82);
    let c = w.connect_v5("a", "");
    w.script.refuse_publish = Some(Reason::AclDeny);
    w.send(c, &publish("denied", 1));
    w.script.refuse_publish = None;
    w.send(c, &publish("", 1));
    assert_eq!(w.published.last().unwrap().topic.as_str(), "denied");
}

#[test]
fn outbound_aliases() {
    let mut w = World::new();
    let c = w.connect_v5("a", "22 0001 11 00000e10");
    w.send(c, &subscribe("#", 1));
    w.take(c);
    w.inject("t", Qos::AtLeastOnce, b"1");
    w.expect(c, r#"32 0a 0001 "t" 0001 03 23 0001 "1""#);
    w.inject("t", Qos::AtLeastOnce, b"2");
    w.expect(c, r#"32 09 0000 0002 03 23 0001 "2""#);
    w.inject("u", Qos::AtMostOnce, b"3");
    w.expect(c, r#"30 05 0001 "u" 00 "3""#);
    w.lose(c);
    // Sent again in full.
    let c = w.open();
    w.send(c, &connect_bytes(5, 0, 60, "11 00000e10 22 0001", "a"));
    let got = show(&w.take(c));
    let rest = hex(r#"3a 07 0001 "t" 0001 00 "1" 3a 07 0001 "t" 0002 00 "2""#);
    assert!(got.ends_with(&show(&rest)), "{got}");
}

#[test]
fn expiry_counts_down() {
    let mut w = World::new();
    let c = w.resume_v5("a");
    w.send(c, &subscribe("t", 1));
    w.take(c);
    w.lose(c);
    let p = w.connect_v5("p", "");
    w.send(p, &packet(0x32, &format!("{} 0001 05 02 0000000a \"x\"", field("t"))));
    w.advance(Duration::from_millis(3_500));
    let c = w.open();
    w.send(c, &connect_bytes(5, 0, 60, "11 00000e10", "a"));
    let got = show(&w.take(c));
    assert!(got.contains("05 02 00 00 00 07"), "6.5 s left, rounded up: {got}");
    w.lose(c);
    w.advance(Duration::from_secs(60));
    let c = w.open();
    w.send(c, &connect_bytes(5, 0, 60, "11 00000e10", "a"));
    let got = show(&w.take(c));
    assert!(got.contains("05 02 00 00 00 01"), "sent once, it no longer expires: {got}");
}

#[test]
fn properties_travel_in_order_and_stop_at_mqtt_3() {
    let mut w = World::new();
    let c = w.connect_v5("a", "");
    w.send(c, &packet(0x82, &format!("0001 02 0b 05 {} 00", field("t"))));
    w.take(c);
    let old = w.connect_311("b");
    w.send(old, &subscribe_3("t", 0));
    w.take(old);
    let properties = format!(
        "01 01 03 {} 08 {} 09 0001 ff 26 {} {} 26 {} {}",
        field("text"),
        field("re"),
        field("k"),
        field("2"),
        field("k"),
        field("1")
    );
    let len = hex(&properties).len();
    w.send(c, &packet(0x30, &format!("{} {len:02x} {properties} \"x\"", field("t"))));
    w.expect(c, &packet(0x30, &format!("{} {:02x} {properties} 0b 05 \"x\"", field("t"), len + 2)));
    w.expect(old, r#"30 04 0001 "t" "x""#);
}

#[test]
fn too_many_user_properties() {
    let mut w = World::with(Config { max_user_properties: 2, ..Config::default() });
    let one = format!("26 {} {}", field("k"), field("v"));
    let three = format!("15 {one}{one}{one}");
    let c = w.connect_v5("a", "17 00");
    w.send(c, &packet(0x32, &format!("{} 0001 {three}", field("t"))));
    w.send(c, &packet(0x34, &format!("{} 0002 {three}", field("t"))));
    w.expect(c, "40 03 0001 97  50 03 0002 97");
    w.send(c, &packet(0x30, &format!("{} {three}", field("t"))));
    assert_eq!(w.take(c)[2], 0x97);
    let c = w.open();
    w.send(c, &connect_bytes(5, 2, 60, &format!("{one}{one}{one}"), "b"));
    assert_eq!(w.take(c)[3], 0x97);
    let c = w.connect_v5("c", "");
    w.send(c, &packet(0x82, &format!("0001 {three} {} 00", field("t"))));
    assert_eq!(w.take(c)[2], 0x97);
    assert!(w.published.is_empty());
}

#[test]
fn topics_too_deep() {
    let mut w = World::with(Config { max_topic_levels: 3, ..Config::default() });
    let c = w.connect_v5("a", "17 00");
    w.send(c, &packet(0x82, &format!("0001 00 {} 00", field("a/b/c"))));
    w.expect(c, "90 04 0001 00 00");
    w.send(c, &packet(0x30, &format!("{} 00", field("a/b/c"))));
    w.send(c, &packet(0x30, &format!("{} 00", field("a/b/c/d"))));
    assert_eq!(w.take(c)[12], 0x90, "behind the echo");
    // Choice 7: the whole packet is refused, and nothing of it is stored.
    for first in [0x82, 0xa2] {
        let c = w.connect_v5("b", "17 00");
        let options = if first == 0x82 { "00" } else { "" };
        let deep = format!("{} {options} {} {options}", field("a/b/c"), field("a/b/c/d"));
        w.send(c, &packet(first, &format!("0001 00 {deep}")));
        let goodbye = w.take(c);
        assert_eq!((goodbye[0], goodbye[2]), (0xe0, 0x8f));
        assert_eq!(w.closed[&c], Reason::BadTopic);
    }
}

#[test]
fn subscribe_answers_by_version() {
    let mut w = World::new();
    w.script.refuse_filter.insert("deny".into(), Reason::AclDeny);
    w.script.refuse_filter.insert("full".into(), Reason::QuotaExceeded);
    let filters = |w: &str| format!("{} 01 {} 02{w}", field("deny"), field("t"));
    let c = w.connect(&connect_bytes(3, 2, 60, "", "a"));
    w.send(c, &packet(0x82, &format!("0001 {}", filters(""))));
    w.expect(c, "90 04 0001 01 02"); // as granted, nothing stored
    let c = w.connect_311("b");
    w.send(c, &packet(0x82, &format!("0001 {}", filters(""))));
    w.expect(c, "90 04 0001 80 02");
    let c = w.connect_v5("c", "17 00");
    let full = format!(" {} 00", field("full"));
    w.send(c, &packet(0x82, &format!("0001 00 {}", filters(&full))));
    w.expect(c, "90 06 0001 00 87 02 97");
    w.send(c, &packet(0xa2, &format!("0002 00 {} {}", field("t"), field("x"))));
    w.expect(c, "b0 05 0002 00 00 11");
    let c = w.sessions["b"].conn.unwrap();
    w.send(c, &packet(0xa2, &format!("0002 {}", field("t"))));
    w.expect(c, "b0 02 0002");
}

/// To MQTT 3 a malformed shared subscription is a filter like others: it is refused and not a breach.
#[test]
fn a_malformed_share_is_answered_in_mqtt_3() {
    let mut w = World::new();
    for (level, refused) in [(3, "00"), (4, "80")] {
        let c = w.connect(&connect_bytes(level, 2, 60, "", "a"));
        for bad in ["$share/g", "$share/", "$share//t", "$share/+/t", "$share/#"] {
            w.send(c, &packet(0x82, &format!("0001 {} 00 {} 01", field(bad), field("t"))));
            w.expect(c, &format!("90 04 0001 {refused} 01"));
            w.send(c, &packet(0xa2, &format!("0002 {}", field(bad))));
            w.expect(c, "b0 02 0002");
        }
        w.send(c, &packet(0x82, &format!("0001 {} 00", field("$share/g/#/x"))));
        assert_eq!(w.closed[&c], Reason::Malformed, "no version has this");
    }
}

#[test]
fn the_bridge_bit_stands_for_no_local() {
    let mut w = World::new();
    let c = w.connect(&connect_bytes(0x84, 2, 60, "", "bridge"));
    w.send(c, &subscribe_3("#", 0));
    w.take(c);
    w.send(c, r#"31 04 0001 "t" "x""#);
    w.expect(c, "");
    let mut message = Message::new(TopicName::new("t").unwrap(), "y".into());
    message.retain = true;
    w.inject_message(&message);
    w.expect(c, r#"31 04 0001 "t" "y""#);
}

#[test]
fn a_peer_that_does_not_read() {
    let mut w = World::with(Config { max_outbox_bytes: 1000, ..Config::default() });
    let c = w.connect(&connect_bytes(4, 2, 0, "", "a"));
    w.send(c, &subscribe_3("t", 0));
    w.take(c);
    w.stuck.push(c);
    for _ in 0..6 {
        w.inject("t", Qos::AtMostOnce, &[0; 99]);
    }
    assert!(w.credits.is_empty());
    // A ping is answered whatever waits.
    w.send(c, "c000");
    assert!(w.endpoint.outbox(c).ends_with(&[0xd0, 0]));
    w.read_outbox(c, 300);
    assert!(w.credits.is_empty(), "not yet drained");
    w.read_outbox(c, 200);
    assert_eq!(w.credits.len(), 1);
    let left = u32::try_from(w.endpoint.outbox(c).len()).unwrap();
    assert_eq!(w.credits[0], (128, 1000 - left), "absolute");
    w.read_outbox(c, 10_000);
    assert_eq!(w.credits.len(), 1, "nothing was low");
    // No progress for 30 s.
    w.inject("t", Qos::AtMostOnce, &[0; 99]);
    w.take(c);
    w.advance(Duration::from_millis(29_999));
    assert!(w.closed.is_empty());
    w.advance(Duration::from_millis(1));
    w.expect_close(c, "", Reason::SlowConsumer);
}

#[test]
fn a_flood_without_reading_pauses_the_client() {
    let mut w = World::with(Config { max_outbox_bytes: 1000, ..Config::default() });
    let c = w.connect_311("a");
    w.stuck.push(c);
    for _ in 0..40 {
        w.send_bytes(c, &[0xc0, 0].repeat(1000));
    }
    assert_eq!(w.paused.get(&c), Some(&true));
    w.read_outbox(c, usize::MAX);
    assert_eq!(w.paused.get(&c), Some(&false));
}

#[test]
fn a_paused_client_is_not_blamed_for_its_silence() {
    let mut w = World::with(Config { max_outbox_bytes: 1000, ..Config::default() });
    let c = w.connect(&connect_bytes(4, 2, 2, "", "a"));
    w.stuck.push(c);
    for _ in 0..40 {
        w.send_bytes(c, &[0xc0, 0].repeat(1000));
    }
    w.advance(Duration::from_secs(20));
    assert!(w.closed.is_empty());
    w.read_outbox(c, usize::MAX);
    w.advance(Duration::from_secs(4));
    assert_eq!(w.closed[&c], Reason::KeepaliveTimeout);
}

#[test]
fn content_of_messages_is_kept() {
    let mut w = World::new();
    let c = w.connect_v5("a", "");
    let body = format!("{} 05 02 00000000 \"pay\"", field("t"));
    w.send(c, &packet(0x31, &body));
    let message = &w.published[0];
    assert_eq!(
        (&message.payload[..], message.retain, message.qos),
        (&b"pay"[..], true, Qos::AtMostOnce)
    );
    assert_eq!(message.expires, Some(w.now));
    assert_eq!(message.properties, None);
    w.send(c, &packet(0x30, &format!("{} 02 01 01", field("t"))));
    let expected = Properties { payload_utf8: Some(true), ..Properties::default() };
    assert_eq!(w.published[1].properties.as_deref(), Some(&expected));
}

/// [MQTT-1.5.5-1]: the remaining length, too. MQTT 3 does not ask for it.
#[test]
fn a_padded_remaining_length_is_malformed_in_5_only() {
    for (level, properties, code) in [(3, "", None), (4, "", None), (5, "17 00", Some(0x81))] {
        let mut w = World::new();
        let c = w.connect(&common::connect_bytes(level, 2, 60, properties, "c"));
        w.send(c, "c0 80 00");
        match code {
            None => w.expect(c, "d000"),
            Some(code) => {
                let bytes = w.take(c);
                assert_eq!((bytes[0], bytes[2]), (0xe0, code));
                w.expect_close(c, "", Reason::Malformed);
            }
        }
    }
    // CONNECT itself: as a malformed one.
    let mut w = World::new();
    let c = w.open();
    let connect = common::hex(&common::connect_bytes(5, 2, 60, "17 00", "c"));
    let padded = [&[connect[0], connect[1] | 0x80, 0], &connect[2..]].concat();
    w.send_bytes(c, &padded);
    let bytes = w.take(c);
    assert_eq!((bytes[0], bytes[3]), (0x20, 0x81));
    w.expect_close(c, "", Reason::Malformed);
}
