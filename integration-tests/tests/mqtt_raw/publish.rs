//! PUBLISH from a client: flags, topics, packet ids, aliases.

use motegate_tests::gateway::Gateway;
use motegate_tests::wire::{Version, Wire, packet, publish, string, subscribe};

use crate::{MALFORMED, PROTOCOL, STRICT, refused, refused_in};

/// PUBLISH of 5.0 with properties.
fn with_properties(flags: u8, topic: &str, properties: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut body = string(topic);
    if flags & 6 != 0 {
        body.extend([0, 1]);
    }
    body.push(u8::try_from(properties.len()).expect("short properties"));
    body.extend(properties);
    body.extend(payload);
    packet(0x30 | flags, &body)
}

/// [MQTT-3.3.1-2], [MQTT-3.3.1-4], [MQTT-2.3.1-1].
#[test]
fn flags_and_packet_ids() {
    let gateway = Gateway::dev();
    refused(&gateway, "QoS 3", MALFORMED, |version| publish(version, 0x06, 1, "a", b""));
    refused(&gateway, "DUP at QoS 0", MALFORMED, |version| publish(version, 0x08, 0, "a", b""));
    refused(&gateway, "packet id 0 at QoS 1", PROTOCOL, |version| {
        publish(version, 0x02, 0, "a", b"")
    });
    refused(&gateway, "packet id 0 at QoS 2", PROTOCOL, |version| {
        publish(version, 0x04, 0, "a", b"")
    });
}

/// [MQTT-3.3.2-2], [MQTT-4.7.3-1].
#[test]
fn topics() {
    let gateway = Gateway::dev();
    for topic in ["a/+", "#", "a/#", "+", "a+", "a#b"] {
        refused(&gateway, topic, MALFORMED, |version| publish(version, 0, 0, topic, b""));
    }
    refused(&gateway, "empty topic", PROTOCOL, |version| publish(version, 0, 0, "", b""));
    let deep = "/".repeat(300);
    refused(&gateway, "300 levels", 0x90, |version| publish(version, 0, 0, &deep, b""));
}

/// What is not the client's to publish is acknowledged or named, never a reason to close.
#[test]
fn topics_of_the_gateway_itself() {
    let gateway = Gateway::dev();
    for version in STRICT {
        let mut wire = Wire::connect(gateway.mqtt, version, "case");
        for topic in ["$SYS/broker/uptime", "$share/g/t"] {
            wire.send(&publish(version, 2, 7, topic, b"x"));
            let answer = wire.packet();
            assert_eq!(answer[0], 0x40, "{}", wire.story());
            assert_eq!(answer[2..4], [0, 7], "{}", wire.story());
            if version == Version::V5 {
                assert_eq!(answer.get(4), Some(&0x87), "{}", wire.story());
            } else {
                assert_eq!(answer.len(), 4, "{}", wire.story());
            }
        }
        wire.alive();
    }
}

/// 5.0 [MQTT-3.3.2-8], [MQTT-3.3.2-12], [MQTT-3.3.2-14].
#[test]
fn aliases_and_response_topics() {
    let gateway = Gateway::dev();
    let cases: [(&str, Vec<u8>, u8); 5] = [
        ("alias 0", with_properties(0, "a", &[0x23, 0, 0], b""), 0x94),
        ("alias above the maximum", with_properties(0, "a", &[0x23, 0xFF, 0xFF], b""), 0x94),
        ("alias never defined", with_properties(0, "", &[0x23, 0, 1], b""), PROTOCOL),
        ("alias twice", with_properties(0, "a", &[0x23, 0, 1, 0x23, 0, 1], b""), PROTOCOL),
        (
            "response topic with a wildcard",
            with_properties(0, "a", &[0x08, 0, 1, b'#'], b""),
            PROTOCOL,
        ),
    ];
    for (name, bytes, code) in cases {
        refused_in(&gateway, name, Version::V5, code, &bytes);
    }
}

#[test]
fn an_alias_may_be_given_again() {
    let gateway = Gateway::dev();
    let mut wire = Wire::connect(gateway.mqtt, Version::V5, "case");
    wire.send(&subscribe(Version::V5, "#", 0));
    wire.packet();
    let alias = [0x23, 0, 1];
    for (topic, meant) in [("a", "a"), ("", "a"), ("b", "b"), ("", "b")] {
        wire.send(&with_properties(0, topic, &alias, b"x"));
        wire.expect(&publish(Version::V5, 0, 0, meant, b"x"));
    }
}

/// A retained message with an empty payload is delivered and is not kept ([MQTT-3.3.1-10],
/// [MQTT-3.3.1-11]).
#[test]
fn clearing_a_retained_message() {
    let gateway = Gateway::dev();
    for version in STRICT {
        let mut wire = Wire::connect(gateway.mqtt, version, "case");
        wire.send(&publish(version, 1, 0, "kept", b"x"));
        wire.send(&subscribe(version, "kept", 0));
        wire.packet();
        wire.expect(&publish(version, 1, 0, "kept", b"x"));
        wire.send(&publish(version, 1, 0, "kept", b""));
        wire.expect(&publish(version, 0, 0, "kept", b""));
        wire.send(&subscribe(version, "kept", 0));
        wire.packet();
        wire.alive();
    }
}
