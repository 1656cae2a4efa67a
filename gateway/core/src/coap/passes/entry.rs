//! Who asks, judged before a request is looked at: by certificate, by a pass, by user name and password
//! in the query (which is how EMQX's clients say them without a connection), or nobody in particular,
//! where the listener lets anyone in.
//!
//! As for a CONNECT: a password that is shown is looked at also where none is asked for, unless there
//! are no `users`. What else is shown and not asked for (a token of another time) is passed over where
//! anyone may come in. Secrets leave the query here: nothing behind knows them.

use std::sync::Arc;

use motegate_coap::endpoint::{Code, ExchangeId, Request as CoapRequest, Response};
use motegate_mapping::MapError;
use motegate_message::{Peer, Reason, Seq, SessionKey};

use super::super::{RETRY_AFTER, reply_for};
use super::table::PassId;
use crate::notice::{Notice, NoticeKind};
use crate::{Core, Protocol};

/// EMQX's words.
pub(super) const INVALID: &str = "Invalid token or clientid in connection mode";
pub(super) const MISSING: &str = "Missing token or clientid in connection mode";

const NO_PASSWORD: &str = "Login Failed: username and password are missing";

/// Query keys that say what is secret, in long and in short.
const SECRETS: [&str; 6] = ["username", "u", "password", "p", "token", "t"];

/// What a query shows of its client.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Credentials<'a> {
    pub(super) client: Option<&'a str>,
    token: Option<&'a str>,
    user: Option<&'a str>,
    password: Option<&'a str>,
}

impl<'a> Credentials<'a> {
    pub(super) fn of(query: &'a [String]) -> Self {
        let value = |long: &str, short: &str| {
            let pairs = || query.iter().filter_map(|pair| pair.split_once('='));
            let named = |name: &str| pairs().find(|(key, _)| *key == name).map(|(_, value)| value);
            named(short).or_else(|| named(long))
        };
        Credentials {
            client: value("clientid", "c"),
            token: value("token", "t"),
            user: value("username", "u"),
            password: value("password", "p"),
        }
    }

    /// What shows a pass.
    pub(super) fn pass(&self) -> Option<(&'a str, &'a str)> {
        self.client.zip(self.token)
    }
}

/// A user name and a password, to be looked at.
pub(super) type Password = (String, String);

/// Who asks.
#[derive(Debug, Clone)]
pub(crate) struct Asker {
    /// Its name.
    pub(crate) key: SessionKey,
    /// Who it has proved to be.
    pub(crate) identity: Option<Arc<str>>,
    /// By a password of `users`.
    pub(crate) is_user: bool,
    pub(crate) pass: Option<PassId>,
}

/// What becomes of a request.
enum Entry {
    Open(Asker),
    Prove(Password),
}

/// Why it does not come in.
pub(super) enum NoEntry {
    Refused(MapError),
    /// Too many wrong passwords came under its address, which may be another's: it has to show that it
    /// is its own (RFC 9175 §2.4). So nobody is locked out by what is sent in his name.
    Unproven,
}

impl From<MapError> for NoEntry {
    fn from(error: MapError) -> Self {
        NoEntry::Refused(error)
    }
}

impl Core {
    /// A request that is none for `/mqtt/connection`.
    pub(in crate::coap) fn coap_enter(&mut self, mut request: CoapRequest) {
        let of_emqx = self.is_of_emqx(&request);
        match self.judge_asker(&request, of_emqx) {
            Ok(Entry::Open(asker)) => {
                if of_emqx {
                    forget_secrets(&mut request.query);
                }
                if let Some(id) = asker.pass {
                    self.pass_heard(id, &request.peer);
                }
                self.coap_serve(request, asker);
            }
            Ok(Entry::Prove(password)) => self.prove(request, password, None),
            Err(error) => self.refuse_entry(&request.peer, request.exchange, None, error),
        }
    }

    /// Whether EMQX's words are looked for in the query of a request.
    fn is_of_emqx(&self, request: &CoapRequest) -> bool {
        self.listener(request.peer.listener).connection_required
            || !self.table.client_words(&request.path).is_empty()
    }

    /// A password has proved to be the user's.
    pub(super) fn coap_proved(&mut self, mut request: CoapRequest, user: Arc<str>) {
        let key = self.coap_client(&request);
        forget_secrets(&mut request.query);
        let asker = Asker { key, identity: Some(user), is_user: true, pass: None };
        self.coap_serve(request, asker);
    }

    fn judge_asker(&mut self, request: &CoapRequest, of_emqx: bool) -> Result<Entry, NoEntry> {
        let shown = match of_emqx {
            true => Credentials::of(&request.query),
            false => Credentials::default(),
        };
        let proven = self.coap_identity(request.conn).cloned();
        if let Some(id) = self.shown_pass(request, &shown)
            && let Some(pass) = self.passes.get(id)
        {
            let key = if proven.is_some() { self.coap_client(request) } else { pass.key.clone() };
            let (is_user, user) = (pass.user.is_some(), pass.user.clone());
            return Ok(Entry::Open(Asker {
                key,
                identity: user.or(proven),
                is_user,
                pass: Some(id),
            }));
        }
        let listener = self.listener(request.peer.listener);
        let is_open = listener.anonymous || proven.is_some();
        let (reason, text) = match shown.pass() {
            Some(_) if listener.connection_required => (Reason::AuthFailed, INVALID),
            Some(_) if !is_open && shown.user.is_none() => (Reason::AuthFailed, INVALID),
            _ if listener.connection_required => (Reason::BadOption, MISSING),
            _ => {
                return Ok(match self.judge_password(request, &shown)? {
                    Some(password) => Entry::Prove(password),
                    None => {
                        let key = self.coap_client(request);
                        let (identity, is_user, pass) = (proven, false, None);
                        Entry::Open(Asker { key, identity, is_user, pass })
                    }
                });
            }
        };
        Err(MapError { reason, text: text.into() }.into())
    }

    /// The pass that client id and token show, where it lets in: one that was had without proof does
    /// not on a listener that wants one.
    pub(super) fn shown_pass(
        &self,
        request: &CoapRequest,
        shown: &Credentials<'_>,
    ) -> Option<PassId> {
        let (client, token) = shown.pass().filter(|_| self.passes.len() > 0)?;
        let listener = self.listener(request.peer.listener);
        let id = self.passes.find(&SessionKey::new(&listener.realm, client), token)?;
        let pass = self.passes.get(id)?;
        (listener.anonymous || pass.is_known()).then_some(id)
    }

    /// The password to be looked at, if any; `None`: it may come in as it is.
    pub(super) fn judge_password(
        &self,
        request: &CoapRequest,
        shown: &Credentials<'_>,
    ) -> Result<Option<Password>, NoEntry> {
        if self.coap_identity(request.conn).is_some() {
            return Ok(None);
        }
        let has_users = !self.config.users.is_empty();
        let failed = |text: &str| MapError { reason: Reason::AuthFailed, text: text.to_owned() };
        match (shown.user, shown.password) {
            (Some(user), Some(password)) if has_users => {
                self.judge_address(request.exchange, &request.peer)?;
                Ok(Some((user.to_owned(), password.to_owned())))
            }
            (Some(_), None) if has_users => Err(failed("Login Failed: no password").into()),
            _ => match self.closed_to_anonymous(request.peer.listener) {
                Some(_) if has_users && self.is_of_emqx(request) => {
                    Err(MapError { reason: Reason::AuthMissing, text: NO_PASSWORD.into() }.into())
                }
                Some(text) => Err(MapError { reason: Reason::AuthMissing, text }.into()),
                None => Ok(None),
            },
        }
    }

    /// Whether a password from this address is looked at, and a right one believed: not if others of
    /// it were wrong too often.
    pub(super) fn judge_address(&self, exchange: ExchangeId, from: &Peer) -> Result<(), NoEntry> {
        let (now, addr) = (self.turn.now, from.addr.ip());
        if self.lockout.is_locked(now, addr, from.listener) {
            let text = "Login Failed: too many failures from this address".into();
            return Err(MapError { reason: Reason::LockedOut, text }.into());
        }
        let is_doubted = self.coap.is_in_doubt(exchange);
        if is_doubted && self.lockout_in_doubt.is_locked(now, addr, from.listener) {
            return Err(NoEntry::Unproven);
        }
        Ok(())
    }

    /// A password was wrong.
    pub(super) fn count_wrong(&mut self, exchange: ExchangeId, from: &Peer) {
        let (now, listener) = (self.turn.now, from.listener);
        let own = self.config.own_auth_failures(listener);
        let lockout = match self.coap.is_in_doubt(exchange) {
            true => &mut self.lockout_in_doubt,
            false => &mut self.lockout,
        };
        lockout.failed(now, from.addr.ip(), self.config.max_auth_failures, own);
    }

    pub(super) fn refuse_entry(
        &mut self,
        peer: &Peer,
        exchange: ExchangeId,
        client: Option<&SessionKey>,
        why: impl Into<NoEntry>,
    ) {
        let error = match why.into() {
            NoEntry::Refused(error) => error,
            NoEntry::Unproven => return self.coap.ask_for_echo(&self.turn, exchange),
        };
        let kind = NoticeKind::Refused(error.reason);
        let notice = Notice::of_peer(kind, Protocol::Coap, peer);
        self.notice(Notice { text: Some(error.text.clone()), client: client.cloned(), ..notice });
        let mut response = Response::error(reply_for(error.reason), error.text);
        response.max_age = match (error.reason, response.code.class()) {
            (Reason::LockedOut, _) => Some(crate::lockout::LOCKED), // RFC 8516
            (_, 5) => Some(RETRY_AFTER),                            // RFC 7252 §5.9.3.4
            _ => None,
        };
        debug_assert_ne!(response.code, Code::INTERNAL_SERVER_ERROR);
        self.coap.respond(&self.turn, exchange, response, Seq::NONE);
    }
}

fn forget_secrets(query: &mut Vec<String>) {
    query.retain(|pair| pair.split_once('=').is_none_or(|(key, _)| !SECRETS.contains(&key)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_and_short_words() {
        let query = ["clientid=a", "t=1", "u=x=y", "p=", "token=2", "c"].map(str::to_owned);
        let shown = Credentials::of(&query);
        assert_eq!(shown.pass(), Some(("a", "1")), "the short one goes before, as with EMQX");
        assert_eq!((shown.user, shown.password), (Some("x=y"), Some("")));
        let mut query = query.to_vec();
        forget_secrets(&mut query);
        assert_eq!(query, ["clientid=a", "c"]);
    }
}
