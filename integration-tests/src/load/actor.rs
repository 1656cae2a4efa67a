//! [`Actor`], a client of a load, and what it is given when it is looked at: [`Turn`].

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use super::ledger::Ledger;

/// How often sockets are looked at.
pub(crate) const TICK: Duration = Duration::from_millis(1);

/// A look at the clock.
#[derive(Debug)]
pub(crate) struct Turn {
    pub(crate) now: Instant,
    /// Since messages flow; `None` before.
    pub(crate) since: Option<Duration>,
    /// Whether messages are still published.
    pub(crate) publishing: bool,
}

impl Turn {
    /// Whether someone who sends `rate` a second and has sent `sent` sends the next one now.
    pub(crate) fn is_due(&self, rate: f64, sent: u64) -> bool {
        // Counts of a run are far below 2^52.
        #[allow(clippy::cast_precision_loss)]
        let due = |since: Duration| since.as_secs_f64() * rate >= sent as f64 + 1.0;
        self.publishing && self.since.is_some_and(due)
    }
}

/// A client.
pub(crate) trait Actor {
    /// Takes what has come, sends what is due.
    fn turn(&mut self, turn: &Turn, ledger: &mut Ledger);
    /// Messages may flow.
    fn is_ready(&self) -> bool;
    /// Nothing of its own is on its way.
    fn is_settled(&self, ledger: &Ledger) -> bool;
}

/// A socket that talks with the gateway alone.
pub(crate) fn socket(gateway: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    socket.connect(gateway).expect("loopback is there");
    socket.set_nonblocking(true).expect("a socket can be asked without waiting");
    socket
}

/// Every datagram that has come.
pub(crate) fn datagrams(socket: &UdpSocket) -> Vec<Vec<u8>> {
    let mut buffer = [0; 2048];
    let mut found = Vec::new();
    loop {
        match socket.recv(&mut buffer) {
            Ok(length) => found.push(buffer[..length].to_vec()),
            // Nobody was there when we sent; what has come since is behind this.
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {}
            Err(_) => return found,
        }
    }
}
