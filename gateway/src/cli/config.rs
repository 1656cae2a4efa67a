//! `motegate config`: what the configuration says.

use clap::{Args, Subcommand};
use motegate_config::Show;

use super::layers::From;
use super::pages::write;
use super::{Exit, refuse};

/// Look at the configuration
#[derive(Debug, Args)]
pub(super) struct Config {
    #[command(subcommand)]
    command: ConfigCommand,
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    Show(ShowConfig),
}

/// Print the configuration as one file, secrets masked
///
/// What several files, the environment and `--set` add up to.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  motegate config show
  motegate config show --effective --origin
  motegate config show -c base.yaml -c site.yaml --origin")]
struct ShowConfig {
    #[command(flatten)]
    from: From,
    /// Every key with the value that holds, defaults too
    #[arg(long)]
    effective: bool,
    /// Where each value comes from, as a comment
    #[arg(long)]
    origin: bool,
}

impl Config {
    pub(super) fn run(self) -> Exit {
        let ConfigCommand::Show(show) = self.command;
        let how = Show { effective: show.effective, origin: show.origin };
        match show.from.layers().show(how) {
            Ok(text) => write(text.as_bytes()),
            Err(findings) => refuse(&findings),
        }
    }
}
