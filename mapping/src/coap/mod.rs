//! [`CoapTable`]: the checked CoAP rules.
//!
//! Candidates match listener, client and path. None: 4.04. None with the method: 4.05. Among the
//! rest the highest priority wins, then the narrowest; the order in the file never matters. Rules
//! are kept in an order of which "narrower" is a part, so that the winner is the lowest number.

mod check;
mod explain;
mod links;
mod preset;
mod rule;

use motegate_message::{Reason, TopicName};

pub use check::is_unasked;
pub(crate) use explain::captures;
pub use links::Link;
pub(crate) use preset::COLLECTION;
use rule::Rule;

use crate::conflict;
use crate::format::Formats;
use crate::index::{Edge, Index};
use crate::query::{self, Expiry};
use crate::rule::Retain;
use crate::{Action, Caller, CoapMatch, CoapMethod, Managed, MapError, Place, RuleError, Rules};

/// All CoAP rules.
#[derive(Debug, Default)]
pub(crate) struct CoapTable {
    rules: Vec<Rule>,
    index: Index,
    /// Reversible rules that take GET, by the levels of their topic below the mount.
    reverse: Index,
    /// The same for `absolute` rules, by the whole topic.
    reverse_absolute: Index,
    /// Rules of one path each, in order.
    literals: Vec<usize>,
    /// Whether some describe topics.
    manages: bool,
    /// Whether the preset `emqx-ps` holds.
    emqx: bool,
}

/// Who asks, and for which host.
#[derive(Clone, Copy)]
pub(crate) struct Asker<'a> {
    pub(crate) caller: &'a Caller<'a>,
    /// Uri-Host.
    pub(crate) host: Option<&'a str>,
}

impl CoapTable {
    pub(crate) fn new(rules: &Rules, errors: &mut Vec<RuleError>) -> CoapTable {
        let mut checked = Vec::with_capacity(rules.coap.len() + 1);
        let list = Place::root().at("mappings").at("coap");
        conflict::distinct_names(
            rules.coap.iter().map(|rule| rule.name.as_str()),
            |i| list.at(i).at("name"),
            errors,
        );
        let formats = Formats::new(&rules.codecs, errors);
        for (i, rule) in rules.coap.iter().enumerate() {
            checked.extend(check::check(rule, rules, &formats, &list.at(i), errors));
        }
        checked.extend(rules.presets.iter().flat_map(|one| preset::rules(*one, rules)));
        preset::find_conflicts(rules, errors);
        checked.sort_by_cached_key(Rule::rank);
        let mut table = CoapTable { rules: checked, ..CoapTable::default() };
        table.file();
        conflict::find(&table.rules, &table.index, errors);
        table
    }

    fn file(&mut self) {
        for (i, rule) in self.rules.iter().enumerate() {
            let edges = rule.pattern.segments.iter().map(Edge::from);
            self.index.insert(edges, rule.pattern.tail, i);
            if let (Some(reversal), Some(_)) = (&rule.reversal, rule.methods.get(CoapMethod::Get)) {
                let index =
                    if rule.absolute { &mut self.reverse_absolute } else { &mut self.reverse };
                index.insert(reversal.edges(), reversal.has_tail(), i);
            }
            if rule.is_literal() {
                self.literals.push(i);
            }
            let of_topics = rule.manages.is_some_and(|managed| managed != Managed::Connection);
            self.manages |= of_topics;
            self.emqx |= rule.emqx;
        }
    }

    pub(crate) fn map(
        &self,
        asker: Asker<'_>,
        method: CoapMethod,
        path: &[String],
        query: &[String],
    ) -> Result<CoapMatch, MapError> {
        if let Some(managed) = self.managed(asker, path) {
            let text = format!("this path is {managed}, not a topic's value");
            return Err(MapError { reason: Reason::NoRule, text });
        }
        let (rule, action) = self.find(asker, method, path)?;
        let decoded = if rule.emqx { decode_again(path) } else { None };
        let path = decoded.as_deref().unwrap_or(path);
        let options = rule.queries.read(query, &rule.topic)?;
        let records = rule.records(asker.caller, path, query)?;
        let topic = match &records {
            Some(records) => records.filter()?,
            None => rule.topic(asker.caller, action, path, query)?,
        };
        let retain = options.retain.unwrap_or(match rule.retain {
            Retain::ByMethod => method != CoapMethod::Post,
            Retain::Always => true,
            Retain::Never => false,
        });
        Ok(CoapMatch {
            rule: rule.name.clone(),
            action,
            topic,
            retain,
            qos: options.qos.or(rule.qos),
            max_age: rule.max_age,
            expiry: match options.expiry {
                Some(Expiry::Never) => None,
                Some(Expiry::After(after)) => Some(after),
                None => rule.expiry,
            },
            user: options.user,
            content_when_empty: rule.content_when_empty,
            payload: rule.formatted.payload.clone(),
            conversion: rule.formatted.conversion.clone(),
            records,
            emqx: rule.emqx.then_some(options.emqx),
        })
    }

    /// What the path describes, where no rule that goes before takes it.
    pub(crate) fn managed(&self, asker: Asker<'_>, path: &[String]) -> Option<Managed> {
        self.manager(asker, path)?.manages
    }

    /// The rule that describes topics there.
    fn manager(&self, asker: Asker<'_>, path: &[String]) -> Option<&Rule> {
        if !self.manages && !self.is_connection(path) {
            return None;
        }
        let mut first = usize::MAX;
        self.index.candidates(path, |i| {
            let rule = &self.rules[i];
            if rule.is_for(asker.caller, asker.host) && rule.pattern.matches(path, false) {
                first = first.min(i);
            }
        });
        self.rules.get(first).filter(|rule| rule.manages.is_some())
    }

    /// Whether EMQX's clients connect there, if no rule of the file goes before.
    pub(crate) fn is_connection(&self, path: &[String]) -> bool {
        self.emqx && path == preset::CONNECTION
    }

    /// Whether there are paths that describe topics.
    pub(crate) const fn manages(&self) -> bool {
        self.manages
    }

    /// The rule that takes the request, and what it makes of the method.
    fn find<S: AsRef<str>>(
        &self,
        asker: Asker<'_>,
        method: CoapMethod,
        path: &[S],
    ) -> Result<(&Rule, Action), MapError> {
        // An Observe that no rule takes is an ordinary GET (RFC 7641 §4.1).
        let fallback = match method {
            CoapMethod::Observe => CoapMethod::Get,
            other => other,
        };
        let (mut taken, mut second, mut any) = (usize::MAX, usize::MAX, false);
        self.index.candidates(path, |i| {
            let rule = &self.rules[i];
            if rule.is_for(asker.caller, asker.host) && rule.pattern.matches(path, false) {
                any = true;
                if rule.methods.get(method).is_some() {
                    taken = taken.min(i);
                } else if rule.methods.get(fallback).is_some() {
                    second = second.min(i);
                }
            }
        });
        let (winner, method) = match taken {
            usize::MAX => (second, fallback),
            taken => (taken, method),
        };
        let found = self.rules.get(winner).and_then(|rule| Some((rule, rule.methods.get(method)?)));
        found.ok_or_else(|| self.refusal(asker, path, any))
    }

    fn refusal<S: AsRef<str>>(&self, asker: Asker<'_>, path: &[S], any: bool) -> MapError {
        if self.emqx && path.len() == 1 && path[0].as_ref() == preset::COLLECTION {
            let text = "name a topic: /ps/TOPIC".into(); // 4.00, as EMQX has it
            return MapError { reason: Reason::BadTopic, text };
        }
        let mut methods = Vec::new();
        let mut empty = None;
        self.index.candidates(path, |i| {
            let rule = &self.rules[i];
            if !rule.is_for(asker.caller, asker.host) {
            } else if rule.pattern.matches(path, false) {
                methods.extend(rule.methods.list());
            } else if rule.pattern.matches(path, true) {
                empty = Some(&rule.name);
            }
        });
        if any {
            methods.sort_unstable();
            methods.dedup();
            let text = format!("this path takes {}", methods.join(", "));
            return MapError { reason: Reason::MethodNotAllowed, text };
        }
        match empty {
            Some(rule) => {
                let text = format!("an empty path segment stands where rule {rule} needs a value");
                MapError { reason: Reason::BadTopic, text }
            }
            None => MapError {
                reason: Reason::NoRule,
                text: format!("no mapping rule takes the path {}", query::show_path(path)),
            },
        }
    }

    pub(crate) fn path(&self, asker: Asker<'_>, topic: &TopicName) -> Option<Vec<String>> {
        self.reverse(asker, topic).map(|(_, path)| path)
    }

    /// The rule and the path whose GET reads the topic.
    fn reverse(&self, asker: Asker<'_>, topic: &TopicName) -> Option<(&Rule, Vec<String>)> {
        let caller = asker.caller;
        let topic = topic.as_str();
        let mut found: Vec<usize> = Vec::new();
        let whole: Vec<&str> = topic.split('/').collect();
        self.reverse_absolute.candidates(&whole, |i| found.push(i));
        let below: Vec<&str> = match topic.strip_prefix(caller.mount) {
            Some(rest) if !rest.is_empty() => {
                let levels: Vec<&str> = rest.split('/').collect();
                self.reverse.candidates(&levels, |i| found.push(i));
                levels
            }
            _ => Vec::new(),
        };
        // The narrowest rule is canonical; a path that a narrower rule would catch is none.
        found.sort_unstable();
        found.into_iter().find_map(|i| {
            let rule = &self.rules[i];
            let levels = if rule.absolute { &whole } else { &below };
            let reversal = rule.reversal.as_ref()?;
            let path = reversal.path(caller, &rule.pattern, levels, rule.encode)?;
            if path.iter().any(|segment| is_unasked(segment)) {
                return None; // no link leads there
            }
            let (winner, action) = self.find(asker, CoapMethod::Get, &path).ok()?;
            let forward = winner.topic(caller, action, &path, &[]).ok()?;
            (forward.as_str() == topic).then_some((winner, path))
        })
    }

    #[cfg(test)]
    pub(crate) fn candidates(&self, path: &[String]) -> usize {
        let mut count = 0;
        self.index.candidates(path, |_| count += 1);
        count
    }
}

/// EMQX's gateway decodes a path once more, whole: its clients may send `a%2F%2B` for `a/+`. `None`
/// where that changes nothing, or there is no UTF-8 text.
fn decode_again(path: &[String]) -> Option<Vec<String>> {
    let (root, topic) = path.split_first()?;
    if !topic.iter().any(|segment| segment.contains('%')) {
        return None;
    }
    let topic = topic.join("/");
    let mut bytes = Vec::with_capacity(topic.len());
    let mut rest = topic.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let hex = |at: usize| after.get(at).and_then(|b| char::from(*b).to_digit(16));
        match (first, hex(0), hex(1)) {
            (b'%', Some(high), Some(low)) => {
                bytes.push(u8::try_from(high << 4 | low).ok()?);
                rest = &after[2..];
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    let topic = String::from_utf8(bytes).ok()?;
    Some(std::iter::once(root.as_str()).chain(topic.split('/')).map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::CoapRule;

    fn caller() -> Caller<'static> {
        Caller {
            listener: "edge",
            client: "node-7",
            identity: None,
            tenant: "",
            gateway: "gw",
            source_ip: std::net::IpAddr::from([127, 0, 0, 1]),
            mount: "",
        }
    }

    #[test]
    fn ten_thousand_rules_visit_few_candidates() {
        let coap = (0..10_000)
            .map(|i| CoapRule {
                name: format!("r{i}"),
                path: match i % 3 {
                    0 => format!("/plant/{i}/{{x}}"),
                    1 => format!("/{{room}}/p{i}/{{k:temp|hum}}"),
                    _ => format!("/e/d{i}/{{rest...}}"),
                },
                topic: format!("t/{i}"),
                ..CoapRule::default()
            })
            .collect();
        let rules = Rules { coap, ..Rules::default() };
        let mut errors = Vec::new();
        let table = CoapTable::new(&rules, &mut errors);
        assert_eq!((table.rules.len(), errors.as_slice()), (10_001, [].as_slice()));
        let caller = caller();
        let asker = Asker { caller: &caller, host: None };
        for (path, rule) in [
            ("plant/9999/a", Some("r9999")),
            ("plant/p1/temp", Some("r1")),
            ("e/d2/a/b", Some("r2")),
            ("mqtt/a", Some("passthrough")),
            ("nowhere/at/all", None),
        ] {
            let path: Vec<String> = path.split('/').map(str::to_owned).collect();
            assert!(table.candidates(&path) <= 2, "{path:?}");
            let found = table.find(asker, CoapMethod::Get, &path).ok();
            assert_eq!(found.map(|(rule, _)| &*rule.name), rule, "{path:?}");
        }
    }
}
