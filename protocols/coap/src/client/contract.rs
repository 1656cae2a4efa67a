//! What the client is asked ([`Request`]) and what it reports ([`Event`]).

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use bytes::Bytes;
use core::time::Duration;

use crate::endpoint::{Code, Method};
use crate::message::{Message, Token};
use crate::options::{
    ACCEPT, BLOCK1, BLOCK2, CONTENT_FORMAT, ECHO, ETAG, IF_MATCH, IF_NONE_MATCH, LOCATION_PATH,
    MAX_AGE, OBSERVE, OptionWriter, REQUEST_TAG, SIZE1, SIZE2, URI_PATH, URI_QUERY, read_uint,
};

use super::Loss;
use super::transfer::{Part, tag_bytes};

/// The client's number for a request or an observation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(pub u64);

/// A request to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// What to do.
    pub method: Method,
    /// CON or NON.
    pub confirmable: bool,
    /// Uri-Path options.
    pub path: Vec<String>,
    /// Uri-Query options.
    pub query: Vec<String>,
    /// Body; what does not fit a block is sent in several (RFC 7959).
    pub payload: Bytes,
    /// Its Content-Format.
    pub content_format: Option<u16>,
    /// Accept.
    pub accept: Option<u16>,
    /// ETag options, for 2.03.
    pub etags: Vec<Vec<u8>>,
    /// If-Match options.
    pub if_match: Vec<Vec<u8>>,
    /// If-None-Match.
    pub if_none_match: bool,
    /// Asks for an observation (Observe 0).
    pub observe: bool,
    /// Any further options, by number. With a Block1 or Block2 among them the blocks of that
    /// direction are the caller's: a payload is sent as it is, a block is reported as it comes.
    pub options: Vec<(u16, Vec<u8>)>,
}

impl Request {
    /// A confirmable request to a path such as `mqtt/site/door`; its segments are taken as they
    /// are, nothing is percent-decoded.
    #[must_use]
    pub fn new(method: Method, path: &str) -> Self {
        let path = path.trim_start_matches('/');
        let segments = path.split('/').map(ToString::to_string);
        Request {
            method,
            confirmable: true,
            path: if path.is_empty() { Vec::new() } else { segments.collect() },
            query: Vec::new(),
            payload: Bytes::new(),
            content_format: None,
            accept: None,
            etags: Vec::new(),
            if_match: Vec::new(),
            if_none_match: false,
            observe: false,
            options: Vec::new(),
        }
    }

    /// With a body.
    #[must_use]
    pub fn payload(mut self, payload: impl Into<Bytes>) -> Self {
        self.payload = payload.into();
        self
    }

    /// As NON.
    #[must_use]
    pub const fn non_confirmable(mut self) -> Self {
        self.confirmable = false;
        self
    }

    /// As a registration (RFC 7641 §3.1).
    #[must_use]
    pub const fn observe(mut self) -> Self {
        self.observe = true;
        self
    }

    /// Appends options and the payload, or the part of it, behind header and token.
    pub(super) fn encode(&self, out: &mut Vec<u8>, part: &Part) {
        let mut options: Vec<(u16, Vec<u8>)> = Vec::new();
        let uint = |value: u32| {
            let skip = value.leading_zeros() as usize / 8;
            value.to_be_bytes().into_iter().skip(skip).collect::<Vec<u8>>()
        };
        options.extend(self.if_match.iter().map(|tag| (IF_MATCH, tag.clone())));
        options.extend(self.etags.iter().map(|tag| (ETAG, tag.clone())));
        options.extend(self.if_none_match.then(|| (IF_NONE_MATCH, Vec::new())));
        options.extend(part.observe.map(|value| (OBSERVE, uint(value))));
        options.extend(self.path.iter().map(|text| (URI_PATH, text.clone().into_bytes())));
        options.extend(self.content_format.map(|f| (CONTENT_FORMAT, uint(f.into()))));
        options.extend(self.query.iter().map(|text| (URI_QUERY, text.clone().into_bytes())));
        options.extend(self.accept.map(|f| (ACCEPT, uint(f.into()))));
        options.extend(part.block2.map(|value| (BLOCK2, uint(value))));
        options.extend(part.block1.map(|value| (BLOCK1, uint(value))));
        let size1 = part.size1.and_then(|size| u32::try_from(size).ok());
        options.extend(size1.map(|size| (SIZE1, uint(size))));
        options.extend(part.echo.clone().map(|echo| (ECHO, echo)));
        options.extend(part.tag.map(|tag| (REQUEST_TAG, tag_bytes(tag))));
        options.extend(self.options.iter().cloned());
        options.sort_by_key(|(number, _)| *number); // stable: repeated options keep their order
        let mut writer = OptionWriter::new(out);
        for (number, value) in &options {
            writer.bytes(*number, value);
        }
        writer.payload(self.payload.get(part.range.0..part.range.1).unwrap_or_default());
    }

    /// Code of the method.
    pub(super) const fn code(&self) -> u8 {
        match self.method {
            Method::Get => 1,
            Method::Post => 2,
            Method::Put => 3,
            Method::Delete => 4,
            Method::Fetch => 5,
            Method::Patch => 6,
            Method::IPatch => 7,
        }
    }
}

/// A response or a notification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// Code.
    pub code: Code,
    /// Body.
    pub payload: Bytes,
    /// Its Content-Format.
    pub content_format: Option<u16>,
    /// ETag.
    pub etag: Option<Vec<u8>>,
    /// Max-Age; `None` means 60 s.
    pub max_age: Option<Duration>,
    /// Observe sequence number.
    pub observe: Option<u32>,
    /// Location-Path options.
    pub location_path: Vec<String>,
    /// Whether it came as CON; on a connection it did not.
    pub confirmable: bool,
    /// Of the message, as are the next two.
    pub(super) block1: Option<u32>,
    pub(super) block2: Option<u32>,
    /// What the server says that the body has.
    pub(super) size2: Option<u32>,
    /// To be sent back (RFC 9175 §2.3).
    pub(super) echo: Option<Vec<u8>>,
}

impl Response {
    /// One that came as an acknowledgement, with nothing but a code.
    #[must_use]
    pub const fn new(code: Code) -> Self {
        Response {
            code,
            payload: Bytes::new(),
            content_format: None,
            etag: None,
            max_age: None,
            observe: None,
            location_path: Vec::new(),
            confirmable: false,
            block1: None,
            block2: None,
            size2: None,
            echo: None,
        }
    }

    pub(super) fn read(message: Message, confirmable: bool) -> Option<(Token, Self)> {
        let packet = message.packet?;
        let values = |number: u16| packet.get_option(number.into()).into_iter().flatten();
        let uint = |number: u16| values(number).next().and_then(|value| read_uint(value));
        let text = |bytes: &Vec<u8>| String::from_utf8_lossy(bytes).into_owned();
        let response = Response {
            code: Code(message.head.code),
            content_format: uint(CONTENT_FORMAT).and_then(|value| u16::try_from(value).ok()),
            etag: values(ETAG).next().cloned(),
            max_age: uint(MAX_AGE).map(|secs| Duration::from_secs(secs.into())),
            observe: uint(OBSERVE),
            location_path: values(LOCATION_PATH).map(text).collect(),
            confirmable,
            block1: uint(BLOCK1),
            block2: uint(BLOCK2),
            size2: uint(SIZE2),
            echo: values(ECHO).next().filter(|echo| (1..=40).contains(&echo.len())).cloned(),
            payload: packet.payload.into(),
        };
        Some((message.token, response))
    }
}

/// What the client reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The answer; with `observe` set the observation stands and notifications follow.
    Response {
        /// To which.
        request: RequestId,
        /// The answer.
        response: Response,
    },
    /// A newer value.
    Notification {
        /// Of which observation.
        request: RequestId,
        /// The value. Without `observe` it is the last one.
        response: Response,
    },
    /// No answer within the time of the protocol.
    TimedOut {
        /// Which.
        request: RequestId,
    },
    /// The server rejected the message.
    Reset {
        /// Which.
        request: RequestId,
    },
    /// What came cannot be made an answer of.
    Broken {
        /// Which.
        request: RequestId,
        /// Why.
        flaw: Flaw,
    },
    /// The server lives: it rejected a ping, as it must, or answered it.
    Pong {
        /// Which.
        request: RequestId,
    },
    /// Its connection ended (RFC 8323): a request is over; an observation may be registered again
    /// (`Client::reregister`) or forgotten.
    Lost {
        /// Which.
        request: RequestId,
        /// Why.
        loss: Loss,
    },
}

/// Why an answer is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// It carries a critical option that this client does not know (RFC 7252 §5.4.1).
    #[error(
        "the {}.{:02} response has critical option {number}, which this client does not know",
        code.class(), code.detail()
    )]
    CriticalOption {
        /// The option.
        number: u16,
        /// Of the response, which is not to be used but tells something.
        code: Code,
    },
    /// Its blocks do not make a body (RFC 7959).
    #[error("block-wise transfer: {0}")]
    Blocks(&'static str),
    /// It has more than the client takes.
    #[error("the response has more than {limit} bytes")]
    TooLarge {
        /// See `Client::set_max_body`.
        limit: usize,
    },
    /// The request fits no message that the server takes (RFC 8323 §5.3.1), not in blocks either.
    #[error("the request does not fit the {max} bytes of a message that the server takes")]
    TooLong {
        /// Its Max-Message-Size.
        max: usize,
    },
}
