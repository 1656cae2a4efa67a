//! [`Notice`]: what an operator should be able to read about, said once where it happens.

use std::net::SocketAddr;

use motegate_message::{ListenerId, Peer, Reason, SessionKey};

use crate::Protocol;

/// One event for the log; the counters are in [`crate::Stats`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// What happened.
    pub kind: NoticeKind,
    /// In which front-end; `None` in the broker.
    pub protocol: Option<Protocol>,
    /// On which listener, where one is concerned.
    pub listener: Option<ListenerId>,
    /// The far end, where it is known.
    pub peer: Option<SocketAddr>,
    /// The client, where it is known.
    pub client: Option<SessionKey>,
    /// The bound that acted, by its key.
    pub limit: Option<&'static str>,
    /// What to change, in words, where more than the reason can be said.
    pub text: Option<String>,
    /// How many refusals or drops of the same reason, listener and protocol were not told since
    /// the last one that was: a flood is one line every ten seconds, the counters have it all.
    pub untold: u64,
}

/// What a [`Notice`] is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoticeKind {
    /// A client has a session.
    Connected {
        /// It had one before.
        present: bool,
    },
    /// A client's connection is over.
    Disconnected(Reason),
    /// A connection, request or packet was refused; the reason went to the peer.
    Refused(Reason),
    /// A sleeping MQTT-SN client is not back when it said ([`Reason::SleepOverdue`]).
    Overdue,
    /// A packet or message was dropped; nobody was told.
    Dropped(Reason),
    /// A bound acted, without the end of a connection: the notice names it.
    Limited,
}

impl Notice {
    /// A notice that names nothing but what happened.
    #[must_use]
    pub(crate) const fn new(kind: NoticeKind) -> Self {
        Notice {
            kind,
            protocol: None,
            listener: None,
            peer: None,
            client: None,
            limit: None,
            text: None,
            untold: 0,
        }
    }

    /// Why, where there is a reason.
    #[must_use]
    pub const fn reason(&self) -> Option<Reason> {
        match self.kind {
            NoticeKind::Disconnected(reason)
            | NoticeKind::Refused(reason)
            | NoticeKind::Dropped(reason) => Some(reason),
            NoticeKind::Overdue => Some(Reason::SleepOverdue),
            NoticeKind::Connected { .. } | NoticeKind::Limited => None,
        }
    }

    /// A notice about what a datagram's sender did, or what was done to it.
    #[must_use]
    pub(crate) fn of_peer(kind: NoticeKind, protocol: Protocol, peer: &Peer) -> Self {
        Notice {
            protocol: Some(protocol),
            listener: Some(peer.listener),
            peer: Some(peer.addr),
            ..Notice::new(kind)
        }
    }
}
