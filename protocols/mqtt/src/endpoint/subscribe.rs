//! SUBSCRIBE and UNSUBSCRIBE (MQTT 5 §3.8…§3.11): what the endpoint refuses itself is answered in
//! place, the rest is asked of the layer above; one acknowledgement answers all, in order.

use alloc::vec::Vec;

use motegate_message::{Qos, Reason, Seq, SubscriptionFilter, Turn};

use super::acks::{Acks, Answer, Owed, granted};
use super::connect::Offer;
use super::connection::Connection;
use super::limits::{filter_limit, user_limit};
use super::reply::{self, Violation};
use super::shared::Shared;
use crate::codec::subscription_filter;
use crate::config::Config;
use crate::endpoint::{Event, SubscribeItem, Ticket};
use crate::packet::{Subscribe, SubscribeFilter, Unsubscribe, Version};
use crate::properties::Property;
use crate::reason::ReasonCode;

/// Filters of a packet. It is answered in one turn, in which nobody else is heard: as many as a
/// client may hold by default take some milliseconds, half a million in 2 MiB a noticeable time.
const MAX_FILTERS: usize = 10_000;

/// A filter that the specification and the limits allow.
fn parse(config: &Config, version: Version, text: &str) -> Result<SubscriptionFilter, Violation> {
    let filter = subscription_filter(version, text)?;
    let limit = filter_limit(config, text, filter.filter.as_str());
    limit.map_or(Ok(filter), |limit| Err(Violation::FilterInvalid(limit)))
}

/// Whether this was read from a malformed shared subscription, as only MQTT 3 lets it be: nothing is
/// published to it.
fn is_malformed_share(filter: &SubscriptionFilter, text: &str) -> bool {
    filter.share.is_none() && text.starts_with("$share/")
}

/// What a filter asks for that is not offered, if it does.
fn beyond(offer: Offer, filter: &SubscriptionFilter, identified: bool) -> Option<Violation> {
    if identified && !offer.subscription_identifiers {
        return Some(Violation::SubscriptionIdentifiers);
    }
    if filter.share.is_some() && !offer.shared_subscriptions {
        return Some(Violation::SharedSubscriptions);
    }
    if filter.filter.has_wildcard() && !offer.wildcard_subscriptions {
        return Some(Violation::WildcardSubscriptions);
    }
    None
}

fn capped(qos: Qos, config: &Config) -> Qos {
    Qos::from_bits(config.max_qos).map_or(qos, |max| qos.min(max)) // [MQTT-3.2.2-10]
}

impl Connection {
    fn item(
        &self,
        config: &Config,
        asked: &SubscribeFilter<'_>,
        identified: bool,
    ) -> Result<(SubscribeItem, Option<ReasonCode>), Violation> {
        let filter = parse(config, self.version, asked.filter)?;
        let told = self.version.is_v5();
        let code = match beyond(Offer::of(config), &filter, identified) {
            // MQTT 5 §3.2.2.3.11 to §3.2.2.3.13: who was told and asks all the same. Whoever could
            // not know, in MQTT 3 or since the settings changed, is answered.
            Some(_) if told && let Some(v) = beyond(self.offered(config), &filter, identified) => {
                return Err(v);
            }
            _ if is_malformed_share(&filter, asked.filter) => Some(ReasonCode::TopicFilterInvalid),
            off => off.map(|violation| reply::reply_for(violation).0),
        };
        // The bridge bit of mosquitto and others stands for what MQTT 3 cannot say.
        let bridge = self.bridge && filter.share.is_none();
        let item = SubscribeItem {
            filter,
            qos: capped(asked.qos, config),
            no_local: asked.no_local || bridge,
            retain_as_published: asked.retain_as_published || bridge,
            retain_handling: asked.retain_handling,
        };
        Ok((item, code))
    }

    pub(super) fn on_subscribe(
        &mut self,
        shared: &mut Shared,
        subscribe: &Subscribe<'_>,
    ) -> Result<(), Violation> {
        let config = shared.config.of(self.listener);
        if let Some(limit) = user_limit(config, subscribe.properties) {
            return Err(Violation::UserProperties(limit));
        }
        if subscribe.filters.len() > MAX_FILTERS {
            return Err(Violation::TooManyFilters);
        }
        let identifier = subscribe.properties.iter().find_map(|property| match property {
            Property::SubscriptionIdentifier(id) => Some(id),
            _ => None,
        });
        let Some(session) = self.session else { return Ok(()) };
        let mut items = Vec::with_capacity(subscribe.filters.len());
        let mut answers = Vec::with_capacity(subscribe.filters.len());
        for asked in &subscribe.filters {
            let (item, code) = self.item(config, asked, identifier.is_some())?;
            answers.push(Answer { asked: item.qos, code });
            match code {
                None => items.push(item),
                Some(_) => shared.counters.filters_refused += 1,
            }
        }
        let owed = Owed::SubAck(subscribe.id, answers.into_boxed_slice());
        let ticket = self.acks.ask(owed);
        if items.is_empty() {
            self.acks.answer(ticket, Seq::NONE);
            return Ok(());
        }
        let conn = self.id;
        shared.events.push_back(Event::Subscribe { conn, session, ticket, items, identifier });
        Ok(())
    }

    pub(super) fn on_unsubscribe(
        &mut self,
        shared: &mut Shared,
        unsubscribe: &Unsubscribe<'_>,
    ) -> Result<(), Violation> {
        if let Some(limit) = user_limit(shared.config.of(self.listener), unsubscribe.properties) {
            return Err(Violation::UserProperties(limit));
        }
        if unsubscribe.filters.len() > MAX_FILTERS {
            return Err(Violation::TooManyFilters);
        }
        let Some(session) = self.session else { return Ok(()) };
        let filters = unsubscribe
            .filters
            .iter()
            .map(|text| parse(shared.config.of(self.listener), self.version, text))
            .collect::<Result<Vec<_>, _>>()?;
        // Until the answer comes nothing is known to have existed.
        let codes = filters.iter().map(|_| ReasonCode::NoSubscriptionExisted).collect();
        let ticket = self.acks.ask(Owed::UnsubAck(unsubscribe.id, codes));
        let conn = self.id;
        shared.events.push_back(Event::Unsubscribe { conn, session, ticket, filters });
        Ok(())
    }

    /// The layer above has answered a SUBSCRIBE.
    pub(super) fn subscribed(
        &mut self,
        shared: &mut Shared,
        turn: &Turn,
        ticket: Ticket,
        outcomes: &[Result<Qos, Reason>],
        after: Seq,
    ) {
        let denied = outcomes.iter().any(|outcome| outcome.is_err_and(reply::is_denial));
        if denied && shared.config.of(self.listener).deny_disconnects {
            return self.fail(shared, turn, Violation::Denied);
        }
        let Some(Owed::SubAck(_, answers)) = self.acks.asked(ticket) else { return };
        let codes = outcomes.iter().map(|outcome| match outcome {
            Ok(qos) => granted(*qos),
            Err(reason) => reply::subscribe_code(*reason),
        });
        Acks::fill(answers, codes);
        self.acks.answer(ticket, after);
    }

    /// The layer above has answered an UNSUBSCRIBE.
    pub(super) fn unsubscribed(&mut self, ticket: Ticket, existed: &[bool], after: Seq) {
        let Some(Owed::UnsubAck(_, codes)) = self.acks.asked(ticket) else { return };
        for (code, existed) in codes.iter_mut().zip(existed) {
            if *existed {
                *code = ReasonCode::Success;
            }
        }
        self.acks.answer(ticket, after);
    }
}
