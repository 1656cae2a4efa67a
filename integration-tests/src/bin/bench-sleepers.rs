//! `bench-sleepers [--clients 100000] [--durability none]`: very many MQTT-SN clients that sleep.
//!
//! Brings them to sleep through one forwarder, prints the memory that each costs, then wakes some by
//! PINGREQ: without anything that waits, and with one message at QoS 1 each. Exit code 1 when a
//! client costs more than `--require` bytes, or the median PINGREQ takes longer than 1 ms. Build
//! `motegate` in release mode first.
#![allow(clippy::disallowed_methods)] // measured in real time

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use motegate_tests::durability::server::resident;
use motegate_tests::gateway::{Gateway, binary};
use motegate_tests::sleepers::{Fleet, Wish};

/// Measure very many sleeping MQTT-SN clients
#[derive(Debug, Parser)]
struct Options {
    /// How many
    #[arg(long, default_value_t = 100_000)]
    clients: u32,
    /// How many of them are woken
    #[arg(long, default_value_t = 2_000)]
    woken: u32,
    /// none, process_crash or power_loss
    #[arg(long, default_value = "none")]
    durability: String,
    /// They connect with CleanSession
    #[arg(long)]
    clean: bool,
    /// Each subscribes to a topic of its own
    #[arg(long)]
    subscribe: bool,
    /// Most bytes of resident memory that one may cost
    #[arg(long, default_value_t = 1_024)]
    require: u64,
}

/// PINGREQ to PINGRESP at the median.
const MOST: Duration = Duration::from_millis(1);

fn say(what: &str, times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    let at = |share: usize| times[(times.len() - 1) * share / 1000].as_micros();
    println!("{what:<34} p50 {} µs, p99 {} µs, most {} µs", at(500), at(990), at(1000));
    times[(times.len() - 1) / 2]
}

fn main() -> ExitCode {
    let options = Options::parse();
    let text = format!(
        "version: 1\ndurability: {}\ndata_dir: data\nlog: {{level: info}}\nlisteners:\n  \
         - {{protocol: mqtt, bind: \"127.0.0.1:0\", anonymous: true}}\n  \
         - {{protocol: mqttsn, bind: \"127.0.0.1:0\", anonymous: true}}\n  \
         - {{protocol: coap, bind: \"127.0.0.1:0\", anonymous: true}}\n",
        options.durability
    );
    let gateway = Gateway::of_file(&binary(), &["run"], &text);
    let wish = Wish { clean: options.clean, subscribes: options.subscribe };
    let fleet = Fleet::new(gateway.mqtt_sn, wish);
    fleet.fall_asleep(0..100);
    let (before, _) = resident(gateway.id());
    let began = Instant::now();
    fleet.fall_asleep(100..options.clients);
    let took = began.elapsed();
    let (after, most) = resident(gateway.id());
    let each = after.saturating_sub(before) / u64::from(options.clients - 100);
    println!("clients asleep                     {}", options.clients);
    println!("resident, with 100                 {} KiB", before / 1024);
    println!("resident, with all                 {} KiB (at most {})", after / 1024, most / 1024);
    println!("bytes a client                     {each}   (at most {})", options.require);
    println!(
        "µs to fall asleep                  {}",
        took.as_micros() / u128::from(options.clients)
    );
    // Spread over all of them, in an order that no table has.
    let numbers: Vec<u32> = (0..options.woken)
        .map(|k| u32::try_from(u64::from(k) * 7_919 % u64::from(options.clients)).expect("below"))
        .collect();
    let wake = |expected: usize| -> Vec<Duration> {
        let one = |number: &u32| {
            let (time, messages) = fleet.wake(*number);
            assert_eq!(messages, expected, "messages for {number}");
            time
        };
        numbers.iter().map(one).collect()
    };
    let median = say("PINGREQ to PINGRESP", &mut wake(0));
    if options.subscribe {
        fleet.publish_to(options.clients, &numbers);
        say("  with REGISTER, PUBLISH between", &mut wake(1));
        fleet.publish_to(options.clients, &numbers);
        say("  with PUBLISH between", &mut wake(1));
    }
    if each > options.require || median > MOST { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
