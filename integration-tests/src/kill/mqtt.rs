//! An MQTT client with a durable session ([`Durable`]), and one that publishes at QoS 1 and 2
//! ([`Publisher`]).

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::load::actor::{Actor, Turn};
use crate::load::ledger::{Ledger, StreamId};
use crate::load::link::Link;
use crate::sim::mqtt_wire::{self as wire, Connect, Packet};

/// Most messages that wait for an acknowledgement.
const WINDOW: usize = 24;
/// Between two attempts to connect.
const PAUSE: Duration = Duration::from_millis(4);
/// An answer to CONNECT takes no longer.
const PATIENCE: Duration = Duration::from_secs(15);

/// A connection that comes back, and expects its session to be there.
#[derive(Debug)]
pub(super) struct Durable {
    pub(super) id: String,
    gateway: SocketAddr,
    v5: bool,
    link: Option<Link>,
    opened_at: Instant,
    again_at: Instant,
    /// CONNACK has come on this connection.
    pub(super) up: bool,
    /// A CONNACK has once promised the session.
    known: bool,
    /// Stays away when it is down.
    pub(super) away: bool,
    /// Topic, delay of the will of the next connection; its payload.
    pub(super) will: Option<(String, Vec<u8>, u8, u32)>,
}

/// What has become of the connection.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Change {
    None,
    Up,
    Lost,
}

impl Durable {
    pub(super) fn new(gateway: SocketAddr, id: &str, v5: bool) -> Durable {
        let now = Instant::now();
        let id = id.to_owned();
        Durable {
            id,
            gateway,
            v5,
            link: None,
            opened_at: now,
            again_at: now,
            up: false,
            known: false,
            away: false,
            will: None,
        }
    }

    fn open(&mut self, now: Instant) {
        let will = self.will.as_ref();
        let connect = Connect {
            v5: self.v5,
            id: &self.id,
            expiry: 3_600,
            will: will.map(|(topic, payload, qos, _)| (topic.as_str(), payload.as_slice(), *qos)),
            will_delay: will.map_or(0, |(.., delay)| *delay),
            ..Connect::default()
        };
        self.opened_at = now;
        match Link::open_with(self.gateway, &connect) {
            Ok(link) => self.link = Some(link),
            Err(_) => self.again_at = now + PAUSE,
        }
    }

    /// Cuts the connection without a word.
    pub(super) fn cut(&mut self) {
        (self.link, self.up) = (None, false);
    }

    pub(super) fn send(&mut self, bytes: Vec<u8>) {
        if let Some(link) = &mut self.link {
            link.output.extend(bytes);
        }
    }

    /// Connects if it must; everything that has come but the CONNACK.
    pub(super) fn turn(&mut self, now: Instant, ledger: &mut Ledger) -> (Change, Vec<Packet>) {
        if self.link.is_none() && !self.away && now >= self.again_at {
            self.open(now);
        }
        let Some(link) = &mut self.link else { return (Change::None, Vec::new()) };
        let _ = link.flush();
        let (mut packets, over) = link.read();
        let mut change = Change::None;
        if !self.up && !packets.is_empty() {
            change = self.greeted(packets.remove(0), ledger);
        }
        if !self.up && now > self.opened_at + PATIENCE {
            ledger.fault(format!("{}: no CONNACK", self.id));
            self.cut();
            return (Change::Lost, packets);
        }
        if let Some(error) = over {
            if error.starts_with("nonsense") {
                ledger.fault(format!("{}: {error}", self.id));
            }
            self.cut();
            self.again_at = now + PAUSE;
            // What came before the end counts; what is to be answered cannot be any more.
            return (Change::Lost, packets);
        }
        (change, packets)
    }

    fn greeted(&mut self, packet: Packet, ledger: &mut Ledger) -> Change {
        match packet {
            Packet::ConnAck { present, code: 0, .. } => {
                if self.known && !present {
                    ledger.fault(format!("{}: its session is lost", self.id));
                }
                ledger.resumed += u64::from(present);
                (self.known, self.up) = (true, true);
                Change::Up
            }
            other => {
                ledger.fault(format!("{}: {other:?} first", self.id));
                Change::None
            }
        }
    }

    pub(super) fn flush(&mut self) {
        if let Some(link) = &mut self.link {
            // A broken connection shows when it is read.
            let _ = link.flush();
        }
    }
}

/// What a publisher publishes.
#[derive(Debug)]
pub(super) struct Feed {
    pub(super) stream: StreamId,
    pub(super) qos: u8,
    /// A second.
    pub(super) rate: f64,
    pub(super) retain: bool,
    sent: u64,
}

impl Feed {
    pub(super) fn new(stream: StreamId, qos: u8, rate: f64, retain: bool) -> Feed {
        Feed { stream, qos, rate, retain, sent: 0 }
    }
}

#[derive(Debug)]
struct Waiting {
    pid: u16,
    feed: usize,
    number: u32,
    released: bool,
}

/// One that publishes; the topic is the stream's name.
#[derive(Debug)]
pub(super) struct Publisher {
    client: Durable,
    v5: bool,
    feeds: Vec<Feed>,
    next_pid: u16,
    waiting: VecDeque<Waiting>,
}

impl Publisher {
    pub(super) fn new(gateway: SocketAddr, id: &str, v5: bool, feeds: Vec<Feed>) -> Publisher {
        let client = Durable::new(gateway, id, v5);
        Publisher { client, v5, feeds, next_pid: 0, waiting: VecDeque::new() }
    }

    fn packet(&self, waiting: &Waiting, dup: bool, ledger: &Ledger) -> Vec<u8> {
        if waiting.released {
            return wire::ack(wire::PUBREL, waiting.pid);
        }
        let feed = &self.feeds[waiting.feed];
        let payload = Ledger::payload(feed.stream, waiting.number);
        let (topic, flags) = (ledger.name(feed.stream), (dup, feed.retain));
        wire::publish(self.v5, topic, &payload, feed.qos, flags, waiting.pid)
    }

    fn publish(&mut self, turn: &Turn, ledger: &mut Ledger) {
        for at in 0..self.feeds.len() {
            loop {
                let feed = &mut self.feeds[at];
                if self.waiting.len() >= WINDOW || !turn.is_due(feed.rate, feed.sent) {
                    break;
                }
                feed.sent += 1;
                let number = ledger.next(feed.stream);
                self.next_pid = self.next_pid % u16::MAX + 1;
                let waiting = Waiting { pid: self.next_pid, feed: at, number, released: false };
                let bytes = self.packet(&waiting, false, ledger);
                self.client.send(bytes);
                self.waiting.push_back(waiting);
            }
        }
    }

    fn take(&mut self, packet: &Packet, ledger: &mut Ledger) {
        let Packet::Ack(kind, pid, code) = *packet else {
            return ledger.fault(format!("{}: {packet:?}", self.client.id));
        };
        let at = self.waiting.iter().position(|waiting| waiting.pid == pid);
        let Some((at, waiting)) = at.and_then(|at| Some((at, self.waiting.get_mut(at)?))) else {
            return ledger.fault(format!("{}: {packet:?} for nothing", self.client.id));
        };
        let feed = &self.feeds[waiting.feed];
        // 0x92: our PUBREL was taken before the kill, its answer was not.
        let good = code < 0x80 || kind == wire::PUBCOMP && code == 0x92;
        let fits = match kind {
            wire::PUBACK => feed.qos == 1,
            wire::PUBREC => feed.qos == 2,
            _ => waiting.released,
        };
        if !good || !fits {
            return ledger.fault(format!("{}: {packet:?} for {waiting:?}", self.client.id));
        }
        ledger.acked(feed.stream, waiting.number);
        if kind == wire::PUBREC {
            waiting.released = true;
            self.client.send(wire::ack(wire::PUBREL, pid));
        } else {
            self.waiting.remove(at);
        }
    }
}

impl Actor for Publisher {
    fn turn(&mut self, turn: &Turn, ledger: &mut Ledger) {
        let (change, packets) = self.client.turn(turn.now, ledger);
        if change == Change::Up {
            for waiting in &self.waiting {
                // [MQTT-4.4.0-1]
                let bytes = self.packet(waiting, true, ledger);
                self.client.send(bytes);
            }
        }
        packets.iter().for_each(|packet| self.take(packet, ledger));
        if self.client.up {
            self.publish(turn, ledger);
        }
        self.client.flush();
    }

    fn is_ready(&self) -> bool {
        self.client.up
    }

    fn is_settled(&self, _: &Ledger) -> bool {
        self.client.up && self.waiting.is_empty()
    }
}
