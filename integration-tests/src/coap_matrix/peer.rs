//! The peers, what they can do, and the rows of the matrix.
//!
//! A command is a JSON object on one line, with `client`, the name that the test gives, `do` and:
//!
//! | `do` | with | events that follow |
//! |---|---|---|
//! | `request` | `method`, `uri`, `confirmable`, `payload`, `block` | `response` with `code`, `payload` |
//! | `observe` | `uri`, `confirmable`, `block` | `observing` with `code`, `payload`, `registered`; then `value` with `code`, `payload` for each notification |
//! | `cancel` | | `cancelled` |
//!
//! `block` is the size that the client wishes bodies to be cut to, its own and the answer; past 1024,
//! which is for streams, it is up to the client: whole, or in blocks of BERT (RFC 8323 §6). `failed`
//! with `text` says that a command could not be carried out.

use std::fmt;
use std::process::Command;

use crate::matrix::peer::{node, python};
use crate::peer::{from_venv, program};

/// Whose client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Make {
    /// libcoap's `coap-client-notls`.
    Libcoap,
    /// aiocoap.
    Aiocoap,
    /// npm's `coap`.
    NodeCoap,
}

/// What carries the messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Transport {
    /// Datagrams (RFC 7252).
    Udp,
    /// TCP (RFC 8323).
    Tcp,
    /// WebSocket (RFC 8323 §4).
    Ws,
}

impl Make {
    /// All of them.
    pub const ALL: [Make; 3] = [Make::Libcoap, Make::Aiocoap, Make::NodeCoap];

    /// The transports that it knows; which of them are rows is up to the gateway's listeners.
    pub fn transports(self) -> &'static [Transport] {
        match self {
            Make::Libcoap => &[Transport::Udp, Transport::Tcp],
            Make::Aiocoap => &[Transport::Udp, Transport::Tcp, Transport::Ws],
            Make::NodeCoap => &[Transport::Udp],
        }
    }

    /// Whether it fetches the rest of a notification that is larger than a block (RFC 7959 §3.4).
    /// node-coap takes the blocks for notifications (its issue 336).
    pub fn observes_blocks(self) -> bool {
        self != Make::NodeCoap
    }

    pub(super) fn command(self) -> Command {
        match self {
            Make::Libcoap => {
                program("coap-client-notls", "libcoap3-bin");
                python(from_venv("python3"), "libcoap_peer.py")
            }
            Make::Aiocoap => python(from_venv("python3"), "aiocoap_peer.py"),
            Make::NodeCoap => node("coap", "node_coap_peer.js"),
        }
    }
}

/// A client, over what it speaks and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// Whose client.
    pub make: Make,
    /// Over what.
    pub transport: Transport,
    /// CON or NON.
    pub confirmable: bool,
    /// Into blocks of so many bytes.
    pub block: usize,
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let make = match self.make {
            Make::Libcoap => "libcoap",
            Make::Aiocoap => "aiocoap",
            Make::NodeCoap => "node-coap",
        };
        let transport = match self.transport {
            Transport::Udp => "udp",
            Transport::Tcp => "tcp",
            Transport::Ws => "ws",
        };
        let kind = if self.confirmable { "CON" } else { "NON" };
        write!(f, "{make:<9}  {transport:<3}  {kind}  {:>4}", self.block)
    }
}
