//! A server endpoint with connections, whose bytes are written and read by hand and by coap-lite
//! alone; its transport writes at once unless told not to.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

use coap_lite::Packet;
use motegate_coap::endpoint::{Event, ObservationId, Request, Response, Transmit};
use motegate_coap::{Config, for_websocket};
use motegate_message::{ConnectionId, ListenerId, Reason, Seq};

use super::{Msg, Server, content};

pub const CSM: u8 = 0xe1;
pub const PING: u8 = 0xe2;
pub const PONG: u8 = 0xe3;
pub const RELEASE: u8 = 0xe4;
pub const ABORT: u8 = 0xe5;

/// A message as RFC 8323 §3.2 lays it out, by hand.
pub fn frame(msg: &Msg) -> Vec<u8> {
    let datagram = msg.bytes();
    let token = usize::from(datagram[0] & 0x0f);
    let rest = &datagram[4 + token..];
    let mut out = match rest.len() {
        n @ 0..=12 => vec![(n as u8) << 4 | token as u8],
        n @ 13..=268 => vec![0xd0 | token as u8, (n - 13) as u8],
        n @ 269..=65_804 => {
            let [high, low] = ((n - 269) as u16).to_be_bytes();
            vec![0xe0 | token as u8, high, low]
        }
        n => [&[0xf0 | token as u8][..], &((n - 65_805) as u32).to_be_bytes()].concat(),
    };
    out.push(datagram[1]);
    out.extend_from_slice(&datagram[4..]);
    out
}

/// The same as a WebSocket carries it (§4.2).
pub fn web(msg: &Msg) -> Vec<u8> {
    let datagram = msg.bytes();
    [&[datagram[0] & 0x0f, datagram[1]], &datagram[4..]].concat()
}

/// The messages of a byte stream, by hand: code, token, coap-lite's packet.
pub fn messages(mut bytes: &[u8]) -> Vec<Packet> {
    let mut all = Vec::new();
    while let [first, rest @ ..] = bytes {
        let token = usize::from(first & 0x0f);
        let (length, rest) = match first >> 4 {
            13 => (13 + usize::from(rest[0]), &rest[1..]),
            14 => (269 + usize::from(u16::from_be_bytes([rest[0], rest[1]])), &rest[2..]),
            15 => {
                let more = u32::from_be_bytes(rest[..4].try_into().unwrap());
                (65_805 + more as usize, &rest[4..])
            }
            n => (usize::from(n), rest),
        };
        let end = 1 + token + length;
        let datagram = [&[0x40 | token as u8, rest[0], 0, 0], &rest[1..end]].concat();
        all.push(Packet::from_bytes(&datagram).unwrap());
        bytes = &rest[end..];
    }
    all
}

/// `2.05 t=aa observe 12= "21.5"`; payloads that are long by their length.
pub fn shown(packet: &Packet) -> String {
    let code = u8::from(packet.header.code);
    let mut out = match code {
        CSM => "CSM".into(),
        PING => "Ping".into(),
        PONG => "Pong".into(),
        RELEASE => "Release".into(),
        ABORT => "Abort".into(),
        _ => format!("{}.{:02}", code >> 5, code & 31),
    };
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    if !packet.get_token().is_empty() {
        write!(out, " t={}", hex(packet.get_token())).unwrap();
    }
    for (number, values) in packet.options() {
        for value in values {
            if *number == 6 && code < 0xe0 {
                out.push_str(" observe");
            } else {
                write!(out, " {number}={}", hex(value)).unwrap();
            }
        }
    }
    match packet.payload.len() {
        0 => {}
        1..=80 => write!(out, " {:?}", String::from_utf8_lossy(&packet.payload)).unwrap(),
        n => write!(out, " {n} bytes").unwrap(),
    }
    out
}

pub struct Streams {
    pub server: Server,
    /// Bytes are written when they are there; otherwise by `read`.
    pub reads: bool,
    pub closed: Vec<(ConnectionId, Reason)>,
    pub paused: Vec<ConnectionId>,
    /// The last bytes that left.
    pub raw: Vec<u8>,
}

impl Deref for Streams {
    type Target = Server;
    fn deref(&self) -> &Server {
        &self.server
    }
}

impl DerefMut for Streams {
    fn deref_mut(&mut self) -> &mut Server {
        &mut self.server
    }
}

pub fn conn(n: u32) -> ConnectionId {
    ConnectionId::new(n, n + 100)
}

impl Streams {
    pub fn new() -> Self {
        Streams::with(Config::default())
    }

    pub fn with(config: Config) -> Self {
        let server = Server::with(config);
        Streams { server, reads: true, closed: Vec::new(), paused: Vec::new(), raw: Vec::new() }
    }

    /// Carries out what the endpoint wants; what was written, by message.
    pub fn flush(&mut self) -> Vec<String> {
        let mut out = Vec::new();
        self.raw.clear();
        self.server.drain();
        assert!(self.server.sent.is_empty(), "a datagram");
        while let Some(transmit) = self.server.endpoint.poll_transmit() {
            match transmit {
                Transmit::Write(conn) if self.reads => out.extend(self.read(conn)),
                Transmit::Write(_) => {}
                Transmit::Close(conn, reason) => {
                    out.extend(self.read(conn));
                    self.closed.push((conn, reason));
                }
                Transmit::PauseReads(conn) => self.paused.push(conn),
                Transmit::ResumeReads(conn) => self.paused.retain(|paused| *paused != conn),
            }
            self.server.drain();
        }
        out
    }

    /// The peer reads all that waits for it.
    pub fn read(&mut self, conn: ConnectionId) -> Vec<String> {
        let bytes = self.server.endpoint.outbox(conn).to_vec();
        let turn = self.server.turn();
        self.server.endpoint.handle_written(&turn, conn, bytes.len());
        self.server.drain();
        let all = messages(&bytes).iter().map(shown).collect();
        // A WebSocket takes them one by one.
        let mut rest = &bytes[..];
        while let Some(one) = for_websocket(rest) {
            assert!(one.first < 9);
            rest = &rest[one.taken..];
        }
        assert!(rest.is_empty());
        self.raw.extend_from_slice(&bytes);
        all
    }

    /// A connection is accepted; what it is told.
    pub fn accept(&mut self, n: u32) -> Vec<String> {
        let turn = self.turn();
        let addr = SocketAddr::from(([192, 0, 2, 1], 4_000 + n as u16));
        self.endpoint.handle_opened(&turn, conn(n), ListenerId(0), addr, turn.now);
        self.flush()
    }

    /// A connection that has said its CSM.
    pub fn open(&mut self, n: u32) {
        self.accept(n);
        assert_eq!(self.say(n, &Msg::con(CSM, 0)), [""; 0]);
        self.connected(n);
    }

    /// The one event says that it is there.
    pub fn connected(&mut self, n: u32) {
        match self.events.pop() {
            Some(Event::Connected { conn: it, .. }) => assert_eq!(it, conn(n)),
            other => panic!("{other:?}"),
        }
    }

    pub fn bytes(&mut self, n: u32, bytes: &[u8]) -> Vec<String> {
        let turn = self.turn();
        self.endpoint.handle_bytes(&turn, conn(n), bytes);
        self.flush()
    }

    pub fn say(&mut self, n: u32, msg: &Msg) -> Vec<String> {
        self.bytes(n, &frame(msg))
    }

    pub fn part(&mut self, n: u32, bytes: &[u8], is_last: bool) -> Vec<String> {
        let turn = self.turn();
        self.endpoint.handle_part(&turn, conn(n), bytes, is_last);
        self.flush()
    }

    pub fn answer(&mut self, request: &Request, response: Response) -> Vec<String> {
        self.answer_after(request, response, Seq::NONE)
    }

    pub fn answer_after(&mut self, request: &Request, response: Response, seq: Seq) -> Vec<String> {
        let turn = self.turn();
        self.endpoint.respond(&turn, request.exchange, response, seq);
        self.flush()
    }

    pub fn lost(&mut self, n: u32) {
        let turn = self.turn();
        self.endpoint.handle_closed(&turn, conn(n), Reason::ConnectionLost);
        self.flush();
    }

    /// Begins an observation and answers it with `value`.
    pub fn observe(&mut self, n: u32, get: &Msg, value: Response) -> ObservationId {
        assert_eq!(self.say(n, get), [""; 0]);
        let request = self.request();
        let turn = self.turn();
        let observation = self.endpoint.observe(&turn, request.exchange).unwrap();
        let sent = self.answer(&request, Response { observe: Some(observation), ..value });
        assert!(sent.len() == 1 && sent[0].contains("observe"), "{sent:?}");
        observation
    }

    pub fn tell(&mut self, observation: ObservationId, delivery: u64, value: &str) -> Vec<String> {
        let turn = self.turn();
        self.endpoint.notify(&turn, observation, super::note(delivery, value, false));
        self.flush()
    }

    /// Lets time pass, deadline by deadline.
    pub fn wait(&mut self, by: Duration) -> Vec<String> {
        let end = self.now + by;
        let mut left = Vec::new();
        for _ in 0..10_000 {
            match self.endpoint.poll_timeout() {
                Some(at) if at <= end => self.server.now = self.server.now.max(at),
                _ => break,
            }
            let turn = self.turn();
            self.endpoint.handle_timeout(&turn);
            left.extend(self.flush());
        }
        assert!(self.endpoint.poll_timeout().is_none_or(|at| at > end), "busy loop");
        self.server.now = end;
        left
    }

    /// How it ended: the reason, whether it was open, the bound, what was said.
    pub fn ended_by(&mut self, n: u32) -> (Reason, bool, Option<&'static str>, String) {
        let at = self.events.iter().position(
            |event| matches!(event, Event::Disconnected { conn: it, .. } if *it == conn(n)),
        );
        match self.events.remove(at.expect("it has not ended")) {
            Event::Disconnected { reason, was_connected, limit, text, .. } => {
                (reason, was_connected, limit, text.unwrap_or_default())
            }
            other => panic!("{other:?}"),
        }
    }

    /// GET with this token, handed up and answered.
    pub fn get(&mut self, n: u32, token: &[u8], value: &str) -> Vec<String> {
        assert_eq!(self.say(n, &Msg::con(super::GET, 0).token(token).path("x")), [""; 0]);
        let request = self.request();
        self.answer(&request, content(value))
    }
}
