//! Killing the real process: clients of three protocols that go on while `motegate run` is killed by
//! SIGKILL at random moments and started again on the same ports and data directory.
//!
//! [`victim`] is the process and its lives; [`world`] the clients, on one thread, and their books in
//! a [`Ledger`](crate::load::ledger::Ledger). What counts as a fault: an acknowledged message that
//! one who must get it never got (a receiver of a group: any of them), a message at QoS 2 that came
//! twice to a subscription at QoS 2, one that came out of its publisher's order, a retained value
//! older than the last acknowledged one, a topic id that is unknown or means something else than it
//! did, a durable session that is gone, an answer that is an error, a process that ends by itself or
//! says that its store has lost something.
//!
//! A [`Fault`] is planted to see that the harness can fail.
#![allow(clippy::disallowed_methods)] // a real process in real time

mod coap;
mod mqtt;
mod retained;
mod sn;
mod subscriber;
pub mod victim;
mod will;
pub mod world;

/// A deliberate fault that must be found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A store that keeps nothing: `durability: none`.
    Forget,
    /// A disk that said "synced" and was not: now and then the data directory is found as it was a
    /// moment before the kill.
    Rollback,
}

impl Fault {
    /// All of them.
    pub const ALL: [Fault; 2] = [Fault::Forget, Fault::Rollback];

    /// Its name on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Fault::Forget => "forget",
            Fault::Rollback => "rollback",
        }
    }

    /// From its name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Fault::ALL.into_iter().find(|fault| fault.name() == name)
    }
}
