//! Sleeping clients: rows 40 to 45 of the checklist, MQTT-SN 1.2 §6.14.
#![cfg(feature = "endpoint")]

mod rig;

use motegate_message::{DeliveryId, Qos, Reason};
use motegate_mqtt_sn::endpoint::{ClientState, ClientView, Config, Rebind};
use motegate_mqtt_sn::{Packet, QosBits, TopicId};
use rig::*;

const WAKE: Packet<'static> = Packet::PingReq { client_id: Some("m") };

fn on_a(qos: QosBits, msg_id: u16, data: &str) -> Packet<'_> {
    publish(qos, TopicId::Normal(1), msg_id, data)
}

/// A client that is subscribed to `a` and asleep for 100 s.
fn sleeper() -> Rig {
    sleeper_with(Config::default())
}

fn sleeper_with(config: Config) -> Rig {
    let mut rig = Rig::with(config);
    rig.connected(1, "m", false);
    rig.send(1, subscribe(QosBits::Two, 1, "a"));
    rig.expect(1, suback(QosBits::Two, 1, 1));
    rig.asleep(1, 100);
    rig
}

#[test]
fn row_40_a_sleeper_is_supervised_by_its_duration_and_gets_nothing() {
    let mut rig = sleeper();
    rig.deliver("m", "a", Qos::AtMostOnce, "x");
    rig.deliver("m", "a", Qos::AtLeastOnce, "y");
    rig.advance(109); // paho 102: longer than the keep-alive of 60
    rig.expect_nothing();
    assert_eq!(rig.disconnected, []);
    rig.advance(2);
    assert_eq!(rig.disconnected, [(Reason::SleepExpired, false)]);
    rig.send(1, WAKE);
    rig.expect(1, GOODBYE); // it must connect again
}

#[test]
fn row_40_a_repeated_sleep_request_is_answered_again() {
    let mut rig = sleeper();
    rig.asleep(1, 100);
    assert_eq!(rig.disconnected, []);
}

#[test]
fn row_41_pingresp_comes_after_everything_was_delivered_and_acknowledged() {
    // paho 165, emqx 4434.
    let mut rig = sleeper();
    rig.deliver("m", "a", Qos::AtMostOnce, "1");
    rig.deliver("m", "a", Qos::AtLeastOnce, "2");
    rig.deliver("m", "a", Qos::ExactlyOnce, "3");
    rig.deliver("m", "a", Qos::AtMostOnce, "4");
    rig.send(1, WAKE);
    rig.expect(1, on_a(QosBits::Zero, 0, "1"));
    rig.expect(1, on_a(QosBits::One, 1, "2"));
    rig.expect_nothing();
    rig.send(1, puback(1, 1, OK));
    rig.expect(1, on_a(QosBits::Two, 2, "3"));
    rig.send(1, Packet::PubRec { msg_id: 2 });
    rig.expect(1, Packet::PubRel { msg_id: 2 });
    rig.expect_nothing();
    rig.send(1, Packet::PubComp { msg_id: 2 });
    rig.expect(1, on_a(QosBits::Zero, 0, "4"));
    rig.expect(1, Packet::PingResp);
    rig.expect_nothing();
    // Asleep again, and nothing is replayed at the next awakening (emqx-sn 28).
    rig.deliver("m", "a", Qos::AtMostOnce, "5");
    rig.expect_nothing();
    rig.send(1, WAKE);
    rig.expect(1, on_a(QosBits::Zero, 0, "5"));
    rig.expect(1, Packet::PingResp);
}

#[test]
fn row_41_with_an_empty_buffer_pingresp_comes_at_once_and_the_sleep_starts_anew() {
    let mut rig = sleeper();
    for _ in 0..5 {
        rig.advance(100);
        rig.send(1, WAKE);
        rig.expect(1, Packet::PingResp);
        rig.expect_nothing();
    }
    assert_eq!(rig.disconnected, []);
    rig.advance(111);
    assert_eq!(rig.disconnected, [(Reason::SleepExpired, false)]);
}

#[test]
fn row_22_a_wildcard_match_is_registered_then_published_before_pingresp() {
    // paho 121: REGISTER was sent and PUBLISH missing.
    let mut rig = sleeper();
    rig.deliver("m", "other", Qos::AtMostOnce, "x");
    rig.send(1, WAKE);
    rig.expect(1, Packet::Register { topic_id: 2, msg_id: 1, name: "other" });
    rig.expect_nothing();
    rig.send(1, Packet::RegAck { topic_id: 2, msg_id: 1, code: OK });
    rig.expect(1, publish(QosBits::Zero, TopicId::Normal(2), 0, "x"));
    rig.expect(1, Packet::PingResp);
    rig.expect_nothing();
}

#[test]
fn row_42_waking_by_connect_delivers_the_buffer_or_discards_it() {
    // paho 122.
    for clean in [false, true] {
        let mut rig = sleeper();
        rig.deliver("m", "a", Qos::AtLeastOnce, "x");
        rig.send(1, connect("m", clean, 60));
        rig.expect(1, CONNACK);
        if clean {
            rig.expect_nothing();
            continue;
        }
        rig.expect(1, Packet::Register { topic_id: 1, msg_id: 1, name: "a" });
        rig.send(1, Packet::RegAck { topic_id: 1, msg_id: 1, code: OK });
        rig.expect(1, on_a(QosBits::One, 2, "x"));
        rig.send(1, puback(1, 2, OK));
        rig.expect_nothing(); // active: no PINGRESP
    }
}

#[test]
fn row_42_disconnect_ends_a_sleep_and_a_duration_replaces_it() {
    let mut rig = sleeper();
    rig.asleep(1, 1000);
    rig.advance(1000);
    assert_eq!(rig.disconnected, []);
    rig.send(1, GOODBYE);
    rig.expect(1, GOODBYE);
    assert_eq!(rig.disconnected, [(Reason::ClientDisconnect, true)]);
}

#[test]
fn row_43_a_repeated_pingreq_duplicates_nothing() {
    let mut rig = sleeper();
    rig.deliver("m", "a", Qos::AtLeastOnce, "1");
    rig.deliver("m", "a", Qos::AtMostOnce, "2");
    rig.send(1, WAKE);
    rig.send(1, WAKE);
    rig.expect(1, on_a(QosBits::One, 1, "1"));
    rig.send(1, WAKE);
    rig.expect_nothing();
    rig.send(1, puback(1, 1, OK));
    rig.expect(1, on_a(QosBits::Zero, 0, "2"));
    rig.expect(1, Packet::PingResp);
    rig.send(1, WAKE); // PINGRESP was lost
    rig.expect(1, Packet::PingResp);
    rig.expect_nothing();
    let drains = rig.log.iter().filter(|event| event.starts_with("Drain")).count();
    assert_eq!(drains, 2);
}

/// §6.14: a sleeper is supervised by its sleep duration, and one that is awake no longer sleeps.
#[test]
fn an_awake_client_that_answers_nothing_is_asleep_again_until_its_duration_is_over() {
    for comes_back in [true, false] {
        let mut rig = sleeper();
        rig.deliver("m", "a", Qos::AtLeastOnce, "x");
        rig.send(1, WAKE);
        rig.expect(1, on_a(QosBits::One, 1, "x"));
        for _ in 0..4 {
            rig.advance(10);
            rig.expect(1, again(on_a(QosBits::One, 1, "x")));
        }
        rig.advance(10);
        assert_eq!(rig.disconnected, []);
        rig.deliver("m", "a", Qos::AtLeastOnce, "y");
        rig.advance(59); // 109 s since its PINGREQ
        rig.expect_nothing();
        assert_eq!(rig.disconnected, []);
        assert_eq!(rig.log.iter().filter(|event| event.starts_with("Overdue")).count(), 1);
        if comes_back {
            rig.send(1, WAKE);
            rig.expect(1, again(on_a(QosBits::One, 1, "x")));
            rig.send(1, puback(1, 1, OK));
            rig.expect(1, on_a(QosBits::One, 2, "y"));
            rig.send(1, puback(1, 2, OK));
            rig.expect(1, Packet::PingResp);
            rig.expect_nothing();
        } else {
            rig.advance(2);
            assert_eq!(rig.disconnected, [(Reason::SleepExpired, false)]);
        }
    }
}

#[test]
fn what_was_unanswered_when_the_client_fell_asleep_is_first_at_its_next_awakening() {
    let mut rig = sleeper();
    rig.deliver("m", "a", Qos::AtLeastOnce, "1");
    rig.deliver("m", "a", Qos::AtLeastOnce, "2");
    rig.send(1, WAKE);
    rig.expect(1, on_a(QosBits::One, 1, "1"));
    rig.asleep(1, 100); // enough for now
    rig.advance(60);
    rig.expect_nothing(); // no retransmission to a sleeper
    rig.send(1, WAKE);
    rig.expect(1, again(on_a(QosBits::One, 1, "1")));
    rig.send(1, puback(1, 1, OK));
    rig.expect(1, on_a(QosBits::One, 2, "2"));
    rig.send(1, puback(1, 2, OK));
    rig.expect(1, Packet::PingResp);
    assert_eq!(rig.acked, [DeliveryId(1), DeliveryId(2)]);
}

/// A message that is too long for the client's radio, say, does not stop what is behind it for ever.
#[test]
fn a_message_that_16_awakenings_did_not_get_is_given_up() {
    let mut rig = sleeper();
    rig.deliver("m", "a", Qos::AtLeastOnce, "big");
    rig.deliver("m", "a", Qos::AtLeastOnce, "small");
    for round in 0..16 {
        rig.send(1, WAKE);
        let big = on_a(QosBits::One, 1, "big");
        rig.expect(1, if round == 0 { big } else { again(big) });
        rig.expect_nothing();
        rig.asleep(1, 100);
        assert_eq!(rig.dropped, []);
    }
    rig.send(1, WAKE);
    rig.expect(1, on_a(QosBits::One, 2, "small"));
    rig.send(1, puback(1, 2, OK));
    rig.expect(1, Packet::PingResp);
    assert_eq!((&*rig.dropped, rig.acked.len()), (&[Reason::RetryExhausted][..], 2));
    assert_eq!(rig.disconnected, []);
}

/// The same with connections.
#[test]
fn a_message_that_16_connections_did_not_get_is_given_up() {
    let mut rig = Rig::new();
    rig.connected(1, "m", false);
    rig.deliver("m", "t", Qos::AtLeastOnce, "big");
    rig.deliver("m", "t", Qos::AtLeastOnce, "small");
    for round in 1..=16 {
        if round > 1 {
            assert_eq!(rig.disconnected.len(), round - 1);
            rig.send(1, connect("m", false, 600));
        }
        for _ in 0..5 {
            rig.inbox.clear();
            rig.advance(10);
        }
    }
    assert_eq!((rig.disconnected.len(), &*rig.dropped), (15, &[Reason::RetryExhausted][..]));
    rig.expect(1, Packet::Register { topic_id: 1, msg_id: 17, name: "t" });
    rig.send(1, Packet::RegAck { topic_id: 1, msg_id: 17, code: OK });
    rig.expect(1, publish(QosBits::One, TopicId::Normal(1), 18, "small"));
}

#[test]
fn row_45_a_sleeper_may_come_back_from_another_port_as_configured() {
    // paho 157.
    for (rebind, allowed) in [(Rebind::SameHost, true), (Rebind::Any, true), (Rebind::Never, false)]
    {
        let mut rig = sleeper_with(Config { rebind, ..Config::default() });
        rig.deliver("m", "a", Qos::AtMostOnce, "x");
        rig.send(2, WAKE);
        if allowed {
            rig.expect(2, on_a(QosBits::Zero, 0, "x"));
            rig.expect(2, Packet::PingResp);
            rig.send(1, Packet::PingReq { client_id: None });
            rig.expect(1, GOODBYE); // nobody is there any more
        } else {
            rig.expect(2, GOODBYE);
        }
        rig.expect_nothing();
    }
}

#[test]
fn row_45_another_host_may_not_take_a_sleeper_over() {
    for (rebind, allowed) in [(Rebind::SameHost, false), (Rebind::Any, true)] {
        let mut rig = sleeper_with(Config { rebind, ..Config::default() });
        rig.send_from("192.0.2.1:1".parse().unwrap(), &encode(&WAKE));
        rig.expect(1, if allowed { Packet::PingResp } else { GOODBYE });
    }
    // Nor may an active client be moved by a PINGREQ.
    let mut rig = Rig::new();
    rig.connected(1, "m", true);
    rig.send(2, WAKE);
    rig.expect(2, GOODBYE);
    rig.send(1, Packet::PingReq { client_id: None });
    rig.expect(1, Packet::PingResp);
}

#[test]
fn a_sleeper_that_is_closed_from_above_hears_of_it_at_its_next_pingreq() {
    let mut rig = sleeper();
    let client = rig.session("m").client.unwrap();
    let turn = rig.turn();
    rig.endpoint.close(&turn, client, Reason::Kicked);
    rig.settle();
    rig.expect_nothing();
    rig.send(1, WAKE);
    rig.expect(1, GOODBYE);
}

#[test]
fn max_sleep_bounds_the_supervision_not_the_sleep() {
    let config = Config { max_sleep: std::time::Duration::from_secs(50), ..Config::default() };
    let mut rig = sleeper_with(config);
    rig.advance(54);
    assert_eq!(rig.disconnected, []);
    rig.advance(2);
    assert_eq!(rig.disconnected, [(Reason::SleepExpired, false)]);
}

#[test]
fn a_clean_session_sleeps_as_well() {
    let mut rig = Rig::new();
    rig.connected(1, "m", true);
    rig.send(1, subscribe(QosBits::Zero, 1, "a"));
    rig.lose();
    rig.asleep(1, 100);
    rig.deliver("m", "a", Qos::AtMostOnce, "x");
    rig.expect_nothing();
    rig.send(1, WAKE);
    rig.expect(1, on_a(QosBits::Zero, 0, "x"));
    rig.expect(1, Packet::PingResp);
}

#[cfg(feature = "planted-faults")]
#[test]
fn the_planted_fault_sends_pingresp_first() {
    use motegate_mqtt_sn::endpoint::Faults;
    let faults = Faults { no_duplicate_check: false, early_pingresp: true };
    let mut rig = sleeper_with(Config { faults, ..Config::default() });
    rig.deliver("m", "a", Qos::AtMostOnce, "x");
    rig.send(1, WAKE);
    rig.expect(1, Packet::PingResp);
    rig.expect(1, on_a(QosBits::Zero, 0, "x"));
    rig.expect_nothing();
}

#[test]
fn a_sleep_in_the_middle_of_an_awakening_does_not_end_the_next_one_early() {
    let mut rig = sleeper();
    rig.deliver("m", "a", Qos::AtLeastOnce, "1");
    rig.send(1, WAKE);
    rig.expect(1, on_a(QosBits::One, 1, "1"));
    rig.asleep(1, 100);
    rig.deliver("m", "a", Qos::AtLeastOnce, "2"); // after the drain that is still open
    rig.send(1, WAKE);
    rig.expect(1, again(on_a(QosBits::One, 1, "1")));
    rig.send(1, puback(1, 1, OK));
    rig.expect(1, on_a(QosBits::One, 2, "2"));
    rig.expect_nothing();
    rig.send(1, puback(1, 2, OK));
    rig.expect(1, Packet::PingResp);
    rig.expect_nothing();
}

#[test]
fn an_answer_that_comes_late_starts_nothing_while_its_client_sleeps() {
    let mut rig = sleeper();
    rig.deliver("m", "other", Qos::AtLeastOnce, "x");
    rig.send(1, WAKE);
    rig.expect(1, Packet::Register { topic_id: 2, msg_id: 1, name: "other" });
    rig.asleep(1, 100);
    rig.send(1, Packet::RegAck { topic_id: 2, msg_id: 1, code: OK });
    rig.expect_nothing();
    rig.send(1, WAKE);
    rig.expect(1, publish(QosBits::One, TopicId::Normal(2), 2, "x"));
    rig.send(1, puback(2, 2, OK));
    rig.expect(1, Packet::PingResp);
}

#[test]
fn a_buffer_larger_than_the_room_is_delivered_in_one_awakening() {
    let mut rig = sleeper();
    for _ in 0..200 {
        rig.deliver("m", "a", Qos::AtMostOnce, &"x".repeat(1000));
    }
    rig.send(1, WAKE);
    assert_eq!(rig.inbox.len(), 201);
    let credits = rig.log.iter().filter(|e| e.contains("window: 1") && e.contains("asleep: true"));
    assert_eq!(credits.count(), 6);
    rig.lose();
    rig.deliver("m", "a", Qos::AtMostOnce, "next");
    rig.expect_nothing();
    assert_eq!(rig.session("m").queue.len(), 1, "kept by the broker, in its bounds");
}

#[test]
fn waking_by_connect_is_no_loss() {
    // The will stays undue: the same client, from its address or from one that may continue.
    for port in [1, 2] {
        let mut rig = sleeper();
        rig.deliver("m", "a", Qos::AtMostOnce, "x");
        rig.send(port, connect("m", false, 60));
        rig.expect(port, CONNACK);
        rig.expect(port, Packet::Register { topic_id: 1, msg_id: 1, name: "a" });
        rig.expect_nothing();
        assert_eq!(rig.disconnected, [(Reason::TakenOver, true)]);
        assert_eq!(rig.endpoint.client_count(), 1);
    }
}

#[test]
fn row_42_a_sleeper_with_a_clean_session_that_wakes_by_connect_gets_its_buffer() {
    // §6.14: from asleep to active, not a new start; only CleanSession = 1 discards the buffer.
    for (port, clean) in [(1, false), (2, false), (1, true)] {
        let mut rig = Rig::new();
        rig.connected(1, "m", true);
        rig.send(1, subscribe(QosBits::One, 1, "a"));
        rig.send(1, Packet::Register { topic_id: 0, msg_id: 2, name: "b" });
        rig.lose();
        rig.asleep(1, 100);
        rig.deliver("m", "a", Qos::AtLeastOnce, "x");
        rig.send(port, connect("m", clean, 60));
        rig.expect(port, CONNACK);
        if clean {
            rig.expect_nothing();
            continue;
        }
        rig.expect(port, Packet::Register { topic_id: 1, msg_id: 1, name: "a" });
        rig.send(port, Packet::RegAck { topic_id: 1, msg_id: 1, code: OK });
        rig.expect(port, on_a(QosBits::One, 2, "x"));
        // It is durable now, with everything that it had.
        rig.restart();
        rig.expect(port, Packet::Register { topic_id: 1, msg_id: 1, name: "a" });
        rig.send(port, publish(QosBits::Zero, TopicId::Normal(2), 0, "y"));
        assert_eq!(rig.published, [("b".into(), "y".into())]);
    }
}

#[test]
fn an_active_client_does_not_keep_a_clean_session_by_connecting_again() {
    // [MQTT-3.1.2-6], in the words of MQTT-SN 1.2 §6.3.
    let mut rig = Rig::new();
    rig.connected(1, "m", true);
    rig.send(1, subscribe(QosBits::One, 1, "a"));
    rig.lose();
    let old = rig.by_name["m"];
    rig.connected(1, "m", false);
    assert_ne!(rig.by_name["m"], old);
}

#[test]
fn row_40_41_what_lets_the_client_sleep_is_the_last_answer() {
    // §6.14: nothing to a sleeper. A PUBACK that waits for the store goes first.
    for clean in [true, false] {
        let mut rig = Rig::new();
        rig.connected(1, "m", clean);
        rig.auto_commit = false;
        let short = TopicId::Short(*b"ab");
        rig.send(1, publish(QosBits::One, short, 7, "x"));
        rig.send(1, Packet::Disconnect { duration: Some(100) });
        rig.expect_nothing();
        rig.commit();
        rig.expect(1, puback(short.raw(), 7, OK));
        rig.expect(1, GOODBYE);
        rig.send(1, publish(QosBits::One, short, 8, "y"));
        rig.send(1, WAKE);
        rig.expect_nothing();
        rig.commit();
        rig.expect(1, puback(short.raw(), 8, OK));
        rig.expect(1, Packet::PingResp);
        rig.expect_nothing();
    }
}

#[test]
fn row_41_pingresp_does_not_overtake_an_answer_that_is_stored_with_the_suback() {
    let mut rig = Rig::new();
    rig.connected(1, "m", true);
    rig.asleep(1, 100);
    rig.auto_commit = false;
    let short = TopicId::Short(*b"ab");
    rig.send(1, WAKE);
    rig.commit();
    rig.expect(1, Packet::PingResp);
    rig.deliver("m", "b", Qos::AtMostOnce, "buffered");
    rig.send(1, WAKE);
    rig.commit();
    rig.expect(1, Packet::Register { topic_id: 1, msg_id: 1, name: "b" });
    rig.send(1, subscribe(QosBits::One, 2, "a"));
    rig.send(1, publish(QosBits::One, short, 8, "y"));
    rig.send(1, Packet::RegAck { topic_id: 1, msg_id: 1, code: OK });
    rig.expect_nothing();
    rig.commit();
    rig.expect(1, suback(QosBits::One, 2, 2));
    rig.expect(1, publish(QosBits::Zero, TopicId::Normal(1), 0, "buffered"));
    rig.expect(1, puback(short.raw(), 8, OK));
    rig.expect(1, Packet::PingResp);
    rig.expect_nothing();
}

#[test]
fn a_sleeper_says_when_it_wakes_and_is_lost_when_it_does_not() {
    let mut rig = sleeper();
    let session = rig.by_name["m"];
    let client = rig.sessions[&session].client.unwrap();
    let slept = rig.now;
    let view = |rig: &Rig| rig.endpoint.client(client).unwrap();
    let secs = std::time::Duration::from_secs;
    let expected = ClientView {
        state: ClientState::Asleep,
        wakes: Some(slept + secs(100)),
        lost_at: Some(slept + secs(110)), // §7.2: a tenth more
        keep_alive_secs: 60,
    };
    assert_eq!(view(&rig), expected);
    rig.deliver("m", "a", Qos::AtLeastOnce, "1");
    rig.send(1, WAKE);
    assert_eq!((view(&rig).state, view(&rig).wakes), (ClientState::Awake, None));
    assert!(!rig.endpoint.wire(session).unwrap().lost);
    rig.advance(111);
    assert_eq!(rig.endpoint.client(client), None);
    let wire = rig.endpoint.wire(session).unwrap();
    assert_eq!((wire.lost, wire.topics), (true, 1));
    rig.inbox.clear();
    rig.send(2, connect("m", false, 60));
    assert!(!rig.endpoint.wire(session).unwrap().lost);
}

#[test]
fn row_40_a_sleeper_that_is_late_is_told_of_once_before_it_is_lost() {
    let mut rig = sleeper();
    let session = rig.by_name["m"];
    let client = rig.sessions[&session].client.unwrap();
    let slept = rig.now;
    rig.advance(104);
    assert_eq!(rig.dropped, []);
    rig.advance(2); // half of the tenth that §7.2 tolerates is over
    assert_eq!(rig.dropped, [Reason::SleepOverdue]);
    let view = rig.endpoint.client(client).unwrap();
    let secs = std::time::Duration::from_secs;
    assert_eq!((view.wakes, view.lost_at), (Some(slept + secs(100)), Some(slept + secs(110))));
    // It comes after all, and the next time as well.
    for _ in 0..2 {
        rig.send(1, WAKE);
        rig.expect(1, Packet::PingResp);
        rig.advance(103);
        assert_eq!(rig.dropped, [Reason::SleepOverdue]);
    }
    rig.advance(6);
    assert_eq!(rig.dropped, [Reason::SleepOverdue; 2]);
    assert_eq!(rig.disconnected, []);
    rig.advance(2);
    assert_eq!(rig.dropped, [Reason::SleepOverdue; 2]);
    assert_eq!(rig.disconnected, [(Reason::SleepExpired, false)]);
}

/// §6.14: a sleeper is known by its id. Somebody else may be given its address meanwhile.
#[test]
fn a_sleeper_outlives_whoever_gets_its_address() {
    let mut rig = sleeper();
    rig.send(1, connect("other", true, 60));
    rig.expect(1, Packet::ConnAck { code: OK });
    assert_eq!((rig.disconnected.len(), rig.endpoint.client_count()), (0, 2));
    rig.deliver("m", "ab", Qos::AtLeastOnce, "kept");
    rig.expect_nothing();
    rig.send(2, WAKE);
    let (to, sent) = rig.inbox.pop_front().unwrap();
    assert_eq!((to, &sent[sent.len() - 2..]), (addr(2), &b"ab"[..]), "its REGISTER");
    // The other one is where it was, and whoever is not asleep loses its place as before.
    rig.send(1, Packet::PingReq { client_id: None });
    rig.expect(1, Packet::PingResp);
    rig.send(1, connect("third", true, 60));
    rig.expect(1, Packet::ConnAck { code: OK });
    assert_eq!(rig.disconnected, [(Reason::ConnectionLost, false)]);
}
