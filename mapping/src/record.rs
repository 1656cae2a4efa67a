//! [`RecordTopic`]: the topic of a rule with `split: senml`, rendered once per record.
//!
//! Everything but the record's name is filled in when the request is mapped; `{senml.n}` takes one
//! level, `{senml.n...}` as many as the name has.

use motegate_message::{Reason, TopicFilter, TopicName};

use crate::MapError;
use crate::filter::Filter;
use crate::safety::Unsafe;
use crate::template::fill_name;
use crate::text::Text;

/// A topic with places for a record's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordTopic {
    pieces: Vec<Piece>,
    mode: Unsafe,
    /// Bytes of the mount; what comes behind must not be empty.
    mount: usize,
    /// Whether the first character behind the mount comes from a device.
    captured: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Name { tail: bool, filters: Box<[Filter]> },
}

impl RecordTopic {
    pub(crate) fn new(mount: &str, mode: Unsafe, captured: bool) -> Self {
        let pieces = vec![Piece::Text(mount.to_owned())];
        RecordTopic { pieces, mode, mount: mount.len(), captured }
    }

    pub(crate) fn text(&mut self, text: &str) {
        self.pieces.push(Piece::Text(text.to_owned()));
    }

    pub(crate) fn name(&mut self, tail: bool, filters: Box<[Filter]>) {
        self.pieces.push(Piece::Name { tail, filters });
    }

    /// The final topic of the record of this name, base name included.
    ///
    /// # Errors
    /// `BadTopic`: the name is empty, or holds what cannot stand in a topic.
    pub fn topic(&self, name: &str) -> Result<TopicName, MapError> {
        let bad = |text: String| MapError { reason: Reason::BadTopic, text };
        let mut out = Text::new();
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => {
                    out.push_str(text);
                    if out.len() == self.mount {
                        out.begin_topic();
                    }
                }
                Piece::Name { tail, filters } => {
                    fill_name(name, *tail, filters, self.mode, &mut out)?;
                }
            }
        }
        let below = out.as_str().get(self.mount..).unwrap_or_default();
        if below.is_empty() {
            return Err(bad("the topic is empty".into()));
        }
        if self.captured && (below.starts_with('$') || out.as_str().starts_with('$')) {
            return Err(bad("a topic that begins with $ cannot be written".into()));
        }
        TopicName::new(out.as_str()).map_err(|e| bad(e.to_string()))
    }

    /// The topics that the records can have.
    ///
    /// # Errors
    /// `BadTopic`: a name in it makes no topic.
    pub(crate) fn filter(&self) -> Result<TopicFilter, MapError> {
        let (mut out, mut level, mut named) = (String::new(), 0, false);
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => {
                    for c in text.chars() {
                        if c == '/' {
                            (level, named) = (out.len() + 1, false);
                        }
                        if !named {
                            out.push(c);
                        }
                    }
                }
                Piece::Name { tail, .. } => {
                    out.truncate(level);
                    named = true;
                    out.push(if *tail { '#' } else { '+' });
                    if *tail {
                        break;
                    }
                }
            }
        }
        TopicFilter::new(&out)
            .map_err(|e| MapError { reason: Reason::BadTopic, text: e.to_string() })
    }
}
