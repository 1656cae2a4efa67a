//! A gateway around the endpoint, with a broker of a few lines, scripted clients and a virtual
//! clock. `send`, `expect` and `advance` make a transcript.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)] // every test file uses a part

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use motegate_message::{
    Announcement, Delivery, DeliveryId, Group, ListenerId, Message, Peer, Qos, Reason, Seq,
    SessionId, SessionKey, TopicName, Turn, Wall,
};
use motegate_mqtt_sn::endpoint::{
    Accept, ClientRef, Config, Connect, Endpoint, Event, Filter, Names, Topic, WillChange,
};
use motegate_mqtt_sn::{Packet, QosBits, ReturnCode, TopicId, TopicRef};
use motegate_timers::Instant;

pub const OK: ReturnCode = ReturnCode::Accepted;

/// What the layer above remembers of a session.
#[derive(Debug, Clone, Default)]
pub struct Session {
    pub client: Option<ClientRef>,
    pub clean: bool,
    pub queue: VecDeque<Delivery>,
    pub in_flight: Option<Delivery>,
    pub window: u16,
    /// The last delivery that a running drain is about.
    pub draining: Option<u64>,
    pub next_delivery: u64,
}

pub struct Rig {
    pub endpoint: Endpoint,
    pub config: Config,
    pub now: Instant,
    pub seq: Seq,
    pub durable: bool,
    /// Whether batches are stored as soon as they are written.
    pub auto_commit: bool,
    stored: BTreeMap<Vec<u8>, Vec<u8>>,
    unstored: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    /// Whether the layer above answers questions at once.
    pub auto_answer: bool,
    pub inbox: VecDeque<(SocketAddr, Vec<u8>)>,
    /// What went to groups.
    pub announced: VecDeque<Announcement>,
    /// Every event, as text.
    pub log: Vec<String>,
    /// Topic and payload of everything published.
    pub published: Vec<(String, String)>,
    pub connects: Vec<Connect>,
    pub disconnected: Vec<(Reason, bool)>,
    pub dropped: Vec<Reason>,
    pub acked: Vec<DeliveryId>,
    pub wills: Vec<Event>,
    pub questions: Vec<Event>,
    pub sessions: HashMap<SessionId, Session>,
    pub by_name: HashMap<String, SessionId>,
    pub predefined: HashSet<u16>,
    /// Alternatives to topic names on delivery.
    pub names: HashMap<String, (Option<u16>, Option<[u8; 2]>)>,
    next_session: u32,
}

pub fn addr(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

pub fn encode(packet: &Packet<'_>) -> Vec<u8> {
    let mut bytes = vec![0; packet.encoded_len()];
    packet.encode(&mut bytes).unwrap();
    bytes
}

pub fn connect(id: &str, clean: bool, keep_alive: u16) -> Packet<'_> {
    Packet::Connect { will: false, clean, protocol_id: 1, duration: keep_alive, client_id: id }
}

pub fn connect_will(id: &str, clean: bool) -> Packet<'_> {
    Packet::Connect { will: true, clean, protocol_id: 1, duration: 30, client_id: id }
}

pub fn publish(qos: QosBits, topic: TopicId, msg_id: u16, data: &str) -> Packet<'_> {
    Packet::Publish { dup: false, qos, retain: false, topic, msg_id, data: data.as_bytes() }
}

pub fn again(packet: Packet<'_>) -> Packet<'_> {
    match packet {
        Packet::Publish { qos, retain, topic, msg_id, data, .. } => {
            Packet::Publish { dup: true, qos, retain, topic, msg_id, data }
        }
        Packet::Subscribe { qos, msg_id, topic, .. } => {
            Packet::Subscribe { dup: true, qos, msg_id, topic }
        }
        other => other,
    }
}

pub fn subscribe(qos: QosBits, msg_id: u16, name: &str) -> Packet<'_> {
    Packet::Subscribe { dup: false, qos, msg_id, topic: TopicRef::Name(name) }
}

pub fn suback(qos: QosBits, topic_id: u16, msg_id: u16) -> Packet<'static> {
    Packet::SubAck { qos, topic_id, msg_id, code: OK }
}

pub fn puback(topic_id: u16, msg_id: u16, code: ReturnCode) -> Packet<'static> {
    Packet::PubAck { topic_id, msg_id, code }
}

pub const CONNACK: Packet<'static> = Packet::ConnAck { code: OK };
pub const GOODBYE: Packet<'static> = Packet::Disconnect { duration: None };

impl Rig {
    pub fn new() -> Self {
        Self::with(Config::default())
    }

    pub fn with(config: Config) -> Self {
        let config = Config { listeners: vec!["field".into()], ..config };
        Rig {
            endpoint: Endpoint::new(config.clone(), 0),
            config,
            now: Instant::from_secs(1000),
            seq: Seq::NONE,
            durable: true,
            auto_commit: true,
            stored: BTreeMap::new(),
            unstored: Vec::new(),
            auto_answer: true,
            inbox: VecDeque::new(),
            announced: VecDeque::new(),
            log: Vec::new(),
            published: Vec::new(),
            connects: Vec::new(),
            disconnected: Vec::new(),
            dropped: Vec::new(),
            acked: Vec::new(),
            wills: Vec::new(),
            questions: Vec::new(),
            sessions: HashMap::new(),
            by_name: HashMap::new(),
            predefined: HashSet::from([1, 2]),
            names: HashMap::new(),
            next_session: 0,
        }
    }

    pub fn turn(&self) -> Turn {
        let wall = Wall::from_millis(1_700_000_000_000 + self.now.as_micros() / 1000);
        Turn { now: self.now, wall, seq: self.seq.next(), durable: self.durable }
    }

    pub fn peer(&self, port: u16) -> Peer {
        Peer::new(ListenerId(0), addr(port))
    }

    pub fn send(&mut self, port: u16, packet: Packet<'_>) {
        self.send_bytes(port, &encode(&packet));
    }

    pub fn send_bytes(&mut self, port: u16, bytes: &[u8]) {
        self.send_from(addr(port), bytes);
    }

    pub fn send_from(&mut self, from: SocketAddr, bytes: &[u8]) {
        let turn = self.turn();
        self.endpoint.handle_datagram(&turn, Peer::new(ListenerId(0), from), bytes);
        self.settle();
    }

    /// Sent to a group.
    pub fn send_group(&mut self, port: u16, group: &Group, bytes: &[u8]) {
        let turn = self.turn();
        self.endpoint.handle_group_datagram(&turn, self.peer(port), group, bytes);
        self.settle();
    }

    /// The next thing that went to a group, which must be this.
    pub fn expect_announced(&mut self, to: &str, hops: u8, packet: Packet<'_>) {
        let got = self.announced.pop_front().expect("an announcement");
        assert_eq!((got.to.to_string().as_str(), got.hops), (to, hops));
        assert_eq!(Packet::decode(&got.bytes).unwrap(), packet);
    }

    /// Drains every output, as the core does, then ends the turn.
    pub fn settle(&mut self) {
        let turn = self.turn();
        while let Some(announcement) = self.endpoint.poll_announcement() {
            self.announced.push_back(announcement);
        }
        while let Some(event) = self.endpoint.poll_event() {
            self.log.push(format!("{event:?}"));
            self.on_event(&turn, event);
        }
        let mut wrote = false;
        while let Some(record) = self.endpoint.poll_record() {
            assert!(self.durable, "a record that nobody wants");
            self.unstored.push((record.key, record.value));
            wrote = true;
        }
        let sent: Vec<_> =
            self.endpoint.transmits().iter().map(|(to, bytes)| (to.addr, bytes.to_vec())).collect();
        self.inbox.extend(sent);
        self.endpoint.transmits().clear();
        if self.durable {
            self.seq = self.seq.next();
        }
        if self.auto_commit && (wrote || self.durable) {
            self.store();
        }
    }

    fn store(&mut self) {
        for (key, value) in self.unstored.drain(..) {
            match value {
                Some(value) => self.stored.insert(key, value),
                None => self.stored.remove(&key),
            };
        }
        let (turn, seq) = (self.turn(), self.seq);
        self.endpoint.handle_committed(&turn, seq);
        // What a commit lets go writes no more in these tests than the next settle sees.
        let more: Vec<_> =
            self.endpoint.transmits().iter().map(|(to, bytes)| (to.addr, bytes.to_vec())).collect();
        self.inbox.extend(more);
        self.endpoint.transmits().clear();
        let again = self.turn();
        let mut any = false;
        while let Some(event) = self.endpoint.poll_event() {
            any = true;
            self.log.push(format!("{event:?}"));
            self.on_event(&again, event);
        }
        while let Some(record) = self.endpoint.poll_record() {
            any = true;
            self.unstored.push((record.key, record.value));
        }
        if any {
            self.settle();
        }
    }

    /// The store has written everything.
    pub fn commit(&mut self) {
        self.store();
        self.settle();
    }

    pub fn advance(&mut self, secs: u64) {
        let end = self.now + Duration::from_secs(secs);
        while let Some(at) = self.endpoint.poll_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            let turn = self.turn();
            self.endpoint.handle_timeout(&turn);
            self.settle();
        }
        self.now = end;
    }

    /// The next datagram, which must be this one.
    pub fn expect(&mut self, port: u16, packet: Packet<'_>) {
        let (to, bytes) =
            self.inbox.pop_front().unwrap_or_else(|| panic!("nothing, not {packet:?}"));
        let got = Packet::decode(&bytes).unwrap();
        assert_eq!((to.port(), got), (port, packet));
    }

    pub fn expect_bytes(&mut self, port: u16, expected: &[u8]) {
        let (to, bytes) = self.inbox.pop_front().expect("a datagram");
        assert_eq!((to.port(), &bytes[..]), (port, expected));
    }

    pub fn expect_nothing(&mut self) {
        let rest: Vec<_> =
            self.inbox.iter().map(|(to, b)| (to.port(), Packet::decode(b))).collect();
        assert!(rest.is_empty(), "{rest:?}");
    }

    /// Loses what is under way.
    pub fn lose(&mut self) -> usize {
        let lost = self.inbox.len();
        self.inbox.clear();
        lost
    }

    pub fn connected(&mut self, port: u16, id: &str, clean: bool) {
        self.send(port, connect(id, clean, 60));
        self.expect(port, CONNACK);
        self.expect_nothing();
    }

    /// A durable reconnect whose CONNACK is followed by `first`.
    pub fn connected_then(&mut self, port: u16, id: &str, first: Packet<'_>) {
        self.send(port, connect(id, false, 60));
        self.expect(port, CONNACK);
        self.expect(port, first);
        self.expect_nothing();
    }

    pub fn asleep(&mut self, port: u16, secs: u16) {
        self.send(port, Packet::Disconnect { duration: Some(secs) });
        self.expect(port, GOODBYE);
        self.expect_nothing();
    }

    pub fn session(&self, id: &str) -> &Session {
        &self.sessions[&self.by_name[id]]
    }

    fn on_event(&mut self, turn: &Turn, event: Event) {
        if !self.auto_answer && is_question(&event) {
            self.questions.push(event);
            return;
        }
        match event {
            Event::Connect(connect) => self.on_connect(turn, *connect),
            Event::Publish { ticket, topic, payload, .. } => {
                let payload = String::from_utf8_lossy(&payload).into_owned();
                let (topic, known) = match topic {
                    Topic::Name(name) => (name.as_str().to_owned(), true),
                    Topic::Predefined(id) => (format!("#{id}"), self.predefined.contains(&id)),
                    Topic::Short(name) => (String::from_utf8_lossy(&name).into_owned(), true),
                };
                let result = if !known {
                    Err(Reason::SnUnknownTopicId)
                } else if topic.starts_with("deny") {
                    Err(Reason::AclDeny)
                } else if topic.starts_with("busy") {
                    Err(Reason::Overloaded)
                } else {
                    self.published.push((topic, payload));
                    Ok(self.after(turn))
                };
                self.endpoint.published(turn, ticket, result);
            }
            Event::Register { ticket, name, .. } => {
                let denied = name.as_str().starts_with("deny");
                let result = if denied { Err(Reason::AclDeny) } else { Ok(()) };
                self.endpoint.registered(turn, ticket, result);
            }
            Event::Subscribe { ticket, filter, qos, .. } => {
                let unknown =
                    matches!(filter, Filter::Predefined(id) if !self.predefined.contains(&id));
                let result = if unknown {
                    Err(Reason::SnUnknownTopicId)
                } else {
                    Ok((qos, self.after(turn)))
                };
                self.endpoint.subscribed(turn, ticket, result);
            }
            Event::Unsubscribe { ticket, .. } => {
                let after = self.after(turn);
                self.endpoint.unsubscribed(turn, ticket, after);
            }
            Event::UpdateWill { ticket, .. } => {
                self.wills.push(event);
                let after = self.after(turn);
                self.endpoint.will_updated(turn, ticket, Ok(after));
            }
            Event::Acked { session, delivery } => {
                self.acked.push(delivery);
                if let Some(s) = self.sessions.get_mut(&session) {
                    s.in_flight.take_if(|d| d.id == delivery);
                }
                self.pump(turn, session);
            }
            Event::Credit { session, window, .. } => {
                if let Some(s) = self.sessions.get_mut(&session) {
                    s.window = window;
                }
                self.pump(turn, session);
            }
            Event::Drain { session, window, .. } => {
                if let Some(s) = self.sessions.get_mut(&session) {
                    if s.draining.is_some() {
                        return; // only replaces the ticket
                    }
                    s.window = window;
                    s.draining = Some(s.next_delivery);
                }
                self.pump(turn, session);
            }
            Event::Disconnected { session, client, reason, drop_will, expiry, .. } => {
                self.disconnected.push((reason, drop_will));
                let s = self.sessions.get_mut(&session);
                if let Some(s) = s.filter(|s| s.client == Some(client)) {
                    s.client = None;
                    s.window = 0;
                    s.draining = None;
                    s.clean &= expiry.is_none();
                    if s.clean {
                        self.sessions.remove(&session);
                        self.endpoint.forget(turn, session);
                    }
                }
            }
            Event::Overdue { .. } => self.dropped.push(Reason::SleepOverdue),
            Event::Undeliverable { .. } => self.dropped.push(Reason::BadPayload),
            Event::Dropped { reason, .. } => self.dropped.push(reason),
        }
    }

    fn after(&self, turn: &Turn) -> Seq {
        if self.durable { turn.seq } else { Seq::NONE }
    }

    pub fn on_connect(&mut self, turn: &Turn, connect: Connect) {
        self.connects.push(connect.clone());
        let existing = self.by_name.get(&connect.client_id).copied();
        let existing = existing.filter(|id| self.sessions.contains_key(id));
        let replaced = existing.and_then(|id| self.sessions.get_mut(&id)?.client.take());
        if let Some(old) = replaced {
            self.endpoint.close(turn, old, Reason::TakenOver);
        }
        let mut present = existing.is_some();
        if let Some(old) = existing.filter(|_| connect.clean) {
            self.sessions.remove(&old);
            self.endpoint.forget(turn, old);
            present = false;
        }
        let id = existing.filter(|_| present).unwrap_or_else(|| {
            self.next_session += 1;
            SessionId::new(self.next_session, 1)
        });
        let key = SessionKey::new("mqttsn", &connect.client_id);
        self.by_name.insert(connect.client_id, id);
        let s = self.sessions.entry(id).or_default();
        s.client = Some(connect.client);
        s.clean = connect.clean;
        s.window = u16::from(!connect.asleep);
        s.draining = None;
        if let Some(mut delivery) = s.in_flight.take() {
            delivery.again = true;
            s.queue.push_front(delivery);
        }
        let after = if connect.clean { Seq::NONE } else { self.after(turn) };
        let accept = Accept { key, session: id, present, after };
        self.endpoint.accept(turn, connect.client, accept);
        self.pump(turn, id);
    }

    /// A message for a client.
    pub fn deliver(&mut self, id: &str, topic: &str, qos: Qos, payload: &str) {
        let session = self.by_name[id];
        let mut message =
            Message::new(TopicName::new(topic).unwrap(), Bytes::from(payload.to_owned()));
        message.qos = qos;
        let s = self.sessions.get_mut(&session).unwrap();
        s.next_delivery += 1;
        s.queue.push_back(Delivery {
            id: DeliveryId(s.next_delivery),
            message: Arc::new(message),
            qos,
            retain: false,
            again: false,
            identifiers: None,
            share: 0,
        });
        let turn = self.turn();
        self.pump(&turn, session);
        self.settle();
    }

    fn pump(&mut self, turn: &Turn, session: SessionId) {
        loop {
            let Some(s) = self.sessions.get_mut(&session) else { return };
            let Some(client) = s.client else { return };
            let done = s.draining.is_some_and(|upto| {
                s.in_flight.as_ref().or(s.queue.front()).is_none_or(|d| d.id.0 > upto)
            });
            if done {
                s.draining = None;
                s.window = 0;
                self.endpoint.drained(turn, client);
                return;
            }
            let blocked = s.queue.front().is_none_or(|d| {
                s.window == 0
                    || s.draining.is_some_and(|upto| d.id.0 > upto)
                    || (d.qos != Qos::AtMostOnce && s.in_flight.is_some())
            });
            if blocked {
                return;
            }
            let delivery = s.queue.pop_front().unwrap();
            if delivery.qos != Qos::AtMostOnce {
                s.in_flight = Some(delivery.clone());
            }
            let name = delivery.message.topic.clone();
            let (predefined, short) =
                self.names.get(name.as_str()).copied().unwrap_or((None, None));
            self.endpoint.deliver(
                turn,
                client,
                delivery,
                Names { name, predefined, short, by_predefined: None },
            );
        }
    }

    /// `kill -9` and a start from what was stored. Clean sessions and connections are gone.
    pub fn restart(&mut self) {
        self.restart_at(1);
    }

    /// The same, with a seed that gives this as the first message id.
    pub fn restart_at(&mut self, first_msg_id: u16) {
        self.unstored.clear();
        self.inbox.clear();
        self.sessions.retain(|_, s| !s.clean);
        for s in self.sessions.values_mut() {
            s.client = None;
            s.window = 0;
            s.draining = None;
        }
        self.now += Duration::from_secs(5);
        let turn = self.turn();
        let wall = turn.wall.as_millis();
        let seed = wall ^ (wall / 0xffff * 0xffff + u64::from(first_msg_id) - 1);
        self.endpoint = Endpoint::new(self.config.clone(), seed);
        // Any order will do; the reverse is the worst.
        for (key, value) in self.stored.iter().rev() {
            assert!(self.endpoint.restore(&turn, key, value), "{key:?} {value:?}");
        }
        self.endpoint.restored(&turn);
        self.settle();
    }

    /// How many records are stored.
    pub fn stored_len(&self) -> usize {
        self.stored.len()
    }

    pub fn last_will(&self) -> &WillChange {
        &self.connects.last().unwrap().will
    }
}

fn is_question(event: &Event) -> bool {
    matches!(
        event,
        Event::Connect(_)
            | Event::Publish { .. }
            | Event::Register { .. }
            | Event::Subscribe { .. }
            | Event::Unsubscribe { .. }
            | Event::UpdateWill { .. }
    )
}
