//! Who an MQTT client is, found out before its session is touched (mqtt.md §1.2, §2.1, §2.15).
//!
//! What needs no computation is decided here at once: a listener that is open to anyone, an identity
//! that the transport has proved, an address that is locked out. A password or a step of an enhanced
//! authentication goes out as [`Output::Authenticate`] and comes back as `Input::Verdict`; until then
//! the CONNECT waits. Whoever is gone by then is not missed. A method's identity wins over a user
//! name, a certificate's over a password that nobody asked for. Authorisation is not here.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use motegate_message::{ConnectionId, ListenerId, Reason};
use motegate_mqtt::endpoint::Connect;

use crate::coap::is_coap_ticket;
use crate::contract::{Authenticate, Proof, Verdict};
use crate::{Core, Output, Users};

/// A client whose identity is being found out.
#[derive(Debug)]
pub(crate) struct Login {
    /// What it wants; `None` in a re-authentication.
    connect: Option<Box<Connect>>,
    /// Whom it was compared with.
    users: Arc<Users>,
    /// A verdict is under way.
    asked: bool,
    /// What the next verdict of an exchange depends on.
    state: Option<Bytes>,
}

/// What is to be done with a CONNECT.
enum Entry {
    /// It may come in as it is.
    Open,
    /// Its proof must be looked at.
    Ask(Proof),
    /// It may not; what to change, in words.
    Refuse(Reason, Option<String>),
}

impl Core {
    /// A CONNECT that its endpoint finds good.
    pub(crate) fn mqtt_login(&mut self, connect: Connect) {
        let conn = connect.conn;
        match self.judge_entry(&connect) {
            Entry::Open => self.mqtt_open(connect),
            Entry::Refuse(reason, text) => {
                if reason == Reason::AuthFailed {
                    self.count_failure(conn);
                }
                self.mqtt_refuse(conn, reason, text);
            }
            Entry::Ask(_) if self.is_locked_out(conn) => {
                self.mqtt_refuse(conn, Reason::LockedOut, locked_out());
            }
            Entry::Ask(proof) => self.ask_for_verdict(conn, Some(Box::new(connect)), proof),
        }
    }

    fn judge_entry(&mut self, connect: &Connect) -> Entry {
        let has_users = !self.config.users.is_empty();
        let anonymous = self.listener(connect.listener).anonymous;
        let identity = self.mqtt_client(connect.conn).is_some_and(|c| c.identity.is_some());
        if let Some(auth) = &connect.auth {
            if !has_users {
                let text = "no `users` are configured that could authenticate in this way";
                return Entry::Refuse(Reason::AuthMethod, Some(text.into()));
            }
            let (method, data) = (auth.method.clone(), auth.data.clone().unwrap_or_default());
            return Entry::Ask(Proof::Exchange { method, data, state: None });
        }
        if identity {
            return Entry::Open;
        }
        let refuse = |reason| Entry::Refuse(reason, Some(self.how_to_get_in(connect.listener)));
        match (&connect.user_name, &connect.password) {
            (Some(user), Some(password)) if has_users => {
                let (user, password) = (user.clone(), password.clone());
                Entry::Ask(Proof::Password { user, password })
            }
            (Some(_), None) if has_users => {
                let text = "a user name without a password";
                Entry::Refuse(Reason::AuthFailed, Some(text.into()))
            }
            _ if anonymous => Entry::Open,
            (Some(_), _) => refuse(Reason::AuthFailed),
            (None, _) => refuse(Reason::AuthMissing),
        }
    }

    /// Which line to add for a client without an identity.
    fn how_to_get_in(&self, listener: ListenerId) -> String {
        let name = &self.listener(listener).name;
        let users = if self.config.users.is_empty() {
            "add users (`motegate passwd NAME` writes the line)"
        } else {
            "give the client a user name and password of `users`"
        };
        format!(
            "listener `{name}` takes no anonymous clients: {users}, or add `anonymous: true` to it \
             to let anyone in"
        )
    }

    fn ask_for_verdict(&mut self, conn: ConnectionId, connect: Option<Box<Connect>>, proof: Proof) {
        let users = self.config.users.clone();
        let login = Login { connect, users: users.clone(), asked: true, state: None };
        self.logins.insert(conn, login);
        self.authenticate(conn, users, proof);
    }

    fn authenticate(&mut self, conn: ConnectionId, users: Arc<Users>, proof: Proof) {
        let listener = self.mqtt_client(conn).map(|client| client.listener);
        let config = listener.map_or(&self.config.mqtt, |listener| self.config.mqtt_of(listener));
        let within = config.auth_timeout;
        let request = Authenticate { ticket: conn.get(), users, proof, within };
        self.output(Output::Authenticate(Box::new(request)));
    }

    /// The next word of an enhanced authentication, or, `again`, the first of another one.
    pub(crate) fn mqtt_auth(
        &mut self,
        conn: ConnectionId,
        method: Arc<str>,
        data: Option<Bytes>,
        again: bool,
    ) {
        let data = data.unwrap_or_default();
        if again && self.is_locked_out(conn) {
            return self.mqtt.refuse(&self.turn, conn, Reason::LockedOut);
        }
        if again && self.config.users.is_empty() {
            return self.mqtt.refuse(&self.turn, conn, Reason::AuthMethod);
        }
        if again {
            return self.ask_for_verdict(conn, None, Proof::Exchange { method, data, state: None });
        }
        let Some(login) = self.logins.get_mut(&conn) else { return };
        login.asked = true;
        let (users, state) = (login.users.clone(), login.state.take());
        self.authenticate(conn, users, Proof::Exchange { method, data, state });
    }

    /// `Input::Verdict`. One that nobody waits for any more is nothing.
    pub(crate) fn verdict(&mut self, ticket: u64, verdict: Verdict) {
        if is_coap_ticket(ticket) {
            return self.coap_verdict(ticket, verdict);
        }
        let conn = ConnectionId::from_u64(ticket);
        let Some(login) = self.logins.get_mut(&conn).filter(|login| login.asked) else { return };
        if let Verdict::Continue { data, state } = verdict {
            (login.asked, login.state) = (false, Some(state));
            return self.mqtt.challenge(&self.turn, conn, &data);
        }
        let Some(login) = self.logins.remove(&conn) else { return };
        if login.connect.is_some() && !self.mqtt.is_connecting(conn) {
            // It has given up, or its time was over.
            self.drop_mqtt_client(conn);
            return;
        }
        match verdict {
            Verdict::Allow { user, data } => self.allow(conn, login, &user, data),
            Verdict::Deny(reason) => self.deny(conn, &login, reason),
            Verdict::Continue { .. } => {}
        }
    }

    fn allow(&mut self, conn: ConnectionId, login: Login, user: &str, data: Option<Bytes>) {
        // Another configuration may hold by now.
        let Some((name, verifier)) = self.config.users.get(user) else {
            return self.deny(conn, &login, Reason::AuthMissing);
        };
        if login.users.get(user).is_none_or(|(_, old)| old != verifier) {
            return self.deny(conn, &login, Reason::AuthMissing);
        }
        let name = name.clone();
        if self.is_locked_out(conn) {
            return self.deny(conn, &login, Reason::LockedOut);
        }
        let is_exchange = login.connect.as_ref().is_none_or(|connect| connect.auth.is_some());
        let Some(client) = self.mqtt_client(conn) else { return };
        (client.identity, client.is_user) = (Some(name), true);
        if is_exchange {
            self.mqtt.authenticated(&self.turn, conn, data);
        }
        if let Some(connect) = login.connect {
            self.mqtt_open(*connect);
        }
    }

    fn deny(&mut self, conn: ConnectionId, login: &Login, mut reason: Reason) {
        let mut text = None;
        if reason == Reason::AuthFailed {
            if self.is_locked_out(conn) {
                // It was under way when the one too many failed: its answer tells nothing.
                (reason, text) = (Reason::LockedOut, locked_out());
            } else {
                text = Some(why_failed(login));
                if self.count_failure(conn) {
                    text = locked_out();
                }
            }
        }
        if login.connect.is_some() {
            self.mqtt_refuse(conn, reason, text);
        } else {
            self.mqtt.refuse(&self.turn, conn, reason);
        }
    }

    fn is_locked_out(&mut self, conn: ConnectionId) -> bool {
        let now = self.turn.now;
        let from = self.peer_of(conn);
        from.is_some_and(|(listener, addr)| self.lockout.is_locked(now, addr, listener))
    }

    /// Whether it was the one too many.
    fn count_failure(&mut self, conn: ConnectionId) -> bool {
        let (now, rate) = (self.turn.now, self.config.max_auth_failures);
        let Some((listener, addr)) = self.peer_of(conn) else { return false };
        self.lockout.failed(now, addr, rate, self.config.own_auth_failures(listener))
    }

    /// Listener and address; `None` on a Unix socket: who may open it is settled by its file.
    fn peer_of(&mut self, conn: ConnectionId) -> Option<(ListenerId, IpAddr)> {
        let client = self.mqtt_client(conn)?;
        Some((client.listener, client.peer?.ip()))
    }
}

/// For the log only. A name that is no user's is not repeated: people type passwords there.
fn why_failed(login: &Login) -> String {
    let name = login.connect.as_ref().filter(|connect| connect.auth.is_none());
    match name.and_then(|connect| connect.user_name.as_deref()) {
        Some(name) if login.users.get(name).is_some() => {
            format!("the password of user `{name}` is wrong")
        }
        Some(_) => "there is no user of that name".into(),
        None => "the exchange failed: a wrong password, or no user of that name".into(),
    }
}

fn locked_out() -> Option<String> {
    let secs = crate::lockout::LOCKED.as_secs();
    Some(format!(
        "too many failures from this address (`max_auth_failures` of `limits` or of the listener): not listened to for {secs} s"
    ))
}
