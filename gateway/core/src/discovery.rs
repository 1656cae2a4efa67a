//! `.well-known/core` (RFC 6690): the roots that every topic lies under, the resources of rules of
//! one path, then the retained topics that the asking client may read, as the CoAP paths that read
//! them (mapping.md §2.15). What a rule says of its resources (`link`) comes before what is known
//! of the value. The topic collection (draft-ietf-core-coap-pubsub) is listed by the same means. Rules for a certain host are not listed: a link would need an authority.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use hashbrown::{HashMap, HashSet};
use motegate_broker::{Precondition, Request};
use motegate_coap::endpoint::{
    Code, Discovery, ExchangeId, Method, Request as CoapRequest, Response,
};
use motegate_coap::link_format::{self, CONTENT_FORMAT, Filter, Link, Value};
use motegate_coap::pubsub;
use motegate_mapping::{Caller, Link as Resource, MapError};
use motegate_message::{ListenerId, Message, Peer, Reason, Seq, TopicFilter};

use crate::admin::Links;
use crate::coap::{content_format, is_met, precondition, rules_query};
use crate::notice::{Notice, NoticeKind};
use crate::pending::{Discover, Pending};
use crate::{Core, Protocol};

/// Most links in one answer (mapping.md §2.15).
const MAX_LINKS: usize = 200;

/// Bytes of a document, whatever its links: it leaves in blocks (RFC 7959), and is made anew for each.
const MAX_DOCUMENT: usize = 256 * 1024;

/// Most retained topics looked at for one answer: a filter may discard many.
const MAX_TOPICS: usize = 2_000;

/// Whether the request is for the resource directory of this server (RFC 6690 §4).
pub(crate) fn is_discovery(request: &CoapRequest) -> bool {
    request.path.iter().map(String::as_str).eq([".well-known", "core"])
}

/// What is listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Listing {
    /// `.well-known/core`.
    Server,
    /// The topics of the collection, and their data if the query asks for a type.
    Collection,
}

/// Who wants a document, and which not.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'a> {
    pub(crate) peer: &'a Peer,
    /// Those that the client has.
    pub(crate) etags: &'a [Vec<u8>],
    /// If-Match and If-None-Match.
    pub(crate) precondition: Option<&'a Precondition>,
}

impl Discover {
    fn wanted(&self) -> Wanted<'_> {
        Wanted { peer: &self.peer, etags: &self.etags, precondition: self.precondition.as_ref() }
    }
}

/// From where, and how, this server is looked at.
struct Seen<'a> {
    listener: ListenerId,
    /// Uri-Host.
    host: Option<&'a str>,
    /// Whether links say how large a value is.
    sizes: bool,
}

impl Core {
    pub(crate) fn discover(&mut self, request: CoapRequest) {
        let refusal = if request.method != Method::Get {
            Some((Code::METHOD_NOT_ALLOWED, "`.well-known/core` takes GET only"))
        } else if request.accept.is_some_and(|accept| accept != CONTENT_FORMAT) {
            Some((Code::NOT_ACCEPTABLE, "`.well-known/core` is application/link-format (40)"))
        } else {
            None
        };
        if let Some((code, text)) = refusal {
            let response = Response::error(code, text);
            self.coap.respond(&self.turn, request.exchange, response, Seq::NONE);
            return;
        }
        self.discover_from(request, Listing::Server);
    }

    /// Who asks a group learns that there is a broker, and nothing of its topics (mapping.md §2.15);
    /// whoever it is, for even a listener that takes nobody without identity can be found. A query
    /// that matches nothing is not answered (RFC 6690 §4.1).
    pub(crate) fn discover_by_group(&mut self, discovery: Discovery) {
        let query = rules_query(&self.config, discovery.peer.listener, &discovery.query);
        let filter = Filter::new(&query);
        let roots: Vec<Link> = self.table.roots().map(root).collect();
        let document = link_format::document(&roots, &filter, MAX_DOCUMENT);
        if !document.text.is_empty() {
            let response = link_document(document.text);
            self.coap.answer_discovery(&self.turn, discovery, response);
        }
    }

    /// Lists what the query asks for; method and Accept have been judged.
    pub(crate) fn discover_from(&mut self, request: CoapRequest, listing: Listing) {
        let filter = match self.below_mount(request.peer.listener) {
            Ok(filter) => filter,
            Err(error) => return self.coap_refuse(&request, error),
        };
        let asked = Discover {
            listing,
            key: self.coap_client(&request),
            query: rules_query(&self.config, request.peer.listener, &request.query).into_owned(),
            peer: request.peer,
            host: request.host,
            etags: request.etags,
            precondition: precondition(&request.if_match, request.if_none_match, &[]),
        };
        let ticket = self
            .pending
            .insert(Pending::CoapDiscover { exchange: request.exchange, asked: Box::new(asked) });
        self.ask(Request::List { ticket, filter, limit: MAX_TOPICS });
    }

    pub(crate) fn discovered(
        &mut self,
        exchange: ExchangeId,
        asked: &Discover,
        topics: &[Arc<Message>],
    ) {
        if asked.listing == Listing::Collection {
            return self.collection_listed(exchange, asked, topics);
        }
        let caller = self.caller(asked.peer.listener, asked.key.client_id(), asked.peer.addr.ip());
        let seen = Seen { listener: asked.peer.listener, host: asked.host.as_deref(), sizes: true };
        let filter = Filter::new(&asked.query);
        let (links, left_out) = self.server_links(&caller, &seen, &filter, topics);
        self.answer_document(exchange, asked.wanted(), &links, left_out);
    }

    /// What a resource directory is told of a listener: what `.well-known/core` shows there to a
    /// client without identity, whose name and address are nobody's. Sizes of values are left out:
    /// they change with each message. Every link is a path and has no anchor (RFC 9176 appendix C,
    /// Limited Link Format). Of a listener that shows such a client nothing it is told what a group is:
    /// that there is a broker.
    pub(crate) fn links_for_directory(&self, listener: ListenerId) -> Links {
        let Some(settings) = self.config.listeners.get(usize::from(listener.0)) else {
            return Links::default();
        };
        if !settings.anonymous || settings.connection_required {
            let roots: Vec<Link> = self.table.roots().map(root).collect();
            let document = link_format::document(&roots, &Filter::default(), MAX_DOCUMENT);
            let (count, left_out) = (roots.len() - document.left_out, document.left_out);
            return Links { count, left_out, document: document.text };
        }
        let Ok(filter) = self.below_mount(listener) else { return Links::default() };
        let topics = self.broker.retained_under(&filter, self.turn.now, MAX_TOPICS);
        let nobody = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
        let name = format!("anon-{nobody}");
        let caller = self.caller(listener, &name, nobody);
        let seen = Seen { listener, host: None, sizes: false };
        let (links, left_out) = self.server_links(&caller, &seen, &Filter::default(), &topics);
        let document = link_format::document(&links, &Filter::default(), MAX_DOCUMENT);
        Links {
            count: links.len() - document.left_out,
            left_out: left_out + document.left_out,
            document: document.text,
        }
    }

    /// The filter of all topics that a listener's mount leaves.
    fn below_mount(&self, listener: ListenerId) -> Result<TopicFilter, MapError> {
        let mount = &self.listener(listener).mount;
        // A mount may end within a level; the mapping takes only what is behind it.
        let levels = mount.rfind('/').map_or("", |slash| &mount[..=slash]);
        TopicFilter::new(&format!("{levels}#")).map_err(|error| {
            let (reason, text) = (Reason::BadTopic, format!("the listener's mount: {error}"));
            MapError { reason, text }
        })
    }

    /// The links of this server that `filter` takes, as many as an answer holds, and how many more
    /// there are.
    fn server_links(
        &self,
        caller: &Caller<'_>,
        seen: &Seen<'_>,
        filter: &Filter<'_>,
        topics: &[Arc<Message>],
    ) -> (Vec<Link>, usize) {
        let values: HashMap<&str, &Message> =
            topics.iter().map(|message| (message.topic.as_str(), &**message)).collect();
        let mut listed = HashSet::new();
        let mut links: Vec<Link> = Vec::new();
        let mut left_out = 0;
        let mut take = |link: Link| {
            if !filter.matches(&link) {
            } else if links.len() < MAX_LINKS {
                links.push(link);
            } else {
                left_out += 1;
            }
        };
        self.table.roots().map(root).for_each(&mut take);
        if let Some(path) = self.table.collection() {
            let collection = Link::to(&[path]).resource_type(pubsub::COLLECTION);
            take(collection.content_formats(&[CONTENT_FORMAT]));
        }
        let mount = self.listener(seen.listener).mount.clone();
        self.topic_links(&mount, false).into_iter().for_each(&mut take);
        // Every rule of one path is looked at, but no further than the answer can hold.
        for resource in self.table.links(caller, seen.host).take(MAX_TOPICS) {
            let value = resource.topic.as_ref().and_then(|topic| values.get(topic.as_str()));
            take(link(&resource, value.copied(), seen.sizes));
            listed.insert(resource.path);
        }
        for message in topics {
            match self.table.link(caller, seen.host, &message.topic) {
                Some(resource) if !listed.contains(&resource.path) => {
                    take(link(&resource, Some(message), seen.sizes));
                }
                _ => {}
            }
        }
        (links, left_out)
    }

    /// §2.4.1 and §2.3.4 of the draft: the topics, and with a type in the query their data, too, as
    /// well as topics that others have published to, which are data resources all the same.
    fn collection_listed(
        &mut self,
        exchange: ExchangeId,
        asked: &Discover,
        topics: &[Arc<Message>],
    ) {
        let filter = Filter::new(&asked.query);
        let with_data = asked.query.iter().any(|one| one.split('=').next() == Some("rt"));
        let mount = self.listener(asked.peer.listener).mount.clone();
        let mut links = self.topic_links(&mount, with_data);
        if with_data {
            let caller =
                self.caller(asked.peer.listener, asked.key.client_id(), asked.peer.addr.ip());
            let collection = self.table.collection();
            let others = topics.iter().filter(|message| !self.is_topics_data(&message.topic));
            links.extend(others.filter_map(|message| {
                let resource = self.table.link(&caller, asked.host.as_deref(), &message.topic)?;
                let below = resource.path.first().map(String::as_str) == collection;
                below.then(|| link(&resource, Some(message), true))
            }));
        }
        links.retain(|link| filter.matches(link));
        self.answer_links(exchange, asked.wanted(), &links);
    }

    /// The ETag of the collection's list without a query.
    pub(crate) fn collection_etag(&self, mount: &str) -> u64 {
        let links = self.topic_links(mount, false);
        let document = link_format::document(&links, &Filter::default(), MAX_DOCUMENT);
        link_document(document.text).etag.unwrap_or_default()
    }

    /// Answers with links, as many as a document holds.
    pub(crate) fn answer_links(
        &mut self,
        exchange: ExchangeId,
        wanted: Wanted<'_>,
        links: &[Link],
    ) {
        self.answer_document(exchange, wanted, links, 0);
    }

    fn answer_document(
        &mut self,
        exchange: ExchangeId,
        wanted: Wanted<'_>,
        links: &[Link],
        mut left_out: usize,
    ) {
        let document = link_format::document(links, &Filter::default(), MAX_DOCUMENT);
        left_out += document.left_out;
        if left_out > 0 {
            let kind = NoticeKind::Dropped(Reason::QuotaExceeded);
            let text = format!(
                "this list has {left_out} more links than an answer holds: ask for some of \
                 them, as in ?href=/mqtt/site/*"
            );
            let notice = Notice::of_peer(kind, Protocol::Coap, wanted.peer);
            self.notice(Notice { text: Some(text), ..notice });
        }
        let response = link_document(document.text);
        let etag = response.etag.unwrap_or_default();
        // RFC 7252 §5.10.8, of the document that would be the answer.
        if !is_met(wanted.precondition, etag) {
            return self.coap_failed(exchange, Reason::PreconditionFailed);
        }
        let known = wanted.etags.iter().any(|theirs| theirs[..] == etag.to_be_bytes());
        let response = match known {
            true => Response { etag: response.etag, ..Response::new(Code::VALID) },
            false => response,
        };
        self.coap.respond(&self.turn, exchange, response, Seq::NONE);
    }
}

fn link_document(text: String) -> Response {
    Response {
        etag: Some(motegate_broker::etag(Some(CONTENT_FORMAT), text.as_bytes())),
        payload: text.into_bytes().into(),
        content_format: Some(CONTENT_FORMAT),
        ..Response::new(Code::CONTENT)
    }
}

/// What is told of a resource: the rule's word, then what its value shows.
fn link(resource: &Resource, value: Option<&Message>, sizes: bool) -> Link {
    let mut link = Link::to(&resource.path);
    let given = |name: &str| resource.attribute(name).is_some();
    if !given("ct") {
        link = match (resource.content_formats.as_slice(), value) {
            ([], Some(message)) => link.content_formats(&[content_format(message)]),
            (formats, _) => link.content_formats(formats),
        };
    }
    if let (Some(message), true) = (value, sizes && !given("sz")) {
        link = link.size(u32::try_from(message.payload.len()).unwrap_or(u32::MAX));
    }
    if resource.observable {
        link = link.observable();
    }
    if !given("rt") && value.is_some() {
        link = link.resource_type("core.ps.data");
    }
    for (name, text) in &resource.attributes {
        // RFC 6690 §2: ct and sz are numbers where they are one.
        let number = matches!(name.as_str(), "ct" | "sz").then(|| text.parse().ok()).flatten();
        let value = number.map_or_else(|| Value::Text(text.clone().into()), Value::Number);
        link = link.attribute(name.clone(), value);
    }
    link
}

/// The broker itself, as draft-ietf-core-coap-pubsub names it: how a client of a fresh gateway finds
/// where to publish.
fn root(prefix: &str) -> Link {
    let path: Vec<&str> = prefix.split('/').filter(|segment| !segment.is_empty()).collect();
    Link::to(&path).resource_type("core.ps")
}
