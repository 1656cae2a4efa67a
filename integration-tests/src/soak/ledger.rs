//! [`Ledger`]: what was acknowledged, what has arrived, and what may not happen.

use std::collections::{BTreeSet, HashSet};

use crate::sim::sleep::Received;
use crate::sim::sn_wire::{self as wire, Packet};

/// One direction of one device at one QoS: numbers 0, 1, 2… in the order of publishing.
#[derive(Debug, Default)]
pub(super) struct Lane {
    /// Numbers given out.
    pub(super) begun: u32,
    /// How many were acknowledged.
    acknowledged: u64,
    /// Those of them that have not arrived.
    owed: BTreeSet<u32>,
    arrived: HashSet<u32>,
    /// The highest that has arrived.
    last: Option<u32>,
}

impl Lane {
    /// The number of a new message.
    pub(super) fn begin(&mut self) -> u32 {
        self.begun += 1;
        self.begun - 1
    }

    pub(super) fn acknowledge(&mut self, number: u32) {
        self.acknowledged += 1;
        if !self.arrived.contains(&number) {
            self.owed.insert(number);
        }
    }

    /// A message arrives; `once` for QoS 2. `excused` is one that may come twice: its handshake was
    /// cut by a loss of power.
    pub(super) fn arrive(
        &mut self,
        number: u32,
        once: bool,
        excused: Option<u32>,
    ) -> Result<(), String> {
        if number >= self.begun {
            return Err(format!("{number} was never published"));
        }
        if !self.arrived.insert(number) {
            return match once && excused != Some(number) {
                true => Err(format!("{number} came twice at QoS 2")),
                false => Ok(()),
            };
        }
        self.owed.remove(&number);
        if self.last.is_some_and(|last| last > number) {
            return Err(format!("{number} comes for the first time after {:?}", self.last));
        }
        self.last = Some(number);
        Ok(())
    }

    /// The highest that has arrived.
    pub(super) fn last(&self) -> Option<u32> {
        self.last
    }

    /// Acknowledged, and not arrived.
    pub(super) fn owed(&self) -> impl Iterator<Item = u32> {
        self.owed.iter().copied()
    }

    pub(super) fn count(&self) -> u64 {
        self.acknowledged
    }
}

/// Where the gateway must think that a device stands.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
enum Stand {
    #[default]
    Unknown,
    /// The answer to its DISCONNECT has not left; with what was owed when its PINGREQ came, if it has
    /// woken.
    FallingAsleep(Option<[Vec<u32>; 2]>),
    Asleep,
    /// What was owed when its PINGREQ came, by QoS 1 and 2.
    Awake([Vec<u32>; 2]),
}

/// Everything about one device.
#[derive(Debug, Default)]
pub(super) struct Account {
    /// To the device, at QoS 1 and 2.
    pub(super) down: [Lane; 2],
    /// From the device, at QoS 1 and 2.
    pub(super) up: [Lane; 2],
    stand: Stand,
    received: Received,
}

impl Account {
    /// A datagram of the device reaches the gateway.
    pub(super) fn upward(&mut self, packet: &Packet) {
        self.received.upward(packet);
        match packet {
            Packet::Disconnect(Some(1..)) => self.stand = Stand::FallingAsleep(None),
            Packet::PingReq(id) if !id.is_empty() => {
                let owed = self.down.each_ref().map(|lane| lane.owed().collect());
                match self.stand {
                    Stand::Asleep => self.stand = Stand::Awake(owed),
                    Stand::FallingAsleep(None) => self.stand = Stand::FallingAsleep(Some(owed)),
                    _ => {}
                }
            }
            Packet::Connect { .. } | Packet::Disconnect(_) => self.stand = Stand::Unknown,
            _ => {}
        }
    }

    /// The gateway sends a datagram to the device.
    pub(super) fn downward(&mut self, packet: &Packet) -> Result<(), String> {
        let answers = match packet {
            Packet::Flow(wire::PUBREL, msg_id) => self.received.answers(*msg_id),
            _ => false,
        };
        match (packet, &self.stand) {
            (Packet::Disconnect(_), Stand::FallingAsleep(owed)) => {
                self.stand = owed.clone().map_or(Stand::Asleep, Stand::Awake);
            }
            (Packet::Disconnect(_), _) => self.stand = Stand::Unknown,
            (Packet::PingResp, Stand::Awake(owed)) => {
                for (lane, owed) in self.down.iter().zip(owed) {
                    if let Some(number) = owed.iter().find(|n| !lane.arrived.contains(n)) {
                        return Err(format!("PINGRESP before message {number}, which waited"));
                    }
                }
                self.stand = Stand::Asleep;
            }
            (
                Packet::Publish { .. } | Packet::Register { .. } | Packet::PingReq(_),
                Stand::Asleep,
            ) => {
                return Err(format!("{packet:?} although it is asleep"));
            }
            (Packet::Flow(wire::PUBREL, _), Stand::Asleep) if !answers => {
                return Err("PUBREL although it is asleep".into());
            }
            _ => {}
        }
        Ok(())
    }

    /// The gateway crashed: who was awake counts as asleep until it says something.
    pub(super) fn crash(&mut self) {
        self.received = Received::default();
        self.stand = match std::mem::take(&mut self.stand) {
            Stand::Awake(_) => Stand::Asleep,
            Stand::FallingAsleep(_) => Stand::Unknown,
            other => other,
        };
    }
}
