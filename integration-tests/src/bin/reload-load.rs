//! `reload-load [--seconds 60] [--rate 2000]`: reload under load.
//!
//! A real gateway serves clients of three protocols while its configuration changes every second,
//! half of the time to one with a mistake: two thirds of the time by SIGHUP and `motegate reload`,
//! then another gateway by `run --watch`. Exit code 1 when a message, a session or an observation
//! was lost, when a change was not told as it must be, or when less was published than `--rate`.
#![allow(clippy::disallowed_methods)] // a real process in real time

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use motegate_tests::reload_load::control::{self, By};
use motegate_tests::reload_load::world::{Shared, World};

/// Reload a gateway under load
#[derive(Debug, Parser)]
struct Options {
    /// How long
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Fewest messages a second that must be acknowledged
    #[arg(long, default_value_t = 2_000)]
    rate: u64,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let watched = (options.seconds / 3).max(3);
    let asked = options.seconds.saturating_sub(watched).max(3);
    let parts = [(By::Asking, asked), (By::Watching, watched)];
    let faults: usize = parts.map(|(by, seconds)| part(by, seconds, options.rate)).iter().sum();
    if faults == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The number of faults.
fn part(by: By, seconds: u64, rate: u64) -> usize {
    let (gateway, file) = control::start(by);
    let world = World::new(&gateway);
    let shared = Shared::default();
    let time = Duration::from_secs(seconds);
    let process = gateway.id();
    let (ledger, told) = std::thread::scope(|scope| {
        let told = scope.spawn(|| control::run(process, &file, by, &shared, time));
        let ledger = world.run(&shared, time);
        (ledger, told.join().expect("it ends"))
    });
    let mut faults = ledger.verdict();
    faults.extend(told.faults);
    let [mqtt, sn, coap] = ["mqtt ", "mqtt-sn ", "coap "].map(|name| ledger.acks(name));
    let all = mqtt + sn + coap;
    if all < rate * seconds {
        faults.push(format!("only {} messages a second were acknowledged", all / seconds));
    }
    let changes = u64::from(told.applied + told.refused);
    if changes * 2 < seconds {
        faults.push(format!("only {changes} changes in {seconds} s"));
    }
    if ledger.renamed != told.renames {
        let (times, wanted) = (ledger.renamed, told.renames);
        faults.push(format!("the renamed client was sent away {times} times, not {wanted}"));
    }
    let ways = match by {
        By::Asking => "SIGHUP and motegate reload",
        By::Watching => "run --watch",
    };
    println!(
        "{ways}, {seconds} s: {all} messages acknowledged ({} a second: mqtt {mqtt}, mqtt-sn {sn}, \
         coap {coap}), {} arrived, {} again, {} unacknowledged at a cut; {} notifications; {} sessions resumed; {} good \
         reloads applied, {} bad ones refused, {} moves followed, {} registered anew; {} missing",
        all / seconds,
        ledger.arrived,
        ledger.repeats,
        ledger.unheard,
        ledger.notifications,
        ledger.resumed,
        told.applied,
        told.refused,
        told.followed,
        ledger.renamed,
        ledger.missing(),
    );
    for fault in &faults {
        println!("  FAULT  {fault}");
    }
    println!("{changes} reloads, {} faults", faults.len());
    faults.len()
}
