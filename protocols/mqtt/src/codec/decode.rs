//! Packets from bytes (MQTT 5 §3, MQTT 3.1.1 §3).

use alloc::vec::Vec;
use core::num::NonZeroU16;

use motegate_message::{Qos, SubscriptionFilter, TopicError, TopicFilter};

use super::connect::{self, properties};
use super::read::{Reader, Utf8};
use super::{check_first, check_length};
use crate::error::DecodeError;
use crate::packet::{
    Ack, Auth, ConnAck, Disconnect, Packet, PacketType, Publish, Sender, SubAck, Subscribe,
    SubscribeFilter, Unsubscribe, Version,
};
use crate::properties::{Properties, Property, Scope};
use crate::reason::ReasonCode;

/// Reads one whole packet: its first byte and what follows the fixed header. A CONNECT is read by
/// the version that it names itself, `version` is what was agreed on for all others.
///
/// # Errors
/// What is wrong; [`DecodeError::code`] classes it.
pub fn decode(
    first: u8,
    body: &[u8],
    version: Version,
    sender: Sender,
) -> Result<Packet<'_>, DecodeError> {
    decode_with(first, body, version, sender, Utf8::Strict)
}

/// The same where `utf8` says what strings may hold.
///
/// # Errors
/// As [`decode`].
pub fn decode_with(
    first: u8,
    body: &[u8],
    version: Version,
    sender: Sender,
    utf8: Utf8,
) -> Result<Packet<'_>, DecodeError> {
    use PacketType as T;
    let kind = check_first(first, version, sender)?;
    check_length(kind, version, body.len())?;
    let mut input = Reader(body, utf8);
    let read = &mut input;
    let scope = Scope::Packet(kind, sender);
    let ctx = Context { version, sender, kind, scope };
    let packet = match kind {
        T::Connect => return connect::decode(body, utf8).map(Packet::Connect),
        T::ConnAck => Packet::ConnAck(ctx.conn_ack(read)?),
        T::Publish => Packet::Publish(ctx.publish(first, read)?),
        T::PubAck => Packet::PubAck(ctx.ack(read)?),
        T::PubRec => Packet::PubRec(ctx.ack(read)?),
        T::PubRel => Packet::PubRel(ctx.ack(read)?),
        T::PubComp => Packet::PubComp(ctx.ack(read)?),
        T::Subscribe => Packet::Subscribe(ctx.subscribe(read)?),
        T::SubAck => Packet::SubAck(ctx.sub_ack(read)?),
        T::Unsubscribe => Packet::Unsubscribe(ctx.unsubscribe(read)?),
        T::UnsubAck => Packet::UnsubAck(ctx.sub_ack(read)?),
        T::PingReq => Packet::PingReq,
        T::PingResp => Packet::PingResp,
        T::Disconnect => {
            let (code, properties) = ctx.code_and_properties(read)?;
            Packet::Disconnect(Disconnect { code, properties })
        }
        T::Auth => {
            let (code, properties) = ctx.code_and_properties(read)?;
            Packet::Auth(Auth { code, properties })
        }
    };
    if !input.is_empty() {
        return Err(DecodeError::TrailingBytes);
    }
    Ok(packet)
}

/// What the reading of every packet depends on.
struct Context {
    version: Version,
    sender: Sender,
    kind: PacketType,
    scope: Scope,
}

/// [MQTT-2.2.1-3]
fn packet_id(input: &mut Reader<'_>) -> Result<NonZeroU16, DecodeError> {
    NonZeroU16::new(input.u16()?).ok_or(DecodeError::ZeroPacketId)
}

/// A filter as this version reads it. MQTT 3 knows no shared subscriptions: to its text what MQTT 5
/// calls a malformed one is a filter like any other, whose SUBSCRIBE and UNSUBSCRIBE are answered
/// [MQTT-3.8.4-1].
pub(crate) fn subscription_filter(
    version: Version,
    text: &str,
) -> Result<SubscriptionFilter, DecodeError> {
    match SubscriptionFilter::lenient(text) {
        Err(TopicError::BadShare) if !version.is_v5() => {
            TopicFilter::lenient(text).map(|filter| SubscriptionFilter { share: None, filter })
        }
        read => read,
    }
    .map_err(|_| DecodeError::BadTopicFilter)
}

impl Context {
    fn properties<'a>(&self, input: &mut Reader<'a>) -> Result<Properties<'a>, DecodeError> {
        properties(input, self.version, self.scope)
    }

    fn code(&self, byte: u8) -> Result<ReasonCode, DecodeError> {
        ReasonCode::from_u8(byte)
            .filter(|code| code.is_allowed(self.kind, self.sender))
            .ok_or(DecodeError::BadReasonCode)
    }

    /// A reason code and properties, each left out when everything behind it is, too.
    fn code_and_properties<'a>(
        &self,
        input: &mut Reader<'a>,
    ) -> Result<(ReasonCode, Properties<'a>), DecodeError> {
        if input.is_empty() {
            return Ok((ReasonCode::Success, Properties::EMPTY));
        }
        let code = self.code(input.u8()?)?;
        if input.is_empty() {
            return Ok((code, Properties::EMPTY));
        }
        Ok((code, self.properties(input)?))
    }

    fn ack<'a>(&self, input: &mut Reader<'a>) -> Result<Ack<'a>, DecodeError> {
        let id = packet_id(input)?;
        let (code, properties) = self.code_and_properties(input)?;
        Ok(Ack { id, code, properties })
    }

    fn conn_ack<'a>(&self, input: &mut Reader<'a>) -> Result<ConnAck<'a>, DecodeError> {
        let flags = input.u8()?;
        // [MQTT-3.2.2-1]; 3.1 leaves the whole byte unused.
        if flags > 1 && self.version != Version::V31 {
            return Err(DecodeError::BadFlags);
        }
        let session_present = flags & 1 != 0 && self.version != Version::V31;
        let code = input.u8()?;
        let code = if self.version.is_v5() {
            self.code(code)?
        } else {
            ReasonCode::from_connect_return_code(code).ok_or(DecodeError::BadReturnCode)?
        };
        Ok(ConnAck { session_present, code, properties: self.properties(input)? })
    }

    fn publish<'a>(&self, first: u8, input: &mut Reader<'a>) -> Result<Publish<'a>, DecodeError> {
        let qos = Qos::from_bits(first >> 1 & 3).ok_or(DecodeError::BadQos)?;
        let topic = input.string()?;
        if topic.bytes().any(|b| b == b'+' || b == b'#') {
            return Err(DecodeError::BadTopicName); // [MQTT-3.3.2-2]
        }
        let id = if qos == Qos::AtMostOnce { None } else { Some(packet_id(input)?) };
        let properties = self.properties(input)?;
        if topic.is_empty() {
            if !self.version.is_v5() {
                return Err(DecodeError::BadTopicName); // [MQTT-4.7.3-1]
            }
            if !properties.iter().any(|p| matches!(p, Property::TopicAlias(_))) {
                return Err(DecodeError::NoTopic); // MQTT 5 §3.3.2.1
            }
        }
        // MQTT 3.1 may set DUP at QoS 0; it means nothing there.
        let dup = first & 8 != 0 && qos != Qos::AtMostOnce;
        let retain = first & 1 != 0;
        Ok(Publish { dup, qos, retain, topic, id, properties, payload: input.rest() })
    }

    fn subscribe<'a>(&self, input: &mut Reader<'a>) -> Result<Subscribe<'a>, DecodeError> {
        let id = packet_id(input)?;
        let properties = self.properties(input)?;
        let mut filters = Vec::new();
        while !input.is_empty() {
            let text = input.string()?;
            let filter = subscription_filter(self.version, text)?;
            let item = self.subscribe_options(text, input.u8()?)?;
            if item.no_local && filter.share.is_some() {
                return Err(DecodeError::SharedNoLocal); // [MQTT-3.8.3-4]
            }
            filters.push(item);
        }
        if filters.is_empty() {
            return Err(DecodeError::EmptyList); // [MQTT-3.8.3-2]
        }
        Ok(Subscribe { id, properties, filters })
    }

    fn subscribe_options<'a>(
        &self,
        filter: &'a str,
        bits: u8,
    ) -> Result<SubscribeFilter<'a>, DecodeError> {
        let v5 = self.version.is_v5();
        let reserved = match self.version {
            Version::V31 => 0, // unused bits are ignored there
            Version::V311 => 0xfc,
            Version::V5 => 0xc0,
        };
        if bits & reserved != 0 {
            return Err(DecodeError::BadSubscriptionBits); // [MQTT-3.8.3-5]
        }
        let qos = Qos::from_bits(bits & 3).ok_or(if v5 {
            DecodeError::BadSubscriptionOptions
        } else {
            DecodeError::BadQos
        })?;
        let retain_handling = if v5 { bits >> 4 & 3 } else { 0 };
        if retain_handling == 3 {
            return Err(DecodeError::BadSubscriptionOptions);
        }
        Ok(SubscribeFilter {
            filter,
            qos,
            no_local: v5 && bits & 4 != 0,
            retain_as_published: v5 && bits & 8 != 0,
            retain_handling,
        })
    }

    fn unsubscribe<'a>(&self, input: &mut Reader<'a>) -> Result<Unsubscribe<'a>, DecodeError> {
        let id = packet_id(input)?;
        let properties = self.properties(input)?;
        let mut filters = Vec::new();
        while !input.is_empty() {
            let text = input.string()?;
            subscription_filter(self.version, text)?;
            filters.push(text);
        }
        if filters.is_empty() {
            return Err(DecodeError::EmptyList); // [MQTT-3.10.3-2]
        }
        Ok(Unsubscribe { id, properties, filters })
    }

    /// SUBACK and UNSUBACK; the latter has no codes before 5.0.
    fn sub_ack<'a>(&self, input: &mut Reader<'a>) -> Result<SubAck<'a>, DecodeError> {
        let id = packet_id(input)?;
        let properties = self.properties(input)?;
        let mut codes = Vec::new();
        while !input.is_empty() {
            let byte = input.u8()?;
            if !self.version.is_v5() && !matches!(byte, 0..=2 | 0x80) {
                return Err(DecodeError::BadReturnCode); // [MQTT-3.9.3-2] of 3.1.1
            }
            codes.push(self.code(byte)?);
        }
        Ok(SubAck { id, properties, codes })
    }
}
