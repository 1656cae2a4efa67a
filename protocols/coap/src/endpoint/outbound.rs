//! Confirmable messages that this endpoint sends: separate responses and notifications, each
//! repeated with back-off until it is acknowledged or reset (RFC 7252 §4.2), NSTART of them
//! outstanding for a peer (§4.7), the others waiting in order, and not without end: past
//! [`MAX_WAITING`] the oldest final notification is dropped, or else the oldest separate response
//! leaves as a NON.
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

/// Separate responses and final notifications that wait for a peer, at most; a peer that may have
/// more observations may have as many finals waiting. Notifications of live observations are not
/// counted: there is one an observation, and `max_observers_per_peer` bounds those.
const MAX_WAITING: usize = 64;

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

impl Waiting {
    const fn is_counted(&self) -> bool {
        matches!(self, Waiting::Response(_))
    }

    fn is_final(&self) -> bool {
        matches!(self, Waiting::Response(separate) if separate.is_final)
    }
}

/// A response that comes on its own (RFC 7252 §5.2.2), or the end of an observation.
#[derive(Debug)]
pub(super) struct Separate {
    pub(super) token: Token,
    pub(super) body: Body,
    /// The observation that it begins.
    pub(super) observation: Option<Key>,
    /// The last notification of an observation that is over already.
    pub(super) is_final: bool,
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
    is_final: bool,
    /// Sent more than once.
    repeated: bool,
    delivery: Option<DeliveryId>,
}

impl Outbox {
    /// The peer owes an acknowledgement for longer than it should take.
    pub(super) fn is_unheard(&self) -> bool {
        self.outstanding.iter().any(|outbound| outbound.repeated)
    }
}

impl Endpoint {
    pub(super) fn enqueue(&mut self, now: Instant, peer: Key, waiting: Waiting) {
        let Some(state) = self.peers.get_mut(peer) else { return };
        state.outbox.get_or_insert_default().waiting.push_back(waiting);
        self.pump(now, peer);
        self.bound_waiting(now, peer);
    }

    /// Keeps what waits for a peer that acknowledges nothing within [`MAX_WAITING`]. Called for
    /// every new entry, so one too many is all there can be.
    fn bound_waiting(&mut self, now: Instant, peer: Key) {
        let max = MAX_WAITING.max(self.config.max_observers_per_peer);
        let Some(outbox) = self.peers.get_mut(peer).and_then(|s| s.outbox.as_mut()) else { return };
        let waiting = &mut outbox.waiting;
        if waiting.len() <= max || waiting.iter().filter(|w| w.is_counted()).count() <= max {
            return;
        }
        if let Some(at) = waiting.iter().position(Waiting::is_final) {
            // Its observation is gone either way: the client finds out when Max-Age has passed
            // and it registers again (RFC 7641 §3.3.1).
            waiting.remove(at);
            return self.dropped_key(peer, Reason::QueueFull);
        }
        let Some(at) = waiting.iter().position(Waiting::is_counted) else { return };
        if let Some(Waiting::Response(separate)) = waiting.remove(at) {
            self.send_unconfirmed(now, peer, *separate);
        }
    }

    /// RFC 7252 §5.2.2: a separate response is confirmable when its loss matters; with that many
    /// of them unacknowledged it leaves once, so that the request is answered all the same.
    fn send_unconfirmed(&mut self, now: Instant, peer: Key, separate: Separate) {
        self.counters.unconfirmed_responses += 1;
        let Separate { token, body, observation, .. } = separate;
        // Without Observe if the observation has ended since.
        let begins = observation.filter(|key| self.observations.get(*key).is_some());
        self.send_non(peer, begins, Some(token), &body);
        if let Some(key) = begins {
            if let Some(observation) = self.observations.get_mut(key) {
                observation.phase = Phase::Idle;
            }
            self.flush_pending(now, key);
        }
    }

    /// Sends what waits as far as NSTART allows, and forgets an empty outbox.
    pub(super) fn pump(&mut self, now: Instant, peer: Key) {
        let nstart = usize::from(self.config.nstart.max(1));
        while let Some(state) = self.peers.get_mut(peer) {
            let scarce = state.message_id_at(now).is_some();
            let Some(outbox) = &mut state.outbox else { break };
            if outbox.outstanding.len() >= nstart || outbox.waiting.is_empty() {
                break;
            }
            if scarce {
                // RFC 7252 §4.4: what waits, waits for an id; of a resource the newest value does.
                self.counters.message_ids_awaited += 1;
                break;
            }
            match outbox.waiting.pop_front() {
                Some(Waiting::Response(separate)) => self.launch(now, peer, *separate, None),
                Some(Waiting::Notification(key)) => self.launch_notification(now, peer, key),
                None => break,
            }
        }
        self.rearm(now, peer);
    }

    fn launch_notification(&mut self, now: Instant, peer: Key, key: Key) {
        let Some(observation) = self.observations.get_mut(key) else { return };
        let Some(notification) = observation.take_waiting(now) else { return };
        observation.sent_confirmable(now);
        let (token, delivery) = (observation.token, notification.delivery);
        let body = observation.body(notification, self.config.block_size);
        let separate = Separate { token, body, observation: Some(key), is_final: false };
        self.launch(now, peer, separate, Some(delivery));
    }

    fn launch(
        &mut self,
        now: Instant,
        peer: Key,
        separate: Separate,
        delivery: Option<DeliveryId>,
    ) {
        let Separate { token, body, observation, is_final } = separate;
        let observed = observation.and_then(|key| self.observations.get_mut(key));
        let sequence = observed.map(|observation| observation.next_sequence());
        let config = &self.config;
        let timeout =
            self.random.first_timeout(config.ack_timeout, config.ack_random_factor_permille);
        let backoff = Backoff::doubling(timeout, config.max_retransmit);
        let nstart = usize::from(config.nstart.max(1));
        let Some(state) = self.peers.get_mut(peer) else { return };
        let message_id = state.message_id(now);
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
            is_final,
            repeated: false,
            delivery,
        });
    }

    /// Sets the peer's timer to its earliest retransmission, or to when there is a message id for what
    /// waits; an empty outbox goes.
    fn rearm(&mut self, now: Instant, peer: Key) {
        let nstart = usize::from(self.config.nstart.max(1));
        let Some(state) = self.peers.get_mut(peer) else { return };
        let Some(outbox) = &state.outbox else { return };
        let repeated = outbox.outstanding.iter().map(|o| o.deadline).min();
        let may_leave = !outbox.waiting.is_empty() && outbox.outstanding.len() < nstart;
        let leaves = state.message_id_at(now).filter(|_| may_leave);
        if let Some(deadline) = repeated.into_iter().chain(leaves).min() {
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
        self.is_there(now, peer);
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
                outbound.repeated = true;
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
        let ready = state.message_id_at(now).is_none();
        let same = |outbound: &&mut Outbound| outbound.message_id == message_id;
        let outbox = state.outbox.as_mut();
        let Some(outbound) = outbox.and_then(|o| o.outstanding.iter_mut().find(same)) else {
            return;
        };
        let observed = outbound.observation;
        let mut replaced = None;
        let observation = observed.and_then(|key| self.observations.get_mut(key));
        if let Some(observation) = observation
            && ready
            && let Some(newest) = observation.take_waiting(now)
        {
            // RFC 7641 §4.5.2: the back-off goes on, the representation is the newest.
            observation.remember(message_id);
            observation.sent_confirmable(now);
            outbound.message_id = state.ids.take(now);
            outbound.sequence = Some(observation.next_sequence());
            replaced = outbound.delivery.replace(newest.delivery);
            outbound.body = observation.body(newest, self.config.block_size);
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

    /// Stops repeating what belongs to an observation that is over, and gives its place up.
    pub(super) fn withdraw(&mut self, peer: Key, observation: Key) {
        if let Some(outbox) = self.peers.get_mut(peer).and_then(|s| s.outbox.as_mut()) {
            outbox.outstanding.retain(|outbound| outbound.observation != Some(observation));
            outbox
                .waiting
                .retain(|w| !matches!(w, Waiting::Notification(key) if *key == observation));
        }
    }

    /// The client registers or deregisters with `token`: the end of an earlier observation is no
    /// news any more, and would be taken for the end of the new one (RFC 7641 §3.2, §4.1).
    pub(super) fn withdraw_final(&mut self, now: Instant, peer: Key, token: &Token) {
        let Some(outbox) = self.peers.get_mut(peer).and_then(|s| s.outbox.as_mut()) else { return };
        outbox.outstanding.retain(|outbound| !outbound.is_final || outbound.token != *token);
        outbox.waiting.retain(
            |w| !matches!(w, Waiting::Response(end) if end.is_final && end.token == *token),
        );
        self.pump(now, peer);
    }

    pub(super) fn notified(&mut self, observation: Key, delivery: Option<DeliveryId>) {
        if let Some(delivery) = delivery {
            let observation = ObservationId(observation.to_u64());
            self.events.push_back(Event::Notified { observation, delivery });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Config;
    use crate::endpoint::contract::{Code, Notification, Response};
    use core::net::SocketAddr;
    use motegate_message::{ListenerId, Peer, Seq, Turn, Wall};

    /// An observation that ends while its notification waits leaves no place behind.
    #[test]
    fn ended_observations_do_not_wait() {
        let peer = Peer::new(ListenerId(0), SocketAddr::from(([127, 0, 0, 1], 9)));
        let mut endpoint = Endpoint::new(Config::default(), 1);
        let mut observe = |id: u16, token: u8| {
            let now = Instant::from_micros(1_000 * u64::from(id)); // at a pace that needs no waiting
            let turn = Turn::new(now, Wall::from_millis(1));
            let [high, low] = id.to_be_bytes();
            // GET with an empty Observe and Uri-Path "x".
            let get = [0x41, 1, high, low, token, 0x60, 0x51, b'x'];
            endpoint.handle_datagram(&turn, peer.clone(), &get);
            let Some(Event::Request(request)) = core::iter::from_fn(|| endpoint.poll_event())
                .find(|event| matches!(event, Event::Request(_)))
            else {
                panic!("no request")
            };
            let observation = endpoint.observe(&turn, request.exchange).unwrap();
            let response = Response { observe: Some(observation), ..Response::new(Code::CONTENT) };
            endpoint.respond(&turn, request.exchange, response, Seq::NONE);
            let notification = Notification {
                delivery: DeliveryId(0),
                code: Code::CONTENT,
                payload: bytes::Bytes::new(),
                content_format: None,
                etag: None,
                max_age: None,
                confirmable: true,
            };
            endpoint.notify(&turn, observation, notification);
            let key = endpoint.peers.find(&peer).unwrap();
            endpoint.peers.get(key).unwrap().outbox.as_ref().unwrap().waiting.len()
        };
        assert_eq!(observe(0, b'a'), 0);
        for round in 1..1_000 {
            assert_eq!(observe(round, b'b'), 1);
        }
    }
}
