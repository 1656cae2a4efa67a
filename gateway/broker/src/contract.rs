//! The broker's two vocabularies: what it is asked ([`Request`]) and what it answers ([`Effect`]).
//!
//! Every answer is an effect, never a return value, so that it may one day come from another
//! worker. An effect that names an `after` other than [`Seq::NONE`] tells its reader not to
//! let the matching reply leave before that batch of the journal is committed.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use motegate_message::journal::PageRequest;
use motegate_message::{
    Delivery, DeliveryId, Message, Qos, Reason, Seq, SessionId, SessionKey, SubscriptionFilter,
    TopicFilter, TopicName, Will,
};

use crate::config::SubscriptionBounds;

/// Chosen by the asker, handed back with the answer; means nothing to the broker.
pub type Ticket = u64;

/// Where a session's deliveries go: chosen by the core for each connection or observation, handed
/// back with every effect that concerns it; means nothing to the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Handle(pub u64);

/// What a full queue does with one message too many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Overflow {
    /// Drops the oldest QoS 0 message, or the oldest if there is none.
    #[default]
    DropOldest,
    /// Drops the arriving message.
    DropNewest,
    /// Ends the connection ([`Reason::QueueFull`]).
    Disconnect,
    /// Replaces the queued message of the same topic; a new topic drops the oldest.
    LatestPerTopic,
}

/// What a session may hold while its endpoint takes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueuePolicy {
    /// Most queued messages.
    pub max_messages: u32,
    /// Most queued bytes ([`Message::size`]).
    pub max_bytes: u32,
    /// What happens at either bound.
    pub overflow: Overflow,
    /// Whether QoS 0 is queued too while the session has no connection or sleeps (window and
    /// room 0). A connection that is merely out of room always queues QoS 0 within the bounds.
    pub queue_qos0: bool,
    /// Longest payload that waits, in bytes: what is longer reaches the receiver in no way and
    /// would only push out what does ([`Reason::TooLarge`]). `u16::MAX` is no bound.
    pub max_payload: u16,
}

/// What to do with the will a session already holds when it is opened again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WillChange {
    /// Keep what the session has (MQTT-SN: not clean, Will = 0; MQTT-SN 1.2 §6.3).
    Keep,
    /// This will, or none, from now on (every MQTT CONNECT).
    Set(Option<Will>),
}

/// How a session is opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Open {
    /// Handed back in [`Effect::Opened`].
    pub ticket: Ticket,
    /// Whose session; `None` for one that nobody can name, so that it is never resumed or taken
    /// over (a CoAP observation, an MQTT-SN publish at QoS −1). Such a session has expiry zero.
    pub key: Option<SessionKey>,
    /// Where its deliveries go from now on.
    pub handle: Handle,
    /// Discard an existing session first (Clean Start).
    pub clean: bool,
    /// How long the session outlives its connection; zero ends with it, `Duration::MAX` never
    /// expires. A session with an expiry above zero is durable.
    pub expiry: Duration,
    /// The will from now on.
    pub will: WillChange,
    /// Most QoS 1/2 deliveries outstanding.
    pub window: u16,
    /// Bytes that the endpoint takes now ([`Message::size`] is charged).
    pub room: u32,
    /// Bounds of its queue.
    pub queue: QueuePolicy,
}

/// One filter of a SUBSCRIBE (MQTT 5 §3.8.3.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscribe {
    /// What is asked for.
    pub filter: SubscriptionFilter,
    /// Highest QoS wanted.
    pub qos: Qos,
    /// Not what this client published itself.
    pub no_local: bool,
    /// Live deliveries keep the RETAIN flag of the publisher.
    pub retain_as_published: bool,
    /// Whether retained messages are sent.
    pub retain_handling: RetainHandling,
    /// Subscription Identifier, 1 to 268,435,455.
    pub identifier: Option<u32>,
    /// The client sees topics only from the filter's first wildcard on (its listener has a mount):
    /// where they have a `$` there, a leading wildcard does not match them. [MQTT-4.7.2-1]
    pub spares_dollar: bool,
    /// The rules made this filter of the client's own words; when they change it follows. Told back
    /// with the subscription, and no more.
    pub by_rule: bool,
    /// Of a retained message that expires it hears as of one that is cleared, by an empty one.
    pub hears_expiry: bool,
}

/// When a subscription is answered with retained messages (MQTT 5 §3.8.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RetainHandling {
    /// At every SUBSCRIBE (and in MQTT 3).
    #[default]
    Always,
    /// Only if the session did not hold this very filter.
    IfNew,
    /// Never.
    Never,
}

/// What must hold for a publish to a retained topic to happen (RFC 7252 §5.10.8); judged in the
/// same step as the publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Precondition {
    /// A retained value must exist, with one of these ETags if any are given (If-Match).
    Match(Vec<u64>),
    /// No retained value may exist (If-None-Match).
    Absent,
}

/// What the broker is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Open or resume a session → [`Effect::Opened`], then what was in flight and queued.
    Open(Open),
    /// Publish → [`Effect::Accepted`] or [`Effect::Refused`]. With RETAIN and an empty payload
    /// the retained message is cleared (and the empty message is delivered).
    Publish {
        /// Handed back.
        ticket: Ticket,
        /// What is published.
        message: Message,
        /// What must hold for it to happen.
        precondition: Option<Precondition>,
    },
    /// Read a retained message → [`Effect::Value`].
    Read {
        /// Handed back.
        ticket: Ticket,
        /// Which.
        topic: TopicName,
    },
    /// List retained topics under a filter → [`Effect::Topics`].
    List {
        /// Handed back.
        ticket: Ticket,
        /// Which topics.
        filter: TopicFilter,
        /// Most topics in the answer.
        limit: usize,
    },
    /// Subscribe → [`Effect::Subscribed`], then retained messages, then live ones. The filters of
    /// one request are one step.
    Subscribe {
        /// Handed back.
        ticket: Ticket,
        /// Who.
        session: SessionId,
        /// In the order of the packet; answered in the same order.
        filters: Vec<Subscribe>,
        /// What the session may hold, where that is less than any may.
        most: Option<SubscriptionBounds>,
    },
    /// Unsubscribe → [`Effect::Unsubscribed`].
    Unsubscribe {
        /// Handed back.
        ticket: Ticket,
        /// Who.
        session: SessionId,
        /// Exactly as subscribed.
        filters: Vec<SubscriptionFilter>,
    },
    /// In one step other subscriptions instead of some (the rules that the filters come from have
    /// changed; the client did not ask) → [`Effect::Subscribed`] for the new ones. What waits for
    /// the client because of the old ones was acknowledged to its publishers: it stays queued,
    /// which after an `Unsubscribe` it would not.
    Resubscribe {
        /// Handed back.
        ticket: Ticket,
        /// Whose.
        session: SessionId,
        /// Exactly as subscribed; unknown ones are ignored.
        from: Vec<SubscriptionFilter>,
        /// Answered in this order.
        to: Vec<Subscribe>,
    },
    /// A QoS 1/2 delivery is finished on the wire: the message is forgotten and the window has
    /// one more place. Unknown ids are ignored. QoS 0 deliveries are never acknowledged.
    Ack {
        /// Whose.
        session: SessionId,
        /// Which.
        delivery: DeliveryId,
    },
    /// A QoS 1/2 delivery that the present connection cannot be given: it waits for the session's
    /// next one and takes no place in the window. So many may wait so as may be queued; one more is
    /// dropped ([`Reason::QueueFull`]). Unknown ids are ignored.
    PutAside {
        /// Whose.
        session: SessionId,
        /// Which.
        delivery: DeliveryId,
    },
    /// A delivery out of a group ([`Delivery::share`]) is larger than its client takes: as `Ack` for
    /// this session, and another member gets the message, if one takes it.
    TooLarge {
        /// Whose.
        session: SessionId,
        /// Which.
        delivery: DeliveryId,
        /// What; at QoS 0 the broker has it no more.
        message: Arc<Message>,
        /// As it was delivered.
        share: u32,
    },
    /// Flow control, absolute: the most outstanding deliveries, and the bytes taken as of now.
    Credit {
        /// Whose.
        session: SessionId,
        /// Most QoS 1/2 deliveries outstanding; 0 stops them.
        window: u16,
        /// Bytes; 0 stops QoS 0 as well. While some room is left a delivery may exceed it.
        room: u32,
    },
    /// Empty the queue as it stands now (a sleeping client woke): as `Credit`, and
    /// [`Effect::Drained`] once everything queued by then has left and been acknowledged or has
    /// expired; then credit is 0/0 again. A second `Drain` while one runs only replaces the ticket.
    Drain {
        /// Handed back in [`Effect::Drained`].
        ticket: Ticket,
        /// Whose.
        session: SessionId,
        /// As in `Credit`.
        window: u16,
        /// As in `Credit`.
        room: u32,
    },
    /// Bounds of the session's queue from now on (a client went to sleep, or woke).
    Bound {
        /// Whose.
        session: SessionId,
        /// What holds now.
        queue: QueuePolicy,
    },
    /// Replace the will of a connected session (MQTT-SN WILLTOPICUPD, WILLMSGUPD).
    SetWill {
        /// Whose.
        session: SessionId,
        /// From now on.
        will: Option<Will>,
    },
    /// The will that the session holds → [`Effect::WillValue`] (an update changes one half of it).
    GetWill {
        /// Handed back.
        ticket: Ticket,
        /// Whose.
        session: SessionId,
    },
    /// The connection is over. Ignored unless `handle` is the session's present one: the late
    /// close of a taken-over connection touches nothing.
    Close {
        /// Whose.
        session: SessionId,
        /// Which connection.
        handle: Handle,
        /// Whether the will is dropped (a normal goodbye) or becomes due.
        drop_will: bool,
        /// Replaces the session's expiry (MQTT 5 §3.14.2.2.2).
        expiry: Option<Duration>,
    },
}

/// The answer to one filter of a SUBSCRIBE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubscribeOutcome {
    /// Granted at this QoS.
    Granted(Qos),
    /// Refused: [`Reason::QuotaExceeded`] and the like.
    Refused(Reason),
}

/// What the broker answers, and what it wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// A session is open.
    Opened {
        /// Of the request.
        ticket: Ticket,
        /// Its number.
        session: SessionId,
        /// Whether it existed before (Session Present).
        present: bool,
        /// Hold the CONNACK until this batch is committed.
        after: Seq,
    },
    /// A session could not be opened.
    OpenRefused {
        /// Of the request.
        ticket: Ticket,
        /// Why.
        reason: Reason,
    },
    /// A publish is taken over.
    Accepted {
        /// Of the request.
        ticket: Ticket,
        /// Whether it created a retained message that was not there.
        created: bool,
        /// Sessions that it goes to, offline ones included.
        matched: u32,
        /// Hold the acknowledgement until this batch is committed.
        after: Seq,
    },
    /// A publish is refused and went nowhere.
    Refused {
        /// Of the request.
        ticket: Ticket,
        /// Why.
        reason: Reason,
    },
    /// A retained message, if there is one that has not expired.
    Value {
        /// Of the request.
        ticket: Ticket,
        /// The message.
        message: Option<Arc<Message>>,
    },
    /// Retained messages by topic, in byte order.
    Topics {
        /// Of the request.
        ticket: Ticket,
        /// At most as many as asked for.
        topics: Vec<Arc<Message>>,
    },
    /// The answers to a SUBSCRIBE; retained messages follow.
    Subscribed {
        /// Of the request.
        ticket: Ticket,
        /// One for each filter, in order.
        outcomes: Vec<SubscribeOutcome>,
        /// Hold the SUBACK until this batch is committed.
        after: Seq,
    },
    /// The answers to an UNSUBSCRIBE: whether each subscription existed.
    Unsubscribed {
        /// Of the request.
        ticket: Ticket,
        /// One for each filter, in order.
        existed: Vec<bool>,
        /// Hold the UNSUBACK until this batch is committed.
        after: Seq,
    },
    /// A message for a session.
    Deliver {
        /// Whose.
        session: SessionId,
        /// Where to.
        handle: Handle,
        /// What.
        delivery: Delivery,
    },
    /// A [`Request::Drain`] is done.
    Drained {
        /// Of the latest request.
        ticket: Ticket,
        /// Whose.
        session: SessionId,
        /// Where to.
        handle: Handle,
    },
    /// Answer to [`Request::GetWill`].
    WillValue {
        /// Of the request.
        ticket: Ticket,
        /// What the session holds.
        will: Option<Will>,
    },
    /// The broker ended a connection: taken over, kicked, queue overflow. The endpoint closes it
    /// and must not send [`Request::Close`] for it.
    Closed {
        /// Whose.
        session: SessionId,
        /// Which connection.
        handle: Handle,
        /// Why.
        reason: Reason,
    },
    /// A session is over: its wire state can be forgotten.
    Ended {
        /// Which.
        session: SessionId,
        /// Its name, if it had one.
        key: Option<SessionKey>,
    },
    /// A part of a session's queue is wanted from the store
    /// ([`Saved::page`](motegate_message::journal::Saved::page)), as it is once every record polled
    /// so far is applied; answered by [`Broker::fetched`](crate::Broker::fetched).
    Fetch(PageRequest),
    /// A message was dropped for one session, or a limit acted: for the log and the counters.
    Dropped {
        /// For whom; `None` for all.
        session: Option<SessionId>,
        /// Why.
        reason: Reason,
    },
}
