//! The server side of MQTT: a pure state machine over all connections and the wire state of all
//! sessions.
//!
//! One `handle_…` or answer, then drain `poll_event`, `poll_record` and `poll_transmit`. Bytes to
//! write wait in [`Endpoint::outbox`]. A peer's mistake is an output (a code, a close, a counter),
//! never an error. What is acknowledged leaves only when the batch of the journal that it depends
//! on is committed. Messages are kept by the broker, not here; the mechanisms of authentication are
//! the layer above's.
//! MQTT 5 §3, §4; MQTT 3.1.1; MQTT 3.1.

mod acks;
mod alias;
mod auth;
mod connect;
mod connection;
mod contract;
mod goodbye;
mod inbound;
mod limits;
mod outbound;
mod outgoing;
mod pace;
mod reply;
mod resume;
mod session;
mod shared;
mod subscribe;
mod view;

pub use contract::{Accept, AuthStart, Connect, Event, Published, SubscribeItem, Ticket, Transmit};
pub use limits::{Acted, Limit};
pub use shared::Counters;
pub use view::ConnectionView;

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;
use bytes::Bytes;
use motegate_message::{
    ConnectionId, Delivery, ListenerId, Qos, Reason, Record, Seq, SessionId, Turn,
};
use motegate_timers::Instant;

use crate::Config;
use connect::Offer;
use connection::{Connection, State};
use session::read_record;
use shared::{Place, Shared, Signal};

/// Slots are the transport's and dense; one beyond this is refused.
const MAX_SLOT: usize = 1 << 24;

/// Takes the front; gives memory back after an unusual burst.
fn pop<T>(queue: &mut VecDeque<T>) -> Option<T> {
    let front = queue.pop_front();
    if queue.is_empty() {
        queue.shrink_to(KEPT);
    }
    front
}

/// Since when a connection is there that has not said CONNECT.
fn fresh_since(connections: &[Option<Box<Connection>>], conn: ConnectionId) -> Option<Instant> {
    let found = connections.get(conn.slot()).and_then(Option::as_deref);
    found.filter(|c| c.id == conn && c.state == State::Fresh).map(|c| c.heard)
}

/// Places that an emptied output queue keeps.
const KEPT: usize = 1024;

/// All MQTT connections and the wire state of all MQTT sessions.
#[derive(Debug)]
pub struct Endpoint {
    /// By the slot of their id.
    connections: Vec<Option<Box<Connection>>>,
    shared: Shared,
}

impl Endpoint {
    /// An endpoint with nothing connected. `seed` feeds assigned client ids.
    #[must_use]
    pub fn new(config: Config, seed: u64) -> Self {
        Endpoint { connections: Vec::new(), shared: Shared::new(config, seed) }
    }

    /// Another configuration holds from now on. What was settled with a client at its CONNECT
    /// (keep alive, windows, and what its CONNACK offered) holds until it connects again.
    pub fn reconfigure(&mut self, config: Config) {
        self.reconfigure_listeners(config, Vec::new());
    }

    /// As [`reconfigure`](Self::reconfigure); `own` are the whole settings of listeners that have
    /// some of their own, by their ids.
    pub fn reconfigure_listeners(&mut self, config: Config, own: Vec<Option<Config>>) {
        let Endpoint { connections, shared } = self;
        let mut open: Vec<(&mut Connection, Offer)> = connections
            .iter_mut()
            .flatten()
            .map(|c| {
                let old = Offer::of(shared.config.of(c.listener));
                (&mut **c, old)
            })
            .collect();
        shared.config.replace(config, own);
        for (connection, old) in &mut open {
            let new = Offer::of(shared.config.of(connection.listener));
            if *old != new {
                connection.keep_offer(*old, new);
            }
        }
    }

    fn get(&self, conn: ConnectionId) -> Option<&Connection> {
        self.connections.get(conn.slot())?.as_deref().filter(|c| c.id == conn)
    }

    /// Lets `act` change a connection, then lets leave what may and forgets it if it is over.
    fn with(
        &mut self,
        turn: &Turn,
        conn: ConnectionId,
        act: impl FnOnce(&mut Connection, &mut Shared),
    ) {
        let Some(slot) = self.connections.get_mut(conn.slot()) else { return };
        let Some(connection) = slot.as_deref_mut().filter(|c| c.id == conn) else { return };
        let before = connection.waiting();
        let was_fresh = connection.state == State::Fresh;
        act(connection, &mut self.shared);
        connection.settle(&mut self.shared, turn);
        if was_fresh && connection.state != State::Fresh {
            self.shared.half_open.remove(connection.listener);
        }
        let mut after = connection.waiting();
        if connection.is_over() {
            connection.outbox.clear(&mut self.shared.pool);
            after = (0, 0);
            *slot = None;
        }
        let counters = &mut self.shared.counters;
        counters.packets_waiting = counters.packets_waiting + after.0 - before.0;
        counters.bytes_waiting = counters.bytes_waiting + after.1 - before.1;
    }

    /// A connection was accepted, at `since`: `connect_timeout` counts from there.
    pub fn handle_opened(
        &mut self,
        turn: &Turn,
        conn: ConnectionId,
        listener: ListenerId,
        since: Instant,
    ) {
        if conn.slot() >= MAX_SLOT {
            self.shared.signals.push_back(Signal::Close(conn, Reason::QuotaExceeded));
            return;
        }
        if self.connections.len() <= conn.slot() {
            self.connections.resize_with(conn.slot() + 1, || None);
        }
        // A slot is used again only after its close was reported; if not, this is the report.
        if let Some(Some(old)) = self.connections.get(conn.slot()) {
            let old = old.id;
            self.handle_closed(turn, old, Reason::ConnectionLost);
        }
        if let Some(slot) = self.connections.get_mut(conn.slot()) {
            *slot = Some(Box::new(Connection::new(conn, listener, since.min(turn.now))));
        }
        let Endpoint { connections, shared } = self;
        shared.half_open.add(listener, conn, |conn| fresh_since(connections, conn));
        if shared.half_open.len(Some(listener)) > shared.config.of(listener).max_half_open {
            self.close_oldest_half_open(turn, Some(listener));
        }
        if self.shared.half_open.len(None) > self.shared.config.max_half_open() {
            self.close_oldest_half_open(turn, None);
        }
        self.with(turn, conn, |_, _| {});
    }

    /// Makes room for a connection that is only being accepted, or was: the oldest, of a listener or of
    /// all, that has not said CONNECT is closed; `false` if there is none.
    pub fn close_oldest_half_open(&mut self, turn: &Turn, of: Option<ListenerId>) -> bool {
        let Endpoint { connections, shared } = self;
        let oldest = shared.half_open.oldest(of, |conn| fresh_since(connections, conn));
        let Some((_, oldest)) = oldest else { return false };
        self.with(turn, oldest, |c, shared| {
            shared.hit(oldest, Limit::MaxHalfOpen, true);
            c.end(shared, turn, Reason::HalfOpen, None);
        });
        true
    }

    /// Connections that have not said CONNECT, of a listener or in all.
    #[must_use]
    pub fn half_open(&self, of: Option<ListenerId>) -> usize {
        self.shared.half_open.len(of)
    }

    /// When the oldest of them was accepted.
    pub fn oldest_half_open(&mut self, of: Option<ListenerId>) -> Option<Instant> {
        let Endpoint { connections, shared } = self;
        shared.half_open.oldest(of, |conn| fresh_since(connections, conn)).map(|(since, _)| since)
    }

    /// How often each bound has acted.
    #[must_use]
    pub const fn acted(&self) -> &Acted {
        &self.shared.acted
    }

    /// Bytes came, cut anywhere.
    pub fn handle_bytes(&mut self, turn: &Turn, conn: ConnectionId, chunk: &[u8]) {
        self.shared.counters.bytes_received += chunk.len() as u64;
        self.with(turn, conn, |c, shared| c.handle_bytes(shared, turn, chunk));
    }

    /// `n` bytes of the outbox were written.
    pub fn handle_written(&mut self, turn: &Turn, conn: ConnectionId, n: usize) {
        self.with(turn, conn, |c, shared| c.handle_written(shared, turn, n));
    }

    /// The transport ended.
    pub fn handle_closed(&mut self, turn: &Turn, conn: ConnectionId, reason: Reason) {
        self.with(turn, conn, |c, shared| c.handle_closed(shared, turn, reason));
    }

    /// Deadlines up to `turn.now` are due.
    pub fn handle_timeout(&mut self, turn: &Turn) {
        while let Some(conn) = self.shared.timers.pop(turn.now) {
            self.with(turn, conn, |c, shared| {
                if shared.timers.fires(&mut c.timer, conn, turn.now) {
                    c.handle_timeout(shared, turn);
                }
            });
        }
    }

    /// Batches up to `seq` are stored.
    pub fn handle_committed(&mut self, turn: &Turn, seq: Seq) {
        self.shared.committed = self.shared.committed.max(seq);
        while let Some(conn) = self.shared.waiting.pop(self.shared.committed) {
            self.with(turn, conn, |c, _| c.waits = Seq::NONE);
        }
    }

    /// Connections that were promised an answer which waits for the store.
    pub fn awaiting_commit(&self) -> impl Iterator<Item = ConnectionId> + '_ {
        let waits = |c: &&Connection| c.awaits_commit(&self.shared);
        self.connections.iter().filter_map(Option::as_deref).filter(waits).map(|c| c.id)
    }

    /// Answers `Event::Connect`. For a connection that has ended meanwhile the session is given
    /// back at once, by `Event::Disconnected`.
    pub fn accept(&mut self, turn: &Turn, conn: ConnectionId, accept: Accept) {
        if self.get(conn).is_none_or(|c| c.state != State::Pending) {
            self.shared.events.push_back(Event::Disconnected {
                conn,
                session: accept.session,
                reason: Reason::ConnectionLost,
                drop_will: false,
                expiry: None,
            });
            return;
        }
        // Wire state that an older connection still holds moves over.
        let mut moved = None;
        if let Some(Place::Attached(old)) = self.shared.sessions.get(&accept.session) {
            let old = *old;
            self.with(turn, old, |c, _| {
                c.session = None;
                moved = c.wire.take();
            });
        }
        self.with(turn, conn, |c, shared| {
            c.wire = moved;
            c.accept(shared, turn, accept);
        });
    }

    /// Answers `Event::Connect` and `Event::Auth`. A re-authentication that fails ends the
    /// connection, which `Event::Disconnected` tells.
    pub fn refuse(&mut self, turn: &Turn, conn: ConnectionId, reason: Reason) {
        self.with(turn, conn, |c, shared| match c.state {
            State::Pending => c.refuse(shared, turn, reason),
            State::Open => c.refuse_again(shared, turn, reason),
            _ => {}
        });
    }

    /// Answers `Event::Connect` with `auth`, and `Event::Auth`: AUTH 0x18 with this data.
    pub fn challenge(&mut self, turn: &Turn, conn: ConnectionId, data: &[u8]) {
        self.with(turn, conn, |c, shared| c.challenge(shared, turn, data));
    }

    /// Answers `Event::Auth`, and `Event::Connect` with `auth`: the client has proved who it is.
    /// `data` is the last word, for the CONNACK that `accept` sends, or for AUTH 0x00.
    pub fn authenticated(&mut self, turn: &Turn, conn: ConnectionId, data: Option<Bytes>) {
        self.with(turn, conn, |c, shared| c.authenticated(shared, turn, data));
    }

    /// Whether a connection waits for the answer to its CONNECT.
    #[must_use]
    pub fn is_connecting(&self, conn: ConnectionId) -> bool {
        self.get(conn).is_some_and(|c| matches!(c.state, State::Pending | State::Challenged))
    }

    /// Answers `Event::Publish`.
    pub fn published(
        &mut self,
        turn: &Turn,
        conn: ConnectionId,
        ticket: Ticket,
        result: Result<Published, Reason>,
    ) {
        if !self.shared.orphans.is_empty() {
            self.shared.orphan_answered(turn, (conn, ticket), result.is_ok());
        }
        self.with(turn, conn, |c, shared| c.published(shared, turn, ticket, result));
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
        self.with(turn, conn, |c, shared| c.subscribed(shared, turn, ticket, outcomes, after));
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
        self.with(turn, conn, |c, _| c.unsubscribed(ticket, existed, after));
    }

    /// A message for a session; `topic` replaces the message's topic on the wire (mount stripped).
    pub fn deliver(
        &mut self,
        turn: &Turn,
        conn: ConnectionId,
        delivery: Delivery,
        topic: Option<String>,
    ) {
        self.with(turn, conn, |c, shared| c.deliver(shared, turn, delivery, topic));
    }

    /// Instead of [`deliver`](Self::deliver) where this connection has no name for the message: what
    /// becomes of it is for the caller to say.
    pub fn pass_over(&mut self, turn: &Turn, conn: ConnectionId, delivery: &Delivery) {
        self.with(turn, conn, |c, _| c.pass_over(delivery));
    }

    /// Ends a connection from above (taken over, kicked, shutdown): the reason goes to the client.
    /// No `Event::Disconnected` follows.
    pub fn close(&mut self, turn: &Turn, conn: ConnectionId, reason: Reason) {
        self.with(turn, conn, |c, shared| c.close(shared, turn, reason));
    }

    /// The session is over.
    pub fn forget(&mut self, turn: &Turn, session: SessionId) {
        match self.shared.sessions.remove(&session) {
            Some(Place::Detached(wire)) => self.shared.drop_wire(turn, session, &wire),
            Some(Place::Attached(conn)) => self.with(turn, conn, |c, shared| {
                if let Some(wire) = c.wire.take() {
                    shared.drop_wire(turn, session, &wire);
                }
                c.durable = false; // what still comes before its close leaves no record
            }),
            None => {}
        }
    }

    /// One record of an earlier life, before anything else is handled. `false`: it is damaged, or
    /// not ours.
    pub fn restore(&mut self, _turn: &Turn, key: &[u8], value: &[u8]) -> bool {
        let Some((session, record)) = read_record(key, value) else { return false };
        let place =
            self.shared.sessions.entry(session).or_insert_with(|| Place::Detached(Box::default()));
        if let Place::Detached(wire) = place {
            wire.restore(record);
        }
        true
    }

    /// The next thing for the layer above.
    pub fn poll_event(&mut self) -> Option<Event> {
        pop(&mut self.shared.events)
    }

    /// The next thing for the transport.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        while let Some(signal) = pop(&mut self.shared.signals) {
            match signal {
                Signal::Close(conn, reason) => return Some(Transmit::Close(conn, reason)),
                Signal::Write(conn) => {
                    let open = self.get(conn).is_some_and(|c| c.state != State::Closing);
                    if open {
                        return Some(Transmit::Write(conn));
                    }
                }
                Signal::Reads(conn) => {
                    let slot = self.connections.get_mut(conn.slot()).and_then(Option::as_deref_mut);
                    match slot.filter(|c| c.id == conn).and_then(Connection::take_reads) {
                        Some(true) => return Some(Transmit::PauseReads(conn)),
                        Some(false) => return Some(Transmit::ResumeReads(conn)),
                        None => {}
                    }
                }
            }
        }
        None
    }

    /// The next change to the durable state.
    pub fn poll_record(&mut self) -> Option<Record> {
        pop(&mut self.shared.records)
    }

    /// When `handle_timeout` is wanted.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.shared.timers.next_deadline()
    }

    /// Bytes waiting to be written to a connection.
    #[must_use]
    pub fn outbox(&self, conn: ConnectionId) -> &[u8] {
        self.get(conn).map_or(&[], |c| c.outbox.as_slice())
    }

    /// What happened so far.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.shared.counters
    }
}
