//! Publishing: every QoS, resumption, limits, back-pressure.

use motegate_message::Qos;
use motegate_mqtt::client::{
    ClientConfig, ClientError, Event, Filter, Publish, PublishError, Violation,
};
use motegate_mqtt::{Property, PropertyBuf, ReasonCode};

use crate::peer::{Peer, durable, v5};

#[test]
fn publishes_of_every_qos() {
    let mut peer = Peer::connected(v5(), 0, "");
    peer.publish("t", Qos::AtMostOnce, 1);
    assert!(peer.events.is_empty());
    peer.expect("30 05 0001 \"t\" 00 \"x\"");
    peer.expect_published(1);
    peer.publish("t", Qos::AtLeastOnce, 2);
    peer.publish("t", Qos::ExactlyOnce, 3);
    peer.expect("32 07 0001 \"t\" 0001 00 \"x\" 34 07 0001 \"t\" 0002 00 \"x\"");
    peer.receive("50 02 0002 40 02 0001");
    peer.expect_published(2);
    peer.expect("62 02 0002");
    assert!(!peer.client.is_idle());
    peer.receive("70 02 0002");
    peer.expect_published(3);
    assert!(peer.client.is_idle() && peer.events.is_empty());
    // Refused, and nobody listening.
    peer.publish("t", Qos::ExactlyOnce, 4);
    peer.publish("t", Qos::AtLeastOnce, 5);
    peer.sent();
    peer.receive("50 08 0003 87 04 1f 0001 \"n\" 40 03 0004 10");
    let Event::PublishFailed { token: 4, error } = peer.event() else { panic!() };
    assert_eq!(error.to_string(), "the server refused the message: not authorized (0x87): n");
    let nobody = Event::Published { token: 5, code: ReasonCode::NoMatchingSubscribers };
    assert_eq!(peer.event(), nobody);
    assert!(peer.client.is_idle(), "no PUBREL after a refusal");
}

#[test]
fn acknowledgements_of_nothing() {
    let mut peer = Peer::connected(v5(), 0, "");
    peer.receive("40 02 0009 70 02 0009");
    peer.expect("");
    peer.receive("50 02 0009");
    peer.expect("62 03 0009 92");
    assert_eq!(peer.client.counters().unknown_acks, 3);
    // Of the wrong kind: the connection ends.
    peer.publish("t", Qos::AtLeastOnce, 1);
    peer.sent();
    peer.receive("50 02 0001");
    peer.expect("e0 01 82");
    peer.expect_end(&ClientError::Violation(Violation::WrongFlow));
}

#[test]
fn resumed_in_order_with_dup_and_the_same_ids() {
    let mut peer = Peer::connected(durable(), 0, "");
    peer.publish("a", Qos::AtLeastOnce, 1);
    peer.publish("b", Qos::ExactlyOnce, 2);
    peer.publish("c", Qos::ExactlyOnce, 3);
    peer.publish("d", Qos::AtLeastOnce, 4);
    peer.sent();
    peer.receive("50 02 0002 40 02 0004");
    peer.events.clear();
    let connect = peer.lose();
    assert!(connect.contains("05 00 00 3c"), "Clean Start 0 once there was a session: {connect}");
    peer.publish("e", Qos::AtMostOnce, 5);
    peer.accept(1, "");
    peer.expect(
        "3a 07 0001 \"a\" 0001 00 \"x\" 62 02 0002 3c 07 0001 \"c\" 0003 00 \"x\"
         30 05 0001 \"e\" 00 \"x\"",
    );
    peer.expect_published(5);
    peer.receive("40 02 0001 70 02 0002 50 02 0003 70 02 0003");
    for token in [1, 2, 3] {
        peer.expect_published(token);
    }
    assert_eq!(peer.client.counters().publishes_repeated, 2);
}

#[test]
fn the_servers_limits_hold() {
    let mut peer = Peer::connected(v5(), 0, "21 0002 27 00000020 24 01 25 00");
    let mut publish = |publish: Publish<'_>| peer.client.publish(&publish, 1);
    let plain = Publish::new("t", b"x", Qos::AtLeastOnce);
    let exactly = Publish { qos: Qos::ExactlyOnce, ..plain };
    assert_eq!(publish(exactly), Err(PublishError::QosNotSupported));
    assert_eq!(publish(Publish { retain: true, ..plain }), Err(PublishError::RetainNotSupported));
    let too_long = Publish { payload: &[0; 25], ..plain };
    assert_eq!(publish(too_long), Err(PublishError::TooLarge { max: 32 }));
    for bad in ["", "a/+", "#", "a\0"] {
        assert_eq!(publish(Publish { topic: bad, ..plain }), Err(PublishError::BadTopic));
    }
    let alias: PropertyBuf = [Property::TopicAlias(1)].into_iter().collect();
    let aliased = Publish { properties: alias.as_properties(), ..plain };
    assert_eq!(publish(aliased), Err(PublishError::BadProperty));
    publish(Publish { payload: &[0; 24], ..plain }).unwrap();
    // Receive maximum 2: the third waits, and what is behind it.
    for _ in 0..2 {
        publish(plain).unwrap();
    }
    publish(Publish { qos: Qos::AtMostOnce, ..plain }).unwrap();
    assert_eq!(peer.sent().matches("00 01 74").count(), 2);
    peer.receive("40 02 0001");
    peer.expect("32 07 0001 \"t\" 0003 00 \"x\" 30 05 0001 \"t\" 00 \"x\"");
}

/// [MQTT-3.3.4-8], [MQTT-4.9.0-3]: with the quota used up only PUBLISH above QoS 0, and what must
/// not overtake it, waits.
#[test]
fn other_packets_do_not_wait_for_the_quota() {
    let mut peer = Peer::connected(v5(), 0, "21 0001");
    peer.publish("t", Qos::AtLeastOnce, 1);
    peer.publish("t", Qos::ExactlyOnce, 2);
    peer.expect("32 07 0001 \"t\" 0001 00 \"x\"");
    peer.client.subscribe(&[Filter::new("s", Qos::AtMostOnce)], &PropertyBuf::new(), 3).unwrap();
    peer.client.unsubscribe(&["u"], &PropertyBuf::new(), 4).unwrap();
    let sent = peer.sent();
    assert!(sent.contains("82 07 00") && sent.contains("a2 06 00"), "{sent}");
    peer.receive("34 07 0001 \"s\" 0009 00 \"y\" 62 02 0009");
    peer.expect("50 02 0009 70 02 0009");
    for _ in 0..2 {
        peer.advance(std::time::Duration::from_secs(30));
    }
    peer.expect("c0 00");
    peer.receive("d0 00 40 02 0001");
    assert!(peer.sent().starts_with("34 07"), "the second");
}

/// [MQTT-3.2.2-17], [MQTT-3.2.2-18]: no alias without leave, however many we would use.
#[test]
fn no_alias_without_leave() {
    let eager = || ClientConfig { max_topic_aliases: 8, ..v5() };
    for (properties, most) in [("", 0), ("22 0000", 0), ("22 0002", 2)] {
        let mut peer = Peer::connected(eager(), 0, properties);
        let mut aliases = 0;
        for topic in ["a", "b", "c", "a", "b", "c"] {
            peer.publish(topic, Qos::AtMostOnce, 0);
            let sent = peer.sent();
            if let Some((_, alias)) = sent.split_once("03 23 00 ") {
                let alias: u16 = alias[..2].parse().unwrap();
                assert!((1..=most).contains(&alias), "{sent}");
                aliases += 1;
            }
        }
        assert_eq!(aliases > 0, most > 0, "{properties}");
    }
}

#[test]
fn what_waited_and_does_not_suit_the_server_fails_loudly() {
    let mut peer = Peer::new(v5());
    peer.publish("t", Qos::ExactlyOnce, 1);
    peer.publish("t", Qos::AtLeastOnce, 2);
    peer.open();
    peer.accept(0, "24 01");
    let error = PublishError::QosNotSupported;
    assert_eq!(peer.event(), Event::PublishFailed { token: 1, error });
    assert!(peer.sent().starts_with("32"));
}

#[test]
fn a_full_queue_says_so_and_when_it_is_free() {
    let config = ClientConfig { max_queue: 4, max_queue_bytes: 100, ..v5() };
    let mut peer = Peer::connected(config, 0, "");
    for token in 0..4 {
        peer.publish("t", Qos::AtLeastOnce, token);
    }
    let plain = Publish::new("t", b"x", Qos::AtLeastOnce);
    assert_eq!(peer.client.publish(&plain, 4), Err(PublishError::QueueFull));
    let huge = Publish { payload: &[0; 100], ..plain };
    assert_eq!(peer.client.publish(&huge, 4), Err(PublishError::TooLarge { max: 100 }));
    peer.receive("40 02 0001");
    assert_eq!(peer.events.len(), 1);
    peer.receive("40 02 0002");
    assert_eq!(peer.events.last(), Some(&Event::QueueFree));
    peer.publish("t", Qos::AtLeastOnce, 4);
}

#[test]
fn qos0_goes_back_to_the_queue_when_the_outbox_is_full_and_is_reported_lost() {
    let config = ClientConfig { max_outbox_bytes: 10, max_queue: 3, ..v5() };
    let mut peer = Peer::connected(config, 0, "");
    for token in 0..5 {
        peer.publish("t", Qos::AtMostOnce, token);
    }
    assert_eq!(peer.client.outbox().len(), 14, "two, and three wait");
    let plain = Publish::new("t", b"x", Qos::AtMostOnce);
    assert_eq!(peer.client.publish(&plain, 5), Err(PublishError::QueueFull));
    peer.client.handle_written(peer.now, 9);
    peer.drain();
    peer.expect_published(0);
    peer.client.handle_closed(peer.now);
    peer.drain();
    let lost: Vec<_> = peer
        .events
        .iter()
        .filter_map(|event| match event {
            Event::PublishFailed { token, error: PublishError::ConnectionLost } => Some(*token),
            _ => None,
        })
        .collect();
    assert_eq!(lost.first(), Some(&1));
    assert_eq!(lost.len() + peer.client.queue_len(), 4, "each is lost or waits");
}

#[test]
fn given_up_is_told_and_begins_a_new_session() {
    let config = ClientConfig { clean: false, ..durable() };
    let mut peer = Peer::connected(config, 0, "");
    peer.publish("t", Qos::ExactlyOnce, 1);
    peer.sent();
    peer.client.give_up();
    assert!(peer.events.is_empty(), "what was sent is not given up while connected");
    peer.client.handle_closed(peer.now);
    peer.client.give_up();
    peer.drain();
    let error = PublishError::GivenUp;
    assert!(peer.events.contains(&Event::PublishFailed { token: 1, error }));
    peer.now = peer.client.poll_timeout().unwrap();
    peer.client.handle_timeout(peer.now);
    assert!(peer.opened().contains("05 02 00 3c"), "Clean Start");
}
