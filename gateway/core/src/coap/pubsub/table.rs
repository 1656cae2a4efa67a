//! [`Topics`]: the topics of the collection, what they are found by, when something of them is due,
//! and how they stand in the journal.
//!
//! A topic belongs to the mount of the listener that it was made through: names and ids are unique
//! within one, and nobody on another sees it. Bounded by `max_pubsub_topics` and
//! `max_pubsub_topic_size`; both are judged by whoever inserts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;
use motegate_coap::endpoint::ObservationId;
use motegate_coap::pubsub::Properties;
use motegate_message::journal::{Reader, Writer, owner};
use motegate_message::{Record, TopicName, Turn, Wall};
use motegate_timers::{Instant, earliest};

/// The journal's keys of topics, behind the owner.
const TOPIC: u8 = b't';
/// How a topic's record is written.
const VERSION: u8 = 1;
/// RFC 7641 §4.5: one confirmable notification in 24 h at least, whatever `observer-check` says.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Of more than these milliseconds the wall clock was set.
const JUMP: u64 = 1_000;

/// The core's number of a topic, in the order of their making.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct TopicRef(u64);

/// A topic (draft-ietf-core-coap-pubsub §2.2).
#[derive(Debug)]
pub(crate) struct Topic {
    pub(super) mount: Arc<str>,
    /// Last segment of its path.
    pub(super) id: Box<str>,
    pub(super) properties: Properties,
    /// The final topic of its data; `None`: another server has them.
    pub(super) data: Option<TopicName>,
    /// Who observes the data.
    pub(super) observers: BTreeSet<ObservationId>,
    expires_at: Option<Instant>,
    check_at: Option<Instant>,
}

impl Topic {
    pub(super) fn new(
        mount: Arc<str>,
        id: Box<str>,
        properties: Properties,
        data: Option<TopicName>,
    ) -> Self {
        let (observers, expires_at, check_at) = (BTreeSet::new(), None, None);
        Topic { mount, id, properties, data, observers, expires_at, check_at }
    }

    pub(super) fn name(&self) -> &str {
        self.properties.topic_name.as_deref().unwrap_or_default()
    }

    fn check_every(&self) -> Option<Duration> {
        self.properties.observer_check.map(|secs| Duration::from_secs(secs).min(DAY))
    }

    fn due(&self) -> Option<Instant> {
        earliest(self.expires_at, self.check_at)
    }

    fn record(&self) -> Record {
        let mut value = Writer::default();
        value.u8(VERSION);
        value.option(self.data.as_ref(), |out, topic| out.str(topic.as_str()));
        value.tail(&self.properties.to_cbor());
        Record { key: record_key(&self.mount, &self.id), value: Some(value.into_vec()) }
    }
}

fn record_key(mount: &str, id: &str) -> Vec<u8> {
    let mut key = Writer::key(owner::CORE);
    key.u8(TOPIC);
    key.str(mount);
    key.tail(id.as_bytes());
    key.into_vec()
}

/// What a name or an id is found by.
fn within(mount: &str, text: &str) -> Box<str> {
    [mount, "\0", text].concat().into()
}

/// What is due.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// The topic has expired.
    Expired(TopicRef),
    /// Its observers are to confirm that they are there.
    Check(TopicRef),
}

/// How often something happened.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counts {
    /// Topics that were made.
    pub(crate) created: u64,
    /// Topics that were refused: `max_pubsub_topics`.
    pub(crate) refused: u64,
    /// Configurations that were refused: `max_pubsub_topic_size`.
    pub(crate) too_large: u64,
    /// Registrations that were answered without Observe: the topic's own `max-subscribers`.
    pub(crate) unobserved: u64,
}

/// All topics.
#[derive(Debug, Default)]
pub(crate) struct Topics {
    all: BTreeMap<TopicRef, Topic>,
    next: u64,
    by_id: HashMap<Box<str>, TopicRef>,
    by_name: HashMap<Box<str>, TopicRef>,
    by_data: HashMap<Box<str>, TopicRef>,
    due: BTreeSet<(Instant, TopicRef)>,
    /// What the wall clock was ahead of the monotonic one, in milliseconds.
    ahead: u64,
    records: Vec<Record>,
    pub(crate) counts: Counts,
}

impl Topics {
    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn get(&self, topic: TopicRef) -> Option<&Topic> {
        self.all.get(&topic)
    }

    /// Those of a mount, the oldest first.
    pub(super) fn of(&self, mount: &str) -> impl Iterator<Item = &Topic> {
        self.all.values().filter(move |topic| *topic.mount == *mount)
    }

    pub(super) fn by_id(&self, mount: &str, id: &str) -> Option<TopicRef> {
        self.by_id.get(&within(mount, id)).copied()
    }

    pub(super) fn by_name(&self, mount: &str, name: &str) -> Option<TopicRef> {
        self.by_name.get(&within(mount, name)).copied()
    }

    /// By the final topic of its data.
    pub(super) fn by_data(&self, data: &str) -> Option<TopicRef> {
        self.by_data.get(data).copied()
    }

    /// Adds a topic whose name, id and data are nobody's.
    pub(super) fn insert(&mut self, turn: &Turn, topic: Topic) -> TopicRef {
        self.counts.created += 1;
        self.write(turn, topic.record());
        self.file(turn, topic)
    }

    fn file(&mut self, turn: &Turn, topic: Topic) -> TopicRef {
        let number = TopicRef(self.next);
        self.next += 1;
        self.by_id.insert(within(&topic.mount, &topic.id), number);
        self.by_name.insert(within(&topic.mount, topic.name()), number);
        if let Some(data) = &topic.data {
            self.by_data.insert(data.as_str().into(), number);
        }
        self.all.insert(number, topic);
        self.set_expiry(turn, number);
        number
    }

    /// Another configuration; name and data stay.
    pub(super) fn update(&mut self, turn: &Turn, number: TopicRef, properties: Properties) {
        let Some(topic) = self.all.get_mut(&number) else { return };
        topic.properties = properties;
        let record = topic.record();
        self.write(turn, record);
        self.set_expiry(turn, number);
        self.set_check(turn, number);
    }

    pub(super) fn remove(&mut self, turn: &Turn, number: TopicRef) -> Option<Topic> {
        let topic = self.all.remove(&number)?;
        self.by_id.remove(&within(&topic.mount, &topic.id));
        self.by_name.remove(&within(&topic.mount, topic.name()));
        if let Some(data) = &topic.data {
            self.by_data.remove(data.as_str());
        }
        if let Some(at) = topic.due() {
            self.due.remove(&(at, number));
        }
        self.write(turn, Record { key: record_key(&topic.mount, &topic.id), value: None });
        Some(topic)
    }

    /// An observer more; the first one starts the checks.
    pub(in crate::coap) fn observed(
        &mut self,
        turn: &Turn,
        number: TopicRef,
        observation: ObservationId,
    ) {
        let Some(topic) = self.all.get_mut(&number) else { return };
        topic.observers.insert(observation);
        if topic.check_at.is_none() {
            self.set_check(turn, number);
        }
    }

    /// An observer less.
    pub(in crate::coap) fn unobserved(&mut self, number: TopicRef, observation: ObservationId) {
        if let Some(topic) = self.all.get_mut(&number) {
            topic.observers.remove(&observation);
        }
    }

    /// Whether the topic takes one observer more.
    pub(in crate::coap) fn has_room(&self, number: TopicRef) -> bool {
        self.all.get(&number).is_none_or(|topic| {
            let most = topic.properties.max_subscribers;
            most.is_none_or(|most| (topic.observers.len() as u64) < most)
        })
    }

    /// Where the wall clock was set, expiration dates are at other times from now on.
    pub(crate) fn look(&mut self, turn: &Turn) {
        let ahead = turn.wall.as_millis().wrapping_sub(turn.now.as_micros() / 1_000);
        if ahead.abs_diff(self.ahead) <= JUMP {
            return;
        }
        self.ahead = ahead;
        let all: Vec<TopicRef> = self.all.keys().copied().collect();
        all.into_iter().for_each(|number| self.set_expiry(turn, number));
    }

    fn set_expiry(&mut self, turn: &Turn, number: TopicRef) {
        let date = |topic: &Topic| topic.properties.expiration_date;
        self.reschedule(number, |topic| {
            topic.expires_at =
                date(topic).map(|date| turn.from_wall(Wall::from_millis(date.as_millis())));
        });
    }

    fn set_check(&mut self, turn: &Turn, number: TopicRef) {
        self.reschedule(number, |topic| {
            let every = topic.check_every().filter(|_| !topic.observers.is_empty());
            topic.check_at = every.map(|every| turn.now + every);
        });
    }

    fn reschedule(&mut self, number: TopicRef, change: impl FnOnce(&mut Topic)) {
        let Some(topic) = self.all.get_mut(&number) else { return };
        let before = topic.due();
        change(topic);
        let after = topic.due();
        if before != after {
            before.map(|at| self.due.remove(&(at, number)));
            after.map(|at| self.due.insert((at, number)));
        }
    }

    /// When something is due.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    /// The next thing that is due by now.
    pub(super) fn pop_due(&mut self, turn: &Turn) -> Option<Due> {
        loop {
            let (at, number) = *self.due.first()?;
            if at > turn.now {
                return None;
            }
            let topic = self.all.get(&number)?;
            let date = topic.properties.expiration_date.map(|date| date.as_millis());
            if date.is_some_and(|date| date <= turn.wall.as_millis()) {
                return Some(Due::Expired(number));
            }
            let checks = topic.check_at.is_some_and(|at| at <= turn.now);
            // The wall clock may have been set back meanwhile.
            self.set_expiry(turn, number);
            if checks {
                self.set_check(turn, number);
                return Some(Due::Check(number));
            }
            if self.due.first() == Some(&(at, number)) {
                return None;
            }
        }
    }

    fn write(&mut self, turn: &Turn, record: Record) {
        if turn.durable {
            self.records.push(record);
        }
    }

    pub(crate) fn take_records(&mut self) -> std::vec::Drain<'_, Record> {
        self.records.drain(..)
    }

    /// Takes a record of the journal back; whether it is one and whole.
    pub(crate) fn restore(&mut self, turn: &Turn, key: &[u8], value: &[u8]) -> bool {
        self.read(turn, key, value).is_some()
    }

    fn read(&mut self, turn: &Turn, key: &[u8], value: &[u8]) -> Option<()> {
        let mut key = Reader::new(key);
        if (key.u8()?, key.u8()?) != (owner::CORE, TOPIC) {
            return None;
        }
        let mount = key.str()?;
        let id = std::str::from_utf8(key.tail()).ok()?;
        let mut value = Reader::new(value);
        if value.u8()? != VERSION {
            return None;
        }
        let data = value.option(Reader::str)?.map(TopicName::new).transpose().ok()?;
        let properties = Properties::from_cbor(value.tail()).ok()?;
        let topic = Topic::new(mount.into(), id.into(), properties, data);
        self.file(turn, topic);
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use motegate_coap::pubsub::Date;
    use motegate_message::Seq;

    fn turn(secs: u64) -> Turn {
        let wall = Wall::from_millis(1_000_000 + secs * 1_000);
        Turn { now: Instant::from_secs(secs), wall, seq: Seq(1), durable: true }
    }

    fn topic(name: &str, expires: Option<u64>, check: Option<u64>) -> Topic {
        let properties = Properties {
            topic_name: Some(name.into()),
            expiration_date: expires.and_then(|secs| Date::from_millis(1_000_000 + secs * 1_000)),
            observer_check: check,
            ..Properties::default()
        };
        let data = TopicName::new(name).unwrap();
        Topic::new("m/".into(), name.into(), properties, Some(data))
    }

    #[test]
    fn a_topic_is_found_until_it_is_removed_and_comes_back_from_the_journal() {
        let mut topics = Topics::default();
        let a = topics.insert(&turn(0), topic("a", Some(50), None));
        assert_eq!((topics.by_id("m/", "a"), topics.by_name("m/", "a")), (Some(a), Some(a)));
        assert_eq!((topics.by_id("", "a"), topics.by_data("a")), (None, Some(a)));
        let records: Vec<Record> = topics.take_records().collect();
        let mut again = Topics::default();
        for Record { key, value } in &records {
            assert!(again.restore(&turn(9), key, value.as_ref().unwrap()));
            assert!(!again.restore(&turn(9), &key[..5], b"\x01"), "cut off");
            assert!(!again.restore(&turn(9), key, b"\x02"), "another version");
        }
        let b = again.by_name("m/", "a").unwrap();
        assert_eq!(again.get(b).unwrap().properties, topics.get(a).unwrap().properties);
        assert_eq!(again.next(), Some(Instant::from_secs(50)));
        assert!(topics.remove(&turn(1), a).is_some());
        assert_eq!(
            (topics.by_id("m/", "a"), topics.by_data("a"), topics.next()),
            Default::default()
        );
        let gone: Vec<Record> = topics.take_records().collect();
        assert_eq!((&gone[0].key, &gone[0].value), (&records[0].key, &None));
    }

    #[test]
    fn expiry_and_checks_are_due_in_their_order() {
        let mut topics = Topics::default();
        let a = topics.insert(&turn(0), topic("a", Some(50), Some(20)));
        assert_eq!(topics.next(), Some(Instant::from_secs(50)), "nobody observes");
        topics.observed(&turn(5), a, ObservationId(1));
        topics.observed(&turn(9), a, ObservationId(2));
        assert_eq!(topics.next(), Some(Instant::from_secs(25)));
        assert_eq!(topics.pop_due(&turn(24)), None);
        assert_eq!(topics.pop_due(&turn(25)), Some(Due::Check(a)));
        assert_eq!(
            (topics.pop_due(&turn(25)), topics.next()),
            (None, Some(Instant::from_secs(45)))
        );
        topics.unobserved(a, ObservationId(1));
        topics.unobserved(a, ObservationId(2));
        assert_eq!(topics.pop_due(&turn(45)), Some(Due::Check(a)), "who is told is for the caller");
        assert_eq!(topics.next(), Some(Instant::from_secs(50)));
        // The wall clock was set back by 10 s.
        let back = Turn { wall: Wall::from_millis(1_040_000), ..turn(50) };
        assert_eq!((topics.pop_due(&back), topics.next()), (None, Some(Instant::from_secs(60))));
        // It is set forward by a minute, and back again.
        topics.look(&turn(50));
        topics.look(&Turn { wall: Wall::from_millis(1_110_000), ..turn(50) });
        assert_eq!(topics.next(), Some(Instant::from_secs(0)));
        topics.look(&Turn { wall: Wall::from_millis(1_040_500), ..turn(50) });
        assert_eq!(topics.next(), Some(Instant::from_millis(59_500)));
        assert_eq!(topics.pop_due(&turn(60)), Some(Due::Expired(a)));
        topics.remove(&turn(60), a);
        assert_eq!((topics.pop_due(&turn(60)), topics.next()), (None, None));
    }

    #[test]
    fn observers_are_bounded_by_the_topic() {
        let mut topics = Topics::default();
        let mut two = topic("a", None, None);
        two.properties.max_subscribers = Some(2);
        let a = topics.insert(&turn(0), two);
        for id in 0..2 {
            assert!(topics.has_room(a));
            topics.observed(&turn(0), a, ObservationId(id));
        }
        assert!(!topics.has_room(a));
        topics.observed(&turn(0), a, ObservationId(1));
        topics.unobserved(a, ObservationId(1));
        assert!(topics.has_room(a));
    }
}
