//! [`Sleepers`]: what passes between the gateway and each MQTT-SN client, seen at the gateway's socket,
//! and the rules for sleepers (MQTT-SN 1.2 §6.14): nothing is sent to one outside its awake window,
//! and PINGRESP comes after everything that was queued.

use super::model::{Model, MsgId};
use super::sn_wire::{self as wire, Packet};

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Unknown,
    FallingAsleep,
    Asleep,
    Awake { owed: Vec<MsgId>, since: u64, sent: u32 },
}

/// The gateway's view of every MQTT-SN client.
#[derive(Debug)]
pub struct Sleepers {
    states: Vec<State>,
    /// Most messages that may have waited for a sleeper.
    pub bound: u32,
}

impl Sleepers {
    /// Nobody sleeps.
    #[must_use]
    pub fn new(clients: usize, bound: u32) -> Self {
        Sleepers { states: vec![State::Unknown; clients], bound }
    }

    /// A datagram of a client reached the gateway.
    pub fn upward(&mut self, client: usize, bytes: &[u8], model: &Model) {
        let state = &mut self.states[client];
        match (wire::decode(bytes), &*state) {
            (Ok(Packet::Disconnect(Some(secs))), _) if secs > 0 => {
                *state = State::FallingAsleep;
            }
            (Ok(Packet::PingReq(id)), State::Asleep) if !id.is_empty() => {
                let owed = model.queued(client);
                *state = State::Awake { owed, since: model.tick, sent: 0 };
            }
            (Ok(Packet::Connect { .. } | Packet::Disconnect(_)), _) => *state = State::Unknown,
            _ => {}
        }
    }

    /// The gateway sends a datagram to a client; `answering`: in the turn in which it read one of
    /// the same client.
    ///
    /// # Errors
    /// The rule that is broken.
    pub fn downward(
        &mut self,
        client: usize,
        bytes: &[u8],
        answering: bool,
        model: &Model,
    ) -> Result<(), String> {
        let packet = wire::decode(bytes).map_err(|e| format!("malformed to sn-c{client}: {e}"))?;
        let bound = self.bound;
        let state = &mut self.states[client];
        match (&packet, &mut *state) {
            (Packet::Disconnect(_), State::FallingAsleep) => *state = State::Asleep,
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
            (Packet::Flow(wire::PUBREL, _), State::Asleep) if !answering => {
                return Err(format!("PUBREL to sn-c{client}, which is asleep"));
            }
            _ => {}
        }
        Ok(())
    }

    /// The gateway crashed; who was awake counts as asleep until it says something.
    pub fn crash(&mut self) {
        for state in &mut self.states {
            *state = match &*state {
                State::Awake { .. } => State::Asleep,
                State::FallingAsleep => State::Unknown,
                other => other.clone(),
            };
        }
    }
}
