//! Devices of three protocols meet on one broker: the main job, in bytes, on a virtual clock.

mod common;

use std::time::Duration;

use common::{COAP, Gateway, SN, coap, config, peer, publish, sn, sn_connect};
use motegate_core::Input;

const PUT: u8 = 3;
const GET: u8 = 1;

fn sn_subscriber(gateway: &mut Gateway, filter: &str) -> std::net::SocketAddr {
    let at = peer(2_000);
    assert_eq!(gateway.datagram(SN, at, &sn_connect("mote", true, 60)), [sn(0x05, &[0])]);
    let mut body = vec![0x20, 0, 7];
    body.extend_from_slice(filter.as_bytes());
    let answer = gateway.datagram(SN, at, &sn(0x12, &body));
    assert_eq!(answer.len(), 1, "SUBACK");
    assert_eq!(answer[0][1], 0x13);
    assert_eq!(answer[0][7], 0, "accepted");
    at
}

/// Answers the gateway's REGISTER and takes the PUBLISH behind it.
fn sn_receives(gateway: &mut Gateway, at: std::net::SocketAddr) -> (String, Vec<u8>) {
    let register = gateway.datagrams_to(at);
    assert_eq!(register.len(), 1, "REGISTER comes first: {register:02x?}");
    assert_eq!(register[0][1], 0x0a);
    let name = String::from_utf8(register[0][6..].to_vec()).expect("a topic name");
    let mut regack = register[0][2..6].to_vec();
    regack.push(0);
    let publish = gateway.datagram(SN, at, &sn(0x0b, &regack));
    assert_eq!(publish.len(), 1, "then PUBLISH");
    assert_eq!(publish[0][1], 0x0c);
    (name, publish[0][7..].to_vec())
}

fn observe(gateway: &mut Gateway, path: &[&str]) -> std::net::SocketAddr {
    let at = peer(3_000);
    let answer = gateway.datagram(COAP, at, &coap(0, GET, 1, b"o", Some(0), path, b""));
    assert_eq!(answer.len(), 1);
    assert_eq!(answer[0][..2], [0x61, 0x45], "piggybacked 2.05: {answer:02x?}");
    at
}

fn payload(packet: &[u8]) -> &[u8] {
    let marker = packet.iter().position(|b| *b == 0xff).expect("a payload");
    &packet[marker + 1..]
}

#[test]
fn a_coap_put_reaches_everybody() {
    let mut gateway = Gateway::new(config());
    let panel = gateway.mqtt("panel", true);
    gateway.mqtt_subscribe(panel, "site/#", 1);
    let mote = sn_subscriber(&mut gateway, "site/+");
    let tab = observe(&mut gateway, &["mqtt", "site", "door"]);

    let device = peer(4_000);
    let put = coap(0, PUT, 0x77, b"t", None, &["mqtt", "site", "door"], b"open");
    let answer = gateway.datagram(COAP, device, &put);
    assert_eq!(answer, [vec![0x61, 0x41, 0, 0x77, b't']], "2.01 Created");
    assert_eq!(gateway.received(panel), publish("site/door", b"open", 1, false, 1));
    let notified = gateway.datagrams_to(tab);
    assert_eq!((notified.len(), payload(&notified[0])), (1, &b"open"[..]));
    assert_eq!(sn_receives(&mut gateway, mote), ("site/door".into(), b"open".to_vec()));

    // The repeated datagram is answered again and published once.
    assert_eq!(gateway.datagram(COAP, device, &put), answer);
    assert_eq!(gateway.received(panel), b"");
}

#[test]
fn an_mqtt_publish_reaches_coap_and_mqtt_sn() {
    let mut gateway = Gateway::new(config());
    let mote = sn_subscriber(&mut gateway, "site/door");
    let tab = observe(&mut gateway, &["mqtt", "site", "door"]);
    let phone = gateway.mqtt("phone", true);
    gateway.send(phone, &publish("site/door", b"ajar", 1, false, 5));
    assert_eq!(gateway.received(phone), [0x40, 2, 0, 5]);
    assert_eq!(payload(&gateway.datagrams_to(tab)[0]), b"ajar");
    // A concrete filter got its id in the SUBACK: no REGISTER is needed.
    let publish = gateway.datagrams_to(mote);
    assert_eq!((publish.len(), publish[0][1], &publish[0][7..]), (1, 0x0c, &b"ajar"[..]));
}

#[test]
fn an_mqtt_sn_publish_reaches_mqtt_and_coap() {
    let mut gateway = Gateway::new(config());
    let panel = gateway.mqtt("panel", true);
    gateway.mqtt_subscribe(panel, "#", 0);
    let tab = observe(&mut gateway, &["mqtt", "site", "door"]);
    let mote = peer(2_001);
    gateway.datagram(SN, mote, &sn_connect("m", true, 60));
    let regack = gateway.datagram(SN, mote, &sn(0x0a, &[&[0, 0, 0, 1][..], b"site/door"].concat()));
    assert_eq!(regack[0][1], 0x0b);
    let id = [regack[0][2], regack[0][3]];
    let packet = sn(0x0c, &[&[0x20], &id[..], &[0, 9], b"shut"].concat());
    let answer = gateway.datagram(SN, mote, &packet);
    assert_eq!(answer, [sn(0x0d, &[id[0], id[1], 0, 9, 0])], "PUBACK");
    assert_eq!(gateway.received(panel), publish("site/door", b"shut", 0, false, 0));
    assert_eq!(payload(&gateway.datagrams_to(tab)[0]), b"shut");
}

#[test]
fn a_sleeper_gets_everything_once_before_pingresp() {
    let mut gateway = Gateway::new(config());
    let at = peer(2_002);
    gateway.datagram(SN, at, &sn_connect("sleepy", false, 60));
    gateway.datagram(SN, at, &sn(0x12, &[&[0x20, 0, 7][..], b"cmd"].concat()));
    assert_eq!(gateway.datagram(SN, at, &sn(0x18, &[0, 100])), [sn(0x18, &[])], "asleep");
    let phone = gateway.mqtt("phone", true);
    for n in b'a'..=b'c' {
        gateway.send(phone, &publish("cmd", &[n], 1, false, 5));
    }
    gateway.advance(Duration::from_secs(50));
    assert!(gateway.datagrams_to(at).is_empty(), "nothing is sent to a sleeper");
    let mut seen = Vec::new();
    let mut answers = gateway.datagram(SN, at, &sn(0x16, b"sleepy"));
    loop {
        assert_eq!(answers.len(), 1, "one at a time: {answers:02x?}");
        let packet = answers.remove(0);
        if packet[1] == 0x17 {
            break;
        }
        assert_eq!(packet[1], 0x0c);
        seen.extend_from_slice(&packet[7..]);
        let ack = [&packet[3..7], &[0]].concat();
        answers = gateway.datagram(SN, at, &sn(0x0d, &ack));
    }
    assert_eq!(seen, b"abc");
    assert_eq!(gateway.datagram(SN, at, &sn(0x16, b"sleepy")), [sn(0x17, &[])], "empty now");
}

#[test]
fn nothing_is_acknowledged_before_it_is_stored() {
    let mut gateway = Gateway::new(config());
    let keeper = gateway.mqtt("keeper", false);
    gateway.mqtt_subscribe(keeper, "keep/#", 1);
    let phone = gateway.mqtt("phone", true);
    gateway.commit_at_once = false;
    gateway.send(phone, &publish("keep/x", b"1", 1, false, 5));
    assert_eq!(gateway.received(phone), b"", "the PUBACK waits");
    assert_eq!(gateway.received(keeper)[0], 0x32, "the live delivery does not");
    gateway.commit();
    assert_eq!(gateway.received(phone), [0x40, 2, 0, 5]);

    let put = coap(0, PUT, 0x78, b"t", None, &["mqtt", "keep", "y"], b"2");
    assert!(gateway.datagram(COAP, peer(4_000), &put).is_empty(), "2.01 waits");
    gateway.commit();
    assert_eq!(gateway.datagrams_to(peer(4_000)).len(), 1);
}

#[test]
fn a_restart_brings_back_what_was_acknowledged() {
    let mut gateway = Gateway::new(config());
    let keeper = gateway.mqtt("keeper", false);
    gateway.mqtt_subscribe(keeper, "keep/#", 1);
    gateway.input(Input::Closed { conn: keeper, reason: motegate_message::Reason::ConnectionLost });
    let phone = gateway.mqtt("phone", true);
    gateway.send(phone, &publish("keep/x", b"1", 1, true, 5));
    gateway.crash(config());
    let keeper = gateway.open();
    gateway.send(keeper, b"\x10\x12\x00\x04MQTT\x04\x00\x00\x3c\x00\x06keeper");
    let got = gateway.received(keeper);
    assert_eq!(got[..4], [0x20, 2, 1, 0], "session present");
    assert_eq!(got[4..], publish("keep/x", b"1", 1, false, 1));
    let answer = gateway.datagram(
        COAP,
        peer(4_001),
        &coap(0, GET, 1, b"", None, &["mqtt", "keep", "x"], b""),
    );
    assert_eq!(payload(&answer[0]), b"1", "the retained value is back");
}

#[test]
fn strangers_are_not_served_by_a_private_listener() {
    let mut gateway = Gateway::new(config());
    let stranger = std::net::SocketAddr::from(([8, 8, 8, 8], 5_000));
    assert!(gateway.datagram(SN, stranger, &sn_connect("x", true, 60)).is_empty());
    assert_eq!(gateway.core.stats().dropped(motegate_message::Reason::SourceDenied), 1);
}
