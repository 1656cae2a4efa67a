//! What an MQTT client is told at construction, and the CONNECT that it makes (MQTT 5 §3.1).

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use motegate_message::{Qos, TopicName};

use crate::codec;
use crate::error::{DecodeError, EncodeError};
use crate::packet::{Connect, Packet, PacketType, Sender, Version, Will};
use crate::properties::{Properties, Property, PropertyBuf, Scope};

/// A password; its `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(pub Vec<u8>);

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

/// The will: what the server publishes when the client is lost (MQTT 5 §3.1.2.5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientWill {
    /// Will Topic.
    pub topic: String,
    /// Will Payload, at most 65,535 bytes.
    pub payload: Vec<u8>,
    /// Will QoS.
    pub qos: Qos,
    /// Will Retain.
    pub retain: bool,
    /// Will Properties (5.0): delay interval, expiry, content type, response topic…
    pub properties: PropertyBuf,
}

/// When to connect again after a connection was lost: the n-th wait in a row is
/// `first` · 2ⁿ⁻¹, at most `max`, and a random part of up to a half is taken off it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reconnect {
    /// The first wait.
    pub first: Duration,
    /// The longest wait. A connection that lasted this long, or that got something through (a
    /// publish acknowledged, a message received), makes the next wait the first again.
    pub max: Duration,
    /// Attempts in a row before giving up; `None`: never.
    pub attempts: Option<u32>,
    /// Also when there was no connection yet. A tool wants to hear at once that the address is
    /// wrong; a bridge wants to go on.
    pub initially: bool,
}

impl Default for Reconnect {
    fn default() -> Self {
        Reconnect {
            first: Duration::from_secs(1),
            max: Duration::from_secs(60),
            attempts: None,
            initially: false,
        }
    }
}

/// Settings of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientConfig {
    /// Which version to speak.
    pub version: Version,
    /// Go on with 3.1.1 when the server does not speak 5.0.
    pub fall_back: bool,
    /// Client Identifier. Empty: the server chooses one; 5.0 tells it and it is kept.
    pub client_id: String,
    /// Clean Start, Clean Session: discard what the server holds. With 5.0 and a session expiry it
    /// concerns the first connection only: later ones resume.
    pub clean: bool,
    /// Keep Alive in seconds; 0: none. The server may set another (5.0).
    pub keep_alive_secs: u16,
    /// Session Expiry Interval in seconds (5.0); 0: the session ends with the connection,
    /// `u32::MAX`: never.
    pub session_expiry_secs: u32,
    /// The will.
    pub will: Option<ClientWill>,
    /// User Name.
    pub user_name: Option<String>,
    /// Password.
    pub password: Option<Password>,
    /// Authentication Method (5.0 only, without `fall_back`): then the driver is asked by
    /// `Event::AuthWanted`.
    pub auth_method: Option<String>,
    /// Further properties of CONNECT (5.0): user properties, Request Response Information, Request
    /// Problem Information.
    pub properties: PropertyBuf,
    /// QoS 1/2 messages that the server may have open (5.0), at least 1. mosquitto up to 2.0.11
    /// sends more after a reconnection; `u16::MAX`, which is not announced, takes that.
    pub receive_maximum: u16,
    /// Largest packet taken, in bytes with its header; announced in 5.0, enforced always.
    pub max_packet_size: u32,
    /// Topic aliases that the server may use (5.0).
    pub topic_alias_maximum: u16,
    /// Most topic aliases used towards the server (5.0), within what it allows; 0: none.
    pub max_topic_aliases: u16,
    /// Acknowledge by [`Client::acknowledge`](super::Client::acknowledge) instead of at once.
    pub manual_ack: bool,
    /// Most QoS 1/2 publishes in flight, at least 1; the server's Receive Maximum may be lower.
    pub max_inflight: u16,
    /// Most publishes kept, in flight or waiting.
    pub max_queue: usize,
    /// Most bytes of them: topics, properties, payloads.
    pub max_queue_bytes: usize,
    /// Bytes waiting to be written from which on publishes wait in the queue.
    pub max_outbox_bytes: usize,
    /// Most SUBSCRIBE and UNSUBSCRIBE requests without an answer.
    pub max_requests: usize,
    /// Most subscriptions remembered for a lost session.
    pub max_subscriptions: usize,
    /// Subscribe again by itself when the server has lost the session.
    pub resubscribe: bool,
    /// From the wish to connect to the CONNACK.
    pub connect_timeout: Duration,
    /// From a PINGREQ to a sign of life.
    pub ping_timeout: Duration,
    /// Whether and when to connect again.
    pub reconnect: Option<Reconnect>,
}

impl ClientConfig {
    /// A clean 5.0 session under this id; everything else as most want it.
    #[must_use]
    pub fn new(client_id: &str) -> Self {
        ClientConfig {
            version: Version::V5,
            fall_back: false,
            client_id: client_id.into(),
            clean: true,
            keep_alive_secs: 60,
            session_expiry_secs: 0,
            will: None,
            user_name: None,
            password: None,
            auth_method: None,
            properties: PropertyBuf::new(),
            receive_maximum: 1024,
            max_packet_size: 16 * 1024 * 1024,
            topic_alias_maximum: 16,
            max_topic_aliases: 0,
            manual_ack: false,
            max_inflight: 128,
            max_queue: 10_000,
            max_queue_bytes: 16 * 1024 * 1024,
            max_outbox_bytes: 256 * 1024,
            max_requests: 256,
            max_subscriptions: 10_000,
            resubscribe: true,
            connect_timeout: Duration::from_secs(15),
            ping_timeout: Duration::from_secs(10),
            reconnect: Some(Reconnect::default()),
        }
    }

    /// Whether a CONNECT can be made of it.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let empty_id = self.client_id.is_empty();
        match self.version {
            Version::V31 if empty_id => return Err(ConfigError::NoClientId),
            // [MQTT-3.1.3-7] of 3.1.1
            Version::V311 if empty_id && !self.clean => return Err(ConfigError::NoClientId),
            _ => {}
        }
        let old = !self.version.is_v5() || self.fall_back;
        if old && self.auth_method.is_some() {
            return Err(ConfigError::Authentication);
        }
        if old && self.password.is_some() && self.user_name.is_none() {
            return Err(ConfigError::PasswordAlone);
        }
        let limits = [self.receive_maximum.into(), self.max_packet_size, self.max_inflight.into()];
        if limits.contains(&0) {
            return Err(ConfigError::ZeroLimit);
        }
        let texts = [Some(&self.client_id), self.user_name.as_ref(), self.auth_method.as_ref()];
        for text in texts.into_iter().flatten() {
            codec::read::text(text.as_bytes(), codec::Utf8::Strict)
                .map_err(|_| ConfigError::BadText)?;
        }
        if let Some(will) = &self.will {
            TopicName::new(&will.topic).map_err(|_| ConfigError::WillTopic)?;
            Properties::check(will.properties.as_properties().as_bytes(), Scope::Will)?;
        }
        let properties = self.connect_properties(None);
        let scope = Scope::Packet(PacketType::Connect, Sender::Client);
        let checked = Properties::check(properties.as_properties().as_bytes(), scope)?;
        let named = checked.iter().any(|p| matches!(p, Property::AuthenticationMethod(_)));
        if named && self.auth_method.is_none() {
            return Err(ConfigError::AuthenticationAsProperty);
        }
        self.encode(self.version, &self.client_id, self.clean, None, &mut Vec::new())?;
        Ok(())
    }

    fn connect_properties(&self, auth_data: Option<&[u8]>) -> PropertyBuf {
        let mut out = PropertyBuf::new();
        if self.session_expiry_secs != 0 {
            out.push(Property::SessionExpiryInterval(self.session_expiry_secs));
        }
        // Its absence says the same (MQTT 5 §3.1.2.11.3), and leaves a server its own, lower limit.
        if self.receive_maximum != u16::MAX {
            out.push(Property::ReceiveMaximum(self.receive_maximum));
        }
        out.push(Property::MaximumPacketSize(self.max_packet_size));
        if self.topic_alias_maximum != 0 {
            out.push(Property::TopicAliasMaximum(self.topic_alias_maximum));
        }
        if let Some(method) = &self.auth_method {
            out.push(Property::AuthenticationMethod(method));
        }
        if let Some(data) = auth_data {
            out.push(Property::AuthenticationData(data));
        }
        out.extend(self.properties.as_properties());
        out
    }

    /// Appends the CONNECT.
    pub(super) fn encode(
        &self,
        version: Version,
        client_id: &str,
        clean: bool,
        auth_data: Option<&[u8]>,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        let properties =
            if version.is_v5() { self.connect_properties(auth_data) } else { PropertyBuf::new() };
        let connect = Connect {
            version,
            bridge: false,
            clean,
            keep_alive: self.keep_alive_secs,
            properties: properties.as_properties(),
            client_id,
            will: self.will.as_ref().map(|will| Will {
                qos: will.qos,
                retain: will.retain,
                properties: will.properties.as_properties(),
                topic: &will.topic,
                payload: &will.payload,
            }),
            user_name: self.user_name.as_deref(),
            password: self.password.as_ref().map(|password| password.0.as_slice()),
        };
        codec::encode(&Packet::Connect(connect.into()), version, out)
    }
}

/// Why no client can be made of a [`ClientConfig`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// MQTT-3.1.3-7 of 3.1.1.
    #[error("an empty client id needs a clean session of MQTT 3.1.1 or 5; give a client id")]
    NoClientId,
    /// MQTT-3.1.2-22 of 3.1.1.
    #[error("a password needs a user name before MQTT 5; give both")]
    PasswordAlone,
    /// A limit of 0 would let nothing through.
    #[error("receive maximum, packet size and in-flight limits are at least 1")]
    ZeroLimit,
    /// MQTT-1.5.4-1, -2.
    #[error("client id and user name hold no control characters")]
    BadText,
    /// MQTT-4.7.0-1.
    #[error("the will topic is empty, too long, or holds + or #")]
    WillTopic,
    /// Enhanced authentication (MQTT 5 §4.12) in an older version.
    #[error("enhanced authentication needs MQTT 5, without a fall back")]
    Authentication,
    /// The method is a setting of its own.
    #[error("the authentication method is no further property; use `auth_method`")]
    AuthenticationAsProperty,
    /// A property that CONNECT or a will cannot have.
    #[error("property: {0}")]
    Property(#[from] DecodeError),
    /// A field is too long.
    #[error(transparent)]
    Encode(#[from] EncodeError),
}
