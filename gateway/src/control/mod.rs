//! The control interface: HTTP and JSON on a Unix socket, for everything that asks a running
//! gateway.
//!
//! [`socket`] has the file, [`server`] the thread, [`ask`] the way to the worker, [`api`] what can
//! be asked, [`client`] the other side, for the commands. The worker shares no lock with any of
//! it, and a question is bounded in the core ([`motegate_core::admin`]).
//!
//! Left out: authentication (the file's mode is it), and a TCP listener. What changes a gateway
//! (`POST /reload`) becomes a variant of [`ask::Control`] or a call of its own beside
//! [`api::Gateway::ask`]; its handler goes into a file of `api` and one line of `api::router`.

pub(crate) mod api;
pub(crate) mod ask;
pub(crate) mod client;
pub(crate) mod server;
pub(crate) mod socket;

pub use socket::{ControlError, ControlPlace};
