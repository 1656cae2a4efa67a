//! The codec from outside: every packet in every version round-trips, decoding never panics,
//! bytes from the specification mean what it says, and faults have their class.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod common;

use std::num::NonZeroU16;

use common::hex;
use motegate_message::Qos;
use motegate_mqtt::codec::{self, decode, encode};
use motegate_mqtt::packet::*;
use motegate_mqtt::{
    DecodeError, Packet, PacketType, Properties, Property, PropertyBuf, ReasonCode, Sender, Version,
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

fn id(id: u16) -> NonZeroU16 {
    NonZeroU16::new(id).unwrap()
}

/// Examples of MQTT 3.1.1 and 5.0, byte for byte.
#[test]
fn bytes_of_the_specification() {
    let none = Properties::EMPTY;
    let expiry: PropertyBuf = [Property::SessionExpiryInterval(10)].into_iter().collect();
    let table: Vec<(&str, Version, Sender, Packet<'_>)> = vec![
        // MQTT 3.1.1 §3.1.2.4, figure 3.6
        (
            r#"10 0e 0004 "MQTT" 04 02 000a 0002 "id""#,
            Version::V311,
            Sender::Client,
            Packet::Connect(Box::new(Connect {
                version: Version::V311,
                bridge: false,
                clean: true,
                keep_alive: 10,
                properties: none,
                client_id: "id",
                will: None,
                user_name: None,
                password: None,
            })),
        ),
        // MQTT 5 §3.1.2.12, figure 3-6
        (
            r#"10 1f 0004 "MQTT" 05 ce 000a 05 11 0000000a 0000 00 0001 "t" 0001 "p" 0001 "u" 0001 "w""#,
            Version::V5,
            Sender::Client,
            Packet::Connect(Box::new(Connect {
                version: Version::V5,
                bridge: false,
                clean: true,
                keep_alive: 10,
                properties: expiry.as_properties(),
                client_id: "",
                will: Some(Will {
                    qos: Qos::AtLeastOnce,
                    retain: false,
                    properties: none,
                    topic: "t",
                    payload: b"p",
                }),
                user_name: Some("u"),
                password: Some(b"w"),
            })),
        ),
        // MQTT 3.1.1 §3.3.2.3, figure 3.12
        (
            r#"3b 08 0003 "a/b" 000a "x""#,
            Version::V311,
            Sender::Client,
            Packet::Publish(Publish {
                dup: true,
                qos: Qos::AtLeastOnce,
                retain: true,
                topic: "a/b",
                id: Some(id(10)),
                properties: none,
                payload: b"x",
            }),
        ),
        // MQTT 5 §3.8.3.1, figure 3-21
        (
            r#"82 0f 000a 00 0003 "a/b" 01 0003 "c/d" 02"#,
            Version::V5,
            Sender::Client,
            Packet::Subscribe(Subscribe {
                id: id(10),
                properties: none,
                filters: [("a/b", Qos::AtLeastOnce), ("c/d", Qos::ExactlyOnce)]
                    .map(|(filter, qos)| SubscribeFilter {
                        filter,
                        qos,
                        no_local: false,
                        retain_as_published: false,
                        retain_handling: 0,
                    })
                    .to_vec(),
            }),
        ),
        // MQTT 3.1.1 §3.9.3, figure 3.27
        (
            "90 05 000a 00 02 80",
            Version::V311,
            Sender::Server,
            Packet::SubAck(SubAck {
                id: id(10),
                properties: none,
                codes: vec![
                    ReasonCode::Success,
                    ReasonCode::GrantedQos2,
                    ReasonCode::UnspecifiedError,
                ],
            }),
        ),
        (
            "40 02 0007",
            Version::V5,
            Sender::Client,
            Packet::PubAck(Ack::new(id(7), ReasonCode::Success)),
        ),
        (
            "50 03 0007 10",
            Version::V5,
            Sender::Client,
            Packet::PubRec(Ack::new(id(7), ReasonCode::NoMatchingSubscribers)),
        ),
        (
            "62 02 0007",
            Version::V311,
            Sender::Client,
            Packet::PubRel(Ack::new(id(7), ReasonCode::Success)),
        ),
        ("c0 00", Version::V31, Sender::Client, Packet::PingReq),
        ("d0 00", Version::V5, Sender::Server, Packet::PingResp),
        (
            "e0 00",
            Version::V5,
            Sender::Client,
            Packet::Disconnect(Disconnect { code: ReasonCode::Success, properties: none }),
        ),
        (
            "e0 01 04",
            Version::V5,
            Sender::Client,
            Packet::Disconnect(Disconnect {
                code: ReasonCode::DisconnectWithWill,
                properties: none,
            }),
        ),
        (
            "20 02 00 05",
            Version::V311,
            Sender::Server,
            Packet::ConnAck(ConnAck {
                session_present: false,
                code: ReasonCode::NotAuthorized,
                properties: none,
            }),
        ),
        (
            "20 03 01 00 00",
            Version::V5,
            Sender::Server,
            Packet::ConnAck(ConnAck {
                session_present: true,
                code: ReasonCode::Success,
                properties: none,
            }),
        ),
    ];
    for (text, version, sender, packet) in table {
        let bytes = hex(text);
        let header = codec::header(&bytes).unwrap().unwrap();
        assert_eq!(header.packet_len(), bytes.len(), "{text}");
        let got = decode(header.first, &bytes[header.len..], version, sender);
        assert_eq!(got, Ok(packet.clone()), "{text}");
        let mut out = Vec::new();
        encode(&packet, version, &mut out).unwrap();
        assert_eq!(out, bytes, "{text}");
    }
}

/// Longer forms that mean the same as the shortest.
#[test]
fn long_forms_are_read() {
    for (text, code) in
        [("40 03 0007 00", 0x00), ("40 04 0007 00 00", 0), ("40 04 0007 87 00", 0x87)]
    {
        let bytes = hex(text);
        let packet = decode(bytes[0], &bytes[2..], Version::V5, Sender::Server);
        let Ok(Packet::PubAck(ack)) = packet else { panic!("{text}: {packet:?}") };
        assert_eq!((ack.code.as_u8(), ack.properties.is_empty()), (code, true), "{text}");
    }
}

/// What a client may not send, and the class of the fault (mqtt 5 §4.13).
#[test]
fn faults_have_their_class() {
    use DecodeError::*;
    use Version::*;
    let connect = |level: u8, flags: u8, rest: &str| {
        let name = if level == 3 { r#"0006 "MQIsdp""# } else { r#"0004 "MQTT""# };
        common::packet(0x10, &format!("{name} {level:02x} {flags:02x} 000a {rest}"))
    };
    let table: Vec<(String, Version, DecodeError)> = vec![
        (connect(4, 0x03, r#"0001 "a""#), V311, BadConnectFlags),
        (connect(4, 0x0a, r#"0001 "a""#), V311, BadConnectFlags), // will QoS without will
        (connect(4, 0x22, r#"0001 "a""#), V311, BadConnectFlags), // will retain without will
        (connect(4, 0x1e, r#"0001 "a" 0001 "t" 0001 "p""#), V311, BadQos),
        (connect(4, 0x42, r#"0001 "a" 0001 "p""#), V311, BadConnectFlags), // password alone
        (connect(4, 0x82, r#"0001 "a""#), V311, Truncated),
        (connect(5, 0x82, r#"00 0001 "a""#), V5, Truncated),
        (connect(4, 0x02, r#"0001 "a" 00"#), V311, TrailingBytes),
        (connect(4, 0x06, r#"0001 "a" 0000 0000"#), V311, BadTopicName),
        (connect(4, 0x06, r#"0001 "a" 0001 "+" 0000"#), V311, BadTopicName),
        (connect(4, 0x02, "0001 ff"), V311, BadUtf8),
        (connect(4, 0x02, "0001 00"), V311, ForbiddenCharacter),
        (connect(5, 0x02, r#"03 21 0000 0001 "a""#), V5, BadPropertyValue),
        (connect(5, 0x02, r#"02 0102 0001 "a""#), V5, BadPropertyValue),
        (connect(5, 0x02, r#"02 0101 0001 "a""#), V5, MisplacedProperty),
        (connect(5, 0x02, r#"0a 11 00000001 11 00000001 0001 "a""#), V5, DuplicateProperty),
        (connect(6, 0x02, r#"0001 "a""#), V311, UnknownLevel),
        (r#"10 0d 0005 "MQTTX" 04 02 000a 0001 "a""#.into(), V311, UnknownProtocol),
        (r#"36 05 0001 "a" 0001"#.into(), V311, BadQos),
        (r#"38 03 0001 "a""#.into(), V311, BadQos),
        (r#"32 05 0001 "a" 0000"#.into(), V311, ZeroPacketId),
        (r#"30 03 0001 "#.to_string() + "\"#\"", V311, BadTopicName),
        ("30 02 0000".into(), V311, BadTopicName),
        ("30 03 0000 00".into(), V5, NoTopic),
        (r#"30 06 0001 "a" 02 0b07"#.into(), V5, SubscriptionIdentifierFromClient),
        (r#"30 05 0001 "a" 01"#.into(), V5, Truncated),
        (r#"30 05 0001 "a" 8000"#.into(), V5, IntegerNotShortest),
        ("40 03 0001 00".into(), V311, BadLength),
        ("40 01 00".into(), V5, BadLength),
        ("40 02 0000".into(), V5, ZeroPacketId),
        ("40 03 0001 92".into(), V5, BadReasonCode),
        ("62 03 0001 91".into(), V5, BadReasonCode),
        ("60 02 0001".into(), V5, BadFlags),
        (r#"80 06 0001 0001 "a" 00"#.into(), V311, BadFlags),
        ("82 02 0001".into(), V311, EmptyList),
        ("82 03 0001 00".into(), V5, EmptyList),
        (r#"82 06 0001 0001 "a" 03"#.into(), V311, BadQos),
        (r#"82 06 0001 0001 "a" 04"#.into(), V311, BadSubscriptionBits),
        (r#"82 07 0001 00 0001 "a" 03"#.into(), V5, BadSubscriptionOptions),
        (r#"82 07 0001 00 0001 "a" 30"#.into(), V5, BadSubscriptionOptions),
        (r#"82 07 0001 00 0001 "a" 40"#.into(), V5, BadSubscriptionBits),
        (r#"82 08 0001 00 0002 "a+" 00"#.into(), V5, BadTopicFilter),
        (r#"82 0f 0001 00 0009 "$share//t" 00"#.into(), V5, BadTopicFilter),
        (r#"82 10 0001 00 000a "$share/g/t" 04"#.into(), V5, SharedNoLocal),
        (r#"82 09 0001 02 0b00 0001 "a" 00"#.into(), V5, BadPropertyValue),
        ("a2 02 0001".into(), V311, EmptyList),
        ("c0 01 00".into(), V311, BadLength),
        ("e0 01 00".into(), V311, BadLength),
        ("e0 01 8b".into(), V5, BadReasonCode), // the server's
        ("e0 07 00 05 1c 0002 4141".into(), V5, MisplacedProperty),
        ("f0 00".into(), V311, UnknownPacketType),
        ("f0 01 00".into(), V5, BadReasonCode), // the server's
        ("20 02 00 00".into(), V311, WrongDirection),
        ("00 00".into(), V5, UnknownPacketType),
    ];
    for (text, version, fault) in table {
        let bytes = hex(&text);
        let header = codec::header(&bytes).unwrap().unwrap();
        let body = &bytes[header.len..];
        let got = decode(header.first, body, version, Sender::Client);
        assert_eq!(got, Err(fault), "{text}");
    }
}

/// MQTT 3.1 is laxer (protocols/mqtt.md §1.9).
#[test]
fn mqtt_31_forgives() {
    for text in [
        r#"10 0f 0006 "MQIsdp" 03 82 000a 0001 "a""#, // user name flag, no user name
        r#"1f 0f 0006 "MQIsdp" 03 02 000a 0001 "a""#, // unused header bits
        r#"8a 06 0001 0001 "a" 00"#,                  // DUP on SUBSCRIBE
        r#"38 03 0001 "a""#,                          // DUP at QoS 0
        "6a 02 0001",
        "c3 00",
    ] {
        let bytes = hex(text);
        let header = codec::header(&bytes).unwrap().unwrap();
        let got = decode(header.first, &bytes[header.len..], Version::V31, Sender::Client);
        assert!(got.is_ok(), "{text}: {got:?}");
    }
}

#[test]
fn what_cannot_be_said_leaves_the_buffer_alone() {
    let long = "x".repeat(65_536);
    let mut out = vec![1, 2, 3];
    let packet = Packet::Unsubscribe(Unsubscribe {
        id: id(1),
        properties: Properties::EMPTY,
        filters: vec!["a", &long],
    });
    assert!(encode(&packet, Version::V5, &mut out).is_err());
    let auth = Packet::Auth(Auth { code: ReasonCode::Success, properties: Properties::EMPTY });
    assert!(encode(&auth, Version::V311, &mut out).is_err());
    let refusal = Packet::ConnAck(ConnAck {
        session_present: false,
        code: ReasonCode::MalformedPacket,
        properties: Properties::EMPTY,
    });
    assert!(encode(&refusal, Version::V311, &mut out).is_err());
    assert_eq!(out, [1, 2, 3]);
}
