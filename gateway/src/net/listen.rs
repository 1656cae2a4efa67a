//! Opens listening sockets.
//!
//! Options that accepted connections need (no delay, keep-alive) are set here once: Linux hands
//! a listening socket's options down to every connection, so that accepting costs one call.

use std::fs::Permissions;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::Path;
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, TcpKeepalive, Type};

use crate::control::socket::{SocketFile, is_stale};

use crate::net::group;

/// Wanted for a datagram socket in each direction; the kernel's `rmem_max` may give less.
const UDP_BUFFER: usize = 4 * 1024 * 1024;
/// Connections that wait for `accept`; the kernel's `somaxconn` may give less.
const BACKLOG: i32 = 4096;
/// Silence after which TCP asks whether the peer is there.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);
/// Between two such questions.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);
/// Unanswered ones that end the connection.
const KEEPALIVE_RETRIES: u32 = 4;
/// How long sent bytes may stay unacknowledged.
const USER_TIMEOUT: Duration = Duration::from_secs(60);

/// Who may open a Unix socket: its user and group.
const UNIX_MODE: u32 = 0o660;

/// Open sockets beside which others may be opened at addresses that overlap with theirs, until this
/// is dropped. Nobody else's socket can: it would have to ask for that, and be this user's.
#[derive(Debug, Default)]
pub(crate) struct Lent(Vec<OwnedFd>);

impl Lent {
    /// Duplicates of the sockets.
    pub(crate) fn new(sockets: Vec<OwnedFd>) -> io::Result<Self> {
        let lent = Lent(sockets);
        lent.0.iter().try_for_each(|socket| SockRef::from(socket).set_reuse_port(true))?;
        Ok(lent)
    }

    /// Whether a socket that is opened now shares.
    fn shares(&self, socket: &Socket, shares: bool) -> io::Result<()> {
        if self.0.is_empty() { Ok(()) } else { socket.set_reuse_port(shares) }
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        for socket in &self.0 {
            let _ = SockRef::from(socket).set_reuse_port(false);
        }
    }
}

/// Opens a datagram socket, non-blocking, with large buffers.
pub(crate) fn udp(addr: SocketAddr, beside: &Lent) -> io::Result<std::net::UdpSocket> {
    open(addr, |addr| {
        let socket = Socket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP))?;
        dual_stack(&socket, addr)?;
        buffers(&socket);
        tell_destination(&socket, addr)?;
        group::prepare(&socket, addr)?;
        beside.shares(&socket, true)?;
        socket.bind(&addr.into())?;
        beside.shares(&socket, false)?;
        socket.set_nonblocking(true)?;
        Ok(socket.into())
    })
}

/// Opens a listening stream socket, non-blocking.
pub(crate) fn tcp(addr: SocketAddr, beside: &Lent) -> io::Result<mio::net::TcpListener> {
    open(addr, |addr| {
        let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
        dual_stack(&socket, addr)?;
        // A restart must not wait for connections of the last run in TIME_WAIT.
        socket.set_reuse_address(true)?;
        socket.set_tcp_nodelay(true)?;
        let keepalive = TcpKeepalive::new()
            .with_time(KEEPALIVE_IDLE)
            .with_interval(KEEPALIVE_INTERVAL)
            .with_retries(KEEPALIVE_RETRIES);
        socket.set_tcp_keepalive(&keepalive)?;
        socket.set_tcp_user_timeout(Some(USER_TIMEOUT))?;
        beside.shares(&socket, true)?;
        socket.bind(&addr.into())?;
        socket.listen(BACKLOG)?;
        beside.shares(&socket, false)?;
        socket.set_nonblocking(true)?;
        Ok(mio::net::TcpListener::from_std(socket.into()))
    })
}

/// Opens a listening Unix socket, non-blocking, for this user and group. A file that a gateway left
/// behind is replaced, one where somebody answers is not.
pub(crate) fn unix(path: &Path) -> io::Result<(mio::net::UnixListener, SocketFile)> {
    if is_left(path)? {
        std::fs::remove_file(path)?;
    }
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&SockAddr::unix(path)?)?;
    let file = SocketFile::new(path)?;
    // Nobody connects before it listens.
    std::fs::set_permissions(path, Permissions::from_mode(UNIX_MODE))?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok((mio::net::UnixListener::from_std(socket.into()), file))
}

/// Whether a Unix socket can be had there.
pub(crate) fn try_unix(path: &Path) -> io::Result<()> {
    let is_left = is_left(path)?;
    match path.parent().filter(|folder| !is_left && !folder.as_os_str().is_empty()) {
        Some(folder) => std::fs::metadata(folder).map(drop),
        None => Ok(()),
    }
}

/// Whether a gateway has left its socket there; whatever else there is stands in the way.
fn is_left(path: &Path) -> io::Result<bool> {
    match std::fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => {
            Err(io::Error::other("there is a file, which is no socket"))
        }
        Ok(_) if is_stale(path) => Ok(true),
        Ok(_) => Err(io::ErrorKind::AddrInUse.into()),
        Err(_) => Ok(false),
    }
}

/// Whether an address can be had: its socket is held until the result is dropped. Nobody is listened
/// to, so that no connection is lost with it.
pub(crate) fn hold(addr: SocketAddr, datagrams: bool) -> io::Result<Socket> {
    let (kind, protocol) = match datagrams {
        true => (Type::DGRAM, Protocol::UDP),
        false => (Type::STREAM, Protocol::TCP),
    };
    open(addr, |addr| {
        let socket = Socket::new(Domain::for_address(addr), kind, Some(protocol))?;
        dual_stack(&socket, addr)?;
        // As when it is listened on.
        socket.set_reuse_address(!datagrams)?;
        socket.bind(&addr.into())?;
        Ok(socket)
    })
}

/// `[::]` means every address; where the kernel has no IPv6 that is `0.0.0.0`.
fn open<T>(addr: SocketAddr, open: impl Fn(SocketAddr) -> io::Result<T>) -> io::Result<T> {
    let result = open(addr);
    match &result {
        Err(error) if addr.is_ipv6() && addr.ip().is_unspecified() && no_ipv6(error) => {
            open((Ipv4Addr::UNSPECIFIED, addr.port()).into())
        }
        _ => result,
    }
}

fn no_ipv6(error: &io::Error) -> bool {
    use nix::libc::{EADDRNOTAVAIL, EAFNOSUPPORT};
    matches!(error.raw_os_error(), Some(EAFNOSUPPORT | EADDRNOTAVAIL))
}

fn dual_stack(socket: &Socket, addr: SocketAddr) -> io::Result<()> {
    if addr.is_ipv6() { socket.set_only_v6(false) } else { Ok(()) }
}

/// Every datagram comes with the address that it was sent to, so that the answer leaves from there.
fn tell_destination(socket: &Socket, addr: SocketAddr) -> io::Result<()> {
    let set = match addr {
        SocketAddr::V4(_) => setsockopt(socket, sockopt::Ipv4PacketInfo, &true),
        SocketAddr::V6(_) => setsockopt(socket, sockopt::Ipv6RecvPacketInfo, &true),
    };
    Ok(set?)
}

/// Best effort: first past the system's limit (needs CAP_NET_ADMIN), then up to it.
fn buffers(socket: &Socket) {
    if setsockopt(socket, sockopt::RcvBufForce, &UDP_BUFFER).is_err() {
        let _ = socket.set_recv_buffer_size(UDP_BUFFER);
    }
    if setsockopt(socket, sockopt::SndBufForce, &UDP_BUFFER).is_err() {
        let _ = socket.set_send_buffer_size(UDP_BUFFER);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::IpAddr;
    use std::os::fd::AsFd as _;

    #[test]
    fn accepted_connections_inherit_the_options() {
        let listener = tcp((Ipv4Addr::LOCALHOST, 0).into(), &Lent::default()).unwrap();
        let addr = listener.local_addr().unwrap();
        let _client = std::net::TcpStream::connect(addr).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        let socket = socket2::SockRef::from(&accepted);
        assert!(socket.tcp_nodelay().unwrap());
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), KEEPALIVE_IDLE);
        assert_eq!(socket.tcp_keepalive_interval().unwrap(), KEEPALIVE_INTERVAL);
        assert_eq!(socket.tcp_keepalive_retries().unwrap(), KEEPALIVE_RETRIES);
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(USER_TIMEOUT));
    }

    #[test]
    fn a_unix_socket_replaces_what_nobody_answers_at() {
        let path = std::env::temp_dir().join(format!("motegate-listen-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let (first, file) = unix(&path).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o660);
        assert_eq!(unix(&path).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(first);
        std::mem::forget(file); // as if it was killed
        let (_second, file) = unix(&path).unwrap();
        drop(file);
        assert!(!path.exists(), "its file goes with it");
        std::fs::write(&path, "text").unwrap();
        assert!(unix(&path).unwrap_err().to_string().contains("no socket"));
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_taken_port_is_an_error() {
        let first = udp((Ipv4Addr::LOCALHOST, 0).into(), &Lent::default()).unwrap();
        let error = udp(first.local_addr().unwrap(), &Lent::default()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        let first = tcp((Ipv4Addr::LOCALHOST, 0).into(), &Lent::default()).unwrap();
        let error = tcp(first.local_addr().unwrap(), &Lent::default()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    }

    /// What was lent is nobody's afterwards: neither beside the old nor beside the new socket.
    #[test]
    fn an_address_that_overlaps_is_had_beside_a_lent_socket_only() {
        let pairs = [
            ("127.0.0.1", "0.0.0.0"),
            ("0.0.0.0", "127.0.0.1"),
            ("0.0.0.0", "::"),
            ("::", "127.0.0.1"),
        ];
        for (old, new) in pairs {
            let at = |ip: &str, port: u16| SocketAddr::from((ip.parse::<IpAddr>().unwrap(), port));
            let alone = Lent::default();
            let first = udp(at(old, 0), &alone).unwrap();
            let to = at(new, first.local_addr().unwrap().port());
            assert!(udp(to, &alone).is_err(), "{old} {new}");
            let lent = Lent::new(vec![first.try_clone().unwrap().into()]).unwrap();
            let second = udp(to, &lent).unwrap();
            drop(lent);
            drop(first);
            assert!(udp(to, &alone).is_err(), "{old} {new}");
            drop(second);

            let first = tcp(at(old, 0), &alone).unwrap();
            let to = at(new, first.local_addr().unwrap().port());
            assert!(tcp(to, &alone).is_err(), "{old} {new}");
            let lent = Lent::new(vec![first.as_fd().try_clone_to_owned().unwrap()]).unwrap();
            let second = tcp(to, &lent).unwrap();
            drop(lent);
            drop(first);
            assert!(tcp(to, &alone).is_err(), "{old} {new}");
            let _client = std::net::TcpStream::connect(("127.0.0.1", to.port())).unwrap();
            assert!(second.accept().is_ok());
        }
    }
}
