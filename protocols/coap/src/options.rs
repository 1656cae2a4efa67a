//! Options: their numbers, the rules of RFC 7252 §5.4 (length, repetition, critical or elective)
//! and the unsigned-integer format (§3.2); a writer that appends them to a message.
//!
//! coap-lite parses options without judging them; `definition` is the judgement. An option of
//! illegal length and a supernumerary one count as not recognised (§5.4.3, §5.4.5).

use alloc::vec::Vec;

/// If-Match (RFC 7252 §5.10.8.1).
pub const IF_MATCH: u16 = 1;
/// Uri-Host (RFC 7252 §5.10.1).
pub const URI_HOST: u16 = 3;
/// ETag (RFC 7252 §5.10.6).
pub const ETAG: u16 = 4;
/// If-None-Match (RFC 7252 §5.10.8.2).
pub const IF_NONE_MATCH: u16 = 5;
/// Observe (RFC 7641 §2).
pub const OBSERVE: u16 = 6;
/// Uri-Port (RFC 7252 §5.10.1).
pub const URI_PORT: u16 = 7;
/// Location-Path (RFC 7252 §5.10.7).
pub const LOCATION_PATH: u16 = 8;
/// Uri-Path (RFC 7252 §5.10.1).
pub const URI_PATH: u16 = 11;
/// Content-Format (RFC 7252 §5.10.3).
pub const CONTENT_FORMAT: u16 = 12;
/// Max-Age (RFC 7252 §5.10.5).
pub const MAX_AGE: u16 = 14;
/// Uri-Query (RFC 7252 §5.10.1).
pub const URI_QUERY: u16 = 15;
/// Accept (RFC 7252 §5.10.4).
pub const ACCEPT: u16 = 17;
/// Block2 (RFC 7959 §2.1).
pub const BLOCK2: u16 = 23;
/// Block1 (RFC 7959 §2.1).
pub const BLOCK1: u16 = 27;
/// Size2 (RFC 7959 §4).
pub const SIZE2: u16 = 28;
/// Proxy-Uri (RFC 7252 §5.10.2).
pub const PROXY_URI: u16 = 35;
/// Proxy-Scheme (RFC 7252 §5.10.2).
pub const PROXY_SCHEME: u16 = 39;
/// Size1 (RFC 7252 §5.10.9).
pub const SIZE1: u16 = 60;
/// Echo (RFC 9175 §2).
pub const ECHO: u16 = 252;
/// Request-Tag (RFC 9175 §3).
pub const REQUEST_TAG: u16 = 292;
/// No-Response (RFC 7967 §2).
pub const NO_RESPONSE: u16 = 258;

/// What a recognised request option may look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Definition {
    pub(crate) min: usize,
    pub(crate) max: usize,
    pub(crate) repeatable: bool,
}

/// The rules of an option that this server recognises in a request; `None` for the others.
/// Elective options that make no difference here (Hop-Limit, Request-Tag …) need no
/// rule: they are ignored either way.
pub(crate) const fn definition(number: u16) -> Option<Definition> {
    let (min, max, repeatable) = match number {
        IF_MATCH => (0, 8, true),
        URI_HOST | PROXY_SCHEME => (1, 255, false),
        ETAG => (1, 8, true),
        IF_NONE_MATCH => (0, 0, false),
        OBSERVE | BLOCK1 | BLOCK2 => (0, 3, false),
        SIZE1 | SIZE2 => (0, 4, false),
        URI_PORT | CONTENT_FORMAT | ACCEPT => (0, 2, false),
        URI_PATH | URI_QUERY => (0, 255, true),
        PROXY_URI => (1, 1034, false),
        ECHO => (1, 40, false),
        NO_RESPONSE => (0, 1, false),
        _ => return None,
    };
    Some(Definition { min, max, repeatable })
}

/// Whether requests that differ in this option are of two operations (RFC 9175 §1.1, §3.3): not if
/// it is elective and outside the cache key (RFC 7252 §5.4.6), or one of the transfer itself. Observe
/// stands in a first request only (RFC 7959 §3.4), and No-Response concerns one answer.
pub(crate) const fn names_operation(number: u16) -> bool {
    let no_cache_key = number & 0x1e == 0x1c && !is_critical(number);
    !no_cache_key && !matches!(number, BLOCK1 | BLOCK2 | OBSERVE | NO_RESPONSE)
}

/// Whether a recipient that does not recognise the option must refuse the message
/// (RFC 7252 §5.4.6: odd numbers).
#[must_use]
pub const fn is_critical(number: u16) -> bool {
    number & 1 == 1
}

/// Reads an option value of format uint, of at most four bytes (RFC 7252 §3.2); leading zeros
/// are allowed.
#[must_use]
pub fn read_uint(value: &[u8]) -> Option<u32> {
    (value.len() <= 4).then(|| value.iter().fold(0, |sum, byte| sum << 8 | u32::from(*byte)))
}

/// Appends options in ascending order, then the payload, to a message whose header and token
/// stand in `out` (RFC 7252 §3.1).
#[derive(Debug)]
pub(crate) struct OptionWriter<'a> {
    out: &'a mut Vec<u8>,
    last: u16,
}

/// The nibble and the extended bytes of a delta or a length.
fn extended(value: usize) -> (u8, [u8; 2], usize) {
    let low = |n: usize| u16::try_from(n).unwrap_or(u16::MAX).to_be_bytes();
    match value {
        0..=12 => (low(value)[1], [0, 0], 0),
        13..=268 => (13, [low(value - 13)[1], 0], 1),
        _ => (14, low(value - 269), 2),
    }
}

impl<'a> OptionWriter<'a> {
    pub(crate) const fn new(out: &'a mut Vec<u8>) -> Self {
        OptionWriter { out, last: 0 }
    }

    /// `number` is not below the one before; a value has at most 1,034 bytes in any option.
    #[allow(clippy::indexing_slicing)] // the lengths are 0, 1 or 2
    pub(crate) fn bytes(&mut self, number: u16, value: &[u8]) {
        debug_assert!(number >= self.last, "options ascend");
        let (delta, delta_more, delta_len) = extended(usize::from(number - self.last));
        let (length, length_more, length_len) = extended(value.len());
        self.out.push(delta << 4 | length);
        self.out.extend_from_slice(&delta_more[..delta_len]);
        self.out.extend_from_slice(&length_more[..length_len]);
        self.out.extend_from_slice(value);
        self.last = number;
    }

    /// In as few bytes as the value needs; zero needs none.
    #[allow(clippy::indexing_slicing)] // four leading zeros at most
    pub(crate) fn uint(&mut self, number: u16, value: u32) {
        let skip = value.leading_zeros() as usize / 8;
        self.bytes(number, &value.to_be_bytes()[skip..]);
    }

    /// The marker and the payload; nothing for an empty one (RFC 7252 §3).
    pub(crate) fn payload(self, payload: &[u8]) {
        if !payload.is_empty() {
            self.out.push(0xff);
            self.out.extend_from_slice(payload);
        }
    }
}

/// How many bytes `options` take on the wire, given in ascending order.
pub(crate) fn encoded_len<'a>(options: impl Iterator<Item = (u16, &'a [u8])>) -> usize {
    let mut last = 0;
    let mut sum = 0;
    for (number, value) in options {
        let (_, _, delta) = extended(usize::from(number.saturating_sub(last)));
        let (_, _, length) = extended(value.len());
        sum += 1 + delta + length + value.len();
        last = number;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uints_are_minimal_and_read_back() {
        for (value, len) in
            [(0, 0), (1, 1), (255, 1), (256, 2), (65_536, 3), (0xff_ffff, 3), (u32::MAX, 4)]
        {
            let mut out = Vec::new();
            OptionWriter::new(&mut out).uint(1, value);
            assert_eq!(out.len(), 1 + len, "{value}");
            assert_eq!(read_uint(&out[1..]), Some(value));
        }
        assert_eq!(read_uint(&[0, 0, 7]), Some(7));
        assert_eq!(read_uint(&[0; 5]), None);
    }

    #[test]
    fn deltas_and_lengths_extend() {
        let mut out = Vec::new();
        let mut options = OptionWriter::new(&mut out);
        options.bytes(12, &[]);
        options.bytes(25, b"x");
        options.bytes(258 + 25, &[7; 13]);
        options.bytes(1_000, &[7; 269]);
        options.payload(b"");
        assert_eq!(&out[..4], [0xc0, 0xd1, 0x00, b'x']);
        assert_eq!(&out[4..7], [0xdd, 245, 0]);
        assert_eq!(&out[20..25], [0xee, 0x01, 0xc0, 0, 0]);
        let options: [(u16, &[u8]); 4] =
            [(12, &[]), (25, b"x"), (283, &[7; 13]), (1_000, &[7; 269])];
        assert_eq!(encoded_len(options.into_iter()), out.len());
    }

    #[test]
    fn odd_numbers_are_critical() {
        for number in [IF_MATCH, URI_HOST, IF_NONE_MATCH, URI_PATH, URI_QUERY, ACCEPT, BLOCK1] {
            assert!(is_critical(number));
        }
        for number in [ETAG, OBSERVE, CONTENT_FORMAT, MAX_AGE, SIZE1, NO_RESPONSE, 252, 292] {
            assert!(!is_critical(number));
        }
    }
}
