//! [`SnTable`]: what an MQTT-SN client's names, short names and ids mean, and back.

mod explain;

use hashbrown::HashMap;
use motegate_message::{Reason, TopicFilter, TopicName};

use crate::conflict::{self, Contender};
use crate::format::Formatted;
use crate::ids::IdTable;
use crate::index::{Edge, Index};
use crate::pattern::Pattern;
use crate::reverse::{Reversal, index_levels};
use crate::rule::{Defaults, NameRule, QosMinusOne, SnRules};
use crate::safety::Unsafe;
use crate::template::{Names, Template, Values};
use crate::text::Text;
use crate::{
    Caller, MapError, Place, RuleError, RuleErrorKind, Rules, SnMatch, SnNames, SnTopic, query,
};

/// All of `mappings.mqttsn`.
#[derive(Debug, Default)]
pub(crate) struct SnTable {
    defaults: Defaults,
    ids: IdTable,
    short: HashMap<[u8; 2], Template>,
    /// The same, by the levels of the topic.
    short_reverse: Index,
    shorts: Vec<[u8; 2]>,
    names: Vec<Rewrite>,
    index: Index,
    reverse: Index,
    minus_one: Option<(QosMinusOne, Template)>,
}

/// A checked rule of `names`.
#[derive(Debug)]
struct Rewrite {
    name: String,
    place: Place,
    priority: i32,
    pattern: Pattern,
    topic: Template,
    reversal: Option<Reversal>,
}

impl SnTable {
    pub(crate) fn new(rules: &Rules, errors: &mut Vec<RuleError>) -> SnTable {
        let place = Place::root().at("mappings").at("mqttsn");
        let sn = &rules.sn;
        let ids = IdTable::new(rules, &place, errors);
        let minus_one = minus_one(sn, &ids, &place.at("qos_minus_one"), errors);
        let mut table = SnTable {
            defaults: rules.defaults,
            ids,
            short: short(sn, &place.at("short"), errors),
            minus_one,
            ..SnTable::default()
        };
        table.file_short();
        table.take_names(&sn.names, &place.at("names"), errors);
        table
    }

    fn file_short(&mut self) {
        self.shorts = self.short.keys().copied().collect();
        self.shorts.sort_unstable();
        for (i, short) in self.shorts.iter().enumerate() {
            let levels = index_levels(&self.short[short]);
            let edges = levels.iter().map(|level| match level {
                Some(text) => Edge::Literal(text),
                None => Edge::Any,
            });
            self.short_reverse.insert(edges, false, i);
        }
    }

    fn take_names(&mut self, rules: &[NameRule], place: &Place, errors: &mut Vec<RuleError>) {
        conflict::distinct_names(
            rules.iter().map(|rule| rule.name.as_str()),
            |i| place.at(i).at("name"),
            errors,
        );
        self.names = rules
            .iter()
            .enumerate()
            .filter_map(|(i, rule)| Rewrite::check(rule, place.at(i), errors))
            .collect();
        self.names.sort_by_cached_key(|r| {
            (std::cmp::Reverse(r.priority), r.pattern.breadth(), r.name.clone())
        });
        for (i, rule) in self.names.iter().enumerate() {
            let edges = rule.pattern.segments.iter().map(Edge::from);
            self.index.insert(edges, rule.pattern.tail, i);
            if let Some(reversal) = &rule.reversal {
                self.reverse.insert(reversal.edges(), reversal.has_tail(), i);
            }
        }
        conflict::find(&self.names, &self.index, errors);
    }

    pub(crate) fn map(&self, caller: &Caller<'_>, topic: SnTopic<'_>) -> Result<SnMatch, MapError> {
        let mut out = Text::new();
        match topic {
            SnTopic::Predefined(id) => return self.ids.map(caller, id),
            SnTopic::Name(name) => self.name(caller, name, &mut out)?,
            SnTopic::Short(short) => {
                out.push_str(caller.mount);
                match self.short.get(&short) {
                    Some(template) => {
                        template.render(&Values::plain(caller, 0), Unsafe::Refuse, &mut out)?;
                    }
                    None => out.push_str(plain_short(&short)?),
                }
            }
        }
        let topic = TopicFilter::new(out.as_str()).map_err(|e| bad(e.to_string()))?;
        let retain = match self.defaults.retain {
            crate::Retain::ByMethod => None,
            crate::Retain::Always => Some(true),
            crate::Retain::Never => Some(false),
        };
        Ok(SnMatch { topic, retain, expiry: self.defaults.expiry, payload: None, conversion: None })
    }

    pub(crate) fn ids_of(&self, client: &str) -> Vec<u16> {
        self.ids.known_to(client)
    }

    pub(crate) fn shorts(&self) -> &[[u8; 2]] {
        &self.shorts
    }

    /// A long name, rewritten where a rule of `names` takes it.
    fn name(&self, caller: &Caller<'_>, name: &str, out: &mut Text) -> Result<(), MapError> {
        // Checked before the mount makes something valid of it.
        if name.is_empty() {
            return Err(bad("the topic name is empty".into()));
        }
        out.push_str(caller.mount);
        if self.names.is_empty() {
            out.push_str(name);
            return Ok(());
        }
        let levels: Vec<&str> = name.split('/').collect();
        match self.rewrite(&levels) {
            None => out.push_str(name),
            Some(rule) => {
                let values = Values { caller, path: &levels, query: &[], id: 0 };
                rule.topic.render(&values, Unsafe::Wildcards, out)?;
            }
        }
        Ok(())
    }

    fn rewrite(&self, levels: &[&str]) -> Option<&Rewrite> {
        let mut winner = usize::MAX;
        self.index.candidates(levels, |i| {
            if self.names[i].pattern.matches(levels, false) {
                winner = winner.min(i);
            }
        });
        self.names.get(winner)
    }

    pub(crate) fn map_minus_one(
        &self,
        caller: &Caller<'_>,
        topic: SnTopic<'_>,
    ) -> Result<(String, SnMatch), MapError> {
        let off = |text: String| MapError { reason: Reason::SnQosMinusOneOff, text };
        let (listed, what, line) = match topic {
            SnTopic::Predefined(id) => {
                let listed = |m: &QosMinusOne| m.ids.contains(&id);
                (self.listed(listed), format!("topic id {id}"), id.to_string())
            }
            SnTopic::Short(short) => {
                let listed = |m: &QosMinusOne| m.short.contains(&short);
                let name = String::from_utf8_lossy(&short).into_owned();
                (self.listed(listed), format!("short name {name:?}"), format!("{name:?}"))
            }
            // MQTT-SN 1.2 §6.8: pre-defined ids and short names only.
            SnTopic::Name(_) => {
                return Err(off("QoS -1 takes pre-defined topic ids and short names only".into()));
            }
        };
        let Some(client) = listed else {
            return Err(off(format!(
                "QoS -1 is off for {what}: list it in mappings.mqttsn.qos_minus_one: {{ids: \
                 [{line}], client: \"anon-{{source_ip}}\", rate: 5/s}}"
            )));
        };
        let mut out = Text::new();
        client.render(&Values::plain(caller, 0), Unsafe::Refuse, &mut out)?;
        let client = out.as_str().to_owned();
        let found = self.map(&Caller { client: &client, ..*caller }, topic)?;
        Ok((client, found))
    }

    /// The template of the client, if QoS −1 is allowed here.
    fn listed(&self, listed: impl Fn(&QosMinusOne) -> bool) -> Option<&Template> {
        self.minus_one.as_ref().filter(|(rules, _)| listed(rules)).map(|(_, client)| client)
    }

    pub(crate) fn minus_one(&self) -> Option<&QosMinusOne> {
        self.minus_one.as_ref().map(|(rules, _)| rules)
    }

    pub(crate) fn converts(&self) -> bool {
        self.ids.converts()
    }

    pub(crate) fn names(&self, caller: &Caller<'_>, topic: &TopicName) -> Option<SnNames> {
        let found = self.ids.id(caller, topic.as_str());
        let (predefined, formatted) = match found {
            Some((id, formatted)) => (Some(id), formatted),
            None => (None, Formatted::default()),
        };
        let Formatted { payload, conversion } = formatted;
        let below = topic.as_str().strip_prefix(caller.mount).filter(|rest| !rest.is_empty());
        let Some(below) = below else {
            // Only an `absolute` id reaches outside the mount.
            return predefined.map(|id| SnNames {
                name: topic.clone(),
                predefined: Some(id),
                payload,
                conversion,
                short: None,
            });
        };
        let name = match self.original(caller, below) {
            Some(name) => name,
            None if caller.mount.is_empty() => topic.clone(),
            None => TopicName::new(below).ok()?,
        };
        Some(SnNames {
            name,
            predefined,
            payload,
            conversion,
            short: self.short_for(caller, below),
        })
    }

    /// The long name that is rewritten to this topic.
    fn original(&self, caller: &Caller<'_>, below: &str) -> Option<TopicName> {
        if self.names.is_empty() {
            return None;
        }
        let levels: Vec<&str> = below.split('/').collect();
        let mut found = Vec::new();
        self.reverse.candidates(&levels, |i| found.push(i));
        found.sort_unstable();
        found.into_iter().find_map(|i| {
            let rule = &self.names[i];
            let path = rule.reversal.as_ref()?.path(caller, &rule.pattern, &levels, false)?;
            let back: Vec<&str> = path.iter().map(String::as_str).collect();
            // A name that a narrower rule would catch does not mean this topic.
            let winner = self.rewrite(&back)?;
            (winner.name == rule.name).then(|| TopicName::new(&path.join("/")).ok())?
        })
    }

    fn short_for(&self, caller: &Caller<'_>, below: &str) -> Option<[u8; 2]> {
        if !self.shorts.is_empty() {
            let levels: Vec<&str> = below.split('/').collect();
            let mut found = None;
            self.short_reverse.candidates(&levels, |i| {
                let mut out = Text::new();
                let values = Values::plain(caller, 0);
                let made = self.short[&self.shorts[i]].render(&values, Unsafe::Refuse, &mut out);
                if made.is_ok() && out.as_str() == below {
                    found = Some(found.map_or(i, |best: usize| best.min(i)));
                }
            });
            if let Some(i) = found {
                return Some(self.shorts[i]);
            }
        }
        let short: [u8; 2] = below.as_bytes().try_into().ok()?;
        (plain_short(&short).is_ok() && !self.short.contains_key(&short)).then_some(short)
    }
}

impl Rewrite {
    fn check(rule: &NameRule, place: Place, errors: &mut Vec<RuleError>) -> Option<Rewrite> {
        let pattern = Pattern::parse(&rule.filter)
            .map_err(|e| errors.push(RuleError::new(place.at("filter"), e)))
            .ok()?;
        let names = Names { pattern: Some(&pattern), ..Names::default() };
        let topic = Template::parse(&rule.topic, &names)
            .map_err(|e| errors.push(RuleError::new(place.at("topic"), e)))
            .ok()?;
        Some(Rewrite {
            name: rule.name.clone(),
            place,
            priority: rule.priority,
            reversal: Reversal::new(&pattern, &topic),
            pattern,
            topic,
        })
    }
}

impl Contender for Rewrite {
    const PATTERN_KEY: &'static str = "filter";

    fn name(&self) -> &str {
        &self.name
    }

    fn place(&self) -> Option<&Place> {
        Some(&self.place)
    }

    fn priority(&self) -> i32 {
        self.priority
    }

    fn pattern(&self) -> &Pattern {
        &self.pattern
    }

    fn contains(&self, narrow: &Self) -> bool {
        self.pattern.contains(&narrow.pattern)
    }

    fn witness(&self, other: &Self) -> Option<String> {
        let path = self.pattern.common(&other.pattern)?;
        Some(query::show_path(&path).trim_start_matches('/').to_owned())
    }
}

fn short(
    rules: &SnRules,
    place: &Place,
    errors: &mut Vec<RuleError>,
) -> HashMap<[u8; 2], Template> {
    let mut table = HashMap::new();
    for (name, topic) in &rules.short {
        let place = place.at(name.as_str());
        let Ok(bytes) = <[u8; 2]>::try_from(name.as_bytes()) else {
            errors.push(RuleError::new(place, RuleErrorKind::BadShortName));
            continue;
        };
        if plain_short(&bytes).is_err() {
            errors.push(RuleError::new(place, RuleErrorKind::BadShortName));
            continue;
        }
        match Template::parse(topic, &Names::default()) {
            Ok(template) => {
                table.insert(bytes, template);
            }
            Err(e) => errors.push(RuleError::new(place, e)),
        }
    }
    table
}

fn minus_one(
    rules: &SnRules,
    ids: &IdTable,
    place: &Place,
    errors: &mut Vec<RuleError>,
) -> Option<(QosMinusOne, Template)> {
    let minus_one = rules.qos_minus_one.as_ref()?;
    if minus_one.ids.is_empty() && minus_one.short.is_empty() {
        errors.push(RuleError::new(place.at("ids"), RuleErrorKind::NoQosMinusOneIds));
    }
    for (i, &id) in minus_one.ids.iter().enumerate() {
        if !ids.knows(id) {
            let kind = RuleErrorKind::UnknownQosMinusOneId { id };
            errors.push(RuleError::new(place.at("ids").at(i), kind));
        }
    }
    let names = Names { no_client: true, ..Names::default() };
    match Template::parse(&minus_one.client, &names) {
        Ok(client) => Some((minus_one.clone(), client)),
        Err(e) => {
            errors.push(RuleError::new(place.at("client"), e));
            None
        }
    }
}

/// The two characters as the topic (mapping.md §2.11); wildcards make no sense in them
/// (MQTT-SN 1.2 §6.7).
fn plain_short(short: &[u8; 2]) -> Result<&str, MapError> {
    match str::from_utf8(short) {
        Ok(text) if !text.contains(['+', '#', '\0']) => Ok(text),
        _ => Err(bad("a short topic name is two bytes of text without + and #".into())),
    }
}

fn bad(text: String) -> MapError {
    MapError { reason: Reason::BadTopic, text }
}
