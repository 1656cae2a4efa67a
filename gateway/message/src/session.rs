//! Who a session belongs to ([`SessionKey`]) and how the machines call it ([`SessionId`]).

use alloc::string::String;
use alloc::sync::Arc;
use core::fmt;
use core::num::NonZeroU64;

/// The name of a session: a realm (name space of client ids) and a client id. An MQTT-SN `pump-1`
/// does not take over an MQTT `pump-1` unless their listeners share a realm.
///
/// Cheap to clone; compares byte for byte (no normalisation, MQTT 5 §1.5.4).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionKey(Arc<str>);

/// U+0000 is in no client id (MQTT-1.5.4-2) and in no realm.
const SEPARATOR: char = '\0';

impl SessionKey {
    /// Names the session of `client_id` in `realm`. Neither may hold U+0000; what follows one in
    /// the realm is cut off.
    #[must_use]
    pub fn new(realm: &str, client_id: &str) -> Self {
        let realm = realm.split(SEPARATOR).next().unwrap_or_default();
        let mut text = String::with_capacity(realm.len() + 1 + client_id.len());
        text.push_str(realm);
        text.push(SEPARATOR);
        text.push_str(client_id);
        SessionKey(text.into())
    }

    /// Rebuilds a key from [`as_str`](Self::as_str); `None` when it is not one.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        text.contains(SEPARATOR).then(|| SessionKey(text.into()))
    }

    /// The name space of the client id.
    #[must_use]
    pub fn realm(&self) -> &str {
        self.0.split_once(SEPARATOR).map_or("", |(realm, _)| realm)
    }

    /// The client id as the device gave it.
    #[must_use]
    pub fn client_id(&self) -> &str {
        self.0.split_once(SEPARATOR).map_or("", |(_, id)| id)
    }

    /// The whole key, for the journal.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.realm(), self.client_id())
    }
}

/// The broker's number for a session: a slot (low 32 bits) and a generation (high 32 bits), never
/// used twice, the same after a restart. Endpoints key their wire state by it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(NonZeroU64); // one more than the number: `Option` costs nothing

impl SessionId {
    /// From a slot and its generation.
    #[must_use]
    pub const fn new(slot: u32, generation: u32) -> Self {
        SessionId::from_u64((generation as u64) << 32 | slot as u64)
    }

    /// The number itself, for the journal.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0.get() - 1
    }

    /// From the journal. The largest number of all, which is nobody's, becomes the one below it.
    #[must_use]
    pub const fn from_u64(value: u64) -> Self {
        match NonZeroU64::new(value.saturating_add(1)) {
            Some(id) => SessionId(id),
            None => SessionId(NonZeroU64::MAX),
        }
    }

    /// Index into a table of sessions.
    #[must_use]
    pub const fn slot(self) -> usize {
        (self.get() & 0xffff_ffff) as usize
    }

    /// Distinguishes the successive owners of a slot.
    #[must_use]
    pub const fn generation(self) -> u32 {
        (self.get() >> 32) as u32
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "session#{}.{}", self.slot(), self.generation())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_keep_their_halves_apart() {
        let key = SessionKey::new("mqttsn", "pump/1");
        assert_eq!((key.realm(), key.client_id()), ("mqttsn", "pump/1"));
        assert_eq!(SessionKey::from_text(key.as_str()), Some(key.clone()));
        assert_ne!(key, SessionKey::new("mqtt", "pump/1"));
        assert_ne!(SessionKey::new("a", "b"), SessionKey::new("ab", ""));
        assert_eq!(SessionKey::from_text("none"), None);
    }

    #[test]
    fn ids_take_apart() {
        let id = SessionId::new(7, 3);
        assert_eq!((id.slot(), id.generation()), (7, 3));
        assert_eq!(SessionId::from_u64(id.get()), id);
        assert_eq!(SessionId::from_u64(0).get(), 0);
        assert!(SessionId::new(0, 0) < SessionId::new(1, 0));
        assert_eq!(size_of::<Option<SessionId>>(), 8);
    }
}
