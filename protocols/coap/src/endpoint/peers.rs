//! [`Peers`]: what is known of a far end, once, however many exchanges and observations it has.
//!
//! A peer is known from its first request until it has neither a deduplication entry, an
//! exchange, an observation nor an outstanding message. If the endpoint chose message ids towards
//! it, it lingers for EXCHANGE_LIFETIME more, so that no id is used twice within that time
//! (RFC 7252 §4.4).

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use core::hash::BuildHasher;
use core::time::Duration;

use hashbrown::{DefaultHashBuilder, HashTable};
use motegate_message::Peer;
use motegate_timers::{Instant, Timer};

use super::message_ids::MessageIds;
use super::outbound::Outbox;
use crate::random::Random;
use crate::slab::{Key, NIL, Slab};

/// EXCHANGE_LIFETIME with the default parameters (RFC 7252 §4.8.2).
pub(super) const EXCHANGE_LIFETIME: Duration = Duration::from_secs(247);
/// NON_LIFETIME (RFC 7252 §4.8.2).
pub(super) const NON_LIFETIME: Duration = Duration::from_secs(145);

/// Requests in the second that `secs` names.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Rate {
    secs: u32,
    count: u16,
}

impl Rate {
    /// Counts a request; whether it is one more than `max` in this second.
    pub(super) const fn is_too_fast(&mut self, secs: u32, max: u32) -> bool {
        if self.secs != secs {
            (self.secs, self.count) = (secs, 0);
        }
        self.count = self.count.saturating_add(1);
        self.count as u32 > max
    }
}

#[derive(Debug)]
pub(super) struct PeerState {
    pub(super) peer: Peer,
    /// Deduplication entries: how many, and the ends of their list.
    pub(super) entries: u32,
    pub(super) oldest_entry: u32,
    pub(super) newest_entry: u32,
    /// Neighbours among the peers with about as many entries.
    pub(super) busier_prev: u32,
    pub(super) busier_next: u32,
    /// Observations: how many, and the head of their list.
    pub(super) observations: u32,
    pub(super) first_observation: u32,
    /// Requests without a response.
    pub(super) exchanges: u32,
    /// Bodies in parts.
    pub(super) uploads: u16,
    /// Answers in parts that are kept for it, which stand in the way of no upload.
    pub(super) answers: u16,
    pub(super) rate: Rate,
    /// Until when its address counts as proved, in seconds.
    pub(super) verified_until: u32,
    pub(super) ids: MessageIds,
    /// Whether an id was chosen since the peer was last idle.
    chose_id: bool,
    /// Whether `Peers::lingering` names this peer.
    lingering: bool,
    /// The slot of its connection, [`NIL`] of whoever sends datagrams, or [`OVER`].
    pub(super) connection: u32,
    /// Earliest retransmission.
    pub(super) timer: Timer,
    /// Confirmable messages outstanding and waiting; `None` for the many that have none.
    pub(super) outbox: Option<Box<Outbox>>,
}

/// Stands for a connection that is over, while something of its peer is left.
pub(super) const OVER: u32 = NIL - 1;

impl PeerState {
    /// It has, or had, a connection.
    pub(super) const fn is_connected(&self) -> bool {
        self.connection != NIL
    }

    fn new(peer: Peer, connection: u32, first_message_id: u16) -> Self {
        PeerState {
            peer,
            entries: 0,
            oldest_entry: NIL,
            newest_entry: NIL,
            busier_prev: NIL,
            busier_next: NIL,
            observations: 0,
            first_observation: NIL,
            exchanges: 0,
            uploads: 0,
            answers: 0,
            rate: Rate::default(),
            verified_until: 0,
            ids: MessageIds::beginning_with(first_message_id),
            chose_id: false,
            lingering: false,
            connection,
            timer: Timer::default(),
            outbox: None,
        }
    }

    const fn is_idle(&self) -> bool {
        self.entries == 0
            && self.exchanges == 0
            && self.uploads == 0
            && self.answers == 0
            && self.observations == 0
            && self.outbox.is_none()
    }

    /// The next message id towards this peer.
    pub(super) fn message_id(&mut self, now: Instant) -> u16 {
        self.chose_id = true;
        self.ids.take(now)
    }

    /// From when on there is one, if not now.
    pub(super) fn message_id_at(&self, now: Instant) -> Option<Instant> {
        self.ids.ready_at(now)
    }
}

#[derive(Debug)]
pub(super) struct Peers {
    slab: Slab<PeerState>,
    index: HashTable<u32>,
    hasher: DefaultHashBuilder,
    lingering: VecDeque<(Instant, Key)>,
    max_lingering: usize,
}

impl Peers {
    pub(super) fn new(max_lingering: usize) -> Self {
        Peers {
            slab: Slab::default(),
            index: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
            lingering: VecDeque::new(),
            max_lingering,
        }
    }

    /// What is beyond a smaller bound goes as its time comes.
    pub(super) fn set_max(&mut self, max_lingering: usize) {
        self.max_lingering = max_lingering;
    }

    pub(super) fn find(&self, peer: &Peer) -> Option<Key> {
        let hash = self.hasher.hash_one(peer);
        let same = |slot: &u32| self.slab.at(*slot).is_some_and(|known| known.peer == *peer);
        self.slab.key_at(*self.index.find(hash, same)?)
    }

    /// The peer's place; made if there is none, with an unpredictable first message id.
    pub(super) fn find_or_insert(&mut self, peer: Peer, random: &mut Random) -> Key {
        if let Some(key) = self.find(&peer) {
            return key;
        }
        let hash = self.hasher.hash_one(&peer);
        let message_id = random.next_u16();
        let key = self.slab.insert(PeerState::new(peer, NIL, message_id));
        let Peers { slab, index, hasher, .. } = self;
        let rehash = |slot: &u32| slab.at(*slot).map_or(0, |state| hasher.hash_one(&state.peer));
        index.insert_unique(hash, key.slot, rehash);
        key
    }

    /// A place for the far end of a connection, which is found by its connection alone.
    pub(super) fn insert_connected(&mut self, peer: Peer, connection: u32) -> Key {
        self.slab.insert(PeerState::new(peer, connection, 0))
    }

    pub(super) fn get(&self, key: Key) -> Option<&PeerState> {
        self.slab.get(key)
    }

    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut PeerState> {
        self.slab.get_mut(key)
    }

    /// For links that are cut before the peer goes.
    pub(super) fn at_mut(&mut self, slot: u32) -> Option<&mut PeerState> {
        self.slab.at_mut(slot)
    }

    pub(super) fn at(&self, slot: u32) -> Option<&PeerState> {
        self.slab.at(slot)
    }

    /// Slots, empty ones included.
    pub(super) fn slots(&self) -> u32 {
        self.slab.slots()
    }

    pub(super) const fn len(&self) -> usize {
        self.slab.len()
    }

    /// Called when something of a peer has ended: forgets it if nothing is left.
    pub(super) fn release(&mut self, slot: u32, now: Instant) {
        let Some(key) = self.slab.key_at(slot) else { return };
        let Some(state) = self.slab.get_mut(key) else { return };
        if !state.is_idle() || state.lingering {
            return;
        }
        if !core::mem::take(&mut state.chose_id) {
            self.remove(key);
            return;
        }
        state.lingering = true;
        self.lingering.push_back((now + EXCHANGE_LIFETIME, key));
        if self.lingering.len() > self.max_lingering {
            self.end_lingering(now);
        }
    }

    fn remove(&mut self, key: Key) {
        let Some(state) = self.slab.remove(key) else { return };
        let hash = self.hasher.hash_one(&state.peer);
        if let Ok(found) = self.index.find_entry(hash, |slot| *slot == key.slot) {
            found.remove();
        }
        if self.index.is_empty() {
            self.index = HashTable::new();
        }
    }

    /// The peer that has lingered longest goes, unless it came back to life.
    fn end_lingering(&mut self, now: Instant) {
        let Some((_, key)) = self.lingering.pop_front() else { return };
        let Some(state) = self.slab.get_mut(key) else { return };
        state.lingering = false;
        if state.is_idle() {
            if state.chose_id {
                self.release(key.slot, now); // for once more: it was active in between
            } else {
                self.remove(key);
            }
        }
    }

    /// Forgets peers whose time is over.
    pub(super) fn expire(&mut self, now: Instant) {
        while self.lingering.front().is_some_and(|(at, _)| *at <= now) {
            self.end_lingering(now);
        }
        if self.lingering.is_empty() {
            self.lingering = VecDeque::new();
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.lingering.front().map(|(at, _)| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::SocketAddr;
    use motegate_message::ListenerId;

    fn peer(port: u16) -> Peer {
        Peer::new(ListenerId(0), SocketAddr::from(([127, 0, 0, 1], port)))
    }

    #[test]
    fn a_peer_lingers_only_if_ids_were_chosen() {
        let mut peers = Peers::new(10);
        let mut random = Random::new(1);
        let quiet = peers.find_or_insert(peer(1), &mut random);
        peers.release(quiet.slot, Instant::ZERO);
        assert_eq!((peers.len(), peers.next_deadline()), (0, None));

        let key = peers.find_or_insert(peer(2), &mut random);
        let first = peers.get_mut(key).unwrap().message_id(Instant::ZERO);
        peers.release(key.slot, Instant::ZERO);
        assert_eq!(peers.find_or_insert(peer(2), &mut random), key);
        assert_eq!(peers.get_mut(key).unwrap().message_id(Instant::ZERO), first.wrapping_add(1));
        peers.release(key.slot, Instant::from_secs(200));
        peers.expire(Instant::from_secs(247));
        assert_eq!(peers.find(&peer(2)), Some(key)); // it was active at 200 s
        peers.expire(Instant::from_secs(247 + 247));
        assert_eq!((peers.find(&peer(2)), peers.next_deadline()), (None, None));
    }

    #[test]
    fn lingering_peers_are_bounded() {
        let mut peers = Peers::new(10);
        let mut random = Random::new(1);
        for port in 0..100 {
            let key = peers.find_or_insert(peer(port), &mut random);
            peers.get_mut(key).unwrap().message_id(Instant::ZERO);
            peers.release(key.slot, Instant::ZERO);
        }
        assert_eq!(peers.len(), 10);
    }
}
