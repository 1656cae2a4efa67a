//! PUBLISH to clients: rows 22 to 24, 27, 37 of the checklist, losses and repeats.
#![cfg(feature = "endpoint")]
#![allow(clippy::unwrap_used)]

mod rig;

use motegate_message::{DeliveryId, Qos, Reason};
use motegate_mqtt_sn::endpoint::{Config, Event};
use motegate_mqtt_sn::{Packet, QosBits, ReturnCode, TopicId, TopicRef};
use rig::*;

fn register(topic_id: u16, msg_id: u16, name: &str) -> Packet<'_> {
    Packet::Register { topic_id, msg_id, name }
}

fn regack(topic_id: u16, msg_id: u16, code: ReturnCode) -> Packet<'static> {
    Packet::RegAck { topic_id, msg_id, code }
}

/// A client subscribed to everything.
fn subscribed(clean: bool) -> Rig {
    let mut rig = Rig::new();
    rig.connected(1, "m", clean);
    rig.send(1, subscribe(QosBits::Two, 1, "#"));
    rig.expect(1, suback(QosBits::Two, 0, 1));
    rig
}

#[test]
fn row_22_register_precedes_the_first_publish_of_a_wildcard_match() {
    let mut rig = subscribed(true);
    rig.deliver("m", "a/b", Qos::AtMostOnce, "x");
    rig.expect(1, register(1, 1, "a/b"));
    rig.expect_nothing();
    rig.send(1, regack(1, 1, OK));
    rig.expect(1, publish(QosBits::Zero, TopicId::Normal(1), 0, "x"));
    rig.deliver("m", "a/b", Qos::AtMostOnce, "y");
    rig.expect(1, publish(QosBits::Zero, TopicId::Normal(1), 0, "y"));
    rig.expect_nothing();
}

#[test]
fn row_22_one_register_is_in_flight_and_order_is_kept_across_topics() {
    let mut rig = subscribed(true);
    rig.deliver("m", "a", Qos::AtMostOnce, "1");
    rig.deliver("m", "b", Qos::AtMostOnce, "2");
    rig.deliver("m", "a", Qos::AtMostOnce, "3");
    rig.expect(1, register(1, 1, "a"));
    rig.expect_nothing();
    rig.send(1, regack(1, 1, OK));
    rig.expect(1, publish(QosBits::Zero, TopicId::Normal(1), 0, "1"));
    rig.expect(1, register(2, 2, "b"));
    rig.expect_nothing();
    rig.send(1, regack(2, 2, OK));
    rig.expect(1, publish(QosBits::Zero, TopicId::Normal(2), 0, "2"));
    rig.expect(1, publish(QosBits::Zero, TopicId::Normal(1), 0, "3"));
}

#[test]
fn row_22_an_id_that_the_client_has_needs_no_register() {
    let mut rig = Rig::new();
    rig.connected(1, "m", true);
    rig.send(1, subscribe(QosBits::Zero, 1, "a"));
    rig.expect(1, suback(QosBits::Zero, 1, 1));
    rig.send(1, register(0, 2, "b"));
    rig.expect(1, regack(2, 2, OK));
    for (name, id) in [("a", 1), ("b", 2)] {
        rig.deliver("m", name, Qos::AtMostOnce, "x");
        rig.expect(1, publish(QosBits::Zero, TopicId::Normal(id), 0, "x"));
    }
}

#[test]
fn row_28_after_a_resume_register_comes_again_unless_the_client_used_the_id() {
    let mut rig = subscribed(false);
    for (name, id) in [("a", 1), ("b", 2)] {
        rig.send(1, register(0, 1, name));
        rig.expect(1, regack(id, 1, OK));
    }
    rig.connected(1, "m", false);
    rig.send(1, publish(QosBits::Zero, TopicId::Normal(2), 0, "used"));
    rig.deliver("m", "b", Qos::AtMostOnce, "x");
    rig.expect(1, publish(QosBits::Zero, TopicId::Normal(2), 0, "x"));
    rig.deliver("m", "a", Qos::AtMostOnce, "x");
    rig.expect(1, register(1, 1, "a"));
}

#[test]
fn row_23_a_refused_register_unsubscribes_that_name_only() {
    let mut rig = subscribed(true);
    rig.deliver("m", "a", Qos::AtLeastOnce, "1");
    rig.expect(1, register(1, 1, "a"));
    rig.send(1, regack(1, 1, ReturnCode::NotSupported));
    rig.expect_nothing();
    rig.deliver("m", "a", Qos::AtLeastOnce, "2");
    rig.expect_nothing();
    assert_eq!(rig.acked, [DeliveryId(1), DeliveryId(2)]);
    assert_eq!(rig.dropped, [Reason::SnRegisterRefused; 2]);
    rig.deliver("m", "b", Qos::AtMostOnce, "3");
    rig.expect(1, register(2, 2, "b"));
    rig.send(1, regack(2, 2, OK));
    rig.lose();
    // Asked for again.
    rig.send(1, subscribe(QosBits::One, 5, "a"));
    rig.expect(1, suback(QosBits::One, 1, 5));
    rig.deliver("m", "a", Qos::AtLeastOnce, "4");
    rig.expect(1, publish(QosBits::One, TopicId::Normal(1), 3, "4"));
}

#[test]
fn row_24_an_id_that_the_client_has_forgotten_is_registered_again() {
    let mut rig = Rig::new();
    rig.connected(1, "m", true);
    rig.send(1, subscribe(QosBits::One, 1, "a"));
    rig.lose();
    for qos in [Qos::AtLeastOnce, Qos::ExactlyOnce] {
        rig.deliver("m", "a", qos, "x");
        let (_, bytes) = rig.inbox.pop_front().unwrap();
        let Packet::Publish { msg_id, .. } = Packet::decode(&bytes).unwrap() else { panic!() };
        rig.send(1, puback(1, msg_id, ReturnCode::InvalidTopicId));
        let (_, bytes) = rig.inbox.pop_front().unwrap();
        let Packet::Register { topic_id: 1, msg_id, name: "a" } = Packet::decode(&bytes).unwrap()
        else {
            panic!()
        };
        rig.send(1, regack(1, msg_id, OK));
        let (_, bytes) = rig.inbox.pop_front().unwrap();
        let Packet::Publish { topic, msg_id, data: b"x", .. } = Packet::decode(&bytes).unwrap()
        else {
            panic!()
        };
        assert_eq!(topic, TopicId::Normal(1));
        match qos {
            Qos::ExactlyOnce => {
                rig.send(1, Packet::PubRec { msg_id });
                rig.expect(1, Packet::PubRel { msg_id });
                rig.send(1, Packet::PubComp { msg_id });
            }
            _ => rig.send(1, puback(1, msg_id, OK)),
        }
        rig.expect_nothing();
    }
    assert_eq!(rig.acked, [DeliveryId(1), DeliveryId(2)]);
    // At QoS 0 the message is gone, but the next one is registered first.
    rig.deliver("m", "a", Qos::AtMostOnce, "x");
    rig.lose();
    rig.send(1, puback(1, 0, ReturnCode::InvalidTopicId));
    rig.deliver("m", "a", Qos::AtMostOnce, "y");
    rig.expect(1, register(1, 6, "a"));
}

#[test]
fn row_24_a_client_that_never_learns_does_not_go_on_for_ever() {
    let mut rig = subscribed(true);
    rig.deliver("m", "a", Qos::AtLeastOnce, "x");
    let mut rounds = 0;
    while let Some((_, bytes)) = rig.inbox.pop_front() {
        rounds += 1;
        match Packet::decode(&bytes).unwrap() {
            Packet::Register { topic_id, msg_id, .. } => rig.send(1, regack(topic_id, msg_id, OK)),
            Packet::Publish { topic, msg_id, .. } => {
                rig.send(1, puback(topic.raw(), msg_id, ReturnCode::InvalidTopicId));
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(rounds, 4);
    assert_eq!(
        (&rig.acked[..], &rig.dropped[..]),
        (&[DeliveryId(1)][..], &[Reason::SnRegisterRefused][..])
    );
}

#[test]
fn row_27_what_does_not_fit_the_network_is_dropped_and_counted() {
    let mut rig = Rig::with(Config { max_datagram: 100, ..Config::default() });
    rig.connected(1, "m", true);
    rig.send(1, subscribe(QosBits::One, 1, "a"));
    rig.lose();
    rig.deliver("m", "a", Qos::AtLeastOnce, &"x".repeat(100));
    rig.deliver("m", &"t".repeat(100), Qos::AtLeastOnce, "x");
    rig.expect_nothing();
    assert_eq!(rig.acked.len(), 2);
    assert_eq!(rig.dropped, [Reason::TooLarge, Reason::SnTopicTooLong]);
}

#[test]
fn row_37_the_type_subscribed_with_is_used() {
    let mut rig = Rig::new();
    rig.names.insert("ab".into(), (Some(2), Some(*b"ab")));
    rig.connected(1, "m", true);
    let of = |topic| Packet::Subscribe { dup: false, qos: QosBits::Zero, msg_id: 1, topic };
    let alternatives = [
        (TopicRef::Short(*b"ab"), TopicId::Short(*b"ab")),
        (TopicRef::Predefined(2), TopicId::Predefined(2)),
        (TopicRef::Name("ab"), TopicId::Normal(1)),
    ];
    for (subscribed, used) in alternatives {
        rig.send(1, of(subscribed));
        rig.lose();
        rig.deliver("m", "ab", Qos::AtMostOnce, "x");
        rig.expect(1, publish(QosBits::Zero, used, 0, "x"));
        rig.send(1, Packet::Unsubscribe { msg_id: 2, topic: subscribed });
        rig.expect(1, Packet::UnsubAck { msg_id: 2 });
    }
    // A wildcard match is a name, whatever else it could be called.
    rig.connected(1, "m", true);
    rig.send(1, subscribe(QosBits::Zero, 1, "#"));
    rig.lose();
    rig.deliver("m", "ab", Qos::AtMostOnce, "x");
    rig.expect(1, register(1, 1, "ab"));
}

#[test]
fn row_29_qos_1_is_repeated_with_dup_until_acknowledged_one_at_a_time() {
    let mut rig = Rig::new();
    rig.connected(1, "m", true);
    rig.send(1, subscribe(QosBits::One, 1, "a"));
    rig.lose();
    rig.deliver("m", "a", Qos::AtLeastOnce, "1");
    rig.deliver("m", "a", Qos::AtLeastOnce, "2");
    let first = publish(QosBits::One, TopicId::Normal(1), 1, "1");
    rig.expect(1, first);
    rig.expect_nothing();
    for _ in 0..2 {
        rig.advance(10);
        rig.expect(1, again(first));
    }
    rig.send(1, puback(1, 9, OK)); // not ours
    rig.expect_nothing();
    rig.send(1, puback(1, 1, OK));
    rig.expect(1, publish(QosBits::One, TopicId::Normal(1), 2, "2"));
    rig.send(1, puback(1, 1, OK)); // the answer to the repeat
    rig.send(1, puback(1, 2, OK));
    rig.advance(100);
    rig.expect_nothing();
    assert_eq!(rig.acked, [DeliveryId(1), DeliveryId(2)]);
}

/// §5.3.4: DUP is for what was sent before; a message whose REGISTER was lost was not.
#[test]
fn what_came_no_further_than_its_register_is_no_duplicate() {
    for qos in [Qos::AtLeastOnce, Qos::ExactlyOnce] {
        let bits = if qos == Qos::AtLeastOnce { QosBits::One } else { QosBits::Two };
        let mut rig = subscribed(false);
        rig.deliver("m", "a", qos, "x");
        rig.expect(1, register(1, 1, "a"));
        rig.connected_then(1, "m", register(1, 2, "a"));
        rig.send(1, regack(1, 2, OK));
        let packet = publish(bits, TopicId::Normal(1), 3, "x");
        rig.expect(1, packet);
        // That one may have come: from now on it is a repetition.
        rig.send(1, connect("m", false, 60));
        rig.expect(1, CONNACK);
        let register_again = rig.inbox.pop_front().unwrap().1;
        rig.send(1, regack(1, u16::from_be_bytes([register_again[4], register_again[5]]), OK));
        let bytes = rig.inbox.pop_front().unwrap().1;
        assert_eq!((bytes[1], bytes[2] & 0x80), (0x0c, 0x80), "{qos:?}: {bytes:02x?}");
    }
}

#[test]
fn a_client_that_answers_nothing_is_lost_after_n_retry() {
    let mut rig = Rig::new();
    rig.send(1, connect("m", true, 600));
    rig.send(1, subscribe(QosBits::One, 1, "a"));
    rig.lose();
    rig.deliver("m", "a", Qos::AtLeastOnce, "1");
    rig.advance(49);
    assert_eq!(rig.lose(), 5);
    assert_eq!(rig.disconnected, []);
    rig.advance(1);
    assert_eq!(rig.disconnected, [(Reason::RetryExhausted, false)]);
    rig.expect_nothing();
}

#[test]
fn row_29_qos_2_goes_through_its_handshake_with_losses_at_every_step() {
    let mut rig = Rig::new();
    rig.connected(1, "m", true);
    rig.send(1, subscribe(QosBits::Two, 1, "a"));
    rig.lose();
    rig.deliver("m", "a", Qos::ExactlyOnce, "x");
    let packet = publish(QosBits::Two, TopicId::Normal(1), 1, "x");
    rig.expect(1, packet);
    rig.advance(10);
    rig.expect(1, again(packet));
    rig.send(1, Packet::PubRec { msg_id: 1 });
    rig.expect(1, Packet::PubRel { msg_id: 1 });
    rig.advance(10);
    rig.expect(1, Packet::PubRel { msg_id: 1 });
    rig.send(1, Packet::PubRec { msg_id: 1 }); // a repeat: PUBREL again, never PUBLISH
    rig.expect(1, Packet::PubRel { msg_id: 1 });
    assert_eq!(rig.acked, []);
    for _ in 0..2 {
        rig.send(1, Packet::PubComp { msg_id: 1 });
    }
    rig.advance(50);
    rig.expect_nothing();
    assert_eq!(rig.acked, [DeliveryId(1)]);
    // A PUBREC that nobody remembers can be finished by its client.
    rig.send(1, Packet::PubRec { msg_id: 77 });
    rig.expect(1, Packet::PubRel { msg_id: 77 });
}

#[test]
fn qos_2_continues_on_a_new_connection_where_it_was() {
    let mut rig = Rig::new();
    rig.connected(1, "m", false);
    rig.send(1, subscribe(QosBits::Two, 1, "a"));
    rig.lose();
    rig.deliver("m", "a", Qos::ExactlyOnce, "x");
    let packet = publish(QosBits::Two, TopicId::Normal(1), 1, "x");
    rig.expect(1, packet);
    // Not answered: the same message id, with DUP, after the REGISTER of a resume.
    rig.connected_then(1, "m", register(1, 2, "a"));
    rig.send(1, regack(1, 2, OK));
    rig.expect(1, again(packet));
    rig.send(1, Packet::PubRec { msg_id: 1 });
    rig.expect(1, Packet::PubRel { msg_id: 1 });
    // Answered: PUBREL, never PUBLISH.
    rig.connected_then(1, "m", Packet::PubRel { msg_id: 1 });
    rig.send(1, Packet::PubComp { msg_id: 1 });
    rig.expect_nothing();
    assert_eq!(rig.acked, [DeliveryId(1)]);
}

#[test]
fn outgoing_qos_2_and_new_ids_wait_for_the_store() {
    let mut rig = subscribed(false);
    rig.auto_commit = false;
    rig.deliver("m", "a", Qos::ExactlyOnce, "x");
    rig.expect_nothing();
    rig.commit();
    rig.expect(1, register(1, 1, "a"));
    rig.send(1, regack(1, 1, OK));
    rig.expect_nothing();
    rig.commit();
    rig.expect(1, publish(QosBits::Two, TopicId::Normal(1), 2, "x"));
    rig.send(1, Packet::PubRec { msg_id: 2 });
    rig.expect_nothing();
    rig.commit();
    rig.expect(1, Packet::PubRel { msg_id: 2 });
}

#[test]
fn deliveries_do_not_overtake_the_suback_that_gives_their_id() {
    let mut rig = Rig::new();
    rig.connected(1, "m", false);
    rig.auto_commit = false;
    rig.send(1, subscribe(QosBits::One, 1, "a"));
    rig.deliver("m", "a", Qos::AtMostOnce, "retained");
    rig.deliver("m", "a", Qos::AtLeastOnce, "live");
    rig.expect_nothing();
    rig.commit();
    rig.expect(1, suback(QosBits::One, 1, 1));
    rig.expect(1, publish(QosBits::Zero, TopicId::Normal(1), 0, "retained"));
    rig.expect(1, publish(QosBits::One, TopicId::Normal(1), 1, "live"));
}

#[test]
fn credit_is_given_back_as_messages_leave() {
    let mut rig = Rig::new();
    rig.connected(1, "m", true);
    rig.send(1, subscribe(QosBits::Zero, 1, "a"));
    let credits = |rig: &Rig| rig.log.iter().filter(|e| e.starts_with("Credit")).count();
    assert_eq!(credits(&rig), 1);
    for _ in 0..65 {
        rig.deliver("m", "a", Qos::AtMostOnce, &"x".repeat(1023));
    }
    assert_eq!(credits(&rig), 3);
    assert!(rig.log.iter().rfind(|e| e.starts_with("Credit")).unwrap().contains("room: 65536"));
}

#[test]
fn a_pubcomp_that_a_connect_overtook_ends_the_repeated_delivery_in_the_queue() {
    let mut rig = Rig::new();
    rig.connected(1, "m", false);
    rig.send(1, subscribe(QosBits::Two, 1, "a"));
    rig.lose();
    rig.deliver("m", "a", Qos::ExactlyOnce, "x");
    rig.send(1, Packet::PubRec { msg_id: 1 });
    rig.lose();
    // Sent before CONNECT, received after it, while a REGISTER for another message is in flight.
    let session = rig.by_name["m"];
    let first = rig.sessions[&session].in_flight.clone().unwrap();
    rig.auto_answer = false;
    rig.send(1, connect("m", false, 60));
    rig.auto_answer = true;
    let Some(Event::Connect(connect)) = rig.questions.pop() else { panic!() };
    let mut before = first.clone();
    before.qos = Qos::AtMostOnce;
    before.id = DeliveryId(0);
    before.message = std::sync::Arc::new(motegate_message::Message {
        topic: motegate_message::TopicName::new("other").unwrap(),
        ..(*first.message).clone()
    });
    rig.sessions.get_mut(&session).unwrap().queue.push_front(before);
    let waiting = rig.sessions.get_mut(&session).unwrap().in_flight.take().unwrap();
    rig.sessions.get_mut(&session).unwrap().queue.push_back(waiting);
    let turn = rig.turn();
    rig.on_connect(&turn, *connect);
    rig.settle();
    rig.expect(1, CONNACK);
    rig.expect(1, register(2, 2, "other"));
    rig.send(1, Packet::PubComp { msg_id: 1 });
    rig.send(1, regack(2, 2, OK));
    rig.expect(1, publish(QosBits::Zero, TopicId::Normal(2), 0, "x"));
    rig.expect_nothing();
    assert_eq!(rig.acked, [DeliveryId(1)]);
}

#[test]
fn what_comes_again_after_a_connect_goes_before_what_is_younger() {
    // One FIFO a session, QoS 0 does not overtake (mqtt.md 1.6).
    let mut rig = subscribed(false);
    rig.send(1, register(0, 2, "a"));
    rig.lose();
    rig.deliver("m", "a", Qos::AtLeastOnce, "1");
    rig.deliver("m", "a", Qos::AtMostOnce, "2");
    rig.expect(1, publish(QosBits::One, TopicId::Normal(1), 1, "1"));
    rig.connected_then(1, "m", register(1, 2, "a"));
    rig.send(1, regack(1, 2, OK));
    rig.expect(1, again(publish(QosBits::One, TopicId::Normal(1), 3, "1")));
    rig.expect_nothing();
    rig.send(1, puback(1, 3, OK));
    rig.expect(1, publish(QosBits::Zero, TopicId::Normal(1), 0, "2"));
}
