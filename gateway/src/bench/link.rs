//! [`Link`]: a stream that the event loop polls, TCP or a Unix domain socket, perhaps with TLS and
//! WebSocket over it. It never blocks.

use std::io::{self, Read, Write};

use bytes::Bytes;
use mio::event::Source;
use mio::net::{TcpStream, UnixStream};
use mio::{Interest, Registry, Token};

use super::find::{Address, Way};
use crate::client::{Error, Layered};

#[derive(Debug)]
enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Socket {
    fn source(&mut self) -> &mut dyn Source {
        match self {
            Socket::Tcp(stream) => stream,
            Socket::Unix(stream) => stream,
        }
    }

    /// Whether it is open by now.
    fn check_connected(&self) -> io::Result<bool> {
        let (error, is_there) = match self {
            Socket::Tcp(stream) => (stream.take_error()?, stream.peer_addr().is_ok()),
            Socket::Unix(stream) => (stream.take_error()?, stream.peer_addr().is_ok()),
        };
        if let (Socket::Tcp(stream), true) = (self, is_there) {
            let _ = stream.set_nodelay(true);
        }
        error.map_or(Ok(is_there), Err)
    }
}

impl Read for Socket {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match self {
            Socket::Tcp(stream) => stream.read(bytes),
            Socket::Unix(stream) => stream.read(bytes),
        }
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Socket::Tcp(stream) => stream.write(bytes),
            Socket::Unix(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Why a link does not open, or is no more.
#[derive(Debug)]
pub(super) enum Fault {
    Socket(io::Error),
    /// A layer above it says so.
    Said(Error),
}

#[derive(Debug)]
enum Stream {
    Plain(Socket),
    Layered(Box<Layered<Socket>>),
    Gone,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Link {
    stream: Stream,
    connected: bool,
}

impl Link {
    /// Begins to connect.
    pub(super) fn connect(way: &Way, registry: &Registry, token: Token) -> io::Result<Self> {
        let mut socket = match &way.address {
            Address::Inet(address) => Socket::Tcp(TcpStream::connect(*address)?),
            Address::Unix(path) => Socket::Unix(UnixStream::connect(path)?),
        };
        registry.register(socket.source(), token, Interest::READABLE | Interest::WRITABLE)?;
        Ok(Link { stream: Stream::Plain(socket), connected: false })
    }

    /// Whether nothing is between socket and protocol.
    pub(super) const fn is_plain(&self) -> bool {
        matches!(self.stream, Stream::Plain(_))
    }

    /// Goes on opening, when the socket is `writable` or something came; `true` when the protocol may
    /// begin.
    pub(super) fn open(&mut self, way: &Way, writable: bool) -> Result<bool, Fault> {
        if !self.connected {
            if let (Stream::Plain(socket), true) = (&self.stream, writable) {
                self.connected = socket.check_connected().map_err(Fault::Socket)?;
            }
            if !self.connected {
                return Ok(false);
            }
        }
        self.shake_hands(way).map_err(Fault::Said)
    }

    /// Carries on what comes before the protocol on an open socket; `true` when it is through.
    fn shake_hands(&mut self, way: &Way) -> Result<bool, Error> {
        if !way.target.transport.is_layered() {
            return Ok(true);
        }
        if self.is_plain()
            && let Stream::Plain(socket) = std::mem::replace(&mut self.stream, Stream::Gone)
        {
            let layered = Layered::new(socket, &way.target, way.tls.clone())?;
            self.stream = Stream::Layered(Box::new(layered));
        }
        match &mut self.stream {
            Stream::Layered(layered) => Ok(layered.shake_hands(&way.target)?.is_none()),
            Stream::Plain(_) | Stream::Gone => Ok(false),
        }
    }

    pub(super) fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match &mut self.stream {
            Stream::Plain(socket) => socket.read(bytes),
            Stream::Layered(layered) => layered.try_read(bytes),
            Stream::Gone => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// The next message of a WebSocket, whole; `None` where there is no WebSocket.
    pub(super) fn try_read_message(&mut self) -> Option<io::Result<Option<Bytes>>> {
        match &mut self.stream {
            Stream::Layered(layered) if layered.is_ws() => Some(layered.try_read_message()),
            _ => None,
        }
    }

    /// Writes of `bytes`, or, if there are none, what waits in a layer: how many of them; `None` when
    /// nothing more goes now.
    pub(super) fn send(&mut self, bytes: &[u8]) -> io::Result<Option<usize>> {
        let written = match bytes.is_empty() {
            true if self.has_unsent() => self.push().map(|()| 0),
            true => return Ok(None),
            false => self.write(bytes),
        };
        match written {
            Ok(len) => Ok(Some(len)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(Some(0)),
            Err(error) => Err(error),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.stream {
            Stream::Plain(socket) => socket.write(bytes),
            Stream::Layered(layered) => layered.try_write(bytes),
            Stream::Gone => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// Whether something that was written waits in a layer.
    pub(super) fn has_unsent(&self) -> bool {
        matches!(&self.stream, Stream::Layered(layered) if layered.has_unsent())
    }

    /// Sends it.
    fn push(&mut self) -> io::Result<()> {
        match &mut self.stream {
            Stream::Layered(layered) => layered.push(),
            Stream::Plain(_) | Stream::Gone => Ok(()),
        }
    }

    /// Takes leave in each layer.
    pub(super) fn close(&mut self) {
        if let Stream::Layered(layered) = &mut self.stream {
            layered.close();
        }
    }

    /// The event loop has nothing to do with it any more.
    pub(super) fn deregister(&mut self, registry: &Registry) {
        let socket = match &mut self.stream {
            Stream::Plain(socket) => Some(socket),
            Stream::Layered(layered) => layered.socket_mut(),
            Stream::Gone => None,
        };
        if let Some(socket) = socket {
            let _ = registry.deregister(socket.source());
        }
    }
}
