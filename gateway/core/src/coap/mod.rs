//! CoAP's requests to requests of the broker, effects to its endpoint.
//!
//! GET reads the retained message (`value`), Observe is a broker session of its own (`observe`),
//! PUT, POST and DELETE publish (`publish`; mapping.md §2.7); what describes topics instead is in
//! `pubsub`, who may ask at all and how EMQX's clients log in in `passes`.

mod audience;
mod connections;
mod daily;
mod notified;
mod observe;
mod passes;
mod publish;
mod pubsub;
mod value;

use std::time::Duration;

use std::borrow::Cow;

use motegate_broker::{Effect, SubscribeOutcome};
use motegate_coap::endpoint::{
    Code, Event, ExchangeId, Method, Observe, Request as CoapRequest, Response,
};
use motegate_mapping::{Action, Caller, CoapMatch, CoapMethod, Managed, MapError, Table};
use motegate_message::{ListenerId, Reason, Seq, SessionKey};

use self::connections::End;
use crate::discovery::is_discovery;
use crate::mqtt::unreachable_answer;
use crate::notice::{Notice, NoticeKind};
use crate::pending::Pending;
use crate::topics::check_bounds;
use crate::{ClientFrom, Config, Core, Protocol};

pub(crate) use audience::Audience;
pub(crate) use connections::Behind;
pub(crate) use daily::Rounds;
pub(crate) use notified::Notified;
pub(crate) use observe::Observation;
use passes::Asker;
pub(crate) use passes::{Pass, PassId, Passes, Proofs, is_coap_ticket};
pub(crate) use publish::Pack;
pub(crate) use pubsub::{Counts as TopicCounts, NewTopic, TopicRef, Topics};
pub(crate) use value::{Meaning, content_format, is_met, precondition};

/// The query of a listener whose clients name themselves.
const CLIENT: &str = "client=";

impl Core {
    pub(crate) fn coap_event(&mut self, event: Event) {
        match event {
            Event::Request(request) => self.coap_request(*request),
            Event::Discovery(discovery) => self.discover_by_group(*discovery),
            Event::Notified { observation, delivery } => {
                self.notified(observation, delivery);
            }
            Event::ObservationEnded { observation, reason } => {
                if reason == Reason::RetryExhausted {
                    self.notice_silent_observer(observation);
                }
                self.end_observation(observation);
            }
            Event::Connected { conn, peer } => self.coap_begun(conn, &peer),
            Event::Disconnected { conn, peer, reason, was_connected, limit, text } => {
                self.coap_ended(conn, &peer, End { reason, was_connected, limit, text });
            }
            Event::Limited { conn, peer, limit } => self.coap_limited(conn, &peer, limit),
            Event::Dropped { peer, reason } => {
                let kind = NoticeKind::Dropped(reason);
                self.notice(Notice::of_peer(kind, Protocol::Coap, &peer));
            }
        }
    }

    fn coap_request(&mut self, mut request: CoapRequest) {
        self.coap_default_host(&mut request);
        if self.table.is_connection(&request.path)
            && self.coap_managed(&request) == Some(Managed::Connection)
        {
            return self.coap_connection(request);
        }
        self.coap_enter(request);
    }

    /// A request of somebody who may ask.
    fn coap_serve(&mut self, request: CoapRequest, asker: Asker) {
        if is_discovery(&request) {
            return self.discover(request);
        }
        if let Some(managed) = self.coap_managed(&request) {
            return self.coap_manage(request, managed);
        }
        match self.coap_map(&request, &asker) {
            // RFC 7959 §2.5: nothing happens before the last block; what is refused already need
            // not be sent.
            Ok(mapped) if request.more_follows => self.coap_more(&request, &mapped),
            Ok(mapped) => self.coap_act(request, asker, mapped),
            Err(error) => self.coap_refuse(&request, error),
        }
    }

    /// The client's name (mapping.md §2.4): what its certificate has proved, or what the query says where
    /// the listener believes it, otherwise the source address.
    pub(crate) fn coap_client(&self, request: &CoapRequest) -> SessionKey {
        let listener = self.listener(request.peer.listener);
        if let Some(identity) = self.coap_identity(request.conn) {
            return SessionKey::new(&listener.realm, identity);
        }
        let named = match listener.client_from {
            ClientFrom::Query => {
                let own = request.query.iter().find_map(|pair| pair.strip_prefix(CLIENT));
                own.or_else(|| {
                    let words = self.table.client_words(&request.path);
                    request.query.iter().find_map(|pair| {
                        let (word, name) = pair.split_once('=')?;
                        words.contains(&word).then_some(name)
                    })
                })
            }
            ClientFrom::Address => None,
        };
        match named {
            Some(name) => SessionKey::new(&listener.realm, name),
            None => SessionKey::new(&listener.realm, &format!("anon-{}", request.peer.addr.ip())),
        }
    }

    /// Who asks, and what the rules make of it.
    fn coap_map(&self, request: &CoapRequest, asker: &Asker) -> Result<CoapMatch, MapError> {
        let client = asker.key.client_id();
        let caller = self.caller(request.peer.listener, client, request.peer.addr.ip());
        let caller = Caller { identity: asker.identity.as_deref(), ..caller };
        let (rules, from) = ((&self.config, &*self.table), request.peer.listener);
        let asked =
            Resource { host: request.host.as_deref(), path: &request.path, query: &request.query };
        let map = |method| map_resource(rules, from, &caller, method, asked);
        match map(coap_method(request)) {
            // RFC 7641 §3.6, RFC 7959 §3.4: a cancellation and the rest of a notification are asked
            // for by a GET like any other; a rule that takes OBSERVE only lets this client read all
            // the same, and neither is anything to warn of.
            Err(error)
                if matches!(error.reason, Reason::MethodNotAllowed | Reason::BadTopic)
                    && (request.later_block || request.observe == Some(Observe::Deregister)) =>
            {
                map(CoapMethod::Observe)
            }
            // Its end is more than a reading there.
            Ok(mapped) if mapped.emqx.is_some() && request.observe == Some(Observe::Deregister) => {
                map(CoapMethod::Observe)
            }
            mapped => mapped,
        }
    }

    pub(crate) fn coap_refuse(&mut self, request: &CoapRequest, error: MapError) {
        let kind = NoticeKind::Refused(error.reason);
        self.notice(Notice {
            text: Some(error.text.clone()),
            ..Notice::of_peer(kind, Protocol::Coap, &request.peer)
        });
        let response = refusal(reply_for(error.reason), error.text);
        self.coap.respond(&self.turn, request.exchange, response, Seq::NONE);
    }

    fn coap_act(&mut self, request: CoapRequest, asker: Asker, mapped: CoapMatch) {
        match mapped.action {
            Action::Read | Action::Subscribe => self.coap_read(request, asker, &mapped),
            Action::Publish | Action::Clear => self.coap_publish(request, asker.key, mapped),
        }
    }

    pub(crate) fn coap_answer(&mut self, pending: Pending, effect: Effect) {
        match (pending, effect) {
            (Pending::CoapPublish { exchange, kind }, Effect::Accepted { created, after, .. }) => {
                self.coap_published(exchange, kind, created, after);
            }
            (Pending::CoapRecord { exchange }, Effect::Accepted { created, after, .. }) => {
                self.coap_record(exchange, Ok((created, after)));
            }
            (Pending::CoapRecord { exchange }, Effect::Refused { reason, .. }) => {
                self.coap_record(exchange, Err(reason));
            }
            (Pending::CoapPublish { exchange, .. }, Effect::Refused { reason, .. }) => {
                self.coap_failed(exchange, reason);
            }
            (Pending::CoapRead(read), Effect::Value { message, .. }) => {
                self.coap_value(read, message.as_deref());
            }
            (Pending::CoapMoved { observation }, Effect::Value { message, .. }) => {
                self.coap_moved(observation, message.is_some());
            }
            (Pending::CoapOpen { filter, read }, Effect::Opened { session, .. }) => {
                self.coap_opened(session, filter, read);
            }
            (Pending::CoapOpen { filter, read }, Effect::OpenRefused { .. }) => {
                self.coap_unobserved(&filter, read);
            }
            (Pending::CoapSubscribe { filter, read }, Effect::Subscribed { outcomes, .. }) => {
                if matches!(outcomes.first(), Some(SubscribeOutcome::Granted(_))) {
                    self.ask_value(&filter, read);
                } else {
                    self.coap_unobserved(&filter, read);
                }
            }
            (Pending::CoapTopic(new), Effect::Accepted { after, .. }) => {
                self.topic_made(*new, after);
            }
            (Pending::CoapTopic(new), Effect::Refused { reason, .. }) => {
                self.topic_refused(&new, reason);
            }
            (Pending::CoapDaily(observation), Effect::Value { message, .. }) => {
                self.observer_asked(observation, message.as_deref());
            }
            (Pending::CoapTopicCheck(topic), Effect::Value { message, .. }) => {
                self.check_observers(topic, message.as_deref());
            }
            (Pending::CoapDiscover { exchange, asked }, Effect::Topics { topics, .. }) => {
                self.discovered(exchange, &asked, &topics);
            }
            (pending, effect) => unreachable_answer(&pending, &effect),
        }
    }

    pub(crate) fn coap_failed(&mut self, exchange: ExchangeId, reason: Reason) {
        self.notice(Notice {
            protocol: Some(Protocol::Coap),
            ..Notice::new(NoticeKind::Refused(reason))
        });
        let text = match reason {
            Reason::PreconditionFailed => "what is here is not as If-Match or If-None-Match says",
            reason => reason.as_str(),
        };
        let response = refusal(reply_for(reason), text);
        self.coap.respond(&self.turn, exchange, response, Seq::NONE);
    }
}

/// How long a client waits before it tries again what was refused for load.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// An error; one that passes says when to come again (RFC 7252 §5.9.3.4, RFC 8516 §3).
fn refusal(code: Code, text: impl Into<String>) -> Response {
    let passes = code.class() == 5 || code == Code::TOO_MANY_REQUESTS;
    Response { max_age: passes.then_some(RETRY_AFTER), ..Response::error(code, text) }
}

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
        Reason::RateLimited | Reason::LockedOut => Code::TOO_MANY_REQUESTS,
        Reason::NotSupported => Code::NOT_IMPLEMENTED,
        Reason::QuotaExceeded | Reason::QueueFull | Reason::StorageFull | Reason::Overloaded => {
            Code::SERVICE_UNAVAILABLE
        }
        _ => Code::INTERNAL_SERVER_ERROR,
    }
}

/// The options that name a resource.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Resource<'a> {
    pub(crate) host: Option<&'a str>,
    pub(crate) path: &'a [String],
    pub(crate) query: &'a [String],
}

/// The query without what is the listener's: the rules declare their own.
pub(crate) fn rules_query<'a>(
    config: &Config,
    listener: ListenerId,
    query: &'a [String],
) -> Cow<'a, [String]> {
    let named = config.listeners[usize::from(listener.0)].client_from == ClientFrom::Query;
    let required = config.listeners[usize::from(listener.0)].connection_required;
    let is_own = |pair: &String| {
        // Where a connection is required, the secrets of its words are gone already.
        let of_emqx = || pair.starts_with("clientid=") || pair.starts_with("c=");
        (named && pair.starts_with(CLIENT)) || (required && of_emqx())
    };
    if (named || required) && query.iter().any(is_own) {
        query.iter().filter(|pair| !is_own(pair)).cloned().collect()
    } else {
        Cow::Borrowed(query)
    }
}

/// What the rules of a configuration make of a resource.
pub(crate) fn map_resource(
    (config, table): (&Config, &Table),
    listener: ListenerId,
    caller: &Caller<'_>,
    method: CoapMethod,
    Resource { host, path, query }: Resource<'_>,
) -> Result<CoapMatch, MapError> {
    let query = rules_query(config, listener, query);
    let mapped = table.coap(caller, host, method, path, &query)?;
    check_bounds(config.mqtt_of(listener), mapped.topic.as_str())?;
    Ok(mapped)
}
