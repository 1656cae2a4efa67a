//! `kill [--kills 500] [--seed N] [--durability process_crash] [--fault NAME]`: the real gateway is
//! killed under load.
//!
//! Exit code 1 when something that was acknowledged was lost, doubled, late or forgotten; with
//! `--fault`, when that was not found.
#![allow(clippy::disallowed_methods)] // a real process in real time

use std::process::ExitCode;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use clap::Parser;
use motegate_tests::kill::Fault;
use motegate_tests::kill::victim::{Shared, Victim};
use motegate_tests::kill::world::World;

/// Kill a gateway under load, again and again
#[derive(Debug, Parser)]
struct Options {
    /// How often
    #[arg(long, default_value_t = 500)]
    kills: u32,
    /// When it is killed follows from this; by default from the clock
    #[arg(long)]
    seed: Option<u64>,
    /// As in a configuration: power_loss or process_crash
    #[arg(long, default_value = "power_loss")]
    durability: String,
    /// Plant a fault that must be found: forget or rollback
    #[arg(long)]
    fault: Option<String>,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let fault = match options.fault.as_deref().map(|name| (name, Fault::from_name(name))) {
        None => None,
        Some((_, Some(fault))) => Some(fault),
        Some((name, None)) => {
            eprintln!("no fault {name}; there are {:?}", Fault::ALL.map(Fault::name));
            return ExitCode::from(2);
        }
    };
    let clock = SystemTime::now().duration_since(UNIX_EPOCH);
    let seed = options.seed.unwrap_or_else(|| clock.map_or(0, |time| time.as_secs()));
    let began = Instant::now();
    let victim = Victim::start(&options.durability, fault, seed);
    let world = World::new(&victim);
    let shared = Shared::default();
    let (ledger, victim) = std::thread::scope(|scope| {
        let killer = scope.spawn(|| victim.kill(options.kills, &shared));
        let ledger = world.run(&shared);
        (ledger, killer.join().expect("it ends"))
    });
    let (kills, (ready, torn)) = (ledger.life, victim.lives());
    let mut faults = ledger.verdict();
    faults.extend(victim.verdict());
    let [mqtt, sn, coap] = [
        ["k/mqtt/", "k/slow/", "k/r/mqtt"].as_slice(),
        &["k/sn", "k/r/sn"],
        &["k/coap/", "k/r/coap"],
    ]
    .map(|names| names.iter().map(|name| ledger.acks(name)).sum::<u64>());
    println!(
        "{kills} kills in {} s, {} ({ready} lives served, {torn} found a torn write): acknowledged mqtt {mqtt}, mqtt-sn {sn}, coap {coap}, wills {}; \
         {} arrived, {} again, {} unheard by who was leaving; {} sessions resumed; {} retained \
         values read; {} missing",
        began.elapsed().as_secs(),
        options.durability,
        ledger.acks("k/will/"),
        ledger.arrived,
        ledger.repeats,
        ledger.unheard,
        ledger.resumed,
        ledger.notifications,
        ledger.missing(),
    );
    for fault in &faults {
        println!("  FAULT  {fault}");
    }
    if !faults.is_empty() {
        println!("{} faults; seed {seed}", faults.len());
    }
    match (fault, faults.is_empty()) {
        (None, true) | (Some(_), false) => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}
