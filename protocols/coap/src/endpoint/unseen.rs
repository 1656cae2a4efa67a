//! Requests that are refused before anything is remembered of them: for want of room, or because they
//! come too fast. The same request is a new one next time.

use alloc::format;
use core::time::Duration;

use motegate_message::{Peer, Reason};

use super::answer::is_unwanted;
use super::body::Body;
use super::contract::{Code, Response};
use super::request::Manner;
use super::{Endpoint, send};
use crate::message::{Kind, Message};

/// When to try again after a table was full (RFC 7252 §5.9.3.4: Max-Age of 5.03).
const RETRY_AFTER: Duration = Duration::from_secs(10);

impl Endpoint {
    /// No place for a request.
    pub(super) fn refuse_overload(&mut self, peer: Peer, message: &Message) {
        self.refuse_unseen(peer, message, overloaded(), Reason::Overloaded);
    }

    /// RFC 8516 §3: too many requests of this peer; Max-Age says when to come again.
    pub(super) fn refuse_rate(&mut self, peer: Peer, message: &Message) {
        self.counters.rate_limited += 1;
        let response = too_fast(self.bounds(peer.listener).max_request_rate);
        self.refuse_unseen(peer, message, response, Reason::RateLimited);
    }

    /// The same of a connection, in an answer like any other.
    pub(super) fn refuse_connected_rate(&mut self, slot: u32, message: &Message) {
        self.counters.rate_limited += 1;
        let response = too_fast(self.bounds_at(slot).max_request_rate);
        self.refuse_connected(slot, message, response, Reason::RateLimited);
    }

    /// No place for a request of a connection.
    pub(super) fn refuse_connected_overload(&mut self, slot: u32, message: &Message) {
        self.refuse_connected(slot, message, overloaded(), Reason::Overloaded);
    }

    fn refuse_connected(
        &mut self,
        slot: u32,
        message: &Message,
        response: Response,
        reason: Reason,
    ) {
        let Some(peer) = self.connections.at(slot).map(|connection| connection.name()) else {
            return;
        };
        let (body, unwanted) = unseen(message, response);
        if !unwanted {
            self.send_body(slot, &message.token, &body, None);
        }
        self.dropped(peer, reason);
    }

    /// Says no without remembering anything: the same request is a new one next time.
    fn refuse_unseen(&mut self, peer: Peer, message: &Message, response: Response, reason: Reason) {
        let (body, unwanted) = unseen(message, response);
        let (kind, message_id) = match message.head.kind {
            Kind::Confirmable => (Kind::Acknowledgement, message.head.message_id),
            _ => (Kind::NonConfirmable, self.random.next_u16()),
        };
        if unwanted && kind == Kind::Acknowledgement {
            self.send_empty(&peer, kind, message_id);
        } else if !unwanted {
            send(&mut self.out, &peer, |out| {
                body.encode(out, kind, message_id, &message.token, None);
            });
        }
        self.dropped(peer, reason);
    }
}

fn overloaded() -> Response {
    let mut response = Response::error(Code::SERVICE_UNAVAILABLE, "too many requests at once");
    response.max_age = Some(RETRY_AFTER);
    response
}

fn too_fast(most: u32) -> Response {
    let text = format!("at most {most} requests a second");
    let mut response = Response::error(Code::TOO_MANY_REQUESTS, text);
    response.max_age = Some(Duration::from_secs(1));
    response
}

/// As the client wants to read it, and whether it wants to (RFC 7967).
fn unseen(message: &Message, response: Response) -> (Body, bool) {
    let manner = message.packet.as_ref().map(Manner::of).unwrap_or_default();
    let body = Body::from(response);
    let body = if manner.problem { body.into_problem() } else { body };
    let unwanted = is_unwanted(manner.no_response, body.code);
    (body, unwanted)
}
