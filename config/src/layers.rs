//! [`Layers`]: the files, variables and settings that make up one configuration.
//!
//! Later ones go over earlier ones: the first file, `conf.d/*.yaml` beside it in the order of their
//! names, the other files, the environment, the settings of the command line. Below them all are
//! the built-in defaults.

use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};

use serde::Deserialize as _;

use crate::conf_d::{self, Listing};
use crate::decode::Decoder;
use crate::diagnostic::{Code, Diagnostic, Findings};
use crate::document::{Document, Kind, Node};
use crate::file::File;
use crate::merge::{self, Join};
use crate::sources::{SourceKind, Sources};
use crate::tests::Places;
use crate::text_file::{self, Kinds, Unread};
use crate::{Resolved, document, overrides, resolve, schema, secret, shape, show, substitute};

/// What a configuration is read from.
#[derive(Debug, Clone, Default)]
pub struct Layers {
    files: Vec<PathBuf>,
    text: Option<(String, String)>,
    environment: Vec<(String, OsString)>,
    /// Variables that are none of ours, and which they should be.
    nearly: Vec<(String, String)>,
    settings: Vec<String>,
    /// What can be read once only has been read.
    again: bool,
}

/// What was read, before anything is made of it.
#[derive(Default)]
struct Reading {
    sources: Sources,
    trees: Vec<(Node, Join)>,
    /// Files that were read or should have been, those of `${file:…}` included.
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

    /// Adds the variables whose names begin with `MOTEGATE__`; of others it warns that look as if
    /// theirs should.
    #[must_use]
    pub fn environment(mut self, all: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        for (name, value) in all {
            let Ok(name) = name.into_string() else { continue };
            if name.starts_with(overrides::PREFIX) {
                self.environment.push((name, value));
            } else if let Some(meant) = overrides::meant(&name) {
                self.nearly.push((name, meant));
            }
        }
        self.environment.sort();
        self.nearly.sort();
        self
    }

    /// Adds settings such as `mqtt.max_qos=1`.
    #[must_use]
    pub fn set(mut self, settings: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.settings.extend(settings.into_iter().map(Into::into));
        self
    }

    /// The same to be read another time: a pipe that was named has nothing more to say, and is
    /// refused.
    #[must_use]
    pub fn again(mut self) -> Self {
        self.again = true;
        self
    }

    /// The files that would be read now: those that were named, and those in `conf.d`. Which others
    /// these speak of (`${file:…}`) is known when they were read: [`Resolved::files`] and
    /// [`Findings::files`].
    #[must_use]
    pub fn paths(&self) -> Vec<PathBuf> {
        let mut paths = Vec::new();
        for (i, path) in self.files.iter().enumerate() {
            paths.push(path.clone());
            if i == 0
                && let Some(folder) = self.folder()
                && let Listing::Files { read, .. } = conf_d::list(&folder, self.others())
            {
                paths.extend(read);
            }
        }
        paths
    }

    /// `conf.d`, which need not be there.
    #[must_use]
    pub fn folder(&self) -> Option<PathBuf> {
        let main = self.files.first().filter(|_| self.text.is_none())?;
        Some(conf_d::beside(main))
    }

    /// The folder of the first file, beside which state is kept unless `data_dir` says where.
    fn home(&self) -> &Path {
        let name = self.text.as_ref().map(|(name, _)| Path::new(name));
        let first = name.or(self.files.first().map(PathBuf::as_path));
        first.and_then(Path::parent).unwrap_or(Path::new(""))
    }

    /// The named files but for the first.
    fn others(&self) -> &[PathBuf] {
        self.files.get(1..).unwrap_or_default()
    }

    /// Reads all of it.
    ///
    /// # Errors
    /// Everything that is wrong with it; errors only, as a warning would hide among them.
    pub fn load(&self) -> Result<Resolved, Findings> {
        let (mut resolved, document, findings) = self.good()?;
        let drawn = findings.diagnostics.iter().map(|d| d.render(&findings.sources));
        resolved.warnings = drawn.collect();
        resolved.warned = findings.list();
        resolved.files = findings.files;
        resolved.places = Places::new(document, findings.sources);
        Ok(resolved)
    }

    /// The configuration as YAML; see [`show::Show`].
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn show(&self, how: show::Show) -> Result<String, Findings> {
        let (_, document, findings) = self.good()?;
        Ok(show::draw(document.root.as_ref(), &findings.sources, how))
    }

    /// What was read, with warnings only.
    fn good(&self) -> Result<(Resolved, Document, Findings), Findings> {
        let (reading, read) = self.read();
        let Reading { sources, files, found: diagnostics, .. } = reading;
        let mut findings = Findings { sources, diagnostics, files };
        findings.sort();
        match read {
            Some((resolved, document)) if !findings.has_errors() => {
                Ok((resolved, document, findings))
            }
            _ => {
                findings.diagnostics.retain(Diagnostic::is_error);
                Err(findings)
            }
        }
    }

    /// The same as JSON; secrets are masked there, too.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn show_json(&self, effective: bool) -> Result<serde_json::Value, Findings> {
        let text = self.show(show::Show { effective, origin: false })?;
        let document = Document::parse(&text, 0).expect("what `show` draws is YAML");
        Ok(document.root.map_or_else(|| serde_json::json!({}), |root| show::json(&root)))
    }

    /// Where state is kept, also where other things in the configuration are wrong: whoever asks the
    /// running gateway must find it then, too.
    #[must_use]
    pub fn data_dir(&self) -> PathBuf {
        let reading = self.gather();
        let given = reading.trees.iter().rev().find_map(|(root, _)| {
            let Kind::Map(items) = &root.kind else { return None };
            let (_, node) = items.iter().find(|(key, _)| key.text == "data_dir")?;
            match &node.kind {
                Kind::Scalar { text, .. } if !node.is_null() => Some(PathBuf::from(text)),
                _ => None,
            }
        });
        let default = Path::new("./motegate-data").to_owned();
        given.unwrap_or_else(|| join(self.home(), &default))
    }

    /// Everything that is read, each text checked by itself.
    fn gather(&self) -> Reading {
        let mut reading = Reading::default();
        if let Some((name, text)) = &self.text {
            reading.text(name, text);
        }
        let kinds = if self.again { Kinds::Files } else { Kinds::Pipes };
        for (i, path) in self.files.iter().enumerate() {
            reading.file(path, kinds);
            if i == 0
                && let Some(folder) = self.folder()
            {
                reading.conf_d(&folder, self.others());
            }
        }
        for (name, value) in &self.environment {
            reading.variable(name, value);
        }
        for (name, meant) in &self.nearly {
            reading.nearly(name, meant);
        }
        for setting in &self.settings {
            reading.setting(setting);
        }
        reading
    }

    /// Positions first, then shape, then values: each step needs the one before to be without
    /// fault.
    fn read(&self) -> (Reading, Option<(Resolved, Document)>) {
        let mut reading = self.gather();
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
        let (resolved, more, files) = resolve::resolve(&file, &document);
        reading.files.extend(files);
        found.extend(more);
        let read = resolved.map(|mut resolved| {
            if !resolved.data_dir_given {
                resolved.data_dir = join(self.home(), &resolved.data_dir);
            }
            (resolved, document)
        });
        (reading, read)
    }
}

impl Reading {
    fn text(&mut self, name: &str, text: &str) {
        let start = self.sources.add(SourceKind::File, name, text);
        let folder = Path::new(name).parent().unwrap_or(Path::new("."));
        let document = Document::parse(text, start);
        let is_broken = document.is_err();
        self.take(document, folder, Join::Add);
        // Whatever is wrong with the rest, that line may say where the gateway is.
        let line = text.lines().find(|line| is_broken && line.starts_with("data_dir:"));
        if let Some(mut root) = line.and_then(|line| Document::parse(line, start).ok()?.root) {
            beside(&mut root, folder);
            self.trees.push((root, Join::Add));
        }
    }

    fn file(&mut self, path: &Path, kinds: Kinds) {
        let name = path.display().to_string();
        self.files.push(path.to_owned());
        match text_file::read(path, kinds, document::MAX_BYTES) {
            Ok(text) => self.text(&name, &text),
            Err(Unread::TooLong) => {
                let fix = "split it, or check that it is the file you mean";
                self.about(&name, Code::Limit, "the file is larger than 4 MiB", fix);
            }
            Err(error) => {
                let text = format!("the file cannot be read: {error}");
                self.about(&name, Code::Unreadable, text, unread_fix(&error, kinds));
            }
        }
    }

    /// Says something of a file as a whole.
    fn about(&mut self, name: &str, code: Code, text: impl Into<String>, fix: &str) {
        let start = self.sources.add(SourceKind::File, name, "");
        self.found.push(Diagnostic::new(code, text, fix).at(start..start));
    }

    /// Reads what is in `conf.d` and is not named anyway.
    fn conf_d(&mut self, folder: &Path, others: &[PathBuf]) {
        let name = folder.display().to_string();
        let (read, alike) = match conf_d::list(folder, others) {
            Listing::Nothing => return,
            Listing::Files { read, alike } => (read, alike),
            Listing::NoFolder => {
                let fix = "make it a folder with files in it, or move it away";
                return self.about(&name, Code::NotRead, "this is not read: it is no folder", fix);
            }
            Listing::TooMany => {
                return self.about(
                    &name,
                    Code::Limit,
                    "more than 1,000 files",
                    "join some of them",
                );
            }
            Listing::Io(error) => {
                let text = format!("the folder cannot be read: {error}");
                return self.about(&name, Code::Unreadable, text, "check who may read it");
            }
        };
        for path in read {
            self.file(&path, Kinds::Files);
        }
        for path in alike {
            let fix = "rename it to end in .yaml, or move it away";
            let text = "the file is not read: its name does not end in .yaml";
            self.about(&path.display().to_string(), Code::NotRead, text, fix);
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

    fn nearly(&mut self, name: &str, meant: &str) {
        // Not its value: it may be a secret.
        let start = self.sources.add(SourceKind::Environment, "environment", name);
        let text = format!("the variable {name} sets nothing");
        let d = Diagnostic::new(Code::NearlySetting, text, format!("did you mean {meant}?"));
        self.found.push(d.at(start..start + name.len()));
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
            beside(root, folder);
        }
        self.trees.extend(document.root.map(|root| (root, join)));
    }
}

/// A relative `data_dir` of a file is relative to the file's folder, so that whoever names the file
/// finds the gateway, wherever it was started; so are the paths of certificates and of Unix sockets.
/// Not so those of the environment and of `--set`, which are typed where the program starts: their
/// folder is `.`.
fn beside(root: &mut Node, folder: &Path) {
    anchor(root.get_mut("data_dir"), "", folder);
    let Some(Kind::List(listeners)) = root.get_mut("listeners").map(|node| &mut node.kind) else {
        return;
    };
    for listener in listeners {
        match listener.get_mut("bind") {
            Some(Node { kind: Kind::List(binds), .. }) => {
                binds.iter_mut().for_each(|bind| anchor(Some(bind), "unix:", folder));
            }
            bind => anchor(bind, "unix:", folder),
        }
        let Some(tls) = listener.get_mut("tls") else { continue };
        for key in ["cert", "key", "client_ca", "crl"] {
            anchor(tls.get_mut(key), "", folder);
        }
        let Some(Kind::List(names)) = tls.get_mut("sni").map(|node| &mut node.kind) else {
            continue;
        };
        for name in names {
            anchor(name.get_mut("cert"), "", folder);
            anchor(name.get_mut("key"), "", folder);
        }
    }
}

/// Makes the path of a scalar, behind its prefix, one below a folder.
fn anchor(node: Option<&mut Node>, prefix: &str, folder: &Path) {
    let Some(node) = node.filter(|node| !node.is_null()) else { return };
    let Kind::Scalar { text, .. } = &mut node.kind else { return };
    let Some(path) = text.strip_prefix(prefix) else { return };
    // A folder whose name is no text is the working directory's, or nobody's.
    let Some(there) = join(folder, Path::new(path)).to_str().map(|path| format!("{prefix}{path}"))
    else {
        return;
    };
    if there != *text {
        let before = std::mem::replace(text, there);
        node.written.get_or_insert(before);
    }
}

/// A path below a folder; as it was written where that is the working directory.
fn join(folder: &Path, path: &Path) -> PathBuf {
    let here = folder.components().all(|part| part == Component::CurDir);
    if path.as_os_str().is_empty() || path.is_absolute() || here {
        return path.to_owned();
    }
    folder.join(path.strip_prefix(".").unwrap_or(path))
}

fn unread_fix(error: &Unread, kinds: Kinds) -> &'static str {
    match error {
        Unread::NotUtf8 => "save it as UTF-8 text",
        Unread::Kind("a pipe") if kinds == Kinds::Files => {
            "put a file in its place: a pipe can be read once, and never ends if nobody writes"
        }
        Unread::Kind(_) => "name a file, or move this away",
        Unread::Io(e) if e.kind() == std::io::ErrorKind::NotFound => {
            "check the path, write a first file with `motegate init`, or run `motegate dev`"
        }
        Unread::Io(e) if e.kind() == std::io::ErrorKind::PermissionDenied => {
            "check who may read it"
        }
        Unread::Io(_) | Unread::TooLong => "check the path",
    }
}
