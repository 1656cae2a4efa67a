//! Retained topics by level: what lies directly below a prefix, and how much below that.
//!
//! The walk jumps from level to level in the byte order of topics, so that a level costs one
//! step however many topics it has; counting them costs a step each, up to a budget.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use motegate_message::{Message, TopicFilter, TopicName};
use motegate_timers::Instant;

use crate::Broker;

/// One level below a prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Level {
    /// Its text; may be empty.
    pub name: String,
    /// The retained message of the topic that ends here.
    pub message: Option<Arc<Message>>,
    /// Retained topics below it, itself not counted.
    pub below: usize,
    /// The last topic counted, if the budget ended there: count on with
    /// [`Broker::retained_below`].
    pub counted_to: Option<TopicName>,
}

impl Broker {
    /// A retained message, unless it has expired.
    #[must_use]
    pub fn retained(&self, topic: &TopicName, now: Instant) -> Option<&Arc<Message>> {
        self.retained.get(topic, now).or_else(|| self.own.get(topic, now))
    }

    /// The retained messages under a filter, in byte order of their topics, at most `limit`.
    #[must_use]
    pub fn retained_under(
        &self,
        filter: &TopicFilter,
        now: Instant,
        limit: usize,
    ) -> Vec<Arc<Message>> {
        self.retained.matching(filter, now, limit)
    }

    /// The levels directly below `prefix` (`None`: the first levels of all topics) in byte order,
    /// after the level `after`, at most `limit`. At most `budget` topics are counted; then the
    /// last level says where its count stopped.
    #[must_use]
    pub fn retained_levels(
        &self,
        now: Instant,
        prefix: Option<&str>,
        after: Option<&str>,
        limit: usize,
        mut budget: usize,
    ) -> Vec<Level> {
        let base = prefix.map_or_else(String::new, |prefix| [prefix, "/"].concat());
        let mut last = after.map(String::from);
        let mut levels: Vec<Level> = Vec::new();
        while levels.len() < limit {
            let Some(name) = self.next_level(&base, last.as_deref()) else { break };
            let topic = [&base, &*name].concat();
            let message = TopicName::lenient(&topic).ok().and_then(|t| self.retained.get(&t, now));
            let (below, counted_to) = self.retained_below(&topic, None, budget);
            budget -= below;
            let done = counted_to.is_some();
            last = Some(name.clone());
            levels.push(Level { name, message: message.cloned(), below, counted_to });
            if done {
                break;
            }
        }
        levels
    }

    /// How many topics lie below `level`, after `from`, counted up to `budget`; and the last one
    /// counted if there are more.
    #[must_use]
    pub fn retained_below(
        &self,
        level: &str,
        from: Option<&TopicName>,
        budget: usize,
    ) -> (usize, Option<TopicName>) {
        let inside = [level, "/"].concat();
        let first = from.map_or_else(|| inside.clone(), |topic| [topic.as_str(), "\0"].concat());
        let mut topics = self
            .retained
            .topics_from(&first)
            .take_while(|topic| topic.as_str().starts_with(&inside));
        let mut last = None;
        let mut count = 0;
        while count < budget {
            let Some(topic) = topics.next() else { return (count, None) };
            last = Some(topic);
            count += 1;
        }
        let more = topics.next().is_some();
        // Without a budget nothing was counted: the count begins at the level itself.
        let last = last.cloned().or_else(|| TopicName::lenient(level).ok());
        (count, last.filter(|_| more))
    }

    /// The shortest level that `name` begins with and that comes after `last`: where no topic ends
    /// with it, `a/x` is the first of `a` and lies behind `a!`.
    fn shorter_level<'a>(&self, base: &str, name: &'a str, last: Option<&str>) -> Option<&'a str> {
        let ends = name.char_indices().filter(|(_, next)| *next < '/').map(|(end, _)| end);
        let mut levels = ends.filter_map(|end| name.get(..end));
        levels.find(|level| {
            let inside = [base, level, "/"].concat();
            let first = self.retained.topics_from(&inside).next();
            last.is_none_or(|last| *level > last)
                && first.is_some_and(|topic| topic.as_str().starts_with(&inside))
        })
    }

    /// The first level below `base` after `last`.
    fn next_level(&self, base: &str, last: Option<&str>) -> Option<String> {
        let mut from = match last {
            // The smallest text above `base/last`: a longer name may come before `base/last/…`.
            Some(last) => [base, last, "\0"].concat(),
            None => String::from(base),
        };
        loop {
            let topic = self.retained.topics_from(&from).next()?;
            let name = topic.as_str().strip_prefix(base)?.split('/').next()?;
            if last.is_none_or(|last| name > last) {
                return Some(self.shorter_level(base, name, last).unwrap_or(name).into());
            }
            // A level that was there already (`a!` lies between `a` and `a/x`): past all of it,
            // `0` is the byte after `/`.
            from = [base, name, "0"].concat();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Config;
    use alloc::collections::BTreeMap;
    use alloc::string::ToString;
    use bytes::Bytes;
    use proptest::prelude::*;

    fn broker(topics: &[&str]) -> Broker {
        let mut broker = Broker::new(Config::default());
        for topic in topics {
            let topic = broker.retained.shared_topic(&TopicName::new(topic).unwrap());
            broker.retained.set(&Arc::new(Message::new(topic, Bytes::from_static(b"x"))));
        }
        broker
    }

    fn all(broker: &Broker, prefix: Option<&str>) -> Vec<(String, bool, usize)> {
        let levels = broker.retained_levels(Instant::ZERO, prefix, None, 100, 1_000);
        assert!(levels.iter().all(|level| level.counted_to.is_none()));
        levels.into_iter().map(|l| (l.name, l.message.is_some(), l.below)).collect()
    }

    #[test]
    fn levels_are_counted_and_in_order() {
        let broker = broker(&["a", "a!/x", "a/b", "a/b/c", "a/d", "$SYS/up", "/x", "ab"]);
        let line = |name: &str, value, below| (name.to_string(), value, below);
        let root = [
            line("", false, 1),
            line("$SYS", false, 1),
            line("a", true, 3),
            line("a!", false, 1),
            line("ab", true, 0),
        ];
        assert_eq!(all(&broker, None), root);
        assert_eq!(all(&broker, Some("a")), [line("b", true, 1), line("d", true, 0)]);
        assert_eq!(all(&broker, Some("")), [line("x", true, 0)]);
        assert_eq!(all(&broker, Some("nothing")), []);
    }

    #[test]
    fn a_count_stops_at_its_budget_and_goes_on() {
        let broker = broker(&["a/1", "a/2", "a/3", "b/1"]);
        let levels = broker.retained_levels(Instant::ZERO, None, None, 10, 2);
        let [level] = &levels[..] else { panic!("{levels:?}") };
        assert_eq!((level.below, level.counted_to.as_ref().unwrap().as_str()), (2, "a/2"));
        let rest = broker.retained_below("a", level.counted_to.as_ref(), 10);
        assert_eq!(rest, (1, None));
        let none = broker.retained_levels(Instant::ZERO, None, None, 10, 0);
        let [level] = &none[..] else { panic!("{none:?}") };
        assert_eq!(broker.retained_below("a", level.counted_to.as_ref(), 10), (3, None));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        #[test]
        fn pages_hold_what_a_scan_finds(
            topics in proptest::collection::btree_set("[a-b!0]{0,2}(/[a-b!0]{0,2}){0,3}", 0..30),
            prefix in proptest::option::of("[ab]{0,1}"),
            limit in 1..4_usize,
        ) {
            let topics: Vec<&str> =
                topics.iter().map(String::as_str).filter(|t| !t.is_empty()).collect();
            let broker = broker(&topics);
            let base = prefix.as_ref().map_or(String::new(), |p| [p, "/"].concat());
            let mut expected: BTreeMap<String, (bool, usize)> = BTreeMap::new();
            for topic in &topics {
                let Some(rest) = topic.strip_prefix(&*base) else { continue };
                let (name, inner) = rest.split_once('/').map_or((rest, false), |(n, _)| (n, true));
                let entry = expected.entry(name.into()).or_default();
                entry.0 |= !inner;
                entry.1 += usize::from(inner);
            }
            let mut found = Vec::new();
            let mut after: Option<String> = None;
            loop {
                let page = broker.retained_levels(
                    Instant::ZERO, prefix.as_deref(), after.as_deref(), limit, 1_000,
                );
                let Some(last) = page.last() else { break };
                after = Some(last.name.clone());
                found.extend(page.into_iter().map(|l| (l.name, (l.message.is_some(), l.below))));
            }
            prop_assert_eq!(found, expected.into_iter().collect::<Vec<_>>());
        }
    }
}
