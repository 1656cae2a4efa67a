//! `motegate check`: is this configuration good?

use clap::{Args, ValueEnum};

use super::layers::From;
use super::{Exit, refuse};
use crate::setup;

/// Check a configuration without serving
///
/// Prints one line for a good one. Otherwise it prints every fault with its place and its remedy, and the exit code is 3.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  motegate check
  motegate check site.yaml
  motegate check -c base.yaml -c site.yaml --deny warnings
  motegate help E0312                    what a code means")]
pub(super) struct Check {
    #[command(flatten)]
    from: From,
    /// Treat as faults: warnings
    #[arg(long, value_name = "WHAT", value_enum, hide_possible_values = true)]
    deny: Option<Deny>,
}

/// What else is a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Deny {
    Warnings,
}

impl Check {
    pub(super) fn run(self) -> Exit {
        check(&self.from, self.deny == Some(Deny::Warnings))
    }
}

/// Checks a configuration: the verdict on stdout, warnings and faults on stderr.
pub(super) fn check(from: &From, deny_warnings: bool) -> Exit {
    match setup::load(&from.layers()) {
        Ok(configured) => {
            for warning in &configured.warnings {
                eprintln!("{warning}\n");
            }
            if deny_warnings && !configured.warnings.is_empty() {
                eprintln!("motegate: refused for its warnings (--deny warnings)");
                return Exit::Config;
            }
            println!("{}", configured.summary);
            Exit::Ok
        }
        Err(findings) => refuse(&findings),
    }
}
