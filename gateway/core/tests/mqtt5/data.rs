//! Data types, flags and packet identifiers (MQTT 5 §1.5, §2).

use crate::wire::*;

/// Strings that are none: surrogates, overlong and cut sequences, stray bytes, U+0000.
const BAD: [&str; 6] =
    ["0003 eda080", "0002 c080", "0002 e282", "0001 ff", "0004 f4908080", "0003 61 00 62"];

/// [MQTT-1.5.4-1], [MQTT-1.5.4-2], [MQTT-1.5.7-1], [MQTT-3.1.3-4], [MQTT-3.1.3-11],
/// [MQTT-3.1.3-12], [MQTT-4.7.3-2]: malformed wherever a CONNECT has a string.
#[test]
fn strings_of_connect() {
    for bad in BAD {
        let mut w = World::new();
        let watcher = w.watcher();
        for request in [
            connect(2, "", bad),
            connect(6, "", &format!("{} 00 {bad} 0001 61", field("a"))),
            connect(0x82, "", &format!("{} {bad}", field("a"))),
            connect(2, &format!("26 {bad} {}", field("v")), &field("a")),
            connect(2, &format!("26 {} {bad}", field("k")), &field("a")),
            connect(2, &format!("15 {bad}"), &field("a")),
            connect_with_will(2, "", "a", &format!("03 {bad}")),
            connect_with_will(2, "", "a", &format!("08 {bad}")),
            connect_with_will(2, "", "a", &format!("26 {} {bad}", field("k"))),
        ] {
            let c = w.knock(&request);
            w.refused(c, 0x81);
        }
        assert_eq!(w.wills(watcher), 0);
    }
}

/// [MQTT-1.5.4-1], [MQTT-1.5.4-2], [MQTT-1.5.7-1], [MQTT-3.3.2-1], [MQTT-3.3.2-13],
/// [MQTT-3.3.2-19], [MQTT-3.8.3-1], [MQTT-3.10.3-1], [MQTT-4.7.3-2], [MQTT-4.13.1-1]: malformed
/// wherever a later packet has one, and the will is due.
#[test]
fn strings_of_every_packet() {
    let mut w = World::new();
    let watcher = w.watcher();
    for bad in BAD {
        let property = |id: &str| props(&format!("{id} {bad}"));
        let name = props(&format!("26 {bad} {}", field("v")));
        let value = props(&format!("26 {} {bad}", field("k")));
        let mut requests = vec![
            packet(0x30, &format!("{bad} 00 61")),
            packet(0x82, &format!("0001 00 {bad} 00")),
            packet(0xa2, &format!("0001 00 {bad}")),
        ];
        for properties in [property("03"), property("08"), name.clone(), value.clone()] {
            requests.push(packet(0x30, &format!("{} {properties} 61", field("t"))));
        }
        for properties in [&name, &value] {
            requests.push(packet(0x82, &format!("0001 {properties} {} 00", field("t"))));
            requests.push(packet(0xa2, &format!("0001 {properties} {}", field("t"))));
        }
        for properties in [&property("1f"), &name, &value] {
            for first in [0x40, 0x50, 0x62, 0x70] {
                requests.push(packet(first, &format!("0001 00 {properties}")));
            }
            requests.push(packet(0xe0, &format!("00 {properties}")));
        }
        for request in requests {
            let c = w.enter(&connect_with_will(2, "", "a", ""), false);
            w.send(c, &request);
            w.goodbye(c, 0x81);
            assert_eq!(w.wills(watcher), 1, "{request}");
        }
    }
}

/// [MQTT-1.5.4-3], [MQTT-4.7.3-4]: EF BB BF is a character like any other; names are compared and
/// sent byte for byte, composed or not.
#[test]
fn nothing_is_stripped_or_normalised() {
    let mut w = World::new();
    let c = w.client("\u{feff}a", "");
    let other = w.client("a", "");
    for (filter, takes) in
        [("\u{feff}t", true), ("t", false), ("e\u{301}", false), ("\u{e9}", true)]
    {
        w.subscribed(c, filter, 0);
        let topic = if filter.ends_with('t') { "\u{feff}t" } else { "\u{e9}" };
        let message = publish(0x30, topic, "", "", "ef bb bf 61");
        w.send(other, &message);
        w.expect(c, if takes { &message } else { "" });
        w.send(c, &unsubscribe("0001", filter));
        w.expect(c, "b0 04 0001 00 00");
    }
    // The client id with the mark is another than the one without.
    w.alive(c);
}

/// [MQTT-1.5.5-1]: no integer is longer than it must be, ours least of all.
#[test]
fn variable_byte_integers_are_short() {
    let mut w = World::new();
    for request in [
        packet(0x30, &format!("{} 80 00 61", field("t"))),
        packet(0x30, &format!("{} 03 81 00 01", field("t"))),
        packet(0x82, &format!("0001 03 0b 81 00 {} 00", field("t"))),
        packet(0x82, &format!("0001 80 00 {} 00", field("t"))),
        packet(0xa2, &format!("0001 80 00 {}", field("t"))),
        packet(0x40, "0001 00 80 00"),
        packet(0xe0, "00 80 00"),
        "30 ff ff ff ff 01".into(),
        // The remaining length is one, too.
        "30 85 00 0001 \"t\" 00 61".into(),
        "30 85 80 00 0001 \"t\" 00 61".into(),
        "82 87 00 0001 00 0001 \"t\" 00".into(),
        "40 82 00 0001".into(),
        "c0 80 00".into(),
        "e0 80 00".into(),
    ] {
        let c = w.client("a", "");
        w.send(c, &request);
        w.goodbye(c, 0x81);
    }
    let c = w.knock(&packet(0x10, &format!("0004 \"MQTT\" 05 02 003c 80 00 {}", field("a"))));
    w.refused(c, 0x81);
    let c = w.knock(&format!("10 8e 00 0004 \"MQTT\" 05 02 003c 00 {}", field("a")));
    w.refused(c, 0x81);
    // Lengths and identifiers at the edges of one, two and three bytes.
    let c = w.client("a", "");
    for id in ["7f", "8001", "ff7f", "808001", "ffff7f", "80808001", "ffffff7f"] {
        w.send(c, &subscribe("0001", &format!("0b {id}"), "t", "00"));
        w.expect(c, "90 04 0001 00 00");
        w.send(c, &publish(0x30, "t", "", "", "61"));
        w.expect(c, &publish(0x30, "t", "", &format!("0b {id}"), "61"));
    }
    w.subscribed(c, "u", 0);
    for size in [112, 113, 119, 120, 121, 8_000] {
        let value = format!("26 {} {}", field("k"), field(&"v".repeat(size)));
        let message = publish(0x30, "u", "", &value, "61");
        w.send(c, &message);
        w.expect(c, &message);
    }
    for size in [120, 121, 122, 123, 16_376, 16_377, 16_378, 16_379, 16_380, 20_000] {
        let message = publish(0x30, "u", "", "", &"61".repeat(size));
        w.send(c, &message);
        w.expect(c, &message);
    }
}

/// [MQTT-2.1.3-1], [MQTT-3.6.1-1], [MQTT-3.8.1-1], [MQTT-3.10.1-1], [MQTT-3.14.1-1],
/// [MQTT-3.15.1-1]: a reserved bit that is not as it must be is malformed, 0x81, and the will goes.
#[test]
fn reserved_bits_of_the_fixed_header() {
    let mut w = World::new();
    let watcher = w.watcher();
    let bodies: [(u8, u8, String); 9] = [
        (0x40, 0, "0001".into()),
        (0x50, 0, "0001".into()),
        (0x60, 2, "0001".into()),
        (0x70, 0, "0001".into()),
        (0x80, 2, format!("0001 00 {} 00", field("t"))),
        (0xa0, 2, format!("0001 00 {}", field("t"))),
        (0xc0, 0, String::new()),
        (0xe0, 0, "00".into()),
        (0xf0, 0, "18 00".into()),
    ];
    for (kind, right, body) in bodies {
        for flags in (0..16).filter(|flags| *flags != right) {
            let c = w.enter(&connect_with_will(2, "", "a", ""), false);
            w.send(c, &packet(kind | flags, &body));
            w.goodbye(c, 0x81);
            assert_eq!(w.wills(watcher), 1, "{kind:02x} {flags}");
        }
    }
    for flags in 1..16 {
        let c = w.knock(&connect(2, "", &field("a")).replacen(
            "10",
            &format!("{:02x}", 0x10 | flags),
            1,
        ));
        w.refused(c, 0x81);
    }
}

/// [MQTT-2.2.1-2], [MQTT-4.3.1-1]: none at QoS 0, either way: what follows the topic is the
/// properties.
#[test]
fn qos_0_has_no_packet_id() {
    let mut w = World::new();
    let c = w.client("a", "");
    w.subscribed(c, "t", 2);
    w.send(c, "30 06 0001 \"t\" 00 0001");
    w.expect(c, "30 06 0001 \"t\" 00 0001");
    // [MQTT-3.3.1-2]: nor DUP.
    w.send(c, "38 06 0001 \"t\" 00 0001");
    w.goodbye(c, 0x81);
}

/// [MQTT-2.2.1-3]: 0 is no packet id.
#[test]
fn packet_id_0() {
    let mut w = World::new();
    for request in [
        publish(0x32, "t", "0000", "", "61"),
        publish(0x34, "t", "0000", "", "61"),
        subscribe("0000", "", "t", "00"),
        unsubscribe("0000", "t"),
        packet(0x40, "0000"),
        packet(0x62, "0000"),
    ] {
        let c = w.client("a", "");
        w.send(c, &request);
        w.goodbye(c, 0x82);
    }
}

/// [MQTT-2.2.1-4], [MQTT-4.3.2-1], [MQTT-4.3.3-1]: what we send has an id that is not in use, also
/// after all of them have been used once.
#[test]
fn our_packet_ids_are_free() {
    let mut w = World::new();
    let c = w.client("a", "");
    let p = w.client("p", "");
    w.subscribed(c, "t", 2);
    let mut last = [0; 2];
    for round in 0_u32..65_600 {
        // The first two are never acknowledged.
        let first = if round == 1 { 0x34 } else { 0x32 };
        w.send(p, &publish(first, "t", "0001", "", ""));
        let got = w.take(c);
        assert_eq!(got.len(), 8, "one PUBLISH: {}", show(&got));
        last = [got[5], got[6]];
        let held = [[0, 1], [0, 2]];
        match round {
            0 | 1 => assert_eq!(last, held[round as usize]),
            _ => {
                assert!(last != [0, 0] && !held.contains(&last), "{last:?} is in use");
                w.gateway.send(c, &[0x40, 2, last[0], last[1]]);
            }
        }
    }
    assert_eq!(last, [0, 67], "once around, past 0, 1 and 2");
}

/// [MQTT-2.2.1-5], [MQTT-2.2.1-6], [MQTT-2.2.2-1]: acknowledgements carry the id of what they
/// acknowledge; no properties are a length of 0 wherever a length must be.
#[test]
fn acknowledgements_echo_the_id() {
    let mut w = World::new();
    let c = w.client("a", "");
    for id in ["0001", "1234", "ffff"] {
        w.send(c, &subscribe(id, "", "t", "02"));
        w.expect(c, &format!("90 04 {id} 00 02"));
        w.send(c, &publish(0x32, "u", id, "", "61"));
        w.expect(c, &format!("40 03 {id} 10"));
        w.send(c, &publish(0x34, "u", id, "", "61"));
        w.expect(c, &format!("50 03 {id} 10"));
        w.send(c, &format!("62 02 {id}"));
        w.expect(c, &format!("70 02 {id}"));
        w.send(c, &unsubscribe(id, "t"));
        w.expect(c, &format!("b0 04 {id} 00 00"));
    }
    w.subscribed(c, "t", 2);
    w.send(c, &publish(0x30, "t", "", "", "61"));
    w.expect(c, "30 05 0001 \"t\" 00 61");
}
