//! What a configuration is read from, as `run`, `check` and `config` take it.

use std::path::PathBuf;

use clap::Args;
use motegate_config::Layers;

use crate::setup::DEFAULT_FILE;

/// Files and settings.
#[derive(Debug, Args, Clone, Default)]
pub(super) struct From {
    /// Configuration files, merged in this order; default motegate.yaml
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The same, with a letter
    #[arg(short, long = "config", value_name = "FILE")]
    config: Vec<PathBuf>,
    /// Set one key, over files and environment: mqtt.max_qos=1
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

impl From {
    /// With `conf.d` beside the first file, and the environment.
    pub(super) fn layers(&self) -> Layers {
        let files = self.paths();
        Layers::new().files(files).environment(std::env::vars_os()).set(self.set.iter().cloned())
    }

    /// The files, in the order in which they are merged.
    pub(super) fn paths(&self) -> Vec<PathBuf> {
        let mut files: Vec<PathBuf> = self.config.iter().chain(&self.files).cloned().collect();
        if files.is_empty() {
            files.push(DEFAULT_FILE.into());
        }
        files
    }
}

/// The same for commands whose words are no files.
#[derive(Debug, Args, Clone, Default)]
pub(super) struct Options {
    /// Configuration files, merged in this order; default motegate.yaml
    #[arg(short, long = "config", value_name = "FILE")]
    config: Vec<PathBuf>,
    /// Set one key, over files and environment: mqtt.max_qos=1
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

impl Options {
    pub(super) fn layers(&self) -> Layers {
        let files = From { config: self.config.clone(), ..From::default() }.paths();
        Layers::new().files(files).environment(std::env::vars_os()).set(self.set.iter().cloned())
    }
}
