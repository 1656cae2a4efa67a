//! Random rule sets against brute force: which rule wins, which sets are refused, and that a path
//! found for a topic leads back to it.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeSet;

use common::{CALLER, rule, strings};
use motegate_mapping::{CoapMethod, CoapRule, RuleErrorKind, Rules, Table};
use motegate_message::TopicName;
use proptest::prelude::*;

/// A pattern as data: what each segment may be, and whether more may follow.
#[derive(Debug, Clone)]
struct Model {
    segments: Vec<Vec<&'static str>>,
    tail: bool,
}

/// `x` stands for all that no literal names, so that "any" is never "one of a, b, c".
const ALPHABET: [&str; 4] = ["a", "b", "c", "x"];

impl Model {
    fn text(&self) -> String {
        let mut text = String::new();
        for (i, options) in self.segments.iter().enumerate() {
            text.push('/');
            match options.as_slice() {
                [one] => text.push_str(one),
                all if all.len() == ALPHABET.len() => text.push_str(&format!("{{n{i}}}")),
                some => text.push_str(&format!("{{n{i}:{}}}", some.join("|"))),
            }
        }
        if self.tail {
            text.push_str("/{rest...}");
        }
        text
    }

    fn takes(&self, path: &[&str]) -> bool {
        let deep = match self.tail {
            true => path.len() > self.segments.len(),
            false => path.len() == self.segments.len(),
        };
        deep && self.segments.iter().zip(path).all(|(options, text)| options.contains(text))
    }

    fn set(&self, paths: &[Vec<&'static str>]) -> BTreeSet<usize> {
        (0..paths.len()).filter(|i| self.takes(&paths[*i])).collect()
    }
}

fn model() -> impl Strategy<Value = Model> {
    let segment = prop_oneof![
        prop::sample::select(vec!["a", "b", "c"]).prop_map(|one| vec![one]),
        Just(vec!["a", "b"]),
        Just(vec!["b", "c"]),
        Just(ALPHABET.to_vec()),
    ];
    (prop::collection::vec(segment, 1..3), any::<bool>())
        .prop_map(|(segments, tail)| Model { segments, tail })
}

/// Every path of one to four segments.
fn paths() -> Vec<Vec<&'static str>> {
    let mut all: Vec<Vec<&'static str>> = ALPHABET.iter().map(|one| vec![*one]).collect();
    let mut from = 0;
    for _ in 0..3 {
        let until = all.len();
        for i in from..until {
            for one in ALPHABET {
                let mut longer = all[i].clone();
                longer.push(one);
                all.push(longer);
            }
        }
        from = until;
    }
    all
}

fn rules(models: &[Model]) -> Rules {
    let coap: Vec<CoapRule> = models
        .iter()
        .enumerate()
        .map(|(i, model)| rule(&format!("r{i}"), &model.text(), &format!("t/{i}")))
        .collect();
    Rules { coap, presets: Vec::new(), ..Rules::default() }
}

#[test]
fn the_narrowest_rule_wins_and_only_ambiguous_sets_are_refused() {
    let paths = paths();
    let (good, bad) = (std::cell::Cell::new(0), std::cell::Cell::new(0));
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(800));
    runner
        .run(&prop::collection::vec(model(), 2..5), |models| {
            let sets: Vec<BTreeSet<usize>> = models.iter().map(|m| m.set(&paths)).collect();
            let ambiguous = (0..sets.len()).any(|i| {
                sets[..i].iter().any(|other| {
                    let nested = other.is_subset(&sets[i]) != sets[i].is_subset(other);
                    !other.is_disjoint(&sets[i]) && !nested
                })
            });
            let table = match Table::new(rules(&models)) {
                Ok(table) => table,
                Err(errors) => {
                    bad.set(bad.get() + 1);
                    let overlap = |k: &RuleErrorKind| matches!(k, RuleErrorKind::Overlap { .. });
                    prop_assert!(ambiguous && errors.iter().all(|e| overlap(&e.kind)));
                    return Ok(());
                }
            };
            prop_assert!(!ambiguous, "{models:?}");
            good.set(good.get() + 1);
            for (i, path) in paths.iter().enumerate() {
                let path = strings(path.iter().copied());
                let taking: Vec<usize> =
                    (0..sets.len()).filter(|r| sets[*r].contains(&i)).collect();
                let found = table.coap(&CALLER, None, CoapMethod::Get, &path, &[]);
                prop_assert_eq!(found.is_ok(), !taking.is_empty());
                if let Ok(found) = found {
                    let winner: usize = found.rule[1..].parse().unwrap();
                    prop_assert!(taking.contains(&winner));
                    prop_assert!(taking.iter().all(|r| sets[winner].is_subset(&sets[*r])));
                }
            }
            Ok(())
        })
        .unwrap();
    assert!(good.get() > 80 && bad.get() > 80, "{} {}: too tame", good.get(), bad.get());
}

proptest! {
    #[test]
    fn a_path_for_a_topic_leads_back_to_it(
        topic in "[abp%$]{0,2}(/[abp%$]{0,2}){0,3}",
        encode in any::<bool>(),
        mount in prop::sample::select(vec!["", "m/", "a"]),
    ) {
        prop_assume!(!topic.is_empty());
        let coap = vec![
            CoapRule { encode, ..rule("one", "/o/{x}", "a/{x}") },
            rule("two", "/p/{x}/{y...}", "b/{x|hex}/{y}"),
            CoapRule { absolute: true, ..rule("three", "/q/{x:a|b}", "{x}/{client}") },
            rule("four", "/mqtt/a/{z}", "shadow/{z}"),
        ];
        let table = Table::new(Rules { coap, ..Rules::default() }).unwrap();
        let caller = common::caller_at("edge", "p", mount);
        let topic = TopicName::new(&topic).unwrap();
        if let Some(path) = table.coap_path(&caller, &topic) {
            let back = table.coap(&caller, None, CoapMethod::Get, &path, &[]).unwrap();
            prop_assert_eq!(back.topic.as_str(), topic.as_str());
        }
    }

    #[test]
    fn nothing_that_a_device_sends_panics_or_leaves_the_mount(
        path in prop::collection::vec("[a/+#$%\\x00é]{0,4}", 0..5),
        query in prop::collection::vec("[a-e=%&]{0,6}", 0..3),
        client in "[a/+#$]{0,4}",
    ) {
        let coap = vec![
            rule("one", "/{x}/{y}", "t/{client}/{x}{y}"),
            CoapRule { encode: true, ..rule("two", "/a/{y}", "{y}") },
        ];
        let table = Table::new(Rules { coap, prefix: "a".into(), ..Rules::default() }).unwrap();
        let caller = common::caller_at("edge", &client, "plant/");
        if let Ok(found) = table.coap(&caller, None, CoapMethod::Put, &path, &query) {
            let name = found.topic.as_name().expect("no wildcard gets through");
            prop_assert!(name.as_str().starts_with("plant/"));
        }
    }
}
