//! [`Frame`]: the fields of a codec, checked.

use super::super::Number;
use super::super::error::{CodecError, MAX_FIELDS, MAX_LENGTH};
use crate::rule::FrameField;

/// A field as it is written in the configuration.
#[derive(Debug, Clone, Copy, Default)]
pub struct FieldSpec<'a> {
    /// Its name on the other side.
    pub name: &'a str,
    /// Its type, one of the table at [`Frame`].
    pub kind: &'a str,
    /// What an integer is multiplied by; a decimal as written.
    pub scale: Option<&'a str>,
    /// What is added to it then; a decimal as written.
    pub offset: Option<&'a str>,
    /// For people and discovery.
    pub unit: Option<&'a str>,
    /// Names of single bits, counted from the least significant.
    pub bits: &'a [(String, u8)],
}

impl<'a> From<&'a FrameField> for FieldSpec<'a> {
    fn from(field: &'a FrameField) -> Self {
        FieldSpec {
            name: &field.name,
            kind: &field.kind,
            scale: field.scale.as_deref(),
            offset: field.offset.as_deref(),
            unit: field.unit.as_deref(),
            bits: &field.bits,
        }
    }
}

/// The layout of a frame: fields one after another.
///
/// ```yaml
/// frame: [{temp: i16be, scale: 0.01, unit: "°C"}, {hum: u8, unit: "%"}, {batt: u8, scale: 0.02, unit: V}]
/// ```
///
/// | type | on the other side |
/// |---|---|
/// | `u8` `i8`, `u16be` … `i64le` (16, 24, 32, 64 bits; `be` or `le`) | a number: raw × `scale` + `offset` |
/// | the unsigned of these with `bits: {door: 0, tamper: 1}` | an object of booleans; other bits must be 0 |
/// | `f32be` `f32le` `f64be` `f64le` | a number: the shortest decimal that is this float |
/// | `bool` | `true` or `false`: a byte that is 0 or 1 |
/// | `text[N]` | text of up to N bytes, filled up with NUL |
/// | `bytes[N]` | N bytes as 2 × N lower-case hexadecimal digits |
/// | `rest`, last | what remains, any length, as hexadecimal digits |
///
/// A frame has the length of its fields, an object all of them and no other; a number lies on the
/// field's grid and in its range. An integer field takes -0 for 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    pub(super) fields: Box<[Field]>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) name: Box<str>,
    pub(super) unit: Option<Box<str>>,
    pub(super) kind: Kind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    Int { word: Word, signed: bool, scale: Scale },
    Bits { word: Word, names: Box<[(Box<str>, u8)]> },
    F32 { little: bool },
    F64 { little: bool },
    Bool,
    Text(usize),
    Bytes(usize),
    Rest,
}

/// 1, 2, 3, 4 or 8 bytes in one of two orders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) bytes: usize,
    pub(super) little: bool,
}

/// What makes an integer the number that it stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Scale {
    pub(super) factor: Number,
    pub(super) offset: Number,
}

impl Kind {
    /// Bytes; those of a tail are not known.
    pub(super) const fn len(&self) -> usize {
        match self {
            Kind::Int { word, .. } | Kind::Bits { word, .. } => word.bytes,
            Kind::F32 { .. } => 4,
            Kind::F64 { .. } => 8,
            Kind::Bool => 1,
            Kind::Text(len) | Kind::Bytes(len) => *len,
            Kind::Rest => 0,
        }
    }
}

impl Frame {
    /// Checks a codec's fields.
    ///
    /// # Errors
    /// Every mistake, with the index of its field (that of the first for the codec as a whole).
    pub fn new<'a>(
        specs: impl IntoIterator<Item = FieldSpec<'a>>,
    ) -> Result<Frame, Vec<(usize, CodecError)>> {
        let (mut fields, mut errors): (Vec<Field>, Vec<_>) = (Vec::new(), Vec::new());
        let mut names = hashbrown::HashSet::new();
        let mut tail = false;
        for (i, spec) in specs.into_iter().enumerate() {
            let mut report = |error| errors.push((i, error));
            if spec.name.is_empty() {
                report(CodecError::EmptyName);
            } else if !names.insert(spec.name) {
                report(CodecError::DuplicateName(spec.name.to_owned()));
            }
            if tail {
                report(CodecError::RestNotLast);
            }
            tail |= spec.kind == "rest";
            match kind(&spec) {
                Ok(kind) => fields.push(Field {
                    name: spec.name.into(),
                    unit: spec.unit.map(Into::into),
                    kind,
                }),
                Err(error) => report(error),
            }
        }
        let length: usize = fields.iter().map(|field| field.kind.len()).sum();
        if fields.is_empty() && errors.is_empty() {
            errors.push((0, CodecError::Empty));
        }
        if fields.len() > MAX_FIELDS || length > MAX_LENGTH {
            errors.push((0, CodecError::TooLarge));
        }
        if errors.is_empty() { Ok(Frame { fields: fields.into() }) } else { Err(errors) }
    }

    /// Names and units of the fields, in order.
    pub fn units(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        self.fields.iter().map(|field| (&*field.name, field.unit.as_deref()))
    }

    /// Bytes of a frame, without the tail if it has one.
    #[must_use]
    pub fn len(&self) -> usize {
        self.fields.iter().map(|field| field.kind.len()).sum()
    }

    /// Whether a frame may be empty: it is a tail and nothing else.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

fn kind(spec: &FieldSpec<'_>) -> Result<Kind, CodecError> {
    let only_integers = |kind: Kind| {
        let wrong = [("scale", spec.scale.is_some()), ("offset", spec.offset.is_some())];
        let wrong = wrong.into_iter().chain([("bits", !spec.bits.is_empty())]);
        match wrong.into_iter().find(|(_, present)| *present) {
            Some((what, _)) => Err(CodecError::OnlyIntegers(what)),
            None => Ok(kind),
        }
    };
    match spec.kind {
        "bool" => return only_integers(Kind::Bool),
        "rest" => return only_integers(Kind::Rest),
        "f32be" | "f32le" => {
            return only_integers(Kind::F32 { little: spec.kind.ends_with("le") });
        }
        "f64be" | "f64le" => {
            return only_integers(Kind::F64 { little: spec.kind.ends_with("le") });
        }
        "f32" | "f64" => return Err(CodecError::NoByteOrder { kind: spec.kind.to_owned() }),
        _ => {}
    }
    if let Some(len) = length(spec.kind, "text[")? {
        return only_integers(Kind::Text(len));
    }
    if let Some(len) = length(spec.kind, "bytes[")? {
        return only_integers(Kind::Bytes(len));
    }
    let (word, signed) = integer(spec.kind)?;
    if !spec.bits.is_empty() {
        return bits(spec, word, signed);
    }
    let number = |text: Option<&str>, default: Number| match text {
        None => Ok(default),
        Some(text) => decimal(text).ok_or_else(|| CodecError::BadNumber(text.to_owned())),
    };
    let factor = number(spec.scale, Number::ONE)?;
    if factor.is_zero() {
        return Err(CodecError::BadNumber(spec.scale.unwrap_or_default().to_owned()));
    }
    let offset = number(spec.offset, Number::ZERO)?;
    // Not every raw value may have a number that can be held; those at both ends have one.
    let scale = Scale { factor, offset };
    let (low, high) = range(word, signed);
    if scale.number(low).is_none() || scale.number(high).is_none() {
        let text = spec.offset.or(spec.scale).unwrap_or_default();
        return Err(CodecError::BadNumber(text.to_owned()));
    }
    Ok(Kind::Int { word, signed, scale })
}

impl Scale {
    /// What a raw value stands for.
    pub(super) fn number(&self, raw: i128) -> Option<Number> {
        let product = Number::from(raw).checked_mul(&self.factor)?;
        let sum = product.checked_add(&self.offset)?;
        // Raw 0 under a negative scale is 0, as it is under any other.
        Some(if sum.is_zero() { Number::ZERO } else { sum })
    }

    /// The raw value that stands for a number.
    pub(super) fn raw(&self, number: &Number) -> Option<i128> {
        number.checked_sub(&self.offset)?.exact_quotient(&self.factor)
    }
}

/// Least and greatest raw value.
pub(super) const fn range(word: Word, signed: bool) -> (i128, i128) {
    let bits = word.bytes * 8;
    match signed {
        true => (-(1 << (bits - 1)), (1 << (bits - 1)) - 1),
        false => (0, (1 << bits) - 1),
    }
}

/// At most 18 digits and a modest exponent, so that a 64-bit raw value times it can be held.
fn decimal(text: &str) -> Option<Number> {
    const DIGITS: usize = 18;
    // A frame's integers are no floats, whatever their scale is written as.
    let number = Number::parse(text).ok()?.as_float(false);
    let digits = number.digits();
    (digits <= DIGITS && (-30..=30).contains(&number.exponent())).then_some(number)
}

fn length(kind: &str, prefix: &str) -> Result<Option<usize>, CodecError> {
    let Some(inner) = kind.strip_prefix(prefix).and_then(|rest| rest.strip_suffix(']')) else {
        return Ok(None);
    };
    let plain = !inner.is_empty() && inner.bytes().all(|byte| byte.is_ascii_digit());
    match inner.parse() {
        Ok(len @ 1..=MAX_LENGTH) if plain => Ok(Some(len)),
        _ => Err(CodecError::BadLength),
    }
}

fn integer(kind: &str) -> Result<(Word, bool), CodecError> {
    let unknown = || CodecError::UnknownKind(kind.to_owned());
    let signed = match kind.as_bytes().first() {
        Some(b'u') => false,
        Some(b'i') => true,
        _ => return Err(unknown()),
    };
    let rest = kind.get(1..).ok_or_else(unknown)?;
    let (digits, little) = match (rest.strip_suffix("be"), rest.strip_suffix("le")) {
        (Some(digits), _) => (digits, Some(false)),
        (_, Some(digits)) => (digits, Some(true)),
        _ => (rest, None),
    };
    let bytes = match digits {
        "8" => 1,
        "16" => 2,
        "24" => 3,
        "32" => 4,
        "64" => 8,
        _ => return Err(unknown()),
    };
    match (bytes, little) {
        (1, None) => Ok((Word { bytes, little: false }, signed)),
        (1, Some(_)) => Err(unknown()),
        (_, None) => Err(CodecError::NoByteOrder { kind: kind.to_owned() }),
        (_, Some(little)) => Ok((Word { bytes, little }, signed)),
    }
}

fn bits(spec: &FieldSpec<'_>, word: Word, signed: bool) -> Result<Kind, CodecError> {
    if spec.scale.is_some() || spec.offset.is_some() {
        return Err(CodecError::BitsAndScale);
    }
    let mut names: Vec<(Box<str>, u8)> = Vec::with_capacity(spec.bits.len());
    for (name, bit) in spec.bits {
        if name.is_empty() {
            return Err(CodecError::EmptyName);
        }
        if names.iter().any(|(other, _)| **other == **name) {
            return Err(CodecError::DuplicateName(name.clone()));
        }
        let taken = names.iter().any(|(_, other)| other == bit);
        if signed || taken || usize::from(*bit) >= word.bytes * 8 {
            return Err(CodecError::BadBit(*bit));
        }
        names.push((name.as_str().into(), *bit));
    }
    Ok(Kind::Bits { word, names: names.into() })
}
