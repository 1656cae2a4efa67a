//! [`Group`]: what several batches change together, before it is written.
//!
//! Batches are merged in their order: of two values of one key the later one wins, and a queue
//! entry that is set and deleted within the group is not written at all, nor is a content that
//! nobody names any more (most QoS 1 deliveries are acknowledged before their group is written).
//! How many entries name a content is counted here: it lives as long as one does
//! (`motegate_message::journal::MemoryStore` says the same in memory, batch by batch).
//!
//! A group knows how the database looked when it was made, so it is written once, or not at all.

use std::collections::BTreeMap;

use hashbrown::{HashMap, HashSet};
use motegate_message::journal::{QueueKey, content_number, owner};
use motegate_message::{DeliveryId, Record, Seq, SessionId};

use super::database::Database;

/// Counts of hot contents that are remembered; then all are forgotten.
const MAX_REMEMBERED: usize = 64 * 1024;

/// How many entries name a content.
#[derive(Debug, Clone, Copy, Default)]
struct Uses {
    now: u64,
    /// On disk; 0 for none.
    written: u64,
}

/// Counts of contents as they are on disk, of those that were written lately.
#[derive(Debug, Default)]
pub(crate) struct Counts(HashMap<u64, u64>);

impl Counts {
    /// After a failure the disk may hold something else.
    pub(crate) fn forget(&mut self) {
        self.0.clear();
    }
}

/// Changes that are written together.
#[derive(Debug, Default)]
pub(crate) struct Group {
    /// The last batch in it.
    pub(crate) last: Seq,
    /// How many batches.
    pub(crate) batches: u64,
    /// How many records came in.
    pub(crate) records: u64,
    /// Bytes that came in.
    pub(crate) bytes: usize,
    pub(crate) state: HashMap<Vec<u8>, Option<Vec<u8>>>,
    pub(crate) queue: BTreeMap<QueueKey, Option<Vec<u8>>>,
    pub(crate) contents: HashMap<u64, Option<Vec<u8>>>,
    uses: HashMap<u64, Uses>,
    /// Contents that the present batch has set or that lost an entry in it.
    touched: HashSet<u64>,
    /// Counts that could not be read.
    pub(crate) damaged: u64,
}

impl Group {
    /// Whether no batch is in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.batches == 0
    }

    /// Adds the next batch. `db` is what the group will be written to.
    pub(crate) fn add(&mut self, seq: Seq, batch: Vec<Record>, db: &Database, counts: &mut Counts) {
        self.last = seq;
        self.batches += 1;
        self.records += batch.len() as u64;
        for record in batch {
            self.bytes += record.key.len() + record.value.as_ref().map_or(0, Vec::len);
            self.record(record, db, counts);
        }
        // At its end: within a batch a content may come before its first entry.
        for number in std::mem::take(&mut self.touched) {
            let uses = *self.uses(number, db, counts);
            if uses.now == 0 {
                self.end_content(number, uses.written != 0);
            }
        }
    }

    fn end_content(&mut self, number: u64, may_be_written: bool) {
        match self.contents.get(&number) {
            // Written once: what this group has set is not on disk.
            Some(Some(_)) => drop(self.contents.remove(&number)),
            Some(None) => {}
            None if may_be_written => drop(self.contents.insert(number, None)),
            None => {}
        }
    }

    fn record(&mut self, Record { key, value }: Record, db: &Database, counts: &mut Counts) {
        match (QueueKey::from_bytes(&key), value) {
            (Some(entry), Some(value)) => {
                let before = self.queue.insert(entry, Some(value));
                if entry.content != 0 && !matches!(before, Some(Some(_))) {
                    self.uses(entry.content, db, counts).now += 1;
                }
            }
            (Some(entry), None) => self.delete_entry(entry, db, counts),
            (None, value) => match key.first() {
                Some(&owner::QUEUE) => self.delete_queue(&key, value.is_none(), db, counts),
                Some(&owner::CONTENT) => match content_number(&key) {
                    Some(number) => self.content(number, value, db, counts),
                    None => self.damaged += 1,
                },
                _ => {
                    self.state.insert(key, value);
                }
            },
        }
    }

    fn content(&mut self, number: u64, value: Option<Vec<u8>>, db: &Database, counts: &mut Counts) {
        if value.is_some() {
            self.contents.insert(number, value);
            self.touched.insert(number);
        } else {
            let written = self.uses(number, db, counts).written;
            self.end_content(number, written != 0);
        }
    }

    fn delete_entry(&mut self, entry: QueueKey, db: &Database, counts: &mut Counts) {
        match self.queue.get(&entry) {
            // Written once: what this group has set is not on disk.
            Some(Some(_)) => drop(self.queue.remove(&entry)),
            Some(None) => return,
            None => {
                // A second deletion must not take a second use.
                if entry.content != 0 && !db.has_entry(entry) {
                    return;
                }
                self.queue.insert(entry, None);
            }
        }
        if entry.content != 0 {
            let uses = self.uses(entry.content, db, counts);
            uses.now = uses.now.saturating_sub(1);
            self.touched.insert(entry.content);
        }
    }

    /// The record of a whole queue; anything else with this owner is nobody's.
    fn delete_queue(&mut self, key: &[u8], is_deleted: bool, db: &Database, counts: &mut Counts) {
        let session = key.get(1..).and_then(|rest| rest.try_into().ok()).map(u64::from_be_bytes);
        let Some(session) = session.filter(|_| is_deleted).map(SessionId::from_u64) else {
            self.damaged += 1;
            return;
        };
        let end = |delivery, content| QueueKey { session, delivery: DeliveryId(delivery), content };
        let here = self.queue.range(end(0, 0)..=end(u64::MAX, u64::MAX));
        let mut entries: Vec<QueueKey> =
            here.filter(|(_, value)| value.is_some()).map(|(key, _)| *key).collect();
        self.damaged += db.entries(session, &mut |entry| entries.push(entry));
        for entry in entries {
            self.delete_entry(entry, db, counts);
        }
    }

    fn uses(&mut self, number: u64, db: &Database, counts: &mut Counts) -> &mut Uses {
        let damaged = &mut self.damaged;
        self.uses.entry(number).or_insert_with(|| {
            let written = match counts.0.get(&number) {
                Some(written) => *written,
                // What cannot be counted stays: `motegate store check --repair` counts anew.
                None => db.uses(number).unwrap_or_else(|_| {
                    *damaged += 1;
                    u64::MAX / 2
                }),
            };
            Uses { now: written, written }
        })
    }

    /// The counts that change: number, and the new count or `None` for its end.
    pub(crate) fn changed_uses(&self) -> impl Iterator<Item = (u64, Option<u64>)> {
        let changed = self.uses.iter().filter(|(_, uses)| uses.now != uses.written);
        changed.map(|(number, uses)| (*number, (uses.now != 0).then_some(uses.now)))
    }

    /// The group is written: its counts are those on disk.
    pub(crate) fn remember(&self, counts: &mut Counts) {
        if counts.0.len() + self.uses.len() > MAX_REMEMBERED {
            counts.0 = HashMap::new();
        }
        for (number, uses) in &self.uses {
            match uses.now {
                0 => drop(counts.0.remove(number)),
                now => drop(counts.0.insert(*number, now)),
            }
        }
    }
}
