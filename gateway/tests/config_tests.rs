//! `motegate test`, `check` with tests, and `explain`: success, failures, help.

mod common;

use std::path::{Path, PathBuf};

use common::client::{Said, said};
use common::motegate;
use serde_json::Value;

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data")
}

/// Runs a command line (arguments that hold spaces in single quotes) beside the data files.
fn at_data(line: &str) -> Said {
    let words = line.split('\'').enumerate().flat_map(|(i, part)| match i % 2 {
        0 => part.split_whitespace().map(str::to_owned).collect::<Vec<_>>(),
        _ => vec![part.to_owned()],
    });
    let words: Vec<String> = words.collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let output = motegate(&words).current_dir(data()).output().expect("the program runs");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    Said { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

#[test]
fn every_kind_of_stimulus_and_expectation_passes() {
    let text = at_data("test -c tests.yaml").good();
    assert_eq!(text.lines().filter(|line| line.starts_with("ok      ")).count(), 15, "{text}");
    assert!(text.ends_with("\n15 tests passed.\n"), "{text}");
    let one = at_data("test SHORT -c tests.yaml").good();
    assert_eq!(one, "ok      short\n1 test passed.\n");
    assert_eq!(at_data("check tests.yaml").good(), "config ok: 4 rules, 15 tests passed.\n");
    assert_eq!(at_data("check tests.yaml --no-tests").good(), "config ok: 4 rules, 3 listeners\n");
}

#[test]
fn a_failure_says_what_was_expected_and_what_came() {
    let files = "-c tests.yaml -c failing.yaml";
    let said = at_data(&format!("test 'this one' {files}"));
    assert_eq!(said.code, Some(7), "{}", said.err);
    insta::assert_snapshot!("failures", said.out);
    let said = at_data(&format!("check {files}"));
    said.bad(7, &["FAILED  this one fails  (failing.yaml:2)", "2 of 17 tests failed"]);
    at_data(&format!("check {files} --no-tests")).good();
    let json = at_data(&format!("test 'this one' {files} -o json"));
    assert_eq!(json.code, Some(7));
    let json: Value = serde_json::from_str(&json.out).expect("JSON");
    assert_eq!((&json["passed"], &json["failed"]), (&0.into(), &2.into()));
    let failure = &json["tests"][0]["failures"][0];
    assert_eq!((&failure["what"], &failure["came"]), (&"code".into(), &"2.01".into()));
}

/// The example of the mapping language's reference.
#[test]
fn the_reference_passes_its_own_tests() {
    let said = said("test -c ../config/examples/plant.yaml");
    let failed: Vec<&str> =
        said.out.lines().filter_map(|line| line.strip_prefix("FAILED  ")).collect();
    let passed = said.out.lines().filter(|line| line.starts_with("ok      ")).count();
    assert_eq!(passed + failed.len(), 9, "{}", said.out);
    assert_eq!(passed, 9, "{}", said.out);
    assert_eq!(said.code, Some(0));
}

#[test]
fn coverage_lists_rules_that_no_test_hits() {
    let text = at_data("test -c tests.yaml --coverage").good();
    let (_, coverage) = text.split_once("\n\n").expect("the rules are behind the tests");
    insta::assert_snapshot!("coverage", coverage);
    let json = at_data("test short -c tests.yaml --coverage -o json").good();
    let json: Value = serde_json::from_str(&json).expect("JSON");
    let rules = json["coverage"]["rules"].as_array().expect("a list");
    let hit = rules.iter().filter(|rule| rule["hits"] != 0);
    assert_eq!(hit.map(|rule| &rule["rule"]).collect::<Vec<_>>(), ["short tt"]);
}

#[test]
fn what_cannot_be_run_is_told() {
    at_data("test nothing-like-it -c tests.yaml").bad(2, &["no test has", "  short"]);
    at_data("test -c no-such.yaml").bad(3, &["E0101", "no-such.yaml"]);
    said("test --frob").bad(2, &["--frob"]);
}

/// What `explain` prints, by the words behind it.
#[test]
fn cards() {
    for (name, line) in [
        ("put", "PUT coap://localhost/s/kitchen/temp?u=Cel --client node-7 --json '{\"v\": 21.5}'"),
        ("no-payload", "PUT /s/kitchen/temp --client node-7"),
        ("empty-payload", "PUT /s/kitchen/temp --client node-7 --text ''"),
        ("method", "PUT /s/kitchen/smell --client node-7"),
        ("no-rule", "GET /s/kitchen"),
        ("hidden-slash", "PUT /s/a%2Fb/temp --text x"),
        ("unknown-query", "GET /s/kitchen/temp?z=1"),
        ("observe", "OBSERVE /cmd?client=node-7"),
        ("preset", "POST /mqtt/a/b --non --hex 00ff"),
        ("topic", "topic plant/a/site/hall/co2"),
        ("topic-of-client", "topic plant/a/dev/env-3/env --client env-3"),
        ("topic-outside", "topic elsewhere"),
        ("sn-id", "sn --client env-3 --id 10 --hex 08662da5"),
        ("sn-id-of-others", "sn --client other --id 10"),
        ("sn-name", "sn --client env-3 --topic d/temp"),
        ("sn-plain-name", "sn --client env-3 --topic q/r"),
        ("sn-short", "sn --client env-3 --short tt"),
    ] {
        let card = at_data(&format!("explain {line} -c tests.yaml")).good();
        insta::assert_snapshot!(name, card, line);
    }
}

/// Payloads are turned into what the broker has, or refused, by a gateway that is made for it.
#[test]
fn cards_of_payloads() {
    for (name, line) in [
        ("cbor", "PUT /s/kitchen/temp --client node-7 -t cbor --hex a1617602"),
        ("bad-payload", "PUT /s/kitchen/temp --client node-7 -t cbor --hex a1"),
        ("bad-format", "POST /rd/0a1f/senml --json '[]'"),
        ("no-payload-of-a-pack", "POST /rd/0a1f/senml"),
        ("no-payload-of-a-bad-format", "POST /rd/0a1f/senml -t text"),
        (
            "senml",
            "POST /rd/0a1f/senml -t senml+json --json '[{\"n\": \"t\", \"v\": 20.5}, {\"n\": \"h\", \"v\": 41}]'",
        ),
        ("frame", "sn --client env-3 --id 10 --hex 08662da5"),
        ("bad-frame", "sn --client env-3 --id 10 --hex 0866"),
    ] {
        let card =
            at_data(&format!("explain {line} -c ../../../config/examples/plant.yaml")).good();
        insta::assert_snapshot!(name, card.replace("../../../config/examples/", ""), line);
    }
}

/// Nobody is let in: the gateway says 4.01 before it looks at the rules.
#[test]
fn a_closed_listener_refuses_whatever_its_rules_say() {
    for line in ["PUT /mqtt/a --text 1", "GET /none"] {
        let card = at_data(&format!("explain {line} -c closed.yaml")).good();
        for words in
            ["refused   auth_missing: c takes no anonymous clients", "fix       `anonymous: true`"]
        {
            assert!(card.contains(words), "{words} is not in\n{card}");
        }
        assert!(card.ends_with("answer    4.01 Unauthorized\n"), "{card}");
        assert_eq!(card.contains("then      no_rule"), line.contains("/none"), "{card}");
    }
    let card = at_data("explain PUT /mqtt/a --text 1 -c closed.yaml -o json").good();
    let card: Value = serde_json::from_str(&card).expect("JSON");
    assert_eq!(
        (&card["refused"]["reason"], &card["answer"]),
        (&"auth_missing".into(), &"4.01".into())
    );
    // A test is about the rules, and not about who may connect.
    at_data("test -c closed.yaml").good();
}

#[test]
fn a_card_as_json() {
    let line = "explain PUT /s/kitchen/temp?u=Cel --client node-7 --text x -c tests.yaml -o json";
    let card: Value = serde_json::from_str(&at_data(line).good()).expect("JSON");
    assert_eq!(card["rule"]["name"], "sensor-state");
    assert_eq!(card["rule"]["at"], "tests.yaml:9");
    assert_eq!(card["captures"], serde_json::json!([["room", "kitchen"], ["kind", "temp"]]));
    assert_eq!(card["result"]["topic"], "plant/a/site/kitchen/temp");
    assert_eq!((&card["answer"], &card["refused"]), (&"2.01".into(), &Value::Null));
    assert_eq!(
        (&card["answer_if_held"], &card["payload_assumed"]),
        (&"2.04".into(), &false.into())
    );
    let line = "explain topic plant/a/site/hall/co2 -c tests.yaml -o json";
    let card: Value = serde_json::from_str(&at_data(line).good()).expect("JSON");
    assert_eq!(card["coap"][0]["path"], "/s/hall/co2");
}

/// Where EMQX's clients connect: answered, though it is no topic.
#[test]
fn explain_knows_the_connections_of_emqx() {
    let file = "-c ../../../config/examples/emqx-ps.yaml";
    let text = at_data(&format!("explain POST /mqtt/connection?clientid=1 {file}")).good();
    assert!(text.contains("emqx-ps") && text.contains("answer    2.01 Created\n"), "{text}");
    let text = at_data(&format!("explain POST /mqtt/connection {file}"));
    assert!(text.out.contains("4.00"), "{text:?}");
    let set = "'listeners=[{name: edge, protocol: coap, connection_required: true}]'";
    for (asked, holds) in
        [("PUT /ps/a", false), ("GET /ps/a?clientid=1", false), ("PUT /ps/a?c=1&t=2", true)]
    {
        let text = at_data(&format!("explain {asked} {file} --set {set}"));
        if holds {
            assert!(text.out.contains("2.04 Changed"), "a token is believed: {text:?}");
            continue;
        }
        assert!(text.out.contains("in connection mode"), "{text:?}");
        assert!(text.out.contains("connect first: POST /mqtt/connection?clientid="), "{text:?}");
        assert!(!text.out.contains("anonymous: true"), "{text:?}");
    }
}

#[test]
fn explain_refuses_what_it_cannot_read() {
    for (line, word) in [
        ("explain", "METHOD"),
        ("explain FROB /a", "GET, OBSERVE"),
        ("explain PUT coap://localhost:9999/a -c tests.yaml", "has port 9999; there is 5683"),
        ("explain PUT http://x/a", "no protocol of ours"),
        ("explain PUT mqtt://localhost/a", "coap:// URL"),
        ("explain PUT mqttsn://localhost/a", "explain sn"),
        ("explain PUT /a%zz -c tests.yaml", "%zz"),
        ("explain PUT /a --json {a -c tests.yaml", "--json"),
        ("explain PUT /a --hex 0 -c tests.yaml", "--hex"),
        ("explain PUT /a --text a --hex 00 -c tests.yaml", "cannot be used with"),
        ("explain PUT /a --listener lan -c tests.yaml", "there is edge"),
        ("explain topic a/# -c tests.yaml", "a/#"),
        ("explain sn --client x", "--id"),
        ("explain sn --client x --short abc", "two bytes"),
    ] {
        at_data(line).bad(2, &[word]);
    }
    at_data("explain GET /a -c no-such.yaml").bad(3, &["E0101"]);
}

#[test]
fn help_fits_80_columns_and_has_examples() {
    for line in ["test --help", "explain --help", "explain topic --help", "explain sn --help"] {
        let text = said(line).good();
        assert!(text.contains("Examples:\n  motegate "), "{text}");
        for line in text.lines() {
            assert!(line.chars().count() <= 80, "{line}");
        }
    }
}
