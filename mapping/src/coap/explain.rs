//! Which rules take a request, and which nearly do.

use crate::coap::rule::{PRESET_PRIORITY, Rule};
use crate::coap::{Asker, CoapTable};
use crate::explain::{Explanation, MAX_NEAR, NearMiss, RuleKind, RuleRef};
use crate::pattern::{Pattern, Segment};
use crate::{CoapMatch, CoapMethod, Step};

/// How near a rule is, the nearest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Nearness {
    Method,
    Loses,
    ForOthers,
    OneSegment,
    Depth,
}

impl CoapTable {
    pub(crate) fn explain(
        &self,
        asker: Asker<'_>,
        method: CoapMethod,
        path: &[String],
        query: &[String],
    ) -> Explanation<CoapMatch> {
        let found = self.manager(asker, path);
        let found = found.or_else(|| self.find(asker, method, path).ok().map(|(rule, _)| rule));
        let mut near: Vec<(Nearness, NearMiss)> = self
            .rules
            .iter()
            .filter(|rule| found.is_none_or(|found| found.name != rule.name))
            .filter_map(|rule| {
                let (nearness, why) = near(rule, asker, method, path, found)?;
                Some((nearness, NearMiss { rule: refer(rule), why }))
            })
            .collect();
        // Whoever is told where it goes needs no guesses about paths.
        near.retain(|(nearness, _)| found.is_none() || *nearness < Nearness::OneSegment);
        near.sort_by_key(|(nearness, _)| *nearness);
        near.truncate(MAX_NEAR);
        Explanation {
            rule: found.map(refer),
            captures: found.map(|rule| captures(&rule.pattern, path)).unwrap_or_default(),
            near: near.into_iter().map(|(_, near)| near).collect(),
            outcome: self.map(asker, method, path, query),
        }
    }

    /// All rules: those of the file in its order, then presets.
    pub(crate) fn all(&self) -> Vec<RuleRef> {
        let mut rules: Vec<(usize, RuleRef)> = self
            .rules
            .iter()
            .filter(|rule| rule.manages.is_none())
            .map(|rule| {
                let index = rule.place.as_ref().and_then(|place| place.steps().last());
                let order = match index {
                    Some(Step::Index(index)) => *index,
                    _ => usize::MAX,
                };
                (order, refer(rule))
            })
            .collect();
        rules.sort_by_key(|(order, _)| *order);
        rules.into_iter().map(|(_, rule)| rule).collect()
    }
}

fn refer(rule: &Rule) -> RuleRef {
    let kind = if rule.place.is_some() { RuleKind::Coap } else { RuleKind::Preset };
    RuleRef::new(kind, &*rule.name, rule.place.clone())
}

/// Each capture with what it holds.
pub(crate) fn captures<S: AsRef<str>>(pattern: &Pattern, path: &[S]) -> Vec<(String, String)> {
    pattern
        .captures()
        .filter_map(|name| {
            let at = pattern.capture(name)?;
            let held = match at == pattern.segments.len() {
                true => {
                    let rest = path.get(at..)?.iter().map(AsRef::as_ref);
                    rest.collect::<Vec<_>>().join("/")
                }
                false => path.get(at)?.as_ref().to_owned(),
            };
            Some((name.to_owned(), held))
        })
        .collect()
}

/// Why a rule does not take the request, if it nearly does.
fn near(
    rule: &Rule,
    asker: Asker<'_>,
    method: CoapMethod,
    path: &[String],
    winner: Option<&Rule>,
) -> Option<(Nearness, String)> {
    if !rule.pattern.matches(path, false) {
        let (nearness, why) = misses(&rule.pattern, path)?;
        return rule.is_for(asker.caller, asker.host).then_some((nearness, why));
    }
    if !rule.is_for(asker.caller, asker.host) {
        return Some((Nearness::ForOthers, for_others(rule, asker)));
    }
    if rule.methods.get(method).is_none() && rule.manages.is_none() {
        let methods: Vec<&str> = rule.methods.list().collect();
        let why = format!("also matches the path; takes {} only", methods.join(", "));
        return Some((Nearness::Method, why));
    }
    let winner = winner?;
    let why = if rule.priority == PRESET_PRIORITY {
        "matches, but a preset gives way to every rule".to_owned()
    } else if rule.priority < winner.priority {
        format!("matches, but its priority {} is below {}", rule.priority, winner.priority)
    } else {
        "matches, but is less specific".to_owned()
    };
    Some((Nearness::Loses, why))
}

fn for_others(rule: &Rule, asker: Asker<'_>) -> String {
    let caller = asker.caller;
    if !rule.listeners.is_empty() && !rule.listeners.iter().any(|name| name == caller.listener) {
        return format!("matches the path; holds on listener {} only", rule.listeners.join(", "));
    }
    if let Some(glob) = rule.client.as_ref().filter(|glob| !glob.matches(caller.client)) {
        return format!("matches the path; holds for clients like {glob} only");
    }
    let host = rule.host.as_deref().unwrap_or_default();
    format!("matches the path; holds for Uri-Host {host} only")
}

/// What about the path would have to be other, where it is one thing.
fn misses<S: AsRef<str>>(pattern: &Pattern, path: &[S]) -> Option<(Nearness, String)> {
    let wanted = pattern.segments.len() + usize::from(pattern.tail);
    let fits = |(segment, text): &(&Segment, &S)| segment.takes(text.as_ref());
    let pairs = || pattern.segments.iter().zip(path);
    // One capture alone would be near to everything.
    let known = pairs()
        .filter(fits)
        .filter(|(s, _)| !matches!(s, Segment::Any | Segment::Regex(..)))
        .count();
    if known == 0 {
        return None;
    }
    let deep_enough = match pattern.tail {
        true => path.len() >= wanted,
        false => path.len() == wanted,
    };
    if deep_enough {
        let mut wrong = pairs().enumerate().filter(|(_, pair)| !fits(pair));
        let (at, (segment, _)) = wrong.next()?;
        if wrong.next().is_some() {
            return None;
        }
        let why = format!("would match if segment {} were {}", at + 1, described(segment));
        return Some((Nearness::OneSegment, why));
    }
    if !pairs().all(|pair| fits(&pair)) {
        return None;
    }
    let why = match path.len() {
        n if n + 1 == wanted => "would match with one segment more",
        n if n == wanted + 1 => "would match with one segment less",
        _ => return None,
    };
    Some((Nearness::Depth, why.to_owned()))
}

fn described(segment: &Segment) -> String {
    match segment {
        Segment::Literal(text) if text.is_empty() => "empty".into(),
        Segment::Literal(text) => text.to_string(),
        Segment::Choice(all) => format!("one of {}", all.join("|")),
        Segment::Regex(source, _) => format!("like ~{source}"),
        Segment::Any => "not empty".into(),
    }
}
