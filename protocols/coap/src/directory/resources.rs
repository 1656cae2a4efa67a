//! [`resources`]: which links of a document have a resource type (RFC 6690 §2, §3.1).

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;

/// The targets of a link-format document's links whose `rt` has this word, in their order, at most
/// `max`. What cannot be read ends the list: the links before it stand.
#[must_use]
pub fn resources<'a>(document: &'a str, resource_type: &str, max: usize) -> Vec<&'a str> {
    let mut found = Vec::new();
    let mut rest = document;
    while found.len() < max {
        let Some((target, after)) =
            rest.trim_start().strip_prefix('<').and_then(|rest| rest.split_once('>'))
        else {
            break;
        };
        let Some((is_it, after)) = attributes(after, resource_type) else { break };
        if is_it {
            found.push(target);
        }
        rest = after;
    }
    found
}

/// Whether the attributes up to the next link, or the end, have the resource type; and what follows.
fn attributes<'a>(mut rest: &'a str, resource_type: &str) -> Option<(bool, &'a str)> {
    let mut told = None;
    loop {
        rest = rest.trim_start();
        if rest.is_empty() {
            return Some((told.unwrap_or(false), rest));
        }
        if let Some(next) = rest.strip_prefix(',') {
            return Some((told.unwrap_or(false), next));
        }
        let text = rest.strip_prefix(';')?.trim_start();
        let (name, after) = text.split_at(text.find(['=', ';', ',']).unwrap_or(text.len()));
        rest = after;
        let Some(value) = after.strip_prefix('=') else { continue };
        let (value, after) = value_of(value)?;
        rest = after;
        // RFC 6690 §3.1: there is one; whatever follows it does not count.
        if name.trim_end() == "rt" && told.is_none() {
            told = Some(value.split(' ').any(|word| word == resource_type));
        }
    }
}

/// A quoted string or a token, and what follows.
fn value_of(text: &str) -> Option<(Cow<'_, str>, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let (token, rest) = text.split_at(text.find([';', ',']).unwrap_or(text.len()));
        return Some((token.trim_end().into(), rest));
    };
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value.into(), quoted.get(at + 1..)?)),
            '\\' => value.push(chars.next()?.1),
            c => value.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(document: &str) -> Vec<&str> {
        resources(document, "core.rd", 8)
    }

    #[test]
    fn the_type_is_one_of_the_words() {
        assert_eq!(found("</rd>;rt=core.rd;ct=40,</l/ep>;rt=core.rd-lookup-ep;ct=40"), ["/rd"]);
        let aiocoap = "</resourcedirectory/>; ct=\"40\"; rt=\"core.rd\",</x>;rt=\"a core.rd b\"";
        assert_eq!(found(aiocoap), ["/resourcedirectory/", "/x"]);
        assert_eq!(found("</rd>;ct=40;rt=\"core.rd\";ins=\"default\""), ["/rd"]);
        assert_eq!(
            found("</a>;title=\"</b>;rt=core.rd,\\\"\";obs,<coap://h/rd>;rt=core.rd"),
            ["coap://h/rd"]
        );
        assert_eq!(found("</a>;rt=x;rt=core.rd"), [""; 0]);
        assert_eq!(resources("</a>;rt=core.rd,</b>;rt=core.rd", "core.rd", 1), ["/a"]);
    }

    #[test]
    fn what_cannot_be_read_ends_the_list() {
        for document in ["", "x", "<", "</rd", "</rd>x", "</rd>;rt=\"core.rd", "</rd>;rt=\"\\"] {
            assert_eq!(found(document), [""; 0], "{document}");
        }
        assert_eq!(found("</rd>;rt=core.rd,junk,</other>;rt=core.rd"), ["/rd"]);
        assert_eq!(found("</rd>;rt=core.rd,"), ["/rd"]);
    }
}
