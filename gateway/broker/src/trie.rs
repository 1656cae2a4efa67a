//! Wildcard filters by level, so that a publish costs what its topic and its matches cost, not
//! what all filters cost.
//!
//! An arena: nodes are numbers, one map holds every edge by (node, level), and equal levels are
//! kept once. `+` and a closing `#` need no edge. Walks go level by level over a frontier, never
//! by recursion: 65,535 slashes are 65,536 levels (MQTT 5 §4.7.1).

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashMap, HashTable};

use crate::subscriptions::FilterId;

/// No node, no level.
const NONE: u32 = u32::MAX;
const ROOT: u32 = 0;

#[derive(Debug)]
struct Node {
    parent: u32,
    /// The level under the parent; `NONE` for `+` (and the root).
    level: u32,
    plus: u32,
    /// Children by edge, `+` not counted.
    children: u32,
    /// The filter that ends here.
    terminal: FilterId,
    /// The filter that ends here with `/#` (at the root: `#`).
    hash: FilterId,
}

impl Node {
    fn new(parent: u32, level: u32) -> Self {
        Node {
            parent,
            level,
            plus: NONE,
            children: 0,
            terminal: FilterId::NONE,
            hash: FilterId::NONE,
        }
    }

    fn is_bare(&self) -> bool {
        self.plus == NONE
            && self.children == 0
            && self.terminal == FilterId::NONE
            && self.hash == FilterId::NONE
    }
}

/// The text of a level, and how many edges carry it.
#[derive(Debug)]
struct Level {
    text: Box<str>,
    edges: u32,
}

/// All levels in use, each once.
#[derive(Debug, Default)]
struct Levels {
    table: HashTable<u32>,
    texts: Vec<Level>,
    free: Vec<u32>,
    hasher: DefaultHashBuilder,
}

impl Levels {
    fn find(&self, text: &str) -> Option<u32> {
        let hash = self.hasher.hash_one(text);
        self.table.find(hash, |id| *self.texts[*id as usize].text == *text).copied()
    }

    fn intern(&mut self, text: &str) -> u32 {
        if let Some(id) = self.find(text) {
            return id;
        }
        let level = Level { text: text.into(), edges: 0 };
        let id = if let Some(id) = self.free.pop() {
            self.texts[id as usize] = level;
            id
        } else {
            self.texts.push(level);
            number(self.texts.len() - 1)
        };
        let Levels { table, texts, hasher, .. } = self;
        let hash = hasher.hash_one(text);
        table.insert_unique(hash, id, |id| hasher.hash_one(&*texts[*id as usize].text));
        id
    }

    fn release(&mut self, id: u32) {
        let level = &mut self.texts[id as usize];
        level.edges -= 1;
        if level.edges > 0 {
            return;
        }
        let hash = self.hasher.hash_one(&*level.text);
        if let Ok(entry) = self.table.find_entry(hash, |other| *other == id) {
            entry.remove();
        }
        level.text = Box::default();
        self.free.push(id);
    }
}

/// Arena indexes are `u32`: four thousand million nodes are past every configurable limit.
pub(crate) fn number(index: usize) -> u32 {
    u32::try_from(index).expect("fewer than 2^32 entries by configuration")
}

/// The wildcard filters.
#[derive(Debug)]
pub(crate) struct Trie {
    nodes: Vec<Node>,
    free: Vec<u32>,
    edges: HashMap<(u32, u32), u32>,
    levels: Levels,
    frontier: Vec<u32>,
    next: Vec<u32>,
}

impl Default for Trie {
    fn default() -> Self {
        Trie {
            nodes: alloc::vec![Node::new(NONE, NONE)],
            free: Vec::new(),
            edges: HashMap::new(),
            levels: Levels::default(),
            frontier: Vec::new(),
            next: Vec::new(),
        }
    }
}

impl Trie {
    fn node(&mut self, id: u32) -> &mut Node {
        &mut self.nodes[id as usize]
    }

    fn add_node(&mut self, parent: u32, level: u32) -> u32 {
        let node = Node::new(parent, level);
        if let Some(id) = self.free.pop() {
            self.nodes[id as usize] = node;
            return id;
        }
        self.nodes.push(node);
        number(self.nodes.len() - 1)
    }

    /// Puts a filter that is not there.
    pub(crate) fn insert(&mut self, filter: &str, id: FilterId) {
        let mut at = ROOT;
        for level in filter.split('/') {
            if level == "#" {
                self.node(at).hash = id;
                return;
            }
            at = self.child_or_new(at, level);
        }
        self.node(at).terminal = id;
    }

    fn child_or_new(&mut self, at: u32, level: &str) -> u32 {
        if level == "+" {
            if self.node(at).plus == NONE {
                let child = self.add_node(at, NONE);
                self.node(at).plus = child;
            }
            return self.node(at).plus;
        }
        let level = self.levels.intern(level);
        if let Some(child) = self.edges.get(&(at, level)) {
            return *child;
        }
        let child = self.add_node(at, level);
        self.edges.insert((at, level), child);
        self.levels.texts[level as usize].edges += 1;
        self.node(at).children += 1;
        child
    }

    fn child(&self, at: u32, level: &str) -> Option<u32> {
        if level == "+" {
            let plus = self.nodes[at as usize].plus;
            return (plus != NONE).then_some(plus);
        }
        self.edges.get(&(at, self.levels.find(level)?)).copied()
    }

    /// Takes a filter out, and what only it needed.
    pub(crate) fn remove(&mut self, filter: &str) {
        let mut at = ROOT;
        for level in filter.split('/') {
            if level == "#" {
                self.node(at).hash = FilterId::NONE;
                return self.prune(at);
            }
            match self.child(at, level) {
                Some(child) => at = child,
                None => return,
            }
        }
        self.node(at).terminal = FilterId::NONE;
        self.prune(at);
    }

    fn prune(&mut self, mut at: u32) {
        while at != ROOT && self.node(at).is_bare() {
            let Node { parent, level, .. } = *self.node(at);
            if level == NONE {
                self.node(parent).plus = NONE;
            } else {
                self.edges.remove(&(parent, level));
                self.levels.release(level);
                self.node(parent).children -= 1;
            }
            self.free.push(at);
            at = parent;
        }
        if self.free.len() + 1 == self.nodes.len() && self.node(ROOT).is_bare() {
            *self = Trie::default(); // nothing left: give the memory back
        }
    }

    /// Appends the filters that match a topic.
    pub(crate) fn collect(&mut self, topic: &str, out: &mut Vec<FilterId>) {
        if self.nodes.len() == 1 && self.nodes[0].is_bare() {
            return;
        }
        let mut frontier = core::mem::take(&mut self.frontier);
        let mut next = core::mem::take(&mut self.next);
        frontier.clear();
        frontier.push(ROOT);
        // MQTT-4.7.2-1: a leading wildcard does not match a topic that starts with `$`.
        let mut wild = !topic.starts_with('$');
        for level in topic.split('/') {
            let level = self.levels.find(level);
            for at in frontier.drain(..) {
                let node = &self.nodes[at as usize];
                if wild {
                    node.hash.append_to(out);
                    if node.plus != NONE {
                        next.push(node.plus);
                    }
                }
                if node.children > 0
                    && let Some(child) = level.and_then(|level| self.edges.get(&(at, level)))
                {
                    next.push(*child);
                }
            }
            wild = true;
            core::mem::swap(&mut frontier, &mut next);
            if frontier.is_empty() {
                break;
            }
        }
        for at in frontier.drain(..) {
            let node = &self.nodes[at as usize];
            node.terminal.append_to(out);
            node.hash.append_to(out); // `a/#` matches `a` (MQTT 5 §4.7.1.2)
        }
        frontier.shrink_to(1024);
        next.shrink_to(1024);
        self.frontier = frontier;
        self.next = next;
    }
}

#[cfg(test)]
#[allow(clippy::cast_possible_truncation)]
mod tests {
    use super::*;
    use alloc::string::String;
    use motegate_message::topic_matches;
    use proptest::prelude::*;

    fn found(trie: &mut Trie, topic: &str) -> Vec<u32> {
        let mut out = Vec::new();
        trie.collect(topic, &mut out);
        let mut out: Vec<u32> = out.into_iter().map(FilterId::get).collect();
        out.sort_unstable();
        out
    }

    #[test]
    fn a_trie_without_filters_holds_nothing() {
        let mut trie = Trie::default();
        for (i, filter) in ["a/+/c", "a/#", "+/b", "#", "a/+/d/e"].iter().enumerate() {
            trie.insert(filter, FilterId::new(i as u32));
        }
        for filter in ["a/#", "#", "a/+/c", "+/b", "a/+/d/e"] {
            trie.remove(filter);
        }
        assert_eq!((trie.nodes.len(), trie.edges.len(), trie.levels.table.len()), (1, 0, 0));
    }

    #[test]
    fn a_lone_hash_outlives_every_node() {
        let mut trie = Trie::default();
        trie.insert("#", FilterId::new(1));
        trie.insert("a/#", FilterId::new(2));
        trie.remove("a/#");
        assert_eq!(found(&mut trie, "a"), [1]);
    }

    #[test]
    fn levels_without_end_are_no_recursion() {
        let mut trie = Trie::default();
        let slashes = "/".repeat(65_534);
        let deep = alloc::format!("{slashes}+");
        trie.insert(&deep, FilterId::new(1));
        assert_eq!(found(&mut trie, &slashes), [1]);
        trie.remove(&deep);
        assert!(found(&mut trie, &slashes).is_empty());
    }

    fn filter() -> impl Strategy<Value = String> {
        (proptest::collection::vec("[ab+]|\\$a", 0..5), any::<bool>()).prop_map(
            |(mut levels, hash)| {
                if hash {
                    levels.push("#".into());
                }
                levels.join("/")
            },
        )
    }

    proptest! {
        #[test]
        fn agrees_with_the_matcher(
            steps in proptest::collection::vec((filter(), any::<bool>()), 1..40),
            topics in proptest::collection::vec("(\\$a|[ab]|)(/([ab]|)){0,4}", 1..6),
        ) {
            let mut trie = Trie::default();
            let mut model: Vec<String> = Vec::new();
            for (filter, insert) in steps {
                if filter.is_empty() {
                    continue;
                }
                let known = model.iter().position(|f| *f == filter);
                match (insert, known) {
                    (true, None) => {
                        // Slots of the model are the numbers: reuse an emptied one.
                        let at = model.iter().position(String::is_empty).unwrap_or(model.len());
                        if at == model.len() {
                            model.push(String::new());
                        }
                        trie.insert(&filter, FilterId::new(at as u32));
                        model[at] = filter;
                    }
                    (false, Some(at)) => {
                        trie.remove(&filter);
                        model[at].clear();
                    }
                    _ => {}
                }
                for topic in topics.iter().filter(|t| !t.is_empty()) {
                    let expected: Vec<u32> = (0..model.len() as u32)
                        .filter(|i| !model[*i as usize].is_empty())
                        .filter(|i| topic_matches(&model[*i as usize], topic))
                        .collect();
                    prop_assert_eq!(found(&mut trie, topic), expected);
                }
            }
        }
    }
}
