//! Frames to objects and back.

use std::borrow::Cow;

use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};

use super::super::error::{Fault, Problem};
use super::super::{Key, Number, Value};
use super::layout::{Field, Frame, Kind, Word, range};

impl Frame {
    /// Reads a frame.
    ///
    /// # Errors
    /// The field that is not what it should be.
    pub(in super::super) fn read<'a>(&'a self, input: &'a [u8]) -> Result<Value<'a>, Fault> {
        let mut rest = input;
        let mut map = Vec::with_capacity(self.fields.len());
        for field in &self.fields {
            let need = match field.kind {
                Kind::Rest => rest.len(),
                ref kind => kind.len(),
            };
            let Some((bytes, after)) = rest.split_at_checked(need) else {
                let problem = Problem::TooShort { need, left: rest.len() };
                return Err(Fault::field(&field.name, problem));
            };
            let value = field.read(bytes).map_err(|fault| fault.below(&field.name))?;
            map.push((Key::from(&*field.name), value));
            rest = after;
        }
        match (rest.len(), self.fields.last()) {
            (0, _) | (_, None) => Ok(Value::Map(map)),
            (extra, Some(last)) => Err(Fault::field(&last.name, Problem::TooLong { extra })),
        }
    }

    /// Writes a frame.
    ///
    /// # Errors
    /// The field that is missing, unknown, or cannot hold its value.
    pub(in super::super) fn write(&self, value: &Value<'_>) -> Result<Vec<u8>, Fault> {
        let Value::Map(map) = value else { return Err(wrong_kind("an object", value)) };
        let known = |key: &Key<'_>| {
            let Key::Text(name) = key else { return false };
            self.fields.iter().any(|field| *field.name == **name)
        };
        if let Some((key, _)) = map.iter().find(|(key, _)| !known(key)) {
            return Err(Fault::field(key, Problem::UnknownField));
        }
        let mut out = Vec::with_capacity(self.len());
        for field in &self.fields {
            let value = find(map, &field.name)
                .ok_or_else(|| Fault::field(&field.name, Problem::MissingField))?;
            field.write(value, &mut out).map_err(|fault| fault.below(&field.name))?;
        }
        Ok(out)
    }
}

fn find<'m, 'a>(map: &'m [(Key<'a>, Value<'a>)], wanted: &str) -> Option<&'m Value<'a>> {
    map.iter().find(|(key, _)| matches!(key, Key::Text(name) if name == wanted)).map(|(_, v)| v)
}

fn wrong_kind(wanted: &'static str, got: &Value<'_>) -> Fault {
    Fault::whole(Problem::WrongKind { wanted, got: got.kind() })
}

impl Field {
    /// `bytes` are as many as the field has.
    fn read<'a>(&'a self, bytes: &'a [u8]) -> Result<Value<'a>, Fault> {
        let number = |number: Option<Number>| match number {
            Some(number) => Ok(Value::Number(number)),
            None => Err(Fault::whole(Problem::NotFinite)),
        };
        match &self.kind {
            Kind::Int { word, signed, scale } => {
                let number = scale.number(word.read(bytes, *signed));
                number.map(Value::Number).ok_or(Fault::whole(Problem::TooPrecise))
            }
            Kind::Bits { word, names } => read_bits(*word, names, bytes),
            Kind::F32 { little } => {
                number(Number::from_f32(f32::from_be_bytes(array(bytes, *little))))
            }
            Kind::F64 { little } => {
                number(Number::from_f64(f64::from_be_bytes(array(bytes, *little))))
            }
            Kind::Bool => match bytes {
                [0] => Ok(Value::Bool(false)),
                [1] => Ok(Value::Bool(true)),
                other => {
                    let bits = other.first().copied().unwrap_or_default();
                    Err(Fault::whole(Problem::UnknownBits(bits.into())))
                }
            },
            Kind::Text(_) => {
                let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
                let text = std::str::from_utf8(bytes.get(..end).unwrap_or_default());
                text.map(Value::text).map_err(|_| Fault::whole(Problem::NotUtf8))
            }
            Kind::Bytes(_) | Kind::Rest => Ok(Value::text(HEXLOWER.encode(bytes))),
        }
    }

    fn write(&self, value: &Value<'_>, out: &mut Vec<u8>) -> Result<(), Fault> {
        match (&self.kind, value) {
            (Kind::Int { word, signed, scale }, Value::Number(number)) => {
                let (low, high) = range(*word, *signed);
                let raw = scale.raw(number).filter(|raw| (low..=high).contains(raw));
                let Some(raw) = raw else {
                    return Err(Fault::whole(self.why_not(*word, *signed, number)));
                };
                word.write(raw, out);
            }
            (Kind::Bits { word, names }, Value::Map(map)) => {
                word.write(write_bits(names, map)?, out);
            }
            (Kind::F32 { little }, Value::Number(number)) => {
                let float =
                    number.to_f32().ok_or_else(|| would_round(number, "a binary32 float"))?;
                out.extend_from_slice(&in_order(float.to_be_bytes(), *little));
            }
            (Kind::F64 { little }, Value::Number(number)) => {
                let float =
                    number.to_f64().ok_or_else(|| would_round(number, "a binary64 float"))?;
                out.extend_from_slice(&in_order(float.to_be_bytes(), *little));
            }
            (Kind::Bool, Value::Bool(value)) => out.push(u8::from(*value)),
            (Kind::Text(length), Value::Text(text)) => {
                if text.ends_with('\0') {
                    return Err(Fault::whole(Problem::EndsInNul));
                }
                let Some(padding) = length.checked_sub(text.len()) else {
                    let problem = Problem::BadLength { got: text.len(), length: *length };
                    return Err(Fault::whole(problem));
                };
                out.extend_from_slice(text.as_bytes());
                out.extend(std::iter::repeat_n(0, padding));
            }
            (Kind::Bytes(length), Value::Text(text)) => {
                let bytes = unhex(text)?;
                if bytes.len() != *length {
                    let problem = Problem::BadLength { got: bytes.len(), length: *length };
                    return Err(Fault::whole(problem));
                }
                out.extend_from_slice(&bytes);
            }
            (Kind::Rest, Value::Text(text)) => out.extend_from_slice(&unhex(text)?),
            (kind, other) => return Err(wrong_kind(kind.wanted(), other)),
        }
        Ok(())
    }

    /// Out of range or between two steps: which of them, for the message.
    fn why_not(&self, word: Word, signed: bool, number: &Number) -> Problem {
        let Kind::Int { scale, .. } = &self.kind else { return Problem::TooPrecise };
        let (low, high) = range(word, signed);
        let ends = scale.number(low).zip(scale.number(high));
        let (low, high) = ends.unwrap_or_default();
        let (low, high) = if scale.factor.is_negative() { (high, low) } else { (low, high) };
        let outside = number.approx() < low.approx() || number.approx() > high.approx();
        match outside || scale.raw(number).is_some() {
            true => Problem::OutOfRange { number: *number, low, high },
            false => {
                Problem::OffGrid { number: *number, scale: scale.factor, offset: scale.offset }
            }
        }
    }
}

fn would_round(number: &Number, target: &'static str) -> Fault {
    Fault::whole(Problem::WouldRound { number: *number, target })
}

fn unhex(text: &str) -> Result<Cow<'_, [u8]>, Fault> {
    let bytes = HEXLOWER_PERMISSIVE.decode(text.as_bytes());
    bytes.map(Cow::Owned).map_err(|_| Fault::whole(Problem::NotHex))
}

fn read_bits<'a>(
    word: Word,
    names: &'a [(Box<str>, u8)],
    bytes: &[u8],
) -> Result<Value<'a>, Fault> {
    let raw = word.read(bytes, false);
    let known = names.iter().fold(0i128, |mask, (_, bit)| mask | 1 << bit);
    if raw & !known != 0 {
        let unknown = u64::try_from(raw & !known).unwrap_or(u64::MAX);
        return Err(Fault::whole(Problem::UnknownBits(unknown)));
    }
    Ok(Value::map(names.iter().map(|(name, bit)| (&**name, Value::Bool(raw >> bit & 1 == 1)))))
}

fn write_bits(names: &[(Box<str>, u8)], map: &[(Key<'_>, Value<'_>)]) -> Result<i128, Fault> {
    let known =
        |key: &Key<'_>| matches!(key, Key::Text(k) if names.iter().any(|(n, _)| **n == **k));
    if let Some((key, _)) = map.iter().find(|(key, _)| !known(key)) {
        return Err(Fault::field(key, Problem::UnknownField));
    }
    let mut raw = 0;
    for (name, bit) in names {
        match find(map, name) {
            Some(Value::Bool(value)) => raw |= i128::from(*value) << bit,
            Some(other) => return Err(wrong_kind("a boolean", other).below(name)),
            None => return Err(Fault::field(name, Problem::MissingField)),
        }
    }
    Ok(raw)
}

impl Kind {
    const fn wanted(&self) -> &'static str {
        match self {
            Kind::Int { .. } | Kind::F32 { .. } | Kind::F64 { .. } => "a number",
            Kind::Bits { .. } => "an object of booleans",
            Kind::Bool => "a boolean",
            Kind::Text(_) => "text",
            Kind::Bytes(_) | Kind::Rest => "text of hexadecimal digits",
        }
    }
}

impl Word {
    fn read(self, bytes: &[u8], signed: bool) -> i128 {
        let join = |sum: i128, byte: &u8| sum << 8 | i128::from(*byte);
        let raw = match self.little {
            true => bytes.iter().rev().fold(0, join),
            false => bytes.iter().fold(0, join),
        };
        let (_, high) = range(self, signed);
        if raw > high { raw - (1 << (self.bytes * 8)) } else { raw }
    }

    /// `raw` is in range.
    fn write(self, raw: i128, out: &mut Vec<u8>) {
        let bytes = raw.to_le_bytes();
        let bytes = bytes.iter().take(self.bytes);
        match self.little {
            true => out.extend(bytes),
            false => out.extend(bytes.rev()),
        }
    }
}

/// The float's bytes, most significant first.
fn array<const N: usize>(bytes: &[u8], little: bool) -> [u8; N] {
    in_order(bytes.try_into().unwrap_or([0; N]), little)
}

fn in_order<const N: usize>(mut bytes: [u8; N], little: bool) -> [u8; N] {
    if little {
        bytes.reverse();
    }
    bytes
}
