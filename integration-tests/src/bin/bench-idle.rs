//! What an idle MQTT connection costs: opens many to a release build of the gateway and reads its
//! resident memory.
//!
//! Each is a plain 3.1.1 client with a clean session and a keep alive, and says nothing after
//! CONNECT. The figure is the growth of `VmRSS` from the first connection to the last, divided by
//! their number. Exit code 1 when it is more than `--require` bytes.
#![allow(clippy::disallowed_methods)] // a measurement has a clock of its own

use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use motegate_tests::durability::server::resident;
use motegate_tests::gateway::{Gateway, binary};
use motegate_tests::wire::{Version, Wire};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Measure the memory of idle MQTT connections
#[derive(Debug, Parser)]
struct Options {
    /// How many to open
    #[arg(long, default_value_t = 10_000)]
    connections: usize,
    /// Most bytes of resident memory that one may cost
    #[arg(long, default_value_t = 1_024)]
    require: u64,
}

fn main() -> ExitCode {
    let options = Options::parse();
    // One descriptor a connection here, one there; the gateway raises its own limit.
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("a process knows its limits");
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).expect("the soft limit may be the hard one");
    let gateway = Gateway::dev_of(&binary());
    let mut clients = vec![open(&gateway, 0)];
    let (before, _) = resident(gateway.id());
    let began = Instant::now();
    clients.extend((1..options.connections).map(|number| open(&gateway, number)));
    let took = began.elapsed();
    let (after, _) = resident(gateway.id());
    let threads =
        std::fs::read_dir(format!("/proc/{}/task", gateway.id())).map_or(0, Iterator::count);
    for client in [0, clients.len() / 2, clients.len() - 1] {
        clients[client].alive();
    }
    let each = after.saturating_sub(before) / (clients.len() as u64 - 1).max(1);
    println!("connections           {}", clients.len());
    println!("threads               {threads}");
    println!("resident, with one    {} KiB", before / 1024);
    println!("resident, with all    {} KiB", after / 1024);
    println!("bytes a connection    {each}   (at most {})", options.require);
    println!("µs a connect          {}", took.as_micros() / clients.len() as u128);
    if each > options.require { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn open(gateway: &Gateway, number: usize) -> Wire {
    Wire::connect(gateway.mqtt, Version::V311, &format!("idle-{number:06}"))
}
