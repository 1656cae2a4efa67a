//! [`Writer`]: the store's thread. Group commit, fetches between groups, and what happens when the
//! disk fails.
//!
//! A round takes all that has arrived, in order. Batches become a group; a fetch has the batches
//! before it written (not synced) and is answered; at the end one sync makes everything durable,
//! and the worker is told. So a round lasts as long as one sync, and the next one takes what has
//! arrived meanwhile: one lone batch waits for one sync, many share one.
//!
//! What is not known to be on disk is kept. When a write or a sync fails the database is closed
//! (fjall takes no more writes then, and is right) and opened again, after a pause that grows up
//! to a second, until everything kept is written: `applied` in the database says what of it had
//! reached the disk after all. Nothing is acknowledged in between.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use motegate_message::journal::PageRequest;
use motegate_message::{Reason, Seq};
use motegate_timers::{Instant, earliest};
use ringbuf::traits::{Consumer as _, Observer as _, Producer as _};
use ringbuf::{HeapCons, HeapProd};

use super::counters::add;
use super::database::Database;
use super::directory::{Directory, Mark};
use super::disk::{Request, Shared};
use super::error::{in_words, system_error};
use super::group::{Counts, Group};
use super::open::Opened;
use super::space::Space;
use super::{Report, SyncPolicy, journal};
use crate::clock::Clock;

/// Bytes of batches that one round takes at most.
const MAX_GROUP: usize = 8 * 1024 * 1024;
/// Fetches that one round answers at most.
const MAX_FETCHES: usize = 64;
/// How often the note beside the store is written, and `process_crash` synced.
const TIDY: Duration = Duration::from_secs(1);
/// Pauses between attempts.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LAST_PAUSE: Duration = Duration::from_secs(1);
/// How long a write waits between two looks at tables that are being written.
const BEHIND_PAUSE: Duration = Duration::from_millis(2);
/// How long a stopping gateway goes on trying.
const LAST_TRIES: Duration = Duration::from_secs(5);

/// What is about to be done to the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// A group is written.
    Write,
    /// What was written is forced to the disk.
    Sync,
    /// The database is opened again.
    Reopen,
}

/// Asked before each step; an error is that of the step. For tests.
pub(crate) type Faults = Box<dyn FnMut(Step) -> io::Result<()> + Send>;

/// Something that others want done between two groups.
pub(crate) type Job = Box<dyn FnOnce(&Database, u64) + Send>;

/// Why a step failed.
#[derive(Debug)]
enum Failed {
    Store(fjall::Error),
    System(io::Error),
}

impl From<fjall::Error> for Failed {
    fn from(error: fjall::Error) -> Self {
        Failed::Store(error)
    }
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Self {
        Failed::System(error)
    }
}

/// The disk does not take what it should.
#[derive(Debug)]
struct Failing {
    since: Instant,
    next: Instant,
    pause: Duration,
    attempts: u64,
    /// What the log has said.
    told: String,
    /// A sync has failed: the system may take bytes for written that are not.
    distrusted: bool,
}

/// The thread's whole state.
pub(super) struct Writer {
    requests: HeapCons<Request>,
    reports: HeapProd<Report>,
    jobs: mpsc::Receiver<Job>,
    shared: Arc<Shared>,
    faults: Option<Faults>,
    clock: Clock,
    directory: Directory,
    sync: SyncPolicy,
    mark: Mark,
    /// `None` while it fails.
    db: Option<Database>,
    /// Batches of earlier lives: the core counts from 1 in each.
    base: u64,
    inbox: VecDeque<Request>,
    /// Reports that found no place.
    outbox: VecDeque<Report>,
    /// Groups that are not known to be as durable as configured.
    kept: VecDeque<Group>,
    /// How many of them are written.
    written: usize,
    counts: Counts,
    failing: Option<Failing>,
    /// The worker believes that it fails; what is committed tells it otherwise.
    told_failed: bool,
    /// The last batch of this life that is stored.
    last: Seq,
    /// When the note beside the store is written, if it is behind.
    mark_at: Option<Instant>,
    /// When what is with the system is forced to the disk (`process_crash`).
    sync_at: Option<Instant>,
    space: Space,
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.shared.ended.store(true, Release);
        self.shared.waker.wake();
    }
}

impl Writer {
    pub(super) fn new(
        opened: Opened,
        requests: HeapCons<Request>,
        reports: HeapProd<Report>,
        jobs: mpsc::Receiver<Job>,
        shared: Arc<Shared>,
        faults: Option<Faults>,
    ) -> Self {
        Writer {
            requests,
            reports,
            jobs,
            shared,
            faults,
            clock: Clock::start(),
            directory: opened.directory,
            sync: opened.sync,
            mark: opened.mark,
            db: Some(opened.db),
            base: opened.applied,
            inbox: VecDeque::new(),
            outbox: VecDeque::new(),
            kept: VecDeque::new(),
            written: 0,
            counts: Counts::default(),
            failing: None,
            told_failed: false,
            last: Seq::NONE,
            mark_at: None,
            sync_at: None,
            space: Space::new(opened.idle),
        }
    }

    /// Until nothing more comes and everything is stored.
    pub(super) fn run(mut self) {
        let mut stop_by = None;
        loop {
            let stopping = self.shared.stop.load(Acquire);
            self.take();
            let now = self.clock.now();
            match &self.failing {
                Some(failing) if now < failing.next => {}
                Some(_) => self.retry(),
                None => self.round(),
            }
            for job in self.jobs.try_iter() {
                if let Some(db) = &self.db {
                    job(db, self.shared.counters.applied.load(Relaxed));
                }
            }
            self.deliver();
            self.tidy();
            let idle = self.inbox.is_empty() && self.requests.is_empty();
            if stopping {
                let stop_by = *stop_by.get_or_insert(now + LAST_TRIES);
                if idle && self.kept.is_empty() || self.failing.is_some() && now >= stop_by {
                    break;
                }
            }
            if idle || self.failing.is_some() {
                self.park(stopping);
            }
        }
        self.close();
    }

    /// Sleeps until somebody wants something, or a time has come.
    fn park(&self, stopping: bool) {
        let retry_at = self.failing.as_ref().map(|failing| failing.next);
        let tidy_at = earliest(self.space.due(), earliest(self.mark_at, self.sync_at));
        let until = earliest(retry_at, tidy_at);
        match until {
            Some(until) => {
                let pause = until.saturating_since(self.clock.now());
                std::thread::park_timeout(if stopping { pause.min(FIRST_PAUSE) } else { pause });
            }
            None if stopping => {}
            None => std::thread::park(),
        }
    }

    /// Moves what has arrived here, so that there is room for more.
    fn take(&mut self) {
        let was_full = self.requests.is_full();
        self.inbox.extend(self.requests.pop_iter());
        if was_full {
            self.shared.waker.wake();
        }
    }

    /// Gives the worker what there is room for.
    fn deliver(&mut self) {
        let before = self.outbox.len();
        while let Some(report) = self.outbox.pop_front() {
            if let Err(report) = self.reports.try_push(report) {
                self.outbox.push_front(report);
                break;
            }
        }
        if self.outbox.len() < before {
            self.shared.waker.wake();
        }
    }

    fn round(&mut self) {
        if self.inbox.is_empty() {
            return;
        }
        let result = self.apply().and_then(|()| self.commit());
        if let Err((step, error)) = result {
            self.fail(step, &error);
        }
    }

    /// Writes what has arrived, group by group, and answers fetches between them.
    fn apply(&mut self) -> Result<(), (Step, Failed)> {
        let mut group = Group::default();
        let (mut bytes, mut fetches) = (0, 0);
        while bytes < MAX_GROUP && fetches < MAX_FETCHES {
            let Some(db) = &self.db else { break };
            let Some(request) = self.inbox.pop_front() else { break };
            match request {
                Request::Batch(seq, batch) => {
                    let before = group.bytes;
                    group.add(seq, batch, db, &mut self.counts);
                    bytes += group.bytes - before;
                }
                Request::Fetch(wanted) => {
                    fetches += 1;
                    if !group.is_empty() {
                        let written = self.write(std::mem::take(&mut group));
                        if written.is_err() {
                            self.inbox.push_front(request);
                            return written;
                        }
                    }
                    self.fetch(wanted);
                }
            }
        }
        if group.is_empty() { Ok(()) } else { self.write(group) }
    }

    fn fetch(&mut self, wanted: PageRequest) {
        let Some(db) = &self.db else { return };
        let (session, page) = (wanted.session, db.page(wanted));
        let counters = &self.shared.counters;
        add(&counters.fetches, 1);
        if page.is_damaged {
            add(&counters.damaged, 1);
            tracing::error!(
                session = session.get(),
                "DAMAGED: a queue cannot be read further: what follows in it is lost"
            );
        }
        self.outbox.push_back(Report::Fetched { session, page });
    }

    /// Writes a group, and keeps it.
    fn write(&mut self, group: Group) -> Result<(), (Step, Failed)> {
        add(&self.shared.counters.damaged, group.damaged);
        self.kept.push_back(group);
        self.write_kept()
    }

    /// Writes what is kept and not written.
    fn write_kept(&mut self) -> Result<(), (Step, Failed)> {
        let at = |step: Step| move |error: Failed| (step, error);
        while let Some(group) = self.kept.get(self.written) {
            let Some(db) = &self.db else { return Ok(()) };
            // fjall would wait for ever where its own threads have failed.
            while db.is_behind() {
                db.alive().map_err(Failed::from).map_err(at(Step::Write))?;
                std::thread::sleep(BEHIND_PAUSE);
            }
            ask(&mut self.faults, Step::Write).map_err(at(Step::Write))?;
            let applied = self.base + group.last.0;
            db.write(group, applied).map_err(Failed::from).map_err(at(Step::Write))?;
            group.remember(&mut self.counts);
            self.written += 1;
        }
        Ok(())
    }

    /// Makes what is written as durable as configured, and tells the worker.
    fn commit(&mut self) -> Result<(), (Step, Failed)> {
        if self.kept.is_empty() {
            return Ok(());
        }
        match self.sync {
            SyncPolicy::EachGroup => self.force()?,
            SyncPolicy::InBackground => {
                self.sync_at.get_or_insert(self.clock.now() + TIDY);
            }
        }
        self.stored();
        Ok(())
    }

    fn force(&mut self) -> Result<(), (Step, Failed)> {
        let at = |error: Failed| (Step::Sync, error);
        let Some(db) = &self.db else { return Ok(()) };
        let began = self.clock.now();
        ask(&mut self.faults, Step::Sync).map_err(at)?;
        db.sync().map_err(Failed::from).map_err(at)?;
        let micros = self.clock.now().saturating_since(began).as_micros();
        self.shared.counters.synced(u64::try_from(micros).unwrap_or(u64::MAX));
        Ok(())
    }

    /// What is kept is stored.
    fn stored(&mut self) {
        self.written = 0;
        let counters = &self.shared.counters;
        let mut last = None;
        for group in self.kept.drain(..) {
            self.space.deleted(&group, self.clock.now());
            last = Some(group.last);
            add(&counters.batches, group.batches);
            add(&counters.records, group.records);
            add(&counters.bytes, group.bytes as u64);
        }
        if let Some(last) = last {
            add(&counters.groups, 1);
            self.committed(last);
        }
    }

    fn committed(&mut self, last: Seq) {
        self.shared.counters.applied.store(self.base + last.0, Relaxed);
        self.last = last;
        self.told_failed = false;
        self.outbox.push_back(Report::Committed(last));
        self.mark_at.get_or_insert(self.clock.now() + TIDY);
    }

    /// A step has failed: the worker is told once, the log once a cause.
    fn fail(&mut self, step: Step, error: &Failed) {
        let now = self.clock.now();
        let counters = &self.shared.counters;
        add(&counters.failures, 1);
        counters.failing.store(true, Relaxed);
        self.db = None;
        self.written = 0;
        self.counts.forget();
        self.sync_at = None;
        let told = self.words(step, error);
        if !self.told_failed {
            self.told_failed = true;
            self.outbox.push_back(Report::Failed);
        }
        let failing = self.failing.get_or_insert_with(|| Failing {
            since: now,
            next: now,
            pause: FIRST_PAUSE,
            attempts: 0,
            told: String::new(),
            distrusted: false,
        });
        failing.attempts += 1;
        failing.distrusted |= step == Step::Sync;
        failing.next = now + failing.pause;
        failing.pause = (failing.pause * 2).min(LAST_PAUSE);
        if failing.told != told {
            tracing::error!(
                reason = Reason::StorageFull.as_str(),
                "nothing durable is accepted: {told}. Nothing acknowledged is lost; it is tried \
                 again until it succeeds"
            );
            failing.told = told;
        }
    }

    /// What has failed, why, and what to do.
    fn words(&self, step: Step, error: &Failed) -> String {
        let path = self.directory.database();
        let what = match step {
            Step::Write => "written",
            Step::Sync => "synced",
            Step::Reopen => "opened again",
        };
        let why = match error {
            Failed::System(error) => in_words(error, &path),
            Failed::Store(error) => match system_error(error) {
                Some(error) => in_words(error, &path),
                None => match probe(&path) {
                    Err(error) => in_words(&error, &path),
                    Ok(()) => format!("{error:?}"),
                },
            },
        };
        format!("the store in {} cannot be {what}: {why}", path.display())
    }

    /// Opens the database again and writes what is kept.
    fn retry(&mut self) {
        if let Err((step, error)) = self.reopen().and_then(|()| self.recommit()) {
            self.fail(step, &error);
            return;
        }
        if let Some(Failing { since, attempts, .. }) = self.failing.take() {
            let millis = self.clock.now().saturating_since(since).as_millis();
            let millis = u64::try_from(millis).unwrap_or(u64::MAX);
            tracing::info!(millis, attempts, "the store writes again: nothing was lost");
        }
        self.shared.counters.failing.store(false, Relaxed);
        if self.told_failed {
            // Nothing was left to store.
            self.committed(self.last);
        }
    }

    fn reopen(&mut self) -> Result<(), (Step, Failed)> {
        let at = |error: Failed| (Step::Reopen, error);
        ask(&mut self.faults, Step::Reopen).map_err(at)?;
        let path = self.directory.database();
        self.repair().map_err(Failed::from).map_err(at)?;
        let db = Database::open(&path).map_err(Failed::from).map_err(at)?;
        let applied = db.applied().map_err(Failed::from).map_err(at)?;
        self.db = Some(db);
        // What has reached the file after all is not taken for stored before it is on the disk.
        self.force()?;
        let mut last = None;
        while let Some(group) =
            self.kept.front().filter(|group| self.base + group.last.0 <= applied)
        {
            last = Some(group.last);
            let counters = &self.shared.counters;
            add(&counters.batches, group.batches);
            add(&counters.records, group.records);
            self.kept.pop_front();
        }
        if let Some(last) = last {
            self.committed(last);
        }
        Ok(())
    }

    /// Makes the newest journal one that can be written behind.
    fn repair(&mut self) -> io::Result<()> {
        let path = self.directory.database();
        if let Some(failing) = self.failing.as_mut().filter(|failing| failing.distrusted) {
            journal::write_anew(&path)?;
            failing.distrusted = false;
        }
        let Some(newest) = journal::list(&path)?.pop() else { return Ok(()) };
        let scan = journal::scan(&newest)?;
        if scan.torn > 0 { journal::cut(&newest, scan.good, None) } else { Ok(()) }
    }

    fn recommit(&mut self) -> Result<(), (Step, Failed)> {
        self.write_kept()?;
        self.commit()
    }

    /// What is done now and then.
    fn tidy(&mut self) {
        let now = self.clock.now();
        if self.failing.is_some() {
            self.mark_at = None;
            return;
        }
        if self.sync_at.is_some_and(|at| at <= now) {
            self.sync_at = None;
            if let Err((step, error)) = self.force() {
                self.fail(step, &error);
                return;
            }
        }
        if let Some(db) = &self.db {
            self.space.give_back(db, now);
        }
        if self.mark_at.is_some_and(|at| at <= now) {
            self.mark_at = None;
            self.note(false);
        }
    }

    /// Writes down beside the store how far it has come.
    fn note(&mut self, sync: bool) {
        let applied = self.shared.counters.applied.load(Relaxed);
        let written = self.mark.write(applied);
        let written = if sync { written.and_then(|()| self.mark.sync()) } else { written };
        if let Err(error) = written {
            tracing::warn!(%error, "how far the store has come could not be noted beside it");
        }
    }

    /// A good end.
    fn close(&mut self) {
        if !self.kept.is_empty() || self.failing.is_some() {
            let batches: u64 = self.kept.iter().map(|group| group.batches).sum();
            tracing::error!(
                batches,
                "stopped while the store could not be written: what was not acknowledged is gone"
            );
            return;
        }
        if let Err((step, error)) = self.force() {
            tracing::error!("{}", self.words(step, &error));
            return;
        }
        self.note(true);
    }
}

fn ask(faults: &mut Option<Faults>, step: Step) -> Result<(), Failed> {
    match faults {
        Some(faults) => Ok(faults(step)?),
        None => Ok(()),
    }
}

/// Where fjall does not say why it takes no more writes: whether one can write there at all.
fn probe(path: &std::path::Path) -> io::Result<()> {
    let file = path.join("probe.tmp");
    let result = std::fs::write(&file, vec![1; 256 * 1024]);
    let result = result.and_then(|()| std::fs::File::open(&file)?.sync_all());
    let _ = std::fs::remove_file(&file);
    result
}
