//! Keys that hold secrets: those that the schema calls `secret`.
//!
//! One that is typed into a file is a warning, for files are copied, mailed and committed; a digest
//! of one (`secret: digest`) may stand there. Neither, nor what came from a `${file:…}`, is ever
//! shown; nor is a line of a file that may hold one.

use serde_json::Value as Json;

use crate::diagnostic::{Code, Diagnostic};
use crate::document::{Kind, Node};
use crate::schema;

/// Warns of secrets that stand in a file as they are; before anything is substituted.
pub(crate) fn check(root: &Node, schema: &Json, found: &mut Vec<Diagnostic>) {
    let mut open = vec![(root, schema)];
    while let Some((node, schema)) = open.pop() {
        match &node.kind {
            Kind::Map(items) => open.extend(
                items.iter().filter_map(|(key, n)| Some((n, schema::inner(schema, &key.text)?))),
            ),
            Kind::List(items) => {
                let list = schema::alternative(schema, "array");
                open.extend(list.iter().flat_map(|l| items.iter().map(|n| (n, &l["items"]))));
            }
            Kind::Scalar { text, .. } => {
                if is_secret(schema) && !text.contains("${") && !node.is_null() {
                    let fix = "write ${env:NAME} or ${file:PATH}, and keep it out of this file";
                    let d = Diagnostic::new(Code::InlineSecret, "a secret in the open", fix);
                    found.push(d.at(node.span.clone()));
                }
            }
        }
    }
}

/// Whether the schema says that a key is a secret.
pub(crate) fn is_secret(schema: &Json) -> bool {
    schema["secret"] == true
}

/// Whether a value must not be shown.
pub(crate) fn is_hidden(node: &Node, schema: &Json) -> bool {
    schema.get("secret").is_some()
        || node.written.as_ref().is_some_and(|text| text.contains("${file:"))
}

/// Whether a line of a configuration may hold a secret, so that it is not drawn beside a mistake in
/// it: not only where the key is right, for the mistake may be in the key.
pub(crate) fn may_hold_one(line: &str) -> bool {
    let line = line.to_ascii_lowercase();
    ["passw", "scram", "pasw", "pwd"].iter().any(|word| line.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::Document;

    #[test]
    fn a_typed_secret_is_a_warning_a_referenced_one_is_not() {
        let schema = serde_json::json!({"type": "object", "properties": {
            "user": {"type": ["string"]},
            "password": {"type": ["string"], "secret": true},
        }});
        let found = |text| {
            let root = Document::parse(text, 0).unwrap().root.unwrap();
            let mut found = Vec::new();
            check(&root, &schema, &mut found);
            found.into_iter().map(|d| (d.code, d.is_error())).collect::<Vec<_>>()
        };
        assert_eq!(found("{user: a, password: b}"), [(Code::InlineSecret, false)]);
        assert_eq!(found("{user: a, password: \"${env:P}\"}"), []);
        assert_eq!(found("{user: a, password: }"), []);
    }
}
