//! MQTT-SN clients of the load: publishers by number and by registered name, subscribers awake and
//! asleep, and the one whose registered name changes its meaning.

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use crate::load::actor::{Actor, Turn, datagrams, socket};
use crate::load::ledger::{Ledger, StreamId};
use crate::load::sn::{BY_ID, Of, State, msg_id};
use crate::sim::sn_wire::{self as wire, Packet};

/// An answer is waited for so long, then the packet is sent again.
const RETRY: Duration = Duration::from_secs(1);
/// What a sleeper does in between.
const NAP: Duration = Duration::from_secs(1);
/// What a slow one takes to acknowledge a message.
const PAUSE: Duration = Duration::from_millis(47);
const PUBLISH_ID: u16 = 1;

/// What a publisher publishes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum To {
    /// Predefined id 1.
    Id,
    /// A name that it registers.
    Name(&'static str),
    /// The same; it means something else now and then, and the gateway says goodbye for that.
    Renamed(&'static str),
}

/// What has been sent and is not answered.
#[derive(Debug)]
struct Asked {
    bytes: Vec<u8>,
    since: Instant,
    /// The message, if it is one.
    message: Option<(StreamId, u32)>,
    mid: u16,
}

/// One that publishes at QoS 1, one after the other.
#[derive(Debug)]
pub(super) struct Publisher {
    id: String,
    socket: UdpSocket,
    to: To,
    tid: Option<u16>,
    ready: bool,
    stream: StreamId,
    rate: f64,
    sent: u64,
    mid: u16,
    asked: Option<Asked>,
}

impl Publisher {
    pub(super) fn new(
        gateway: SocketAddr,
        id: &str,
        to: To,
        stream: StreamId,
        rate: f64,
    ) -> Publisher {
        Publisher {
            id: id.to_owned(),
            socket: socket(gateway),
            to,
            tid: (to == To::Id).then_some(PUBLISH_ID),
            ready: false,
            stream,
            rate,
            sent: 0,
            mid: 0,
            asked: None,
        }
    }

    fn ask(&mut self, turn: &Turn, mid: u16, bytes: Vec<u8>, message: Option<(StreamId, u32)>) {
        // What does not leave is sent again.
        let _ = self.socket.send(&bytes);
        self.asked = Some(Asked { bytes, since: turn.now, message, mid });
    }

    fn next_mid(&mut self) -> u16 {
        self.mid = self.mid % u16::MAX + 1;
        self.mid
    }

    fn take(&mut self, packet: &Packet, ledger: &mut Ledger) {
        let mid = self.asked.as_ref().map(|asked| asked.mid);
        match packet {
            Packet::ConnAck(0) => {
                self.ready = true;
                self.asked = None;
            }
            Packet::RegAck { tid, mid: of, code: 0 } if Some(*of) == mid => {
                self.tid = Some(*tid);
                self.asked = None;
            }
            Packet::PubAck { mid: of, code: 0, .. } if Some(*of) == mid => {
                let message = self.asked.take().and_then(|asked| asked.message);
                let (stream, number) = message.expect("only a message has this id");
                ledger.acked(stream, number);
            }
            // The answer to what was sent twice.
            Packet::PubAck { code: 0, .. } | Packet::RegAck { code: 0, .. } => {}
            Packet::Disconnect(None) if matches!(self.to, To::Renamed(_)) => {
                ledger.renamed += 1;
                (self.ready, self.tid, self.asked) = (false, None, None);
            }
            other => ledger.fault(format!("{}: {other:?}", self.id)),
        }
    }

    fn step(&mut self, turn: &Turn, ledger: &mut Ledger) {
        if let Some(asked) = &mut self.asked {
            if turn.now >= asked.since + RETRY {
                if asked.message.is_some() {
                    asked.bytes[2] |= wire::DUP;
                }
                let _ = self.socket.send(&asked.bytes);
                asked.since = turn.now;
            }
            return;
        }
        if !self.ready {
            let bytes = wire::connect(wire::CLEAN, 600, &self.id);
            return self.ask(turn, 0, bytes, None);
        }
        let Some(tid) = self.tid else {
            let (To::Name(name) | To::Renamed(name)) = self.to else { return };
            let mid = self.next_mid();
            return self.ask(turn, mid, wire::register(mid, name), None);
        };
        if turn.is_due(self.rate, self.sent) {
            self.sent += 1;
            let (mid, number) = (self.next_mid(), ledger.next(self.stream));
            let kind = if self.to == To::Id { BY_ID } else { 0 };
            let payload = Ledger::payload(self.stream, number);
            let bytes = wire::publish(wire::qos_bits(1) | kind, tid.to_be_bytes(), mid, &payload);
            self.ask(turn, mid, bytes, Some((self.stream, number)));
        }
    }
}

impl Actor for Publisher {
    fn turn(&mut self, turn: &Turn, ledger: &mut Ledger) {
        for datagram in datagrams(&self.socket) {
            match wire::decode(&datagram) {
                Ok(packet) => self.take(&packet, ledger),
                Err(error) => ledger.fault(format!("{}: {error}", self.id)),
            }
        }
        self.step(turn, ledger);
    }

    fn is_ready(&self) -> bool {
        self.ready && self.tid.is_some()
    }

    fn is_settled(&self, _: &Ledger) -> bool {
        self.asked.is_none()
    }
}

/// How a subscriber behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    /// Acknowledges at once.
    Quick,
    /// Takes its time to acknowledge, so that messages wait behind the window of 1.
    Slow,
    /// Sleeps between two looks.
    Sleeper,
}

/// One that subscribes.
#[derive(Debug)]
pub(super) struct Subscriber {
    id: String,
    socket: UdpSocket,
    of: Vec<Of>,
    manner: Manner,
    receiver: usize,
    state: State,
    asked_at: Option<Instant>,
    /// Acknowledgements, and when they leave.
    owed: Vec<(Instant, Vec<u8>)>,
}

impl Subscriber {
    pub(super) fn new(
        gateway: SocketAddr,
        id: &str,
        of: &[Of],
        manner: Manner,
        receiver: usize,
    ) -> Subscriber {
        Subscriber {
            id: id.to_owned(),
            socket: socket(gateway),
            of: of.to_vec(),
            manner,
            receiver,
            state: State::Connecting,
            asked_at: None,
            owed: Vec::new(),
        }
    }

    fn to(&mut self, state: State) {
        (self.state, self.asked_at) = (state, None);
    }

    fn take(&mut self, packet: Packet, turn: &Turn, ledger: &mut Ledger) {
        match (packet, self.state) {
            (Packet::ConnAck(0), State::Connecting) => self.to(State::Subscribing(0)),
            (Packet::SubAck { code: 0, mid, .. }, State::Subscribing(at)) => {
                if mid != msg_id(at) {
                    return; // the one before, asked twice
                }
                self.to(match self.manner {
                    _ if usize::from(at + 1) < self.of.len() => State::Subscribing(at + 1),
                    Manner::Sleeper => State::LyingDown,
                    Manner::Quick | Manner::Slow => State::Active,
                });
            }
            (Packet::Publish { tid, mid, payload, .. }, state) => {
                if matches!(state, State::Asleep { .. }) {
                    ledger.fault(format!("{}: woken by a message", self.id));
                }
                let wait = if self.manner == Manner::Slow { PAUSE } else { Duration::ZERO };
                self.owed.push((turn.now + wait, wire::puback(tid, mid, 0)));
                ledger.came(self.receiver, &payload);
            }
            (Packet::Register { tid, mid, .. }, _) => {
                let _ = self.socket.send(&wire::regack(tid, mid, 0));
            }
            (Packet::Disconnect(_), State::LyingDown) | (Packet::PingResp, State::Awake) => {
                self.to(State::Asleep { until: turn.now + NAP });
            }
            // What was asked twice is answered twice.
            (Packet::ConnAck(0) | Packet::SubAck { code: 0, .. } | Packet::PingResp, _) => {}
            (other, state) => ledger.fault(format!("{}: {other:?} while {state:?}", self.id)),
        }
    }

    fn request(&self) -> Option<Vec<u8>> {
        self.state.request(&self.id, &self.of, wire::connect(wire::CLEAN, 600, &self.id))
    }
}

impl Actor for Subscriber {
    fn turn(&mut self, turn: &Turn, ledger: &mut Ledger) {
        for datagram in datagrams(&self.socket) {
            match wire::decode(&datagram) {
                Ok(packet) => self.take(packet, turn, ledger),
                Err(error) => ledger.fault(format!("{}: {error}", self.id)),
            }
        }
        for (_, puback) in self.owed.extract_if(.., |(at, _)| *at <= turn.now) {
            let _ = self.socket.send(&puback);
        }
        if matches!(self.state, State::Asleep { until } if turn.now >= until) {
            self.to(State::Awake);
        }
        // While messages come, the answer is on its way.
        let due = self.asked_at.is_none_or(|at| turn.now >= at + 3 * RETRY);
        if let (true, Some(bytes)) = (due, self.request()) {
            let _ = self.socket.send(&bytes);
            self.asked_at = Some(turn.now);
        }
    }

    fn is_ready(&self) -> bool {
        !matches!(self.state, State::Connecting | State::Subscribing(_))
    }

    fn is_settled(&self, _: &Ledger) -> bool {
        true
    }
}
