//! Wills: what is published when a connection ends without a goodbye, and what is not.

use std::time::Duration;

use motegate_tests::gateway::Gateway;
use motegate_tests::wire::{
    VERSIONS, Version, Wire, connect, head, packet, publish, string, subscribe,
};

use crate::{MALFORMED, OLD, suback};

/// CONNECT with a clean session, a will at `will` and these flags of it (0x20 retain, 0x18 QoS).
fn with_will(version: Version, flags: u8, keep_alive: u16) -> Vec<u8> {
    let properties: &[u8] = if version == Version::V5 { &[0] } else { &[] };
    let fields = [&string("mote"), properties, &string("will"), &string("gone")].concat();
    packet(0x10, &[head(version, 0x06 | flags, keep_alive), fields].concat())
}

fn mote(gateway: &Gateway, version: Version, bytes: &[u8]) -> Wire {
    let mut wire = Wire::open(gateway.mqtt);
    wire.send(bytes);
    assert_eq!(wire.connack(version), (0, 0), "{}", wire.story());
    wire
}

fn watcher(gateway: &Gateway, id: &str) -> Wire {
    let mut wire = Wire::connect(gateway.mqtt, Version::V311, id);
    wire.send(&subscribe(Version::V311, "will", 2));
    wire.expect(&suback(Version::V311, &[2]));
    wire
}

/// [MQTT-3.1.2-8], [MQTT-3.1.2-9], [MQTT-3.1.2-16], [MQTT-3.1.2-17], 5.0 [MQTT-3.1.2-14],
/// [MQTT-3.1.2-15].
#[test]
fn a_will_has_the_qos_and_the_retain_flag_of_its_connect() {
    let gateway = Gateway::dev();
    for version in VERSIONS {
        for (qos, retain) in [(0, 0), (1, 0), (2, 0), (0, 1), (1, 1), (2, 1)] {
            let mut live = watcher(&gateway, "live");
            drop(mote(&gateway, version, &with_will(version, qos << 3 | retain << 5, 60)));
            let id = u16::from(qos > 0);
            live.expect(&publish(Version::V311, qos << 1, id, "will", b"gone"));
            let mut later = watcher(&gateway, "later");
            if retain == 1 {
                later.expect(&publish(Version::V311, 1 | qos << 1, id, "will", b"gone"));
                later.send(&publish(Version::V311, 1, 0, "will", b""));
                later.expect(&publish(Version::V311, 0, 0, "will", b""));
            }
            later.alive();
        }
    }
}

/// [MQTT-3.1.2-10], [MQTT-3.1.2-12]: sent once, and a connection without one has none, whatever
/// an earlier one had.
#[test]
fn a_will_belongs_to_one_connection() {
    let gateway = Gateway::dev();
    let mut live = watcher(&gateway, "live");
    for version in VERSIONS {
        drop(mote(&gateway, version, &with_will(version, 0, 60)));
        live.expect(&publish(Version::V311, 0, 0, "will", b"gone"));
        let mut wire = mote(&gateway, version, &with_will(version, 0, 60));
        wire.send(&[0xE0, 0]);
        wire.closed();
        for clean in [true, false] {
            let mut wire = mote(&gateway, version, &connect(version, "mote", clean, 60));
            wire.send(&[0xC1]); // a fault, for the close that can be waited for
            if version == Version::V31 {
                wire.send(&[0x00]); // these bits mean nothing to it
                wire.expect(&[0xD0, 0]);
                wire.send(&[0x00]);
            }
            wire.refused(version, MALFORMED);
            live.alive();
        }
        mote(&gateway, version, &connect(version, "mote", true, 60));
    }
}

/// [MQTT-3.1.2-10], [MQTT-3.1.2-12], [MQTT-3.1.4-2]: the same where the session goes on: a connection
/// has the will of its own CONNECT or none, and a takeover sends that of the old one.
#[test]
fn a_session_that_goes_on_has_the_will_of_its_latest_connect() {
    let gateway = Gateway::dev();
    let mut live = watcher(&gateway, "live");
    let gone = |text: &[u8]| publish(Version::V311, 0, 0, "will", text);
    for version in OLD {
        let durable = |text: &str| {
            let fields = [string(format!("kept {version:?}")), string("will"), string(text)];
            packet(0x10, &[head(version, 0x04, 60), fields.concat()].concat())
        };
        let without = connect(version, &format!("kept {version:?}"), false, 60);
        let open = |bytes: &[u8]| {
            let mut wire = Wire::open(gateway.mqtt);
            wire.send(bytes);
            assert_eq!(wire.connack(version).1, 0, "{}", wire.story());
            wire
        };
        let mut old = open(&durable("first"));
        let mut new = open(&durable("second"));
        live.expect(&gone(b"first"));
        old.refused(version, 0x8E);
        live.alive();
        new.send(&[0xE0, 0]);
        new.closed();
        let mut bare = open(&without);
        bare.send_regardless(&[0x30, 0]);
        bare.refused(version, MALFORMED);
        live.alive();
        let mut last = open(&durable("third"));
        last.send_regardless(&[0x30, 0]);
        last.refused(version, MALFORMED);
        live.expect(&gone(b"third"));
        open(&without);
        live.alive();
    }
}

/// [MQTT-3.1.2-24]: as if the network had failed.
#[test]
fn a_client_that_falls_silent_leaves_its_will() {
    let gateway = Gateway::dev();
    let mut live = watcher(&gateway, "live");
    for version in VERSIONS {
        let mut wire = mote(&gateway, version, &with_will(version, 0, 1));
        wire.refused(version, 0x8D);
        live.expect(&publish(Version::V311, 0, 0, "will", b"gone"));
    }
}

/// [MQTT-4.8.0-1], [MQTT-2.2.2-2], [MQTT-3.14.1-1] and others: whatever the fault, it is closed
/// and the will goes out.
#[test]
fn every_fault_leaves_the_will_due() {
    let gateway = Gateway::dev();
    let mut live = watcher(&gateway, "live");
    let faults: [(&str, Vec<u8>); 13] = [
        ("a second CONNECT", connect(Version::V311, "mote", true, 60)),
        ("QoS 3", publish(Version::V311, 6, 1, "a", b"")),
        ("DUP at QoS 0", publish(Version::V311, 8, 0, "a", b"")),
        ("packet id 0", publish(Version::V311, 2, 0, "a", b"")),
        ("a wildcard in a topic", publish(Version::V311, 0, 0, "a/#", b"")),
        ("no topic", publish(Version::V311, 0, 0, "", b"")),
        ("PUBREL with 0000", vec![0x60, 2, 0, 1]),
        ("SUBSCRIBE with 0000", [&[0x80], &subscribe(Version::V311, "a", 0)[1..]].concat()),
        ("SUBSCRIBE without a filter", vec![0x82, 2, 0, 1]),
        ("QoS 3 wanted", subscribe(Version::V311, "a", 3)),
        ("UNSUBSCRIBE without a filter", vec![0xA2, 2, 0, 1]),
        ("DISCONNECT with 0001", vec![0xE1, 0]),
        ("DISCONNECT of one byte", vec![0xE0, 1, 0]),
    ];
    for (name, bytes) in faults {
        eprintln!("case: {name}"); // shown only when the test fails
        let mut wire = mote(&gateway, Version::V311, &with_will(Version::V311, 0, 60));
        wire.send_regardless(&bytes);
        wire.closed();
        live.expect(&publish(Version::V311, 0, 0, "will", b"gone"));
    }
}

/// [MQTT-3.1.2-8]: only an accepted CONNECT stores one.
#[test]
fn a_refused_connect_leaves_no_will() {
    let gateway = Gateway::run("mqtt: {max_keep_alive: 30s}\n");
    let mut live = Wire::open(gateway.mqtt);
    live.send(&connect(Version::V311, "live", true, 30));
    live.expect(&[0x20, 2, 0, 0]);
    live.send(&subscribe(Version::V311, "will", 0));
    live.expect(&[0x90, 3, 0, 1, 0]);
    for version in OLD {
        for flags in [0, 0x20] {
            let mut wire = Wire::open(gateway.mqtt);
            wire.send(&with_will(version, flags, 60));
            wire.expect(&[0x20, 2, 0, 2]);
            wire.closed();
            live.alive();
        }
    }
    live.send(&subscribe(Version::V311, "will", 0));
    live.expect(&[0x90, 3, 0, 1, 0]);
    live.alive();
}

/// A takeover publishes the will of the old connection before the new CONNACK, and the late end
/// of the old one publishes nothing more (protocols/mqtt.md §2.1).
#[test]
fn a_takeover_sends_the_will_once() {
    let gateway = Gateway::dev();
    let mut live = watcher(&gateway, "live");
    for version in VERSIONS {
        let mut old = mote(&gateway, version, &with_will(version, 0, 60));
        let mut new = mote(&gateway, version, &connect(version, "mote", true, 60));
        live.expect(&publish(Version::V311, 0, 0, "will", b"gone"));
        old.refused(version, 0x8E);
        drop(old);
        std::thread::sleep(Duration::from_millis(50)); // for the end of the old connection
        live.alive();
        new.alive();
    }
}
