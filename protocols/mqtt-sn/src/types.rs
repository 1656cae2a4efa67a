//! The fields that MQTT-SN packets are made of (MQTT-SN 1.2 §5.3): flags, topic ids, return codes,
//! and the numbers of the message types (§5.2.2).

/// Message types (MQTT-SN 1.2 §5.2.2). PUBCOMP, PUBREC, PUBREL are *not* in MQTT's order.
pub mod msg_type {
    /// ADVERTISE.
    pub const ADVERTISE: u8 = 0x00;
    /// SEARCHGW.
    pub const SEARCHGW: u8 = 0x01;
    /// GWINFO.
    pub const GWINFO: u8 = 0x02;
    /// CONNECT.
    pub const CONNECT: u8 = 0x04;
    /// CONNACK.
    pub const CONNACK: u8 = 0x05;
    /// WILLTOPICREQ.
    pub const WILLTOPICREQ: u8 = 0x06;
    /// WILLTOPIC.
    pub const WILLTOPIC: u8 = 0x07;
    /// WILLMSGREQ.
    pub const WILLMSGREQ: u8 = 0x08;
    /// WILLMSG.
    pub const WILLMSG: u8 = 0x09;
    /// REGISTER.
    pub const REGISTER: u8 = 0x0a;
    /// REGACK.
    pub const REGACK: u8 = 0x0b;
    /// PUBLISH.
    pub const PUBLISH: u8 = 0x0c;
    /// PUBACK.
    pub const PUBACK: u8 = 0x0d;
    /// PUBCOMP.
    pub const PUBCOMP: u8 = 0x0e;
    /// PUBREC.
    pub const PUBREC: u8 = 0x0f;
    /// PUBREL.
    pub const PUBREL: u8 = 0x10;
    /// SUBSCRIBE.
    pub const SUBSCRIBE: u8 = 0x12;
    /// SUBACK.
    pub const SUBACK: u8 = 0x13;
    /// UNSUBSCRIBE.
    pub const UNSUBSCRIBE: u8 = 0x14;
    /// UNSUBACK.
    pub const UNSUBACK: u8 = 0x15;
    /// PINGREQ.
    pub const PINGREQ: u8 = 0x16;
    /// PINGRESP.
    pub const PINGRESP: u8 = 0x17;
    /// DISCONNECT.
    pub const DISCONNECT: u8 = 0x18;
    /// WILLTOPICUPD.
    pub const WILLTOPICUPD: u8 = 0x1a;
    /// WILLTOPICRESP.
    pub const WILLTOPICRESP: u8 = 0x1b;
    /// WILLMSGUPD.
    pub const WILLMSGUPD: u8 = 0x1c;
    /// WILLMSGRESP.
    pub const WILLMSGRESP: u8 = 0x1d;
    /// Forwarder encapsulation.
    pub const ENCAPSULATED: u8 = 0xfe;
}

/// Bits of the Flags octet (MQTT-SN 1.2 §5.3.4).
pub(crate) mod flag {
    pub(crate) const DUP: u8 = 0x80;
    pub(crate) const RETAIN: u8 = 0x10;
    pub(crate) const WILL: u8 = 0x08;
    pub(crate) const CLEAN: u8 = 0x04;
}

/// The only ProtocolId (MQTT-SN 1.2 §5.3.8).
pub const PROTOCOL_ID: u8 = 0x01;

/// Topic ids that name no topic (MQTT-SN 1.2 §5.3.11).
#[must_use]
pub const fn is_reserved_topic_id(id: u16) -> bool {
    id == 0x0000 || id == 0xffff
}

/// The QoS bits of the flags, QoS −1 included (MQTT-SN 1.2 §5.3.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum QosBits {
    /// QoS −1: without a connection, bits 11.
    MinusOne,
    /// QoS 0.
    Zero,
    /// QoS 1.
    One,
    /// QoS 2.
    Two,
}

impl QosBits {
    pub(crate) const fn from_flags(flags: u8) -> QosBits {
        match flags >> 5 & 3 {
            0 => QosBits::Zero,
            1 => QosBits::One,
            2 => QosBits::Two,
            _ => QosBits::MinusOne,
        }
    }

    pub(crate) const fn to_flags(self) -> u8 {
        match self {
            QosBits::Zero => 0x00,
            QosBits::One => 0x20,
            QosBits::Two => 0x40,
            QosBits::MinusOne => 0x60,
        }
    }
}

/// How a PUBLISH names its topic (MQTT-SN 1.2 §5.3.4 TopicIdType, §5.3.11).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TopicId {
    /// An id agreed by REGISTER or SUBACK.
    Normal(u16),
    /// A pre-defined id.
    Predefined(u16),
    /// A short topic name: two characters, no registration.
    Short([u8; 2]),
}

impl TopicId {
    /// The two octets on the wire, as PUBACK echoes them (§5.4.13).
    #[must_use]
    pub const fn raw(self) -> u16 {
        match self {
            TopicId::Normal(id) | TopicId::Predefined(id) => id,
            TopicId::Short(name) => u16::from_be_bytes(name),
        }
    }

    pub(crate) const fn type_bits(self) -> u8 {
        match self {
            TopicId::Normal(_) => 0,
            TopicId::Predefined(_) => 1,
            TopicId::Short(_) => 2,
        }
    }
}

/// What a SUBSCRIBE or UNSUBSCRIBE names (MQTT-SN 1.2 §5.4.15).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TopicRef<'a> {
    /// A topic name, perhaps with wildcards.
    Name(&'a str),
    /// A pre-defined id.
    Predefined(u16),
    /// A short topic name.
    Short([u8; 2]),
}

impl TopicRef<'_> {
    pub(crate) const fn type_bits(self) -> u8 {
        match self {
            TopicRef::Name(_) => 0,
            TopicRef::Predefined(_) => 1,
            TopicRef::Short(_) => 2,
        }
    }
}

/// ReturnCode (MQTT-SN 1.2 §5.3.10).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ReturnCode {
    /// 0x00.
    Accepted,
    /// 0x01: try again after T_WAIT.
    Congestion,
    /// 0x02.
    InvalidTopicId,
    /// 0x03.
    NotSupported,
    /// Any other; a receiver treats it as a rejection.
    Reserved(u8),
}

impl ReturnCode {
    /// From the octet.
    #[must_use]
    pub const fn from_u8(code: u8) -> Self {
        match code {
            0 => ReturnCode::Accepted,
            1 => ReturnCode::Congestion,
            2 => ReturnCode::InvalidTopicId,
            3 => ReturnCode::NotSupported,
            other => ReturnCode::Reserved(other),
        }
    }

    /// The octet.
    #[must_use]
    pub const fn to_u8(self) -> u8 {
        match self {
            ReturnCode::Accepted => 0,
            ReturnCode::Congestion => 1,
            ReturnCode::InvalidTopicId => 2,
            ReturnCode::NotSupported => 3,
            ReturnCode::Reserved(other) => other,
        }
    }
}
