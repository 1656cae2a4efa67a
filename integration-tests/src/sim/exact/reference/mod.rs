//! [`Reference`]: a naive broker for the check, written from the standards and the documented
//! choices: plain lists, plain loops, no index. It is told what clients do, in order, and what the
//! gateway said meanwhile; at each point it knows what must have been said, and fails if it was not.
//!
//! Only who of a group gets a shared message is the gateway's to choose, among those that the
//! documented choice allows. The reference then holds the message in the queue of each of them, as a
//! *maybe*, until what is said, or not said, leaves one (`maybe`).
//!
//! Sessions are in `sessions`, their end and the clock in `time`, subscriptions in `filters`, routing in
//! `routing` and `groups`, deliveries in `deliver`
//! and `again`.

mod again;
mod deliver;
mod filters;
mod groups;
mod maybe;
mod routing;
mod sessions;
mod time;

use std::collections::BTreeMap;
use std::rc::Rc;

use super::heard::Heard;
use super::wire::{Carried, Packet, Version, WillSpec};
use groups::Group;
use maybe::Maybe;

/// Milliseconds of virtual time, or of a duration.
pub type Ms = u64;
/// For ever.
pub const NEVER: Ms = u64::MAX;

/// Who of the readiest of a group gets a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strategy {
    /// They take turns.
    RoundRobin,
    /// The same as long as it can.
    Sticky,
    /// By topic.
    HashTopic,
}

/// What a full queue does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// Its oldest goes, QoS 0 first.
    DropOldest,
    /// What comes goes.
    DropNewest,
    /// What comes goes, and the connection.
    Disconnect,
}

/// Settings that both know.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Most deliveries open towards a client.
    pub max_inflight: usize,
    /// Cap of the session expiry.
    pub max_expiry: Ms,
    /// Most sessions.
    pub max_sessions: usize,
    /// Most subscriptions of a session, and of all.
    pub max_subscriptions: (usize, usize),
    /// Most groups.
    pub max_groups: usize,
    /// Most retained messages.
    pub max_retained: usize,
    /// Most waiting messages of a session, and what is then; `None`: never reached.
    pub bound: Option<(usize, Full)>,
    /// QoS 0 waits for a session without a connection.
    pub queue_qos0: bool,
    /// A takeover publishes a will without delay.
    pub takeover_will: bool,
    /// Of groups.
    pub strategy: Strategy,
    /// The state outlives the process.
    pub durable: bool,
    /// Most of a long queue is on disk only.
    pub spills: bool,
}

/// A published message.
#[derive(Debug, PartialEq, Eq)]
pub struct Message {
    /// Topic.
    pub topic: String,
    /// Payload.
    pub payload: Vec<u8>,
    /// QoS.
    pub qos: u8,
    /// RETAIN.
    pub retain: bool,
    /// When it is worth nothing any more.
    pub expires: Option<Ms>,
    /// The client.
    pub publisher: usize,
    /// What travels along.
    pub carried: Carried,
}

impl Message {
    fn is_expired(&self, now: Ms) -> bool {
        self.expires.is_some_and(|at| at <= now)
    }
}

/// Share name and filter.
pub type GroupName = (String, String);

/// A subscription.
#[derive(Debug, Clone)]
pub struct Subscription {
    /// As it was written.
    pub text: String,
    /// Of a shared one.
    pub group: Option<GroupName>,
    /// Without the share.
    pub filter: String,
    qos: u8,
    no_local: bool,
    as_published: bool,
    id: Option<u32>,
}

/// An open connection of a session.
#[derive(Debug, Clone)]
pub struct Link {
    /// Which.
    pub conn: u32,
    /// Its version.
    pub version: Version,
    /// It is a bridge.
    pub bridge: bool,
    /// The expiry that CONNECT asked for was above zero.
    pub lasting: bool,
    window: usize,
    max_packet: usize,
    /// An event, and how many were too large for the client in it: the gateway has their places in the
    /// window back when it has heard of that.
    rejected: (u64, usize),
}

/// Where something stands in the order of all that was routed. What one event caused side by side
/// is in different lanes: the order of those is nobody's promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    event: u64,
    lane: u32,
    step: u32,
}

impl Place {
    /// Neither precedes the other.
    fn is_beside(self, other: Place) -> bool {
        !self.precedes(other) && !other.precedes(self)
    }

    fn precedes(self, other: Place) -> bool {
        self.event < other.event
            || self.event == other.event && self.lane == other.lane && self.step < other.step
    }
}

/// One message on its way to one session.
#[derive(Clone)]
pub struct Entry {
    place: Place,
    message: Rc<Message>,
    /// Of the delivery.
    pub qos: u8,
    retain: bool,
    ids: Vec<u32>,
    /// The group, and which of that name.
    group: Option<(GroupName, u32)>,
    snapshot: bool,
    /// Sent on some connection and not done.
    pub sent: bool,
    /// The connection and the place in its stream where it was sent first.
    turn: (u32, u64),
    /// The same of its PUBREL.
    released_at: (u32, u64),
    /// It takes a place in the window of this one.
    pub flying: bool,
    /// PUBREL was sent.
    pub released: bool,
    /// On this connection.
    released_here: bool,
    /// Once sent.
    pub pid: u16,
    /// It is here only perhaps.
    maybe: Option<u32>,
    /// It came just now: an interval of 0 counts.
    fresh: bool,
    /// Must come behind this place of this connection's stream.
    behind: (u32, u64),
    /// Members for which it was too large.
    tried: Vec<usize>,
    /// Members for which it perhaps was: it may have been theirs first.
    suspects: Vec<usize>,
    /// It is too large for this connection, and may have been tried already.
    weighed: bool,
}

impl Entry {
    /// The connection is over.
    fn lands(&mut self) {
        (self.flying, self.weighed, self.released_here) = (false, false, false);
    }

    /// The client may acknowledge it on this connection.
    pub fn is_open(&self) -> bool {
        self.flying || self.released_here
    }
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Place { event, lane, step } = self.place;
        let text = String::from_utf8_lossy(&self.message.payload);
        let number: String = text.chars().take(4).collect();
        write!(f, "{}@{} \"{number}…\" {event}.{lane}.{step}", self.message.topic, self.qos)?;
        write!(f, " ids {:?} group {:?} maybe {:?}", self.ids, self.group, self.maybe)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WillState {
    Armed,
    Due(Ms),
    Spent,
}

#[derive(Debug, Clone)]
struct Will {
    spec: WillSpec,
    state: WillState,
}

/// A session.
#[derive(Debug, Clone)]
pub struct Session {
    /// While it is connected.
    pub link: Option<Link>,
    expiry: Ms,
    ends: Ms,
    will: Option<Will>,
    /// What it is subscribed to.
    pub subscriptions: Vec<Subscription>,
    /// What is on its way to it.
    pub queue: Vec<Entry>,
    /// QoS 2 of the client's that waits for PUBREL.
    pub held: BTreeMap<u16, (String, Vec<u8>)>,
}

/// The reference broker.
#[derive(Debug, Clone)]
pub struct Reference {
    settings: Settings,
    now: Ms,
    /// By client.
    pub sessions: BTreeMap<usize, Session>,
    /// In byte order.
    pub retained: BTreeMap<String, Rc<Message>>,
    groups: BTreeMap<GroupName, Group>,
    maybes: BTreeMap<u32, Maybe>,
    event: u64,
    lane: u32,
    numbers: u32,
    /// Deliveries that were as they must be.
    pub delivered: u64,
    /// What the gateway said and was not looked at yet.
    pub heard: Heard,
    /// Several things happen at one moment, in an order that is nobody's promise: nothing is looked
    /// for before all have.
    at_once: bool,
    ended: Vec<u32>,
    overflowed: Vec<usize>,
    /// Shared messages that were too large for somebody.
    rejected: Vec<Entry>,
    /// What it concluded, for whoever reads along.
    pub notes: Option<Vec<String>>,
    /// The first broken rule.
    pub failure: Option<String>,
}

impl Reference {
    /// Nothing in it.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Reference {
            settings,
            now: 0,
            sessions: BTreeMap::new(),
            retained: BTreeMap::new(),
            groups: BTreeMap::new(),
            maybes: BTreeMap::new(),
            event: 0,
            lane: 0,
            numbers: 0,
            delivered: 0,
            heard: Heard::default(),
            at_once: false,
            ended: Vec::new(),
            overflowed: Vec::new(),
            rejected: Vec::new(),
            notes: None,
            failure: None,
        }
    }

    /// What both know.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Something happens: what it causes comes behind all before.
    fn begin_event(&mut self) {
        self.event += 1;
        self.lane = 0;
    }

    /// The beginning of something that one event causes beside others.
    fn begin_lane(&mut self) -> Place {
        self.lane += 1;
        Place { event: self.event, lane: self.lane, step: 0 }
    }

    fn number(&mut self) -> u32 {
        self.numbers += 1;
        self.numbers
    }

    fn note(&mut self, text: impl FnOnce() -> String) {
        if let Some(notes) = &mut self.notes {
            notes.push(text());
        }
    }

    fn fail(&mut self, text: impl Into<String>) {
        if self.failure.is_none() {
            self.failure = Some(text.into());
        }
    }

    /// The next answer on this connection must be this one; its place in the stream.
    fn expect(&mut self, conn: u32, packet: &Packet) -> u64 {
        match self.heard.of(conn).answers.pop_front() {
            Some((place, said)) if said == *packet => place,
            other => {
                let said = other.map(|(_, packet)| packet);
                self.fail(format!("connection {conn}: {said:?} instead of {packet:?}"));
                0
            }
        }
    }

    /// The gateway must have ended this connection.
    fn expect_closed(&mut self, conn: u32) {
        if !self.heard.of(conn).closed {
            self.fail(format!("connection {conn} was not closed"));
        }
        self.ended.push(conn);
    }

    /// Nothing else may have been said.
    pub fn settle(&mut self) {
        let heard = std::mem::take(&mut self.heard);
        for (conn, stream) in &heard.0 {
            if let Some(rest) = stream.rest() {
                let rest = format!("connection {conn} was told what it must not be: {rest}");
                self.fail(rest);
            }
            if stream.closed && !self.ended.contains(conn) {
                self.fail(format!("connection {conn} was closed"));
            }
        }
        self.ended.clear();
    }

    fn whose(&self, conn: u32) -> Option<usize> {
        let of = |s: &Session| s.link.as_ref().is_some_and(|link| link.conn == conn);
        self.sessions.iter().find(|(_, s)| of(s)).map(|(who, _)| *who)
    }

    /// The link of an open connection.
    #[must_use]
    pub fn link(&self, who: usize) -> Option<&Link> {
        self.sessions.get(&who).and_then(|s| s.link.as_ref())
    }
}

/// A naive matcher of filters: a leading wildcard does not match `$…` (MQTT-4.7.2-1).
fn matches(filter: &str, topic: &str) -> bool {
    let dollar = topic.starts_with('$') && filter.starts_with(['+', '#']);
    !dollar && crate::sim::payload::matches(filter, topic)
}
