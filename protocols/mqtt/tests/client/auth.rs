//! Enhanced authentication of the client (MQTT 5 §4.12): the mechanism is the test's.

use bytes::Bytes;
use motegate_mqtt::Version;
use motegate_mqtt::client::{Client, ClientConfig, ClientError, ConfigError, Event, Violation};

use crate::common::{field, hex, packet, show};
use crate::peer::{Peer, v5};

fn config() -> ClientConfig {
    ClientConfig { auth_method: Some("X".into()), ..v5() }
}

/// Method `X` with data.
fn words(data: &str) -> String {
    format!("15 {} 16 {}", field("X"), field(data))
}

fn auth(code: u8, properties: &str) -> String {
    packet(0xf0, &format!("{code:02x} {:02x} {properties}", hex(properties).len()))
}

fn wanted(data: &'static str) -> Event {
    Event::AuthWanted { data: Some(Bytes::from_static(data.as_bytes())) }
}

/// A client whose CONNECT was sent.
fn begun() -> Peer {
    let mut peer = Peer::new(config());
    assert_eq!(peer.open(), "", "it waits for the first word");
    assert_eq!(peer.event(), Event::AuthWanted { data: None });
    assert!(peer.client.authenticate(peer.now, b"first"));
    let connect = peer.sent();
    assert!(connect.contains(&show(&hex(&words("first")))), "{connect}");
    peer
}

/// MQTT-4.12.0-3, -5.
#[test]
fn an_exchange_is_carried_through_and_again() {
    let mut peer = begun();
    assert!(!peer.client.authenticate(peer.now, b"too early"));
    peer.receive(&auth(0x18, &words("challenge")));
    assert_eq!(peer.event(), wanted("challenge"));
    assert!(peer.client.authenticate(peer.now, b"answer"));
    peer.expect(&auth(0x18, &words("answer")));
    peer.accept(0, &words("last"));
    // MQTT-4.12.1-1
    assert!(peer.client.authenticate(peer.now, b"again"));
    peer.expect(&auth(0x19, &words("again")));
    peer.receive(&auth(0x18, &words("challenge")));
    assert_eq!(peer.event(), wanted("challenge"));
    assert!(peer.client.authenticate(peer.now, b"answer"));
    peer.expect(&auth(0x18, &words("answer")));
    peer.receive(&auth(0x00, &words("last")));
    assert_eq!(peer.event(), Event::Authenticated { data: Bytes::from_static(b"last") });
}

/// Each connection has an exchange of its own.
#[test]
fn a_new_connection_begins_anew() {
    let mut peer = begun();
    peer.accept(0, &words("last"));
    assert_eq!(peer.lose(), "");
    assert_eq!(peer.events.pop(), Some(Event::AuthWanted { data: None }));
    assert!(peer.client.authenticate(peer.now, b"second"));
    assert!(peer.sent().contains(&show(&hex(&words("second")))));
}

#[test]
fn what_the_server_must_not_do_in_an_exchange() {
    let other = format!("15 {} 16 {}", field("Y"), field("a"));
    for bytes in [auth(0x18, &other), auth(0x18, ""), auth(0x00, &words("a"))] {
        let mut peer = begun();
        peer.receive(&bytes);
        peer.sent();
        peer.expect_end(&ClientError::Violation(Violation::UnexpectedAuth));
    }
    // It accepts with another method, with none, or in the client's turn.
    for (challenged, properties) in [(false, other), (false, String::new()), (true, words("a"))] {
        let mut peer = begun();
        if challenged {
            peer.receive(&auth(0x18, &words("challenge")));
            peer.event();
        }
        let length = hex(&properties).len();
        peer.receive(&packet(0x20, &format!("00 00 {length:02x} {properties}")));
        peer.sent();
        peer.expect_end(&ClientError::Violation(Violation::NotAuthenticated));
    }
}

#[test]
fn only_mqtt_5_has_methods() {
    for config in [
        ClientConfig { version: Version::V311, ..config() },
        ClientConfig { fall_back: true, ..config() },
    ] {
        assert_eq!(Client::new(config, 1).unwrap_err(), ConfigError::Authentication);
    }
    let mut peer = Peer::connected(v5(), 0, "");
    assert!(!peer.client.authenticate(peer.now, b"no method"));
    peer.expect("");
}
