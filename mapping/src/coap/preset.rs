//! The presets: ordinary rules of lowest priority that stand ready under a name (mapping.md §2.3).
//!
//! `passthrough` is ours. `emqx-ps` and `ponte-r` keep devices of these gateways as they are.
//! `core-pubsub` is draft-ietf-core-coap-pubsub: every topic is a topic-data resource under
//! `/ps/data`, `/ps` is the collection and `/ps/{id}` a topic resource. The last two are no topic's
//! value but describe topics, and `/mqtt/connection` of `emqx-ps` is where its clients log in
//! ([`Managed`]): no method of theirs is a rule's action.

use super::rule::{Methods, PRESET_PRIORITY, Rule};
use crate::conflict::Contender;
use crate::format::Formatted;
use crate::pattern::Pattern;
use crate::query::Queries;
use crate::reverse::Reversal;
use crate::rule::{Preset, Retain};
use crate::template::Template;
use crate::{CoapMethod, Managed, Place, RuleError, RuleErrorKind, Rules};

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

    /// Where a client begins.
    pub(crate) fn entry(self, rules: &Rules) -> &str {
        if self == Preset::CorePubsub { COLLECTION } else { self.root(rules) }
    }

    /// What it claims, of which its rule may be a part.
    fn claim(self, rules: &Rules) -> Pattern {
        Pattern::prefixed_tail(self.entry(rules), "topic")
    }
}

/// The path of the topic collection.
pub(crate) const COLLECTION: &str = "ps";

/// Where EMQX's clients connect.
pub(crate) const CONNECTION: [&str; 2] = ["mqtt", "connection"];

/// The rules of a preset.
pub(super) fn rules(preset: Preset, rules: &Rules) -> Vec<Rule> {
    let mut all = vec![rule(preset, rules)];
    let managed = match preset {
        Preset::CorePubsub => vec![
            (Managed::Collection, Pattern::literal(&[COLLECTION])),
            (Managed::Topic, Pattern::one_below(COLLECTION, "id")),
        ],
        // Narrower than what passthrough has below its prefix, which is `mqtt`, too.
        Preset::EmqxPs => vec![(Managed::Connection, Pattern::literal(&CONNECTION))],
        Preset::Passthrough | Preset::PonteR => Vec::new(),
    };
    all.extend(managed.into_iter().map(|(managed, pattern)| Rule {
        pattern,
        methods: Methods::default(),
        reversal: None,
        manages: Some(managed),
        ..rule(preset, rules)
    }));
    all
}

/// The rule of a preset that maps paths to topics.
fn rule(preset: Preset, rules: &Rules) -> Rule {
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
        max_age: rules.defaults.max_age,
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
        emqx: preset == Preset::EmqxPs,
        manages: None,
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
