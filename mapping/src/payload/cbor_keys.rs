//! CBOR maps with integer keys, as objects of names: `cbor_keys: {0: temp, 1: hum}`.
//!
//! Only the outermost map is renamed; what is in it is CBOR like any other. A key without a name is
//! kept as its decimal text, and a decimal text becomes an integer again, so nothing is lost when a
//! newer device sends more than the codec names. Text keys of the device go through unless they
//! could be taken for a named or a decimal one, which is an error.

use std::borrow::Cow;

use super::error::{CodecError, Fault, MAX_FIELDS, Problem};
use super::value::duplicate;
use super::{Key, Limits, Value, WriteError, cbor};

/// Which integer key is which name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CborKeys {
    names: Box<[(i64, Box<str>)]>,
}

/// CBOR's integers (RFC 8949 §3.1).
const LEAST: i128 = -(1 << 64);
const GREATEST: i128 = (1 << 64) - 1;

impl CborKeys {
    /// Checks a codec's keys.
    ///
    /// # Errors
    /// Every mistake, with the index of its entry.
    pub fn new(entries: &[(i64, String)]) -> Result<CborKeys, Vec<(usize, CodecError)>> {
        let mut errors = Vec::new();
        let (mut keys, mut names) = (hashbrown::HashSet::new(), hashbrown::HashSet::new());
        for (i, (key, name)) in entries.iter().enumerate() {
            if name.is_empty() {
                errors.push((i, CodecError::EmptyName));
            } else if !names.insert(name.as_str()) {
                errors.push((i, CodecError::DuplicateName(name.clone())));
            }
            if !keys.insert(*key) {
                errors.push((i, CodecError::DuplicateKey(*key)));
            }
            if decimal(name).is_some() {
                errors.push((i, CodecError::NameIsKey(name.clone())));
            }
        }
        match entries.len() {
            0 => errors.push((0, CodecError::Empty)),
            1..=MAX_FIELDS => {}
            _ => errors.push((0, CodecError::TooLarge)),
        }
        let names = entries.iter().map(|(key, name)| (*key, name.as_str().into())).collect();
        if errors.is_empty() { Ok(CborKeys { names }) } else { Err(errors) }
    }

    fn name(&self, key: i128) -> Option<&str> {
        self.names.iter().find(|(k, _)| i128::from(*k) == key).map(|(_, name)| &**name)
    }

    fn key(&self, name: &str) -> Option<i128> {
        self.names.iter().find(|(_, n)| **n == *name).map(|(key, _)| i128::from(*key))
    }

    /// Reads a map and names its keys.
    ///
    /// # Errors
    /// Not CBOR, not a map, or a key that could mean two things.
    pub(super) fn read<'a>(&'a self, input: &'a [u8], limits: &Limits) -> Result<Value<'a>, Fault> {
        let Value::Map(mut map) = object(cbor::read(input, limits)?)? else {
            return Ok(Value::Null); // `object` gives nothing but maps
        };
        for (key, _) in &mut map {
            *key = match key {
                Key::Int(number) => Key::Text(match self.name(*number) {
                    Some(name) => Cow::Borrowed(name),
                    None => Cow::Owned(number.to_string()),
                }),
                Key::Text(text) if self.key(text).is_some() || decimal(text).is_some() => {
                    return Err(ambiguous(text));
                }
                Key::Text(text) => Key::Text(std::mem::take(text)),
            };
        }
        Ok(Value::Map(map))
    }

    /// Writes an object with its keys as integers.
    ///
    /// # Errors
    /// Not an object, a key that has a name and is written as its number, an integer key, or what
    /// CBOR cannot hold.
    pub(super) fn write(&self, value: Value<'_>, limits: &Limits) -> Result<Vec<u8>, WriteError> {
        let Value::Map(mut map) = object(value)? else { return Ok(Vec::new()) };
        for (key, _) in &mut map {
            // An integer would come back as a name: it is no key of this side.
            let Key::Text(text) = key else { return Err(ambiguous(&key.to_string()).into()) };
            match (self.key(text), decimal(text)) {
                (Some(number), _) => *key = Key::Int(number),
                (None, Some(number)) if self.name(number).is_some() => {
                    return Err(ambiguous(text).into());
                }
                (None, Some(number)) => *key = Key::Int(number),
                (None, None) => {}
            }
        }
        if let Some(key) = duplicate(&map) {
            return Err(Fault::whole(Problem::DuplicateKey(key.to_string())).into());
        }
        cbor::write(&Value::Map(map), limits)
    }
}

fn object(value: Value<'_>) -> Result<Value<'_>, Fault> {
    match value {
        Value::Map(_) => Ok(value),
        other => {
            let problem = Problem::WrongKind { wanted: "an object", got: other.kind() };
            Err(Fault::whole(problem))
        }
    }
}

fn ambiguous(text: &str) -> Fault {
    Fault::field(text, Problem::AmbiguousKey(text.to_owned()))
}

/// The integer key that a text stands for: as Rust writes it, without `+`, `-0` or leading zeros.
fn decimal(text: &str) -> Option<i128> {
    let number: i128 = text.parse().ok()?;
    let canonical = (LEAST..=GREATEST).contains(&number) && number.to_string() == text;
    canonical.then_some(number)
}
