//! Read-only views of observers, for whoever asks about a running gateway.

use motegate_message::Peer;

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

    /// Whose observation it is.
    #[must_use]
    pub fn observer(&self, observation: ObservationId) -> Option<&Peer> {
        let observation = self.observations.by_id(observation)?;
        self.peers.get(observation.peer()).map(|state| &state.peer)
    }
}
