//! [`Operator`]: an MQTT 5 client that keeps its session, sends commands to devices and hears their
//! readings. Its stream neither loses nor delays; it breaks when the gateway crashes.

use std::collections::{HashMap, VecDeque};

use crate::sim::mqtt_wire::{self as wire, Connect, Packet};

/// A command: to which device, at QoS 1 (lane 0) or 2, its number.
pub(super) type Command = (usize, usize, u32);

/// No matching subscribers: the device has not subscribed yet.
const NOBODY: u8 = 0x10;

#[derive(Debug)]
pub(super) struct Operator {
    pub(super) input: Vec<u8>,
    pub(super) output: Vec<u8>,
    /// CONNACK and SUBACK are there.
    ready: bool,
    quota: usize,
    next_id: u16,
    waiting: VecDeque<Command>,
    /// Sent, not finished, in order: id, command, whether PUBREC came.
    open: Vec<(u16, Command, bool)>,
    /// Ids of received QoS 2 messages that wait for PUBREL.
    held: HashMap<u16, ()>,
}

/// What the operator learns.
#[derive(Debug)]
pub(super) enum Told {
    /// The gateway owns the command.
    Acknowledged(Command),
    /// A reading: topic, payload.
    Reading(String, Vec<u8>),
}

impl Operator {
    pub(super) fn new() -> Operator {
        Operator {
            input: Vec::new(),
            output: Vec::new(),
            ready: false,
            quota: 0,
            next_id: 0,
            waiting: VecDeque::new(),
            open: Vec::new(),
            held: HashMap::new(),
        }
    }

    /// A new connection.
    pub(super) fn connect(&mut self) {
        self.input.clear();
        self.ready = false;
        let connect = Connect { v5: true, id: "operator", expiry: 86_400, ..Connect::default() };
        self.output = wire::connect(&connect);
    }

    pub(super) fn command(&mut self, command: Command) {
        self.waiting.push_back(command);
    }

    pub(super) fn is_idle(&self) -> bool {
        self.ready && self.waiting.is_empty() && self.open.is_empty()
    }

    /// Everything in `input`.
    pub(super) fn read(&mut self) -> Result<Vec<Told>, String> {
        let mut told = Vec::new();
        while let Some(packet) = wire::decode(true, &mut self.input)? {
            self.packet(packet, &mut told)?;
        }
        self.send();
        Ok(told)
    }

    fn packet(&mut self, packet: Packet, told: &mut Vec<Told>) -> Result<(), String> {
        match packet {
            Packet::ConnAck { code: 0, receive_maximum, present } => {
                if !present && !self.open.is_empty() {
                    return Err("the operator's session is gone".into());
                }
                self.quota = usize::from(receive_maximum);
                for (id, command, released) in &self.open {
                    let resent = match released {
                        true => wire::ack(wire::PUBREL, *id),
                        false => publish(*command, *id, true),
                    };
                    self.output.extend(resent);
                }
                self.output.extend(wire::subscribe(true, 1, &[("up/+".into(), 2)]));
            }
            Packet::SubAck(..) => self.ready = true,
            Packet::Ack(kind @ (wire::PUBACK | wire::PUBCOMP), id, code) => {
                let Some(at) = self.open.iter().position(|(open, ..)| *open == id) else {
                    return Ok(()); // of an earlier connection
                };
                if code >= 0x80 && kind == wire::PUBACK {
                    return Err(format!("a command was refused: {code:#x}"));
                }
                let (_, command, _) = self.open.remove(at);
                if kind == wire::PUBACK && code != NOBODY {
                    told.push(Told::Acknowledged(command));
                }
            }
            Packet::Ack(wire::PUBREC, id, code) => {
                if code >= 0x80 {
                    return Err(format!("a command was refused: {code:#x}"));
                }
                if let Some((_, command, released)) =
                    self.open.iter_mut().find(|(open, ..)| *open == id)
                    && !std::mem::replace(released, true)
                    && code != NOBODY
                {
                    told.push(Told::Acknowledged(*command));
                }
                self.output.extend(wire::ack(wire::PUBREL, id));
            }
            Packet::Ack(wire::PUBREL, id, _) => {
                self.held.remove(&id);
                self.output.extend(wire::ack(wire::PUBCOMP, id));
            }
            Packet::Publish { qos, topic, pid, payload, .. } => {
                let first = qos < 2 || self.held.insert(pid, ()).is_none();
                if first {
                    told.push(Told::Reading(topic, payload));
                }
                match qos {
                    1 => self.output.extend(wire::ack(wire::PUBACK, pid)),
                    2 => self.output.extend(wire::ack(wire::PUBREC, pid)),
                    _ => {}
                }
            }
            other => return Err(format!("the operator is told {other:?}")),
        }
        Ok(())
    }

    /// As many commands as the gateway takes.
    pub(super) fn send(&mut self) {
        while self.ready
            && self.open.len() < self.quota
            && let Some(command) = self.waiting.pop_front()
        {
            self.next_id = self.next_id % 60_000 + 2; // 1 is SUBSCRIBE's
            while self.open.iter().any(|(id, ..)| *id == self.next_id) {
                self.next_id += 1;
            }
            self.open.push((self.next_id, command, false));
            self.output.extend(publish(command, self.next_id, false));
        }
    }
}

fn publish((device, lane, number): Command, id: u16, dup: bool) -> Vec<u8> {
    let topic = format!("{}/mote-{device}/x", ["cmd", "cfg"][lane]);
    let payload = format!("{lane} {number}");
    let qos = u8::try_from(lane + 1).expect("1 or 2");
    wire::publish(true, &topic, payload.as_bytes(), qos, (dup, false), id)
}
