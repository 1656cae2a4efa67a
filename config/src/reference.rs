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
    let mut blocks: Vec<(String, &Json)> = vec![(String::new(), schema::schema())];
    while let Some((place, block)) = blocks.pop() {
        let Some(map) = schema::alternative(block, "object") else { continue };
        if let Some(inner) = schema::chosen_names(map) {
            blocks.push((format!("{place}.NAME"), inner));
            continue;
        }
        let Some(properties) = map["properties"].as_object().filter(|all| !all.is_empty()) else {
            continue;
        };
        let title = if place.is_empty() { "Top level".to_owned() } else { format!("`{place}`") };
        let _ = write!(page, "\n## {title}\n\n");
        let about = block.get("description").and_then(Json::as_str).unwrap_or_default();
        if !place.is_empty() && !about.is_empty() {
            let _ = write!(page, "{about}\n\n");
        }
        page.push_str("| key | value | default | |\n|---|---|---|---|\n");
        let mut inner = Vec::new();
        for (key, schema) in properties {
            row(&mut page, key, schema);
            let path = if place.is_empty() { key.clone() } else { format!("{place}.{key}") };
            inner.push(match schema::alternative(schema, "array") {
                Some(list) => (format!("{path}[]"), &list["items"]),
                None => (path, schema),
            });
        }
        // Depth first, in the order of the keys.
        blocks.extend(inner.into_iter().rev());
    }
    codes(&mut page);
    page
}

fn row(page: &mut String, key: &str, schema: &Json) {
    let empty = Map::new();
    let map = schema.as_object().unwrap_or(&empty);
    let default = match schema::fallback(map) {
        Some(default) => default,
        None if map.get("required").is_some_and(|must| must == true) => "**must be there**".into(),
        None => String::new(),
    };
    let text = map.get("description").and_then(Json::as_str).unwrap_or_default();
    let cells = [kind(schema), default, text.replace('\n', " ")].map(|c| c.replace('|', "\\|"));
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
