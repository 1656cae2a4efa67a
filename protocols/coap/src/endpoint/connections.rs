//! [`Connections`]: all of them by their slots, which of them have said nothing yet, whose deadlines
//! are due, and who has been silent for long (RFC 8323 §3.4).

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use motegate_message::{ConnectionId, HalfOpen, ListenerId, Peer, Pool, Reason, Turn};
use motegate_timers::{Instant, TimerQueue, earliest};

use super::Endpoint;
use super::connection::{Connection, State};
use super::contract::{Event, ObservationId, Transmit};
use super::reachability::secs;
use crate::slab::{Key, NIL};

/// Slots are the transport's and dense; one beyond this is refused.
const MAX_SLOT: usize = 1 << 24;
/// Slots that one sweep looks at, and into how many parts `idle_timeout` is cut for them.
const SWEEP_SLOTS: usize = 4_096;
const SWEEPS: u32 = 8;
/// How long whoever was asked may take to show that it is there.
pub(super) const PONG_TIMEOUT: Duration = Duration::from_secs(30);

/// What waits to be told to the transport.
#[derive(Debug, Clone, Copy)]
enum Signal {
    Write(ConnectionId),
    Close(ConnectionId, Reason),
    Reads(ConnectionId),
}

#[derive(Debug, Default)]
pub(super) struct Connections {
    /// By the slot of their id.
    slots: Vec<Option<Box<Connection>>>,
    len: usize,
    pub(super) half_open: HalfOpen,
    pub(super) pool: Pool,
    pub(super) timers: TimerQueue<ConnectionId>,
    signals: VecDeque<Signal>,
    /// Those with messages that may be looked at now.
    pub(super) listed: VecDeque<ConnectionId>,
    /// For what is put together, one at a time.
    pub(super) scratch: Vec<u8>,
    /// When the next slots are looked at for who is silent, and from which on.
    sweep_at: Option<Instant>,
    sweep_from: usize,
}

fn fresh_since(slots: &[Option<Box<Connection>>], conn: ConnectionId) -> Option<Instant> {
    let found = slots.get(conn.slot()).and_then(Option::as_deref);
    found.filter(|c| c.id == conn && c.state == State::Fresh).map(|c| c.begun)
}

fn slot(conn: ConnectionId) -> u32 {
    u32::try_from(conn.slot()).unwrap_or(NIL)
}

impl Connections {
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    pub(super) fn at(&self, slot: u32) -> Option<&Connection> {
        self.slots.get(slot as usize)?.as_deref()
    }

    pub(super) fn at_mut(&mut self, slot: u32) -> Option<&mut Connection> {
        self.slots.get_mut(slot as usize)?.as_deref_mut()
    }

    pub(super) fn id_at(&self, slot: u32) -> Option<ConnectionId> {
        self.at(slot).map(|connection| connection.id)
    }

    /// The slot of a connection that is there.
    pub(super) fn find(&self, conn: ConnectionId) -> Option<u32> {
        let found = self.slots.get(conn.slot())?.as_deref()?;
        (found.id == conn).then(|| slot(conn))
    }

    pub(super) fn began_transfer(&mut self, slot: u32, key: Key) {
        if let Some(connection) = self.at_mut(slot) {
            connection.began_transfer(key);
        }
    }

    pub(super) fn ended_transfer(&mut self, slot: u32, key: Key) {
        if let Some(connection) = self.at_mut(slot) {
            connection.ended_transfer(key);
        }
    }

    pub(super) fn tell_write(&mut self, conn: ConnectionId) {
        self.signals.push_back(Signal::Write(conn));
    }

    pub(super) fn tell_close(&mut self, conn: ConnectionId, reason: Reason) {
        self.signals.push_back(Signal::Close(conn, reason));
    }

    pub(super) fn tell_reads(&mut self, conn: ConnectionId) {
        self.signals.push_back(Signal::Reads(conn));
    }

    fn insert(&mut self, connection: Connection) {
        let (conn, listener) = (connection.id, connection.listener);
        if self.slots.len() <= conn.slot() {
            self.slots.resize_with(conn.slot() + 1, || None);
        }
        if let Some(place) = self.slots.get_mut(conn.slot()) {
            *place = Some(Box::new(connection));
            self.len += 1;
        }
        let Connections { slots, half_open, .. } = self;
        half_open.add(listener, conn, |conn| fresh_since(slots, conn));
    }

    /// Forgets one.
    pub(super) fn remove(&mut self, slot: u32) {
        let Some(gone) = self.slots.get_mut(slot as usize).and_then(Option::take) else { return };
        let mut gone = gone;
        gone.outbox.clear(&mut self.pool);
        self.len -= 1;
        if self.len == 0 {
            self.slots = Vec::new();
        }
    }

    /// The oldest, of a listener or of all, that has not said its CSM.
    pub(super) fn oldest_fresh(
        &mut self,
        of: Option<ListenerId>,
    ) -> Option<(Instant, ConnectionId)> {
        let Connections { slots, half_open, .. } = self;
        half_open.oldest(of, |conn| fresh_since(slots, conn))
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        earliest(self.timers.next_deadline(), self.sweep_at)
    }
}

impl Endpoint {
    /// A connection was accepted, at `since`: `connect_timeout` counts from there to its CSM.
    pub fn handle_opened(
        &mut self,
        turn: &Turn,
        conn: ConnectionId,
        listener: ListenerId,
        addr: SocketAddr,
        since: Instant,
    ) {
        self.now = turn.now;
        if conn.slot() >= MAX_SLOT {
            return self.connections.tell_close(conn, Reason::QuotaExceeded);
        }
        // A slot is used again only after its close was reported; if not, this is the report.
        if let Some(old) = self.connections.id_at(slot(conn)) {
            self.handle_closed(turn, old, Reason::ConnectionLost);
        }
        let since = since.min(turn.now);
        self.connections.insert(Connection::new(conn, listener, addr, since, since));
        if self.connections.half_open.len(Some(listener)) > self.bounds(listener).max_half_open {
            self.close_oldest_half_open(turn, Some(listener));
        }
        if self.connections.half_open.len(None) > self.config.max_half_open {
            self.close_oldest_half_open(turn, None);
        }
        self.schedule_idle_sweep(turn.now);
        // RFC 8323 §3.3: the first message on each side; ours does not wait for the other.
        self.send_csm(slot(conn));
    }

    /// Makes room for a connection that is only being accepted, or was: the oldest, of a listener or of
    /// all, that has not said its CSM is closed; `false` if there is none.
    pub fn close_oldest_half_open(&mut self, turn: &Turn, of: Option<ListenerId>) -> bool {
        self.now = turn.now;
        let Some((_, oldest)) = self.connections.oldest_fresh(of) else { return false };
        self.counters.half_open_closed += 1;
        self.abort(
            slot(oldest),
            Reason::HalfOpen,
            Some("max_half_open"),
            "too many wait for a CSM",
        );
        true
    }

    /// Connections that have not said their CSM, of a listener or in all.
    #[must_use]
    pub fn half_open(&self, of: Option<ListenerId>) -> usize {
        self.connections.half_open.len(of)
    }

    /// When the oldest of them was accepted.
    pub fn oldest_half_open(&mut self, of: Option<ListenerId>) -> Option<Instant> {
        self.connections.oldest_fresh(of).map(|(since, _)| since)
    }

    /// The first `n` bytes of the outbox were written.
    pub fn handle_written(&mut self, turn: &Turn, conn: ConnectionId, n: usize) {
        self.now = turn.now;
        self.counters.connection_bytes_sent += n as u64;
        let Some(slot) = self.connections.find(conn) else { return };
        let bounds = self.bounds_at(slot);
        let Some((connection, pool)) = self.connections.with_pool(slot) else { return };
        if n > 0 {
            connection.progress = turn.now;
        }
        connection.outbox.consume(n, pool);
        if connection.outbox.is_empty() {
            connection.write_told = false;
        }
        let drained = connection.outbox.len() <= bounds.max_outbox_bytes as usize / 2;
        if drained && core::mem::take(&mut connection.held_back) && !self.forgets_held_back() {
            self.tell_held_back(slot);
        }
        self.settle(slot);
    }

    #[cfg(feature = "planted-faults")]
    const fn forgets_held_back(&self) -> bool {
        self.config.faults.held_back_lost
    }

    #[cfg(not(feature = "planted-faults"))]
    #[allow(clippy::unused_self)]
    const fn forgets_held_back(&self) -> bool {
        false
    }

    /// The transport ended.
    pub fn handle_closed(&mut self, turn: &Turn, conn: ConnectionId, reason: Reason) {
        self.now = turn.now;
        let Some(slot) = self.connections.find(conn) else { return };
        self.end_connection(slot, reason, None, None);
        self.connections.remove(slot);
    }

    /// Ends a connection from above (its listener goes, the gateway stops): its peer is told by a
    /// Release (RFC 8323 §5.5). `Event::Disconnected` follows.
    pub fn close(&mut self, turn: &Turn, conn: ConnectionId, reason: Reason) {
        self.now = turn.now;
        if let Some(slot) = self.connections.find(conn) {
            self.release_connection(slot, reason);
        }
    }

    /// All that are open, with their listeners and where their peers are.
    pub fn connection_ids(&self) -> impl Iterator<Item = (ConnectionId, Peer)> {
        let open = self.connections.slots.iter().flatten();
        open.filter(|c| c.state != State::Closing).map(|c| (c.id, c.name()))
    }

    /// The connection of an observer.
    #[must_use]
    pub fn connection(&self, observation: ObservationId) -> Option<ConnectionId> {
        let observation = self.observations.by_id(observation)?;
        self.connections.id_at(self.connection_of(observation.peer())?)
    }

    /// Whether a connection is this endpoint's.
    #[must_use]
    pub fn has_connection(&self, conn: ConnectionId) -> bool {
        self.connections.find(conn).is_some()
    }

    /// Connections that are open, of at most `max_connections`.
    #[must_use]
    pub const fn connections(&self) -> usize {
        self.connections.len()
    }

    /// Bytes waiting to be written to a connection.
    #[must_use]
    pub fn outbox(&self, conn: ConnectionId) -> &[u8] {
        let found = self.connections.find(conn).and_then(|slot| self.connections.at(slot));
        found.map_or(&[], |connection| connection.outbox.as_slice())
    }

    /// The next thing for the transport of connections.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        while let Some(signal) = self.connections.signals.pop_front() {
            match signal {
                Signal::Close(conn, reason) => return Some(Transmit::Close(conn, reason)),
                Signal::Write(conn) => {
                    let found = self.connections.find(conn);
                    let found = found.and_then(|slot| self.connections.at(slot));
                    if found.is_some_and(|connection| connection.state != State::Closing) {
                        return Some(Transmit::Write(conn));
                    }
                }
                Signal::Reads(conn) => {
                    if let Some(transmit) = self.take_reads(conn) {
                        return Some(transmit);
                    }
                }
            }
        }
        self.connections.signals.shrink_to(1_024);
        None
    }

    fn take_reads(&mut self, conn: ConnectionId) -> Option<Transmit> {
        let slot = self.connections.find(conn)?;
        let bounds = self.bounds_at(slot);
        let connection = self.connections.at_mut(slot)?;
        connection.reads_queued = false;
        let pause = connection.must_pause(&bounds);
        if pause == connection.pause_told || connection.state == State::Closing {
            return None;
        }
        connection.pause_told = pause;
        if !pause {
            // What it said meanwhile comes now.
            connection.heard = secs(self.now);
        }
        Some(if pause { Transmit::PauseReads(conn) } else { Transmit::ResumeReads(conn) })
    }

    /// Deadlines of connections up to now are due.
    pub(super) fn expire_connections(&mut self, now: Instant) {
        self.now = now;
        while let Some(conn) = self.connections.timers.pop(now) {
            let Some(slot) = self.connections.find(conn) else { continue };
            let bounds = self.bounds_at(slot);
            let Some((connection, timers)) = self.connections.with_timers(slot) else { continue };
            if !timers.fires(&mut connection.timer, conn, now) {
                continue;
            }
            match connection.due(now, &bounds) {
                Some((reason, limit)) => self.out_of_time(slot, reason, limit),
                None => self.settle(slot),
            }
        }
        if self.connections.sweep_at.is_some_and(|at| at <= now) {
            self.sweep_idle(now);
        }
    }

    fn out_of_time(&mut self, slot: u32, reason: Reason, limit: &'static str) {
        if reason == Reason::SlowConsumer {
            self.counters.write_stalls += 1;
            // It does not read: there is no sense in keeping bytes for it.
            if let Some((connection, pool)) = self.connections.with_pool(slot) {
                connection.outbox.clear(pool);
            }
            self.end_connection(slot, reason, Some(limit), None);
            return self.close_transport(slot, reason);
        }
        self.counters.connect_timeouts += 1;
        let fresh = self.connections.at(slot).is_some_and(|c| c.state == State::Fresh);
        let text =
            if fresh { "no CSM came in time" } else { "a message did not come whole in time" };
        self.abort(slot, reason, Some(limit), text);
    }

    fn schedule_idle_sweep(&mut self, now: Instant) {
        let timeout = self.config.idle_timeout;
        if self.connections.sweep_at.is_none() && !timeout.is_zero() {
            self.connections.sweep_at = Some(now + timeout / SWEEPS);
        }
    }

    /// Asks whoever has been silent for `idle_timeout` whether it is there, and ends those that have
    /// not answered (RFC 8323 §3.4, §5.4): a look at each, now and then, instead of a timer each.
    fn sweep_idle(&mut self, now: Instant) {
        let timeout = self.config.idle_timeout;
        if self.connections.len() == 0 || timeout.is_zero() {
            self.connections.sweep_at = None;
            self.connections.sweep_from = 0;
            return;
        }
        let from = self.connections.sweep_from;
        let until = self.connections.slots.len().min(from + SWEEP_SLOTS);
        for at in from..until {
            let Ok(slot) = u32::try_from(at) else { break };
            let Some(connection) = self.connections.at_mut(slot) else { continue };
            let silent = Duration::from_secs(secs(now).saturating_sub(connection.heard).into());
            // While it is not read nobody knows whether it speaks; its outbox has a timeout of its own.
            if connection.state != State::Open || silent < timeout || connection.pause_told {
                continue;
            }
            if !core::mem::replace(&mut connection.pinged, true) {
                self.send_ping(slot);
            } else if silent >= timeout + PONG_TIMEOUT {
                self.counters.idle_closed += 1;
                let text = "nothing was heard, not even an answer to a Ping";
                self.abort(slot, Reason::KeepaliveTimeout, Some("idle_timeout"), text);
            }
        }
        let done = until >= self.connections.slots.len();
        self.connections.sweep_from = if done { 0 } else { until };
        let pause = (timeout / SWEEPS).clamp(Duration::from_secs(1), PONG_TIMEOUT);
        let next = if done { pause } else { Duration::from_millis(10) };
        self.connections.sweep_at = Some(now + next);
    }

    /// The bounds of the listener that a connection came by.
    pub(super) fn bounds_at(&self, slot: u32) -> crate::ListenerBounds {
        let listener = self.connections.at(slot).map(|connection| connection.listener);
        self.bounds(listener.unwrap_or(ListenerId(u16::MAX)))
    }

    /// What of an ended connection is told above.
    pub(super) fn disconnected(
        &mut self,
        connection: (ConnectionId, Peer, bool),
        reason: Reason,
        limit: Option<&'static str>,
        text: Option<alloc::string::String>,
    ) {
        let (conn, peer, was_connected) = connection;
        self.events.push_back(Event::Disconnected {
            conn,
            peer,
            reason,
            was_connected,
            limit,
            text,
        });
    }
}

impl Connections {
    /// One, and the pool that its outbox takes buffers from.
    pub(super) fn with_pool(&mut self, slot: u32) -> Option<(&mut Connection, &mut Pool)> {
        Some((self.slots.get_mut(slot as usize)?.as_deref_mut()?, &mut self.pool))
    }

    /// One, and the timers.
    pub(super) fn with_timers(
        &mut self,
        slot: u32,
    ) -> Option<(&mut Connection, &mut TimerQueue<ConnectionId>)> {
        Some((self.slots.get_mut(slot as usize)?.as_deref_mut()?, &mut self.timers))
    }
}
