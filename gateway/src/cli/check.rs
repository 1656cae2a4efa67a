//! `motegate check`: is this configuration good?

use std::path::PathBuf;

use clap::Args;

use super::{Exit, fail};
use crate::setup;

/// Check configuration files without serving
///
/// Prints one line when all is well. Otherwise every fault with its place and its remedy, and the
/// exit code is 3.
#[derive(Debug, Args)]
pub(super) struct Check {
    /// Files, merged in this order [default: motegate.yaml]
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
}

impl Check {
    pub(super) fn run(self) -> Exit {
        match setup::load(&self.files) {
            Ok(configured) => {
                for warning in &configured.warnings {
                    eprintln!("warning: {warning}");
                }
                println!("{}", configured.summary);
                Exit::Ok
            }
            Err(error) => fail(Exit::Config, &error),
        }
    }
}
