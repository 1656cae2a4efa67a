//! The steps of an MQTT-SN subscriber, and what it asks for in each.

use std::time::Instant;

use crate::sim::sn_wire as wire;

/// TopicIdType of a pre-defined id.
pub(crate) const BY_ID: u8 = 1;

/// What a subscriber subscribes to, with its QoS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Of {
    Id(u16, u8),
    Name(&'static str, u8),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Connecting,
    /// To the filter of this place.
    Subscribing(u8),
    Active,
    /// DISCONNECT with a duration is sent.
    LyingDown,
    Asleep {
        until: Instant,
    },
    /// PINGREQ is sent, PINGRESP not there yet.
    Awake,
}

impl State {
    /// What is sent until it is answered; `connect` is the CONNECT. Nothing while it is active or
    /// asleep.
    pub(crate) fn request(self, id: &str, of: &[Of], connect: Vec<u8>) -> Option<Vec<u8>> {
        match self {
            State::Connecting => Some(connect),
            State::Subscribing(at) => Some(match of[usize::from(at)] {
                Of::Name(name, qos) => wire::subscribe(0x12, wire::qos_bits(qos), msg_id(at), name),
                Of::Id(id, qos) => {
                    let (flags, mid) = (wire::qos_bits(qos) | BY_ID, msg_id(at).to_be_bytes());
                    wire::packet(0x12, &[&[flags], &mid, &id.to_be_bytes()])
                }
            }),
            State::LyingDown => Some(wire::disconnect(Some(60))),
            State::Awake => Some(wire::ping(id)),
            State::Active | State::Asleep { .. } => None,
        }
    }
}

/// Of the SUBSCRIBE to the filter of this place.
pub(crate) fn msg_id(at: u8) -> u16 {
    u16::from(at) + 1
}
