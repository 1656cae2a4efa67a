//! What an MQTT client is asked for ([`Publish`], [`Filter`], [`Goodbye`]), what it tells the layer
//! above ([`Event`]) and what it wants of its driver ([`Transmit`]).

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;
use motegate_message::Qos;
use motegate_timers::Instant;

use super::error::{ClientError, PublishError, RequestError};
use super::message::Message;
use crate::packet::Version;
use crate::properties::{Properties, PropertyBuf};
use crate::reason::ReasonCode;

/// The caller's name for a publish or a request, handed back with its outcome.
pub type Token = u64;

/// A message to publish. Borrowed: the machine copies it once.
#[derive(Debug, Clone, Copy)]
pub struct Publish<'a> {
    /// Topic Name.
    pub topic: &'a str,
    /// Application message.
    pub payload: &'a [u8],
    /// QoS.
    pub qos: Qos,
    /// RETAIN.
    pub retain: bool,
    /// Properties (5.0; before, they are left out). No topic alias: those are the machine's.
    pub properties: Properties<'a>,
}

impl<'a> Publish<'a> {
    /// A message that is not retained, without properties.
    #[must_use]
    pub const fn new(topic: &'a str, payload: &'a [u8], qos: Qos) -> Self {
        Publish { topic, payload, qos, retain: false, properties: Properties::EMPTY }
    }
}

/// One filter to subscribe to (MQTT 5 §3.8.3.1). What follows `qos` is left out before 5.0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// Topic filter, perhaps `$share/NAME/FILTER`.
    pub filter: String,
    /// Maximum QoS.
    pub qos: Qos,
    /// No Local: not what this client itself publishes.
    pub no_local: bool,
    /// Retain As Published.
    pub retain_as_published: bool,
    /// Retain Handling: 0 send retained messages, 1 if the subscription is new, 2 never.
    pub retain_handling: u8,
}

impl Filter {
    /// With every option at its default.
    #[must_use]
    pub fn new(filter: &str, qos: Qos) -> Self {
        Filter {
            filter: filter.into(),
            qos,
            no_local: false,
            retain_as_published: false,
            retain_handling: 0,
        }
    }
}

/// How to take leave (MQTT 5 §3.14). Before 5.0 there is one way only.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Goodbye {
    /// The server shall publish the will (0x04).
    pub with_will: bool,
    /// Session Expiry Interval in seconds from now on. Left out when CONNECT had none.
    pub session_expiry_secs: Option<u32>,
    /// User properties and reason string.
    pub properties: PropertyBuf,
}

/// What the server said when it accepted (MQTT 5 §3.2; before 5.0 the defaults of 5.0).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connected {
    /// What is spoken.
    pub version: Version,
    /// The server went on with the session that it held.
    pub session_present: bool,
    /// As given or as assigned; empty where the server does not tell.
    pub client_id: String,
    /// In seconds; the server's, if it set one.
    pub keep_alive_secs: u16,
    /// In seconds.
    pub session_expiry_secs: u32,
    /// QoS 1/2 publishes that may be in flight, the client's own limit applied.
    pub receive_maximum: u16,
    /// Largest packet that the server takes, in bytes.
    pub max_packet_size: u32,
    /// Topic aliases that it takes.
    pub topic_alias_maximum: u16,
    /// Highest QoS.
    pub max_qos: Qos,
    /// Whether it keeps retained messages.
    pub retain: bool,
    /// Whether filters may hold wildcards.
    pub wildcards: bool,
    /// Whether subscriptions may have identifiers.
    pub subscription_ids: bool,
    /// Whether subscriptions may be shared.
    pub shared: bool,
    /// All properties as they came: response information, user properties…
    pub properties: PropertyBuf,
}

/// What the layer above must know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Connected, for the first time or again.
    Connected(Box<Connected>),
    /// A message came.
    Message(Message),
    /// A publish is through: written (QoS 0), acknowledged (QoS 1), received once (QoS 2). Also
    /// 0x10, no matching subscribers (5.0).
    Published {
        /// Whose.
        token: Token,
        /// Success or 0x10.
        code: ReasonCode,
    },
    /// A publish that was taken fails.
    PublishFailed {
        /// Whose.
        token: Token,
        /// Why.
        error: PublishError,
    },
    /// SUBACK.
    Subscribed {
        /// Whose.
        token: Token,
        /// One for each filter: the granted QoS or a failure.
        codes: Vec<ReasonCode>,
        /// It was the machine that asked again, for the session had been lost.
        again: bool,
        /// The server's own words (Reason String).
        text: Option<Box<str>>,
    },
    /// UNSUBACK.
    Unsubscribed {
        /// Whose.
        token: Token,
        /// One for each filter; none before 5.0, where it always succeeds.
        codes: Vec<ReasonCode>,
        /// The server's own words (Reason String).
        text: Option<Box<str>>,
    },
    /// A request that was taken fails without an answer.
    RequestFailed {
        /// Whose.
        token: Token,
        /// Why.
        error: RequestError,
    },
    /// With `auth_method`: answer by [`Client::authenticate`](super::Client::authenticate).
    AuthWanted {
        /// The server's word; `None`: the first one is wanted, for CONNECT.
        data: Option<Bytes>,
    },
    /// A re-authentication is through. (The last word of the first one is among the properties of
    /// `Connected`.)
    Authenticated {
        /// The server's last word.
        data: Bytes,
    },
    /// After `PublishError::QueueFull`: half of the queue is free again.
    QueueFree,
    /// The connection, or the attempt, is over.
    Disconnected {
        /// Why; `None` after [`Client::disconnect`](super::Client::disconnect).
        error: Option<ClientError>,
        /// When the next attempt begins by itself; `None`: not until `connect` is called.
        retry_at: Option<Instant>,
    },
}

/// What the driver must do. Bytes to write are in [`Client::outbox`](super::Client::outbox).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transmit {
    /// Open the transport; answer `handle_opened`, or `handle_closed` if that fails.
    Open,
    /// Write what the outbox holds (for at most a second or so), close, answer `handle_closed`.
    Close,
    /// Stop reading: the server does not read the answers. A new transport begins unpaused.
    PauseReads,
    /// Go on reading.
    ResumeReads,
}

/// What happened so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ClientCounters {
    /// Successful CONNACKs.
    pub connects: u64,
    /// PUBLISH packets written to the outbox, repetitions included.
    pub publishes_sent: u64,
    /// Of them, repetitions (DUP).
    pub publishes_repeated: u64,
    /// Messages handed up.
    pub messages: u64,
    /// QoS 2 repetitions that were not handed up again.
    pub duplicates: u64,
    /// Acknowledgements of packet ids that are not in use.
    pub unknown_acks: u64,
}
