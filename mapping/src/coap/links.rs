//! [`Link`]: what a rule says of its resources in `.well-known/core` (mapping.md §2.15).
//!
//! Two sources: rules of one path each, and rules that lead from a retained topic back to its path.
//! What is known here is given; whether the client may read the topic, how large its value is and
//! how many links fit is for the caller.

use std::sync::Arc;

use motegate_message::{TopicFilter, TopicName};

use super::{Asker, CoapTable, Rule};
use crate::pattern::Segment;
use crate::safety::Unsafe;
use crate::template::{Template, Values};
use crate::text::Text;
use crate::{Action, CoapMethod};

/// SenML in JSON and CBOR: what notifications of many topics come in (mapping.md §2.7).
const PACKS: [u16; 2] = [110, 112];

/// An attribute of a rule, checked.
#[derive(Debug)]
pub(crate) struct LinkAttribute {
    pub(super) name: Box<str>,
    pub(super) value: Template,
}

/// A resource and what its rule says of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The path, as Uri-Path options.
    pub path: Vec<String>,
    /// Name of the rule.
    pub rule: Arc<str>,
    /// The final topic (or filter) that it reads; `None` where it depends on the query.
    pub topic: Option<TopicFilter>,
    /// From `link`: attribute and value, as in the configuration. Values hold no control characters.
    pub attributes: Vec<(String, String)>,
    /// Content-Formats that the device's side has; empty: that of the value.
    pub content_formats: Vec<u16>,
    /// Whether it can be observed.
    pub observable: bool,
}

impl Link {
    /// The value that `link` gives an attribute.
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

impl CoapTable {
    /// The resource that reads a retained topic.
    pub(crate) fn link(&self, asker: Asker<'_>, topic: &TopicName) -> Option<Link> {
        let (rule, path) = self.reverse(asker, topic)?;
        self.describe(asker, rule, path, Some(topic.clone().into()))
    }

    /// The resources of rules of one path each, for whom they hold; the narrowest of a path.
    pub(crate) fn literal_links<'a>(&'a self, asker: Asker<'a>) -> impl Iterator<Item = Link> + 'a {
        self.literals.iter().filter_map(move |&i| {
            let rule = self.rules.get(i).filter(|rule| rule.is_for(asker.caller, asker.host))?;
            let path: Vec<String> = rule
                .pattern
                .segments
                .iter()
                .map(|segment| match segment {
                    Segment::Literal(text) => text.to_string(),
                    _ => String::new(),
                })
                .collect();
            let mut listed = false;
            self.index.candidates(&path, |j| {
                let other = &self.rules[j];
                listed |= j < i && other.is_literal() && other.is_for(asker.caller, asker.host);
            });
            if listed {
                return None;
            }
            let topic = rule.topic(asker.caller, Action::Read, &path, &[]);
            if topic.as_ref().is_err_and(|_| rule.topic.query_keys().next().is_none()) {
                return None; // this client cannot have it
            }
            self.describe(asker, rule, path, topic.ok())
        })
    }

    fn describe(
        &self,
        asker: Asker<'_>,
        rule: &Rule,
        path: Vec<String>,
        topic: Option<TopicFilter>,
    ) -> Option<Link> {
        let mut attributes = Vec::with_capacity(rule.link.len());
        for LinkAttribute { name, value } in rule.link.iter() {
            let mut out = Text::new();
            let values = Values { caller: asker.caller, path: &path, query: &[], id: 0 };
            value.render(&values, Unsafe::Free, &mut out).ok()?;
            attributes.push((name.to_string(), out.as_str().to_owned()));
        }
        let content_formats = match &rule.formatted.payload {
            Some(payload) => payload.content_formats(),
            None if rule.topic.has_wildcard() => PACKS.to_vec(),
            None => Vec::new(),
        };
        let observed = self.find(asker, CoapMethod::Observe, &path);
        Some(Link {
            rule: rule.name.clone(),
            topic,
            attributes,
            content_formats,
            observable: observed.is_ok_and(|(_, action)| action == Action::Subscribe),
            path,
        })
    }
}
