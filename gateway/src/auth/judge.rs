//! [`Judge`]: looks at proofs, one after another, and takes as long for a user that does not exist as
//! for a wrong password (mqtt.md §2.15).
//!
//! A user that does not exist has a stand-in: a verifier derived from its name, with the iterations
//! and the length of salt that most users have, and a salt that stays the same as long as `users`
//! does, also over restarts: it depends on what is kept of all passwords, which nobody outside knows.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use motegate_core::{Authenticate, Proof, Users, Verdict, Verifier};
use motegate_message::Reason;

use super::password::{self, Key, hash, hmac};
use super::recent::Recent;
use super::scram::{self, server};

/// Whom to take for a user that does not exist.
#[derive(Debug)]
struct StandIn {
    /// Of whom it was made.
    of: Arc<Users>,
    key: Key,
    iterations: u32,
    salt: usize,
}

/// The thread's memory.
#[derive(Debug)]
pub(super) struct Judge {
    recent: Recent,
    stand_in: Option<StandIn>,
}

impl Judge {
    /// Knows nothing yet.
    pub(super) fn new() -> Result<Self, getrandom::Error> {
        let mut key = Key::default();
        getrandom::fill(&mut key)?;
        Ok(Judge { recent: Recent::new(key), stand_in: None })
    }

    /// Whether a proof holds.
    pub(super) fn judge(&mut self, request: &Authenticate) -> Verdict {
        let users = &request.users;
        match &request.proof {
            Proof::Password { user, password } => self.password(users, user, password),
            Proof::Exchange { method, data, state } if &**method == scram::METHOD => match state {
                None => self.first(users, data),
                Some(state) => self.last(users, state, data),
            },
            Proof::Exchange { .. } => Verdict::Deny(Reason::AuthMethod),
        }
    }

    fn password(&mut self, users: &Arc<Users>, user: &str, password: &[u8]) -> Verdict {
        let Some((name, verifier)) = users.get(user) else {
            let stand_in = self.stand_in(users, user);
            let _ = std::hint::black_box(password::is_right(&stand_in, password));
            return Verdict::Deny(Reason::AuthFailed);
        };
        if !self.recent.knows(user, verifier, password) {
            if !password::is_right(verifier, password) {
                return Verdict::Deny(Reason::AuthFailed);
            }
            self.recent.remember(user, verifier, password);
        }
        Verdict::Allow { user: name.clone(), data: None }
    }

    fn first(&mut self, users: &Arc<Users>, data: &[u8]) -> Verdict {
        let mut nonce = [0; scram::NONCE];
        if getrandom::fill(&mut nonce).is_err() {
            return Verdict::Deny(Reason::Overloaded);
        }
        let Ok(first) = server::ClientFirst::read(data) else {
            return Verdict::Deny(Reason::AuthFailed);
        };
        let (_, verifier) = self.find(users, &first.user);
        let (answer, state) = first.answer(&verifier, &nonce);
        Verdict::Continue { data: answer.into(), state: state.into() }
    }

    fn last(&mut self, users: &Arc<Users>, state: &[u8], data: &[u8]) -> Verdict {
        let Ok(exchange) = server::Exchange::read(state) else {
            return Verdict::Deny(Reason::AuthFailed);
        };
        let (name, verifier) = self.find(users, &exchange.first.user);
        match (exchange.finish(&verifier, data), name) {
            (Ok(signature), Some(user)) => {
                Verdict::Allow { user, data: Some(Bytes::from(signature)) }
            }
            _ => Verdict::Deny(Reason::AuthFailed),
        }
    }

    /// The verifier of a user, or that of his stand-in, who has no name.
    fn find(&mut self, users: &Arc<Users>, user: &str) -> (Option<Arc<str>>, Verifier) {
        let prepared = stringprep::saslprep(user).ok();
        let found = users.get(user).or_else(|| users.get(&prepared?));
        match found {
            Some((name, verifier)) => (Some(name.clone()), verifier.clone()),
            None => (None, self.stand_in(users, user)),
        }
    }

    fn stand_in(&mut self, users: &Arc<Users>, user: &str) -> Verifier {
        if self.stand_in.as_ref().is_none_or(|known| !Arc::ptr_eq(&known.of, users)) {
            self.stand_in = Some(StandIn::of(users.clone()));
        }
        let known = self.stand_in.as_ref().expect("it was made just now");
        let name = user.as_bytes();
        Verifier {
            iterations: known.iterations,
            salt: hmac(&known.key, &[b"salt", name])[..known.salt.min(32)].into(),
            stored_key: hmac(&known.key, &[b"stored", name]),
            server_key: hmac(&known.key, &[b"server", name]),
        }
    }
}

impl StandIn {
    fn of(users: Arc<Users>) -> Self {
        let mut sorted: Vec<_> = users.iter().collect();
        sorted.sort_unstable_by(|a, b| a.0.cmp(b.0));
        let mut kinds: BTreeMap<(u32, usize), usize> = BTreeMap::new();
        let mut secrets = Vec::with_capacity(sorted.len() * size_of::<Key>());
        for (_, verifier) in sorted {
            *kinds.entry((verifier.iterations, verifier.salt.len())).or_default() += 1;
            secrets.extend_from_slice(&verifier.server_key);
        }
        let usual = kinds.into_iter().max_by_key(|(_, count)| *count).map(|(kind, _)| kind);
        let (iterations, salt) = usual.unwrap_or((password::ITERATIONS, password::SALT));
        let key = hmac(&hash(&secrets), &[b"motegate stand-in"]);
        StandIn { of: users, key, iterations, salt }
    }
}
