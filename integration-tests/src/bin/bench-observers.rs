//! `bench-observers [--observers 10000] [--rounds 10]`: very many CoAP observers of one topic.
//!
//! Each has an address of its own, unless `--each` makes several of them one client, whose confirmable
//! notifications leave one after the other (NSTART). Prints the memory that an observation costs, then publishes values
//! at QoS 1, whose notifications are confirmable, and at QoS 0, whose are not (but every eighth): how
//! long until all observers have each, how many datagrams that took, and what a notification costs of
//! the gateway's CPU. Exit code 1 when an observation costs more than `--require` bytes, a value is
//! not with all of them within a minute, or within `--within` at the median. Build `motegate` in
//! release mode first.
#![allow(clippy::disallowed_methods)] // measured in real time

use std::net::UdpSocket;
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::Duration;

use clap::Parser;
use motegate_tests::durability::server::resident;
use motegate_tests::gateway::Gateway;
use motegate_tests::observers::Fleet;
use motegate_tests::sim::coap_wire::{self as wire, CON, Message, PUT};
use nix::time::{ClockId, clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;

/// Measure very many CoAP observers of one topic
#[derive(Debug, Parser)]
struct Options {
    /// How many
    #[arg(long, default_value_t = 10_000)]
    observers: usize,
    /// Of one client
    #[arg(long, default_value_t = 1)]
    each: u8,
    /// Values of each kind
    #[arg(long, default_value_t = 10)]
    rounds: usize,
    /// Most bytes of resident memory that one may cost
    #[arg(long, default_value_t = 2_048)]
    require: u64,
    /// Milliseconds until all have a value, at the median
    #[arg(long, default_value_t = 5_000)]
    within: u64,
}

/// CPU time that a process has used.
fn cpu(process: u32) -> Duration {
    let process = Pid::from_raw(i32::try_from(process).expect("a process id"));
    let clock: ClockId = clock_getcpuclockid(process).expect("it runs");
    Duration::from(clock_gettime(clock).expect("its clock can be read"))
}

/// Puts a value, at QoS 1 or 0.
fn put(socket: &UdpSocket, mid: u16, qos: u8, value: &str) {
    let options = vec![
        (11, b"mqtt".to_vec()),
        (11, b"observed".to_vec()),
        (15, format!("qos={qos}").into_bytes()),
    ];
    let payload = value.as_bytes().to_vec();
    let put = Message { kind: CON, code: PUT, mid, token: Vec::new(), options, payload };
    socket.send(&put.encode()).expect("loopback takes a datagram");
    let mut buffer = [0; 1_500];
    let length = socket.recv(&mut buffer).expect("it is answered");
    let answer = wire::decode(&buffer[..length]).expect("the gateway sends what can be read");
    assert_eq!((answer.code >> 5, answer.mid), (2, mid), "{answer:?}");
}

/// Values at one QoS; how long each took, sorted.
fn rounds(options: &Options, gateway: &Gateway, fleet: &Fleet, qos: u8) -> Duration {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback has a free port");
    socket.connect(gateway.coap).expect("loopback is reachable");
    socket.set_read_timeout(Some(Duration::from_secs(5))).expect("it is not zero");
    let count = |kind: &std::sync::atomic::AtomicU64| kind.load(Ordering::SeqCst);
    let before = (count(&fleet.seen().notifications), count(&fleet.seen().confirmable));
    let used = cpu(gateway.id());
    let mut times = Vec::new();
    for round in 0..options.rounds {
        let mid = u16::try_from(round).expect("few rounds") + 1;
        let number = u64::from(qos) * 1_000_000 + u64::from(mid);
        times.push(fleet.reaches_all(number, |value| put(&socket, mid, qos, value)));
        // What is confirmable is acknowledged before the next one.
        std::thread::sleep(Duration::from_millis(300));
    }
    let used = cpu(gateway.id()) - used;
    let values = (options.rounds * options.observers) as u64;
    let sent = count(&fleet.seen().notifications) - before.0;
    let confirmable = count(&fleet.seen().confirmable) - before.1;
    times.sort_unstable();
    let at = |share: usize| times[(times.len() - 1) * share / 100].as_millis();
    println!("QoS {qos}: until all have a value    p50 {} ms, most {} ms", at(50), at(100));
    println!("  notifications of {values:<10}     {sent}, of them confirmable {confirmable}");
    println!("  CPU a notification             {:.2} µs", used.as_secs_f64() * 1e6 / sent as f64);
    times[(times.len() - 1) / 2]
}

fn main() -> ExitCode {
    let options = Options::parse();
    let gateway = Gateway::run("log: {level: info}\n");
    let mut fleet = Fleet::new(gateway.coap, "mqtt/observed", options.each);
    fleet.register(100.min(options.observers));
    let (before, _) = resident(gateway.id());
    let more = options.observers - fleet.len();
    fleet.register(more);
    let (after, _) = resident(gateway.id());
    let each = after.saturating_sub(before) / more.max(1) as u64;
    println!("observers                        {}, {} a client", fleet.len(), options.each);
    println!("bytes an observation             {each}   (at most {})", options.require);
    let slowest = rounds(&options, &gateway, &fleet, 1).max(rounds(&options, &gateway, &fleet, 0));
    let (_, most) = resident(gateway.id());
    println!("resident, at most                {} KiB", most / 1_024);
    let in_time = slowest.as_millis() <= u128::from(options.within);
    if each <= options.require && in_time { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
