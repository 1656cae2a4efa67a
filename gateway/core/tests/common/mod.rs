//! A whole gateway on a virtual clock, spoken to in bytes.
#![allow(dead_code, unreachable_pub, clippy::cast_possible_truncation)] // each test file uses its part

pub mod pubsub;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use motegate_core::admin::{Answer, Limit, Query};
use motegate_core::{
    Authenticate, Config, Core, Input, Listener, Notice, Output, Protocol, Sources, Touched,
};
use motegate_mapping::Table;
use motegate_message::journal::{MemoryStore, Saved};
use motegate_message::{
    Announcement, ConnectionId, ListenerId, LocalId, Reason, Record, Seq, Wall,
};
use motegate_timers::Instant;

pub const MQTT: ListenerId = ListenerId(0);
pub const SN: ListenerId = ListenerId(1);
pub const COAP: ListenerId = ListenerId(2);

pub struct Gateway {
    pub core: Core,
    pub now: Instant,
    /// What reached each MQTT connection, and was not yet looked at.
    pub streams: BTreeMap<ConnectionId, Vec<u8>>,
    pub closed: BTreeMap<ConnectionId, Reason>,
    pub datagrams: Vec<(SocketAddr, Vec<u8>)>,
    /// What was worth a line in the log, and was not yet looked at.
    pub notices: Vec<Notice>,
    /// What reloads did.
    pub touched: Vec<Touched>,
    /// What was asked for, and not yet looked at.
    pub answers: Vec<Answer>,
    /// Proofs that nobody has looked at yet.
    pub asked: Vec<Authenticate>,
    /// What went to groups.
    pub announced: Vec<Announcement>,
    /// Batches that the store has not reported yet.
    pub uncommitted: Vec<(Seq, Vec<Record>)>,
    pub store: MemoryStore,
    pub commit_at_once: bool,
    /// Listeners that the next reload moves.
    pub moved: Vec<ListenerId>,
    next_conn: u32,
}

pub fn listener(name: &str, protocol: Protocol, realm: &str) -> Listener {
    Listener {
        name: name.into(),
        protocol,
        anonymous: true,
        sources: Sources::Private,
        realm: realm.into(),
        tenant: "".into(),
        mount: "".into(),
        client_from: motegate_core::ClientFrom::Address,
        connection_required: false,
        client_id_from_identity: false,
        limits: None,
    }
}

pub fn config() -> Config {
    Config {
        listeners: vec![
            listener("mqtt", Protocol::Mqtt, "mqtt"),
            listener("sn", Protocol::MqttSn, "mqttsn"),
            listener("coap", Protocol::Coap, "coap"),
        ],
        durable: true,
        ..Config::default()
    }
}

impl Gateway {
    pub fn new(config: Config) -> Self {
        Self::with_table(config, Table::passthrough("mqtt"))
    }

    pub fn with_table(config: Config, table: Table) -> Self {
        Gateway {
            core: Core::new(config, Arc::new(table), 1),
            now: Instant::from_secs(1),
            streams: BTreeMap::new(),
            closed: BTreeMap::new(),
            datagrams: Vec::new(),
            notices: Vec::new(),
            touched: Vec::new(),
            answers: Vec::new(),
            asked: Vec::new(),
            announced: Vec::new(),
            uncommitted: Vec::new(),
            store: MemoryStore::default(),
            commit_at_once: true,
            moved: Vec::new(),
            next_conn: 0,
        }
    }

    pub fn wall(&self) -> Wall {
        Wall::from_millis(1_700_000_000_000 + self.now.as_micros() / 1000)
    }

    pub fn input(&mut self, input: Input<'_>) {
        self.core.handle(self.now, self.wall(), input);
        self.drain();
    }

    fn drain(&mut self) {
        loop {
            for queue in self.core.datagrams() {
                self.datagrams.extend(queue.iter().map(|(to, bytes)| (to.addr, bytes.to_vec())));
                queue.clear();
            }
            let Some(output) = self.core.poll_output() else { break };
            match output {
                Output::Write(conn) => {
                    let bytes = self.core.outbox(conn).to_vec();
                    self.streams.entry(conn).or_default().extend_from_slice(&bytes);
                    let n = bytes.len();
                    self.core.handle(self.now, self.wall(), Input::Written { conn, n });
                }
                Output::Close(conn, reason) => {
                    let bytes = self.core.outbox(conn).to_vec();
                    self.streams.entry(conn).or_default().extend_from_slice(&bytes);
                    self.closed.insert(conn, reason);
                    self.core.handle(self.now, self.wall(), Input::Closed { conn, reason });
                }
                Output::Records { seq, batch } => {
                    self.uncommitted.push((seq, batch));
                    if self.commit_at_once {
                        self.commit();
                    }
                }
                Output::Fetch(wanted) => {
                    let mut store = self.store.clone();
                    self.uncommitted.iter().for_each(|(_, batch)| store.apply(batch.clone()));
                    let page = store.page(wanted);
                    let input = Input::Fetched { session: wanted.session, page };
                    self.core.handle(self.now, self.wall(), input);
                }
                Output::Notice(notice) => self.notices.push(*notice),
                Output::Reloaded(touched) => self.touched.extend(touched),
                Output::Answer { answer, .. } => self.answers.push(answer),
                Output::Authenticate(asked) => self.asked.push(*asked),
                Output::Announce(announcement) => self.announced.push(*announcement),
                Output::PauseReads(_) | Output::ResumeReads(_) => {}
            }
        }
    }

    /// The store reports everything.
    pub fn commit(&mut self) {
        let mut last = Seq::NONE;
        for (seq, batch) in self.uncommitted.drain(..) {
            self.store.apply(batch);
            last = seq;
        }
        if last > Seq::NONE {
            self.core.handle(self.now, self.wall(), Input::Committed(last));
            self.drain();
        }
    }

    /// `kill -9` and a new start: what was not committed is gone, and so are all connections.
    pub fn crash(&mut self, config: Config) {
        self.uncommitted.clear();
        self.streams.clear();
        self.core = Core::new(config, Arc::new(Table::passthrough("mqtt")), 2);
        let mut store = core::mem::take(&mut self.store);
        assert_eq!(self.core.restore(self.now, self.wall(), &mut store), 0, "damaged records");
        self.store = store;
        self.drain();
    }

    pub fn advance(&mut self, by: Duration) {
        let end = self.now + by;
        while let Some(at) = self.core.poll_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.input(Input::Timeout);
        }
        self.now = end;
        self.input(Input::Timeout);
    }

    /// A bound's row in the status.
    pub fn limit(&mut self, key: &str) -> Limit {
        self.input(Input::Admin { ticket: 1, query: Query::Status });
        let Some(Answer::Status(status)) = self.answers.pop() else { panic!("no status") };
        *status.limits.iter().find(|limit| limit.key == key).expect("every limit has a row")
    }

    pub fn open(&mut self) -> ConnectionId {
        self.open_as(None)
    }

    /// A connection whose transport has proved an identity.
    pub fn open_as(&mut self, identity: Option<&str>) -> ConnectionId {
        self.open_from([127, 0, 0, 1], identity)
    }

    pub fn open_from(&mut self, from: [u8; 4], identity: Option<&str>) -> ConnectionId {
        self.open_at(MQTT, from, identity)
    }

    pub fn open_at(
        &mut self,
        listener: ListenerId,
        from: [u8; 4],
        identity: Option<&str>,
    ) -> ConnectionId {
        self.next_conn += 1;
        let conn = ConnectionId::new(self.next_conn, self.next_conn);
        let peer = Some(SocketAddr::from((from, 40_000)));
        let (identity, since) = (identity.map(Arc::from), self.now);
        self.input(Input::Opened { conn, listener, peer, identity, host: None, since });
        conn
    }

    pub fn send(&mut self, conn: ConnectionId, bytes: &[u8]) {
        self.input(Input::Bytes { conn, chunk: bytes });
    }

    /// Takes what reached a connection.
    pub fn received(&mut self, conn: ConnectionId) -> Vec<u8> {
        self.streams.remove(&conn).unwrap_or_default()
    }

    /// An MQTT 3.1.1 client, connected.
    pub fn mqtt(&mut self, client_id: &str, clean: bool) -> ConnectionId {
        let conn = self.open();
        let id = client_id.as_bytes();
        let mut packet = vec![0x10, 12 + id.len() as u8, 0, 4];
        packet.extend_from_slice(b"MQTT\x04");
        packet.extend_from_slice(&[if clean { 2 } else { 0 }, 0, 60, 0, id.len() as u8]);
        packet.extend_from_slice(id);
        self.send(conn, &packet);
        let answer = self.received(conn);
        assert!(answer.starts_with(&[0x20, 2]) && answer[3] == 0, "CONNACK: {answer:02x?}");
        conn
    }

    /// Connects a client with its session; what comes with the CONNACK stays to be received.
    pub fn mqtt_again(&mut self, client_id: &str) -> ConnectionId {
        let conn = self.open();
        let id = client_id.as_bytes();
        let mut packet = vec![0x10, 12 + id.len() as u8, 0, 4];
        packet.extend_from_slice(b"MQTT\x04\x00\x00\x3c\x00");
        packet.push(id.len() as u8);
        packet.extend_from_slice(id);
        self.send(conn, &packet);
        conn
    }

    pub fn mqtt_subscribe(&mut self, conn: ConnectionId, filter: &str, qos: u8) {
        let mut packet = vec![0x82, 5 + filter.len() as u8, 0, 9, 0, filter.len() as u8];
        packet.extend_from_slice(filter.as_bytes());
        packet.push(qos);
        self.send(conn, &packet);
        let answer = self.received(conn);
        assert_eq!(&answer[..5], &[0x90, 3, 0, 9, qos], "SUBACK");
    }

    /// A datagram to a listener; the answers to it.
    pub fn datagram(
        &mut self,
        listener: ListenerId,
        peer: SocketAddr,
        bytes: &[u8],
    ) -> Vec<Vec<u8>> {
        self.datagrams.clear();
        self.input(Input::Datagram { listener, local: LocalId::ANY, peer, bytes });
        self.datagrams_to(peer)
    }

    /// Takes what was sent to a peer.
    pub fn datagrams_to(&mut self, peer: SocketAddr) -> Vec<Vec<u8>> {
        let (mine, rest) =
            core::mem::take(&mut self.datagrams).into_iter().partition(|d| d.0 == peer);
        self.datagrams = rest;
        let mine: Vec<(SocketAddr, Vec<u8>)> = mine;
        mine.into_iter().map(|(_, bytes)| bytes).collect()
    }
}

pub fn peer(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// MQTT PUBLISH, QoS 0 or with a packet id.
pub fn publish(topic: &str, payload: &[u8], qos: u8, retain: bool, id: u16) -> Vec<u8> {
    let mut body = vec![0, topic.len() as u8];
    body.extend_from_slice(topic.as_bytes());
    if qos > 0 {
        body.extend_from_slice(&id.to_be_bytes());
    }
    body.extend_from_slice(payload);
    let mut packet = vec![0x30 | qos << 1 | u8::from(retain), body.len() as u8];
    packet.extend_from_slice(&body);
    packet
}

/// MQTT-SN packet of one type.
pub fn sn(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![body.len() as u8 + 2, kind];
    packet.extend_from_slice(body);
    packet
}

pub fn sn_connect(client_id: &str, clean: bool, duration: u16) -> Vec<u8> {
    let mut body = vec![if clean { 4 } else { 0 }, 1];
    body.extend_from_slice(&duration.to_be_bytes());
    body.extend_from_slice(client_id.as_bytes());
    sn(0x04, &body)
}

/// CoAP request with Uri-Path options.
pub fn coap(
    kind: u8,
    code: u8,
    mid: u16,
    token: &[u8],
    observe: Option<u8>,
    path: &[&str],
    payload: &[u8],
) -> Vec<u8> {
    let mut packet = vec![0x40 | kind << 4 | token.len() as u8, code];
    packet.extend_from_slice(&mid.to_be_bytes());
    packet.extend_from_slice(token);
    let mut last = 0;
    if let Some(value) = observe {
        if value == 0 {
            packet.push(6 << 4);
        } else {
            packet.extend_from_slice(&[6 << 4 | 1, value]);
        }
        last = 6;
    }
    for segment in path {
        assert!(segment.len() < 13);
        packet.push((11 - last) << 4 | segment.len() as u8);
        packet.extend_from_slice(segment.as_bytes());
        last = 11;
    }
    if !payload.is_empty() {
        packet.push(0xff);
        packet.extend_from_slice(payload);
    }
    packet
}

/// Number and value.
pub type Options<'a> = &'a [(u16, &'a [u8])];

/// A confirmable request with options in ascending order of their numbers.
pub fn request(code: u8, mid: u16, token: &[u8], options: Options<'_>, payload: &[u8]) -> Vec<u8> {
    let mut packet = coap(0, code, mid, token, None, &[], b"");
    let mut last = 0;
    for (number, value) in options {
        // RFC 7252 §3.1: up to 268 in one byte more.
        let extend = |n: u16| if n < 13 { (n as u8, None) } else { (13, Some((n - 13) as u8)) };
        assert!(value.len() < 269);
        let (delta, delta_more) = extend(number - last);
        let (length, length_more) = extend(value.len() as u16);
        last = *number;
        packet.push(delta << 4 | length);
        packet.extend(delta_more);
        packet.extend(length_more);
        packet.extend_from_slice(value);
    }
    if !payload.is_empty() {
        packet.push(0xff);
        packet.extend_from_slice(payload);
    }
    packet
}

/// The options of a packet: number and value.
pub fn options(packet: &[u8]) -> Vec<(u16, Vec<u8>)> {
    let mut rest = &packet[4 + usize::from(packet[0] & 0xf)..];
    let mut found = Vec::new();
    let mut number = 0;
    while let Some((head, tail)) = rest.split_first().filter(|(head, _)| **head != 0xff) {
        let take = |nibble: u8, tail: &mut &[u8]| match nibble {
            13 => {
                let (more, rest) = tail.split_first().expect("an extended number");
                *tail = rest;
                u16::from(*more) + 13
            }
            short => u16::from(short),
        };
        let mut tail = tail;
        let delta = take(head >> 4, &mut tail);
        let length = take(head & 0xf, &mut tail);
        let (value, tail) = tail.split_at(usize::from(length));
        number += delta;
        found.push((number, value.to_vec()));
        rest = tail;
    }
    found
}

pub fn option(packet: &[u8], number: u16) -> Option<Vec<u8>> {
    options(packet).into_iter().find(|(found, _)| *found == number).map(|(_, value)| value)
}
