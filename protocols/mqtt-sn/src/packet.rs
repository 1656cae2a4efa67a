//! One decoded MQTT-SN packet ([`Packet`]), and a forwarder's wrapper ([`Encapsulation`]).
//!
//! Texts and payloads borrow from the datagram. A `Packet` can hold values that the endpoint
//! refuses (a reserved topic id, an empty client id): the wire half knows the format, the
//! endpoint the rules. Layouts are those of MQTT-SN 1.2 §5.4 and §5.5.

use crate::types::{QosBits, ReturnCode, TopicId, TopicRef};

/// The body of a WILLTOPIC or WILLTOPICUPD that is not empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WillTopic<'a> {
    /// QoS of the will.
    pub qos: QosBits,
    /// RETAIN of the will.
    pub retain: bool,
    /// Where it is published.
    pub topic: &'a str,
}

/// An MQTT-SN 1.2 packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // the fields are those of §5.4, under the names of §5.3
pub enum Packet<'a> {
    /// §5.4.1: a gateway is here; the next one follows in `duration` seconds.
    Advertise { gateway_id: u8, duration: u16 },
    /// §5.4.2
    SearchGw { radius: u8 },
    /// §5.4.3: `address` is empty when a gateway itself answers.
    GwInfo { gateway_id: u8, address: &'a [u8] },
    /// §5.4.4: `duration` is the keep-alive in seconds.
    Connect { will: bool, clean: bool, protocol_id: u8, duration: u16, client_id: &'a str },
    /// §5.4.5
    ConnAck { code: ReturnCode },
    /// §5.4.6
    WillTopicReq,
    /// §5.4.7: `None` is the empty WILLTOPIC of exactly two octets.
    WillTopic { will: Option<WillTopic<'a>> },
    /// §5.4.8
    WillMsgReq,
    /// §5.4.9
    WillMsg { message: &'a [u8] },
    /// §5.4.10: from a client `topic_id` is 0x0000.
    Register { topic_id: u16, msg_id: u16, name: &'a str },
    /// §5.4.11
    RegAck { topic_id: u16, msg_id: u16, code: ReturnCode },
    /// §5.4.12
    Publish { dup: bool, qos: QosBits, retain: bool, topic: TopicId, msg_id: u16, data: &'a [u8] },
    /// §5.4.13: `topic_id` is [`TopicId::raw`] of the PUBLISH.
    PubAck { topic_id: u16, msg_id: u16, code: ReturnCode },
    /// §5.4.14
    PubRec { msg_id: u16 },
    /// §5.4.14
    PubRel { msg_id: u16 },
    /// §5.4.14
    PubComp { msg_id: u16 },
    /// §5.4.15
    Subscribe { dup: bool, qos: QosBits, msg_id: u16, topic: TopicRef<'a> },
    /// §5.4.16
    SubAck { qos: QosBits, topic_id: u16, msg_id: u16, code: ReturnCode },
    /// §5.4.17
    Unsubscribe { msg_id: u16, topic: TopicRef<'a> },
    /// §5.4.18
    UnsubAck { msg_id: u16 },
    /// §5.4.19: with a client id a sleeping client asks for what was buffered.
    PingReq { client_id: Option<&'a str> },
    /// §5.4.20
    PingResp,
    /// §5.4.21: with a duration (seconds) the client goes to sleep.
    Disconnect { duration: Option<u16> },
    /// §5.4.22: `None` (two octets) deletes topic and message of the will.
    WillTopicUpd { will: Option<WillTopic<'a>> },
    /// §5.4.24
    WillTopicResp { code: ReturnCode },
    /// §5.4.23
    WillMsgUpd { message: &'a [u8] },
    /// §5.4.25
    WillMsgResp { code: ReturnCode },
}

/// Forwarder encapsulation (MQTT-SN 1.2 §5.5): one whole packet behind a node's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Encapsulation<'a> {
    /// Broadcast radius, 0 to 3; meant for the direction gateway to forwarder.
    pub radius: u8,
    /// The wireless node; 0 to 252 octets.
    pub node: &'a [u8],
    /// A packet with its own length field.
    pub inner: &'a [u8],
}
