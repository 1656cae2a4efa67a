//! `import` on anything: it never panics, and what it gives passes `check`; what it refuses has a
//! file and a line that exist.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use motegate_config::check_text;
use motegate_config::import::{Dialect, Source, import};
use proptest::prelude::*;

const DIALECTS: [Dialect; 4] = [Dialect::Mosquitto, Dialect::Emqx, Dialect::Paho, Dialect::Nanomq];

/// The samples, each with its dialect.
fn samples() -> Vec<(Dialect, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/import");
    let mut samples = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let dialect = match name.split('-').next().unwrap() {
            "mosquitto" => Dialect::Mosquitto,
            "emqx" => Dialect::Emqx,
            "paho" => Dialect::Paho,
            "nanomq" => Dialect::Nanomq,
            _ => continue,
        };
        if path.is_dir() {
            for file in std::fs::read_dir(path).unwrap() {
                samples.push((dialect, std::fs::read_to_string(file.unwrap().path()).unwrap()));
            }
        }
    }
    samples.sort_by(|a, b| a.1.cmp(&b.1));
    assert!(samples.len() >= 10);
    samples
}

/// Whether the translation was one; `None` for a refusal.
fn sound(dialect: Dialect, texts: &[&str]) -> Option<bool> {
    let names: Vec<String> = (0..texts.len()).map(|i| format!("{i}.conf")).collect();
    let sources: Vec<Source<'_>> =
        names.iter().zip(texts).map(|(name, text)| Source { name, text }).collect();
    match import(dialect, &sources) {
        Ok(imported) => {
            let report = check_text("motegate.yaml", &imported.yaml);
            assert!(report.ok, "{dialect:?} {texts:?}\n{}\n{}", imported.yaml, report.text);
            let lines: Vec<usize> = texts.iter().map(|text| text.lines().count().max(1)).collect();
            for remark in &imported.remarks {
                let at = names.iter().position(|name| *name == remark.file).unwrap();
                assert!((1..=lines[at]).contains(&remark.line), "{remark}");
            }
            Some(!imported.yaml.contains("does not pass check"))
        }
        Err(error) => {
            let source = sources.iter().find(|s| s.name == error.file).unwrap();
            assert!(error.line >= 1 && error.line <= source.text.lines().count() + 1, "{error}");
            assert!(!error.fix.is_empty());
            None
        }
    }
}

#[test]
fn every_sample_cut_anywhere() {
    for (dialect, text) in samples() {
        // A prime, so that cuts fall everywhere in lines.
        for at in (0..text.len()).step_by(17).filter(|at| text.is_char_boundary(*at)) {
            assert_ne!(sound(dialect, &[&text[..at]]), Some(false), "{}", &text[..at]);
        }
    }
}

#[test]
fn what_is_hard_to_write() {
    for text in [
        "*,${env:HOME},1",
        "a b,x,1",
        "client:x,t,1\nall,t,2",
        "é-1,ü/é-1,1\né-2,ü/é-2,1\né-3,ü/é-3,1",
        "a|-1,x/1,1\na|-2,x/2,1\na|-3,x/3,1",
        "a*1,x/a*1,1\na*2,x/a*2,1",
        "all-1,x/1,1\nall-2,x/2,1",
        "a-1,$x/a-1,1\na-2,$x/a-2,1",
        "{-1,x/{-1,1\n{-2,x/{-2,1\n{-3,x/{-3,1",
        "x\u{85}y,t\u{2028}u,1",
        "a,t,1,2",
        "~,~,1\ntrue,false,2\n1.5,1e3,3",
        "a,t: #u,1",
        "a,\"t,1",
        "a,x\u{1}y,1",
        "<<,t,1",
    ] {
        assert_ne!(sound(Dialect::Paho, &[text]), Some(false), "{text}");
    }
    for text in [
        "listener 1 ::1\nlistener 1 ::\nlistener 01 0.0.0.0",
        "mount_point ${env:HOME}/\nport 1",
        "listener 1883 %eth0",
        "max_connections 99999999999\nport 1",
        "connection \"\naddress :\ntopic",
        "port 0",
        "port 70000",
        "listener",
        "listener 1 a\u{2028}b",
        "max_keepalive -5",
        "log_type",
        "connection a#b\ntopic # both 2 {a}/ }b{/",
    ] {
        assert_ne!(sound(Dialect::Mosquitto, &[text]), Some(false), "{text}");
    }
    for text in [
        "listeners.tcp.\"a/b#c\".bind = 1",
        "listeners.tcp.all.bind = 0",
        "mqtt.max_packet_size = 1",
        "gateway.mqttsn.listeners.udp.x.bind = 1\nrewrite = [{action = all, source_topic = \"#\", re = \"^([0-9]{99999999}|x)$\", dest_topic = \"$1\"}]",
        "gateway.mqttsn.listeners.udp.x.bind = 1\nrewrite = [{action = all, source_topic = \"#\", re = \"^(z-a)/([z-a]+)$\", dest_topic = \"$1/$2\"}]",
        "gateway.mqttsn.listeners.udp.x.bind = 1\nrewrite = [{action = all, source_topic = \"#\", re = \"^(.+)$\", dest_topic = \"$1\"}, {action = all, source_topic = \"#\", re = \"^(.+)$\", dest_topic = \"$1\"}]",
        "gateway.coap.listeners.udp.x.bind = 1\ngateway.coap.publish_qos = qos9",
        "gateway.mqttsn { predefined = [{id = 1, topic = \"a{b}c\"}, {id = 1, topic = \"\\u0001\"}] }",
        "mqtt.server_keepalive = 99999999999999999999s",
        "log.console.level = 5",
        "gateway = 5",
        "listeners.tcp = []",
        "rewrite = {a = 1}",
        "gateway.mqttsn.predefined = {a = [1]}",
    ] {
        assert_ne!(sound(Dialect::Emqx, &[text]), Some(false), "{text}");
    }
}

#[test]
fn what_is_too_much_is_refused_with_a_line() {
    let many = "nonsense\n".repeat(30_000);
    for dialect in DIALECTS {
        sound(dialect, &[&many]);
        sound(dialect, &["listener 1\u{0}"]);
        assert_eq!(sound(dialect, &[&"x".repeat(5 << 20)]), None);
    }
    let known = "user x\n".repeat(60_000);
    assert_eq!(sound(Dialect::Mosquitto, &[&known]), None, "more remarks than a file can hold");
    let listeners: String = (1..3_000).map(|port| format!("listener {port}\n")).collect();
    assert_eq!(sound(Dialect::Mosquitto, &[&listeners]), Some(true));
    let list: String = (0..5_000).map(|i| format!("c{i},t/c{i}/x,{}\n", i % 60_000 + 1)).collect();
    assert_eq!(sound(Dialect::Paho, &[&list]), Some(true));
}

/// Lines of the kind that such files have, and some that they have not.
fn line() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        Just("listener".to_owned()),
        Just("connection".to_owned()),
        Just("topic".to_owned()),
        Just("mount_point".to_owned()),
        Just("GatewayPortNo".to_owned()),
        Just("listeners.tcp.a.bind".to_owned()),
        Just("mqtt".to_owned()),
        "[a-z]{1,3}[-_.]?[0-9]{0,2}",
        "\\PC{0,6}",
        "[0-9]{1,5}",
        Just("{".to_owned()),
        Just("}".to_owned()),
        Just("[".to_owned()),
        Just("]".to_owned()),
        Just("\"".to_owned()),
    ];
    let mark = prop_oneof![Just(" "), Just(","), Just("="), Just("/"), Just(":"), Just("\t")];
    proptest::collection::vec((word, mark), 1..6)
        .prop_map(|parts| parts.into_iter().map(|(word, mark)| word + mark).collect())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn anything_at_all(texts in proptest::collection::vec(proptest::collection::vec(line(), 0..12), 1..3)) {
        let texts: Vec<String> = texts.into_iter().map(|lines| lines.join("\n")).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        for dialect in DIALECTS {
            prop_assert_ne!(sound(dialect, &texts), Some(false));
        }
    }

    #[test]
    fn lists_of_topics(rows in proptest::collection::vec(
        ("(a|b|\\*|ab-|x\\.)[0-3]{0,2}", "(t|u)/(a|b|ab-|x\\.)?[0-3]{0,2}(/[0-9]{1,3})?", 1_u16..9),
        1..40,
    )) {
        let text: String = rows.iter().map(|(c, t, id)| format!("{c},{t},{id}\n")).collect();
        prop_assert_eq!(sound(Dialect::Paho, &[&text]), Some(true));
        let source = [Source { name: "0.conf", text: &text }];
        let yaml = import(Dialect::Paho, &source).unwrap().yaml;
        let table = motegate_config::Config::parse("m", &yaml).unwrap().table;
        let clients: std::collections::BTreeSet<&str> = rows.iter().map(|(c, ..)| c.as_str()).collect();
        for client in clients.into_iter().filter(|client| !client.contains('*')) {
            let caller = motegate_mapping::Caller {
                listener: "field", client, identity: None, tenant: "", gateway: "g",
                source_ip: [10, 0, 0, 1].into(), mount: "",
            };
            for id in 1..9 {
                let found = table.sn(&caller, motegate_mapping::SnTopic::Predefined(id));
                let found = found.ok().map(|m| m.topic.as_str().to_owned());
                prop_assert_eq!(found, there(&rows, client, id), "{} {}\n{}\n{}", client, id, text, yaml);
            }
        }
    }

    #[test]
    fn a_sample_with_a_change(at in any::<prop::sample::Index>(), cut in any::<prop::sample::Index>(),
                              put in "\\PC{0,3}|[{}\\[\\]\"=,#\n ]", which in any::<prop::sample::Index>()) {
        let samples = samples();
        let (dialect, text) = &samples[which.index(samples.len())];
        let mut at = at.index(text.len());
        while !text.is_char_boundary(at) { at -= 1; }
        let mut end = (at + cut.index(9)).min(text.len());
        while !text.is_char_boundary(end) { end += 1; }
        let text = format!("{}{put}{}", &text[..at], &text[end..]);
        prop_assert_ne!(sound(*dialect, &[&text]), Some(false));
    }
}

/// What an id meant to a client: the first line of a topic and the first line of an id hold.
fn there(rows: &[(String, String, u16)], client: &str, id: u16) -> Option<String> {
    let find = |who: &str| {
        rows.iter().enumerate().find_map(|(at, (c, topic, i))| {
            let first = rows.iter().position(|(c2, t2, _)| (c2, t2) == (c, topic)) == Some(at);
            (c == who && *i == id && first).then(|| topic.clone())
        })
    };
    find(client).or_else(|| find("*"))
}
