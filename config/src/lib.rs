//! Motegate: the YAML configuration file.
//!
//! [`Config::load`] reads one file into [`Resolved`]: plain data for the core, a checked mapping
//! table, addresses to listen on. Everything wrong is found at once, each with file, line, cause
//! and fix ([`Findings`]). The core never sees YAML; only this crate does.
//!
//! Left out: merging of several files, overriding keys by environment variables, and every block
//! of a part that is not built: those are unknown keys.

mod diagnostic;
mod document;
mod file;
mod listeners;
mod reader;
mod resolve;
mod rules;
mod shape;
mod substitute;
mod value;

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use motegate_core::Protocol;
use motegate_mapping::Table;
use motegate_message::ListenerId;

pub use diagnostic::{Code, Diagnostic, Findings};
pub use value::{Durability, LogFormat, LogLevel};

use document::Document;

/// Where to listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bind {
    /// Place in [`motegate_core::Config::listeners`]; each address has its own.
    pub listener: ListenerId,
    /// As in the file; addresses of one listener share it.
    pub name: Arc<str>,
    /// What is spoken on it.
    pub protocol: Protocol,
    /// `[::]` means every address, IPv4 included: one socket that is not IPv6-only. Port 0 takes
    /// a free one.
    pub addr: SocketAddr,
    /// Where to listen instead if the machine has no IPv6: `0.0.0.0` for `[::]`.
    pub fallback: Option<SocketAddr>,
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
    /// How many rules the file has; presets and topic ids are not counted.
    pub rules: usize,
    /// Most stream connections open at a time.
    pub max_connections: usize,
    /// Where state is kept.
    pub data_dir: PathBuf,
    /// What an acknowledged message survives.
    pub durability: Durability,
    /// The log.
    pub log: Log,
    /// What is worth a second look, drawn, one text each.
    pub warnings: Vec<String>,
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
    /// Reads a file.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn load(path: impl AsRef<Path>) -> Result<Resolved, Findings> {
        let path = path.as_ref();
        let name = path.display().to_string();
        match std::fs::read(path).map(String::from_utf8) {
            Ok(Ok(text)) => Config::parse(&name, &text),
            Ok(Err(_)) => Err(unreadable(name, "it is not UTF-8", "save it as UTF-8 text")),
            Err(e) => {
                let fix = match e.kind() {
                    std::io::ErrorKind::NotFound => "check the path, or run `motegate dev`",
                    std::io::ErrorKind::PermissionDenied => "check who may read it",
                    _ => "check the path",
                };
                Err(unreadable(name, &e.to_string(), fix))
            }
        }
    }

    /// Reads a text; `name` is the file's path, for messages and for `${file:…}`.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn parse(name: &str, text: &str) -> Result<Resolved, Findings> {
        let mut findings =
            Findings { name: name.to_owned(), source: text.to_owned(), diagnostics: Vec::new() };
        let resolved = read(text, Path::new(name), &mut findings.diagnostics);
        findings.sort();
        match resolved {
            Some(mut resolved) if !findings.has_errors() => {
                let warnings = findings.diagnostics.iter();
                resolved.warnings = warnings.map(|d| d.render(name, text)).collect();
                Ok(resolved)
            }
            _ => {
                // Errors are what keeps it from running; a warning would hide among them.
                findings.diagnostics.retain(Diagnostic::is_error);
                Err(findings)
            }
        }
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
        shape::schema()
    }
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

fn unreadable(name: String, cause: &str, fix: &str) -> Findings {
    let text = format!("the file cannot be read: {cause}");
    let diagnostics = vec![Diagnostic::new(Code::Unreadable, text, fix)];
    Findings { name, source: String::new(), diagnostics }
}

/// Positions first, then shape, then values: each step needs the one before to be without fault.
fn read(text: &str, path: &Path, found: &mut Vec<Diagnostic>) -> Option<Resolved> {
    let document = match Document::parse(text) {
        Ok(document) => document,
        Err(all) => {
            found.extend(all);
            return None;
        }
    };
    shape::check(&document, found);
    let folder = path.parent().unwrap_or(Path::new("."));
    let substituted = substitute::apply(text, &document, folder, found);
    if !found.is_empty() {
        return None;
    }
    let file = match serde_yaml::from_str::<Option<file::File>>(&substituted) {
        Ok(file) => file.unwrap_or_default(),
        Err(e) => {
            let at = e.location().map_or(0, |l| l.index().min(text.len()));
            let at = if text.is_char_boundary(at) { at } else { 0 };
            let d = Diagnostic::new(Code::Value, e.to_string(), "write it as the reference says");
            found.push(d.at(at..at));
            return None;
        }
    };
    let (resolved, more) = resolve::resolve(&file, &document);
    found.extend(more);
    resolved
}
