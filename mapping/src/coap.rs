//! [`CoapTable`]: the checked CoAP rules.
//!
//! Candidates match listener, client and path. None: 4.04. None with the method: 4.05. Among the
//! rest the highest priority wins, then the narrowest; the order in the file never matters. Rules
//! are kept in an order of which "narrower" is a part, so that the winner is the lowest number.

use std::sync::Arc;
use std::time::Duration;

use motegate_message::{Qos, Reason, TopicFilter, TopicName};

use crate::conflict::{self, Contender};
use crate::glob::Glob;
use crate::index::{Edge, Index};
use crate::pattern::Pattern;
use crate::query::{self, Queries};
use crate::reverse::Reversal;
use crate::rule::{Preset, Retain};
use crate::safety::Unsafe;
use crate::template::{Names, Template, Values};
use crate::text::Text;
use crate::{
    Action, Caller, CoapMatch, CoapMethod, CoapRule, MapError, Place, RuleError, RuleErrorKind,
    Rules, TemplateError,
};

/// Below every priority that a file can give.
const PRESET_PRIORITY: i32 = i32::MIN;

/// A checked rule.
#[derive(Debug)]
pub(crate) struct Rule {
    name: Arc<str>,
    /// Where it stands; `None` for a preset.
    place: Option<Place>,
    pattern: Pattern,
    topic: Template,
    methods: Methods,
    queries: Queries,
    qos: Option<Qos>,
    retain: Retain,
    expiry: Option<Duration>,
    priority: i32,
    /// Sorted; empty: all.
    listeners: Vec<String>,
    client: Option<Glob>,
    encode: bool,
    absolute: bool,
    content_when_empty: bool,
    reversal: Option<Reversal>,
}

/// What each method means.
#[derive(Debug, Clone, Copy, Default)]
struct Methods([Option<Action>; 5]);

const METHODS: [(CoapMethod, &str); 5] = [
    (CoapMethod::Get, "GET"),
    (CoapMethod::Observe, "OBSERVE"),
    (CoapMethod::Put, "PUT"),
    (CoapMethod::Post, "POST"),
    (CoapMethod::Delete, "DELETE"),
];

impl Methods {
    fn slot(method: CoapMethod) -> Option<usize> {
        METHODS.iter().position(|(one, _)| *one == method)
    }

    fn get(&self, method: CoapMethod) -> Option<Action> {
        Self::slot(method).and_then(|slot| self.0[slot])
    }

    fn all() -> Self {
        let mut all = Methods::default();
        for (slot, (method, _)) in METHODS.iter().enumerate() {
            all.0[slot] = Some(natural(*method));
        }
        all
    }

    /// The names of what is taken.
    fn list(&self) -> impl Iterator<Item = &'static str> + '_ {
        METHODS.iter().zip(&self.0).filter(|(_, action)| action.is_some()).map(|((_, m), _)| *m)
    }
}

/// What a method means unless a rule says otherwise.
const fn natural(method: CoapMethod) -> Action {
    match method {
        CoapMethod::Get | CoapMethod::Other => Action::Read,
        CoapMethod::Observe => Action::Subscribe,
        CoapMethod::Put | CoapMethod::Post => Action::Publish,
        CoapMethod::Delete => Action::Clear,
    }
}

/// All CoAP rules.
#[derive(Debug, Default)]
pub(crate) struct CoapTable {
    rules: Vec<Rule>,
    index: Index,
    /// Reversible rules that take GET, by the levels of their topic below the mount.
    reverse: Index,
    /// The same for `absolute` rules, by the whole topic.
    reverse_absolute: Index,
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
        for (i, rule) in rules.coap.iter().enumerate() {
            checked.extend(check(rule, rules, &list.at(i), errors));
        }
        for preset in &rules.presets {
            match preset {
                Preset::Passthrough => checked.push(passthrough(rules)),
            }
        }
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
        }
    }

    pub(crate) fn map(
        &self,
        caller: &Caller<'_>,
        method: CoapMethod,
        path: &[String],
        query: &[String],
    ) -> Result<CoapMatch, MapError> {
        let (rule, action) = self.find(caller, method, path)?;
        let options = rule.queries.read(query, &rule.topic)?;
        let topic = rule.topic(caller, action, path, query)?;
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
            expiry: options.expiry.or(rule.expiry),
            user: options.user,
            content_when_empty: rule.content_when_empty,
        })
    }

    /// The rule that takes the request, and what it makes of the method.
    fn find<S: AsRef<str>>(
        &self,
        caller: &Caller<'_>,
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
            if rule.is_for(caller) && rule.pattern.matches(path, false) {
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
        found.ok_or_else(|| self.refusal(caller, path, any))
    }

    fn refusal<S: AsRef<str>>(&self, caller: &Caller<'_>, path: &[S], any: bool) -> MapError {
        let mut methods = Vec::new();
        let mut empty = None;
        self.index.candidates(path, |i| {
            let rule = &self.rules[i];
            if !rule.is_for(caller) {
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

    pub(crate) fn path(&self, caller: &Caller<'_>, topic: &TopicName) -> Option<Vec<String>> {
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
            let (winner, action) = self.find(caller, CoapMethod::Get, &path).ok()?;
            let forward = winner.topic(caller, action, &path, &[]).ok()?;
            (forward.as_str() == topic).then_some(path)
        })
    }

    #[cfg(test)]
    pub(crate) fn candidates(&self, path: &[String]) -> usize {
        let mut count = 0;
        self.index.candidates(path, |_| count += 1);
        count
    }
}

impl Rule {
    fn is_for(&self, caller: &Caller<'_>) -> bool {
        let listed = |list: &[String]| list.iter().any(|name| name == caller.listener);
        (self.listeners.is_empty() || listed(&self.listeners))
            && self.client.as_ref().is_none_or(|glob| glob.matches(caller.client))
    }

    /// The final topic (mapping.md §2.6).
    fn topic<S: AsRef<str>>(
        &self,
        caller: &Caller<'_>,
        action: Action,
        path: &[S],
        query: &[String],
    ) -> Result<TopicFilter, MapError> {
        let mut out = Text::new();
        let values = Values { caller, path, query, id: 0 };
        let mode = if self.encode { Unsafe::Encode } else { Unsafe::Refuse };
        let bad = |text: String| MapError { reason: Reason::BadTopic, text };
        let dollar = |topic: &str| {
            topic.starts_with('$')
                && self.topic.starts_with_capture()
                && matches!(action, Action::Publish | Action::Clear)
        };
        if self.absolute || caller.mount.is_empty() {
            self.topic.render(&values, mode, &mut out)?;
        } else {
            out.push_str(caller.mount);
            let start = out.len();
            self.topic.render(&values, mode, &mut out)?;
            if dollar(&out.as_str()[start..]) {
                return Err(bad("a topic that begins with $ cannot be written".into()));
            }
            if out.len() == start {
                return Err(bad("the topic is empty".into()));
            }
        }
        if dollar(out.as_str()) {
            return Err(bad("a topic that begins with $ cannot be written".into()));
        }
        TopicFilter::new(out.as_str()).map_err(|e| bad(e.to_string()))
    }
}

impl Contender for Rule {
    const PATTERN_KEY: &'static str = "path";

    fn name(&self) -> &str {
        &self.name
    }

    fn place(&self) -> Option<&Place> {
        self.place.as_ref()
    }

    fn priority(&self) -> i32 {
        self.priority
    }

    fn pattern(&self) -> &Pattern {
        &self.pattern
    }

    fn contains(&self, narrow: &Self) -> bool {
        let listeners = self.listeners.is_empty()
            || !narrow.listeners.is_empty()
                && narrow.listeners.iter().all(|name| self.listeners.contains(name));
        let clients = match (&self.client, &narrow.client) {
            (None, _) => true,
            (Some(wide), Some(narrow)) => wide.contains(narrow),
            (Some(wide), None) => wide.prefix().is_empty() && wide.matches("") && wide.matches("*"),
        };
        listeners && clients && self.pattern.contains(&narrow.pattern)
    }

    fn witness(&self, other: &Self) -> Option<String> {
        let shared =
            |slot: &usize| self.methods.0[*slot].is_some() && other.methods.0[*slot].is_some();
        let slot = WITNESS_ORDER.into_iter().find(shared)?;
        let path = self.pattern.common(&other.pattern)?;
        let listener = match (self.listeners.as_slice(), other.listeners.as_slice()) {
            ([], []) => None,
            ([], [one, ..]) | ([one, ..], []) => Some(one),
            (some, others) => Some(some.iter().find(|name| others.contains(name))?),
        };
        let client = match (&self.client, &other.client) {
            (None, None) => None,
            (Some(one), None) | (None, Some(one)) => one.common(one),
            (Some(a), Some(b)) => Some(a.common(b)?),
        };
        let mut text = format!("{} {}", METHODS[slot].1, query::show_path(&path));
        if let Some(listener) = listener {
            text.push_str(&format!(" on listener {listener}"));
        }
        if let Some(client) = client {
            text.push_str(&format!(" from client {client:?}"));
        }
        Some(text)
    }
}

/// Slots of [`METHODS`], the request that people think of first.
const WITNESS_ORDER: [usize; 5] = [2, 0, 3, 1, 4];

type Rank = (std::cmp::Reverse<i32>, (bool, usize, u64), usize, (i64, usize), String);

impl Rule {
    /// An order of which "narrower" is a part.
    fn rank(&self) -> Rank {
        let listeners = if self.listeners.is_empty() { usize::MAX } else { self.listeners.len() };
        (
            std::cmp::Reverse(self.priority),
            self.pattern.breadth(),
            listeners,
            self.client.as_ref().map_or((0, usize::MAX), Glob::breadth),
            self.name.to_string(),
        )
    }
}

fn passthrough(rules: &Rules) -> Rule {
    let pattern = Pattern::prefixed_tail(&rules.prefix, "topic");
    let topic = Template::tail("topic", pattern.segments.len());
    Rule {
        name: "passthrough".into(),
        place: None,
        reversal: Reversal::new(&pattern, &topic),
        pattern,
        topic,
        methods: Methods::all(),
        queries: Queries::passthrough(),
        qos: rules.defaults.qos,
        retain: rules.defaults.retain,
        expiry: rules.defaults.expiry,
        priority: PRESET_PRIORITY,
        listeners: Vec::new(),
        client: None,
        encode: false,
        absolute: false,
        content_when_empty: true,
    }
}

/// Checks one rule; all its mistakes are reported, not just the first.
fn check(
    rule: &CoapRule,
    rules: &Rules,
    place: &Place,
    errors: &mut Vec<RuleError>,
) -> Option<Rule> {
    let before = errors.len();
    let mut report = |at: Place, kind: RuleErrorKind| errors.push(RuleError::new(at, kind));
    let pattern = Pattern::parse(&rule.path).map_err(|e| report(place.at("path"), e.into())).ok();
    let methods = methods(rule, place, &mut report);
    let queries = Queries::new(rule, place, &mut report);
    let topic = pattern.as_ref().and_then(|pattern| {
        let names = Names {
            pattern: Some(pattern),
            query: &rule.query,
            has_query: true,
            first_id: None,
            no_client: false,
        };
        Template::parse(&rule.topic, &names)
            .map_err(|e| match e {
                TemplateError::BadCharacter('+' | '#') => RuleErrorKind::WildcardTopic,
                other => other.into(),
            })
            .map_err(|kind| report(place.at("topic"), kind))
            .ok()
    });
    let client = rule.client.as_deref().map(Glob::parse);
    if client == Some(None) {
        report(place.at("client"), RuleErrorKind::EmptyGlob);
    }
    if errors.len() > before {
        return None;
    }
    let (pattern, topic) = (pattern?, topic?);
    let mut listeners = rule.listeners.clone();
    listeners.sort();
    listeners.dedup();
    Some(Rule {
        name: rule.name.as_str().into(),
        place: Some(place.clone()),
        reversal: Reversal::new(&pattern, &topic),
        pattern,
        topic,
        methods,
        queries,
        qos: rule.qos.unwrap_or(rules.defaults.qos),
        retain: rule.retain.unwrap_or(rules.defaults.retain),
        expiry: rule.expiry.or(rules.defaults.expiry),
        priority: rule.priority.max(PRESET_PRIORITY + 1),
        listeners,
        client: client.flatten(),
        encode: rule.encode,
        absolute: rule.absolute,
        content_when_empty: !rule.not_found_when_empty,
    })
}

fn methods(
    rule: &CoapRule,
    place: &Place,
    report: &mut impl FnMut(Place, RuleErrorKind),
) -> Methods {
    let Some(given) = &rule.methods else { return Methods::all() };
    let mut methods = Methods::default();
    if given.is_empty() {
        report(place.at("methods"), RuleErrorKind::NoMethods);
    }
    for (method, action) in given {
        let Some(slot) = Methods::slot(*method) else { continue };
        let (name, at) = (METHODS[slot].1, place.at("methods").at(METHODS[slot].1));
        // PUT and POST may also clear, so that devices without DELETE can.
        let clears = matches!(method, CoapMethod::Put | CoapMethod::Post);
        if *action != natural(*method) && !(clears && *action == Action::Clear) {
            let action = action.as_str();
            report(at, RuleErrorKind::BadMethod { method: name, action });
        }
        methods.0[slot] = Some(*action);
    }
    methods
}

#[cfg(test)]
mod tests {
    use super::*;

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
        for (path, rule) in [
            ("plant/9999/a", Some("r9999")),
            ("plant/p1/temp", Some("r1")),
            ("e/d2/a/b", Some("r2")),
            ("mqtt/a", Some("passthrough")),
            ("nowhere/at/all", None),
        ] {
            let path: Vec<String> = path.split('/').map(str::to_owned).collect();
            assert!(table.candidates(&path) <= 2, "{path:?}");
            let found = table.find(&caller(), CoapMethod::Get, &path).ok();
            assert_eq!(found.map(|(rule, _)| &*rule.name), rule, "{path:?}");
        }
    }
}
