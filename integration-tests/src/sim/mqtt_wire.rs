//! MQTT 3.1.1 and 5.0 packets as the scripted client needs them: a writer and a strict reader,
//! written apart from the crate under test so that one misreading is not made twice.

use super::mqtt_bytes::{Cursor, packet, text};

/// A packet from the gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packet {
    /// CONNACK.
    ConnAck {
        /// Session Present.
        present: bool,
        /// Return or reason code.
        code: u8,
        /// Receive Maximum.
        receive_maximum: u16,
    },
    /// PUBLISH.
    Publish {
        /// DUP.
        dup: bool,
        /// 0 to 2.
        qos: u8,
        /// RETAIN.
        retain: bool,
        /// May be empty with an alias.
        topic: String,
        /// Topic Alias.
        alias: Option<u16>,
        /// Packet identifier, 0 at QoS 0.
        pid: u16,
        /// Application message.
        payload: Vec<u8>,
    },
    /// PUBACK, PUBREC, PUBREL or PUBCOMP: type nibble, packet identifier, reason.
    Ack(u8, u16, u8),
    /// SUBACK.
    SubAck(u16, Vec<u8>),
    /// UNSUBACK.
    UnsubAck(u16),
    /// PINGRESP.
    PingResp,
    /// DISCONNECT with its reason.
    Disconnect(u8),
}

/// PUBACK's type nibble; the other acknowledgements follow.
pub const PUBACK: u8 = 4;
/// PUBREC.
pub const PUBREC: u8 = 5;
/// PUBREL.
pub const PUBREL: u8 = 6;
/// PUBCOMP.
pub const PUBCOMP: u8 = 7;

/// What a CONNECT says.
#[derive(Debug, Clone, Default)]
pub struct Connect<'a> {
    /// 5.0 instead of 3.1.1.
    pub v5: bool,
    /// Client identifier.
    pub id: &'a str,
    /// Clean Session or Clean Start.
    pub clean: bool,
    /// Seconds.
    pub keep_alive: u16,
    /// Seconds; only 5.0.
    pub expiry: u32,
    /// Only 5.0; 0: not sent.
    pub receive_maximum: u16,
    /// Only 5.0.
    pub alias_maximum: u16,
    /// Topic, payload, QoS of the will.
    pub will: Option<(&'a str, &'a [u8], u8)>,
    /// Will Delay Interval in seconds; only 5.0.
    pub will_delay: u32,
}

/// CONNECT.
#[must_use]
pub fn connect(c: &Connect<'_>) -> Vec<u8> {
    let mut body = Vec::new();
    text(&mut body, b"MQTT");
    body.push(if c.v5 { 5 } else { 4 });
    let mut flags = u8::from(c.clean) << 1;
    if let Some((_, _, qos)) = c.will {
        flags |= 4 | qos << 3;
    }
    body.push(flags);
    body.extend_from_slice(&c.keep_alive.to_be_bytes());
    if c.v5 {
        let mut props = vec![0x11];
        props.extend_from_slice(&c.expiry.to_be_bytes());
        if c.receive_maximum > 0 {
            props.push(0x21);
            props.extend_from_slice(&c.receive_maximum.to_be_bytes());
        }
        if c.alias_maximum > 0 {
            props.push(0x22);
            props.extend_from_slice(&c.alias_maximum.to_be_bytes());
        }
        body.push(u8::try_from(props.len()).expect("short"));
        body.extend_from_slice(&props);
    }
    text(&mut body, c.id.as_bytes());
    if let Some((topic, payload, _)) = c.will {
        if c.v5 && c.will_delay > 0 {
            body.extend_from_slice(&[5, 0x18]);
            body.extend_from_slice(&c.will_delay.to_be_bytes());
        } else if c.v5 {
            body.push(0);
        }
        text(&mut body, topic.as_bytes());
        text(&mut body, payload);
    }
    packet(0x10, &body)
}

/// PUBLISH.
#[must_use]
pub fn publish(
    v5: bool,
    topic: &str,
    payload: &[u8],
    qos: u8,
    flags: (bool, bool),
    pid: u16,
) -> Vec<u8> {
    let (dup, retain) = flags;
    let mut body = Vec::new();
    text(&mut body, topic.as_bytes());
    if qos > 0 {
        body.extend_from_slice(&pid.to_be_bytes());
    }
    if v5 {
        body.push(0);
    }
    body.extend_from_slice(payload);
    packet(0x30 | u8::from(dup) << 3 | qos << 1 | u8::from(retain), &body)
}

/// PUBACK, PUBREC, PUBREL or PUBCOMP in the short form that both versions share.
#[must_use]
pub fn ack(kind: u8, pid: u16) -> Vec<u8> {
    packet(kind << 4 | if kind == PUBREL { 2 } else { 0 }, &pid.to_be_bytes())
}

/// SUBSCRIBE.
#[must_use]
pub fn subscribe(v5: bool, pid: u16, filters: &[(String, u8)]) -> Vec<u8> {
    let mut body = pid.to_be_bytes().to_vec();
    if v5 {
        body.push(0);
    }
    for (filter, qos) in filters {
        text(&mut body, filter.as_bytes());
        body.push(*qos);
    }
    packet(0x82, &body)
}

/// UNSUBSCRIBE.
#[must_use]
pub fn unsubscribe(v5: bool, pid: u16, filter: &str) -> Vec<u8> {
    let mut body = pid.to_be_bytes().to_vec();
    if v5 {
        body.push(0);
    }
    text(&mut body, filter.as_bytes());
    packet(0xa2, &body)
}

/// PINGREQ.
#[must_use]
pub fn ping() -> Vec<u8> {
    packet(0xc0, &[])
}

/// DISCONNECT, the normal one.
#[must_use]
pub fn disconnect() -> Vec<u8> {
    packet(0xe0, &[])
}

/// Reads a property block; gives its numbers by identifier.
fn properties(cursor: &mut Cursor<'_>) -> Result<Vec<(u8, u32)>, String> {
    let len = cursor.varint()?;
    let mut block = Cursor(cursor.take(len)?);
    let mut numbers = Vec::new();
    while !block.0.is_empty() {
        let id = block.u8()?;
        match id {
            0x01 | 0x17 | 0x19 | 0x24 | 0x25 | 0x28 | 0x29 | 0x2a => {
                numbers.push((id, u32::from(block.u8()?)));
            }
            0x13 | 0x21 | 0x22 | 0x23 => numbers.push((id, u32::from(block.u16()?))),
            0x02 | 0x11 | 0x18 | 0x27 => {
                numbers.push((id, u32::from(block.u16()?) << 16 | u32::from(block.u16()?)));
            }
            0x0b => numbers.push((id, u32::try_from(block.varint()?).unwrap_or(0))),
            0x03 | 0x08 | 0x12 | 0x15 | 0x1a | 0x1c | 0x1f => drop(block.text()?),
            0x09 | 0x16 => {
                let len = usize::from(block.u16()?);
                block.take(len)?;
            }
            0x26 => {
                block.text()?;
                block.text()?;
            }
            other => return Err(format!("property {other:#x}")),
        }
    }
    Ok(numbers)
}

fn number(props: &[(u8, u32)], id: u8) -> Option<u16> {
    props.iter().find(|(p, _)| *p == id).and_then(|(_, v)| u16::try_from(*v).ok())
}

/// Takes one packet off the front of `buffer`; `Ok(None)` when it is not whole yet.
///
/// # Errors
/// Bytes that no gateway may send.
pub fn decode(v5: bool, buffer: &mut Vec<u8>) -> Result<Option<Packet>, String> {
    let mut cursor = Cursor(buffer);
    let Ok(first) = cursor.u8() else { return Ok(None) };
    let len = match cursor.varint() {
        Ok(len) => len,
        Err(e) if e == "cut short" => return Ok(None),
        Err(e) => return Err(e),
    };
    let Ok(body) = cursor.take(len) else { return Ok(None) };
    let parsed = body_of(v5, first, body).map_err(|e| format!("{first:#04x} {body:02x?}: {e}"))?;
    let rest = cursor.0.len();
    buffer.drain(..buffer.len() - rest);
    Ok(Some(parsed))
}

fn body_of(v5: bool, first: u8, body: &[u8]) -> Result<Packet, String> {
    let mut c = Cursor(body);
    let packet = match first {
        0x20 => {
            let flags = c.u8()?;
            if flags > 1 {
                return Err("reserved CONNACK flags".into());
            }
            let code = c.u8()?;
            let props = if v5 { properties(&mut c)? } else { Vec::new() };
            let receive_maximum = number(&props, 0x21).unwrap_or(u16::MAX);
            Packet::ConnAck { present: flags == 1, code, receive_maximum }
        }
        0x30..=0x3f => publish_of(v5, first, &mut c)?,
        0x40 | 0x50 | 0x62 | 0x70 => {
            let pid = c.u16()?;
            let code = if v5 && !c.0.is_empty() { c.u8()? } else { 0 };
            if v5 && !c.0.is_empty() {
                properties(&mut c)?;
            }
            Packet::Ack(first >> 4, pid, code)
        }
        0x90 => {
            let pid = c.u16()?;
            if v5 {
                properties(&mut c)?;
            }
            Packet::SubAck(pid, std::mem::take(&mut c.0).to_vec())
        }
        0xb0 => {
            let pid = c.u16()?;
            if v5 {
                properties(&mut c)?;
                if c.take(1)?[0] >= 0x80 {
                    return Err("UNSUBSCRIBE refused".into());
                }
            }
            Packet::UnsubAck(pid)
        }
        0xd0 => Packet::PingResp,
        0xe0 if v5 => {
            let code = if c.0.is_empty() { 0 } else { c.u8()? };
            if !c.0.is_empty() {
                properties(&mut c)?;
            }
            Packet::Disconnect(code)
        }
        _ => return Err("not a packet of a server".into()),
    };
    if c.0.is_empty() { Ok(packet) } else { Err("bytes left over".into()) }
}

fn publish_of(v5: bool, first: u8, c: &mut Cursor<'_>) -> Result<Packet, String> {
    let qos = first >> 1 & 3;
    let dup = first & 8 != 0;
    if qos == 3 || qos == 0 && dup {
        return Err("PUBLISH flags".into());
    }
    let topic = c.text()?;
    let pid = if qos > 0 { c.u16()? } else { 0 };
    if qos > 0 && pid == 0 {
        return Err("packet identifier 0".into());
    }
    let props = if v5 { properties(c)? } else { Vec::new() };
    Ok(Packet::Publish {
        dup,
        qos,
        retain: first & 1 != 0,
        topic,
        alias: number(&props, 0x23),
        pid,
        payload: std::mem::take(&mut c.0).to_vec(),
    })
}
