//! MQTT-SN 1.2: a `no_std` wire half shared with firmware, and the gateway endpoint over it.
//!
//! Without features: [`Packet`] and [`Encapsulation`], decoded without copying and encoded into a
//! caller's buffer, neither needing `alloc`. With `endpoint` (the default): the gateway side, a
//! machine without sockets or clocks. MQTT-SN 2.0 is not here: its packets have other numbers and
//! will have a codec and a port of their own.
#![no_std]

#[cfg(feature = "endpoint")]
extern crate alloc;

pub mod client;
mod codec;
#[cfg(feature = "endpoint")]
pub mod endpoint;
mod error;
mod packet;
mod types;

pub use codec::peek_type;
pub use error::{DecodeError, EncodeError};
pub use packet::{Encapsulation, Packet, WillTopic};
pub use types::{
    PROTOCOL_ID, QosBits, ReturnCode, TopicId, TopicRef, is_reserved_topic_id, msg_type,
};
