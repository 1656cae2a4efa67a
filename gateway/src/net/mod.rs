//! Sockets: what the worker reads from and writes to.
//!
//! [`listen`] opens them, [`udp`] moves datagrams in batches, [`tcp`] drives all stream
//! connections from one `mio::Poll`, [`connections`] is the table it keeps them in. Nothing here
//! knows a protocol.

pub(crate) mod connections;
pub(crate) mod listen;
pub(crate) mod tcp;
pub(crate) mod udp;

/// What the shell itself had to drop or refuse, since the start.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counters {
    /// Connections accepted.
    pub(crate) accepted: u64,
    /// Connections closed at once: `max_connections`.
    pub(crate) refused: u64,
    /// `accept` failed (most often: no file descriptor left).
    pub(crate) accept_errors: u64,
    /// Datagrams longer than the receive buffer.
    pub(crate) truncated: u64,
    /// Datagrams that the kernel would not take: no route, too large, forbidden.
    pub(crate) send_errors: u64,
    /// Datagrams dropped because a socket's backlog was full.
    pub(crate) send_dropped: u64,
}
