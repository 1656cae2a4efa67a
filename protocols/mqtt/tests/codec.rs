//! The codec from outside: every packet in every version round-trips, decoding never panics.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::num::NonZeroU16;

use motegate_message::Qos;
use motegate_mqtt::codec::{self, decode, encode};
use motegate_mqtt::packet::*;
use motegate_mqtt::{
    Packet, PacketType, Properties, Property, PropertyBuf, ReasonCode, Sender, Version,
};
use proptest::collection::vec;
use proptest::prelude::*;

fn version() -> impl Strategy<Value = Version> {
    prop_oneof![Just(Version::V31), Just(Version::V311), Just(Version::V5)]
}

fn sender() -> impl Strategy<Value = Sender> {
    prop_oneof![Just(Sender::Client), Just(Sender::Server)]
}

fn qos() -> impl Strategy<Value = Qos> {
    (0_u8..3).prop_map(|bits| Qos::from_bits(bits).unwrap())
}

const TEXT: &str = "[a-zA-Z0-9/ é€]{0,20}";
const TOPIC: &str = "[a-z/$é]{1,20}";

/// Material of which a property of any kind can be made.
#[derive(Debug, Clone)]
struct Raw {
    number: u32,
    text: String,
    other: String,
    data: Vec<u8>,
}

fn raw() -> impl Strategy<Value = Raw> {
    (any::<u32>(), TEXT, TEXT, vec(any::<u8>(), 0..20))
        .prop_map(|(number, text, other, data)| Raw { number, text, other, data })
}

fn property(id: u8, raw: &Raw) -> Property<'_> {
    let flag = raw.number & 1 != 0;
    let [_, _, high, low] = raw.number.to_be_bytes();
    let short = u16::from_be_bytes([high, low]);
    match id {
        0x01 => Property::PayloadFormatIndicator(flag),
        0x02 => Property::MessageExpiryInterval(raw.number),
        0x03 => Property::ContentType(&raw.text),
        0x08 if raw.text.is_empty() => Property::ResponseTopic("re"),
        0x08 => Property::ResponseTopic(&raw.text),
        0x09 => Property::CorrelationData(&raw.data),
        0x0b => Property::SubscriptionIdentifier((raw.number & 0x0fff_ffff).max(1)),
        0x11 => Property::SessionExpiryInterval(raw.number),
        0x12 => Property::AssignedClientIdentifier(&raw.text),
        0x13 => Property::ServerKeepAlive(short),
        0x15 => Property::AuthenticationMethod(&raw.text),
        0x16 => Property::AuthenticationData(&raw.data),
        0x17 => Property::RequestProblemInformation(flag),
        0x18 => Property::WillDelayInterval(raw.number),
        0x19 => Property::RequestResponseInformation(flag),
        0x1a => Property::ResponseInformation(&raw.text),
        0x1c => Property::ServerReference(&raw.text),
        0x1f => Property::ReasonString(&raw.text),
        0x21 => Property::ReceiveMaximum(short.max(1)),
        0x22 => Property::TopicAliasMaximum(short),
        0x23 => Property::TopicAlias(short),
        0x24 => Property::MaximumQos(flag),
        0x25 => Property::RetainAvailable(flag),
        0x27 => Property::MaximumPacketSize(raw.number.max(1)),
        0x28 => Property::WildcardSubscriptionAvailable(flag),
        0x29 => Property::SubscriptionIdentifierAvailable(flag),
        0x2a => Property::SharedSubscriptionAvailable(flag),
        _ => Property::UserProperty(&raw.text, &raw.other),
    }
}

/// The table of MQTT 5 §2.2.2.2, written down a second time.
fn allowed(kind: PacketType, sender: Sender) -> &'static [u8] {
    match (kind, sender) {
        (PacketType::Connect, _) => &[0x11, 0x15, 0x16, 0x17, 0x19, 0x21, 0x22, 0x26, 0x27],
        (PacketType::ConnAck, _) => &[
            0x11, 0x12, 0x13, 0x15, 0x16, 0x1a, 0x1c, 0x1f, 0x21, 0x22, 0x24, 0x25, 0x26, 0x27,
            0x28, 0x29, 0x2a,
        ],
        (PacketType::Publish, Sender::Client) => &[0x01, 0x02, 0x03, 0x08, 0x09, 0x23, 0x26],
        (PacketType::Publish, Sender::Server) => &[0x01, 0x02, 0x03, 0x08, 0x09, 0x0b, 0x23, 0x26],
        (PacketType::Subscribe, _) => &[0x0b, 0x26],
        (PacketType::Unsubscribe, _) => &[0x26],
        (PacketType::Disconnect, Sender::Client) => &[0x11, 0x1f, 0x26],
        (PacketType::Disconnect, Sender::Server) => &[0x1c, 0x1f, 0x26],
        (PacketType::Auth, _) => &[0x15, 0x16, 0x1f, 0x26],
        (PacketType::PingReq | PacketType::PingResp, _) => &[],
        _ => &[0x1f, 0x26],
    }
}

const WILL: &[u8] = &[0x01, 0x02, 0x03, 0x08, 0x09, 0x18, 0x26];

/// A list for a place: a subset of what may stand there, user properties repeated.
fn list(ids: &[u8], pick: u32, raws: &[Raw]) -> PropertyBuf {
    let mut buf = PropertyBuf::new();
    for (i, id) in ids.iter().enumerate() {
        // Data without a method is no valid list.
        let method = ids.iter().position(|id| *id == 0x15).is_some_and(|at| pick & 1 << at != 0);
        if pick & 1 << i != 0 && (*id != 0x16 || method) {
            buf.push(property(*id, &raws[i % raws.len()]));
        }
    }
    if pick & 1 << 31 != 0 && ids.contains(&0x26) {
        buf.push(property(0x26, &raws[0])).push(property(0x26, &raws[0]));
    }
    buf
}

/// Everything that a packet of any type can be made of.
#[derive(Debug, Clone)]
struct Material {
    version: Version,
    sender: Sender,
    kind: PacketType,
    id: NonZeroU16,
    qos: Qos,
    flags: u32,
    raws: Vec<Raw>,
    topics: Vec<String>,
    payload: Vec<u8>,
}

fn material() -> impl Strategy<Value = Material> {
    (
        version(),
        sender(),
        (0_usize..15).prop_map(|i| PacketType::ALL[i]),
        any::<NonZeroU16>(),
        qos(),
        any::<u32>(),
        vec(raw(), 3..6),
        vec(TOPIC, 1..4),
        vec(any::<u8>(), 0..300),
    )
        .prop_map(|(version, sender, kind, id, qos, flags, raws, topics, payload)| Material {
            version,
            sender,
            kind,
            id,
            qos,
            flags,
            raws,
            topics,
            payload,
        })
}

fn code(m: &Material) -> ReasonCode {
    let codes: Vec<ReasonCode> = ReasonCode::ALL
        .iter()
        .copied()
        .filter(|code| code.is_allowed(m.kind, m.sender))
        .filter(|code| {
            m.version.is_v5()
                || match m.kind {
                    PacketType::ConnAck => code.to_connect_return_code().is_some_and(|byte| {
                        ReasonCode::from_connect_return_code(byte) == Some(*code)
                    }),
                    PacketType::SubAck => !code.is_error() || *code == ReasonCode::UnspecifiedError,
                    _ => *code == ReasonCode::Success,
                }
        })
        .collect();
    codes[m.flags as usize % codes.len()]
}

fn build<'a>(
    m: &'a Material,
    properties: Properties<'a>,
    will_properties: Properties<'a>,
) -> Packet<'a> {
    let (v5, flag) = (m.version.is_v5(), |bit: u32| m.flags & 1 << bit != 0);
    let ack = |code| Ack { id: m.id, code, properties };
    match m.kind {
        PacketType::Connect => {
            let user_name = flag(0).then_some(&*m.raws[0].text);
            Packet::Connect(Box::new(Connect {
                version: m.version,
                bridge: flag(1) && !v5,
                clean: flag(2),
                keep_alive: m.id.get(),
                properties,
                client_id: &m.raws[1].text,
                will: flag(3).then(|| Will {
                    qos: m.qos,
                    retain: flag(4),
                    properties: will_properties,
                    topic: &m.topics[0],
                    payload: &m.payload,
                }),
                user_name,
                password: (flag(5) && (v5 || user_name.is_some())).then_some(&*m.raws[0].data),
            }))
        }
        PacketType::ConnAck => Packet::ConnAck(ConnAck {
            session_present: flag(0) && m.version != Version::V31,
            code: code(m),
            properties,
        }),
        PacketType::Publish => {
            let alias = properties.iter().any(|p| matches!(p, Property::TopicAlias(_)));
            Packet::Publish(Publish {
                dup: flag(0) && m.qos > Qos::AtMostOnce,
                qos: m.qos,
                retain: flag(1),
                topic: if alias && flag(2) { "" } else { &m.topics[0] },
                id: (m.qos > Qos::AtMostOnce).then_some(m.id),
                properties,
                payload: &m.payload,
            })
        }
        PacketType::PubAck => Packet::PubAck(ack(code(m))),
        PacketType::PubRec => Packet::PubRec(ack(code(m))),
        PacketType::PubRel => Packet::PubRel(ack(code(m))),
        PacketType::PubComp => Packet::PubComp(ack(code(m))),
        PacketType::Subscribe => Packet::Subscribe(Subscribe {
            id: m.id,
            properties,
            filters: m
                .topics
                .iter()
                .map(|filter| SubscribeFilter {
                    filter,
                    qos: m.qos,
                    no_local: v5 && flag(0),
                    retain_as_published: v5 && flag(1),
                    retain_handling: if v5 { u8::from(flag(2)) + u8::from(flag(3)) } else { 0 },
                })
                .collect(),
        }),
        PacketType::SubAck => Packet::SubAck(SubAck {
            id: m.id,
            properties,
            codes: m.topics.iter().map(|_| code(m)).collect(),
        }),
        PacketType::Unsubscribe => Packet::Unsubscribe(Unsubscribe {
            id: m.id,
            properties,
            filters: m.topics.iter().map(String::as_str).collect(),
        }),
        PacketType::UnsubAck => Packet::UnsubAck(SubAck {
            id: m.id,
            properties,
            codes: m.topics.iter().filter(|_| v5).map(|_| code(m)).collect(),
        }),
        PacketType::PingReq => Packet::PingReq,
        PacketType::PingResp => Packet::PingResp,
        PacketType::Disconnect => Packet::Disconnect(Disconnect { code: code(m), properties }),
        PacketType::Auth => Packet::Auth(Auth { code: code(m), properties }),
    }
}

/// Whether that side of that version has that packet at all.
fn exists(m: &Material) -> bool {
    let first = match m.kind {
        PacketType::PubRel | PacketType::Subscribe | PacketType::Unsubscribe => 2,
        _ => 0,
    } | (m.kind as u8) << 4;
    codec::check_first(first, m.version, m.sender).is_ok()
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 3000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn encode_then_decode_is_identity(m in material()) {
        if !exists(&m) {
            return Ok(()); // that side of that version has no such packet
        }
        let (own, will) = if m.version.is_v5() {
            (list(allowed(m.kind, m.sender), m.flags, &m.raws), list(WILL, m.flags, &m.raws))
        } else {
            (PropertyBuf::new(), PropertyBuf::new())
        };
        // A client never names a filter without the share's three parts.
        prop_assume!(m.topics.iter().all(|t| !t.starts_with("$share")));
        let packet = build(&m, own.as_properties(), will.as_properties());
        let mut bytes = vec![0xaa];
        encode(&packet, m.version, &mut bytes).unwrap();
        let header = codec::header(&bytes[1..]).unwrap().unwrap();
        prop_assert_eq!(header.packet_len(), bytes.len() - 1);
        let body = &bytes[1 + header.len..];
        prop_assert_eq!(decode(header.first, body, m.version, m.sender), Ok(packet.clone()));
        if let Packet::Publish(publish) = &packet {
            prop_assert_eq!(codec::publish_len(publish, m.version), bytes.len() - 1);
        }
        // Every cut of it is a fault or another packet, never a panic; a longer one, too.
        for cut in 0..body.len() {
            let _ = decode(header.first, &body[..cut], m.version, m.sender);
        }
    }

    #[test]
    fn decode_never_panics(
        first in any::<u8>(),
        body in vec(any::<u8>(), 0..80),
        version in version(),
        sender in sender(),
    ) {
        if let Ok(packet) = decode(first, &body, version, sender) {
            let mut again = Vec::new();
            let version = match &packet { Packet::Connect(c) => c.version, _ => version };
            encode(&packet, version, &mut again).unwrap();
            let header = codec::header(&again).unwrap().unwrap();
            prop_assert_eq!(
                decode(header.first, &again[header.len..], version, sender),
                Ok(packet)
            );
        }
        let _ = codec::dialect(&body);
        let _ = codec::header(&body);
    }
}
