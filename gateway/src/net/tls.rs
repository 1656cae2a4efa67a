//! [`Session`]: one connection's TLS, bytes in and bytes out.
//!
//! rustls without its buffers: what was decrypted and what is to be sent goes into buffers of the
//! caller at once, so that a connection at rest keeps its keys and nothing else; at most a record that
//! has not come whole waits here. A session knows no socket: its handshake is carried out on a helper
//! thread ([`super::handshakes`]), the rest on the worker.

use std::fmt;
use std::sync::Arc;

use motegate_config::IdentityFrom;
use rustls::ServerConfig;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus};
use x509_parser::prelude::{GeneralName, ParsedExtension, X509Certificate, X509Name};

/// Most bytes that wait for the rest of a record or of a message of the handshake; rustls takes none
/// that is longer.
const MAX_PARTIAL: usize = 96 * 1024;
/// A record carries so much (RFC 8446 §5.1) …
const RECORD: usize = 16 * 1024;
/// … and at most so much more than what was put in (§5.2).
const OVERHEAD: usize = 256 + 5;
/// Steps after which a connection that sends nothing new is done; each is a message or so.
const MAX_STEPS: usize = 64;

/// Where a session stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// The handshake needs more bytes.
    Handshaking,
    Open,
    /// The other end has said that nothing follows.
    Closed,
}

/// TLS of one connection.
pub(crate) struct Session {
    /// A kilobyte, in its own allocation so that sessions are handed over cheaply.
    tls: Box<UnbufferedServerConnection>,
    /// What has not come whole. rustls is always shown it: it remembers places in it.
    partial: Vec<u8>,
}

/// No word of its keys.
impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("partial", &self.partial.len()).finish_non_exhaustive()
    }
}

impl Session {
    pub(crate) fn new(config: Arc<ServerConfig>) -> Result<Self, rustls::Error> {
        let tls = Box::new(UnbufferedServerConnection::new(config)?);
        Ok(Session { tls, partial: Vec::new() })
    }

    /// Takes bytes that came, which are changed. What was in them is added to `clear`, what is to be
    /// sent to `out`.
    ///
    /// # Errors
    /// It is over; the alert that says so is in `out`.
    pub(crate) fn receive(
        &mut self,
        bytes: &mut [u8],
        clear: &mut Vec<u8>,
        out: &mut Vec<u8>,
    ) -> Result<State, rustls::Error> {
        let result = if self.partial.is_empty() {
            let (taken, result) = process(&mut self.tls, bytes, clear, out);
            self.partial.extend_from_slice(bytes.get(taken..).unwrap_or_default());
            result
        } else {
            self.partial.extend_from_slice(bytes);
            let (taken, result) = process(&mut self.tls, &mut self.partial, clear, out);
            self.partial.drain(..taken.min(self.partial.len()));
            result
        };
        if self.partial.is_empty() {
            self.partial = Vec::new();
        }
        match result {
            Ok(_) if self.partial.len() > MAX_PARTIAL => {
                Err(rustls::Error::General("a message that is too long".into()))
            }
            Ok(state) => Ok(state),
            Err(error) => {
                // The alert waits behind the error.
                for _ in 0..MAX_STEPS {
                    let UnbufferedStatus { state, .. } =
                        self.tls.process_tls_records(&mut self.partial);
                    match state {
                        Ok(ConnectionState::EncodeTlsData(mut data)) => {
                            encode(out, |buffer| data.encode(buffer));
                        }
                        Ok(ConnectionState::TransmitTlsData(sent)) => sent.done(),
                        _ => break,
                    }
                }
                Err(error)
            }
        }
    }

    /// Encrypts; nothing where the session cannot send (any more).
    pub(crate) fn send(&mut self, plain: &[u8], out: &mut Vec<u8>) {
        self.write(out, |traffic, out| {
            let records = plain.len().div_ceil(RECORD).max(1);
            let start = out.len();
            out.resize(start + plain.len() + records * OVERHEAD, 0);
            let buffer = out.get_mut(start..).unwrap_or_default();
            // It fails where the keys are used up, after 2⁶⁴ records.
            let n = traffic.encrypt(plain, buffer).unwrap_or(0);
            out.truncate(start + n);
        });
    }

    /// Says that nothing follows (RFC 8446 §6.1).
    pub(crate) fn close(&mut self, out: &mut Vec<u8>) {
        self.write(out, |traffic, out| {
            let start = out.len();
            out.resize(start + OVERHEAD, 0);
            let buffer = out.get_mut(start..).unwrap_or_default();
            let n: Result<usize, EncryptError> = traffic.queue_close_notify(buffer);
            out.truncate(start + n.unwrap_or(0));
        });
    }

    fn write(
        &mut self,
        out: &mut Vec<u8>,
        then: impl FnOnce(
            &mut rustls::unbuffered::WriteTraffic<'_, rustls::server::ServerConnectionData>,
            &mut Vec<u8>,
        ),
    ) {
        for _ in 0..MAX_STEPS {
            let UnbufferedStatus { state, .. } = self.tls.process_tls_records(&mut self.partial);
            match state {
                Ok(ConnectionState::WriteTraffic(mut traffic)) => return then(&mut traffic, out),
                Ok(ConnectionState::EncodeTlsData(mut data)) => {
                    encode(out, |buffer| data.encode(buffer));
                }
                Ok(ConnectionState::TransmitTlsData(sent)) => sent.done(),
                Ok(ConnectionState::PeerClosed) => {}
                _ => return,
            }
        }
    }

    /// What the client's certificate, which was verified, says of who it is.
    pub(crate) fn identity(&self, from: IdentityFrom) -> Option<Arc<str>> {
        let leaf = self.tls.peer_certificates()?.first()?;
        let (_, leaf) = x509_parser::parse_x509_certificate(leaf).ok()?;
        identity(&leaf, from).filter(|text| is_identity(text)).map(Arc::from)
    }

    /// Whether the client showed a certificate.
    pub(crate) fn is_certified(&self) -> bool {
        self.tls.peer_certificates().is_some_and(|chain| !chain.is_empty())
    }
}

/// Steps through bytes until more are needed. Returns how many were used.
fn process(
    tls: &mut UnbufferedServerConnection,
    bytes: &mut [u8],
    clear: &mut Vec<u8>,
    out: &mut Vec<u8>,
) -> (usize, Result<State, rustls::Error>) {
    let mut at = 0;
    loop {
        let rest = bytes.get_mut(at..).unwrap_or_default();
        let UnbufferedStatus { mut discard, state } = tls.process_tls_records(rest);
        let end = match state {
            Err(error) => Some(Err(error)),
            Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                let mut end = None;
                while let Some(record) = traffic.next_record() {
                    match record {
                        Ok(record) => {
                            discard += record.discard;
                            clear.extend_from_slice(record.payload);
                        }
                        Err(error) => end = Some(Err(error)),
                    }
                }
                end
            }
            Ok(ConnectionState::EncodeTlsData(mut data)) => {
                encode(out, |buffer| data.encode(buffer));
                None
            }
            // It is in `out`, which is sent before anything else.
            Ok(ConnectionState::TransmitTlsData(sent)) => {
                sent.done();
                None
            }
            Ok(ConnectionState::WriteTraffic(_)) => Some(Ok(State::Open)),
            Ok(ConnectionState::PeerClosed | ConnectionState::Closed) => Some(Ok(State::Closed)),
            // No early data is offered (RFC 8446 §4.2.10): none comes.
            Ok(_) => Some(Ok(State::Handshaking)),
        };
        at += discard;
        if let Some(end) = end {
            return (at, end);
        }
    }
}

/// Has something encode itself at the end of `out`, as large as it is.
fn encode(out: &mut Vec<u8>, mut data: impl FnMut(&mut [u8]) -> Result<usize, EncodeError>) {
    let start = out.len();
    let mut room = 0;
    loop {
        out.resize(start + room, 0);
        match data(out.get_mut(start..).unwrap_or_default()) {
            Ok(n) => return out.truncate(start + n),
            Err(EncodeError::InsufficientSize(needs)) if needs.required_size > room => {
                room = needs.required_size;
            }
            Err(_) => return out.truncate(start),
        }
    }
}

fn identity(leaf: &X509Certificate<'_>, from: IdentityFrom) -> Option<String> {
    match from {
        IdentityFrom::None => None,
        IdentityFrom::Cn => {
            Some(leaf.subject().iter_common_name().last()?.as_str().ok()?.to_owned())
        }
        IdentityFrom::Subject => subject(leaf.subject()),
        IdentityFrom::SanUri => leaf.extensions().iter().find_map(|extension| {
            let ParsedExtension::SubjectAlternativeName(names) = extension.parsed_extension()
            else {
                return None;
            };
            names.general_names.iter().find_map(|name| match name {
                GeneralName::URI(uri) => Some((*uri).to_owned()),
                _ => None,
            })
        }),
    }
}

/// RFC 4514: the last part first, as `openssl x509 -subject -nameopt RFC2253` prints it.
fn subject(name: &X509Name<'_>) -> Option<String> {
    let mut parts = Vec::new();
    for rdn in name.iter() {
        let mut attributes = Vec::new();
        for attribute in rdn.iter() {
            let oid = attribute.attr_type().to_id_string();
            let known = [
                ("2.5.4.3", "CN"),
                ("2.5.4.6", "C"),
                ("2.5.4.7", "L"),
                ("2.5.4.8", "ST"),
                ("2.5.4.9", "street"),
                ("2.5.4.10", "O"),
                ("2.5.4.11", "OU"),
                ("0.9.2342.19200300.100.1.1", "UID"),
                ("0.9.2342.19200300.100.1.25", "DC"),
            ];
            let word = known.iter().find(|(known, _)| *known == oid).map(|(_, word)| *word);
            let value = escaped(attribute.as_str().ok()?);
            attributes.push(format!("{}={value}", word.unwrap_or(&oid)));
        }
        parts.push(attributes.join("+"));
    }
    parts.reverse();
    Some(parts.join(","))
}

/// RFC 4514 §2.4.
fn escaped(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    let last = value.chars().count().saturating_sub(1);
    for (i, c) in value.chars().enumerate() {
        let edge = c == ' ' && (i == 0 || i == last) || c == '#' && i == 0;
        if edge || matches!(c, '"' | '+' | ',' | ';' | '<' | '>' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

/// What can stand for a user name: some text, without control characters.
pub(crate) fn is_identity(text: &str) -> bool {
    !text.is_empty() && text.len() <= usize::from(u16::MAX) && !text.chars().any(char::is_control)
}
