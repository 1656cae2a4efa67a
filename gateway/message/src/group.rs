//! What is sent to more than one: multicast groups and broadcast addresses ([`Group`]), datagrams for
//! them ([`Announcement`]), and the ranges of addresses that settings name ([`Network`]).
//!
//! Announcements are rare (discovery) and have their own way out, so that a datagram to one peer
//! carries nothing of this.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::fmt;
use core::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};
use core::str::FromStr;

use crate::ListenerId;

/// A network interface of this machine.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Interface {
    /// The one that the system picks.
    Any,
    /// By the system's number.
    Index(u32),
    /// By its name, which may mean another number later.
    Named(Arc<str>),
}

/// A multicast group or a broadcast address, on an interface.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Group {
    /// Port 0 is that of the listener.
    pub addr: SocketAddr,
    /// Where it is heard or spoken to.
    pub interface: Interface,
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let port = self.addr.port();
        let bracketed = self.addr.is_ipv6() && port != 0;
        if bracketed {
            f.write_str("[")?;
        }
        write!(f, "{}", self.addr.ip())?;
        match &self.interface {
            Interface::Any => {}
            Interface::Index(index) => write!(f, "%{index}")?,
            Interface::Named(name) => write!(f, "%{name}")?,
        }
        if bracketed {
            f.write_str("]")?;
        }
        if port == 0 { Ok(()) } else { write!(f, ":{port}") }
    }
}

/// `ADDRESS`, `ADDRESS%INTERFACE`, each with `:PORT` if it is not the listener's own; an IPv6 address
/// with a port is in brackets.
impl FromStr for Group {
    type Err = NotAGroup;

    fn from_str(text: &str) -> Result<Self, NotAGroup> {
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (host, port) = rest.split_once(']').ok_or(NotAGroup)?;
                (
                    host,
                    if port.is_empty() {
                        None
                    } else {
                        Some(port.strip_prefix(':').ok_or(NotAGroup)?)
                    },
                )
            }
            // With one colon it is IPv4 and a port.
            None if text.matches(':').count() == 1 => {
                let (host, port) = text.split_once(':').ok_or(NotAGroup)?;
                (host, Some(port))
            }
            None => (text, None),
        };
        let port = match port {
            None => 0,
            Some(port) => port.parse().ok().filter(|port| *port != 0).ok_or(NotAGroup)?,
        };
        let (host, interface) = match host.split_once('%') {
            // Linux has 15 bytes for a name.
            Some((host, name)) if (1..=15).contains(&name.len()) && !name.contains(['/', ' ']) => {
                (host, Interface::Named(name.into()))
            }
            Some(_) => return Err(NotAGroup),
            None => (host, Interface::Any),
        };
        let ip: IpAddr = host.parse().map_err(|_| NotAGroup)?;
        Ok(Group { addr: SocketAddr::new(ip, port), interface })
    }
}

/// The text is no group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAGroup;

/// A datagram for more than one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announcement {
    /// By which socket; `None`: by every one of its protocol that reaches the group.
    pub listener: Option<ListenerId>,
    /// To whom.
    pub to: Group,
    /// How many hops it goes at most (TTL, hop limit); 0: as far as the network carries it.
    pub hops: u8,
    /// What.
    pub bytes: Box<[u8]>,
}

/// A range of addresses: `ADDRESS/BITS`, or one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Network {
    /// As if it were IPv6.
    first: u128,
    bits: u32,
}

impl Network {
    /// Whether the address is one of it; an IPv4 address is the same written as IPv6.
    #[must_use]
    pub fn contains(&self, ip: IpAddr) -> bool {
        (mapped(ip) ^ self.first).checked_shr(128 - self.bits).unwrap_or(0) == 0
    }
}

fn mapped(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => u128::from(ip.to_ipv6_mapped()),
        IpAddr::V6(ip) => u128::from(ip),
    }
}

impl FromStr for Network {
    type Err = NotANetwork;

    fn from_str(text: &str) -> Result<Self, NotANetwork> {
        let (ip, bits) = match text.split_once('/') {
            Some((ip, bits)) => (ip, Some(bits)),
            None => (text, None),
        };
        let ip: IpAddr = ip.parse().map_err(|_| NotANetwork)?;
        let most = if ip.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            None => most,
            Some(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => {
                text.parse().ok().filter(|bits| *bits <= most).ok_or(NotANetwork)?
            }
            Some(_) => return Err(NotANetwork),
        };
        let network = Network { first: mapped(ip), bits: bits + 128 - most };
        // Bits beyond the prefix are a slip of whoever wrote it.
        let rest = network.first.checked_shl(network.bits).unwrap_or(0);
        if rest == 0 { Ok(network) } else { Err(NotANetwork) }
    }
}

/// The text is no network, or names a host within one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotANetwork;

/// The address with the number of its interface, without which a link-local one means nothing.
#[must_use]
pub fn with_scope(addr: SocketAddr, interface: u32) -> SocketAddr {
    match addr {
        SocketAddr::V6(addr) if is_scoped(*addr.ip()) => {
            SocketAddrV6::new(*addr.ip(), addr.port(), addr.flowinfo(), interface).into()
        }
        other => other,
    }
}

/// Whether an address means something on one link or interface only (RFC 4007 §5, RFC 4291 §2.7).
const fn is_scoped(ip: Ipv6Addr) -> bool {
    let scope = ip.octets()[1] & 0x0f;
    ip.is_unicast_link_local() || ip.is_multicast() && scope <= 2
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn groups_are_written_as_they_are_read() {
        for text in [
            "224.0.18.83",
            "224.0.18.83%eth0",
            "224.0.18.83%eth0:1884",
            "10.0.0.255:1885",
            "ff02::1:83%wpan0",
            "[ff02::1:83%wpan0]:1885",
            "ff05::83",
        ] {
            let group: Group = text.parse().unwrap();
            assert_eq!(group.to_string(), text);
        }
        for bad in [
            "",
            "eth0",
            "224.0.18.83%",
            "224.0.18.83:",
            "224.0.18.83:0",
            "224.0.18.83:65536",
            "[ff02::1",
            "[ff02::1]1885",
            "ff02::1%a/b",
            "224.0.18.83%a-name-of-16-byte",
            "%eth0",
        ] {
            assert_eq!(bad.parse::<Group>(), Err(NotAGroup), "{bad}");
        }
    }

    #[test]
    fn a_network_holds_its_addresses_and_no_other() {
        let holds = |network: &str, ip: &str| {
            network.parse::<Network>().unwrap().contains(ip.parse().unwrap())
        };
        assert!(holds("10.0.0.0/8", "10.255.0.1") && !holds("10.0.0.0/8", "11.0.0.1"));
        assert!(holds("10.0.0.0/8", "::ffff:10.0.0.1"));
        assert!(holds("192.0.2.7", "192.0.2.7") && !holds("192.0.2.7", "192.0.2.6"));
        assert!(holds("0.0.0.0/0", "192.0.2.7") && !holds("0.0.0.0/0", "2001:db8::1"));
        assert!(holds("::/0", "192.0.2.7") && holds("::/0", "2001:db8::1"));
        assert!(holds("fd00::/8", "fdff::1") && !holds("fd00::/8", "fe80::1"));
        for bad in [
            "",
            "10.0.0.0/33",
            "10.0.0.1/8",
            "fd00::1/8",
            "10.0.0.0/",
            "10.0.0.0/+8",
            "x/8",
            "::/129",
        ] {
            assert_eq!(bad.parse::<Network>(), Err(NotANetwork), "{bad}");
        }
    }

    #[test]
    fn only_what_is_of_one_link_has_its_interface_in_the_address() {
        let scoped = |ip: &str| {
            let addr = with_scope(SocketAddr::new(ip.parse().unwrap(), 1), 7);
            matches!(addr, SocketAddr::V6(addr) if addr.scope_id() == 7)
        };
        assert!(scoped("fe80::1") && scoped("ff02::1") && scoped("ff01::1"));
        assert!(!scoped("ff05::1") && !scoped("fd00::1") && !scoped("224.0.0.1"));
    }
}
