//! [`Store`]: the journal's disk. Batches are stored some time after they were written, in order; a
//! crash loses those that were not.

use std::collections::{BTreeMap, VecDeque};

use motegate_message::{Record, Seq};

use super::ctx::{MS, Micros, SEC};
use super::rng::Rng;

/// A key-value map and the batches on their way into it.
#[derive(Debug, Default)]
pub struct Store {
    map: BTreeMap<Vec<u8>, Vec<u8>>,
    waiting: VecDeque<(Seq, Vec<Record>)>,
    /// When the next group commit is done.
    pub due: Option<Micros>,
    last: Seq,
    /// Batches stored.
    pub batches: u64,
    /// The slow disk got well.
    pub fast: bool,
}

impl Store {
    /// Takes a batch.
    ///
    /// # Errors
    /// Batches out of order.
    pub fn push(
        &mut self,
        rng: &mut Rng,
        now: Micros,
        seq: Seq,
        batch: Vec<Record>,
    ) -> Result<(), String> {
        if seq <= self.last {
            return Err(format!("batch {} after {}", seq.0, self.last.0));
        }
        self.last = seq;
        self.waiting.push_back((seq, batch));
        let delay = if self.fast {
            2 * MS
        } else if rng.chance(60) {
            rng.range(200 * MS, 3 * SEC)
        } else {
            rng.range(MS, 60 * MS)
        };
        self.due.get_or_insert(now + delay);
        Ok(())
    }

    /// A group commit is done: some or all of what waits is stored. Gives how far it came.
    pub fn commit(&mut self, rng: &mut Rng, now: Micros) -> Option<Seq> {
        let count =
            if rng.chance(300) { 1 + rng.index(self.waiting.len()) } else { self.waiting.len() };
        let mut done = None;
        for _ in 0..count {
            let Some((seq, batch)) = self.waiting.pop_front() else { break };
            self.apply(batch);
            done = Some(seq);
        }
        self.due = if self.waiting.is_empty() { None } else { Some(now + rng.range(MS, 30 * MS)) };
        done
    }

    fn apply(&mut self, batch: Vec<Record>) {
        self.batches += 1;
        for record in batch {
            match record.value {
                Some(value) => self.map.insert(record.key, value),
                None => self.map.remove(&record.key),
            };
        }
    }

    /// Power is gone: what waits is lost, but for a few batches that reached the disk without
    /// anybody having been told.
    pub fn crash(&mut self, rng: &mut Rng) {
        let reached = if rng.chance(400) { rng.index(self.waiting.len() + 1) } else { 0 };
        for _ in 0..reached {
            if let Some((_, batch)) = self.waiting.pop_front() {
                self.apply(batch);
            }
        }
        self.waiting.clear();
        self.due = None;
        self.last = Seq::NONE;
    }

    /// Every live key, in some order.
    #[must_use]
    pub fn records(&self, rng: &mut Rng) -> Vec<(&[u8], &[u8])> {
        let mut all: Vec<(&[u8], &[u8])> =
            self.map.iter().map(|(k, v)| (k.as_slice(), v.as_slice())).collect();
        if rng.chance(300) {
            all.reverse();
        } else if rng.chance(300) {
            for i in (1..all.len()).rev() {
                all.swap(i, rng.index(i + 1));
            }
        }
        all
    }

    /// Live keys.
    #[must_use]
    pub fn len(&self) -> usize {
        self.map.len()
    }

    /// Whether nothing is stored.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.map.is_empty()
    }

    /// Live keys by their first two bytes, for the report of a journal that grows.
    #[must_use]
    pub fn census(&self) -> BTreeMap<String, usize> {
        let mut census = BTreeMap::new();
        for key in self.map.keys() {
            let kind = String::from_utf8_lossy(&key[..key.len().min(2)]).into_owned();
            *census.entry(kind).or_insert(0) += 1;
        }
        census
    }
}
