//! Who is subscribed to what: every filter once, with its subscribers and its groups.
//!
//! All filters are found by their text in one hash table of numbers; a topic is looked up there
//! as it is, and wildcard filters come from the [`Trie`]. A subscriber is 12 bytes, found by
//! binary search, so that one step replaces a subscription (MQTT-3.8.4-3). Sessions hold the
//! other end as pairs of numbers ([`Held`]).

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};
use motegate_message::{Qos, TopicFilter, TopicName};

use crate::shared::GroupId;
use crate::trie::{Trie, number};

/// A filter's place in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct FilterId(u32);

impl FilterId {
    pub(crate) const NONE: FilterId = FilterId(u32::MAX);

    #[cfg(test)]
    pub(crate) const fn new(index: u32) -> Self {
        FilterId(index)
    }

    const fn index(self) -> usize {
        self.0 as usize
    }

    #[cfg(test)]
    pub(crate) const fn get(self) -> u32 {
        self.0
    }

    pub(crate) fn append_to(self, out: &mut Vec<FilterId>) {
        if self != FilterId::NONE {
            out.push(self);
        }
    }
}

/// What a subscription grants (MQTT 5 §3.8.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Grant {
    /// Subscription Identifier; 0 is none.
    pub(crate) identifier: u32,
    pub(crate) qos: Qos,
    pub(crate) no_local: bool,
    pub(crate) retain_as_published: bool,
    pub(crate) marks: Marks,
}

/// What the front-end says of a subscription, as in [`crate::Subscribe`]: three flags in a byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Marks(u8);

impl Marks {
    pub(crate) fn new(spares_dollar: bool, by_rule: bool, hears_expiry: bool) -> Marks {
        Marks(u8::from(spares_dollar) | u8::from(by_rule) << 1 | u8::from(hears_expiry) << 2)
    }

    pub(crate) const fn from_bits(bits: u8) -> Marks {
        Marks(bits & 7)
    }

    pub(crate) const fn bits(self) -> u8 {
        self.0
    }

    /// Tested where a topic [shows a dollar](shows_dollar).
    pub(crate) const fn spares_dollar(self) -> bool {
        self.0 & 1 != 0
    }

    pub(crate) const fn by_rule(self) -> bool {
        self.0 & 2 != 0
    }

    pub(crate) const fn hears_expiry(self) -> bool {
        self.0 & 4 != 0
    }
}

/// Whether a topic that a filter matches has a `$` where the first wildcard stands: how it begins
/// for a client below a mount whose filter begins with that wildcard.
pub(crate) fn shows_dollar(filter: &TopicFilter, topic: &TopicName) -> bool {
    let wildcard = filter.as_str().find(['+', '#']);
    wildcard.and_then(|at| topic.as_str().as_bytes().get(at)) == Some(&b'$')
}

/// A session's slot and what it is granted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subscriber {
    pub(crate) slot: u32,
    pub(crate) grant: Grant,
}

/// By slot. Nearly every filter of nearly every gateway has one.
#[derive(Debug, Default)]
pub(crate) enum Subscribers {
    #[default]
    None,
    One(Subscriber),
    Many(Vec<Subscriber>),
}

impl Subscribers {
    pub(crate) fn as_slice(&self) -> &[Subscriber] {
        match self {
            Subscribers::None => &[],
            Subscribers::One(one) => core::slice::from_ref(one),
            Subscribers::Many(many) => many,
        }
    }

    fn find(&self, slot: u32) -> Result<usize, usize> {
        self.as_slice().binary_search_by_key(&slot, |s| s.slot)
    }

    /// What the session of this slot is granted.
    pub(crate) fn get(&self, slot: u32) -> Option<Grant> {
        self.find(slot).ok().and_then(|at| self.as_slice().get(at)).map(|s| s.grant)
    }

    /// Adds or replaces; whether it is new.
    pub(crate) fn set(&mut self, new: Subscriber) -> bool {
        match (self.find(new.slot), &mut *self) {
            (_, Subscribers::None) => *self = Subscribers::One(new),
            (Ok(_), Subscribers::One(old)) => {
                *old = new;
                return false;
            }
            (Ok(at), Subscribers::Many(many)) => {
                many[at] = new;
                return false;
            }
            (Err(at), Subscribers::One(old)) => {
                let mut many = Vec::with_capacity(4);
                many.push(*old);
                many.insert(at, new);
                *self = Subscribers::Many(many);
            }
            (Err(at), Subscribers::Many(many)) => many.insert(at, new),
        }
        true
    }

    /// Takes one out; whether it was there.
    pub(crate) fn remove(&mut self, slot: u32) -> bool {
        let Ok(at) = self.find(slot) else { return false };
        match self {
            Subscribers::Many(many) => {
                many.remove(at);
                match **many {
                    [last] => *self = Subscribers::One(last),
                    _ if many.len() < many.capacity() / 4 => many.shrink_to(many.len() * 2),
                    _ => {}
                }
            }
            _ => *self = Subscribers::None,
        }
        true
    }

    fn is_empty(&self) -> bool {
        matches!(self, Subscribers::None)
    }
}

/// One filter text.
#[derive(Debug)]
pub(crate) struct Filter {
    pub(crate) text: TopicFilter,
    pub(crate) subscribers: Subscribers,
    /// Groups of shared subscriptions to this filter; few filters have any.
    #[allow(clippy::box_collection)] // 8 bytes in every filter instead of 24
    groups: Option<Box<Vec<GroupId>>>,
}

impl Filter {
    pub(crate) fn groups(&self) -> &[GroupId] {
        self.groups.as_ref().map_or(&[], |groups| groups)
    }

    pub(crate) fn add_group(&mut self, group: GroupId) {
        self.groups.get_or_insert_default().push(group);
    }

    pub(crate) fn remove_group(&mut self, group: GroupId) {
        if let Some(groups) = &mut self.groups {
            groups.retain(|g| *g != group);
            if groups.is_empty() {
                self.groups = None;
            }
        }
    }
}

/// Every filter that somebody is subscribed to.
#[derive(Debug, Default)]
pub(crate) struct Subscriptions {
    filters: Vec<Option<Filter>>,
    free: Vec<u32>,
    by_text: HashTable<u32>,
    hasher: DefaultHashBuilder,
    trie: Trie,
}

impl Subscriptions {
    fn lookup(&self, text: &str) -> Option<FilterId> {
        let hash = self.hasher.hash_one(text);
        let is =
            |id: &u32| self.filters[*id as usize].as_ref().is_some_and(|f| f.text.as_str() == text);
        self.by_text.find(hash, is).map(|id| FilterId(*id))
    }

    /// The filter of this text.
    pub(crate) fn find(&self, text: &TopicFilter) -> Option<FilterId> {
        self.lookup(text.as_str())
    }

    /// The filter of this text, made if need be.
    pub(crate) fn find_or_add(&mut self, text: &TopicFilter) -> FilterId {
        if let Some(id) = self.find(text) {
            return id;
        }
        let filter = Filter { text: text.clone(), subscribers: Subscribers::None, groups: None };
        let id = if let Some(id) = self.free.pop() {
            self.filters[id as usize] = Some(filter);
            id
        } else {
            self.filters.push(Some(filter));
            number(self.filters.len() - 1)
        };
        let hash = self.hasher.hash_one(text.as_str());
        let Subscriptions { filters, by_text, hasher, .. } = self;
        by_text.insert_unique(hash, id, |id| {
            hasher.hash_one(filters[*id as usize].as_ref().map_or("", |f| f.text.as_str()))
        });
        if text.has_wildcard() {
            self.trie.insert(text.as_str(), FilterId(id));
        }
        FilterId(id)
    }

    /// A filter in use.
    pub(crate) fn get(&self, id: FilterId) -> Option<&Filter> {
        self.filters.get(id.index())?.as_ref()
    }

    /// A filter in use.
    pub(crate) fn get_mut(&mut self, id: FilterId) -> Option<&mut Filter> {
        self.filters.get_mut(id.index())?.as_mut()
    }

    /// Forgets a filter that nobody is subscribed to.
    pub(crate) fn prune(&mut self, id: FilterId) {
        let Some(filter) = self.get(id) else { return };
        if !filter.subscribers.is_empty() || filter.groups.is_some() {
            return;
        }
        let text = filter.text.clone();
        if text.has_wildcard() {
            self.trie.remove(text.as_str());
        }
        let hash = self.hasher.hash_one(text.as_str());
        if let Ok(entry) = self.by_text.find_entry(hash, |other| *other == id.0) {
            entry.remove();
        }
        self.filters[id.index()] = None;
        self.free.push(id.0);
        if self.by_text.is_empty() {
            *self = Subscriptions::default();
        }
    }

    /// Appends the filters that match a topic.
    pub(crate) fn matching(&mut self, topic: &TopicName, out: &mut Vec<FilterId>) {
        // A name holds no wildcard: what it finds by text is the filter without wildcards.
        if let Some(id) = self.lookup(topic.as_str()) {
            out.push(id);
        }
        self.trie.collect(topic.as_str(), out);
    }

    /// Whether an ordinary subscription of this session matches the topic.
    pub(crate) fn is_subscribed(
        &mut self,
        slot: u32,
        topic: &TopicName,
        scratch: &mut Vec<FilterId>,
    ) -> bool {
        scratch.clear();
        self.matching(topic, scratch);
        let holds = |filter: &Filter| {
            let grant = filter.subscribers.get(slot);
            grant.is_some_and(|g| !g.marks.spares_dollar() || !shows_dollar(&filter.text, topic))
        };
        scratch.iter().any(|id| self.get(*id).is_some_and(holds))
    }
}

/// A session's end of one of its subscriptions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Held {
    pub(crate) filter: FilterId,
    /// [`GroupId::NONE`] for an ordinary subscription.
    pub(crate) group: GroupId,
}

/// A session's subscriptions, sorted, and the bytes of their filters. One needs no allocation.
#[derive(Debug, Default)]
pub(crate) enum HeldList {
    #[default]
    None,
    One(Held, u32),
    Many(Box<(Vec<Held>, u32)>),
}

impl HeldList {
    pub(crate) fn as_slice(&self) -> &[Held] {
        match self {
            HeldList::None => &[],
            HeldList::One(one, _) => core::slice::from_ref(one),
            HeldList::Many(many) => &many.0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.as_slice().len()
    }

    /// Bytes of the filters, and of their share names.
    pub(crate) fn bytes(&self) -> u32 {
        match self {
            HeldList::None => 0,
            HeldList::One(_, bytes) => *bytes,
            HeldList::Many(many) => many.1,
        }
    }

    pub(crate) fn contains(&self, held: Held) -> bool {
        self.as_slice().binary_search(&held).is_ok()
    }

    /// Adds one that is not there, whose filter has so many bytes.
    pub(crate) fn insert(&mut self, held: Held, bytes: u32) {
        let Err(at) = self.as_slice().binary_search(&held) else { return };
        let bytes = self.bytes().saturating_add(bytes);
        match self {
            HeldList::None => *self = HeldList::One(held, bytes),
            HeldList::One(old, _) => {
                let mut many = alloc::vec![*old];
                many.insert(at, held);
                *self = HeldList::Many(Box::new((many, bytes)));
            }
            HeldList::Many(many) => {
                many.0.insert(at, held);
                many.1 = bytes;
            }
        }
    }

    /// Takes one out, whose filter has so many bytes; whether it was there.
    pub(crate) fn remove(&mut self, held: Held, bytes: u32) -> bool {
        let Ok(at) = self.as_slice().binary_search(&held) else { return false };
        let bytes = self.bytes().saturating_sub(bytes);
        match self {
            HeldList::Many(many) => {
                let (list, total) = &mut **many;
                list.remove(at);
                *total = bytes;
                match **list {
                    [last] => *self = HeldList::One(last, bytes),
                    _ if list.len() < list.capacity() / 4 => list.shrink_to(list.len() * 2),
                    _ => {}
                }
            }
            _ => *self = HeldList::None,
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(identifier: u32) -> Grant {
        Grant {
            identifier,
            qos: Qos::AtMostOnce,
            no_local: false,
            retain_as_published: false,
            marks: Marks::default(),
        }
    }

    #[test]
    fn subscribers_stay_sorted_and_single() {
        let mut all = Subscribers::default();
        for slot in [5, 1, 9, 5, 3] {
            all.set(Subscriber { slot, grant: grant(slot) });
        }
        let slots: Vec<u32> = all.as_slice().iter().map(|s| s.slot).collect();
        assert_eq!(slots, [1, 3, 5, 9]);
        assert!(all.remove(3) && !all.remove(3));
        assert!(all.remove(1) && all.remove(9));
        assert!(matches!(all, Subscribers::One(Subscriber { slot: 5, .. })));
        assert!(all.remove(5) && all.is_empty());
    }

    #[test]
    fn a_filter_costs_what_the_figures_say() {
        assert_eq!(size_of::<Subscriber>(), 12);
        assert_eq!(size_of::<Option<Filter>>(), 48);
        assert_eq!(size_of::<HeldList>(), 16);
    }

    #[test]
    fn a_filter_that_nobody_wants_is_gone() {
        let mut subs = Subscriptions::default();
        let text = TopicFilter::new("a/+").unwrap();
        let id = subs.find_or_add(&text);
        assert_eq!(subs.find_or_add(&text), id);
        subs.prune(id);
        assert_eq!(subs.find(&text), None);
        let mut out = Vec::new();
        subs.matching(&TopicName::new("a/b").unwrap(), &mut out);
        assert!(out.is_empty());
    }
}
