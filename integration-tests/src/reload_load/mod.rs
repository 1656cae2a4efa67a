//! Reload under load: clients of three protocols that stay while a running gateway changes its
//! configuration every second, half of the time to one with a mistake.
//!
//! [`Clients`](world) run on one thread, look at their sockets every millisecond, and write what
//! was acknowledged and what arrived into a [`Ledger`](crate::load::ledger::Ledger); [`control`] writes the file and has
//! it reloaded, by SIGHUP, by `motegate reload` and by `run --watch`, and sees what `status` says
//! of it. What is counted as lost: an acknowledged message that a subscriber never got, one that
//! came out of its publisher's order, a closed connection or session, an ended observation, an
//! observer that does not end with the last value.
//!
//! Left out: messages at QoS 0 and 2, and more clients than a desk has (the simulation has those).
#![allow(clippy::disallowed_methods)] // a real process in real time

mod coap;
pub mod control;
mod file;
mod mqtt;
mod sn;
pub mod world;
