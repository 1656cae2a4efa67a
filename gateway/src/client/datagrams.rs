//! [`Datagrams`]: the UDP side of a client, towards a name that may have several addresses.
//!
//! `localhost` is `::1` and `127.0.0.1`, and the gateway may listen on one of them only. Until
//! something was heard, a closed port or a repetition moves on to the next address, and whoever
//! answers first is the peer from then on. After that the peer stays, and a closed port is as good
//! as a lost datagram: the gateway may be about to return, and the machine repeats.

use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::task::Poll;
use std::time::Duration;

use motegate_timers::Instant;
use tokio::io::ReadBuf;
use tokio::net::UdpSocket;

use super::{Error, Scheme, Target, resolve};
use crate::clock::Clock;

/// What the largest datagram needs.
const BUFFER: usize = 65_536;
/// What is sent again so much later is a repetition.
const REPETITION: Duration = Duration::from_millis(900);

/// A connected socket for each address that is still possible.
#[derive(Debug)]
pub(crate) struct Datagrams {
    clock: Clock,
    /// The port's option of `motegate dev`.
    hint: &'static str,
    paths: Vec<(SocketAddr, UdpSocket)>,
    /// Index of the path that is written to.
    current: usize,
    closed: Vec<SocketAddr>,
    heard: bool,
    sent: Option<Instant>,
    /// Unanswered so far, for the next address.
    unanswered: Vec<Vec<u8>>,
    buffer: Vec<u8>,
}

impl Datagrams {
    /// Looks the host up and opens sockets; nothing is sent.
    pub(crate) async fn open(target: &Target, clock: Clock) -> Result<Self, Error> {
        let addresses = resolve(target).await?;
        if addresses.is_empty() {
            return Err(Error::NoSuchHost { host: target.host.clone() });
        }
        Self::over(&addresses, target.scheme, clock).await
    }

    async fn over(addresses: &[SocketAddr], scheme: Scheme, clock: Clock) -> Result<Self, Error> {
        let mut paths = Vec::new();
        let mut fault = None;
        for &address in addresses {
            match connect(address).await {
                Ok(socket) => paths.push((address, socket)),
                Err(source) => fault = Some(unreachable(address, source)),
            }
        }
        if let (true, Some(fault)) = (paths.is_empty(), fault) {
            return Err(fault);
        }
        let hint = match scheme {
            Scheme::MqttSn => {
                "`motegate dev` starts a gateway; others use port 1884, 10000 or 2442"
            }
            _ => "`motegate dev` starts a gateway; -p PORT or HOST:PORT names another port",
        };
        Ok(Datagrams {
            clock,
            hint,
            paths,
            current: 0,
            closed: Vec::new(),
            heard: false,
            sent: None,
            unanswered: Vec::new(),
            buffer: vec![0; BUFFER],
        })
    }

    /// Who answers, or is asked first.
    pub(crate) fn peer(&self) -> Option<SocketAddr> {
        self.paths.get(self.current).map(|(address, _)| *address)
    }

    /// Sends a datagram.
    pub(crate) async fn send(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let now = self.clock.now();
        if !self.heard {
            if self.sent.is_some_and(|sent| now.saturating_since(sent) > REPETITION) {
                self.current = (self.current + 1) % self.paths.len().max(1);
                self.unanswered.clear(); // the machine repeats what it needs
            }
            self.unanswered.push(bytes.to_vec());
        }
        self.sent = Some(now);
        self.write(bytes).await
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let Some((address, socket)) = self.paths.get(self.current) else { return Ok(()) };
        let result = socket.send(bytes).await;
        // On this machine the kernel knows at once that a port is closed.
        let result = match socket.take_error() {
            Ok(Some(error)) if result.is_ok() => Err(error),
            _ => result.map(drop),
        };
        match result {
            Ok(()) => Ok(()),
            Err(error) if is_closed(&error) => Box::pin(self.port_is_closed(self.current)).await,
            Err(error) if error.raw_os_error() == Some(nix::libc::EMSGSIZE) => {
                Err(Error::usage(format!("{} bytes do not fit a datagram", bytes.len())))
            }
            Err(source) => Err(unreachable(*address, source)),
        }
    }

    /// The next datagram from the peer.
    pub(crate) async fn receive(&mut self) -> Result<&[u8], Error> {
        loop {
            let (path, result) = self.read().await;
            match result {
                Ok(len) => {
                    if !self.heard {
                        self.heard = true;
                        self.unanswered.clear();
                        let peer = self.paths.swap_remove(path);
                        self.paths = vec![peer];
                        self.current = 0;
                    }
                    return Ok(self.buffer.get(..len).unwrap_or_default());
                }
                Err(error) if is_closed(&error) => self.port_is_closed(path).await?,
                Err(source) => {
                    let address = self.paths.get(path).map(|(address, _)| *address);
                    return Err(unreachable(address.unwrap_or(UNKNOWN), source));
                }
            }
        }
    }

    async fn read(&mut self) -> (usize, io::Result<usize>) {
        let (paths, buffer) = (&self.paths, &mut self.buffer);
        poll_fn(|context| {
            for (index, (_, socket)) in paths.iter().enumerate() {
                let mut into = ReadBuf::new(buffer);
                if let Poll::Ready(result) = socket.poll_recv(context, &mut into) {
                    return Poll::Ready((index, result.map(|()| into.filled().len())));
                }
            }
            Poll::Pending
        })
        .await
    }

    async fn port_is_closed(&mut self, path: usize) -> Result<(), Error> {
        if self.heard || path >= self.paths.len() {
            return Ok(());
        }
        self.closed.push(self.paths.remove(path).0);
        if self.paths.is_empty() {
            return Err(Error::NothingListens { place: place(&self.closed), hint: self.hint });
        }
        let was_asked = path == self.current;
        if path < self.current || self.current == self.paths.len() {
            self.current = self.current.saturating_sub(1);
        }
        if was_asked {
            for bytes in self.unanswered.clone() {
                self.write(&bytes).await?;
            }
        }
        Ok(())
    }
}

const UNKNOWN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

async fn connect(address: SocketAddr) -> io::Result<UdpSocket> {
    let any: IpAddr = match address {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(address).await?;
    Ok(socket)
}

fn is_closed(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::ConnectionRefused
}

fn unreachable(address: SocketAddr, source: io::Error) -> Error {
    Error::Unreachable { place: format!("{address}/udp"), source }
}

fn place(addresses: &[SocketAddr]) -> String {
    let mut texts: Vec<_> = addresses.iter().map(|address| format!("{address}/udp")).collect();
    texts.dedup();
    texts.join(" and ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(test: impl Future<Output = ()>) {
        let builder = &mut tokio::runtime::Builder::new_current_thread();
        builder.enable_all().build().unwrap().block_on(test);
    }

    async fn server() -> (UdpSocket, SocketAddr) {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        (socket, address)
    }

    async fn closed() -> SocketAddr {
        server().await.1
    }

    async fn echo(socket: &UdpSocket) {
        let mut buffer = [0; 16];
        let (len, from) = socket.recv_from(&mut buffer).await.unwrap();
        socket.send_to(&buffer[..len], from).await.unwrap();
    }

    #[test]
    fn a_closed_port_moves_on_to_the_next_address() {
        run(async {
            let (open, address) = server().await;
            let addresses = [closed().await, closed().await, address];
            let clock = Clock::start();
            let mut wire = Datagrams::over(&addresses, Scheme::Coap, clock).await.unwrap();
            wire.send(b"one").await.unwrap();
            let (answer, ()) = tokio::join!(wire.receive(), echo(&open));
            assert_eq!(answer.unwrap(), b"one");
            assert_eq!(wire.peer(), Some(address));
        });
    }

    #[test]
    fn a_silent_address_is_passed_over_by_a_repetition() {
        run(async {
            let ((silent, first), (open, second)) = (server().await, server().await);
            let clock = Clock::start();
            let mut wire = Datagrams::over(&[first, second], Scheme::MqttSn, clock).await.unwrap();
            wire.send(b"one").await.unwrap();
            tokio::time::sleep(REPETITION + Duration::from_millis(50)).await;
            wire.send(b"two").await.unwrap();
            echo(&open).await;
            assert_eq!(wire.receive().await.unwrap(), b"two");
            // The first one's answer comes too late: the second is the peer now.
            echo(&silent).await;
            wire.send(b"three").await.unwrap();
            echo(&open).await;
            assert_eq!(wire.receive().await.unwrap(), b"three");
        });
    }

    #[test]
    fn all_ports_closed_is_said_with_their_addresses() {
        run(async {
            let addresses = [closed().await, closed().await];
            let clock = Clock::start();
            let mut wire = Datagrams::over(&addresses, Scheme::Coap, clock).await.unwrap();
            let result = match wire.send(b"one").await {
                Ok(()) => wire.receive().await.map(drop),
                error => error,
            };
            let text = result.unwrap_err().to_string();
            assert!(addresses.iter().all(|one| text.contains(&format!("{one}/udp"))), "{text}");
        });
    }

    #[test]
    fn a_peer_that_was_heard_may_be_away() {
        run(async {
            let (open, address) = server().await;
            let clock = Clock::start();
            let mut wire = Datagrams::over(&[address], Scheme::Coap, clock).await.unwrap();
            wire.send(b"one").await.unwrap();
            echo(&open).await;
            wire.receive().await.unwrap();
            drop(open);
            for _ in 0..3 {
                wire.send(b"lost").await.unwrap();
            }
            let back = UdpSocket::bind(address).await.unwrap();
            wire.send(b"here").await.unwrap();
            echo(&back).await;
            assert_eq!(wire.receive().await.unwrap(), b"here");
        });
    }
}
