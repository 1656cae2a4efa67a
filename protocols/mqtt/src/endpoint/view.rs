//! Read-only views of connections, for whoever asks about a running gateway.

use core::time::Duration;

use motegate_message::ConnectionId;

use super::Endpoint;
use super::connection::State;
use crate::packet::Version;

/// A connection that has a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionView {
    /// What it speaks.
    pub version: Version,
    /// Longest silence allowed (one and a half times the keep alive); zero: any.
    pub silence: Duration,
    /// Bytes that wait to be written.
    pub outbox_bytes: usize,
}

impl Endpoint {
    /// A connection that has a session.
    #[must_use]
    pub fn connection(&self, conn: ConnectionId) -> Option<ConnectionView> {
        let connection =
            self.get(conn).filter(|c| matches!(c.state, State::Gated | State::Open))?;
        Some(ConnectionView {
            version: connection.version,
            silence: Duration::from_millis(u64::from(connection.silence_ms)),
            outbox_bytes: connection.outbox.as_slice().len(),
        })
    }
}
