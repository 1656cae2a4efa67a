//! [`Codec`]: one format, ready to read and write; [`Codecs`]: those that the configuration names.

use std::sync::Arc;

use hashbrown::HashMap;

use super::error::{CodecError, Fault, Problem};
use super::frame::{FieldSpec, Frame};
use super::{CborKeys, Limits, Value, WriteError, cbor, json, senml};
use crate::rule::{self, CodecForm};
use crate::{Format, Place};

/// A format that payloads are read from and written to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Codec {
    /// `json` (RFC 8259).
    Json,
    /// `cbor` (RFC 8949).
    Cbor,
    /// `senml+json` (RFC 8428).
    SenmlJson,
    /// `senml+cbor` (RFC 8428).
    SenmlCbor,
    /// `text`: UTF-8, always text on the other side, never a number.
    Text,
    /// `raw`: bytes.
    Raw,
    /// A `frame`.
    Frame(Frame),
    /// A `cbor_keys`.
    CborKeys(CborKeys),
}

/// The kinds of values that a format has, as bits.
mod kinds {
    pub(super) const TEXT: u8 = 1;
    pub(super) const BYTES: u8 = 2;
    pub(super) const MAP: u8 = 4;
    pub(super) const ARRAY: u8 = 8;
    pub(super) const OTHER: u8 = 16;
}

impl Codec {
    /// Whether a payload is in this format; its values are looked at only where the format says
    /// more than its syntax (SenML, frames, `cbor_keys`).
    ///
    /// # Errors
    /// What is wrong, and where.
    pub fn check(&self, payload: &[u8], limits: &Limits) -> Result<(), Fault> {
        match self {
            Codec::Raw => Ok(()),
            Codec::Json => json::check(payload, limits),
            Codec::Cbor => cbor::check(payload, limits),
            Codec::Text => text(payload).map(drop),
            _ => self.read(payload, limits).map(drop),
        }
    }

    /// Reads a payload.
    ///
    /// # Errors
    /// What is wrong, and where.
    pub fn read<'a>(&'a self, payload: &'a [u8], limits: &Limits) -> Result<Value<'a>, Fault> {
        match self {
            Codec::Json => json::read(payload, limits),
            Codec::Cbor => cbor::read(payload, limits),
            Codec::SenmlJson => senml::read_json(payload, limits),
            Codec::SenmlCbor => senml::read_cbor(payload, limits),
            Codec::Text => text(payload).map(Value::text),
            Codec::Raw => Ok(Value::Bytes(payload.into())),
            Codec::Frame(frame) => frame.read(payload),
            Codec::CborKeys(keys) => keys.read(payload, limits),
        }
    }

    /// Writes a payload.
    ///
    /// # Errors
    /// What the format cannot hold and where that is, or too much of it.
    pub fn write(&self, value: Value<'_>, limits: &Limits) -> Result<Vec<u8>, WriteError> {
        let out = match (self, value) {
            (Codec::Json, value) => json::write(&value, limits)?,
            (Codec::Cbor, value) => cbor::write(&value, limits)?,
            (Codec::SenmlJson, pack) => {
                senml::resolve(&pack)?;
                json::write(&pack, limits)?
            }
            (Codec::SenmlCbor, pack) => {
                senml::resolve(&pack)?;
                senml::write_cbor(pack, limits)?
            }
            (Codec::Text, Value::Text(text)) => text.into_owned().into_bytes(),
            (Codec::Raw, Value::Bytes(bytes)) => bytes.into_owned(),
            (Codec::Text, other) => return Err(wrong_kind("text", &other)),
            (Codec::Raw, other) => return Err(wrong_kind("bytes", &other)),
            (Codec::Frame(frame), value) => frame.write(&value)?,
            (Codec::CborKeys(keys), value) => keys.write(value, limits)?,
        };
        if out.len() > limits.output { Err(WriteError::TooLarge) } else { Ok(out) }
    }

    const fn kinds(&self) -> u8 {
        use kinds::{ARRAY, BYTES, MAP, OTHER, TEXT};
        match self {
            Codec::Json => TEXT | MAP | ARRAY | OTHER,
            Codec::Cbor => TEXT | BYTES | MAP | ARRAY | OTHER,
            Codec::SenmlJson | Codec::SenmlCbor => ARRAY,
            Codec::Text => TEXT,
            Codec::Raw => BYTES,
            Codec::Frame(_) | Codec::CborKeys(_) => MAP,
        }
    }

    /// Whether any payload at all can become one of `other`.
    pub(super) const fn meets(&self, other: &Codec) -> bool {
        self.kinds() & other.kinds() != 0
    }

    /// Whether it can hold the object of a record.
    pub(super) const fn holds_records(&self) -> bool {
        self.kinds() & (kinds::MAP | kinds::ARRAY) != 0
    }

    pub(super) const fn is_senml(&self) -> bool {
        matches!(self, Codec::SenmlJson | Codec::SenmlCbor)
    }
}

fn text(payload: &[u8]) -> Result<&str, Fault> {
    std::str::from_utf8(payload).map_err(|e| Fault::byte(e.valid_up_to(), Problem::NotUtf8))
}

fn wrong_kind(wanted: &'static str, got: &Value<'_>) -> WriteError {
    Fault::whole(Problem::WrongKind { wanted, got: got.kind() }).into()
}

/// Whether a payload that came without a Content-Format may be given out with this one: text and
/// octets by their bytes, JSON and SenML by their syntax, CBOR likewise but only where it is no text,
/// of which much is CBOR by accident. `false` for every other number.
#[must_use]
pub fn could_be(content_format: u16, payload: &[u8]) -> bool {
    let Some(codec) = built_in(content_format) else { return false };
    let binary = matches!(codec, Codec::Cbor | Codec::SenmlCbor);
    !(binary && text(payload).is_ok()) && codec.check(payload, &Limits::default()).is_ok()
}

/// Whether a payload that is said to be of a Content-Format is: by its syntax, where the format is
/// known here; `true` for every other number.
#[must_use]
pub fn is_valid(content_format: u16, payload: &[u8]) -> bool {
    let codec = built_in(content_format);
    codec.is_none_or(|codec| codec.check(payload, &Limits::default()).is_ok())
}

const fn built_in(content_format: u16) -> Option<Codec> {
    Some(match content_format {
        0 => Codec::Text,
        42 => Codec::Raw,
        50 => Codec::Json,
        60 => Codec::Cbor,
        110 => Codec::SenmlJson,
        112 => Codec::SenmlCbor,
        _ => return None,
    })
}

/// The formats that can be named: the built-in ones and the entries of `codecs`.
#[derive(Debug, Clone, Default)]
pub struct Codecs {
    named: HashMap<Box<str>, Arc<Codec>>,
}

impl Codecs {
    /// Checks every entry of `codecs`.
    ///
    /// # Errors
    /// Every mistake with its place: `codecs.NAME.frame[2]`, `codecs.NAME.cbor_keys`.
    pub fn new(codecs: &[rule::Codec]) -> Result<Codecs, Vec<(Place, CodecError)>> {
        let (mut named, mut errors) = (HashMap::with_capacity(codecs.len()), Vec::new());
        for codec in codecs {
            let place = Place::root().at("codecs").at(codec.name.as_str());
            match compile(codec) {
                Ok(compiled) => {
                    named.insert(codec.name.as_str().into(), Arc::new(compiled));
                }
                Err(found) => errors.extend(found.into_iter().map(|(i, error)| {
                    let at = match &codec.form {
                        CodecForm::Frame(_) => place.at("frame").at(i),
                        CodecForm::CborKeys(entries) => match entries.get(i) {
                            Some((key, _)) => place.at("cbor_keys").at(key.to_string()),
                            None => place.at("cbor_keys"),
                        },
                    };
                    (at, error)
                })),
            }
        }
        if errors.is_empty() { Ok(Codecs { named }) } else { Err(errors) }
    }

    /// The codec of a format; `None` if no entry has its name.
    #[must_use]
    pub fn get(&self, format: &Format) -> Option<Arc<Codec>> {
        let built_in = match format {
            Format::Json => Codec::Json,
            Format::Cbor => Codec::Cbor,
            Format::SenmlJson => Codec::SenmlJson,
            Format::SenmlCbor => Codec::SenmlCbor,
            Format::Text => Codec::Text,
            Format::Raw => Codec::Raw,
            Format::Frame(name) | Format::CborKeys(name) => {
                return self.named.get(&**name).cloned();
            }
        };
        Some(Arc::new(built_in))
    }
}

fn compile(codec: &rule::Codec) -> Result<Codec, Vec<(usize, CodecError)>> {
    match &codec.form {
        CodecForm::Frame(fields) => {
            Frame::new(fields.iter().map(FieldSpec::from)).map(Codec::Frame)
        }
        CodecForm::CborKeys(entries) => CborKeys::new(entries).map(Codec::CborKeys),
    }
}

/// The media type of a format, for MQTT 5's Content Type; as the registry of CoAP's
/// Content-Formats writes it.
#[must_use]
pub const fn content_type(format: &Format) -> &'static str {
    match format {
        Format::Text => "text/plain;charset=utf-8",
        Format::Raw | Format::Frame(_) => "application/octet-stream",
        Format::Json => "application/json",
        Format::Cbor | Format::CborKeys(_) => "application/cbor",
        Format::SenmlJson => "application/senml+json",
        Format::SenmlCbor => "application/senml+cbor",
    }
}

/// Whether payloads of a format are UTF-8, for MQTT 5's Payload Format Indicator.
#[must_use]
pub const fn is_utf8(format: &Format) -> bool {
    matches!(format, Format::Text | Format::Json | Format::SenmlJson)
}
