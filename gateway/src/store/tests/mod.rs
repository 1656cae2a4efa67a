//! The store on disk against what a store must do: the same content as
//! `motegate_message::journal::MemoryStore` after any batches, restarts, kills, failures of the
//! disk and damage, and no acknowledgement before its time.

mod backup;
mod crash;
mod failure;
mod figures;
mod model;
mod start;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use motegate_message::journal::{
    MemoryStore, PageRequest, QueueKey, Saved as _, content_key, owner,
};
use motegate_message::{DeliveryId, Record, Seq, SessionId};

use super::database::{Database, Restart};
use super::disk::{Disk, Stored};
use super::writer::Faults;
use super::{Opened, Report, StoreSetup, SyncPolicy, open};

/// Sessions that the tests use.
const SESSIONS: std::ops::RangeInclusive<u64> = 1..=4;

/// A directory that goes with the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let name = format!("motegate-store-{name}-{}", std::process::id());
        // In memory where there is such a place: these tests are not about the disk's speed.
        let memory = Path::new("/dev/shm");
        let place = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let path = place.join(name);
        let _ = std::fs::remove_dir_all(&path);
        Scratch(path)
    }

    fn setup(&self) -> StoreSetup {
        StoreSetup { directory: self.0.clone(), sync: SyncPolicy::EachGroup }
    }

    fn open(&self) -> Opened {
        open(&self.setup()).unwrap()
    }

    fn start(&self, faults: Option<Faults>) -> Running {
        let (disk, stored) = self.open().start(faults).unwrap();
        Running { disk, stored, seq: Seq::NONE }
    }

    fn newest_journal(&self) -> PathBuf {
        super::journal::list(&self.0.join("store")).unwrap().pop().unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A started store, and the worker that a test is.
struct Running {
    disk: Disk,
    stored: Stored,
    seq: Seq,
}

impl Running {
    fn append(&mut self, batch: Vec<Record>) -> Seq {
        self.seq = self.seq.next();
        self.disk.append(self.seq, batch);
        self.seq
    }

    /// The next report; fails where none comes.
    fn report(&mut self) -> Report {
        for _ in 0..20_000 {
            if let Some(report) = self.disk.poll_report() {
                return report;
            }
            std::thread::sleep(Duration::from_micros(500));
        }
        panic!("no report");
    }

    /// Waits until everything is committed.
    fn settle(&mut self) {
        while self.report() != Report::Committed(self.seq) {}
    }
}

fn set(key: &[u8], value: &[u8]) -> Record {
    Record { key: key.to_vec(), value: Some(value.to_vec()) }
}

fn delete(key: &[u8]) -> Record {
    Record { key: key.to_vec(), value: None }
}

fn entry(session: u64, delivery: u64, content: u64) -> QueueKey {
    QueueKey { session: SessionId::from_u64(session), delivery: DeliveryId(delivery), content }
}

fn part(session: u64, from: u64, max_entries: usize, max_bytes: usize) -> PageRequest {
    let (session, from) = (SessionId::from_u64(session), DeliveryId(from));
    PageRequest { session, from, max_entries, max_bytes }
}

/// Writes 200 records with keys of this kind into a table, and spoils 100 bytes of it.
fn spoil_a_table(scratch: &Scratch, kind: &[u8], from: usize) {
    let mut running = scratch.start(None);
    for number in 0..200_u64 {
        running.append(vec![set(&[kind, &number.to_be_bytes()].concat(), &[3; 300])]);
    }
    running.settle();
    drop(running);
    let opened = scratch.open();
    opened.db.state.rotate_memtable_and_wait().unwrap();
    drop(opened);
    let tables = scratch.0.join("store/keyspaces/1/tables");
    let table = std::fs::read_dir(tables).unwrap().next().unwrap().unwrap().path();
    let mut bytes = std::fs::read(&table).unwrap();
    bytes[from..from + 100].fill(0xa5);
    std::fs::write(&table, bytes).unwrap();
}

/// Everything that is in a database, as records, and how often contents are used.
fn dump(db: &Database) -> (BTreeMap<Vec<u8>, Vec<u8>>, BTreeMap<u64, u64>) {
    let mut records = BTreeMap::new();
    let mut saved = Restart { db, records: 0, failed: None, damaged: 0 };
    saved.state(&mut |key, value| drop(records.insert(key.to_vec(), value.to_vec())));
    assert!(saved.failed.is_none());
    let pairs = |keyspace: &fjall::Keyspace| {
        keyspace.iter().map(|guard| guard.into_inner().unwrap()).collect::<Vec<_>>()
    };
    for (key, value) in pairs(&db.queue) {
        let key = super::database::entry_from(&key).unwrap();
        records.insert(key.to_bytes().to_vec(), value.to_vec());
    }
    let number = |bytes: &[u8]| super::database::number(bytes).unwrap();
    for (key, value) in pairs(&db.content) {
        records.insert(content_key(number(&key)), value.to_vec());
    }
    let uses = pairs(&db.uses).into_iter().map(|(key, value)| (number(&key), number(&value)));
    (records, uses.collect())
}

/// The same of the model.
fn modelled(model: &MemoryStore) -> (BTreeMap<Vec<u8>, Vec<u8>>, BTreeMap<u64, u64>) {
    let mut uses = BTreeMap::new();
    for (key, _) in model.iter() {
        if let Some(entry) = QueueKey::from_bytes(key).filter(|entry| entry.content != 0) {
            *uses.entry(entry.content).or_default() += 1;
        }
    }
    (model.iter().map(|(key, value)| (key.to_vec(), value.to_vec())).collect(), uses)
}

/// A database holds what the model does, asked in every way.
fn assert_same(db: &Database, model: &mut MemoryStore) {
    let (records, uses) = modelled(model);
    assert_eq!(dump(db), (records.clone(), uses));
    let mut saved = Restart { db, records: 0, failed: None, damaged: 0 };
    for key in records.keys().filter(|key| key[0] != owner::QUEUE && key[0] != owner::CONTENT) {
        assert_eq!(saved.value(key), model.value(key));
    }
    for session in SESSIONS.map(SessionId::from_u64) {
        for from in [0, 2, 5, 9].map(DeliveryId) {
            assert_eq!(saved.queue_ends(session, from), model.queue_ends(session, from));
            for (entries, bytes) in [(0, 0), (1, 100), (3, 100), (100, 5), (100, 100_000)] {
                let wanted = part(session.get(), from.0, entries, bytes);
                assert_eq!(saved.page(wanted), model.page(wanted), "{from:?} {entries}");
            }
        }
    }
    assert_eq!(saved.damaged, 0);
}

fn copy_directory(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_directory(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}
