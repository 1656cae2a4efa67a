//! `sim --model mqtt`: many seeds, or one with everything that happens.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::{Report, Spoil, run};

/// What is wanted.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    /// The first seed, and how many.
    pub seeds: (u64, u64),
    /// A planted fault.
    pub fault: Option<Spoil>,
    /// So many threads.
    pub threads: usize,
    /// All failures are counted.
    pub keep_going: bool,
}

/// Runs one seed and prints what happens; whether it passed.
#[must_use]
pub fn one(seed: u64, fault: Option<Spoil>, trace: bool) -> bool {
    let report = run(seed, fault, true);
    let from = if trace { 0 } else { report.lines.len().saturating_sub(60) };
    report.lines[from..].iter().for_each(|line| println!("{line}"));
    let Report { steps, delivered, restarts, .. } = report;
    println!("seed {seed}: {steps} steps, {delivered} delivered, {restarts} restarts");
    println!("{}", report.failure.as_deref().unwrap_or("passed"));
    report.failure.is_none()
}

/// Runs many; whether all passed.
#[must_use]
pub fn many(wanted: Wanted) -> bool {
    let (from, count) = wanted.seeds;
    let [next, steps, delivered, restarts] = [const { AtomicU64::new(0) }; 4];
    let stop = AtomicBool::new(false);
    let work = || {
        let mut failures = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            let n = next.fetch_add(1, Ordering::Relaxed);
            if n >= count {
                break;
            }
            let report = run(from + n, wanted.fault, false);
            steps.fetch_add(report.steps, Ordering::Relaxed);
            delivered.fetch_add(report.delivered, Ordering::Relaxed);
            restarts.fetch_add(report.restarts, Ordering::Relaxed);
            if let Some(failure) = report.failure {
                failures.push((from + n, failure));
                stop.fetch_or(!wanted.keep_going, Ordering::Relaxed);
            }
        }
        failures
    };
    let mut failures: Vec<(u64, String)> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..wanted.threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap_or_default()).collect()
    });
    failures.sort();
    for (seed, failure) in failures.iter().skip(1) {
        println!("seed {seed}: {failure}");
    }
    if let Some((seed, _)) = failures.first() {
        let passed = one(*seed, wanted.fault, false);
        if passed {
            println!("a second run of it passed: the run is not deterministic");
        }
        let fault = wanted.fault.map(|f| format!(" --fault {}", f.name())).unwrap_or_default();
        println!(
            "again: cargo run --release -p motegate-tests --bin sim -- --model mqtt --seed {seed} \
             --trace{fault}"
        );
    }
    let ran = next.into_inner().min(count);
    println!(
        "{} seeds passed, {} failed, {} steps, {} deliveries foretold, {} restarts",
        ran - failures.len() as u64,
        failures.len(),
        steps.into_inner(),
        delivered.into_inner(),
        restarts.into_inner()
    );
    failures.is_empty()
}
