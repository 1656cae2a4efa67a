//! The schema of the file: what is known of every key, from the types of [`file`](crate::file).
//!
//! Inside the crate it keeps the words of `file` (`what`, `range`, `required`, …); [`published`]
//! turns them into JSON Schema for editors.

use std::sync::LazyLock;

use motegate_mapping::{Place, Step};
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value as Json, json};

use crate::file::File;

static SCHEMA: LazyLock<Json> = LazyLock::new(|| {
    let settings = SchemaSettings::draft2020_12().with(|s| s.inline_subschemas = true);
    settings.into_generator().into_root_schema_for::<File>().to_value()
});

/// The schema, in the words of `file`.
pub(crate) fn schema() -> &'static Json {
    &SCHEMA
}

/// What is known of a place.
pub(crate) fn at(place: &Place) -> Option<&'static Json> {
    place.steps().iter().try_fold(schema(), |schema, step| match step {
        Step::Key(key) => inner(schema, key),
        Step::Index(_) => Some(alternative(schema, "array").map_or(schema, |list| &list["items"])),
    })
}

/// What is known of a key of a mapping.
pub(crate) fn inner<'j>(schema: &'j Json, key: &str) -> Option<&'j Json> {
    let map = alternative(schema, "object")?;
    map["properties"].get(key).or_else(|| chosen_names(map))
}

/// What a mapping holds whose keys are names that the user chooses.
pub(crate) fn chosen_names(map: &Json) -> Option<&Json> {
    map.get("additionalProperties").filter(|schema| schema.is_object())
}

/// The alternative of a schema that is of a type of JSON.
pub(crate) fn alternative<'j>(schema: &'j Json, kind: &str) -> Option<&'j Json> {
    let any_of = schema.get("anyOf").and_then(Json::as_array);
    let mut all: Vec<&Json> = any_of.map_or_else(|| vec![schema], |all| all.iter().collect());
    // An optional list of alternatives nests once.
    if let Some(inner) = all.iter().find_map(|a| a.get("anyOf")).and_then(Json::as_array) {
        all.extend(inner);
    }
    all.into_iter().find(|one| is(one, kind))
}

fn is(schema: &Json, kind: &str) -> bool {
    match &schema["type"] {
        Json::String(one) => one == kind,
        Json::Array(all) => all.iter().any(|one| one == kind),
        _ => false,
    }
}

/// JSON Schema draft 2020-12, for editors.
pub(crate) fn published() -> Json {
    let mut out = publish(schema());
    if let Some(root) = out.as_object_mut() {
        root.insert("title".into(), json!("Motegate configuration"));
        // Nothing but comments is a configuration, too.
        root.insert("type".into(), json!(["object", "null"]));
    }
    out
}

/// Depth is that of the types, not of any input.
fn publish(schema: &Json) -> Json {
    match schema {
        Json::Array(all) => Json::Array(all.iter().map(publish).collect()),
        Json::Object(map) if map.contains_key("anything") => {
            json!({"description": description(map)})
        }
        Json::Object(map) if map.contains_key("what") => scalar(map),
        Json::Object(map) => block(map),
        other => other.clone(),
    }
}

fn block(map: &Map<String, Json>) -> Json {
    let mut out = Map::new();
    for (key, value) in map {
        match key.as_str() {
            "properties" => {
                let properties = value.as_object().into_iter().flatten();
                let required: Vec<&String> = properties
                    .clone()
                    .filter(|(_, schema)| schema["required"] == true)
                    .map(|(key, _)| key)
                    .collect();
                if !required.is_empty() {
                    out.insert("required".into(), json!(required));
                }
                let all = properties.map(|(key, schema)| (key.clone(), publish(schema)));
                out.insert(key.clone(), Json::Object(all.collect()));
            }
            "description" => {
                out.insert(key.clone(), description(map));
            }
            "otherwise" | "required" | "range" | "secret" => {}
            "default" | "propertyNames" => {
                out.insert(key.clone(), value.clone());
            }
            _ => {
                out.insert(key.clone(), publish(value));
            }
        }
    }
    Json::Object(out)
}

/// A value that is not a list and not a mapping.
fn scalar(map: &Map<String, Json>) -> Json {
    let mut out = Map::new();
    if let Some(default) = map.get("default") {
        out.insert("default".into(), default.as_str().map_or(default.clone(), typed));
    }
    out.insert("description".into(), description(map));
    let null = map["type"].as_array().is_some_and(|types| types.iter().any(|t| t == "null"));
    let mut types: Vec<&str> =
        map["types"].as_array().into_iter().flatten().filter_map(Json::as_str).collect();
    types.extend(null.then_some("null"));
    let words = map["words"].as_array().map(Vec::as_slice).unwrap_or_default();
    if words.is_empty() {
        out.insert("type".into(), json!(types));
        if let Some(looks) = map["looks"].as_str().filter(|looks| !looks.is_empty()) {
            out.insert("pattern".into(), json!(format!("{looks}|\\$\\{{")));
        }
        if types.contains(&"integer") || types.contains(&"number") {
            bounds(map, &mut out);
        }
    } else {
        let mut all: Vec<Json> = words.to_vec();
        // YAML reads `true`, `2` and `5.0` as other types than text.
        let others = words.iter().filter_map(Json::as_str).map(typed).filter(|w| !w.is_string());
        all.extend(others);
        all.extend(null.then_some(Json::Null));
        let substituted = json!({"type": "string", "pattern": "\\$\\{"});
        out.insert("anyOf".into(), json!([{"enum": all}, substituted]));
    }
    if map.get("secret").is_some_and(|secret| secret == true) {
        out.insert("writeOnly".into(), json!(true));
    }
    Json::Object(out)
}

fn bounds(map: &Map<String, Json>, out: &mut Map<String, Json>) {
    // The one number that is a duration without a unit.
    let nothing = map["what"].as_str().is_some_and(|what| what.starts_with("a duration"));
    let range = map.get("range").and_then(Json::as_str).filter(|_| !nothing);
    let range = range.or_else(|| nothing.then_some("0 to 0"));
    let Some((low, high)) = range.and_then(|range| range.split_once(" to ")) else { return };
    for (key, bound) in [("minimum", low), ("maximum", high)] {
        if let Some(size) = crate::value::Size::parse_bytes(bound) {
            out.insert(key.into(), json!(size));
        } else if typed(bound).is_number() {
            out.insert(key.into(), typed(bound));
        }
    }
}

/// A number or a flag where YAML reads one, else the text.
fn typed(text: &str) -> Json {
    match serde_json::from_str(text) {
        Ok(value @ (Json::Number(_) | Json::Bool(_))) => value,
        _ => json!(text),
    }
}

/// The text of a key with its kind of value, its range and its default.
fn description(map: &Map<String, Json>) -> Json {
    let text = map.get("description").and_then(Json::as_str).unwrap_or_default();
    let mut facts = Vec::new();
    if let Some(what) = kind(map) {
        facts.push(format!("{what}."));
    }
    if let Some(default) = fallback(map) {
        facts.push(format!("Default: {default}."));
    } else if map.get("required").is_some_and(|must| must == true) {
        facts.push("Must be there.".to_owned());
    }
    if facts.is_empty() { json!(text) } else { json!(format!("{text}\n\n{}", facts.join(" "))) }
}

/// What can stand there, and its range: `A whole number, 0 to 2`.
pub(crate) fn kind(map: &Map<String, Json>) -> Option<String> {
    let words = map.get("words").and_then(Json::as_array).filter(|words| !words.is_empty());
    let what = match words {
        Some(words) => {
            let words: Vec<String> =
                words.iter().filter_map(Json::as_str).map(|w| format!("`{w}`")).collect();
            let (last, first) = words.split_last()?;
            match first {
                [] => last.clone(),
                first => format!("{} or {last}", first.join(", ")),
            }
        }
        None => capital(map.get("what")?.as_str()?),
    };
    match map.get("range").and_then(Json::as_str) {
        Some(range) => Some(format!("{what}; {range}")),
        None => Some(what),
    }
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

/// What holds when the key is not there, in words.
pub(crate) fn fallback(map: &Map<String, Json>) -> Option<String> {
    if let Some(words) = map.get("otherwise").and_then(Json::as_str) {
        return Some(words.to_owned());
    }
    Some(match map.get("default")? {
        Json::String(text) if text.is_empty() => "empty".to_owned(),
        Json::String(text) => format!("`{text}`"),
        Json::Array(all) => {
            let all: Vec<&str> = all.iter().filter_map(Json::as_str).collect();
            format!("`[{}]`", all.join(", "))
        }
        Json::Object(map) => {
            let all: Vec<String> = map
                .iter()
                .map(|(key, value)| format!("{key}: {}", value.as_str().unwrap_or_default()))
                .collect();
            format!("`{{{}}}`", all.join(", "))
        }
        other => format!("`{other}`"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_have_schemas() {
        let rule = Place::root().at("mappings").at("coap").at(3);
        assert_eq!(at(&rule.at("priority")).unwrap()["range"], "-1000 to 1000");
        assert!(at(&rule.at("nothing")).is_none());
        let bind = Place::root().at("listeners").at(0).at("bind");
        assert_eq!(at(&bind.at(1)).unwrap()["what"], "text");
        let id = Place::root().at("mappings").at("mqttsn").at("topic_ids").at("all").at("7");
        assert_eq!(at(&id.at("absolute")).unwrap()["default"], "false");
    }

    #[test]
    fn what_is_published_says_it_all() {
        let published = published();
        let qos = &published["properties"]["mqtt"]["properties"]["max_qos"];
        assert_eq!(
            (&qos["minimum"], &qos["maximum"], &qos["default"]),
            (&json!(0), &json!(2), &json!(2))
        );
        let text = qos["description"].as_str().unwrap();
        assert!(text.ends_with("A whole number; 0 to 2. Default: `2`."), "{text}");
        let rule = &published["properties"]["mappings"]["properties"]["coap"]["items"];
        assert_eq!(rule["required"], json!(["name", "path", "topic"]));
        let text = published.to_string();
        for ours in
            ["\"what\"", "\"otherwise\"", "\"looks\"", "\"types\"", "\"range\"", "\"words\""]
        {
            assert!(!text.contains(ours), "{ours} is none of JSON Schema's words");
        }
    }
}
