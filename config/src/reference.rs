//! The reference page, from the schema.

use std::fmt::Write as _;

use serde_json::{Map, Value as Json};

use crate::{Code, schema};

const HEAD: &str = "\
# The configuration file

<!-- Written by `motegate schema --reference`; the texts are in config/src/file.rs. -->

Every key, what can stand there, and what holds when it does not. The empty file is valid. A key that is
not on this page is an error. `motegate schema` prints the same for editors.

- Durations have a unit: `250ms`, `10s`, `5m`, `1h`, `7d`. Sizes may: `512`, `64KiB`, `8MiB`, `1GiB`.
  Rates are `5/s`, `10/m`, `100/h`.
- A value may hold `${env:NAME}` and `${file:PATH}` (relative to the file that says it, at most 64 KiB,
  without the end of its last line); `$${` is a literal `${`.
- Beside the file, `conf.d/*.yaml` is read in the order of the names; `-c` may be given several times.
  Mappings merge key by key and a later value wins; lists of things with a `name` are joined; a name is
  given once over all files.
- `MOTEGATE__MQTT__MAX_QOS=1` in the environment and `--set mqtt.max_qos=1` on the command line go over
  all files. They replace lists.
- `motegate config show --effective --origin` prints what holds and where it comes from;
  `motegate help E0106` explains a diagnostic.
";

/// The page, as Markdown.
#[must_use]
pub fn reference() -> String {
    let mut page = String::from(HEAD);
    for Block { place, schema: block, keys } in blocks() {
        let title = if place.is_empty() { "Top level".to_owned() } else { format!("`{place}`") };
        let _ = write!(page, "\n## {title}\n\n");
        let about = block.get("description").and_then(Json::as_str).unwrap_or_default();
        if !place.is_empty() && !about.is_empty() {
            let _ = write!(page, "{about}\n\n");
        }
        page.push_str("| key | value | default | |\n|---|---|---|---|\n");
        for (key, schema) in keys {
            row(&mut page, key, schema);
        }
    }
    codes(&mut page);
    page
}

/// A key of the configuration, as a terminal shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyHelp {
    /// Where it stands: `coap.prefix`, `listeners[].bind`.
    pub path: String,
    /// What can stand there.
    pub kind: String,
    /// What holds without it; empty if nothing does.
    pub default: String,
    /// Whether it must be there.
    pub required: bool,
    /// What it is for; Markdown of one paragraph.
    pub text: String,
    /// The keys of the block that it is.
    pub keys: Vec<String>,
}

/// The keys that `word` can mean: a whole path, with or without its `[]` and `NAME`, or the end of
/// several (`block_size`). In the order of the reference page.
#[must_use]
pub fn help_of_key(word: &str) -> Vec<KeyHelp> {
    let bare = |path: &str| path.replace("[]", "").replace(".NAME", "");
    let word = bare(word);
    let all = blocks();
    let mut found: Vec<KeyHelp> = Vec::new();
    for block in &all {
        for (key, schema) in &block.keys {
            let path = path(&block.place, key);
            let own = bare(&path);
            let ends = own.strip_suffix(&*word).is_some_and(|rest| rest.ends_with('.'));
            if word.is_empty() || (own != word && !ends) {
                continue;
            }
            let inside = all.iter().find(|inner| bare(&inner.place) == own);
            let keys = inside.map(|inner| inner.keys.iter().map(|(key, _)| (*key).clone()));
            let (default, required, text) = facts(schema);
            let kind = kind(schema);
            let keys = keys.into_iter().flatten().collect();
            found.push(KeyHelp { path, kind, default, required, text, keys });
        }
    }
    found
}

/// A table of the page.
struct Block {
    /// Its path; empty at the top.
    place: String,
    schema: &'static Json,
    keys: Vec<(&'static String, &'static Json)>,
}

fn path(place: &str, key: &str) -> String {
    if place.is_empty() { key.to_owned() } else { format!("{place}.{key}") }
}

/// Every block that has keys, depth first, in the order of the keys.
fn blocks() -> Vec<Block> {
    let mut all = Vec::new();
    let mut left: Vec<(String, &'static Json)> = vec![(String::new(), schema::schema())];
    while let Some((place, schema)) = left.pop() {
        let Some(map) = schema::alternative(schema, "object") else { continue };
        if let Some(inner) = schema::chosen_names(map) {
            left.push((format!("{place}.NAME"), inner));
            continue;
        }
        let Some(properties) = map["properties"].as_object().filter(|all| !all.is_empty()) else {
            continue;
        };
        let inner = properties.iter().map(|(key, schema)| {
            let path = path(&place, key);
            match schema::alternative(schema, "array") {
                Some(list) => (format!("{path}[]"), &list["items"]),
                None => (path, schema),
            }
        });
        let inner: Vec<_> = inner.collect();
        left.extend(inner.into_iter().rev());
        all.push(Block { place, schema, keys: properties.iter().collect() });
    }
    all
}

/// What holds without it, whether it must be there, and what it is for.
fn facts(schema: &Json) -> (String, bool, String) {
    let empty = Map::new();
    let map = schema.as_object().unwrap_or(&empty);
    let required = map.get("required").is_some_and(|must| must == true);
    let text = map.get("description").and_then(Json::as_str).unwrap_or_default();
    (schema::fallback(map).unwrap_or_default(), required, text.replace('\n', " "))
}

fn row(page: &mut String, key: &str, schema: &Json) {
    let (default, required, text) = facts(schema);
    let default = if required && default.is_empty() { "**must be there**".into() } else { default };
    let cells = [kind(schema), default, text].map(|c| c.replace('|', "\\|"));
    let _ = writeln!(page, "| `{key}` | {} |", cells.join(" | "));
}

/// What can stand there.
fn kind(schema: &Json) -> String {
    let one = |schema: &Json| schema.as_object().and_then(schema::kind);
    let scalar = schema::alternative(schema, "string").and_then(one).or_else(|| one(schema));
    let list = schema::alternative(schema, "array").map(|list| {
        one(&list["items"]).map_or("a list".to_owned(), |kind| format!("a list: {kind}"))
    });
    let map = schema::alternative(schema, "object").map(|map| match schema::chosen_names(map) {
        Some(inner) => format!("names, each with {}", self::kind(inner).to_lowercase()),
        None => "a block".to_owned(),
    });
    let all: Vec<String> = [scalar, list, map].into_iter().flatten().collect();
    all.join(", or ")
}

fn codes(page: &mut String) {
    page.push_str(
        "\n## Diagnostics\n\n`motegate help CODE` explains each.\n\n| code | |\n|---|---|\n",
    );
    for code in Code::ALL {
        let title = code.explanation().lines().next().unwrap_or_default();
        let title = title.split_once(": ").map_or(title, |(_, title)| title);
        let _ = writeln!(page, "| [{code}](codes/{code}.md) | {} |", title.replace('|', "\\|"));
    }
}
