//! MQTT-SN clients with durable sessions: publishers by predefined and by registered id, subscribers
//! awake and asleep. A topic id that was once given out means the same for ever.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use super::victim::{OWN_ID, PREDEFINED};
use crate::load::actor::{Actor, Turn, datagrams, socket};
use crate::load::ledger::{Ledger, StreamId};
use crate::load::sn::{BY_ID, Of, State, msg_id};
use crate::sim::sn_wire::{self as wire, Packet};

/// An answer is waited for so long, then the packet is sent again.
const RETRY: Duration = Duration::from_millis(80);
/// After so many times the client connects anew.
const TRIES: u32 = 3;
/// What a sleeper does in between.
const NAP: Duration = Duration::from_millis(150);
/// How often an awake subscriber asks whether the gateway is there.
const PING: Duration = Duration::from_millis(100);

/// The topic ids that a client was told.
#[derive(Debug, Default)]
struct Ids {
    names: BTreeMap<u16, String>,
}

impl Ids {
    fn learn(&mut self, id: &str, tid: u16, name: &str, ledger: &mut Ledger) {
        match self.names.get(&tid) {
            Some(before) if before != name => {
                ledger.fault(format!("{id}: topic id {tid} meant {before} and means {name} now"));
            }
            _ if matches!(tid, 0 | 0xffff) => ledger.fault(format!("{id}: topic id {tid}")),
            _ => drop(self.names.insert(tid, name.to_owned())),
        }
    }

    fn of(&self, name: &str) -> Option<u16> {
        self.names.iter().find(|(_, known)| *known == name).map(|(tid, _)| *tid)
    }

    fn name(&self, kind: u8, tid: u16) -> Option<&str> {
        if kind == BY_ID {
            return PREDEFINED.iter().find(|(id, _)| *id == tid).map(|(_, name)| *name);
        }
        self.names.get(&tid).map(String::as_str)
    }
}

/// What has been sent and is not answered.
#[derive(Debug)]
struct Asked {
    bytes: Vec<u8>,
    since: Instant,
    tries: u32,
}

/// A PUBLISH whose exchange is not over.
#[derive(Debug)]
struct Message {
    mid: u16,
    number: u32,
    bytes: Vec<u8>,
    released: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Doing {
    Nothing,
    Connect,
    Register(u16),
    Publish,
}

/// One that publishes, one after the other.
#[derive(Debug)]
pub(super) struct Publisher {
    id: String,
    socket: UdpSocket,
    stream: StreamId,
    /// By its own predefined id, or by a name that it registers.
    named: bool,
    qos: u8,
    retain: bool,
    rate: f64,
    sent: u64,
    mid: u16,
    connected: bool,
    registered: bool,
    ids: Ids,
    doing: Doing,
    asked: Option<Asked>,
    message: Option<Message>,
}

impl Publisher {
    pub(super) fn new(
        gateway: SocketAddr,
        id: &str,
        stream: StreamId,
        (named, qos, retain): (bool, u8, bool),
        rate: f64,
    ) -> Publisher {
        Publisher {
            id: id.to_owned(),
            socket: socket(gateway),
            stream,
            named,
            qos,
            retain,
            rate,
            sent: 0,
            mid: 0,
            connected: false,
            registered: false,
            ids: Ids::default(),
            doing: Doing::Nothing,
            asked: None,
            message: None,
        }
    }

    fn ask(&mut self, turn: &Turn, doing: Doing, bytes: Vec<u8>) {
        // What does not leave is sent again.
        let _ = self.socket.send(&bytes);
        self.doing = doing;
        self.asked = Some(Asked { bytes, since: turn.now, tries: 1 });
    }

    fn done(&mut self) {
        (self.doing, self.asked) = (Doing::Nothing, None);
    }

    fn next_mid(&mut self) -> u16 {
        self.mid = self.mid % u16::MAX + 1;
        self.mid
    }

    /// Its session is to be found again.
    fn reconnect(&mut self) {
        self.done();
        (self.connected, self.registered) = (false, false);
    }

    fn take(&mut self, packet: &Packet, ledger: &mut Ledger) {
        let current = self.message.as_ref().map(|message| message.mid);
        match packet {
            Packet::ConnAck(0) if self.doing == Doing::Connect => {
                self.connected = true;
                self.done();
            }
            Packet::RegAck { tid, mid, code: 0 } if self.doing == Doing::Register(*mid) => {
                let name = ledger.name(self.stream).to_owned();
                self.ids.learn(&self.id, *tid, &name, ledger);
                if self.ids.of(&name) != Some(*tid) {
                    ledger.fault(format!("{}: {name} has another topic id, {tid}", self.id));
                }
                self.registered = true;
                self.done();
            }
            Packet::PubAck { mid, code: 0, .. } if self.qos == 1 && Some(*mid) == current => {
                self.finish(ledger);
            }
            Packet::Flow(wire::PUBREC, mid) if Some(*mid) == current => {
                let Some(message) = &mut self.message else { return };
                if !message.released {
                    message.released = true;
                    message.bytes = wire::flow(wire::PUBREL, *mid);
                    ledger.acked(self.stream, message.number);
                    self.done();
                }
            }
            Packet::Flow(wire::PUBCOMP, mid) if Some(*mid) == current => self.finish(ledger),
            // The answer to what was sent twice.
            Packet::ConnAck(0)
            | Packet::PubAck { code: 0, .. }
            | Packet::RegAck { code: 0, .. }
            | Packet::Flow(wire::PUBREC | wire::PUBCOMP, _) => {}
            Packet::Disconnect(None) => self.reconnect(),
            other => ledger.fault(format!("{}: {other:?}", self.id)),
        }
    }

    fn finish(&mut self, ledger: &mut Ledger) {
        if let Some(message) = self.message.take() {
            ledger.acked(self.stream, message.number);
        }
        self.done();
    }

    fn step(&mut self, turn: &Turn, ledger: &mut Ledger) {
        if let Some(asked) = &mut self.asked {
            if turn.now < asked.since + RETRY {
                return;
            }
            if asked.tries > TRIES && self.doing != Doing::Connect {
                self.reconnect();
            } else {
                asked.tries += 1;
                asked.since = turn.now;
                // A PUBLISH that is repeated.
                if asked.bytes.get(1) == Some(&0x0c) {
                    asked.bytes[2] |= wire::DUP;
                }
                let _ = self.socket.send(&asked.bytes);
            }
            return;
        }
        if !self.connected {
            let bytes = wire::connect(0, 60, &self.id);
            return self.ask(turn, Doing::Connect, bytes);
        }
        // After each reconnect it asks again: the answer must be the same.
        if self.named && !self.registered {
            let mid = self.next_mid();
            let bytes = wire::register(mid, ledger.name(self.stream));
            return self.ask(turn, Doing::Register(mid), bytes);
        }
        if let Some(message) = &self.message {
            let mut bytes = message.bytes.clone();
            if bytes.get(1) == Some(&0x0c) {
                bytes[2] |= wire::DUP;
            }
            return self.ask(turn, Doing::Publish, bytes);
        }
        if turn.is_due(self.rate, self.sent) {
            self.publish(turn, ledger);
        }
    }

    fn publish(&mut self, turn: &Turn, ledger: &mut Ledger) {
        self.sent += 1;
        let (mid, number) = (self.next_mid(), ledger.next(self.stream));
        let named = self.ids.of(ledger.name(self.stream)).filter(|_| self.named);
        let (kind, tid) = named.map_or((BY_ID, OWN_ID), |tid| (0, tid));
        let payload = Ledger::payload(self.stream, number);
        let retain = if self.retain { wire::RETAIN } else { 0 };
        let flags = wire::qos_bits(self.qos) | kind | retain;
        let bytes = wire::publish(flags, tid.to_be_bytes(), mid, &payload);
        self.message = Some(Message { mid, number, bytes: bytes.clone(), released: false });
        self.ask(turn, Doing::Publish, bytes);
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
        self.connected && (self.registered || !self.named)
    }

    fn is_settled(&self, _: &Ledger) -> bool {
        self.message.is_none()
    }
}

/// One that subscribes.
#[derive(Debug)]
pub(super) struct Subscriber {
    id: String,
    socket: UdpSocket,
    of: Vec<Of>,
    sleeper: bool,
    receiver: usize,
    subscribed: u8,
    ids: Ids,
    /// Message ids between PUBLISH and PUBREL at QoS 2.
    held: BTreeSet<u16>,
    state: State,
    asked_at: Option<Instant>,
    tries: u32,
    heard_at: Instant,
}

impl Subscriber {
    pub(super) fn new(
        gateway: SocketAddr,
        id: &str,
        of: &[Of],
        sleeper: bool,
        receiver: usize,
    ) -> Subscriber {
        Subscriber {
            id: id.to_owned(),
            socket: socket(gateway),
            of: of.to_vec(),
            sleeper,
            receiver,
            subscribed: 0,
            ids: Ids::default(),
            held: BTreeSet::new(),
            state: State::Connecting,
            asked_at: None,
            tries: 0,
            heard_at: Instant::now(),
        }
    }

    fn to(&mut self, state: State) {
        (self.state, self.asked_at, self.tries) = (state, None, 0);
    }

    /// Where it goes when it is let in.
    fn on(&mut self) {
        self.to(match self.sleeper {
            _ if usize::from(self.subscribed) < self.of.len() => {
                State::Subscribing(self.subscribed)
            }
            true => State::LyingDown,
            false => State::Active,
        });
    }

    fn send(&self, bytes: &[u8]) {
        let _ = self.socket.send(bytes);
    }

    fn take(&mut self, packet: &Packet, turn: &Turn, ledger: &mut Ledger) {
        match (packet, self.state) {
            (Packet::ConnAck(0), State::Connecting) => self.on(),
            (Packet::SubAck { code: 0, mid, tid, .. }, State::Subscribing(at)) => {
                if *mid != msg_id(at) {
                    return; // the one before, asked twice
                }
                if let Of::Name(name, _) = self.of[usize::from(at)]
                    && !name.contains(['+', '#'])
                {
                    self.ids.learn(&self.id, *tid, name, ledger);
                }
                self.subscribed = at + 1;
                self.on();
            }
            (Packet::Publish { flags, tid, mid, payload }, _) => {
                self.published(*flags, *tid, *mid, payload, ledger);
            }
            (Packet::Flow(wire::PUBREL, mid), _) => {
                self.held.remove(mid);
                self.send(&wire::flow(wire::PUBCOMP, *mid));
            }
            (Packet::Register { tid, mid, name }, _) => {
                self.ids.learn(&self.id, *tid, name, ledger);
                self.send(&wire::regack(*tid, *mid, 0));
            }
            (Packet::Disconnect(_), State::LyingDown) | (Packet::PingResp, State::Awake) => {
                self.to(State::Asleep { until: turn.now + NAP });
            }
            (Packet::PingResp, State::Active) => self.tries = 0,
            (Packet::PingReq(_), _) => self.send(&wire::packet(0x17, &[])),
            (Packet::Disconnect(_), State::Connecting) => {} // late
            (Packet::Disconnect(_), _) => self.to(State::Connecting),
            // What was asked twice is answered twice.
            (Packet::ConnAck(0) | Packet::SubAck { code: 0, .. } | Packet::PingResp, _) => {}
            (other, state) => ledger.fault(format!("{}: {other:?} while {state:?}", self.id)),
        }
    }

    fn published(&mut self, flags: u8, tid: u16, mid: u16, payload: &[u8], ledger: &mut Ledger) {
        let topic = self.ids.name(flags & 3, tid);
        let wanted = Ledger::read(payload).map(|(stream, _)| ledger.name(stream));
        if topic.is_none() || topic != wanted {
            let text = format!("{}: topic id {tid} is {topic:?}, not {wanted:?}", self.id);
            ledger.fault(text);
        }
        let answer = match wire::qos_of(flags) {
            1 => wire::puback(tid, mid, 0),
            2 => wire::flow(wire::PUBREC, mid),
            other => return ledger.fault(format!("{}: QoS {other}", self.id)),
        };
        if wire::qos_of(flags) == 1 || self.held.insert(mid) {
            ledger.came(self.receiver, payload);
        }
        self.send(&answer);
    }

    fn request(&self) -> Option<Vec<u8>> {
        match self.state {
            State::Active => Some(wire::ping("")),
            state => state.request(&self.id, &self.of, wire::connect(0, 60, &self.id)),
        }
    }
}

impl Actor for Subscriber {
    fn turn(&mut self, turn: &Turn, ledger: &mut Ledger) {
        for datagram in datagrams(&self.socket) {
            self.heard_at = turn.now;
            match wire::decode(&datagram) {
                Ok(packet) => self.take(&packet, turn, ledger),
                Err(error) => ledger.fault(format!("{}: {error}", self.id)),
            }
        }
        if matches!(self.state, State::Asleep { until } if turn.now >= until) {
            self.to(State::Awake);
        }
        // While messages come, the answer is on its way.
        let last = self.asked_at.map(|at| at.max(self.heard_at));
        let pause = if self.state == State::Active { PING } else { RETRY };
        let due = last.is_none_or(|at| turn.now >= at + pause);
        if let (true, Some(bytes)) = (due, self.request()) {
            self.send(&bytes);
            self.asked_at = Some(turn.now);
            self.tries += 1;
            if self.tries > TRIES && self.state != State::Connecting {
                self.to(State::Connecting);
            }
        }
    }

    fn is_ready(&self) -> bool {
        usize::from(self.subscribed) == self.of.len()
    }

    fn is_settled(&self, _: &Ledger) -> bool {
        true
    }
}
