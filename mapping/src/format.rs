//! [`Payload`]: which formats the two sides of a rule speak (mapping.md §2.10).
//!
//! A rule names formats by word: those that are built in, or a codec of the configuration. Here the
//! names are checked and resolved; turning one format into another is [`crate::payload`]'s part.

use std::fmt;
use std::sync::Arc;

use crate::payload::{Codecs, Conversion, ConversionError};
use crate::rule::{Codec, CodecForm, OnBadPayload, PayloadRule};
use crate::{Place, RuleError, RuleErrorKind};

/// How a payload is written.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Format {
    /// `json`.
    Json,
    /// `cbor`.
    Cbor,
    /// `senml+json` (RFC 8428).
    SenmlJson,
    /// `senml+cbor` (RFC 8428).
    SenmlCbor,
    /// `text`: UTF-8.
    Text,
    /// `raw`: bytes as they are.
    Raw,
    /// A frame of fixed layout, by the codec's name.
    Frame(Arc<str>),
    /// CBOR with integer keys, by the codec's name.
    CborKeys(Arc<str>),
}

/// The words of the formats that are built in.
const WORDS: [(&str, Format); 6] = [
    ("json", Format::Json),
    ("cbor", Format::Cbor),
    ("senml+json", Format::SenmlJson),
    ("senml+cbor", Format::SenmlCbor),
    ("text", Format::Text),
    ("raw", Format::Raw),
];

impl Format {
    /// The word that a rule names it by.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Format::Frame(name) | Format::CborKeys(name) => name,
            built_in => {
                WORDS.iter().find(|(_, format)| format == built_in).map_or("", |(word, _)| word)
            }
        }
    }

    /// CoAP's number for it (RFC 7252 §12.3, RFC 8428 §12.3).
    #[must_use]
    pub const fn content_format(&self) -> u16 {
        match self {
            Format::Text => 0,
            Format::Raw | Format::Frame(_) => 42,
            Format::Json => 50,
            Format::Cbor | Format::CborKeys(_) => 60,
            Format::SenmlJson => 110,
            Format::SenmlCbor => 112,
        }
    }

    /// Whether it is a pack of records.
    #[must_use]
    pub const fn is_senml(&self) -> bool {
        matches!(self, Format::SenmlJson | Format::SenmlCbor)
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The formats of a rule, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payload {
    /// What the device may write; the first is what it is given unless it asks for another. Never
    /// empty.
    pub device: Vec<Format>,
    /// What stands in the broker.
    pub broker: Format,
    /// One message per SenML record, base fields resolved; the device's formats are then SenML.
    pub split: bool,
    /// What becomes of a payload that is not what it should be.
    pub on_bad: OnBadPayload,
}

impl Payload {
    /// The Content-Formats of the device's side, in order, each once.
    #[must_use]
    pub fn content_formats(&self) -> Vec<u16> {
        let mut numbers = Vec::with_capacity(self.device.len());
        for number in self.device.iter().map(Format::content_format) {
            if !numbers.contains(&number) {
                numbers.push(number);
            }
        }
        numbers
    }
}

/// What can be named: the built-in formats and the codecs.
#[derive(Debug, Default)]
pub(crate) struct Formats {
    codecs: Vec<Format>,
    compiled: Codecs,
    /// A codec has a mistake, which is reported; what uses it is not compiled.
    broken: bool,
}

/// A rule's formats, with what turns one into the other.
#[derive(Debug, Clone, Default)]
pub(crate) struct Formatted {
    pub(crate) payload: Option<Arc<Payload>>,
    pub(crate) conversion: Option<Arc<Conversion>>,
}

impl Formats {
    pub(crate) fn new(codecs: &[Codec], errors: &mut Vec<RuleError>) -> Formats {
        let place = Place::root().at("codecs");
        let mut formats = Formats::default();
        for codec in codecs {
            let at = place.at(codec.name.as_str());
            if WORDS.iter().any(|(word, _)| *word == codec.name) || codec.name.is_empty() {
                errors.push(RuleError::new(at, RuleErrorKind::BadCodecName));
                continue;
            }
            let name = codec.name.as_str().into();
            formats.codecs.push(match codec.form {
                CodecForm::Frame(_) => Format::Frame(name),
                CodecForm::CborKeys(_) => Format::CborKeys(name),
            });
        }
        match Codecs::new(codecs) {
            Ok(compiled) => formats.compiled = compiled,
            Err(found) => {
                formats.broken = true;
                errors.extend(found.into_iter().map(|(place, error)| RuleError::new(place, error)));
            }
        }
        formats
    }

    /// What turns the formats into each other; `wildcard`: deliveries of many topics.
    pub(crate) fn compile(
        &self,
        payload: Option<Payload>,
        wildcard: bool,
    ) -> Result<Formatted, ConversionError> {
        let conversion = match &payload {
            _ if self.broken => None,
            given if wildcard => Some(Conversion::wildcard(given.as_ref(), &self.compiled)?),
            Some(payload) => Some(Conversion::new(payload, &self.compiled)?),
            None => None,
        };
        Ok(Formatted { payload: payload.map(Arc::new), conversion: conversion.map(Arc::new) })
    }

    /// The format of a name.
    pub(crate) fn find(&self, name: &str) -> Result<Format, RuleErrorKind> {
        let codec = self.codecs.iter().find(|codec| codec.name() == name);
        let built_in = || WORDS.iter().find(|(word, _)| *word == name).map(|(_, format)| format);
        codec.or_else(built_in).cloned().ok_or_else(|| {
            let words = WORDS.iter().map(|(word, _)| *word);
            let known = words.chain(self.codecs.iter().map(Format::name));
            RuleErrorKind::UnknownFormat {
                format: name.to_owned(),
                known: known.map(str::to_owned).collect(),
            }
        })
    }

    /// Checks a rule's `payload`, which stands at `place`.
    pub(crate) fn payload(
        &self,
        rule: &PayloadRule,
        on_bad: OnBadPayload,
        place: &Place,
        report: &mut impl FnMut(Place, RuleErrorKind),
    ) -> Option<Payload> {
        let mut device = Vec::with_capacity(rule.device.len());
        for (i, name) in rule.device.iter().enumerate() {
            let at = place.at("device").at(i);
            match self.find(name) {
                Ok(format) if device.contains(&format) => {
                    report(at, RuleErrorKind::FormatTwice { format: name.clone() });
                }
                Ok(format) if rule.split && !format.is_senml() => {
                    report(at, RuleErrorKind::SplitNeedsSenml { format: name.clone() });
                }
                Ok(format) => device.push(format),
                Err(kind) => report(at, kind),
            }
        }
        if rule.device.is_empty() {
            report(place.at("device"), RuleErrorKind::NoFormats);
        }
        let broker = self.find(&rule.broker).map_err(|kind| report(place.at("broker"), kind));
        let complete = !device.is_empty() && device.len() == rule.device.len();
        complete.then_some(Payload { device, broker: broker.ok()?, split: rule.split, on_bad })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_go_together() {
        let formats = Formats::default();
        for (word, number) in [
            ("json", 50),
            ("cbor", 60),
            ("senml+json", 110),
            ("senml+cbor", 112),
            ("text", 0),
            ("raw", 42),
        ] {
            let format = formats.find(word).unwrap();
            assert_eq!((format.name(), format.content_format()), (word, number));
            assert_eq!(format.to_string(), word);
        }
    }

    #[test]
    fn each_number_is_listed_once() {
        let payload = Payload {
            device: vec![Format::CborKeys("a".into()), Format::Json, Format::Cbor],
            broker: Format::Json,
            split: false,
            on_bad: OnBadPayload::Reject,
        };
        assert_eq!(payload.content_formats(), [60, 50]);
    }
}
