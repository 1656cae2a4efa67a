//! Deliveries of ours that are not acknowledged, by packet id. An acknowledgement costs the same
//! however many there are and in whatever order they come; so does the next free id
//! ([MQTT-2.2.1-3]). Holds no memory while nothing is on its way; in what order things go again is
//! in [`Resume`](super::resume::Resume).

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::num::NonZeroU16;

use hashbrown::HashTable;
use motegate_message::DeliveryId;

/// Where a delivery of ours stands (MQTT 5 §4.3.2, §4.3.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Flow {
    /// QoS 1: the PUBLISH is not acknowledged.
    AtLeastOnce = 1,
    /// QoS 2: no PUBREC yet.
    ExactlyOnce = 2,
    /// QoS 2: PUBREC was seen, the message is the client's; no PUBCOMP yet.
    Released = 3,
    /// Its last acknowledgement came on a connection that the broker had not handed the delivery to
    /// yet. It is over for the client; the broker hears it when it comes.
    Complete = 4,
}

/// One of our deliveries.
#[derive(Debug, Clone, Copy)]
pub(super) struct Outgoing {
    pub(super) delivery: DeliveryId,
    /// Its place among all: where it was begun, once released where that was.
    pub(super) order: u64,
    pub(super) id: NonZeroU16,
    pub(super) flow: Flow,
    /// Whether the PUBLISH has been in an outbox: then it is a repeat. [MQTT-3.3.1-1]
    pub(super) sent: bool,
    /// Of an earlier connection: it has to go again on this one, and what was begun behind it waits.
    pub(super) due: bool,
    /// Whether the broker has handed it to this connection: before, it takes no word that it is over.
    pub(super) handed: bool,
    /// Whether the journal has it.
    pub(super) recorded: bool,
}

/// All ids: 1…65,535.
const IDS: usize = 65_535;
/// Bits of all ids, and one for 0.
const WORDS: usize = 1024;
/// So many are probed one after the other for a free id; of more there is a map.
const MANY: usize = 1024;

/// Our deliveries by id.
#[derive(Debug, Default)]
pub(super) struct OutgoingTable {
    table: HashTable<Outgoing>,
    /// Once there were [`MANY`]: which ids are taken, and 0.
    taken: Option<Box<[u64; WORDS]>>,
    /// The last id given, 0 before the first.
    last_id: u16,
}

/// Ids are ours and come one after the other: spreading them is enough.
fn hash(id: NonZeroU16) -> u64 {
    u64::from(id.get()).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// The first id behind `last` whose bit is not set, around the end if need be.
fn next_free(taken: &[u64; WORDS], last: u16) -> Option<NonZeroU16> {
    let from = last.wrapping_add(1);
    let first = usize::from(from / 64);
    for step in 0..=WORDS {
        let at = (first + step) % WORDS;
        let behind = if step == 0 { u64::MAX << (from % 64) } else { u64::MAX };
        let free = !taken.get(at)? & behind;
        if free != 0 {
            return NonZeroU16::new(u16::try_from(at * 64 + free.trailing_zeros() as usize).ok()?);
        }
    }
    None
}

impl OutgoingTable {
    pub(super) fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    pub(super) fn get(&self, id: NonZeroU16) -> Option<&Outgoing> {
        self.table.find(hash(id), |out| out.id == id)
    }

    pub(super) fn get_mut(&mut self, id: NonZeroU16) -> Option<&mut Outgoing> {
        self.table.find_mut(hash(id), |out| out.id == id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Outgoing> {
        self.table.iter()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Outgoing> {
        self.table.iter_mut()
    }

    /// Those that `wanted` names, in the order begun, so that records come in the same order in
    /// every run.
    pub(super) fn ids(&self, wanted: impl Fn(&Outgoing) -> bool) -> Vec<NonZeroU16> {
        let mut found: Vec<_> = self.iter().filter(|out| wanted(out)).collect();
        found.sort_unstable_by_key(|out| (out.order, out.delivery));
        found.into_iter().map(|out| out.id).collect()
    }

    /// Adds one; what was under its id is replaced.
    pub(super) fn insert(&mut self, out: Outgoing) {
        if let Some(known) = self.get_mut(out.id) {
            *known = out;
            return;
        }
        self.table.insert_unique(hash(out.id), out, |out| hash(out.id));
        self.mark(out.id, true);
        if self.taken.is_none() && self.table.len() >= MANY {
            self.taken = Some(Box::new([0; WORDS]));
            let ids: Vec<_> = self.iter().map(|out| out.id.get()).collect();
            ids.into_iter().for_each(|id| self.mark_raw(id, true));
            self.mark_raw(0, true);
        }
    }

    fn mark(&mut self, id: NonZeroU16, taken: bool) {
        self.mark_raw(id.get(), taken);
    }

    fn mark_raw(&mut self, id: u16, taken: bool) {
        let words = self.taken.as_deref_mut();
        let Some(word) = words.and_then(|words| words.get_mut(usize::from(id / 64))) else {
            return;
        };
        let bit = 1 << (id % 64);
        *word = if taken { *word | bit } else { *word & !bit };
    }

    /// Takes one out; its id is free again.
    pub(super) fn remove(&mut self, id: NonZeroU16) -> Option<Outgoing> {
        let found = self.table.find_entry(hash(id), |out| out.id == id).ok()?;
        let (out, _) = found.remove();
        self.mark(id, false);
        let (len, capacity) = (self.table.len(), self.table.capacity());
        if len == 0 {
            self.taken = None;
            if capacity > 14 {
                self.table = HashTable::new();
            }
        } else if capacity > MANY && len < capacity / 8 {
            self.table.shrink_to(len * 2, |out| hash(out.id));
        }
        Some(out)
    }

    /// The next id that is free, behind the last one given; `None` when all are taken.
    /// [MQTT-2.2.1-3]
    pub(super) fn free_id(&mut self) -> Option<NonZeroU16> {
        if self.table.len() >= IDS {
            return None;
        }
        let id = match &self.taken {
            Some(taken) => next_free(taken, self.last_id)?,
            None => {
                let after = |id: NonZeroU16| id.checked_add(1).unwrap_or(NonZeroU16::MIN);
                let mut id = NonZeroU16::new(self.last_id).map_or(NonZeroU16::MIN, after);
                while self.get(id).is_some() {
                    id = after(id);
                }
                id
            }
        };
        self.last_id = id.get();
        Some(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn out(id: NonZeroU16) -> Outgoing {
        Outgoing {
            delivery: DeliveryId(u64::from(id.get())),
            order: u64::from(id.get()),
            id,
            flow: Flow::AtLeastOnce,
            sent: false,
            due: false,
            handed: true,
            recorded: false,
        }
    }

    /// However few are free, the next one is found; with a map and without.
    #[test]
    fn free_ids_are_found_among_many() {
        let mut all = OutgoingTable::default();
        let begin = |all: &mut OutgoingTable| {
            let id = all.free_id()?;
            assert!(all.get(id).is_none(), "taken");
            all.insert(out(id));
            Some(id.get())
        };
        for expected in 1..=65_535 {
            assert_eq!(begin(&mut all), Some(expected));
        }
        assert_eq!(begin(&mut all), None);
        let id = |id| NonZeroU16::new(id).unwrap();
        for freed in [64, 63, 65_535, 1] {
            assert!(all.remove(id(freed)).is_some() && all.remove(id(freed)).is_none());
        }
        assert_eq!([(); 4].map(|()| begin(&mut all)), [Some(1), Some(63), Some(64), Some(65_535)]);
        for freed in 1..=65_530 {
            all.remove(id(freed));
        }
        assert!(all.table.capacity() < 1024, "given back: {}", all.table.capacity());
        assert_eq!(begin(&mut all), Some(1));
        for freed in 65_531..=65_535 {
            all.remove(id(freed));
        }
        all.remove(id(1));
        assert!(all.is_empty() && all.taken.is_none() && all.table.capacity() <= 14);
        assert_eq!(begin(&mut all), Some(2), "behind the last one");
    }

    #[test]
    fn what_is_on_its_way_is_small() {
        assert_eq!(size_of::<Outgoing>(), 24);
    }
}
