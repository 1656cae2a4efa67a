//! [`MemoryStore`]: what a store must do, in memory. Tests and the simulation restart gateways with it.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::ops::Bound;

use super::{
    Page, PageRequest, QueueKey, QueuedRecord, Record, Saved, content_key, content_number, owner,
};
use crate::{DeliveryId, SessionId};

/// Every live key, and how many queue entries name each content.
#[derive(Debug, Clone, Default)]
pub struct MemoryStore {
    records: BTreeMap<Vec<u8>, Vec<u8>>,
    uses: BTreeMap<u64, u64>,
}

impl MemoryStore {
    /// Applies a batch.
    pub fn apply(&mut self, batch: Vec<Record>) {
        let mut contents = Vec::new();
        for Record { key, value } in batch {
            match (QueueKey::from_bytes(&key), value) {
                (None, Some(value)) => {
                    contents.extend(content_number(&key));
                    self.records.insert(key, value);
                }
                (None, None) if key.first() == Some(&owner::QUEUE) => {
                    for key in self.starting_with(&key) {
                        contents.extend(self.delete_entry(&key));
                    }
                }
                (None, None) => drop(self.records.remove(&key)),
                (Some(entry), Some(value)) => {
                    if self.records.insert(key, value).is_none() && entry.content != 0 {
                        *self.uses.entry(entry.content).or_default() += 1;
                    }
                }
                (Some(_), None) => contents.extend(self.delete_entry(&key)),
            }
        }
        // At the end: within a batch a content may come before its first entry.
        for content in contents {
            if !self.uses.contains_key(&content) {
                self.records.remove(&content_key(content));
            }
        }
    }

    fn starting_with(&self, prefix: &[u8]) -> Vec<Vec<u8>> {
        let from = self.records.range(prefix.to_vec()..);
        from.map(|(key, _)| key.clone()).take_while(|key| key.starts_with(prefix)).collect()
    }

    /// The content that nobody may name any more.
    fn delete_entry(&mut self, key: &[u8]) -> Option<u64> {
        self.records.remove(key)?;
        let content = QueueKey::from_bytes(key)?.content;
        let uses = self.uses.get_mut(&content)?;
        *uses -= 1;
        if *uses == 0 {
            self.uses.remove(&content);
        }
        Some(content)
    }

    /// Every live key with its value.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.records.iter().map(|(key, value)| (key.as_slice(), value.as_slice()))
    }

    /// How many keys live.
    #[must_use]
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether none does.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    fn queue(
        &self,
        session: SessionId,
        from: DeliveryId,
    ) -> impl DoubleEndedIterator<Item = QueuedRecord> + '_ {
        let key = |delivery, content| QueueKey { session, delivery, content }.to_bytes().to_vec();
        let (from, to) = (key(from, 0), key(DeliveryId(u64::MAX), u64::MAX));
        let range = self.records.range((Bound::Included(from), Bound::Included(to)));
        range.filter_map(|(key, value)| {
            let key = QueueKey::from_bytes(key)?;
            let content = self.records.get(&content_key(key.content)).cloned();
            Some(QueuedRecord { key, value: value.clone(), content })
        })
    }
}

impl Saved for MemoryStore {
    fn value(&mut self, key: &[u8]) -> Option<Vec<u8>> {
        self.records.get(key).cloned()
    }

    fn state(&mut self, each: &mut dyn FnMut(&[u8], &[u8])) {
        for (key, value) in self.iter() {
            if !matches!(key.first(), Some(&(owner::QUEUE | owner::CONTENT))) {
                each(key, value);
            }
        }
    }

    fn queue_ends(&mut self, session: SessionId, from: DeliveryId) -> Option<[QueuedRecord; 2]> {
        let first = self.queue(session, from).next()?;
        let last = self.queue(session, from).next_back()?;
        Some([first, last])
    }

    fn page(&mut self, wanted: PageRequest) -> Page {
        Page::of(wanted, self.queue(wanted.session, wanted.from), Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(session: u64, delivery: u64, content: u64) -> QueueKey {
        let session = SessionId::from_u64(session);
        QueueKey { session, delivery: DeliveryId(delivery), content }
    }

    fn set(key: &[u8], value: &[u8]) -> Record {
        Record { key: key.to_vec(), value: Some(value.to_vec()) }
    }

    fn delete(key: &[u8]) -> Record {
        Record { key: key.to_vec(), value: None }
    }

    #[test]
    fn a_content_lives_as_long_as_an_entry_names_it() {
        let mut store = MemoryStore::default();
        let (one, two) = (entry(1, 1, 7).to_bytes(), entry(2, 1, 7).to_bytes());
        store.apply([set(&content_key(7), b"content"), set(&one, b"1"), set(&two, b"2")].into());
        store.apply([delete(&one), delete(&one)].into());
        assert!(store.value(&content_key(7)).is_some());
        store.apply([delete(&two)].into());
        assert!(store.is_empty(), "{store:?}");
    }

    #[test]
    fn a_queue_is_deleted_as_a_whole() {
        let mut store = MemoryStore::default();
        let keys = [entry(1, 1, 7), entry(1, 2, 0), entry(2, 1, 7), entry(2, 2, 8)];
        let mut batch = [set(&content_key(7), b"seven"), set(&content_key(8), b"eight")].to_vec();
        batch.extend(keys.map(|key| set(&key.to_bytes(), b"")));
        store.apply(batch);
        store.apply([delete(&QueueKey::prefix(SessionId::from_u64(2)))].into());
        assert_eq!(store.len(), 3, "{store:?}");
        store.apply([delete(&QueueKey::prefix(SessionId::from_u64(1)))].into());
        assert!(store.is_empty(), "{store:?}");
    }

    #[test]
    fn pages_come_in_order_and_say_when_they_end() {
        let mut store = MemoryStore::default();
        let session = SessionId::from_u64(1);
        let batch = (1..=5).map(|n| set(&entry(1, n, 0).to_bytes(), b"12345"));
        store.apply(batch.chain([set(&entry(2, 1, 0).to_bytes(), b"")]).collect());
        let mut page = |from, entries, bytes| {
            let from = DeliveryId(from);
            let wanted = PageRequest { session, from, max_entries: entries, max_bytes: bytes };
            let page = store.page(wanted);
            let ids: Vec<u64> = page.entries.iter().map(|entry| entry.key.delivery.0).collect();
            (ids, page.is_last)
        };
        assert_eq!(page(0, 3, 100), ([1, 2, 3].into(), false));
        assert_eq!(page(4, 3, 100), ([4, 5].into(), true));
        assert_eq!(page(1, 9, 6), ([1, 2].into(), false));
        assert_eq!(page(1, 0, 0), ([1].into(), false), "at least one");
        assert_eq!(page(6, 9, 9), (Vec::new(), true));
        let ends = store.queue_ends(session, DeliveryId(2)).expect("there are some");
        assert_eq!(ends.map(|end| end.key.delivery.0), [2, 5]);
    }
}
