//! [`PayloadError`]: why a payload does not go through, where in it, and what to do about it.
//!
//! Whose mistake it is decides the answer, so the kinds are told apart: a format that the rule does
//! not take (4.15), one that it does not give (4.06), a payload that is not in its format (4.00), one
//! that is, but says what the other side cannot (4.00), one that is too large (4.13).

use std::fmt;

use super::Number;

/// Why a payload was not converted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PayloadError {
    /// The device wrote in a Content-Format that the rule does not list: 4.15.
    #[error("the Content-Format {got} is not taken here, only {}", List(supported))]
    UnsupportedContentFormat {
        /// What came.
        got: u16,
        /// What is taken, in the rule's order.
        supported: Vec<u16>,
    },
    /// The device wants a Content-Format that the rule does not list: 4.06.
    #[error("the Content-Format {wanted} is not given here, only {}", List(offered))]
    NotAcceptable {
        /// What was asked for.
        wanted: u16,
        /// What can be had, in the rule's order.
        offered: Vec<u16>,
    },
    /// The payload is not in its format.
    #[error("this is no {format} payload: {fault}")]
    Malformed {
        /// The format's name in the rule.
        format: String,
        /// What is wrong, and where.
        fault: Fault,
    },
    /// The payload is in its format, but the format of the other side cannot say it.
    #[error("{format} cannot hold this payload: {fault}")]
    Inexpressible {
        /// The name of the format that it should become.
        format: String,
        /// What it cannot hold, and where that is.
        fault: Fault,
    },
    /// The result is larger than allowed: 4.13.
    #[error("as {format} the payload has more than {limit} bytes")]
    TooLarge {
        /// The name of the format that it should become.
        format: String,
        /// Most bytes.
        limit: usize,
    },
}

impl PayloadError {
    /// What is wrong in the payload and where, if that is the trouble.
    #[must_use]
    pub const fn fault(&self) -> Option<&Fault> {
        match self {
            PayloadError::Malformed { fault, .. } | PayloadError::Inexpressible { fault, .. } => {
                Some(fault)
            }
            _ => None,
        }
    }

    /// What to do about it, for diagnostics; one sentence, for the device's or rule's author.
    #[must_use]
    pub fn fix(&self) -> &'static str {
        match self {
            PayloadError::UnsupportedContentFormat { .. } => {
                "send one of the rule's formats, or list this one under `payload: {device: […]}`"
            }
            PayloadError::NotAcceptable { .. } => {
                "ask for one of the rule's formats, or list this one under `payload: {device: […]}`"
            }
            PayloadError::TooLarge { .. } => "send less in one payload, or raise the limit",
            PayloadError::Malformed { fault, .. } | PayloadError::Inexpressible { fault, .. } => {
                fault.problem.fix()
            }
        }
    }
}

/// `a, b, c`.
struct List<'a>(&'a [u16]);

impl fmt::Display for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .enumerate()
            .try_for_each(|(i, number)| write!(f, "{}{number}", if i == 0 { "" } else { ", " }))
    }
}

/// Something wrong in a payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Where.
    pub at: At,
    /// What. Boxed, since most payloads are well and every step of a reader carries the error.
    pub problem: Box<Problem>,
}

impl std::error::Error for Fault {}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.at {
            At::Whole => self.problem.fmt(f),
            At::Byte(offset) => write!(f, "byte {offset}: {}", self.problem),
            At::Path(path) => write!(f, "{path}: {}", self.problem),
        }
    }
}

/// Where in a payload something is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum At {
    /// Nowhere in particular.
    Whole,
    /// At this byte, counted from 0.
    Byte(usize),
    /// At this value: `temp`, `sensors[2].raw`.
    Path(String),
}

impl Fault {
    pub(super) fn whole(problem: Problem) -> Fault {
        Fault { at: At::Whole, problem: Box::new(problem) }
    }

    pub(super) fn byte(offset: usize, problem: Problem) -> Fault {
        Fault { at: At::Byte(offset), problem: Box::new(problem) }
    }

    pub(super) fn field(name: impl fmt::Display, problem: Problem) -> Fault {
        Fault { at: At::Path(name.to_string()), problem: Box::new(problem) }
    }

    /// The same one step further out: below `name`.
    pub(super) fn below(mut self, name: impl fmt::Display) -> Fault {
        self.at = match self.at {
            At::Whole => At::Path(name.to_string()),
            At::Path(path) if path.starts_with('[') => At::Path(format!("{name}{path}")),
            At::Path(path) => At::Path(format!("{name}.{path}")),
            byte @ At::Byte(_) => byte,
        };
        self
    }

    /// The same one step further out: below a list's element.
    pub(super) fn below_index(self, index: usize) -> Fault {
        self.below(format_args!("[{index}]"))
    }
}

/// What can be wrong in a payload.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// Not the format's syntax; the reader's words.
    #[error("{0}")]
    Syntax(String),
    /// Something follows the value.
    #[error("the payload goes on behind its value")]
    Trailing,
    /// Text that is not UTF-8.
    #[error("the text is not UTF-8")]
    NotUtf8,
    /// Nested deeper than is taken.
    #[error("nested deeper than {0} levels")]
    TooDeep(usize),
    /// More values than are taken.
    #[error("more than {0} values")]
    TooMany(usize),
    /// A key twice in one object (RFC 8949 §5.6; RFC 8259 §4 leaves it open).
    #[error("the key {0:?} stands twice")]
    DuplicateKey(String),
    /// More digits than can be kept.
    #[error("the number has more digits than can be kept")]
    TooPrecise,
    /// A number that the format would have to round.
    #[error("{number} cannot be written as {target} without rounding it")]
    WouldRound {
        /// The number.
        number: Number,
        /// What it should become.
        target: &'static str,
    },
    /// A NaN or an infinity.
    #[error("the number is not finite")]
    NotFinite,
    /// A value of a kind that has no counterpart.
    #[error("{what} {} no counterpart in {target}", if what.ends_with('s') { "have" } else { "has" })]
    NoCounterpart {
        /// The kind, with its article.
        what: &'static str,
        /// The format that lacks it.
        target: &'static str,
    },
    /// A CBOR tag other than those of numbers.
    #[error("the CBOR tag {0} has no counterpart outside of CBOR")]
    Tag(u64),
    /// A CBOR simple value other than false, true and null.
    #[error("the CBOR simple value {0} has no counterpart outside of CBOR")]
    Simple(u8),
    /// A key that is neither text nor an integer.
    #[error("a key is neither text nor an integer")]
    BadKey,
    /// A value of another kind.
    #[error("it should be {wanted} and is {got}")]
    WrongKind {
        /// What should stand there, with its article.
        wanted: &'static str,
        /// What stands there, with its article.
        got: &'static str,
    },
    /// A key that could mean two things.
    #[error("the key {0:?} is written otherwise in this codec")]
    AmbiguousKey(String),
    /// The payload ends within a field.
    #[error("the field needs {} and {left} {} left", bytes(*need), if *left == 1 { "is" } else { "are" })]
    TooShort {
        /// Bytes of the field.
        need: usize,
        /// Bytes that there are.
        left: usize,
    },
    /// Bytes behind the last field.
    #[error("{} the last field", counted(*extra, "follows", "follow"))]
    TooLong {
        /// How many.
        extra: usize,
    },
    /// A field of the layout that the object does not have.
    #[error("the field is missing")]
    MissingField,
    /// A name that the layout does not have.
    #[error("the codec has no field of this name")]
    UnknownField,
    /// A number that the field cannot hold.
    #[error("{number} is outside of {low} to {high}")]
    OutOfRange {
        /// The number.
        number: Number,
        /// The least that fits.
        low: Number,
        /// The most that fits.
        high: Number,
    },
    /// A number between two that the field can hold.
    #[error("{number} is no multiple of {scale} from {offset}")]
    OffGrid {
        /// The number.
        number: Number,
        /// The field's `scale`.
        scale: Number,
        /// The field's `offset`.
        offset: Number,
    },
    /// A boolean that is neither 0 nor 1, or a bit that has no name.
    #[error("the bits {0:#x} stand for nothing in this field")]
    UnknownBits(u64),
    /// Text or bytes that a field of fixed length cannot hold.
    #[error("{} not go into a field of {length}", counted(*got, "does", "do"))]
    BadLength {
        /// Bytes that there are.
        got: usize,
        /// Bytes of the field.
        length: usize,
    },
    /// Text that ends in the character that fills up the field.
    #[error("text that ends in NUL cannot be told from its padding")]
    EndsInNul,
    /// Not hexadecimal digits.
    #[error("it should be bytes as hexadecimal digits")]
    NotHex,
    /// What RFC 8428 does not allow.
    #[error("{0}")]
    Senml(SenmlProblem),
}

/// What can be wrong in a SenML pack (RFC 8428).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SenmlProblem {
    /// Not a list of objects, or an empty one (§4).
    #[error("a pack is a list of at least one record")]
    NotAPack,
    /// Neither name nor base name (§4.5.1).
    #[error("the record has no name")]
    NoName,
    /// A character that no name may hold (§4.5.1).
    #[error(
        "the name {0:?} holds other than A-Z a-z 0-9 - : . / _, or does not begin with a letter or digit"
    )]
    BadName(String),
    /// No value and no sum (§4.2).
    #[error("the record has no value")]
    NoValue,
    /// More than one of v, vs, vb, vd (§4.2).
    #[error("the record has more than one value")]
    ManyValues,
    /// A version that is not understood (§4.4), or not the same in the whole pack.
    #[error("the version is {0}, not 10")]
    Version(Number),
    /// A field that must be understood and is not (§4.4).
    #[error("the field {0:?} must be understood and is not known")]
    MustUnderstand(String),
    /// Data that is not base64url without padding (§5).
    #[error("the data value is not base64url without padding")]
    BadData,
}

impl From<SenmlProblem> for Problem {
    fn from(problem: SenmlProblem) -> Self {
        Problem::Senml(problem)
    }
}

impl Problem {
    /// What to do about it.
    #[must_use]
    pub const fn fix(&self) -> &'static str {
        match self {
            Problem::Syntax(_) | Problem::Trailing | Problem::NotUtf8 => {
                "check what the sender writes, and the Content-Format that it names"
            }
            Problem::TooDeep(_) | Problem::TooMany(_) => "send a flatter or a smaller payload",
            Problem::DuplicateKey(_) => "write each key once",
            Problem::TooPrecise | Problem::WouldRound { .. } => {
                "send fewer digits, or send the number as text"
            }
            Problem::NotFinite => "leave the value out, or send null or text in its place",
            Problem::NoCounterpart { .. }
            | Problem::Tag(_)
            | Problem::Simple(_)
            | Problem::BadKey => {
                "let both sides of the rule be cbor, or use only what JSON has too; integer keys get \
                 names by a codec with `cbor_keys`"
            }
            Problem::WrongKind { .. } => "send a value of the kind that the format has there",
            Problem::AmbiguousKey(_) => {
                "use the name that `cbor_keys` gives the key in text, the integer in CBOR"
            }
            Problem::TooShort { .. } | Problem::TooLong { .. } => {
                "check the frame's layout against the device's; `rest` takes a tail of any length"
            }
            Problem::MissingField | Problem::UnknownField => {
                "send every field of the codec, and no other"
            }
            Problem::OutOfRange { .. } | Problem::OffGrid { .. } => {
                "send a number that the field can hold, or give the field another type or scale"
            }
            Problem::UnknownBits(_) => "name the bit in the codec's `bits`",
            Problem::BadLength { .. } | Problem::EndsInNul | Problem::NotHex => {
                "fit the value to the field's length and type"
            }
            Problem::Senml(_) => "write the pack as RFC 8428 says",
        }
    }
}

/// A mistake in an entry of `codecs`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CodecError {
    /// A codec without fields.
    #[error("a codec needs at least one field")]
    Empty,
    /// A field without name.
    #[error("a field needs a name")]
    EmptyName,
    /// A name twice.
    #[error("the name {0:?} is already taken")]
    DuplicateName(String),
    /// An integer key twice, or one that CBOR does not have.
    #[error("the key {0} is already taken")]
    DuplicateKey(i64),
    /// A name that would be taken for an unnamed key.
    #[error("the name {0:?} is that of the unnamed key {0}")]
    NameIsKey(String),
    /// Not a type.
    #[error("{0:?} is no type of a field")]
    UnknownKind(String),
    /// A type of several bytes without byte order.
    #[error("{kind:?} needs a byte order: {kind}be or {kind}le")]
    NoByteOrder {
        /// As written.
        kind: String,
    },
    /// A length out of range.
    #[error("a length is 1 to {MAX_LENGTH}")]
    BadLength,
    /// Not a number for `scale` or `offset`.
    #[error("{0:?} is no decimal number of at most 18 digits, or is a scale of 0")]
    BadNumber(String),
    /// `scale`, `offset` or `bits` where they mean nothing.
    #[error("only integers have {0}")]
    OnlyIntegers(&'static str),
    /// `scale` or `offset` beside `bits`.
    #[error("a field with bits has no scale and no offset")]
    BitsAndScale,
    /// A bit that the field does not have, twice, or of a signed field.
    #[error("the bit {0} is not in the field, or already named")]
    BadBit(u8),
    /// A field behind `rest`.
    #[error("`rest` takes the rest of the frame, so nothing can follow it")]
    RestNotLast,
    /// More than a frame can have.
    #[error("a frame has at most {MAX_FIELDS} fields and {MAX_LENGTH} bytes")]
    TooLarge,
}

/// Most fields of a codec.
pub const MAX_FIELDS: usize = 1_024;
/// Most bytes of a frame's fields.
pub const MAX_LENGTH: usize = 65_535;

/// `1 byte does`, `2 bytes do`.
fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{} {}", bytes(count), if count == 1 { one } else { many })
}

/// `1 byte`, `2 bytes`.
fn bytes(count: usize) -> String {
    format!("{count} byte{}", if count == 1 { "" } else { "s" })
}
