//! [`Passes`]: who has connected as EMQX's clients do, and has a token to show.
//!
//! A client id has one pass, and so has a peer. Nothing is kept of a token: it is a MAC of its pass's
//! number under a key of this process, 96 bits that are compared in constant time, so that a restart
//! forgets them all. A pass ends when nothing was heard for 1.5 times `coap.heartbeat`; their deadlines
//! are in one lazy queue. Bounded by `limits.max_coap_logins`, which whoever inserts judges.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use data_encoding::BASE64URL_NOPAD;
use hashbrown::HashMap;
use hmac::{Hmac, KeyInit as _, Mac as _};
use motegate_coap::endpoint::ObservationId;
use motegate_message::{ListenerId, Peer, SessionKey};
use motegate_timers::{Instant, Timer, TimerQueue};
use sha2::Sha256;

/// Bytes of a token; its text, of 16 characters, needs no escape in a URI.
const TOKEN: usize = 12;

/// A pass's number, which is never given again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct PassId(u64);

/// A client's.
#[derive(Debug)]
pub(crate) struct Pass {
    /// The client id that it has said.
    pub(crate) key: SessionKey,
    /// The user of its password.
    pub(crate) user: Option<Arc<str>>,
    /// Whether its transport has proved who it is.
    pub(crate) is_proven: bool,
    /// Where it was heard from last.
    pub(crate) peer: Peer,
    /// What it observes, from wherever.
    pub(crate) observations: Vec<ObservationId>,
    timer: Timer,
}

impl Pass {
    pub(crate) fn new(
        key: SessionKey,
        user: Option<Arc<str>>,
        is_proven: bool,
        peer: Peer,
    ) -> Pass {
        let (observations, timer) = (Vec::new(), Timer::default());
        Pass { key, user, is_proven, peer, observations, timer }
    }

    /// Whether its client has shown who it is.
    pub(crate) const fn is_known(&self) -> bool {
        self.user.is_some() || self.is_proven
    }
}

/// What the tokens are made with.
struct Key(Hmac<Sha256>);

/// Shows nothing.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key")
    }
}

impl Key {
    fn new(secrets: &[&[u8]]) -> Key {
        let key = Hmac::new_from_slice(b"tokens of connections");
        let mut mac: Hmac<Sha256> = key.expect("HMAC takes a key of any length");
        secrets.iter().for_each(|secret| mac.update(secret));
        let key = mac.finalize().into_bytes();
        Key(Hmac::new_from_slice(&key).expect("HMAC takes a key of any length"))
    }

    fn mac(&self, id: PassId) -> Hmac<Sha256> {
        self.0.clone().chain_update(id.0.to_be_bytes())
    }

    fn token(&self, id: PassId) -> String {
        let mac = self.mac(id).finalize().into_bytes();
        BASE64URL_NOPAD.encode(mac.get(..TOKEN).unwrap_or(&mac))
    }

    /// In constant time.
    fn is_right(&self, id: PassId, token: &str) -> bool {
        let mut bytes = [0; TOKEN];
        let whole = BASE64URL_NOPAD.decode_len(token.len()) == Ok(TOKEN);
        let read = whole && BASE64URL_NOPAD.decode_mut(token.as_bytes(), &mut bytes).is_ok();
        read && self.mac(id).verify_truncated_left(&bytes).is_ok()
    }
}

/// All of them.
#[derive(Debug)]
pub(crate) struct Passes {
    key: Key,
    all: HashMap<PassId, Pass>,
    by_client: HashMap<SessionKey, PassId>,
    by_peer: HashMap<(ListenerId, SocketAddr), PassId>,
    timers: TimerQueue<PassId>,
    last: u64,
    /// How often `max_coap_logins` has refused one.
    pub(crate) refused: u64,
    /// How many were not heard in time (`coap.heartbeat`).
    pub(crate) silent: u64,
}

impl Passes {
    pub(crate) fn new(seed: u64) -> Passes {
        Passes {
            key: Key::new(&[&seed.to_be_bytes()]),
            all: HashMap::new(),
            by_client: HashMap::new(),
            by_peer: HashMap::new(),
            timers: TimerQueue::new(),
            last: 0,
            refused: 0,
            silent: 0,
        }
    }

    /// More that nobody can guess, before there is any.
    pub(crate) fn add_secret(&mut self, seed: u64, secret: &[u8; 32]) {
        self.key = Key::new(&[&seed.to_be_bytes(), secret]);
    }

    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    pub(crate) fn get(&self, id: PassId) -> Option<&Pass> {
        self.all.get(&id)
    }

    pub(crate) fn get_mut(&mut self, id: PassId) -> Option<&mut Pass> {
        self.all.get_mut(&id)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (PassId, &Pass)> {
        self.all.iter().map(|(id, pass)| (*id, pass))
    }

    pub(crate) fn of_client(&self, key: &SessionKey) -> Option<PassId> {
        self.by_client.get(key).copied()
    }

    /// Whose client is at this address.
    pub(crate) fn of_peer(&self, peer: &Peer) -> Option<PassId> {
        self.by_peer.get(&(peer.listener, peer.addr)).copied()
    }

    /// The pass that a client id and a token show.
    pub(crate) fn find(&self, key: &SessionKey, token: &str) -> Option<PassId> {
        self.of_client(key).filter(|id| self.key.is_right(*id, token))
    }

    /// A new one, with its token; neither its client nor its peer has another.
    pub(crate) fn insert(&mut self, pass: Pass, until: Instant) -> (PassId, String) {
        self.last += 1;
        let id = PassId(self.last);
        self.by_client.insert(pass.key.clone(), id);
        self.by_peer.insert((pass.peer.listener, pass.peer.addr), id);
        let pass = self.all.entry(id).or_insert(pass);
        self.timers.set(&mut pass.timer, id, until);
        (id, self.key.token(id))
    }

    /// Its client has been heard, maybe at a new address. Another client that was there before has
    /// moved, too: it is found by its next word.
    pub(crate) fn heard(&mut self, id: PassId, peer: &Peer, until: Instant) {
        let Some(pass) = self.all.get_mut(&id) else { return };
        self.timers.set(&mut pass.timer, id, until);
        let (old, new) = ((pass.peer.listener, pass.peer.addr), (peer.listener, peer.addr));
        pass.peer = peer.clone();
        if old != new {
            if self.by_peer.get(&old) == Some(&id) {
                self.by_peer.remove(&old);
            }
            self.by_peer.insert(new, id);
        }
    }

    pub(crate) fn remove(&mut self, id: PassId) -> Option<Pass> {
        let gone = self.all.remove(&id)?;
        self.by_client.remove(&gone.key);
        let at = (gone.peer.listener, gone.peer.addr);
        if self.by_peer.get(&at) == Some(&id) {
            self.by_peer.remove(&at);
        }
        if self.all.is_empty() {
            (self.all, self.by_client, self.by_peer) = Default::default();
        }
        Some(gone)
    }

    /// When [`due`](Self::due) is wanted.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.timers.next_deadline()
    }

    /// One that was not heard in time.
    pub(crate) fn due(&mut self, now: Instant) -> Option<PassId> {
        while let Some(id) = self.timers.pop(now) {
            let Some(pass) = self.all.get_mut(&id) else { continue };
            if self.timers.fires(&mut pass.timer, id, now) {
                return Some(id);
            }
        }
        None
    }

    /// An observation of a client is over.
    pub(crate) fn unobserved(&mut self, id: PassId, observation: ObservationId) {
        let Some(pass) = self.all.get_mut(&id) else { return };
        if let Some(at) = pass.observations.iter().position(|one| *one == observation) {
            pass.observations.swap_remove(at);
        }
    }
}

/// How long a client may be silent.
pub(crate) fn patience(heartbeat: Duration) -> Duration {
    heartbeat.saturating_add(heartbeat / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(port: u16) -> Peer {
        Peer::new(ListenerId(0), SocketAddr::from(([127, 0, 0, 1], port)))
    }

    fn key(client: &str) -> SessionKey {
        SessionKey::new("coap", client)
    }

    const LATER: Instant = Instant::from_secs(45);

    #[test]
    fn a_token_is_its_clients_and_its_process_s() {
        let mut passes = Passes::new(1);
        let (a, of_a) = passes.insert(Pass::new(key("a"), None, false, peer(1)), LATER);
        let (_, of_b) = passes.insert(Pass::new(key("b"), None, false, peer(2)), LATER);
        assert!(of_a.len() == 16 && of_a != of_b);
        assert_eq!(passes.find(&key("a"), &of_a), Some(a));
        for wrong in ["", "a", &of_b, &of_a[..15], &of_a.to_lowercase(), "AAAAAAAAAAAAAAAA", "?"] {
            assert_eq!(passes.find(&key("a"), wrong), None, "{wrong}");
        }
        let mut other = Passes::new(1);
        other.add_secret(1, &[7; 32]);
        let (_, elsewhere) = other.insert(Pass::new(key("a"), None, false, peer(1)), LATER);
        assert_ne!(elsewhere, of_a, "the secret of the process counts");
        passes.remove(a);
        assert_eq!(passes.find(&key("a"), &of_a), None);
        let (_, again) = passes.insert(Pass::new(key("a"), None, false, peer(1)), LATER);
        assert_ne!(again, of_a, "a token is given once");
        assert!(!format!("{passes:?}").contains(&again));
    }

    #[test]
    fn who_moves_is_found_where_it_is() {
        let mut passes = Passes::new(1);
        let (a, _) = passes.insert(Pass::new(key("a"), None, false, peer(1)), LATER);
        passes.heard(a, &peer(2), LATER);
        assert_eq!((passes.of_peer(&peer(1)), passes.of_peer(&peer(2))), (None, Some(a)));
        let (b, _) = passes.insert(Pass::new(key("b"), None, false, peer(1)), LATER);
        passes.heard(a, &peer(1), LATER);
        passes.remove(b);
        assert_eq!(passes.of_peer(&peer(1)), Some(a), "who came last is there");
    }

    #[test]
    fn silence_ends_it_and_a_word_puts_that_off() {
        let mut passes = Passes::new(1);
        let (a, _) = passes.insert(Pass::new(key("a"), None, false, peer(1)), LATER);
        passes.heard(a, &peer(1), Instant::from_secs(90));
        assert_eq!(passes.due(Instant::from_secs(89)), None);
        assert_eq!(passes.due(Instant::from_secs(90)), Some(a));
    }

    /// performance.md: a client that says nothing is to be small.
    #[test]
    fn a_pass_is_small() {
        assert!(size_of::<Pass>() <= 136, "{}", size_of::<Pass>());
    }
}
