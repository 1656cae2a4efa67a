//! Motegate: a multi-protocol IoT gateway (MQTT-SN, CoAP, MQTT) with an embedded broker.
//!
//! This crate is the shell around the pure core: sockets, clocks, threads and signals. A worker
//! thread owns the core and its sockets; bytes and time go in, bytes and deadlines come out.
//! [`Gateway::builder`] starts one inside any program, the binary `motegate` does it from the
//! command line.
//!
//! Linux only: it receives and sends datagrams in batches (`recvmmsg`, `sendmmsg`).

mod auth;
mod bench;
pub mod cli;
mod client;
mod clock;
mod control;
mod demo;
mod directory;
mod explain;
mod file_trail;
mod file_watch;
mod gateway;
mod listening;
mod log;
mod machine;
mod memory;
mod net;
mod notices;
mod recorder;
mod reload;
mod run;
mod selftest;
mod setup;
mod shutdown;
mod store;
mod supervisor;
mod worker;

pub use control::{ControlError, ControlPlace};
pub use gateway::{Builder, Gateway, Handle, STOP_TIMEOUT, StartError};
pub use motegate_config::{Address, ResourceDirectory, Transport};
pub use motegate_core::{Change, Protocol, Touched};
pub use recorder::install_panic_hook;
pub use reload::{Changes, ListenerChange, ReloadError};
pub use setup::{Bind, Control, Setup};
pub use store::{StoreError, StoreSetup, SyncPolicy};
