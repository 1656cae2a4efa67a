//! What properties become on the way to and from the other protocols: Content Type is CoAP's
//! Content-Format, a query key may be a user property, expiry holds for all.

use motegate_mapping::{CoapRule, Rules, Table};
use motegate_message::ConnectionId;

use crate::common::{COAP, Gateway, config, option, peer, request};
use crate::wire::*;

const PUT: u8 = 3;
const PATH: u16 = 11;
const FORMAT: u16 = 12;
const QUERY: u16 = 15;

/// A rule whose query gives two user properties, QoS and expiry; and somebody who subscribes.
fn world() -> (World, ConnectionId) {
    let query =
        [("u", "user_property.unit"), ("n", "user_property.note"), ("q", "qos"), ("e", "expiry")];
    let rule = CoapRule {
        name: "v".into(),
        path: "/v".into(),
        topic: "site/v".into(),
        query: query.map(|(key, target)| (key.into(), target.into())).to_vec(),
        ..CoapRule::default()
    };
    let table = Table::new(Rules { coap: vec![rule], ..Rules::default() }).expect("good rules");
    let mut w = World { gateway: Gateway::with_table(config(), table) };
    let c = w.client("a", "");
    w.subscribed(c, "site/#", 2);
    (w, c)
}

/// [MQTT-3.3.2-18]: in the order of the query.
#[test]
fn a_query_becomes_user_properties() {
    let (mut w, c) = world();
    let options: [(u16, &[u8]); 5] =
        [(PATH, b"v"), (FORMAT, &[50]), (QUERY, b"n=one"), (QUERY, b"u=Cel"), (QUERY, b"e=60s")];
    let answer = w.gateway.datagram(COAP, peer(4_000), &request(PUT, 1, b"t", &options, b"{}"));
    assert_eq!(answer[0][1], 0x41, "2.01: {answer:02x?}");
    let user = |name: &str, value: &str| format!("26 {} {}", field(name), field(value));
    let told = format!(
        "01 01 03 {} {} {} 02 0000003c",
        field("application/json"),
        user("note", "one"),
        user("unit", "Cel")
    );
    let got = w.take(c);
    let plain = told.replacen("01 01", "", 1);
    let both =
        [told, plain].map(|told| show(&hex(&publish(0x32, "site/v", "0001", &told, "\"{}\""))));
    assert!(both.contains(&show(&got)), "{}", show(&got));
    // Expired: gone for CoAP and MQTT alike.
    w.secs(61);
    let late = w.client("late", "");
    w.subscribed(late, "site/#", 0);
    w.expect(late, "");
}

/// A Content Type of MQTT 5 is the Content-Format that a CoAP client reads; what has no place there
/// does not disturb.
#[test]
fn a_content_type_becomes_a_content_format() {
    let (mut w, c) = world();
    let properties = format!(
        "01 01 03 {} 08 {} 26 {} {}",
        field("application/senml+cbor"),
        field("re"),
        field("k"),
        field("v")
    );
    w.send(c, &publish(0x31, "site/v", "", &properties, "\"{}\""));
    let answer = w.gateway.datagram(COAP, peer(4_000), &request(1, 2, b"t", &[(PATH, b"v")], b""));
    assert_eq!(answer[0][1], 0x45, "2.05");
    assert_eq!(option(&answer[0], FORMAT), Some(vec![112]));
}
