//! Which CoAP path or MQTT-SN topic id is which MQTT topic, in both directions.
//!
//! A [`Table`] is built once from plain [`Rules`] (the `config` crate reads them from YAML) and
//! then only asked: every pattern, template and glob is parsed and every conflict between rules is
//! found when it is built. It knows no protocol's packets and no broker; the hot path does no YAML
//! and no regular expression that can backtrack, and its cost does not grow with the number of
//! rules.
//!
//! Formats are named and checked here, and a request's match says which hold; what turns one into
//! another has a module of its own.

mod coap;
mod conflict;
mod error;
mod explain;
mod filter;
mod format;
mod glob;
mod ids;
mod index;
mod pattern;
pub mod payload;
mod place;
mod query;
mod record;
mod reverse;
mod rule;
mod safety;
mod sn;
mod table;
mod template;
mod text;

pub use coap::{Link, is_unasked};
pub use error::{PatternError, RuleError, RuleErrorKind, TemplateError, Unasked};
pub use explain::{Explanation, NearMiss, RuleKind, RuleRef, SnNaming};
pub use format::{Format, Payload};
pub use place::{Place, Step};
pub use record::RecordTopic;
pub use rule::{
    CoapRule, Codec, CodecForm, Defaults, FrameField, NameRule, OnBadPayload, PayloadRule, Preset,
    QosMinusOne, Rate, Retain, Rules, Scope, SnRules, TopicId,
};
pub use table::{
    Action, Caller, CoapMatch, CoapMethod, Emqx, Managed, MapError, SnMatch, SnNames, SnTopic,
    Table,
};
