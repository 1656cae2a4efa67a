//! [`Reader`]: reads typed values and remembers what was wrong with them.

use std::path::PathBuf;

use motegate_mapping::Place;

use crate::diagnostic::{Code, Diagnostic, nearest};
use crate::document::Document;
use crate::schema;
use crate::value::{Typed, Value};

/// Reads values of one document.
pub(crate) struct Reader<'d> {
    pub(crate) document: &'d Document,
    pub(crate) found: Vec<Diagnostic>,
    /// A listener could not be read: any name may be its name.
    pub(crate) listeners_unread: bool,
    /// `users` is not empty, whether or not it could be read.
    pub(crate) has_users: bool,
    /// EMQX's clients may connect, which have passwords (the preset `emqx-ps`).
    pub(crate) has_emqx: bool,
    /// Files that values name, and that were read or should have been.
    pub(crate) files: Vec<PathBuf>,
}

impl Reader<'_> {
    /// Reports something about a value.
    pub(crate) fn report(
        &mut self,
        place: &Place,
        code: Code,
        text: impl Into<String>,
        fix: impl Into<String>,
    ) {
        let at = self.document.value(place);
        self.found.push(Diagnostic::new(code, text, fix).at(at));
    }

    /// Reports a name that no listener has, unless it may be that of one with a mistake.
    pub(crate) fn unknown_listener(&mut self, place: &Place, text: String, fix: String) {
        if !self.listeners_unread {
            self.report(place, Code::UnknownListener, text, fix);
        }
    }

    /// Reports that a key is missing.
    pub(crate) fn missing(&mut self, place: &Place, key: &str, fix: impl Into<String>) {
        let at = self.document.key(place);
        let d = Diagnostic::new(Code::Missing, format!("`{key}` is missing"), fix);
        self.found.push(d.at(at).label(format!("needs `{key}`")));
    }

    /// Reads the value of a key, if it is there and good.
    pub(crate) fn get<T: Value>(
        &mut self,
        field: Option<&Typed<T>>,
        parent: &Place,
        key: &str,
    ) -> Option<T> {
        field.and_then(|typed| self.typed(typed, &parent.at(key)))
    }

    /// Reads one value; its range is the schema's.
    pub(crate) fn typed<T: Value>(&mut self, typed: &Typed<T>, place: &Place) -> Option<T> {
        let Some(value) = T::parse(&typed.text) else {
            let words = T::WORDS.iter().copied();
            let fix = match nearest(&typed.text, words).filter(|word| is_word(word)) {
                Some(word) => format!("did you mean `{word}`?"),
                None => format!("write {}", T::WHAT),
            };
            let text = format!("{:?} is not {}", typed.text, T::WHAT);
            self.report(place, Code::Value, text, fix);
            return None;
        };
        let range = schema::at(place).and_then(|schema| schema["range"].as_str());
        match range.and_then(|range| outside(&value, range)) {
            None => Some(value),
            Some((text, fix)) => {
                self.report(place, Code::Range, text, fix);
                None
            }
        }
    }
}

/// `4.04` and `1` are no words: who types another number did not mistype one.
fn is_word(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_alphabetic())
}

/// What is wrong with a value that is outside its range, and the way out.
fn outside<T: Value>(value: &T, range: &str) -> Option<(&'static str, String)> {
    let (low, high) = range.split_once(" to ")?;
    let rank = |text| T::parse(text).and_then(|value| value.rank());
    let value = value.rank()?;
    if value < rank(low)? {
        Some(("this is too small", format!("it is at least {low}")))
    } else if value > rank(high)? {
        Some(("this is too large", format!("it is at most {high}")))
    } else {
        None
    }
}
