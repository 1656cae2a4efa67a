//! The configuration file as it is written: every block and key that this version has.
//!
//! The structure is serde's, its keys and texts are the schema's; scalars stay text
//! ([`Typed`]) until `resolve` reads them. A block or key of a part that is not built is not in
//! here, and so it is an unknown key.

use std::collections::BTreeMap;
use std::time::Duration;

use motegate_mapping::{Action, Rate, Retain};
use motegate_message::Qos;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::value::{
    AllowWord, ClientFromWord, Durability, EmptyWord, ExtraWord, Factor, IdTopic, KeepWord,
    LogFormat, LogLevel, MqttVersion, OneOrMany, OverflowWord, RebindWord, Size, Typed, UnsafeWord,
};

type Text = Option<Typed<String>>;
type Number = Option<Typed<u64>>;
type Time = Option<Typed<Duration>>;
type Bytes = Option<Typed<Size>>;
type Flag = Option<Typed<bool>>;

/// The configuration of a Motegate gateway.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct File {
    /// Version of this format: 1.
    pub(crate) version: Number,
    /// The gateway itself.
    pub(crate) gateway: Option<Gateway>,
    /// Where state is kept. Default `./motegate-data`.
    pub(crate) data_dir: Text,
    /// What an acknowledged message survives. Default `power_loss`.
    pub(crate) durability: Option<Typed<Durability>>,
    /// Where to listen; absent: mqtt, mqttsn and coap on loopback.
    pub(crate) listeners: Option<Vec<Listener>>,
    /// MQTT.
    pub(crate) mqtt: Option<Mqtt>,
    /// MQTT-SN.
    pub(crate) mqttsn: Option<MqttSn>,
    /// CoAP.
    pub(crate) coap: Option<Coap>,
    /// Bounds on everything that can grow.
    pub(crate) limits: Option<Limits>,
    /// Which path and which topic id is which topic.
    pub(crate) mappings: Option<Mappings>,
    /// The log.
    pub(crate) log: Option<Log>,
}

/// The gateway itself.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Gateway {
    /// `{gateway}` in templates. Default `motegate`.
    pub(crate) name: Text,
    /// Unique among gateways that devices can hear, 1 to 255. Default 1.
    pub(crate) sn_gateway_id: Number,
}

/// A listener.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Listener {
    /// Appears in logs, counters and rules. Default `PROTOCOL-PORT`.
    pub(crate) name: Text,
    /// `mqtt`, `mqttsn` or `coap`.
    pub(crate) protocol: Text,
    /// `ADDRESS:PORT` or a list of them; `[::]` is every address, IPv4 too. Default: the protocol's
    /// port on 127.0.0.1.
    pub(crate) bind: Option<OneOrMany<String>>,
    /// Whether clients that give no identity may connect. Default false.
    pub(crate) anonymous: Flag,
    /// CoAP: where a client's name comes from: `address` (`anon-IP`) or `query` (`?client=`).
    pub(crate) client_from: Option<Typed<ClientFromWord>>,
    /// Name space of client ids; listeners of one realm share sessions. Default: the protocol.
    pub(crate) realm: Text,
    /// `{tenant}` in templates.
    pub(crate) tenant: Text,
    /// Prefix of every topic of this listener; may hold `{tenant}`, `{listener}` and `{gateway}`.
    pub(crate) mount: Text,
}

/// MQTT.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Mqtt {
    /// Versions spoken. Default all: `3.1`, `3.1.1`, `5.0`.
    pub(crate) protocols: Option<Vec<Typed<MqttVersion>>>,
    /// Highest QoS, 0 to 2. Default 2.
    pub(crate) max_qos: Number,
    /// Whether retained messages are kept. Default true.
    pub(crate) retain_available: Flag,
    /// Whether subscriptions may hold wildcards. Default true.
    pub(crate) wildcard_subscriptions: Flag,
    /// Whether `$share/…` is offered. Default true.
    pub(crate) shared_subscriptions: Flag,
    /// Whether subscription identifiers are offered. Default true.
    pub(crate) subscription_identifiers: Flag,
    /// Longest keep alive, at most 65535s; 0s: as the client asks. Default 0s.
    pub(crate) max_keep_alive: Time,
    /// Cap of the session expiry that a client asks for; that of 3.x and MQTT-SN sessions. Default
    /// 30d.
    pub(crate) max_session_expiry: Time,
    /// Topic aliases, 0 to 65535. Default 64.
    pub(crate) topic_alias_maximum: Number,
    /// QoS 1/2 publishes that a client may have open, 1 to 65535. Default 1024.
    pub(crate) receive_maximum: Number,
    /// Deliveries outstanding towards a client, 1 to 65535. Default 128.
    pub(crate) max_inflight: Number,
}

/// MQTT-SN.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct MqttSn {
    /// Tretry. Default 10s.
    pub(crate) retry_timeout: Time,
    /// Nretry, 0 to 255. Default 4.
    pub(crate) max_retries: Number,
    /// Longest sleep granted. Default 24h.
    pub(crate) max_sleep: Time,
    /// The queue of a sleeping client.
    pub(crate) when_asleep: Option<WhenAsleep>,
    /// Whether forwarder encapsulation is taken: `allow` or `deny`. Default allow.
    pub(crate) forwarders: Option<Typed<AllowWord>>,
    /// From which new address a known client may go on. Default `same_host`.
    pub(crate) rebind: Option<Typed<RebindWord>>,
}

/// The queue of a sleeping client.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct WhenAsleep {
    /// Default 100.
    pub(crate) max_messages: Number,
    /// Default 64KiB.
    pub(crate) max_bytes: Bytes,
    /// Default `drop_oldest`.
    pub(crate) overflow: Option<Typed<OverflowWord>>,
    /// Whether QoS 0 messages wait too. Default keep.
    pub(crate) qos0: Option<Typed<KeepWord>>,
}

/// CoAP.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Coap {
    /// Of the default rule: `/PREFIX/{topic...}` is `{topic}`. Default mqtt.
    pub(crate) prefix: Text,
    /// ACK_TIMEOUT. Default 2s.
    pub(crate) ack_timeout: Time,
    /// ACK_RANDOM_FACTOR, 1 to 10. Default 1.5.
    pub(crate) ack_random_factor: Option<Typed<Factor>>,
    /// MAX_RETRANSMIT, 0 to 20. Default 4.
    pub(crate) max_retransmit: Number,
    /// NSTART, 1 to 255. Default 1.
    pub(crate) nstart: Number,
    /// Every n-th notification is confirmable, and one in 24 h. Default 8.
    pub(crate) notify_confirmable_every: Number,
}

/// Bounds on everything that can grow.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Limits {
    /// Default 100000.
    pub(crate) max_connections: Number,
    /// From accept to the end of CONNECT. Default 10s.
    pub(crate) connect_timeout: Time,
    /// Default 512KiB.
    pub(crate) max_connect_size: Bytes,
    /// Default 2MiB.
    pub(crate) max_packet_size: Bytes,
    /// Default 1024.
    pub(crate) max_client_id_length: Number,
    /// Default 65535.
    pub(crate) max_topic_length: Number,
    /// Default 200.
    pub(crate) max_topic_levels: Number,
    /// Default 64.
    pub(crate) max_user_properties: Number,
    /// Default 16KiB.
    pub(crate) max_user_property_bytes: Bytes,
    /// Default 1000000.
    pub(crate) max_sessions: Number,
    /// Default 10000.
    pub(crate) max_subscriptions_per_session: Number,
    /// Default 10000000.
    pub(crate) max_subscriptions: Number,
    /// Default 100000.
    pub(crate) max_share_groups: Number,
    /// Per session. Default 1000.
    pub(crate) max_queued_messages: Number,
    /// Per session. Default 8MiB.
    pub(crate) max_queued_bytes: Bytes,
    /// What a full queue does. Default `drop_oldest`.
    pub(crate) overflow: Option<Typed<OverflowWord>>,
    /// All sessions; beyond it the longest queue is cut. Default 256MiB.
    pub(crate) max_memory_queued: Bytes,
    /// Written by clients, not yet stored; beyond it reads pause. Default 32MiB.
    pub(crate) max_uncommitted_bytes: Bytes,
    /// Default 1000000.
    pub(crate) max_retained_messages: Number,
    /// Default 1GiB.
    pub(crate) max_retained_bytes: Bytes,
    /// Per connection, what the peer has not read yet. Default 256KiB.
    pub(crate) max_outbox_bytes: Bytes,
    /// Without progress: close. Default 30s.
    pub(crate) write_stall_timeout: Time,
    /// Default 1000.
    pub(crate) max_sn_topics_per_client: Number,
    /// Default 100000.
    pub(crate) max_observers: Number,
    /// Default 64.
    pub(crate) max_observers_per_peer: Number,
    /// CoAP deduplication entries. Default 200000.
    pub(crate) max_exchanges: Number,
}

/// The log.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Log {
    /// Default info.
    pub(crate) level: Option<Typed<LogLevel>>,
    /// Default auto: logfmt on a terminal, JSON otherwise.
    pub(crate) format: Option<Typed<LogFormat>>,
}

/// Which path and which topic id is which topic.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Mappings {
    /// What holds where a rule says nothing.
    pub(crate) defaults: Option<MappingDefaults>,
    /// Ready rules: `passthrough`. Absent: `[passthrough]`; a list replaces it.
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
    /// `auto` (CON 1, NON 0), 0, 1 or 2. Default auto.
    pub(crate) qos: Option<Typed<Option<Qos>>>,
    /// `by_method` (PUT yes, POST no; MQTT-SN: its flag), true or false. Default `by_method`.
    pub(crate) retain: Option<Typed<Retain>>,
    /// Message expiry. Default: none.
    pub(crate) expiry: Time,
}

/// A rule for CoAP.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct CoapRule {
    /// Unique.
    pub(crate) name: Text,
    /// Pattern of the path: `/s/{room}/{kind:temp|hum}`, `/n/{id:~[0-9a-f]{4}}`, `/e/{rest...}`.
    pub(crate) path: Text,
    /// Template of the topic: `site/{room}/{kind}`.
    pub(crate) topic: Text,
    /// What each method means. Default: PUT publish, POST publish, GET read, OBSERVE subscribe,
    /// DELETE clear.
    pub(crate) methods: Option<BTreeMap<String, Typed<Action>>>,
    /// Query keys that are taken, and their targets: `qos`, `retain`, `expiry`,
    /// `user_property.NAME` or a `{capture}` that the topic reads.
    pub(crate) query: Option<BTreeMap<String, Typed<String>>>,
    /// Other query keys: `refuse` or `ignore`. Default refuse.
    pub(crate) query_extra: Option<Typed<ExtraWord>>,
    /// Overrides the default.
    pub(crate) qos: Option<Typed<Option<Qos>>>,
    /// Overrides the default.
    pub(crate) retain: Option<Typed<Retain>>,
    /// Overrides the default.
    pub(crate) expiry: Time,
    /// The higher wins, -1000 to 1000. Default 0.
    pub(crate) priority: Option<Typed<i32>>,
    /// Listener or listeners that it holds for. Default: all.
    pub(crate) listener: Option<OneOrMany<String>>,
    /// Glob of the clients that it holds for. Default: all.
    pub(crate) client: Text,
    /// Captured text that no topic can hold: `refuse` or `encode`. Default refuse.
    #[serde(rename = "unsafe")]
    pub(crate) unsafe_: Option<Typed<UnsafeWord>>,
    /// The topic is final: the listener's mount is not put in front. Default false.
    pub(crate) absolute: Flag,
    /// Observing a topic without value: `content` (2.05, empty) or `4.04`. Default content.
    pub(crate) when_empty: Option<Typed<EmptyWord>>,
}

/// Rules for MQTT-SN.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct SnMappings {
    /// Groups of clients: name and glob, or globs, of client ids.
    pub(crate) groups: Option<BTreeMap<String, OneOrMany<String>>>,
    /// Pre-defined topic ids, by `all`, group or `client:NAME`; each an id or a range `100-131`.
    pub(crate) topic_ids: Option<BTreeMap<String, BTreeMap<String, IdTopic>>>,
    /// Short names: two characters and the template of their topic.
    pub(crate) short: Option<BTreeMap<String, Typed<String>>>,
    /// Rewriting of long names, in both directions.
    pub(crate) names: Option<Vec<SnName>>,
    /// Publishing without a connection. Absent: off.
    pub(crate) qos_minus_one: Option<QosMinusOne>,
}

/// Rewriting of long names.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct SnName {
    /// Unique.
    pub(crate) name: Text,
    /// Pattern of the name that the device uses: `d/{kind}`.
    pub(crate) filter: Text,
    /// Template of the topic.
    pub(crate) topic: Text,
    /// The higher wins, -1000 to 1000. Default 0.
    pub(crate) priority: Option<Typed<i32>>,
}

/// Publishing without a connection.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct QosMinusOne {
    /// Pre-defined ids, and short names, that are taken.
    pub(crate) ids: Option<Vec<Typed<String>>>,
    /// Template of the client that it counts as: `anon-{source_ip}`.
    pub(crate) client: Text,
    /// Most of them, per source address.
    pub(crate) rate: Option<Typed<Rate>>,
}
