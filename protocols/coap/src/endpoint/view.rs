//! Read-only views of observers, for whoever asks about a running gateway.

use motegate_message::Peer;
use motegate_timers::Instant;

use super::Endpoint;
use super::contract::{ExchangeId, ObservationId};
use crate::slab::Key;

/// A peer that observes something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observer<'a> {
    /// Who.
    pub peer: &'a Peer,
    /// Its observations, latest first; at most `max_observers_per_peer`.
    pub observations: alloc::vec::Vec<ObservationId>,
}

impl Endpoint {
    /// Peers lie in slots below this number; some are empty.
    #[must_use]
    pub fn peer_slots(&self) -> u32 {
        self.peers.slots()
    }

    /// The peer in a slot, if it observes something.
    #[must_use]
    pub fn observer_at(&self, slot: u32) -> Option<Observer<'_>> {
        let state = self.peers.at(slot).filter(|state| state.observations > 0)?;
        let observations = self.observations.from(state.first_observation).collect();
        Some(Observer { peer: &state.peer, observations })
    }

    /// Whether whoever observes has sent a request that is not answered yet, on the same connection
    /// if there is one.
    #[must_use]
    pub fn is_of_same_peer(&self, observation: ObservationId, exchange: ExchangeId) -> bool {
        let exchange = self.exchanges.get(Key::from_u64(exchange.0));
        let observation = self.observations.by_id(observation);
        observation.zip(exchange).is_some_and(|(o, e)| o.peer() == e.peer)
    }

    /// What whoever has sent a request that is not answered yet observes, latest first.
    #[must_use]
    pub fn observations_of(&self, exchange: ExchangeId) -> alloc::vec::Vec<ObservationId> {
        let exchange = self.exchanges.get(Key::from_u64(exchange.0));
        let peer = exchange.and_then(|exchange| self.peers.get(exchange.peer));
        let head = peer.filter(|peer| peer.observations > 0).map(|peer| peer.first_observation);
        head.map(|head| self.observations.from(head).collect()).unwrap_or_default()
    }

    /// Observations lie in slots below this number; some are empty.
    #[must_use]
    pub fn observation_slots(&self) -> u32 {
        self.observations.slots()
    }

    /// The observation in a slot, if nothing confirmable has left for it for nearly a day and nothing
    /// is on its way: its client may be gone (RFC 7641 §4.5).
    /// A connection says by itself whether it is there (RFC 8323 §5.4).
    #[must_use]
    pub fn unconfirmed_at(&self, slot: u32, now: Instant) -> Option<ObservationId> {
        let observation = self.observations.unconfirmed_at(slot, now)?;
        let peer = self.observations.by_id(observation)?.peer();
        self.connection_of(peer).is_none().then_some(observation)
    }

    /// Whose observation it is.
    #[must_use]
    pub fn observer(&self, observation: ObservationId) -> Option<&Peer> {
        let observation = self.observations.by_id(observation)?;
        self.peers.get(observation.peer()).map(|state| &state.peer)
    }
}
