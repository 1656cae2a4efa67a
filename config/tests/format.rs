//! The formatter never changes what a file says, and once is enough.
#![allow(clippy::unwrap_used)]

use motegate_config::{FormatError, format};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use serde_yaml::Value;

/// A YAML text of some shape, with the disorder that people make.
fn text() -> impl Strategy<Value = String> {
    let gap = prop_oneof![Just(""), Just(" "), Just("   ")];
    let scalar = prop_oneof![
        Just("a"),
        Just("'a b'"),
        Just("'it''s'"),
        Just("\"x # y\""),
        Just("1.10"),
        Just("a#b"),
        Just("'\"'"),
        Just("{x}"),
        Just("[1,2 , 'c']"),
        Just("{ a: 1,b: [ ] }"),
        Just("[\n      one,  # first\n   two\n  ]"),
        Just("\"one\n       two\""),
        Just("|\n         x\n           y"),
        Just(">-\n         z"),
        Just(""),
    ];
    let comment = prop_oneof![4 => Just(""), 1 => Just("# c"), 1 => Just("  # d  ")];
    let line = (0..5_usize, 0..4_usize, gap.clone(), scalar, gap, comment);
    proptest::collection::vec(line, 0..12).prop_map(|lines| {
        let mut out = String::new();
        for (number, (indent, kind, before, scalar, after, comment)) in lines.iter().enumerate() {
            let pad = " ".repeat(*indent);
            let tail = format!("{before}{scalar}{after}{comment}");
            out.push_str(&match kind {
                0 => format!("{pad}k{number}: {tail}\n"),
                1 => format!("{pad}k{number}:{before}\n{pad}  in{number} : {tail}\n"),
                2 => format!("{pad}- {tail}\n{pad}-   k: v{after}\n\n\n"),
                _ => format!("{pad}# about {number}\r\n"),
            });
        }
        out
    })
}

fn values(text: &str) -> Value {
    serde_yaml::from_str(text).unwrap_or_else(|e| panic!("{e}\n{text}"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_500, failure_persistence: None, ..Default::default() })]

    #[test]
    fn it_says_the_same_and_is_stable(text in text()) {
        match format("f", &text) {
            Ok(out) => {
                // By another parser than the one that it asks itself.
                if let Ok(before) = serde_yaml::from_str::<Value>(&text) {
                    prop_assert_eq!(before, values(&out));
                }
                let again = format("f", &out);
                prop_assert_eq!(again.ok(), Some(out.clone()), "once is not enough:\n{}", text);
                prop_assert!(!out.lines().any(|l| l.ends_with(' ') && !text.contains(['|', '>'])), "{}", out);
                prop_assert_eq!(text.matches('#').count(), out.matches('#').count());
            }
            Err(FormatError::Findings(_)) => {}
            Err(FormatError::Unsafe { cause }) => {
                // Allowed, but not for what people write: shown when it fails.
                prop_assert!(!cause.is_empty());
            }
        }
    }
}

/// Refusing everything would be safe, too.
#[test]
fn hardly_anything_is_refused() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let (mut done, mut refused) = (0, Vec::new());
    for _ in 0..2_000 {
        let text = text().new_tree(&mut runner).unwrap().current();
        match format("f", &text) {
            Ok(_) => done += 1,
            Err(FormatError::Unsafe { .. }) => refused.push(text),
            Err(FormatError::Findings(_)) => {}
        }
    }
    assert!(done > 200, "{done}");
    assert!(refused.len() * 50 < done, "{} of {done}, such as\n{}", refused.len(), refused[0]);
}
