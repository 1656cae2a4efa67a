//! [`Space`]: gives the disk back what drained queues took.
//!
//! A deleted record takes space until its table is merged, and fjall merges when something is
//! written. So when many entries were deleted and then nothing for a while, the tables of queues
//! and contents are merged whole, on a thread of its own that holds up nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fjall::Keyspace;
use motegate_timers::Instant;

use super::database::Database;
use super::group::Group;

/// Deletions that are worth it.
const MIN_DELETED: u64 = 10_000;
/// Looks at whether the memtables are written.
const LOOKS: u32 = 3_000;
const LOOK: Duration = Duration::from_millis(10);

/// What was deleted and still takes space.
#[derive(Debug)]
pub(super) struct Space {
    idle: Duration,
    deleted: u64,
    due: Option<Instant>,
    /// The thread is at work.
    busy: Arc<AtomicBool>,
}

impl Space {
    pub(super) fn new(idle: Duration) -> Self {
        Space { idle, deleted: 0, due: None, busy: Arc::default() }
    }

    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// A group was written.
    pub(super) fn deleted(&mut self, group: &Group, now: Instant) {
        self.deleted += group.queue.values().filter(|value| value.is_none()).count() as u64;
        if self.deleted >= MIN_DELETED {
            self.due = Some(now + self.idle);
        }
    }

    /// Merges tables if it is time, and if what was deleted is a good part of what is there.
    pub(super) fn give_back(&mut self, db: &Database, now: Instant) {
        if self.due.is_none_or(|due| due > now) {
            return;
        }
        self.due = None;
        let there = db.queue.approximate_len() as u64;
        if self.deleted < there / 4 {
            return;
        }
        if self.busy.swap(true, Ordering::AcqRel) {
            self.due = Some(now + self.idle);
            return;
        }
        self.deleted = 0;
        let keyspaces = [&db.queue, &db.content, &db.uses].map(Clone::clone);
        let state = db.state.clone();
        let (closing, busy) = (db.closing.clone(), self.busy.clone());
        let thread = std::thread::Builder::new().name("motegate-merge".into());
        let spawned = thread.spawn(move || {
            for keyspace in keyspaces {
                if let Err(error) = merge(&keyspace, &closing) {
                    tracing::debug!(%error, "space is not given back now");
                    break;
                }
            }
            // Tables that were merged are removed when the next memtable of any keyspace is
            // written; `state` has always something to write.
            let _ = state.rotate_memtable();
            busy.store(false, Ordering::Release);
        });
        if spawned.is_err() {
            self.busy.store(false, Ordering::Release);
        }
    }
}

fn merge(keyspace: &Keyspace, closing: &AtomicBool) -> fjall::Result<()> {
    keyspace.rotate_memtable()?;
    for _ in 0..LOOKS {
        if closing.load(Ordering::Acquire) {
            return Ok(());
        }
        if keyspace.sealed_memtable_count() == 0 {
            break;
        }
        std::thread::sleep(LOOK);
    }
    keyspace.major_compact()
}
