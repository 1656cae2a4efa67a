//! ETSI's TD_COAP_LINK, by name: `.well-known/core` and its filters (RFC 6690 §4.1), on resources like
//! those of the plugtests. 04 (link relations) has nothing to ask about: rules give none.

mod common;

use common::{COAP, Gateway, config, option, peer, request};
use motegate_mapping::{CoapRule, Preset, Rules, Table};

fn gateway() -> Gateway {
    let rule = |number: u8, link: &[(&str, &str)]| CoapRule {
        name: format!("link{number}"),
        path: format!("/link{number}"),
        topic: format!("t/{number}"),
        link: link.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(),
        ..CoapRule::default()
    };
    let coap = vec![
        rule(1, &[("rt", "Type1 Type2"), ("if", "If1"), ("sz", "30")]),
        rule(2, &[("rt", "Type2 Type3"), ("if", "If2"), ("ct", "40")]),
        rule(3, &[("rt", "Type1 Type3"), ("if", "foo"), ("ct", "0 50")]),
        rule(4, &[("rt", "x")]),
        rule(5, &[("title", "no type")]),
    ];
    let rules = Rules { coap, presets: vec![Preset::CorePubsub], ..Rules::default() };
    Gateway::with_table(config(), Table::new(rules).expect("good rules"))
}

/// The numbers of the links that a query finds.
fn links(gateway: &mut Gateway, query: &[&str]) -> Vec<u8> {
    let core = [(11, &b".well-known"[..]), (11, b"core")];
    let query: Vec<_> = query.iter().map(|one| (15, one.as_bytes())).collect();
    let get = request(1, 1, b"", &[&core[..], &query].concat(), b"");
    // The same id again is a repetition: from another port it is not.
    let port = 4_000 + u16::try_from(gateway.now.as_micros() % 50_000).unwrap_or(0);
    gateway.now += std::time::Duration::from_micros(1);
    let answer = gateway.datagram(COAP, peer(port), &get).remove(0);
    assert_eq!((answer[1], option(&answer, 12)), (0x45, Some(vec![40])));
    let text = String::from_utf8_lossy(&answer).into_owned();
    let number = |link: &str| link.split("</link").nth(1)?.bytes().next().map(|b| b - b'0');
    text.split(',').filter_map(number).collect()
}

#[test]
fn td_coap_link_01_discovery() {
    assert_eq!(links(&mut gateway(), &[]), [1, 2, 3, 4, 5]);
}

#[test]
fn td_coap_link_02_one_type() {
    let mut gateway = gateway();
    assert_eq!(links(&mut gateway, &["rt=Type1"]), [1, 3], "one of several words");
    assert_eq!(links(&mut gateway, &["rt=Type2"]), [1, 2]);
    assert_eq!(links(&mut gateway, &["rt=Type"]), [0_u8; 0]);
    assert_eq!(links(&mut gateway, &["rt=Type1 Type2"]), [1], "the whole value");
    assert_eq!(links(&mut gateway, &["rt=Type1", "rt=Type3"]), [3], "both");
}

#[test]
fn td_coap_link_03_an_empty_prefix() {
    assert_eq!(links(&mut gateway(), &["rt=*"]), [1, 2, 3, 4], "whatever has a type");
}

#[test]
fn td_coap_link_05_a_prefix_of_if() {
    let mut gateway = gateway();
    assert_eq!(links(&mut gateway, &["if=If*"]), [1, 2]);
    assert_eq!(links(&mut gateway, &["if=If1"]), [1]);
}

#[test]
fn td_coap_link_06_any_sz() {
    let mut gateway = gateway();
    assert_eq!(links(&mut gateway, &["sz=*"]), [1]);
    assert_eq!(links(&mut gateway, &["sz=30"]), [1]);
    assert_eq!(links(&mut gateway, &["sz=3"]), [0_u8; 0]);
}

#[test]
fn td_coap_link_07_one_href() {
    assert_eq!(links(&mut gateway(), &["href=/link1"]), [1]);
}

#[test]
fn td_coap_link_08_a_prefix_of_href() {
    let mut gateway = gateway();
    assert_eq!(links(&mut gateway, &["href=/link*"]), [1, 2, 3, 4, 5]);
    assert_eq!(links(&mut gateway, &["href=/lin"]), [0_u8; 0]);
}

/// What the tests of ETSI leave out: `ct`, and an attribute that nothing has.
#[test]
fn rfc_6690_s4_1_other_attributes() {
    let mut gateway = gateway();
    assert_eq!(links(&mut gateway, &["ct=40"]), [2]);
    assert_eq!(links(&mut gateway, &["ct=50"]), [3]);
    assert_eq!(links(&mut gateway, &["title=no*"]), [5]);
    assert_eq!(
        links(&mut gateway, &["rel=alternate"]),
        [0_u8; 0],
        "TD_COAP_LINK_04: nothing has it"
    );
    assert_eq!(links(&mut gateway, &["unheard=*"]), [0_u8; 0]);
    assert_eq!(links(&mut gateway, &["rt=Type1", "if=foo"]), [3], "both");
}
