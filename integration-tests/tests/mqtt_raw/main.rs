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
mod publish;
mod subscribe;

use motegate_tests::gateway::Gateway;
use motegate_tests::wire::{Version, Wire};

/// Malformed packet.
const MALFORMED: u8 = 0x81;
/// Protocol error.
const PROTOCOL: u8 = 0x82;

/// Versions with the strict rules; 3.1 overlooks some of them.
const STRICT: [Version; 2] = [Version::V311, Version::V5];

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
