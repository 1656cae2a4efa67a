//! Sockets: what the worker reads from and writes to.
//!
//! [`listen`] opens them, [`udp`] moves datagrams in batches (`batch`) and for groups ([`group`]),
//! [`tcp`] drives all stream connections from one `mio::Poll`, [`connections`] is the table it keeps
//! them in. What lies between a connection's socket and MQTT is a [`layer`] of its own: [`proxy`],
//! [`tls`] (its handshakes on [`handshakes`]' threads) and [`ws`]; [`causes`] counts how these end.
//! Nothing here knows a protocol above.

mod batch;
pub(crate) mod causes;
pub(crate) mod connections;
pub(crate) mod group;
pub(crate) mod handshakes;
pub(crate) mod layer;
pub(crate) mod listen;
pub(crate) mod proxy;
pub(crate) mod tcp;
pub(crate) mod tls;
pub(crate) mod udp;
pub(crate) mod ws;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Has the runtime watch a descriptor for just what is asked: a datagram socket that is watched
/// for writability too would wake the worker after every datagram it sent.
#[allow(
    deprecated,
    reason = "its successor is unsafe; what that asks for holds: sockets and polls keep their \
              own open descriptor, the same one, until they are dropped with the `AsyncFd`"
)]
pub(crate) fn watch<T: AsRawFd>(inner: T, interest: Interest) -> io::Result<AsyncFd<T>> {
    AsyncFd::with_interest(inner, interest)
}

/// An IPv4 peer of a dual-stack socket is an IPv4 peer.
fn canonical(addr: SocketAddr) -> SocketAddr {
    match addr.ip().to_canonical() {
        IpAddr::V4(ip) => SocketAddr::from((ip, addr.port())),
        IpAddr::V6(_) => addr,
    }
}

/// What the shell itself had to drop or refuse, since the start.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counters {
    /// Connections accepted.
    pub(crate) accepted: u64,
    /// Connections closed at once: `max_connections`.
    pub(crate) refused: u64,
    /// `accept` failed (most often: no file descriptor left).
    pub(crate) accept_errors: u64,
    /// Connections that ended before MQTT saw them, or because of what lies below it.
    pub(crate) causes: causes::Counts,
    /// TLS handshakes that succeeded.
    pub(crate) handshakes: u64,
    /// Datagrams longer than the receive buffer.
    pub(crate) truncated: u64,
    /// Datagrams that the kernel would not take: no route, too large, forbidden.
    pub(crate) send_errors: u64,
    /// Datagrams dropped because a socket's backlog was full.
    pub(crate) send_dropped: u64,
}
