//! Receiving: QoS 2 once, manual acknowledgement, aliases, cut chunks, limits.

use std::num::NonZeroU16;

use motegate_message::Qos;
use motegate_mqtt::client::{ClientConfig, ClientError, Event, Reconnect, Transmit, Violation};
use motegate_mqtt::{Property, ReasonCode};

use crate::common::{hex, packet};
use crate::peer::{Peer, durable, v5};

#[test]
fn qos2_comes_once_over_connections() {
    let mut peer = Peer::connected(durable(), 0, "");
    peer.receive("34 07 0001 \"t\" 0005 00 \"x\" 34 07 0001 \"t\" 0006 00 \"y\"");
    peer.expect("50 02 0005 50 02 0006");
    assert_eq!(peer.events.len(), 2);
    peer.events.clear();
    peer.receive("62 02 0006");
    peer.expect("70 02 0006");
    peer.lose();
    peer.accept(1, "");
    peer.receive("3c 07 0001 \"t\" 0005 00 \"x\"");
    peer.expect("50 02 0005");
    peer.receive("62 02 0005 62 02 0006");
    peer.expect("70 02 0005 70 03 0006 92");
    assert!(peer.events.is_empty());
    assert_eq!(peer.client.counters().duplicates, 1);
}

#[test]
fn manual_acknowledgements_leave_in_order() {
    let mut peer = Peer::connected(ClientConfig { manual_ack: true, ..durable() }, 0, "");
    let ok = ReasonCode::Success;
    let message = |first: u8, id: u16| packet(first, &format!("0001 \"t\" {id:04x} 00 \"x\""));
    let take = |peer: &mut Peer, first, id| {
        peer.receive(&message(first, id));
        match peer.event() {
            Event::Message(message) => message.ack().unwrap(),
            event => panic!("{event:?}"),
        }
    };
    let (a, b, c) = (take(&mut peer, 0x32, 1), take(&mut peer, 0x32, 2), take(&mut peer, 0x34, 3));
    peer.expect("");
    assert!(peer.client.acknowledge(b, ok));
    peer.expect("");
    assert!(peer.client.acknowledge(a, ReasonCode::NotAuthorized));
    assert!(!peer.client.acknowledge(a, ok), "once");
    peer.expect("40 03 0001 87 40 02 0002");
    // While it is not acknowledged a repetition is no news; while there is no connection the
    // acknowledgement is remembered.
    let d = take(&mut peer, 0x32, 4);
    peer.lose();
    assert!(peer.client.acknowledge(c, ok));
    assert!(!peer.client.acknowledge(d, ok), "will come again");
    peer.accept(1, "");
    peer.receive(&message(0x3c, 3));
    peer.expect("50 02 0003");
    assert!(peer.events.is_empty());
    let d = take(&mut peer, 0x3a, 4);
    assert!(peer.client.acknowledge(d, ok));
    peer.expect("40 02 0004");
    // A refusal frees the id.
    let e = take(&mut peer, 0x34, 9);
    assert!(peer.client.acknowledge(e, ReasonCode::QuotaExceeded));
    peer.expect("50 03 0009 97");
    take(&mut peer, 0x34, 9);
}

#[test]
fn topic_aliases_both_ways() {
    let config = ClientConfig { max_topic_aliases: 1, topic_alias_maximum: 2, ..v5() };
    let mut peer = Peer::connected(config, 0, "22 0005");
    for topic in ["a", "a", "b"] {
        peer.publish(topic, Qos::AtMostOnce, 0);
    }
    peer.expect(
        "30 08 0001 \"a\" 03 23 0001 \"x\" 30 07 0000 03 23 0001 \"x\" 30 05 0001 \"b\" 00 \"x\"",
    );
    peer.events.clear();
    peer.receive("30 09 0002 \"in\" 03 23 0002 \"x\" 30 07 0000 03 23 0002 \"y\"");
    for payload in [b"x", b"y"] {
        let Event::Message(message) = peer.event() else { panic!() };
        assert_eq!((message.topic(), message.payload()), ("in", &payload[..]));
        assert!(message.properties().iter().eq([Property::TopicAlias(2)]));
    }
    peer.receive("30 08 0001 \"i\" 03 23 0003 \"x\"");
    peer.expect("e0 01 94");
    peer.expect_end(&ClientError::Violation(Violation::TopicAlias));
}

/// [MQTT-3.3.2-7]: neither side's aliases outlive their connection, whatever becomes of the session.
#[test]
fn topic_aliases_end_with_the_connection() {
    for present in [0, 1] {
        let config = ClientConfig {
            max_topic_aliases: 1,
            topic_alias_maximum: 2,
            reconnect: Some(Reconnect::default()),
            session_expiry_secs: 60,
            ..v5()
        };
        let mut peer = Peer::connected(config, 0, "22 0005");
        peer.publish("a", Qos::AtMostOnce, 0);
        peer.expect("30 08 0001 \"a\" 03 23 0001 \"x\"");
        peer.receive("30 09 0002 \"in\" 03 23 0002 \"x\"");
        peer.lose();
        peer.events.clear();
        peer.accept(present, "22 0005");
        peer.publish("a", Qos::AtMostOnce, 0);
        peer.expect("30 08 0001 \"a\" 03 23 0001 \"x\"");
        peer.events.clear();
        peer.receive("30 07 0000 03 23 0002 \"y\"");
        peer.expect("e0 01 94");
        peer.expect_end(&ClientError::Violation(Violation::TopicAlias));
    }
}

#[test]
fn a_message_knows_its_packet_id_also_behind_an_alias() {
    let config = ClientConfig { topic_alias_maximum: 2, ..v5() };
    let mut peer = Peer::connected(config, 0, "");
    peer.receive("30 05 0001 \"t\" 00 \"x\" 32 0a 0001 \"t\" 1234 03 23 0002 \"x\"");
    peer.receive("34 09 0000 0005 03 23 0002 \"x\"");
    let ids: Vec<_> = (0..3)
        .map(|_| match peer.event() {
            Event::Message(message) => message.packet_id().map(NonZeroU16::get),
            event => panic!("{event:?}"),
        })
        .collect();
    assert_eq!(ids, [None, Some(0x1234), Some(5)]);
}

#[test]
fn the_clients_limits_hold() {
    let small = || ClientConfig { receive_maximum: 1, max_packet_size: 20, ..v5() };
    let mut peer = Peer::connected(small(), 0, "");
    peer.receive("34 07 0001 \"t\" 0001 00 \"x\" 34 07 0001 \"t\" 0002 00 \"x\"");
    assert!(peer.sent().ends_with("e0 01 93"));
    peer.events.remove(0);
    peer.expect_end(&ClientError::Violation(Violation::ReceiveMaximum));
    let mut peer = Peer::connected(small(), 0, "");
    peer.receive("30 13"); // 21 bytes, told by the header alone
    peer.expect("e0 01 95");
    let again = peer.expect_end(&ClientError::Violation(Violation::PacketTooLarge));
    assert!(again.is_some());
}

#[test]
fn chunks_cut_anywhere_are_the_same() {
    let stream = hex("20 03 00 00 00 34 07 0001 \"t\" 0001 00 \"x\" 62 02 0001
         30 05 0001 \"t\" 00 \"y\" d0 00");
    let run = |cuts: &[usize]| {
        let mut peer = Peer::new(v5());
        peer.open();
        let mut rest = &stream[..];
        for cut in cuts {
            let (head, tail) = rest.split_at((*cut).min(rest.len()));
            peer.client.handle_bytes(peer.now, head);
            rest = tail;
        }
        peer.client.handle_shared_bytes(peer.now, &rest.to_vec().into());
        let sent = peer.sent();
        (sent, peer.events)
    };
    let whole = run(&[]);
    assert_eq!(whole.0, "50 02 00 01 70 02 00 01");
    assert_eq!(whole.1.len(), 3);
    for a in 1..stream.len() {
        assert_eq!(run(&[a]), whole);
        assert_eq!(run(&[a, 1]), whole);
    }
    assert_eq!(run(&[1; 64]), whole);
}

#[test]
fn a_server_that_does_not_read_is_paused() {
    let mut peer = Peer::connected(v5(), 0, "");
    let many: String = (0..17_000).map(|_| "32 07 0001 \"t\" 0001 00 \"x\"").collect();
    peer.receive(&many);
    assert_eq!(peer.transmits, [Transmit::PauseReads]);
    peer.events.clear();
    peer.client.handle_written(peer.now, 10_000);
    peer.client.handle_written(peer.now, 30_000);
    peer.drain();
    assert_eq!(peer.transmits, [Transmit::PauseReads, Transmit::ResumeReads]);
    for _ in 0..20 {
        peer.receive(&many);
    }
    assert!(peer.events.iter().any(|event| matches!(
        event,
        Event::Disconnected { error: Some(ClientError::Violation(Violation::NotReading)), .. }
    )));
}
