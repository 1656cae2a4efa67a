//! The client's Maximum Packet Size and Request Problem Information (MQTT 5 §3.1.2.11.4,
//! §3.1.2.11.7).

use crate::wire::*;

/// [MQTT-3.1.2-24], [MQTT-3.1.2-25]: a PUBLISH that is too large for a client is not sent and counts
/// as delivered: no packet id, no quota, and what follows is not held up; one of exactly the size
/// is sent, measured as it is sent.
#[test]
fn what_is_too_large_is_left_out() {
    let mut w = World::new();
    let c = w.client("a", "27 00000032 21 0001 22 000a");
    w.subscribed(c, "topic/t", 1);
    let p = w.client("p", "");
    let fits = |n: usize| publish(0x32, "topic/t", "0001", "", &"61".repeat(n));
    // 2 + 9 + 2 + 4 + payload = 50, the alias included.
    w.send(p, &fits(34));
    w.expect(c, "");
    w.send(p, &fits(33));
    w.expect(c, &publish(0x32, "topic/t", "0001", "23 0001", &"61".repeat(33)));
    w.send(c, "40 02 0001");
    // By its alias alone the topic is 7 bytes shorter.
    w.send(p, &fits(40));
    let got = w.take(c);
    assert_eq!((got.len(), &got[..6]), (50, &[0x32, 48, 0, 0, 0, 2][..]), "{}", show(&got));
    w.send(p, &fits(41));
    w.send(p, &fits(1));
    w.expect(c, "");
    w.send(c, "40 02 0002");
    let got = w.take(c);
    assert_eq!(got.len(), 11, "the last one: {}", show(&got));
    w.alive(c);
}

/// [MQTT-3.1.2-24], [MQTT-3.1.2-25]: with QoS 0 and 2, from the queue and as a retained message.
#[test]
fn what_is_too_large_later() {
    let mut w = World::new();
    let c = w.durable("a", false);
    w.subscribed(c, "t", 2);
    w.lose(c);
    let p = w.client("p", "");
    let long = "61".repeat(100);
    w.send(p, &publish(0x35, "t", "0001", "", &long));
    w.send(p, &publish(0x32, "t", "0002", "", &long));
    w.send(p, &publish(0x32, "t", "0003", "", "62"));
    let c = w.enter(&connect(0, "11 00000e10 27 00000032", &field("a")), true);
    w.expect(c, &publish(0x32, "t", "0001", "", "62"));
    w.subscribed(c, "t", 2);
    w.expect(c, "");
    w.send(p, &publish(0x30, "t", "", "", &long));
    w.send(p, &publish(0x30, "t", "", "", "63"));
    w.expect(c, &publish(0x30, "t", "", "", "63"));
}

/// [MQTT-3.4.2-2], [MQTT-3.4.2-3], [MQTT-3.5.2-2], [MQTT-3.5.2-3], [MQTT-3.6.2-2],
/// [MQTT-3.6.2-3], [MQTT-3.7.2-2], [MQTT-3.7.2-3], [MQTT-3.9.2-1], [MQTT-3.9.2-2],
/// [MQTT-3.11.2-1], [MQTT-3.11.2-2], [MQTT-3.14.2-3], [MQTT-3.14.2-4]: a reason string is sent where
/// it fits, to the byte, and left out where it does not; user properties are never sent of our own.
#[test]
fn reason_strings_where_they_fit() {
    let deny = format!("1f {}", field("not authorized"));
    let unknown = format!("1f {}", field("packet identifier not found"));
    let malformed = format!("1f {}", field("malformed packet"));
    let quota = format!("1f {}", field("quota exceeded"));
    let suback = packet(0x90, &format!("0001 {} 00 97", props(&quota)));
    let two = format!("0001 00 {} 00 {} 00", field("a"), field("b"));
    let cases: [(String, String, &str); 6] = [
        (
            publish(0x32, "$SYS/x", "0001", "", ""),
            packet(0x40, &format!("0001 87 {}", props(&deny))),
            "40 03 0001 87",
        ),
        (
            publish(0x34, "$SYS/x", "0001", "", ""),
            packet(0x50, &format!("0001 87 {}", props(&deny))),
            "50 03 0001 87",
        ),
        (
            "50 02 0001".into(),
            packet(0x62, &format!("0001 92 {}", props(&unknown))),
            "62 03 0001 92",
        ),
        (
            "62 02 0001".into(),
            packet(0x70, &format!("0001 92 {}", props(&unknown))),
            "70 03 0001 92",
        ),
        (packet(0x82, &two), suback, "90 05 0001 00 00 97"),
        ("00 00".into(), packet(0xe0, &format!("81 {}", props(&malformed))), "e0 01 81"),
    ];
    for (request, full, short) in cases {
        let size = hex(&full).len() as u32;
        for (max, answer) in [(u32::MAX, &*full), (size, &full), (size - 1, short)] {
            let mut w = World::with(|config| config.broker.max_subscriptions_per_session = 1);
            let c = w.client("a", &format!("27 {max:08x}"));
            w.send(c, &request);
            w.expect(c, answer);
        }
    }
    // UNSUBACK has no failure that we know of: never anything but codes.
    let mut w = World::new();
    let c = w.client("a", "27 00000014");
    w.send(c, &unsubscribe("0001", "t"));
    w.expect(c, "b0 04 0001 00 11");
}

/// [MQTT-3.2.2-19], [MQTT-3.2.2-20], [MQTT-4.13.2-1]: the same of a CONNACK; one that does not fit
/// at all closes, and so do SUBACK and UNSUBACK.
#[test]
fn a_connack_where_it_fits() {
    let full = packet(
        0x20,
        &format!("00 85 {}", props(&format!("1f {}", field("client identifier not valid")))),
    );
    let size = hex(&full).len();
    let long = field(&"x".repeat(1025));
    for (max, answer) in
        [(size, &*full), (size - 1, "20 03 00 85 00"), (5, "20 03 00 85 00"), (4, "")]
    {
        let mut w = World::new();
        let c = w.knock(&connect(2, &format!("27 {max:08x}"), &long));
        w.expect(c, answer);
        assert!(w.gateway.closed.contains_key(&c));
    }
    let mut w = World::new();
    for (max, entered) in [(16, true), (15, false)] {
        let c = w.knock(&connect(2, &format!("27 {max:08x}"), &field("a")));
        assert_eq!(w.gateway.closed.contains_key(&c), !entered, "{max}");
        assert_eq!(w.take(c).is_empty(), !entered);
    }
    let many: String = (0..20).map(|n| field(&format!("t/{n}"))).collect();
    let subscribed: String = (0..20).map(|n| field(&format!("t/{n}")) + " 00 ").collect();
    for request in
        [packet(0xa2, &format!("0001 00 {many}")), packet(0x82, &format!("0001 00 {subscribed}"))]
    {
        let c = w.client("b", "27 00000018");
        w.send(c, &request);
        w.goodbye(c, 0x95);
    }
}

/// [MQTT-3.1.2-29]: with Request Problem Information 0 only CONNACK, DISCONNECT and PUBLISH explain
/// themselves or have user properties.
#[test]
fn no_problem_information() {
    let mut w = World::with(|config| config.broker.max_subscriptions_per_session = 1);
    let c = w.client("a", "17 00");
    w.send(c, &publish(0x32, "$SYS/x", "0001", "", ""));
    w.send(c, &publish(0x34, "$SYS/x", "0001", "", ""));
    w.send(c, "50 02 0001 62 02 0001");
    w.expect(c, "40 03 0001 87 50 03 0001 87 62 03 0001 92 70 03 0001 92");
    w.send(c, &packet(0x82, &format!("0001 00 {} 00 {} 00", field("a"), field("b"))));
    w.expect(c, "90 05 0001 00 00 97");
    w.send(c, &unsubscribe("0001", "x"));
    w.expect(c, "b0 04 0001 00 11");
    let user = format!("26 {} {}", field("k"), field("v"));
    w.send(c, &publish(0x30, "a", "", &user, ""));
    w.expect(c, &publish(0x30, "a", "", &user, ""));
    w.send(c, "00 00");
    let got = w.take(c);
    assert!(got.len() > 4, "DISCONNECT explains itself: {}", show(&got));
    let c = w.knock(&connect(2, "17 00", &field(&"x".repeat(1025))));
    assert!(w.take(c).len() > 5, "and so does CONNACK");
}
