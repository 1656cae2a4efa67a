//! Topic aliases of one connection, both directions (MQTT 5 §3.3.2.3.4). They end with it.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use hashbrown::HashMap;

/// What the server's aliases stand for.
#[derive(Debug, Default)]
pub(super) struct Inbound(Vec<Option<Arc<str>>>);

impl Inbound {
    /// Maps `alias`, which the caller has found to be within 1 and the maximum.
    pub(super) fn set(&mut self, alias: u16, topic: &str) {
        let index = usize::from(alias).saturating_sub(1);
        if self.0.len() <= index {
            self.0.resize(index + 1, None);
        }
        if let Some(slot) = self.0.get_mut(index)
            && slot.as_deref() != Some(topic)
        {
            *slot = Some(topic.into());
        }
    }

    pub(super) fn get(&self, alias: u16) -> Option<&Arc<str>> {
        self.0.get(usize::from(alias).checked_sub(1)?)?.as_ref()
    }
}

/// Our aliases: first come, first served, for as long as the connection lasts. A client has few
/// topics; replacing by age is the server's business.
#[derive(Debug, Default)]
pub(super) struct Outbound {
    by_topic: HashMap<Box<str>, u16>,
    /// Most that may be used.
    pub(super) max: u16,
}

/// How a PUBLISH names its topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Choice {
    Plain,
    Set(u16),
    Use(u16),
}

impl Outbound {
    /// How to name `topic`; nothing changes until [`commit`](Self::commit).
    pub(super) fn choose(&self, topic: &str) -> Choice {
        if self.max == 0 {
            return Choice::Plain;
        }
        if let Some(alias) = self.by_topic.get(topic) {
            return Choice::Use(*alias);
        }
        match u16::try_from(self.by_topic.len()) {
            Ok(taken) if taken < self.max => Choice::Set(taken + 1),
            _ => Choice::Plain,
        }
    }

    /// The PUBLISH that was named so is in the outbox.
    pub(super) fn commit(&mut self, topic: &str, choice: Choice) {
        if let Choice::Set(alias) = choice {
            self.by_topic.insert(topic.into(), alias);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_come_first_served() {
        let mut out = Outbound { max: 1, ..Outbound::default() };
        assert_eq!(out.choose("a"), Choice::Set(1));
        assert_eq!(out.choose("b"), Choice::Set(1), "nothing was committed");
        out.commit("a", Choice::Set(1));
        assert_eq!((out.choose("a"), out.choose("b")), (Choice::Use(1), Choice::Plain));
    }

    #[test]
    fn inbound_aliases_are_remapped_at_will() {
        let mut inbound = Inbound::default();
        inbound.set(2, "a");
        inbound.set(2, "b");
        assert_eq!(inbound.get(2).map(AsRef::as_ref), Some("b"));
        assert!(inbound.get(0).is_none() && inbound.get(1).is_none() && inbound.get(3).is_none());
    }
}
