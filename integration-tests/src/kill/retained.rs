//! Those who look whether retained values are as new as what was acknowledged: by CoAP GET all the
//! time, and by an MQTT client that comes, subscribes and goes.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::coap::Exchange;
use crate::load::actor::{Actor, Turn};
use crate::load::ledger::{Ledger, StreamId};
use crate::load::link::Link;
use crate::sim::coap_wire::GET;
use crate::sim::mqtt_wire::{self as wire, Packet};

/// The values that were acknowledged last.
fn wanted(streams: &[StreamId], ledger: &Ledger) -> BTreeMap<StreamId, u32> {
    let last = streams.iter().map(|stream| Some((*stream, ledger.last_acked(*stream)?)));
    last.flatten().collect()
}

/// Asks for one value after the other.
#[derive(Debug)]
pub(super) struct Reader {
    exchange: Exchange,
    streams: Vec<StreamId>,
    next: usize,
    /// Asked for, and what it must be at least.
    asked: Option<(StreamId, Option<u32>)>,
    again_at: Instant,
}

impl Reader {
    pub(super) fn new(gateway: SocketAddr, streams: &[StreamId]) -> Reader {
        Reader {
            exchange: Exchange::new(gateway),
            streams: streams.to_vec(),
            next: 0,
            asked: None,
            again_at: Instant::now(),
        }
    }
}

impl Actor for Reader {
    fn turn(&mut self, turn: &Turn, ledger: &mut Ledger) {
        match (self.exchange.turn(turn.now), self.asked) {
            (Ok(Some(answer)), Some((stream, least))) => {
                let found = Ledger::read(&answer.payload).filter(|_| answer.code == 0x45);
                let fits = match (found, least) {
                    (Some((of, number)), least) => of == stream && Some(number) >= least,
                    (None, None) => answer.code == 0x84,
                    (None, Some(_)) => false,
                };
                if !fits {
                    let name = ledger.name(stream);
                    let text = format!("GET {name}: {answer:?}, {least:?} was acknowledged");
                    ledger.fault(text);
                }
                ledger.notifications += 1;
                self.asked = None;
                self.again_at = turn.now + Duration::from_millis(10);
            }
            (Err(_), _) => self.asked = None,
            _ => {}
        }
        if self.asked.is_none() && turn.since.is_some() && turn.now >= self.again_at {
            let stream = self.streams[self.next % self.streams.len()];
            self.next += 1;
            self.asked = Some((stream, ledger.last_acked(stream)));
            self.exchange.ask(turn.now, GET, ledger.name(stream), Vec::new());
        }
    }

    fn is_ready(&self) -> bool {
        true
    }

    fn is_settled(&self, _: &Ledger) -> bool {
        true
    }
}

/// Subscribes to `k/r/#` without a session, and wants all values.
#[derive(Debug)]
pub(super) struct Probe {
    gateway: SocketAddr,
    streams: Vec<StreamId>,
    link: Option<Link>,
    let_in: bool,
    /// What has not come yet, and must be at least this.
    wanted: BTreeMap<StreamId, u32>,
    subscribed_at: Option<Instant>,
    again_at: Instant,
    /// Times that everything was there.
    complete: u32,
    complete_at_end: bool,
}

impl Probe {
    pub(super) fn new(gateway: SocketAddr, streams: &[StreamId]) -> Probe {
        Probe {
            gateway,
            streams: streams.to_vec(),
            link: None,
            let_in: false,
            wanted: BTreeMap::new(),
            subscribed_at: None,
            again_at: Instant::now(),
            complete: 0,
            complete_at_end: false,
        }
    }

    fn take(&mut self, packet: &Packet, turn: &Turn, ledger: &mut Ledger) {
        let Some(link) = &mut self.link else { return };
        match packet {
            Packet::ConnAck { code: 0, .. } if !self.let_in => {
                self.let_in = true;
                self.wanted = wanted(&self.streams, ledger);
                self.subscribed_at = Some(turn.now);
                link.output.extend(wire::subscribe(true, 1, &[("k/r/#".into(), 0)]));
            }
            Packet::SubAck(..) => {}
            Packet::Publish { payload, retain, .. } => {
                let read = Ledger::read(payload);
                let Some((stream, number)) = read else {
                    return ledger.fault(format!("probe: {packet:?}"));
                };
                match self.wanted.get(&stream) {
                    Some(least) if *retain && number < *least => {
                        let name = ledger.name(stream);
                        let text = format!("probe: {name} is {number}, {least} was acknowledged");
                        ledger.fault(text);
                    }
                    _ => {}
                }
                self.wanted.remove(&stream);
            }
            other => ledger.fault(format!("probe: {other:?}")),
        }
    }

    fn go(&mut self, turn: &Turn) {
        (self.link, self.let_in, self.subscribed_at) = (None, false, None);
        self.again_at = turn.now + Duration::from_millis(40);
    }
}

impl Actor for Probe {
    fn turn(&mut self, turn: &Turn, ledger: &mut Ledger) {
        if self.link.is_none() && turn.since.is_some() && turn.now >= self.again_at {
            self.link = Link::open(self.gateway, true, "probe", true).ok();
            self.again_at = turn.now + Duration::from_millis(5);
        }
        let Some(link) = &mut self.link else { return };
        let _ = link.flush();
        let (packets, over) = link.read();
        packets.iter().for_each(|packet| self.take(packet, turn, ledger));
        if let Some(link) = &mut self.link {
            let _ = link.flush();
        }
        if over.is_some() {
            return self.go(turn);
        }
        let Some(since) = self.subscribed_at else { return };
        if self.wanted.is_empty() {
            self.complete += 1;
            self.complete_at_end = !turn.publishing;
            self.go(turn);
        } else if turn.now > since + Duration::from_secs(10) {
            let names: Vec<&str> = self.wanted.keys().map(|stream| ledger.name(*stream)).collect();
            ledger.fault(format!("probe: no retained value of {names:?}"));
            self.go(turn);
        }
    }

    fn is_ready(&self) -> bool {
        true
    }

    fn is_settled(&self, _: &Ledger) -> bool {
        self.complete_at_end
    }
}
