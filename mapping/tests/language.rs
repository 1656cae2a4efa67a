//! The language, paragraph by paragraph: a test `pNN_…` is about §2.NN of the reference's chapter on
//! mappings. The other paragraphs are about the configuration (1, 13, 17, 18) and the gateway (8, 16
//! in part) and have theirs there.
#![allow(clippy::unwrap_used)]

mod common;

use common::{CALLER, caller_at, codecs, rule, strings, table};
use motegate_mapping::{
    Action, Caller, CoapMatch, CoapMethod, CoapRule, Codec, CodecForm, Defaults, Format,
    FrameField, Link, OnBadPayload, PayloadRule, Preset, RuleErrorKind, Rules, Table,
};
use motegate_message::{Qos, Reason, TopicName};

fn coap(coap: Vec<CoapRule>) -> Rules {
    Rules { coap, ..Rules::default() }
}

fn ask(table: &Table, method: CoapMethod, url: &str) -> Result<CoapMatch, Reason> {
    ask_as(table, &CALLER, method, url)
}

/// `url` is split here at `/`, `?` and `&`; the segments are the wire's.
fn ask_as(
    table: &Table,
    caller: &Caller<'_>,
    method: CoapMethod,
    url: &str,
) -> Result<CoapMatch, Reason> {
    let (path, query) = url.split_once('?').unwrap_or((url, ""));
    let path = strings(path.strip_prefix('/').unwrap().split('/'));
    let query = strings(query.split('&').filter(|item| !item.is_empty()));
    table.coap(caller, None, method, &path, &query).map_err(|error| error.reason)
}

fn put(table: &Table, url: &str) -> Result<String, Reason> {
    ask(table, CoapMethod::Put, url).map(|found| found.topic.as_str().to_owned())
}

fn to(topic: &str) -> Result<String, Reason> {
    Ok(topic.to_owned())
}

/// Place and kind of every mistake.
fn mistakes(rules: Rules) -> Vec<(String, RuleErrorKind)> {
    let errors = Table::new(rules).err().unwrap_or_default();
    errors.into_iter().map(|error| (error.place.to_string(), error.kind)).collect()
}

fn mistake(rule: CoapRule) -> (String, RuleErrorKind) {
    let mut all = mistakes(coap(vec![rule]));
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0)
}

fn methods(list: &[(CoapMethod, Action)]) -> Option<Vec<(CoapMethod, Action)>> {
    Some(list.to_vec())
}

fn formats(device: &[&str], broker: &str) -> Option<PayloadRule> {
    let device = strings(device.iter().copied());
    Some(PayloadRule { device, broker: broker.into(), split: false })
}

fn split(device: &[&str]) -> Option<PayloadRule> {
    formats(device, "json").map(|payload| PayloadRule { split: true, ..payload })
}

const POST: (CoapMethod, Action) = (CoapMethod::Post, Action::Publish);
const OBSERVE: (CoapMethod, Action) = (CoapMethod::Observe, Action::Subscribe);

#[test]
fn p02_only_what_is_typed_is_decoded_once_after_splitting() {
    let table = table(coap(vec![rule("typed", "/a%2Fb/%7Bx%7D/{{y}}/{z}", "t/{z}")]));
    let path = |last: &str| strings(["a/b", "{x}", "{y}", last]);
    let asked = |path: &[String]| table.coap(&CALLER, None, CoapMethod::Put, path, &[]);
    // On the wire nothing is decoded again, and nothing is joined and split again.
    assert_eq!(asked(&path("%2F")).unwrap().topic.as_str(), "t/%2F");
    let typed = strings(["a%2Fb", "{x}", "{y}", "z"]);
    assert_eq!(asked(&typed).unwrap_err().reason, Reason::NoRule);
    let levels = strings(["a", "b", "{x}", "{y}", "z"]);
    assert_eq!(asked(&levels).unwrap_err().reason, Reason::NoRule);
    assert_eq!(asked(&path("c/d")).unwrap_err().reason, Reason::BadTopic);
}

#[test]
fn p02_forms_of_segments_case_and_trailing_slashes() {
    let table = table(coap(vec![
        rule("one", "/one/{x}", "one/{x}"),
        rule("some", "/some/{x:a|b}", "some/{x}"),
        rule("like", "/like/{x:~[0-9a-f]{4}}", "like/{x}"),
        rule("rest", "/rest/{x...}", "rest/{x}"),
        rule("slash", "/slash/", "slash"),
    ]));
    assert_eq!(put(&table, "/one/x"), to("one/x"));
    assert_eq!(put(&table, "/one/"), Err(Reason::BadTopic), "one non-empty segment");
    assert_eq!(put(&table, "/ONE/x"), Err(Reason::NoRule), "case matters");
    assert_eq!(put(&table, "/one/x/"), Err(Reason::NoRule), "a trailing slash counts");
    assert_eq!(put(&table, "/some/b"), to("some/b"));
    assert_eq!(put(&table, "/some/c"), Err(Reason::NoRule));
    assert_eq!(put(&table, "/like/0a1f"), to("like/0a1f"));
    assert_eq!(put(&table, "/like/x0a1f"), Err(Reason::NoRule), "anchored");
    assert_eq!(put(&table, "/rest/a//b"), to("rest/a//b"));
    assert_eq!(put(&table, "/rest"), Err(Reason::NoRule), "one or more");
    assert_eq!(put(&table, "/slash/"), to("slash"));
    assert_eq!(put(&table, "/slash"), Err(Reason::NoRule));
}

#[test]
fn p02_uri_host_matters_to_rules_that_say_so() {
    let named =
        |host: &str| CoapRule { host: Some(host.into()), ..rule("named", "/a/{x}", "n/{x}") };
    let table = table(coap(vec![rule("any", "/a/{x}", "any/{x}"), named("Gw.Example")]));
    let at = |host: Option<&str>| {
        let path = strings(["a", "1"]);
        let found = table.coap(&CALLER, host, CoapMethod::Put, &path, &[]).unwrap();
        found.topic.as_str().to_owned()
    };
    assert_eq!(at(Some("gw.EXAMPLE")), "n/1", "whatever its case; narrower than the rule for any");
    assert_eq!(at(Some("other.example")), "any/1");
    assert_eq!(at(None), "any/1");
    for bad in ["", "a/b", "host:5683", "a b"] {
        let (place, kind) = mistake(named(bad));
        assert_eq!(place, "mappings.coap[0].host", "{bad:?}");
        assert!(matches!(kind, RuleErrorKind::BadHost { .. }));
    }
    let two = |a: &str, b: &str| {
        mistakes(coap(vec![named(a), CoapRule { name: "other".into(), ..named(b) }]))
    };
    assert!(two("a", "b").is_empty(), "two hosts never meet");
    let same = two("a", "A");
    let RuleErrorKind::Overlap { witness, .. } = &same[0].1 else { panic!("{same:?}") };
    assert_eq!(witness, "PUT /a/x at host a");
}

#[test]
fn p03_choice_of_the_rule() {
    let coap = vec![
        rule("wide", "/s/{x}/{y...}", "wide"),
        rule("narrow", "/s/{x}/{y}", "narrow"),
        CoapRule { listeners: strings(["edge"]), ..rule("here", "/l/{x}", "here") },
        rule("everywhere", "/l/{x}", "everywhere"),
        CoapRule { client: Some("node-*".into()), ..rule("nodes", "/c/{x}", "nodes") },
        rule("everybody", "/c/{x}", "everybody"),
        CoapRule { methods: methods(&[POST]), ..rule("post", "/p", "post") },
        CoapRule { priority: 10, ..rule("first", "/q/{x}/1", "first") },
        rule("second", "/q/2/{x}", "second"),
    ];
    let table = table(Rules { coap, ..Rules::default() });
    assert_eq!(put(&table, "/none"), Err(Reason::NoRule));
    assert_eq!(put(&table, "/p"), Err(Reason::MethodNotAllowed));
    assert_eq!(put(&table, "/s/a/b"), to("narrow"));
    assert_eq!(put(&table, "/s/a/b/c"), to("wide"));
    assert_eq!(put(&table, "/l/a"), to("here"), "narrower by listener");
    assert_eq!(put(&table, "/c/a"), to("nodes"), "narrower by client");
    assert_eq!(put(&table, "/q/2/1"), to("first"), "priority settles an overlap");
    let elsewhere = caller_at("other", "x", "");
    let asked = |url| ask_as(&table, &elsewhere, CoapMethod::Put, url).unwrap();
    assert_eq!(asked("/l/a").topic.as_str(), "everywhere");
    assert_eq!(asked("/c/a").topic.as_str(), "everybody");
}

#[test]
fn p03_presets() {
    let with = |presets: &[Preset]| Rules { presets: presets.to_vec(), ..Rules::default() };
    let of = |preset| table(with(&[preset]));
    let pubsub = of(Preset::CorePubsub);
    let found = ask(&pubsub, CoapMethod::Put, "/ps/data/a/b").unwrap();
    assert_eq!((found.topic.as_str(), found.retain, &*found.rule), ("a/b", true, "core-pubsub"));
    assert!(!found.content_when_empty, "the draft: no value, 4.04");
    let post = ask(&pubsub, CoapMethod::Post, "/ps/data/a");
    assert_eq!(post.unwrap_err(), Reason::MethodNotAllowed, "the draft has PUT");
    assert_eq!(put(&pubsub, "/ps/a"), Err(Reason::NoRule), "no topic's value");
    assert_eq!(put(&pubsub, "/mqtt/a"), Err(Reason::NoRule), "a list replaces passthrough");

    let emqx = of(Preset::EmqxPs);
    let asked = |url| ask(&emqx, CoapMethod::Put, url);
    let plain = asked("/ps/a/b?clientid=c&username=u&password=p&token=t").unwrap();
    assert_eq!((plain.topic.as_str(), plain.retain), ("a/b", false));
    let full = asked("/ps/a?qos=1&retain=true&expiry=60").unwrap();
    assert_eq!((full.qos, full.retain), (Some(Qos::AtLeastOnce), true));
    let short = asked("/ps/a?c=n&u=me&p=word&t=1&q=2&r=true&nl=1").unwrap();
    assert_eq!((short.qos, short.retain), (Some(Qos::ExactlyOnce), true), "EMQX's short names");
    assert_eq!(asked("/ps/a?q=3").unwrap_err(), Reason::BadOption);
    assert!(!asked("/ps/a?retain=1").unwrap().retain, "as EMQX reads it");
    assert_eq!(asked("/ps/a/+").unwrap_err(), Reason::BadTopic, "one topic is published to");
    let observed = |url| ask(&emqx, CoapMethod::Observe, url).unwrap();
    let wild = observed("/ps/a%2F%2B?rh=2&nl=1");
    assert_eq!(wild.topic.as_str(), "a/+", "decoded once more");
    assert!(wild.emqx.is_some_and(|emqx| emqx.skips_retained && emqx.no_local));
    assert_eq!(ask(&emqx, CoapMethod::Observe, "/ps/a").unwrap().action, Action::Subscribe);

    let ponte = of(Preset::PonteR);
    assert!(ask(&ponte, CoapMethod::Post, "/r/a/b").unwrap().retain);
    let roots = table(with(&[Preset::CorePubsub, Preset::PonteR, Preset::Passthrough]));
    assert_eq!(roots.roots().collect::<Vec<_>>(), ["ps", "r", "mqtt"]);

    // Presets are of lowest priority, and two that claim one path are a conflict.
    let mine = vec![rule("mine", "/{a}/data/{b...}", "mine/{a}/{b}")];
    let table = table(Rules { coap: mine, ..with(&[Preset::CorePubsub]) });
    assert_eq!(put(&table, "/ps/data/x"), to("mine/ps/x"));
    let [(place, kind)] = &mistakes(with(&[Preset::CorePubsub, Preset::EmqxPs]))[..] else {
        panic!("one conflict")
    };
    let RuleErrorKind::Overlap { rule, other, other_place, witness } = kind else { panic!() };
    assert_eq!((place.as_str(), rule.as_str()), ("mappings.presets[1]", "emqx-ps"));
    assert_eq!((other.as_str(), witness.as_str()), ("core-pubsub", "PUT /ps/x"));
    assert_eq!(other_place.as_ref().unwrap().to_string(), "mappings.presets[0]");
    let prefix = Rules { prefix: "r".into(), ..with(&[Preset::PonteR, Preset::Passthrough]) };
    assert_eq!(mistakes(prefix).len(), 1, "coap.prefix can claim a preset's path too");
}

#[test]
fn p04_templates() {
    let query = |key: &str, target: &str| vec![(key.to_owned(), target.to_owned())];
    let table = table(coap(vec![
        rule("builtins", "/b", "{client}/{tenant}/{listener}/{gateway}/{source_ip}"),
        rule("identity", "/i", "{identity}"),
        rule("query", "/q", "q/{query.k}"),
        CoapRule { query: query("n", "node"), ..rule("capture", "/n", "n/{node}") },
        rule("filters", "/f/{x}", "{x|trim:p-}/{x|hex}/{x|lower}"),
    ]));
    assert_eq!(put(&table, "/b"), to("node-7/a/edge/gw/10.0.0.7"));
    assert_eq!(put(&table, "/i"), Err(Reason::AuthMissing));
    let known = Caller { identity: Some("ada"), ..CALLER };
    let found = ask_as(&table, &known, CoapMethod::Put, "/i").unwrap();
    assert_eq!(found.topic.as_str(), "ada");
    assert_eq!(put(&table, "/q?k=v"), to("q/v"));
    assert_eq!(put(&table, "/q"), Err(Reason::BadOption));
    assert_eq!(put(&table, "/n?n=1"), to("n/1"));
    assert_eq!(put(&table, "/f/p-A"), to("A/702d41/p-a"));
    assert_eq!(put(&table, "/f/A"), Err(Reason::BadTopic), "the prefix to trim is required");
}

#[test]
fn p05_captured_text_cannot_leave_its_level() {
    let table = table(coap(vec![
        rule("one", "/o/{x}", "{x}"),
        rule("rest", "/r/{x...}", "{x}"),
        CoapRule { encode: true, ..rule("encoded", "/e/{x}", "e/{x}") },
        CoapRule { encode: true, ..rule("cut", "/t/{x...}", "t/{x|trim:a}") },
        rule("who", "/w", "w/{client}"),
        rule("dollar", "/d/{x}", "{x|trim:.}"),
    ]));
    let path = |first: &str, x: &str| strings([first, x]);
    let asked = |method, first: &str, x: &str| {
        let found = table.coap(&CALLER, None, method, &path(first, x), &[]);
        found.map(|found| found.topic.as_str().to_owned()).map_err(|error| error.reason)
    };
    for bad in ["+", "#", "\0", "", "a/b"] {
        assert_eq!(asked(CoapMethod::Get, "o", bad), Err(Reason::BadTopic), "{bad:?}");
    }
    for method in [CoapMethod::Put, CoapMethod::Post, CoapMethod::Delete] {
        assert_eq!(asked(method, "o", "$SYS"), Err(Reason::BadTopic));
        assert_eq!(asked(method, "d", ".$SYS"), Err(Reason::BadTopic), "whatever a filter makes");
    }
    assert_eq!(asked(CoapMethod::Get, "o", "$SYS"), to("$SYS"), "reading follows the ACL");
    assert_eq!(put(&table, "/r/a//"), to("a//"));
    assert_eq!(asked(CoapMethod::Put, "e", "a/+%"), to("e/a%2F%2B%25"));
    let hidden = table.coap(&CALLER, None, CoapMethod::Put, &strings(["t", "ab/c", "d"]), &[]);
    assert_eq!(hidden.unwrap().topic.as_str(), "t/b%2Fc/d", "a filter sees what is encoded");
    // Also below a mount: the topic begins behind it.
    let all = self::table(coap(vec![CoapRule { encode: true, ..rule("all", "/a/{x}", "{x}") }]));
    for (mount, topic) in [("", "%24x"), ("p/", "p/%24x")] {
        let caller = caller_at("edge", "c", mount);
        let found = ask_as(&all, &caller, CoapMethod::Put, "/a/$x");
        assert_eq!(found.unwrap().topic.as_str(), topic);
    }
    let evil = caller_at("edge", "a/b", "");
    let refused = ask_as(&table, &evil, CoapMethod::Put, "/w").unwrap_err();
    assert_eq!(refused, Reason::BadTopic);
}

#[test]
fn p06_the_final_topic_is_mount_and_topic() {
    let table = table(coap(vec![
        rule("in", "/a/{x}", "t/{x}"),
        CoapRule { absolute: true, ..rule("out", "/b/{x}", "t/{x}") },
    ]));
    let caller = caller_at("edge", "c", "plant/a/");
    let asked = |url| ask_as(&table, &caller, CoapMethod::Put, url).unwrap();
    assert_eq!(asked("/a/1").topic.as_str(), "plant/a/t/1");
    assert_eq!(asked("/b/1").topic.as_str(), "t/1");
    let names = table.sn_names(&caller, &TopicName::new("plant/a/t/1").unwrap());
    assert_eq!(names.unwrap().name.as_str(), "t/1", "deliveries strip the mount");
}

#[test]
fn p07_what_methods_mean() {
    let table = Table::passthrough("mqtt");
    for (method, action) in [
        (CoapMethod::Put, Action::Publish),
        (CoapMethod::Post, Action::Publish),
        (CoapMethod::Get, Action::Read),
        (CoapMethod::Observe, Action::Subscribe),
        (CoapMethod::Delete, Action::Clear),
    ] {
        let found = ask(&table, method, "/mqtt/a").unwrap();
        assert_eq!(found.action, action);
        assert_eq!(found.retain, method != CoapMethod::Post || action != Action::Publish);
    }
    assert_eq!(ask(&table, CoapMethod::Other, "/mqtt/a"), Err(Reason::MethodNotAllowed));
}

#[test]
fn p07_a_topic_with_wildcards_is_observed_only() {
    let wild = |topic: &str| CoapRule {
        methods: methods(&[OBSERVE]),
        ..rule("wild", "/all/{room}", topic)
    };
    let table = table(coap(vec![wild("site/{room}/+/#")]));
    let found = ask(&table, CoapMethod::Observe, "/all/hall").unwrap();
    assert_eq!((found.topic.as_str(), found.action), ("site/hall/+/#", Action::Subscribe));
    assert_eq!(ask(&table, CoapMethod::Get, "/all/hall"), Err(Reason::MethodNotAllowed));
    let path = strings(["all", "+"]);
    let sneaked = table.coap(&CALLER, None, CoapMethod::Observe, &path, &[]).unwrap_err();
    assert_eq!(sneaked.reason, Reason::BadTopic, "the device adds no wildcard");

    let both = methods(&[OBSERVE, (CoapMethod::Get, Action::Read)]);
    let (place, kind) = mistake(CoapRule { methods: both, ..wild("a/+") });
    assert_eq!(place, "mappings.coap[0].methods.GET");
    assert_eq!(kind, RuleErrorKind::WildcardTopic);
    let (place, kind) = mistake(CoapRule { methods: None, ..wild("a/+") });
    assert_eq!((place.as_str(), kind), ("mappings.coap[0].topic", RuleErrorKind::WildcardTopic));
    for topic in ["a/b+", "#/a", "a/{room}+", "a/{room}#"] {
        assert_eq!(mistake(wild(topic)).1, RuleErrorKind::MisplacedWildcard, "{topic}");
    }
    let text = CoapRule { payload: formats(&["senml+cbor", "text"], "json"), ..wild("a/+") };
    let (place, kind) = mistake(text);
    assert_eq!(place, "mappings.coap[0].payload.device[1]");
    assert!(matches!(kind, RuleErrorKind::WildcardNeedsSenml { .. }));
}

#[test]
fn p08_qos_and_expiry_are_the_rules_or_the_defaults() {
    use std::time::Duration;
    let hour = Some(Duration::from_secs(3600));
    let day = Some(Duration::from_secs(86_400));
    let defaults = Defaults { expiry: hour, max_age: day, ..Defaults::default() };
    let coap = vec![
        rule("auto", "/a", "a"),
        CoapRule { max_age: hour, ..rule("fresh", "/c", "c") },
        CoapRule { qos: Some(Some(Qos::ExactlyOnce)), ..rule("two", "/b", "b") },
    ];
    let table = table(Rules { defaults, coap, ..Rules::default() });
    let asked = |url| ask(&table, CoapMethod::Put, url).unwrap();
    assert_eq!((asked("/a").qos, asked("/a").expiry), (None, hour), "auto: CON 1, NON 0");
    assert_eq!(asked("/b").qos, Some(Qos::ExactlyOnce));
    // Max-Age is what remains of the expiry, else this; a preset has the default's.
    let ages = ["/b", "/c", "/mqtt/x"].map(|url| asked(url).max_age);
    assert_eq!(ages, [day, hour, day]);
}

#[test]
fn p09_only_declared_query_keys_are_taken() {
    let queries = [("u", "user_property.unit"), ("q", "qos"), ("r", "retain"), ("e", "expiry")];
    let query: Vec<(String, String)> =
        queries.map(|(key, target)| (key.to_owned(), target.to_owned())).to_vec();
    let strict = CoapRule { query: query.clone(), ..rule("strict", "/a", "a") };
    let lenient = CoapRule { query_extra_ignored: true, query, ..rule("lenient", "/b", "b") };
    let table = table(coap(vec![strict, lenient]));
    let found = ask(&table, CoapMethod::Put, "/a?u=Cel&q=2&r=false&e=1h").unwrap();
    assert_eq!(found.user, [("unit".to_owned(), "Cel".to_owned())]);
    assert_eq!((found.qos, found.retain), (Some(Qos::ExactlyOnce), false));
    assert_eq!(found.expiry.unwrap().as_secs(), 3600);
    let other =
        table.coap(&CALLER, None, CoapMethod::Put, &strings(["a"]), &strings(["colour=red"]));
    let other = other.unwrap_err();
    assert_eq!((other.reason, other.text.contains("colour")), (Reason::BadOption, true));
    assert_eq!(put(&table, "/b?colour=red"), to("b"));
}

#[test]
fn p10_formats_of_the_two_sides() {
    let coap = vec![
        CoapRule { payload: formats(&["cbor", "json", "text"], "json"), ..rule("a", "/a", "a") },
        CoapRule {
            payload: formats(&["compact"], "cbor"),
            on_bad_payload: Some(OnBadPayload::Pass),
            ..rule("b", "/b", "b")
        },
        rule("c", "/c", "c"),
    ];
    let defaults = Defaults { on_bad_payload: OnBadPayload::DeadLetter, ..Defaults::default() };
    let table = table(Rules { coap, defaults, codecs: codecs(), ..Rules::default() });
    let payload = |url| ask(&table, CoapMethod::Put, url).unwrap().payload;
    let a = payload("/a").unwrap();
    assert_eq!(a.device, [Format::Cbor, Format::Json, Format::Text]);
    assert_eq!((&a.broker, a.split, a.on_bad), (&Format::Json, false, OnBadPayload::DeadLetter));
    assert_eq!(a.content_formats(), [60, 50, 0]);
    let b = payload("/b").unwrap();
    assert_eq!((b.device[0].name(), b.on_bad), ("compact", OnBadPayload::Pass));
    assert_eq!(payload("/c"), None, "without `payload` it goes through as it is");
    let conversion = ask(&table, CoapMethod::Put, "/b").unwrap().conversion.unwrap();
    let up = conversion.uplink(Some(60), &bytes::Bytes::from_static(b"\xa1\x00\x13"));
    let up = up.unwrap();
    let motegate_mapping::payload::Uplink::One(up) = up else { panic!("{up:?}") };
    assert_eq!(&up[..], b"\xa1\x64temp\x13", "{{0: 19}} has become {{temp: 19}}");
}

#[test]
fn p10_mistakes_in_formats() {
    let with = |payload| CoapRule { payload, ..rule("a", "/a", "a") };
    let (place, kind) = mistake(with(formats(&["json", "cbro"], "json")));
    assert_eq!(place, "mappings.coap[0].payload.device[1]");
    let RuleErrorKind::UnknownFormat { format, known } = kind else { panic!("{kind}") };
    assert!(format == "cbro" && known.contains(&"cbor".to_owned()));
    let (place, kind) = mistake(with(formats(&["json"], "env4")));
    assert_eq!(place, "mappings.coap[0].payload.broker");
    assert!(matches!(kind, RuleErrorKind::UnknownFormat { .. }), "no such codec here");
    let twice = mistake(with(formats(&["json", "json"], "json")));
    assert!(matches!(twice.1, RuleErrorKind::FormatTwice { .. }));
    assert_eq!(mistake(with(formats(&[], "json"))).1, RuleErrorKind::NoFormats);
    let on_bad = CoapRule { on_bad_payload: Some(OnBadPayload::Pass), ..rule("a", "/a", "a") };
    assert_eq!(mistake(on_bad).1, RuleErrorKind::NoPayload);
    let (place, kind) = mistake(with(formats(&["text", "raw"], "json")));
    assert_eq!(place, "mappings.coap[0].payload.device[1]", "bytes never become JSON");
    assert!(matches!(kind, RuleErrorKind::Conversion(_)), "{kind}");
    let field = FrameField { name: "a".into(), kind: "i16".into(), ..FrameField::default() };
    let frame = Codec { name: "f".into(), form: CodecForm::Frame(vec![field]) };
    let all = mistakes(Rules { codecs: vec![frame], ..Rules::default() });
    assert_eq!((all.len(), all[0].0.as_str()), (1, "codecs.f.frame[0]"));
    let named = Codec { name: "json".into(), form: CodecForm::CborKeys(vec![(0, "a".into())]) };
    let all = mistakes(Rules { codecs: vec![named], ..Rules::default() });
    assert_eq!(all, [("codecs.json".to_owned(), RuleErrorKind::BadCodecName)]);
}

#[test]
fn p10_a_pack_has_one_topic_per_record() {
    let pack = |topic: &str| CoapRule {
        methods: methods(&[POST]),
        payload: split(&["senml+cbor", "senml+json"]),
        ..rule("pack", "/rd/{node:~[0-9a-f]{4}}/senml", topic)
    };
    let of = |topic: &str, name: &str| {
        let table = table(coap(vec![pack(topic)]));
        let caller = caller_at("edge", "node-7", "plant/a/");
        let found = ask_as(&table, &caller, CoapMethod::Post, "/rd/0a1f/senml").unwrap();
        assert!(found.payload.is_some_and(|payload| payload.split));
        let records = found.records.unwrap();
        let topic = records.topic(name).map(|topic| topic.as_str().to_owned());
        (found.topic.as_str().to_owned(), topic.map_err(|error| error.reason))
    };
    let is = |filter: &str, topic: &str| (filter.to_owned(), to(topic));
    let bad = |filter: &str| (filter.to_owned(), Err(Reason::BadTopic));
    let (level, tail) = ("dev/{node}/{senml.n}", "dev/{node}/{senml.n...}");
    assert_eq!(of(level, "k-t"), is("plant/a/dev/0a1f/+", "plant/a/dev/0a1f/k-t"));
    assert_eq!(of("a/x{senml.n|trim:k-}y/b", "k-t"), is("plant/a/a/+/b", "plant/a/a/xty/b"));
    assert_eq!(of(tail, "k/t"), is("plant/a/dev/0a1f/#", "plant/a/dev/0a1f/k/t"));
    for name in ["k/t", "", "+", "a#"] {
        assert_eq!(of(level, name), bad("plant/a/dev/0a1f/+"), "{name:?}");
    }
    assert_eq!(of(tail, "k/#"), bad("plant/a/dev/0a1f/#"));
    assert_eq!(of("{senml.n}/x", "$SYS"), bad("plant/a/+/x"));
}

#[test]
fn p10_mistakes_in_packs() {
    let one = |payload, topic: &str| CoapRule {
        methods: methods(&[POST]),
        payload,
        ..rule("pack", "/rd", topic)
    };
    let (place, kind) = mistake(one(split(&["senml+cbor", "json"]), "a/{senml.n}"));
    assert_eq!(place, "mappings.coap[0].payload.device[1]");
    assert!(matches!(kind, RuleErrorKind::SplitNeedsSenml { .. }));
    let (place, kind) = mistake(one(formats(&["senml+json"], "json"), "a/{senml.n}"));
    assert_eq!(
        (place.as_str(), kind),
        ("mappings.coap[0].topic", RuleErrorKind::RecordWithoutSplit)
    );
    let packs = one(split(&["senml+json"]), "a/{senml.n}");
    let observed = methods(&[POST, OBSERVE]);
    let (place, kind) = mistake(CoapRule { methods: observed, ..packs.clone() });
    assert_eq!(place, "mappings.coap[0].methods.OBSERVE");
    assert_eq!(kind, RuleErrorKind::RecordTopic);
    assert_eq!(mistake(CoapRule { methods: None, ..packs }).1, RuleErrorKind::RecordTopic);
    assert!(mistakes(coap(vec![one(split(&["senml+json"]), "all/one")])).is_empty());
}

#[test]
fn p14_the_way_back() {
    let table = table(coap(vec![
        rule("state", "/s/{room}/{kind:temp|hum}", "site/{room}/{kind}"),
        rule("hall", "/hall", "site/hall/temp"),
        rule("twice", "/t/{x}", "t/{x}/{x}"),
        rule("lower", "/l/{x}", "low/{x|lower}"),
        rule("meter", "/m/{x}", "m/{x|trim:meter-}"),
        rule("rest", "/r/{a}/{x...}", "r/{a}/{x}"),
    ]));
    let back = |topic: &str| {
        let path = table.coap_path(&CALLER, &TopicName::new(topic).unwrap());
        path.map(|path| path.join("/")).unwrap_or_default()
    };
    assert_eq!(back("site/bath/hum"), "s/bath/hum");
    assert_eq!(back("site/hall/temp"), "hall", "two paths for one topic: the most specific");
    assert_eq!(back("m/7"), "m/meter-7", "trim goes back");
    assert_eq!(back("r/1/2/3"), "r/1/2/3");
    assert_eq!(back("t/1/1"), "mqtt/t/1/1", "a capture fills one level, once");
    assert_eq!(back("low/x"), "mqtt/low/x", "lower has no way back");
}

fn with_link(rule: CoapRule, pairs: &[(&str, &str)]) -> CoapRule {
    let link = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    CoapRule { link: link.collect(), ..rule }
}

#[test]
fn p14_a_link_needs_a_rule_that_is_reversible() {
    let rt = [("rt", "x")];
    for topic in ["t/{x}/{x}", "t/{x|lower}", "t-{x}", "t"] {
        let (place, kind) = mistake(with_link(rule("a", "/a/{x}", topic), &rt));
        assert_eq!(place, "mappings.coap[0].link", "{topic}");
        assert_eq!(kind, RuleErrorKind::NotReversible);
    }
    for (path, topic) in [("/a/{x}", "t/{x}"), ("/a/{x...}", "{x}"), ("/a", "dev/{client}/a")] {
        assert!(mistakes(coap(vec![with_link(rule("a", path, topic), &rt)])).is_empty(), "{path}");
    }
    for (name, value) in [("href", "x"), ("obs", "x"), ("r t", "x"), ("", "x")] {
        let (_, kind) = mistake(with_link(rule("a", "/a", "a"), &[(name, value)]));
        assert!(matches!(kind, RuleErrorKind::BadLinkAttribute { .. }), "{name:?}");
    }
    let (place, kind) = mistake(with_link(rule("a", "/a/{x}", "a/{x}"), &[("rt", "{y}")]));
    assert_eq!(place, "mappings.coap[0].link.rt");
    assert!(matches!(kind, RuleErrorKind::Template(_)));
}

#[test]
fn p15_links_of_rules_and_of_retained_topics() {
    let observe = methods(&[OBSERVE]);
    let coap = vec![
        with_link(
            CoapRule {
                payload: formats(&["compact", "json"], "json"),
                ..rule("state", "/s/{room}/{kind}", "site/{room}/{kind}")
            },
            &[("rt", "sensor.{kind}"), ("title", "{kind} + {room} # 1")],
        ),
        CoapRule { methods: observe.clone(), ..rule("command", "/cmd", "dev/{client}/cmd") },
        CoapRule { methods: observe, ..rule("all", "/all", "site/#") },
        rule("identity", "/mine", "dev/{identity}"),
        CoapRule { listeners: strings(["other"]), ..rule("elsewhere", "/other", "other") },
        CoapRule { host: Some("h".into()), ..rule("hosted", "/hosted", "hosted") },
        CoapRule { methods: methods(&[POST]), ..rule("write", "/write", "write") },
    ];
    let table = table(Rules { coap, codecs: codecs(), ..Rules::default() });
    let mut literal: Vec<Link> = table.links(&CALLER, None).collect();
    literal.sort_by(|a, b| a.path.cmp(&b.path));
    let paths: Vec<String> = literal.iter().map(|link| link.path.join("/")).collect();
    assert_eq!(paths, ["all", "cmd", "write"], "none that this client cannot have");
    let told = |i: usize| {
        let link: &Link = &literal[i];
        let topic = link.topic.as_ref().map(|topic| topic.as_str().to_owned()).unwrap();
        (topic, link.observable, link.content_formats.clone())
    };
    assert_eq!(told(0), ("site/#".to_owned(), true, vec![110, 112]), "packs");
    assert_eq!(told(1), ("dev/node-7/cmd".to_owned(), true, vec![]));
    assert!(!told(2).1, "takes no Observe");
    let hosted = table.links(&CALLER, Some("H")).any(|link| link.path == ["hosted"]);
    assert!(hosted);

    let of = |topic: &str| table.link(&CALLER, None, &TopicName::new(topic).unwrap()).unwrap();
    let link = of("site/hall/co2");
    assert_eq!((link.path.join("/").as_str(), &*link.rule), ("s/hall/co2", "state"));
    assert_eq!(link.attribute("rt"), Some("sensor.co2"));
    assert_eq!(link.attribute("title"), Some("co2 + hall # 1"), "a link is no topic");
    assert_eq!((link.content_formats, link.observable), (vec![60, 50], true));
    let plain = of("anything/else");
    assert_eq!((&*plain.rule, plain.attributes.len()), ("passthrough", 0));
}

#[test]
fn p16_what_an_empty_topic_answers_is_the_rules() {
    let four = CoapRule { not_found_when_empty: true, ..rule("four", "/four", "four") };
    let table = table(coap(vec![rule("two", "/two", "two"), four]));
    let content = |url| ask(&table, CoapMethod::Observe, url).unwrap().content_when_empty;
    assert!(content("/two") && content("/mqtt/x") && !content("/four"));
}
