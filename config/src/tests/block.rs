//! The `tests` block as it is written.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize as Derive;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::part::{CodeText, Hex, MethodWord, ReasonWord, SnQos};
use crate::value::Typed;

type Text = Option<Typed<String>>;
type Number = Option<Typed<u64>>;
type Flag = Option<Typed<bool>>;
type HexText = Option<Typed<Hex>>;

/// A test of the mapping.
#[derive(Debug, Default, Derive, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Test {
    /// What it is about; unique.
    #[schemars(extend("required" = true))]
    pub(crate) name: Text,
    /// What there is before, on a gateway that holds nothing else.
    pub(crate) given: Option<Given>,
    /// A CoAP request; one of `coap`, `mqttsn` and `mqtt` must be there.
    pub(crate) coap: Option<Coap>,
    /// A message of an MQTT-SN client.
    pub(crate) mqttsn: Option<MqttSn>,
    /// A message of an MQTT client.
    pub(crate) mqtt: Option<Mqtt>,
    /// What must come of it.
    pub(crate) expect: Option<Expect>,
}

/// What there is before.
#[derive(Debug, Default, Derive, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Given {
    /// Retained messages.
    pub(crate) retained: Option<OneOrSome<Retained>>,
    /// CoAP clients that observe.
    pub(crate) observe: Option<OneOrSome<Observe>>,
    /// MQTT-SN clients that have subscribed.
    pub(crate) subscribe: Option<OneOrSome<Subscribe>>,
    /// MQTT-SN clients that have subscribed and sleep; they wake when all else has happened.
    pub(crate) sleep: Option<OneOrSome<Subscribe>>,
}

/// A retained message.
#[derive(Debug, Default, Derive, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Retained {
    /// Its final topic.
    #[schemars(extend("required" = true))]
    pub(crate) topic: Text,
    /// Its payload.
    #[schemars(extend("otherwise" = "empty"))]
    pub(crate) json: Anything,
    /// The same as text.
    #[schemars(extend("otherwise" = "empty"))]
    pub(crate) text: Text,
    /// The same in hexadecimal digits.
    #[schemars(extend("otherwise" = "empty"))]
    pub(crate) hex: HexText,
    /// Content Type.
    #[schemars(extend("otherwise" = "none"))]
    pub(crate) content_type: Text,
}

/// A CoAP client that observes.
#[derive(Debug, Default, Derive, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Observe {
    /// The listener that it asks.
    #[schemars(extend("otherwise" = "the first one for CoAP"))]
    pub(crate) listener: Text,
    /// `{client}`, whatever the listener knows clients by.
    #[schemars(extend("otherwise" = "as the listener says"))]
    pub(crate) client: Text,
    /// Path, percent-encoded as in a URI.
    #[schemars(extend("required" = true))]
    pub(crate) path: Text,
    /// Query: `a=b&c=d`.
    #[schemars(extend("otherwise" = "none"))]
    pub(crate) query: Text,
    /// Accept: a Content-Format.
    #[schemars(extend("otherwise" = "none", "range" = "0 to 65535"))]
    pub(crate) accept: Number,
}

/// An MQTT-SN client that has subscribed.
#[derive(Debug, Default, Derive, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Subscribe {
    /// The listener that it is connected to.
    #[schemars(extend("otherwise" = "the first one for MQTT-SN"))]
    pub(crate) listener: Text,
    /// Client id.
    #[schemars(extend("required" = true))]
    pub(crate) client: Text,
    /// Name or filter; one of `topic`, `topic_id` and `short` must be there.
    #[schemars(extend("otherwise" = "see `topic_id`, `short`"))]
    pub(crate) topic: Text,
    /// Pre-defined topic id.
    #[schemars(extend("otherwise" = "see `topic`, `short`", "range" = "0 to 65535"))]
    pub(crate) topic_id: Number,
    /// Two characters.
    #[schemars(extend("otherwise" = "see `topic`, `topic_id`"))]
    pub(crate) short: Text,
    /// Highest QoS.
    #[schemars(extend("default" = "1", "range" = "0 to 2"))]
    pub(crate) qos: Number,
}

/// A CoAP request.
#[derive(Debug, Default, Derive, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Coap {
    /// The listener that is asked.
    #[schemars(extend("otherwise" = "the first one for CoAP"))]
    pub(crate) listener: Text,
    /// `{client}`, whatever the listener knows clients by.
    #[schemars(extend("otherwise" = "as the listener says"))]
    pub(crate) client: Text,
    /// OBSERVE is GET with Observe 0.
    #[schemars(extend("default" = "GET"))]
    pub(crate) method: Option<Typed<MethodWord>>,
    /// Path, percent-encoded as in a URI.
    #[schemars(extend("required" = true))]
    pub(crate) path: Text,
    /// Query: `a=b&c=d`.
    #[schemars(extend("otherwise" = "none"))]
    pub(crate) query: Text,
    /// Payload, sent as JSON (50).
    #[schemars(extend("otherwise" = "no payload"))]
    pub(crate) json: Anything,
    /// Payload, sent as text (0).
    #[schemars(extend("otherwise" = "no payload"))]
    pub(crate) text: Text,
    /// Payload in hexadecimal digits.
    #[schemars(extend("otherwise" = "no payload"))]
    pub(crate) hex: HexText,
    /// Payload, written as JSON and sent as CBOR (60).
    #[schemars(extend("otherwise" = "no payload"))]
    pub(crate) cbor: Anything,
    /// A pack, written as JSON and sent as SenML (110, or 112 with `content_format`).
    #[schemars(extend("otherwise" = "no payload"))]
    pub(crate) senml: Anything,
    /// Content-Format.
    #[schemars(extend("otherwise" = "that of the payload", "range" = "0 to 65535"))]
    pub(crate) content_format: Number,
    /// Accept: a Content-Format.
    #[schemars(extend("otherwise" = "none", "range" = "0 to 65535"))]
    pub(crate) accept: Number,
    /// CON, or NON.
    #[schemars(extend("default" = "true"))]
    pub(crate) confirmable: Flag,
}

/// A message of an MQTT-SN client.
#[derive(Debug, Default, Derive, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct MqttSn {
    /// The listener that it is sent to.
    #[schemars(extend("otherwise" = "the first one for MQTT-SN"))]
    pub(crate) listener: Text,
    /// Client id; must be there unless `qos` is -1.
    #[schemars(extend("otherwise" = "none"))]
    pub(crate) client: Text,
    /// Name, registered first; one of `topic`, `topic_id` and `short` must be there.
    #[schemars(extend("otherwise" = "see `topic_id`, `short`"))]
    pub(crate) topic: Text,
    /// Pre-defined topic id.
    #[schemars(extend("otherwise" = "see `topic`, `short`", "range" = "0 to 65535"))]
    pub(crate) topic_id: Number,
    /// Two characters.
    #[schemars(extend("otherwise" = "see `topic`, `topic_id`"))]
    pub(crate) short: Text,
    /// -1 is without a connection.
    #[schemars(extend("default" = "0"))]
    pub(crate) qos: Option<Typed<SnQos>>,
    /// RETAIN.
    #[schemars(extend("default" = "false"))]
    pub(crate) retain: Flag,
    /// Payload, as JSON.
    #[schemars(extend("otherwise" = "no payload"))]
    pub(crate) json: Anything,
    /// Payload, as text.
    #[schemars(extend("otherwise" = "no payload"))]
    pub(crate) text: Text,
    /// Payload in hexadecimal digits.
    #[schemars(extend("otherwise" = "no payload"))]
    pub(crate) hex: HexText,
}

/// A message of an MQTT client.
#[derive(Debug, Default, Derive, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Mqtt {
    /// The listener that it is sent to, whose mount goes before the topic.
    #[schemars(extend("otherwise" = "none: the topic is final"))]
    pub(crate) listener: Text,
    /// Client id.
    #[schemars(extend("default" = "test"))]
    pub(crate) client: Text,
    /// Topic.
    #[schemars(extend("required" = true))]
    pub(crate) topic: Text,
    /// QoS.
    #[schemars(extend("default" = "1", "range" = "0 to 2"))]
    pub(crate) qos: Number,
    /// RETAIN.
    #[schemars(extend("default" = "false"))]
    pub(crate) retain: Flag,
    /// User properties.
    #[schemars(extend("otherwise" = "none"))]
    pub(crate) user: Option<BTreeMap<String, Typed<String>>>,
    /// Content Type.
    #[schemars(extend("otherwise" = "`application/json` with `json`, else none"))]
    pub(crate) content_type: Text,
    /// Payload, as JSON.
    #[schemars(extend("otherwise" = "no payload"))]
    pub(crate) json: Anything,
    /// Payload, as text.
    #[schemars(extend("otherwise" = "no payload"))]
    pub(crate) text: Text,
    /// Payload in hexadecimal digits.
    #[schemars(extend("otherwise" = "no payload"))]
    pub(crate) hex: HexText,
}

/// What must come of it; what is not written is not looked at.
#[derive(Debug, Default, Derive, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Expect {
    /// CoAP's answer: `2.01`.
    #[schemars(extend("otherwise" = "any"))]
    pub(crate) code: Option<Typed<CodeText>>,
    /// What is in CoAP's answer.
    pub(crate) answer: Option<Answer>,
    /// Why it is refused or dropped: a word of the list that logs and counters use.
    #[schemars(extend("otherwise" = "any"))]
    pub(crate) refused: Option<Typed<ReasonWord>>,
    /// Final topic of the one message that is published.
    #[schemars(extend("otherwise" = "any"))]
    pub(crate) topic: Text,
    /// Whether it is retained.
    #[schemars(extend("otherwise" = "either"))]
    pub(crate) retain: Flag,
    /// Its QoS.
    #[schemars(extend("otherwise" = "any", "range" = "0 to 2"))]
    pub(crate) qos: Number,
    /// When it expires.
    #[schemars(extend("otherwise" = "any"))]
    pub(crate) expiry: Option<Typed<Duration>>,
    /// User properties that it has, among others.
    #[schemars(extend("otherwise" = "any"))]
    pub(crate) user: Option<BTreeMap<String, Typed<String>>>,
    /// Its payload, compared by value.
    #[schemars(extend("otherwise" = "any"))]
    pub(crate) json: Anything,
    /// Its payload, as text.
    #[schemars(extend("otherwise" = "any"))]
    pub(crate) text: Text,
    /// Its payload in hexadecimal digits.
    #[schemars(extend("otherwise" = "any"))]
    pub(crate) hex: HexText,
    /// All messages that are published, in order; `[]`: none.
    pub(crate) messages: Option<Vec<Message>>,
    /// What observers are told, each at least so; `[]`: nothing.
    pub(crate) notify: Option<OneOrSome<Notify>>,
    /// What MQTT-SN clients are sent, each at least so; `[]`: nothing.
    pub(crate) deliver: Option<OneOrSome<Deliver>>,
    /// The CoAP path that reads the topic of the message.
    #[schemars(extend("otherwise" = "any"))]
    pub(crate) coap_path: Text,
    /// Its line in `.well-known/core`; attributes that are not written are not looked at.
    #[schemars(extend("otherwise" = "any"))]
    pub(crate) link: Text,
}

/// What is in CoAP's answer.
#[derive(Debug, Default, Derive, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Answer {
    /// Content-Format.
    #[schemars(extend("otherwise" = "any", "range" = "0 to 65535"))]
    pub(crate) content_format: Number,
    /// Its payload, compared by value; CBOR is read as such.
    #[schemars(extend("otherwise" = "any"))]
    pub(crate) json: Anything,
    /// Its payload, as text.
    #[schemars(extend("otherwise" = "any"))]
    pub(crate) text: Text,
    /// Its payload in hexadecimal digits.
    #[schemars(extend("otherwise" = "any"))]
    pub(crate) hex: HexText,
}

/// A message that is published.
#[derive(Debug, Default, Derive, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Message {
    /// Final topic.
    #[schemars(extend("otherwise" = "any"))]
    pub(crate) topic: Text,
    /// Whether it is retained.
    #[schemars(extend("otherwise" = "either"))]
    pub(crate) retain: Flag,
    /// QoS.
    #[schemars(extend("otherwise" = "any", "range" = "0 to 2"))]
    pub(crate) qos: Number,
    /// When it expires.
    #[schemars(extend("otherwise" = "any"))]
    pub(crate) expiry: Option<Typed<Duration>>,
    /// User properties that it has, among others.
    #[schemars(extend("otherwise" = "any"))]
    pub(crate) user: Option<BTreeMap<String, Typed<String>>>,
    /// Payload, compared by value.
    #[schemars(extend("otherwise" = "any"))]
    pub(crate) json: Anything,
    /// Payload, as text.
    #[schemars(extend("otherwise" = "any"))]
    pub(crate) text: Text,
    /// Payload in hexadecimal digits.
    #[schemars(extend("otherwise" = "any"))]
    pub(crate) hex: HexText,
}

/// What an observer is told.
#[derive(Debug, Default, Derive, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Notify {
    /// Which client of `given.observe`.
    #[schemars(extend("otherwise" = "any"))]
    pub(crate) client: Text,
    /// Which path of it.
    #[schemars(extend("otherwise" = "any"))]
    pub(crate) path: Text,
    /// Code: `2.05`.
    #[schemars(extend("otherwise" = "any"))]
    pub(crate) code: Option<Typed<CodeText>>,
    /// Content-Format.
    #[schemars(extend("otherwise" = "any", "range" = "0 to 65535"))]
    pub(crate) content_format: Number,
    /// Payload, compared by value; CBOR is read as such.
    #[schemars(extend("otherwise" = "any"))]
    pub(crate) json: Anything,
    /// Payload, as text.
    #[schemars(extend("otherwise" = "any"))]
    pub(crate) text: Text,
    /// Payload in hexadecimal digits.
    #[schemars(extend("otherwise" = "any"))]
    pub(crate) hex: HexText,
}

/// What an MQTT-SN client is sent.
#[derive(Debug, Default, Derive, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Deliver {
    /// Which client of `given.subscribe` and `given.sleep`.
    #[schemars(extend("otherwise" = "any"))]
    pub(crate) client: Text,
    /// The name that the topic is registered under.
    #[schemars(extend("otherwise" = "any"))]
    pub(crate) topic: Text,
    /// The pre-defined id that it is sent by.
    #[schemars(extend("otherwise" = "any", "range" = "0 to 65535"))]
    pub(crate) topic_id: Number,
    /// The two characters that it is sent by.
    #[schemars(extend("otherwise" = "any"))]
    pub(crate) short: Text,
    /// RETAIN.
    #[schemars(extend("otherwise" = "either"))]
    pub(crate) retain: Flag,
    /// QoS.
    #[schemars(extend("otherwise" = "any", "range" = "0 to 2"))]
    pub(crate) qos: Number,
    /// Payload, compared by value.
    #[schemars(extend("otherwise" = "any"))]
    pub(crate) json: Anything,
    /// Payload, as text.
    #[schemars(extend("otherwise" = "any"))]
    pub(crate) text: Text,
    /// Payload in hexadecimal digits.
    #[schemars(extend("otherwise" = "any"))]
    pub(crate) hex: HexText,
}

/// A payload that is written as YAML: its value is read from the tree, whose types it keeps.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Anything;

impl<'de> Deserialize<'de> for Anything {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(deserializer).map(|_| Anything)
    }
}

impl JsonSchema for Anything {
    fn schema_name() -> Cow<'static, str> {
        "Anything".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"anything": true, "what": "any value"})
    }
}

/// One block, or a list of them.
#[derive(Debug)]
pub(crate) enum OneOrSome<T> {
    One(Box<T>),
    Some(Vec<T>),
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for OneOrSome<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Blocks<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Blocks<T> {
            type Value = OneOrSome<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a block or a list of them")
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                let one = T::deserialize(MapAccessDeserializer::new(map))?;
                Ok(OneOrSome::One(Box::new(one)))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut all = Vec::new();
                while let Some(item) = seq.next_element()? {
                    all.push(item);
                }
                Ok(OneOrSome::Some(all))
            }
        }
        deserializer.deserialize_any(Blocks(PhantomData))
    }
}

impl<T: JsonSchema> JsonSchema for OneOrSome<T> {
    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let one = generator.subschema_for::<T>();
        json_schema!({"anyOf": [one, {"type": "array", "items": one}]})
    }
}
