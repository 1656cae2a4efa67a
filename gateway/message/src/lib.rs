//! What every part of the gateway agrees on: the application message, topic names and filters
//! that cannot be wrong, who a session belongs to, which peer a datagram came from, what waits to be
//! written to a connection, the reasons a refusal may have, and the journal's vocabulary.
//!
//! Nouns only; behaviour lives with the endpoint, the broker or the mapping that owns it.
//! `no_std` + `alloc`.
#![no_std]

extern crate alloc;

pub mod datagram;
mod delivery;
mod group;
mod half_open;
pub mod journal;
mod message;
mod node;
mod outbox;
mod reason;
mod session;
mod topic;

pub use datagram::{ConnectionId, DatagramQueue, ListenerId, LocalId, Peer, Route, is_private};
pub use delivery::{Delivery, DeliveryId, Will};
pub use group::{Announcement, Group, Interface, Network, NotAGroup, NotANetwork, with_scope};
pub use half_open::HalfOpen;
pub use journal::{Gate, Record, Seq, Turn, Wall};
pub use message::{Message, Properties, Qos};
pub use node::NodeId;
pub use outbox::{Outbox, Pool};
pub use reason::Reason;
pub use session::{SessionId, SessionKey};
pub use topic::{
    MAX_TOPIC_LEN, SubscriptionFilter, TopicError, TopicFilter, TopicName, has_disallowed,
    matches as topic_matches,
};
