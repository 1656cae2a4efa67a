//! The shapes of the interface's answers. The commands read them back with the same types.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A reload of the configuration
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct LastReload {
    /// Whether the configuration was good; otherwise nothing was changed.
    pub(crate) successful: bool,
    /// When, in ms since 1970.
    pub(crate) at_ms: u64,
    /// The configuration in a line, or its mistakes.
    pub(crate) text: String,
}

/// How the gateway does
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct Status {
    /// Of the program.
    pub(crate) version: String,
    /// Of the gateway, as configured.
    pub(crate) name: String,
    /// How the last reload went; absent before the first.
    pub(crate) last_reload: Option<LastReload>,
    /// The process.
    pub(crate) pid: u32,
    /// When it started, in ms since 1970.
    pub(crate) started_ms: u64,
    /// How long it runs.
    pub(crate) uptime_ms: u64,
    /// Where it listens.
    pub(crate) listeners: Vec<Listener>,
    /// Clients by protocol and state; only what is there.
    pub(crate) clients: Vec<ClientCount>,
    /// MQTT connections.
    pub(crate) connections: Connections,
    /// UDP sockets, since the start.
    pub(crate) datagrams: Datagrams,
    /// Sessions, kept and observers' ones included.
    pub(crate) sessions: u64,
    /// Subscriptions of all sessions.
    pub(crate) subscriptions: u64,
    /// Retained messages.
    pub(crate) retained: Amount,
    /// Bytes that wait in all queues.
    pub(crate) queued_bytes: u64,
    /// What is kept on disk; absent where nothing is.
    pub(crate) store: Option<Store>,
    /// The registration at a resource directory; absent where none is wanted.
    pub(crate) resource_directory: Option<Registration>,
    /// How often something was refused, closed or dropped since the start, by reason; only what
    /// happened.
    pub(crate) reasons: BTreeMap<String, u64>,
    /// Every limit of the configuration.
    pub(crate) limits: Vec<Limit>,
}

/// A registration at a resource directory (RFC 9176); counts since the configuration wants it so
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct Registration {
    /// The directory, as configured.
    pub(crate) uri: String,
    /// Name of the gateway there.
    pub(crate) endpoint: String,
    /// Its sector, if it gives one.
    pub(crate) sector: Option<String>,
    /// The listener whose resources are registered.
    pub(crate) listener: String,
    /// `registering`, `registered`, or `failing`: the last attempt failed, the next one follows.
    pub(crate) state: String,
    /// Since when, in ms since 1970.
    pub(crate) since_ms: u64,
    /// The registration's own resource; absent before the first.
    pub(crate) location: Option<String>,
    /// Where clients are told that the resources are.
    pub(crate) base: Option<String>,
    /// Resources that are registered.
    pub(crate) links: u64,
    /// Resources that are not, because there are too many.
    pub(crate) left_out: u64,
    /// When the directory last took the registration or its renewal, in ms since 1970.
    pub(crate) confirmed_ms: Option<u64>,
    /// How often the resources were registered.
    pub(crate) registrations: u64,
    /// How often the registration was renewed.
    pub(crate) updates: u64,
    /// How often that failed.
    pub(crate) failures: u64,
    /// Why it failed last.
    pub(crate) last_failure: Option<String>,
    /// When that was, in ms since 1970.
    pub(crate) last_failure_ms: Option<u64>,
}

/// The store on disk; counts since the start of the program
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct Store {
    /// `power_loss` or `process_crash`.
    pub(crate) durability: String,
    /// The data directory.
    pub(crate) data_dir: String,
    /// Bytes that its files take.
    pub(crate) disk_bytes: u64,
    /// Bytes that may still be written on its file system.
    pub(crate) free_bytes: Option<u64>,
    /// Whether it cannot be written now.
    pub(crate) failing: bool,
    /// Writes, syncs and reopenings that failed.
    pub(crate) failures: u64,
    /// Batches that are stored, over all lives of the store.
    pub(crate) applied: u64,
    /// Batches that were stored.
    pub(crate) batches: u64,
    /// Group commits that stored them.
    pub(crate) groups: u64,
    /// Records in them.
    pub(crate) records: u64,
    /// Bytes of those records.
    pub(crate) bytes: u64,
    /// Parts of queues that were read.
    pub(crate) fetches: u64,
    /// How long the last syncs took, in microseconds: half of them at most so long.
    pub(crate) sync_p50_us: Option<u32>,
    /// And 99 % of them.
    pub(crate) sync_p99_us: Option<u32>,
    /// Acknowledged batches that were missing at the start.
    pub(crate) lost_batches: u64,
    /// Records that could not be read or understood.
    pub(crate) damaged_records: u64,
}

/// A listener
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct Listener {
    /// As configured.
    pub(crate) name: String,
    /// `mqtt`, `mqtt-sn` or `coap`.
    pub(crate) protocol: String,
    /// Address and port.
    pub(crate) address: String,
}

/// How many clients of a protocol are in a state
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct ClientCount {
    /// `mqtt`, `mqtt-sn` or `coap`.
    pub(crate) protocol: String,
    /// `active`, `asleep`, `awake`, `lost`, `observing` or `offline`.
    pub(crate) state: String,
    /// How many.
    pub(crate) count: u64,
}

/// Stream connections
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct Connections {
    /// Now, those before their CONNECT included.
    pub(crate) open: u64,
    /// Since the start.
    pub(crate) accepted: u64,
    /// Closed at once since the start: `max_connections`.
    pub(crate) refused: u64,
    /// Not accepted since the start, most often for want of file descriptors.
    pub(crate) accept_errors: u64,
    /// TLS handshakes that succeeded since the start.
    pub(crate) handshakes: u64,
    /// Ended since the start by what lies below MQTT (TLS, WebSocket, the PROXY protocol), by cause:
    /// `cert_expired`, `cert_revoked`, `cert_unknown_ca`, `no_tls`, `ws_request`, …
    pub(crate) failed: BTreeMap<String, u64>,
}

/// What UDP sockets had to drop
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct Datagrams {
    /// Longer than the receive buffer.
    pub(crate) truncated: u64,
    /// The system would not send them.
    pub(crate) send_errors: u64,
    /// Not sent because too many waited.
    pub(crate) send_dropped: u64,
}

/// Messages and their bytes
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct Amount {
    /// How many.
    pub(crate) messages: u64,
    /// Topics and payloads.
    pub(crate) bytes: u64,
}

/// A limit
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct Limit {
    /// Under `limits` in the configuration.
    pub(crate) key: String,
    /// `count`, `bytes`, `ms` or `per_second`.
    pub(crate) unit: String,
    /// Its value; of `ms` and `per_second` 0 is no bound.
    pub(crate) max: u64,
    /// How much is used now; `null` where it holds for each client by itself.
    pub(crate) used: Option<u64>,
    /// How often it refused or dropped since the start; `null` where only `reasons` has it.
    pub(crate) acted: Option<u64>,
}

/// A client
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct Client {
    /// Its name.
    pub(crate) client_id: String,
    /// The name space of its name.
    pub(crate) realm: String,
    /// `mqtt`, `mqtt-sn` or `coap`.
    pub(crate) protocol: String,
    /// Of the protocol, where there are several: `3.1`, `3.1.1`, `5.0`.
    pub(crate) version: Option<String>,
    /// `active`, `asleep`, `awake`, `lost`, `observing` or `offline`.
    pub(crate) state: String,
    /// The listener that it came in by; `null` while it is not connected.
    pub(crate) listener: Option<String>,
    /// Its address and port.
    pub(crate) peer: Option<String>,
    /// Asleep: in which time it said it would be back; 0 when that is over.
    pub(crate) wakes_in_ms: Option<u64>,
    /// Asleep: in which time it is given up.
    pub(crate) lost_in_ms: Option<u64>,
    /// Not connected: in which time its session ends; `null` is never.
    pub(crate) ends_in_ms: Option<u64>,
    /// Whether its session outlives its connection.
    pub(crate) kept: bool,
    /// Its subscriptions, or observations.
    pub(crate) subscriptions: u64,
    /// Messages that wait for it.
    pub(crate) queued_messages: u64,
    /// Bytes of them.
    pub(crate) queued_bytes: u64,
    /// Deliveries that were made and are not acknowledged.
    pub(crate) in_flight: u64,
}

/// A page of clients
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct Clients {
    /// In the order of the gateway's tables.
    pub(crate) clients: Vec<Client>,
    /// `cursor` of the next page; `null` at the end.
    pub(crate) next: Option<String>,
}

/// Everybody of one client id: one entry in most gateways, one a realm in others
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct ClientDetails {
    /// At least one.
    pub(crate) clients: Vec<ClientDetail>,
}

/// A client and what it is subscribed to
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct ClientDetail {
    /// The client.
    #[serde(flatten)]
    pub(crate) client: Client,
    /// At most 1,000 of its subscriptions.
    pub(crate) subscribed: Vec<Subscription>,
    /// What a CoAP client observes.
    pub(crate) observed: Vec<Observation>,
    /// Most messages that its queue holds now.
    pub(crate) max_queued_messages: u64,
    /// Most bytes that its queue holds now.
    pub(crate) max_queued_bytes: u64,
    /// Whether a will is published when it is lost.
    pub(crate) has_will: bool,
}

/// A subscription
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct Subscription {
    /// As subscribed, `$share/…` included.
    pub(crate) filter: String,
    /// Highest QoS.
    pub(crate) qos: u8,
    /// Not what the client publishes itself.
    pub(crate) no_local: bool,
}

/// An observation
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct Observation {
    /// As it was asked for.
    pub(crate) path: String,
    /// What the path stands for.
    pub(crate) topic: String,
}

/// A page of topic levels
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct Levels {
    /// In byte order.
    pub(crate) levels: Vec<Level>,
    /// `cursor` of the next page; `null` at the end.
    pub(crate) next: Option<String>,
}

/// A level of retained topics
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct Level {
    /// Its text; may be empty.
    pub(crate) level: String,
    /// The whole topic up to it.
    pub(crate) topic: String,
    /// Retained topics below it, itself not counted.
    pub(crate) below: u64,
    /// The retained message of the topic itself; a payload of more than 1 KiB is left out.
    pub(crate) retained: Option<Message>,
}

/// A page of topics that CoAP clients observe
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct Audience {
    /// In byte order.
    pub(crate) topics: Vec<Observers>,
    /// `cursor` of the next page; `null` at the end.
    pub(crate) next: Option<String>,
}

/// How many CoAP clients observe a topic
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct Observers {
    /// The topic, or the filter of a rule with wildcards.
    pub(crate) topic: String,
    /// Observations of it.
    pub(crate) observers: u32,
}

/// A retained message
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct Message {
    /// Of the message.
    pub(crate) topic: String,
    /// As published.
    pub(crate) qos: u8,
    /// Bytes of the payload.
    pub(crate) bytes: u64,
    /// The payload, where it is text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) payload: Option<String>,
    /// The payload, where it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) payload_hex: Option<String>,
    /// Content Type of MQTT.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) content_type: Option<String>,
    /// Content-Format of CoAP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) content_format: Option<u16>,
    /// Who published it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) publisher: Option<String>,
    /// How long it lives on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) expires_in_ms: Option<u64>,
}

/// Who a message on a topic would go to, were it published now
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct Receivers {
    /// Of the message.
    pub(crate) topic: String,
    /// Of the message.
    pub(crate) qos: u8,
    /// By ordinary subscriptions and observations.
    pub(crate) receivers: Vec<Receiver>,
    /// By shared subscriptions, of which one member gets it; on the first page only.
    pub(crate) groups: Vec<Group>,
    /// `cursor` of the next page; `null` at the end.
    pub(crate) next: Option<String>,
}

/// A receiver
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct Receiver {
    /// Who.
    pub(crate) client: Client,
    /// At which QoS it gets the message.
    pub(crate) qos: u8,
    /// How many of its filters match.
    pub(crate) filters: u64,
    /// Whether it would not get what it publishes itself.
    pub(crate) no_local: bool,
    /// `now`, `queued` or `dropped` (QoS 0, and nothing is kept for it now).
    pub(crate) reach: String,
    /// Queued: the place it would have.
    pub(crate) place: Option<u64>,
    /// Queued: of so many.
    pub(crate) places: Option<u64>,
    /// The path that a CoAP client observes.
    pub(crate) path: Option<String>,
    /// The same in words: `asleep, next wake in 42 s, would be 2 of 20 in its queue`.
    pub(crate) text: String,
}

/// A group of shared subscriptions
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct Group {
    /// Its share name.
    pub(crate) share: String,
    /// Its filter.
    pub(crate) filter: String,
    /// How many share.
    pub(crate) members: u64,
    /// Whose turn it is.
    pub(crate) next: Option<Receiver>,
}

/// Whether the gateway lives, or serves
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct Health {
    /// `ok`.
    pub(crate) status: String,
}
