//! [`IdTable`]: pre-defined topic ids.
//!
//! An id is looked up for the client itself, then for its group, then for all; the first hit wins
//! (mapping.md §2.11). The way back, from a topic to the id that means it to a client, goes
//! through an index of the topics' literal levels, so that a delivery does not pay for every id.

mod explain;

use std::time::Duration;

use hashbrown::HashMap;
use motegate_message::{Reason, TopicFilter};

use crate::format::{Format, Formats, Formatted, Payload};
use crate::glob::Glob;
use crate::index::{Edge, Index};
use crate::rule::{Defaults, Retain, Scope, SnRules, TopicId};
use crate::safety::Unsafe;
use crate::template::{Names, Part, Template, Values, Var};
use crate::text::Text;
use crate::{Caller, MapError, Place, RuleError, RuleErrorKind, Rules, SnMatch};

/// Largest id that can be given a meaning (MQTT-SN 1.2 §5.3.11).
const LAST_ID: u16 = 0xfffe;

/// All pre-defined ids.
#[derive(Debug, Default)]
pub(crate) struct IdTable {
    all: ScopeTable,
    groups: Vec<Group>,
    /// Groups by the text before the first star of one of their globs.
    by_prefix: HashMap<Box<str>, Vec<(Glob, usize)>>,
    /// The lengths that those texts have, each once.
    prefix_lengths: Vec<usize>,
    clients: HashMap<Box<str>, ScopeTable>,
    converts: bool,
}

#[derive(Debug)]
struct Group {
    name: String,
    ids: ScopeTable,
}

/// The ids of one scope, by number.
#[derive(Debug, Default)]
struct ScopeTable {
    entries: Vec<Entry>,
    reverse: Index,
    reverse_absolute: Index,
}

#[derive(Debug)]
struct Entry {
    first: u16,
    last: u16,
    topic: Template,
    retain: Option<bool>,
    expiry: Option<Duration>,
    absolute: bool,
    formatted: Formatted,
}

/// What a scope is checked against.
struct Given<'a> {
    defaults: &'a Defaults,
    formats: Formats,
}

impl IdTable {
    pub(crate) fn new(rules: &Rules, place: &Place, errors: &mut Vec<RuleError>) -> IdTable {
        let mut table = IdTable::default();
        // Mistakes in the codecs themselves are reported once, with the CoAP rules.
        let formats = Formats::new(&rules.codecs, &mut Vec::new());
        let given = Given { defaults: &rules.defaults, formats };
        let rules = &rules.sn;
        table.take_groups(rules, &place.at("groups"), errors);
        let place = place.at("topic_ids");
        for (scope, ids) in &rules.topic_ids {
            let place = place.at(scope.key());
            let checked = ScopeTable::new(ids, &given, &place, errors);
            table.converts |= checked.entries.iter().any(|e| e.formatted.conversion.is_some());
            match scope {
                Scope::All => table.all = checked,
                Scope::Client(name) => {
                    table.clients.insert(name.as_str().into(), checked);
                }
                Scope::Group(name) => match table.groups.iter_mut().find(|g| g.name == *name) {
                    Some(group) => group.ids = checked,
                    None => {
                        let known = table.groups.iter().map(|g| g.name.clone()).collect();
                        let kind = RuleErrorKind::UnknownGroup { group: name.clone(), known };
                        errors.push(RuleError::new(place, kind));
                    }
                },
            }
        }
        table
    }

    fn take_groups(&mut self, rules: &SnRules, place: &Place, errors: &mut Vec<RuleError>) {
        let mut globs: Vec<(Glob, usize)> = Vec::new();
        for (number, (name, texts)) in rules.groups.iter().enumerate() {
            let place = place.at(name.as_str());
            if name.is_empty() || name == "all" || name.starts_with("client:") {
                errors.push(RuleError::new(place.clone(), RuleErrorKind::BadGroupName));
            }
            if texts.is_empty() {
                errors.push(RuleError::new(place.clone(), RuleErrorKind::EmptyGlob));
            }
            self.groups.push(Group { name: name.clone(), ids: ScopeTable::default() });
            for (i, text) in texts.iter().enumerate() {
                let place = place.at(i);
                let Some(glob) = Glob::parse(text) else {
                    errors.push(RuleError::new(place.clone(), RuleErrorKind::EmptyGlob));
                    continue;
                };
                let clash = globs
                    .iter()
                    .filter(|(_, other)| *other != number)
                    .find_map(|(other, group)| glob.common(other).map(|witness| (*group, witness)));
                if let Some((other, witness)) = clash {
                    let other = self.groups[other].name.clone();
                    let kind = RuleErrorKind::GroupOverlap { group: name.clone(), other, witness };
                    errors.push(RuleError::new(place.clone(), kind));
                }
                globs.push((glob, number));
            }
        }
        for (glob, number) in globs {
            self.prefix_lengths.push(glob.prefix().len());
            self.by_prefix.entry(glob.prefix().into()).or_default().push((glob, number));
        }
        self.prefix_lengths.sort_unstable();
        self.prefix_lengths.dedup();
    }

    /// The ids of a client's group.
    fn group(&self, client: &str) -> Option<&ScopeTable> {
        let found = self.prefix_lengths.iter().find_map(|&length| {
            let globs = self.by_prefix.get(client.get(..length)?)?;
            globs.iter().find(|(glob, _)| glob.matches(client)).map(|(_, number)| *number)
        })?;
        self.groups.get(found).map(|group| &group.ids)
    }

    /// From the closest to the widest.
    fn scopes(&self, client: &str) -> impl Iterator<Item = &ScopeTable> {
        let own = self.clients.get(client);
        own.into_iter().chain(self.group(client)).chain([&self.all])
    }

    pub(crate) fn map(&self, caller: &Caller<'_>, id: u16) -> Result<SnMatch, MapError> {
        let entry = self.scopes(caller.client).find_map(|scope| scope.get(id));
        let Some(entry) = entry else {
            let text = format!(
                "topic id {id} has no meaning for client {:?}: add it under \
                 mappings.mqttsn.topic_ids",
                caller.client
            );
            return Err(MapError { reason: Reason::SnUnknownTopicId, text });
        };
        let mut out = Text::new();
        entry.render(caller, id, &mut out)?;
        let topic = TopicFilter::new(out.as_str())
            .map_err(|e| MapError { reason: Reason::BadTopic, text: e.to_string() })?;
        let Formatted { payload, conversion } = entry.formatted.clone();
        Ok(SnMatch { topic, retain: entry.retain, expiry: entry.expiry, payload, conversion })
    }

    /// The id that means this final topic to the client, and its formats; the closest scope and the
    /// lowest id.
    pub(crate) fn id(&self, caller: &Caller<'_>, topic: &str) -> Option<(u16, Formatted)> {
        let mut levels: Option<Vec<&str>> = None;
        for scope in self.scopes(caller.client) {
            if scope.entries.is_empty() {
                continue;
            }
            let levels = levels.get_or_insert_with(|| topic.split('/').collect());
            let found = scope.id(caller, topic, levels);
            // An id that a closer scope uses for something else does not mean this topic.
            let means = |id: u16| {
                let found = self.map(caller, id).ok().filter(|m| m.topic.as_str() == topic)?;
                Some((id, Formatted { payload: found.payload, conversion: found.conversion }))
            };
            if let Some(id) = found.into_iter().find_map(means) {
                return Some(id);
            }
        }
        None
    }

    /// Whether some id converts payloads.
    pub(crate) fn converts(&self) -> bool {
        self.converts
    }

    /// Every id that means something to the client, once, in order.
    pub(crate) fn known_to(&self, client: &str) -> Vec<u16> {
        let entries = self.scopes(client).flat_map(|scope| &scope.entries);
        let mut ids: Vec<u16> = entries.flat_map(|entry| entry.first..=entry.last).collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    /// Whether any scope gives the id a meaning.
    pub(crate) fn knows(&self, id: u16) -> bool {
        let groups = self.groups.iter().map(|group| &group.ids);
        [&self.all]
            .into_iter()
            .chain(groups)
            .chain(self.clients.values())
            .any(|scope| scope.get(id).is_some())
    }
}

impl Given<'_> {
    /// The formats of an id with a `codec`: the other side is JSON.
    fn formatted(&self, id: &TopicId) -> Result<Formatted, RuleErrorKind> {
        let Some(codec) = &id.codec else { return Ok(Formatted::default()) };
        let payload = Payload {
            device: vec![self.formats.find(codec)?],
            broker: Format::Json,
            split: false,
            on_bad: self.defaults.on_bad_payload,
        };
        Ok(self.formats.compile(Some(payload), false)?)
    }
}

impl ScopeTable {
    fn new(
        ids: &[TopicId],
        given: &Given<'_>,
        place: &Place,
        errors: &mut Vec<RuleError>,
    ) -> ScopeTable {
        let mut table = ScopeTable::default();
        for id in ids {
            let at = place.at(id.key());
            if id.first == 0 || id.last > LAST_ID || id.first > id.last {
                errors.push(RuleError::new(at, RuleErrorKind::BadTopicId));
                continue;
            }
            let names = Names { first_id: Some(id.first), ..Names::default() };
            let topic = match Template::parse(&id.topic, &names) {
                Ok(topic) => topic,
                Err(e) => {
                    let at = if id.detailed { at.at("topic") } else { at };
                    errors.push(RuleError::new(at, e));
                    continue;
                }
            };
            let Ok(formatted) = given.formatted(id).map_err(|kind| {
                errors.push(RuleError::new(at.at("codec"), kind));
            }) else {
                continue;
            };
            table.entries.push(Entry {
                first: id.first,
                last: id.last,
                topic,
                retain: flag(id.retain.unwrap_or(given.defaults.retain)),
                expiry: id.expiry.or(given.defaults.expiry),
                absolute: id.absolute,
                formatted,
            });
        }
        table.entries.sort_by_key(|entry| entry.first);
        for pair in table.entries.windows(2) {
            if let [a, b] = pair
                && a.last >= b.first
            {
                let key = |e: &Entry| match e.first == e.last {
                    true => e.first.to_string(),
                    false => format!("{}-{}", e.first, e.last),
                };
                let (place, first) = (place.at(key(b)), place.at(key(a)));
                let kind = RuleErrorKind::DuplicateTopicId { id: b.first, first };
                errors.push(RuleError::new(place, kind));
            }
        }
        table.file();
        table
    }

    fn file(&mut self) {
        for (i, entry) in self.entries.iter().enumerate() {
            let levels = crate::reverse::index_levels(&entry.topic);
            let edges = levels.iter().map(|level| match level {
                Some(text) => Edge::Literal(text),
                None => Edge::Any,
            });
            let index = if entry.absolute { &mut self.reverse_absolute } else { &mut self.reverse };
            index.insert(edges, false, i);
        }
    }

    fn get(&self, id: u16) -> Option<&Entry> {
        let after = self.entries.partition_point(|entry| entry.first <= id);
        self.entries.get(after.checked_sub(1)?).filter(|entry| id <= entry.last)
    }

    /// Ids whose topic this is, in order.
    fn id(&self, caller: &Caller<'_>, topic: &str, levels: &[&str]) -> Vec<u16> {
        let mut found = Vec::new();
        let mut try_one = |i: usize| {
            let entry = &self.entries[i];
            if let Some(id) = entry.candidate(caller, topic) {
                let mut out = Text::new();
                if entry.render(caller, id, &mut out).is_ok() && out.as_str() == topic {
                    found.push(id);
                }
            }
        };
        self.reverse_absolute.candidates(levels, &mut try_one);
        if let Some(below) = topic.strip_prefix(caller.mount) {
            if caller.mount.is_empty() {
                self.reverse.candidates(levels, &mut try_one);
            } else {
                let levels: Vec<&str> = below.split('/').collect();
                self.reverse.candidates(&levels, &mut try_one);
            }
        }
        found.sort_unstable();
        found
    }
}

impl Entry {
    fn render(&self, caller: &Caller<'_>, id: u16, out: &mut Text) -> Result<(), MapError> {
        if !self.absolute {
            out.push_str(caller.mount);
        }
        self.topic.render(&Values::plain(caller, id), Unsafe::Refuse, out)
    }

    /// The one id of the range that can have made this topic; the caller checks it.
    fn candidate(&self, caller: &Caller<'_>, topic: &str) -> Option<u16> {
        let is_id = |part: &Part| matches!(part, Part::Var { var: Var::Id(_), .. });
        let Some(at) = self.topic.parts.iter().position(is_id) else {
            return Some(self.first);
        };
        let (before, rest) = self.topic.parts.split_at_checked(at)?;
        let Some(Part::Var { var: Var::Id(less), filters, .. }) = rest.first() else { return None };
        if self.first == self.last {
            return Some(self.first);
        }
        let mut out = Text::new();
        if !self.absolute {
            out.push_str(caller.mount);
        }
        let values = Values::plain(caller, self.first);
        before.iter().try_for_each(|part| part.render(&values, Unsafe::Refuse, &mut out)).ok()?;
        let rest = topic.strip_prefix(out.as_str())?;
        if !filters.is_empty() {
            // Rare enough to try: a filtered id.
            return (self.first..=self.last).find(|&id| {
                let mut out = Text::new();
                self.render(caller, id, &mut out).is_ok() && out.as_str() == topic
            });
        }
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        // Digits of the template may follow the number's own.
        (1..=digits.min(5)).rev().find_map(|n| {
            let id = rest[..n].parse::<u16>().ok()?.checked_add(*less)?;
            let mut out = Text::new();
            let made = (self.first..=self.last).contains(&id)
                && self.render(caller, id, &mut out).is_ok()
                && out.as_str() == topic;
            made.then_some(id)
        })
    }
}

fn flag(retain: Retain) -> Option<bool> {
    match retain {
        Retain::ByMethod => None,
        Retain::Always => Some(true),
        Retain::Never => Some(false),
    }
}
