//! Sessions of MQTT 3: what is kept while a client is away, and what is thrown away with it.

use motegate_tests::gateway::Gateway;
use motegate_tests::wire::{Version, Wire, connect, packet, publish, subscribe};

use crate::{OLD, connected};

/// Session Present as this version may tell it.
fn flag(version: Version, present: bool) -> u8 {
    u8::from(present && version != Version::V31)
}

/// A session of `id` that subscribes to `a` at QoS 2 and is away.
fn leave_behind(gateway: &Gateway, version: Version, id: &str) {
    let (mut wire, present) = connected(gateway, version, id, false);
    assert_eq!(present, 0, "there was none");
    wire.send(&subscribe(version, "a", 2));
    wire.expect(&[0x90, 3, 0, 1, 2]);
    wire.send(&[0xE0, 0]);
    wire.closed();
}

/// [MQTT-3.1.2-4], [MQTT-3.1.3-2], [MQTT-4.1.0-1], [MQTT-4.1.0-2]: by its client id, however the
/// connection ended.
#[test]
fn a_session_is_resumed_by_its_client_id() {
    let gateway = Gateway::dev();
    for version in OLD {
        let id = format!("kept {version:?}");
        leave_behind(&gateway, version, &id);
        let (mut other, present) = connected(&gateway, version, "other", false);
        assert_eq!(present, 0, "another id has another session");
        for _ in 0..2 {
            let (mut wire, present) = connected(&gateway, version, &id, false);
            assert_eq!(present, flag(version, true));
            other.send(&publish(version, 0, 0, "a", b"x"));
            wire.expect(&publish(version, 0, 0, "a", b"x"));
            drop(wire); // lost, without a goodbye
        }
        other.alive(); // nothing came to it
        other.send(&[0xE0, 0]);
        other.closed();
        connected(&gateway, version, "other", true); // tidies up for the next version
    }
}

/// [MQTT-3.1.2-5], [MQTT-4.5.0-1]: QoS 1 and 2 wait, in order; QoS 0 does not (choice).
#[test]
fn messages_wait_for_a_client_that_is_away() {
    let gateway = Gateway::dev();
    for version in OLD {
        let id = format!("away {version:?}");
        leave_behind(&gateway, version, &id);
        let mut publisher = Wire::connect(gateway.mqtt, version, "publisher");
        for (flags, payload) in [(2, b"1"), (0, b"2"), (4, b"3")] {
            publisher.send(&publish(version, flags, 7, "a", payload));
        }
        publisher.expect(&[0x40, 2, 0, 7]);
        publisher.expect(&[0x50, 2, 0, 7]);
        let (mut wire, present) = connected(&gateway, version, &id, false);
        assert_eq!(present, flag(version, true));
        // Sent for the first time now: DUP 0 [MQTT-3.3.1-1].
        wire.expect(&publish(version, 2, 1, "a", b"1"));
        wire.expect(&publish(version, 4, 2, "a", b"3"));
        wire.send(&[0x40, 2, 0, 1]);
        wire.send(&[0x50, 2, 0, 2]);
        wire.expect(&[0x62, 2, 0, 2]);
        wire.send(&[0x70, 2, 0, 2]);
        wire.alive();
    }
}

/// [MQTT-3.1.2-6], [MQTT-3.1.4-3], [MQTT-3.2.2-1]: subscriptions, queue and handshakes are gone,
/// and nothing of the clean session is there for the next.
#[test]
fn a_clean_session_discards_what_was_and_leaves_nothing() {
    let gateway = Gateway::dev();
    for version in OLD {
        let id = format!("clean {version:?}");
        leave_behind(&gateway, version, &id);
        let mut publisher = Wire::connect(gateway.mqtt, version, "publisher");
        let (mut wire, _) = connected(&gateway, version, &id, false);
        publisher.send(&publish(version, 2, 1, "a", b"in flight"));
        publisher.packet();
        wire.expect(&publish(version, 2, 1, "a", b"in flight"));
        wire.send(&publish(version, 4, 9, "other", b"held"));
        wire.expect(&[0x50, 2, 0, 9]);
        drop(wire);
        publisher.send(&publish(version, 2, 1, "a", b"queued"));
        publisher.packet();
        for clean in [true, false] {
            let (mut wire, present) = connected(&gateway, version, &id, clean);
            assert_eq!(present, 0, "{version:?}, clean {clean}");
            publisher.send(&publish(version, 2, 1, "a", b"live"));
            publisher.packet();
            wire.alive();
            if clean {
                wire.send(&subscribe(version, "a", 1));
                wire.expect(&[0x90, 3, 0, 1, 1]);
                // The id was held by the session that is gone: a new message.
                wire.send(&publish(version, 0x0C, 9, "a", b"held"));
                assert_eq!([wire.packet()[0], wire.packet()[0]], [0x50, 0x32], "{}", wire.story());
            }
            drop(wire);
            publisher.alive();
        }
    }
}

/// [MQTT-3.1.2-7]
#[test]
fn retained_messages_outlive_the_session() {
    let gateway = Gateway::dev();
    for version in OLD {
        let mut wire = Wire::connect(gateway.mqtt, version, "case");
        wire.send(&publish(version, 3, 1, "kept", b"x"));
        wire.expect(&[0x40, 2, 0, 1]);
        wire.send(&[0xE0, 0]);
        wire.closed();
        let mut wire = Wire::connect(gateway.mqtt, version, "case");
        wire.send(&subscribe(version, "kept", 0));
        wire.expect(&[0x90, 3, 0, 1, 0]);
        wire.expect(&publish(version, 1, 0, "kept", b"x"));
    }
}

/// [MQTT-3.1.3-5]; longer ids and other characters are accepted as well (choice).
#[test]
fn client_ids_that_are_accepted() {
    let gateway = Gateway::dev();
    let ids = [
        "0",
        "0123456789abcdefghijklm",
        "nopqrstuvwxyzABCDEFGHIJ",
        "KLMNOPQRSTUVWXYZ",
        "an id of more than twenty-three bytes, with $, /, + and #",
        "Zähler-7",
    ];
    let long = "x".repeat(1024);
    for version in OLD {
        for id in ids.into_iter().chain([long.as_str()]) {
            Wire::connect(gateway.mqtt, version, id).alive();
        }
    }
}

/// [MQTT-3.1.3-6]: each client without an id has one of its own.
#[test]
fn clients_without_an_id_are_apart() {
    let gateway = Gateway::dev();
    let mut first = Wire::connect(gateway.mqtt, Version::V311, "");
    let mut second = Wire::connect(gateway.mqtt, Version::V311, "");
    for wire in [&mut first, &mut second] {
        wire.send(&subscribe(Version::V311, "a", 0));
        wire.expect(&[0x90, 3, 0, 1, 0]);
    }
    first.send(&publish(Version::V311, 0, 0, "a", b"x"));
    for wire in [&mut first, &mut second] {
        wire.expect(&publish(Version::V311, 0, 0, "a", b"x"));
        wire.alive();
    }
}

/// [MQTT-3.2.2-4], [MQTT-3.2.2-5]: also where the session exists, which stays as it is.
#[test]
fn a_refusal_says_nothing_of_the_session() {
    let gateway = Gateway::run("mqtt: {max_keep_alive: 30s}\n");
    for version in OLD {
        let open = |keep_alive| {
            let mut wire = Wire::open(gateway.mqtt);
            wire.send(&connect(version, "known", false, keep_alive));
            wire
        };
        let mut wire = open(30);
        wire.expect(&[0x20, 2, 0, 0]);
        wire.send(&subscribe(version, "a", 0));
        wire.expect(&[0x90, 3, 0, 1, 0]);
        for keep_alive in [31, 0] {
            let mut refused = open(keep_alive);
            refused.expect(&[0x20, 2, 0, 2]);
            refused.closed();
        }
        wire.alive(); // refused before the old connection was touched
        drop(wire);
        let mut wire = open(30);
        wire.expect(&[0x20, 2, flag(version, true), 0]);
        wire.send(&publish(version, 0, 0, "a", b"x"));
        wire.expect(&publish(version, 0, 0, "a", b"x"));
        wire.send(&[0xE0, 0]);
        wire.closed();
        let mut clean = Wire::open(gateway.mqtt);
        clean.send(&connect(version, "known", true, 30));
        clean.expect(&[0x20, 2, 0, 0]);
    }
}

/// [MQTT-3.2.0-1], [MQTT-3.1.4-4]: before anything that waits for the session, and before the
/// answers to what came with the CONNECT.
#[test]
fn connack_is_the_first_packet_and_comes_once() {
    let gateway = Gateway::dev();
    for version in OLD {
        let id = format!("first {version:?}");
        leave_behind(&gateway, version, &id);
        let mut publisher = Wire::connect(gateway.mqtt, version, "publisher");
        publisher.send(&publish(version, 2, 7, "a", b"waited"));
        publisher.expect(&[0x40, 2, 0, 7]);
        let mut bytes = connect(version, &id, false, 60);
        bytes.extend([0xC0, 0]);
        bytes.extend(packet(0x82, &[&[0, 3][..], &[0, 1, b'b', 1]].concat()));
        let mut wire = Wire::open(gateway.mqtt);
        wire.send(&bytes);
        wire.expect(&[0x20, 2, flag(version, true), 0]);
        let mut got: Vec<Vec<u8>> = (0..3).map(|_| wire.packet()).collect();
        got.sort();
        let waited = publish(version, 2, 1, "a", b"waited");
        assert_eq!(got, [waited, vec![0x90, 3, 0, 3, 1], vec![0xD0, 0]], "{}", wire.story());
        wire.alive();
    }
}
