//! What a configuration is read from, as `run`, `check` and `config` take it.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::Args;
use motegate_config::Layers;

use super::{Exit, fail};
use crate::setup::DEFAULT_FILE;

/// Most bytes that are read from stdin: the configuration's own limit, and one to see that it is more.
const MAX_STDIN: u64 = 4 * 1024 * 1024 + 1;

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

    /// The same for a command that reads once: a first file `-` is stdin, and has no `conf.d`.
    pub(super) fn layers_or_stdin(&self) -> Result<Layers, Exit> {
        let paths = self.paths();
        let Some((first, others)) = paths.split_first() else { return Ok(self.layers()) };
        let is_stdin = |path: &Path| path.as_os_str() == "-";
        if others.iter().any(|path| is_stdin(path)) {
            return Err(fail(Exit::Usage, &"`-` (stdin) is the first file, or none"));
        }
        if !is_stdin(first) {
            return Ok(self.layers());
        }
        let mut text = String::new();
        let read = std::io::stdin().lock().take(MAX_STDIN).read_to_string(&mut text);
        read.map_err(|error| fail(Exit::Config, &format!("stdin: {error}")))?;
        let layers = Layers::new().text("stdin", text).files(others);
        Ok(layers.environment(std::env::vars_os()).set(self.set.iter().cloned()))
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
