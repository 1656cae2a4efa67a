//! An MQTT client that subscribes with a durable session: it stays, or is mostly away.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::mqtt::{Change, Durable};
use crate::load::actor::{Actor, Turn};
use crate::load::ledger::Ledger;
use crate::sim::mqtt_wire::{self as wire, Packet};

/// So long before it goes it takes in nothing more: what comes then must come again.
const DEAF: Duration = Duration::from_millis(15);

/// How long it stays, how long it is away.
#[derive(Debug, Clone, Copy)]
pub(super) struct Visits {
    pub(super) stay: Duration,
    pub(super) away: Duration,
}

/// One that subscribes at QoS 2.
#[derive(Debug)]
pub(super) struct Subscriber {
    client: Durable,
    v5: bool,
    filter: String,
    receiver: usize,
    subscribed: bool,
    /// Packet identifiers between PUBLISH and PUBREL at QoS 2: the client's durable state.
    held: BTreeSet<u16>,
    visits: Option<Visits>,
    /// Goes then, or comes.
    next: Option<Instant>,
    deaf: bool,
}

impl Subscriber {
    pub(super) fn new(
        gateway: SocketAddr,
        (id, v5): (&str, bool),
        filter: &str,
        receiver: usize,
        visits: Option<Visits>,
    ) -> Subscriber {
        Subscriber {
            client: Durable::new(gateway, id, v5),
            v5,
            filter: filter.to_owned(),
            receiver,
            subscribed: false,
            held: BTreeSet::new(),
            visits,
            next: None,
            deaf: false,
        }
    }

    fn take(&mut self, packet: Packet, ledger: &mut Ledger) {
        match packet {
            Packet::SubAck(_, codes) if codes == [2] => self.subscribed = true,
            Packet::Publish { .. } | Packet::Ack(..) if self.deaf => ledger.unheard += 1,
            Packet::Publish { qos: 0, .. } => {
                ledger.fault(format!("{}: {packet:?}", self.client.id));
            }
            Packet::Publish { qos, pid, ref payload, ref topic, .. } => {
                let named = Ledger::read(payload).map(|(stream, _)| ledger.name(stream) == topic);
                if named != Some(true) {
                    return ledger.fault(format!("{}: {packet:?}", self.client.id));
                }
                if qos == 1 || self.held.insert(pid) {
                    ledger.came(self.receiver, payload);
                }
                let kind = if qos == 1 { wire::PUBACK } else { wire::PUBREC };
                self.client.send(wire::ack(kind, pid));
            }
            Packet::Ack(wire::PUBREL, pid, 0 | 0x92) => {
                self.held.remove(&pid);
                self.client.send(wire::ack(wire::PUBCOMP, pid));
            }
            other => ledger.fault(format!("{}: {other:?}", self.client.id)),
        }
    }

    fn come_and_go(&mut self, turn: &Turn) {
        let Some(visits) = self.visits.filter(|_| self.subscribed && turn.publishing) else {
            // When nothing more is published everybody stays.
            self.client.away = false;
            self.deaf = false;
            return;
        };
        let next = *self.next.get_or_insert(turn.now + visits.stay);
        if self.client.away {
            if turn.now >= next {
                self.client.away = false;
                self.next = None;
            }
            return;
        }
        if !self.client.up {
            self.next = None; // a visit begins when it is let in
        }
        self.deaf = self.client.up && turn.now + DEAF >= next;
        if self.client.up && turn.now >= next {
            self.client.cut();
            self.client.away = true;
            self.deaf = false;
            self.next = Some(turn.now + visits.away);
        }
    }
}

impl Actor for Subscriber {
    fn turn(&mut self, turn: &Turn, ledger: &mut Ledger) {
        self.come_and_go(turn);
        let (change, packets) = self.client.turn(turn.now, ledger);
        if change == Change::Up && !self.subscribed {
            let filters = [(self.filter.clone(), 2)];
            self.client.send(wire::subscribe(self.v5, 1, &filters));
        }
        packets.into_iter().for_each(|packet| self.take(packet, ledger));
        self.client.flush();
    }

    fn is_ready(&self) -> bool {
        self.subscribed
    }

    fn is_settled(&self, _: &Ledger) -> bool {
        self.client.up && self.held.is_empty()
    }
}
