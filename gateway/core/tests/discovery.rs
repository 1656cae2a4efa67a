//! What `.well-known/core` tells a CoAP client (RFC 6690).
#![allow(clippy::cast_possible_truncation)] // queries are short

mod common;

use common::{COAP, Gateway, coap, config, option, peer, publish, request};
use motegate_mapping::{Action, CoapMethod, CoapRule, PayloadRule, Preset, Rules, Table};

/// The document that a GET with this query (under 13 bytes) gives.
fn document(gateway: &mut Gateway, query: &str) -> String {
    let mut get = coap(1, 1, 1, b"", None, &[".well-known", "core"], b"");
    if !query.is_empty() {
        get.push(4 << 4 | query.len() as u8); // Uri-Query 15 behind Uri-Path 11
        get.extend_from_slice(query.as_bytes());
    }
    let answers = gateway.datagram(COAP, peer(4_000), &get);
    assert_eq!((answers.len(), answers[0][1]), (1, 0x45), "2.05");
    let text = answers[0]
        .iter()
        .position(|byte| *byte == 0xff)
        .map_or(&[][..], |marker| answers[0].get(marker + 1..).unwrap_or_default());
    String::from_utf8(text.to_vec()).expect("text")
}

const ROOT: &str = "</mqtt>;rt=\"core.ps\"";

#[test]
fn a_fresh_gateway_tells_its_root() {
    let mut gateway = Gateway::new(config());
    assert_eq!(document(&mut gateway, ""), ROOT);
    assert_eq!(document(&mut gateway, "rt=core.ps"), ROOT);
    assert_eq!(document(&mut gateway, "rt=other"), "");
}

#[test]
fn retained_topics_come_behind_the_root() {
    let mut gateway = Gateway::new(config());
    let put = coap(0, 3, 7, b"", None, &["mqtt", "site", "door"], b"open");
    gateway.datagram(COAP, peer(4_000), &put);
    let door = "</mqtt/site/door>;ct=0;sz=4;obs;rt=\"core.ps.data\"";
    assert_eq!(document(&mut gateway, ""), format!("{ROOT},{door}"));
    assert_eq!(document(&mut gateway, "rt=core.ps"), ROOT, "a value is no broker");
    assert_eq!(document(&mut gateway, "ct=0"), door);
}

#[test]
fn the_root_is_where_the_prefix_says() {
    for (prefix, href) in [("", "/"), ("a/b", "/a/b"), ("a b", "/a%20b")] {
        let mut gateway = Gateway::with_table(config(), Table::passthrough(prefix));
        assert_eq!(document(&mut gateway, ""), format!("<{href}>;rt=\"core.ps\""));
    }
    let rules = Rules { presets: Vec::new(), ..Rules::default() };
    let table = Table::new(rules).expect("no rules are no mistake");
    assert_eq!(document(&mut Gateway::with_table(config(), table), ""), "", "no passthrough");
}

#[test]
fn a_clients_name_is_no_filter_of_links() {
    let mut config = config();
    config.listeners[2].client_from = motegate_core::ClientFrom::Query;
    let mut gateway = Gateway::new(config);
    assert_eq!(document(&mut gateway, "client=n-7"), ROOT);
    assert_eq!(document(&mut gateway, "rt=other"), "");
}

#[test]
fn a_mount_that_ends_within_a_level_is_answered_too() {
    let mut config = config();
    config.listeners[2].mount = "a/plant-".into();
    let mut gateway = Gateway::new(config);
    let put = coap(0, 3, 7, b"", None, &["mqtt", "door"], b"open");
    gateway.datagram(COAP, peer(4_000), &put);
    let door = "</mqtt/door>;ct=0;sz=4;obs;rt=\"core.ps.data\"";
    assert_eq!(document(&mut gateway, ""), format!("{ROOT},{door}"));
}

/// mapping.md §2.15: rules of one path, then retained topics under the path of their rule.
#[test]
fn p15_rules_say_what_their_resources_are() {
    let rule = |name: &str, path: &str, topic: &str| CoapRule {
        name: name.into(),
        path: path.into(),
        topic: topic.into(),
        ..CoapRule::default()
    };
    let link = |pairs: &[(&str, &str)]| {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    let coap = vec![
        CoapRule {
            link: link(&[("rt", "sensor.{kind}"), ("title", "{kind} in {room}")]),
            payload: Some(PayloadRule {
                device: vec!["cbor".into(), "json".into()],
                broker: "json".into(),
                split: false,
            }),
            ..rule("state", "/s/{room}/{kind:temp|co2}", "site/{room}/{kind}")
        },
        CoapRule {
            methods: Some(vec![(CoapMethod::Observe, Action::Subscribe)]),
            link: link(&[("if", "core.b"), ("ct", "42"), ("sz", "3")]),
            ..rule("command", "/cmd", "dev/cmd")
        },
        CoapRule { host: Some("a.example".into()), ..rule("hosted", "/hosted", "hosted") },
        rule("plain", "/plain", "plain"),
    ];
    let rules = Rules { coap, presets: vec![Preset::CorePubsub], ..Rules::default() };
    let mut gateway = Gateway::with_table(config(), Table::new(rules).expect("fine"));
    let before = "</ps>;rt=\"core.ps\",</ps>;rt=\"core.ps.coll\";ct=40,</cmd>;obs;if=\"core.b\";ct=42;sz=3,</plain>;obs";
    assert_eq!(document(&mut gateway, ""), before);
    for (id, path) in [(8, ["s", "hall", "co2"].as_slice()), (9, &["plain"])] {
        gateway.datagram(COAP, peer(4_000), &coap_put(id, path));
    }
    let plain = "</plain>;ct=0;sz=1;obs;rt=\"core.ps.data\"";
    let hall = "</s/hall/co2>;ct=\"60 50\";sz=1;obs;rt=\"sensor.co2\";title=\"co2 in hall\"";
    assert_eq!(document(&mut gateway, "href=/plain"), plain, "listed once, with its value");
    assert_eq!(document(&mut gateway, "rt=sensor*"), hall);
    assert_eq!(document(&mut gateway, "if=core.b"), "</cmd>;obs;if=\"core.b\";ct=42;sz=3");
}

fn coap_put(id: u8, path: &[&str]) -> Vec<u8> {
    coap(0, 3, id.into(), b"", None, path, b"\x01") // 1 in CBOR
}

/// Uri-Path `.well-known/core`, with Block2 before the query (options ascend).
fn part(gateway: &mut Gateway, mid: u16, block: &[u8]) -> Vec<u8> {
    let options = [(11, &b".well-known"[..]), (11, b"core"), (23, block)];
    gateway.datagram(COAP, peer(4_000), &request(1, mid, b"", &options, b""))[0].clone()
}

/// RFC 7959: what does not fit a message comes in blocks, none of them twice and none missing.
#[test]
fn a_long_list_comes_in_blocks() {
    let mut gateway = Gateway::new(config());
    let mqtt = gateway.mqtt("m", true);
    for number in 0..60 {
        let topic = format!("long/topic/name/s/{number}");
        gateway.send(mqtt, &publish(&topic, b"1", 0, true, 0));
    }
    let mut text = Vec::new();
    let mut etags = std::collections::BTreeSet::new();
    for number in 0_u16.. {
        let answer = part(&mut gateway, number, &(number << 4 | 4).to_be_bytes()); // of 256 bytes
        assert_eq!(answer[1], 0x45, "2.05");
        etags.insert(option(&answer, 4).expect("an ETag"));
        let marker = answer.iter().rposition(|byte| *byte == 0xff).expect("a payload");
        text.extend_from_slice(&answer[marker + 1..]);
        let block = option(&answer, 23).expect("Block2");
        if block.last().expect("a value") & 8 == 0 {
            break;
        }
    }
    assert_eq!(etags.len(), 1, "one body");
    let text = String::from_utf8(text).expect("text");
    let links = text.split(',').filter(|link| link.starts_with("</mqtt/long/topic/name/s/"));
    assert_eq!(links.count(), 60, "{text}");
    // A client that has it need not fetch it again, until it changes.
    let etag = etags.pop_first().expect("it is there");
    let again = |gateway: &mut Gateway, mid| {
        let options = [(4, &etag[..]), (11, b".well-known"), (11, b"core")];
        gateway.datagram(COAP, peer(4_000), &request(1, mid, b"", &options, b""))[0][1]
    };
    assert_eq!(again(&mut gateway, 500), 0x43, "2.03");
    gateway.send(mqtt, &publish("one/more", b"1", 0, true, 0));
    assert_eq!(again(&mut gateway, 501), 0x45, "2.05");
}

/// Past its bound the list is cut, and the operator is told (mapping.md §2.15).
#[test]
fn a_list_that_is_cut_is_noticed() {
    let mut gateway = Gateway::new(config());
    let mqtt = gateway.mqtt("m", true);
    for number in 0..250 {
        gateway.send(mqtt, &publish(&format!("t/{number}"), b"1", 0, true, 0));
    }
    part(&mut gateway, 1, &[0x06]);
    let text = gateway.notices.pop().and_then(|notice| notice.text).expect("a notice");
    assert!(text.contains("has 51 more links"), "{text}"); // 250 and the root, less 200
}
