//! From a plan to its devices and sockets.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use mio::Registry;
use motegate_mqtt_sn::Encapsulation;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::device::{Device, Role};
use super::drive::wire_token;
use super::find::{Address, Way, way};
use super::plan::{Mode, Plan};
use super::wire::Wire;
use crate::client::{Error, Scheme, Target, random};
use crate::clock::Clock;

/// Open files beside the clients' sockets.
const OTHER_FILES: u64 = 32;

/// The devices of a run and their sockets.
#[derive(Debug, Default)]
pub(super) struct Crowd {
    pub(super) run: u32,
    pub(super) devices: Vec<Device>,
    pub(super) wires: Vec<Wire>,
    /// Whose a datagram socket is; `None`: of all behind the forwarder.
    pub(super) owners: Vec<Option<usize>>,
    /// Indices of the publishers' devices, or of all that connect.
    pub(super) publishers: Vec<usize>,
}

/// All devices, subscribers first; none does anything yet.
pub(super) fn crowd(plan: &Plan, clock: Clock, registry: &Registry) -> Result<Crowd, Error> {
    allow_files(plan)?;
    let from = way(&plan.from, clock)?;
    let to = match (plan.subscribers > 0, plan.to == plan.from) {
        (true, false) => way(&plan.to, clock)?,
        _ => Arc::clone(&from),
    };
    // Every payload begins with it, so that none is text by chance: an observation would end there,
    // because its format has to stay (RFC 7641 §4.2).
    let run = u32::try_from(random() >> 32).unwrap_or(0) | 0xff00_0000;
    let mut crowd = Crowd { run, ..Crowd::default() };
    for subscriber in 0..plan.subscribers {
        let topic = topic(plan, &plan.to, run, subscriber % plan.topics().max(1));
        let role = Role::Subscribe { subscriber, topic };
        let id = format!("mgb-{run:x}-s{subscriber}");
        crowd.add(plan, &to, role, &id, registry)?;
    }
    for publisher in 0..plan.publishers {
        let role = match plan.mode {
            Mode::Conn => Role::Connect,
            _ => {
                let topic = topic(plan, &plan.from, run, publisher % plan.topics().max(1));
                Role::Publish { publisher, topic }
            }
        };
        let id = format!("mgb-{run:x}-p{publisher}");
        let index = crowd.add(plan, &from, role, &id, registry)?;
        crowd.publishers.push(index);
    }
    Ok(crowd)
}

/// The device behind a forwarder's wrapper, and the packet in it.
pub(super) fn unwrap(datagram: &[u8]) -> Option<(usize, &[u8])> {
    let wrapped = Encapsulation::decode(datagram)?;
    let node = u32::from_be_bytes(wrapped.node.try_into().ok()?);
    Some((node as usize, wrapped.inner))
}

impl Crowd {
    fn add(
        &mut self,
        plan: &Plan,
        way: &Arc<Way>,
        role: Role,
        id: &str,
        registry: &Registry,
    ) -> Result<usize, Error> {
        let index = self.devices.len();
        let mut device = Device::new(plan, way, role, id, index, random())?;
        device.wire = match (way.target.scheme, &way.address) {
            _ if way.target.is_stream() => None,
            (Scheme::Mqtt, _) | (_, Address::Unix(_)) => None,
            (Scheme::MqttSn, Address::Inet(address)) if plan.forwarder => {
                let shared = self.owners.iter().position(Option::is_none);
                Some(shared.map_or_else(|| self.wire(*address, None, registry), Ok)?)
            }
            (Scheme::MqttSn | Scheme::Coap, Address::Inet(address)) => {
                Some(self.wire(*address, Some(index), registry)?)
            }
        };
        self.devices.push(device);
        Ok(index)
    }

    fn wire(
        &mut self,
        address: SocketAddr,
        owner: Option<usize>,
        registry: &Registry,
    ) -> Result<usize, Error> {
        let index = self.wires.len();
        let opened = Wire::open(address, owner.is_none()).and_then(|wire| {
            wire.register(registry, wire_token(index))?;
            Ok(wire)
        });
        self.wires.push(opened.map_err(|error| unreachable(address, error))?);
        self.owners.push(owner);
        Ok(index)
    }
}

/// One for each pair or publisher, under the URL's own path or one of this run.
fn topic(plan: &Plan, target: &Target, run: u32, number: u32) -> String {
    let root = if target.scheme == Scheme::Coap { "mqtt/" } else { "" };
    match (target.topic(), plan.topics()) {
        (Some(path), 1) => path,
        (Some(path), _) => format!("{path}/{number}"),
        (None, _) => format!("{root}bench/{run:x}/{number}"),
    }
}

/// Each client that has a socket of its own needs an open file.
fn allow_files(plan: &Plan) -> Result<(), Error> {
    let sockets = |target: &Target, clients: u32| match target.scheme {
        Scheme::MqttSn if plan.forwarder => 1,
        _ => u64::from(clients),
    };
    let needed =
        sockets(&plan.from, plan.publishers) + sockets(&plan.to, plan.subscribers) + OTHER_FILES;
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return Ok(()) };
    if needed <= soft {
        return Ok(());
    }
    if needed > hard {
        let way = match plan.from.scheme {
            Scheme::MqttSn => "--forwarder has them share one",
            _ => "`ulimit -Hn` is the limit",
        };
        return Err(Error::usage(format!(
            "--clients: {needed} open files are needed, {hard} are allowed; {way}"
        )));
    }
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)
        .map_err(|error| Error::file("the limit of open files", error.into()))
}

/// What an address is called in a failure to open a socket towards it.
fn unreachable(address: SocketAddr, source: io::Error) -> Error {
    Error::Unreachable { place: format!("{address}/udp"), source }
}
