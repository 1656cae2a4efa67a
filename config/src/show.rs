//! The configuration as YAML again: what `motegate config show` prints.
//!
//! The result can be loaded. Keys come in the order of the reference; where a default is no fixed
//! value, a comment says what holds. Secrets are masked.

use serde_json::Value as Json;

use crate::document::{Kind, Node};
use crate::schema;
use crate::secret;
use crate::sources::Sources;

/// Column of the comments that say where a value comes from.
const COLUMN: usize = 48;

/// What is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Show {
    /// Every key with the value that holds, not only those that were written.
    pub effective: bool,
    /// Where each value comes from, as a comment: `default`, `FILE:LINE`, the variable, the flag.
    pub origin: bool,
}

/// Draws a tree; nesting is bounded by `Document::parse`.
pub(crate) fn draw(root: Option<&Node>, sources: &Sources, how: Show) -> String {
    let drawing = Drawing { sources, how };
    let lines = drawing.map(root, schema::schema(), 0);
    let mut out = String::new();
    for line in lines {
        out.push_str(&line.text);
        if !line.origin.is_empty() {
            let pad = COLUMN.saturating_sub(line.text.chars().count()).max(2);
            out.extend(std::iter::repeat_n(' ', pad));
            out.push_str("# ");
            out.push_str(&line.origin);
        }
        out.push('\n');
    }
    out
}

/// What was drawn as JSON: a number where it says the same. `4.00` is a code, and 4.0 is none.
/// Nesting is bounded by `Document::parse`.
pub(crate) fn json(node: &Node) -> Json {
    match &node.kind {
        Kind::List(items) => items.iter().map(json).collect(),
        Kind::Map(items) => items.iter().map(|(key, n)| (key.text.clone(), json(n))).collect(),
        Kind::Scalar { text, .. } => match node.to_json() {
            Json::Number(number) if number.to_string() != *text => Json::String(text.clone()),
            value => value,
        },
    }
}

struct Line {
    text: String,
    origin: String,
}

struct Drawing<'s> {
    sources: &'s Sources,
    how: Show,
}

impl Drawing<'_> {
    /// A mapping: what it has, and what it could have.
    fn map(&self, node: Option<&Node>, schema: &Json, indent: usize) -> Vec<Line> {
        let Some(map) = schema::alternative(schema, "object") else { return Vec::new() };
        let items = match node.map(|node| &node.kind) {
            Some(Kind::Map(items)) => items.as_slice(),
            _ => &[],
        };
        let properties = map["properties"].as_object();
        let known = |key: &str| properties.is_some_and(|all| all.contains_key(key));
        let mut lines = Vec::new();
        // A name that the user chose says what the others are about: a field of a frame.
        let chosen = schema::chosen_names(map);
        for (key, value) in items.iter().filter(|(key, n)| !n.is_null() && !known(&key.text)) {
            if let Some(inner) = chosen {
                lines.extend(self.entry(&key.text, value, inner, indent));
            }
        }
        for (key, inner) in properties.into_iter().flatten() {
            let value = items.iter().find(|(k, n)| k.text == *key && !n.is_null());
            match value {
                // What a test does not say has no default: a block that is there is what it does.
                Some((_, value)) if indent == 0 && key == "tests" => {
                    let how = Show { effective: false, ..self.how };
                    let written = Drawing { sources: self.sources, how };
                    lines.extend(written.entry(key, value, inner, indent));
                }
                Some((_, value)) => lines.extend(self.entry(key, value, inner, indent)),
                None if self.how.effective => lines.extend(self.absent(key, inner, indent)),
                None => {}
            }
        }
        lines
    }

    fn entry(&self, key: &str, value: &Node, schema: &Json, indent: usize) -> Vec<Line> {
        let head = format!("{:indent$}{}:", "", plain_or_quoted(key, false));
        if schema.get("anything").is_some() {
            // JSON is YAML.
            return vec![self.line(format!("{head} {}", value.to_json()), value)];
        }
        match &value.kind {
            Kind::Scalar { .. } => {
                vec![self.line(format!("{head} {}", self.scalar(value, schema, false)), value)]
            }
            Kind::List(items) => self.list(head, value, items, schema, indent),
            Kind::Map(items) if items.is_empty() => vec![self.line(format!("{head} {{}}"), value)],
            Kind::Map(_) => {
                let mut lines = vec![Line { text: head, origin: String::new() }];
                lines.extend(self.map(Some(value), schema, indent + 2));
                lines
            }
        }
    }

    fn list(
        &self,
        head: String,
        node: &Node,
        items: &[Node],
        schema: &Json,
        indent: usize,
    ) -> Vec<Line> {
        let inner = schema::alternative(schema, "array").map_or(&Json::Null, |list| &list["items"]);
        let all_scalars = items.iter().all(|item| matches!(item.kind, Kind::Scalar { .. }));
        if all_scalars {
            let texts: Vec<String> =
                items.iter().map(|item| self.scalar(item, inner, true)).collect();
            return vec![self.line(format!("{head} [{}]", texts.join(", ")), node)];
        }
        let mut lines = vec![Line { text: head, origin: String::new() }];
        for item in items {
            let mut entry = match &item.kind {
                Kind::Map(_) => self.map(Some(item), inner, indent + 4),
                _ => {
                    let text = format!("{:1$}{2}", "", indent + 4, self.scalar(item, inner, false));
                    vec![self.line(text, item)]
                }
            };
            // The dash stands before the first key, which a comment is not.
            if let Some(first) =
                entry.iter_mut().find(|line| !line.text.trim_start().starts_with('#'))
            {
                first.text.replace_range(indent + 2..indent + 3, "-");
            }
            let dash = entry.iter().position(|l| l.text.as_bytes().get(indent + 2) == Some(&b'-'));
            if let Some(at) = dash.filter(|at| *at > 0) {
                let first = entry.remove(at);
                entry.insert(0, first);
            }
            lines.extend(entry);
        }
        lines
    }

    /// A key that is not there.
    fn absent(&self, key: &str, schema: &Json, indent: usize) -> Vec<Line> {
        let text = |value: &str| format!("{:indent$}{key}: {value}", "");
        let default = |value: String| {
            let origin = if self.how.origin { "default".to_owned() } else { String::new() };
            vec![Line { text: text(&value), origin }]
        };
        if let Some(words) = schema["otherwise"].as_str() {
            return vec![Line {
                text: format!("{:indent$}# {key}: {words}", ""),
                origin: String::new(),
            }];
        }
        let flow = |value: &Json| plain_or_quoted(value.as_str().unwrap_or_default(), true);
        match schema.get("default") {
            Some(Json::String(value)) => return default(plain_or_quoted(value, false)),
            Some(Json::Array(all)) => {
                let all: Vec<String> = all.iter().map(flow).collect();
                return default(format!("[{}]", all.join(", ")));
            }
            Some(Json::Object(map)) => {
                let all: Vec<String> =
                    map.iter().map(|(key, value)| format!("{key}: {}", flow(value))).collect();
                return default(format!("{{{}}}", all.join(", ")));
            }
            _ => {}
        }
        let inner = self.map(None, schema, indent + 2);
        let head = Line { text: format!("{:indent$}{key}:", ""), origin: String::new() };
        // A block that says nothing by itself is not there.
        if inner.is_empty() { inner } else { std::iter::once(head).chain(inner).collect() }
    }

    fn scalar(&self, node: &Node, schema: &Json, flow: bool) -> String {
        let Kind::Scalar { text, .. } = &node.kind else { return "[]".to_owned() };
        // A mapping may stand where the text does; the text is described beside it.
        let schema = schema::alternative(schema, "string").unwrap_or(schema);
        if secret::is_hidden(node, schema) {
            return "\"***\"".to_owned();
        }
        plain_or_quoted(text, flow)
    }

    fn line(&self, text: String, node: &Node) -> Line {
        if !self.how.origin {
            return Line { text, origin: String::new() };
        }
        let word =
            |at: usize| self.sources.of(at).map(|source| source.word(at)).unwrap_or_default();
        let mut origin = word(node.span.start);
        if let Some(written) = &node.written {
            origin = format!("{origin} {}", written.replace('\n', " "));
        }
        if let Some(old) = &node.instead_of {
            origin = format!("{origin}, instead of {}", word(old.start));
        }
        Line { text, origin }
    }
}

/// A scalar that is read as the same text, in quotes only where it must be.
pub(crate) fn plain_or_quoted(text: &str, flow: bool) -> String {
    let first = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '_' | '$' | '-');
    let inside = |c: char| {
        c.is_alphanumeric() || " /._-+$:~()=@;|*".contains(c) || (!flow && "{}".contains(c))
    };
    let safe = text.starts_with(first)
        && text.chars().all(inside)
        && !text.starts_with("- ")
        && !text.starts_with("--")
        && text != "-"
        && !text.starts_with("...")
        && !text.contains(": ")
        && !text.ends_with([':', ' '])
        && !matches!(text, "null" | "Null" | "NULL");
    if safe { text.to_owned() } else { quote(text) }
}

/// A double-quoted scalar.
fn quote(text: &str) -> String {
    use std::fmt::Write as _;
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => {
                out.push('\\');
                out.push(c);
            }
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}') => {
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::Document;

    #[test]
    fn a_scalar_is_read_as_what_it_was() {
        for text in [
            "",
            "~",
            "null",
            "a",
            "1.10",
            "a: b",
            "a:b",
            "a #b",
            "- x",
            "-",
            "-1",
            "---",
            "é\u{7}\n",
            "a\": [b]",
            "{x}",
            "s/{x}",
            "[::]:1883",
            "0.0.0.0:1883",
            "a,b",
            "*x",
            "&x",
            "!x",
            "%",
            "a ",
            " a",
            "a:",
            "//x",
            "...",
            "x?",
            "'",
            "\\",
            "\u{2028}",
            "\u{85}",
            "@a",
            "`",
            "|",
            ">",
        ] {
            for (flow, source) in [
                (false, format!("k: {}", plain_or_quoted(text, false))),
                (true, format!("k: [{}]", plain_or_quoted(text, true))),
            ] {
                let root = Document::parse(&source, 0).unwrap().root.unwrap();
                let Kind::Map(items) = root.kind else { panic!("{source}") };
                let node = match &items[0].1.kind {
                    Kind::List(inner) if flow => &inner[0],
                    _ => &items[0].1,
                };
                let Kind::Scalar { text: read, .. } = &node.kind else { panic!("{source}") };
                assert_eq!((read.as_str(), node.is_null()), (text, false), "{source}");
            }
        }
    }
}
