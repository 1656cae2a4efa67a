//! What MQTT 3.1 and 3.1.1 say in bytes and 5.0 says otherwise or not at all: fields of CONNECT,
//! flags that 3.1 overlooks, the bridge bit (protocols/mqtt.md §1.2, §1.9).
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod common;

use std::time::Duration;

use common::{World, connect_bytes, field, packet};
use motegate_message::{Qos, Reason};
use motegate_mqtt::Config;
use motegate_mqtt::codec::Utf8;
use motegate_mqtt::endpoint::{Connect, Event};

fn connect(level: u8, flags: u8, rest: &str) -> String {
    let name = if level & 0x7f == 3 { "MQIsdp" } else { "MQTT" };
    packet(0x10, &format!("{} {level:02x} {flags:02x} 000a {rest}", field(name)))
}

/// What the layer above is asked for this CONNECT; `None`: it was closed without a word.
fn asked(bytes: &str) -> Option<Connect> {
    let mut w = World::new();
    w.script.manual = true;
    let c = w.open();
    w.send(c, bytes);
    match w.events.pop_front() {
        Some(Event::Connect(connect)) => {
            assert_eq!(w.closed.get(&c), None);
            Some(*connect)
        }
        event => {
            assert_eq!(event, None);
            w.expect_close(c, "", Reason::Malformed);
            None
        }
    }
}

/// [MQTT-3.1.3-1], [MQTT-3.1.3-3], [MQTT-3.1.2-9], [MQTT-3.1.2-19], [MQTT-3.1.2-21].
#[test]
fn the_fields_of_connect_come_in_their_order() {
    for level in [3, 4] {
        let fields = [field("id"), field("topic"), field("gone"), field("user"), field("word")];
        let connect = asked(&connect(level, 0xf6, &fields.concat())).unwrap();
        assert_eq!((&*connect.client_id, connect.clean), ("id", true));
        assert_eq!(connect.user_name.as_deref(), Some("user"));
        assert_eq!(connect.password.as_deref(), Some(&b"word"[..]));
        let will = connect.will.unwrap().message;
        assert_eq!((will.topic.as_str(), &will.payload[..]), ("topic", &b"gone"[..]));
        assert_eq!((will.qos, will.retain), (Qos::ExactlyOnce, true));
    }
}

/// [MQTT-3.1.2-11], [MQTT-3.1.2-18] to [MQTT-3.1.2-22], [MQTT-3.1.3-3]: each flag and its field,
/// neither more nor less.
#[test]
fn fields_and_flags_of_connect_belong_together() {
    let some = |flags: u8, count: usize| {
        let fields: String =
            ["id", "t", "u", "v", "w", "x"][..count].iter().map(|f| field(f)).collect();
        asked(&connect(4, flags, &fields)).is_some()
    };
    for (flags, fields) in [(0x02, 1), (0x06, 3), (0x82, 2), (0xc2, 3), (0x86, 4), (0xc6, 5)] {
        for count in 0..=6 {
            assert_eq!(some(flags, count), count == fields, "{flags:#04x} with {count} fields");
        }
    }
    for flags in [0x42, 0x46] {
        for count in 0..=6 {
            assert!(!some(flags, count), "a password without a user name, {count} fields");
        }
    }
    // A byte short, a byte more, in every field.
    let fields = [field("id"), field("topic"), field("gone"), field("user"), field("word")];
    let whole = common::hex(&fields.concat());
    for cut in 0..whole.len() {
        let short: String = whole[..cut].iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(asked(&connect(4, 0xf6, &short)), None, "cut at {cut}");
    }
    assert_eq!(asked(&connect(4, 0xf6, &(fields.concat() + "00"))), None);
}

/// [MQTT-3.1.3-4], [MQTT-3.1.3-10], [MQTT-3.1.3-11]; the password may be any bytes.
#[test]
fn strings_of_connect_are_utf_8() {
    for bad in ["0002 c0af", "0003 eda080", "0002 6180", "0001 00", "0002 e282"] {
        for level in [3, 4] {
            let (id, topic, text) = (field("id"), field("t"), field("x"));
            assert_eq!(asked(&connect(level, 0x02, bad)), None, "client id {bad}");
            assert_eq!(asked(&connect(level, 0x06, &format!("{id}{bad}{text}"))), None, "{bad}");
            assert_eq!(asked(&connect(level, 0x82, &format!("{id}{bad}"))), None, "user {bad}");
            let free = format!("{id}{topic}{bad} {text}{bad}");
            let connect = asked(&connect(level, 0xc6, &free)).unwrap();
            let bytes = &common::hex(bad)[2..];
            assert_eq!(connect.password.as_deref(), Some(bytes));
            assert_eq!(&connect.will.unwrap().message.payload[..], bytes);
        }
    }
    for topic in ["", "a/+", "#"] {
        let rest = [field("id"), field(topic), field("x")].concat();
        assert_eq!(asked(&connect(4, 0x06, &rest)), None, "will topic {topic}");
        assert_eq!(asked(&connect(3, 0x06, &rest)), None, "will topic {topic}");
    }
}

/// MQTT 3.1 §3.1: what 3.1.1 made a fault.
#[test]
fn mqtt_31_is_lenient_about_connect() {
    let id = field("id");
    for flags in [0x03, 0x0a, 0x12, 0x22, 0x1a] {
        assert!(asked(&connect(3, flags, &id)).is_some(), "{flags:#04x}");
        assert!(asked(&connect(4, flags, &id)).is_none(), "{flags:#04x}");
    }
    // Flagged, but not there; the will is not optional.
    for flags in [0x82, 0xc2] {
        let connect = asked(&connect(3, flags, &id)).unwrap();
        assert_eq!((connect.user_name, connect.password), (None, None));
    }
    let connect_31 = asked(&connect(3, 0xc2, &(id.clone() + &field("user")))).unwrap();
    assert_eq!((connect_31.user_name.as_deref(), connect_31.password), (Some("user"), None));
    for (flags, rest) in [(0x42, field("word")), (0x06, String::new()), (0x06, field("topic"))] {
        assert_eq!(asked(&connect(3, flags, &(id.clone() + &rest))), None, "{flags:#04x}");
    }
}

/// MQTT 3.1 §2.1: bits of the fixed header without a meaning are ignored, in every packet.
#[test]
fn mqtt_31_overlooks_the_bits_of_the_fixed_header() {
    for low in 0..16_u8 {
        let mut w = World::new();
        let c = w.open();
        let whole = connect_bytes(3, 0, 60, "", "c");
        w.send(c, &format!("1{low:x}{}", &whole[2..]));
        w.expect(c, "20 02 00 00");
        w.send(c, &packet(0x80 | low, &format!("0001 {} 02", field("t"))));
        w.expect(c, "90 03 0001 02");
        w.inject("t", Qos::AtLeastOnce, b"x");
        w.inject("t", Qos::ExactlyOnce, b"x");
        w.take(c);
        w.send(c, &packet(0x40 | low, "0001"));
        w.send(c, &packet(0x50 | low, "0002"));
        w.expect(c, "62 02 0002");
        w.send(c, &packet(0x70 | low, "0002"));
        assert_eq!(w.log, ["acked 1", "acked 2"]);
        w.send(c, &packet(0x60 | low, "0009"));
        w.expect(c, "70 02 0009");
        w.send(c, &packet(0xa0 | low, &format!("0001 {}", field("t"))));
        w.expect(c, "b0 02 0001");
        w.send(c, &packet(0xc0 | low, ""));
        w.expect(c, "d0 00");
        w.send(c, &packet(0xe0 | low, ""));
        w.expect_close(c, "", Reason::ClientDisconnect);
    }
    // The same CONNECT is a fault in 3.1.1, closed without a word, and in 5.0, which is told.
    for (level, answer) in [(4, ""), (5, "20 15 00 81 12 1f 000f")] {
        let mut w = World::new();
        let c = w.open();
        let whole = connect_bytes(level, 2, 60, "", "c");
        w.send(c, &format!("11{}", &whole[2..]));
        let got = w.take(c);
        assert_eq!(got.is_empty(), answer.is_empty());
        assert_eq!(
            (got.get(3), w.closed[&c]),
            (Some(&0x81).filter(|_| level == 5), Reason::Malformed)
        );
    }
}

/// Choice 16: before 5.0 nobody can be told another keep alive.
#[test]
fn a_keep_alive_that_is_not_granted() {
    let mut w =
        World::with(Config { max_keep_alive: Duration::from_secs(30), ..Config::default() });
    for level in [3, 4] {
        for (secs, answer) in
            [(1, "20 02 00 00"), (30, "20 02 00 00"), (31, "20 02 00 02"), (0, "20 02 00 02")]
        {
            let c = w.open();
            w.send(c, &connect_bytes(level, 2, secs, "", "c"));
            w.expect(c, answer);
        }
    }
}

/// Choice 1: control characters and non-characters are refused, or let pass by `utf8: lenient`.
#[test]
fn characters_that_a_receiver_may_refuse() {
    let topics = ["a\u{1}", "\u{1f}/b", "\u{7f}", "\u{9f}", "\u{fdd0}", "\u{ffff}", "\u{1fffe}"];
    for (utf8, passes) in [(Utf8::Strict, false), (Utf8::Lenient, true)] {
        let mut w = World::with(Config { utf8, ..Config::default() });
        for level in [3, 4, 5] {
            let (p, more) = if level == 5 { ("00", " 00") } else { ("", "") };
            for topic in topics {
                let c = w.connect(&connect_bytes(level, 2, 60, "", "c"));
                w.send(c, &packet(0x82, &format!("0001 {p} {} 00", field(topic))));
                if passes {
                    w.expect(c, &packet(0x90, &format!("0001 {p} 00")));
                    let publish = packet(0x30, &format!("{} {p}", field(topic)));
                    w.send(c, &publish);
                    w.expect(c, &publish);
                    w.send(c, &packet(0xa2, &format!("0002 {p} {}", field(topic))));
                    w.expect(c, &packet(0xb0, &format!("0002{more}{more}")));
                } else {
                    w.take(c);
                    assert_eq!(w.closed.get(&c), Some(&Reason::Malformed), "{topic:?}");
                }
                let c = w.open();
                w.send(c, &connect_bytes(level, 2, 60, "", topic));
                assert_eq!(!w.closed.contains_key(&c), passes, "client id {topic:?}");
            }
            // Well formed they must be, and without U+0000, in either case.
            for bad in ["0001 00", "0001 ff", "0003 eda080"] {
                let c = w.connect(&connect_bytes(level, 2, 60, "", "c"));
                w.send(c, &packet(0x30, &format!("{bad} {p}")));
                assert_eq!(w.closed.get(&c), Some(&Reason::Malformed), "{bad}");
            }
        }
        // Properties of 5.0 are strings as well, and are passed on.
        let c = w.connect(&connect_bytes(5, 2, 60, "", "c"));
        w.send(c, &packet(0x82, &format!("0001 00 {} 00", field("t"))));
        w.take(c);
        let publish = packet(0x30, &format!("{} 07 26 0001 01 0001 7f", field("t")));
        w.send(c, &publish);
        if passes { w.expect(c, &publish) } else { assert!(w.closed.contains_key(&c)) }
    }
}

/// Choices 3 and 24: which names and levels are spoken, with the bridge bit and without.
#[test]
fn names_and_levels() {
    const SPOKEN: &str = "20 02 00 00";
    const UNKNOWN: &str = "20 02 00 01";
    for level in 0..=255_u8 {
        for name in ["MQTT", "MQIsdp"] {
            let mut w = World::new();
            let c = w.open();
            let properties = if level == 5 && name == "MQTT" { "00" } else { "" };
            let rest = format!("02 003c {properties} {}", field("c"));
            w.send(c, &packet(0x10, &format!("{} {level:02x} {rest}", field(name))));
            match (name, level) {
                ("MQTT", 4 | 0x84) | ("MQIsdp", 3 | 0x83) => w.expect(c, SPOKEN),
                ("MQTT", 5) => assert_eq!(w.take(c)[3], 0),
                _ => w.expect_close(c, UNKNOWN, Reason::UnsupportedVersion),
            }
        }
    }
    for name in ["", "M", "MQT", "mqtt", "MQTTT", "MQISDP", "HTTP"] {
        let mut w = World::new();
        let c = w.open();
        w.send(c, &packet(0x10, &format!("{} 04 02 003c {}", field(name), field("c"))));
        w.expect_close(c, "", Reason::Malformed);
    }
}

/// The bridge bit: neither its own messages nor a lost RETAIN flag, in both old versions.
#[test]
fn a_bridge_of_an_old_version() {
    for level in [0x83, 0x84] {
        let mut w = World::new();
        let bridge = w.connect(&connect_bytes(level, 2, 60, "", "bridge"));
        let plain = w.connect(&connect_bytes(level & 0x7f, 2, 60, "", "plain"));
        for c in [bridge, plain] {
            w.send(c, &packet(0x82, &format!("0001 {} 00", field("#"))));
            w.expect(c, "90 03 0001 00");
        }
        w.send(bridge, r#"31 04 0001 "t" "x""#);
        w.expect(bridge, "");
        w.expect(plain, r#"30 04 0001 "t" "x""#);
        w.send(plain, r#"31 04 0001 "t" "y""#);
        w.expect(bridge, r#"31 04 0001 "t" "y""#);
        w.expect(plain, r#"30 04 0001 "t" "y""#);
    }
}
