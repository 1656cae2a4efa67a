//! The gateway side of MQTT-SN 1.2.

mod config;
mod contract;

#[cfg(feature = "planted-faults")]
pub use config::Faults;
pub use config::{Config, Rebind};
pub use contract::{
    Accept, ClientRef, Connect, Event, Filter, Names, Ticket, Topic, WillChange, WillUpdate,
};

use motegate_message::{DatagramQueue, Delivery, Peer, Qos, Reason, Record, Seq, SessionId, Turn};
use motegate_timers::Instant;

/// All MQTT-SN clients and the wire state of all MQTT-SN sessions.
#[derive(Debug)]
pub struct Endpoint {}

#[allow(unused_variables)]
impl Endpoint {
    /// An endpoint that knows nobody.
    pub fn new(config: Config, seed: u64) -> Self {
        todo!()
    }
    /// A datagram came. `peer.node` is `None`: the endpoint opens forwarder encapsulation itself.
    pub fn handle_datagram(&mut self, turn: &Turn, peer: Peer, bytes: &[u8]) {}
    /// Deadlines up to `turn.now` are due.
    pub fn handle_timeout(&mut self, turn: &Turn) {}
    /// Batches up to `seq` are stored.
    pub fn handle_committed(&mut self, turn: &Turn, seq: Seq) {}
    /// Answers `Event::Connect`.
    pub fn accept(&mut self, turn: &Turn, client: ClientRef, accept: Accept) {}
    /// Answers `Event::Connect`.
    pub fn refuse(&mut self, turn: &Turn, client: ClientRef, reason: Reason) {}
    /// Answers `Event::Publish`.
    pub fn published(&mut self, turn: &Turn, ticket: Ticket, result: Result<Seq, Reason>) {}
    /// Answers `Event::Register`.
    pub fn registered(&mut self, turn: &Turn, ticket: Ticket, result: Result<(), Reason>) {}
    /// Answers `Event::Subscribe`: granted QoS and the batch to wait for.
    pub fn subscribed(&mut self, turn: &Turn, ticket: Ticket, result: Result<(Qos, Seq), Reason>) {}
    /// Answers `Event::Unsubscribe`.
    pub fn unsubscribed(&mut self, turn: &Turn, ticket: Ticket, after: Seq) {}
    /// Answers `Event::UpdateWill`.
    pub fn will_updated(&mut self, turn: &Turn, ticket: Ticket, result: Result<Seq, Reason>) {}
    /// A message for a client.
    pub fn deliver(&mut self, turn: &Turn, client: ClientRef, delivery: Delivery, names: Names) {}
    /// Answers `Event::Drain`.
    pub fn drained(&mut self, turn: &Turn, client: ClientRef) {}
    /// Ends a connection from above: DISCONNECT goes out, no `Event::Disconnected` follows.
    pub fn close(&mut self, turn: &Turn, client: ClientRef, reason: Reason) {}
    /// The session is over.
    pub fn forget(&mut self, turn: &Turn, session: SessionId) {}
    /// One record of an earlier life, before anything else is handled; `false` when it is damaged.
    pub fn restore(&mut self, turn: &Turn, key: &[u8], value: &[u8]) -> bool {
        false
    }
    /// After the last `restore`: emits the `Event::Connect { resumed }` of sessions served at
    /// their journaled address.
    pub fn restored(&mut self, turn: &Turn) {}
    /// The next thing for the layer above.
    pub fn poll_event(&mut self) -> Option<Event> {
        None
    }
    /// Datagrams to send; the caller clears the queue.
    pub fn transmits(&mut self) -> &mut DatagramQueue {
        todo!()
    }
    /// The next change to the durable state.
    pub fn poll_record(&mut self) -> Option<Record> {
        None
    }
    /// When `handle_timeout` is wanted.
    pub fn poll_timeout(&self) -> Option<Instant> {
        None
    }
}
