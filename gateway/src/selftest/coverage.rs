//! Which rules the tests hit.

use std::fmt;

use motegate_config::Resolved;
use motegate_config::tests::{CoapRequest, SnTopic as Topic, Stimulus, Test};
use motegate_mapping::{Place, RuleKind, RuleRef, SnTopic};
use motegate_message::{ListenerId, TopicName};
use serde::Serialize;

use super::stage::caller;

/// A rule, and how many tests hit it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Hits {
    /// Its name.
    pub(crate) rule: String,
    /// `motegate.yaml:18`.
    pub(crate) at: String,
    /// How many requests, messages, observations and subscriptions of tests it took.
    pub(crate) hits: usize,
}

/// All rules and entries of the file, in its order; presets are left out.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Coverage {
    pub(crate) rules: Vec<Hits>,
    #[serde(skip)]
    places: Vec<Option<Place>>,
}

impl Coverage {
    pub(super) fn new(resolved: &Resolved) -> Self {
        let mut coverage = Coverage::default();
        for RuleRef { kind, name, place } in resolved.table.rules() {
            let at = place.as_ref().and_then(|place| resolved.places.line(place));
            let rule = match kind {
                RuleKind::Preset => continue,
                RuleKind::Coap => name,
                RuleKind::SnName => format!("name {name}"),
                RuleKind::TopicId => format!("id {name}"),
                RuleKind::Short => format!("short {name}"),
            };
            coverage.rules.push(Hits { rule, at: at.unwrap_or_default(), hits: 0 });
            coverage.places.push(place);
        }
        coverage
    }

    /// Counts what a test hits: what it does, and what is given for it.
    pub(super) fn count(&mut self, resolved: &Resolved, test: &Test) {
        for observe in &test.given.observe {
            self.coap(resolved, observe);
        }
        for subscriber in &test.given.subscribe {
            self.sn(resolved, subscriber.listener, &subscriber.client, &subscriber.topic);
        }
        match &test.stimulus {
            Stimulus::Coap(request) => self.coap(resolved, request),
            Stimulus::MqttSn(publish) if publish.qos.is_some() => {
                self.sn(resolved, publish.listener, &publish.client, &publish.topic);
            }
            Stimulus::MqttSn(publish) => {
                let topic = sn_topic(&publish.topic);
                let asks = caller(&resolved.core, publish.listener, "");
                let acts_as = asks.and_then(|c| resolved.table.sn_qos_minus_one(&c, topic).ok());
                if let Some((client, _)) = acts_as {
                    self.sn(resolved, publish.listener, &client, &publish.topic);
                }
            }
            Stimulus::Mqtt(publish) => {
                if test.expect.coap_path.is_some() || test.expect.link.is_some() {
                    self.back(resolved, &publish.topic);
                }
            }
        }
    }

    fn coap(&mut self, resolved: &Resolved, request: &CoapRequest) {
        let client = request.client.as_deref().unwrap_or_default();
        let Some(asks) = caller(&resolved.core, request.listener, client) else { return };
        let CoapRequest { method, path, query, .. } = request;
        self.hit(resolved.table.explain_coap(&asks, None, *method, path, query).rule);
    }

    fn sn(&mut self, resolved: &Resolved, listener: ListenerId, client: &str, topic: &Topic) {
        let Some(asks) = caller(&resolved.core, listener, client) else { return };
        self.hit(resolved.table.explain_sn(&asks, sn_topic(topic)).rule);
    }

    /// The rule by which a topic is found.
    fn back(&mut self, resolved: &Resolved, topic: &str) {
        let Ok(topic) = TopicName::new(topic) else { return };
        let ids = (0..resolved.core.listeners.len()).filter_map(|i| u16::try_from(i).ok());
        let found = ids.filter_map(|id| {
            let asks = caller(&resolved.core, ListenerId(id), "test")?;
            resolved.table.link(&asks, None, &topic).map(|link| link.rule)
        });
        if let Some(rule) = found.into_iter().next() {
            let hits = self.rules.iter_mut().find(|hits| hits.rule == *rule);
            hits.into_iter().for_each(|hits| hits.hits += 1);
        }
    }

    fn hit(&mut self, rule: Option<RuleRef>) {
        let Some(place) = rule.and_then(|rule| rule.place) else { return };
        let at = self.places.iter().position(|known| known.as_ref() == Some(&place));
        if let Some(hits) = at.and_then(|at| self.rules.get_mut(at)) {
            hits.hits += 1;
        }
    }
}

pub(super) fn sn_topic(topic: &Topic) -> SnTopic<'_> {
    match topic {
        Topic::Name(name) => SnTopic::Name(name),
        Topic::Id(id) => SnTopic::Predefined(*id),
        Topic::Short(short) => SnTopic::Short(*short),
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hit = self.rules.iter().filter(|rule| rule.hits > 0).count();
        writeln!(f, "rules hit: {hit} of {}", self.rules.len())?;
        let width = self.rules.iter().map(|rule| rule.rule.chars().count()).max().unwrap_or(0);
        for Hits { rule, at, hits } in &self.rules {
            let hits = if *hits == 0 { "never".to_owned() } else { hits.to_string() };
            writeln!(f, "  {hits:>5}  {rule:width$}  {at}")?;
        }
        Ok(())
    }
}
