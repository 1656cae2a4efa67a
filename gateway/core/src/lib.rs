//! The gateway as one pure state machine: bytes and time come in; bytes, journal records and a
//! next deadline go out.
//!
//! [`Core`] composes the three protocol endpoints, the mapping table and the broker, and routes
//! each endpoint's events to the broker and each effect back. No socket, clock, task, lock, file,
//! random source or global.

mod access;
pub mod admin;
mod admission;
mod backpressure;
mod coap;
mod config;
mod content_types;
mod contract;
mod core;
mod discovery;
mod journal_clock;
mod lockout;
mod login;
mod mqtt;
mod nameless;
mod notice;
mod pending;
mod rate;
mod reload;
mod sn;
mod stalled;
mod stats;
mod streams;
mod sys;
mod topics;
mod users;

pub use admission::ConnectRate;
pub use config::{ClientFrom, Config, Listener, ListenerLimits, Protocol, Sources};
pub use contract::{Authenticate, Input, Output, Proof, Verdict};
pub use core::Core;
pub use lockout::FailureRate;
pub use notice::{Notice, NoticeKind};
pub use reload::{Change, Reload, Touched};
pub use stats::Stats;
pub use users::{Users, Verifier, VerifierError};

/// The parts' own settings, for whoever resolves a configuration into a [`Config`].
pub mod settings {
    pub use motegate_broker::{
        Config as Broker, Overflow, QueuePolicy, SharedStrategy, TakeoverWill,
    };
    pub use motegate_coap::directory::{BadUri, Server, Uri};
    pub use motegate_coap::{Config as Coap, EchoWhen};
    pub use motegate_mqtt::Config as Mqtt;
    pub use motegate_mqtt::codec::Utf8;
    pub use motegate_mqtt_sn::endpoint::{Config as MqttSn, Forwarders, Rebind};
}
