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

use motegate_message::Group;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::discovery::Forwarder;
use crate::tests::TestBlock;
use crate::transport::ProxyWord;
use crate::users::User;
use crate::value::{
    ClientFromWord, DenyWord, Durability, EchoWord, Factor, KeepWord, LogFormat, LogLevel,
    MqttVersion, OneOrMany, OverflowWord, RebindWord, SharedWord, Size, TakeoverWord, Typed,
    Utf8Word,
};

mod directory;
mod language;
mod limits;
mod tls;

pub(crate) use directory::ResourceDirectory;
pub(crate) use language::*;
pub(crate) use limits::{Limits, ListenerLimits};
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
    /// Who has a password, for MQTT and for CoAP devices written for EMQX (preset `emqx-ps`).
    /// `motegate passwd NAME` writes an entry.
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
    #[schemars(extend("otherwise" = "`PROTOCOL-PORT`, with `-` for `+`"))]
    pub(crate) name: Text,
    /// What is spoken.
    #[schemars(extend(
        "required" = true,
        "words" = [
            "mqtt", "mqtts", "ws", "wss", "mqttsn", "coap", "coap+tcp", "coaps+tcp", "coap+ws", "coaps+ws"
        ]
    ))]
    pub(crate) protocol: Text,
    /// `ADDRESS:PORT` or a list of them; `[::]` is every address, IPv4 too. `unix:PATH`, relative to
    /// the folder of the file that says it, is a Unix socket, for MQTT.
    #[schemars(extend("otherwise" = "the protocol's port on 127.0.0.1"))]
    pub(crate) bind: Option<OneOrMany<String>>,
    /// Whether clients that give no identity may connect.
    #[schemars(extend("default" = "false"))]
    pub(crate) anonymous: Flag,
    /// MQTT only: whether a client's id must be its identity (the user, or what `tls.identity` names of
    /// its certificate); another is refused with 0x85 and not renamed.
    #[schemars(extend("default" = "false"))]
    pub(crate) client_id_from_identity: Flag,
    /// CoAP only: where a client's name comes from: `address` (`anon-IP`) or `query` (`?client=`).
    #[schemars(extend("otherwise" = "`address`"))]
    pub(crate) client_from: Option<Typed<ClientFromWord>>,
    /// CoAP only: whether clients must connect as EMQX's do (`POST /mqtt/connection` of the preset
    /// `emqx-ps`) and show client id and token with every request, whatever its path. Where it is
    /// false they may.
    #[schemars(extend("default" = "false"))]
    pub(crate) connection_required: Flag,
    /// Name space of client ids; listeners of one realm share sessions.
    #[schemars(extend("otherwise" = "the protocol"))]
    pub(crate) realm: Text,
    /// `{tenant}` in templates.
    #[schemars(extend("default" = ""))]
    pub(crate) tenant: Text,
    /// Prefix of every topic of this listener; may hold `{tenant}`, `{listener}` and `{gateway}`.
    /// MQTT's response topics travel as they are: who asks and who answers need the same mount. An MQTT
    /// session that comes by a listener with another mount keeps what has no name there, within the
    /// bounds of its queue.
    #[schemars(extend("default" = ""))]
    pub(crate) mount: Text,
    /// Bounds of this listener alone, none above those of `limits`. Not every one is for every protocol.
    pub(crate) limits: Option<ListenerLimits>,
    /// mqtts, wss, coaps+tcp and coaps+ws: certificates.
    #[schemars(extend("otherwise" = "none"))]
    pub(crate) tls: Option<Tls>,
    /// WebSocket (ws, wss, coap+ws, coaps+ws): the path that is served.
    #[schemars(extend("otherwise" = "`/mqtt`, of CoAP `/.well-known/coap`"))]
    pub(crate) path: Text,
    /// WebSocket: values of the header `Origin` that are served, such as `https://app.example`.
    #[schemars(extend("otherwise" = "all"))]
    pub(crate) origins: Option<OneOrMany<String>>,
    /// WebSocket: addresses or networks whose header `X-Forwarded-For` is believed.
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
    /// MQTT 3, which cannot be told of a receive maximum: QoS 2 publishes that a client has not released
    /// (PUBREL). One that has more for a minute is closed; the oldest beyond it are forgotten with the
    /// connection.
    #[schemars(extend("default" = "8192", "range" = "1 to 65535"))]
    pub(crate) max_awaiting_release: Number,
    /// QoS 1 and 2 deliveries open towards a client, never above its own Receive Maximum.
    #[schemars(extend("default" = "128", "range" = "1 to 65535"))]
    pub(crate) max_inflight: Number,
    /// Whether QoS 0 messages, too, wait for sessions that are away, those of MQTT-SN included.
    #[schemars(extend("default" = "false"))]
    pub(crate) queue_qos0: Flag,
    /// Start of the client ids given to clients that name none; a UUID follows.
    #[schemars(extend("default" = "auto-"))]
    pub(crate) assigned_client_id_prefix: Text,
    /// MQTT 5, Response Information, for clients that ask: this, their client id and `/`, as they name
    /// it below their listener's mount; empty: none.
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
    /// Multicast groups that are joined, so that devices find the gateway (SEARCHGW; broadcast is heard anyway): each
    /// `ADDRESS%INTERFACE`, heard at the port of every MQTT-SN listener on all addresses.
    #[schemars(extend("default" = []))]
    pub(crate) discovery_groups: Option<Vec<Typed<Group>>>,
    /// How long an answer is waited for before a repetition (Tretry).
    #[schemars(extend("default" = "10s", "range" = "100ms to 1h"))]
    pub(crate) retry_timeout: Time,
    /// How often a message is repeated (Nretry). One that 16 connections or awakenings in a row did
    /// not get is given up, so that it does not stop those behind it.
    #[schemars(extend("default" = "4", "range" = "0 to 255"))]
    pub(crate) max_retries: Number,
    /// Longest sleep that is waited for: a device that asks for more is not told (MQTT-SN 1.2 has no
    /// word for it), and lost when that is over.
    #[schemars(extend("default" = "24h", "range" = "1s to 365d"))]
    pub(crate) max_sleep: Time,
    /// The queue of a sleeping client.
    pub(crate) when_asleep: Option<WhenAsleep>,
    /// Whose forwarder encapsulation is taken: `allow` is everybody's, `deny` nobody's, a list of
    /// networks (`[192.168.7.0/24]`) that of forwarders there.
    #[schemars(extend("default" = "allow"))]
    pub(crate) forwarders: Option<OneOrMany<Forwarder>>,
    /// From which new address a sleeping client may go on.
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
    /// Largest payload of one message to a client: what is longer leaves in blocks of the largest
    /// size within it (16, 32, 64 … 1024), and requests are asked to come in such blocks.
    #[schemars(extend("default" = "1024", "range" = "16 to 1024"))]
    pub(crate) block_size: Number,
    /// Largest body of a request, in one message or in blocks; beyond it 4.13 with Size1.
    #[schemars(extend("default" = "256KiB", "range" = "16 to 64MiB"))]
    pub(crate) max_body: Bytes,
    /// How long a body of which a part has come, or left, waits for the next block.
    #[schemars(extend("default" = "30s", "range" = "1s to 1h"))]
    pub(crate) block_timeout: Time,
    /// Every n-th notification is confirmable, the first after an hour of silence, and one in 24 h.
    #[schemars(extend("default" = "8", "range" = "1 to 1000000"))]
    pub(crate) notify_confirmable_every: Number,
    /// Multicast groups that are joined, so that clients find the gateway: each `ADDRESS%INTERFACE`
    /// (224.0.1.187, ff02::fd and ff05::fd are CoAP's own), heard at the port of every CoAP listener on
    /// all addresses. Told is that there is a broker (`/.well-known/core?rt=core.ps`), not its topics.
    #[schemars(extend("default" = []))]
    pub(crate) multicast_discovery: Option<Vec<Typed<Group>>>,
    /// A resource directory (RFC 9176) that the gateway registers at, so that clients find there what it
    /// serves: what `/.well-known/core` shows to a client without identity, at most 200 links, without
    /// sizes; of a listener that shows such a client nothing, that there is a broker. The registration is
    /// renewed when three quarters of its lifetime have passed, every hour at least and at each reload;
    /// made anew where the directory has forgotten it; and removed when the gateway stops. A directory
    /// that fails is asked again after 10 s, then after twice as long each time, up to an hour.
    #[schemars(extend("otherwise" = "none"))]
    pub(crate) resource_directory: Option<ResourceDirectory>,
    /// How often a client that has connected as EMQX's do is to be heard (`PUT /mqtt/connection`, or any
    /// request with its token); after 1.5 times as long without a word it is disconnected.
    #[schemars(extend("default" = "30s", "range" = "1s to 7d"))]
    pub(crate) heartbeat: Time,
    /// Longest message of a connection (coap+tcp, coap+ws …), which a client is told in the CSM
    /// (RFC 8323); a longer one ends the connection. Above 1152, several blocks come and go at once.
    #[schemars(extend("default" = "66048", "range" = "64 to 64MiB"))]
    pub(crate) max_message_size: Bytes,
    /// A connection of which nothing is heard for so long is sent a Ping, and ended if that is not
    /// answered within 30 s; 0s: never.
    #[schemars(extend("default" = "10m", "range" = "0s to 7d"))]
    pub(crate) idle_timeout: Time,
    /// What leaves for a client that may not be where its datagrams say.
    pub(crate) unverified_peer: Option<UnverifiedPeer>,
}

/// Clients whose address is in doubt (RFC 9175): somebody else may ask in their name.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct UnverifiedPeer {
    /// Bytes that leave for one that came, headers counted with both.
    #[schemars(extend("default" = "3", "range" = "1 to 1000"))]
    pub(crate) amplification: Number,
    /// Whose address is in doubt until an Echo option, or an acknowledgement, comes back from it.
    /// `auto`: all but loopback, link-local and private addresses; a large value comes in small blocks
    /// until then, so that clients without Echo can read all there is, and who observes is asked for
    /// an Echo (4.01). `always`: everybody's, and a large value is answered 4.01, too; for a gateway
    /// behind something that puts its own address in the place of its clients'. `off`: nobody's.
    #[schemars(extend("default" = "auto"))]
    pub(crate) echo: Option<Typed<EchoWord>>,
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
