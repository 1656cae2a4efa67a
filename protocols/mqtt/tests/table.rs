//! Every packet in every state of a connection, for each version: what is answered, whether the
//! connection ends and why, and what the layer above hears. The table is a snapshot, so that a
//! combination nobody thought of is seen.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod common;

use std::fmt::Write;

use common::{World, connect_bytes, field, hex, packet, show};
use motegate_message::{ConnectionId, Qos};

#[derive(Clone, Copy, Debug)]
enum State {
    Fresh,
    /// CONNECT was refused or the client has said goodbye.
    Closed,
    /// Accepted, but the CONNACK waits for its commit; shown is what comes after it.
    Gated,
    Open,
    /// A QoS 2 id of the client's is held (5), deliveries of ours stand at PUBLISH QoS 1 (1),
    /// PUBLISH QoS 2 (2) and PUBREL (3).
    Busy,
}

fn packets(level: u8) -> Vec<(&'static str, String)> {
    let p = if level == 5 { "00" } else { "" };
    let options = format!("0001 {p} {} 00", field("x"));
    vec![
        ("type 0", "00 00".into()),
        ("CONNECT", connect_bytes(level, 2, 60, "", "a")),
        ("CONNACK", if level == 5 { "20 03 00 00 00".into() } else { "20 02 00 00".into() }),
        ("PUBLISH 0", packet(0x30, &format!("{} {p} 41", field("x")))),
        ("PUBLISH 1 id 9", packet(0x32, &format!("{} 0009 {p} 41", field("x")))),
        ("PUBLISH 2 id 9", packet(0x34, &format!("{} 0009 {p} 41", field("x")))),
        ("PUBLISH 2 id 5 DUP", packet(0x3c, &format!("{} 0005 {p} 41", field("x")))),
        ("PUBLISH 3", packet(0x36, &format!("{} 0009 {p} 41", field("x")))),
        ("PUBLISH 1 id 0", packet(0x32, &format!("{} 0000 {p} 41", field("x")))),
        ("PUBLISH 0 DUP", packet(0x38, &format!("{} {p} 41", field("x")))),
        ("PUBLISH 1 id 9 DUP", packet(0x3a, &format!("{} 0009 {p} 41", field("x")))),
        ("PUBLISH 2 id 5, other content", packet(0x34, &format!("{} 0005 {p} 42", field("x")))),
        ("PUBLISH 1 id 5", packet(0x32, &format!("{} 0005 {p} 41", field("x")))),
        ("PUBLISH 2 id 0", packet(0x34, &format!("{} 0000 {p} 41", field("x")))),
        ("PUBLISH retained", packet(0x31, &format!("{} {p} 41", field("x")))),
        ("PUBLISH empty topic", packet(0x30, &format!("{} {p} 41", field("")))),
        ("PUBLISH topic cut", packet(0x30, "0009 41")),
        ("PUBLISH not UTF-8", packet(0x30, &format!("0001 ff {p}"))),
        ("PUBLISH control character", packet(0x30, &format!("0001 07 {p}"))),
        ("PUBLISH wildcard", packet(0x30, &format!("{} {p}", field("a/#")))),
        ("PUBACK 1", "40 02 0001".into()),
        ("PUBACK 2", "40 02 0002".into()),
        ("PUBACK 3", "40 02 0003".into()),
        ("PUBACK 9", "40 02 0009".into()),
        ("PUBACK 0", "40 02 0000".into()),
        ("PUBACK flags", "42 02 0001".into()),
        ("PUBACK with a code", "40 03 0001 87".into()),
        ("PUBREC 1", "50 02 0001".into()),
        ("PUBREC 2", "50 02 0002".into()),
        ("PUBREC 3", "50 02 0003".into()),
        ("PUBREC 9", "50 02 0009".into()),
        ("PUBREC 2 with an error", "50 03 0002 87".into()),
        ("PUBREC 3 with an error", "50 03 0003 87".into()),
        ("PUBREC 9 with an error", "50 03 0009 87".into()),
        ("PUBREC flags", "52 02 0002".into()),
        ("PUBREL 5", "62 02 0005".into()),
        ("PUBREL 9", "62 02 0009".into()),
        ("PUBREL flags", "60 02 0005".into()),
        ("PUBCOMP 1", "70 02 0001".into()),
        ("PUBCOMP 2", "70 02 0002".into()),
        ("PUBCOMP 3", "70 02 0003".into()),
        ("PUBCOMP 9", "70 02 0009".into()),
        ("PUBCOMP 3 with an error", "70 03 0003 92".into()),
        ("PUBCOMP flags", "72 02 0003".into()),
        ("SUBSCRIBE", packet(0x82, &options)),
        ("SUBSCRIBE none", packet(0x82, &format!("0001 {p}"))),
        ("SUBSCRIBE flags", packet(0x80, &options)),
        ("SUBSCRIBE id 0", packet(0x82, &options.replacen("0001", "0000", 1))),
        ("SUBSCRIBE id 5", packet(0x82, &options.replacen("0001", "0005", 1))),
        ("SUBSCRIBE QoS 3", packet(0x82, &format!("0001 {p} {} 03", field("x")))),
        ("SUBSCRIBE option bits", packet(0x82, &format!("0001 {p} {} c1", field("x")))),
        ("SUBSCRIBE bad filter", packet(0x82, &format!("0001 {p} {} 00", field("a#")))),
        ("SUBSCRIBE no options", packet(0x82, &format!("0001 {p} {}", field("x")))),
        ("SUBACK", packet(0x90, &format!("0001 {p} 00"))),
        ("UNSUBSCRIBE", packet(0xa2, &format!("0001 {p} {}", field("t")))),
        ("UNSUBSCRIBE none", packet(0xa2, &format!("0001 {p}"))),
        ("UNSUBSCRIBE id 0", packet(0xa2, &format!("0000 {p} {}", field("t")))),
        ("UNSUBSCRIBE flags", packet(0xa0, &format!("0001 {p} {}", field("t")))),
        ("UNSUBSCRIBE bad filter", packet(0xa2, &format!("0001 {p} {}", field("#/a")))),
        ("UNSUBACK", if level == 5 { "b0 04 0001 00 00".into() } else { "b0 02 0001".into() }),
        ("PINGREQ", "c0 00".into()),
        ("PINGREQ flags", "c2 00".into()),
        ("PINGREQ long", "c0 01 00".into()),
        ("PINGRESP", "d0 00".into()),
        ("DISCONNECT", "e0 00".into()),
        ("DISCONNECT flags", "e2 00".into()),
        ("DISCONNECT code", "e0 01 04".into()),
        ("AUTH", "f0 00".into()),
        ("AUTH again", "f0 02 19 00".into()),
        ("CONNECT flags", connect_bytes(level, 2, 60, "", "a").replacen("10", "12", 1)),
        ("CONNECT of another level", connect_bytes(6, 2, 60, "", "a")),
        ("CONNECT of another protocol", packet(0x10, &format!("{} 04 02 003c", field("HTTP")))),
        ("length of 5 bytes", "30 ff ff ff ff".into()),
    ]
}

fn reach(w: &mut World, state: State, level: u8) -> ConnectionId {
    let properties = if level == 5 { "17 00 11 00000e10" } else { "" };
    let p = if level == 5 { "00" } else { "" };
    let c = match state {
        State::Fresh => return w.open(),
        State::Closed => {
            let c = w.connect(&connect_bytes(level, 0, 60, properties, "c"));
            w.send(c, "e0 00");
            c
        }
        State::Gated => {
            w.durable = true;
            w.auto_commit = false;
            w.script.after_turn = true;
            let c = w.open();
            w.send(c, &connect_bytes(level, 0, 60, properties, "c"));
            w.expect(c, "");
            return c;
        }
        State::Open => w.connect(&connect_bytes(level, 0, 60, properties, "c")),
        State::Busy => {
            let c = w.connect(&connect_bytes(level, 0, 60, properties, "c"));
            w.send(c, &packet(0x82, &format!("0001 {p} {} 02", field("t"))));
            w.inject("t", Qos::AtLeastOnce, b"1");
            w.inject("t", Qos::ExactlyOnce, b"2");
            w.inject("t", Qos::ExactlyOnce, b"3");
            w.send(c, "50 02 0003");
            w.send(c, &packet(0x34, &format!("{} 0005 {p} 41", field("x"))));
            c
        }
    };
    w.take(c);
    w.log.clear();
    w.published.clear();
    w.closed.clear();
    c
}

fn row(level: u8, state: State, bytes: &str) -> String {
    let mut w = World::new();
    let c = reach(&mut w, state, level);
    w.send_bytes(c, &hex(bytes));
    if matches!(state, State::Gated) {
        w.commit();
        w.commit();
        w.read_outbox(c, usize::MAX);
    }
    let mut out = show(&w.take(c));
    if let Some(reason) = w.closed.get(&c) {
        write!(out, " ✕ {reason}").unwrap();
    }
    for message in &w.published {
        write!(out, " ⇒ publish {}", message.topic).unwrap();
    }
    for line in w.log.iter().filter(|line| !line.starts_with("disconnected")) {
        write!(out, " ⇒ {line}").unwrap();
    }
    let will = w.log.iter().any(|line| line.ends_with("drop_will=true"));
    if will {
        out += " (will dropped)";
    }
    if out.is_empty() { "·".into() } else { out.trim_start().into() }
}

fn table(level: u8) -> String {
    let mut out = String::new();
    for (name, bytes) in packets(level) {
        writeln!(out, "{name}").unwrap();
        for state in [State::Fresh, State::Gated, State::Open, State::Busy, State::Closed] {
            writeln!(out, "    {:<7} {}", format!("{state:?}"), row(level, state, &bytes)).unwrap();
        }
    }
    out
}

#[test]
fn mqtt_31() {
    insta::assert_snapshot!(table(3));
}

#[test]
fn mqtt_311() {
    insta::assert_snapshot!(table(4));
}

#[test]
fn mqtt_5() {
    insta::assert_snapshot!(table(5));
}
