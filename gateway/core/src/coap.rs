//! CoAP's requests to requests of the broker, effects to its endpoint.
//!
//! GET reads the retained message, Observe is a broker session of its own with window 1 that keeps
//! the latest, PUT, POST and DELETE publish (mapping.md §2.7).

use std::time::Duration;

use bytes::Bytes;
use motegate_broker::{
    Effect, Open, Overflow, Precondition, QueuePolicy, Request, RetainHandling, Subscribe,
    SubscribeOutcome, WillChange,
};
use motegate_coap::endpoint::{
    Code, Event, ExchangeId, Method, Notification, ObservationId, Observe, Request as CoapRequest,
    Response,
};
use motegate_mapping::{Action, Caller, CoapMatch, CoapMethod, MapError, Table};
use motegate_message::{
    Delivery, ListenerId, Message, Properties, Qos, Reason, Seq, SessionId, SessionKey,
    SubscriptionFilter, TopicFilter, TopicName,
};

use crate::access::Target;
use crate::discovery::is_discovery;
use crate::mqtt::unreachable_answer;
use crate::notice::{Notice, NoticeKind};
use crate::pending::{CoapPublish, CoapRead, Pending};
use crate::topics::{check_bounds, is_reserved};
use crate::{ClientFrom, Config, Core, Protocol, content_types};

/// Content-Formats (RFC 7252 §12.3) of values that came without one.
const TEXT_PLAIN: u16 = 0;
const OCTET_STREAM: u16 = 42;

/// Keep latest: one waiting notification, whatever its QoS.
pub(crate) const OBSERVER_QUEUE: QueuePolicy = QueuePolicy {
    max_messages: 1,
    max_bytes: u32::MAX,
    overflow: Overflow::LatestPerTopic,
    queue_qos0: true,
};

/// The query of a listener whose clients name themselves.
const CLIENT: &str = "client=";

/// What the core knows of an observation.
#[derive(Debug)]
pub(crate) struct Observation {
    pub(crate) session: Option<SessionId>,
    /// What was asked for, to be mapped again when the rules change.
    pub(crate) asked: Box<Asked>,
    /// The client's name, where the source address does not tell it.
    pub(crate) client: Option<SessionKey>,
    accept: Option<u16>,
    pub(crate) content_when_empty: bool,
}

/// The options that name a resource.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) path: Vec<String>,
    pub(crate) query: Vec<String>,
}

impl Asked {
    /// For people.
    pub(crate) fn show(&self) -> String {
        let path: Vec<&str> = self.path.iter().map(String::as_str).collect();
        ["/", &path.join("/")].concat()
    }
}

impl Core {
    pub(crate) fn coap_event(&mut self, event: Event) {
        match event {
            Event::Request(request) => self.coap_request(*request),
            Event::Notified { observation, delivery } => {
                let known = self.observations.get(&observation);
                if let Some(session) = known.and_then(|known| known.session) {
                    self.ask(Request::Ack { session, delivery });
                    self.ask(Request::Credit { session, window: 1, room: u32::MAX });
                }
            }
            Event::ObservationEnded { observation, .. } => self.end_observation(observation),
            Event::Dropped { peer, reason } => {
                let kind = NoticeKind::Dropped(reason);
                self.notice(Notice::of_peer(kind, Protocol::Coap, &peer));
            }
        }
    }

    fn end_observation(&mut self, observation: ObservationId) {
        let Some(known) = self.observations.remove(&observation) else { return };
        if let Some(session) = known.session {
            let handle = Target::Coap(observation).to_handle();
            self.ask(Request::Close { session, handle, drop_will: true, expiry: None });
        }
    }

    fn coap_request(&mut self, request: CoapRequest) {
        if let Some(text) = self.closed_to_anonymous(request.peer.listener) {
            let error = MapError { reason: Reason::AuthMissing, text };
            self.coap_refuse(&request, error);
            return;
        }
        if is_discovery(&request) {
            self.discover(&request);
            return;
        }
        match self.coap_map(&request) {
            Ok((key, mapped)) => self.coap_act(request, key, mapped),
            Err(error) => self.coap_refuse(&request, error),
        }
    }

    /// The client's name (mapping.md §2.4): what the query says where the listener believes it,
    /// otherwise the source address.
    pub(crate) fn coap_client(&self, request: &CoapRequest) -> SessionKey {
        let listener = self.listener(request.peer.listener);
        let named = match listener.client_from {
            ClientFrom::Query => request.query.iter().find_map(|pair| pair.strip_prefix(CLIENT)),
            ClientFrom::Address => None,
        };
        match named {
            Some(name) => SessionKey::new(&listener.realm, name),
            None => SessionKey::new(&listener.realm, &format!("anon-{}", request.peer.addr.ip())),
        }
    }

    /// Who asks, and what the rules make of it.
    fn coap_map(&self, request: &CoapRequest) -> Result<(SessionKey, CoapMatch), MapError> {
        let key = self.coap_client(request);
        let caller = self.caller(request.peer.listener, key.client_id(), request.peer.addr.ip());
        let (rules, from) = ((&self.config, &*self.table), request.peer.listener);
        let asked = (request.path.as_slice(), request.query.as_slice());
        let mapped = map_resource(rules, from, &caller, coap_method(request), asked)?;
        Ok((key, mapped))
    }

    pub(crate) fn coap_refuse(&mut self, request: &CoapRequest, error: MapError) {
        let kind = NoticeKind::Refused(error.reason);
        self.notice(Notice {
            text: Some(error.text.clone()),
            ..Notice::of_peer(kind, Protocol::Coap, &request.peer)
        });
        let response = Response::error(reply_for(error.reason), error.text);
        self.coap.respond(&self.turn, request.exchange, response, Seq::NONE);
    }

    fn coap_act(&mut self, request: CoapRequest, key: SessionKey, mapped: CoapMatch) {
        match mapped.action {
            Action::Read | Action::Subscribe => self.coap_read(request, key, &mapped),
            Action::Publish | Action::Clear => self.coap_publish(request, key, mapped),
        }
    }

    fn coap_read(&mut self, request: CoapRequest, key: SessionKey, mapped: &CoapMatch) {
        let Some(topic) = mapped.topic.as_name() else {
            let error = MapError {
                reason: Reason::NotSupported,
                text: "observing a topic with wildcards is not in this version".into(),
            };
            self.coap_refuse(&request, error);
            return;
        };
        let read = CoapRead {
            exchange: request.exchange,
            observation: None,
            accept: request.accept,
            etags: request.etags,
            precondition: precondition(&request.if_match, request.if_none_match),
            content_when_empty: mapped.content_when_empty,
        };
        let observation = (mapped.action == Action::Subscribe)
            .then(|| self.coap.observe(&self.turn, request.exchange))
            .flatten();
        let Some(observation) = observation else { return self.ask_value(topic, read) };
        let read = CoapRead { observation: Some(observation), ..read };
        let named = self.listener(request.peer.listener).client_from == ClientFrom::Query;
        self.observations.insert(
            observation,
            Observation {
                session: None,
                asked: Box::new(Asked { path: request.path, query: request.query }),
                client: named.then_some(key),
                accept: request.accept,
                content_when_empty: mapped.content_when_empty,
            },
        );
        let ticket = self.pending.insert(Pending::CoapOpen { topic, read });
        self.ask(Request::Open(Open {
            ticket,
            key: None,
            handle: Target::Coap(observation).to_handle(),
            clean: true,
            expiry: Duration::ZERO,
            will: WillChange::Set(None),
            window: 1,
            room: u32::MAX,
            queue: OBSERVER_QUEUE,
        }));
    }

    fn coap_publish(&mut self, request: CoapRequest, key: SessionKey, mapped: CoapMatch) {
        let error = |reason, text: &str| MapError { reason, text: text.into() };
        if self.backpressure.is_over() {
            let error = error(Reason::Overloaded, "the store is behind: try again in a moment");
            self.coap_refuse(&request, error);
            return;
        }
        let Some(topic) = mapped.topic.as_name() else {
            self.coap_refuse(&request, error(Reason::BadTopic, "publish to one topic"));
            return;
        };
        if is_reserved(&topic) {
            let error = error(Reason::AclDeny, "this topic is the gateway's own to publish");
            self.coap_refuse(&request, error);
            return;
        }
        let clear = mapped.action == Action::Clear;
        let mut message = Message::new(topic, if clear { Bytes::new() } else { request.payload });
        message.qos = mapped.qos.unwrap_or(if request.confirmable {
            Qos::AtLeastOnce
        } else {
            Qos::AtMostOnce
        });
        message.retain = clear || mapped.retain;
        message.expires = mapped.expiry.map(|expiry| self.turn.now + expiry);
        message.publisher = Some(key);
        message.properties = properties(request.content_format, mapped.user);
        let kind = match request.method {
            Method::Put => CoapPublish::Put,
            Method::Delete => CoapPublish::Delete,
            _ => CoapPublish::Post,
        };
        let precondition = precondition(&request.if_match, request.if_none_match);
        let pending = Pending::CoapPublish { exchange: request.exchange, kind };
        let ticket = self.pending.insert(pending);
        self.ask(Request::Publish { ticket, message, precondition });
    }

    pub(crate) fn coap_answer(&mut self, pending: Pending, effect: Effect) {
        match (pending, effect) {
            (Pending::CoapPublish { exchange, kind }, Effect::Accepted { created, after, .. }) => {
                let code = match (kind, created) {
                    (CoapPublish::Put, true) => Code::CREATED,
                    (CoapPublish::Delete, _) => Code::DELETED,
                    _ => Code::CHANGED,
                };
                self.coap.respond(&self.turn, exchange, Response::new(code), after);
            }
            (Pending::CoapPublish { exchange, .. }, Effect::Refused { reason, .. }) => {
                self.coap_failed(exchange, reason);
            }
            (Pending::CoapRead(read), Effect::Value { message, .. }) => {
                self.coap_value(read, message.as_deref());
            }
            (Pending::CoapOpen { topic, read }, Effect::Opened { session, .. }) => {
                self.coap_opened(session, topic, read);
            }
            (Pending::CoapOpen { topic, read }, Effect::OpenRefused { .. }) => {
                self.coap_unobserved(topic, read);
            }
            (Pending::CoapSubscribe { topic, read }, Effect::Subscribed { outcomes, .. }) => {
                if matches!(outcomes.first(), Some(SubscribeOutcome::Granted(_))) {
                    self.ask_value(topic, read);
                } else {
                    self.coap_unobserved(topic, read);
                }
            }
            (Pending::CoapDiscover { exchange, asked }, Effect::Topics { topics, .. }) => {
                self.discovered(exchange, &asked, &topics);
            }
            (pending, effect) => unreachable_answer(&pending, &effect),
        }
    }

    fn coap_failed(&mut self, exchange: ExchangeId, reason: Reason) {
        self.notice(Notice {
            protocol: Some(Protocol::Coap),
            ..Notice::new(NoticeKind::Refused(reason))
        });
        let mut response = Response::error(reply_for(reason), reason.as_str());
        if response.code.class() == 5 {
            response.max_age = Some(RETRY_AFTER); // RFC 7252 §5.9.3.4
        }
        self.coap.respond(&self.turn, exchange, response, Seq::NONE);
    }

    fn ask_value(&mut self, topic: TopicName, read: CoapRead) {
        let ticket = self.pending.insert(Pending::CoapRead(read));
        self.ask(Request::Read { ticket, topic });
    }

    /// RFC 7641 §4.1: a server that cannot add an observer answers without Observe.
    fn coap_unobserved(&mut self, topic: TopicName, read: CoapRead) {
        if let Some(observation) = read.observation {
            self.end_observation(observation);
        }
        self.ask_value(topic, CoapRead { observation: None, ..read });
    }

    /// The session of an observation is open: subscribe, then read what there is.
    fn coap_opened(&mut self, session: SessionId, topic: TopicName, read: CoapRead) {
        let known = read.observation.and_then(|id| self.observations.get_mut(&id));
        let Some(known) = known else { return };
        known.session = Some(session);
        let filter = TopicFilter::from(topic.clone());
        let ticket = self.pending.insert(Pending::CoapSubscribe { topic, read });
        self.ask(Request::Subscribe {
            ticket,
            session,
            filters: vec![Subscribe {
                filter: SubscriptionFilter { share: None, filter },
                // QoS 2 gives an observer nothing that QoS 1 does not: both are confirmable.
                qos: Qos::AtLeastOnce,
                no_local: false,
                // Tells "cleared" from "an empty message".
                retain_as_published: true,
                retain_handling: RetainHandling::Never,
                identifier: None,
            }],
        });
    }

    /// Answers a GET, with or without Observe.
    fn coap_value(&mut self, read: CoapRead, message: Option<&Message>) {
        // RFC 7252 §5.10.8: the method, whichever it is, is not performed.
        if !read.precondition.as_ref().is_none_or(|condition| fulfils(message, condition)) {
            if let Some(observation) = read.observation {
                self.end_observation(observation);
            }
            self.coap_failed(read.exchange, Reason::PreconditionFailed);
            return;
        }
        let mut response = match message {
            Some(message) => self.representation(message, read.accept, &read.etags),
            None if read.observation.is_some() && read.content_when_empty => {
                Response::new(Code::CONTENT)
            }
            None => Response::error(Code::NOT_FOUND, "no retained value on this topic"),
        };
        match read.observation {
            Some(observation) if response.code.class() == 2 => {
                response.observe = Some(observation);
            }
            Some(observation) => self.end_observation(observation),
            None => {}
        }
        self.coap.respond(&self.turn, read.exchange, response, Seq::NONE);
    }

    fn representation(
        &self,
        message: &Message,
        accept: Option<u16>,
        etags: &[Vec<u8>],
    ) -> Response {
        let format = content_format(message);
        if accept.is_some_and(|wanted| wanted != format) {
            let text = format!("the value's Content-Format is {format}");
            return Response::error(Code::NOT_ACCEPTABLE, text);
        }
        let etag = etag(message);
        let known = etags.iter().any(|theirs| theirs[..] == etag.to_be_bytes());
        let content = if known { Response::new(Code::VALID) } else { Response::new(Code::CONTENT) };
        Response {
            payload: if known { Bytes::new() } else { message.payload.clone() },
            content_format: (!known).then_some(format),
            etag: Some(etag),
            max_age: self.max_age(message),
            ..content
        }
    }

    /// What remains of the message's expiry; without one the default of 60 s holds unsaid.
    fn max_age(&self, message: &Message) -> Option<Duration> {
        message.expires.map(|at| at.saturating_since(self.turn.now))
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
        let cleared = message.payload.is_empty() && delivery.retain;
        if cleared && !known.content_when_empty {
            self.finish_observation(observation, Code::NOT_FOUND);
            return;
        }
        let format = content_format(message);
        if !cleared && known.accept.is_some_and(|wanted| wanted != format) {
            // RFC 7641 §4.2: a representation that was not asked for ends the observation.
            self.finish_observation(observation, Code::NOT_ACCEPTABLE);
            return;
        }
        let notification = Notification {
            delivery: delivery.id,
            code: Code::CONTENT,
            payload: message.payload.clone(),
            content_format: (!cleared).then_some(format),
            etag: (!cleared).then(|| etag(message)),
            max_age: self.max_age(message),
            confirmable: delivery.qos > Qos::AtMostOnce,
        };
        self.coap.notify(&self.turn, observation, notification);
    }

    /// A last notification, then nothing.
    pub(crate) fn finish_observation(&mut self, observation: ObservationId, code: Code) {
        self.coap.end_observation(&self.turn, observation, code);
        self.end_observation(observation);
    }

    /// Every observer gets a last 5.03 (RFC 7641 §4.2), so that it registers again later.
    pub(crate) fn shutdown_coap(&mut self) {
        let mut observations: Vec<ObservationId> = self.observations.keys().copied().collect();
        observations.sort_unstable(); // the same in every run
        for observation in observations {
            self.finish_observation(observation, Code::SERVICE_UNAVAILABLE);
        }
    }

    pub(crate) fn coap_closed(&mut self, observation: ObservationId) {
        self.observations.remove(&observation);
        self.coap.end_observation(&self.turn, observation, Code::SERVICE_UNAVAILABLE);
    }
}

/// How long a client waits before it tries again what was refused for load.
const RETRY_AFTER: Duration = Duration::from_secs(5);

fn coap_method(request: &CoapRequest) -> CoapMethod {
    match request.method {
        Method::Get if request.observe == Some(Observe::Register) => CoapMethod::Observe,
        Method::Get => CoapMethod::Get,
        Method::Put => CoapMethod::Put,
        Method::Post => CoapMethod::Post,
        Method::Delete => CoapMethod::Delete,
        Method::Fetch | Method::Patch | Method::IPatch => CoapMethod::Other,
    }
}

/// A refusal's response code, in one place.
fn reply_for(reason: Reason) -> Code {
    match reason {
        Reason::BadTopic | Reason::BadOption | Reason::BadPayload => Code::BAD_REQUEST,
        Reason::NoRule => Code::NOT_FOUND,
        Reason::MethodNotAllowed => Code::METHOD_NOT_ALLOWED,
        Reason::AuthMissing | Reason::AuthFailed => Code::UNAUTHORIZED,
        Reason::AclDeny | Reason::SourceDenied => Code::FORBIDDEN,
        Reason::PreconditionFailed => Code::PRECONDITION_FAILED,
        Reason::TooLarge => Code::REQUEST_ENTITY_TOO_LARGE,
        Reason::RateLimited => Code::TOO_MANY_REQUESTS,
        Reason::NotSupported => Code::NOT_IMPLEMENTED,
        Reason::QuotaExceeded | Reason::QueueFull | Reason::StorageFull | Reason::Overloaded => {
            Code::SERVICE_UNAVAILABLE
        }
        _ => Code::INTERNAL_SERVER_ERROR,
    }
}

/// The Content-Format that a value is given out with.
pub(crate) fn content_format(message: &Message) -> u16 {
    let known = message.properties.as_ref().and_then(|properties| properties.content_format);
    known.unwrap_or_else(|| match core::str::from_utf8(&message.payload) {
        Ok(_) => TEXT_PLAIN,
        Err(_) => OCTET_STREAM,
    })
}

/// The same hash that `If-Match` is judged by in the broker: of the format as stored.
fn etag(message: &Message) -> u64 {
    let stored = message.properties.as_ref().and_then(|properties| properties.content_format);
    motegate_broker::etag(stored, &message.payload)
}

fn properties(content_format: Option<u16>, user: Vec<(String, String)>) -> Option<Box<Properties>> {
    if content_format.is_none() && user.is_empty() {
        return None;
    }
    let user = user.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
    let content_type = content_format.and_then(content_types::content_type).map(Into::into);
    Some(Box::new(Properties { content_format, content_type, user, ..Properties::default() }))
}

/// Whether the value is as a read's If-Match or If-None-Match wants it; the broker judges those of
/// a publish, by the same hash.
fn fulfils(message: Option<&Message>, condition: &Precondition) -> bool {
    match (condition, message) {
        (Precondition::Absent, message) => message.is_none(),
        (Precondition::Match(etags), Some(message)) => {
            etags.is_empty() || etags.contains(&etag(message))
        }
        (Precondition::Match(_), None) => false,
    }
}

/// What the rules of a configuration make of a resource.
pub(crate) fn map_resource(
    (config, table): (&Config, &Table),
    listener: ListenerId,
    caller: &Caller<'_>,
    method: CoapMethod,
    (path, query): (&[String], &[String]),
) -> Result<CoapMatch, MapError> {
    let named = config.listeners[usize::from(listener.0)].client_from == ClientFrom::Query;
    let mapped = if named && query.iter().any(|pair| pair.starts_with(CLIENT)) {
        // The rules declare their own queries; this one is the listener's.
        let rest: Vec<String> =
            query.iter().filter(|pair| !pair.starts_with(CLIENT)).cloned().collect();
        table.coap(caller, method, path, &rest)?
    } else {
        table.coap(caller, method, path, query)?
    };
    check_bounds(&config.mqtt, mapped.topic.as_str())?;
    Ok(mapped)
}

fn precondition(if_match: &[Vec<u8>], if_none_match: bool) -> Option<Precondition> {
    match (if_none_match, if_match) {
        (true, []) => return Some(Precondition::Absent),
        // It must exist and must not: nothing has this hash.
        (true, _) => return Some(Precondition::Match(vec![0])),
        (false, []) => return None,
        (false, _) => {}
    }
    if if_match.iter().any(Vec::is_empty) {
        return Some(Precondition::Match(Vec::new())); // an empty If-Match means "exists"
    }
    // An ETag of another length is none of ours: it stands for nothing, so it cannot match.
    let ours = |etag: &Vec<u8>| Some(u64::from_be_bytes(etag[..].try_into().ok()?));
    let mut etags: Vec<u64> = if_match.iter().filter_map(ours).collect();
    if etags.is_empty() {
        etags.push(0); // nothing has this hash: an empty list would mean "exists"
    }
    Some(Precondition::Match(etags))
}
