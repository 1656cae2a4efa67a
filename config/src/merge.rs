//! One tree from several: what a later text says over what an earlier one says.
//!
//! Mappings merge key by key, and a later value wins; it remembers what it was taken instead of.
//! Between files, lists of things that have a `name` are joined, and a name that the user chooses,
//! such as a group or a topic id, may be given once only. The environment and the command line
//! override: they replace lists and names as they do values.

use std::collections::HashMap;

use serde_json::Value as Json;

use crate::diagnostic::{Code, Diagnostic};
use crate::document::{Key, Kind, Node};
use crate::schema;

/// How a text joins those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Join {
    /// A file, which adds.
    Add,
    /// A setting, which overrides.
    Override,
}

/// Merges two trees of one schema. Nesting is bounded by `Document::parse`.
pub(crate) fn merge(
    base: Node,
    over: Node,
    schema: &Json,
    join: Join,
    found: &mut Vec<Diagnostic>,
) -> Node {
    if over.is_null() {
        return base; // a key without a value is as if it were not there
    }
    if base.is_null() {
        return over;
    }
    let Node { span, kind, .. } = base;
    match (kind, over.kind) {
        (Kind::Map(items), Kind::Map(more)) => {
            Node::new(span, Kind::Map(maps(items, more, schema, join, found)))
        }
        (Kind::List(mut items), Kind::List(more)) if join == Join::Add && is_named(schema) => {
            items.extend(more);
            Node::new(span, Kind::List(items))
        }
        (_, kind) => {
            let mut node = Node::new(over.span, kind);
            node.written = over.written;
            node.instead_of = Some(span);
            node
        }
    }
}

fn maps(
    mut items: Vec<(Key, Node)>,
    more: Vec<(Key, Node)>,
    schema: &Json,
    join: Join,
    found: &mut Vec<Diagnostic>,
) -> Vec<(Key, Node)> {
    let places = items.iter().enumerate();
    let places: HashMap<String, usize> = places.map(|(i, (k, _))| (k.text.clone(), i)).collect();
    let map = schema::alternative(schema, "object").unwrap_or(&Json::Null);
    let chosen = schema::chosen_names(map).filter(|_| join == Join::Add);
    for (key, value) in more {
        let Some((first, old)) = places.get(&key.text).and_then(|i| items.get_mut(*i)) else {
            items.push((key, value));
            continue;
        };
        let both = !old.is_null() && !value.is_null();
        if chosen.is_some_and(|inner| both && !is_map_of_names(inner)) {
            let text = format!("{:?} is given in two places", key.text);
            let fix = "keep one of them: over all files, a name is given once";
            let d = Diagnostic::new(Code::Conflict, text, fix).at(key.span.clone());
            found.push(d.label("again here").also(first.span.clone(), "first here"));
            continue;
        }
        let inner = schema::inner(map, &key.text).unwrap_or(&Json::Null);
        if !value.is_null() {
            first.span = key.span;
        }
        let empty = Node::new(old.span.clone(), Kind::List(Vec::new()));
        *old = merge(std::mem::replace(old, empty), value, inner, join, found);
    }
    items
}

/// A list of things that have a name.
fn is_named(schema: &Json) -> bool {
    schema::alternative(schema, "array")
        .and_then(|list| schema::alternative(&list["items"], "object"))
        .is_some_and(|item| item["properties"].get("name").is_some())
}

/// A mapping whose keys are chosen by the user, too.
fn is_map_of_names(schema: &Json) -> bool {
    let map = schema::alternative(schema, "object");
    // One that can be a plain value as well is one thing.
    map.is_some_and(|map| schema::chosen_names(map).is_some())
        && schema::alternative(schema, "string").is_none()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::Document;

    fn merged(texts: &[&str], join: Join) -> (serde_json::Value, Vec<Code>) {
        let mut start = 0;
        let mut found = Vec::new();
        let trees = texts.iter().map(|text| {
            let tree = Document::parse(text, start).unwrap().root.unwrap();
            start += text.len() + 1;
            tree
        });
        let tree = trees.reduce(|a, b| merge(a, b, schema::schema(), join, &mut found)).unwrap();
        (tree.to_json(), found.into_iter().map(|d| d.code).collect())
    }

    #[test]
    fn keys_merge_and_the_later_wins() {
        let texts =
            ["mqtt: {max_qos: 1, max_inflight: 5}\nlog:", "mqtt: {max_qos: 2}\nlog: {level: info}"];
        let (tree, found) = merged(&texts, Join::Add);
        let expected = serde_json::json!({"mqtt": {"max_qos": 2, "max_inflight": 5}, "log": {"level": "info"}});
        assert_eq!((tree, found), (expected, vec![]));
    }

    #[test]
    fn lists_of_named_things_are_joined_others_replaced() {
        let a = "listeners: [{name: a}]\nmqtt: {protocols: ['3.1']}\nmappings: {coap: [{name: x}]}";
        let b = "listeners: [{name: b}]\nmqtt: {protocols: ['5.0']}\nmappings: {coap: [{name: y}]}";
        let (tree, found) = merged(&[a, b], Join::Add);
        assert_eq!(found, []);
        assert_eq!(tree["listeners"].as_array().unwrap().len(), 2);
        assert_eq!(tree["mappings"]["coap"].as_array().unwrap().len(), 2);
        assert_eq!(tree["mqtt"]["protocols"], serde_json::json!(["5.0"]));
        let (tree, _) = merged(&[a, b], Join::Override);
        assert_eq!(tree["listeners"], serde_json::json!([{"name": "b"}]));
    }

    #[test]
    fn a_name_is_given_once_over_all_files() {
        let text = |inside: &str| format!("mappings: {{mqttsn: {{{inside}}}}}");
        let conflicts = |a: &str, b: &str, join| merged(&[&text(a), &text(b)], join).1.len();
        let ids = ["topic_ids: {all: {1: a}}", "topic_ids: {all: {2: b}, env: {1: c}}"];
        assert_eq!(conflicts(ids[0], ids[1], Join::Add), 0);
        assert_eq!(conflicts(ids[0], ids[0], Join::Add), 1);
        assert_eq!(
            conflicts(
                "topic_ids: {all: {1: {topic: a}}}",
                "topic_ids: {all: {1: {topic: b}}}",
                Join::Add
            ),
            1
        );
        assert_eq!(conflicts("groups: {env: a}", "groups: {env: b}", Join::Add), 1);
        assert_eq!(conflicts("groups: {env: a}", "groups: {env: b}", Join::Override), 0);
    }
}
