//! Single keys from the environment and the command line.
//!
//! `MOTEGATE__MQTT__MAX_QOS=1` and `--set mqtt.max_qos=1` are trees of one branch. The whole text is
//! a source of its own, so that a diagnostic can point at the word in the name that is wrong.

use std::ops::Range;

use saphyr_parser::ScalarStyle;
use serde_json::Value as Json;

use crate::diagnostic::{Code, Diagnostic};
use crate::document::{Document, Key, Kind, Node};
use crate::schema;

/// What the names of variables begin with.
pub(crate) const PREFIX: &str = "MOTEGATE__";

/// The setting that is meant by a variable which is none: `MOTEGATE_MQTT__MAX_QOS`,
/// `MOTEGATE_MQTT_MAX_QOS`, `motegate__mqtt__max_qos`. Others that begin with our name are somebody's
/// (Kubernetes makes some for every service), or are no keys of the file (`MOTEGATE_LOG`).
pub(crate) fn meant(name: &str) -> Option<String> {
    let upper = name.to_ascii_uppercase();
    if name.starts_with(PREFIX) {
        return None;
    }
    if upper.starts_with(PREFIX) {
        return Some(upper);
    }
    let rest = upper.strip_prefix("MOTEGATE_").filter(|rest| *rest != "LOG")?;
    let keys = schema::alternative(schema::schema(), "object")?["properties"].as_object()?;
    let (first, _) = rest.split_once("__").unwrap_or((rest, ""));
    if keys.keys().any(|key| key.eq_ignore_ascii_case(first)) {
        return Some(format!("{PREFIX}{rest}"));
    }
    // `MQTT_MAX_QOS`: a block and its key, or two blocks.
    let mut open: Vec<(String, &Json)> = vec![(String::new(), schema::schema())];
    while let Some((path, schema)) = open.pop() {
        let map = schema::alternative(schema, "object");
        for (key, inner) in map.and_then(|map| map["properties"].as_object()).into_iter().flatten()
        {
            let between = if path.is_empty() { "" } else { "__" };
            let path = format!("{path}{between}{}", key.to_ascii_uppercase());
            if path.replace("__", "_") == rest.replace("__", "_") {
                return Some(format!("{PREFIX}{path}"));
            }
            open.push((path, inner));
        }
    }
    None
}

/// Reads `NAME=VALUE`, whose first byte is the byte `start` of all texts: the keys begin `skip`
/// bytes into it, with `between` between two of them.
///
/// # Errors
/// A name that is none, or a value that is not YAML.
pub(crate) fn parse(
    text: &str,
    start: usize,
    skip: usize,
    between: &str,
) -> Result<Document, Vec<Diagnostic>> {
    let whole = start..start + text.len();
    let Some((name, value)) = text.split_once('=') else {
        let fix = "write KEY=VALUE, such as mqtt.max_qos=1";
        let d = Diagnostic::new(Code::Override, "this sets no value", fix).at(whole);
        return Err(vec![d]);
    };
    let mut keys: Vec<Key> = Vec::new();
    let mut schema: Option<&Json> = Some(schema::schema());
    let mut at = skip;
    for word in name.get(skip..).unwrap_or_default().split(between) {
        let span = start + at..start + at + word.len();
        at += word.len() + between.len();
        if word.is_empty() {
            let fix = format!("write the keys with {between:?} between two of them");
            let d = Diagnostic::new(Code::Override, "a part of the name is missing", fix);
            return Err(vec![d.at(whole)]);
        }
        let key = Key { text: known(schema, word), span };
        schema = schema.and_then(|schema| schema::inner(schema, &key.text));
        keys.push(key);
    }
    let from = start + name.len() + 1;
    let value = self::value(value, from)?;
    let root = keys.into_iter().rev().fold(value, |node, key| {
        let span: Range<usize> = key.span.start..node.span.end;
        Node::new(span, Kind::Map(vec![(key, node)]))
    });
    Ok(Document { root: Some(root) })
}

/// The key as the file spells it: variables are in capitals.
fn known(schema: Option<&Json>, word: &str) -> String {
    let map = schema.and_then(|schema| schema::alternative(schema, "object"));
    let keys = map.and_then(|map| map["properties"].as_object());
    let key = keys.and_then(|keys| keys.keys().find(|key| key.eq_ignore_ascii_case(word)));
    let upper = word.chars().all(|c| !c.is_ascii_lowercase());
    match key {
        Some(key) => key.clone(),
        None if upper => word.to_ascii_lowercase(),
        None => word.to_owned(),
    }
}

/// In brackets, braces or quotes it is YAML; otherwise it is the text itself, so that a password
/// may hold anything.
fn value(text: &str, start: usize) -> Result<Node, Vec<Diagnostic>> {
    if text.starts_with(['[', '{', '"', '\'']) && !text.starts_with("[:") {
        let document = Document::parse(text, start).map_err(|mut all| {
            for d in &mut all {
                d.fix = "it begins like a list, a mapping or a quoted text, so it must be one; \
                         put it in quotes if it is not"
                    .to_owned();
            }
            all
        })?;
        return Ok(document.root.unwrap_or_else(|| scalar("", start)));
    }
    Ok(scalar(text, start))
}

fn scalar(text: &str, start: usize) -> Node {
    let kind = Kind::Scalar { text: text.to_owned(), style: ScalarStyle::Plain };
    Node::new(start..start + text.len(), kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(text: &str) -> serde_json::Value {
        let document = parse(text, 100, PREFIX.len(), "__").unwrap();
        document.root.unwrap().to_json()
    }

    #[test]
    fn names_are_places_and_values_are_text_or_flow() {
        use serde_json::json;
        assert_eq!(tree("MOTEGATE__MQTT__MAX_QOS=1"), json!({"mqtt": {"max_qos": 1}}));
        assert_eq!(
            tree("MOTEGATE__MAPPINGS__DEFAULTS__QOS=auto")["mappings"]["defaults"]["qos"],
            "auto"
        );
        assert_eq!(tree("MOTEGATE__MQTT={max_qos: 1}"), json!({"mqtt": {"max_qos": 1}}));
        assert_eq!(tree("MOTEGATE__DATA_DIR=a: #b=c"), json!({"data_dir": "a: #b=c"}));
        assert_eq!(tree("MOTEGATE__DATA_DIR=\"a b\""), json!({"data_dir": "a b"}));
        assert_eq!(tree("MOTEGATE__DATA_DIR="), json!({"data_dir": null}));
        let key = parse("MOTEGATE__MQT__X=1", 0, PREFIX.len(), "__").unwrap().root.unwrap();
        let Kind::Map(items) = key.kind else { panic!() };
        assert_eq!((items[0].0.text.as_str(), items[0].0.span.clone()), ("mqt", 10..13));
    }

    #[test]
    fn what_is_no_setting_says_so() {
        for (text, code) in [
            ("MOTEGATE__", Code::Override),
            ("MOTEGATE__MQTT____MAX_QOS=1", Code::Override),
            ("MOTEGATE__MQTT={max_qos: 1", Code::Syntax),
        ] {
            let found = parse(text, 0, PREFIX.len(), "__").unwrap_err();
            assert_eq!(found[0].code, code, "{text}");
        }
    }

    #[test]
    fn a_variable_that_is_nearly_a_setting_is_known() {
        for name in [
            "MOTEGATE_MQTT__MAX_QOS",
            "MOTEGATE_MQTT_MAX_QOS",
            "motegate__mqtt__max_qos",
            "Motegate_mqtt__Max_Qos",
        ] {
            assert_eq!(meant(name).as_deref(), Some("MOTEGATE__MQTT__MAX_QOS"), "{name}");
        }
        let quirk = meant("MOTEGATE_MAPPINGS_DEFAULTS_QOS");
        assert_eq!(quirk.as_deref(), Some("MOTEGATE__MAPPINGS__DEFAULTS__QOS"));
        assert_eq!(meant("MOTEGATE_DATA_DIR").as_deref(), Some("MOTEGATE__DATA_DIR"));
        for other in [
            "MOTEGATE__MQTT__MAX_QOS",
            "MOTEGATE_LOG",
            "MOTEGATE_CONTROL",
            "MOTEGATE_CONFIG",
            "MOTEGATE_FOO",
            "MOTEGATE_PORT_1883_TCP_ADDR",
            "MOTEGATE_SERVICE_HOST",
            "MOTEGATE",
            "MOTE",
        ] {
            assert_eq!(meant(other), None, "{other}");
        }
    }
}
