//! [`Audience`]: how many observe each topic.
//!
//! A topic is the final one that a path stands for, or the filter of a rule with wildcards, by whichever
//! listener its observers come. One entry a topic that is observed; the largest number is known without
//! a look at all of them, and pages of them come in the order of topics.

use std::collections::BTreeMap;
use std::ops::Bound;

use hashbrown::HashMap;
use motegate_coap::endpoint::Request;
use motegate_mapping::CoapMatch;
use motegate_message::{Reason, TopicFilter};

use super::TopicRef;
use crate::notice::{Notice, NoticeKind};
use crate::{Core, Protocol};

/// The observers of all topics, in numbers.
#[derive(Debug, Default)]
pub(crate) struct Audience {
    topics: BTreeMap<TopicFilter, u32>,
    /// How many topics have so many observers.
    sizes: HashMap<u32, u32>,
    most: u32,
    /// Registrations answered without Observe: `max_observers_per_topic`.
    pub(crate) refused: u64,
}

impl Audience {
    /// One more.
    pub(super) fn enter(&mut self, topic: &TopicFilter) {
        let count = self.topics.entry(topic.clone()).or_default();
        let before = *count;
        *count += 1;
        self.resized(before, before + 1);
    }

    /// One less.
    pub(super) fn leave(&mut self, topic: &TopicFilter) {
        let Some(count) = self.topics.get_mut(topic) else { return };
        let before = *count;
        *count -= 1;
        if *count == 0 {
            self.topics.remove(topic);
        }
        self.resized(before, before - 1);
    }

    fn resized(&mut self, before: u32, after: u32) {
        if let Some(topics) = self.sizes.get_mut(&before) {
            *topics -= 1;
            if *topics == 0 {
                self.sizes.remove(&before);
            }
        }
        if after > 0 {
            *self.sizes.entry(after).or_default() += 1;
        }
        // Whoever had the most has one less now, or another has as many still.
        if after > self.most || (before == self.most && !self.sizes.contains_key(&before)) {
            self.most = after;
        }
        if self.topics.is_empty() {
            self.sizes = HashMap::new();
        }
    }

    /// Who observes a topic, in number.
    pub(crate) fn of(&self, topic: &TopicFilter) -> usize {
        self.topics.get(topic).map_or(0, |count| *count as usize)
    }

    /// The observers of the topic that has the most.
    pub(crate) const fn most(&self) -> u32 {
        self.most
    }

    /// Topics with their observers, in byte order, behind one of them.
    pub(crate) fn behind(
        &self,
        topic: Option<&TopicFilter>,
    ) -> impl Iterator<Item = (&TopicFilter, u32)> {
        let from = topic.map_or(Bound::Unbounded, Bound::Excluded);
        self.topics.range((from, Bound::Unbounded)).map(|(topic, count)| (topic, *count))
    }
}

impl Core {
    /// Whether `max_observers_per_topic` and the topic's own `max-subscribers` allow one more, or it
    /// is an old one anew (RFC 7641 §4.1).
    pub(super) fn takes_observer(
        &mut self,
        request: &Request,
        mapped: &CoapMatch,
        of: Option<TopicRef>,
    ) -> bool {
        let full = self.audience.of(&mapped.topic) >= self.config.max_observers_per_topic;
        let of = of.filter(|topic| !self.topics.has_room(*topic));
        if !full && of.is_none() {
            return true;
        }
        let replaced = self.coap.replaces(request.exchange);
        let old = replaced.and_then(|old| self.observations.get(&old));
        if old.is_some_and(|old| old.topic == mapped.topic && (of.is_none() || old.of == of)) {
            return true;
        }
        if !full {
            self.topics.counts.unobserved += 1;
            return false;
        }
        self.audience.refused += 1;
        let kind = NoticeKind::Dropped(Reason::QuotaExceeded);
        self.notice(Notice {
            limit: Some("max_observers_per_topic"),
            text: Some(format!("no more observers of {}", mapped.topic)),
            ..Notice::of_peer(kind, Protocol::Coap, &request.peer)
        });
        false
    }
}

#[cfg(test)]
mod tests {
    use super::super::observe::{Asked, Observation};
    use super::*;

    /// There may be 100,000, and the endpoint and the broker keep something of each, too.
    #[test]
    fn what_the_core_knows_of_an_observation_is_small() {
        let (known, asked) = (size_of::<Observation>(), size_of::<Asked>());
        assert!(known <= 152 && asked <= 72, "{known} + {asked}");
    }

    #[test]
    fn the_most_is_known_after_any_change() {
        let topics = ["a", "b", "c/+", "d"].map(|text| TopicFilter::new(text).unwrap());
        let mut audience = Audience::default();
        let mut model: Vec<(usize, u32)> = (0..topics.len()).map(|at| (at, 0)).collect();
        let mut seed = 7_u32;
        for round in 0..20_000 {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let at = (seed >> 16) as usize % topics.len();
            // It grows, then shrinks to nothing.
            let grows = seed >> 28 < if round < 10_000 { 10 } else { 6 };
            if grows {
                audience.enter(&topics[at]);
                model[at].1 += 1;
            } else {
                audience.leave(&topics[at]);
                model[at].1 = model[at].1.saturating_sub(1);
            }
            let most = model.iter().map(|(_, count)| *count).max().unwrap();
            assert_eq!((audience.most(), audience.of(&topics[at])), (most, model[at].1 as usize));
        }
        for (at, left) in model {
            (0..left).for_each(|_| audience.leave(&topics[at]));
        }
        assert_eq!((audience.most(), audience.topics.len(), audience.sizes.len()), (0, 0, 0));
    }

    #[test]
    fn pages_are_in_order() {
        let mut audience = Audience::default();
        let topics = ["b", "a/#", "a"].map(|text| TopicFilter::new(text).unwrap());
        topics.iter().for_each(|topic| audience.enter(topic));
        audience.enter(&topics[2]);
        let page = |from: Option<&TopicFilter>| -> Vec<(String, u32)> {
            audience.behind(from).map(|(topic, n)| (topic.as_str().to_owned(), n)).collect()
        };
        let told = |all: &[(&str, u32)]| -> Vec<(String, u32)> {
            all.iter().map(|(topic, n)| ((*topic).to_owned(), *n)).collect()
        };
        assert_eq!(page(None), told(&[("a", 2), ("a/#", 1), ("b", 1)]));
        assert_eq!(page(Some(&topics[2])), told(&[("a/#", 1), ("b", 1)]));
    }
}
