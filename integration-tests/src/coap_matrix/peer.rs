//! The peers, what they can do, and the rows of the matrix.
//!
//! A command is a JSON object on one line, with `client`, the name that the test gives, `do` and:
//!
//! | `do` | with | events that follow |
//! |---|---|---|
//! | `request` | `method`, `uri`, `confirmable`, `payload`, `block`, `format`, `token` | `response` with `code`, `payload` |
//! | `observe` | `uri`, `confirmable`, `block`, `token` | `observing` with `code`, `payload`, `registered`; then `value` with `code`, `payload` for each notification |
//! | `cancel` | | `cancelled` |
//!
//! A payload is a letter a byte (ISO 8859-1). `format` is its Content-Format, `token` how many bytes the
//! token of the request has that begins it; both may be missing.
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
    /// libcoap's `coap-client-notls`; over TLS `-gnutls` where blocks are small, else `-openssl`.
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
    /// TLS on TCP (RFC 8323 §8.2).
    Tls,
    /// WebSocket on TLS (RFC 8323 §8.4).
    Wss,
}

impl Transport {
    /// Those of connections.
    pub const STREAMS: [Transport; 4] =
        [Transport::Tcp, Transport::Ws, Transport::Tls, Transport::Wss];

    /// The scheme of its URIs, which is what listeners call it, too.
    pub const fn scheme(self) -> &'static str {
        match self {
            Transport::Udp => "coap",
            Transport::Tcp => "coap+tcp",
            Transport::Ws => "coap+ws",
            Transport::Tls => "coaps+tcp",
            Transport::Wss => "coaps+ws",
        }
    }

    /// Whether what passes is encrypted.
    pub const fn is_secure(self) -> bool {
        matches!(self, Transport::Tls | Transport::Wss)
    }
}

impl Make {
    /// All of them.
    pub const ALL: [Make; 3] = [Make::Libcoap, Make::Aiocoap, Make::NodeCoap];

    /// The transports that it knows; which of them are rows is up to the gateway's listeners.
    pub fn transports(self) -> &'static [Transport] {
        use Transport::{Tcp, Tls, Udp, Ws, Wss};
        match self {
            // WebSocket came with 4.3.5, which Debian does not have yet.
            Make::Libcoap => &[Udp, Tcp, Tls],
            Make::Aiocoap => &[Udp, Tcp, Ws, Tls, Wss],
            Make::NodeCoap => &[Udp],
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
                for library in ["notls", "openssl", "gnutls"] {
                    program(&format!("coap-client-{library}"), "libcoap3-bin");
                }
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
            Transport::Tls => "tls",
            Transport::Wss => "wss",
        };
        let kind = if self.confirmable { "CON" } else { "NON" };
        write!(f, "{make:<9}  {transport:<3}  {kind}  {:>4}", self.block)
    }
}
