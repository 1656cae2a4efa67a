//! [`View`]: the store as it was at one moment, for a backup and for a check, while it goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Acquire};

use fjall::{Keyspace, Readable as _, Snapshot};

use super::database::Database;

/// A snapshot of all keyspaces.
pub(crate) struct View {
    snapshot: Snapshot,
    keyspaces: [Keyspace; 4],
    /// The database is to be closed: whoever reads on holds that up.
    closing: Arc<AtomicBool>,
    /// The last batch in it.
    pub(crate) applied: u64,
}

/// Where reading a keyspace stopped.
#[derive(Debug)]
pub(crate) enum Stop<E> {
    /// A record cannot be read.
    Damaged(fjall::Error),
    /// The store has failed and is opened again.
    Closing,
    /// The reader said so.
    Reader(E),
}

impl Database {
    /// As it is now.
    pub(crate) fn view(&self, applied: u64) -> View {
        View {
            snapshot: self.fjall.snapshot(),
            keyspaces: self.keyspaces().map(Clone::clone),
            closing: self.closing.clone(),
            applied,
        }
    }
}

impl View {
    /// Every record of a keyspace, in order; or from the end, to see what lies behind damage.
    pub(crate) fn each<E>(
        &self,
        keyspace: usize,
        from_the_end: bool,
        mut each: impl FnMut(&[u8], &[u8]) -> Result<(), E>,
    ) -> Result<(), Stop<E>> {
        let Some(keyspace) = self.keyspaces.get(keyspace) else { return Ok(()) };
        let mut records = self.snapshot.iter(keyspace);
        loop {
            let next = if from_the_end { records.next_back() } else { records.next() };
            let Some(guard) = next else { return Ok(()) };
            if self.closing.load(Acquire) {
                return Err(Stop::Closing);
            }
            let (key, value) = guard.into_inner().map_err(Stop::Damaged)?;
            each(&key, &value).map_err(Stop::Reader)?;
        }
    }
}
