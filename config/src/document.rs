//! [`Document`]: the YAML text as a tree of positions.
//!
//! The parser's events become nodes that know where they stand and what was typed; `decode` hands
//! them to serde. What YAML would let through is refused here: duplicate keys, merge keys, several
//! documents, too much nesting, too many nodes.

use std::collections::HashMap;
use std::ops::Range;

use motegate_mapping::{Place, Step};
use saphyr_parser::{Event, Parser, ScalarStyle, Span};

use crate::diagnostic::{Code, Diagnostic};

/// Longest file, in bytes.
pub(crate) const MAX_BYTES: usize = 4 * 1024 * 1024;
/// Deepest nesting.
const MAX_DEPTH: usize = 32;
/// Most nodes, those that aliases repeat included.
const MAX_NODES: usize = 500_000;

/// One node and the bytes that it takes.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) span: Range<usize>,
    pub(crate) kind: Kind,
    /// As it was written, where `${…}` was put in.
    pub(crate) written: Option<String>,
    /// Where the value stands that this one was taken instead of.
    pub(crate) instead_of: Option<Range<usize>>,
    nodes: usize,
}

#[derive(Debug, Clone)]
pub(crate) enum Kind {
    Scalar { text: String, style: ScalarStyle },
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
}

/// A key and the bytes that it takes.
#[derive(Debug, Clone)]
pub(crate) struct Key {
    pub(crate) text: String,
    pub(crate) span: Range<usize>,
}

/// A parsed file; the root is `None` for an empty one.
#[derive(Debug)]
pub(crate) struct Document {
    pub(crate) root: Option<Node>,
}

impl Node {
    pub(crate) fn new(span: Range<usize>, kind: Kind) -> Node {
        let nodes = 1 + match &kind {
            Kind::Scalar { .. } => 0,
            Kind::List(items) => items.iter().map(|n| n.nodes).sum::<usize>(),
            Kind::Map(items) => items.iter().map(|(_, n)| n.nodes).sum(),
        };
        Node { span, kind, written: None, instead_of: None, nodes }
    }

    /// Nothing was written: `key:`.
    pub(crate) fn is_null(&self) -> bool {
        matches!(&self.kind, Kind::Scalar { text, style: ScalarStyle::Plain }
            if matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL"))
    }

    /// The value of a key, if this is a mapping that has it.
    pub(crate) fn get_mut(&mut self, key: &str) -> Option<&mut Node> {
        let Kind::Map(items) = &mut self.kind else { return None };
        items.iter_mut().find(|(known, _)| known.text == key).map(|(_, node)| node)
    }
}

impl Document {
    /// Parses a text whose first byte is the byte `start` of all texts.
    ///
    /// # Errors
    /// Everything that makes the text unfit to be decoded.
    pub(crate) fn parse(source: &str, start: usize) -> Result<Document, Vec<Diagnostic>> {
        if source.len() > MAX_BYTES {
            let text = "the file is larger than 4 MiB";
            let fix = "split it, or check that it is the file you mean";
            return Err(vec![Diagnostic::new(Code::Limit, text, fix).at(start..start)]);
        }
        // The parser would take it for the end.
        if let Some(at) = source.find('\0') {
            let fix = "take it out: a configuration is text; in double quotes `\\0` stands for it";
            let d = Diagnostic::new(Code::Syntax, "this is not YAML: a NUL character", fix);
            return Err(vec![d.at(start + at..start + at + 1)]);
        }
        let mut builder = Builder::new(source, start);
        for item in Parser::new_from_str(source) {
            let (event, span) = match item {
                Ok(item) => item,
                Err(e) => {
                    let at = builder.byte(e.marker().index());
                    let fix = syntax_fix(source, at - start, e.info());
                    let text = format!("this is not YAML: {}", e.info());
                    let d = Diagnostic::new(Code::Syntax, text, fix).at(at..at);
                    return Err(vec![d]);
                }
            };
            builder.take(event, span);
            if builder.fatal {
                break;
            }
        }
        if builder.found.is_empty() {
            Ok(Document { root: builder.root })
        } else {
            Err(builder.found)
        }
    }

    /// The key (or else the value) that a place names; as far as the place exists.
    pub(crate) fn key(&self, place: &Place) -> Range<usize> {
        let (node, key) = self.find(place);
        key.or_else(|| node.map(first_line)).unwrap_or(0..0)
    }

    /// The value that a place names; its key where the value takes several lines.
    pub(crate) fn value(&self, place: &Place) -> Range<usize> {
        let (node, key) = self.find(place);
        match (node, key) {
            (Some(Node { span, kind: Kind::Scalar { .. }, .. }), _) if !span.is_empty() => {
                span.clone()
            }
            (_, Some(key)) => key,
            (Some(node), None) => first_line(node),
            (None, None) => 0..0,
        }
    }

    fn find(&self, place: &Place) -> (Option<&Node>, Option<Range<usize>>) {
        let mut node = self.root.as_ref();
        let mut key = None;
        for step in place.steps() {
            let next = match (node.map(|n| &n.kind), step) {
                (Some(Kind::Map(items)), Step::Key(name)) => items
                    .iter()
                    .find(|(k, _)| k.text == *name)
                    .map(|(k, n)| (n, Some(k.span.clone()))),
                (Some(Kind::List(items)), Step::Index(i)) => items.get(*i).map(|n| (n, None)),
                // One thing where a list may stand.
                (Some(_), Step::Index(0)) => continue,
                _ => None,
            };
            match next {
                Some((n, k)) => (node, key) = (Some(n), k),
                None => break,
            }
        }
        (node, key)
    }

    /// The node that a place names.
    pub(crate) fn node(&self, place: &Place) -> Option<&Node> {
        place.steps().iter().try_fold(self.root.as_ref()?, |node, step| match (&node.kind, step) {
            (Kind::Map(items), Step::Key(name)) => {
                items.iter().find(|(k, _)| k.text == *name).map(|(_, n)| n)
            }
            (Kind::List(items), Step::Index(i)) => items.get(*i),
            // One thing where a list may stand.
            (Kind::Scalar { .. }, Step::Index(0)) => Some(node),
            _ => None,
        })
    }
}

/// The way out of what the parser says at a byte of the text: the usual slips.
fn syntax_fix(source: &str, at: usize, info: &str) -> &'static str {
    let line = source.get(..at).and_then(|before| before.rsplit('\n').next()).unwrap_or_default();
    // `topic: {room}/temp` and `bind: [::]:1883`: the value ends with its bracket.
    let value = line.rsplit_once(": ").map_or("", |(_, value)| value).trim_start();
    let closed = value.starts_with('{') && value.ends_with('}')
        || value.starts_with('[') && value.ends_with(']');
    if closed {
        return "put the value in quotes: one that begins with { or [ needs them";
    }
    if info.contains("unprintable") {
        return "take the control character out";
    }
    if info.contains("unknown escape") {
        return "write \\\\ for a backslash, or put the text in '…', where a backslash is one";
    }
    if info.contains("tab") {
        return "indent with spaces: YAML takes no tabs";
    }
    if info.contains("anchor") {
        return "put the value in quotes if it begins with *, or name with & what it repeats";
    }
    if info.contains("quoted scalar") {
        return "close the quote";
    }
    if info.contains("mapping values") {
        return "indent the line as its neighbours are, or put a value that holds `: ` in quotes";
    }
    "look at the indentation, the quotes and the brackets before it"
}

/// What of a node is shown: the whole of a scalar, the first key of a map.
fn first_line(node: &Node) -> Range<usize> {
    match &node.kind {
        Kind::Scalar { .. } => node.span.clone(),
        Kind::List(items) => items.first().map_or_else(|| node.span.clone(), first_line),
        Kind::Map(items) => {
            items.first().map_or_else(|| node.span.clone(), |(k, _)| k.span.clone())
        }
    }
}

struct Builder<'s> {
    source: &'s str,
    start: usize,
    /// Byte of each character; empty where they are the same.
    bytes: Vec<usize>,
    open: Vec<(usize, Range<usize>, Open)>,
    anchors: HashMap<usize, Node>,
    total: usize,
    root: Option<Node>,
    found: Vec<Diagnostic>,
    fatal: bool,
}

enum Open {
    List(Vec<Node>),
    Map(Vec<(Key, Node)>, Option<Key>, HashMap<String, Range<usize>>),
}

impl<'s> Builder<'s> {
    fn new(source: &'s str, start: usize) -> Self {
        let bytes = match source.is_ascii() {
            true => Vec::new(),
            false => source.char_indices().map(|(at, _)| at).collect(),
        };
        Builder {
            source,
            start,
            bytes,
            open: Vec::new(),
            anchors: HashMap::new(),
            total: 0,
            root: None,
            found: Vec::new(),
            fatal: false,
        }
    }

    fn byte(&self, index: usize) -> usize {
        let at = if self.bytes.is_empty() {
            index
        } else {
            self.bytes.get(index).copied().unwrap_or(self.source.len())
        };
        self.start + at.min(self.source.len())
    }

    fn range(&self, span: Span) -> Range<usize> {
        let start = self.byte(span.start.index());
        start..self.byte(span.end.index()).max(start)
    }

    fn take(&mut self, event: Event<'_>, span: Span) {
        let range = self.range(span);
        match event {
            Event::Scalar(text, style, anchor, _) => {
                let kind = Kind::Scalar { text: text.into_owned(), style };
                self.put(Node::new(range, kind), anchor);
            }
            Event::SequenceStart(anchor, _) => {
                self.open(anchor, range, Open::List(Vec::new()));
            }
            Event::MappingStart(anchor, _) => {
                self.open(anchor, range, Open::Map(Vec::new(), None, HashMap::new()));
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(range.end),
            Event::Alias(anchor) => match self.anchors.get(&anchor) {
                Some(node) => {
                    let node = Node { span: range, ..node.clone() };
                    self.put(node, 0);
                }
                None => self.stop(
                    Code::Limit,
                    "an alias inside what it stands for",
                    "write the part out instead of repeating it with *",
                    range,
                ),
            },
            Event::DocumentStart(_) if self.root.is_some() => self.stop(
                Code::Syntax,
                "a second document in one file",
                "remove the `---`, or put the second part into a file of its own",
                range,
            ),
            _ => {}
        }
    }

    fn stop(&mut self, code: Code, text: &str, fix: &str, at: Range<usize>) {
        self.found.push(Diagnostic::new(code, text, fix).at(at));
        self.fatal = true;
    }

    fn open(&mut self, anchor: usize, range: Range<usize>, open: Open) {
        if self.open.len() >= MAX_DEPTH {
            let text = "this is nested more than 32 levels deep";
            self.stop(Code::Limit, text, "no part of the configuration is so deep", range.clone());
        }
        self.open.push((anchor, range, open));
    }

    fn close(&mut self, end: usize) {
        let Some((anchor, range, open)) = self.open.pop() else { return };
        let kind = match open {
            Open::List(items) => Kind::List(items),
            Open::Map(items, ..) => Kind::Map(items),
        };
        self.put(Node::new(range.start..end.max(range.start), kind), anchor);
    }

    fn put(&mut self, node: Node, anchor: usize) {
        self.total += 1;
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
            self.total += node.nodes;
        }
        if node.nodes > 1 && self.total.saturating_add(node.nodes) > MAX_NODES
            || self.total > MAX_NODES
        {
            let text = "the file says too much: more than 500,000 values";
            return self.stop(Code::Limit, text, "repeat less with * aliases", node.span);
        }
        match self.open.last_mut() {
            None => self.root = Some(node),
            Some((_, _, Open::List(items))) => items.push(node),
            Some((_, _, Open::Map(items, waiting, seen))) => match waiting.take() {
                Some(key) => items.push((key, node)),
                None => {
                    let (key, found) = key(node, seen);
                    *waiting = Some(key);
                    self.found.extend(found);
                }
            },
        }
    }
}

fn key(node: Node, seen: &mut HashMap<String, Range<usize>>) -> (Key, Option<Diagnostic>) {
    let span = node.span.clone();
    let Kind::Scalar { text, style } = node.kind else {
        let d =
            Diagnostic::new(Code::Syntax, "a key must be plain text", "write a word as the key");
        return (Key { text: String::new(), span: span.clone() }, Some(d.at(span)));
    };
    if text == "<<" && style == ScalarStyle::Plain {
        let fix = "write the keys out where they hold";
        let d = Diagnostic::new(Code::MergeKey, "merge keys (<<) are not supported", fix);
        return (Key { text, span: span.clone() }, Some(d.at(span)));
    }
    let found = seen.get(&text).map(|first| {
        let text = format!("the key {text:?} appears twice");
        Diagnostic::new(Code::DuplicateKey, text, "keep one of them")
            .at(span.clone())
            .label("again here")
            .also(first.clone(), "first here")
    });
    seen.entry(text.clone()).or_insert_with(|| span.clone());
    (Key { text, span }, found)
}
