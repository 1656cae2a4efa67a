//! [`Index`]: which rules could take a path, found by its literal segments.
//!
//! A trie: one edge a literal segment, one edge for everything else. The candidates it names are a
//! superset; the caller checks each. The cost of a look-up grows with the depth of the path and
//! with the candidates, not with the number of rules.

use hashbrown::HashMap;

use crate::pattern::{Pattern, Segment};

/// How many ways through the trie one rule may take because of `{x:a|b}`; beyond it such a segment
/// is filed with the captures.
const MAX_WAYS: usize = 64;

/// A segment, as far as the index looks at it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Edge<'a> {
    /// Just this.
    Literal(&'a str),
    /// One of these.
    Choice(&'a [Box<str>]),
    /// Anything.
    Any,
}

impl<'a> From<&'a Segment> for Edge<'a> {
    fn from(segment: &'a Segment) -> Self {
        match segment {
            Segment::Literal(text) => Edge::Literal(text),
            Segment::Choice(all) => Edge::Choice(all),
            Segment::Regex(..) | Segment::Any => Edge::Any,
        }
    }
}

/// Ways not yet followed that are kept without an allocation.
const ON_STACK: usize = 12;

/// Nodes still to be looked at, each with its depth: at most one a segment of the path.
#[derive(Default)]
struct Open {
    few: [(usize, usize); ON_STACK],
    len: usize,
    more: Vec<(usize, usize)>,
}

impl Open {
    fn push(&mut self, way: (usize, usize)) {
        match self.few.get_mut(self.len) {
            Some(room) => {
                *room = way;
                self.len += 1;
            }
            None => self.more.push(way),
        }
    }

    fn pop(&mut self) -> Option<(usize, usize)> {
        if let Some(way) = self.more.pop() {
            return Some(way);
        }
        self.len = self.len.checked_sub(1)?;
        self.few.get(self.len).copied()
    }
}

/// Rules by the segments of their patterns.
#[derive(Debug, Clone)]
pub(crate) struct Index {
    nodes: Vec<Node>,
}

/// The nodes behind literal segments. Most nodes have one, which needs no table of its own.
#[derive(Debug, Clone, Default)]
enum Literals {
    #[default]
    None,
    One(Box<str>, usize),
    Many(HashMap<Box<str>, usize>),
}

impl Literals {
    fn get(&self, text: &str) -> Option<usize> {
        match self {
            Literals::None => None,
            Literals::One(own, next) => (**own == *text).then_some(*next),
            Literals::Many(all) => all.get(text).copied(),
        }
    }

    fn insert(&mut self, text: &str, next: usize) {
        *self = match std::mem::take(self) {
            Literals::None => Literals::One(text.into(), next),
            Literals::One(own, first) => {
                Literals::Many(HashMap::from_iter([(own, first), (text.into(), next)]))
            }
            Literals::Many(mut all) => {
                all.insert(text.into(), next);
                Literals::Many(all)
            }
        };
    }

    fn nodes(&self) -> impl Iterator<Item = usize> {
        let (one, many) = match self {
            Literals::None => (None, None),
            Literals::One(_, next) => (Some(*next), None),
            Literals::Many(all) => (None, Some(all)),
        };
        one.into_iter().chain(many.into_iter().flat_map(|all| all.values().copied()))
    }
}

#[derive(Debug, Clone, Default)]
struct Node {
    literals: Literals,
    any: Option<usize>,
    /// Rules whose pattern ends here.
    ends: Vec<usize>,
    /// Rules that take one or more further segments.
    tails: Vec<usize>,
}

impl Default for Index {
    fn default() -> Self {
        Index { nodes: vec![Node::default()] }
    }
}

impl Index {
    /// Files a rule under its number.
    pub(crate) fn insert<'a>(
        &mut self,
        edges: impl Iterator<Item = Edge<'a>>,
        tail: bool,
        rule: usize,
    ) {
        let mut at = vec![0];
        for edge in edges {
            at = match edge {
                Edge::Literal(text) => at.iter().map(|&node| self.literal(node, text)).collect(),
                Edge::Choice(all) if at.len() * all.len() <= MAX_WAYS => {
                    let ways = at.iter().flat_map(|&node| all.iter().map(move |text| (node, text)));
                    ways.map(|(node, text)| self.literal(node, text)).collect()
                }
                Edge::Choice(_) | Edge::Any => at.iter().map(|&node| self.any(node)).collect(),
            };
        }
        for node in at {
            let node = &mut self.nodes[node];
            if tail { node.tails.push(rule) } else { node.ends.push(rule) }
        }
    }

    fn literal(&mut self, node: usize, text: &str) -> usize {
        if let Some(next) = self.nodes[node].literals.get(text) {
            return next;
        }
        let next = self.nodes.len();
        self.nodes.push(Node::default());
        self.nodes[node].literals.insert(text, next);
        next
    }

    fn any(&mut self, node: usize) -> usize {
        if let Some(next) = self.nodes[node].any {
            return next;
        }
        let next = self.nodes.len();
        self.nodes.push(Node::default());
        self.nodes[node].any = Some(next);
        next
    }

    /// Names every rule that could take `path`, each once. Allocates only where a literal and a
    /// capture compete for more than `ON_STACK` segments of one path.
    pub(crate) fn candidates<S: AsRef<str>>(&self, path: &[S], mut found: impl FnMut(usize)) {
        let mut open = Open::default();
        let mut next = Some((0, 0));
        while let Some((mut node, mut depth)) = next {
            loop {
                let here = &self.nodes[node];
                let Some(segment) = path.get(depth) else {
                    here.ends.iter().for_each(|&rule| found(rule));
                    break;
                };
                here.tails.iter().for_each(|&rule| found(rule));
                depth += 1;
                node = match (here.literals.get(segment.as_ref()), here.any) {
                    (Some(literal), Some(any)) => {
                        open.push((any, depth));
                        literal
                    }
                    (Some(one), None) | (None, Some(one)) => one,
                    (None, None) => break,
                };
            }
            next = open.pop();
        }
    }

    /// Names every rule whose pattern could overlap with this one, perhaps more than once.
    pub(crate) fn neighbours(&self, pattern: &Pattern, mut found: impl FnMut(usize)) {
        let mut open = vec![(0, 0)];
        while let Some((node, depth)) = open.pop() {
            let here = &self.nodes[node];
            match pattern.segments.get(depth).map(Edge::from) {
                Some(edge) => {
                    here.tails.iter().for_each(|&rule| found(rule));
                    open.extend(here.any.map(|next| (next, depth + 1)));
                    let mut go = |text: &str| {
                        open.extend(here.literals.get(text).map(|next| (next, depth + 1)));
                    };
                    match edge {
                        Edge::Literal(text) => go(text),
                        Edge::Choice(all) => all.iter().for_each(|text| go(text)),
                        Edge::Any => open.extend(here.literals.nodes().map(|n| (n, depth + 1))),
                    }
                }
                None if pattern.tail => {
                    here.tails.iter().for_each(|&rule| found(rule));
                    if depth > pattern.segments.len() {
                        here.ends.iter().for_each(|&rule| found(rule));
                    }
                    let further = here.any.into_iter().chain(here.literals.nodes());
                    open.extend(further.map(|next| (next, depth + 1)));
                }
                None => here.ends.iter().for_each(|&rule| found(rule)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(patterns: &[&str]) -> (Index, Vec<Pattern>) {
        let patterns: Vec<Pattern> =
            patterns.iter().map(|text| Pattern::parse(text).unwrap()).collect();
        let mut index = Index::default();
        for (i, pattern) in patterns.iter().enumerate() {
            index.insert(pattern.segments.iter().map(Edge::from), pattern.tail, i);
        }
        (index, patterns)
    }

    const SOME: [&str; 9] = [
        "/",
        "/a",
        "/{x}",
        "/a/{x:b|c}",
        "/{x}/b/{y...}",
        "/{x...}",
        "/a/b/c",
        "/{x:~[ab]}/{y}",
        "/{a:1|2|3|4|5|6|7|8|9}/{b:1|2|3|4|5|6|7|8|9}",
    ];

    #[test]
    fn candidates_are_a_superset_without_repetition() {
        let (index, patterns) = index(&SOME);
        for path in ["", "a", "b", "a/b", "a/c", "a/b/c", "x/b/c/d", "9/8", "q/q/q"] {
            let path: Vec<&str> = path.split('/').filter(|s| !s.is_empty()).collect();
            let mut found = Vec::new();
            index.candidates(&path, |rule| found.push(rule));
            let mut once = found.clone();
            once.sort_unstable();
            once.dedup();
            assert_eq!(once.len(), found.len(), "{path:?}: {found:?}");
            for (i, pattern) in patterns.iter().enumerate() {
                assert!(!pattern.matches(&path, false) || found.contains(&i), "{path:?}: {i}");
            }
        }
    }

    #[test]
    fn every_segment_may_be_a_literal_and_a_capture() {
        let depth = ON_STACK + 4;
        let chosen = |i: usize| -> String {
            (0..depth).map(|at| if at == i { "/{x}" } else { "/a" }).collect()
        };
        let texts: Vec<String> = (0..=depth).map(chosen).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let (index, _) = index(&texts);
        let mut found = Vec::new();
        index.candidates(&vec!["a"; depth], |rule| found.push(rule));
        found.sort_unstable();
        assert_eq!(found, (0..=depth).collect::<Vec<_>>());
    }

    #[test]
    fn neighbours_are_a_superset() {
        let (index, patterns) = index(&SOME);
        for (i, a) in patterns.iter().enumerate() {
            let mut found = Vec::new();
            index.neighbours(a, |rule| found.push(rule));
            for (j, b) in patterns.iter().enumerate() {
                assert!(a.common(b).is_none() || found.contains(&j), "{i} {j}: {found:?}");
            }
        }
    }
}
