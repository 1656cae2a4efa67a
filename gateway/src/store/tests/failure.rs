//! Disks that fail: nothing is acknowledged, nothing is lost, and it goes on by itself.

use std::io;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, atomic::AtomicU64};

use super::super::writer::Step;
use super::*;

/// Fails the `n`th of these steps, `times` times in a row.
fn nth(step: Step, n: u64, times: u64, error: i32) -> (Option<Faults>, Arc<AtomicU64>) {
    let failed = Arc::new(AtomicU64::new(0));
    let (mut seen, told) = (0, failed.clone());
    let faults: Faults = Box::new(move |at| {
        if at == step {
            seen += 1;
            if seen >= n && seen < n + times {
                told.fetch_add(1, Relaxed);
                return Err(io::Error::from_raw_os_error(error));
            }
        }
        Ok(())
    });
    (Some(faults), failed)
}

#[test]
fn a_failure_at_any_step_acknowledges_nothing_and_loses_nothing() {
    for (step, errno) in [(Step::Write, 28), (Step::Sync, 5), (Step::Sync, 28)] {
        for n in 1..=4 {
            let scratch = Scratch::new("steps");
            let (faults, failed) = nth(step, n, 2, errno);
            let mut running = scratch.start(faults);
            let mut model = MemoryStore::default();
            let mut reports = Vec::new();
            for number in 1..=5 {
                let key = entry(1, number, 1 + number % 2).to_bytes();
                let batch = vec![set(&content_key(1 + number % 2), b"c"), set(&key, b"v")];
                model.apply(batch.clone());
                let seq = running.append(batch);
                // Each batch is a group of its own.
                loop {
                    let report = running.report();
                    let is_last = report == Report::Committed(seq);
                    reports.push(report);
                    if is_last {
                        break;
                    }
                }
            }
            assert_eq!(failed.load(Relaxed), 2, "{step:?} {n}");
            let told = reports.iter().filter(|r| **r == Report::Failed);
            assert_eq!(told.count(), 1, "{reports:?}");
            let place = usize::try_from(n).unwrap() - 1;
            assert_eq!(reports[place], Report::Failed, "before the {n}th");
            assert!(!running.stored.counters().failing.load(Relaxed));
            drop(running);
            assert_same(&scratch.open().db, &mut model);
        }
    }
}

#[test]
fn while_it_fails_batches_and_fetches_wait_in_their_order() {
    let scratch = Scratch::new("wait");
    let (faults, failed) = nth(Step::Reopen, 1, 3, 30);
    let mut first = true;
    let mut reopen = faults.unwrap();
    let faults: Faults = Box::new(move |step| match step {
        Step::Sync if std::mem::take(&mut first) => Err(io::Error::from_raw_os_error(5)),
        step => reopen(step),
    });
    let mut running = scratch.start(Some(faults));
    running.append(vec![set(&entry(1, 1, 0).to_bytes(), b"v")]);
    assert_eq!(running.report(), Report::Failed);
    let mut model = MemoryStore::default();
    model.apply(vec![set(&entry(1, 1, 0).to_bytes(), b"v")]);
    for number in 2..=2_000 {
        let batch = vec![set(&entry(1, number, 0).to_bytes(), b"v")];
        model.apply(batch.clone());
        running.append(batch);
    }
    running.disk.fetch(part(1, 1_999, 9, 99));
    let mut page = None;
    let mut committed = Seq::NONE;
    while committed < running.seq || page.is_none() {
        match running.report() {
            Report::Committed(seq) => committed = seq,
            Report::Fetched { page: found, .. } => page = Some(found),
            Report::Failed => panic!("told twice"),
        }
    }
    assert_eq!(failed.load(Relaxed), 3);
    assert_eq!(page.unwrap().entries.len(), 2);
    drop(running);
    assert_same(&scratch.open().db, &mut model);
}

#[test]
fn a_failure_that_concerns_nobody_is_told_to_be_over() {
    let scratch = Scratch::new("background");
    let setup = StoreSetup { sync: SyncPolicy::InBackground, ..scratch.setup() };
    let (faults, _) = nth(Step::Sync, 1, 2, 5);
    let (disk, stored) = open(&setup).unwrap().start(faults).unwrap();
    let mut running = Running { disk, stored, seq: Seq::NONE };
    let seq = running.append(vec![set(b"bk", b"v")]);
    assert_eq!(running.report(), Report::Committed(seq));
    // About a second later, in the background.
    assert_eq!(running.report(), Report::Failed);
    assert_eq!(running.report(), Report::Committed(seq));
    drop(running);
    assert_eq!(dump(&scratch.open().db).0.len(), 1);
}

#[test]
fn a_stopping_gateway_does_not_wait_for_ever() {
    let scratch = Scratch::new("stop");
    let (faults, _) = nth(Step::Write, 1, u64::MAX / 2, 28);
    let mut running = scratch.start(faults);
    running.append(vec![set(b"bk", b"v")]);
    assert_eq!(running.report(), Report::Failed);
    let stored = running.stored.clone();
    drop(running);
    assert!(stored.counters().failures.load(Relaxed) > 3, "it was tried again while stopping");
    assert!(dump(&scratch.open().db).0.is_empty());
}

/// Runs a test of this file again within a file system of 6 MiB, of this process' own.
fn on_a_small_disk(test: &str) {
    let mount = Scratch::new("small");
    std::fs::create_dir_all(&mount.0).unwrap();
    let script = "mount -t tmpfs -o size=6m tmpfs \"$SMALL_DISK\" && exec \"$0\" \"$@\"";
    let output = std::process::Command::new("unshare")
        .args(["-Urm", "sh", "-c", script])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", &format!("store::tests::failure::{test}"), "--nocapture"])
        .env("SMALL_DISK", &mount.0)
        .output()
        .expect("`unshare` is part of util-linux");
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "on a disk of 6 MiB (this needs user namespaces: sysctl kernel.unprivileged_userns_clone):\n{text}"
    );
}

#[test]
fn a_disk_that_fills_up_for_real_goes_on_when_there_is_room() {
    let Some(disk) = std::env::var_os("SMALL_DISK").map(PathBuf::from) else {
        return on_a_small_disk("a_disk_that_fills_up_for_real_goes_on_when_there_is_room");
    };
    let scratch = Scratch(disk.join("data"));
    let ballast = disk.join("ballast");
    let mut running = scratch.start(None);
    std::fs::write(&ballast, vec![7; 2 * 1024 * 1024]).unwrap();
    let mut model = MemoryStore::default();
    let mut failed = false;
    // Values that do not compress, 3 MiB at once: more than is left.
    let mut noise = 1_u64;
    for number in 1..=120_u64 {
        let value: Vec<u8> = (0..50_000)
            .map(|_| {
                noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                noise.to_be_bytes()[0]
            })
            .collect();
        let batch = vec![set(&entry(1, number, 0).to_bytes(), &value)];
        model.apply(batch.clone());
        let seq = running.append(batch);
        loop {
            match running.report() {
                Report::Failed => {
                    failed = true;
                    // It may not be told that this is stored before there is room.
                    std::thread::sleep(Duration::from_millis(300));
                    assert_eq!(running.disk.poll_report(), None);
                    std::fs::remove_file(&ballast).unwrap();
                }
                Report::Committed(at) if at == seq => break,
                other => panic!("{other:?}"),
            }
        }
        if failed {
            break;
        }
    }
    assert!(failed, "the disk was never full");
    drop(running);
    assert_same(&scratch.open().db, &mut model);
}
