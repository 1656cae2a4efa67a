//! [`Value`]: what a payload says, whatever it is written in.
//!
//! The one model that every format is read into and written from. It holds what JSON and CBOR's
//! basic types can say, with exact numbers; borrowed from the payload wherever that has the text.

use std::borrow::Cow;
use std::fmt;

use super::Number;

/// A payload's value.
#[derive(Debug, Clone)]
pub enum Value<'a> {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number. Integers and fractions are one type, as in JSON.
    Number(Number),
    /// Text.
    Text(Cow<'a, str>),
    /// Bytes: CBOR and raw payloads have them, JSON does not.
    Bytes(Cow<'a, [u8]>),
    /// A list.
    Array(Vec<Value<'a>>),
    /// Names and values, in the order of the payload; each key once.
    Map(Vec<(Key<'a>, Value<'a>)>),
}

/// A key of a [`Value::Map`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key<'a> {
    /// The only kind that JSON has.
    Text(Cow<'a, str>),
    /// CBOR's, -2^64 to 2^64-1.
    Int(i128),
}

impl<'a> Value<'a> {
    /// An object with text keys.
    pub fn map<K: Into<Cow<'a, str>>>(entries: impl IntoIterator<Item = (K, Value<'a>)>) -> Self {
        Value::Map(entries.into_iter().map(|(k, v)| (Key::Text(k.into()), v)).collect())
    }

    /// Text.
    pub fn text(text: impl Into<Cow<'a, str>>) -> Self {
        Value::Text(text.into())
    }

    /// What it is, for messages.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Number(_) => "a number",
            Value::Text(_) => "text",
            Value::Bytes(_) => "bytes",
            Value::Array(_) => "a list",
            Value::Map(_) => "an object",
        }
    }
}

/// Maps are equal whatever their order: it means nothing in JSON (RFC 8259 §4) nor in CBOR.
impl PartialEq for Value<'_> {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Value::Null, Value::Null) => true,
            (Value::Bool(a), Value::Bool(b)) => a == b,
            (Value::Number(a), Value::Number(b)) => a == b,
            (Value::Text(a), Value::Text(b)) => a == b,
            (Value::Bytes(a), Value::Bytes(b)) => a == b,
            (Value::Array(a), Value::Array(b)) => a == b,
            (Value::Map(a), Value::Map(b)) => a.len() == b.len() && sorted(a) == sorted(b),
            _ => false,
        }
    }
}

impl Eq for Value<'_> {}

fn sorted<'m, 'a>(map: &'m [(Key<'a>, Value<'a>)]) -> Vec<&'m (Key<'a>, Value<'a>)> {
    let mut entries: Vec<_> = map.iter().collect();
    entries.sort_by(|(a, _), (b, _)| a.cmp(b));
    entries
}

impl<'a> From<&'a str> for Key<'a> {
    fn from(text: &'a str) -> Self {
        Key::Text(Cow::Borrowed(text))
    }
}

impl fmt::Display for Key<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Key::Text(text) => f.write_str(text),
            Key::Int(number) => number.fmt(f),
        }
    }
}

/// The first key that stands twice.
pub(super) fn duplicate<'m, 'a>(map: &'m [(Key<'a>, Value<'a>)]) -> Option<&'m Key<'a>> {
    const FEW: usize = 8;
    if map.len() <= FEW {
        let earlier = |i: usize, key: &Key<'_>| map.iter().take(i).any(|(other, _)| other == key);
        return map.iter().enumerate().find(|(i, (key, _))| earlier(*i, key)).map(|(_, (k, _))| k);
    }
    let mut seen = hashbrown::HashSet::with_capacity(map.len());
    map.iter().map(|(key, _)| key).find(|key| !seen.insert(*key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_keys_means_nothing() {
        let (a, b) = (Value::Null, Value::Bool(true));
        let one = Value::map([("a", a.clone()), ("b", b.clone())]);
        assert_eq!(one, Value::map([("b", b.clone()), ("a", a.clone())]));
        assert_ne!(one, Value::map([("b", a.clone()), ("a", b)]));
        assert_ne!(one, Value::map([("a", a)]));
    }

    #[test]
    fn duplicates_are_found_in_small_and_large_maps() {
        for len in [2usize, 8, 9, 100] {
            let mut map: Vec<_> = (0..len).map(|i| (Key::Int(i as i128), Value::Null)).collect();
            assert_eq!(duplicate(&map), None);
            map[len - 1].0 = Key::Int(0);
            assert_eq!(duplicate(&map), Some(&Key::Int(0)), "{len}");
        }
    }
}
