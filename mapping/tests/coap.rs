//! CoAP rules: choice, methods, templates, safety, queries, mounts and the way back.

#![allow(clippy::unwrap_used)]

mod common;

use std::time::Duration;

use common::{CALLER, caller_at, rule, strings, table};
use motegate_mapping::{
    Action, CoapMatch, CoapMethod, CoapRule, Managed, MapError, Preset, Retain, RuleErrorKind,
    Rules, Table,
};
use motegate_message::{Qos, Reason, TopicName};

fn ask(table: &Table, method: CoapMethod, url: &str) -> Result<CoapMatch, MapError> {
    ask_as(table, &CALLER, method, url)
}

/// `url` is split here at `/`, `?` and `&`; the segments are the wire's.
fn ask_as(
    table: &Table,
    caller: &motegate_mapping::Caller<'_>,
    method: CoapMethod,
    url: &str,
) -> Result<CoapMatch, MapError> {
    let (path, query) = url.split_once('?').unwrap_or((url, ""));
    let path = strings(path.strip_prefix('/').unwrap().split('/'));
    let query = strings(query.split('&').filter(|item| !item.is_empty()));
    table.coap(caller, None, method, &path, &query)
}

fn topic(table: &Table, method: CoapMethod, url: &str) -> Result<(String, String), Reason> {
    ask(table, method, url)
        .map(|m| (m.rule.to_string(), m.topic.as_str().to_owned()))
        .map_err(|e| e.reason)
}

fn ok(rule: &str, topic: &str) -> Result<(String, String), Reason> {
    Ok((rule.to_owned(), topic.to_owned()))
}

#[test]
fn passthrough_methods() {
    let table = Table::passthrough("mqtt");
    for (method, action, retain) in [
        (CoapMethod::Get, Action::Read, None),
        (CoapMethod::Observe, Action::Subscribe, None),
        (CoapMethod::Put, Action::Publish, Some(true)),
        (CoapMethod::Post, Action::Publish, Some(false)),
        (CoapMethod::Delete, Action::Clear, None),
    ] {
        let found = ask(&table, method, "/mqtt/site/door").unwrap();
        assert_eq!((found.topic.as_str(), found.action), ("site/door", action));
        assert!(retain.is_none_or(|retain| retain == found.retain), "{method:?}");
        assert_eq!((found.qos, found.expiry, found.user.len()), (None, None, 0));
    }
    assert_eq!(topic(&table, CoapMethod::Other, "/mqtt/a"), Err(Reason::MethodNotAllowed));
    assert_eq!(topic(&table, CoapMethod::Get, "/mqtt"), Err(Reason::NoRule));
    assert_eq!(topic(&table, CoapMethod::Get, "/MQTT/a"), Err(Reason::NoRule));
    assert_eq!(topic(&table, CoapMethod::Put, "/mqtt/a//b/"), ok("passthrough", "a//b/"));
    assert_eq!(topic(&table, CoapMethod::Put, "/mqtt/"), Err(Reason::BadTopic), "empty topic");
    let deep = Table::passthrough("/x/{y}/");
    assert_eq!(topic(&deep, CoapMethod::Get, "/x/{y}/a"), ok("passthrough", "a"));
    assert_eq!(topic(&Table::passthrough(""), CoapMethod::Get, "/a/b"), ok("passthrough", "a/b"));
}

#[test]
fn hidden_slashes_wildcards_and_dollars() {
    let table = Table::passthrough("mqtt");
    for bad in ["a/b", "+", "#", "x#", "\0", "a\u{1}", "\u{85}"] {
        let path = strings(["mqtt", bad]);
        let refused = table.coap(&CALLER, None, CoapMethod::Get, &path, &[]).unwrap_err();
        assert_eq!(refused.reason, Reason::BadTopic, "{bad:?}: {refused}");
    }
    // What looks like a percent code is just text on the wire.
    assert_eq!(topic(&table, CoapMethod::Put, "/mqtt/a%2Fb"), ok("passthrough", "a%2Fb"));
    for method in [CoapMethod::Put, CoapMethod::Post, CoapMethod::Delete] {
        assert_eq!(topic(&table, method, "/mqtt/$SYS/x"), Err(Reason::BadTopic));
        let mounted = ask_as(&table, &caller_at("edge", "c", "m/"), method, "/mqtt/$SYS/x");
        assert_eq!(mounted.unwrap_err().reason, Reason::BadTopic);
    }
    assert_eq!(topic(&table, CoapMethod::Get, "/mqtt/$SYS/x"), ok("passthrough", "$SYS/x"));
    assert_eq!(topic(&table, CoapMethod::Put, "/mqtt/a/$x"), ok("passthrough", "a/$x"));
    let long = format!("/mqtt/{}", "x/".repeat(33_000));
    assert_eq!(topic(&table, CoapMethod::Put, &long), Err(Reason::BadTopic));
}

#[test]
fn passthrough_queries() {
    let table = Table::passthrough("mqtt");
    let found = ask(&table, CoapMethod::Put, "/mqtt/a?qos=2&retain=false&expiry=10m").unwrap();
    assert_eq!(found.qos, Some(Qos::ExactlyOnce));
    assert_eq!((found.retain, found.expiry), (false, Some(Duration::from_secs(600))));
    let found = ask(&table, CoapMethod::Post, "/mqtt/a?retain&expiry=5").unwrap();
    assert_eq!((found.retain, found.expiry), (true, Some(Duration::from_secs(5))));
    for (query, named) in [
        ("colour=red", "colour"),
        ("qos=3", "qos=3"),
        ("retain=maybe", "retain=maybe"),
        ("expiry=-1", "expiry=-1"),
        ("expiry=+1", "expiry=+1"),
        ("expiry=9999999999", "expiry=9999999999"),
        ("expiry=60000d", "expiry=60000d"),
        ("expiry=5ü", "expiry=5ü"),
        ("qos=1&qos=1", "qos"),
        ("client=other", "client"),
    ] {
        let refused = ask(&table, CoapMethod::Put, &format!("/mqtt/a?{query}")).unwrap_err();
        assert_eq!(refused.reason, Reason::BadOption, "{query}");
        assert!(refused.text.contains(named), "{query}: {}", refused.text);
    }
}

#[test]
fn the_most_specific_rule_wins_whatever_the_order() {
    let mut rules = vec![
        rule("state", "/s/{room}/{kind:temp|hum|co2}", "site/{room}/{kind}"),
        CoapRule {
            methods: Some(vec![(CoapMethod::Post, Action::Publish)]),
            ..rule("event", "/s/{room}/{rest...}", "site/{room}/events/{rest}")
        },
        rule("kitchen", "/s/kitchen/temp", "the/kitchen"),
        CoapRule { priority: 1, ..rule("high", "/s/{a}/co2", "high/{a}") },
    ];
    for _ in 0..4 {
        rules.rotate_left(1);
        let table = table(Rules { coap: rules.clone(), ..Rules::default() });
        let put = |url: &str| topic(&table, CoapMethod::Put, url);
        assert_eq!(put("/s/hall/temp"), ok("state", "site/hall/temp"));
        assert_eq!(put("/s/kitchen/temp"), ok("kitchen", "the/kitchen"));
        assert_eq!(put("/s/kitchen/co2"), ok("high", "high/kitchen"));
        assert_eq!(put("/s/kitchen/smell"), Err(Reason::MethodNotAllowed));
        let post = topic(&table, CoapMethod::Post, "/s/kitchen/smell/now");
        assert_eq!(post, ok("event", "site/kitchen/events/smell/now"));
        assert_eq!(put("/s//temp"), Err(Reason::BadTopic), "an empty segment is named");
        assert_eq!(put("/s//smell"), Err(Reason::BadTopic));
        assert_eq!(put("/t/kitchen"), Err(Reason::NoRule));
        assert_eq!(put("/mqtt/x"), ok("passthrough", "x"), "presets stay");
    }
}

#[test]
fn overlaps_are_found_with_a_witness() {
    let errors = Table::new(Rules {
        coap: vec![
            rule("state", "/s/{room}/{kind:temp|hum|co2}", "site/{room}/{kind}"),
            rule("kitchen", "/s/kitchen/{any}", "k/{any}"),
        ],
        ..Rules::default()
    })
    .unwrap_err();
    let [error] = errors.as_slice() else { panic!("{errors:?}") };
    assert_eq!(error.place.to_string(), "mappings.coap[1].path");
    let RuleErrorKind::Overlap { rule, other, other_place, witness } = &error.kind else {
        panic!("{error}")
    };
    assert_eq!((rule.as_str(), other.as_str()), ("kitchen", "state"));
    assert_eq!(other_place.as_ref().unwrap().to_string(), "mappings.coap[0]");
    assert_eq!(witness, "PUT /s/kitchen/co2");
}

#[test]
fn what_keeps_two_rules_apart() {
    let a = || rule("a", "/s/{x}/t", "a/{x}");
    let b = || rule("b", "/s/r/{y}", "b/{y}");
    let conflict = |a: CoapRule, b: CoapRule| {
        let rules = Rules { coap: vec![a, b], ..Rules::default() };
        Table::new(rules).err().map(|errors| errors[0].kind.to_string())
    };
    let only =
        |rule: CoapRule, method, action| CoapRule { methods: Some(vec![(method, action)]), ..rule };
    let on = |rule: CoapRule, name: &str| CoapRule { listeners: strings([name]), ..rule };
    let of = |rule: CoapRule, glob: &str| CoapRule { client: Some(glob.into()), ..rule };
    assert!(conflict(a(), b()).is_some());
    assert_eq!(conflict(CoapRule { priority: 1, ..a() }, b()), None);
    let (get, put) = (only(a(), CoapMethod::Get, Action::Read), CoapMethod::Put);
    assert_eq!(conflict(get, only(b(), put, Action::Publish)), None);
    assert_eq!(conflict(on(a(), "x"), on(b(), "y")), None);
    let on_one = conflict(on(a(), "x"), on(b(), "x")).unwrap();
    assert!(on_one.ends_with("PUT /s/r/t on listener x"), "{on_one}");
    assert_eq!(conflict(of(a(), "n-*"), of(b(), "m-*")), None);
    let for_one = conflict(of(a(), "n-*"), of(b(), "*-7")).unwrap();
    assert!(for_one.ends_with("from client \"n-7\""), "{for_one}");
    // The same path, but narrower by client: no conflict, and the narrower one wins.
    let c = || rule("c", "/s/{z}/t", "c/{z}");
    assert!(conflict(a(), c()).is_some(), "equal rules conflict");
    let rules = Rules { coap: vec![c(), of(a(), "node-*")], ..Rules::default() };
    let table = table(rules);
    assert_eq!(topic(&table, CoapMethod::Put, "/s/q/t"), ok("a", "a/q"));
    let other = ask_as(&table, &caller_at("edge", "x", ""), CoapMethod::Put, "/s/q/t");
    assert_eq!(&*other.unwrap().rule, "c");
    // Two regular expressions count as overlapping.
    let regexes = conflict(rule("a", "/{x:~a+}", "a/{x}"), rule("b", "/{x:~b+}", "b/{x}"));
    assert!(regexes.is_some());
}

#[test]
fn a_rule_that_equals_the_preset_beats_it_and_none_is_left_without_presets() {
    let coap = vec![rule("mine", "/mqtt/{t...}", "mine/{t}")];
    let table_with = table(Rules { coap: coap.clone(), ..Rules::default() });
    assert_eq!(topic(&table_with, CoapMethod::Put, "/mqtt/a"), ok("mine", "mine/a"));
    let bare = table(Rules { presets: vec![], ..Rules::default() });
    assert_eq!(topic(&bare, CoapMethod::Put, "/mqtt/a"), Err(Reason::NoRule));
}

#[test]
fn settings_of_a_rule() {
    let table = table(Rules {
        coap: vec![CoapRule {
            query: [("u", "user_property.unit"), ("n", "node"), ("q", "qos")]
                .map(|(k, t)| (k.to_owned(), t.to_owned()))
                .to_vec(),
            qos: Some(Some(Qos::AtLeastOnce)),
            retain: Some(Retain::Never),
            expiry: Some(Duration::from_secs(60)),
            max_age: Some(Duration::ZERO),
            not_found_when_empty: true,
            ..rule("r", "/x/{a}", "t/{node}/{a}")
        }],
        ..Rules::default()
    });
    let found = ask(&table, CoapMethod::Put, "/x/v?u=Cel&n=n1").unwrap();
    assert_eq!(found.topic.as_str(), "t/n1/v");
    assert_eq!(found.user, [("unit".to_owned(), "Cel".to_owned())]);
    assert_eq!((found.qos, found.retain), (Some(Qos::AtLeastOnce), false));
    assert_eq!((found.expiry, found.content_when_empty), (Some(Duration::from_secs(60)), false));
    assert_eq!(found.max_age, Some(Duration::ZERO));
    assert_eq!(ask(&table, CoapMethod::Put, "/x/v?n=n1&q=0").unwrap().qos, Some(Qos::AtMostOnce));
    let missing = ask(&table, CoapMethod::Put, "/x/v").unwrap_err();
    assert_eq!((missing.reason, missing.text.contains("n=")), (Reason::BadOption, true));
    let slash =
        table.coap(&CALLER, None, CoapMethod::Put, &strings(["x", "v"]), &strings(["n=a/b"]));
    assert_eq!(slash.unwrap_err().reason, Reason::BadTopic);
}

#[test]
fn observe_falls_back_to_get_and_a_command_takes_observe_only() {
    let table = table(Rules {
        coap: vec![
            CoapRule {
                methods: Some(vec![(CoapMethod::Observe, Action::Subscribe)]),
                ..rule("cmd", "/cmd", "dev/{client}/cmd")
            },
            CoapRule {
                methods: Some(vec![(CoapMethod::Get, Action::Read)]),
                ..rule("state", "/state", "dev/{client}/state")
            },
        ],
        ..Rules::default()
    });
    let found = ask(&table, CoapMethod::Observe, "/cmd").unwrap();
    assert_eq!((found.topic.as_str(), found.action), ("dev/node-7/cmd", Action::Subscribe));
    assert_eq!(topic(&table, CoapMethod::Get, "/cmd"), Err(Reason::MethodNotAllowed));
    assert_eq!(ask(&table, CoapMethod::Observe, "/state").unwrap().action, Action::Read);
    let evil = caller_at("edge", "a/b", "");
    let refused = ask_as(&table, &evil, CoapMethod::Observe, "/cmd").unwrap_err();
    assert_eq!(refused.reason, Reason::BadTopic, "a client id cannot redirect a topic");
}

#[test]
fn mounts_and_absolute_rules() {
    let table = table(Rules {
        coap: vec![
            rule("in", "/a/{x}", "t/{x}"),
            CoapRule { absolute: true, ..rule("out", "/b/{x}", "shared/{x}") },
        ],
        ..Rules::default()
    });
    let caller = caller_at("edge", "c", "plant/a/");
    let put = |url: &str| {
        ask_as(&table, &caller, CoapMethod::Put, url).unwrap().topic.as_str().to_owned()
    };
    assert_eq!(put("/a/1"), "plant/a/t/1");
    assert_eq!(put("/b/1"), "shared/1");
    assert_eq!(put("/mqtt/x/y"), "plant/a/x/y");
    let empty = ask_as(&table, &caller, CoapMethod::Put, "/mqtt/").unwrap_err();
    assert_eq!(empty.reason, Reason::BadTopic, "the mount alone is no topic");
    let back = |topic: &str| {
        let path = table.coap_path(&caller, &TopicName::new(topic).unwrap());
        path.map(|path| path.join("/"))
    };
    assert_eq!(back("plant/a/t/1").as_deref(), Some("a/1"));
    assert_eq!(back("shared/1").as_deref(), Some("b/1"));
    assert_eq!(back("plant/a/x/y").as_deref(), Some("mqtt/x/y"));
    assert_eq!(back("plant/b/x"), None, "another mount");
    assert_eq!(back("plant/a/"), None);
}

#[test]
fn the_way_back() {
    let table = table(Rules {
        coap: vec![
            rule("state", "/s/{room}/{kind:temp|hum}", "site/{room}/{kind}"),
            rule("shadow", "/mqtt/z/{x}", "other/{x}"),
            rule("own", "/me/{x}", "dev/{client}/{x|trim:p-}"),
            rule("lower", "/l/{x}", "low/{x|lower}"),
            rule("joined", "/j/{x}", "j-{x}"),
            rule("hex", "/h/{x}", "hex/{x|hex}"),
            CoapRule { encode: true, ..rule("enc", "/e/{x}", "enc/{x}") },
            CoapRule {
                methods: Some(vec![(CoapMethod::Put, Action::Publish)]),
                ..rule("write-only", "/w/{x}", "w/{x}")
            },
        ],
        ..Rules::default()
    });
    let back = |topic: &str| {
        let path = table.coap_path(&CALLER, &TopicName::new(topic).unwrap()).unwrap();
        path.join(" ")
    };
    assert_eq!(back("site/hall/temp"), "s hall temp");
    assert_eq!(back("site/hall/co2"), "mqtt site hall co2", "not a kind: the preset has it");
    let shadowed = table.coap_path(&CALLER, &TopicName::new("z/1").unwrap());
    assert_eq!(shadowed, None, "its path in the preset means another topic");
    assert_eq!(back("other/1"), "mqtt z 1");
    assert_eq!(back("dev/node-7/z"), "me p-z");
    assert_eq!(back("dev/node-8/z"), "mqtt dev node-8 z", "another client's");
    assert_eq!(back("low/x"), "mqtt low x", "not reversible");
    assert_eq!(back("j-x"), "mqtt j-x");
    assert_eq!(back("hex/6162"), "h ab");
    assert_eq!(back("enc/a%2Fb"), "e a/b");
    assert_eq!(back("w/x"), "mqtt w x");
    let encoded = table.coap(&CALLER, None, CoapMethod::Put, &strings(["e", "a/+%"]), &[]).unwrap();
    assert_eq!(encoded.topic.as_str(), "enc/a%2F%2B%25");
}

#[test]
fn every_mistake_is_reported_with_its_place() {
    let errors = Table::new(Rules {
        coap: vec![
            CoapRule { path: "/a{x}".into(), ..rule("one", "", "t") },
            rule("two", "/b/{x}", "t/{y}"),
            rule("two", "/c", "t/#"),
            CoapRule {
                methods: Some(vec![(CoapMethod::Get, Action::Publish)]),
                query: vec![("k".into(), "user_property.".into())],
                client: Some(String::new()),
                ..rule("three", "/d", "t")
            },
            CoapRule { methods: Some(vec![]), ..rule("four", "/e", "t") },
            // A forgotten dot: nothing reads it, so the value would be lost.
            CoapRule {
                query: vec![("u".into(), "user_propertyunit".into())],
                ..rule("five", "/f", "t")
            },
        ],
        ..Rules::default()
    })
    .unwrap_err();
    let places: Vec<String> = errors.iter().map(|e| e.place.to_string()).collect();
    assert_eq!(
        places,
        [
            "mappings.coap[2].name",
            "mappings.coap[0].path",
            "mappings.coap[1].topic",
            "mappings.coap[2].topic",
            "mappings.coap[3].methods.GET",
            "mappings.coap[3].query.k",
            "mappings.coap[3].client",
            "mappings.coap[4].methods",
            "mappings.coap[5].query.u",
        ]
    );
    assert!(matches!(errors[3].kind, RuleErrorKind::WildcardTopic));
}

/// The preset `core-pubsub`: `/ps` and `/ps/{id}` describe topics and are no topic's value; a rule of
/// the file goes before them, and they go before a preset of all paths.
#[test]
fn paths_that_describe_topics() {
    let with = |presets: &[Preset], prefix: &str, coap| {
        let prefix = prefix.to_owned();
        table(Rules { presets: presets.to_vec(), prefix, coap, ..Rules::default() })
    };
    let path = |url: &str| strings(url.split('/'));
    let managed = |table: &Table, url: &str| table.managed(&CALLER, None, &path(url));
    let put = |table: &Table, url: &str| {
        let found = table.coap(&CALLER, None, CoapMethod::Put, &path(url), &[]);
        found.map(|found| found.topic.as_str().to_owned()).map_err(|error| error.reason)
    };
    let alone = with(&[Preset::CorePubsub], "mqtt", Vec::new());
    assert_eq!(managed(&alone, "ps"), Some(Managed::Collection));
    assert_eq!(managed(&alone, "ps/h9392"), Some(Managed::Topic));
    assert_eq!(managed(&alone, "ps/data/a"), None);
    assert_eq!(managed(&alone, "ps/"), None, "an empty segment is no id");
    assert_eq!(put(&alone, "ps/data/a"), Ok("a".into()));
    assert_eq!(put(&alone, "ps/a"), Err(Reason::NoRule));
    assert!(alone.manages_topics());
    assert!(!with(&[Preset::EmqxPs], "mqtt", Vec::new()).manages_topics());

    let explained = alone.explain_coap(&CALLER, None, CoapMethod::Get, &path("ps/h9392"), &[]);
    let taken = explained.rule.expect("it is the preset's");
    assert_eq!((taken.name.as_str(), taken.place), ("core-pubsub", None));
    assert_eq!(explained.captures, [("id".to_owned(), "h9392".to_owned())]);
    assert!(explained.near.is_empty() && explained.outcome.is_err());
    assert_eq!(alone.rules().len(), 1, "one preset is one rule for people");

    let wide = with(&[Preset::CorePubsub, Preset::Passthrough], "", Vec::new());
    assert_eq!(managed(&wide, "ps/a"), Some(Managed::Topic));
    assert_eq!(put(&wide, "other/a"), Ok("other/a".into()));

    let mine = with(&[Preset::CorePubsub], "mqtt", vec![rule("mine", "/ps/{x}", "mine/{x}")]);
    assert_eq!(managed(&mine, "ps/a"), None);
    assert_eq!(put(&mine, "ps/a"), Ok("mine/a".into()));
}

/// Where EMQX's clients connect: narrower than passthrough, which may have the same prefix; a rule of the
/// file goes before.
#[test]
fn the_connection_of_emqx_is_nobodys_value() {
    let path: Vec<String> = ["mqtt", "connection"].map(str::to_owned).to_vec();
    let with = |presets: &[Preset], coap: Vec<CoapRule>| {
        Table::new(Rules { presets: presets.to_vec(), coap, ..Rules::default() }).unwrap()
    };
    let both = with(&[Preset::Passthrough, Preset::EmqxPs], Vec::new());
    assert_eq!(both.managed(&CALLER, None, &path), Some(Managed::Connection));
    assert!(both.is_connection(&path) && both.has_connections() && !both.manages_topics());
    let ask = |table: &Table, method| table.coap(&CALLER, None, method, &path, &[]);
    assert_eq!(ask(&both, CoapMethod::Put).unwrap_err().reason, Reason::NoRule);
    let explained = both.explain_coap(&CALLER, None, CoapMethod::Post, &path, &[]);
    assert_eq!(explained.rule.unwrap().name, "emqx-ps");
    let mine = with(&[Preset::EmqxPs], vec![rule("mine", "/mqtt/{x}", "mine/{x}")]);
    assert_eq!(mine.managed(&CALLER, None, &path), None);
    assert_eq!(ask(&mine, CoapMethod::Post).unwrap().topic.as_str(), "mine/connection");
    let shadowed = mine.explain_coap(&CALLER, None, CoapMethod::Post, &path, &[]);
    let near: Vec<_> = shadowed.near.iter().map(|n| (&*n.rule.name, &*n.why)).collect();
    assert_eq!(near, [("emqx-ps", "matches, but a preset gives way to every rule")]);
    let alone = with(&[Preset::Passthrough], Vec::new());
    assert!(!alone.is_connection(&path));
}
