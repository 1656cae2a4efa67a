//! Read-only views of clients and sessions, for whoever asks about a running gateway.

use core::net::IpAddr;
use core::time::Duration;

use motegate_message::{ListenerId, Peer, Qos, Reason, SessionId, SessionKey, TopicName};
use motegate_timers::Instant;

use super::Endpoint;
use super::clients::{Client, State};
use super::contract::{ClientRef, Filter};
use super::line::{overdue_after, patience};

/// Where a client stands (MQTT-SN 1.2 §6.14).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientState {
    /// In the CONNECT dialogue; no session yet.
    Connecting,
    /// Supervised by its keep-alive.
    Active,
    /// Nothing is sent to it before it wakes.
    Asleep,
    /// Emptying its buffer.
    Awake,
}

/// A client that has a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientView {
    /// Where it stands.
    pub state: ClientState,
    /// When a sleeper said that it would be back: its last packet and its sleep duration.
    pub wakes: Option<Instant>,
    /// When it is given up unless it is heard; `None` where nothing supervises it.
    pub lost_at: Option<Instant>,
    /// Of its CONNECT, in seconds; 0 is unsupervised.
    pub keep_alive_secs: u16,
}

/// Who a client is. The layer above keeps nothing of it a client.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    /// Whose session it has.
    pub key: &'a SessionKey,
    /// Where it is.
    pub peer: &'a Peer,
    /// Its session.
    pub session: SessionId,
}

impl<'a> Known<'a> {
    fn of(client: &'a Client) -> Option<Known<'a>> {
        let (key, session) = (client.key.as_ref()?, client.session?);
        Some(Known { key, peer: &client.peer, session })
    }
}

/// A session's wire state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WireView {
    /// Whether its client missed a deadline and has not connected since (§6.14: lost).
    pub lost: bool,
    /// Topic ids that the client and the gateway gave to names.
    pub topics: usize,
}

impl Endpoint {
    /// A client that has a connection.
    #[must_use]
    pub fn client(&self, client: ClientRef) -> Option<ClientView> {
        let client = self.clients.get(self.clients.slot_of(client)?)?;
        let state = match client.state {
            State::Connecting => ClientState::Connecting,
            State::Active => ClientState::Active,
            State::Asleep => ClientState::Asleep,
            State::Awake => ClientState::Awake,
        };
        let patience = patience(&self.config, client.sleep);
        let asleep = client.state == State::Asleep;
        let until_overdue = asleep && !client.overdue;
        let left =
            if until_overdue { patience - overdue_after(&self.config, client.sleep) } else { 0 };
        let lost_at = client.alive.deadline().map(|at| at + Duration::from_millis(left));
        let sleep = Duration::from_secs(u64::from(client.sleep));
        let heard = |lost_at| lost_at - Duration::from_millis(patience);
        let wakes = lost_at.filter(|_| asleep).map(|lost_at| heard(lost_at) + sleep);
        Some(ClientView { state, wakes, lost_at, keep_alive_secs: client.keep_alive })
    }

    /// A client whose CONNECT was accepted.
    #[must_use]
    pub fn known(&self, client: ClientRef) -> Option<Known<'_>> {
        Known::of(self.clients.get(self.clients.slot_of(client)?)?)
    }

    /// All of them, the same order in every run.
    pub fn all_known(&self) -> impl Iterator<Item = (ClientRef, Known<'_>)> {
        self.clients.iter().filter_map(|(at, client)| Some((at, Known::of(client)?)))
    }

    /// Where a client is, also while it connects.
    #[must_use]
    pub fn peer(&self, client: ClientRef) -> Option<&Peer> {
        self.clients.get(self.clients.slot_of(client)?).map(|client| &client.peer)
    }

    /// The wire state of a session that is or was MQTT-SN's.
    #[must_use]
    pub fn wire(&self, session: SessionId) -> Option<WireView> {
        let wire = self.wires.get(session)?;
        Some(WireView { lost: wire.lost, topics: wire.topics.len() })
    }

    /// The names to which the client and the gateway have given ids, as the client knows them.
    pub fn registered_names(&self, session: SessionId) -> impl Iterator<Item = &TopicName> {
        let wire = self.wires.get(session);
        wire.into_iter().flat_map(|wire| wire.topics.iter().map(|(_, name)| name))
    }

    /// What a session is subscribed to, in the client's own words, and the QoS granted.
    pub fn subscribed_of(&self, session: SessionId) -> impl Iterator<Item = &(Filter, Qos)> {
        let exchange = self.wires.get(session).and_then(|wire| wire.exchange.as_deref());
        exchange.into_iter().flat_map(|exchange| &exchange.subscribed)
    }

    /// Sessions whose clients are away, and where each was last; in some order.
    pub fn away(&self) -> impl Iterator<Item = (SessionId, ListenerId, IpAddr)> {
        let away = self.wires.iter().filter(|wire| wire.slot.is_none());
        away.filter_map(|wire| {
            let (listener, ip) = **wire.home.as_ref()?;
            Some((wire.session, listener, ip))
        })
    }

    /// Clients whose CONNECT was accepted.
    #[must_use]
    pub fn connected_count(&self) -> usize {
        self.clients.len() - self.clients.connecting()
    }

    /// How often the oldest CONNECT dialogue was given up for a younger one.
    #[must_use]
    pub const fn dialogues_given_up(&self) -> u64 {
        self.dialogues.given_up
    }

    /// What is sent to a client whose address is not proved: so many octets in any case, so many for one
    /// that came; and how often a delivery had to wait for that.
    #[must_use]
    pub const fn unproven(&self) -> (usize, usize, u64) {
        (super::budget::FLOOR as usize, super::budget::FACTOR, self.unproven_held)
    }

    /// How often a topic id was not given out because the client has `max_topics_per_client`.
    #[must_use]
    pub const fn topics_refused(&self) -> u64 {
        self.topics_refused
    }

    /// Clients that have an entry: connecting, active, asleep or awake.
    #[must_use]
    pub fn client_count(&self) -> usize {
        self.clients.len()
    }

    /// Clients in the CONNECT dialogue.
    #[must_use]
    pub fn connecting_count(&self) -> usize {
        self.clients.connecting()
    }
}

/// Whether a client that ends so has missed a deadline.
pub(super) const fn is_lost(reason: Reason) -> bool {
    matches!(reason, Reason::KeepaliveTimeout | Reason::SleepExpired | Reason::RetryExhausted)
}
