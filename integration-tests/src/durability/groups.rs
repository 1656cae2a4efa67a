//! Throughput and latency with each `durability`, by the number of publishers.
//!
//! `motegate bench pub` at QoS 1 with a window of 1 on the side of the publishers; one durable session
//! hears all of it, away or connected. The gateways take turns in one run; medians of all rounds.

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;

use super::server::{Server, Stored};
use super::sink::Sink;
use crate::gateway::binary;

/// What is compared.
pub const DURABILITIES: [&str; 3] = ["none", "process_crash", "power_loss"];

/// Of one run.
#[derive(Debug, Clone, Copy, Default)]
pub struct Figures {
    /// Messages acknowledged a second.
    pub rate: f64,
    /// Median until the acknowledgement, in microseconds.
    pub p50_us: f64,
    /// 99 % of them.
    pub p99_us: f64,
    /// CPU of the gateway a message, in microseconds.
    pub cpu_us: f64,
    /// Records in one group commit.
    pub records: f64,
    /// Batches in one group commit.
    pub batches: f64,
    /// Median of its last syncs, in microseconds.
    pub sync_us: f64,
}

/// The gateways, which take turns.
///
/// # Panics
/// If one does not come up.
#[must_use]
pub fn servers() -> Vec<Server> {
    DURABILITIES.iter().map(|durability| Server::start(durability)).collect()
}

/// One run against one gateway.
///
/// # Panics
/// If the gateway or the bench fails.
#[must_use]
pub fn measure(server: &Server, publishers: u32, connected: bool, seconds: u32) -> Figures {
    let mut sink = Sink::open(server.mqtt, "sink", true);
    sink.connected();
    sink.subscribe("#");
    sink.subscribed();
    let before = server.stored();
    let over = AtomicBool::new(false);
    let report = std::thread::scope(|scope| {
        if connected {
            let over = &over;
            scope.spawn(move || {
                while !over.load(Ordering::Acquire) {
                    if !sink.drain() {
                        std::thread::sleep(Duration::from_micros(100));
                    }
                }
            });
        } else {
            drop(sink);
        }
        let report = bench(server, publishers, seconds);
        over.store(true, Ordering::Release);
        report
    });
    let after = server.stored();
    Sink::end(server.mqtt, "sink");
    figures(&report, before, after)
}

fn bench(server: &Server, publishers: u32, seconds: u32) -> Value {
    let mut command = Command::new(binary());
    command.args(["bench", "pub", &format!("mqtt://{}", server.mqtt), "-q", "1", "-w", "1"]);
    command.args(["-c", &publishers.to_string(), "--for", &seconds.to_string()]);
    command.args(["--pid", &server.id().to_string(), "--quiet", "-o", "json"]);
    let output = command.output().expect("the bench runs");
    let problems = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "the bench failed: {problems}");
    serde_json::from_slice(&output.stdout).expect("it prints JSON")
}

// Counts of a run are far below 2^52.
#[allow(clippy::cast_precision_loss)]
fn figures(report: &Value, before: Stored, after: Stored) -> Figures {
    let number = |value: &Value| value.as_f64().unwrap_or(0.0);
    let groups = (after.groups - before.groups) as f64;
    let each = |all: u64| if groups > 0.0 { all as f64 / groups } else { 0.0 };
    Figures {
        rate: number(&report["rate"]),
        p50_us: number(&report["latency"]["p50_us"]),
        p99_us: number(&report["latency"]["p99_us"]),
        cpu_us: number(&report["process"]["cpu"]["us_per_message"]),
        records: each(after.records - before.records),
        batches: each(after.batches - before.batches),
        sync_us: after.sync_us as f64,
    }
}

/// Each figure's median.
#[must_use]
pub fn medians(rounds: &[Figures]) -> Figures {
    let median = |of: fn(&Figures) -> f64| {
        let mut values: Vec<f64> = rounds.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or(0.0)
    };
    Figures {
        rate: median(|f| f.rate),
        p50_us: median(|f| f.p50_us),
        p99_us: median(|f| f.p99_us),
        cpu_us: median(|f| f.cpu_us),
        records: median(|f| f.records),
        batches: median(|f| f.batches),
        sync_us: median(|f| f.sync_us),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_are_of_each_figure() {
        let of = |rate, p50_us| Figures { rate, p50_us, ..Figures::default() };
        let middle = medians(&[of(1.0, 30.0), of(5.0, 10.0), of(3.0, 20.0)]);
        assert!((middle.rate - 3.0).abs() < 1e-9 && (middle.p50_us - 20.0).abs() < 1e-9);
    }
}
