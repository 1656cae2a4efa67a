//! fjall's write-ahead journals, as far as we look into them ourselves.
//!
//! fjall drops whatever follows the first bytes of a journal that it does not understand, and says
//! nothing. So they are read before it opens them: a crash leaves at most one unfinished batch at
//! the end of the newest journal, which nobody was promised ([`Scan::torn`]); anything else is
//! damage, and a start with it would lose acknowledged messages silently ([`Scan::damaged`]).
//!
//! A journal (fjall 3) is a sequence of batches: `1` count:u32 seqno:u64, then items (`2` type
//! compression keyspace:u64 key_len:u16 value_len:u32 stored_len:u32 key value) and clears (`4`
//! keyspace:u64), then `3` xxh3:u64 `FJL\x03`, all little-endian. The file is allocated ahead:
//! zeros follow.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::Xxh3;

const START: u8 = 1;
const ITEM: u8 = 2;
const END: u8 = 3;
const CLEAR: u8 = 4;
const MAGIC: [u8; 4] = *b"FJL\x03";
/// Bytes that are read at a time.
const CHUNK: usize = 1024 * 1024;

/// What a journal holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Scan {
    /// Whole batches from its beginning.
    pub(crate) batches: u64,
    /// Where they end.
    pub(crate) good: u64,
    /// Bytes behind them that are part of no batch, up to the last that is not zero.
    pub(crate) torn: u64,
    /// Whole batches behind those bytes.
    pub(crate) beyond: u64,
}

impl Scan {
    /// Whether something is wrong that a crash does not do: whole batches follow what is no batch.
    pub(crate) fn damaged(&self) -> bool {
        self.beyond > 0
    }
}

/// The journals of a database, oldest first.
pub(crate) fn list(database: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(database)? {
        let path = entry?.path();
        let stem = path.file_stem().and_then(|stem| stem.to_str());
        let number = stem.and_then(|stem| stem.parse::<u64>().ok());
        if let Some(number) = number.filter(|_| path.extension().is_some_and(|e| e == "jnl")) {
            found.push((number, path));
        }
    }
    found.sort();
    Ok(found.into_iter().map(|(_, path)| path).collect())
}

/// Reads a journal.
pub(crate) fn scan(path: &Path) -> io::Result<Scan> {
    let mut file = BufReader::with_capacity(CHUNK, File::open(path)?);
    let mut scan = Scan::default();
    let mut value = Vec::new();
    while let Some(end) = batch(&mut file, scan.good, &mut value)? {
        scan.good = end;
        scan.batches += 1;
    }
    file.seek(SeekFrom::Start(scan.good))?;
    let mut rest = Vec::new();
    let mut chunk = vec![0; CHUNK];
    let mut at = 0;
    // What follows is mostly a hole, which costs no memory here.
    loop {
        let read = file.read(&mut chunk)?;
        if read == 0 {
            break;
        }
        if let Some(last) = chunk[..read].iter().rposition(|byte| *byte != 0) {
            rest.resize(at, 0);
            rest.extend_from_slice(&chunk[..=last]);
        }
        at += read;
    }
    scan.torn = rest.len() as u64;
    scan.beyond = whole_batches(&rest);
    Ok(scan)
}

/// Batches in `bytes` that begin right behind the end of something.
fn whole_batches(bytes: &[u8]) -> u64 {
    let mut batches = 0;
    let mut at = 0;
    while let Some(found) = bytes[at..].windows(MAGIC.len()).position(|four| four == MAGIC) {
        at += found + MAGIC.len();
        let mut rest = io::Cursor::new(&bytes[at..]);
        while let Ok(Some(end)) = batch(&mut rest, 0, &mut Vec::new()) {
            batches += 1;
            // A batch that was read whole ends within `bytes`.
            at += usize::try_from(end).unwrap_or(0);
            rest = io::Cursor::new(&bytes[at..]);
        }
    }
    batches
}

/// Reads one batch that begins at `from`; where it ends, or `None` when there is no whole one.
fn batch(file: &mut impl Read, from: u64, value: &mut Vec<u8>) -> io::Result<Option<u64>> {
    let mut reader = Parts { file, at: from, value };
    match reader.batch() {
        Ok(whole) => Ok(whole.then_some(reader.at)),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

/// Reads the parts of a batch, and counts their bytes.
struct Parts<'a, R> {
    file: &'a mut R,
    at: u64,
    /// Room for an item's key and value.
    value: &'a mut Vec<u8>,
}

impl<R: Read> Parts<'_, R> {
    fn bytes<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.file.read_exact(&mut bytes)?;
        self.at += N as u64;
        Ok(bytes)
    }

    /// Whether a whole, valid batch was read.
    fn batch(&mut self) -> io::Result<bool> {
        if self.bytes()? != [START] {
            return Ok(false);
        }
        let items = u32::from_le_bytes(self.bytes()?);
        let _seqno: [u8; 8] = self.bytes()?;
        let mut hash = Xxh3::new();
        for _ in 0..items {
            let known = match self.bytes()? {
                [ITEM] => self.item(&mut hash)?,
                [CLEAR] => {
                    hash.update(&[CLEAR]);
                    hash.update(&self.bytes::<8>()?);
                    true
                }
                _ => false,
            };
            if !known {
                return Ok(false);
            }
        }
        if self.bytes()? != [END] {
            return Ok(false);
        }
        let sum = u64::from_le_bytes(self.bytes()?);
        Ok(self.bytes()? == MAGIC && sum == hash.digest())
    }

    fn item(&mut self, hash: &mut Xxh3) -> io::Result<bool> {
        let head: [u8; 20] = self.bytes()?;
        let [kind, compression, _, _, _, _, _, _, _, _, k0, k1, _, _, _, _, s0, s1, s2, s3] = head;
        if !matches!(kind, 0..=2 | 4) || compression > 1 {
            return Ok(false);
        }
        hash.update(&[ITEM]);
        hash.update(&head);
        let key = u64::from(u16::from_le_bytes([k0, k1]));
        let length = key + u64::from(u32::from_le_bytes([s0, s1, s2, s3]));
        // A length that is damage ends with the file.
        self.value.clear();
        let read = self.file.by_ref().take(length).read_to_end(self.value)? as u64;
        hash.update(self.value);
        self.at += read;
        if read < length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(true)
    }
}

/// Cuts a journal behind its last whole batch, and puts what is cut into `aside`, if there is one.
pub(crate) fn cut(path: &Path, good: u64, aside: Option<&Path>) -> io::Result<()> {
    let mut file = File::options().read(true).write(true).open(path)?;
    if let Some(aside) = aside {
        file.seek(SeekFrom::Start(good))?;
        let mut copy = File::create(aside)?;
        io::copy(&mut file, &mut copy)?;
        copy.sync_all()?;
    }
    file.set_len(good)?;
    file.sync_all()
}

/// Writes the whole batches of the newest journal into another file in its place.
///
/// After a failed sync the system may hold bytes that are not on the disk and take them for
/// written: no later sync writes them. A copy is written and synced like anything new.
pub(crate) fn write_anew(database: &Path) -> io::Result<()> {
    let Some(path) = list(database)?.pop() else { return Ok(()) };
    let good = scan(&path)?.good;
    let copy = path.with_extension("copy");
    let mut from = File::open(&path)?.take(good);
    let mut to = File::create(&copy)?;
    io::copy(&mut from, &mut to)?;
    to.flush()?;
    to.sync_all()?;
    std::fs::rename(&copy, &path)?;
    File::open(database)?.sync_all()
}
