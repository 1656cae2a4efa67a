//! What a scripted client is given when it acts ([`Ctx`]) and what it may ask of the world
//! ([`Act`]).

use super::model::Model;
use super::rng::Rng;
use super::trace::Trace;

/// Microseconds of virtual time since the start of the run.
pub type Micros = u64;

/// A millisecond.
pub const MS: Micros = 1_000;
/// A second.
pub const SEC: Micros = 1_000_000;
/// No datagram is under way for longer. A client that has what it wanted waits this long after its
/// last transmission before it begins something new: without it, MQTT-SN and CoAP clients could
/// not tell a late copy from a fresh packet, and nor could any gateway.
pub const MAX_DELAY: Micros = 400 * MS;

/// What a client wants done.
#[derive(Debug, PartialEq, Eq)]
pub enum Act {
    /// Open a stream connection.
    Open,
    /// Write to it.
    Tcp(Vec<u8>),
    /// Close it after what was written.
    Fin,
    /// Let it die: what is under way may be lost.
    Break,
    /// Send from another port from now on, as behind a NAT that forgot.
    NewPort,
    /// Send a datagram.
    Datagram(Vec<u8>),
}

/// The world as a client sees it for one call.
#[derive(Debug)]
pub struct Ctx<'a> {
    /// Now.
    pub now: Micros,
    /// Chance.
    pub rng: &'a mut Rng,
    /// The reference broker.
    pub model: &'a mut Model,
    /// The record.
    pub trace: &'a mut Trace,
    /// What the client wants done, in order.
    pub acts: &'a mut Vec<Act>,
    /// The healing phase: connect, finish, begin nothing new.
    pub healing: bool,
    /// The last messages are published now (end of the healing phase).
    pub last_round: bool,
    /// Everything is done: the probe reads.
    pub probing: bool,
    /// A broken rule ends the run.
    pub failure: &'a mut Option<String>,
}

impl Ctx<'_> {
    /// A rule is broken.
    pub fn fail(&mut self, client: &str, text: impl AsRef<str>) {
        if self.failure.is_none() {
            *self.failure = Some(format!("{client}: {}", text.as_ref()));
        }
    }

    /// Fails on `Err`.
    pub fn check(&mut self, client: &str, result: Result<(), String>) {
        if let Err(text) = result {
            self.fail(client, text);
        }
    }
}

/// Topics without a retained value that every publisher writes to.
pub const TOPICS: [&str; 6] = ["t/a", "t/b", "t/b/c", "t", "v/x", "zz"];

/// Topics that MQTT-SN clients may name by a pre-defined id, by id − 1.
pub const PREDEFINED: [&str; 2] = ["v/x", "t/a"];

/// The one retained topic that a client writes to.
#[must_use]
pub fn retained_topic(client: usize) -> String {
    format!("r/c{client}")
}

/// Filters that subscribers choose from.
pub const FILTERS: [&str; 10] =
    ["t/#", "t/+", "t/a", "+/a", "v/x", "r/+", "r/#", "#", "t/b/c", "zz"];
