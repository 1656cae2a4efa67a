//! A session, and the table of all of them.
//!
//! A [`SessionId`] is a slot and a generation; no pair is ever used twice, also not after a
//! restart (the journal keeps a mark above every generation used). Named sessions are found
//! through a table of slot numbers that compares the names in the sessions themselves; a session
//! without a name costs no entry and no text.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::hash::BuildHasher;
use core::time::Duration;

use hashbrown::{DefaultHashBuilder, HashTable};
use motegate_message::{DeliveryId, Qos, SessionId, SessionKey};
use motegate_timers::{Instant, Timer};

use crate::queue::Queue;
use crate::shared::Readiness;
use crate::subscriptions::{HeldList, Subscriber};
use crate::trie::number;
use crate::will::HeldWill;
use crate::{Handle, QueuePolicy, Ticket};

/// A [`crate::Request::Drain`] under way.
#[derive(Debug)]
pub(crate) struct Drain {
    pub(crate) ticket: Ticket,
    /// Everything up to this id must leave.
    pub(crate) upto: DeliveryId,
}

/// One session.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) id: SessionId,
    pub(crate) key: Option<SessionKey>,
    /// Of the present connection; means nothing while there is none.
    pub(crate) handle: Handle,
    /// How long it outlives its connection, in µs; `u64::MAX` is for ever.
    expiry_micros: u64,
    /// When it ends; `FAR_FUTURE` while connected, or never.
    pub(crate) ends: Instant,
    /// The earliest of end, will and the expiry of a queued message.
    pub(crate) timer: Timer,
    pub(crate) will: Option<Box<HeldWill>>,
    pub(crate) queue: Queue,
    pub(crate) subscriptions: HeldList,
    pub(crate) drain: Option<Box<Drain>>,
    pub(crate) policy: QueuePolicy,
    /// The next delivery's id.
    next_delivery: u64,
    pub(crate) room: u32,
    pub(crate) window: u16,
    /// So many more ids may be used without telling the journal.
    pub(crate) reserved: u16,
    /// The largest window that the journal knows of.
    pub(crate) journaled_window: u16,
    pub(crate) connected: bool,
    /// Whether its state is in the journal.
    pub(crate) durable: bool,
}

/// A duration as the session keeps it.
pub(crate) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

impl Session {
    pub(crate) fn new(id: SessionId, key: Option<SessionKey>, policy: QueuePolicy) -> Self {
        Session {
            id,
            key,
            handle: Handle(0),
            expiry_micros: 0,
            ends: Instant::FAR_FUTURE,
            timer: Timer::default(),
            will: None,
            queue: Queue::default(),
            subscriptions: HeldList::None,
            drain: None,
            policy,
            next_delivery: 1,
            reserved: 0,
            room: 0,
            window: 0,
            journaled_window: 0,
            connected: false,
            durable: false,
        }
    }

    pub(crate) fn slot(&self) -> u32 {
        number(self.id.slot())
    }

    pub(crate) fn expiry_micros(&self) -> u64 {
        self.expiry_micros
    }

    pub(crate) fn set_expiry_micros(&mut self, micros: u64) {
        self.expiry_micros = micros;
    }

    /// Whether it ends with its connection.
    pub(crate) fn is_transient(&self) -> bool {
        self.expiry_micros == 0
    }

    /// When it ends if its connection is over at `now`.
    pub(crate) fn end_after(&self, now: Instant) -> Instant {
        match self.expiry_micros {
            u64::MAX => Instant::FAR_FUTURE,
            micros => now + Duration::from_micros(micros),
        }
    }

    /// Nothing is taken now and for some time: no connection, or asleep. QoS 0 waits for such a
    /// session only if its policy says so. What comes during a drain finds a sleeper too.
    pub(crate) fn is_away(&self) -> bool {
        !self.connected || self.drain.is_some() || (self.window == 0 && self.room == 0)
    }

    /// Away, and not being drained either.
    pub(crate) fn takes_nothing(&self) -> bool {
        self.is_away() && self.drain.is_none()
    }

    /// Whether a delivery of this QoS can be made at once, overtaking nothing.
    pub(crate) fn takes_now(&self, qos: Qos) -> bool {
        self.connected && self.drain.is_none() && self.queue.is_caught_up() && self.has_credit(qos)
    }

    /// Whether a message of this QoS is not kept for it while it is away.
    pub(crate) fn loses(&self, qos: Qos) -> bool {
        qos == Qos::AtMostOnce && self.is_away() && !self.policy.queue_qos0
    }

    /// Whether window and room allow one more delivery of this QoS.
    pub(crate) fn has_credit(&self, qos: Qos) -> bool {
        self.room > 0 && (qos == Qos::AtMostOnce || self.has_place())
    }

    /// Whether one more delivery may be in flight: by the window, and by the bytes of those that are,
    /// of which there may be as many as may wait. One may exceed them.
    pub(crate) fn has_place(&self) -> bool {
        let (flying, max_bytes) = (self.queue.in_window(), self.policy.max_bytes);
        flying < usize::from(self.window) && (flying == 0 || self.queue.flying_bytes() < max_bytes)
    }

    pub(crate) fn readiness(&self, qos: Qos) -> Readiness {
        // A client that acknowledges nothing is not the readiest for QoS 0 either (mqtt.md 2.7).
        if self.has_place() && self.takes_now(qos) {
            Readiness::Ready
        } else if self.loses(qos) {
            Readiness::Dropping
        } else if self.connected {
            Readiness::Connected
        } else {
            Readiness::Offline
        }
    }

    /// The id of the next delivery; of a durable session it was reserved.
    pub(crate) fn next_delivery(&mut self) -> DeliveryId {
        let id = DeliveryId(self.next_delivery);
        self.next_delivery = self.next_delivery.saturating_add(1);
        self.reserved = self.reserved.saturating_sub(1);
        id
    }

    /// The id that the next delivery will have.
    pub(crate) fn delivery_mark(&self) -> u64 {
        self.next_delivery
    }

    /// Goes on after a restart above every id used.
    pub(crate) fn restore_mark(&mut self, mark: u64) {
        self.next_delivery = self.next_delivery.max(mark);
    }

    /// When the session must be looked at next.
    pub(crate) fn deadline(&self) -> Instant {
        let will = self.will.as_ref().map_or(Instant::FAR_FUTURE, |will| will.due());
        self.ends.min(will).min(self.queue.next_expiry())
    }
}

/// Every session.
#[derive(Debug)]
pub(crate) struct Sessions {
    slots: Vec<Option<Box<Session>>>,
    /// The generation that a slot's next owner gets.
    generations: Vec<u32>,
    /// Empty slots; the longest empty is taken first, so that generations grow slowly.
    free: VecDeque<u32>,
    names: HashTable<u32>,
    hasher: DefaultHashBuilder,
    count: usize,
    /// Connected ones that have a name.
    connected: usize,
    /// The first generation of a slot that is new in this life.
    base: u32,
}

impl Default for Sessions {
    fn default() -> Self {
        Sessions {
            slots: Vec::new(),
            generations: Vec::new(),
            free: VecDeque::new(),
            names: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
            count: 0,
            connected: 0,
            base: 1,
        }
    }
}

impl Sessions {
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// Of these, those that have a name.
    pub(crate) fn named(&self) -> usize {
        self.names.len()
    }

    /// Of these, those that have a connection.
    pub(crate) fn connected(&self) -> usize {
        self.connected
    }

    /// A session has a connection from now on.
    pub(crate) fn attach(&mut self, slot: u32) {
        let Some(session) = self.at_mut(slot) else { return };
        let came = !core::mem::replace(&mut session.connected, true) && session.key.is_some();
        self.connected += usize::from(came);
    }

    /// The connection is over: its credit, its drain and its handle mean nothing any more.
    pub(crate) fn detach(&mut self, slot: u32) {
        let Some(session) = self.at_mut(slot) else { return };
        let went = core::mem::replace(&mut session.connected, false) && session.key.is_some();
        (session.window, session.room) = (0, 0);
        session.drain = None;
        session.queue.land();
        self.connected -= usize::from(went);
    }

    /// Slots, empty ones included.
    pub(crate) fn slot_count(&self) -> usize {
        self.slots.len()
    }

    pub(crate) fn get(&self, id: SessionId) -> Option<&Session> {
        self.slots.get(id.slot())?.as_deref().filter(|s| s.id == id)
    }

    pub(crate) fn get_mut(&mut self, id: SessionId) -> Option<&mut Session> {
        self.slots.get_mut(id.slot())?.as_deref_mut().filter(|s| s.id == id)
    }

    pub(crate) fn at(&self, slot: u32) -> Option<&Session> {
        self.slots.get(slot as usize)?.as_deref()
    }

    pub(crate) fn at_mut(&mut self, slot: u32) -> Option<&mut Session> {
        self.slots.get_mut(slot as usize)?.as_deref_mut()
    }

    /// How well a member of a group can take a message that was published at this QoS.
    pub(crate) fn readiness(&self, member: &Subscriber, qos: Qos) -> Readiness {
        let qos = qos.min(member.grant.qos);
        self.at(member.slot).map_or(Readiness::Dropping, |session| session.readiness(qos))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Session> {
        self.slots.iter().filter_map(|s| s.as_deref())
    }

    pub(crate) fn find(&self, key: &SessionKey) -> Option<SessionId> {
        let hash = self.hasher.hash_one(key.as_str());
        let slots = &self.slots;
        let slot = self.names.find(hash, |slot| name_at(slots, *slot) == key.as_str())?;
        self.at(*slot).map(|s| s.id)
    }

    /// A new session, unconnected. Its id's generation is handed on for the journal's mark.
    pub(crate) fn add(&mut self, key: Option<SessionKey>, policy: QueuePolicy) -> SessionId {
        let slot = self.free.pop_front().unwrap_or_else(|| {
            self.slots.push(None);
            self.generations.push(self.base);
            number(self.slots.len() - 1)
        });
        let id = SessionId::new(slot, self.generations[slot as usize]);
        self.generations[slot as usize] = id.generation().saturating_add(1);
        self.put(Session::new(id, key, policy));
        id
    }

    fn put(&mut self, session: Session) {
        let slot = session.slot();
        let key = session.key.clone();
        self.slots[slot as usize] = Some(Box::new(session));
        self.count += 1;
        if let Some(key) = key {
            let Sessions { names, slots, hasher, .. } = self;
            let hash = hasher.hash_one(key.as_str());
            names.insert_unique(hash, slot, |slot| hasher.hash_one(name_at(slots, *slot)));
        }
    }

    /// Takes a session out; its id never comes back.
    pub(crate) fn remove(&mut self, id: SessionId) -> Option<Box<Session>> {
        self.get(id)?;
        let slot = number(id.slot());
        if let Some(key) = self.at(slot).and_then(|s| s.key.as_ref()) {
            let hash = self.hasher.hash_one(key.as_str());
            if let Ok(entry) = self.names.find_entry(hash, |other| *other == slot) {
                entry.remove();
            }
        }
        self.count -= 1;
        // A slot whose generations are used up is never used again.
        if self.generations[slot as usize] != u32::MAX {
            self.free.push_back(slot);
        }
        self.slots[slot as usize].take()
    }

    /// Puts a session of an earlier life back; `false` if its place or name is taken.
    pub(crate) fn restore(&mut self, session: Session) -> bool {
        let slot = session.id.slot();
        if session.key.as_ref().is_some_and(|key| self.find(key).is_some()) {
            return false;
        }
        if slot >= self.slots.len() {
            self.slots.resize_with(slot + 1, || None);
        }
        if self.slots[slot].is_some() {
            return false;
        }
        self.put(session);
        true
    }

    /// After the last `restore`: `base` is above every generation used in earlier lives.
    pub(crate) fn restored(&mut self, base: u32) {
        self.base = base.max(1);
        self.generations = self
            .slots
            .iter()
            .map(|s| s.as_ref().map_or(0, |s| s.id.generation().saturating_add(1)).max(self.base))
            .collect();
        let empty = self.slots.iter().enumerate().filter(|(_, s)| s.is_none());
        self.free = empty.map(|(slot, _)| number(slot)).collect();
    }
}

fn name_at(slots: &[Option<Box<Session>>], slot: u32) -> &str {
    let session = slots.get(slot as usize).and_then(|s| s.as_deref());
    session.and_then(|s| s.key.as_ref()).map_or("", |key| key.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Overflow;

    fn policy() -> QueuePolicy {
        QueuePolicy {
            max_messages: 1,
            max_bytes: 1,
            overflow: Overflow::DropOldest,
            queue_qos0: false,
            max_payload: u16::MAX,
        }
    }

    /// With what an allocator adds, 224 bytes.
    #[test]
    fn a_session_is_small() {
        assert!(size_of::<Session>() <= 216, "{}", size_of::<Session>());
    }

    #[test]
    fn ids_are_never_used_twice() {
        let mut sessions = Sessions::default();
        let mut seen = Vec::new();
        for _ in 0..10 {
            let a = sessions.add(None, policy());
            let b = sessions.add(Some(SessionKey::new("r", "b")), policy());
            seen.extend([a, b]);
            assert_eq!(sessions.find(&SessionKey::new("r", "b")), Some(b));
            sessions.remove(a);
            sessions.remove(b);
            assert!(sessions.get(a).is_none() && sessions.remove(a).is_none());
        }
        let count = seen.len();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), count);
        assert_eq!(sessions.len(), 0);
        assert!(sessions.names.is_empty());
    }

    #[test]
    fn a_restart_goes_on_above_every_generation() {
        let mut sessions = Sessions::default();
        assert!(sessions.restore(Session::new(SessionId::new(2, 9), None, policy())));
        assert!(!sessions.restore(Session::new(SessionId::new(2, 8), None, policy())));
        sessions.restored(100);
        let ids: Vec<SessionId> = (0..3).map(|_| sessions.add(None, policy())).collect();
        assert_eq!(ids, [SessionId::new(0, 100), SessionId::new(1, 100), SessionId::new(3, 100)]);
    }
}
