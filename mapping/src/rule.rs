//! [`Rules`]: the mapping as plain data, as written in the configuration and before it is checked.
//!
//! Texts stay texts here (patterns, templates, globs); [`crate::Table::new`] parses them and
//! reports every mistake with its [`crate::Place`]. The language is specified in the reference's
//! chapter on mappings.

use std::time::Duration;

use motegate_message::Qos;

use crate::{Action, CoapMethod};

/// The rules as plain data, before they are checked. The default is what holds without a file:
/// the passthrough preset under `mqtt`, nothing for MQTT-SN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// What holds where a rule says nothing.
    pub defaults: Defaults,
    /// `codecs`, in file order.
    pub codecs: Vec<Codec>,
    /// Ready rules, of lowest priority.
    pub presets: Vec<Preset>,
    /// First segment(s) of the passthrough preset; may hold `/` or be empty.
    pub prefix: String,
    /// `mappings.coap`, in file order.
    pub coap: Vec<CoapRule>,
    /// `mappings.mqttsn`.
    pub sn: SnRules,
}

impl Default for Rules {
    fn default() -> Self {
        Rules {
            defaults: Defaults::default(),
            codecs: Vec::new(),
            presets: vec![Preset::Passthrough],
            prefix: "mqtt".into(),
            coap: Vec::new(),
            sn: SnRules::default(),
        }
    }
}

/// Ready rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Preset {
    /// CoAP `/PREFIX/{topic...}` is topic `{topic}`, both ways.
    Passthrough,
    /// draft-ietf-core-coap-pubsub: `/ps/data/{topic...}` are topics' data, `/ps` the collection,
    /// `/ps/{id}` topics' configurations.
    CorePubsub,
    /// `/ps/{topic...}` as EMQX's gateway has it: retained only with `?retain=true`.
    EmqxPs,
    /// `/r/{topic...}` as Eclipse Ponte has it: always retained.
    PonteR,
}

impl Preset {
    /// All there are.
    pub const ALL: [Preset; 4] =
        [Preset::Passthrough, Preset::CorePubsub, Preset::EmqxPs, Preset::PonteR];

    /// The word in `presets`, also the rule's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Preset::Passthrough => "passthrough",
            Preset::CorePubsub => "core-pubsub",
            Preset::EmqxPs => "emqx-ps",
            Preset::PonteR => "ponte-r",
        }
    }
}

/// A format of a device, for both directions: an entry of `codecs`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Codec {
    /// Unique, and no built-in format.
    pub name: String,
    /// What it is.
    pub form: CodecForm,
}

/// The kinds of codecs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CodecForm {
    /// `frame`: fields one after another, no bytes between them.
    Frame(Vec<FrameField>),
    /// `cbor_keys`: a CBOR map with integer keys, and the names that they stand for.
    CborKeys(Vec<(i64, String)>),
}

/// A field of a frame.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FrameField {
    /// Its name on the other side.
    pub name: String,
    /// Type and byte order: `u8`, `i16be`, `f32le` …
    pub kind: String,
    /// A decimal number that the field's is multiplied by, as written.
    pub scale: Option<String>,
    /// A decimal number that is added then, as written.
    pub offset: Option<String>,
    /// For people and discovery.
    pub unit: Option<String>,
    /// Names of single bits of an unsigned field, counted from the least significant.
    pub bits: Vec<(String, u8)>,
}

/// `payload` of a rule: the formats of the two sides, by name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PayloadRule {
    /// What the device writes; the first is the default for what it is given.
    pub device: Vec<String>,
    /// What stands in the broker.
    pub broker: String,
    /// `split: senml`: one message per record.
    pub split: bool,
}

/// What becomes of a payload that is not in its format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum OnBadPayload {
    /// The sender is told.
    #[default]
    Reject,
    /// It goes on as it is.
    Pass,
    /// It is published under the dead letter's topic.
    DeadLetter,
}

/// What holds where a rule says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Defaults {
    /// `None` is `auto`: CON 1, NON 0.
    pub qos: Option<Qos>,
    /// Whether publishes are retained.
    pub retain: Retain,
    /// Message expiry; `None`: never.
    pub expiry: Option<Duration>,
    /// Max-Age of values that do not expire, to CoAP clients, in whole seconds (RFC 7252 §5.10.5).
    /// `None`: it is not said, which means 60 s; zero: a client asks again each time.
    pub max_age: Option<Duration>,
    /// For rules and topic ids that name formats.
    pub on_bad_payload: OnBadPayload,
}

/// Whether a publish is retained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Retain {
    /// CoAP: PUT yes, POST no. MQTT-SN: the RETAIN flag.
    #[default]
    ByMethod,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// A rule of `mappings.coap`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CoapRule {
    /// Unique; appears in logs, counters and `explain`.
    pub name: String,
    /// Pattern of the path.
    pub path: String,
    /// Template of the topic.
    pub topic: String,
    /// What each method means; `None`: PUT publish, POST publish, GET read, OBSERVE subscribe,
    /// DELETE clear.
    pub methods: Option<Vec<(CoapMethod, Action)>>,
    /// Query keys that are taken: key and target (`qos`, `retain`, `expiry`, `user_property.NAME`
    /// or the name of a capture).
    pub query: Vec<(String, String)>,
    /// Whether other query keys are passed over in silence.
    pub query_extra_ignored: bool,
    /// Overrides the default; the inner `None` is `auto`.
    pub qos: Option<Option<Qos>>,
    /// Overrides the default.
    pub retain: Option<Retain>,
    /// Overrides the default.
    pub expiry: Option<Duration>,
    /// Overrides the default.
    pub max_age: Option<Duration>,
    /// The higher wins, whatever is narrower. Presets have the lowest.
    pub priority: i32,
    /// Names of the listeners it holds for; empty: all.
    pub listeners: Vec<String>,
    /// Glob of the clients it holds for.
    pub client: Option<String>,
    /// Uri-Host that it holds for, whatever its case; `None`: any, or none.
    pub host: Option<String>,
    /// Formats of the two sides; `None`: payloads go through as they are.
    pub payload: Option<PayloadRule>,
    /// Overrides the default; needs [`payload`](Self::payload).
    pub on_bad_payload: Option<OnBadPayload>,
    /// Attributes in `.well-known/core`: name and template of the value.
    pub link: Vec<(String, String)>,
    /// `unsafe: encode`: percent-encode what may not stand in a topic instead of refusing it.
    pub encode: bool,
    /// The topic is final: the listener's mount is not put in front.
    pub absolute: bool,
    /// `when_empty: content`: observing a topic without value answers 2.05 (the default), else
    /// 4.04. Stored negated so that the default is the default.
    pub not_found_when_empty: bool,
}

/// `mappings.mqttsn`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SnRules {
    /// Group name and its globs of client ids.
    pub groups: Vec<(String, Vec<String>)>,
    /// Pre-defined topic ids by scope.
    pub topic_ids: Vec<(Scope, Vec<TopicId>)>,
    /// Two characters and the template of their topic.
    pub short: Vec<(String, String)>,
    /// Rewriting of long names.
    pub names: Vec<NameRule>,
    /// Publishing without a connection; `None`: off.
    pub qos_minus_one: Option<QosMinusOne>,
}

/// For whom pre-defined topic ids hold.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Scope {
    /// `all`.
    All,
    /// A name from `groups`.
    Group(String),
    /// `client:NAME`.
    Client(String),
}

impl Scope {
    /// The key that it has in `topic_ids`.
    #[must_use]
    pub fn key(&self) -> String {
        match self {
            Scope::All => "all".into(),
            Scope::Group(name) => name.clone(),
            Scope::Client(name) => format!("client:{name}"),
        }
    }
}

/// One pre-defined topic id, or a range of them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TopicId {
    /// First id, 1 to 65,534.
    pub first: u16,
    /// Last id, not below the first.
    pub last: u16,
    /// Template of the topic.
    pub topic: String,
    /// Whether [`topic`](Self::topic) stands in a mapping under `topic:` (for error places).
    pub detailed: bool,
    /// Overrides the default.
    pub retain: Option<Retain>,
    /// Overrides the default.
    pub expiry: Option<Duration>,
    /// The topic is final: no mount.
    pub absolute: bool,
    /// The device's format; the broker's side is then JSON. `None`: as it is.
    pub codec: Option<String>,
}

impl TopicId {
    /// The key that it has in its scope: `10` or `100-131`.
    #[must_use]
    pub fn key(&self) -> String {
        match self.first == self.last {
            true => self.first.to_string(),
            false => format!("{}-{}", self.first, self.last),
        }
    }
}

/// A rewriting of long names, in both directions.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NameRule {
    /// Unique.
    pub name: String,
    /// Pattern of the name that the device uses.
    pub filter: String,
    /// Template of the topic.
    pub topic: String,
    /// The higher wins, whatever is narrower.
    pub priority: i32,
}

/// Publishing without a connection (MQTT-SN 1.2 §6.8).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QosMinusOne {
    /// Pre-defined ids that are taken.
    pub ids: Vec<u16>,
    /// Short names that are taken.
    pub short: Vec<[u8; 2]>,
    /// Template of the client that it counts as.
    pub client: String,
    /// Most of them, per source address; what is beyond is dropped.
    pub rate: Option<Rate>,
}

/// So many in so much time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// How many.
    pub count: u32,
    /// In what time.
    pub per: Duration,
}
