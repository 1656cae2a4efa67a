//! Where a datagram came from ([`Peer`]), whether only the own network can come from there
//! ([`is_private`]), which way its answer goes ([`Route`]), and the datagrams that wait to leave
//! ([`DatagramQueue`]).

use alloc::vec::Vec;
use core::fmt;
use core::net::{IpAddr, SocketAddr};

use crate::NodeId;

/// A configured listener, by its place in the resolved configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ListenerId(pub u16);

/// One transport lifetime of a stream listener: the shell's slot (low 32 bits) and a generation
/// (high 32 bits), so that a late report finds nobody else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(u64);

impl ConnectionId {
    /// From a slot and its generation.
    #[must_use]
    pub const fn new(slot: u32, generation: u32) -> Self {
        ConnectionId((generation as u64) << 32 | slot as u64)
    }

    /// The number itself.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Index into a table of connections.
    #[must_use]
    pub const fn slot(self) -> usize {
        (self.0 & 0xffff_ffff) as usize
    }

    /// From [`get`](Self::get).
    #[must_use]
    pub const fn from_u64(value: u64) -> Self {
        ConnectionId(value)
    }
}

/// One of the addresses of this machine that a datagram listener answers at, by a number of the
/// shell's. A device that asked one address hears no answer from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct LocalId(pub u16);

impl LocalId {
    /// The one that the system picks: asked by multicast, or from a journal.
    pub const ANY: LocalId = LocalId(0);
}

/// Which way a datagram goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Route {
    /// By which socket.
    pub listener: ListenerId,
    /// From which address of this machine.
    pub local: LocalId,
    /// To whom.
    pub addr: SocketAddr,
}

/// The far end of a datagram listener: an address and, behind an MQTT-SN forwarder, a node.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Peer {
    /// On which listener it is known; answers leave by the same socket.
    pub listener: ListenerId,
    /// The address of this machine that it speaks to.
    pub local: LocalId,
    /// Source address of its datagrams.
    pub addr: SocketAddr,
    /// The node behind a forwarder; `None` when it speaks for itself.
    pub node: Option<NodeId>,
}

impl Peer {
    /// A peer that speaks for itself, answered from whichever address the system picks.
    #[must_use]
    pub const fn new(listener: ListenerId, addr: SocketAddr) -> Self {
        Peer { listener, local: LocalId::ANY, addr, node: None }
    }

    /// The way to it, or to the forwarder before it.
    #[must_use]
    pub const fn route(&self) -> Route {
        Route { listener: self.listener, local: self.local, addr: self.addr }
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.addr)?;
        if let Some(node) = &self.node {
            write!(f, "#{node:?}")?;
        }
        Ok(())
    }
}

/// Whether only the own network can use an address: loopback, link-local and private ones (RFC 1918,
/// RFC 3927, RFC 4193, RFC 4291 §2.5.6), also as IPv4-mapped ones.
#[must_use]
pub fn is_private(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => v4.is_loopback() || v4.is_private() || v4.is_link_local(),
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => is_private(IpAddr::V4(v4)),
            None => v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local(),
        },
    }
}

/// Datagrams that wait to be sent, one arena for all of them: no allocation a datagram, and the
/// shell can hand many to one system call. Holds only what one turn produced.
#[derive(Debug, Default)]
pub struct DatagramQueue {
    arena: Vec<u8>,
    ends: Vec<(Route, usize)>,
    pushed: (u64, u64),
}

impl DatagramQueue {
    /// Appends a datagram; `encode` writes its bytes at the end of the buffer it is given and must
    /// not touch what is there.
    pub fn push(&mut self, route: Route, encode: impl FnOnce(&mut Vec<u8>)) {
        let before = self.arena.len();
        encode(&mut self.arena);
        self.pushed.0 += 1;
        self.pushed.1 += (self.arena.len() - before) as u64;
        self.ends.push((route, self.arena.len()));
    }

    /// The waiting datagrams, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = (Route, &[u8])> {
        self.ends.iter().scan(0, |start, (route, end)| {
            let bytes = self.arena.get(*start..*end)?;
            *start = *end;
            Some((*route, bytes))
        })
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// How many wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// How many were ever pushed, and their bytes.
    #[must_use]
    pub fn pushed(&self) -> (u64, u64) {
        self.pushed
    }

    /// Called when all were handed on; gives memory back after an unusual burst.
    pub fn clear(&mut self) {
        self.arena.clear();
        self.ends.clear();
        self.arena.shrink_to(256 * 1024);
        self.ends.shrink_to(1024);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::Ipv4Addr;

    #[test]
    fn private_addresses() {
        for yes in ["127.0.0.1", "10.1.2.3", "192.168.0.9", "172.31.0.1", "169.254.3.4", "::1"] {
            assert!(is_private(yes.parse().unwrap()), "{yes}");
        }
        for yes in ["fe80::1", "fd00::1", "::ffff:10.0.0.1"] {
            assert!(is_private(yes.parse().unwrap()), "{yes}");
        }
        for no in ["8.8.8.8", "172.32.0.1", "2001:db8::1", "::ffff:8.8.8.8", "0.0.0.0"] {
            assert!(!is_private(no.parse().unwrap()), "{no}");
        }
    }

    #[test]
    fn datagrams_keep_their_bounds() {
        let to = |listener| {
            let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, 1885));
            Peer::new(ListenerId(listener), addr).route()
        };
        let mut queue = DatagramQueue::default();
        queue.push(to(0), |out| out.extend_from_slice(b"one"));
        queue.push(to(1), |_| {});
        queue.push(to(2), |out| out.extend_from_slice(b"three"));
        let seen: Vec<_> = queue.iter().map(|(to, b)| (to.listener.0, b.to_vec())).collect();
        assert_eq!(seen, [(0, b"one".to_vec()), (1, b"".to_vec()), (2, b"three".to_vec())]);
        queue.clear();
        assert!(queue.is_empty());
    }
}
