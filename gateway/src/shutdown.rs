//! Signals: the first SIGTERM or SIGINT stops gracefully, the second at once.

use std::io;

use tokio::signal::unix::{SignalKind, signal};

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

/// Waits for signals until the gateway has ended; must be called within a runtime.
pub(crate) async fn supervise(mut handle: Handle) -> io::Result<Ended> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut asked = None;
    loop {
        let name = tokio::select! {
            () = handle.ended() => {
                return Ok(if asked.is_some() { Ended::Stopped } else { Ended::Died });
            }
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        };
        if asked.is_some() {
            tracing::warn!(signal = name, "second signal: ending at once");
            return Ok(Ended::Forced);
        }
        tracing::info!(signal = name, "stopping");
        asked = Some(name);
        handle.request_stop(STOP_TIMEOUT);
    }
}
