//! `bench-queues [--sessions 10000] [--each 100] [--bytes 64]`: very many queued messages.
//!
//! Fills the queues of sessions that are away, kills the gateway, starts it again, drains all queues.
//! Prints time, memory and disk after each step. Build `motegate` in release mode first.
#![allow(clippy::disallowed_methods)] // measured in real time

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use motegate_tests::durability::queues;
use motegate_tests::durability::server::Server;

/// Measure memory, disk and restart with very many queued messages
#[derive(Debug, Parser)]
struct Options {
    /// Sessions that are away
    #[arg(long, default_value_t = 10_000)]
    sessions: usize,
    /// Messages that wait for each
    #[arg(long, default_value_t = 100)]
    each: usize,
    /// Bytes of each
    #[arg(long, default_value_t = 64)]
    bytes: usize,
    /// power_loss or process_crash
    #[arg(long, default_value = "power_loss")]
    durability: String,
}

// Bytes of a run are far below 2^52.
#[allow(clippy::cast_precision_loss)]
fn say(what: &str, time: Duration, server: &Server) {
    let mib = |bytes: u64| bytes as f64 / 1_048_576.0;
    let ((now, most), disk) = (server.memory(), server.disk());
    println!(
        "{what:<44} {:>9.2} s  memory {:>7.1} MiB (at most {:>7.1})  disk {:>8.1} MiB",
        time.as_secs_f64(),
        mib(now),
        mib(most),
        mib(disk)
    );
}

fn main() -> ExitCode {
    let options = Options::parse();
    let Options { sessions, each, bytes, .. } = options;
    let mut server = Server::start(&options.durability);
    say("started", Duration::ZERO, &server);
    let began = Instant::now();
    queues::subscribe(server.mqtt, sessions);
    say(&format!("{sessions} sessions subscribed and went"), began.elapsed(), &server);
    let began = Instant::now();
    queues::fill(server.mqtt, sessions, each, bytes);
    let all = sessions * each;
    say(&format!("{all} messages acknowledged"), began.elapsed(), &server);
    server.kill();
    let (listening, answered) = queues::restart(&mut server);
    say("killed, started, listens", listening, &server);
    say("  and has answered a CONNECT", answered, &server);
    let began = Instant::now();
    let received = queues::drain(server.mqtt, sessions, each);
    say(&format!("{received} messages drained"), began.elapsed(), &server);
    std::thread::sleep(Duration::from_secs(10));
    say("10 s later", Duration::from_secs(10), &server);
    server.kill();
    let (listening, answered) = queues::restart(&mut server);
    say("killed, started, listens", listening, &server);
    say("  and has answered a CONNECT", answered, &server);
    std::thread::sleep(Duration::from_secs(10));
    say("10 s later", Duration::from_secs(10), &server);
    if received < all as u64 {
        println!("FAULT  {} messages are missing", all as u64 - received);
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
