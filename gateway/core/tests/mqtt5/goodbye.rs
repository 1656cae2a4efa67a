//! DISCONNECT (MQTT 5 §3.14), both ways.

use motegate_message::Reason;

use crate::wire::*;

/// [MQTT-3.14.4-3], [MQTT-3.1.2-10], [MQTT-3.14.2-1]: of the client's codes only 0x00 takes the will
/// away; a code that is not the client's is a protocol error.
#[test]
fn codes_from_a_client() {
    let mut w = World::new();
    let watcher = w.watcher();
    let good = [0x00, 0x04, 0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99];
    for code in 0..=255_u8 {
        let c = w.enter(&connect_with_will(2, "", "a", ""), false);
        w.send(c, &format!("e0 01 {code:02x}"));
        if good.contains(&code) {
            assert_eq!(w.hung_up(c), Reason::ClientDisconnect, "{code:02x}");
        } else {
            w.goodbye(c, 0x82);
        }
        assert_eq!(w.wills(watcher), usize::from(code != 0), "{code:02x}");
    }
    // All the forms of the normal one.
    for form in ["e0 00", "e0 01 00", "e0 02 00 00", "e0 0b 00 09 1f 0006 \"bye ..\""] {
        let c = w.enter(&connect_with_will(2, "", "a", ""), false);
        w.send(c, form);
        assert_eq!((w.hung_up(c), w.wills(watcher)), (Reason::ClientDisconnect, 0), "{form}");
    }
}

/// [MQTT-3.14.4-1], [MQTT-3.14.4-2]: what a client sends behind its DISCONNECT is not read, and the
/// connection is closed; behind ours nothing follows.
#[test]
fn nothing_after_the_goodbye() {
    let mut w = World::new();
    let s = w.client("s", "");
    w.subscribed(s, "t", 0);
    let c = w.client("a", "");
    w.subscribed(c, "t", 1);
    w.send(c, &("e000".to_string() + &publish(0x30, "t", "", "", "61") + "c000 ff"));
    assert_eq!(w.hung_up(c), Reason::ClientDisconnect);
    w.expect(s, "");
    // Ours: a fault, then good packets in the same segment, then a message for it.
    let c = w.client("b", "");
    w.subscribed(c, "t", 1);
    w.send(c, &("00".to_string() + "c000" + &publish(0x30, "t", "", "", "61")));
    let got = w.take(c);
    assert_eq!((packets(&got).len(), got[0], got[2]), (1, 0xe0, 0x81));
    w.send(s, &publish(0x30, "t", "", "", "62"));
    w.expect(c, "");
    w.send(c, "c000");
    w.expect(c, "");
}

/// [MQTT-3.14.2-1], [MQTT-3.14.2-2], [MQTT-4.13.1-1], [MQTT-4.13.2-1]: each kind of fault has its
/// code, of the server's table and never with a Session Expiry Interval, and closes with the will.
#[test]
fn codes_of_the_server() {
    let mut w = World::new();
    let watcher = w.watcher();
    let (one, deep) = (format!("26 {} {}", field("k"), field("v")), vec!["x"; 201].join("/"));
    for (request, code) in [
        ("00 00".to_string(), 0x81),
        ("10 00".into(), 0x82),
        ("20 03 00 00 00".into(), 0x82),
        ("90 04 0001 00 00".into(), 0x82),
        ("b0 04 0001 00 00".into(), 0x82),
        ("d0 00".into(), 0x82),
        ("f0 02 18 00".into(), 0x82),
        ("c0 01 00".into(), 0x81),
        (publish(0x36, "t", "0001", "", ""), 0x81),
        (publish(0x30, "", "", "", ""), 0x82),
        (publish(0x30, "t", "", "0b 01", ""), 0x82),
        (publish(0x30, "t", "", "23 0000", ""), 0x94),
        (publish(0x30, &deep, "", "", ""), 0x90),
        (subscribe("0001", "", &deep, "00"), 0x8f),
        (unsubscribe("0001", &deep), 0x8f),
        (publish(0x30, "t", "", &one.repeat(65), ""), 0x97),
        ("30 ff ff ff 7f".into(), 0x95),
    ] {
        let c = w.enter(&connect_with_will(2, "", "a", ""), false);
        w.send(c, &request);
        let got = w.take(c);
        let reason = u16::from_be_bytes([got[5], got[6]]) as usize;
        assert_eq!((got[0], got[2]), (0xe0, code), "{request}");
        // Nothing but a reason string is in it.
        assert_eq!((got[3] as usize, got[4], got.len()), (3 + reason, 0x1f, 7 + reason));
        assert!(w.gateway.closed.contains_key(&c));
        assert_eq!(w.wills(watcher), 1, "{request}");
    }
    // [MQTT-3.14.2-3], [MQTT-3.14.2-4]: no reason where it does not fit, and none at all if even
    // the code does not.
    for (max, answer) in [("00000016", "e0 01 81"), ("00000012", "e0 01 81")] {
        let c = w.client("a", &format!("27 {max}"));
        w.send(c, "00 00");
        w.expect(c, answer);
        assert!(w.gateway.closed.contains_key(&c));
    }
}

/// §3.14.2.2.2: the interval in DISCONNECT holds; one out of nothing is a protocol error, ends the
/// session and sends the will.
#[test]
fn session_expiry_in_disconnect() {
    let mut w = World::new();
    let watcher = w.watcher();
    for first in ["", "11 00000000"] {
        let c = w.enter(&connect_with_will(2, first, "a", ""), false);
        w.send(c, "e0 07 00 05 11 00000001");
        w.goodbye(c, 0x82);
        assert_eq!(w.wills(watcher), 1);
        // 0 after 0 is no change.
        let c = w.enter(&connect(0, first, &field("a")), false);
        w.send(c, "e0 07 00 05 11 00000000");
        assert_eq!(w.hung_up(c), Reason::ClientDisconnect);
    }
    let c = w.enter(&connect(0, "11 00000005", &field("a")), false);
    w.send(c, "e0 07 00 05 11 00000064");
    w.hung_up(c);
    w.secs(50);
    let c = w.enter(&connect(0, "11 00000064", &field("a")), true);
    w.send(c, "e0 07 00 05 11 00000005");
    w.hung_up(c);
    w.secs(6);
    let c = w.enter(&connect(0, "11 00000064", &field("a")), false);
    // Absent is not 0: CONNECT's holds.
    w.send(c, "e0 00");
    w.secs(99);
    let c = w.enter(&connect(0, "11 00000064", &field("a")), true);
    w.send(c, "e0 07 00 05 11 00000000");
    w.enter(&connect(0, "", &field("a")), false);
}

/// Properties that a client's DISCONNECT cannot have.
#[test]
fn properties_of_disconnect() {
    let mut w = World::new();
    for (properties, code) in [
        (format!("1c {}", field("other")), 0x81),
        ("21 0001".into(), 0x81),
        (format!("1f {} 1f {}", field("a"), field("a")), 0x82),
        ("11 00000001 11 00000001".into(), 0x82),
    ] {
        let c = w.client("a", "11 00000064");
        w.send(c, &packet(0xe0, &format!("00 {}", props(&properties))));
        w.goodbye(c, code);
    }
}
