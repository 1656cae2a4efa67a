//! Who is here: a row a session, a row a CoAP observer.
//!
//! The list has two parts, walked one after the other: the broker's sessions that have a name,
//! by their slots, then the CoAP peers that observe something, by theirs (an observation's session
//! has no name; a peer with five observations is one client).

use std::time::Duration;

use motegate_broker::SessionView;
use motegate_coap::endpoint::ObservationId;
use motegate_message::{ListenerId, Peer, SessionKey};
use motegate_mqtt::Version;
use motegate_mqtt_sn::endpoint::ClientState as SnState;
use motegate_timers::Instant;

use super::{
    Client, ClientDetail, ClientDetails, ClientFilter, ClientState, Clients, Cursor, MAX_LOOKED,
    MAX_PAGE, Observed, Tally,
};
use crate::access::Target;
use crate::coap::Observation;
use crate::{Core, Protocol};

/// Where the second part begins.
const OBSERVERS: u64 = 1 << 32;

impl Core {
    pub(super) fn clients(&self, from: Cursor, limit: usize, only: &ClientFilter) -> Clients {
        let mut clients = Vec::new();
        let next = self.walk(from, |client| {
            let wanted = only.protocol.is_none_or(|protocol| protocol == client.protocol)
                && only.state.is_none_or(|state| state == client.state)
                && only.client_id.as_ref().is_none_or(|id| *id == client.client_id);
            if wanted {
                clients.push(client);
            }
            clients.len() < limit.max(1)
        });
        Clients { clients, next }
    }

    pub(super) fn tally(&self, from: Cursor) -> Tally {
        let mut counts: Vec<(Protocol, ClientState, u64)> = Vec::new();
        let next = self.walk(from, |client| {
            let same = |(protocol, state, _): &&mut (Protocol, ClientState, u64)| {
                *protocol == client.protocol && *state == client.state
            };
            match counts.iter_mut().find(same) {
                Some((.., count)) => *count += 1,
                None => counts.push((client.protocol, client.state, 1)),
            }
            true
        });
        Tally { counts, next }
    }

    /// Shows clients to `each` until it says no or enough was looked at; where to go on.
    fn walk(&self, from: Cursor, mut each: impl FnMut(Client) -> bool) -> Option<Cursor> {
        self.walk_slots(from, |_, client| each(client))
    }

    fn walk_slots(
        &self,
        from: Cursor,
        mut each: impl FnMut(u32, Client) -> bool,
    ) -> Option<Cursor> {
        let mut at = from.0;
        for _ in 0..MAX_LOOKED {
            if at < OBSERVERS && at >= u64::from(self.broker.session_slots()) {
                at = OBSERVERS;
            }
            if at >= OBSERVERS + u64::from(self.coap.peer_slots()) {
                return None;
            }
            let slot = u32::try_from(at % OBSERVERS).unwrap_or(u32::MAX);
            let client = if at < OBSERVERS {
                self.broker.session_at(slot).and_then(|session| self.named(&session))
            } else {
                self.observer(slot)
            };
            at += 1;
            if client.is_some_and(|client| !each(slot, client)) {
                break;
            }
        }
        Some(Cursor(at))
    }

    /// The client of a session that has a name.
    fn named(&self, session: &SessionView<'_>) -> Option<Client> {
        let key = session.key?;
        let client = Client {
            client_id: key.client_id().to_owned(),
            realm: key.realm().to_owned(),
            protocol: Protocol::Mqtt,
            version: None,
            state: ClientState::Offline,
            listener: None,
            peer: None,
            wakes_in: None,
            lost_in: None,
            ends_in: session.ends.map(|at| self.until(at)),
            kept: session.kept,
            subscriptions: session.subscriptions,
            queued_messages: u64::from(session.queued_messages),
            queued_bytes: session.queued_bytes,
            in_flight: session.in_flight,
        };
        Some(match session.handle.map(Target::from_handle) {
            Some(Target::Mqtt(conn)) => {
                let known = self.mqtt_clients.get(conn.slot()).and_then(Option::as_ref);
                Client {
                    version: self.mqtt.connection(conn).map(|view| word(view.version)),
                    state: ClientState::Active,
                    listener: known.map(|known| known.listener),
                    peer: known.and_then(|known| known.peer),
                    ..client
                }
            }
            Some(Target::Sn(at)) => {
                let peer = self.sn.peer(at);
                let view = self.sn.client(at);
                let asleep = view.filter(|view| view.state == SnState::Asleep);
                Client {
                    protocol: Protocol::MqttSn,
                    state: match view.map(|view| view.state) {
                        Some(SnState::Asleep) => ClientState::Asleep,
                        Some(SnState::Awake) => ClientState::Awake,
                        _ => ClientState::Active,
                    },
                    listener: peer.map(|peer| peer.listener),
                    peer: peer.map(|peer| peer.addr),
                    wakes_in: asleep.and_then(|view| view.wakes).map(|at| self.until(at)),
                    lost_in: asleep.and_then(|view| view.lost_at).map(|at| self.until(at)),
                    ..client
                }
            }
            // Observations have no name; without a connection, whose wire state is kept tells.
            Some(Target::Coap(_)) | None => match self.sn.wire(session.id) {
                Some(wire) => Client {
                    protocol: Protocol::MqttSn,
                    state: if wire.lost { ClientState::Lost } else { ClientState::Offline },
                    ..client
                },
                None => client,
            },
        })
    }

    fn until(&self, at: Instant) -> Duration {
        at.saturating_since(self.turn.now)
    }

    /// The CoAP client in a slot, if it observes something.
    fn observer(&self, slot: u32) -> Option<Client> {
        let observer = self.coap.observer_at(slot)?;
        Some(self.observing(observer.peer, &observer.observations))
    }

    pub(super) fn observing(&self, peer: &Peer, observations: &[ObservationId]) -> Client {
        let known = |id: &ObservationId| self.observations.get(id);
        let named = observations.iter().filter_map(known).find_map(|known| known.client.as_ref());
        let client_id = match named {
            Some(key) => key.client_id().to_owned(),
            None => format!("anon-{}", peer.addr.ip()),
        };
        let sessions = || {
            let sessions = observations.iter().filter_map(known).filter_map(|o| o.session);
            sessions.filter_map(|session| self.broker.session(session))
        };
        Client {
            client_id,
            realm: self.listener(peer.listener).realm.to_string(),
            protocol: Protocol::Coap,
            version: None,
            state: ClientState::Observing,
            listener: Some(peer.listener),
            peer: Some(peer.addr),
            wakes_in: None,
            lost_in: None,
            ends_in: None,
            kept: false,
            subscriptions: observations.len(),
            queued_messages: sessions().map(|s| u64::from(s.queued_messages)).sum(),
            queued_bytes: sessions().map(|s| s.queued_bytes).sum(),
            in_flight: sessions().map(|s| s.in_flight).sum(),
        }
    }

    /// The client that a session belongs to, and the path if it is an observation.
    pub(super) fn client_of(&self, session: &SessionView<'_>) -> Option<(Client, Option<String>)> {
        if let Some(client) = self.named(session) {
            return Some((client, None));
        }
        let Target::Coap(id) = Target::from_handle(session.handle?) else { return None };
        let client = self.observing(self.coap.observer(id)?, &[id]);
        let path = self.observations.get(&id).map(|known| known.asked.show());
        Some((client, path))
    }

    pub(super) fn client(&self, client_id: &str, from: Cursor) -> ClientDetails {
        let mut clients = Vec::new();
        if from == Cursor::default() {
            let mut realms: Vec<&str> = self.config.listeners.iter().map(|l| &*l.realm).collect();
            realms.sort_unstable();
            realms.dedup();
            let keys = realms.into_iter().map(|realm| SessionKey::new(realm, client_id));
            let sessions = keys.filter_map(|key| self.broker.find_session(&key));
            clients.extend(sessions.filter_map(|id| self.detail(&self.broker.session(id)?)));
        }
        let observers = Cursor(from.0.max(OBSERVERS));
        let next = self.walk_slots(observers, |slot, client| {
            if client.client_id == client_id {
                clients.push(self.observer_detail(slot, client));
            }
            clients.len() < MAX_PAGE
        });
        ClientDetails { clients, next }
    }

    fn detail(&self, session: &SessionView<'_>) -> Option<ClientDetail> {
        Some(ClientDetail {
            client: self.named(session)?,
            subscriptions: self.broker.subscriptions_of(session.id, MAX_PAGE),
            observations: Vec::new(),
            max_queued_messages: session.queue.max_messages,
            max_queued_bytes: session.queue.max_bytes,
            has_will: session.has_will,
        })
    }

    fn observer_detail(&self, slot: u32, client: Client) -> ClientDetail {
        let observer = self.coap.observer_at(slot);
        let listener = observer.as_ref().map_or(ListenerId(0), |observer| observer.peer.listener);
        let ids = observer.map_or_else(Vec::new, |observer| observer.observations);
        let observed = |known: &Observation| {
            let topic = self.broker.subscriptions_of(known.session?, 1).pop()?.filter;
            Some(Observed { path: known.asked.show(), topic: topic.as_str().to_owned() })
        };
        let known = ids.iter().filter_map(|id| self.observations.get(id));
        let several = known.clone().any(Observation::is_of_several);
        let queue = self.observer_queue(several, listener);
        ClientDetail {
            client,
            subscriptions: Vec::new(),
            observations: known.filter_map(observed).collect(),
            max_queued_messages: queue.max_messages,
            max_queued_bytes: queue.max_bytes,
            has_will: false,
        }
    }
}

const fn word(version: Version) -> &'static str {
    match version {
        Version::V31 => "3.1",
        Version::V311 => "3.1.1",
        Version::V5 => "5.0",
    }
}
