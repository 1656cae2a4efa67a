//! Motegate: the YAML configuration file.
//!
//! [`Layers`] reads files, variables and settings into [`Resolved`]: plain data for the core, a
//! checked mapping table, addresses to listen on. Everything wrong is found at once, each with file,
//! line, cause and fix ([`Findings`]). The core never sees YAML; only this crate does.
//!
//! The way of a value: `document` (positions) → `shape` (keys that exist) → `substitute` (`${…}`) →
//! `merge` (one tree) → `decode` (the types of `file`) → `resolve` (what they mean).
//!
//! Left out: every block of a part that is not built; those are unknown keys.

mod address;
mod chain;
mod conf_d;
mod decode;
mod diagnostic;
mod directory;
mod discovery;
mod document;
mod file;
mod format;
pub mod import;
mod layers;
mod layout;
mod listener_limits;
mod listeners;
mod merge;
mod overrides;
mod reader;
mod reference;
mod resolve;
mod rules;
mod schema;
mod secret;
mod shape;
mod show;
mod sources;
mod starter;
mod substitute;
pub mod tests;
mod text_file;
mod tls;
mod transport;
mod users;
mod value;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use motegate_core::Protocol;
use motegate_mapping::Table;
use motegate_message::{Group, ListenerId};

pub use address::Address;
pub use diagnostic::{Code, Diagnostic, Finding, Findings};
pub use directory::ResourceDirectory;
pub use format::{FormatError, format};
pub use layers::Layers;
pub use listeners::overlaps;
pub use reference::{KeyHelp, help_of_key, reference};
pub use show::Show;
pub use sources::{Position, Source, SourceKind, Sources};
pub use starter::Starter;
pub use tls::{IdentityFrom, Tls};
pub use transport::{Proxy, Subprotocol, Transport, WebSocket};
pub use value::{Durability, LogFormat, LogLevel};

/// Where to listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bind {
    /// Place in [`motegate_core::Config::listeners`]; each address has its own.
    pub listener: ListenerId,
    /// As in the file; addresses of one listener share it.
    pub name: Arc<str>,
    /// What is spoken on it.
    pub protocol: Protocol,
    /// Its socket.
    pub addr: Address,
    /// What lies between the socket and MQTT, or CoAP.
    pub transport: Arc<Transport>,
}

/// The log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Log {
    /// How much.
    pub level: LogLevel,
    /// How it looks.
    pub format: LogFormat,
}

/// A configuration without mistakes, ready to be run.
#[derive(Debug, Clone)]
pub struct Resolved {
    /// For the core; its listeners are those of [`listeners`](Self::listeners), in that order.
    pub core: motegate_core::Config,
    /// The rules.
    pub table: Arc<Table>,
    /// Where to listen, by [`ListenerId`].
    pub listeners: Vec<Bind>,
    /// Multicast groups that listeners of a protocol join, those on all addresses.
    pub groups: Vec<(Protocol, Group)>,
    /// Where the gateway registers itself, if anywhere.
    pub directory: Option<ResourceDirectory>,
    /// How many rules the file has; presets and topic ids are not counted.
    pub rules: usize,
    /// Most stream connections open at a time.
    pub max_connections: usize,
    /// Where state is kept.
    pub data_dir: PathBuf,
    /// Whether that was written, or is the default.
    pub data_dir_given: bool,
    /// What an acknowledged message survives.
    pub durability: Durability,
    /// The log.
    pub log: Log,
    /// Tests of the rules.
    pub tests: Vec<tests::Test>,
    /// Where everything stands.
    pub places: tests::Places,
    /// What is worth a second look, drawn, one text each.
    pub warnings: Vec<String>,
    /// The same as data.
    pub warned: Vec<Finding>,
    /// Every file that was read: a change of one of them may change the configuration.
    pub files: Vec<PathBuf>,
}

impl Resolved {
    /// `config ok: 2 rules, 3 listeners`.
    #[must_use]
    pub fn summary(&self) -> String {
        let mut listeners: Vec<&str> = self.listeners.iter().map(|bind| &*bind.name).collect();
        listeners.dedup();
        let count = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
        format!("config ok: {}, {}", count(self.rules, "rule"), count(listeners.len(), "listener"))
    }
}

/// Reads configurations.
#[derive(Debug)]
pub struct Config(());

impl Config {
    /// Reads a file, `conf.d/*.yaml` beside it, and the environment (`MOTEGATE__…`).
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn load(path: impl AsRef<Path>) -> Result<Resolved, Findings> {
        Layers::new().file(path.as_ref()).environment(std::env::vars_os()).load()
    }

    /// Reads a text; `name` is the file's path, for messages and for `${file:…}`.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn parse(name: &str, text: &str) -> Result<Resolved, Findings> {
        Layers::new().text(name, text).load()
    }

    /// What `motegate dev` runs with: MQTT, MQTT-SN and CoAP on all addresses and their usual
    /// ports, nothing saved, clients without identity welcome from private addresses, or from any
    /// if `expose`.
    #[must_use]
    pub fn dev(expose: bool) -> Resolved {
        resolve::dev(expose)
    }

    /// The JSON Schema of the file, for editors.
    #[must_use]
    pub fn schema() -> serde_json::Value {
        schema::published()
    }
}

/// The text of a configuration file that is to be written anew.
///
/// # Errors
/// It cannot be read, is no file but a device or a pipe, is not UTF-8, or is larger than a
/// configuration can be.
pub fn read_file(path: impl AsRef<Path>) -> std::io::Result<String> {
    use text_file::{Kinds, Unread};
    text_file::read(path.as_ref(), Kinds::Files, document::MAX_BYTES).map_err(|error| match error {
        Unread::Io(error) => error,
        other => std::io::Error::other(other.to_string()),
    })
}

/// The answer of `motegate check`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Whether the configuration can be used.
    pub ok: bool,
    /// What to print: `config ok: …`, after the warnings, or everything that is wrong.
    pub text: String,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Checks a file, as `motegate check FILE` does.
#[must_use]
pub fn check(path: impl AsRef<Path>) -> Report {
    report(Config::load(path))
}

/// Checks a text.
#[must_use]
pub fn check_text(name: &str, text: &str) -> Report {
    report(Config::parse(name, text))
}

fn report(result: Result<Resolved, Findings>) -> Report {
    match result {
        Ok(resolved) => {
            let mut text = String::new();
            for warning in &resolved.warnings {
                text.push_str(warning);
                text.push_str("\n\n");
            }
            text.push_str(&resolved.summary());
            Report { ok: true, text }
        }
        Err(findings) => Report { ok: false, text: findings.to_string() },
    }
}
