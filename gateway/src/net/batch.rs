//! Many datagrams a system call, each with the address of this machine that it came to or leaves
//! from, or with the group that it was sent to (`IP_PKTINFO`, RFC 3542 §6).

use std::array;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::RawFd;

use nix::errno::Errno;
use nix::libc::{in_addr, in_pktinfo, in6_addr, in6_pktinfo};
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, MultiHeaders, SockaddrIn, SockaddrIn6,
    SockaddrLike, recvmmsg, sendmmsg,
};

use crate::net::{Counters, canonical};

/// Datagrams a system call, and a socket's share of a turn.
pub(super) const BATCH: usize = 64;
/// Room for the longest datagram there is. Only pages that were written to cost memory.
const SLOT: usize = 64 * 1024;

/// One batch of received datagrams; a worker has one for all its sockets.
///
/// The kernel leaves the lengths of the address and of the control data in the header, and the
/// next call takes them for the room there is: so each family has its own headers, and every
/// datagram of a family has the same control data.
pub(super) struct Batch {
    buffer: Box<[u8]>,
    v4: MultiHeaders<SockaddrIn>,
    v6: MultiHeaders<SockaddrIn6>,
    meta: heapless::Vec<Meta, BATCH>,
}

#[derive(Clone, Copy)]
struct Meta {
    slot: usize,
    peer: SocketAddr,
    arrival: Arrival,
    len: usize,
}

/// How a datagram came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Arrival {
    /// The address to answer from; `None` for one that was sent to many.
    pub(super) local: Option<IpAddr>,
    /// The multicast group that it was sent to, and the interface that it came in by.
    pub(super) group: Option<(IpAddr, u32)>,
}

/// A datagram that came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Received<'a> {
    pub(super) peer: SocketAddr,
    pub(super) arrival: Arrival,
    pub(super) bytes: &'a [u8],
}

impl std::fmt::Debug for Batch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Batch").field("received", &self.meta.len()).finish_non_exhaustive()
    }
}

impl Batch {
    pub(super) fn new() -> Self {
        Batch {
            buffer: vec![0; BATCH * SLOT].into_boxed_slice(),
            v4: MultiHeaders::preallocate(BATCH, Some(nix::cmsg_space!(in_pktinfo))),
            v6: MultiHeaders::preallocate(BATCH, Some(nix::cmsg_space!(in6_pktinfo))),
            meta: heapless::Vec::new(),
        }
    }

    /// Forgets what it holds.
    pub(super) fn clear(&mut self) {
        self.meta.clear();
    }

    /// Takes what the socket has; says how many datagrams that were.
    pub(super) fn fill(
        &mut self,
        fd: RawFd,
        v6: bool,
        counters: &mut Counters,
    ) -> io::Result<usize> {
        let (buffer, meta) = (&mut *self.buffer, &mut self.meta);
        let received = if v6 {
            let canonical = |addr: SockaddrIn6| canonical(SocketAddrV6::from(addr).into());
            receive_batch(fd, &mut self.v6, buffer, meta, counters, canonical)
        } else {
            let plain = |addr: SockaddrIn| SocketAddr::V4(SocketAddrV4::from(addr));
            receive_batch(fd, &mut self.v4, buffer, meta, counters, plain)
        };
        Ok(received?)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Received<'_>> {
        self.meta.iter().filter_map(|Meta { slot, peer, arrival, len }| {
            let start = slot * SLOT;
            let bytes = self.buffer.get(start..start + len)?;
            Some(Received { peer: *peer, arrival: *arrival, bytes })
        })
    }
}

fn receive_batch<S: SockaddrLike + Copy>(
    fd: RawFd,
    headers: &mut MultiHeaders<S>,
    buffer: &mut [u8],
    meta: &mut heapless::Vec<Meta, BATCH>,
    counters: &mut Counters,
    peer: impl Fn(S) -> SocketAddr,
) -> nix::Result<usize> {
    let mut slots = buffer.chunks_exact_mut(SLOT);
    let mut iovs: [[IoSliceMut<'_>; 1]; BATCH] =
        array::from_fn(|_| [IoSliceMut::new(slots.next().unwrap_or_default())]);
    let mut received = 0;
    for message in recvmmsg(fd, headers, iovs.iter_mut(), MsgFlags::MSG_DONTWAIT, None)? {
        let slot = received;
        received += 1;
        if message.flags.contains(MsgFlags::MSG_TRUNC) {
            counters.truncated += 1;
        } else if let Some(addr) = message.address {
            let told = message.cmsgs().ok().and_then(|mut cmsgs| cmsgs.find_map(|c| arrival(&c)));
            let arrival = told.unwrap_or_default();
            let _ = meta.push(Meta { slot, peer: peer(addr), arrival, len: message.bytes });
        }
    }
    Ok(received)
}

fn arrival(message: &ControlMessageOwned) -> Option<Arrival> {
    let v4 = |addr: in_addr| IpAddr::V4(Ipv4Addr::from(u32::from_be(addr.s_addr)));
    let (to, ip, interface) = match message {
        // Of a broadcast or multicast the address to answer from is that of the interface.
        ControlMessageOwned::Ipv4PacketInfo(info) => {
            let interface = u32::try_from(info.ipi_ifindex).unwrap_or(0);
            (v4(info.ipi_addr), v4(info.ipi_spec_dst), interface)
        }
        ControlMessageOwned::Ipv6PacketInfo(info) => {
            let ip = IpAddr::V6(Ipv6Addr::from(info.ipi6_addr.s6_addr)).to_canonical();
            (ip, ip, info.ipi6_ifindex)
        }
        _ => return None,
    };
    let broadcast = ip == IpAddr::V4(Ipv4Addr::BROADCAST);
    let is_one = !ip.is_multicast() && !ip.is_unspecified() && !broadcast;
    Some(Arrival {
        local: is_one.then_some(ip),
        group: to.is_multicast().then_some((to, interface)),
    })
}

/// Headers for sending; a worker has one set for all its sockets.
pub(super) struct Sender {
    v4: MultiHeaders<SockaddrIn>,
    v6: MultiHeaders<SockaddrIn6>,
}

impl std::fmt::Debug for Sender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sender").finish_non_exhaustive()
    }
}

impl Sender {
    pub(super) fn new() -> Self {
        Sender {
            v4: MultiHeaders::preallocate(BATCH, Some(nix::cmsg_space!(in_pktinfo))),
            v6: MultiHeaders::preallocate(BATCH, Some(nix::cmsg_space!(in6_pktinfo))),
        }
    }

    /// Sends some, at least one, from `local` (`None`: the system picks); an error concerns the
    /// first.
    pub(super) fn send(
        &mut self,
        fd: RawFd,
        v6: bool,
        local: Option<IpAddr>,
        datagrams: &[(SocketAddr, &[u8])],
    ) -> nix::Result<usize> {
        if v6 {
            let to = |addr| Some(SockaddrIn6::from(mapped(addr)));
            // To an IPv4 peer the source is a mapped address too, also where it is none.
            let any = match datagrams.first() {
                Some((SocketAddr::V4(_), _)) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
                _ => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            };
            let ip = match local.unwrap_or(any) {
                IpAddr::V4(ip) => ip.to_ipv6_mapped(),
                IpAddr::V6(ip) => ip,
            };
            let s6_addr = ip.octets();
            let info = in6_pktinfo { ipi6_addr: in6_addr { s6_addr }, ipi6_ifindex: 0 };
            let from = [ControlMessage::Ipv6PacketInfo(&info)];
            send_batch(fd, &mut self.v6, &from, datagrams, to)
        } else {
            let ip = match local {
                Some(IpAddr::V4(ip)) => ip,
                _ => Ipv4Addr::UNSPECIFIED,
            };
            let none = in_addr { s_addr: 0 };
            let ipi_spec_dst = in_addr { s_addr: u32::from(ip).to_be() };
            let info = in_pktinfo { ipi_ifindex: 0, ipi_spec_dst, ipi_addr: none };
            let from = [ControlMessage::Ipv4PacketInfo(&info)];
            send_batch(fd, &mut self.v4, &from, datagrams, |addr| match addr {
                SocketAddr::V4(addr) => Some(SockaddrIn::from(addr)),
                SocketAddr::V6(_) => None,
            })
        }
    }
}

fn send_batch<S: SockaddrLike + Copy>(
    fd: RawFd,
    headers: &mut MultiHeaders<S>,
    from: &[ControlMessage<'_>],
    datagrams: &[(SocketAddr, &[u8])],
    to: impl Fn(SocketAddr) -> Option<S>,
) -> nix::Result<usize> {
    let family = datagrams.first().map(|(addr, _)| addr.is_ipv4());
    let addrs: heapless::Vec<Option<S>, BATCH> =
        datagrams.iter().take(BATCH).map(|(addr, _)| to(*addr)).collect();
    if addrs.first().is_none_or(Option::is_none) {
        return Err(Errno::EAFNOSUPPORT);
    }
    // What has no destination would go nowhere, and a source is of one family: the rest is met as
    // the first one later.
    let alike = datagrams.iter().take_while(|(addr, _)| Some(addr.is_ipv4()) == family).count();
    let count = addrs.iter().take(alike).take_while(|addr| addr.is_some()).count();
    let iovs: heapless::Vec<[IoSlice<'_>; 1], BATCH> =
        datagrams.iter().take(count).map(|(_, bytes)| [IoSlice::new(bytes)]).collect();
    let sent = sendmmsg(fd, headers, &iovs, &addrs, from, MsgFlags::MSG_DONTWAIT)?;
    Ok(sent.count())
}

/// The reverse of `canonical`.
pub(super) fn mapped(addr: SocketAddr) -> SocketAddrV6 {
    match addr {
        SocketAddr::V4(addr) => SocketAddrV6::new(addr.ip().to_ipv6_mapped(), addr.port(), 0, 0),
        SocketAddr::V6(addr) => addr,
    }
}
