//! The server side of CoAP: the message layer of RFC 7252, the observations of RFC 7641, and the
//! connections of RFC 8323, whose requests are the same from `Event::Request` on.
//!
//! Guarantees: a request goes up at most once within its lifetime (a GET with a large answer
//! excepted); every request handed up that is answered gets one response, by the right kind of
//! message; a response does not leave before the batch it depends on is stored; every table has a
//! bound. One datagram leaves for one that came, never larger than `block_size` and its options, and
//! not much larger than what came while the peer's address is in doubt (RFC 9175); at most
//! `notify_confirmable_every` notifications leave without a sign of life, and none beside a message
//! that has to be repeated. What is larger than a message leaves and comes in blocks (RFC 7959). Left out: tokens past 8 bytes (RFC 8974), Q-Block (RFC 9177), DTLS.

mod answer;
mod block;
mod body;
mod connection;
mod connections;
mod contract;
mod counters;
mod deduplication;
mod exchange;
mod group;
mod inbound;
mod message_ids;
mod observe;
mod outbound;
mod pace;
mod peers;
mod problem;
mod reachability;
mod request;
mod sending;
mod transfers;
mod unseen;
mod upload;
mod view;

pub(crate) use block::Room;
pub use contract::{
    Code, Event, ExchangeId, Method, Notification, ObservationId, Observe, Request, Response,
    Transmit,
};
pub use counters::Counters;
pub use group::{Discovery, MAX_WAITING};
pub use view::Observer;

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::time::Duration;

use motegate_message::{DatagramQueue, Gate, ListenerId, Peer, Reason, Seq, Turn};
use motegate_timers::{Instant, TimerQueue, earliest};

use crate::message::{EMPTY, Flaw, Kind, Message, decode, write_empty};
use crate::random::Random;
use crate::slab::{Key, Slab};
use crate::{Config, ListenerBounds};
use connections::Connections;
use deduplication::Deduplication;
use exchange::Exchange;
use observe::Observations;
use pace::Pace;
use peers::Peers;
use reachability::Echo;
use transfers::Transfers;

/// Time between two sweeps of the deduplication table when no requests come.
const SWEEP_INTERVAL: Duration = Duration::from_secs(5);
/// Entries that one sweep forgets at most.
const SWEEP_MAX: usize = 4_096;

/// All exchanges and observations of all CoAP peers.
#[derive(Debug)]
pub struct Endpoint {
    config: Config,
    random: Random,
    echo: Echo,
    peers: Peers,
    deduplication: Deduplication,
    exchanges: Slab<Exchange>,
    observations: Observations,
    pace: Pace,
    transfers: Transfers,
    connections: Connections,
    /// Of this call, for what has no turn of its own.
    now: Instant,
    /// Of listeners that have some of their own, by their ids.
    bounds: Vec<Option<ListenerBounds>>,
    /// Confirmable requests without a response, in the order of their piggyback time-outs.
    unanswered: VecDeque<(Instant, Key)>,
    /// Exchanges whose deduplication entry had to go, and when they are given up.
    orphans: VecDeque<(Instant, Key)>,
    /// Retransmissions, by peer.
    timers: TimerQueue<u64>,
    sweep_at: Option<Instant>,
    /// Answers to groups.
    waiting: group::Waiting,
    /// Responses that wait for the journal.
    held: Gate<(Key, Response)>,
    committed: Seq,
    events: VecDeque<Event>,
    out: DatagramQueue,
    counters: Counters,
}

/// Puts a message to `peer` in the queue.
fn send(out: &mut DatagramQueue, peer: &Peer, encode: impl FnOnce(&mut Vec<u8>)) {
    out.push(peer.route(), encode);
}

impl Endpoint {
    /// An endpoint that knows nobody. `seed` feeds message ids, back-off and the key of Echo
    /// options; whoever knows it can prove any address.
    #[must_use]
    pub fn new(config: Config, seed: u64) -> Self {
        let (echo, public_seed) = Echo::from_seed(seed);
        Endpoint {
            random: Random::new(public_seed),
            echo,
            peers: Peers::new(config.max_exchanges),
            deduplication: Deduplication::new(config.max_exchanges),
            exchanges: Slab::default(),
            observations: Observations::new(),
            pace: Pace::default(),
            transfers: Transfers::new(),
            connections: Connections::default(),
            now: Instant::ZERO,
            unanswered: VecDeque::new(),
            orphans: VecDeque::new(),
            timers: TimerQueue::new(),
            sweep_at: None,
            waiting: group::Waiting::default(),
            held: Gate::default(),
            committed: Seq::NONE,
            events: VecDeque::new(),
            out: DatagramQueue::default(),
            counters: Counters::default(),
            bounds: Vec::new(),
            config,
        }
    }

    /// Another configuration holds from now on; exchanges keep the timers that they began with.
    pub fn reconfigure(&mut self, config: Config) {
        self.peers.set_max(config.max_exchanges);
        self.deduplication.set_max(config.max_exchanges);
        self.config = config;
    }

    /// Listeners have other bounds of their own from now on, by their ids.
    pub fn bound_listeners(&mut self, bounds: Vec<Option<ListenerBounds>>) {
        self.bounds = bounds;
    }

    /// A listener's own bounds, or everybody's.
    fn bounds(&self, listener: ListenerId) -> ListenerBounds {
        let own = self.bounds.get(usize::from(listener.0)).copied().flatten();
        own.unwrap_or_else(|| self.config.bounds())
    }

    /// A datagram came.
    pub fn handle_datagram(&mut self, turn: &Turn, peer: Peer, bytes: &[u8]) {
        self.now = turn.now;
        match decode(bytes) {
            Ok(message) => self.handle_message(turn.now, peer, message, bytes),
            Err(Flaw::Short) => self.dropped(peer, Reason::Malformed),
            Err(Flaw::Version(_)) => self.dropped(peer, Reason::UnsupportedVersion),
            Err(Flaw::Format(head)) => {
                // RFC 7252 §4.2: a CON with a format error is rejected, §4.3: a NON ignored.
                if head.kind == Kind::Confirmable {
                    self.send_empty(&peer, Kind::Reset, head.message_id);
                }
                self.dropped(peer, Reason::Malformed);
            }
        }
    }

    fn handle_message(&mut self, now: Instant, peer: Peer, message: Message, raw: &[u8]) {
        let head = message.head;
        match (head.kind, head.code >> 5) {
            (Kind::Confirmable, _) if head.code == EMPTY => {
                // RFC 7252 §4.3: "CoAP ping".
                self.counters.pings += 1;
                self.send_empty(&peer, Kind::Reset, head.message_id);
            }
            (Kind::Confirmable | Kind::NonConfirmable, 0) if head.code != EMPTY => {
                self.handle_request(now, peer, message, raw);
            }
            (Kind::Confirmable, _) => {
                // A response that nobody asked for (RFC 7252 §5.3.2).
                self.send_empty(&peer, Kind::Reset, head.message_id);
                self.dropped(peer, Reason::ProtocolError);
            }
            // An ACK is Empty or carries a response, a RST is Empty (RFC 7252 §4.2).
            (Kind::Acknowledgement, class) if head.code == EMPTY || class != 0 => {
                let known = self.peers.find(&peer);
                if !known.is_some_and(|key| self.acknowledged(now, key, head.message_id)) {
                    self.dropped(peer, Reason::ProtocolError);
                }
            }
            (Kind::Reset, _) if head.code == EMPTY => {
                let known = self.peers.find(&peer);
                if !known.is_some_and(|key| self.reset(now, key, head.message_id)) {
                    self.dropped(peer, Reason::ProtocolError);
                }
            }
            _ => self.dropped(peer, Reason::ProtocolError),
        }
    }

    /// Deadlines up to `turn.now` are due.
    pub fn handle_timeout(&mut self, turn: &Turn) {
        let now = turn.now;
        self.now = now;
        self.acknowledge_unanswered(now);
        self.send_paced(now);
        self.answer_groups(now);
        while let Some(raw) = self.timers.pop(now) {
            let key = Key::from_u64(raw);
            let Some(state) = self.peers.get_mut(key) else { continue };
            if self.timers.fires(&mut state.timer, raw, now) {
                self.retransmit(now, key);
            }
        }
        if self.sweep_at.is_some_and(|at| at <= now) {
            self.sweep(now);
        }
        self.close_orphans(now);
        self.expire_transfers(now);
        self.expire_connections(now);
        self.peers.expire(now);
    }

    /// Forgets entries whose time is over; what is due at once is spread over several turns.
    fn sweep(&mut self, now: Instant) {
        for _ in 0..SWEEP_MAX {
            let Some(slot) = self.deduplication.expired(now) else { break };
            self.forget(now, slot);
        }
        let later = now + SWEEP_INTERVAL;
        self.sweep_at = self
            .deduplication
            .next_expiry()
            .map(|at| if at <= now { now + Duration::from_millis(1) } else { at.max(later) });
    }

    fn schedule_sweep(&mut self) {
        if self.sweep_at.is_none() {
            self.sweep_at = self.deduplication.next_expiry();
        }
    }

    /// The next thing for the layer above.
    pub fn poll_event(&mut self) -> Option<Event> {
        while self.events.is_empty() && self.go_on() {}
        let event = self.events.pop_front();
        if self.events.is_empty() && self.events.capacity() > 1_024 {
            self.events = VecDeque::new();
        }
        event
    }

    /// Datagrams to send; the caller clears the queue.
    pub const fn transmits(&mut self) -> &mut DatagramQueue {
        &mut self.out
    }

    /// Datagrams sent so far, and their bytes.
    #[must_use]
    pub fn pushed(&self) -> (u64, u64) {
        self.out.pushed()
    }

    /// When `handle_timeout` is wanted.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let unanswered = self.unanswered.front().map(|(at, _)| *at);
        let messages = earliest(unanswered, self.timers.next_deadline());
        let messages = earliest(messages, self.pace.deadline());
        let orphans = self.orphans.front().map(|(at, _)| *at);
        let transfers = self.transfers.next_expiry(self.config.block_timeout);
        let tables = earliest(self.sweep_at, earliest(orphans, self.peers.next_deadline()));
        let groups = self.waiting.next_deadline();
        let connections = earliest(transfers, self.connections.next_deadline());
        earliest(earliest(messages, groups), earliest(tables, connections))
    }

    /// What happened so far.
    #[must_use]
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Observations now, of at most `max_observers`.
    #[must_use]
    pub const fn observations(&self) -> usize {
        self.observations.len()
    }

    /// Peers that observe something now.
    #[must_use]
    pub const fn observers(&self) -> usize {
        self.observations.observers()
    }

    /// Bodies of which a part has come, or left, and their bytes, of at most `max_block_bytes`.
    #[must_use]
    pub const fn transfers(&self) -> (usize, usize) {
        (self.transfers.len(), self.transfers.bytes())
    }

    /// Peers that are remembered now.
    #[must_use]
    pub const fn peers(&self) -> usize {
        self.peers.len()
    }

    /// Deduplication entries now, of at most `max_exchanges`.
    #[must_use]
    pub const fn deduplication_entries(&self) -> usize {
        self.deduplication.len()
    }

    fn send_empty(&mut self, peer: &Peer, kind: Kind, message_id: u16) {
        send(&mut self.out, peer, |out| write_empty(out, kind, message_id));
    }

    fn dropped(&mut self, peer: Peer, reason: Reason) {
        self.events.push_back(Event::Dropped { peer, reason });
    }

    fn dropped_key(&mut self, peer: Key, reason: Reason) {
        if let Some(state) = self.peers.get(peer) {
            let peer = state.peer.clone();
            self.dropped(peer, reason);
        }
    }
}
