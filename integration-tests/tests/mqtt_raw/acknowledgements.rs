//! QoS 1 and 2 handshakes as a client's mistakes and repetitions leave them.

use motegate_tests::gateway::Gateway;
use motegate_tests::wire::{Version, Wire, packet, publish, subscribe};

use crate::{PROTOCOL, STRICT, refused_in};

/// An acknowledgement with an id: in 5.0 the code must be `code`, in 3.x there is none.
fn acknowledged(wire: &mut Wire, version: Version, first: u8, id: u8, code: u8) {
    let answer = wire.packet();
    assert_eq!(answer[0], first, "{}", wire.story());
    assert_eq!(answer[2..4], [0, id], "{}", wire.story());
    if version == Version::V5 {
        let got = answer.get(4).copied().unwrap_or(0);
        assert_eq!(got, code, "{}", wire.story());
    } else {
        assert_eq!(answer.len(), 4, "{}", wire.story());
    }
}

/// 0x10 when nobody subscribes.
fn code(version: Version) -> u8 {
    if version == Version::V5 { 0x10 } else { 0 }
}

/// An id that nobody knows is no reason to close.
#[test]
fn unknown_ids() {
    let gateway = Gateway::dev();
    for version in STRICT {
        let mut wire = Wire::connect(gateway.mqtt, version, "case");
        wire.send(&packet(0x40, &[0, 9])); // PUBACK
        wire.send(&packet(0x70, &[0, 9])); // PUBCOMP
        wire.alive();
        wire.send(&packet(0x62, &[0, 9])); // PUBREL
        acknowledged(&mut wire, version, 0x70, 9, 0x92);
        wire.send(&packet(0x50, &[0, 9])); // PUBREC
        acknowledged(&mut wire, version, 0x62, 9, 0x92);
        wire.alive();
    }
}

/// [MQTT-4.3.3-2]: a repeated PUBLISH is answered and not delivered again; a repeated PUBREL is
/// answered too.
#[test]
fn qos_2_is_delivered_once() {
    let gateway = Gateway::dev();
    for version in STRICT {
        let mut watcher = Wire::connect(gateway.mqtt, version, "watcher");
        watcher.send(&subscribe(version, "once", 0));
        watcher.packet();
        let mut wire = Wire::connect(gateway.mqtt, version, "case");
        for dup in [0, 0x08, 0x08] {
            wire.send(&publish(version, 0x04 | dup, 3, "once", b"x"));
            acknowledged(&mut wire, version, 0x50, 3, 0);
        }
        wire.send(&packet(0x62, &[0, 3]));
        acknowledged(&mut wire, version, 0x70, 3, 0);
        wire.send(&packet(0x62, &[0, 3]));
        acknowledged(&mut wire, version, 0x70, 3, 0x92);
        // The id is free: the same packet is a new message, DUP or not.
        wire.send(&publish(version, 0x0C, 3, "once", b"y"));
        acknowledged(&mut wire, version, 0x50, 3, 0);
        watcher.expect(&publish(version, 0, 0, "once", b"x"));
        watcher.expect(&publish(version, 0, 0, "once", b"y"));
        watcher.alive();
    }
}

#[test]
fn nobody_listens() {
    let gateway = Gateway::dev();
    for version in STRICT {
        let mut wire = Wire::connect(gateway.mqtt, version, "case");
        wire.send(&publish(version, 2, 1, "nobody", b"x"));
        acknowledged(&mut wire, version, 0x40, 1, code(version));
        wire.send(&publish(version, 4, 2, "nobody", b"x"));
        acknowledged(&mut wire, version, 0x50, 2, code(version));
        wire.send(&packet(0x62, &[0, 2]));
        acknowledged(&mut wire, version, 0x70, 2, 0);
    }
}

/// 5.0 §3.4.2.1: code and property length may be left out; both forms mean the same.
#[test]
fn short_and_long_forms_of_acknowledgements() {
    let gateway = Gateway::dev();
    let mut wire = Wire::connect(gateway.mqtt, Version::V5, "case");
    wire.send(&subscribe(Version::V5, "a", 2));
    wire.packet();
    for (id, form) in [(1, &[][..]), (2, &[0]), (3, &[0, 0]), (4, &[0x10, 0])] {
        wire.send(&publish(Version::V5, 4, id, "a", b"x"));
        let id = u8::try_from(id).expect("a small id");
        let mut delivered = 0;
        for _ in 0..2 {
            let got = wire.packet();
            match got[0] {
                0x50 => assert_eq!(got[2..4], [0, id], "{}", wire.story()),
                0x34 => delivered = got[6],
                _ => panic!("neither PUBREC nor PUBLISH\n{}", wire.story()),
            }
        }
        // PUBREL's table has no 0x10.
        let release = if form.first() == Some(&0x10) { &[0, 0][..] } else { form };
        wire.send(&packet(0x62, &[&[0, id], release].concat()));
        acknowledged(&mut wire, Version::V5, 0x70, id, 0);
        wire.send(&packet(0x50, &[&[0, delivered], form].concat()));
        acknowledged(&mut wire, Version::V5, 0x62, delivered, 0);
        wire.send(&packet(0x70, &[&[0, delivered], release].concat()));
    }
    wire.alive();
}

/// 5.0 [MQTT-3.4.2-1] and its siblings.
#[test]
fn codes_that_are_not_in_the_table() {
    let gateway = Gateway::dev();
    for (name, bytes) in [
        ("PUBACK 0x92", &[0x40, 3, 0, 1, 0x92]),
        ("PUBREC 0x01", &[0x50, 3, 0, 1, 0x01]),
        ("PUBREL 0x10", &[0x62, 3, 0, 1, 0x10]),
        ("PUBCOMP 0x80", &[0x70, 3, 0, 1, 0x80]),
    ] {
        refused_in(&gateway, name, Version::V5, PROTOCOL, bytes);
    }
}

/// 5.0 [MQTT-3.3.4-7]: more open at once than the gateway granted.
#[test]
fn more_than_the_receive_maximum() {
    let gateway = Gateway::dev();
    let mut wire = Wire::open(gateway.mqtt);
    wire.send(&motegate_tests::wire::connect(Version::V5, "case", true, 60));
    let connack = wire.packet();
    let at = connack
        .windows(3)
        .position(|three| three[0] == 0x21)
        .expect("Receive Maximum is always told");
    let granted = u16::from_be_bytes([connack[at + 1], connack[at + 2]]);
    for id in 1..=granted {
        wire.send(&publish(Version::V5, 4, id, "a", b""));
        acknowledged_any(&mut wire, 0x50);
    }
    wire.alive();
    wire.send_regardless(&publish(Version::V5, 4, granted + 1, "a", b""));
    wire.refused(Version::V5, 0x93);
}

fn acknowledged_any(wire: &mut Wire, first: u8) {
    let answer = wire.packet();
    assert_eq!(answer[0], first, "{}", wire.story());
}
