//! Packet identifiers that are taken (MQTT 5 §2.2.1), by publishes and by requests alike.

use core::num::NonZeroU16;

use hashbrown::HashMap;

/// Whose an identifier is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holder {
    /// The publish of this number.
    Publish(u64),
    /// A SUBSCRIBE or UNSUBSCRIBE.
    Request,
}

#[derive(Debug, Default)]
pub(super) struct PacketIds {
    taken: HashMap<NonZeroU16, Holder>,
    last: u16,
}

impl PacketIds {
    /// The next free one after the last; `None` when all 65,535 are taken. [MQTT-2.2.1-3]
    pub(super) fn take(&mut self, holder: Holder) -> Option<NonZeroU16> {
        if self.taken.len() >= usize::from(u16::MAX) {
            return None;
        }
        loop {
            self.last = self.last.wrapping_add(1);
            let Some(id) = NonZeroU16::new(self.last) else { continue };
            if let hashbrown::hash_map::Entry::Vacant(place) = self.taken.entry(id) {
                place.insert(holder);
                return Some(id);
            }
        }
    }

    /// Whose it is now.
    pub(super) fn set(&mut self, id: NonZeroU16, holder: Holder) {
        self.taken.insert(id, holder);
    }

    pub(super) fn holder(&self, id: NonZeroU16) -> Option<Holder> {
        self.taken.get(&id).copied()
    }

    pub(super) fn give_back(&mut self, id: NonZeroU16) {
        self.taken.remove(&id);
    }

    /// Nothing is outstanding: no memory is held.
    pub(super) fn shrink(&mut self) {
        if self.taken.is_empty() && self.taken.capacity() > 256 {
            self.taken = HashMap::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_wrap_around_and_skip_the_taken_ones() {
        let mut ids = PacketIds { last: u16::MAX - 1, ..PacketIds::default() };
        let mut next = || ids.take(Holder::Request).map(NonZeroU16::get);
        assert_eq!((next(), next()), (Some(u16::MAX), Some(1)));
        ids.last = u16::MAX - 1;
        assert_eq!(ids.take(Holder::Request).map(NonZeroU16::get), Some(2));
        while ids.take(Holder::Publish(7)).is_some() {}
        assert_eq!(ids.taken.len(), 65_535);
        ids.give_back(NonZeroU16::MIN);
        assert_eq!(ids.take(Holder::Request), Some(NonZeroU16::MIN));
    }
}
