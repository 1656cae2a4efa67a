//! [`Connection`]: what is known of one connection (RFC 8323) beside its peer's exchanges and
//! observations.
//!
//! It is *fresh* until its first CSM, then *open*; a *releasing* one is over but for the answers to
//! what came before its Release (§5.5); a *closing* one has bytes left to be written. At rest it holds
//! no buffer and no timer runs for it: what is seldom there is behind a box, and who is silent is
//! found by a sweep over all.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use motegate_message::{ConnectionId, ListenerId, Outbox, Peer, Reason};
use motegate_timers::{Instant, Timer, earliest};

use super::peers::Rate;
use super::reachability::secs;
use crate::ListenerBounds;
use crate::message::Token;
use crate::signal::BASE_MESSAGE_SIZE;
use crate::slab::{Key, NIL};

/// How long a started message may take.
const STARTED_TIMEOUT: Duration = Duration::from_secs(60);
/// Requests of a connection that wait for their answers; then it is not read until some have them.
const MAX_IN_FLIGHT: u16 = 256;
/// Of them, those that read: their answers may be large.
const MAX_READS: u16 = 8;
/// Pings that wait for what came before them; then one is answered at once, without Custody.
const MAX_CUSTODY: usize = 16;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Fresh,
    Open,
    Releasing,
    Closing,
}

#[derive(Debug)]
pub(super) struct Connection {
    pub(super) id: ConnectionId,
    /// Its place among the peers, while it asks or observes something.
    pub(super) peer: Key,
    pub(super) addr: SocketAddr,
    /// The start of an incomplete message, and what waits until there is room for more requests.
    pub(super) partial: Vec<u8>,
    pub(super) outbox: Outbox,
    rare: Option<Box<Rare>>,
    pub(super) timer: Timer,
    /// When it was accepted; then, when the outbox last shrank or began to fill.
    pub(super) progress: Instant,
    /// When the message in `partial` began.
    pub(super) begun: Instant,
    /// When the last bytes came, in seconds.
    pub(super) heard: u32,
    /// The peer's Max-Message-Size.
    pub(super) max_message: u32,
    pub(super) rate: Rate,
    in_flight: u16,
    reads: u16,
    pub(super) listener: ListenerId,
    pub(super) state: State,
    /// The peer's Block-Wise-Transfer.
    pub(super) block_wise: bool,
    /// Since it was last heard it was asked whether it is there.
    pub(super) pinged: bool,
    /// Notifications wait until it has read.
    pub(super) held_back: bool,
    pub(super) write_told: bool,
    pub(super) pause_told: bool,
    pub(super) reads_queued: bool,
    /// It is on the list of those that have more to be looked at.
    pub(super) listed: bool,
    /// Whole messages may wait in `partial`, until there is room for their answers.
    pub(super) blocked: bool,
}

/// What few connections have.
#[derive(Debug, Default)]
struct Rare {
    /// The message of a WebSocket that has not come whole.
    message: Vec<u8>,
    /// Bodies in parts.
    transfers: Vec<Key>,
    /// Pings with Custody, oldest first.
    pings: VecDeque<Custody>,
    /// How many Pings waited so far: requests that come now are after them.
    epoch: u32,
}

/// What a request takes of its connection, and gives back as it took it, whatever became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Place {
    /// Which Pings came before it.
    epoch: u32,
    /// By its code it reads.
    reads: bool,
}

/// A Ping that is answered when all that came before it is (RFC 8323 §5.4.1).
#[derive(Debug)]
struct Custody {
    token: Token,
    /// Of the requests before it, and after the Ping before.
    epoch: u32,
    left: u16,
}

impl Rare {
    fn is_empty(&self) -> bool {
        self.message.is_empty() && self.transfers.is_empty() && self.pings.is_empty()
    }
}

impl Connection {
    pub(super) fn new(
        id: ConnectionId,
        listener: ListenerId,
        addr: SocketAddr,
        since: Instant,
        now: Instant,
    ) -> Self {
        Connection {
            id,
            peer: Key { slot: NIL, generation: 0 },
            addr,
            partial: Vec::new(),
            outbox: Outbox::default(),
            rare: None,
            timer: Timer::default(),
            progress: since,
            begun: now,
            heard: secs(now),
            max_message: BASE_MESSAGE_SIZE,
            rate: Rate::default(),
            in_flight: 0,
            reads: 0,
            listener,
            state: State::Fresh,
            block_wise: false,
            pinged: false,
            held_back: false,
            write_told: false,
            pause_told: false,
            reads_queued: false,
            listed: false,
            blocked: false,
        }
    }

    pub(super) const fn name(&self) -> Peer {
        Peer::new(self.listener, self.addr)
    }

    /// Whether its next message may be looked at.
    pub(super) fn takes_more(&self, bounds: &ListenerBounds) -> bool {
        self.in_flight < MAX_IN_FLIGHT && self.reads < MAX_READS && !self.is_full(bounds)
    }

    /// Whether it has to read before it is told more.
    pub(super) fn is_full(&self, bounds: &ListenerBounds) -> bool {
        self.outbox.len() > bounds.max_outbox_bytes as usize
    }

    /// A request has come.
    pub(super) fn began(&mut self, reads: bool) -> Place {
        self.in_flight += 1;
        self.reads += u16::from(reads);
        Place { epoch: self.rare.as_ref().map_or(0, |rare| rare.epoch), reads }
    }

    /// It has its answer. Gives the tokens of Pings that may be answered now.
    pub(super) fn answered(&mut self, Place { epoch, reads }: Place) -> Option<Token> {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.reads = self.reads.saturating_sub(u16::from(reads));
        if let Some(rare) = &mut self.rare
            && let Some(ping) = rare.pings.iter_mut().find(|ping| ping.epoch == epoch)
        {
            ping.left = ping.left.saturating_sub(1);
        }
        self.next_pong()
    }

    /// The token of a Ping with nothing left to wait for; ask until there is none.
    pub(super) fn next_pong(&mut self) -> Option<Token> {
        let rare = self.rare.as_mut()?;
        rare.pings.front().filter(|ping| ping.left == 0)?;
        let token = rare.pings.pop_front()?.token;
        if rare.is_empty() && self.in_flight == 0 {
            self.rare = None;
        }
        Some(token)
    }

    /// Whether a Ping with Custody has to wait, and waits.
    pub(super) fn keeps_ping(&mut self, token: Token) -> bool {
        let rare = self.rare.get_or_insert_default();
        let before: u16 = rare.pings.iter().map(|ping| ping.left).sum();
        if rare.pings.len() >= MAX_CUSTODY {
            return false;
        }
        let left = self.in_flight.saturating_sub(before);
        rare.pings.push_back(Custody { token, epoch: rare.epoch, left });
        rare.epoch = rare.epoch.wrapping_add(1);
        true
    }

    /// Whether all that it has asked is answered.
    pub(super) const fn is_quiet(&self) -> bool {
        self.in_flight == 0
    }

    /// The message of a WebSocket that is coming.
    pub(super) fn message(&mut self) -> &mut Vec<u8> {
        &mut self.rare.get_or_insert_default().message
    }

    /// Whether one is.
    pub(super) fn has_message(&self) -> bool {
        self.rare.as_ref().is_some_and(|rare| !rare.message.is_empty())
    }

    /// It has come whole.
    pub(super) fn take_message(&mut self) -> Vec<u8> {
        let message = self.rare.as_mut().map(|rare| core::mem::take(&mut rare.message));
        self.forget_rare();
        message.unwrap_or_default()
    }

    /// Bodies in parts, for whoever ends them.
    pub(super) fn transfers(&mut self) -> Option<&mut Vec<Key>> {
        self.rare.as_mut().map(|rare| &mut rare.transfers)
    }

    pub(super) fn began_transfer(&mut self, key: Key) {
        self.rare.get_or_insert_default().transfers.push(key);
    }

    pub(super) fn ended_transfer(&mut self, key: Key) {
        if let Some(rare) = &mut self.rare {
            rare.transfers.retain(|known| *known != key);
        }
        self.forget_rare();
    }

    fn forget_rare(&mut self) {
        // The epochs of what is in flight are still in use.
        if self.in_flight == 0 && self.rare.as_ref().is_some_and(|rare| rare.is_empty()) {
            self.rare = None;
        }
    }

    /// Why it ends at its deadline, with the bound's key.
    pub(super) fn due(
        &self,
        now: Instant,
        bounds: &ListenerBounds,
    ) -> Option<(Reason, &'static str)> {
        let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        if is_due(self.stall_deadline(bounds)) {
            Some((Reason::SlowConsumer, "write_stall_timeout"))
        } else if is_due(self.fresh_deadline(bounds)) || is_due(self.started_deadline()) {
            Some((Reason::ConnectTimeout, "connect_timeout"))
        } else {
            None
        }
    }

    fn stall_deadline(&self, bounds: &ListenerBounds) -> Option<Instant> {
        let waits = !self.outbox.is_empty() && self.state != State::Closing;
        waits.then(|| self.progress + bounds.write_stall_timeout)
    }

    fn fresh_deadline(&self, bounds: &ListenerBounds) -> Option<Instant> {
        (self.state == State::Fresh).then(|| self.begun + bounds.connect_timeout)
    }

    /// Of a message that does not come whole; what waits for us is no fault of the peer's.
    fn started_deadline(&self) -> Option<Instant> {
        let started = !self.partial.is_empty() || self.has_message();
        let waits = self.state == State::Open && started && !self.blocked;
        waits.then(|| self.begun + STARTED_TIMEOUT)
    }

    /// When something of it is due.
    pub(super) fn deadline(&self, bounds: &ListenerBounds) -> Option<Instant> {
        let waits = earliest(self.fresh_deadline(bounds), self.started_deadline());
        earliest(waits, self.stall_deadline(bounds))
    }

    /// Whether the transport should not read: what came waits, or would have to.
    pub(super) fn must_pause(&self, bounds: &ListenerBounds) -> bool {
        matches!(self.state, State::Fresh | State::Open) && !self.takes_more(bounds)
    }

    /// Whether nothing of it is needed any more.
    pub(super) fn is_over(&self) -> bool {
        self.state == State::Closing && self.outbox.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection() -> Connection {
        let addr = SocketAddr::from(([127, 0, 0, 1], 9));
        Connection::new(ConnectionId::new(1, 1), ListenerId(0), addr, Instant::ZERO, Instant::ZERO)
    }

    /// Beside 8 bytes in the table: all that the endpoint keeps of a connection that is silent.
    #[test]
    fn an_idle_connection_is_small() {
        assert!(size_of::<Connection>() <= 192, "{}", size_of::<Connection>());
        let connection = connection();
        assert_eq!((connection.partial.capacity(), connection.outbox.is_empty()), (0, true));
        assert!(connection.rare.is_none() && connection.timer.is_idle());
    }

    /// RFC 8323 §5.4.1: "all the request/response messages received prior to the Ping".
    #[test]
    fn custody_is_of_what_came_before_the_ping() {
        let token = |byte| Token::new(&[byte]).unwrap();
        let mut connection = connection();
        let (a, b) = (connection.began(false), connection.began(true));
        assert!(connection.keeps_ping(token(1)));
        let c = connection.began(false);
        assert!(connection.keeps_ping(token(2)));
        let d = connection.began(false);
        assert_eq!(connection.next_pong(), None);
        assert_eq!(connection.answered(d), None, "came after both");
        assert_eq!(connection.answered(c), None, "the first has not left");
        assert_eq!(connection.answered(b), None);
        assert_eq!(connection.answered(a), Some(token(1)));
        assert_eq!(connection.next_pong(), Some(token(2)));
        assert_eq!(connection.next_pong(), None);
        assert!(connection.rare.is_none());
    }

    #[test]
    fn pings_that_wait_are_bounded() {
        let mut connection = connection();
        let first = connection.began(false);
        let kept = (0..100).filter(|_| connection.keeps_ping(Token::default())).count();
        assert_eq!(kept, MAX_CUSTODY);
        let mut pongs = usize::from(connection.answered(first).is_some());
        while connection.next_pong().is_some() {
            pongs += 1;
        }
        assert_eq!(pongs, MAX_CUSTODY);
    }
}
