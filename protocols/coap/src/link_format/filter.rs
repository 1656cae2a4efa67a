//! [`Filter`]: which links a query asks for (RFC 6690 §4.1).

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::{Link, Value};

/// The Uri-Query options of a request for `.well-known/core`; a link must satisfy each. The empty
/// filter takes all.
///
/// `href=/a*`, `rt=temp`, `ct=40`: a trailing `*` matches any rest; a value of several words
/// (`rt`, `if`, `rel`, `ct` …) matches by any of its words. A name alone asks for its presence.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filter<'a> {
    parts: Vec<(&'a str, Option<&'a str>)>,
}

impl<'a> Filter<'a> {
    /// From the query of a request.
    pub fn new<S: AsRef<str>>(query: &'a [S]) -> Self {
        let part = |option: &'a S| match option.as_ref().split_once('=') {
            Some((name, pattern)) => (name, Some(pattern)),
            None => (option.as_ref(), None),
        };
        Filter { parts: query.iter().map(part).collect() }
    }

    /// Whether every link is taken.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// Whether the link is asked for.
    #[must_use]
    pub fn matches(&self, link: &Link) -> bool {
        self.parts.iter().all(|(name, pattern)| part_matches(link, name, *pattern))
    }
}

fn part_matches(link: &Link, name: &str, pattern: Option<&str>) -> bool {
    if name == "href" {
        // The query has come decoded (RFC 7252 §6.4), the link is a URI: either way of writing it.
        return pattern.is_none_or(|pattern| {
            value_matches(&link.href, pattern)
                || link.href.contains('%') && value_matches(&decoded(&link.href), pattern)
        });
    }
    let mut own = link.attributes.iter().filter(|attribute| attribute.name == name);
    own.any(|attribute| match (pattern, &attribute.value) {
        (None, _) => true,
        (Some(pattern), Value::Text(text)) => {
            value_matches(text, pattern) || text.split(' ').any(|word| value_matches(word, pattern))
        }
        (Some(pattern), Value::Number(number)) => value_matches(&number.to_string(), pattern),
        (Some(pattern), Value::Flag) => value_matches("", pattern),
    })
}

/// Without percent-encoding, as far as it is text.
fn decoded(href: &str) -> String {
    let mut out = Vec::with_capacity(href.len());
    let mut rest = href.as_bytes();
    while let Some((byte, tail)) = rest.split_first() {
        let digit = |at: usize| char::from(*tail.get(at)?).to_digit(16);
        match (*byte, digit(0), digit(1)) {
            (b'%', Some(high), Some(low)) => {
                out.push(u8::try_from(high << 4 | low).unwrap_or(b'%'));
                rest = tail.get(2..).unwrap_or_default();
            }
            (byte, ..) => {
                out.push(byte);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn value_matches(value: &str, pattern: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => value.starts_with(prefix),
        None => value == pattern,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// ETSI TD_COAP_LINK_02, 03, 05 to 08.
    #[test]
    fn filters() {
        let link = Link::to(&["mqtt", "site", "temp"])
            .resource_type("core.ps core.ps.data")
            .interface("sensor")
            .content_formats(&[0, 50])
            .size(64)
            .observable()
            .title("kitchen temp");
        let takes = |query: &[&str]| Filter::new(query).matches(&link);
        for yes in [
            "rt=core.ps",
            "rt=core.ps.data",
            "rt=core.ps core.ps.data",
            "rt=core*",
            "rt=*",
            "if=sensor",
            "if=s*",
            "ct=50",
            "ct=0",
            "sz=64",
            "sz=6*",
            "sz=*",
            "href=/mqtt/site/temp",
            "href=/mqtt*",
            "href=*",
            "href",
            "obs",
            "obs=",
            "title=kitchen*",
        ] {
            assert!(takes(&[yes]), "{yes}");
        }
        for no in [
            "rt=core",
            "rt=data",
            "rt=",
            "rt=Core.ps",
            "if=sens",
            "ct=5",
            "ct=40",
            "sz=6",
            "href=/mqtt",
            "href=mqtt*",
            "ins",
            "ins=*",
            "obs=1",
            "",
        ] {
            assert!(!takes(&[no]), "{no}");
        }
        let link = Link::to(&["mqtt", "a b", "é"]);
        for yes in ["href=/mqtt/a b/é", "href=/mqtt/a%20b/%C3%A9", "href=/mqtt/a b*"] {
            assert!(Filter::new(&[yes]).matches(&link), "{yes}");
        }
        assert!(!Filter::new(&["href=/mqtt/a+b/é"]).matches(&link));
        assert!(takes(&[]));
        assert!(takes(&["rt=core.ps", "ct=0"]));
        assert!(!takes(&["rt=core.ps", "ct=40"]));
    }
}
