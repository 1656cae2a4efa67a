//! Clients that mean harm beside clients that do not: what the latter feel of it.
//!
//! [`clients`] are the hostile ones, each with the reason that it must end with; [`pairs`] are
//! publishers and subscribers whose latency is measured meanwhile.
#![allow(clippy::disallowed_methods)] // a measurement has a clock of its own

pub mod clients;
pub mod pairs;

use std::time::{Duration, Instant};

/// What the gateway runs with: the defaults, but for times that are shorter than a measurement and
/// queues that are small enough to be filled in one.
pub const LIMITS: &str = "limits: {connect_timeout: 2s, write_stall_timeout: 2s, \
    max_half_open: 1000, max_memory_queued: 32MiB}\n";

/// Memory beyond that of the idle gateway that these limits allow, in MiB: all queues (32), 4
/// outboxes of 256 KiB and as much for acknowledgements, one packet of 2 MiB twice, 10,000
/// subscriptions of 1,000 bytes, 1,000 half-open connections and those that are being closed, and
/// what the allocator keeps of all that (as much again as the queues).
pub const BOUND_MIB: usize = 32 + 2 + 4 + 10 + 4 + 32;

/// Resident memory of a process, in bytes.
///
/// # Panics
/// If it does not run.
#[must_use]
pub fn resident(process: u32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<usize>().ok());
    kib.expect("VmRSS is a number of kB") * 1024
}

/// The most memory of a process until `until`.
#[must_use]
pub fn most_resident(process: u32, until: Instant) -> usize {
    let mut most = 0;
    while Instant::now() < until {
        most = most.max(resident(process));
        std::thread::sleep(Duration::from_millis(50));
    }
    most
}
