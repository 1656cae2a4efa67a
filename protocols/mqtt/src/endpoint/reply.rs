//! What a fault or a refusal becomes on the wire: the one place where [`Violation`]s and
//! [`Reason`]s turn into reason codes (MQTT 5 §2.4, §4.13). MQTT 3 closes without a word, but for
//! the return codes of its CONNACK.

use motegate_message::Reason;

use super::limits::Limit;
use crate::error::DecodeError;
use crate::reason::ReasonCode;

/// What a client did, or asked for, that ends its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Violation {
    #[error(transparent)]
    Decode(#[from] DecodeError),
    #[error("the first packet is no CONNECT")]
    NotConnect,
    #[error("a second CONNECT")]
    SecondConnect,
    #[error("AUTH without an authentication method")]
    UnexpectedAuth,
    #[error("AUTH with another authentication method, or with none")]
    AuthMethodChanged,
    #[error("AUTH that is not the client's turn")]
    AuthOutOfTurn,
    #[error("another packet than AUTH and DISCONNECT during the authentication")]
    BeforeConnAck,
    #[error("the authentication takes too long")]
    AuthTimeout,
    #[error("an acknowledgement that does not belong to the state of its packet")]
    WrongFlow,
    #[error("a session expiry where CONNECT gave none")]
    ExpiryFromZero,
    #[error("larger than the maximum packet size")]
    PacketTooLarge,
    #[error("more open publishes than the receive maximum")]
    ReceiveMaximum,
    #[error("more publishes that wait for PUBREL than there may be, for too long")]
    AwaitingRelease,
    #[error("a topic alias that is not valid")]
    TopicAlias,
    #[error("publishes faster than the rate for too long")]
    PublishRate,
    #[error("the connection has lasted as long as it may")]
    ConnectionAge,
    #[error("a QoS above the maximum")]
    QosNotSupported,
    #[error("retained messages are switched off")]
    RetainNotSupported,
    #[error("the topic name is too long or too deep")]
    TopicInvalid(Limit),
    #[error("the topic filter is too long or too deep")]
    FilterInvalid(Limit),
    #[error("too many user properties")]
    UserProperties(Limit),
    #[error("more filters in a packet than one turn can take")]
    TooManyFilters,
    #[error("subscription identifiers are switched off")]
    SubscriptionIdentifiers,
    #[error("shared subscriptions are switched off")]
    SharedSubscriptions,
    #[error("wildcard subscriptions are switched off")]
    WildcardSubscriptions,
    #[error("not allowed, where that ends the connection")]
    Denied,
    #[error("an acknowledgement that the client's maximum packet size has no room for")]
    Unsendable,
    #[error("the payload is not what it claims to be")]
    PayloadFormat,
    #[error("nothing was heard for one and a half times the keep alive")]
    KeepAlive,
    #[error("too much was sent ahead of the CONNACK")]
    EarlyOverflow,
    #[error("a publish that cannot be stored now, of a version that cannot be told so")]
    NotStored,
}

impl Violation {
    /// The bound that acted, if one did. `fresh`: before the CONNECT.
    pub(super) const fn limit(self, fresh: bool) -> Option<Limit> {
        match self {
            Violation::PacketTooLarge if fresh => Some(Limit::MaxConnectSize),
            Violation::PacketTooLarge => Some(Limit::MaxPacketSize),
            Violation::ReceiveMaximum => Some(Limit::ReceiveMaximum),
            Violation::AwaitingRelease => Some(Limit::MaxAwaitingRelease),
            Violation::TopicAlias => Some(Limit::TopicAliasMaximum),
            Violation::TopicInvalid(limit)
            | Violation::FilterInvalid(limit)
            | Violation::UserProperties(limit) => Some(limit),
            Violation::ConnectionAge => Some(Limit::MaxConnectionAge),
            _ => None, // `PublishRate` was counted when it began to act
        }
    }
}

/// The reason code of the goodbye, and the reason that is reported.
pub(super) fn reply_for(violation: Violation) -> (ReasonCode, Reason) {
    use ReasonCode as C;
    match violation {
        Violation::Decode(fault) => match fault.code() {
            C::ProtocolError => (C::ProtocolError, Reason::ProtocolError),
            code => (code, Reason::Malformed),
        },
        Violation::NotConnect
        | Violation::SecondConnect
        | Violation::UnexpectedAuth
        | Violation::AuthMethodChanged
        | Violation::AuthOutOfTurn
        | Violation::BeforeConnAck
        | Violation::WrongFlow
        | Violation::ExpiryFromZero => (C::ProtocolError, Reason::ProtocolError),
        Violation::AuthTimeout => (C::NotAuthorized, Reason::AuthTimeout),
        Violation::PacketTooLarge => (C::PacketTooLarge, Reason::TooLarge),
        Violation::ReceiveMaximum | Violation::AwaitingRelease => {
            (C::ReceiveMaximumExceeded, Reason::QuotaExceeded)
        }
        Violation::TopicAlias => (C::TopicAliasInvalid, Reason::ProtocolError),
        Violation::PublishRate => (C::MessageRateTooHigh, Reason::RateLimited),
        Violation::ConnectionAge => (C::MaximumConnectTime, Reason::ConnectionAge),
        Violation::QosNotSupported => (C::QosNotSupported, Reason::NotSupported),
        Violation::RetainNotSupported => (C::RetainNotSupported, Reason::NotSupported),
        Violation::TopicInvalid(_) => (C::TopicNameInvalid, Reason::BadTopic),
        Violation::FilterInvalid(_) => (C::TopicFilterInvalid, Reason::BadTopic),
        Violation::UserProperties(_) | Violation::TooManyFilters => {
            (C::QuotaExceeded, Reason::QuotaExceeded)
        }
        Violation::SubscriptionIdentifiers => {
            (C::SubscriptionIdentifiersNotSupported, Reason::NotSupported)
        }
        Violation::SharedSubscriptions => {
            (C::SharedSubscriptionsNotSupported, Reason::NotSupported)
        }
        Violation::WildcardSubscriptions => {
            (C::WildcardSubscriptionsNotSupported, Reason::NotSupported)
        }
        Violation::Denied => (C::NotAuthorized, Reason::AclDeny),
        Violation::Unsendable => (C::PacketTooLarge, Reason::TooLarge),
        Violation::PayloadFormat => (C::PayloadFormatInvalid, Reason::BadPayload),
        Violation::KeepAlive => (C::KeepAliveTimeout, Reason::KeepaliveTimeout),
        Violation::EarlyOverflow => (C::QuotaExceeded, Reason::QuotaExceeded),
        Violation::NotStored => (C::QuotaExceeded, Reason::StorageFull),
    }
}

/// The reason code of a CONNACK that refuses (MQTT 5 §3.2.2.2).
pub(super) fn connack_code(reason: Reason) -> ReasonCode {
    use ReasonCode as C;
    match reason {
        Reason::AuthFailed => C::BadUserNameOrPassword,
        Reason::AuthMissing | Reason::AuthTimeout | Reason::AclDeny | Reason::NoRule => {
            C::NotAuthorized
        }
        Reason::AuthMethod => C::BadAuthenticationMethod,
        Reason::LockedOut | Reason::SourceDenied | Reason::Kicked => C::Banned,
        Reason::RateLimited => C::ConnectionRateExceeded,
        Reason::QuotaExceeded | Reason::QueueFull => C::QuotaExceeded,
        Reason::TooLarge => C::PacketTooLarge,
        Reason::BadPayload => C::PayloadFormatInvalid,
        Reason::BadTopic => C::TopicNameInvalid,
        Reason::BadClientId => C::ClientIdentifierNotValid,
        Reason::UnsupportedVersion => C::UnsupportedProtocolVersion,
        Reason::NotSupported => C::ImplementationSpecific,
        Reason::ServerMoved => C::UseAnotherServer,
        Reason::Malformed => C::MalformedPacket,
        Reason::ProtocolError => C::ProtocolError,
        Reason::StorageFull | Reason::Shutdown | Reason::ConfigReload => C::ServerUnavailable,
        Reason::Overloaded => C::ServerBusy,
        _ => C::UnspecifiedError,
    }
}

/// The reason code of a PUBACK or PUBREC that refuses (MQTT 5 §3.4.2.1).
pub(super) fn publish_code(reason: Reason) -> ReasonCode {
    use ReasonCode as C;
    match reason {
        Reason::AclDeny | Reason::AuthMissing | Reason::AuthFailed => C::NotAuthorized,
        Reason::QuotaExceeded
        | Reason::QueueFull
        | Reason::RateLimited
        | Reason::StorageFull
        | Reason::Overloaded
        | Reason::TooLarge => C::QuotaExceeded,
        Reason::BadPayload => C::PayloadFormatInvalid,
        Reason::BadTopic | Reason::NoRule => C::TopicNameInvalid,
        Reason::NotSupported | Reason::PreconditionFailed | Reason::MethodNotAllowed => {
            C::ImplementationSpecific
        }
        _ => C::UnspecifiedError,
    }
}

/// The reason code of a SUBACK or UNSUBACK that refuses (MQTT 5 §3.9.3).
pub(super) fn subscribe_code(reason: Reason) -> ReasonCode {
    use ReasonCode as C;
    match reason {
        Reason::AclDeny | Reason::AuthMissing | Reason::AuthFailed => C::NotAuthorized,
        Reason::QuotaExceeded | Reason::StorageFull | Reason::Overloaded | Reason::RateLimited => {
            C::QuotaExceeded
        }
        Reason::BadTopic | Reason::NoRule => C::TopicFilterInvalid,
        Reason::NotSupported => C::ImplementationSpecific,
        _ => C::UnspecifiedError,
    }
}

/// The reason code of a DISCONNECT from above (MQTT 5 §3.14.2.1).
pub(super) fn disconnect_code(reason: Reason) -> ReasonCode {
    use ReasonCode as C;
    match reason {
        Reason::TakenOver => C::SessionTakenOver,
        Reason::ConnectionAge => C::MaximumConnectTime,
        Reason::Shutdown => C::ServerShuttingDown,
        Reason::Kicked | Reason::SessionExpired | Reason::ConfigReload | Reason::SourceDenied => {
            C::AdministrativeAction
        }
        Reason::QueueFull
        | Reason::SleepQueueFull
        | Reason::QuotaExceeded
        | Reason::SlowConsumer
        | Reason::StorageFull => C::QuotaExceeded,
        Reason::AuthFailed
        | Reason::AuthMissing
        | Reason::AuthTimeout
        | Reason::LockedOut
        | Reason::AclDeny => C::NotAuthorized,
        Reason::AuthMethod => C::BadAuthenticationMethod,
        Reason::KeepaliveTimeout => C::KeepAliveTimeout,
        Reason::RateLimited => C::MessageRateTooHigh,
        Reason::Overloaded => C::ServerBusy,
        Reason::TooLarge => C::PacketTooLarge,
        Reason::BadPayload => C::PayloadFormatInvalid,
        Reason::BadTopic => C::TopicNameInvalid,
        Reason::Malformed => C::MalformedPacket,
        Reason::ProtocolError => C::ProtocolError,
        Reason::NotSupported => C::ImplementationSpecific,
        Reason::ServerMoved => C::UseAnotherServer,
        _ => C::UnspecifiedError,
    }
}

/// Whether a refusal says that the client may not do this.
pub(super) const fn is_denial(reason: Reason) -> bool {
    matches!(reason, Reason::AclDeny | Reason::AuthMissing | Reason::AuthFailed)
}

/// The Reason String of a code: a short fixed phrase without internals; none for success.
pub(super) const fn phrase(code: ReasonCode) -> Option<&'static str> {
    use ReasonCode as C;
    Some(match code {
        C::MalformedPacket => "malformed packet",
        C::ProtocolError => "protocol error",
        C::ImplementationSpecific => "not supported",
        C::UnsupportedProtocolVersion => "protocol version not supported",
        C::ClientIdentifierNotValid => "client identifier not valid",
        C::BadUserNameOrPassword => "bad user name or password",
        C::NotAuthorized => "not authorized",
        C::ServerUnavailable => "server unavailable",
        C::ServerBusy => "server busy",
        C::Banned => "banned",
        C::ServerShuttingDown => "server shutting down",
        C::BadAuthenticationMethod => "authentication method not supported",
        C::KeepAliveTimeout => "keep alive timeout",
        C::SessionTakenOver => "session taken over",
        C::TopicFilterInvalid => "topic filter not valid",
        C::TopicNameInvalid => "topic name not valid",
        C::PacketIdentifierNotFound => "packet identifier not found",
        C::ReceiveMaximumExceeded => "receive maximum exceeded",
        C::TopicAliasInvalid => "topic alias not valid",
        C::PacketTooLarge => "packet too large",
        C::MessageRateTooHigh => "message rate too high",
        C::QuotaExceeded => "quota exceeded",
        C::AdministrativeAction => "administrative action",
        C::PayloadFormatInvalid => "payload format not valid",
        C::RetainNotSupported => "retain not supported",
        C::QosNotSupported => "quality of service not supported",
        C::UseAnotherServer => "use another server",
        C::ServerMoved => "server moved",
        C::SharedSubscriptionsNotSupported => "shared subscriptions not supported",
        C::MaximumConnectTime => "maximum connect time",
        C::ConnectionRateExceeded => "connection rate exceeded",
        C::SubscriptionIdentifiersNotSupported => "subscription identifiers not supported",
        C::WildcardSubscriptionsNotSupported => "wildcard subscriptions not supported",
        code if code.is_error() => "unspecified error",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{PacketType, Sender};

    /// Whatever the reason, the code stands in the table of the packet that carries it.
    #[test]
    fn every_reason_has_a_code_of_its_packet() {
        for reason in Reason::ALL.iter().copied() {
            for (code, packets) in [
                (connack_code(reason), &[PacketType::ConnAck][..]),
                (publish_code(reason), &[PacketType::PubAck, PacketType::PubRec]),
                (subscribe_code(reason), &[PacketType::SubAck]),
                (disconnect_code(reason), &[PacketType::Disconnect]),
            ] {
                for packet in packets {
                    assert!(code.is_allowed(*packet, Sender::Server), "{reason} in {packet:?}");
                }
                assert!(phrase(code).is_some(), "{reason} has a phrase");
            }
        }
    }
}
