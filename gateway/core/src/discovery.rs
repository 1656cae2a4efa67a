//! `.well-known/core` (RFC 6690): the roots that every topic lies under, the resources of rules of
//! one path, then the retained topics that the asking client may read, as the CoAP paths that read
//! them (mapping.md §2.15). What a rule says of its resources (`link`) comes before what is known
//! of the value. Rules for a certain host are not listed: a link would need an authority.

use std::sync::Arc;

use hashbrown::{HashMap, HashSet};
use motegate_broker::Request;
use motegate_coap::endpoint::{Code, ExchangeId, Method, Request as CoapRequest, Response};
use motegate_coap::link_format::{self, CONTENT_FORMAT, Filter, Link, Value};
use motegate_mapping::{Link as Resource, MapError};
use motegate_message::{Message, Reason, Seq, TopicFilter};

use crate::coap::{content_format, rules_query};
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
        let mount = &self.listener(request.peer.listener).mount;
        // A mount may end within a level; the mapping takes only what is behind it.
        let levels = mount.rfind('/').map_or("", |slash| &mount[..=slash]);
        let filter = match TopicFilter::new(&format!("{levels}#")) {
            Ok(filter) => filter,
            Err(error) => {
                let (reason, text) = (Reason::BadTopic, format!("the listener's mount: {error}"));
                return self.coap_refuse(&request, MapError { reason, text });
            }
        };
        let asked = Discover {
            key: self.coap_client(&request),
            query: rules_query(&self.config, request.peer.listener, &request.query).into_owned(),
            peer: request.peer,
            host: request.host,
            etags: request.etags,
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
        let caller = self.caller(asked.peer.listener, asked.key.client_id(), asked.peer.addr.ip());
        let filter = Filter::new(&asked.query);
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
        // Every rule of one path is looked at, but no further than the answer can hold.
        for resource in self.table.links(&caller, asked.host.as_deref()).take(MAX_TOPICS) {
            let value = resource.topic.as_ref().and_then(|topic| values.get(topic.as_str()));
            take(link(&resource, value.copied()));
            listed.insert(resource.path);
        }
        for message in topics {
            match self.table.link(&caller, asked.host.as_deref(), &message.topic) {
                Some(resource) if !listed.contains(&resource.path) => {
                    take(link(&resource, Some(message)));
                }
                _ => {}
            }
        }
        let document = link_format::document(&links, &filter, MAX_DOCUMENT);
        left_out += document.left_out;
        if left_out > 0 {
            let kind = NoticeKind::Dropped(Reason::QuotaExceeded);
            let text = format!(
                "`.well-known/core` has {left_out} more links than an answer holds: ask for some of \
                 them, as in ?href=/mqtt/site/*"
            );
            let notice = Notice::of_peer(kind, Protocol::Coap, &asked.peer);
            self.notice(Notice { text: Some(text), ..notice });
        }
        let etag = motegate_broker::etag(Some(CONTENT_FORMAT), document.text.as_bytes());
        let known = asked.etags.iter().any(|theirs| theirs[..] == etag.to_be_bytes());
        let response = match known {
            true => Response { etag: Some(etag), ..Response::new(Code::VALID) },
            false => Response {
                payload: document.text.into_bytes().into(),
                content_format: Some(CONTENT_FORMAT),
                etag: Some(etag),
                ..Response::new(Code::CONTENT)
            },
        };
        self.coap.respond(&self.turn, exchange, response, Seq::NONE);
    }
}

/// What is told of a resource: the rule's word, then what its value shows.
fn link(resource: &Resource, value: Option<&Message>) -> Link {
    let mut link = Link::to(&resource.path);
    let given = |name: &str| resource.attribute(name).is_some();
    if !given("ct") {
        link = match (resource.content_formats.as_slice(), value) {
            ([], Some(message)) => link.content_formats(&[content_format(message)]),
            (formats, _) => link.content_formats(formats),
        };
    }
    if let (Some(message), false) = (value, given("sz")) {
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
