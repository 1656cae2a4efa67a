//! Multicast and broadcast on datagram sockets: which groups a socket has joined, on which interface
//! ([`Memberships`]), and datagrams to a group ([`announce`]).
//!
//! An interface may come later than the gateway, go, and come again under another number: what is not
//! joined is tried again every [`RETRY`]. A group that cannot be joined is told once and keeps nobody
//! from being served. Only sockets on all addresses hear groups; a socket hears those that it has
//! joined itself, on the interface where it did.

use std::io::{self, IoSlice};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd as _};
use std::time::Duration;

use motegate_message::{Group, Interface, with_scope};
use nix::errno::Errno;
use nix::libc::{c_int, in_addr, in_pktinfo, in6_addr, in6_pktinfo};
use nix::sys::socket::{ControlMessage, MsgFlags, SockaddrIn, SockaddrIn6, sendmsg};
use socket2::{InterfaceIndexOrAddress, SockRef, Socket};

use super::batch::mapped;

/// Between two looks at the interfaces.
pub(crate) const RETRY: Duration = Duration::from_secs(5);

/// A new socket may send to broadcast addresses, and hears no group that another socket joined.
pub(super) fn prepare(socket: &Socket, addr: SocketAddr) -> io::Result<()> {
    // What an old kernel lets through all the same, `Memberships::has` finds out.
    let _ = socket.set_multicast_all_v4(false);
    if addr.is_ipv6() {
        let _ = socket.set_multicast_all_v6(false);
    }
    socket.set_broadcast(true)
}

/// The groups of one socket.
#[derive(Debug, Default)]
pub(super) struct Memberships(Vec<Membership>);

#[derive(Debug)]
struct Membership {
    group: Group,
    /// On the interface of this number; 0 is one that the system chose.
    joined: Option<u32>,
    /// Why it is not joined has been said.
    told: bool,
}

impl Memberships {
    /// Whether there is something to look after.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the socket has joined the group on the interface.
    pub(super) fn has(&self, ip: IpAddr, interface: u32) -> bool {
        let here = |joined: Option<u32>| joined.is_some_and(|at| at == 0 || at == interface);
        self.0.iter().any(|member| member.group.addr.ip() == ip && here(member.joined))
    }

    /// These are the groups from now on: others are left, new ones joined.
    pub(super) fn follow(&mut self, socket: &impl AsFd, wanted: Vec<Group>) {
        self.0.retain(|member| {
            let stays = wanted.contains(&member.group);
            if let (false, Some(interface)) = (stays, member.joined) {
                let left = membership(socket, member.group.addr.ip(), interface, false);
                tracing::info!(group = %member.group, ok = left.is_ok(), "left");
            }
            stays
        });
        for group in wanted {
            if !self.0.iter().any(|member| member.group == group) {
                self.0.push(Membership { group, joined: None, told: false });
            }
        }
        self.tend(socket);
    }

    /// Joins what is not joined, and anew what an interface has lost that went and came again.
    pub(super) fn tend(&mut self, socket: &impl AsFd) {
        for member in &mut self.0 {
            let index = number(&member.group.interface);
            if member.joined.is_some() && member.joined == index {
                continue;
            }
            let ip = member.group.addr.ip();
            if let Some(gone) = member.joined.take() {
                let _ = membership(socket, ip, gone, false);
            }
            let result = match index {
                Some(index) => membership(socket, ip, index, true).map(|()| index),
                None => Err(io::Error::from(Errno::ENODEV)),
            };
            match result {
                Ok(index) => {
                    tracing::info!(group = %member.group, "joined");
                    member.joined = Some(index);
                    member.told = false;
                }
                Err(error) => {
                    if !member.told {
                        let hint = "it is tried again every 5 s";
                        tracing::warn!(group = %member.group, %error, hint, "not joined");
                    }
                    member.told = true;
                }
            }
        }
    }
}

/// The system's number of an interface; 0 leaves the choice to it.
fn number(interface: &Interface) -> Option<u32> {
    match interface {
        Interface::Any => Some(0),
        Interface::Index(index) => Some(*index),
        Interface::Named(name) => nix::net::if_::if_nametoindex(&**name).ok(),
    }
}

fn membership(socket: &impl AsFd, ip: IpAddr, interface: u32, joins: bool) -> io::Result<()> {
    let socket = SockRef::from(socket);
    let result = match ip {
        IpAddr::V4(ip) => {
            let interface = InterfaceIndexOrAddress::Index(interface);
            if joins {
                socket.join_multicast_v4_n(&ip, &interface)
            } else {
                socket.leave_multicast_v4_n(&ip, &interface)
            }
        }
        IpAddr::V6(ip) if joins => socket.join_multicast_v6(&ip, interface),
        IpAddr::V6(ip) => socket.leave_multicast_v6(&ip, interface),
    };
    match result {
        // It is a member already.
        Err(error) if joins && error.kind() == io::ErrorKind::AddrInUse => Ok(()),
        result => result,
    }
}

/// Sends a datagram to a group or broadcast address, `hops` far (0: as far as it is carried).
/// `v6`: the socket is IPv6, a dual-stack one; IPv4 goes through it as well.
pub(super) fn announce(
    socket: &impl AsFd,
    v6: bool,
    to: &Group,
    hops: u8,
    bytes: &[u8],
) -> nix::Result<()> {
    let interface = number(&to.interface).ok_or(Errno::ENODEV)?;
    // 0 would be "to this machine only".
    let hops = c_int::from(if hops == 0 { u8::MAX } else { hops });
    let fd = socket.as_fd().as_raw_fd();
    let iov = [IoSlice::new(bytes)];
    let flags = MsgFlags::MSG_DONTWAIT;
    let ttl = ControlMessage::Ipv4Ttl(&hops);
    match (with_scope(to.addr, interface), v6) {
        (SocketAddr::V4(addr), false) => {
            let none = in_addr { s_addr: 0 };
            let ipi_ifindex = c_int::try_from(interface).map_err(|_| Errno::ENODEV)?;
            let info = in_pktinfo { ipi_ifindex, ipi_spec_dst: none, ipi_addr: none };
            let control = [ControlMessage::Ipv4PacketInfo(&info), ttl];
            sendmsg(fd, &iov, &control, flags, Some(&SockaddrIn::from(addr)))
        }
        (addr @ SocketAddr::V4(_), true) => {
            let info = leaves_by(Ipv4Addr::UNSPECIFIED.to_ipv6_mapped(), interface);
            let control = [ControlMessage::Ipv6PacketInfo(&info), ttl];
            sendmsg(fd, &iov, &control, flags, Some(&SockaddrIn6::from(mapped(addr))))
        }
        (SocketAddr::V6(addr), true) => {
            let info = leaves_by(Ipv6Addr::UNSPECIFIED, interface);
            let hops = ControlMessage::Ipv6HopLimit(&hops);
            let control = [ControlMessage::Ipv6PacketInfo(&info), hops];
            sendmsg(fd, &iov, &control, flags, Some(&SockaddrIn6::from(addr)))
        }
        (SocketAddr::V6(_), false) => return Err(Errno::EAFNOSUPPORT),
    }
    .map(drop)
}

const fn leaves_by(source: Ipv6Addr, interface: u32) -> in6_pktinfo {
    in6_pktinfo { ipi6_addr: in6_addr { s6_addr: source.octets() }, ipi6_ifindex: interface }
}
