//! The client of this crate against the endpoint of this crate, over a link that may lose.
#![cfg(feature = "endpoint")]
#![allow(clippy::unwrap_used)]

mod rig;

use motegate_message::{Qos, Reason};
use motegate_mqtt_sn::client::{
    Client, ClientConfig, ClientError, ClientEvent, ClientState, Done, WillFields,
};
use motegate_mqtt_sn::{Packet, QosBits, TopicId, TopicRef};
use rig::*;

type Small = Client<64>;

/// Carries datagrams both ways until nothing moves; drops every `lose`th. Returns what happened.
fn run(rig: &mut Rig, client: &mut Small, lose: usize) -> Vec<String> {
    let mut events = Vec::new();
    let mut carried = 0;
    for _ in 0..1000 {
        let mut dropped = || {
            carried += 1;
            lose != 0 && carried % lose == 0
        };
        if let Some(bytes) = client.poll_transmit() {
            if !dropped() {
                rig.send_bytes(1, &bytes);
            }
        } else if let Some((_, bytes)) = rig.inbox.pop_front() {
            if !dropped() {
                events.extend(client.handle_datagram(rig.now, &bytes).map(|e| format!("{e:?}")));
            }
        } else if client.is_busy() {
            rig.advance(1);
            events.extend(client.handle_timeout(rig.now).map(|e| format!("{e:?}")));
        } else {
            return events;
        }
    }
    panic!("{events:?}");
}

fn connected(rig: &mut Rig, config: ClientConfig) -> Small {
    let mut client = Small::new("m", config).unwrap();
    client.connect(rig.now, false).unwrap();
    assert_eq!(run(rig, &mut client, 0), ["Done(Connect)"]);
    client
}

#[test]
fn a_whole_life_over_good_and_bad_links() {
    for lose in [0, 4, 3] {
        let mut rig = Rig::new();
        let will = WillFields {
            qos: QosBits::One,
            retain: false,
            topic: "w".try_into().unwrap(),
            message: heapless_bytes(b"bye"),
        };
        let mut client =
            Small::new("m", ClientConfig { will: Some(will), ..ClientConfig::default() }).unwrap();
        client.search(rig.now, 1).unwrap();
        assert_eq!(
            run(&mut rig, &mut client, lose),
            ["GatewayFound { gateway_id: 1, address: [] }"]
        );
        client.connect(rig.now, true).unwrap();
        assert_eq!(run(&mut rig, &mut client, lose), ["Done(Connect)"], "{lose}");
        client.register(rig.now, "a/b").unwrap();
        let done = run(&mut rig, &mut client, lose);
        assert_eq!(done, ["Done(Register { topic_id: 1 })"], "{lose}");
        for qos in [QosBits::One, QosBits::Two] {
            client.publish(rig.now, TopicId::Normal(1), qos, false, b"x").unwrap();
            assert_eq!(run(&mut rig, &mut client, lose), ["Done(Publish)"], "{lose}");
        }
        assert_eq!(rig.published.len(), 2, "{lose}: no message twice");
        client.subscribe(rig.now, TopicRef::Name("c"), QosBits::Two).unwrap();
        let done = run(&mut rig, &mut client, lose);
        assert_eq!(done, ["Done(Subscribe { qos: Two, topic_id: 2 })"], "{lose}");
        client.unsubscribe(rig.now, TopicRef::Name("c")).unwrap();
        assert_eq!(run(&mut rig, &mut client, lose), ["Done(Unsubscribe)"]);
        client.update_will_message(rig.now, b"new").unwrap();
        assert_eq!(run(&mut rig, &mut client, lose), ["Done(WillMessage)"]);
        client.disconnect(rig.now).unwrap();
        assert_eq!(run(&mut rig, &mut client, lose), ["Done(Disconnect)"]);
        assert_eq!(client.state(), ClientState::Disconnected);
        assert_eq!(rig.disconnected, [(Reason::ClientDisconnect, true)]);
    }
}

fn heapless_bytes<const N: usize>(bytes: &[u8]) -> heapless::Vec<u8, N> {
    heapless::Vec::from_slice(bytes).unwrap()
}

#[test]
fn a_sleeper_gets_its_messages_between_wake_and_ping() {
    let mut rig = Rig::new();
    let mut client = connected(&mut rig, ClientConfig::default());
    client.subscribe(rig.now, TopicRef::Name("#"), QosBits::Two).unwrap();
    run(&mut rig, &mut client, 0);
    client.sleep(rig.now, 600).unwrap();
    assert_eq!(run(&mut rig, &mut client, 0), ["Done(Sleep)"]);
    assert_eq!((client.state(), client.poll_timeout()), (ClientState::Asleep, None));
    for qos in [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce] {
        rig.deliver("m", "t", qos, "x");
    }
    assert_eq!(run(&mut rig, &mut client, 0), [""; 0]);
    client.wake(rig.now).unwrap();
    let message = "Message { topic: Normal(1), retain: false, data: [120] }";
    let registered = "Registered { topic_id: 1, name: \"t\" }";
    let events = run(&mut rig, &mut client, 0);
    assert_eq!(events, [registered, message, message, message, "Done(Ping)"]);
    assert_eq!(client.state(), ClientState::Asleep);
}

#[test]
fn it_pings_when_it_has_nothing_to_say_and_notices_silence() {
    let mut rig = Rig::new();
    let mut client = connected(&mut rig, ClientConfig::default());
    for _ in 0..5 {
        let due = client.poll_timeout().unwrap();
        rig.advance(due.saturating_since(rig.now).as_secs());
        assert_eq!(client.handle_timeout(rig.now), None);
        assert_eq!(run(&mut rig, &mut client, 0), ["Done(Ping)"]);
    }
    assert_eq!(rig.disconnected, []);
    client.publish(rig.now, TopicId::Short(*b"ab"), QosBits::One, false, b"x").unwrap();
    for repeat in 0..5 {
        assert!(client.poll_transmit().is_some(), "{repeat}");
        rig.advance(10);
        let event = client.handle_timeout(rig.now);
        assert_eq!(event.is_some(), repeat == 4);
    }
    assert_eq!(client.state(), ClientState::Disconnected);
}

#[test]
fn what_cannot_be_asked_is_an_error() {
    let mut rig = Rig::new();
    assert_eq!(Small::new("", ClientConfig::default()).unwrap_err(), ClientError::TooLong);
    let mut client = Small::new("m", ClientConfig::default()).unwrap();
    assert_eq!(client.register(rig.now, "a"), Err(ClientError::NotConnected));
    assert_eq!(client.wake(rig.now), Err(ClientError::NotAsleep));
    let unasked = |client: &mut Small, topic| {
        client.publish(motegate_timers::Instant::ZERO, topic, QosBits::MinusOne, false, b"x")
    };
    assert_eq!(unasked(&mut client, TopicId::Predefined(1)), Ok(()));
    assert_eq!(unasked(&mut client, TopicId::Normal(1)), Err(ClientError::NotConnected));
    client.connect(rig.now, true).unwrap();
    assert_eq!(client.connect(rig.now, true), Err(ClientError::Busy));
    run(&mut rig, &mut client, 0);
    assert_eq!(rig.published.len(), 1);
    assert_eq!(client.register(rig.now, &"x".repeat(64)), Err(ClientError::TooLong));
    // The gateway has forgotten it.
    let goodbye = encode(&Packet::Disconnect { duration: None });
    assert_eq!(client.handle_datagram(rig.now, &goodbye), Some(ClientEvent::Lost));
    assert_ne!(ClientEvent::Lost, ClientEvent::Done(Done::Disconnect));
}
