//! Which addresses of this machine the shell's numbers mean, so that a client is written to after a
//! restart from the address that it spoke to: a device hears no answer from another one. The
//! shell tells every number that it gives out; the journal has the address. One that the machine
//! has no more by then is the shell's to leave out.

use alloc::boxed::Box;
use core::net::IpAddr;

use hashbrown::HashMap;
use motegate_message::{ListenerId, LocalId, Turn};

use super::Endpoint;
use super::clients::Slot;
use super::config::Config;

/// By the name of a listener, because numbers change with the configuration.
#[derive(Debug, Default)]
pub(super) struct Locals(HashMap<(Box<str>, LocalId), IpAddr>);

impl Locals {
    pub(super) fn ip(&self, listener: &str, local: LocalId) -> Option<IpAddr> {
        if local == LocalId::ANY {
            return None;
        }
        self.0.get(&(Box::from(listener), local)).copied()
    }

    /// The number of an address that a journal has; they count from 1.
    pub(super) fn restored(&mut self, listener: &str, ip: IpAddr) -> LocalId {
        let mine = self.0.iter().filter(|((name, _), _)| **name == *listener);
        let known = mine.clone().find(|(_, known)| **known == ip).map(|((_, id), _)| *id);
        let next = u16::try_from(mine.count() + 1).map(LocalId).unwrap_or(LocalId::ANY);
        if known.is_none() && next != LocalId::ANY {
            self.0.insert((listener.into(), next), ip);
        }
        known.unwrap_or(next)
    }
}

impl Endpoint {
    /// A number that the shell has given to an address of this machine, for one listener.
    pub fn learn_local(&mut self, listener: ListenerId, local: LocalId, ip: IpAddr) {
        let name = self.config.listener_name(listener);
        self.locals.0.insert((name.into(), local), ip);
    }

    /// So many octets came from the client: what it hears comes from the address that it spoke to
    /// last, also after a restart.
    pub(super) fn heard(&mut self, turn: &Turn, slot: Slot, local: LocalId, octets: usize) {
        let Some(client) = self.clients.get_mut(slot) else { return };
        client.budget.earn(octets);
        if core::mem::replace(&mut client.peer.local, local) != local {
            self.with_line(turn, slot, |line| line.record_connection());
        }
    }

    /// The addresses of this machine that restored clients spoke to, for each listener in the
    /// order of their numbers: the shell gives out the next ones.
    #[must_use]
    pub fn locals(&self) -> alloc::vec::Vec<(ListenerId, LocalId, IpAddr)> {
        let of = |config: &Config, name: &str| config.listener_id(name);
        let all = self.locals.0.iter();
        let mut all: alloc::vec::Vec<_> = all
            .filter_map(|((name, local), ip)| Some((of(&self.config, name)?, *local, *ip)))
            .collect();
        all.sort_unstable();
        all
    }
}
