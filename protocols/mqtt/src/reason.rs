//! [`ReasonCode`]: the reason codes of MQTT 5 §2.4 with the packets that may carry each, and
//! their MQTT 3 counterparts.

use crate::packet::{PacketType, Sender};

macro_rules! reason_codes {
    ($($(#[$doc:meta])* $name:ident = $value:literal in [$($packet:ident)*],)+) => {
        /// A reason code (MQTT 5 §2.4). 0x00 stands for success, normal disconnection and
        /// granted QoS 0 alike.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum ReasonCode { $($(#[$doc])* $name = $value,)+ }

        impl ReasonCode {
            /// Every code, in numerical order.
            pub const ALL: &'static [ReasonCode] = &[$(ReasonCode::$name),+];

            /// From the byte on the wire.
            #[must_use]
            pub const fn from_u8(value: u8) -> Option<ReasonCode> {
                match value { $($value => Some(ReasonCode::$name),)+ _ => None }
            }

            /// A bit for each packet type that may carry it.
            const fn packets(self) -> u16 {
                match self { $(ReasonCode::$name => 0 $(| 1 << PacketType::$packet as u8)*,)+ }
            }
        }
    };
}

reason_codes! {
    /// Success, normal disconnection, granted QoS 0.
    Success = 0x00 in [ConnAck PubAck PubRec PubRel PubComp SubAck UnsubAck Disconnect Auth],
    /// Granted QoS 1.
    GrantedQos1 = 0x01 in [SubAck],
    /// Granted QoS 2.
    GrantedQos2 = 0x02 in [SubAck],
    /// Disconnect with will message (from a client).
    DisconnectWithWill = 0x04 in [Disconnect],
    /// No matching subscribers.
    NoMatchingSubscribers = 0x10 in [PubAck PubRec],
    /// No subscription existed.
    NoSubscriptionExisted = 0x11 in [UnsubAck],
    /// Continue authentication.
    ContinueAuthentication = 0x18 in [Auth],
    /// Re-authenticate (from a client).
    ReAuthenticate = 0x19 in [Auth],
    /// Unspecified error.
    UnspecifiedError = 0x80 in [ConnAck PubAck PubRec SubAck UnsubAck Disconnect],
    /// Malformed packet.
    MalformedPacket = 0x81 in [ConnAck Disconnect],
    /// Protocol error.
    ProtocolError = 0x82 in [ConnAck Disconnect],
    /// Implementation specific error.
    ImplementationSpecific = 0x83 in [ConnAck PubAck PubRec SubAck UnsubAck Disconnect],
    /// Unsupported protocol version.
    UnsupportedProtocolVersion = 0x84 in [ConnAck],
    /// Client identifier not valid.
    ClientIdentifierNotValid = 0x85 in [ConnAck],
    /// Bad user name or password.
    BadUserNameOrPassword = 0x86 in [ConnAck],
    /// Not authorized.
    NotAuthorized = 0x87 in [ConnAck PubAck PubRec SubAck UnsubAck Disconnect],
    /// Server unavailable.
    ServerUnavailable = 0x88 in [ConnAck],
    /// Server busy.
    ServerBusy = 0x89 in [ConnAck Disconnect],
    /// Banned.
    Banned = 0x8a in [ConnAck],
    /// Server shutting down.
    ServerShuttingDown = 0x8b in [Disconnect],
    /// Bad authentication method.
    BadAuthenticationMethod = 0x8c in [ConnAck Disconnect],
    /// Keep alive timeout.
    KeepAliveTimeout = 0x8d in [Disconnect],
    /// Session taken over.
    SessionTakenOver = 0x8e in [Disconnect],
    /// Topic filter invalid.
    TopicFilterInvalid = 0x8f in [SubAck UnsubAck Disconnect],
    /// Topic name invalid.
    TopicNameInvalid = 0x90 in [ConnAck PubAck PubRec Disconnect],
    /// Packet identifier in use.
    PacketIdentifierInUse = 0x91 in [PubAck PubRec SubAck UnsubAck],
    /// Packet identifier not found.
    PacketIdentifierNotFound = 0x92 in [PubRel PubComp],
    /// Receive maximum exceeded.
    ReceiveMaximumExceeded = 0x93 in [Disconnect],
    /// Topic alias invalid.
    TopicAliasInvalid = 0x94 in [Disconnect],
    /// Packet too large.
    PacketTooLarge = 0x95 in [ConnAck Disconnect],
    /// Message rate too high.
    MessageRateTooHigh = 0x96 in [Disconnect],
    /// Quota exceeded.
    QuotaExceeded = 0x97 in [ConnAck PubAck PubRec SubAck Disconnect],
    /// Administrative action.
    AdministrativeAction = 0x98 in [Disconnect],
    /// Payload format invalid.
    PayloadFormatInvalid = 0x99 in [ConnAck PubAck PubRec Disconnect],
    /// Retain not supported.
    RetainNotSupported = 0x9a in [ConnAck Disconnect],
    /// QoS not supported.
    QosNotSupported = 0x9b in [ConnAck Disconnect],
    /// Use another server.
    UseAnotherServer = 0x9c in [ConnAck Disconnect],
    /// Server moved.
    ServerMoved = 0x9d in [ConnAck Disconnect],
    /// Shared subscriptions not supported.
    SharedSubscriptionsNotSupported = 0x9e in [SubAck Disconnect],
    /// Connection rate exceeded.
    ConnectionRateExceeded = 0x9f in [ConnAck Disconnect],
    /// Maximum connect time.
    MaximumConnectTime = 0xa0 in [Disconnect],
    /// Subscription identifiers not supported.
    SubscriptionIdentifiersNotSupported = 0xa1 in [SubAck Disconnect],
    /// Wildcard subscriptions not supported.
    WildcardSubscriptionsNotSupported = 0xa2 in [SubAck Disconnect],
}

impl ReasonCode {
    /// The byte on the wire.
    #[must_use]
    pub const fn as_u8(self) -> u8 {
        self as u8
    }

    /// Whether it says that something failed.
    #[must_use]
    pub const fn is_error(self) -> bool {
        self.as_u8() >= 0x80
    }

    /// Whether it stands in the table of this packet type, whoever sends it (MQTT 5 §2.4).
    #[must_use]
    pub const fn is_of(self, packet: PacketType) -> bool {
        self.packets() & 1 << packet as u8 != 0
    }

    /// Whether `sender` may put it into a packet of this type (MQTT 5 §3.x.2.1).
    #[must_use]
    pub fn is_allowed(self, packet: PacketType, sender: Sender) -> bool {
        if !self.is_of(packet) {
            return false;
        }
        match (packet, sender) {
            // MQTT 5 §3.14.2.1, column "sent by".
            (PacketType::Disconnect, Sender::Client) => {
                matches!(self.as_u8(), 0x00 | 0x04 | 0x80..=0x83 | 0x90 | 0x93..=0x99)
            }
            (PacketType::Disconnect, Sender::Server) => self != ReasonCode::DisconnectWithWill,
            // MQTT 5 §3.15.2.1.
            (PacketType::Auth, Sender::Server) => self != ReasonCode::ReAuthenticate,
            (PacketType::Auth, Sender::Client) => self != ReasonCode::Success,
            _ => true,
        }
    }

    /// The return code of an MQTT 3 CONNACK (MQTT 3.1.1 §3.2.2.3); `None` where no code fits.
    #[must_use]
    pub const fn to_connect_return_code(self) -> Option<u8> {
        match self {
            ReasonCode::Success => Some(0),
            ReasonCode::UnsupportedProtocolVersion => Some(1),
            ReasonCode::ClientIdentifierNotValid => Some(2),
            ReasonCode::ServerUnavailable
            | ReasonCode::ServerBusy
            | ReasonCode::PacketTooLarge
            | ReasonCode::QuotaExceeded
            | ReasonCode::UseAnotherServer
            | ReasonCode::ServerMoved
            | ReasonCode::ConnectionRateExceeded => Some(3),
            ReasonCode::BadUserNameOrPassword | ReasonCode::BadAuthenticationMethod => Some(4),
            ReasonCode::NotAuthorized | ReasonCode::Banned => Some(5),
            _ => None,
        }
    }

    /// From the return code of an MQTT 3 CONNACK.
    #[must_use]
    pub const fn from_connect_return_code(code: u8) -> Option<ReasonCode> {
        match code {
            0 => Some(ReasonCode::Success),
            1 => Some(ReasonCode::UnsupportedProtocolVersion),
            2 => Some(ReasonCode::ClientIdentifierNotValid),
            3 => Some(ReasonCode::ServerUnavailable),
            4 => Some(ReasonCode::BadUserNameOrPassword),
            5 => Some(ReasonCode::NotAuthorized),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    fn list(packet: PacketType, sender: Sender) -> Vec<u8> {
        ReasonCode::ALL
            .iter()
            .filter(|code| code.is_allowed(packet, sender))
            .map(|code| code.as_u8())
            .collect()
    }

    #[test]
    fn bytes_and_names_agree() {
        for byte in 0..=255 {
            let code = ReasonCode::from_u8(byte);
            assert!(code.is_none_or(|code| code.as_u8() == byte));
        }
        assert_eq!(ReasonCode::ALL.len(), 43);
    }

    /// The tables of MQTT 5 §3.4.2.1, §3.6.2.1, §3.9.3, §3.14.2.1.
    #[test]
    fn each_packet_has_its_own_table() {
        use PacketType::*;
        let acks = [0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99];
        assert_eq!(list(PubAck, Sender::Client), acks);
        assert_eq!(list(PubRec, Sender::Server), acks);
        assert_eq!(list(PubRel, Sender::Client), [0x00, 0x92]);
        assert_eq!(list(PubComp, Sender::Client), [0x00, 0x92]);
        assert_eq!(
            list(SubAck, Sender::Server),
            [0, 1, 2, 0x80, 0x83, 0x87, 0x8f, 0x91, 0x97, 0x9e, 0xa1, 0xa2]
        );
        assert_eq!(list(UnsubAck, Sender::Server), [0, 0x11, 0x80, 0x83, 0x87, 0x8f, 0x91]);
        assert_eq!(
            list(Disconnect, Sender::Client),
            [0, 4, 0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99]
        );
        assert_eq!(list(Disconnect, Sender::Server).len(), 29);
        assert_eq!(list(Auth, Sender::Client), [0x18, 0x19]);
        assert_eq!(list(Auth, Sender::Server), [0x00, 0x18]);
        assert_eq!(list(ConnAck, Sender::Server).len(), 22);
        assert!(list(Publish, Sender::Client).is_empty());
    }
}
