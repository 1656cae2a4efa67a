//! Frames: how messages follow each other on a byte stream (RFC 8323 §3.2), and how a WebSocket
//! carries them (§4.2), where the frame of the WebSocket says how long one is and Len is 0.
//!
//! [`span`] finds the end of a message, [`read`] takes one apart by coap-lite, [`write`] appends one.
//! An outbox has the frames of a byte stream; [`for_websocket`] takes them from it one by one.

use alloc::vec::Vec;

use crate::message::{EMPTY, Head, Kind, Message, Token, packet};

/// Longest token (RFC 7252 §3); the longer ones of RFC 8974 are not spoken.
const MAX_TOKEN: usize = 8;
/// What Extended Length counts from, by its bytes (RFC 8323 §3.2).
const BASE_1: usize = 13;
const BASE_2: usize = 269;
const BASE_4: usize = 65_805;
/// Bytes of a message besides token, options and payload, at most.
pub(crate) const MAX_HEADER: usize = 1 + 4 + 1;

/// Bytes that are no message: a message format error, answered by Abort (RFC 8323 §5.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    /// Lengths 9 to 15 are reserved (RFC 7252 §3).
    #[error("a token of more than 8 bytes")]
    TokenLength,
    /// Len of a message on a WebSocket (RFC 8323 §4.2).
    #[error("Len is 0 on a WebSocket")]
    WebSocketLen,
    /// A WebSocket message that ends within its header or its token.
    #[error("shorter than its header and token")]
    Short,
    /// Classes 1 and 6 (RFC 7252 §12.1).
    #[error("a code of a reserved class")]
    Class,
    /// RFC 7252 §4.1.
    #[error("an Empty message has neither token nor options nor payload")]
    EmptyWithContent,
    /// Options that run over the end, a reserved nibble, a marker without payload.
    #[error("options or payload are malformed")]
    Options,
}

/// Where the parts of a message are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    /// Where the code stands; behind it the token.
    pub(crate) code: usize,
    pub(crate) token: usize,
    /// Bytes of the whole.
    pub(crate) total: usize,
}

/// Where the first message of a byte stream ends; `None` while its header has not come whole.
pub(crate) fn span(bytes: &[u8]) -> Result<Option<Span>, Malformed> {
    let Some((first, rest)) = bytes.split_first() else { return Ok(None) };
    let token = token_length(*first)?;
    let (extended, length) = match (first >> 4, rest) {
        (13, [a, ..]) => (1, BASE_1 + usize::from(*a)),
        (14, [a, b, ..]) => (2, BASE_2 + usize::from(u16::from_be_bytes([*a, *b]))),
        (15, [a, b, c, d, ..]) => {
            let more = u32::from_be_bytes([*a, *b, *c, *d]);
            (4, usize::try_from(more).unwrap_or(usize::MAX).saturating_add(BASE_4))
        }
        (13..=15, _) => return Ok(None),
        (length, _) => (0, usize::from(length)),
    };
    let code = 1 + extended;
    Ok(Some(Span { code, token, total: (code + 1 + token).saturating_add(length) }))
}

fn token_length(first: u8) -> Result<usize, Malformed> {
    let length = usize::from(first & 0x0f);
    if length <= MAX_TOKEN { Ok(length) } else { Err(Malformed::TokenLength) }
}

/// The parts of a message that a WebSocket has carried.
pub(crate) fn websocket_span(message: &[u8]) -> Result<Span, Malformed> {
    let [first, _, ..] = message else { return Err(Malformed::Short) };
    if first >> 4 != 0 {
        return Err(Malformed::WebSocketLen); // RFC 8323 §4.2: "MUST be set to zero"
    }
    let token = token_length(*first)?;
    if message.len() < 2 + token {
        return Err(Malformed::Short);
    }
    Ok(Span { code: 1, token, total: message.len() })
}

/// Takes a whole message apart; `scratch` is for the form that coap-lite reads.
pub(crate) fn read(
    message: &[u8],
    span: Span,
    scratch: &mut Vec<u8>,
) -> Result<Message, Malformed> {
    let behind = message.get(span.code..).unwrap_or_default();
    let Some((code, rest)) = behind.split_first() else { return Err(Malformed::Short) };
    // There is no type: what comes is as reliable as a CON (RFC 8323 §3.1).
    let head = Head { kind: Kind::Confirmable, code: *code, message_id: 0 };
    let token = rest.get(..span.token).and_then(Token::new).ok_or(Malformed::Short)?;
    if *code == EMPTY {
        let bare = rest.is_empty();
        let empty = Message { head, token, packet: None };
        return if bare { Ok(empty) } else { Err(Malformed::EmptyWithContent) };
    }
    if matches!(code >> 5, 1 | 6) {
        return Err(Malformed::Class);
    }
    scratch.clear();
    let token_length = u8::try_from(span.token).unwrap_or(0);
    scratch.extend_from_slice(&[0x40 | token_length, *code, 0, 0]);
    scratch.extend_from_slice(rest);
    let packet = packet(scratch, span.token).ok_or(Malformed::Options)?;
    Ok(Message { head, token, packet: Some(packet) })
}

/// Appends a message; `rest` are its options and payload, encoded.
pub(crate) fn write(out: &mut Vec<u8>, code: u8, token: &Token, rest: &[u8]) {
    let token = token.as_slice();
    let length = u8::try_from(token.len()).unwrap_or(0);
    let low = |n: usize| u32::try_from(n).unwrap_or(u32::MAX).to_be_bytes();
    match rest.len() {
        n @ 0..BASE_1 => out.push(low(n)[3] << 4 | length),
        n @ BASE_1..BASE_2 => out.extend_from_slice(&[13 << 4 | length, low(n - BASE_1)[3]]),
        n @ BASE_2..BASE_4 => {
            let [_, _, high, low] = low(n - BASE_2);
            out.extend_from_slice(&[14 << 4 | length, high, low]);
        }
        n => {
            out.push(15 << 4 | length);
            out.extend_from_slice(&low(n - BASE_4));
        }
    }
    out.push(code);
    out.extend_from_slice(token);
    out.extend_from_slice(rest);
}

/// Appends a message of a WebSocket as it stands on a byte stream, where the next one follows it.
pub(crate) fn restream(out: &mut Vec<u8>, message: &[u8], span: Span) {
    let behind = message.get(span.code..).unwrap_or_default();
    let Some((code, rest)) = behind.split_first() else { return };
    let Some((token, rest)) = rest.split_at_checked(span.token) else { return };
    let Some(token) = Token::new(token) else { return };
    write(out, *code, &token, rest);
}

/// A message as a WebSocket carries it (RFC 8323 §4.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ForWebSocket<'a> {
    /// Len, which is 0, and TKL.
    pub first: u8,
    /// What follows.
    pub rest: &'a [u8],
    /// Bytes of the outbox that this is of.
    pub taken: usize,
}

/// The first message of an outbox; `None` where none is whole.
#[must_use]
pub fn for_websocket(outbox: &[u8]) -> Option<ForWebSocket<'_>> {
    let span = span(outbox).ok().flatten()?;
    let rest = outbox.get(span.code..span.total)?;
    Some(ForWebSocket { first: u8::try_from(span.token).ok()?, rest, taken: span.total })
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use proptest::prelude::*;

    /// RFC 8323 §3.2, figures 4 and 5, and each edge of Len.
    #[test]
    fn len_counts_options_and_payload() {
        let token = Token::new(&[0x7f]).unwrap();
        let mut out = Vec::new();
        write(&mut out, 0x43, &token, &[]);
        assert_eq!(out, [0x01, 0x43, 0x7f], "the figure's example");
        for (length, head) in [
            (0_usize, vec![0x01]),
            (12, vec![0xc1]),
            (13, vec![0xd1, 0]),
            (268, vec![0xd1, 255]),
            (269, vec![0xe1, 0, 0]),
            (65_804, vec![0xe1, 255, 255]),
            (65_805, vec![0xf1, 0, 0, 0, 0]),
            (65_806, vec![0xf1, 0, 0, 0, 1]),
        ] {
            let rest = vec![0x41; length];
            let mut out = Vec::new();
            write(&mut out, 0x45, &token, &rest);
            assert_eq!(out[..head.len()], head, "{length}");
            let found = span(&out).unwrap().unwrap();
            assert_eq!((found.token, found.total, found.code), (1, out.len(), head.len()));
            for cut in 0..head.len() {
                assert_eq!(span(&out[..cut]), Ok(None), "{length}: {cut} bytes of the header");
            }
        }
        let most = span(&[0xf0, 255, 255, 255, 255]).unwrap().unwrap();
        assert_eq!(most.total, 6 + 65_805 + 0xffff_ffff);
    }

    #[test]
    fn reserved_token_lengths_are_seen_at_once() {
        for length in 9..=15 {
            assert_eq!(span(&[0xf0 | length]), Err(Malformed::TokenLength));
        }
        assert!(span(&[0xf8]).is_ok());
    }

    #[test]
    fn malformed_messages() {
        let mut scratch = Vec::new();
        let mut judge = |bytes: &[u8]| {
            let found = span(bytes).unwrap().unwrap();
            assert_eq!(found.total, bytes.len(), "{bytes:02x?}");
            read(bytes, found, &mut scratch).map(|message| message.head.code)
        };
        assert_eq!(judge(&[0x00, 0x00]), Ok(0));
        assert_eq!(judge(&[0x01, 0x00, 7]), Err(Malformed::EmptyWithContent));
        assert_eq!(judge(&[0x20, 0x00, 0xff, 1]), Err(Malformed::EmptyWithContent));
        assert_eq!(judge(&[0x00, 0x20]), Err(Malformed::Class));
        assert_eq!(judge(&[0x00, 0xc1]), Err(Malformed::Class));
        assert_eq!(judge(&[0x10, 0x01, 0xff]), Err(Malformed::Options), "marker alone");
        assert_eq!(judge(&[0x10, 0x01, 0xf0]), Err(Malformed::Options), "delta 15");
        assert_eq!(judge(&[0x10, 0x01, 0x0f]), Err(Malformed::Options), "length 15");
        assert_eq!(judge(&[0x20, 0x01, 0xb2, b'a']), Err(Malformed::Options), "value cut off");
        assert_eq!(judge(&[0x20, 0x01, 0xb1, b'a']), Ok(1));
        assert_eq!(judge(&[0x00, 0xe1]), Ok(0xe1), "class 7 is signalling here");
        assert_eq!(judge(&[0x00, 0x65]), Ok(0x65));
    }

    /// RFC 8323 §4.2.
    #[test]
    fn a_websocket_says_how_long_a_message_is() {
        let span = |bytes: &[u8]| websocket_span(bytes).map(|span| span.total);
        assert_eq!(span(&[0x01, 0xe2, 0x42]), Ok(3));
        assert_eq!(span(&[0x11, 0xe2, 0x42, 1]), Err(Malformed::WebSocketLen));
        assert_eq!(span(&[0x09, 0xe2]), Err(Malformed::TokenLength));
        for short in [&[][..], &[0x00], &[0x01, 0xe2]] {
            assert_eq!(span(short), Err(Malformed::Short));
        }
    }

    proptest! {
        /// What is written is found and read again, alone and behind others, on both transports.
        #[test]
        fn frames_round_trip(
            token in proptest::collection::vec(any::<u8>(), 0..9),
            payload in proptest::collection::vec(any::<u8>(), 0..700),
            behind in proptest::collection::vec(any::<u8>(), 0..9),
        ) {
            let token = Token::new(&token).unwrap();
            let mut rest = vec![0xb1, b'x'];
            if !payload.is_empty() {
                rest.push(0xff);
                rest.extend_from_slice(&payload);
            }
            let mut out = Vec::new();
            write(&mut out, 0x02, &token, &rest);
            let length = out.len();
            out.extend_from_slice(&behind);
            let found = span(&out).unwrap().unwrap();
            prop_assert_eq!(found.total, length);
            let message = read(&out[..length], found, &mut Vec::new()).unwrap();
            prop_assert_eq!(message.token, token);
            prop_assert_eq!(&message.packet.unwrap().payload, &payload);
            let web = for_websocket(&out).unwrap();
            prop_assert_eq!(web.taken, length);
            let mut carried = vec![web.first];
            carried.extend_from_slice(web.rest);
            let mut again = Vec::new();
            restream(&mut again, &carried, websocket_span(&carried).unwrap());
            prop_assert_eq!(&again[..], &out[..length]);
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let mut scratch = Vec::new();
            if let Ok(Some(found)) = span(&bytes)
                && let Some(whole) = bytes.get(..found.total)
            {
                let _ = read(whole, found, &mut scratch);
            }
            if let Ok(found) = websocket_span(&bytes) {
                let _ = read(&bytes, found, &mut scratch);
            }
            let _ = for_websocket(&bytes);
        }
    }
}
