//! `${env:NAME}` and `${file:PATH}` in values; `$${` is a literal `${`.
//!
//! What they stand for is put into the scalar's text, so that it can never be read as YAML. Keys
//! are left alone.

use std::path::{Path, PathBuf};

use saphyr_parser::ScalarStyle;

use crate::diagnostic::{Code, Diagnostic};
use crate::document::{Kind, Node};
use crate::text_file::{self, Kinds, Unread};

/// Longest file that a value may come from.
const MAX_FILE: usize = 64 * 1024;

/// Puts values in everywhere below a node. `folder` is that of the file that says so; `files` takes
/// the paths that were read or should have been.
pub(crate) fn apply(
    root: &mut Node,
    folder: &Path,
    files: &mut Vec<PathBuf>,
    found: &mut Vec<Diagnostic>,
) {
    let mut open = vec![root];
    while let Some(node) = open.pop() {
        match &mut node.kind {
            Kind::List(items) => open.extend(items),
            Kind::Map(items) => open.extend(items.iter_mut().map(|(_, value)| value)),
            Kind::Scalar { text, style } if text.contains("${") => {
                match substitute(text, folder, files) {
                    Ok(value) => {
                        node.written = Some(std::mem::replace(text, value));
                        // A text, whatever it looks like.
                        *style = ScalarStyle::DoubleQuoted;
                    }
                    Err((text, fix)) => found
                        .push(Diagnostic::new(Code::Substitution, text, fix).at(node.span.clone())),
                }
            }
            Kind::Scalar { .. } => {}
        }
    }
}

type Mistake = (String, String);

fn substitute(text: &str, folder: &Path, files: &mut Vec<PathBuf>) -> Result<String, Mistake> {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        if let Some(before) = before.strip_suffix('$') {
            out.push_str(before);
            out.push_str("${");
            rest = after;
            continue;
        }
        out.push_str(before);
        let Some((inside, next)) = after.split_once('}') else {
            return Err(("${ without }".into(), "close the brace, or write $${ for ${".into()));
        };
        out.push_str(&value(inside, folder, files)?);
        rest = next;
    }
    out.push_str(rest);
    Ok(out)
}

fn value(inside: &str, folder: &Path, files: &mut Vec<PathBuf>) -> Result<String, Mistake> {
    if let Some(name) = inside.strip_prefix("env:") {
        return std::env::var(name).map_err(|error| match error {
            std::env::VarError::NotPresent => (
                format!("the environment variable {name} is not set"),
                format!("set it: export {name}=…"),
            ),
            std::env::VarError::NotUnicode(_) => (
                format!("the environment variable {name} is not UTF-8"),
                "set it to UTF-8 text".to_owned(),
            ),
        });
    }
    let Some(path) = inside.strip_prefix("file:") else {
        let text = format!("${{{inside}}} stands for nothing");
        return Err((text, "write ${env:NAME} or ${file:PATH}, or $${ for ${ itself".into()));
    };
    let path = folder.join(path);
    // Also where it cannot be read: it may come.
    files.push(path.clone());
    read(&path).map_err(|cause| {
        let fix = "the path is relative to the folder of the file that says it".to_owned();
        (format!("{} {cause}", path.display()), fix)
    })
}

/// A file's text without the end of its last line.
fn read(path: &Path) -> Result<String, String> {
    let text = text_file::read(path, Kinds::Files, MAX_FILE).map_err(|error| match error {
        Unread::Kind(what) => format!("is {what}, not a file"),
        Unread::TooLong => "is larger than 64 KiB".to_owned(),
        Unread::NotUtf8 => "is not UTF-8".to_owned(),
        Unread::Io(error) => format!("cannot be read: {error}"),
    })?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    Ok(text.strip_suffix('\r').unwrap_or(text).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::Document;

    fn applied(source: &str) -> (Node, Vec<Diagnostic>) {
        let mut root = Document::parse(source, 0).unwrap().root.unwrap();
        let mut found = Vec::new();
        apply(&mut root, Path::new("."), &mut Vec::new(), &mut found);
        (root, found)
    }

    #[test]
    fn values_only_and_all_mistakes() {
        let (root, found) = applied(
            "a: ${env:MOTEGATE_SURELY_NOT_SET}\nb: [\"x ${nonsense}\", '${file:none}', \"${env:A\"]\n\
             ${env:HOME}: ${env:PATH}\nc: '${file:/dev/zero}'\n",
        );
        assert_eq!(found.len(), 5, "{found:?}");
        let Kind::Map(items) = root.kind else { panic!() };
        assert_eq!(items[2].0.text, "${env:HOME}");
        let Kind::Scalar { text, .. } = &items[2].1.kind else { panic!() };
        assert_eq!(*text, std::env::var("PATH").unwrap());
        assert_eq!(items[2].1.written.as_deref(), Some("${env:PATH}"));
    }

    #[test]
    fn a_doubled_dollar_is_the_text_itself() {
        let path = std::env::var("PATH").unwrap();
        for (source, expected) in [
            ("a$${env:X}b", "a${env:X}b".to_owned()),
            ("$${", "${".to_owned()),
            ("$$${env:PATH}", "$${env:PATH}".to_owned()),
            ("$x ${env:PATH}$", format!("$x {path}$")),
        ] {
            let (root, found) = applied(&format!("'{source}'"));
            let Kind::Scalar { text, .. } = root.kind else { panic!() };
            assert_eq!((text, found), (expected, vec![]));
        }
    }

    #[test]
    fn what_looks_like_null_or_a_list_stays_text() {
        let folder = std::env::temp_dir().join(format!("motegate-value-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        for (content, expected) in
            [("~", "~"), ("[a]\r\n", "[a]"), ("two\nlines\n\n", "two\nlines\n")]
        {
            std::fs::write(folder.join("v"), content).unwrap();
            let mut root = Document::parse("${file:v}", 0).unwrap().root.unwrap();
            let (mut files, mut found) = (Vec::new(), Vec::new());
            apply(&mut root, &folder, &mut files, &mut found);
            assert!(found.is_empty() && files == [folder.join("v")], "{found:?}");
            assert!(!root.is_null());
            let Kind::Scalar { text, .. } = root.kind else { panic!() };
            assert_eq!(text, expected);
        }
        std::fs::write(folder.join("v"), vec![b'x'; 70_000]).unwrap();
        assert_eq!(read(&folder.join("v")), Err("is larger than 64 KiB".into()));
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
