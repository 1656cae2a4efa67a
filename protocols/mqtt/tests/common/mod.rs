//! A virtual world around the endpoint: clients that send and expect bytes, a clock that moves
//! when told, a journal, and a tiny broker that plays the core.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation
)]

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use motegate_message::{
    ConnectionId, Delivery, DeliveryId, ListenerId, Message, Qos, Reason, Seq, SessionId,
    SubscriptionFilter, TopicName, Turn, Wall, Will,
};
use motegate_mqtt::endpoint::{Accept, Connect, Event, Published, SubscribeItem, Transmit};
use motegate_mqtt::{Config, Endpoint};
use motegate_timers::Instant;

mod bytes;

pub(crate) use bytes::*;

struct Subscription {
    item: SubscribeItem,
    identifier: Option<u32>,
}

pub(crate) struct Session {
    pub(crate) id: SessionId,
    pub(crate) expiry: Duration,
    pub(crate) conn: Option<ConnectionId>,
    pub(crate) will: Option<Will>,
    subs: Vec<Subscription>,
    /// Outstanding: delivered and not acknowledged.
    pub(crate) open: VecDeque<Delivery>,
    /// Not delivered yet.
    pub(crate) queue: VecDeque<Delivery>,
    next_delivery: u64,
    window: usize,
}

/// What the broker will answer next, where a test wants something else than success.
#[derive(Default)]
pub(crate) struct Script {
    pub(crate) refuse_connect: Option<Reason>,
    pub(crate) refuse_publish: Option<Reason>,
    pub(crate) refuse_filter: HashMap<String, Reason>,
    /// Events are left for the test to answer.
    pub(crate) manual: bool,
    /// Every answer depends on the batch of its turn, although the broker writes no record.
    pub(crate) after_turn: bool,
}

pub(crate) struct World {
    pub(crate) endpoint: Endpoint,
    pub(crate) now: Instant,
    pub(crate) durable: bool,
    /// Commits come by themselves at the end of each turn.
    pub(crate) auto_commit: bool,
    /// After a crash the broker does not know what had been sent, and calls nothing a repetition.
    crashed: bool,
    pub(crate) seq: Seq,
    pub(crate) script: Script,
    pub(crate) sessions: BTreeMap<String, Session>,
    /// Everything that the endpoint told the broker and was not answered by plan.
    pub(crate) log: Vec<String>,
    /// Bounds that acted, those that ended a connection with a `!`.
    pub(crate) limits: Vec<String>,
    pub(crate) events: VecDeque<Event>,
    pub(crate) published: Vec<Message>,
    pub(crate) wills: Vec<Message>,
    pub(crate) credits: Vec<(u16, u32)>,
    pub(crate) journal: BTreeMap<Vec<u8>, Vec<u8>>,
    pending: Vec<(Seq, Vec<motegate_message::Record>)>,
    pub(crate) closed: HashMap<ConnectionId, Reason>,
    pub(crate) paused: HashMap<ConnectionId, bool>,
    /// CONNECTs whose authentication is not through.
    held: HashMap<ConnectionId, Connect>,
    /// What came of authentications, in words.
    pub(crate) asked: Vec<String>,
    /// Connections whose outbox is not read by the peer.
    pub(crate) stuck: Vec<ConnectionId>,
    received: HashMap<ConnectionId, Vec<u8>>,
    next_conn: u32,
    next_session: u32,
    config: Config,
}

impl World {
    pub(crate) fn new() -> Self {
        World::with(Config::default())
    }

    pub(crate) fn with(config: Config) -> Self {
        World {
            endpoint: Endpoint::new(config.clone(), 1),
            now: Instant::from_secs(1000),
            durable: false,
            auto_commit: true,
            crashed: false,
            seq: Seq(1),
            script: Script::default(),
            sessions: BTreeMap::new(),
            log: Vec::new(),
            limits: Vec::new(),
            events: VecDeque::new(),
            published: Vec::new(),
            wills: Vec::new(),
            credits: Vec::new(),
            journal: BTreeMap::new(),
            pending: Vec::new(),
            closed: HashMap::new(),
            paused: HashMap::new(),
            held: HashMap::new(),
            asked: Vec::new(),
            stuck: Vec::new(),
            received: HashMap::new(),
            next_conn: 0,
            next_session: 0,
            config,
        }
    }

    pub(crate) fn durable() -> Self {
        let mut world = World::new();
        world.durable = true;
        world
    }

    pub(crate) fn turn(&self) -> Turn {
        Turn {
            now: self.now,
            wall: Wall::from_millis(1_700_000_000_000 + self.now.as_micros() / 1000),
            seq: self.seq,
            durable: self.durable,
        }
    }

    /// A new connection.
    pub(crate) fn open(&mut self) -> ConnectionId {
        self.open_by(3)
    }

    /// The same by this listener.
    pub(crate) fn open_by(&mut self, listener: u16) -> ConnectionId {
        let conn = ConnectionId::new(self.next_conn, 7);
        self.next_conn += 1;
        let turn = self.turn();
        self.endpoint.handle_opened(&turn, conn, ListenerId(listener), turn.now);
        self.drain();
        conn
    }

    /// The client sends bytes.
    pub(crate) fn send(&mut self, conn: ConnectionId, bytes: &str) {
        self.send_bytes(conn, &hex(bytes));
    }

    pub(crate) fn send_bytes(&mut self, conn: ConnectionId, bytes: &[u8]) {
        let turn = self.turn();
        self.endpoint.handle_bytes(&turn, conn, bytes);
        self.drain();
    }

    /// Connects with a whole CONNECT packet and swallows the CONNACK, which must be a success.
    pub(crate) fn connect(&mut self, packet: &str) -> ConnectionId {
        let conn = self.open();
        self.send(conn, packet);
        let connack = self.take(conn);
        assert!(connack.len() >= 4 && connack[0] == 0x20 && connack[3] == 0, "{}", show(&connack));
        conn
    }

    /// 3.1.1, clean, keep alive 60.
    pub(crate) fn connect_311(&mut self, id: &str) -> ConnectionId {
        self.connect(&connect_bytes(4, 0x02, 60, "", id))
    }

    /// 5.0, clean start, keep alive 60, properties in hexadecimal.
    pub(crate) fn connect_v5(&mut self, id: &str, properties: &str) -> ConnectionId {
        self.connect(&connect_bytes(5, 0x02, 60, properties, id))
    }

    /// 5.0, not clean, session expiry 1 h.
    pub(crate) fn resume_v5(&mut self, id: &str) -> ConnectionId {
        self.connect(&connect_bytes(5, 0x00, 60, "11 00000e10", id))
    }

    /// The client expects exactly these bytes.
    #[track_caller]
    pub(crate) fn expect(&mut self, conn: ConnectionId, bytes: &str) {
        let got = self.take(conn);
        assert_eq!(show(&got), show(&hex(bytes)));
    }

    /// The client expects these bytes and the close for this reason.
    #[track_caller]
    pub(crate) fn expect_close(&mut self, conn: ConnectionId, bytes: &str, reason: Reason) {
        self.expect(conn, bytes);
        assert_eq!(self.closed.get(&conn), Some(&reason));
    }

    /// What came for the client.
    pub(crate) fn take(&mut self, conn: ConnectionId) -> Vec<u8> {
        self.received.remove(&conn).unwrap_or_default()
    }

    /// The transport ends.
    pub(crate) fn lose(&mut self, conn: ConnectionId) {
        let turn = self.turn();
        self.endpoint.handle_closed(&turn, conn, Reason::ConnectionLost);
        self.drain();
    }

    pub(crate) fn close(&mut self, conn: ConnectionId, reason: Reason) {
        let turn = self.turn();
        if let Some(session) = self.sessions.values_mut().find(|s| s.conn == Some(conn)) {
            session.conn = None;
        }
        self.endpoint.close(&turn, conn, reason);
        self.drain();
    }

    /// Time passes; deadlines fire on the way, each at its time.
    pub(crate) fn advance(&mut self, by: Duration) {
        let end = self.now + by;
        while let Some(at) = self.endpoint.poll_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            let turn = self.turn();
            self.endpoint.handle_timeout(&turn);
            self.drain();
        }
        self.now = end;
    }

    /// Everything recorded so far is stored.
    pub(crate) fn commit(&mut self) {
        let upto = self.seq;
        for (_, batch) in std::mem::take(&mut self.pending) {
            for record in batch {
                match record.value {
                    Some(value) => self.journal.insert(record.key, value),
                    None => self.journal.remove(&record.key),
                };
            }
        }
        self.seq = self.seq.next();
        let turn = self.turn();
        self.endpoint.handle_committed(&turn, upto);
        self.drain_only();
    }

    /// The process dies; what was committed comes back, the broker with its sessions.
    pub(crate) fn crash(&mut self) {
        self.crashed = true;
        self.endpoint = Endpoint::new(self.config.clone(), 2);
        self.pending.clear();
        self.received.clear();
        let turn = self.turn();
        for (key, value) in &self.journal {
            assert!(self.endpoint.restore(&turn, key, value));
        }
        self.sessions.retain(|_, s| !s.expiry.is_zero());
        for session in self.sessions.values_mut() {
            session.conn = None;
        }
    }

    fn drain(&mut self) {
        self.drain_only();
        if self.auto_commit {
            while !self.pending.is_empty() {
                self.commit();
            }
        }
    }

    fn drain_only(&mut self) {
        loop {
            while let Some(event) = self.endpoint.poll_event() {
                if self.script.manual {
                    self.events.push_back(event);
                } else {
                    self.on_event(event);
                }
            }
            let mut batch = Vec::new();
            while let Some(record) = self.endpoint.poll_record() {
                batch.push(record);
            }
            if !batch.is_empty() {
                assert!(self.durable || batch.iter().all(|r| r.value.is_none()));
                self.pending.push((self.seq, batch));
            }
            let Some(transmit) = self.endpoint.poll_transmit() else { break };
            self.on_transmit(transmit);
        }
    }

    fn on_transmit(&mut self, transmit: Transmit) {
        match transmit {
            Transmit::Write(conn) => {
                if !self.stuck.contains(&conn) {
                    self.read_outbox(conn, usize::MAX);
                }
            }
            Transmit::Close(conn, reason) => {
                self.read_outbox(conn, usize::MAX);
                assert!(self.closed.insert(conn, reason).is_none(), "closed twice");
            }
            Transmit::PauseReads(conn) => {
                assert_ne!(self.paused.insert(conn, true), Some(true));
            }
            Transmit::ResumeReads(conn) => {
                assert_eq!(self.paused.insert(conn, false), Some(true));
            }
        }
    }

    /// The peer reads up to `max` bytes.
    pub(crate) fn read_outbox(&mut self, conn: ConnectionId, max: usize) -> usize {
        let bytes = self.endpoint.outbox(conn);
        let n = bytes.len().min(max);
        self.received.entry(conn).or_default().extend_from_slice(&bytes[..n]);
        let turn = self.turn();
        if n > 0 {
            self.endpoint.handle_written(&turn, conn, n);
        }
        self.drain_only();
        n
    }

    fn after(&self) -> Seq {
        if self.durable && self.script.after_turn { self.seq } else { Seq::NONE }
    }

    fn on_event(&mut self, event: Event) {
        let turn = self.turn();
        match event {
            Event::Connect(connect) => match &connect.auth {
                Some(auth) => {
                    self.asked.push(format!("{} {}", auth.method, text(auth.data.as_deref())));
                    self.held.insert(connect.conn, *connect);
                }
                None => self.on_connect(*connect),
            },
            Event::Auth { method, data, again, .. } => {
                let again = if again { " again" } else { "" };
                self.asked.push(format!("{method} {}{again}", text(data.as_deref())));
            }
            Event::Publish { conn, session, ticket, mut message } => {
                let client = self.by_session(session).unwrap_or_default();
                message.publisher = Some(motegate_message::SessionKey::new("mqtt", &client));
                let result = match self.script.refuse_publish {
                    Some(reason) => Err(reason),
                    None => {
                        let matched = self.publish(&message, &client);
                        self.published.push(message);
                        Ok(Published { matched, after: self.after() })
                    }
                };
                self.endpoint.published(&turn, conn, ticket, result);
            }
            Event::Subscribe { conn, session, ticket, items, identifier } => {
                let client = self.by_session(session).unwrap();
                let mut outcomes = Vec::new();
                for item in items {
                    let text = filter_text(&item.filter);
                    if let Some(reason) = self.script.refuse_filter.get(&text) {
                        outcomes.push(Err(*reason));
                        continue;
                    }
                    outcomes.push(Ok(item.qos));
                    let subs = &mut self.sessions.get_mut(&client).unwrap().subs;
                    subs.retain(|s| s.item.filter != item.filter);
                    subs.push(Subscription { item, identifier });
                }
                let after = self.after();
                self.endpoint.subscribed(&turn, conn, ticket, &outcomes, after);
            }
            Event::Unsubscribe { conn, session, ticket, filters } => {
                let client = self.by_session(session).unwrap();
                let subs = &mut self.sessions.get_mut(&client).unwrap().subs;
                let existed: Vec<bool> = filters
                    .iter()
                    .map(|filter| {
                        let before = subs.len();
                        subs.retain(|s| s.item.filter != *filter);
                        subs.len() < before
                    })
                    .collect();
                let after = self.after();
                self.endpoint.unsubscribed(&turn, conn, ticket, &existed, after);
            }
            Event::Limited { limit, ends, .. } => {
                let end = if ends { "!" } else { "" };
                self.limits.push([limit.key(), end].concat());
            }
            Event::TooLarge { .. } => panic!("no groups in this rig"),
            Event::Acked { session, delivery } => {
                self.log.push(format!("acked {}", delivery.0));
                let client = self.by_session(session).unwrap();
                let session = self.sessions.get_mut(&client).unwrap();
                session.open.retain(|d| d.id != delivery);
                self.feed(&client);
            }
            Event::Credit { window, room, .. } => self.credits.push((window, room)),
            Event::Disconnected { conn, session, reason, drop_will, expiry } => {
                self.log.push(format!("disconnected {reason} drop_will={drop_will}"));
                let Some(client) = self.by_session(session) else { return };
                let held = self.sessions.get_mut(&client).unwrap();
                assert_eq!(held.conn, Some(conn), "only the present connection may end");
                held.conn = None;
                held.expiry = expiry.unwrap_or(held.expiry);
                let will = held.will.take();
                if !drop_will && let Some(will) = will {
                    self.publish(&will.message, &client);
                    self.wills.push(will.message);
                }
                if self.sessions[&client].expiry.is_zero() {
                    self.end_session(&client);
                }
            }
        }
    }

    /// The authentication wants to know more.
    pub(crate) fn challenge(&mut self, conn: ConnectionId, data: &str) {
        self.endpoint.challenge(&self.turn(), conn, data.as_bytes());
        self.drain();
    }

    /// The authentication, or re-authentication, is through.
    pub(crate) fn allow(&mut self, conn: ConnectionId, data: Option<&str>) {
        let data = data.map(|data| data.as_bytes().to_vec().into());
        self.endpoint.authenticated(&self.turn(), conn, data);
        if let Some(connect) = self.held.remove(&conn) {
            self.on_connect(connect);
        }
        self.drain();
    }

    /// It has failed.
    pub(crate) fn deny(&mut self, conn: ConnectionId, reason: Reason) {
        self.endpoint.refuse(&self.turn(), conn, reason);
        self.drain();
    }

    fn end_session(&mut self, client: &str) {
        let session = self.sessions.remove(client).unwrap();
        let turn = self.turn();
        self.endpoint.forget(&turn, session.id);
    }

    fn on_connect(&mut self, connect: Connect) {
        let turn = self.turn();
        if let Some(reason) = self.script.refuse_connect {
            return self.endpoint.refuse(&turn, connect.conn, reason);
        }
        let client = connect.client_id.clone();
        if let Some(old) = self.sessions.get_mut(&client) {
            if let Some(conn) = old.conn.take() {
                self.endpoint.close(&turn, conn, Reason::TakenOver);
            }
            if connect.clean || self.sessions[&client].expiry.is_zero() {
                self.end_session(&client);
            }
        }
        let present = self.sessions.contains_key(&client);
        if !present {
            self.next_session += 1;
            let id = SessionId::new(self.next_session, 1);
            self.sessions.insert(
                client.clone(),
                Session {
                    id,
                    expiry: connect.expiry,
                    conn: None,
                    will: None,
                    subs: Vec::new(),
                    open: VecDeque::new(),
                    queue: VecDeque::new(),
                    next_delivery: 1,
                    window: 0,
                },
            );
        }
        let after = self.after();
        let session = self.sessions.get_mut(&client).unwrap();
        session.conn = Some(connect.conn);
        session.expiry = connect.expiry;
        session.will = connect.will;
        session.window = usize::from(connect.window);
        let accept = Accept { session: session.id, present, after };
        self.endpoint.accept(&turn, connect.conn, accept);
        // Outstanding ones first, in their order.
        let again: Vec<Delivery> = self.sessions[&client].open.iter().cloned().collect();
        for mut delivery in again {
            delivery.again = !self.crashed;
            self.endpoint.deliver(&turn, connect.conn, delivery, None);
        }
        self.feed(&client);
    }

    fn by_session(&self, id: SessionId) -> Option<String> {
        self.sessions.iter().find(|(_, s)| s.id == id).map(|(name, _)| name.clone())
    }

    /// A publish to every matching session; whether any matched.
    pub(crate) fn publish(&mut self, message: &Message, from: &str) -> bool {
        let message = Arc::new(message.clone());
        let mut clients = Vec::new();
        for (name, session) in &mut self.sessions {
            let matching: Vec<&Subscription> = session
                .subs
                .iter()
                .filter(|s| s.item.filter.filter.matches(&message.topic))
                .filter(|s| !(s.item.no_local && name == from))
                .collect();
            let Some(qos) = matching.iter().map(|s| s.item.qos).max() else { continue };
            let ids: Vec<u32> = matching.iter().filter_map(|s| s.identifier).collect();
            let id = DeliveryId(session.next_delivery);
            session.next_delivery += 1;
            session.queue.push_back(Delivery {
                id,
                message: message.clone(),
                qos: qos.min(message.qos),
                retain: message.retain && matching.iter().any(|s| s.item.retain_as_published),
                again: false,
                identifiers: (!ids.is_empty()).then(|| ids.into()),
                share: 0,
            });
            clients.push(name.clone());
        }
        for client in &clients {
            self.feed(client);
        }
        !clients.is_empty()
    }

    /// Publishes from nowhere and lets the endpoint settle.
    pub(crate) fn inject(&mut self, topic: &str, qos: Qos, payload: &[u8]) {
        let mut message = Message::new(TopicName::new(topic).unwrap(), payload.to_vec().into());
        message.qos = qos;
        self.inject_message(&message);
    }

    pub(crate) fn inject_message(&mut self, message: &Message) {
        self.publish(message, "");
        self.drain();
    }

    /// What is open is on disk: after a resume it comes page by page, as the window allows.
    pub(crate) fn put_on_disk(&mut self, client: &str) {
        let session = self.sessions.get_mut(client).unwrap();
        session.open.append(&mut session.queue);
        session.queue = std::mem::take(&mut session.open);
    }

    fn feed(&mut self, client: &str) {
        let turn = self.turn();
        let session = self.sessions.get_mut(client).unwrap();
        let Some(conn) = session.conn else {
            session.queue.retain(|d| d.qos > Qos::AtMostOnce);
            return;
        };
        while let Some(next) = session.queue.front() {
            if next.qos > Qos::AtMostOnce && session.open.len() >= session.window {
                break;
            }
            let delivery = session.queue.pop_front().unwrap();
            if delivery.qos > Qos::AtMostOnce {
                session.open.push_back(delivery.clone());
            }
            self.endpoint.deliver(&turn, conn, delivery, None);
        }
    }
}

fn text(data: Option<&[u8]>) -> &str {
    data.map_or("-", |data| std::str::from_utf8(data).unwrap())
}

fn filter_text(filter: &SubscriptionFilter) -> String {
    match &filter.share {
        Some(name) => format!("$share/{name}/{}", filter.filter),
        None => filter.filter.to_string(),
    }
}
