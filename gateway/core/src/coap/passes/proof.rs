//! [`Proofs`]: requests that wait until the password in them was looked at, which takes a while and is
//! done elsewhere ([`Output::Authenticate`]). Bounded in number and bytes; whoever comes then hears
//! 5.03.

use std::sync::Arc;

use hashbrown::HashMap;
use motegate_coap::endpoint::Request as CoapRequest;
use motegate_mapping::MapError;
use motegate_message::{Reason, SessionKey};

use super::Newcomer;
use super::entry::Password;
use crate::contract::{Authenticate, Proof, Verdict};
use crate::{Core, Output, Users};

/// Requests that wait at most.
const MAX_WAITING: usize = 4_096;
/// Bytes of their payloads at most.
const MAX_BYTES: usize = 16 << 20;
/// What tells tickets from those of MQTT's connections, whose generations do not come so far.
const TICKET: u64 = 1 << 63;

/// Whether a verdict is about one of them.
pub(crate) const fn is_coap_ticket(ticket: u64) -> bool {
    ticket & TICKET != 0
}

#[derive(Debug)]
struct Waiting {
    request: CoapRequest,
    /// Whom it was compared with.
    users: Arc<Users>,
    /// Who wants to connect; `None` of any other request.
    connects: Option<SessionKey>,
}

/// What waits, by ticket.
#[derive(Debug, Default)]
pub(crate) struct Proofs {
    waiting: HashMap<u64, Waiting>,
    bytes: usize,
    last: u64,
}

impl Core {
    /// Has a password looked at, then goes on with the request.
    pub(super) fn prove(
        &mut self,
        request: CoapRequest,
        (user, password): Password,
        connects: Option<SessionKey>,
    ) {
        let bytes = self.proofs.bytes.saturating_add(request.payload.len());
        if self.proofs.waiting.len() >= MAX_WAITING || bytes > MAX_BYTES {
            let text = "too many logins are under way".into();
            let error = MapError { reason: Reason::Overloaded, text };
            return self.refuse_entry(&request.peer, request.exchange, connects.as_ref(), error);
        }
        self.proofs.bytes = bytes;
        self.proofs.last = (self.proofs.last + 1) & !TICKET;
        let ticket = self.proofs.last | TICKET;
        let users = self.config.users.clone();
        let within = self.config.mqtt_of(request.peer.listener).auth_timeout;
        let waiting = Waiting { request, users: users.clone(), connects };
        self.proofs.waiting.insert(ticket, waiting);
        let proof = Proof::Password { user, password: password.into_bytes().into() };
        self.output(Output::Authenticate(Box::new(Authenticate { ticket, users, proof, within })));
    }

    /// `Input::Verdict` about a request.
    pub(crate) fn coap_verdict(&mut self, ticket: u64, verdict: Verdict) {
        let Some(waiting) = self.proofs.waiting.remove(&ticket) else { return };
        self.proofs.bytes -= waiting.request.payload.len();
        let judged = match verdict {
            Verdict::Allow { user, .. } => self.still_a_user(&waiting.users, &user),
            Verdict::Deny(reason) => Err(reason),
            Verdict::Continue { .. } => Err(Reason::AuthMethod),
        };
        let (exchange, peer) = (waiting.request.exchange, &waiting.request.peer);
        let reason = match judged {
            // Who is right in the end has guessed, if others of its address were wrong so often.
            Ok(user) => match self.judge_address(exchange, peer) {
                Ok(()) => return self.proved(waiting, user),
                Err(why) => {
                    return self.refuse_entry(peer, exchange, waiting.connects.as_ref(), why);
                }
            },
            Err(reason) => reason,
        };
        if reason == Reason::AuthFailed {
            self.count_wrong(exchange, peer);
        }
        let text = match reason {
            Reason::Overloaded => "Login Failed: busy, try again".into(),
            _ => "Login Failed: not_authorized".into(),
        };
        let reason = match reason {
            Reason::Overloaded => reason,
            _ => Reason::AuthFailed,
        };
        let error = MapError { reason, text };
        self.refuse_entry(peer, exchange, waiting.connects.as_ref(), error);
    }

    /// Another configuration may hold by now.
    fn still_a_user(&self, before: &Users, user: &str) -> Result<Arc<str>, Reason> {
        let now = self.config.users.get(user).ok_or(Reason::AuthMissing)?;
        let same = before.get(user).is_some_and(|(_, old)| old == now.1);
        same.then(|| now.0.clone()).ok_or(Reason::AuthMissing)
    }

    fn proved(&mut self, waiting: Waiting, user: Arc<str>) {
        let Waiting { request, connects, .. } = waiting;
        let Some(key) = connects else { return self.coap_proved(request, user) };
        let (exchange, peer, user) = (request.exchange, request.peer, Some(user));
        self.let_in(Newcomer { exchange, peer, key, user, is_proven: false });
    }
}
