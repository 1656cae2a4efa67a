//! Read-only views for whoever asks about a running gateway: sessions, the receivers of a topic,
//! limits and their use. (Retained topics by level are in `levels.rs`.)
//!
//! Nothing here changes what the broker does next. Every call is bounded by its own `limit`
//! (and [`Broker::receivers`] by what finding the filters of one publish costs), so that a
//! question never holds up messages.

use alloc::collections::BinaryHeap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cmp::Reverse;

use motegate_message::{Qos, SessionId, SessionKey, TopicFilter, TopicName};
use motegate_timers::Instant;

use crate::session::Session;
use crate::shared::{GroupId, Wanted};
use crate::subscriptions::{FilterId, Grant, shows_dollar};
use crate::trie::number;
use crate::{Broker, Config, Handle, QueuePolicy};

/// A session as it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionView<'a> {
    /// Its number.
    pub id: SessionId,
    /// Its name, if it has one.
    pub key: Option<&'a SessionKey>,
    /// Where its deliveries go; `None` while it has no connection.
    pub handle: Option<Handle>,
    /// When it ends; `None` while it is connected, and for one that never expires.
    pub ends: Option<Instant>,
    /// Subscriptions, shared ones included.
    pub subscriptions: usize,
    /// Messages that wait and count against the bounds of `queue`.
    pub queued_messages: u32,
    /// Bytes of them.
    pub queued_bytes: u64,
    /// Deliveries that were made and are not acknowledged.
    pub in_flight: usize,
    /// Bounds of its queue now.
    pub queue: QueuePolicy,
    /// Whether it outlives its connection.
    pub kept: bool,
    /// Whether it holds a will.
    pub has_will: bool,
}

/// One subscription of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscriptionView {
    /// What is subscribed to.
    pub filter: TopicFilter,
    /// The share name of a shared subscription.
    pub share: Option<Arc<str>>,
    /// Highest QoS granted.
    pub qos: Qos,
    /// Not what this client published itself.
    pub no_local: bool,
    /// Live deliveries keep the RETAIN flag of the publisher.
    pub retain_as_published: bool,
    /// Subscription Identifier.
    pub identifier: Option<u32>,
    /// As in [`Subscribe`](crate::Subscribe).
    pub by_rule: bool,
}

/// What would become of a message for one session, were it published now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// It is delivered at once.
    Now,
    /// It waits in the session's queue.
    Queued,
    /// It is dropped: QoS 0, and the session is away and keeps none.
    Dropped,
}

/// A session that a message goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receiver {
    /// Which; [`Broker::session`] tells the rest.
    pub session: SessionId,
    /// The lower of the message's QoS and the highest granted.
    pub qos: Qos,
    /// How many of its filters match.
    pub filters: u32,
    /// Whether it asked not to hear what it published itself.
    pub no_local: bool,
    /// What would become of the message.
    pub reach: Reach,
}

/// A group of shared subscriptions, of which one member gets the message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupView {
    /// Its share name.
    pub share: Arc<str>,
    /// Its filter.
    pub filter: TopicFilter,
    /// How many share.
    pub members: usize,
    /// Who would get the message now.
    pub next: Option<Receiver>,
}

/// How much of each limit of [`Config`] is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Sessions, offline ones included.
    pub sessions: usize,
    /// Of these, those that have a name: a client each, except CoAP's.
    pub named: usize,
    /// Of those that have a name, the connected ones; asleep is connected.
    pub connected: usize,
    /// Subscriptions of all sessions.
    pub subscriptions: usize,
    /// Of these, shared ones.
    pub shared_subscriptions: usize,
    /// Groups of shared subscriptions.
    pub share_groups: usize,
    /// Bytes that wait in all queues, in memory.
    pub queued_bytes: u64,
    /// Messages of them.
    pub queued_messages: u64,
    /// The same, on disk only; after a restart what was counted again.
    pub disk_bytes: u64,
    /// Retained messages.
    pub retained_messages: usize,
    /// Bytes of them.
    pub retained_bytes: usize,
}

/// How often each limit has acted: refused, or dropped a message. Since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Acted {
    /// A session was refused: [`Config::max_sessions`].
    pub max_sessions: u64,
    /// A subscription was refused.
    pub max_subscriptions_per_session: u64,
    /// A subscription was refused.
    pub max_subscription_bytes_per_session: u64,
    /// A subscription was refused.
    pub max_subscriptions: u64,
    /// A shared subscription was refused.
    pub max_share_groups: u64,
    /// A message was dropped: [`QueuePolicy::max_messages`].
    pub max_queued_messages: u64,
    /// A message was dropped: [`QueuePolicy::max_bytes`].
    pub max_queued_bytes: u64,
    /// A message was dropped because all queues together were too big.
    pub max_memory_queued: u64,
    /// A message was dropped because all queues together were too big on disk.
    pub max_disk_queued: u64,
    /// A message had to wait because the client had not acknowledged enough of those before it.
    pub max_inflight: u64,
    /// A new retained message was refused.
    pub max_retained_messages: u64,
    /// A new retained message was refused.
    pub max_retained_bytes: u64,
}

impl Acted {
    /// Each with the key of its limit.
    #[must_use]
    pub const fn rows(&self) -> [(&'static str, u64); 11] {
        [
            ("max_sessions", self.max_sessions),
            ("max_subscriptions_per_session", self.max_subscriptions_per_session),
            ("max_subscription_bytes_per_session", self.max_subscription_bytes_per_session),
            ("max_subscriptions", self.max_subscriptions),
            ("max_share_groups", self.max_share_groups),
            ("max_queued_messages", self.max_queued_messages),
            ("max_queued_bytes", self.max_queued_bytes),
            ("max_memory_queued", self.max_memory_queued),
            ("max_disk_queued", self.max_disk_queued),
            ("max_retained_messages", self.max_retained_messages),
            ("max_retained_bytes", self.max_retained_bytes),
        ]
    }
}

impl Broker {
    /// Sessions lie in slots below this number; some are empty.
    #[must_use]
    pub fn session_slots(&self) -> u32 {
        self.sessions.slots()
    }

    /// The session in a slot.
    #[must_use]
    pub fn session_at(&self, slot: u32) -> Option<SessionView<'_>> {
        self.sessions.at(slot).map(view)
    }

    /// A session by its number.
    #[must_use]
    pub fn session(&self, id: SessionId) -> Option<SessionView<'_>> {
        self.sessions.get(id).map(view)
    }

    /// A session by its name.
    #[must_use]
    pub fn find_session(&self, key: &SessionKey) -> Option<SessionId> {
        self.sessions.find(key)
    }

    /// A session's subscriptions, at most `limit`.
    #[must_use]
    pub fn subscriptions_of(&self, id: SessionId, limit: usize) -> Vec<SubscriptionView> {
        let Some(session) = self.sessions.get(id) else { return Vec::new() };
        let slot = session.slot();
        let held = session.subscriptions.as_slice().iter().take(limit);
        let one = |held: &crate::subscriptions::Held| {
            let filter = self.subscriptions.get(held.filter)?;
            let group = self.groups.get(held.group);
            let grant = match group {
                Some(group) => group.members.get(slot)?,
                None => filter.subscribers.get(slot)?,
            };
            Some(SubscriptionView {
                filter: filter.text.clone(),
                share: group.map(|group| group.name.clone()),
                qos: grant.qos,
                no_local: grant.no_local,
                retain_as_published: grant.retain_as_published,
                identifier: (grant.identifier != 0).then_some(grant.identifier),
                by_rule: grant.marks.by_rule(),
            })
        };
        held.filter_map(one).collect()
    }

    /// The sessions that a message on `topic` goes to by ordinary subscriptions, in the order of
    /// their slots, at most `limit`, from the slot `from` on.
    pub fn receivers(
        &mut self,
        topic: &TopicName,
        qos: Qos,
        from: u32,
        limit: usize,
    ) -> Vec<Receiver> {
        let filters = self.filters_of(topic);
        let lists: Vec<_> = filters
            .iter()
            .filter_map(|id| self.subscriptions.get(*id))
            .map(|f| (f.subscribers.as_slice(), shows_dollar(&f.text, topic)))
            .collect();
        // Each list is sorted by slot: the lists are merged, and no more of them is looked at
        // than what is answered.
        let mut heads: BinaryHeap<Reverse<(u32, usize, usize)>> = BinaryHeap::new();
        for (list, (subscribers, _)) in lists.iter().enumerate() {
            let at = subscribers.partition_point(|s| s.slot < from);
            heads.extend(subscribers.get(at).map(|s| Reverse((s.slot, list, at))));
        }
        let mut found: Vec<(u32, Grant, u32)> = Vec::new();
        while let Some(Reverse((slot, list, at))) = heads.pop() {
            let (subscribers, dollar) = lists[list];
            let grant = subscribers[at].grant;
            let full = found.len() == limit;
            match found.last_mut() {
                _ if dollar && grant.marks.spares_dollar() => {}
                Some((last, merged, count)) if *last == slot => {
                    merged.qos = merged.qos.max(grant.qos);
                    merged.no_local &= grant.no_local;
                    *count += 1;
                }
                _ if full => break,
                _ => found.push((slot, grant, 1)),
            }
            heads.extend(subscribers.get(at + 1).map(|s| Reverse((s.slot, list, at + 1))));
        }
        let receiver = |(slot, grant, filters)| self.receiver(slot, qos, grant, filters);
        found.into_iter().filter_map(receiver).collect()
    }

    /// The groups of shared subscriptions that a message on `topic` goes to, at most `limit`.
    pub fn groups_of(&mut self, topic: &TopicName, qos: Qos, limit: usize) -> Vec<GroupView> {
        let filters = self.filters_of(topic);
        let filters = filters.iter().filter_map(|id| self.subscriptions.get(*id));
        let groups: Vec<(GroupId, TopicFilter)> = filters
            .flat_map(|filter| filter.groups().iter().map(|id| (*id, filter.text.clone())))
            .take(limit)
            .collect();
        let view = |(id, filter): (GroupId, TopicFilter)| {
            let group = self.groups.get(id)?;
            let strategy = self.config.shared_strategy;
            let spares_dollar = shows_dollar(&filter, topic);
            let wanted = Wanted { strategy, topic: topic.as_str(), passed: &[], spares_dollar };
            let next = group.choose(wanted, |member| self.sessions.readiness(member, qos));
            Some(GroupView {
                share: group.name.clone(),
                filter,
                members: group.members.as_slice().len(),
                next: next.and_then(|next| self.receiver(next.slot, qos, next.grant, 1)),
            })
        };
        groups.into_iter().filter_map(view).collect()
    }

    fn filters_of(&mut self, topic: &TopicName) -> Vec<FilterId> {
        let mut filters = Vec::new();
        self.subscriptions.matching(topic, &mut filters);
        filters
    }

    fn receiver(&self, slot: u32, qos: Qos, grant: Grant, filters: u32) -> Option<Receiver> {
        let session = self.sessions.at(slot)?;
        let qos = qos.min(grant.qos);
        let reach = if session.takes_now(qos) {
            Reach::Now
        } else if session.loses(qos) {
            Reach::Dropped
        } else {
            Reach::Queued
        };
        Some(Receiver { session: session.id, qos, filters, no_local: grant.no_local, reach })
    }

    /// What the limits are.
    #[must_use]
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// How much of them is used.
    #[must_use]
    pub fn usage(&self) -> Usage {
        Usage {
            sessions: self.sessions.len(),
            named: self.sessions.named(),
            connected: self.sessions.connected(),
            subscriptions: self.subscribed,
            shared_subscriptions: self.shared_subscribed,
            share_groups: self.groups.len(),
            queued_bytes: self.queued.bytes,
            queued_messages: self.queued.messages,
            disk_bytes: self.disk_bytes,
            retained_messages: self.retained.len(),
            retained_bytes: self.retained.bytes(),
        }
    }

    /// Sessions that ended because their time was over, since the start.
    #[must_use]
    pub const fn expired_sessions(&self) -> u64 {
        self.expired_sessions
    }

    /// How often they have acted.
    #[must_use]
    pub const fn acted(&self) -> &Acted {
        &self.acted
    }
}

fn view(session: &Session) -> SessionView<'_> {
    SessionView {
        id: session.id,
        key: session.key.as_ref(),
        handle: session.connected.then_some(session.handle),
        ends: (session.ends != Instant::FAR_FUTURE).then_some(session.ends),
        subscriptions: session.subscriptions.len(),
        queued_messages: session.queue.waiting(),
        queued_bytes: session.queue.bytes(),
        in_flight: session.queue.started(),
        queue: session.policy,
        kept: !session.is_transient(),
        has_will: session.will.is_some(),
    }
}

impl crate::session::Sessions {
    fn slots(&self) -> u32 {
        number(self.slot_count())
    }
}
