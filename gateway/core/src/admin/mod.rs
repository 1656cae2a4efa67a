//! What a running gateway can be asked ([`Query`]) and what it answers ([`Answer`]).
//!
//! A question changes nothing and does a bounded amount of work: a page holds at most
//! [`MAX_PAGE`] rows, looking for them touches at most [`MAX_LOOKED`] sessions or topics, and what
//! is left is asked for with the place where the page ended. Finding the receivers of a topic
//! costs what a publish on it costs. So a question never holds up messages, however often it is
//! asked. Between two pages the gateway goes on: pages together are no snapshot.
//!
//! No protocol of the outside is known here: HTTP and JSON are the shell's.

mod clients;
mod receivers;
mod status;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

pub use motegate_broker::{Level, Reach, SubscriptionView};
use motegate_message::{ListenerId, Message, Qos, Reason, TopicFilter, TopicName};

use crate::{Core, Output, Protocol};

/// Most rows in one answer.
pub const MAX_PAGE: usize = 1_000;
/// Most sessions, peers or topics looked at for one answer.
pub const MAX_LOOKED: usize = 1_000;

/// A question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Query {
    /// How the gateway does → [`Answer::Status`].
    Status,
    /// How many clients there are by protocol and state → [`Answer::Tally`].
    Tally {
        /// Where the last page ended.
        from: Cursor,
    },
    /// Clients → [`Answer::Clients`].
    Clients {
        /// Where the last page ended.
        from: Cursor,
        /// Most rows.
        limit: usize,
        /// Which ones.
        only: ClientFilter,
    },
    /// Everybody of one client id, in every realm, with what they are subscribed to →
    /// [`Answer::Client`].
    Client {
        /// Which.
        client_id: String,
        /// Where the last page ended.
        from: Cursor,
    },
    /// Retained topics by level → [`Answer::Topics`].
    Topics {
        /// Below what; `None` for the first levels.
        prefix: Option<String>,
        /// After which level.
        after: Option<String>,
        /// Most levels.
        limit: usize,
    },
    /// How many retained topics lie below a level → [`Answer::Count`].
    Count {
        /// Which.
        level: String,
        /// After which topic.
        from: Option<TopicName>,
    },
    /// Topics that CoAP clients observe → [`Answer::Audience`].
    Audience {
        /// Behind which topic.
        from: Option<TopicFilter>,
        /// Most topics.
        limit: usize,
    },
    /// A retained message → [`Answer::Retained`].
    Retained {
        /// Of which topic.
        topic: TopicName,
    },
    /// Who a message would go to → [`Answer::Receivers`].
    Receivers {
        /// Published where (the final topic).
        topic: TopicName,
        /// At which QoS.
        qos: Qos,
        /// Where the last page ended.
        from: u32,
        /// Most rows.
        limit: usize,
    },
    /// What a resource directory is told of a CoAP listener (RFC 9176) → [`Answer::Links`].
    Links {
        /// Which.
        listener: ListenerId,
    },
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// To [`Query::Status`].
    Status(Box<Status>),
    /// To [`Query::Tally`].
    Tally(Tally),
    /// To [`Query::Clients`].
    Clients(Clients),
    /// To [`Query::Client`]; nobody has this id if all pages are empty.
    Client(ClientDetails),
    /// To [`Query::Topics`].
    Topics(Topics),
    /// To [`Query::Count`].
    Count {
        /// How many were counted now.
        below: usize,
        /// The last topic counted, if there are more.
        counted_to: Option<TopicName>,
    },
    /// To [`Query::Audience`].
    Audience(Audience),
    /// To [`Query::Retained`]: the message and how long it lives on.
    Retained(Option<(Arc<Message>, Option<Duration>)>),
    /// To [`Query::Receivers`].
    Receivers(Receivers),
    /// To [`Query::Links`]; empty where there is no such listener.
    Links(Links),
}

/// What there is at a listener, as links.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Links {
    /// In application/link-format (RFC 6690).
    pub document: String,
    /// How many.
    pub count: usize,
    /// How many more there are than a document holds.
    pub left_out: usize,
}

/// A place in the list of clients; the default is its beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cursor(pub u64);

/// Which clients are asked for; all fields hold together.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClientFilter {
    /// Of this protocol.
    pub protocol: Option<Protocol>,
    /// In this state.
    pub state: Option<ClientState>,
    /// Of this client id.
    pub client_id: Option<String>,
}

/// Where a client stands; the same words everywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ClientState {
    /// Connected.
    Active,
    /// MQTT-SN: nothing is sent to it before it wakes.
    Asleep,
    /// MQTT-SN: fetching its queue.
    Awake,
    /// MQTT-SN: missed its deadline; its session is kept.
    Lost,
    /// CoAP: observes something.
    Observing,
    /// Not connected; its session is kept.
    Offline,
}

impl ClientState {
    /// Every state.
    pub const ALL: [ClientState; 6] = [
        ClientState::Active,
        ClientState::Asleep,
        ClientState::Awake,
        ClientState::Lost,
        ClientState::Observing,
        ClientState::Offline,
    ];

    /// The published word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            ClientState::Active => "active",
            ClientState::Asleep => "asleep",
            ClientState::Awake => "awake",
            ClientState::Lost => "lost",
            ClientState::Observing => "observing",
            ClientState::Offline => "offline",
        }
    }
}

/// One client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// Its name.
    pub client_id: String,
    /// The name space of the name.
    pub realm: String,
    /// What it speaks, or spoke last.
    pub protocol: Protocol,
    /// Of the protocol, where there are several.
    pub version: Option<&'static str>,
    /// Where it stands.
    pub state: ClientState,
    /// Where it came in; `None` while it is not connected.
    pub listener: Option<ListenerId>,
    /// From where.
    pub peer: Option<SocketAddr>,
    /// Asleep: in which time it said it would be back; zero when that is over.
    pub wakes_in: Option<Duration>,
    /// Asleep: in which time it is given up.
    pub lost_in: Option<Duration>,
    /// Not connected: in which time its session ends; `None` is never.
    pub ends_in: Option<Duration>,
    /// Whether its session outlives its connection.
    pub kept: bool,
    /// Its subscriptions, or observations.
    pub subscriptions: usize,
    /// Messages that wait for it.
    pub queued_messages: u64,
    /// Bytes of them.
    pub queued_bytes: u64,
    /// Deliveries that were made and are not acknowledged.
    pub in_flight: usize,
}

/// A page of clients.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Clients {
    /// In the order of the gateway's tables.
    pub clients: Vec<Client>,
    /// Where to go on; `None` at the end. A page may be empty and not the last.
    pub next: Option<Cursor>,
}

/// A page of clients with what they are subscribed to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClientDetails {
    /// In the order of the gateway's tables.
    pub clients: Vec<ClientDetail>,
    /// Where to go on; `None` at the end. A page may be empty and not the last.
    pub next: Option<Cursor>,
}

/// One client with what it is subscribed to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientDetail {
    /// The client.
    pub client: Client,
    /// At most [`MAX_PAGE`] of its subscriptions.
    pub subscriptions: Vec<SubscriptionView>,
    /// What a CoAP client observes.
    pub observations: Vec<Observed>,
    /// Most messages in its queue now.
    pub max_queued_messages: u32,
    /// Most bytes in its queue now.
    pub max_queued_bytes: u32,
    /// Whether it holds a will.
    pub has_will: bool,
}

/// One observation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    /// The path, as it was asked for.
    pub path: String,
    /// The topic that the path stands for.
    pub topic: String,
}

/// A page of topics that CoAP clients observe, with how many do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Audience {
    /// In byte order; the filter of a rule with wildcards is counted by itself.
    pub topics: Vec<(TopicFilter, u32)>,
    /// Whether there are more behind the last.
    pub more: bool,
}

/// A page of counts; pages are added up.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tally {
    /// Clients by protocol and state; only what was found.
    pub counts: Vec<(Protocol, ClientState, u64)>,
    /// Where to go on; `None` at the end.
    pub next: Option<Cursor>,
}

/// A page of topic levels.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Topics {
    /// In byte order. The last one's count may be unfinished.
    pub levels: Vec<Level>,
    /// Whether there may be more levels after the last.
    pub more: bool,
}

/// Who a message would go to, were it published now.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Receivers {
    /// By ordinary subscriptions and observations.
    pub receivers: Vec<Receiver>,
    /// By shared subscriptions, one member each; on the first page only.
    pub groups: Vec<Group>,
    /// Where to go on; `None` at the end.
    pub next: Option<u32>,
}

/// One receiver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receiver {
    /// Who.
    pub client: Client,
    /// At which QoS it gets the message.
    pub qos: Qos,
    /// How many of its filters match.
    pub filters: u32,
    /// Whether it would not get what it publishes itself.
    pub no_local: bool,
    /// What would become of the message.
    pub reach: Reach,
    /// Its place in the queue, of so many; `None` where it does not queue, or keeps the latest
    /// value only.
    pub place: Option<(u64, u32)>,
    /// The path that a CoAP client observes.
    pub path: Option<String>,
}

/// A group of shared subscriptions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Its share name.
    pub share: Arc<str>,
    /// Its filter.
    pub filter: String,
    /// How many share.
    pub members: usize,
    /// Whose turn it is.
    pub next: Option<Receiver>,
}

/// How the gateway does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Retained messages and their bytes.
    pub retained: (usize, usize),
    /// Sessions, offline ones and observations included.
    pub sessions: usize,
    /// Subscriptions of all of them.
    pub subscriptions: usize,
    /// Bytes that wait in all queues.
    pub queued_bytes: u64,
    /// MQTT-SN clients in the CONNECT dialogue.
    pub sn_connecting: usize,
    /// CoAP peers that are remembered.
    pub coap_peers: usize,
    /// How often something was refused, closed or dropped, by reason; only what happened.
    pub reasons: Vec<(Reason, u64)>,
    /// Every limit.
    pub limits: Vec<Limit>,
}

/// A limit, by the key of the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// The key.
    pub key: &'static str,
    /// What it counts.
    pub unit: Unit,
    /// Its value.
    pub max: u64,
    /// How much is used; `None` where it holds for each client by itself.
    pub used: Option<u64>,
    /// How often it acted since the start; `None` where that is not counted by itself.
    pub acted: Option<u64>,
}

/// What a limit counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Things.
    Count,
    /// Bytes.
    Bytes,
    /// Milliseconds.
    Millis,
    /// So many a second; what is used of it is what waits for its turn.
    PerSecond,
}

impl Unit {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Unit::Count => "count",
            Unit::Bytes => "bytes",
            Unit::Millis => "ms",
            Unit::PerSecond => "per_second",
        }
    }
}

impl Core {
    /// Answers a question.
    pub(crate) fn admin(&mut self, ticket: u64, query: Query) {
        let now = self.turn.now;
        let answer = match query {
            Query::Status => Answer::Status(Box::new(self.status())),
            Query::Tally { from } => Answer::Tally(self.tally(from)),
            Query::Clients { from, limit, only } => {
                Answer::Clients(self.clients(from, limit.min(MAX_PAGE), &only))
            }
            Query::Client { client_id, from } => Answer::Client(self.client(&client_id, from)),
            Query::Topics { prefix, after, limit } => {
                Answer::Topics(self.topic_levels(prefix.as_deref(), after.as_deref(), limit))
            }
            Query::Count { level, from } => {
                let (below, counted_to) =
                    self.broker.retained_below(&level, from.as_ref(), MAX_LOOKED);
                Answer::Count { below, counted_to }
            }
            Query::Audience { from, limit } => {
                Answer::Audience(self.observed_topics(from.as_ref(), limit.clamp(1, MAX_PAGE)))
            }
            Query::Retained { topic } => {
                let message = self.broker.retained(&topic, now).cloned();
                Answer::Retained(message.map(|message| {
                    let left = message.expires.map(|at| at.saturating_since(now));
                    (message, left)
                }))
            }
            Query::Receivers { topic, qos, from, limit } => {
                Answer::Receivers(self.receivers(&topic, qos, from, limit.clamp(1, MAX_PAGE)))
            }
            Query::Links { listener } => Answer::Links(self.links_for_directory(listener)),
        };
        self.output(Output::Answer { ticket, answer });
    }

    fn observed_topics(&self, from: Option<&TopicFilter>, limit: usize) -> Audience {
        let mut behind = self.audience.behind(from).map(|(topic, count)| (topic.clone(), count));
        let topics = behind.by_ref().take(limit).collect();
        Audience { topics, more: behind.next().is_some() }
    }

    fn topic_levels(&self, prefix: Option<&str>, after: Option<&str>, limit: usize) -> Topics {
        let limit = limit.clamp(1, MAX_PAGE);
        let now = self.turn.now;
        let levels = self.broker.retained_levels(now, prefix, after, limit, MAX_LOOKED);
        let cut = levels.last().is_some_and(|level| level.counted_to.is_some());
        let more = cut || levels.len() == limit;
        Topics { levels, more }
    }
}
