//! A message finds its receivers: retained store, ordinary subscriptions, groups.
//!
//! A session gets one copy of a message however many of its ordinary filters match: at the
//! highest QoS granted, with the identifiers of them all (MQTT-3.3.4-2…4, `protocols/mqtt.md` 2.6).

use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;
use hashbrown::HashSet;
use motegate_message::{DeliveryId, Message, Qos, Reason, SessionId, TopicName, Turn};

use crate::delivery::Outgoing;
use crate::retained::message_etag;
use crate::shared::{GroupId, Wanted};
use crate::subscriptions::{FilterId, Grant, Subscriber, shows_dollar};
use crate::{Broker, Effect, Precondition, Ticket};

/// One subscription that a message matched.
pub(crate) type Hit = Subscriber;

/// The lists of Subscription Identifiers in use: the same few recur with every message.
#[derive(Debug, Default)]
pub(crate) struct Identifiers {
    lists: HashSet<Arc<[u32]>>,
    scratch: Vec<u32>,
}

/// Lists kept at most; beyond it all are forgotten, and those in use live on in their queues.
const MAX_LISTS: usize = 4_096;

impl Identifiers {
    /// The shared list of the identifiers of these subscriptions; `None` when none has one.
    pub(crate) fn of<'a>(&mut self, grants: impl Iterator<Item = &'a Grant>) -> Option<Arc<[u32]>> {
        self.scratch.clear();
        self.scratch.extend(grants.map(|g| g.identifier).filter(|id| *id != 0));
        self.shared()
    }

    /// The shared list of these identifiers.
    pub(crate) fn list(&mut self, identifiers: impl Iterator<Item = u32>) -> Option<Arc<[u32]>> {
        self.scratch.clear();
        self.scratch.extend(identifiers);
        self.shared()
    }

    fn shared(&mut self) -> Option<Arc<[u32]>> {
        if self.scratch.is_empty() {
            return None;
        }
        if let Some(list) = self.lists.get(&*self.scratch) {
            return Some(list.clone());
        }
        if self.lists.len() >= MAX_LISTS {
            self.lists.clear();
        }
        let list: Arc<[u32]> = self.scratch.as_slice().into();
        self.lists.insert(list.clone());
        Some(list)
    }
}

impl Broker {
    /// A publish by a client.
    pub(crate) fn publish(
        &mut self,
        turn: &Turn,
        ticket: Ticket,
        message: Message,
        precondition: Option<Precondition>,
    ) {
        let refusal = self
            .check_precondition(turn, &message, precondition)
            .and_then(|()| self.check_retained_limits(turn, &message))
            .and_then(|()| self.check_store(turn, &message));
        if let Err(reason) = refusal {
            return self.effects.push_back(Effect::Refused { ticket, reason });
        }
        // The answer goes before the deliveries; what it says is known after them.
        let answer = self.effects.len();
        let accepted =
            |created, matched, after| Effect::Accepted { ticket, created, matched, after };
        self.effects.push_back(accepted(false, 0, motegate_message::Seq::NONE));
        let clears = turn.durable && message.retain && message.payload.is_empty();
        let (created, matched) = self.route(turn, message);
        let mut after = self.journal.after(turn);
        if clears {
            // Where nothing is retained: perhaps the clearing before this one is not stored yet.
            after = after.max(self.journal.after_latest());
        }
        if let Some(effect) = self.effects.get_mut(answer) {
            *effect = accepted(created, matched, after);
        }
    }

    /// A will; nobody waits for an answer.
    pub(crate) fn publish_will(&mut self, turn: &Turn, message: Message) {
        match self.check_retained_limits(turn, &message) {
            Ok(()) => {
                self.route(turn, message);
            }
            Err(reason) => self.effects.push_back(Effect::Dropped { session: None, reason }),
        }
    }

    /// RFC 7252 §5.10.8, in the same step as the publish.
    fn check_precondition(
        &self,
        turn: &Turn,
        message: &Message,
        precondition: Option<Precondition>,
    ) -> Result<(), Reason> {
        let Some(precondition) = precondition else { return Ok(()) };
        let present = self.retained.get(&message.topic, turn.now);
        let holds = match precondition {
            Precondition::Absent => present.is_none(),
            Precondition::Match(tags) => {
                present.is_some_and(|value| tags.is_empty() || tags.contains(&message_etag(value)))
            }
        };
        if holds { Ok(()) } else { Err(Reason::PreconditionFailed) }
    }

    /// A new topic needs a place; replacing always works (`protocols/mqtt.md` §4).
    fn check_retained_limits(&mut self, turn: &Turn, message: &Message) -> Result<(), Reason> {
        let stores = message.retain && !message.payload.is_empty() && !message.is_expired(turn.now);
        if !stores || self.retained.peek(&message.topic).is_some() {
            return Ok(());
        }
        let bytes = self.retained.bytes().saturating_add(message.size());
        if self.retained.len() >= self.config.max_retained_messages {
            self.acted.max_retained_messages += 1;
            return Err(Reason::QuotaExceeded);
        }
        if bytes > self.config.max_retained_bytes {
            self.acted.max_retained_bytes += 1;
            return Err(Reason::QuotaExceeded);
        }
        Ok(())
    }

    /// What needs no disk goes on while the store fails.
    fn check_store(&mut self, turn: &Turn, message: &Message) -> Result<(), Reason> {
        if !self.store_failed || !turn.durable {
            return Ok(());
        }
        let mut matched = core::mem::take(&mut self.matched);
        matched.clear();
        self.subscriptions.matching(&message.topic, &mut matched);
        let is_durable = |hit: &Hit| self.sessions.at(hit.slot).is_some_and(|s| s.durable);
        let queued = |id: &FilterId| {
            let Some(filter) = self.subscriptions.get(*id) else { return false };
            let groups = filter.groups().iter().filter_map(|group| self.groups.get(*group));
            filter.subscribers.as_slice().iter().any(is_durable)
                || groups.flat_map(|group| group.members.as_slice()).any(is_durable)
        };
        let needs = message.retain || message.qos > Qos::AtMostOnce && matched.iter().any(queued);
        self.matched = matched;
        if needs { Err(Reason::StorageFull) } else { Ok(()) }
    }

    /// Stores and delivers; whether a retained message was created, and to how many it goes.
    fn route(&mut self, turn: &Turn, mut message: Message) -> (bool, u32) {
        if message.retain {
            message.topic = self.retained.shared_topic(&message.topic);
        }
        let message = Arc::new(message);
        let created = message.retain && self.retain(turn, &message);
        (created, self.spread(turn, &message))
    }

    /// Delivers to whoever is subscribed; to how many it goes.
    pub(crate) fn spread(&mut self, turn: &Turn, message: &Arc<Message>) -> u32 {
        let mut matched = core::mem::take(&mut self.matched);
        matched.clear();
        self.subscriptions.matching(&message.topic, &mut matched);
        let mut hits = core::mem::take(&mut self.hits);
        hits.clear();
        let mut shared = false;
        let dollar = self.has_dollar(message);
        for id in &matched {
            let Some(filter) = self.subscriptions.get(*id) else { continue };
            shared |= !filter.groups().is_empty();
            let subscribers = filter.subscribers.as_slice();
            if dollar && shows_dollar(&filter.text, &message.topic) {
                hits.extend(subscribers.iter().filter(|hit| !hit.grant.marks.spares_dollar()));
            } else {
                hits.extend_from_slice(subscribers);
            }
        }
        if matched.len() > 1 {
            // Bring a session's copies together; one filter's are sorted already.
            hits.sort_unstable_by_key(|hit| (hit.slot, hit.grant.identifier));
        }
        let (first, last) = (hits.first(), hits.last());
        if shared || first.map(|hit| hit.slot) != last.map(|hit| hit.slot) {
            self.journal.begin_fan_out(message);
        }
        let mut count = 0;
        for copies in hits.chunk_by(|a, b| a.slot == b.slot) {
            count += u32::from(self.offer_merged(turn, message, copies));
        }
        if shared {
            let groups: Vec<GroupId> = matched
                .iter()
                .filter_map(|id| self.subscriptions.get(*id))
                .flat_map(|filter| filter.groups().iter().copied())
                .collect();
            for group in groups {
                count += u32::from(self.share(turn, message, group, &[]).is_some());
            }
        }
        self.journal.end_fan_out(message);
        hits.shrink_to(16 * 1024);
        self.hits = hits;
        self.matched = matched;
        count
    }

    /// The retained message of this topic has expired: whoever [hears of
    /// it](crate::Subscribe::hears_expiry) gets an empty one (RFC 7641 §4.2).
    pub(crate) fn tell_expired(&mut self, turn: &Turn, topic: &TopicName) {
        if !self.some_hear_expiry {
            return;
        }
        let mut matched = core::mem::take(&mut self.matched);
        matched.clear();
        self.subscriptions.matching(topic, &mut matched);
        let filters = matched.iter().filter_map(|id| self.subscriptions.get(*id));
        let subscribers = filters.flat_map(|filter| filter.subscribers.as_slice());
        let mut hits: Vec<Hit> =
            subscribers.filter(|hit| hit.grant.marks.hears_expiry()).copied().collect();
        self.matched = matched;
        hits.sort_unstable_by_key(|hit| (hit.slot, hit.grant.identifier));
        let mut message = Message::new(topic.clone(), Bytes::new());
        (message.retain, message.qos) = (true, Qos::AtLeastOnce);
        let message = Arc::new(message);
        for copies in hits.chunk_by(|a, b| a.slot == b.slot) {
            self.offer_merged(turn, &message, copies);
        }
    }

    /// Whether the topic begins with `$` for somebody who sees it from a level below the first on.
    fn has_dollar(&self, message: &Message) -> bool {
        self.some_spare_dollar && message.topic.as_str().contains("/$")
    }

    /// Whether members of a group that [spare](crate::Subscribe::spares_dollar) such topics do not
    /// get this message.
    pub(crate) fn is_spared(&self, group: GroupId, message: &Message) -> bool {
        self.has_dollar(message) && {
            let filter = self.groups.get(group).and_then(|g| self.subscriptions.get(g.filter));
            filter.is_some_and(|filter| shows_dollar(&filter.text, &message.topic))
        }
    }

    /// Replaces or clears the retained message; whether there was none before.
    fn retain(&mut self, turn: &Turn, message: &Arc<Message>) -> bool {
        let existed = self.retained.get(&message.topic, turn.now).is_some();
        // Interval 0 is stored nowhere: the topic's value is over at once (mqtt.md 2.14).
        if message.payload.is_empty() || message.is_expired(turn.now) {
            // MQTT-3.3.1-6, -7.
            if self.retained.remove(&message.topic).is_some() && turn.durable {
                self.journal.retained_gone(&message.topic);
            }
            return false;
        }
        self.retained.set(message); // MQTT-3.3.1-5
        if turn.durable {
            self.journal.retained(turn, message);
        }
        !existed
    }

    /// One copy for one session out of the subscriptions that matched; `false` if none is left
    /// after "no local".
    fn offer_merged(&mut self, turn: &Turn, message: &Arc<Message>, copies: &[Hit]) -> bool {
        let Some(slot) = copies.first().map(|hit| hit.slot) else { return false };
        let Some(session) = self.sessions.at(slot) else { return false };
        // MQTT-3.8.3-3, by client id and filter.
        let own = message.publisher.is_some() && message.publisher == session.key;
        let left = || copies.iter().map(|hit| &hit.grant).filter(|grant| !(own && grant.no_local));
        let Some(granted) = left().map(|grant| grant.qos).max() else { return false };
        let outgoing = Outgoing {
            qos: message.qos.min(granted), // MQTT-3.8.4-8
            retain: message.retain && left().any(|grant| grant.retain_as_published),
            identifiers: self.identifiers.of(left()),
            group: GroupId::NONE,
            snapshot: false,
        };
        self.offer(turn, slot, message, outgoing);
        true
    }

    /// One copy for one member of a group: whose, and its number there. `None` if there is nobody
    /// but those passed by.
    pub(crate) fn share(
        &mut self,
        turn: &Turn,
        message: &Arc<Message>,
        group: GroupId,
        passed: &[u32],
    ) -> Option<(SessionId, DeliveryId)> {
        let strategy = self.config.shared_strategy;
        let spares_dollar = self.is_spared(group, message);
        let wanted = Wanted { strategy, topic: message.topic.as_str(), passed, spares_dollar };
        let (members, sessions) = (self.groups.get_mut(group)?, &self.sessions);
        let picked = members.choose(wanted, |member| sessions.readiness(member, message.qos));
        let Subscriber { slot, grant } = picked?;
        members.took(slot);
        let session = sessions.at(slot)?;
        let taken = (session.id, DeliveryId(session.delivery_mark()));
        let outgoing = Outgoing {
            qos: message.qos.min(grant.qos), // MQTT-4.8.2-3
            retain: message.retain && grant.retain_as_published,
            identifiers: self.identifiers.of(core::iter::once(&grant)),
            group,
            snapshot: false,
        };
        self.offer(turn, slot, message, outgoing);
        Some(taken)
    }
}
