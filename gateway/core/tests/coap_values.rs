//! What a CoAP client reads and observes: conditions, formats, and the end of an observation.
#![allow(clippy::cast_possible_truncation)] // option lengths and numbers are small

mod common;

use std::time::Duration;

use common::{COAP, Gateway, Options, coap, config, option, peer, publish, request};
use motegate_core::{Config, Input, Notice, NoticeKind};
use motegate_mapping::{Action, CoapMethod, CoapRule, Rules, Table};
use motegate_message::ConnectionId;

const GET: u8 = 1;
const PUT: u8 = 3;
const CONTENT: u8 = 0x45;
const NOT_FOUND: u8 = 0x84;
const PRECONDITION_FAILED: u8 = 0x8c;
const UNAVAILABLE: u8 = 0xa3;

const IF_MATCH: u16 = 1;
const ETAG: u16 = 4;
const IF_NONE_MATCH: u16 = 5;
const OBSERVE: u16 = 6;
const PATH: u16 = 11;
const FORMAT: u16 = 12;
const ACCEPT: u16 = 17;
const V: [(u16, &[u8]); 2] = [(PATH, b"mqtt"), (PATH, b"v")];

/// Sends one request from one peer; message ids count up.
fn ask(gateway: &mut Gateway, mid: u16, code: u8, before: Options<'_>, body: &[u8]) -> Vec<u8> {
    let options = [before, &V[..]].concat();
    let answers = gateway.datagram(COAP, peer(4_000), &request(code, mid, b"t", &options, body));
    assert_eq!(answers.len(), 1, "one answer: {answers:02x?}");
    answers[0].clone()
}

#[test]
fn conditions_hold_for_reading_too() {
    let mut gateway = Gateway::new(config());
    let other: &[u8] = b"12345678";
    // Nothing is there yet.
    assert_eq!(ask(&mut gateway, 1, GET, &[(IF_MATCH, b"")], b"")[1], PRECONDITION_FAILED);
    assert_eq!(ask(&mut gateway, 2, GET, &[(IF_NONE_MATCH, b"")], b"")[1], NOT_FOUND);
    ask(&mut gateway, 3, PUT, &[], b"21.5");
    let value = ask(&mut gateway, 4, GET, &[], b"");
    let etag = option(&value, ETAG).expect("an ETag");
    let cases: [(Options<'_>, u8); 6] = [
        (&[(IF_MATCH, &etag)], CONTENT),
        (&[(IF_MATCH, other), (IF_MATCH, &etag)], CONTENT),
        (&[(IF_MATCH, b"")], CONTENT),
        (&[(IF_MATCH, other)], PRECONDITION_FAILED),
        (&[(IF_NONE_MATCH, b"")], PRECONDITION_FAILED),
        (&[(IF_MATCH, &etag), (IF_NONE_MATCH, b"")], PRECONDITION_FAILED),
    ];
    for (mid, (condition, code)) in (5..).zip(cases) {
        let answer = ask(&mut gateway, mid, GET, condition, b"");
        assert_eq!(answer[1], code, "{condition:02x?}");
    }
    // Registering an observer is reading, too.
    let register = [(IF_MATCH, other), (OBSERVE, &b""[..])];
    let answer = ask(&mut gateway, 20, GET, &register, b"");
    assert_eq!((answer[1], option(&answer, OBSERVE)), (PRECONDITION_FAILED, None));
    ask(&mut gateway, 21, PUT, &[], b"22");
    assert_eq!(gateway.datagrams_to(peer(4_000)), Vec::<Vec<u8>>::new(), "nobody observes");
}

#[test]
fn a_shutdown_tells_every_observer() {
    let mut gateway = Gateway::new(config());
    for (port, token) in [(3_000, b"a"), (3_001, b"b")] {
        let register = coap(0, GET, 1, token, Some(0), &["mqtt", "v"], b"");
        assert_eq!(gateway.datagram(COAP, peer(port), &register)[0][1], CONTENT);
    }
    gateway.input(Input::Shutdown);
    for (port, token) in [(3_000, b"a"), (3_001, b"b")] {
        let last = gateway.datagrams_to(peer(port));
        assert_eq!(last.len(), 1, "{last:02x?}");
        assert_eq!((last[0][1], &last[0][4..5]), (UNAVAILABLE, &token[..]), "{last:02x?}");
        assert_eq!(option(&last[0], OBSERVE), None, "the last one");
    }
    // The sessions are gone: what comes now reaches nobody.
    ask(&mut gateway, 2, PUT, &[], b"late");
    assert!(gateway.datagrams_to(peer(3_000)).is_empty());
}

/// An MQTT 5 client, subscribed to `v` where that is asked for.
fn mqtt5(gateway: &mut Gateway, subscribed: bool) -> ConnectionId {
    let conn = gateway.open();
    gateway.send(conn, b"\x10\x0f\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x02me");
    assert_eq!(gateway.received(conn)[..1], [0x20]);
    if subscribed {
        gateway.send(conn, b"\x82\x07\x00\x09\x00\x00\x01v\x00");
        assert_eq!(gateway.received(conn), [0x90, 4, 0, 9, 0, 0]);
    }
    conn
}

/// PUBLISH of `{}` to `v`, retained, QoS 0, with this Content Type.
fn publish5(content_type: &str, retain: bool) -> Vec<u8> {
    let property = match content_type.len() as u8 {
        0 => vec![0],
        length => [&[length + 3, 3, 0, length], content_type.as_bytes()].concat(),
    };
    let body = [b"\x00\x01v", &property[..], b"{}"].concat();
    [&[0x30 | u8::from(retain), body.len() as u8], &body[..]].concat()
}

#[test]
fn a_content_format_reaches_mqtt_as_its_content_type() {
    let mut gateway = Gateway::new(config());
    let panel = mqtt5(&mut gateway, true);
    let cases: [(&[u8], &str); 6] = [
        (&[], "text/plain;charset=utf-8"),
        (&[50], "application/json"),
        (&[60], "application/cbor"),
        (&[112], "application/senml+cbor"),
        (&[0x2d, 0x16], "application/vnd.oma.lwm2m+tlv"),
        (&[0xff, 0], ""), // for experiments, RFC 7252 §12.3
    ];
    for (mid, (format, text)) in (1..).zip(cases) {
        let options = [&V[..], &[(FORMAT, format)]].concat();
        let put = coap_put(mid, &options);
        gateway.datagram(COAP, peer(4_000), &put);
        assert_eq!(gateway.received(panel), publish5(text, false), "{format:02x?}");
    }
    ask(&mut gateway, 100, PUT, &[], b"{}");
    assert_eq!(gateway.received(panel), publish5("", false), "nothing said, nothing told");
}

/// NON, so that it is forwarded at QoS 0.
fn coap_put(mid: u16, options: Options<'_>) -> Vec<u8> {
    let mut put = request(PUT, mid, b"t", options, b"{}");
    put[0] |= 1 << 4;
    put
}

#[test]
fn a_content_type_of_mqtt_reaches_coap_as_its_number() {
    let mut gateway = Gateway::new(config());
    let phone = mqtt5(&mut gateway, false);
    let cases: [(&str, &[u8]); 5] = [
        ("application/json", &[50]),
        ("Application/CBOR;x=y", &[60]),
        ("application/octet-stream", &[42]),
        ("text/plain; charset=utf-8", &[]),
        ("application/x-unknown", &[]), // what the payload looks like
    ];
    let tab = peer(3_000);
    for (mid, (text, format)) in (1..).zip(cases) {
        let register = coap(0, GET, mid, b"o", Some(0), &["mqtt", "v"], b"");
        gateway.datagram(
            COAP,
            peer(4_000),
            &coap(0, 4, 1_000 + mid, b"", None, &["mqtt", "v"], b""),
        );
        assert_eq!(gateway.datagram(COAP, tab, &register)[0][1], CONTENT);
        gateway.send(phone, &publish5(text, true));
        let told = gateway.datagrams_to(tab);
        assert_eq!(option(&told[0], FORMAT).as_deref(), Some(format), "notified: {text}");
        if told[0][0] >> 4 == 4 {
            gateway.datagram(COAP, tab, &[0x60, 0, told[0][2], told[0][3]]);
        }
        let value = ask(&mut gateway, mid, GET, &[], b"");
        assert_eq!(option(&value, FORMAT).as_deref(), Some(format), "read: {text}");
    }
}

/// RFC 7641 §4.2: the Content-Format of a notification is that of the first answer, or the
/// observation ends with 4.06.
#[test]
fn the_format_of_an_observation_stays() {
    let mut gateway = Gateway::new(config());
    let tab = peer(3_000);
    let put = |gateway: &mut Gateway, mid, format: &[u8], body: &[u8]| {
        let options = [&V[..], &[(FORMAT, format)]].concat();
        let mut put = request(PUT, mid, b"t", &options, body);
        put[0] |= 1 << 4;
        gateway.datagram(COAP, peer(4_000), &put);
        gateway.datagrams_to(tab)
    };
    // Of what is there, and of the first value where nothing was.
    for (round, first) in [(0, true), (1, false)] {
        let mid = round * 100;
        gateway.datagram(COAP, peer(4_000), &coap(0, 4, mid, b"", None, &["mqtt", "v"], b""));
        if first {
            put(&mut gateway, mid + 1, &[], b"one");
        }
        let register = coap(0, GET, mid + 2, b"o", Some(0), &["mqtt", "v"], b"");
        let answer = gateway.datagram(COAP, tab, &register);
        assert_eq!(option(&answer[0], FORMAT).is_some(), first);
        let told = put(&mut gateway, mid + 3, &[], b"two");
        assert_eq!((told[0][1], option(&told[0], FORMAT)), (CONTENT, Some(vec![])));
        let told = put(&mut gateway, mid + 4, &[50], b"{}");
        assert_eq!((told[0][1], option(&told[0], OBSERVE)), (0x86, None), "{told:02x?}");
        gateway.datagram(COAP, tab, &[0x60, 0, told[0][2], told[0][3]]);
        assert!(put(&mut gateway, mid + 5, &[], b"three").is_empty(), "it is over");
    }
}

/// A rule that takes OBSERVE and nothing else.
fn observe_only(path: &str, topic: &str) -> CoapRule {
    CoapRule {
        name: path.into(),
        path: path.into(),
        topic: topic.into(),
        methods: Some(vec![(CoapMethod::Observe, Action::Subscribe)]),
        ..CoapRule::default()
    }
}

/// RFC 7641 §3.6: the cancellation is a GET like any other, of a rule that takes OBSERVE only too;
/// a regular end is no warning.
#[test]
fn an_observation_is_cancelled_where_only_observe_is_taken() {
    let missing = CoapRule { not_found_when_empty: true, ..observe_only("/m", "m") };
    let coap_rules = vec![
        observe_only("/v", "v"),
        observe_only("/e", "e"),
        missing,
        observe_only("/all", "all/+"),
    ];
    let rules = Rules { coap: coap_rules, ..Rules::default() };
    let mut gateway = Gateway::with_table(config(), Table::new(rules).expect("good rules"));
    let mqtt = gateway.mqtt("m", true);
    for topic in ["v", "all/1"] {
        gateway.send(mqtt, &publish(topic, b"old", 0, true, 0));
    }
    let cases: [(&str, &str, u8, &[u8]); 4] = [
        ("v", "v", CONTENT, b"\xffold"),
        ("e", "e", CONTENT, b""),
        ("m", "m", NOT_FOUND, b"\xffno retained value on this topic"),
        ("all", "all/1", CONTENT, b""),
    ];
    for (mid, (path, topic, code, end)) in (0..).step_by(10).zip(cases) {
        let tab = peer(3_000 + mid);
        let observe = |mid, value| coap(0, GET, mid, b"o", Some(value), &[path], b"");
        gateway.datagram(COAP, tab, &observe(mid, 0));
        let answer = gateway.datagram(COAP, tab, &observe(mid + 1, 1));
        assert_eq!((answer[0][1], option(&answer[0], OBSERVE)), (code, None), "{path}");
        assert!(answer[0].ends_with(end), "{path}: {:02x?}", answer[0]);
        gateway.send(mqtt, &publish(topic, b"new", 0, true, 0));
        assert!(gateway.datagrams_to(tab).is_empty(), "{path}: it is over");
        // Once more, with nothing to end.
        assert_eq!(gateway.datagram(COAP, tab, &observe(mid + 2, 1)).len(), 1);
    }
    let refused = |notice: &Notice| matches!(notice.kind, NoticeKind::Refused(_));
    assert!(!gateway.notices.iter().any(refused), "{:?}", gateway.notices);
    // An ordinary GET is still refused.
    let answer = gateway.datagram(COAP, peer(9), &coap(0, GET, 1, b"o", None, &["v"], b""));
    assert_eq!(answer[0][1], 0x85);
}

/// RFC 7959: a value larger than a message, read and observed. The rest of a notification is asked
/// for with a GET that has neither Observe nor a part in the observation.
#[test]
fn a_large_value_is_read_and_observed_in_blocks() {
    const BLOCK2: u16 = 23;
    let mut gateway = Gateway::new(config());
    let (tab, mqtt) = (peer(3_000), gateway.mqtt("m", true));
    let publish_large = |gateway: &mut Gateway, byte: u8, retain: bool| {
        let mut packet = vec![0x30 | u8::from(retain), 0x83, 0x10, 0, 1, b'v']; // 2,051 follow
        packet.resize(packet.len() + 2_048, byte);
        gateway.send(mqtt, &packet);
    };
    let block = |gateway: &mut Gateway, mid, number: &[u8]| {
        let options = [&V[..], &[(BLOCK2, number)]].concat();
        gateway.datagram(COAP, tab, &request(GET, mid, b"b", &options, b""))[0].clone()
    };
    publish_large(&mut gateway, b'1', true);
    let register = coap(0, GET, 1, b"o", Some(0), &["mqtt", "v"], b"");
    let first = gateway.datagram(COAP, tab, &register)[0].clone();
    assert_eq!((first[1], option(&first, BLOCK2)), (CONTENT, Some(vec![0x0e])));
    assert_eq!(option(&first, 28), Some(vec![8, 0]), "Size2 2,048");
    let second = block(&mut gateway, 2, &[0x16]);
    assert_eq!((option(&second, BLOCK2), option(&second, OBSERVE)), (Some(vec![0x16]), None));
    assert_eq!(option(&second, ETAG), option(&first, ETAG));
    assert!(second.ends_with(&[b'1'; 1_024]));
    assert_eq!(block(&mut gateway, 3, &[0x26])[1], 0x80, "4.00: behind the end");
    // A newer value: another ETag, so that nobody joins the two.
    publish_large(&mut gateway, b'2', true);
    let told = gateway.datagrams_to(tab);
    assert_eq!((option(&told[0], BLOCK2), told[0][1]), (Some(vec![0x0e]), CONTENT));
    assert!(told[0].ends_with(&[b'2'; 1_024]));
    let rest = block(&mut gateway, 4, &[0x16]);
    assert_eq!(option(&rest, ETAG), option(&told[0], ETAG));
    assert_ne!(option(&rest, ETAG), option(&first, ETAG));
    assert!(rest.ends_with(&[b'2'; 1_024]));
    // One that is not retained: its rest is what the observer was told, and nobody else's.
    gateway.datagram(COAP, tab, &[0x60, 0, told[0][2], told[0][3]]);
    publish_large(&mut gateway, b'3', false);
    let told = gateway.datagrams_to(tab);
    assert!(told[0].ends_with(&[b'3'; 1_024]));
    let rest = block(&mut gateway, 5, &[0x16]);
    assert_eq!(option(&rest, ETAG), option(&told[0], ETAG));
    assert!(rest.ends_with(&[b'3'; 1_024]));
    let options = [&V[..], &[(BLOCK2, &[0x16][..])]].concat();
    let others = request(GET, 1, b"b", &options, b"");
    let other = gateway.datagram(COAP, peer(3_001), &others)[0].clone();
    assert!(other.ends_with(&[b'2'; 1_024]), "the value of the topic");
    // When the observation is over, it is gone.
    gateway.datagram(COAP, tab, &coap(0, GET, 6, b"o", Some(1), &["mqtt", "v"], b""));
    assert!(block(&mut gateway, 7, &[0x16]).ends_with(&[b'2'; 1_024]));
}

/// The rest of a notification is had where the rule takes OBSERVE only, of several topics too.
#[test]
fn the_rest_of_a_notification_needs_no_get_in_the_rule() {
    const BLOCK2: u16 = 23;
    let rules = Rules {
        coap: vec![observe_only("/v", "v"), observe_only("/all", "+")],
        ..Rules::default()
    };
    let mut gateway = Gateway::with_table(config(), Table::new(rules).expect("good rules"));
    let mqtt = gateway.mqtt("m", true);
    for (port, path) in [(3_000, "v"), (3_001, "all")] {
        let tab = peer(port);
        let rest = |gateway: &mut Gateway, mid| {
            let options = [(PATH, path.as_bytes()), (BLOCK2, &[0x14])]; // the second 256 bytes
            gateway.datagram(COAP, tab, &request(GET, mid, b"b", &options, b""))[0].clone()
        };
        assert_eq!(rest(&mut gateway, 1)[1], NOT_FOUND, "nothing was told yet");
        gateway.datagram(COAP, tab, &coap(0, GET, 2, b"o", Some(0), &[path], b""));
        let mut large = vec![0x30, 0x83, 0x10, 0, 1, b'v'];
        large.resize(large.len() + 2_048, b'x');
        gateway.send(mqtt, &large);
        let told = gateway.datagrams_to(tab);
        assert_eq!(option(&told[0], BLOCK2), Some(vec![0x0e]), "{path}");
        let rest = rest(&mut gateway, 3);
        assert_eq!((rest[1], option(&rest, BLOCK2)), (CONTENT, Some(vec![0x1c])), "{path}");
        assert_eq!(option(&rest, ETAG), option(&told[0], ETAG));
    }
    assert!(gateway.notices.iter().all(|n| !matches!(n.kind, NoticeKind::Refused(_))));
}

/// What nobody gave a format is octets to whom it was octets before, though it looks like text.
#[test]
fn octets_that_look_like_text_stay_octets() {
    let mut gateway = Gateway::new(config());
    let tab = peer(3_000);
    ask(&mut gateway, 1, PUT, &[], b"\xff\x00");
    let register = coap(0, GET, 1, b"o", Some(0), &["mqtt", "v"], b"");
    let answer = gateway.datagram(COAP, tab, &register);
    assert_eq!(option(&answer[0], FORMAT), Some(vec![42]));
    ask(&mut gateway, 2, PUT, &[], b"text");
    let told = gateway.datagrams_to(tab);
    assert_eq!((told[0][1], option(&told[0], FORMAT)), (CONTENT, Some(vec![42])));
}

/// MQTT 3.1.1 cannot say a format: what could be that of the observation is.
#[test]
fn a_value_without_a_format_is_what_the_observer_had_before() {
    let cases: [(u8, &[u8], &[u8], u8); 7] = [
        (50, b"{}", b"{\"a\":1}", CONTENT),
        (50, b"{}", b"0", CONTENT),
        (50, b"{}", b"open", 0x86),
        (110, b"[]", b"[{\"n\":\"a\",\"v\":1}]", CONTENT),
        (60, b"\xa0", b"\xa1\x61v\xf9\x4d\x60", CONTENT),
        (60, b"\xa0", b"1", 0x86), // -18 by accident
        (41, b"<a/>", b"<b/>", 0x86),
    ];
    for (format, first, next, code) in cases {
        let mut gateway = Gateway::new(config());
        let mqtt = gateway.mqtt("m", true);
        let number = [format];
        let options = [&V[..], &[(FORMAT, &number[..])]].concat();
        gateway.datagram(COAP, peer(4_000), &request(PUT, 1, b"t", &options, first));
        let register = coap(0, GET, 1, b"o", Some(0), &["mqtt", "v"], b"");
        gateway.datagram(COAP, peer(3_000), &register);
        gateway.send(mqtt, &publish("v", next, 0, true, 0));
        let told = gateway.datagrams_to(peer(3_000));
        assert_eq!(told[0][1], code, "{format} {next:02x?}");
        let told = option(&told[0], FORMAT);
        assert_eq!(told, (code == CONTENT).then(|| vec![format]), "{next:02x?}");
    }
}

#[test]
fn accept_and_conditions_agree_with_what_mqtt_said() {
    let mut gateway = Gateway::new(config());
    let phone = mqtt5(&mut gateway, false);
    gateway.send(phone, &publish5("application/json", true));
    let accept = |gateway: &mut Gateway, mid, format: &[u8]| {
        let options = [&V[..], &[(ACCEPT, format)]].concat();
        gateway.datagram(COAP, peer(4_000), &request(GET, mid, b"t", &options, b""))[0].clone()
    };
    let value = accept(&mut gateway, 1, &[50]);
    assert_eq!(value[1], CONTENT);
    assert_eq!(accept(&mut gateway, 2, &[60])[1], 0x86, "4.06");
    // The ETag that a GET gives is the one that a PUT is judged by, and it covers the format.
    let etag = option(&value, ETAG).expect("an ETag");
    gateway.send(phone, &publish5("application/cbor", true));
    assert_eq!(ask(&mut gateway, 3, PUT, &[(IF_MATCH, &etag)], b"2")[1], PRECONDITION_FAILED);
    gateway.send(phone, &publish5("application/json", true));
    assert_eq!(ask(&mut gateway, 4, GET, &[(ETAG, &etag)], b"")[1], 0x43, "2.03");
    assert_eq!(ask(&mut gateway, 5, PUT, &[(IF_MATCH, &etag)], b"2")[1], 0x44, "2.04");
}

#[test]
fn a_will_has_its_content_format_too() {
    let mut gateway = Gateway::new(config());
    let conn = gateway.open();
    let text = b"application/json";
    let mut connect = b"\x10\x00\x00\x04MQTT\x05\x26\x00\x3c\x00\x00\x01w".to_vec();
    connect.extend_from_slice(&[text.len() as u8 + 3, 3, 0, text.len() as u8]);
    connect.extend_from_slice(text);
    connect.extend_from_slice(b"\x00\x01v\x00\x02{}");
    connect[1] = connect.len() as u8 - 2;
    gateway.send(conn, &connect);
    assert_eq!(gateway.received(conn)[..1], [0x20]);
    gateway.input(Input::Closed { conn, reason: motegate_message::Reason::ConnectionLost });
    let value = ask(&mut gateway, 1, GET, &[], b"");
    assert_eq!(option(&value, FORMAT), Some(vec![50]));
}

/// RFC 7252 §5.10.1, mapping.md §2.2 and §2.5: a Uri-Path option is one level as it stands.
#[test]
fn a_segment_is_a_level() {
    const CREATED: u8 = 0x41;
    const BAD_REQUEST: u8 = 0x80;
    let cases: [(&[&[u8]], u8, u8); 14] = [
        (&[b"mqtt", b"a/b"], BAD_REQUEST, BAD_REQUEST),
        (&[b"mqtt", b"a", b"+"], BAD_REQUEST, BAD_REQUEST),
        (&[b"mqtt", b"#"], BAD_REQUEST, BAD_REQUEST),
        (&[b"mqtt", b"a+"], BAD_REQUEST, BAD_REQUEST),
        (&[b"mqtt", b"a\0"], BAD_REQUEST, BAD_REQUEST),
        (&[b"mqtt", b"\xff"], BAD_REQUEST, BAD_REQUEST),
        (&[b"mqtt", b"a", b".."], BAD_REQUEST, BAD_REQUEST),
        (&[b"mqtt", b"$x", b"a"], BAD_REQUEST, NOT_FOUND), // only to be read
        (&[b"mqtt", b"a", b"$x"], CREATED, CONTENT),
        (&[b"mqtt", b"a%2Fb"], CREATED, CONTENT), // not decoded again
        (&[b"mqtt", "é".as_bytes()], CREATED, CONTENT),
        (&[b"mqttx", b"a"], NOT_FOUND, NOT_FOUND),
        (&[b"mqt", b"t", b"a"], NOT_FOUND, NOT_FOUND),
        (&[b"MQTT", b"a"], NOT_FOUND, NOT_FOUND),
    ];
    let mut gateway = Gateway::new(config());
    let all = gateway.mqtt("all", true);
    gateway.mqtt_subscribe(all, "#", 0);
    for (mid, (path, put, get)) in (1..).zip(cases) {
        let options: Vec<(u16, &[u8])> = path.iter().map(|segment| (PATH, *segment)).collect();
        for (mid, code, expected) in [(2 * mid, PUT, put), (2 * mid + 1, GET, get)] {
            let body: &[u8] = if code == PUT { b"1" } else { b"" };
            let bytes = request(code, mid, b"t", &options, body);
            let answer = &gateway.datagram(COAP, peer(4_000), &bytes)[0];
            assert_eq!(answer[1], expected, "{code} {path:02x?}");
        }
    }
    let came = gateway.received(all);
    let topics: [&[u8]; 3] = [b"a/$x", b"a%2Fb", "é".as_bytes()];
    let expected: Vec<u8> = topics
        .iter()
        .flat_map(|topic| {
            let n = topic.len() as u8;
            [&[0x30, n + 3, 0, n], *topic, b"1"].concat()
        })
        .collect();
    assert_eq!(came, expected);
}

/// RFC 7641 §4.1: a server that cannot add an observer answers without Observe.
#[test]
fn an_observer_too_many_gets_the_value_alone() {
    let mut config = config();
    config.broker.max_sessions = 0;
    let mut gateway = Gateway::new(config);
    let path = ["mqtt", "site", "door"];
    gateway.datagram(COAP, peer(4_000), &coap(0, 3, 1, b"", None, &path, b"open"));
    let answers = gateway.datagram(COAP, peer(4_000), &coap(0, 1, 2, b"o", Some(0), &path, b""));
    assert_eq!((answers.len(), &answers[0][..2]), (1, &[0x61, 0x45][..]), "2.05");
    let options = &answers[0][5..];
    assert_eq!(options[0] >> 4, 4, "ETag is the first option: no Observe before it");
    assert!(answers[0].ends_with(b"\xffopen"));
    gateway.datagram(COAP, peer(4_001), &coap(0, 3, 3, b"", None, &path, b"shut"));
    assert!(gateway.datagrams_to(peer(4_000)).is_empty(), "and no notification later");
}

/// RFC 7641 §4.5: who is gone is noticed although there is nothing to tell.
#[test]
fn rfc_7641_s4_5_who_observes_what_never_changes_is_asked_once_a_day() {
    const HOUR: Duration = Duration::from_secs(3_600);
    let mut gateway = Gateway::new(Config { sys_interval: Duration::ZERO, ..config() });
    let put = coap(0, 3, 1, b"", None, &["mqtt", "t"], b"on");
    gateway.datagram(COAP, peer(4_000), &put);
    for (port, path) in [(4_001, ["mqtt", "t"]), (4_002, ["mqtt", "none"])] {
        let observe = coap(0, 1, 1, b"t", Some(0), &path, b"");
        assert_eq!(gateway.datagram(COAP, peer(port), &observe)[0][1], 0x45);
    }
    for day in 0..2 {
        gateway.datagrams.clear();
        gateway.advance(22 * HOUR);
        assert_eq!(gateway.datagrams.len(), 0, "day {day}");
        let mut asked = 0;
        for _ in 0..7_200 {
            gateway.advance(Duration::from_secs(1));
            for (port, has_value) in [(4_001, true), (4_002, false)] {
                for told in gateway.datagrams_to(peer(port)) {
                    asked += 1;
                    assert_eq!((told[0] >> 4, told[1]), (4, 0x45), "{told:02x?}");
                    assert_eq!(told.ends_with(b"\xffon"), has_value, "{told:02x?}");
                    gateway.datagram(COAP, peer(port), &[0x60, 0, told[2], told[3]]);
                }
            }
            if asked == 2 {
                break;
            }
        }
        assert_eq!(asked, 2, "once each, on day {day}");
    }
    assert_eq!(gateway.limit("max_observers").used, Some(2));
    gateway.advance(25 * HOUR);
    assert_eq!(gateway.limit("max_observers").used, Some(0), "nobody has acknowledged it");
    gateway.advance(HOUR);
    assert_eq!(gateway.core.poll_timeout(), None, "and nothing is looked after any more");
}
