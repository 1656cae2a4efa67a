//! A running gateway changes its configuration: what that did, and why it could not be done.
//!
//! Sockets are opened first, then the worker changes over between two turns, then old sockets are
//! closed ([`crate::listening`]). Whatever fails leaves everything as it was.

use std::fmt;
use std::io;
use std::sync::Arc;

use motegate_config::Address;
use motegate_core::Touched;

use crate::gateway::StartError;
use crate::setup::Bind;

/// What a reload did, or would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changes {
    /// To listeners.
    pub listeners: Vec<ListenerChange>,
    /// To clients.
    pub touched: Vec<Touched>,
}

/// What becomes of a listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListenerChange {
    /// It is new.
    Opened {
        /// Where; of a preview, as configured: port 0 is one that the system will choose.
        bind: Bind,
    },
    /// It has another address. Who is connected over TCP stays.
    Moved {
        /// Where it is; of a preview, as configured.
        bind: Bind,
        /// Where it was.
        before: Address,
    },
    /// It has another name; its clients stay.
    Renamed {
        /// The old name.
        before: Arc<str>,
        /// The new name.
        after: Arc<str>,
    },
    /// It is no more.
    Closed {
        /// Where it was.
        bind: Bind,
    },
}

impl fmt::Display for ListenerChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ListenerChange::Opened { bind } => {
                write!(f, "listener {} listens on {}", bind.name, bind.addr)
            }
            ListenerChange::Moved { bind, before } => {
                write!(f, "listener {} moved from {before} to {}: ", bind.name, bind.addr)?;
                f.write_str(match bind.has_datagrams() {
                    false => "new connections go there, open ones stay",
                    true => "its clients are told, and have to go there",
                })
            }
            ListenerChange::Renamed { before, after } => {
                write!(f, "listener {before} is called {after} now")
            }
            ListenerChange::Closed { bind } => {
                write!(f, "listener {} listens on {} no more", bind.name, bind.addr)
            }
        }
    }
}

/// Why a reload changed nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReloadError {
    /// A new listener's address cannot be had, or there are too many listeners.
    #[error(transparent)]
    Start(#[from] StartError),
    /// A listener's address is held by another one of this gateway.
    #[error(
        "{} cannot listen on {} (listener {}): this gateway itself has {} for its listener {}.\n  \
         Give one of them another port.",
        bind.word(), bind.addr, bind.name, owner.addr, owner.name
    )]
    Own {
        /// The listener that wants it.
        bind: Box<Bind>,
        /// The one that has it.
        owner: Box<Bind>,
    },
    /// The system refuses to watch a socket, or the gateway is stopping.
    #[error("{0}")]
    System(#[from] io::Error),
    /// The worker has ended.
    #[error("the gateway has ended")]
    Ended,
}
