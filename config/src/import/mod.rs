//! Foreign configurations as ours: `motegate import`.
//!
//! Pure: texts in, a `motegate.yaml` and [`Remark`]s out. The YAML always passes `check`. What is
//! lossy, has no counterpart or waits for a later version is a remark with file and line of the
//! source, and stands as a comment `# import: …` at its place in the YAML; nothing is left out in
//! silence. Where the source kept clients out by means that we cannot carry over, nobody may
//! connect until the user says so: an import never opens more than its source did.
//!
//! What is secret (passwords, keys) is never copied.

mod draft;
mod emqx;
mod fold;
mod hocon;
mod listener;
mod mosquitto;
mod nanomq;
mod paho;
mod rewrite;
mod tree;
mod yaml;

use std::fmt;

use crate::Config;
use draft::Draft;
use yaml::printable;

/// Largest source, and largest result, in bytes: what our reader takes.
const MAX_BYTES: usize = 4 * 1024 * 1024;

/// Whose configuration it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// mosquitto.conf.
    Mosquitto,
    /// EMQX 5: `emqx.conf`, or any part of one.
    Emqx,
    /// Paho MQTT-SN gateway: `gateway.conf`, `predefinedTopic.conf`, `clients.conf`.
    Paho,
    /// NanoMQ: `nanomq.conf`.
    Nanomq,
}

/// A file to import.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// Its name, for `file:line`.
    pub name: &'a str,
    /// Its text.
    pub text: &'a str,
}

/// Why something is not as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RemarkKind {
    /// Carried over, but it means something a little different here.
    Changed,
    /// Its place comes with a later version.
    Later,
    /// It has no counterpart.
    Unsupported,
    /// It is no setting that is known, or a value that makes no sense.
    Unknown,
}

impl RemarkKind {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            RemarkKind::Changed => "changed",
            RemarkKind::Later => "later",
            RemarkKind::Unsupported => "unsupported",
            RemarkKind::Unknown => "unknown",
        }
    }
}

/// Something that is not as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remark {
    /// Name of the source.
    pub file: String,
    /// Line in it, from 1.
    pub line: usize,
    /// Why.
    pub kind: RemarkKind,
    /// The setting, as it is written there.
    pub what: String,
    /// What became of it, and what to do.
    pub text: String,
    /// How it will be written once it has a place, in lines of YAML.
    pub equivalent: Vec<String>,
}

impl fmt::Display for Remark {
    /// `mosquitto.conf:12: later: password_file: …`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (file, what, text) =
            (printable(&self.file), printable(&self.what), printable(&self.text));
        write!(f, "{file}:{}: {}: {what}: {text}", self.line, self.kind.as_str())
    }
}

impl Remark {
    /// As comments of the YAML.
    fn comments(&self) -> impl Iterator<Item = String> + '_ {
        let first = format!("import: {self}");
        std::iter::once(first).chain(self.equivalent.iter().map(|line| format!("import:   {line}")))
    }
}

/// What an import made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// The configuration; it passes `check`.
    pub yaml: String,
    /// What is not as it was, in the order of the sources.
    pub remarks: Vec<Remark>,
}

/// Why nothing could be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportError {
    /// Name of the source.
    pub file: String,
    /// Line in it, from 1.
    pub line: usize,
    /// The cause.
    pub text: String,
    /// The way out.
    pub fix: String,
}

impl fmt::Display for ImportError {
    /// `emqx.conf:7: a brace is not closed` and the way out on a second line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (file, text) = (printable(&self.file), printable(&self.text));
        write!(f, "{file}:{}: {text}\n  fix: {}", self.line, printable(&self.fix))
    }
}

impl std::error::Error for ImportError {}

impl ImportError {
    fn new(
        source: Source<'_>,
        line: usize,
        text: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        ImportError { file: source.name.to_owned(), line, text: text.into(), fix: fix.into() }
    }
}

/// Makes a `motegate.yaml` of a foreign configuration.
///
/// # Errors
/// A source that is not what it should be, with file and line.
pub fn import(dialect: Dialect, sources: &[Source<'_>]) -> Result<Imported, ImportError> {
    for source in sources {
        if source.text.len() > MAX_BYTES {
            let fix = "check that it is the file you mean";
            return Err(ImportError::new(*source, 1, "the file is larger than 4 MiB", fix));
        }
        if let Some(at) = source.text.find('\0') {
            let line = source.text[..at].matches('\n').count() + 1;
            let fix = "check that it is the file you mean";
            return Err(ImportError::new(*source, line, "this is not a text file", fix));
        }
    }
    let mut draft = match dialect {
        Dialect::Mosquitto => mosquitto::read(sources),
        Dialect::Emqx => emqx::read(sources),
        Dialect::Paho => paho::read(sources),
        Dialect::Nanomq => nanomq::read(sources),
    }?;
    draft.settle();
    draft.sort(sources);
    checked(draft, sources)
}

/// The YAML, or what is left if our reader refuses it: everything as comments.
fn checked(draft: Draft, sources: &[Source<'_>]) -> Result<Imported, ImportError> {
    let names: Vec<&str> = sources.iter().map(|source| source.name).collect();
    let yaml = draft.write(&names);
    let remarks = draft.into_remarks();
    let too_much = |source: &Source<'_>| {
        let text = "there is more to be said of it than a configuration can hold";
        ImportError::new(*source, 1, text, "import it in parts")
    };
    if let Some(source) = sources.first().filter(|_| yaml.len() > MAX_BYTES) {
        return Err(too_much(source));
    }
    let Err(findings) = Config::parse("motegate.yaml", &yaml) else {
        return Ok(Imported { yaml, remarks });
    };
    let cause = findings.to_string();
    let mut map = yaml::Map::default();
    map.comment(format!("import: {REFUSED}, so all of it is commented out:"));
    map.comments(cause.lines().map(|line| format!("import:   {line}")));
    map.set("version", "1");
    map.set("listeners", yaml::Value::List(Vec::new()));
    map.comments(yaml.lines().map(|line| format!("import: {line}")));
    let mut remarks = remarks;
    remarks.push(Remark {
        file: names.first().copied().unwrap_or_default().to_owned(),
        line: 1,
        kind: RemarkKind::Unsupported,
        what: "all of it".into(),
        text: REFUSED.into(),
        equivalent: Vec::new(),
    });
    let yaml = map.write();
    match (Config::parse("motegate.yaml", &yaml), sources.first()) {
        (Err(_), Some(source)) => Err(too_much(source)),
        _ => Ok(Imported { yaml, remarks }),
    }
}

/// Said when a translation does not pass `check`; no source that is known leads to it.
const REFUSED: &str = "the translation does not pass check";

/// A text made fit to stand in one level of a topic; the names of listeners and of the gateway.
fn level(text: &str) -> String {
    let fit = |c: char| if c.is_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '-' };
    text.chars().take(64).map(fit).collect()
}

/// Whether a template may hold this text between its placeholders.
fn is_topic(text: &str) -> bool {
    motegate_message::TopicName::new(text).is_ok()
}

/// A literal text in a template or pattern.
fn literal(text: &str) -> String {
    text.replace('{', "{{").replace('}', "}}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_translation_that_fails_is_kept_as_comments() {
        let source = [Source { name: "x.conf", text: "" }];
        let mut draft = Draft::default();
        draft.limits.set("max_sessions", "0");
        let imported = checked(draft, &source).unwrap();
        assert!(crate::check_text("m", &imported.yaml).ok, "{}", imported.yaml);
        assert!(imported.yaml.contains("# import:   max_sessions: 0"), "{}", imported.yaml);
        assert!(imported.remarks[0].text.contains(REFUSED));
    }
}
