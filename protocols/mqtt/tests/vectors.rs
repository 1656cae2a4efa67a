//! The codec byte by byte: examples of the specifications mean what they say, faults have their
//! class, and MQTT 3.1 forgives what it forgave.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod common;

use std::num::NonZeroU16;

use common::hex;
use motegate_message::Qos;
use motegate_mqtt::codec::{self, decode, encode};
use motegate_mqtt::packet::*;
use motegate_mqtt::{
    DecodeError, Packet, Properties, Property, PropertyBuf, ReasonCode, Sender, Version,
};

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
