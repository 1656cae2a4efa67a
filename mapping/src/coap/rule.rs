//! [`Rule`]: one checked CoAP rule: whom it holds for, what topic it makes, and whether another
//! rule takes everything that it takes.

use std::sync::Arc;
use std::time::Duration;

use motegate_message::{Qos, Reason, TopicFilter};

use super::links::LinkAttribute;
use crate::conflict::Contender;
use crate::format::Formatted;
use crate::glob::Glob;
use crate::pattern::{Pattern, Segment};
use crate::query::{self, Queries};
use crate::record::RecordTopic;
use crate::reverse::Reversal;
use crate::rule::Retain;
use crate::safety::Unsafe;
use crate::template::{Part, Template, Values, Var};
use crate::text::Text;
use crate::{Action, Caller, CoapMethod, Managed, MapError, Place};

/// Below every priority that a file can give.
pub(super) const PRESET_PRIORITY: i32 = i32::MIN;

/// A checked rule.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(super) name: Arc<str>,
    /// Where it stands; `None` for a preset.
    pub(super) place: Option<Place>,
    pub(super) pattern: Pattern,
    pub(super) topic: Template,
    pub(super) methods: Methods,
    pub(super) queries: Queries,
    pub(super) qos: Option<Qos>,
    pub(super) retain: Retain,
    pub(super) expiry: Option<Duration>,
    pub(super) max_age: Option<Duration>,
    pub(super) priority: i32,
    /// Sorted; empty: all.
    pub(super) listeners: Vec<String>,
    pub(super) client: Option<Glob>,
    pub(super) host: Option<Box<str>>,
    pub(super) encode: bool,
    pub(super) absolute: bool,
    pub(super) content_when_empty: bool,
    pub(super) formatted: Formatted,
    pub(super) link: Box<[LinkAttribute]>,
    pub(super) reversal: Option<Reversal>,
    /// That of `emqx-ps`: who observes may name wildcards, and is answered as EMQX does.
    pub(super) emqx: bool,
    /// What it describes instead of leading to a topic.
    pub(super) manages: Option<Managed>,
}

/// What each method means.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Methods(pub(super) [Option<Action>; 5]);

pub(super) const METHODS: [(CoapMethod, &str); 5] = [
    (CoapMethod::Get, "GET"),
    (CoapMethod::Observe, "OBSERVE"),
    (CoapMethod::Put, "PUT"),
    (CoapMethod::Post, "POST"),
    (CoapMethod::Delete, "DELETE"),
];

impl Methods {
    pub(super) fn slot(method: CoapMethod) -> Option<usize> {
        METHODS.iter().position(|(one, _)| *one == method)
    }

    pub(super) fn get(&self, method: CoapMethod) -> Option<Action> {
        Self::slot(method).and_then(|slot| self.0[slot])
    }

    pub(super) fn all() -> Self {
        let mut all = Methods::default();
        for (slot, (method, _)) in METHODS.iter().enumerate() {
            all.0[slot] = Some(natural(*method));
        }
        all
    }

    /// The names of what is taken.
    pub(super) fn list(&self) -> impl Iterator<Item = &'static str> + '_ {
        METHODS.iter().zip(&self.0).filter(|(_, action)| action.is_some()).map(|((_, m), _)| *m)
    }
}

/// What a method means unless a rule says otherwise.
pub(super) const fn natural(method: CoapMethod) -> Action {
    match method {
        CoapMethod::Get | CoapMethod::Other => Action::Read,
        CoapMethod::Observe => Action::Subscribe,
        CoapMethod::Put | CoapMethod::Post => Action::Publish,
        CoapMethod::Delete => Action::Clear,
    }
}

impl Rule {
    /// Whether it holds for who asks, path aside.
    pub(super) fn is_for(&self, caller: &Caller<'_>, host: Option<&str>) -> bool {
        let listed = |list: &[String]| list.iter().any(|name| name == caller.listener);
        (self.listeners.is_empty() || listed(&self.listeners))
            && self.client.as_ref().is_none_or(|glob| glob.matches(caller.client))
            // RFC 3986 §3.2.2: whatever its case.
            && self.host.as_ref().is_none_or(|own| host.is_some_and(|h| h.eq_ignore_ascii_case(own)))
    }

    /// The final topic (mapping.md §2.6).
    pub(super) fn topic<S: AsRef<str>>(
        &self,
        caller: &Caller<'_>,
        action: Action,
        path: &[S],
        query: &[String],
    ) -> Result<TopicFilter, MapError> {
        let mut out = Text::new();
        let values = Values { caller, path, query, id: 0 };
        out.push_str(self.mount(caller));
        out.begin_topic();
        let start = out.len();
        let mode = match self.emqx && action == Action::Subscribe {
            true => Unsafe::Wildcards,
            false => self.mode(),
        };
        self.topic.render(&values, mode, &mut out)?;
        let below = &out.as_str()[start..];
        if below.is_empty() {
            return Err(bad("the topic is empty".into()));
        }
        let dollar = below.starts_with('$') || out.as_str().starts_with('$');
        let writes = matches!(action, Action::Publish | Action::Clear);
        if writes && dollar && self.topic.starts_with_capture() {
            return Err(bad("a topic that begins with $ cannot be written".into()));
        }
        TopicFilter::new(out.as_str()).map_err(|e| bad(e.to_string()))
    }

    /// The topic with places for the names of records; `None` when it names none.
    pub(super) fn records(
        &self,
        caller: &Caller<'_>,
        path: &[String],
        query: &[String],
    ) -> Result<Option<RecordTopic>, MapError> {
        if !self.topic.has_record() {
            return Ok(None);
        }
        let captured = self.topic.starts_with_capture();
        let mut topic = RecordTopic::new(self.mount(caller), self.mode(), captured);
        let values = Values { caller, path, query, id: 0 };
        for part in &self.topic.parts {
            match part {
                Part::Var { var: Var::Record { tail }, filters, .. } => {
                    topic.name(*tail, filters.clone());
                }
                part => {
                    let mut out = Text::new();
                    part.render(&values, self.mode(), &mut out)?;
                    topic.text(out.as_str());
                }
            }
        }
        Ok(Some(topic))
    }

    fn mount<'a>(&self, caller: &Caller<'a>) -> &'a str {
        if self.absolute { "" } else { caller.mount }
    }

    const fn mode(&self) -> Unsafe {
        if self.encode { Unsafe::Encode } else { Unsafe::Refuse }
    }

    /// Whether its path has no captures: one resource.
    pub(super) fn is_literal(&self) -> bool {
        let literal = |segment: &Segment| matches!(segment, Segment::Literal(_));
        self.manages.is_none() && !self.pattern.tail && self.pattern.segments.iter().all(literal)
    }
}

fn bad(text: String) -> MapError {
    MapError { reason: Reason::BadTopic, text }
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
        let hosts = self.host.is_none() || self.host == narrow.host;
        listeners && clients && hosts && self.pattern.contains(&narrow.pattern)
    }

    fn witness(&self, other: &Self) -> Option<String> {
        let shared =
            |slot: &usize| self.methods.0[*slot].is_some() && other.methods.0[*slot].is_some();
        let slot = WITNESS_ORDER.into_iter().find(shared)?;
        let path = self.pattern.common(&other.pattern)?;
        if self.host.is_some() && other.host.is_some() && self.host != other.host {
            return None;
        }
        let host = self.host.as_ref().or(other.host.as_ref());
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
        if let Some(host) = host {
            text.push_str(&format!(" at host {host}"));
        }
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

pub(super) type Rank =
    (std::cmp::Reverse<i32>, (bool, usize, u64), (usize, bool), (i64, usize), String);

impl Rule {
    /// An order of which "narrower" is a part.
    pub(super) fn rank(&self) -> Rank {
        let listeners = if self.listeners.is_empty() { usize::MAX } else { self.listeners.len() };
        (
            std::cmp::Reverse(self.priority),
            self.pattern.breadth(),
            (listeners, self.host.is_none()),
            self.client.as_ref().map_or((0, usize::MAX), Glob::breadth),
            self.name.to_string(),
        )
    }
}
