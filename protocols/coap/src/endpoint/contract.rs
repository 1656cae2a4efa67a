//! What the CoAP endpoint tells the layer above ([`Event`]) and is told by it ([`Response`],
//! [`Notification`]).

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use bytes::Bytes;
use core::time::Duration;

use motegate_message::{ConnectionId, DeliveryId, Peer, Reason};

use super::group::Discovery;

/// The endpoint's number for a request that waits for its response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ExchangeId(pub u64);

/// The endpoint's number for an observation (slot and generation).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObservationId(pub u64);

/// Request methods (RFC 7252 §5.8, RFC 8132).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Method {
    Get,
    Post,
    Put,
    Delete,
    Fetch,
    Patch,
    IPatch,
}

/// What the Observe option of a GET asks for (RFC 7641 §2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Observe {
    /// 0.
    Register,
    /// 1.
    Deregister,
}

/// A well-formed request that is not a repetition; answered by one `respond`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// To answer to.
    pub exchange: ExchangeId,
    /// Where from.
    pub peer: Peer,
    /// The connection that it came on (RFC 8323); `None` of a datagram.
    pub conn: Option<ConnectionId>,
    /// CON or NON; what comes on a connection is as reliable as a CON.
    pub confirmable: bool,
    /// What to do.
    pub method: Method,
    /// Uri-Path options in order, as they are: not decoded again.
    pub path: Vec<String>,
    /// Uri-Query options in order.
    pub query: Vec<String>,
    /// Uri-Host.
    pub host: Option<String>,
    /// Owns its bytes. The whole body, in however many blocks it came (RFC 7959 §2.5).
    pub payload: Bytes,
    /// Content-Format of the payload.
    pub content_format: Option<u16>,
    /// Accept.
    pub accept: Option<u16>,
    /// ETags of a GET, for 2.03.
    pub etags: Vec<Vec<u8>>,
    /// If-Match; an empty entry means "exists".
    pub if_match: Vec<Vec<u8>>,
    /// If-None-Match.
    pub if_none_match: bool,
    /// Observe; with a first block only (RFC 7959 §3.4).
    pub observe: Option<Observe>,
    /// It asks for more of a body whose beginning the client has: Block2 of a number above 0.
    /// Answer with the whole all the same: the endpoint cuts.
    pub later_block: bool,
    /// The first block of a body that comes in several (RFC 7959 §2.5); `payload` is empty. Do
    /// nothing yet: answer [`Code::CONTINUE`] to let the rest come, after which the request comes
    /// again with all of it, or the error that it would get then.
    pub more_follows: bool,
}

/// What the layer above must know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Answer with `respond`.
    Request(Box<Request>),
    /// Somebody asks a group for `.well-known/core`: answer with `answer_discovery`, or not at all.
    Discovery(Box<Discovery>),
    /// A notification needs no more attention: the next one may come.
    Notified {
        /// Which observation.
        observation: ObservationId,
        /// Which delivery.
        delivery: DeliveryId,
    },
    /// An observation is over: cancelled by GET, by RST, by time-out, by a new registration.
    ObservationEnded {
        /// Which.
        observation: ObservationId,
        /// Why.
        reason: Reason,
    },
    /// A connection has said what it is capable of, and may ask.
    Connected {
        /// Which.
        conn: ConnectionId,
        /// Whose.
        peer: Peer,
    },
    /// A connection is over, and with it its observations and bodies in parts. `Transmit::Close`
    /// comes, too, unless its transport had ended.
    Disconnected {
        /// Which.
        conn: ConnectionId,
        /// Whose.
        peer: Peer,
        /// Why.
        reason: Reason,
        /// `Connected` came before.
        was_connected: bool,
        /// The bound that acted, by its key in the configuration.
        limit: Option<&'static str>,
        /// What was wrong in words, the peer's or ours.
        text: Option<String>,
    },
    /// A bound acted, without the end of a connection.
    Limited {
        /// Which connection's.
        conn: ConnectionId,
        /// Whose.
        peer: Peer,
        /// Its key in the configuration.
        limit: &'static str,
    },
    /// A datagram was refused or dropped: for the log and the counters.
    Dropped {
        /// From whom.
        peer: Peer,
        /// Why.
        reason: Reason,
    },
}

/// What the transport of connections has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transmit {
    /// The outbox has bytes. Said once until it was emptied.
    Write(ConnectionId),
    /// Write what the outbox holds, then close.
    Close(ConnectionId, Reason),
    /// Stop reading.
    PauseReads(ConnectionId),
    /// Go on reading.
    ResumeReads(ConnectionId),
}

/// A response code: class and detail in one byte (RFC 7252 §3), e.g. 2.05 is 0x45.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Code(pub u8);

#[allow(missing_docs)]
impl Code {
    pub const CREATED: Code = Code::new(2, 1);
    pub const DELETED: Code = Code::new(2, 2);
    pub const VALID: Code = Code::new(2, 3);
    pub const CHANGED: Code = Code::new(2, 4);
    pub const CONTENT: Code = Code::new(2, 5);
    pub const CONTINUE: Code = Code::new(2, 31);
    pub const BAD_REQUEST: Code = Code::new(4, 0);
    pub const UNAUTHORIZED: Code = Code::new(4, 1);
    pub const BAD_OPTION: Code = Code::new(4, 2);
    pub const FORBIDDEN: Code = Code::new(4, 3);
    pub const NOT_FOUND: Code = Code::new(4, 4);
    pub const METHOD_NOT_ALLOWED: Code = Code::new(4, 5);
    pub const NOT_ACCEPTABLE: Code = Code::new(4, 6);
    pub const REQUEST_ENTITY_INCOMPLETE: Code = Code::new(4, 8);
    pub const PRECONDITION_FAILED: Code = Code::new(4, 12);
    pub const REQUEST_ENTITY_TOO_LARGE: Code = Code::new(4, 13);
    pub const UNSUPPORTED_CONTENT_FORMAT: Code = Code::new(4, 15);
    pub const TOO_MANY_REQUESTS: Code = Code::new(4, 29);
    pub const INTERNAL_SERVER_ERROR: Code = Code::new(5, 0);
    pub const NOT_IMPLEMENTED: Code = Code::new(5, 1);
    pub const SERVICE_UNAVAILABLE: Code = Code::new(5, 3);
    pub const PROXYING_NOT_SUPPORTED: Code = Code::new(5, 5);

    /// Class 0 to 7, detail 0 to 31.
    #[must_use]
    pub const fn new(class: u8, detail: u8) -> Code {
        Code(class << 5 | detail & 0x1f)
    }

    /// The class: 2 success, 4 client error, 5 server error.
    #[must_use]
    pub const fn class(self) -> u8 {
        self.0 >> 5
    }

    /// The detail.
    #[must_use]
    pub const fn detail(self) -> u8 {
        self.0 & 0x1f
    }
}

/// Answer to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// What became of it.
    pub code: Code,
    /// Body, or the diagnostic text of an error. That of a success may have up to 16 MiB: it leaves
    /// in blocks (RFC 7959 §2.4), and needs an `etag` then, so that no client joins two bodies.
    /// What answers a GET is asked for again for each block; what answers another method is kept.
    pub payload: Bytes,
    /// Its Content-Format; `None` for diagnostic text.
    pub content_format: Option<u16>,
    /// ETag, 1 to 8 bytes.
    pub etag: Option<u64>,
    /// Max-Age; `None` leaves the default of 60 s unsaid.
    pub max_age: Option<Duration>,
    /// Location-Path options.
    pub location_path: Vec<String>,
    /// Answers a registration: the response carries Observe and the observation begins.
    pub observe: Option<ObservationId>,
}

impl Response {
    /// A response without a body.
    #[must_use]
    pub const fn new(code: Code) -> Self {
        Response {
            code,
            payload: Bytes::new(),
            content_format: None,
            etag: None,
            max_age: None,
            location_path: Vec::new(),
            observe: None,
        }
    }

    /// An error with a diagnostic text that says what to change (RFC 7252 §5.5.2).
    #[must_use]
    pub fn error(code: Code, text: impl Into<String>) -> Self {
        Response { payload: Bytes::from(text.into().into_bytes()), ..Response::new(code) }
    }
}

/// A new value for an observer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification {
    /// To report back in [`Event::Notified`].
    pub delivery: DeliveryId,
    /// 2.05, 2.03, or an error that ends the observation.
    pub code: Code,
    /// The representation; the first block leaves, and the rest is for GETs to fetch.
    pub payload: Bytes,
    /// Its Content-Format.
    pub content_format: Option<u16>,
    /// ETag.
    pub etag: Option<u64>,
    /// Max-Age.
    pub max_age: Option<Duration>,
    /// Must be confirmable (QoS 1/2).
    pub confirmable: bool,
}
