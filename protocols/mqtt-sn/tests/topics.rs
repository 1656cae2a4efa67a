//! REGISTER, SUBSCRIBE, UNSUBSCRIBE: rows 20, 21, 26, 28, 33 to 36 of the checklist.
#![cfg(feature = "endpoint")]

mod rig;

use motegate_message::{Reason, Seq};
use motegate_mqtt_sn::endpoint::{Config, Event};
use motegate_mqtt_sn::{Packet, QosBits, ReturnCode, TopicId, TopicRef};
use rig::*;

fn register(msg_id: u16, name: &str) -> Packet<'_> {
    Packet::Register { topic_id: 0, msg_id, name }
}

fn regack(topic_id: u16, msg_id: u16, code: ReturnCode) -> Packet<'static> {
    Packet::RegAck { topic_id, msg_id, code }
}

#[test]
fn row_20_the_same_name_has_the_same_id() {
    let mut rig = Rig::new();
    rig.connected(1, "m", true);
    for (msg_id, name, id) in [(1, "a/b", 1), (2, "c", 2), (3, "a/b", 1), (3, "a/b", 1)] {
        rig.send(1, register(msg_id, name));
        rig.expect(1, regack(id, msg_id, OK)); // emqx-sn 12: never id 0
    }
    rig.send(1, subscribe(QosBits::Zero, 4, "a/b"));
    rig.expect(1, suback(QosBits::Zero, 1, 4));
    rig.expect_nothing();
}

#[test]
fn row_20_what_is_no_name_or_not_allowed_is_refused() {
    let mut rig = Rig::new();
    rig.connected(1, "m", true);
    rig.send(1, register(1, "a/+"));
    rig.expect(1, regack(0, 1, ReturnCode::InvalidTopicId));
    rig.send(1, register(2, ""));
    rig.expect(1, regack(0, 2, ReturnCode::InvalidTopicId));
    rig.send(1, register(3, "deny/this"));
    rig.expect(1, regack(0, 3, ReturnCode::NotSupported));
    rig.send(1, register(4, "fine"));
    rig.expect(1, regack(1, 4, OK));
    assert_eq!(rig.dropped, [Reason::BadTopic, Reason::BadTopic, Reason::AclDeny]);
}

#[test]
fn row_21_ids_are_per_client() {
    let mut rig = Rig::new();
    rig.connected(1, "a", true);
    rig.connected(2, "b", true);
    rig.send(1, register(1, "x"));
    rig.expect(1, regack(1, 1, OK));
    rig.send(2, register(1, "y"));
    rig.expect(2, regack(1, 1, OK));
    rig.send(1, publish(QosBits::Zero, TopicId::Normal(1), 0, "from a"));
    rig.send(2, publish(QosBits::Zero, TopicId::Normal(1), 0, "from b"));
    assert_eq!(rig.published, [("x".into(), "from a".into()), ("y".into(), "from b".into())]);
}

#[test]
fn row_47_too_many_topics_are_congestion() {
    let mut rig = Rig::with(Config { max_topics_per_client: 1, ..Config::default() });
    rig.connected(1, "m", true);
    rig.send(1, register(1, "a"));
    rig.expect(1, regack(1, 1, OK));
    rig.send(1, register(2, "b"));
    rig.expect(1, regack(0, 2, ReturnCode::Congestion));
    rig.send(1, subscribe(QosBits::Zero, 3, "c"));
    let code = ReturnCode::Congestion;
    rig.expect(1, Packet::SubAck { qos: QosBits::Zero, topic_id: 0, msg_id: 3, code });
    rig.send(1, subscribe(QosBits::Zero, 4, "+")); // needs no id
    rig.expect(1, suback(QosBits::Zero, 0, 4));
}

#[test]
fn row_28_a_persistent_connect_keeps_ids_and_a_clean_one_clears_them() {
    let mut rig = Rig::new();
    rig.connected(1, "m", false);
    rig.send(1, register(1, "a"));
    rig.send(1, register(2, "b"));
    rig.lose();
    rig.connected(1, "m", false);
    rig.send(1, publish(QosBits::Zero, TopicId::Normal(2), 0, "x"));
    assert_eq!(rig.published, [("b".into(), "x".into())]);
    rig.send(1, register(3, "b"));
    rig.expect(1, regack(2, 3, OK));
    rig.connected(1, "m", true);
    rig.send(1, publish(QosBits::Zero, TopicId::Normal(2), 0, "x"));
    rig.expect(1, puback(2, 0, ReturnCode::InvalidTopicId));
}

#[test]
fn row_33_suback_has_the_id_or_zero() {
    let mut rig = Rig::new();
    rig.connected(1, "m", true);
    let of = |topic, msg_id| Packet::Subscribe { dup: false, qos: QosBits::One, msg_id, topic };
    rig.send(1, of(TopicRef::Name("a/b"), 1));
    rig.expect(1, suback(QosBits::One, 1, 1));
    rig.send(1, of(TopicRef::Name("a/#"), 2));
    rig.expect(1, suback(QosBits::One, 0, 2));
    rig.send(1, of(TopicRef::Predefined(2), 3));
    rig.expect(1, suback(QosBits::One, 2, 3));
    rig.send(1, of(TopicRef::Short(*b"ab"), 4));
    rig.expect(1, suback(QosBits::One, 0, 4));
}

#[test]
fn row_34_a_predefined_id_that_nobody_defined_is_invalid() {
    let mut rig = Rig::new();
    rig.connected(1, "m", true);
    for id in [9, 0, 0xffff] {
        let topic = TopicRef::Predefined(id);
        rig.send(1, Packet::Subscribe { dup: false, qos: QosBits::One, msg_id: 1, topic });
        let code = ReturnCode::InvalidTopicId;
        rig.expect(1, Packet::SubAck { qos: QosBits::Zero, topic_id: id, msg_id: 1, code });
    }
}

#[test]
fn filters_that_are_none_are_invalid_and_qos_minus_one_is_not_supported() {
    let mut rig = Rig::new();
    rig.connected(1, "m", true);
    let refused = |msg_id, code| Packet::SubAck { qos: QosBits::Zero, topic_id: 0, msg_id, code };
    rig.send(1, subscribe(QosBits::Zero, 1, "a/#/b"));
    rig.expect(1, refused(1, ReturnCode::InvalidTopicId));
    rig.send(1, subscribe(QosBits::MinusOne, 2, "a"));
    rig.expect(1, refused(2, ReturnCode::NotSupported));
}

#[test]
fn row_35_a_repeated_subscribe_gets_its_suback_again_and_is_one_subscription() {
    let mut rig = Rig::new();
    rig.connected(1, "m", true);
    let packet = subscribe(QosBits::One, 7, "a");
    for packet in [packet, again(packet), again(packet)] {
        rig.send(1, packet);
        rig.expect(1, suback(QosBits::One, 1, 7));
    }
    let asked = rig.log.iter().filter(|event| event.starts_with("Subscribe")).count();
    assert_eq!(asked, 1);
    // With DUP but after an UNSUBSCRIBE it is a new one.
    rig.send(1, Packet::Unsubscribe { msg_id: 8, topic: TopicRef::Name("a") });
    rig.expect(1, Packet::UnsubAck { msg_id: 8 });
    rig.send(1, again(packet));
    rig.expect(1, suback(QosBits::One, 1, 7));
    assert_eq!(rig.log.iter().filter(|event| event.starts_with("Subscribe")).count(), 2);
}

#[test]
fn row_36_unsubscribe_always_has_an_unsuback() {
    let mut rig = Rig::new();
    rig.connected(1, "m", true);
    let topics = [
        TopicRef::Name("never"),
        TopicRef::Name("a/#/b"),
        TopicRef::Predefined(9),
        TopicRef::Short(*b"ab"),
    ];
    for (topic, msg_id) in topics.into_iter().zip(1..) {
        rig.send(1, Packet::Unsubscribe { msg_id, topic });
        rig.expect(1, Packet::UnsubAck { msg_id });
    }
}

#[test]
fn row_36_the_copy_of_an_unsubscribe_is_not_answered_before_the_unsubscribe() {
    // What UNSUBACK says must survive a crash; the second finds nothing that it would wait for.
    let mut rig = Rig::new();
    rig.connected(1, "m", false);
    (rig.auto_commit, rig.auto_answer) = (false, false);
    let unsubscribe = Packet::Unsubscribe { msg_id: 2, topic: TopicRef::Name("a") };
    rig.send(1, unsubscribe);
    rig.send(1, unsubscribe);
    let turn = rig.turn();
    for (question, after) in
        std::mem::take(&mut rig.questions).into_iter().zip([turn.seq, Seq::NONE])
    {
        let Event::Unsubscribe { ticket, .. } = question else { panic!("{question:?}") };
        rig.endpoint.unsubscribed(&turn, ticket, after);
    }
    rig.settle();
    rig.expect_nothing();
    rig.commit();
    rig.expect(1, Packet::UnsubAck { msg_id: 2 });
    rig.expect(1, Packet::UnsubAck { msg_id: 2 });
    rig.expect_nothing();
}

/// §6.9: what is acknowledged is remembered; beyond that it is refused, also at the next CONNECT.
#[test]
fn subscriptions_beyond_the_bound_are_refused_and_the_others_stay() {
    let mut rig = Rig::with(Config { max_topics_per_client: 3, ..Config::default() });
    rig.connected(1, "m", false);
    for (msg_id, name) in [(1, "a/+"), (2, "b/+"), (3, "c/+"), (2, "b/+")] {
        rig.send(1, subscribe(QosBits::One, msg_id, name));
        rig.expect(1, suback(QosBits::One, 0, msg_id));
    }
    rig.send(1, subscribe(QosBits::One, 4, "d/+"));
    let refused = ReturnCode::Congestion;
    rig.expect(1, Packet::SubAck { qos: QosBits::Zero, topic_id: 0, msg_id: 4, code: refused });
    assert_eq!(
        (rig.dropped.last(), rig.endpoint.topics_refused()),
        (Some(&Reason::QuotaExceeded), 1)
    );
    rig.send(1, Packet::Unsubscribe { msg_id: 5, topic: TopicRef::Name("a/+") });
    rig.expect(1, Packet::UnsubAck { msg_id: 5 });
    rig.send(1, subscribe(QosBits::One, 6, "d/+"));
    rig.expect(1, suback(QosBits::One, 0, 6));
}
