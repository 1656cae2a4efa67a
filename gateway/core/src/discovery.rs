//! `.well-known/core` (RFC 6690): the root that every topic lies under, then the retained topics
//! that the asking client may read, as the CoAP paths that read them (mapping.md §2.15).

use std::sync::Arc;

use motegate_broker::Request;
use motegate_coap::endpoint::{Code, ExchangeId, Method, Request as CoapRequest, Response};
use motegate_coap::link_format::{self, CONTENT_FORMAT, Filter, Link};
use motegate_mapping::MapError;
use motegate_message::{Message, Reason, Seq, TopicFilter};

use crate::Core;
use crate::coap::content_format;
use crate::pending::{Discover, Pending};

/// Most links in one answer (mapping.md §2.15).
const MAX_LINKS: usize = 200;

/// Most retained topics looked at for one answer: a filter may discard many.
const MAX_TOPICS: usize = 2_000;

/// Whether the request is for the resource directory of this server (RFC 6690 §4).
pub(crate) fn is_discovery(request: &CoapRequest) -> bool {
    request.path.iter().map(String::as_str).eq([".well-known", "core"])
}

impl Core {
    pub(crate) fn discover(&mut self, request: &CoapRequest) {
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
                return self.coap_refuse(request, MapError { reason, text });
            }
        };
        let asked = Discover {
            peer: request.peer.clone(),
            key: self.coap_client(request),
            query: request.query.clone(),
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
        let retained = topics.iter().filter_map(|message| {
            let path = self.table.coap_path(&caller, &message.topic)?;
            let format = content_format(message);
            let size = u32::try_from(message.payload.len()).unwrap_or(u32::MAX);
            let link = Link::to(&path).content_formats(&[format]).size(size).observable();
            Some(link.resource_type("core.ps.data"))
        });
        let links: Vec<Link> = self
            .table
            .prefix()
            .map(root)
            .into_iter()
            .chain(retained)
            .filter(|link| filter.matches(link))
            .take(MAX_LINKS)
            .collect();
        let document = link_format::document(&links, &filter, self.config.coap.max_payload);
        let response = Response {
            payload: document.text.into_bytes().into(),
            content_format: Some(CONTENT_FORMAT),
            ..Response::new(Code::CONTENT)
        };
        self.coap.respond(&self.turn, exchange, response, Seq::NONE);
    }
}

/// The broker itself, as draft-ietf-core-coap-pubsub names it: how a client of a fresh gateway finds
/// where to publish.
fn root(prefix: &str) -> Link {
    let path: Vec<&str> = prefix.split('/').filter(|segment| !segment.is_empty()).collect();
    Link::to(&path).resource_type("core.ps")
}
