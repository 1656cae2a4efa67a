//! What a [`Client`](super::Client) is told at construction.

use core::time::Duration;

use heapless::{String, Vec};

use crate::QosBits;

/// Settings of a client. `WILL` bounds its will, see [`WillFields`]; without one, 0 saves the room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientConfig<const WILL: usize = 64> {
    /// Keep-alive in seconds; 0 is none.
    pub keep_alive_secs: u16,
    /// T_RETRY, 10 to 15 s (§7.2): how long an answer may take before the request is repeated.
    pub retry_timeout: Duration,
    /// N_RETRY, 3 to 5 (§7.2): repeats before the connection counts as lost.
    pub max_retries: u8,
    /// The will that CONNECT sets (§6.2).
    pub will: Option<WillFields<WILL>>,
}

impl<const WILL: usize> Default for ClientConfig<WILL> {
    fn default() -> Self {
        ClientConfig {
            keep_alive_secs: 60,
            retry_timeout: Duration::from_secs(10),
            max_retries: 4,
            will: None,
        }
    }
}

/// A will, of bounded size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WillFields<const WILL: usize = 64> {
    /// QoS 0 to 2.
    pub qos: QosBits,
    /// RETAIN.
    pub retain: bool,
    /// At most `WILL` bytes.
    pub topic: String<WILL>,
    /// At most `WILL` bytes.
    pub message: Vec<u8, WILL>,
}
