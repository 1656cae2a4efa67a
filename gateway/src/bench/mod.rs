//! A load generator: many clients of any protocol, one thread, one event loop.
//!
//! It is built on the clients of the protocol crates and says what it costs itself, so that a
//! figure of the gateway can be told from one of its measuring. [`run`] does a [`Plan`] to its
//! end, which always comes: by count, by time, by a signal, because the server takes nothing, or
//! because nothing moves any more.
//!
//! [`load`] is the arithmetic (who publishes when, what came), [`device`] a client, [`wire`] a
//! datagram socket, [`drive`] the loop around them, [`ending`] what it says of a run
//! that came to nothing.

mod cost;
mod device;
mod drive;
mod ending;
mod find;
mod histogram;
mod link;
mod load;
mod pace;
mod plan;
mod report;
mod setup;
mod stamp;
mod stream;
mod wire;

pub(crate) use cost::Process;
pub(crate) use drive::{Stop, run};
pub(crate) use ending::Outcome;
pub(crate) use load::Counts;
pub(crate) use plan::{Mode, Plan};
pub(crate) use report::{Report, grouped};
pub(crate) use stamp::STAMP;
