//! Exchanges: a request goes up, its response comes down, held until what it promises is stored.
//!
//! A response that comes in time rides on the acknowledgement; otherwise an Empty ACK goes first
//! and the response follows as a message of its own (RFC 7252 §5.2). A NON request is answered
//! with a NON. Repetitions never reach the layer above twice, except a GET with a large answer
//! (§4.5 lets a server relax deduplication for idempotent requests).

use alloc::boxed::Box;
use alloc::collections::VecDeque;

use bytes::Bytes;
use motegate_message::{Peer, Reason};
use motegate_timers::Instant;

use super::block::Wanted;
use super::body::Body;
use super::connection::Place;
use super::contract::{Code, Event, ExchangeId, Method, Observe};
use super::deduplication::{NewEntry, Progress};
use super::peers::EXCHANGE_LIFETIME;
use super::reachability::secs;
use super::request::{Manner, Parsed, Refusal, Sender, read};
use super::upload::{Parts, Taken};
use super::{Endpoint, send};
use crate::message::{Kind, Message, Token, write_empty};
use crate::slab::Key;

#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) peer: Key,
    pub(super) token: Token,
    pub(super) message_id: u16,
    pub(super) confirmable: bool,
    /// GET: may be executed again. The body of a FETCH may have come in blocks and be gone.
    pub(super) is_read: bool,
    /// Observe 0.
    pub(super) registers: bool,
    pub(super) manner: Manner,
    /// Bytes that the answer may have: the peer's address is in doubt.
    pub(super) room: Option<usize>,
    pub(super) wanted: Wanted,
    /// Of what comes or is answered in parts.
    pub(super) parts: Option<Box<Parts>>,
    /// An Empty ACK has left: the response goes separately.
    pub(super) acknowledged: bool,
    /// The response is known and waits for the journal.
    pub(super) held: bool,
    pub(super) observation: Option<Key>,
    pub(super) entry: Option<Key>,
    /// Of its connection, if it came on one.
    pub(super) place: Place,
}

/// How a request came.
enum From {
    /// `again` is the entry of one that is executed once more.
    Datagram {
        peer: Peer,
        hash: u64,
        length: usize,
        again: Option<Key>,
    },
    Connection {
        peer: Key,
        place: Place,
    },
}

impl Exchange {
    /// As this client wants to read it, and no longer than it may be.
    pub(super) fn present(&self, body: Body) -> Body {
        let mut body = if self.manner.problem { body.into_problem() } else { body };
        let exceeds = |room| body.overhead(&self.token) + body.payload.len() > room;
        if body.code.class() > 3 && self.room.is_some_and(exceeds) {
            body.payload = Bytes::new();
            body.content_format = None;
        }
        body
    }
}

impl Endpoint {
    /// A message with a request code.
    pub(super) fn handle_request(
        &mut self,
        now: Instant,
        peer: Peer,
        message: Message,
        raw: &[u8],
    ) {
        let hash = self.deduplication.hash(raw);
        let message_id = message.head.message_id;
        let known = self.peers.find(&peer);
        let entry = known.and_then(|key| self.deduplication.find(key.slot, message_id, now));
        if let Some(entry) = entry {
            let same = self.deduplication.get(entry).is_some_and(|e| e.hash == hash);
            if same && !self.executes_repeats() {
                return self.handle_repeat(now, peer, message, raw, entry);
            }
            if !same {
                self.counters.reused_message_ids += 1;
                self.dropped(peer.clone(), Reason::CoapDedup);
            }
            if let Some((_, progress)) = self.deduplication.remove(&mut self.peers, entry.slot) {
                self.orphan(now, &progress);
            }
        } else if let Some(key) = known {
            self.forget_expired_twin(now, key, message_id);
        }
        let rate = self.bounds(peer.listener).max_request_rate;
        if let Some(state) = known.and_then(|key| self.peers.get_mut(key))
            && rate > 0
            && state.rate.is_too_fast(secs(now), rate)
        {
            return self.refuse_rate(peer, &message);
        }
        if !self.make_room(now) {
            return self.refuse_overload(peer, &message);
        }
        let from = From::Datagram { peer, hash, length: raw.len(), again: None };
        self.execute(now, from, message);
    }

    /// A request came on a connection, which has made room for it: nothing repeats it there, and its
    /// answer goes by its token alone (RFC 8323 §3.3).
    pub(super) fn handle_connected_request(
        &mut self,
        now: Instant,
        peer: Key,
        place: Place,
        message: Message,
    ) {
        self.execute(now, From::Connection { peer, place }, message);
    }

    /// An entry whose time is over but that has not been swept yet must not stay beside a new one.
    fn forget_expired_twin(&mut self, now: Instant, peer: Key, message_id: u16) {
        if let Some(old) = self.deduplication.find(peer.slot, message_id, Instant::ZERO) {
            self.forget(now, old.slot);
        }
    }

    #[cfg(feature = "planted-faults")]
    const fn executes_repeats(&self) -> bool {
        self.config.faults.no_duplicate_check
    }

    #[cfg(not(feature = "planted-faults"))]
    #[allow(clippy::unused_self)]
    const fn executes_repeats(&self) -> bool {
        false
    }

    fn handle_repeat(
        &mut self,
        now: Instant,
        peer: Peer,
        message: Message,
        raw: &[u8],
        entry: Key,
    ) {
        self.counters.repeats += 1;
        let confirmable = message.head.kind == Kind::Confirmable;
        let message_id = message.head.message_id;
        let Some(found) = self.deduplication.get(entry) else { return };
        let hash = found.hash;
        // RFC 7252 §4.5: a repeated NON is silently ignored.
        if confirmable {
            match &found.progress {
                Progress::Answered(stored) => {
                    let bytes = stored.as_slice();
                    send(&mut self.out, &peer, |out| out.extend_from_slice(bytes));
                }
                Progress::Repeatable => {
                    let (length, again) = (raw.len(), Some(entry));
                    let from = From::Datagram { peer, hash, length, again };
                    return self.execute(now, from, message);
                }
                Progress::Pending(exchange) => {
                    if let Some(exchange) = self.exchanges.get_mut(*exchange) {
                        exchange.acknowledged = true;
                    }
                    self.send_empty(&peer, Kind::Acknowledgement, message_id);
                }
                Progress::Acknowledged => {
                    self.send_empty(&peer, Kind::Acknowledgement, message_id);
                }
            }
        }
        self.dropped(peer, Reason::CoapDedup);
    }

    /// Makes a place in the table; `false` when nobody may give way.
    fn make_room(&mut self, now: Instant) -> bool {
        if self.exchanges.len() >= self.config.max_exchanges {
            return false;
        }
        // Two for one, so that the table shrinks while requests come.
        for _ in 0..2 {
            if let Some(slot) = self.deduplication.expired(now) {
                self.forget(now, slot);
            }
        }
        if !self.deduplication.is_full() {
            return true;
        }
        let Some(victim) = self.deduplication.victim(&self.peers, now) else { return false };
        self.counters.evicted += 1;
        if let Some((peer, progress)) = self.deduplication.remove(&mut self.peers, victim) {
            self.orphan(now, &progress);
            if let Some(state) = self.peers.at(peer) {
                let peer = state.peer.clone();
                self.dropped(peer, Reason::QuotaExceeded);
            }
            self.peers.release(peer, now);
        }
        true
    }

    /// The exchange of a forgotten entry may still be answered, within the entry's lifetime.
    fn orphan(&mut self, now: Instant, progress: &Progress) {
        self.close_orphans(now);
        if let Progress::Pending(exchange) = progress {
            self.orphans.push_back((now + EXCHANGE_LIFETIME, *exchange));
        }
    }

    /// Closes exchanges that outlived their entry and were never answered.
    pub(super) fn close_orphans(&mut self, now: Instant) {
        while let Some((at, key)) = self.orphans.front().copied() {
            let over = at <= now || self.orphans.len() > self.config.max_exchanges;
            if !over && self.exchanges.get(key).is_some() {
                return;
            }
            self.orphans.pop_front();
            self.close_exchange(now, key);
        }
    }

    /// Forgets an entry, and the exchange if it was never answered.
    pub(super) fn forget(&mut self, now: Instant, entry: u32) {
        let Some((peer, progress)) = self.deduplication.remove(&mut self.peers, entry) else {
            return;
        };
        if let Progress::Pending(exchange) = progress {
            self.close_exchange(now, exchange);
        }
        self.peers.release(peer, now);
    }

    fn close_exchange(&mut self, now: Instant, key: Key) {
        let Some(exchange) = self.exchanges.remove(key) else { return };
        if let Some(slot) = self.connection_of(exchange.peer) {
            self.connection_answered(slot, exchange.place);
        }
        if let Some(observation) = exchange.observation {
            self.lose_observation(now, observation, Reason::ObserveRejected);
        }
        if let Some(state) = self.peers.get_mut(exchange.peer) {
            state.exchanges -= 1;
        }
        self.peers.release(exchange.peer.slot, now);
    }

    /// Gives a request a place and hands it up, or answers it at once with an error.
    fn execute(&mut self, now: Instant, from: From, message: Message) {
        let Message { head, token, packet } = message;
        let Some(packet) = packet else { return };
        let manner = Manner::of(&packet);
        let confirmable = head.kind == Kind::Confirmable;
        let (key, length, again, place) = match from {
            From::Datagram { ref peer, length, again, .. } => {
                let key = self.peers.find_or_insert(peer.clone(), &mut self.random);
                (key, length, again, Place::default())
            }
            From::Connection { peer, place } => (peer, 0, None, place),
        };
        let Some(state) = self.peers.get(key) else { return };
        let conn = self.connections.id_at(state.connection);
        let sender = Sender { peer: &state.peer, conn, confirmable };
        let parsed = read(sender, head.code, packet, &self.config);
        let request = parsed.as_ref().ok().map(|parsed| &parsed.request);
        let echo = parsed.as_ref().ok().and_then(|parsed| parsed.echo);
        let room = self.room(now, key, echo, length);
        let observe = request.and_then(|request| request.observe);
        let method = request.map(|request| request.method);
        let exchange = self.exchanges.insert(Exchange {
            peer: key,
            token,
            message_id: head.message_id,
            confirmable,
            is_read: method == Some(Method::Get),
            registers: observe == Some(Observe::Register),
            manner,
            room,
            wanted: parsed.as_ref().map(|parsed| parsed.wanted).unwrap_or_default(),
            parts: parsed.as_ref().ok().and_then(Parts::of),
            acknowledged: false,
            held: false,
            observation: None,
            entry: again,
            place,
        });
        if let Some(state) = self.peers.get_mut(key) {
            state.exchanges += 1;
        }
        if let Some(entry) = again.and_then(|entry| self.deduplication.get_mut(entry)) {
            entry.progress = Progress::Pending(exchange);
        } else if let From::Datagram { hash, .. } = from {
            let message_id = head.message_id;
            let new = NewEntry { peer: key.slot, message_id, confirmable, hash, exchange };
            let entry = self.deduplication.insert(&mut self.peers, now, new);
            if let Some(exchange) = self.exchanges.get_mut(exchange) {
                exchange.entry = Some(entry);
            }
            self.schedule_sweep();
        }
        match parsed {
            Ok(parsed) => self.hand_up(now, key, exchange, parsed),
            Err(refusal) => self.refuse(now, exchange, refusal),
        }
    }

    fn hand_up(&mut self, now: Instant, peer: Key, key: Key, mut parsed: Parsed) {
        let Some(exchange) = self.exchanges.get(key) else { return };
        if exchange.registers && exchange.room.is_some() {
            // RFC 7641 §7, RFC 9175 §2.4: notifications are no answers; who asked for them is known.
            return self.challenge(now, key);
        }
        match self.take_part(now, peer, key, &mut parsed) {
            Taken::HandUp => {}
            Taken::Answered(body) => return self.answer_part(now, key, body),
            Taken::Refused(refusal) => return self.refuse(now, key, refusal),
        }
        self.counters.requests += 1;
        let mut request = parsed.request;
        request.exchange = ExchangeId(key.to_u64());
        let Some(exchange) = self.exchanges.get(key) else { return };
        let token = exchange.token;
        if request.observe.is_some() {
            self.withdraw_final(now, peer, &token);
        }
        if request.observe == Some(Observe::Deregister) {
            // RFC 7641 §3.6: a GET with Observe 1 and the same token.
            if let Some(observation) = self.observations.find(peer, &token) {
                self.lose_observation(now, observation, Reason::ClientDisconnect);
            }
        }
        if request.confirmable && request.conn.is_none() {
            self.unanswered.push_back((now + self.config.piggyback_timeout, key));
        }
        self.events.push_back(Event::Request(Box::new(request)));
    }

    fn refuse(&mut self, now: Instant, key: Key, refusal: Refusal) {
        let Some(exchange) = self.exchanges.get(key) else { return };
        let (peer, confirmable) = (exchange.peer, exchange.confirmable);
        self.dropped_key(peer, refusal.reason);
        if !confirmable && refusal.body.code == Code::BAD_OPTION {
            // RFC 7252 §5.4.1: a NON with an unrecognised critical option is rejected (§4.3), here
            // by silence.
            self.close_exchange(now, key);
            return;
        }
        self.answer(now, key, *refusal.body, None);
    }

    /// The layer above usually answers what came last: then nothing is left behind.
    pub(super) fn no_longer_unanswered(&mut self, key: Key) {
        if self.unanswered.back().is_some_and(|(_, last)| *last == key) {
            self.unanswered.pop_back();
        }
        while let Some((_, first)) = self.unanswered.front() {
            if self.exchanges.get(*first).is_some() {
                return;
            }
            self.unanswered.pop_front();
        }
        if self.unanswered.capacity() > 1_024 {
            self.unanswered = VecDeque::new(); // after a burst
        }
    }

    /// Requests that have waited too long for a piggybacked response (RFC 7252 §5.2.2).
    pub(super) fn acknowledge_unanswered(&mut self, now: Instant) {
        while self.unanswered.front().is_some_and(|(at, _)| *at <= now) {
            let Some((_, key)) = self.unanswered.pop_front() else { return };
            let Some(exchange) = self.exchanges.get_mut(key) else { continue };
            if core::mem::replace(&mut exchange.acknowledged, true) {
                continue;
            }
            let message_id = exchange.message_id;
            if let Some(state) = self.peers.get(exchange.peer) {
                send(&mut self.out, &state.peer, |out| {
                    write_empty(out, Kind::Acknowledgement, message_id);
                });
            }
        }
    }
}
