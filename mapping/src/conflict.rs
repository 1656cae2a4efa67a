//! Two rules that take one request: found when the table is built, with a request as the witness.

use hashbrown::HashMap;

use crate::index::Index;
use crate::pattern::Pattern;
use crate::{Place, RuleError, RuleErrorKind};

/// Conflicts listed one by one; at the next one the search ends.
const MAX_LISTED: usize = 20;

/// A rule among others that may take the same requests.
pub(crate) trait Contender {
    /// The key under which its pattern stands.
    const PATTERN_KEY: &'static str;
    fn name(&self) -> &str;
    /// Where it stands; `None` for a preset.
    fn place(&self) -> Option<&Place>;
    fn priority(&self) -> i32;
    fn pattern(&self) -> &Pattern;
    /// Whether every request that `narrow` takes is one that `self` takes, methods aside.
    fn contains(&self, narrow: &Self) -> bool;
    /// A request that both take.
    fn witness(&self, other: &Self) -> Option<String>;
}

/// Reports every pair of one priority that overlaps and of which neither is narrower.
pub(crate) fn find<R: Contender>(rules: &[R], index: &Index, errors: &mut Vec<RuleError>) {
    let mut listed = 0;
    for (i, rule) in rules.iter().enumerate() {
        let mut near = Vec::new();
        index.neighbours(rule.pattern(), |j| {
            if j > i && rules[j].priority() == rule.priority() {
                near.push(j);
            }
        });
        near.sort_unstable();
        near.dedup();
        for j in near {
            let other = &rules[j];
            if rule.place().is_none() && other.place().is_none() {
                continue; // presets among themselves are looked at by what they claim
            }
            if rule.contains(other) != other.contains(rule) {
                continue; // one is narrower
            }
            let Some(witness) = rule.witness(other) else { continue };
            // The later one in the file is the one to change.
            let (late, early) =
                if order(rule) > order(other) { (rule, other) } else { (other, rule) };
            let place = late.place().map_or_else(Place::root, |place| place.at(R::PATTERN_KEY));
            if listed == MAX_LISTED {
                errors.push(RuleError::new(place, RuleErrorKind::MoreOverlaps));
                return;
            }
            listed += 1;
            let kind = RuleErrorKind::Overlap {
                rule: late.name().to_owned(),
                other: early.name().to_owned(),
                other_place: early.place().cloned(),
                witness,
            };
            errors.push(RuleError::new(place, kind));
        }
    }
}

/// The order in the file; presets come first.
fn order<R: Contender>(rule: &R) -> Option<usize> {
    rule.place().and_then(|place| {
        place.steps().iter().rev().find_map(|step| match step {
            crate::Step::Index(index) => Some(*index),
            crate::Step::Key(_) => None,
        })
    })
}

/// Reports every name that is used twice.
pub(crate) fn distinct_names<'a>(
    names: impl Iterator<Item = &'a str>,
    place: impl Fn(usize) -> Place,
    errors: &mut Vec<RuleError>,
) {
    let mut seen: HashMap<&str, usize> = HashMap::new();
    for (i, name) in names.enumerate() {
        match seen.get(name) {
            Some(&first) => errors.push(RuleError::new(
                place(i),
                RuleErrorKind::DuplicateName { name: name.to_owned(), first: place(first) },
            )),
            None => {
                seen.insert(name, i);
            }
        }
    }
}
