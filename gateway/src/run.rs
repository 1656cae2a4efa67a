//! Runs a gateway in the foreground: limits, sockets, the words to the user, signals, the end.

use std::io::{self, Write as _};

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::clock::Clock;
use crate::gateway::{Gateway, Handle, StartError};
use crate::setup::{Bind, Setup};
use crate::shutdown::{Ended, Signals};
use crate::supervisor::{Source, supervise};

/// Why a gateway did not run to a good end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    #[error(transparent)]
    Start(#[from] StartError),
    #[error("the system refuses a runtime or a signal handler: {0}")]
    System(#[from] io::Error),
    #[error("ended at once by a second signal; clients were not told")]
    Forced,
    #[error("the worker ended unasked; its last words are above")]
    Died,
}

impl RunError {
    /// The listener whose address somebody else has, if that is why.
    pub(crate) fn taken(&self) -> Option<&Bind> {
        match self {
            RunError::Start(StartError::Bind { bind, source })
                if source.kind() == io::ErrorKind::AddrInUse =>
            {
                Some(bind)
            }
            _ => None,
        }
    }
}

/// Starts, says so with `greet`, and serves until a signal ends it.
pub(crate) fn serve(
    setup: Setup,
    source: Option<Source>,
    clock: Clock,
    greet: impl FnOnce(&Handle, u64) -> String,
) -> Result<(), RunError> {
    raise_descriptor_limit();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let signals = {
        let _within = runtime.enter();
        Signals::catch()?
    };
    let handle = Gateway::builder().setup(setup).supervised().spawn()?;
    let millis = clock.now().as_micros().div_ceil(1000);
    let text = greet(&handle, millis);
    // Whoever closed our stdout still wants the gateway.
    let _ = io::stdout().write_all(text.as_bytes()).and_then(|()| io::stdout().flush());
    let ended = runtime.block_on(supervise(handle, signals, source));
    // A configuration that is still being read may never be.
    runtime.shutdown_background();
    match ended {
        Ended::Stopped => {
            tracing::info!("stopped");
            Ok(())
        }
        Ended::Forced => Err(RunError::Forced),
        Ended::Died => Err(RunError::Died),
    }
}

/// A connection is a descriptor: take as many as the system lets us.
fn raise_descriptor_limit() {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return };
    if soft < hard
        && let Err(error) = setrlimit(Resource::RLIMIT_NOFILE, hard, hard)
    {
        tracing::warn!(%error, soft, hard, "the limit of open files stays as it is");
    }
}
