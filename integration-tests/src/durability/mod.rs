//! What durability costs: benchmarks of a real gateway that keeps things on disk.
//!
//! [`groups`]: throughput and latency of publishers whose messages a durable session keeps, with each
//! `durability`. [`queues`]: very many queued messages, a kill, a restart, draining. [`server`] is
//! the gateway, [`sink`] the session.
#![allow(clippy::disallowed_methods)] // measured in real time

pub mod groups;
pub mod queues;
pub mod server;
pub mod sink;
