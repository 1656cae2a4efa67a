//! [`Wire`]: a connected datagram socket, many datagrams a system call.
//!
//! One a client, or one for all MQTT-SN clients behind a forwarder's wrapper. What the kernel does
//! not take waits until the socket is writable.

use std::array;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd as _;

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, MultiHeaders, recvmmsg, sendmmsg};

/// Datagrams a system call.
const BATCH: usize = 64;
/// More than a datagram of a bench needs.
const SLOT: usize = 2048;
/// Bytes asked for in the kernel, in both directions.
const KERNEL_BUFFER: usize = 4 << 20;

/// A socket and what it has to send.
#[derive(Debug)]
pub(super) struct Wire {
    socket: UdpSocket,
    bytes: Vec<u8>,
    /// Where each datagram ends.
    ends: Vec<usize>,
    /// To be flushed at the end of the turn.
    pub(super) dirty: bool,
}

impl Wire {
    pub(super) fn open(peer: SocketAddr, shared: bool) -> io::Result<Self> {
        let any: SocketAddr = match peer {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let socket = UdpSocket::bind(any)?;
        socket.set_nonblocking(true)?;
        if shared {
            let socket = socket2::SockRef::from(&socket);
            let _ = socket.set_recv_buffer_size(KERNEL_BUFFER);
            let _ = socket.set_send_buffer_size(KERNEL_BUFFER);
        }
        socket.connect(peer)?;
        Ok(Wire { socket, bytes: Vec::new(), ends: Vec::new(), dirty: false })
    }

    pub(super) fn register(&self, registry: &Registry, token: Token) -> io::Result<()> {
        let fd = self.socket.as_raw_fd();
        registry.register(&mut SourceFd(&fd), token, Interest::READABLE | Interest::WRITABLE)
    }

    /// Queues one datagram made of two parts.
    pub(super) fn push(&mut self, head: &[u8], body: &[u8]) {
        self.bytes.extend_from_slice(head);
        self.bytes.extend_from_slice(body);
        self.ends.push(self.bytes.len());
    }

    /// Datagrams that wait.
    pub(super) fn backlog(&self) -> usize {
        self.ends.len()
    }

    /// Sends what waits, as far as the kernel takes it. An error is about a datagram sent before.
    pub(super) fn flush(&mut self, batch: &mut Batch) -> io::Result<()> {
        let mut sent = 0;
        let result = loop {
            if sent == self.ends.len() {
                break Ok(());
            }
            match self.send(sent, batch) {
                Ok(count) => sent += count,
                Err(Errno::EAGAIN) => break Ok(()),
                Err(Errno::EINTR) => {}
                Err(error) => break Err(error.into()),
            }
        };
        if sent == self.ends.len() || result.is_err() {
            self.bytes.clear();
            self.ends.clear();
        } else if let Some(cut) = sent.checked_sub(1).and_then(|last| self.ends.get(last)).copied()
        {
            self.bytes.drain(..cut);
            self.ends.drain(..sent);
            self.ends.iter_mut().for_each(|end| *end -= cut);
        }
        result
    }

    fn send(&self, from: usize, batch: &mut Batch) -> nix::Result<usize> {
        let mut start = from.checked_sub(1).and_then(|last| self.ends.get(last)).map_or(0, |e| *e);
        let mut iovs: heapless::Vec<[IoSlice<'_>; 1], BATCH> = heapless::Vec::new();
        for end in self.ends.iter().skip(from).take(BATCH) {
            let datagram = self.bytes.get(start..*end).unwrap_or_default();
            let _ = iovs.push([IoSlice::new(datagram)]);
            start = *end;
        }
        let fd = self.socket.as_raw_fd();
        if let [[one]] = iovs.as_slice() {
            return nix::sys::socket::send(fd, one, MsgFlags::MSG_DONTWAIT).map(|_| 1);
        }
        let nowhere = [None; BATCH];
        let addrs = nowhere.get(..iovs.len()).unwrap_or_default();
        let sent = sendmmsg(fd, &mut batch.out, &iovs, addrs, [], MsgFlags::MSG_DONTWAIT)?;
        Ok(sent.count())
    }

    /// Fills the batch. Fewer than [`Batch::SIZE`] means that there are no more.
    pub(super) fn receive(&self, batch: &mut Batch) -> io::Result<usize> {
        batch.lens.clear();
        let mut slots = batch.buffer.chunks_exact_mut(SLOT);
        let mut iovs: [[IoSliceMut<'_>; 1]; BATCH] =
            array::from_fn(|_| [IoSliceMut::new(slots.next().unwrap_or_default())]);
        let fd = self.socket.as_raw_fd();
        match recvmmsg(fd, &mut batch.into, iovs.iter_mut(), MsgFlags::MSG_DONTWAIT, None) {
            Ok(messages) => {
                for message in messages {
                    let _ = batch.lens.push(message.bytes);
                }
                Ok(batch.lens.len())
            }
            Err(Errno::EAGAIN | Errno::EINTR) => Ok(0),
            Err(error) => Err(error.into()),
        }
    }
}

/// One batch of datagrams; a run has one for all its sockets.
pub(super) struct Batch {
    buffer: Box<[u8]>,
    into: MultiHeaders<()>,
    out: MultiHeaders<()>,
    lens: heapless::Vec<usize, BATCH>,
}

impl std::fmt::Debug for Batch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Batch").field("received", &self.lens.len()).finish_non_exhaustive()
    }
}

impl Batch {
    pub(super) const SIZE: usize = BATCH;

    pub(super) fn new() -> Self {
        Batch {
            buffer: vec![0; BATCH * SLOT].into_boxed_slice(),
            into: MultiHeaders::preallocate(BATCH, None),
            out: MultiHeaders::preallocate(BATCH, None),
            lens: heapless::Vec::new(),
        }
    }

    /// Holds nothing and costs nothing: to stand in for one that is being read.
    pub(super) fn empty() -> Self {
        Batch {
            buffer: Box::default(),
            into: MultiHeaders::preallocate(0, None),
            out: MultiHeaders::preallocate(0, None),
            lens: heapless::Vec::new(),
        }
    }

    /// A datagram that was received.
    pub(super) fn get(&self, index: usize) -> Option<&[u8]> {
        let start = index * SLOT;
        self.buffer.get(start..start + self.lens.get(index)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_datagrams_go_and_come() {
        let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut wire = Wire::open(peer.local_addr().unwrap(), true).unwrap();
        let mut batch = Batch::new();
        for i in 0..70_u8 {
            wire.push(&[i], &vec![i; usize::from(i)]);
        }
        assert_eq!(wire.backlog(), 70);
        wire.flush(&mut batch).unwrap();
        assert_eq!(wire.backlog(), 0);
        let mut buffer = [0; 100];
        for i in 0..70 {
            let (len, from) = peer.recv_from(&mut buffer).unwrap();
            assert_eq!(len, i + 1);
            peer.send_to(&buffer[..len], from).unwrap();
        }
        assert_eq!(wire.receive(&mut batch).unwrap(), Batch::SIZE);
        assert_eq!(batch.get(63).unwrap(), [63; 64]);
        assert_eq!(wire.receive(&mut batch).unwrap(), 6);
        assert_eq!((batch.get(5).unwrap(), batch.get(6)), (&[69; 70][..], None));
        assert_eq!(wire.receive(&mut batch).unwrap(), 0);
    }
}
