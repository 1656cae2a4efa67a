//! A retained value, or one that is delivered, as a CoAP client is given it: in which format, with
//! which ETag, or why not.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use motegate_broker::Precondition;
use motegate_coap::endpoint::{Code, Response};
use motegate_mapping::payload::{Conversion, PayloadError, could_be};
use motegate_mapping::{CoapMatch, OnBadPayload};
use motegate_message::{ListenerId, Message, Reason, Seq, TopicFilter, TopicName};

use crate::Core;
use crate::notice::{Notice, NoticeKind};
use crate::pending::CoapRead;

/// Content-Formats (RFC 7252 §12.3) of values that came without one.
const TEXT_PLAIN: u16 = 0;
const OCTET_STREAM: u16 = 42;

/// Max-Age of a response that says none (RFC 7252 §5.10.5).
const DEFAULT_MAX_AGE: Duration = Duration::from_secs(60);

/// What a rule says of the values of its topic.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Meaning {
    /// Whether observing a topic without value answers 2.05 empty.
    pub(crate) content_when_empty: bool,
    /// Max-Age of what does not expire, in seconds.
    max_age: Option<u32>,
    /// Whether an observation begins and ends as EMQX has it.
    pub(super) emqx: bool,
    conversion: Option<Arc<Conversion>>,
    /// The filter of the topics of a pack's records.
    records: Option<TopicFilter>,
}

/// A value in a client's format.
#[derive(Debug, Clone)]
pub(super) struct Shown {
    pub(super) payload: Bytes,
    pub(super) format: u16,
    pub(super) etag: u64,
}

/// The format that a value is wanted in.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Wanted {
    /// Accept.
    pub(super) accept: Option<u16>,
    /// That of the observation's first answer.
    pub(super) settled: Option<u16>,
}

impl Wanted {
    fn format(self) -> Option<u16> {
        self.settled.or(self.accept)
    }
}

/// Why it is not shown.
pub(super) enum Hidden {
    /// The client wants another format.
    NotAcceptable(String),
    /// The format cannot say it; another one of the rule may.
    Inexpressible(String),
    /// The value is not what the rule says it is.
    Broken(String),
}

impl Meaning {
    pub(crate) fn of(mapped: &CoapMatch) -> Meaning {
        Meaning {
            content_when_empty: mapped.content_when_empty,
            max_age: mapped.max_age.map(|age| age.as_secs().try_into().unwrap_or(u32::MAX)),
            emqx: mapped.emqx.is_some(),
            conversion: mapped.conversion.clone(),
            records: mapped.records.as_ref().map(|_| mapped.topic.clone()),
        }
    }

    /// How long what does not expire is fresh (RFC 7252 §5.10.5); `None`: 60 s, unsaid.
    pub(super) fn max_age(&self) -> Option<Duration> {
        self.max_age.map(|secs| Duration::from_secs(secs.into()))
    }

    /// Whether a value may come in this format.
    pub(super) fn offers(&self, format: u16) -> bool {
        self.conversion.as_ref().is_none_or(|conversion| conversion.offers(format))
    }

    /// `name` is the record's, where the value becomes a pack.
    pub(super) fn show(
        &self,
        message: &Message,
        wanted: Wanted,
        name: &str,
    ) -> Result<Shown, Hidden> {
        let Some(conversion) = &self.conversion else { return as_it_is(message, wanted) };
        match conversion.downlink(wanted.format(), name, &message.payload) {
            Ok(down) => Ok(Shown {
                payload: down.payload,
                format: down.content_format,
                etag: etag(message) ^ variant(down.content_format),
            }),
            Err(error @ PayloadError::NotAcceptable { .. }) => {
                Err(Hidden::NotAcceptable(error.to_string()))
            }
            Err(_) if conversion.on_bad() == OnBadPayload::Pass => as_it_is(message, wanted),
            Err(error @ PayloadError::Inexpressible { .. }) => {
                Err(Hidden::Inexpressible(error.to_string()))
            }
            Err(error) => Err(Hidden::Broken(error.to_string())),
        }
    }

    /// What a record of this topic is called: what the rule's `{senml.n}` stands for, or the topic
    /// below the mount.
    pub(super) fn record_name(&self, mount: &str, topic: &TopicName) -> String {
        let topic = topic.as_str();
        let Some(filter) = &self.records else {
            return topic.strip_prefix(mount).unwrap_or(topic).to_owned();
        };
        let mut levels = topic.split('/');
        for level in filter.as_str().split('/') {
            match level {
                "#" => return levels.collect::<Vec<_>>().join("/"),
                "+" => return levels.next().unwrap_or_default().to_owned(),
                _ => drop(levels.next()),
            }
        }
        topic.to_owned()
    }
}

fn as_it_is(message: &Message, wanted: Wanted) -> Result<Shown, Hidden> {
    let format = match (stated_format(message), wanted) {
        // What nobody gave a format is octets, even where it could be text.
        (None, Wanted { settled: None, accept: Some(OCTET_STREAM) }) => OCTET_STREAM,
        // Nor is it anything else than what an observer had before, as long as it can be that.
        (None, Wanted { settled: Some(format), .. }) if could_be(format, &message.payload) => {
            format
        }
        _ => content_format(message),
    };
    if wanted.format().is_some_and(|wanted| wanted != format) {
        return Err(Hidden::NotAcceptable(format!("the value's Content-Format is {format}")));
    }
    Ok(Shown { payload: message.payload.clone(), format, etag: etag(message) })
}

impl Core {
    /// Answers a GET, with or without Observe.
    pub(super) fn coap_value(&mut self, read: CoapRead, message: Option<&Message>) {
        // RFC 7252 §5.10.8: the method, whichever it is, is not performed.
        if !read.precondition.as_ref().is_none_or(|condition| fulfils(message, condition)) {
            if let Some(observation) = read.observation {
                self.end_observation(observation);
            }
            self.coap_failed(read.exchange, Reason::PreconditionFailed);
            return;
        }
        let mut response = match message {
            Some(message) => self.representation(message, &read),
            None if read.is_of_observer() && read.meaning.content_when_empty => {
                Response { max_age: read.meaning.max_age(), ..Response::new(Code::CONTENT) }
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
        if response.code.class() != 2 {
            // RFC 7252 §5.9.2: a cache keeps this, too; no longer than what it would be told of a
            // value, and not as long as that may be.
            response.max_age = read.meaning.max_age().filter(|age| *age < DEFAULT_MAX_AGE);
        }
        self.coap.respond(&self.turn, read.exchange, response, Seq::NONE);
    }

    fn representation(&mut self, message: &Message, read: &CoapRead) -> Response {
        let name = self.record_name(&read.meaning, read.listener, &message.topic);
        let wanted = Wanted { accept: read.accept, settled: None };
        let shown = match read.meaning.show(message, wanted, &name) {
            Ok(shown) => shown,
            Err(Hidden::NotAcceptable(text)) => {
                return Response::error(Code::NOT_ACCEPTABLE, text);
            }
            Err(Hidden::Inexpressible(text)) if read.accept.is_some() => {
                return Response::error(Code::NOT_ACCEPTABLE, text);
            }
            Err(Hidden::Broken(text) | Hidden::Inexpressible(text)) => {
                self.notice_broken(&message.topic, &text);
                return Response::error(Code::INTERNAL_SERVER_ERROR, text);
            }
        };
        if let Some(observation) = read.observation {
            self.settle_format(observation, shown.format);
        }
        let known = read.etags.iter().any(|theirs| theirs[..] == shown.etag.to_be_bytes());
        let content = if known { Response::new(Code::VALID) } else { Response::new(Code::CONTENT) };
        Response {
            payload: if known { Bytes::new() } else { shown.payload },
            content_format: (!known).then_some(shown.format),
            etag: Some(shown.etag),
            max_age: self.max_age(message, &read.meaning),
            ..content
        }
    }

    pub(super) fn record_name(
        &self,
        meaning: &Meaning,
        listener: ListenerId,
        topic: &TopicName,
    ) -> String {
        match &meaning.conversion {
            Some(_) => meaning.record_name(&self.listener(listener).mount, topic),
            None => String::new(),
        }
    }

    /// A value in the broker that is not what the rule of its reader says.
    pub(super) fn notice_broken(&mut self, topic: &TopicName, text: &str) {
        self.notice(Notice {
            protocol: Some(crate::Protocol::Coap),
            text: Some(format!("the value of {topic}: {text}")),
            ..Notice::new(NoticeKind::Dropped(Reason::BadPayload))
        });
    }

    /// What remains of the message's expiry; without one what the rule says.
    pub(super) fn max_age(&self, message: &Message, meaning: &Meaning) -> Option<Duration> {
        let remains = message.expires.map(|at| at.saturating_since(self.turn.now));
        remains.or_else(|| meaning.max_age())
    }
}

/// The Content-Format that a value is given out with.
pub(crate) fn content_format(message: &Message) -> u16 {
    stated_format(message).unwrap_or_else(|| match core::str::from_utf8(&message.payload) {
        Ok(_) => TEXT_PLAIN,
        Err(_) => OCTET_STREAM,
    })
}

/// The same hash that `If-Match` is judged by in the broker: of the format as stored.
fn etag(message: &Message) -> u64 {
    motegate_broker::etag(stated_format(message), &message.payload)
}

/// The Content-Format that its publisher gave it.
fn stated_format(message: &Message) -> Option<u16> {
    message.properties.as_ref().and_then(|properties| properties.content_format)
}

/// What tells the ETags of one value's formats apart (RFC 7252 §5.10.6: of a representation).
fn variant(format: u16) -> u64 {
    (u64::from(format) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)
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

/// Whether what is there, with this ETag, is as If-Match or If-None-Match wants it.
pub(crate) fn is_met(condition: Option<&Precondition>, etag: u64) -> bool {
    match condition {
        None => true,
        Some(Precondition::Absent) => false,
        Some(Precondition::Match(etags)) => etags.is_empty() || etags.contains(&etag),
    }
}

/// What If-Match and If-None-Match ask of the stored value; `formats` are those that the rule
/// converts it to.
pub(crate) fn precondition(
    if_match: &[Vec<u8>],
    if_none_match: bool,
    formats: &[u16],
) -> Option<Precondition> {
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
    let theirs = if_match.iter().filter_map(ours);
    let mut etags: Vec<u64> = match formats {
        [] => theirs.collect(),
        _ => theirs.flat_map(|etag| formats.iter().map(move |f| etag ^ variant(*f))).collect(),
    };
    if etags.is_empty() {
        etags.push(0); // nothing has this hash: an empty list would mean "exists"
    }
    Some(Precondition::Match(etags))
}

/// The formats that a rule converts to.
pub(super) fn formats(mapped: &CoapMatch) -> Vec<u16> {
    mapped.payload.as_ref().map(|payload| payload.content_formats()).unwrap_or_default()
}
