//! CONNECT, CONNACK, keep alive, reconnection and goodbyes, byte by byte.

use std::time::Duration;

use motegate_message::Qos;
use motegate_mqtt::client::{
    Client, ClientConfig, ClientError, ClientWill, ConfigError, ErrorKind, Event, Goodbye,
    Password, Reconnect, Transmit, Violation,
};
use motegate_mqtt::{Property, PropertyBuf, ReasonCode, Version};

use crate::common::{field, hex, packet, show};
use crate::peer::{Peer, durable, v5, v311};

#[test]
fn connect_says_everything() {
    let mut properties = PropertyBuf::new();
    properties.push(Property::WillDelayInterval(5)).push(Property::ContentType("t"));
    let mut user = PropertyBuf::new();
    user.push(Property::UserProperty("k", "v")).push(Property::RequestProblemInformation(false));
    let config = ClientConfig {
        will: Some(ClientWill {
            topic: "w".into(),
            payload: b"bye".to_vec(),
            qos: Qos::ExactlyOnce,
            retain: true,
            properties,
        }),
        user_name: Some("u".into()),
        password: Some(Password(b"p".to_vec())),
        properties: user,
        receive_maximum: 10,
        max_packet_size: 1000,
        topic_alias_maximum: 3,
        clean: false,
        session_expiry_secs: 60,
        ..ClientConfig::new("c")
    };
    assert!(!format!("{config:?}").contains("112"), "the password is not shown");
    let connect = "11 0000003c 21 000a 27 000003e8 22 0003 26 0001 \"k\" 0001 \"v\" 17 00";
    let will = "18 00000005 03 0001 \"t\"";
    let body = format!(
        "{} 05 f4 003c {:02x} {connect} {} {:02x} {will} {} {} {} {}",
        field("MQTT"),
        hex(connect).len(),
        field("c"),
        hex(will).len(),
        field("w"),
        field("bye"),
        field("u"),
        field("p"),
    );
    assert_eq!(Peer::new(config.clone()).open(), show(&hex(&packet(0x10, &body))));
    let old = ClientConfig { version: Version::V31, ..config };
    let body = format!(
        "{} 03 f4 003c {} {} {} {} {}",
        field("MQIsdp"),
        field("c"),
        field("w"),
        field("bye"),
        field("u"),
        field("p"),
    );
    assert_eq!(Peer::new(old).open(), show(&hex(&packet(0x10, &body))));
}

#[test]
fn settings_that_make_no_connect() {
    let fails = |change: fn(&mut ClientConfig)| {
        let mut config = v311();
        change(&mut config);
        Client::new(config, 1).unwrap_err()
    };
    assert_eq!(fails(|c| (c.client_id, c.clean) = ("".into(), false)), ConfigError::NoClientId);
    assert_eq!(fails(|c| c.password = Some(Password(vec![]))), ConfigError::PasswordAlone);
    assert_eq!(fails(|c| c.receive_maximum = 0), ConfigError::ZeroLimit);
    assert_eq!(fails(|c| c.client_id = "a\0".into()), ConfigError::BadText);
    let auth = |c: &mut ClientConfig| {
        c.properties.push(Property::AuthenticationMethod("x"));
    };
    assert_eq!(fails(auth), ConfigError::AuthenticationAsProperty);
    let misplaced = |c: &mut ClientConfig| {
        c.properties.push(Property::TopicAlias(1));
    };
    assert!(matches!(fails(misplaced), ConfigError::Property(_)));
}

#[test]
fn keep_alive_pings_and_gives_up() {
    let mut peer = Peer::connected(v5(), 0, "13 000a");
    peer.advance(Duration::from_secs(9));
    peer.expect("");
    peer.advance(Duration::from_secs(1));
    peer.expect("c0 00");
    peer.receive("d0 00");
    // Publishing into silence is no sign of life.
    for _ in 0..9 {
        peer.advance(Duration::from_secs(1));
        peer.publish("t", Qos::AtMostOnce, 0);
        assert!(peer.sent().starts_with("30"));
    }
    peer.advance(Duration::from_secs(1));
    peer.expect("c0 00");
    peer.events.clear();
    peer.advance(Duration::from_secs(9));
    assert!(peer.events.is_empty());
    peer.advance(Duration::from_secs(1));
    assert!(peer.expect_end(&ClientError::PingTimeout).is_some());
    let mut silent = Peer::connected(ClientConfig { keep_alive_secs: 0, ..v5() }, 0, "");
    silent.sent();
    assert_eq!(silent.client.poll_timeout(), None);
}

#[test]
fn refusals_are_told_with_what_to_try() {
    let mut peer = Peer::new(v5());
    peer.open();
    peer.receive(&packet(0x20, "00 87 09 1f 0006 \"no way\""));
    let Event::Disconnected { error: Some(error), retry_at: None } = peer.event() else { panic!() };
    let text = "the server refused the connection: not authorized (0x87): no way";
    assert_eq!(error.to_string(), text);
    assert!(error.hint().contains("password"));
    assert_eq!(error.kind(), ErrorKind::Refused);
    // Busy: later, but only if that was wished for.
    for (initially, again) in [(false, false), (true, true)] {
        let reconnect = Some(Reconnect { initially, ..Reconnect::default() });
        let mut peer = Peer::new(ClientConfig { reconnect, ..v5() });
        peer.open();
        peer.receive("20 03 00 89 00");
        let Event::Disconnected { retry_at, .. } = peer.event() else { panic!() };
        assert_eq!(retry_at.is_some(), again);
    }
}

#[test]
fn an_old_server_is_spoken_to_in_its_version() {
    let mut peer = Peer::new(ClientConfig { fall_back: true, ..v5() });
    peer.publish("t", Qos::AtLeastOnce, 1);
    assert!(peer.open().contains("4d 51 54 54 05"));
    peer.receive("20 02 00 01");
    let Event::Disconnected { error: Some(ClientError::Refused(refusal)), retry_at } = peer.event()
    else {
        panic!()
    };
    assert_eq!(refusal.code, ReasonCode::UnsupportedProtocolVersion);
    assert_eq!(retry_at, Some(peer.now));
    peer.client.handle_closed(peer.now);
    peer.transmits.clear();
    peer.client.handle_timeout(peer.now);
    assert!(peer.opened().contains("4d 51 54 54 04"));
    peer.accept(0, "");
    peer.expect("32 06 0001 \"t\" 0001 \"x\"");
}

#[test]
fn taken_over_is_the_end_and_other_goodbyes_are_not() {
    for (code, again) in [("8e", false), ("9d", false), ("8b", true), ("98", true)] {
        let mut peer = Peer::connected(v5(), 0, "");
        peer.receive(&format!("e0 01 {code}"));
        let Event::Disconnected { error, retry_at } = peer.event() else { panic!() };
        assert!(matches!(error, Some(ClientError::Ended(_))));
        assert_eq!(retry_at.is_some(), again, "{code}");
    }
}

#[test]
fn what_the_server_must_not_do() {
    let early = [("30 05 0001 \"t\" 00 \"x\"", Violation::NotConnAck)];
    for (bytes, violation) in early.into_iter().chain([("f0 00", Violation::UnexpectedAuth)]) {
        let mut peer = Peer::new(v5());
        peer.open();
        peer.receive(bytes);
        peer.expect("");
        peer.expect_end(&ClientError::Violation(violation));
    }
    let mut peer = Peer::new(v5());
    peer.open();
    peer.receive("20 03 01 00 00");
    peer.expect_end(&ClientError::Violation(Violation::UnexpectedSession));
    for (bytes, code, violation) in [
        ("20 03 00 00 00", "82", Violation::SecondConnAck),
        ("f0 00", "82", Violation::UnexpectedAuth),
    ] {
        let mut peer = Peer::connected(v5(), 0, "");
        peer.receive(bytes);
        peer.expect(&format!("e0 01 {code}"));
        peer.expect_end(&ClientError::Violation(violation));
    }
    let mut peer = Peer::connected(v5(), 0, "");
    peer.receive("00 00");
    peer.expect("e0 01 81");
    let Event::Disconnected { error: Some(error), .. } = peer.event() else { panic!() };
    assert_eq!(error.kind(), ErrorKind::Protocol);
}

#[test]
fn time_outs_and_attempts() {
    let reconnect = Reconnect { attempts: Some(2), initially: true, ..Reconnect::default() };
    let mut peer = Peer::new(ClientConfig { reconnect: Some(reconnect), ..v5() });
    peer.open();
    peer.advance(Duration::from_secs(15));
    let first = peer.expect_end(&ClientError::ConnectTimeout).unwrap();
    let wait = first.saturating_since(peer.now);
    assert!((500..=1000).contains(&wait.as_millis()), "{wait:?}");
    peer.now = first;
    peer.client.handle_timeout(first);
    assert_eq!(peer.client.poll_transmit(), Some(Transmit::Open));
    peer.client.handle_closed(peer.now);
    peer.drain();
    let Event::Disconnected { error: Some(ClientError::Unreachable), retry_at: Some(second) } =
        peer.event()
    else {
        panic!()
    };
    let wait = second.saturating_since(peer.now);
    assert!((1000..=2000).contains(&wait.as_millis()), "{wait:?}");
    peer.now = second;
    peer.client.handle_timeout(second);
    peer.opened();
    peer.client.handle_closed(peer.now);
    peer.drain();
    let last = Event::Disconnected { error: Some(ClientError::ClosedEarly), retry_at: None };
    assert_eq!(peer.event(), last);
    assert_eq!(peer.client.poll_timeout(), None);
}

#[test]
fn the_greatest_receive_maximum_is_not_announced() {
    let mut peer = Peer::new(ClientConfig { receive_maximum: u16::MAX, ..v5() });
    let connect = peer.open();
    assert!(!connect.contains("21 ffff") && !connect.contains("21ffff"), "{connect}");
    let mut peer = Peer::new(ClientConfig { receive_maximum: 0x1234, ..v5() });
    let announced = peer.open();
    assert_eq!(announced.replace(' ', "").len(), connect.replace(' ', "").len() + 6);
}

/// A broker that is killed now and then is not one that accepts and throws out.
#[test]
fn a_connection_that_got_something_through_makes_the_next_wait_the_first() {
    for useful in [false, true] {
        let mut peer = Peer::connected(durable(), 0, "");
        let mut waits = Vec::new();
        for id in 1..=6_u16 {
            peer.publish("t", Qos::AtLeastOnce, id.into());
            peer.sent();
            if useful {
                peer.receive(&format!("40 02 {id:04x}"));
            }
            peer.events.clear();
            let before = peer.now;
            peer.lose();
            waits.push(peer.now.saturating_since(before).as_millis());
            peer.accept(1, "");
        }
        let all_short = waits.iter().all(|wait| *wait <= 1000);
        assert_eq!(all_short, useful, "{waits:?}");
        assert_eq!(waits.last().is_some_and(|last| *last >= 16_000 / 2), !useful, "{waits:?}");
    }
}

#[test]
fn goodbyes() {
    let mut peer = Peer::connected(durable(), 0, "");
    peer.publish("t", Qos::AtMostOnce, 1);
    let goodbye = Goodbye { with_will: true, session_expiry_secs: Some(5), ..Goodbye::default() };
    peer.client.disconnect(peer.now, &goodbye);
    peer.expect("30 05 0001 \"t\" 00 \"x\" e0 07 04 05 11 00000005");
    assert_eq!(peer.event(), Event::Disconnected { error: None, retry_at: None });
    peer.expect_published(1);
    assert_eq!(peer.transmits, [Transmit::Close]);
    peer.client.handle_closed(peer.now);
    assert_eq!(peer.client.poll_timeout(), None);
    // While it waits for the next attempt.
    let mut peer = Peer::connected(v311(), 0, "");
    peer.client.handle_closed(peer.now);
    peer.client.disconnect(peer.now, &Goodbye::default());
    assert_eq!(peer.client.poll_timeout(), None);
    let mut peer = Peer::connected(v311(), 0, "");
    peer.client.disconnect(peer.now, &goodbye);
    peer.expect("e0 00");
    // MQTT 5 §3.14.2.2.2: no expiry where CONNECT had none.
    let mut peer = Peer::connected(v5(), 0, "");
    peer.client.disconnect(peer.now, &goodbye);
    peer.expect("e0 01 04");
}

#[test]
fn an_assigned_client_id_is_kept() {
    let mut peer = Peer::new(ClientConfig { client_id: "".into(), ..durable() });
    peer.open();
    peer.receive(&packet(0x20, "00 00 06 12 0003 \"new\""));
    let Event::Connected(connected) = peer.event() else { panic!() };
    assert_eq!(connected.client_id, "new");
    assert!(peer.lose().contains("00 03 6e 65 77"));
}
