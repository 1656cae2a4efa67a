//! Topic ids of one session (MQTT-SN 1.2 §6.5, §6.9, §6.10): 1, 2, 3… in the order of first use,
//! the same for REGISTER, SUBACK and the gateway's own REGISTER, kept as long as the session.
//!
//! A name keeps its id for ever, so ids are dense and an id is an index. Names are searched one by
//! one while they are few and through a hash table beyond that.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};
use motegate_message::{TopicFilter, TopicName};

/// Names that are searched without an index.
const FEW: usize = 16;
/// Names for which room is made one by one.
const FIRST: usize = 4;

/// Names and ids of one session; a pointer while it has none.
#[derive(Debug, Default)]
pub(super) struct Topics(Option<Box<Table>>);

#[derive(Debug, Default)]
struct Table {
    /// `entries[id - 1]`.
    entries: Vec<Entry>,
    index: Option<Box<Index>>,
}

#[derive(Debug, Clone)]
struct Entry {
    /// `None` for an id that the journal has lost.
    name: Option<TopicName>,
    known: bool,
    refused: bool,
}

#[derive(Debug, Default)]
struct Index {
    hasher: DefaultHashBuilder,
    table: HashTable<u16>,
}

fn index_of(id: u16) -> Option<usize> {
    usize::from(id).checked_sub(1)
}

impl Topics {
    pub(super) fn len(&self) -> usize {
        self.entries().len()
    }

    fn entries(&self) -> &[Entry] {
        self.0.as_ref().map_or(&[], |table| &table.entries)
    }

    fn entry(&self, id: u16) -> Option<&Entry> {
        self.entries().get(index_of(id)?)
    }

    fn entry_mut(&mut self, id: u16) -> Option<&mut Entry> {
        self.0.as_mut()?.entries.get_mut(index_of(id)?)
    }

    pub(super) fn name(&self, id: u16) -> Option<&TopicName> {
        self.entry(id)?.name.as_ref()
    }

    pub(super) fn id(&self, name: &TopicName) -> Option<u16> {
        let Table { entries, index } = self.0.as_deref()?;
        match index {
            Some(index) => {
                let hash = index.hasher.hash_one(name.as_str());
                index.table.find(hash, |id| self.name(*id) == Some(name)).copied()
            }
            None => {
                let at = entries.iter().position(|entry| entry.name.as_ref() == Some(name))?;
                u16::try_from(at + 1).ok()
            }
        }
    }

    /// Gives `name` an id; `None` when `max` names have one. Ids 0x0000 and 0xFFFF are reserved
    /// (MQTT-SN 1.2 §5.3.11).
    pub(super) fn allocate(&mut self, name: &TopicName, max: usize) -> Option<u16> {
        if self.len() >= max.min(0xfffe) {
            return None;
        }
        let id = u16::try_from(self.len() + 1).ok()?;
        let entries = &mut self.0.get_or_insert_default().entries;
        if entries.len() < FIRST {
            entries.reserve_exact(1); // many clients have one topic and no more
        }
        entries.push(Entry { name: Some(name.clone()), known: false, refused: false });
        self.index_names();
        Some(id)
    }

    /// Puts a journaled name back.
    pub(super) fn restore(&mut self, id: u16, name: TopicName, refused: bool) -> bool {
        let Some(at) = index_of(id).filter(|_| id != 0xffff) else { return false };
        let Table { entries, index } = &mut **self.0.get_or_insert_default();
        if entries.len() <= at {
            let none = Entry { name: None, known: false, refused: false };
            entries.reserve_exact(if entries.len() < FIRST { at + 1 - entries.len() } else { 0 });
            entries.resize(at + 1, none);
        }
        if let Some(entry) = entries.get_mut(at) {
            *entry = Entry { name: Some(name), known: false, refused };
        }
        *index = None; // `restored` builds it once
        true
    }

    /// After the last `restore`.
    pub(super) fn restored(&mut self) {
        self.index_names();
    }

    /// Whether the client has used or accepted the id on this connection.
    pub(super) fn is_known(&self, id: u16) -> bool {
        self.entry(id).is_some_and(|entry| entry.known)
    }

    pub(super) fn set_known(&mut self, id: u16, known: bool) {
        if let Some(entry) = self.entry_mut(id) {
            entry.known = known;
        }
    }

    /// The client may have lost every mapping.
    pub(super) fn forget_known(&mut self) {
        for entry in self.0.iter_mut().flat_map(|table| &mut table.entries) {
            entry.known = false;
        }
    }

    /// Whether the client has refused the name by REGACK (MQTT-SN 1.2 §6.10).
    pub(super) fn is_refused(&self, id: u16) -> bool {
        self.entry(id).is_some_and(|entry| entry.refused)
    }

    /// Returns whether that is a change.
    pub(super) fn set_refused(&mut self, id: u16, refused: bool) -> bool {
        let Some(entry) = self.entry_mut(id) else { return false };
        core::mem::replace(&mut entry.refused, refused) != refused
    }

    /// Refused names that a new subscription asks for again.
    pub(super) fn refused_under(&self, filter: &TopicFilter) -> Vec<u16> {
        let refused = self.iter().filter(|(id, _)| self.is_refused(*id));
        refused.filter(|(_, name)| filter.matches(name)).map(|(id, _)| id).collect()
    }

    /// Ids and names, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u16, &TopicName)> {
        let numbered = self.entries().iter().zip(1_u16..);
        numbered.filter_map(|(entry, id)| Some((id, entry.name.as_ref()?)))
    }

    /// Brings the index up to the entries, once there are enough of them.
    fn index_names(&mut self) {
        let Some(Table { entries, index }) = self.0.as_deref_mut() else { return };
        if entries.len() <= FEW {
            return;
        }
        let fresh = index.is_none();
        let index = index.get_or_insert_default();
        let Index { hasher, table } = &mut **index;
        let hash = |id: &u16| {
            let name = index_of(*id).and_then(|at| entries.get(at)?.name.as_ref());
            name.map_or(0, |name| hasher.hash_one(name.as_str()))
        };
        let first = if fresh { 0 } else { entries.len() - 1 };
        for (entry, id) in entries.iter().zip(1_u16..).skip(first) {
            if entry.name.is_some() {
                table.insert_unique(hash(&id), id, hash);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    fn name(text: &str) -> TopicName {
        TopicName::new(text).unwrap()
    }

    #[test]
    fn ids_are_dense_and_stable_past_the_index_threshold() {
        let mut topics = Topics::default();
        for n in 1..=100 {
            assert_eq!(topics.id(&name(&format!("t/{n}"))), None);
            assert_eq!(topics.allocate(&name(&format!("t/{n}")), 100), Some(n));
            let indexed = topics.0.as_ref().is_some_and(|table| table.index.is_some());
            assert_eq!(indexed, usize::from(n) > FEW);
        }
        assert_eq!(topics.allocate(&name("one/more"), 100), None);
        for n in 1..=100 {
            assert_eq!(topics.id(&name(&format!("t/{n}"))), Some(n));
            assert_eq!(topics.name(n), Some(&name(&format!("t/{n}"))));
        }
        assert_eq!((topics.name(0), topics.name(0xffff)), (None, None));
    }

    #[test]
    fn journaled_names_return_in_any_order() {
        let mut topics = Topics::default();
        for n in (1..=40).rev() {
            assert!(topics.restore(n, name(&format!("t/{n}")), n == 7));
        }
        topics.restored();
        assert!(topics.0.as_ref().is_some_and(|table| table.index.is_some()));
        assert!(!topics.restore(0, name("zero"), false));
        assert!(!topics.restore(0xffff, name("last"), false));
        assert_eq!(topics.id(&name("t/33")), Some(33));
        assert!(topics.is_refused(7) && !topics.is_refused(8));
        assert_eq!(topics.refused_under(&TopicFilter::new("t/+").unwrap()), [7]);
        assert_eq!(topics.allocate(&name("new"), 1000), Some(41));
    }
}
