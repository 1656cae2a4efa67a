//! CoAP clients of the load: devices that PUT or POST confirmably, and observers.

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use crate::load::actor::{Actor, Turn, datagrams, socket};
use crate::load::ledger::{Ledger, StreamId};
use crate::sim::coap_wire::{self as wire, Message};

/// ACK_TIMEOUT.
const RETRY: Duration = Duration::from_secs(2);
/// 4.04's class, and everything above.
const ERROR: u8 = 4 << 5;

fn request(code: u8, mid: u16, path: &str, observe: bool, payload: Vec<u8>) -> Message {
    let observe = observe.then(|| (6, Vec::new()));
    let segments = path.split('/').skip(1).map(|segment| (11, segment.as_bytes().to_vec()));
    Message {
        kind: wire::CON,
        code,
        mid,
        token: mid.to_be_bytes().to_vec(),
        options: observe.into_iter().chain(segments).collect(),
        payload,
    }
}

/// One that publishes, one after the other.
#[derive(Debug)]
pub(super) struct Publisher {
    socket: UdpSocket,
    method: u8,
    path: &'static str,
    stream: StreamId,
    rate: f64,
    sent: u64,
    mid: u16,
    /// Message id, number, bytes, when they left.
    asked: Option<(u16, u32, Vec<u8>, Instant)>,
}

impl Publisher {
    pub(super) fn new(
        gateway: SocketAddr,
        method: u8,
        path: &'static str,
        stream: StreamId,
        rate: f64,
    ) -> Publisher {
        let socket = socket(gateway);
        Publisher { socket, method, path, stream, rate, sent: 0, mid: 0, asked: None }
    }
}

impl Actor for Publisher {
    fn turn(&mut self, turn: &Turn, ledger: &mut Ledger) {
        for datagram in datagrams(&self.socket) {
            match (wire::decode(&datagram), &self.asked) {
                (Ok(answer), Some((mid, number, ..)))
                    if answer.kind == wire::ACK && answer.mid == *mid =>
                {
                    if answer.code >> 5 == 2 {
                        ledger.acked(self.stream, *number);
                    } else {
                        ledger.fault(format!("{}: {answer:?}", self.path));
                    }
                    self.asked = None;
                }
                // The answer to what was sent twice.
                (Ok(answer), _) if answer.kind == wire::ACK => {}
                (other, _) => ledger.fault(format!("{}: {other:?}", self.path)),
            }
        }
        match &mut self.asked {
            Some((_, _, bytes, since)) if turn.now >= *since + RETRY => {
                let _ = self.socket.send(bytes);
                *since = turn.now;
            }
            None if turn.is_due(self.rate, self.sent) => {
                self.sent += 1;
                self.mid = self.mid.wrapping_add(1);
                let number = ledger.next(self.stream);
                let payload = Ledger::payload(self.stream, number);
                let bytes = request(self.method, self.mid, self.path, false, payload).encode();
                let _ = self.socket.send(&bytes);
                self.asked = Some((self.mid, number, bytes, turn.now));
            }
            _ => {}
        }
    }

    fn is_ready(&self) -> bool {
        true
    }

    fn is_settled(&self, _: &Ledger) -> bool {
        self.asked.is_none()
    }
}

/// One that observes; every value may be skipped but the last.
#[derive(Debug)]
pub(super) struct Observer {
    socket: UdpSocket,
    path: &'static str,
    /// What it follows: the streams by the letter of the rule's version.
    streams: Vec<StreamId>,
    asked_at: Option<Instant>,
    observing: bool,
    ended: bool,
    last: Option<(StreamId, u32)>,
}

impl Observer {
    pub(super) fn new(gateway: SocketAddr, path: &'static str, streams: Vec<StreamId>) -> Observer {
        Observer {
            socket: socket(gateway),
            path,
            streams,
            asked_at: None,
            observing: false,
            ended: false,
            last: None,
        }
    }

    fn take(&mut self, message: &Message, ledger: &mut Ledger) {
        if message.kind == wire::CON {
            let ack = Message { kind: wire::ACK, mid: message.mid, ..Message::default() };
            let _ = self.socket.send(&ack.encode());
        }
        if message.code >= ERROR || message.observe().is_none() {
            if !self.ended {
                ledger.fault(format!("observer of {}: ended by {message:?}", self.path));
            }
            self.ended = true;
            return;
        }
        self.observing = true;
        if message.payload.is_empty() {
            return; // no value yet
        }
        ledger.notifications += 1;
        match Ledger::read(&message.payload) {
            Some(value) if self.streams.contains(&value.0) => {
                // One socket, one gateway, one machine: datagrams do not overtake.
                if let Some((_, before)) = self.last.filter(|l| l.0 == value.0 && l.1 > value.1) {
                    let (path, now) = (self.path, value.1);
                    ledger.fault(format!("observer of {path}: {now} after {before}"));
                }
                self.last = Some(value);
            }
            _ => ledger.fault(format!("observer of {}: {message:?}", self.path)),
        }
    }

    /// Which of its streams it hears.
    pub(super) fn hears(&self) -> Option<usize> {
        let (stream, _) = self.last?;
        self.streams.iter().position(|known| *known == stream)
    }

    /// Whether it has the last value of the stream that it must follow.
    fn is_fresh(&self, stream: usize, ledger: &Ledger) -> bool {
        let Some(stream) = self.streams.get(stream.min(self.streams.len() - 1)) else {
            return false;
        };
        // What was published and not acknowledged may have arrived, too.
        let wanted = ledger.last_acked(*stream);
        self.last.is_some_and(|(of, number)| of == *stream && Some(number) >= wanted)
    }

    /// What is wrong at the end.
    pub(super) fn judge(&self, stream: usize, ledger: &mut Ledger) {
        if !self.is_fresh(stream, ledger) {
            let text = format!("observer of {}: ends with {:?}", self.path, self.last);
            ledger.fault(text);
        }
    }

    pub(super) fn turn(&mut self, turn: &Turn, ledger: &mut Ledger) {
        for datagram in datagrams(&self.socket) {
            match wire::decode(&datagram) {
                Ok(message) => self.take(&message, ledger),
                Err(error) => ledger.fault(format!("observer of {}: {error}", self.path)),
            }
        }
        let due = self.asked_at.is_none_or(|at| turn.now >= at + RETRY);
        if !self.observing && !self.ended && due {
            let bytes = request(wire::GET, 1, self.path, true, Vec::new()).encode();
            let _ = self.socket.send(&bytes);
            self.asked_at = Some(turn.now);
        }
    }

    pub(super) fn is_ready(&self) -> bool {
        self.observing
    }

    pub(super) fn is_settled(&self, stream: usize, ledger: &Ledger) -> bool {
        self.ended || self.is_fresh(stream, ledger)
    }
}
