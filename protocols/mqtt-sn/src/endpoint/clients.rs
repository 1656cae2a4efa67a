//! Everybody who is connected or connecting ([`Client`]), found by number, by address and by
//! client id ([`Clients`]).
//!
//! A client lives as long as its connection; what outlives it is the session's
//! [`Wire`](super::wire::Wire). The indices hold slot numbers only and compare with the client
//! itself, so that an idle client is stored once.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::hash::BuildHasher;
use core::net::SocketAddr;
use core::num::NonZeroU32;

use hashbrown::{DefaultHashBuilder, HashTable};
use motegate_message::{ListenerId, Peer, SessionId, SessionKey};
use motegate_timers::Timer;

use super::budget::Budget;
use super::contract::ClientRef;
use super::will::{Dialogue, DialogueStage};

/// Index into the table of clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Slot(NonZeroU32); // one more than the index: `Option` costs nothing

impl Slot {
    fn new(index: usize) -> Option<Slot> {
        let number = u32::try_from(index).ok()?.checked_add(1)?;
        NonZeroU32::new(number).map(Slot)
    }

    const fn index(self) -> usize {
        self.0.get() as usize - 1
    }
}

/// Where a client stands (MQTT-SN 1.2 §6.14). "Lost" and "disconnected" are not here: such a
/// client has no entry, its session's wire state waits for the next CONNECT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// In the CONNECT dialogue; no session yet.
    Connecting,
    /// Supervised by its keep-alive.
    Active,
    /// Nothing may be sent to it.
    Asleep,
    /// Emptying its buffer, until PINGRESP.
    Awake,
}

/// One connection. Kept small: there may be a million.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) peer: Peer,
    /// What may be sent there.
    pub(super) budget: Budget,
    /// Whose session it has; shared with the layer above. `None` until the dialogue is over.
    pub(super) key: Option<SessionKey>,
    pub(super) session: Option<SessionId>,
    /// Keep-alive, sleep duration or the dialogue's patience.
    pub(super) alive: Timer,
    /// Retransmission of the one packet in flight; absent when the queue of timers knows of none.
    pub(super) retry: Option<Box<Timer>>,
    /// Present from CONNECT until the answer to `Event::Connect`.
    pub(super) dialogue: Option<Box<Dialogue>>,
    /// Bytes delivered since the last credit.
    pub(super) spent: u32,
    /// Seconds, as in CONNECT; 0 is unsupervised.
    pub(super) keep_alive: u16,
    /// Seconds, as in the last DISCONNECT.
    pub(super) sleep: u16,
    pub(super) state: State,
    pub(super) clean: bool,
    /// The Will flag of its CONNECT.
    pub(super) with_will: bool,
    /// Nothing came since CONNACK left: a repeated CONNECT means that CONNACK was lost.
    pub(super) fresh: bool,
    /// It sleeps longer than it said, and that has been told.
    pub(super) overdue: bool,
    /// `Event::Drain` is not answered.
    pub(super) draining: bool,
    /// The client slept and woke meanwhile: another one follows.
    pub(super) drain_again: bool,
    /// Credit was topped up since the client woke.
    pub(super) credited: bool,
    /// `Event::Drain` of this awakening is answered.
    pub(super) drained: bool,
    /// Answers that wait for a commit; later ones wait behind them.
    pub(super) held: u16,
    /// SUBACKs that wait for a commit; deliveries wait behind them.
    pub(super) subacks_held: u8,
    /// Questions to the layer above that are not answered.
    pub(super) pending: u8,
}

impl Client {
    pub(super) fn connecting(peer: Peer) -> Self {
        Client {
            peer,
            budget: Budget::PROVEN,
            key: None,
            session: None,
            alive: Timer::default(),
            retry: None,
            dialogue: None,
            spent: 0,
            keep_alive: 0,
            sleep: 0,
            state: State::Connecting,
            clean: true,
            with_will: false,
            fresh: false,
            overdue: false,
            draining: false,
            drain_again: false,
            credited: false,
            drained: false,
            held: 0,
            subacks_held: 0,
            pending: 0,
        }
    }

    /// Bytes of the wrapper that what is sent to it is put in (MQTT-SN 1.2 §5.5).
    pub(super) fn overhead(&self) -> usize {
        self.peer.node.as_ref().map_or(0, |node| 3 + node.len())
    }

    /// As the device gave it; empty while it says who it is.
    pub(super) fn id(&self) -> &str {
        match (&self.key, &self.dialogue) {
            (Some(key), _) => key.client_id(),
            (None, Some(dialogue)) if dialogue.stage == DialogueStage::Opening => {
                &dialogue.client_id
            }
            (None, _) => "",
        }
    }

    /// Nothing is to be repeated.
    pub(super) fn stop_retry(&mut self) {
        if let Some(retry) = &mut self.retry {
            retry.clear();
        }
    }

    /// Whether it is supervised by its sleep duration.
    pub(super) fn sleeps(&self) -> bool {
        matches!(self.state, State::Asleep | State::Awake)
    }
}

/// Generations have 30 bits, so that a reference has two to spare (for [`super::TimerKey`], and for
/// whoever keeps references of several protocols in one number).
const fn next(generation: u32) -> u32 {
    generation.wrapping_add(1) & 0x3fff_ffff
}

#[derive(Debug, Default)]
struct Entry {
    generation: u32,
    client: Option<Box<Client>>,
}

/// The table of clients.
#[derive(Debug, Default)]
pub(super) struct Clients {
    slots: Vec<Entry>,
    free: Vec<Slot>,
    by_peer: HashTable<Slot>,
    /// Only clients with a session: a CONNECT alone takes no name away.
    by_id: HashTable<Slot>,
    hasher: DefaultHashBuilder,
    connecting: usize,
}

impl Clients {
    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Clients without a session.
    pub(super) fn connecting(&self) -> usize {
        self.connecting
    }

    pub(super) fn get(&self, slot: Slot) -> Option<&Client> {
        self.slots.get(slot.index())?.client.as_deref()
    }

    pub(super) fn get_mut(&mut self, slot: Slot) -> Option<&mut Client> {
        self.slots.get_mut(slot.index())?.client.as_deref_mut()
    }

    /// The reference that means the client in `slot` now.
    pub(super) fn ref_of(&self, slot: Slot) -> ClientRef {
        let generation = self.slots.get(slot.index()).map_or(0, |entry| entry.generation);
        ClientRef(u64::from(generation) << 32 | slot.index() as u64)
    }

    /// The slot that `client` means, if it still means one.
    pub(super) fn slot_of(&self, client: ClientRef) -> Option<Slot> {
        let slot = Slot::new(usize::try_from(client.0 & 0xffff_ffff).ok()?)?;
        let entry = self.slots.get(slot.index())?;
        (entry.client.is_some() && self.ref_of(slot) == client).then_some(slot)
    }

    pub(super) fn find_peer(
        &self,
        listener: ListenerId,
        addr: SocketAddr,
        node: Option<&[u8]>,
    ) -> Option<Slot> {
        let hash = self.hasher.hash_one((listener, addr, node));
        let same = |slot: &Slot| {
            self.get(*slot).is_some_and(|client| {
                client.peer.addr == addr
                    && client.peer.listener == listener
                    && client.peer.node.as_deref() == node
            })
        };
        self.by_peer.find(hash, same).copied()
    }

    pub(super) fn find_id(&self, listener: ListenerId, id: &str) -> Option<Slot> {
        let hash = self.hasher.hash_one((listener, id));
        let same = |slot: &Slot| {
            self.get(*slot).is_some_and(|c| c.id() == id && c.peer.listener == listener)
        };
        self.by_id.find(hash, same).copied()
    }

    pub(super) fn insert(&mut self, client: Client) -> Slot {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Entry::default());
            Slot::new(self.slots.len() - 1).expect("max_clients fits 32 bits")
        });
        self.connecting += usize::from(client.state == State::Connecting);
        if let Some(entry) = self.slots.get_mut(slot.index()) {
            entry.client = Some(Box::new(client));
        }
        self.index_peer(slot);
        slot
    }

    pub(super) fn remove(&mut self, slot: Slot) -> Option<Box<Client>> {
        self.unindex_id(slot);
        self.unindex_peer(slot);
        let entry = self.slots.get_mut(slot.index())?;
        let client = entry.client.take()?;
        entry.generation = next(entry.generation);
        self.connecting -= usize::from(client.state == State::Connecting);
        self.free.push(slot);
        Some(client)
    }

    /// A new connection of the same peer: old references mean nobody from now on, nor do timer
    /// entries.
    pub(super) fn renew(&mut self, slot: Slot) -> ClientRef {
        self.unindex_id(slot);
        self.set_state(slot, State::Connecting);
        if let Some(entry) = self.slots.get_mut(slot.index()) {
            entry.generation = next(entry.generation);
            if let Some(client) = &mut entry.client {
                client.alive = Timer::default();
                client.retry = None;
                client.session = None;
                client.key = None;
                client.fresh = false;
                client.overdue = false;
                client.draining = false;
                client.drain_again = false;
                client.credited = false;
                client.drained = false;
                client.held = 0;
                client.subacks_held = 0;
                client.pending = 0;
            }
        }
        self.ref_of(slot)
    }

    pub(super) fn set_state(&mut self, slot: Slot, state: State) {
        let Some(client) = self.slots.get_mut(slot.index()).and_then(|e| e.client.as_mut()) else {
            return;
        };
        let was = core::mem::replace(&mut client.state, state);
        self.connecting -= usize::from(was == State::Connecting);
        self.connecting += usize::from(state == State::Connecting);
    }

    /// The client in `slot` is the one of its name from now on.
    pub(super) fn index_id(&mut self, slot: Slot) {
        let Some(client) = self.get(slot) else { return };
        if let Some(other) = self.find_id(client.peer.listener, client.id()) {
            self.unindex_id(other);
        }
        let Clients { slots, by_id, hasher, .. } = self;
        let hash = |slot: &Slot| {
            let client = slots.get(slot.index()).and_then(|entry| entry.client.as_ref());
            client.map_or(0, |c| hasher.hash_one((c.peer.listener, c.id())))
        };
        by_id.insert_unique(hash(&slot), slot, hash);
    }

    /// The client in `slot` is at another address from now on.
    pub(super) fn rebind(&mut self, slot: Slot, peer: Peer) {
        self.unindex_peer(slot);
        if let Some(client) = self.get_mut(slot) {
            client.peer = peer;
        }
        self.index_peer(slot);
    }

    /// The sleeper in `slot` is found by its id alone, until it speaks from a new address.
    pub(super) fn leave_address(&mut self, slot: Slot) {
        self.unindex_peer(slot);
    }

    fn index_peer(&mut self, slot: Slot) {
        let Clients { slots, by_peer, hasher, .. } = self;
        let hash = |slot: &Slot| {
            let client = slots.get(slot.index()).and_then(|entry| entry.client.as_ref());
            client.map_or(0, |c| {
                hasher.hash_one((c.peer.listener, c.peer.addr, c.peer.node.as_deref()))
            })
        };
        by_peer.insert_unique(hash(&slot), slot, hash);
    }

    fn unindex_peer(&mut self, slot: Slot) {
        let Some(client) = self.get(slot) else { return };
        let Peer { listener, addr, node, .. } = &client.peer;
        let hash = self.hasher.hash_one((listener, addr, node.as_deref()));
        if let Ok(entry) = self.by_peer.find_entry(hash, |other| *other == slot) {
            entry.remove();
        }
    }

    fn unindex_id(&mut self, slot: Slot) {
        let Some(client) = self.get(slot) else { return };
        let hash = self.hasher.hash_one((client.peer.listener, client.id()));
        if let Ok(entry) = self.by_id.find_entry(hash, |other| *other == slot) {
            entry.remove();
        }
    }

    /// Everybody, in the order of the slots.
    pub(super) fn iter(&self) -> impl Iterator<Item = (ClientRef, &Client)> {
        let slots = self.slots.iter().enumerate();
        slots
            .filter_map(|(at, entry)| Some((self.ref_of(Slot::new(at)?), entry.client.as_deref()?)))
    }

    /// Entries of both indices.
    #[cfg(test)]
    pub(super) fn indexed(&self) -> (usize, usize) {
        (self.by_peer.len(), self.by_id.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::Ipv4Addr;

    fn peer(port: u16) -> Peer {
        Peer::new(ListenerId(0), SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
    }

    fn named(port: u16, id: &str) -> Client {
        Client { key: Some(SessionKey::new("r", id)), ..Client::connecting(peer(port)) }
    }

    #[test]
    fn slots_are_reused_but_references_are_not() {
        let mut clients = Clients::default();
        let slot = clients.insert(named(1, "a"));
        clients.index_id(slot);
        let old = clients.ref_of(slot);
        assert_eq!(clients.find_id(ListenerId(0), "a"), Some(slot));
        clients.remove(slot);
        assert_eq!((clients.len(), clients.connecting(), clients.indexed()), (0, 0, (0, 0)));
        let again = clients.insert(named(2, "b"));
        assert_eq!(again, slot);
        assert_eq!(clients.slot_of(old), None);
        assert_eq!(clients.slot_of(clients.ref_of(again)), Some(again));
        assert_eq!(clients.find_id(ListenerId(0), "a"), None);
    }

    #[test]
    fn a_new_address_is_found_and_the_old_is_not() {
        let mut clients = Clients::default();
        let slot = clients.insert(named(1, "a"));
        clients.rebind(slot, peer(9));
        assert_eq!(clients.find_peer(ListenerId(0), peer(1).addr, None), None);
        assert_eq!(clients.find_peer(ListenerId(0), peer(9).addr, None), Some(slot));
        assert_eq!(clients.find_peer(ListenerId(0), peer(9).addr, Some(&[])), None);
        assert_eq!(clients.find_peer(ListenerId(1), peer(9).addr, None), None);
    }

    #[test]
    fn the_later_client_has_the_name() {
        let mut clients = Clients::default();
        let first = clients.insert(named(1, "a"));
        clients.index_id(first);
        let second = clients.insert(named(2, "a"));
        clients.index_id(second);
        assert_eq!(clients.find_id(ListenerId(0), "a"), Some(second));
        clients.remove(first);
        assert_eq!(clients.find_id(ListenerId(0), "a"), Some(second));
    }
}
