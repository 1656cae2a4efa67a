//! Backups: every record of a store at one moment, in one file that proves itself.
//!
//! `motegate backup 1\n`, the number of the last batch, then records (keyspace, key_len:u16,
//! value_len:u32, key, value), then `0xff`, the number of records and an xxh3 of all before it;
//! numbers are big-endian. A file without a good end is no backup.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use xxhash_rust::xxh3::Xxh3;

use super::view::{Stop, View};

const HEAD: &[u8; 18] = b"motegate backup 1\n";
const END: u8 = 0xff;
/// Longest value that is believed: the largest MQTT payload with room for the rest.
const MAX_VALUE: u32 = 512 * 1024 * 1024;

/// What a backup holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Contents {
    /// The last batch in it.
    pub(crate) applied: u64,
    pub(crate) records: u64,
    /// Of the file.
    pub(crate) bytes: u64,
}

/// Why there is no backup, or none that can be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BackupError {
    #[error("{0} is there already: name another file")]
    Exists(String),
    #[error("{0} is no backup of motegate")]
    NoBackup(String),
    #[error("{0} is damaged or not complete: nothing of it was used")]
    Damaged(String),
    #[error("the store has damage ({0}): `motegate store check` says where")]
    Store(String),
    #[error("the store has failed meanwhile: try again when it writes again")]
    Closing,
    #[error("{path}: {why}")]
    System { path: String, why: String },
}

impl BackupError {
    fn at(path: &Path) -> impl Fn(io::Error) -> BackupError + use<'_> {
        move |error| BackupError::System {
            path: path.display().to_string(),
            why: super::error::in_words(&error, path.parent().unwrap_or(path)),
        }
    }
}

/// Counts and hashes what passes.
struct Summed<T> {
    inner: T,
    sum: Xxh3,
    bytes: u64,
}

impl<T> Summed<T> {
    fn new(inner: T) -> Self {
        Summed { inner, sum: Xxh3::new(), bytes: 0 }
    }
}

impl<T: Write> Summed<T> {
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.sum.update(bytes);
        self.bytes += bytes.len() as u64;
        self.inner.write_all(bytes)
    }
}

impl<T: Read> Summed<T> {
    fn bytes<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.inner.read_exact(&mut bytes)?;
        self.sum.update(&bytes);
        self.bytes += N as u64;
        Ok(bytes)
    }

    fn vec(&mut self, len: u32, into: &mut Vec<u8>) -> io::Result<()> {
        into.clear();
        let read = (&mut self.inner).take(u64::from(len)).read_to_end(into)?;
        if read as u64 != u64::from(len) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.sum.update(into);
        self.bytes += u64::from(len);
        Ok(())
    }
}

/// Writes a backup; `target` appears when it is whole and on the disk.
pub(crate) fn write(view: &View, target: &Path) -> Result<Contents, BackupError> {
    if target.exists() {
        return Err(BackupError::Exists(target.display().to_string()));
    }
    let mut partial = target.as_os_str().to_owned();
    partial.push(".partial");
    let partial = Path::new(&partial);
    let result = write_partial(view, partial).and_then(|contents| {
        // Linking, unlike renaming, does not replace what somebody else has put there meanwhile.
        std::fs::hard_link(partial, target).map_err(BackupError::at(target))?;
        Ok(contents)
    });
    let _ = std::fs::remove_file(partial);
    if result.is_ok()
        && let Some(directory) = target.parent()
    {
        let _ = File::open(directory).and_then(|directory| directory.sync_all());
    }
    result
}

fn write_partial(view: &View, partial: &Path) -> Result<Contents, BackupError> {
    let at = BackupError::at(partial);
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(partial);
    let mut out = Summed::new(BufWriter::new(file.map_err(&at)?));
    out.put(HEAD).and_then(|()| out.put(&view.applied.to_be_bytes())).map_err(&at)?;
    let mut records = 0;
    for keyspace in 0..4_u8 {
        let each = |key: &[u8], value: &[u8]| {
            records += 1;
            // fjall's own bounds.
            let key_len = u16::try_from(key.len()).unwrap_or(u16::MAX);
            let value_len = u32::try_from(value.len()).unwrap_or(u32::MAX);
            out.put(&[keyspace])?;
            out.put(&key_len.to_be_bytes())?;
            out.put(&value_len.to_be_bytes())?;
            out.put(key)?;
            out.put(value)
        };
        view.each(usize::from(keyspace), false, each).map_err(|stop| match stop {
            Stop::Damaged(error) => BackupError::Store(error.to_string()),
            Stop::Closing => BackupError::Closing,
            Stop::Reader(error) => at(error),
        })?;
    }
    let end = |out: &mut Summed<BufWriter<File>>| {
        out.put(&[END])?;
        out.put(&u64::to_be_bytes(records))?;
        let sum = out.sum.digest();
        out.put(&sum.to_be_bytes())?;
        out.inner.flush()?;
        out.inner.get_ref().sync_all()
    };
    end(&mut out).map_err(&at)?;
    Ok(Contents { applied: view.applied, records, bytes: out.bytes })
}

/// Reads a backup to its end and hands out every record. Whoever must not act on half of one reads
/// it twice.
pub(crate) fn read(
    source: &Path,
    mut each: impl FnMut(usize, &[u8], &[u8]) -> Result<(), BackupError>,
) -> Result<Contents, BackupError> {
    let name = || source.display().to_string();
    let file = File::open(source).map_err(BackupError::at(source))?;
    let mut input = Summed::new(BufReader::new(file));
    if input.bytes().ok().as_ref() != Some(HEAD) {
        return Err(BackupError::NoBackup(name()));
    }
    let damaged = |_: io::Error| BackupError::Damaged(name());
    let applied = u64::from_be_bytes(input.bytes().map_err(damaged)?);
    let (mut key, mut value, mut records) = (Vec::new(), Vec::new(), 0);
    loop {
        let [keyspace] = input.bytes().map_err(damaged)?;
        if keyspace == END {
            break;
        }
        let key_len = u32::from(u16::from_be_bytes(input.bytes().map_err(damaged)?));
        let value_len = u32::from_be_bytes(input.bytes().map_err(damaged)?);
        if keyspace > 3 || value_len > MAX_VALUE {
            return Err(BackupError::Damaged(name()));
        }
        input.vec(key_len, &mut key).map_err(damaged)?;
        input.vec(value_len, &mut value).map_err(damaged)?;
        records += 1;
        each(usize::from(keyspace), &key, &value)?;
    }
    let counted = u64::from_be_bytes(input.bytes().map_err(damaged)?);
    let sum = input.sum.digest();
    let said = u64::from_be_bytes(input.bytes().map_err(damaged)?);
    if (counted, said) != (records, sum) {
        return Err(BackupError::Damaged(name()));
    }
    Ok(Contents { applied, records, bytes: input.bytes })
}
