//! `motegate run`: serve as the configuration says.

use std::path::PathBuf;

use clap::Args;

use super::{Exit, fail};
use crate::clock::Clock;
use crate::gateway::Handle;
use crate::log;
use crate::notices::protocol;
use crate::run::serve;
use crate::setup;

/// Serve as a configuration file says
#[derive(Debug, Args)]
pub(super) struct Run {
    /// Configuration files, merged in this order [default: motegate.yaml]
    #[arg(short, long = "config", value_name = "FILE", num_args = 1..)]
    config: Vec<PathBuf>,
    /// Check the configuration and stop
    #[arg(long)]
    check_only: bool,
}

impl Run {
    pub(super) fn run(self, clock: Clock) -> Exit {
        let configured = match setup::load(&self.config) {
            Ok(configured) => configured,
            Err(error) => return fail(Exit::Config, &error),
        };
        if self.check_only {
            println!("{}", configured.summary);
            return Exit::Ok;
        }
        let _log = log::start(&configured.log_level, configured.log_format);
        for warning in &configured.warnings {
            tracing::warn!("{warning}");
        }
        let greet = |handle: &Handle, millis| {
            for bind in handle.listeners() {
                let proto = protocol(bind.protocol);
                tracing::info!(listener = %bind.name, proto, addr = %bind.addr, "listening");
            }
            tracing::info!(millis = u64::try_from(millis).unwrap_or(u64::MAX), "ready");
            String::new()
        };
        match serve(configured.setup, clock, greet) {
            Ok(()) => Exit::Ok,
            Err(error) => fail(Exit::Failed, &error),
        }
    }
}
