//! The byte stream under MQTT, or CoAP over connections: TCP or a Unix domain socket on the same machine,
//! and what the target's scheme puts over it.

use std::future::poll_fn;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncWrite as _, Interest, Ready};
use tokio::net::{TcpSocket, TcpStream, UnixStream};
use tokio::time::timeout;

use super::{Error, Layered, Scheme, Target, Wait, resolve, secure};

/// Patience with one address.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);
/// Patience with the handshakes above it.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// An open socket.
#[derive(Debug)]
pub(super) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Socket {
    /// To the target's socket, or to the first of its addresses that accepts.
    async fn open(target: &Target) -> Result<Socket, Error> {
        match &target.socket {
            Some(path) => open_unix(path).await,
            None => open_tcp(target).await,
        }
    }

    pub(super) async fn ready(&self, interest: Interest) -> io::Result<Ready> {
        match self {
            Socket::Tcp(stream) => stream.ready(interest).await,
            Socket::Unix(stream) => stream.ready(interest).await,
        }
    }

    /// Ends our half.
    pub(super) async fn shutdown(&mut self) -> io::Result<()> {
        poll_fn(|context| match self {
            Socket::Tcp(stream) => Pin::new(stream).poll_shutdown(context),
            Socket::Unix(stream) => Pin::new(stream).poll_shutdown(context),
        })
        .await
    }
}

/// Never blocks.
impl Read for Socket {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match self {
            Socket::Tcp(stream) => stream.try_read(bytes),
            Socket::Unix(stream) => stream.try_read(bytes),
        }
    }
}

/// Never blocks.
impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Socket::Tcp(stream) => stream.try_write(bytes),
            Socket::Unix(stream) => stream.try_write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// An open stream.
#[derive(Debug)]
pub(super) enum Stream {
    Plain(Socket),
    Layered(Box<Layered<Socket>>),
}

impl Stream {
    /// To the target, with every handshake done that comes before MQTT or CoAP.
    pub(super) async fn open(target: &Target) -> Result<Stream, Error> {
        let socket = Socket::open(target).await?;
        if !target.transport.is_layered() {
            return Ok(Stream::Plain(socket));
        }
        match timeout(HANDSHAKE_TIMEOUT, shake_hands(socket, target)).await {
            Ok(layered) => Ok(Stream::Layered(Box::new(layered?))),
            Err(_) => Err(Error::timed_out(format!("no answer to the handshake of {target}"))),
        }
    }

    pub(super) async fn ready(&self, interest: Interest) -> io::Result<Ready> {
        match self {
            Stream::Plain(socket) => socket.ready(interest).await,
            Stream::Layered(layered) if interest.is_readable() && layered.has_waiting() => {
                Ok(Ready::READABLE)
            }
            Stream::Layered(layered) => match layered.socket() {
                Some(socket) => socket.ready(interest).await,
                None => Err(io::ErrorKind::NotConnected.into()),
            },
        }
    }

    pub(super) async fn writable(&self) -> io::Result<()> {
        self.ready(Interest::WRITABLE).await.map(drop)
    }

    /// Ends our half and waits for the end of the other. A socket that is closed with bytes in it
    /// that nobody read resets the connection, and the server may lose what we wrote last: an
    /// acknowledgement, or the goodbye that holds the will back.
    pub(super) async fn end(mut self) {
        let shut = match &mut self {
            Stream::Plain(socket) => socket.shutdown().await,
            Stream::Layered(layered) => {
                layered.close();
                match layered.socket_mut() {
                    Some(socket) => socket.shutdown().await,
                    None => return,
                }
            }
        };
        if shut.is_err() {
            return;
        }
        let mut rest = vec![0; 16 * 1024];
        loop {
            match self.try_read(&mut rest) {
                Ok(0) => return,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if self.ready(Interest::READABLE).await.is_err() {
                        return;
                    }
                }
                Err(_) => return,
            }
        }
    }

    /// Whether something that was written waits in a layer.
    pub(super) fn has_unsent(&self) -> bool {
        matches!(self, Stream::Layered(layered) if layered.has_unsent())
    }

    /// Sends what waits in a layer.
    pub(super) fn push(&mut self) -> io::Result<()> {
        match self {
            Stream::Plain(_) => Ok(()),
            Stream::Layered(layered) => layered.push(),
        }
    }

    pub(super) fn try_read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Plain(socket) => socket.read(bytes),
            Stream::Layered(layered) => layered.try_read(bytes),
        }
    }

    /// The next message of a WebSocket, whole; `None` where there is no WebSocket.
    pub(super) fn try_read_message(&mut self) -> Option<io::Result<Option<Bytes>>> {
        match self {
            Stream::Layered(layered) if layered.is_ws() => Some(layered.try_read_message()),
            _ => None,
        }
    }

    pub(super) fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Plain(socket) => socket.write(bytes),
            Stream::Layered(layered) => layered.try_write(bytes),
        }
    }
}

async fn shake_hands(socket: Socket, target: &Target) -> Result<Layered<Socket>, Error> {
    let tls = match target.transport.is_tls() {
        true => Some(Arc::new(secure::config(target)?)),
        false => None,
    };
    let mut layered = Layered::new(socket, target, tls)?;
    while let Some(wait) = layered.shake_hands(target)? {
        let interest = if wait == Wait::Write { Interest::WRITABLE } else { Interest::READABLE };
        let Some(socket) = layered.socket() else { break };
        socket.ready(interest).await.map_err(|error| secure::fault(&error, target))?;
    }
    Ok(layered)
}

async fn open_unix(path: &Path) -> Result<Socket, Error> {
    let place = path.display().to_string();
    let source = match timeout(OPEN_TIMEOUT, UnixStream::connect(path)).await {
        Ok(Ok(stream)) => return Ok(Socket::Unix(stream)),
        Ok(Err(source)) => source,
        Err(_) => return Err(Error::timed_out(format!("no connection to {place}"))),
    };
    Err(match source.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => Error::NothingListens {
            place,
            hint: "is the broker up, and is this the path of its `listener 0 PATH`?",
        },
        _ => Error::Unreachable { place, source },
    })
}

/// The first address that accepts.
async fn open_tcp(target: &Target) -> Result<Socket, Error> {
    let addresses = from_family(target, resolve(target).await?)?;
    let (mut closed, mut fault) = (Vec::new(), None);
    for address in addresses {
        let place = format!("{address}/tcp");
        match timeout(OPEN_TIMEOUT, connect(address, target.bind)).await {
            Ok(Ok(stream)) => {
                // An acknowledgement must not wait for the next packet.
                let _ = stream.set_nodelay(true);
                return Ok(Socket::Tcp(stream));
            }
            Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
                closed.push(address);
            }
            Ok(Err(error)) if error.kind() == io::ErrorKind::AddrNotAvailable => {
                fault = Some(match target.bind {
                    Some(own) => Error::usage(format!("-A: {own} is no address of this machine")),
                    None => Error::Unreachable { place, source: error },
                });
            }
            Ok(Err(source)) => fault = Some(Error::Unreachable { place, source }),
            Err(_) => fault = Some(Error::timed_out(format!("no connection to {place}"))),
        }
    }
    match fault {
        Some(fault) => Err(fault),
        None if closed.is_empty() => Err(Error::NoSuchHost { host: target.host.clone() }),
        None => Err(Error::NothingListens {
            place: closed.iter().map(SocketAddr::to_string).collect::<Vec<_>>().join(" and "),
            hint: match target.scheme {
                Scheme::Coap => {
                    "`motegate dev` starts a gateway; -p PORT or HOST:PORT names another port"
                }
                _ => {
                    "is the broker up? `motegate dev` starts one; -h HOST and -p PORT name another"
                }
            },
        }),
    }
}

/// Those that can be reached from the address that was asked for.
fn from_family(target: &Target, all: Vec<SocketAddr>) -> Result<Vec<SocketAddr>, Error> {
    let Some(own) = target.bind else { return Ok(all) };
    let same: Vec<_> = all.into_iter().filter(|at| at.is_ipv4() == own.is_ipv4()).collect();
    if same.is_empty() {
        let kind = if own.is_ipv4() { "IPv4" } else { "IPv6" };
        let host = &target.host;
        return Err(Error::usage(format!(
            "-A: {own} is {kind}, and `{host}` has no {kind} address"
        )));
    }
    Ok(same)
}

async fn connect(address: SocketAddr, own: Option<IpAddr>) -> io::Result<TcpStream> {
    let Some(own) = own else { return TcpStream::connect(address).await };
    let socket = if own.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.bind((own, 0).into())?;
    socket.connect(address).await
}
