//! [`Report`]: the figures of a run, for people and as JSON.

use std::fmt::{self, Write as _};
use std::time::Duration;

use serde::Serialize;

use super::cost::{Cpu, Process};
use super::load::Load;
use super::plan::{Mode, Plan};

/// The figures.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    bench: &'static str,
    /// Where it was published to or connected to.
    url: String,
    /// Where it was received, if elsewhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<String>,
    publishers: u32,
    subscribers: u32,
    qos: u8,
    window: u32,
    payload_bytes: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    target_rate: Option<f64>,
    /// From the first message to the last sign of one; without acknowledgements to the answer to a
    /// request behind them all.
    seconds: f64,
    /// Whether that answer came.
    #[serde(skip)]
    handled: bool,
    /// Messages published, or connections made.
    sent: u64,
    /// Of them acknowledged; at QoS 0 handed to the system.
    acknowledged: u64,
    refused: u64,
    delivered: u64,
    lost: u64,
    /// By newer values, before they were delivered (CoAP's Observe).
    replaced: u64,
    duplicates: u64,
    out_of_order: u64,
    /// Connections that ended before their time.
    broken: u64,
    /// Acknowledged (delivered, connected) a second.
    rate: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    latency: Option<Latency>,
    bench_cpu: Cost,
    #[serde(skip_serializing_if = "Option::is_none")]
    process: Option<Watched>,
    #[serde(skip)]
    acknowledges: bool,
}

/// In microseconds.
#[derive(Debug, Serialize)]
struct Latency {
    /// What it ends with: `connection`, `acknowledgement` or `delivery`.
    until: &'static str,
    p50_us: u64,
    p90_us: u64,
    p99_us: u64,
    p999_us: u64,
    max_us: u64,
    mean_us: u64,
}

/// Processor time, in microseconds of it for each message that got through.
#[derive(Debug, Serialize)]
struct Cost {
    user_us_per_message: f64,
    system_us_per_message: f64,
    us_per_message: f64,
    seconds: f64,
}

/// The process of `--pid`.
#[derive(Debug, Serialize)]
struct Watched {
    pid: u32,
    cpu: Cost,
    resident_bytes: u64,
    /// While this ran.
    resident_growth_bytes: i64,
}

impl Report {
    pub(super) fn new(
        plan: &Plan,
        load: &Load,
        own: Cpu,
        process: Option<(Process, Process)>,
    ) -> Self {
        let counts = load.counts;
        let subscribed = plan.subscribers > 0;
        let done = if subscribed { counts.delivered } else { counts.through };
        let lasted = load.lasted();
        let histogram = &load.latency;
        // At QoS 0 nothing answers a publish of MQTT or MQTT-SN.
        let until = match plan.mode {
            Mode::Conn => "connection",
            Mode::Pub => "acknowledgement",
            Mode::Sub | Mode::Rtt => "delivery",
        };
        let measured = histogram.count() > 0 && (plan.mode != Mode::Pub || plan.acknowledges());
        Report {
            bench: plan.mode.as_str(),
            url: plan.from.to_string(),
            to: (plan.to != plan.from && subscribed).then(|| plan.to.to_string()),
            publishers: plan.publishers,
            subscribers: plan.subscribers,
            qos: plan.qos,
            window: plan.window,
            payload_bytes: plan.payload,
            target_rate: plan.rate,
            seconds: lasted.as_secs_f64(),
            handled: load.handled,
            sent: counts.sent,
            acknowledged: counts.through,
            refused: counts.refused,
            delivered: counts.delivered,
            lost: load.lost(),
            replaced: counts.replaced,
            duplicates: counts.duplicates,
            out_of_order: counts.out_of_order,
            broken: counts.broken,
            rate: per(done, lasted),
            latency: measured.then(|| Latency {
                until,
                p50_us: histogram.quantile(500),
                p90_us: histogram.quantile(900),
                p99_us: histogram.quantile(990),
                p999_us: histogram.quantile(999),
                max_us: histogram.max(),
                mean_us: histogram.mean(),
            }),
            bench_cpu: Cost::new(own, done),
            process: process.zip(plan.pid).map(|((before, after), pid)| Watched {
                pid,
                cpu: Cost::new(after.cpu.since(before.cpu), done),
                resident_bytes: after.resident,
                resident_growth_bytes: i64::try_from(after.resident).unwrap_or(0)
                    - i64::try_from(before.resident).unwrap_or(0),
            }),
            acknowledges: plan.acknowledges(),
        }
    }

    /// What the gateway promised and did not keep, in words.
    pub(crate) fn fault(&self) -> Option<String> {
        let mut text = String::new();
        let mut add = |count: u64, what: &str| {
            if count > 0 {
                let comma = if text.is_empty() { "" } else { ", " };
                let _ = write!(text, "{comma}{} {what}", grouped(count));
            }
        };
        add(self.broken, if self.broken == 1 { "connection ended" } else { "connections ended" });
        add(self.refused, "refused");
        if self.qos > 0 {
            add(self.lost, "lost");
        }
        if self.qos == 2 {
            add(self.duplicates, "delivered twice");
        }
        if self.subscribers > 0 && self.sent > 0 && self.delivered == 0 && self.replaced == 0 {
            add(self.sent, "sent and nothing delivered");
        }
        (!text.is_empty()).then_some(text)
    }
}

impl Cost {
    fn new(cpu: Cpu, messages: u64) -> Self {
        let each = |time: Duration| match messages {
            0 => 0.0,
            #[allow(clippy::cast_precision_loss, reason = "not before 2^52 messages")]
            _ => time.as_secs_f64() * 1e6 / messages as f64,
        };
        Cost {
            user_us_per_message: each(cpu.user),
            system_us_per_message: each(cpu.system),
            us_per_message: each(cpu.total()),
            seconds: cpu.total().as_secs_f64(),
        }
    }
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Cost { us_per_message, user_us_per_message, system_us_per_message, .. } = self;
        write!(
            f,
            "{us_per_message:.1} µs CPU a message \
             (user {user_us_per_message:.1}, system {system_us_per_message:.1})"
        )
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let to = self.to.as_ref().map_or(String::new(), |to| format!(" → {to}"));
        let clients = match self.bench {
            "conn" => plural(self.publishers, "client"),
            "pub" => plural(self.publishers, "publisher"),
            "rtt" => plural(self.publishers, "pair"),
            _ => {
                let subscribers = plural(self.subscribers, "subscriber");
                format!("{} → {subscribers}", plural(self.publishers, "publisher"))
            }
        };
        write!(f, "{} {}{to} · {clients}", self.bench, self.url)?;
        if self.bench != "conn" {
            write!(f, " · QoS {} · {} bytes", self.qos, self.payload_bytes)?;
        }
        match self.target_rate {
            Some(rate) => writeln!(f, " · {rate}/s")?,
            None => writeln!(f, " · window {}", self.window)?,
        }
        self.counts(f)?;
        if let Some(latency) = &self.latency {
            let (p50, p90) = (millis(latency.p50_us), millis(latency.p90_us));
            let (p99, max) = (millis(latency.p99_us), millis(latency.max_us));
            writeln!(f, "  latency    p50 {p50}  p90 {p90}  p99 {p99}  max {max} ms")?;
        }
        write!(f, "  this bench {}", self.bench_cpu)?;
        if let Some(process) = &self.process {
            write!(f, "\n  {:<10} {}", format!("pid {}", process.pid), process.cpu)?;
            let resident = process.resident_bytes / 1024;
            write!(f, ", {} KiB resident", grouped(resident))?;
        }
        Ok(())
    }
}

impl Report {
    fn counts(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.seconds;
        let rate = |count| grouped_f64(per(count, Duration::from_secs_f64(seconds)));
        let (word, done) = match self.bench {
            "conn" => ("connected", self.acknowledged),
            _ => ("sent", self.sent),
        };
        let time = if seconds < 0.1 {
            format!("{:.2} ms", seconds * 1e3)
        } else {
            format!("{seconds:.2} s")
        };
        let until = match (self.bench == "pub" && !self.acknowledges, self.handled) {
            (false, _) => "",
            (true, true) => ", until the server had handled all",
            (true, false) => ", until all were written: the server did not say more",
        };
        writeln!(f, "  {word:<10} {} in {time}, {}/s{until}", grouped(done), rate(done))?;
        if self.bench == "pub" && self.acknowledges {
            let done = self.acknowledged;
            writeln!(f, "  acked      {}, lost {}", grouped(done), grouped(self.lost))?;
        }
        if self.subscribers > 0 {
            let delivered = grouped(self.delivered);
            write!(f, "  delivered  {delivered}, {}/s", rate(self.delivered))?;
            for (count, what) in [
                (Some(self.lost), "lost"),
                (Some(self.replaced).filter(|count| *count > 0), "replaced"),
                (Some(self.duplicates), "duplicates"),
                (Some(self.out_of_order), "out of order"),
            ] {
                if let Some(count) = count {
                    write!(f, " · {what} {}", grouped(count))?;
                }
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

fn plural(count: u32, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{} {what}{plural}", grouped(count.into()))
}

fn per(count: u64, time: Duration) -> f64 {
    #[allow(clippy::cast_precision_loss, reason = "not before 2^52 messages")]
    let count = count as f64;
    if time.is_zero() { 0.0 } else { count / time.as_secs_f64() }
}

fn millis(micros: u64) -> String {
    format!("{}.{:02}", micros / 1000, micros % 1000 / 10)
}

fn grouped_f64(value: f64) -> String {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate")]
    let value = value.round() as u64;
    grouped(value)
}

/// With a comma between thousands.
pub(crate) fn grouped(value: u64) -> String {
    let digits = value.to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!([0, 999, 1000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([0, 9, 10, 1234, 65_432].map(millis), ["0.00", "0.00", "0.01", "1.23", "65.43"]);
        assert_eq!(
            (plural(1, "pair"), plural(1500, "pair")),
            ("1 pair".into(), "1,500 pairs".into())
        );
    }
}
