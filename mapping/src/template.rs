//! [`Template`]: how a topic is put together from captures and built-ins. No logic.
//!
//! `{x}` from the path; built-ins `{client} {identity} {tenant} {listener} {gateway} {source_ip}
//! {query.k} {id} {id-N}`; filters `trim:PREFIX` (the prefix must be there, so that it is
//! reversible), `lower`, `hex` (of the UTF-8 bytes; `filter`). `{{` and `}}` are literal braces.

use std::borrow::Cow;
use std::fmt::Write as _;

use motegate_message::Reason;

use crate::error::TemplateError;
use crate::filter::{self, Filter};
use crate::pattern::{Pattern, is_name};
use crate::safety::{self, Unsafe};
use crate::text::Text;
use crate::{Caller, MapError};

const BUILTINS: [&str; 8] =
    ["client", "identity", "tenant", "listener", "gateway", "source_ip", "query", "id"];

/// Whether a capture may not have this name.
pub(crate) fn is_builtin(name: &str) -> bool {
    BUILTINS.contains(&name)
}

/// A checked template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Template {
    pub(crate) parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Part {
    Text(Box<str>),
    Var { var: Var, filters: Box<[Filter]>, name: Box<str> },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Var {
    /// A segment of the path.
    Segment(usize),
    /// The segments from here on.
    Tail(usize),
    /// The value of a query key.
    Query(Box<str>),
    Client,
    Identity,
    Tenant,
    Listener,
    Gateway,
    SourceIp,
    /// The topic id less this.
    Id(u16),
    /// The name of a SenML record, in one level or in as many as it has; filled in later.
    Record {
        tail: bool,
    },
}

/// What a template may name.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Names<'a> {
    /// Its captures.
    pub(crate) pattern: Option<&'a Pattern>,
    /// Query keys whose values are captures: (key, capture).
    pub(crate) query: &'a [(String, String)],
    /// Whether `{query.k}` has a meaning.
    pub(crate) has_query: bool,
    /// The first id of the range, where `{id}` has a meaning.
    pub(crate) first_id: Option<u16>,
    /// Whether there is no `{client}` (yet).
    pub(crate) no_client: bool,
    /// Whether `{senml.n}` has a meaning.
    pub(crate) has_record: bool,
    /// Whether a wildcard may stand for a level.
    pub(crate) wildcards: bool,
    /// Whether it is no topic, so that any character may stand in it.
    pub(crate) free: bool,
}

/// What a template is filled from.
pub(crate) struct Values<'a, S> {
    pub(crate) caller: &'a Caller<'a>,
    pub(crate) path: &'a [S],
    pub(crate) query: &'a [String],
    pub(crate) id: u16,
}

impl<'a> Values<'a, &'a str> {
    /// For templates without captures.
    pub(crate) const fn plain(caller: &'a Caller<'a>, id: u16) -> Self {
        Values { caller, path: &[], query: &[], id }
    }
}

impl Template {
    /// `{x...}` alone: what the passthrough preset is.
    pub(crate) fn tail(name: &str, at: usize) -> Template {
        let part = Part::Var { var: Var::Tail(at), filters: Box::default(), name: name.into() };
        Template { parts: vec![part] }
    }

    pub(crate) fn parse(text: &str, names: &Names<'_>) -> Result<Template, TemplateError> {
        if text.is_empty() {
            return Err(TemplateError::Empty);
        }
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            let after = &rest[c.len_utf8()..];
            match c {
                '{' | '}' if after.starts_with(c) => {
                    literal.push(c);
                    rest = &after[1..];
                }
                '{' => {
                    let (inside, next) = after.split_once('}').ok_or(TemplateError::Unclosed)?;
                    if !literal.is_empty() {
                        parts.push(Part::Text(std::mem::take(&mut literal).into()));
                    }
                    parts.push(placeholder(inside, names)?);
                    rest = next;
                }
                '}' => return Err(TemplateError::Unclosed),
                '+' | '#' if names.wildcards || names.free => {
                    literal.push(c);
                    rest = after;
                }
                '+' | '#' | '\0' => return Err(TemplateError::BadCharacter(c)),
                _ => {
                    literal.push(c);
                    rest = after;
                }
            }
        }
        if !literal.is_empty() {
            parts.push(Part::Text(literal.into()));
        }
        Ok(Template { parts })
    }

    /// Appends the filled template.
    ///
    /// # Errors
    /// What a placeholder cannot be filled with, as a text for the device's developer.
    pub(crate) fn render<S: AsRef<str>>(
        &self,
        values: &Values<'_, S>,
        mode: Unsafe,
        out: &mut Text,
    ) -> Result<(), MapError> {
        self.parts.iter().try_for_each(|part| part.render(values, mode, out))
    }

    /// Whether the first character comes from the device.
    pub(crate) fn starts_with_capture(&self) -> bool {
        matches!(self.parts.first(), Some(Part::Var { .. }))
    }

    /// The first level, if it is the same in every topic.
    pub(crate) fn first_level(&self) -> Option<&str> {
        let Some(Part::Text(text)) = self.parts.first() else { return None };
        match text.split_once('/') {
            Some((first, _)) => Some(first),
            None => (self.parts.len() == 1).then_some(text),
        }
    }

    /// Whether it names the record.
    pub(crate) fn has_record(&self) -> bool {
        let record = |part: &Part| matches!(part, Part::Var { var: Var::Record { .. }, .. });
        self.parts.iter().any(record)
    }

    /// Whether a wildcard stands in it.
    pub(crate) fn has_wildcard(&self) -> bool {
        let wild = |part: &Part| matches!(part, Part::Text(text) if text.contains(['+', '#']));
        self.parts.iter().any(wild)
    }

    /// Whether each wildcard stands alone in its level, `#` in the last one (MQTT 5 §4.7.1).
    pub(crate) fn wildcards_fit(&self) -> bool {
        let levels = self.levels();
        let last = levels.len() - 1;
        levels.iter().enumerate().all(|(i, level)| {
            level.iter().all(|part| match part {
                Part::Text(text) if text.contains('#') => {
                    **text == *"#" && level.len() == 1 && i == last
                }
                Part::Text(text) if text.contains('+') => **text == *"+" && level.len() == 1,
                _ => true,
            })
        })
    }

    /// The parts of each level.
    pub(crate) fn levels(&self) -> Vec<Vec<Part>> {
        let mut levels = vec![Vec::new()];
        for part in &self.parts {
            let Part::Text(text) = part else {
                levels.last_mut().expect("there is always a level").push(part.clone());
                continue;
            };
            for (i, piece) in text.split('/').enumerate() {
                if i > 0 {
                    levels.push(Vec::new());
                }
                if !piece.is_empty() {
                    let level = levels.last_mut().expect("there is always a level");
                    level.push(Part::Text(piece.into()));
                }
            }
        }
        levels
    }

    /// The query keys that it needs.
    pub(crate) fn query_keys(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Var { var: Var::Query(key), .. } => Some(&**key),
            _ => None,
        })
    }
}

impl Part {
    pub(crate) fn render<S: AsRef<str>>(
        &self,
        values: &Values<'_, S>,
        mode: Unsafe,
        out: &mut Text,
    ) -> Result<(), MapError> {
        let (var, filters, name) = match self {
            Part::Text(text) => {
                out.push_str(text);
                return Ok(());
            }
            Part::Var { var, filters, name } => (var, filters, name),
        };
        let caller = values.caller;
        match var {
            Var::Tail(from) => return render_tail(*from, name, filters, values, mode, out),
            // An IPv4 client of a dual-stack socket is known by its IPv4 address.
            Var::SourceIp if filters.is_empty() => {
                let _ = write!(out, "{}", caller.source_ip.to_canonical());
                return Ok(());
            }
            Var::Id(less) if filters.is_empty() => {
                let _ = write!(out, "{}", values.id.saturating_sub(*less));
                return Ok(());
            }
            _ => {}
        }
        let text: Cow<'_, str> = match var {
            Var::Segment(at) => values.path.get(*at).map_or("", |s| s.as_ref()).into(),
            Var::Query(key) => query_value(values.query, key)
                .ok_or_else(|| MapError {
                    reason: Reason::BadOption,
                    text: format!("this path needs the query parameter {key}=…"),
                })?
                .into(),
            Var::Client => caller.client.into(),
            Var::Identity => caller
                .identity
                .ok_or_else(|| MapError {
                    reason: Reason::AuthMissing,
                    text: "this topic needs an authenticated identity".into(),
                })?
                .into(),
            // The configuration's own texts: no device chooses them.
            Var::Tenant => return push_trusted(out, caller.tenant, filters, name),
            Var::Listener => return push_trusted(out, caller.listener, filters, name),
            Var::Gateway => return push_trusted(out, caller.gateway, filters, name),
            Var::SourceIp => caller.source_ip.to_canonical().to_string().into(),
            Var::Id(less) => values.id.saturating_sub(*less).to_string().into(),
            Var::Tail(_) | Var::Record { .. } => return Ok(()),
        };
        let text = filter::apply(filters, text, name)?;
        if text.is_empty() && mode != Unsafe::Free {
            return Err(bad_topic(format!("{{{name}}} is empty")));
        }
        safety::push_level(out, &text, mode).map_err(|c| refused(name, c))
    }
}

/// Appends the name of a record, for `{senml.n}` or `{senml.n...}`.
///
/// # Errors
/// It is empty, or holds what cannot stand in a topic.
pub(crate) fn fill_name(
    text: &str,
    tail: bool,
    filters: &[Filter],
    mode: Unsafe,
    out: &mut Text,
) -> Result<(), MapError> {
    let name = if tail { "senml.n..." } else { "senml.n" };
    let text = filter::apply(filters, text.into(), name)?;
    if text.is_empty() {
        return Err(bad_topic(format!("{{{name}}} is empty: a record has no name")));
    }
    match tail {
        true => push_levels(text.split('/'), name, mode, out),
        false => safety::push_level(out, &text, mode).map_err(|c| refused(name, c)),
    }
}

fn push_trusted(
    out: &mut Text,
    text: &str,
    filters: &[Filter],
    name: &str,
) -> Result<(), MapError> {
    out.push_str(&filter::apply(filters, text.into(), name)?);
    Ok(())
}

fn render_tail<S: AsRef<str>>(
    from: usize,
    name: &str,
    filters: &[Filter],
    values: &Values<'_, S>,
    mode: Unsafe,
    out: &mut Text,
) -> Result<(), MapError> {
    let tail = values.path.get(from..).unwrap_or_default();
    if filters.is_empty() {
        return push_levels(tail.iter().map(AsRef::as_ref), name, mode, out);
    }
    // Each is checked, or encoded, before joining: a slash inside one must not become a level.
    let mut joined = Text::new();
    push_levels(tail.iter().map(AsRef::as_ref), name, mode, &mut joined)?;
    let text = filter::apply(filters, joined.as_str().into(), name)?;
    // What was encoded stays as it is: only what a filter made is looked at.
    let mode = if mode == Unsafe::Encode { Unsafe::Refuse } else { mode };
    push_levels(text.split('/'), name, mode, out)
}

fn push_levels<'a>(
    levels: impl Iterator<Item = &'a str>,
    name: &str,
    mode: Unsafe,
    out: &mut Text,
) -> Result<(), MapError> {
    for (i, level) in levels.enumerate() {
        if i > 0 {
            out.push('/');
        }
        safety::push_level(out, level, mode).map_err(|c| refused(name, c))?;
    }
    Ok(())
}

/// The value of a query key; a key without `=` has the empty value.
pub(crate) fn query_value<'q>(query: &'q [String], key: &str) -> Option<&'q str> {
    query.iter().find_map(|item| {
        let (k, v) = item.split_once('=').unwrap_or((item, ""));
        (k == key).then_some(v)
    })
}

fn bad_topic(text: String) -> MapError {
    MapError { reason: Reason::BadTopic, text }
}

fn refused(name: &str, c: char) -> MapError {
    bad_topic(format!("{{{name}}} holds {c:?}, which cannot stand in one level of a topic"))
}

fn placeholder(inside: &str, names: &Names<'_>) -> Result<Part, TemplateError> {
    let mut pieces = inside.split('|');
    let name = pieces.next().unwrap_or_default();
    let var = variable(name, names)?;
    let filters = pieces.map(Filter::parse).collect::<Result<_, _>>()?;
    Ok(Part::Var { var, filters, name: name.into() })
}

fn variable(name: &str, names: &Names<'_>) -> Result<Var, TemplateError> {
    if let Some(pattern) = names.pattern {
        let plain = name.strip_suffix("...").unwrap_or(name);
        match pattern.capture(plain) {
            Some(at) if at == pattern.segments.len() => return Ok(Var::Tail(at)),
            Some(at) if plain == name => return Ok(Var::Segment(at)),
            _ => {}
        }
    }
    if let Some((key, _)) = names.query.iter().find(|(_, capture)| capture == name) {
        return Ok(Var::Query(key.as_str().into()));
    }
    let after_id = name.strip_prefix("id").filter(|rest| !rest.starts_with(char::is_alphabetic));
    if let (Some(first), Some(rest)) = (names.first_id, after_id) {
        return id(rest, first).ok_or_else(|| TemplateError::BadId(name.to_owned()));
    }
    match name {
        "senml.n" if names.has_record => Ok(Var::Record { tail: false }),
        "senml.n..." if names.has_record => Ok(Var::Record { tail: true }),
        "client" if !names.no_client => Ok(Var::Client),
        "identity" => Ok(Var::Identity),
        "tenant" => Ok(Var::Tenant),
        "listener" => Ok(Var::Listener),
        "gateway" => Ok(Var::Gateway),
        "source_ip" => Ok(Var::SourceIp),
        _ => match name.strip_prefix("query.") {
            Some(key) if names.has_query && !key.is_empty() => Ok(Var::Query(key.into())),
            _ => Err(TemplateError::Unknown { name: name.to_owned(), known: known(names) }),
        },
    }
}

fn id(rest: &str, first: u16) -> Option<Var> {
    if rest.is_empty() {
        return Some(Var::Id(0));
    }
    let less = rest.strip_prefix('-')?.parse().ok()?;
    (less <= first).then_some(Var::Id(less))
}

fn known(names: &Names<'_>) -> Vec<String> {
    let captures = names.pattern.into_iter().flat_map(Pattern::captures).map(str::to_owned);
    let query = names.query.iter().map(|(_, c)| c).filter(|c| is_name(c) && !is_target(c)).cloned();
    let builtins = BUILTINS.iter().filter(|name| match **name {
        "client" => !names.no_client,
        "query" => false,
        "id" => names.first_id.is_some(),
        _ => true,
    });
    let record = names.has_record.then(|| "senml.n".to_owned());
    captures.chain(query).chain(builtins.map(|name| (*name).to_owned())).chain(record).collect()
}

/// Whether a query target is one of the fixed ones.
pub(crate) fn is_target(target: &str) -> bool {
    matches!(target, "qos" | "retain" | "expiry") || target.starts_with("user_property.")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller() -> Caller<'static> {
        Caller {
            listener: "edge",
            client: "env-3",
            identity: None,
            tenant: "a",
            gateway: "gw",
            source_ip: "::ffff:10.0.0.7".parse().unwrap(),
            mount: "",
        }
    }

    fn fill(pattern: &str, template: &str, path: &[&str]) -> Result<String, MapError> {
        let pattern = Pattern::parse(pattern).unwrap();
        let query = [("k".to_owned(), "q".to_owned())];
        let names = Names {
            pattern: Some(&pattern),
            query: &query,
            has_query: true,
            first_id: Some(100),
            ..Names::default()
        };
        let template = Template::parse(template, &names).unwrap();
        let asked = ["k=v".to_owned(), "z".to_owned()];
        let caller = caller();
        let values = Values { caller: &caller, path, query: &asked, id: 117 };
        let mut out = Text::new();
        template.render(&values, Unsafe::Refuse, &mut out)?;
        Ok(out.as_str().to_owned())
    }

    #[test]
    fn everything_that_can_be_named() {
        let pattern = "/{a}/{b...}";
        let path = ["x", "y", "", "z"];
        for (template, topic) in [
            ("t/{a}/{b}", "t/x/y//z"),
            ("t/{b...}", "t/y//z"),
            ("{client}/{tenant}/{listener}/{gateway}/{source_ip}", "env-3/a/edge/gw/10.0.0.7"),
            ("{client|trim:env-}/{client|hex}", "3/656e762d33"),
            ("{id}/{id-100}/ch{id-100}x", "117/17/ch17x"),
            ("{q}/{query.k}", "v/v"),
            ("{{{a}}}", "{x}"),
            ("{a|hex|trim:7}", "8"),
            ("{b|trim:y/}", "/z"),
        ] {
            assert_eq!(fill(pattern, template, &path).as_deref(), Ok(topic), "{template}");
        }
        assert_eq!(fill("/{a}", "{a|lower}", &["ÄB"]).as_deref(), Ok("äb"));
    }

    #[test]
    fn what_cannot_be_filled() {
        let reason = |t: &str, path: &[&str]| fill("/{a}/{b...}", t, path).unwrap_err().reason;
        assert_eq!(reason("{a}", &["x/y", "z"]), Reason::BadTopic);
        assert_eq!(reason("{a}", &["+", "z"]), Reason::BadTopic);
        assert_eq!(reason("{b}", &["x", "y", "z/w"]), Reason::BadTopic);
        assert_eq!(reason("{b|trim:y}", &["x", "y", "z/w"]), Reason::BadTopic);
        assert_eq!(reason("{client|trim:meter-}", &["x", "y"]), Reason::BadTopic);
        assert_eq!(reason("{client|trim:env-3}", &["x", "y"]), Reason::BadTopic);
        assert_eq!(reason("{query.none}", &["x", "y"]), Reason::BadOption);
        assert_eq!(reason("{identity}", &["x", "y"]), Reason::AuthMissing);
    }

    #[test]
    fn mistakes() {
        let pattern = Pattern::parse("/{room}").unwrap();
        let names = Names { pattern: Some(&pattern), ..Names::default() };
        let bad = |text: &str| Template::parse(text, &names).unwrap_err();
        assert_eq!(bad(""), TemplateError::Empty);
        assert_eq!(bad("{room"), TemplateError::Unclosed);
        assert_eq!(bad("room}"), TemplateError::Unclosed);
        assert_eq!(bad("a/#"), TemplateError::BadCharacter('#'));
        assert_eq!(bad("{room|upper}"), TemplateError::UnknownFilter("upper".into()));
        assert_eq!(bad("{room|trim}"), TemplateError::FilterArgument("trim".into()));
        assert_eq!(bad("{room|hex:2}"), TemplateError::FilterArgument("hex:2".into()));
        let TemplateError::Unknown { name, known } = bad("{rom}") else { panic!() };
        assert_eq!((name.as_str(), known[0].as_str()), ("rom", "room"));
        assert!(matches!(bad("{id}"), TemplateError::Unknown { .. }));
        let ids = Names { first_id: Some(10), ..Names::default() };
        for text in ["{id-11}", "{id+1}", "{id-x}"] {
            assert!(matches!(Template::parse(text, &ids), Err(TemplateError::BadId(_))), "{text}");
        }
        assert!(Template::parse("{identity}", &ids).is_ok());
    }
}
