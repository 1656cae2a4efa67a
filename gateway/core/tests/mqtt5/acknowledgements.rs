//! PUBACK, PUBREC, PUBREL, PUBCOMP and the QoS flows (MQTT 5 §3.4…§3.7, §4.3).

use crate::wire::*;

/// A subscriber at QoS 2 with one message at QoS 1 (id 1) and one at QoS 2 (id 2) on its way.
fn receiver(w: &mut World) -> (motegate_message::ConnectionId, motegate_message::ConnectionId) {
    let c = w.enter(&connect_with_will(2, "", "a", ""), false);
    w.subscribed(c, "t", 2);
    let p = w.client("p", "");
    w.send(p, &publish(0x32, "t", "0001", "", "61"));
    w.send(p, &(publish(0x34, "t", "0002", "", "62") + "62 02 0002"));
    w.expect(c, &(publish(0x32, "t", "0001", "", "61") + &publish(0x34, "t", "0002", "", "62")));
    w.take(p);
    (c, p)
}

/// [MQTT-3.4.2-1], [MQTT-3.5.2-1], [MQTT-3.6.2-1], [MQTT-3.7.2-1], [MQTT-4.13.1-1]: codes from the
/// packet's table are taken, all others are a protocol error.
#[test]
fn codes_from_a_client() {
    let publish_codes = [0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99];
    for (first, table) in
        [(0x40, &publish_codes[..]), (0x50, &publish_codes), (0x62, &[0, 0x92]), (0x70, &[0, 0x92])]
    {
        let mut w = World::new();
        let watcher = w.watcher();
        for code in 0..=255_u8 {
            let c = w.enter(&connect_with_will(2, "", "a", ""), false);
            w.send(c, &format!("{first:02x} 03 0007 {code:02x}"));
            if table.contains(&code) {
                w.take(c);
                w.alive(c);
                w.send(c, "e000");
                assert_eq!(w.wills(watcher), 0);
            } else {
                w.goodbye(c, 0x82);
                assert_eq!(w.wills(watcher), 1, "{first:02x} {code:02x}");
            }
        }
    }
}

/// [MQTT-3.4.2-1], [MQTT-3.5.2-1], [MQTT-3.6.2-1], [MQTT-3.7.2-1]: ours come from the same tables.
#[test]
fn codes_of_ours() {
    let mut w = World::new();
    let c = w.client("a", "17 00");
    let many = format!("26 {} {}", field("k"), field("v")).repeat(65);
    for (topic, properties, code) in [("t", "", 0x10), ("$SYS/x", "", 0x87), ("t", &*many, 0x97)] {
        w.send(c, &publish(0x32, topic, "0001", properties, "61"));
        w.expect(c, &format!("40 03 0001 {code:02x}"));
        w.send(c, &publish(0x34, topic, "0001", properties, "61"));
        w.expect(c, &format!("50 03 0001 {code:02x}"));
        w.send(c, "62 02 0001");
        w.expect(c, if code == 0x10 { "70 02 0001" } else { "70 03 0001 92" });
    }
    w.send(c, "50 02 0009");
    w.expect(c, "62 03 0009 92");
    w.send(c, "40 02 0009 70 02 0009");
    w.alive(c);
}

/// Forms of all lengths, and properties that these packets cannot have.
#[test]
fn forms_of_acknowledgements() {
    let mut w = World::new();
    let reason = props(&format!("1f {} 26 {} {}", field("why"), field("k"), field("v")));
    for form in ["", "00", "00 00", &format!("00 {reason}"), &format!("92 {reason}")] {
        for first in [0x40, 0x50, 0x62, 0x70] {
            let c = w.client("a", "");
            w.send(c, &packet(first, &format!("0007 {form}")));
            if form.starts_with("92") && first < 0x60 {
                w.goodbye(c, 0x82);
            } else {
                w.take(c);
                w.alive(c);
            }
        }
    }
    for (properties, code) in [
        (format!("1f {0} 1f {0}", field("a")), 0x82),
        ("11 00000001".into(), 0x81),
        (format!("1c {}", field("a")), 0x81),
        ("1f 0005 61".into(), 0x81),
    ] {
        for first in [0x40, 0x50, 0x62, 0x70] {
            let c = w.client("a", "");
            w.send(c, &packet(first, &format!("0007 00 {}", props(&properties))));
            w.goodbye(c, code);
        }
    }
    for cut in ["", "00"] {
        let c = w.client("a", "");
        w.send(c, &packet(0x40, cut));
        w.goodbye(c, 0x81);
    }
}

/// [MQTT-4.3.2-2], [MQTT-4.3.2-3], [MQTT-4.3.3-2], [MQTT-4.3.3-3], [MQTT-4.3.3-4],
/// [MQTT-4.3.3-5], [MQTT-3.3.1-1], [MQTT-3.3.1-3]: sent with DUP 0, open until acknowledged; a
/// PUBREC gets its PUBREL, each time; an id that is open is not used for something else.
#[test]
fn our_flows() {
    let mut w = World::new();
    let (c, p) = receiver(&mut w);
    w.send(c, "50 02 0002");
    w.expect(c, "62 02 0002");
    w.send(c, "50 02 0002");
    w.expect(c, "62 02 0002");
    // Its DUP flag says nothing of ours.
    w.send(p, &publish(0x3a, "t", "0003", "", "63"));
    w.expect(c, &publish(0x32, "t", "0003", "", "63"));
    w.send(c, "70 02 0002 40 02 0001 40 02 0003");
    w.expect(c, "");
    // Of the wrong kind: a protocol error, whoever is to blame.
    for wrong in ["40 02 0002", "70 02 0002", "50 02 0001", "70 02 0001"] {
        let mut w = World::new();
        let (c, _) = receiver(&mut w);
        w.send(c, wrong);
        w.goodbye(c, 0x82);
    }
}

/// [MQTT-4.3.3-6], [MQTT-4.4.0-1], [MQTT-3.3.1-1], [MQTT-2.2.1-5]: with the session comes what was
/// not acknowledged, in its order and with its ids: PUBLISH with DUP, PUBREL alone once it was
/// sent; and only then, never while the connection stands.
#[test]
fn what_is_open_comes_again() {
    let mut w = World::new();
    let c = w.durable("a", false);
    w.subscribed(c, "t", 2);
    let p = w.client("p", "");
    for (first, id) in [(0x32, "0001"), (0x34, "0002"), (0x34, "0003"), (0x32, "0004")] {
        w.send(p, &publish(first, "t", id, "", id));
    }
    w.take(c);
    w.send(c, "50 02 0002");
    w.expect(c, "62 02 0002");
    w.secs(50);
    w.alive(c);
    let rest = [
        publish(0x3a, "t", "0001", "", "0001"),
        publish(0x3c, "t", "0003", "", "0003"),
        publish(0x3a, "t", "0004", "", "0004"),
        "62 02 0002".into(), // begun last
    ]
    .concat();
    for crash in [false, true] {
        if crash {
            w.gateway.crash(crate::common::config());
        } else {
            w.lose(c);
        }
        let c = w.durable("a", true);
        w.expect(c, &rest);
        w.secs(50);
        w.alive(c);
    }
}

/// [MQTT-4.4.0-2], [MQTT-4.3.3-4]: PUBACK or PUBREC with an error end it: no PUBREL, and it does not
/// come again.
#[test]
fn an_error_ends_it() {
    let mut w = World::new();
    let c = w.durable("a", false);
    w.subscribed(c, "t", 2);
    let p = w.client("p", "");
    w.send(p, &publish(0x32, "t", "0001", "", "61"));
    w.send(p, &publish(0x34, "t", "0002", "", "62"));
    w.take(c);
    w.send(c, "40 03 0001 97 50 03 0002 80");
    w.expect(c, "");
    w.lose(c);
    let c = w.durable("a", true);
    w.expect(c, "");
    // Both ids are free.
    w.send(p, &publish(0x32, "t", "0003", "", "63"));
    assert_eq!(w.take(c).len(), 9);
}

/// [MQTT-4.3.2-4], [MQTT-4.3.2-5], [MQTT-4.5.0-1]: PUBACK when the message is stored with every
/// session that it is for; then the same id is a new message, with DUP or without.
#[test]
fn qos_1_from_a_client() {
    let mut w = World::new();
    let away = w.durable("s", false);
    w.subscribed(away, "t", 1);
    w.lose(away);
    let c = w.client("a", "");
    w.gateway.commit_at_once = false;
    w.send(c, &publish(0x32, "t", "0001", "", "61"));
    w.expect(c, "");
    w.gateway.commit();
    w.expect(c, "40 02 0001");
    w.gateway.commit_at_once = true;
    w.send(c, &publish(0x3a, "t", "0001", "", "61"));
    w.expect(c, "40 02 0001");
    w.gateway.crash(crate::common::config());
    let away = w.durable("s", true);
    let got = w.take(away);
    assert_eq!(packets(&got).len(), 2, "{}", show(&got));
}

/// [MQTT-4.3.3-8], [MQTT-4.3.3-10], [MQTT-4.3.3-11], [MQTT-4.3.3-12]: a QoS 2 id is held from PUBREC
/// to PUBREL, over reconnects and restarts; what repeats it is answered and goes no further.
#[test]
fn qos_2_from_a_client() {
    let mut w = World::new();
    let s = w.client("s", "");
    w.subscribed(s, "t", 2);
    let mut c = w.durable("a", false);
    w.send(c, &publish(0x34, "t", "0001", "", "61"));
    w.expect(c, "50 02 0001");
    w.expect(s, &publish(0x34, "t", "0001", "", "61"));
    for first in [0x3c, 0x34] {
        w.send(c, &publish(first, "t", "0001", "", "61"));
        w.expect(c, "50 02 0001");
    }
    // Each has an answer of its own, also where it came with the first.
    let (first, copy) =
        (publish(0x34, "t", "0002", "", "62"), publish(0x3c, "t", "0002", "", "62"));
    w.send(c, &format!("{first} {copy} {copy}"));
    w.expect(c, "50 02 0002 50 02 0002 50 02 0002");
    w.expect(s, &publish(0x34, "t", "0002", "", "62"));
    w.send(c, "62 02 0002");
    w.expect(c, "70 02 0002");
    w.lose(c);
    c = w.durable("a", true);
    w.send(c, &publish(0x3c, "t", "0001", "", "61"));
    w.expect(c, "50 02 0001");
    w.expect(s, "");
    w.gateway.crash(crate::common::config());
    let s = w.client("s", "");
    w.subscribed(s, "t", 2);
    c = w.durable("a", true);
    w.send(c, &publish(0x3c, "t", "0001", "", "61"));
    w.expect(c, "50 02 0001");
    w.expect(s, "");
    w.send(c, "62 02 0001");
    w.expect(c, "70 02 0001");
    w.send(c, "62 02 0001");
    assert_eq!(w.take(c)[4], 0x92);
    w.send(c, &publish(0x34, "t", "0001", "", "61"));
    w.expect(c, "50 02 0001");
    w.expect(s, &publish(0x34, "t", "0001", "", "61"));
}

/// [MQTT-4.3.3-9]: after a PUBREC with an error the id is free at once.
#[test]
fn a_refused_id_is_free() {
    let mut w = World::new();
    let s = w.client("s", "");
    w.subscribed(s, "t", 2);
    let c = w.client("a", "17 00");
    w.send(c, &publish(0x34, "$SYS/x", "0001", "", "61"));
    w.expect(c, "50 03 0001 87");
    w.send(c, &publish(0x3c, "t", "0001", "", "62"));
    w.expect(c, "50 02 0001");
    w.expect(s, &publish(0x34, "t", "0001", "", "62"));
}

/// [MQTT-4.3.3-7], [MQTT-4.3.3-13]: once a message is on its way, or its id held, expiry changes
/// nothing any more.
#[test]
fn expiry_stops_no_flow() {
    let mut w = World::new();
    let c = w.durable("a", false);
    w.subscribed(c, "t", 2);
    let p = w.durable("p", false);
    w.send(p, &publish(0x34, "t", "0001", "02 00000002", "61"));
    w.expect(p, "50 02 0001");
    w.expect(c, &publish(0x34, "t", "0001", "02 00000002", "61"));
    w.secs(30);
    // Its receiver is away and comes back: it is sent again.
    w.lose(c);
    let c = w.durable("a", true);
    w.expect(c, &publish(0x3c, "t", "0001", "02 00000001", "61"));
    w.send(c, "50 02 0001");
    w.expect(c, "62 02 0001");
    w.send(c, "70 02 0001");
    // Its sender goes on, too.
    w.send(p, &publish(0x3c, "t", "0001", "02 00000002", "61"));
    w.expect(p, "50 02 0001");
    w.send(p, "62 02 0001");
    w.expect(p, "70 02 0001");
    w.expect(c, "");
}

/// [MQTT-4.6.0-1], [MQTT-4.6.0-2], [MQTT-4.6.0-3], [MQTT-4.6.0-4]: our acknowledgements leave in the
/// order of what they acknowledge, although one is stored and the next is not.
#[test]
fn acknowledgements_leave_in_order() {
    let mut w = World::new();
    let away = w.durable("s", false);
    w.subscribed(away, "stored", 2);
    w.lose(away);
    let c = w.client("a", "");
    w.gateway.commit_at_once = false;
    let all = [
        publish(0x32, "stored", "0001", "", "61"),
        publish(0x32, "t", "0002", "", "61"),
        publish(0x34, "stored", "0003", "", "61"),
        publish(0x34, "t", "0004", "", "61"),
        "62 02 0004 50 02 0009 50 02 0008".into(),
    ];
    w.send(c, &all.concat());
    w.expect(c, "");
    w.gateway.commit();
    let expected = [(0x40, 1), (0x40, 2), (0x50, 3), (0x50, 4), (0x70, 4), (0x62, 9), (0x62, 8)];
    assert_eq!(order(&w.take(c)), expected);
}

/// [MQTT-4.6.0-4]: PUBRELs in the order of the PUBRECs, which is not that of the PUBLISHes, although
/// the record of one must be stored and that of the next needs none.
#[test]
fn pubrels_follow_the_pubrecs() {
    let mut w = World::new();
    let c = w.durable("a", false);
    w.subscribed(c, "t", 2);
    let p = w.client("p", "");
    for id in ["0001", "0002", "0003"] {
        w.send(p, &publish(0x34, "t", id, "", id));
    }
    assert_eq!(packets(&w.take(c)).len(), 3);
    w.send(c, "50 02 0003");
    w.expect(c, "62 02 0003");
    w.gateway.commit_at_once = false;
    // New, stored already, new, unknown.
    w.send(c, "50 02 0002 50 02 0003 50 02 0001 50 02 0009");
    w.expect(c, "");
    w.gateway.commit();
    assert_eq!(order(&w.take(c)), [(0x62, 2), (0x62, 3), (0x62, 1), (0x62, 9)]);
}

/// First byte and packet id of each packet.
fn order(bytes: &[u8]) -> Vec<(u8, u8)> {
    let id = |packet: &Vec<u8>| if packet[0] & 0xf0 == 0x30 { packet[6] } else { packet[3] };
    packets(bytes).iter().map(|packet| (packet[0], id(packet))).collect()
}

/// A session that has been sent 1 to 7 and was lost, or whose gateway died: 4, 2 are released, in
/// this order, then 7 came, then 1 was released. 8 waits.
fn interrupted(dies: bool) -> World {
    let mut w = World::new();
    let c = w.durable("s", false);
    w.subscribed(c, "t", 2);
    let p = w.client("p", "");
    for id in ["0001", "0002", "0003", "0004", "0005", "0006"] {
        w.send(p, &publish(0x34, "t", id, "", "61"));
    }
    w.send(c, "50 02 0004 50 02 0002");
    w.send(p, &publish(0x32, "t", "0007", "", "61"));
    w.send(c, "50 02 0001");
    let sent = [1, 2, 3, 4, 5, 6].map(|id| (0x34, id));
    let then = [(0x62, 4), (0x62, 2), (0x32, 7), (0x62, 1)];
    assert_eq!(order(&w.take(c)), [&sent[..], &then].concat());
    if dies {
        w.gateway.crash(crate::common::config());
    } else {
        w.lose(c);
    }
    let p = w.client("p", "");
    w.send(p, &publish(0x32, "t", "0008", "", "61"));
    w
}

/// [MQTT-4.4.0-1], [MQTT-4.6.0-1], [MQTT-4.6.0-4]: what is not acknowledged goes again in the order in
/// which it was begun, PUBRELs where their PUBRECs came, also after `kill -9`; new ones behind.
#[test]
fn everything_goes_again_in_the_order_begun() {
    for dies in [false, true] {
        let mut w = interrupted(dies);
        let c = w.durable("s", true);
        let again = [(0x3c, 3), (0x3c, 5), (0x3c, 6), (0x62, 4), (0x62, 2), (0x3a, 7), (0x62, 1)];
        let new = [(0x32, 8)];
        assert_eq!(order(&w.take(c)), [&again[..], &new].concat(), "dies {dies}");
        // Another PUBREC comes behind all of them, and nothing is forgotten over a second loss.
        w.send(c, "50 02 0005 70 02 0004");
        w.expect(c, "62 02 0005");
        w.lose(c);
        let c = w.durable("s", true);
        let again = [(0x3c, 3), (0x3c, 6), (0x62, 2), (0x3a, 7), (0x62, 1), (0x3a, 8), (0x62, 5)];
        assert_eq!(order(&w.take(c)), again, "dies {dies}");
        w.send(c, "50 02 0003 50 02 0006 40 02 0007 40 02 0008");
        w.expect(c, "62 02 0003 62 02 0006");
        w.send(c, "70 02 0001 70 02 0002 70 02 0003 70 02 0005 70 02 0006");
        w.expect(c, "");
        w.lose(c);
        let c = w.durable("s", true);
        w.expect(c, "");
    }
}

/// [MQTT-4.4.0-1], [MQTT-4.6.0-4], [MQTT-4.9.0-3]: where the new Receive Maximum has no place for all,
/// PUBRELs wait for none that waits for a place, and no PUBLISH is one too many: what is released
/// takes a place until it is over.
#[test]
fn pubrels_wait_for_no_place() {
    type Step<'a> = (&'a str, &'a [(u8, u8)]);
    let pubrels = [(0x62, 4), (0x62, 2), (0x62, 1)];
    let one: &[Step<'_>] = &[
        ("70 02 0001", &[]),
        ("70 02 0002", &[(0x3c, 3)]),
        ("70 02 0004 50 02 0003 70 02 0003", &[(0x62, 3), (0x3c, 5)]),
        ("50 02 0005", &[(0x62, 5)]),
        ("70 02 0005", &[(0x3c, 6)]),
        ("50 02 0006 70 02 0006", &[(0x62, 6), (0x3a, 7)]),
        ("40 02 0007", &[(0x32, 8)]),
    ];
    let two: &[Step<'_>] = &[
        ("70 02 0001", &[(0x3c, 3)]),
        ("50 02 0003 70 02 0003", &[(0x62, 3)]),
        ("70 02 0004", &[(0x3c, 5)]),
        ("70 02 0002", &[(0x3c, 6)]),
        ("50 02 0005 70 02 0005", &[(0x62, 5), (0x3a, 7)]),
        ("50 02 0006", &[(0x62, 6)]),
        ("70 02 0006", &[(0x32, 8)]),
    ];
    for (dies, max, steps) in [(false, 1, one), (false, 2, two), (true, 1, one), (true, 2, two)] {
        let mut w = interrupted(dies);
        let properties = format!("11 00000e10 21 {max:04x}");
        let c = w.enter(&connect(0, &properties, &field("s")), true);
        assert_eq!(order(&w.take(c)), pubrels, "dies {dies}");
        for (said, answer) in steps {
            w.send(c, said);
            let mut got = order(&w.take(c));
            if let Some(new) = got.iter_mut().find(|(first, _)| *first == 0x32) {
                new.1 = 8; // any id that is free
            }
            assert_eq!(got, *answer, "dies {dies}, maximum {max}: {said}");
        }
    }
}
