//! The publish/subscribe core: sessions, subscriptions, queues, retained messages, wills.
//!
//! It knows no protocol: what a packet looks like, who retransmits it and which identifier it
//! carries is an endpoint's affair. It is asked in [`Request`]s, answers in [`Effect`]s and writes
//! what must outlive the process as journal records. Pure: no clock, socket, thread or random
//! source.
#![no_std]

extern crate alloc;

mod broker;
mod config;
mod connection;
mod contract;
mod delivery;
mod disk;
mod entry;
mod journal;
mod levels;
mod own;
mod perhaps;
mod publish;
mod queue;
mod restore;
mod retained;
mod session;
mod shared;
mod subscribe;
mod subscriptions;
mod trie;
mod view;
mod will;

pub use broker::Broker;
pub use config::{Config, SharedStrategy, SubscriptionBounds, TakeoverWill};
pub use contract::{
    Effect, Handle, Open, Overflow, Precondition, QueuePolicy, Request, RetainHandling, Subscribe,
    SubscribeOutcome, Ticket, WillChange,
};
pub use levels::Level;
pub use retained::etag;
pub use view::{Acted, GroupView, Reach, Receiver, SessionView, SubscriptionView, Usage};
