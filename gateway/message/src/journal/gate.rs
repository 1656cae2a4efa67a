//! [`Gate`]: replies that wait for a commit.

use alloc::collections::VecDeque;

use super::Seq;

/// Items that must not leave before a batch is committed, in order: an item behind a waiting one
/// waits too. Holds no memory while empty.
#[derive(Debug)]
pub struct Gate<T> {
    waiting: VecDeque<(Seq, T)>,
}

impl<T> Default for Gate<T> {
    fn default() -> Self {
        Gate { waiting: VecDeque::new() }
    }
}

impl<T> Gate<T> {
    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// How many wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Puts `item` behind what waits. The caller has seen that it may not pass at once: `after`
    /// is not yet committed, or the gate is not empty.
    pub fn push(&mut self, after: Seq, item: T) {
        self.waiting.push_back((after, item));
    }

    /// The next item that may leave when everything up to `committed` is stored.
    pub fn pop(&mut self, committed: Seq) -> Option<T> {
        if self.waiting.front()?.0 > committed {
            return None;
        }
        let item = self.waiting.pop_front().map(|(_, item)| item);
        if self.waiting.is_empty() {
            self.waiting = VecDeque::new();
        }
        item
    }

    /// Every item still waiting, in order, without removing them.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.waiting.iter().map(|(_, item)| item)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gate_keeps_order_and_waits() {
        let mut gate = Gate::default();
        gate.push(Seq(2), 'a');
        gate.push(Seq::NONE, 'b'); // free itself, but behind a waiting one
        gate.push(Seq(3), 'c');
        assert_eq!(gate.pop(Seq(1)), None);
        assert_eq!(gate.pop(Seq(2)), Some('a'));
        assert_eq!(gate.pop(Seq(2)), Some('b'));
        assert_eq!(gate.pop(Seq(2)), None);
        assert_eq!(gate.pop(Seq(3)), Some('c'));
        assert!(gate.is_empty());
    }
}
