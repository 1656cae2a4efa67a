//! The core's two vocabularies: what comes in ([`Input`]) and what goes out ([`Output`]).

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use motegate_message::journal::{Page, PageRequest};
use motegate_message::{
    Announcement, ConnectionId, Group, ListenerId, LocalId, Reason, Record, Seq, SessionId,
};
use motegate_timers::Instant;

use crate::admin::{Answer, Query};
use crate::reload::{Reload, Touched};
use crate::{Notice, Users};

/// What the shell hands in.
#[derive(Debug)]
pub enum Input<'a> {
    /// A datagram came on a listener.
    Datagram {
        /// Which.
        listener: ListenerId,
        /// To which address of this machine; the answer leaves from there.
        local: LocalId,
        /// From whom; an IPv4 peer of a dual-stack socket is IPv4.
        peer: SocketAddr,
        /// Whole; never longer than the socket's buffer.
        bytes: &'a [u8],
    },
    /// A datagram came on a listener, sent to a group that it has joined.
    GroupDatagram {
        /// Which listener.
        listener: ListenerId,
        /// Which group, and by which interface.
        group: &'a Group,
        /// From whom; an IPv4 peer of a dual-stack socket is IPv4.
        peer: SocketAddr,
        /// Whole; never longer than the socket's buffer.
        bytes: &'a [u8],
    },
    /// A connection was accepted; `peer` is `None` on a Unix socket.
    Opened {
        /// Its name from now on.
        conn: ConnectionId,
        /// Where.
        listener: ListenerId,
        /// From whom; an IPv4 peer of a dual-stack socket is IPv4.
        peer: Option<SocketAddr>,
        /// What its transport has proved (a client certificate): it needs no password then.
        identity: Option<Arc<str>>,
        /// The name that the client has called this machine by to its transport, where that knows
        /// it: `Host` of an HTTP request.
        host: Option<Arc<str>>,
        /// When it was accepted, which may be before now: `connect_timeout` counts from there.
        since: Instant,
    },
    /// The oldest connection, of a listener or of all, that has not said CONNECT (or its CSM) gives way: with those
    /// that the shell has not told of yet (their TLS handshake goes on) there are as many as
    /// `max_half_open` allows.
    CloseHalfOpen(Option<ListenerId>),
    /// Bytes came, cut anywhere.
    Bytes {
        /// On which connection.
        conn: ConnectionId,
        /// Some.
        chunk: &'a [u8],
    },
    /// A part of a message of a CoAP connection came, whose transport keeps messages apart (WebSocket).
    /// Its outbox has the frames of a byte stream all the same:
    /// [`for_websocket`](motegate_coap::for_websocket) takes messages from it.
    Part {
        /// On which connection.
        conn: ConnectionId,
        /// Some; may be none.
        chunk: &'a [u8],
        /// The message ends with it.
        is_last: bool,
    },
    /// The first `n` bytes of the connection's outbox were written.
    Written {
        /// On which connection.
        conn: ConnectionId,
        /// How many.
        n: usize,
    },
    /// The transport ended.
    Closed {
        /// Which connection.
        conn: ConnectionId,
        /// Why.
        reason: Reason,
    },
    /// Every batch up to this one is stored as durably as configured.
    Committed(Seq),
    /// Batches cannot be stored now. None is lost: they are tried again until `Committed` says that
    /// they are stored. Until then what would make the durable state grow is refused.
    StoreFailed,
    /// The answer to `Output::Fetch`.
    Fetched {
        /// Whose queue.
        session: SessionId,
        /// What is there.
        page: Page,
    },
    /// The answer to `Output::Authenticate`.
    Verdict {
        /// Of the question.
        ticket: u64,
        /// What.
        verdict: Verdict,
    },
    /// Another configuration holds from now on; answered by `Output::Reloaded`.
    Reload(Box<Reload>),
    /// Somebody asks; answered by `Output::Answer` with the same ticket.
    Admin {
        /// To hand back.
        ticket: u64,
        /// What.
        query: Query,
    },
    /// Stop: clients are told, wills without delay are published.
    Shutdown,
    /// Only time has passed.
    Timeout,
}

/// What the shell has to do. Bytes are not in here, those for groups apart: datagrams wait in
/// `Core::datagrams`, stream bytes in `Core::outbox`.
#[derive(Debug, PartialEq, Eq)]
pub enum Output {
    /// The connection's outbox has bytes. Said once until it was emptied.
    Write(ConnectionId),
    /// Write what the outbox holds, half-close, drain up to 1 s, close.
    Close(ConnectionId, Reason),
    /// Stop reading.
    PauseReads(ConnectionId),
    /// Go on reading.
    ResumeReads(ConnectionId),
    /// Store this batch atomically, after all earlier ones, and answer `Input::Committed`.
    Records {
        /// Its number.
        seq: Seq,
        /// What changes.
        batch: Vec<Record>,
    },
    /// Send this to a group; its listener is named, and may have no socket that reaches the group.
    Announce(Box<Announcement>),
    /// Read a part of a session's queue ([`Saved::page`](motegate_message::journal::Saved::page))
    /// as it is once every batch handed over before is applied, and answer `Input::Fetched`.
    Fetch(PageRequest),
    /// Look at what a client proves itself with, and answer `Input::Verdict`. Nothing of the client
    /// is touched until then, and it may be gone by then.
    Authenticate(Box<Authenticate>),
    /// The answer to `Input::Admin`.
    Answer {
        /// Of the question.
        ticket: u64,
        /// What.
        answer: Answer,
    },
    /// What `Input::Reload` did, by client.
    Reloaded(Vec<Touched>),
    /// Something for the log.
    Notice(Box<Notice>),
}

/// A question about a client's identity.
#[derive(Debug, PartialEq, Eq)]
pub struct Authenticate {
    /// To hand back.
    pub ticket: u64,
    /// With whom to compare.
    pub users: Arc<Users>,
    /// What the client shows.
    pub proof: Proof,
    /// Nobody waits for the verdict for longer.
    pub within: Duration,
}

/// What a client proves itself with; its `Debug` shows nothing that is secret.
#[derive(PartialEq, Eq)]
pub enum Proof {
    /// User name and password of a CONNECT.
    Password {
        /// User Name.
        user: String,
        /// Password.
        password: Bytes,
    },
    /// A client's word in an exchange (MQTT 5 §4.12).
    Exchange {
        /// Authentication Method: which mechanism.
        method: Arc<str>,
        /// Authentication Data.
        data: Bytes,
        /// What `Verdict::Continue` gave with the last word; `None` with the first.
        state: Option<Bytes>,
    },
}

impl fmt::Debug for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Proof::Password { .. } => f.write_str("Password"),
            Proof::Exchange { method, state, .. } => {
                write!(f, "Exchange({method:?}, first: {})", state.is_none())
            }
        }
    }
}

/// What came of a proof; its `Debug` shows nothing that is secret.
#[derive(PartialEq, Eq)]
pub enum Verdict {
    /// It holds.
    Allow {
        /// Of which user.
        user: Arc<str>,
        /// The last word of an exchange, for the client.
        data: Option<Bytes>,
    },
    /// It does not: `AuthFailed`, `AuthMethod` for a mechanism that is not known, `Overloaded` if
    /// nobody has looked at it.
    Deny(Reason),
    /// An exchange goes on.
    Continue {
        /// For the client.
        data: Bytes,
        /// To be handed back with its answer.
        state: Bytes,
    },
}

impl fmt::Debug for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Allow { user, .. } => write!(f, "Allow({user:?})"),
            Verdict::Deny(reason) => write!(f, "Deny({reason})"),
            Verdict::Continue { .. } => f.write_str("Continue"),
        }
    }
}
