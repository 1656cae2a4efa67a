//! `soak`: the firmware client's sleep cycles against the whole gateway in virtual time, with losses,
//! crashes and devices without power. Ends with 1 when a rule was broken, and with 0 when `--fault`
//! was found.

use std::process::ExitCode;

use clap::Parser;
use motegate_tests::soak::{Fault, Settings, World};

/// Simulate sleeping MQTT-SN devices for days
#[derive(Debug, Parser)]
struct Options {
    /// The first seed
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// How many seeds
    #[arg(long, default_value_t = 1)]
    seeds: u64,
    /// How many devices
    #[arg(long, default_value_t = 1_000)]
    devices: usize,
    /// Hours of virtual time
    #[arg(long, default_value_t = 3)]
    hours: u64,
    /// Seconds that a device sleeps
    #[arg(long, default_value_t = 600)]
    sleep: u16,
    /// Datagrams lost, in percent; half as many are doubled, as many come late
    #[arg(long, default_value_t = 20)]
    loss: u64,
    /// Crashes of the gateway
    #[arg(long, default_value_t = 1)]
    crashes: u64,
    /// Seconds between two commands to one device, on average
    #[arg(long, default_value_t = 300)]
    pace: u64,
    /// Days after which a device loses its power once, on average; 0: never
    #[arg(long, default_value_t = 0)]
    power: u64,
    /// Plant a fault: early-pingresp, no-duplicate-check, forget
    #[arg(long, value_parser = |name: &str| Fault::from_name(name).ok_or("no such fault"))]
    fault: Option<Fault>,
    /// Print what passes between the gateway and this device
    #[arg(long, value_name = "DEVICE")]
    trace: Option<usize>,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let mut found = false;
    for seed in options.seed..options.seed + options.seeds {
        let settings = Settings {
            seed,
            devices: options.devices,
            hours: options.hours,
            sleep: options.sleep,
            loss: options.loss * 10,
            crashes: options.crashes,
            pace: options.pace,
            power: options.power,
            fault: options.fault,
            trace: options.trace,
        };
        let report = World::new(settings).run();
        let (datagrams, lost) = report.datagrams;
        println!(
            "seed {seed}: {} devices, {} h: {} commands and {} readings acknowledged, {} awakenings, \
             {datagrams} datagrams, {lost} lost, {} crashes, {} connections lost, {} times no power",
            options.devices,
            options.hours,
            report.commands,
            report.readings,
            report.awakenings,
            report.crashes,
            report.lost,
            report.powerless,
        );
        if let Some(failure) = report.failure {
            println!("seed {seed} failed: {failure}");
            found = true;
            break;
        }
    }
    match (found, options.fault) {
        (true, None) => ExitCode::FAILURE,
        (false, Some(fault)) => {
            println!("{fault:?} was not found");
            ExitCode::FAILURE
        }
        (true, Some(_)) => ExitCode::SUCCESS,
        (false, None) => {
            println!("nothing acknowledged is missing, doubled, out of order or out of its time");
            ExitCode::SUCCESS
        }
    }
}
