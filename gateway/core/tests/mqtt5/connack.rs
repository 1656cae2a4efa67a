//! CONNACK and keep alive (MQTT 5 §3.2, §3.1.2.10).

use std::time::Duration;

use motegate_message::Reason;

use crate::wire::*;

/// [MQTT-3.1.4-5], [MQTT-3.2.0-1], [MQTT-3.2.0-2], [MQTT-3.2.2-1]: one CONNACK, first, when what it
/// promises is stored; its flags are 0 or 1.
#[test]
fn connack_is_first_and_one() {
    let mut w = World::new();
    w.gateway.commit_at_once = false;
    let c = w.knock(&(connect(0, "11 00000e10", &field("a")) + "c000"));
    w.expect(c, "");
    w.gateway.commit();
    w.expect(c, &format!("20 0e 00 00 0b {CAPABILITIES} d000"));
    w.gateway.commit_at_once = true;
    w.send(c, &subscribe("0001", "", "t", "01"));
    w.expect(c, "90 04 0001 00 01");
    let p = w.client("p", "");
    w.lose(c);
    w.send(p, &publish(0x32, "t", "0001", "", "61"));
    // What a resumed session has to say comes behind it.
    let c = w.knock(&connect(0, "11 00000e10", &field("a")));
    let got = w.take(c);
    let firsts: Vec<u8> = packets(&got).iter().map(|packet| packet[0]).collect();
    assert_eq!((firsts, got[2]), (vec![0x20, 0x32], 1));
}

/// [MQTT-3.14.0-1]: no DISCONNECT while the CONNACK is not there.
#[test]
fn no_goodbye_ahead_of_connack() {
    let mut w = World::new();
    w.gateway.commit_at_once = false;
    let c = w.knock(&connect(0, "11 00000e10", &field("a")));
    // More than is kept: the connection ends before it was accepted.
    w.gateway.send(c, &[0; 300_000]);
    w.refused(c, 0x97);
}

/// [MQTT-3.2.2-6], [MQTT-3.2.2-7], [MQTT-3.2.2-8], [MQTT-4.13.2-1]: every refusal says Session
/// Present 0, also where there is a session, has a code of the table, and closes.
#[test]
fn refusals() {
    let mut w = World::with(|config| {
        config.mqtt = Mqtt { max_qos: 1, retain_available: false, ..Mqtt::default() };
    });
    let c = w.durable("a", false);
    w.lose(c);
    let will = |flags: u8, topic: &str| {
        connect(flags, "", &format!("{} 00 {} 0001 78", field("a"), field(topic)))
    };
    let deep = vec!["x"; 201].join("/");
    let many = format!("26 {} {}", field("k"), field("v")).repeat(65);
    for (request, code) in [
        (connect(1, "", &field("a")), 0x81),
        (connect(0, "21 0000", &field("a")), 0x82),
        (connect(0, "", &field(&"x".repeat(1025))), 0x85),
        (will(4, "$SYS/x"), 0x87),
        (connect(0, &format!("15 {}", field("NONE")), &field("a")), 0x8c),
        (will(4, &deep), 0x90),
        (connect(0, &many, &field("a")), 0x97),
        (will(0x24, "t"), 0x9a),
        (will(0x14, "t"), 0x9b),
    ] {
        let c = w.knock(&request);
        w.refused(c, code);
        let c = w.durable("a", true);
        w.lose(c);
    }
    // The server is there for this client all the same.
    w.durable("a", true);
}

/// [MQTT-3.2.2-9], [MQTT-3.2.2-10], [MQTT-3.2.2-11], [MQTT-3.2.2-12], [MQTT-3.8.4-8]: a lower
/// Maximum QoS is told, any may be asked for and no more is granted; beyond it 0x9B.
#[test]
fn maximum_qos() {
    for max in [0, 1] {
        let mut w = World::with_mqtt(Mqtt { max_qos: max, ..Mqtt::default() });
        let watcher = w.watcher();
        let c = w.knock(&connect_with_will(2, "", "a", ""));
        w.expect(c, &format!("20 10 00 00 0d 21 0400 24 {max:02x} 27 00200000 22 0040"));
        for qos in 0..=2_u8 {
            w.send(c, &subscribe("0001", "", "t", &format!("{qos:02x}")));
            w.expect(c, &format!("90 04 0001 00 {:02x}", qos.min(max)));
        }
        w.send(c, &publish(0x30 | (max + 1) << 1, "t", "0001", "", "61"));
        w.goodbye(c, 0x9b);
        assert_eq!(w.wills(watcher), 1);
        for qos in max + 1..=2 {
            let c = w.knock(&connect_with_will(2 | qos << 3, "", "b", ""));
            w.refused(c, 0x9b);
        }
        w.enter(&connect_with_will(2 | max << 3, "", "b", ""), false);
        assert_eq!(w.wills(watcher), 0);
    }
}

/// [MQTT-3.2.2-13], [MQTT-3.2.2-14]: without retained messages that is told, a retained will is
/// refused (0x9A), and so is who publishes one all the same.
#[test]
fn retain_unavailable() {
    let mut w = World::with_mqtt(Mqtt { retain_available: false, ..Mqtt::default() });
    let c = w.knock(&connect(2, "", &field("a")));
    w.expect(c, "20 10 00 00 0d 21 0400 25 00 27 00200000 22 0040");
    w.send(c, &publish(0x31, "t", "", "", "61"));
    w.goodbye(c, 0x9a);
    let c = w.knock(&connect_with_will(0x22, "", "a", ""));
    w.refused(c, 0x9a);
}

/// [MQTT-3.2.2-15]: a packet beyond the Maximum Packet Size is refused (0x95) by its header; one of
/// exactly that size is taken.
#[test]
fn maximum_packet_size() {
    let mut w = World::with_mqtt(Mqtt { max_packet_size: 200, ..Mqtt::default() });
    let watcher = w.watcher();
    let c = w.knock(&connect_with_will(2, "", "a", ""));
    w.expect(c, "20 0e 00 00 0b 21 0400 27 000000c8 22 0040");
    w.send(c, &publish(0x32, "t", "0001", "", &"61".repeat(191)));
    w.expect(c, "40 03 0001 10");
    w.send(c, "32 c6 01");
    w.goodbye(c, 0x95);
    assert_eq!(w.wills(watcher), 1);
}

/// [MQTT-3.2.2-17], [MQTT-3.2.2-18], [MQTT-3.3.2-8], [MQTT-3.3.2-9], [MQTT-3.3.2-12]: every alias
/// from 1 to the maximum is taken, 0 and more than it are not (0x94), none where the maximum is 0.
#[test]
fn topic_alias_maximum() {
    for max in [0_u16, 1, 64, 300] {
        let mut w = World::with_mqtt(Mqtt { topic_alias_maximum: max, ..Mqtt::default() });
        let c = w.knock(&connect(2, "", &field("a")));
        w.expect(c, &format!("20 0e 00 00 0b 21 0400 27 00200000 22 {max:04x}"));
        w.subscribed(c, "#", 0);
        for alias in 1..=max {
            let topic = format!("t/{alias}");
            w.send(c, &publish(0x30, &topic, "", &format!("23 {alias:04x}"), "61"));
            w.expect(c, &publish(0x30, &topic, "", "", "61"));
        }
        for alias in (1..=max).rev() {
            w.send(c, &publish(0x30, "", "", &format!("23 {alias:04x}"), "62"));
            w.expect(c, &publish(0x30, &format!("t/{alias}"), "", "", "62"));
        }
        for alias in [0, max + 1] {
            let c = w.client("b", "");
            w.send(c, &publish(0x30, "t", "", &format!("23 {alias:04x}"), "61"));
            w.goodbye(c, 0x94);
        }
    }
}

/// Choice 18: what is switched off is told; what is as the standard says is not.
#[test]
fn capabilities_that_differ() {
    let mut w = World::with_mqtt(Mqtt {
        wildcard_subscriptions: false,
        subscription_identifiers: false,
        shared_subscriptions: false,
        max_session_expiry: Duration::from_secs(60),
        ..Mqtt::default()
    });
    let c = w.knock(&connect(2, "11 0000003d", &field("a")));
    w.expect(c, "20 19 00 00 16 11 0000003c 21 0400 27 00200000 22 0040 28 00 29 00 2a 00");
    let c = w.knock(&connect(2, "11 0000003c", &field("a")));
    w.expect(c, "20 14 00 00 11 21 0400 27 00200000 22 0040 28 00 29 00 2a 00");
}

/// [MQTT-3.1.2-28]: Response Information on request, if there is any.
#[test]
fn response_information() {
    let mut w = World::with_mqtt(Mqtt { response_prefix: "re/".into(), ..Mqtt::default() });
    let told = format!("1a {}", show(&hex(&field("re/a/"))));
    for (asked, comes) in [("19 01", true), ("19 00", false), ("", false)] {
        let c = w.knock(&connect(2, asked, &field("a")));
        assert_eq!(show(&w.take(c)).contains(&told), comes, "{asked}");
    }
}

/// [MQTT-3.1.2-22], [MQTT-3.2.2-22]: one and a half times the client's own keep alive where no
/// other was told; not earlier, and as if the network had failed: the will goes.
#[test]
fn keep_alive() {
    let mut w = World::new();
    let watcher =
        w.knock(&packet(0x10, &format!("0004 \"MQTT\" 05 02 0000 00 {}", field("watcher"))));
    w.take(watcher);
    w.subscribed(watcher, "will/#", 0);
    let will = "00 0006 \"will/a\" 0001 78";
    let c = w
        .enter(&packet(0x10, &format!("0004 \"MQTT\" 05 06 000a 00 {} {will}", field("a"))), false);
    w.secs(14);
    w.alive(c);
    // Bytes that are no whole packet are no sign of life.
    w.gateway.advance(Duration::from_millis(14_900));
    w.send(c, "c0");
    assert!(!w.gateway.closed.contains_key(&c));
    w.gateway.advance(Duration::from_millis(200));
    w.goodbye(c, 0x8d);
    assert_eq!((w.gateway.closed[&c], w.wills(watcher)), (Reason::KeepaliveTimeout, 1));
    // Keep alive 0: never.
    w.secs(100_000);
    w.alive(watcher);
}

/// [MQTT-3.2.2-21], [MQTT-3.2.2-22]: where another keep alive is told, that one holds.
#[test]
fn server_keep_alive() {
    let mut w =
        World::with_mqtt(Mqtt { max_keep_alive: Duration::from_secs(10), ..Mqtt::default() });
    for (asked, told) in
        [("0000", true), ("003c", true), ("000b", true), ("000a", false), ("0005", false)]
    {
        let c = w.knock(&packet(0x10, &format!("0004 \"MQTT\" 05 02 {asked} 00 {}", field("a"))));
        let got = w.take(c);
        assert_eq!(got.ends_with(&[0x13, 0, 10]), told, "{asked}: {}", show(&got));
        let silence = if asked == "0005" { 7_500 } else { 15_000 };
        w.gateway.advance(Duration::from_millis(silence - 1));
        assert!(!w.gateway.closed.contains_key(&c), "{asked}: early");
        w.gateway.advance(Duration::from_millis(1));
        w.goodbye(c, 0x8d);
    }
}

/// [MQTT-3.12.4-1], [MQTT-4.9.0-3]: PINGREQ is answered, also with the quota used up.
#[test]
fn ping() {
    let mut w = World::new();
    let c = w.client("a", "21 0001");
    w.subscribed(c, "t", 1);
    w.alive(c);
    let p = w.client("p", "");
    for _ in 0..3 {
        w.send(p, &publish(0x32, "t", "0001", "", "61"));
    }
    w.expect(c, &publish(0x32, "t", "0001", "", "61"));
    w.alive(c);
}
