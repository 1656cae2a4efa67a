//! [`open`]: from a data directory to a database that may be restored from, or a reason why not.
//!
//! Nothing is passed over in silence: an unfinished batch at the end of the newest journal is what
//! a crash leaves, and is cut off; damage is refused; batches that were acknowledged and are
//! missing are counted.

use std::path::Path;
use std::time::Duration;

use motegate_core::Core;
use motegate_message::Wall;
use motegate_timers::Instant;

use super::database::{Database, Restart};
use super::directory::{Directory, Mark};
use super::error::StoreError;
use super::{StoreSetup, SyncPolicy, journal};

/// A drained queue's space is given back after so long.
const IDLE: Duration = Duration::from_secs(5);

/// A store that was opened and not started.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(super) directory: Directory,
    pub(super) db: Database,
    pub(super) mark: Mark,
    pub(super) sync: SyncPolicy,
    /// The last batch in it.
    pub(super) applied: u64,
    /// Batches that were acknowledged and are not in it.
    pub(super) lost: u64,
    /// Records that were not understood.
    pub(super) damaged: u64,
    /// How long nothing must be deleted before space is given back.
    pub(super) idle: Duration,
}

/// Opens the store of a data directory, and makes both if they are not there.
pub(crate) fn open(setup: &StoreSetup) -> Result<Opened, StoreError> {
    let directory = Directory::take(&setup.directory)?;
    directory.check_format()?;
    let path = directory.database();
    if directory.has_database()? {
        examine(&directory, setup.sync)?;
    }
    let of = |error| StoreError::of(error, directory.path());
    let db = Database::open(&path).map_err(of)?;
    let applied = db.applied().map_err(of)?;
    let lost = directory.committed().unwrap_or(0).saturating_sub(applied);
    if lost > 0 {
        tracing::error!(
            batches = lost,
            "LOST: the store ends {lost} acknowledged batches before what was noted beside it: {}",
            match setup.sync {
                SyncPolicy::EachGroup => "its disk, or somebody, has undone what was written",
                SyncPolicy::InBackground =>
                    "`durability: process_crash` does not outlast a power failure",
            }
        );
    }
    let mark = directory.mark().map_err(StoreError::at("cannot be written", directory.path()))?;
    Ok(Opened { directory, db, mark, sync: setup.sync, applied, lost, damaged: 0, idle: IDLE })
}

/// Looks at the journals before fjall does.
fn examine(directory: &Directory, sync: SyncPolicy) -> Result<(), StoreError> {
    let database = directory.database();
    let unread = |path: &Path| StoreError::at("cannot be read", path);
    let mut journals = journal::list(&database).map_err(unread(&database))?;
    let newest = journals.pop();
    for path in journals {
        let scan = journal::scan(&path).map_err(unread(&path))?;
        if scan.torn > 0 {
            return Err(damaged(directory, &path, scan));
        }
    }
    let Some(path) = newest else { return Ok(()) };
    let scan = journal::scan(&path).map_err(unread(&path))?;
    let mut aside = None;
    if scan.damaged() {
        if sync == SyncPolicy::EachGroup {
            return Err(damaged(directory, &path, scan));
        }
        let kept = directory.path().join("lost.jnl");
        tracing::error!(
            journal = %path.display(), at = scan.good, batches = scan.beyond, kept = %kept.display(),
            "LOST: what a power failure has spared behind what it has not; \
             `durability: process_crash` does not outlast one"
        );
        aside = Some(kept);
    } else if scan.torn > 0 {
        tracing::warn!(
            journal = %path.display(), at = scan.good, bytes = scan.torn,
            "an unfinished write at the end of the journal is cut off: nobody was promised it"
        );
    }
    if scan.torn > 0 {
        let cut = journal::cut(&path, scan.good, aside.as_deref());
        cut.map_err(StoreError::at("cannot be repaired", &path))?;
    }
    Ok(())
}

fn damaged(directory: &Directory, journal: &Path, scan: journal::Scan) -> StoreError {
    let what = format!(
        "in the journal {} {} bytes behind byte {} are no batch, and {} whole batches follow",
        journal.display(),
        scan.torn,
        scan.good,
        scan.beyond
    );
    StoreError::damaged(directory.path(), what)
}

impl Opened {
    /// The data directory.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Gives the core what was stored.
    pub(crate) fn restore(
        &mut self,
        core: &mut Core,
        now: Instant,
        wall: Wall,
    ) -> Result<(), StoreError> {
        let mut saved = Restart { db: &self.db, records: 0, failed: None, damaged: 0 };
        let misread = core.restore(now, wall, &mut saved);
        if let Some(error) = saved.failed {
            return Err(StoreError::of(error, self.directory.path()));
        }
        let records = saved.records;
        self.damaged = misread as u64 + saved.damaged;
        if self.damaged > 0 {
            tracing::error!(
                damaged = self.damaged,
                records,
                "DAMAGED: records of the store were not understood and are left out; `motegate \
                 store check` says which"
            );
        }
        tracing::info!(
            path = %self.directory.path().display(), records, batches = self.applied, "restored"
        );
        Ok(())
    }
}
