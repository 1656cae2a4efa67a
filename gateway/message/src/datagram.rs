//! Where a datagram came from ([`Peer`]), on which listener ([`ListenerId`]), and the datagrams
//! that wait to leave ([`DatagramQueue`]).

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::net::SocketAddr;

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

/// Wireless node id inside MQTT-SN forwarder encapsulation (MQTT-SN 1.2 §5.5); may be empty.
pub type NodeId = Arc<[u8]>;

/// The far end of a datagram listener: an address and, behind an MQTT-SN forwarder, a node.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Peer {
    /// On which listener it is known; answers leave by the same socket.
    pub listener: ListenerId,
    /// Source address of its datagrams.
    pub addr: SocketAddr,
    /// The node behind a forwarder; `None` when it speaks for itself.
    pub node: Option<NodeId>,
}

impl Peer {
    /// A peer that speaks for itself.
    #[must_use]
    pub const fn new(listener: ListenerId, addr: SocketAddr) -> Self {
        Peer { listener, addr, node: None }
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.addr)?;
        if let Some(node) = &self.node {
            f.write_str("#")?;
            for byte in node.iter() {
                write!(f, "{byte:02x}")?;
            }
        }
        Ok(())
    }
}

/// Datagrams that wait to be sent, one arena for all of them: no allocation a datagram, and the
/// shell can hand many to one system call. Holds only what one turn produced.
#[derive(Debug, Default)]
pub struct DatagramQueue {
    arena: Vec<u8>,
    ends: Vec<(ListenerId, SocketAddr, usize)>,
}

impl DatagramQueue {
    /// Appends a datagram to `addr`; `encode` writes its bytes at the end of the buffer it is
    /// given and must not touch what is there.
    pub fn push(
        &mut self,
        listener: ListenerId,
        addr: SocketAddr,
        encode: impl FnOnce(&mut Vec<u8>),
    ) {
        encode(&mut self.arena);
        self.ends.push((listener, addr, self.arena.len()));
    }

    /// The waiting datagrams, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = (ListenerId, SocketAddr, &[u8])> {
        self.ends.iter().scan(0, |start, (listener, addr, end)| {
            let bytes = self.arena.get(*start..*end)?;
            *start = *end;
            Some((*listener, *addr, bytes))
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
    fn datagrams_keep_their_bounds() {
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, 1885));
        let mut queue = DatagramQueue::default();
        queue.push(ListenerId(0), addr, |out| out.extend_from_slice(b"one"));
        queue.push(ListenerId(1), addr, |_| {});
        queue.push(ListenerId(2), addr, |out| out.extend_from_slice(b"three"));
        let seen: Vec<_> = queue.iter().map(|(l, _, b)| (l.0, b.to_vec())).collect();
        assert_eq!(seen, [(0, b"one".to_vec()), (1, b"".to_vec()), (2, b"three".to_vec())]);
        queue.clear();
        assert!(queue.is_empty());
    }
}
