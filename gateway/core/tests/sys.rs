//! `$SYS` (`protocols/mqtt.md` §5): which topics there are, when they change, who may read them.

#![allow(clippy::unwrap_used)] // helpers of tests

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use common::{COAP, Gateway, SN, coap, config, peer, publish, sn_connect};
use motegate_core::{Config, Input, Reload};
use motegate_mapping::Table;

/// A gateway on whose clock 1 s has passed, `$SYS` told once.
fn started(config: Config) -> Gateway {
    let mut gateway = Gateway::new(config);
    gateway.input(Input::Timeout);
    gateway
}

/// PUBLISH packets in a stream by topic; those at QoS 2 are acknowledged to their end.
fn take(gateway: &mut Gateway, conn: motegate_message::ConnectionId) -> BTreeMap<String, Told> {
    let mut told = BTreeMap::new();
    loop {
        let bytes = gateway.received(conn);
        if bytes.is_empty() {
            return told;
        }
        let mut rest = &bytes[..];
        while let [first, len, tail @ ..] = rest {
            let (body, tail) = if *len < 128 {
                tail.split_at(usize::from(*len))
            } else {
                tail[1..].split_at(usize::from(*len - 128) + 128 * usize::from(tail[0]))
            };
            if first >> 4 == 3 {
                let n = usize::from(body[1]);
                let topic = String::from_utf8(body[2..2 + n].to_vec()).unwrap();
                let qos = first >> 1 & 3;
                let payload = body[2 + n + if qos > 0 { 2 } else { 0 }..].to_vec();
                let text = String::from_utf8(payload).unwrap();
                if qos == 2 {
                    let id = [body[2 + n], body[3 + n]];
                    gateway.send(conn, &[0x50, 2, id[0], id[1]]);
                    gateway.send(conn, &[0x70, 2, id[0], id[1]]);
                }
                told.insert(topic, Told { text, qos, retain: first & 1 == 1 });
            }
            rest = tail;
        }
    }
}

/// SUBSCRIBE; what it brings stays to be taken.
fn watch(gateway: &mut Gateway, conn: motegate_message::ConnectionId, filter: &str, qos: u8) {
    let mut packet = vec![0x82, u8::try_from(5 + filter.len()).unwrap(), 0, 9, 0];
    packet.push(u8::try_from(filter.len()).unwrap());
    packet.extend_from_slice(filter.as_bytes());
    packet.push(qos);
    gateway.send(conn, &packet);
}

fn reload(gateway: &mut Gateway, config: Config) {
    let table = Arc::new(Table::passthrough("mqtt"));
    let reload = Reload { config, table, removed: Vec::new(), moved: Vec::new() };
    gateway.input(Input::Reload(Box::new(reload)));
}

#[derive(Debug, PartialEq)]
struct Told {
    text: String,
    qos: u8,
    retain: bool,
}

fn text<'a>(told: &'a BTreeMap<String, Told>, name: &str) -> Option<&'a str> {
    told.get(&format!("$SYS/{name}")).map(|told| &*told.text)
}

/// Every name of §5 but those of bridges, which come with bridges.
#[test]
fn all_names_are_there_from_the_start() {
    let mut gateway = Gateway::new(config());
    gateway.core.set_memory(1_000, 2_000);
    gateway.input(Input::Timeout);
    let conn = gateway.mqtt("a", true);
    watch(&mut gateway, conn, "$SYS/broker/#", 2);
    let told = take(&mut gateway, conn);
    let mut names: Vec<String> = "version uptime connections/socket/count \
        messages/received messages/sent messages/stored store/messages/count store/messages/bytes \
        publish/messages/received publish/messages/sent publish/messages/dropped \
        publish/bytes/received publish/bytes/sent bytes/received bytes/sent packet/out/count \
        packet/out/bytes subscriptions/count shared_subscriptions/count heap/current heap/maximum"
        .split_whitespace()
        .map(String::from)
        .collect();
    names.push("retained messages/count".into());
    for client in ["total", "connected", "active", "disconnected", "inactive", "maximum", "expired"]
    {
        names.push(format!("clients/{client}"));
    }
    for load in [
        "connections",
        "sockets",
        "bytes/received",
        "bytes/sent",
        "messages/received",
        "messages/sent",
        "publish/dropped",
        "publish/received",
        "publish/sent",
    ] {
        names.extend(["1min", "5min", "15min"].map(|window| format!("load/{load}/{window}")));
    }
    names.sort();
    let found: Vec<String> =
        told.keys().map(|topic| topic["$SYS/broker/".len()..].to_owned()).collect();
    assert_eq!(found, names);
    assert!(told.values().all(|told| told.qos == 2 && told.retain), "{told:?}");
    assert_eq!(text(&told, "broker/version"), Some("motegate version 0.1.0"));
    assert_eq!(text(&told, "broker/uptime"), Some("0 seconds"));
    assert_eq!(text(&told, "broker/load/bytes/sent/5min"), Some("0.00"));
    assert_eq!(text(&told, "broker/heap/maximum"), Some("2000"));
}

/// By the wall clock, which stands at a multiple of 10 s at 0 s of the virtual one.
#[test]
fn rounds_are_aligned_and_tell_changes_only() {
    let mut gateway = started(config());
    let conn = gateway.mqtt("a", true);
    watch(&mut gateway, conn, "$SYS/#", 0);
    take(&mut gateway, conn);
    gateway.advance(Duration::from_millis(8_999));
    assert!(take(&mut gateway, conn).is_empty(), "nothing before the tenth second");
    gateway.advance(Duration::from_millis(1));
    let told = take(&mut gateway, conn);
    assert_eq!(text(&told, "broker/uptime"), Some("9 seconds"));
    assert_eq!(text(&told, "broker/clients/connected"), Some("1"));
    assert_eq!(text(&told, "broker/clients/active"), Some("1"));
    assert_eq!(text(&told, "broker/subscriptions/count"), Some("1"));
    assert_eq!(text(&told, "broker/connections/socket/count"), Some("1"));
    assert!(text(&told, "broker/load/connections/1min").is_some());
    assert_eq!(text(&told, "broker/version"), None, "once");
    assert_eq!(text(&told, "broker/clients/expired"), None, "it has not changed");
    assert!(told.values().all(|told| !told.retain), "live messages");
    gateway.advance(Duration::from_secs(10));
    let told = take(&mut gateway, conn);
    assert_eq!(text(&told, "broker/uptime"), Some("19 seconds"));
    assert_eq!(text(&told, "broker/clients/connected"), None, "it has not changed");
}

#[test]
fn sessions_of_all_protocols_are_clients() {
    let mut config = config();
    config.mqtt.max_session_expiry = Duration::from_secs(100);
    let mut gateway = started(config);
    let watcher = gateway.mqtt("watcher", true);
    watch(&mut gateway, watcher, "$SYS/#", 0);
    take(&mut gateway, watcher);
    let away = gateway.mqtt("away", false);
    gateway.send(away, &[0xe0, 0]);
    gateway.datagram(SN, peer(1), &sn_connect("mote", true, 60));
    gateway.datagram(COAP, peer(2), &coap(0, 1, 1, b"t", Some(0), &["mqtt", "a"], b""));
    let observe = coap(0, 1, 2, b"u", Some(0), &["mqtt", "b"], b"");
    gateway.datagram(COAP, peer(2), &observe);
    gateway.datagram(COAP, peer(2), &observe); // the same once more
    let other = gateway.mqtt("other", true);
    watch(&mut gateway, other, "$share/g/x", 0);
    gateway.advance(Duration::from_secs(9));
    let told = take(&mut gateway, watcher);
    let is = |name: &str| text(&told, name).map(|text| text.parse::<u64>().unwrap());
    assert_eq!(is("broker/clients/total"), Some(5), "watcher, away, mote, the observer, other");
    assert_eq!(is("broker/clients/connected"), Some(4));
    assert_eq!(is("broker/clients/disconnected"), Some(1));
    assert_eq!(is("broker/clients/maximum"), Some(5));
    assert_eq!(is("broker/subscriptions/count"), Some(3), "one, and two observations");
    assert_eq!(is("broker/shared_subscriptions/count"), Some(1));
    assert_eq!(is("motegate/mqtt-sn/clients/connected"), Some(1));
    assert_eq!(is("motegate/mqtt-sn/packets/received"), Some(1));
    assert_eq!(is("motegate/mqtt-sn/packets/sent"), Some(1));
    assert_eq!(is("motegate/coap/clients/observing"), Some(1));
    assert_eq!(is("motegate/coap/observations/count"), Some(2));
    assert_eq!(is("motegate/coap/observations/highest"), Some(1), "of one topic");
    assert_eq!(is("motegate/coap/requests/received"), Some(2));
    assert_eq!(is("motegate/coap/requests/repeated"), Some(1));
    gateway.send(other, &[0xe0, 0]);
    gateway.advance(Duration::from_secs(120));
    let reader = gateway.mqtt("reader", true);
    watch(&mut gateway, reader, "$SYS/broker/clients/+", 0);
    let told = take(&mut gateway, reader);
    assert_eq!(text(&told, "broker/clients/expired"), Some("1"), "away");
    assert_eq!(text(&told, "broker/clients/maximum"), Some("5"), "the highest so far");
}

#[test]
fn packets_messages_and_payloads_are_counted() {
    let mut gateway = started(config());
    let conn = gateway.mqtt("a", true);
    watch(&mut gateway, conn, "x", 0);
    gateway.send(conn, &publish("x", b"12345", 0, true, 0));
    gateway.received(conn);
    gateway.advance(Duration::from_secs(9));
    let reader = gateway.mqtt("reader", true);
    watch(&mut gateway, reader, "$SYS/broker/#", 0);
    let told = take(&mut gateway, reader);
    let is = |name: &str| text(&told, &format!("broker/{name}")).unwrap();
    assert_eq!(is("messages/received"), "3", "CONNECT, SUBSCRIBE, PUBLISH");
    assert_eq!(is("messages/sent"), "3", "CONNACK, SUBACK, PUBLISH");
    assert_eq!(is("publish/messages/received"), "1");
    assert_eq!(is("publish/messages/sent"), "1");
    assert_eq!(is("publish/bytes/received"), "5");
    assert_eq!(is("publish/bytes/sent"), "5");
    assert_eq!(is("bytes/received"), (15 + 8 + 10).to_string());
    assert_eq!(is("bytes/sent"), (4 + 5 + 10).to_string());
    assert_eq!(is("packet/out/count"), "0");
    assert_eq!(is("packet/out/bytes"), "0");
    let own = told.len() as u64 + 29; // and those below `$SYS/motegate/`
    assert_eq!(is("retained messages/count"), (own + 1).to_string());
    assert_eq!(is("messages/stored"), is("retained messages/count"));
    assert_eq!(is("store/messages/count"), is("messages/stored"));
}

#[test]
fn nobody_may_publish_there_and_nothing_is_journalled() {
    let mut gateway = started(config());
    let conn = gateway.mqtt("a", true);
    gateway.commit_at_once = false;
    gateway.advance(Duration::from_secs(40));
    assert!(gateway.uncommitted.is_empty(), "rounds leave no record");
    gateway.commit_at_once = true;
    gateway.send(conn, &publish("$SYS/broker/uptime", b"no", 1, true, 7));
    assert_eq!(gateway.received(conn), [0x40, 2, 0, 7], "acknowledged in 3.1.1, and dropped");
    watch(&mut gateway, conn, "$SYS/broker/uptime", 0);
    let told = take(&mut gateway, conn);
    assert_eq!(text(&told, "broker/uptime"), Some("39 seconds"));
    watch(&mut gateway, conn, "#", 0);
    assert!(take(&mut gateway, conn).is_empty(), "[MQTT-4.7.2-1]");
}

/// mapping.md §2.6: the default rule takes `/mqtt/$SYS/…` to be read.
#[test]
fn a_get_reads_it() {
    let mut gateway = started(config());
    let path = ["mqtt", "$SYS", "broker", "version"];
    let answers = gateway.datagram(COAP, peer(1), &coap(0, 1, 1, b"t", None, &path, b""));
    let text = String::from_utf8_lossy(&answers[0]);
    assert_eq!(answers[0][1], 0x45, "2.05");
    assert!(text.ends_with("motegate version 0.1.0"), "{text}");
    let answers = gateway.datagram(COAP, peer(1), &coap(0, 3, 2, b"t", None, &path, b"mine"));
    assert_eq!(answers[0][1] >> 5, 4, "PUT is refused");
}

#[test]
fn switched_off_it_costs_nothing() {
    let mut off = config();
    off.sys_interval = Duration::ZERO;
    let mut gateway = started(off.clone());
    assert_eq!(gateway.core.poll_timeout(), None);
    let conn = gateway.mqtt("a", true);
    watch(&mut gateway, conn, "$SYS/#", 0);
    assert!(take(&mut gateway, conn).is_empty());
    reload(&mut gateway, config());
    gateway.input(Input::Timeout);
    assert!(!take(&mut gateway, conn).is_empty(), "switched on, all is told");
    reload(&mut gateway, off);
    let late = gateway.mqtt("b", true);
    watch(&mut gateway, late, "$SYS/#", 0);
    assert!(take(&mut gateway, late).is_empty(), "switched off, all is forgotten");
}

/// A mount is a world of its own: its clients' `$SYS/#` is below the mount.
#[test]
fn below_a_mount_there_is_none() {
    let mut mounted = config();
    mounted.listeners[0].mount = "plant/".into();
    let mut gateway = started(mounted);
    let conn = gateway.mqtt("a", true);
    watch(&mut gateway, conn, "$SYS/#", 0);
    assert!(take(&mut gateway, conn).is_empty());
}

/// A bridge tells on the other side that it is there, and by its will that it is not (mosquitto's
/// `notifications`); only of itself (mqtt.md, choice 15).
#[test]
fn a_bridge_says_that_it_is_there() {
    const STATE: &str = "$SYS/broker/connection/b/state";
    let mut gateway = started(config());
    // 3.1.1 with the bridge bit, clean, a retained will of QoS 1: `0`.
    let mut connect = b"\x10\x30\x00\x04MQTT\x84\x2e\x00\x3c\x00\x01b\x00\x1e".to_vec();
    connect.extend_from_slice(STATE.as_bytes());
    connect.extend_from_slice(b"\x00\x010");
    let bridge = gateway.open();
    gateway.send(bridge, &connect);
    assert_eq!(gateway.received(bridge), [0x20, 2, 0, 0]);
    gateway.send(bridge, &publish(STATE, b"1", 1, true, 1));
    gateway.send(bridge, &publish("$SYS/broker/connection/c/state", b"1", 1, true, 2));
    assert_eq!(gateway.received(bridge), [0x40, 2, 0, 1, 0x40, 2, 0, 2]);
    let watcher = gateway.mqtt("watcher", true);
    watch(&mut gateway, watcher, "$SYS/broker/connection/#", 0);
    let told = take(&mut gateway, watcher);
    assert_eq!(told.keys().collect::<Vec<_>>(), [STATE]);
    assert_eq!((&*told[STATE].text, told[STATE].retain), ("1", true));
    let reason = motegate_message::Reason::ConnectionLost;
    gateway.input(Input::Closed { conn: bridge, reason });
    assert_eq!(take(&mut gateway, watcher)[STATE].text, "0");
}
