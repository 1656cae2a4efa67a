//! `measure`: publishers and subscribers that behave, and how long their messages take.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::wire::{Version, connect, publish, subscribe};

/// Between two messages of a pair.
const PAUSE: Duration = Duration::from_millis(2);

/// Latencies of all pairs, in microseconds.
#[derive(Debug, Clone, Copy)]
pub struct Latency {
    /// How many messages.
    pub messages: usize,
    /// Half were faster.
    pub p50: u128,
    /// One in a hundred was slower.
    pub p99: u128,
    /// The slowest.
    pub max: u128,
}

/// Starts `pairs` pairs that measure until `until`; one message of each at a time.
#[must_use]
pub fn start(address: SocketAddr, pairs: usize, until: Instant) -> Vec<JoinHandle<Vec<u128>>> {
    (0..pairs).map(|pair| std::thread::spawn(move || one(address, pair, until))).collect()
}

/// What the pairs have measured.
///
/// # Panics
/// If one of them was not served.
#[must_use]
pub fn collect(pairs: Vec<JoinHandle<Vec<u128>>>) -> Latency {
    let mut all: Vec<u128> =
        pairs.into_iter().flat_map(|pair| pair.join().expect("a pair was served")).collect();
    all.sort_unstable();
    let at = |permille: usize| all[(all.len() * permille / 1000).min(all.len() - 1)];
    Latency { messages: all.len(), p50: at(500), p99: at(990), max: at(1000) }
}

fn one(address: SocketAddr, pair: usize, until: Instant) -> Vec<u128> {
    let topic = format!("pair/{pair}");
    let mut sub = open(address, &format!("pair-sub-{pair}"));
    sub.write_all(&subscribe(Version::V311, &topic, 0)).expect("it is read");
    sub.read_exact(&mut [0; 5]).expect("a SUBACK");
    let mut publisher = open(address, &format!("pair-pub-{pair}"));
    let packet = publish(Version::V311, 0, 0, &topic, &[7; 64]);
    let mut got = vec![0; packet.len()];
    let mut latencies = Vec::new();
    while Instant::now() < until {
        let began = Instant::now();
        publisher.write_all(&packet).expect("it is read");
        sub.read_exact(&mut got).expect("the message comes");
        latencies.push(began.elapsed().as_micros());
        std::thread::sleep(PAUSE);
    }
    latencies
}

fn open(address: SocketAddr, id: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).expect("the gateway listens");
    stream.set_nodelay(true).expect("a TCP socket");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("not zero");
    stream.write_all(&connect(Version::V311, id, true, 0)).expect("it is read");
    stream.read_exact(&mut [0; 4]).expect("a CONNACK");
    stream
}
