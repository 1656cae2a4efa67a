//! Payload codecs, in both directions: what a device writes and what stands in the broker
//! (mapping.md §2.10).
//!
//! A [`Conversion`] is compiled from a rule's formats and asked per message. Whatever is written
//! differently on its two sides is read into one model, [`Value`], and written anew:
//!
//! | format | Content-Format | holds |
//! |---|---|---|
//! | `json` | 50 | all but bytes, integer keys and numbers that are not finite |
//! | `cbor` | 60 | all that a [`Value`] can be |
//! | `senml+json`, `senml+cbor` | 110, 112 | a pack: a list of records (RFC 8428) |
//! | `text` | 0 | text |
//! | `raw` | 42 | bytes |
//! | a `frame` | 42 | an object with the frame's fields |
//! | a `cbor_keys` | 60 | an object |
//!
//! **Exact.** For every format, reading what was written gives the same value, and what a format
//! cannot hold is an error that says where ([`Fault`]) and what to do ([`PayloadError::fix`]): no
//! number is rounded ([`Number`]), bytes do not silently become base64 text, nothing is left out.
//! Where RFC 8949 §6.1 would let a conversion approximate, this one refuses.
//!
//! **As it is.** The same format on both sides is checked and passed on without a copy. JSON and
//! CBOR are then looked at for their syntax only.
//!
//! **Bounded.** [`Limits`] hold for every payload; nothing recurses deeper than they say, nothing is
//! reserved for a length that a payload only claims, no input makes it panic.
//!
//! ```
//! use bytes::Bytes;
//! use motegate_mapping::payload::{Codecs, Conversion, Uplink};
//! use motegate_mapping::{Format, OnBadPayload, Payload};
//!
//! let rule = Payload {
//!     device: vec![Format::Cbor, Format::Json],
//!     broker: Format::Json,
//!     split: false,
//!     on_bad: OnBadPayload::Reject,
//! };
//! let conversion = Conversion::new(&rule, &Codecs::default())?;
//! let wire = Bytes::from_static(b"\xa1\x61v\xf9\x4d\x60"); // {"v": 21.5}
//! let json = Bytes::from_static(b"{\"v\":21.5}");
//! assert_eq!(conversion.uplink(Some(60), &wire)?, Uplink::One(json.clone()));
//! assert_eq!(conversion.downlink(None, "", &json)?.payload, wire);
//! assert!(conversion.uplink(Some(42), &wire).is_err(), "4.15");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Left out: which topic or path a message has, what a refusal is answered with, dead letters.

mod cbor;
mod cbor_keys;
mod codec;
mod conversion;
mod error;
mod frame;
mod json;
mod number;
mod senml;
mod value;

pub use cbor_keys::CborKeys;
pub use codec::{Codec, Codecs, content_type, could_be, is_utf8, is_valid};
pub use conversion::{Conversion, ConversionError, Downlink, Record, Uplink};
pub use error::{
    At, CodecError, Fault, MAX_FIELDS, MAX_LENGTH, PayloadError, Problem, SenmlProblem,
};
pub use frame::{FieldSpec, Frame};
pub use number::{Number, NumberError};
pub use value::{Key, Value};

/// Bounds of one payload's conversion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most lists and objects within each other. Recursion goes as deep.
    pub depth: usize,
    /// Most values in a payload that is read, lists and objects included; each takes up to 100
    /// bytes meanwhile. A payload that goes through as it is has no such bound.
    pub values: usize,
    /// Most bytes of a payload that is written.
    pub output: usize,
}

impl Default for Limits {
    /// 32 levels, 16,384 values, 1 MiB.
    fn default() -> Self {
        Limits { depth: 32, values: 16_384, output: 1 << 20 }
    }
}

/// Why a value was not written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// The format cannot hold it.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// The result is larger than [`Limits::output`].
    #[error("the result is too large")]
    TooLarge,
}

impl WriteError {
    fn map(self, f: impl FnOnce(Fault) -> Fault) -> WriteError {
        match self {
            WriteError::Fault(fault) => WriteError::Fault(f(fault)),
            WriteError::TooLarge => WriteError::TooLarge,
        }
    }
}
