//! The control interface: HTTP and JSON on a Unix socket, for everything that asks a running
//! gateway.
//!
//! [`socket`] has the file, [`server`] the thread, [`ask`] the way to the worker, [`api`] what can
//! be asked, [`client`] the other side, for the commands. The worker shares no lock with any of
//! it, and a question is bounded in the core ([`motegate_core::admin`]).
//!
//! `POST /reload` goes to the gateway's owner ([`crate::supervisor`]), who reads files; all else
//! goes to the worker.
//!
//! Left out: authentication (the file's mode is it), and a TCP listener.

pub(crate) mod api;
pub(crate) mod ask;
pub(crate) mod client;
pub(crate) mod server;
pub(crate) mod socket;

pub use socket::{ControlError, ControlPlace};
