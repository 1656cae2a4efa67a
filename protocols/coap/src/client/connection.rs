//! [`Connection`]: the one connection below a client (RFC 8323): whether there is one, what the server
//! has said of itself, what has not come whole, and what has not left.
//!
//! A client whose [`Wanted`] is obeyed has one while it asks or observes something. It is *fresh* until
//! the server's CSM (§5.3), and *released* from the server's Release (§5.5) until it is closed.

use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use motegate_message::{Outbox, Pool};
use motegate_timers::Instant;

use crate::frame;
use crate::message::Token;
use crate::signal::BASE_MESSAGE_SIZE;

/// What a client over a connection wants of its driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// A connection: `handle_opened`, or `handle_closed` where none is to be had.
    Open,
    /// Its end, once the outbox is written; then `handle_closed`.
    Close,
}

/// Why nothing more comes of a connection.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Loss {
    /// There was none to be had.
    #[error("there is no connection to the server")]
    Unreachable,
    /// It ended before the server's CSM.
    #[error("the server closed the connection before it said that it speaks CoAP (its CSM)")]
    ClosedEarly,
    /// It ended without a word.
    #[error("the server closed the connection")]
    Closed,
    /// The server ended it by an Abort (RFC 8323 §5.6).
    #[error("the server aborted the connection{}", Said(.text))]
    Aborted {
        /// Its diagnostic payload; may be empty.
        text: String,
    },
    /// The server ended it by a Release (RFC 8323 §5.5) and answered no more.
    #[error("the server released the connection{}", Said(.text))]
    Released {
        /// Its diagnostic payload; may be empty.
        text: String,
    },
    /// The server said nothing, not even its CSM, for so long.
    #[error("the server did not say that it speaks CoAP (its CSM) within {} s", .0.as_secs())]
    Silent(Duration),
    /// What the server sent is not RFC 8323's: we ended it by an Abort.
    #[error("the server broke the rules of the connection: {0}")]
    Breach(String),
}

struct Said<'a>(&'a str);

impl fmt::Display for Said<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, ": {}", self.0) }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// There is none, and none is asked for.
    None,
    Opening,
    Fresh,
    Open,
    Released,
    /// It is to be closed once the outbox is written.
    Closing,
}

#[derive(Debug)]
pub(super) struct Connection {
    pub(super) state: State,
    /// The server's Max-Message-Size and Block-Wise-Transfer.
    pub(super) max_message: u32,
    pub(super) block_wise: bool,
    /// The start of a message that has not come whole.
    pub(super) partial: Vec<u8>,
    pub(super) scratch: Vec<u8>,
    outbox: Outbox,
    pool: Pool,
    wanted: VecDeque<Wanted>,
    /// When the server's CSM has to be there.
    pub(super) deadline: Option<Instant>,
    /// Hold-Off: no connection is opened before (RFC 8323 §5.5).
    pub(super) hold_off: Option<Instant>,
    /// What the server said with its Release.
    pub(super) farewell: String,
    /// Releases without an answer between them.
    pub(super) releases: u8,
}

impl Connection {
    pub(super) fn new() -> Self {
        Connection {
            state: State::None,
            max_message: BASE_MESSAGE_SIZE,
            block_wise: false,
            partial: Vec::new(),
            scratch: Vec::new(),
            outbox: Outbox::default(),
            pool: Pool::default(),
            wanted: VecDeque::new(),
            deadline: None,
            hold_off: None,
            farewell: String::new(),
            releases: 0,
        }
    }

    /// Whether what comes is looked at.
    pub(super) const fn hears(&self) -> bool {
        matches!(self.state, State::Fresh | State::Open | State::Released)
    }

    /// RFC 8323 §5.3.2: more than the base value says BERT.
    pub(super) const fn takes_bert(&self) -> bool {
        self.block_wise && self.max_message > BASE_MESSAGE_SIZE
    }

    /// Asks for a connection, now or when Hold-Off is over.
    pub(super) fn open(&mut self, now: Instant) {
        if self.hold_off.is_some_and(|at| at > now) {
            return;
        }
        self.hold_off = None;
        self.state = State::Opening;
        self.wanted.push_back(Wanted::Open);
    }

    /// Asks for its end.
    pub(super) fn close(&mut self) {
        self.state = State::Closing;
        self.deadline = None;
        self.partial = Vec::new();
        self.wanted.push_back(Wanted::Close);
    }

    /// A new one has nothing of the last.
    pub(super) fn reset(&mut self) {
        self.state = State::None;
        self.deadline = None;
        self.max_message = BASE_MESSAGE_SIZE;
        self.block_wise = false;
        self.partial = Vec::new();
        self.outbox.clear(&mut self.pool);
        self.wanted.clear();
    }

    pub(super) fn poll_wanted(&mut self) -> Option<Wanted> {
        self.wanted.pop_front()
    }

    pub(super) fn outbox(&self) -> &[u8] {
        self.outbox.as_slice()
    }

    pub(super) fn written(&mut self, len: usize) {
        self.outbox.consume(len, &mut self.pool);
    }

    /// Appends a message; `rest` are its options and payload.
    pub(super) fn push(&mut self, code: u8, token: &Token, rest: &[u8]) {
        frame::write(self.outbox.buffer(&mut self.pool), code, token, rest);
    }

    /// Something of it is due then.
    pub(super) fn due(&self) -> Option<Instant> {
        match self.state {
            State::None => self.hold_off,
            _ => self.deadline,
        }
    }
}
