//! The conformance lists, held by a test: every normative statement of MQTT, MQTT-SN and CoAP has one row in
//! `conformance/`, and a row names tests that exist and run.
//!
//! A row is `ID | status | the statement in our words`. A status is `tested: PATH::FUNCTION, …` (the
//! path from the repository's root), `covered by ID` (of a row that is tested),
//! `not applicable: WHY`, or `open`, which fails. What the tests assert is for a reader to judge:
//! the code of the answer, the close, and whether the will was sent.
//!
//! Left out: whether a named test really runs is left to the compiler (a file that no `mod` names
//! is not compiled), which lints for functions that nobody calls.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;

use motegate_tests::peer::repository;

/// Ids of a section: first and last number.
type Section = (&'static str, u16, u16);

/// MQTT 3.1.1 (OASIS, 29 October 2014). `3.8.3-4` is printed there as `MQTT-3-8.3-4`.
const MQTT_3_1_1: [Section; 39] = [
    ("1.5.3", 1, 3),
    ("2.2.2", 1, 2),
    ("2.3.1", 1, 7),
    ("3.1.0", 1, 2),
    ("3.1.2", 1, 24),
    ("3.1.3", 1, 11),
    ("3.1.4", 1, 5),
    ("3.2.0", 1, 1),
    ("3.2.2", 1, 6),
    ("3.3.1", 1, 12),
    ("3.3.2", 1, 3),
    ("3.3.4", 1, 1),
    ("3.3.5", 1, 2),
    ("3.6.1", 1, 1),
    ("3.8.1", 1, 1),
    ("3.8.3", 1, 4),
    ("3.8.4", 1, 6),
    ("3.9.3", 1, 2),
    ("3.10.1", 1, 1),
    ("3.10.3", 1, 2),
    ("3.10.4", 1, 6),
    ("3.12.4", 1, 1),
    ("3.14.1", 1, 1),
    ("3.14.4", 1, 3),
    ("4.1.0", 1, 2),
    ("4.3.1", 1, 1),
    ("4.3.2", 1, 2),
    ("4.3.3", 1, 2),
    ("4.4.0", 1, 1),
    ("4.5.0", 1, 2),
    ("4.6.0", 1, 6),
    ("4.7.1", 1, 3),
    ("4.7.2", 1, 1),
    ("4.7.3", 1, 4),
    ("4.8.0", 1, 2),
    ("6.0.0", 1, 4),
    ("7.0.0", 1, 2),
    ("7.1.1", 1, 1),
    ("7.1.2", 1, 1),
];

/// MQTT 5.0 (OASIS, 7 March 2019). There is no `2.2.1-1`; `4.2.0-1` is printed as `MQTT-4.2-1`.
const MQTT_5_0: [Section; 56] = [
    ("1.5.4", 1, 3),
    ("1.5.5", 1, 1),
    ("1.5.7", 1, 1),
    ("2.1.3", 1, 1),
    ("2.2.1", 2, 6),
    ("2.2.2", 1, 1),
    ("3.1.0", 1, 2),
    ("3.1.2", 1, 30),
    ("3.1.3", 1, 12),
    ("3.1.4", 1, 6),
    ("3.2.0", 1, 2),
    ("3.2.2", 1, 22),
    ("3.3.1", 1, 13),
    ("3.3.2", 1, 20),
    ("3.3.4", 1, 10),
    ("3.4.2", 1, 3),
    ("3.5.2", 1, 3),
    ("3.6.1", 1, 1),
    ("3.6.2", 1, 3),
    ("3.7.2", 1, 3),
    ("3.8.1", 1, 1),
    ("3.8.3", 1, 5),
    ("3.8.4", 1, 8),
    ("3.9.2", 1, 2),
    ("3.9.3", 1, 2),
    ("3.10.1", 1, 1),
    ("3.10.3", 1, 2),
    ("3.10.4", 1, 6),
    ("3.11.2", 1, 2),
    ("3.11.3", 1, 2),
    ("3.12.4", 1, 1),
    ("3.14.0", 1, 1),
    ("3.14.1", 1, 1),
    ("3.14.2", 1, 4),
    ("3.14.4", 1, 3),
    ("3.15.1", 1, 1),
    ("3.15.2", 1, 3),
    ("4.1.0", 1, 2),
    ("4.2.0", 1, 1),
    ("4.3.1", 1, 1),
    ("4.3.2", 1, 5),
    ("4.3.3", 1, 13),
    ("4.4.0", 1, 2),
    ("4.5.0", 1, 2),
    ("4.6.0", 1, 6),
    ("4.7.0", 1, 1),
    ("4.7.1", 1, 2),
    ("4.7.2", 1, 1),
    ("4.7.3", 1, 4),
    ("4.8.2", 1, 6),
    ("4.9.0", 1, 3),
    ("4.12.0", 1, 7),
    ("4.12.1", 1, 2),
    ("4.13.1", 1, 1),
    ("4.13.2", 1, 1),
    ("6.0.0", 1, 4),
];

/// MQTT 3.1 (IBM and Eurotech, 2010) numbers no statements: these are ours, by its sections.
const MQTT_3_1: [Section; 16] = [
    ("2.1", 1, 6),
    ("2.2", 1, 6),
    ("2.3", 1, 2),
    ("2.4", 1, 2),
    ("2.5", 1, 1),
    ("2.6", 1, 1),
    ("3.1", 1, 5),
    ("3.2", 1, 1),
    ("3.3", 1, 2),
    ("3.8", 1, 3),
    ("3.10", 1, 1),
    ("3.12", 1, 1),
    ("3.14", 1, 2),
    ("4.1", 1, 3),
    ("4.2", 1, 1),
    ("4.3", 1, 1),
];

/// What MQTT 5.0 demands without a number: ours, by its sections.
const MQTT_5_0_UNNUMBERED: [Section; 25] = [
    ("1.5.4", 1, 1),
    ("1.5.5", 1, 1),
    ("2.2.2", 1, 3),
    ("3.1.2", 1, 11),
    ("3.1.3", 1, 3),
    ("3.1.4", 1, 2),
    ("3.2.2", 1, 5),
    ("3.3.1", 1, 2),
    ("3.3.2", 1, 7),
    ("3.3.4", 1, 1),
    ("3.4.2", 1, 2),
    ("3.8.2", 1, 2),
    ("3.8.3", 1, 4),
    ("3.8.4", 1, 1),
    ("3.11.3", 1, 1),
    ("3.14.2", 1, 3),
    ("3.14.4", 1, 1),
    ("3.15.2", 1, 1),
    ("4.1.0", 1, 3),
    ("4.7.2", 1, 1),
    ("4.7.3", 1, 1),
    ("4.8.2", 1, 5),
    ("4.9.0", 1, 1),
    ("4.12.1", 1, 1),
    ("4.13.1", 1, 2),
];

/// MQTT-SN 1.2 numbers no statements: ours, in `mqtt-sn.txt`.
const MQTT_SN: [Section; 3] = [("2", 1, 48), ("7", 1, 15), ("9", 1, 13)];

/// The RFCs of CoAP number no statements: ours, in `coap.txt`, by checklist, RFC and plugtest;
/// `8323-c` is the side of the client.
const COAP: [Section; 15] = [
    ("row", 1, 36),
    ("7252", 1, 55),
    ("7641", 1, 23),
    ("7959", 1, 24),
    ("7967", 1, 4),
    ("9175", 1, 14),
    ("8516", 1, 1),
    ("9290", 1, 2),
    ("8132", 1, 3),
    ("8323", 1, 35),
    ("9176", 1, 20),
    ("8323-c", 1, 20),
    ("ps", 1, 31),
    ("td", 1, 31),
    ("emqx", 1, 26),
];

#[derive(Debug, PartialEq)]
enum Status<'a> {
    /// Path and function of each test.
    Tested(Vec<(&'a str, &'a str)>),
    CoveredBy(&'a str),
    NotApplicable(&'a str),
    Open,
}

#[derive(Debug)]
struct Row<'a> {
    id: &'a str,
    status: Status<'a>,
    statement: &'a str,
}

/// The rows of a list; what is no row is told in `findings`.
fn rows<'a>(text: &'a str, findings: &mut Vec<String>) -> Vec<Row<'a>> {
    let mut rows = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let mut columns = line.splitn(3, '|').map(str::trim);
        let (Some(id), Some(status), Some(statement)) =
            (columns.next(), columns.next(), columns.next())
        else {
            findings.push(format!("not a row of three columns: {line}"));
            continue;
        };
        match read_status(status) {
            Some(status) => rows.push(Row { id, status, statement }),
            None => findings.push(format!("{id}: not a status: {status}")),
        }
    }
    rows
}

fn read_status(text: &str) -> Option<Status<'_>> {
    if text == "open" {
        return Some(Status::Open);
    }
    if let Some(id) = text.strip_prefix("covered by ") {
        return Some(Status::CoveredBy(id));
    }
    if let Some(why) = text.strip_prefix("not applicable: ") {
        return Some(Status::NotApplicable(why));
    }
    let tests = text.strip_prefix("tested: ")?;
    let tests: Option<Vec<_>> = tests.split(',').map(|test| test.trim().split_once("::")).collect();
    Some(Status::Tested(tests?))
}

fn expected(prefix: &str, sections: &[Section]) -> BTreeSet<String> {
    let ids = |&(section, first, last): &Section| {
        (first..=last).map(move |number| format!("{prefix}-{section}-{number}"))
    };
    sections.iter().flat_map(ids).collect()
}

/// Source files that were read, and the tests found in each.
#[derive(Default)]
struct Sources(HashMap<String, Option<BTreeMap<String, bool>>>);

impl Sources {
    /// What is wrong with this test, if anything is.
    fn fault(&mut self, path: &str, function: &str) -> Option<String> {
        let tests = self.0.entry(path.to_owned()).or_insert_with(|| {
            let path: PathBuf = repository().join(path);
            std::fs::read_to_string(path).ok().map(|text| tests_in(&text))
        });
        let Some(tests) = tests else { return Some(format!("there is no file {path}")) };
        match tests.get(function) {
            Some(true) => None,
            Some(false) => Some(format!("{path}::{function} is ignored")),
            None => Some(format!("there is no test {function} in {path}")),
        }
    }
}

/// The test functions of a source file, and whether each one runs.
fn tests_in(text: &str) -> BTreeMap<String, bool> {
    let mut tests = BTreeMap::new();
    let (mut is_test, mut ignored) = (false, false);
    for line in text.lines().map(str::trim) {
        is_test |= line.starts_with("#[test]");
        ignored |= line.starts_with("#[ignore") || line.starts_with("#[cfg_attr");
        let name = line.strip_prefix("fn ").and_then(|rest| rest.split(['(', '<']).next());
        if let Some(name) = name.filter(|_| is_test) {
            tests.insert(name.to_owned(), !ignored);
        }
        if !line.starts_with("#[") && !line.starts_with("//") {
            (is_test, ignored) = (false, false);
        }
    }
    tests
}

/// Everything that is wrong with a list.
fn findings(text: &str, expected: &BTreeSet<String>, sources: &mut Sources) -> Vec<String> {
    let mut findings = Vec::new();
    let rows = rows(text, &mut findings);
    let by_id: BTreeMap<&str, &Status> = rows.iter().map(|row| (row.id, &row.status)).collect();
    for id in expected.iter().filter(|id| !by_id.contains_key(id.as_str())) {
        findings.push(format!("{id} is missing"));
    }
    let mut seen = BTreeSet::new();
    for Row { id, status, statement } in &rows {
        if !expected.contains(*id) {
            findings.push(format!("{id} is no statement of this version"));
        }
        if !seen.insert(*id) {
            findings.push(format!("{id} appears twice"));
        }
        if statement.is_empty() {
            findings.push(format!("{id} does not say what it is about"));
        }
        match status {
            Status::Tested(tests) => {
                let faults = tests.iter().filter_map(|(path, name)| sources.fault(path, name));
                findings.extend(faults.map(|fault| format!("{id}: {fault}")));
            }
            Status::CoveredBy(other) => {
                if !matches!(by_id.get(other), Some(Status::Tested(_))) {
                    findings.push(format!("{id} is covered by {other}, which is not tested"));
                }
            }
            Status::NotApplicable("") => {
                findings.push(format!("{id} does not say why it is not applicable"));
            }
            Status::NotApplicable(_) => {}
            Status::Open => findings.push(format!("{id} is open")),
        }
    }
    findings
}

/// A list is complete and true.
fn holds(file: &str, prefix: &str, sections: &[Section]) {
    let found = check(file, prefix, sections);
    assert!(found.is_empty(), "{file}: {found:#?}");
}

fn check(file: &str, prefix: &str, sections: &[Section]) -> Vec<String> {
    let path = repository().join("integration-tests/conformance").join(file);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{file}: {error}"));
    findings(&text, &expected(prefix, sections), &mut Sources::default())
}

#[test]
fn mqtt_3_1() {
    holds("mqtt-3.1.txt", "MQTT31", &MQTT_3_1);
}

#[test]
fn mqtt_3_1_1() {
    holds("mqtt-3.1.1.txt", "MQTT", &MQTT_3_1_1);
}

#[test]
fn mqtt_5_0() {
    holds("mqtt-5.0.txt", "MQTT", &MQTT_5_0);
}

#[test]
fn mqtt_5_0_unnumbered() {
    holds("mqtt-5.0-unnumbered.txt", "MQTT5", &MQTT_5_0_UNNUMBERED);
}

#[test]
fn mqtt_sn() {
    holds("mqtt-sn.txt", "SN", &MQTT_SN);
}

#[test]
fn coap() {
    holds("coap.txt", "COAP", &COAP);
}

#[test]
fn the_specifications_have_so_many_statements() {
    assert_eq!(expected("MQTT", &MQTT_3_1_1).len(), 141);
    assert_eq!(expected("MQTT", &MQTT_5_0).len(), 251);
}

/// The checker finds what it is there to find.
#[test]
fn a_list_with_faults_is_refused() {
    let here = "integration-tests/tests/conformance.rs";
    let list = format!(
        "# a comment\n\
         A-1-1 | tested: {here}::a_list_with_faults_is_refused | fine\n\
         A-1-2 | covered by A-1-1 | fine\n\
         A-1-2 | covered by A-1-2 | twice, and by a row that is not tested\n\
         A-1-3 | tested: {here}::nobody, nowhere.rs::nobody | no such tests\n\
         A-1-4 | open | not done\n\
         A-1-6 | not applicable: a reason | no such statement\n\
         A-1-7 | done | no such status\n\
         A-1-8\n"
    );
    let expected = expected("A", &[("1", 1, 5)]);
    let mut found = findings(&list, &expected, &mut Sources::default());
    found.sort();
    assert_eq!(
        found,
        [
            "A-1-2 appears twice",
            "A-1-2 is covered by A-1-2, which is not tested",
            "A-1-3: there is no file nowhere.rs",
            &format!("A-1-3: there is no test nobody in {here}"),
            "A-1-4 is open",
            "A-1-5 is missing",
            "A-1-6 is no statement of this version",
            "A-1-7: not a status: done",
            "not a row of three columns: A-1-8",
        ]
    );
    let ignored =
        "/// Words.\n#[test]\n#[ignore]\nfn lazy() {}\n#[test]\nfn busy() {}\nfn none() {}\n";
    let tests = tests_in(ignored);
    assert_eq!(
        tests.into_iter().collect::<Vec<_>>(),
        [("busy".to_owned(), true), ("lazy".to_owned(), false)]
    );
}
