//! [`Sleepers`]: what passes between the gateway and each MQTT-SN client, seen at the gateway's socket,
//! and the rules for sleepers (MQTT-SN 1.2 §6.14): nothing is sent to one outside its awake window,
//! and PINGRESP comes after everything that was queued.

use super::model::{Model, MsgId};
use super::sn_wire::{self as wire, Packet};

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Unknown,
    /// The answer to its DISCONNECT has not left; with what it will be awake for, if it has woken.
    FallingAsleep(Option<Vec<MsgId>>, u64),
    Asleep,
    Awake {
        owed: Vec<MsgId>,
        since: u64,
        sent: u32,
    },
}

/// PUBRECs of one client that are not answered: the PUBREL waits for the store, also when the client
/// has fallen asleep meanwhile.
#[derive(Debug, Clone, Default)]
pub struct Received(Vec<u16>);

impl Received {
    /// A datagram of the client reached the gateway.
    pub fn upward(&mut self, packet: &Packet) {
        match packet {
            Packet::Flow(wire::PUBREC, msg_id) => self.0.push(*msg_id),
            // What was to be answered before is answered before this is.
            Packet::Connect { .. } | Packet::Disconnect(_) | Packet::PingReq(_) => self.0.clear(),
            _ => {}
        }
    }

    /// A PUBREL to the client; whether it answers.
    pub fn answers(&mut self, msg_id: u16) -> bool {
        let place = self.0.iter().position(|received| *received == msg_id);
        place.map(|at| self.0.swap_remove(at)).is_some()
    }
}

/// The gateway's view of every MQTT-SN client.
#[derive(Debug)]
pub struct Sleepers {
    states: Vec<State>,
    received: Vec<Received>,
    /// Most messages that may have waited for a sleeper.
    pub bound: u32,
}

impl Sleepers {
    /// Nobody sleeps.
    #[must_use]
    pub fn new(clients: usize, bound: u32) -> Self {
        let received = vec![Received::default(); clients];
        Sleepers { states: vec![State::Unknown; clients], received, bound }
    }

    /// A datagram of a client reached the gateway.
    pub fn upward(&mut self, client: usize, bytes: &[u8], model: &Model) {
        let state = &mut self.states[client];
        let Ok(packet) = wire::decode(bytes) else { return };
        self.received[client].upward(&packet);
        match (packet, &*state) {
            (Packet::Disconnect(Some(secs)), _) if secs > 0 => {
                *state = State::FallingAsleep(None, model.tick);
            }
            (Packet::PingReq(id), State::FallingAsleep(None, _)) if !id.is_empty() => {
                *state = State::FallingAsleep(Some(model.queued(client)), model.tick);
            }
            (Packet::PingReq(id), State::Asleep) if !id.is_empty() => {
                let owed = model.queued(client);
                *state = State::Awake { owed, since: model.tick, sent: 0 };
            }
            (Packet::Connect { .. } | Packet::Disconnect(_), _) => *state = State::Unknown,
            _ => {}
        }
    }

    /// The gateway sends a datagram to a client.
    ///
    /// # Errors
    /// The rule that is broken.
    pub fn downward(&mut self, client: usize, bytes: &[u8], model: &Model) -> Result<(), String> {
        let packet = wire::decode(bytes).map_err(|e| format!("malformed to sn-c{client}: {e}"))?;
        let bound = self.bound;
        let state = &mut self.states[client];
        let answers = match packet {
            Packet::Flow(wire::PUBREL, msg_id) => self.received[client].answers(msg_id),
            _ => false,
        };
        match (&packet, &mut *state) {
            (Packet::Disconnect(_), State::FallingAsleep(owed, since)) => {
                *state = match owed.take() {
                    Some(owed) => State::Awake { owed, since: *since, sent: 0 },
                    None => State::Asleep,
                };
            }
            (Packet::Disconnect(_), _) => *state = State::Unknown,
            (Packet::PingResp, State::Awake { owed, .. }) => {
                let missing =
                    owed.iter().find(|id| !model.has(client, **id) && model.wants(client, **id));
                // What stands behind a damaged entry may come late.
                if let Some(id) = missing.filter(|_| !model.damaged) {
                    return Err(format!("PINGRESP to sn-c{client} before message {id}"));
                }
                *state = State::Asleep;
            }
            (Packet::Publish { payload, flags, .. }, State::Awake { since, sent, .. }) => {
                let waited = model.begun(payload).is_some_and(|at| at < *since);
                if waited && flags & (wire::DUP | wire::RETAIN) == 0 {
                    *sent += 1;
                    if *sent > bound {
                        return Err(format!("{sent} messages had waited for sn-c{client}"));
                    }
                }
            }
            (
                Packet::Publish { .. } | Packet::Register { .. } | Packet::PingReq(_),
                State::Asleep,
            ) => {
                return Err(format!("{packet:?} to sn-c{client}, which is asleep"));
            }
            (Packet::Flow(wire::PUBREL, _), State::Asleep) if !answers => {
                return Err(format!("PUBREL to sn-c{client}, which is asleep"));
            }
            _ => {}
        }
        Ok(())
    }

    /// The gateway crashed; who was awake counts as asleep until it says something.
    pub fn crash(&mut self) {
        self.received.fill(Received::default());
        for state in &mut self.states {
            *state = match &*state {
                State::Awake { .. } => State::Asleep,
                State::FallingAsleep(..) => State::Unknown,
                other => other.clone(),
            };
        }
    }
}
