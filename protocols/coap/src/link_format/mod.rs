//! Link format (RFC 6690), Content-Format 40: what `.well-known/core` answers.
//!
//! [`Link`] is one resource with its attributes, [`document`] writes as many links as fit, and
//! [`Filter`] judges a link by the query of a request (§4.1). What is listed, and to whom, is
//! decided elsewhere. Left out: `anchor` and relations (`rel`, `rev`) beyond plain attributes, and
//! reading a document.

mod filter;

pub use filter::Filter;

use alloc::borrow::Cow;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt::Write;

/// Content-Format of `application/link-format` (RFC 6690 §7.3).
pub const CONTENT_FORMAT: u16 = 40;

/// An attribute's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// A quoted string.
    Text(Cow<'static, str>),
    /// A number, not quoted.
    Number(u32),
    /// The name alone says it.
    Flag,
}

/// One attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attribute {
    /// `rt`, `if`, `ct` …
    pub name: Cow<'static, str>,
    /// Its value.
    pub value: Value,
}

/// One resource and what is said about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The URI reference, percent-encoded.
    pub href: String,
    /// In the order they are written.
    pub attributes: Vec<Attribute>,
}

impl Link {
    /// A link to a path given by its segments as in Uri-Path options.
    #[must_use]
    pub fn to<S: AsRef<str>>(path: &[S]) -> Self {
        let mut href = String::new();
        for segment in path {
            href.push('/');
            encode_segment(segment.as_ref(), &mut href);
        }
        if href.is_empty() {
            href.push('/');
        }
        Link { href, attributes: Vec::new() }
    }

    /// Adds any attribute.
    #[must_use]
    pub fn attribute(mut self, name: impl Into<Cow<'static, str>>, value: Value) -> Self {
        self.attributes.push(Attribute { name: name.into(), value });
        self
    }

    /// Resource types, parted by spaces (RFC 6690 §3.1).
    #[must_use]
    pub fn resource_type(self, rt: impl Into<Cow<'static, str>>) -> Self {
        self.attribute("rt", Value::Text(rt.into()))
    }

    /// Interface descriptions, parted by spaces (RFC 6690 §3.2).
    #[must_use]
    pub fn interface(self, interface: impl Into<Cow<'static, str>>) -> Self {
        self.attribute("if", Value::Text(interface.into()))
    }

    /// Maximum size estimate in bytes (RFC 6690 §3.3).
    #[must_use]
    pub fn size(self, bytes: u32) -> Self {
        self.attribute("sz", Value::Number(bytes))
    }

    /// Content-Formats that it comes in (RFC 7252 §7.2.1); none adds nothing.
    #[must_use]
    pub fn content_formats(self, formats: &[u16]) -> Self {
        match formats {
            [] => self,
            [one] => self.attribute("ct", Value::Number(u32::from(*one))),
            many => {
                let list: Vec<String> = many.iter().map(ToString::to_string).collect();
                self.attribute("ct", Value::Text(list.join(" ").into()))
            }
        }
    }

    /// It is worth observing (RFC 7641 §6).
    #[must_use]
    pub fn observable(self) -> Self {
        self.attribute("obs", Value::Flag)
    }

    /// For people.
    #[must_use]
    pub fn title(self, title: impl Into<Cow<'static, str>>) -> Self {
        self.attribute("title", Value::Text(title.into()))
    }

    /// Appends the link as RFC 6690 §2 writes it.
    pub fn write(&self, out: &mut String) {
        out.push('<');
        out.push_str(&self.href);
        out.push('>');
        for attribute in &self.attributes {
            out.push(';');
            out.push_str(&attribute.name);
            match &attribute.value {
                Value::Flag => {}
                Value::Number(number) => {
                    out.push_str(&format!("={number}"));
                }
                Value::Text(text) => quote(text, out),
            }
        }
    }
}

/// `="text"`, with a backslash before what would end it (RFC 6690 §2, quoted-string).
fn quote(text: &str, out: &mut String) {
    out.push_str("=\"");
    for c in text.chars() {
        if matches!(c, '"' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('"');
}

/// Percent-encodes what RFC 3986 §3.3 does not allow in a segment.
fn encode_segment(segment: &str, out: &mut String) {
    for byte in segment.bytes() {
        let plain = byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@".contains(&byte);
        if plain {
            out.push(char::from(byte));
        } else {
            // Writing to a String does not fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
}

/// A link-format document.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Document {
    /// The text; empty when nothing matched.
    pub text: String,
    /// Links that did not fit.
    pub left_out: usize,
}

/// Writes the links that `filter` takes, as many as fit into `max` bytes; a link is never cut.
pub fn document<'a>(
    links: impl IntoIterator<Item = &'a Link>,
    filter: &Filter<'_>,
    max: usize,
) -> Document {
    let mut document = Document::default();
    for link in links.into_iter().filter(|link| filter.matches(link)) {
        let before = document.text.len();
        if before > 0 {
            document.text.push(',');
        }
        link.write(&mut document.text);
        if document.text.len() > max {
            document.text.truncate(before);
            document.left_out += 1;
        }
    }
    document
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_written_as_the_rfc_shows() {
        let link = Link::to(&["sensors", "temp"])
            .resource_type("temperature-c")
            .interface("sensor")
            .content_formats(&[0])
            .size(5)
            .observable()
            .title("a \"hot\" \\ spot");
        let mut out = String::new();
        link.write(&mut out);
        let expected = r#"</sensors/temp>;rt="temperature-c";if="sensor";ct=0;sz=5;obs;title="a \"hot\" \\ spot""#;
        assert_eq!(out, expected);
    }

    #[test]
    fn segments_are_encoded_once() {
        assert_eq!(Link::to(&["a/b", "c d", "é", "x%2F", ""]).href, "/a%2Fb/c%20d/%C3%A9/x%252F/");
        assert_eq!(Link::to::<&str>(&[]).href, "/");
        assert_eq!(Link::to(&["a>b", "q?", "h#"]).href, "/a%3Eb/q%3F/h%23");
    }

    #[test]
    fn several_formats_are_a_list() {
        let mut out = String::new();
        Link::to(&["x"]).content_formats(&[0, 40, 60]).write(&mut out);
        Link::to(&["y"]).content_formats(&[]).write(&mut out);
        assert_eq!(out, "</x>;ct=\"0 40 60\"</y>");
    }

    #[test]
    fn a_document_never_cuts_a_link() {
        let links = [Link::to(&["a"]), Link::to(&["long-long-name"]), Link::to(&["b"])];
        let all = document(&links, &Filter::default(), 1_000);
        assert_eq!(all.text, "</a>,</long-long-name>,</b>");
        assert_eq!(all.left_out, 0);
        let some = document(&links, &Filter::default(), 10);
        assert_eq!((some.text.as_str(), some.left_out), ("</a>,</b>", 1));
    }
}
