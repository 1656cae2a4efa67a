//! The strict reader of what the gateway may send.

use super::super::mqtt_bytes::Cursor;
use super::wire::{Carried, Packet, Publish, Version};

/// Properties that the check looks at.
#[derive(Debug, Default)]
struct Properties {
    carried: Carried,
    expiry: Option<u32>,
    session_expiry: Option<u32>,
    ids: Vec<u32>,
    alias: Option<u16>,
}

fn properties(block: &mut Cursor<'_>) -> Result<Properties, String> {
    let len = block.varint()?;
    let mut c = Cursor(block.take(len)?);
    let mut p = Properties::default();
    while !c.0.is_empty() {
        match c.u8()? {
            0x01 => p.carried.format = Some(c.u8()?),
            0x02 => p.expiry = Some(c.u32()?),
            0x03 => p.carried.content_type = Some(c.text()?),
            0x08 => p.carried.response = Some(c.text()?),
            0x09 => p.carried.correlation = Some(c.data()?),
            0x0b => p.ids.push(u32::try_from(c.varint()?).unwrap_or(0)),
            0x11 => p.session_expiry = Some(c.u32()?),
            0x23 => p.alias = Some(c.u16()?),
            0x26 => p.carried.user.push((c.text()?, c.text()?)),
            0x13 | 0x21 | 0x22 => drop(c.u16()?),
            0x27 => drop(c.u32()?),
            0x24 | 0x25 | 0x28 | 0x29 | 0x2a => drop(c.u8()?),
            0x12 | 0x1a | 0x1c | 0x1f => drop(c.text()?),
            other => return Err(format!("property {other:#x}")),
        }
    }
    p.ids.sort_unstable();
    Ok(p)
}

/// Takes one packet off the front of `buffer`; `Ok(None)` when it is not whole yet.
///
/// # Errors
/// Bytes that no gateway may send.
pub fn decode(version: Version, buffer: &mut Vec<u8>) -> Result<Option<(Packet, usize)>, String> {
    let mut cursor = Cursor(buffer);
    let Ok(first) = cursor.u8() else { return Ok(None) };
    let len = match cursor.varint() {
        Ok(len) => len,
        Err(e) if e == "cut short" => return Ok(None),
        Err(e) => return Err(e),
    };
    let Ok(body) = cursor.take(len) else { return Ok(None) };
    let mut c = Cursor(body);
    let packet =
        body_of(version, first, &mut c).map_err(|e| format!("{first:#04x} {body:02x?}: {e}"))?;
    if !c.0.is_empty() {
        return Err(format!("{first:#04x} {body:02x?}: bytes left over"));
    }
    let rest = cursor.0.len();
    let size = buffer.len() - rest;
    buffer.drain(..size);
    Ok(Some((packet, size)))
}

fn body_of(version: Version, first: u8, c: &mut Cursor<'_>) -> Result<Packet, String> {
    let v5 = version == Version::V5;
    let maybe_properties =
        |c: &mut Cursor<'_>| if c.0.is_empty() { Ok(()) } else { properties(c).map(drop) };
    Ok(match first {
        0x20 => {
            let (flags, code) = (c.u8()?, c.u8()?);
            if flags > u8::from(version != Version::V31) {
                return Err("CONNACK flags".into());
            }
            let expiry = if v5 { properties(c)?.session_expiry } else { None };
            Packet::ConnAck(flags == 1, code, expiry)
        }
        0x30..=0x3f => publish_of(v5, first, c)?,
        0x40 | 0x50 | 0x62 | 0x70 => {
            let pid = c.u16()?;
            let code = if v5 && !c.0.is_empty() { c.u8()? } else { 0 };
            if v5 {
                maybe_properties(c)?;
            }
            Packet::Ack(first >> 4, pid, code)
        }
        0x90 | 0xb0 => {
            let pid = c.u16()?;
            if v5 {
                properties(c)?;
            }
            let codes = std::mem::take(&mut c.0).to_vec();
            if first == 0x90 { Packet::SubAck(pid, codes) } else { Packet::UnsubAck(pid, codes) }
        }
        0xe0 if v5 => {
            let code = if c.0.is_empty() { 0 } else { c.u8()? };
            maybe_properties(c)?;
            Packet::Disconnect(code)
        }
        _ => return Err("not a packet of this server".into()),
    })
}

fn publish_of(v5: bool, first: u8, c: &mut Cursor<'_>) -> Result<Packet, String> {
    let (qos, dup) = (first >> 1 & 3, first & 8 != 0);
    if qos == 3 || qos == 0 && dup {
        return Err("PUBLISH flags".into());
    }
    let topic = c.text()?;
    let pid = if qos > 0 { c.u16()? } else { 0 };
    if qos > 0 && pid == 0 {
        return Err("packet identifier 0".into());
    }
    let p = if v5 { properties(c)? } else { Properties::default() };
    let Properties { carried, expiry, ids, alias, .. } = p;
    let (retain, payload) = (first & 1 != 0, std::mem::take(&mut c.0).to_vec());
    Ok(Packet::Publish(Box::new(Publish {
        dup,
        qos,
        retain,
        topic,
        pid,
        payload,
        expiry,
        ids,
        alias,
        carried,
    })))
}
