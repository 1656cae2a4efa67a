//! What every load on a real gateway needs: the books ([`ledger`]), clients on sockets that are
//! looked at every millisecond (`actor`), and an MQTT connection (`link`).
#![allow(clippy::disallowed_methods)] // a real process in real time

pub(crate) mod actor;
pub mod ledger;
pub(crate) mod link;
