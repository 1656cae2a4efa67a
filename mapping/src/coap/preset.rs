//! The presets: ordinary rules of lowest priority that stand ready under a name (mapping.md §2.3).
//!
//! `passthrough` is ours. `emqx-ps` and `ponte-r` keep devices of these gateways as they are.
//! `core-pubsub` has the topic-data resources of draft-ietf-core-coap-pubsub, whose paths the broker
//! chooses: they lie under `/ps/data`. Its collection and topic resources, which make and describe
//! topics, are not there; `/ps` is claimed for them all the same, so that no other preset takes it.

use super::rule::{Methods, PRESET_PRIORITY, Rule};
use crate::conflict::Contender;
use crate::format::Formatted;
use crate::pattern::Pattern;
use crate::query::Queries;
use crate::reverse::Reversal;
use crate::rule::{Preset, Retain};
use crate::template::Template;
use crate::{CoapMethod, Place, RuleError, RuleErrorKind, Rules};

impl Preset {
    /// Under which path every topic lies.
    pub(crate) fn root(self, rules: &Rules) -> &str {
        match self {
            Preset::Passthrough => &rules.prefix,
            Preset::CorePubsub => "ps/data",
            Preset::EmqxPs => "ps",
            Preset::PonteR => "r",
        }
    }

    /// What it claims, of which its rule may be a part.
    fn claim(self, rules: &Rules) -> Pattern {
        let root = if self == Preset::CorePubsub { "ps" } else { self.root(rules) };
        Pattern::prefixed_tail(root, "topic")
    }
}

/// The rule of a preset.
pub(super) fn rule(preset: Preset, rules: &Rules) -> Rule {
    let pattern = Pattern::prefixed_tail(preset.root(rules), "topic");
    let topic = Template::tail("topic", pattern.segments.len());
    let without = |method: CoapMethod| {
        let mut methods = Methods::all();
        if let Some(slot) = Methods::slot(method) {
            methods.0[slot] = None;
        }
        methods
    };
    let (methods, queries, retain) = match preset {
        Preset::Passthrough => (Methods::all(), Queries::passthrough(), rules.defaults.retain),
        // The draft: PUT publishes, POST is not for topic-data resources.
        Preset::CorePubsub => (without(CoapMethod::Post), Queries::none(), Retain::Always),
        Preset::EmqxPs => (without(CoapMethod::Delete), Queries::emqx(), Retain::Never),
        Preset::PonteR => (without(CoapMethod::Delete), Queries::none(), Retain::Always),
    };
    Rule {
        name: preset.as_str().into(),
        place: None,
        reversal: Reversal::new(&pattern, &topic),
        pattern,
        topic,
        methods,
        queries,
        qos: rules.defaults.qos,
        retain,
        expiry: rules.defaults.expiry,
        priority: PRESET_PRIORITY,
        listeners: Vec::new(),
        client: None,
        host: None,
        encode: false,
        absolute: false,
        // The draft: no value, no resource; deleting it ends every observation with 4.04.
        content_when_empty: preset != Preset::CorePubsub,
        formatted: Formatted::default(),
        link: Box::default(),
    }
}

/// Reports presets that claim one path.
pub(super) fn find_conflicts(rules: &Rules, errors: &mut Vec<RuleError>) {
    let place = Place::root().at("mappings").at("presets");
    for (i, late) in rules.presets.iter().enumerate() {
        for (j, early) in rules.presets.iter().enumerate().take(i) {
            let (a, b) = (late.claim(rules), early.claim(rules));
            if a.contains(&b) != b.contains(&a) {
                continue; // one is narrower
            }
            let claims = [late, early].map(|p| Rule { pattern: p.claim(rules), ..rule(*p, rules) });
            let [a, b] = &claims;
            if let Some(witness) = a.witness(b) {
                let kind = RuleErrorKind::Overlap {
                    rule: late.as_str().into(),
                    other: early.as_str().into(),
                    other_place: Some(place.at(j)),
                    witness,
                };
                errors.push(RuleError::new(place.at(i), kind));
            }
        }
    }
}
