//! [`Store`]: the journal's disk. Batches are written and synced some time after they were handed
//! over, in order; reads see what is written. Syncs are slow now and then, or fail, once or often,
//! and succeed after all; a part of what failed may have reached the disk. A crash leaves what was
//! synced and an arbitrary number of the batches behind it: a batch is whole or not there.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use motegate_message::journal::{MemoryStore, Page, PageRequest, QueueKey, QueuedRecord, Saved};
use motegate_message::{DeliveryId, Record, Seq, SessionId};

use super::ctx::{MS, Micros, SEC};
use super::rng::Rng;

/// Pauses between attempts while it fails.
const FIRST_PAUSE: Micros = 50 * MS;
const LAST_PAUSE: Micros = SEC;

/// A part of a queue that is to be read.
#[derive(Debug)]
struct Fetch {
    /// When this batch is written.
    after: Seq,
    wanted: PageRequest,
}

/// What is wrong with the disk of a run.
#[derive(Debug, Clone, Copy, Default)]
pub struct Troubles {
    /// Syncs that fail, of a thousand.
    pub failures: u64,
    /// Reads that find damage, of a thousand.
    pub damages: u64,
    /// A planted fault: who asks is told that a failed sync was a good one.
    pub lies: bool,
}

/// It fails.
#[derive(Debug)]
struct Failing {
    /// Attempts that will fail, too.
    attempts: u64,
    pause: Micros,
}

/// What a commit has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Done {
    /// Everything up to this batch is stored.
    Committed(Seq),
    /// Nothing more can be stored now.
    Failed,
    /// Not yet.
    Nothing,
}

/// What is stored, and the batches on their way there.
#[derive(Debug, Default)]
pub struct Store {
    /// What a loss of power leaves.
    disk: MemoryStore,
    /// What was written: what reads see, and what the end of the process leaves.
    file: MemoryStore,
    fetches: VecDeque<Fetch>,
    /// What is not known to be on the disk.
    waiting: VecDeque<(Seq, Vec<Record>)>,
    /// How many of them are in the file.
    written: usize,
    /// Entries that cannot be read any more.
    bad: BTreeSet<QueueKey>,
    /// How many are on the disk, without anybody knowing it.
    reached: usize,
    failing: Option<Failing>,
    /// What this disk suffers from.
    pub troubles: Troubles,
    /// When the next group commit is done.
    pub due: Option<Micros>,
    last: Seq,
    /// Batches stored.
    pub batches: u64,
    /// Times that it began to fail.
    pub failures: u64,
    /// Reads that were answered with less than was there.
    pub damaged: u64,
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
            let slowest = if rng.chance(100) { 12 * SEC } else { 3 * SEC };
            rng.range(200 * MS, slowest)
        } else {
            rng.range(MS, 60 * MS)
        };
        self.due.get_or_insert(now + delay);
        Ok(())
    }

    /// Whether it fails now.
    #[must_use]
    pub fn is_failing(&self) -> bool {
        self.failing.is_some()
    }

    /// From now on nothing goes wrong any more.
    pub fn heal(&mut self) {
        self.fast = true;
        self.troubles = Troubles { lies: self.troubles.lies, ..Troubles::default() };
        if let Some(failing) = &mut self.failing {
            failing.attempts = 0;
        }
    }

    /// The time of a group commit has come: some or all of what waits is written, perhaps synced.
    pub fn commit(&mut self, rng: &mut Rng, now: Micros) -> Done {
        if let Some(failing) = &mut self.failing {
            if failing.attempts > 0 {
                failing.attempts -= 1;
                failing.pause = (failing.pause * 2).min(LAST_PAUSE);
                self.due = Some(now + failing.pause);
                return Done::Nothing;
            }
            return self.recover(rng, now);
        }
        let all = self.waiting.len();
        let count = if rng.chance(300) && all > 0 { 1 + rng.index(all) } else { all };
        let count = count.max(self.written);
        self.write(count);
        if !self.fast && rng.chance(200) {
            // Written, and read, before it is synced.
            self.due = Some(now + rng.range(MS, 30 * MS));
            return Done::Nothing;
        }
        if rng.chance(self.troubles.failures) {
            return self.fail(rng, now, count);
        }
        let done = self.sync(count);
        self.due = if self.waiting.is_empty() { None } else { Some(now + rng.range(MS, 30 * MS)) };
        done
    }

    /// The first so many of what waits are in the file.
    fn write(&mut self, count: usize) {
        while self.written < count {
            let (_, batch) = &self.waiting[self.written];
            self.file.apply(batch.clone());
            self.written += 1;
        }
    }

    /// The first so many of what waits are on the disk, and that is known.
    fn sync(&mut self, count: usize) -> Done {
        let mut done = Done::Nothing;
        for _ in 0..count {
            let Some((seq, batch)) = self.waiting.pop_front() else { break };
            self.batches += 1;
            if self.reached == 0 {
                self.disk.apply(batch);
            }
            self.reached = self.reached.saturating_sub(1);
            self.written = self.written.saturating_sub(1);
            done = Done::Committed(seq);
        }
        done
    }

    fn fail(&mut self, rng: &mut Rng, now: Micros, count: usize) -> Done {
        self.failures += 1;
        if self.troubles.lies {
            // The system has dropped what it could not write.
            self.written = self.written.saturating_sub(count);
            self.due = Some(now + rng.range(MS, 30 * MS)).filter(|_| count < self.waiting.len());
            let last = self.waiting.drain(..count).next_back();
            return last.map_or(Done::Nothing, |(seq, _)| Done::Committed(seq));
        }
        let reached = if rng.chance(400) { rng.index(count + 1) } else { 0 };
        self.reach(reached);
        let attempts = if rng.chance(500) { rng.below(3) } else { rng.below(12) };
        self.failing = Some(Failing { attempts, pause: FIRST_PAUSE });
        self.due = Some(now + FIRST_PAUSE);
        Done::Failed
    }

    /// The first so many of what waits are on the disk, without anybody knowing it.
    fn reach(&mut self, count: usize) {
        while self.reached < count.min(self.waiting.len()) {
            let (_, batch) = &self.waiting[self.reached];
            self.disk.apply(batch.clone());
            self.reached += 1;
        }
        self.write(self.reached);
    }

    /// It is opened again: what of the kept batches is there counts, the rest follows.
    fn recover(&mut self, rng: &mut Rng, now: Micros) -> Done {
        self.failing = None;
        let count = if rng.chance(300) { self.reached } else { self.waiting.len() };
        self.write(count);
        let done = self.sync(count);
        self.due = if self.waiting.is_empty() { None } else { Some(now + rng.range(MS, 30 * MS)) };
        done
    }

    /// Asks for a part of a queue.
    pub fn fetch(&mut self, wanted: PageRequest) {
        let after = self.waiting.back().map_or(Seq::NONE, |(seq, _)| *seq);
        self.fetches.push_back(Fetch { after, wanted });
    }

    /// The next answer, if its time has come.
    pub fn fetched(&mut self, rng: &mut Rng) -> Option<(SessionId, Page)> {
        let unwritten = self.waiting.get(self.written).map_or(Seq(u64::MAX), |(seq, _)| *seq);
        let ready = |fetch: &&Fetch| fetch.after < unwritten;
        self.fetches.front().filter(|_| self.failing.is_none()).filter(ready)?;
        let Fetch { wanted, .. } = self.fetches.pop_front()?;
        let mut page = self.file.page(wanted);
        if rng.chance(self.troubles.damages) && !page.entries.is_empty() {
            self.bad.extend(page.entries.drain(rng.index(page.entries.len())..).map(|e| e.key));
            page = self.file.page(wanted);
        }
        end_at_damage(&mut page, &self.bad);
        self.damaged += u64::from(page.is_damaged);
        Some((wanted.session, page))
    }

    /// The process ends, or power is gone: a few batches have reached the disk without anybody having
    /// been told.
    pub fn crash(&mut self, rng: &mut Rng) {
        let reached = match rng.below(10) {
            _ if self.troubles.lies => 0,
            // Only the process: the system has what was written.
            0..3 => self.written,
            3..7 => rng.index(self.waiting.len() + 1),
            _ => 0,
        };
        self.reach(reached);
        self.batches += self.reached as u64;
        self.waiting.clear();
        (self.written, self.reached, self.failing) = (0, 0, None);
        self.file = self.disk.clone();
        self.fetches.clear();
        self.due = None;
        self.last = Seq::NONE;
    }

    /// What a new process finds.
    pub fn saved<'s>(&'s mut self, rng: &'s mut Rng) -> impl Saved + use<'s> {
        Found { disk: &mut self.disk, bad: &self.bad, rng }
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
    bad: &'s BTreeSet<QueueKey>,
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

    fn page(&mut self, wanted: PageRequest) -> Page {
        let mut page = self.disk.page(wanted);
        end_at_damage(&mut page, self.bad);
        page
    }
}

/// A page ends where it cannot be read further.
fn end_at_damage(page: &mut Page, bad: &BTreeSet<QueueKey>) {
    if let Some(first) = page.entries.iter().position(|entry| bad.contains(&entry.key)) {
        page.entries.truncate(first);
        (page.is_last, page.is_damaged) = (false, true);
    }
}
