//! Which property stands where, and how often (MQTT 5 §2.2.2.2): every property in every packet that
//! a client sends. The table is written down here once more, by the specification's, so that the
//! decoder is not its own judge. AUTH is in `protocols/mqtt/tests/auth.rs`.

use crate::wire::*;

/// Every property with a value that it may have.
fn all() -> Vec<(u8, String)> {
    let text = |id: u8| (id, format!("{id:02x} {}", field("x")));
    let short = |id: u8| (id, format!("{id:02x} 0001"));
    let yes = |id: u8| (id, format!("{id:02x} 01"));
    let mut all: Vec<(u8, String)> =
        [0x01, 0x17, 0x19, 0x24, 0x25, 0x28, 0x29, 0x2a].map(yes).into();
    all.extend([0x03, 0x08, 0x12, 0x15, 0x1a, 0x1c, 0x1f].map(text));
    all.extend([0x13, 0x21, 0x22, 0x23].map(short));
    all.extend([
        (0x02, "02 00000009".into()),
        (0x09, "09 0001 ff".into()),
        (0x0b, "0b 01".into()),
        (0x11, "11 00000000".into()),
        (0x16, "16 0001 61".into()),
        (0x18, "18 00000001".into()),
        (0x26, format!("26 {} {}", field("k"), field("v"))),
        (0x27, "27 00000100".into()),
    ]);
    assert_eq!(all.len(), 27, "as many as there are");
    all
}

/// One of them may repeat, with the same name, too.
const USER: u8 = 0x26;

/// Packets behind a CONNECT: the properties that they may have, and how they are made of them.
type Kind = (&'static [u8], fn(&str) -> String);

const KINDS: [Kind; 8] = [
    (&[0x01, 0x02, 0x03, 0x08, 0x09, 0x23, USER], |p| publish(0x30, "t", "", p, "61")),
    (&[0x0b, USER], |p| subscribe("0001", p, "t", "00")),
    (&[USER], |p| packet(0xa2, &format!("0001 {} {}", props(p), field("t")))),
    (&[0x1f, USER], |p| packet(0x40, &format!("0007 00 {}", props(p)))),
    (&[0x1f, USER], |p| packet(0x50, &format!("0007 00 {}", props(p)))),
    (&[0x1f, USER], |p| packet(0x62, &format!("0007 00 {}", props(p)))),
    (&[0x1f, USER], |p| packet(0x70, &format!("0007 00 {}", props(p)))),
    (&[0x11, 0x1f, USER], |p| packet(0xe0, &format!("00 {}", props(p)))),
];

/// A property that cannot stand there is malformed, one that stands there twice is a protocol
/// error; so is a Subscription Identifier from a client [MQTT-3.3.4-6].
#[test]
fn of_every_packet() {
    let mut w = World::new();
    for (kind, (allowed, make)) in KINDS.into_iter().enumerate() {
        for (id, property) in all() {
            let good = allowed.contains(&id);
            let c = w.client("a", "");
            w.send(c, &make(&property));
            match (good, kind, id) {
                (true, 7, _) => assert_eq!(w.take(c), [], "DISCONNECT is not answered"),
                (true, ..) => {
                    w.take(c);
                    w.alive(c);
                }
                (false, 0, 0x0b) => w.goodbye(c, 0x82),
                (false, ..) => w.goodbye(c, 0x81),
            }
            if good && id != USER {
                let c = w.client("a", "");
                w.send(c, &make(&(property.clone() + &property)));
                w.goodbye(c, 0x82);
            } else if good && kind != 7 {
                let c = w.client("a", "");
                w.send(c, &make(&(property.clone() + &property)));
                w.take(c);
                w.alive(c);
            }
        }
    }
}

/// The same of CONNECT and of its will.
#[test]
fn of_connect_and_will() {
    let mut w = World::new();
    let watcher = w.watcher();
    let connects: [Kind; 2] = [
        (&[0x11, 0x15, 0x16, 0x17, 0x19, 0x21, 0x22, USER, 0x27], |p| connect(2, p, &field("a"))),
        (&[0x01, 0x02, 0x03, 0x08, 0x09, 0x18, USER], |p| connect_with_will(2, "", "a", p)),
    ];
    for (allowed, make) in connects {
        for (id, property) in all() {
            // Data are nothing without a method, and no method is offered.
            let before = if id == 0x16 { format!("15 {}", field("x")) } else { String::new() };
            let c = w.knock(&make(&format!("{before}{property}")));
            match (allowed.contains(&id), id) {
                (true, 0x15 | 0x16) => w.refused(c, 0x8c),
                (true, _) => {
                    assert_eq!(w.take(c)[..1], [0x20], "{id:02x}");
                    assert!(!w.gateway.closed.contains_key(&c), "{id:02x}");
                    w.send(c, "e000");
                }
                (false, _) => w.refused(c, 0x81),
            }
            let c = w.knock(&make(&format!("{before}{property}{property}")));
            match (allowed.contains(&id), id) {
                (true, USER) => {
                    assert!(!w.gateway.closed.contains_key(&c), "user properties may repeat");
                    w.send(c, "e000");
                }
                (true, _) => w.refused(c, 0x82),
                (false, _) => w.refused(c, 0x81),
            }
        }
    }
    assert_eq!(w.wills(watcher), 0);
}
