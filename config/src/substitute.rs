//! `${env:NAME}` and `${file:PATH}` in values.
//!
//! What they stand for is put in place of the scalar as a quoted text, so that it can never be
//! read as YAML. Keys and block scalars are left alone.

use std::fmt::Write as _;
use std::path::Path;

use saphyr_parser::ScalarStyle;

use crate::diagnostic::{Code, Diagnostic};
use crate::document::{Document, Kind, Node};

/// Longest file that a value may come from.
const MAX_FILE: u64 = 64 * 1024;

/// The text to decode: `source` with every substitution made.
pub(crate) fn apply(
    source: &str,
    document: &Document,
    folder: &Path,
    found: &mut Vec<Diagnostic>,
) -> String {
    let mut edits = Vec::new();
    let mut open: Vec<&Node> = document.root.iter().collect();
    while let Some(node) = open.pop() {
        match &node.kind {
            Kind::List(items) => open.extend(items),
            Kind::Map(items) => open.extend(items.iter().map(|(_, value)| value)),
            Kind::Scalar { text, style } if text.contains("${") => {
                if matches!(style, ScalarStyle::Literal | ScalarStyle::Folded) {
                    let text = "${…} does not work in a block of text";
                    let fix = "write the value on one line, in quotes";
                    found
                        .push(Diagnostic::new(Code::Substitution, text, fix).at(node.span.clone()));
                    continue;
                }
                match substitute(text, folder) {
                    Ok(text) => edits.push((node.span.clone(), quote(&text))),
                    Err((text, fix)) => found
                        .push(Diagnostic::new(Code::Substitution, text, fix).at(node.span.clone())),
                }
            }
            Kind::Scalar { .. } => {}
        }
    }
    edits.sort_by_key(|(span, _)| std::cmp::Reverse(span.start));
    // An aliased node appears more than once.
    edits.dedup_by_key(|(span, _)| span.start);
    let mut out = source.to_owned();
    for (span, text) in edits {
        // `*alias` of a substituted value: the anchor's own text is replaced, not the alias.
        if !source[span.clone()].starts_with('*') {
            out.replace_range(span, &text);
        }
    }
    out
}

fn substitute(text: &str, folder: &Path) -> Result<String, (String, String)> {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        out.push_str(before);
        let Some((inside, next)) = after.split_once('}') else {
            return Err(("${ without }".into(), "close the brace".into()));
        };
        out.push_str(&value(inside, folder)?);
        rest = next;
    }
    out.push_str(rest);
    Ok(out)
}

fn value(inside: &str, folder: &Path) -> Result<String, (String, String)> {
    if let Some(name) = inside.strip_prefix("env:") {
        return std::env::var(name).map_err(|_| {
            let fix = format!("set it: export {name}=…");
            (format!("the environment variable {name} is not set"), fix)
        });
    }
    let Some(path) = inside.strip_prefix("file:") else {
        let text = format!("${{{inside}}} stands for nothing");
        return Err((text, "write ${env:NAME} or ${file:PATH}".into()));
    };
    let path = folder.join(path);
    let fix = || "the path is relative to the folder of this file".to_owned();
    let size = std::fs::metadata(&path).map_or(0, |m| m.len());
    if size > MAX_FILE {
        return Err((format!("{} is larger than 64 KiB", path.display()), fix()));
    }
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(text.strip_suffix('\n').unwrap_or(&text).to_owned()),
        Err(e) => Err((format!("{} cannot be read: {e}", path.display()), fix())),
    }
}

/// A double-quoted YAML scalar.
fn quote(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => {
                out.push('\\');
                out.push(c);
            }
            c if (c as u32) < 0x20 || c == '\u{7f}' => {
                let _ = write!(out, "\\x{:02x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_text_cannot_become_yaml() {
        let text = "a\": [b]\n# \\ é\t";
        let map: std::collections::BTreeMap<String, String> =
            serde_yaml::from_str(&format!("k: {}", quote(text))).unwrap();
        assert_eq!(map["k"], text);
    }

    #[test]
    fn values_only_and_all_mistakes() {
        let source = "a: ${env:MOTEGATE_SURELY_NOT_SET}\nb: [\"x ${nonsense}\", '${file:none}']\n\
            ${env:HOME}: ${env:PATH}\n";
        let document = Document::parse(source).unwrap();
        let mut found = Vec::new();
        let out = apply(source, &document, Path::new("."), &mut found);
        assert_eq!(found.len(), 3, "{found:?}");
        assert!(out.contains("${env:HOME}: \"/"), "{out}");
    }
}
