//! [`NodeId`]: who is meant behind an MQTT-SN forwarder.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::fmt;
use core::hash::{Hash, Hasher};
use core::ops::Deref;

/// The longest node id that needs no memory of its own.
const SHORT: usize = 14;

/// Wireless node id inside MQTT-SN forwarder encapsulation (MQTT-SN 1.2 §5.5); may be empty.
///
/// 16 bytes: ids of up to 14 octets (all hardware addresses there are) are stored in place.
/// Compares and hashes as its octets do.
#[derive(Clone)]
pub struct NodeId(Octets);

#[derive(Clone)]
enum Octets {
    Short { len: u8, octets: [u8; SHORT] },
    Long(Arc<Box<[u8]>>),
}

impl From<&[u8]> for NodeId {
    fn from(id: &[u8]) -> Self {
        let mut octets = [0; SHORT];
        match (octets.get_mut(..id.len()), u8::try_from(id.len())) {
            (Some(place), Ok(len)) => {
                place.copy_from_slice(id);
                NodeId(Octets::Short { len, octets })
            }
            _ => NodeId(Octets::Long(Arc::new(id.into()))),
        }
    }
}

impl Deref for NodeId {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        match &self.0 {
            Octets::Short { len, octets } => octets.get(..usize::from(*len)).unwrap_or_default(),
            Octets::Long(id) => id,
        }
    }
}

impl PartialEq for NodeId {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for NodeId {}

impl PartialOrd for NodeId {
    fn partial_cmp(&self, other: &Self) -> Option<core::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for NodeId {
    fn cmp(&self, other: &Self) -> core::cmp::Ordering {
        (**self).cmp(&**other)
    }
}

impl Hash for NodeId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (**self).hash(state);
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    extern crate std;
    use std::hash::{BuildHasher, RandomState};

    #[test]
    fn ids_of_every_length_are_what_they_were_made_of() {
        let octets: [u8; 40] = core::array::from_fn(|at| u8::try_from(at).unwrap());
        let hasher = RandomState::new();
        for len in 0..=octets.len() {
            let id = NodeId::from(&octets[..len]);
            assert_eq!(*id, octets[..len]);
            assert_eq!(id, id.clone());
            // Tables are asked by octets, and hold ids.
            assert_eq!(hasher.hash_one(Some(&*id)), hasher.hash_one(Some(&octets[..len])));
            if let Some(shorter) = len.checked_sub(1) {
                assert!(NodeId::from(&octets[..shorter]) < id);
            }
        }
    }

    #[test]
    fn an_id_is_small() {
        assert_eq!(size_of::<Option<NodeId>>(), 16);
    }
}
