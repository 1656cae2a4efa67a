//! Very many CoAP observers: they register, acknowledge what is confirmable, and say which value they
//! have.
//!
//! A few sockets serve all of them: a client is an address of 127.0.0.0/8, which the kernel tells
//! of a datagram and takes for an answer (`IP_PKTINFO`), together with the port of its socket. Its
//! observations, one or several, are told by their tokens.
#![allow(clippy::disallowed_methods)] // measured in real time

use std::io::{IoSlice, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::libc::{in_addr, in_pktinfo};
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrIn, recvmsg, sendmsg, setsockopt,
    sockopt,
};

use crate::sim::coap_wire::{self as wire, ACK, CON, GET, Message, OBSERVE};

/// Observers of one socket.
const OF_A_SOCKET: usize = 1_250;
/// Registrations under way of one socket.
const AT_ONCE: usize = 32;
/// Then what was not answered is asked again.
const RETRY: Duration = Duration::from_secs(2);
/// Nothing comes for so long: then nothing will.
const PATIENCE: Duration = Duration::from_secs(60);
/// Bytes that wait for a socket's thread.
const BUFFER: usize = 16 << 20;

/// What all sockets tell.
#[derive(Debug, Default)]
pub struct Seen {
    /// The number that the values awaited begin with.
    pub awaited: AtomicU64,
    /// Observers that have it.
    pub have: AtomicU32,
    /// Notifications, and how many of them were confirmable; repetitions count.
    pub notifications: AtomicU64,
    /// Of those.
    pub confirmable: AtomicU64,
}

/// All observers.
#[derive(Debug)]
pub struct Fleet {
    gateway: SocketAddr,
    path: String,
    /// Observations of a client.
    each: usize,
    seen: Arc<Seen>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    count: usize,
}

impl Fleet {
    /// Observers of one resource, so many of them (1 to 255) one client; nobody is registered yet.
    #[must_use]
    pub fn new(gateway: SocketAddr, path: &str, each: u8) -> Fleet {
        let each = usize::from(each.max(1));
        let (seen, stop) = (Arc::default(), Arc::default());
        let threads = Vec::new();
        Fleet { gateway, path: path.to_owned(), each, seen, stop, threads, count: 0 }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// What they have seen.
    #[must_use]
    pub fn seen(&self) -> &Seen {
        &self.seen
    }

    /// So many more register.
    ///
    /// # Panics
    /// If one is refused, or not answered.
    pub fn register(&mut self, count: usize) {
        let mut left = count;
        let mut begun = Vec::new();
        while left > 0 {
            let some = left.min(OF_A_SOCKET);
            let socket = Socket::new(self, some);
            begun.push(std::thread::spawn(move || socket.register()));
            left -= some;
        }
        for thread in begun {
            let socket = thread.join().expect("every observer is registered");
            self.threads.push(std::thread::spawn(move || socket.listen()));
        }
        self.count += count;
    }

    /// A value with this number goes to the topic, by what `publish` does: how long until all have it,
    /// the first of them too.
    ///
    /// # Panics
    /// If some have not, long after.
    pub fn reaches_all(&self, number: u64, publish: impl FnOnce(&str)) -> Duration {
        self.seen.have.store(0, Ordering::SeqCst);
        self.seen.awaited.store(number, Ordering::SeqCst);
        let began = Instant::now();
        publish(&format!("{number} 21.5"));
        loop {
            let have = self.seen.have.load(Ordering::SeqCst);
            if have as usize == self.count {
                return began.elapsed();
            }
            assert!(began.elapsed() < PATIENCE, "{have} of {} have {number}", self.count);
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        for thread in self.threads.drain(..) {
            // A thread that failed has said so.
            let _ = thread.join();
        }
    }
}

/// A socket with its observers.
#[derive(Debug)]
struct Socket {
    socket: UdpSocket,
    gateway: SockaddrIn,
    path: String,
    each: usize,
    seen: Arc<Seen>,
    stop: Arc<AtomicBool>,
    /// The number each observer has.
    have: Vec<u64>,
}

/// The address of a client of a socket: 127.1.x.y.
fn address(number: usize) -> Ipv4Addr {
    let [.., high, low] = (number + 1).to_be_bytes();
    Ipv4Addr::new(127, 1, high, low)
}

fn number(address: Ipv4Addr) -> usize {
    let [_, _, high, low] = address.octets();
    usize::from(u16::from_be_bytes([high, low])) - 1
}

impl Socket {
    fn new(fleet: &Fleet, count: usize) -> Socket {
        let SocketAddr::V4(gateway) = fleet.gateway else { panic!("the gateway is at 127.0.0.1") };
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("there is a free port");
        socket.set_read_timeout(Some(Duration::from_millis(200))).expect("it is not zero");
        setsockopt(&socket, sockopt::Ipv4PacketInfo, &true).expect("Linux has IP_PKTINFO");
        if setsockopt(&socket, sockopt::RcvBufForce, &BUFFER).is_err() {
            // Without the right to: as much as everybody may have.
            let _ = setsockopt(&socket, sockopt::RcvBuf, &BUFFER);
        }
        Socket {
            socket,
            gateway: SockaddrIn::from(gateway),
            path: fleet.path.clone(),
            each: fleet.each,
            seen: fleet.seen.clone(),
            stop: fleet.stop.clone(),
            have: vec![0; count],
        }
    }

    /// From one of its observers.
    fn send(&self, from: Ipv4Addr, bytes: &[u8]) {
        let source = in_addr { s_addr: u32::from_ne_bytes(from.octets()) };
        let info =
            in_pktinfo { ipi_ifindex: 0, ipi_spec_dst: source, ipi_addr: in_addr { s_addr: 0 } };
        let control = [ControlMessage::Ipv4PacketInfo(&info)];
        let (fd, parts) = (self.socket.as_raw_fd(), [IoSlice::new(bytes)]);
        sendmsg(fd, &parts, &control, MsgFlags::empty(), Some(&self.gateway))
            .expect("loopback takes a datagram");
    }

    /// To one of its observers; nothing within the read timeout.
    fn receive(&self) -> Option<(usize, Ipv4Addr, Message)> {
        let mut buffer = [0; 1_500];
        let mut space = nix::cmsg_space!(in_pktinfo);
        let mut parts = [IoSliceMut::new(&mut buffer)];
        let fd = self.socket.as_raw_fd();
        let message =
            recvmsg::<SockaddrIn>(fd, &mut parts, Some(&mut space), MsgFlags::empty()).ok()?;
        let length = message.bytes;
        let to = message.cmsgs().ok()?.find_map(|control| match control {
            ControlMessageOwned::Ipv4PacketInfo(info) => {
                Some(Ipv4Addr::from(info.ipi_addr.s_addr.to_ne_bytes()))
            }
            _ => None,
        })?;
        let message = wire::decode(&buffer[..length]).expect("the gateway sends what can be read");
        let token = message.token.first().map_or(0, |byte| usize::from(*byte));
        Some((number(to) * self.each + token, to, message))
    }

    fn ask(&self, observer: usize) {
        let mut options = vec![(OBSERVE, Vec::new())];
        options.extend(self.path.split('/').map(|part| (11, part.as_bytes().to_vec())));
        let mid = u16::try_from(observer).expect("few to a socket");
        let token = vec![u8::try_from(observer % self.each).expect("at most 255")];
        let payload = Vec::new();
        let get = Message { kind: CON, code: GET, mid, token, options, payload };
        self.send(address(observer / self.each), &get.encode());
    }

    fn register(self) -> Socket {
        let mut registered = vec![false; self.have.len()];
        let mut next = 0;
        let mut open: Vec<usize> = Vec::new();
        let mut asked = Instant::now();
        let began = asked;
        loop {
            while open.len() < AT_ONCE && next < registered.len() {
                self.ask(next);
                open.push(next);
                next += 1;
            }
            if open.is_empty() {
                return self;
            }
            if asked.elapsed() > RETRY {
                assert!(began.elapsed() < PATIENCE, "{} are not registered", open.len());
                open.iter().for_each(|observer| self.ask(*observer));
                asked = Instant::now();
            }
            let Some((observer, _, message)) = self.receive() else { continue };
            if message.kind == ACK && message.code == 0x45 && !registered[observer] {
                assert!(message.observe().is_some(), "{observer} is refused");
                registered[observer] = true;
                open.retain(|other| *other != observer);
                asked = Instant::now();
            }
        }
    }

    fn listen(mut self) {
        while !self.stop.load(Ordering::Relaxed) {
            let Some((observer, at, message)) = self.receive() else { continue };
            if message.kind == CON {
                let ack = Message { kind: ACK, mid: message.mid, ..Message::default() };
                self.send(at, &ack.encode());
                self.seen.confirmable.fetch_add(1, Ordering::Relaxed);
            }
            if message.code != 0x45 {
                continue;
            }
            self.seen.notifications.fetch_add(1, Ordering::Relaxed);
            let text = std::str::from_utf8(&message.payload).unwrap_or_default();
            let number = text.split(' ').next().and_then(|word| word.parse().ok()).unwrap_or(0);
            let awaited = self.seen.awaited.load(Ordering::SeqCst);
            if number == awaited && self.have[observer] != awaited {
                self.have[observer] = awaited;
                self.seen.have.fetch_add(1, Ordering::SeqCst);
            }
        }
    }
}
