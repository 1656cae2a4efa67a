//! Why bytes are no MQTT-SN packet ([`DecodeError`]) and why a packet becomes no bytes
//! ([`EncodeError`]).
//!
//! A datagram that does not decode is dropped by its receiver (MQTT-SN 1.2 has no negative
//! answer to one); the variants exist for counters and logs.

use thiserror::Error;

/// Bytes that are no MQTT-SN 1.2 packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// No room even for length and type.
    #[error("the datagram ends inside the header")]
    Truncated,
    /// The length field is not the length of the datagram (§5.2.1).
    #[error("the length field says {said}, the datagram has {got} octets")]
    Length {
        /// In the header.
        said: usize,
        /// Of the datagram.
        got: usize,
    },
    /// The message type is reserved (§5.2.2).
    #[error("message type {0:#04x} is reserved")]
    ReservedType(u8),
    /// The body is shorter or longer than its type allows.
    #[error("the body of message type {0:#04x} has a wrong length")]
    Body(u8),
    /// TopicIdType 0b11 (§5.3.4).
    #[error("topic id type 0b11 is reserved")]
    ReservedTopicIdType,
    /// A text that is not UTF-8.
    #[error("a text is not UTF-8")]
    Utf8,
}

/// A packet that cannot be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum EncodeError {
    /// The buffer is shorter than [`encoded_len`](crate::Packet::encoded_len).
    #[error("the buffer is too small")]
    Buffer,
    /// Longer than its length field can say: 65,535 octets, or 255 for a forwarder's wrapper.
    #[error("the packet is longer than its length field can say")]
    TooLong,
}
