//! kill -9 at random moments: what was acknowledged is there, nothing is half there.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use super::*;

/// What the child writes as its `n`th batch: an entry with a content of its own, the end of an
/// older one, and a counter.
fn nth(n: u64) -> Vec<Record> {
    let mut batch = vec![
        set(b"bcount", &n.to_be_bytes()),
        set(&content_key(n), &[7; 200]),
        set(&entry(1, n, n).to_bytes(), b"one"),
        set(&entry(2, n, n).to_bytes(), b"two"),
    ];
    if n > 50 {
        batch.push(delete(&entry(1, n - 50, n - 50).to_bytes()));
    }
    if n > 80 {
        batch.push(delete(&entry(2, n - 80, n - 80).to_bytes()));
    }
    if n.is_multiple_of(1_000) {
        batch.push(delete(&QueueKey::prefix(SessionId::from_u64(2))));
    }
    batch
}

/// The child: batches until it is killed, and every acknowledgement on stdout.
fn child(directory: PathBuf) {
    let scratch = Scratch(directory);
    let opened = scratch.open();
    let mut n = opened.applied;
    let (disk, stored) = opened.start(None).unwrap();
    let base = n;
    let mut running = Running { disk, stored, seq: Seq::NONE };
    loop {
        // As many as are in flight with some publishers.
        while n - base - acknowledged(&mut running) < 40 {
            n += 1;
            running.append(nth(n));
        }
    }
}

thread_local! {
    static LAST: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

fn acknowledged(running: &mut Running) -> u64 {
    while let Some(report) = running.disk.poll_report() {
        if let Report::Committed(seq) = report {
            println!("acknowledged {}", seq.0);
            LAST.set(seq.0);
        }
    }
    std::thread::sleep(Duration::from_micros(100));
    LAST.get()
}

#[test]
fn what_was_acknowledged_survives_kill_9() {
    const NAME: &str = "store::tests::crash::what_was_acknowledged_survives_kill_9";
    if let Some(directory) = std::env::var_os("KILLED_STORE") {
        return child(directory.into());
    }
    let scratch = Scratch::new("kill");
    let mut noise = u64::from(std::process::id());
    let (mut base, mut most) = (0, 0);
    for round in 0..8 {
        noise =
            noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", NAME, "--nocapture"])
            .env("KILLED_STORE", &scratch.0)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut acknowledged = 0;
        // Once far enough to lose something, whatever the numbers are.
        let mut left = if round == 0 { 60 } else { 1 + noise % 60 };
        // What the pipe still holds when it is killed was acknowledged as well.
        while let Some(Ok(line)) = lines.next() {
            let Some(number) = line.strip_prefix("acknowledged ") else { continue };
            acknowledged = number.parse().unwrap();
            left = left.saturating_sub(1);
            if left == 0 {
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        let opened = scratch.open();
        let stored = opened.applied;
        assert_eq!(opened.lost, 0);
        assert!(stored >= base + acknowledged, "{stored} of {}", base + acknowledged);
        let mut model = MemoryStore::default();
        (1..=stored).for_each(|n| model.apply(nth(n)));
        assert_same(&opened.db, &mut model);
        most = most.max(stored - base);
        base = stored;
    }
    assert!(most > 40, "it was never far enough to lose something");
}
