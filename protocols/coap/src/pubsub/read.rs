//! Reading properties, and the keys of a FETCH.

use alloc::borrow::ToOwned;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use bytes::Bytes;

use minicbor::Decoder;
use minicbor::data::{IanaTag, Type};

use super::{Date, Key, Keys, Properties, PropertyError};

/// Most keys of a FETCH: a few more than there are.
const MAX_KEYS: usize = 64;

impl Properties {
    /// Reads a map of properties: a configuration, a part of one, or a filter.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn from_cbor(body: &[u8]) -> Result<Properties, PropertyError> {
        let mut reader = Reader(Decoder::new(body));
        if !matches!(reader.kind()?, Type::Map | Type::MapIndef) {
            return Err(PropertyError::Shape("no map of topic properties"));
        }
        let mut left = reader.get(Decoder::map)?;
        let (mut properties, mut seen) = (Properties::default(), Keys::default());
        while reader.more(&mut left)? {
            let key = reader.key()?;
            if !seen.insert(key) {
                return Err(PropertyError::Twice(key));
            }
            reader.property(key, &mut properties)?;
        }
        reader.end()?;
        Ok(properties)
    }
}

impl Keys {
    /// Reads the array of keys that the FETCH of a topic has (§2.5.2). Keys that the table does not
    /// have name nothing that could be there.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn from_cbor(body: &[u8]) -> Result<Keys, PropertyError> {
        let mut reader = Reader(Decoder::new(body));
        let shape = "no array of the keys of topic properties";
        if !matches!(reader.kind()?, Type::Array | Type::ArrayIndef) {
            return Err(PropertyError::Shape(shape));
        }
        let mut left = reader.get(Decoder::array)?;
        let (mut keys, mut count) = (Keys::default(), 0);
        while reader.more(&mut left)? {
            count += 1;
            if count > MAX_KEYS || !is_integer(reader.kind()?) {
                return Err(PropertyError::Shape(shape));
            }
            let number = reader.get(Decoder::int)?;
            let known = usize::try_from(i128::from(number)).ok().and_then(|n| Key::ALL.get(n));
            if let Some(key) = known {
                keys.insert(*key);
            }
        }
        reader.end()?;
        Ok(keys)
    }
}

struct Reader<'a>(Decoder<'a>);

impl<'a> Reader<'a> {
    fn get<T>(
        &mut self,
        f: impl FnOnce(&mut Decoder<'a>) -> Result<T, minicbor::decode::Error>,
    ) -> Result<T, PropertyError> {
        f(&mut self.0).map_err(|error| {
            PropertyError::Syntax(match error.is_end_of_input() {
                true => "it ends too early".to_owned(),
                false => error.to_string(),
            })
        })
    }

    fn kind(&mut self) -> Result<Type, PropertyError> {
        self.get(|decoder| decoder.datatype())
    }

    /// Whether another item follows; of an indefinite length up to its end.
    fn more(&mut self, left: &mut Option<u64>) -> Result<bool, PropertyError> {
        match left {
            Some(0) => Ok(false),
            Some(count) => {
                *count -= 1;
                Ok(true)
            }
            None if self.kind()? == Type::Break => {
                self.0.set_position(self.0.position() + 1);
                Ok(false)
            }
            None => Ok(true),
        }
    }

    fn end(&self) -> Result<(), PropertyError> {
        match self.0.position() == self.0.input().len() {
            true => Ok(()),
            false => Err(PropertyError::Syntax("something follows the item".to_owned())),
        }
    }

    fn key(&mut self) -> Result<Key, PropertyError> {
        let kind = self.kind()?;
        if !is_integer(kind) {
            return Err(PropertyError::Unknown(kind.to_string()));
        }
        let number = i128::from(self.get(Decoder::int)?);
        let known = usize::try_from(number).ok().and_then(|n| Key::ALL.get(n)).copied();
        known.ok_or_else(|| PropertyError::Unknown(number.to_string()))
    }

    fn property(&mut self, key: Key, into: &mut Properties) -> Result<(), PropertyError> {
        match key {
            Key::TopicName => into.topic_name = Some(self.text(key)?),
            Key::TopicData => into.topic_data = Some(self.text(key)?),
            Key::ResourceType => {
                let text = self.text(key)?;
                // RFC 6690 §2: a relation type of a list that spaces part.
                if text.chars().any(|c| c.is_whitespace() || c.is_control() || c == '"') {
                    return Err(PropertyError::Value { key, what: "one word" });
                }
                into.resource_type = Some(text);
            }
            Key::TopicContentFormat => {
                let number = self.uint(key)?;
                let what = "a Content-Format: 0 to 65535";
                let number = number.try_into().map_err(|_| PropertyError::Value { key, what })?;
                into.topic_content_format = Some(number);
            }
            Key::TopicType => into.topic_type = Some(self.text(key)?),
            Key::ExpirationDate => into.expiration_date = Some(self.date(key)?),
            Key::MaxSubscribers => into.max_subscribers = Some(self.uint(key)?),
            Key::ObserverCheck => match self.uint(key)? {
                0 => return Err(PropertyError::Value { key, what: "greater than 0" }),
                secs => into.observer_check = Some(secs),
            },
            Key::Initialize => into.initialize = Some(self.bytes(key)?),
        }
        Ok(())
    }

    fn text(&mut self, key: Key) -> Result<String, PropertyError> {
        let wrong = PropertyError::Value { key, what: "text that is not empty" };
        let text = match self.kind()? {
            Type::String => self.get(Decoder::str)?.to_owned(),
            Type::StringIndef => {
                let mut all = String::new();
                self.get(|decoder| {
                    decoder.str_iter()?.try_for_each(|chunk| chunk.map(|chunk| all.push_str(chunk)))
                })?;
                all
            }
            _ => return Err(wrong),
        };
        if text.is_empty() { Err(wrong) } else { Ok(text) }
    }

    fn bytes(&mut self, key: Key) -> Result<Bytes, PropertyError> {
        match self.kind()? {
            Type::Bytes => Ok(Bytes::copy_from_slice(self.get(Decoder::bytes)?)),
            Type::BytesIndef => {
                let mut all = Vec::new();
                self.get(|decoder| {
                    decoder.bytes_iter()?.try_for_each(|chunk| chunk.map(|chunk| all.extend(chunk)))
                })?;
                Ok(all.into())
            }
            _ => Err(PropertyError::Value { key, what: "a byte string" }),
        }
    }

    fn uint(&mut self, key: Key) -> Result<u64, PropertyError> {
        match self.kind()? {
            Type::U8 | Type::U16 | Type::U32 | Type::U64 => self.get(Decoder::u64),
            _ => Err(PropertyError::Value { key, what: "an unsigned integer" }),
        }
    }

    /// Tag 1 and a number (RFC 8949 §3.4.2).
    fn date(&mut self, key: Key) -> Result<Date, PropertyError> {
        let wrong = || PropertyError::Value {
            key,
            what: "a date: tag 1 and seconds since 1970, up to the year 9999",
        };
        if self.kind()? != Type::Tag || self.get(Decoder::tag)? != IanaTag::Timestamp.tag() {
            return Err(wrong());
        }
        let millis = match self.kind()? {
            Type::U8 | Type::U16 | Type::U32 | Type::U64 => {
                self.get(Decoder::u64)?.checked_mul(1_000)
            }
            Type::F16 | Type::F32 | Type::F64 => {
                let secs = self.get(Decoder::f64)?;
                // Not a number is in no range.
                #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
                (0.0..1e12).contains(&secs).then_some((secs * 1_000.0 + 0.5) as u64)
            }
            _ => None,
        };
        millis.and_then(Date::from_millis).ok_or_else(wrong)
    }
}

const fn is_integer(kind: Type) -> bool {
    matches!(
        kind,
        Type::U8
            | Type::U16
            | Type::U32
            | Type::U64
            | Type::I8
            | Type::I16
            | Type::I32
            | Type::I64
            | Type::Int
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pubsub::DATA;

    /// The example of draft-ietf-core-coap-pubsub §2.5.1, with the two properties that it has not.
    fn example() -> Properties {
        Properties {
            topic_name: Some("living-room-sensor".into()),
            topic_data: Some("/ps/data/1bd0d6d".into()),
            resource_type: Some(DATA.into()),
            topic_content_format: Some(112),
            topic_type: Some("temperature".into()),
            expiration_date: Date::from_millis(1_680_393_599_000),
            max_subscribers: Some(100),
            observer_check: Some(86_400),
            initialize: Some(Bytes::from_static(b"\x80")),
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let all = example().to_cbor();
        assert_eq!(&all[..3], [0xa9, 0x00, 0x72]);
        let date = [0x05, 0xc1, 0x1a, 0x64, 0x28, 0xc5, 0x7f, 0x06, 0x18, 100];
        assert!(all.windows(date.len()).any(|part| part == date), "{all:02x?}");
        assert!(all.ends_with(&[0x07, 0x1a, 0, 1, 0x51, 0x80, 0x08, 0x41, 0x80]));
        assert_eq!(Properties::from_cbor(&all).unwrap(), example());
        let keys = Keys::from_cbor(&[0x82, 1, 3]).unwrap();
        let part = Properties::from_cbor(&example().part(keys)).unwrap();
        assert_eq!(part.topic_data.as_deref(), Some("/ps/data/1bd0d6d"));
        assert_eq!((part.keys(), part.topic_content_format), (keys, Some(112)));
        let fraction =
            Properties { expiration_date: Date::from_millis(1_500), ..Properties::default() };
        assert_eq!(Properties::from_cbor(&fraction.to_cbor()).unwrap(), fraction);
    }

    #[test]
    fn other_encodings_of_the_same_are_read() {
        let name = |body: &[u8]| Properties::from_cbor(body).unwrap().topic_name;
        assert_eq!(name(b"\xbf\x00\x7f\x61a\x61b\xff\xff").as_deref(), Some("ab"));
        assert_eq!(name(b"\xa1\x18\x00\x78\x01a").as_deref(), Some("a"));
        assert_eq!(name(b"\xa0"), None);
        let date = |body: &[u8]| Properties::from_cbor(body).unwrap().expiration_date;
        assert_eq!(date(b"\xa1\x05\xc1\xf9\x3e\x00").unwrap().as_millis(), 1_500);
        assert_eq!(Keys::from_cbor(b"\x9f\x01\x18\x63\x20\xff").unwrap(), Keys(2), "99, -1");
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (body, text) in [
            (&b""[..], "ends too early"),
            (b"\xa1\x00", "ends too early"),
            (b"\xa0\x00", "something follows"),
            (b"\x80", "no map"),
            (b"\xa1\x09\x00", "9 is no topic property"),
            (b"\xa1\x20\x00", "-1 is no topic property"),
            (b"\xa1\x61a\x00", "string is no topic property"),
            (b"\xa2\x04\x61a\x04\x61a", "topic-type is there twice"),
            (b"\xa1\x00\x01", "topic-name is text"),
            (b"\xa1\x00\x60", "topic-name is text that is not empty"),
            (b"\xa1\x02\x63a b", "resource-type is one word"),
            (b"\xa1\x03\x1a\x00\x01\x00\x00", "0 to 65535"),
            (b"\xa1\x03\x20", "topic-content-format is an unsigned integer"),
            (b"\xa1\x05\x01", "expiration-date is a date"),
            (b"\xa1\x05\xc0\x61a", "expiration-date is a date"),
            (b"\xa1\x05\xc1\x20", "expiration-date is a date"),
            (b"\xa1\x05\xc1\xf9\x7e\x00", "expiration-date is a date"),
            (b"\xa1\x05\xc1\x1b\xff\xff\xff\xff\xff\xff\xff\xff", "expiration-date is a date"),
            (b"\xa1\x07\x00", "observer-check is greater than 0"),
            (b"\xa1\x08\x60", "initialize is a byte string"),
        ] {
            let error = Properties::from_cbor(body).unwrap_err().to_string();
            assert!(error.contains(text), "{body:02x?}: {error}");
        }
        for body in [&b"\xa0"[..], b"\x81\x61a", b"\x82\x01", b"\x80\x80"] {
            assert!(Keys::from_cbor(body).is_err(), "{body:02x?}");
        }
        let many = [&[0x98, 65][..], &[1; 65]].concat();
        assert!(Keys::from_cbor(&many).is_err());
    }
}
