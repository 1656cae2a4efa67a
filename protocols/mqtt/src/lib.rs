//! MQTT 3.1, 3.1.1 and 5.0 in one packet model, and the server endpoint over it.
//!
//! [`packet`], [`properties`] and [`reason`] are the model, [`codec`] turns it into bytes and
//! back in both directions, [`endpoint`] is the server as a pure state machine. No socket, clock
//! or random source; `no_std` + `alloc`.
#![no_std]

extern crate alloc;

pub mod client;
pub mod codec;
mod config;
pub mod endpoint;
pub mod error;
pub mod packet;
pub mod properties;
pub mod reason;

pub use config::{Config, Prefix};
pub use endpoint::Endpoint;
pub use error::{DecodeError, EncodeError};
pub use packet::{Packet, PacketType, Sender, Version};
pub use properties::{Properties, Property, PropertyBuf};
pub use reason::ReasonCode;
