//! [`Layered`]: TLS, WebSocket or both between a socket and MQTT or CoAP, for a driver that asks when to
//! read and when to write; which socket that is, and how its driver waits, is not said here.
//!
//! rustls and tungstenite read and write a socket that never blocks; what they hold back of either
//! direction is asked for here. A client has one of these, so their buffers do not matter as they do
//! at the gateway. WebSocket as mqtt.md §2.18 has it: binary frames, the subprotocol `mqtt`; of CoAP,
//! `coap` and a message a message (RFC 8323 §4): what is written is cut into them, what is read is
//! [`Layered::try_read_message`].

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::sync::Arc;

use bytes::Bytes;
use motegate_coap::for_websocket;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use tungstenite::client::IntoClientRequest as _;
use tungstenite::handshake::MidHandshake;
use tungstenite::http::HeaderValue;
use tungstenite::protocol::WebSocketConfig;
use tungstenite::{ClientHandshake, HandshakeError, Message, WebSocket};

use super::{Error, Scheme, Target, secure};

/// Bytes of one frame that is sent.
const FRAME: usize = 64 * 1024;
/// Messages of CoAP that are read at a time.
const MESSAGES: usize = 64;
/// Longest of them that is read; how long one may be is for its protocol to say.
const MAX_MESSAGE: usize = 4 << 20;

/// A socket that never blocks, perhaps with TLS over it.
#[derive(Debug)]
enum Pipe<S: Read + Write> {
    Plain(S),
    Tls(Box<StreamOwned<ClientConnection, S>>),
}

impl<S: Read + Write> Pipe<S> {
    const fn socket(&self) -> &S {
        match self {
            Pipe::Plain(socket) => socket,
            Pipe::Tls(tls) => &tls.sock,
        }
    }

    const fn socket_mut(&mut self) -> &mut S {
        match self {
            Pipe::Plain(socket) => socket,
            Pipe::Tls(tls) => &mut tls.sock,
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

impl<S: Read + Write> Read for Pipe<S> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match self {
            Pipe::Plain(socket) => socket.read(bytes),
            Pipe::Tls(tls) => tls.read(bytes),
        }
    }
}

impl<S: Read + Write> Write for Pipe<S> {
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

enum Upper<S: Read + Write> {
    None(Pipe<S>),
    Upgrading(MidHandshake<ClientHandshake<Pipe<S>>>),
    WebSocket(Box<WebSocket<Pipe<S>>>),
    /// A handshake has failed.
    Gone,
}

/// A socket with TLS, WebSocket or both over it.
pub(crate) struct Layered<S: Read + Write> {
    upper: Upper<S>,
    /// Read and not yet taken.
    waiting: Vec<u8>,
    /// The same, of CoAP.
    messages: VecDeque<Bytes>,
    /// There may be more in the layers than is waiting: nobody wakes us for that.
    more: bool,
    /// A frame did not go out whole.
    unsent: bool,
    scheme: Scheme,
}

impl<S: Read + Write> fmt::Debug for Layered<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Layered").field("unsent", &self.unsent).finish_non_exhaustive()
    }
}

/// What a handshake waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    Read,
    Write,
}

impl<S: Read + Write> Layered<S> {
    /// Above an open socket; nothing is said yet. `tls` is for a target that has it.
    pub(crate) fn new(
        socket: S,
        target: &Target,
        tls: Option<Arc<ClientConfig>>,
    ) -> Result<Self, Error> {
        let pipe = match tls.filter(|_| target.transport.is_tls()) {
            Some(config) => {
                let conn = secure::connection(target, config)?;
                Pipe::Tls(Box::new(StreamOwned::new(conn, socket)))
            }
            None => Pipe::Plain(socket),
        };
        Ok(Layered {
            upper: Upper::None(pipe),
            waiting: Vec::new(),
            messages: VecDeque::new(),
            more: false,
            unsent: false,
            scheme: target.scheme,
        })
    }

    /// Carries on the handshakes that the target's scheme asks for; `None` when all are through.
    pub(crate) fn shake_hands(&mut self, target: &Target) -> Result<Option<Wait>, Error> {
        let step = match std::mem::replace(&mut self.upper, Upper::Gone) {
            Upper::None(mut pipe) => {
                if let Some(wait) = encrypt(&mut pipe, target)? {
                    self.upper = Upper::None(pipe);
                    return Ok(Some(wait));
                }
                if !target.transport.is_ws() {
                    self.upper = Upper::None(pipe);
                    return Ok(None);
                }
                upgrade(pipe, target)?
            }
            Upper::Upgrading(rest) => rest.handshake(),
            done @ (Upper::WebSocket(_) | Upper::Gone) => {
                self.upper = done;
                return Ok(None);
            }
        };
        match step {
            Ok((socket, _)) => {
                self.upper = Upper::WebSocket(Box::new(socket));
                Ok(None)
            }
            Err(HandshakeError::Interrupted(rest)) => {
                let write = rest.get_ref().get_ref().has_unsent();
                self.upper = Upper::Upgrading(rest);
                Ok(Some(if write { Wait::Write } else { Wait::Read }))
            }
            Err(HandshakeError::Failure(error)) => Err(refused(error, target)),
        }
    }

    fn pipe(&self) -> Option<&Pipe<S>> {
        match &self.upper {
            Upper::None(pipe) => Some(pipe),
            Upper::Upgrading(rest) => Some(rest.get_ref().get_ref()),
            Upper::WebSocket(socket) => Some(socket.get_ref()),
            Upper::Gone => None,
        }
    }

    /// The socket below; `None` after a handshake that failed.
    pub(crate) fn socket(&self) -> Option<&S> {
        self.pipe().map(Pipe::socket)
    }

    /// The same.
    pub(crate) fn socket_mut(&mut self) -> Option<&mut S> {
        match &mut self.upper {
            Upper::None(pipe) => Some(pipe.socket_mut()),
            Upper::Upgrading(rest) => Some(rest.get_mut().get_mut().socket_mut()),
            Upper::WebSocket(socket) => Some(socket.get_mut().socket_mut()),
            Upper::Gone => None,
        }
    }

    /// Whether something was read that nobody has taken.
    pub(crate) fn has_waiting(&self) -> bool {
        self.more || !self.waiting.is_empty() || !self.messages.is_empty()
    }

    /// Whether there is a WebSocket.
    pub(crate) const fn is_ws(&self) -> bool {
        matches!(self.upper, Upper::WebSocket(_))
    }

    /// Whether a layer holds something that has not gone out.
    pub(crate) fn has_unsent(&self) -> bool {
        self.unsent || self.pipe().is_some_and(Pipe::has_unsent)
    }

    pub(crate) fn try_read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let socket = match &mut self.upper {
            Upper::None(pipe) => return pipe.read(bytes),
            Upper::WebSocket(socket) => socket,
            Upper::Upgrading(_) | Upper::Gone => return Err(ErrorKind::NotConnected.into()),
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
        self.more = end.is_none();
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

    /// The next message of a WebSocket, whole; `None` at the end of the connection.
    pub(crate) fn try_read_message(&mut self) -> io::Result<Option<Bytes>> {
        let Upper::WebSocket(socket) = &mut self.upper else {
            return Err(ErrorKind::NotConnected.into());
        };
        let mut end = None;
        while end.is_none() && self.messages.len() < MESSAGES {
            match socket.read() {
                Ok(Message::Binary(data)) => self.messages.push_back(data),
                // RFC 8323 §4.2
                Ok(Message::Text(_)) => {
                    let text = "the server sent a text frame, and CoAP is binary";
                    end = Some(io::Error::new(ErrorKind::InvalidData, text));
                }
                Ok(_) => {} // a ping is answered below, a close by its end
                Err(error) => end = Some(as_io(error)),
            }
        }
        self.more = end.is_none();
        self.unsent |= matches!(socket.flush().map_err(as_io), Err(e) if is_blocked(&e));
        match (self.messages.pop_front(), end) {
            (Some(message), _) => Ok(Some(message)),
            (None, Some(error)) if error.kind() == ErrorKind::UnexpectedEof => Ok(None),
            (None, Some(error)) => Err(error),
            (None, None) => Err(ErrorKind::WouldBlock.into()),
        }
    }

    pub(crate) fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.push()?;
        match &mut self.upper {
            Upper::None(pipe) => {
                let n = pipe.write(bytes)?;
                // What does not go out now is asked for by `has_unsent`.
                pipe.flush().or_else(unless_blocked)?;
                Ok(n)
            }
            Upper::WebSocket(socket) => {
                let (frame, n) = match self.scheme {
                    Scheme::Coap => message(bytes),
                    _ => (bytes.get(..FRAME).unwrap_or(bytes).to_vec(), bytes.len().min(FRAME)),
                };
                self.unsent = true; // it is taken, whatever becomes of it
                match socket.send(Message::binary(frame)).map_err(as_io) {
                    Ok(()) => self.unsent = false,
                    Err(error) => unless_blocked(error)?,
                }
                Ok(n)
            }
            Upper::Upgrading(_) | Upper::Gone => Err(ErrorKind::NotConnected.into()),
        }
    }

    /// Sends what the layers hold.
    ///
    /// # Errors
    /// `WouldBlock` where some of it stays.
    pub(crate) fn push(&mut self) -> io::Result<()> {
        match &mut self.upper {
            Upper::None(pipe) => pipe.flush(),
            Upper::WebSocket(socket) => {
                socket.flush().map_err(as_io)?;
                self.unsent = false;
                Ok(())
            }
            Upper::Upgrading(_) | Upper::Gone => Ok(()),
        }
    }

    /// Takes leave in each layer, as far as the socket takes it now.
    pub(crate) fn close(&mut self) {
        match &mut self.upper {
            Upper::None(pipe) => pipe.close(),
            Upper::WebSocket(socket) => {
                let _ = socket.close(None);
                let _ = socket.flush();
                socket.get_mut().close();
            }
            Upper::Upgrading(_) | Upper::Gone => {}
        }
    }
}

/// Carries on the handshake of TLS, if there is one.
fn encrypt<S: Read + Write>(pipe: &mut Pipe<S>, target: &Target) -> Result<Option<Wait>, Error> {
    let Pipe::Tls(tls) = pipe else { return Ok(None) };
    while tls.conn.is_handshaking() || tls.conn.wants_write() {
        match tls.conn.complete_io(&mut tls.sock) {
            Ok(_) => {}
            Err(error) if is_blocked(&error) => {
                let write = tls.conn.wants_write();
                return Ok(Some(if write { Wait::Write } else { Wait::Read }));
            }
            Err(error) => return Err(secure::fault(&error, target)),
        }
    }
    Ok(None)
}

/// What a step of an upgrade comes to.
type Step<S> = Result<
    <ClientHandshake<Pipe<S>> as tungstenite::handshake::HandshakeRole>::FinalResult,
    HandshakeError<ClientHandshake<Pipe<S>>>,
>;

fn upgrade<S: Read + Write>(pipe: Pipe<S>, target: &Target) -> Result<Step<S>, Error> {
    let mut request = target
        .web_url()
        .into_client_request()
        .map_err(|error| Error::usage(format!("{target}{}: {error}", target.resource)))?;
    let (protocol, most) = match target.scheme {
        Scheme::Coap => ("coap", Some(MAX_MESSAGE)), // RFC 8323 §4.1
        _ => ("mqtt", None),                         // [MQTT-6.0.0-3]
    };
    let name = "Sec-WebSocket-Protocol";
    request.headers_mut().insert(name, HeaderValue::from_static(protocol));
    let config = WebSocketConfig::default().max_message_size(most).max_frame_size(most);
    Ok(tungstenite::client::client_with_config(request, pipe, Some(config)))
}

/// The first of the messages that wait (RFC 8323 §4.2), and how long it is where they stand.
fn message(bytes: &[u8]) -> (Vec<u8>, usize) {
    for_websocket(bytes).map_or((Vec::new(), bytes.len()), |message| {
        ([&[message.first], message.rest].concat(), message.taken)
    })
}

/// An upgrade that failed, in words.
fn refused(error: tungstenite::Error, target: &Target) -> Error {
    use tungstenite::error::ProtocolError;
    let (path, port) = match target.scheme {
        Scheme::Coap => (
            "CoAP is spoken at this path (RFC 8323): does the server have it?",
            "is WebSocket spoken on this port, with TLS (coaps+ws) or without (coap+ws)?",
        ),
        _ => (
            "is this the path of the listener? the URL has it: ws://HOST:PORT/PATH",
            "is WebSocket spoken on this port, with TLS (wss) or without (ws)?",
        ),
    };
    match error {
        tungstenite::Error::Http(answer) => {
            let (status, at) = (answer.status(), &target.resource);
            Error::Refused {
                text: format!("the server refused the WebSocket at {at}: HTTP {status}"),
                hint: path.into(),
            }
        }
        tungstenite::Error::Io(error) => secure::fault(&error, target),
        tungstenite::Error::Protocol(ProtocolError::HandshakeIncomplete) => Error::Ended {
            text: format!("{target} closed the connection during the WebSocket handshake"),
            hint: port,
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
