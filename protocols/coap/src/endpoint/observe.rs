//! Observations (RFC 7641): who is told what becomes of a resource, keyed by (peer, token).
//!
//! An observation keeps at most one notification waiting, the newest: the protocol promises
//! eventual consistency, not a history (§1.3). Notifications are confirmable when the caller says
//! so, every n-th time, after a silence, and at least every 24 hours (§4.5). While a confirmable one
//! is outstanding nothing else is sent for the observation, and once it had to be repeated nothing
//! else for any of the peer (RFC 7252 §4.7: probing one that does not answer). It ends by GET, by RST to any recent notification, by
//! a time-out, by a new registration with its token, or by a notification that is an error.

use alloc::boxed::Box;
use core::hash::BuildHasher;
use core::time::Duration;

use hashbrown::{DefaultHashBuilder, HashTable};
use motegate_message::{DeliveryId, Reason, Turn, Wall};
use motegate_timers::Instant;

use super::block::{self, NoPart, Room, Wanted};
use super::body::Body;
use super::contract::{Event, ExchangeId, Notification, ObservationId, Response};
use super::outbound::{Separate, Waiting};
use super::peers::Peers;
use super::reachability::secs;
use super::{Endpoint, send};
use crate::message::{Kind, Token};
use crate::slab::{Key, NIL, Slab};

/// RFC 7641 §4.5: a confirmable notification at least this often.
const CONFIRMABLE_INTERVAL: Duration = Duration::from_secs(24 * 60 * 60);
/// Who is asked whether it is still there is asked so much before the day is over, because it takes
/// time to look at all.
const EARLY: Duration = Duration::from_secs(30 * 60);
/// The first notification after so long a silence is confirmable: who has gone is noticed, and a
/// value that lasts is not lost.
const SILENCE: Duration = Duration::from_secs(60 * 60);
/// Observe is a number of 24 bits (RFC 7641 §2).
const SEQUENCE_MASK: u32 = 0x00ff_ffff;
/// How many of its last message ids an observation remembers.
const RECENT: usize = 4;
/// The client asks for no size; or for BERT, which is what it then gets (RFC 8323 §6).
const ANY: u8 = 7;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// The response to the registration has not left.
    Registering,
    /// The next notification may leave.
    Idle,
    /// A confirmable message is outstanding, or waits for its turn.
    Busy,
    /// The next notification waits for the [`pace`](super::pace).
    Paced,
}

#[derive(Debug)]
pub(super) struct Observation {
    peer: Key,
    /// Neighbours among the observations of the peer.
    prev: u32,
    next: u32,
    pub(super) token: Token,
    pub(super) phase: Phase,
    recent_len: u8,
    /// Exponent of the blocks that the client asked for, or [`ANY`].
    exponent: u8,
    /// Message ids of non-confirmable and superseded notifications, latest first.
    recent: [u16; RECENT],
    sequence: u32,
    since_confirmable: u32,
    /// Seconds of the last confirmable notification, and of the last of all.
    last_confirmable: u32,
    last_sent: u32,
    /// The newest value, while it cannot leave.
    pending: Option<Box<Pending>>,
}

/// A notification that cannot leave yet, and since when.
#[derive(Debug)]
struct Pending {
    notification: Notification,
    since: Instant,
}

impl Observation {
    pub(super) const fn peer(&self) -> Key {
        self.peer
    }

    /// What leaves of a notification: all, or its first block (RFC 7959 §3.4).
    pub(super) fn body(&self, notification: Notification, room: impl Into<Room>) -> Body {
        let wanted = Wanted::first(self.exponent, notification.payload.len());
        let part = Body::from(notification).part(wanted, room);
        part.unwrap_or_else(NoPart::body)
    }

    /// The newest value waits from now on; the delivery of the one that it replaces.
    pub(super) fn wait_with(
        &mut self,
        now: Instant,
        mut notification: Notification,
    ) -> Option<DeliveryId> {
        let older = self.pending.take();
        notification.confirmable |= older.as_ref().is_some_and(|o| o.notification.confirmable);
        self.pending = Some(Box::new(Pending { notification, since: now }));
        older.map(|older| older.notification.delivery)
    }

    /// What waited leaves: it is fresh for as much less (RFC 7252 §5.10.5).
    pub(super) fn take_waiting(&mut self, now: Instant) -> Option<Notification> {
        let Pending { mut notification, since } = *self.pending.take()?;
        let waited = now.saturating_since(since);
        notification.max_age = notification.max_age.map(|age| age.saturating_sub(waited));
        Some(notification)
    }

    pub(super) const fn waits(&self) -> bool {
        self.pending.is_some()
    }

    pub(super) const fn next_sequence(&mut self) -> u32 {
        self.sequence = (self.sequence + 1) & SEQUENCE_MASK;
        self.sequence
    }

    pub(super) fn sent_confirmable(&mut self, now: Instant) {
        self.since_confirmable = 0;
        (self.last_confirmable, self.last_sent) = (secs(now), secs(now));
    }

    /// Remembers a message id, so that a RST to it finds the observation.
    pub(super) fn remember(&mut self, message_id: u16) {
        self.recent.rotate_right(1);
        if let Some(latest) = self.recent.first_mut() {
            *latest = message_id;
        }
        self.recent_len = (self.recent_len + 1).min(4);
    }

    fn is_recent(&self, message_id: u16) -> bool {
        self.recent.iter().take(usize::from(self.recent_len)).any(|id| *id == message_id)
    }

    fn must_confirm(&self, every: u32, now: Instant) -> bool {
        let since = |then| Duration::from_secs(u64::from(secs(now).saturating_sub(then)));
        self.since_confirmable.saturating_add(1) >= every.max(1)
            || since(self.last_confirmable) >= CONFIRMABLE_INTERVAL
            || since(self.last_sent) >= SILENCE
    }
}

/// A first sequence number: 65,536ths of a second on the wall clock, so that a registration made
/// anew with the same token is newer than what its client saw before, whatever became of the old
/// one (RFC 7641 §3.4 compares within 128 s, half of the 24 bits).
#[allow(clippy::cast_possible_truncation)] // the low bits are wanted
const fn first_sequence(wall: Wall) -> u32 {
    (wall.as_millis().wrapping_mul(65) as u32) & SEQUENCE_MASK
}

/// Whether a number is as new as another, or newer (RFC 7641 §3.4).
const fn is_ahead(number: u32, of: u32) -> bool {
    number.wrapping_sub(of) & SEQUENCE_MASK < SEQUENCE_MASK / 2
}

#[derive(Debug)]
pub(super) struct Observations {
    slab: Slab<Observation>,
    index: HashTable<u32>,
    hasher: DefaultHashBuilder,
    /// Peers that observe something.
    observers: usize,
    /// The latest number of those that are over: a client goes on comparing with what the one before
    /// said, also when both came in a moment (RFC 7641 §4.4).
    latest: Option<u32>,
}

impl Observations {
    pub(super) fn new() -> Self {
        Observations {
            slab: Slab::default(),
            index: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
            observers: 0,
            latest: None,
        }
    }

    fn first_sequence(&self, wall: Wall) -> u32 {
        let first = first_sequence(wall);
        self.latest.filter(|latest| is_ahead(*latest, first)).unwrap_or(first)
    }

    pub(super) const fn observers(&self) -> usize {
        self.observers
    }

    pub(super) const fn len(&self) -> usize {
        self.slab.len()
    }

    pub(super) fn by_id(&self, id: ObservationId) -> Option<&Observation> {
        self.slab.get(Key::from_u64(id.0))
    }

    pub(super) fn slots(&self) -> u32 {
        self.slab.slots()
    }

    pub(super) fn unconfirmed_at(&self, slot: u32, now: Instant) -> Option<ObservationId> {
        let found = self.slab.at(slot).filter(|found| found.phase == Phase::Idle)?;
        let since = u64::from(secs(now).saturating_sub(found.last_confirmable));
        let overdue = Duration::from_secs(since) >= CONFIRMABLE_INTERVAL - EARLY;
        let key = self.slab.key_at(slot).filter(|_| overdue)?;
        Some(ObservationId(key.to_u64()))
    }

    /// One peer's observations, from its list's head.
    pub(super) fn from(&self, head: u32) -> impl Iterator<Item = ObservationId> {
        let next = |slot: &u32| self.slab.at(*slot).map(|o| o.next);
        core::iter::successors(Some(head), next)
            .map_while(|slot| self.slab.key_at(slot))
            .map(|key| ObservationId(key.to_u64()))
    }

    pub(super) fn get(&self, key: Key) -> Option<&Observation> {
        self.slab.get(key)
    }

    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut Observation> {
        self.slab.get_mut(key)
    }

    pub(super) fn find(&self, peer: Key, token: &Token) -> Option<Key> {
        let hash = self.hasher.hash_one((peer.slot, token));
        let same = |slot: &u32| {
            self.slab.at(*slot).is_some_and(|o| o.peer.slot == peer.slot && o.token == *token)
        };
        self.slab.key_at(*self.index.find(hash, same)?)
    }

    fn insert(&mut self, peers: &mut Peers, new: Observation) -> Key {
        let (peer, token, next) = (new.peer, new.token, new.next);
        let key = self.slab.insert(new);
        if let Some(neighbour) = self.slab.at_mut(next) {
            neighbour.prev = key.slot;
        }
        if let Some(state) = peers.get_mut(peer) {
            state.first_observation = key.slot;
            self.observers += usize::from(state.observations == 0);
            state.observations += 1;
        }
        let Observations { slab, index, hasher, .. } = self;
        let rehash =
            |slot: &u32| slab.at(*slot).map_or(0, |o| hasher.hash_one((o.peer.slot, &o.token)));
        index.insert_unique(hasher.hash_one((peer.slot, &token)), key.slot, rehash);
        key
    }

    fn remove(&mut self, peers: &mut Peers, key: Key) -> Option<Observation> {
        let gone = self.slab.remove(key)?;
        if self.latest.is_none_or(|latest| is_ahead(gone.sequence, latest)) {
            self.latest = Some(gone.sequence);
        }
        let hash = self.hasher.hash_one((gone.peer.slot, &gone.token));
        if let Ok(found) = self.index.find_entry(hash, |slot| *slot == key.slot) {
            found.remove();
        }
        if self.index.is_empty() {
            self.index = HashTable::new();
        }
        if let Some(next) = self.slab.at_mut(gone.next) {
            next.prev = gone.prev;
        }
        if let Some(prev) = self.slab.at_mut(gone.prev) {
            prev.next = gone.next;
        }
        if let Some(state) = peers.get_mut(gone.peer) {
            state.observations -= 1;
            self.observers -= usize::from(state.observations == 0);
            if gone.prev == NIL {
                state.first_observation = gone.next;
            }
        }
        Some(gone)
    }

    /// Whose notification had this message id; looks at the observations of one peer only.
    pub(super) fn find_by_message_id(
        &self,
        peers: &Peers,
        peer: Key,
        message_id: u16,
    ) -> Option<Key> {
        let mut slot = peers.get(peer)?.first_observation;
        while let Some(observation) = self.slab.at(slot) {
            if observation.is_recent(message_id) {
                return self.slab.key_at(slot);
            }
            slot = observation.next;
        }
        None
    }
}

impl Endpoint {
    /// Begins the observation that `exchange` asks for; `None` when a limit forbids it (answer
    /// without Observe then; RFC 7641 §4.1). The caller answers with `Response::observe` set.
    /// An observation of the same peer and token ends (RFC 7641 §4.1).
    pub fn observe(&mut self, turn: &Turn, exchange: ExchangeId) -> Option<ObservationId> {
        let found = self.exchanges.get(Key::from_u64(exchange.0))?;
        if !found.registers || found.held {
            return None;
        }
        if let Some(key) = found.observation {
            return self.observations.get(key).map(|_| ObservationId(key.to_u64()));
        }
        let (peer, token, block) = (found.peer, found.token, found.wanted.block);
        if let Some(old) = self.observations.find(peer, &token) {
            self.lose_observation(turn.now, old, Reason::TakenOver);
        }
        let sequence = self.observations.first_sequence(turn.wall);
        let state = self.peers.get(peer)?;
        let listener = state.peer.listener;
        let own = usize::try_from(state.observations).unwrap_or(usize::MAX);
        let full = self.observations.len() >= self.config.max_observers;
        if full || own >= self.bounds(listener).max_observers_per_peer {
            if full {
                self.counters.observers_refused += 1;
            } else {
                self.counters.observers_per_peer_refused += 1;
            }
            self.dropped_key(peer, Reason::QuotaExceeded);
            return None;
        }
        let new = Observation {
            peer,
            prev: NIL,
            next: state.first_observation,
            token,
            phase: Phase::Registering,
            recent_len: 0,
            exponent: block.and_then(|block| u8::try_from(block.exponent).ok()).unwrap_or(ANY),
            recent: [0; RECENT],
            sequence,
            since_confirmable: 0,
            last_confirmable: secs(turn.now),
            last_sent: secs(turn.now),
            pending: None,
        };
        let key = self.observations.insert(&mut self.peers, new);
        self.exchanges.get_mut(Key::from_u64(exchange.0))?.observation = Some(key);
        Some(ObservationId(key.to_u64()))
    }

    /// The observation that the registration of `exchange` would end: that of its peer and token.
    #[must_use]
    pub fn replaces(&self, exchange: ExchangeId) -> Option<ObservationId> {
        let found = self.exchanges.get(Key::from_u64(exchange.0))?;
        let old = self.observations.find(found.peer, &found.token)?;
        Some(ObservationId(old.to_u64()))
    }

    /// A new value; replaces one that has not left yet. Reported back by `Event::Notified`, unless
    /// the observation is over. A code that is no success ends it (RFC 7641 §4.2), as does a
    /// payload that no blocks can tell (4.13); `Event::ObservationEnded` follows.
    pub fn notify(&mut self, turn: &Turn, observation: ObservationId, notification: Notification) {
        self.now = turn.now;
        let key = Key::from_u64(observation.0);
        let Some(found) = self.observations.get_mut(key) else { return };
        let (code, length) = (notification.code, notification.payload.len());
        let (peer, wanted) = (found.peer, Wanted::first(found.exponent, length));
        let room = self.notification_room_of(peer);
        let Some(found) = self.observations.get_mut(key) else { return };
        if code.class() != 2 {
            self.notified(key, Some(notification.delivery));
            self.finish(turn.now, key, Body::from(notification).shortened(room.payload));
            self.observation_ended(key, Reason::ObserveRejected);
        } else if let Err(no_part) = block::judge(length, wanted, room) {
            self.notified(key, Some(notification.delivery));
            self.finish(turn.now, key, no_part.body());
            self.observation_ended(key, no_part.reason());
        } else if found.phase == Phase::Idle {
            self.dispatch(turn.now, peer, key, notification);
        } else {
            let replaced = found.wait_with(turn.now, notification);
            self.notified(key, replaced);
        }
    }

    /// Bytes of a notification that leave at once; the rest is for the client to fetch with GETs
    /// (RFC 7959 §3.4).
    #[must_use]
    pub fn notification_room(&self, observation: ObservationId) -> usize {
        let Some(found) = self.observations.by_id(observation) else {
            return self.config.block_size;
        };
        block::at_once(found.exponent, self.notification_room_of(found.peer))
    }

    pub(super) fn notification_room_of(&self, peer: Key) -> Room {
        let room = self.connection_room(peer, Body::NOTIFICATION_OVERHEAD);
        room.unwrap_or_else(|| self.config.block_size.into())
    }

    /// Ends an observation from above with a final notification (an error); no
    /// `Event::ObservationEnded` follows.
    pub fn end_observation(&mut self, turn: &Turn, observation: ObservationId, last: Response) {
        self.now = turn.now;
        let key = Key::from_u64(observation.0);
        let Some(found) = self.observations.get(key) else { return };
        let room = self.notification_room_of(found.peer);
        self.finish(turn.now, key, Body::from(last).shortened(room.payload));
    }

    /// Ends an observation from above without a word to its client, which has asked for that;
    /// `Event::ObservationEnded` follows.
    pub fn cancel_observation(&mut self, turn: &Turn, observation: ObservationId) {
        self.now = turn.now;
        self.lose_observation(turn.now, Key::from_u64(observation.0), Reason::ClientDisconnect);
    }

    /// Sends what may leave now; else its turn comes.
    fn dispatch(&mut self, now: Instant, peer: Key, key: Key, notification: Notification) {
        if let Some(slot) = self.connection_of(peer) {
            return self.notify_on_connection(slot, key, notification);
        }
        if self.pace.admits(now) {
            return self.dispatch_now(now, peer, key, notification);
        }
        let Some(observation) = self.observations.get_mut(key) else { return };
        observation.phase = Phase::Paced;
        observation.wait_with(now, notification);
        self.pace.wait(key);
    }

    /// The next portion of those that wait leaves.
    pub(super) fn send_paced(&mut self, now: Instant) {
        while let Some(key) = self.pace.next(now) {
            let Some(observation) = self.observations.get_mut(key) else { continue };
            observation.phase = Phase::Idle;
            let peer = observation.peer;
            if let Some(notification) = observation.take_waiting(now) {
                self.dispatch_now(now, peer, key, notification);
            }
        }
    }

    /// Sends, or puts in the queue of the peer.
    fn dispatch_now(&mut self, now: Instant, peer: Key, key: Key, notification: Notification) {
        let every = self.config.notify_confirmable_every;
        let must_wait = self.peers.get(peer).is_some_and(|state| {
            let unheard = state.outbox.as_ref().is_some_and(|outbox| outbox.is_unheard());
            unheard || state.message_id_at(now).is_some()
        });
        let Some(observation) = self.observations.get_mut(key) else { return };
        if notification.confirmable || must_wait || observation.must_confirm(every, now) {
            observation.phase = Phase::Busy;
            observation.wait_with(now, notification);
            return self.enqueue(now, peer, Waiting::Notification(key));
        }
        observation.since_confirmable += 1;
        observation.last_sent = secs(now);
        let delivery = notification.delivery;
        let body = observation.body(notification, self.config.block_size);
        self.send_non(peer, Some(key), None, &body);
        self.notified(key, Some(delivery));
    }

    /// A notification may have waited for the message that has now left or been acknowledged.
    pub(super) fn flush_pending(&mut self, now: Instant, key: Key) {
        let Some(observation) = self.observations.get_mut(key) else { return };
        let peer = observation.peer;
        if let Some(notification) = observation.take_waiting(now) {
            self.dispatch(now, peer, key, notification);
        }
    }

    /// A non-confirmable message with an id of our own; a RST to it ends the observation.
    pub(super) fn send_non(
        &mut self,
        peer: Key,
        observation: Option<Key>,
        token: Option<Token>,
        body: &Body,
    ) {
        let Some(state) = self.peers.get_mut(peer) else { return };
        let message_id = state.message_id(self.now);
        let mut sequence = None;
        let mut token = token.unwrap_or_default();
        if let Some(observation) = observation.and_then(|key| self.observations.get_mut(key)) {
            observation.remember(message_id);
            sequence = Some(observation.next_sequence());
            token = observation.token;
        }
        send(&mut self.out, &state.peer, |out| {
            body.encode(out, Kind::NonConfirmable, message_id, &token, sequence);
        });
    }

    /// The final notification and the end. Nothing is sent when the registration has not been
    /// answered: its response will say it.
    fn finish(&mut self, now: Instant, key: Key, body: Body) {
        let Some(gone) = self.observations.remove(&mut self.peers, key) else { return };
        self.withdraw(gone.peer, key);
        if gone.phase == Phase::Registering {
            self.pump(now, gone.peer);
        } else {
            if let Some(slot) = self.connection_of(gone.peer) {
                self.send_body(slot, &gone.token, &body, None);
                return self.peers.release(gone.peer.slot, now);
            }
            let separate = Separate { token: gone.token, body, observation: None, is_final: true };
            self.enqueue(now, gone.peer, Waiting::Response(Box::new(separate)));
        }
        self.peers.release(gone.peer.slot, now);
    }

    /// The observation is over and its client knows, or cannot be told.
    pub(super) fn lose_observation(&mut self, now: Instant, key: Key, reason: Reason) {
        let Some(gone) = self.observations.remove(&mut self.peers, key) else { return };
        self.observation_ended(key, reason);
        self.withdraw(gone.peer, key);
        self.pump(now, gone.peer);
        self.peers.release(gone.peer.slot, now);
    }

    fn observation_ended(&mut self, key: Key, reason: Reason) {
        let observation = ObservationId(key.to_u64());
        self.events.push_back(Event::ObservationEnded { observation, reason });
    }
}

#[cfg(test)]
mod tests {
    use super::super::peers::PeerState;
    use super::*;

    /// performance.md: at most 512 bytes an observation, the broker's session included; a peer
    /// with one observation, its slots and its places in two indices must leave 300 of them.
    #[test]
    fn an_observation_and_its_peer_are_small() {
        let slot = 8; // generation and discriminant
        let index = 2 * 6; // two tables of u32 at their fullest
        let sum = size_of::<Observation>() + size_of::<PeerState>() + 2 * slot + index;
        assert!(sum <= 240, "{} + {}", size_of::<Observation>(), size_of::<PeerState>());
    }

    #[test]
    fn a_later_registration_has_a_newer_sequence() {
        let newer = |a: u32, b: u32| b.wrapping_sub(a) & SEQUENCE_MASK < SEQUENCE_MASK / 2;
        for start in [0_u64, 1_000, 257_000, 1_763_000_000_000] {
            let first = first_sequence(Wall::from_millis(start));
            for later in [10, 1_000, 60_000, 125_000] {
                // 60 notifications a second were sent in between.
                let seen = (first + u32::try_from(later * 60 / 1_000).unwrap()) & SEQUENCE_MASK;
                assert!(newer(seen, first_sequence(Wall::from_millis(start + later))), "{later}");
            }
        }
    }
}
