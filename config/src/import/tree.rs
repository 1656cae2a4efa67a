//! [`Tree`]: the HOCON of a broker, which remembers what of it was carried over.
//!
//! What nobody asked for is remarked upon at the end, by a table of what is known about it.

use std::cell::RefCell;
use std::collections::BTreeSet;

use super::draft::{At, Draft, Spot};
use super::hocon::{self, Entry, Include, Object, Value};
use super::{ImportError, RemarkKind, Source};

/// What is said about settings that are not carried over: a path (`*` is any key), where, why.
/// Everything below the path is one remark.
pub(crate) type Known = (&'static str, At, RemarkKind, &'static str);

/// A setting that means the same here: path there, block and key here, and how it is written.
pub(crate) type Carried = (&'static str, Block, &'static str, Form);

#[derive(Debug, Clone, Copy)]
pub(crate) enum Block {
    Mqtt,
    Coap,
    Limits,
}

/// How a value is written, and its range here.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Form {
    Number(u64, u64),
    /// In bytes.
    Size(u64, u64),
    /// In seconds.
    Time(u64, u64),
    Flag,
}

/// All files of a broker as one.
#[derive(Debug)]
pub(crate) struct Tree<'a> {
    pub(crate) root: Object<'a>,
    pub(crate) includes: Vec<Include<'a>>,
    used: RefCell<BTreeSet<String>>,
}

impl<'a> Tree<'a> {
    pub(crate) fn parse(sources: &[Source<'a>]) -> Result<Tree<'a>, ImportError> {
        let (mut root, mut includes) = (Object::default(), Vec::new());
        for source in sources {
            hocon::parse(*source, &mut root, &mut includes)?;
        }
        Ok(Tree { root, includes, used: RefCell::default() })
    }

    /// The same, where a file may also be lines of `dotted.key=value`.
    pub(crate) fn parse_lines(sources: &[Source<'a>]) -> Result<Tree<'a>, ImportError> {
        let (mut root, mut includes) = (Object::default(), Vec::new());
        for source in sources {
            if !hocon::parse_lines(*source, &mut root) {
                hocon::parse(*source, &mut root, &mut includes)?;
            }
        }
        Ok(Tree { root, includes, used: RefCell::default() })
    }

    /// Everything at and below a path is dealt with.
    pub(crate) fn done(&self, path: &[&str]) {
        self.used.borrow_mut().insert(path.join("."));
    }

    /// What a path leads to; it counts as dealt with unless it is an object.
    pub(crate) fn get(&self, path: &[&str]) -> Option<&Entry<'a>> {
        let entry = self.root.find(path)?;
        if !matches!(entry.value, Value::Object(_)) {
            self.done(path);
        }
        Some(entry)
    }

    /// A text.
    pub(crate) fn text(&self, path: &[&str]) -> Option<(Spot<'a>, &str)> {
        self.get(path).and_then(as_text)
    }

    /// `true` or `false`.
    pub(crate) fn flag(&self, path: &[&str]) -> Option<(Spot<'a>, bool)> {
        let (spot, text) = self.text(path)?;
        flag(text).map(|flag| (spot, flag))
    }

    /// The keys of an object.
    pub(crate) fn keys(&self, path: &[&str]) -> Vec<(String, Spot<'a>)> {
        match self.root.find(path).map(|entry| &entry.value) {
            Some(Value::Object(object)) => {
                object.iter().map(|(key, entry)| (key.to_owned(), entry.spot)).collect()
            }
            _ => Vec::new(),
        }
    }

    /// The settings below a path that nobody asked for, for a remark: `, with a and b`.
    pub(crate) fn others(&self, path: &[&str]) -> String {
        let used = self.used.borrow();
        let left =
            |(key, _): &(String, Spot<'a>)| !used.contains(&[path, &[key]].concat().join("."));
        let keys: Vec<String> =
            self.keys(path).into_iter().filter(left).map(|(key, _)| key).take(20).collect();
        if keys.is_empty() {
            String::new()
        } else {
            format!("; not said there: {}", keys.join(", "))
        }
    }

    /// Carries settings over by a table.
    pub(crate) fn carry(&self, table: &[Carried], draft: &mut Draft) {
        for (path, block, key, form) in table {
            let keys: Vec<&str> = path.split('.').collect();
            let Some((spot, text)) = self.text(&keys) else { continue };
            carry(*block, key, *form, spot, (&format!("{path} = {text}"), text), draft);
        }
    }

    /// Remarks upon everything that is not dealt with.
    pub(crate) fn rest(&self, known: &[Known], draft: &mut Draft) {
        for include in &self.includes {
            let what = format!("include {:?}", include.path);
            let text = "not followed: give that file, too, if it matters";
            draft.remark(At::Top, include.spot, RemarkKind::Changed, what, text);
        }
        self.substitutions(draft);
        let used = self.used.borrow();
        let mut open: Vec<(String, &Entry<'a>)> =
            self.root.iter().map(|(key, entry)| (key.to_owned(), entry)).collect();
        open.reverse();
        let mut said = BTreeSet::new();
        while let Some((path, entry)) = open.pop() {
            if used.contains(&path) {
                continue;
            }
            let inside = matches!(entry.value, Value::Object(_)) && touched(&path, &used, known);
            let table = known.iter().find(|k| covers(k.0, &path) && !inside);
            if let Some((table, at, kind, text)) = table {
                if matches!(&entry.value, Value::Text { text, .. } if text == "false") {
                    continue; // what is switched off is no loss
                }
                if said.insert((*table, entry.spot.line)) {
                    draft.remark(*at, entry.spot, *kind, path, waits(*kind, text));
                }
                continue;
            }
            match &entry.value {
                // Something in it is known or dealt with.
                Value::Object(object) if inside => {
                    let below = object.iter().map(|(key, entry)| (format!("{path}.{key}"), entry));
                    let first = open.len();
                    open.extend(below);
                    open[first..].reverse();
                }
                Value::Object(object) if object.iter().next().is_none() => {}
                _ => {
                    let text = "there is no counterpart";
                    draft.remark(At::Top, entry.spot, RemarkKind::Unsupported, path, text);
                }
            }
        }
    }

    /// Remarks upon values that stand for something else there.
    fn substitutions(&self, draft: &mut Draft) {
        let mut open: Vec<&Entry<'a>> = self.root.iter().map(|(_, entry)| entry).collect();
        while let Some(entry) = open.pop() {
            match &entry.value {
                Value::Object(object) => open.extend(object.iter().map(|(_, entry)| entry)),
                Value::List(items) => open.extend(items),
                Value::Text { text, substituted: true } => {
                    let why = "${…} stands for another setting: write the value and import again";
                    draft.remark(At::Top, entry.spot, RemarkKind::Unknown, text, why);
                }
                Value::Text { .. } => {}
            }
        }
    }
}

/// What is said of a setting in a table: what comes later is waited for.
pub(crate) fn waits(kind: RemarkKind, text: &str) -> String {
    match kind {
        RemarkKind::Later if !text.contains("later") => format!("waits for {text}"),
        _ => text.to_owned(),
    }
}

/// Carries a setting over: what stands there, and its value.
pub(crate) fn carry(
    block: Block,
    key: &str,
    form: Form,
    spot: Spot<'_>,
    (what, text): (&str, &str),
    draft: &mut Draft,
) {
    let (at, map) = match block {
        Block::Mqtt => (At::Mqtt, &mut draft.mqtt),
        Block::Coap => (At::Coap, &mut draft.coap),
        Block::Limits => (At::Limits, &mut draft.limits),
    };
    let (kind, why) = match form.read(text) {
        Read::Value(value, changed) => {
            map.set(key, value.as_str());
            if !changed {
                return;
            }
            (RemarkKind::Changed, format!("`{key}` cannot be that: {value} is the nearest"))
        }
        Read::Unlimited => {
            let why = format!("everything has a limit here: the default of `{key}` holds");
            (RemarkKind::Changed, why)
        }
        Read::Nonsense => {
            (RemarkKind::Unknown, format!("not a value of `{key}`: its default holds"))
        }
    };
    draft.remark(at, spot, kind, what, why);
}

pub(crate) fn as_text<'e, 'a>(entry: &'e Entry<'a>) -> Option<(Spot<'a>, &'e str)> {
    match &entry.value {
        Value::Text { text, .. } => Some((entry.spot, text)),
        _ => None,
    }
}

/// A field of an object.
pub(crate) fn field<'e, 'a>(entry: &'e Entry<'a>, key: &str) -> Option<(Spot<'a>, &'e str)> {
    match &entry.value {
        Value::Object(object) => object.get(key).and_then(as_text),
        _ => None,
    }
}

pub(crate) fn flag(text: &str) -> Option<bool> {
    match text {
        "true" | "on" | "yes" | "1" => Some(true),
        "false" | "off" | "no" | "0" => Some(false),
        _ => None,
    }
}

/// Whether a path of the table is this path.
fn covers(table: &str, path: &str) -> bool {
    let (mut table, mut path) = (table.split('.'), path.split('.'));
    loop {
        match (table.next(), path.next()) {
            (None, None) => return true,
            (Some(t), Some(p)) if t == "*" || t == p => {}
            _ => return false,
        }
    }
}

/// Whether something below a path is dealt with, or known.
fn touched(path: &str, used: &BTreeSet<String>, known: &[Known]) -> bool {
    let below = format!("{path}.");
    let used = used.range(below.clone()..).next().is_some_and(|first| first.starts_with(&below));
    let prefix = |table: &str| {
        let depth = path.split('.').count();
        let head: Vec<&str> = table.split('.').take(depth).collect();
        head.len() == depth && table.split('.').count() > depth && covers(&head.join("."), path)
    };
    used || known.iter().any(|k| prefix(k.0))
}

enum Read {
    /// As it is written here; whether it was moved into its range.
    Value(String, bool),
    Unlimited,
    Nonsense,
}

impl Form {
    fn read(self, text: &str) -> Read {
        if matches!(text, "infinity" | "unlimited" | "disabled") {
            return Read::Unlimited;
        }
        let (number, low, high) = match self {
            Form::Flag => {
                return match flag(text) {
                    Some(flag) => Read::Value(flag.to_string(), false),
                    None => Read::Nonsense,
                };
            }
            Form::Number(low, high) => (text.parse().ok(), low, high),
            Form::Size(low, high) => (size(text), low, high),
            Form::Time(low, high) => (seconds(text), low, high),
        };
        let Some(number) = number else { return Read::Nonsense };
        let value = number.clamp(low, high);
        let unit = if matches!(self, Form::Time(..)) { "s" } else { "" };
        Read::Value(format!("{value}{unit}"), value != number)
    }
}

/// `1024`, `64KB`, `1MB`: multiples of 1024 in both brokers.
fn size(text: &str) -> Option<u64> {
    let number = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let scale = match text[number.len()..].to_ascii_uppercase().as_str() {
        "" | "B" => 1,
        "KB" | "K" => 1 << 10,
        "MB" | "M" => 1 << 20,
        "GB" | "G" => 1 << 30,
        _ => return None,
    };
    number.trim_end().parse::<u64>().ok()?.checked_mul(scale)
}

/// `15s`, `2h`, `1h30m`, `500ms`; a bare number is seconds. Parts of a second count as one.
pub(crate) fn seconds(text: &str) -> Option<u64> {
    if let Ok(number) = text.parse() {
        return Some(number);
    }
    let (mut rest, mut millis) = (text, 0_u64);
    while !rest.is_empty() {
        let unit = rest.trim_start_matches(|c: char| c.is_ascii_digit());
        let number: u64 = rest[..rest.len() - unit.len()].parse().ok()?;
        let after = unit.trim_start_matches(|c: char| c.is_ascii_alphabetic());
        let scale = match &unit[..unit.len() - after.len()] {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            "w" => 604_800_000,
            _ => return None,
        };
        millis = millis.checked_add(number.checked_mul(scale)?)?;
        rest = after;
    }
    (!text.is_empty()).then(|| millis.div_ceil(1000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times() {
        assert_eq!(
            (size("10"), size("1KB"), size("2MB"), size("x"), size("1XB")),
            (Some(10), Some(1024), Some(2 << 20), None, None)
        );
        let times = ["15s", "1h30m", "500ms", "7", "1d", "", "s", "1y"].map(seconds);
        assert_eq!(times, [Some(15), Some(5400), Some(1), Some(7), Some(86_400), None, None, None]);
    }

    #[test]
    fn what_nobody_asked_for_is_said_once() {
        let text = "a {\n b = 1\n c = 2\n}\nx.y.z = 3\nx.y.w = 4\noff.n = false\ne {}\n";
        let source = [Source { name: "x.conf", text }];
        let tree = Tree::parse(&source).unwrap();
        assert_eq!(tree.text(&["a", "b"]).map(|(spot, text)| (spot.line, text)), Some((2, "1")));
        let known: &[Known] = &[
            ("x.*", At::Top, RemarkKind::Later, "later"),
            ("off.n", At::Top, RemarkKind::Later, "later"),
        ];
        let mut draft = Draft::default();
        tree.rest(known, &mut draft);
        let said: Vec<String> = draft.into_remarks().iter().map(ToString::to_string).collect();
        assert_eq!(
            said,
            ["x.conf:3: unsupported: a.c: there is no counterpart", "x.conf:5: later: x.y: later"]
        );
    }
}
