//! MQTT 3.1, 3.1.1 and 5.0 on the wire as the check needs them: a writer of what clients send, a
//! strict reader of what the gateway may send, and the length of a PUBLISH. Written from the
//! standards, apart from the crate under test, so that one misreading is not made twice.

use super::super::mqtt_bytes::{packet, text, varint};

/// Version of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// `MQIsdp` 3.
    V31,
    /// `MQTT` 4.
    V311,
    /// `MQTT` 5.
    V5,
}

/// PUBACK's type; the other acknowledgements follow.
pub const PUBACK: u8 = 4;
/// PUBREC.
pub const PUBREC: u8 = 5;
/// PUBREL.
pub const PUBREL: u8 = 6;
/// PUBCOMP.
pub const PUBCOMP: u8 = 7;

/// What travels with a message unaltered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Carried {
    /// Payload Format Indicator.
    pub format: Option<u8>,
    /// Content Type.
    pub content_type: Option<String>,
    /// Response Topic.
    pub response: Option<String>,
    /// Correlation Data.
    pub correlation: Option<Vec<u8>>,
    /// User properties, in order.
    pub user: Vec<(String, String)>,
}

/// A PUBLISH as a client receives it.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Publish {
    /// DUP.
    pub dup: bool,
    /// QoS.
    pub qos: u8,
    /// RETAIN.
    pub retain: bool,
    /// Topic name; empty with an alias that is known.
    pub topic: String,
    /// Packet identifier; 0 at QoS 0.
    pub pid: u16,
    /// Payload.
    pub payload: Vec<u8>,
    /// Message Expiry Interval.
    pub expiry: Option<u32>,
    /// Subscription identifiers, sorted.
    pub ids: Vec<u32>,
    /// Topic Alias.
    pub alias: Option<u16>,
    /// The rest.
    pub carried: Carried,
}

impl std::fmt::Debug for Publish {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let flag = |is, text| if is { text } else { "" };
        let text: String = String::from_utf8_lossy(&self.payload).chars().take(6).collect();
        let len = self.payload.len();
        write!(f, "PUBLISH {}@{} {}", self.topic, self.qos, flag(self.retain, "retain "))?;
        write!(f, "{}id {} \"{text}…\" {len} B", flag(self.dup, "dup "), self.pid)?;
        write!(f, " ids {:?} expiry {:?}", self.ids, self.expiry)?;
        let plain = self.carried == Carried::default();
        if plain { Ok(()) } else { write!(f, " {:?}", self.carried) }
    }
}

/// A packet from the gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packet {
    /// CONNACK: Session Present, code, Session Expiry Interval if told.
    ConnAck(bool, u8, Option<u32>),
    /// PUBLISH.
    Publish(Box<Publish>),
    /// PUBACK, PUBREC, PUBREL, PUBCOMP: type, identifier, code.
    Ack(u8, u16, u8),
    /// SUBACK.
    SubAck(u16, Vec<u8>),
    /// UNSUBACK; no codes before 5.0.
    UnsubAck(u16, Vec<u8>),
    /// DISCONNECT.
    Disconnect(u8),
}

/// A will as CONNECT carries it.
#[derive(Clone)]
pub struct WillSpec {
    /// Topic.
    pub topic: String,
    /// Payload.
    pub payload: Vec<u8>,
    /// QoS.
    pub qos: u8,
    /// RETAIN.
    pub retain: bool,
    /// Seconds; 5.0.
    pub delay: u32,
    /// Seconds; 5.0.
    pub expiry: Option<u32>,
}

/// CONNECT.
#[derive(Debug, Clone)]
pub struct Connect {
    /// Version.
    pub version: Version,
    /// The bridge bit of mosquitto; 3.x.
    pub bridge: bool,
    /// Client identifier.
    pub id: String,
    /// Clean Start or Clean Session.
    pub clean: bool,
    /// Session Expiry Interval in seconds; 5.0.
    pub expiry: u32,
    /// Receive Maximum; 5.0, 0: absent.
    pub receive_maximum: u16,
    /// Maximum Packet Size; 5.0, 0: absent.
    pub max_packet: u32,
    /// Topic Alias Maximum; 5.0.
    pub aliases: u16,
    /// Will.
    pub will: Option<WillSpec>,
}

/// One filter of a SUBSCRIBE.
#[derive(Debug, Clone)]
pub struct Item {
    /// As written, `$share/…` included.
    pub filter: String,
    /// QoS.
    pub qos: u8,
    /// No Local.
    pub no_local: bool,
    /// Retain As Published.
    pub as_published: bool,
    /// Retain Handling.
    pub handling: u8,
}

/// A PUBLISH of a client.
#[derive(Clone)]
pub struct Outgoing {
    /// DUP.
    pub dup: bool,
    /// QoS.
    pub qos: u8,
    /// RETAIN.
    pub retain: bool,
    /// Topic.
    pub topic: String,
    /// Packet identifier; 0 at QoS 0.
    pub pid: u16,
    /// Payload.
    pub payload: Vec<u8>,
    /// Seconds; 5.0.
    pub expiry: Option<u32>,
    /// 5.0.
    pub carried: Carried,
}

impl std::fmt::Debug for WillSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let WillSpec { topic, payload, qos, retain, delay, expiry } = self;
        let retain = if *retain { " retain" } else { "" };
        let number: String = String::from_utf8_lossy(payload).chars().take(6).collect();
        write!(f, "{topic}@{qos}{retain} \"{number}…\" delay {delay} expiry {expiry:?}")
    }
}

impl std::fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Outgoing { dup, qos, retain, topic, pid, payload, expiry, carried } = self.clone();
        let ids = Vec::new();
        let shown =
            Publish { dup, qos, retain, topic, pid, payload, expiry, ids, alias: None, carried };
        shown.fmt(f)
    }
}

fn block(out: &mut Vec<u8>, properties: &[u8]) {
    varint(out, properties.len());
    out.extend_from_slice(properties);
}

fn carried(out: &mut Vec<u8>, carried: &Carried) {
    if let Some(format) = carried.format {
        out.extend_from_slice(&[0x01, format]);
    }
    if let Some(kind) = &carried.content_type {
        out.push(0x03);
        text(out, kind.as_bytes());
    }
    if let Some(topic) = &carried.response {
        out.push(0x08);
        text(out, topic.as_bytes());
    }
    if let Some(data) = &carried.correlation {
        out.push(0x09);
        text(out, data);
    }
    for (name, value) in &carried.user {
        out.push(0x26);
        text(out, name.as_bytes());
        text(out, value.as_bytes());
    }
}

fn seconds(out: &mut Vec<u8>, id: u8, secs: u32) {
    out.push(id);
    out.extend_from_slice(&secs.to_be_bytes());
}

/// CONNECT, without keep alive.
#[must_use]
pub fn connect(c: &Connect) -> Vec<u8> {
    let v5 = c.version == Version::V5;
    let mut body = Vec::new();
    text(&mut body, if c.version == Version::V31 { b"MQIsdp" } else { b"MQTT" });
    let level = match c.version {
        Version::V31 => 3,
        Version::V311 => 4,
        Version::V5 => 5,
    };
    body.push(level | if c.bridge { 0x80 } else { 0 });
    let mut flags = u8::from(c.clean) << 1;
    if let Some(will) = &c.will {
        flags |= 4 | will.qos << 3 | u8::from(will.retain) << 5;
    }
    body.extend_from_slice(&[flags, 0, 0]);
    if v5 {
        let mut p = Vec::new();
        seconds(&mut p, 0x11, c.expiry);
        if c.receive_maximum > 0 {
            p.push(0x21);
            p.extend_from_slice(&c.receive_maximum.to_be_bytes());
        }
        if c.aliases > 0 {
            p.push(0x22);
            p.extend_from_slice(&c.aliases.to_be_bytes());
        }
        if c.max_packet > 0 {
            seconds(&mut p, 0x27, c.max_packet);
        }
        block(&mut body, &p);
    }
    text(&mut body, c.id.as_bytes());
    if let Some(will) = &c.will {
        if v5 {
            let mut p = Vec::new();
            if will.delay > 0 {
                seconds(&mut p, 0x18, will.delay);
            }
            if let Some(secs) = will.expiry {
                seconds(&mut p, 0x02, secs);
            }
            block(&mut body, &p);
        }
        text(&mut body, will.topic.as_bytes());
        text(&mut body, &will.payload);
    }
    packet(0x10, &body)
}

/// PUBLISH.
#[must_use]
pub fn publish(v5: bool, p: &Outgoing) -> Vec<u8> {
    let mut body = Vec::new();
    text(&mut body, p.topic.as_bytes());
    if p.qos > 0 {
        body.extend_from_slice(&p.pid.to_be_bytes());
    }
    if v5 {
        let mut props = Vec::new();
        if let Some(secs) = p.expiry {
            seconds(&mut props, 0x02, secs);
        }
        carried(&mut props, &p.carried);
        block(&mut body, &props);
    }
    body.extend_from_slice(&p.payload);
    packet(0x30 | u8::from(p.dup) << 3 | p.qos << 1 | u8::from(p.retain), &body)
}

/// Bytes of a PUBLISH to a 5.0 client that has no alias.
#[must_use]
pub fn length(p: &Publish) -> usize {
    let mut props = Vec::new();
    if let Some(secs) = p.expiry {
        seconds(&mut props, 0x02, secs);
    }
    for id in &p.ids {
        props.push(0x0b);
        varint(&mut props, *id as usize);
    }
    carried(&mut props, &p.carried);
    let mut body = Vec::new();
    block(&mut body, &props);
    let body = body.len() + 2 + p.topic.len() + p.payload.len() + if p.qos > 0 { 2 } else { 0 };
    let mut head = vec![0];
    varint(&mut head, body);
    head.len() + body
}

/// PUBACK, PUBREC, PUBREL or PUBCOMP; a code other than 0 is written (5.0).
#[must_use]
pub fn ack(kind: u8, pid: u16, code: u8) -> Vec<u8> {
    let mut body = pid.to_be_bytes().to_vec();
    if code != 0 {
        body.push(code);
    }
    packet(kind << 4 | if kind == PUBREL { 2 } else { 0 }, &body)
}

/// SUBSCRIBE.
#[must_use]
pub fn subscribe(v5: bool, pid: u16, items: &[Item], id: Option<u32>) -> Vec<u8> {
    let mut body = pid.to_be_bytes().to_vec();
    if v5 {
        let mut p = Vec::new();
        if let Some(id) = id {
            p.push(0x0b);
            varint(&mut p, id as usize);
        }
        block(&mut body, &p);
    }
    for item in items {
        text(&mut body, item.filter.as_bytes());
        let options = u8::from(item.no_local) << 2 | u8::from(item.as_published) << 3;
        body.push(item.qos | if v5 { options | item.handling << 4 } else { 0 });
    }
    packet(0x82, &body)
}

/// UNSUBSCRIBE.
#[must_use]
pub fn unsubscribe(v5: bool, pid: u16, filters: &[String]) -> Vec<u8> {
    let mut body = pid.to_be_bytes().to_vec();
    if v5 {
        body.push(0);
    }
    filters.iter().for_each(|filter| text(&mut body, filter.as_bytes()));
    packet(0xa2, &body)
}

/// DISCONNECT; code and expiry are 5.0's.
#[must_use]
pub fn disconnect(v5: bool, code: u8, expiry: Option<u32>) -> Vec<u8> {
    let mut body = Vec::new();
    if v5 && (code != 0 || expiry.is_some()) {
        let mut p = Vec::new();
        if let Some(secs) = expiry {
            seconds(&mut p, 0x11, secs);
        }
        body.push(code);
        block(&mut body, &p);
    }
    packet(0xe0, &body)
}
