//! `bench-durability [--rounds 3] [--seconds 4] [--publishers 1,10,100,1000]`: what durability costs.
//!
//! Build `motegate` in release mode first. Prints a table: messages a second, p50 and p99 until the
//! PUBACK, CPU of the gateway a message, and what one group commit holds.

use std::collections::BTreeMap;

use clap::Parser;
use motegate_tests::durability::groups::{self, DURABILITIES, Figures};

/// Measure throughput and latency with each durability
#[derive(Debug, Parser)]
struct Options {
    /// Runs of each; medians are told
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// How long each
    #[arg(long, default_value_t = 4)]
    seconds: u32,
    /// How many at a time
    #[arg(long, value_delimiter = ',', default_value = "1,10,100,1000")]
    publishers: Vec<u32>,
}

fn main() {
    let options = Options::parse();
    println!(
        "medians of {} rounds of {} s; QoS 1, 64 bytes, one message a publisher on its way, one \
         durable session hears all",
        options.rounds, options.seconds
    );
    println!(
        "{:>10} {:>9} {:<14} {:>9} {:>8} {:>8} {:>7} {:>14} {:>14} {:>8}",
        "publishers",
        "session",
        "durability",
        "msg/s",
        "p50 ms",
        "p99 ms",
        "CPU µs",
        "batches/commit",
        "records/commit",
        "sync ms"
    );
    let servers = groups::servers();
    for connected in [false, true] {
        for publishers in &options.publishers {
            let mut all: BTreeMap<usize, Vec<Figures>> = BTreeMap::new();
            for _ in 0..options.rounds {
                for (at, server) in servers.iter().enumerate() {
                    let figures = groups::measure(server, *publishers, connected, options.seconds);
                    all.entry(at).or_default().push(figures);
                }
            }
            for (at, rounds) in &all {
                let f = groups::medians(rounds);
                let session = if connected { "connected" } else { "away" };
                println!(
                    "{publishers:>10} {session:>9} {:<14} {:>9.0} {:>8.2} {:>8.2} {:>7.1} {:>14.1} \
                     {:>14.1} {:>8.2}",
                    DURABILITIES[*at],
                    f.rate,
                    f.p50_us / 1000.0,
                    f.p99_us / 1000.0,
                    f.cpu_us,
                    f.batches,
                    f.records,
                    f.sync_us / 1000.0
                );
            }
        }
    }
}
