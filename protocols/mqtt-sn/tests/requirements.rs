//! Rows of the checklist that concern every packet: flags, return codes, identifiers, lengths, message
//! ids, QoS −1 in every state, and what a congested client asks for. Rows 3, 5, 6, 7, 31, 47.
#![cfg(feature = "endpoint")]
#![allow(clippy::unwrap_used)]

mod rig;

use motegate_message::{Qos, Reason};
use motegate_mqtt_sn::endpoint::{ClientState, Config};
use motegate_mqtt_sn::{Packet, QosBits, ReturnCode, TopicId, TopicRef, WillTopic};
use rig::*;

const SHORT: TopicId = TopicId::Short(*b"ab");
const BUSY: ReturnCode = ReturnCode::Congestion;

fn register(topic_id: u16, msg_id: u16, name: &str) -> Packet<'_> {
    Packet::Register { topic_id, msg_id, name }
}

fn regack(topic_id: u16, msg_id: u16, code: ReturnCode) -> Packet<'static> {
    Packet::RegAck { topic_id, msg_id, code }
}

#[test]
fn row_3_each_flag_has_its_bit() {
    let flags = |packet: Packet<'_>| encode(&packet)[2];
    let with = |dup, qos, retain, topic| {
        flags(Packet::Publish { dup, qos, retain, topic, msg_id: 1, data: b"" })
    };
    let plain = TopicId::Normal(1);
    for (flags, bits) in [
        (with(false, QosBits::Zero, false, plain), 0x00),
        (with(true, QosBits::Zero, false, plain), 0x80),
        (with(false, QosBits::One, false, plain), 0x20),
        (with(false, QosBits::Two, false, plain), 0x40),
        (with(false, QosBits::MinusOne, false, plain), 0x60),
        (with(false, QosBits::Zero, true, plain), 0x10),
        (with(false, QosBits::Zero, false, TopicId::Predefined(1)), 0x01),
        (with(false, QosBits::Zero, false, SHORT), 0x02),
        (flags(connect_will("m", false)), 0x08),
        (flags(connect("m", true, 60)), 0x04),
    ] {
        assert_eq!(flags, bits);
    }
    // Bits that a message does not use are no mistake: a CONNECT with DUP, QoS and RETAIN set.
    let mut rig = Rig::new();
    rig.send_bytes(1, &[7, 0x04, 0xf4, 1, 0, 60, b'm']);
    rig.expect(1, CONNACK);
    // Topic id type 11 is reserved.
    for kind in [0x0c, 0x12, 0x14] {
        rig.send_bytes(1, &[8, kind, 0x03, 0, 1, 0, 0, b'x']);
    }
    let code = ReturnCode::NotSupported;
    rig.expect(1, puback(1, 0, code));
    rig.expect(1, Packet::SubAck { qos: QosBits::Zero, topic_id: 0, msg_id: 1, code });
    rig.expect(1, Packet::UnsubAck { msg_id: 1 });
    assert_eq!(rig.dropped, [Reason::Malformed; 3]);
}

#[test]
fn row_5_reserved_topic_ids_are_nobody_s() {
    let mut rig = Rig::new();
    rig.connected(1, "m", true);
    for id in [0, 0xffff] {
        for topic in [TopicId::Normal(id), TopicId::Predefined(id)] {
            for qos in [QosBits::Zero, QosBits::One, QosBits::Two] {
                rig.send(1, publish(qos, topic, 7, "x"));
                rig.expect(1, puback(id, 7, ReturnCode::InvalidTopicId));
            }
        }
        let topic = TopicRef::Predefined(id);
        rig.send(1, Packet::Subscribe { dup: false, qos: QosBits::One, msg_id: 8, topic });
        let code = ReturnCode::InvalidTopicId;
        rig.expect(1, Packet::SubAck { qos: QosBits::Zero, topic_id: id, msg_id: 8, code });
    }
    assert_eq!(rig.published, []);
}

#[test]
fn row_6_client_ids_are_1_to_23_characters_and_longer_ones_within_the_bound() {
    let mut rig = Rig::new();
    for (port, length) in [(1, 1), (2, 23), (3, 24), (4, 64), (5, 300), (6, 1024)] {
        rig.send(port, connect(&"x".repeat(length), true, 60));
        rig.expect(port, CONNACK);
    }
    for id in [String::new(), "x".repeat(1025), "a\0b".to_owned()] {
        rig.send(7, connect(&id, true, 60));
        rig.expect(7, Packet::ConnAck { code: ReturnCode::NotSupported });
    }
    assert_eq!(rig.dropped, [Reason::BadClientId; 3]);
    assert_eq!(rig.endpoint.client_count(), 6);
}

#[test]
fn row_7_at_qos_0_the_msg_id_is_zero_and_any_other_is_tolerated() {
    let mut rig = Rig::new();
    rig.connected(1, "m", true);
    rig.send(1, subscribe(QosBits::Zero, 1, "a"));
    rig.expect(1, suback(QosBits::Zero, 1, 1));
    for _ in 0..2 {
        rig.deliver("m", "a", Qos::AtMostOnce, "x");
        rig.expect(1, publish(QosBits::Zero, TopicId::Normal(1), 0, "x"));
    }
    for msg_id in [0, 5, 5] {
        rig.send(1, publish(QosBits::Zero, SHORT, msg_id, "up"));
        rig.send(1, publish(QosBits::MinusOne, SHORT, msg_id, "up"));
    }
    rig.expect_nothing();
    assert_eq!(rig.published.len(), 6);
    // A number that is zero where one belongs is answered with it.
    rig.send(1, publish(QosBits::One, SHORT, 0, "x"));
    rig.expect(1, puback(SHORT.raw(), 0, OK));
    assert_eq!(rig.dropped, []);
}

/// A session with a subscription to `#`.
fn subscribed() -> Rig {
    let mut rig = Rig::new();
    rig.connected(1, "m", false);
    rig.send(1, subscribe(QosBits::Two, 1, "#"));
    rig.expect(1, suback(QosBits::Two, 0, 1));
    rig
}

#[test]
fn row_31_qos_minus_one_comes_from_connected_and_sleeping_peers_too_and_changes_nothing() {
    let mut rig = subscribed();
    let client = rig.session("m").client.unwrap();
    let state = |rig: &Rig| rig.endpoint.client(client).unwrap().state;
    let unasked = publish(QosBits::MinusOne, SHORT, 0, "x");
    rig.send(1, unasked);
    assert_eq!(state(&rig), ClientState::Active);
    rig.asleep(1, 100);
    rig.deliver("m", "a", Qos::AtLeastOnce, "1");
    // It is heard, and so it is not late; it stays asleep.
    for _ in 0..3 {
        rig.advance(90);
        rig.send(1, unasked);
        assert_eq!(state(&rig), ClientState::Asleep);
    }
    rig.expect_nothing();
    assert_eq!((rig.published.len(), rig.disconnected.len(), rig.dropped.len()), (4, 0, 0));
    // Who publishes is told to the layer above.
    assert!(rig.log.iter().filter(|e| e.starts_with("Publish { client: Some")).count() == 4);
    // While it fetches its buffer as well.
    rig.send(1, Packet::PingReq { client_id: Some("m") });
    rig.expect(1, register(1, 1, "a"));
    rig.send(1, unasked);
    rig.expect_nothing();
    rig.send(1, regack(1, 1, OK));
    rig.expect(1, publish(QosBits::One, TopicId::Normal(1), 2, "1"));
    rig.send(1, puback(1, 2, OK));
    rig.expect(1, Packet::PingResp);
    // A registered id needs the connection that it is of, and still is no answer.
    rig.send(1, publish(QosBits::MinusOne, TopicId::Normal(1), 0, "x"));
    rig.expect_nothing();
    assert_eq!(rig.dropped, [Reason::SnUnknownTopicId]);
}

#[test]
fn row_47_a_congested_client_gets_the_same_again_at_t_retry() {
    let mut rig = subscribed();
    rig.deliver("m", "a", Qos::AtLeastOnce, "1");
    rig.expect(1, register(1, 1, "a"));
    rig.send(1, regack(1, 1, BUSY));
    rig.expect_nothing();
    rig.advance(10);
    rig.expect(1, register(1, 1, "a"));
    rig.send(1, regack(1, 1, OK));
    let message = publish(QosBits::One, TopicId::Normal(1), 2, "1");
    rig.expect(1, message);
    rig.send(1, puback(1, 2, BUSY));
    rig.expect_nothing();
    rig.advance(10);
    rig.expect(1, again(message));
    // It answers each time, so that it is not lost however often it asks (§6.13).
    for _ in 0..10 {
        rig.send(1, puback(1, 2, BUSY));
        rig.advance(10);
        rig.expect(1, again(message));
    }
    rig.send(1, puback(1, 2, OK));
    rig.advance(30);
    rig.expect_nothing();
    assert_eq!((rig.acked.len(), rig.dropped.len()), (1, 0));
    assert_eq!(rig.disconnected, []);
}

#[test]
fn row_22_register_is_repeated_n_retry_times_and_then_its_client_is_lost() {
    let mut rig = subscribed();
    rig.deliver("m", "a", Qos::AtMostOnce, "1");
    for _ in 0..=4 {
        rig.expect(1, register(1, 1, "a"));
        rig.expect_nothing();
        // Somebody else's number answers nothing.
        rig.send(1, regack(1, 9, OK));
        rig.expect_nothing();
        rig.advance(10);
    }
    rig.expect_nothing();
    assert_eq!(rig.disconnected, [(Reason::RetryExhausted, false)]);
}

#[test]
fn row_1_what_is_longer_than_255_octets_goes_both_ways_in_the_long_form() {
    let long = "n".repeat(300);
    let mut rig = Rig::new();
    let will = WillTopic { qos: QosBits::One, retain: false, topic: &long };
    rig.send(1, connect_will("m", false));
    rig.expect(1, Packet::WillTopicReq);
    rig.send(1, Packet::WillTopic { will: Some(will) });
    rig.expect(1, Packet::WillMsgReq);
    rig.send(1, Packet::WillMsg { message: long.as_bytes() });
    rig.expect(1, CONNACK);
    for packet in
        [Packet::WillTopicUpd { will: Some(will) }, Packet::WillMsgUpd { message: long.as_bytes() }]
    {
        assert_eq!(encode(&packet)[0], 1);
        rig.send(1, packet);
    }
    rig.expect(1, Packet::WillTopicResp { code: OK });
    rig.expect(1, Packet::WillMsgResp { code: OK });
    rig.send(1, register(0, 2, &long));
    rig.expect(1, regack(1, 2, OK));
    rig.send(1, subscribe(QosBits::One, 3, &long));
    rig.expect(1, suback(QosBits::One, 1, 3));
    rig.send(1, publish(QosBits::One, TopicId::Normal(1), 4, &long));
    rig.expect(1, puback(1, 4, OK));
    assert_eq!(rig.published, [(long.clone(), long.clone())]);
    rig.send(1, Packet::Unsubscribe { msg_id: 5, topic: TopicRef::Name(&long) });
    rig.expect(1, Packet::UnsubAck { msg_id: 5 });
    // Towards the client: REGISTER and PUBLISH.
    rig.send(1, subscribe(QosBits::One, 6, "#"));
    rig.expect(1, suback(QosBits::One, 0, 6));
    let other = "o".repeat(300);
    rig.deliver("m", &other, Qos::AtMostOnce, &long);
    assert_eq!(rig.inbox[0].1[..4], [1, 0x01, 0x34, 0x0a]);
    rig.expect(1, register(2, 1, &other));
    rig.send(1, regack(2, 1, OK));
    assert_eq!(rig.inbox[0].1[..4], [1, 0x01, 0x35, 0x0c]);
    rig.expect(1, publish(QosBits::Zero, TopicId::Normal(2), 0, &long));
    // The long form of a short message is as good, from a stranger and in a wrapper too.
    rig.send_bytes(2, &[1, 0, 5, 0x01, 0]);
    rig.expect_bytes(2, &[3, 2, 1]);
    rig.send_bytes(2, &[4, 0xfe, 0, b'n', 1, 0, 9, 0x04, 4, 1, 0, 60, b'w']);
    rig.expect_bytes(2, &[4, 0xfe, 0, b'n', 3, 5, 0]);
    assert_eq!(rig.dropped, []);
}

#[test]
fn row_16_an_empty_willtopicupd_deletes_topic_and_message() {
    let mut rig = Rig::new();
    rig.connected(1, "m", false);
    // Two octets; a topic of no characters is the same.
    rig.send_bytes(1, &[2, 0x1a]);
    rig.expect_bytes(1, &[3, 0x1b, 0]);
    rig.send_bytes(1, &[3, 0x1a, 0x20]);
    rig.expect_bytes(1, &[3, 0x1b, 0]);
    let deleted =
        |event: &motegate_mqtt_sn::endpoint::Event| format!("{event:?}").contains("change: Delete");
    assert_eq!(rig.wills.iter().filter(|event| deleted(event)).count(), 2);
}

#[test]
fn row_4_row_13_a_quiet_packet_for_each_return_code_of_a_connack() {
    let mut rig = Rig::with(Config { max_clients: 1, ..Config::default() });
    rig.connected(1, "m", true);
    rig.send(2, connect("n", true, 60));
    rig.expect_bytes(2, &[3, 0x05, 1]);
    rig.send(2, connect("", true, 60));
    rig.expect_bytes(2, &[3, 0x05, 3]);
}

/// Rows 6, 36, 47: what is well framed and cannot be taken is refused and not passed over.
#[test]
fn what_is_asked_in_no_utf_8_is_refused() {
    let mut rig = Rig::new();
    rig.send_bytes(1, &[8, 0x04, 0x04, 1, 0, 60, 0xff, 0xfe]);
    rig.expect(1, Packet::ConnAck { code: ReturnCode::NotSupported });
    let requests: [(&[u8], Packet<'_>); 7] = {
        let code = ReturnCode::NotSupported;
        let suback = Packet::SubAck { qos: QosBits::Zero, topic_id: 0, msg_id: 9, code };
        [
            (&[7, 0x0A, 0, 0, 0, 9, 0xff], Packet::RegAck { topic_id: 0, msg_id: 9, code }),
            (&[6, 0x12, 0x20, 0, 9, 0xff], suback),
            (&[7, 0x12, 0x23, 0, 9, b'a', b'b'], suback),
            (&[6, 0x14, 0x00, 0, 9, 0xff], Packet::UnsubAck { msg_id: 9 }),
            (&[7, 0x14, 0x03, 0, 9, b'a', b'b'], Packet::UnsubAck { msg_id: 9 }),
            (&[8, 0x0C, 0x23, 0, 5, 0, 9, b'x'], Packet::PubAck { topic_id: 5, msg_id: 9, code }),
            (&[4, 0x1A, 0x00, 0xff], Packet::WillTopicResp { code }),
        ]
    };
    for (request, _) in requests {
        rig.send_bytes(1, request);
        rig.expect_nothing(); // not a client
    }
    let topic = [4, 0x07, 0x00, 0xff];
    rig.send_bytes(1, &topic);
    rig.expect_nothing(); // nobody asked for it
    rig.send(1, connect_will("w", true));
    rig.expect(1, Packet::WillTopicReq);
    rig.send_bytes(1, &topic);
    rig.expect(1, Packet::ConnAck { code: ReturnCode::InvalidTopicId });
    rig.send(1, Packet::WillMsg { message: b"x" });
    rig.expect(1, Packet::Disconnect { duration: None }); // the dialogue is over
    rig.connected(1, "m", true);
    for (request, answer) in requests {
        rig.send_bytes(1, request);
        rig.expect(1, answer);
    }
    // QoS -1 is never answered, and what is not even framed is nobody's question.
    for silent in
        [&[8, 0x0C, 0x63, 0, 5, 0, 9, b'x'][..], &[9, 0x0A, 0, 0, 0, 9, 0xff], &[4, 0x12, 0, 0]]
    {
        rig.send_bytes(1, silent);
        rig.expect_nothing();
    }
}
