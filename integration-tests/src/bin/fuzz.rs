//! `fuzz --inputs 10000000 [--seed N] [--only NAME] [--round N]`: the seeded fuzzer. Ends with 0 when no
//! target panicked, broke a rule or needed more memory than allowed.

#![allow(clippy::disallowed_methods)] // a tool may look at the clock

use std::cell::Cell;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use motegate_tests::fuzz::{ROUND, TARGETS, Target};
use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// Most memory that a target may need, in bytes.
const LIMIT: usize = 256 * 1024 * 1024;

thread_local! {
    /// What runs now, for the report of a panic.
    static RUNNING: Cell<(&'static str, u64, u64)> = const { Cell::new(("", 0, 0)) };
}

/// Feeds every decoder and endpoint with valid, wounded and random inputs.
#[derive(Debug, Parser)]
struct Arguments {
    /// Inputs in all, shared out among the targets.
    #[arg(long, default_value_t = 1_000_000)]
    inputs: u64,
    /// Another seed, other inputs.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Only this target gets them.
    #[arg(long)]
    only: Option<String>,
    /// Only this round of the target, to repeat a finding.
    #[arg(long)]
    round: Option<u64>,
}

fn again(name: &str, seed: u64, round: u64) -> String {
    format!(
        "again: cargo run --release -p motegate-tests --bin fuzz -- --only {name} --seed {seed} --round {round}"
    )
}

fn run(target: &Target, arguments: &Arguments, inputs: u64) -> Result<(), String> {
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    let started = Instant::now();
    let rounds = match arguments.round {
        Some(round) => round..round + 1,
        None => 0..inputs.div_ceil(ROUND),
    };
    let mut done = 0;
    for round in rounds {
        RUNNING.set((target.name, arguments.seed, round));
        let count = if arguments.round.is_some() { ROUND } else { ROUND.min(inputs - done) };
        target.round(arguments.seed, round, count).map_err(|failure| {
            format!("{}: {failure}\n{}", target.name, again(target.name, arguments.seed, round))
        })?;
        done += count;
    }
    let peak = MEMORY.peak_usage().saturating_sub(before);
    println!(
        "{:<18} {done:>9} inputs {:>9.0}/s   peak {:>8.1} KiB",
        target.name,
        done as f64 / started.elapsed().as_secs_f64(),
        peak as f64 / 1024.0
    );
    if peak > LIMIT {
        return Err(format!("{} needed {peak} bytes, allowed are {LIMIT}", target.name));
    }
    Ok(())
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        let (name, seed, round) = RUNNING.get();
        eprintln!("panic in {name}\n{}", again(name, seed, round));
        hook(info);
    }));
    let chosen: Vec<&Target> = TARGETS
        .iter()
        .filter(|t| arguments.only.as_deref().is_none_or(|only| t.name == only))
        .collect();
    if chosen.is_empty() {
        eprintln!("no such target; there are {:?}", TARGETS.map(|t| t.name));
        return ExitCode::from(2);
    }
    let mut failures = 0;
    for target in &chosen {
        let inputs = if chosen.len() == 1 {
            arguments.inputs
        } else {
            (arguments.inputs * target.share).div_ceil(1000)
        };
        if let Err(failure) = run(target, &arguments, inputs) {
            println!("{failure}");
            failures += 1;
        }
    }
    println!("{} targets, {failures} failed", chosen.len());
    ExitCode::from(u8::from(failures > 0))
}
