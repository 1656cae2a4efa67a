//! MQTT 5.0 to the clause, in bytes, through the whole core on a virtual clock. Each test names
//! the statements that it proves; `integration-tests/conformance/mqtt-5.0.txt` lists them all.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::cast_possible_truncation)]

#[path = "../common/mod.rs"]
mod common;
mod wire;

mod acknowledgements;
mod between;
mod connack;
mod connect;
mod data;
mod delivery;
mod goodbye;
mod groups;
mod mounts;
mod properties;
mod publish;
mod retained;
mod sizes;
mod subscribe;
mod wills;
