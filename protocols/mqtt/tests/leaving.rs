//! What came before a DISCONNECT, or before a packet that breaks a rule, in the same piece of the
//! stream: it is answered first. [MQTT-3.8.4-1, -3.10.4-4, -4.3.2-4, -4.6.0-2]
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod common;

use common::{World, connect_bytes, field, hex, packet};
use motegate_message::Reason;

fn connect(level: u8) -> String {
    let properties = if level == 5 { "11 00000e10 17 00" } else { "" };
    connect_bytes(level, 0, 60, properties, "c")
}

fn none(level: u8) -> &'static str {
    if level == 5 { "00" } else { "" }
}

/// PUBLISH at QoS 1 and 2, SUBSCRIBE and PINGREQ.
fn requests(level: u8) -> String {
    [
        packet(0x32, &format!("{} 0001 {} \"x\"", field("t"), none(level))),
        packet(0x34, &format!("{} 0002 {} \"x\"", field("t"), none(level))),
        packet(0x82, &format!("0003 {} {} 01", none(level), field("s"))),
        "c000".into(),
    ]
    .concat()
}

#[test]
fn what_came_before_disconnect_is_answered() {
    for level in [3, 4, 5] {
        let mut w = World::new();
        let c = w.connect(&connect(level));
        let goodbye = if level == 5 { "e000 c000" } else { "e000" };
        w.send(c, &[&requests(level), goodbye].concat());
        let code = if level == 5 { "10" } else { "" };
        let answers = [
            "d000".to_owned(),
            packet(0x40, &format!("0001 {code}")),
            packet(0x50, &format!("0002 {code}")),
            packet(0x90, &format!("0003 {} 01", none(level))),
        ];
        w.expect_close(c, &answers.concat(), Reason::ClientDisconnect);
    }
}

#[test]
fn what_came_before_a_fault_is_answered_and_the_goodbye_comes_last() {
    for level in [3, 4, 5] {
        let mut w = World::new();
        let c = w.connect(&connect(level));
        let publish = packet(0x32, &format!("{} 0001 {} \"x\"", field("t"), none(level)));
        w.send(c, &[&publish, "36 00"].concat()); // QoS 3
        let code = if level == 5 { "10" } else { "" };
        let mut answers = hex(&packet(0x40, &format!("0001 {code}")));
        let bytes = w.take(c);
        assert_eq!(bytes[..answers.len()], answers[..], "level {level}");
        answers = bytes[answers.len()..].to_vec();
        match level {
            5 => assert_eq!((answers[0], answers[2]), (0xe0, 0x81)),
            _ => assert!(answers.is_empty(), "{answers:02x?}"),
        }
        w.expect_close(c, "", Reason::Malformed);
    }
}

/// Nothing is answered before it is stored, and nobody waits for ever for a store that hangs.
#[test]
fn a_goodbye_waits_for_the_store_and_not_for_ever() {
    for stored in [true, false] {
        let mut w = World::durable();
        let c = w.connect(&connect(5));
        w.auto_commit = false;
        w.send(c, &[&packet(0x34, &format!("{} 0002 00 \"x\"", field("t"))), "e000"].concat());
        w.expect(c, "");
        if stored {
            w.commit();
            w.expect_close(c, &packet(0x50, "0002 10"), Reason::ClientDisconnect);
        } else {
            w.advance(core::time::Duration::from_secs(5));
            w.expect_close(c, "", Reason::ClientDisconnect);
        }
    }
}
