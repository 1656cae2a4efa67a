//! MQTT-SN 1.2 packets as the scripted client needs them, written apart from the crate under test.

/// A packet from the gateway, or as the sniffer sees it on its way there.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)] // the fields of MQTT-SN 1.2 §5.4
pub enum Packet {
    Advertise,
    GwInfo,
    Connect {
        flags: u8,
        id: String,
    },
    ConnAck(u8),
    WillTopicReq,
    WillMsgReq,
    Register {
        tid: u16,
        mid: u16,
        name: String,
    },
    RegAck {
        tid: u16,
        mid: u16,
        code: u8,
    },
    Publish {
        flags: u8,
        tid: u16,
        mid: u16,
        payload: Vec<u8>,
    },
    PubAck {
        tid: u16,
        mid: u16,
        code: u8,
    },
    /// PUBREC, PUBREL, PUBCOMP by type.
    Flow(u8, u16),
    SubAck {
        flags: u8,
        tid: u16,
        mid: u16,
        code: u8,
    },
    UnsubAck(u16),
    PingReq(String),
    PingResp,
    Disconnect(Option<u16>),
    /// Whatever else.
    Other(u8),
}

/// PUBREC.
pub const PUBREC: u8 = 0x0f;
/// PUBREL.
pub const PUBREL: u8 = 0x10;
/// PUBCOMP.
pub const PUBCOMP: u8 = 0x0e;
/// DUP.
pub const DUP: u8 = 0x80;
/// RETAIN.
pub const RETAIN: u8 = 0x10;
/// Will.
pub const WILL: u8 = 0x08;
/// CleanSession.
pub const CLEAN: u8 = 0x04;

/// QoS bits of the flags.
#[must_use]
pub fn qos_bits(qos: u8) -> u8 {
    qos << 5
}

/// QoS of flags; 3 stands for −1.
#[must_use]
pub fn qos_of(flags: u8) -> u8 {
    flags >> 5 & 3
}

/// Frames a packet.
#[must_use]
pub fn packet(kind: u8, parts: &[&[u8]]) -> Vec<u8> {
    let len = 2 + parts.iter().map(|p| p.len()).sum::<usize>();
    let mut out = match u8::try_from(len) {
        Ok(len) => vec![len, kind],
        Err(_) => {
            let long = u16::try_from(len + 2).expect("a datagram").to_be_bytes();
            vec![1, long[0], long[1], kind]
        }
    };
    for part in parts {
        out.extend_from_slice(part);
    }
    out
}

/// CONNECT.
#[must_use]
pub fn connect(flags: u8, duration: u16, id: &str) -> Vec<u8> {
    packet(0x04, &[&[flags, 1], &duration.to_be_bytes(), id.as_bytes()])
}

/// PUBLISH.
#[must_use]
pub fn publish(flags: u8, tid: [u8; 2], mid: u16, payload: &[u8]) -> Vec<u8> {
    packet(0x0c, &[&[flags], &tid, &mid.to_be_bytes(), payload])
}

/// REGISTER.
#[must_use]
pub fn register(mid: u16, name: &str) -> Vec<u8> {
    packet(0x0a, &[&[0, 0], &mid.to_be_bytes(), name.as_bytes()])
}

/// REGACK.
#[must_use]
pub fn regack(tid: u16, mid: u16, code: u8) -> Vec<u8> {
    packet(0x0b, &[&tid.to_be_bytes(), &mid.to_be_bytes(), &[code]])
}

/// PUBACK.
#[must_use]
pub fn puback(tid: u16, mid: u16, code: u8) -> Vec<u8> {
    packet(0x0d, &[&tid.to_be_bytes(), &mid.to_be_bytes(), &[code]])
}

/// PUBREC, PUBREL, PUBCOMP.
#[must_use]
pub fn flow(kind: u8, mid: u16) -> Vec<u8> {
    packet(kind, &[&mid.to_be_bytes()])
}

/// SUBSCRIBE (0x12) or UNSUBSCRIBE (0x14) by name.
#[must_use]
pub fn subscribe(kind: u8, flags: u8, mid: u16, name: &str) -> Vec<u8> {
    packet(kind, &[&[flags], &mid.to_be_bytes(), name.as_bytes()])
}

/// PINGREQ; with an id it is a sleeper's.
#[must_use]
pub fn ping(id: &str) -> Vec<u8> {
    packet(0x16, &[id.as_bytes()])
}

/// DISCONNECT.
#[must_use]
pub fn disconnect(duration: Option<u16>) -> Vec<u8> {
    match duration {
        Some(secs) => packet(0x18, &[&secs.to_be_bytes()]),
        None => packet(0x18, &[]),
    }
}

fn u16_at(body: &[u8], at: usize) -> Result<u16, String> {
    match body.get(at..at + 2) {
        Some(b) => Ok(u16::from_be_bytes([b[0], b[1]])),
        None => Err("cut short".into()),
    }
}

fn exact(body: &[u8], len: usize) -> Result<(), String> {
    if body.len() == len { Ok(()) } else { Err(format!("{} bytes, not {len}", body.len())) }
}

fn tail(body: &[u8], at: usize) -> Result<&[u8], String> {
    body.get(at..).ok_or_else(|| "cut short".to_string())
}

fn text(body: &[u8], at: usize) -> Result<String, String> {
    String::from_utf8(tail(body, at)?.to_vec()).map_err(|e| e.to_string())
}

/// Reads one datagram.
///
/// # Errors
/// Bytes that no gateway may send.
pub fn decode(datagram: &[u8]) -> Result<Packet, String> {
    let (len, at) = match datagram {
        [1, a, b, ..] => (usize::from(u16::from_be_bytes([*a, *b])), 3),
        [len, ..] => (usize::from(*len), 1),
        [] => return Err("empty".into()),
    };
    if len != datagram.len() || len <= at {
        return Err(format!("length {len} in {} bytes", datagram.len()));
    }
    let (kind, b) = (datagram[at], &datagram[at + 1..]);
    Ok(match kind {
        0x00 => Packet::Advertise,
        0x02 => Packet::GwInfo,
        0x04 => {
            Packet::Connect { flags: tail(b, 0)?.first().copied().unwrap_or(0), id: text(b, 4)? }
        }
        0x05 => {
            exact(b, 1)?;
            Packet::ConnAck(b[0])
        }
        0x06 => Packet::WillTopicReq,
        0x08 => Packet::WillMsgReq,
        0x0a => Packet::Register { tid: u16_at(b, 0)?, mid: u16_at(b, 2)?, name: text(b, 4)? },
        0x0b | 0x0d => {
            exact(b, 5)?;
            let (tid, mid, code) = (u16_at(b, 0)?, u16_at(b, 2)?, b[4]);
            if kind == 0x0b {
                Packet::RegAck { tid, mid, code }
            } else {
                Packet::PubAck { tid, mid, code }
            }
        }
        0x0c => Packet::Publish {
            tid: u16_at(b, 1)?,
            mid: u16_at(b, 3)?,
            payload: tail(b, 5)?.to_vec(),
            flags: b[0],
        },
        0x0e..=0x10 => {
            exact(b, 2)?;
            Packet::Flow(kind, u16_at(b, 0)?)
        }
        0x13 => {
            exact(b, 6)?;
            Packet::SubAck { flags: b[0], tid: u16_at(b, 1)?, mid: u16_at(b, 3)?, code: b[5] }
        }
        0x15 => {
            exact(b, 2)?;
            Packet::UnsubAck(u16_at(b, 0)?)
        }
        0x16 => Packet::PingReq(text(b, 0)?),
        0x17 => Packet::PingResp,
        0x18 => Packet::Disconnect(if b.is_empty() { None } else { Some(u16_at(b, 0)?) }),
        other => Packet::Other(other),
    })
}
