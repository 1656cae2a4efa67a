//! CONNECT, wills, DISCONNECT, keep-alive: rows 11 to 19 and 38, 39 of the checklist.
#![cfg(feature = "endpoint")]
#![allow(clippy::unwrap_used)]

mod rig;

use motegate_message::{Qos, Reason};
use motegate_mqtt_sn::endpoint::{Config, Event, WillChange, WillUpdate};
use motegate_mqtt_sn::{Packet, QosBits, ReturnCode, TopicId, WillTopic};
use rig::*;

const WILL: WillTopic<'static> = WillTopic { qos: QosBits::One, retain: true, topic: "w/t" };
const WILLTOPIC: Packet<'static> = Packet::WillTopic { will: Some(WILL) };
const NO_WILLTOPIC: Packet<'static> = Packet::WillTopic { will: None };
const WILLMSG: Packet<'static> = Packet::WillMsg { message: b"bye" };

/// The topic and payload of the will that the latest CONNECT set.
fn set_will(rig: &Rig) -> Option<(String, Vec<u8>, Qos, bool)> {
    let WillChange::Set(will) = rig.last_will() else { panic!("will kept") };
    let message = &will.as_ref()?.message;
    let topic = message.topic.as_str().to_owned();
    Some((topic, message.payload.to_vec(), message.qos, message.retain))
}

#[test]
fn row_11_without_will_connack_follows_at_once() {
    let mut rig = Rig::new();
    rig.connected(1, "m", true);
    assert_eq!(set_will(&rig), None);
    assert_eq!(rig.connects[0].expiry.as_secs(), 0);
}

#[test]
fn row_11_the_will_dialogue() {
    let mut rig = Rig::new();
    rig.send(1, connect_will("m", false));
    rig.expect(1, Packet::WillTopicReq);
    rig.send(1, WILLTOPIC);
    rig.expect(1, Packet::WillMsgReq);
    assert!(rig.connects.is_empty());
    rig.send(1, WILLMSG);
    rig.expect(1, CONNACK);
    rig.expect_nothing();
    let expected = ("w/t".to_owned(), b"bye".to_vec(), Qos::AtLeastOnce, true);
    assert_eq!(set_will(&rig), Some(expected));
}

#[test]
fn row_12_every_step_of_the_dialogue_may_be_repeated() {
    let mut rig = Rig::new();
    for _ in 0..3 {
        rig.send(1, connect_will("m", true));
        rig.expect(1, Packet::WillTopicReq);
    }
    for _ in 0..3 {
        rig.send(1, WILLTOPIC);
        rig.expect(1, Packet::WillMsgReq);
    }
    // From the start once more: paho 38.
    rig.send(1, connect_will("m", true));
    rig.expect(1, Packet::WillTopicReq);
    rig.send(1, WILLMSG); // of the dialogue before: no topic yet
    rig.expect_nothing();
    rig.send(1, WILLTOPIC);
    rig.expect(1, Packet::WillMsgReq);
    rig.send(1, WILLMSG);
    rig.expect(1, CONNACK);
    // CONNACK was lost: WILLMSG again.
    rig.send(1, WILLMSG);
    rig.expect(1, CONNACK);
    rig.expect_nothing();
    assert_eq!(rig.connects.len(), 1);
}

#[test]
fn row_12_a_connect_repeated_because_connack_was_lost_is_one_connect() {
    let mut rig = Rig::new();
    rig.send(1, connect("m", true, 60));
    rig.send(1, connect("m", true, 60));
    rig.expect(1, CONNACK);
    rig.expect(1, CONNACK);
    assert_eq!(rig.connects.len(), 1);
    // After anything else it is a new one: the client has restarted.
    rig.send(1, subscribe(QosBits::Zero, 1, "a"));
    rig.expect(1, suback(QosBits::Zero, 1, 1));
    rig.send(1, connect("m", true, 60));
    rig.expect(1, CONNACK);
    rig.expect_nothing(); // in particular no DISCONNECT for the connection before
    assert_eq!(rig.connects.len(), 2);
    rig.send(1, subscribe(QosBits::Zero, 2, "b"));
    rig.expect(1, suback(QosBits::Zero, 1, 2)); // ids begin anew
}

#[test]
fn row_12_a_connect_that_waits_for_its_answer_is_one_connect() {
    let mut rig = Rig::new();
    rig.auto_commit = false;
    rig.send(1, connect("m", false, 60));
    rig.send(1, connect("m", false, 60));
    rig.expect_nothing(); // durable: CONNACK waits for the store
    rig.commit();
    rig.expect(1, CONNACK);
    rig.expect_nothing();
    assert_eq!(rig.connects.len(), 1);
}

#[test]
fn row_13_what_is_not_supported_is_refused_with_a_code() {
    let mut rig = Rig::with(Config { max_client_id_length: 64, ..Config::default() });
    let refused = Packet::ConnAck { code: ReturnCode::NotSupported };
    let mut version = connect("m", true, 60);
    if let Packet::Connect { protocol_id, .. } = &mut version {
        *protocol_id = 2;
    }
    let long = "x".repeat(65);
    for packet in [version, connect("", true, 60), connect(&long, true, 60)] {
        rig.send(1, packet);
        rig.expect(1, refused);
    }
    let longest = "x".repeat(64); // row 6: more than 23 is accepted
    rig.send(1, connect(&longest, true, 60));
    rig.expect(1, CONNACK);
    let reasons = [Reason::UnsupportedVersion, Reason::BadClientId, Reason::BadClientId];
    assert_eq!(rig.dropped, reasons);
    assert_eq!(rig.endpoint.client_count(), 1);
}

#[test]
fn row_13_row_47_too_many_clients_are_congestion() {
    let mut rig = Rig::with(Config { max_clients: 1, ..Config::default() });
    rig.connected(1, "a", true);
    rig.send(2, connect("b", true, 60));
    rig.expect(2, Packet::ConnAck { code: ReturnCode::Congestion });
    rig.send(1, GOODBYE);
    rig.expect(1, GOODBYE);
    rig.connected(2, "b", true);
}

#[test]
fn row_14_clean_session_and_will_are_four_cases() {
    let mut rig = Rig::new();
    let dialogue = |rig: &mut Rig, clean| {
        for packet in
            [connect_will("m", clean), WILLTOPIC, WILLMSG, Packet::PingReq { client_id: None }]
        {
            rig.send(1, packet);
        }
        rig.lose();
    };
    dialogue(&mut rig, false);
    assert!(set_will(&rig).is_some());
    rig.send(1, connect("m", false, 30));
    assert_eq!(*rig.last_will(), WillChange::Keep);
    dialogue(&mut rig, true);
    assert!(set_will(&rig).is_some());
    rig.send(1, connect("m", true, 30));
    assert_eq!(*rig.last_will(), WillChange::Set(None));
}

#[test]
fn row_15_an_empty_willtopic_deletes_the_will_and_connack_follows() {
    let mut rig = Rig::new();
    rig.send(1, connect_will("m", false));
    rig.expect(1, Packet::WillTopicReq);
    rig.send(1, NO_WILLTOPIC);
    rig.expect(1, CONNACK);
    rig.expect_nothing();
    assert_eq!(set_will(&rig), None);
}

#[test]
fn a_will_that_cannot_be_is_refused() {
    let mut rig = Rig::new();
    for (qos, topic, code) in [
        (QosBits::Zero, "w/#", ReturnCode::InvalidTopicId),
        (QosBits::MinusOne, "w", ReturnCode::NotSupported),
    ] {
        rig.send(1, connect_will("m", true));
        rig.expect(1, Packet::WillTopicReq);
        rig.send(1, Packet::WillTopic { will: Some(WillTopic { qos, retain: false, topic }) });
        rig.expect(1, Packet::ConnAck { code });
        assert_eq!(rig.endpoint.client_count(), 0);
    }
}

/// §6.2: a client whose CONNECT is refused is not connected: what it had ends, as it does where CONNECT is
/// accepted, and its session is neither begun anew nor kept longer.
#[test]
fn a_refused_dialogue_ends_the_connection_before_it() {
    let bad = WillTopic { qos: QosBits::Zero, retain: false, topic: "w/#" };
    for (id, ended) in [
        ("m", (Reason::TakenOver, true)),
        // Another client at the address of the one before.
        ("other", (Reason::ConnectionLost, false)),
    ] {
        let mut rig = Rig::new();
        rig.connected(1, "m", false);
        rig.send(1, connect_will(id, true));
        rig.expect(1, Packet::WillTopicReq);
        rig.send(1, Packet::WillTopic { will: Some(bad) });
        rig.expect(1, Packet::ConnAck { code: ReturnCode::InvalidTopicId });
        assert_eq!(rig.disconnected, [ended]);
        assert_eq!((rig.connects.len(), rig.endpoint.client_count()), (1, 0));
        rig.send(1, Packet::PingReq { client_id: None });
        rig.expect(1, Packet::Disconnect { duration: None });
        rig.restart();
        assert_eq!(rig.endpoint.client_count(), 0, "nor is it served after a restart");
    }
}

#[test]
fn row_16_will_updates_are_independent_and_acknowledged() {
    let mut rig = Rig::new();
    rig.connected(1, "m", false);
    rig.send(1, Packet::WillTopicUpd { will: Some(WILL) });
    rig.expect(1, Packet::WillTopicResp { code: OK });
    rig.send(1, Packet::WillMsgUpd { message: b"new" });
    rig.expect(1, Packet::WillMsgResp { code: OK });
    rig.send(1, Packet::WillTopicUpd { will: None });
    rig.expect(1, Packet::WillTopicResp { code: OK });
    let changes: Vec<_> = rig
        .wills
        .iter()
        .map(|event| match event {
            Event::UpdateWill { change, .. } => change,
            other => panic!("{other:?}"),
        })
        .collect();
    assert!(matches!(changes[0], WillUpdate::Topic { qos: Qos::AtLeastOnce, retain: true, .. }));
    assert!(matches!(changes[1], WillUpdate::Payload(payload) if payload == "new"));
    assert_eq!(*changes[2], WillUpdate::Delete);
    let bad = WillTopic { topic: "+", ..WILL };
    rig.send(1, Packet::WillTopicUpd { will: Some(bad) });
    rig.expect(1, Packet::WillTopicResp { code: ReturnCode::InvalidTopicId });
}

#[test]
fn row_17_a_new_address_with_the_same_client_id_replaces_the_old() {
    let mut rig = Rig::new();
    rig.connected(1, "m", false);
    rig.send(2, connect("m", false, 60));
    rig.expect(1, GOODBYE);
    rig.expect(2, CONNACK);
    rig.expect_nothing();
    rig.send(1, Packet::PingReq { client_id: None });
    rig.expect(1, GOODBYE); // unknown now
    rig.send(2, Packet::PingReq { client_id: None });
    rig.expect(2, Packet::PingResp);
    assert_eq!(rig.endpoint.client_count(), 1);
}

#[test]
fn another_client_at_the_same_address_ends_the_one_before() {
    let mut rig = Rig::new();
    rig.connected(1, "a", false);
    rig.send(1, connect("b", false, 60));
    rig.expect(1, CONNACK);
    rig.expect_nothing();
    assert_eq!(rig.disconnected, [(Reason::ConnectionLost, false)]);
}

#[test]
fn row_19_disconnect_is_answered_and_drops_the_will() {
    let mut rig = Rig::new();
    rig.connected(1, "m", false);
    rig.send(1, GOODBYE);
    rig.expect(1, GOODBYE);
    assert_eq!(rig.disconnected, [(Reason::ClientDisconnect, true)]);
    // emqx 4780: the answer was lost and the client asks again.
    rig.send(1, GOODBYE);
    rig.expect(1, GOODBYE);
    assert_eq!(rig.disconnected.len(), 1);
}

#[test]
fn row_38_silence_beyond_the_tolerance_is_loss_and_the_will_is_due() {
    for (keep_alive, kept, lost) in [(10, 14, 2), (60, 89, 2), (100, 109, 2)] {
        let mut rig = Rig::new();
        rig.send(1, connect("m", true, keep_alive));
        rig.advance(kept);
        rig.send(1, publish(QosBits::Zero, TopicId::Short(*b"ab"), 0, "x")); // any message counts
        rig.advance(kept);
        assert_eq!(rig.disconnected, [], "{keep_alive}");
        rig.advance(lost);
        assert_eq!(rig.disconnected, [(Reason::KeepaliveTimeout, false)], "{keep_alive}");
        assert_eq!(rig.endpoint.client_count(), 0);
    }
}

#[test]
fn row_39_ping_is_answered_and_a_keep_alive_of_zero_is_none() {
    let mut rig = Rig::new();
    rig.send(1, connect("m", true, 0));
    rig.expect(1, CONNACK);
    rig.advance(100_000);
    rig.send(1, Packet::PingReq { client_id: None });
    rig.expect(1, Packet::PingResp);
    rig.send(1, Packet::PingReq { client_id: Some("m") });
    rig.expect(1, Packet::PingResp);
    rig.expect_nothing();
}

#[test]
fn a_dialogue_that_does_not_go_on_is_forgotten() {
    let mut rig = Rig::new();
    rig.send(1, connect_will("m", true));
    rig.expect(1, Packet::WillTopicReq);
    rig.advance(51);
    assert_eq!(rig.endpoint.client_count(), 0);
    assert_eq!(rig.dropped, [Reason::ConnectTimeout]);
    rig.expect_nothing();
}

#[test]
fn a_client_that_leaves_while_it_is_being_opened_leaves_no_session_open() {
    let mut rig = Rig::new();
    rig.auto_answer = false;
    rig.send(1, connect("m", true, 60));
    rig.send(1, GOODBYE);
    rig.expect(1, GOODBYE);
    let Some(Event::Connect(connect)) = rig.questions.pop() else { panic!() };
    let turn = rig.turn();
    rig.on_connect(&turn, *connect);
    rig.settle();
    rig.expect_nothing();
    assert_eq!(rig.disconnected, [(Reason::ConnectionLost, true)]);
}

#[test]
fn a_connect_from_the_same_address_ends_the_connection_before_without_its_will() {
    let mut rig = Rig::new();
    rig.connected(1, "m", false);
    rig.send(1, Packet::PingReq { client_id: None });
    rig.expect(1, Packet::PingResp);
    rig.auto_answer = false;
    rig.send(1, connect("m", false, 60));
    assert_eq!(rig.disconnected, [(Reason::TakenOver, true)]);
    let Some(Event::Connect(connect)) = rig.questions.pop() else { panic!() };
    let turn = rig.turn();
    rig.endpoint.refuse(&turn, connect.client, Reason::AuthFailed);
    rig.settle();
    rig.expect(1, Packet::ConnAck { code: ReturnCode::NotSupported });
    assert_eq!(rig.endpoint.client_count(), 0);
    // A refused client is not served after a restart either.
    rig.restart();
    assert_eq!(rig.endpoint.client_count(), 0);
}

/// §6.2: who begins dialogues and never goes on keeps nobody out, with a will or without.
#[test]
fn the_oldest_dialogue_makes_room_for_a_younger_one() {
    let mut rig = Rig::with(Config { max_clients: 2_000, ..Config::default() });
    let most = u16::try_from(rig.endpoint.max_dialogues()).unwrap();
    rig.connected(1, "active", true);
    for port in 2..most + 2 {
        rig.send(port, connect_will("m", true));
    }
    assert_eq!(rig.lose(), usize::from(most));
    for port in [60_000, 60_001] {
        rig.send(port, connect_will("late", true));
        rig.expect(port, Packet::WillTopicReq);
    }
    assert_eq!(rig.dropped, [Reason::HalfOpen; 2]);
    assert_eq!(
        (rig.endpoint.connecting_count(), rig.endpoint.dialogues_given_up()),
        (most.into(), 2)
    );
    rig.connected(60_002, "without", true);
    // The first two are gone, the third goes on, and an active client was none of them.
    let will = Some(WillTopic { qos: QosBits::Zero, retain: false, topic: "w" });
    let will = Packet::WillTopic { will };
    rig.send(4, will);
    rig.expect(4, Packet::WillMsgReq);
    rig.send(1, Packet::PingReq { client_id: None });
    rig.expect(1, Packet::PingResp);
    rig.send(2, will);
    rig.expect(2, GOODBYE);
}
