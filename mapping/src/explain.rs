//! Why a request is what it is: the rule that takes it, what its captures hold, and which others came
//! near.
//!
//! For people, so nothing here is fast: every rule is looked at. The answer is plain data; where a
//! rule stands is its [`Place`], and drawing it is for whoever asks. What a topic means in the other
//! direction is told by [`Table::link`] and [`Table::sn_names`], and by whom here.

use motegate_message::TopicName;

use crate::coap::Asker;
use crate::{Caller, CoapMatch, CoapMethod, MapError, Place, SnMatch, SnNames, SnTopic, Table};

/// Most near misses that are told.
pub(crate) const MAX_NEAR: usize = 8;

/// What kind of rule it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RuleKind {
    /// Of `mappings.coap`.
    Coap,
    /// A preset.
    Preset,
    /// Of `mappings.mqttsn.names`.
    SnName,
    /// An entry of `mappings.mqttsn.topic_ids`.
    TopicId,
    /// An entry of `mappings.mqttsn.short`.
    Short,
}

/// A rule, or an entry of a table, by name and place.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RuleRef {
    /// What it is.
    pub kind: RuleKind,
    /// The rule's name; `env 10` for an id, `tt` for a short name.
    pub name: String,
    /// Where it stands; `None` for a preset.
    pub place: Option<Place>,
}

/// A rule that does not take the request, but nearly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NearMiss {
    /// Which.
    pub rule: RuleRef,
    /// Why it does not: "also matches the path; takes POST only".
    pub why: String,
}

/// Why something is what it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation<M> {
    /// The rule that takes it; also where it then refuses. `None` where no rule does, and for
    /// MQTT-SN names that are taken as they are.
    pub rule: Option<RuleRef>,
    /// What its captures hold, in the order of the pattern.
    pub captures: Vec<(String, String)>,
    /// Others, the nearest first.
    pub near: Vec<NearMiss>,
    /// What comes of it.
    pub outcome: Result<M, MapError>,
}

/// How a topic is named to an MQTT-SN client, and by which entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnNaming {
    /// The names.
    pub names: SnNames,
    /// The entries and rules that make them.
    pub rules: Vec<RuleRef>,
}

impl Table {
    /// Why a CoAP request is what [`coap`](Self::coap) makes of it.
    #[must_use]
    pub fn explain_coap(
        &self,
        caller: &Caller<'_>,
        host: Option<&str>,
        method: CoapMethod,
        path: &[String],
        query: &[String],
    ) -> Explanation<CoapMatch> {
        self.coap.explain(Asker { caller, host }, method, path, query)
    }

    /// Why an MQTT-SN topic is what [`sn`](Self::sn) makes of it.
    #[must_use]
    pub fn explain_sn(&self, caller: &Caller<'_>, topic: SnTopic<'_>) -> Explanation<SnMatch> {
        self.sn.explain(caller, topic)
    }

    /// How a final topic is named to an MQTT-SN client, as [`sn_names`](Self::sn_names) says, and
    /// why.
    #[must_use]
    pub fn explain_sn_names(&self, caller: &Caller<'_>, topic: &TopicName) -> Option<SnNaming> {
        let names = self.sn_names(caller, topic)?;
        let by = [
            names.predefined.map(SnTopic::Predefined),
            names.short.map(SnTopic::Short),
            Some(SnTopic::Name(names.name.as_str())),
        ];
        let rules = by.into_iter().flatten().filter_map(|by| self.explain_sn(caller, by).rule);
        Some(SnNaming { rules: rules.collect(), names })
    }

    /// Every rule and entry: CoAP's in the order of the file, then presets, names, ids and short
    /// names.
    #[must_use]
    pub fn rules(&self) -> Vec<RuleRef> {
        let mut all = self.coap.all();
        self.sn.all(&mut all);
        all
    }
}

impl RuleRef {
    pub(crate) fn new(kind: RuleKind, name: impl Into<String>, place: Option<Place>) -> Self {
        RuleRef { kind, name: name.into(), place }
    }
}
