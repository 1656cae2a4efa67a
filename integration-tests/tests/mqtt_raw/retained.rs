//! Retained messages: what is stored, what replaces and removes it, and the flag that tells.

use motegate_tests::gateway::Gateway;
use motegate_tests::wire::{VERSIONS, Version, Wire, publish, subscribe};

use crate::{STRICT, finish, suback};

/// Publishes at the QoS of `flags` and waits until the message is taken.
fn put(wire: &mut Wire, version: Version, flags: u8, topic: &str, payload: &[u8]) {
    wire.send(&publish(version, flags, 5, topic, payload));
    finish(wire, flags);
}

/// Subscribes and insists on the SUBACK.
fn listen(wire: &mut Wire, version: Version, filter: &str, qos: u8) {
    wire.send(&subscribe(version, filter, qos));
    wire.expect(&suback(version, &[qos]));
}

/// [MQTT-3.3.1-5], [MQTT-3.3.1-6], [MQTT-3.3.1-8], 5.0 [MQTT-3.3.1-9]: each with its QoS, or the
/// lower one that is granted [MQTT-3.8.4-6].
#[test]
fn stored_with_its_qos() {
    let gateway = Gateway::dev();
    for version in VERSIONS {
        let mut wire = Wire::connect(gateway.mqtt, version, "publisher");
        for qos in [0, 1, 2] {
            put(&mut wire, version, 1 | qos << 1, &format!("r/{qos}"), &[b'0' + qos]);
        }
        for granted in [0, 1, 2] {
            let mut wire = Wire::connect(gateway.mqtt, version, "subscriber");
            listen(&mut wire, version, "r/#", granted);
            let mut id = 0;
            for stored in [0, 1, 2] {
                let qos = granted.min(stored);
                id += u16::from(qos > 0);
                let topic = format!("r/{stored}");
                wire.expect(&publish(version, 1 | qos << 1, id, &topic, &[b'0' + stored]));
            }
            wire.alive();
        }
    }
}

/// [MQTT-3.3.1-7]: the last one counts, also where it has a lower QoS.
#[test]
fn the_last_one_replaces() {
    let gateway = Gateway::dev();
    for version in VERSIONS {
        let mut wire = Wire::connect(gateway.mqtt, version, "case");
        put(&mut wire, version, 5, "r", b"old");
        put(&mut wire, version, 1, "r", b"new");
        listen(&mut wire, version, "r", 2);
        wire.expect(&publish(version, 1, 0, "r", b"new"));
        wire.alive();
    }
}

/// [MQTT-3.3.1-9], 5.0 [MQTT-3.3.1-12].
#[test]
fn an_established_subscription_sees_no_flag() {
    let gateway = Gateway::dev();
    for version in VERSIONS {
        let mut wire = Wire::connect(gateway.mqtt, version, "case");
        listen(&mut wire, version, "live", 0);
        for flags in [0, 1] {
            put(&mut wire, version, flags, "live", b"x");
            wire.expect(&publish(version, 0, 0, "live", b"x"));
        }
        put(&mut wire, version, 1, "live", b"");
        wire.expect(&publish(version, 0, 0, "live", b""));
    }
}

/// [MQTT-3.3.1-12], 5.0 [MQTT-3.3.1-8]: also with an empty payload.
#[test]
fn without_the_flag_nothing_is_stored_or_removed() {
    let gateway = Gateway::dev();
    for version in VERSIONS {
        let mut wire = Wire::connect(gateway.mqtt, version, "case");
        let (fresh, kept) = (format!("fresh/{version:?}"), format!("kept/{version:?}"));
        put(&mut wire, version, 0, &fresh, b"x");
        put(&mut wire, version, 3, &kept, b"first");
        put(&mut wire, version, 2, &kept, b"second");
        put(&mut wire, version, 0, &kept, b"");
        listen(&mut wire, version, &fresh, 0);
        wire.alive();
        listen(&mut wire, version, &kept, 0);
        wire.expect(&publish(version, 1, 0, &kept, b"first"));
        wire.alive();
    }
}

/// [MQTT-3.3.1-10], [MQTT-3.3.1-11], 5.0 [MQTT-3.3.1-6], [MQTT-3.3.1-7]: at each QoS, delivered
/// like any other message, whether there was something to remove or not.
#[test]
fn an_empty_one_removes_and_is_not_stored() {
    let gateway = Gateway::dev();
    for version in VERSIONS {
        for qos in [0, 1, 2] {
            let flags = 1 | qos << 1;
            let mut watcher = Wire::connect(gateway.mqtt, version, "watcher");
            listen(&mut watcher, version, "r", 0);
            let mut wire = Wire::connect(gateway.mqtt, version, "case");
            for payload in [&b"x"[..], b"", b""] {
                put(&mut wire, version, flags, "r", payload);
                watcher.expect(&publish(version, 0, 0, "r", payload));
            }
            listen(&mut wire, version, "r", 0);
            wire.alive();
        }
    }
}

/// [MQTT-3.8.4-3]: the retained message comes again at each SUBSCRIBE; nothing that is published
/// between is lost or doubled.
#[test]
fn subscribing_again_and_again_loses_nothing() {
    let gateway = Gateway::dev();
    for version in STRICT {
        let mut publisher = Wire::connect(gateway.mqtt, version, "publisher");
        put(&mut publisher, version, 1, "r", b"kept");
        let mut wire = Wire::connect(gateway.mqtt, version, "case");
        listen(&mut wire, version, "r", 1);
        wire.expect(&publish(version, 1, 0, "r", b"kept"));
        let mut bytes = Vec::new();
        for number in 0..20 {
            bytes.extend(publish(version, 0, 0, "r", &[number]));
            bytes.extend(subscribe(version, "r", number % 3));
        }
        wire.send(&bytes);
        let (mut live, mut kept, mut answers) = (Vec::new(), 0, 0);
        while live.len() + kept + answers < 60 {
            let got = wire.packet();
            match (got[0], got.last()) {
                (0x90, _) => answers += 1,
                (0x31, _) => kept += 1,
                (0x30, Some(number)) => live.push(*number),
                _ => panic!("neither SUBACK nor PUBLISH\n{}", wire.story()),
            }
        }
        assert_eq!((live, kept), ((0..20).collect(), 20), "{}", wire.story());
        wire.alive();
    }
}
