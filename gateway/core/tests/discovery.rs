//! What `.well-known/core` tells a CoAP client (RFC 6690).
#![allow(clippy::cast_possible_truncation)] // queries are short

mod common;

use common::{COAP, Gateway, coap, config, option, peer, publish, request};
use motegate_core::Input;
use motegate_core::admin::{Answer, Query};
use motegate_mapping::{Action, CoapMethod, CoapRule, PayloadRule, Preset, Rules, Table};
use motegate_message::ListenerId;

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

/// RFC 3986 §5.2.4, RFC 7252 §5.10.1: no client asks for a path with `.` or `..`, nor for a segment of
/// more than 255 bytes; a link there would lead elsewhere, or nowhere.
#[test]
fn what_no_request_can_name_is_not_listed() {
    let mut gateway = Gateway::new(config());
    let conn = gateway.mqtt("m", true);
    for topic in ["a/../b", "..", ".", "a/.", "...", ".a"] {
        gateway.send(conn, &publish(topic, b"1", 0, true, 0));
    }
    let mut long = vec![0x31, 0x83, 2, 1, 0];
    long.resize(5 + 256 + 1, b'x');
    gateway.send(conn, &long);
    let list = document(&mut gateway, "ct=0");
    assert_eq!(list.matches('<').count(), 2, "{list}");
    assert!(list.contains("</mqtt/...>") && list.contains("</mqtt/.a>"), "{list}");
}

/// RFC 9176 §5 and appendix C: a resource directory is told what everybody is shown, as paths, without
/// what changes with each message.
#[test]
fn rfc_9176_s5_a_directory_is_told_the_links_without_sizes() {
    let mut gateway = Gateway::new(config());
    let links = |gateway: &mut Gateway, listener| {
        gateway.input(Input::Admin { ticket: 1, query: Query::Links { listener } });
        let Some(Answer::Links(links)) = gateway.answers.pop() else { panic!("links") };
        links
    };
    let told = links(&mut gateway, COAP);
    assert_eq!((told.document.as_str(), told.count, told.left_out), (ROOT, 1, 0));
    for payload in [&b"open"[..], b"closed"] {
        let put = coap(0, 3, u16::from(payload[0]), b"", None, &["mqtt", "site", "door"], payload);
        gateway.datagram(COAP, peer(4_000), &put);
        let told = links(&mut gateway, COAP);
        let door = "</mqtt/site/door>;ct=0;obs;rt=\"core.ps.data\"";
        assert_eq!((told.document, told.count), (format!("{ROOT},{door}"), 2));
    }
    for id in 0..250 {
        let put = coap(0, 3, 300 + id, b"", None, &["mqtt", &format!("t{id}")], b"x");
        gateway.datagram(COAP, peer(4_000), &put);
    }
    let told = links(&mut gateway, COAP);
    assert_eq!((told.count, told.left_out), (200, 52), "capped as for everybody");
    assert_eq!(links(&mut gateway, ListenerId(99)), Default::default());
}

/// mapping.md §2.15: who may ask nothing without identity, or without a connection as EMQX's clients have
/// them, does not find the topics in a directory either, which shows them to everybody.
#[test]
fn a_directory_is_told_no_topics_that_a_stranger_is_not_shown() {
    for (anonymous, connection_required) in [(false, false), (true, true), (false, true)] {
        let mut config = config();
        let listener = &mut config.listeners[usize::from(COAP.0)];
        (listener.anonymous, listener.connection_required) = (anonymous, connection_required);
        let mut gateway = Gateway::new(config);
        let conn = gateway.mqtt("m", true);
        gateway.send(conn, &publish("site/door", b"open", 0, true, 0));
        gateway.input(Input::Admin { ticket: 1, query: Query::Links { listener: COAP } });
        let Some(Answer::Links(told)) = gateway.answers.pop() else { panic!("links") };
        assert_eq!((told.document.as_str(), told.count, told.left_out), (ROOT, 1, 0));
    }
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

/// RFC 7252 §8 and mapping.md §2.15: who asks a group learns of the broker alone, after a random while.
mod by_group {
    use super::*;
    use motegate_core::{Config, Input};
    use motegate_message::{Group, ListenerId, Reason};
    use motegate_timers::Instant;
    use std::time::Duration;

    const LEISURE: Duration = Duration::from_secs(5);

    fn group() -> Group {
        "224.0.1.187%eth0".parse().expect("a group")
    }

    fn get(kind: u8, token: &[u8], query: &str) -> Vec<u8> {
        let mut get = coap(kind, 1, 7, token, None, &[".well-known", "core"], b"");
        if !query.is_empty() {
            get.push(4 << 4 | query.len() as u8);
            get.extend_from_slice(query.as_bytes());
        }
        get
    }

    fn ask(gateway: &mut Gateway, listener: ListenerId, port: u16, bytes: &[u8]) {
        let group = &group();
        gateway.input(Input::GroupDatagram { listener, group, peer: peer(port), bytes });
    }

    /// The answers within the leisure, and when each came.
    fn answers(gateway: &mut Gateway, port: u16) -> Vec<(Instant, Vec<u8>)> {
        let (begin, mut all) = (gateway.now, Vec::new());
        while gateway.now < begin + LEISURE {
            let at = gateway.core.poll_timeout().unwrap_or(begin + LEISURE);
            let next = at.min(begin + LEISURE);
            gateway.advance(next.saturating_since(gateway.now));
            let came = gateway.datagrams_to(peer(port));
            all.extend(came.into_iter().map(|bytes| (gateway.now, bytes)));
        }
        all
    }

    #[test]
    fn s8_2_the_broker_answers_the_asker_after_a_random_while() {
        let mut gateway = Gateway::new(config());
        let put = coap(0, 3, 1, b"", None, &["mqtt", "door"], b"open");
        gateway.datagram(COAP, peer(4_000), &put);
        let mut waits = Vec::new();
        for query in ["", "rt=core.ps", "href=/mqtt"] {
            let asked = gateway.now;
            ask(&mut gateway, COAP, 4_001, &get(1, b"tk", query));
            assert_eq!(gateway.datagrams_to(peer(4_001)).len(), 0, "not at once");
            let came = answers(&mut gateway, 4_001);
            let [(at, answer)] = &came[..] else { panic!("{came:?}") };
            waits.push(at.saturating_since(asked));
            assert_eq!((answer[0], answer[1], &answer[4..6]), (0x52, 0x45, &b"tk"[..]), "NON");
            assert_eq!(option(answer, 12), Some(vec![40]));
            assert!(answer.ends_with(ROOT.as_bytes()), "no topics: {answer:?}");
        }
        assert!(waits[0] != waits[1] && waits[1] != waits[2], "{waits:?}");
        assert!(gateway.announced.is_empty(), "and nobody else");
    }

    #[test]
    fn s8_1_and_s8_2_what_is_not_answered() {
        let mut gateway = Gateway::new(config());
        let put = coap(1, 3, 9, b"", None, &["mqtt", "door"], b"open");
        let observe = coap(1, 1, 9, b"", Some(0), &["mqtt", "door"], b"");
        let core = [(11, &b".well-known"[..]), (11, b"core")];
        let non = |options: &[(u16, &[u8])]| {
            let mut options = [&core[..], options].concat();
            options.sort_by_key(|(number, _)| *number);
            let mut bytes = request(1, 9, b"", &options, b"");
            bytes[0] |= 0x10;
            bytes
        };
        for (bytes, why) in [
            (get(0, b"", ""), "a CON"),
            (put, "another method"),
            (observe, "another resource"),
            (get(1, b"", "rt=x"), "nothing matches"),
            (get(1, b"", "rt=core.ps.c*"), "nothing is told of the collection"),
            (non(&[(17, b"\x32")]), "another Accept would be 4.06"),
            (non(&[(35, b"coap://x")]), "a proxy option would be 5.05"),
            (non(&[(9, b"")]), "an unknown critical option would be 4.02"),
            (non(&[(23, b"\x12")]), "a later block"),
            (non(&[(258, b"\x02")]), "No-Response"),
            (non(&[(5, b"")]), "If-None-Match would be 4.12"),
            (non(&[(1, b"12345678")]), "If-Match would be 4.12"),
            (b"\x50\x01\x00\x09\xff".to_vec(), "a format error"),
            (b"\x40\x00\x00\x09".to_vec(), "a ping"),
            (b"\x60\x00\x00\x09".to_vec(), "an acknowledgement"),
        ] {
            ask(&mut gateway, COAP, 4_001, &bytes);
            assert_eq!(answers(&mut gateway, 4_001), [], "{why}");
        }
        let get = coap(0, 1, 11, b"", None, &["mqtt", "door"], b"");
        assert_eq!(gateway.datagram(COAP, peer(4_000), &get)[0][1], 0x84, "nothing was written");
    }

    #[test]
    fn s8_2_answers_that_wait_are_bounded_and_copies_are_one() {
        let mut gateway = Gateway::new(config());
        for _ in 0..3 {
            ask(&mut gateway, COAP, 4_001, &get(1, b"tk", ""));
        }
        assert_eq!(gateway.core.stats().dropped(Reason::CoapDedup), 2);
        for port in 0..300 {
            ask(&mut gateway, COAP, 5_000 + port, &get(1, b"tk", ""));
        }
        assert_eq!(gateway.core.stats().dropped(Reason::QuotaExceeded), 301 - 256);
        gateway.advance(LEISURE);
        assert_eq!(gateway.datagrams.len(), 256);
        ask(&mut gateway, COAP, 5_299, &get(1, b"tk", ""));
        assert_eq!(answers(&mut gateway, 5_299).len(), 1, "there is room again");
    }

    /// A listener that takes nobody without identity is found all the same.
    #[test]
    fn who_may_not_enter_may_know_that_there_is_a_door() {
        let mut config = Config { ..config() };
        config.listeners[2].anonymous = false;
        let mut gateway = Gateway::new(config);
        assert_eq!(gateway.datagram(COAP, peer(4_001), &get(0, b"", ""))[0][1], 0x81, "4.01");
        ask(&mut gateway, COAP, 4_001, &get(1, b"", ""));
        assert_eq!(answers(&mut gateway, 4_001).len(), 1);
    }

    /// RFC 7959 §2.8: a first block, by the size that was asked for.
    #[test]
    fn rfc_7959_s2_8_a_first_block() {
        let mut gateway = Gateway::new(config());
        let core = [(11, &b".well-known"[..]), (11, b"core"), (23, b"")];
        let mut bytes = request(1, 9, b"", &core, b"");
        bytes[0] |= 0x10;
        ask(&mut gateway, COAP, 4_001, &bytes);
        let came = answers(&mut gateway, 4_001);
        assert_eq!(option(&came[0].1, 23), Some(vec![0x08]), "16 bytes, and more");
        assert!(came[0].1.ends_with(&ROOT.as_bytes()[..16]));
    }
}
