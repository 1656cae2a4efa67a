//! Backups, checks and repairs.

use super::super::rebuild::{backup_stopped, check_stopped, repair, restore};
use super::super::{BackupError, Directory, RebuildError, StoreError, backup};
use super::*;

/// A store with something of everything.
fn filled(scratch: &Scratch) -> MemoryStore {
    let mut running = scratch.start(None);
    let mut model = MemoryStore::default();
    let batch = vec![
        set(b"bS1", b"session"),
        set(b"bRtopic", b"retained"),
        set(b"cw", b"12345678"),
        set(&content_key(7), b"content"),
        set(&entry(1, 1, 7).to_bytes(), b"one"),
        set(&entry(2, 1, 7).to_bytes(), b"two"),
        set(&entry(2, 2, 0).to_bytes(), b"three"),
    ];
    model.apply(batch.clone());
    running.append(batch);
    running.settle();
    model
}

#[test]
fn a_backup_is_a_moment_and_becomes_a_store_again() {
    let (scratch, other) = (Scratch::new("backup"), Scratch::new("restored"));
    let mut model = filled(&scratch);
    let mut running = scratch.start(None);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let view = runtime.block_on(running.stored.view()).unwrap();
    // What comes later is not in it.
    running.append(vec![set(b"bS2", b"later"), delete(&entry(1, 1, 7).to_bytes())]);
    running.settle();
    let target = scratch.0.join("monday");
    let contents = backup::write(&view, &target).unwrap();
    assert_eq!((contents.applied, contents.records), (1, 9));
    assert_eq!(contents.bytes, target.metadata().unwrap().len());
    assert!(matches!(backup::write(&view, &target), Err(BackupError::Exists(_))));
    drop((view, running));

    let (restored, old) = restore(&target, &other.0, false).unwrap();
    assert_eq!((restored, old), (contents, None));
    let opened = other.open();
    assert_eq!((opened.applied, opened.lost), (1, 0));
    assert_same(&opened.db, &mut model);
    let error = restore(&target, &other.0, false).unwrap_err();
    assert!(matches!(error, RebuildError::Store(StoreError::InUse { .. })), "{error}");
    drop(opened);
    let error = restore(&target, &other.0, false).unwrap_err();
    assert!(matches!(error, RebuildError::NotEmpty(_)), "{error}");
    let (_, old) = restore(&target, &other.0, true).unwrap();
    assert!(old.unwrap().join("version").exists());
    assert_same(&other.open().db, &mut model);
}

#[test]
fn half_a_backup_is_none() {
    let (scratch, other) = (Scratch::new("half"), Scratch::new("untouched"));
    filled(&scratch);
    let target = scratch.0.join("monday");
    backup_stopped(&Directory::take(&scratch.0).unwrap(), &target).unwrap();
    let whole = std::fs::read(&target).unwrap();
    for end in [0, 10, 40, whole.len() - 20, whole.len() - 1] {
        std::fs::write(&target, &whole[..end]).unwrap();
        assert!(restore(&target, &other.0, false).is_err(), "{end}");
    }
    for at in (0..whole.len()).step_by(7) {
        let mut garbled = whole.clone();
        garbled[at] ^= 0x10;
        std::fs::write(&target, &garbled).unwrap();
        assert!(restore(&target, &other.0, false).is_err(), "{at}");
    }
    assert!(!other.0.exists(), "nothing was begun");
}

#[test]
fn a_check_counts_and_a_repair_leaves_out_what_does_not_fit() {
    let scratch = Scratch::new("check");
    let mut model = filled(&scratch);
    let directory = || Directory::take(&scratch.0).unwrap();
    let checked = check_stopped(&directory()).unwrap();
    assert!(checked.is_sound(), "{checked:?}");
    assert_eq!((checked.counts["sessions"], checked.counts["queued messages"]), (1, 3));

    let opened = scratch.open();
    opened.db.content.insert(9_u64.to_be_bytes(), b"orphan").unwrap();
    opened.db.uses.insert(7_u64.to_be_bytes(), 5_u64.to_be_bytes()).unwrap();
    let lost = super::super::database::entry_key(entry(3, 1, 8));
    opened.db.queue.insert(lost, b"without content").unwrap();
    drop(opened);
    let checked = check_stopped(&directory()).unwrap();
    assert_eq!((checked.orphaned_contents, checked.entries_without_content), (1, 1));
    assert_eq!((checked.wrong_counts, checked.damaged), (2, 0));
    assert!(repair(&directory()).unwrap().unwrap().is_dir());
    assert!(check_stopped(&directory()).unwrap().is_sound());
    assert_same(&scratch.open().db, &mut model);
}

#[test]
fn what_lies_around_damage_is_kept() {
    let scratch = Scratch::new("salvage");
    spoil_a_table(&scratch, b"bS", 30_000);
    let directory = Directory::take(&scratch.0).unwrap();
    let checked = check_stopped(&directory).unwrap();
    assert!(
        checked.damaged > 0 && checked.damage[0].contains("`state` behind 6253"),
        "{checked:?}"
    );
    let readable = checked.counts["sessions"];
    assert!((150..200).contains(&readable), "{readable}");
    repair(&directory).unwrap();
    let checked = check_stopped(&directory).unwrap();
    assert!(checked.is_sound() && checked.counts["sessions"] == readable, "{checked:?}");
    assert_eq!(checked.applied, 200);
}

#[test]
fn a_repair_cuts_a_damaged_journal_and_keeps_what_it_cuts() {
    let scratch = Scratch::new("cut");
    let mut running = scratch.start(None);
    for number in 1..=5 {
        running.append(vec![set(&entry(1, number, 0).to_bytes(), &[1; 300])]);
        running.settle();
    }
    drop(running);
    let path = scratch.newest_journal();
    let good = super::super::journal::scan(&path).unwrap().good;
    let mut bytes = std::fs::read(&path).unwrap();
    let at = usize::try_from(good).unwrap() - 1_000;
    bytes[at..at + 20].fill(0xa5);
    std::fs::write(&path, bytes).unwrap();
    let directory = Directory::take(&scratch.0).unwrap();
    let checked = check_stopped(&directory).unwrap();
    assert!(checked.damaged == 1 && checked.damage[0].contains("whole batches follow"));
    let old = repair(&directory).unwrap().unwrap();
    assert!(old.join("0.damaged").metadata().unwrap().len() > 900);
    drop(directory);
    let opened = scratch.open();
    assert!((1..5).contains(&opened.applied), "{}", opened.applied);
    assert!(dump(&opened.db).0.len() as u64 == opened.applied);
}
