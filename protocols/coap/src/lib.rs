//! CoAP: the RFC 7252 message layer and RFC 7641 observations on coap-lite's packet format.
#![no_std]

extern crate alloc;

mod config;
pub mod endpoint;

pub use config::Config;
#[cfg(feature = "planted-faults")]
pub use config::Faults;
pub use endpoint::Endpoint;
