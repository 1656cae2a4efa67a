//! Datagram sockets: many datagrams a system call, in both directions.
//!
//! A turn takes at most one batch from a socket. What the kernel does not take at once waits in a
//! bounded backlog of that socket and leaves, in order, when it becomes writable. A datagram that
//! cannot be sent (no route, forbidden, an earlier one was refused) is counted and forgotten, as
//! the network might have done. Addresses of IPv4 peers are IPv4 inside the program, also where
//! the socket is a dual-stack one. An answer leaves from the address that was asked.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd as _, AsRawFd, BorrowedFd};
use std::task::{Context, Poll};

use motegate_core::Input;
use motegate_message::{Announcement, DatagramQueue, Group, Interface, ListenerId, LocalId, Route};
use motegate_timers::Instant;
use nix::errno::Errno;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::machine::Machine;
use crate::net::batch::{BATCH, Batch, Received, Sender};
use crate::net::group::{self, Memberships};
use crate::net::{Counters, watch};

/// What waits for a socket to become writable.
const MAX_BACKLOG: usize = 4 * BATCH;
/// Addresses of this machine that a socket tells apart; answers from more leave by the one that
/// the system picks.
const MAX_LOCALS: usize = 1024;

/// All datagram sockets of a worker.
#[derive(Debug)]
pub(crate) struct Udp {
    sockets: Vec<Socket>,
    batch: Batch,
    sender: Sender,
    /// When the interfaces are looked at again; only where groups are to be joined.
    tend_at: Option<Instant>,
}

/// A socket with what waits for it.
#[derive(Debug)]
pub(crate) struct Socket {
    fd: AsyncFd<UdpSocket>,
    /// The same socket, watched for writability while a backlog waits.
    writable: Option<AsyncFd<UdpSocket>>,
    listener: ListenerId,
    v6: bool,
    port: u16,
    /// Whether it is bound to all addresses.
    any: bool,
    backlog: VecDeque<(LocalId, SocketAddr, Box<[u8]>)>,
    locals: Locals,
    groups: Memberships,
}

/// Numbers for the addresses of this machine that datagrams came to.
#[derive(Debug, Default)]
struct Locals(Vec<IpAddr>);

impl Locals {
    fn id(&mut self, ip: Option<IpAddr>) -> LocalId {
        let Some(ip) = ip else { return LocalId::ANY };
        let index = self.0.iter().position(|known| *known == ip).unwrap_or_else(|| {
            if self.0.len() < MAX_LOCALS {
                self.0.push(ip);
            }
            self.0.len() - 1
        });
        match self.0.get(index) {
            Some(known) if *known == ip => LocalId(u16::try_from(index + 1).unwrap_or(0)),
            _ => LocalId::ANY,
        }
    }

    fn get(&self, id: LocalId) -> Option<IpAddr> {
        self.0.get(usize::from(id.0).checked_sub(1)?).copied()
    }
}

impl Udp {
    /// Takes opened sockets; must be called within the runtime.
    pub(crate) fn new(sockets: Vec<(ListenerId, UdpSocket)>) -> io::Result<Self> {
        let sockets = Udp::watch(sockets)?;
        Ok(Udp { sockets, batch: Batch::new(), sender: Sender::new(), tend_at: None })
    }

    /// The numbers of this machine's addresses that restored clients have, before any datagram.
    pub(crate) fn set_locals(&mut self, restored: &[(ListenerId, LocalId, IpAddr)]) {
        for (listener, local, ip) in restored {
            for socket in self.sockets.iter_mut().filter(|socket| socket.listener == *listener) {
                let given = socket.locals.id(Some(*ip));
                debug_assert!(given == *local || given == LocalId::ANY, "from 1 up, in order");
            }
        }
    }

    /// The groups that listeners hear from now on, instead of those before.
    pub(crate) fn set_groups(&mut self, wanted: &[(ListenerId, Group)], now: Instant) {
        for (listener, group) in wanted {
            let mut mine = self.sockets.iter().filter(|socket| socket.listener == *listener);
            if !mine.any(|socket| socket.reaches(group)) {
                // `[::]` is `0.0.0.0` on a machine without IPv6.
                tracing::warn!(%group, error = "no socket of its family", "not joined");
            }
        }
        for socket in &mut self.sockets {
            let mine = wanted.iter().filter(|(id, group)| {
                *id == socket.listener && socket.reaches(group) && socket.hears_groups()
            });
            let mine = mine.map(|(_, group)| group.clone()).collect();
            socket.groups.follow(socket.fd.get_ref(), mine);
        }
        let any = self.sockets.iter().any(|socket| !socket.groups.is_empty());
        self.tend_at = any.then_some(now + group::RETRY);
    }

    /// When [`tend_groups`](Self::tend_groups) is wanted.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.tend_at
    }

    /// Joins what could not be joined before, when it is time.
    pub(crate) fn tend_groups(&mut self, now: Instant) {
        if self.tend_at.is_some_and(|at| at <= now) {
            for socket in &mut self.sockets {
                socket.groups.tend(socket.fd.get_ref());
            }
            self.tend_at = Some(now + group::RETRY);
        }
    }

    /// Has the runtime, within which it must be called, watch sockets for
    /// [`change`](Self::change).
    pub(crate) fn watch(sockets: Vec<(ListenerId, UdpSocket)>) -> io::Result<Vec<Socket>> {
        sockets.into_iter().map(|(listener, socket)| Socket::new(listener, socket)).collect()
    }

    /// Sockets are closed (what waits in their backlog is forgotten, as the network might have
    /// done), serve another listener, or come. A listener's clients keep the numbers of this
    /// machine's addresses, whichever its socket is.
    pub(crate) fn change(
        &mut self,
        closed: &[ListenerId],
        handed: &[(ListenerId, ListenerId)],
        opened: Vec<Socket>,
    ) {
        let taken = |socket: &mut Socket| (socket.listener, std::mem::take(&mut socket.locals));
        let mut locals: Vec<(ListenerId, Locals)> = self.sockets.iter_mut().map(taken).collect();
        self.sockets.retain(|socket| !closed.contains(&socket.listener));
        for socket in &mut self.sockets {
            if let Some((_, to)) = handed.iter().find(|(from, _)| *from == socket.listener) {
                socket.listener = *to;
                // Of the other listener's addresses.
                socket.backlog.iter_mut().for_each(|(local, ..)| *local = LocalId::ANY);
            }
        }
        self.sockets.extend(opened);
        for socket in &mut self.sockets {
            if let Some(at) = locals.iter().position(|(id, _)| *id == socket.listener) {
                socket.locals = locals.swap_remove(at).1;
            }
        }
    }

    /// The socket of a listener.
    pub(crate) fn descriptor(&self, id: ListenerId) -> Option<BorrowedFd<'_>> {
        let socket = self.sockets.iter().find(|socket| socket.listener == id)?;
        Some(socket.fd.get_ref().as_fd())
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
            for Received { peer, arrival, bytes } in self.batch.iter() {
                let Some((ip, interface)) = arrival.group else {
                    let known = socket.locals.0.len();
                    let local = socket.locals.id(arrival.local);
                    if let Some(ip) = arrival.local.filter(|_| socket.locals.0.len() > known) {
                        machine.core.learn_local(listener, local, ip);
                    }
                    machine.feed(Input::Datagram { listener, local, peer, bytes });
                    continue;
                };
                if socket.groups.has(ip, interface) {
                    let addr = SocketAddr::new(ip, 0);
                    let group = &Group { addr, interface: Interface::Index(interface) };
                    machine.feed(Input::GroupDatagram { listener, group, peer, bytes });
                }
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
        for announcement in machine.announcements.drain(..) {
            self.announce(&announcement, counters);
        }
    }

    /// A datagram for a group leaves at once or not at all.
    fn announce(&mut self, announcement: &Announcement, counters: &mut Counters) {
        let Announcement { listener, to, hops, bytes } = announcement;
        let reaches = |socket: &&Socket| Some(socket.listener) == *listener && socket.reaches(to);
        let Some(socket) = self.sockets.iter().find(reaches) else { return };
        let mut to = to.clone();
        if to.addr.port() == 0 {
            to.addr.set_port(socket.port);
        }
        if let Err(error) = group::announce(socket.fd.get_ref(), socket.v6, &to, *hops, bytes) {
            tracing::debug!(%to, %error, "datagram not sent");
            counters.send_errors += 1;
        }
    }

    fn send(&mut self, queue: &DatagramQueue, counters: &mut Counters) {
        let mut datagrams = queue.iter().peekable();
        while let Some((Route { listener, local, .. }, _)) = datagrams.peek().copied() {
            let mut run: heapless::Vec<(SocketAddr, &[u8]), BATCH> = heapless::Vec::new();
            let alike = |to: &Route| to.listener == listener && to.local == local;
            while run.len() < BATCH
                && let Some((to, bytes)) = datagrams.next_if(|(to, _)| alike(to))
            {
                let _ = run.push((to.addr, bytes));
            }
            match self.sockets.iter_mut().find(|socket| socket.listener == listener) {
                Some(socket) => socket.send(local, &run, &mut self.sender, counters),
                None => counters.send_errors += run.len() as u64,
            }
        }
    }
}

impl Socket {
    fn new(listener: ListenerId, socket: UdpSocket) -> io::Result<Self> {
        let local = socket.local_addr()?;
        let fd = watch(socket, Interest::READABLE)?;
        Ok(Socket {
            fd,
            writable: None,
            listener,
            v6: local.is_ipv6(),
            port: local.port(),
            any: local.ip().is_unspecified(),
            backlog: VecDeque::new(),
            locals: Locals::default(),
            groups: Memberships::default(),
        })
    }

    /// What is sent to a group does not come to a socket that is bound to one address.
    fn hears_groups(&self) -> bool {
        self.any
    }

    /// Whether its family is the group's: an IPv6 socket on all addresses has both.
    fn reaches(&self, group: &Group) -> bool {
        match group.addr {
            SocketAddr::V4(_) => !self.v6 || self.any,
            SocketAddr::V6(_) => self.v6,
        }
    }

    /// Fills the batch; says how many datagrams the kernel gave.
    fn receive(&mut self, batch: &mut Batch, counters: &mut Counters) -> usize {
        let v6 = self.v6;
        let mut received = 0;
        batch.clear();
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
        local: LocalId,
        datagrams: &[(SocketAddr, &[u8])],
        sender: &mut Sender,
        counters: &mut Counters,
    ) {
        let mut rest = datagrams;
        let mut from = self.locals.get(local);
        // Order is kept: nothing passes what waits already.
        while self.backlog.is_empty() && !rest.is_empty() {
            match sender.send(self.fd.as_raw_fd(), self.v6, from, rest) {
                Ok(sent) => rest = rest.get(sent..).unwrap_or_default(),
                Err(Errno::EAGAIN) => break,
                Err(Errno::EINTR) => {}
                // An address that this machine has no more, or that was a broadcast's.
                Err(_) if from.take().is_some() => {}
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
                self.backlog.push_back((local, *addr, (*bytes).into()));
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
            let Some(local) = self.backlog.front().map(|(local, ..)| *local) else { break };
            let waiting = self.backlog.iter().take(BATCH).take_while(|(from, ..)| *from == local);
            let run: heapless::Vec<(SocketAddr, &[u8]), BATCH> =
                waiting.map(|(_, addr, bytes)| (*addr, &**bytes)).collect();
            let result = sender.send(self.fd.as_raw_fd(), self.v6, self.locals.get(local), &run);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::listen::{self, Lent};
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
        let mut server =
            socket(listen::udp((Ipv4Addr::LOCALHOST, 0).into(), &Lent::default()).unwrap());
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.connect(server.fd.get_ref().local_addr().unwrap()).unwrap();
        for i in 0..70_u8 {
            client.send(&vec![i; usize::from(i)]).unwrap();
        }
        let mut batch = Batch::new();
        let mut counters = Counters::default();
        assert_eq!(receive(&mut server, &mut batch).await, BATCH);
        let lens: Vec<_> = batch.iter().map(|d| d.bytes.len()).collect();
        assert_eq!(lens, (0..BATCH).collect::<Vec<_>>());
        assert!(batch.iter().all(|d| d.peer == client.local_addr().unwrap()));
        let echo: Vec<_> = batch.iter().map(|d| (d.peer, d.bytes)).collect();
        server.send(LocalId::ANY, &echo, &mut Sender::new(), &mut counters);
        assert_eq!(receive(&mut server, &mut batch).await, 6);
        let mut buf = [0; 100];
        for len in 0..BATCH {
            assert_eq!(client.recv(&mut buf).unwrap(), len);
        }
        assert_eq!(counters, Counters::default());
    }

    #[tokio::test]
    async fn a_dual_stack_socket_speaks_to_both_families() {
        let Ok(fd) = listen::udp((Ipv6Addr::UNSPECIFIED, 0).into(), &Lent::default()) else {
            return;
        };
        let port = fd.local_addr().unwrap().port();
        let mut server = socket(fd);
        let mut batch = Batch::new();
        let v4 = UdpSocket::bind("127.0.0.1:0").unwrap();
        v4.send_to(b"four", ("127.0.0.1", port)).unwrap();
        assert_eq!(receive(&mut server, &mut batch).await, 1);
        let Received { peer, arrival, bytes } = batch.iter().next().unwrap();
        assert_eq!((peer, bytes), (v4.local_addr().unwrap(), &b"four"[..]));
        assert_eq!(arrival.local, Some(Ipv4Addr::LOCALHOST.into()));
        server.send(LocalId::ANY, &[(peer, b"back")], &mut Sender::new(), &mut Counters::default());
        let mut buf = [0; 8];
        assert_eq!(v4.recv(&mut buf).unwrap(), 4);
        if server.v6 {
            let v6 = UdpSocket::bind("[::1]:0").unwrap();
            v6.send_to(b"a longer one", ("::1", port)).unwrap();
            assert_eq!(receive(&mut server, &mut batch).await, 1);
            let Received { peer, arrival, bytes } = batch.iter().next().unwrap();
            assert_eq!((peer, bytes), (v6.local_addr().unwrap(), &b"a longer one"[..]));
            assert_eq!(arrival.local, Some(Ipv6Addr::LOCALHOST.into()));
        }
    }

    #[tokio::test]
    async fn the_longest_datagram_fits_and_a_bad_destination_harms_nobody() {
        let mut server =
            socket(listen::udp((Ipv4Addr::LOCALHOST, 0).into(), &Lent::default()).unwrap());
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.connect(server.fd.get_ref().local_addr().unwrap()).unwrap();
        client.send(&[7; 65_507]).unwrap();
        let mut batch = Batch::new();
        assert_eq!(receive(&mut server, &mut batch).await, 1);
        assert_eq!(batch.iter().next().unwrap().bytes.len(), 65_507);
        let good = client.local_addr().unwrap();
        let nowhere = SocketAddr::from((Ipv6Addr::LOCALHOST, 9));
        let too_long = [0; 66_000];
        let mut counters = Counters::default();
        let run: [(SocketAddr, &[u8]); 4] =
            [(good, b"a"), (nowhere, b"b"), (good, &too_long), (good, b"c")];
        server.send(LocalId::ANY, &run, &mut Sender::new(), &mut counters);
        assert_eq!(counters.send_errors, 2);
        let mut buf = [0; 8];
        for expected in [b"a", b"c"] {
            let len = client.recv(&mut buf).unwrap();
            assert_eq!(&buf[..len], expected);
        }
    }

    #[tokio::test]
    async fn a_backlog_is_bounded_and_leaves_in_order() {
        let mut server =
            socket(listen::udp((Ipv4Addr::LOCALHOST, 0).into(), &Lent::default()).unwrap());
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        let to = client.local_addr().unwrap();
        server.backlog.push_back((LocalId::ANY, to, Box::from(&b"first"[..])));
        let mut counters = Counters::default();
        let run: Vec<(SocketAddr, &[u8])> = vec![(to, b"later"); MAX_BACKLOG];
        server.send(LocalId::ANY, &run, &mut Sender::new(), &mut counters);
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

    #[tokio::test]
    async fn an_answer_leaves_from_the_address_that_was_asked() {
        for any in [IpAddr::V4(Ipv4Addr::UNSPECIFIED), Ipv6Addr::UNSPECIFIED.into()] {
            let Ok(fd) = listen::udp((any, 0).into(), &Lent::default()) else { continue };
            let port = fd.local_addr().unwrap().port();
            let mut server = socket(fd);
            let mut batch = Batch::new();
            for asked in ["127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.2"] {
                let client = UdpSocket::bind("127.0.0.1:0").unwrap();
                client.connect((asked, port)).unwrap(); // hears nothing from another address
                client.send(b"question").unwrap();
                assert_eq!(receive(&mut server, &mut batch).await, 1);
                let Received { peer, arrival, .. } = batch.iter().next().unwrap();
                let local = server.locals.id(arrival.local);
                assert_ne!(local, LocalId::ANY);
                let mut counters = Counters::default();
                server.send(local, &[(peer, b"answer")], &mut Sender::new(), &mut counters);
                assert_eq!(counters, Counters::default());
                let mut buf = [0; 16];
                assert_eq!(client.recv(&mut buf).unwrap(), 6, "{any}, asked {asked}");
            }
            assert_eq!(server.locals.0.len(), 3);
        }
    }

    #[tokio::test]
    async fn an_address_that_is_gone_is_no_reason_to_be_silent() {
        let mut server =
            socket(listen::udp((Ipv4Addr::UNSPECIFIED, 0).into(), &Lent::default()).unwrap());
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        let to = client.local_addr().unwrap();
        let gone = server.locals.id(Some(Ipv4Addr::new(192, 0, 2, 1).into()));
        let mut counters = Counters::default();
        server.send(gone, &[(to, b"answer")], &mut Sender::new(), &mut counters);
        assert_eq!(client.recv(&mut [0; 16]).unwrap(), 6);
        assert_eq!(counters, Counters::default());
    }

    #[test]
    fn a_socket_tells_only_so_many_addresses_apart() {
        let mut locals = Locals::default();
        let ip = |n: usize| Some(IpAddr::V4(Ipv4Addr::from(u32::try_from(n).unwrap())));
        assert_eq!(locals.id(None), LocalId::ANY);
        for n in 0..MAX_LOCALS {
            let id = locals.id(ip(n));
            assert_eq!((locals.id(ip(n)), locals.get(id)), (id, ip(n)));
        }
        assert_eq!(locals.id(ip(MAX_LOCALS)), LocalId::ANY);
        assert_eq!(locals.get(LocalId::ANY), None);
    }

    #[tokio::test]
    async fn listeners_that_swap_their_sockets_keep_their_clients_addresses() {
        let open = |id| {
            let fd = listen::udp((Ipv4Addr::UNSPECIFIED, 0).into(), &Lent::default()).unwrap();
            Socket::new(ListenerId(id), fd).unwrap()
        };
        let port = |socket: &Socket| socket.fd.get_ref().local_addr().unwrap().port();
        let mut udp = Udp::new(Vec::new()).unwrap();
        udp.change(&[], &[], vec![open(0), open(1), open(2)]);
        let ip = IpAddr::V4(Ipv4Addr::LOCALHOST);
        udp.sockets[0].locals.id(Some(ip));
        let ports: Vec<u16> = udp.sockets.iter().map(port).collect();
        let swap = [(ListenerId(0), ListenerId(1)), (ListenerId(1), ListenerId(0))];
        udp.change(&[ListenerId(2)], &swap, vec![open(3)]);
        let ids: Vec<u16> = udp.sockets.iter().map(|socket| socket.listener.0).collect();
        assert_eq!(ids, [1, 0, 3]);
        assert_eq!(udp.sockets.iter().map(port).take(2).collect::<Vec<_>>(), ports[..2]);
        assert_eq!(udp.sockets[1].locals.get(LocalId(1)), Some(ip), "it is of listener 0");
        assert_eq!(udp.sockets[0].locals.get(LocalId(1)), None);
        let fd = udp.descriptor(ListenerId(3)).map(|fd| fd.as_raw_fd());
        assert_eq!(fd, Some(udp.sockets[2].fd.as_raw_fd()));
    }
}
