//! Signals: the first SIGTERM or SIGINT stops gracefully, the second at once.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::gateway::{Handle, STOP_TIMEOUT};

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

/// The signals that end a gateway, caught from here on.
#[derive(Debug)]
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Must be called within a runtime, and before anybody is told that the gateway is ready: a
    /// signal that comes first would end the process without a word to its clients.
    pub(crate) fn catch() -> io::Result<Self> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }
}

/// Waits for signals until the gateway has ended.
pub(crate) async fn supervise(mut handle: Handle, mut signals: Signals) -> Ended {
    let mut asked = None;
    loop {
        let name = tokio::select! {
            () = handle.ended() => {
                return if asked.is_some() { Ended::Stopped } else { Ended::Died };
            }
            _ = signals.terminate.recv() => "SIGTERM",
            _ = signals.interrupt.recv() => "SIGINT",
        };
        if asked.is_some() {
            tracing::warn!(signal = name, "second signal: ending at once");
            return Ended::Forced;
        }
        tracing::info!(signal = name, "stopping");
        asked = Some(name);
        handle.request_stop(STOP_TIMEOUT);
    }
}
