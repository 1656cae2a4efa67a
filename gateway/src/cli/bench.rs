//! `motegate bench`: loads a gateway or broker, and says what that did and what it cost.

use std::io::{self, IsTerminal as _, Write as _};
use std::str::FromStr as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use motegate_mqtt::Version;

use super::Exit;
use super::talk::{Color, Talk, bounded, seconds};
use super::tls::Tls;
use crate::bench::{self, Counts, Mode, Outcome, Plan, Process, Report, STAMP, Stop, grouped};
use crate::client::{Error, Scheme, Target};
use crate::clock::Clock;

/// How long messages are published unless --for or --count says otherwise.
const TIME: Duration = Duration::from_secs(10);
/// Columns of the progress bar.
const BAR: usize = 24;

/// Load an MQTT, MQTT-SN or CoAP server and measure rate, latency and loss
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  motegate bench rtt mqtt://localhost --qos 1 --count 100000
  motegate bench rtt mqttsn://localhost --to mqtt://localhost --rate 1000
  motegate bench sub coap://localhost --clients 500
  motegate bench conn mqtt://localhost --clients 10000")]
pub(super) struct Bench {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Connect clients: how long until each is accepted (CoAP: pinged, where
    /// there are connections over a new one)
    Conn(Options),
    /// Publish to topics that nobody subscribes to, until acknowledged (QoS 0:
    /// until a request behind them all is answered)
    Pub(Options),
    /// Publish to one topic that all clients subscribe to
    Sub(Options),
    /// Publish to one subscriber each: how long until it has the message
    Rtt(Options),
}

/// `-o`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum Output {
    /// For people
    #[default]
    Text,
    /// One JSON document
    Json,
}

#[derive(Debug, Args)]
#[command(after_help = "\
It ends after --count or --for, whichever comes first, by Ctrl-C, or when
nothing moves any more. A window is how many messages of a publisher are
unfinished at most: not acknowledged (pub), not delivered to all (sub, rtt).
With --rate, latency counts from when a message was due, sent late or not.
CoAP publishes with PUT and subscribes with Observe, which may skip values
that newer ones replace. QoS 0 is NON there, QoS 1 CON; over connections
(coap+tcp, coap+ws, ...) they are the same.
Exit code 1: connections broke, something was refused, nothing was delivered,
or at QoS 1 or 2 something was lost. 6: the server took nothing at all, or
nothing moved for as long as -W says.")]
struct Options {
    /// mqtt://, mqtts://, mqttsn:// or coap://HOST[:PORT], perhaps with
    /// /TOPIC, and so coap+tcp, coaps+tcp, coap+ws and coaps+ws; ws:// or
    /// wss://HOST[:PORT][/PATH]; unix:PATH
    #[arg(value_name = "URL", value_parser = target)]
    url: Target,
    /// Subscribe there instead: another protocol of the same gateway
    #[arg(long, value_name = "URL", value_parser = target)]
    to: Option<Target>,
    /// Clients: connections, publishers, subscribers or pairs [default: conn
    /// and sub 100, pub and rtt 1]
    #[arg(
        short, long, value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..=1_000_000)
    )]
    clients: Option<u32>,
    /// Publishers of the one topic of `sub`
    #[arg(
        long, value_name = "N", default_value_t = 1,
        value_parser = clap::value_parser!(u32).range(1..=1_000_000)
    )]
    publishers: u32,
    /// Messages (connections) in all [default: no limit; conn: as --clients]
    #[arg(short = 'n', long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Publish for so long [default: 10, unless there is a count]
    #[arg(long = "for", value_name = "SECONDS", value_parser = seconds)]
    time: Option<Duration>,
    /// End when nothing moves for so long
    #[arg(short = 'W', long, value_name = "SECONDS", default_value = "15", value_parser = seconds)]
    wait: Duration,
    /// Messages (connections) a second in all [default: as the window lets]
    #[arg(short, long, value_name = "N", value_parser = rate)]
    rate: Option<f64>,
    /// Unfinished messages a publisher, or unfinished connections in all
    #[arg(
        short, long, value_name = "N", default_value_t = 64,
        value_parser = clap::value_parser!(u32).range(1..=65_535)
    )]
    window: u32,
    /// Bytes a message
    #[arg(short, long, value_name = "BYTES", default_value_t = 64)]
    payload: usize,
    /// 0, 1 or 2
    #[arg(short, long, default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=2))]
    qos: u8,
    /// MQTT version: 5 or 311
    #[arg(short = 'V', long, value_name = "VERSION", default_value = "5", value_parser = version)]
    protocol_version: Version,
    /// All MQTT-SN clients on one socket, wrapped as a forwarder does it
    #[arg(long)]
    forwarder: bool,
    /// Also tell the CPU time that this process (the gateway) takes
    #[arg(long, value_name = "PID")]
    pid: Option<u32>,
    #[command(flatten)]
    tls: Tls,
    /// text or json
    #[arg(
        short,
        long,
        value_enum,
        value_name = "OUTPUT",
        default_value_t,
        hide_possible_values = true
    )]
    output: Output,
    /// No progress bar on a terminal
    #[arg(long)]
    no_progress: bool,
    /// Say nothing on stderr
    #[arg(long)]
    quiet: bool,
    #[arg(from_global)]
    color: Color,
}

impl Bench {
    pub(super) fn run(self, clock: Clock) -> Exit {
        let (mode, options) = match self.what {
            What::Conn(options) => (Mode::Conn, options),
            What::Pub(options) => (Mode::Pub, options),
            What::Sub(options) => (Mode::Sub, options),
            What::Rtt(options) => (Mode::Rtt, options),
        };
        let talk = Talk::new(options.quiet, options.color);
        talk.end(options.measure(mode, clock))
    }
}

impl Options {
    fn measure(&self, mode: Mode, clock: Clock) -> Result<(), Error> {
        let plan = self.plan(mode)?;
        let mut bar = Bar::new(!self.quiet && !self.no_progress);
        let stop = stop_on_signals();
        let outcome = bench::run(&plan, clock, &stop, &mut |permille, counts| {
            bar.show(permille, counts, plan.subscribers > 0);
        });
        bar.clear();
        let Outcome { report, ended } = outcome?;
        if let Some(report) = &report {
            self.print(report)?;
        }
        match (ended, report.and_then(|report| report.fault())) {
            (Some(error), _) => Err(error),
            (None, Some(fault)) => Err(Error::Failed(fault)),
            (None, None) => Ok(()),
        }
    }

    /// Whom publishers and whom subscribers talk to, with the files of TLS where there is TLS.
    fn targets(&self) -> Result<[Target; 2], Error> {
        let mut both = [self.url.clone(), self.to.clone().unwrap_or_else(|| self.url.clone())];
        self.tls.apply(&mut both, "mqtts://, wss://, coaps+tcp:// or coaps+ws://")?;
        Ok(both)
    }

    fn print(&self, report: &Report) -> Result<(), Error> {
        let mut out = io::stdout().lock();
        match self.output {
            Output::Text => writeln!(out, "{report}")?,
            Output::Json => {
                serde_json::to_writer_pretty(&mut out, report).map_err(io::Error::from)?;
                writeln!(out)?;
            }
        }
        Ok(out.flush()?)
    }

    fn plan(&self, mode: Mode) -> Result<Plan, Error> {
        let clients = self.clients.unwrap_or(match mode {
            Mode::Conn | Mode::Sub => 100,
            Mode::Pub | Mode::Rtt => 1,
        });
        if mode != Mode::Sub && self.publishers != 1 {
            return Err(Error::usage("--publishers is for `bench sub`; here it is --clients"));
        }
        if matches!(mode, Mode::Conn | Mode::Pub) && self.to.is_some() {
            return Err(Error::usage("--to is for `bench sub` and `bench rtt`"));
        }
        if let Some(pid) = self.pid.filter(|pid| Process::look(*pid).is_none()) {
            return Err(Error::usage(format!("--pid: there is no process {pid}")));
        }
        let [from, to] = self.targets()?;
        let (publishers, subscribers) = match mode {
            Mode::Conn | Mode::Pub => (clients, 0),
            Mode::Sub => (self.publishers, clients),
            Mode::Rtt => (clients, clients),
        };
        let all_once = (mode == Mode::Conn && self.time.is_none()).then(|| clients.into());
        let count = self.count.or(all_once);
        Ok(Plan {
            mode,
            from,
            to,
            publishers,
            subscribers,
            rate: self.rate,
            count,
            time: self.time.or(count.is_none().then_some(TIME)),
            wait: self.wait,
            window: self.window,
            payload: self.payload.max(if mode == Mode::Conn { STAMP } else { 0 }),
            qos: self.qos,
            version: self.protocol_version,
            forwarder: self.forwarder,
            pid: self.pid,
        })
    }
}

/// One line on stderr that is written over.
#[derive(Debug)]
struct Bar {
    on: bool,
    drawn: bool,
}

impl Bar {
    fn new(wanted: bool) -> Self {
        Bar { on: wanted && io::stderr().is_terminal(), drawn: false }
    }

    fn show(&mut self, permille: u64, counts: &Counts, subscribed: bool) {
        if !self.on {
            return;
        }
        let full = usize::try_from(permille).unwrap_or(0) * BAR / 1000;
        let (bar, rest) = ("#".repeat(full), "-".repeat(BAR.saturating_sub(full)));
        let sent = grouped(counts.sent);
        let (word, done) =
            if subscribed { ("delivered", counts.delivered) } else { ("done", counts.through) };
        let done = grouped(done);
        eprint!("\r[{bar}{rest}] {:>3} %  sent {sent}  {word} {done} \x1b[K", permille / 10);
        self.drawn = true;
    }

    fn clear(&self) {
        if self.drawn {
            eprint!("\r\x1b[K");
        }
    }
}

/// A thread waits for the signals; a run looks at the flag.
fn stop_on_signals() -> Stop {
    let stop = Arc::new(AtomicBool::new(false));
    let set = Arc::clone(&stop);
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
        if let Ok(runtime) = runtime {
            // Nothing to do, without a limit: only a signal ends it.
            let _ = runtime.block_on(bounded(None, "", std::future::pending()));
            set.store(true, Ordering::Relaxed);
        }
    });
    stop
}

fn target(url: &str) -> Result<Target, String> {
    let target = Target::from_str(url).map_err(|error| error.to_string())?;
    if target.scheme == Scheme::MqttSn && target.username.is_some() {
        return Err("MQTT-SN 1.2 has no login".to_owned());
    }
    Ok(target)
}

fn rate(text: &str) -> Result<f64, String> {
    let rate: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if (0.001..=10_000_000.0).contains(&rate) {
        Ok(rate)
    } else {
        Err("a number from 0.001 to 10000000".to_owned())
    }
}

fn version(text: &str) -> Result<Version, String> {
    match text.strip_prefix("mqttv").unwrap_or(text) {
        "5" | "50" | "5.0" => Ok(Version::V5),
        "311" | "3.1.1" | "4" => Ok(Version::V311),
        _ => Err("5 or 311".to_owned()),
    }
}
