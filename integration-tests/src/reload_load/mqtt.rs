//! MQTT clients of the load: publishers with a window, subscribers, and one that is cut off now
//! and then and comes back for its session.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::load::actor::{Actor, Turn};
use crate::load::ledger::{Ledger, StreamId};
use crate::load::link::Link;
use crate::sim::mqtt_wire::{self as wire, Packet};

/// Most messages that wait for PUBACK.
const WINDOW: usize = 100;
/// So long before its cut a client takes in nothing more: what comes then must come again.
const DEAF: Duration = Duration::from_millis(40);

/// One that publishes at QoS 1.
#[derive(Debug)]
pub(super) struct Publisher {
    name: String,
    link: Option<Link>,
    ready: bool,
    feeds: Vec<Feed>,
    next_pid: u16,
    waiting: VecDeque<(u16, StreamId, u32)>,
}

/// What it publishes.
#[derive(Debug)]
pub(super) struct Feed {
    pub(super) stream: StreamId,
    pub(super) topic: &'static str,
    /// A second.
    pub(super) rate: f64,
    pub(super) retain: bool,
    pub(super) sent: u64,
}

impl Feed {
    pub(super) fn new(stream: StreamId, topic: &'static str, rate: f64, retain: bool) -> Feed {
        Feed { stream, topic, rate, retain, sent: 0 }
    }
}

impl Publisher {
    pub(super) fn new(gateway: SocketAddr, name: &str, v5: bool, feeds: Vec<Feed>) -> Publisher {
        let link = Link::open(gateway, v5, name, true).expect("the gateway listens");
        let name = name.to_owned();
        let waiting = VecDeque::new();
        Publisher { name, link: Some(link), ready: false, feeds, next_pid: 0, waiting }
    }

    fn publish(&mut self, turn: &Turn, ledger: &mut Ledger) {
        let Some(link) = &mut self.link else { return };
        for feed in &mut self.feeds {
            while self.waiting.len() < WINDOW && turn.is_due(feed.rate, feed.sent) {
                feed.sent += 1;
                let number = ledger.next(feed.stream);
                self.next_pid = self.next_pid % u16::MAX + 1;
                self.waiting.push_back((self.next_pid, feed.stream, number));
                let payload = Ledger::payload(feed.stream, number);
                let flags = (false, feed.retain);
                let bytes = wire::publish(link.v5, feed.topic, &payload, 1, flags, self.next_pid);
                link.output.extend(bytes);
            }
        }
    }

    fn take(&mut self, packet: &Packet, ledger: &mut Ledger) {
        match packet {
            Packet::ConnAck { code: 0, .. } => self.ready = true,
            Packet::Ack(wire::PUBACK, pid, code) if *code < 0x80 => {
                match self.waiting.iter().position(|(waiting, ..)| waiting == pid) {
                    Some(at) => {
                        let waiting = self.waiting.remove(at);
                        let (_, stream, number) = waiting.expect("it was found there");
                        ledger.acked(stream, number);
                    }
                    None => ledger.fault(format!("{}: PUBACK {pid} for nothing", self.name)),
                }
            }
            other => ledger.fault(format!("{}: {other:?}", self.name)),
        }
    }
}

impl Actor for Publisher {
    fn turn(&mut self, turn: &Turn, ledger: &mut Ledger) {
        let Some(link) = &mut self.link else { return };
        let (packets, over) = link.read();
        for packet in &packets {
            self.take(packet, ledger);
        }
        if let Some(error) = over {
            ledger.fault(format!("{}: connection lost: {error}", self.name));
            self.link = None;
        }
        if self.ready {
            self.publish(turn, ledger);
        }
        if let Some(Err(error)) = self.link.as_mut().map(Link::flush) {
            ledger.fault(format!("{}: connection lost: {error}", self.name));
            self.link = None;
        }
    }

    fn is_ready(&self) -> bool {
        self.ready
    }

    fn is_settled(&self, _: &Ledger) -> bool {
        self.waiting.is_empty()
    }
}

/// One that subscribes at QoS 1.
#[derive(Debug)]
pub(super) struct Subscriber {
    name: String,
    gateway: SocketAddr,
    v5: bool,
    filters: Vec<(String, u8)>,
    receiver: usize,
    link: Option<Link>,
    subscribed: bool,
    /// Cut off so often, and stays away so long.
    cuts: Option<(Duration, Duration)>,
    next_cut: Option<Instant>,
    back_at: Option<Instant>,
    away: bool,
    deaf: bool,
}

impl Subscriber {
    pub(super) fn new(
        gateway: SocketAddr,
        (name, v5): (&str, bool),
        filters: &[&str],
        receiver: usize,
        cuts: Option<(Duration, Duration)>,
    ) -> Subscriber {
        let link = Link::open(gateway, v5, name, cuts.is_none()).expect("the gateway listens");
        Subscriber {
            name: name.to_owned(),
            gateway,
            v5,
            filters: filters.iter().map(|filter| ((*filter).to_owned(), 1)).collect(),
            receiver,
            link: Some(link),
            subscribed: false,
            cuts,
            next_cut: None,
            back_at: None,
            away: false,
            deaf: false,
        }
    }

    fn take(&mut self, packet: Packet, ledger: &mut Ledger) {
        let Some(link) = &mut self.link else { return };
        match packet {
            Packet::ConnAck { code: 0, present, .. } if self.subscribed => {
                self.away = false;
                ledger.resumed += 1;
                if !present {
                    ledger.fault(format!("{}: its session is lost", self.name));
                }
            }
            Packet::ConnAck { code: 0, .. } => {
                link.output.extend(wire::subscribe(link.v5, 1, &self.filters));
            }
            Packet::SubAck(1, codes) if codes.iter().all(|code| *code == 1) => {
                self.subscribed = true;
            }
            Packet::Publish { qos: 1, .. } if self.deaf => ledger.unheard += 1,
            Packet::Publish { qos: 1, pid, payload, .. } => {
                link.output.extend(wire::ack(wire::PUBACK, pid));
                ledger.came(self.receiver, &payload);
            }
            other => ledger.fault(format!("{}: {other:?}", self.name)),
        }
    }

    /// Goes without a word, and comes back for its session.
    fn come_and_go(&mut self, turn: &Turn, ledger: &mut Ledger) {
        let Some((every, away)) = self.cuts.filter(|_| self.subscribed) else { return };
        let next = *self.next_cut.get_or_insert(turn.now + every);
        // Whoever has become deaf must go, also when no more is published.
        let goes = self.deaf || turn.publishing;
        self.deaf = self.link.is_some() && goes && turn.now + DEAF >= next;
        if self.deaf && turn.now >= next {
            (self.link, self.away, self.deaf) = (None, true, false);
            self.next_cut = Some(turn.now + every);
            self.back_at = Some(turn.now + away);
        }
        if self.link.is_none() && self.back_at.is_some_and(|at| turn.now >= at) {
            self.back_at = None;
            match Link::open(self.gateway, self.v5, &self.name, false) {
                Ok(link) => self.link = Some(link),
                Err(error) => ledger.fault(format!("{}: no way back: {error}", self.name)),
            }
        }
    }
}

impl Actor for Subscriber {
    fn turn(&mut self, turn: &Turn, ledger: &mut Ledger) {
        self.come_and_go(turn, ledger);
        let Some(link) = &mut self.link else { return };
        let (packets, mut over) = link.read();
        packets.into_iter().for_each(|packet| self.take(packet, ledger));
        if let Some(Err(error)) = self.link.as_mut().map(Link::flush) {
            over = Some(error);
        }
        if let Some(error) = over {
            ledger.fault(format!("{}: connection lost: {error}", self.name));
            self.link = None;
        }
    }

    fn is_ready(&self) -> bool {
        self.subscribed
    }

    fn is_settled(&self, _: &Ledger) -> bool {
        !self.away && !self.deaf
    }
}
