//! Observations: each is a broker session of its own with window 1 that keeps the latest value of
//! a topic, or of each topic where the rule has a wildcard (mapping.md §2.7).

use std::sync::Arc;
use std::time::Duration;

use motegate_broker::{
    Open, Overflow, QueuePolicy, Request, RetainHandling, Subscribe, WillChange,
};
use motegate_coap::endpoint::{
    Code, Notification, ObservationId, Observe, Request as CoapRequest, Response,
};
use motegate_mapping::{Action, CoapMatch, Emqx};
use motegate_message::{
    ConnectionId, Delivery, DeliveryId, ListenerId, Message, Qos, Reason, Seq, SessionId,
    SessionKey, SubscriptionFilter, TopicFilter,
};

use super::notified::Told;
use super::passes::{Asker, PassId};
use super::value::{Hidden, Meaning, Shown, Wanted, formats, precondition};
use super::{Resource, TopicRef, refusal};
use crate::access::Target;
use crate::pending::{CoapRead, Pending};
use crate::{ClientFrom, Core, Protocol};

/// Keep latest: one waiting notification, whatever its QoS.
const OBSERVER_QUEUE: QueuePolicy = QueuePolicy {
    max_messages: 1,
    max_bytes: u32::MAX,
    overflow: Overflow::LatestPerTopic,
    queue_qos0: true,
    max_payload: u16::MAX,
};

/// EMQX's answer to a client that observes no longer. CoAP has no such code.
const UNSUBSCRIBED: Code = Code::new(2, 7);

/// Of a notification that the broker did not deliver; its ids begin at 1.
pub(super) const NO_DELIVERY: DeliveryId = DeliveryId(0);

/// What the core knows of an observation.
#[derive(Debug)]
pub(crate) struct Observation {
    pub(crate) session: Option<SessionId>,
    /// What was asked for, to be mapped again when the rules change.
    pub(crate) asked: Box<Asked>,
    /// The client's name, where the source address does not tell it.
    pub(crate) client: Option<SessionKey>,
    /// Who it has proved to be.
    pub(crate) identity: Option<Arc<str>>,
    /// By a password of `users`.
    pub(crate) is_user: bool,
    /// Of an EMQX client that has connected: it ends with its connection.
    pub(crate) pass: Option<PassId>,
    accept: Option<u16>,
    /// The format of the first answer with a value: that of all that follow (RFC 7641 §4.2).
    pub(super) format: Option<u16>,
    pub(crate) meaning: Meaning,
    /// What it is counted under.
    pub(super) topic: TopicFilter,
    /// Of its subscription.
    qos: Qos,
    /// What an EMQX client says of it.
    emqx: Emqx,
    /// Whose data it observes, of the topics of the collection.
    pub(super) of: Option<TopicRef>,
}

impl Observation {
    /// Whether it is of several topics.
    pub(crate) fn is_of_several(&self) -> bool {
        self.topic.has_wildcard()
    }
}

/// A final notification (RFC 7641 §4.2), and in words what to do then.
fn last(code: Code) -> Response {
    let words = match code {
        Code::NOT_FOUND => "there is nothing to observe here any more",
        Code::NOT_ACCEPTABLE => "what is here now has another Content-Format: register anew",
        Code::UNAUTHORIZED => "who observes has to show anew who it is",
        Code::SERVICE_UNAVAILABLE => "register anew later",
        _ => "",
    };
    Response::error(code, words)
}

/// Bytes that an observer takes at a time: of several topics one message, as the endpoint would
/// take the value of one topic for the newer value of another.
const fn room(several: bool) -> u32 {
    if several { 1 } else { u32::MAX }
}

/// The options that name a resource.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) path: Vec<String>,
    pub(crate) query: Vec<String>,
    pub(crate) host: Option<String>,
}

impl Asked {
    pub(crate) fn resource(&self) -> Resource<'_> {
        Resource { host: self.host.as_deref(), path: &self.path, query: &self.query }
    }

    /// For people.
    pub(crate) fn show(&self) -> String {
        ["/", &self.path.join("/")].concat()
    }
}

impl Core {
    /// Of several topics as many notifications wait as for a session; beyond that the latest of each
    /// topic does.
    pub(crate) fn observer_queue(&self, several: bool, listener: ListenerId) -> QueuePolicy {
        let own = self.config.queue_of(listener);
        let (max_messages, max_bytes) =
            if several { (own.max_messages, own.max_bytes) } else { (1, u32::MAX) };
        QueuePolicy { max_messages, max_bytes, ..OBSERVER_QUEUE }
    }

    pub(super) fn end_observation(&mut self, observation: ObservationId) {
        let Some(known) = self.observations.remove(&observation) else { return };
        self.forget_observer(&known, observation);
        self.notified.forget(observation);
        if let Some(session) = known.session {
            let handle = Target::Coap(observation).to_handle();
            self.ask(Request::Close { session, handle, drop_will: true, expiry: None });
        }
    }

    /// A notification needs no more attention: the next one may come.
    pub(super) fn notified(&mut self, observation: ObservationId, delivery: DeliveryId) {
        if delivery == NO_DELIVERY {
            return;
        }
        let Some(known) = self.observations.get(&observation) else { return };
        let room = room(known.is_of_several());
        if let Some(session) = known.session {
            self.ask(Request::Ack { session, delivery });
            self.ask(Request::Credit { session, window: 1, room });
        }
    }

    /// The rest of a notification (RFC 7959 §3.4); whether it was that.
    fn coap_rest(&mut self, request: &CoapRequest, several: bool) -> bool {
        if !request.later_block {
            return false;
        }
        let is_asked_for = |observation| {
            let Some(known) = self.observations.get(&observation) else { return false };
            let asked = &known.asked;
            self.coap.is_of_same_peer(observation, request.exchange)
                && known.accept == request.accept
                && asked.path == request.path
                && asked.query == request.query
                && asked.host == request.host
        };
        let response = match self.notified.find(self.turn.now, &request.etags, is_asked_for) {
            Some(response) => response,
            None if several => Response::error(Code::NOT_FOUND, "this notification is gone"),
            None => return false,
        };
        self.coap.respond(&self.turn, request.exchange, response, Seq::NONE);
        true
    }

    pub(super) fn coap_read(&mut self, request: CoapRequest, asker: Asker, mapped: &CoapMatch) {
        if self.coap_rest(&request, mapped.topic.as_name().is_none()) {
            return;
        }
        if mapped.emqx.is_some() && request.observe == Some(Observe::Deregister) {
            return self.unsubscribe(&request, asker.pass);
        }
        let of = self.observed_topic(mapped.topic.as_str());
        let subscribes =
            mapped.action == Action::Subscribe && self.takes_observer(&request, mapped, of);
        let formats = formats(mapped);
        let read = CoapRead {
            exchange: request.exchange,
            listener: request.peer.listener,
            observation: None,
            cancels: mapped.action == Action::Subscribe
                && request.observe == Some(Observe::Deregister),
            accept: request.accept,
            // Who asks for a later block has not got it: 2.03 would tell nothing.
            etags: if request.later_block { Vec::new() } else { request.etags },
            precondition: precondition(&request.if_match, request.if_none_match, &formats),
            meaning: Meaning::of(mapped),
        };
        let filter = mapped.topic.clone();
        let several = filter.has_wildcard();
        let observation =
            subscribes.then(|| self.coap.observe(&self.turn, request.exchange)).flatten();
        let Some(observation) = observation else { return self.ask_value(&filter, read) };
        if let Some(topic) = of {
            self.topics.observed(&self.turn, topic, observation);
        }
        self.rounds.begin(self.turn.now);
        self.audience.enter(&filter);
        let read = CoapRead { observation: Some(observation), ..read };
        let named = self.listener(request.peer.listener).client_from == ClientFrom::Query
            || self.coap_identity(request.conn).is_some()
            || asker.pass.is_some();
        if let Some(pass) = asker.pass.and_then(|id| self.passes.get_mut(id)) {
            pass.observations.push(observation);
        }
        self.observations.insert(
            observation,
            Observation {
                session: None,
                asked: Box::new(Asked {
                    path: request.path,
                    query: request.query,
                    host: request.host,
                }),
                client: named.then_some(asker.key),
                identity: asker.identity,
                is_user: asker.is_user,
                pass: asker.pass,
                accept: request.accept,
                format: None,
                meaning: read.meaning.clone(),
                topic: filter.clone(),
                qos: observed_qos(mapped, request.confirmable),
                emqx: mapped.emqx.unwrap_or_default(),
                of,
            },
        );
        let listener = read.listener;
        let ticket = self.pending.insert(Pending::CoapOpen { filter, read });
        self.ask(Request::Open(Open {
            ticket,
            key: None,
            handle: Target::Coap(observation).to_handle(),
            clean: true,
            expiry: Duration::ZERO,
            will: WillChange::Set(None),
            window: 1,
            room: room(several),
            queue: self.observer_queue(several, listener),
        }));
    }

    /// EMQX's clients end an observation by its topic, whatever their token, and are answered 2.07.
    /// Of one that has connected, from whichever address.
    fn unsubscribe(&mut self, request: &CoapRequest, pass: Option<PassId>) {
        let mut all = self.coap.observations_of(request.exchange);
        if let Some(pass) = pass.and_then(|id| self.passes.get(id)) {
            all.extend_from_slice(&pass.observations);
        }
        for observation in all {
            let known = self.observations.get(&observation);
            if known.is_some_and(|known| known.asked.path == request.path) {
                self.coap.cancel_observation(&self.turn, observation);
            }
        }
        self.coap.respond(&self.turn, request.exchange, Response::new(UNSUBSCRIBED), Seq::NONE);
    }

    fn forget_observer(&mut self, known: &Observation, observation: ObservationId) {
        self.audience.leave(&known.topic);
        if let Some(pass) = known.pass {
            self.passes.unobserved(pass, observation);
        }
        if let Some(topic) = known.of {
            self.topics.unobserved(topic, observation);
        }
    }

    /// The retained value of one topic; of several there is none, only notifications.
    pub(super) fn ask_value(&mut self, filter: &TopicFilter, read: CoapRead) {
        // EMQX's clients expect nothing in the answer to a registration: the value comes after it.
        let is_said = read.observation.is_none() || !read.meaning.emqx;
        if let Some(topic) = filter.as_name().filter(|_| is_said) {
            let ticket = self.pending.insert(Pending::CoapRead(read));
            self.ask(Request::Read { ticket, topic });
            return;
        }
        let response = match read.observation {
            None if !read.cancels => refusal(
                Code::SERVICE_UNAVAILABLE,
                "several topics can only be observed, and there are too many observers",
            ),
            observe => {
                let max_age = read.meaning.max_age();
                Response { observe, max_age, ..Response::new(Code::CONTENT) }
            }
        };
        self.coap.respond(&self.turn, read.exchange, response, Seq::NONE);
    }

    /// RFC 7641 §4.1: a server that cannot add an observer answers without Observe.
    pub(super) fn coap_unobserved(&mut self, filter: &TopicFilter, read: CoapRead) {
        if let Some(observation) = read.observation {
            self.end_observation(observation);
        }
        self.ask_value(filter, CoapRead { observation: None, ..read });
    }

    /// The session of an observation is open: subscribe, then read what there is.
    pub(super) fn coap_opened(&mut self, session: SessionId, filter: TopicFilter, read: CoapRead) {
        let known = read.observation.and_then(|id| self.observations.get_mut(&id));
        let Some(known) = known else { return };
        known.session = Some(session);
        let several = filter.has_wildcard();
        // Of one topic the answer has the value; of several each has a notification.
        let retained = match several || read.meaning.emqx {
            true if !known.emqx.skips_retained => RetainHandling::Always,
            _ => RetainHandling::Never,
        };
        let qos = known.qos;
        let pending = Pending::CoapSubscribe { filter: filter.clone(), read };
        self.subscribe_observation(session, (filter, qos), retained, pending);
    }

    fn subscribe_observation(
        &mut self,
        session: SessionId,
        (filter, qos): (TopicFilter, Qos),
        retain_handling: RetainHandling,
        pending: Pending,
    ) {
        let ticket = self.pending.insert(pending);
        self.ask(Request::Subscribe {
            ticket,
            session,
            filters: vec![Subscribe {
                filter: SubscriptionFilter { share: None, filter },
                qos,
                no_local: false,
                // Tells "cleared" from "an empty message".
                retain_as_published: true,
                retain_handling,
                identifier: None,
                spares_dollar: false,
                by_rule: false,
                hears_expiry: true,
            }],
            most: None,
        });
    }

    pub(crate) fn coap_deliver(
        &mut self,
        session: SessionId,
        observation: ObservationId,
        delivery: Delivery,
    ) {
        let Some(known) = self.observations.get(&observation) else {
            self.ask(Request::Ack { session, delivery: delivery.id });
            return;
        };
        let message = &*delivery.message;
        if known.emqx.no_local && message.publisher.is_some() && message.publisher == known.client {
            return self.notified(observation, delivery.id);
        }
        self.sys.of_mut(Protocol::Coap).delivered += 1;
        // Of several topics the record of the one that was cleared says so: it is empty.
        let cleared = message.payload.is_empty() && delivery.retain && !known.is_of_several();
        if cleared && !known.meaning.content_when_empty {
            self.finish_observation(observation, Code::NOT_FOUND);
            return;
        }
        let confirmable = delivery.qos > Qos::AtMostOnce;
        if cleared {
            // Of the value that is gone nothing remains to expire.
            let max_age = known.meaning.max_age();
            let notification = Notification { max_age, confirmable, ..empty(delivery.id) };
            return self.coap.notify(&self.turn, observation, notification);
        }
        self.coap_tell(observation, message, delivery.id, confirmable);
    }

    /// Notifies an observer of a value.
    pub(super) fn coap_tell(
        &mut self,
        observation: ObservationId,
        message: &Message,
        delivery: DeliveryId,
        confirmable: bool,
    ) {
        let Some(known) = self.observations.get(&observation) else { return };
        let max_age = self.max_age(message, &known.meaning);
        let mut notification = Notification { max_age, confirmable, ..empty(delivery) };
        let listener = self.coap.observer(observation).map(|peer| peer.listener);
        let name = listener
            .map(|listener| self.record_name(&known.meaning, listener, &message.topic))
            .unwrap_or_default();
        let wanted = Wanted { accept: known.accept, settled: known.format };
        match known.meaning.show(message, wanted, &name) {
            Ok(shown) => {
                self.settle_format(observation, shown.format);
                self.keep_rest(observation, &shown, max_age);
                notification.payload = shown.payload;
                notification.content_format = Some(shown.format);
                notification.etag = Some(shown.etag);
            }
            // RFC 7641 §4.2: a representation that was not asked for ends the observation.
            Err(Hidden::Inexpressible(_)) if known.accept.is_some() => {
                return self.finish_observation(observation, Code::NOT_ACCEPTABLE);
            }
            Err(Hidden::NotAcceptable(_)) => {
                return self.finish_observation(observation, Code::NOT_ACCEPTABLE);
            }
            // The next value may be a sound one.
            Err(Hidden::Broken(text) | Hidden::Inexpressible(text)) => {
                self.notice_broken(&message.topic, &text);
                return self.notified(observation, delivery);
            }
        }
        self.coap.notify(&self.turn, observation, notification);
    }

    /// Another topic from now on (the rules have changed). What waits of the old one is out of date;
    /// the value of the new one is the next notification, and if there is none, that is told.
    pub(crate) fn move_observation(
        &mut self,
        observation: ObservationId,
        before: TopicFilter,
        after: TopicFilter,
        meaning: Meaning,
    ) {
        let several = after.has_wildcard();
        let Some(known) = self.observations.get_mut(&observation) else { return };
        if known.format.is_some_and(|format| !meaning.offers(format)) {
            return self.finish_observation(observation, Code::NOT_ACCEPTABLE); // RFC 7641 §4.2
        }
        known.meaning = meaning;
        self.audience.leave(&known.topic);
        self.audience.enter(&after);
        known.topic = after.clone();
        let left = known.of.take();
        self.topic_moved(observation, left, &after);
        let Some(known) = self.observations.get(&observation) else { return };
        let (Some(session), qos) = (known.session, known.qos) else { return };
        let ticket = self.pending.insert(Pending::Nothing);
        let filters = vec![SubscriptionFilter { share: None, filter: before }];
        self.ask(Request::Unsubscribe { ticket, session, filters });
        let Some(listener) = self.coap.observer(observation).map(|peer| peer.listener) else {
            return;
        };
        self.ask(Request::Bound { session, queue: self.observer_queue(several, listener) });
        self.ask(Request::Credit { session, window: 1, room: room(several) });
        match after.as_name() {
            Some(topic) => {
                let ticket = self.pending.insert(Pending::CoapMoved { observation });
                self.ask(Request::Read { ticket, topic });
            }
            None => self.notify_empty(observation),
        }
        let always = RetainHandling::Always;
        self.subscribe_observation(session, (after, qos), always, Pending::Nothing);
    }

    /// What it observes is another topic's data now.
    fn topic_moved(
        &mut self,
        observation: ObservationId,
        left: Option<TopicRef>,
        after: &TopicFilter,
    ) {
        if let Some(topic) = left {
            self.topics.unobserved(topic, observation);
        }
        let Some(topic) = self.observed_topic(after.as_str()) else { return };
        self.topics.observed(&self.turn, topic, observation);
        if let Some(known) = self.observations.get_mut(&observation) {
            known.of = Some(topic);
        }
    }

    /// The old topic's value is not the new one's: an empty answer says so (mapping.md §2.16).
    pub(super) fn coap_moved(&mut self, observation: ObservationId, has_value: bool) {
        let Some(known) = self.observations.get(&observation) else { return };
        if has_value {
            return; // on its way, by the subscription
        }
        if known.meaning.content_when_empty || known.is_of_several() {
            self.notify_empty(observation);
        } else {
            self.finish_observation(observation, Code::NOT_FOUND);
        }
    }

    pub(super) fn notify_empty(&mut self, observation: ObservationId) {
        let known = self.observations.get(&observation);
        let max_age = known.and_then(|known| known.meaning.max_age());
        let notification = Notification { max_age, confirmable: true, ..empty(NO_DELIVERY) };
        self.coap.notify(&self.turn, observation, notification);
    }

    /// A notification is on its way; what is longer than a message is asked for again.
    fn keep_rest(&mut self, observation: ObservationId, shown: &Shown, max_age: Option<Duration>) {
        if shown.payload.len() > self.coap.notification_room(observation) {
            let now = self.turn.now;
            let told = Told {
                until: now + self.config.coap.block_timeout,
                stale: max_age.map(|age| now + age),
                shown: shown.clone(),
            };
            self.notified.keep(now, observation, told);
        } else {
            self.notified.forget(observation);
        }
    }

    /// RFC 7641 §4.2: the first answer's format is that of every notification.
    pub(super) fn settle_format(&mut self, observation: ObservationId, format: u16) {
        if let Some(known) = self.observations.get_mut(&observation) {
            known.format.get_or_insert(format);
        }
    }

    /// A last notification, then nothing.
    pub(crate) fn finish_observation(&mut self, observation: ObservationId, code: Code) {
        self.coap.end_observation(&self.turn, observation, last(code));
        self.end_observation(observation);
    }

    /// Every observer gets a last 5.03 (RFC 7641 §4.2), so that it registers again later.
    pub(crate) fn shutdown_coap(&mut self) {
        let mut observations: Vec<ObservationId> = self.observations.keys().copied().collect();
        observations.sort_unstable(); // the same in every run
        for observation in observations {
            self.finish_observation(observation, Code::SERVICE_UNAVAILABLE);
        }
        let all: Vec<ConnectionId> = self.coap.connection_ids().map(|(conn, _)| conn).collect();
        for conn in all {
            self.coap.close(&self.turn, conn, Reason::Shutdown);
        }
    }

    pub(crate) fn coap_closed(&mut self, observation: ObservationId) {
        if let Some(known) = self.observations.remove(&observation) {
            self.forget_observer(&known, observation);
        }
        self.coap.end_observation(&self.turn, observation, last(Code::SERVICE_UNAVAILABLE));
    }
}

/// The QoS of what is observed. QoS 2 gives an observer nothing that QoS 1 does not: both are
/// confirmable. An EMQX client says it, or means that of its request.
fn observed_qos(mapped: &CoapMatch, confirmable: bool) -> Qos {
    let auto = if confirmable { Qos::AtLeastOnce } else { Qos::AtMostOnce };
    match mapped.emqx {
        Some(_) => mapped.qos.unwrap_or(auto).min(Qos::AtLeastOnce),
        None => Qos::AtLeastOnce,
    }
}

/// A notification of 2.05 without a value.
const fn empty(delivery: DeliveryId) -> Notification {
    Notification {
        delivery,
        code: Code::CONTENT,
        payload: bytes::Bytes::new(),
        content_format: None,
        etag: None,
        max_age: None,
        confirmable: false,
    }
}
