//! MQTT-SN: pre-defined ids by scope, short names, long names and QoS −1, in both directions.

#![allow(clippy::unwrap_used)]

mod common;

use common::{CALLER, caller_at, strings, table};
use motegate_mapping::{
    Caller, MapError, NameRule, QosMinusOne, Retain, RuleErrorKind, Rules, Scope, SnMatch, SnRules,
    SnTopic, Table, TopicId,
};
use motegate_message::{Reason, TopicName};

fn id(first: u16, last: u16, topic: &str) -> TopicId {
    TopicId { first, last, topic: topic.into(), ..TopicId::default() }
}

fn sn(sn: SnRules) -> Rules {
    Rules { sn, ..Rules::default() }
}

fn example() -> SnRules {
    SnRules {
        groups: vec![
            ("env".into(), strings(["env-*"])),
            ("meters".into(), strings(["meter-*", "zaehler-*"])),
        ],
        topic_ids: vec![
            (Scope::All, vec![id(1, 1, "dev/{client}/up"), id(2, 2, "dev/{client}/cmd")]),
            (
                Scope::Group("env".into()),
                vec![
                    TopicId { retain: Some(Retain::Always), ..id(10, 10, "dev/{client}/env") },
                    id(100, 131, "dev/{client}/ch/{id-100}"),
                ],
            ),
            (Scope::Group("meters".into()), vec![id(10, 10, "utility/{client|trim:meter-}/kwh")]),
            (
                Scope::Client("legacy-7".into()),
                vec![
                    id(10, 10, "old/plant/seven"),
                    TopicId { absolute: true, ..id(11, 11, "shared/seven") },
                ],
            ),
        ],
        short: vec![("tt".into(), "dev/{client}/temp".into())],
        names: vec![NameRule {
            name: "sn-data".into(),
            filter: "d/{kind}".into(),
            topic: "dev/{client}/{kind}".into(),
            priority: 0,
        }],
        qos_minus_one: Some(QosMinusOne {
            ids: vec![1],
            short: vec![*b"tt"],
            client: "anon-{source_ip}".into(),
            rate: None,
        }),
    }
}

fn ask(table: &Table, client: &str, topic: SnTopic<'_>) -> Result<SnMatch, MapError> {
    table.sn(&caller_at("field", client, ""), topic)
}

fn topic(table: &Table, client: &str, topic: SnTopic<'_>) -> Result<String, Reason> {
    ask(table, client, topic).map(|m| m.topic.as_str().to_owned()).map_err(|e| e.reason)
}

#[test]
fn without_rules_names_and_short_names_are_what_they_say() {
    let table = Table::passthrough("mqtt");
    let ask = |t| topic(&table, "c", t);
    assert_eq!(ask(SnTopic::Name("a/+/#")).as_deref(), Ok("a/+/#"));
    assert_eq!(ask(SnTopic::Name("$SYS/x")).as_deref(), Ok("$SYS/x"));
    assert_eq!(ask(SnTopic::Name("a+")), Err(Reason::BadTopic));
    assert_eq!(ask(SnTopic::Name("")), Err(Reason::BadTopic));
    assert_eq!(ask(SnTopic::Short(*b"ab")).as_deref(), Ok("ab"));
    assert_eq!(ask(SnTopic::Short(*b"a#")), Err(Reason::BadTopic));
    assert_eq!(ask(SnTopic::Short([0xff, b'a'])), Err(Reason::BadTopic));
    assert_eq!(ask(SnTopic::Predefined(1)), Err(Reason::SnUnknownTopicId));
    let off = table.sn_qos_minus_one(&CALLER, SnTopic::Predefined(1)).unwrap_err();
    assert_eq!(off.reason, Reason::SnQosMinusOneOff);
    assert!(off.text.contains("ids: [1]"), "says the line to add: {}", off.text);
    let mounted = table.sn(&caller_at("f", "c", "m/"), SnTopic::Name("")).unwrap_err();
    assert_eq!(mounted.reason, Reason::BadTopic, "the mount alone is no topic");
}

#[test]
fn ids_by_client_then_group_then_all() {
    let table = table(sn(example()));
    let ask = |client, id| topic(&table, client, SnTopic::Predefined(id));
    assert_eq!(ask("env-3", 1).as_deref(), Ok("dev/env-3/up"));
    assert_eq!(ask("env-3", 10).as_deref(), Ok("dev/env-3/env"));
    assert_eq!(ask("meter-42", 10).as_deref(), Ok("utility/42/kwh"));
    assert_eq!(ask("zaehler-1", 10), Err(Reason::BadTopic), "the prefix to trim is not there");
    assert_eq!(ask("legacy-7", 10).as_deref(), Ok("old/plant/seven"));
    assert_eq!(ask("other", 10), Err(Reason::SnUnknownTopicId));
    assert_eq!(ask("env-3", 100).as_deref(), Ok("dev/env-3/ch/0"));
    assert_eq!(ask("env-3", 117).as_deref(), Ok("dev/env-3/ch/17"));
    assert_eq!(ask("env-3", 131).as_deref(), Ok("dev/env-3/ch/31"));
    assert_eq!(ask("env-3", 132), Err(Reason::SnUnknownTopicId));
    assert_eq!(ask("a/b", 1), Err(Reason::BadTopic), "a client id cannot redirect a topic");
    assert_eq!(ask("a+", 1), Err(Reason::BadTopic));
    assert_eq!(ask("", 1), Err(Reason::BadTopic));
    let retained = predefined(&table, "env-3", 10);
    assert_eq!(retained.retain, Some(true));
    assert_eq!(predefined(&table, "env-3", 1).retain, None);
}

fn predefined(table: &Table, client: &str, id: u16) -> SnMatch {
    ask(table, client, SnTopic::Predefined(id)).unwrap()
}

#[test]
fn short_and_long_names() {
    let table = table(sn(example()));
    let ask = |t| topic(&table, "env-3", t);
    assert_eq!(ask(SnTopic::Short(*b"tt")).as_deref(), Ok("dev/env-3/temp"));
    assert_eq!(ask(SnTopic::Short(*b"tu")).as_deref(), Ok("tu"));
    assert_eq!(ask(SnTopic::Name("d/hum")).as_deref(), Ok("dev/env-3/hum"));
    assert_eq!(ask(SnTopic::Name("d/+")).as_deref(), Ok("dev/env-3/+"), "subscriptions too");
    assert_eq!(ask(SnTopic::Name("d/a/b")).as_deref(), Ok("d/a/b"), "no rule takes it");
    let mounted = table.sn(&caller_at("field", "env-3", "plant/a/"), SnTopic::Name("d/hum"));
    assert_eq!(mounted.unwrap().topic.as_str(), "plant/a/dev/env-3/hum");
}

fn names(table: &Table, caller: &Caller<'_>, topic: &str) -> Option<(String, Option<u16>, String)> {
    let names = table.sn_names(caller, &TopicName::new(topic).unwrap())?;
    let short = names.short.map(|s| String::from_utf8(s.to_vec()).unwrap()).unwrap_or_default();
    Some((names.name.as_str().to_owned(), names.predefined, short))
}

#[test]
fn the_way_back() {
    let table = table(sn(example()));
    let env = caller_at("field", "env-3", "");
    let back = |topic: &str| names(&table, &env, topic);
    let is = |name: &str, id, short: &str| Some((name.to_owned(), id, short.to_owned()));
    assert_eq!(back("dev/env-3/up"), is("d/up", Some(1), ""));
    assert_eq!(back("dev/env-3/env"), is("d/env", Some(10), ""));
    assert_eq!(back("dev/env-3/temp"), is("d/temp", None, "tt"));
    assert_eq!(back("dev/env-3/ch/17"), is("dev/env-3/ch/17", Some(117), ""));
    assert_eq!(back("dev/env-3/ch/017"), is("dev/env-3/ch/017", None, ""));
    assert_eq!(back("dev/env-3/ch/32"), is("dev/env-3/ch/32", None, ""));
    assert_eq!(back("dev/env-4/up"), is("dev/env-4/up", None, ""), "another client's");
    assert_eq!(back("old/plant/seven"), is("old/plant/seven", None, ""), "another client's id");
    assert_eq!(back("ab"), is("ab", None, "ab"));
    assert_eq!(back("tt"), is("tt", None, ""), "the short name means something else here");
    let legacy = caller_at("field", "legacy-7", "m/");
    assert_eq!(names(&table, &legacy, "m/old/plant/seven"), is("old/plant/seven", Some(10), ""));
    assert_eq!(names(&table, &legacy, "shared/seven"), is("shared/seven", Some(11), ""));
    assert_eq!(names(&table, &legacy, "old/plant/seven"), None, "outside the mount");
    assert_eq!(names(&table, &legacy, "m/ab"), is("ab", None, "ab"));
    assert_eq!(names(&table, &legacy, "m/"), None);
    let meter = caller_at("field", "meter-42", "");
    assert_eq!(names(&table, &meter, "utility/42/kwh"), is("utility/42/kwh", Some(10), ""));
}

#[test]
fn an_id_that_a_closer_scope_uses_otherwise_is_no_name() {
    let table = table(sn(SnRules {
        topic_ids: vec![
            (Scope::All, vec![id(1, 1, "wide"), id(5, 5, "wide"), id(9, 9, "other")]),
            (Scope::Client("c".into()), vec![id(1, 1, "own")]),
        ],
        ..SnRules::default()
    }));
    let of = |client, topic: &str| names(&table, &caller_at("f", client, ""), topic).unwrap().1;
    assert_eq!(of("c", "own"), Some(1));
    assert_eq!(of("c", "wide"), Some(5), "1 is taken by the client's own meaning");
    assert_eq!(of("d", "wide"), Some(1));
}

#[test]
fn qos_minus_one() {
    let table = table(sn(example()));
    let nobody = caller_at("field", "", "");
    let (client, found) = table.sn_qos_minus_one(&nobody, SnTopic::Predefined(1)).unwrap();
    assert_eq!((client.as_str(), found.topic.as_str()), ("anon-10.0.0.7", "dev/anon-10.0.0.7/up"));
    let (_, found) = table.sn_qos_minus_one(&nobody, SnTopic::Short(*b"tt")).unwrap();
    assert_eq!(found.topic.as_str(), "dev/anon-10.0.0.7/temp");
    for topic in [SnTopic::Predefined(2), SnTopic::Short(*b"ab"), SnTopic::Name("d/x")] {
        let refused = table.sn_qos_minus_one(&nobody, topic).unwrap_err();
        assert_eq!(refused.reason, Reason::SnQosMinusOneOff, "{topic:?}");
    }
    assert_eq!(table.qos_minus_one().unwrap().ids, [1]);
}

#[test]
fn mistakes_have_places() {
    let errors = Table::new(sn(SnRules {
        groups: vec![
            ("env".into(), strings(["env-*"])),
            ("all".into(), strings(["x"])),
            ("seven".into(), strings(["*-7", ""])),
        ],
        topic_ids: vec![
            (
                Scope::All,
                vec![
                    id(0, 0, "a"),
                    id(7, 3, "a"),
                    id(65_535, 65_535, "a"),
                    id(10, 20, "a/{id-11}"),
                    id(30, 40, "b"),
                    id(35, 35, "c"),
                    TopicId { detailed: true, ..id(50, 50, "{nobody}") },
                ],
            ),
            (Scope::Group("metres".into()), vec![]),
        ],
        short: vec![
            ("abc".into(), "x".into()),
            ("a+".into(), "x".into()),
            ("ok".into(), "#".into()),
        ],
        names: vec![
            NameRule {
                name: "a".into(),
                filter: "d/{x}".into(),
                topic: "t/{x}".into(),
                priority: 0,
            },
            NameRule {
                name: "a".into(),
                filter: "{x}/e".into(),
                topic: "t/{x}".into(),
                priority: 0,
            },
        ],
        qos_minus_one: Some(QosMinusOne {
            ids: vec![30, 31, 99],
            short: vec![],
            client: "{client}".into(),
            rate: None,
        }),
    }))
    .unwrap_err();
    let places: Vec<String> = errors
        .iter()
        .map(|e| e.place.to_string().trim_start_matches("mappings.mqttsn.").to_owned())
        .collect();
    assert_eq!(
        places,
        [
            "groups.all",
            "groups.seven[0]",
            "groups.seven[1]",
            "topic_ids.all.0",
            "topic_ids.all[\"7-3\"]",
            "topic_ids.all.65535",
            "topic_ids.all[\"10-20\"]",
            "topic_ids.all.50.topic",
            "topic_ids.all.35",
            "topic_ids.metres",
            "qos_minus_one.ids[2]",
            "qos_minus_one.client",
            "short.abc",
            "short[\"a+\"]",
            "short.ok",
            "names[1].name",
            "names[1].filter",
        ]
    );
    let RuleErrorKind::GroupOverlap { witness, .. } = &errors[1].kind else { panic!() };
    assert_eq!(witness, "env-7");
}
