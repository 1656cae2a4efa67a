//! MQTT-SN 1.2: a `no_std` wire half shared with firmware, and the gateway endpoint over it.
#![no_std]

#[cfg(feature = "endpoint")]
extern crate alloc;

#[cfg(feature = "endpoint")]
pub mod endpoint;
