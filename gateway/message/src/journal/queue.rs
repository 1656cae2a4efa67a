//! The part of the journal that may be larger than memory: queues and the contents they share.
//!
//! A queue entry is written once and deleted once. Its key names the content that it shares with
//! other entries, so that the store can count, without reading: a content lives as long as an
//! entry names it, and is deleted by the store with the last one.

use alloc::vec::Vec;

use super::owner;
use crate::{DeliveryId, SessionId};

/// The key of a queue entry, in the order of sessions and, within one, of deliveries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueueKey {
    /// Whose queue.
    pub session: SessionId,
    /// Its place in it.
    pub delivery: DeliveryId,
    /// The number of the content that it shares with entries of other queues ([`content_key`]);
    /// 0 for an entry that holds its message itself.
    pub content: u64,
}

impl QueueKey {
    /// Bytes of a key.
    pub const LEN: usize = 1 + 3 * 8;

    /// As a record's key.
    #[must_use]
    pub fn to_bytes(self) -> [u8; Self::LEN] {
        let mut bytes = [owner::QUEUE; Self::LEN];
        let numbers = [self.session.get(), self.delivery.0, self.content];
        for (place, number) in bytes[1..].chunks_exact_mut(8).zip(numbers) {
            place.copy_from_slice(&number.to_be_bytes());
        }
        bytes
    }

    /// From a record's key; `None` when it is no queue entry's.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (&first, rest) = bytes.split_first()?;
        if first != owner::QUEUE || bytes.len() != Self::LEN {
            return None;
        }
        let mut numbers = rest.chunks_exact(8).map(|part| part.try_into().map(u64::from_be_bytes));
        let mut number = || numbers.next()?.ok();
        Some(QueueKey {
            session: SessionId::from_u64(number()?),
            delivery: DeliveryId(number()?),
            content: number()?,
        })
    }

    /// The beginning of the keys of one session's queue. A record that deletes exactly this key
    /// deletes the whole queue.
    #[must_use]
    pub fn prefix(session: SessionId) -> Vec<u8> {
        let mut prefix = Vec::with_capacity(9);
        prefix.push(owner::QUEUE);
        prefix.extend_from_slice(&session.get().to_be_bytes());
        prefix
    }
}

/// The key of a shared content; its number is never 0 and never used twice.
#[must_use]
pub fn content_key(number: u64) -> Vec<u8> {
    let mut key = Vec::with_capacity(9);
    key.push(owner::CONTENT);
    key.extend_from_slice(&number.to_be_bytes());
    key
}

/// The number in a content's key; `None` when it is none.
#[must_use]
pub fn content_number(key: &[u8]) -> Option<u64> {
    let (&first, rest) = key.split_first()?;
    (first == owner::CONTENT).then(|| rest.try_into().ok().map(u64::from_be_bytes)).flatten()
}

/// A queue entry as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueuedRecord {
    /// Which.
    pub key: QueueKey,
    /// Its own value.
    pub value: Vec<u8>,
    /// What it shares with others; `None` when it shares nothing, or when that is lost.
    pub content: Option<Vec<u8>>,
}

/// Which part of a queue is wanted: entries at or after `from`, in order, at least one if there is
/// one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageRequest {
    /// Whose queue.
    pub session: SessionId,
    /// The first entry that may be in it.
    pub from: DeliveryId,
    /// At most so many.
    pub max_entries: usize,
    /// No more of them once they have so many bytes.
    pub max_bytes: usize,
}

/// A part of a queue, in order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Page {
    /// Entries.
    pub entries: Vec<QueuedRecord>,
    /// When the page was read nothing followed.
    pub is_last: bool,
    /// The disk could not be read: what follows the entries of this page is lost.
    pub is_damaged: bool,
}

impl Page {
    /// Of what there is at or after the first entry that is wanted, as much as is wanted. `read`
    /// gives `None` where the disk cannot be read.
    pub fn of<T>(
        wanted: PageRequest,
        there: impl Iterator<Item = T>,
        mut read: impl FnMut(T) -> Option<QueuedRecord>,
    ) -> Page {
        let (mut page, mut bytes) = (Page::default(), 0);
        for place in there {
            let is_full = page.entries.len() >= wanted.max_entries || bytes >= wanted.max_bytes;
            if is_full && !page.entries.is_empty() {
                return page;
            }
            let Some(entry) = read(place) else {
                page.is_damaged = true;
                break;
            };
            bytes += entry.value.len() + entry.content.as_ref().map_or(0, Vec::len);
            page.entries.push(entry);
        }
        page.is_last = true;
        page
    }

    /// Whether nothing can come behind it.
    #[must_use]
    pub fn ends(&self) -> bool {
        self.is_last || self.is_damaged || self.entries.is_empty()
    }
}

/// What a store can be asked about an earlier life, and about queues at any time.
pub trait Saved {
    /// The value of one key of the state.
    fn value(&mut self, key: &[u8]) -> Option<Vec<u8>>;

    /// Every live key of the state with its value, in any order.
    fn state(&mut self, each: &mut dyn FnMut(&[u8], &[u8]));

    /// The first entry of a session's queue at or after `from`, and the last one.
    fn queue_ends(&mut self, session: SessionId, from: DeliveryId) -> Option<[QueuedRecord; 2]>;

    /// A part of a queue.
    fn page(&mut self, wanted: PageRequest) -> Page;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_in_the_order_of_sessions_and_deliveries() {
        let key = |session, delivery, content| QueueKey {
            session: SessionId::from_u64(session),
            delivery: DeliveryId(delivery),
            content,
        };
        let keys = [key(1, 2, 9), key(1, 256, 0), key(2, 1, 0), key(2, 1, 7)];
        assert!(keys.windows(2).all(|two| two[0].to_bytes() < two[1].to_bytes()));
        for key in keys {
            assert_eq!(QueueKey::from_bytes(&key.to_bytes()), Some(key));
            assert!(key.to_bytes().starts_with(&QueueKey::prefix(key.session)));
        }
        assert_eq!(QueueKey::from_bytes(&QueueKey::prefix(SessionId::from_u64(1))), None);
        assert_eq!(content_number(&content_key(7)), Some(7));
        assert_eq!(content_number(&keys[0].to_bytes()), None);
    }
}
