//! Unknown keys and wrong shapes, all of them at once, by the schema of the file's own types.

use std::collections::HashMap;
use std::sync::LazyLock;

use motegate_mapping::Place;
use serde_json::Value as Json;

use crate::diagnostic::{Code, Diagnostic, nearest};
use crate::document::{Document, Kind, Node};
use crate::{listener_limits, schema};

/// Keys that the reference has and this version has not; `*` stands for any one key.
const LATER: &[(&str, &str)] = &[
    ("bridges", "bridges"),
    ("metrics", "metrics"),
    ("acl", "access rules"),
    ("mappings.coap.expose", "Home Assistant discovery"),
];

/// Compares a tree with the schema.
pub(crate) fn check(document: &Document, found: &mut Vec<Diagnostic>) {
    let mut open: Vec<(&Node, &Json, Place)> =
        document.root.iter().map(|root| (root, schema::schema(), Place::root())).collect();
    while let Some((node, schema, place)) = open.pop() {
        if node.is_null() || schema.get("anything").is_some() {
            continue; // as if it were not there, or not for this check
        }
        let kind = match &node.kind {
            Kind::Map(_) => "object",
            Kind::List(_) => "array",
            Kind::Scalar { .. } => "string",
        };
        let Some(fitting) = schema::alternative(schema, kind) else {
            found.push(wrong_shape(node, schema, document, &place));
            continue;
        };
        match &node.kind {
            Kind::Scalar { .. } => {}
            Kind::List(items) => {
                let one = &fitting["items"];
                open.extend(items.iter().enumerate().map(|(i, item)| (item, one, place.at(i))));
            }
            Kind::Map(items) => {
                for (key, value) in items {
                    let at = place.at(key.text.as_str());
                    match schema::inner(fitting, &key.text) {
                        Some(inner) => open.push((value, inner, at)),
                        None => {
                            let known = fitting["properties"].as_object();
                            found.push(unknown(&key.text, known, &at).at(key.span.clone()));
                        }
                    }
                }
            }
        }
    }
}

fn wrong_shape(node: &Node, schema: &Json, document: &Document, place: &Place) -> Diagnostic {
    let have = match &node.kind {
        Kind::Scalar { .. } => "one value",
        Kind::List(_) => "a list",
        Kind::Map(_) => "a mapping",
    };
    let takes = |kind| schema::alternative(schema, kind).is_some();
    let (want, fix) = match (takes("string"), takes("array"), takes("object")) {
        (false, _, true) => ("a mapping", "write `key: value` lines, indented below it"),
        (false, true, _) => ("a list", "begin each entry with `- `, indented below it"),
        (true, true, _) => ("a value or a list", "write one value, or `[a, b]`"),
        (true, _, true) => ("a value or a mapping", "write one value, or `{key: value}`"),
        _ => ("one value", "write the value on the same line"),
    };
    let what = if place.steps().is_empty() { "the file".to_owned() } else { place.to_string() };
    Diagnostic::new(Code::Shape, format!("{what} is {have}, but {want} belongs here"), fix)
        .at(document.value(place))
        .label(format!("{want} belongs here"))
}

fn unknown(key: &str, known: Option<&serde_json::Map<String, Json>>, place: &Place) -> Diagnostic {
    if let Some(what) = later(place) {
        let text = format!("{key:?} is not in this version: {what} come with a later one");
        return Diagnostic::new(Code::NotInThisVersion, text, "remove the key")
            .label("not in this version");
    }
    if is_under(place, ["listeners", "limits"])
        && let Some(why) = listener_limits::of_all(key)
    {
        let text = format!("{key:?} bounds all listeners together, and not one of them: {why}");
        let fix = format!("put it under `limits:` at the top of the file: `limits: {{{key}: …}}`");
        return Diagnostic::new(Code::UnknownKey, text, fix).label("not under a listener");
    }
    let names = || known.into_iter().flat_map(|map| map.keys().map(String::as_str));
    let fix = match nearest(key, names()) {
        Some(name) => format!("did you mean `{name}`?"),
        None => match elsewhere(key) {
            Some(block) => format!("it belongs under `{block}:`"),
            None => format!("the keys here are {}", names().collect::<Vec<_>>().join(", ")),
        },
    };
    Diagnostic::new(Code::UnknownKey, format!("unknown key {key:?}"), fix).label("unknown key")
}

/// Where each key stands, those of list entries left out; `None` for one in several blocks.
static PLACES: LazyLock<HashMap<&'static str, Option<Place>>> = LazyLock::new(|| {
    let mut places = HashMap::new();
    let mut open = vec![(Place::root(), schema::schema())];
    while let Some((place, schema)) = open.pop() {
        let map = schema::alternative(schema, "object");
        for (key, inner) in map.and_then(|map| map["properties"].as_object()).into_iter().flatten()
        {
            let one = (!place.steps().is_empty()).then(|| place.clone());
            places.entry(key.as_str()).and_modify(|place| *place = None).or_insert(one);
            open.push((place.at(key.as_str()), inner));
        }
    }
    places
});

/// The block that has a key of this name, if only one has.
fn elsewhere(key: &str) -> Option<&'static Place> {
    PLACES.get(key)?.as_ref()
}

/// The keys on the way to a place.
fn keys(place: &Place) -> impl Iterator<Item = &str> {
    place.steps().iter().filter_map(|step| match step {
        motegate_mapping::Step::Key(key) => Some(key.as_str()),
        motegate_mapping::Step::Index(_) => None,
    })
}

/// Whether a place is one of a block's own keys.
fn is_under<const N: usize>(place: &Place, block: [&str; N]) -> bool {
    let keys: Vec<&str> = keys(place).collect();
    keys.split_last().is_some_and(|(_, above)| above == block)
}

/// What a key of a later version belongs to.
fn later(place: &Place) -> Option<&'static str> {
    let keys: Vec<&str> = keys(place).collect();
    LATER.iter().find_map(|(path, what)| {
        let mut path = path.split('.');
        let all = keys.iter().all(|key| path.next().is_some_and(|p| p == "*" || p == *key));
        (all && path.next().is_none()).then_some(*what)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<(Code, String)> {
        let document = Document::parse(text, 0).unwrap();
        let mut found = Vec::new();
        check(&document, &mut found);
        found.into_iter().map(|d| (d.code, d.fix)).collect()
    }

    #[test]
    fn the_schema_knows_every_shape() {
        let good = "version: 1\nlisteners:\n- {protocol: mqtt, bind: [a, b]}\n- {bind: a}\n\
            mqtt:\nlog: {level: info}\nmappings:\n  coap: [{methods: {PUT: publish}}]\n  mqttsn:\n    \
            groups: {a: x, b: [y]}\n    topic_ids: {all: {1: t, 2: {topic: t}}}\n";
        assert_eq!(found(good), []);
        assert_eq!(found(""), []);
    }

    #[test]
    fn all_unknown_keys_at_once() {
        let fixes = found("listner: []\nmqtt: {maxqos: 1, xyz: 1}\nmappings: {coap: [{pth: /}]}\n");
        let has = |text: &str| fixes.iter().any(|(_, fix)| fix.contains(text));
        assert_eq!(fixes.len(), 4, "{fixes:?}");
        assert!(has("`listeners`") && has("`max_qos`") && has("`path`"), "{fixes:?}");
        assert!(has("the keys here are"), "{fixes:?}");
    }

    #[test]
    fn later_versions_and_shapes() {
        let codes: Vec<Code> = found(
            "bridges: []\nlisteners: {a: b}\nmqtt: [1]\nlog: {level: [a]}\n\
             mappings: {coap: [{expose: homeassistant}]}\n",
        )
        .into_iter()
        .map(|(code, _)| code)
        .collect();
        assert_eq!(codes.iter().filter(|c| **c == Code::NotInThisVersion).count(), 2, "{codes:?}");
        assert_eq!(codes.iter().filter(|c| **c == Code::Shape).count(), 3, "{codes:?}");
    }

    #[test]
    fn a_key_that_is_built_is_not_called_later() {
        for (path, _) in LATER {
            let mut at = Some(schema::schema());
            for key in path.split('.').take_while(|key| *key != "*") {
                at = at.and_then(|s| {
                    schema::inner(schema::alternative(s, "array").map_or(s, |l| &l["items"]), key)
                });
            }
            assert!(path.contains('*') || at.is_none(), "{path} exists");
        }
    }
}
