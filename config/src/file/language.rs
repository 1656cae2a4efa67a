//! The language of rules: payload formats, and which path and topic id is which topic.

use std::collections::BTreeMap;

use motegate_mapping::{Action, OnBadPayload, Rate, Retain};
use motegate_message::Qos;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{Flag, Text, Time};
use crate::value::{EmptyWord, ExtraWord, IdTopic, OneOrMany, SplitWord, Typed, UnsafeWord};

/// A payload format of devices: one of `frame` and `cbor_keys`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Codec {
    /// Fields one after another, each `NAME: TYPE`, with `scale` (what an integer is multiplied by),
    /// `offset` (what is added then), `unit` and `bits` (names of single bits) as needed:
    /// `[{temp: i16be, scale: 0.01, unit: "°C"}, {hum: u8}]`.
    #[schemars(extend("otherwise" = "none; then there is `cbor_keys`"))]
    pub(crate) frame: Option<Vec<Field>>,
    /// Keys of a CBOR map and the names that they stand for: `{0: temp, 1: hum}`.
    #[schemars(extend("otherwise" = "none; then there is `frame`"))]
    pub(crate) cbor_keys: Option<BTreeMap<String, Typed<String>>>,
}

/// A field of a frame: `NAME: TYPE`, and what follows.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub(crate) struct Field {
    /// What an integer is multiplied by: a decimal number.
    #[schemars(extend("default" = "1"))]
    pub(crate) scale: Text,
    /// What is added to it then: a decimal number.
    #[schemars(extend("default" = "0"))]
    pub(crate) offset: Text,
    /// For people.
    #[schemars(extend("otherwise" = "none"))]
    pub(crate) unit: Text,
    /// Names of single bits of an unsigned field, 0 is the least significant: `{door: 0}`.
    #[schemars(extend("otherwise" = "none"))]
    pub(crate) bits: Option<BTreeMap<String, Typed<u64>>>,
    /// Its name, and its type: `u8`, `i16be`, `u32le` …
    #[serde(flatten)]
    pub(crate) name: BTreeMap<String, Typed<String>>,
}

/// Which path and which topic id is which topic.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Mappings {
    /// What holds where a rule says nothing.
    pub(crate) defaults: Option<MappingDefaults>,
    /// Ready rules of lowest priority: `passthrough` (`/PREFIX/…`, see `coap.prefix`), `core-pubsub`
    /// (draft-ietf-core-coap-pubsub: topics are made at `/ps`, their data are at `/ps/data/…`),
    /// `emqx-ps` (`/ps/…`, with EMQX's parameters, wildcards and answers), `ponte-r` (`/r/…`). A list
    /// replaces the default.
    #[schemars(extend("default" = ["passthrough"]))]
    pub(crate) presets: Option<Vec<Typed<String>>>,
    /// Rules for CoAP.
    pub(crate) coap: Option<Vec<CoapRule>>,
    /// Rules for MQTT-SN.
    pub(crate) mqttsn: Option<SnMappings>,
}

/// What holds where a rule says nothing.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct MappingDefaults {
    /// `auto` (CON 1, NON 0), 0, 1 or 2.
    #[schemars(extend("default" = "auto"))]
    pub(crate) qos: Option<Typed<Option<Qos>>>,
    /// `by_method` (PUT yes, POST no; MQTT-SN: its flag), `true` or `false`.
    #[schemars(extend("default" = "by_method"))]
    pub(crate) retain: Option<Typed<Retain>>,
    /// When published messages expire.
    #[schemars(extend("otherwise" = "never"))]
    pub(crate) expiry: Time,
    /// Max-Age to CoAP clients of values that do not expire: see the rules' own key.
    #[schemars(extend("otherwise" = "not said, which means 60 s"))]
    pub(crate) max_age: Time,
    /// A payload that is not in its format: `reject` it, `pass` it on as it is, or publish it as a
    /// `dead_letter`.
    #[schemars(extend("default" = "reject"))]
    pub(crate) on_bad_payload: Option<Typed<OnBadPayload>>,
}

/// A rule for CoAP.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct CoapRule {
    /// Name in logs, counters and errors; unique.
    #[schemars(extend("required" = true))]
    pub(crate) name: Text,
    /// Pattern of the path: `/s/{room}/{kind:temp|hum}`, `/n/{id:~[0-9a-f]{4}}`, `/e/{rest...}`.
    #[schemars(extend("required" = true))]
    pub(crate) path: Text,
    /// Template of the topic: `site/{room}/{kind}`.
    #[schemars(extend("required" = true))]
    pub(crate) topic: Text,
    /// What each method means.
    #[schemars(extend(
        "default" = {
            "PUT": "publish", "POST": "publish", "GET": "read", "OBSERVE": "subscribe", "DELETE": "clear"
        },
        "propertyNames" = {"enum": ["PUT", "POST", "GET", "OBSERVE", "DELETE"]}
    ))]
    pub(crate) methods: Option<BTreeMap<String, Typed<Action>>>,
    /// Query keys that are taken, and their targets: `qos`, `retain`, `expiry` (as in MQTT, 0 is for
    /// whoever is there at once), `user_property.NAME` or a `{capture}` that the topic reads.
    #[schemars(extend("otherwise" = "none"))]
    pub(crate) query: Option<BTreeMap<String, Typed<String>>>,
    /// Other query keys: `refuse` or `ignore`.
    #[schemars(extend("default" = "refuse"))]
    pub(crate) query_extra: Option<Typed<ExtraWord>>,
    /// QoS of what the rule publishes: `auto` (CON 1, NON 0), 0, 1 or 2.
    #[schemars(extend("otherwise" = "`mappings.defaults.qos`"))]
    pub(crate) qos: Option<Typed<Option<Qos>>>,
    /// Whether it is retained: `by_method` (PUT yes, POST no), `true` or `false`.
    #[schemars(extend("otherwise" = "`mappings.defaults.retain`"))]
    pub(crate) retain: Option<Typed<Retain>>,
    /// When a published message expires.
    #[schemars(extend("otherwise" = "`mappings.defaults.expiry`"))]
    pub(crate) expiry: Time,
    /// How long a client may take a value for fresh, in whole seconds (Max-Age; it goes with values,
    /// notifications and 2.03); of a value that expires it is what remains. An observer that hears
    /// nothing for so long registers anew: a little more than the time between two values of the
    /// sensor is right. `0`: ask again each time.
    #[schemars(extend("otherwise" = "`mappings.defaults.max_age`"))]
    pub(crate) max_age: Time,
    /// Where two rules take one request and neither is narrower, the higher wins.
    #[schemars(extend("default" = "0", "range" = "-1000 to 1000"))]
    pub(crate) priority: Option<Typed<i32>>,
    /// Listener or listeners that it holds for.
    #[schemars(extend("otherwise" = "all"))]
    pub(crate) listener: Option<OneOrMany<String>>,
    /// Glob of the clients that it holds for.
    #[schemars(extend("otherwise" = "all"))]
    pub(crate) client: Text,
    /// Captured text that no topic can hold: `refuse` or `encode`.
    #[schemars(extend("default" = "refuse"))]
    #[serde(rename = "unsafe")]
    pub(crate) unsafe_: Option<Typed<UnsafeWord>>,
    /// The topic is final: the listener's mount is not put in front.
    #[schemars(extend("default" = "false"))]
    pub(crate) absolute: Flag,
    /// Observing a topic without value: `content` (2.05, empty) or `4.04`.
    #[schemars(extend("default" = "content"))]
    pub(crate) when_empty: Option<Typed<EmptyWord>>,
    /// Uri-Host that it holds for.
    #[schemars(extend("otherwise" = "any, or none"))]
    pub(crate) host: Text,
    /// Formats of the two sides.
    #[schemars(extend("otherwise" = "payloads go through as they are"))]
    pub(crate) payload: Option<Payload>,
    /// A payload that is not in its format: `reject`, `pass` or `dead_letter`.
    #[schemars(extend("otherwise" = "`mappings.defaults.on_bad_payload`"))]
    pub(crate) on_bad_payload: Option<Typed<OnBadPayload>>,
    /// Attributes in `.well-known/core`, with templates of their values: `{rt: "sensor.{kind}"}`.
    #[schemars(extend("otherwise" = "none"))]
    pub(crate) link: Option<BTreeMap<String, Typed<String>>>,
}

/// Formats of the two sides: `json`, `cbor`, `senml+json`, `senml+cbor`, `text`, `raw` or a codec.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Payload {
    /// What devices write, one or a list; the first is what they are given unless they ask for
    /// another.
    #[schemars(extend("required" = true))]
    pub(crate) device: Option<OneOrMany<String>>,
    /// What stands in the broker.
    #[schemars(extend("required" = true))]
    pub(crate) broker: Text,
    /// `senml`: one message per record; `{senml.n}` in the topic is its name.
    #[schemars(extend("otherwise" = "packs stay whole"))]
    pub(crate) split: Option<Typed<SplitWord>>,
}

/// Rules for MQTT-SN.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct SnMappings {
    /// Groups of clients: name and glob, or globs, of client ids.
    #[schemars(extend("otherwise" = "none"))]
    pub(crate) groups: Option<BTreeMap<String, OneOrMany<String>>>,
    /// Pre-defined topic ids, by `all`, group or `client:NAME`; each an id or a range `100-131`.
    #[schemars(extend("otherwise" = "none"))]
    pub(crate) topic_ids: Option<BTreeMap<String, BTreeMap<String, IdTopic>>>,
    /// Short names: two characters and the template of their topic.
    #[schemars(extend("otherwise" = "the two characters are the topic"))]
    pub(crate) short: Option<BTreeMap<String, Typed<String>>>,
    /// Rewriting of long names, in both directions.
    pub(crate) names: Option<Vec<SnName>>,
    /// Publishing without a connection; off when it is not there.
    pub(crate) qos_minus_one: Option<QosMinusOne>,
}

/// Rewriting of long names.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct SnName {
    /// Name in logs, counters and errors; unique.
    #[schemars(extend("required" = true))]
    pub(crate) name: Text,
    /// Pattern of the name that the device uses: `d/{kind}`.
    #[schemars(extend("required" = true))]
    pub(crate) filter: Text,
    /// Template of the topic.
    #[schemars(extend("required" = true))]
    pub(crate) topic: Text,
    /// Where two rules take one name and neither is narrower, the higher wins.
    #[schemars(extend("default" = "0", "range" = "-1000 to 1000"))]
    pub(crate) priority: Option<Typed<i32>>,
}

/// Publishing without a connection.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct QosMinusOne {
    /// Pre-defined ids, and short names, that are taken.
    #[schemars(extend("required" = true))]
    pub(crate) ids: Option<Vec<Typed<String>>>,
    /// Template of the client that it counts as: `anon-{source_ip}`.
    #[schemars(extend("required" = true))]
    pub(crate) client: Text,
    /// Most of them, per source address.
    #[schemars(extend("required" = true))]
    pub(crate) rate: Option<Typed<Rate>>,
}
