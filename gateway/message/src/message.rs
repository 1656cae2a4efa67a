//! [`Message`]: one application message on its way from a publisher to whoever is subscribed.

use alloc::boxed::Box;
use alloc::vec::Vec;
use bytes::Bytes;
use motegate_timers::Instant;

use crate::journal::{Reader, Turn, Writer};
use crate::{SessionKey, TopicName};

/// Quality of service (MQTT 5 §4.3). MQTT-SN's QoS −1 is a way of arriving, not of travelling:
/// behind the endpoint it is [`Qos::AtMostOnce`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Qos {
    /// QoS 0.
    AtMostOnce = 0,
    /// QoS 1.
    AtLeastOnce = 1,
    /// QoS 2.
    ExactlyOnce = 2,
}

impl Qos {
    /// From the two bits on the wire; `None` for 3.
    #[must_use]
    pub const fn from_bits(bits: u8) -> Option<Qos> {
        match bits {
            0 => Some(Qos::AtMostOnce),
            1 => Some(Qos::AtLeastOnce),
            2 => Some(Qos::ExactlyOnce),
            _ => None,
        }
    }
}

/// An application message. Immutable once published and shared by every queue that holds it
/// (`Arc<Message>`); what differs per receiver is in the broker's delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The final topic: mount applied, as the broker knows it.
    pub topic: TopicName,
    /// At most 256 MiB by MQTT's format. Owns its bytes: never a slice of a read buffer.
    pub payload: Bytes,
    /// As published; a delivery's is the lower of this and the granted one.
    pub qos: Qos,
    /// As published.
    pub retain: bool,
    /// When the message stops being worth delivering (MQTT 5 §3.3.2.3.3).
    pub expires: Option<Instant>,
    /// The session that published it; "no local" compares it (MQTT 5 §3.8.3.1).
    pub publisher: Option<SessionKey>,
    /// What few messages carry.
    pub properties: Option<Box<Properties>>,
}

/// What a message may carry besides topic and payload; forwarded unaltered
/// (MQTT-3.3.2-4, -15…-18, -20).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Properties {
    /// Payload Format Indicator: the payload is UTF-8.
    pub payload_utf8: Option<bool>,
    /// Content Type.
    pub content_type: Option<Box<str>>,
    /// CoAP's number for it, when the value came over CoAP (RFC 7252 §12.3).
    pub content_format: Option<u16>,
    /// Response Topic: a topic name, kept as text.
    pub response_topic: Option<Box<str>>,
    /// Correlation Data.
    pub correlation_data: Option<Bytes>,
    /// User Properties, in order, duplicates kept.
    pub user: Vec<(Box<str>, Box<str>)>,
}

impl Message {
    /// A QoS 0 message without properties.
    #[must_use]
    pub fn new(topic: TopicName, payload: Bytes) -> Self {
        Message {
            topic,
            payload,
            qos: Qos::AtMostOnce,
            retain: false,
            expires: None,
            publisher: None,
            properties: None,
        }
    }

    /// Bytes that a queue or an outbox is charged for it.
    #[must_use]
    pub fn size(&self) -> usize {
        self.topic.as_str().len() + self.payload.len()
    }

    /// Whether it has expired at `now`.
    #[must_use]
    pub fn is_expired(&self, now: Instant) -> bool {
        self.expires.is_some_and(|at| at <= now)
    }

    /// Appends the journal's form: expiry as wall-clock milliseconds.
    pub fn encode(&self, turn: &Turn, out: &mut Writer) {
        out.u8(FORMAT);
        out.str(self.topic.as_str());
        out.bytes(&self.payload);
        out.u8(self.qos as u8 | u8::from(self.retain) << 2);
        out.option(self.expires, |out, at| out.u64(turn.to_wall(at).as_millis()));
        out.option(self.publisher.as_ref(), |out, key| out.str(key.as_str()));
        out.option(self.properties.as_ref(), |out, p| p.encode(out));
    }

    /// Reads what [`encode`](Self::encode) wrote; `None` when it is damaged or newer.
    #[must_use]
    pub fn decode(turn: &Turn, input: &mut Reader<'_>) -> Option<Message> {
        if input.u8()? != FORMAT {
            return None;
        }
        let topic = TopicName::lenient(input.str()?).ok()?; // judged when it came
        let payload = Bytes::copy_from_slice(input.bytes()?);
        let flags = input.u8()?;
        let expires =
            input.option(Reader::u64)?.map(|ms| turn.from_wall(crate::Wall::from_millis(ms)));
        let publisher = match input.option(Reader::str)? {
            Some(text) => Some(SessionKey::from_text(text)?),
            None => None,
        };
        let properties = input.option(Properties::decode)?.map(Box::new);
        Some(Message {
            topic,
            payload,
            qos: Qos::from_bits(flags & 3)?,
            retain: flags & 4 != 0,
            expires,
            publisher,
            properties,
        })
    }
}

/// Version of the journal's form of a message.
const FORMAT: u8 = 1;

impl Properties {
    /// Whether nothing is set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Properties::default()
    }

    fn encode(&self, out: &mut Writer) {
        out.option(self.payload_utf8, |out, utf8| out.u8(u8::from(utf8)));
        out.option(self.content_type.as_ref(), |out, text| out.str(text));
        out.option(self.content_format, |out, number| out.u64(u64::from(number)));
        out.option(self.response_topic.as_ref(), |out, text| out.str(text));
        out.option(self.correlation_data.as_ref(), |out, data| out.bytes(data));
        out.u64(self.user.len() as u64);
        for (name, value) in &self.user {
            out.str(name);
            out.str(value);
        }
    }

    fn decode(input: &mut Reader<'_>) -> Option<Properties> {
        let mut properties = Properties {
            payload_utf8: input.option(Reader::u8)?.map(|b| b != 0),
            content_type: input.option(Reader::str)?.map(Into::into),
            content_format: match input.option(Reader::u64)? {
                Some(number) => Some(u16::try_from(number).ok()?),
                None => None,
            },
            response_topic: input.option(Reader::str)?.map(Into::into),
            correlation_data: input.option(Reader::bytes)?.map(Bytes::copy_from_slice),
            user: Vec::new(),
        };
        for _ in 0..input.u64()? {
            properties.user.push((input.str()?.into(), input.str()?.into()));
        }
        Some(properties)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Wall;
    use alloc::vec;
    use core::time::Duration;

    fn turn() -> Turn {
        Turn::new(Instant::from_secs(100), Wall::from_millis(1_700_000_000_000))
    }

    fn full() -> Message {
        let mut message = Message::new(TopicName::new("a/b").unwrap(), Bytes::from_static(b"21.5"));
        message.qos = Qos::ExactlyOnce;
        message.retain = true;
        message.expires = Some(Instant::from_secs(160));
        message.publisher = Some(SessionKey::new("mqtt", "me"));
        message.properties = Some(Box::new(Properties {
            payload_utf8: Some(true),
            content_type: Some("text/plain".into()),
            content_format: Some(0),
            response_topic: Some("re/ply".into()),
            correlation_data: Some(Bytes::from_static(&[0, 1])),
            user: vec![("k".into(), "v".into()), ("k".into(), "w".into())],
        }));
        message
    }

    #[test]
    fn the_journal_form_round_trips() {
        for message in [Message::new(TopicName::new("/").unwrap(), Bytes::new()), full()] {
            let mut out = Writer::default();
            message.encode(&turn(), &mut out);
            let bytes = out.into_vec();
            assert_eq!(Message::decode(&turn(), &mut Reader::new(&bytes)), Some(message));
            for cut in 0..bytes.len() {
                assert_eq!(Message::decode(&turn(), &mut Reader::new(&bytes[..cut])), None);
            }
        }
    }

    #[test]
    fn expiry_is_kept_on_the_wall_clock() {
        let mut out = Writer::default();
        full().encode(&turn(), &mut out);
        // A restart ten seconds later, with a clock that starts anew.
        let later = Turn::new(Instant::from_secs(1), Wall::from_millis(1_700_000_010_000));
        let bytes = out.into_vec();
        let back = Message::decode(&later, &mut Reader::new(&bytes)).unwrap();
        assert_eq!(back.expires, Some(Instant::from_secs(1) + Duration::from_secs(50)));
    }
}
