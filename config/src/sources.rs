//! [`Sources`]: every text that a configuration is made of, in one space of byte offsets.
//!
//! Files follow each other in it, then the variables of the environment, then the settings of the
//! command line; an offset says which text it is in. So a span of a merged tree still points at the
//! text that it came from.

use std::ops::Range;

/// What kind of text it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceKind {
    /// A file.
    File,
    /// A variable: `MOTEGATE__MQTT__MAX_QOS=1`.
    Environment,
    /// A setting of the command line: `mqtt.max_qos=1`.
    Flag,
}

/// One text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Path of a file; `environment` or `--set` otherwise.
    pub name: String,
    /// All of it.
    pub text: String,
    /// What kind of text it is.
    pub kind: SourceKind,
    /// Its first byte among those of all.
    pub start: usize,
}

impl Source {
    /// How a place in it is named in one word: `motegate.yaml:3`, `MOTEGATE__MQTT__MAX_QOS`,
    /// `--set mqtt.max_qos`.
    #[must_use]
    pub fn word(&self, at: usize) -> String {
        let key = || self.text.split('=').next().unwrap_or_default();
        match self.kind {
            SourceKind::File => format!("{}:{}", self.name, self.position(at).0),
            SourceKind::Environment => key().to_owned(),
            SourceKind::Flag => format!("--set {}", key()),
        }
    }

    /// Line and column of a byte of all texts; both from 1, the column in characters.
    fn position(&self, at: usize) -> (usize, usize) {
        let mut at = at.saturating_sub(self.start).min(self.text.len());
        while !self.text.is_char_boundary(at) {
            at -= 1;
        }
        let before = &self.text[..at];
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        (line, column)
    }
}

/// Where something stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// Name of the text.
    pub name: String,
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
}

/// The texts of a configuration.
#[derive(Debug, Clone, Default)]
pub struct Sources(Vec<Source>);

impl Sources {
    /// Adds a text; returns its first byte.
    pub(crate) fn add(
        &mut self,
        kind: SourceKind,
        name: impl Into<String>,
        text: impl Into<String>,
    ) -> usize {
        // One byte in between, so that the end of one is not the beginning of the next.
        let start = self.0.last().map_or(0, |last| last.start + last.text.len() + 1);
        self.0.push(Source { name: name.into(), text: text.into(), kind, start });
        start
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Source> {
        self.0.iter()
    }

    /// The text that a byte is in.
    #[must_use]
    pub fn of(&self, at: usize) -> Option<&Source> {
        let after = self.0.partition_point(|source| source.start <= at);
        self.0.get(after.checked_sub(1)?)
    }

    /// Line and column of a byte.
    #[must_use]
    pub fn position(&self, at: usize) -> Option<Position> {
        let source = self.of(at)?;
        let (line, column) = source.position(at);
        Some(Position { name: source.name.clone(), line, column })
    }

    /// The text that a span is in, and the span in that text.
    pub(crate) fn local(&self, span: &Range<usize>) -> Option<(&Source, Range<usize>)> {
        let source = self.of(span.start)?;
        let local = span.start - source.start..span.end.saturating_sub(source.start);
        Some((source, local.start..local.end.min(source.text.len()).max(local.start)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_byte_has_one_text() {
        let mut sources = Sources::default();
        assert_eq!(sources.of(0), None);
        let first = sources.add(SourceKind::File, "a", "x\ny");
        let second = sources.add(SourceKind::Environment, "environment", "MOTEGATE__A=1");
        assert_eq!((first, second), (0, 4));
        assert_eq!(sources.of(3).map(|s| &*s.name), Some("a"), "its end belongs to it");
        assert_eq!(sources.of(4).map(|s| s.word(16)).as_deref(), Some("MOTEGATE__A"));
        let at = sources.position(2);
        assert_eq!(at, Some(Position { name: "a".into(), line: 2, column: 1 }));
        assert_eq!(sources.local(&(5..7)).map(|(_, span)| span), Some(1..3));
    }
}
