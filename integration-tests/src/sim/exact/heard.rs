//! [`Heard`]: what the gateway has said to each connection since the last look, apart by kind: answers
//! come in the order of the questions, deliveries in the order of the queue, and between the two the
//! standard asks for little; the place of each in the stream is kept for what it does ask for.

use std::collections::{BTreeMap, VecDeque};

use super::reference::Place;
use super::wire::{Packet, Publish};

/// One connection's part.
#[derive(Debug, Clone, Default)]
pub struct Stream {
    /// CONNACK, PUBACK, PUBREC, PUBCOMP, SUBACK, UNSUBACK, DISCONNECT.
    pub answers: VecDeque<(u64, Packet)>,
    /// PUBLISH, aliases resolved.
    pub publishes: VecDeque<(u64, Publish)>,
    /// PUBREL: identifier and code.
    pub releases: VecDeque<(u64, u16, u8)>,
    /// The last PUBLISH that was looked at: its place here, and in the order of all that was routed.
    pub last: Option<(u64, Place)>,
    /// The last one in the stream of those.
    pub latest: u64,
    /// The gateway has ended it.
    pub closed: bool,
}

impl Stream {
    /// Says what is left, if anything is.
    #[must_use]
    pub fn rest(&self) -> Option<String> {
        let publish = self.publishes.front().map(|(_, p)| format!("{p:?}"));
        let answer = self.answers.front().map(|(_, p)| format!("{p:?}"));
        let release = self.releases.front().map(|(_, pid, code)| format!("PUBREL {pid} {code:#x}"));
        publish.or(answer).or(release)
    }
}

/// By connection.
#[derive(Debug, Clone, Default)]
pub struct Heard(pub BTreeMap<u32, Stream>);

impl Heard {
    /// A connection's part.
    pub fn of(&mut self, conn: u32) -> &mut Stream {
        self.0.entry(conn).or_default()
    }

    /// Puts a packet where it belongs; `place` counts the packets of the connection.
    pub fn push(&mut self, conn: u32, place: u64, packet: Packet) {
        let stream = self.of(conn);
        match packet {
            Packet::Publish(publish) => stream.publishes.push_back((place, *publish)),
            Packet::Ack(super::wire::PUBREL, pid, code) => {
                stream.releases.push_back((place, pid, code));
            }
            other => stream.answers.push_back((place, other)),
        }
    }
}
