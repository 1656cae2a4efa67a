//! `sim --seeds 10000 [--from N] [--seed N --trace] [--fault NAME]`: the deterministic simulation.
//! `sim --model coap --seeds 10000 …`: CoAP alone, at 20 % loss to the end ([`sim::Scene::Coap`]).
//! `sim --model streams --seeds 10000 …`: CoAP over connections that break and stall, with crashes ([`sim::Scene::Streams`]).
//! `sim --model mqtt --seeds 10000 …`: the model check of the MQTT broker ([`exact`]).
//! Ends with 0 when every seed passed; with `--fault`, when the fault was found.

#![allow(clippy::disallowed_methods)] // a tool may look at the clock

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use clap::Parser;
use motegate_tests::sim::{self, Detail, Fault, Report, Scene, exact};

/// Runs the deterministic simulation.
#[derive(Debug, Parser)]
struct Arguments {
    /// The check: all three protocols over bad links, CoAP alone at 20 % loss, CoAP over connections that
    /// break, or MQTT alone, each packet foretold.
    #[arg(long, value_enum, default_value_t = Check::Gateway)]
    model: Check,
    /// How many seeds.
    #[arg(long, default_value_t = 1000)]
    seeds: u64,
    /// The first one.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Only this one.
    #[arg(long)]
    seed: Option<u64>,
    /// Print everything that happens.
    #[arg(long)]
    trace: bool,
    /// Plant a fault: no-duplicate-check, ack-before-commit, early-pingresp, ack-on-failed-sync,
    /// fragment-published, notification-lost, held-back-lost, body-doubled; with `--model mqtt`: wrong-identifier, expiry-as-published, wrong-retain, dup-forgotten, wrong-qos,
    /// property-lost, expired-delivered, shared-lost.
    #[arg(long)]
    fault: Option<String>,
    /// Run this seed once for each batch that it hands to the store in its course, with a crash when
    /// it does.
    #[arg(long, value_name = "SEED")]
    every_batch: Option<u64>,
    /// With --seed: the batch at which it crashes, too.
    #[arg(long)]
    at_batch: Option<u64>,
    /// Threads; 0: one a core.
    #[arg(long, default_value_t = 0)]
    threads: usize,
    /// Go on after a failure and count the kinds.
    #[arg(long)]
    keep_going: bool,
}

/// What is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Check {
    /// [`sim`].
    Gateway,
    /// [`sim::Scene::Coap`].
    Coap,
    /// [`sim::Scene::Streams`].
    Streams,
    /// [`exact`].
    Mqtt,
}

/// The model check; whether it came out as wanted.
fn exactly(arguments: &Arguments) -> ExitCode {
    let fault = match arguments.fault.as_deref().map(|name| (name, exact::Spoil::from_name(name))) {
        None => None,
        Some((_, Some(fault))) => Some(fault),
        Some((name, None)) => {
            eprintln!("no fault {name}; there are {:?}", exact::Spoil::ALL.map(exact::Spoil::name));
            return ExitCode::from(2);
        }
    };
    let passed = match arguments.seed {
        Some(seed) => exact::tool::one(seed, fault, arguments.trace),
        None => exact::tool::many(exact::tool::Wanted {
            seeds: (arguments.from, arguments.seeds),
            fault,
            threads: threads(arguments),
            keep_going: arguments.keep_going,
        }),
    };
    if passed != fault.is_some() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn threads(arguments: &Arguments) -> usize {
    match arguments.threads {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        threads => threads,
    }
}

thread_local! {
    static SEED: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

fn run_at(
    model: Check,
    seed: u64,
    fault: Option<Fault>,
    detail: Detail,
    at_batch: Option<u64>,
) -> Report {
    SEED.set(seed);
    match model {
        Check::Coap => sim::run_scene(Scene::Coap, seed, fault, detail),
        Check::Streams => sim::run_scene(Scene::Streams, seed, fault, detail),
        _ => sim::run_crashing(seed, fault, detail, at_batch),
    }
}

/// Seed, batch at which it crashed too, what went wrong.
type Failure = (u64, Option<u64>, String);

fn print_failure(model: Check, fault: Option<Fault>, (seed, at_batch, failure): &Failure) {
    let report = run_at(model, *seed, fault, Detail::Tail(60), *at_batch);
    for line in &report.lines {
        println!("{line}");
    }
    println!("seed {seed} failed: {failure}");
    if report.failure.as_deref() != Some(failure.as_str()) {
        println!("a second run of it says: {:?}", report.failure);
    }
    let fault = fault.map(|f| format!(" --fault {}", f.name())).unwrap_or_default();
    let at = at_batch.map(|batch| format!(" --at-batch {batch}")).unwrap_or_default();
    let model = match model {
        Check::Coap => " --model coap",
        Check::Streams => " --model streams",
        _ => "",
    };
    println!(
        "again: cargo run --release -p motegate-tests --bin sim --{model} --seed {seed}{at} \
         --trace{fault}"
    );
}

#[derive(Debug, Default)]
struct Totals {
    next: AtomicU64,
    passed: AtomicU64,
    steps: AtomicU64,
    messages: AtomicU64,
    restarts: AtomicU64,
    failures: AtomicU64,
    refused: AtomicU64,
    damaged: AtomicU64,
    least: AtomicU64,
    stop: AtomicBool,
}

fn work(arguments: &Arguments, fault: Option<Fault>, totals: &Totals) -> Vec<Failure> {
    let mut failures = Vec::new();
    while !totals.stop.load(Ordering::Relaxed) {
        let n = totals.next.fetch_add(1, Ordering::Relaxed);
        if n >= arguments.seeds {
            break;
        }
        // With `--every-batch` the seeds are the batches of one run.
        let (seed, at_batch) = match arguments.every_batch {
            Some(seed) => (seed, Some(n + 1)),
            None => (arguments.from + n, None),
        };
        let report = run_at(arguments.model, seed, fault, Detail::Hash, at_batch);
        if at_batch.is_some_and(|batch| batch > report.batches) {
            break;
        }
        totals.steps.fetch_add(report.steps, Ordering::Relaxed);
        totals.messages.fetch_add(report.messages, Ordering::Relaxed);
        totals.restarts.fetch_add(report.restarts, Ordering::Relaxed);
        totals.failures.fetch_add(report.failures, Ordering::Relaxed);
        totals.refused.fetch_add(report.refused, Ordering::Relaxed);
        totals.damaged.fetch_add(report.damaged, Ordering::Relaxed);
        let mut failure = report.failure;
        if failure.is_none() {
            totals.least.fetch_min(report.steps, Ordering::Relaxed);
        }
        if failure.is_none()
            && (seed.is_multiple_of(97) && at_batch.is_none())
            && run_at(arguments.model, seed, fault, Detail::Hash, None).hash != report.hash
        {
            failure = Some("two runs differ".into());
        }
        match failure {
            None => drop(totals.passed.fetch_add(1, Ordering::Relaxed)),
            Some(failure) => {
                failures.push((seed, at_batch, failure));
                if !arguments.keep_going {
                    totals.stop.store(true, Ordering::Relaxed);
                }
            }
        }
    }
    failures
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.model == Check::Mqtt {
        return exactly(&arguments);
    }
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        eprintln!("panic in seed {}", SEED.get());
        hook(info);
    }));
    let fault = match arguments.fault.as_deref().map(|name| (name, Fault::from_name(name))) {
        None => None,
        Some((_, Some(fault))) => Some(fault),
        Some((name, None)) => {
            eprintln!("no fault {name}; there are {:?}", Fault::ALL.map(Fault::name));
            return ExitCode::from(2);
        }
    };
    if let Some(seed) = arguments.seed {
        let detail = if arguments.trace { Detail::Print } else { Detail::Tail(60) };
        let report = run_at(arguments.model, seed, fault, detail, arguments.at_batch);
        if let (Some(_), false) = (&report.failure, arguments.trace) {
            report.lines.iter().for_each(|line| println!("{line}"));
        }
        println!(
            "seed {seed}: {} steps, {} published ({} of CoAP in blocks), {} read in blocks, {} held back, {} delivered, {} restarts, {} batches, {} s, hash {:016x}",
            report.steps,
            report.published,
            report.in_blocks,
            report.in_blocks_read,
            report.held_back,
            report.messages,
            report.restarts,
            report.batches,
            report.virtual_secs,
            report.hash
        );
        println!("{}", report.failure.as_deref().unwrap_or("passed"));
        return ExitCode::from(u8::from(report.failure.is_some()));
    }
    many(&arguments, fault)
}

fn many(arguments: &Arguments, fault: Option<Fault>) -> ExitCode {
    let started = Instant::now();
    let threads = threads(arguments);
    let totals = Totals { least: AtomicU64::new(u64::MAX), ..Totals::default() };
    let mut failures: Vec<Failure> = std::thread::scope(|scope| {
        let workers: Vec<_> =
            (0..threads).map(|_| scope.spawn(|| work(arguments, fault, &totals))).collect();
        workers.into_iter().flat_map(|w| w.join().unwrap_or_default()).collect()
    });
    failures.sort();
    let seconds = started.elapsed().as_secs_f64();
    if arguments.keep_going {
        for (seed, at_batch, failure) in &failures {
            let at = at_batch.map(|batch| format!(" at batch {batch}")).unwrap_or_default();
            println!("seed {seed}{at}: {}", failure.lines().next().unwrap_or_default());
        }
    }
    if let Some(failure) = failures.first() {
        print_failure(arguments.model, fault, failure);
    }
    let ran = totals.next.load(Ordering::Relaxed).min(arguments.seeds);
    let failed =
        if failures.is_empty() { String::new() } else { format!("{} failed, ", failures.len()) };
    let passed = totals.passed.load(Ordering::Relaxed);
    // Of the seeds that ran to their end; none did where all failed.
    let least = if passed == 0 { 0 } else { totals.least.load(Ordering::Relaxed) };
    println!(
        "{passed} seeds passed, {failed}{} steps (at least {least} each), {} messages, {} restarts, \
         {} failures of the store, {} refused, {} damaged reads, {:.0} seeds/s",
        totals.steps.load(Ordering::Relaxed),
        totals.messages.load(Ordering::Relaxed),
        totals.restarts.load(Ordering::Relaxed),
        totals.failures.load(Ordering::Relaxed),
        totals.refused.load(Ordering::Relaxed),
        totals.damaged.load(Ordering::Relaxed),
        ran as f64 / seconds
    );
    match (fault, failures.is_empty()) {
        (None, true) | (Some(_), false) => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}
