//! An MQTT client as a pure state machine: MQTT 5, 3.1.1 and 3.1, over any number of connections.
//!
//! Bytes and time come in, bytes, events and a next deadline go out. QoS 1 and 2 publishes are
//! kept until the server has them, sent again with their ids and in their order when the session
//! goes on, as new messages when the server lost it; QoS 2 comes and goes exactly once. Nothing is
//! dropped silently: a publish ends in `Published` or `PublishFailed`, a full queue is an error
//! followed by `QueueFree`. The state lives in memory: it does not survive the process. Of
//! enhanced authentication (MQTT 5 §4.12) the mechanism is the driver's. A publish costs no allocation once the buffers have
//! grown, a received chunk costs one for all its messages: about 40, 115 and 150 ns a publish of
//! 64 bytes at QoS 0, 1 and 2 with its acknowledgements, 55 and 65 ns a message received.
//!
//! How to drive it (one mutation, then drain):
//! ```
//! use motegate_message::Qos;
//! use motegate_mqtt::client::{Client, ClientConfig, Event, Publish, Transmit};
//! use motegate_timers::Instant;
//!
//! let now = Instant::ZERO; // of the driver's clock, at every call
//! let mut client = Client::new(ClientConfig::new("c1"), 0x5eed)?;
//! client.connect(now);
//! // Publishes and subscriptions may be given at once; they wait for the connection.
//! client.publish(&Publish::new("a/b", b"21.5", Qos::AtLeastOnce), 7)?;
//! // The driver's loop, after every call:
//! while let Some(transmit) = client.poll_transmit() {
//!     match transmit {
//!         Transmit::Open => client.handle_opened(now), // open it, then say so
//!         Transmit::Close => client.handle_closed(now), // flush, close, then say so
//!         Transmit::PauseReads | Transmit::ResumeReads => {}
//!     }
//! }
//! let n = client.outbox().len(); // write; say how much went
//! client.handle_written(now, n);
//! client.handle_bytes(now, &[0x20, 3, 0, 0, 0]); // what was read: CONNACK
//! while let Some(event) = client.poll_event() {
//!     match event {
//!         Event::Connected(_) | Event::Published { .. } => {}
//!         Event::Message(message) => drop((message.topic(), message.payload())),
//!         Event::Disconnected { error: Some(error), .. } => panic!("{error}: {}", error.hint()),
//!         _ => {}
//!     }
//! }
//! // Sleep until bytes come, the socket is writable, or this; then handle_timeout.
//! assert!(client.poll_timeout().is_some());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//! A bench reads into one buffer, calls `handle_bytes` once a read and writes the outbox once a
//! turn. A tool that ends waits for [`Client::is_idle`], calls `disconnect` and obeys `Close`.

mod alias;
mod auth;
mod config;
mod connection;
mod contract;
mod error;
mod ids;
mod message;
mod outbox;
mod outgoing;
mod publish;
mod received;
mod requests;
mod retry;
mod stream;

pub use config::{ClientConfig, ClientWill, ConfigError, Password, Reconnect};
pub use contract::{ClientCounters, Connected, Event, Filter, Goodbye, Publish, Token, Transmit};
pub use error::{ClientError, ErrorKind, PublishError, Refusal, RequestError, Violation};
pub use message::{AckHandle, Message};

use alloc::collections::VecDeque;
use alloc::string::String;

use bytes::Bytes;
use motegate_timers::Instant;

use crate::packet::Version;
use crate::properties::PropertyBuf;
use crate::reason::ReasonCode;
use connection::Link;
use stream::Chunk;

/// Bytes of acknowledgements at which reading pauses, and by how much more the connection ends.
const ACKS_PAUSE: usize = 64 * 1024;
const ACKS_MAX: usize = ACKS_PAUSE + 1024 * 1024;
/// Events that an emptied queue has room for.
const KEPT_EVENTS: usize = 16;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// No connection is wanted.
    Idle,
    /// The driver opens the transport.
    Opening,
    /// CONNECT was sent.
    Connecting,
    Open,
    /// The driver closes the transport.
    Closing,
    /// Until the next attempt.
    Waiting,
}

/// One MQTT client. See the module.
#[derive(Debug)]
pub struct Client {
    config: ClientConfig,
    version: Version,
    /// As given, or as the server assigned it.
    client_id: String,
    phase: Phase,
    /// Since `connect`, and ever.
    was_connected: bool,
    had_one: bool,
    /// Part of the session was given up: the server's part must go, too.
    state_lost: bool,
    /// A publish was turned away.
    blocked: bool,
    connect_by: Instant,
    retry_at: Option<Instant>,
    retry: retry::Retry,
    exchange: auth::Exchange,
    link: Link,
    partial: stream::Partial,
    outbox: outbox::Outbox,
    ids: ids::PacketIds,
    outgoing: outgoing::Outgoing,
    requests: requests::Requests,
    received: received::Received,
    scratch: PropertyBuf,
    events: VecDeque<Event>,
    signals: VecDeque<Transmit>,
    counters: ClientCounters,
}

impl Client {
    /// A client that is not connected. `seed` feeds the jitter of reconnection.
    ///
    /// # Errors
    /// [`ConfigError`] when no CONNECT can be made of the settings.
    pub fn new(config: ClientConfig, seed: u64) -> Result<Self, ConfigError> {
        config.check()?;
        Ok(Client {
            version: config.version,
            client_id: config.client_id.clone(),
            config,
            phase: Phase::Idle,
            was_connected: false,
            had_one: false,
            state_lost: false,
            blocked: false,
            connect_by: Instant::ZERO,
            retry_at: None,
            retry: retry::Retry::new(seed),
            exchange: auth::Exchange::default(),
            link: Link::default(),
            partial: stream::Partial::new(),
            outbox: outbox::Outbox::default(),
            ids: ids::PacketIds::default(),
            outgoing: outgoing::Outgoing::default(),
            requests: requests::Requests::default(),
            received: received::Received::default(),
            scratch: PropertyBuf::new(),
            events: VecDeque::new(),
            signals: VecDeque::new(),
            counters: ClientCounters::default(),
        })
    }

    /// Wants a connection, at once; with one open or under way nothing happens.
    pub fn connect(&mut self, now: Instant) {
        match self.phase {
            Phase::Idle | Phase::Waiting => {
                self.retry.reset();
                self.was_connected = false;
                self.open(now);
            }
            Phase::Closing => self.retry_at = Some(now),
            Phase::Opening | Phase::Connecting | Phase::Open => {}
        }
    }

    /// The transport is open.
    pub fn handle_opened(&mut self, now: Instant) {
        if self.phase == Phase::Opening {
            self.begin(now);
        }
    }

    /// The answer to `Event::AuthWanted`; on an open connection without one a re-authentication
    /// begins (with `auth_method`). `false`: it is not this side's turn, nothing was sent.
    pub fn authenticate(&mut self, now: Instant, data: &[u8]) -> bool {
        self.take_auth_data(now, data)
    }

    /// Bytes came, cut anywhere.
    pub fn handle_bytes(&mut self, now: Instant, chunk: &[u8]) {
        self.read(now, Chunk::borrowed(chunk));
        self.settle(now);
    }

    /// As [`handle_bytes`](Self::handle_bytes); messages share the chunk, nothing is copied.
    pub fn handle_shared_bytes(&mut self, now: Instant, chunk: &Bytes) {
        self.read(now, Chunk::shared(chunk, chunk.clone()));
        self.settle(now);
    }

    /// `n` bytes of the outbox were written.
    pub fn handle_written(&mut self, now: Instant, n: usize) {
        self.outbox.consume(n);
        self.link.wrote(now);
        self.link.ack_bytes = self.link.ack_bytes.min(self.outbox.len());
        self.settle(now);
    }

    /// The transport ended, or could not be opened.
    pub fn handle_closed(&mut self, now: Instant) {
        let error = match self.phase {
            Phase::Opening => Some(ClientError::Unreachable),
            Phase::Connecting => Some(ClientError::ClosedEarly),
            Phase::Open => Some(ClientError::ConnectionLost),
            Phase::Closing => None,
            Phase::Idle | Phase::Waiting => return,
        };
        if error.is_some() {
            self.end(now, error);
        }
        self.after_close();
        self.settle(now);
    }

    /// A deadline up to `now` is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.deadline().is_some_and(|deadline| deadline <= now) {
            self.on_deadline(now);
            self.settle(now);
        }
    }

    /// Publishes; what cannot go at once waits, also for the connection. The outcome is an event.
    ///
    /// # Errors
    /// Nothing was taken; [`PublishError::QueueFull`] is back-pressure.
    pub fn publish(&mut self, publish: &Publish<'_>, token: Token) -> Result<(), PublishError> {
        self.take_publish(publish, token)
    }

    /// Subscribes; `properties` are the Subscription Identifier and user properties (5.0).
    ///
    /// # Errors
    /// Nothing was taken.
    pub fn subscribe(
        &mut self,
        filters: &[Filter],
        properties: &PropertyBuf,
        token: Token,
    ) -> Result<(), RequestError> {
        self.take_subscribe(filters, properties, token)
    }

    /// Unsubscribes; `properties` are user properties (5.0).
    ///
    /// # Errors
    /// Nothing was taken.
    pub fn unsubscribe(
        &mut self,
        filters: &[&str],
        properties: &PropertyBuf,
        token: Token,
    ) -> Result<(), RequestError> {
        self.take_unsubscribe(filters, properties, token)
    }

    /// Acknowledges a message (with `manual_ack`). An error code refuses it for good (5.0).
    /// `false`: it was before, or will come again, for its connection (QoS 1) or session ended.
    pub fn acknowledge(&mut self, handle: AckHandle, code: ReasonCode) -> bool {
        self.take_ack(handle, code)
    }

    /// Says DISCONNECT behind what was sent so far, and wants no connection any more. What is in
    /// flight or waits stays for the next `connect`.
    pub fn disconnect(&mut self, now: Instant, goodbye: &Goodbye) {
        match self.phase {
            Phase::Idle => return,
            Phase::Waiting => {
                self.end(now, None);
                self.phase = Phase::Idle;
            }
            Phase::Closing => self.retry_at = None,
            Phase::Open => {
                self.say_goodbye(goodbye);
                self.close(now, None);
            }
            Phase::Opening | Phase::Connecting => self.close(now, None),
        }
        self.settle(now);
    }

    /// Drops every publish and request that is not through; each is told by an event. With a
    /// connection, publishes that were sent stay. If some had been sent, the next connection
    /// begins a new session: the server might take another message for the dropped one.
    pub fn give_up(&mut self) {
        self.drop_publishes();
        self.drop_requests();
        self.tell_free();
    }

    /// Lets leave what may, and tells what changed by that.
    fn settle(&mut self, now: Instant) {
        self.take_written();
        if self.phase == Phase::Open {
            self.pump_requests();
            self.pump();
            self.pace_reads(now);
        }
        self.tell_free();
    }

    fn tell_free(&mut self) {
        let (len, bytes) = (self.outgoing.len(), self.outgoing.bytes());
        let free = len <= self.config.max_queue / 2 && bytes <= self.config.max_queue_bytes / 2;
        if self.blocked && free {
            self.blocked = false;
            self.events.push_back(Event::QueueFree);
        }
    }

    /// A server that does not read our acknowledgements must not fill our memory with them.
    fn pace_reads(&mut self, now: Instant) {
        let waiting = self.link.ack_bytes;
        if waiting > ACKS_MAX {
            self.violate(now, Violation::NotReading);
        } else if !self.link.paused && waiting > ACKS_PAUSE {
            self.link.paused = true;
            self.signals.push_back(Transmit::PauseReads);
        } else if self.link.paused && waiting <= ACKS_PAUSE / 2 {
            self.link.paused = false;
            self.signals.push_back(Transmit::ResumeReads);
        }
    }

    /// The next thing for the layer above.
    pub fn poll_event(&mut self) -> Option<Event> {
        let event = self.events.pop_front();
        if self.events.is_empty() && self.events.capacity() > KEPT_EVENTS * 64 {
            self.events.shrink_to(KEPT_EVENTS);
        }
        event
    }

    /// The next thing for the driver.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.signals.pop_front()
    }

    /// When `handle_timeout` is wanted.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.deadline()
    }

    /// Bytes waiting to be written.
    #[must_use]
    pub fn outbox(&self) -> &[u8] {
        self.outbox.as_slice()
    }

    /// Whether the server has accepted the present connection.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.phase == Phase::Open
    }

    /// Whether every publish and request is through and every acknowledgement is written.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        let through = self.outgoing.len() == 0 && self.requests.is_empty();
        through && !self.outbox.has_marks() && self.outbox.len() == 0
    }

    /// Publishes that wait, and QoS 1/2 ones in flight.
    #[must_use]
    pub fn queue_len(&self) -> usize {
        self.outgoing.len()
    }

    /// The version that is spoken, after a fall back the lower one.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// What happened so far.
    #[must_use]
    pub fn counters(&self) -> &ClientCounters {
        &self.counters
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of a load generator's ten thousand clients each.
    #[test]
    fn clients_and_events_are_small() {
        let sizes = (size_of::<Message>(), size_of::<Event>(), size_of::<Client>());
        assert!(sizes.0 <= 72 && sizes.1 <= 80 && sizes.2 <= 1280, "{sizes:?}");
    }
}
