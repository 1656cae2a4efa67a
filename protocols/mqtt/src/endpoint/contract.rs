//! What the MQTT endpoint tells the layer above ([`Event`]) and wants of the transport
//! ([`Transmit`]).

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use bytes::Bytes;
use core::time::Duration;

use motegate_message::{
    ConnectionId, Delivery, DeliveryId, ListenerId, Message, Qos, Reason, Seq, SessionId,
    SubscriptionFilter, Will,
};

use super::limits::Limit;

/// Chosen by the endpoint, handed back with the answer.
pub type Ticket = u64;

/// A CONNECT that is well formed and within the limits; answered by `accept` or `refuse`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connect {
    /// Which connection.
    pub conn: ConnectionId,
    /// On which listener it came.
    pub listener: ListenerId,
    /// As the client gave it, or as the endpoint assigned it.
    pub client_id: String,
    /// Discard an existing session (Clean Start, Clean Session).
    pub clean: bool,
    /// How long the session outlives the connection, capped; zero: ends with it.
    pub expiry: Duration,
    /// Topics are as the client wrote them: the core maps and mounts.
    pub will: Option<Will>,
    /// User Name.
    pub user_name: Option<String>,
    /// Password.
    pub password: Option<Bytes>,
    /// Enhanced authentication: the client's first word.
    pub auth: Option<AuthStart>,
    /// Most deliveries outstanding: the lower of Receive Maximum and `max_inflight`.
    pub window: u16,
    /// Bytes that the outbox takes.
    pub room: u32,
}

/// The beginning of an enhanced authentication (MQTT 5 §4.12).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthStart {
    /// Authentication Method.
    pub method: Arc<str>,
    /// Authentication Data.
    pub data: Option<Bytes>,
}

/// One filter of a SUBSCRIBE as the client wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscribeItem {
    /// What is asked for.
    pub filter: SubscriptionFilter,
    /// Highest QoS wanted.
    pub qos: Qos,
    /// No Local.
    pub no_local: bool,
    /// Retain As Published.
    pub retain_as_published: bool,
    /// Retain Handling, 0 to 2.
    pub retain_handling: u8,
}

/// What the layer above must know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Answer with `accept` or `refuse`; nothing else of this connection is handled until then.
    /// With `auth`, also with `challenge`, whose answer is an `Auth`; `authenticated` comes before
    /// `accept` then, if there are last words.
    Connect(Box<Connect>),
    /// The next word of an enhanced authentication: answer with `challenge`, with `refuse`, or with
    /// `authenticated`, which `accept` follows unless the connection is open already.
    Auth {
        /// Which connection.
        conn: ConnectionId,
        /// Authentication Method, that of the CONNECT.
        method: Arc<str>,
        /// Authentication Data.
        data: Option<Bytes>,
        /// A re-authentication begins (AUTH 0x19).
        again: bool,
    },
    /// Answer with `published`. Comes also for QoS 0. `message.topic` is the client's.
    Publish {
        /// Which connection.
        conn: ConnectionId,
        /// Whose session.
        session: SessionId,
        /// To hand back.
        ticket: Ticket,
        /// `publisher` is not set.
        message: Message,
    },
    /// Answer with `subscribed`.
    Subscribe {
        /// Which connection.
        conn: ConnectionId,
        /// Whose session.
        session: SessionId,
        /// To hand back.
        ticket: Ticket,
        /// In order. An item that the endpoint itself refuses is not among them.
        items: Vec<SubscribeItem>,
        /// Subscription Identifier of them all.
        identifier: Option<u32>,
    },
    /// Answer with `unsubscribed`.
    Unsubscribe {
        /// Which connection.
        conn: ConnectionId,
        /// Whose session.
        session: SessionId,
        /// To hand back.
        ticket: Ticket,
        /// In order.
        filters: Vec<SubscriptionFilter>,
    },
    /// A QoS 1/2 delivery is finished on the wire.
    Acked {
        /// Whose.
        session: SessionId,
        /// Which.
        delivery: DeliveryId,
    },
    /// A delivery out of a group of shared subscriptions is larger than this client's Maximum Packet
    /// Size: it is finished for this session, and may go to another member.
    TooLarge {
        /// Whose.
        session: SessionId,
        /// As it came.
        delivery: Box<Delivery>,
    },
    /// Flow control, absolute (see the broker's `Credit`).
    Credit {
        /// Whose.
        session: SessionId,
        /// Most deliveries outstanding.
        window: u16,
        /// Bytes taken as of now.
        room: u32,
    },
    /// A bound has acted: for the log.
    Limited {
        /// Which connection.
        conn: ConnectionId,
        /// Which bound.
        limit: Limit,
        /// The connection is over with it: its end is told as well.
        ends: bool,
    },
    /// A connection that had a session is over; the endpoint keeps the session's wire state
    /// until `forget`.
    Disconnected {
        /// Which connection.
        conn: ConnectionId,
        /// Whose session.
        session: SessionId,
        /// Why.
        reason: Reason,
        /// A normal goodbye: the will is dropped.
        drop_will: bool,
        /// Replaces the session's expiry, capped.
        expiry: Option<Duration>,
    },
}

/// How a CONNECT is accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accept {
    /// The broker's session.
    pub session: SessionId,
    /// Session Present.
    pub present: bool,
    /// Hold the CONNACK until this batch is committed.
    pub after: Seq,
}

/// What became of a publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Published {
    /// Whether any session matched (reason code 0x10 if not).
    pub matched: bool,
    /// Hold the acknowledgement until this batch is committed.
    pub after: Seq,
}

/// What the transport must do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transmit {
    /// `outbox(conn)` has bytes to write. Said once until it was emptied.
    Write(ConnectionId),
    /// Write what the outbox holds, half-close, drain what comes for up to 1 s, close. The
    /// endpoint has forgotten the connection but for its outbox, which is freed by the last
    /// `handle_written` or by `handle_closed`.
    Close(ConnectionId, Reason),
    /// Stop reading from the connection.
    PauseReads(ConnectionId),
    /// Go on reading.
    ResumeReads(ConnectionId),
}
