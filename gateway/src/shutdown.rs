//! The signals that a gateway listens to, and how it ends.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// How a gateway ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// It was asked to, and clients were told.
    Stopped,
    /// It was asked twice.
    Forced,
    /// It was not asked: a bug.
    Died,
}

/// The signals that end a gateway or have it reload, caught from here on.
#[derive(Debug)]
pub(crate) struct Signals {
    pub(crate) terminate: Signal,
    pub(crate) interrupt: Signal,
    pub(crate) hangup: Signal,
}

impl Signals {
    /// Must be called within a runtime, and before anybody is told that the gateway is ready: a
    /// signal that comes first would end the process without a word to its clients.
    pub(crate) fn catch() -> io::Result<Self> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }
}
