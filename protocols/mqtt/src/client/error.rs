//! What ends a connection ([`ClientError`]) and what a request or a publish fails with, each with
//! a text, and for a connection also with a word on what to try next.

use alloc::boxed::Box;
use core::fmt;

use crate::error::DecodeError;
use crate::reason::ReasonCode;

/// What a server says when it refuses or ends a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Reason code; an MQTT 3 return code appears as the MQTT 5 one that says the same.
    pub code: ReasonCode,
    /// The server's own words (Reason String).
    pub text: Option<Box<str>>,
    /// Another server to use (Server Reference).
    pub server_reference: Option<Box<str>>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (0x{:02x})", phrase(self.code), self.code.as_u8())?;
        if let Some(text) = &self.text {
            write!(f, ": {text}")?;
        }
        if let Some(server) = &self.server_reference {
            write!(f, "; use {server}")?;
        }
        Ok(())
    }
}

/// Who is at fault, for exit codes and retries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The server does not want this client, or not now.
    Refused,
    /// The transport could not be opened, or broke.
    Unreachable,
    /// No answer in time.
    TimedOut,
    /// The server broke the protocol, or is none of MQTT.
    Protocol,
}

/// Why a connection ended. `Display` says what happened, [`hint`](ClientError::hint) what to try.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// CONNACK with a failure.
    #[error("the server refused the connection: {0}")]
    Refused(Box<Refusal>),
    /// DISCONNECT from the server (5.0).
    #[error("the server ended the connection: {0}")]
    Ended(Box<Refusal>),
    /// The driver could not open the transport.
    #[error("the connection could not be opened")]
    Unreachable,
    /// The transport ended before a CONNACK.
    #[error("the server closed the connection without an answer to CONNECT")]
    ClosedEarly,
    /// The transport ended.
    #[error("the connection was lost")]
    ConnectionLost,
    /// `connect_timeout` passed.
    #[error("no answer to CONNECT in time")]
    ConnectTimeout,
    /// `ping_timeout` passed without a sign of life.
    #[error("no answer to PINGREQ in time")]
    PingTimeout,
    /// Bytes that are no packet.
    #[error("the server sent what is not MQTT: {0}")]
    Malformed(DecodeError),
    /// A packet that may not come now.
    #[error("the server broke the protocol: {0}")]
    Violation(Violation),
}

/// What a server did that ends the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// MQTT-3.2.0-1.
    #[error("its first packet is no CONNACK")]
    NotConnAck,
    /// MQTT-3.2.0-2.
    #[error("a second CONNACK")]
    SecondConnAck,
    /// MQTT-3.2.2-2, -4: Clean Start was asked for.
    #[error("it resumes a session that was to be discarded")]
    UnexpectedSession,
    /// MQTT-4.12.0-6.
    #[error("AUTH without an authentication method")]
    UnexpectedAuth,
    /// MQTT-4.12.0-5.
    #[error("it accepts without the end of the authentication, or with another method")]
    NotAuthenticated,
    /// An acknowledgement that does not belong to the state of its packet.
    #[error("an acknowledgement of the wrong kind")]
    WrongFlow,
    /// SUBACK or UNSUBACK with a wrong number of codes.
    #[error("an answer with too many or too few codes")]
    WrongCount,
    /// MQTT-3.1.2-24, and our own limit before 5.0.
    #[error("a packet larger than the maximum packet size")]
    PacketTooLarge,
    /// MQTT-3.3.4-9.
    #[error("more open messages than the receive maximum")]
    ReceiveMaximum,
    /// MQTT-3.3.2-8…10.
    #[error("a topic alias that is not valid")]
    TopicAlias,
    /// It sends and does not read.
    #[error("it sends without reading the answers")]
    NotReading,
}

impl Violation {
    /// The code of our DISCONNECT (MQTT 5 §3.14.2.1).
    pub(super) const fn code(self) -> ReasonCode {
        match self {
            Violation::PacketTooLarge => ReasonCode::PacketTooLarge,
            Violation::ReceiveMaximum => ReasonCode::ReceiveMaximumExceeded,
            Violation::TopicAlias => ReasonCode::TopicAliasInvalid,
            Violation::NotReading => ReasonCode::QuotaExceeded,
            _ => ReasonCode::ProtocolError,
        }
    }
}

impl ClientError {
    /// Who is at fault.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        match self {
            ClientError::Refused(_) | ClientError::Ended(_) => ErrorKind::Refused,
            ClientError::Unreachable | ClientError::ClosedEarly | ClientError::ConnectionLost => {
                ErrorKind::Unreachable
            }
            ClientError::ConnectTimeout | ClientError::PingTimeout => ErrorKind::TimedOut,
            ClientError::Malformed(_) | ClientError::Violation(_) => ErrorKind::Protocol,
        }
    }

    /// Whether the same attempt will fail again: then there is no automatic reconnection.
    #[must_use]
    pub fn is_final(&self) -> bool {
        use ReasonCode as C;
        match self {
            ClientError::Refused(refusal) => !matches!(
                refusal.code,
                C::ServerUnavailable
                    | C::ServerBusy
                    | C::QuotaExceeded
                    | C::ConnectionRateExceeded
                    | C::UnspecifiedError
                    | C::ImplementationSpecific
            ),
            // Another client has our id: coming back would throw it out, and so on for ever.
            ClientError::Ended(refusal) => matches!(
                refusal.code,
                C::SessionTakenOver
                    | C::NotAuthorized
                    | C::BadAuthenticationMethod
                    | C::UseAnotherServer
                    | C::ServerMoved
            ),
            _ => false,
        }
    }

    /// What to try next.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            ClientError::Refused(refusal) | ClientError::Ended(refusal) => hint(refusal.code),
            ClientError::Unreachable => "check host, port and that the server runs",
            ClientError::ClosedEarly => {
                "perhaps this port wants TLS, another protocol version, or other credentials"
            }
            ClientError::ConnectionLost => "check the network and the server's log",
            ClientError::ConnectTimeout => {
                "check that this is the MQTT port, and whether it wants TLS"
            }
            ClientError::PingTimeout => "the network or the server hangs; try a shorter keep alive",
            ClientError::Malformed(_) => {
                "check that this is an MQTT port, and whether it wants TLS"
            }
            ClientError::Violation(_) => "this is a fault of the server; try MQTT 3.1.1",
        }
    }
}

/// The name of a code.
pub(super) const fn phrase(code: ReasonCode) -> &'static str {
    use ReasonCode as C;
    match code {
        C::Success => "normal end",
        C::UnspecifiedError => "unspecified error",
        C::MalformedPacket => "malformed packet",
        C::ProtocolError => "protocol error",
        C::ImplementationSpecific => "implementation specific error",
        C::UnsupportedProtocolVersion => "unsupported protocol version",
        C::ClientIdentifierNotValid => "client identifier not valid",
        C::BadUserNameOrPassword => "bad user name or password",
        C::NotAuthorized => "not authorized",
        C::ServerUnavailable => "server unavailable",
        C::ServerBusy => "server busy",
        C::Banned => "banned",
        C::ServerShuttingDown => "server shutting down",
        C::BadAuthenticationMethod => "bad authentication method",
        C::KeepAliveTimeout => "keep alive timeout",
        C::SessionTakenOver => "session taken over",
        C::TopicFilterInvalid => "topic filter invalid",
        C::TopicNameInvalid => "topic name invalid",
        C::PacketIdentifierInUse => "packet identifier in use",
        C::PacketIdentifierNotFound => "packet identifier not found",
        C::ReceiveMaximumExceeded => "receive maximum exceeded",
        C::TopicAliasInvalid => "topic alias invalid",
        C::PacketTooLarge => "packet too large",
        C::MessageRateTooHigh => "message rate too high",
        C::QuotaExceeded => "quota exceeded",
        C::AdministrativeAction => "administrative action",
        C::PayloadFormatInvalid => "payload format invalid",
        C::RetainNotSupported => "retain not supported",
        C::QosNotSupported => "QoS not supported",
        C::UseAnotherServer => "use another server",
        C::ServerMoved => "server moved",
        C::SharedSubscriptionsNotSupported => "shared subscriptions not supported",
        C::ConnectionRateExceeded => "connection rate exceeded",
        C::MaximumConnectTime => "maximum connect time",
        C::SubscriptionIdentifiersNotSupported => "subscription identifiers not supported",
        C::WildcardSubscriptionsNotSupported => "wildcard subscriptions not supported",
        _ => "another reason",
    }
}

const fn hint(code: ReasonCode) -> &'static str {
    use ReasonCode as C;
    match code {
        C::UnsupportedProtocolVersion => "try MQTT 3.1.1",
        C::ClientIdentifierNotValid => "try another client id, of 1 to 23 letters and digits",
        C::BadUserNameOrPassword => "check user name and password",
        C::NotAuthorized => "give user name and password, or ask for the right to do this",
        C::Banned => "ask the server's administrator",
        C::BadAuthenticationMethod => "the server wants enhanced authentication; use another",
        C::ServerUnavailable | C::ServerBusy | C::ServerShuttingDown => "try again later",
        C::SessionTakenOver => "another client uses this client id; give each its own",
        C::KeepAliveTimeout => "the network is too slow for this keep alive; try a longer one",
        C::PacketTooLarge => "send smaller messages",
        C::MessageRateTooHigh | C::ConnectionRateExceeded => "go slower",
        C::QuotaExceeded => "fewer clients, subscriptions or messages, or a larger quota",
        C::RetainNotSupported => "publish without retain",
        C::QosNotSupported => "use a lower QoS",
        C::UseAnotherServer | C::ServerMoved => "connect to the server that it names",
        C::TopicNameInvalid | C::TopicFilterInvalid => "check the topics",
        C::SharedSubscriptionsNotSupported => "subscribe without $share",
        C::WildcardSubscriptionsNotSupported => "subscribe without + and #",
        C::SubscriptionIdentifiersNotSupported => "subscribe without an identifier",
        _ => "see the server's log",
    }
}

/// Why a publish is not taken, or not delivered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// Back-pressure: nothing was taken. [`Event::QueueFree`](super::Event::QueueFree) follows.
    #[error("the queue of outgoing messages is full")]
    QueueFull,
    /// Empty, with a wildcard or a forbidden character (MQTT-3.3.2-2, MQTT-4.7.3-1…3).
    #[error("the topic name is not valid")]
    BadTopic,
    /// A property that a client's PUBLISH cannot have, or an alias (those are the machine's).
    #[error("a property that this message cannot have")]
    BadProperty,
    /// Larger than the queue, the server's maximum, or MQTT allows.
    #[error("the message is larger than the {max} bytes that are possible")]
    TooLarge {
        /// Bytes of the largest packet.
        max: usize,
    },
    /// Retain Available 0 (MQTT-3.2.2-14).
    #[error("the server keeps no retained messages")]
    RetainNotSupported,
    /// Maximum QoS (MQTT-3.2.2-11).
    #[error("the server takes messages up to a lower QoS only")]
    QosNotSupported,
    /// PUBACK or PUBREC with a failure (5.0).
    #[error("the server refused the message: {0}")]
    Refused(Box<Refusal>),
    /// QoS 0 and the connection ended before it was written.
    #[error("the connection was lost before the message was sent")]
    ConnectionLost,
    /// Dropped by [`Client::give_up`](super::Client::give_up).
    #[error("given up")]
    GivenUp,
}

/// Why a SUBSCRIBE or UNSUBSCRIBE is not taken, or not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// Too many without an answer, or too many subscriptions remembered.
    #[error("too many requests without an answer, or too many subscriptions")]
    TooMany,
    /// MQTT-4.7.1-1, -2, MQTT-4.8.2-1, -2, MQTT-3.8.3-4.
    #[error("a topic filter is not valid")]
    BadFilter,
    /// MQTT-3.8.3-2, MQTT-3.10.3-2.
    #[error("no topic filter at all")]
    Empty,
    /// An identifier of 0 or above 268,435,455, retain handling above 2, a foreign property.
    #[error("an option has a value that it cannot have")]
    BadOption,
    /// Above the server's Maximum Packet Size.
    #[error("the request is larger than the server takes")]
    TooLarge,
    /// The server says that it lacks this (MQTT 5 §3.2.2.3.11…13).
    #[error("the server cannot do that: {}", phrase(*.0))]
    NotSupported(ReasonCode),
    /// Dropped by [`Client::give_up`](super::Client::give_up).
    #[error("given up")]
    GivenUp,
}
