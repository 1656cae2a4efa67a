//! `max_topic_levels` and `max_topic_length` bound the final topic, whatever protocol names it.

mod common;

use std::net::SocketAddr;

use common::{COAP, Gateway, SN, coap, config, peer, publish, sn, sn_connect};
use motegate_message::Reason;

const DEEP: &str = "a/b/c/d";
const LONG: &str = "a-topic-of-many-bytes";
const FITS: &str = "a/b/c";

fn bounded() -> Gateway {
    let mut config = config();
    config.mqtt.max_topic_levels = 3;
    config.mqtt.max_topic_length = 20;
    Gateway::new(config)
}

/// The one refusal since the last look names the limit.
fn refused_with(gateway: &mut Gateway, limit: &str) {
    let refused = gateway.core.stats().dropped(Reason::BadTopic);
    assert!(refused > 0, "counted");
    for notice in gateway.notices.drain(..) {
        let text = notice.text.unwrap_or_default();
        assert!(text.contains(limit), "{text}");
    }
}

#[test]
fn coap_publishes_and_observes_within_the_bounds() {
    let mut gateway = bounded();
    let ask = |gateway: &mut Gateway, mid, code, observe, segments: &[&str]| {
        let path = [&["mqtt"], segments].concat();
        let payload: &[u8] = if code == 3 { b"1" } else { b"" };
        let request = coap(0, code, mid, b"", observe, &path, payload);
        gateway.datagram(COAP, peer(4_000), &request)[0].clone()
    };
    assert_eq!(ask(&mut gateway, 1, 3, None, &["a", "b", "c"])[1], 0x41, "2.01");
    for (mid, code, observe) in [(2, 3, None), (3, 2, None), (4, 4, None), (5, 1, Some(0))] {
        let answer = ask(&mut gateway, mid, code, observe, &["a", "b", "c", "d"]);
        assert_eq!(answer[1], 0x80, "4.00 to {code}");
        let text = String::from_utf8_lossy(&answer).into_owned();
        assert!(text.contains("max_topic_levels"), "{text}");
    }
    refused_with(&mut gateway, "max_topic_levels");
    let mut gateway = bounded();
    let answer = ask(&mut gateway, 6, 3, None, &["a-topic-of-", "many-bytes"]);
    assert_eq!(answer[1], 0x80, "4.00");
    refused_with(&mut gateway, "max_topic_length");
}

fn sn_client(gateway: &mut Gateway) -> SocketAddr {
    let at = peer(2_000);
    assert_eq!(gateway.datagram(SN, at, &sn_connect("mote", true, 60)), [sn(0x05, &[0])]);
    gateway.notices.clear();
    at
}

#[test]
fn mqtt_sn_registers_and_subscribes_within_the_bounds() {
    for (name, limit) in [(DEEP, "max_topic_levels"), (LONG, "max_topic_length")] {
        let mut gateway = bounded();
        let at = sn_client(&mut gateway);
        let register = sn(0x0a, &[&[0, 0, 0, 1][..], name.as_bytes()].concat());
        let regack = gateway.datagram(SN, at, &register);
        assert_eq!((regack[0][1], regack[0][6]), (0x0b, 2), "invalid topic id: {regack:02x?}");
        refused_with(&mut gateway, limit);
        let subscribe = sn(0x12, &[&[0x20, 0, 7][..], name.as_bytes()].concat());
        let suback = gateway.datagram(SN, at, &subscribe);
        assert_eq!((suback[0][1], suback[0][7]), (0x13, 2), "invalid topic id: {suback:02x?}");
    }
    let mut gateway = bounded();
    let at = sn_client(&mut gateway);
    let register = sn(0x0a, &[&[0, 0, 0, 1][..], FITS.as_bytes()].concat());
    assert_eq!(gateway.datagram(SN, at, &register)[0][6], 0, "accepted");
}

#[test]
fn a_mqtt_sn_will_is_within_the_bounds() {
    let mut gateway = bounded();
    let at = peer(2_001);
    // CONNECT with the will flag, WILLTOPIC, WILLMSG.
    let request = gateway.datagram(SN, at, &sn(0x04, &[&[0x0c, 1, 0, 60][..], b"w"].concat()));
    assert_eq!(request, [sn(0x06, &[])], "WILLTOPICREQ");
    gateway.datagram(SN, at, &sn(0x07, &[&[0][..], DEEP.as_bytes()].concat()));
    let connack = gateway.datagram(SN, at, &sn(0x09, b"gone"));
    assert_eq!((connack[0][1], connack[0][2]), (0x05, 2), "{connack:02x?}");
    refused_with(&mut gateway, "max_topic_levels");
}

#[test]
fn a_mount_counts() {
    let mut config = config();
    config.mqtt.max_topic_levels = 3;
    config.listeners[0].mount = "plant/".into();
    let mut gateway = Gateway::new(config);
    let inside = gateway.mqtt("inside", true);
    gateway.mqtt_subscribe(inside, "#", 0);
    gateway.send(inside, &publish("a/b", b"1", 0, false, 0));
    assert_eq!(gateway.received(inside), publish("a/b", b"1", 0, false, 0));
    gateway.send(inside, &publish("a/b/c", b"2", 0, false, 0));
    assert_eq!(gateway.received(inside), b"", "the final topic has four levels");
    assert_eq!(gateway.core.stats().dropped(Reason::BadTopic), 1);
}
