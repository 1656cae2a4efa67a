//! Bounds that a listener has of its own: for whoever comes by it, of each protocol, and for nobody
//! else (`limits` of a listener in config.md).
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod common;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use common::{
    COAP, Gateway, MQTT, SN, coap, config, listener, option, peer, publish, request, sn, sn_connect,
};
use motegate_core::{
    Config, FailureRate, Input, ListenerLimits, Proof, Protocol, Users, Verdict, Verifier,
};
use motegate_message::{ConnectionId, ListenerId, Reason};

/// Two listeners of each protocol; `lower` changes the bounds of the first ones.
fn twice(lower: impl Fn(&mut ListenerLimits)) -> Config {
    let mut config = config();
    let mut own = ListenerLimits::of(&config, 100);
    lower(&mut own);
    for listener in &mut config.listeners {
        listener.limits = Some(Arc::new(own.clone()));
    }
    for (protocol, realm) in
        [(Protocol::Mqtt, "mqtt"), (Protocol::MqttSn, "mqttsn"), (Protocol::Coap, "coap")]
    {
        config.listeners.push(listener("other", protocol, realm));
    }
    config
}

/// The second listener of the protocol.
fn other(listener: ListenerId) -> ListenerId {
    ListenerId(listener.0 + 3)
}

fn open(gateway: &mut Gateway, listener: ListenerId, n: u32) -> ConnectionId {
    let conn = ConnectionId::new(500 + n, 1);
    let (peer, since) = (Some(SocketAddr::from(([10, 0, 0, 1], 40_000))), gateway.now);
    gateway.input(Input::Opened { conn, listener, peer, identity: None, host: None, since });
    conn
}

const CONNECT: &[u8] = b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01a";

/// A SUBSCRIBE of MQTT 3.1.1 and its code.
fn subscribed(gateway: &mut Gateway, conn: ConnectionId, filter: &str) -> u8 {
    let len = u8::try_from(filter.len()).unwrap();
    gateway.send(conn, &[&[0x82, 5 + len, 0, 9, 0, len], filter.as_bytes(), &[0]].concat());
    gateway.received(conn)[4]
}

#[test]
fn subscriptions_of_an_mqtt_session() {
    let mut gateway = Gateway::new(twice(|own| own.subscriptions.count = 1));
    for (n, (listener, code)) in [(MQTT, 0x80), (other(MQTT), 0)].into_iter().enumerate() {
        let conn = open(&mut gateway, listener, u32::try_from(n).unwrap());
        gateway.send(conn, CONNECT);
        gateway.received(conn);
        assert_eq!(subscribed(&mut gateway, conn, "x"), 0);
        assert_eq!(subscribed(&mut gateway, conn, "x"), 0, "the same again is none more");
        assert_eq!(subscribed(&mut gateway, conn, "y"), code);
        gateway.send(conn, &[0xe0, 0]);
    }
}

/// So do the bytes of their filters.
#[test]
fn bytes_of_an_mqtt_sessions_filters() {
    let mut gateway = Gateway::new(twice(|own| own.subscriptions.bytes = 10));
    for (n, (listener, code)) in [(MQTT, 0x80), (other(MQTT), 0)].into_iter().enumerate() {
        let conn = open(&mut gateway, listener, u32::try_from(n).unwrap());
        gateway.send(conn, CONNECT);
        gateway.received(conn);
        assert_eq!(subscribed(&mut gateway, conn, "12345678"), 0);
        assert_eq!(subscribed(&mut gateway, conn, "abc"), code);
        gateway.send(conn, &[0xe0, 0]);
    }
}

/// The mount counts, as it does with the gateway's own bound.
#[test]
fn levels_below_a_mount() {
    let mut config = twice(|own| own.mqtt.max_topic_levels = 3);
    for at in [MQTT, other(MQTT)] {
        config.listeners[usize::from(at.0)].mount = "m/".into();
    }
    let mut gateway = Gateway::new(config);
    for (n, (listener, ends)) in [(MQTT, true), (other(MQTT), false)].into_iter().enumerate() {
        let conn = open(&mut gateway, listener, u32::try_from(n).unwrap());
        gateway.send(conn, CONNECT);
        gateway.received(conn);
        assert_eq!(subscribed(&mut gateway, conn, "a/b"), 0);
        gateway.send(conn, b"\x82\x0a\x00\x09\x00\x05a/b/c\x00");
        assert_eq!(gateway.received(conn).is_empty(), ends, "as without a mount: closed");
    }
}

/// RFC 8516: too many requests of one client.
#[test]
fn requests_of_a_coap_client() {
    let mut gateway = Gateway::new(twice(|own| own.coap.max_request_rate = 1));
    for (listener, refused) in [(COAP, true), (other(COAP), false)] {
        let at = peer(3_100 + listener.0);
        let codes: Vec<u8> = (1..=3)
            .map(|id| {
                gateway.datagram(listener, at, &coap(0, 1, id, b"t", None, &["mqtt", "n"], b""))[0]
                    [1]
            })
            .collect();
        // The first of a peer is not counted.
        assert_eq!(codes, if refused { [0x84, 0x84, 0x9d] } else { [0x84; 3] });
    }
}

/// An address is locked out of the listener that has the lower bound, and of that alone.
#[test]
fn failures_and_the_time_of_a_login() {
    let mut config = twice(|own| {
        own.max_auth_failures = Some(FailureRate { count: 2, per: Duration::from_secs(60) });
        own.mqtt.auth_timeout = Duration::from_secs(2);
    });
    let verifier =
        Verifier { iterations: 1, salt: [1].into(), stored_key: [0; 32], server_key: [0; 32] };
    config.users = Arc::new([(Arc::from("u"), verifier)].into_iter().collect::<Users>());
    let mut gateway = Gateway::new(config);
    let login = b"\x10\x13\x00\x04MQTT\x04\xc2\x00\x3c\x00\x01a\x00\x01u\x00\x01p";
    let mut attempt = |listener, n| {
        let conn = open(&mut gateway, listener, n);
        gateway.send(conn, login);
        let asked = gateway.asked.pop().map(|asked| {
            assert!(matches!(asked.proof, Proof::Password { .. }));
            let verdict = Verdict::Deny(Reason::AuthFailed);
            gateway.input(Input::Verdict { ticket: asked.ticket, verdict });
            asked.within.as_secs()
        });
        (asked, gateway.received(conn)[3])
    };
    assert_eq!(attempt(MQTT, 0), (Some(2), 4));
    assert_eq!(attempt(MQTT, 1), (Some(2), 4));
    assert_eq!(attempt(MQTT, 2), (None, 5), "locked out: nobody looks at the password");
    assert_eq!(attempt(other(MQTT), 3), (Some(15), 4), "not here");
}

#[test]
fn a_client_id_and_names_of_mqtt_sn() {
    let mut gateway = Gateway::new(twice(|own| {
        own.mqtt_sn.max_client_id_length = 3;
        own.mqtt_sn.max_topics_per_client = 1;
        own.mqtt.max_topic_levels = 2;
    }));
    for (listener, refused) in [(SN, true), (other(SN), false)] {
        let at = peer(2_000 + listener.0);
        let connack =
            |gateway: &mut Gateway, id| gateway.datagram(listener, at, &sn_connect(id, true, 60));
        assert_eq!(connack(&mut gateway, "long")[0][2] != 0, refused);
        assert_eq!(connack(&mut gateway, "m")[0][2], 0);
        let mut register = |id: u8, name: &str| {
            let packet = sn(0x0a, &[&[0, 0, 0, id][..], name.as_bytes()].concat());
            gateway.datagram(listener, at, &packet)[0][6]
        };
        assert_eq!(register(1, "a/b/c") != 0, refused, "too many levels");
        assert_eq!(register(2, "a/b"), 0);
        assert_eq!(register(3, "c"), u8::from(refused), "congestion");
    }
}

#[test]
fn subscriptions_and_the_queue_of_an_mqtt_sn_client() {
    let mut gateway = Gateway::new(twice(|own| {
        own.subscriptions.count = 1;
        own.queue.max_messages = 1;
    }));
    let publisher = gateway.mqtt("p", true);
    for (listener, refused) in [(SN, true), (other(SN), false)] {
        let at = peer(2_000 + listener.0);
        gateway.datagram(listener, at, &sn_connect(if refused { "m" } else { "n" }, true, 60));
        let mut subscribe = |id: u8, name: &str| {
            let packet = sn(0x12, &[&[0x20, 0, id][..], name.as_bytes()].concat());
            gateway.datagram(listener, at, &packet)[0][7]
        };
        assert_eq!(subscribe(1, "q"), 0);
        assert_eq!(subscribe(2, "r") != 0, refused);
        // One is under way, for the link carries one; of three more the queue holds as many as it may.
        for id in 1..=4 {
            gateway.send(publisher, &publish("q", &[id], 1, false, id.into()));
        }
        let mut got = Vec::new();
        let mut next = gateway.datagrams_to(at);
        while let Some(packet) = next.pop() {
            assert_eq!(packet[1], 0x0c, "{packet:02x?}");
            got.push(packet[7]);
            let puback = sn(0x0d, &[packet[3], packet[4], packet[5], packet[6], 0]);
            next = gateway.datagram(listener, at, &puback);
        }
        assert_eq!(got, if refused { vec![1, 4] } else { vec![1, 2, 3, 4] });
    }
}

#[test]
fn observations_and_topics_of_a_coap_client() {
    let mut gateway = Gateway::new(twice(|own| {
        own.coap.max_observers_per_peer = 1;
        own.coap.max_blocks_in_progress_per_peer = 1;
        own.mqtt.max_topic_levels = 2;
    }));
    for (listener, refused) in [(COAP, true), (other(COAP), false)] {
        let at = peer(3_000 + listener.0);
        let mut ask = |code, id: u16, observe, path: &[&str]| {
            let token = [u8::try_from(id).unwrap()];
            let path = [&["mqtt"], path].concat();
            gateway.datagram(
                listener,
                at,
                &coap(0, code, id, &token, observe, &path, if code == 3 { b"1" } else { b"" }),
            )[0]
            .clone()
        };
        assert_eq!(ask(3, 1, None, &["a", "b"])[1] >> 5, 2);
        assert_eq!(ask(3, 2, None, &["c", "d"])[1] >> 5, 2);
        assert_eq!(ask(3, 3, None, &["a", "b", "c"])[1] >> 5 == 4, refused, "too many levels");
        let is_observed = |answer: &[u8]| option(answer, 6).is_some();
        assert!(is_observed(&ask(1, 4, Some(0), &["a", "b"])));
        let second = ask(1, 5, Some(0), &["c", "d"]);
        assert_eq!(second[1], 0x45, "it is answered all the same");
        assert_eq!(is_observed(&second), !refused);
        let mut block = |id: u8, name: &[u8]| {
            let options: &[(u16, &[u8])] = &[(11, b"mqtt"), (11, name), (27, &[0x08])];
            let put = request(3, u16::from(id), &[id], options, &[1; 16]);
            gateway.datagram(listener, at, &put)[0][1]
        };
        assert_eq!(block(6, b"e"), 0x5f, "2.31 Continue");
        assert_eq!(block(7, b"f"), if refused { 0xa3 } else { 0x5f });
    }
}
