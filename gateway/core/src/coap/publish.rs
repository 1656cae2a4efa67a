//! PUT, POST and DELETE: what a device wrote, in the broker's format, as one message or as one for
//! each record of a pack (mapping.md §2.7, §2.10).

use std::time::Duration;

use bytes::Bytes;
use motegate_broker::Request;
use motegate_coap::endpoint::{Code, ExchangeId, Method, Request as CoapRequest, Response};
use motegate_mapping::payload::{PayloadError, Uplink};
use motegate_mapping::{Action, CoapMatch, MapError, OnBadPayload};
use motegate_message::{ListenerId, Message, Qos, Reason, Seq, SessionKey, TopicName};
use motegate_timers::Instant;

use super::value::{formats, precondition};
use crate::notice::{Notice, NoticeKind};
use crate::pending::{CoapPublish, Pending};
use crate::topics::{check_bounds, dead_letter, is_reserved};
use crate::{Core, Protocol, content_types};

/// A pack whose records wait for the broker's word.
#[derive(Debug)]
pub(crate) struct Pack {
    kind: CoapPublish,
    left: usize,
    created: bool,
    after: Seq,
    refused: Option<Reason>,
}

/// What is published: where, what, in which format.
struct Part {
    topic: TopicName,
    payload: Bytes,
    format: Option<u16>,
    retain: bool,
}

/// What a payload becomes; the usual one message costs no list.
enum Parts {
    One(Part),
    Records(Vec<Part>),
}

impl Parts {
    fn as_slice(&self) -> &[Part] {
        match self {
            Parts::One(part) => std::slice::from_ref(part),
            Parts::Records(parts) => parts,
        }
    }
}

/// What the messages of one request have in common.
struct Publication {
    qos: Qos,
    expiry: Option<Duration>,
    user: Vec<(String, String)>,
    key: SessionKey,
}

impl Publication {
    fn message(&self, now: Instant, part: Part) -> Message {
        let mut message = Message::new(part.topic, part.payload);
        message.qos = self.qos;
        message.retain = part.retain;
        message.expires = self.expiry.map(|expiry| now + expiry);
        message.publisher = Some(self.key.clone());
        message.properties = content_types::properties(part.format, &self.user);
        message
    }
}

/// Why there is nothing to publish.
enum NoParts {
    Refused(MapError),
    /// With its answer.
    Answered(Response),
    /// It has gone another way, which answers.
    Taken,
}

impl From<MapError> for NoParts {
    fn from(error: MapError) -> Self {
        NoParts::Refused(error)
    }
}

impl Core {
    pub(super) fn coap_publish(
        &mut self,
        mut request: CoapRequest,
        key: SessionKey,
        mapped: CoapMatch,
    ) {
        if self.backpressure.is_over() {
            let text = "the store is behind: try again in a moment".into();
            self.coap_refuse(&request, MapError { reason: Reason::Overloaded, text });
            return;
        }
        if let Some(text) = self.is_other_format(&request, &mapped) {
            return self.coap_other_format(&request, text);
        }
        let payload = std::mem::take(&mut request.payload);
        let parts = match mapped.action {
            Action::Clear => one(&mapped, Bytes::new(), None, true),
            _ => self.coap_parts(&request, &key, &mapped, payload),
        };
        let listener = request.peer.listener;
        let parts = parts.and_then(|parts| {
            parts
                .as_slice()
                .iter()
                .try_for_each(|part| self.coap_may_publish(listener, &part.topic))?;
            Ok(parts)
        });
        match parts {
            Ok(parts) => self.coap_publish_parts(&request, key, mapped, parts),
            Err(NoParts::Refused(error)) => self.coap_refuse(&request, error),
            Err(NoParts::Answered(response)) => {
                self.coap.respond(&self.turn, request.exchange, response, Seq::NONE);
            }
            Err(NoParts::Taken) => {}
        }
    }

    /// What the topic's data must come in, where they do not (draft-ietf-core-coap-pubsub §3.2.1).
    fn is_other_format(&self, request: &CoapRequest, mapped: &CoapMatch) -> Option<String> {
        let format = self.required_format(mapped.topic.as_str())?;
        let fits = mapped.action != Action::Publish || request.content_format == Some(format);
        (!fits).then(|| format!("this topic's data come as Content-Format {format}"))
    }

    fn coap_other_format(&mut self, request: &CoapRequest, text: String) {
        let kind = NoticeKind::Refused(Reason::BadPayload);
        self.notice(Notice {
            text: Some(text.clone()),
            ..Notice::of_peer(kind, Protocol::Coap, &request.peer)
        });
        let response = Response::error(Code::UNSUPPORTED_CONTENT_FORMAT, text);
        self.coap.respond(&self.turn, request.exchange, response, Seq::NONE);
    }

    /// Whether the rest of a body in blocks may come.
    pub(super) fn coap_more(&mut self, request: &CoapRequest, mapped: &CoapMatch) {
        if let Some(text) = self.is_other_format(request, mapped) {
            return self.coap_other_format(request, text);
        }
        let topic = mapped.topic.as_name().filter(|_| mapped.records.is_none());
        match topic.map_or(Ok(()), |topic| self.coap_may_publish(request.peer.listener, &topic)) {
            Ok(()) => {
                let response = Response::new(Code::CONTINUE);
                self.coap.respond(&self.turn, request.exchange, response, Seq::NONE);
            }
            Err(error) => self.coap_refuse(request, error),
        }
    }

    pub(super) fn coap_may_publish(
        &self,
        listener: ListenerId,
        topic: &TopicName,
    ) -> Result<(), MapError> {
        check_bounds(self.config.mqtt_of(listener), topic.as_str())?;
        if is_reserved(topic) {
            let text = "this topic is the gateway's own to publish".into();
            return Err(MapError { reason: Reason::AclDeny, text });
        }
        Ok(())
    }

    /// The messages that a payload becomes.
    fn coap_parts(
        &mut self,
        request: &CoapRequest,
        key: &SessionKey,
        mapped: &CoapMatch,
        payload: Bytes,
    ) -> Result<Parts, NoParts> {
        let Some(conversion) = &mapped.conversion else {
            return one(mapped, payload, request.content_format, mapped.retain);
        };
        let format = Some(conversion.broker().content_format());
        match conversion.uplink(request.content_format, &payload) {
            Ok(Uplink::One(payload)) => one(mapped, payload, format, mapped.retain),
            Ok(Uplink::Records(records)) => {
                let retain = mapped.retain;
                let parts = records.into_iter().map(|record| {
                    let topic = match &mapped.records {
                        Some(named) => named.topic(&record.name)?,
                        None => concrete(mapped)?,
                    };
                    Ok(Part { topic, payload: record.payload, format, retain })
                });
                Ok(Parts::Records(parts.collect::<Result<_, MapError>>()?))
            }
            Err(error @ PayloadError::UnsupportedContentFormat { .. }) => {
                let code = Code::UNSUPPORTED_CONTENT_FORMAT;
                Err(NoParts::Answered(self.coap_bad_payload(request, code, &error)))
            }
            Err(error) => match conversion.on_bad() {
                OnBadPayload::Pass => one(mapped, payload, request.content_format, mapped.retain),
                OnBadPayload::Reject => {
                    let code = match error {
                        PayloadError::TooLarge { .. } => Code::REQUEST_ENTITY_TOO_LARGE,
                        _ => Code::BAD_REQUEST,
                    };
                    Err(NoParts::Answered(self.coap_bad_payload(request, code, &error)))
                }
                OnBadPayload::DeadLetter => {
                    let letter = dead_letter(&mapped.topic, payload, key, &mapped.rule, &error);
                    self.notice(Notice {
                        text: Some(error.to_string()),
                        ..Notice::of_peer(
                            NoticeKind::Dropped(Reason::BadPayload),
                            Protocol::Coap,
                            &request.peer,
                        )
                    });
                    let pending = Pending::CoapPublish {
                        exchange: request.exchange,
                        kind: CoapPublish::Post,
                    };
                    let ticket = self.pending.insert(pending);
                    self.ask(Request::Publish { ticket, message: letter, precondition: None });
                    Err(NoParts::Taken)
                }
            },
        }
    }

    fn coap_bad_payload(
        &mut self,
        request: &CoapRequest,
        code: Code,
        error: &PayloadError,
    ) -> Response {
        let text = format!("{error}: {}", error.fix());
        self.notice(Notice {
            text: Some(text.clone()),
            ..Notice::of_peer(
                NoticeKind::Refused(Reason::BadPayload),
                Protocol::Coap,
                &request.peer,
            )
        });
        Response::error(code, text)
    }

    fn coap_publish_parts(
        &mut self,
        request: &CoapRequest,
        key: SessionKey,
        mapped: CoapMatch,
        parts: Parts,
    ) {
        let kind = match request.method {
            Method::Put => CoapPublish::Put,
            Method::Delete => CoapPublish::Delete,
            _ => CoapPublish::Post,
        };
        let formats = formats(&mapped);
        let precondition = precondition(&request.if_match, request.if_none_match, &formats);
        let exchange = request.exchange;
        let qos = mapped.qos.unwrap_or(match request.confirmable {
            true => Qos::AtLeastOnce,
            false => Qos::AtMostOnce,
        });
        let of = Publication { qos, expiry: mapped.expiry, user: mapped.user, key };
        match parts {
            Parts::One(part) => {
                let ticket = self.pending.insert(Pending::CoapPublish { exchange, kind });
                let message = of.message(self.turn.now, part);
                self.sys.of_mut(Protocol::Coap).published += 1;
                self.ask(Request::Publish { ticket, message, precondition });
            }
            // Several topics have no ETag in common.
            Parts::Records(_) if precondition.is_some() => {
                self.coap_failed(exchange, Reason::PreconditionFailed);
            }
            Parts::Records(parts) => {
                let (left, after) = (parts.len(), Seq::NONE);
                let pack = Pack { kind, left, created: false, after, refused: None };
                self.packs.insert(exchange, pack);
                for part in parts {
                    let ticket = self.pending.insert(Pending::CoapRecord { exchange });
                    let message = of.message(self.turn.now, part);
                    self.sys.of_mut(Protocol::Coap).published += 1;
                    self.ask(Request::Publish { ticket, message, precondition: None });
                }
            }
        }
    }

    /// The broker's word on one record; the last one answers.
    pub(super) fn coap_record(
        &mut self,
        exchange: ExchangeId,
        result: Result<(bool, Seq), Reason>,
    ) {
        let Some(pack) = self.packs.get_mut(&exchange) else { return };
        pack.left -= 1;
        match result {
            Ok((created, after)) => {
                pack.created |= created;
                pack.after = pack.after.max(after);
            }
            Err(reason) => pack.refused = Some(reason),
        }
        if pack.left > 0 {
            return;
        }
        let Some(pack) = self.packs.remove(&exchange) else { return };
        match pack.refused {
            Some(reason) => self.coap_failed(exchange, reason),
            None => self.coap_published(exchange, pack.kind, pack.created, pack.after),
        }
    }

    pub(super) fn coap_published(
        &mut self,
        exchange: ExchangeId,
        kind: CoapPublish,
        created: bool,
        after: Seq,
    ) {
        let code = match (kind, created) {
            (CoapPublish::Put, true) => Code::CREATED,
            (CoapPublish::Delete, _) => Code::DELETED,
            _ => Code::CHANGED,
        };
        self.coap.respond(&self.turn, exchange, Response::new(code), after);
    }
}

fn concrete(mapped: &CoapMatch) -> Result<TopicName, MapError> {
    let text = || "publish to one topic".into();
    mapped.topic.as_name().ok_or_else(|| MapError { reason: Reason::BadTopic, text: text() })
}

fn one(
    mapped: &CoapMatch,
    payload: Bytes,
    format: Option<u16>,
    retain: bool,
) -> Result<Parts, NoParts> {
    let topic = concrete(mapped)?;
    Ok(Parts::One(Part { topic, payload, format, retain }))
}
