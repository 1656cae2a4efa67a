//! The configuration file as it is written: every block and key that this version has.
//!
//! The one place where a key is described. Its text, and what `extend` says, become the schema,
//! the reference page, the check of ranges and `config show`: `default` is the value of a key that
//! is not there, as it would be written (a test holds it against the gateway's own defaults);
//! `otherwise` says the same in words where it is no fixed value; `required` that it must be there;
//! `range` is `LOW to HIGH`, as values are written; `secret` that it is never shown, also where it is
//! only a digest of a secret, which may stand in a file. Scalars stay text ([`Typed`]) until `resolve` reads them.
//!
//! A block or key of a part that is not built is not in here, and so it is an unknown key.

use std::collections::BTreeMap;
use std::time::Duration;

use motegate_mapping::{Action, OnBadPayload, Rate, Retain};
use motegate_message::{Group, Qos};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::discovery::Forwarder;
use crate::tests::TestBlock;
use crate::transport::ProxyWord;
use crate::users::User;
use crate::value::{
    ClientFromWord, DenyWord, Durability, EmptyWord, ExtraWord, Factor, IdTopic, KeepWord,
    LogFormat, LogLevel, MqttVersion, OneOrMany, OverflowWord, PerSecond, PerTime, RebindWord,
    SharedWord, Size, SplitWord, TakeoverWord, Typed, UnsafeWord, Utf8Word,
};

mod tls;

pub(crate) use tls::Tls;

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
    #[schemars(extend("default" = "1"))]
    pub(crate) version: Number,
    /// The gateway itself.
    pub(crate) gateway: Option<Gateway>,
    /// Where state is kept, and the control socket lies; relative to the folder of the file that says
    /// it. The default lies beside the first file.
    #[schemars(extend("default" = "./motegate-data"))]
    pub(crate) data_dir: Text,
    /// What an acknowledged message survives: `motegate help durability` has it in words.
    #[schemars(extend("default" = "power_loss"))]
    pub(crate) durability: Option<Typed<Durability>>,
    /// Where to listen.
    #[schemars(extend("otherwise" = "mqtt, mqttsn and coap on 127.0.0.1, which let nobody in"))]
    pub(crate) listeners: Option<Vec<Listener>>,
    /// Who has a password, for MQTT. `motegate passwd NAME` writes an entry.
    #[schemars(extend("otherwise" = "none"))]
    pub(crate) users: Option<Vec<User>>,
    /// MQTT.
    pub(crate) mqtt: Option<Mqtt>,
    /// MQTT-SN.
    pub(crate) mqttsn: Option<MqttSn>,
    /// CoAP.
    pub(crate) coap: Option<Coap>,
    /// Bounds on everything that can grow.
    pub(crate) limits: Option<Limits>,
    /// Payload formats of devices, by name; each works in both directions.
    #[schemars(extend("otherwise" = "none"))]
    pub(crate) codecs: Option<BTreeMap<String, Codec>>,
    /// Which path and which topic id is which topic.
    pub(crate) mappings: Option<Mappings>,
    /// Tests of the rules, run by `check` and `test`. Who may connect is not asked.
    pub(crate) tests: Option<Vec<TestBlock>>,
    /// The log.
    pub(crate) log: Option<Log>,
}

/// The gateway itself.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Gateway {
    /// `{gateway}` in templates.
    #[schemars(extend("default" = "motegate"))]
    pub(crate) name: Text,
    /// Unique among the MQTT-SN gateways that devices can hear.
    #[schemars(extend("default" = "1", "range" = "1 to 255"))]
    pub(crate) sn_gateway_id: Number,
}

/// A listener.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Listener {
    /// Appears in logs, counters and rules.
    #[schemars(extend("otherwise" = "`PROTOCOL-PORT`"))]
    pub(crate) name: Text,
    /// What is spoken.
    #[schemars(extend(
        "required" = true,
        "words" = ["mqtt", "mqtts", "ws", "wss", "mqttsn", "coap"]
    ))]
    pub(crate) protocol: Text,
    /// `ADDRESS:PORT` or a list of them; `[::]` is every address, IPv4 too. `unix:PATH`, relative to
    /// the folder of the file that says it, is a Unix socket, for all but mqttsn and coap.
    #[schemars(extend("otherwise" = "the protocol's port on 127.0.0.1"))]
    pub(crate) bind: Option<OneOrMany<String>>,
    /// Whether clients that give no identity may connect.
    #[schemars(extend("default" = "false"))]
    pub(crate) anonymous: Flag,
    /// CoAP only: where a client's name comes from: `address` (`anon-IP`) or `query` (`?client=`).
    #[schemars(extend("otherwise" = "`address`"))]
    pub(crate) client_from: Option<Typed<ClientFromWord>>,
    /// Name space of client ids; listeners of one realm share sessions.
    #[schemars(extend("otherwise" = "the protocol"))]
    pub(crate) realm: Text,
    /// `{tenant}` in templates.
    #[schemars(extend("default" = ""))]
    pub(crate) tenant: Text,
    /// Prefix of every topic of this listener; may hold `{tenant}`, `{listener}` and `{gateway}`.
    #[schemars(extend("default" = ""))]
    pub(crate) mount: Text,
    /// MQTT only: bounds of this listener alone, none above those of `limits`.
    pub(crate) limits: Option<ListenerLimits>,
    /// mqtts and wss: certificates.
    #[schemars(extend("otherwise" = "none"))]
    pub(crate) tls: Option<Tls>,
    /// ws and wss: the path that is served.
    #[schemars(extend("otherwise" = "`/mqtt`"))]
    pub(crate) path: Text,
    /// ws and wss: values of the header `Origin` that are served, such as `https://app.example`.
    #[schemars(extend("otherwise" = "all"))]
    pub(crate) origins: Option<OneOrMany<String>>,
    /// ws and wss: addresses or networks whose header `X-Forwarded-For` is believed.
    #[schemars(extend("otherwise" = "none"))]
    pub(crate) forwarded_from: Option<OneOrMany<String>>,
    /// Whether each connection begins with a header of the PROXY protocol, of which version; one
    /// without it is closed then.
    #[schemars(extend("otherwise" = "`off`"))]
    pub(crate) proxy_protocol: Option<Typed<ProxyWord>>,
    /// Addresses or networks that may send such a header: they can claim any address.
    #[schemars(extend("otherwise" = "this machine: `[127.0.0.0/8, \"::1\"]`"))]
    pub(crate) proxy_from: Option<OneOrMany<String>>,
    /// PROXY version 2: the common name of a client certificate that the sender has verified is the
    /// client's identity.
    #[schemars(extend("otherwise" = "`false`"))]
    pub(crate) proxy_identity: Flag,
}

/// Bounds of one listener; what it does not say is as in `limits`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ListenerLimits {
    /// Connections of this listener open at a time.
    #[schemars(extend("otherwise" = "`limits`", "range" = "1 to 10000000"))]
    pub(crate) max_connections: Number,
    /// How fast connections may come by this listener.
    #[schemars(extend("otherwise" = "`limits`"))]
    pub(crate) max_connect_rate: Option<Typed<PerTime>>,
    /// How fast from one address.
    #[schemars(extend("otherwise" = "`limits`"))]
    pub(crate) max_connect_rate_per_address: Option<Typed<PerTime>>,
    /// From accept to the end of CONNECT.
    #[schemars(extend("otherwise" = "`limits`", "range" = "100ms to 1h"))]
    pub(crate) connect_timeout: Time,
    /// Longest CONNECT.
    #[schemars(extend("otherwise" = "`limits`", "range" = "64 to 268435460"))]
    pub(crate) max_connect_size: Bytes,
    /// Longest packet after CONNECT.
    #[schemars(extend("otherwise" = "`limits`", "range" = "128 to 268435460"))]
    pub(crate) max_packet_size: Bytes,
    /// Longest client id, in bytes.
    #[schemars(extend("otherwise" = "`limits`", "range" = "23 to 65535"))]
    pub(crate) max_client_id_length: Number,
    /// Longest topic name or filter, in bytes.
    #[schemars(extend("otherwise" = "`limits`", "range" = "1 to 65535"))]
    pub(crate) max_topic_length: Number,
    /// Most levels of a topic name or filter.
    #[schemars(extend("otherwise" = "`limits`", "range" = "1 to 65536"))]
    pub(crate) max_topic_levels: Number,
    /// User properties of one packet.
    #[schemars(extend("otherwise" = "`limits`", "range" = "0 to 1099511627776"))]
    pub(crate) max_user_properties: Number,
    /// Bytes of the user properties of one packet.
    #[schemars(extend("otherwise" = "`limits`", "range" = "0 to 1024GiB"))]
    pub(crate) max_user_property_bytes: Bytes,
    /// Longest will.
    #[schemars(extend("otherwise" = "`limits`", "range" = "0 to 65535"))]
    pub(crate) max_will_payload: Bytes,
    /// Messages that wait for one session.
    #[schemars(extend("otherwise" = "`limits`", "range" = "1 to 100000000"))]
    pub(crate) max_queued_messages: Number,
    /// Bytes that wait for one session.
    #[schemars(extend("otherwise" = "`limits`", "range" = "1KiB to 4294967295"))]
    pub(crate) max_queued_bytes: Bytes,
    /// What a full queue does.
    #[schemars(extend("otherwise" = "`limits`"))]
    pub(crate) overflow: Option<Typed<OverflowWord>>,
    /// Per connection, what the peer has not read yet.
    #[schemars(extend("otherwise" = "`limits`", "range" = "1KiB to 1GiB"))]
    pub(crate) max_outbox_bytes: Bytes,
    /// A connection whose peer reads nothing for so long is closed.
    #[schemars(extend("otherwise" = "`limits`", "range" = "100ms to 1d"))]
    pub(crate) write_stall_timeout: Time,
    /// Publishes of one connection a second.
    #[schemars(extend("otherwise" = "`limits`"))]
    pub(crate) max_publish_rate: Option<Typed<PerSecond>>,
    /// How long a connection may last.
    #[schemars(extend("otherwise" = "`limits`", "range" = "0s to 36500d"))]
    pub(crate) max_connection_age: Time,
}

/// MQTT.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Mqtt {
    /// Versions spoken.
    #[schemars(extend("default" = ["3.1", "3.1.1", "5.0"]))]
    pub(crate) protocols: Option<Vec<Typed<MqttVersion>>>,
    /// Highest QoS; MQTT 5 clients are told, 3.x clients are granted no more.
    #[schemars(extend("default" = "2", "range" = "0 to 2"))]
    pub(crate) max_qos: Number,
    /// Whether retained messages are kept.
    #[schemars(extend("default" = "true"))]
    pub(crate) retain_available: Flag,
    /// Whether subscriptions may hold wildcards.
    #[schemars(extend("default" = "true"))]
    pub(crate) wildcard_subscriptions: Flag,
    /// Whether `$share/…` is offered.
    #[schemars(extend("default" = "true"))]
    pub(crate) shared_subscriptions: Flag,
    /// Who of a group of shared subscriptions gets a message, among those who can take it.
    #[schemars(extend("default" = "round_robin"))]
    pub(crate) shared_strategy: Option<Typed<SharedWord>>,
    /// Whether a will without delay is published when its session goes on with a new connection.
    #[schemars(extend("default" = "published"))]
    pub(crate) takeover_will: Option<Typed<TakeoverWord>>,
    /// Whether subscription identifiers are offered.
    #[schemars(extend("default" = "true"))]
    pub(crate) subscription_identifiers: Flag,
    /// Longest keep alive, in whole seconds; 0s: as the client asks.
    #[schemars(extend("default" = "0s", "range" = "0s to 65535s"))]
    pub(crate) max_keep_alive: Time,
    /// Cap of the session expiry that a client asks for; that of 3.x and MQTT-SN sessions.
    #[schemars(extend("default" = "30d", "range" = "0s to 36500d"))]
    pub(crate) max_session_expiry: Time,
    /// Topic aliases in each direction of a connection.
    #[schemars(extend("default" = "64", "range" = "0 to 65535"))]
    pub(crate) topic_alias_maximum: Number,
    /// QoS 1 and 2 publishes that a client may have open.
    #[schemars(extend("default" = "1024", "range" = "1 to 65535"))]
    pub(crate) receive_maximum: Number,
    /// QoS 1 and 2 deliveries open towards a client, never above its own Receive Maximum.
    #[schemars(extend("default" = "128", "range" = "1 to 65535"))]
    pub(crate) max_inflight: Number,
    /// Whether QoS 0 messages, too, wait for sessions that are away, those of MQTT-SN included.
    #[schemars(extend("default" = "false"))]
    pub(crate) queue_qos0: Flag,
    /// Start of the client ids given to clients that name none; a UUID follows.
    #[schemars(extend("default" = "auto-"))]
    pub(crate) assigned_client_id_prefix: Text,
    /// MQTT 5, Response Information, for clients that ask: this, their client id and `/`; empty: none.
    #[schemars(extend("default" = ""))]
    pub(crate) response_prefix: Text,
    /// Where every MQTT client is sent instead of being let in, such as `broker-2.example:1883`; only
    /// MQTT 5 can be told where. Who is connected stays.
    #[schemars(extend("default" = ""))]
    pub(crate) server_reference: Text,
    /// Whether clients are sent there for good (0x9D) rather than for now (0x9C).
    #[schemars(extend("default" = "false"))]
    pub(crate) server_moved: Flag,
    /// Control characters (U+0001 to U+001F, U+007F to U+009F) and non-characters such as U+FFFF in topics
    /// and other strings: refused as malformed, or let pass. U+0000 is always refused.
    #[schemars(extend("default" = "strict"))]
    pub(crate) utf8: Option<Typed<Utf8Word>>,
    /// Whether MQTT 5 payloads that say they are UTF-8 are checked, and refused (0x99) if they are not.
    #[schemars(extend("default" = "false"))]
    pub(crate) validate_payload_format: Flag,
    /// Publishing or subscribing where one may not: the refusal is answered (before 5.0 there is none
    /// for PUBLISH), or the connection ends.
    #[schemars(extend("default" = "answer"))]
    pub(crate) deny: Option<Typed<DenyWord>>,
    /// How often `$SYS` topics are published, by the wall clock; 0s: never.
    #[schemars(extend("default" = "10s", "range" = "0s to 1d"))]
    pub(crate) sys_interval: Time,
}

/// MQTT-SN.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct MqttSn {
    /// The gateway tells devices that it is there (ADVERTISE).
    pub(crate) advertise: Option<Advertise>,
    /// Multicast groups that are joined, so that devices find the gateway (SEARCHGW): each
    /// `ADDRESS%INTERFACE`, heard at the port of every MQTT-SN listener on all addresses.
    #[schemars(extend("default" = []))]
    pub(crate) discovery_groups: Option<Vec<Typed<Group>>>,
    /// How long an answer is waited for before a repetition (Tretry).
    #[schemars(extend("default" = "10s", "range" = "100ms to 1h"))]
    pub(crate) retry_timeout: Time,
    /// How often a message is repeated (Nretry).
    #[schemars(extend("default" = "4", "range" = "0 to 255"))]
    pub(crate) max_retries: Number,
    /// Longest sleep granted.
    #[schemars(extend("default" = "24h", "range" = "1s to 365d"))]
    pub(crate) max_sleep: Time,
    /// The queue of a sleeping client.
    pub(crate) when_asleep: Option<WhenAsleep>,
    /// Whose forwarder encapsulation is taken: `allow` is everybody's, `deny` nobody's, a list of
    /// networks (`[192.168.7.0/24]`) that of forwarders there.
    #[schemars(extend("default" = "allow"))]
    pub(crate) forwarders: Option<OneOrMany<Forwarder>>,
    /// From which new address a known client may go on.
    #[schemars(extend("default" = "same_host"))]
    pub(crate) rebind: Option<Typed<RebindWord>>,
}

/// ADVERTISE of MQTT-SN.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Advertise {
    /// How often (Tadv); devices are told, in whole seconds. The specification wants 15 minutes or
    /// more.
    #[schemars(extend("default" = "15m", "range" = "1s to 65535s"))]
    pub(crate) every: Time,
    /// Multicast groups, each `ADDRESS%INTERFACE`, and broadcast addresses, at the listener's own port
    /// or `:PORT`; none: there is no ADVERTISE.
    #[schemars(extend("default" = []))]
    pub(crate) to: Option<Vec<Typed<Group>>>,
}

/// The queue of a sleeping client.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct WhenAsleep {
    /// Most messages that wait.
    #[schemars(extend("default" = "100", "range" = "1 to 1000000"))]
    pub(crate) max_messages: Number,
    /// Most bytes that wait.
    #[schemars(extend("default" = "64KiB", "range" = "256 to 1GiB"))]
    pub(crate) max_bytes: Bytes,
    /// What a full queue does; everything but `disconnect`.
    #[schemars(extend("default" = "drop_oldest"))]
    pub(crate) overflow: Option<Typed<OverflowWord>>,
    /// Whether QoS 0 messages wait too.
    #[schemars(extend("default" = "keep"))]
    pub(crate) qos0: Option<Typed<KeepWord>>,
}

/// CoAP.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Coap {
    /// Of the default rule: `/PREFIX/{topic...}` is `{topic}`.
    #[schemars(extend("default" = "mqtt"))]
    pub(crate) prefix: Text,
    /// How long an acknowledgement is waited for before the first repetition (ACK_TIMEOUT).
    #[schemars(extend("default" = "2s", "range" = "100ms to 1m"))]
    pub(crate) ack_timeout: Time,
    /// The wait is stretched at random up to this factor (ACK_RANDOM_FACTOR).
    #[schemars(extend("default" = "1.5", "range" = "1 to 10"))]
    pub(crate) ack_random_factor: Option<Typed<Factor>>,
    /// How often a message is repeated (MAX_RETRANSMIT).
    #[schemars(extend("default" = "4", "range" = "0 to 20"))]
    pub(crate) max_retransmit: Number,
    /// Exchanges open towards one peer (NSTART).
    #[schemars(extend("default" = "1", "range" = "1 to 255"))]
    pub(crate) nstart: Number,
    /// Every n-th notification is confirmable, and one in 24 h.
    #[schemars(extend("default" = "8", "range" = "1 to 1000000"))]
    pub(crate) notify_confirmable_every: Number,
}

/// Bounds on everything that can grow.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Limits {
    /// Stream connections open at a time; one more is closed at once.
    #[schemars(extend("default" = "100000", "range" = "1 to 10000000"))]
    pub(crate) max_connections: Number,
    /// How fast MQTT connections may come in all; as many at once. One too early waits up to a second
    /// and is then refused (0x9F). The default leaves loopback alone. 0: no bound.
    #[schemars(extend("default" = "1000/s"))]
    pub(crate) max_connect_rate: Option<Typed<PerTime>>,
    /// The same for one address (of IPv6: one /64 network).
    #[schemars(extend("default" = "50/s"))]
    pub(crate) max_connect_rate_per_address: Option<Typed<PerTime>>,
    /// Connections that have not said CONNECT; beyond it the oldest is closed.
    #[schemars(extend("default" = "4096", "range" = "1 to 10000000"))]
    pub(crate) max_half_open: Number,
    /// From accept to the end of CONNECT.
    #[schemars(extend("default" = "10s", "range" = "100ms to 1h"))]
    pub(crate) connect_timeout: Time,
    /// From CONNECT to the end of its authentication, and the longest re-authentication.
    #[schemars(extend("default" = "15s", "range" = "100ms to 1h"))]
    pub(crate) auth_timeout: Time,
    /// Wrong passwords from one address (of IPv6: from one /64), after which it is not listened to for
    /// 60 s.
    #[schemars(extend("default" = "10/m"))]
    pub(crate) max_auth_failures: Option<Typed<Rate>>,
    /// Longest CONNECT.
    #[schemars(extend("default" = "512KiB", "range" = "64 to 268435460"))]
    pub(crate) max_connect_size: Bytes,
    /// Longest MQTT packet after CONNECT (MQTT 5: told to the client, 0x95 beyond).
    #[schemars(extend("default" = "2MiB", "range" = "128 to 268435460"))]
    pub(crate) max_packet_size: Bytes,
    /// Longest client id, in bytes; of MQTT and MQTT-SN.
    #[schemars(extend("default" = "1024", "range" = "23 to 65535"))]
    pub(crate) max_client_id_length: Number,
    /// Longest topic name or filter, in bytes.
    #[schemars(extend("default" = "65535", "range" = "1 to 65535"))]
    pub(crate) max_topic_length: Number,
    /// Most levels of a topic name or filter.
    #[schemars(extend("default" = "200", "range" = "1 to 65536"))]
    pub(crate) max_topic_levels: Number,
    /// User properties of one packet.
    #[schemars(extend("default" = "64", "range" = "0 to 1099511627776"))]
    pub(crate) max_user_properties: Number,
    /// Bytes of the user properties of one packet.
    #[schemars(extend("default" = "16KiB", "range" = "0 to 1024GiB"))]
    pub(crate) max_user_property_bytes: Bytes,
    /// Longest will.
    #[schemars(extend("default" = "65535", "range" = "0 to 65535"))]
    pub(crate) max_will_payload: Bytes,
    /// Sessions of all protocols, connected or not.
    #[schemars(extend("default" = "1000000", "range" = "1 to 1099511627776"))]
    pub(crate) max_sessions: Number,
    /// Subscriptions of one session.
    #[schemars(extend("default" = "10000", "range" = "1 to 1099511627776"))]
    pub(crate) max_subscriptions_per_session: Number,
    /// Subscriptions of all sessions.
    #[schemars(extend("default" = "10000000", "range" = "1 to 1099511627776"))]
    pub(crate) max_subscriptions: Number,
    /// Groups of shared subscriptions.
    #[schemars(extend("default" = "100000", "range" = "0 to 1099511627776"))]
    pub(crate) max_share_groups: Number,
    /// Messages that wait for one session.
    #[schemars(extend("default" = "1000", "range" = "1 to 100000000"))]
    pub(crate) max_queued_messages: Number,
    /// Bytes that wait for one session.
    #[schemars(extend("default" = "8MiB", "range" = "1KiB to 4294967295"))]
    pub(crate) max_queued_bytes: Bytes,
    /// What a full queue does.
    #[schemars(extend("default" = "drop_oldest"))]
    pub(crate) overflow: Option<Typed<OverflowWord>>,
    /// Bytes that wait for all sessions; beyond it queues go to disk, or the longest is cut.
    #[schemars(extend("default" = "256MiB", "range" = "1MiB to 1024GiB"))]
    pub(crate) max_memory_queued: Bytes,
    /// Bytes that wait on disk for all sessions; beyond it what would go there is dropped.
    #[schemars(extend("default" = "4GiB", "range" = "0 to 1024GiB"))]
    pub(crate) max_disk_queued: Bytes,
    /// Written by clients, not yet stored; beyond it reads pause.
    #[schemars(extend("default" = "32MiB", "range" = "64KiB to 1024GiB"))]
    pub(crate) max_uncommitted_bytes: Bytes,
    /// Topics that have a retained message.
    #[schemars(extend("default" = "1000000", "range" = "0 to 1099511627776"))]
    pub(crate) max_retained_messages: Number,
    /// Bytes of all retained messages.
    #[schemars(extend("default" = "1GiB", "range" = "0 to 1024GiB"))]
    pub(crate) max_retained_bytes: Bytes,
    /// Per connection, what the peer has not read yet.
    #[schemars(extend("default" = "256KiB", "range" = "1KiB to 1GiB"))]
    pub(crate) max_outbox_bytes: Bytes,
    /// A connection whose peer reads nothing for so long is closed.
    #[schemars(extend("default" = "30s", "range" = "100ms to 1d"))]
    pub(crate) write_stall_timeout: Time,
    /// Publishes of one MQTT connection a second; beyond it the client is not read for a while, and is
    /// sent away (0x96) after a minute of that. 0: no bound.
    #[schemars(extend("default" = "0"))]
    pub(crate) max_publish_rate: Option<Typed<PerSecond>>,
    /// How long an MQTT connection may last (0xA0); 0s: for ever. The session stays.
    #[schemars(extend("default" = "0s", "range" = "0s to 36500d"))]
    pub(crate) max_connection_age: Time,
    /// Topic names that one MQTT-SN client may register.
    #[schemars(extend("default" = "1000", "range" = "1 to 65534"))]
    pub(crate) max_sn_topics_per_client: Number,
    /// Observations of all CoAP clients; beyond it GET is answered without Observe.
    #[schemars(extend("default" = "100000", "range" = "0 to 1099511627776"))]
    pub(crate) max_observers: Number,
    /// Observations of one CoAP client.
    #[schemars(extend("default" = "64", "range" = "0 to 1099511627776"))]
    pub(crate) max_observers_per_peer: Number,
    /// Requests that CoAP remembers, to recognise repetitions.
    #[schemars(extend("default" = "200000", "range" = "64 to 1099511627776"))]
    pub(crate) max_exchanges: Number,
}

/// The log.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Log {
    /// How much is logged.
    #[schemars(extend("default" = "info"))]
    pub(crate) level: Option<Typed<LogLevel>>,
    /// How lines look; `auto` is logfmt on a terminal and JSON otherwise.
    #[schemars(extend("default" = "auto"))]
    pub(crate) format: Option<Typed<LogFormat>>,
}

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
    /// (`/ps/data/…`, the topic data of draft-ietf-core-coap-pubsub), `emqx-ps` (`/ps/…`), `ponte-r`
    /// (`/r/…`). A list replaces the default.
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
    /// Query keys that are taken, and their targets: `qos`, `retain`, `expiry`,
    /// `user_property.NAME` or a `{capture}` that the topic reads.
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
