//! The message: what RFC 7252 §3 says about its first bytes, on top of coap-lite's packet format.
//!
//! [`decode`] checks on the raw bytes what coap-lite lets pass (version, Empty with content,
//! reserved classes, a marker without payload) and then lets coap-lite take the message apart.
//! Encoding is our own: straight into the caller's buffer, without an allocation a message.

use alloc::vec::Vec;
use core::fmt;

use coap_lite::Packet;

use crate::options::encoded_len;

/// The code 0.00.
pub(crate) const EMPTY: u8 = 0;

/// Message types (RFC 7252 §3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// CON: wants an acknowledgement.
    Confirmable,
    /// NON.
    NonConfirmable,
    /// ACK.
    Acknowledgement,
    /// RST.
    Reset,
}

impl Kind {
    const fn from_bits(bits: u8) -> Kind {
        match bits & 3 {
            0 => Kind::Confirmable,
            1 => Kind::NonConfirmable,
            2 => Kind::Acknowledgement,
            _ => Kind::Reset,
        }
    }

    const fn bits(self) -> u8 {
        match self {
            Kind::Confirmable => 0,
            Kind::NonConfirmable => 1,
            Kind::Acknowledgement => 2,
            Kind::Reset => 3,
        }
    }
}

/// A token of 0 to 8 bytes (RFC 7252 §5.3.1), stored in place.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Token {
    len: u8,
    bytes: [u8; 8],
}

impl Token {
    /// `None` when longer than 8 bytes.
    #[must_use]
    pub fn new(token: &[u8]) -> Option<Self> {
        let mut bytes = [0; 8];
        bytes.get_mut(..token.len())?.copy_from_slice(token);
        Some(Token { len: u8::try_from(token.len()).ok()?, bytes })
    }

    /// The bytes.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("token ")?;
        self.as_slice().iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// What the first four bytes say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) kind: Kind,
    pub(crate) code: u8,
    pub(crate) message_id: u16,
}

/// Why bytes are no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Flaw {
    /// Too short to be answered, or of another version: silently ignored (RFC 7252 §3).
    #[error("shorter than a header")]
    Short,
    #[error("version {0}")]
    Version(u8),
    /// A message format error: a CON is answered with RST (RFC 7252 §4.2), all others are ignored.
    #[error("message format error")]
    Format(Head),
}

/// A message in one piece; Empty ones carry no packet.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) head: Head,
    pub(crate) token: Token,
    pub(crate) packet: Option<Packet>,
}

/// Takes a datagram apart.
pub(crate) fn decode(bytes: &[u8]) -> Result<Message, Flaw> {
    let [first, code, id_high, id_low, rest @ ..] = bytes else { return Err(Flaw::Short) };
    let version = first >> 6;
    if version != 1 {
        return Err(Flaw::Version(version)); // RFC 7252 §3: silently ignored
    }
    let message_id = u16::from_be_bytes([*id_high, *id_low]);
    let head = Head { kind: Kind::from_bits(first >> 4), code: *code, message_id };
    let flaw = Flaw::Format(head);
    let token_len = usize::from(first & 0x0f);
    if *code == EMPTY {
        // RFC 7252 §4.1: nothing follows the Message ID of an Empty message.
        return if token_len == 0 && rest.is_empty() {
            Ok(Message { head, token: Token::default(), packet: None })
        } else {
            Err(flaw)
        };
    }
    // RFC 7252 §12.1: classes 1, 6 and 7 are reserved.
    if matches!(code >> 5, 1 | 6 | 7) {
        return Err(flaw);
    }
    let token = rest.get(..token_len).and_then(Token::new).ok_or(flaw)?;
    let packet = packet(bytes, token_len).ok_or(flaw)?;
    Ok(Message { head, token, packet: Some(packet) })
}

/// Has coap-lite take a message apart, in the form that datagrams have; `None`: malformed.
pub(crate) fn packet(bytes: &[u8], token_len: usize) -> Option<Packet> {
    let packet = Packet::from_bytes(bytes).ok()?;
    let options = packet.options().flat_map(|(n, list)| list.iter().map(|v| (*n, v.as_slice())));
    let before_payload = 4 + token_len + encoded_len(options);
    // RFC 7252 §3: a marker followed by a zero-length payload is a message format error.
    let bare_marker = packet.payload.is_empty() && before_payload < bytes.len();
    (!bare_marker).then_some(packet)
}

/// Appends header and token.
pub(crate) fn write_head(out: &mut Vec<u8>, head: Head, token: &Token) {
    let [id_high, id_low] = head.message_id.to_be_bytes();
    out.extend_from_slice(&[0x40 | head.kind.bits() << 4 | token.len, head.code, id_high, id_low]);
    out.extend_from_slice(token.as_slice());
}

/// Appends an Empty message: an acknowledgement, a reset, a ping.
pub(crate) fn write_empty(out: &mut Vec<u8>, kind: Kind, message_id: u16) {
    write_head(out, Head { kind, code: EMPTY, message_id }, &Token::default());
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: Head = Head { kind: Kind::Confirmable, code: 1, message_id: 0x1234 };

    fn code(code: u8) -> Head {
        Head { code, ..HEAD }
    }

    /// Checklist items 1 and 2, and the probes of coap-lite that must not pass.
    #[test]
    fn raw_malformed_table() {
        let format = Flaw::Format;
        let table: &[(&[u8], Flaw)] = &[
            (&[], Flaw::Short),
            (&[0x40, 1, 0x12], Flaw::Short),
            (&[0x00, 1, 0x12, 0x34], Flaw::Version(0)),
            (&[0x80, 1, 0x12, 0x34], Flaw::Version(2)),
            (&[0xc0, 1, 0x12, 0x34], Flaw::Version(3)),
            (&[0x41, 0, 0x12, 0x34, 9], format(code(0))), // Empty with a token
            (&[0x41, 0, 0x12, 0x34], format(code(0))),    // Empty with a token length alone
            (&[0x40, 0, 0x12, 0x34, 0xff, 1], format(code(0))), // Empty with a payload
            (&[0x40, 0, 0x12, 0x34, 0x10], format(code(0))), // Empty with an option
            (&[0x40, 0x20, 0x12, 0x34], format(code(0x20))), // class 1
            (&[0x40, 0xc0, 0x12, 0x34], format(code(0xc0))), // class 6
            (&[0x40, 0xe1, 0x12, 0x34], format(code(0xe1))), // class 7
            (&[0x49, 1, 0x12, 0x34, 1, 2, 3, 4, 5, 6, 7, 8, 9], format(HEAD)), // TKL 9
            (&[0x4f, 1, 0x12, 0x34], format(HEAD)),       // TKL 15
            (&[0x42, 1, 0x12, 0x34, 1], format(HEAD)),    // token cut off
            (&[0x40, 1, 0x12, 0x34, 0xf0], format(HEAD)), // delta nibble 15
            (&[0x40, 1, 0x12, 0x34, 0x0f], format(HEAD)), // length nibble 15
            (&[0x40, 1, 0x12, 0x34, 0xd0], format(HEAD)), // extended delta cut off
            (&[0x40, 1, 0x12, 0x34, 0xe0, 1], format(HEAD)),
            (&[0x40, 1, 0x12, 0x34, 0x1d], format(HEAD)), // extended length cut off
            (&[0x40, 1, 0x12, 0x34, 0xb2, b'a'], format(HEAD)), // value cut off
            (&[0x40, 1, 0x12, 0x34, 0xff], format(HEAD)), // marker without payload
            (&[0x40, 1, 0x12, 0x34, 0xb1, b'a', 0xff], format(HEAD)),
            (&[0x40, 1, 0x12, 0x34, 0xe0, 0xff, 0xff], format(HEAD)), // number past 65,535
        ];
        for (bytes, flaw) in table {
            assert_eq!(decode(bytes).map(|m| m.head), Err(*flaw), "{bytes:02x?}");
        }
    }

    #[test]
    fn an_option_value_may_end_like_a_marker() {
        let message = decode(&[0x40, 1, 0x12, 0x34, 0x11, 0xff]).unwrap();
        assert!(message.packet.unwrap().payload.is_empty());
        let message = decode(&[0x40, 1, 0x12, 0x34, 0xff, 0xff]).unwrap();
        assert_eq!(message.packet.unwrap().payload, [0xff]);
    }

    #[test]
    fn heads_and_tokens_round_trip() {
        for kind in [Kind::Confirmable, Kind::NonConfirmable, Kind::Acknowledgement, Kind::Reset] {
            for len in 0..=8 {
                let token = Token::new(&[7; 8][..len]).unwrap();
                let mut out = Vec::new();
                write_head(&mut out, Head { kind, ..HEAD }, &token);
                let message = decode(&out).unwrap();
                assert_eq!((message.head.kind, message.token), (kind, token));
            }
        }
        assert_eq!(Token::new(&[0; 9]), None);
        assert_ne!(Token::new(&[0; 1]), Token::new(&[0; 2]));
    }
}
