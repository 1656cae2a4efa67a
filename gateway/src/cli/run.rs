//! `motegate run`: serve as the configuration says.

use clap::Args;

use super::layers::From;
use super::{Exit, fail, refuse};
use crate::clock::Clock;
use crate::control::socket::{answers, in_directory};
use crate::file_watch::Seen;
use crate::gateway::Handle;
use crate::log;
use crate::run::serve;
use crate::setup;
use crate::supervisor::Source;

/// Serve as the configuration says
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  motegate run
  motegate run -c site.yaml
  motegate run -c base.yaml -c site.yaml --set log.level=debug
  MOTEGATE__MQTT__MAX_QOS=1 motegate run

SIGHUP and `motegate reload` have it read its files again: rules, limits and
listeners change, nobody is disconnected who need not be. One with a mistake
or a failing test changes nothing. The start runs no tests: --check-only does.")]
pub(super) struct Run {
    #[command(flatten)]
    from: From,
    /// Check the configuration and stop
    #[arg(long)]
    check_only: bool,
    /// Reload when a file of the configuration changes
    #[arg(long)]
    watch: bool,
}

impl Run {
    pub(super) fn run(self, clock: Clock) -> Exit {
        if self.check_only {
            return super::check::check(&self.from);
        }
        let layers = self.from.layers();
        let before = Seen::of(layers.paths());
        let configured = match setup::load(&layers) {
            Ok(configured) => configured,
            Err(findings) => return refuse(&findings),
        };
        for warning in &configured.warnings {
            eprintln!("{warning}\n");
        }
        let _log = log::start(configured.log_level, configured.log_format);
        let greet = |handle: &Handle, millis| {
            for bind in handle.listeners() {
                tracing::info!(listener = %bind.name, proto = bind.word(), addr = %bind.addr, "listening");
            }
            if let Some(path) = handle.control() {
                tracing::info!(path = %path.display(), "control interface");
            }
            if handle.listeners().is_empty() {
                tracing::warn!("nobody may connect: the configuration has no listener");
            }
            tracing::info!(millis, "ready");
            String::new()
        };
        let seen = self.watch.then(|| before.of_these(&configured.files));
        let control = in_directory(configured.fixed.data_dir());
        let source = Source { layers: layers.again(), fixed: configured.fixed, seen };
        match serve(configured.setup, Some(source), clock, greet) {
            Ok(()) => Exit::Ok,
            Err(error) => {
                let exit = fail(Exit::Failed, &error);
                if answers(&control) {
                    eprintln!(
                        "  the gateway of this data_dir runs already: `motegate status` asks it, \
                         `motegate reload` has it read its files again"
                    );
                } else if let Some(bind) = error.taken() {
                    eprintln!("  try: another port in `bind:` of the listener `{}`", bind.name);
                }
                exit
            }
        }
    }
}
