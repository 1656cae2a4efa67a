//! The language, paragraph by paragraph: what it says of MQTT-SN. A test `pNN_…` is about §2.NN of the
//! reference's chapter on mappings.
#![allow(clippy::unwrap_used)]

mod common;

use common::{CALLER, caller_at, codecs, strings, table};
use motegate_mapping::{
    Format, NameRule, QosMinusOne, RuleErrorKind, Rules, Scope, SnRules, SnTopic, Table, TopicId,
};
use motegate_message::{Reason, TopicName};

fn to(topic: &str) -> Result<String, Reason> {
    Ok(topic.to_owned())
}

/// Place and kind of every mistake.
fn mistakes(rules: Rules) -> Vec<(String, RuleErrorKind)> {
    let errors = Table::new(rules).err().unwrap_or_default();
    errors.into_iter().map(|error| (error.place.to_string(), error.kind)).collect()
}

fn id(first: u16, last: u16, topic: &str) -> TopicId {
    TopicId { first, last, topic: topic.into(), ..TopicId::default() }
}

fn sn(sn: SnRules) -> Rules {
    Rules { sn, codecs: codecs(), ..Rules::default() }
}

#[test]
fn p11_ids_by_client_group_and_all_with_their_codec() {
    let groups = vec![("env".to_owned(), strings(["env-*"]))];
    let env = TopicId { codec: Some("env4".into()), ..id(10, 10, "dev/{client}/env") };
    let topic_ids = vec![
        (Scope::All, vec![id(10, 10, "all"), id(11, 11, "eleven")]),
        (Scope::Group("env".into()), vec![env, id(100, 131, "dev/{client}/ch/{id-100}")]),
        (Scope::Client("env-9".into()), vec![id(10, 10, "nine")]),
    ];
    let table = table(sn(SnRules { groups, topic_ids, ..SnRules::default() }));
    let asked = |client, id| {
        let found = table.sn(&caller_at("field", client, ""), SnTopic::Predefined(id));
        found.map(|found| found.topic.as_str().to_owned()).map_err(|error| error.reason)
    };
    assert_eq!(asked("env-9", 10), to("nine"), "the client first");
    assert_eq!(asked("env-3", 10), to("dev/env-3/env"), "then its group");
    assert_eq!(asked("x", 10), to("all"));
    assert_eq!(asked("env-3", 11), to("eleven"));
    assert_eq!(asked("env-3", 117), to("dev/env-3/ch/17"), "a range");
    assert_eq!(asked("x", 117), Err(Reason::SnUnknownTopicId));
    let env = caller_at("field", "env-3", "");
    let payload = table.sn(&env, SnTopic::Predefined(10)).unwrap().payload.unwrap();
    assert_eq!((payload.device[0].name(), &payload.broker), ("env4", &Format::Json));
    let names = table.sn_names(&env, &TopicName::new("dev/env-3/env").unwrap()).unwrap();
    assert_eq!((names.predefined, names.payload.is_some()), (Some(10), true), "deliveries too");
}

#[test]
fn p11_mistakes_in_ids_and_groups() {
    let of = |topic_ids, groups| {
        let all = mistakes(sn(SnRules { topic_ids, groups, ..SnRules::default() }));
        all.into_iter().next().unwrap()
    };
    for (first, last) in [(0, 0), (0xffff, 0xffff), (9, 5)] {
        let (_, kind) = of(vec![(Scope::All, vec![id(first, last, "a")])], Vec::new());
        assert_eq!(kind, RuleErrorKind::BadTopicId);
    }
    let twice = vec![(Scope::All, vec![id(100, 131, "a"), id(117, 117, "b")])];
    assert!(matches!(of(twice, Vec::new()).1, RuleErrorKind::DuplicateTopicId { id: 117, .. }));
    let globs =
        |a: &str, b: &str| vec![("one".to_owned(), strings([a])), ("two".to_owned(), strings([b]))];
    let (place, kind) = of(Vec::new(), globs("env-*", "*-3"));
    assert_eq!(place, "mappings.mqttsn.groups.two[0]");
    let RuleErrorKind::GroupOverlap { witness, .. } = kind else { panic!("{kind}") };
    assert_eq!(witness, "env-3", "a client that would be in both");
    let codec = TopicId { codec: Some("env5".into()), detailed: true, ..id(1, 1, "a") };
    let (place, kind) = of(vec![(Scope::All, vec![codec])], Vec::new());
    assert_eq!(place, "mappings.mqttsn.topic_ids.all.1.codec");
    let RuleErrorKind::UnknownFormat { known, .. } = kind else { panic!("{kind}") };
    assert!(known.contains(&"env4".to_owned()));
}

#[test]
fn p11_short_and_long_names_in_both_directions() {
    let names = NameRule {
        name: "data".into(),
        filter: "d/{kind}".into(),
        topic: "dev/{client}/{kind}".into(),
        priority: 0,
    };
    let short = vec![("tt".to_owned(), "dev/{client}/temp".to_owned())];
    let table = table(sn(SnRules { short, names: vec![names], ..SnRules::default() }));
    let to_topic = |topic| table.sn(&CALLER, topic).unwrap().topic.as_str().to_owned();
    assert_eq!(to_topic(SnTopic::Short(*b"tt")), "dev/node-7/temp");
    assert_eq!(to_topic(SnTopic::Short(*b"zz")), "zz", "else the two characters are the topic");
    assert_eq!(to_topic(SnTopic::Name("d/hum")), "dev/node-7/hum");
    assert_eq!(to_topic(SnTopic::Name("other/hum")), "other/hum");
    let back = table.sn_names(&CALLER, &TopicName::new("dev/node-7/temp").unwrap()).unwrap();
    assert_eq!((back.name.as_str(), back.short), ("d/temp", Some(*b"tt")));
}

#[test]
fn p12_qos_minus_one_is_off_unless_listed() {
    let topic_ids = vec![(Scope::All, vec![id(1, 2, "dev/{client}/{id}")])];
    let minus_one = QosMinusOne {
        ids: vec![1],
        short: Vec::new(),
        client: "anon-{source_ip}".into(),
        rate: None,
    };
    let table =
        table(sn(SnRules { topic_ids, qos_minus_one: Some(minus_one), ..SnRules::default() }));
    let (client, found) = table.sn_qos_minus_one(&CALLER, SnTopic::Predefined(1)).unwrap();
    assert_eq!((client.as_str(), found.topic.as_str()), ("anon-10.0.0.7", "dev/anon-10.0.0.7/1"));
    let off = table.sn_qos_minus_one(&CALLER, SnTopic::Predefined(2)).unwrap_err();
    assert_eq!(off.reason, Reason::SnQosMinusOneOff);
    assert!(off.text.contains("ids: [2]"), "the line to add: {off}");
}

#[test]
fn p05_a_client_id_cannot_leave_its_level() {
    let topic_ids = vec![(Scope::All, vec![id(1, 1, "dev/{client}")])];
    let table = table(sn(SnRules { topic_ids, ..SnRules::default() }));
    for client in ["a/b", "+", "#", "", "a\0"] {
        let caller = caller_at("field", client, "");
        let refused = table.sn(&caller, SnTopic::Predefined(1)).unwrap_err();
        assert_eq!(refused.reason, Reason::BadTopic, "{client:?}");
    }
}
