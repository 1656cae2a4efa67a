//! What another configuration means for each client, before anything is done.

use motegate_broker::SubscriptionView;
use motegate_coap::endpoint::{Code, ObservationId};
use motegate_mapping::{Action, Caller, CoapMethod, SnTopic, Table};
use motegate_message::{ConnectionId, ListenerId, Peer, SessionId, SessionKey, TopicFilter};
use motegate_mqtt_sn::endpoint::{ClientRef, ClientState};

use super::{Change, Reload, Touched};
use crate::coap::{Meaning, Observation, map_resource};
use crate::sn::{SnClient, caller, subscribed_topic};
use crate::{Config, Core, Listener, Protocol};

/// What is to be done, in the order in which it is done.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) mqtt: Vec<ConnectionId>,
    pub(super) sn: Vec<(ClientRef, SnPlan)>,
    pub(super) observations: Vec<(ObservationId, ObservationPlan)>,
    pub(super) touched: Vec<Touched>,
}

#[derive(Debug, Default)]
pub(super) struct SnPlan {
    pub(super) session: Option<SessionId>,
    /// Disconnected; `false`: only its subscriptions move.
    pub(super) close: bool,
    pub(super) moved: Vec<(SubscriptionView, Option<TopicFilter>)>,
}

#[derive(Debug)]
pub(super) enum ObservationPlan {
    End(Code),
    Move { before: TopicFilter, after: TopicFilter, meaning: Meaning },
    Keep { meaning: Meaning },
}
impl Core {
    pub(super) fn plan(&self, reload: &Reload) -> Plan {
        let mut plan = Plan::default();
        self.plan_mqtt(reload, &mut plan);
        self.plan_sn(reload, &mut plan);
        self.plan_observations(reload, &mut plan);
        plan
    }

    /// Whether a client cannot stay on its listener.
    fn is_moved(&self, reload: &Reload, id: ListenerId) -> bool {
        let (old, new) = (self.listener(id), reload.config.listeners.get(usize::from(id.0)));
        let Some(new) = new else { return true };
        reload.removed.contains(&id)
            || old.realm != new.realm
            || closes(old, new)
            // An MQTT client's subscriptions stand below the mount.
            || (old.protocol == Protocol::Mqtt && old.mount != new.mount)
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
            if self.is_moved(reload, client.listener) {
                plan.mqtt.push(client.conn);
                plan.touched.push(Touched {
                    protocol: Protocol::Mqtt,
                    client: client.key.as_ref().map_or("", |key| key.client_id()).to_owned(),
                    peer: client.peer,
                    change: self.listener_changed(reload, client.listener),
                });
            }
        }
    }

    fn plan_sn(&self, reload: &Reload, plan: &mut Plan) {
        let mut clients: Vec<(&ClientRef, &SnClient)> = self.sn_clients.iter().collect();
        clients.sort_unstable_by_key(|(client, _)| **client); // the same in every run
        for (client, known) in clients {
            let mut changes = Vec::new();
            let mut todo = SnPlan { session: known.session, ..SnPlan::default() };
            if self.is_moved(reload, known.peer.listener) {
                todo.close = true;
                changes.push(self.listener_changed(reload, known.peer.listener));
            } else if let Some(session) = known.session {
                self.plan_sn_topics(reload, *client, known, session, &mut todo, &mut changes);
            }
            if todo.close || !todo.moved.is_empty() {
                plan.sn.push((*client, todo));
            }
            plan.touched.extend(changes.into_iter().map(|change| Touched {
                protocol: Protocol::MqttSn,
                client: known.key.client_id().to_owned(),
                peer: Some(known.peer.addr),
                change,
            }));
        }
    }

    fn plan_sn_topics(
        &self,
        reload: &Reload,
        client: ClientRef,
        known: &SnClient,
        session: SessionId,
        todo: &mut SnPlan,
        changes: &mut Vec<Change>,
    ) {
        let (id, ip) = (known.key.client_id(), known.peer.addr.ip());
        let old = caller(&self.config, known.peer.listener, id, ip);
        let new = caller(&reload.config, known.peer.listener, id, ip);
        let before =
            |topic: SnTopic<'_>| self.table.sn(&old, topic).ok().map(|mapped| mapped.topic);
        let after =
            |topic: SnTopic<'_>| reload.table.sn(&new, topic).ok().map(|mapped| mapped.topic);
        let change = |topic: SnTopic<'_>, disconnected| {
            let (before, after) = (before(topic)?, after(topic));
            (after.as_ref() != Some(&before)).then(|| Change::TopicChanged {
                topic: show(topic),
                before: before.as_str().to_owned(),
                after: after.as_ref().map(|topic| topic.as_str().to_owned()),
                disconnected,
            })
        };
        // A sleeper hears nothing now; its ids go on, with their new meaning.
        let active = self.sn.client(client).is_some_and(|view| view.state == ClientState::Active);
        let names = self.sn.registered_names(session).map(|name| SnTopic::Name(name.as_str()));
        changes.extend(names.filter_map(|name| change(name, active)));
        todo.close = active && !changes.is_empty();
        let ids = self.table.sn_ids(id).into_iter().map(SnTopic::Predefined);
        let short = self.table.sn_short_names().iter().map(|short| SnTopic::Short(*short));
        changes.extend(ids.chain(short).filter_map(|topic| change(topic, false)));
        for held in self.broker.subscriptions_of(session, usize::MAX) {
            let name;
            let topic = match subscribed_topic(held.identifier) {
                Some(topic) => topic,
                None => {
                    name = self.device_name(&old, &held.filter);
                    SnTopic::Name(&name)
                }
            };
            if before(topic).as_ref() != Some(&held.filter) {
                continue;
            }
            let after = after(topic);
            if after.as_ref() != Some(&held.filter) {
                todo.moved.push((held, after));
            }
        }
    }

    /// How a client named what it subscribed to.
    fn device_name(&self, caller: &Caller<'_>, filter: &TopicFilter) -> String {
        let topic = filter.as_name();
        match topic.and_then(|topic| self.table.sn_names(caller, &topic)) {
            Some(names) => names.name.to_string(),
            None => filter.as_str().strip_prefix(caller.mount).unwrap_or_default().to_owned(),
        }
    }

    fn plan_observations(&self, reload: &Reload, plan: &mut Plan) {
        let mut observations: Vec<(&ObservationId, &Observation)> =
            self.observations.iter().collect();
        observations.sort_unstable_by_key(|(id, _)| **id); // the same in every run
        for (id, known) in observations {
            let Some(peer) = self.coap.observer(*id) else { continue };
            let anonymous = format!("anon-{}", peer.addr.ip());
            let client = known.client.as_ref().map_or(anonymous.as_str(), SessionKey::client_id);
            let (todo, change) = self.plan_observation(reload, known, peer, client);
            plan.observations.extend(todo.map(|todo| (*id, todo)));
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
        peer: &Peer,
        client: &str,
    ) -> (Option<ObservationPlan>, Option<Change>) {
        let (id, path) = (peer.listener, known.asked.show());
        if self.is_moved(reload, id) {
            let change = self.listener_changed(reload, id);
            let code = match change {
                Change::ListenerClosed { .. } => Code::UNAUTHORIZED,
                _ => Code::SERVICE_UNAVAILABLE,
            };
            return (Some(ObservationPlan::End(code)), Some(change));
        }
        let map = |config: &Config, table: &Table| {
            let caller = caller(config, id, client, peer.addr.ip());
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
                let change = Change::ObservationMoved {
                    path,
                    before: before.topic.as_str().to_owned(),
                    after: after.topic.as_str().to_owned(),
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

/// Whether a listener was open to anonymous clients and no longer is. Whoever is connected came in
/// that way.
const fn closes(old: &Listener, new: &Listener) -> bool {
    old.anonymous && !new.anonymous
}

fn show(topic: SnTopic<'_>) -> String {
    match topic {
        SnTopic::Name(name) => format!("name {name}"),
        SnTopic::Predefined(id) => format!("id {id}"),
        SnTopic::Short(short) => format!("short {}", String::from_utf8_lossy(&short)),
    }
}
