//! What the store costs: a little of it in every run, so that the rules that came out of
//! measurements hold; all of it, with figures, by
//! `STORE_FIGURES=1000000 cargo test --release -p motegate --lib store::tests::figures -- --nocapture`.

use std::io::BufRead as _;
use std::time::Instant;

use motegate_message::journal::Page;

use super::*;

/// Entries of the large database.
fn size() -> u64 {
    std::env::var("STORE_FIGURES").ok().and_then(|text| text.parse().ok()).unwrap_or(20_000)
}

/// On a real disk when figures are asked for.
fn scratch(name: &str) -> Scratch {
    match std::env::var_os("STORE_FIGURES") {
        None => Scratch::new(name),
        Some(_) => {
            let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target").join(name);
            let _ = std::fs::remove_dir_all(&place);
            Scratch(place)
        }
    }
}

#[allow(clippy::disallowed_methods, reason = "measures")]
fn timed<T>(what: impl FnOnce() -> T) -> (T, f64) {
    let began = Instant::now();
    let result = what();
    (result, began.elapsed().as_secs_f64())
}

/// CPU seconds and resident MiB of this process.
fn used() -> (f64, u64) {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    let ticks: f64 = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
    let pages: u64 = fields[21].parse().unwrap();
    (ticks / 100.0, pages * 4 / 1024)
}

fn disk(scratch: &Scratch) -> u64 {
    super::super::directory::bytes_below(&scratch.0) / 1024 / 1024
}

/// One publish to a queue.
fn publish(session: u64, delivery: u64) -> Vec<Record> {
    vec![set(&entry(session, delivery, 0).to_bytes(), &[0x5a; 200]), set(b"cw", b"12345678")]
}

fn acknowledge(session: u64, delivery: u64) -> Vec<Record> {
    vec![delete(&entry(session, delivery, 0).to_bytes()), set(b"cw", b"12345678")]
}

/// Appends `count` batches with `window` of them under way.
fn drive(
    running: &mut Running,
    count: u64,
    window: u64,
    mut batch: impl FnMut(u64) -> Vec<Record>,
) {
    let (mut committed, first) = (running.seq.0, running.seq.0);
    for n in 0..count {
        running.append(batch(n));
        while running.seq.0 - committed >= window {
            if let Report::Committed(seq) = running.report_at_once() {
                committed = seq.0;
            }
        }
    }
    while committed < first + count {
        if let Report::Committed(seq) = running.report_at_once() {
            committed = seq.0;
        }
    }
}

impl Running {
    /// As a woken worker has it.
    fn report_at_once(&mut self) -> Report {
        loop {
            if let Some(report) = self.disk.poll_report() {
                return report;
            }
            std::thread::sleep(Duration::from_micros(20));
        }
    }
}

#[test]
fn many_publishers_share_a_sync() {
    let scratch = scratch("figures-commits");
    let mut running = scratch.start(None);
    for (window, count) in [(1, 200), (10, 2_000), (100, 20_000), (1_000, size().min(200_000))] {
        let groups = running.stored.counters().groups.load(std::sync::atomic::Ordering::Relaxed);
        let (cpu, _) = used();
        let base = running.seq.0;
        let ((), secs) =
            timed(|| drive(&mut running, count, window, |n| publish(1 + n % 1_000, base + n + 1)));
        let groups =
            running.stored.counters().groups.load(std::sync::atomic::Ordering::Relaxed) - groups;
        println!(
            "{window:5} under way: {:8.0} publishes/s, {:6.0} syncs/s, {:5.1} a sync, {:6.3} ms \
             each, {:5.1} CPU us a record, sync p50/p99 {:?} us",
            count as f64 / secs,
            groups as f64 / secs,
            count as f64 / groups as f64,
            secs * 1e3 * window as f64 / count as f64,
            (used().0 - cpu) * 1e6 / (2 * count) as f64,
            running.stored.counters().sync_micros(),
        );
        assert!(window == 1 || groups < count, "{groups} commits for {count} batches");
    }
}

/// Loads until it is killed; the parent waits for the line.
fn load(directory: PathBuf) -> ! {
    let scratch = Scratch(directory);
    let mut running = scratch.start(None);
    let entries = size();
    let ((), secs) =
        timed(|| drive(&mut running, entries, 1_000, |n| publish(place(n).0, place(n).1)));
    println!("loaded {entries} in {secs:.2} s, {} MiB, disk {} MiB", used().1, disk(&scratch));
    loop {
        std::thread::park();
    }
}

fn sessions() -> u64 {
    (size() / 100).max(1)
}

/// The session and the delivery of the `n`th entry.
fn place(n: u64) -> (u64, u64) {
    (1 + n % sessions(), 1 + n / sessions())
}

#[test]
fn a_restart_reads_no_queue_and_a_drained_disk_is_given_back() {
    const NAME: &str =
        "store::tests::figures::a_restart_reads_no_queue_and_a_drained_disk_is_given_back";
    if let Some(directory) = std::env::var_os("LOADED_STORE") {
        load(directory.into());
    }
    let killed = scratch("figures-restart");
    let (entries, sessions) = (size(), sessions());
    let mut child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", NAME, "--nocapture"])
        .env("LOADED_STORE", &killed.0)
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = std::io::BufReader::new(child.stdout.take().unwrap()).lines();
    // What the test program says of itself stands before it on the line.
    let loaded = lines.find_map(|line| line.ok().filter(|line| line.contains("loaded ")));
    child.kill().unwrap();
    child.wait().unwrap();
    println!("{}", loaded.unwrap());
    let ((), secs) = timed(|| {
        for path in super::super::journal::list(&killed.0.join("store")).unwrap() {
            super::super::journal::scan(&path).unwrap();
        }
    });
    println!("look into the journals: {:.0} ms", secs * 1e3);
    let (mut opened, secs) = timed(|| killed.open());
    println!("open: {:.0} ms, {} MiB", secs * 1e3, used().1);
    opened.idle = Duration::from_millis(300);
    let mut saved = Restart { db: &opened.db, records: 0, failed: None, damaged: 0 };
    let (found, secs) = timed(|| {
        saved.state(&mut |_, _| {});
        (1..=sessions)
            .filter(|session| {
                saved.queue_ends(SessionId::from_u64(*session), DeliveryId(1)).is_some()
            })
            .count() as u64
    });
    assert_eq!((found, saved.records), (sessions, 1), "the state is all that is read");
    println!("ends of {sessions} queues: {:.0} ms, {} MiB", secs * 1e3, used().1);
    let (disk_handle, stored) = opened.start(None).unwrap();
    let mut running = Running { disk: disk_handle, stored, seq: Seq::NONE };
    let (mut read, mut slowest) = (0, 0.0_f64);
    let ((), secs) = timed(|| {
        drive(&mut running, entries, 1_000, |n| acknowledge(place(n).0, place(n).1));
    });
    println!("drain: {secs:.2} s, {} MiB, disk {} MiB", used().1, disk(&killed));
    // Heads of queues with nothing but tombstones before them.
    for session in 1..=sessions.min(200) {
        running.disk.fetch(part(session, entries / sessions + 2, 10, 10_000));
        let (report, secs) = timed(|| running.report_at_once());
        slowest = slowest.max(secs);
        let Report::Fetched { page: Page { entries, is_last, .. }, .. } = report else { panic!() };
        read += entries.len();
        assert!(is_last);
    }
    assert_eq!(read, 0);
    println!("slowest of 200 looks at a drained queue: {:.2} ms", slowest * 1e3);
    // Given back by itself: all but the journals, of which 64 MiB may stay.
    let tables =
        || super::super::directory::bytes_below(&killed.0.join("store/keyspaces")) / 1024 / 1024;
    for _ in 0..500 {
        if tables() < 4 {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    println!("a moment later: disk {} MiB, tables {} MiB", disk(&killed), tables());
    assert!(tables() < 4, "{} MiB", tables());
    drop(running);
    drop(killed.open());
    println!("after a restart: disk {} MiB", disk(&killed));
}
