//! [`Layered`]: TLS, WebSocket or both between a socket and MQTT, for a driver that asks when to read
//! and when to write.
//!
//! rustls and tungstenite read and write a socket that never blocks; what they hold back of either
//! direction is asked for here. One client has one of these, so their buffers do not matter as they do
//! at the gateway. WebSocket as mqtt.md §2.18 has it: binary frames, the subprotocol `mqtt`.

use std::io::{self, ErrorKind, Read, Write};
use std::time::Duration;

use rustls::{ClientConnection, StreamOwned};
use tokio::io::{Interest, Ready};
use tokio::time::timeout;
use tungstenite::client::IntoClientRequest as _;
use tungstenite::http::HeaderValue;
use tungstenite::protocol::WebSocketConfig;
use tungstenite::{HandshakeError, Message, WebSocket};

use super::stream::Socket;
use super::{Error, Target, secure};

/// Patience with both handshakes.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of one frame that is sent.
const FRAME: usize = 64 * 1024;
const SUBPROTOCOL: &str = "mqtt";

/// A socket that never blocks, perhaps with TLS over it.
#[derive(Debug)]
enum Pipe {
    Plain(Socket),
    Tls(Box<StreamOwned<ClientConnection, Socket>>),
}

impl Pipe {
    const fn socket(&self) -> &Socket {
        match self {
            Pipe::Plain(socket) => socket,
            Pipe::Tls(tls) => &tls.sock,
        }
    }

    fn has_unsent(&self) -> bool {
        matches!(self, Pipe::Tls(tls) if tls.conn.wants_write())
    }

    /// Says that nothing follows (RFC 8446 §6.1).
    fn close(&mut self) {
        if let Pipe::Tls(tls) = self {
            tls.conn.send_close_notify();
            let _ = tls.flush();
        }
    }
}

impl Read for Pipe {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match self {
            Pipe::Plain(socket) => socket.read(bytes),
            Pipe::Tls(tls) => tls.read(bytes),
        }
    }
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Pipe::Plain(socket) => socket.write(bytes),
            Pipe::Tls(tls) => tls.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Pipe::Plain(_) => Ok(()),
            Pipe::Tls(tls) => tls.flush(),
        }
    }
}

#[derive(Debug)]
enum Upper {
    None(Pipe),
    WebSocket(Box<WebSocket<Pipe>>),
}

/// An open stream over TLS, WebSocket or both.
#[derive(Debug)]
pub(super) struct Layered {
    upper: Upper,
    /// Read and not yet taken.
    waiting: Vec<u8>,
    /// A frame did not go out whole.
    unsent: bool,
}

impl Layered {
    /// Carries out the handshakes that the target's scheme asks for.
    pub(super) async fn open(socket: Socket, target: &Target) -> Result<Layered, Error> {
        let place = target.to_string();
        let opening = async {
            let pipe = if target.transport.is_tls() {
                Pipe::Tls(Box::new(shake_hands(socket, target).await?))
            } else {
                Pipe::Plain(socket)
            };
            let upper = if target.transport.is_ws() {
                Upper::WebSocket(Box::new(upgrade(pipe, target).await?))
            } else {
                Upper::None(pipe)
            };
            Ok(Layered { upper, waiting: Vec::new(), unsent: false })
        };
        match timeout(HANDSHAKE_TIMEOUT, opening).await {
            Ok(result) => result,
            Err(_) => Err(Error::timed_out(format!("no answer to the handshake of {place}"))),
        }
    }

    fn pipe(&self) -> &Pipe {
        match &self.upper {
            Upper::None(pipe) => pipe,
            Upper::WebSocket(socket) => socket.get_ref(),
        }
    }

    pub(super) async fn ready(&self, interest: Interest) -> io::Result<Ready> {
        if interest.is_readable() && !self.waiting.is_empty() {
            return Ok(Ready::READABLE);
        }
        self.pipe().socket().ready(interest).await
    }

    /// Whether a layer holds something that has not gone out.
    pub(super) fn has_unsent(&self) -> bool {
        self.unsent || self.pipe().has_unsent()
    }

    pub(super) fn try_read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let socket = match &mut self.upper {
            Upper::None(pipe) => return pipe.read(bytes),
            Upper::WebSocket(socket) => socket,
        };
        // All frames that have come: nobody wakes us for one that is in memory already.
        let mut end = None;
        while end.is_none() && self.waiting.len() < bytes.len() {
            match socket.read() {
                Ok(Message::Binary(data)) => self.waiting.extend_from_slice(&data),
                // [MQTT-6.0.0-1]
                Ok(Message::Text(_)) => {
                    let text = "the server sent a text frame, and MQTT is binary";
                    end = Some(io::Error::new(ErrorKind::InvalidData, text));
                }
                Ok(_) => {} // a ping is answered below, a close by its end
                Err(error) => end = Some(as_io(error)),
            }
        }
        self.unsent |= matches!(socket.flush().map_err(as_io), Err(e) if is_blocked(&e));
        let n = self.waiting.len().min(bytes.len());
        if n > 0 {
            bytes.get_mut(..n).unwrap_or_default().copy_from_slice(&self.waiting[..n]);
            self.waiting.drain(..n);
            return Ok(n);
        }
        match end {
            Some(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(0),
            Some(error) => Err(error),
            None => Ok(0),
        }
    }

    pub(super) fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.push()?;
        match &mut self.upper {
            Upper::None(pipe) => {
                let n = pipe.write(bytes)?;
                // What does not go out now is asked for by `has_unsent`.
                pipe.flush().or_else(unless_blocked)?;
                Ok(n)
            }
            Upper::WebSocket(socket) => {
                let n = bytes.len().min(FRAME);
                let frame = bytes.get(..n).unwrap_or_default().to_vec();
                self.unsent = true; // it is taken, whatever becomes of it
                match socket.send(Message::binary(frame)).map_err(as_io) {
                    Ok(()) => self.unsent = false,
                    Err(error) => unless_blocked(error)?,
                }
                Ok(n)
            }
        }
    }

    /// Sends what the layers hold.
    ///
    /// # Errors
    /// `WouldBlock` where some of it stays.
    pub(super) fn push(&mut self) -> io::Result<()> {
        match &mut self.upper {
            Upper::None(pipe) => pipe.flush(),
            Upper::WebSocket(socket) => {
                socket.flush().map_err(as_io)?;
                self.unsent = false;
                Ok(())
            }
        }
    }

    /// Takes leave in each layer, and ends our half below.
    pub(super) async fn shutdown(&mut self) -> io::Result<()> {
        let pipe = match &mut self.upper {
            Upper::None(pipe) => pipe,
            Upper::WebSocket(socket) => {
                let _ = socket.close(None);
                let _ = socket.flush();
                socket.get_mut()
            }
        };
        pipe.close();
        match pipe {
            Pipe::Plain(socket) => socket.shutdown().await,
            Pipe::Tls(tls) => tls.sock.shutdown().await,
        }
    }
}

async fn shake_hands(
    socket: Socket,
    target: &Target,
) -> Result<StreamOwned<ClientConnection, Socket>, Error> {
    let mut tls = StreamOwned::new(secure::connection(target)?, socket);
    while tls.conn.is_handshaking() || tls.conn.wants_write() {
        match tls.conn.complete_io(&mut tls.sock) {
            Ok(_) => {}
            Err(error) if is_blocked(&error) => {
                let write = tls.conn.wants_write();
                let interest = if write { Interest::WRITABLE } else { Interest::READABLE };
                let ready = tls.sock.ready(interest).await;
                ready.map_err(|error| secure::fault(&error, target))?;
            }
            Err(error) => return Err(secure::fault(&error, target)),
        }
    }
    Ok(tls)
}

async fn upgrade(pipe: Pipe, target: &Target) -> Result<WebSocket<Pipe>, Error> {
    let url = format!("{target}{}", target.resource);
    let mut request = url
        .into_client_request()
        .map_err(|error| Error::usage(format!("{target}{}: {error}", target.resource)))?;
    let name = "Sec-WebSocket-Protocol";
    request.headers_mut().insert(name, HeaderValue::from_static(SUBPROTOCOL)); // [MQTT-6.0.0-3]
    let config = WebSocketConfig::default().max_message_size(None).max_frame_size(None);
    let mut step = tungstenite::client::client_with_config(request, pipe, Some(config));
    loop {
        match step {
            Ok((socket, _)) => return Ok(socket),
            Err(HandshakeError::Interrupted(rest)) => {
                let pipe: &Pipe = rest.get_ref().get_ref();
                let interest =
                    if pipe.has_unsent() { Interest::WRITABLE } else { Interest::READABLE };
                let ready = pipe.socket().ready(interest).await;
                ready.map_err(|error| secure::fault(&error, target))?;
                step = rest.handshake();
            }
            Err(HandshakeError::Failure(error)) => return Err(refused(error, target)),
        }
    }
}

/// An upgrade that failed, in words.
fn refused(error: tungstenite::Error, target: &Target) -> Error {
    use tungstenite::error::ProtocolError;
    match error {
        tungstenite::Error::Http(answer) => {
            let (status, path) = (answer.status(), &target.resource);
            Error::Refused {
                text: format!("the server refused the WebSocket at {path}: HTTP {status}"),
                hint: "is this the path of the listener? the URL has it: ws://HOST:PORT/PATH"
                    .into(),
            }
        }
        tungstenite::Error::Io(error) => secure::fault(&error, target),
        tungstenite::Error::Protocol(ProtocolError::HandshakeIncomplete) => Error::Ended {
            text: format!("{target} closed the connection during the WebSocket handshake"),
            hint: "is WebSocket spoken on this port, with TLS (wss) or without (ws)?",
        },
        error => Error::Protocol(format!("no WebSocket at {target}: {error}")),
    }
}

fn is_blocked(error: &io::Error) -> bool {
    error.kind() == ErrorKind::WouldBlock
}

fn unless_blocked(error: io::Error) -> io::Result<()> {
    if is_blocked(&error) { Ok(()) } else { Err(error) }
}

fn as_io(error: tungstenite::Error) -> io::Error {
    match error {
        tungstenite::Error::Io(error) => error,
        tungstenite::Error::ConnectionClosed | tungstenite::Error::AlreadyClosed => {
            ErrorKind::UnexpectedEof.into()
        }
        error => io::Error::new(ErrorKind::InvalidData, error),
    }
}
