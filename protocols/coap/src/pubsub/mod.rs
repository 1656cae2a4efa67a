//! Topic properties of draft-ietf-core-coap-pubsub (§2.2.1, §4): what a topic's configuration is made
//! of, and how it is written as `application/core-pubsub+cbor`.
//!
//! [`Properties`] is a configuration, a part of one or a filter of topics: a CBOR map from the keys
//! of the draft's table. [`Keys`] names some of them, as the body of a FETCH does. Reading is strict:
//! a key that is not in the table, one that stands twice, a value of another type or beyond its range
//! is an error that says so (§2.4.3: "invalid, unrecognized"). Written is the deterministic encoding
//! (RFC 8949 §4.2.1). Which properties a request needs, and what they mean for a topic, is for the
//! layer above.

mod read;
mod write;

use alloc::string::String;
use alloc::vec::Vec;
use bytes::Bytes;

/// Content-Format of `application/core-pubsub+cbor` (§6.2: TBD606).
pub const CONTENT_FORMAT: u16 = 606;

/// Resource type of a broker (§6.3).
pub const BROKER: &str = "core.ps";
/// Resource type of a topic collection.
pub const COLLECTION: &str = "core.ps.coll";
/// Resource type of a topic.
pub const TOPIC: &str = "core.ps.conf";
/// Resource type of a topic's data.
pub const DATA: &str = "core.ps.data";

/// A property, by its CBOR key (§4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// 0, tstr.
    TopicName,
    /// 1, tstr.
    TopicData,
    /// 2, tstr.
    ResourceType,
    /// 3, uint.
    TopicContentFormat,
    /// 4, tstr.
    TopicType,
    /// 5, #6.1(number).
    ExpirationDate,
    /// 6, uint.
    MaxSubscribers,
    /// 7, uint.
    ObserverCheck,
    /// 8, bstr.
    Initialize,
}

impl Key {
    /// In the order of their numbers.
    pub const ALL: [Key; 9] = [
        Key::TopicName,
        Key::TopicData,
        Key::ResourceType,
        Key::TopicContentFormat,
        Key::TopicType,
        Key::ExpirationDate,
        Key::MaxSubscribers,
        Key::ObserverCheck,
        Key::Initialize,
    ];

    /// The draft's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Key::TopicName => "topic-name",
            Key::TopicData => "topic-data",
            Key::ResourceType => "resource-type",
            Key::TopicContentFormat => "topic-content-format",
            Key::TopicType => "topic-type",
            Key::ExpirationDate => "expiration-date",
            Key::MaxSubscribers => "max-subscribers",
            Key::ObserverCheck => "observer-check",
            Key::Initialize => "initialize",
        }
    }

    const fn bit(self) -> u16 {
        1 << self as u16
    }
}

/// Some of the properties.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Keys(u16);

impl Keys {
    /// Whether this one is among them.
    #[must_use]
    pub const fn has(self, key: Key) -> bool {
        self.0 & key.bit() != 0
    }

    /// Adds one; whether it was not there.
    const fn insert(&mut self, key: Key) -> bool {
        let new = !self.has(key);
        self.0 |= key.bit();
        new
    }
}

/// A point in time: milliseconds since 1970-01-01T00:00Z, up to the year 9999.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Date(u64);

impl Date {
    /// The last second of the year 9999.
    const MAX: u64 = 253_402_300_799_000;

    /// `None` beyond the year 9999.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Option<Date> {
        if millis <= Date::MAX { Some(Date(millis)) } else { None }
    }

    /// Milliseconds since the epoch.
    #[must_use]
    pub const fn as_millis(self) -> u64 {
        self.0
    }
}

/// Topic properties (§2.2.1), each of which may be missing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Properties {
    /// What the application calls the topic; never empty.
    pub topic_name: Option<String>,
    /// URI reference of the data.
    pub topic_data: Option<String>,
    /// Resource type of the data: one word.
    pub resource_type: Option<String>,
    /// Content-Format of the data.
    pub topic_content_format: Option<u16>,
    /// What the data is.
    pub topic_type: Option<String>,
    /// When the topic ends.
    pub expiration_date: Option<Date>,
    /// How many may subscribe at a time.
    pub max_subscribers: Option<u64>,
    /// Seconds between two confirmable notifications at most; never zero.
    pub observer_check: Option<u64>,
    /// The data that the topic begins with.
    pub initialize: Option<Bytes>,
}

/// What is wrong with a body.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PropertyError {
    /// Not CBOR, or not one item.
    #[error("the body is no CBOR: {0}")]
    Syntax(String),
    /// Something else than a map (or, in a FETCH of a topic, an array).
    #[error("the body is {0}")]
    Shape(&'static str),
    /// A key that the table does not have.
    #[error("{0} is no topic property: the keys are 0 to 8")]
    Unknown(String),
    /// A key that stands twice.
    #[error("{name} is there twice", name = .0.as_str())]
    Twice(Key),
    /// A value of another type, or out of range.
    #[error("{} is {what}", .key.as_str())]
    Value {
        /// Of which property.
        key: Key,
        /// What it has to be.
        what: &'static str,
    },
}

impl Properties {
    /// Which properties are there.
    #[must_use]
    pub fn keys(&self) -> Keys {
        let mut keys = Keys::default();
        for key in Key::ALL {
            let there = match key {
                Key::TopicName => self.topic_name.is_some(),
                Key::TopicData => self.topic_data.is_some(),
                Key::ResourceType => self.resource_type.is_some(),
                Key::TopicContentFormat => self.topic_content_format.is_some(),
                Key::TopicType => self.topic_type.is_some(),
                Key::ExpirationDate => self.expiration_date.is_some(),
                Key::MaxSubscribers => self.max_subscribers.is_some(),
                Key::ObserverCheck => self.observer_check.is_some(),
                Key::Initialize => self.initialize.is_some(),
            };
            if there {
                keys.insert(key);
            }
        }
        keys
    }

    /// Whether each property of the filter is here with the same value (§2.4.2).
    #[must_use]
    pub fn matches(&self, filter: &Properties) -> bool {
        fn fits<T: PartialEq>(own: Option<&T>, wanted: Option<&T>) -> bool {
            wanted.is_none() || own == wanted
        }
        fits(self.topic_name.as_ref(), filter.topic_name.as_ref())
            && fits(self.topic_data.as_ref(), filter.topic_data.as_ref())
            && fits(self.resource_type.as_ref(), filter.resource_type.as_ref())
            && fits(self.topic_content_format.as_ref(), filter.topic_content_format.as_ref())
            && fits(self.topic_type.as_ref(), filter.topic_type.as_ref())
            && fits(self.expiration_date.as_ref(), filter.expiration_date.as_ref())
            && fits(self.max_subscribers.as_ref(), filter.max_subscribers.as_ref())
            && fits(self.observer_check.as_ref(), filter.observer_check.as_ref())
            && fits(self.initialize.as_ref(), filter.initialize.as_ref())
    }

    /// What a change says replaces what was there; the rest stays (iPATCH, §2.5.4).
    pub fn patch(&mut self, change: Properties) {
        fn replace<T>(own: &mut Option<T>, new: Option<T>) {
            if new.is_some() {
                *own = new;
            }
        }
        replace(&mut self.topic_name, change.topic_name);
        replace(&mut self.topic_data, change.topic_data);
        replace(&mut self.resource_type, change.resource_type);
        replace(&mut self.topic_content_format, change.topic_content_format);
        replace(&mut self.topic_type, change.topic_type);
        replace(&mut self.expiration_date, change.expiration_date);
        replace(&mut self.max_subscribers, change.max_subscribers);
        replace(&mut self.observer_check, change.observer_check);
        replace(&mut self.initialize, change.initialize);
    }

    /// Bytes of its texts and data.
    #[must_use]
    pub fn size(&self) -> usize {
        let texts = [&self.topic_name, &self.topic_data, &self.resource_type, &self.topic_type];
        let text: usize = texts.iter().map(|text| text.as_ref().map_or(0, String::len)).sum();
        text + self.initialize.as_ref().map_or(0, Bytes::len)
    }
}

/// The segments of a URI reference that is an absolute path (RFC 3986 §3.3), decoded once: a
/// resource of the server that says it. `None` for all else, those with a query too.
#[must_use]
pub fn local_path(reference: &str) -> Option<Vec<String>> {
    let path = reference.strip_prefix('/').filter(|path| !path.starts_with('/'))?;
    if path.contains(['?', '#']) {
        return None;
    }
    path.split('/').map(decode_segment).collect()
}

fn decode_segment(segment: &str) -> Option<String> {
    let mut out = Vec::with_capacity(segment.len());
    let mut bytes = segment.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
        let (high, low) = (digit(bytes.next())?, digit(bytes.next())?);
        out.push(u8::try_from(high << 4 | low).ok()?);
    }
    String::from_utf8(out).ok()
}

/// Whether a URI reference names a resource of another server: a scheme of CoAP and an authority.
#[must_use]
pub fn is_remote(reference: &str) -> bool {
    let Some((scheme, rest)) = reference.split_once("://") else { return false };
    let schemes = ["coap", "coaps", "coap+tcp", "coaps+tcp", "coap+ws", "coaps+ws"];
    let known = schemes.iter().any(|known| known.eq_ignore_ascii_case(scheme));
    let clean = |c: char| !c.is_control() && !matches!(c, ' ' | '<' | '>' | '"' | '#');
    known && !rest.is_empty() && !rest.starts_with('/') && rest.chars().all(clean)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_is_local_remote_or_nothing() {
        let segments = |reference| local_path(reference);
        assert_eq!(segments("/ps/data/1bd0d6d").unwrap(), ["ps", "data", "1bd0d6d"]);
        assert_eq!(segments("/a%2Fb/%C3%A9/").unwrap(), ["a/b", "é", ""]);
        for none in ["ps/data", "//host/a", "/a?b", "/a#b", "/%", "/%4", "/%zz", "/%ff", ""] {
            assert_eq!(segments(none), None, "{none}");
        }
        assert!(is_remote("coap://[2001:db8::1]:5683/a?b") && is_remote("CoAPs+TCP://h/"));
        for no in ["coap:///a", "coap://", "http://h/a", "/a", "coap://h/a b", "coap://h/\"", ""] {
            assert!(!is_remote(no), "{no}");
        }
    }

    #[test]
    fn a_filter_is_a_part_of_what_it_takes() {
        let topic = Properties {
            topic_name: Some("a".into()),
            resource_type: Some(DATA.into()),
            max_subscribers: Some(3),
            ..Properties::default()
        };
        let of = |name: &str, max| Properties {
            topic_name: Some(name.into()),
            max_subscribers: max,
            ..Properties::default()
        };
        assert!(topic.matches(&Properties::default()));
        assert!(topic.matches(&of("a", Some(3))) && topic.matches(&of("a", None)));
        assert!(!topic.matches(&of("b", None)) && !topic.matches(&of("a", Some(4))));
        let absent = Properties { observer_check: Some(5), ..Properties::default() };
        assert!(!topic.matches(&absent));
        let mut patched = topic.clone();
        patched.patch(of("c", None));
        assert_eq!(patched, Properties { topic_name: Some("c".into()), ..topic });
    }
}
