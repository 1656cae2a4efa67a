//! The core's two vocabularies: what comes in ([`Input`]) and what goes out ([`Output`]).

use std::net::SocketAddr;
use std::sync::Arc;

use motegate_message::journal::{Page, PageRequest};
use motegate_message::{ConnectionId, ListenerId, LocalId, Reason, Record, Seq, SessionId};
use motegate_timers::Instant;

use crate::Notice;
use crate::admin::{Answer, Query};
use crate::reload::{Reload, Touched};

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
        /// When it was accepted, which may be before now: `connect_timeout` counts from there.
        since: Instant,
    },
    /// Bytes came, cut anywhere.
    Bytes {
        /// On which connection.
        conn: ConnectionId,
        /// Some.
        chunk: &'a [u8],
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

/// What the shell has to do. Bytes are not in here: datagrams wait in `Core::datagrams`, stream
/// bytes in `Core::outbox`.
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
    /// Read a part of a session's queue ([`Saved::page`](motegate_message::journal::Saved::page))
    /// as it is once every batch handed over before is applied, and answer `Input::Fetched`.
    Fetch(PageRequest),
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
