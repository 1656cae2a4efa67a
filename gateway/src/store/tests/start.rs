//! What a start finds: other formats, other holders, crashes and damage.

use std::os::unix::fs::PermissionsExt as _;

use super::super::{StoreError, journal};
use super::*;

/// Batches that were acknowledged one by one, and the gateway gone without a goodbye.
fn killed(scratch: &Scratch, batches: u64) -> MemoryStore {
    let mut model = MemoryStore::default();
    let live = Scratch(scratch.0.with_extension("live"));
    let mut running = live.start(None);
    for number in 1..=batches {
        let batch = vec![set(&entry(1, number, 0).to_bytes(), &[1; 300])];
        model.apply(batch.clone());
        running.append(batch);
        running.settle();
    }
    copy_directory(&live.0, &scratch.0);
    model
}

#[test]
fn a_data_directory_is_its_owners() {
    let scratch = Scratch::new("mode");
    drop(scratch.open());
    let mode = std::fs::metadata(&scratch.0).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}

#[test]
fn a_directory_has_one_gateway() {
    let scratch = Scratch::new("two");
    let first = scratch.open();
    let error = open(&scratch.setup()).unwrap_err();
    let pid = std::process::id();
    assert!(matches!(&error, StoreError::InUse { holder: Some(held), .. } if *held == pid));
    assert!(error.to_string().contains(&format!("in use by process {pid}")), "{error}");
    drop(first);
    drop(scratch.open());
}

#[test]
fn other_formats_are_refused_by_name() {
    let scratch = Scratch::new("format");
    drop(scratch.open());
    let mark = scratch.0.join("FORMAT");
    assert_eq!(std::fs::read_to_string(&mark).unwrap(), "motegate data format 1\n");
    std::fs::write(&mark, "motegate data format 7\n").unwrap();
    let error = open(&scratch.setup()).unwrap_err().to_string();
    assert!(error.contains("has data format 7; this version knows 1 only"), "{error}");
    assert!(error.contains("A newer motegate wrote it"), "{error}");
    for damage in [Some("rubbish"), None] {
        match damage {
            Some(text) => std::fs::write(&mark, text).unwrap(),
            None => std::fs::remove_file(&mark).unwrap(),
        }
        let error = open(&scratch.setup()).unwrap_err();
        assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
    }
}

#[test]
fn a_first_start_that_was_cut_short_is_begun_again() {
    let scratch = Scratch::new("first");
    std::fs::create_dir_all(scratch.0.join("store")).unwrap();
    std::fs::write(scratch.0.join("store/0.jnl"), "").unwrap();
    std::fs::write(scratch.0.join("FORMAT"), "motegate data format 1\n").unwrap();
    assert_eq!(scratch.open().applied, 0);
}

#[test]
fn an_unfinished_write_is_cut_off_wherever_it_ends() {
    let scratch = Scratch::new("torn");
    let mut model = killed(&scratch, 5);
    let path = scratch.newest_journal();
    let whole = std::fs::read(&path).unwrap();
    let good = usize::try_from(journal::scan(&path).unwrap().good).unwrap();
    // A sixth batch as it would look, cut anywhere, or with a page that never arrived.
    let sixth = whole[good - 430..good].to_vec();
    let mut holed = sixth.clone();
    holed[60..200].fill(0);
    for tail in [&sixth[..1], &sixth[..30], &sixth[..200], &sixth[..429], &holed[..], b"\xff\xff"] {
        std::fs::write(&path, [&whole[..good], tail, &[0; 10_000]].concat()).unwrap();
        assert_same(&scratch.open().db, &mut model);
    }
}

#[test]
fn a_journal_that_lost_its_end_is_missed() {
    let scratch = Scratch::new("short");
    killed(&scratch, 5);
    let path = scratch.newest_journal();
    std::fs::write(scratch.0.join("committed"), {
        drop(scratch.open());
        let mut running = scratch.start(None);
        running.append(vec![set(b"bk", b"v")]);
        running.settle();
        drop(running);
        std::fs::read(scratch.0.join("committed")).unwrap()
    })
    .unwrap();
    let good = journal::scan(&path).unwrap().good;
    journal::cut(&path, good - 600, None).unwrap();
    let opened = scratch.open();
    assert_eq!((opened.applied, opened.lost), (3, 3));
    let (_disk, stored) = opened.start(None).unwrap();
    assert_eq!(stored.counters().lost.load(std::sync::atomic::Ordering::Relaxed), 3);
}

#[test]
fn damage_is_refused_and_named() {
    let scratch = Scratch::new("damage");
    killed(&scratch, 5);
    let path = scratch.newest_journal();
    let whole = std::fs::read(&path).unwrap();
    let good = usize::try_from(journal::scan(&path).unwrap().good).unwrap();
    // In the third batch or so: a tag, a length, a value.
    for at in [good - 1_200, good - 1_100, good - 1_000] {
        let mut garbled = whole.clone();
        garbled[at..at + 40].fill(0xa5);
        std::fs::write(&path, &garbled).unwrap();
        let error = open(&scratch.setup()).unwrap_err().to_string();
        assert!(error.contains("is damaged") && error.contains("whole batches follow"), "{error}");
        assert!(error.contains("motegate store check --repair"), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), garbled, "nothing was changed");
    }
    // Who has asked for less is not kept from starting by a power failure.
    let setup = StoreSetup { sync: SyncPolicy::InBackground, ..scratch.setup() };
    let opened = open(&setup).unwrap();
    assert!(opened.applied < 5);
    assert!(scratch.0.join("lost.jnl").metadata().unwrap().len() > 0);
}

#[test]
fn tables_that_cannot_be_read_are_refused() {
    let scratch = Scratch::new("tables");
    spoil_a_table(&scratch, b"bk", 9_000);
    let opened = scratch.open();
    let mut saved = Restart { db: &opened.db, records: 0, failed: None, damaged: 0 };
    saved.state(&mut |_, _| {});
    assert!(saved.failed.is_some() && saved.records < 200, "{}", saved.records);
}
