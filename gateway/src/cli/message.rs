//! How received messages are printed: as text, by a format of mosquitto's, as JSON.

use std::borrow::Cow;
use std::io::{self, Write};
use std::num::NonZeroU16;

use clap::{Args, ValueEnum};
use motegate_message::Wall;
use motegate_mqtt::Property;
use motegate_mqtt::client::Message;
use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};

use super::format::Format;
use super::json;
use super::time::timestamp;
use crate::client::{Error, Reception};
use crate::clock::Clock;

/// `-o`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(super) enum Output {
    /// For people and pipes
    #[default]
    Text,
    /// One JSON document
    Json,
    /// One JSON object a line
    Ndjson,
}

/// Options of `sub` and `rr` about printing.
#[derive(Debug, Args)]
pub(super) struct Printing {
    /// Print the topic before the payload
    #[arg(short, long, help_heading = "Output")]
    verbose: bool,
    /// No end of line behind a payload
    #[arg(short = 'N', long = "no-newline", help_heading = "Output")]
    no_newline: bool,
    /// Print so, with fields such as %t and %p (see below)
    #[arg(short = 'F', long, value_name = "FORMAT", help_heading = "Output")]
    format: Option<String>,
    /// text, json (an array) or ndjson (one object a line)
    #[arg(
        short, long, value_enum, value_name = "OUTPUT", default_value_t, hide_possible_values = true,
        help_heading = "Output", conflicts_with_all = ["verbose", "format", "no_newline"]
    )]
    output: Output,
    /// The JSON of -o json, %j and %J on several lines
    #[arg(long, help_heading = "Output")]
    pretty: bool,
}

/// A message of either protocol; as JSON it has mosquitto's names.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Received<'a> {
    pub(super) tst: String,
    pub(super) topic: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) topic_id: Option<u16>,
    pub(super) qos: u8,
    pub(super) retain: u8,
    pub(super) payloadlen: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) mid: Option<u16>,
    #[serde(skip_serializing_if = "Noted::is_empty")]
    pub(super) properties: Noted,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) payload: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) payload_hex: Option<String>,
    #[serde(skip)]
    pub(super) bytes: &'a [u8],
    #[serde(skip)]
    pub(super) wall: Wall,
}

/// What a PUBLISH of MQTT 5 has beside topic and payload.
#[derive(Debug, Clone, Default)]
pub(super) struct Noted {
    pub(super) content_type: Option<String>,
    pub(super) response_topic: Option<String>,
    pub(super) correlation: Option<Vec<u8>>,
    pub(super) user: Vec<(String, String)>,
    /// Of the connection rather than of the message: not in JSON.
    pub(super) alias: Option<u16>,
    pub(super) format: Option<u8>,
    pub(super) expiry: Option<u32>,
    pub(super) subscriptions: Vec<u32>,
}

impl Noted {
    fn is_empty(&self) -> bool {
        self.content_type.is_none()
            && self.response_topic.is_none()
            && self.correlation.is_none()
            && self.user.is_empty()
            && self.format.is_none()
            && self.expiry.is_none()
            && self.subscriptions.is_empty()
    }

    fn take(&mut self, property: Property<'_>) {
        match property {
            Property::PayloadFormatIndicator(text) => self.format = Some(text.into()),
            Property::MessageExpiryInterval(secs) => self.expiry = Some(secs),
            Property::ContentType(text) => self.content_type = Some(text.to_owned()),
            Property::ResponseTopic(text) => self.response_topic = Some(text.to_owned()),
            Property::CorrelationData(data) => self.correlation = Some(data.to_vec()),
            Property::SubscriptionIdentifier(id) => self.subscriptions.push(id),
            Property::TopicAlias(alias) => self.alias = Some(alias),
            Property::UserProperty(name, value) => {
                self.user.push((name.to_owned(), value.to_owned()));
            }
            _ => {}
        }
    }
}

impl Serialize for Noted {
    /// As mosquitto writes them. A subscription identifier is a number, several are a list.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        let mut text = |name, value: Option<&str>| match value {
            Some(value) => map.serialize_entry(name, value),
            None => Ok(()),
        };
        text("content-type", self.content_type.as_deref())?;
        text("response-topic", self.response_topic.as_deref())?;
        text(
            "correlation-data",
            self.correlation.as_deref().map(String::from_utf8_lossy).as_deref(),
        )?;
        if !self.user.is_empty() {
            map.serialize_entry("user-properties", &Pairs(&self.user))?;
        }
        let mut number = |name, value: Option<u32>| match value {
            Some(value) => map.serialize_entry(name, &value),
            None => Ok(()),
        };
        number("payload-format-indicator", self.format.map(u32::from))?;
        number("message-expiry-interval", self.expiry)?;
        match self.subscriptions[..] {
            [] => {}
            [id] => map.serialize_entry("subscription-identifier", &id)?,
            _ => map.serialize_entry("subscription-identifier", &self.subscriptions)?,
        }
        map.end()
    }
}

/// An object in the order of its pairs; a name that comes twice is there twice.
struct Pairs<'a>(&'a [(String, String)]);

impl Serialize for Pairs<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

impl<'a> Received<'a> {
    fn new(topic: Cow<'a, str>, bytes: &'a [u8], qos: u8, retain: bool) -> Self {
        let wall = Clock::wall();
        let payload = std::str::from_utf8(bytes).ok();
        Received {
            tst: timestamp(wall),
            topic,
            topic_id: None,
            qos,
            retain: retain.into(),
            payloadlen: bytes.len(),
            mid: None,
            properties: Noted::default(),
            payload,
            payload_hex: payload.is_none().then(|| hex(bytes)),
            bytes,
            wall,
        }
    }

    /// Of MQTT.
    pub(super) fn mqtt(message: &'a Message) -> Self {
        let topic = Cow::Borrowed(message.topic());
        let mut received =
            Received::new(topic, message.payload(), message.qos() as u8, message.retain());
        received.mid = message.packet_id().map(NonZeroU16::get);
        for property in message.properties().iter() {
            received.properties.take(property);
        }
        received
    }

    /// Of MQTT-SN.
    pub(super) fn sn(message: &'a Reception) -> Self {
        let id = message.topic.raw();
        let topic = match &message.name {
            Some(name) => Cow::Borrowed(name.as_str()),
            None => Cow::Owned(id.to_string()),
        };
        let mut received = Received::new(topic, &message.payload, message.qos, message.retain);
        received.topic_id = Some(id);
        received
    }
}

/// Prints messages on stdout, each at once.
#[derive(Debug)]
pub(super) struct Printer {
    output: Output,
    verbose: bool,
    newline: bool,
    pretty: bool,
    format: Option<Format>,
    count: usize,
}

impl Printer {
    pub(super) fn new(printing: &Printing) -> Result<Self, Error> {
        if printing.pretty && printing.output == Output::Ndjson {
            return Err(Error::usage("--pretty: ndjson is one line a message; -o json is pretty"));
        }
        Ok(Printer {
            output: printing.output,
            verbose: printing.verbose,
            newline: !printing.no_newline,
            pretty: printing.pretty,
            format: printing.format.as_deref().map(Format::parse).transpose()?,
            count: 0,
        })
    }

    /// What was wrong with a message that could not be printed is the answer.
    pub(super) fn print(&mut self, message: &Received<'_>) -> Result<Option<String>, Error> {
        let mut out = io::stdout().lock();
        let first = self.count == 0;
        match self.output {
            Output::Text => {
                let Some(bytes) = self.text(message)? else {
                    return Ok(Some(format!("the payload on {} is not JSON (%J)", message.topic)));
                };
                out.write_all(&bytes)?;
            }
            Output::Ndjson => writeln!(out, "{}", json::of(message, false)?)?,
            Output::Json => {
                write!(out, "{}", if first { "[\n  " } else { ",\n  " })?;
                let text = json::of(message, self.pretty)?;
                write!(out, "{}", text.replace('\n', "\n  "))?;
            }
        }
        self.count += 1;
        out.flush()?;
        Ok(None)
    }

    /// `None`: the format wants a payload of JSON, and it is none.
    fn text(&self, message: &Received<'_>) -> Result<Option<Vec<u8>>, Error> {
        let mut out = Vec::new();
        if let Some(format) = &self.format {
            if format.wants_json() && !json::is(message.bytes) {
                return Ok(None);
            }
            format.write(message, self.pretty, &mut out)?;
        } else {
            if self.verbose {
                write!(out, "{} ", message.topic)?;
            }
            out.extend(message.bytes);
        }
        if self.newline {
            out.push(b'\n');
        }
        Ok(Some(out))
    }

    /// Nothing follows: closes the array.
    pub(super) fn finish(&self) -> Result<(), Error> {
        if self.output == Output::Json {
            let mut out = io::stdout().lock();
            writeln!(out, "{}", if self.count == 0 { "[]" } else { "\n]" })?;
        }
        Ok(())
    }
}

/// Lower-case hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
