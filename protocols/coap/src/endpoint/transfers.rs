//! [`Transfers`]: bodies of which a part has come, or left, and the rest is awaited (RFC 7959).
//!
//! A transfer is found by its peer and its operation: the method and every option that the request
//! must have in common with the next one (RFC 9175 §3.3). All of them wait equally long, so that one
//! list, the longest untouched first, serves expiry and eviction. Bounds are the caller's to keep:
//! `bytes` says what all of them take, room for growth and names included.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::hash::BuildHasher;
use core::time::Duration;

use bytes::Bytes;
use hashbrown::{DefaultHashBuilder, HashTable};
use motegate_timers::Instant;

use super::body::Body;
use crate::slab::{Key, NIL, Slab};

/// Bytes of a transfer besides its body and its operation.
const OVERHEAD: usize = 256;

/// Transfers that are looked at for one of a peer's.
const LOOKED_AT: usize = 256;

/// What is there of a body.
#[derive(Debug)]
pub(super) enum State {
    /// A request's, as far as it has come, and how long its last block is.
    Upload { body: Vec<u8>, last: usize },
    /// A response's, to be cut.
    Answer(Box<Body>),
}

impl State {
    fn bytes(&self) -> usize {
        match self {
            State::Upload { body, .. } => body.capacity(),
            State::Answer(body) => body.payload.len(),
        }
    }
}

#[derive(Debug)]
struct Transfer {
    peer: Key,
    operation: Box<[u8]>,
    state: State,
    touched: Instant,
    /// Neighbours by `touched`.
    older: u32,
    newer: u32,
}

impl Transfer {
    fn bytes(&self) -> usize {
        OVERHEAD + self.operation.len() + self.state.bytes()
    }
}

#[derive(Debug)]
pub(super) struct Transfers {
    slab: Slab<Transfer>,
    index: HashTable<u32>,
    hasher: DefaultHashBuilder,
    oldest: u32,
    newest: u32,
    bytes: usize,
}

impl Transfers {
    pub(super) fn new() -> Self {
        Transfers {
            slab: Slab::default(),
            index: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
            oldest: NIL,
            newest: NIL,
            bytes: 0,
        }
    }

    pub(super) const fn len(&self) -> usize {
        self.slab.len()
    }

    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes of a new transfer of so large a body.
    pub(super) const fn cost(operation: &[u8], body: usize) -> usize {
        OVERHEAD + operation.len() + body
    }

    pub(super) fn find(&self, peer: Key, operation: &[u8]) -> Option<Key> {
        let hash = self.hasher.hash_one((peer.slot, operation));
        let same = |slot: &u32| {
            self.slab.at(*slot).is_some_and(|t| t.peer == peer && *t.operation == *operation)
        };
        self.slab.key_at(*self.index.find(hash, same)?)
    }

    pub(super) fn state(&self, key: Key) -> Option<&State> {
        self.slab.get(key).map(|transfer| &transfer.state)
    }

    /// The caller has removed one of the same peer and operation.
    pub(super) fn insert(
        &mut self,
        now: Instant,
        peer: Key,
        operation: Box<[u8]>,
        state: State,
    ) -> Key {
        let hash = self.hasher.hash_one((peer.slot, &*operation));
        let (older, newer) = (NIL, NIL);
        let transfer = Transfer { peer, operation, state, touched: now, older, newer };
        self.bytes += transfer.bytes();
        let key = self.slab.insert(transfer);
        self.link(key.slot);
        let Transfers { slab, index, hasher, .. } = self;
        let rehash = |slot: &u32| {
            slab.at(*slot).map_or(0, |t| hasher.hash_one((t.peer.slot, &*t.operation)))
        };
        index.insert_unique(hash, key.slot, rehash);
        key
    }

    /// Another block of a request's body.
    pub(super) fn append(&mut self, now: Instant, key: Key, block: &[u8]) {
        if let Some(transfer) = self.slab.get_mut(key)
            && let State::Upload { body, last } = &mut transfer.state
        {
            let before = body.capacity();
            body.extend_from_slice(block);
            *last = block.len();
            self.bytes += body.capacity() - before;
        }
        self.touch(now, key);
    }

    /// It has been asked for again.
    pub(super) fn touch(&mut self, now: Instant, key: Key) {
        let Some(transfer) = self.slab.get_mut(key) else { return };
        transfer.touched = now;
        self.unlink(key.slot);
        self.link(key.slot);
    }

    /// The peer that it was of, and what there was.
    pub(super) fn remove(&mut self, key: Key) -> Option<(Key, Option<Bytes>)> {
        self.slab.get(key)?;
        self.unlink(key.slot);
        let gone = self.slab.remove(key)?;
        self.bytes -= gone.bytes();
        let hash = self.hasher.hash_one((gone.peer.slot, &*gone.operation));
        if let Ok(found) = self.index.find_entry(hash, |slot| *slot == key.slot) {
            found.remove();
        }
        if self.index.is_empty() {
            self.index = HashTable::new();
        }
        let body = match gone.state {
            State::Upload { body, .. } => Some(Bytes::from(body.into_boxed_slice())),
            State::Answer(_) => None,
        };
        Some((gone.peer, body))
    }

    /// Of the answers to a peer the one that has waited longest, if it is among the first to go.
    pub(super) fn oldest_answer(&self, peer: Key) -> Option<Key> {
        let mut slot = self.oldest;
        for _ in 0..LOOKED_AT {
            let transfer = self.slab.at(slot)?;
            if transfer.peer == peer && matches!(transfer.state, State::Answer(_)) {
                return self.slab.key_at(slot);
            }
            slot = transfer.newer;
        }
        None
    }

    /// The one that has waited longest, if it has waited for `timeout`.
    pub(super) fn idle(&self, now: Instant, timeout: Duration) -> Option<Key> {
        let oldest = self.slab.at(self.oldest)?;
        (oldest.touched + timeout <= now).then(|| self.slab.key_at(self.oldest)).flatten()
    }

    /// When the first has waited for `timeout`.
    pub(super) fn next_expiry(&self, timeout: Duration) -> Option<Instant> {
        self.slab.at(self.oldest).map(|transfer| transfer.touched + timeout)
    }

    fn link(&mut self, slot: u32) {
        let newest = core::mem::replace(&mut self.newest, slot);
        if let Some(before) = self.slab.at_mut(newest) {
            before.newer = slot;
        } else {
            self.oldest = slot;
        }
        if let Some(transfer) = self.slab.at_mut(slot) {
            (transfer.older, transfer.newer) = (newest, NIL);
        }
    }

    fn unlink(&mut self, slot: u32) {
        let Some(transfer) = self.slab.at(slot) else { return };
        let (older, newer) = (transfer.older, transfer.newer);
        match self.slab.at_mut(older) {
            Some(before) => before.newer = newer,
            None => self.oldest = newer,
        }
        match self.slab.at_mut(newer) {
            Some(after) => after.older = older,
            None => self.newest = older,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    fn peer(slot: u32) -> Key {
        Key { slot, generation: 1 }
    }

    fn upload(bytes: usize) -> State {
        State::Upload { body: alloc::vec![0; bytes], last: bytes }
    }

    #[test]
    fn the_longest_untouched_is_the_first_to_go() {
        let mut transfers = Transfers::new();
        let at = Instant::from_secs;
        let timeout = Duration::from_secs(30);
        let first = transfers.insert(at(1), peer(1), b"put x".as_slice().into(), upload(16));
        let second = transfers.insert(at(2), peer(1), b"put y".as_slice().into(), upload(16));
        assert_eq!(transfers.find(peer(1), b"put x"), Some(first));
        assert_eq!(transfers.find(peer(2), b"put x"), None, "another peer's");
        assert_eq!(transfers.next_expiry(timeout), Some(at(31)));
        transfers.append(at(3), first, &[1; 16]);
        assert_eq!(transfers.next_expiry(timeout), Some(at(32)));
        assert_eq!(transfers.idle(at(31), timeout), None);
        assert_eq!(transfers.idle(at(32), timeout), Some(second));
        transfers.remove(second);
        assert_eq!(transfers.idle(at(33), timeout), Some(first));
        let (_, body) = transfers.remove(first).unwrap();
        assert_eq!(body.unwrap().len(), 32);
        assert_eq!(
            (transfers.len(), transfers.bytes(), transfers.next_expiry(timeout)),
            (0, 0, None)
        );
    }

    #[test]
    fn bytes_are_those_of_all_that_is_there() {
        let mut transfers = Transfers::new();
        let mut random = Random::new(5);
        let mut live: Vec<Key> = Vec::new();
        for step in 0..3_000_u32 {
            let now = Instant::from_secs(step.into());
            match random.next_u64() % 4 {
                0 | 1 => {
                    let operation = step.to_be_bytes().as_slice().into();
                    live.push(transfers.insert(now, peer(step % 9), operation, upload(100)));
                }
                2 if !live.is_empty() => {
                    let at = usize::from(random.next_u16()) % live.len();
                    transfers.append(now, live[at], &[7; 300]);
                }
                _ if !live.is_empty() => {
                    let at = usize::from(random.next_u16()) % live.len();
                    transfers.remove(live.swap_remove(at));
                }
                _ => {}
            }
            let sum: usize = live.iter().map(|key| transfers.slab.get(*key).unwrap().bytes()).sum();
            assert_eq!((transfers.bytes(), transfers.len()), (sum, live.len()));
        }
        let mut left = live.len();
        while let Some(key) = transfers.idle(Instant::from_secs(9_999), Duration::ZERO) {
            transfers.remove(key);
            left -= 1;
        }
        assert_eq!((left, transfers.bytes()), (0, 0), "the list names every one");
    }
}
