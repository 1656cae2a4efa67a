//! [`Directory`]: a data directory, held by one gateway at a time.
//!
//! `lock` (who holds it), `FORMAT` (which version of the layout this is), `committed` (how far the
//! store had come, kept outside of it so that a loss is seen), `store/` (the database) and
//! `control.sock`.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::error::StoreError;

/// Version of the layout, of keys and of values in the database.
pub(crate) const FORMAT: u32 = 1;
const FORMAT_FILE: &str = "FORMAT";
const FORMAT_WORDS: &str = "motegate data format ";
const LOCK_FILE: &str = "lock";
const COMMITTED_FILE: &str = "committed";
const DATABASE: &str = "store";
/// fjall's mark of a database that was made to the end.
const MADE: &str = "version";

/// A locked data directory.
#[derive(Debug)]
pub(crate) struct Directory {
    path: PathBuf,
    /// Locked as long as it is open.
    _lock: File,
}

impl Directory {
    /// Takes the directory, and makes it (mode 0700) if it is not there.
    pub(crate) fn take(path: &Path) -> Result<Self, StoreError> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
        made.map_err(StoreError::at("cannot be made", path))?;
        Self::take_existing(path)
    }

    /// Takes the directory if it is there.
    pub(crate) fn take_existing(path: &Path) -> Result<Self, StoreError> {
        let lock = path.join(LOCK_FILE);
        let open = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&lock);
        let mut file = open.map_err(StoreError::at("cannot be written", path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                let _ = file.read_to_string(&mut holder);
                let holder = holder.trim().parse().ok();
                return Err(StoreError::InUse { path: path.to_owned(), holder });
            }
            Err(TryLockError::Error(error)) => {
                return Err(StoreError::at("cannot be locked", path)(error));
            }
        }
        let own = format!("{}\n", std::process::id());
        let _ = file.set_len(0).and_then(|()| file.write_all(own.as_bytes()));
        Ok(Directory { path: path.to_owned(), _lock: file })
    }

    /// As configured.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Of the database.
    pub(crate) fn database(&self) -> PathBuf {
        database_of(&self.path)
    }

    /// Whether a database is in it. One whose making was cut short is removed: nothing was ever
    /// written to it.
    pub(crate) fn has_database(&self) -> Result<bool, StoreError> {
        let database = self.database();
        if database.join(MADE).exists() {
            return Ok(true);
        }
        if self.committed().is_some_and(|mark| mark > 0) {
            let what = format!(
                "{} is not there, and `{COMMITTED_FILE}` says that there was one",
                database.join(MADE).display()
            );
            return Err(StoreError::damaged(&self.path, what));
        }
        if database.exists() {
            let removed = std::fs::remove_dir_all(&database);
            removed.map_err(StoreError::at("cannot be removed", &database))?;
        }
        Ok(false)
    }

    /// Sees that the layout is one that this version knows, and marks a new directory.
    pub(crate) fn check_format(&self) -> Result<(), StoreError> {
        let path = self.path.join(FORMAT_FILE);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if self.database().join(MADE).exists() {
                    let what = format!("{} is missing", path.display());
                    return Err(StoreError::damaged(&self.path, what));
                }
                return self.mark_format();
            }
            Err(error) => return Err(StoreError::at("cannot be read", &path)(error)),
        };
        let version = text.strip_prefix(FORMAT_WORDS).and_then(|rest| rest.trim().parse().ok());
        match version {
            Some(FORMAT) => Ok(()),
            Some(found) => Err(StoreError::Format { path: self.path.clone(), found }),
            None => {
                let what = format!("{} does not name a format", path.display());
                Err(StoreError::damaged(&self.path, what))
            }
        }
    }

    /// Writes the mark, whatever is there.
    pub(crate) fn mark_format(&self) -> Result<(), StoreError> {
        let path = self.path.join(FORMAT_FILE);
        let write = || {
            let mut file = create(&path)?;
            file.write_all(format!("{FORMAT_WORDS}{FORMAT}\n").as_bytes())?;
            file.sync_all()?;
            File::open(&self.path)?.sync_all()
        };
        write().map_err(StoreError::at("cannot be written", &path))
    }

    /// How far the store has come, as was noted last; `None` where nothing readable is noted.
    pub(crate) fn committed(&self) -> Option<u64> {
        let text = std::fs::read_to_string(self.path.join(COMMITTED_FILE)).ok()?;
        let (number, sum) = text.trim_end().split_once(' ')?;
        let number: u64 = number.parse().ok()?;
        (u64::from_str_radix(sum, 16).ok()? == check_sum(number)).then_some(number)
    }

    /// Opens the note to be written again and again.
    pub(crate) fn mark(&self) -> io::Result<Mark> {
        create(&self.path.join(COMMITTED_FILE)).map(Mark)
    }
}

/// The note of how far the store has come.
#[derive(Debug)]
pub(crate) struct Mark(File);

impl Mark {
    /// Written in place, always as long, within one sector of a disk.
    pub(crate) fn write(&mut self, number: u64) -> io::Result<()> {
        self.0.seek(SeekFrom::Start(0))?;
        self.0.write_all(format!("{number:020} {:016x}\n", check_sum(number)).as_bytes())
    }

    /// Waits until it is on the disk.
    pub(crate) fn sync(&mut self) -> io::Result<()> {
        self.0.sync_data()
    }
}

/// The database of a data directory.
pub(crate) fn database_of(path: &Path) -> PathBuf {
    path.join(DATABASE)
}

/// Bytes that the files below a directory take on the disk; holes take none.
pub(crate) fn bytes_below(path: &Path) -> u64 {
    let mut open = vec![path.to_owned()];
    let mut bytes = 0;
    while let Some(path) = open.pop() {
        for entry in std::fs::read_dir(path).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(found) if found.is_dir() => open.push(entry.path()),
                Ok(found) => bytes += found.blocks() * 512,
                Err(_) => {}
            }
        }
    }
    bytes
}

fn check_sum(number: u64) -> u64 {
    xxhash_rust::xxh3::xxh3_64(&number.to_be_bytes())
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)
}
