//! [`Slab`]: values at stable slots, named by slot and generation so that a late reference finds
//! nobody else. A slab gives its memory back when it becomes empty, small ones excepted.

use alloc::vec::Vec;

/// Stands for "no slot" in the intrusive lists that run through slabs.
pub(crate) const NIL: u32 = u32::MAX;

/// An empty slab of at most this many slots keeps them, lest each request allocates anew.
const KEPT_SLOTS: usize = 64;

/// A slot and the generation of its owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) slot: u32,
    pub(crate) generation: u32,
}

impl Key {
    pub(crate) const fn to_u64(self) -> u64 {
        (self.generation as u64) << 32 | self.slot as u64
    }

    #[allow(clippy::cast_possible_truncation)] // takes the halves apart
    pub(crate) const fn from_u64(value: u64) -> Self {
        Key { slot: value as u32, generation: (value >> 32) as u32 }
    }
}

#[derive(Debug)]
enum Slot<T> {
    Used { generation: u32, value: T },
    Free { next: u32 },
}

#[derive(Debug)]
pub(crate) struct Slab<T> {
    slots: Vec<Slot<T>>,
    free: u32,
    len: u32,
    /// Counts insertions over the whole slab, so that slots can be given back.
    generation: u32,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Slab { slots: Vec::new(), free: NIL, len: 0, generation: 0 }
    }
}

impl<T> Slab<T> {
    pub(crate) const fn len(&self) -> usize {
        self.len as usize
    }

    /// Slots, free ones included.
    pub(crate) fn slots(&self) -> u32 {
        u32::try_from(self.slots.len()).unwrap_or(NIL)
    }

    /// Callers bound their slabs far below 2^32 - 1 values.
    pub(crate) fn insert(&mut self, value: T) -> Key {
        self.generation = self.generation.wrapping_add(1);
        let generation = self.generation;
        let used = Slot::Used { generation, value };
        self.len += 1;
        if let Some(place) = self.slots.get_mut(self.free as usize) {
            let slot = self.free;
            if let Slot::Free { next } = core::mem::replace(place, used) {
                self.free = next;
            }
            return Key { slot, generation };
        }
        let slot = u32::try_from(self.slots.len()).unwrap_or(NIL);
        self.slots.push(used);
        Key { slot, generation }
    }

    pub(crate) fn get(&self, key: Key) -> Option<&T> {
        match self.slots.get(key.slot as usize)? {
            Slot::Used { generation, value } if *generation == key.generation => Some(value),
            _ => None,
        }
    }

    pub(crate) fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        match self.slots.get_mut(key.slot as usize)? {
            Slot::Used { generation, value } if *generation == key.generation => Some(value),
            _ => None,
        }
    }

    /// The value at a slot, whatever its generation: for links inside this crate that are cut
    /// before their target goes.
    pub(crate) fn at(&self, slot: u32) -> Option<&T> {
        match self.slots.get(slot as usize)? {
            Slot::Used { value, .. } => Some(value),
            Slot::Free { .. } => None,
        }
    }

    pub(crate) fn at_mut(&mut self, slot: u32) -> Option<&mut T> {
        match self.slots.get_mut(slot as usize)? {
            Slot::Used { value, .. } => Some(value),
            Slot::Free { .. } => None,
        }
    }

    /// The full name of what stands at a slot.
    pub(crate) fn key_at(&self, slot: u32) -> Option<Key> {
        match self.slots.get(slot as usize)? {
            Slot::Used { generation, .. } => Some(Key { slot, generation: *generation }),
            Slot::Free { .. } => None,
        }
    }

    pub(crate) fn remove(&mut self, key: Key) -> Option<T> {
        self.get(key)?;
        self.remove_at(key.slot)
    }

    pub(crate) fn remove_at(&mut self, slot: u32) -> Option<T> {
        self.at(slot)?;
        let freed = Slot::Free { next: self.free };
        let taken = core::mem::replace(self.slots.get_mut(slot as usize)?, freed);
        self.free = slot;
        self.len -= 1;
        if self.len == 0 && self.slots.capacity() > KEPT_SLOTS {
            self.slots = Vec::new();
            self.free = NIL;
        }
        match taken {
            Slot::Used { value, .. } => Some(value),
            Slot::Free { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_key_finds_nobody_else() {
        let mut slab = Slab::default();
        let a = slab.insert('a');
        let b = slab.insert('b');
        assert_eq!(slab.remove(a), Some('a'));
        let c = slab.insert('c');
        assert_eq!(c.slot, a.slot);
        assert_eq!((slab.get(a), slab.get(b), slab.get(c)), (None, Some(&'b'), Some(&'c')));
        assert_eq!(slab.remove(a), None);
        assert_eq!(Key::from_u64(c.to_u64()), c);
        slab.remove(b);
        slab.remove(c);
        let d = slab.insert('d');
        assert_eq!(
            (slab.len(), slab.get(a), slab.get(c), slab.get(d)),
            (1, None, None, Some(&'d'))
        );
    }

    #[test]
    fn memory_comes_back_and_names_stay_unique() {
        let mut slab = Slab::default();
        let keys: Vec<Key> = (0..1_000).map(|n| slab.insert(n)).collect();
        for key in &keys {
            slab.remove(*key);
        }
        assert_eq!((slab.len(), slab.slots.capacity()), (0, 0));
        let again = slab.insert(7);
        assert_eq!(again.slot, 0);
        assert!(!keys.contains(&again));
    }
}
