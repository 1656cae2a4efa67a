//! The server side of CoAP.

mod contract;

pub use contract::{
    Code, Event, ExchangeId, Method, Notification, ObservationId, Observe, Request, Response,
};

use motegate_message::{DatagramQueue, Peer, Seq, Turn};
use motegate_timers::Instant;

use crate::Config;

/// All exchanges and observations of all CoAP peers.
#[derive(Debug)]
pub struct Endpoint {}

#[allow(unused_variables)]
impl Endpoint {
    /// An endpoint that knows nobody. `seed` feeds message ids and back-off.
    pub fn new(config: Config, seed: u64) -> Self {
        todo!()
    }
    /// A datagram came.
    pub fn handle_datagram(&mut self, turn: &Turn, peer: Peer, bytes: &[u8]) {}
    /// Deadlines up to `turn.now` are due.
    pub fn handle_timeout(&mut self, turn: &Turn) {}
    /// Batches up to `seq` are stored.
    pub fn handle_committed(&mut self, turn: &Turn, seq: Seq) {}
    /// Begins the observation that `exchange` asks for; `None` when a limit forbids it (answer
    /// without Observe then). The caller answers with `Response::observe` set.
    pub fn observe(&mut self, turn: &Turn, exchange: ExchangeId) -> Option<ObservationId> {
        None
    }
    /// Answers `Event::Request`; success leaves after `after` is committed.
    pub fn respond(&mut self, turn: &Turn, exchange: ExchangeId, response: Response, after: Seq) {}
    /// A new value; replaces one that has not left yet. Reported back by `Event::Notified`.
    pub fn notify(&mut self, turn: &Turn, observation: ObservationId, notification: Notification) {}
    /// Ends an observation from above with a final notification (an error code); no
    /// `Event::ObservationEnded` follows.
    pub fn end_observation(&mut self, turn: &Turn, observation: ObservationId, code: Code) {}
    /// The next thing for the layer above.
    pub fn poll_event(&mut self) -> Option<Event> {
        None
    }
    /// Datagrams to send; the caller clears the queue.
    pub fn transmits(&mut self) -> &mut DatagramQueue {
        todo!()
    }
    /// When `handle_timeout` is wanted.
    pub fn poll_timeout(&self) -> Option<Instant> {
        None
    }
}
