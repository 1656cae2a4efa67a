//! Opens listening sockets.
//!
//! Options that accepted connections need (no delay, keep-alive) are set here once: Linux hands
//! a listening socket's options down to every connection, so that accepting costs one call.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};

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

/// Opens a datagram socket, non-blocking, with large buffers.
pub(crate) fn udp(addr: SocketAddr) -> io::Result<std::net::UdpSocket> {
    open(addr, |addr| {
        let socket = Socket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP))?;
        dual_stack(&socket, addr)?;
        buffers(&socket);
        tell_destination(&socket, addr)?;
        socket.bind(&addr.into())?;
        socket.set_nonblocking(true)?;
        Ok(socket.into())
    })
}

/// Opens a listening stream socket, non-blocking.
pub(crate) fn tcp(addr: SocketAddr) -> io::Result<mio::net::TcpListener> {
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
        socket.bind(&addr.into())?;
        socket.listen(BACKLOG)?;
        socket.set_nonblocking(true)?;
        Ok(mio::net::TcpListener::from_std(socket.into()))
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

    #[test]
    fn accepted_connections_inherit_the_options() {
        let listener = tcp((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
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
    fn a_taken_port_is_an_error() {
        let first = udp((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let error = udp(first.local_addr().unwrap()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        let first = tcp((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let error = tcp(first.local_addr().unwrap()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    }
}
