//! Writes YAML: mappings, lists and texts, with comments between them.
//!
//! Quotes whatever could be read as anything but the text that is meant, and doubles the dollar of
//! `${`, which our reader would substitute. Comments never end before their line does.

/// Widest flow mapping that stays on one line.
const WIDTH: usize = 96;

/// A value.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    Text(String),
    /// On one line: `[a, b]`.
    Texts(Vec<String>),
    /// On one line where it fits: `{a: b}`.
    Flow(Vec<(String, Value)>),
    Map(Map),
    List(Vec<Item>),
}

/// An entry of a list, and what is said above it.
#[derive(Debug, Clone)]
pub(crate) struct Item {
    pub(crate) above: Vec<String>,
    /// `None`: only something is said.
    pub(crate) value: Option<Value>,
}

/// A mapping, in the order that it is written in.
#[derive(Debug, Clone, Default)]
pub(crate) struct Map(Vec<Line>);

#[derive(Debug, Clone)]
enum Line {
    Comment(String),
    Pair(String, Value),
    Blank,
}

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Value {
        Value::Text(text)
    }
}

impl Map {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether there is a key, not only comments.
    pub(crate) fn has_keys(&self) -> bool {
        self.0.iter().any(|line| matches!(line, Line::Pair(..)))
    }

    pub(crate) fn comment(&mut self, text: impl Into<String>) {
        self.0.push(Line::Comment(text.into()));
    }

    pub(crate) fn comments(&mut self, texts: impl IntoIterator<Item = String>) {
        self.0.extend(texts.into_iter().map(Line::Comment));
    }

    /// Everything of another, after what is here.
    pub(crate) fn append(&mut self, other: Map) {
        self.0.extend(other.0);
    }

    pub(crate) fn blank(&mut self) {
        if !self.0.is_empty() {
            self.0.push(Line::Blank);
        }
    }

    /// Writes a key; where it is there already, its value is replaced.
    pub(crate) fn set(&mut self, key: impl Into<String>, value: impl Into<Value>) {
        let (key, value) = (key.into(), value.into());
        let old = self.0.iter_mut().find_map(|line| match line {
            Line::Pair(name, old) if *name == key => Some(old),
            _ => None,
        });
        match old {
            Some(old) => *old = value,
            None => self.0.push(Line::Pair(key, value)),
        }
    }

    /// The number under a key.
    pub(crate) fn number(&self, key: &str) -> Option<u64> {
        self.0.iter().find_map(|line| match line {
            Line::Pair(name, Value::Text(text)) if name == key => text.parse().ok(),
            _ => None,
        })
    }

    /// The whole text, ending in a line's end.
    pub(crate) fn write(&self) -> String {
        let mut out = String::new();
        self.lines(0, &mut out);
        out
    }

    fn lines(&self, indent: usize, out: &mut String) {
        for line in &self.0 {
            match line {
                Line::Comment(text) => write_comment(text, indent, out),
                Line::Blank => out.push('\n'),
                Line::Pair(key, value) => {
                    pad(indent, out);
                    out.push_str(&scalar(key));
                    out.push(':');
                    value.after_key(indent, out);
                }
            }
        }
    }
}

impl Value {
    /// What follows `key:`.
    fn after_key(&self, indent: usize, out: &mut String) {
        match self {
            Value::Map(map) if map.has_keys() => {
                out.push('\n');
                map.lines(indent + 2, out);
            }
            Value::Map(map) => {
                out.push_str(" {}\n");
                map.lines(indent + 2, out);
            }
            Value::List(items) if items.iter().any(|item| item.value.is_some()) => {
                out.push('\n');
                items.iter().for_each(|item| item.lines(indent + 2, out));
            }
            Value::List(items) => {
                out.push_str(" []\n");
                items.iter().for_each(|item| item.lines(indent + 2, out));
            }
            Value::Flow(pairs) if self.inline().len() + indent > WIDTH => {
                out.push('\n');
                block(pairs).lines(indent + 2, out);
            }
            _ => {
                out.push(' ');
                out.push_str(&self.inline());
                out.push('\n');
            }
        }
    }

    /// On one line, for a comment.
    pub(crate) fn line(&self) -> String {
        self.inline()
    }

    /// On one line.
    fn inline(&self) -> String {
        match self {
            Value::Text(text) => scalar(text),
            Value::Texts(texts) => {
                let texts: Vec<String> = texts.iter().map(|text| scalar(text)).collect();
                format!("[{}]", texts.join(", "))
            }
            Value::Flow(pairs) => {
                let pairs: Vec<String> =
                    pairs.iter().map(|(k, v)| format!("{}: {}", scalar(k), v.inline())).collect();
                format!("{{{}}}", pairs.join(", "))
            }
            // Only texts are written into lines by their makers.
            Value::Map(_) | Value::List(_) => "{}".to_owned(),
        }
    }
}

fn block(pairs: &[(String, Value)]) -> Map {
    Map(pairs.iter().map(|(key, value)| Line::Pair(key.clone(), value.clone())).collect())
}

impl Item {
    fn lines(&self, indent: usize, out: &mut String) {
        for text in &self.above {
            write_comment(text, indent, out);
        }
        match &self.value {
            None => {}
            Some(value @ Value::Flow(pairs)) if value.inline().len() + indent > WIDTH => {
                dashed(&block(pairs), indent, out);
            }
            Some(Value::Map(map)) => dashed(map, indent, out),
            Some(value) => {
                pad(indent, out);
                out.push_str("- ");
                out.push_str(&value.inline());
                out.push('\n');
            }
        }
    }
}

/// `- a: b`, its other keys below `a`.
fn dashed(map: &Map, indent: usize, out: &mut String) {
    let mut text = String::new();
    map.lines(indent + 2, &mut text);
    let body = text.get(indent + 2..).unwrap_or("{}\n");
    pad(indent, out);
    out.push_str("- ");
    out.push_str(body);
}

fn pad(indent: usize, out: &mut String) {
    out.extend(std::iter::repeat_n(' ', indent));
}

fn write_comment(text: &str, indent: usize, out: &mut String) {
    pad(indent, out);
    out.push_str("# ");
    out.push_str(&printable(text));
    out.push('\n');
}

/// Text for one line of a terminal or comment: what would end the line or steer a terminal becomes
/// U+FFFD.
pub(crate) fn printable(text: &str) -> String {
    let odd = |c: char| {
        let code = u32::from(c);
        c.is_control()
            || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{202a}'..='\u{202e}')
            || code & 0xfffe == 0xfffe
    };
    text.chars().map(|c| if odd(c) { '\u{fffd}' } else { c }).collect()
}

/// A scalar as it is written.
pub(crate) fn scalar(text: &str) -> String {
    let text = text.replace("${", "$${");
    if is_plain(&text) { text } else { quoted(&text) }
}

/// Whether a text is read as itself without quotes: a word that is neither a number, nor a truth
/// value, nor nothing.
fn is_plain(text: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/');
    let reserved =
        ["true", "false", "null", "yes", "no", "on", "off", "y", "n", "inf", "nan", "key"];
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    // `1883`, and ranges of topic ids such as `100-131`.
    let number = digits(text) && (text == "0" || !text.starts_with('0'))
        || text.split_once('-').is_some_and(|(a, b)| digits(a) && digits(b));
    let name = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/')
        && text.chars().all(word)
        && !reserved.contains(&text.to_ascii_lowercase().as_str())
        || matches!(text, "true" | "false");
    // `10s`, `64KiB`, `5/s`.
    let measure = text.trim_end_matches(|c: char| c.is_ascii_alphabetic() || c == '/');
    let measure = measure.len() < text.len()
        && digits(measure)
        && ["ms", "s", "m", "h", "d", "KiB", "MiB", "GiB", "B", "/s", "/m", "/h", "/d"]
            .contains(&&text[measure.len()..]);
    number || name || measure
}

fn quoted(text: &str) -> String {
    use std::fmt::Write as _;
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if printable(c.encode_utf8(&mut [0; 4])) == c.to_string() && c != '\u{85}' => {
                out.push(c);
            }
            c => {
                let code = u32::from(c);
                let _ = match code {
                    0..=0xff => write!(out, "\\x{code:02x}"),
                    0x100..=0xffff => write!(out, "\\u{code:04x}"),
                    _ => write!(out, "\\U{code:08x}"),
                };
            }
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_read_as_itself_goes_without_quotes() {
        for plain in ["mqtt", "a/b-c.d", "/etc/x", "1883", "0", "100-131", "10s", "64KiB", "5/s"] {
            assert_eq!(scalar(plain), plain);
        }
        for text in
            ["", "no", "On", "~", "1.10", "007", "a b", "a: b", "- a", "#x", "*", "&a", "x #y"]
        {
            assert_eq!(scalar(text), format!("\"{text}\""));
        }
        assert_eq!(scalar("a\"\\\n\u{1}\u{2028}\u{fffe}é"), r#""a\"\\\n\x01\u2028\ufffeé""#);
        assert_eq!(scalar("${env:HOME}"), "\"$${env:HOME}\"");
    }

    #[test]
    fn nesting_and_comments() {
        let mut inner = Map::default();
        inner.comment("first\nline: x");
        inner.set("k", "v");
        inner.set("k", "w");
        let mut map = Map::default();
        map.set("a", Value::Map(inner.clone()));
        map.blank();
        let item = |value| Item { above: vec!["above".into()], value };
        let flow = |text: &str| Some(Value::Flow(vec![("x".into(), text.into())]));
        map.set(
            "l",
            Value::List(vec![item(flow("1")), item(None), item(flow(&"long ".repeat(30)))]),
        );
        map.set("e", Value::List(vec![item(None)]));
        map.set("t", Value::Texts(vec!["a".into(), "b c".into()]));
        let long = "long ".repeat(30);
        assert_eq!(
            map.write(),
            format!(
                "a:\n  # first\u{fffd}line: x\n  k: w\n\nl:\n  # above\n  - {{x: 1}}\n  # above\n  # above\n  \
                 - x: \"{long}\"\ne: []\n  # above\nt: [a, \"b c\"]\n"
            )
        );
    }
}
