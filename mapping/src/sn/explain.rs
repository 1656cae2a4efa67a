//! What an MQTT-SN topic means, and by which entry.

use crate::coap::captures;
use crate::explain::{Explanation, MAX_NEAR, NearMiss, RuleKind, RuleRef};
use crate::sn::{Rewrite, SnTable};
use crate::{Caller, Place, SnMatch, SnTopic};

impl SnTable {
    pub(crate) fn explain(&self, caller: &Caller<'_>, topic: SnTopic<'_>) -> Explanation<SnMatch> {
        let mut explanation = Explanation {
            rule: None,
            captures: Vec::new(),
            near: Vec::new(),
            outcome: self.map(caller, topic),
        };
        match topic {
            SnTopic::Predefined(id) => {
                (explanation.rule, explanation.near) = self.ids.explain(caller, id);
            }
            SnTopic::Short(short) => {
                explanation.rule = self.short.contains_key(&short).then(|| short_ref(short));
            }
            SnTopic::Name(name) => self.explain_name(name, &mut explanation),
        }
        explanation
    }

    fn explain_name(&self, name: &str, explanation: &mut Explanation<SnMatch>) {
        let levels: Vec<&str> = name.split('/').collect();
        let Some(winner) = self.rewrite(&levels) else { return };
        explanation.rule = Some(refer(winner));
        explanation.captures = captures(&winner.pattern, &levels);
        let others = self
            .names
            .iter()
            .filter(|rule| rule.name != winner.name && rule.pattern.matches(&levels, false));
        explanation.near = others
            .take(MAX_NEAR)
            .map(|rule| NearMiss {
                rule: refer(rule),
                why: match rule.priority < winner.priority {
                    true => format!(
                        "matches, but its priority {} is below {}",
                        rule.priority, winner.priority
                    ),
                    false => "matches, but is less specific".to_owned(),
                },
            })
            .collect();
    }

    /// Appends names, ids and short names.
    pub(crate) fn all(&self, out: &mut Vec<RuleRef>) {
        out.extend(self.names.iter().map(refer));
        self.ids.all(out);
        out.extend(self.shorts.iter().map(|short| short_ref(*short)));
    }
}

fn refer(rule: &Rewrite) -> RuleRef {
    RuleRef::new(RuleKind::SnName, &*rule.name, Some(rule.place.clone()))
}

fn short_ref(short: [u8; 2]) -> RuleRef {
    let name = String::from_utf8_lossy(&short).into_owned();
    let place = Place::root().at("mappings").at("mqttsn").at("short").at(name.as_str());
    RuleRef::new(RuleKind::Short, name, Some(place))
}
