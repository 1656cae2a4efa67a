//! What survives `kill -9`: row 45, and paho 134, 135, 115, 218 (state lost at a restart).
#![cfg(feature = "endpoint")]

mod rig;

use std::net::IpAddr;

use motegate_message::{DeliveryId, ListenerId, LocalId, Peer, Qos, Reason};
use motegate_mqtt_sn::{Packet, QosBits, ReturnCode, TopicId, TopicRef};
use rig::*;

const AB: TopicId = TopicId::Short(*b"ab");
const WAKE: Packet<'static> = Packet::PingReq { client_id: Some("m") };

fn durable() -> Rig {
    let mut rig = Rig::new();
    rig.connected(1, "m", false);
    rig.send(1, subscribe(QosBits::Two, 1, "a"));
    rig.expect(1, suback(QosBits::Two, 1, 1));
    rig
}

#[test]
fn an_active_client_is_served_without_a_connect() {
    let mut rig = durable();
    rig.restart();
    rig.expect_nothing();
    let connect = rig.connects.last().unwrap();
    assert!(connect.resumed.is_some() && !connect.asleep && !connect.clean);
    rig.send(1, publish(QosBits::One, TopicId::Normal(1), 7, "x"));
    rig.expect(1, puback(1, 7, OK));
    assert_eq!(rig.published, [("a".into(), "x".into())]);
    rig.deliver("m", "a", Qos::AtMostOnce, "y");
    rig.expect(1, publish(QosBits::Zero, TopicId::Normal(1), 0, "y")); // it has used the id
}

#[test]
fn after_a_restart_ids_are_registered_again_before_use() {
    let mut rig = durable();
    rig.restart();
    rig.deliver("m", "a", Qos::AtMostOnce, "y");
    rig.expect(1, Packet::Register { topic_id: 1, msg_id: 1, name: "a" });
    rig.send(1, Packet::RegAck { topic_id: 1, msg_id: 1, code: OK });
    rig.expect(1, publish(QosBits::Zero, TopicId::Normal(1), 0, "y"));
}

#[test]
fn deadlines_start_anew_in_full() {
    let mut rig = durable();
    rig.advance(85);
    rig.restart();
    rig.advance(89);
    assert_eq!(rig.disconnected, []);
    rig.advance(2);
    assert_eq!(rig.disconnected, [(Reason::KeepaliveTimeout, false)]);
    // Lost is lost: the next restart knows of no connection.
    rig.restart();
    assert_eq!(rig.endpoint.client_count(), 0);
    rig.send(1, WAKE);
    rig.expect(1, GOODBYE);
    // But the session's ids are there for its next CONNECT.
    rig.connected(1, "m", false);
    rig.send(1, publish(QosBits::Zero, TopicId::Normal(1), 0, "x"));
    rig.expect_nothing();
    assert_eq!(rig.published, [("a".into(), "x".into())]);
}

#[test]
fn a_sleeper_stays_asleep_and_gets_its_buffer() {
    let mut rig = durable();
    rig.asleep(1, 100);
    rig.deliver("m", "a", Qos::AtLeastOnce, "x");
    rig.restart();
    rig.expect_nothing();
    assert!(rig.connects.last().unwrap().asleep);
    rig.advance(100);
    rig.expect_nothing();
    rig.send(1, WAKE);
    rig.expect(1, Packet::Register { topic_id: 1, msg_id: 1, name: "a" });
    rig.send(1, Packet::RegAck { topic_id: 1, msg_id: 1, code: OK });
    rig.expect(1, publish(QosBits::One, TopicId::Normal(1), 2, "x"));
    rig.send(1, puback(1, 2, OK));
    rig.expect(1, Packet::PingResp);
    rig.expect_nothing();
    rig.advance(111);
    assert_eq!(rig.disconnected, [(Reason::SleepExpired, false)]);
}

#[test]
fn a_sleeper_that_came_back_elsewhere_is_served_there() {
    let mut rig = durable();
    rig.asleep(1, 100);
    rig.send(5, WAKE);
    rig.expect(5, Packet::PingResp);
    rig.restart();
    rig.deliver("m", "a", Qos::AtMostOnce, "x");
    rig.send(5, WAKE);
    rig.expect(5, Packet::Register { topic_id: 1, msg_id: 1, name: "a" });
}

#[test]
fn a_clean_client_is_told_to_connect() {
    let mut rig = Rig::new();
    rig.connected(1, "m", true);
    rig.restart();
    rig.send(1, publish(QosBits::One, AB, 1, "x"));
    rig.expect(1, GOODBYE);
    assert_eq!(rig.stored_len(), 0);
}

#[test]
fn a_qos_2_message_from_a_client_is_published_once_across_a_restart() {
    let mut rig = durable();
    rig.send(1, publish(QosBits::Two, AB, 9, "x"));
    rig.lose();
    rig.restart();
    rig.send(1, again(publish(QosBits::Two, AB, 9, "x")));
    rig.expect(1, Packet::PubRec { msg_id: 9 });
    assert_eq!(rig.published.len(), 1);
    rig.send(1, Packet::PubRel { msg_id: 9 });
    rig.expect(1, Packet::PubComp { msg_id: 9 });
    rig.restart();
    rig.send(1, Packet::PubRel { msg_id: 9 });
    rig.expect(1, Packet::PubComp { msg_id: 9 });
    rig.send(1, publish(QosBits::Two, AB, 9, "x"));
    assert_eq!(rig.published.len(), 2);
}

#[test]
fn an_answer_that_was_not_stored_did_not_leave() {
    let mut rig = durable();
    rig.auto_commit = false;
    rig.send(1, publish(QosBits::Two, AB, 9, "x"));
    rig.expect_nothing();
    rig.published.clear(); // the broker loses it, too
    rig.restart();
    rig.commit();
    rig.lose();
    rig.send(1, again(publish(QosBits::Two, AB, 9, "x")));
    rig.commit();
    rig.expect(1, Packet::PubRec { msg_id: 9 });
    assert_eq!(rig.published.len(), 1);
}

#[test]
fn an_outgoing_qos_2_message_continues_where_it_was() {
    let mut rig = durable();
    rig.deliver("m", "a", Qos::ExactlyOnce, "x");
    let packet = publish(QosBits::Two, TopicId::Normal(1), 1, "x");
    rig.expect(1, packet);
    rig.restart();
    // Not answered yet: the same message id, with DUP.
    rig.expect(1, Packet::Register { topic_id: 1, msg_id: 2, name: "a" });
    rig.send(1, Packet::RegAck { topic_id: 1, msg_id: 2, code: OK });
    rig.expect(1, again(packet));
    rig.send(1, Packet::PubRec { msg_id: 1 });
    rig.expect(1, Packet::PubRel { msg_id: 1 });
    rig.restart();
    // Answered: PUBREL, never PUBLISH.
    rig.expect(1, Packet::PubRel { msg_id: 1 });
    rig.send(1, Packet::PubComp { msg_id: 1 });
    rig.expect_nothing();
    assert_eq!(rig.acked, [DeliveryId(1)]);
    rig.restart();
    rig.expect_nothing();
}

#[test]
fn pubrec_for_a_delivery_that_has_not_come_again_is_answered() {
    let mut rig = durable();
    rig.deliver("m", "a", Qos::ExactlyOnce, "x");
    rig.lose();
    let session = rig.by_name["m"];
    let waiting = rig.sessions.get_mut(&session).unwrap().in_flight.take();
    rig.restart(); // and the broker is slow
    rig.send(1, Packet::PubRec { msg_id: 1 });
    rig.expect(1, Packet::PubRel { msg_id: 1 });
    rig.send(1, Packet::PubComp { msg_id: 1 });
    rig.expect_nothing();
    assert_eq!(rig.acked, []);
    rig.sessions.get_mut(&session).unwrap().in_flight = waiting;
    rig.connected(1, "m", false);
    rig.expect_nothing();
    assert_eq!(rig.acked, [DeliveryId(1)]);
    assert!(rig.session("m").in_flight.is_none());
}

#[test]
fn subscription_types_and_refusals_survive() {
    let mut rig = durable();
    rig.names.insert("ab".into(), (None, Some(*b"ab")));
    let topic = TopicRef::Short(*b"ab");
    rig.send(1, Packet::Subscribe { dup: false, qos: QosBits::Zero, msg_id: 2, topic });
    rig.deliver("m", "no", Qos::AtMostOnce, "x");
    rig.lose();
    rig.send(1, Packet::RegAck { topic_id: 2, msg_id: 1, code: ReturnCode::InvalidTopicId });
    rig.restart();
    rig.deliver("m", "ab", Qos::AtMostOnce, "x");
    rig.expect(1, publish(QosBits::Zero, AB, 0, "x"));
    rig.deliver("m", "no", Qos::AtMostOnce, "x");
    rig.expect_nothing();
}

#[test]
fn an_ended_session_leaves_no_record() {
    let mut rig = durable();
    rig.send(1, publish(QosBits::Two, AB, 9, "x"));
    rig.deliver("m", "a", Qos::ExactlyOnce, "x");
    let topic = TopicRef::Predefined(1);
    rig.send(1, Packet::Subscribe { dup: false, qos: QosBits::Zero, msg_id: 2, topic });
    assert!(rig.stored_len() >= 5);
    rig.lose();
    rig.send(1, connect("m", true, 60));
    rig.expect(1, CONNACK);
    rig.expect_nothing();
    assert_eq!(rig.stored_len(), 0);
}

#[test]
fn a_shutdown_tells_active_clients_and_keeps_sleepers() {
    for asleep in [false, true] {
        let mut rig = durable();
        if asleep {
            rig.asleep(1, 100);
        }
        let client = rig.session("m").client.unwrap();
        let turn = rig.turn();
        rig.endpoint.close(&turn, client, Reason::Shutdown);
        rig.settle();
        assert_eq!(rig.lose(), usize::from(!asleep));
        rig.restart();
        assert_eq!(rig.endpoint.client_count(), usize::from(asleep));
    }
}

#[test]
fn damaged_records_are_told_and_harm_nobody() {
    let mut rig = Rig::new();
    let turn = rig.turn();
    for (key, value) in
        [(&b""[..], &b""[..]), (b"s", b""), (b"s12345678t", b"\x01"), (b"x", b"\x01")]
    {
        assert!(!rig.endpoint.restore(&turn, key, value));
    }
    rig.endpoint.restored(&turn);
    rig.settle();
    assert!(rig.connects.is_empty());
}

#[test]
fn without_durability_nothing_is_written_and_nothing_waits() {
    let mut rig = Rig::new();
    rig.durable = false;
    rig.auto_commit = false;
    rig.connected(1, "m", false);
    rig.send(1, subscribe(QosBits::Two, 1, "a"));
    rig.expect(1, suback(QosBits::Two, 1, 1));
    rig.deliver("m", "a", Qos::ExactlyOnce, "x");
    rig.expect(1, publish(QosBits::Two, TopicId::Normal(1), 1, "x"));
    rig.send(1, publish(QosBits::Two, AB, 9, "x"));
    rig.expect(1, Packet::PubRec { msg_id: 9 });
}

#[test]
fn a_late_answer_from_before_a_restart_answers_nothing() {
    // Over UDP a PUBACK may be a copy, or late; an id must not mean another message so soon.
    let mut rig = durable();
    rig.deliver("m", "a", Qos::AtLeastOnce, "1");
    rig.expect(1, publish(QosBits::One, TopicId::Normal(1), 1, "1"));
    rig.send(1, puback_of(1));
    rig.restart_at(7000);
    rig.send(1, publish(QosBits::Zero, TopicId::Normal(1), 0, "here"));
    rig.deliver("m", "a", Qos::AtLeastOnce, "2");
    rig.expect(1, publish(QosBits::One, TopicId::Normal(1), 7000, "2"));
    rig.send(1, puback_of(1));
    assert_eq!(rig.acked, [DeliveryId(1)]);
    rig.send(1, puback_of(7000));
    assert_eq!(rig.acked, [DeliveryId(1), DeliveryId(2)]);
}

fn puback_of(msg_id: u16) -> Packet<'static> {
    puback(1, msg_id, OK)
}

/// Ids would soon come to that of the unfinished delivery, and be its late copies to the client: they
/// begin behind it.
#[test]
fn message_ids_begin_behind_the_open_handshake() {
    let mut rig = durable();
    rig.deliver("m", "a", Qos::ExactlyOnce, "x"); // its id is 1
    rig.restart_at(0xff00);
    rig.expect(1, Packet::Register { topic_id: 1, msg_id: 2, name: "a" });
    rig.send(1, connect("m", false, 60));
    rig.expect(1, CONNACK);
    rig.expect(1, Packet::Register { topic_id: 1, msg_id: 3, name: "a" });
    rig.send(1, Packet::RegAck { topic_id: 1, msg_id: 3, code: OK });
    rig.expect(1, again(publish(QosBits::Two, TopicId::Normal(1), 1, "x")));
}

#[test]
fn message_ids_wrap_to_1() {
    let mut rig = durable();
    rig.restart_at(0xffff);
    rig.deliver("m", "a", Qos::AtLeastOnce, "x");
    rig.expect(1, Packet::Register { topic_id: 1, msg_id: 0xffff, name: "a" });
    rig.send(1, Packet::RegAck { topic_id: 1, msg_id: 0xffff, code: OK });
    rig.expect(1, publish(QosBits::One, TopicId::Normal(1), 1, "x"));
}

/// Numbers of listeners change with the configuration: the journal names them.
#[test]
fn a_sleeper_is_served_where_its_listener_is_now() {
    let mut rig = durable();
    rig.asleep(1, 600);
    rig.config.listeners = vec!["".into(), "".into(), "field".into()];
    rig.restart();
    assert_eq!(rig.connects.last().unwrap().peer.listener, ListenerId(2));
    assert_eq!(rig.endpoint.client_count(), 1);
}

#[test]
fn a_listener_that_is_gone_takes_no_session_with_it() {
    let mut rig = durable();
    rig.asleep(1, 600);
    rig.config.listeners = vec!["other".into()];
    rig.restart();
    assert_eq!(rig.endpoint.client_count(), 0);
    rig.send(1, WAKE);
    rig.expect(1, GOODBYE);
    // Its session and ids are there for the next CONNECT, and no record of the old place is.
    rig.connected(1, "m", false);
    rig.restart();
    assert_eq!(rig.endpoint.client_count(), 1);
    rig.send(1, publish(QosBits::One, TopicId::Normal(1), 7, "x"));
    rig.expect(1, puback(1, 7, OK));
}

/// Row 45: two sleepers whose addresses are the same by now (a NAT gave the port away).
#[test]
fn sleepers_of_one_address_are_both_there_after_a_restart() {
    let mut rig = durable();
    rig.asleep(1, 600);
    rig.connected(1, "b", false);
    rig.asleep(1, 600);
    rig.restart();
    assert_eq!(rig.endpoint.client_count(), 2);
    rig.deliver("m", "a", Qos::AtMostOnce, "y");
    rig.send(2, WAKE);
    rig.expect(2, Packet::Register { topic_id: 1, msg_id: 1, name: "a" });
    rig.send(1, Packet::PingReq { client_id: Some("b") });
    rig.expect(1, Packet::PingResp);
}

/// §6.6: exactly once, also when PUBCOMP comes before the broker has the delivery under way again.
#[test]
fn a_pubcomp_after_a_restart_ends_the_delivery_that_still_waits() {
    let mut rig = durable();
    rig.asleep(1, 600);
    rig.deliver("m", "a", Qos::ExactlyOnce, "once");
    rig.send(1, WAKE);
    let Some((_, sent)) = rig.inbox.pop_front() else { panic!("PUBLISH") };
    let msg_id = u16::from_be_bytes([sent[5], sent[6]]);
    rig.send(1, Packet::PubRec { msg_id });
    rig.expect(1, Packet::PubRel { msg_id });
    for _ in 0..2 {
        rig.restart();
        rig.send(1, Packet::PubComp { msg_id });
        rig.expect_nothing();
    }
    rig.send(1, WAKE);
    rig.expect(1, Packet::PingResp);
    rig.expect_nothing();
    assert_eq!(rig.acked.len(), 1);
}

/// Answers wait for the store, but not without end: beyond a bound the client is left to repeat.
#[test]
fn answers_that_wait_for_the_store_are_bounded_and_counted() {
    let mut rig = durable();
    rig.auto_commit = false;
    rig.send(1, publish(QosBits::Two, AB, 9, "x"));
    for n in 0..70_000_u32 {
        rig.send(1, Packet::PubRel { msg_id: u16::try_from(n % 60_000).unwrap() + 1_000 });
    }
    rig.expect_nothing();
    let over = rig.dropped.iter().filter(|reason| **reason == Reason::Overloaded).count();
    assert_eq!(over, 70_000 - 63, "64 wait, the PUBREC among them");
    rig.commit();
    assert_eq!(rig.lose(), 64);
    // Whoever repeats is answered.
    rig.send(1, Packet::PubRel { msg_id: 9 });
    rig.commit();
    rig.expect(1, Packet::PubComp { msg_id: 9 });
    rig.expect_nothing();
}

/// Its session is gone meanwhile, and its name may be another's.
#[test]
fn row_45_a_restored_client_whose_session_is_new_is_told_to_connect() {
    let mut rig = durable();
    rig.asleep(1, 600);
    rig.sessions.clear();
    rig.restart();
    assert_eq!(rig.disconnected, [(Reason::SessionExpired, true)]);
    assert_eq!(rig.stored_len(), 0, "nothing is left of it");
    rig.send(1, Packet::PingReq { client_id: Some("m") });
    rig.expect(1, GOODBYE);
}

/// A client hears no answer from another address than the one that it spoke to.
#[test]
fn row_45_after_a_restart_a_client_is_written_to_from_where_it_spoke_to() {
    let mut rig = durable();
    let second = IpAddr::from([10, 0, 0, 2]);
    let (field, second_id) = (ListenerId(0), LocalId(3));
    rig.endpoint.learn_local(field, LocalId(1), IpAddr::from([10, 0, 0, 1]));
    rig.endpoint.learn_local(field, second_id, second);
    let turn = rig.turn();
    let peer = Peer { local: second_id, ..rig.peer(1) };
    rig.endpoint.handle_datagram(&turn, peer, &encode(&Packet::PingReq { client_id: None }));
    rig.settle();
    rig.lose();
    rig.restart();
    // The shell gives out numbers anew, from what was restored.
    assert_eq!(rig.endpoint.locals(), [(field, LocalId(1), second)]);
    rig.auto_commit = false; // what was sent is looked at here
    rig.deliver("m", "a", Qos::AtLeastOnce, "x");
    let from = rig.connects.last().unwrap().peer.local;
    assert_eq!(from, LocalId(1));
    // One that has spoken to no known address is as before.
    rig.restart();
    let peer = Peer { local: LocalId::ANY, ..rig.peer(1) };
    let turn = rig.turn();
    rig.endpoint.handle_datagram(&turn, peer, &encode(&Packet::PingReq { client_id: None }));
    rig.settle();
    rig.commit();
    rig.restart();
    assert_eq!(rig.endpoint.locals(), []);
    assert_eq!(rig.connects.last().unwrap().peer.local, LocalId::ANY);
}
