//! [`Conversion`]: what turns a rule's payloads into each other.

use std::sync::Arc;

use bytes::Bytes;

use super::error::PayloadError;
use super::{Codec, Codecs, Limits, Value, WriteError, senml};
use crate::rule::OnBadPayload;
use crate::{Format, Payload};

/// The two sides of a rule, ready for payloads. Built once with the table; it holds no state.
///
/// A payload whose format is the same on both sides is checked and goes through as it is, without a
/// copy; any other is read into a [`Value`] and written anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conversion {
    device: Box<[Side]>,
    broker: Side,
    /// Packs of the device are one message per record.
    split: bool,
    /// Deliveries become packs of one record.
    wrap: bool,
    on_bad: OnBadPayload,
    limits: Limits,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Side {
    format: Format,
    codec: Arc<Codec>,
}

/// What a device's payload became.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Uplink {
    /// One message.
    One(Bytes),
    /// `split: senml`: one message per record, in the pack's order; at least one.
    Records(Vec<Record>),
}

/// A message of one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Base name and name: `{senml.n}`. Only characters of RFC 8428 §4.5.1: it may hold `/`, never
    /// `+`, `#`, `$` or NUL.
    pub name: String,
    /// The rest of the record.
    pub payload: Bytes,
}

/// What a device is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Downlink {
    /// CoAP's number for the format.
    pub content_format: u16,
    /// In that format.
    pub payload: Bytes,
}

/// A rule's formats that cannot go together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConversionError {
    /// A format that names no codec; the rules' own check finds it first.
    #[error("there is no codec {0:?}")]
    UnknownCodec(String),
    /// Two formats of which no payload fits both.
    #[error("no payload of {device} can become {broker}: {}", hint(*records))]
    NeverConverts {
        /// Which of the device's formats, from 0.
        index: usize,
        /// Its name.
        device: String,
        /// The broker's.
        broker: String,
        /// It is the records of a pack that do not fit.
        records: bool,
    },
}

const fn hint(records: bool) -> &'static str {
    match records {
        true => "a record is an object",
        false => "raw holds bytes, text holds text, senml a list, a codec an object",
    }
}

impl Conversion {
    /// The conversion of a rule's `payload`.
    ///
    /// # Errors
    /// Formats that can never become each other.
    pub fn new(payload: &Payload, codecs: &Codecs) -> Result<Conversion, ConversionError> {
        let broker = Side::new(&payload.broker, codecs)?;
        let device = payload.device.iter().map(|format| Side::new(format, codecs));
        let device: Box<[Side]> = device.collect::<Result<_, _>>()?;
        for (index, one) in device.iter().enumerate() {
            let records = payload.split && one.codec.is_senml();
            let fits = match records {
                true => broker.codec.holds_records(),
                false => one.codec.meets(&broker.codec),
            };
            if !fits {
                return Err(ConversionError::NeverConverts {
                    index,
                    device: one.format.name().to_owned(),
                    broker: broker.format.name().to_owned(),
                    records,
                });
            }
        }
        let (split, on_bad) = (payload.split, payload.on_bad);
        Ok(Conversion { device, broker, split, wrap: split, on_bad, limits: Limits::default() })
    }

    /// The conversion of a rule whose topic has a wildcard (mapping.md §2.7): every delivery is a
    /// pack of one record, named by its topic. Without a `payload` of the rule the pack is SenML in
    /// JSON, or in CBOR if Accept says so; a payload that is UTF-8 is its text, any other its data.
    ///
    /// # Errors
    /// A format that names no codec.
    pub fn wildcard(payload: Option<&Payload>, codecs: &Codecs) -> Result<Self, ConversionError> {
        let default = [Format::SenmlJson, Format::SenmlCbor];
        let device = payload.map_or(&default[..], |payload| &payload.device);
        let broker = payload.map_or(&Format::Raw, |payload| &payload.broker);
        let device = device.iter().map(|format| Side::new(format, codecs));
        Ok(Conversion {
            device: device.collect::<Result<_, _>>()?,
            broker: Side::new(broker, codecs)?,
            split: false,
            wrap: true,
            on_bad: payload.map_or_else(OnBadPayload::default, |payload| payload.on_bad),
            limits: Limits::default(),
        })
    }

    /// The same with other bounds.
    #[must_use]
    pub const fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// What stands in the broker: of published messages, [`content_type`](super::content_type) and
    /// [`Format::content_format`] are those of this format.
    #[must_use]
    pub const fn broker(&self) -> &Format {
        &self.broker.format
    }

    /// What the rule says to do with a payload that [`uplink`](Self::uplink) or
    /// [`downlink`](Self::downlink) refuses. It is for the caller to do; a
    /// [`PayloadError::UnsupportedContentFormat`] or [`PayloadError::NotAcceptable`] is about the
    /// request, not the payload, and is answered whatever this says.
    #[must_use]
    pub const fn on_bad(&self) -> OnBadPayload {
        self.on_bad
    }

    /// Whether a device may ask for this Content-Format.
    #[must_use]
    pub fn offers(&self, content_format: u16) -> bool {
        self.choose(Some(content_format)).is_ok()
    }

    /// What a device's payload is in the broker.
    ///
    /// `content_format` chooses among the device's formats: the first with this number, or the first
    /// of all where the device says nothing.
    ///
    /// # Errors
    /// A Content-Format that is not listed, a payload that is not in its format, or one that the
    /// broker's format cannot say.
    pub fn uplink(
        &self,
        content_format: Option<u16>,
        payload: &Bytes,
    ) -> Result<Uplink, PayloadError> {
        let device = self.choose(content_format).map_err(|(got, supported)| {
            PayloadError::UnsupportedContentFormat { got, supported }
        })?;
        if !(self.split && device.codec.is_senml()) {
            return self.convert(device, &self.broker, payload).map(Uplink::One);
        }
        let malformed = |fault| PayloadError::Malformed { format: device.name(), fault };
        let pack = device.codec.read(payload, &self.limits).map_err(malformed)?;
        let records = senml::resolve(&pack).map_err(malformed)?;
        let records = records.into_iter().map(|record| {
            let name = record.name.clone().into_owned();
            let value = match self.broker.codec.is_senml() {
                true => record.into_pack(),
                false => record.into_object(),
            };
            let payload = self.broker.write(value, &self.limits)?;
            Ok(Record { name, payload })
        });
        records.collect::<Result<_, _>>().map(Uplink::Records)
    }

    /// What a device is given of a message in the broker.
    ///
    /// `accept` chooses among the device's formats as Content-Format does in
    /// [`uplink`](Self::uplink). `name` is the record's where the payload becomes a pack: the topic,
    /// without the mount, for a rule with a wildcard; `{senml.n}` of the topic for `split: senml`.
    /// It is not looked at otherwise.
    ///
    /// # Errors
    /// A format that is not listed, a payload that is not in the broker's format, or one that the
    /// device's format cannot say. None but the first is the asking device's mistake.
    pub fn downlink(
        &self,
        accept: Option<u16>,
        name: &str,
        payload: &Bytes,
    ) -> Result<Downlink, PayloadError> {
        let device = self
            .choose(accept)
            .map_err(|(wanted, offered)| PayloadError::NotAcceptable { wanted, offered })?;
        // A pack goes as it is; nothing, which is no pack, is an empty record.
        let is_pack = self.broker.codec.is_senml() && !payload.is_empty();
        let wrap = self.wrap && device.codec.is_senml() && !is_pack;
        let payload = match wrap {
            true => self.wrap(device, name, payload)?,
            false => self.convert(&self.broker, device, payload)?,
        };
        Ok(Downlink { content_format: device.format.content_format(), payload })
    }

    /// The side that a number asks for, or that number and those that there are.
    fn choose(&self, number: Option<u16>) -> Result<&Side, (u16, Vec<u16>)> {
        let asked = |side: &&Side| number.is_none_or(|n| side.format.content_format() == n);
        self.device.iter().find(asked).ok_or_else(|| {
            let mut listed: Vec<u16> = Vec::with_capacity(self.device.len());
            for number in self.device.iter().map(|side| side.format.content_format()) {
                if !listed.contains(&number) {
                    listed.push(number);
                }
            }
            (number.unwrap_or_default(), listed)
        })
    }

    fn convert(&self, from: &Side, to: &Side, payload: &Bytes) -> Result<Bytes, PayloadError> {
        let malformed = |fault| PayloadError::Malformed { format: from.name(), fault };
        if from.format == to.format {
            from.codec.check(payload, &self.limits).map_err(malformed)?;
            return Ok(payload.clone());
        }
        let value = from.codec.read(payload, &self.limits).map_err(malformed)?;
        to.write(value, &self.limits)
    }

    fn wrap(&self, device: &Side, name: &str, payload: &Bytes) -> Result<Bytes, PayloadError> {
        let value = match (&*self.broker.codec, std::str::from_utf8(payload)) {
            // A topic that was cleared: no value in any format.
            (_, Ok("")) => Value::text(""),
            (Codec::Raw, Ok(text)) => Value::text(text),
            (codec, _) => codec
                .read(payload, &self.limits)
                .map_err(|fault| PayloadError::Malformed { format: self.broker.name(), fault })?,
        };
        let pack = senml::one_record(name, value, payload)
            .map_err(|fault| PayloadError::Inexpressible { format: device.name(), fault })?;
        device.write(pack, &self.limits)
    }
}

impl Side {
    fn new(format: &Format, codecs: &Codecs) -> Result<Side, ConversionError> {
        match codecs.get(format) {
            Some(codec) => Ok(Side { format: format.clone(), codec }),
            None => Err(ConversionError::UnknownCodec(format.name().to_owned())),
        }
    }

    fn name(&self) -> String {
        self.format.name().to_owned()
    }

    fn write(&self, value: Value<'_>, limits: &Limits) -> Result<Bytes, PayloadError> {
        match self.codec.write(value, limits) {
            Ok(out) => Ok(out.into()),
            Err(WriteError::Fault(fault)) => {
                Err(PayloadError::Inexpressible { format: self.name(), fault })
            }
            Err(WriteError::TooLarge) => {
                Err(PayloadError::TooLarge { format: self.name(), limit: limits.output })
            }
        }
    }
}
