//! Another configuration while everybody stays connected (mapping.md §2.18).
//!
//! What the new rules mean for each client is worked out first ([`Plan`]) and only then done, so
//! that a dry run ([`Core::preview`]) tells exactly what a reload would do. An observation whose
//! topic is another now moves there, one that no rule takes gets a final 4.04; an MQTT-SN
//! subscription by number follows its number, and an active client whose registered names mean
//! another topic is disconnected, so that it registers anew; a sleeping one is not woken for that.
//! Listeners keep their [`ListenerId`] by name and protocol; whoever is on a removed one is
//! disconnected, as is whoever came in anonymously where that is no longer allowed. The work grows
//! with the number of connected clients, once a reload; the subscriptions by number of an MQTT-SN
//! client that is away follow when it comes back.
//!
//! Nothing that waits for a client is dropped. Left as it is: what was settled with a client when
//! it connected.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use motegate_broker::{Request, RetainHandling, Subscribe, SubscriptionView};
use motegate_coap::endpoint::{Code, ObservationId};
use motegate_mapping::{Action, Caller, CoapMethod, SnTopic, Table};
use motegate_message::{
    ConnectionId, ListenerId, Peer, Reason, SessionId, SessionKey, SubscriptionFilter, TopicFilter,
};
use motegate_mqtt_sn::endpoint::{ClientRef, ClientState};

use crate::access::Target;
use crate::coap::{Meaning, Observation, map_resource};
use crate::notice::NoticeKind;
use crate::pending::Pending;
use crate::sn::{SnClient, caller, subscribed_topic};
use crate::{Config, Core, Listener, Protocol};

/// A configuration to change to.
#[derive(Debug, Clone)]
pub struct Reload {
    /// Its listeners are placed by [`align`]; `durable` and `max_uncommitted_bytes` stay as they
    /// were at the start.
    pub config: Config,
    /// The rules.
    pub table: Arc<Table>,
    /// Listeners that are no more.
    pub removed: Vec<ListenerId>,
}

/// Where the listeners of a new configuration are placed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Aligned {
    /// For [`Config::listeners`]; those of removed ones keep their place.
    pub listeners: Vec<Listener>,
    /// The place of each, in the order of the new configuration.
    pub ids: Vec<ListenerId>,
    /// Of the old ones, those that have no place in the new configuration.
    pub removed: Vec<ListenerId>,
}

/// Gives listeners of the same name and protocol the same place, others a new one. `None` beyond
/// 65,536 places.
#[must_use]
pub fn align(old: &[Listener], new: Vec<Listener>) -> Option<Aligned> {
    let mut listeners = old.to_vec();
    let mut ids = Vec::with_capacity(new.len());
    for listener in new {
        let same = |old: &Listener| old.name == listener.name && old.protocol == listener.protocol;
        let at = old.iter().position(same).unwrap_or(listeners.len());
        ids.push(ListenerId(u16::try_from(at).ok()?));
        match listeners.get_mut(at) {
            Some(place) => *place = listener,
            None => listeners.push(listener),
        }
    }
    let removed = (0..old.len()).filter_map(|at| u16::try_from(at).ok().map(ListenerId));
    let removed = removed.filter(|id| !ids.contains(id)).collect();
    Some(Aligned { listeners, ids, removed })
}

/// What a reload does to a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Touched {
    /// What it speaks.
    pub protocol: Protocol,
    /// Its name.
    pub client: String,
    /// Its address, or its forwarder's.
    pub peer: Option<SocketAddr>,
    /// What happens.
    pub change: Change,
}

/// A change for a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Its listener is removed, or its sessions or topics are others there: it is disconnected.
    ListenerChanged {
        /// The listener's name.
        listener: String,
    },
    /// Its listener takes no anonymous clients any more: it is disconnected.
    ListenerClosed {
        /// The listener's name.
        listener: String,
    },
    /// An observation follows its path to another topic.
    ObservationMoved {
        /// Of which path.
        path: String,
        /// The old topic.
        before: String,
        /// The new topic.
        after: String,
    },
    /// An observation ends with a final 4.04.
    ObservationEnded {
        /// Of which path.
        path: String,
        /// Why: what the new rules say.
        text: String,
    },
    /// A topic id, short name or registered name means another topic, or none any more.
    TopicChanged {
        /// `id 10`, `short tt` or `name d/temp`.
        topic: String,
        /// The old topic.
        before: String,
        /// The new topic; `None`: it is refused from now on.
        after: Option<String>,
        /// Whether the client is disconnected, so that it registers anew.
        disconnected: bool,
    },
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Change::ListenerChanged { listener } => {
                write!(f, "is disconnected: listener {listener} is another or none")
            }
            Change::ListenerClosed { listener } => {
                write!(
                    f,
                    "is disconnected: listener {listener} takes no anonymous clients any more"
                )
            }
            Change::ObservationMoved { path, before, after } => {
                write!(f, "observes {path}: {before} → {after}")
            }
            Change::ObservationEnded { path, text } => {
                write!(f, "loses its observe of {path} ({text}): one final 4.04")
            }
            Change::TopicChanged { topic, before, after, disconnected } => {
                let after = after.as_deref().unwrap_or("nothing");
                write!(f, "{topic}: {before} → {after}")?;
                if *disconnected {
                    f.write_str(" (is disconnected, registers anew)")
                } else {
                    Ok(())
                }
            }
        }
    }
}

/// What is to be done, in the order in which it is done.
#[derive(Debug, Default)]
struct Plan {
    mqtt: Vec<ConnectionId>,
    sn: Vec<(ClientRef, SnPlan)>,
    observations: Vec<(ObservationId, ObservationPlan)>,
    touched: Vec<Touched>,
}

#[derive(Debug, Default)]
struct SnPlan {
    session: Option<SessionId>,
    /// Disconnected; `false`: only its subscriptions move.
    close: bool,
    moved: Vec<(SubscriptionView, Option<TopicFilter>)>,
}

#[derive(Debug)]
enum ObservationPlan {
    End(Code),
    Move { before: TopicFilter, after: TopicFilter, meaning: Meaning },
    Keep { meaning: Meaning },
}

impl Core {
    /// What a reload would do, by client.
    #[must_use]
    pub fn preview(&self, reload: &Reload) -> Vec<Touched> {
        self.plan(reload).touched
    }

    /// Changes over; the caller has opened the sockets of new listeners.
    pub(crate) fn reload(&mut self, reload: Reload) -> Vec<Touched> {
        let plan = self.plan(&reload);
        let Reload { mut config, table, .. } = reload;
        config.durable = self.config.durable;
        config.max_uncommitted_bytes = self.config.max_uncommitted_bytes;
        self.broker.reconfigure(config.broker);
        self.mqtt.reconfigure(config.mqtt.clone());
        self.sn.reconfigure(config.mqtt_sn.clone());
        self.coap.reconfigure(config.coap.clone());
        self.config = config;
        self.table = table;
        for conn in plan.mqtt {
            self.mqtt_moved(conn);
        }
        for (client, plan) in plan.sn {
            self.sn_reload(client, plan);
        }
        for (observation, plan) in plan.observations {
            self.observation_reload(observation, plan);
        }
        plan.touched
    }

    fn plan(&self, reload: &Reload) -> Plan {
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

    fn sn_reload(&mut self, client: ClientRef, plan: SnPlan) {
        if let Some(session) = plan.session {
            self.sn_resubscribe(session, plan.moved);
        }
        if !plan.close {
            return;
        }
        let Some(known) = self.sn_clients.remove(&client) else { return };
        self.sn.close(&self.turn, client, Reason::ConfigReload);
        if let Some(session) = known.session {
            // It is on its way back: its will would only alarm.
            let handle = Target::Sn(client).to_handle();
            self.ask(Request::Close { session, handle, drop_will: true, expiry: None });
        }
        self.notice(known.notice(NoticeKind::Disconnected(Reason::ConfigReload)));
    }

    /// Subscriptions by number, held since the client was last here, follow the rules of today.
    pub(crate) fn sn_follow_rules(&mut self, client: ClientRef) {
        let Some(known) = self.sn_clients.get(&client) else { return };
        let Some(session) = known.session else { return };
        let caller = self.sn_caller(&known.key, &known.peer);
        let mut moved = Vec::new();
        for held in self.broker.subscriptions_of(session, usize::MAX) {
            let Some(topic) = subscribed_topic(held.identifier) else { continue };
            let after = self.table.sn(&caller, topic).ok().map(|mapped| mapped.topic);
            if after.as_ref() != Some(&held.filter) {
                moved.push((held, after));
            }
        }
        self.sn_resubscribe(session, moved);
    }

    /// What waits because of the old filters goes on waiting: it was acknowledged.
    fn sn_resubscribe(
        &mut self,
        session: SessionId,
        moved: Vec<(SubscriptionView, Option<TopicFilter>)>,
    ) {
        if moved.is_empty() {
            return;
        }
        let (mut from, mut to) = (Vec::with_capacity(moved.len()), Vec::new());
        for (held, after) in moved {
            let share = held.share.clone();
            let new = after.map(|filter| SubscriptionFilter { share, filter });
            to.extend(new.map(|filter| Subscribe {
                filter,
                qos: held.qos,
                no_local: held.no_local,
                retain_as_published: false,
                retain_handling: RetainHandling::Always,
                identifier: held.identifier,
            }));
            from.push(SubscriptionFilter { share: held.share, filter: held.filter });
        }
        let ticket = self.pending.insert(Pending::Nothing);
        self.ask(Request::Resubscribe { ticket, session, from, to });
    }

    fn observation_reload(&mut self, id: ObservationId, plan: ObservationPlan) {
        match plan {
            ObservationPlan::End(code) => self.finish_observation(id, code),
            ObservationPlan::Keep { meaning } => {
                if let Some(known) = self.observations.get_mut(&id) {
                    known.meaning = meaning;
                }
            }
            ObservationPlan::Move { before, after, meaning } => {
                self.move_observation(id, before, after, meaning);
            }
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
