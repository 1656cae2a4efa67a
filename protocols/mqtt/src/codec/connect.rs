//! CONNECT: the one packet that says its own version (MQTT 5 §3.1, MQTT 3.1 §3.1).

use alloc::boxed::Box;
use alloc::vec::Vec;

use motegate_message::{Qos, TopicName};

use super::read::{Reader, Utf8};
use super::write;
use crate::error::{DecodeError, EncodeError};
use crate::packet::{Connect, PacketType, Sender, Version, Will};
use crate::properties::{Properties, Scope};

const CLEAN: u8 = 0x02;
const WILL: u8 = 0x04;
const WILL_QOS: u8 = 0x18;
const WILL_RETAIN: u8 = 0x20;
const PASSWORD: u8 = 0x40;
const USER_NAME: u8 = 0x80;
/// Level bit by which mosquitto and others mark a bridge.
const BRIDGE: u8 = 0x80;

/// What the head of a CONNECT says it speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// A known version; whether the bridge bit is set.
    Known(Version, bool),
    /// A known name with another level.
    UnknownLevel(u8),
    /// No MQTT at all, or cut short.
    Foreign,
}

/// Reads protocol name and level from the body of a CONNECT.
#[must_use]
pub fn dialect(body: &[u8]) -> Dialect {
    let mut input = Reader(body, Utf8::Strict);
    match read_dialect(&mut input) {
        Ok(dialect) => dialect,
        Err(_) => Dialect::Foreign,
    }
}

fn read_dialect(input: &mut Reader<'_>) -> Result<Dialect, DecodeError> {
    let name = input.binary()?;
    let level = input.u8()?;
    Ok(match (name, level & !BRIDGE) {
        (b"MQIsdp", 3) => Dialect::Known(Version::V31, level & BRIDGE != 0),
        (b"MQTT", 4) => Dialect::Known(Version::V311, level & BRIDGE != 0),
        // The bridge bit means nothing in 5.0.
        (b"MQTT", 5) if level & BRIDGE == 0 => Dialect::Known(Version::V5, false),
        (b"MQIsdp" | b"MQTT", _) => Dialect::UnknownLevel(level),
        _ => Dialect::Foreign, // [MQTT-3.1.2-1]
    })
}

/// Reads the body of a CONNECT.
pub(super) fn decode(body: &[u8], utf8: Utf8) -> Result<Box<Connect<'_>>, DecodeError> {
    let mut input = Reader(body, utf8);
    let (version, bridge) = match read_dialect(&mut input)? {
        Dialect::Known(version, bridge) => (version, bridge),
        Dialect::UnknownLevel(_) => return Err(DecodeError::UnknownLevel),
        Dialect::Foreign => return Err(DecodeError::UnknownProtocol),
    };
    let flags = input.u8()?;
    let will_qos = check_flags(flags, version)?;
    let keep_alive = input.u16()?;
    let scope = Scope::Packet(PacketType::Connect, Sender::Client);
    let properties = properties(&mut input, version, scope)?;
    let client_id = input.string()?;
    let will = if flags & WILL != 0 {
        let retain = flags & WILL_RETAIN != 0;
        Some(decode_will(&mut input, version, will_qos, retain)?)
    } else {
        None
    };
    // MQTT 3.1 §3.1: a flagged field may be missing, the flag is then ignored.
    let lenient = version == Version::V31;
    let present = |input: &Reader<'_>, flag| flags & flag != 0 && !(lenient && input.is_empty());
    let user_name = if present(&input, USER_NAME) { Some(input.string()?) } else { None };
    let password = if present(&input, PASSWORD) { Some(input.binary()?) } else { None };
    if !input.is_empty() {
        return Err(DecodeError::TrailingBytes);
    }
    let clean = flags & CLEAN != 0;
    Ok(Box::new(Connect {
        version,
        bridge,
        clean,
        keep_alive,
        properties,
        client_id,
        will,
        user_name,
        password,
    }))
}

fn check_flags(flags: u8, version: Version) -> Result<Qos, DecodeError> {
    if flags & 1 != 0 && version != Version::V31 {
        return Err(DecodeError::BadConnectFlags); // [MQTT-3.1.2-3]
    }
    if flags & WILL == 0 && flags & (WILL_RETAIN | WILL_QOS) != 0 && version != Version::V31 {
        return Err(DecodeError::BadConnectFlags); // [MQTT-3.1.2-11, -13]
    }
    // [MQTT-3.1.2-12]; without a will 3.1 gives these bits no meaning.
    let bits = if flags & WILL == 0 { 0 } else { flags >> 3 & 3 };
    let qos = Qos::from_bits(bits).ok_or(DecodeError::BadQos)?;
    // [MQTT-3.1.2-22] of 3.1.1, and MQTT 3.1 §3.1; 5.0 allows it.
    if flags & PASSWORD != 0 && flags & USER_NAME == 0 && !version.is_v5() {
        return Err(DecodeError::BadConnectFlags);
    }
    Ok(qos)
}

fn decode_will<'a>(
    input: &mut Reader<'a>,
    version: Version,
    qos: Qos,
    retain: bool,
) -> Result<Will<'a>, DecodeError> {
    let properties = properties(input, version, Scope::Will)?;
    let topic = input.string()?;
    // MQTT 5 §3.1.3.3, MQTT-4.7.0-1
    TopicName::lenient(topic).map_err(|_| DecodeError::BadTopicName)?;
    let payload = input.binary()?;
    Ok(Will { qos, retain, properties, topic, payload })
}

pub(super) fn properties<'a>(
    input: &mut Reader<'a>,
    version: Version,
    scope: Scope,
) -> Result<Properties<'a>, DecodeError> {
    if !version.is_v5() {
        return Ok(Properties::EMPTY);
    }
    Properties::check_with(input.property_bytes()?, scope, input.1)
}

/// Writes the body of a CONNECT.
pub(super) fn encode(connect: &Connect<'_>, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    let version = connect.version;
    if !version.is_v5() && connect.password.is_some() && connect.user_name.is_none() {
        return Err(EncodeError::NotInVersion);
    }
    if version.is_v5() && connect.bridge {
        return Err(EncodeError::NotInVersion);
    }
    let (name, level) = version.name_and_level();
    write::field(out, name.as_bytes());
    out.push(level | if connect.bridge { BRIDGE } else { 0 });
    let mut flags = if connect.clean { CLEAN } else { 0 };
    if let Some(will) = &connect.will {
        flags |= WILL | (will.qos as u8) << 3 | if will.retain { WILL_RETAIN } else { 0 };
    }
    flags |= if connect.password.is_some() { PASSWORD } else { 0 };
    flags |= if connect.user_name.is_some() { USER_NAME } else { 0 };
    out.push(flags);
    out.extend_from_slice(&connect.keep_alive.to_be_bytes());
    if version.is_v5() {
        write::properties(out, connect.properties.as_bytes())?;
    }
    write::checked_field(out, connect.client_id.as_bytes())?;
    if let Some(will) = &connect.will {
        if version.is_v5() {
            write::properties(out, will.properties.as_bytes())?;
        }
        write::checked_field(out, will.topic.as_bytes())?;
        write::checked_field(out, will.payload)?;
    }
    if let Some(user_name) = connect.user_name {
        write::checked_field(out, user_name.as_bytes())?;
    }
    if let Some(password) = connect.password {
        write::checked_field(out, password)?;
    }
    Ok(())
}
