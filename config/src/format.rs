//! `motegate fmt`: the one way a file is laid out.
//!
//! Two spaces a level, lists indented under their key, one space where one does, double quotes where
//! nothing speaks against it, no blank lines in a row, a line end at the end. Comments stay where
//! they are, keys keep their order. Then both texts are parsed and compared, values and comments: what
//! would change either is not done at all.

use std::fmt;

use saphyr_parser::ScalarStyle;

use crate::diagnostic::{Diagnostic, Findings};
use crate::document::{Document, Kind, Node};
use crate::layout;
use crate::sources::{SourceKind, Sources};

/// Why a file is left as it is.
#[derive(Debug)]
pub enum FormatError {
    /// It is not YAML, or not the YAML that we take.
    Findings(Findings),
    /// Its layout cannot be changed without changing what it says; at the line, if one is to blame.
    Unsafe {
        /// What stands in the way.
        cause: String,
    },
}

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FormatError::Findings(findings) => findings.fmt(f),
            FormatError::Unsafe { cause } => f.write_str(cause),
        }
    }
}

impl std::error::Error for FormatError {}

/// Lays a text out; `name` is for messages.
///
/// # Errors
/// A text that is not YAML, or one whose meaning the new layout would change.
pub fn format(name: &str, text: &str) -> Result<String, FormatError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text).replace("\r\n", "\n");
    let before = parse(name, &text)?;
    let text = double_quotes(text, &before);
    let out = layout::lay_out(&text, &scalars(&text, &before))
        .map_err(|cause| FormatError::Unsafe { cause })?;
    let after = parse(name, &out).map_err(|_| changed())?;
    let comments = |text: &str, document: &Document| -> Vec<String> {
        layout::comments(text, &scalars(text, document)).map(str::to_owned).collect()
    };
    let same = match (&before.root, &after.root) {
        (Some(a), Some(b)) => same(a, b),
        (None, None) => true,
        _ => false,
    };
    if same && comments(&text, &before) == comments(&out, &after) {
        Ok(out)
    } else {
        Err(changed())
    }
}

fn changed() -> FormatError {
    let cause = "the layout of this file cannot be changed safely; it is left as it is";
    FormatError::Unsafe { cause: cause.to_owned() }
}

fn parse(name: &str, text: &str) -> Result<Document, FormatError> {
    Document::parse(text, 0).map_err(|diagnostics: Vec<Diagnostic>| {
        let mut sources = Sources::default();
        sources.add(SourceKind::File, name, text);
        FormatError::Findings(Findings { sources, diagnostics, files: Vec::new() })
    })
}

/// The texts of a document, keys too, in the order of the file.
fn scalars(text: &str, document: &Document) -> Vec<layout::Scalar> {
    let mut all = Vec::new();
    let mut open: Vec<&Node> = document.root.iter().collect();
    while let Some(node) = open.pop() {
        match &node.kind {
            // One that is empty has no place of its own.
            Kind::Scalar { text, style } => {
                if !(text.is_empty() && *style == ScalarStyle::Plain) {
                    let block = matches!(style, ScalarStyle::Literal | ScalarStyle::Folded);
                    all.push(layout::Scalar { span: node.span.clone(), block });
                }
            }
            Kind::List(items) => open.extend(items),
            Kind::Map(items) => {
                for (key, value) in items {
                    if !key.span.is_empty() {
                        all.push(layout::Scalar { span: key.span.clone(), block: false });
                    }
                    open.push(value);
                }
            }
        }
    }
    for scalar in &mut all {
        // What follows a text in brackets, and the lines after a block, are not part of it.
        let span = &mut scalar.span;
        span.end = span.start + text.get(span.clone()).map_or(0, |t| t.trim_end().len());
    }
    all.sort_by_key(|scalar| (scalar.span.start, scalar.span.end));
    all.dedup_by(|a, b| a.span == b.span); // what an alias repeats
    all
}

/// `'text'` as `"text"` where both mean the same; the length stays.
fn double_quotes(mut text: String, document: &Document) -> String {
    for scalar in scalars(&text, document) {
        let span = scalar.span;
        let Some(inner) = text
            .get(span.clone())
            .and_then(|t| t.strip_prefix('\'').and_then(|t| t.strip_suffix('\'')))
        else {
            continue;
        };
        if !inner.contains(['\'', '"', '\\', '\n', '\t']) {
            text.replace_range(span.start..span.start + 1, "\"");
            text.replace_range(span.end - 1..span.end, "\"");
        }
    }
    text
}

/// Whether two trees say the same.
fn same(a: &Node, b: &Node) -> bool {
    let mut open = vec![(a, b)];
    while let Some((a, b)) = open.pop() {
        match (&a.kind, &b.kind) {
            (Kind::Scalar { text, style }, Kind::Scalar { text: other, style: other_style }) => {
                let plain = |style: &ScalarStyle| *style == ScalarStyle::Plain;
                if text != other || plain(style) != plain(other_style) {
                    return false;
                }
            }
            (Kind::List(a), Kind::List(b)) if a.len() == b.len() => open.extend(a.iter().zip(b)),
            (Kind::Map(a), Kind::Map(b)) if a.len() == b.len() => {
                for ((key, a), (other, b)) in a.iter().zip(b) {
                    if key.text != other.text {
                        return false;
                    }
                    open.push((a, b));
                }
            }
            _ => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn formatted(text: &str) -> String {
        format("f.yaml", text).unwrap_or_else(|e| panic!("{e}"))
    }

    #[test]
    fn a_file_in_disorder() {
        let before = "\u{feff}\n\n# head  \r\nversion:    1   # one\r\n\n\n\nlisteners:\n# of the list\n- {name: 'lan',protocol:   mqtt ,bind: [ \"0.0.0.0:1883\",'[::]:1' ]}   # first\n-   name: b\n    protocol: coap\n\n    # inside\n    anonymous : true\nmappings:\n      coap:\n            -   name: x   \n                path: '/s/\"q\"'\n                topic: \"a\n                  b\"\n                methods: {\n                    PUT: publish,  # yes\n                }\n# end\n\n\n";
        let after = "# head\nversion: 1      # one\n\nlisteners:\n  # of the list\n  - {name: \"lan\", protocol: mqtt, bind: [\"0.0.0.0:1883\", \"[::]:1\"]}     # first\n  - name: b\n    protocol: coap\n\n    # inside\n    anonymous: true\nmappings:\n  coap:\n    - name: x\n      path: '/s/\"q\"'\n      topic: \"a\n        b\"\n      methods: {\n          PUT: publish,  # yes\n      }\n# end\n";
        let out = formatted(before);
        assert_eq!(out, after, "\n{out}");
        assert_eq!(formatted(&out), out);
    }

    #[test]
    fn block_texts_keep_their_lines() {
        let before = "a:\n    b: |\n          one  \n            two\n\n\n          three\n    c: >-\n       x\nd: 1\n";
        let after = "a:\n  b: |\n    one  \n      two\n\n\n    three\n  c: >-\n    x\nd: 1\n";
        assert_eq!(formatted(before), after);
    }

    #[test]
    fn nothing_and_comments_alone() {
        assert_eq!(formatted(""), "");
        assert_eq!(formatted("\n\n"), "");
        assert_eq!(formatted("   # a\n#b"), "# a\n#b\n");
        assert_eq!(formatted("---\na: 1\n"), "---\na: 1\n");
    }

    #[test]
    fn nested_lists_anchors_and_hashes_in_texts() {
        let before =
            "a:\n-  - 1\n   - 2\n-\n  k: \"x # y\"\nb: &b {c: d#e}\nf: *b\n\"g:h\":   [ ]\n";
        let after =
            "a:\n  - - 1\n    - 2\n  -\n    k: \"x # y\"\nb: &b {c: d#e}\nf: *b\n\"g:h\": []\n";
        assert_eq!(formatted(before), after);
    }

    #[test]
    fn what_is_not_yaml_is_not_touched() {
        assert!(matches!(format("f", "a: [1"), Err(FormatError::Findings(_))));
        let explicit = format("f", "a:\n   b: |2\n      x\n");
        assert!(matches!(explicit, Err(FormatError::Unsafe { .. })), "{explicit:?}");
    }
}
