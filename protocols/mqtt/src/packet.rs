//! The packets of MQTT 3.1, 3.1.1 and 5.0 in one model. Strings and payloads are borrowed: from
//! the bytes when decoded, from the caller when encoded.
//!
//! What a version lacks is empty there: properties before 5.0, reason codes of acknowledgements.
//! An MQTT 3 CONNACK return code and SUBACK failure appear as the MQTT 5 reason code that says
//! the same.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::num::NonZeroU16;

use motegate_message::Qos;

use crate::properties::Properties;
use crate::reason::ReasonCode;

/// A protocol version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Version {
    /// MQTT 3.1: `MQIsdp`, level 3.
    V31,
    /// MQTT 3.1.1: `MQTT`, level 4.
    V311,
    /// MQTT 5.0: `MQTT`, level 5.
    V5,
}

impl Version {
    /// Whether packets carry properties.
    #[must_use]
    pub const fn is_v5(self) -> bool {
        matches!(self, Version::V5)
    }

    /// Protocol name and level of the CONNECT.
    #[must_use]
    pub const fn name_and_level(self) -> (&'static str, u8) {
        match self {
            Version::V31 => ("MQIsdp", 3),
            Version::V311 => ("MQTT", 4),
            Version::V5 => ("MQTT", 5),
        }
    }
}

/// Who sends a packet: some codes, properties and flags belong to one side only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Sender {
    /// The client.
    Client,
    /// The server.
    Server,
}

/// The packet types of MQTT 5 §2.1.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
#[allow(missing_docs)] // the names are the specification's
pub enum PacketType {
    Connect = 1,
    ConnAck,
    Publish,
    PubAck,
    PubRec,
    PubRel,
    PubComp,
    Subscribe,
    SubAck,
    Unsubscribe,
    UnsubAck,
    PingReq,
    PingResp,
    Disconnect,
    Auth,
}

impl PacketType {
    /// Every type, in the order of its number.
    pub const ALL: [PacketType; 15] = [
        PacketType::Connect,
        PacketType::ConnAck,
        PacketType::Publish,
        PacketType::PubAck,
        PacketType::PubRec,
        PacketType::PubRel,
        PacketType::PubComp,
        PacketType::Subscribe,
        PacketType::SubAck,
        PacketType::Unsubscribe,
        PacketType::UnsubAck,
        PacketType::PingReq,
        PacketType::PingResp,
        PacketType::Disconnect,
        PacketType::Auth,
    ];

    /// From the first byte of a packet; `None` for type 0.
    #[must_use]
    pub fn from_first_byte(first: u8) -> Option<PacketType> {
        Self::ALL.get(usize::from(first >> 4).checked_sub(1)?).copied()
    }
}

/// One packet.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)] // the names are the specification's
pub enum Packet<'a> {
    Connect(Box<Connect<'a>>),
    ConnAck(ConnAck<'a>),
    Publish(Publish<'a>),
    PubAck(Ack<'a>),
    PubRec(Ack<'a>),
    PubRel(Ack<'a>),
    PubComp(Ack<'a>),
    Subscribe(Subscribe<'a>),
    SubAck(SubAck<'a>),
    Unsubscribe(Unsubscribe<'a>),
    UnsubAck(SubAck<'a>),
    PingReq,
    PingResp,
    Disconnect(Disconnect<'a>),
    Auth(Auth<'a>),
}

impl Packet<'_> {
    /// Its type.
    #[must_use]
    pub const fn packet_type(&self) -> PacketType {
        match self {
            Packet::Connect(_) => PacketType::Connect,
            Packet::ConnAck(_) => PacketType::ConnAck,
            Packet::Publish(_) => PacketType::Publish,
            Packet::PubAck(_) => PacketType::PubAck,
            Packet::PubRec(_) => PacketType::PubRec,
            Packet::PubRel(_) => PacketType::PubRel,
            Packet::PubComp(_) => PacketType::PubComp,
            Packet::Subscribe(_) => PacketType::Subscribe,
            Packet::SubAck(_) => PacketType::SubAck,
            Packet::Unsubscribe(_) => PacketType::Unsubscribe,
            Packet::UnsubAck(_) => PacketType::UnsubAck,
            Packet::PingReq => PacketType::PingReq,
            Packet::PingResp => PacketType::PingResp,
            Packet::Disconnect(_) => PacketType::Disconnect,
            Packet::Auth(_) => PacketType::Auth,
        }
    }
}

/// CONNECT (MQTT 5 §3.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connect<'a> {
    /// Protocol version.
    pub version: Version,
    /// The bridge bit (0x80) of the level byte, before 5.0 only: the client is another broker.
    pub bridge: bool,
    /// Clean Start, Clean Session.
    pub clean: bool,
    /// Keep Alive in seconds; 0: none.
    pub keep_alive: u16,
    /// Properties (5.0).
    pub properties: Properties<'a>,
    /// Client Identifier; may be empty.
    pub client_id: &'a str,
    /// The will, if any.
    pub will: Option<Will<'a>>,
    /// User Name.
    pub user_name: Option<&'a str>,
    /// Password.
    pub password: Option<&'a [u8]>,
}

/// The will of a CONNECT (MQTT 5 §3.1.3.2…4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Will<'a> {
    /// Will QoS.
    pub qos: Qos,
    /// Will Retain.
    pub retain: bool,
    /// Will Properties (5.0).
    pub properties: Properties<'a>,
    /// Will Topic.
    pub topic: &'a str,
    /// Will Payload.
    pub payload: &'a [u8],
}

/// CONNACK (MQTT 5 §3.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnAck<'a> {
    /// Session Present; always false in 3.1.
    pub session_present: bool,
    /// Reason code.
    pub code: ReasonCode,
    /// Properties (5.0).
    pub properties: Properties<'a>,
}

/// PUBLISH (MQTT 5 §3.3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publish<'a> {
    /// DUP; false at QoS 0.
    pub dup: bool,
    /// QoS.
    pub qos: Qos,
    /// RETAIN.
    pub retain: bool,
    /// Topic Name; empty when a topic alias stands for it (5.0).
    pub topic: &'a str,
    /// Packet Identifier; `None` exactly at QoS 0.
    pub id: Option<NonZeroU16>,
    /// Properties (5.0).
    pub properties: Properties<'a>,
    /// Application message.
    pub payload: &'a [u8],
}

/// PUBACK, PUBREC, PUBREL, PUBCOMP (MQTT 5 §3.4…§3.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ack<'a> {
    /// Packet Identifier.
    pub id: NonZeroU16,
    /// Reason code (5.0; always success before).
    pub code: ReasonCode,
    /// Properties (5.0).
    pub properties: Properties<'a>,
}

impl Ack<'_> {
    /// A plain acknowledgement.
    #[must_use]
    pub const fn new(id: NonZeroU16, code: ReasonCode) -> Self {
        Ack { id, code, properties: Properties::EMPTY }
    }
}

/// SUBSCRIBE (MQTT 5 §3.8).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscribe<'a> {
    /// Packet Identifier.
    pub id: NonZeroU16,
    /// Properties (5.0).
    pub properties: Properties<'a>,
    /// At least one filter, in order.
    pub filters: Vec<SubscribeFilter<'a>>,
}

/// One filter of a SUBSCRIBE with its options (MQTT 5 §3.8.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SubscribeFilter<'a> {
    /// Topic filter, valid by MQTT 5 §4.7 and §4.8.2.
    pub filter: &'a str,
    /// Maximum QoS.
    pub qos: Qos,
    /// No Local (5.0).
    pub no_local: bool,
    /// Retain As Published (5.0).
    pub retain_as_published: bool,
    /// Retain Handling, 0 to 2 (5.0).
    pub retain_handling: u8,
}

/// SUBACK, UNSUBACK (MQTT 5 §3.9, §3.11).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubAck<'a> {
    /// Packet Identifier.
    pub id: NonZeroU16,
    /// Properties (5.0).
    pub properties: Properties<'a>,
    /// One code for each filter; none in an UNSUBACK before 5.0.
    pub codes: Vec<ReasonCode>,
}

/// UNSUBSCRIBE (MQTT 5 §3.10).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsubscribe<'a> {
    /// Packet Identifier.
    pub id: NonZeroU16,
    /// Properties (5.0).
    pub properties: Properties<'a>,
    /// At least one filter, in order.
    pub filters: Vec<&'a str>,
}

/// DISCONNECT (MQTT 5 §3.14).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Disconnect<'a> {
    /// Reason code (5.0; always success before).
    pub code: ReasonCode,
    /// Properties (5.0).
    pub properties: Properties<'a>,
}

/// AUTH (MQTT 5 §3.15).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Auth<'a> {
    /// Reason code.
    pub code: ReasonCode,
    /// Properties.
    pub properties: Properties<'a>,
}
