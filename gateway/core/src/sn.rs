//! MQTT-SN's events to requests, effects to its endpoint; PUBLISH is in `publish`.

mod publish;
mod subscriptions;

pub(crate) use self::subscriptions::Resubscription;

use bytes::Bytes;
use motegate_broker::{Effect, Open, QueuePolicy, Request, SubscribeOutcome, WillChange};
use motegate_mapping::{Caller, MapError, OnBadPayload, SnMatch, SnTopic};
use motegate_message::{
    Delivery, ListenerId, Message, Peer, Reason, SessionId, SessionKey, TopicName, Will,
};
use motegate_mqtt_sn::endpoint::{
    Accept, ClientRef, Connect, Event, Filter, Known, Names, Topic, WillChange as SnWillChange,
    WillUpdate,
};

use motegate_timers::Instant;
use publish::Publish;

use crate::access::Target;
use crate::admission::{FOUGHT_OVER, Rates, Takeover, Verdict};
use crate::mqtt::unreachable_answer;
use crate::notice::{Notice, NoticeKind};
use crate::pending::Pending;
use crate::topics::{check_bounds, is_reserved};
use crate::{Config, Core, Protocol};

/// Bytes that a client's link takes now: UDP has no window, so it is topped up at every credit.
pub(crate) const ROOM: u32 = 64 * 1024;

impl Core {
    pub(crate) fn sn_event(&mut self, event: Event) {
        match event {
            Event::Publish { client, peer, ticket, topic, qos, retain, payload } => {
                let publish = Publish { topic, qos, retain, payload };
                self.sn_publish(client.map(|(client, _)| client), peer, ticket, publish);
            }
            Event::Acked { session, delivery } => self.ask(Request::Ack { session, delivery }),
            Event::Credit { session, listener, window, room, asleep } => {
                let queue = self.sn_queue(listener, asleep);
                self.ask(Request::Bound { session, queue });
                self.ask(Request::Credit { session, window, room });
            }
            // The answer names the client by its handle: no ticket is needed.
            Event::Drain { session, window, room } => {
                self.ask(Request::Drain { ticket: 0, session, window, room });
            }
            Event::Connect(connect) => self.sn_connect(*connect),
            Event::Register { client, ticket, name } => {
                let config = self.sn_bounds(client);
                let result = self
                    .sn_map(client, SnTopic::Name(name.as_str()))
                    .and_then(|mapped| check_bounds(config, mapped.topic.as_str()))
                    .and_then(|()| self.sn_stores())
                    .map_err(|error| self.sn_refused(client, error));
                self.sn.registered(&self.turn, ticket, result);
            }
            Event::Subscribe { client, session, ticket, filter, qos } => {
                self.sn_subscribe(client, session, ticket, &filter, qos);
            }
            Event::Unsubscribe { client, session, ticket, filter } => {
                self.sn_unsubscribe(client, session, ticket, &filter);
            }
            Event::UpdateWill { client, session, ticket, change } => {
                let ticket = self.pending.insert(Pending::SnWill { client, ticket, change });
                self.ask(Request::GetWill { ticket, session });
            }
            Event::Disconnected { client, peer, session, reason, drop_will, expiry } => {
                self.sn_leaving.remove(&client);
                if let Some(peer) = peer {
                    let key = self.broker.session(session).and_then(|view| view.key.cloned());
                    let kind = NoticeKind::Disconnected(reason);
                    self.notice(Notice { client: key, ..of_peer(kind, &peer) });
                }
                let handle = Target::Sn(client).to_handle();
                self.ask(Request::Close { session, handle, drop_will, expiry });
            }
            Event::Overdue { client, lost_at } => self.sn_overdue(client, lost_at),
            Event::Undeliverable { client, text } => {
                let Some(known) = self.sn.known(client) else { return };
                let notice = notice(known, NoticeKind::Dropped(Reason::BadPayload));
                self.notice(Notice { text: Some(text.into()), ..notice });
            }
            Event::Dropped { peer, reason } => {
                self.notice(of_peer(NoticeKind::Dropped(reason), &peer))
            }
        }
    }

    fn sn_connect(&mut self, connect: Connect) {
        let Connect { client, peer, client_id, clean, expiry, will, resumed, asleep } = connect;
        let listener = self.listener(peer.listener);
        let key = SessionKey::new(&listener.realm, &client_id);
        if let Some(session) = resumed.filter(|id| self.broker.find_session(&key) != Some(*id)) {
            // The session is over, or the listener has another realm now, where the client's name
            // means another session.
            self.sn.refuse(&self.turn, client, Reason::SessionExpired);
            if self.broker.session(session).is_none() {
                self.sn.forget(&self.turn, session);
            }
            return;
        }
        if let Some(text) = self.closed_to_anonymous(peer.listener) {
            self.notice(Notice {
                client: Some(key),
                text: Some(text),
                ..of_peer(NoticeKind::Refused(Reason::AuthMissing), &peer)
            });
            self.sn.refuse(&self.turn, client, Reason::AuthMissing);
            return;
        }
        if resumed.is_none()
            && let Err(limit) = self.sn_admit(&key, &peer)
        {
            self.notice(Notice {
                client: Some(key),
                limit: Some(limit),
                ..of_peer(NoticeKind::Refused(Reason::RateLimited), &peer)
            });
            self.sn.refuse(&self.turn, client, Reason::RateLimited);
            return;
        }
        let will = match self.sn_will(&key, &peer, will) {
            Ok(will) => will,
            Err(error) => {
                self.notice(Notice {
                    client: Some(key),
                    text: Some(error.text),
                    ..of_peer(NoticeKind::Refused(error.reason), &peer)
                });
                self.sn.refuse(&self.turn, client, error.reason);
                return;
            }
        };
        let ticket = self.pending.insert(Pending::SnConnect { client, key: key.clone() });
        self.ask(Request::Open(Open {
            ticket,
            key: Some(key),
            handle: Target::Sn(client).to_handle(),
            clean,
            expiry,
            will,
            window: u16::from(!asleep),
            room: if asleep { 0 } else { ROOM },
            queue: self.sn_queue(peer.listener, asleep),
        }));
    }

    /// The bounds of a client's queue, on its listener or asleep. What is longer than any datagram never reaches it (MQTT-SN
    /// 1.2 §6.10) and takes no place. That is sure before its topic is looked at as long as no
    /// topic id converts payloads; where one does, the length counts when it is sent.
    fn sn_queue(&self, listener: ListenerId, asleep: bool) -> QueuePolicy {
        let own = self.config.queue_of(listener);
        let queue = if asleep { self.config.when_asleep } else { own };
        let fits = u16::try_from(self.config.mqtt_sn.max_payload()).unwrap_or(u16::MAX);
        QueuePolicy { max_payload: if self.table.sn_converts() { u16::MAX } else { fits }, ..queue }
    }

    /// Whether a client may have its session now, or the bound that refuses it ("congestion": it
    /// comes again). Who has one makes nothing grow and is not held up by those who do, but for two
    /// that take it from each other. Nobody waits here, where CONNECT is repeated anyway.
    fn sn_admit(&mut self, key: &SessionKey, peer: &Peer) -> Result<(), &'static str> {
        if self.broker.find_session(key).is_some() {
            let is_fought_over = self.sn_admission.is_fought_over(self.turn.now, key);
            return if is_fought_over { Err("takeovers") } else { Ok(()) };
        }
        let rates = Rates::of(&self.config, self.listener(peer.listener));
        let from = (peer.listener.0, Some(peer.addr.ip()));
        match self.sn_admission.judge(self.turn.now, rates, from, key) {
            Verdict::Now | Verdict::Later(_) => Ok(()),
            Verdict::Refused(limit) => Err(limit),
        }
    }

    /// The bounds of topics for a client.
    fn sn_bounds(&self, client: ClientRef) -> &motegate_mqtt::Config {
        let peer = self.sn.peer(client);
        peer.map_or(&self.config.mqtt, |peer| self.config.mqtt_of(peer.listener))
    }

    fn sn_will(
        &self,
        key: &SessionKey,
        peer: &Peer,
        will: SnWillChange,
    ) -> Result<WillChange, MapError> {
        match will {
            SnWillChange::Keep => Ok(WillChange::Keep),
            SnWillChange::Set(None) => Ok(WillChange::Set(None)),
            SnWillChange::Set(Some(will)) => {
                let mut will: Will = *will;
                let topic = will.message.topic.clone();
                self.sn_map_will((key, peer), &mut will, topic.as_str())?;
                Ok(WillChange::Set(Some(will)))
            }
        }
    }

    /// Gives a will its final topic and its publisher.
    fn sn_map_will(
        &self,
        (key, peer): (&SessionKey, &Peer),
        will: &mut Will,
        topic: &str,
    ) -> Result<(), MapError> {
        let mapped = self.table.sn(&self.sn_caller(key, peer), SnTopic::Name(topic))?;
        will.message.topic = self.sn_concrete(self.config.mqtt_of(peer.listener), &mapped)?;
        will.message.publisher = Some(key.clone());
        Ok(())
    }

    fn sn_map(&self, client: ClientRef, topic: SnTopic<'_>) -> Result<SnMatch, MapError> {
        let known = self.sn.known(client).ok_or_else(not_connected)?;
        self.table.sn(&self.sn_caller(known.key, known.peer), topic)
    }

    /// A topic id is kept with its session, so none is given out while the store fails.
    fn sn_stores(&self) -> Result<(), MapError> {
        match self.broker.is_store_failed() {
            false => Ok(()),
            true => Err(MapError {
                reason: Reason::StorageFull,
                text: "no topic id is given out: the store fails".into(),
            }),
        }
    }

    /// A mapped topic that is published to: within bounds, no wildcard, and not the broker's own.
    fn sn_concrete(
        &self,
        bounds: &motegate_mqtt::Config,
        mapped: &SnMatch,
    ) -> Result<TopicName, MapError> {
        check_bounds(bounds, mapped.topic.as_str())?;
        let topic = mapped.topic.as_name().ok_or_else(|| MapError {
            reason: Reason::BadTopic,
            text: format!("`{}` has a wildcard: publish to one topic", mapped.topic),
        })?;
        if is_reserved(&topic) {
            return Err(MapError {
                reason: Reason::AclDeny,
                text: format!("`{topic}` is the gateway's own to publish"),
            });
        }
        Ok(topic)
    }

    pub(crate) fn sn_caller<'a>(&'a self, key: &'a SessionKey, peer: &Peer) -> Caller<'a> {
        self.caller(peer.listener, key.client_id(), peer.addr.ip())
    }

    /// Counts and logs a refused topic; the reason goes to the client.
    fn sn_refused(&mut self, client: ClientRef, error: MapError) -> Reason {
        let kind = NoticeKind::Refused(error.reason);
        let notice = match self.sn.known(client) {
            Some(known) => notice(known, kind),
            None => Notice { protocol: Some(Protocol::MqttSn), ..Notice::new(kind) },
        };
        self.notice(Notice { text: Some(error.text), ..notice });
        error.reason
    }

    pub(crate) fn sn_answer(&mut self, pending: Pending, effect: Effect) {
        match (pending, effect) {
            (Pending::SnPublish { ticket }, Effect::Accepted { after, .. }) => {
                self.sn.published(&self.turn, ticket, Ok(after));
            }
            (Pending::SnPublish { ticket }, Effect::Refused { reason, .. }) => {
                self.notice(Notice {
                    protocol: Some(Protocol::MqttSn),
                    ..Notice::new(NoticeKind::Refused(reason))
                });
                self.sn.published(&self.turn, ticket, Err(reason));
            }
            (
                Pending::SnConnect { client, key },
                Effect::Opened { session, present, after, .. },
            ) => {
                self.sn_opened(client, Accept { key, session, present, after });
            }
            (Pending::SnConnect { client, key }, Effect::OpenRefused { reason, .. }) => {
                if let Some(peer) = self.sn.peer(client) {
                    let of_peer = of_peer(NoticeKind::Refused(reason), peer);
                    self.notice(Notice { client: Some(key), ..of_peer });
                }
                self.sn.refuse(&self.turn, client, reason);
            }
            (Pending::SnSubscribe { ticket, qos }, Effect::Subscribed { outcomes, after, .. }) => {
                let result = match outcomes.first() {
                    Some(SubscribeOutcome::Granted(granted)) => Ok((qos.min(*granted), after)),
                    Some(SubscribeOutcome::Refused(reason)) => Err(*reason),
                    None => Err(Reason::BadTopic),
                };
                self.sn.subscribed(&self.turn, ticket, result);
            }
            (Pending::SnUnsubscribe { ticket }, Effect::Unsubscribed { after, .. }) => {
                self.sn.unsubscribed(&self.turn, ticket, after);
            }
            (Pending::SnWill { client, ticket, change }, Effect::WillValue { will, .. }) => {
                self.sn_update_will(client, ticket, change, will);
            }
            (pending, effect) => unreachable_answer(&pending, &effect),
        }
    }

    fn sn_opened(&mut self, client: ClientRef, accept: Accept) {
        if let Some(peer) = self.sn.peer(client)
            && !self.sn_admission.is_told(self.turn.now, &accept.key)
        {
            let of_peer = of_peer(NoticeKind::Connected { present: accept.present }, peer);
            self.notice(Notice { client: Some(accept.key.clone()), ..of_peer });
        }
        let present = accept.present;
        self.sn.accept(&self.turn, client, accept);
        if present {
            self.sn_follow_rules(client);
        }
    }

    /// One half of a will changes, the other stays (MQTT-SN 1.2 §6.4).
    fn sn_update_will(
        &mut self,
        client: ClientRef,
        ticket: u64,
        change: WillUpdate,
        will: Option<Will>,
    ) {
        let updated = match (change, will) {
            (WillUpdate::Delete, _) => Ok(None),
            (WillUpdate::Topic { topic, qos, retain }, will) => {
                let mut will = will.unwrap_or_else(|| empty_will(topic.clone()));
                will.message.qos = qos;
                will.message.retain = retain;
                let known = self.sn.known(client).ok_or_else(not_connected);
                known
                    .and_then(|k| self.sn_map_will((k.key, k.peer), &mut will, topic.as_str()))
                    .map(|()| Some(will))
            }
            (WillUpdate::Payload(payload), Some(mut will)) => {
                will.message.payload = payload;
                Ok(Some(will))
            }
            (WillUpdate::Payload(_), None) => Err(MapError {
                reason: Reason::NotSupported,
                text: "WILLMSGUPD without a will topic: send WILLTOPICUPD first".into(),
            }),
        };
        let session = self.sn.known(client).map(|known| known.session);
        let result = match (updated, session) {
            (Ok(will), Some(session)) => Ok(self.ask_quietly(Request::SetWill { session, will })),
            (Ok(_), None) => Err(Reason::SnNotConnected),
            (Err(error), _) => Err(self.sn_refused(client, error)),
        };
        self.sn.will_updated(&self.turn, ticket, result);
    }

    pub(crate) fn sn_deliver(&mut self, session: SessionId, client: ClientRef, delivery: Delivery) {
        let Some(known) = self.sn.known(client) else { return };
        let caller = self.sn_caller(known.key, known.peer);
        match self.table.sn_names(&caller, &delivery.message.topic) {
            Some(names) => {
                let message = &*delivery.message;
                // An empty retained message clears the topic, whatever its format.
                let clears = message.retain && message.payload.is_empty();
                let conversion = names.conversion.filter(|_| !clears);
                let converted = conversion.map(|conversion| {
                    match conversion.downlink(None, "", &message.payload) {
                        Ok(down) => Ok(down.payload),
                        Err(_) if conversion.on_bad() == OnBadPayload::Pass => {
                            Ok(message.payload.clone())
                        }
                        Err(error) => {
                            Err(format!("the value of {}: {error}", message.topic).into())
                        }
                    }
                });
                let (predefined, short) = (names.predefined, names.short);
                let names = Names { name: names.name, predefined, short, by_predefined: converted };
                self.sys.of_mut(Protocol::MqttSn).delivered += 1;
                self.sn.deliver(&self.turn, client, delivery, names);
            }
            // `a/#` matches `a` itself, which lies outside the mount `a/`.
            None => self.ask(Request::Ack { session, delivery: delivery.id }),
        }
    }

    /// The alarm: somebody who reads the log may still look after the device before it counts as lost.
    fn sn_overdue(&mut self, client: ClientRef, lost_at: Instant) {
        let Some(known) = self.sn.known(client) else { return };
        let queued = self.broker.session(known.session);
        let queued = queued.map_or(0, |session| session.queued_messages);
        let left = lost_at.saturating_since(self.turn.now).as_secs();
        let text = format!(
            "it sleeps longer than it said; messages that wait for it: {queued}; lost in \
             {left} s"
        );
        let notice = notice(known, NoticeKind::Overdue);
        self.notice(Notice { text: Some(text), ..notice });
    }

    pub(crate) fn sn_closed(&mut self, client: ClientRef, reason: Reason) {
        self.sn_leaving.remove(&client);
        if let Some(known) = self.sn.known(client) {
            let ended = notice(known, NoticeKind::Disconnected(reason));
            let limited = notice(known, NoticeKind::Limited);
            let takeover = match reason {
                Reason::TakenOver => self.sn_admission.taken_over(self.turn.now, known.key),
                _ => Takeover::Single,
            };
            if takeover == Takeover::Begins {
                let text = Some(FOUGHT_OVER.into());
                self.notice(Notice { limit: Some("takeovers"), text, ..limited });
            }
            match takeover {
                Takeover::Single => self.notice(ended),
                Takeover::Begins | Takeover::GoesOn => self.stats.count(reason),
            }
        }
        self.sn.close(&self.turn, client, reason);
    }

    pub(crate) fn shutdown_sn(&mut self) {
        self.sn_leaving.clear();
        let all = self.sn.all_known().map(|(client, known)| {
            (client, known.session, notice(known, NoticeKind::Disconnected(Reason::Shutdown)))
        });
        let all: Vec<_> = all.collect();
        for (client, session, notice) in all {
            let goes_on = self.sn.goes_on(&self.turn, session);
            self.sn.close(&self.turn, client, Reason::Shutdown);
            // To the broker one that goes on is connected still, as after a crash.
            if !goes_on {
                let handle = Target::Sn(client).to_handle();
                self.ask(Request::Close { session, handle, drop_will: false, expiry: None });
            }
            self.notice(notice);
        }
    }

    /// Who asks, as the mapping sees it.
    pub(crate) fn caller<'a>(
        &'a self,
        listener: ListenerId,
        client: &'a str,
        source_ip: std::net::IpAddr,
    ) -> Caller<'a> {
        caller(&self.config, listener, client, source_ip)
    }
}

/// Who asks, as the mapping of a configuration sees it.
pub(crate) fn caller<'a>(
    config: &'a Config,
    listener: ListenerId,
    client: &'a str,
    source_ip: std::net::IpAddr,
) -> Caller<'a> {
    let settings = &config.listeners[usize::from(listener.0)];
    Caller {
        listener: &settings.name,
        client,
        identity: None,
        tenant: &settings.tenant,
        gateway: &config.gateway_name,
        source_ip,
        mount: &settings.mount,
    }
}

/// What is told of a client.
pub(crate) fn notice(known: Known<'_>, kind: NoticeKind) -> Notice {
    Notice { client: Some(known.key.clone()), ..of_peer(kind, known.peer) }
}

fn not_connected() -> MapError {
    let text = "the client is not connected".into();
    MapError { reason: Reason::SnNotConnected, text }
}

fn of_peer(kind: NoticeKind, peer: &Peer) -> Notice {
    Notice::of_peer(kind, Protocol::MqttSn, peer)
}

fn sn_topic(topic: &Topic) -> SnTopic<'_> {
    match topic {
        Topic::Name(name) => SnTopic::Name(name.as_str()),
        Topic::Predefined(id) => SnTopic::Predefined(*id),
        Topic::Short(short) => SnTopic::Short(*short),
    }
}

fn sn_filter(filter: &Filter) -> SnTopic<'_> {
    match filter {
        Filter::Name(name) => SnTopic::Name(name.as_str()),
        Filter::Predefined(id) => SnTopic::Predefined(*id),
        Filter::Short(short) => SnTopic::Short(*short),
    }
}

fn empty_will(topic: TopicName) -> Will {
    Will {
        message: Message::new(topic, Bytes::new()),
        expiry: None,
        delay: core::time::Duration::ZERO,
    }
}
