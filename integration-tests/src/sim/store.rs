//! [`Store`]: the journal's disk. Batches are stored some time after they were written, in order; a
//! crash loses those that were not. Queues are read when everything handed over before is stored.

use std::collections::{BTreeMap, VecDeque};

use motegate_message::journal::{MemoryStore, Page, QueuedRecord, Saved};
use motegate_message::{DeliveryId, Record, Seq, SessionId};

use super::ctx::{MS, Micros, SEC};
use super::rng::Rng;

/// A part of a queue that is to be read.
#[derive(Debug)]
struct Fetch {
    /// When this batch is stored.
    after: Seq,
    session: SessionId,
    from: DeliveryId,
    max_entries: usize,
    max_bytes: usize,
}

/// What is stored, and the batches on their way there.
#[derive(Debug, Default)]
pub struct Store {
    disk: MemoryStore,
    fetches: VecDeque<Fetch>,
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
        self.disk.apply(batch);
    }

    /// Asks for a part of a queue.
    pub fn fetch(&mut self, session: SessionId, from: DeliveryId, max: (usize, usize)) {
        let (max_entries, max_bytes) = max;
        let after = self.waiting.back().map_or(Seq::NONE, |(seq, _)| *seq);
        self.fetches.push_back(Fetch { after, session, from, max_entries, max_bytes });
    }

    /// The next answer, if its time has come.
    pub fn fetched(&mut self) -> Option<(SessionId, Page)> {
        let stored = self.waiting.front().map_or(Seq(u64::MAX), |(seq, _)| *seq);
        self.fetches.front().filter(|fetch| fetch.after < stored)?;
        let Fetch { session, from, max_entries, max_bytes, .. } = self.fetches.pop_front()?;
        Some((session, self.disk.page(session, from, max_entries, max_bytes)))
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
        self.fetches.clear();
        self.due = None;
        self.last = Seq::NONE;
    }

    /// What a new process finds.
    pub fn saved<'s>(&'s mut self, rng: &'s mut Rng) -> impl Saved + use<'s> {
        Found { disk: &mut self.disk, rng }
    }

    /// Live keys.
    #[must_use]
    pub fn len(&self) -> usize {
        self.disk.len()
    }

    /// Whether nothing is stored.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.disk.is_empty()
    }

    /// Live keys by their first two bytes, for the report of a journal that grows.
    #[must_use]
    pub fn census(&self) -> BTreeMap<String, usize> {
        let mut census = BTreeMap::new();
        for (key, _) in self.disk.iter() {
            let kind = String::from_utf8_lossy(&key[..key.len().min(2)]).into_owned();
            *census.entry(kind).or_insert(0) += 1;
        }
        census
    }
}

/// The disk, whose state comes in some order.
struct Found<'s> {
    disk: &'s mut MemoryStore,
    rng: &'s mut Rng,
}

impl Saved for Found<'_> {
    fn value(&mut self, key: &[u8]) -> Option<Vec<u8>> {
        self.disk.value(key)
    }

    fn state(&mut self, each: &mut dyn FnMut(&[u8], &[u8])) {
        let mut all = Vec::new();
        self.disk.state(&mut |key, value| all.push((key.to_vec(), value.to_vec())));
        if self.rng.chance(300) {
            all.reverse();
        } else if self.rng.chance(300) {
            for i in (1..all.len()).rev() {
                all.swap(i, self.rng.index(i + 1));
            }
        }
        all.iter().for_each(|(key, value)| each(key, value));
    }

    fn queue_ends(&mut self, session: SessionId, from: DeliveryId) -> Option<[QueuedRecord; 2]> {
        self.disk.queue_ends(session, from)
    }

    fn page(
        &mut self,
        session: SessionId,
        from: DeliveryId,
        max_entries: usize,
        max_bytes: usize,
    ) -> Page {
        self.disk.page(session, from, max_entries, max_bytes)
    }
}
