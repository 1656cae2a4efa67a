//! `motegate check`: is this configuration good?

use std::path::{Path, PathBuf};

use clap::Args;

use super::{Exit, refuse};
use crate::setup::{self, DEFAULT_FILE};

/// Check configuration files without serving
///
/// Prints one line for a good file. Otherwise it prints every fault with its place and its
/// remedy, and the exit code is 3.
#[derive(Debug, Args)]
pub(super) struct Check {
    /// Files; each is checked by itself
    #[arg(value_name = "FILE", default_value = DEFAULT_FILE)]
    files: Vec<PathBuf>,
}

impl Check {
    pub(super) fn run(self) -> Exit {
        let mut worst = Exit::Ok;
        for file in &self.files {
            if self.files.len() > 1 {
                eprintln!("{}:", file.display());
            }
            if check(file) != Exit::Ok {
                worst = Exit::Config;
            }
        }
        worst
    }
}

/// Checks one file: the verdict on stdout, warnings and faults on stderr.
pub(super) fn check(file: &Path) -> Exit {
    match setup::load(file) {
        Ok(configured) => {
            for warning in &configured.warnings {
                eprintln!("{warning}\n");
            }
            println!("{}", configured.summary);
            Exit::Ok
        }
        Err(findings) => refuse(&findings),
    }
}
