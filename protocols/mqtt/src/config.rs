//! What the MQTT endpoint is told at construction; the keys of `config.md`.

use alloc::string::String;
use core::time::Duration;

use crate::codec::Utf8;

/// Settings of the endpoint; the defaults are those of the reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Speak MQTT 3.1 (`MQIsdp`, level 3).
    pub allow_v31: bool,
    /// Speak MQTT 3.1.1 (level 4).
    pub allow_v311: bool,
    /// Speak MQTT 5.0 (level 5).
    pub allow_v5: bool,
    /// Highest QoS granted and taken, 0 to 2.
    pub max_qos: u8,
    /// Whether retained messages are kept.
    pub retain_available: bool,
    /// Whether filters may hold wildcards.
    pub wildcard_subscriptions: bool,
    /// Whether `$share/…` is offered.
    pub shared_subscriptions: bool,
    /// Whether subscription identifiers are offered.
    pub subscription_identifiers: bool,
    /// Longest keep alive granted; zero: as the client asks.
    pub max_keep_alive: Duration,
    /// Longest session expiry granted; also that of a 3.x session without Clean Session.
    pub max_session_expiry: Duration,
    /// Topic aliases taken from a client, and most used towards one.
    pub topic_alias_maximum: u16,
    /// QoS 1/2 publishes that a client may have open.
    pub receive_maximum: u16,
    /// QoS 2 publishes of an MQTT 3 client that it has not released: nothing tells it of a bound, so
    /// that it may have more for a minute.
    pub max_awaiting_release: u16,
    /// Most deliveries outstanding towards a client.
    pub max_inflight: u16,
    /// Largest packet taken, header included, in bytes.
    pub max_packet_size: u32,
    /// Largest CONNECT taken, in bytes.
    pub max_connect_size: u32,
    /// Longest client id, in bytes.
    pub max_client_id_length: usize,
    /// Longest topic name or filter, in bytes.
    pub max_topic_length: usize,
    /// Most levels of a topic name or filter.
    pub max_topic_levels: usize,
    /// What stands before their topics beyond this endpoint counts with these two.
    pub prefix: Prefix,
    /// Most user properties of a packet.
    pub max_user_properties: usize,
    /// Most bytes of them together.
    pub max_user_property_bytes: usize,
    /// Longest will, in bytes.
    pub max_will_payload: usize,
    /// Publishes of a connection a second; beyond it the client is not read for a while; 0: any.
    pub max_publish_rate: u32,
    /// How long a connection may last; zero: for ever.
    pub max_connection_age: Duration,
    /// Connections that have not said CONNECT; beyond it the oldest is closed.
    pub max_half_open: usize,
    /// From the open connection to a whole CONNECT.
    pub connect_timeout: Duration,
    /// From a whole CONNECT to the end of its authentication; also the longest re-authentication.
    pub auth_timeout: Duration,
    /// What a peer may leave unread, in bytes.
    pub max_outbox_bytes: u32,
    /// Longest time without progress of a full outbox.
    pub write_stall_timeout: Duration,
    /// Prefix of assigned client ids.
    pub assigned_prefix: String,
    /// Response Information, on request: this, the client id and `/`; empty: none is given.
    pub response_prefix: String,
    /// Where every client is sent instead (MQTT 5 §4.11); empty: nowhere.
    pub server_reference: String,
    /// Whether clients are sent there for good (0x9D) rather than for now (0x9C).
    pub server_moved: bool,
    /// Which characters the strings of packets may hold.
    pub utf8: Utf8,
    /// Whether payloads that say they are UTF-8 must be.
    pub validate_payload_format: bool,
    /// Whether a denied PUBLISH or SUBSCRIBE ends the connection.
    pub deny_disconnects: bool,
}

/// A text that stands before every topic of a listener, in bytes and in slashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Prefix {
    /// Bytes.
    pub bytes: usize,
    /// As many levels more.
    pub slashes: usize,
}

impl Prefix {
    /// Of this text.
    #[must_use]
    pub fn of(text: &str) -> Self {
        Prefix { bytes: text.len(), slashes: text.matches('/').count() }
    }
}

impl Default for Config {
    fn default() -> Self {
        Config {
            allow_v31: true,
            allow_v311: true,
            allow_v5: true,
            max_qos: 2,
            retain_available: true,
            wildcard_subscriptions: true,
            shared_subscriptions: true,
            subscription_identifiers: true,
            max_keep_alive: Duration::ZERO,
            max_session_expiry: Duration::from_secs(30 * 24 * 3600),
            topic_alias_maximum: 64,
            receive_maximum: 1024,
            max_awaiting_release: 8192,
            max_inflight: 128,
            max_packet_size: 2 * 1024 * 1024,
            max_connect_size: 512 * 1024,
            max_client_id_length: 1024,
            max_topic_length: 65_535,
            max_topic_levels: 200,
            prefix: Prefix::default(),
            max_user_properties: 64,
            max_user_property_bytes: 16 * 1024,
            max_will_payload: 65_535,
            max_publish_rate: 0,
            max_connection_age: Duration::ZERO,
            max_half_open: 4_096,
            connect_timeout: Duration::from_secs(10),
            auth_timeout: Duration::from_secs(15),
            max_outbox_bytes: 256 * 1024,
            write_stall_timeout: Duration::from_secs(30),
            assigned_prefix: "auto-".into(),
            response_prefix: String::new(),
            server_reference: String::new(),
            server_moved: false,
            utf8: Utf8::Strict,
            validate_payload_format: false,
            deny_disconnects: false,
        }
    }
}
