//! Topic aliases of one connection, both directions (MQTT 5 §3.3.2.3.4). They end with the
//! connection; nothing is held for one that uses none.

use alloc::boxed::Box;
use alloc::vec::Vec;

use hashbrown::HashMap;
use motegate_message::TopicName;

/// What the client's aliases stand for.
#[derive(Debug, Default)]
pub(super) struct Inbound {
    names: Vec<Option<TopicName>>,
}

impl Inbound {
    /// Maps `alias` (1 up to the maximum, checked by the caller) anew; mapping again is allowed
    /// at any time.
    pub(super) fn set(&mut self, alias: u16, name: TopicName) {
        let index = usize::from(alias).saturating_sub(1);
        if self.names.len() <= index {
            self.names.resize(index + 1, None);
        }
        if let Some(slot) = self.names.get_mut(index) {
            *slot = Some(name);
        }
    }

    pub(super) fn get(&self, alias: u16) -> Option<&TopicName> {
        self.names.get(usize::from(alias).checked_sub(1)?)?.as_ref()
    }
}

/// How many recently missed topics are remembered.
const MISSED: usize = 8;

/// Our aliases towards the client.
#[derive(Debug, Default)]
pub(super) struct Outbound {
    by_topic: HashMap<Box<str>, u16>,
    /// By alias − 1: the tick of the last use, and whose it is.
    used: Vec<(u64, Box<str>)>,
    tick: u64,
    /// Hashes of topics that found no free alias: a second miss earns one.
    missed: [u32; MISSED],
}

/// How a PUBLISH names its topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Choice {
    /// In full, without an alias.
    Plain,
    /// In full, setting this alias.
    Set(u16),
    /// By this alias alone.
    Use(u16),
}

impl Outbound {
    /// How to name `topic` with at most `max` aliases. Nothing is changed until
    /// [`commit`](Self::commit): a PUBLISH that turns out too large sets no alias.
    pub(super) fn choose(&self, topic: &str, max: u16) -> Choice {
        if let Some(alias) = self.by_topic.get(topic) {
            return Choice::Use(*alias);
        }
        let taken = u16::try_from(self.used.len()).unwrap_or(u16::MAX);
        if taken < max {
            return Choice::Set(taken + 1);
        }
        if !self.missed.contains(&hash(topic)) {
            return Choice::Plain;
        }
        // Least recently used first.
        let oldest = (1..).zip(&self.used).min_by_key(|(_, (tick, _))| *tick);
        oldest.map_or(Choice::Plain, |(alias, _)| Choice::Set(alias))
    }

    /// The PUBLISH that was named so is in the outbox.
    pub(super) fn commit(&mut self, topic: &str, choice: Choice) {
        self.tick += 1;
        match choice {
            Choice::Plain => {
                let slot = usize::try_from(self.tick).unwrap_or(0) % MISSED;
                if let Some(missed) = self.missed.get_mut(slot) {
                    *missed = hash(topic);
                }
            }
            Choice::Use(alias) => {
                if let Some(used) = self.used.get_mut(usize::from(alias).saturating_sub(1)) {
                    used.0 = self.tick;
                }
            }
            Choice::Set(alias) => {
                let entry = (self.tick, Box::from(topic));
                match self.used.get_mut(usize::from(alias).saturating_sub(1)) {
                    Some(used) => {
                        let (_, old) = core::mem::replace(used, entry);
                        self.by_topic.remove(&old);
                    }
                    None => self.used.push(entry),
                }
                self.by_topic.insert(topic.into(), alias);
            }
        }
    }
}

/// FNV-1a; never 0, which stands for an empty place.
fn hash(topic: &str) -> u32 {
    let fold = |hash: u32, byte: u8| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    topic.bytes().fold(0x811c_9dc5, fold).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn send(out: &mut Outbound, topic: &str, max: u16) -> Choice {
        let choice = out.choose(topic, max);
        out.commit(topic, choice);
        choice
    }

    #[test]
    fn first_come_while_free_then_least_recently_used() {
        let mut out = Outbound::default();
        assert_eq!(send(&mut out, "a", 2), Choice::Set(1));
        assert_eq!(send(&mut out, "b", 2), Choice::Set(2));
        assert_eq!(send(&mut out, "a", 2), Choice::Use(1));
        assert_eq!(send(&mut out, "c", 2), Choice::Plain, "once is not enough");
        assert_eq!(send(&mut out, "c", 2), Choice::Set(2), "b was used longest ago");
        assert_eq!(send(&mut out, "c", 2), Choice::Use(2));
        assert_eq!(send(&mut out, "b", 2), Choice::Plain);
        assert_eq!(send(&mut out, "a", 2), Choice::Use(1));
    }

    #[test]
    fn what_was_not_sent_sets_nothing() {
        let out = Outbound::default();
        assert_eq!(out.choose("a", 1), Choice::Set(1));
        assert_eq!(out.choose("b", 1), Choice::Set(1));
        assert_eq!(out.choose("b", 0), Choice::Plain);
    }

    #[test]
    fn inbound_aliases_are_remapped_at_will() {
        let mut inbound = Inbound::default();
        let name = |text| TopicName::new(text).unwrap();
        assert_eq!(inbound.get(3), None);
        inbound.set(3, name("a"));
        inbound.set(3, name("b"));
        assert_eq!(inbound.get(3), Some(&name("b")));
        assert_eq!((inbound.get(0), inbound.get(2)), (None, None));
    }
}
