//! Drivers of the clients: the sans-IO machines of the protocol crates on tokio sockets.
//!
//! A driver owns a machine, a socket and the clock; one `async` call is one request to its end. A
//! call that is dropped half-way (a time-out around it) leaves the machine as it is. The command
//! line uses them; what they have in common is [`Target`], [`Error`] and the way from a name to an
//! address that answers.

mod coap;
mod connected;
mod datagrams;
mod error;
mod layered;
mod mqtt;
mod scram;
pub(crate) mod secure;
mod sn;
mod stream;
mod target;

pub(crate) use coap::CoapClient;
pub(crate) use error::Error;
pub(crate) use layered::{Layered, Wait};
pub(crate) use mqtt::MqttClient;
pub(crate) use secure::Credentials;
pub(crate) use sn::{Reception, SnClient};
pub(crate) use target::{Scheme, Target, Transport};

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::net::SocketAddr;

use motegate_timers::Instant;

use crate::clock::Clock;

/// Most addresses of one name that are tried.
const MAX_ADDRESSES: usize = 8;

/// All addresses of the target's host, in the system's order of preference.
pub(crate) async fn resolve(target: &Target) -> Result<Vec<SocketAddr>, Error> {
    let found = tokio::net::lookup_host((target.host.as_str(), target.port)).await;
    let found = found.map_err(|_| Error::NoSuchHost { host: target.host.clone() })?;
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for address in found.take(MAX_ADDRESSES) {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    if addresses.iter().any(|address| address.ip().is_multicast()) {
        return Err(Error::usage("a multicast address has many hosts: name one of them"));
    }
    Ok(addresses)
}

/// Sleeps until a machine's deadline; for ever if it has none.
pub(crate) async fn until(clock: Clock, deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(clock.to_std(deadline).into()).await,
        None => std::future::pending().await,
    }
}

/// A number that another run of the program will not have.
pub(crate) fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}
