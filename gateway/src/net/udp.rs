//! Datagram sockets: many datagrams a system call, in both directions.
//!
//! A turn takes at most one batch from a socket. What the kernel does not take at once waits in a
//! bounded backlog of that socket and leaves, in order, when it becomes writable. A datagram that
//! cannot be sent (no route, forbidden, an earlier one was refused) is counted and forgotten, as
//! the network might have done. Addresses of IPv4 peers are IPv4 inside the program, also where
//! the socket is a dual-stack one.

use std::array;
use std::collections::VecDeque;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6, UdpSocket};
use std::os::fd::{AsRawFd, RawFd};
use std::task::{Context, Poll};

use motegate_core::Input;
use motegate_message::{DatagramQueue, ListenerId};
use nix::errno::Errno;
use nix::sys::socket::{
    MsgFlags, MultiHeaders, SockaddrIn, SockaddrIn6, SockaddrLike, recvmmsg, sendmmsg,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::machine::Machine;
use crate::net::{Counters, canonical, watch};

/// Datagrams a system call, and a socket's share of a turn.
const BATCH: usize = 64;
/// Room for the longest datagram there is. Only pages that were written to cost memory.
const SLOT: usize = 64 * 1024;
/// What waits for a socket to become writable.
const MAX_BACKLOG: usize = 4 * BATCH;

/// All datagram sockets of a worker.
#[derive(Debug)]
pub(crate) struct Udp {
    sockets: Vec<Socket>,
    batch: Batch,
    sender: Sender,
}

#[derive(Debug)]
struct Socket {
    fd: AsyncFd<UdpSocket>,
    /// The same socket, watched for writability while a backlog waits.
    writable: Option<AsyncFd<UdpSocket>>,
    listener: ListenerId,
    v6: bool,
    backlog: VecDeque<(SocketAddr, Box<[u8]>)>,
}

impl Udp {
    /// Takes opened sockets; must be called within the runtime.
    pub(crate) fn new(sockets: Vec<(ListenerId, UdpSocket)>) -> io::Result<Self> {
        let sockets = sockets.into_iter().map(|(listener, socket)| Socket::new(listener, socket));
        Ok(Udp {
            sockets: sockets.collect::<io::Result<_>>()?,
            batch: Batch::new(),
            sender: Sender::new(),
        })
    }

    /// Ready when a socket has datagrams, or takes some that wait.
    pub(crate) fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut ready = Poll::Pending;
        for socket in &self.sockets {
            let readable = socket.fd.poll_read_ready(cx).is_ready();
            let writable =
                socket.writable.as_ref().is_some_and(|fd| fd.poll_write_ready(cx).is_ready());
            if readable || writable {
                ready = Poll::Ready(());
            }
        }
        ready
    }

    /// Whether nothing waits to be sent.
    pub(crate) fn is_flushed(&self) -> bool {
        self.sockets.iter().all(|socket| socket.backlog.is_empty())
    }

    /// One batch from every readable socket, with the answers sent after each. Says whether a
    /// socket may hold more.
    pub(crate) fn turn(&mut self, machine: &mut Machine, counters: &mut Counters) -> bool {
        let mut more = false;
        for index in 0..self.sockets.len() {
            let Some(socket) = self.sockets.get_mut(index) else { break };
            if !socket.backlog.is_empty() {
                socket.send_backlog(&mut self.sender, counters);
            }
            let received = socket.receive(&mut self.batch, counters);
            more |= received == BATCH;
            let listener = socket.listener;
            for (peer, bytes) in self.batch.iter() {
                machine.feed(Input::Datagram { listener, peer, bytes });
            }
            if received > 0 {
                self.flush(machine, counters);
            }
        }
        more
    }

    /// Sends what the core has put out.
    pub(crate) fn flush(&mut self, machine: &mut Machine, counters: &mut Counters) {
        for queue in machine.core.datagrams() {
            if !queue.is_empty() {
                self.send(queue, counters);
                queue.clear();
            }
        }
    }

    fn send(&mut self, queue: &DatagramQueue, counters: &mut Counters) {
        let mut datagrams = queue.iter().peekable();
        while let Some((listener, ..)) = datagrams.peek() {
            let listener = *listener;
            let mut run: heapless::Vec<(SocketAddr, &[u8]), BATCH> = heapless::Vec::new();
            while run.len() < BATCH
                && let Some((_, addr, bytes)) = datagrams.next_if(|(l, ..)| *l == listener)
            {
                let _ = run.push((addr, bytes));
            }
            match self.sockets.iter_mut().find(|socket| socket.listener == listener) {
                Some(socket) => socket.send(&run, &mut self.sender, counters),
                None => counters.send_errors += run.len() as u64,
            }
        }
    }
}

impl Socket {
    fn new(listener: ListenerId, socket: UdpSocket) -> io::Result<Self> {
        let v6 = socket.local_addr()?.is_ipv6();
        let fd = watch(socket, Interest::READABLE)?;
        Ok(Socket { fd, writable: None, listener, v6, backlog: VecDeque::new() })
    }

    /// Fills the batch; says how many datagrams the kernel gave.
    fn receive(&mut self, batch: &mut Batch, counters: &mut Counters) -> usize {
        let v6 = self.v6;
        let mut received = 0;
        batch.meta.clear();
        // Fewer than asked for means that the queue was empty just then: telling the runtime
        // "would block" saves the call that would only find that out again.
        let fd = self.fd.as_raw_fd();
        let _ = self.fd.try_io(Interest::READABLE, |_| {
            received = batch.fill(fd, v6, counters)?;
            if received < BATCH { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
        });
        received
    }

    fn send(
        &mut self,
        datagrams: &[(SocketAddr, &[u8])],
        sender: &mut Sender,
        counters: &mut Counters,
    ) {
        let mut rest = datagrams;
        // Order is kept: nothing passes what waits already.
        while self.backlog.is_empty() && !rest.is_empty() {
            match sender.send(self.fd.as_raw_fd(), self.v6, rest) {
                Ok(sent) => rest = rest.get(sent..).unwrap_or_default(),
                Err(Errno::EAGAIN) => break,
                Err(Errno::EINTR) => {}
                Err(error) => {
                    tracing::debug!(peer = ?rest.first().map(|d| d.0), %error, "datagram not sent");
                    counters.send_errors += 1;
                    rest = rest.get(1..).unwrap_or_default();
                }
            }
        }
        for (addr, bytes) in rest {
            if self.backlog.len() >= MAX_BACKLOG {
                counters.send_dropped += 1;
            } else {
                self.backlog.push_back((*addr, (*bytes).into()));
            }
        }
        if !self.backlog.is_empty() && self.writable.is_none() {
            // Without a descriptor for it the backlog leaves with the next datagram received.
            let twin = self.fd.get_ref().try_clone();
            self.writable = twin.and_then(|twin| watch(twin, Interest::WRITABLE)).ok();
        }
    }

    fn send_backlog(&mut self, sender: &mut Sender, counters: &mut Counters) {
        while !self.backlog.is_empty() {
            let waiting = self.backlog.iter().take(BATCH);
            let run: heapless::Vec<(SocketAddr, &[u8]), BATCH> =
                waiting.map(|(addr, bytes)| (*addr, &**bytes)).collect();
            let result = sender.send(self.fd.as_raw_fd(), self.v6, &run);
            drop(run);
            let done = match result {
                Ok(sent) => sent,
                Err(Errno::EAGAIN) => {
                    if let Some(fd) = &self.writable {
                        // Forgets the edge that brought us here, so that the next one is seen.
                        let blocked = Err::<(), _>(io::ErrorKind::WouldBlock.into());
                        let _ = fd.try_io(Interest::WRITABLE, |_| blocked);
                    }
                    return;
                }
                Err(Errno::EINTR) => 0,
                Err(_) => {
                    counters.send_errors += 1;
                    1
                }
            };
            self.backlog.drain(..done);
        }
        self.backlog = VecDeque::new();
        self.writable = None;
    }
}

/// One batch of received datagrams; a worker has one for all its sockets.
///
/// The kernel leaves an address's length in the header, and the next call takes it for the room
/// there is: so each family has its own headers.
struct Batch {
    buffer: Box<[u8]>,
    v4: MultiHeaders<SockaddrIn>,
    v6: MultiHeaders<SockaddrIn6>,
    /// Slot, sender, length.
    meta: heapless::Vec<(usize, SocketAddr, usize), BATCH>,
}

impl std::fmt::Debug for Batch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Batch").field("received", &self.meta.len()).finish_non_exhaustive()
    }
}

impl Batch {
    fn new() -> Self {
        Batch {
            buffer: vec![0; BATCH * SLOT].into_boxed_slice(),
            v4: MultiHeaders::preallocate(BATCH, None),
            v6: MultiHeaders::preallocate(BATCH, None),
            meta: heapless::Vec::new(),
        }
    }

    fn fill(&mut self, fd: RawFd, v6: bool, counters: &mut Counters) -> io::Result<usize> {
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

    fn iter(&self) -> impl Iterator<Item = (SocketAddr, &[u8])> {
        self.meta.iter().filter_map(|(slot, addr, len)| {
            let start = slot * SLOT;
            Some((*addr, self.buffer.get(start..start + len)?))
        })
    }
}

fn receive_batch<S: SockaddrLike + Copy>(
    fd: RawFd,
    headers: &mut MultiHeaders<S>,
    buffer: &mut [u8],
    meta: &mut heapless::Vec<(usize, SocketAddr, usize), BATCH>,
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
            let _ = meta.push((slot, peer(addr), message.bytes));
        }
    }
    Ok(received)
}

/// Headers for sending; a worker has one set for all its sockets.
struct Sender {
    v4: MultiHeaders<SockaddrIn>,
    v6: MultiHeaders<SockaddrIn6>,
}

impl std::fmt::Debug for Sender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sender").finish_non_exhaustive()
    }
}

impl Sender {
    fn new() -> Self {
        Sender {
            v4: MultiHeaders::preallocate(BATCH, None),
            v6: MultiHeaders::preallocate(BATCH, None),
        }
    }

    /// Sends some, at least one; an error concerns the first.
    fn send(
        &mut self,
        fd: RawFd,
        v6: bool,
        datagrams: &[(SocketAddr, &[u8])],
    ) -> nix::Result<usize> {
        if v6 {
            let to = |addr| Some(SockaddrIn6::from(mapped(addr)));
            send_batch(fd, &mut self.v6, datagrams, to)
        } else {
            send_batch(fd, &mut self.v4, datagrams, |addr| match addr {
                SocketAddr::V4(addr) => Some(SockaddrIn::from(addr)),
                SocketAddr::V6(_) => None,
            })
        }
    }
}

fn send_batch<S: SockaddrLike + Copy>(
    fd: RawFd,
    headers: &mut MultiHeaders<S>,
    datagrams: &[(SocketAddr, &[u8])],
    to: impl Fn(SocketAddr) -> Option<S>,
) -> nix::Result<usize> {
    let addrs: heapless::Vec<Option<S>, BATCH> =
        datagrams.iter().take(BATCH).map(|(addr, _)| to(*addr)).collect();
    if addrs.first().is_none_or(Option::is_none) {
        return Err(Errno::EAFNOSUPPORT);
    }
    // A datagram without a destination would go nowhere; it is met as the first one later.
    let count = addrs.iter().take_while(|addr| addr.is_some()).count();
    let iovs: heapless::Vec<[IoSlice<'_>; 1], BATCH> =
        datagrams.iter().take(count).map(|(_, bytes)| [IoSlice::new(bytes)]).collect();
    let sent = sendmmsg(fd, headers, &iovs, &addrs, [], MsgFlags::MSG_DONTWAIT)?;
    Ok(sent.count())
}

/// The reverse of `canonical`.
fn mapped(addr: SocketAddr) -> SocketAddrV6 {
    match addr {
        SocketAddr::V4(addr) => SocketAddrV6::new(addr.ip().to_ipv6_mapped(), addr.port(), 0, 0),
        SocketAddr::V6(addr) => addr,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::listen;
    use std::net::{Ipv4Addr, Ipv6Addr};

    fn socket(fd: UdpSocket) -> Socket {
        Socket::new(ListenerId(0), fd).unwrap()
    }

    async fn receive(socket: &mut Socket, batch: &mut Batch) -> usize {
        let _ = socket.fd.readable().await.unwrap();
        socket.receive(batch, &mut Counters::default())
    }

    #[tokio::test]
    async fn a_batch_arrives_whole_and_is_answered() {
        let mut server = socket(listen::udp((Ipv4Addr::LOCALHOST, 0).into()).unwrap());
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.connect(server.fd.get_ref().local_addr().unwrap()).unwrap();
        for i in 0..70_u8 {
            client.send(&vec![i; usize::from(i)]).unwrap();
        }
        let mut batch = Batch::new();
        let mut counters = Counters::default();
        assert_eq!(receive(&mut server, &mut batch).await, BATCH);
        let lens: Vec<_> = batch.iter().map(|(_, bytes)| bytes.len()).collect();
        assert_eq!(lens, (0..BATCH).collect::<Vec<_>>());
        assert!(batch.iter().all(|(peer, _)| peer == client.local_addr().unwrap()));
        let echo: Vec<_> = batch.iter().collect();
        server.send(&echo, &mut Sender::new(), &mut counters);
        assert_eq!(receive(&mut server, &mut batch).await, 6);
        let mut buf = [0; 100];
        for len in 0..BATCH {
            assert_eq!(client.recv(&mut buf).unwrap(), len);
        }
        assert_eq!(counters, Counters::default());
    }

    #[tokio::test]
    async fn a_dual_stack_socket_speaks_to_both_families() {
        let Ok(fd) = listen::udp((Ipv6Addr::UNSPECIFIED, 0).into()) else { return };
        let port = fd.local_addr().unwrap().port();
        let mut server = socket(fd);
        let mut batch = Batch::new();
        let v4 = UdpSocket::bind("127.0.0.1:0").unwrap();
        v4.send_to(b"four", ("127.0.0.1", port)).unwrap();
        assert_eq!(receive(&mut server, &mut batch).await, 1);
        let (peer, bytes) = batch.iter().next().unwrap();
        assert_eq!((peer, bytes), (v4.local_addr().unwrap(), &b"four"[..]));
        server.send(&[(peer, b"back")], &mut Sender::new(), &mut Counters::default());
        let mut buf = [0; 8];
        assert_eq!(v4.recv(&mut buf).unwrap(), 4);
        if server.v6 {
            let v6 = UdpSocket::bind("[::1]:0").unwrap();
            v6.send_to(b"a longer one", ("::1", port)).unwrap();
            assert_eq!(receive(&mut server, &mut batch).await, 1);
            let (peer, bytes) = batch.iter().next().unwrap();
            assert_eq!((peer, bytes), (v6.local_addr().unwrap(), &b"a longer one"[..]));
        }
    }

    #[tokio::test]
    async fn the_longest_datagram_fits_and_a_bad_destination_harms_nobody() {
        let mut server = socket(listen::udp((Ipv4Addr::LOCALHOST, 0).into()).unwrap());
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.connect(server.fd.get_ref().local_addr().unwrap()).unwrap();
        client.send(&[7; 65_507]).unwrap();
        let mut batch = Batch::new();
        assert_eq!(receive(&mut server, &mut batch).await, 1);
        assert_eq!(batch.iter().next().unwrap().1.len(), 65_507);
        let good = client.local_addr().unwrap();
        let nowhere = SocketAddr::from((Ipv6Addr::LOCALHOST, 9));
        let too_long = [0; 66_000];
        let mut counters = Counters::default();
        let run: [(SocketAddr, &[u8]); 4] =
            [(good, b"a"), (nowhere, b"b"), (good, &too_long), (good, b"c")];
        server.send(&run, &mut Sender::new(), &mut counters);
        assert_eq!(counters.send_errors, 2);
        let mut buf = [0; 8];
        for expected in [b"a", b"c"] {
            let len = client.recv(&mut buf).unwrap();
            assert_eq!(&buf[..len], expected);
        }
    }

    #[tokio::test]
    async fn a_backlog_is_bounded_and_leaves_in_order() {
        let mut server = socket(listen::udp((Ipv4Addr::LOCALHOST, 0).into()).unwrap());
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        let to = client.local_addr().unwrap();
        server.backlog.push_back((to, Box::from(&b"first"[..])));
        let mut counters = Counters::default();
        let run: Vec<(SocketAddr, &[u8])> = vec![(to, b"later"); MAX_BACKLOG];
        server.send(&run, &mut Sender::new(), &mut counters);
        assert_eq!((server.backlog.len(), counters.send_dropped), (MAX_BACKLOG, 1));
        let _ = server.writable.as_ref().unwrap().writable().await.unwrap();
        server.send_backlog(&mut Sender::new(), &mut counters);
        assert!(server.backlog.is_empty() && server.writable.is_none());
        let mut buf = [0; 8];
        assert_eq!(client.recv(&mut buf).unwrap(), 5);
        assert_eq!(&buf[..5], b"first");
        assert_eq!(client.recv(&mut buf).unwrap(), 5);
        assert_eq!(&buf[..5], b"later");
    }
}
