//! Connections as EMQX's CoAP gateway has them (the preset `emqx-ps`): `POST /mqtt/connection` gives a
//! client a token, PUT is its heartbeat, DELETE its goodbye, and every other request shows client id
//! and token. What it has here is a [`Pass`]; CoAP's own connections (RFC 8323) are another thing.
//!
//! Who a client is is found out as for an MQTT CONNECT (`entry`). `connection_required` of a listener
//! says whether there is another way in. A pass ends with its client's goodbye, when nothing was heard
//! of it in time, when its client id connects from elsewhere, and when a reload takes away what it
//! stands on; what its client observes ends with it. The answers are those of EMQX's documents and
//! code, which are no RFC's; tokens are longer than there, for they are not to be guessed. Where the
//! two disagree (a wrong password is 4.01 in one, 4.00 in the other) the documents hold.

mod entry;
mod proof;
mod table;

use std::sync::Arc;

use motegate_coap::endpoint::{Code, ExchangeId, Method, Request as CoapRequest, Response};
use motegate_mapping::MapError;
use motegate_message::{Peer, Reason, Seq, SessionKey};

pub(crate) use entry::Asker;
use entry::{Credentials, INVALID, MISSING, NoEntry};
pub(crate) use proof::{Proofs, is_coap_ticket};
pub(crate) use table::{Pass, PassId, Passes};

use crate::admission::{Rates, Verdict};
use crate::notice::{Notice, NoticeKind};
use crate::{Core, Protocol};

/// Who is to be let in, and where it waits for that.
#[derive(Debug)]
struct Newcomer {
    exchange: ExchangeId,
    peer: Peer,
    key: SessionKey,
    user: Option<Arc<str>>,
    is_proven: bool,
}

impl Core {
    /// A request for `/mqtt/connection`.
    pub(super) fn coap_connection(&mut self, request: CoapRequest) {
        if request.more_follows {
            // RFC 7959 §2.5: nothing happens before the last block.
            let response = Response::new(Code::CONTINUE);
            return self.coap.respond(&self.turn, request.exchange, response, Seq::NONE);
        }
        let done = match request.method {
            Method::Post => return self.connect(request),
            Method::Put => self.heartbeat(&request),
            Method::Delete => return self.disconnect(&request),
            _ => {
                let text = "this path takes POST, PUT, DELETE".into();
                Err(MapError { reason: Reason::MethodNotAllowed, text })
            }
        };
        match done {
            Ok(()) => {
                let response = Response::new(Code::CHANGED);
                self.coap.respond(&self.turn, request.exchange, response, Seq::NONE);
            }
            Err(error) => self.refuse_entry(&request.peer, request.exchange, None, error),
        }
    }

    fn connect(&mut self, request: CoapRequest) {
        let newcomer = self.newcomer(&request);
        let entry = newcomer.map_err(NoEntry::from).and_then(|newcomer| {
            self.judge_place(&newcomer)?;
            self.judge_rate(&newcomer)?;
            let shown = Credentials::of(&request.query);
            let password = self.judge_password(&request, &shown)?;
            Ok((newcomer, password))
        });
        match entry {
            Ok((newcomer, Some(password))) => self.prove(request, password, Some(newcomer.key)),
            Ok((newcomer, None)) => self.let_in(newcomer),
            Err(error) => self.refuse_entry(&request.peer, request.exchange, None, error),
        }
    }

    fn newcomer(&self, request: &CoapRequest) -> Result<Newcomer, MapError> {
        let bad = |text: &str| MapError { reason: Reason::BadOption, text: text.to_owned() };
        let client = Credentials::of(&request.query).client.unwrap_or_default();
        if client.is_empty() {
            return Err(bad("Login Failed: clientid is required"));
        }
        let most = self.config.mqtt_of(request.peer.listener).max_client_id_length;
        if client.contains('\0') {
            return Err(bad("Login Failed: clientid holds NUL"));
        }
        if client.len() > most {
            return Err(bad("Login Failed: clientid is too long (max_client_id_length)"));
        }
        Ok(Newcomer {
            exchange: request.exchange,
            peer: request.peer.clone(),
            key: SessionKey::new(&self.listener(request.peer.listener).realm, client),
            user: None,
            is_proven: self.coap_identity(request.conn).is_some(),
        })
    }

    /// One client at an address, and so many in all.
    fn judge_place(&mut self, newcomer: &Newcomer) -> Result<(), MapError> {
        if let Some(there) = self.passes.of_peer(&newcomer.peer) {
            let same = self.passes.get(there).is_some_and(|pass| pass.key == newcomer.key);
            let text = match same {
                true => "Bad Request: client has connected".into(),
                false => {
                    format!("Bad Request: channel has registered by: {}", newcomer.key.client_id())
                }
            };
            return Err(MapError { reason: Reason::BadOption, text });
        }
        let is_new = self.passes.of_client(&newcomer.key).is_none();
        if is_new && self.passes.len() >= self.config.max_coap_logins {
            self.passes.refused += 1;
            self.login_limited(&newcomer.peer, "max_coap_logins");
            let text = "Login Failed: too many clients are connected (max_coap_logins)".into();
            return Err(MapError { reason: Reason::QuotaExceeded, text });
        }
        Ok(())
    }

    /// As fast as MQTT's clients may come, and take a client id from each other.
    fn judge_rate(&mut self, newcomer: &Newcomer) -> Result<(), MapError> {
        let limit = if self.passes.of_client(&newcomer.key).is_some() {
            let fought = self.sn_admission.is_fought_over(self.turn.now, &newcomer.key);
            fought.then_some("takeovers")
        } else {
            let rates = Rates::of(&self.config, self.listener(newcomer.peer.listener));
            let from = (newcomer.peer.listener.0, Some(newcomer.peer.addr.ip()));
            match self.sn_admission.judge(self.turn.now, rates, from, &newcomer.key) {
                Verdict::Now | Verdict::Later(_) => None,
                Verdict::Refused(limit) => Some(limit),
            }
        };
        let Some(limit) = limit else { return Ok(()) };
        self.login_limited(&newcomer.peer, limit);
        let text = format!("Login Failed: too many come at once ({limit})");
        Err(MapError { reason: Reason::Overloaded, text })
    }

    fn login_limited(&mut self, peer: &Peer, limit: &'static str) {
        let notice = Notice::of_peer(NoticeKind::Limited, Protocol::Coap, peer);
        self.notice(Notice { limit: Some(limit), ..notice });
    }

    /// It is who it says: it gets its token. Whoever had its client id has it no longer.
    fn let_in(&mut self, newcomer: Newcomer) {
        if let Err(error) = self.judge_place(&newcomer) {
            return self.refuse_entry(
                &newcomer.peer,
                newcomer.exchange,
                Some(&newcomer.key),
                error,
            );
        }
        if let Some(old) = self.passes.of_client(&newcomer.key) {
            self.sn_admission.taken_over(self.turn.now, &newcomer.key);
            self.end_pass(old, Reason::TakenOver, None);
        }
        let Newcomer { exchange, peer, key, user, is_proven } = newcomer;
        let kind = NoticeKind::Connected { present: false };
        let notice = Notice::of_peer(kind, Protocol::Coap, &peer);
        self.notice(Notice { client: Some(key.clone()), ..notice });
        let until = self.turn.now + table::patience(self.config.coap_heartbeat);
        let pass = Pass::new(key, user, is_proven, peer);
        let (_, token) = self.passes.insert(pass, until);
        let response = Response { payload: token.into(), ..Response::new(Code::CREATED) };
        self.coap.respond(&self.turn, exchange, response, Seq::NONE);
    }

    fn heartbeat(&mut self, request: &CoapRequest) -> Result<(), MapError> {
        let shown = Credentials::of(&request.query);
        if shown.pass().is_none() {
            return Err(MapError { reason: Reason::BadOption, text: MISSING.into() });
        }
        let invalid = || MapError { reason: Reason::AuthFailed, text: INVALID.into() };
        let id = self.shown_pass(request, &shown).ok_or_else(invalid)?;
        self.pass_heard(id, &request.peer);
        Ok(())
    }

    /// 2.02 also to whoever is not connected (`t_delete_without_connection`), to whom nothing happens.
    fn disconnect(&mut self, request: &CoapRequest) {
        let shown = Credentials::of(&request.query);
        let found = self.shown_pass(request, &shown);
        let required = self.listener(request.peer.listener).connection_required;
        let refused = match (found, shown.pass()) {
            (None, None) if required => Some((Reason::BadOption, MISSING)),
            (None, Some(_)) if self.passes.of_peer(&request.peer).is_some() => {
                Some((Reason::AuthFailed, INVALID))
            }
            _ => None,
        };
        if let Some((reason, text)) = refused {
            let error = MapError { reason, text: text.into() };
            return self.refuse_entry(&request.peer, request.exchange, None, error);
        }
        self.coap.respond(&self.turn, request.exchange, Response::new(Code::DELETED), Seq::NONE);
        if let Some(id) = found {
            self.end_pass(id, Reason::ClientDisconnect, Some(&request.peer));
        }
    }

    /// A client's token holds no longer, and it observes nothing more: a last 4.01 says so, except at
    /// the address that has said goodbye itself (RFC 7641 §4.2).
    pub(crate) fn end_pass(&mut self, id: PassId, reason: Reason, said_by: Option<&Peer>) {
        let Some(pass) = self.passes.remove(id) else { return };
        for observation in pass.observations {
            let observer = self.coap.observer(observation);
            if said_by.is_some_and(|peer| observer.is_some_and(|o| o.addr == peer.addr)) {
                self.coap.cancel_observation(&self.turn, observation);
            } else {
                self.finish_observation(observation, Code::UNAUTHORIZED);
            }
        }
        let notice = Notice::of_peer(NoticeKind::Disconnected(reason), Protocol::Coap, &pass.peer);
        self.notice(Notice { client: Some(pass.key), ..notice });
    }

    pub(super) fn pass_heard(&mut self, id: PassId, peer: &Peer) {
        let until = self.turn.now + table::patience(self.config.coap_heartbeat);
        self.passes.heard(id, peer, until);
    }

    /// Clients that were not heard in time.
    pub(super) fn passes_due(&mut self) {
        while let Some(id) = self.passes.due(self.turn.now) {
            self.passes.silent += 1;
            self.end_pass(id, Reason::KeepaliveTimeout, None);
        }
    }
}
