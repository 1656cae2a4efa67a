//! PUBLISH from clients: rows 7, 25, 26, 29 to 32 of the checklist, losses and repeats.
#![cfg(feature = "endpoint")]

mod rig;

use motegate_message::Reason;
use motegate_mqtt_sn::{Packet, QosBits, ReturnCode, TopicId};
use rig::*;

const AB: TopicId = TopicId::Short(*b"ab");
const AB_RAW: u16 = 0x6162;

fn texts(rig: &Rig) -> Vec<&str> {
    rig.published.iter().map(|(_, payload)| payload.as_str()).collect()
}

#[test]
fn row_25_an_unknown_id_is_invalid_at_any_qos() {
    let mut rig = Rig::new();
    rig.connected(1, "m", true);
    for (qos, msg_id) in [(QosBits::Zero, 0), (QosBits::One, 1), (QosBits::Two, 2)] {
        for topic in [
            TopicId::Normal(5),
            TopicId::Predefined(9),
            TopicId::Normal(0),
            TopicId::Predefined(0xffff),
        ] {
            rig.send(1, publish(qos, topic, msg_id, "x"));
            rig.expect(1, puback(topic.raw(), msg_id, ReturnCode::InvalidTopicId));
        }
    }
    rig.expect_nothing();
    assert!(rig.published.is_empty());
}

#[test]
fn row_26_short_and_predefined_topics_need_no_registration() {
    let mut rig = Rig::new();
    rig.connected(1, "m", true);
    rig.send(1, publish(QosBits::Zero, AB, 0, "short"));
    rig.send(1, publish(QosBits::Zero, TopicId::Predefined(2), 77, "pre")); // row 7: tolerated
    rig.expect_nothing();
    assert_eq!(rig.published, [("ab".into(), "short".into()), ("#2".into(), "pre".into())]);
}

#[test]
fn row_29_row_30_qos_1_is_acknowledged_with_its_ids() {
    let mut rig = Rig::new();
    rig.connected(1, "m", true);
    rig.send(1, publish(QosBits::One, AB, 0x0102, "x"));
    rig.expect(1, puback(AB_RAW, 0x0102, OK));
    rig.expect_nothing();
}

#[test]
fn row_29_a_repeat_whose_puback_was_lost_is_acknowledged_and_not_published_again() {
    let mut rig = Rig::new();
    rig.connected(1, "m", true);
    let packet = publish(QosBits::One, AB, 1, "x");
    rig.send(1, packet);
    assert_eq!(rig.lose(), 1);
    rig.advance(10);
    rig.send(1, again(packet));
    rig.expect(1, puback(AB_RAW, 1, OK));
    assert_eq!(texts(&rig), ["x"]);
    // Without DUP the same content is a new message, and so is other content with DUP.
    rig.send(1, packet);
    rig.send(1, again(publish(QosBits::One, AB, 1, "y")));
    rig.lose();
    assert_eq!(texts(&rig), ["x", "x", "y"]);
    // Long after, a message id is just a number.
    rig.advance(85);
    rig.send(1, again(publish(QosBits::One, AB, 1, "y")));
    assert_eq!(texts(&rig), ["x", "x", "y", "y"]);
}

#[test]
fn row_29_qos_2_is_published_once_however_often_it_is_repeated() {
    let mut rig = Rig::new();
    rig.connected(1, "m", true);
    let packet = publish(QosBits::Two, AB, 9, "x");
    for packet in [packet, again(packet), packet] {
        rig.send(1, packet);
        rig.expect(1, Packet::PubRec { msg_id: 9 });
    }
    for _ in 0..2 {
        rig.send(1, Packet::PubRel { msg_id: 9 });
        rig.expect(1, Packet::PubComp { msg_id: 9 });
    }
    rig.expect_nothing();
    assert_eq!(texts(&rig), ["x"]);
    // Released: the number is free for other contents at once.
    rig.send(1, publish(QosBits::Two, AB, 9, "y"));
    rig.expect(1, Packet::PubRec { msg_id: 9 });
    assert_eq!(texts(&rig), ["x", "y"]);
}

/// UDP delivers late and twice: a copy of a PUBLISH that comes behind its PUBREL is no message.
#[test]
fn row_29_a_late_copy_at_qos_2_is_answered_and_not_published() {
    let mut rig = Rig::new();
    rig.connected(1, "m", true);
    for msg_id in 1..=3 {
        rig.send(1, publish(QosBits::Two, AB, msg_id, "x"));
        rig.expect(1, Packet::PubRec { msg_id });
        rig.send(1, Packet::PubRel { msg_id });
        rig.expect(1, Packet::PubComp { msg_id });
    }
    assert_eq!(texts(&rig), ["x", "x", "x"]);
    rig.advance(4);
    for msg_id in [1, 3] {
        rig.send(1, publish(QosBits::Two, AB, msg_id, "x"));
        rig.expect(1, Packet::PubRec { msg_id });
        rig.send(1, Packet::PubRel { msg_id });
        rig.expect(1, Packet::PubComp { msg_id });
    }
    assert_eq!(texts(&rig), ["x", "x", "x"]);
    // No copy is under way for so long.
    rig.advance(2);
    rig.send(1, publish(QosBits::Two, AB, 1, "x"));
    rig.expect(1, Packet::PubRec { msg_id: 1 });
    assert_eq!(texts(&rig), ["x", "x", "x", "x"]);
}

/// A device that starts anew may begin with the message id and the contents of a moment ago.
#[test]
fn row_29_after_connect_a_message_id_is_new() {
    let mut rig = Rig::new();
    for _ in 0..2 {
        rig.connected(1, "m", false);
        rig.send(1, publish(QosBits::Two, AB, 1, "x"));
        rig.expect(1, Packet::PubRec { msg_id: 1 });
        rig.send(1, Packet::PubRel { msg_id: 1 });
        rig.expect(1, Packet::PubComp { msg_id: 1 });
    }
    assert_eq!(texts(&rig), ["x", "x"]);
}

#[test]
fn qos_2_survives_a_reconnect_but_not_other_contents() {
    let mut rig = Rig::new();
    rig.connected(1, "m", false);
    rig.send(1, publish(QosBits::Two, AB, 9, "x"));
    rig.lose();
    rig.connected(1, "m", false);
    rig.send(1, again(publish(QosBits::Two, AB, 9, "x")));
    rig.expect(1, Packet::PubRec { msg_id: 9 });
    assert_eq!(texts(&rig), ["x"]);
    // The client gave that exchange up and counts anew.
    rig.send(1, publish(QosBits::Two, AB, 9, "y"));
    rig.expect(1, Packet::PubRec { msg_id: 9 });
    assert_eq!(texts(&rig), ["x", "y"]);
}

#[test]
fn row_30_row_47_refusals_are_codes_and_a_repeat_is_a_new_attempt() {
    let mut rig = Rig::new();
    rig.connected(1, "m", true);
    for name in ["deny", "busy"] {
        rig.send(1, Packet::Register { topic_id: 0, msg_id: 1, name });
    }
    // "deny" was refused at REGISTER, so "busy" is 1.
    rig.lose();
    for qos in [QosBits::One, QosBits::Two] {
        for _ in 0..2 {
            rig.send(1, publish(qos, TopicId::Normal(1), 5, "x"));
            rig.expect(1, puback(1, 5, ReturnCode::Congestion));
        }
    }
    rig.expect_nothing();
}

#[test]
fn row_31_qos_minus_one_is_taken_from_anybody_and_never_answered() {
    let mut rig = Rig::new();
    rig.send(9, publish(QosBits::MinusOne, AB, 0, "stranger"));
    rig.connected(1, "m", true);
    rig.send(1, publish(QosBits::MinusOne, TopicId::Predefined(1), 0, "active"));
    rig.asleep(1, 100);
    rig.send(1, publish(QosBits::MinusOne, TopicId::Predefined(1), 0, "asleep"));
    // paho 263: unknown ids are nobody's end.
    rig.send(9, publish(QosBits::MinusOne, TopicId::Normal(1), 0, "normal"));
    rig.send(9, publish(QosBits::MinusOne, TopicId::Predefined(77), 0, "undefined"));
    rig.expect_nothing();
    assert_eq!(texts(&rig), ["stranger", "active", "asleep"]);
    assert_eq!(rig.dropped, [Reason::SnUnknownTopicId]);
}

#[test]
fn row_32_retain_is_passed_on() {
    let mut rig = Rig::new();
    rig.connected(1, "m", true);
    for retain in [true, false] {
        let qos = QosBits::Zero;
        rig.send(1, Packet::Publish { dup: false, qos, retain, topic: AB, msg_id: 0, data: b"" });
        let published = rig.log.iter().rfind(|event| event.starts_with("Publish")).unwrap();
        assert!(published.contains(&format!("retain: {retain}")), "{published}");
    }
}

#[test]
fn acknowledgements_wait_for_the_store() {
    let mut rig = Rig::new();
    rig.connected(1, "m", false);
    rig.auto_commit = false;
    rig.send(1, publish(QosBits::One, AB, 1, "x"));
    rig.send(1, publish(QosBits::One, AB, 1, "x")); // a repeat meanwhile, DUP forgotten
    rig.send(1, publish(QosBits::Two, AB, 2, "y"));
    rig.send(1, Packet::Register { topic_id: 0, msg_id: 3, name: "n" });
    rig.send(1, subscribe(QosBits::Zero, 4, "s"));
    rig.expect_nothing();
    rig.commit();
    rig.expect(1, puback(AB_RAW, 1, OK));
    rig.expect(1, puback(AB_RAW, 1, OK));
    rig.expect(1, Packet::PubRec { msg_id: 2 });
    rig.expect(1, Packet::RegAck { topic_id: 1, msg_id: 3, code: OK });
    rig.expect(1, suback(QosBits::Zero, 2, 4));
    assert_eq!(texts(&rig), ["x", "y"]);
    rig.send(1, Packet::PubRel { msg_id: 2 });
    rig.expect_nothing();
    rig.commit();
    rig.expect(1, Packet::PubComp { msg_id: 2 });
}

#[test]
fn a_client_that_asks_too_much_at_once_is_told_to_wait() {
    let mut rig = Rig::new();
    rig.connected(1, "m", true);
    rig.auto_answer = false;
    for msg_id in 1..=16 {
        rig.send(1, publish(QosBits::One, AB, msg_id, "x"));
    }
    rig.expect_nothing();
    rig.send(1, publish(QosBits::One, AB, 17, "x"));
    rig.expect(1, puback(AB_RAW, 17, ReturnCode::Congestion));
}

#[test]
fn a_sleeper_may_publish_and_stays_asleep() {
    let mut rig = Rig::new();
    rig.connected(1, "m", true);
    rig.asleep(1, 100);
    rig.send(1, publish(QosBits::One, AB, 1, "x"));
    rig.expect(1, puback(AB_RAW, 1, OK));
    rig.deliver("m", "ab", motegate_message::Qos::AtMostOnce, "kept");
    rig.expect_nothing();
}

#[cfg(feature = "planted-faults")]
#[test]
fn the_planted_fault_publishes_repeats() {
    use motegate_mqtt_sn::endpoint::{Config, Faults};
    let faults = Faults { no_duplicate_check: true, early_pingresp: false };
    let mut rig = Rig::with(Config { faults, ..Config::default() });
    rig.connected(1, "m", true);
    for qos in [QosBits::One, QosBits::Two] {
        let packet = publish(qos, AB, 1, "x");
        rig.send(1, packet);
        rig.send(1, again(packet));
    }
    assert_eq!(texts(&rig), ["x"; 4]);
}

/// §6.6, row 47: exchanges that a device left open before it started anew block nothing; those of
/// its connection are refused beyond eight at once.
#[test]
fn exchanges_of_an_earlier_connection_make_room() {
    let mut rig = Rig::new();
    for msg_id in 1..=20 {
        rig.connected(1, "m", false);
        rig.send(1, publish(QosBits::Two, AB, msg_id, "x"));
        rig.expect(1, Packet::PubRec { msg_id });
        rig.restart();
    }
    rig.connected(1, "m", false);
    for msg_id in 21..=28 {
        rig.send(1, publish(QosBits::Two, AB, msg_id, "x"));
        rig.expect(1, Packet::PubRec { msg_id });
    }
    rig.send(1, publish(QosBits::Two, AB, 29, "x"));
    rig.expect(1, puback(AB.raw(), 29, ReturnCode::Congestion));
    rig.send(1, Packet::PubRel { msg_id: 28 });
    rig.expect(1, Packet::PubComp { msg_id: 28 });
    rig.send(1, publish(QosBits::Two, AB, 29, "x"));
    rig.expect(1, Packet::PubRec { msg_id: 29 });
}
