//! Clients of all versions on the same topics: what each one hears of what another one said.

use std::time::Duration;

use motegate_tests::gateway::Gateway;
use motegate_tests::wire::{VERSIONS, Version, Wire, packet, publish, string, subscribe};

use crate::{OLD, connected, finish, suback};

/// A PUBLISH of 5.0 with properties.
fn with_properties(flags: u8, topic: &str, properties: &[u8]) -> Vec<u8> {
    let id: &[u8] = if flags & 6 == 0 { &[] } else { &[0, 9] };
    let length = [u8::try_from(properties.len()).expect("short properties")];
    packet(0x30 | flags, &[&string(topic), id, &length, properties, b"x"].concat())
}

/// Every publisher to every subscriber, at every QoS, live and retained.
#[test]
fn every_version_hears_every_other() {
    let gateway = Gateway::dev();
    for from in VERSIONS {
        for to in VERSIONS {
            for qos in [0, 1, 2] {
                let mut wire = Wire::connect(gateway.mqtt, to, "subscriber");
                wire.send(&subscribe(to, "a", 2));
                wire.expect(&suback(to, &[2]));
                let mut publisher = Wire::connect(gateway.mqtt, from, "publisher");
                publisher.send(&publish(from, qos << 1 | 1, 9, "a", b"x"));
                finish(&mut publisher, qos << 1);
                let id = u16::from(qos > 0);
                wire.expect(&publish(to, qos << 1, id, "a", b"x"));
                let mut later = Wire::connect(gateway.mqtt, to, "later");
                later.send(&subscribe(to, "a", 2));
                later.expect(&suback(to, &[2]));
                later.expect(&publish(to, qos << 1 | 1, id, "a", b"x"));
                publisher.send(&publish(from, 1, 0, "a", b""));
                later.expect(&publish(to, 0, 0, "a", b""));
            }
        }
    }
}

/// protocols/mqtt.md §1.9: properties stay with the message and are left out towards 3.x.
#[test]
fn properties_stop_at_mqtt_3() {
    let gateway = Gateway::dev();
    let properties = [
        &[1, 1, 3][..],
        &string("text"),
        &[8],
        &string("answer"),
        &[9, 0, 1, 7, 0x26],
        &string("k"),
        &string("v"),
    ]
    .concat();
    let mut wires: Vec<(Version, Wire)> = Vec::new();
    for version in VERSIONS {
        let mut wire = Wire::connect(gateway.mqtt, version, &format!("{version:?}"));
        wire.send(&subscribe(version, "a", 0));
        wire.expect(&suback(version, &[0]));
        wires.push((version, wire));
    }
    let mut publisher = Wire::connect(gateway.mqtt, Version::V5, "publisher");
    publisher.send(&with_properties(1, "a", &properties));
    for (version, wire) in &mut wires {
        let version = *version;
        let heard = |flags| match version {
            Version::V5 => with_properties(flags, "a", &properties),
            _ => publish(version, flags, 0, "a", b"x"),
        };
        wire.expect(&heard(0));
        wire.send(&subscribe(version, "a", 0));
        wire.expect(&suback(version, &[0]));
        wire.expect(&heard(1));
    }
    // What 3.x says has none.
    let mut publisher = Wire::connect(gateway.mqtt, Version::V31, "publisher");
    publisher.send(&publish(Version::V31, 0, 0, "a", b"y"));
    for (version, wire) in &mut wires {
        wire.expect(&publish(*version, 0, 0, "a", b"y"));
    }
}

/// protocols/mqtt.md §1.9: the expiry of a 5.0 message holds for the copy of a 3.x client as well,
/// and for the retained one.
#[test]
fn expiry_holds_for_mqtt_3() {
    let gateway = Gateway::dev();
    let mut publisher = Wire::connect(gateway.mqtt, Version::V5, "publisher");
    for version in OLD {
        let id = format!("away {version:?}");
        let (mut wire, _) = connected(&gateway, version, &id, false);
        wire.send(&subscribe(version, "a", 1));
        wire.expect(&suback(version, &[1]));
        wire.send(&[0xE0, 0]);
        wire.closed();
        publisher.send(&with_properties(3, "a", &[2, 0, 0, 0, 1]));
        assert_eq!(publisher.packet()[0], 0x40);
        publisher.send(&with_properties(2, "a", &[2, 0, 0, 0, 60]));
        assert_eq!(publisher.packet()[0], 0x40);
        std::thread::sleep(Duration::from_millis(1_300));
        let (mut wire, _) = connected(&gateway, version, &id, false);
        wire.expect(&publish(version, 2, 1, "a", b"x"));
        wire.send(&packet(0x40, &[0, 1]));
        wire.alive(); // one message, not two
        wire.send(&subscribe(version, "a", 1));
        wire.expect(&suback(version, &[1]));
        wire.alive(); // and nothing retained
    }
}

/// A session goes on in another version; one that 5.0 leaves without an expiry ends.
#[test]
fn a_session_goes_on_in_another_version() {
    let gateway = Gateway::dev();
    for (first, second) in [(Version::V31, Version::V311), (Version::V311, Version::V5)] {
        let id = format!("{first:?} to {second:?}");
        let (mut wire, _) = connected(&gateway, first, &id, false);
        wire.send(&subscribe(first, "a", 1));
        wire.expect(&suback(first, &[1]));
        wire.send(&[0xE0, 0]);
        wire.closed();
        let mut publisher = Wire::connect(gateway.mqtt, first, "publisher");
        publisher.send(&publish(first, 2, 9, "a", b"x"));
        publisher.expect(&[0x40, 2, 0, 9]);
        let (mut wire, present) = connected(&gateway, second, &id, false);
        assert_eq!(present, 1);
        wire.expect(&publish(second, 2, 1, "a", b"x"));
        wire.send(&packet(0x40, &[0, 1]));
        wire.alive();
        wire.send(&[0xE0, 0]);
        wire.closed();
        let (_, present) = connected(&gateway, Version::V311, &id, false);
        assert_eq!(present, u8::from(second != Version::V5));
    }
}
