//! One connection: its states, its end, its deadlines and its outbox.
//!
//! A connection is *fresh* until a whole CONNECT has come, *pending* until the layer above has
//! answered it, *challenged* while the client's next word of an authentication is awaited, *gated*
//! until the CONNACK may leave, then *open*; a *leaving* one is over but for the answers to what it
//! asked before; *closing* ones only have bytes left to be written. Bytes that come while it is
//! pending or gated wait, bounded.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::time::Duration;

use motegate_message::{ConnectionId, ListenerId, Outbox, Reason, Seq, SessionId, Turn};
use motegate_timers::{Instant, Timer, earliest};

use super::acks::{Acks, Owed};
use super::alias;
use super::connect::{Connecting, Offer};
use super::goodbye::{Goodbye, Leaving};
use super::limits::Limit;
use super::outbound::Parcels;
use super::pace::Pace;
use super::reply::Violation;
use super::session::{Journal, Wire};
use super::shared::{Shared, Signal};
use crate::codec;
use crate::endpoint::Event;
use crate::packet::{Packet, Version};

/// How long a started packet may take where no keep alive bounds it.
const STARTED_TIMEOUT: Duration = Duration::from_secs(60);
/// A client that has more publishes to release than it may have is closed after so long.
const RELEASE_PATIENCE: Duration = Duration::from_secs(60);
/// How long a connection that is over waits for the answers that it is owed.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes ahead of the CONNACK at which reading pauses, and at which the connection ends.
const EARLY_PAUSE: usize = 16 * 1024;
const EARLY_MAX: usize = 256 * 1024;
/// Room of the outbox for acknowledgements beyond `max_outbox_bytes`; then reading pauses.
const RESERVED: usize = 64 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Fresh,
    Pending,
    Challenged,
    Gated,
    Open,
    Leaving,
    Closing,
}

/// Aliases of a connection that uses some, and what is as seldom there.
#[derive(Debug, Default)]
pub(super) struct Aliases {
    /// What its CONNACK offered, where the settings have changed since.
    pub(super) offer: Option<Offer>,
    /// Where its publish rate or its age is bounded.
    pub(super) pace: Option<Pace>,
    /// Where it is leaving.
    pub(super) leaving: Option<Leaving>,
    pub(super) inbound: alias::Inbound,
    pub(super) outbound: alias::Outbound,
}

#[derive(Debug)]
pub(super) struct Connection {
    pub(super) id: ConnectionId,
    /// Once accepted.
    pub(super) session: Option<SessionId>,
    /// The session's wire state, once there is some.
    pub(super) wire: Option<Box<Wire>>,
    /// The start of an incomplete packet, or what came too early.
    pub(super) partial: Vec<u8>,
    pub(super) outbox: Outbox,
    pub(super) acks: Acks,
    /// Deliveries that wait for a commit or behind a SUBACK.
    pub(super) parcels: Option<Box<Parcels>>,
    /// From CONNECT to its answer; where enhanced authentication was agreed on, to the end.
    pub(super) connecting: Option<Box<Connecting>>,
    pub(super) aliases: Option<Box<Aliases>>,
    pub(super) timer: Timer,
    /// When the last whole packet came; without keep alive, when the present one began.
    pub(super) heard: Instant,
    /// When the outbox last shrank or began to fill.
    progress: Instant,
    /// The commit that it is registered for.
    pub(super) waits: Seq,
    /// One and a half times the keep alive, in ms; 0: none.
    pub(super) silence_ms: u32,
    /// The client's Maximum Packet Size.
    pub(super) max_packet: u32,
    /// What the broker believes is left of the outbox.
    pub(super) room: u32,
    /// Deliveries that may be outstanding.
    pub(super) window: u16,
    /// QoS 1/2 publishes of the client's not yet answered (Receive Maximum, ours).
    pub(super) open_publishes: u16,
    /// Topic Alias Maximum, the client's, capped by ours.
    pub(super) alias_max: u16,
    pub(super) listener: ListenerId,
    pub(super) state: State,
    pub(super) version: Version,
    pub(super) bridge: bool,
    /// Request Problem Information.
    pub(super) problem_info: bool,
    /// Whether the session outlives the connection: then its wire state is journalled.
    pub(super) durable: bool,
    /// Whether CONNECT asked for no session expiry (MQTT 5 §3.14.2.2.2).
    pub(super) expiry_zero: bool,
    /// The transport has ended; the connection waits for an answer only.
    pub(super) gone: bool,
    /// An acknowledgement did not fit the client's Maximum Packet Size: it must end.
    pub(super) unsendable: bool,
    write_told: bool,
    pub(super) pause: bool,
    pub(super) pause_told: bool,
    reads_queued: bool,
}

impl Connection {
    pub(super) fn new(id: ConnectionId, listener: ListenerId, now: Instant) -> Self {
        Connection {
            id,
            session: None,
            wire: None,
            partial: Vec::new(),
            outbox: Outbox::default(),
            acks: Acks::default(),
            parcels: None,
            connecting: None,
            aliases: None,
            timer: Timer::default(),
            heard: now,
            progress: now,
            waits: Seq::NONE,
            silence_ms: 0,
            max_packet: u32::MAX,
            room: 0,
            window: 0,
            open_publishes: 0,
            alias_max: 0,
            listener,
            state: State::Fresh,
            version: Version::V311,
            bridge: false,
            problem_info: true,
            durable: false,
            expiry_zero: false,
            gone: false,
            unsendable: false,
            write_told: false,
            pause: false,
            pause_told: false,
            reads_queued: false,
        }
    }

    /// Where records of its session go in this turn.
    pub(super) fn journal<'a>(&self, shared: &'a mut Shared, turn: &Turn) -> Journal<'a> {
        let session = self.session.unwrap_or(SessionId::from_u64(u64::MAX));
        shared.journal(turn, session, self.durable)
    }

    /// Its wire state, made when first needed.
    pub(super) fn wire_mut(&mut self) -> &mut Wire {
        self.wire.get_or_insert_default()
    }

    /// Bytes came.
    pub(super) fn handle_bytes(&mut self, shared: &mut Shared, turn: &Turn, chunk: &[u8]) {
        match self.state {
            State::Open if self.is_held() => self.hold_back(chunk),
            State::Open => {
                self.process(shared, turn, chunk);
                let pace = self.pace_mut();
                let fast = pace.is_some_and(|pace| pace.is_too_fast(turn.now, chunk.len()));
                if fast && self.state == State::Open {
                    self.fail_in_turn(shared, turn, Violation::PublishRate);
                }
            }
            State::Fresh | State::Challenged => self.process(shared, turn, chunk),
            State::Pending | State::Gated => self.keep_early(shared, turn, chunk),
            State::Leaving | State::Closing => {} // after the goodbye nothing is read
        }
    }

    /// The client is ahead of its rate: what it sends is not looked at.
    pub(super) fn is_held(&self) -> bool {
        self.pace().is_some_and(|pace| pace.is_held() || pace.waits)
    }

    /// Keeps it until its time.
    pub(super) fn hold_back(&mut self, bytes: &[u8]) {
        self.partial.extend_from_slice(bytes);
        if let Some(pace) = self.pace_mut() {
            pace.waits = true;
        }
    }

    /// Looks at it when that has come.
    fn catch_up(&mut self, shared: &mut Shared, turn: &Turn) {
        let Some(pace) = self.pace_mut() else { return };
        pace.refresh(turn.now);
        if !pace.is_held() && core::mem::take(&mut pace.waits) && self.state == State::Open {
            let bytes = core::mem::take(&mut self.partial);
            self.process(shared, turn, &bytes);
        }
    }

    /// Keeps what a client pipelines behind its CONNECT.
    pub(super) fn keep_early(&mut self, shared: &mut Shared, turn: &Turn, chunk: &[u8]) {
        self.partial.extend_from_slice(chunk);
        if let Some(first) = self.partial.first().filter(|_| self.is_authenticating())
            && let Err(violation) = self.judge_early(*first)
        {
            return self.fail(shared, turn, violation);
        }
        if self.partial.len() > EARLY_MAX {
            self.fail(shared, turn, Violation::EarlyOverflow);
        }
    }

    /// The transport ended.
    pub(super) fn handle_closed(&mut self, shared: &mut Shared, turn: &Turn, reason: Reason) {
        self.gone = true;
        match self.state {
            // The answer must still find it, and what came behind the CONNECT is still handled.
            State::Pending if !self.is_authenticating() => return,
            State::Gated => self.process_early(shared, turn),
            // What it said before it left counts, whatever its pace.
            State::Open if self.is_held() => {
                let bytes = core::mem::take(&mut self.partial);
                if let Some(aliases) = &mut self.aliases {
                    aliases.pace = None;
                }
                self.process(shared, turn, &bytes);
            }
            _ => {}
        }
        self.end(shared, turn, reason, Some(Goodbye::default()));
    }

    /// Handles what came before the CONNACK could leave.
    pub(super) fn process_early(&mut self, shared: &mut Shared, turn: &Turn) {
        self.state = State::Open;
        self.heard = turn.now;
        let early = core::mem::take(&mut self.partial);
        self.process(shared, turn, &early);
    }

    /// `n` bytes of the outbox were written.
    pub(super) fn handle_written(&mut self, shared: &mut Shared, turn: &Turn, n: usize) {
        if n > 0 {
            self.progress = turn.now;
        }
        shared.counters.bytes_sent += n as u64;
        self.outbox.consume(n, &mut shared.pool);
        if self.outbox.is_empty() {
            self.write_told = false;
        }
    }

    /// A deadline has passed.
    pub(super) fn handle_timeout(&mut self, shared: &mut Shared, turn: &Turn) {
        if self.stall_deadline(shared).is_some_and(|at| at <= turn.now) {
            shared.counters.timeouts += 1;
            shared.hit(self.id, Limit::WriteStallTimeout, true);
            // It does not read: there is no sense in keeping bytes for it.
            self.outbox.clear(&mut shared.pool);
            self.end(shared, turn, Reason::SlowConsumer, Some(Goodbye::default()));
        } else if self.state == State::Fresh {
            shared.counters.timeouts += 1;
            shared.hit(self.id, Limit::ConnectTimeout, true);
            self.end(shared, turn, Reason::ConnectTimeout, None);
        } else if self.state == State::Leaving {
            if self.silence_deadline(shared).is_some_and(|at| at <= turn.now) {
                self.acks.clear();
                self.take_leave(shared, turn);
            }
        } else if self.auth_deadline().is_some_and(|at| at <= turn.now) {
            self.fail(shared, turn, Violation::AuthTimeout);
        } else if let Some(violation) = self.pace_violation(turn) {
            self.fail(shared, turn, violation);
        } else if self.release_deadline().is_some_and(|at| at <= turn.now) {
            self.fail(shared, turn, Violation::AwaitingRelease);
        } else if self.silence_deadline(shared).is_none_or(|at| at > turn.now) {
            // Held back for long enough: `settle` lets it go on.
        } else if self.pause_told {
            self.heard = turn.now; // nothing can be heard while we do not read
        } else {
            self.fail(shared, turn, Violation::KeepAlive); // [MQTT-3.1.2-22]
        }
    }

    fn stall_deadline(&self, shared: &Shared) -> Option<Instant> {
        let stalled = !self.outbox.is_empty() && self.state != State::Closing;
        stalled.then(|| self.progress + shared.config.of(self.listener).write_stall_timeout)
    }

    /// What bounds it in time is over.
    fn pace_violation(&self, turn: &Turn) -> Option<Violation> {
        let pace = self.pace().filter(|_| self.state == State::Open)?;
        pace.is_too_old(turn.now).then_some(Violation::ConnectionAge)
    }

    fn pace(&self) -> Option<&Pace> {
        self.aliases.as_ref()?.pace.as_ref()
    }

    /// What bounds it in time, if anything does.
    pub(super) fn pace_mut(&mut self) -> Option<&mut Pace> {
        self.aliases.as_mut()?.pace.as_mut()
    }

    /// When it must have released what it holds too much of.
    fn release_deadline(&self) -> Option<Instant> {
        let since = self.wire.as_ref()?.over_since.filter(|_| self.state == State::Open)?;
        Some(since + RELEASE_PATIENCE)
    }

    fn silence_deadline(&self, shared: &Shared) -> Option<Instant> {
        match self.state {
            State::Fresh => Some(self.heard + shared.config.of(self.listener).connect_timeout),
            State::Open if self.silence_ms > 0 => {
                Some(self.heard + Duration::from_millis(u64::from(self.silence_ms)))
            }
            State::Leaving => Some(self.heard + LEAVE_TIMEOUT),
            State::Open if !self.partial.is_empty() => Some(self.heard + STARTED_TIMEOUT),
            _ => None,
        }
    }

    fn deadline(&self, shared: &Shared) -> Option<Instant> {
        let silence = self.silence_deadline(shared);
        let pace = self.pace().filter(|_| self.state == State::Open);
        let paced = earliest(pace.and_then(Pace::deadline), self.stall_deadline(shared));
        let slow = earliest(paced, self.release_deadline());
        earliest(earliest(silence, self.auth_deadline()), slow)
    }

    /// After every call: what may leave leaves, and deadline, reading and commits are
    /// registered. Once a call, not once a packet.
    pub(super) fn settle(&mut self, shared: &mut Shared, turn: &Turn) {
        self.catch_up(shared, turn);
        while self.state != State::Closing {
            let gated = self.state == State::Gated;
            self.flush_acks(shared);
            self.flush_parcels(shared, turn);
            if !gated || self.state == State::Gated {
                break;
            }
            self.process_early(shared, turn);
        }
        if self.state == State::Leaving && self.acks.len() == 0 {
            self.take_leave(shared, turn);
        }
        if self.unsendable {
            self.fail(shared, turn, Violation::Unsendable);
        }
        if self.state != State::Closing {
            self.grant_room(shared);
            self.judge_reads(shared);
            self.await_commit(shared);
        }
        if !self.write_told && !self.outbox.is_empty() && self.state != State::Closing {
            self.write_told = true;
            self.progress = turn.now;
            shared.signals.push_back(Signal::Write(self.id));
        }
        let deadline = self.deadline(shared);
        if deadline != self.timer.deadline() {
            match deadline {
                Some(at) => shared.timers.set(&mut self.timer, self.id, at),
                None => self.timer.clear(),
            }
        }
    }

    /// Packets and bytes in its outbox.
    pub(super) fn waiting(&self) -> (u64, u64) {
        (u64::from(self.outbox.packets()), self.outbox.len() as u64)
    }

    /// Whether nothing of it is needed any more.
    pub(super) fn is_over(&self) -> bool {
        self.state == State::Closing && (self.gone || self.outbox.is_empty())
    }

    fn judge_reads(&mut self, shared: &mut Shared) {
        let limit = usize::from(shared.config.of(self.listener).receive_maximum).max(16);
        let outbox = shared.config.of(self.listener).max_outbox_bytes as usize;
        let waits = matches!(self.state, State::Pending | State::Gated);
        let held = self.is_held();
        let full = self.outbox.len() > outbox + RESERVED;
        if full && !self.pause {
            shared.hit(self.id, Limit::MaxOutboxBytes, false);
        }
        self.pause = if self.pause {
            held || waits && !self.partial.is_empty()
                || self.acks.len() > limit / 2
                || self.outbox.len() > outbox
        } else {
            held || full || waits && self.partial.len() > EARLY_PAUSE || self.acks.len() > limit
        };
        if self.pause != self.pause_told && !self.reads_queued {
            self.reads_queued = true;
            shared.signals.push_back(Signal::Reads(self.id));
        }
    }

    /// What the transport must be told about reading, if anything.
    pub(super) fn take_reads(&mut self) -> Option<bool> {
        self.reads_queued = false;
        if self.pause == self.pause_told || self.state == State::Closing {
            return None;
        }
        self.pause_told = self.pause;
        Some(self.pause)
    }

    /// Whether the next answer waits for the store.
    pub(super) fn awaits_commit(&self, shared: &Shared) -> bool {
        matches!(self.state, State::Gated | State::Open)
            && self.acks.waits_for().is_some_and(|seq| seq > shared.committed)
    }

    fn await_commit(&mut self, shared: &mut Shared) {
        let parcel = self.parcels.as_ref().and_then(|parcels| {
            let held = self.acks.holds_deliveries() || self.state != State::Open;
            (!held).then(|| parcels.waits_for()).flatten()
        });
        let needed = [self.acks.waits_for(), parcel].into_iter().flatten().min();
        if let Some(seq) = needed
            && seq > shared.committed
            && (self.waits == Seq::NONE || seq < self.waits)
        {
            self.waits = seq;
            shared.waiting.push(seq, self.id);
        }
    }

    /// Tells the broker of new room when it had run low and the outbox has drained.
    fn grant_room(&mut self, shared: &mut Shared) {
        let max = shared.config.of(self.listener).max_outbox_bytes;
        let Some(session) = self.session else { return };
        let waiting = u32::try_from(self.outbox.len()).unwrap_or(u32::MAX);
        if self.room >= max / 2 || waiting > max / 4 || self.parcels.is_some() {
            return;
        }
        self.room = max.saturating_sub(waiting);
        let (window, room) = (self.window, self.room);
        shared.events.push_back(Event::Credit { session, window, room });
    }

    /// Lets acknowledgements leave that may.
    pub(super) fn flush_acks(&mut self, shared: &mut Shared) {
        while let Some(owed) = self.acks.pop(shared.committed) {
            match owed {
                Owed::ConnAck(bytes) => {
                    self.outbox.buffer(&mut shared.pool).extend_from_slice(&bytes);
                    shared.counters.packets_sent += 1;
                    self.state = State::Open;
                }
                owed => self.send_owed(shared, owed),
            }
        }
    }

    /// Appends a packet if it fits the client's Maximum Packet Size (MQTT 5 §3.1.2.11.4) and says
    /// whether it is in the outbox.
    pub(super) fn send(&mut self, shared: &mut Shared, packet: &Packet<'_>) -> bool {
        let limit = self.max_packet as usize;
        let out = self.outbox.buffer(&mut shared.pool);
        let before = out.len();
        let fits = codec::encode(packet, self.version, out).is_ok() && out.len() - before <= limit;
        if fits {
            shared.counters.packets_sent += 1;
        } else {
            self.outbox.take_back(before, &mut shared.pool);
        }
        fits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The endpoint's share of an idle connection, beside 8 bytes in the table of connections and
    /// some 40 in that of sessions. Whatever is seldom used belongs behind a box.
    #[test]
    fn an_idle_connection_is_small() {
        assert!(size_of::<Connection>() <= 232, "{}", size_of::<Connection>());
    }
}
