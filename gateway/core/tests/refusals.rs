//! Every MQTT connection that is refused is one line in the log with its reason, whoever refused it.

mod common;

use std::time::Duration;

use common::{Gateway, MQTT, config, publish};
use motegate_core::{Config, Input, NoticeKind, Protocol};
use motegate_message::Reason;

/// What a connection that sends these bytes is told of in the log.
fn told(config: Config, bytes: &[u8]) -> Vec<NoticeKind> {
    let mut gateway = Gateway::new(config);
    let conn = gateway.open();
    gateway.send(conn, bytes);
    gateway.advance(Duration::from_secs(120));
    assert!(gateway.closed.contains_key(&conn), "closed");
    for notice in &gateway.notices {
        assert_eq!(notice.protocol, Some(Protocol::Mqtt));
        assert_eq!(notice.listener, Some(MQTT));
        assert_eq!(notice.peer.map(|peer| peer.port()), Some(40_000), "{notice:?}");
    }
    gateway.notices.iter().map(|notice| notice.kind).collect()
}

#[test]
fn what_the_endpoint_refuses_is_told_once() {
    let cases: [(&str, &[u8], Reason); 6] = [
        ("level 6", b"\x10\x0d\x00\x04MQTT\x06\x02\x00\x3c\x00\x01a", Reason::UnsupportedVersion),
        ("another protocol", b"GET / HTTP/1.1\r\n\r\n", Reason::ProtocolError),
        ("a foreign name", b"\x10\x0d\x00\x04MQTX\x04\x02\x00\x3c\x00\x01a", Reason::Malformed),
        ("a reserved flag", b"\x10\x0d\x00\x04MQTT\x04\x03\x00\x3c\x00\x01a", Reason::Malformed),
        ("nothing", b"", Reason::ConnectTimeout),
        ("half a CONNECT", b"\x10\x0d\x00\x04MQ", Reason::ConnectTimeout),
    ];
    for (name, bytes, reason) in cases {
        assert_eq!(told(config(), bytes), [NoticeKind::Refused(reason)], "{name}");
    }
}

#[test]
fn a_client_id_that_is_too_long_is_told_once() {
    let mut packet = b"\x10\x2c\x00\x04MQTT\x04\x02\x00\x3c\x00\x20".to_vec();
    packet.extend_from_slice(&[b'x'; 32]);
    let mut config = config();
    config.mqtt.max_client_id_length = 23;
    assert_eq!(told(config, &packet), [NoticeKind::Refused(Reason::BadClientId)]);
}

#[test]
fn what_the_core_refuses_is_told_once_and_names_the_client() {
    const CONNECT: &[u8] = b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01a";
    let mut closed = config();
    closed.listeners[0].anonymous = false;
    assert_eq!(told(closed.clone(), CONNECT), [NoticeKind::Refused(Reason::AuthMissing)]);
    let mut gateway = Gateway::new(closed);
    let conn = gateway.open();
    gateway.send(conn, CONNECT);
    let key = gateway.notices[0].client.as_ref().expect("a client");
    assert_eq!(key.client_id(), "a");

    // A will on one of the broker's own topics.
    let will = b"\x10\x17\x00\x04MQTT\x04\x06\x00\x3c\x00\x01a\x00\x06$SYS/x\x00\x00";
    assert_eq!(told(config(), will), [NoticeKind::Refused(Reason::AclDeny)]);

    let mut full = config();
    full.broker.max_sessions = 0;
    assert_eq!(told(full, CONNECT), [NoticeKind::Refused(Reason::QuotaExceeded)]);
}

/// A client certificate (mqtt.md §2.20): no password is asked for.
#[test]
fn a_connection_that_proved_who_it_is_is_not_anonymous() {
    let mut closed = config();
    closed.listeners[0].anonymous = false;
    let mut gateway = Gateway::new(closed);
    let conn = gateway.open_as(Some("device-1"));
    gateway.send(conn, b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01a");
    assert_eq!(gateway.streams.remove(&conn).as_deref(), Some(&b"\x20\x02\x00\x00"[..]));
}

#[test]
fn a_connection_that_had_a_session_is_not_refused_but_disconnected() {
    let mut gateway = Gateway::new(config());
    let conn = gateway.mqtt("a", true);
    gateway.send(conn, b"\x00\x00");
    let kinds: Vec<NoticeKind> = gateway.notices.iter().map(|notice| notice.kind).collect();
    let connected = NoticeKind::Connected { present: false };
    assert_eq!(kinds, [connected, NoticeKind::Disconnected(Reason::Malformed)]);
    assert!(gateway.notices.iter().all(|notice| notice.peer.is_some()), "from where");

    gateway.notices.clear();
    let [first, second] = [gateway.mqtt("b", true), gateway.mqtt("b", true)];
    assert_eq!(gateway.closed.get(&first), Some(&Reason::TakenOver));
    gateway.input(Input::Shutdown);
    assert_eq!(gateway.closed.get(&second), Some(&Reason::Shutdown));
    let refused = |notice: &motegate_core::Notice| matches!(notice.kind, NoticeKind::Refused(_));
    assert!(!gateway.notices.iter().any(refused), "{:?}", gateway.notices);
}

#[test]
fn who_goes_before_saying_anything_is_no_line() {
    let mut gateway = Gateway::new(config());
    let conn = gateway.open();
    gateway.input(Input::Closed { conn, reason: Reason::ConnectionLost });
    let waiting = gateway.open();
    gateway.input(Input::Shutdown);
    assert_eq!(gateway.closed.get(&waiting), Some(&Reason::Shutdown), "nobody is left behind");
    assert_eq!(gateway.notices, []);
}

#[test]
fn a_refused_publish_names_its_client() {
    let mut gateway = Gateway::new(config());
    let conn = gateway.mqtt("a", true);
    gateway.notices.clear();
    gateway.send(conn, &publish("$SYS/x", b"", 0, false, 0));
    let [notice] = &gateway.notices[..] else { panic!("one: {:?}", gateway.notices) };
    assert_eq!(notice.kind, NoticeKind::Refused(Reason::AclDeny));
    assert_eq!((notice.listener, notice.peer.is_some()), (Some(MQTT), true));
}
