//! [`Deduplication`]: message ids seen from each peer within EXCHANGE_LIFETIME (RFC 7252 §4.5).
//!
//! An entry is found by (peer, message id), keeps a hash of the datagram, so that a reused id is
//! not taken for a repetition, and the reply. Entries of one lifetime expire in the order they
//! came, so two lists replace a timer an entry. When the table is full the oldest entry of the
//! busiest peer goes, but never one younger than 45 s (MAX_TRANSMIT_SPAN) of a peer with at most
//! 16 entries: then the new request is refused.

use alloc::boxed::Box;
use core::hash::BuildHasher;
use core::time::Duration;

use hashbrown::{DefaultHashBuilder, HashTable};
use motegate_timers::Instant;

use super::peers::{EXCHANGE_LIFETIME, NON_LIFETIME, Peers};
use crate::slab::{Key, NIL, Slab};

/// MAX_TRANSMIT_SPAN (RFC 7252 §4.8.2): the last repetition comes within it.
const PROTECTED_SPAN: Duration = Duration::from_secs(45);
/// log2 of the entries that a peer may have without being called busy.
const BUSY_RANK: usize = 5;
/// Ranks of peers by the binary logarithm of their entries: 1, 2, 3-4, 5-8, 9-16, 17-32 …
const RANKS: usize = 33;
const INLINE: usize = 22;

/// A reply to give again.
#[derive(Debug)]
pub(super) enum Stored {
    Inline(u8, [u8; INLINE]),
    Boxed(Box<[u8]>),
}

impl Stored {
    pub(super) fn new(bytes: &[u8]) -> Self {
        let mut inline = [0; INLINE];
        match (inline.get_mut(..bytes.len()), u8::try_from(bytes.len())) {
            (Some(place), Ok(len)) => {
                place.copy_from_slice(bytes);
                Stored::Inline(len, inline)
            }
            _ => Stored::Boxed(bytes.into()),
        }
    }

    pub(super) fn as_slice(&self) -> &[u8] {
        match self {
            Stored::Inline(len, bytes) => bytes.get(..usize::from(*len)).unwrap_or_default(),
            Stored::Boxed(bytes) => bytes,
        }
    }
}

/// How far the request of an entry has come.
#[derive(Debug)]
pub(super) enum Progress {
    /// The layer above has it.
    Pending(Key),
    /// Answered: the same bytes again.
    Answered(Stored),
    /// Acknowledged with an Empty message; the response went its own way.
    Acknowledged,
    /// A GET with a large answer: it may be executed again.
    Repeatable,
}

#[derive(Debug)]
pub(super) struct Entry {
    expires: Instant,
    pub(super) hash: u64,
    pub(super) progress: Progress,
    peer: u32,
    /// Neighbours in the list of this lifetime, and in that of the peer.
    prev: u32,
    next: u32,
    peer_prev: u32,
    peer_next: u32,
    message_id: u16,
    confirmable: bool,
}

/// What an entry is made of.
#[derive(Debug, Clone, Copy)]
pub(super) struct NewEntry {
    pub(super) peer: u32,
    pub(super) message_id: u16,
    pub(super) confirmable: bool,
    pub(super) hash: u64,
    pub(super) exchange: Key,
}

#[derive(Debug, Clone, Copy)]
struct Ends {
    oldest: u32,
    newest: u32,
}

const NO_ENDS: Ends = Ends { oldest: NIL, newest: NIL };

#[derive(Debug)]
pub(super) struct Deduplication {
    slab: Slab<Entry>,
    index: HashTable<u32>,
    hasher: DefaultHashBuilder,
    max: usize,
    /// Entries in the order they expire: CON, NON.
    lifetimes: [Ends; 2],
    /// Heads of the lists of peers by rank.
    ranks: [u32; RANKS],
}

fn rank(entries: u32) -> usize {
    (u32::BITS - entries.saturating_sub(1).leading_zeros()) as usize
}

impl Deduplication {
    pub(super) fn new(max: usize) -> Self {
        Deduplication {
            slab: Slab::default(),
            index: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
            max,
            lifetimes: [NO_ENDS; 2],
            ranks: [NIL; RANKS],
        }
    }

    /// What is beyond a smaller bound goes as its time comes.
    pub(super) fn set_max(&mut self, max: usize) {
        self.max = max;
    }

    pub(super) const fn len(&self) -> usize {
        self.slab.len()
    }

    pub(super) const fn is_full(&self) -> bool {
        self.slab.len() >= self.max
    }

    /// Tells a repetition from a reused message id.
    pub(super) fn hash(&self, datagram: &[u8]) -> u64 {
        self.hasher.hash_one(datagram)
    }

    pub(super) fn find(&self, peer: u32, message_id: u16, now: Instant) -> Option<Key> {
        let hash = self.hasher.hash_one((peer, message_id));
        let same = |slot: &u32| {
            self.slab.at(*slot).is_some_and(|e| e.peer == peer && e.message_id == message_id)
        };
        let slot = *self.index.find(hash, same)?;
        let alive = self.slab.at(slot).is_some_and(|entry| entry.expires > now);
        alive.then(|| self.slab.key_at(slot)).flatten()
    }

    pub(super) fn get(&self, key: Key) -> Option<&Entry> {
        self.slab.get(key)
    }

    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut Entry> {
        self.slab.get_mut(key)
    }

    /// Remembers a request. The caller has made room and has removed an entry of the same id.
    pub(super) fn insert(&mut self, peers: &mut Peers, now: Instant, new: NewEntry) -> Key {
        let lifetime = usize::from(!new.confirmable);
        let expires = now + if new.confirmable { EXCHANGE_LIFETIME } else { NON_LIFETIME };
        let prev = self.lifetimes.get(lifetime).map_or(NIL, |ends| ends.newest);
        let peer_prev = peers.at(new.peer).map_or(NIL, |state| state.newest_entry);
        let key = self.slab.insert(Entry {
            expires,
            hash: new.hash,
            progress: Progress::Pending(new.exchange),
            peer: new.peer,
            prev,
            next: NIL,
            peer_prev,
            peer_next: NIL,
            message_id: new.message_id,
            confirmable: new.confirmable,
        });
        if let Some(entry) = self.slab.at_mut(prev) {
            entry.next = key.slot;
        }
        if let Some(entry) = self.slab.at_mut(peer_prev) {
            entry.peer_next = key.slot;
        }
        if let Some(ends) = self.lifetimes.get_mut(lifetime) {
            ends.newest = key.slot;
            if prev == NIL {
                ends.oldest = key.slot;
            }
        }
        if let Some(state) = peers.at_mut(new.peer) {
            state.newest_entry = key.slot;
            if peer_prev == NIL {
                state.oldest_entry = key.slot;
            }
        }
        self.count(peers, new.peer, 1);
        let Deduplication { slab, index, hasher, .. } = self;
        let rehash = |slot: &u32| {
            slab.at(*slot).map_or(0, |entry| hasher.hash_one((entry.peer, entry.message_id)))
        };
        index.insert_unique(hasher.hash_one((new.peer, new.message_id)), key.slot, rehash);
        key
    }

    /// Forgets an entry. The caller releases the peer, and what the entry waited for.
    pub(super) fn remove(&mut self, peers: &mut Peers, slot: u32) -> Option<(u32, Progress)> {
        let entry = self.slab.at(slot)?;
        let hash = self.hasher.hash_one((entry.peer, entry.message_id));
        if let Ok(found) = self.index.find_entry(hash, |candidate| *candidate == slot) {
            found.remove();
        }
        let entry = self.slab.remove_at(slot)?;
        if let Some(prev) = self.slab.at_mut(entry.prev) {
            prev.next = entry.next;
        }
        if let Some(next) = self.slab.at_mut(entry.next) {
            next.prev = entry.prev;
        }
        if let Some(ends) = self.lifetimes.get_mut(usize::from(!entry.confirmable)) {
            if entry.prev == NIL {
                ends.oldest = entry.next;
            }
            if entry.next == NIL {
                ends.newest = entry.prev;
            }
        }
        self.unlink_from_peer(peers, &entry);
        self.count(peers, entry.peer, -1);
        if self.index.is_empty() {
            self.index = HashTable::new();
        }
        Some((entry.peer, entry.progress))
    }

    fn unlink_from_peer(&mut self, peers: &mut Peers, entry: &Entry) {
        if let Some(prev) = self.slab.at_mut(entry.peer_prev) {
            prev.peer_next = entry.peer_next;
        }
        if let Some(next) = self.slab.at_mut(entry.peer_next) {
            next.peer_prev = entry.peer_prev;
        }
        if let Some(state) = peers.at_mut(entry.peer) {
            if entry.peer_prev == NIL {
                state.oldest_entry = entry.peer_next;
            }
            if entry.peer_next == NIL {
                state.newest_entry = entry.peer_prev;
            }
        }
    }

    /// Changes a peer's number of entries and moves it to the list of its rank.
    fn count(&mut self, peers: &mut Peers, slot: u32, change: i32) {
        let Some(state) = peers.at_mut(slot) else { return };
        let before = state.entries;
        state.entries = before.saturating_add_signed(change);
        let after = state.entries;
        if before > 0 && after > 0 && rank(before) == rank(after) {
            return;
        }
        let (prev, next) = (state.busier_prev, state.busier_next);
        if before > 0 {
            if let Some(neighbour) = peers.at_mut(prev) {
                neighbour.busier_next = next;
            } else if let Some(head) = self.ranks.get_mut(rank(before)) {
                *head = next;
            }
            if let Some(neighbour) = peers.at_mut(next) {
                neighbour.busier_prev = prev;
            }
        }
        let head = match self.ranks.get_mut(rank(after)) {
            Some(head) if after > 0 => core::mem::replace(head, slot),
            _ => NIL,
        };
        if let Some(neighbour) = peers.at_mut(head) {
            neighbour.busier_prev = slot;
        }
        if let Some(state) = peers.at_mut(slot) {
            state.busier_prev = NIL;
            state.busier_next = head;
        }
    }

    /// Whose turn it is to go when the table is full; `None` when nobody may.
    pub(super) fn victim(&self, peers: &Peers, now: Instant) -> Option<u32> {
        let busiest = self.ranks.iter().skip(BUSY_RANK).rev().find(|head| **head != NIL);
        if let Some(state) = busiest.and_then(|slot| peers.at(*slot)) {
            return Some(state.oldest_entry);
        }
        let born = |ends: &Ends| {
            let entry = self.slab.at(ends.oldest)?;
            let lifetime = if entry.confirmable { EXCHANGE_LIFETIME } else { NON_LIFETIME };
            Some((entry.expires - lifetime, ends.oldest))
        };
        let (born, slot) = self.lifetimes.iter().filter_map(born).min()?;
        (born + PROTECTED_SPAN <= now).then_some(slot)
    }

    /// An entry whose time is over.
    pub(super) fn expired(&self, now: Instant) -> Option<u32> {
        self.lifetimes
            .iter()
            .map(|ends| ends.oldest)
            .find(|slot| self.slab.at(*slot).is_some_and(|entry| entry.expires <= now))
    }

    /// When the next entry expires.
    pub(super) fn next_expiry(&self) -> Option<Instant> {
        let expiry = |ends: &Ends| self.slab.at(ends.oldest).map(|entry| entry.expires);
        self.lifetimes.iter().filter_map(expiry).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;
    use core::net::SocketAddr;
    use motegate_message::{ListenerId, Peer};

    struct Table {
        dedup: Deduplication,
        peers: Peers,
    }

    impl Table {
        fn new(max: usize) -> Self {
            Table { dedup: Deduplication::new(max), peers: Peers::new(max) }
        }

        fn peer(&mut self, port: u16) -> u32 {
            let peer = Peer::new(ListenerId(0), SocketAddr::from(([127, 0, 0, 1], port)));
            self.peers.find_or_insert(peer, &mut Random::new(1)).slot
        }

        fn add(&mut self, peer: u32, message_id: u16, confirmable: bool, at: u64) -> Key {
            let exchange = Key { slot: 0, generation: 0 };
            let new = NewEntry { peer, message_id, confirmable, hash: 0, exchange };
            self.dedup.insert(&mut self.peers, Instant::from_secs(at), new)
        }

        fn remove(&mut self, slot: u32) {
            let (peer, _) = self.dedup.remove(&mut self.peers, slot).unwrap();
            self.peers.release(peer, Instant::ZERO);
        }
    }

    #[test]
    fn each_lifetime_expires_in_order() {
        let mut table = Table::new(100);
        let peer = table.peer(1);
        let con = table.add(peer, 1, true, 0);
        let non = table.add(peer, 2, false, 10);
        assert_eq!(table.dedup.next_expiry(), Some(Instant::from_secs(155)));
        assert_eq!(table.dedup.expired(Instant::from_secs(154)), None);
        assert_eq!(table.dedup.find(peer, 2, Instant::from_secs(155)), None);
        assert_eq!(table.dedup.expired(Instant::from_secs(155)), Some(non.slot));
        table.remove(non.slot);
        assert_eq!(table.dedup.find(peer, 1, Instant::from_secs(246)), Some(con));
        assert_eq!(table.dedup.expired(Instant::from_secs(247)), Some(con.slot));
        table.remove(con.slot);
        assert_eq!((table.dedup.len(), table.peers.len()), (0, 0));
        assert_eq!(table.dedup.next_expiry(), None);
        assert!(table.dedup.ranks.iter().all(|head| *head == NIL));
    }

    #[test]
    fn the_busiest_peer_gives_way_and_the_quiet_one_is_protected() {
        let mut table = Table::new(100);
        let (quiet, busy) = (table.peer(1), table.peer(2));
        let mut first_quiet = None;
        for id in 0..16 {
            let key = table.add(quiet, id, true, 0);
            first_quiet.get_or_insert(key.slot);
        }
        let mut first_busy = None;
        for id in 0..17 {
            let key = table.add(busy, id, true, 1);
            first_busy.get_or_insert(key.slot);
        }
        let at = |table: &Table, secs| table.dedup.victim(&table.peers, Instant::from_secs(secs));
        assert_eq!(at(&table, 2), first_busy);
        table.remove(first_busy.unwrap());
        assert_eq!(at(&table, 2), None); // both have 16, none is 45 s old
        assert_eq!(at(&table, 44), None);
        assert_eq!(at(&table, 45), first_quiet);
    }

    #[test]
    fn the_lists_survive_any_order_of_removal() {
        let mut table = Table::new(1_000);
        let mut random = Random::new(3);
        let mut live = alloc::vec::Vec::new();
        for step in 0..5_000_u16 {
            if live.len() < 300 && !random.next_u64().is_multiple_of(3) {
                let peer = table.peer(random.next_u16() % 7);
                live.push((peer, step, table.add(peer, step, step % 2 == 0, 0)));
            } else if !live.is_empty() {
                let at = usize::from(random.next_u16()) % live.len();
                let (_, _, key) = live.swap_remove(at);
                table.remove(key.slot);
            }
            assert_eq!(table.dedup.len(), live.len());
        }
        for (peer, id, key) in &live {
            assert_eq!(table.dedup.find(*peer, *id, Instant::ZERO), Some(*key));
            let own = live.iter().filter(|(other, ..)| other == peer).count();
            assert_eq!(table.peers.at(*peer).unwrap().entries as usize, own);
        }
        let mut expired = 0;
        while let Some(slot) = table.dedup.expired(Instant::from_secs(247)) {
            table.remove(slot);
            expired += 1;
        }
        assert_eq!((expired, table.peers.len()), (live.len(), 0));
    }

    #[test]
    fn replies_are_kept_in_place_when_small() {
        for len in [0, INLINE, INLINE + 1, 2_000] {
            let bytes = alloc::vec![7; len];
            let stored = Stored::new(&bytes);
            assert_eq!(stored.as_slice(), bytes);
            assert_eq!(matches!(stored, Stored::Inline(..)), len <= INLINE);
        }
        assert!(size_of::<Entry>() <= 80, "{}", size_of::<Entry>());
    }
}
