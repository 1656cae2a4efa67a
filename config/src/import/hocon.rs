//! HOCON as EMQX and NanoMQ write it: a bounded subset that knows its lines.
//!
//! Read: objects and lists, dotted and quoted keys, `=`, `:`, `+=` and none before a brace, strings
//! in one or three quotes, unquoted text up to the line's end, comments, objects that are merged.
//! Not read: substitutions (`${path}` outside of quotes stays as it is, and is marked) and includes
//! (they are listed). Libraries for HOCON lose the lines, which every remark needs.

use std::collections::HashMap;

use super::draft::Spot;
use super::{ImportError, Source};

/// Deepest nesting, dotted keys included.
const MAX_DEPTH: usize = 32;

/// A value and where it stands.
#[derive(Debug)]
pub(crate) struct Entry<'a> {
    pub(crate) spot: Spot<'a>,
    pub(crate) value: Value<'a>,
}

#[derive(Debug)]
pub(crate) enum Value<'a> {
    Object(Object<'a>),
    List(Vec<Entry<'a>>),
    Text {
        text: String,
        /// Whether a part of it stands for something else.
        substituted: bool,
    },
}

/// Keys in the order that they came in.
#[derive(Debug, Default)]
pub(crate) struct Object<'a> {
    entries: Vec<(String, Entry<'a>)>,
    index: HashMap<String, usize>,
}

impl<'a> Object<'a> {
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &Entry<'a>)> {
        self.entries.iter().map(|(key, entry)| (key.as_str(), entry))
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Entry<'a>> {
        self.entries.get(*self.index.get(key)?).map(|(_, entry)| entry)
    }

    /// The entry that a path of keys leads to.
    pub(crate) fn find(&self, path: &[&str]) -> Option<&Entry<'a>> {
        let (last, before) = path.split_last()?;
        let mut object = self;
        for key in before {
            match object.get(key).map(|entry| &entry.value) {
                Some(Value::Object(next)) => object = next,
                _ => return None,
            }
        }
        object.get(last)
    }

    fn put(&mut self, path: &[String], entry: Entry<'a>, append: bool) {
        let Some((key, rest)) = path.split_first() else { return };
        let spot = entry.spot;
        let at = match self.index.get(key) {
            Some(at) => *at,
            None => {
                let empty = Entry { spot, value: Value::Object(Object::default()) };
                self.index.insert(key.clone(), self.entries.len());
                self.entries.push((key.clone(), empty));
                self.entries.len() - 1
            }
        };
        let Some((_, old)) = self.entries.get_mut(at) else { return };
        if !rest.is_empty() {
            if !matches!(old.value, Value::Object(_)) {
                *old = Entry { spot, value: Value::Object(Object::default()) };
            }
            if let Value::Object(object) = &mut old.value {
                object.put(rest, entry, append);
            }
            return;
        }
        match (&mut old.value, entry.value) {
            (Value::Object(object), Value::Object(new)) => {
                for (key, entry) in new.entries {
                    object.put(&[key], entry, false);
                }
            }
            (Value::List(list), value) if append => list.push(Entry { spot, value }),
            (_, value) if append => {
                *old = Entry { spot, value: Value::List(vec![Entry { spot, value }]) };
            }
            (_, value) => *old = Entry { spot, value },
        }
    }
}

/// A file that another one asks for.
#[derive(Debug)]
pub(crate) struct Include<'a> {
    pub(crate) spot: Spot<'a>,
    pub(crate) path: String,
}

/// Reads a file into what was read before it.
pub(crate) fn parse<'a>(
    source: Source<'a>,
    root: &mut Object<'a>,
    includes: &mut Vec<Include<'a>>,
) -> Result<(), ImportError> {
    let mut parser = Parser { source, rest: source.text, line: 1, includes };
    parser.space(true);
    let braced = parser.eat('{');
    parser.object(root, 0, braced)?;
    parser.space(true);
    if parser.rest.is_empty() { Ok(()) } else { Err(parser.wrong("a brace is closed twice")) }
}

/// Reads a file of `dotted.key=value` lines, whose values go up to the line's end, commas and `#`
/// included; whether it is one.
pub(crate) fn parse_lines<'a>(source: Source<'a>, root: &mut Object<'a>) -> bool {
    let lines = || {
        let lines = source.text.lines().zip(1..).map(|(text, line)| (text.trim(), line));
        lines.filter(|(text, _)| !text.is_empty() && !text.starts_with(['#', '/']))
    };
    let pair = |text: &'a str| -> Option<(&'a str, &'a str)> {
        let (key, value) = text.split_once('=')?;
        let (key, value) = (key.trim(), value.trim());
        let good = |part: &str| {
            !part.is_empty()
                && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b))
        };
        let plain = !value.is_empty() && !value.starts_with(['[', '{', '"', '$']);
        let depth = key.split('.').count();
        (plain && depth <= MAX_DEPTH && key.split('.').all(good)).then_some((key, value))
    };
    if lines().any(|(text, _)| pair(text).is_none()) {
        return false;
    }
    for (text, line) in lines() {
        let Some((key, value)) = pair(text) else { continue };
        let value = value.find(" #").map_or(value, |at| value[..at].trim_end());
        let path: Vec<String> = key.split('.').map(str::to_owned).collect();
        let value = Value::Text { text: value.to_owned(), substituted: false };
        root.put(&path, Entry { spot: Spot { source, line }, value }, false);
    }
    true
}

struct Parser<'a, 'i> {
    source: Source<'a>,
    rest: &'a str,
    line: usize,
    includes: &'i mut Vec<Include<'a>>,
}

impl<'a> Parser<'a, '_> {
    fn spot(&self) -> Spot<'a> {
        Spot { source: self.source, line: self.line }
    }

    fn wrong(&self, text: &str) -> ImportError {
        let fix = "HOCON is read here without substitutions and includes; look at the braces, \
                   brackets and quotes before this line";
        ImportError::new(self.source, self.line, text, fix)
    }

    fn bump(&mut self, bytes: usize) {
        let (taken, rest) = self.rest.split_at(bytes);
        self.line += taken.matches('\n').count();
        self.rest = rest;
    }

    fn eat(&mut self, c: char) -> bool {
        let found = self.rest.starts_with(c);
        if found {
            self.bump(c.len_utf8());
        }
        found
    }

    /// Skips white space and comments; to the line's end only, unless `lines`.
    fn space(&mut self, lines: bool) {
        loop {
            let blank = |c: char| (c.is_whitespace() || c == '\u{feff}') && (lines || c != '\n');
            let trimmed = self.rest.trim_start_matches(blank);
            self.bump(self.rest.len() - trimmed.len());
            if !(self.rest.starts_with('#') || self.rest.starts_with("//")) {
                return;
            }
            let end = self.rest.find('\n').unwrap_or(self.rest.len());
            self.bump(end);
        }
    }

    /// The inside of an object, and its closing brace if it had an opening one.
    fn object(
        &mut self,
        into: &mut Object<'a>,
        depth: usize,
        braced: bool,
    ) -> Result<(), ImportError> {
        let opened = self.line;
        loop {
            self.space(true);
            if self.eat(',') {
                continue;
            }
            if braced && self.eat('}') {
                return Ok(());
            }
            if self.rest.is_empty() {
                if !braced {
                    return Ok(());
                }
                return Err(self.wrong(&format!("the brace of line {opened} is not closed")));
            }
            if !braced && self.rest.starts_with('}') {
                return Ok(());
            }
            if self.include()? {
                continue;
            }
            self.field(into, depth)?;
        }
    }

    /// `include "file"`, `include file("file")`.
    fn include(&mut self) -> Result<bool, ImportError> {
        let Some(after) = self.rest.strip_prefix("include") else { return Ok(false) };
        if !after.starts_with([' ', '\t', '"']) {
            return Ok(false);
        }
        let spot = self.spot();
        let end = self.rest.find('\n').unwrap_or(self.rest.len());
        let line = self.rest.get(..end).unwrap_or_default();
        let mut quotes = line.match_indices('"').map(|(at, _)| at);
        let (Some(open), Some(close)) = (quotes.next(), quotes.next()) else {
            return Err(self.wrong("include without a file in quotes"));
        };
        let path = line.get(open + 1..close).unwrap_or_default().to_owned();
        let after = line.get(close + 1..).unwrap_or_default();
        let closing = usize::from(after.starts_with(')'));
        self.bump(close + 1 + closing);
        self.includes.push(Include { spot, path });
        Ok(true)
    }

    fn field(&mut self, into: &mut Object<'a>, depth: usize) -> Result<(), ImportError> {
        let spot = self.spot();
        let path = self.key()?;
        let depth = depth + path.len();
        if depth > MAX_DEPTH {
            return Err(self.wrong("this is nested more than 32 levels deep"));
        }
        self.space(false);
        let append = self.rest.starts_with("+=");
        if append {
            self.bump(2);
        } else if !self.eat('=') && !self.eat(':') && !self.rest.starts_with('{') {
            let key = path.join(".");
            return Err(self.wrong(&format!("no value after the key {key:?}")));
        }
        self.space(true);
        let value = self.value(depth)?;
        into.put(&path, Entry { spot, value }, append);
        Ok(())
    }

    fn key(&mut self) -> Result<Vec<String>, ImportError> {
        let mut path = Vec::new();
        loop {
            let part = if self.rest.starts_with('"') {
                self.quoted()?
            } else {
                let stop = |c: char| c.is_whitespace() || "=:{}[],\"#.+".contains(c);
                let end = self.rest.find(stop).unwrap_or(self.rest.len());
                let part = self.rest.get(..end).unwrap_or_default().to_owned();
                self.bump(end);
                part
            };
            if part.is_empty() {
                return Err(self.wrong("a key belongs here"));
            }
            path.push(part);
            if path.len() > MAX_DEPTH {
                return Err(self.wrong("this is nested more than 32 levels deep"));
            }
            if !self.eat('.') {
                return Ok(path);
            }
        }
    }

    fn value(&mut self, depth: usize) -> Result<Value<'a>, ImportError> {
        if depth > MAX_DEPTH {
            return Err(self.wrong("this is nested more than 32 levels deep"));
        }
        if self.eat('{') {
            let mut object = Object::default();
            self.object(&mut object, depth, true)?;
            return Ok(Value::Object(object));
        }
        if self.eat('[') {
            return self.list(depth);
        }
        self.text()
    }

    fn list(&mut self, depth: usize) -> Result<Value<'a>, ImportError> {
        let opened = self.line;
        let mut items = Vec::new();
        loop {
            self.space(true);
            if self.eat(',') {
                continue;
            }
            if self.eat(']') {
                return Ok(Value::List(items));
            }
            if self.rest.is_empty() || self.rest.starts_with('}') {
                return Err(self.wrong(&format!("the bracket of line {opened} is not closed")));
            }
            let spot = self.spot();
            let value = self.value(depth + 1)?;
            items.push(Entry { spot, value });
        }
    }

    /// A string, or several that follow each other on a line.
    fn text(&mut self) -> Result<Value<'a>, ImportError> {
        let (mut text, mut substituted, mut any) = (String::new(), false, false);
        while let Some(c) = self.rest.chars().next() {
            let after_space = text.ends_with([' ', '\t']) || !any;
            match c {
                '"' => text.push_str(&self.quoted()?),
                '\n' | ',' | '}' | ']' | '#' => break,
                '/' if after_space && self.rest.starts_with("//") => break,
                '$' if self.rest.starts_with("${") => {
                    let end =
                        self.rest.find(['}', '\n']).filter(|at| self.rest[*at..].starts_with('}'));
                    let Some(end) = end else { return Err(self.wrong("${ without }")) };
                    text.push_str(self.rest.get(..=end).unwrap_or_default());
                    self.bump(end + 1);
                    substituted = true;
                }
                c => {
                    text.push(c);
                    self.bump(c.len_utf8());
                    any |= !c.is_whitespace();
                    continue;
                }
            }
            any = true;
            // What follows a quoted text may go on after spaces, which then belong to neither.
            if c == '"' {
                self.space(false);
            }
        }
        if !any {
            return Err(self.wrong("a value belongs here"));
        }
        Ok(Value::Text { text: text.trim_end().to_owned(), substituted })
    }

    fn quoted(&mut self) -> Result<String, ImportError> {
        if let Some(inside) = self.rest.strip_prefix("\"\"\"") {
            let Some(end) = inside.find("\"\"\"") else {
                return Err(self.wrong("a text in three quotes is not closed"));
            };
            let text = inside.get(..end).unwrap_or_default();
            // EMQX: `"""~` begins on the next line, `~"""` ends on the one before.
            let text = text.strip_prefix("~\n").unwrap_or(text);
            let text = text.strip_suffix('~').unwrap_or(text).trim_end_matches('\n').to_owned();
            self.bump(3 + end + 3);
            return Ok(text);
        }
        self.bump(1);
        let mut text = String::new();
        loop {
            let Some(c) = self.rest.chars().next().filter(|c| *c != '\n') else {
                return Err(self.wrong("a quote is not closed"));
            };
            self.bump(c.len_utf8());
            match c {
                '"' => return Ok(text),
                '\\' => text.push(self.escape()?),
                c => text.push(c),
            }
        }
    }

    fn escape(&mut self) -> Result<char, ImportError> {
        let Some(c) = self.rest.chars().next() else {
            return Err(self.wrong("a quote is not closed"));
        };
        self.bump(c.len_utf8());
        Ok(match c {
            '"' | '\\' | '/' => c,
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => {
                let digits = self.rest.get(..4).and_then(|hex| u32::from_str_radix(hex, 16).ok());
                let Some(c) = digits.and_then(char::from_u32) else {
                    return Err(self.wrong("\\u without four digits"));
                };
                self.bump(4);
                c
            }
            other => return Err(self.wrong(&format!("\\{other} means nothing in quotes"))),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(value: &Value<'_>) -> String {
        match value {
            Value::Text { text, substituted } => {
                format!("{text:?}{}", if *substituted { "$" } else { "" })
            }
            Value::List(items) => {
                let items: Vec<String> = items.iter().map(|item| show(&item.value)).collect();
                format!("[{}]", items.join(" "))
            }
            Value::Object(object) => {
                let items: Vec<String> = object
                    .iter()
                    .map(|(key, entry)| format!("{key}@{}={}", entry.spot.line, show(&entry.value)))
                    .collect();
                format!("{{{}}}", items.join(" "))
            }
        }
    }

    fn read(text: &str) -> Result<String, (usize, String)> {
        let mut root = Object::default();
        let mut includes = Vec::new();
        parse(Source { name: "x.conf", text }, &mut root, &mut includes)
            .map_err(|e| (e.line, e.text))?;
        let includes: Vec<String> =
            includes.iter().map(|i| format!(" <{}@{}", i.path, i.spot.line)).collect();
        Ok(show(&Value::Object(root)) + &includes.concat())
    }

    #[test]
    fn what_is_read() {
        for (text, expected) in [
            ("", "{}"),
            (
                "a = 1 # x\nb: two words // y\nc { d = \"e\" }",
                r#"{a@1="1" b@2="two words" c@3={d@3="e"}}"#,
            ),
            ("a.b.\"c.d\" = 1\na { b { e = 2 } }\na.b.e = 3", r#"{a@1={b@1={c.d@1="1" e@3="3"}}}"#),
            ("{a:[1, 2\n{x=1}\n{x=2},],b:[]}", r#"{a@1=["1" "2" {x@2="1"} {x@3="2"}] b@3=[]}"#),
            ("u = tcp://h:1/p, v = \"\\\"\\\\d\\u0041\"", r#"{u@1="tcp://h:1/p" v@1="\"\\dA"}"#),
            ("a = \"\"\"raw \\ \"x\"\n\"\"\"", r#"{a@1="raw \\ \"x\""}"#),
            ("a = ${x.y}/z\nb = \"${clientid}\"", r#"{a@1="${x.y}/z"$ b@2="${clientid}"}"#),
            ("a += 1\na += 2\na = {b = 1}", r#"{a@3={b@3="1"}}"#),
            ("a = {include \"f.conf\"}\ninclude file(\"g\")", "{a@1={}} <f.conf@1 <g@2"),
            ("included = 1", r#"{included@1="1"}"#),
        ] {
            assert_eq!(read(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn lines_of_keys_and_values() {
        let mut root = Object::default();
        let text = "## x\nlog.to=file,console\nbridge.forwards=a/#,b/# # both\n";
        assert!(parse_lines(Source { name: "x.conf", text }, &mut root));
        let shown = r#"{log@2={to@2="file,console"} bridge@3={forwards@3="a/#,b/#"}}"#;
        assert_eq!(show(&Value::Object(root)), shown);
        for text in ["a = {b=1}", "a {", "a = [1]", "a", "a = \"x\"", "a = 1, b = {}\n}"] {
            assert!(
                !parse_lines(Source { name: "x.conf", text }, &mut Object::default()),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_not_has_its_line() {
        for (text, line) in [
            ("a {\n b = 1\n", 3),
            ("a = [1\n", 2),
            ("a = [1\n}", 2),
            ("\n}", 2),
            ("a\nb = 1", 1),
            ("a =", 1),
            ("a = \"x\n\"", 1),
            ("a = \"\\q\"", 1),
            ("= 1", 1),
            ("a = ${x", 1),
            ("include nothing", 1),
        ] {
            assert_eq!(read(text).map_err(|(line, _)| line), Err(line), "{text:?}");
        }
        assert!(read(&"a { ".repeat(100)).is_err());
        assert!(read(&"[".repeat(100)).is_err());
        assert!(read(&format!("{} = 1", "a.".repeat(100_000))).is_err());
        assert!(read(&format!("x = {}", "[".repeat(100_000))).is_err());
    }
}
