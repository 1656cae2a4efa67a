//! Answers: what the layer above says to a request, held until what it promises is stored, cut to what
//! fits, and sent by whichever message is right for it (RFC 7252 §5.2, RFC 8323 §3.3).

use alloc::boxed::Box;

use motegate_message::{Reason, Seq, Turn};
use motegate_timers::Instant;

use super::block::{self, Room, Wanted};
use super::body::Body;
use super::contract::{Code, ExchangeId, Response};
use super::deduplication::{Progress, Stored};
use super::exchange::Exchange;
use super::observe::Phase;
use super::outbound::{Separate, Waiting};
use super::{Endpoint, send};
use crate::EchoWhen;
use crate::block::{Block, size_of};
use crate::message::{Kind, write_empty};
use crate::slab::Key;

/// A GET answer up to this size is kept; a larger one is made again.
const MAX_STORED_READ: usize = 128;

impl Endpoint {
    /// Answers `Event::Request`; success leaves after `after` is committed. Unknown and answered
    /// exchanges are ignored.
    pub fn respond(&mut self, turn: &Turn, exchange: ExchangeId, response: Response, after: Seq) {
        self.now = turn.now;
        let key = Key::from_u64(exchange.0);
        let Some(found) = self.exchanges.get_mut(key) else { return };
        if found.held {
            return;
        }
        if turn.durable && after > self.committed {
            found.held = true;
            self.held.push(after, (key, response));
        } else {
            self.respond_now(turn.now, key, response);
        }
    }

    /// Batches up to `seq` are stored.
    pub fn handle_committed(&mut self, turn: &Turn, seq: Seq) {
        self.now = turn.now;
        self.committed = self.committed.max(seq);
        while let Some((key, response)) = self.held.pop(self.committed) {
            self.respond_now(turn.now, key, response);
        }
    }

    fn respond_now(&mut self, now: Instant, key: Key, response: Response) {
        let Some(exchange) = self.exchanges.get_mut(key) else { return };
        let (peer, begun, wanted) = (exchange.peer, exchange.observation, exchange.wanted);
        let parts = exchange.parts.take();
        let begins = response.observe.map(|id| Key::from_u64(id.0));
        let mut body = Body::from(response);
        if let Some(parts) = parts {
            // First: what it says of the request's block takes room, too.
            self.settle_parts(now, peer, &parts, &mut body);
            if block::is_cut(&body, wanted, self.payload_room(key, &body)) {
                self.keep_answer(now, peer, &parts, &body);
            }
        }
        let Some(body) = self.cut(now, key, body) else { return };
        let observation = begun
            .filter(|key| begins == Some(*key) && body.code.class() == 2)
            .filter(|key| self.observations.get(*key).is_some());
        self.answer(now, key, body, observation);
    }

    /// Answers what the layer above does not hear of.
    pub(super) fn answer_part(&mut self, now: Instant, key: Key, body: Body) {
        if let Some(body) = self.cut(now, key, body) {
            self.answer(now, key, body, None);
        }
    }

    /// The part of a body that leaves; `None` if it was answered otherwise.
    fn cut(&mut self, now: Instant, key: Key, mut body: Body) -> Option<Body> {
        let exchange = self.exchanges.get(key)?;
        let (peer, wanted, is_read) = (exchange.peer, exchange.wanted, exchange.is_read);
        if self.connection_of(peer).is_some() {
            return self.part(key, wanted, self.payload_room(key, &body), body);
        }
        let mut max = self.config.block_size;
        let asked = body.payload.len().min(max).min(wanted.block.map_or(max, Block::size));
        if body.code.class() == 2 && asked > self.payload_room(key, &body).payload {
            self.counters.answers_limited += 1;
            body.echo = self.echo_for(now, peer);
            max = self.payload_room(key, &body).payload;
            let strict = self.config.unverified.echo == EchoWhen::Always;
            if is_read && (strict || max < size_of(0)) {
                self.challenge(now, key);
                return None;
            }
        }
        self.part(key, wanted, max.into(), body)
    }

    fn part(&mut self, key: Key, wanted: Wanted, room: Room, body: Body) -> Option<Body> {
        let peer = self.exchanges.get(key)?.peer;
        Some(body.part(wanted, room).unwrap_or_else(|no_part| {
            self.dropped_key(peer, no_part.reason());
            no_part.body()
        }))
    }

    /// The response leaves now, by whichever message is right for it.
    pub(super) fn answer(&mut self, now: Instant, key: Key, body: Body, observation: Option<Key>) {
        let Some(exchange) = self.exchanges.remove(key) else { return };
        self.no_longer_unanswered(key);
        let body = exchange.present(body);
        let peer = exchange.peer;
        if let Some(state) = self.peers.get_mut(peer) {
            state.exchanges -= 1;
        }
        if exchange.registers && observation.is_none() {
            self.drop_registration(now, &exchange);
        }
        let unwanted = observation.is_none() && is_unwanted(exchange.manner.no_response, body.code);
        let progress = if let Some(slot) = self.connection_of(peer) {
            if !unwanted {
                self.send_body(slot, &exchange.token, &body, observation);
            }
            self.connection_answered(slot, exchange.place);
            Progress::Acknowledged
        } else if !exchange.confirmable {
            if !unwanted {
                self.send_non(peer, observation, Some(exchange.token), &body);
            }
            Progress::Acknowledged
        } else if unwanted {
            // RFC 7967 §2: a CON is acknowledged all the same.
            self.acknowledge(&exchange);
            Progress::Acknowledged
        } else if exchange.acknowledged {
            let separate = Separate { token: exchange.token, body, observation, is_final: false };
            if let Some(observation) = observation.and_then(|key| self.observations.get_mut(key)) {
                observation.phase = Phase::Busy;
            }
            self.enqueue(now, peer, Waiting::Response(Box::new(separate)));
            Progress::Acknowledged
        } else {
            self.piggyback(&exchange, &body, observation)
        };
        if let Some(entry) = exchange.entry.and_then(|entry| self.deduplication.get_mut(entry)) {
            entry.progress = progress;
        }
        self.registered(now, observation);
        self.peers.release(peer.slot, now);
    }

    /// The registration was answered without Observe: neither a new observation nor an old one
    /// with the same token goes on (RFC 7641 §4.1).
    fn drop_registration(&mut self, now: Instant, exchange: &Exchange) {
        let same_token = self.observations.find(exchange.peer, &exchange.token);
        for gone in [exchange.observation, same_token].into_iter().flatten() {
            self.lose_observation(now, gone, Reason::ObserveRejected);
        }
    }

    /// The response to a registration has left: notifications may follow.
    fn registered(&mut self, now: Instant, observation: Option<Key>) {
        let Some(key) = observation else { return };
        let Some(found) = self.observations.get_mut(key) else { return };
        if found.phase == Phase::Registering {
            found.phase = Phase::Idle;
            self.flush_pending(now, key);
        }
    }

    fn acknowledge(&mut self, exchange: &Exchange) {
        if exchange.acknowledged {
            return;
        }
        if let Some(state) = self.peers.get(exchange.peer) {
            send(&mut self.out, &state.peer, |out| {
                write_empty(out, Kind::Acknowledgement, exchange.message_id);
            });
        }
    }

    fn piggyback(
        &mut self,
        exchange: &Exchange,
        body: &Body,
        observation: Option<Key>,
    ) -> Progress {
        let observed = observation.and_then(|key| self.observations.get_mut(key));
        let sequence = observed.map(|observation| observation.next_sequence());
        let Some(state) = self.peers.get(exchange.peer) else { return Progress::Repeatable };
        let mut progress = Progress::Repeatable;
        let (id, token) = (exchange.message_id, &exchange.token);
        send(&mut self.out, &state.peer, |out| {
            let start = out.len();
            body.encode(out, Kind::Acknowledgement, id, token, sequence);
            let bytes = out.get(start..).unwrap_or_default();
            if !exchange.is_read || bytes.len() <= MAX_STORED_READ {
                progress = Progress::Answered(Stored::new(bytes));
            }
        });
        progress
    }
}

/// No-Response (RFC 7967 §2.1): bit 1 for 2.xx, bit 3 for 4.xx, bit 4 for 5.xx. Without 2.31 no
/// further block would come: it does not answer the request yet.
pub(super) fn is_unwanted(no_response: u8, code: Code) -> bool {
    (1..=5).contains(&code.class())
        && no_response & 1 << (code.class() - 1) != 0
        && code != Code::CONTINUE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_response_names_classes() {
        for (bits, unwanted) in [(0, [false; 3]), (2, [true, false, false]), (26, [true; 3])] {
            let codes = [Code::CHANGED, Code::NOT_FOUND, Code::SERVICE_UNAVAILABLE];
            assert_eq!(codes.map(|code| is_unwanted(bits, code)), unwanted);
            assert!(!is_unwanted(bits, Code::CONTINUE));
        }
    }
}
