//! The server side of MQTT.

mod contract;

pub use contract::{Accept, Connect, Event, Published, SubscribeItem, Ticket, Transmit};

use alloc::string::String;
use core::net::SocketAddr;
use motegate_message::{
    ConnectionId, Delivery, ListenerId, Qos, Reason, Record, Seq, SessionId, Turn,
};
use motegate_timers::Instant;

use crate::Config;

/// All MQTT connections and the wire state of all MQTT sessions.
#[derive(Debug)]
pub struct Endpoint {}

#[allow(unused_variables)]
impl Endpoint {
    /// An endpoint with nothing connected. `seed` feeds assigned client ids.
    pub fn new(config: Config, seed: u64) -> Self {
        todo!()
    }
    /// A connection was accepted.
    pub fn handle_opened(
        &mut self,
        turn: &Turn,
        conn: ConnectionId,
        listener: ListenerId,
        addr: Option<SocketAddr>,
    ) {
    }
    /// Bytes came, cut anywhere.
    pub fn handle_bytes(&mut self, turn: &Turn, conn: ConnectionId, chunk: &[u8]) {}
    /// `n` bytes of the outbox were written.
    pub fn handle_written(&mut self, turn: &Turn, conn: ConnectionId, n: usize) {}
    /// The transport ended.
    pub fn handle_closed(&mut self, turn: &Turn, conn: ConnectionId, reason: Reason) {}
    /// Deadlines up to `turn.now` are due.
    pub fn handle_timeout(&mut self, turn: &Turn) {}
    /// Batches up to `seq` are stored.
    pub fn handle_committed(&mut self, turn: &Turn, seq: Seq) {}
    /// Answers `Event::Connect`.
    pub fn accept(&mut self, turn: &Turn, conn: ConnectionId, accept: Accept) {}
    /// Answers `Event::Connect`.
    pub fn refuse(&mut self, turn: &Turn, conn: ConnectionId, reason: Reason) {}
    /// Answers `Event::Publish`.
    pub fn published(
        &mut self,
        turn: &Turn,
        conn: ConnectionId,
        ticket: Ticket,
        result: Result<Published, Reason>,
    ) {
    }
    /// Answers `Event::Subscribe`.
    pub fn subscribed(
        &mut self,
        turn: &Turn,
        conn: ConnectionId,
        ticket: Ticket,
        outcomes: &[Result<Qos, Reason>],
        after: Seq,
    ) {
    }
    /// Answers `Event::Unsubscribe`.
    pub fn unsubscribed(
        &mut self,
        turn: &Turn,
        conn: ConnectionId,
        ticket: Ticket,
        existed: &[bool],
        after: Seq,
    ) {
    }
    /// A message for a session; `topic` replaces the message's topic on the wire (mount stripped).
    pub fn deliver(
        &mut self,
        turn: &Turn,
        conn: ConnectionId,
        delivery: Delivery,
        topic: Option<String>,
    ) {
    }
    /// Ends a connection from above (taken over, kicked, shutdown): the reason goes to the client.
    /// No `Event::Disconnected` follows.
    pub fn close(&mut self, turn: &Turn, conn: ConnectionId, reason: Reason) {}
    /// The session is over.
    pub fn forget(&mut self, turn: &Turn, session: SessionId) {}
    /// One record of an earlier life, before anything else is handled.
    pub fn restore(&mut self, turn: &Turn, key: &[u8], value: &[u8]) -> bool {
        false
    }
    /// The next thing for the layer above.
    pub fn poll_event(&mut self) -> Option<Event> {
        None
    }
    /// The next thing for the transport.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        None
    }
    /// The next change to the durable state.
    pub fn poll_record(&mut self) -> Option<Record> {
        None
    }
    /// When `handle_timeout` is wanted.
    pub fn poll_timeout(&self) -> Option<Instant> {
        None
    }
    /// Bytes waiting to be written to a connection.
    pub fn outbox(&self, conn: ConnectionId) -> &[u8] {
        &[]
    }
}
