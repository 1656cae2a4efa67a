//! A server endpoint on a virtual clock, raw datagrams built and read by coap-lite alone.
#![allow(dead_code, unreachable_pub, missing_docs)]
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation)]

use std::fmt::Write;
use std::net::SocketAddr;
use std::time::Duration;

use coap_lite::{CoapOption, MessageClass, MessageType, Packet};
use motegate_coap::endpoint::{
    Code, Event, ExchangeId, Notification, ObservationId, Request, Response,
};
use motegate_coap::{Config, Endpoint};
use motegate_message::{DeliveryId, ListenerId, Peer, Reason, Seq, Turn, Wall};
use motegate_timers::Instant;

pub mod connected;
pub mod stream;

pub const GET: u8 = 1;
pub const POST: u8 = 2;
pub const PUT: u8 = 3;
pub const DELETE: u8 = 4;

pub fn peer(port: u16) -> Peer {
    Peer::new(ListenerId(0), SocketAddr::from(([10, 0, 0, 1], port)))
}

/// A message, by coap-lite.
#[derive(Clone)]
pub struct Msg(Packet);

impl Msg {
    fn new(kind: MessageType, code: u8, id: u16) -> Self {
        let mut packet = Packet::new();
        packet.header.set_type(kind);
        packet.header.code = MessageClass::from(code);
        packet.header.message_id = id;
        Msg(packet)
    }
    pub fn con(code: u8, id: u16) -> Self {
        Msg::new(MessageType::Confirmable, code, id)
    }
    pub fn non(code: u8, id: u16) -> Self {
        Msg::new(MessageType::NonConfirmable, code, id)
    }
    pub fn ack(id: u16) -> Self {
        Msg::new(MessageType::Acknowledgement, 0, id)
    }
    /// A piggybacked response.
    pub fn ack_with(code: u8, id: u16) -> Self {
        Msg::new(MessageType::Acknowledgement, code, id)
    }
    pub fn rst(id: u16) -> Self {
        Msg::new(MessageType::Reset, 0, id)
    }
    pub fn token(mut self, token: &[u8]) -> Self {
        self.0.set_token(token.to_vec());
        self
    }
    pub fn opt(mut self, number: u16, value: &[u8]) -> Self {
        self.0.add_option(CoapOption::from(number), value.to_vec());
        self
    }
    pub fn path(mut self, path: &str) -> Self {
        for segment in path.split('/') {
            self = self.opt(11, segment.as_bytes());
        }
        self
    }
    pub fn body(mut self, payload: &[u8]) -> Self {
        self.0.payload = payload.to_vec();
        self
    }
    pub fn bytes(&self) -> Vec<u8> {
        self.0.to_bytes_unlimited().unwrap()
    }
}

/// `ACK 2.05 #1 t=aa 6=01 12= "21.5"`: type, code, message id (`#*` when the server chose it),
/// token, options in hexadecimal, payload.
pub fn show(bytes: &[u8]) -> String {
    let packet = Packet::from_bytes(bytes).unwrap();
    let (kind, own) = match packet.header.get_type() {
        MessageType::Confirmable => ("CON", true),
        MessageType::NonConfirmable => ("NON", true),
        MessageType::Acknowledgement => ("ACK", false),
        MessageType::Reset => ("RST", false),
    };
    let mut out = format!("{kind} {}", packet.header.get_code());
    if own {
        out.push_str(" #*");
    } else {
        write!(out, " #{}", packet.header.message_id).unwrap();
    }
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    if !packet.get_token().is_empty() {
        write!(out, " t={}", hex(packet.get_token())).unwrap();
    }
    for (number, values) in packet.options() {
        for value in values {
            if *number == 6 {
                out.push_str(" observe"); // sequence numbers are compared where they matter
            } else {
                write!(out, " {number}={}", hex(value)).unwrap();
            }
        }
    }
    if !packet.payload.is_empty() {
        write!(out, " {:?}", String::from_utf8_lossy(&packet.payload)).unwrap();
    }
    out
}

pub fn observe_value(bytes: &[u8]) -> Option<u32> {
    let packet = Packet::from_bytes(bytes).unwrap();
    let value = packet.get_first_option(CoapOption::Observe)?;
    Some(value.iter().fold(0, |sum, byte| sum << 8 | u32::from(*byte)))
}

pub struct Server {
    pub endpoint: Endpoint,
    pub now: Instant,
    pub durable: bool,
    /// Where requests come from.
    pub ip: [u8; 4],
    /// Datagrams of the last exchange of calls.
    pub sent: Vec<(SocketAddr, Vec<u8>)>,
    pub dropped: Vec<Reason>,
    pub events: Vec<Event>,
}

impl Server {
    pub fn new() -> Self {
        Server::with(Config::default())
    }

    pub fn with(config: Config) -> Self {
        Server {
            endpoint: Endpoint::new(config, 42),
            now: Instant::from_secs(1_000),
            durable: false,
            ip: [10, 0, 0, 1],
            sent: Vec::new(),
            dropped: Vec::new(),
            events: Vec::new(),
        }
    }

    pub fn turn(&self) -> Turn {
        let wall = Wall::from_millis(1_763_000_000_000 + self.now.as_micros() / 1_000);
        let mut turn = Turn::new(self.now, wall);
        turn.durable = self.durable;
        turn
    }

    pub fn drain(&mut self) {
        self.sent = self.endpoint.transmits().iter().map(|(to, b)| (to.addr, b.to_vec())).collect();
        self.endpoint.transmits().clear();
        while let Some(event) = self.endpoint.poll_event() {
            match event {
                Event::Dropped { reason, .. } => self.dropped.push(reason),
                other => self.events.push(other),
            }
        }
    }

    /// Hands a datagram in and returns what left.
    pub fn recv(&mut self, port: u16, bytes: &[u8]) -> Vec<String> {
        let turn = self.turn();
        let from = Peer::new(ListenerId(0), SocketAddr::from((self.ip, port)));
        self.endpoint.handle_datagram(&turn, from, bytes);
        self.drain();
        self.shown()
    }

    pub fn msg(&mut self, port: u16, msg: &Msg) -> Vec<String> {
        self.recv(port, &msg.bytes())
    }

    pub fn shown(&self) -> Vec<String> {
        self.sent.iter().map(|(_, bytes)| show(bytes)).collect()
    }

    /// Lets time pass, deadline by deadline; returns what left and when (ms from now).
    pub fn advance(&mut self, by: Duration) -> Vec<(u64, String)> {
        let (start, end) = (self.now, self.now + by);
        let mut left = Vec::new();
        let mut sent = Vec::new();
        for _ in 0..10_000 {
            match self.endpoint.poll_timeout() {
                Some(at) if at <= end => self.now = self.now.max(at),
                _ => break,
            }
            let turn = self.turn();
            self.endpoint.handle_timeout(&turn);
            self.drain();
            let ms = self.now.saturating_since(start).as_millis() as u64;
            left.extend(self.shown().into_iter().map(|text| (ms, text)));
            sent.append(&mut self.sent);
        }
        assert!(self.endpoint.poll_timeout().is_none_or(|at| at > end), "busy loop");
        self.now = end;
        self.sent = sent;
        left
    }

    pub fn texts(&mut self, by: Duration) -> Vec<String> {
        self.advance(by).into_iter().map(|(_, text)| text).collect()
    }

    /// The one event, which is a request.
    pub fn request(&mut self) -> Request {
        assert_eq!(self.events.len(), 1, "{:?}", self.events);
        match self.events.remove(0) {
            Event::Request(request) => *request,
            other => panic!("{other:?}"),
        }
    }

    pub fn no_request(&self) {
        assert!(!self.events.iter().any(|e| matches!(e, Event::Request(_))), "{:?}", self.events);
    }

    pub fn respond(&mut self, exchange: ExchangeId, response: Response) -> Vec<String> {
        self.respond_after(exchange, response, Seq::NONE)
    }

    pub fn respond_after(
        &mut self,
        exchange: ExchangeId,
        response: Response,
        after: Seq,
    ) -> Vec<String> {
        let turn = self.turn();
        self.endpoint.respond(&turn, exchange, response, after);
        self.drain();
        self.shown()
    }

    pub fn committed(&mut self, seq: u64) -> Vec<String> {
        let turn = self.turn();
        self.endpoint.handle_committed(&turn, Seq(seq));
        self.drain();
        self.shown()
    }

    /// The message id of the last datagram that left.
    pub fn last_id(&self) -> u16 {
        Packet::from_bytes(&self.sent.last().unwrap().1).unwrap().header.message_id
    }

    /// Registers an observation and answers it with `value`.
    pub fn register(&mut self, port: u16, id: u16, token: &[u8], value: &str) -> ObservationId {
        let msg = Msg::con(GET, id).token(token).opt(6, &[]).path("mqtt/t");
        assert!(self.msg(port, &msg).is_empty());
        let exchange = match self.events.remove(0) {
            Event::Request(request) => request.exchange,
            other => panic!("{other:?}"),
        };
        let turn = self.turn();
        let observation = self.endpoint.observe(&turn, exchange).unwrap();
        let response = Response { observe: Some(observation), ..content(value) };
        let sent = self.respond(exchange, response);
        assert_eq!(sent.len(), 1, "{sent:?}");
        assert!(sent[0].starts_with("ACK 2.05") && sent[0].contains("observe"), "{sent:?}");
        observation
    }

    pub fn notify(
        &mut self,
        observation: ObservationId,
        delivery: u64,
        value: &str,
    ) -> Vec<String> {
        self.notify_as(observation, note(delivery, value, false))
    }

    pub fn notify_con(
        &mut self,
        observation: ObservationId,
        delivery: u64,
        value: &str,
    ) -> Vec<String> {
        self.notify_as(observation, note(delivery, value, true))
    }

    pub fn notify_as(
        &mut self,
        observation: ObservationId,
        notification: Notification,
    ) -> Vec<String> {
        let turn = self.turn();
        self.endpoint.notify(&turn, observation, notification);
        self.drain();
        self.shown()
    }

    /// Deliveries reported since the last look; any other event is a failure.
    pub fn notified(&mut self) -> Vec<u64> {
        let mut ids = Vec::new();
        for event in self.events.drain(..) {
            match event {
                Event::Notified { delivery, .. } => ids.push(delivery.0),
                other => panic!("{other:?}"),
            }
        }
        ids
    }

    /// Ends reported since the last look; deliveries are passed over.
    pub fn ended(&mut self) -> Vec<(ObservationId, Reason)> {
        let mut ends = Vec::new();
        for event in self.events.drain(..) {
            match event {
                Event::ObservationEnded { observation, reason } => ends.push((observation, reason)),
                Event::Notified { .. } => {}
                other => panic!("{other:?}"),
            }
        }
        ends
    }
}

pub fn content(value: &str) -> Response {
    Response { payload: value.to_owned().into(), ..Response::new(Code::CONTENT) }
}

pub fn note(delivery: u64, value: &str, confirmable: bool) -> Notification {
    Notification {
        delivery: DeliveryId(delivery),
        code: Code::CONTENT,
        payload: value.to_owned().into(),
        content_format: None,
        etag: None,
        max_age: None,
        confirmable,
    }
}
