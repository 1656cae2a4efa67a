//! CoAP over connections (RFC 8323) through the whole gateway: the same resources, publications at QoS 1,
//! observations that end with the connection, identities, reloads.
#![allow(clippy::cast_possible_truncation)] // lengths are small

mod common;

use std::time::Duration;

use common::{COAP, Gateway, config, option, peer, request};
use motegate_core::{Change, Config, Input, NoticeKind, Protocol, Reload};
use motegate_mapping::{CoapRule, Rules, Table};
use motegate_message::{ConnectionId, ListenerId, Reason};

const GET: u8 = 1;
const PUT: u8 = 3;
const CREATED: u8 = 0x41;
const CHANGED: u8 = 0x44;
const CONTENT: u8 = 0x45;
const UNAUTHORIZED: u8 = 0x81;
const CSM: [u8; 2] = [0, 0xe1];
const RELEASE: u8 = 0xe4;
const ABORT: u8 = 0xe5;

const PATH: u16 = 11;
const OBSERVE: u16 = 6;

struct Client {
    conn: ConnectionId,
}

type Options<'a> = &'a [(u16, &'a [u8])];

/// A frame of RFC 8323 §3.2 from what the tests of datagrams make.
fn frame(code: u8, token: &[u8], options: Options<'_>, body: &[u8]) -> Vec<u8> {
    let datagram = request(code, 0, token, options, body);
    let rest = &datagram[4 + token.len()..];
    let mut out = match rest.len() {
        n @ 0..=12 => vec![(n as u8) << 4 | token.len() as u8],
        n => vec![0xd0 | token.len() as u8, (n - 13) as u8],
    };
    out.push(code);
    out.extend_from_slice(&datagram[4..]);
    out
}

/// Messages of up to 268 bytes, as datagrams.
fn messages(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    while let [first, rest @ ..] = bytes {
        let token = usize::from(first & 15);
        let (length, rest) = match first >> 4 {
            13 => (13 + usize::from(rest[0]), &rest[1..]),
            n => (usize::from(n), rest),
        };
        let (message, behind) = rest.split_at(1 + token + length);
        all.push([&[0x40 | token as u8, message[0], 0, 0], &message[1..]].concat());
        bytes = behind;
    }
    all
}

fn body(message: &[u8]) -> &[u8] {
    let at = message.iter().position(|byte| *byte == 0xff);
    at.map_or(&[], |at| &message[at + 1..])
}

impl Client {
    fn on(gateway: &mut Gateway, listener: ListenerId, identity: Option<&str>) -> Client {
        Client::at(gateway, listener, identity, None)
    }

    /// That has asked for the gateway by a name (RFC 8323 §8.5): SNI, or the Host of a WebSocket.
    fn at(
        gateway: &mut Gateway,
        listener: ListenerId,
        identity: Option<&str>,
        host: Option<&str>,
    ) -> Client {
        static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(1_000);
        let n = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let conn = ConnectionId::new(n, 7);
        let (identity, host) = (identity.map(Into::into), host.map(Into::into));
        let since = gateway.now;
        let peer = Some(peer(5_000));
        gateway.input(Input::Opened { conn, listener, peer, identity, host, since });
        let client = Client { conn };
        let first = client.said(gateway);
        assert_eq!((first.len(), first[0][1]), (1, 0xe1), "our CSM");
        assert!(client.say(gateway, &CSM).is_empty());
        client
    }

    fn new(gateway: &mut Gateway) -> Client {
        Client::on(gateway, COAP, None)
    }

    fn said(&self, gateway: &mut Gateway) -> Vec<Vec<u8>> {
        messages(&gateway.streams.remove(&self.conn).unwrap_or_default())
    }

    fn say(&self, gateway: &mut Gateway, bytes: &[u8]) -> Vec<Vec<u8>> {
        gateway.input(Input::Bytes { conn: self.conn, chunk: bytes });
        self.said(gateway)
    }

    /// The one answer.
    fn ask(&self, gateway: &mut Gateway, bytes: &[u8]) -> Vec<u8> {
        let mut said = self.say(gateway, bytes);
        assert_eq!(said.len(), 1, "{said:02x?}");
        said.remove(0)
    }
}

const V: [(u16, &[u8]); 2] = [(PATH, b"mqtt"), (PATH, b"v")];
const OBSERVE_V: [(u16, &[u8]); 3] = [(OBSERVE, b""), (PATH, b"mqtt"), (PATH, b"v")];

/// What is put by TCP is got by UDP and the other way; an MQTT client sees it.
#[test]
fn the_resources_are_those_of_datagrams() {
    let mut gateway = Gateway::new(config());
    let watcher = gateway.mqtt("watcher", true);
    gateway.mqtt_subscribe(watcher, "#", 1);
    let client = Client::new(&mut gateway);
    let put = frame(PUT, b"t", &V, b"1");
    assert_eq!(client.ask(&mut gateway, &put)[1], CREATED);
    let seen = gateway.received(watcher);
    assert_eq!(seen.first().map(|head| head >> 4), Some(3), "a PUBLISH: {seen:02x?}");
    assert_eq!(seen[0] >> 1 & 3, 1, "at QoS 1");
    let got = gateway.datagram(COAP, peer(9), &request(GET, 1, b"u", &V, b""));
    assert_eq!((got[0][1], body(&got[0])), (CONTENT, &b"1"[..]));
    gateway.datagram(COAP, peer(9), &request(PUT, 2, b"u", &V, b"2"));
    let got = client.ask(&mut gateway, &frame(GET, b"t", &V, b""));
    assert_eq!((got[1], body(&got)), (CONTENT, &b"2"[..]));
    assert_eq!(&got[4..5], b"t");
}

/// QoS 1 unless the request says otherwise: acknowledged once it is stored.
#[test]
fn a_put_is_acknowledged_when_it_is_stored() {
    let mut gateway = Gateway::new(config());
    gateway.commit_at_once = false;
    let client = Client::new(&mut gateway);
    assert!(client.say(&mut gateway, &frame(PUT, b"t", &V, b"1")).is_empty());
    gateway.commit();
    assert_eq!(client.said(&mut gateway)[0][1], CREATED);
    // Without a promise, at once.
    let qos0 = [(PATH, &b"mqtt"[..]), (PATH, b"w"), (15, b"qos=0"), (15, b"retain=false")];
    assert_eq!(client.ask(&mut gateway, &frame(PUT, b"t", &qos0, b"1"))[1], CHANGED);
}

/// RFC 8323 §7: told over the connection, and over with it.
#[test]
fn an_observation_lasts_as_long_as_its_connection() {
    let mut gateway = Gateway::new(config());
    let client = Client::new(&mut gateway);
    let other = Client::new(&mut gateway);
    other.ask(&mut gateway, &frame(PUT, b"t", &V, b"1"));
    let first = client.ask(&mut gateway, &frame(GET, b"o", &OBSERVE_V, b""));
    assert_eq!((first[1], body(&first)), (CONTENT, &b"1"[..]));
    assert!(option(&first, OBSERVE).is_some());
    for value in [b"2", b"3"] {
        other.ask(&mut gateway, &frame(PUT, b"t", &V, value));
        let told = client.said(&mut gateway);
        assert_eq!((told.len(), body(&told[0])), (1, &value[..]));
        assert!(option(&told[0], OBSERVE).is_some());
    }
    assert_eq!(gateway.limit("max_observers").used, Some(1));
    let (conn, reason) = (client.conn, Reason::ConnectionLost);
    gateway.input(Input::Closed { conn, reason });
    assert_eq!(gateway.limit("max_observers").used, Some(0));
    other.ask(&mut gateway, &frame(PUT, b"t", &V, b"4"));
    assert!(client.said(&mut gateway).is_empty());
}

/// A client certificate lets in where nobody is anonymous, and is the client's name.
#[test]
fn an_identity_of_the_transport_is_the_clients_name() {
    let mut config = config();
    config.listeners[2].anonymous = false;
    let mut gateway = Gateway::new(config);
    let nobody = Client::new(&mut gateway);
    let answer = nobody.ask(&mut gateway, &frame(GET, b"t", &V, b""));
    assert_eq!(answer[1], UNAUTHORIZED);
    let known = Client::on(&mut gateway, COAP, Some("gate-7"));
    assert_eq!(known.ask(&mut gateway, &frame(PUT, b"t", &V, b"1"))[1], CREATED);
    let connected =
        gateway.notices.iter().filter(|n| matches!(n.kind, NoticeKind::Connected { .. }));
    let names: Vec<_> =
        connected.map(|n| n.client.as_ref().map(|key| key.client_id().to_owned())).collect();
    assert_eq!(names, [None, Some("gate-7".into())]);
}

/// What ends a connection is told once, with its reason.
#[test]
fn the_log_says_why_a_connection_ended() {
    let mut gateway = Gateway::new(config());
    let client = Client::new(&mut gateway);
    gateway.notices.clear();
    let abort = client.ask(&mut gateway, &[0x0f]);
    assert_eq!(abort[1], ABORT);
    assert_eq!(gateway.closed[&client.conn], Reason::Malformed);
    let [notice] = &gateway.notices[..] else { panic!("{:?}", gateway.notices) };
    assert_eq!(notice.kind, NoticeKind::Disconnected(Reason::Malformed));
    assert_eq!((notice.protocol, notice.listener), (Some(Protocol::Coap), Some(COAP)));
    assert!(notice.text.as_deref().is_some_and(|text| text.contains("token")));
    assert_eq!(gateway.core.stats().dropped(Reason::Malformed), 1);
}

/// RFC 8323 §5.5: who has to go is told by a Release.
#[test]
fn a_removed_listener_and_a_stop_release_their_clients() {
    let mut gateway = Gateway::new(config());
    let client = Client::new(&mut gateway);
    client.ask(&mut gateway, &frame(GET, b"o", &OBSERVE_V, b""));
    let reload = Reload {
        config: config(),
        table: std::sync::Arc::new(motegate_mapping::Table::passthrough("mqtt")),
        removed: vec![COAP],
        moved: Vec::new(),
    };
    gateway.input(Input::Reload(Box::new(reload)));
    let said = client.said(&mut gateway);
    assert_eq!((said.len(), said[0][1]), (1, RELEASE));
    assert_eq!(gateway.closed[&client.conn], Reason::ConfigReload);
    let [touched] = &gateway.touched[..] else { panic!("{:?}", gateway.touched) };
    assert_eq!(touched.client, "anon-127.0.0.1");
    assert!(matches!(touched.change, Change::ListenerChanged { .. }));

    let mut gateway = Gateway::new(config());
    let client = Client::new(&mut gateway);
    client.ask(&mut gateway, &frame(GET, b"o", &OBSERVE_V, b""));
    gateway.input(Input::Shutdown);
    let codes: Vec<u8> = client.said(&mut gateway).iter().map(|message| message[1]).collect();
    assert_eq!(codes, [0xa3, RELEASE], "the end of its observation, then of its connection");
    assert_eq!(gateway.closed[&client.conn], Reason::Shutdown);
}

/// A listener that moves keeps its connections, and their observations.
#[test]
fn connections_outlive_their_listeners_address() {
    let mut gateway = Gateway::new(config());
    let client = Client::new(&mut gateway);
    client.ask(&mut gateway, &frame(GET, b"o", &OBSERVE_V, b""));
    let reload = Reload {
        config: config(),
        table: std::sync::Arc::new(motegate_mapping::Table::passthrough("mqtt")),
        removed: Vec::new(),
        moved: vec![COAP],
    };
    gateway.input(Input::Reload(Box::new(reload)));
    assert!(gateway.touched.is_empty(), "{:?}", gateway.touched);
    gateway.datagram(COAP, peer(9), &request(PUT, 1, b"u", &V, b"2"));
    assert_eq!(body(&client.said(&mut gateway)[0]), b"2");
}

/// Over WebSocket the parts of a message are put together.
#[test]
fn messages_of_a_websocket_come_in_parts() {
    let mut gateway = Gateway::new(config());
    let client = Client::new(&mut gateway);
    let put = request(PUT, 0, b"t", &V, b"1");
    let message = [&[0x01, PUT][..], &put[4..]].concat();
    let conn = client.conn;
    gateway.input(Input::Part { conn, chunk: &message[..3], is_last: false });
    assert!(client.said(&mut gateway).is_empty());
    gateway.input(Input::Part { conn, chunk: &message[3..], is_last: true });
    assert_eq!(client.said(&mut gateway)[0][1], CREATED);
}

/// RFC 8323 §8.5: Uri-Host of a request is by default the name that the connection was made to; a request
/// may say another.
#[test]
fn the_name_of_the_connection_is_uri_host() {
    let rule = |name: &str, host: Option<&str>, topic: &str| CoapRule {
        name: name.into(),
        path: "/v".into(),
        host: host.map(Into::into),
        topic: topic.into(),
        ..CoapRule::default()
    };
    let coap = vec![rule("a", Some("a.example"), "in/a"), rule("all", None, "in/all")];
    let table = Table::new(Rules { coap, ..Rules::default() }).expect("fine");
    let mut gateway = Gateway::with_table(config(), table);
    let named = [(3, &b"a.example"[..]), (PATH, b"v")];
    let other = [(3, &b"b.example"[..]), (PATH, b"v")];
    let plain = [(PATH, &b"v"[..])];
    for (host, options, code) in [
        (None, &plain[..], CREATED),          // in/all
        (Some("A.example"), &plain, CREATED), // in/a
        (None, &named, CHANGED),              // in/a
        (Some("a.example"), &other, CHANGED), // in/all
        (Some("other.example"), &plain, CHANGED),
    ] {
        let client = Client::at(&mut gateway, COAP, None, host);
        let answer = client.ask(&mut gateway, &frame(PUT, b"t", options, b"1"));
        assert_eq!(answer[1], code, "{host:?} {options:?}");
    }
}

/// RFC 8323 §5.4: a connection says by itself whether it is there; RFC 7641 §4.5 is of datagrams.
#[test]
fn who_observes_by_a_connection_is_not_asked_once_a_day() {
    let config = Config { sys_interval: Duration::ZERO, ..config() };
    let mut gateway = Gateway::new(config);
    let client = Client::new(&mut gateway);
    assert_eq!(client.ask(&mut gateway, &frame(PUT, b"p", &V, b"1"))[1], CREATED);
    assert_eq!(client.ask(&mut gateway, &frame(GET, b"o", &OBSERVE_V, b""))[1], CONTENT);
    for _ in 0..50 * 60 {
        gateway.advance(Duration::from_secs(60));
        let pong = client.say(&mut gateway, &[0, 0xe2]);
        assert!(pong.iter().all(|message| message[1] == 0xe3), "{pong:02x?}");
    }
    assert_eq!(gateway.limit("max_observers").used, Some(1));
}
