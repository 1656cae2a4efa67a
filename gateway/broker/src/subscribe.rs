//! Filters come and go; a new one is answered with the retained messages it matches.

use alloc::vec::Vec;

use motegate_message::{Reason, SessionId, SubscriptionFilter, TopicFilter, Turn};

use crate::delivery::Outgoing;
use crate::journal::FilterText;
use crate::queue::Entry;
use crate::shared::GroupId;
use crate::subscriptions::{FilterId, Grant, Held, Marks, Subscriber, shows_dollar};
use crate::{
    Broker, Effect, RetainHandling, Subscribe, SubscribeOutcome, SubscriptionBounds, Ticket,
};

impl Broker {
    pub(crate) fn subscribe(
        &mut self,
        turn: &Turn,
        ticket: Ticket,
        session: SessionId,
        filters: &[Subscribe],
        most: Option<SubscriptionBounds>,
    ) {
        let all = self.config.subscription_bounds();
        let most = most.map_or(all, |own| SubscriptionBounds {
            count: own.count.min(all.count),
            bytes: own.bytes.min(all.bytes),
        });
        let slot = self.sessions.get(session).map(|s| s.slot());
        let mut outcomes = Vec::with_capacity(filters.len());
        let mut wanted = Vec::new();
        for filter in filters {
            let added = match slot {
                Some(slot) => self.add_subscription(slot, session, filter, most),
                None => Err(Reason::SessionExpired),
            };
            match added {
                Ok(new) => {
                    outcomes.push(SubscribeOutcome::Granted(filter.qos));
                    if sends_retained(filter, new) {
                        wanted.push(filter);
                    }
                }
                Err(reason) => outcomes.push(SubscribeOutcome::Refused(reason)),
            }
        }
        let after = self.journal.after(turn);
        self.effects.push_back(Effect::Subscribed { ticket, outcomes, after });
        // Same step: nothing that is published later can come first (mqtt.md 2.4).
        if let Some(slot) = slot {
            for filter in wanted {
                self.send_retained(turn, slot, filter);
            }
        }
    }

    /// One step also where it replaces; whether the session did not hold it before.
    fn add_subscription(
        &mut self,
        slot: u32,
        id: SessionId,
        asked: &Subscribe,
        most: SubscriptionBounds,
    ) -> Result<bool, Reason> {
        let existing = self.find_held(&asked.filter);
        let session = self.sessions.at(slot).ok_or(Reason::SessionExpired)?;
        let new = !existing.is_some_and(|held| session.subscriptions.contains(held));
        if self.store_failed && session.durable {
            return Err(Reason::StorageFull);
        }
        if new {
            let own = session.subscriptions.len();
            if own >= most.count {
                self.acted.max_subscriptions_per_session += 1;
                return Err(Reason::QuotaExceeded);
            }
            let bytes =
                session.subscriptions.bytes() as usize + text_of(&asked.filter).len() as usize;
            if bytes > most.bytes {
                self.acted.max_subscription_bytes_per_session += 1;
                return Err(Reason::QuotaExceeded);
            }
            if self.subscribed >= self.config.max_subscriptions {
                self.acted.max_subscriptions += 1;
                return Err(Reason::QuotaExceeded);
            }
            let new_group = asked.filter.share.is_some() && existing.is_none();
            if new_group && self.groups.len() >= self.config.max_share_groups {
                self.acted.max_share_groups += 1;
                return Err(Reason::QuotaExceeded);
            }
        }
        let held = existing.unwrap_or_else(|| self.add_filter(&asked.filter));
        let grant = Grant {
            identifier: asked.identifier.unwrap_or(0),
            qos: asked.qos,
            no_local: asked.no_local,
            retain_as_published: asked.retain_as_published,
            marks: Marks::new(asked.spares_dollar, asked.by_rule, asked.hears_expiry),
        };
        self.link(slot, held, grant);
        if self.sessions.at(slot).is_some_and(|s| s.durable) {
            self.journal.subscription(id, text_of(&asked.filter), grant);
        }
        Ok(new)
    }

    /// Enters a subscription at both ends.
    pub(crate) fn link(&mut self, slot: u32, held: Held, grant: Grant) {
        let subscriber = Subscriber { slot, grant };
        self.some_spare_dollar |= grant.marks.spares_dollar();
        self.some_hear_expiry |= grant.marks.hears_expiry();
        let new = if held.group == GroupId::NONE {
            self.subscriptions.get_mut(held.filter).is_some_and(|f| f.subscribers.set(subscriber))
        } else {
            self.groups.get_mut(held.group).is_some_and(|g| g.members.set(subscriber))
        };
        if new {
            self.subscribed += 1;
            self.shared_subscribed += usize::from(held.group != GroupId::NONE);
            let bytes = self.subscription_text(held).map_or(0, |text| text.len());
            if let Some(session) = self.sessions.at_mut(slot) {
                session.subscriptions.insert(held, bytes);
            }
        }
    }

    /// The numbers of a filter, or of a group, that somebody is subscribed to.
    pub(crate) fn find_held(&self, wanted: &SubscriptionFilter) -> Option<Held> {
        let filter = self.subscriptions.find(&wanted.filter)?;
        let Some(name) = &wanted.share else {
            return Some(Held { filter, group: GroupId::NONE });
        };
        let mut groups = self.subscriptions.get(filter)?.groups().iter().copied();
        let group = groups.find(|g| self.groups.get(*g).is_some_and(|g| g.name == *name))?;
        Some(Held { filter, group })
    }

    /// Numbers for a filter, and a group if it is shared and has none.
    pub(crate) fn add_filter(&mut self, wanted: &SubscriptionFilter) -> Held {
        let filter: FilterId = self.subscriptions.find_or_add(&wanted.filter);
        let Some(name) = &wanted.share else { return Held { filter, group: GroupId::NONE } };
        let group = self.groups.add(name.clone(), filter);
        if let Some(filter) = self.subscriptions.get_mut(filter) {
            filter.add_group(group);
        }
        Held { filter, group }
    }

    /// The retained messages under one filter, each filter for itself (MQTT-3.3.1-9…11).
    fn send_retained(&mut self, turn: &Turn, slot: u32, asked: &Subscribe) {
        if self.has_enough(slot) {
            return;
        }
        let own = self.sessions.at(slot).and_then(|s| s.key.clone()).filter(|_| asked.no_local);
        let identifiers = self.identifiers.list(asked.identifier.into_iter());
        let filter = &asked.filter.filter;
        let mut messages = self.retained.matching(filter, turn.now, usize::MAX);
        messages.extend(self.own.matching(filter, turn.now, usize::MAX));
        for message in messages {
            if self.has_enough(slot) {
                return;
            }
            if own.is_some() && message.publisher == own
                || asked.spares_dollar && shows_dollar(filter, &message.topic)
            {
                continue;
            }
            let outgoing = Outgoing {
                qos: message.qos.min(asked.qos),
                retain: true, // whatever retain-as-published says (mqtt.md 2.4)
                identifiers: identifiers.clone(),
                group: GroupId::NONE,
                snapshot: true,
            };
            self.offer(turn, slot, &message, outgoing);
        }
    }

    /// Where no more retained messages may wait, the rest of a SUBSCRIBE is dropped as one, and
    /// not looked for: thousands of filters in a packet would hold everybody up.
    fn has_enough(&mut self, slot: u32) -> bool {
        let Some(session) = self.sessions.at(slot) else { return true };
        let (id, full) = (session.id, self.holds_all_snapshots(session));
        if full {
            self.dropped(id, Reason::QueueFull);
        }
        full
    }

    pub(crate) fn unsubscribe(
        &mut self,
        turn: &Turn,
        ticket: Ticket,
        session: SessionId,
        filters: &[SubscriptionFilter],
    ) {
        let slot = self.sessions.get(session).map(|s| s.slot());
        let mut existed = Vec::with_capacity(filters.len());
        let mut left = Vec::new();
        for filter in filters {
            let held = slot.and_then(|slot| self.remove_subscription(slot, session, filter));
            left.extend(held);
            existed.push(held.is_some());
        }
        let answer = self.effects.len();
        let unsubscribed = |existed, after| Effect::Unsubscribed { ticket, existed, after };
        self.effects.push_back(unsubscribed(existed.clone(), motegate_message::Seq::NONE));
        if let Some(slot) = slot {
            for held in left.iter().filter(|held| held.group != GroupId::NONE) {
                self.hand_over_waiting(turn, slot, Some(held.group));
            }
            let left: Vec<&TopicFilter> = (filters.iter().zip(&existed))
                .filter(|(filter, existed)| **existed && filter.share.is_none())
                .map(|(filter, _)| &filter.filter)
                .collect();
            if !left.is_empty() {
                self.drop_unsubscribed(turn, slot, &left);
            }
            self.pump(turn, slot);
        }
        let mut after = self.journal.after(turn);
        let durable = slot.and_then(|slot| self.sessions.at(slot)).is_some_and(|s| s.durable);
        if durable && existed.contains(&false) {
            // Perhaps a repeat: it may not be answered before the first one is stored.
            after = after.max(self.journal.after_latest());
        }
        if let Some(effect) = self.effects.get_mut(answer) {
            *effect = unsubscribed(existed, after);
        }
    }

    /// All old filters go before the first new one comes: one may be the other.
    pub(crate) fn resubscribe(
        &mut self,
        turn: &Turn,
        ticket: Ticket,
        session: SessionId,
        from: &[SubscriptionFilter],
        to: &[Subscribe],
    ) {
        if let Some(slot) = self.sessions.get(session).map(|s| s.slot()) {
            for filter in from {
                let held = self.remove_subscription(slot, session, filter);
                if let Some(held) = held.filter(|held| held.group != GroupId::NONE) {
                    self.hand_over_waiting(turn, slot, Some(held.group));
                }
            }
            self.pump(turn, slot);
        }
        self.subscribe(turn, ticket, session, to, None);
    }

    fn remove_subscription(
        &mut self,
        slot: u32,
        id: SessionId,
        wanted: &SubscriptionFilter,
    ) -> Option<Held> {
        let held = self.find_held(wanted)?;
        let bytes = text_of(wanted).len();
        let session = self.sessions.at_mut(slot)?;
        let durable = session.durable;
        if !session.subscriptions.remove(held, bytes) {
            return None;
        }
        self.forget_subscription(slot, id, durable, held);
        Some(held)
    }

    /// What waits only because of a filter that the client has just left is dropped; what was
    /// started is finished (MQTT-3.10.4-3). What waits because of one that was replaced stays.
    fn drop_unsubscribed(&mut self, turn: &Turn, slot: u32, left: &[&TopicFilter]) {
        self.purge_expired(turn, slot);
        let mut scratch = core::mem::take(&mut self.matched);
        let mut from = 0;
        let ordinary = |e: &Entry| e.group == GroupId::NONE;
        while let Some(at) =
            self.sessions.at(slot).and_then(|s| s.queue.find_unsent(from, ordinary))
        {
            let Some(entry) = self.sessions.at(slot).and_then(|s| s.queue.get(at)) else { break };
            let topic = &entry.message.topic;
            let because = left.iter().any(|filter| filter.matches(topic));
            if !because || self.subscriptions.is_subscribed(slot, topic, &mut scratch) {
                from = at + 1;
            } else {
                from = at;
                self.remove_entry(slot, at);
            }
        }
        self.matched = scratch;
    }
}

fn sends_retained(asked: &Subscribe, new: bool) -> bool {
    asked.filter.share.is_none() // MQTT 5 §4.8.2
        && match asked.retain_handling {
            RetainHandling::Always => true,
            RetainHandling::IfNew => new,
            RetainHandling::Never => false,
        }
}

fn text_of(filter: &SubscriptionFilter) -> FilterText<'_> {
    FilterText { share: filter.share.as_deref(), filter: filter.filter.as_str() }
}
