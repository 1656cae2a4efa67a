//! What the chapter on mappings says of the gateway; a test `pNN_…` is about its §2.NN. Discovery
//! (§2.15) and reloading (§2.18) have files of their own, the other paragraphs theirs in the mapping
//! and in the configuration.

mod common;

use common::{COAP, Gateway, coap, config, peer};
use motegate_mapping::{CoapRule, Rules, Table};

const CON: u8 = 0;
const NON: u8 = 1;
const GET: u8 = 1;
const POST: u8 = 2;
const PUT: u8 = 3;
const DELETE: u8 = 4;

/// Code and number of options of the one answer.
fn answer(gateway: &mut Gateway, request: &[u8]) -> Vec<u8> {
    let answers = gateway.datagram(COAP, peer(4_000), request);
    assert_eq!(answers.len(), 1, "one answer: {answers:02x?}");
    answers[0].clone()
}

fn code(gateway: &mut Gateway, method: u8, mid: u16, path: &[&str], payload: &[u8]) -> u8 {
    answer(gateway, &coap(CON, method, mid, b"t", None, path, payload))[1]
}

#[test]
fn p07_answers_to_each_method() {
    let mut gateway = Gateway::new(config());
    let path = ["mqtt", "v"];
    assert_eq!(code(&mut gateway, PUT, 1, &path, b"1"), 0x41, "2.01: the first retained value");
    assert_eq!(code(&mut gateway, PUT, 2, &path, b"2"), 0x44, "2.04: later");
    assert_eq!(code(&mut gateway, GET, 3, &path, b""), 0x45, "2.05");
    assert_eq!(code(&mut gateway, POST, 4, &path, b"3"), 0x44, "2.04");
    assert_eq!(code(&mut gateway, DELETE, 5, &path, b""), 0x42, "2.02");
    assert_eq!(code(&mut gateway, PUT, 6, &path, b"4"), 0x41, "it was cleared");
    assert_eq!(code(&mut gateway, 5, 7, &path, b""), 0x85, "4.05: FETCH");
}

#[test]
fn p08_qos_auto_is_1_for_con_and_0_for_non() {
    let mut gateway = Gateway::new(config());
    let subscriber = gateway.mqtt("s", true);
    gateway.mqtt_subscribe(subscriber, "v", 2);
    for (kind, qos) in [(CON, 1), (NON, 0)] {
        let mid = 10 + u16::from(kind);
        gateway.datagram(
            COAP,
            peer(4_000),
            &coap(kind, POST, mid, b"t", None, &["mqtt", "v"], b"x"),
        );
        let received = gateway.received(subscriber);
        assert_eq!(received[0] & 0xf6, 0x30 | qos << 1, "PUBLISH at QoS {qos}: {received:02x?}");
    }
}

#[test]
fn p16_an_empty_topic_is_empty_content_or_not_found() {
    let rule = |name: &str, path: &str| CoapRule {
        name: name.into(),
        path: path.into(),
        topic: name.into(),
        not_found_when_empty: name == "four",
        ..CoapRule::default()
    };
    let coap_rules = vec![rule("two", "/two"), rule("four", "/four")];
    let table = Table::new(Rules { coap: coap_rules, ..Rules::default() }).expect("fine");
    let mut gateway = Gateway::with_table(config(), table);
    assert_eq!(code(&mut gateway, GET, 1, &["two"], b""), 0x84, "GET is 4.04");
    let observe = |mid, token: &[u8], path: &str| coap(CON, GET, mid, token, Some(0), &[path], b"");
    assert_eq!(answer(&mut gateway, &observe(2, b"a", "four"))[1], 0x84);
    let empty = answer(&mut gateway, &observe(3, b"b", "two"));
    assert_eq!((empty[1], empty.contains(&0xff)), (0x45, false), "2.05 without a payload");
    // Clearing sends an empty 2.05 and the observation goes on.
    for (mid, method, payload) in [(4, PUT, b"1".as_slice()), (6, DELETE, b""), (8, PUT, b"2")] {
        let sent = gateway.datagram(
            COAP,
            peer(4_001),
            &coap(CON, method, mid, b"c", None, &["two"], payload),
        );
        assert_eq!(sent.len(), 1);
        let told = gateway.datagrams_to(peer(4_000));
        assert_eq!(told.len(), 1, "{mid}: {told:02x?}");
        assert_eq!((told[0][1], told[0].contains(&0xff)), (0x45, method == PUT), "{told:02x?}");
        let acknowledged = [0x60, 0, told[0][2], told[0][3]];
        gateway.datagram(COAP, peer(4_000), &acknowledged);
    }
}
