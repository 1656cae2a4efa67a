//! What every load on a real gateway needs: the books ([`ledger`]), clients on sockets that are
//! looked at every millisecond (`actor`), an MQTT connection (`link`), and the steps of an MQTT-SN
//! subscriber (`sn`).
#![allow(clippy::disallowed_methods)] // a real process in real time

pub(crate) mod actor;
pub mod ledger;
pub(crate) mod link;
pub(crate) mod sn;
