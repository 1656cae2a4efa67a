//! SUBSCRIBE and UNSUBSCRIBE: filters, options, codes.

use motegate_tests::gateway::Gateway;
use motegate_tests::wire::{VERSIONS, Version, Wire, packet, publish, string, subscribe};

use crate::{MALFORMED, PROTOCOL, STRICT, refused, refused_in};

/// (UN)SUBSCRIBE with packet id 1 and any rest.
fn with(first: u8, version: Version, rest: &[u8]) -> Vec<u8> {
    let properties: &[u8] = if version == Version::V5 { &[0] } else { &[] };
    packet(first, &[&[0, 1], properties, rest].concat())
}

/// [MQTT-3.8.3-3], [MQTT-3.10.3-2].
#[test]
fn no_filter_at_all() {
    let gateway = Gateway::dev();
    refused(&gateway, "SUBSCRIBE", PROTOCOL, |version| with(0x82, version, &[]));
    refused(&gateway, "UNSUBSCRIBE", PROTOCOL, |version| with(0xA2, version, &[]));
}

/// [MQTT-2.3.1-1].
#[test]
fn packet_id_0() {
    let gateway = Gateway::dev();
    refused(&gateway, "SUBSCRIBE", PROTOCOL, |version| {
        let mut bytes = subscribe(version, "a", 0);
        bytes[3] = 0;
        bytes
    });
    refused(&gateway, "UNSUBSCRIBE", PROTOCOL, |version| {
        let mut bytes = with(0xA2, version, &string("a"));
        bytes[3] = 0;
        bytes
    });
}

/// [MQTT-3.8.3-4], 5.0 [MQTT-3.8.3-5].
#[test]
fn option_bits() {
    let gateway = Gateway::dev();
    for options in [0x04, 0x10, 0x80] {
        let bytes = subscribe(Version::V311, "a", options);
        refused_in(&gateway, &format!("{options:#04x}"), Version::V311, MALFORMED, &bytes);
    }
    let cases = [(0x40, MALFORMED), (0x80, MALFORMED), (0x03, PROTOCOL), (0x30, PROTOCOL)];
    for (options, code) in cases {
        let bytes = subscribe(Version::V5, "a", options);
        refused_in(&gateway, &format!("{options:#04x}"), Version::V5, code, &bytes);
    }
    refused_in(&gateway, "QoS 3", Version::V311, MALFORMED, &subscribe(Version::V311, "a", 3));
}

/// [MQTT-4.7.1-2], [MQTT-4.7.1-3], [MQTT-4.7.3-1].
#[test]
fn filters_that_are_none() {
    let gateway = Gateway::dev();
    for filter in ["", "a#", "#/a", "a/#/b", "a+", "+a", "a/b+/c", "a/+b", "##", "++"] {
        refused(&gateway, filter, MALFORMED, |version| subscribe(version, filter, 0));
        refused(&gateway, filter, MALFORMED, |version| with(0xA2, version, &string(filter)));
    }
    let deep = "/".repeat(300);
    refused(&gateway, "300 levels", 0x8F, |version| subscribe(version, &deep, 0));
}

/// 5.0 [MQTT-4.8.2-1], [MQTT-4.8.2-2], [MQTT-3.8.3-4].
#[test]
fn shared_filters_that_are_none() {
    let gateway = Gateway::dev();
    for filter in ["$share/g", "$share//t", "$share/g/", "$share/a+/t", "$share/#/t"] {
        refused_in(&gateway, filter, Version::V5, MALFORMED, &subscribe(Version::V5, filter, 0));
    }
    refused_in(
        &gateway,
        "no local",
        Version::V5,
        PROTOCOL,
        &subscribe(Version::V5, "$share/g/t", 4),
    );
}

#[test]
fn subscription_identifiers() {
    let gateway = Gateway::dev();
    let with_id = |property: &[u8]| {
        let length = u8::try_from(property.len()).expect("a short property");
        packet(0x82, &[&[0, 1, length], property, &string("a"), &[0]].concat())
    };
    let cases: [(&str, &[u8], u8); 3] = [
        ("0", &[0x0B, 0], PROTOCOL),
        ("twice", &[0x0B, 1, 0x0B, 2], PROTOCOL),
        ("not in its shortest form", &[0x0B, 0x81, 0], MALFORMED),
    ];
    for (name, property, code) in cases {
        refused_in(&gateway, name, Version::V5, code, &with_id(property));
    }
    let mut wire = Wire::connect(gateway.mqtt, Version::V5, "case");
    wire.send(&with_id(&[0x0B, 0xFF, 0xFF, 0xFF, 0x7F]));
    wire.expect(&[0x90, 4, 0, 1, 0, 0]);
}

/// [MQTT-3.8.4-4] to [MQTT-3.8.4-6]: one code a filter, in order.
#[test]
fn one_code_a_filter() {
    let gateway = Gateway::dev();
    for version in VERSIONS {
        let mut wire = Wire::connect(gateway.mqtt, version, "case");
        let mut filters = Vec::new();
        for (filter, qos) in [("a", 2), ("b/#", 0), ("+/c", 1)] {
            filters.extend(string(filter));
            filters.push(qos);
        }
        wire.send(&with(0x82, version, &filters));
        let body: &[u8] =
            if version == Version::V5 { &[0, 1, 0, 2, 0, 1] } else { &[0, 1, 2, 0, 1] };
        wire.expect(&packet(0x90, body));
    }
}

/// [MQTT-3.10.4-4], [MQTT-3.10.4-5], 5.0 [MQTT-3.11.3-2].
#[test]
fn unsubscribing_from_what_never_was() {
    let gateway = Gateway::dev();
    for version in VERSIONS {
        let mut wire = Wire::connect(gateway.mqtt, version, "case");
        wire.send(&subscribe(version, "a", 0));
        wire.packet();
        wire.send(&with(0xA2, version, &[string("a"), string("never")].concat()));
        let body: &[u8] = if version == Version::V5 { &[0, 1, 0, 0, 0x11] } else { &[0, 1] };
        wire.expect(&packet(0xB0, body));
        wire.send(&publish(version, 0, 0, "a", b"x"));
        wire.alive();
    }
}

/// Levels and `$` ([MQTT-4.7.2-1]).
#[test]
fn what_matches_what() {
    let gateway = Gateway::dev();
    let cases = [
        ("a/#", &["a", "a/", "a/b", "a/b/c"][..], &["ab", "b/a", "A/b"][..]),
        ("a/+", &["a/", "a/b"], &["a", "a/b/c"]),
        ("+/+", &["/", "a/b", "/a", "a/"], &["a", "a/b/c", "$x/y"]),
        ("/+", &["/", "/a"], &["a", "a/"]),
        ("+", &["a"], &["/", "a/", "$x"]),
        ("#", &["/", "a", "a/b"], &["$x", "$x/y"]),
        ("$x/#", &["$x", "$x/y"], &["x", "a/$x"]),
        ("+/+/+", &["//", "a//b"], &["a/b", "a"]),
        ("a//b", &["a//b"], &["a/b"]),
    ];
    for version in STRICT {
        for (filter, inside, outside) in cases {
            let mut wire = Wire::connect(gateway.mqtt, version, "case");
            wire.send(&subscribe(version, filter, 0));
            wire.packet();
            for topic in outside {
                wire.send(&publish(version, 0, 0, topic, b"outside"));
            }
            for topic in inside {
                wire.send(&publish(version, 0, 0, topic, b"inside"));
                wire.expect(&publish(version, 0, 0, topic, b"inside"));
            }
            wire.alive();
        }
    }
}

/// [MQTT-3.3.5-1]: overlapping filters give one copy at the highest QoS.
#[test]
fn overlapping_filters_give_one_copy() {
    let gateway = Gateway::dev();
    for version in STRICT {
        let mut wire = Wire::connect(gateway.mqtt, version, "case");
        for (filter, qos) in [("a/#", 0), ("a/+", 1), ("a/b", 0)] {
            wire.send(&subscribe(version, filter, qos));
            wire.packet();
        }
        wire.send(&publish(version, 2, 9, "a/b", b"x"));
        let mut got = [wire.packet(), wire.packet()];
        got.sort();
        assert_eq!(got[0][..1], [0x32], "{}", wire.story());
        assert_eq!(got[1][..4], [0x40, 2, 0, 9], "{}", wire.story());
        wire.alive();
    }
}
