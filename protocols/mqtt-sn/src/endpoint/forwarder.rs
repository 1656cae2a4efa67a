//! Datagrams in and out through forwarders (MQTT-SN 1.2 §5.5): who sent one ([`Source`]), and the
//! wrapper around what is sent to a node behind one.

use motegate_message::{DatagramQueue, Group, Peer, Route};

use super::clients::Slot;
use crate::{Encapsulation, Packet};

/// Where a packet came from, before anything is allocated for it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Source<'a> {
    /// The way back.
    pub(super) route: Route,
    /// The node behind a forwarder; its id may be empty.
    pub(super) node: Option<&'a [u8]>,
    /// The client known at this address.
    pub(super) slot: Option<Slot>,
    /// The group that it was sent to, if it was not for this gateway alone.
    pub(super) group: Option<&'a Group>,
}

impl Source<'_> {
    pub(super) fn to_peer(self) -> Peer {
        let Route { listener, local, addr } = self.route;
        Peer { listener, local, addr, node: self.node.map(Into::into) }
    }
}

/// Puts `packet` into the queue, in a wrapper if `peer` is behind a forwarder. `radius` is for the
/// forwarder's broadcast (0 otherwise).
pub(super) fn send(out: &mut DatagramQueue, peer: &Peer, radius: u8, packet: &Packet<'_>) {
    send_to(out, peer.route(), peer.node.as_deref(), radius, packet);
}

/// As [`send`], to a peer that nobody owns.
pub(super) fn send_to(
    out: &mut DatagramQueue,
    route: Route,
    node: Option<&[u8]>,
    radius: u8,
    packet: &Packet<'_>,
) {
    out.push(route, |arena| {
        if let Some(node) = node {
            append(arena, Encapsulation::wrapper_len(node), |buf| {
                Encapsulation::encode_wrapper(radius, node, buf)
            });
        }
        append(arena, packet.encoded_len(), |buf| packet.encode(buf));
    });
}

fn append<E: core::fmt::Debug>(
    arena: &mut alloc::vec::Vec<u8>,
    len: usize,
    encode: impl FnOnce(&mut [u8]) -> Result<usize, E>,
) {
    let start = arena.len();
    arena.resize(start + len, 0);
    let written = arena.get_mut(start..).map(encode);
    debug_assert!(matches!(written, Some(Ok(n)) if n == len), "measured before it was encoded");
}
