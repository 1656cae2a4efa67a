//! Read-only views of observers, for whoever asks about a running gateway.

use motegate_message::Peer;

use super::Endpoint;
use super::contract::ObservationId;

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

    /// Whose observation it is.
    #[must_use]
    pub fn observer(&self, observation: ObservationId) -> Option<&Peer> {
        let observation = self.observations.by_id(observation)?;
        self.peers.get(observation.peer()).map(|state| &state.peer)
    }
}
