//! The schema for editors and the loader agree; the reference is that of the code.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use jsonschema::Validator;
use motegate_config::{Config, Layers, Show, reference};
use serde_json::Value as Json;

fn validator() -> Validator {
    jsonschema::draft202012::new(&Config::schema()).unwrap()
}

fn json(text: &str) -> Json {
    serde_yaml::from_str(text).unwrap()
}

fn folder(name: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    let all = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    all.filter(|path| path.extension().is_some_and(|e| e == "yaml")).collect()
}

#[test]
fn it_is_json_schema() {
    let schema = Config::schema();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    assert!(jsonschema::meta::is_valid(&schema));
}

#[test]
fn every_example_is_valid() {
    let validator = validator();
    for path in folder("examples") {
        let example = json(&std::fs::read_to_string(&path).unwrap());
        let errors: Vec<String> = validator.iter_errors(&example).map(|e| e.to_string()).collect();
        assert_eq!(errors, Vec::<String>::new(), "{path:?}");
    }
    // All defaults at once are valid, too, and so is what a file may say in other types.
    let all = Layers::new().show(Show { effective: true, origin: false }).unwrap();
    assert!(validator.is_valid(&json(&all)), "{all}");
    for text in [
        "mqtt: {max_qos: \"2\", protocols: [5.0, \"3.1\"], retain_available: true}",
        "mqtt: {max_keep_alive: 0, max_qos: \"${env:QOS}\"}",
        "limits: {max_packet_size: 4096, overflow: \"${env:X}\"}",
        "mqtt:\nlog: {level: ~}",
        "mappings: {coap: [{name: a, path: /, topic: t, when_empty: 4.04, listener: [a, b]}]}",
    ] {
        assert!(validator.is_valid(&json(text)), "{text}");
    }
}

#[test]
fn what_the_loader_refuses_by_its_look_the_schema_refuses() {
    let validator = validator();
    for text in [
        "listner: []",
        "mqtt: {maxqos: 1}",
        "listeners: [{protocol: mqtt, tls: {}}]",
        "listeners: {name: a}",
        "listeners: [{anonymous: true}]",
        "mqtt: {max_qos: 3}",
        "mqtt: {max_keep_alive: 10}",
        "mqtt: {max_keep_alive: 5min}",
        "mqtt: {retain_available: \"yes\"}",
        "limits: {max_packet_size: 2MB!}",
        "log: {level: warning}",
        "mappings: {coap: [{name: a, path: /, topic: t, methods: {put: publish}}]}",
        "mappings: {mqttsn: {topic_ids: {all: {1: {topic: a, codek: b}}}}}",
        "mappings: {coap: [{name: a, path: /, topic: t, payload: {device: json, borker: json}}]}",
        "codecs: {a: {fram: [{temp: u8}]}}",
    ] {
        assert!(!validator.is_valid(&json(text)), "{text}");
        assert!(Config::parse("motegate.yaml", text).is_err(), "{text}");
    }
}

#[test]
fn every_key_has_a_text_and_says_what_holds_without_it() {
    let schema = Config::schema();
    let mut open = vec![(String::new(), &schema)];
    let mut keys = 0;
    while let Some((place, schema)) = open.pop() {
        let required: Vec<&str> =
            schema["required"].as_array().into_iter().flatten().filter_map(Json::as_str).collect();
        for (key, inner) in schema["properties"].as_object().into_iter().flatten() {
            let text = inner["description"].as_str().unwrap_or_default();
            assert!(text.len() > 3, "{place}.{key} has no text");
            let block = inner.to_string().contains("\"properties\"");
            let told = block || text.contains("Default: ") || required.contains(&key.as_str());
            assert!(told, "{place}.{key}: {text:?}");
            keys += 1;
            open.push((format!("{place}.{key}"), inner));
        }
        let nested = [&schema["items"], &schema["additionalProperties"]];
        open.extend(nested.into_iter().filter(|s| s.is_object()).map(|s| (place.clone(), s)));
        let any = schema["anyOf"].as_array().into_iter().flatten();
        open.extend(any.map(|s| (place.clone(), s)));
    }
    assert!(keys > 90, "{keys}");
}

/// The documented defaults are the gateway's own.
#[test]
fn a_file_of_all_defaults_is_the_empty_file() {
    let all = Layers::new().show(Show { effective: true, origin: false }).unwrap();
    assert!(all.lines().count() > 70, "{all}");
    let written = Config::parse("defaults.yaml", &all).unwrap_or_else(|e| panic!("{e}\n{all}"));
    let empty = Config::parse("empty.yaml", "").unwrap();
    assert_eq!(format!("{:?}", written.core), format!("{:?}", empty.core));
    assert_eq!(written.summary(), empty.summary());
    assert_eq!(written.max_connections, empty.max_connections);
    assert_eq!((written.data_dir, written.durability), (empty.data_dir, empty.durability));
    assert_eq!(format!("{:?}", written.table), format!("{:?}", empty.table));
}

/// What a range calls its ends is taken, and nothing beyond.
#[test]
fn ranges_end_where_they_say() {
    let schema = Config::schema();
    let mut tried = 0;
    for block in ["gateway", "mqtt", "mqttsn", "coap", "limits"] {
        for (key, inner) in schema["properties"][block]["properties"].as_object().unwrap() {
            let text = inner["description"].as_str().unwrap();
            let facts = text.rsplit("\n\n").next().unwrap();
            let Some((_, range)) = facts.split_once("; ") else { continue };
            let (range, _) = range.split_once(". Default").unwrap();
            let (low, high) = range.split_once(" to ").unwrap();
            let read = |value: &str| Config::parse("f", &format!("{block}: {{{key}: {value}}}"));
            for bound in [low, high] {
                assert!(
                    read(bound).is_ok(),
                    "{block}.{key}: {bound}: {}",
                    read(bound).unwrap_err()
                );
            }
            let digits = high.trim_end_matches(|c: char| c.is_ascii_alphabetic());
            let more = digits.parse::<u64>().unwrap() + 1;
            let beyond = format!("{more}{}", &high[digits.len()..]);
            let found = read(&beyond).unwrap_err();
            assert_eq!(found.diagnostics[0].code.as_str(), "E0110", "{block}.{key}: {beyond}");
            tried += 1;
        }
    }
    assert!(tried >= 40, "{tried}");
}

#[test]
fn the_reference_page_is_that_of_the_code() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("REFERENCE.md");
    let written = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        written == reference(),
        "config/REFERENCE.md is not what the code says. Write it anew:\n  \
         cargo run -- schema --reference > config/REFERENCE.md"
    );
}
