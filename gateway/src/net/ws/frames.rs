//! [`Decoder`]: WebSocket frames of a client to the bytes that are in them, and frames to a client.
//!
//! Packets of MQTT lie anywhere in frames, frames anywhere in messages [MQTT-6.0.0-2]: nothing is put
//! together, the bytes of a frame are handed on as they come, unmasked in place. CoAP, whose messages
//! are those of the WebSocket (RFC 8323 §4.2), is told where they end. So a connection keeps
//! a dozen bytes here, whatever is sent. Extensions are never agreed on. The header's layout is
//! tungstenite's; what a header may say is RFC 6455 §5 and mqtt.md §2.18.

use std::io::Cursor;

use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{CloseCode, Control, Data, OpCode};

/// Longest payload of a control frame (RFC 6455 §5.5).
const MAX_CONTROL: usize = 125;
/// Longest header of a frame from a client.
const MAX_HEADER: usize = 14;

/// What a client's frames have said so far.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    /// The header of a frame, or a control frame, that has not come whole.
    partial: Vec<u8>,
    /// Of the frame whose payload comes now.
    mask: [u8; 4],
    /// Bytes of its payload that are still to come.
    left: u64,
    /// A message is not complete: the next data frame continues it.
    fragmented: bool,
    /// The other end has said that it closes.
    closed: bool,
}

/// Something other than MQTT's bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    /// To be answered by a Pong with the same.
    Ping(Vec<u8>),
    /// The other end closes; to be answered with the same code, and then it is over.
    Close(Option<CloseCode>),
    /// A message ended at this place of the bytes that are handed on.
    End(usize),
}

impl Event {
    fn at(self, place: usize) -> Event {
        match self {
            Event::End(_) => Event::End(place),
            other => other,
        }
    }
}

/// Why a connection is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    #[error("a text frame; MQTT and CoAP are binary")]
    Text,
    #[error("a frame without mask")]
    Unmasked,
    #[error("a frame larger than `max_packet_size`")]
    TooLarge,
    #[error("a frame that RFC 6455 does not allow")]
    Protocol,
}

impl Fault {
    /// What the other end is told.
    pub(crate) const fn code(self) -> CloseCode {
        match self {
            // [MQTT-6.0.0-1]
            Fault::Text => CloseCode::Unsupported,
            Fault::Unmasked | Fault::Protocol => CloseCode::Protocol,
            Fault::TooLarge => CloseCode::Size,
        }
    }
}

impl Decoder {
    /// Takes bytes, which are changed; those of MQTT are added to `out`. Events are handed to `event`
    /// at their place. Nothing is taken behind a close.
    ///
    /// # Errors
    /// The connection has to be closed; the bytes before are in `out`.
    pub(crate) fn decode(
        &mut self,
        mut bytes: &mut [u8],
        max_frame: u64,
        out: &mut Vec<u8>,
        mut event: impl FnMut(Event),
    ) -> Result<(), Fault> {
        while !bytes.is_empty() && !self.closed {
            if self.left > 0 {
                let n = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
                let (payload, rest) = bytes.split_at_mut(n);
                unmask(payload, &mut self.mask);
                out.extend_from_slice(payload);
                self.left -= n as u64;
                bytes = rest;
                if self.left == 0 && !self.fragmented {
                    event(Event::End(out.len()));
                }
                continue;
            }
            // Headers that came whole are not copied.
            let taken = if self.partial.is_empty() {
                match self.frame(bytes, max_frame)? {
                    Some((n, said)) => {
                        said.map(|said| said.at(out.len())).into_iter().for_each(&mut event);
                        n
                    }
                    None => {
                        self.partial.extend_from_slice(bytes);
                        bytes.len()
                    }
                }
            } else {
                let before = self.partial.len();
                let wanted = (MAX_HEADER + MAX_CONTROL).saturating_sub(before).min(bytes.len());
                let mut partial = std::mem::take(&mut self.partial);
                partial.extend_from_slice(bytes.get(..wanted).unwrap_or_default());
                match self.frame(&mut partial, max_frame)? {
                    Some((n, said)) => {
                        said.map(|said| said.at(out.len())).into_iter().for_each(&mut event);
                        n.saturating_sub(before)
                    }
                    None => {
                        self.partial = partial;
                        wanted
                    }
                }
            };
            bytes = bytes.get_mut(taken..).unwrap_or_default();
        }
        Ok(())
    }

    /// The header of a data frame, or a whole control frame: how long it is and what it says.
    fn frame(
        &mut self,
        bytes: &mut [u8],
        max_frame: u64,
    ) -> Result<Option<(usize, Option<Event>)>, Fault> {
        let mut cursor = Cursor::new(&*bytes);
        let parsed = FrameHeader::parse(&mut cursor).map_err(|_| Fault::Protocol)?;
        let at = usize::try_from(cursor.position()).unwrap_or(usize::MAX);
        let Some((header, len)) = parsed else {
            return early(bytes).map_or(Ok(None), Err);
        };
        // §5.1: a client masks every frame.
        let mask = header.mask.ok_or(Fault::Unmasked)?;
        // §5.2: no extension was agreed on that gives these a meaning; lengths have 63 bits, and their
        // shortest form.
        if header.rsv1 || header.rsv2 || header.rsv3 || len >> 63 != 0 || !is_minimal(bytes, len) {
            return Err(Fault::Protocol);
        }
        let control = match header.opcode {
            OpCode::Data(data) => {
                self.data(data, header.is_final)?;
                if len > max_frame {
                    return Err(Fault::TooLarge);
                }
                (self.mask, self.left) = (mask, len);
                // Its place is the caller's to say.
                let ended = len == 0 && header.is_final;
                return Ok(Some((at, ended.then_some(Event::End(0)))));
            }
            OpCode::Control(control) => control,
        };
        // §5.5: short and in one piece.
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        if len > MAX_CONTROL || !header.is_final {
            return Err(Fault::Protocol);
        }
        let Some(payload) = bytes.get_mut(at..at + len) else { return Ok(None) };
        let mut mask = mask;
        unmask(payload, &mut mask);
        let event = match control {
            Control::Ping => Some(Event::Ping(payload.to_vec())),
            Control::Close => {
                self.closed = true;
                Some(Event::Close(close_code(payload)?))
            }
            // An answer to nothing, or to what we did not ask (§5.5.3).
            Control::Pong | Control::Reserved(_) => None,
        };
        Ok(Some((at + len, event)))
    }

    /// §5.4: a message is one frame, or a beginning and continuations of it.
    fn data(&mut self, data: Data, is_final: bool) -> Result<(), Fault> {
        match (data, self.fragmented) {
            (Data::Text, false) => return Err(Fault::Text),
            (Data::Binary, false) | (Data::Continue, true) => {}
            _ => return Err(Fault::Protocol),
        }
        self.fragmented = !is_final;
        Ok(())
    }
}

/// §5.2: "the minimal number of bytes MUST be used to encode the length".
fn is_minimal(bytes: &[u8], len: u64) -> bool {
    match bytes.get(1).map(|byte| byte & 0x7f) {
        Some(126) => len >= 126,
        Some(127) => len > u64::from(u16::MAX),
        _ => true,
    }
}

/// What is wrong already with a header that has not come whole: whoever speaks another protocol is
/// told at once.
fn early(bytes: &[u8]) -> Option<Fault> {
    let masked = bytes.get(1)? & 0x80 != 0;
    (!masked).then_some(Fault::Unmasked)
}

/// §7.4: what a close frame may carry.
fn close_code(payload: &[u8]) -> Result<Option<CloseCode>, Fault> {
    let Some((&[high, low], reason)) = payload.split_first_chunk::<2>() else {
        return if payload.is_empty() { Ok(None) } else { Err(Fault::Protocol) };
    };
    let code = CloseCode::from(u16::from_be_bytes([high, low]));
    match std::str::from_utf8(reason).is_ok() && code.is_allowed() {
        true => Ok(Some(code)),
        false => Err(Fault::Protocol),
    }
}

/// §5.3; leaves the mask as it goes on behind these bytes.
fn unmask(bytes: &mut [u8], mask: &mut [u8; 4]) {
    let (words, rest) = bytes.as_chunks_mut::<4>();
    let key = u32::from_ne_bytes(*mask);
    for word in words {
        *word = (u32::from_ne_bytes(*word) ^ key).to_ne_bytes();
    }
    let n = rest.len();
    for (byte, key) in rest.iter_mut().zip(mask.iter()) {
        *byte ^= key;
    }
    mask.rotate_left(n);
}

/// The header of a binary frame, final, with a payload of this length.
pub(crate) fn binary_header(len: usize, out: &mut Vec<u8>) {
    header(OpCode::Data(Data::Binary), len, out);
}

/// The answer to a ping.
pub(crate) fn pong(payload: &[u8], out: &mut Vec<u8>) {
    header(OpCode::Control(Control::Pong), payload.len(), out);
    out.extend_from_slice(payload);
}

/// A close frame.
pub(crate) fn close(code: Option<CloseCode>, out: &mut Vec<u8>) {
    let code = code.map(|code| u16::from(code).to_be_bytes());
    let payload = code.as_ref().map_or(&[][..], |code| &code[..]);
    header(OpCode::Control(Control::Close), payload.len(), out);
    out.extend_from_slice(payload);
}

fn header(opcode: OpCode, len: usize, out: &mut Vec<u8>) {
    let header = FrameHeader { opcode, ..FrameHeader::default() };
    header.format(len as u64, out).expect("a Vec takes what is written");
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MAX: u64 = 1 << 21;

    /// A client's frame: first byte, payload, masked.
    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mask = [0x12, 0x34, 0x56, 0x78];
        let mut out = vec![first];
        match payload.len() {
            n @ 0..126 => out.push(0x80 | u8::try_from(n).unwrap()),
            n @ 126..65_536 => {
                out.push(0x80 | 126);
                out.extend(u16::try_from(n).unwrap().to_be_bytes());
            }
            n => {
                out.push(0x80 | 127);
                out.extend((n as u64).to_be_bytes());
            }
        }
        out.extend(mask);
        out.extend(payload.iter().zip(mask.iter().cycle()).map(|(b, m)| b ^ m));
        out
    }

    /// All but the ends of messages, which MQTT does not ask for.
    fn decoded(bytes: &[u8], at_once: usize) -> (Vec<u8>, Vec<Event>, Result<(), Fault>) {
        let (out, mut events, result) = decoded_with_ends(bytes, at_once);
        events.retain(|event| !matches!(event, Event::End(_)));
        (out, events, result)
    }

    fn decoded_with_ends(bytes: &[u8], at_once: usize) -> (Vec<u8>, Vec<Event>, Result<(), Fault>) {
        let mut decoder = Decoder::default();
        let (mut out, mut events) = (Vec::new(), Vec::new());
        for chunk in bytes.to_vec().chunks_mut(at_once.max(1)) {
            if let Err(fault) = decoder.decode(chunk, MAX, &mut out, |event| events.push(event)) {
                return (out, events, Err(fault));
            }
        }
        (out, events, Ok(()))
    }

    /// mqtt.md §2.18: packets split anywhere, many a frame, continuations, control frames between.
    #[test]
    fn one_stream_of_bytes_whatever_the_frames() {
        let long: Vec<u8> = (0..70_000u32).map(|n| n.to_le_bytes()[0]).collect();
        let mut bytes = frame(0x82, b"one");
        bytes.extend(frame(0x02, b"two")); // a beginning
        bytes.extend(frame(0x89, b"are you there"));
        bytes.extend(frame(0x00, b""));
        bytes.extend(frame(0x8a, b"a pong"));
        bytes.extend(frame(0x80, b"three")); // its end
        bytes.extend(frame(0x82, &long));
        bytes.extend(frame(0x82, &[7; 200]));
        let mut expected = b"onetwothree".to_vec();
        expected.extend(&long);
        expected.extend([7; 200]);
        for at_once in [1, 2, 3, 7, 13, 4096, usize::MAX] {
            let (out, events, result) = decoded(&bytes, at_once);
            assert_eq!(result, Ok(()));
            assert!(out == expected, "in pieces of {at_once}");
            assert_eq!(events, [Event::Ping(b"are you there".to_vec())]);
        }
    }

    /// RFC 8323 §4.2: a message of CoAP is one of the WebSocket, in however many fragments (RFC 6455 §5.4).
    #[test]
    fn messages_end_where_their_last_frame_does() {
        let mut bytes = frame(0x82, b"one");
        bytes.extend(frame(0x02, b"tw"));
        bytes.extend(frame(0x89, b""));
        bytes.extend(frame(0x00, b""));
        bytes.extend(frame(0x80, b"o"));
        bytes.extend(frame(0x82, b"")); // empty, and yet a message
        bytes.extend(frame(0x02, b"six"));
        bytes.extend(frame(0x80, b""));
        bytes.extend(frame(0x02, b"open"));
        for at_once in [1, 2, 5, usize::MAX] {
            let (out, events, result) = decoded_with_ends(&bytes, at_once);
            assert_eq!((out.as_slice(), result), (&b"onetwosixopen"[..], Ok(())));
            let expected = [3, 6, 6, 9].map(Event::End);
            let ends: Vec<Event> =
                events.into_iter().filter(|event| matches!(event, Event::End(_))).collect();
            assert_eq!(ends, expected, "in pieces of {at_once}");
        }
    }

    /// [MQTT-6.0.0-1] and RFC 6455.
    #[test]
    fn what_closes_with_which_code() {
        let mut unmasked = frame(0x82, b"");
        unmasked[1] = 0;
        let mut long = frame(0x82, b"");
        long.splice(1..2, [0xff].into_iter().chain((MAX + 1).to_be_bytes()));
        let mut sign = frame(0x82, b"");
        sign.splice(1..2, [0xff].into_iter().chain((1u64 << 63).to_be_bytes()));
        let again = [frame(0x02, b"a"), frame(0x82, b"b")].concat();
        let within = [frame(0x02, b"a"), frame(0x81, b"b")].concat();
        // 125 bytes said in 16 bits, 65,535 in 64, also where the frame is a control frame.
        let mut two = frame(0x82, &[0; 125]);
        two.splice(1..2, [0xfe, 0, 125]);
        let mut eight = frame(0x82, &[0; 65_535]);
        eight.splice(1..4, [0xff].into_iter().chain(65_535u64.to_be_bytes()));
        let mut ping = frame(0x89, b"x");
        ping.splice(1..2, [0xfe, 0, 1]);
        let mut open = frame(0x89, b"x");
        open[1] &= 0x7f;
        let table: [(&str, Vec<u8>, u16); 25] = [
            ("a length of two bytes for one", two, 1002),
            ("a length of eight bytes for two", eight, 1002),
            ("the same of a ping", ping, 1002),
            ("an unmasked ping", open, 1002),
            ("text within a message", within, 1002),
            ("the second reserved bit", frame(0xa2, b""), 1002),
            ("the third reserved bit of a ping", frame(0x99, b""), 1002),
            ("the last reserved opcode", frame(0x87, b""), 1002),
            ("a close in pieces", frame(0x08, b""), 1002),
            ("a close reason that is no UTF-8", frame(0x88, b"\x03\xe8\xff"), 1002),
            ("a close reason that is too long", frame(0x88, &[3; 126]), 1002),
            ("text", frame(0x81, b"hello"), 1003),
            ("text, the beginning", frame(0x01, b"hello"), 1003),
            ("unmasked", unmasked, 1002),
            ("plain MQTT", b"\x10\x0c\x00\x04MQTT".to_vec(), 1002),
            ("too large", long, 1009),
            ("a negative length", sign, 1002),
            ("a reserved bit", frame(0xc2, b""), 1002),
            ("a reserved opcode", frame(0x83, b""), 1002),
            ("a reserved control", frame(0x8b, b""), 1002),
            ("a continuation of nothing", frame(0x80, b""), 1002),
            ("a beginning within a message", again, 1002),
            ("a ping in pieces", frame(0x09, b""), 1002),
            ("a long ping", frame(0x89, &[0; 126]), 1002),
            ("half a close code", frame(0x88, b"\x03"), 1002),
        ];
        for (what, bytes, code) in table {
            for at_once in [1, usize::MAX] {
                let (_, _, result) = decoded(&bytes, at_once);
                let said = result.unwrap_err().code();
                assert_eq!(u16::from(said), code, "{what}");
            }
        }
    }

    #[test]
    fn nothing_is_taken_behind_a_close() {
        let mut bytes = frame(0x82, b"mqtt");
        bytes.extend(frame(0x88, b"\x03\xe8bye"));
        bytes.extend(frame(0x82, b"more"));
        let (out, events, result) = decoded(&bytes, 5);
        assert_eq!((out.as_slice(), result), (&b"mqtt"[..], Ok(())));
        assert_eq!(events, [Event::Close(Some(CloseCode::Normal))]);
        assert_eq!(decoded(&frame(0x88, b""), 9).1, [Event::Close(None)]);
        // §7.4: 999, 1004 to 1006, 1015, 1016, 2999 and 5000 may not be said; 1000, 1011, 3000 and 4999 may.
        for bad in [999_u16, 0, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65_535] {
            let result = decoded(&frame(0x88, &bad.to_be_bytes()), 9).2;
            assert_eq!(result, Err(Fault::Protocol), "{bad}");
        }
        for good in [1000_u16, 1001, 1003, 1007, 1011, 3000, 4999] {
            let (_, events, result) = decoded(&frame(0x88, &good.to_be_bytes()), 9);
            assert_eq!((events, result), (vec![Event::Close(Some(good.into()))], Ok(())));
        }
    }

    #[test]
    fn frames_to_a_client_have_no_mask() {
        let mut out = Vec::new();
        binary_header(300, &mut out);
        pong(b"x", &mut out);
        close(Some(CloseCode::Unsupported), &mut out);
        close(None, &mut out);
        assert_eq!(out, b"\x82\x7e\x01\x2c\x8a\x01x\x88\x02\x03\xeb\x88\x00");
    }

    proptest! {
        #[test]
        fn any_split_of_any_bytes_is_the_same(
            frames in proptest::collection::vec((any::<u8>(), proptest::collection::vec(any::<u8>(), 0..150), any::<bool>()), 0..6),
            at_once in 1..40usize,
        ) {
            let mut bytes = Vec::new();
            for (first, payload, sane) in frames {
                bytes.extend(frame(if sane { 0x82 } else { first }, &payload));
            }
            let (whole, pieces) = (decoded(&bytes, usize::MAX), decoded(&bytes, at_once));
            prop_assert_eq!(whole, pieces);
        }

        #[test]
        fn noise_is_the_same_in_pieces(bytes in proptest::collection::vec(any::<u8>(), 0..200), at_once in 1..9usize) {
            let (whole, pieces) = (decoded(&bytes, usize::MAX), decoded(&bytes, at_once));
            prop_assert_eq!(whole.0, pieces.0);
            prop_assert_eq!(whole.1, pieces.1);
        }
    }
}
