//! What can be wrong with bytes ([`DecodeError`]) and with a packet to send ([`EncodeError`]).
//!
//! MQTT 5 §4.13 knows two classes: malformed packets (0x81) and protocol errors (0x82);
//! [`DecodeError::code`] says which one a fault is. MQTT 3 closes on both without a word.

use crate::reason::ReasonCode;

/// Why bytes are no acceptable packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// A field ends before its length.
    #[error("the packet ends inside a field")]
    Truncated,
    /// Bytes are left over behind the last field.
    #[error("bytes are left over behind the last field")]
    TrailingBytes,
    /// A variable byte integer of more than four bytes (MQTT 5 §1.5.5).
    #[error("a variable byte integer has more than four bytes")]
    IntegerTooLong,
    /// MQTT-1.5.5-1.
    #[error("a variable byte integer is not in its shortest form")]
    IntegerNotShortest,
    /// Packet type 0, or AUTH before MQTT 5.
    #[error("no such packet type")]
    UnknownPacketType,
    /// MQTT-2.1.3-1.
    #[error("reserved bits of the fixed header are set")]
    BadFlags,
    /// The announced length cannot be that of the packet type.
    #[error("a length that this packet type cannot have")]
    BadLength,
    /// MQTT-1.5.4-1.
    #[error("a string is not well-formed UTF-8")]
    BadUtf8,
    /// MQTT-1.5.4-2, and the control and non-characters of MQTT 5 §1.5.4.
    #[error("a string holds a forbidden character")]
    ForbiddenCharacter,
    /// The first packet names another protocol.
    #[error("the protocol name is not MQTT")]
    UnknownProtocol,
    /// MQTT-3.1.2-2.
    #[error("the protocol level is not known")]
    UnknownLevel,
    /// Reserved connect flag, or flags of a will without a will (MQTT-3.1.2-3, -11, -13).
    #[error("the connect flags contradict each other")]
    BadConnectFlags,
    /// QoS 3, or a DUP flag at QoS 0 (MQTT-3.3.1-2, -4).
    #[error("the QoS bits are not valid")]
    BadQos,
    /// Reserved bits of the subscription options (MQTT-3.8.3-5).
    #[error("reserved subscription options are set")]
    BadSubscriptionBits,
    /// A wildcard in a topic name, or an empty one where none may be (MQTT-3.3.2-2).
    #[error("the topic name is not valid")]
    BadTopicName,
    /// MQTT-4.7.1-1, -2, MQTT-4.8.2-1, -2.
    #[error("the topic filter is not valid")]
    BadTopicFilter,
    /// An identifier that MQTT 5 §2.2.2.2 does not list.
    #[error("no such property")]
    UnknownProperty,
    /// A property that this packet type (or sender) cannot have.
    #[error("a property that this packet cannot have")]
    MisplacedProperty,
    /// A code of MQTT 3 that its table does not list.
    #[error("no such return code")]
    BadReturnCode,
    /// MQTT 5 §2.2.2.2: a property given twice.
    #[error("a property is given twice")]
    DuplicateProperty,
    /// A value that the property cannot have.
    #[error("a property has a value that it cannot have")]
    BadPropertyValue,
    /// A subscription identifier from a client's PUBLISH (MQTT-3.3.4-6).
    #[error("a client's PUBLISH carries a subscription identifier")]
    SubscriptionIdentifierFromClient,
    /// MQTT-2.2.1-3.
    #[error("packet identifier 0")]
    ZeroPacketId,
    /// MQTT-3.8.3-2, MQTT-3.10.3-2.
    #[error("no topic filter at all")]
    EmptyList,
    /// MQTT 5 §3.3.2.1: neither topic nor alias.
    #[error("neither a topic name nor a topic alias")]
    NoTopic,
    /// QoS 3 or retain handling 3 (MQTT 5 §3.8.3.1).
    #[error("a subscription option has a value that it cannot have")]
    BadSubscriptionOptions,
    /// MQTT-3.8.3-4.
    #[error("no local on a shared subscription")]
    SharedNoLocal,
    /// A reason code outside the packet's table.
    #[error("a reason code that this packet cannot have")]
    BadReasonCode,
    /// A packet type that this side never sends.
    #[error("a packet that this side never sends")]
    WrongDirection,
}

impl DecodeError {
    /// The class of MQTT 5 §4.13: 0x81 (malformed packet) or 0x82 (protocol error).
    #[must_use]
    pub const fn code(self) -> ReasonCode {
        match self {
            DecodeError::DuplicateProperty
            | DecodeError::BadPropertyValue
            | DecodeError::SubscriptionIdentifierFromClient
            | DecodeError::ZeroPacketId
            | DecodeError::EmptyList
            | DecodeError::NoTopic
            | DecodeError::BadSubscriptionOptions
            | DecodeError::SharedNoLocal
            | DecodeError::BadReasonCode
            | DecodeError::WrongDirection => ReasonCode::ProtocolError,
            _ => ReasonCode::MalformedPacket,
        }
    }
}

/// Why a packet cannot be put into bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// A string or binary field of more than 65,535 bytes.
    #[error("a field is longer than 65,535 bytes")]
    FieldTooLong,
    /// More than 268,435,455 bytes behind the fixed header.
    #[error("the packet is longer than 268,435,455 bytes")]
    PacketTooLong,
    /// The version has no such packet, or no code for what it says.
    #[error("this protocol version cannot say that")]
    NotInVersion,
    /// A reason code that does not stand in the packet's table (MQTT 5 §2.4).
    #[error("a reason code that this packet cannot have")]
    CodeNotOfPacket,
}
