//! `bench-hostile [--seconds 4] [--pairs 4]`: what clients that behave feel of those that do not.
//!
//! Build `motegate` in release mode first. Pairs of a publisher and a subscriber measure their
//! latency alone and beside each hostile client in turn, then beside all of them at once. Exit code
//! 1 when memory passes what the limits allow, or a hostile client did not end with its reason.
#![allow(clippy::disallowed_methods)] // a measurement has a clock of its own

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use motegate_tests::gateway::{Gateway, binary};
use motegate_tests::hostile::clients::{ALL, Hostile};
use motegate_tests::hostile::pairs::{self, Latency};
use motegate_tests::hostile::{BOUND_MIB, LIMITS, most_resident, resident};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Measure what hostile clients do to others
#[derive(Debug, Parser)]
struct Options {
    /// How long each measurement takes
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Pairs that measure
    #[arg(long, default_value_t = 4)]
    pairs: usize,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("a process knows its limits");
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).expect("the soft limit may be the hard one");
    let mut gateway = Gateway::run_of(&binary(), LIMITS);
    let base = resident(gateway.id());
    let bound = base + BOUND_MIB * 1024 * 1024;
    println!("idle {} MiB, bound {} MiB", base >> 20, bound >> 20);
    println!(
        "{:<22} {:>8} {:>8} {:>8} {:>8} {:>8}  {:<8} reason",
        "beside", "messages", "p50 µs", "p99 µs", "max µs", "MiB", "code"
    );
    let mut failed = 0;
    for hostile in &ALL {
        let (alone, memory, _) = measure(&gateway, &options, &[]);
        row("alone", alone, memory, "");
        let (beside, memory, codes) = measure(&gateway, &options, &[*hostile]);
        let ended = judge(&mut gateway, hostile, codes[0]);
        failed += usize::from(ended.is_err()) + usize::from(memory > bound);
        let (Ok(text) | Err(text)) = ended;
        row(hostile.name, beside, memory, &text);
    }
    let (beside, memory, codes) = measure(&gateway, &options, &ALL);
    failed += usize::from(memory > bound);
    row("all at once", beside, memory, "");
    for (hostile, code) in ALL.iter().zip(codes) {
        // Where all storm at once some come late; what was told is told once in ten seconds.
        println!("  {:<20} {}", hostile.name, word(code));
    }
    println!("{failed} faults");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Latency of the pairs, most memory, and what each hostile client heard.
fn measure(
    gateway: &Gateway,
    options: &Options,
    hostile: &[Hostile],
) -> (Latency, usize, Vec<Option<u8>>) {
    let until = Instant::now() + Duration::from_secs(options.seconds);
    let measuring = pairs::start(gateway.mqtt, options.pairs, until);
    let address = gateway.mqtt;
    let attack = |one: &Hostile| {
        let run = one.run;
        std::thread::spawn(move || run(address, until))
    };
    let attacks: Vec<_> = hostile.iter().map(attack).collect();
    let memory = most_resident(gateway.id(), until);
    let latency = pairs::collect(measuring);
    let codes = attacks.into_iter().map(|attack| attack.join().expect("it has ended")).collect();
    (latency, memory, codes)
}

/// Whether it ended as it must: the code that it heard, and the line of the log.
fn judge(gateway: &mut Gateway, hostile: &Hostile, code: Option<u8>) -> Result<String, String> {
    let told = format!("\"{}\"", hostile.told);
    let process = gateway.process();
    // Of what the broker bounds, and of who never said CONNECT, no client is named.
    let name = format!("\"client\":\"{}\"", hostile.name);
    let of = |line: &str| line.contains(&name) || !line.contains("\"client\":");
    let deadline = Instant::now() + Duration::from_secs(5);
    let mut log = false;
    while !log && Instant::now() < deadline {
        process.prints_within("no line is like this", Duration::from_millis(200)); // reads on
        log = process.transcript().lines().any(|line| line.contains(&told) && of(line));
    }
    let text = format!("{:<8} {}", word(code), hostile.told);
    match (code == hostile.code, log) {
        (true, true) => Ok(text),
        (false, _) => Err(format!("{text}: WRONG CODE, must be {}", word(hostile.code))),
        (true, false) => Err(format!("{text}: NOT IN THE LOG")),
    }
}

fn word(code: Option<u8>) -> String {
    code.map_or_else(|| "-".to_owned(), |code| format!("0x{code:02X}"))
}

fn row(name: &str, latency: Latency, memory: usize, ended: &str) {
    let Latency { messages, p50, p99, max } = latency;
    println!("{name:<22} {messages:>8} {p50:>8} {p99:>8} {max:>8} {:>8}  {ended}", memory >> 20);
}
