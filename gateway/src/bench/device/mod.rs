//! [`Device`]: one simulated client of any protocol, on its sans-IO machine.
//!
//! All have one face: `open`, `publish`, `settle` (barrier), `close`, and what happens is a
//! [`Fact`]. A device prepares itself for its role (subscribe, register a topic id, observe) before
//! it says that it is ready.

mod coap;
mod coap_stream;
mod mqtt;
mod sn;

use std::sync::Arc;

use mio::{Registry, Token};
use motegate_timers::{Instant, Timer};

use crate::client::{Error, Scheme};

use super::find::Way;
use super::plan::Plan;
use super::stamp::Stamp;
use super::wire::Wire;

/// What a device is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Role {
    /// To be connected.
    Connect,
    /// Publishes to this topic.
    Publish { publisher: u32, topic: String },
    /// Subscribes to this topic.
    Subscribe { subscriber: u32, topic: String },
}

/// What happened to a device.
#[derive(Debug)]
pub(super) enum Fact {
    /// It can play its role.
    Ready,
    /// The publish that was due then is acknowledged, or refused.
    Through { since: Instant, ok: bool },
    /// A message came.
    Delivered(Stamp),
    /// All that was published before has been handled.
    Settled,
    /// Its connection is over, as it was to be.
    Left,
    /// It cannot go on.
    Gone(Error),
}

/// What became of a publish.
#[derive(Debug)]
pub(super) enum Taken {
    Yes,
    /// There is no room: try again soon.
    NotNow,
    /// There never will be.
    Never(Error),
}

/// What a device needs around it.
#[derive(Debug)]
pub(super) struct Around<'a> {
    pub(super) now: Instant,
    /// Tells this run's stamps from another's.
    pub(super) run: u32,
    pub(super) registry: &'a Registry,
    pub(super) facts: &'a mut Vec<Fact>,
    /// The datagram socket, if it has one.
    pub(super) wire: Option<&'a mut Wire>,
    /// For reading streams.
    pub(super) chunk: &'a mut [u8],
}

/// See the module.
#[derive(Debug)]
pub(super) struct Device {
    pub(super) role: Role,
    /// Index of its datagram socket.
    pub(super) wire: Option<usize>,
    pub(super) timer: Timer,
    /// To be flushed at the end of the turn.
    pub(super) dirty: bool,
    /// It is to become ready.
    pub(super) opening: bool,
    /// It became ready.
    pub(super) ready: bool,
    /// Its connection broke.
    pub(super) gone: bool,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Mqtt(Box<mqtt::Mqtt>),
    Sn(Box<sn::Sn>),
    Coap(Box<coap::Coap>),
}

impl Device {
    /// A device that does nothing yet. `index` is its number among all; `id` its client id.
    pub(super) fn new(
        plan: &Plan,
        way: &Arc<Way>,
        role: Role,
        id: &str,
        index: usize,
        seed: u64,
    ) -> Result<Self, Error> {
        let kind = match way.target.scheme {
            Scheme::Mqtt => {
                let token = Token(index);
                Kind::Mqtt(Box::new(mqtt::Mqtt::new(plan, way, &role, id, token, seed)?))
            }
            Scheme::MqttSn => {
                let node = plan.forwarder.then(|| u32::try_from(index).unwrap_or(u32::MAX));
                Kind::Sn(Box::new(sn::Sn::new(plan, &role, id, node)?))
            }
            Scheme::Coap => {
                let token = Token(index);
                Kind::Coap(Box::new(coap::Coap::new(plan, way, &role, token, seed)))
            }
        };
        let (wire, timer) = (None, Timer::default());
        let (dirty, opening, ready, gone) = (false, false, false, false);
        Ok(Device { role, wire, timer, dirty, opening, ready, gone, kind })
    }

    /// Begins to connect.
    pub(super) fn open(&mut self, around: &mut Around<'_>) {
        self.opening = true;
        match &mut self.kind {
            Kind::Mqtt(device) => device.open(around),
            Kind::Sn(device) => device.open(around),
            Kind::Coap(device) => device.open(around),
        }
    }

    /// Publishes.
    pub(super) fn publish(
        &mut self,
        payload: &[u8],
        since: Instant,
        around: &mut Around<'_>,
    ) -> Taken {
        match &mut self.kind {
            Kind::Mqtt(device) => device.publish(payload, since),
            Kind::Sn(device) => device.publish(payload, since, around),
            Kind::Coap(device) => device.publish(payload, since, around),
        }
    }

    /// Asks for [`Fact::Settled`].
    pub(super) fn settle(&mut self, around: &mut Around<'_>) {
        match &mut self.kind {
            Kind::Mqtt(device) => device.settle(around),
            Kind::Sn(device) => device.settle(around),
            Kind::Coap(_) => around.facts.push(Fact::Settled), // every request is answered
        }
    }

    /// Takes leave.
    pub(super) fn close(&mut self, around: &mut Around<'_>) {
        match &mut self.kind {
            Kind::Mqtt(device) => device.close(around),
            Kind::Sn(device) => device.close(around),
            Kind::Coap(device) => device.close(around),
        }
    }

    /// Its stream may be read or written.
    pub(super) fn ready(&mut self, readable: bool, writable: bool, around: &mut Around<'_>) {
        match &mut self.kind {
            Kind::Mqtt(device) => device.ready(readable, writable, around),
            Kind::Coap(device) => device.ready(readable, writable, around),
            Kind::Sn(_) => {}
        }
    }

    /// A datagram for it.
    pub(super) fn datagram(&mut self, bytes: &[u8], around: &mut Around<'_>) {
        match &mut self.kind {
            Kind::Mqtt(_) => {}
            Kind::Sn(device) => device.datagram(bytes, around),
            Kind::Coap(device) => device.datagram(bytes, around),
        }
    }

    /// Its deadline has passed.
    pub(super) fn timeout(&mut self, around: &mut Around<'_>) {
        match &mut self.kind {
            Kind::Mqtt(device) => device.timeout(around),
            Kind::Sn(device) => device.timeout(around),
            Kind::Coap(device) => device.timeout(around),
        }
    }

    /// Writes what waits.
    pub(super) fn flush(&mut self, around: &mut Around<'_>) {
        match &mut self.kind {
            Kind::Mqtt(device) => device.flush(around),
            Kind::Coap(device) => device.flush(around),
            Kind::Sn(_) => {}
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        match &self.kind {
            Kind::Mqtt(device) => device.deadline(),
            Kind::Sn(device) => device.deadline(),
            Kind::Coap(device) => device.deadline(),
        }
    }
}
