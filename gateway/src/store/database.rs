//! [`Database`]: the records on disk, in fjall, an embedded log-structured store.
//!
//! Four keyspaces: `state` (every owner's but the two below), `queue` (session, delivery, content →
//! entry), `content` (number → bytes) and `uses` (number → how many entries name it). A group is
//! one atomic batch over all of them; the number of its last batch is in it, as `applied`.
//!
//! Queue entries and contents are written once and deleted once, so their deletions are weak
//! tombstones, which vanish with what they delete. Every read of a queue begins where the caller
//! says its first entry may be: from the beginning it would pass the tombstones of everything
//! that was ever in it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use fjall::{Database as Fjall, Keyspace, KeyspaceCreateOptions, PersistMode};
use motegate_message::journal::{Page, PageRequest, QueueKey, QueuedRecord, Saved};
use motegate_message::{DeliveryId, SessionId};

use super::group::Group;

/// A memtable is written to a table when it is as large as this. Small ones make the journal
/// short, and so the next start quick.
const MEMTABLE_BYTES: u64 = 16 * 1024 * 1024;
/// Journals that are kept until every keyspace has written its part of them to tables.
const JOURNAL_BYTES: u64 = 64 * 1024 * 1024;
/// Blocks of tables that are kept in memory.
const CACHE_BYTES: u64 = 16 * 1024 * 1024;
/// Threads that write and merge tables.
const TABLE_THREADS: usize = 2;
/// Times that a held database is tried again; fjall waits 0.3 s in each.
const LOCKED_TRIES: usize = 10;
/// Key in `state` of the number of the last batch; no owner has its first byte.
pub(super) const APPLIED: &[u8] = &[0, b'a'];
/// Above these fjall would hold a write until its threads have caught up, and for ever if one of
/// them has failed. Writers wait outside, where a failure is seen.
const MAX_SEALED: usize = 2;
const MAX_FIRST_LEVEL: usize = 18;

/// An open database.
pub(crate) struct Database {
    pub(super) fjall: Fjall,
    pub(super) state: Keyspace,
    pub(super) queue: Keyspace,
    pub(super) content: Keyspace,
    pub(super) uses: Keyspace,
    /// Said to those who hold a view: they keep it from being opened again.
    pub(super) closing: Arc<AtomicBool>,
}

impl Drop for Database {
    fn drop(&mut self) {
        self.closing.store(true, Ordering::Release);
    }
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Database").finish_non_exhaustive()
    }
}

/// Names of the keyspaces.
pub(super) const KEYSPACES: [&str; 4] = ["state", "queue", "content", "uses"];

impl Database {
    /// Opens what is there, or makes it.
    pub(crate) fn open(path: &Path) -> fjall::Result<Self> {
        let open = || {
            Fjall::builder(path)
                .cache_size(CACHE_BYTES)
                .max_journaling_size(JOURNAL_BYTES)
                .manual_journal_persist(true)
                .worker_threads(TABLE_THREADS)
                .open()
        };
        let mut fjall = open();
        // Whoever opens has the data directory: what holds the database still is a reader of its
        // earlier life (a backup, a merge), which has been told to end.
        for _ in 0..LOCKED_TRIES {
            if !matches!(fjall, Err(fjall::Error::Locked)) {
                break;
            }
            fjall = open();
        }
        let fjall = fjall?;
        let options = || {
            KeyspaceCreateOptions::default()
                .max_memtable_size(MEMTABLE_BYTES)
                .manual_journal_persist(true)
        };
        let [state, queue, content, uses] = KEYSPACES;
        Ok(Database {
            state: fjall.keyspace(state, options)?,
            queue: fjall.keyspace(queue, options)?,
            content: fjall.keyspace(content, options)?,
            uses: fjall.keyspace(uses, options)?,
            closing: Arc::default(),
            fjall,
        })
    }

    pub(super) fn keyspaces(&self) -> [&Keyspace; 4] {
        [&self.state, &self.queue, &self.content, &self.uses]
    }

    /// The number of the last batch that is in it; 0 for a new one.
    pub(crate) fn applied(&self) -> fjall::Result<u64> {
        Ok(self.state.get(APPLIED)?.and_then(|value| number(&value)).unwrap_or_default())
    }

    /// Writes a group as one batch up to `applied`. It may be in the system's memory only.
    pub(crate) fn write(&self, group: &Group, applied: u64) -> fjall::Result<()> {
        let items = group.state.len() + group.queue.len() + group.contents.len();
        let mut batch = fjall::OwnedWriteBatch::with_capacity(self.fjall.clone(), items + 16)
            .durability(Some(PersistMode::Buffer));
        for (key, value) in &group.state {
            match value {
                Some(value) => batch.insert(&self.state, key.as_slice(), value.as_slice()),
                None => batch.remove(&self.state, key.as_slice()),
            }
        }
        for (key, value) in &group.queue {
            let key = entry_key(*key);
            match value {
                Some(value) => batch.insert(&self.queue, &key[..], value.as_slice()),
                None => batch.remove_weak(&self.queue, &key[..]),
            }
        }
        for (number, value) in &group.contents {
            let key = number.to_be_bytes();
            match value {
                Some(value) => batch.insert(&self.content, &key[..], value.as_slice()),
                None => batch.remove_weak(&self.content, &key[..]),
            }
        }
        for (number, count) in group.changed_uses() {
            let key = number.to_be_bytes();
            match count {
                Some(count) => batch.insert(&self.uses, &key[..], &count.to_be_bytes()[..]),
                None => batch.remove(&self.uses, &key[..]),
            }
        }
        batch.insert(&self.state, APPLIED, &applied.to_be_bytes()[..]);
        batch.commit()
    }

    /// What was written is on the disk when this returns.
    pub(crate) fn sync(&self) -> fjall::Result<()> {
        self.fjall.persist(PersistMode::SyncData)
    }

    /// Whether a write would wait for tables to be written or merged.
    pub(crate) fn is_behind(&self) -> bool {
        self.keyspaces().iter().any(|keyspace| {
            keyspace.sealed_memtable_count() >= MAX_SEALED
                || keyspace.l0_table_count() >= MAX_FIRST_LEVEL
        })
    }

    /// An error once any of its threads has failed: it takes no more writes then.
    pub(crate) fn alive(&self) -> fjall::Result<()> {
        self.fjall.persist(PersistMode::Buffer)
    }

    /// How many entries name a content.
    pub(crate) fn uses(&self, content: u64) -> fjall::Result<u64> {
        let value = self.uses.get(content.to_be_bytes())?;
        Ok(value.and_then(|value| number(&value)).unwrap_or_default())
    }

    /// Whether an entry is there; one that cannot be read is.
    pub(crate) fn has_entry(&self, entry: QueueKey) -> bool {
        self.queue.contains_key(entry_key(entry)).unwrap_or(true)
    }

    /// Every entry of a session's queue. Returns how often reading failed.
    pub(crate) fn entries(&self, session: SessionId, each: &mut dyn FnMut(QueueKey)) -> u64 {
        let mut damaged = 0;
        for guard in self.queue.range(span(session, DeliveryId(0))) {
            match guard.key().ok().and_then(|key| entry_from(&key)) {
                Some(key) => each(key),
                None => damaged += 1,
            }
            if damaged > 0 {
                break;
            }
        }
        damaged
    }

    /// [`Saved::page`], without a way to change the database.
    pub(crate) fn page(&self, wanted: PageRequest) -> Page {
        let there = self.queue.range(span(wanted.session, wanted.from));
        Page::of(wanted, there, |guard| {
            guard.into_inner().ok().and_then(|pair| self.joined(&pair).ok())
        })
    }

    /// An entry with the content that it names; one whose content cannot be read has lost it.
    fn joined(&self, (key, value): &fjall::KvPair) -> Result<QueuedRecord, Damaged> {
        let key = entry_from(key).ok_or(Damaged)?;
        let content = match key.content {
            0 => None,
            number => self.content.get(number.to_be_bytes()).ok().flatten(),
        };
        let content = content.map(|content| content.to_vec());
        Ok(QueuedRecord { key, value: value.to_vec(), content })
    }
}

/// A record that cannot be read.
#[derive(Debug)]
struct Damaged;

/// What a restart reads, and what of it could not be read.
#[derive(Debug)]
pub(crate) struct Restart<'a> {
    pub(crate) db: &'a Database,
    /// Records that are shown.
    pub(crate) records: u64,
    /// The first failure to read the state.
    pub(crate) failed: Option<fjall::Error>,
    /// Queues whose ends cannot be read.
    pub(crate) damaged: u64,
}

impl Saved for Restart<'_> {
    fn value(&mut self, key: &[u8]) -> Option<Vec<u8>> {
        match self.db.state.get(key) {
            Ok(value) => value.map(|value| value.to_vec()),
            Err(error) => {
                self.failed.get_or_insert(error);
                None
            }
        }
    }

    fn state(&mut self, each: &mut dyn FnMut(&[u8], &[u8])) {
        for guard in self.db.state.iter() {
            match guard.into_inner() {
                Ok((key, _)) if is_own(&key) => {}
                Ok((key, value)) => {
                    self.records += 1;
                    each(&key, &value);
                }
                Err(error) => {
                    self.failed.get_or_insert(error);
                    return;
                }
            }
        }
    }

    fn queue_ends(&mut self, session: SessionId, from: DeliveryId) -> Option<[QueuedRecord; 2]> {
        let mut range = self.db.queue.range(span(session, from));
        let mut end = |guard: Option<fjall::Guard>| {
            let read = guard?.into_inner().ok().and_then(|pair| self.db.joined(&pair).ok());
            self.damaged += u64::from(read.is_none());
            read
        };
        let first = end(range.next())?;
        // A queue of one entry has nothing behind its first.
        let last = range.next_back();
        let last = if last.is_some() { end(last)? } else { first.clone() };
        Some([first, last])
    }

    fn page(&mut self, wanted: PageRequest) -> Page {
        self.db.page(wanted)
    }
}

/// Whether a key of `state` is the store's own.
pub(super) fn is_own(key: &[u8]) -> bool {
    key.starts_with(&APPLIED[..1])
}

/// Eight bytes.
pub(super) fn number(value: &[u8]) -> Option<u64> {
    value.try_into().ok().map(u64::from_be_bytes)
}

/// A queue entry's key without its owner.
pub(super) fn entry_key(key: QueueKey) -> [u8; QueueKey::LEN - 1] {
    let bytes = key.to_bytes();
    std::array::from_fn(|at| bytes[at + 1])
}

/// From a key in `queue`.
pub(super) fn entry_from(key: &[u8]) -> Option<QueueKey> {
    let mut bytes = [motegate_message::journal::owner::QUEUE; QueueKey::LEN];
    bytes.get_mut(1..).filter(|rest| rest.len() == key.len())?.copy_from_slice(key);
    QueueKey::from_bytes(&bytes)
}

/// The keys of a session's queue at or after a delivery.
fn span(session: SessionId, from: DeliveryId) -> std::ops::RangeInclusive<[u8; 24]> {
    let key = |delivery, content| entry_key(QueueKey { session, delivery, content });
    key(from, 0)..=key(DeliveryId(u64::MAX), u64::MAX)
}
