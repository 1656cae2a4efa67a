//! What the chapter on mappings says of the configuration; a test `pNN_…` is about its §2.NN. The
//! other paragraphs have theirs in the mapping and in the gateway.
#![allow(clippy::unwrap_used)]

use std::net::{IpAddr, Ipv4Addr};

use motegate_config::{Code, Config, Resolved};
use motegate_mapping::{Caller, CoapMethod, SnTopic};
use motegate_message::{Reason, TopicName};

const PRINTED: &str = include_str!("../examples/plant.yaml");

fn codes(text: &str) -> Vec<Code> {
    let found = Config::parse("motegate.yaml", text).unwrap_err();
    found.diagnostics.iter().map(|diagnostic| diagnostic.code).collect()
}

fn printed() -> Resolved {
    Config::parse("plant.yaml", PRINTED).unwrap_or_else(|e| panic!("{e}"))
}

fn caller<'a>(listener: &'a str, client: &'a str) -> Caller<'a> {
    Caller {
        listener,
        client,
        identity: None,
        tenant: "a",
        gateway: "motegate",
        source_ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
        mount: "plant/a/",
    }
}

#[test]
fn p01_keys_are_known_and_stand_once_and_words_stay_what_they_are() {
    assert_eq!(codes("mappings: {}\nmappings: {}\n"), [Code::DuplicateKey]);
    let ids = "mappings: {mqttsn: {topic_ids: {all: {1: a, 1: b}}}}\n";
    assert_eq!(codes(ids), [Code::DuplicateKey], "topic ids too");
    let unknown = Config::parse("motegate.yaml", "mappings: {coop: []}\n").unwrap_err();
    assert!(unknown.diagnostics[0].fix.contains("did you mean `coap`?"), "{unknown}");
    let words = "mappings:\n  coap:\n    - {name: on, path: /on, topic: no/1.10}\n";
    let table = Config::parse("motegate.yaml", words).unwrap().table;
    let path = ["on".to_owned()];
    let found = table.coap(&caller("c", "c"), None, CoapMethod::Put, &path, &[]).unwrap();
    assert_eq!((&*found.rule, found.topic.as_str()), ("on", "plant/a/no/1.10"));
    let rule = "{name: r, path: /a, topic: a}, {name: r, path: /b, topic: b}";
    assert_eq!(codes(&format!("mappings: {{coap: [{rule}]}}\n")), [Code::RuleName]);
}

#[test]
fn p02_percent_codes_of_yaml_are_decoded_once() {
    let text = "mappings:\n  coap:\n    - {name: r, path: \"/a%2Fb\", topic: t}\n";
    let table = Config::parse("motegate.yaml", text).unwrap().table;
    let ask = |path: &[&str]| {
        let path: Vec<String> = path.iter().map(|s| (*s).to_owned()).collect();
        table.coap(&caller("c", "c"), None, CoapMethod::Put, &path, &[]).map_err(|e| e.reason)
    };
    assert!(ask(&["a/b"]).is_ok());
    assert_eq!(ask(&["a%2Fb"]).unwrap_err(), Reason::NoRule, "the wire is not decoded");
}

#[test]
fn p13_realms_are_the_protocols_unless_listeners_say_one() {
    let text = "listeners:\n  - {protocol: mqtt, anonymous: true}\n  \
                - {protocol: mqttsn, anonymous: true}\n  \
                - {name: a, protocol: mqtt, bind: \"127.0.0.1:1\", anonymous: true, realm: fleet}\n  \
                - {name: b, protocol: mqttsn, bind: \"127.0.0.1:2\", anonymous: true, realm: fleet}\n";
    let core = Config::parse("motegate.yaml", text).unwrap().core;
    let realms: Vec<&str> = core.listeners.iter().map(|listener| &*listener.realm).collect();
    assert_eq!(realms, ["mqtt", "mqttsn", "fleet", "fleet"]);
}

#[test]
fn p15_and_the_others_the_example_means_what_it_says() {
    let resolved = printed();
    assert_eq!(resolved.tests.len(), 9);
    let table = resolved.table;
    let node = caller("edge", "node-7");
    let co2 = table.link(&node, None, &TopicName::new("plant/a/site/hall/co2").unwrap()).unwrap();
    assert_eq!(co2.path, ["s", "hall", "co2"]);
    assert_eq!(co2.attribute("rt"), Some("sensor.co2"));
    assert_eq!((co2.content_formats, co2.observable), (vec![60, 50, 0], true));
    let path = ["rd", "0a1f", "senml"].map(str::to_owned);
    let pack = table.coap(&node, None, CoapMethod::Post, &path, &[]).unwrap();
    let topic = pack.records.unwrap().topic("k-t").unwrap();
    assert_eq!(topic.as_str(), "plant/a/dev/0a1f/k-t");
    let env = caller("field", "env-3");
    let found = table.sn(&env, SnTopic::Predefined(10)).unwrap();
    assert_eq!((found.topic.as_str(), found.retain), ("plant/a/dev/env-3/env", Some(true)));
    assert_eq!(found.payload.unwrap().device[0].name(), "env4");
    assert!(found.conversion.is_some() && pack.conversion.is_some());
}

#[test]
fn p17_unknown_keys_in_expect_are_errors() {
    let text = PRINTED.replacen("expect: {code: \"2.01\",", "expect: {codee: \"2.01\",", 1);
    assert_ne!(text, PRINTED);
    assert_eq!(codes(&text), [Code::UnknownKey]);
}
