//! What another configuration means for each client, before anything is done.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use motegate_broker::SubscriptionView;
use motegate_coap::endpoint::{Code, ObservationId};
use motegate_mapping::{Action, Caller, CoapMethod, SnTopic, Table};
use motegate_message::{ConnectionId, ListenerId, Peer, SessionId, SessionKey, TopicFilter};
use motegate_mqtt_sn::endpoint::{ClientRef, ClientState, Filter};

use super::{Change, Reload, Touched};
use crate::coap::{Meaning, Observation, Pass, PassId, map_resource};
use crate::mqtt::MqttClient;
use crate::sn::{Resubscription, caller};
use crate::{Config, Core, Listener, Protocol, Users};

/// What is to be done, in the order in which it is done.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) mqtt: Vec<ConnectionId>,
    /// MQTT clients whose password counts no more.
    pub(super) revoked: Vec<ConnectionId>,
    /// MQTT sessions of listeners that have another mount, connected or not.
    pub(super) mounts: Vec<Moved>,
    pub(super) sn: Vec<SnPlan>,
    pub(super) observations: Vec<(ObservationId, ObservationPlan)>,
    /// CoAP's connections.
    pub(super) coap: Vec<ConnectionId>,
    /// EMQX's clients that have connected.
    pub(super) passes: Vec<PassId>,
    pub(super) touched: Vec<Touched>,
}

/// An MQTT session's subscriptions, and the same below another mount.
#[derive(Debug)]
pub(super) struct Moved {
    pub(super) session: SessionId,
    pub(super) mount: Arc<str>,
    pub(super) filters: Vec<(SubscriptionView, TopicFilter)>,
}

#[derive(Debug)]
pub(super) struct SnPlan {
    pub(super) session: SessionId,
    pub(super) change: Resubscription,
    /// Who is disconnected.
    pub(super) close: Option<ClientRef>,
    /// Whatever waits: there is no way to it any more.
    pub(super) at_once: bool,
}

#[derive(Debug)]
pub(super) enum ObservationPlan {
    End(Code),
    Move { before: TopicFilter, after: TopicFilter, meaning: Meaning },
    Keep { meaning: Meaning },
}
/// A session as the mapping sees its client.
struct SnSession<'a> {
    session: SessionId,
    client: &'a str,
    listener: ListenerId,
    ip: IpAddr,
}

impl Core {
    pub(super) fn plan(&self, reload: &Reload) -> Plan {
        let mut plan = Plan::default();
        self.plan_mqtt(reload, &mut plan);
        self.plan_mounts(reload, &mut plan);
        self.plan_sn(reload, &mut plan);
        self.plan_observations(reload, &mut plan);
        self.plan_connections(reload, &mut plan);
        self.plan_passes(reload, &mut plan);
        plan
    }

    /// EMQX's clients whose token stands on what is there no longer.
    fn plan_passes(&self, reload: &Reload, plan: &mut Plan) {
        let mut passes: Vec<_> = self.passes.iter().collect();
        passes.sort_unstable_by_key(|(id, _)| *id); // the same in every run
        for (id, pass) in passes {
            let change = self.pass_change(reload, pass);
            if change.is_some() || !reload.table.has_connections() {
                plan.passes.push(id);
            }
            plan.touched.extend(change.map(|change| Touched {
                protocol: Protocol::Coap,
                client: pass.key.client_id().to_owned(),
                peer: Some(pass.peer.addr),
                change,
            }));
        }
    }

    /// Why a client's token holds no longer.
    fn pass_change(&self, reload: &Reload, pass: &Pass) -> Option<Change> {
        let listener = pass.peer.listener;
        if self.is_coap_moved(reload, listener, pass.is_known()) {
            return Some(self.listener_changed(reload, listener));
        }
        pass.user.as_deref().and_then(|user| Self::revoked(reload, &self.config.users, user))
    }

    /// Whether a CoAP client cannot stay on its listener, which may have shown who it is.
    fn is_coap_moved(&self, reload: &Reload, id: ListenerId, is_known: bool) -> bool {
        let new = reload.config.listeners.get(usize::from(id.0));
        let only_closes = !reload.removed.contains(&id)
            && new.is_some_and(|new| new.realm == self.listener(id).realm);
        self.is_moved(reload, id) && !(only_closes && is_known)
    }

    /// Connections of CoAP: their observations are planned by themselves.
    fn plan_connections(&self, reload: &Reload, plan: &mut Plan) {
        for (conn, peer) in self.coap.connection_ids() {
            let is_known = self.coap_identity(Some(conn)).is_some();
            if !self.is_coap_moved(reload, peer.listener, is_known) {
                continue;
            }
            plan.coap.push(conn);
            let anonymous = || format!("anon-{}", peer.addr.ip());
            let client = self.coap_identity(Some(conn)).map(ToString::to_string);
            plan.touched.push(Touched {
                protocol: Protocol::Coap,
                client: client.unwrap_or_else(anonymous),
                peer: Some(peer.addr),
                change: self.listener_changed(reload, peer.listener),
            });
        }
    }

    /// Whether a client cannot stay on its listener.
    fn is_moved(&self, reload: &Reload, id: ListenerId) -> bool {
        let (old, new) = (self.listener(id), reload.config.listeners.get(usize::from(id.0)));
        let Some(new) = new else { return true };
        reload.removed.contains(&id)
            || old.realm != new.realm
            || (old.protocol != Protocol::Mqtt && closes(old, new))
            // An MQTT client's subscriptions stand below the mount.
            || (old.protocol == Protocol::Mqtt && old.mount != new.mount)
    }

    /// The same of an MQTT client, which may have an identity.
    fn is_mqtt_moved(&self, reload: &Reload, client: &MqttClient) -> bool {
        let new = reload.config.listeners.get(usize::from(client.listener.0));
        let closes = new.is_some_and(|new| closes(self.listener(client.listener), new));
        self.is_moved(reload, client.listener) || (closes && client.identity.is_none())
    }

    /// What becomes of the password that a client came in with.
    fn revoked(reload: &Reload, before: &Users, user: &str) -> Option<Change> {
        let new = reload.config.users.get(user).map(|(_, verifier)| verifier);
        let old = before.get(user).map(|(_, verifier)| verifier);
        let (user, removed) = (user.to_owned(), new.is_none());
        (new != old || removed).then_some(Change::UserRevoked { user, removed })
    }

    fn listener_changed(&self, reload: &Reload, id: ListenerId) -> Change {
        let old = self.listener(id);
        let listener = old.name.to_string();
        match reload.config.listeners.get(usize::from(id.0)) {
            Some(new) if !reload.removed.contains(&id) && closes(old, new) => {
                Change::ListenerClosed { listener }
            }
            _ => Change::ListenerChanged { listener },
        }
    }

    fn plan_mqtt(&self, reload: &Reload, plan: &mut Plan) {
        for client in self.mqtt_clients.iter().flatten() {
            let (conn, listener) = (client.conn, client.listener);
            let (todo, change) = if self.is_mqtt_moved(reload, client) {
                (&mut plan.mqtt, self.listener_changed(reload, listener))
            } else if let Some(change) = client
                .identity
                .as_deref()
                .filter(|_| client.is_user)
                .and_then(|user| Self::revoked(reload, &self.config.users, user))
            {
                (&mut plan.revoked, change)
            } else {
                continue;
            };
            todo.push(conn);
            plan.touched.push(Touched {
                protocol: Protocol::Mqtt,
                client: client.key.as_ref().map_or("", |key| key.client_id()).to_owned(),
                peer: client.peer,
                change,
            });
        }
    }

    fn plan_sn(&self, reload: &Reload, plan: &mut Plan) {
        for (client, known) in self.sn.all_known() {
            let session = known.session;
            let state = self.sn.client(client).map(|view| view.state);
            let active = state == Some(ClientState::Active);
            let whose = SnSession {
                session,
                client: known.key.client_id(),
                listener: known.peer.listener,
                ip: known.peer.addr.ip(),
            };
            let listener = known.peer.listener;
            let mut todo =
                SnPlan { session, change: Resubscription::default(), close: None, at_once: true };
            let mut changes = Vec::new();
            if self.is_moved(reload, listener) {
                todo.close = Some(client);
                changes.push(self.listener_changed(reload, listener));
            } else {
                let renamed = self.plan_sn_topics(reload, &whose, active, &mut changes);
                todo.change = self.sn_change(reload, &whose);
                (todo.close, todo.at_once) = ((active && renamed).then_some(client), false);
                if reload.moved.contains(&listener) {
                    let asleep = state == Some(ClientState::Asleep);
                    (todo.close, todo.at_once) = ((!asleep).then_some(client), true);
                    let listener = self.listener(listener).name.to_string();
                    changes.push(Change::ListenerMoved { listener, asleep });
                }
            }
            if todo.close.is_some() || !todo.change.is_empty() {
                plan.sn.push(todo);
            }
            plan.touched.extend(touched(&whose, Some(known.peer.addr), changes));
        }
        self.plan_sn_away(reload, plan);
    }

    /// Whoever is away finds its subscriptions where the new rules have them.
    fn plan_sn_away(&self, reload: &Reload, plan: &mut Plan) {
        let mut away: Vec<_> = self.sn.away().collect();
        away.sort_unstable_by_key(|(session, ..)| *session); // the same in every run
        for (session, listener, ip) in away {
            let key = self.broker.session(session).and_then(|view| view.key);
            let Some(key) = key.filter(|_| !self.is_moved(reload, listener)) else { continue };
            let whose = SnSession { session, client: key.client_id(), listener, ip };
            let mut changes = Vec::new();
            self.plan_sn_topics(reload, &whose, false, &mut changes);
            let change = self.sn_change(reload, &whose);
            if !change.is_empty() {
                plan.sn.push(SnPlan { session, change, close: None, at_once: false });
            }
            plan.touched.extend(touched(&whose, None, changes));
        }
    }

    fn sn_change(&self, reload: &Reload, whose: &SnSession<'_>) -> Resubscription {
        let old = caller(&self.config, whose.listener, whose.client, whose.ip);
        let new = caller(&reload.config, whose.listener, whose.client, whose.ip);
        let (before, after) = ((&*self.table, &old), (&*reload.table, &new));
        self.sn_resubscription(whose.session, Some(before), after)
    }

    /// What its ids and names mean now and then; whether a registered name means something else.
    fn plan_sn_topics(
        &self,
        reload: &Reload,
        whose: &SnSession<'_>,
        active: bool,
        changes: &mut Vec<Change>,
    ) -> bool {
        let old = caller(&self.config, whose.listener, whose.client, whose.ip);
        let new = caller(&reload.config, whose.listener, whose.client, whose.ip);
        let change = |topic: SnTopic<'_>, disconnected| {
            let before = self.table.sn(&old, topic).ok()?.topic;
            let after = reload.table.sn(&new, topic).ok().map(|mapped| mapped.topic);
            (after.as_ref() != Some(&before)).then(|| Change::TopicChanged {
                topic: show(topic),
                before: before.as_str().to_owned(),
                after: after.as_ref().map(|topic| topic.as_str().to_owned()),
                disconnected,
            })
        };
        // A sleeper hears nothing now; its ids go on, with their new meaning.
        let registered: BTreeSet<&str> =
            self.sn.registered_names(whose.session).map(|name| name.as_str()).collect();
        changes.extend(registered.iter().filter_map(|name| change(SnTopic::Name(name), active)));
        let renamed = !changes.is_empty();
        let subscribed = self.sn.subscribed_of(whose.session).filter_map(|(word, _)| match word {
            Filter::Name(name) => Some(name.as_str()).filter(|name| !registered.contains(name)),
            _ => None,
        });
        changes.extend(subscribed.filter_map(|name| change(SnTopic::Name(name), false)));
        let ids = self.table.sn_ids(whose.client).into_iter().map(SnTopic::Predefined);
        let short = self.table.sn_short_names().iter().map(|short| SnTopic::Short(*short));
        changes.extend(ids.chain(short).filter_map(|topic| change(topic, false)));
        renamed
    }

    /// Whatever an MQTT session of a listener with another mount is subscribed to goes with it.
    fn plan_mounts(&self, reload: &Reload, plan: &mut Plan) {
        for (at, old) in self.config.listeners.iter().enumerate() {
            let new = reload.config.listeners.get(at).filter(|new| {
                let goes_on =
                    u16::try_from(at).is_ok_and(|at| !reload.removed.contains(&ListenerId(at)));
                goes_on && new.mount != old.mount && new.realm == old.realm
            });
            let Some(new) = new.filter(|_| old.protocol == Protocol::Mqtt) else { continue };
            for slot in 0..self.broker.session_slots() {
                let session = self.broker.session_at(slot);
                let of_realm = |key: &&SessionKey| key.realm() == &*old.realm;
                let Some(session) = session.filter(|s| s.key.filter(of_realm).is_some()) else {
                    continue;
                };
                let held = self.broker.subscriptions_of(session.id, usize::MAX);
                let moved: Vec<_> = held
                    .into_iter()
                    .filter_map(|held| {
                        let rest = held.filter.as_str().strip_prefix(&*old.mount)?;
                        let filter = TopicFilter::lenient(&[&*new.mount, rest].concat()).ok()?;
                        Some((held, filter))
                    })
                    .collect();
                if !moved.is_empty() {
                    let (session, mount) = (session.id, new.mount.clone());
                    plan.mounts.push(Moved { session, mount, filters: moved });
                }
            }
        }
    }

    fn plan_observations(&self, reload: &Reload, plan: &mut Plan) {
        let mut observations: Vec<(&ObservationId, &Observation)> =
            self.observations.iter().collect();
        observations.sort_unstable_by_key(|(id, _)| **id); // the same in every run
        for (id, known) in observations {
            let Some(peer) = self.coap.observer(*id) else { continue };
            let conn = self.coap.connection(*id);
            let is_known = self.coap_identity(conn).is_some();
            if conn.is_some() && self.is_coap_moved(reload, peer.listener, is_known) {
                continue; // it ends with its connection
            }
            let anonymous = format!("anon-{}", peer.addr.ip());
            let client = known.client.as_ref().map_or(anonymous.as_str(), SessionKey::client_id);
            let from = (peer, conn);
            let (todo, change) = self.plan_observation(reload, known, from, client);
            plan.observations.extend(todo.map(|todo| (*id, todo)));
            // What is told of its client's connection is told once, and not of each observation.
            let pass = known.pass.and_then(|pass| self.passes.get(pass));
            if pass.is_some_and(|pass| self.pass_change(reload, pass).is_some()) {
                continue;
            }
            plan.touched.extend(change.map(|change| Touched {
                protocol: Protocol::Coap,
                client: client.to_owned(),
                peer: Some(peer.addr),
                change,
            }));
        }
    }

    fn plan_observation(
        &self,
        reload: &Reload,
        known: &Observation,
        (peer, conn): (&Peer, Option<ConnectionId>),
        client: &str,
    ) -> (Option<ObservationPlan>, Option<Change>) {
        let (id, path) = (peer.listener, known.asked.show());
        if let Some(change) = known
            .identity
            .as_deref()
            .filter(|_| known.is_user)
            .and_then(|user| Self::revoked(reload, &self.config.users, user))
        {
            return (Some(ObservationPlan::End(Code::UNAUTHORIZED)), Some(change));
        }
        let new = reload.config.listeners.get(usize::from(id.0));
        if known.pass.is_none() && new.is_some_and(|new| new.connection_required) {
            let listener = self.listener(id).name.to_string();
            let change = Change::ListenerClosed { listener };
            return (Some(ObservationPlan::End(Code::UNAUTHORIZED)), Some(change));
        }
        if conn.is_none() && self.is_coap_moved(reload, id, known.identity.is_some()) {
            let change = self.listener_changed(reload, id);
            let code = match change {
                Change::ListenerClosed { .. } => Code::UNAUTHORIZED,
                _ => Code::SERVICE_UNAVAILABLE,
            };
            return (Some(ObservationPlan::End(code)), Some(change));
        }
        if conn.is_none() && reload.moved.contains(&id) {
            let listener = self.listener(id).name.to_string();
            let todo = ObservationPlan::End(Code::SERVICE_UNAVAILABLE);
            return (Some(todo), Some(Change::ListenerMoved { listener, asleep: false }));
        }
        let map = |config: &Config, table: &Table| {
            let caller = caller(config, id, client, peer.addr.ip());
            let caller = Caller { identity: known.identity.as_deref(), ..caller };
            let asked = known.asked.resource();
            map_resource((config, table), id, &caller, CoapMethod::Observe, asked)
        };
        let ended = |text: String| {
            let todo = ObservationPlan::End(Code::NOT_FOUND);
            (Some(todo), Some(Change::ObservationEnded { path: path.clone(), text }))
        };
        let after = match map(&reload.config, &reload.table) {
            Ok(mapped) if mapped.action == Action::Subscribe => mapped,
            Ok(mapped) => return ended(format!("rule {} takes no OBSERVE", mapped.rule)),
            Err(error) => return ended(error.text),
        };
        let meaning = Meaning::of(&after);
        match map(&self.config, &self.table) {
            Ok(before) if before.topic != after.topic => {
                let name = after.topic.as_name();
                let is_empty =
                    name.is_some_and(|name| self.broker.retained(&name, self.turn.now).is_none());
                let change = if is_empty && !meaning.content_when_empty {
                    let text = format!("{} has no value", after.topic);
                    Change::ObservationEnded { path, text }
                } else {
                    Change::ObservationMoved {
                        path,
                        before: before.topic.as_str().to_owned(),
                        after: after.topic.as_str().to_owned(),
                    }
                };
                let (before, after) = (before.topic, after.topic);
                let todo = ObservationPlan::Move { before, after, meaning };
                (Some(todo), Some(change))
            }
            _ if meaning != known.meaning => (Some(ObservationPlan::Keep { meaning }), None),
            _ => (None, None),
        }
    }
}

/// Whether a listener was open to anonymous clients and no longer is. Whoever is connected without
/// an identity came in that way.
const fn closes(old: &Listener, new: &Listener) -> bool {
    old.anonymous && !new.anonymous
}

fn touched<'a>(
    whose: &'a SnSession<'_>,
    peer: Option<SocketAddr>,
    changes: Vec<Change>,
) -> impl Iterator<Item = Touched> + use<'a> {
    let client = whose.client.to_owned();
    changes.into_iter().map(move |change| Touched {
        protocol: Protocol::MqttSn,
        client: client.clone(),
        peer,
        change,
    })
}

fn show(topic: SnTopic<'_>) -> String {
    match topic {
        SnTopic::Name(name) => format!("name {name}"),
        SnTopic::Predefined(id) => format!("id {id}"),
        SnTopic::Short(short) => format!("short {}", String::from_utf8_lossy(&short)),
    }
}
