//! Which CoAP path or MQTT-SN topic id is which MQTT topic, in both directions.
//!
//! A [`Table`] is built once from plain [`Rules`] (the `config` crate reads them from YAML) and
//! then only asked. It knows no protocol's packets and no broker; the hot path does no YAML and no
//! regular expression that can backtrack.

mod table;

pub use table::{
    Action, Caller, CoapMatch, CoapMethod, MapError, Rules, SnMatch, SnNames, SnTopic, Table,
};
