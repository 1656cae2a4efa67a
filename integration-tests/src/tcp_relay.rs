//! A TCP relay that breaks connections where a test wants them broken: after so many bytes of one
//! direction, in the middle of a packet if need be. Where it leads can change while it runs. It
//! remembers what passed, for Wireshark to read ([`tcp_capture`](crate::tcp_capture)).
#![allow(clippy::disallowed_types)] // a lock between a test and its threads, none of the program's

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Where a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// When so many bytes of the client's have passed; what it wrote behind them is lost.
    Sent(usize),
    /// When so many bytes of the server's have passed; the server has written more, perhaps.
    Received(usize),
    /// Not at all.
    Never,
}

/// A running relay; dropped, it takes nobody any more and its connections end.
#[derive(Debug)]
pub struct TcpRelay {
    /// Where clients connect to.
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

type Gate = dyn Fn() -> bool + Send + Sync;

/// What passed at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// The number of the connection, from 0.
    pub connection: usize,
    /// Who wrote it.
    pub from_server: bool,
    /// At most 4,096 bytes.
    pub bytes: Vec<u8>,
}

struct Shared {
    server: Mutex<SocketAddr>,
    cuts: Mutex<VecDeque<Cut>>,
    /// Opens for what the server says; closed for ever when it says `false`.
    gate: Box<Gate>,
    open: Mutex<Vec<TcpStream>>,
    record: Mutex<Vec<Chunk>>,
    accepted: AtomicUsize,
    cut: AtomicUsize,
    stop: AtomicBool,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("server", &self.server).finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl TcpRelay {
    /// Leads to `server`. The first connection ends at the first of `cuts`, and so on; those that
    /// come when there are no more are left alone.
    ///
    /// # Panics
    /// If loopback has no free port.
    pub fn start(server: SocketAddr, cuts: Vec<Cut>) -> TcpRelay {
        TcpRelay::gated(server, cuts, || true)
    }

    /// As [`start`](TcpRelay::start); whatever the server says waits for the gate.
    ///
    /// # Panics
    /// If loopback has no free port.
    pub fn gated(
        server: SocketAddr,
        cuts: Vec<Cut>,
        gate: impl Fn() -> bool + Send + Sync + 'static,
    ) -> TcpRelay {
        let front = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
        let address = front.local_addr().expect("a bound socket has an address");
        let shared = Arc::new(Shared {
            server: Mutex::new(server),
            cuts: Mutex::new(cuts.into()),
            gate: Box::new(gate),
            open: Mutex::new(Vec::new()),
            record: Mutex::new(Vec::new()),
            accepted: AtomicUsize::new(0),
            cut: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
        });
        let of_thread = shared.clone();
        std::thread::spawn(move || accept(&front, &of_thread));
        TcpRelay { address, shared }
    }

    /// New connections lead to `server`.
    pub fn lead_to(&self, server: SocketAddr) {
        *lock(&self.shared.server) = server;
    }

    /// Cuts every connection now.
    pub fn cut(&self) {
        for stream in lock(&self.shared.open).drain(..) {
            // It may have ended by itself.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Where the connections that come now end, each in its turn.
    pub fn then(&self, cuts: Vec<Cut>) {
        lock(&self.shared.cuts).extend(cuts);
    }

    /// Everything that passed, in the order in which it did.
    pub fn record(&self) -> Vec<Chunk> {
        lock(&self.shared.record).clone()
    }

    /// Connections so far.
    pub fn accepted(&self) -> usize {
        self.shared.accepted.load(Ordering::Relaxed)
    }

    /// Connections that ended where they were to.
    pub fn cuts_made(&self) -> usize {
        self.shared.cut.load(Ordering::Relaxed)
    }
}

impl Drop for TcpRelay {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.cut();
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(self.address);
    }
}

fn accept(front: &TcpListener, shared: &Arc<Shared>) {
    for client in front.incoming() {
        if shared.stop.load(Ordering::Relaxed) {
            return;
        }
        let Ok(client) = client else { continue };
        let server = *lock(&shared.server);
        // A server that is gone: the client sees its connection end at once.
        let Ok(server) = TcpStream::connect(server) else { continue };
        let number = shared.accepted.fetch_add(1, Ordering::Relaxed);
        let cut = lock(&shared.cuts).pop_front().unwrap_or(Cut::Never);
        let (up, down) = match cut {
            Cut::Sent(bytes) => (bytes, usize::MAX),
            Cut::Received(bytes) => (usize::MAX, bytes),
            Cut::Never => (usize::MAX, usize::MAX),
        };
        let both = |stream: &TcpStream| stream.try_clone().expect("a socket can be shared");
        for stream in [&client, &server] {
            stream.set_nodelay(true).expect("a TCP socket has no delay to lose");
        }
        lock(&shared.open).extend([both(&client), both(&server)]);
        let (back, forth) = ((both(&server), both(&client)), (client, server));
        let (of_up, of_down) = (shared.clone(), shared.clone());
        let (hears, heard) = std::sync::mpsc::sync_channel::<()>(1);
        std::thread::spawn(move || {
            pass(forth, up, (number, false), &of_up, &|| true, &|| {
                // Paho forgets that a PUBREL is to go again when two connections end one after the
                // other without a CONNACK, and publishes anew: not what is tried here.
                let _ = heard.recv_timeout(std::time::Duration::from_secs(2));
            });
        });
        std::thread::spawn(move || {
            let gate = || {
                let open = (of_down.gate)();
                let _ = hears.try_send(());
                open
            };
            pass(back, down, (number, true), &of_down, &gate, &|| ());
        });
    }
}

/// Passes at most `left` bytes; the end of one direction is the end of the connection.
fn pass(
    (mut from, mut to): (TcpStream, TcpStream),
    mut left: usize,
    (connection, from_server): (usize, bool),
    shared: &Shared,
    gate: &dyn Fn() -> bool,
    before_cut: &dyn Fn(),
) {
    let mut buffer = [0; 4096];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        let passed = read.min(left);
        let bytes = &buffer[..passed];
        if !gate() {
            break;
        }
        // Recorded before it is passed on: who waits for the answer then finds it here.
        lock(&shared.record).push(Chunk { connection, from_server, bytes: bytes.to_vec() });
        if to.write_all(bytes).is_err() {
            break;
        }
        left -= passed;
        if left == 0 {
            before_cut();
            shared.cut.fetch_add(1, Ordering::Relaxed);
            break;
        }
    }
    for stream in [&from, &to] {
        let _ = stream.shutdown(Shutdown::Both);
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::time::Duration;

    use super::*;

    #[test]
    fn connections_end_after_their_bytes() {
        let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = server.local_addr().expect("it is bound");
        let relay = TcpRelay::start(address, vec![Cut::Sent(3), Cut::Received(2)]);
        for expected in [("abc", ""), ("abcdef", "AB"), ("abcdef", "ABCD")] {
            let mut client = TcpStream::connect(relay.address).expect("it accepts");
            let (mut behind, _) = server.accept().expect("it leads here");
            client.write_all(b"abcdef").expect("it takes them");
            let mut got = vec![0; expected.0.len()];
            behind.read_exact(&mut got).expect("they pass");
            assert_eq!(got, expected.0.as_bytes());
            // After the first cut it may be gone already.
            let _ = behind.write_all(b"ABCD");
            let mut answer = vec![0; expected.1.len()];
            client.read_exact(&mut answer).expect("they pass");
            assert_eq!(answer, expected.1.as_bytes());
            if expected.1.len() < 4 {
                // What comes from behind at the very moment of the first cut may still pass.
                let mut rest = Vec::new();
                client.set_read_timeout(Some(Duration::from_secs(20))).expect("it can wait");
                let ended = client.read_to_end(&mut rest);
                let waited = ended.is_err_and(|error| error.kind() == ErrorKind::WouldBlock);
                assert!(!waited, "it is cut");
                assert!(expected.1.is_empty() || rest.is_empty(), "{rest:?}");
            }
        }
        assert_eq!((relay.accepted(), relay.cuts_made()), (3, 2));
    }
}
