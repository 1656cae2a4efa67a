//! CoAP: the RFC 7252 message layer, RFC 7641 observations and the connections of RFC 8323 on
//! coap-lite's packet format.
//!
//! [`Endpoint`] is the server side, [`client`] the other one; both are pure state machines:
//! datagrams, bytes of connections and time come in, datagrams, bytes and deadlines go out.
//! [`link_format`] writes and filters RFC 6690 documents, [`pubsub`] the topic properties of
//! draft-ietf-core-coap-pubsub, [`directory`] registers at a resource directory (RFC 9176). coap-lite takes packets apart; what it lets pass is checked before and
//! after, see the `message` and `options` modules.
#![no_std]
#![warn(clippy::indexing_slicing)]
#![cfg_attr(test, allow(clippy::indexing_slicing))]

extern crate alloc;

mod block;
pub mod client;
mod config;
pub mod directory;
pub mod endpoint;
mod frame;
pub mod link_format;
mod message;
pub mod options;
pub mod pubsub;
mod random;
mod signal;
mod slab;

#[cfg(feature = "planted-faults")]
pub use config::Faults;
pub use config::{Config, EchoWhen, ListenerBounds, Unverified};
pub use endpoint::Endpoint;
pub use frame::{ForWebSocket, for_websocket};
pub use message::{Kind, Token};
