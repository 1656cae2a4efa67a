//! The CoAP matrix: independent clients, each in one process for all of its requests, told what to
//! do and asked what they saw.
//!
//! [`peer`] says who they are and what they can do, [`world`] has all of them before a gateway whose
//! datagrams are recorded, and a subscriber of MQTT behind it that sees what is published. Commands
//! and events are lines as in [`matrix`](crate::matrix), whose table shows what came out.

pub mod peer;
pub mod world;
