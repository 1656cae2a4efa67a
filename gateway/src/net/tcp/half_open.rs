//! [`HalfOpen`]: connections that the core does not know yet, by the moment at which it has to.

use std::collections::BTreeSet;

use motegate_message::{ConnectionId, ListenerId};
use motegate_timers::Instant;

type Entry = (Instant, ConnectionId);

/// All of them, and those of each listener, so that the first of either is at hand.
#[derive(Debug, Default)]
pub(super) struct HalfOpen {
    all: BTreeSet<Entry>,
    /// By the listener's number.
    by_listener: Vec<BTreeSet<Entry>>,
}

impl HalfOpen {
    pub(super) fn add(&mut self, listener: ListenerId, entry: Entry) {
        let number = usize::from(listener.0);
        if self.by_listener.len() <= number {
            self.by_listener.resize_with(number + 1, BTreeSet::new);
        }
        if let Some(own) = self.by_listener.get_mut(number) {
            own.insert(entry);
        }
        self.all.insert(entry);
    }

    /// It is half open no more; nothing if it was not.
    pub(super) fn remove(&mut self, listener: ListenerId, entry: Entry) {
        if let Some(own) = self.by_listener.get_mut(usize::from(listener.0)) {
            own.remove(&entry);
        }
        self.all.remove(&entry);
    }

    /// Those of a listener, or all, by their deadline.
    pub(super) fn of(&self, listener: Option<ListenerId>) -> &BTreeSet<Entry> {
        static NONE: BTreeSet<Entry> = BTreeSet::new();
        match listener {
            Some(listener) => self.by_listener.get(usize::from(listener.0)).unwrap_or(&NONE),
            None => &self.all,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_a_listener_and_of_all() {
        let mut half_open = HalfOpen::default();
        let entry = |n| (Instant::from_secs(u64::from(n)), ConnectionId::new(n, 0));
        for (listener, n) in [(2, 5), (0, 6), (2, 4)] {
            half_open.add(ListenerId(listener), entry(n));
        }
        let first = |half_open: &HalfOpen, of: Option<u16>| {
            half_open.of(of.map(ListenerId)).first().copied()
        };
        assert_eq!(first(&half_open, None), Some(entry(4)));
        assert_eq!(first(&half_open, Some(0)), Some(entry(6)));
        assert_eq!([first(&half_open, Some(1)), first(&half_open, Some(9))], [None; 2]);
        half_open.remove(ListenerId(2), entry(4));
        assert_eq!(first(&half_open, Some(2)), Some(entry(5)));
        assert_eq!((half_open.of(None).len(), half_open.of(Some(ListenerId(2))).len()), (2, 1));
    }
}
