//! `explain`: which rule, what its captures hold, and what the others lack.

#![allow(clippy::unwrap_used)]

use motegate_mapping::{
    Caller, CoapMethod, CoapRule, NameRule, RuleKind, Rules, Scope, SnRules, SnTopic, Table,
    TopicId,
};
use motegate_message::{Reason, TopicName};

fn caller(client: &'static str) -> Caller<'static> {
    Caller {
        listener: "edge",
        client,
        identity: None,
        tenant: "",
        gateway: "gw",
        source_ip: std::net::IpAddr::from([127, 0, 0, 1]),
        mount: "m/",
    }
}

fn rule(name: &str, path: &str, topic: &str) -> CoapRule {
    CoapRule { name: name.into(), path: path.into(), topic: topic.into(), ..CoapRule::default() }
}

fn table() -> Table {
    let coap = vec![
        rule("wide", "/s/{rest...}", "w/{rest}"),
        rule("kind", "/s/{room}/{kind:temp|hum}", "k/{room}/{kind}"),
        CoapRule { priority: 5, ..rule("first", "/s/k/{any}", "p/{any}") },
        CoapRule { client: Some("pump-*".into()), ..rule("pumps", "/s/k/temp", "c") },
        CoapRule { listeners: vec!["lan".into()], ..rule("lan", "/s/k/hum", "l") },
        CoapRule { host: Some("there".into()), ..rule("hosted", "/s/k/co2", "h") },
        rule("number", "/n/{nr:~[0-9]+}/x", "n/{nr}"),
    ];
    let id = |first, last, topic: &str| TopicId {
        first,
        last,
        topic: topic.into(),
        ..TopicId::default()
    };
    let sn = SnRules {
        groups: vec![("env".into(), vec!["env-*".into()]), ("pumps".into(), vec!["pump-*".into()])],
        topic_ids: vec![
            (Scope::All, vec![id(10, 10, "all")]),
            (Scope::Group("env".into()), vec![id(10, 12, "env/{id-10}")]),
            (Scope::Group("pumps".into()), vec![id(20, 20, "pump")]),
            (Scope::Client("env-3".into()), vec![id(10, 10, "mine")]),
        ],
        short: vec![("tt".into(), "temp".into())],
        names: vec![
            NameRule {
                name: "one".into(),
                filter: "d/{x}".into(),
                topic: "one/{x}".into(),
                priority: 0,
            },
            NameRule {
                name: "all".into(),
                filter: "d/{x...}".into(),
                topic: "all/{x}".into(),
                priority: 0,
            },
        ],
        qos_minus_one: None,
    };
    Table::new(Rules { coap, sn, ..Rules::default() }).unwrap()
}

/// The rule, and the others with their reasons.
fn explained(
    client: &'static str,
    method: CoapMethod,
    path: &str,
) -> (Option<String>, Vec<String>) {
    let path: Vec<String> = path.split('/').map(str::to_owned).collect();
    let found = table().explain_coap(&caller(client), None, method, &path, &[]);
    let near = found.near.iter().map(|near| format!("{}: {}", near.rule.name, near.why));
    (found.rule.map(|rule| rule.name), near.collect())
}

#[test]
fn the_winner_and_why_the_others_lose() {
    let (rule, near) = explained("pump-1", CoapMethod::Get, "s/k/temp");
    assert_eq!(rule.as_deref(), Some("first"));
    assert_eq!(
        near,
        [
            "pumps: matches, but its priority 0 is below 5",
            "kind: matches, but its priority 0 is below 5",
            "wide: matches, but its priority 0 is below 5",
        ]
    );
    let (rule, near) = explained("x", CoapMethod::Put, "s/hall/temp");
    assert_eq!(rule.as_deref(), Some("kind"));
    assert_eq!(near, ["wide: matches, but is less specific"]);
    let (_, near) = explained("x", CoapMethod::Put, "s/k/temp");
    assert!(
        near.contains(&"pumps: matches the path; holds for clients like pump-* only".into()),
        "{near:?}"
    );
    let (_, near) = explained("x", CoapMethod::Put, "s/k/hum");
    assert!(near.contains(&"lan: matches the path; holds on listener lan only".into()), "{near:?}");
    let (_, near) = explained("x", CoapMethod::Put, "s/k/co2");
    assert!(
        near.contains(&"hosted: matches the path; holds for Uri-Host there only".into()),
        "{near:?}"
    );
}

#[test]
fn what_is_missing_where_nothing_matches() {
    let (rule, near) = explained("x", CoapMethod::Get, "n/12a/x");
    assert_eq!(
        (rule, near),
        (None, vec!["number: would match if segment 2 were like ~[0-9]+".to_owned()])
    );
    let (_, near) = explained("x", CoapMethod::Get, "s");
    assert_eq!(near, ["wide: would match with one segment more"]);
    let (_, near) = explained("x", CoapMethod::Get, "nothing/like/it");
    assert_eq!(near, Vec::<String>::new());
    let (rule, near) = explained("x", CoapMethod::Other, "s/a");
    assert_eq!(rule, None);
    assert_eq!(near[0], "wide: also matches the path; takes GET, OBSERVE, PUT, POST, DELETE only");
}

#[test]
fn captures_and_places() {
    let path: Vec<String> = ["s", "a/b", "", "c"].map(str::to_owned).into();
    let table = table();
    let found = table.explain_coap(&caller("x"), None, CoapMethod::Put, &path, &[]);
    assert_eq!(found.captures, [("rest".to_owned(), "a/b//c".to_owned())]);
    assert_eq!(
        found.outcome.unwrap_err().reason,
        Reason::BadTopic,
        "the rule is told all the same"
    );
    let place = found.rule.unwrap().place.unwrap();
    assert_eq!(place.to_string(), "mappings.coap[0]");
    let kinds: Vec<(RuleKind, String)> =
        table.rules().into_iter().map(|rule| (rule.kind, rule.name)).collect();
    assert_eq!(kinds[0], (RuleKind::Coap, "wide".into()), "in the order of the file");
    assert_eq!(kinds[7], (RuleKind::Preset, "passthrough".into()));
    assert_eq!(kinds.len(), 7 + 1 + 2 + 4 + 1);
}

#[test]
fn ids_of_the_closest_scope() {
    let table = table();
    let found = |client: &'static str, id| {
        let found = table.explain_sn(&caller(client), SnTopic::Predefined(id));
        let near = found.near.iter().map(|near| format!("{}: {}", near.rule.name, near.why));
        (found.rule.map(|rule| rule.name), near.collect::<Vec<_>>())
    };
    let closer = "has the id too, but a closer one comes first";
    assert_eq!(
        found("env-3", 10),
        (
            Some("client:env-3 10".into()),
            vec![format!("env 10-12: {closer}"), format!("all 10: {closer}")]
        )
    );
    assert_eq!(found("env-4", 12), (Some("env 10-12".into()), vec![]));
    assert_eq!(found("env-4", 20), (None, vec!["pumps 20: env-4 is in group env".into()]));
    assert_eq!(found("x", 20), (None, vec!["pumps 20: x is not in this group".into()]));
    assert_eq!(found("x", 21), (None, vec![]));
    let place = table.explain_sn(&caller("env-4"), SnTopic::Predefined(11)).rule.unwrap().place;
    assert_eq!(place.unwrap().to_string(), "mappings.mqttsn.topic_ids.env[\"10-12\"]");
}

#[test]
fn names_and_the_way_back() {
    let table = table();
    let found = table.explain_sn(&caller("x"), SnTopic::Name("d/q"));
    assert_eq!(found.rule.as_ref().map(|rule| rule.name.as_str()), Some("one"));
    assert_eq!(found.captures, [("x".to_owned(), "q".to_owned())]);
    assert_eq!(found.near[0].why, "matches, but is less specific");
    assert_eq!(table.explain_sn(&caller("x"), SnTopic::Name("q")).rule, None);
    assert_eq!(
        table.explain_sn(&caller("x"), SnTopic::Short(*b"tt")).rule.unwrap().kind,
        RuleKind::Short
    );
    let topic = TopicName::new("m/env/1").unwrap();
    let naming = table.explain_sn_names(&caller("env-4"), &topic).unwrap();
    assert_eq!((naming.names.predefined, naming.rules[0].name.as_str()), (Some(11), "env 10-12"));
    let outside = TopicName::new("elsewhere").unwrap();
    assert_eq!(table.explain_sn_names(&caller("env-4"), &outside), None);
}
