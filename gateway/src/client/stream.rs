//! The byte stream under MQTT: TCP, or a Unix domain socket on the same machine.

use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::pin::Pin;
use std::time::Duration;

use tokio::io::{AsyncWrite as _, Interest, Ready};
use tokio::net::{TcpSocket, TcpStream, UnixStream};
use tokio::time::timeout;

use super::{Error, Target, resolve};

/// Patience with one address.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);

/// An open one.
#[derive(Debug)]
pub(super) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    /// To the target's socket, or to the first of its addresses that accepts.
    pub(super) async fn open(target: &Target) -> Result<Stream, Error> {
        match &target.socket {
            Some(path) => open_unix(path).await,
            None => open_tcp(target).await,
        }
    }

    pub(super) async fn ready(&self, interest: Interest) -> io::Result<Ready> {
        match self {
            Stream::Tcp(stream) => stream.ready(interest).await,
            Stream::Unix(stream) => stream.ready(interest).await,
        }
    }

    pub(super) async fn writable(&self) -> io::Result<()> {
        match self {
            Stream::Tcp(stream) => stream.writable().await,
            Stream::Unix(stream) => stream.writable().await,
        }
    }

    /// Ends our half and waits for the end of the other. A socket that is closed with bytes in it
    /// that nobody read resets the connection, and the server may lose what we wrote last: an
    /// acknowledgement, or the goodbye that holds the will back.
    pub(super) async fn end(mut self) {
        let shut = poll_fn(|context| match &mut self {
            Stream::Tcp(stream) => Pin::new(stream).poll_shutdown(context),
            Stream::Unix(stream) => Pin::new(stream).poll_shutdown(context),
        });
        if shut.await.is_err() {
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

    pub(super) fn try_read(&self, bytes: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.try_read(bytes),
            Stream::Unix(stream) => stream.try_read(bytes),
        }
    }

    pub(super) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.try_write(bytes),
            Stream::Unix(stream) => stream.try_write(bytes),
        }
    }
}

async fn open_unix(path: &Path) -> Result<Stream, Error> {
    let place = path.display().to_string();
    let source = match timeout(OPEN_TIMEOUT, UnixStream::connect(path)).await {
        Ok(Ok(stream)) => return Ok(Stream::Unix(stream)),
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
async fn open_tcp(target: &Target) -> Result<Stream, Error> {
    let addresses = from_family(target, resolve(target).await?)?;
    let (mut closed, mut fault) = (Vec::new(), None);
    for address in addresses {
        let place = format!("{address}/tcp");
        match timeout(OPEN_TIMEOUT, connect(address, target.bind)).await {
            Ok(Ok(stream)) => {
                // An acknowledgement must not wait for the next packet.
                let _ = stream.set_nodelay(true);
                return Ok(Stream::Tcp(stream));
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
            hint: "is the broker up? `motegate dev` starts one; -h HOST and -p PORT name another",
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
