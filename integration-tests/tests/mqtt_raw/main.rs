//! MQTT conformance by bytes that no client library can be made to send: each case asserts the code
//! *and* the close.
//!
//! Malformed packets and protocol errors (MQTT 5.0 §4.13): 3.x closes and says nothing; 5.0 answers
//! `CONNACK 0x81/0x82` before the connection is accepted and `DISCONNECT 0x81/0x82` after it, then
//! closes.

mod acknowledgements;
mod connect;
mod delivery;
mod framing;
mod goodbye;
mod ids;
mod publish;
mod retained;
mod session;
mod subscribe;
mod topics;
mod versions;
mod will;

use motegate_tests::gateway::Gateway;
use motegate_tests::wire::{Version, Wire, connect, packet};

/// Malformed packet.
const MALFORMED: u8 = 0x81;
/// Protocol error.
const PROTOCOL: u8 = 0x82;

/// Versions with the strict rules; 3.1 overlooks some of them.
const STRICT: [Version; 2] = [Version::V311, Version::V5];
/// Versions whose sessions live as long as CleanSession says.
const OLD: [Version; 2] = [Version::V31, Version::V311];

/// Connects and takes a successful CONNACK: with Session Present.
fn connected(gateway: &Gateway, version: Version, id: &str, clean: bool) -> (Wire, u8) {
    let mut wire = Wire::open(gateway.mqtt);
    wire.send(&connect(version, id, clean, 60));
    let (present, code) = wire.connack(version);
    assert_eq!(code, 0, "{}", wire.story());
    (wire, present)
}

/// SUBACK with packet id 1.
fn suback(version: Version, codes: &[u8]) -> Vec<u8> {
    let properties: &[u8] = if version == Version::V5 { &[0] } else { &[] };
    packet(0x90, &[&[0, 1], properties, codes].concat())
}

/// Goes through the handshake of a PUBLISH that was sent with these flags.
fn finish(wire: &mut Wire, flags: u8) {
    match flags & 6 {
        0 => {}
        2 => assert_eq!(wire.packet()[0], 0x40, "{}", wire.story()),
        _ => {
            let answer = wire.packet();
            assert_eq!(answer[0], 0x50, "{}", wire.story());
            wire.send(&packet(0x62, &answer[2..4]));
            assert_eq!(wire.packet()[0], 0x70, "{}", wire.story());
        }
    }
}

/// Sends `bytes` on a fresh connection of each strict version and insists on `code` and the close.
fn refused(gateway: &Gateway, name: &str, code: u8, bytes: impl Fn(Version) -> Vec<u8>) {
    STRICT.iter().for_each(|version| refused_in(gateway, name, *version, code, &bytes(*version)));
}

/// The same in one version.
fn refused_in(gateway: &Gateway, name: &str, version: Version, code: u8, bytes: &[u8]) {
    eprintln!("case: {name}, {version:?}"); // shown only when the test fails
    let mut wire = Wire::connect(gateway.mqtt, version, "case");
    wire.send_regardless(bytes);
    wire.refused(version, code);
}
