//! [`Reader`]: reads typed values and remembers what was wrong with them.

use std::ops::RangeInclusive;
use std::time::Duration;

use motegate_mapping::Place;

use crate::diagnostic::{Code, Diagnostic, nearest};
use crate::document::Document;
use crate::value::{Size, Typed, Value};

/// Reads values of one document.
pub(crate) struct Reader<'d> {
    pub(crate) document: &'d Document,
    pub(crate) found: Vec<Diagnostic>,
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

    /// Reads one value.
    pub(crate) fn typed<T: Value>(&mut self, typed: &Typed<T>, place: &Place) -> Option<T> {
        let value = T::parse(&typed.text);
        if value.is_none() {
            let fix = match (nearest(&typed.text, T::WORDS.iter().copied()), T::WORDS) {
                (Some(word), _) => format!("did you mean `{word}`?"),
                (None, _) => format!("write {}", T::WHAT),
            };
            let text = format!("{:?} is not {}", typed.text, T::WHAT);
            self.report(place, Code::Value, text, fix);
        }
        value
    }

    /// Reads a whole number.
    pub(crate) fn number(
        &mut self,
        field: Option<&Typed<u64>>,
        parent: &Place,
        key: &str,
        range: RangeInclusive<u64>,
    ) -> Option<u64> {
        let number = self.get(field, parent, key)?;
        let (low, high) = (range.start().to_string(), range.end().to_string());
        self.within(number, range, &parent.at(key), [&low, &high])
    }

    /// Reads a size; the range is in bytes.
    pub(crate) fn size(
        &mut self,
        field: Option<&Typed<Size>>,
        parent: &Place,
        key: &str,
        range: RangeInclusive<u64>,
    ) -> Option<u64> {
        let size = self.get(field, parent, key)?;
        let (low, high) = (show_size(*range.start()), show_size(*range.end()));
        self.within(size.0, range, &parent.at(key), [&low, &high])
    }

    /// Reads a duration; the range is in milliseconds.
    pub(crate) fn time(
        &mut self,
        field: Option<&Typed<Duration>>,
        parent: &Place,
        key: &str,
        range: RangeInclusive<u64>,
    ) -> Option<Duration> {
        let time = self.get(field, parent, key)?;
        let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let (low, high) = (show_time(*range.start()), show_time(*range.end()));
        self.within(millis, range, &parent.at(key), [&low, &high]).map(|_| time)
    }

    fn within(
        &mut self,
        value: u64,
        range: RangeInclusive<u64>,
        place: &Place,
        [low, high]: [&str; 2],
    ) -> Option<u64> {
        if range.contains(&value) {
            return Some(value);
        }
        let (text, fix) = match (value < *range.start(), *range.end()) {
            (true, _) => ("this is too small", format!("it is at least {low}")),
            (false, _) => ("this is too large", format!("it is at most {high}")),
        };
        self.report(place, Code::Range, text, fix);
        None
    }
}

fn show_size(bytes: u64) -> String {
    for (unit, scale) in [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)] {
        if bytes >= scale && bytes.is_multiple_of(scale) {
            return format!("{}{unit}", bytes / scale);
        }
    }
    bytes.to_string()
}

fn show_time(millis: u64) -> String {
    let units = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)];
    for (unit, scale) in units {
        if millis >= scale && millis.is_multiple_of(scale) {
            return format!("{}{unit}", millis / scale);
        }
    }
    format!("{millis}ms")
}
