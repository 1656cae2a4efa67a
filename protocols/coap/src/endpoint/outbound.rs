//! Confirmable messages that this endpoint sends: separate responses and notifications, each
//! repeated with back-off until it is acknowledged or reset (RFC 7252 §4.2), NSTART of them
//! outstanding for a peer (§4.7), the others waiting in order.
//!
//! A waiting notification is only the name of its observation: what is sent is the newest value
//! at that time. A repetition carries the newest value too, under a new message id (RFC 7641
//! §4.5.2).

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

use motegate_message::{DeliveryId, Reason};
use motegate_timers::{Backoff, Instant};

use super::body::Body;
use super::contract::{Event, ObservationId};
use super::observe::Phase;
use super::{Endpoint, send};
use crate::message::{Kind, Token};
use crate::slab::Key;

#[derive(Debug, Default)]
pub(super) struct Outbox {
    outstanding: Vec<Outbound>,
    waiting: VecDeque<Waiting>,
}

#[derive(Debug)]
pub(super) enum Waiting {
    Response(Box<Separate>),
    Notification(Key),
}

/// A response that comes on its own (RFC 7252 §5.2.2).
#[derive(Debug)]
pub(super) struct Separate {
    pub(super) token: Token,
    pub(super) body: Body,
    /// The observation that it begins.
    pub(super) observation: Option<Key>,
}

#[derive(Debug)]
struct Outbound {
    message_id: u16,
    token: Token,
    deadline: Instant,
    backoff: Backoff,
    body: Body,
    /// Observe sequence number.
    sequence: Option<u32>,
    observation: Option<Key>,
    delivery: Option<DeliveryId>,
}

impl Endpoint {
    pub(super) fn enqueue(&mut self, now: Instant, peer: Key, waiting: Waiting) {
        let Some(state) = self.peers.get_mut(peer) else { return };
        state.outbox.get_or_insert_default().waiting.push_back(waiting);
        self.pump(now, peer);
    }

    /// Sends what waits as far as NSTART allows, and forgets an empty outbox.
    pub(super) fn pump(&mut self, now: Instant, peer: Key) {
        let nstart = usize::from(self.config.nstart.max(1));
        while let Some(outbox) = self.peers.get_mut(peer).and_then(|s| s.outbox.as_mut()) {
            if outbox.outstanding.len() >= nstart {
                break;
            }
            match outbox.waiting.pop_front() {
                Some(Waiting::Response(separate)) => {
                    let Separate { token, body, observation } = *separate;
                    self.launch(now, peer, token, body, observation, None);
                }
                Some(Waiting::Notification(key)) => self.launch_notification(now, peer, key),
                None => break,
            }
        }
        self.rearm(peer);
    }

    fn launch_notification(&mut self, now: Instant, peer: Key, key: Key) {
        let Some(observation) = self.observations.get_mut(key) else { return };
        let Some(notification) = observation.pending.take() else { return };
        observation.sent_confirmable(now);
        let (token, delivery) = (observation.token, notification.delivery);
        self.launch(now, peer, token, Body::from(*notification), Some(key), Some(delivery));
    }

    fn launch(
        &mut self,
        now: Instant,
        peer: Key,
        token: Token,
        body: Body,
        observation: Option<Key>,
        delivery: Option<DeliveryId>,
    ) {
        let observed = observation.and_then(|key| self.observations.get_mut(key));
        let sequence = observed.map(|observation| observation.next_sequence());
        let config = &self.config;
        let timeout =
            self.random.first_timeout(config.ack_timeout, config.ack_random_factor_permille);
        let backoff = Backoff::doubling(timeout, config.max_retransmit);
        let nstart = usize::from(config.nstart.max(1));
        let Some(state) = self.peers.get_mut(peer) else { return };
        let message_id = state.message_id();
        send(&mut self.out, &state.peer, |out| {
            body.encode(out, Kind::Confirmable, message_id, &token, sequence);
        });
        let outbox = state.outbox.get_or_insert_default();
        if outbox.outstanding.is_empty() {
            outbox.outstanding.reserve_exact(nstart);
        }
        outbox.outstanding.push(Outbound {
            message_id,
            token,
            deadline: now + timeout,
            backoff,
            body,
            sequence,
            observation,
            delivery,
        });
    }

    /// Sets the peer's timer to its earliest retransmission; an empty outbox goes.
    fn rearm(&mut self, peer: Key) {
        let Some(state) = self.peers.get_mut(peer) else { return };
        let Some(outbox) = &state.outbox else { return };
        if let Some(deadline) = outbox.outstanding.iter().map(|o| o.deadline).min() {
            self.timers.set(&mut state.timer, peer.to_u64(), deadline);
        } else {
            state.outbox = None;
            state.timer.clear();
        }
    }

    fn take_outstanding(&mut self, peer: Key, message_id: u16) -> Option<Outbound> {
        let outstanding = &mut self.peers.get_mut(peer)?.outbox.as_mut()?.outstanding;
        let at = outstanding.iter().position(|o| o.message_id == message_id)?;
        Some(outstanding.remove(at))
    }

    /// An ACK came; `false` when it acknowledges nothing.
    pub(super) fn acknowledged(&mut self, now: Instant, peer: Key, message_id: u16) -> bool {
        let Some(outbound) = self.take_outstanding(peer, message_id) else { return false };
        if let Some(key) = outbound.observation {
            self.notified(key, outbound.delivery);
            if let Some(observation) = self.observations.get_mut(key) {
                observation.phase = Phase::Idle;
            }
            self.flush_pending(now, key);
        }
        self.pump(now, peer);
        self.peers.release(peer.slot, now);
        true
    }

    /// A RST came; `false` when it concerns nothing that is known.
    pub(super) fn reset(&mut self, now: Instant, peer: Key, message_id: u16) -> bool {
        let outbound = self.take_outstanding(peer, message_id);
        let known = outbound.is_some();
        let observation = match outbound {
            Some(outbound) => outbound.observation,
            None => self.observations.find_by_message_id(&self.peers, peer, message_id),
        };
        // RFC 7641 §3.6: a client that rejects a notification, CON or NON, is not interested.
        if let Some(key) = observation {
            self.lose_observation(now, key, Reason::ObserveRejected);
        }
        self.pump(now, peer);
        self.peers.release(peer.slot, now);
        known || observation.is_some()
    }

    /// A peer's retransmission timer fired.
    pub(super) fn retransmit(&mut self, now: Instant, peer: Key) {
        let mut lost = Vec::new();
        let Some(outbox) = self.peers.get_mut(peer).and_then(|s| s.outbox.as_mut()) else {
            return;
        };
        let mut due = Vec::new();
        outbox.outstanding.retain_mut(|outbound| {
            if outbound.deadline > now {
                return true;
            }
            let again = outbound.backoff.retry();
            if again {
                outbound.deadline = now + outbound.backoff.timeout();
                due.push(outbound.message_id);
            } else {
                lost.push(outbound.observation);
            }
            again
        });
        for message_id in due {
            self.send_again(now, peer, message_id);
        }
        for observation in lost {
            match observation {
                // RFC 7641 §4.5: a notification that timed out ends the observation.
                Some(key) => self.lose_observation(now, key, Reason::RetryExhausted),
                None => self.dropped_key(peer, Reason::RetryExhausted),
            }
        }
        self.pump(now, peer);
        self.peers.release(peer.slot, now);
    }

    /// Repeats a message, with the newest value if it is a notification.
    fn send_again(&mut self, now: Instant, peer: Key, message_id: u16) {
        self.counters.retransmissions += 1;
        let Some(state) = self.peers.get_mut(peer) else { return };
        let fresh_id = state.message_id();
        let Some(outbox) = &mut state.outbox else { return };
        let same = |outbound: &&mut Outbound| outbound.message_id == message_id;
        let Some(outbound) = outbox.outstanding.iter_mut().find(same) else { return };
        let observed = outbound.observation;
        let mut replaced = None;
        let observation = observed.and_then(|key| self.observations.get_mut(key));
        if let Some(observation) = observation
            && let Some(newest) = observation.pending.take()
        {
            // RFC 7641 §4.5.2: the back-off goes on, the representation is the newest.
            observation.remember(message_id);
            observation.sent_confirmable(now);
            outbound.message_id = fresh_id;
            outbound.sequence = Some(observation.next_sequence());
            replaced = outbound.delivery.replace(newest.delivery);
            outbound.body = Body::from(*newest);
        }
        let (id, token, sequence) = (outbound.message_id, outbound.token, outbound.sequence);
        let body = &outbound.body;
        send(&mut self.out, &state.peer, |out| {
            body.encode(out, Kind::Confirmable, id, &token, sequence);
        });
        if let Some(key) = observed {
            self.notified(key, replaced);
        }
    }

    /// Stops repeating what belongs to an observation that is over.
    pub(super) fn withdraw(&mut self, peer: Key, observation: Key) {
        if let Some(outbox) = self.peers.get_mut(peer).and_then(|s| s.outbox.as_mut()) {
            outbox.outstanding.retain(|outbound| outbound.observation != Some(observation));
        }
    }

    pub(super) fn notified(&mut self, observation: Key, delivery: Option<DeliveryId>) {
        if let Some(delivery) = delivery {
            let observation = ObservationId(observation.to_u64());
            self.events.push_back(Event::Notified { observation, delivery });
        }
    }
}
