//! [`Layer`]: what lies between one connection's socket and MQTT, while there is something.
//!
//! Bytes of the socket go in, bytes of MQTT and bytes for the socket come out; no socket, no clock and
//! no core in here. A connection goes through the stages that its listener has: PROXY header, TLS,
//! WebSocket; before they are done the core does not know it. At rest a layer holds keys and a few
//! bytes of state; what is to be sent waits in the core's outbox, but for one batch at a time.

use std::net::SocketAddr;
use std::sync::Arc;

use motegate_coap::for_websocket;
use motegate_config::{IdentityFrom, Transport};
use motegate_timers::Instant;
use rustls::{AlertDescription, CertificateError, InvalidMessage};
use tungstenite::protocol::frame::coding::CloseCode;

use super::causes::Cause;
use super::proxy::{self, Source};
use super::tls::{Session, State, is_identity};
use super::ws::frames::{self, Decoder, Event};
use super::ws::upgrade::{self, Upgrade};

/// Of MQTT's bytes, those that are wrapped at once: a record of TLS, a frame of WebSocket.
pub(crate) const BATCH: usize = 16 * 1024;
/// Bytes for the socket (answers to pings, alerts) beyond which nothing more is read.
const MAX_UNSENT: usize = 64 * 1024;

/// Where a connection stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Proxy,
    Handshake,
    Upgrade,
    /// MQTT's bytes; the core knows it.
    Open,
    /// Nothing is taken any more.
    Over,
}

/// The layers of one connection.
#[derive(Debug)]
pub(crate) struct Layer {
    stage: Stage,
    transport: Arc<Transport>,
    /// `None` also while a helper has it.
    tls: Option<Session>,
    decoder: Decoder,
    /// The beginning of a PROXY header or of an HTTP request.
    partial: Vec<u8>,
    /// For the socket, from `sent` on.
    out: Vec<u8>,
    sent: usize,
    /// Bytes of the core's outbox that are in `out`.
    pub(crate) taken: usize,
    /// Who is at the other end.
    pub(crate) peer: Option<SocketAddr>,
    pub(crate) identity: Option<Arc<str>>,
    /// What the other end calls this machine by the Host of its request, where CoAP wants to know it.
    /// (SNI would say it, too; rustls tells it of buffered sessions only.)
    pub(crate) host: Option<Arc<str>>,
    /// When it was accepted.
    pub(crate) since: Instant,
    /// When the core has to know it.
    pub(crate) deadline: Instant,
    /// A handshake has begun.
    begun: bool,
    /// WebSocket's farewell was said, or has no place.
    farewell: bool,
    /// What it will say: the other end's word, or what was wrong. Behind it nothing is said, so that
    /// what answers the frames before goes first (RFC 6455 §5.5.1).
    last_word: Option<Option<CloseCode>>,
    /// The core was told of it.
    pub(crate) known: bool,
}

/// Bytes that were in the layers: those of MQTT or CoAP.
#[derive(Debug, Default)]
pub(crate) struct Inside {
    pub(crate) bytes: Vec<u8>,
    /// Where messages of CoAP over WebSocket end among them; it has no other ends.
    pub(crate) ends: Vec<usize>,
    /// They are parts of such messages.
    pub(crate) is_parts: bool,
}

impl Inside {
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
        self.is_parts = false;
    }
}

/// What became of bytes. MQTT's are in the buffer that was given.
#[derive(Debug)]
pub(crate) enum Step {
    /// Nothing more, for now.
    More,
    /// The stages are done: the core is told, before the first bytes.
    Opened,
    /// These are for a helper; [`Layer::returned`] goes on.
    Handshake(Session, Vec<u8>),
    /// The other end has ended in order.
    Ended,
    /// It is over; last words are to be sent.
    Over(Cause, String),
}

impl Layer {
    /// The layers of a connection that was accepted on a listener that has some.
    pub(crate) fn new(
        transport: Arc<Transport>,
        peer: Option<SocketAddr>,
        since: Instant,
        deadline: Instant,
    ) -> Self {
        let mut layer = Layer {
            stage: Stage::Proxy,
            transport,
            tls: None,
            decoder: Decoder::default(),
            partial: Vec::new(),
            out: Vec::new(),
            sent: 0,
            taken: 0,
            peer,
            identity: None,
            host: None,
            since,
            deadline,
            begun: false,
            farewell: false,
            last_word: None,
            known: false,
        };
        if layer.transport.proxy.is_none() {
            layer.next_stage();
        }
        layer
    }

    /// The connection is MQTT's bytes from now on: this is needed no more.
    pub(crate) fn is_plain(&self) -> bool {
        self.stage == Stage::Open
            && self.transport.tls.is_none()
            && self.transport.websocket.is_none()
    }

    /// CoAP is in it.
    pub(crate) fn is_coap(&self) -> bool {
        self.transport.coap
    }

    /// Its handshake succeeded.
    pub(crate) fn is_secured(&self) -> bool {
        self.tls.is_some() && matches!(self.stage, Stage::Upgrade | Stage::Open)
    }

    /// Whether bytes of the socket can be taken now.
    pub(crate) fn takes(&self) -> bool {
        let away = self.stage == Stage::Handshake && self.tls.is_none();
        !away && self.stage != Stage::Over && self.out.len() - self.sent < MAX_UNSENT
    }

    /// Takes bytes of the socket, which are changed; `clear` is empty, and left so. `max_frame` is the
    /// longest WebSocket frame.
    pub(crate) fn receive(
        &mut self,
        bytes: &mut [u8],
        max_frame: u64,
        clear: &mut Vec<u8>,
        inside: &mut Inside,
    ) -> Step {
        if self.stage != Stage::Proxy {
            return self.encrypted(bytes, max_frame, clear, inside);
        }
        self.partial.extend_from_slice(bytes);
        let Some(settings) = &self.transport.proxy else { return Step::More };
        let versions = proxy::Versions { v1: settings.v1, v2: settings.v2 };
        let header = match proxy::parse(&self.partial, versions) {
            Ok(Some(header)) => header,
            Ok(None) => return Step::More,
            Err(fault) => return self.over(Cause::ProxyHeader, fault.to_string()),
        };
        if let Source::Address(address) = header.source {
            self.peer = Some(address);
        }
        if settings.identity {
            let name = header.common_name.filter(|name| is_identity(name));
            self.identity = name.map(Arc::from);
        }
        let mut rest = std::mem::take(&mut self.partial);
        let rest = rest.get_mut(header.len..).unwrap_or_default();
        if self.next_stage() == Stage::Open {
            inside.bytes.extend_from_slice(rest);
            return Step::Opened;
        }
        if rest.is_empty() { Step::More } else { self.encrypted(rest, max_frame, clear, inside) }
    }

    /// Takes up what a helper brings back.
    pub(crate) fn returned(
        &mut self,
        session: Session,
        out: &[u8],
        result: Result<State, rustls::Error>,
        clear: &mut [u8],
        max_frame: u64,
        inside: &mut Inside,
    ) -> Step {
        self.out.extend_from_slice(out);
        match result {
            Ok(State::Handshaking) => {
                self.tls = Some(session);
                return Step::More;
            }
            Ok(_) => {}
            Err(error) => return self.failed(&error),
        }
        let from = self.transport.tls.as_ref().map_or(IdentityFrom::None, |tls| tls.identity);
        self.identity = session.identity(from).or(self.identity.take());
        if self.identity.is_none() && from != IdentityFrom::None && session.is_certified() {
            tracing::warn!(
                peer = self.peer.map(tracing::field::display),
                "a client's certificate has nothing that `tls.identity` asks for: it has no identity"
            );
        }
        self.tls = Some(session);
        if self.next_stage() == Stage::Open {
            inside.bytes.extend_from_slice(clear);
            return Step::Opened;
        }
        if clear.is_empty() { Step::More } else { self.wrapped(clear, max_frame, inside) }
    }

    /// From the socket on, or behind a PROXY header.
    fn encrypted(
        &mut self,
        bytes: &mut [u8],
        max_frame: u64,
        clear: &mut Vec<u8>,
        inside: &mut Inside,
    ) -> Step {
        if self.stage == Stage::Handshake {
            if let (false, Some(seems)) = (self.begun, not_tls(bytes)) {
                return self.over(Cause::NoTls, seems.to_owned());
            }
            self.begun = true;
            return match self.tls.take() {
                Some(session) => Step::Handshake(session, bytes.to_vec()),
                None => Step::More,
            };
        }
        let Some(tls) = &mut self.tls else { return self.wrapped(bytes, max_frame, inside) };
        clear.clear();
        let result = tls.receive(bytes, clear, &mut self.out);
        let step =
            if clear.is_empty() { Step::More } else { self.wrapped(clear, max_frame, inside) };
        clear.clear();
        match (step, result) {
            (Step::More, Ok(State::Closed)) => Step::Ended,
            (Step::More, Err(error)) => self.failed(&error),
            (step, _) => step,
        }
    }

    /// What is in TLS, or on the socket without.
    fn wrapped(&mut self, bytes: &mut [u8], max_frame: u64, inside: &mut Inside) -> Step {
        match self.stage {
            Stage::Upgrade => self.upgrade(bytes, max_frame, inside),
            Stage::Open if self.transport.websocket.is_some() => {
                self.frames(bytes, max_frame, inside)
            }
            Stage::Open => {
                inside.bytes.extend_from_slice(bytes);
                Step::More
            }
            _ => Step::More,
        }
    }

    fn upgrade(&mut self, bytes: &mut [u8], max_frame: u64, inside: &mut Inside) -> Step {
        self.partial.extend_from_slice(bytes);
        let Some(settings) = &self.transport.websocket else { return Step::More };
        match upgrade::read(&self.partial, settings, self.peer.map(|peer| peer.ip())) {
            Upgrade::More => Step::More,
            Upgrade::Accepted { len, response, forwarded, host } => {
                self.peer = forwarded.or(self.peer);
                if self.transport.coap {
                    self.host = host.map(Arc::from); // RFC 8323 §8.5
                }
                self.send(response.as_bytes());
                let mut rest = std::mem::take(&mut self.partial);
                let rest = rest.get_mut(len..).unwrap_or_default();
                self.stage = Stage::Open;
                match self.frames(rest, max_frame, inside) {
                    Step::More => Step::Opened,
                    // It closes before it was opened.
                    step => step,
                }
            }
            Upgrade::Refused { response, why } => {
                self.send(response.as_bytes());
                // Nobody asked for a WebSocket's farewell.
                self.farewell = true;
                self.over(Cause::WsRequest, why.to_string())
            }
        }
    }

    fn frames(&mut self, bytes: &mut [u8], max_frame: u64, inside: &mut Inside) -> Step {
        let mut answers = Vec::new();
        let mut closed = None;
        inside.is_parts = self.transport.coap;
        let Inside { bytes: out, ends, is_parts } = inside;
        let result = self.decoder.decode(bytes, max_frame, out, |event| match event {
            // Of several in a row the last may be enough (§5.5.3): it is so where they are many.
            Event::Ping(payload) if answers.len() < MAX_UNSENT => {
                frames::pong(&payload, &mut answers);
            }
            Event::Ping(_) => {}
            Event::Close(code) => closed = Some(code),
            Event::End(at) if *is_parts => ends.push(at),
            Event::End(_) => {}
        });
        if !answers.is_empty() {
            self.send(&answers);
        }
        match result {
            Ok(()) if closed.is_some() => {
                self.last_word = closed;
                Step::Ended
            }
            Ok(()) => Step::More,
            Err(fault) => {
                self.last_word = Some(Some(fault.code()));
                self.over(Cause::WsFrame, fault.to_string())
            }
        }
    }

    /// Enters the next stage that the listener has.
    fn next_stage(&mut self) -> Stage {
        let before = self.stage;
        let web = self.transport.websocket.is_some();
        self.stage = match (before, &self.transport.tls) {
            (Stage::Proxy, Some(tls)) => match Session::new(tls.server.clone()) {
                Ok(session) => {
                    self.tls = Some(session);
                    Stage::Handshake
                }
                // The configuration was checked when it was read.
                Err(error) => {
                    tracing::error!(%error, "TLS cannot be served");
                    Stage::Over
                }
            },
            _ if web => Stage::Upgrade,
            _ => Stage::Open,
        };
        self.stage
    }

    fn over(&mut self, cause: Cause, detail: String) -> Step {
        self.stage = Stage::Over;
        Step::Over(cause, detail)
    }

    /// TLS failed; an alert is to be sent.
    fn failed(&mut self, error: &rustls::Error) -> Step {
        self.farewell = true;
        self.over(cause(error), error.to_string())
    }

    /// Bytes for the other end, not MQTT's.
    fn send(&mut self, bytes: &[u8]) {
        match (&mut self.tls, &self.transport.tls) {
            (Some(tls), _) => tls.send(bytes, &mut self.out),
            (None, None) => self.out.extend_from_slice(bytes),
            // Never in the clear what belongs into TLS.
            (None, Some(_)) => {}
        }
    }

    fn say_close(&mut self, code: Option<CloseCode>) {
        if self.transport.websocket.is_some() && !std::mem::replace(&mut self.farewell, true) {
            let mut frame = Vec::new();
            frames::close(code, &mut frame);
            self.send(&frame);
        }
    }

    /// Wraps the beginning of what MQTT has to say, in a buffer that is given where there is none.
    pub(crate) fn wrap(&mut self, outbox: &[u8], spare: &mut Vec<u8>) {
        if self.out.capacity() == 0 {
            self.out = std::mem::take(spare);
        }
        if self.transport.coap && self.transport.websocket.is_some() {
            return self.wrap_messages(outbox);
        }
        let batch = outbox.get(..outbox.len().min(BATCH)).unwrap_or_default();
        self.taken = batch.len();
        // [MQTT-6.0.0-1]: binary; one frame for all that is written at once.
        match (&mut self.tls, self.transport.websocket.is_some()) {
            (None, false) => self.out.extend_from_slice(batch),
            (None, true) => {
                frames::binary_header(batch.len(), &mut self.out);
                self.out.extend_from_slice(batch);
            }
            (Some(tls), false) => tls.send(batch, &mut self.out),
            (Some(tls), true) => {
                let mut frame = Vec::with_capacity(batch.len() + 4);
                frames::binary_header(batch.len(), &mut frame);
                frame.extend_from_slice(batch);
                tls.send(&frame, &mut self.out);
            }
        }
    }

    /// CoAP's messages, each in a frame of its own (RFC 8323 §4.2).
    fn wrap_messages(&mut self, outbox: &[u8]) {
        let mut frames = Vec::new();
        self.taken = 0;
        while let Some(one) = for_websocket(outbox.get(self.taken..).unwrap_or_default())
            && self.taken < BATCH
        {
            frames::binary_header(1 + one.rest.len(), &mut frames);
            frames.push(one.first);
            frames.extend_from_slice(one.rest);
            self.taken += one.taken;
        }
        if self.taken == 0 {
            self.taken = outbox.len(); // an outbox holds whole messages
        }
        match &mut self.tls {
            Some(tls) => tls.send(&frames, &mut self.out),
            None => self.out.extend_from_slice(&frames),
        }
    }

    /// Says goodbye in the words of WebSocket and TLS, once. Whether there is something to send.
    pub(crate) fn farewell(&mut self) -> bool {
        let normal = (self.stage == Stage::Open).then_some(Some(CloseCode::Normal));
        if let Some(code) = self.last_word.take().or(normal) {
            self.say_close(code);
        }
        self.stage = Stage::Over;
        if let Some(mut tls) = self.tls.take() {
            tls.close(&mut self.out);
        }
        !self.unsent().is_empty()
    }

    /// What the socket has to take.
    pub(crate) fn unsent(&self) -> &[u8] {
        self.out.get(self.sent..).unwrap_or_default()
    }

    /// The socket took so many bytes. A buffer that has become empty is given back.
    pub(crate) fn advance(&mut self, n: usize, spare: &mut Vec<u8>) {
        self.sent += n;
        if self.sent >= self.out.len() {
            self.sent = 0;
            self.out.clear();
            let buffer = std::mem::take(&mut self.out);
            if buffer.capacity() > spare.capacity() && buffer.capacity() <= 4 * BATCH {
                *spare = buffer;
            }
        }
    }
}

/// What bytes are that do not begin a handshake.
fn not_tls(bytes: &[u8]) -> Option<&'static str> {
    match bytes.first()? {
        // A handshake record (RFC 8446 §5.1), or an alert.
        0x15 | 0x16 => None,
        0x10 => Some("an MQTT CONNECT without TLS"),
        first if first.is_ascii_uppercase() => Some("an HTTP request without TLS"),
        _ => Some("no TLS"),
    }
}

/// What the first bytes on a listener without layers are, if they are another one's.
pub(crate) fn strange(bytes: &[u8]) -> Option<(Cause, &'static str)> {
    match bytes {
        // A handshake record of TLS 1.0 to 1.3; MQTT has no packet that begins so.
        [0x16, 0x03, ..] => Some((Cause::Tls, "a TLS handshake")),
        [b'G', b'E', b'T', b' ', ..] => Some((Cause::Http, "an HTTP request")),
        _ => None,
    }
}

/// Why TLS failed, in the words of who can do something about it.
fn cause(error: &rustls::Error) -> Cause {
    use rustls::Error;
    match error {
        Error::InvalidCertificate(error) => match error {
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. } => Cause::CertExpired,
            CertificateError::Revoked => Cause::CertRevoked,
            CertificateError::UnknownIssuer => Cause::CertUnknownCa,
            CertificateError::UnknownRevocationStatus => Cause::CertUnknownStatus,
            // webpki's own word, which rustls passes on: it reads version 3 only (RFC 5280 §4.1.2.1).
            CertificateError::Other(other) if other.0.to_string() == "UnsupportedCertVersion" => {
                Cause::CertVersion
            }
            _ => Cause::CertBad,
        },
        Error::NoCertificatesPresented => Cause::CertMissing,
        Error::AlertReceived(alert) => match alert {
            AlertDescription::ProtocolVersion | AlertDescription::InsufficientSecurity => {
                Cause::TlsVersion
            }
            _ => Cause::TlsAlert,
        },
        Error::PeerIncompatible(_) => Cause::TlsVersion,
        Error::InvalidMessage(InvalidMessage::InvalidContentType) => Cause::NoTls,
        _ => Cause::TlsError,
    }
}
