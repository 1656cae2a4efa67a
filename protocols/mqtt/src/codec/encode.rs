//! Packets into bytes, appended to a buffer that may hold others before.

use alloc::vec::Vec;
use core::num::NonZeroU16;

use motegate_message::Qos;

use super::{connect, write};
use crate::error::EncodeError;
use crate::packet::{Packet, PacketType, Publish, Version};
use crate::properties::Properties;
use crate::reason::ReasonCode;

/// Appends one packet. What `version` lacks is left out: properties, and reason codes that are
/// success; a reason that it has no way of saying is an error.
///
/// # Errors
/// A field or the packet is too long, or the version cannot say it; `out` is then as before.
pub fn encode(packet: &Packet<'_>, version: Version, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    if let Packet::Publish(publish) = packet {
        return encode_publish(publish, version, out);
    }
    let start = out.len();
    let result = encode_parts(packet, version, out, start);
    if result.is_err() {
        out.truncate(start);
    }
    result
}

fn encode_parts(
    packet: &Packet<'_>,
    version: Version,
    out: &mut Vec<u8>,
    start: usize,
) -> Result<(), EncodeError> {
    let kind = packet.packet_type();
    if version.is_v5() && !codes_fit(packet, kind) {
        return Err(EncodeError::CodeNotOfPacket);
    }
    let flags = match kind {
        PacketType::PubRel | PacketType::Subscribe | PacketType::Unsubscribe => 2,
        _ => 0,
    };
    // The length is written as one byte and moved up for the few packets that need more.
    out.extend_from_slice(&[(kind as u8) << 4 | flags, 0]);
    encode_body(packet, version, out)?;
    let remaining = out.len() - start - 2;
    let announced = u32::try_from(remaining)
        .ok()
        .filter(|len| *len <= write::MAX_VAR_INT)
        .ok_or(EncodeError::PacketTooLong)?;
    if let (0..=127, Some(slot)) = (announced, out.get_mut(start + 1)) {
        *slot = u8::try_from(announced).unwrap_or(0);
        return Ok(());
    }
    let mut len = Vec::with_capacity(4);
    write::var_int(&mut len, announced);
    out.splice(start + 1..start + 2, len);
    Ok(())
}

/// [MQTT-3.2.2-8], [MQTT-3.4.2-1], [MQTT-3.5.2-1], [MQTT-3.6.2-1], [MQTT-3.7.2-1],
/// [MQTT-3.9.3-2], [MQTT-3.11.3-2], [MQTT-3.14.2-1], [MQTT-3.15.2-1]
fn codes_fit(packet: &Packet<'_>, kind: PacketType) -> bool {
    match packet {
        Packet::PubAck(ack) | Packet::PubRec(ack) | Packet::PubRel(ack) | Packet::PubComp(ack) => {
            ack.code.is_of(kind)
        }
        Packet::SubAck(ack) | Packet::UnsubAck(ack) => ack.codes.iter().all(|c| c.is_of(kind)),
        Packet::ConnAck(ack) => ack.code.is_of(kind),
        Packet::Disconnect(disconnect) => disconnect.code.is_of(kind),
        Packet::Auth(auth) => auth.code.is_of(kind),
        _ => true,
    }
}

fn encode_body(
    packet: &Packet<'_>,
    version: Version,
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    let v5 = version.is_v5();
    match packet {
        Packet::Connect(connect) => connect::encode(connect, out),
        Packet::ConnAck(ack) => {
            // MQTT 3.1 §3.2: the byte is reserved.
            out.push(u8::from(ack.session_present && version != Version::V31));
            if v5 {
                out.push(ack.code.as_u8());
                return write::properties(out, ack.properties.as_bytes());
            }
            out.push(ack.code.to_connect_return_code().ok_or(EncodeError::NotInVersion)?);
            Ok(())
        }
        // Written by `encode_publish`.
        Packet::Publish(_) | Packet::PingReq | Packet::PingResp => Ok(()),
        Packet::PubAck(ack) | Packet::PubRec(ack) | Packet::PubRel(ack) | Packet::PubComp(ack) => {
            out.extend_from_slice(&ack.id.get().to_be_bytes());
            code_and_properties(ack.code, ack.properties, version, out)
        }
        Packet::Subscribe(subscribe) => {
            out.extend_from_slice(&subscribe.id.get().to_be_bytes());
            properties(subscribe.properties, version, out)?;
            for item in &subscribe.filters {
                write::checked_field(out, item.filter.as_bytes())?;
                let options = u8::from(item.no_local) << 2
                    | u8::from(item.retain_as_published) << 3
                    | (item.retain_handling & 3) << 4;
                out.push(item.qos as u8 | if v5 { options } else { 0 });
            }
            Ok(())
        }
        Packet::SubAck(ack) => {
            out.extend_from_slice(&ack.id.get().to_be_bytes());
            properties(ack.properties, version, out)?;
            // Before 5.0 there is one failure. [MQTT-3.9.3-2] of 3.1.1
            let byte = |code: &ReasonCode| {
                if v5 || !code.is_error() { code.as_u8() } else { 0x80 }
            };
            out.extend(ack.codes.iter().map(byte));
            Ok(())
        }
        Packet::Unsubscribe(unsubscribe) => {
            out.extend_from_slice(&unsubscribe.id.get().to_be_bytes());
            properties(unsubscribe.properties, version, out)?;
            for filter in &unsubscribe.filters {
                write::checked_field(out, filter.as_bytes())?;
            }
            Ok(())
        }
        Packet::UnsubAck(ack) => {
            out.extend_from_slice(&ack.id.get().to_be_bytes());
            properties(ack.properties, version, out)?;
            if v5 {
                out.extend(ack.codes.iter().map(|code| code.as_u8()));
            }
            Ok(())
        }
        Packet::Disconnect(disconnect) => {
            code_and_properties(disconnect.code, disconnect.properties, version, out)
        }
        Packet::Auth(_) if !v5 => Err(EncodeError::NotInVersion),
        Packet::Auth(auth) => code_and_properties(auth.code, auth.properties, version, out),
    }
}

fn properties(
    properties: Properties<'_>,
    version: Version,
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    if version.is_v5() { write::properties(out, properties.as_bytes()) } else { Ok(()) }
}

/// The shortest form: nothing at all for success without properties (MQTT 5 §3.4.2.1).
fn code_and_properties(
    code: ReasonCode,
    properties: Properties<'_>,
    version: Version,
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    if !version.is_v5() || (code == ReasonCode::Success && properties.is_empty()) {
        return Ok(());
    }
    out.push(code.as_u8());
    if properties.is_empty() {
        return Ok(());
    }
    write::properties(out, properties.as_bytes())
}

fn publish_remaining(publish: &Publish<'_>, version: Version) -> usize {
    let properties = publish.properties.as_bytes().len();
    let properties = if version.is_v5() { write::var_int_len(properties) + properties } else { 0 };
    let id = if publish.id.is_some() { 2 } else { 0 };
    2 + publish.topic.len() + id + properties + publish.payload.len()
}

/// Bytes of the whole PUBLISH on the wire, for the receiver's Maximum Packet Size.
#[must_use]
pub fn publish_len(publish: &Publish<'_>, version: Version) -> usize {
    let remaining = publish_remaining(publish, version);
    1 + write::var_int_len(remaining) + remaining
}

/// Appends a PUBLISH; the way of [`encode`] that is taken most, without a detour.
///
/// # Errors
/// As [`encode`].
pub fn encode_publish(
    publish: &Publish<'_>,
    version: Version,
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    if publish.topic.len() > usize::from(u16::MAX) {
        return Err(EncodeError::FieldTooLong);
    }
    let remaining = publish_remaining(publish, version);
    let announced = u32::try_from(remaining)
        .ok()
        .filter(|len| *len <= write::MAX_VAR_INT)
        .ok_or(EncodeError::PacketTooLong)?;
    out.reserve(5 + remaining);
    let dup = publish.dup && publish.qos != Qos::AtMostOnce; // [MQTT-3.3.1-2]
    let flags = u8::from(dup) << 3 | (publish.qos as u8) << 1 | u8::from(publish.retain);
    out.push(0x30 | flags);
    write::var_int(out, announced);
    write::field(out, publish.topic.as_bytes());
    if let Some(id) = publish.id.map(NonZeroU16::get) {
        out.extend_from_slice(&id.to_be_bytes());
    }
    properties(publish.properties, version, out)?;
    out.extend_from_slice(publish.payload);
    Ok(())
}
