//! Requests that come in blocks (RFC 7959 §2.5), and answers that leave in blocks without being
//! asked for again as a GET is (§2.7).
//!
//! The body is collected here and handed up once, when its last block is there, so that it is one
//! request for the layer above, with one deduplication entry. That layer is asked at the first block
//! whether the rest may come at all. Blocks come in order: a gap is 4.08, the block that came last
//! is welcome again, and block 0 begins anew. Bounds: `max_body`, `max_blocks_in_progress_per_peer`,
//! `max_block_bytes` and `block_timeout`.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;
use motegate_message::Reason;
use motegate_timers::Instant;

use super::Endpoint;
use super::block::largest;
use super::body::Body;
use super::contract::{Code, Method, Response};
use super::peers::PeerState;
use super::request::{Parsed, Refusal};
use super::transfers::{State, Transfers};
use crate::block::{Block, value};
use crate::slab::Key;

/// A transfer that has waited so long gives way to a new one when there is no room.
const IDLE: Duration = Duration::from_secs(5);

/// What an exchange knows of the transfer that it is part of.
#[derive(Debug)]
pub(super) struct Parts {
    block1: Option<Block>,
    operation: Box<[u8]>,
    /// Its request's body is still to come.
    upload: Option<Key>,
}

impl Parts {
    /// `None` for the many requests that neither come nor are answered in parts.
    pub(super) fn of(parsed: &Parsed) -> Option<Box<Parts>> {
        let operation = parsed.operation.as_slice().into();
        let parts = || Parts { block1: parsed.block1, operation, upload: None };
        (!parsed.operation.is_empty()).then(|| Box::new(parts()))
    }
}

/// What becomes of a request.
pub(super) enum Taken {
    /// The layer above hears of it.
    HandUp,
    Answered(Body),
    Refused(Refusal),
}

fn incomplete(text: &str) -> Taken {
    Taken::Refused(Refusal::new(Code::REQUEST_ENTITY_INCOMPLETE, Reason::ProtocolError, text))
}

/// RFC 7959 §2.9.1, §2.3: the block is there; the option says of which size the next should be.
fn go_on(block: Block, largest: u32) -> Body {
    let mut body = Body::from(Response::new(Code::CONTINUE));
    body.block1 = Some(value(block.number as usize, true, block.exponent.min(largest)));
    body
}

impl Endpoint {
    /// Takes what a request has of a larger body.
    pub(super) fn take_part(
        &mut self,
        now: Instant,
        peer: Key,
        exchange: Key,
        parsed: &mut Parsed,
    ) -> Taken {
        if parsed.operation.is_empty() {
            return Taken::HandUp;
        }
        let known = self.transfers.find(peer, &parsed.operation);
        match parsed.block1 {
            _ if parsed.request.later_block => self.later_part(now, known, parsed),
            Some(block) if block.number > 0 => {
                let largest = self.upload_exponent(peer);
                self.next_block(now, known, (block, largest), parsed)
            }
            // RFC 7959 §2.5: a new sequence overwrites what there was of an old one.
            first => {
                if let Some(key) = known {
                    self.end_transfer(now, key);
                }
                match first {
                    Some(block) if block.more => self.first_block(now, peer, exchange, parsed),
                    _ => Taken::HandUp,
                }
            }
        }
    }

    fn first_block(
        &mut self,
        now: Instant,
        peer: Key,
        exchange: Key,
        parsed: &mut Parsed,
    ) -> Taken {
        let max = self.config.max_body;
        let told = parsed.size1.and_then(|size| usize::try_from(size).ok()).unwrap_or(0);
        if told.max(parsed.request.payload.len() + 1) > max {
            return Taken::Refused(Refusal::too_large(max));
        }
        if !self.may_have_more(peer, |state| state.uploads) {
            self.counters.blocks_per_peer_refused += 1;
            return Taken::Refused(self.no_room(Reason::QuotaExceeded));
        }
        let payload = core::mem::take(&mut parsed.request.payload);
        if !self.make_block_room(now, Transfers::cost(&parsed.operation, payload.len())) {
            return Taken::Refused(self.no_room(Reason::Overloaded));
        }
        let state = State::Upload { last: payload.len(), body: Vec::from(payload) };
        let key = self.begin_transfer(now, peer, &parsed.operation, state);
        if let Some(parts) = self.exchanges.get_mut(exchange).and_then(|e| e.parts.as_mut()) {
            parts.upload = Some(key);
        }
        parsed.request.more_follows = true;
        Taken::HandUp
    }

    fn next_block(
        &mut self,
        now: Instant,
        known: Option<Key>,
        (block, largest): (Block, u32),
        parsed: &mut Parsed,
    ) -> Taken {
        let upload = known.and_then(|key| match self.transfers.state(key) {
            Some(State::Upload { body, last }) => Some((key, body, *last)),
            _ => None,
        });
        let Some((key, body, last)) = upload else {
            // RFC 7959 §2.9.2: also after `block_timeout`, or with another Content-Format.
            return incomplete("the blocks before this one are not there: begin with block 0");
        };
        let (start, length) = (block.start(), body.len());
        let payload = core::mem::take(&mut parsed.request.payload);
        if start != length {
            let came_last = length - last;
            if block.more && start == came_last && body.get(came_last..) == Some(&payload[..]) {
                self.transfers.touch(now, key); // the answer to it was lost
                return Taken::Answered(go_on(block, largest));
            }
            if !block.more {
                self.end_transfer(now, key); // RFC 7959 §2.5: the transfer fails
            }
            return incomplete("blocks come one after the other: begin with block 0");
        }
        let max = self.config.max_body;
        if length + payload.len() + usize::from(block.more) > max {
            self.end_transfer(now, key);
            return Taken::Refused(Refusal::too_large(max));
        }
        // A vector grows to twice its size at most.
        if !self.make_block_room(now, length.max(payload.len())) {
            self.end_transfer(now, key);
            return Taken::Refused(self.no_room(Reason::Overloaded));
        }
        self.transfers.append(now, key, &payload);
        if block.more {
            return Taken::Answered(go_on(block, largest));
        }
        match self.end_transfer(now, key) {
            Some(body) => parsed.request.payload = body,
            None => return incomplete("the blocks before this one are gone: begin with block 0"),
        }
        Taken::HandUp
    }

    /// Block2 of a number above 0 (RFC 7959 §2.7): more of what another method than GET was answered.
    fn later_part(&mut self, now: Instant, known: Option<Key>, parsed: &Parsed) -> Taken {
        let kept = known.and_then(|key| match self.transfers.state(key) {
            Some(State::Answer(body)) => Some((key, (**body).clone())),
            _ => None,
        });
        if let Some((key, body)) = kept {
            self.transfers.touch(now, key);
            return Taken::Answered(body);
        }
        // A FETCH with its own body may be done again (RFC 8132 §2.1: safe).
        if parsed.request.method == Method::Fetch && !parsed.request.payload.is_empty() {
            return Taken::HandUp;
        }
        incomplete("what this was answered is gone: ask again from the beginning")
    }

    /// Whether a peer, with so many bodies of one direction, is within the bound of its listener.
    fn may_have_more(&self, peer: Key, count: impl Fn(&PeerState) -> u16) -> bool {
        self.peers.get(peer).is_none_or(|state| {
            let most = self.bounds(state.peer.listener).max_blocks_in_progress_per_peer;
            usize::from(count(state)) < most
        })
    }

    /// Keeps an answer of which more than one block leaves, unless a GET can read it again; without
    /// room for it only its first block leaves. It takes the place of what its peer was answered longest
    /// ago: nobody says when the last block of that has come.
    pub(super) fn keep_answer(&mut self, now: Instant, peer: Key, parts: &Parts, body: &Body) {
        if !self.may_have_more(peer, |state| state.answers)
            && let Some(oldest) = self.transfers.oldest_answer(peer)
        {
            self.counters.blocks_evicted += 1;
            self.end_transfer(now, oldest);
        }
        let cost = Transfers::cost(&parts.operation, body.payload.len());
        if self.may_have_more(peer, |state| state.answers) && self.make_block_room(now, cost) {
            let mut kept = Box::new(body.clone());
            kept.block1 = None; // whoever asks for another part of it sends no block
            let state = State::Answer(kept);
            self.begin_transfer(now, peer, &parts.operation, state);
        }
    }

    /// The layer above has answered: what is said of the request's block, and whether more may come.
    pub(super) fn settle_parts(&mut self, now: Instant, peer: Key, parts: &Parts, body: &mut Body) {
        let Some(block) = parts.block1 else { return };
        match (parts.upload, body.code) {
            (Some(_), Code::CONTINUE) => *body = go_on(block, self.upload_exponent(peer)),
            (upload, code) => {
                if let Some(key) = upload {
                    self.end_transfer(now, key);
                }
                // RFC 7959 §2.9.3: with 4.13 the option would be a hint to try smaller blocks.
                if code != Code::REQUEST_ENTITY_TOO_LARGE {
                    body.block1 = Some(value(block.number as usize, false, block.exponent));
                }
            }
        }
    }

    fn begin_transfer(&mut self, now: Instant, peer: Key, operation: &[u8], state: State) -> Key {
        if let Some(of) = self.peers.get_mut(peer) {
            match state {
                State::Upload { .. } => of.uploads += 1,
                State::Answer(_) => of.answers += 1,
            }
        }
        let key = self.transfers.insert(now, peer, operation.into(), state);
        if let Some(slot) = self.connection_of(peer) {
            self.connections.began_transfer(slot, key);
        }
        key
    }

    /// The size in which the rest of a body may come.
    fn upload_exponent(&self, peer: Key) -> u32 {
        match self.connection_of(peer) {
            Some(_) => self.config.connection_blocks().largest(),
            None => largest(self.config.block_size),
        }
    }

    pub(super) fn end_transfer(&mut self, now: Instant, key: Key) -> Option<Bytes> {
        let (peer, body) = self.transfers.remove(key)?;
        if let Some(slot) = self.connection_of(peer) {
            self.connections.ended_transfer(slot, key);
        }
        if let Some(state) = self.peers.get_mut(peer) {
            match body {
                Some(_) => state.uploads -= 1,
                None => state.answers -= 1,
            }
        }
        self.peers.release(peer.slot, now);
        body
    }

    /// Whether so many bytes more fit `max_block_bytes`; transfers that nobody goes on with give way.
    fn make_block_room(&mut self, now: Instant, bytes: usize) -> bool {
        while self.transfers.bytes().saturating_add(bytes) > self.config.max_block_bytes {
            let Some(key) = self.transfers.idle(now, IDLE) else {
                self.counters.blocks_refused += 1;
                return false;
            };
            self.counters.blocks_evicted += 1;
            self.end_transfer(now, key);
        }
        true
    }

    /// RFC 9175 §3.3, RFC 7252 §5.9.3.4: when to try again.
    fn no_room(&self, reason: Reason) -> Refusal {
        let text = "too many bodies in blocks at once";
        let mut refusal = Refusal::new(Code::SERVICE_UNAVAILABLE, reason, text);
        refusal.body.max_age = Some(self.config.block_timeout.max(Duration::from_secs(1)));
        refusal
    }

    /// Forgets bodies whose next block, or next request, did not come.
    pub(super) fn expire_transfers(&mut self, now: Instant) {
        while let Some(key) = self.transfers.idle(now, self.config.block_timeout) {
            self.counters.blocks_expired += 1;
            self.end_transfer(now, key);
        }
    }
}
