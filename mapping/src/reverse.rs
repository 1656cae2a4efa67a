//! [`Reversal`]: from a topic back to the path that a rule made it of.
//!
//! A rule is reversible if each capture of its path fills exactly one level of the topic (or, as
//! the tail, its end), once. Built-ins are filled in for the client that asks and compared.

use std::borrow::Cow;

use crate::Caller;
use crate::filter::{Filter, unapply};
use crate::index::Edge;
use crate::pattern::{Pattern, Segment};
use crate::safety::{self, Unsafe};
use crate::template::{Part, Template, Values, Var};
use crate::text::Text;

/// The levels of a reversible template.
#[derive(Debug, Clone)]
pub(crate) struct Reversal {
    levels: Vec<Level>,
    /// Whether the path's tail follows.
    tail: bool,
}

#[derive(Debug, Clone)]
enum Level {
    Text(Box<str>),
    /// The capture of this segment, alone.
    Capture(usize, Box<[Filter]>),
    /// Text and built-ins, without captures.
    Built(Template),
}

impl Reversal {
    /// `None` when the template is not reversible.
    pub(crate) fn new(pattern: &Pattern, template: &Template) -> Option<Reversal> {
        if template.has_wildcard() {
            return None; // many topics
        }
        let mut parts = template.levels();
        let mut tail = false;
        if let Some([Part::Var { var: Var::Tail(_), filters, .. }]) =
            parts.last().map(Vec::as_slice)
        {
            if !filters.is_empty() {
                return None;
            }
            parts.pop();
            tail = true;
        }
        let levels = parts.into_iter().map(level).collect::<Option<Vec<Level>>>()?;
        let once = |segment: usize| {
            let uses =
                levels.iter().filter(|l| matches!(l, Level::Capture(at, _) if *at == segment));
            uses.count() == 1
        };
        let captures = (0..pattern.segments.len())
            .filter(|at| !matches!(pattern.segments[*at], Segment::Literal(_)));
        (tail == pattern.tail && captures.into_iter().all(once))
            .then_some(Reversal { levels, tail })
    }

    pub(crate) fn edges(&self) -> impl Iterator<Item = Edge<'_>> {
        self.levels.iter().map(|level| match level {
            Level::Text(text) => Edge::Literal(text),
            Level::Capture(..) | Level::Built(_) => Edge::Any,
        })
    }

    pub(crate) const fn has_tail(&self) -> bool {
        self.tail
    }

    /// The path that the pattern takes and the template turns into `topic` (its levels).
    pub(crate) fn path(
        &self,
        caller: &Caller<'_>,
        pattern: &Pattern,
        topic: &[&str],
        encoded: bool,
    ) -> Option<Vec<String>> {
        let (fixed, tail) = topic.split_at_checked(self.levels.len())?;
        if tail.is_empty() == self.tail {
            return None;
        }
        let text = |level: &str| match encoded {
            true => safety::decode(level).map(Cow::into_owned),
            false => Some(level.to_owned()),
        };
        let mut path: Vec<Option<String>> = pattern
            .segments
            .iter()
            .map(|segment| match segment {
                Segment::Literal(text) => Some(text.to_string()),
                _ => None,
            })
            .collect();
        for (level, have) in self.levels.iter().zip(fixed) {
            match level {
                Level::Text(text) if **text != **have => return None,
                Level::Text(_) => {}
                Level::Capture(at, filters) => {
                    *path.get_mut(*at)? = Some(unapply(filters, &text(have)?)?);
                }
                Level::Built(template) => {
                    let mut out = Text::new();
                    let mode = if encoded { Unsafe::Encode } else { Unsafe::Refuse };
                    template.render(&Values::plain(caller, 0), mode, &mut out).ok()?;
                    if out.as_str() != *have {
                        return None;
                    }
                }
            }
        }
        path.extend(tail.iter().map(|level| text(level)));
        let path: Vec<String> = path.into_iter().collect::<Option<_>>()?;
        pattern.matches(&path, false).then_some(path)
    }
}

fn level(parts: Vec<Part>) -> Option<Level> {
    match parts.as_slice() {
        [] => Some(Level::Text(Box::default())),
        [Part::Text(text)] => Some(Level::Text(text.clone())),
        [Part::Var { var: Var::Segment(at), filters, .. }] if !filters.contains(&Filter::Lower) => {
            Some(Level::Capture(*at, filters.clone()))
        }
        parts => {
            parts.iter().all(is_built).then(|| Level::Built(Template { parts: parts.to_vec() }))
        }
    }
}

fn is_built(part: &Part) -> bool {
    match part {
        Part::Text(_) => true,
        Part::Var { var, .. } => !matches!(
            var,
            Var::Segment(_) | Var::Tail(_) | Var::Query(_) | Var::Id(_) | Var::Record { .. }
        ),
    }
}

/// The edges of any template, reversible or not: literal levels, and anything.
pub(crate) fn index_levels(template: &Template) -> Vec<Option<Box<str>>> {
    let levels = template.levels().into_iter().map(level);
    levels
        .map(|level| match level {
            Some(Level::Text(text)) => Some(text),
            _ => None,
        })
        .collect()
}
