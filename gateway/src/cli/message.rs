//! How received messages are printed: as text, by a format of mosquitto's, as JSON.

use std::borrow::Cow;
use std::io::{self, Write};

use clap::{Args, ValueEnum};
use motegate_message::Wall;
use motegate_mqtt::Property;
use motegate_mqtt::client::Message;
use serde::Serialize;

use super::format::{Format, timestamp};
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
}

/// A message of either protocol, with mosquitto's names for what JSON shows.
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
    payload: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_hex: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) properties: Vec<(&'static str, String)>,
    #[serde(skip)]
    pub(super) user_properties: Vec<(String, String)>,
    #[serde(skip)]
    pub(super) bytes: &'a [u8],
    #[serde(skip)]
    pub(super) wall: Wall,
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
            payload,
            payload_hex: payload.is_none().then(|| hex(bytes)),
            properties: Vec::new(),
            user_properties: Vec::new(),
            bytes,
            wall,
        }
    }

    /// Of MQTT.
    pub(super) fn mqtt(message: &'a Message) -> Self {
        let topic = Cow::Borrowed(message.topic());
        let mut received =
            Received::new(topic, message.payload(), message.qos() as u8, message.retain());
        for property in message.properties().iter() {
            received.take(property);
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

    fn take(&mut self, property: Property<'_>) {
        let (name, value) = match property {
            Property::PayloadFormatIndicator(text) => {
                ("payload-format-indicator", u8::from(text).to_string())
            }
            Property::MessageExpiryInterval(secs) => ("message-expiry-interval", secs.to_string()),
            Property::ContentType(text) => ("content-type", text.to_owned()),
            Property::ResponseTopic(text) => ("response-topic", text.to_owned()),
            Property::CorrelationData(data) => {
                ("correlation-data", String::from_utf8_lossy(data).into_owned())
            }
            Property::SubscriptionIdentifier(id) => ("subscription-identifier", id.to_string()),
            Property::UserProperty(name, value) => {
                self.user_properties.push((name.to_owned(), value.to_owned()));
                ("user-property", format!("{name}:{value}"))
            }
            _ => return,
        };
        self.properties.push((name, value));
    }
}

/// Prints messages on stdout, each at once.
#[derive(Debug)]
pub(super) struct Printer {
    output: Output,
    verbose: bool,
    newline: bool,
    format: Option<Format>,
    count: usize,
}

impl Printer {
    pub(super) fn new(printing: &Printing) -> Result<Self, Error> {
        Ok(Printer {
            output: printing.output,
            verbose: printing.verbose,
            newline: !printing.no_newline,
            format: printing.format.as_deref().map(Format::parse).transpose()?,
            count: 0,
        })
    }

    pub(super) fn print(&mut self, message: &Received<'_>) -> Result<(), Error> {
        let mut out = io::stdout().lock();
        let first = self.count == 0;
        self.count += 1;
        match self.output {
            Output::Text => self.text(&mut out, message)?,
            Output::Ndjson => {
                serde_json::to_writer(&mut out, message).map_err(io::Error::from)?;
                writeln!(out)?;
            }
            Output::Json => {
                write!(out, "{}", if first { "[\n  " } else { ",\n  " })?;
                serde_json::to_writer(&mut out, message).map_err(io::Error::from)?;
            }
        }
        out.flush()?;
        Ok(())
    }

    fn text(&self, out: &mut impl Write, message: &Received<'_>) -> io::Result<()> {
        if let Some(format) = &self.format {
            format.write(message, out)?;
        } else {
            if self.verbose {
                write!(out, "{} ", message.topic)?;
            }
            out.write_all(message.bytes)?;
        }
        if self.newline { writeln!(out) } else { Ok(()) }
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
