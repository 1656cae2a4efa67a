//! Reading, and checking without reading. Recursion is bounded by the limit on depth.

use std::borrow::Cow;

use minicbor::Decoder;
use minicbor::data::{Tag, Type};

use super::super::error::{Fault, Problem};
use super::super::value::duplicate;
use super::super::{Key, Limits, Number, Value};

const POSITIVE_BIGNUM: u64 = 2;
const NEGATIVE_BIGNUM: u64 = 3;
const DECIMAL_FRACTION: u64 = 4;
const SELF_DESCRIBED: u64 = 55_799;

/// Whether it is one well-formed item with valid text, without holding any of it.
///
/// # Errors
/// What is wrong, at which byte.
pub(in super::super) fn check(input: &[u8], limits: &Limits) -> Result<(), Fault> {
    let mut reader = Reader { decoder: Decoder::new(input), limits, values: 0 };
    reader.skip(0)?;
    reader.end()
}

/// Reads one item.
///
/// # Errors
/// What is wrong, at which byte.
pub(in super::super) fn read<'a>(input: &'a [u8], limits: &Limits) -> Result<Value<'a>, Fault> {
    let mut reader = Reader { decoder: Decoder::new(input), limits, values: 0 };
    if reader.kind() == Ok(Type::Tag) {
        let start = reader.decoder.position();
        if reader.tag()?.as_u64() != SELF_DESCRIBED {
            reader.decoder.set_position(start);
        }
    }
    let value = reader.value(0)?;
    reader.end()?;
    Ok(value)
}

struct Reader<'a, 'l> {
    decoder: Decoder<'a>,
    limits: &'l Limits,
    values: usize,
}

impl<'a> Reader<'a, '_> {
    fn fault(&self, problem: Problem) -> Fault {
        Fault::byte(self.decoder.position(), problem)
    }

    fn refused(&self, error: &minicbor::decode::Error) -> Fault {
        let at = error.position().unwrap_or_else(|| self.decoder.position());
        let text = match error.is_end_of_input() {
            true => "the payload ends too early".to_owned(),
            false => error.to_string(),
        };
        Fault::byte(at, Problem::Syntax(text))
    }

    fn kind(&self) -> Result<Type, Fault> {
        self.decoder.datatype().map_err(|e| self.refused(&e))
    }

    fn get<T>(
        &mut self,
        f: impl FnOnce(&mut Decoder<'a>) -> Result<T, minicbor::decode::Error>,
    ) -> Result<T, Fault> {
        f(&mut self.decoder).map_err(|e| self.refused(&e))
    }

    fn tag(&mut self) -> Result<Tag, Fault> {
        self.get(Decoder::tag)
    }

    fn end(&self) -> Result<(), Fault> {
        match self.decoder.position() == self.decoder.input().len() {
            true => Ok(()),
            false => Err(self.fault(Problem::Trailing)),
        }
    }

    fn deeper(&self, depth: usize) -> Result<usize, Fault> {
        match depth < self.limits.depth {
            true => Ok(depth + 1),
            false => Err(self.fault(Problem::TooDeep(self.limits.depth))),
        }
    }

    /// Whether one more element follows: of `left`, or until the break.
    fn more(&mut self, left: &mut Option<u64>) -> Result<bool, Fault> {
        match left {
            Some(0) => Ok(false),
            Some(left) => {
                *left -= 1;
                Ok(true)
            }
            None if self.kind()? == Type::Break => {
                let next = self.decoder.position() + 1;
                self.decoder.set_position(next);
                Ok(false)
            }
            None => Ok(true),
        }
    }

    fn value(&mut self, depth: usize) -> Result<Value<'a>, Fault> {
        let start = self.decoder.position();
        self.values += 1;
        if self.values > self.limits.values {
            return Err(self.fault(Problem::TooMany(self.limits.values)));
        }
        Ok(match self.kind()? {
            Type::Null => {
                self.get(Decoder::null)?;
                Value::Null
            }
            Type::Bool => Value::Bool(self.get(Decoder::bool)?),
            Type::F16 | Type::F32 | Type::F64 => {
                let value = self.get(Decoder::f64)?;
                let number = Number::from_f64(value);
                Value::Number(number.ok_or(Fault::byte(start, Problem::NotFinite))?)
            }
            kind if is_integer(kind) => Value::Number(Number::from(self.integer()?)),
            Type::Bytes | Type::BytesIndef => Value::Bytes(self.bytes()?),
            Type::String | Type::StringIndef => Value::Text(self.text()?),
            Type::Array | Type::ArrayIndef => Value::Array(self.array(depth)?),
            Type::Map | Type::MapIndef => Value::Map(self.map(depth)?),
            Type::Tag => Value::Number(self.tagged()?),
            Type::Undefined => return Err(self.fault(Problem::Simple(23))),
            Type::Simple => {
                let number = self.simple()?;
                return Err(Fault::byte(start, Problem::Simple(number)));
            }
            other => return Err(self.not_a_value(other)),
        })
    }

    fn not_a_value(&self, kind: Type) -> Fault {
        self.fault(Problem::Syntax(format!("{kind} cannot stand here")))
    }

    fn integer(&mut self) -> Result<i128, Fault> {
        Ok(i128::from(self.get(Decoder::int)?))
    }

    /// RFC 8949 §3.3: the two-byte form is for 32 and above only.
    fn simple(&mut self) -> Result<u8, Fault> {
        let start = self.decoder.position();
        let number = self.get(Decoder::simple)?;
        let long = self.decoder.position() - start == 2;
        match long && number < 32 {
            true => Err(Fault::byte(start, Problem::Syntax("not a simple value".into()))),
            false => Ok(number),
        }
    }

    fn array(&mut self, depth: usize) -> Result<Vec<Value<'a>>, Fault> {
        let depth = self.deeper(depth)?;
        let mut left = self.get(Decoder::array)?;
        let mut list = Vec::new(); // a length that is not there yet is not believed
        while self.more(&mut left)? {
            list.push(self.value(depth)?);
        }
        Ok(list)
    }

    fn map(&mut self, depth: usize) -> Result<Vec<(Key<'a>, Value<'a>)>, Fault> {
        let depth = self.deeper(depth)?;
        let mut left = self.get(Decoder::map)?;
        let mut map = Vec::new();
        while self.more(&mut left)? {
            let key = match self.kind()? {
                Type::String | Type::StringIndef => Key::Text(self.text()?),
                kind if is_integer(kind) => Key::Int(self.integer()?),
                Type::Break => return Err(self.not_a_value(Type::Break)),
                _ => return Err(self.fault(Problem::BadKey)),
            };
            map.push((key, self.value(depth)?));
        }
        match duplicate(&map) {
            Some(key) => Err(self.fault(Problem::DuplicateKey(key.to_string()))),
            None => Ok(map),
        }
    }

    /// A number that stands under a tag.
    fn tagged(&mut self) -> Result<Number, Fault> {
        let start = self.decoder.position();
        let tag = self.tag()?.as_u64();
        match tag {
            POSITIVE_BIGNUM | NEGATIVE_BIGNUM => self.bignum(tag == NEGATIVE_BIGNUM),
            DECIMAL_FRACTION => self.decimal_fraction(),
            other => Err(Fault::byte(start, Problem::Tag(other))),
        }
    }

    /// §3.4.3: `n`, or `-1 - n`.
    fn bignum(&mut self, negative: bool) -> Result<Number, Fault> {
        let start = self.decoder.position();
        let too_large = || Fault::byte(start, Problem::TooPrecise);
        let bytes = self.bytes()?;
        let first = bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len());
        let digits = bytes.get(first..).unwrap_or_default();
        if digits.len() > size_of::<u128>() {
            return Err(too_large());
        }
        let magnitude = digits.iter().fold(0u128, |sum, byte| sum << 8 | u128::from(*byte));
        match negative {
            false => Ok(Number::integer(false, magnitude)),
            true => {
                let magnitude = magnitude.checked_add(1).ok_or_else(too_large)?;
                Ok(Number::integer(true, magnitude))
            }
        }
    }

    /// §3.4.4: exponent and mantissa, of which either is an integer and the latter may be a bignum.
    fn decimal_fraction(&mut self) -> Result<Number, Fault> {
        let start = self.decoder.position();
        let bad = |text: &str| Fault::byte(start, Problem::Syntax(text.to_owned()));
        let mut left = match self.kind()? {
            Type::Array | Type::ArrayIndef => self.get(Decoder::array)?,
            _ => return Err(bad("a decimal fraction is a list")),
        };
        let mut parts = [Number::ZERO; 2];
        for part in &mut parts {
            if !self.more(&mut left)? {
                return Err(bad("a decimal fraction has two parts"));
            }
            *part = match self.kind()? {
                kind if is_integer(kind) => Number::from(self.integer()?),
                Type::Tag => match self.tag()?.as_u64() {
                    tag @ (POSITIVE_BIGNUM | NEGATIVE_BIGNUM) => {
                        self.bignum(tag == NEGATIVE_BIGNUM)?
                    }
                    _ => return Err(bad("a part of a decimal fraction is an integer")),
                },
                _ => return Err(bad("a part of a decimal fraction is an integer")),
            };
        }
        if self.more(&mut left)? {
            return Err(bad("a decimal fraction has two parts"));
        }
        let [exponent, mantissa] = parts;
        let exponent = exponent.to_i128().and_then(|e| i32::try_from(e).ok());
        let power = exponent.and_then(Number::power_of_ten);
        let number = power.and_then(|power| mantissa.checked_mul(&power));
        number.ok_or_else(|| Fault::byte(start, Problem::TooPrecise))
    }

    fn bytes(&mut self) -> Result<Cow<'a, [u8]>, Fault> {
        if self.kind()? == Type::Bytes {
            return Ok(Cow::Borrowed(self.get(Decoder::bytes)?));
        }
        let mut all = Vec::new();
        self.get(|decoder| {
            decoder.bytes_iter()?.try_for_each(|chunk| chunk.map(|chunk| all.extend(chunk)))
        })?;
        Ok(Cow::Owned(all))
    }

    fn text(&mut self) -> Result<Cow<'a, str>, Fault> {
        if self.kind()? == Type::String {
            return Ok(Cow::Borrowed(self.get(Decoder::str)?));
        }
        let mut all = String::new();
        self.get(|decoder| {
            decoder.str_iter()?.try_for_each(|chunk| chunk.map(|chunk| all.push_str(chunk)))
        })?;
        Ok(Cow::Owned(all))
    }

    /// Walks over one item of any kind.
    fn skip(&mut self, depth: usize) -> Result<(), Fault> {
        match self.kind()? {
            Type::Null => self.get(Decoder::null),
            Type::Undefined => self.get(Decoder::undefined),
            Type::Bool => self.get(Decoder::bool).map(drop),
            Type::F16 | Type::F32 | Type::F64 => self.get(Decoder::f64).map(drop),
            kind if is_integer(kind) => self.integer().map(drop),
            Type::Simple => self.simple().map(drop),
            Type::Bytes | Type::BytesIndef => {
                self.get(|decoder| decoder.bytes_iter()?.try_for_each(|chunk| chunk.map(drop)))
            }
            Type::String | Type::StringIndef => {
                self.get(|decoder| decoder.str_iter()?.try_for_each(|chunk| chunk.map(drop)))
            }
            Type::Tag => {
                let depth = self.deeper(depth)?;
                self.tag()?;
                self.skip(depth)
            }
            Type::Array | Type::ArrayIndef => {
                let depth = self.deeper(depth)?;
                let mut left = self.get(Decoder::array)?;
                while self.more(&mut left)? {
                    self.skip(depth)?;
                }
                Ok(())
            }
            Type::Map | Type::MapIndef => {
                let depth = self.deeper(depth)?;
                let mut left = self.get(Decoder::map)?;
                while self.more(&mut left)? {
                    self.skip(depth)?;
                    self.skip(depth)?;
                }
                Ok(())
            }
            other => Err(self.not_a_value(other)),
        }
    }
}

const fn is_integer(kind: Type) -> bool {
    matches!(
        kind,
        Type::U8
            | Type::U16
            | Type::U32
            | Type::U64
            | Type::I8
            | Type::I16
            | Type::I32
            | Type::I64
            | Type::Int
    )
}
