//! Bytes ↔ [`Packet`] (MQTT-SN 1.2 §5.2, §5.4) and ↔ [`Encapsulation`] (§5.5).
//!
//! Decoding borrows, never panics, and takes nothing that §5 does not allow; what the format
//! leaves to the receiver (reserved flags, message ids at QoS 0) is tolerated. Encoding fills a
//! caller's buffer and uses the short length form wherever it fits.
#![warn(clippy::indexing_slicing)]

use crate::error::{DecodeError, EncodeError};
use crate::packet::{Encapsulation, Packet, WillTopic};
use crate::types::{QosBits, ReturnCode, TopicId, TopicRef, flag, msg_type};

/// Longest packet that one length octet describes.
const SHORT_MAX: usize = 255;

/// The message type of a datagram with a sound length field, without looking at its body: to
/// find forwarder encapsulation before decoding.
#[must_use]
pub fn peek_type(datagram: &[u8]) -> Option<u8> {
    match datagram {
        [0x01, _, _, kind, ..] => Some(*kind),
        [0x01, ..] | [] | [_] => None,
        [_, kind, ..] => Some(*kind),
    }
}

/// Splits a whole datagram into message type and body.
pub(crate) fn frame(datagram: &[u8]) -> Result<(u8, &[u8]), DecodeError> {
    // MQTT-SN 1.2 §5.2.1: 0x01 announces two octets of length; a short message may use that form.
    let (said, rest) = match datagram {
        [0x01, high, low, rest @ ..] => (usize::from(u16::from_be_bytes([*high, *low])), rest),
        [0x01, ..] | [] => return Err(DecodeError::Truncated),
        [length, rest @ ..] => (usize::from(*length), rest),
    };
    if said != datagram.len() {
        return Err(DecodeError::Length { said, got: datagram.len() });
    }
    let (kind, body) = rest.split_first().ok_or(DecodeError::Truncated)?;
    Ok((*kind, body))
}

/// The answer to a request whose framing is sound and whose contents cannot be taken (a text that is
/// no UTF-8, the reserved topic id type): rejected as not supported, where silence would be repeated
/// for ever. `None` where nothing is asked, or not even the message id is there.
#[cfg(feature = "endpoint")]
pub(crate) fn refusal(datagram: &[u8]) -> Option<Packet<'static>> {
    let (kind, body) = frame(datagram).ok()?;
    let code = ReturnCode::NotSupported;
    Some(match (kind, body) {
        (msg_type::CONNECT, [_, _, _, _, _, ..]) => Packet::ConnAck { code },
        (msg_type::REGISTER, [_, _, high, low, ..]) => {
            Packet::RegAck { topic_id: 0, msg_id: u16::from_be_bytes([*high, *low]), code }
        }
        (msg_type::SUBSCRIBE, [_, high, low, _, ..]) => {
            let msg_id = u16::from_be_bytes([*high, *low]);
            Packet::SubAck { qos: QosBits::Zero, topic_id: 0, msg_id, code }
        }
        // §6.9: UNSUBACK has no code; what cannot be subscribed is not subscribed.
        (msg_type::UNSUBSCRIBE, [_, high, low, _, ..]) => {
            Packet::UnsubAck { msg_id: u16::from_be_bytes([*high, *low]) }
        }
        (msg_type::PUBLISH, [flags, a, b, c, d, ..])
            if QosBits::from_flags(*flags) != QosBits::MinusOne =>
        {
            let topic_id = u16::from_be_bytes([*a, *b]);
            Packet::PubAck { topic_id, msg_id: u16::from_be_bytes([*c, *d]), code }
        }
        (msg_type::WILLTOPICUPD, [_, _, ..]) => Packet::WillTopicResp { code },
        _ => return None,
    })
}

/// What is left of a body.
struct Body<'a> {
    kind: u8,
    rest: &'a [u8],
}

impl<'a> Body<'a> {
    fn u8(&mut self) -> Result<u8, DecodeError> {
        let (first, rest) = self.rest.split_first().ok_or(DecodeError::Body(self.kind))?;
        self.rest = rest;
        Ok(*first)
    }

    fn two(&mut self) -> Result<[u8; 2], DecodeError> {
        let (first, rest) = self.rest.split_first_chunk().ok_or(DecodeError::Body(self.kind))?;
        self.rest = rest;
        Ok(*first)
    }

    fn u16(&mut self) -> Result<u16, DecodeError> {
        self.two().map(u16::from_be_bytes)
    }

    fn code(&mut self) -> Result<ReturnCode, DecodeError> {
        self.u8().map(ReturnCode::from_u8)
    }

    fn bytes(&mut self) -> &'a [u8] {
        core::mem::take(&mut self.rest)
    }

    fn text(&mut self) -> Result<&'a str, DecodeError> {
        core::str::from_utf8(self.bytes()).map_err(|_| DecodeError::Utf8)
    }

    /// A body of known length must be used up.
    fn end<T>(self, packet: T) -> Result<T, DecodeError> {
        if self.rest.is_empty() { Ok(packet) } else { Err(DecodeError::Body(self.kind)) }
    }

    fn will(&mut self) -> Result<Option<WillTopic<'a>>, DecodeError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let flags = self.u8()?;
        Ok(Some(WillTopic {
            qos: QosBits::from_flags(flags),
            retain: flags & flag::RETAIN != 0,
            topic: self.text()?,
        }))
    }

    fn topic_ref(&mut self, flags: u8) -> Result<TopicRef<'a>, DecodeError> {
        let topic = match flags & 3 {
            0 => TopicRef::Name(self.text()?),
            1 => TopicRef::Predefined(self.u16()?),
            2 => TopicRef::Short(self.two()?),
            _ => return Err(DecodeError::ReservedTopicIdType),
        };
        if self.rest.is_empty() { Ok(topic) } else { Err(DecodeError::Body(self.kind)) }
    }
}

impl<'a> Packet<'a> {
    /// Decodes a whole datagram. Forwarder encapsulation is not a packet: see
    /// [`Encapsulation::decode`].
    ///
    /// # Errors
    /// [`DecodeError`] says what is wrong; the datagram is to be dropped.
    pub fn decode(datagram: &'a [u8]) -> Result<Packet<'a>, DecodeError> {
        let (kind, rest) = frame(datagram)?;
        let mut b = Body { kind, rest };
        let packet = match kind {
            msg_type::ADVERTISE => Packet::Advertise { gateway_id: b.u8()?, duration: b.u16()? },
            msg_type::SEARCHGW => Packet::SearchGw { radius: b.u8()? },
            msg_type::GWINFO => Packet::GwInfo { gateway_id: b.u8()?, address: b.bytes() },
            msg_type::CONNECT => decode_connect(&mut b)?,
            msg_type::CONNACK => Packet::ConnAck { code: b.code()? },
            msg_type::WILLTOPICREQ => Packet::WillTopicReq,
            msg_type::WILLTOPIC => Packet::WillTopic { will: b.will()? },
            msg_type::WILLMSGREQ => Packet::WillMsgReq,
            msg_type::WILLMSG => Packet::WillMsg { message: b.bytes() },
            msg_type::REGISTER => {
                Packet::Register { topic_id: b.u16()?, msg_id: b.u16()?, name: b.text()? }
            }
            msg_type::REGACK => {
                Packet::RegAck { topic_id: b.u16()?, msg_id: b.u16()?, code: b.code()? }
            }
            msg_type::PUBLISH => decode_publish(&mut b)?,
            msg_type::PUBACK => {
                Packet::PubAck { topic_id: b.u16()?, msg_id: b.u16()?, code: b.code()? }
            }
            msg_type::PUBREC => Packet::PubRec { msg_id: b.u16()? },
            msg_type::PUBREL => Packet::PubRel { msg_id: b.u16()? },
            msg_type::PUBCOMP => Packet::PubComp { msg_id: b.u16()? },
            msg_type::SUBSCRIBE => {
                let flags = b.u8()?;
                Packet::Subscribe {
                    dup: flags & flag::DUP != 0,
                    qos: QosBits::from_flags(flags),
                    msg_id: b.u16()?,
                    topic: b.topic_ref(flags)?,
                }
            }
            msg_type::SUBACK => Packet::SubAck {
                qos: QosBits::from_flags(b.u8()?),
                topic_id: b.u16()?,
                msg_id: b.u16()?,
                code: b.code()?,
            },
            msg_type::UNSUBSCRIBE => {
                let flags = b.u8()?;
                Packet::Unsubscribe { msg_id: b.u16()?, topic: b.topic_ref(flags)? }
            }
            msg_type::UNSUBACK => Packet::UnsubAck { msg_id: b.u16()? },
            msg_type::PINGREQ if b.rest.is_empty() => Packet::PingReq { client_id: None },
            msg_type::PINGREQ => Packet::PingReq { client_id: Some(b.text()?) },
            msg_type::PINGRESP => Packet::PingResp,
            msg_type::DISCONNECT if b.rest.is_empty() => Packet::Disconnect { duration: None },
            msg_type::DISCONNECT => Packet::Disconnect { duration: Some(b.u16()?) },
            msg_type::WILLTOPICUPD => Packet::WillTopicUpd { will: b.will()? },
            msg_type::WILLTOPICRESP => Packet::WillTopicResp { code: b.code()? },
            msg_type::WILLMSGUPD => Packet::WillMsgUpd { message: b.bytes() },
            msg_type::WILLMSGRESP => Packet::WillMsgResp { code: b.code()? },
            other => return Err(DecodeError::ReservedType(other)),
        };
        b.end(packet)
    }

    /// The message type (§5.2.2).
    #[must_use]
    pub const fn msg_type(&self) -> u8 {
        match self {
            Packet::Advertise { .. } => msg_type::ADVERTISE,
            Packet::SearchGw { .. } => msg_type::SEARCHGW,
            Packet::GwInfo { .. } => msg_type::GWINFO,
            Packet::Connect { .. } => msg_type::CONNECT,
            Packet::ConnAck { .. } => msg_type::CONNACK,
            Packet::WillTopicReq => msg_type::WILLTOPICREQ,
            Packet::WillTopic { .. } => msg_type::WILLTOPIC,
            Packet::WillMsgReq => msg_type::WILLMSGREQ,
            Packet::WillMsg { .. } => msg_type::WILLMSG,
            Packet::Register { .. } => msg_type::REGISTER,
            Packet::RegAck { .. } => msg_type::REGACK,
            Packet::Publish { .. } => msg_type::PUBLISH,
            Packet::PubAck { .. } => msg_type::PUBACK,
            Packet::PubRec { .. } => msg_type::PUBREC,
            Packet::PubRel { .. } => msg_type::PUBREL,
            Packet::PubComp { .. } => msg_type::PUBCOMP,
            Packet::Subscribe { .. } => msg_type::SUBSCRIBE,
            Packet::SubAck { .. } => msg_type::SUBACK,
            Packet::Unsubscribe { .. } => msg_type::UNSUBSCRIBE,
            Packet::UnsubAck { .. } => msg_type::UNSUBACK,
            Packet::PingReq { .. } => msg_type::PINGREQ,
            Packet::PingResp => msg_type::PINGRESP,
            Packet::Disconnect { .. } => msg_type::DISCONNECT,
            Packet::WillTopicUpd { .. } => msg_type::WILLTOPICUPD,
            Packet::WillTopicResp { .. } => msg_type::WILLTOPICRESP,
            Packet::WillMsgUpd { .. } => msg_type::WILLMSGUPD,
            Packet::WillMsgResp { .. } => msg_type::WILLMSGRESP,
        }
    }

    fn body_len(&self) -> usize {
        let will_len = |will: &Option<WillTopic<'_>>| will.map_or(0, |will| 1 + will.topic.len());
        let ref_len = |topic: &TopicRef<'_>| match topic {
            TopicRef::Name(name) => name.len(),
            TopicRef::Predefined(_) | TopicRef::Short(_) => 2,
        };
        match self {
            Packet::WillTopicReq | Packet::WillMsgReq | Packet::PingResp => 0,
            Packet::SearchGw { .. }
            | Packet::ConnAck { .. }
            | Packet::WillTopicResp { .. }
            | Packet::WillMsgResp { .. } => 1,
            Packet::PubRec { .. }
            | Packet::PubRel { .. }
            | Packet::PubComp { .. }
            | Packet::UnsubAck { .. } => 2,
            Packet::Advertise { .. } => 3,
            Packet::RegAck { .. } | Packet::PubAck { .. } => 5,
            Packet::SubAck { .. } => 6,
            Packet::GwInfo { address, .. } => 1 + address.len(),
            Packet::Connect { client_id, .. } => 4 + client_id.len(),
            Packet::WillTopic { will } | Packet::WillTopicUpd { will } => will_len(will),
            Packet::WillMsg { message } | Packet::WillMsgUpd { message } => message.len(),
            Packet::Register { name, .. } => 4 + name.len(),
            Packet::Publish { data, .. } => 5 + data.len(),
            Packet::Subscribe { topic, .. } | Packet::Unsubscribe { topic, .. } => {
                3 + ref_len(topic)
            }
            Packet::PingReq { client_id } => client_id.map_or(0, str::len),
            Packet::Disconnect { duration } => duration.map_or(0, |_| 2),
        }
    }

    /// Octets of the encoded packet, its length field included.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        let body = self.body_len();
        if body + 2 <= SHORT_MAX { body + 2 } else { body + 4 }
    }

    /// Writes the packet to the start of `buf`; returns how many octets it took.
    ///
    /// # Errors
    /// [`EncodeError::Buffer`] when `buf` is too small, [`EncodeError::TooLong`] past 65,535.
    pub fn encode(&self, buf: &mut [u8]) -> Result<usize, EncodeError> {
        let len = self.encoded_len();
        let long = u16::try_from(len).map_err(|_| EncodeError::TooLong)?;
        let mut out = Out { rest: buf.get_mut(..len).ok_or(EncodeError::Buffer)? };
        match u8::try_from(long) {
            Ok(short) => out.u8(short),
            Err(_) => {
                out.u8(0x01);
                out.u16(long);
            }
        }
        out.u8(self.msg_type());
        self.encode_body(&mut out);
        Ok(len)
    }

    /// The packet as a vector of fixed capacity, for firmware.
    ///
    /// # Errors
    /// As [`encode`](Self::encode).
    pub fn to_vec<const N: usize>(&self) -> Result<heapless::Vec<u8, N>, EncodeError> {
        let mut out = heapless::Vec::new();
        out.resize_default(self.encoded_len()).map_err(|_| EncodeError::Buffer)?;
        self.encode(&mut out)?;
        Ok(out)
    }

    fn encode_body(&self, out: &mut Out<'_>) {
        match *self {
            Packet::WillTopicReq | Packet::WillMsgReq | Packet::PingResp => {}
            Packet::Advertise { gateway_id, duration } => {
                out.u8(gateway_id);
                out.u16(duration);
            }
            Packet::SearchGw { radius } => out.u8(radius),
            Packet::GwInfo { gateway_id, address } => {
                out.u8(gateway_id);
                out.bytes(address);
            }
            Packet::Connect { will, clean, protocol_id, duration, client_id } => {
                out.u8(bit(will, flag::WILL) | bit(clean, flag::CLEAN));
                out.u8(protocol_id);
                out.u16(duration);
                out.bytes(client_id.as_bytes());
            }
            Packet::ConnAck { code }
            | Packet::WillTopicResp { code }
            | Packet::WillMsgResp { code } => out.u8(code.to_u8()),
            Packet::WillTopic { will } | Packet::WillTopicUpd { will } => {
                if let Some(will) = will {
                    out.u8(will.qos.to_flags() | bit(will.retain, flag::RETAIN));
                    out.bytes(will.topic.as_bytes());
                }
            }
            Packet::WillMsg { message } | Packet::WillMsgUpd { message } => out.bytes(message),
            Packet::Register { topic_id, msg_id, name } => {
                out.u16(topic_id);
                out.u16(msg_id);
                out.bytes(name.as_bytes());
            }
            Packet::RegAck { topic_id, msg_id, code }
            | Packet::PubAck { topic_id, msg_id, code } => {
                out.u16(topic_id);
                out.u16(msg_id);
                out.u8(code.to_u8());
            }
            Packet::Publish { dup, qos, retain, topic, msg_id, data } => {
                out.u8(bit(dup, flag::DUP)
                    | qos.to_flags()
                    | bit(retain, flag::RETAIN)
                    | topic.type_bits());
                out.u16(topic.raw());
                out.u16(msg_id);
                out.bytes(data);
            }
            Packet::PubRec { msg_id }
            | Packet::PubRel { msg_id }
            | Packet::PubComp { msg_id }
            | Packet::UnsubAck { msg_id } => out.u16(msg_id),
            Packet::Subscribe { dup, qos, msg_id, topic } => {
                out.u8(bit(dup, flag::DUP) | qos.to_flags() | topic.type_bits());
                out.u16(msg_id);
                out.topic_ref(topic);
            }
            Packet::SubAck { qos, topic_id, msg_id, code } => {
                out.u8(qos.to_flags());
                out.u16(topic_id);
                out.u16(msg_id);
                out.u8(code.to_u8());
            }
            Packet::Unsubscribe { msg_id, topic } => {
                out.u8(topic.type_bits());
                out.u16(msg_id);
                out.topic_ref(topic);
            }
            Packet::PingReq { client_id } => out.bytes(client_id.unwrap_or("").as_bytes()),
            Packet::Disconnect { duration } => {
                if let Some(duration) = duration {
                    out.u16(duration);
                }
            }
        }
    }
}

fn decode_connect<'a>(b: &mut Body<'a>) -> Result<Packet<'a>, DecodeError> {
    let flags = b.u8()?;
    Ok(Packet::Connect {
        will: flags & flag::WILL != 0,
        clean: flags & flag::CLEAN != 0,
        protocol_id: b.u8()?,
        duration: b.u16()?,
        client_id: b.text()?,
    })
}

fn decode_publish<'a>(b: &mut Body<'a>) -> Result<Packet<'a>, DecodeError> {
    let flags = b.u8()?;
    let id = b.two()?;
    let topic = match flags & 3 {
        0 => TopicId::Normal(u16::from_be_bytes(id)),
        1 => TopicId::Predefined(u16::from_be_bytes(id)),
        2 => TopicId::Short(id),
        _ => return Err(DecodeError::ReservedTopicIdType),
    };
    Ok(Packet::Publish {
        dup: flags & flag::DUP != 0,
        qos: QosBits::from_flags(flags),
        retain: flags & flag::RETAIN != 0,
        topic,
        msg_id: b.u16()?,
        data: b.bytes(),
    })
}

impl<'a> Encapsulation<'a> {
    /// Opens a forwarder's wrapper; `None` when the datagram is none, or a damaged one. Its
    /// length octet covers the wrapper alone (§5.5), so what follows has its own.
    #[must_use]
    pub fn decode(datagram: &'a [u8]) -> Option<Self> {
        let (length, _) = datagram.split_first()?;
        let (wrapper, inner) = datagram.split_at_checked(usize::from(*length))?;
        match wrapper {
            [_, msg_type::ENCAPSULATED, ctrl, node @ ..] => {
                Some(Encapsulation { radius: ctrl & 3, node, inner })
            }
            _ => None,
        }
    }

    /// Octets that the wrapper of `node` puts before a packet.
    #[must_use]
    pub const fn wrapper_len(node: &[u8]) -> usize {
        3 + node.len()
    }

    /// Writes the wrapper alone; the packet follows it. Returns how many octets it took.
    ///
    /// # Errors
    /// [`EncodeError::Buffer`] when `buf` is too small, [`EncodeError::TooLong`] when the node id
    /// has more than 252 octets.
    pub fn encode_wrapper(radius: u8, node: &[u8], buf: &mut [u8]) -> Result<usize, EncodeError> {
        let len = Self::wrapper_len(node);
        let octet = u8::try_from(len).map_err(|_| EncodeError::TooLong)?;
        let mut out = Out { rest: buf.get_mut(..len).ok_or(EncodeError::Buffer)? };
        out.u8(octet);
        out.u8(msg_type::ENCAPSULATED);
        out.u8(radius & 3);
        out.bytes(node);
        Ok(len)
    }
}

const fn bit(on: bool, bit: u8) -> u8 {
    if on { bit } else { 0 }
}

/// A buffer that was measured before: writes past its end cannot happen and are ignored.
struct Out<'b> {
    rest: &'b mut [u8],
}

impl Out<'_> {
    fn bytes(&mut self, bytes: &[u8]) {
        if let Some((head, tail)) =
            core::mem::take(&mut self.rest).split_at_mut_checked(bytes.len())
        {
            head.copy_from_slice(bytes);
            self.rest = tail;
        }
    }

    fn u8(&mut self, value: u8) {
        self.bytes(&[value]);
    }

    fn u16(&mut self, value: u16) {
        self.bytes(&value.to_be_bytes());
    }

    fn topic_ref(&mut self, topic: TopicRef<'_>) {
        match topic {
            TopicRef::Name(name) => self.bytes(name.as_bytes()),
            TopicRef::Predefined(id) => self.u16(id),
            TopicRef::Short(name) => self.bytes(&name),
        }
    }
}
