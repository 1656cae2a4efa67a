//! DISCONNECT in both directions, and what becomes of the will.

use motegate_tests::gateway::Gateway;
use motegate_tests::wire::{
    VERSIONS, Version, Wire, connect, head, packet, publish, string, subscribe,
};

use crate::{PROTOCOL, refused_in};

fn watcher(gateway: &Gateway) -> Wire {
    let mut watcher = Wire::connect(gateway.mqtt, Version::V311, "watcher");
    watcher.send(&subscribe(Version::V311, "will", 0));
    watcher.packet();
    watcher
}

fn with_will(gateway: &Gateway, version: Version) -> Wire {
    let properties: &[u8] = if version == Version::V5 { &[0] } else { &[] };
    let mut wire = Wire::open(gateway.mqtt);
    let fields = [properties, &string("will"), &string("gone")].concat();
    wire.send(&packet(0x10, &[&head(version, 0x06, 60)[..], &string("mote"), &fields].concat()));
    assert_eq!(wire.connack(version), (0, 0));
    wire
}

/// [MQTT-3.14.4-1] to [MQTT-3.14.4-3]; in 5.0 only code 0 takes the will away.
#[test]
fn the_will_goes_with_a_normal_goodbye_only() {
    let gateway = Gateway::dev();
    let mut watcher = watcher(&gateway);
    let gone = publish(Version::V311, 0, 0, "will", b"gone");
    for version in VERSIONS {
        let mut wire = with_will(&gateway, version);
        wire.send(&[0xE0, 0]);
        wire.closed();
        watcher.alive();
        drop(with_will(&gateway, version));
        watcher.expect(&gone);
    }
    for (form, sent) in [
        (&[0xE0, 1, 0][..], false),
        (&[0xE0, 2, 0, 0], false),
        (&[0xE0, 1, 4], true),
        (&[0xE0, 2, 0x80, 0], true),
    ] {
        let mut wire = with_will(&gateway, Version::V5);
        wire.send(form);
        wire.closed();
        if sent {
            watcher.expect(&gone);
        }
        watcher.alive();
    }
}

/// The stream ends right behind DISCONNECT: it still counts.
#[test]
fn a_goodbye_and_the_end_of_the_stream_at_once() {
    let gateway = Gateway::dev();
    let mut watcher = watcher(&gateway);
    for version in VERSIONS {
        let mut wire = with_will(&gateway, version);
        wire.send(&[0xE0, 0]);
        wire.half_close();
        wire.closed();
        watcher.alive();
    }
}

/// A fault of the client leaves its will due.
#[test]
fn a_fault_sends_the_will() {
    let gateway = Gateway::dev();
    let mut watcher = watcher(&gateway);
    for version in [Version::V311, Version::V5] {
        let mut wire = with_will(&gateway, version);
        wire.send(&[0x36, 3, 0, 1, b'a']); // QoS 3
        wire.refused(version, 0x81);
        watcher.expect(&publish(Version::V311, 0, 0, "will", b"gone"));
    }
}

/// A takeover sends it too, before the new connection is served.
#[test]
fn a_takeover_sends_the_will() {
    let gateway = Gateway::dev();
    let mut watcher = watcher(&gateway);
    for version in VERSIONS {
        let mut first = with_will(&gateway, version);
        let mut second = Wire::connect(gateway.mqtt, version, "mote");
        first.refused(version, 0x8E);
        watcher.expect(&publish(Version::V311, 0, 0, "will", b"gone"));
        second.alive();
    }
}

/// 5.0 §3.14.2.2.2: a session that ends with its connection cannot be given a life by DISCONNECT.
#[test]
fn session_expiry_out_of_nothing() {
    let gateway = Gateway::dev();
    let bytes = [0xE0, 7, 0, 5, 0x11, 0, 0, 0, 9];
    refused_in(&gateway, "expiry 9 after 0", Version::V5, PROTOCOL, &bytes);
}

/// SIGTERM: 5.0 clients are told that the server shuts down, everyone is closed in order, and the
/// process ends well.
#[test]
fn the_gateway_says_goodbye() {
    let mut gateway = Gateway::dev();
    let mut old = Wire::connect(gateway.mqtt, Version::V311, "old");
    let mut new = Wire::connect(gateway.mqtt, Version::V5, "new");
    let mut other = Wire::open(gateway.mqtt);
    other.send(&connect(Version::V311, "other", true, 60)[..5]); // in the middle of its CONNECT
    old.alive();
    gateway.process().signal("TERM");
    new.refused(Version::V5, 0x8B);
    old.closed();
    other.closed();
    let status = gateway.into_process().finish().status;
    assert!(status.success(), "{status}");
}
