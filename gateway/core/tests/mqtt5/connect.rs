//! CONNECT (MQTT 5 §3.1): what is taken, what is refused and how, and which session it opens.

use motegate_message::Reason;

use crate::wire::*;

/// [MQTT-3.1.0-1]: anything else closes on its first byte; nothing is answered, because nothing
/// is known of who speaks.
#[test]
fn the_first_packet_is_connect() {
    for first in (0..=255_u8).filter(|first| first >> 4 != 1) {
        let mut w = World::new();
        let c = w.knock(&format!("{first:02x}"));
        assert!(matches!(w.hung_up(c), Reason::ProtocolError | Reason::Malformed), "{first:02x}");
    }
}

/// [MQTT-3.1.0-2], [MQTT-3.2.0-2], [MQTT-4.13.1-1]: a second one is a protocol error; no second
/// CONNACK, and the will goes.
#[test]
fn a_second_connect() {
    let mut w = World::new();
    let watcher = w.watcher();
    let c = w.enter(&connect_with_will(2, "", "a", ""), false);
    w.send(c, &connect_with_will(2, "", "a", ""));
    w.goodbye(c, 0x82);
    assert_eq!(w.wills(watcher), 1);
}

/// [MQTT-3.1.2-1], [MQTT-3.1.2-2]: another name is nobody's protocol; another level is refused in
/// the form that every version reads.
#[test]
fn protocol_name_and_version() {
    let mut w = World::new();
    for name in ["MQTX", "mqtt", "MQT", "MQTTX", "", "HTTP"] {
        let c = w.knock(&packet(0x10, &format!("{} 05 02 003c 00 {}", field(name), field("a"))));
        assert_eq!(w.hung_up(c), Reason::Malformed, "{name}");
    }
    for level in ["00", "01", "02", "03", "06", "07", "85", "ff"] {
        let c = w.knock(&packet(0x10, &format!("0004 \"MQTT\" {level} 02 003c 00 {}", field("a"))));
        w.expect(c, "20 02 00 01");
        assert_eq!(w.gateway.closed[&c], Reason::UnsupportedVersion);
    }
}

/// [MQTT-3.1.2-3], [MQTT-3.1.2-9], [MQTT-3.1.2-11], [MQTT-3.1.2-12], [MQTT-3.1.2-13],
/// [MQTT-3.1.2-16], [MQTT-3.1.2-17], [MQTT-3.1.2-18], [MQTT-3.1.2-19], [MQTT-3.1.3-1],
/// [MQTT-3.1.3-3], [MQTT-3.1.4-1]: flags and fields belong together, in order, and nothing is left
/// over. A refused CONNECT leaves no will.
#[test]
fn flags_and_fields_belong_together() {
    let mut w = World::new();
    let watcher = w.watcher();
    let (a, will) = (field("a"), "00 0006 \"will/a\" 0001 78".to_string());
    for (flags, payload) in [
        (0x03, a.clone()),                             // reserved
        (0x06, a.clone()),                             // will, no fields
        (0x06, format!("{a} 00")),                     // will properties only
        (0x06, format!("{a} 00 0006 \"will/a\"")),     // no payload
        (0x02, format!("{a} {will}")),                 // fields without the flag
        (0x0a, a.clone()),                             // QoS 1 without a will
        (0x12, a.clone()),                             // QoS 2 without a will
        (0x1a, a.clone()),                             // QoS 3 without a will
        (0x22, a.clone()),                             // retain without a will
        (0x1e, format!("{a} {will}")),                 // QoS 3
        (0x82, a.clone()),                             // user name missing
        (0x42, a.clone()),                             // password missing
        (0xc2, format!("{a} {}", field("u"))),         // password missing behind it
        (0x02, format!("{a} {}", field("u"))),         // user name without the flag
        (0x82, format!("{a} {} 0001 70", field("u"))), // password without the flag
        (0x86, format!("{a} {} {will}", field("u"))),  // out of order
        (0x02, String::new()),                         // no client id
        (0x02, "0005 61".into()),                      // cut short
        (0x02, format!("{a} 00")),                     // left over
    ] {
        let c = w.knock(&connect(flags, "", &payload));
        w.refused(c, 0x81);
    }
    // A will topic that no message can have, and cuts at every byte of a good one.
    for topic in ["", "a/+", "#"] {
        let c = w.knock(&connect(6, "", &format!("{a} 00 {} 0001 78", field(topic))));
        w.refused(c, 0x81);
    }
    let good = connect(0xf6, "21 0005", &format!("{a} {will} {} 0001 70", field("u")));
    let body = hex(&good)[2..].to_vec();
    for cut in 7..body.len() {
        let c = w.knock(&packet(0x10, &show(&body[..cut])));
        w.refused(c, 0x81);
    }
    assert_eq!(w.wills(watcher), 0);
    w.enter(&good, false);
    // 5.0 only: a password without a user name.
    w.enter(&connect(0x42, "", &format!("{a} 0001 70")), false);
}

/// [MQTT-3.1.4-1]: properties that a CONNECT cannot have, twice, or with values that none may
/// have; malformed and protocol error are told apart.
#[test]
fn properties_of_connect() {
    let mut w = World::new();
    let (a, f) = (field("a"), field("x"));
    for (properties, code) in [
        ("21 0000".to_string(), 0x82),
        ("27 00000000".into(), 0x82),
        ("17 02".into(), 0x82),
        ("19 02".into(), 0x82),
        ("16 0001 61".into(), 0x82),
        ("11 00000001 11 00000001".into(), 0x82),
        ("21 0001 21 0001".into(), 0x82),
        ("27 00000100 27 00000100".into(), 0x82),
        ("22 0001 22 0001".into(), 0x82),
        ("17 01 17 01".into(), 0x82),
        ("19 01 19 01".into(), 0x82),
        (format!("15 {f} 15 {f}"), 0x82),
        ("01 00".into(), 0x81),
        ("02 00000001".into(), 0x81),
        (format!("03 {f}"), 0x81),
        (format!("08 {f}"), 0x81),
        (format!("09 {f}"), 0x81),
        ("0b 01".into(), 0x81),
        (format!("12 {f}"), 0x81),
        ("13 0001".into(), 0x81),
        ("18 00000001".into(), 0x81),
        (format!("1a {f}"), 0x81),
        (format!("1c {f}"), 0x81),
        (format!("1f {f}"), 0x81),
        ("23 0001".into(), 0x81),
        ("24 01".into(), 0x81),
        ("25 01".into(), 0x81),
        ("28 01".into(), 0x81),
        ("29 01".into(), 0x81),
        ("2a 01".into(), 0x81),
        ("00 00".into(), 0x81),
        ("7f 00".into(), 0x81),
        ("11 0000".into(), 0x81),
    ] {
        let c = w.knock(&connect(2, &properties, &a));
        w.refused(c, code);
    }
    for (properties, code) in [
        ("18 00000001 18 00000001".to_string(), 0x82),
        (format!("08 {}", field("a/#")), 0x82),
        ("01 02".into(), 0x82),
        ("23 0001".into(), 0x81),
        ("0b 01".into(), 0x81),
        ("11 00000001".into(), 0x81),
    ] {
        let c = w.knock(&connect_with_will(2, "", "a", &properties));
        w.refused(c, code);
    }
    let c = w.knock(&packet(0x10, &format!("0004 \"MQTT\" 05 02 003c 7f {a}")));
    w.refused(c, 0x81);
}

/// [MQTT-3.1.2-4], [MQTT-3.1.4-4], [MQTT-3.2.2-2]: Clean Start 1 ends what there was, with its
/// subscriptions and its queue, and says Session Present 0.
#[test]
fn clean_start_discards() {
    let mut w = World::new();
    let c = w.durable("a", false);
    w.subscribed(c, "t", 1);
    w.lose(c);
    let p = w.client("p", "");
    w.send(p, &publish(0x32, "t", "0001", "", "61"));
    w.expect(p, "40 02 0001");
    let c = w.enter(&connect(2, "11 00000e10", &field("a")), false);
    w.expect(c, "");
    w.send(p, &publish(0x32, "t", "0001", "", "61"));
    w.expect(p, "40 03 0001 10");
    w.expect(c, "");

    // Both sides' open handshakes go with it, too: what came with a held id is a new message, and
    // an old delivery's PUBREC finds nothing.
    for restarted in [false, true] {
        let c = w.durable("b", false);
        w.subscribed(c, "b", 2);
        let p = w.client("p", "");
        w.send(p, &publish(0x34, "b", "0001", "", "61"));
        w.expect(c, &publish(0x34, "b", "0001", "", "61"));
        w.send(c, &publish(0x34, "b", "0007", "", "62"));
        assert_eq!(packets(&w.take(c)).len(), 2, "PUBREC and its own copy");
        w.lose(c);
        if restarted {
            w.gateway.crash(crate::common::config());
        }
        let c = w.enter(&connect(2, "11 00000e10 17 00", &field("b")), false);
        w.expect(c, "");
        w.subscribed(c, "b", 0);
        w.send(c, &publish(0x3c, "b", "0007", "", "62"));
        let mut got = packets(&w.take(c));
        got.sort();
        assert_eq!(got, [hex(&publish(0x30, "b", "", "", "62")), hex("50 02 0007")]);
        w.send(c, "50 02 0001");
        w.expect(c, "62 03 0001 92");
        w.send(c, "e0 07 00 05 11 00000000");
    }
}

/// [MQTT-3.1.2-5], [MQTT-3.1.2-6], [MQTT-3.1.3-2], [MQTT-3.2.2-3], [MQTT-4.5.0-1]: without Clean
/// Start the session of this client id goes on, and no other; where there is none a new one begins.
#[test]
fn a_session_goes_on() {
    let mut w = World::new();
    let c = w.durable("a", false);
    w.subscribed(c, "t", 1);
    w.send(c, "e0 00");
    let p = w.client("p", "");
    for id in ["0001", "0002"] {
        w.send(p, &publish(0x32, "t", id, "", "61"));
        w.expect(p, &format!("40 02 {id}"));
    }
    let other = w.durable("b", false);
    w.expect(other, "");
    let c = w.durable("a", true);
    w.expect(c, &(publish(0x32, "t", "0001", "", "61") + &publish(0x32, "t", "0002", "", "61")));
    // A session without any subscription is one, too.
    w.send(other, "e0 00");
    w.durable("b", true);
}

/// [MQTT-3.1.2-23], [MQTT-4.1.0-1], [MQTT-4.1.0-2]: the state is kept for the Session Expiry
/// Interval, counted from the close, and no longer; while the connection is open it is not counted.
#[test]
fn sessions_expire() {
    let mut w = World::new();
    let enter = |expiry: &str| {
        packet(0x10, &format!("0004 \"MQTT\" 05 00 0000 05 11 {expiry} {}", field("a")))
    };
    let c = w.enter(&enter("0000000a"), false);
    w.secs(60);
    w.lose(c);
    w.secs(9);
    let c = w.enter(&enter("0000000a"), true);
    w.lose(c);
    w.secs(11);
    // Expiry 0, or absent: it ends with the connection.
    let c = w.enter(&enter("00000000"), false);
    w.lose(c);
    let c = w.enter(&connect(0, "", &field("a")), false);
    w.lose(c);
    // 0xFFFFFFFF: as long as the gateway lets it.
    let c = w.enter(&enter("ffffffff"), false);
    w.lose(c);
    w.secs(29 * 86_400);
    w.enter(&enter("00000000"), true);
}

/// [MQTT-3.1.3-5]: from 1 to 23 bytes of letters and digits; and whatever else is UTF-8.
#[test]
fn client_ids_that_are_taken() {
    let mut w = World::new();
    for id in [
        "0",
        "z",
        "0123456789abcdefghijklm",
        "nopqrstuvwxyzABCDEFGHIJ",
        "KLMNOPQRSTUVWXYZ",
        "two words/and $more+#",
        "ü",
        &"x".repeat(1024),
    ] {
        w.client(id, "");
    }
    // [MQTT-3.1.3-8]
    let c = w.knock(&connect(2, "", &field(&"x".repeat(1025))));
    w.refused(c, 0x85);
}

/// [MQTT-3.1.3-6], [MQTT-3.1.3-7], [MQTT-3.2.2-16]: no id is a new one that nobody has, told in the
/// CONNACK, under which the client can come again.
#[test]
fn client_ids_that_are_assigned() {
    let mut w = World::new();
    let mut ids = std::collections::BTreeSet::new();
    for clean in [0, 2] {
        for _ in 0..20 {
            let c = w.knock(&connect(clean, "11 00000e10", &field("")));
            let got = w.take(c);
            let at = got.windows(3).position(|three| three == [0x12, 0, 41]).unwrap() + 3;
            let id = String::from_utf8(got[at..at + 41].to_vec()).unwrap();
            assert!(id.starts_with("auto-") && ids.insert(id.clone()), "{id}");
            w.lose(c);
            let c = w.durable(&id, true);
            w.lose(c);
        }
    }
    // Who gives an id is assigned none.
    let c = w.knock(&connect(2, "", &field("a")));
    w.expect(c, &format!("20 0e 00 00 0b {CAPABILITIES}"));
}

/// [MQTT-3.1.4-2]: who may not come in hears why and is closed; nothing of it is kept.
#[test]
fn who_may_not_come_in() {
    let mut w = World::with(|config| config.listeners[0].anonymous = false);
    let will = "00 0006 \"will/a\" 0001 78";
    for (request, code) in [
        (connect(2, "", &field("a")), 0x87),
        (connect(6, "", &format!("{} {will}", field("a"))), 0x87),
        (connect(0xc2, "", &format!("{} {} 0001 70", field("a"), field("u"))), 0x86),
    ] {
        let c = w.knock(&request);
        w.refused(c, code);
    }
}

/// [MQTT-3.1.4-3], [MQTT-3.14.4-1]: the same id again closes the old connection, which hears 0x8E
/// and nothing behind it.
#[test]
fn takeover() {
    let mut w = World::new();
    let old = w.durable("a", false);
    w.subscribed(old, "t", 1);
    let new = w.durable("a", true);
    w.goodbye(old, 0x8e);
    let p = w.client("p", "");
    w.send(p, &publish(0x30, "t", "", "", "61"));
    w.expect(new, &publish(0x30, "t", "", "", "61"));
    w.expect(old, "");
    // The late close of the old one ends nothing.
    w.lose(old);
    w.alive(new);
}

/// [MQTT-3.1.4-6]: what was sent behind a CONNECT that is refused is not processed.
#[test]
fn nothing_behind_a_refused_connect() {
    let mut w = World::new();
    let s = w.client("s", "");
    w.subscribed(s, "t", 0);
    let long = field(&"x".repeat(1025));
    let pipelined = connect(2, "", &long)
        + &publish(0x30, "t", "", "", "61")
        + &publish(0x31, "t", "", "", "62");
    let c = w.knock(&pipelined);
    w.refused(c, 0x85);
    w.send(c, &publish(0x30, "t", "", "", "63"));
    w.expect(s, "");
    w.expect(c, "");
    // Behind one that is accepted it is, after the CONNACK.
    let c = w.knock(&(connect(2, "", &field("b")) + &publish(0x32, "t", "0001", "", "61")));
    let got = w.take(c);
    assert_eq!(packets(&got)[1], hex("40 02 0001"));
    w.expect(s, &publish(0x30, "t", "", "", "61"));
}
