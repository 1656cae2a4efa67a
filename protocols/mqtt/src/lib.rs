//! MQTT 3.1, 3.1.1 and 5.0 in one packet model, and the server endpoint over it.
#![no_std]

extern crate alloc;

mod config;
pub mod endpoint;

pub use config::Config;
pub use endpoint::Endpoint;
