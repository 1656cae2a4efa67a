//! Bounds: the block `limits`, and what a listener says of its own.

use motegate_mapping::Rate;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{Bytes, Number, Time};
use crate::value::{OverflowWord, PerSecond, PerTime, Typed};

/// Bounds on everything that can grow.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Limits {
    /// Stream connections open at a time; one more is closed at once.
    #[schemars(extend("default" = "100000", "range" = "1 to 10000000"))]
    pub(crate) max_connections: Number,
    /// How fast MQTT connections may come in all; as many at once. One too early waits up to a second
    /// and is then refused (0x9F). As many new MQTT-SN sessions beside them, beyond which the answer is
    /// "congestion". The default leaves loopback alone. 0: no bound.
    #[schemars(extend("default" = "1000/s"))]
    pub(crate) max_connect_rate: Option<Typed<PerTime>>,
    /// The same for one address (of IPv6: one /64 network).
    #[schemars(extend("default" = "50/s"))]
    pub(crate) max_connect_rate_per_address: Option<Typed<PerTime>>,
    /// Connections that have not said CONNECT, or the CSM of CoAP; beyond it the oldest is closed.
    #[schemars(extend("default" = "4096", "range" = "1 to 10000000"))]
    pub(crate) max_half_open: Number,
    /// From accept to the end of CONNECT, or to the CSM of CoAP.
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
    /// Bytes of the filters of one session's subscriptions, share names and mount included.
    #[schemars(extend("default" = "1MiB", "range" = "1KiB to 1024GiB"))]
    pub(crate) max_subscription_bytes_per_session: Bytes,
    /// Subscriptions of all sessions.
    #[schemars(extend("default" = "10000000", "range" = "1 to 1099511627776"))]
    pub(crate) max_subscriptions: Number,
    /// Groups of shared subscriptions.
    #[schemars(extend("default" = "100000", "range" = "0 to 1099511627776"))]
    pub(crate) max_share_groups: Number,
    /// Messages that wait for one session.
    #[schemars(extend("default" = "1000", "range" = "1 to 100000000"))]
    pub(crate) max_queued_messages: Number,
    /// Bytes that wait for one session, and as many that are sent and not acknowledged: beyond those
    /// what comes waits.
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
    /// Per connection, what the peer has not read yet. What a CoAP client observes it is told beyond that
    /// when it has read, the latest value only.
    #[schemars(extend("default" = "256KiB", "range" = "1KiB to 1GiB"))]
    pub(crate) max_outbox_bytes: Bytes,
    /// A connection whose peer reads nothing for so long is closed.
    #[schemars(extend("default" = "30s", "range" = "100ms to 1d"))]
    pub(crate) write_stall_timeout: Time,
    /// Publishes of one MQTT connection a second; what comes faster is not looked at before its time,
    /// nor acknowledged, and who still sends faster after a minute is sent away (0x96). 0: no bound.
    #[schemars(extend("default" = "0"))]
    pub(crate) max_publish_rate: Option<Typed<PerSecond>>,
    /// How long an MQTT connection may last (0xA0); 0s: for ever. The session stays.
    #[schemars(extend("default" = "0s", "range" = "0s to 36500d"))]
    pub(crate) max_connection_age: Time,
    /// Topic names that one MQTT-SN client may register, and filters that it may subscribe to.
    #[schemars(extend("default" = "1000", "range" = "1 to 65534"))]
    pub(crate) max_sn_topics_per_client: Number,
    /// Observations of all CoAP clients; beyond it GET is answered without Observe.
    #[schemars(extend("default" = "100000", "range" = "0 to 1099511627776"))]
    pub(crate) max_observers: Number,
    /// Observations of one CoAP client.
    #[schemars(extend("default" = "64", "range" = "0 to 1099511627776"))]
    pub(crate) max_observers_per_peer: Number,
    /// CoAP observers of one topic, by whichever listener and path, or of one filter of a rule with
    /// wildcards; beyond it GET is answered without Observe. A reload ends nobody's observation. The
    /// status shows the number of the topic that has the most.
    #[schemars(extend("default" = "100000", "range" = "0 to 1099511627776"))]
    pub(crate) max_observers_per_topic: Number,
    /// Requests of one CoAP client a second; 0: any number. Beyond it 4.29 with Max-Age. MQTT-SN has
    /// no such bound yet.
    #[schemars(extend("default" = "0"))]
    pub(crate) packet_rate_per_peer: Option<Typed<PerSecond>>,
    /// Bodies in blocks that one CoAP client sends at a time; beyond it 5.03. As many of its answers are kept.
    #[schemars(extend("default" = "4", "range" = "1 to 1000"))]
    pub(crate) max_blocks_in_progress_per_peer: Number,
    /// Requests that CoAP remembers, to recognise repetitions.
    #[schemars(extend("default" = "200000", "range" = "64 to 1099511627776"))]
    pub(crate) max_exchanges: Number,
    /// Topics that CoAP clients may make in the collection of the preset `core-pubsub`; beyond it 5.03.
    #[schemars(extend("default" = "10000", "range" = "0 to 1099511627776"))]
    pub(crate) max_pubsub_topics: Number,
    /// Bytes of the configuration of one of them, with its first data; beyond it 4.13.
    #[schemars(extend("default" = "4KiB", "range" = "64 to 64KiB"))]
    pub(crate) max_pubsub_topic_size: Bytes,
    /// CoAP clients that may be connected as EMQX's are (the preset `emqx-ps`); beyond it 5.03.
    #[schemars(extend("default" = "100000", "range" = "0 to 1099511627776"))]
    pub(crate) max_coap_logins: Number,
}

/// Bounds of one listener; what it does not say is as in `limits`. Each key of `limits` is here, or in
/// [`listener_limits`](crate::listener_limits) with the reason why it bounds all listeners together.
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
    /// Connections of this listener that have not said CONNECT; beyond it the oldest of them is closed.
    #[schemars(extend("otherwise" = "`limits`", "range" = "1 to 10000000"))]
    pub(crate) max_half_open: Number,
    /// From accept to the end of CONNECT, or to the CSM of CoAP.
    #[schemars(extend("otherwise" = "`limits`", "range" = "100ms to 1h"))]
    pub(crate) connect_timeout: Time,
    /// From CONNECT to the end of its authentication, and the longest re-authentication.
    #[schemars(extend("otherwise" = "`limits`", "range" = "100ms to 1h"))]
    pub(crate) auth_timeout: Time,
    /// Wrong passwords from one address, after which this listener does not listen to it for 60 s.
    #[schemars(extend("otherwise" = "`limits`"))]
    pub(crate) max_auth_failures: Option<Typed<Rate>>,
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
    /// Subscriptions of one session, while it is connected by this listener.
    #[schemars(extend("otherwise" = "`limits`", "range" = "1 to 1099511627776"))]
    pub(crate) max_subscriptions_per_session: Number,
    /// Bytes of their filters.
    #[schemars(extend("otherwise" = "`limits`", "range" = "1KiB to 1024GiB"))]
    pub(crate) max_subscription_bytes_per_session: Bytes,
    /// Messages that wait for one session.
    #[schemars(extend("otherwise" = "`limits`", "range" = "1 to 100000000"))]
    pub(crate) max_queued_messages: Number,
    /// Bytes that wait for one session, and as many that are sent and not acknowledged.
    #[schemars(extend("otherwise" = "`limits`", "range" = "1KiB to 4294967295"))]
    pub(crate) max_queued_bytes: Bytes,
    /// What a full queue does.
    #[schemars(extend("otherwise" = "`limits`"))]
    pub(crate) overflow: Option<Typed<OverflowWord>>,
    /// Per connection, what the peer has not read yet. What a CoAP client observes it is told beyond that
    /// when it has read, the latest value only.
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
    /// MQTT-SN: topic names that one client may register, and filters that it may subscribe to.
    #[schemars(extend("otherwise" = "`limits`", "range" = "1 to 65534"))]
    pub(crate) max_sn_topics_per_client: Number,
    /// CoAP: observations of one client.
    #[schemars(extend("otherwise" = "`limits`", "range" = "0 to 1099511627776"))]
    pub(crate) max_observers_per_peer: Number,
    /// CoAP: requests of one client a second.
    #[schemars(extend("otherwise" = "`limits`"))]
    pub(crate) packet_rate_per_peer: Option<Typed<PerSecond>>,
    /// CoAP: bodies in blocks of one client at a time.
    #[schemars(extend("otherwise" = "`limits`", "range" = "1 to 1000"))]
    pub(crate) max_blocks_in_progress_per_peer: Number,
}
