//! Bytes ↔ packet, for every message of MQTT-SN 1.2 §5.4 and §5.5.
#![allow(clippy::unwrap_used)]

use motegate_mqtt_sn::{
    DecodeError, Encapsulation, EncodeError, Packet, QosBits, ReturnCode, TopicId, TopicRef,
    WillTopic, peek_type,
};
use proptest::prelude::*;

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(pair).collect()
}

fn encode(packet: &Packet<'_>) -> Vec<u8> {
    let mut bytes = vec![0; packet.encoded_len()];
    assert_eq!(packet.encode(&mut bytes), Ok(bytes.len()));
    bytes
}

#[test]
fn every_message_has_the_layout_of_the_specification() {
    let accepted = ReturnCode::Accepted;
    let will = WillTopic { qos: QosBits::One, retain: true, topic: "w/t" };
    let table: &[(&str, Packet<'_>)] = &[
        ("05 00 07 0384", Packet::Advertise { gateway_id: 7, duration: 900 }),
        ("03 01 02", Packet::SearchGw { radius: 2 }),
        ("03 02 07", Packet::GwInfo { gateway_id: 7, address: &[] }),
        ("05 02 07 0a0b", Packet::GwInfo { gateway_id: 7, address: &[10, 11] }),
        (
            "08 04 0c 01 003c 6d31",
            Packet::Connect {
                will: true,
                clean: true,
                protocol_id: 1,
                duration: 60,
                client_id: "m1",
            },
        ),
        (
            "06 04 00 01 0000",
            Packet::Connect {
                will: false,
                clean: false,
                protocol_id: 1,
                duration: 0,
                client_id: "",
            },
        ),
        ("03 05 03", Packet::ConnAck { code: ReturnCode::NotSupported }),
        ("02 06", Packet::WillTopicReq),
        ("06 07 30 772f74", Packet::WillTopic { will: Some(will) }),
        ("02 07", Packet::WillTopic { will: None }),
        ("02 08", Packet::WillMsgReq),
        ("05 09 627965", Packet::WillMsg { message: b"bye" }),
        ("02 09", Packet::WillMsg { message: b"" }),
        ("09 0a 0000 0102 612f62", Packet::Register { topic_id: 0, msg_id: 0x102, name: "a/b" }),
        ("07 0b 0001 0102 00", Packet::RegAck { topic_id: 1, msg_id: 0x102, code: accepted }),
        (
            "08 0c b0 0001 0102 78",
            Packet::Publish {
                dup: true,
                qos: QosBits::One,
                retain: true,
                topic: TopicId::Normal(1),
                msg_id: 0x102,
                data: b"x",
            },
        ),
        (
            "07 0c 61 0005 0000",
            Packet::Publish {
                dup: false,
                qos: QosBits::MinusOne,
                retain: false,
                topic: TopicId::Predefined(5),
                msg_id: 0,
                data: b"",
            },
        ),
        (
            "07 0c 42 6162 0001",
            Packet::Publish {
                dup: false,
                qos: QosBits::Two,
                retain: false,
                topic: TopicId::Short(*b"ab"),
                msg_id: 1,
                data: b"",
            },
        ),
        (
            "07 0d 6162 0001 02",
            Packet::PubAck { topic_id: 0x6162, msg_id: 1, code: ReturnCode::InvalidTopicId },
        ),
        // §5.2.2: COMP 0x0E, REC 0x0F, REL 0x10.
        ("04 0e 0001", Packet::PubComp { msg_id: 1 }),
        ("04 0f 0001", Packet::PubRec { msg_id: 1 }),
        ("04 10 0001", Packet::PubRel { msg_id: 1 }),
        (
            "08 12 a0 0001 612f23",
            Packet::Subscribe {
                dup: true,
                qos: QosBits::One,
                msg_id: 1,
                topic: TopicRef::Name("a/#"),
            },
        ),
        (
            "07 12 41 0001 0005",
            Packet::Subscribe {
                dup: false,
                qos: QosBits::Two,
                msg_id: 1,
                topic: TopicRef::Predefined(5),
            },
        ),
        (
            "07 12 02 0001 6162",
            Packet::Subscribe {
                dup: false,
                qos: QosBits::Zero,
                msg_id: 1,
                topic: TopicRef::Short(*b"ab"),
            },
        ),
        (
            "08 13 20 0003 0001 01",
            Packet::SubAck {
                qos: QosBits::One,
                topic_id: 3,
                msg_id: 1,
                code: ReturnCode::Congestion,
            },
        ),
        ("06 14 00 0001 61", Packet::Unsubscribe { msg_id: 1, topic: TopicRef::Name("a") }),
        ("07 14 01 0001 0005", Packet::Unsubscribe { msg_id: 1, topic: TopicRef::Predefined(5) }),
        ("04 15 0001", Packet::UnsubAck { msg_id: 1 }),
        ("02 16", Packet::PingReq { client_id: None }),
        ("04 16 6d31", Packet::PingReq { client_id: Some("m1") }),
        ("02 17", Packet::PingResp),
        ("02 18", Packet::Disconnect { duration: None }),
        ("04 18 0e10", Packet::Disconnect { duration: Some(3600) }),
        ("06 1a 30 772f74", Packet::WillTopicUpd { will: Some(will) }),
        ("02 1a", Packet::WillTopicUpd { will: None }),
        ("03 1b 00", Packet::WillTopicResp { code: accepted }),
        ("03 1c 78", Packet::WillMsgUpd { message: b"x" }),
        ("03 1d 77", Packet::WillMsgResp { code: ReturnCode::Reserved(0x77) }),
    ];
    for (bytes, packet) in table {
        assert_eq!(Packet::decode(&hex(bytes)), Ok(*packet), "{bytes}");
        assert_eq!(encode(packet), hex(bytes), "{packet:?}");
        assert_eq!(peek_type(&hex(bytes)), Some(packet.msg_type()));
        assert_eq!(packet.to_vec::<16>().unwrap(), hex(bytes)[..]);
        assert_eq!(packet.encode(&mut [0; 1]), Err(EncodeError::Buffer));
    }
}

#[test]
fn the_length_field_counts_itself_and_the_long_form_serves_short_messages_too() {
    // Row 1; §5.2.1.
    assert_eq!(Packet::decode(&hex("01 0004 17")), Ok(Packet::PingResp));
    let data = [7; 250];
    let publish = |data| Packet::Publish {
        dup: false,
        qos: QosBits::Zero,
        retain: false,
        topic: TopicId::Normal(1),
        msg_id: 0,
        data,
    };
    for (len, head) in [(248, "ff 0c"), (249, "01 0102 0c")] {
        let bytes = encode(&publish(&data[..len]));
        assert!(bytes.starts_with(&hex(head)), "{len}: {:?}", &bytes[..4]);
        assert_eq!(Packet::decode(&bytes), Ok(publish(&data[..len])));
    }
    let huge = vec![0; 65_535 - 9];
    assert_eq!(encode(&publish(&huge)).len(), 65_535);
    let too_long = vec![0; 65_535 - 8];
    assert_eq!(publish(&too_long).encode(&mut vec![0; 70_000]), Err(EncodeError::TooLong));
}

#[test]
fn what_the_specification_does_not_allow_is_refused() {
    let table: &[(&str, DecodeError)] = &[
        ("", DecodeError::Truncated),
        ("01", DecodeError::Truncated),
        ("01 00", DecodeError::Truncated),
        ("01 0003", DecodeError::Truncated),
        ("00", DecodeError::Length { said: 0, got: 1 }),
        ("03 17", DecodeError::Length { said: 3, got: 2 }),
        ("02 17 00", DecodeError::Length { said: 2, got: 3 }),
        ("01 0005 17", DecodeError::Length { said: 5, got: 4 }),
        ("02 03", DecodeError::ReservedType(0x03)),
        ("02 11", DecodeError::ReservedType(0x11)),
        ("02 19", DecodeError::ReservedType(0x19)),
        ("02 1e", DecodeError::ReservedType(0x1e)),
        ("02 ff", DecodeError::ReservedType(0xff)),
        ("03 fe 00", DecodeError::ReservedType(0xfe)),
        ("02 01", DecodeError::Body(0x01)),
        ("05 04 00 01 00", DecodeError::Body(0x04)),
        ("06 0c 00 0001 00", DecodeError::Body(0x0c)),
        ("03 17 00", DecodeError::Body(0x17)),
        ("03 18 00", DecodeError::Body(0x18)),
        ("05 18 0001 00", DecodeError::Body(0x18)),
        ("06 12 01 0001 05", DecodeError::Body(0x12)),
        ("08 12 02 0001 616263", DecodeError::Body(0x12)),
        ("07 12 03 0001 0001", DecodeError::ReservedTopicIdType),
        ("07 0c 03 0001 0000", DecodeError::ReservedTopicIdType),
        ("07 04 00 01 0000 ff", DecodeError::Utf8),
        ("07 0a 0000 0001 c3", DecodeError::Utf8),
    ];
    for (bytes, error) in table {
        assert_eq!(Packet::decode(&hex(bytes)), Err(*error), "{bytes}");
    }
}

#[test]
fn a_wrapper_has_its_own_length() {
    // Row 46; §5.5: length 1 octet, of the wrapper alone.
    let bytes = hex("05 fe 02 abcd 02 17");
    let wrapper = Encapsulation::decode(&bytes).unwrap();
    assert_eq!(wrapper, Encapsulation { radius: 2, node: &[0xab, 0xcd], inner: &[2, 0x17] });
    let empty = Encapsulation::decode(&[3, 0xfe, 0, 2, 0x17]).unwrap();
    assert_eq!(empty, Encapsulation { radius: 0, node: &[], inner: &[2, 0x17] });
    for damaged in ["", "03", "02 fe", "04 fe 00", "02 17", "01 0005 fe 00"] {
        assert_eq!(Encapsulation::decode(&hex(damaged)), None, "{damaged}");
    }
    let mut buf = [0; 8];
    assert_eq!(Encapsulation::encode_wrapper(7, &[9], &mut buf), Ok(4));
    assert_eq!(buf[..4], [4, 0xfe, 3, 9]);
    assert_eq!(
        Encapsulation::encode_wrapper(0, &[0; 253], &mut [0; 300]),
        Err(EncodeError::TooLong)
    );
}

fn qos() -> impl Strategy<Value = QosBits> {
    prop::sample::select(vec![QosBits::MinusOne, QosBits::Zero, QosBits::One, QosBits::Two])
}

fn topic_id() -> impl Strategy<Value = TopicId> {
    (0..3, any::<u16>()).prop_map(|(kind, id)| match kind {
        0 => TopicId::Normal(id),
        1 => TopicId::Predefined(id),
        _ => TopicId::Short(id.to_be_bytes()),
    })
}

proptest! {
    #[test]
    fn decoding_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let _ = Packet::decode(&bytes);
        let _ = Encapsulation::decode(&bytes);
    }

    #[test]
    fn what_decodes_encodes_to_what_decodes_the_same(
        kind in 0_u8..0x20, body in prop::collection::vec(any::<u8>(), 0..300)
    ) {
        let len = u16::try_from(body.len() + 4).unwrap();
        let mut bytes = vec![1];
        bytes.extend(len.to_be_bytes());
        bytes.push(kind);
        bytes.extend(body);
        if let Ok(packet) = Packet::decode(&bytes) {
            let shorter = encode(&packet);
            prop_assert_eq!(Packet::decode(&shorter), Ok(packet));
            prop_assert!(shorter.len() <= bytes.len());
        }
    }

    #[test]
    fn publish_round_trips(
        dup: bool, retain: bool, qos in qos(), topic in topic_id(), msg_id: u16,
        data in prop::collection::vec(any::<u8>(), 0..600)
    ) {
        let packet = Packet::Publish { dup, qos, retain, topic, msg_id, data: &data };
        let bytes = encode(&packet);
        prop_assert_eq!(Packet::decode(&bytes), Ok(packet));
    }

    #[test]
    fn names_round_trip(dup: bool, qos in qos(), msg_id: u16, name in "\\PC{0,300}") {
        let topic = TopicRef::Name(&name);
        let packet = Packet::Subscribe { dup, qos, msg_id, topic };
        let bytes = encode(&packet);
        prop_assert_eq!(Packet::decode(&bytes), Ok(packet));
        let packet = Packet::Register { topic_id: 0, msg_id, name: &name };
        let bytes = encode(&packet);
        prop_assert_eq!(Packet::decode(&bytes), Ok(packet));
    }
}
