//! `motegate run`: serve as the configuration says.

use std::path::PathBuf;

use clap::Args;

use super::{Exit, fail, refuse};
use crate::clock::Clock;
use crate::gateway::Handle;
use crate::log;
use crate::notices::protocol;
use crate::run::serve;
use crate::setup::{self, DEFAULT_FILE};

/// Serve as a configuration file says
#[derive(Debug, Args)]
pub(super) struct Run {
    /// Configuration file
    #[arg(short, long = "config", value_name = "FILE", default_value = DEFAULT_FILE)]
    config: PathBuf,
    /// Check the configuration and stop
    #[arg(long)]
    check_only: bool,
}

impl Run {
    pub(super) fn run(self, clock: Clock) -> Exit {
        if self.check_only {
            return super::check::check(&self.config);
        }
        let configured = match setup::load(&self.config) {
            Ok(configured) => configured,
            Err(findings) => return refuse(&findings),
        };
        for warning in &configured.warnings {
            eprintln!("{warning}\n");
        }
        let _log = log::start(configured.log_level, configured.log_format);
        if configured.wants_disk {
            tracing::warn!(
                "this version keeps everything in memory: sessions and retained messages do not \
                 survive a restart (`durability: none` says that you know)"
            );
        }
        let greet = |handle: &Handle, millis| {
            for bind in handle.listeners() {
                let proto = protocol(bind.protocol);
                tracing::info!(listener = %bind.name, proto, addr = %bind.addr, "listening");
            }
            tracing::info!(millis, "ready");
            String::new()
        };
        match serve(configured.setup, clock, greet) {
            Ok(()) => Exit::Ok,
            Err(error) => fail(Exit::Failed, &error),
        }
    }
}
