//! What the MQTT-SN endpoint tells the layer above ([`Event`]) and is told by it.

use alloc::boxed::Box;
use alloc::string::String;
use bytes::Bytes;
use core::time::Duration;

use motegate_message::{
    DeliveryId, ListenerId, Peer, Qos, Reason, Seq, SessionId, SessionKey, TopicFilter, TopicName,
    Will,
};
use motegate_timers::Instant;

/// Chosen by the endpoint, handed back with the answer.
pub type Ticket = u64;

/// The endpoint's number for a client's connection (slot and generation).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientRef(pub u64);

/// How a client names a topic. The core's mapping turns it into a topic name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Topic {
    /// A registered name (the endpoint has resolved the id).
    Name(TopicName),
    /// A pre-defined topic id.
    Predefined(u16),
    /// A short topic name: two characters.
    Short([u8; 2]),
}

/// How a client names what it subscribes to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Filter {
    /// A name, perhaps with wildcards.
    Name(TopicFilter),
    /// A pre-defined topic id.
    Predefined(u16),
    /// A short topic name.
    Short([u8; 2]),
}

impl Filter {
    /// The id that stands for it on the wire, unless it is a name.
    #[must_use]
    pub const fn topic_id(&self) -> Option<crate::TopicId> {
        use crate::TopicId;
        match self {
            Filter::Name(_) => None,
            Filter::Predefined(id) => Some(TopicId::Predefined(*id)),
            Filter::Short(name) => Some(TopicId::Short(*name)),
        }
    }
}

/// What becomes of the will at CONNECT (MQTT-SN 1.2 §6.3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WillChange {
    /// Will = 0 without CleanSession: what the session has stays.
    Keep,
    /// From now on this one, or none.
    Set(Option<Box<Will>>),
}

/// A finished CONNECT dialogue; answered by `accept` or `refuse`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connect {
    /// Which connection.
    pub client: ClientRef,
    /// Where from.
    pub peer: Peer,
    /// As the device gave it.
    pub client_id: String,
    /// CleanSession.
    pub clean: bool,
    /// How long the session outlives the connection; zero when clean.
    pub expiry: Duration,
    /// The will from now on; its topic is the client's.
    pub will: WillChange,
    /// Reopened by the gateway itself after a restart, for this session and no other: the client
    /// is told nothing, and the session stays asleep (window and room 0) if `asleep`.
    pub resumed: Option<SessionId>,
    /// The session starts asleep.
    pub asleep: bool,
}

/// What the layer above must know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Answer with `accept` or `refuse`.
    Connect(Box<Connect>),
    /// Answer with `published`.
    Publish {
        /// Which connection; `None` for QoS −1 from a peer that has none.
        client: Option<(ClientRef, SessionId)>,
        /// Where from.
        peer: Peer,
        /// To hand back.
        ticket: Ticket,
        /// The client's name for the topic.
        topic: Topic,
        /// `None` is QoS −1.
        qos: Option<Qos>,
        /// RETAIN.
        retain: bool,
        /// Owns its bytes.
        payload: Bytes,
    },
    /// A PUBLISH to a topic name may be registered: asked at REGISTER. Answer with `registered`.
    Register {
        /// Which connection.
        client: ClientRef,
        /// To hand back.
        ticket: Ticket,
        /// The name.
        name: TopicName,
    },
    /// Answer with `subscribed`.
    Subscribe {
        /// Which connection.
        client: ClientRef,
        /// Whose session.
        session: SessionId,
        /// To hand back.
        ticket: Ticket,
        /// What is asked for.
        filter: Filter,
        /// Highest QoS wanted.
        qos: Qos,
    },
    /// Answer with `unsubscribed`.
    Unsubscribe {
        /// Which connection.
        client: ClientRef,
        /// Whose session.
        session: SessionId,
        /// To hand back.
        ticket: Ticket,
        /// As subscribed.
        filter: Filter,
    },
    /// A QoS 1/2 delivery is finished on the wire.
    Acked {
        /// Whose.
        session: SessionId,
        /// Which.
        delivery: DeliveryId,
    },
    /// Flow control, absolute: active 1/room, asleep 0/0.
    Credit {
        /// Whose.
        session: SessionId,
        /// By which listener it is connected.
        listener: ListenerId,
        /// Most deliveries outstanding.
        window: u16,
        /// Bytes taken as of now.
        room: u32,
        /// Whether the bounds of a sleeper's queue hold from now on.
        asleep: bool,
    },
    /// A sleeping client woke by PINGREQ: empty its queue; answer with `drained`.
    Drain {
        /// Whose.
        session: SessionId,
        /// Most deliveries outstanding.
        window: u16,
        /// Bytes taken as of now.
        room: u32,
    },
    /// WILLTOPICUPD or WILLMSGUPD; answer with `will_updated`.
    UpdateWill {
        /// Which connection.
        client: ClientRef,
        /// Whose session.
        session: SessionId,
        /// To hand back.
        ticket: Ticket,
        /// Which half changes.
        change: WillUpdate,
    },
    /// A connection that had a session is over.
    Disconnected {
        /// Which connection; it means nobody any more.
        client: ClientRef,
        /// Where it was; `None` if it went before it was accepted.
        peer: Option<Peer>,
        /// Whose session.
        session: SessionId,
        /// Why.
        reason: Reason,
        /// A normal goodbye: the will is not published.
        drop_will: bool,
        /// Replaces the time that the session outlives the connection: a sleeper with
        /// CleanSession = 1 wakes by CONNECT with 0, and what waited for it must live on.
        expiry: Option<Duration>,
    },
    /// A sleeper should have been back by now; it is given up at `lost_at` unless it is heard.
    Overdue {
        /// Which connection.
        client: ClientRef,
        /// When it counts as lost (MQTT-SN 1.2 §6.14).
        lost_at: Instant,
    },
    /// A delivery that [`Names::by_predefined`] refuses was to go by that id, and is done with.
    Undeliverable {
        /// To whom.
        client: ClientRef,
        /// Why, as the layer above said.
        text: Box<str>,
    },
    /// A datagram or packet was refused or dropped: for the log and the counters.
    Dropped {
        /// From or to whom.
        peer: Peer,
        /// Why.
        reason: Reason,
    },
}

/// The half of a will that an update changes (MQTT-SN 1.2 §6.4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WillUpdate {
    /// WILLTOPICUPD with a topic.
    Topic {
        /// The new will topic, the client's name.
        topic: TopicName,
        /// The new will QoS.
        qos: Qos,
        /// The new will RETAIN.
        retain: bool,
    },
    /// An empty WILLTOPICUPD: the will is deleted.
    Delete,
    /// WILLMSGUPD.
    Payload(Bytes),
}

/// How a CONNECT is accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accept {
    /// Whose session: the client id, in a realm. The endpoint keeps it for both layers.
    pub key: SessionKey,
    /// The broker's session.
    pub session: SessionId,
    /// Whether it existed before.
    pub present: bool,
    /// Hold the CONNACK until this batch is committed.
    pub after: Seq,
}

/// Names a client may be given for one topic, on a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    /// The topic name as this client knows it (mount stripped, names rewritten).
    pub name: TopicName,
    /// A pre-defined id that means this topic to this client.
    pub predefined: Option<u16>,
    /// A short name that means this topic to this client.
    pub short: Option<[u8; 2]>,
    /// What goes by [`predefined`](Self::predefined) in place of the message's payload, or in
    /// words why nothing does ([`Event::Undeliverable`]); `None`: the payload.
    pub by_predefined: Option<Result<Bytes, Box<str>>>,
}
