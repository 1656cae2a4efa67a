//! Settings of listeners that are one setting of all listeners here: carried over where all of them
//! agree, and a remark on each where they do not.

use super::super::RemarkKind::Unsupported;
use super::super::draft::{At, Draft};
use super::super::tree::{Block, Form, carry};
use super::super::yaml::Value;
use super::listeners::Section;
use super::{File, Set};

/// `sections` are those of the listeners that there are.
pub(super) fn write(file: &File<'_>, sections: &[&Section<'_>], draft: &mut Draft) {
    let number = |names: &[&str], key, most, draft: &mut Draft| {
        let sets: Vec<_> = sections.iter().map(|section| section.last(names)).collect();
        let form = Form::Number(0, most);
        shared(
            &sets,
            key,
            |set| Some(set.value),
            draft,
            |first, _, draft| {
                carry(Block::Mqtt, key, form, first.spot, (&first.what(), first.value), draft);
            },
        );
    };
    number(&["max_qos", "maximum_qos"], "max_qos", 2, draft);
    number(&["max_topic_alias"], "topic_alias_maximum", 65_535, draft);
    let sets: Vec<_> =
        sections.iter().map(|section| section.last(&["accept_protocol_versions"])).collect();
    shared(&sets, "protocols", versions, draft, |_, words, draft| {
        draft.mqtt.set("protocols", Value::Texts(words));
    });
    assigned_ids(file, sections, draft);
}

/// Start of the ids of clients without one: that of the listener, or else that of all.
fn assigned_ids(file: &File<'_>, sections: &[&Section<'_>], draft: &mut Draft) {
    let names = ["auto_id_prefix", "listener_auto_id_prefix"];
    let all = file.last(&names);
    let mut sets: Vec<_> = sections.iter().map(|section| section.last(&names).or(all)).collect();
    if sets.is_empty() {
        sets.push(all);
    }
    shared(&sets, "assigned_client_id_prefix", prefix, draft, |_, prefix, draft| {
        draft.mqtt.set("assigned_client_id_prefix", prefix);
    });
}

/// Takes what all sets agree on by `carry`, or says that nothing is taken.
fn shared<'s, T: PartialEq>(
    sets: &[Option<&'s Set<'s>>],
    key: &str,
    read: impl Fn(&'s Set<'s>) -> Option<T>,
    draft: &mut Draft,
    carry: impl FnOnce(&Set<'_>, T, &mut Draft),
) {
    let Some(first) = sets.iter().flatten().next() else { return };
    let value = read(first);
    let same = sets.iter().all(|set| set.is_some_and(|set| read(set) == value));
    let text = match value {
        Some(value) if same => return carry(first, value, draft),
        Some(_) => {
            format!("`{key}` holds for all listeners, and there not all are alike: left out")
        }
        None => format!("not what `{key}` can be: left out"),
    };
    let mut said = Vec::new();
    for set in sets.iter().flatten() {
        // One that several listeners have from above them is told of once.
        let line = (set.spot.source.name, set.spot.line);
        if !said.contains(&line) {
            said.push(line);
            draft.remark(At::Mqtt, set.spot, Unsupported, set.what(), text.as_str());
        }
    }
}

/// `3,4,5`, parted by commas, blanks or both.
fn versions(set: &Set<'_>) -> Option<Vec<String>> {
    let words = set.value.split([',', ' ', '\t']).filter(|word| !word.is_empty());
    let mut all = Vec::new();
    for (word, ours) in [("3", "3.1"), ("4", "3.1.1"), ("5", "5.0")] {
        if words.clone().any(|other| other == word) {
            all.push(ours.to_owned());
        }
    }
    let known = words.clone().all(|word| matches!(word, "3" | "4" | "5"));
    (known && !all.is_empty()).then_some(all)
}

/// What a client id may begin with here.
fn prefix<'s>(set: &'s Set<'s>) -> Option<&'s str> {
    let fits = set.value.len() <= 64 && !motegate_message::has_disallowed(set.value);
    fits.then_some(set.value)
}
