//! CONNECT and CONNACK: what is refused, how, and what a session remembers.

use std::time::Duration;

use motegate_tests::gateway::Gateway;
use motegate_tests::wire::{
    VERSIONS, Version, Wire, connect, head, packet, publish, string, subscribe,
};

use crate::{MALFORMED, PROTOCOL, STRICT};

/// Sends `bytes` as the first packet: 3.x hears nothing, 5.0 a CONNACK with `code`; then the close.
fn refused(gateway: &Gateway, name: &str, version: Version, code: u8, bytes: &[u8]) {
    eprintln!("case: {name}, {version:?}"); // shown only when the test fails
    let mut wire = Wire::open(gateway.mqtt);
    wire.send_regardless(bytes);
    if version == Version::V5 {
        assert_eq!(wire.connack(version), (0, code), "{}", wire.story());
    }
    wire.closed();
}

/// Sends `bytes` as the first packet and insists on exactly this CONNACK and the close.
fn answered(gateway: &Gateway, name: &str, bytes: &[u8], connack: &[u8]) {
    eprintln!("case: {name}"); // shown only when the test fails
    let mut wire = Wire::open(gateway.mqtt);
    wire.send(bytes);
    wire.expect(connack);
    wire.closed();
}

/// [MQTT-3.1.0-1]: closed on the first byte, before any body is waited for.
#[test]
fn the_first_packet_is_connect() {
    let gateway = Gateway::dev();
    for first in [0x00, 0x20, 0x30, 0x82, 0xC0, 0xE0, 0xF0, b'G'] {
        let mut wire = Wire::open(gateway.mqtt);
        wire.send(&[first]);
        wire.closed();
    }
}

/// [MQTT-3.1.2-1], [MQTT-3.1.2-2].
#[test]
fn protocol_name_and_level() {
    let gateway = Gateway::dev();
    let with = |name: &str, level: u8| {
        packet(0x10, &[&string(name)[..], &[level, 2, 0, 60], &string("x")].concat())
    };
    for name in ["MQTt", "HTTP", "", "MQIsdq"] {
        let mut wire = Wire::open(gateway.mqtt);
        wire.send(&with(name, 4));
        wire.closed();
    }
    let unsupported = [0x20, 2, 0, 1];
    for (name, level) in
        [("MQTT", 3), ("MQTT", 6), ("MQTT", 0), ("MQIsdp", 4), ("MQIsdp", 5), ("MQIsdp", 2)]
    {
        answered(&gateway, &format!("{name} {level}"), &with(name, level), &unsupported);
    }
}

#[test]
fn flags_that_contradict_themselves() {
    let gateway = Gateway::dev();
    let will = |version| match version {
        Version::V5 => [&[0][..], &string("will"), &string("gone")].concat(),
        _ => [string("will"), string("gone")].concat(),
    };
    for version in STRICT {
        let with = |flags: u8, rest: &[u8]| {
            packet(0x10, &[&head(version, flags, 60)[..], &string("x"), rest].concat())
        };
        // [MQTT-3.1.2-3]
        refused(&gateway, "reserved flag", version, MALFORMED, &with(0x03, &[]));
        // [MQTT-3.1.2-14], 5.0 [MQTT-3.1.2-12]
        refused(
            &gateway,
            "will QoS 3",
            version,
            MALFORMED,
            &with(0x02 | 0x04 | 0x18, &will(version)),
        );
        // [MQTT-3.1.2-11], [MQTT-3.1.2-13], [MQTT-3.1.2-15]
        refused(&gateway, "will QoS without will", version, MALFORMED, &with(0x02 | 0x08, &[]));
        refused(&gateway, "will retain without will", version, MALFORMED, &with(0x02 | 0x20, &[]));
        refused(&gateway, "will without fields", version, MALFORMED, &with(0x02 | 0x04, &[]));
        refused(&gateway, "user name missing", version, MALFORMED, &with(0x02 | 0x80, &[]));
        refused(&gateway, "bytes left over", version, MALFORMED, &with(0x02, &[0]));
        refused(
            &gateway,
            "fields nobody announced",
            version,
            MALFORMED,
            &with(0x02, &string("user")),
        );
        let cut = [&head(version, 2, 60)[..], &[0, 9, b'x']].concat();
        refused(&gateway, "client id cut short", version, MALFORMED, &packet(0x10, &cut));
        let none = packet(0x10, &head(version, 2, 60));
        refused(&gateway, "no client id", version, MALFORMED, &none);
        let bad = [&head(version, 2, 60)[..], &string([0xC0, 0xAF])].concat();
        refused(&gateway, "client id not UTF-8", version, MALFORMED, &packet(0x10, &bad));
        let wild = match version {
            Version::V5 => [&[0][..], &string("w/#"), &string("gone")].concat(),
            _ => [string("w/#"), string("gone")].concat(),
        };
        refused(
            &gateway,
            "will topic with a wildcard",
            version,
            MALFORMED,
            &with(0x02 | 0x04, &wild),
        );
    }
    // [MQTT-3.1.2-22]; 5.0 allows it.
    let password =
        packet(0x10, &[head(Version::V311, 0x42, 60), string("x"), string("pw")].concat());
    refused(&gateway, "password without user name", Version::V311, MALFORMED, &password);
    let password = packet(0x10, &[head(Version::V5, 0x42, 60), string("x"), string("pw")].concat());
    let mut wire = Wire::open(gateway.mqtt);
    wire.send(&password);
    assert_eq!(wire.connack(Version::V5).1, 0);
}

/// 3.1: the flags of user name and password may be set without the fields.
#[test]
fn version_3_1_may_leave_the_user_name_out() {
    let gateway = Gateway::dev();
    let mut wire = Wire::open(gateway.mqtt);
    wire.send(&packet(0x10, &[head(Version::V31, 0xC2, 60), string("x")].concat()));
    wire.expect(&[0x20, 2, 0, 0]);
    wire.alive();
}

/// [MQTT-3.1.3-7], [MQTT-3.1.3-8], 5.0 [MQTT-3.1.3-6].
#[test]
fn the_empty_client_id() {
    let gateway = Gateway::dev();
    answered(&gateway, "3.1", &connect(Version::V31, "", true, 60), &[0x20, 2, 0, 2]);
    answered(
        &gateway,
        "3.1.1, not clean",
        &connect(Version::V311, "", false, 60),
        &[0x20, 2, 0, 2],
    );
    let mut wire = Wire::open(gateway.mqtt);
    wire.send(&connect(Version::V311, "", true, 60));
    wire.expect(&[0x20, 2, 0, 0]);
    for clean in [true, false] {
        let mut wire = Wire::open(gateway.mqtt);
        wire.send(&connect(Version::V5, "", clean, 60));
        let answer = wire.packet();
        assert_eq!(answer[..1], [0x20]);
        assert_eq!(answer[2..4], [0, 0]);
        assert!(answer.contains(&0x12), "Assigned Client Identifier is missing: {answer:02x?}");
    }
}

#[test]
fn properties_of_connect() {
    let gateway = Gateway::dev();
    let with = |properties: &[u8]| {
        let mut body = head(Version::V5, 2, 60);
        body.pop();
        body.push(u8::try_from(properties.len()).expect("short properties"));
        body.extend(properties);
        body.extend(string("x"));
        packet(0x10, &body)
    };
    let cases: [(&str, &[u8], u8); 12] = [
        ("unknown", &[0x7E, 0], MALFORMED),
        ("of PUBLISH", &[0x23, 0, 1], MALFORMED),
        ("cut short", &[0x11, 0, 0], MALFORMED),
        ("receive maximum 0", &[0x21, 0, 0], PROTOCOL),
        ("receive maximum twice", &[0x21, 0, 1, 0x21, 0, 1], PROTOCOL),
        ("maximum packet size 0", &[0x27, 0, 0, 0, 0], PROTOCOL),
        ("session expiry twice", &[0x11, 0, 0, 0, 1, 0x11, 0, 0, 0, 1], PROTOCOL),
        ("topic alias maximum twice", &[0x22, 0, 1, 0x22, 0, 1], PROTOCOL),
        ("request problem information 2", &[0x17, 2], PROTOCOL),
        ("request response information 2", &[0x19, 2], PROTOCOL),
        ("authentication data without a method", &[0x16, 0, 1, b'x'], PROTOCOL),
        ("a method that nobody offers", &[0x15, 0, 1, b'x'], 0x8C),
    ];
    for (name, properties, code) in cases {
        refused(&gateway, name, Version::V5, code, &with(properties));
    }
    let mut wire = Wire::open(gateway.mqtt);
    let user =
        [&[0x26][..], &string("a"), &string("1"), &[0x26], &string("a"), &string("2")].concat();
    wire.send(&with(&user));
    assert_eq!(wire.connack(Version::V5), (0, 0), "user properties may repeat");
}

/// [MQTT-3.1.0-2], and the will is due.
#[test]
fn a_second_connect() {
    let gateway = Gateway::dev();
    for version in STRICT {
        let mut watcher = Wire::connect(gateway.mqtt, Version::V311, "watcher");
        watcher.send(&subscribe(Version::V311, "will", 0));
        watcher.packet();
        let will = match version {
            Version::V5 => [&[0][..], &string("will"), &string("gone")].concat(),
            _ => [string("will"), string("gone")].concat(),
        };
        let first = packet(0x10, &[&head(version, 0x06, 60)[..], &string("twice"), &will].concat());
        let mut wire = Wire::open(gateway.mqtt);
        wire.send(&first);
        assert_eq!(wire.connack(version), (0, 0));
        wire.send(&first);
        wire.refused(version, PROTOCOL);
        watcher.expect(&publish(Version::V311, 0, 0, "will", b"gone"));
    }
}

/// [MQTT-3.1.4-5]: what was pipelined behind a refused CONNECT is not processed.
#[test]
fn nothing_behind_a_refused_connect_counts() {
    let gateway = Gateway::dev();
    let mut watcher = Wire::connect(gateway.mqtt, Version::V311, "watcher");
    watcher.send(&subscribe(Version::V311, "a", 0));
    watcher.packet();
    let mut bytes = connect(Version::V311, "", false, 60);
    bytes.extend(publish(Version::V311, 0, 0, "a", b"x"));
    bytes.extend(subscribe(Version::V311, "a", 0));
    answered(&gateway, "pipelined", &bytes, &[0x20, 2, 0, 2]);
    watcher.alive();
}

/// [MQTT-3.1.2-24]: 1.5 × keep alive, never before and soon after (a busy machine may take its time;
/// the exact moment is the transcripts').
#[test]
fn keep_alive() {
    let gateway = Gateway::dev();
    for version in VERSIONS {
        let mut wire = Wire::open(gateway.mqtt);
        let began = instant();
        wire.send(&connect(version, "silent", true, 1));
        assert_eq!(wire.connack(version), (0, 0));
        wire.refused(version, 0x8D);
        let waited = began.elapsed();
        assert!(waited >= Duration::from_millis(1_500), "{version:?} closed after {waited:?}");
        assert!(waited <= Duration::from_millis(3_500), "{version:?} closed after {waited:?}");
    }
}

/// [MQTT-3.2.2-1] to [MQTT-3.2.2-3].
#[test]
fn session_present() {
    let gateway = Gateway::dev();
    let open = |version, clean| {
        let mut wire = Wire::open(gateway.mqtt);
        wire.send(&connect(version, "kept", clean, 60));
        let (present, code) = wire.connack(version);
        assert_eq!(code, 0);
        wire.send(&[0xE0, 0]);
        wire.closed();
        present
    };
    assert_eq!(open(Version::V311, false), 0, "new");
    assert_eq!(open(Version::V311, false), 1, "kept");
    assert_eq!(open(Version::V31, false), 0, "3.1 has no such flag");
    assert_eq!(open(Version::V311, true), 0, "clean");
    assert_eq!(open(Version::V311, false), 0, "discarded");
    assert_eq!(open(Version::V311, true), 0, "clean again");
    // 5.0 without session expiry: the session ends with the connection.
    assert_eq!(open(Version::V5, false), 0, "new");
    assert_eq!(open(Version::V5, false), 0, "ended");
}

/// [MQTT-3.1.4-2], 5.0 [MQTT-3.1.4-3].
#[test]
fn takeover_closes_the_old_connection() {
    let gateway = Gateway::dev();
    for old in VERSIONS {
        for new in VERSIONS {
            let mut first = Wire::connect(gateway.mqtt, old, "twin");
            let mut second = Wire::connect(gateway.mqtt, new, "twin");
            first.refused(old, 0x8E);
            second.alive();
        }
    }
}

#[allow(clippy::disallowed_methods)] // a real process runs in real time
fn instant() -> std::time::Instant {
    std::time::Instant::now()
}
