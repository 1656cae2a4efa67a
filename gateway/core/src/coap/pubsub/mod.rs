//! The topic collection of draft-ietf-core-coap-pubsub (the preset `core-pubsub`): `/ps` lists,
//! finds and makes topics, `/ps/{id}` is a topic's configuration.
//!
//! A topic's data is an ordinary resource, by default that of the MQTT topic of its name: every topic
//! below `/ps/data` is a topic-data resource, made by a client or not. What the configuration says of
//! the data (`topic-content-format`, `max-subscribers`, `observer-check`, `expiration-date`) holds
//! for CoAP clients, by whichever path they come; MQTT knows nothing of it. `table` keeps the topics,
//! `change` makes, changes and ends them; here is what only reads.

mod change;
mod table;

use motegate_coap::endpoint::{Code, Method, Request as CoapRequest, Response};
use motegate_coap::link_format::{self, Link};
use motegate_coap::pubsub::{CONTENT_FORMAT, DATA, Keys, Properties, TOPIC};
use motegate_mapping::{Managed, MapError};
use motegate_message::{Reason, Seq, TopicName};

use super::{is_met, precondition, rules_query};
use crate::discovery::{Listing, Wanted};
use crate::notice::{Notice, NoticeKind};
use crate::{Core, Protocol};

pub(crate) use change::NewTopic;
use table::Topic;
pub(crate) use table::{Counts, TopicRef, Topics};

/// Content-Format of `application/cbor`: of a FETCH of a topic (§2.5.2).
const CBOR: u16 = 60;

/// Why a request is refused.
#[derive(Debug)]
struct Refused {
    code: Code,
    reason: Reason,
    text: String,
}

impl Refused {
    fn bad(text: impl Into<String>) -> Self {
        Refused { code: Code::BAD_REQUEST, reason: Reason::BadPayload, text: text.into() }
    }

    fn condition(text: &str) -> Self {
        let (code, reason) = (Code::PRECONDITION_FAILED, Reason::PreconditionFailed);
        Refused { code, reason, text: text.to_owned() }
    }
}

/// Where a request is sent to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Collection,
    Topic(TopicRef),
}

impl Core {
    /// What the path of a request describes, if anything.
    pub(super) fn coap_managed(&self, request: &CoapRequest) -> Option<Managed> {
        // Of most requests the path says that it is nothing of this.
        let ([collection] | [collection, _]) = &request.path[..] else { return None };
        let is_below = self.table.collection() == Some(collection.as_str());
        if !is_below && !self.table.is_connection(&request.path) {
            return None;
        }
        let key = self.coap_client(request);
        let caller = self.caller(request.peer.listener, key.client_id(), request.peer.addr.ip());
        self.table.managed(&caller, request.host.as_deref(), &request.path)
    }

    /// A request for the collection or a topic.
    pub(super) fn coap_manage(&mut self, request: CoapRequest, managed: Managed) {
        match self.place(&request, managed).and_then(|place| {
            judge(&request, place)?;
            self.judge_query(&request, place)?;
            self.judge_existence(&request, place)?;
            Ok(place)
        }) {
            Err(refused) => self.coap_manage_refused(&request, refused),
            // RFC 7959 §2.5: nothing happens before the last block.
            Ok(_) if request.more_follows => {
                let response = Response::new(Code::CONTINUE);
                self.coap.respond(&self.turn, request.exchange, response, Seq::NONE);
            }
            Ok(Place::Collection) => match request.method {
                Method::Post => self.create_topic(request),
                Method::Fetch => self.find_topics(&request),
                _ => self.discover_from(request, Listing::Collection),
            },
            Ok(Place::Topic(topic)) => match request.method {
                Method::Get => self.read_topic(&request, topic),
                Method::Fetch => self.read_part(&request, topic),
                Method::Delete => self.delete_topic(&request, topic),
                _ => self.update_topic(&request, topic),
            },
        }
    }

    fn place(&self, request: &CoapRequest, managed: Managed) -> Result<Place, Refused> {
        if managed != Managed::Topic {
            return Ok(Place::Collection);
        }
        let mount = &self.listener(request.peer.listener).mount;
        let id = request.path.last().map_or("", String::as_str);
        let text = || format!("there is no topic {id}: the collection lists those that there are");
        let found = self.topics.by_id(mount, id).map(Place::Topic);
        let (code, reason) = (Code::NOT_FOUND, Reason::NoRule);
        found.ok_or_else(|| Refused { code, reason, text: text() })
    }

    /// What If-Match and If-None-Match ask of a topic and of the collection, which are there (RFC 7252
    /// §5.10.8). What is found or filtered is judged with the answer, whose ETag the client may have.
    fn judge_existence(&self, request: &CoapRequest, place: Place) -> Result<(), Refused> {
        match place {
            _ if request.if_none_match => {
                Err(Refused::condition("If-None-Match: this resource is there"))
            }
            Place::Topic(topic) if request.method != Method::Fetch => {
                match self.topics.get(topic) {
                    Some(topic) => change::judge_condition(request, &topic.properties),
                    None => Ok(()),
                }
            }
            Place::Collection if request.method == Method::Post && !request.if_match.is_empty() => {
                let etag = self.collection_etag(&self.listener(request.peer.listener).mount);
                let condition = precondition(&request.if_match, false, &[]);
                let other = || Refused::condition("the collection is another than If-Match says");
                is_met(condition.as_ref(), etag).then_some(()).ok_or_else(other)
            }
            Place::Topic(_) | Place::Collection => Ok(()),
        }
    }

    /// A query filters the collection's list (RFC 6690 §4.1) and means nothing elsewhere.
    fn judge_query(&self, request: &CoapRequest, place: Place) -> Result<(), Refused> {
        let filters = (request.method, place) == (Method::Get, Place::Collection);
        let query = rules_query(&self.config, request.peer.listener, &request.query);
        match query.first() {
            Some(one) if !filters => {
                let text = format!("unknown query parameter {one}: this path takes none");
                Err(Refused { code: Code::BAD_REQUEST, reason: Reason::BadOption, text })
            }
            _ => Ok(()),
        }
    }

    fn coap_manage_refused(&mut self, request: &CoapRequest, refused: Refused) {
        let Refused { code, reason, text } = refused;
        self.notice(Notice {
            text: Some(text.clone()),
            ..Notice::of_peer(NoticeKind::Refused(reason), Protocol::Coap, &request.peer)
        });
        let response = super::refusal(code, text);
        self.coap.respond(&self.turn, request.exchange, response, Seq::NONE);
    }

    /// §2.4.2: the topics that have each property of the filter.
    fn find_topics(&mut self, request: &CoapRequest) {
        let filter = match Properties::from_cbor(&request.payload) {
            Ok(filter) => filter,
            Err(error) => {
                return self.coap_manage_refused(request, Refused::bad(error.to_string()));
            }
        };
        let mount = self.listener(request.peer.listener).mount.clone();
        let found = self.topics.of(&mount).filter(|topic| topic.properties.matches(&filter));
        let links: Vec<Link> = found.map(|topic| topic_link(&request.path, topic)).collect();
        let precondition = precondition(&request.if_match, false, &[]);
        let wanted = Wanted {
            peer: &request.peer,
            etags: &request.etags,
            precondition: precondition.as_ref(),
        };
        self.answer_links(request.exchange, wanted, &links);
    }

    /// §2.5.1.
    fn read_topic(&mut self, request: &CoapRequest, topic: TopicRef) {
        let Some(topic) = self.topics.get(topic) else { return };
        let response = validated(request, representation(Code::CONTENT, &topic.properties));
        self.coap.respond(&self.turn, request.exchange, response, Seq::NONE);
    }

    /// §2.5.2: the properties that are asked for, as far as they are there. If-Match may name what
    /// this request was answered with before, or the configuration.
    fn read_part(&mut self, request: &CoapRequest, topic: TopicRef) {
        let Some(topic) = self.topics.get(topic) else { return };
        let whole = change::judge_condition(request, &topic.properties);
        let part = Keys::from_cbor(&request.payload).map(|keys| topic.properties.part(keys));
        let response = match (part, whole) {
            (Ok(part), whole) => {
                let response = document(Code::CONTENT, part);
                let condition = precondition(&request.if_match, false, &[]);
                let is_met = is_met(condition.as_ref(), response.etag.unwrap_or_default());
                match whole {
                    Err(refused) if !is_met => Err(refused),
                    _ => Ok(response),
                }
            }
            (Err(_), Err(refused)) => Err(refused),
            (Err(error), Ok(())) => Err(Refused::bad(error.to_string())),
        };
        let response = match response {
            Ok(response) => validated(request, response),
            Err(refused) => return self.coap_manage_refused(request, refused),
        };
        self.coap.respond(&self.turn, request.exchange, response, Seq::NONE);
    }

    /// The Content-Format that a topic's data must come in.
    pub(super) fn required_format(&self, data: &str) -> Option<u16> {
        if self.topics.len() == 0 || !self.table.manages_topics() {
            return None;
        }
        self.topics.get(self.topics.by_data(data)?)?.properties.topic_content_format
    }

    /// The topic whose data this is, for its observers.
    pub(super) fn observed_topic(&self, data: &str) -> Option<TopicRef> {
        if self.topics.len() == 0 || !self.table.manages_topics() {
            return None;
        }
        self.topics.by_data(data)
    }
}

/// The methods, and the Content-Formats of each (§2.4, §2.5; RFC 8132).
fn judge(request: &CoapRequest, place: Place) -> Result<(), Refused> {
    use motegate_coap::pubsub::CONTENT_FORMAT as PROPERTIES;
    const LINKS: u16 = link_format::CONTENT_FORMAT;
    let (takes, gives) = match (place, request.method) {
        (Place::Collection, Method::Get) => (None, LINKS),
        (Place::Collection, Method::Fetch) => (Some(PROPERTIES), LINKS),
        (Place::Collection, Method::Post) => (Some(PROPERTIES), PROPERTIES),
        (Place::Topic(_), Method::Get | Method::Delete) => (None, PROPERTIES),
        (Place::Topic(_), Method::Fetch) => (Some(CBOR), PROPERTIES),
        (Place::Topic(_), Method::Put | Method::Post | Method::IPatch) => {
            (Some(PROPERTIES), PROPERTIES)
        }
        (Place::Collection, _) => return Err(not_allowed("the collection takes GET, FETCH, POST")),
        (Place::Topic(_), _) => {
            return Err(not_allowed("a topic takes GET, FETCH, PUT, POST, iPATCH, DELETE"));
        }
    };
    if let Some(format) = request.content_format
        && takes.is_some_and(|takes| takes != format)
    {
        let text =
            format!("Content-Format {format}: {} is understood", takes.unwrap_or(PROPERTIES));
        let (code, reason) = (Code::UNSUPPORTED_CONTENT_FORMAT, Reason::BadPayload);
        return Err(Refused { code, reason, text });
    }
    match request.accept {
        // Problem details are what errors come in; the answer proper has its own format.
        Some(accept) if accept != gives && request.method != Method::Delete => {
            let text = format!("this comes as Content-Format {gives}");
            Err(Refused { code: Code::NOT_ACCEPTABLE, reason: Reason::BadOption, text })
        }
        _ => Ok(()),
    }
}

fn not_allowed(text: &str) -> Refused {
    let (code, reason) = (Code::METHOD_NOT_ALLOWED, Reason::MethodNotAllowed);
    Refused { code, reason, text: text.to_owned() }
}

/// The same, or 2.03 for a client that has it (RFC 7252 §5.10.6.2).
fn validated(request: &CoapRequest, response: Response) -> Response {
    let etag = response.etag.unwrap_or_default().to_be_bytes();
    match request.etags.iter().any(|theirs| theirs[..] == etag) {
        true => Response { etag: response.etag, ..Response::new(Code::VALID) },
        false => response,
    }
}

/// A topic's configuration.
fn representation(code: Code, properties: &Properties) -> Response {
    document(code, properties.to_cbor())
}

fn document(code: Code, cbor: Vec<u8>) -> Response {
    Response {
        etag: Some(motegate_broker::etag(Some(CONTENT_FORMAT), &cbor)),
        payload: cbor.into(),
        content_format: Some(CONTENT_FORMAT),
        ..Response::new(code)
    }
}

/// A topic, below its collection's path.
fn topic_link(collection: &[String], topic: &Topic) -> Link {
    let path: Vec<&str> =
        collection.iter().map(String::as_str).chain(std::iter::once(&*topic.id)).collect();
    Link::to(&path).resource_type(TOPIC)
}

/// A topic's data, wherever they are.
fn data_link(topic: &Topic) -> Link {
    let properties = &topic.properties;
    let href = properties.topic_data.clone().unwrap_or_default();
    let link = Link { href, attributes: Vec::new() };
    let rt = properties.resource_type.clone().unwrap_or_else(|| DATA.into());
    let formats: Vec<u16> = properties.topic_content_format.into_iter().collect();
    link.resource_type(rt).content_formats(&formats).observable()
}

impl Core {
    /// The links of a mount's topics: their own, and those of their data where they are wanted.
    pub(crate) fn topic_links(&self, mount: &str, with_data: bool) -> Vec<Link> {
        let Some(path) = self.table.collection() else { return Vec::new() };
        let collection = [path.to_owned()];
        let topics = || self.topics.of(mount);
        let mut links: Vec<Link> = topics().map(|topic| topic_link(&collection, topic)).collect();
        if with_data {
            links.extend(topics().map(data_link));
        }
        links
    }

    /// Whether a topic of the collection has its data here.
    pub(crate) fn is_topics_data(&self, data: &TopicName) -> bool {
        self.topics.by_data(data.as_str()).is_some()
    }
}

impl From<MapError> for Refused {
    fn from(error: MapError) -> Self {
        Refused { code: super::reply_for(error.reason), reason: error.reason, text: error.text }
    }
}
