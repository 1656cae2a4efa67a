//! Packets from bytes and into bytes, for both sides of a connection.
//!
//! [`header`] reads a fixed header as soon as it is there, so that a packet can be judged before
//! its body is buffered; [`decode`] reads a whole packet and borrows from it; [`encode`] appends
//! one. Decoding never panics and never allocates by an announced length. What depends on limits
//! or on the state of a session is not checked here. MQTT 5 §2, MQTT 3.1.1 §2.
#![warn(clippy::indexing_slicing)]

mod connect;
mod decode;
mod encode;
pub(crate) mod read;
pub(crate) mod write;

pub use connect::{Dialect, dialect};
pub(crate) use decode::subscription_filter;
pub use decode::{decode, decode_with};
pub use encode::{encode, encode_publish, publish_len};
pub use read::Utf8;

use crate::error::DecodeError;
use crate::packet::{PacketType, Sender, Version};

/// A fixed header (MQTT 5 §2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Type and flags.
    pub first: u8,
    /// Bytes of the header itself, 2 to 5.
    pub len: usize,
    /// Remaining length, at most 268,435,455.
    pub remaining: usize,
}

impl Header {
    /// Bytes of the whole packet.
    #[must_use]
    pub const fn packet_len(&self) -> usize {
        self.len + self.remaining
    }

    /// Whether the remaining length has its shortest form. [MQTT-1.5.5-1]; MQTT 3 does not ask.
    #[must_use]
    pub const fn is_shortest(&self) -> bool {
        match self.len {
            0..=2 => true,
            3 => self.remaining >= 1 << 7,
            4 => self.remaining >= 1 << 14,
            _ => self.remaining >= 1 << 21,
        }
    }
}

/// Reads the fixed header at the front of `bytes`; `None` while it is not complete.
///
/// # Errors
/// [`DecodeError::IntegerTooLong`] for a fifth length byte, in every version.
pub fn header(bytes: &[u8]) -> Result<Option<Header>, DecodeError> {
    let Some((first, rest)) = bytes.split_first() else { return Ok(None) };
    let Some((remaining, len)) = read::var_int(rest, false)? else { return Ok(None) };
    let remaining = usize::try_from(remaining).map_err(|_| DecodeError::IntegerTooLong)?;
    Ok(Some(Header { first: *first, len: 1 + len, remaining }))
}

/// Judges the first byte of a packet that is no CONNECT: a type that `sender` may send, and its
/// reserved flags.
///
/// # Errors
/// [`DecodeError::UnknownPacketType`], [`DecodeError::BadFlags`], [`DecodeError::BadQos`] or
/// [`DecodeError::WrongDirection`].
pub fn check_first(first: u8, version: Version, sender: Sender) -> Result<PacketType, DecodeError> {
    use PacketType as T;
    let kind = T::from_first_byte(first).ok_or(DecodeError::UnknownPacketType)?;
    if kind == T::Auth && !version.is_v5() {
        return Err(DecodeError::UnknownPacketType);
    }
    let flags = first & 0x0f;
    match kind {
        T::Publish if flags & 6 == 6 => return Err(DecodeError::BadQos), // [MQTT-3.3.1-4]
        T::Publish if flags & 0x0e == 8 && version != Version::V31 => {
            return Err(DecodeError::BadQos); // [MQTT-3.3.1-2]
        }
        T::Publish => {}
        // MQTT 3.1 §2.1: unused bits are ignored, and DUP may stand on these.
        _ if version == Version::V31 => {}
        T::PubRel | T::Subscribe | T::Unsubscribe if flags != 2 => {
            return Err(DecodeError::BadFlags); // [MQTT-2.1.3-1]
        }
        T::PubRel | T::Subscribe | T::Unsubscribe => {}
        _ if flags != 0 => return Err(DecodeError::BadFlags),
        _ => {}
    }
    let from = match kind {
        T::Connect | T::Subscribe | T::Unsubscribe | T::PingReq => Some(Sender::Client),
        T::ConnAck | T::SubAck | T::UnsubAck | T::PingResp => Some(Sender::Server),
        T::Disconnect if !version.is_v5() => Some(Sender::Client),
        _ => None,
    };
    if from.is_some_and(|from| from != sender) {
        return Err(DecodeError::WrongDirection);
    }
    Ok(kind)
}

/// Judges an announced remaining length by the packet type alone.
///
/// # Errors
/// [`DecodeError::BadLength`].
pub fn check_length(
    kind: PacketType,
    version: Version,
    remaining: usize,
) -> Result<(), DecodeError> {
    use PacketType as T;
    let v5 = version.is_v5();
    let good = match kind {
        T::PingReq | T::PingResp => remaining == 0,
        T::Disconnect => v5 || remaining == 0,
        T::PubAck | T::PubRec | T::PubRel | T::PubComp => remaining == 2 || (v5 && remaining > 2),
        T::UnsubAck => remaining == 2 || (v5 && remaining > 2),
        T::ConnAck => remaining == 2 || (v5 && remaining > 2),
        T::Publish => remaining >= 2,
        _ => true,
    };
    if good { Ok(()) } else { Err(DecodeError::BadLength) }
}

#[cfg(test)]
#[allow(clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn headers_come_a_byte_at_a_time() {
        let bytes = [0x30, 0x80, 0x80, 0x01, 9, 9];
        for cut in 0..4 {
            assert_eq!(header(&bytes[..cut]), Ok(None));
        }
        let whole = Header { first: 0x30, len: 4, remaining: 16_384 };
        assert_eq!(header(&bytes[..4]), Ok(Some(whole)));
        assert_eq!(header(&bytes), Ok(Some(whole)));
        assert_eq!(whole.packet_len(), 16_388);
        assert_eq!(
            header(&[0x30, 0xff, 0xff, 0xff, 0xff]),
            Err(DecodeError::IntegerTooLong),
            "no fifth byte is waited for"
        );
    }

    #[test]
    fn first_bytes() {
        use DecodeError::*;
        let client = |first, version| check_first(first, version, Sender::Client);
        for version in [Version::V31, Version::V311, Version::V5] {
            assert_eq!(client(0x00, version), Err(UnknownPacketType));
            assert_eq!(client(0x36, version), Err(BadQos));
            assert_eq!(client(0x20, version), Err(WrongDirection));
            assert_eq!(client(0x82, version), Ok(PacketType::Subscribe));
            assert_eq!(client(0x3b, version), Ok(PacketType::Publish));
        }
        assert_eq!(client(0x38, Version::V5), Err(BadQos));
        assert_eq!(client(0x38, Version::V31), Ok(PacketType::Publish));
        assert_eq!(client(0x8a, Version::V31), Ok(PacketType::Subscribe));
        assert_eq!(client(0x8a, Version::V311), Err(BadFlags));
        assert_eq!(client(0x60, Version::V5), Err(BadFlags));
        assert_eq!(client(0xc1, Version::V5), Err(BadFlags));
        assert_eq!(client(0xf0, Version::V311), Err(UnknownPacketType));
        assert_eq!(client(0xf0, Version::V5), Ok(PacketType::Auth));
        let server = |first, version| check_first(first, version, Sender::Server);
        assert_eq!(server(0xe0, Version::V5), Ok(PacketType::Disconnect));
        assert_eq!(server(0xe0, Version::V311), Err(WrongDirection));
    }
}
