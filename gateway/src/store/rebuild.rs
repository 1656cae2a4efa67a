//! Stores that are made anew in the place of another: from a backup, or from what can be read of a
//! damaged one. The old one is kept beside it.

use std::path::{Path, PathBuf};

use hashbrown::HashMap;

use super::backup::{self, BackupError, Contents};
use super::check::{Checked, check, walk};
use super::database::{Database, entry_from, is_own, number};
use super::directory::Directory;
use super::error::StoreError;
use super::journal;
use crate::clock::Clock;

/// Records that are written at a time.
const BATCH: usize = 4_096;

/// Why there is no new store.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RebuildError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Backup(#[from] BackupError),
    #[error(
        "{} holds a store already; --force moves it aside and restores over it", .0.display()
    )]
    NotEmpty(PathBuf),
}

/// A database in the making.
struct Making<'a> {
    directory: &'a Directory,
    path: PathBuf,
    db: Database,
    batch: Option<fjall::OwnedWriteBatch>,
}

impl<'a> Making<'a> {
    fn new(directory: &'a Directory) -> Result<Self, StoreError> {
        let path = directory.path().join("store.new");
        if path.exists() {
            let removed = std::fs::remove_dir_all(&path);
            removed.map_err(StoreError::at("cannot be removed", &path))?;
        }
        let db = Database::open(&path).map_err(|e| StoreError::of(e, directory.path()))?;
        Ok(Making { directory, path, db, batch: None })
    }

    fn put(&mut self, keyspace: usize, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        let batch = self.batch.get_or_insert_with(|| self.db.fjall.batch());
        if let Some(keyspace) = self.db.keyspaces().get(keyspace) {
            batch.insert(keyspace, key, value);
        }
        if batch.len() >= BATCH { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        let of = |error| StoreError::of(error, self.directory.path());
        while self.db.is_behind() {
            self.db.alive().map_err(of)?;
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        match self.batch.take() {
            Some(batch) => batch.commit().map_err(of),
            None => Ok(()),
        }
    }

    /// Puts it in the place of what is there; where that is now, if anything was.
    fn finish(mut self, applied: u64) -> Result<Option<PathBuf>, StoreError> {
        self.put(0, super::database::APPLIED, &applied.to_be_bytes())?;
        self.flush()?;
        let Making { directory, path, db, .. } = self;
        db.sync().map_err(|error| StoreError::of(error, directory.path()))?;
        drop(db);
        let place = directory.database();
        let old = place.exists().then(|| {
            directory.path().join(format!("store-replaced-{}", Clock::wall().as_millis()))
        });
        if let Some(old) = &old {
            std::fs::rename(&place, old).map_err(StoreError::at("cannot be moved", &place))?;
        }
        std::fs::rename(&path, &place).map_err(StoreError::at("cannot be moved", &path))?;
        directory.mark_format()?;
        let noted = directory.mark().and_then(|mut mark| {
            mark.write(applied)?;
            mark.sync()
        });
        noted.map_err(StoreError::at("cannot be written", directory.path()))?;
        Ok(old)
    }
}

/// Makes a store from a backup, in a directory that has none, or by `force`.
pub(crate) fn restore(
    source: &Path,
    directory: &Path,
    force: bool,
) -> Result<(Contents, Option<PathBuf>), RebuildError> {
    // The whole file first: half a backup is none.
    backup::read(source, |_, _, _| Ok(()))?;
    let directory = Directory::take(directory)?;
    if directory.database().exists() && !force {
        return Err(RebuildError::NotEmpty(directory.path().to_owned()));
    }
    let mut making = Making::new(&directory)?;
    let contents = backup::read(source, |keyspace, key, value| {
        making.put(keyspace, key, value).map_err(|error| BackupError::System {
            path: directory.path().display().to_string(),
            why: error.to_string(),
        })
    })?;
    let old = making.finish(contents.applied)?;
    Ok((contents, old))
}

/// Reads a store that nobody runs.
pub(crate) fn check_stopped(directory: &Directory) -> Result<Checked, StoreError> {
    directory.check_format()?;
    let mut damage = Vec::new();
    for path in journals(directory)? {
        let scan = journal::scan(&path).map_err(StoreError::at("cannot be read", &path))?;
        if scan.damaged() {
            damage.push(format!(
                "the journal {}: {} bytes behind byte {}, {} whole batches follow them",
                path.display(),
                scan.torn,
                scan.good,
                scan.beyond
            ));
        }
    }
    if !damage.is_empty() {
        // fjall would drop what follows the damage; until that is wanted nobody opens it.
        let mut checked = Checked::default();
        damage.into_iter().for_each(|what| checked.damage(what));
        return Ok(checked);
    }
    let of = |error| StoreError::of(error, directory.path());
    let db = Database::open(&directory.database()).map_err(of)?;
    let applied = db.applied().map_err(of)?;
    Ok(check(&db.view(applied)))
}

/// Writes a backup of a store that nobody runs.
pub(crate) fn backup_stopped(
    directory: &Directory,
    target: &Path,
) -> Result<Contents, RebuildError> {
    directory.check_format()?;
    for path in journals(directory)? {
        let scan = journal::scan(&path).map_err(StoreError::at("cannot be read", &path))?;
        if scan.damaged() {
            return Err(BackupError::Store(path.display().to_string()).into());
        }
    }
    let of = |error| StoreError::of(error, directory.path());
    let db = Database::open(&directory.database()).map_err(of)?;
    let applied = db.applied().map_err(of)?;
    Ok(backup::write(&db.view(applied), target)?)
}

fn journals(directory: &Directory) -> Result<Vec<PathBuf>, StoreError> {
    if !directory.has_database()? {
        return Err(StoreError::Missing(directory.path().to_owned()));
    }
    let database = directory.database();
    journal::list(&database).map_err(StoreError::at("cannot be read", &database))
}

/// Makes a store of what can be read of the one that is there: damaged records are left out,
/// contents are counted anew, entries without their content and contents without entries dropped.
/// Where the old one is now.
pub(crate) fn repair(directory: &Directory) -> Result<Option<PathBuf>, StoreError> {
    directory.check_format()?;
    for path in journals(directory)? {
        let scan = journal::scan(&path).map_err(StoreError::at("cannot be read", &path))?;
        if scan.torn > 0 {
            let aside = path.with_extension("damaged");
            let cut = journal::cut(&path, scan.good, Some(&aside));
            cut.map_err(StoreError::at("cannot be repaired", &path))?;
        }
    }
    let of = |error| StoreError::of(error, directory.path());
    let db = Database::open(&directory.database()).map_err(of)?;
    let applied = db.applied().unwrap_or_else(|_| directory.committed().unwrap_or(0));
    let view = db.view(applied);
    let mut making = Making::new(directory)?;
    let mut checked = Checked::default();
    let mut result = Ok(());
    let mut put = |making: &mut Making<'_>, keyspace, key: &[u8], value: &[u8]| {
        if result.is_ok() {
            result = making.put(keyspace, key, value);
        }
    };
    walk(&view, 0, &mut checked, |_, key, value| {
        if !is_own(key) {
            put(&mut making, 0, key, value);
        }
    });
    let mut contents: HashMap<u64, u64> = HashMap::new();
    walk(&view, 2, &mut checked, |_, key, _| {
        if let Some(number) = number(key) {
            contents.insert(number, 0);
        }
    });
    walk(&view, 1, &mut checked, |_, key, value| {
        let Some(entry) = entry_from(key) else { return };
        if entry.content != 0 {
            let Some(uses) = contents.get_mut(&entry.content) else { return };
            *uses += 1;
        }
        put(&mut making, 1, key, value);
    });
    contents.retain(|_, uses| *uses > 0);
    walk(&view, 2, &mut checked, |_, key, value| {
        if number(key).is_some_and(|number| contents.contains_key(&number)) {
            put(&mut making, 2, key, value);
        }
    });
    for (number, uses) in &contents {
        put(&mut making, 3, &number.to_be_bytes(), &uses.to_be_bytes());
    }
    result?;
    drop((view, db));
    making.finish(applied)
}
