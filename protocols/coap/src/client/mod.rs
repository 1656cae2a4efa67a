//! The client side of CoAP, towards one server: for the simulation, the tests and the command line.
//!
//! Sends requests with tokens, repeats CON ones (RFC 7252 §4.2) with NSTART outstanding, matches
//! piggybacked and separate responses (§5.3.2), keeps observations with the freshness check of
//! RFC 7641 §3.4, acknowledges what it wants and resets what it does not know, and sends Echo options
//! back (RFC 9175 §2.3). Bodies larger than a message go and come in blocks (RFC 7959), up to a limit.
//! [`Client::new`] speaks by datagrams, [`Client::over_connection`] by a connection (RFC 8323), of which
//! `connected` is what differs. No socket and no clock: `handle_*` in, `poll_*` out. Left out:
//! multicast, caching, Q-Block (RFC 9177), Alternative-Address of a Release.

mod blocks;
mod connected;
mod connection;
mod contract;
mod transfer;

pub use connection::{Loss, Wanted};
pub use contract::{Event, Flaw, Request, RequestId, Response};

use alloc::boxed::Box;

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::time::Duration;

use hashbrown::HashMap;
use motegate_timers::{Backoff, Instant, Timer, TimerQueue, earliest};

use crate::Config;
use crate::endpoint::{Code, Method};
use crate::message::{EMPTY, Head, Kind, Message, Token, decode, write_empty, write_head};
use crate::options::{definition, is_critical};
use crate::random::Random;

use self::connection::Connection;
use self::transfer::{Part, Stage, Transfer};
use crate::block::LARGEST;

/// How long the answer to a CON may take (EXCHANGE_LIFETIME).
const CON_PATIENCE: Duration = Duration::from_secs(247);
/// How long the answer to a NON may take (NON_LIFETIME).
const NON_PATIENCE: Duration = Duration::from_secs(145);
/// RFC 7641 §3.4: after 128 s any notification is newer.
const FRESH_AFTER: Duration = Duration::from_secs(128);
/// Message ids from the server that are remembered, to acknowledge repetitions.
const REMEMBERED: usize = 64;
/// Largest body of a response unless said otherwise.
const MAX_BODY: usize = 1 << 20;
/// How often one request is sent again because the server asks for its Echo option.
const MAX_ECHOES: u8 = 2;

#[derive(Debug)]
struct Pending {
    id: RequestId,
    request: Request,
    message_id: u16,
    phase: Phase,
    /// The request at hand ends an observation.
    deregisters: bool,
    /// An empty CON instead of the request.
    pings: bool,
    timer: Timer,
    /// Sequence number and time of the newest notification.
    newest: Option<(u32, Instant)>,
    /// A body in parts.
    transfer: Option<Box<Transfer>>,
    /// How often the server wanted to have its Echo option back.
    echoes: u8,
}

#[derive(Debug)]
enum Phase {
    /// Waits for NSTART.
    Queued,
    /// CON without acknowledgement.
    Outstanding { bytes: Vec<u8>, backoff: Backoff },
    /// The response is still to come.
    Waiting,
    /// Answered with Observe.
    Observing,
    /// An observation whose connection has ended.
    Lost,
}

/// Requests and observations towards one server.
#[derive(Debug)]
pub struct Client {
    config: Config,
    random: Random,
    next_message_id: u16,
    next_id: u64,
    next_token: u32,
    pending: HashMap<Token, Pending>,
    tokens: HashMap<RequestId, Token>,
    outstanding: HashMap<u16, Token>,
    queue: VecDeque<Token>,
    timers: TimerQueue<Token>,
    /// What came last from the server, and whether it was welcome.
    remembered: VecDeque<(u16, bool)>,
    out: VecDeque<Vec<u8>>,
    events: VecDeque<Event>,
    /// Notifications that came after newer ones.
    stale: u64,
    /// Of the last response that had one; it goes with the next request (RFC 9175 §2.3).
    echo: Option<Vec<u8>>,
    /// Size exponent of the largest block.
    block_exponent: u32,
    max_body: usize,
    /// What datagrams do not have.
    connection: Option<Box<Connection>>,
}

impl Client {
    /// A client without requests; of `config` the transmission parameters count. `seed` feeds
    /// message ids, tokens and back-off.
    #[must_use]
    pub fn new(config: Config, seed: u64) -> Self {
        let mut random = Random::new(seed);
        Client {
            config,
            next_message_id: random.next_u16(),
            next_id: 0,
            next_token: u32::from(random.next_u16()) << 16 | u32::from(random.next_u16()),
            random,
            pending: HashMap::new(),
            tokens: HashMap::new(),
            outstanding: HashMap::new(),
            queue: VecDeque::new(),
            timers: TimerQueue::new(),
            remembered: VecDeque::new(),
            out: VecDeque::new(),
            events: VecDeque::new(),
            stale: 0,
            echo: None,
            block_exponent: LARGEST,
            max_body: MAX_BODY,
            connection: None,
        }
    }

    /// Sends a request, as soon as NSTART allows.
    pub fn request(&mut self, now: Instant, request: Request) -> RequestId {
        self.enqueue(now, request, false)
    }

    /// Sends an empty CON, which a living server rejects (RFC 7252 §4.3, "CoAP ping"), or over a
    /// connection a Ping (RFC 8323 §5.4); [`Event::Pong`] reports the answer.
    pub fn ping(&mut self, now: Instant) -> RequestId {
        self.enqueue(now, Request::new(Method::Get, ""), true)
    }

    fn enqueue(&mut self, now: Instant, request: Request, pings: bool) -> RequestId {
        self.next_id += 1;
        let id = RequestId(self.next_id);
        let token = self.next_token();
        let transfer = match self.connection {
            Some(_) => None, // what fits a message is known when it is sent
            None => self.transfer(&request),
        };
        self.tokens.insert(id, token);
        self.pending.insert(token, Pending { request, pings, transfer, ..Pending::new(id) });
        self.queue.push_back(token);
        self.pump(now);
        id
    }

    fn next_token(&mut self) -> Token {
        self.next_token = self.next_token.wrapping_add(1);
        Token::new(&self.next_token.to_be_bytes()).unwrap_or_default()
    }

    /// Registers an observation again, under its token (RFC 7641 §3.3.1): its value is old, the
    /// server may have forgotten it, or its connection has ended. Answered as at first, by a response.
    /// `false` when there is no such observation.
    pub fn reregister(&mut self, now: Instant, id: RequestId) -> bool {
        let Some(token) = self.tokens.get(&id).copied() else { return false };
        let Some(pending) = self.pending.get_mut(&token) else { return false };
        if !matches!(pending.phase, Phase::Observing | Phase::Lost) || pending.deregisters {
            return false;
        }
        pending.phase = Phase::Queued;
        pending.newest = None; // a server that was restarted counts anew
        self.drop_parts(token);
        self.queue.push_back(token);
        self.pump(now);
        true
    }

    /// Ends an observation with a GET and Observe 1 (RFC 7641 §3.6); its answer is reported as the
    /// response to the same request.
    pub fn deregister(&mut self, now: Instant, id: RequestId) {
        let Some(token) = self.tokens.get(&id).copied() else { return };
        let Some(pending) = self.pending.get_mut(&token) else { return };
        match pending.phase {
            Phase::Observing => {}
            Phase::Lost => {
                self.remove(token);
                return;
            }
            _ => return,
        }
        pending.request.observe = false;
        pending.phase = Phase::Queued;
        pending.newest = None;
        pending.deregisters = true;
        self.drop_parts(token);
        self.queue.push_back(token);
        self.pump(now);
    }

    /// Knows nothing of a request any more: what still comes for it is reset.
    pub fn forget(&mut self, now: Instant, id: RequestId) {
        if let Some(token) = self.tokens.get(&id).copied() {
            self.remove(token);
            self.pump(now);
        }
    }

    /// A datagram from the server; what is no message is ignored.
    pub fn handle_datagram(&mut self, now: Instant, bytes: &[u8]) {
        let Ok(message) = decode(bytes) else { return };
        let head = message.head;
        match head.kind {
            Kind::Acknowledgement if head.code == EMPTY => self.acknowledged(now, head.message_id),
            Kind::Acknowledgement => self.piggybacked(now, message),
            Kind::Reset => self.reset(head.message_id),
            Kind::Confirmable if head.code == EMPTY => self.answer(Kind::Reset, head.message_id),
            Kind::Confirmable | Kind::NonConfirmable => self.separate(now, message),
        }
        self.pump(now);
    }

    /// Deadlines up to `now` are due.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(token) = self.timers.pop(now) {
            let Some(pending) = self.pending.get_mut(&token) else { continue };
            if !self.timers.fires(&mut pending.timer, token, now) {
                continue;
            }
            if let Phase::Outstanding { bytes, backoff } = &mut pending.phase
                && backoff.retry()
            {
                self.out.push_back(bytes.clone());
                let deadline = now + backoff.timeout();
                self.timers.set(&mut pending.timer, token, deadline);
                continue;
            }
            if let Some(request) = self.end(token) {
                self.events.push_back(Event::TimedOut { request });
            }
        }
        self.connection_timeout(now);
        self.pump(now);
    }

    /// The next datagram to send.
    pub fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        self.out.pop_front()
    }

    /// The next thing to report.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// When `handle_timeout` is wanted.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let connection = self.connection.as_deref().and_then(Connection::due);
        earliest(self.timers.next_deadline(), connection)
    }

    /// Requests and observations that are not over.
    #[must_use]
    pub fn open(&self) -> usize {
        self.pending.len()
    }

    /// Notifications that came late and were not reported.
    #[must_use]
    pub const fn stale(&self) -> u64 {
        self.stale
    }

    fn pump(&mut self, now: Instant) {
        if self.connection.is_some() {
            return self.pump_connection(now);
        }
        while self.outstanding.len() < usize::from(self.config.nstart.max(1)) {
            let Some(token) = self.queue.pop_front() else { return };
            self.transmit(now, token);
        }
    }

    fn transmit(&mut self, now: Instant, token: Token) {
        let ask = self.wanted_blocks();
        let Some(pending) = self.pending.get_mut(&token) else { return };
        let message_id = self.next_message_id;
        self.next_message_id = message_id.wrapping_add(1);
        let confirmable = pending.request.confirmable;
        let kind = if confirmable { Kind::Confirmable } else { Kind::NonConfirmable };
        let mut bytes = Vec::new();
        if pending.pings {
            write_empty(&mut bytes, kind, message_id);
        } else {
            let head = Head { kind, code: pending.request.code(), message_id };
            write_head(&mut bytes, head, &token);
            let echo = self.echo.take();
            let part = Part { echo, ..Part::of(pending, ask) };
            pending.request.encode(&mut bytes, &part);
        }
        pending.message_id = message_id;
        let patience = if confirmable {
            let timeout = self
                .random
                .first_timeout(self.config.ack_timeout, self.config.ack_random_factor_permille);
            let backoff = Backoff::doubling(timeout, self.config.max_retransmit);
            pending.phase = Phase::Outstanding { bytes: bytes.clone(), backoff };
            self.outstanding.insert(message_id, token);
            timeout
        } else {
            pending.phase = Phase::Waiting;
            NON_PATIENCE
        };
        self.timers.set(&mut pending.timer, token, now + patience);
        self.out.push_back(bytes);
    }

    fn acknowledged(&mut self, now: Instant, message_id: u16) {
        let Some(token) = self.outstanding.remove(&message_id) else { return };
        if let Some(pending) = self.pending.get_mut(&token) {
            pending.phase = Phase::Waiting;
            self.timers.set(&mut pending.timer, token, now + CON_PATIENCE);
        }
    }

    fn piggybacked(&mut self, now: Instant, message: Message) {
        // RFC 7252 §5.3.2: message id and token must match.
        let message_id = message.head.message_id;
        if self.outstanding.get(&message_id) != Some(&message.token) {
            return;
        }
        if let Some(flaw) = unknown_critical(&message) {
            return self.break_off(message.token, flaw);
        }
        if let Some((token, response)) = Response::read(message, false) {
            self.responded(now, token, response);
        }
    }

    fn reset(&mut self, message_id: u16) {
        let non = |pending: &Pending| {
            let waits = matches!(pending.phase, Phase::Waiting);
            waits && !pending.request.confirmable && pending.message_id == message_id
        };
        let found = self.outstanding.get(&message_id).copied();
        let found = found.or_else(|| {
            // RFC 7252 §4.3: a NON message may be rejected, too.
            self.pending.iter().find(|(_, pending)| non(pending)).map(|(token, _)| *token)
        });
        let Some(token) = found else { return };
        let pings = self.pending.get(&token).is_some_and(|pending| pending.pings);
        if let Some(request) = self.end(token) {
            self.events.push_back(if pings {
                Event::Pong { request }
            } else {
                Event::Reset { request }
            });
        }
    }

    /// A response or a notification in a message of its own.
    fn separate(&mut self, now: Instant, message: Message) {
        let confirmable = message.head.kind == Kind::Confirmable;
        let message_id = message.head.message_id;
        if let Some((_, welcome)) = self.remembered.iter().find(|(id, _)| *id == message_id) {
            let answer = if *welcome { Kind::Acknowledgement } else { Kind::Reset };
            if confirmable {
                self.answer(answer, message_id);
            }
            return;
        }
        let is_response = message.head.code >> 5 >= 2;
        let wanted = is_response && self.pending.contains_key(&message.token);
        let unknown = unknown_critical(&message);
        let welcome = wanted && unknown.is_none();
        if self.remembered.len() == REMEMBERED {
            self.remembered.pop_front();
        }
        self.remembered.push_back((message_id, welcome));
        if !welcome {
            // RFC 7641 §3.6: a RST to a notification, NON too, ends an observation.
            self.answer(Kind::Reset, message_id);
            if let (true, Some(flaw)) = (wanted, unknown) {
                self.break_off(message.token, flaw);
            }
            return;
        }
        if confirmable {
            self.answer(Kind::Acknowledgement, message_id);
        }
        if let Some((token, response)) = Response::read(message, confirmable) {
            self.responded(now, token, response);
        }
    }

    fn responded(&mut self, now: Instant, token: Token, mut response: Response) {
        let Some(pending) = self.pending.get_mut(&token) else { return };
        if let Some(echo) = response.echo.take() {
            self.echo = Some(echo);
            let notifies = matches!(pending.phase, Phase::Observing);
            if response.code == Code::UNAUTHORIZED && !notifies && pending.echoes < MAX_ECHOES {
                // RFC 9175 §2.3: the same request again, with the option.
                pending.echoes += 1;
                return self.ask_next(now, token);
            }
        }
        if pending.deregisters && response.observe.is_some() {
            self.stale += 1; // a notification that was under way
            return;
        }
        let request = pending.id;
        // A response is also the acknowledgement that may have been lost (RFC 7252 §5.2.2).
        self.outstanding.remove(&pending.message_id);
        let notifies = matches!(pending.phase, Phase::Observing);
        let observes = response.observe.is_some()
            && response.code.class() == 2
            && (notifies || pending.request.observe);
        if let (true, Some(sequence)) = (observes, response.observe) {
            // RFC 8323 §7.1: on a connection the value is ignored, they come in order.
            let ordered = self.connection.is_some();
            let newer = |newest| is_fresh(newest, (sequence, now));
            if !ordered && pending.newest.is_some_and(|newest| !newer(newest)) {
                self.stale += 1;
                return;
            }
            pending.newest = Some((sequence, now));
            pending.phase = Phase::Observing;
            pending.timer.clear();
        }
        if notifies || observes {
            self.drop_parts(token);
        }
        let stage = Stage { notifies, observes };
        let Some((response, notifies)) = self.assemble(now, token, response, stage) else { return };
        if !observes {
            self.remove(token);
        }
        self.events.push_back(if notifies {
            Event::Notification { request, response }
        } else {
            Event::Response { request, response }
        });
    }

    fn answer(&mut self, kind: Kind, message_id: u16) {
        let mut bytes = Vec::new();
        write_empty(&mut bytes, kind, message_id);
        self.out.push_back(bytes);
    }

    fn remove(&mut self, token: Token) -> Option<Pending> {
        let pending = self.pending.remove(&token)?;
        if self.tokens.get(&pending.id) == Some(&token) {
            self.tokens.remove(&pending.id); // not where it is a part of an observation
            self.drop_parts(token);
        }
        if self.outstanding.get(&pending.message_id) == Some(&token) {
            self.outstanding.remove(&pending.message_id);
        }
        Some(pending)
    }
}

/// RFC 7252 §5.4.1: an option that a recipient must know, and this one does not.
fn unknown_critical(message: &Message) -> Option<Flaw> {
    let is_unknown = |number: &u16| is_critical(*number) && definition(*number).is_none();
    let mut numbers = message.packet.as_ref()?.options().map(|(number, _)| *number);
    let code = Code(message.head.code);
    numbers.find(is_unknown).map(|number| Flaw::CriticalOption { number, code })
}

/// RFC 7641 §3.4.
fn is_fresh((v1, t1): (u32, Instant), (v2, t2): (u32, Instant)) -> bool {
    const HALF: u32 = 1 << 23;
    (v1 < v2 && v2 - v1 < HALF) || (v1 > v2 && v1 - v2 > HALF) || t2 > t1 + FRESH_AFTER
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn freshness_of_rfc_7641() {
        let at = Instant::from_secs;
        assert!(is_fresh((1, at(0)), (2, at(0))));
        assert!(!is_fresh((2, at(0)), (2, at(0))));
        assert!(!is_fresh((2, at(0)), (1, at(128))));
        assert!(is_fresh((2, at(0)), (1, at(129))));
        assert!(is_fresh((0xff_ffff, at(0)), (0, at(1))));
        assert!(!is_fresh((0, at(0)), (0xff_ffff, at(1))));
    }
}
