//! Retained messages: the last one of each topic (MQTT 5 §3.3.1.3).
//!
//! Two views of one set: a hash table for the exact topic, and the topics in byte order for
//! filters and lists. A filter does not scan everything: the walk jumps from topic to topic that
//! could match (see [`next_candidate`]), so it costs what the levels under each `+` cost. The
//! second view is 16 bytes a topic, as it shares the message's text.

use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::borrow::Borrow;
use core::hash::BuildHasher;
use core::ops::Bound;

use hashbrown::{DefaultHashBuilder, HashTable};
use motegate_message::{Message, TopicFilter, TopicName, topic_matches};
use motegate_timers::Instant;

/// ETag of a value: 64-bit FNV-1a of its Content-Format and payload, the same in every process
/// and after every restart (RFC 7252 §5.10.6). Never zero.
#[must_use]
pub fn etag(content_format: Option<u16>, payload: &[u8]) -> u64 {
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(PRIME);
    // A format that is absent is not format 0 (text/plain).
    let format = content_format.map_or([1, 0, 0], |f| [0, f.to_be_bytes()[0], f.to_be_bytes()[1]]);
    let hash = format.iter().fold(0xcbf2_9ce4_8422_2325, step);
    payload.iter().fold(hash, step).max(1)
}

/// [`etag`] of a message.
pub(crate) fn message_etag(message: &Message) -> u64 {
    let format = message.properties.as_ref().and_then(|p| p.content_format);
    etag(format, &message.payload)
}

/// A topic in byte order, to be looked up by any text.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Topic(TopicName);

impl Borrow<str> for Topic {
    fn borrow(&self) -> &str {
        self.0.as_str()
    }
}

/// Every retained message.
#[derive(Debug, Default)]
pub(crate) struct Retained {
    by_topic: HashTable<Arc<Message>>,
    hasher: DefaultHashBuilder,
    topics: BTreeSet<Topic>,
    expiring: BTreeSet<(Instant, TopicName)>,
    bytes: usize,
}

impl Retained {
    pub(crate) fn len(&self) -> usize {
        self.by_topic.len()
    }

    /// Bytes held, as [`Message::size`] counts them.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    fn hash(&self, topic: &TopicName) -> u64 {
        self.hasher.hash_one(topic.as_str())
    }

    /// The message of a topic, expired or not.
    pub(crate) fn peek(&self, topic: &TopicName) -> Option<&Arc<Message>> {
        self.by_topic.find(self.hash(topic), |m| m.topic == *topic)
    }

    /// The message of a topic, unless it has expired.
    pub(crate) fn get(&self, topic: &TopicName, now: Instant) -> Option<&Arc<Message>> {
        self.peek(topic).filter(|m| !m.is_expired(now))
    }

    /// Stores a message; its topic's text must be the one that [`shared_topic`](Self::shared_topic)
    /// gave, so that each text is held once. Returns the one it replaces.
    pub(crate) fn set(&mut self, message: &Arc<Message>) -> Option<Arc<Message>> {
        let old = self.take(&message.topic, false);
        if old.is_none() {
            self.topics.insert(Topic(message.topic.clone()));
        }
        if let Some(at) = message.expires {
            self.expiring.insert((at, message.topic.clone()));
        }
        self.bytes += message.size();
        let Retained { by_topic, hasher, .. } = self;
        let hash = hasher.hash_one(message.topic.as_str());
        by_topic.insert_unique(hash, message.clone(), |m| hasher.hash_one(m.topic.as_str()));
        old
    }

    /// The text already held for this topic, or this one.
    pub(crate) fn shared_topic(&self, topic: &TopicName) -> TopicName {
        self.peek(topic).map_or_else(|| topic.clone(), |m| m.topic.clone())
    }

    /// Forgets the message of a topic.
    pub(crate) fn remove(&mut self, topic: &TopicName) -> Option<Arc<Message>> {
        self.take(topic, true)
    }

    fn take(&mut self, topic: &TopicName, for_good: bool) -> Option<Arc<Message>> {
        let hash = self.hash(topic);
        let entry = self.by_topic.find_entry(hash, |m| m.topic == *topic).ok()?;
        let (old, _) = entry.remove();
        self.bytes -= old.size();
        if let Some(at) = old.expires {
            self.expiring.remove(&(at, old.topic.clone()));
        }
        if for_good {
            self.topics.remove(topic.as_str());
            if self.by_topic.is_empty() {
                *self = Retained::default(); // nothing left: give the memory back
            }
        }
        Some(old)
    }

    /// Topics in byte order, from a text on.
    pub(crate) fn topics_from(&self, from: &str) -> impl Iterator<Item = &TopicName> {
        let range = self.topics.range::<str, _>((Bound::Included(from), Bound::Unbounded));
        range.map(|Topic(topic)| topic)
    }

    /// When the first message expires.
    pub(crate) fn next_expiry(&self) -> Option<Instant> {
        self.expiring.first().map(|(at, _)| *at)
    }

    /// Takes out one message that has expired.
    pub(crate) fn pop_expired(&mut self, now: Instant) -> Option<Arc<Message>> {
        let (at, topic) = self.expiring.first()?;
        if *at > now {
            return None;
        }
        let topic = topic.clone();
        self.remove(&topic)
    }

    /// The messages under a filter, in byte order of their topics, at most `limit`.
    pub(crate) fn matching(
        &self,
        filter: &TopicFilter,
        now: Instant,
        limit: usize,
    ) -> Vec<Arc<Message>> {
        let mut found = Vec::new();
        if !filter.has_wildcard() {
            let message = filter.as_name().and_then(|topic| self.get(&topic, now).cloned());
            found.extend(message.filter(|_| limit > 0));
            return found;
        }
        let filter = filter.as_str();
        let from = String::from(literal_prefix(filter));
        let mut range = self.topics.range::<str, _>((Bound::Included(&*from), Bound::Unbounded));
        let mut misses = 0;
        while found.len() < limit {
            let Some(Topic(topic)) = range.next() else { break };
            if topic_matches(filter, topic.as_str()) {
                found.extend(self.get(topic, now).cloned());
                misses = 0;
                continue;
            }
            // A few steps are cheaper than a jump.
            misses += 1;
            if misses < 4 && topic.as_str().starts_with(&*from) {
                continue;
            }
            misses = 0;
            let Some(next) = next_candidate(filter, topic.as_str()) else { break };
            range = self.topics.range::<str, _>((Bound::Included(&*next), Bound::Unbounded));
        }
        found
    }
}

/// The text before the first wildcard, without the `/` before it: every topic that matches
/// starts with it.
fn literal_prefix(filter: &str) -> &str {
    let wildcard = filter.find(['+', '#']).unwrap_or(filter.len());
    filter[..wildcard].strip_suffix('/').unwrap_or(&filter[..wildcard])
}

/// The smallest text above `topic`, which does not match `filter`, from which on a topic could
/// match; `None` if there is none.
///
/// Topics that share levels lie together in byte order. Where the first `i` levels match and
/// level `i` does not, what could match lies at (or under) `levels[..i]/wanted`; when `topic` is
/// past that, it lies past everything that shares these `i` levels, that is from their text
/// followed by `0`, the byte after `/`.
fn next_candidate(filter: &str, topic: &str) -> Option<String> {
    // MQTT-4.7.2-1: below a leading wildcard no `$…` counts; `%` is the byte after `$`.
    if topic.starts_with('$') && filter.starts_with(['+', '#']) {
        return Some(String::from("%"));
    }
    let mut shared = 0; // bytes of `topic` in levels that match, their `/` included
    let mut free = None; // the end of the last level that matched a `+`
    let mut levels = topic.split('/');
    for wanted in filter.split('/') {
        let Some(level) = levels.next() else {
            // Too short: the next topic of all (`a!/x` lies between `a` and `a/x`).
            let mut next = String::from(topic);
            next.push('\0');
            return Some(next);
        };
        if wanted == "+" {
            free = Some(shared + level.len());
        } else if wanted != level {
            let mut next = String::from(&topic[..shared]);
            next.push_str(wanted);
            if *next > *topic {
                return Some(next);
            }
            next.push('/');
            return if *next > *topic { Some(next) } else { past(topic, free) };
        }
        shared += level.len() + 1;
    }
    // Too long: everything under these levels is.
    let shared = shared.saturating_sub(1).min(topic.len());
    let mut next = String::from(&topic[..shared]);
    next.push('0');
    Some(next)
}

/// Past everything under the last level that a `+` took.
fn past(topic: &str, free: Option<usize>) -> Option<String> {
    let mut next = String::from(&topic[..free?]);
    next.push('0');
    Some(next)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use proptest::prelude::*;

    fn store(topics: &[String]) -> Retained {
        let mut retained = Retained::default();
        for topic in topics {
            let topic = retained.shared_topic(&TopicName::new(topic).unwrap());
            retained.set(&Arc::new(Message::new(topic, Bytes::from_static(b"x"))));
        }
        retained
    }

    #[test]
    fn etags_tell_values_apart_and_are_stable() {
        assert_eq!(etag(None, b""), etag(None, b""));
        let all = [
            etag(None, b""),
            etag(Some(0), b""),
            etag(Some(50), b""),
            etag(None, b"1"),
            etag(None, b"\0"),
        ];
        for (i, a) in all.iter().enumerate() {
            assert!(all[..i].iter().all(|b| a != b));
        }
        // Written down: a new version must not change it.
        assert_eq!(etag(Some(0), b"21.5"), ETAG_21_5);
    }
    const ETAG_21_5: u64 = 0x907d_3e72_efeb_c97b;

    #[test]
    fn everything_is_given_back() {
        let topics: Vec<String> = (0..100).map(|i| alloc::format!("t/{i}")).collect();
        let mut retained = store(&topics);
        assert_eq!((retained.len(), retained.bytes()), (100, 90 * 5 + 10 * 4));
        for topic in &topics {
            assert!(retained.remove(&TopicName::new(topic).unwrap()).is_some());
        }
        assert_eq!((retained.len(), retained.bytes(), retained.topics.len()), (0, 0, 0));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]
        #[test]
        fn a_walk_finds_what_a_scan_finds(
            topics in proptest::collection::vec("(\\$a|[a-c!0]{0,2})(/[a-c!0]{0,2}){0,3}", 0..40),
            levels in proptest::collection::vec("[a-c!]|\\+|\\+|\\$a|", 1..5),
            hash in any::<bool>(),
            limit in prop_oneof![Just(usize::MAX), 0..5_usize],
        ) {
            let topics: Vec<String> = topics.into_iter().filter(|t| !t.is_empty()).collect();
            let mut levels = levels;
            if hash {
                levels.push("#".into());
            }
            let text = levels.join("/");
            prop_assume!(!text.is_empty());
            let filter = TopicFilter::new(&text).unwrap();
            let retained = store(&topics);
            let found: Vec<String> = retained
                .matching(&filter, Instant::ZERO, limit)
                .iter()
                .map(|m| m.topic.as_str().into())
                .collect();
            let mut expected: Vec<String> =
                topics.into_iter().filter(|t| topic_matches(&text, t)).collect();
            expected.sort();
            expected.dedup();
            expected.truncate(limit);
            prop_assert_eq!(found, expected);
        }
    }
}
