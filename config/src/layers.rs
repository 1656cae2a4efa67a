//! [`Layers`]: the files, variables and settings that make up one configuration.
//!
//! Later ones go over earlier ones: the first file, `conf.d/*.yaml` beside it in the order of their
//! names, the other files, the environment, the settings of the command line. Below them all are
//! the built-in defaults.

use std::collections::HashSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use serde::Deserialize as _;

use crate::decode::Decoder;
use crate::diagnostic::{Code, Diagnostic, Findings};
use crate::document::{Document, Node};
use crate::file::File;
use crate::merge::{self, Join};
use crate::sources::{SourceKind, Sources};
use crate::tests::Places;
use crate::{Resolved, overrides, resolve, schema, secret, shape, show, substitute};

/// Most files in one `conf.d`.
const MAX_FILES: usize = 1_000;

/// What a configuration is read from.
#[derive(Debug, Clone, Default)]
pub struct Layers {
    files: Vec<PathBuf>,
    text: Option<(String, String)>,
    environment: Vec<(String, OsString)>,
    settings: Vec<String>,
}

/// What was read, before anything is made of it.
#[derive(Default)]
struct Reading {
    sources: Sources,
    trees: Vec<(Node, Join)>,
    /// Files that were read, those of `${file:…}` included.
    files: Vec<PathBuf>,
    found: Vec<Diagnostic>,
}

impl Layers {
    /// Nothing but the defaults.
    #[must_use]
    pub fn new() -> Self {
        Layers::default()
    }

    /// Adds a file. Beside the first one, `conf.d/*.yaml` is read, too.
    #[must_use]
    pub fn file(mut self, path: impl Into<PathBuf>) -> Self {
        self.files.push(path.into());
        self
    }

    /// Adds files.
    #[must_use]
    pub fn files(self, paths: impl IntoIterator<Item = impl Into<PathBuf>>) -> Self {
        paths.into_iter().fold(self, Layers::file)
    }

    /// A text in place of a first file; `name` is its path, for messages and for `${file:…}`.
    #[must_use]
    pub fn text(mut self, name: impl Into<String>, text: impl Into<String>) -> Self {
        self.text = Some((name.into(), text.into()));
        self
    }

    /// Adds the variables whose names begin with `MOTEGATE__`.
    #[must_use]
    pub fn environment(mut self, all: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        let ours = all.into_iter().filter_map(|(name, value)| {
            let name = name.into_string().ok().filter(|n| n.starts_with(overrides::PREFIX))?;
            Some((name, value))
        });
        self.environment.extend(ours);
        self.environment.sort();
        self
    }

    /// Adds settings such as `mqtt.max_qos=1`.
    #[must_use]
    pub fn set(mut self, settings: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.settings.extend(settings.into_iter().map(Into::into));
        self
    }

    /// Reads all of it.
    ///
    /// # Errors
    /// Everything that is wrong with it; errors only, as a warning would hide among them.
    pub fn load(&self) -> Result<Resolved, Findings> {
        let (reading, read) = self.read();
        let mut findings = Findings { sources: reading.sources, diagnostics: reading.found };
        findings.sort();
        match read {
            Some((mut resolved, document)) if !findings.has_errors() => {
                let drawn = findings.diagnostics.iter().map(|d| d.render(&findings.sources));
                resolved.warnings = drawn.collect();
                resolved.files = reading.files;
                resolved.places = Places::new(document, findings.sources);
                Ok(resolved)
            }
            _ => {
                findings.diagnostics.retain(Diagnostic::is_error);
                Err(findings)
            }
        }
    }

    /// The configuration as YAML; see [`show::Show`].
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn show(&self, how: show::Show) -> Result<String, Findings> {
        let (reading, read) = self.read();
        let mut findings = Findings { sources: reading.sources, diagnostics: reading.found };
        findings.sort();
        match read {
            Some((_, document)) if !findings.has_errors() => {
                Ok(show::draw(document.root.as_ref(), &findings.sources, how))
            }
            _ => {
                findings.diagnostics.retain(Diagnostic::is_error);
                Err(findings)
            }
        }
    }

    /// Positions first, then shape, then values: each step needs the one before to be without
    /// fault.
    fn read(&self) -> (Reading, Option<(Resolved, Document)>) {
        let mut reading = Reading::default();
        if let Some((name, text)) = &self.text {
            reading.text(name, text);
        }
        for (i, path) in self.files.iter().enumerate() {
            reading.file(path);
            if i == 0 && self.text.is_none() {
                reading.conf_d(path, self.files.get(1..).unwrap_or_default());
            }
        }
        for (name, value) in &self.environment {
            reading.variable(name, value);
        }
        for setting in &self.settings {
            reading.setting(setting);
        }
        if reading.found.iter().any(Diagnostic::is_error) {
            return (reading, None);
        }
        let trees = std::mem::take(&mut reading.trees).into_iter();
        let found = &mut reading.found;
        let root = trees.reduce(|(base, join), (over, how)| {
            (merge::merge(base, over, schema::schema(), how, found), join)
        });
        let document = Document { root: root.map(|(root, _)| root) };
        if found.iter().any(Diagnostic::is_error) {
            return (reading, None);
        }
        let file = match document.root.as_ref().map(|root| Option::deserialize(Decoder(root))) {
            None => File::default(),
            Some(Ok(file)) => file.unwrap_or_default(),
            Some(Err(e)) => {
                // The shape was checked: there is no text that does this.
                let fix = "write it as the reference says";
                found.push(Diagnostic::new(Code::Value, e.to_string(), fix).at(0..0));
                return (reading, None);
            }
        };
        let (resolved, more) = resolve::resolve(&file, &document);
        found.extend(more);
        let read = resolved.map(|resolved| (resolved, document));
        (reading, read)
    }
}

impl Reading {
    fn text(&mut self, name: &str, text: &str) {
        let start = self.sources.add(SourceKind::File, name, text);
        let folder = Path::new(name).parent().unwrap_or(Path::new("."));
        self.take(Document::parse(text, start), folder, Join::Add);
    }

    fn file(&mut self, path: &Path) {
        let name = path.display().to_string();
        match std::fs::read(path).map(String::from_utf8) {
            Ok(Ok(text)) => {
                self.text(&name, &text);
                self.files.push(path.to_owned());
            }
            Ok(Err(_)) => self.unreadable(&name, "it is not UTF-8", "save it as UTF-8 text"),
            Err(e) => {
                let fix = match e.kind() {
                    std::io::ErrorKind::NotFound => "check the path, or run `motegate dev`",
                    std::io::ErrorKind::PermissionDenied => "check who may read it",
                    _ => "check the path",
                };
                self.unreadable(&name, &e.to_string(), fix);
            }
        }
    }

    fn unreadable(&mut self, name: &str, cause: &str, fix: &str) {
        let start = self.sources.add(SourceKind::File, name, "");
        let text = format!("the file cannot be read: {cause}");
        self.found.push(Diagnostic::new(Code::Unreadable, text, fix).at(start..start));
    }

    /// Reads what is in `conf.d` beside a file and is not named anyway.
    fn conf_d(&mut self, main: &Path, others: &[PathBuf]) {
        let folder = main.parent().unwrap_or(Path::new("")).join("conf.d");
        let Ok(entries) = std::fs::read_dir(&folder) else { return };
        let named: HashSet<PathBuf> = others.iter().filter_map(|p| p.canonicalize().ok()).collect();
        let mut paths: Vec<PathBuf> = entries.filter_map(Result::ok).map(|e| e.path()).collect();
        paths.sort();
        if paths.len() > MAX_FILES {
            let start = self.sources.add(SourceKind::File, folder.display().to_string(), "");
            let d = Diagnostic::new(Code::Limit, "more than 1,000 files", "join some of them");
            self.found.push(d.at(start..start));
            return;
        }
        for path in paths {
            let hidden = path.file_name().is_some_and(|n| n.as_encoded_bytes().starts_with(b"."));
            let ending = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
            if hidden || named.contains(&path.canonicalize().unwrap_or_default()) {
                continue;
            }
            match ending {
                "yaml" => self.file(&path),
                "yml" => {
                    let name = path.display().to_string();
                    let start = self.sources.add(SourceKind::File, name, "");
                    let fix = "rename it to end in .yaml, or move it away";
                    let text = "the file is not read: its name does not end in .yaml";
                    self.found.push(Diagnostic::new(Code::NotRead, text, fix).at(start..start));
                }
                _ => {}
            }
        }
    }

    fn variable(&mut self, name: &str, value: &OsString) {
        let text = format!("{name}={}", value.to_string_lossy());
        let start = self.sources.add(SourceKind::Environment, "environment", &text);
        if value.to_str().is_none() {
            let fix = "set it to UTF-8 text";
            let d = Diagnostic::new(Code::Override, "the value is not UTF-8", fix);
            self.found.push(d.at(start..start + name.len()));
            return;
        }
        let document = overrides::parse(&text, start, overrides::PREFIX.len(), "__");
        self.take(document, Path::new("."), Join::Override);
    }

    fn setting(&mut self, text: &str) {
        let start = self.sources.add(SourceKind::Flag, "--set", text);
        self.take(overrides::parse(text, start, 0, "."), Path::new("."), Join::Override);
    }

    /// Checks one tree by itself, so that each mistake is reported where it was made.
    fn take(&mut self, document: Result<Document, Vec<Diagnostic>>, folder: &Path, join: Join) {
        let mut document = match document {
            Ok(document) => document,
            Err(all) => return self.found.extend(all),
        };
        shape::check(&document, &mut self.found);
        if let Some(root) = &mut document.root {
            if join == Join::Add {
                secret::check(root, schema::schema(), &mut self.found);
            }
            substitute::apply(root, folder, &mut self.files, &mut self.found);
        }
        self.trees.extend(document.root.map(|root| (root, join)));
    }
}
