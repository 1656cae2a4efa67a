//! A CoAP device that PUTs or POSTs confirmably, and goes on when the gateway was gone.

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use crate::load::actor::{Actor, Turn, datagrams, socket};
use crate::load::ledger::{Ledger, StreamId};
use crate::sim::coap_wire::{self as wire, Message};

/// Before a request is repeated. Shorter than ACK_TIMEOUT: lives are short.
const RETRY: Duration = Duration::from_millis(100);
/// After so many repetitions, or so long after an empty acknowledgement, it is a new request.
const TRIES: u32 = 4;
const SEPARATE: Duration = Duration::from_millis(600);

/// A request to `/mqtt/TOPIC`.
pub(super) fn request(code: u8, mid: u16, topic: &str, payload: Vec<u8>) -> Message {
    let segments = std::iter::once("mqtt").chain(topic.split('/'));
    let options = segments.map(|segment| (11, segment.as_bytes().to_vec())).collect();
    let token = mid.to_be_bytes().to_vec();
    Message { kind: wire::CON, code, mid, token, options, payload }
}

#[derive(Debug)]
struct Asked {
    mid: u16,
    bytes: Vec<u8>,
    since: Instant,
    tries: u32,
    /// The answer comes by itself.
    separate: bool,
}

/// One request after the other over a gateway that comes and goes.
#[derive(Debug)]
pub(super) struct Exchange {
    socket: UdpSocket,
    mid: u16,
    asked: Option<Asked>,
}

impl Exchange {
    pub(super) fn new(gateway: SocketAddr) -> Exchange {
        Exchange { socket: socket(gateway), mid: 0, asked: None }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.asked.is_none()
    }

    pub(super) fn ask(&mut self, now: Instant, code: u8, topic: &str, payload: Vec<u8>) {
        self.mid = self.mid.wrapping_add(1);
        let bytes = request(code, self.mid, topic, payload).encode();
        let _ = self.socket.send(&bytes);
        self.asked = Some(Asked { mid: self.mid, bytes, since: now, tries: 1, separate: false });
    }

    /// The answer, if it has come; `Err`: nobody answers, ask anew.
    pub(super) fn turn(&mut self, now: Instant) -> Result<Option<Message>, String> {
        let mut answer = None;
        for datagram in datagrams(&self.socket) {
            let message = wire::decode(&datagram)?;
            if message.kind == wire::CON {
                let ack = Message { kind: wire::ACK, mid: message.mid, ..Message::default() };
                let _ = self.socket.send(&ack.encode());
            }
            let Some(asked) = &mut self.asked else { continue };
            if message.code == 0 {
                if message.kind == wire::ACK && message.mid == asked.mid {
                    (asked.separate, asked.since) = (true, now);
                }
            } else if message.token == asked.mid.to_be_bytes() {
                answer = Some(message);
                self.asked = None;
            }
        }
        if let Some(asked) = &mut self.asked {
            let pause = if asked.separate { SEPARATE } else { RETRY };
            if now >= asked.since + pause {
                if asked.separate || asked.tries > TRIES {
                    self.asked = None;
                    return Err("nobody answers".into());
                }
                asked.tries += 1;
                asked.since = now;
                let _ = self.socket.send(&asked.bytes);
            }
        }
        Ok(answer)
    }
}

/// The device; its topic is the stream's name.
#[derive(Debug)]
pub(super) struct Publisher {
    exchange: Exchange,
    method: u8,
    stream: StreamId,
    rate: f64,
    sent: u64,
    /// What is not answered.
    number: Option<u32>,
}

impl Publisher {
    pub(super) fn new(gateway: SocketAddr, method: u8, stream: StreamId, rate: f64) -> Publisher {
        let exchange = Exchange::new(gateway);
        Publisher { exchange, method, stream, rate, sent: 0, number: None }
    }
}

impl Actor for Publisher {
    fn turn(&mut self, turn: &Turn, ledger: &mut Ledger) {
        match (self.exchange.turn(turn.now), self.number) {
            (Ok(Some(answer)), Some(number)) => {
                if answer.code >> 5 == 2 {
                    ledger.acked(self.stream, number);
                } else {
                    ledger.fault(format!("{}: {answer:?}", ledger.name(self.stream)));
                }
                self.number = None;
            }
            (Err(error), _) if error != "nobody answers" => {
                ledger.fault(format!("{}: {error}", ledger.name(self.stream)));
            }
            _ => {}
        }
        if !self.exchange.is_idle() {
            return;
        }
        if self.number.is_none() && turn.is_due(self.rate, self.sent) {
            self.sent += 1;
            self.number = Some(ledger.next(self.stream));
        }
        if let Some(number) = self.number {
            let payload = Ledger::payload(self.stream, number);
            let topic = ledger.name(self.stream).to_owned();
            self.exchange.ask(turn.now, self.method, &topic, payload);
        }
    }

    fn is_ready(&self) -> bool {
        true
    }

    fn is_settled(&self, _: &Ledger) -> bool {
        self.number.is_none()
    }
}
