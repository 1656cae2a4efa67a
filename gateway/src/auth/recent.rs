//! [`Recent`]: passwords that were right a while ago, so that a fleet that comes back at once does
//! not cost a PBKDF2 for each device.
//!
//! Kept is only a digest of user, verifier and password under a key that this process has made up:
//! 16 bytes, of no use without the memory of the process, where the passwords themselves were a
//! moment before. A changed verifier is another entry. Only right passwords are kept, so that the
//! time of an answer tells nothing about wrong ones. Bounded: the older half goes when the younger
//! is full.

use std::collections::HashSet;

use motegate_core::Verifier;

use super::password::{Key, hmac};

/// Entries of either half.
const HALF: usize = 8_192;

type Tag = [u8; 16];

/// Right passwords, by their digest.
#[derive(Debug)]
pub(super) struct Recent {
    key: Key,
    young: HashSet<Tag>,
    old: HashSet<Tag>,
}

impl Recent {
    /// Empty.
    pub(super) fn new(key: Key) -> Self {
        Recent { key, young: HashSet::new(), old: HashSet::new() }
    }

    fn tag(&self, user: &str, verifier: &Verifier, password: &[u8]) -> Tag {
        let length = (user.len() as u64).to_be_bytes();
        let parts: [&[u8]; 4] = [&length, user.as_bytes(), &verifier.stored_key, password];
        let digest = hmac(&self.key, &parts);
        std::array::from_fn(|i| digest[i])
    }

    /// Whether this password was right.
    pub(super) fn knows(&mut self, user: &str, verifier: &Verifier, password: &[u8]) -> bool {
        let tag = self.tag(user, verifier, password);
        let known = self.young.contains(&tag) || self.old.remove(&tag);
        if known {
            self.insert(tag);
        }
        known
    }

    /// It was.
    pub(super) fn remember(&mut self, user: &str, verifier: &Verifier, password: &[u8]) {
        let tag = self.tag(user, verifier, password);
        self.insert(tag);
    }

    fn insert(&mut self, tag: Tag) {
        if self.young.len() >= HALF {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(tag);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::password::verifier;

    #[test]
    fn what_was_right_is_known_until_something_changes() {
        let mut recent = Recent::new([7; 32]);
        let (one, other) = (verifier(b"pencil", b"salt", 1), verifier(b"pencil", b"pepper", 1));
        recent.remember("anna", &one, b"pencil");
        assert!(recent.knows("anna", &one, b"pencil"));
        assert!(!recent.knows("anna", &one, b"pencil "));
        assert!(!recent.knows("ann", &one, b"apencil"));
        assert!(!recent.knows("anna", &other, b"pencil"));
    }

    #[test]
    fn it_is_bounded_and_keeps_what_is_used() {
        let mut recent = Recent::new([7; 32]);
        let verifier = verifier(b"pencil", b"salt", 1);
        recent.remember("anna", &verifier, b"pencil");
        for n in 0..HALF * 3 {
            recent.remember(&n.to_string(), &verifier, b"pencil");
            if n % 1000 == 0 {
                assert!(recent.knows("anna", &verifier, b"pencil"), "{n}");
            }
        }
        assert!(recent.young.len() + recent.old.len() <= 2 * HALF);
        assert!(!recent.knows("0", &verifier, b"pencil"));
    }
}
