//! What a [`Client`](super::Client) is told at construction.

use core::time::Duration;

use heapless::{String, Vec};

use crate::QosBits;

/// Settings of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientConfig {
    /// Keep-alive in seconds; 0 is none.
    pub keep_alive_secs: u16,
    /// T_RETRY.
    pub retry_timeout: Duration,
    /// N_RETRY.
    pub max_retries: u8,
    /// The will that CONNECT sets.
    pub will: Option<WillFields>,
}

impl Default for ClientConfig {
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
pub struct WillFields {
    /// QoS 0 to 2.
    pub qos: QosBits,
    /// RETAIN.
    pub retain: bool,
    /// At most 64 bytes.
    pub topic: String<64>,
    /// At most 64 bytes.
    pub message: Vec<u8, 64>,
}
