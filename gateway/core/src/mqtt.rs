//! MQTT's events to requests, effects to its endpoint.

use std::net::SocketAddr;
use std::sync::Arc;

use motegate_broker::{Effect, Open, Request, RetainHandling, Subscribe, SubscribeOutcome};
use motegate_message::{
    ConnectionId, Delivery, ListenerId, Message, Qos, Reason, SessionId, SessionKey, TopicName,
    Will,
};
use motegate_mqtt::endpoint::{Accept, Connect, Event, Published, SubscribeItem, Transmit};
use motegate_timers::Instant;

use crate::access::Target;
use crate::admission::{Rates, Takeover, Verdict};
use crate::notice::{Notice, NoticeKind};
use crate::pending::Pending;
use crate::topics::{is_closed_to, mount_filter, mount_name, spares_dollar};
use crate::{Core, Output, Protocol, content_types};

/// Slots are the transport's and dense; the endpoint closes one beyond this.
const MAX_SLOT: usize = 1 << 24;

/// What the core knows of a connection, from its beginning until it was refused, closed or lost.
#[derive(Debug)]
pub(crate) struct MqttClient {
    pub(crate) conn: ConnectionId,
    /// Once the broker has opened it.
    session: Option<SessionId>,
    /// Once a CONNECT has come.
    pub(crate) key: Option<SessionKey>,
    pub(crate) peer: Option<SocketAddr>,
    /// What the transport or a password has proved.
    pub(crate) identity: Option<Arc<str>>,
    pub(crate) listener: ListenerId,
    /// Its identity is one of `users`.
    pub(crate) is_user: bool,
    /// Not read because its endpoint says so, or because the store is behind.
    paused_by_endpoint: bool,
    paused_by_store: bool,
}

/// A connection as its transport hands it over: `Input::Opened`.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) conn: ConnectionId,
    pub(crate) listener: ListenerId,
    pub(crate) peer: Option<SocketAddr>,
    pub(crate) identity: Option<Arc<str>>,
    pub(crate) host: Option<Arc<str>>,
    pub(crate) since: Instant,
}

impl Core {
    pub(crate) fn mqtt_client(&mut self, conn: ConnectionId) -> Option<&mut MqttClient> {
        self.mqtt_clients.get_mut(conn.slot())?.as_mut().filter(|client| client.conn == conn)
    }

    pub(crate) fn mqtt_opened(&mut self, opened: Opened) {
        let Opened { conn, listener, peer, identity, since, .. } = opened;
        let client = MqttClient {
            conn,
            session: None,
            key: None,
            peer,
            identity,
            listener,
            is_user: false,
            paused_by_endpoint: false,
            paused_by_store: false,
        };
        if conn.slot() >= MAX_SLOT {
            let refused = NoticeKind::Refused(Reason::QuotaExceeded);
            self.mqtt_notice(Some(&client), refused, None);
        } else {
            if self.mqtt_clients.len() <= conn.slot() {
                self.mqtt_clients.resize_with(conn.slot() + 1, || None);
            }
            self.mqtt_clients[conn.slot()] = Some(client);
        }
        self.mqtt.handle_opened(&self.turn, conn, listener, since);
    }

    /// The transport ended. Who had a session is told of by its endpoint; a connection that never
    /// said CONNECT is worth no line.
    pub(crate) fn mqtt_lost(&mut self, conn: ConnectionId, reason: Reason) {
        self.mqtt.handle_closed(&self.turn, conn, reason);
        let waits = self.mqtt.is_connecting(conn);
        let forgotten = |client: &mut MqttClient| client.session.is_none() && !waits;
        if self.mqtt_client(conn).is_some_and(forgotten) {
            self.drop_mqtt_client(conn);
        }
    }

    pub(crate) fn drop_mqtt_client(&mut self, conn: ConnectionId) -> Option<MqttClient> {
        self.logins.remove(&conn);
        self.nameless.remove(&conn);
        let slot = self.mqtt_clients.get_mut(conn.slot())?;
        slot.take_if(|client| client.conn == conn)
    }

    pub(crate) fn mqtt_event(&mut self, event: Event) {
        match event {
            Event::Publish { conn, ticket, message, .. } => {
                self.mqtt_publish(conn, ticket, message)
            }
            Event::Acked { session, delivery } => self.ask(Request::Ack { session, delivery }),
            Event::TooLarge { session, delivery } => {
                let Delivery { id: delivery, message, share, .. } = *delivery;
                self.ask(Request::TooLarge { session, delivery, message, share });
            }
            Event::Credit { session, window, room } => {
                self.ask(Request::Credit { session, window, room });
            }
            Event::Connect(connect) => self.mqtt_admit(*connect),
            Event::Limited { conn, limit, ends: true } => {
                self.ending.insert(conn, limit.key());
            }
            Event::Limited { conn, limit, ends: false } => {
                let Some(client) = self.mqtt_client(conn) else { return };
                let notice = client.notice(NoticeKind::Limited);
                self.notice(Notice { limit: Some(limit.key()), ..notice });
            }
            Event::Auth { conn, method, data, again } => self.mqtt_auth(conn, method, data, again),
            Event::Subscribe { conn, session, ticket, items, identifier } => {
                self.mqtt_subscribe(conn, session, ticket, items, identifier);
            }
            Event::Unsubscribe { conn, session, ticket, filters } => {
                let Some((listener, mount)) = self.mqtt_mount(conn) else { return };
                let config = self.config.mqtt_of(listener);
                let mut unknown = Vec::new();
                let mut mounted = Vec::with_capacity(filters.len());
                for (place, filter) in filters.into_iter().enumerate() {
                    match mount_filter(config, &mount, filter) {
                        Ok(filter) => mounted.push(filter),
                        Err(_) => unknown.push(place),
                    }
                }
                let ticket =
                    self.pending.insert(Pending::MqttUnsubscribe { conn, ticket, unknown });
                self.ask(Request::Unsubscribe { ticket, session, filters: mounted });
            }
            Event::Disconnected { conn, session, reason, drop_will, expiry } => {
                let client = self.drop_mqtt_client(conn);
                self.mqtt_notice(client.as_ref(), NoticeKind::Disconnected(reason), None);
                let handle = Target::Mqtt(conn).to_handle();
                self.ask(Request::Close { session, handle, drop_will, expiry });
            }
        }
    }

    /// A CONNECT has come: whether it is its turn.
    fn mqtt_admit(&mut self, connect: Connect) {
        let conn = connect.conn;
        let listener = self.listener(connect.listener);
        let key = SessionKey::new(&listener.realm, &connect.client_id);
        let rates = Rates::of(&self.config, listener);
        let now = self.turn.now;
        let Some(client) = self.mqtt_client(conn) else { return };
        client.key = Some(key.clone());
        let from = (connect.listener.0, client.peer.map(|peer| peer.ip()));
        match self.admission.judge(now, rates, from, &key) {
            Verdict::Now => self.mqtt_login(connect),
            Verdict::Later(at) => self.admission.hold(at, connect),
            Verdict::Refused(limit) => {
                self.ending.insert(conn, limit);
                self.mqtt_refuse(conn, Reason::RateLimited, None);
            }
        }
    }

    /// CONNECTs whose turn has come. Who has another realm by now was sent away.
    pub(crate) fn mqtt_turns(&mut self) {
        while let Some(connect) = self.admission.due(self.turn.now) {
            if self.mqtt_client(connect.conn).is_some() {
                self.mqtt_login(connect);
            }
        }
    }

    /// What to change where a listener wants each client to be called what it has proved to be;
    /// `None` where it is, or need not be.
    fn names_somebody_else(&mut self, connect: &Connect) -> Option<String> {
        if !self.listener(connect.listener).client_id_from_identity {
            return None;
        }
        let identity = self.mqtt_client(connect.conn).and_then(|client| client.identity.clone());
        let identity = identity.as_deref().unwrap_or_default();
        (identity != connect.client_id)
            .then(|| format!("its client id must be its identity: connect as `{identity}`"))
    }

    /// Whoever it is may come in.
    pub(crate) fn mqtt_open(&mut self, connect: Connect) {
        let conn = connect.conn;
        let Some(key) = self.mqtt_client(conn).and_then(|client| client.key.clone()) else {
            return;
        };
        if let Some(text) = self.names_somebody_else(&connect) {
            self.mqtt_refuse(conn, Reason::BadClientId, Some(text));
            return;
        }
        let mount = self.listener(connect.listener).mount.clone();
        let config = self.config.mqtt_of(connect.listener);
        let will = connect.will.map(|will| mount_will(config, will, &mount, &key)).transpose();
        let will = match will {
            Ok(will) => will,
            Err(reason) => {
                self.mqtt_refuse(conn, reason, Some("the will's topic is not accepted".into()));
                return;
            }
        };
        let queue = self.config.queue_of(connect.listener);
        let ticket = self.pending.insert(Pending::MqttConnect { conn });
        self.ask(Request::Open(Open {
            ticket,
            key: Some(key),
            handle: Target::Mqtt(conn).to_handle(),
            clean: connect.clean,
            expiry: connect.expiry,
            will: motegate_broker::WillChange::Set(will),
            window: connect.window,
            room: connect.room,
            queue,
        }));
    }

    /// Answers a CONNECT with a refusal, told once: its close that follows finds no client.
    pub(crate) fn mqtt_refuse(&mut self, conn: ConnectionId, reason: Reason, text: Option<String>) {
        let client = self.drop_mqtt_client(conn);
        self.mqtt_notice(client.as_ref(), NoticeKind::Refused(reason), text);
        self.mqtt.refuse(&self.turn, conn, reason);
    }

    fn mqtt_publish(&mut self, conn: ConnectionId, ticket: u64, mut message: Message) {
        let over = self.backpressure.is_over();
        let Some(client) = self.mqtt_client(conn) else { return };
        message.publisher = client.key.clone();
        let listener = client.listener;
        if over && !client.paused_by_store {
            client.paused_by_store = true;
            let already = client.paused_by_endpoint;
            self.backpressure.pause(conn);
            if !already {
                self.output(Output::PauseReads(conn));
            }
        }
        let mount = &self.listener(listener).mount;
        let closed = |topic: &TopicName| {
            message.publisher.as_ref().is_none_or(|client| is_closed_to(client, topic))
        };
        let config = self.config.mqtt_of(listener);
        let topic = mount_name(config, mount, message.topic.clone()).and_then(|topic| {
            // Also below a mount, where others would take it for the broker's own.
            let denied = closed(&topic) || !mount.is_empty() && closed(&message.topic);
            if denied { Err(Reason::AclDeny) } else { Ok(topic) }
        });
        match topic {
            Ok(topic) => {
                message.topic = topic;
                content_types::number(message.properties.as_mut());
                let ticket = self.pending.insert(Pending::MqttPublish { conn, ticket });
                self.ask(Request::Publish { ticket, message, precondition: None });
            }
            Err(reason) => {
                self.mqtt_refused(conn, reason);
                self.mqtt.published(&self.turn, conn, ticket, Err(reason));
            }
        }
    }

    fn mqtt_refused(&mut self, conn: ConnectionId, reason: Reason) {
        let kind = NoticeKind::Refused(reason);
        let notice = self.mqtt_client(conn).map(|client| client.notice(kind));
        self.notice(notice.unwrap_or_else(|| Notice::new(kind)));
    }

    /// By which listener a client came, and below which prefix its topics lie.
    fn mqtt_mount(&mut self, conn: ConnectionId) -> Option<(ListenerId, Arc<str>)> {
        let listener = self.mqtt_client(conn)?.listener;
        Some((listener, self.listener(listener).mount.clone()))
    }

    fn mqtt_subscribe(
        &mut self,
        conn: ConnectionId,
        session: SessionId,
        ticket: u64,
        items: Vec<SubscribeItem>,
        identifier: Option<u32>,
    ) {
        let Some((listener, mount)) = self.mqtt_mount(conn) else { return };
        let config = self.config.mqtt_of(listener);
        let mut refused = Vec::new();
        let mut filters = Vec::with_capacity(items.len());
        for (place, item) in items.into_iter().enumerate() {
            match mount_filter(config, &mount, item.filter) {
                Ok(filter) => filters.push(Subscribe {
                    spares_dollar: spares_dollar(&mount, &filter.filter),
                    by_rule: false,
                    hears_expiry: false,
                    filter,
                    qos: item.qos,
                    no_local: item.no_local,
                    retain_as_published: item.retain_as_published,
                    retain_handling: match item.retain_handling {
                        0 => RetainHandling::Always,
                        1 => RetainHandling::IfNew,
                        _ => RetainHandling::Never,
                    },
                    identifier,
                }),
                Err(reason) => refused.push((place, reason)),
            }
        }
        let ticket = self.pending.insert(Pending::MqttSubscribe { conn, ticket, refused });
        let most = self.config.own(listener).map(|own| own.subscriptions);
        self.ask(Request::Subscribe { ticket, session, filters, most });
    }

    pub(crate) fn mqtt_answer(&mut self, pending: Pending, effect: Effect) {
        match (pending, effect) {
            (Pending::MqttPublish { conn, ticket }, Effect::Accepted { matched, after, .. }) => {
                let published = Published { matched: matched > 0, after };
                self.mqtt.published(&self.turn, conn, ticket, Ok(published));
            }
            (Pending::MqttPublish { conn, ticket }, Effect::Refused { reason, .. }) => {
                self.mqtt_refused(conn, reason);
                self.mqtt.published(&self.turn, conn, ticket, Err(reason));
            }
            (Pending::MqttConnect { conn }, Effect::Opened { session, present, after, .. }) => {
                if let Some(client) = self.mqtt_client(conn) {
                    client.session = Some(session);
                }
                self.mqtt.accept(&self.turn, conn, Accept { session, present, after });
                let kind = NoticeKind::Connected { present };
                let Some(notice) = self.mqtt_client(conn).map(|c| c.notice(kind)) else { return };
                let (now, key) = (self.turn.now, notice.client.as_ref());
                if !key.is_some_and(|key| self.admission.is_told(now, key)) {
                    self.notice(notice);
                }
            }
            (Pending::MqttConnect { conn }, Effect::OpenRefused { reason, .. }) => {
                if reason == Reason::QuotaExceeded {
                    self.ending.insert(conn, "max_sessions");
                }
                self.mqtt_refuse(conn, reason, None);
            }
            (
                Pending::MqttSubscribe { conn, ticket, refused },
                Effect::Subscribed { outcomes, after, .. },
            ) => {
                let mut results: Vec<Result<Qos, Reason>> = outcomes
                    .into_iter()
                    .map(|outcome| match outcome {
                        SubscribeOutcome::Granted(qos) => Ok(qos),
                        SubscribeOutcome::Refused(reason) => Err(reason),
                    })
                    .collect();
                for (place, reason) in refused {
                    results.insert(place.min(results.len()), Err(reason));
                }
                for reason in results.iter().filter_map(|result| result.err()) {
                    self.mqtt_refused(conn, reason);
                }
                self.mqtt.subscribed(&self.turn, conn, ticket, &results, after);
            }
            (
                Pending::MqttUnsubscribe { conn, ticket, unknown },
                Effect::Unsubscribed { mut existed, after, .. },
            ) => {
                for place in unknown {
                    existed.insert(place.min(existed.len()), false);
                }
                self.mqtt.unsubscribed(&self.turn, conn, ticket, &existed, after);
            }
            (pending, effect) => unreachable_answer(&pending, &effect),
        }
    }

    pub(crate) fn mqtt_deliver(
        &mut self,
        session: SessionId,
        conn: ConnectionId,
        delivery: Delivery,
    ) {
        let Some(listener) = self.mqtt_client(conn).map(|client| client.listener) else { return };
        let mount = &self.listener(listener).mount;
        if mount.is_empty() {
            self.mqtt.deliver(&self.turn, conn, delivery, None);
            return;
        }
        match delivery.message.topic.as_str().strip_prefix(&**mount).filter(|t| !t.is_empty()) {
            Some(topic) => {
                let topic = topic.to_owned();
                self.mqtt.deliver(&self.turn, conn, delivery, Some(topic));
            }
            None => self.mqtt_nameless(session, conn, listener, &delivery),
        }
    }

    pub(crate) fn mqtt_closed(&mut self, conn: ConnectionId, reason: Reason) {
        let client = self.drop_mqtt_client(conn);
        let takeover = match client.as_ref().and_then(|client| client.key.as_ref()) {
            Some(key) if reason == Reason::TakenOver => {
                self.admission.taken_over(self.turn.now, key)
            }
            _ => Takeover::Single,
        };
        match (takeover, &client) {
            (Takeover::Begins, Some(client)) => {
                let notice = client.notice(NoticeKind::Limited);
                let text = Some(crate::admission::FOUGHT_OVER.into());
                self.notice(Notice { limit: Some("takeovers"), text, ..notice });
                self.mqtt_untold(conn, reason);
            }
            (Takeover::GoesOn, _) => self.mqtt_untold(conn, reason),
            _ => self.mqtt_notice(client.as_ref(), NoticeKind::Disconnected(reason), None),
        }
        self.mqtt.close(&self.turn, conn, reason);
    }

    /// Counts the end of a connection that is worth no line.
    fn mqtt_untold(&mut self, conn: ConnectionId, reason: Reason) {
        self.ending.remove(&conn);
        self.stats.count(reason);
    }

    /// Its listener is another one, or none: the session stays as it was kept. It is on its way
    /// back: its will would only alarm.
    pub(crate) fn mqtt_moved(&mut self, conn: ConnectionId) {
        self.mqtt_sent_away(conn, Reason::ConfigReload, true);
    }

    /// What it has proved counts no more.
    pub(crate) fn mqtt_revoked(&mut self, conn: ConnectionId) {
        self.mqtt_sent_away(conn, Reason::AuthFailed, false);
    }

    pub(crate) fn mqtt_sent_away(&mut self, conn: ConnectionId, reason: Reason, drop_will: bool) {
        let Some(client) = self.drop_mqtt_client(conn) else { return };
        self.mqtt.close(&self.turn, conn, reason);
        let Some(session) = client.session else { return };
        let handle = Target::Mqtt(conn).to_handle();
        self.ask(Request::Close { session, handle, drop_will, expiry: None });
        self.mqtt_notice(Some(&client), NoticeKind::Disconnected(reason), None);
    }

    pub(crate) fn shutdown_mqtt(&mut self) {
        let clients: Vec<MqttClient> =
            self.mqtt_clients.iter_mut().filter_map(Option::take).collect();
        self.logins.clear();
        for client in clients {
            let conn = client.conn;
            self.mqtt.close(&self.turn, conn, Reason::Shutdown);
            // Who has not said CONNECT has nothing to be told, and is no line in the log.
            let Some(session) = client.session else { continue };
            let handle = Target::Mqtt(conn).to_handle();
            self.ask(Request::Close { session, handle, drop_will: false, expiry: None });
            self.mqtt_notice(Some(&client), NoticeKind::Disconnected(Reason::Shutdown), None);
        }
    }

    fn mqtt_notice(&mut self, client: Option<&MqttClient>, kind: NoticeKind, text: Option<String>) {
        if let Some(client) = client {
            let limit = self.ending.remove(&client.conn);
            self.notice(Notice { limit, text, ..client.notice(kind) });
        }
    }

    /// What the endpoint wants of the transport, merged with what the store's pace asks for.
    pub(crate) fn mqtt_transmit(&mut self, transmit: Transmit) {
        match transmit {
            Transmit::Write(conn) => self.output(Output::Write(conn)),
            Transmit::Close(conn, reason) => {
                // Whoever had a session, or was refused by the core, is gone from the table: this
                // one was refused by its endpoint before it had one.
                let client = self.drop_mqtt_client(conn);
                let kind = match reason {
                    // In the middle of its authentication.
                    Reason::ClientDisconnect => NoticeKind::Disconnected(reason),
                    _ => NoticeKind::Refused(reason),
                };
                self.mqtt_notice(client.as_ref(), kind, None);
                self.output(Output::Close(conn, reason));
            }
            Transmit::PauseReads(conn) => {
                if let Some(client) = self.mqtt_client(conn) {
                    client.paused_by_endpoint = true;
                }
                self.output(Output::PauseReads(conn));
            }
            Transmit::ResumeReads(conn) => {
                let blocked = self.mqtt_client(conn).is_some_and(|client| {
                    client.paused_by_endpoint = false;
                    client.paused_by_store
                });
                if !blocked {
                    self.output(Output::ResumeReads(conn));
                }
            }
        }
    }

    /// The store has caught up.
    pub(crate) fn resume_reads(&mut self, conn: ConnectionId) {
        let Some(client) = self.mqtt_client(conn) else { return };
        client.paused_by_store = false;
        if !client.paused_by_endpoint {
            self.output(Output::ResumeReads(conn));
        }
    }
}

impl MqttClient {
    pub(crate) fn notice(&self, kind: NoticeKind) -> Notice {
        Notice {
            protocol: Some(Protocol::Mqtt),
            listener: Some(self.listener),
            peer: self.peer,
            client: self.key.clone(),
            ..Notice::new(kind)
        }
    }
}

/// A will as it will be published: final topic, known publisher.
pub(crate) fn mount_will(
    config: &motegate_mqtt::Config,
    mut will: Will,
    mount: &str,
    key: &SessionKey,
) -> Result<Will, Reason> {
    let mounted = mount_name(config, mount, will.message.topic.clone())?;
    if is_closed_to(key, &will.message.topic) || is_closed_to(key, &mounted) {
        return Err(Reason::AclDeny);
    }
    will.message.topic = mounted;
    content_types::number(will.message.properties.as_mut());
    will.message.publisher = Some(key.clone());
    Ok(will)
}

/// The broker answers a request with the effects that its documentation names and no others.
pub(crate) fn unreachable_answer(pending: &Pending, effect: &Effect) {
    debug_assert!(false, "{effect:?} does not answer {pending:?}");
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every idle connection has one.
    #[test]
    fn a_client_is_small() {
        assert!(size_of::<Option<MqttClient>>() <= 96, "{}", size_of::<Option<MqttClient>>());
    }
}
