//! Writing properties.

use alloc::vec::Vec;

use minicbor::Encoder;
use minicbor::data::IanaTag;

use super::{Key, Keys, Properties};

type Written<'e> =
    Result<&'e mut Encoder<Vec<u8>>, minicbor::encode::Error<core::convert::Infallible>>;

impl Properties {
    /// As `application/core-pubsub+cbor`.
    #[must_use]
    pub fn to_cbor(&self) -> Vec<u8> {
        self.part(self.keys())
    }

    /// Those of the properties that are asked for and there (§2.5.2).
    #[must_use]
    pub fn part(&self, wanted: Keys) -> Vec<u8> {
        let own = self.keys();
        let keys = Key::ALL.into_iter().filter(|key| own.has(*key) && wanted.has(*key));
        let mut encoder = Encoder::new(Vec::new());
        // What is written into memory does not fail.
        let _ = encoder.map(keys.clone().count() as u64);
        for key in keys {
            let _ = self.entry(key, &mut encoder);
        }
        encoder.into_writer()
    }

    fn entry<'e>(&self, key: Key, encoder: &'e mut Encoder<Vec<u8>>) -> Written<'e> {
        let encoder = encoder.u8(key as u8)?;
        match key {
            Key::TopicName => encoder.str(self.topic_name.as_deref().unwrap_or_default()),
            Key::TopicData => encoder.str(self.topic_data.as_deref().unwrap_or_default()),
            Key::ResourceType => encoder.str(self.resource_type.as_deref().unwrap_or_default()),
            Key::TopicContentFormat => encoder.u16(self.topic_content_format.unwrap_or_default()),
            Key::TopicType => encoder.str(self.topic_type.as_deref().unwrap_or_default()),
            Key::ExpirationDate => {
                // RFC 8949 §3.4.2: an integer, or a float where there is a fraction.
                let millis = self.expiration_date.map_or(0, super::Date::as_millis);
                let encoder = encoder.tag(IanaTag::Timestamp)?;
                #[allow(clippy::cast_precision_loss)] // below 2^53
                match millis % 1_000 {
                    0 => encoder.u64(millis / 1_000),
                    _ => encoder.f64(millis as f64 / 1_000.0),
                }
            }
            Key::MaxSubscribers => encoder.u64(self.max_subscribers.unwrap_or_default()),
            Key::ObserverCheck => encoder.u64(self.observer_check.unwrap_or_default()),
            Key::Initialize => encoder.bytes(self.initialize.as_deref().unwrap_or_default()),
        }
    }
}
