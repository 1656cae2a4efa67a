//! [`Address`]: a place to listen on, of the network or in the file system.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// Where a listener's socket is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Address {
    /// `[::]` means every address, IPv4 included: one socket that is not IPv6-only. Port 0 takes
    /// a free one.
    Ip(SocketAddr),
    /// A Unix socket, written `unix:PATH`.
    Unix(PathBuf),
}

impl Address {
    /// The address, unless it is a Unix socket.
    #[must_use]
    pub const fn ip(&self) -> Option<SocketAddr> {
        match self {
            Address::Ip(addr) => Some(*addr),
            Address::Unix(_) => None,
        }
    }

    /// The path, if it is a Unix socket.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match self {
            Address::Ip(_) => None,
            Address::Unix(path) => Some(path),
        }
    }

    /// The port; `None` for a Unix socket.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        self.ip().map(|addr| addr.port())
    }

    /// Whether no two sockets can have these.
    #[must_use]
    pub fn overlaps(&self, other: &Address) -> bool {
        match (self, other) {
            (Address::Ip(one), Address::Ip(other)) => crate::listeners::overlaps(*one, *other),
            (Address::Unix(one), Address::Unix(other)) => one == other,
            _ => false,
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(addr: SocketAddr) -> Self {
        Address::Ip(addr)
    }
}

impl PartialEq<SocketAddr> for Address {
    fn eq(&self, other: &SocketAddr) -> bool {
        self.ip() == Some(*other)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Ip(addr) => addr.fmt(f),
            Address::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_no_port() {
        let path = Address::Unix("/run/m.sock".into());
        assert_eq!((path.to_string().as_str(), path.port()), ("unix:/run/m.sock", None));
        let port = Address::from("127.0.0.1:1".parse::<SocketAddr>().unwrap());
        assert!(path.overlaps(&path) && !path.overlaps(&port) && !port.overlaps(&path));
    }
}
