//! Requests that came by a multicast group (RFC 7252 §8): discovery, and nothing else.
//!
//! Taken are NON GETs of `.well-known/core` (§8.1); whatever else comes by a group is dropped without
//! a word: there is neither a reset nor an error in answer to a group. What is found leaves after a
//! random part of [`Config::leisure`](crate::Config::leisure) (§8.2), to the asker alone, as a NON of
//! its own; at most [`MAX_WAITING`] answers wait. Nothing is remembered of an asker: a copy of a
//! request whose answer waits is no second one, one that comes later is.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use motegate_message::{Peer, Reason, Turn};
use motegate_timers::Instant;

use super::answer::is_unwanted;
use super::block::Wanted;
use super::body::Body;
use super::contract::{Code, Event, Method, Response};
use super::request::{Manner, Sender, read};
use super::{Endpoint, send};
use crate::link_format;
use crate::message::{Kind, Message, Token, decode};

/// Answers that wait for their time; beyond it requests are dropped.
pub const MAX_WAITING: usize = 256;

/// Somebody looks for servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Discovery {
    /// Who.
    pub peer: Peer,
    /// Uri-Query options in order: filters (RFC 6690 §4.1).
    pub query: Vec<String>,
    token: Token,
    wanted: Wanted,
    /// No-Response bits (RFC 7967 §2.1).
    no_response: u8,
}

/// What leaves later.
#[derive(Debug)]
struct Answer {
    peer: Peer,
    token: Token,
    body: Body,
}

/// Answers by the time when they leave.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    answers: BTreeMap<(Instant, u64), Answer>,
    next: u64,
}

impl Waiting {
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.answers.first_key_value().map(|((at, _), _)| *at)
    }

    fn has(&self, peer: &Peer, token: &Token) -> bool {
        self.answers.values().any(|answer| answer.peer == *peer && answer.token == *token)
    }
}

impl Endpoint {
    /// A datagram came by a group.
    pub fn handle_group_datagram(&mut self, peer: Peer, bytes: &[u8]) {
        let Ok(message) = decode(bytes) else {
            return self.dropped(peer, Reason::Malformed);
        };
        match self.discovery(&peer, message) {
            // The same request by another way: another of its groups, or interfaces.
            Ok(discovery) if self.waiting.has(&peer, &discovery.token) => {
                self.dropped(peer, Reason::CoapDedup);
            }
            Ok(discovery) => {
                self.counters.group_requests += 1;
                self.events.push_back(Event::Discovery(Box::new(discovery)));
            }
            Err(reason) => self.dropped(peer, reason),
        }
    }

    fn discovery(&self, peer: &Peer, message: Message) -> Result<Discovery, Reason> {
        let Message { head, token, packet } = message;
        // §8.1: multicast requests are non-confirmable.
        let Some(packet) = packet.filter(|_| head.kind == Kind::NonConfirmable) else {
            return Err(Reason::ProtocolError);
        };
        let no_response = Manner::of(&packet).no_response;
        let sender = Sender { peer, conn: None, confirmable: false };
        let parsed = read(sender, head.code, packet, &self.config);
        let parsed = parsed.map_err(|refusal| refusal.reason)?;
        let request = parsed.request;
        let core = request.path.iter().map(String::as_str).eq([".well-known", "core"]);
        if request.method != Method::Get || !core {
            return Err(Reason::MethodNotAllowed);
        }
        // RFC 7252 §5.10.8, §8.2: what is found is there, and 4.12 is no answer to a group.
        let named = request.if_match.iter().any(|etag| !etag.is_empty());
        if request.if_none_match || named {
            return Err(Reason::PreconditionFailed);
        }
        let links = request.accept.is_none_or(|accept| accept == link_format::CONTENT_FORMAT);
        // RFC 7959 §2.8: the rest of an answer is asked for by unicast.
        if !links || request.later_block {
            return Err(Reason::BadOption);
        }
        if self.waiting.answers.len() >= MAX_WAITING {
            return Err(Reason::QuotaExceeded);
        }
        let query = request.query;
        Ok(Discovery { peer: peer.clone(), query, token, wanted: parsed.wanted, no_response })
    }

    /// Answers with links; there is no other answer (§8.2: what matches nothing is not answered).
    pub fn answer_discovery(&mut self, turn: &Turn, discovery: Discovery, response: Response) {
        let Discovery { peer, token, wanted, no_response, .. } = discovery;
        if response.code != Code::CONTENT || is_unwanted(no_response, response.code) {
            return;
        }
        let Ok(body) = Body::from(response).part(wanted, self.config.block_size) else { return };
        let most = u64::try_from(self.config.leisure.as_micros()).unwrap_or(u64::MAX);
        let leisure = self.random.next_u64() % most.saturating_add(1).max(1);
        let at = turn.now + Duration::from_micros(leisure);
        let waiting = &mut self.waiting;
        waiting.answers.insert((at, waiting.next), Answer { peer, token, body });
        waiting.next += 1;
    }

    /// Sends what has waited long enough.
    pub(super) fn answer_groups(&mut self, now: Instant) {
        while self.waiting.next_deadline().is_some_and(|at| at <= now) {
            let Some((_, answer)) = self.waiting.answers.pop_first() else { return };
            let Answer { peer, token, body } = answer;
            let known = self.peers.find(&peer).and_then(|key| self.peers.get_mut(key));
            let message_id = match known {
                Some(state) => state.message_id(now),
                None => self.random.next_u16(),
            };
            self.counters.group_answers += 1;
            send(&mut self.out, &peer, |out| {
                body.encode(out, Kind::NonConfirmable, message_id, &token, None);
            });
        }
    }
}
