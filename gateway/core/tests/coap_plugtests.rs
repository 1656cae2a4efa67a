//! The cases of ETSI's CoAP plugtests (TD_COAP_CORE, LINK, BLOCK and OBS) that concern a server, each
//! by its name, with the gateway as the server. The resources are topics: `/mqtt/test` and others.
#![allow(clippy::cast_possible_truncation)] // option lengths and numbers are small

mod common;

use std::time::Duration;

use common::{COAP, Gateway, Options, config, option, peer, publish, request};
use motegate_mapping::{CoapRule, Rules, Table};

const GET: u8 = 1;
const POST: u8 = 2;
const PUT: u8 = 3;
const DELETE: u8 = 4;
const CREATED: u8 = 0x41;
const DELETED: u8 = 0x42;
const VALID: u8 = 0x43;
const CHANGED: u8 = 0x44;
const CONTENT: u8 = 0x45;
const CONTINUE: u8 = 0x5f;
const NOT_FOUND: u8 = 0x84;
const NOT_ACCEPTABLE: u8 = 0x86;
const PRECONDITION_FAILED: u8 = 0x8c;

const CON: u8 = 0;
const NON: u8 = 1;
const ACK: u8 = 2;
const RST: u8 = 3;

const IF_MATCH: u16 = 1;
const ETAG: u16 = 4;
const IF_NONE_MATCH: u16 = 5;
const OBSERVE: u16 = 6;
const PATH: u16 = 11;
const FORMAT: u16 = 12;
const MAX_AGE: u16 = 14;
const QUERY: u16 = 15;
const ACCEPT: u16 = 17;
const BLOCK2: u16 = 23;
const BLOCK1: u16 = 27;

const TEST: [(u16, &[u8]); 2] = [(PATH, b"mqtt"), (PATH, b"test")];
const TOKEN: &[u8] = b"tk";

fn kind(packet: &[u8]) -> u8 {
    packet[0] >> 4 & 3
}

fn id(packet: &[u8]) -> [u8; 2] {
    [packet[2], packet[3]]
}

fn token(packet: &[u8]) -> &[u8] {
    &packet[4..4 + usize::from(packet[0] & 15)]
}

fn body(packet: &[u8]) -> &[u8] {
    let options: usize = 4 + usize::from(packet[0] & 15);
    let marker = packet[options..].iter().rposition(|byte| *byte == 0xff);
    marker.map_or(b"", |at| &packet[options + at + 1..])
}

/// A client at one port.
struct Device {
    gateway: Gateway,
    mid: u16,
    last: Vec<u8>,
}

impl Device {
    fn new() -> Self {
        Device { gateway: Gateway::new(config()), mid: 0, last: Vec::new() }
    }

    fn datagrams(&mut self, kind: u8, code: u8, options: Options<'_>, body: &[u8]) -> Vec<Vec<u8>> {
        self.mid += 1;
        let mut bytes = request(code, self.mid, TOKEN, options, body);
        bytes[0] |= kind << 4;
        self.last = bytes.clone();
        self.gateway.datagram(COAP, peer(4_000), &bytes)
    }

    /// The one response, which belongs to the request.
    fn ask(&mut self, of: u8, code: u8, options: Options<'_>, body: &[u8]) -> Vec<u8> {
        let answers = self.datagrams(of, code, options, body);
        assert_eq!(answers.len(), 1, "{answers:02x?}");
        let answer = answers[0].clone();
        assert_eq!(token(&answer), TOKEN);
        match of {
            CON => assert_eq!((kind(&answer), id(&answer)), (ACK, self.mid.to_be_bytes())),
            _ => assert_eq!(kind(&answer), NON),
        }
        answer
    }

    fn con(&mut self, code: u8, options: Options<'_>, body: &[u8]) -> Vec<u8> {
        self.ask(CON, code, options, body)
    }

    /// An Empty message with the id of what came.
    fn empty(&mut self, kind: u8, of: &[u8]) -> Vec<Vec<u8>> {
        let [high, low] = id(of);
        self.gateway.datagram(COAP, peer(4_000), &[0x40 | kind << 4, 0, high, low])
    }

    /// Somebody else writes; what this client is told of it.
    fn update(&mut self, code: u8, value: &[u8]) -> Vec<Vec<u8>> {
        self.mid += 1;
        let bytes = request(code, self.mid, b"o", &TEST, value);
        self.gateway.datagram(COAP, peer(4_001), &bytes);
        self.gateway.datagrams_to(peer(4_000))
    }

    fn observe(&mut self, options: Options<'_>) -> Vec<u8> {
        let answer = self.con(GET, &[&[(OBSERVE, &b""[..])], options].concat(), b"");
        assert!(answer[1] == CONTENT && option(&answer, OBSERVE).is_some(), "{answer:02x?}");
        answer
    }
}

/// A gateway with one rule beside the passthrough.
fn with_rule(rule: CoapRule) -> Device {
    let coap = vec![CoapRule { name: "rule".into(), ..rule }];
    let table = Table::new(Rules { coap, ..Rules::default() }).expect("good rules");
    Device { gateway: Gateway::with_table(config(), table), ..Device::new() }
}

/// 01 to 04 with CON, 05 to 08 with NON.
fn basic(of: u8) {
    let mut device = Device::new();
    assert_eq!(device.ask(of, GET, &TEST, b"")[1], NOT_FOUND);
    assert_eq!(device.ask(of, PUT, &[&TEST[..], &[(FORMAT, b"")]].concat(), b"1")[1], CREATED);
    assert_eq!(device.ask(of, PUT, &TEST, b"2")[1], CHANGED);
    let value = device.ask(of, GET, &TEST, b"");
    assert_eq!(
        (value[1], body(&value), option(&value, FORMAT)),
        (CONTENT, &b"2"[..], Some(vec![]))
    );
    assert_eq!(device.ask(of, POST, &TEST, b"3")[1], CHANGED);
    assert_eq!(body(&device.ask(of, GET, &TEST, b"")), b"2", "not retained");
    assert_eq!(device.ask(of, DELETE, &TEST, b"")[1], DELETED);
    assert_eq!(device.ask(of, GET, &TEST, b"")[1], NOT_FOUND);
}

#[test]
fn td_coap_core_01_02_03_04_con() {
    basic(CON);
}

#[test]
fn td_coap_core_05_06_07_08_non() {
    basic(NON);
}

/// A PUT that is not yet stored: first the acknowledgement, then the response on its own.
fn separate(of: u8) -> (Device, Vec<u8>) {
    let mut device = Device::new();
    device.gateway.commit_at_once = false;
    assert!(device.datagrams(of, PUT, &TEST, b"1").is_empty());
    device.gateway.advance(Duration::from_secs(2));
    let first = device.gateway.datagrams_to(peer(4_000));
    if of == CON {
        assert_eq!(first, [[0x60, 0, 0, device.mid as u8]], "an empty acknowledgement");
    } else {
        assert!(first.is_empty(), "{first:02x?}");
    }
    device.gateway.commit();
    let later = device.gateway.datagrams_to(peer(4_000));
    assert_eq!(later.len(), 1, "{later:02x?}");
    assert_eq!((kind(&later[0]), later[0][1], token(&later[0])), (of, CREATED, TOKEN));
    assert_ne!(id(&later[0]), device.mid.to_be_bytes(), "an id of its own");
    (device, later[0].clone())
}

#[test]
fn td_coap_core_09_separate_response() {
    let (mut device, response) = separate(CON);
    assert!(device.empty(ACK, &response).is_empty());
    device.gateway.advance(Duration::from_secs(100));
    assert!(device.gateway.datagrams_to(peer(4_000)).is_empty(), "acknowledged");
}

#[test]
fn td_coap_core_10_token() {
    let mut device = Device::new();
    for length in 1..=8 {
        let token = &b"12345678"[..length];
        let bytes = request(GET, length as u16, token, &TEST, b"");
        let answer = &device.gateway.datagram(COAP, peer(4_000), &bytes)[0];
        assert_eq!(self::token(answer), token);
    }
}

#[test]
fn td_coap_core_11_no_token() {
    let mut device = Device::new();
    let bytes = request(GET, 1, b"", &TEST, b"");
    assert_eq!(token(&device.gateway.datagram(COAP, peer(4_000), &bytes)[0]), b"");
}

#[test]
fn td_coap_core_12_several_uri_path() {
    let mut device = Device::new();
    let path = [&b"mqtt"[..], b"seg1", b"seg2", b"seg3"].map(|segment| (PATH, segment));
    device.con(PUT, &path, b"deep");
    assert_eq!(body(&device.con(GET, &path, b"")), b"deep");
    assert_eq!(device.con(GET, &path[..3], b"")[1], NOT_FOUND);
}

#[test]
fn td_coap_core_13_several_uri_query() {
    let mut device = Device::new();
    let watcher = device.gateway.mqtt("watcher", true);
    device.gateway.mqtt_subscribe(watcher, "#", 1);
    let query = [&TEST[..], &[(QUERY, b"qos=0"), (QUERY, b"retain=false")]].concat();
    assert_eq!(device.con(PUT, &query, b"1")[1], CHANGED);
    assert_eq!(device.gateway.received(watcher)[0], 0x30, "QoS 0, not retained");
    assert_eq!(device.con(GET, &TEST, b"")[1], NOT_FOUND);
}

/// The request, or its response, was lost: the repetition is answered, and nothing is done twice.
#[test]
fn td_coap_core_14_lossy() {
    let mut device = Device::new();
    let watcher = device.gateway.mqtt("watcher", true);
    device.gateway.mqtt_subscribe(watcher, "#", 1);
    let answer = device.con(PUT, &TEST, b"1");
    let again = device.last.clone();
    device.gateway.received(watcher);
    for _ in 0..4 {
        device.gateway.advance(Duration::from_secs(5));
        assert_eq!(device.gateway.datagram(COAP, peer(4_000), &again)[0], answer);
    }
    assert_eq!(device.gateway.received(watcher), b"");
}

/// The acknowledgement of a separate response was lost: it comes again until there is one.
#[test]
fn td_coap_core_15_lossy_separate() {
    let (mut device, response) = separate(CON);
    device.gateway.advance(Duration::from_secs(20));
    let again = device.gateway.datagrams_to(peer(4_000));
    assert!((2..=3).contains(&again.len()) && again.iter().all(|bytes| *bytes == response));
    device.empty(ACK, &response);
    device.gateway.advance(Duration::from_secs(100));
    assert!(device.gateway.datagrams_to(peer(4_000)).is_empty());
}

#[test]
fn td_coap_core_16_17_separate_non() {
    separate(NON);
}

#[test]
fn td_coap_core_20_accept() {
    let mut device = Device::new();
    device.con(PUT, &[&TEST[..], &[(FORMAT, b"\x32")]].concat(), b"{}");
    let mut accept = |format| device.con(GET, &[&TEST[..], &[(ACCEPT, format)]].concat(), b"");
    let value = accept(b"\x32");
    assert_eq!((value[1], option(&value, FORMAT)), (CONTENT, Some(vec![0x32])));
    assert_eq!(accept(b"\x29")[1], NOT_ACCEPTABLE);
}

#[test]
fn td_coap_core_21_etag() {
    let mut device = Device::new();
    device.con(PUT, &TEST, b"1");
    let etag = option(&device.con(GET, &TEST, b""), ETAG).expect("an ETag");
    let known = [&[(ETAG, &etag[..])], &TEST[..]].concat();
    let answer = device.con(GET, &known, b"");
    assert_eq!(
        (answer[1], body(&answer), option(&answer, ETAG)),
        (VALID, &b""[..], Some(etag.clone()))
    );
    device.con(PUT, &TEST, b"2");
    let answer = device.con(GET, &known, b"");
    assert_eq!((answer[1], body(&answer)), (CONTENT, &b"2"[..]));
    assert_ne!(option(&answer, ETAG), Some(etag));
}

#[test]
fn td_coap_core_22_if_match() {
    let mut device = Device::new();
    device.con(PUT, &TEST, b"1");
    let etag = option(&device.con(GET, &TEST, b""), ETAG).expect("an ETag");
    let matching = [&[(IF_MATCH, &etag[..])], &TEST[..]].concat();
    assert_eq!(device.con(PUT, &matching, b"2")[1], CHANGED);
    assert_eq!(device.con(PUT, &matching, b"3")[1], PRECONDITION_FAILED);
    assert_eq!(body(&device.con(GET, &TEST, b"")), b"2");
}

#[test]
fn td_coap_core_23_if_none_match() {
    let mut device = Device::new();
    let absent = [&[(IF_NONE_MATCH, &b""[..])], &TEST[..]].concat();
    assert_eq!(device.con(PUT, &absent, b"1")[1], CREATED);
    let answer = device.con(PUT, &absent, b"2");
    assert_eq!(answer[1], PRECONDITION_FAILED);
    assert!(answer.ends_with(b"what is here is not as If-Match or If-None-Match says"));
    assert_eq!(body(&device.con(GET, &TEST, b"")), b"1");
}

#[test]
fn td_coap_core_31_ping() {
    let mut device = Device::new();
    assert_eq!(device.empty(CON, &[0, 0, 7, 9]), [[0x70, 0, 7, 9]]);
}

/// 01 lists everything, the others filter by an attribute; 03 with a wildcard.
/// A value of so many bytes, written by a client of MQTT.
fn large(length: usize) -> (Device, Vec<u8>) {
    let mut device = Device::new();
    let value: Vec<u8> = (0..length).map(|i| b'a' + (i / 64 % 26) as u8).collect();
    let count = length.div_ceil(64);
    for (n, part) in value.chunks(64).enumerate() {
        let number = (n as u16) << 4 | u16::from(n + 1 < count) << 3 | 2;
        let option = number.to_be_bytes();
        let option = if n < 16 { &option[1..] } else { &option[..] };
        let answer = device.con(PUT, &[&TEST[..], &[(BLOCK1, option)]].concat(), part);
        assert_eq!(answer[1], if n + 1 < count { CONTINUE } else { CREATED });
        assert_eq!(self::option(&answer, BLOCK1).as_deref(), Some(option));
    }
    (device, value)
}

#[test]
fn td_coap_block_01_early_negotiation() {
    let (mut device, value) = large(300);
    let mut whole = Vec::new();
    for number in 0..5_u8 {
        let answer = device.con(GET, &[&TEST[..], &[(BLOCK2, &[number << 4 | 2])]].concat(), b"");
        let more = u8::from(number < 4) << 3;
        assert_eq!(option(&answer, BLOCK2), Some(vec![number << 4 | more | 2]));
        whole.extend_from_slice(body(&answer));
    }
    assert_eq!(whole, value);
}

#[test]
fn td_coap_block_02_late_negotiation() {
    let (mut device, value) = large(2_000);
    let answer = device.con(GET, &TEST, b"");
    assert_eq!((option(&answer, BLOCK2), body(&answer)), (Some(vec![0x0e]), &value[..1_024]));
    let answer = device.con(GET, &[&TEST[..], &[(BLOCK2, b"\x42")]].concat(), b"");
    assert_eq!(body(&answer), &value[256..320], "smaller from now on");
}

#[test]
fn td_coap_block_03_put() {
    let (mut device, value) = large(500);
    assert_eq!(body(&device.con(GET, &TEST, b"")), value);
}

#[test]
fn td_coap_block_06_blocks_of_16() {
    let (mut device, value) = large(40);
    let mut whole = Vec::new();
    for (number, option) in [b"", &b"\x10"[..], b"\x20"].into_iter().enumerate() {
        let answer = device.con(GET, &[&TEST[..], &[(BLOCK2, option)]].concat(), b"");
        assert!(body(&answer).len() <= 16, "{number}");
        whole.extend_from_slice(body(&answer));
    }
    assert_eq!(whole, value);
}

/// 01 and 12: the answer has the value and Observe, and each change is told with a higher number.
#[test]
fn td_coap_obs_01_12_registration_and_update() {
    for of in [CON, NON] {
        let mut device = Device::new();
        device.update(PUT, b"1");
        let register = [&[(OBSERVE, &b""[..])], &TEST[..]].concat();
        let answer = device.ask(of, GET, &register, b"");
        assert_eq!(body(&answer), b"1");
        let number = |packet: &[u8]| {
            let value = option(packet, OBSERVE).expect("Observe");
            value.iter().fold(0_u32, |sum, byte| sum << 8 | u32::from(*byte))
        };
        let mut last = number(&answer);
        for value in [&b"2"[..], b"3"] {
            let told = device.update(PUT, value);
            assert_eq!(told.len(), 1, "{told:02x?}");
            assert_eq!((told[0][1], token(&told[0]), body(&told[0])), (CONTENT, TOKEN, value));
            assert!(number(&told[0]) > last);
            last = number(&told[0]);
            // A CON publish is QoS 1, so that it is told in a CON.
            assert_eq!(kind(&told[0]), CON);
            device.empty(ACK, &told[0]);
        }
    }
}

/// 02 and 05: Max-Age says how long a value is good; a client that is gone is given up.
#[test]
fn td_coap_obs_02_05_max_age_and_a_client_that_is_gone() {
    let mut device = Device::new();
    device.observe(&TEST);
    let expiring = [&TEST[..], &[(QUERY, b"expiry=90s")]].concat();
    let bytes = request(PUT, 700, b"o", &expiring, b"1");
    device.gateway.datagram(COAP, peer(4_001), &bytes);
    let told = device.gateway.datagrams_to(peer(4_000));
    assert_eq!(option(&told[0], MAX_AGE), Some(vec![90]));
    device.gateway.advance(Duration::from_secs(100));
    assert_eq!(device.gateway.datagrams_to(peer(4_000)).len(), 4, "repeated, then given up");
    assert!(device.update(PUT, b"2").is_empty(), "nobody observes");
}

/// 04 and 07: a reset of a notification ends the observation, of a CON and of a NON.
#[test]
fn td_coap_obs_04_07_deregistration_by_rst() {
    for qos in [1, 0] {
        let mut device = Device::new();
        let writer = device.gateway.mqtt("writer", true);
        device.observe(&TEST);
        device.gateway.send(writer, &publish("test", b"1", qos, false, 1));
        let told = device.gateway.datagrams_to(peer(4_000));
        assert_eq!(kind(&told[0]), if qos == 1 { CON } else { NON });
        device.empty(RST, &told[0]);
        assert!(device.update(PUT, b"2").is_empty());
    }
}

/// Observe 1 ends it, too (td-coap4 has it as OBS_11).
#[test]
fn td_coap_obs_11_deregistration_by_get() {
    let mut device = Device::new();
    device.update(PUT, b"1");
    device.observe(&TEST);
    let answer = device.con(GET, &[&[(OBSERVE, &b"\x01"[..])], &TEST[..]].concat(), b"");
    assert_eq!((answer[1], option(&answer, OBSERVE), body(&answer)), (CONTENT, None, &b"1"[..]));
    assert!(device.update(PUT, b"2").is_empty());
}

/// The acknowledgement of the registration was lost: the repetition gets the same, and there is one
/// observation.
#[test]
fn td_coap_obs_06_lost_acknowledgement() {
    let mut device = Device::new();
    let answer = device.observe(&TEST);
    let again = device.last.clone();
    assert_eq!(device.gateway.datagram(COAP, peer(4_000), &again), [answer]);
    assert_eq!(device.update(PUT, b"2").len(), 1);
}

/// A resource that is deleted: 4.04 ends the observation where the rule says so.
#[test]
fn td_coap_obs_08_delete() {
    let mut device = with_rule(CoapRule {
        path: "/mqtt/test".into(),
        topic: "test".into(),
        not_found_when_empty: true,
        ..CoapRule::default()
    });
    device.update(PUT, b"1");
    device.observe(&TEST);
    let told = device.update(DELETE, b"");
    assert_eq!((told[0][1], option(&told[0], OBSERVE)), (NOT_FOUND, None));
    device.empty(ACK, &told[0]);
    assert!(device.update(PUT, b"2").is_empty(), "it was the last");
    // By default the observation goes on, and an empty value says that there is none.
    let mut device = Device::new();
    device.update(PUT, b"1");
    device.observe(&TEST);
    let told = device.update(DELETE, b"");
    assert_eq!(
        (told[0][1], body(&told[0]), option(&told[0], OBSERVE).is_some()),
        (CONTENT, &b""[..], true)
    );
    device.empty(ACK, &told[0]);
    assert_eq!(device.update(PUT, b"2").len(), 1);
}

/// RFC 7641 §4.2: a value that has expired is gone as one that was deleted is, and its observers hear
/// of it.
#[test]
fn an_observed_value_expires() {
    let expiring = [&TEST[..], &[(QUERY, b"expiry=3s")]].concat();
    let mut device = Device::new();
    assert_eq!(device.con(PUT, &expiring, b"1")[1], CREATED);
    device.observe(&TEST);
    device.gateway.advance(Duration::from_millis(2_900));
    assert!(device.gateway.datagrams_to(peer(4_000)).is_empty(), "too early");
    device.gateway.advance(Duration::from_millis(200));
    let told = device.gateway.datagrams_to(peer(4_000));
    assert_eq!((told.len(), told[0][1], body(&told[0])), (1, CONTENT, &b""[..]));
    device.empty(ACK, &told[0]);
    assert_eq!(device.con(GET, &TEST, b"")[1], NOT_FOUND);
    let mut rule = CoapRule { not_found_when_empty: true, ..CoapRule::default() };
    (rule.path, rule.topic) = ("/gone".into(), "test".into());
    let mut device = with_rule(rule);
    assert_eq!(device.con(PUT, &expiring, b"1")[1], CREATED);
    device.observe(&[(PATH, b"gone")]);
    device.gateway.advance(Duration::from_millis(3_100));
    let told = device.gateway.datagrams_to(peer(4_000));
    assert_eq!((told.len(), told[0][1], option(&told[0], OBSERVE)), (1, NOT_FOUND, None));
    device.empty(ACK, &told[0]);
    assert!(device.update(PUT, b"2").is_empty(), "it was the last");
}

/// RFC 7641 §4.2: a value of another format ends the observation with 4.06.
#[test]
fn td_coap_obs_09_content_format_stays() {
    let mut device = Device::new();
    let write = |device: &mut Device, id, format: &[u8], value: &[u8]| {
        let options = [&TEST[..], &[(FORMAT, format)]].concat();
        device.gateway.datagram(COAP, peer(4_001), &request(PUT, id, b"o", &options, value));
        device.gateway.datagrams_to(peer(4_000))
    };
    write(&mut device, 700, b"\x32", b"{}");
    assert_eq!(option(&device.observe(&TEST), FORMAT), Some(vec![0x32]));
    let told = write(&mut device, 701, b"\x32", b"[]");
    assert_eq!(option(&told[0], FORMAT), Some(vec![0x32]));
    device.empty(ACK, &told[0]);
    let told = write(&mut device, 702, b"\x29", b"<x/>");
    assert_eq!((told[0][1], option(&told[0], OBSERVE)), (NOT_ACCEPTABLE, None));
    device.empty(ACK, &told[0]);
    assert!(write(&mut device, 703, b"\x32", b"{}").is_empty());
}

#[test]
fn td_coap_obs_10_get_during_observation() {
    let mut device = Device::new();
    device.update(PUT, b"1");
    device.observe(&TEST);
    let bytes = request(GET, 800, b"other", &TEST, b"");
    let answer = &device.gateway.datagram(COAP, peer(4_000), &bytes)[0];
    assert_eq!((body(answer), option(answer, OBSERVE)), (&b"1"[..], None));
    assert_eq!(device.update(PUT, b"2").len(), 1, "the observation goes on");
}

/// 13 and 14: a notification is a first block; the rest is that of the same representation, even if
/// the topic has a newer value that the client is yet to be told of (RFC 7959 §3.4).
#[test]
fn td_coap_obs_13_14_block2() {
    let mut device = Device::new();
    device.observe(&[&TEST[..], &[(BLOCK2, b"\x02")]].concat());
    let value = |fill: u8| [&[fill; 64][..], &[fill + 1; 64], &[fill + 2; 10]].concat();
    let told = device.update(PUT, &value(b'a'));
    assert_eq!((option(&told[0], BLOCK2), body(&told[0])), (Some(vec![0x0a]), &[b'a'; 64][..]));
    let etag = option(&told[0], ETAG);
    assert!(device.update(PUT, &value(b'k')).is_empty(), "the first is not acknowledged");
    let block = |device: &mut Device, number: u8| {
        let bytes = device.con(GET, &[&TEST[..], &[(BLOCK2, &[number << 4 | 2])]].concat(), b"");
        assert_eq!(option(&bytes, ETAG), etag, "{number}");
        body(&bytes).to_vec()
    };
    assert_eq!((block(&mut device, 1), block(&mut device, 2)), (vec![b'b'; 64], vec![b'c'; 10]));
    // Named by its ETag it is found, too; another one names the value that there is.
    let mut named = |etag: &[u8]| {
        let options = [&[(ETAG, etag)], &TEST[..], &[(BLOCK2, &b"\x12"[..])]].concat();
        body(&device.con(GET, &options, b""))[0]
    };
    assert_eq!(named(etag.as_deref().expect("an ETag")), b'b');
    let current = motegate_broker::etag(None, &value(b'k')).to_be_bytes();
    assert_eq!((named(&current), named(b"unknown")), (b'l', b'l'));
    let newer = device.empty(ACK, &told[0]);
    assert_eq!((newer.len(), body(&newer[0])), (1, &[b'k'; 64][..]));
    let answer = device.con(GET, &[&TEST[..], &[(BLOCK2, b"\x12")]].concat(), b"");
    assert_eq!((body(&answer), option(&answer, ETAG)), (&[b'l'; 64][..], option(&newer[0], ETAG)));
}
