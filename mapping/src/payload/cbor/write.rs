//! Writing the one deterministic encoding. Recursion is bounded by the limit on depth.

use minicbor::Encoder;
use minicbor::data::Tag;

use super::super::error::{Fault, Problem};
use super::super::{Key, Limits, Number, Value, WriteError};

/// Writes one item.
///
/// # Errors
/// A number that would have to be rounded, or too much.
pub(in super::super) fn write(value: &Value<'_>, limits: &Limits) -> Result<Vec<u8>, WriteError> {
    let mut writer = Writer { encoder: Encoder::new(Vec::new()), limits };
    writer.value(value, 0)?;
    Ok(writer.encoder.into_writer())
}

/// Nothing can fail that is written into memory.
type Written<'e> =
    Result<&'e mut Encoder<Vec<u8>>, minicbor::encode::Error<std::convert::Infallible>>;

struct Writer<'l> {
    encoder: Encoder<Vec<u8>>,
    limits: &'l Limits,
}

impl Writer<'_> {
    fn put(
        &mut self,
        f: impl FnOnce(&mut Encoder<Vec<u8>>) -> Written<'_>,
    ) -> Result<(), WriteError> {
        let written = f(&mut self.encoder).map(drop);
        written.map_err(|e| Fault::whole(Problem::Syntax(e.to_string())))?;
        match self.encoder.writer().len() > self.limits.output {
            true => Err(WriteError::TooLarge),
            false => Ok(()),
        }
    }

    fn value(&mut self, value: &Value<'_>, depth: usize) -> Result<(), WriteError> {
        match value {
            Value::Null => self.put(Encoder::null),
            Value::Bool(value) => self.put(|encoder| encoder.bool(*value)),
            Value::Number(number) => self.number(number),
            Value::Text(text) => self.put(|encoder| encoder.str(text)),
            Value::Bytes(bytes) => self.put(|encoder| encoder.bytes(bytes)),
            Value::Array(_) | Value::Map(_) if depth == self.limits.depth => {
                Err(Fault::whole(Problem::TooDeep(depth)).into())
            }
            Value::Array(list) => {
                self.put(|encoder| encoder.array(list.len() as u64))?;
                for (i, item) in list.iter().enumerate() {
                    self.value(item, depth + 1).map_err(|e| e.map(|fault| fault.below_index(i)))?;
                }
                Ok(())
            }
            Value::Map(map) => self.map(map, depth + 1),
        }
    }

    /// RFC 8949 §4.2.1: keys in the bytewise order of their encodings.
    fn map(&mut self, map: &[(Key<'_>, Value<'_>)], depth: usize) -> Result<(), WriteError> {
        let mut entries = Vec::with_capacity(map.len());
        for (key, value) in map {
            let mut writer = Writer { encoder: Encoder::new(Vec::new()), limits: self.limits };
            match key {
                Key::Text(text) => writer.put(|encoder| encoder.str(text))?,
                Key::Int(number) => writer.number(&Number::from(*number))?,
            }
            entries.push((writer.encoder.into_writer(), key, value));
        }
        entries.sort_by(|(a, ..), (b, ..)| a.cmp(b));
        self.put(|encoder| encoder.map(entries.len() as u64))?;
        for (encoded, key, value) in entries {
            self.encoder.writer_mut().extend_from_slice(&encoded);
            self.value(value, depth).map_err(|e| e.map(|fault| fault.below(key)))?;
        }
        Ok(())
    }

    /// RFC 8949 §4.2.1 and §6.2: an integer is one, or a bignum beyond 64 bits; a fraction, and
    /// what was written as a float, is the float that reads back as it.
    fn number(&mut self, number: &Number) -> Result<(), WriteError> {
        let integer = number.to_integer().filter(|_| !number.is_float());
        let float = if integer.is_none() { number.to_f64() } else { None };
        if let Some(float) = float {
            return self.float(float);
        }
        // A float that no binary64 has, and is integral, is held exactly all the same.
        let Some((negative, magnitude)) = number.to_integer() else {
            let target = "a binary64 float";
            return Err(Fault::whole(Problem::WouldRound { number: *number, target }).into());
        };
        match number.to_i128().and_then(|n| minicbor::data::Int::try_from(n).ok()) {
            Some(integer) => self.put(|encoder| encoder.int(integer)),
            None => self.bignum(negative, magnitude),
        }
    }

    /// RFC 8949 §3.4.3; magnitudes below 2^64 never come here.
    fn bignum(&mut self, negative: bool, magnitude: u128) -> Result<(), WriteError> {
        let (tag, content) = match negative {
            true => (3, magnitude - 1),
            false => (2, magnitude),
        };
        let bytes = content.to_be_bytes();
        let first = bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len());
        self.put(|encoder| {
            encoder.tag(Tag::new(tag))?.bytes(bytes.get(first..).unwrap_or_default())
        })
    }

    /// RFC 8949 §4.1: the shortest of the three widths that has the value.
    #[allow(clippy::cast_possible_truncation, clippy::float_cmp)] // compared for exactness
    fn float(&mut self, value: f64) -> Result<(), WriteError> {
        let single = value as f32;
        if f64::from(single) != value {
            return self.put(|encoder| encoder.f64(value));
        }
        match fits_half(single) {
            true => self.put(|encoder| encoder.f16(single)),
            false => self.put(|encoder| encoder.f32(single)),
        }
    }
}

/// Whether a binary16 has exactly this finite value: 11 bits of significand, exponents of -14 to
/// 15, multiples of 2^-24 below.
fn fits_half(value: f32) -> bool {
    const LEAST_NORMAL: f32 = 1.0 / 16_384.0;
    const SUBNORMALS: f32 = 16_777_216.0;
    let magnitude = value.abs();
    match magnitude < LEAST_NORMAL {
        true => (magnitude * SUBNORMALS).fract() == 0.0,
        false => magnitude <= 65_504.0 && magnitude.to_bits().trailing_zeros() >= 13,
    }
}
