//! Groups of shared subscriptions (MQTT 5 §4.8.2): one copy goes to one member.
//!
//! A group is a share name and a filter. Who gets a message is one of the readiest members: those
//! that can take it now, then those that are connected, then those that queue it offline; among
//! them as [`SharedStrategy`] says. When a member's session ends, what it held goes to others in the
//! order in which it held it; what a member without a durable session held at a crash is not in the
//! journal and is lost with it. A message that is too large for one member goes to the next.

use alloc::sync::Arc;
use alloc::vec::Vec;

use hashbrown::HashMap;
use motegate_message::{DeliveryId, Message, Qos, Reason, SessionId, Turn};

use crate::queue::Entry;
use crate::retained::etag;
use crate::subscriptions::{FilterId, Subscriber, Subscribers};
use crate::{Broker, Effect, SharedStrategy};

/// So many members are asked to take a message that is too large for those before.
const MAX_TRIES: usize = 16;
/// Messages that were too large for somebody and wait for another, remembered at most.
const MAX_PASSED: usize = 64;

/// A group's number, never used twice while anything can still name it; 0 is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct GroupId(u32);

impl GroupId {
    /// No group: an ordinary subscription.
    pub(crate) const NONE: GroupId = GroupId(0);

    pub(crate) const fn new(number: u32) -> Self {
        GroupId(number)
    }

    pub(crate) const fn get(self) -> u32 {
        self.0
    }
}

/// How well a member can take a message; the lowest is best.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Readiness {
    /// It has credit, also for what must be acknowledged, and nothing waits for it.
    Ready,
    /// It queues it.
    Connected,
    /// It queues it until it comes back.
    Offline,
    /// It is away and keeps nothing of this QoS.
    Dropping,
}

/// A message that was too large for some members, and is on its way to another.
#[derive(Debug)]
pub(crate) struct Passed {
    session: SessionId,
    delivery: DeliveryId,
    /// Those before.
    slots: Vec<u32>,
}

/// What a member is looked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'a> {
    pub(crate) strategy: SharedStrategy,
    pub(crate) topic: &'a str,
    /// These are passed by…
    pub(crate) passed: &'a [u32],
    /// …and who [spares](crate::Subscribe::spares_dollar) topics with a `$`: this is one.
    pub(crate) spares_dollar: bool,
}

impl Wanted<'_> {
    fn may_take(&self, member: &Subscriber) -> bool {
        let spared = self.spares_dollar && member.grant.marks.spares_dollar();
        !spared && !self.passed.contains(&member.slot)
    }
}

/// One group.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) name: Arc<str>,
    pub(crate) filter: FilterId,
    pub(crate) members: Subscribers,
    /// Who got the last one.
    last: Option<u32>,
}

impl Group {
    /// This member got one.
    pub(crate) fn took(&mut self, slot: u32) {
        self.last = Some(slot);
    }

    /// The member whose turn it is among the readiest.
    pub(crate) fn choose(
        &self,
        wanted: Wanted<'_>,
        readiness: impl Fn(&Subscriber) -> Readiness,
    ) -> Option<Subscriber> {
        let members = self.members.as_slice();
        let (before, after) = members.split_at_checked(self.first(wanted))?;
        let mut best: Option<(Readiness, Subscriber)> = None;
        let in_turn = after.iter().chain(before);
        for member in in_turn.filter(|member| wanted.may_take(member)) {
            let ready = readiness(member);
            if best.is_none_or(|(so_far, _)| ready < so_far) {
                best = Some((ready, *member));
            }
            if ready == Readiness::Ready {
                break;
            }
        }
        best.map(|(_, member)| member)
    }

    /// Where the search begins: at the readiest member from there on it ends.
    fn first(&self, wanted: Wanted<'_>) -> usize {
        let members = self.members.as_slice();
        match wanted.strategy {
            SharedStrategy::RoundRobin => members.partition_point(|m| Some(m.slot) <= self.last),
            SharedStrategy::Sticky => members.partition_point(|m| Some(m.slot) < self.last),
            SharedStrategy::HashTopic => {
                let place = etag(None, wanted.topic.as_bytes()).checked_rem(members.len() as u64);
                place.and_then(|place| usize::try_from(place).ok()).unwrap_or(0)
            }
        }
    }
}

/// All groups.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    groups: HashMap<GroupId, Group>,
    last: u32,
}

impl Groups {
    pub(crate) fn len(&self) -> usize {
        self.groups.len()
    }

    pub(crate) fn add(&mut self, name: Arc<str>, filter: FilterId) -> GroupId {
        loop {
            self.last = self.last.wrapping_add(1);
            let id = GroupId(self.last);
            if id != GroupId::NONE && !self.groups.contains_key(&id) {
                let group = Group { name, filter, members: Subscribers::None, last: None };
                self.groups.insert(id, group);
                return id;
            }
        }
    }

    pub(crate) fn get(&self, id: GroupId) -> Option<&Group> {
        self.groups.get(&id)
    }

    pub(crate) fn get_mut(&mut self, id: GroupId) -> Option<&mut Group> {
        self.groups.get_mut(&id)
    }

    /// Takes a member out; whether the group went with it.
    pub(crate) fn leave(&mut self, id: GroupId, slot: u32) -> bool {
        let Some(group) = self.groups.get_mut(&id) else { return false };
        group.members.remove(slot);
        if !group.members.as_slice().is_empty() {
            return false;
        }
        self.groups.remove(&id);
        if self.groups.is_empty() {
            self.groups = HashMap::new();
        }
        true
    }
}

impl Broker {
    /// What was shared to a session that ended goes to another member, as a new message; QoS 2
    /// that may have been sent stays with who may have it (MQTT-4.8.2-5).
    pub(crate) fn hand_over_ended(&mut self, turn: &Turn, entry: &Entry) {
        let movable = entry.progress.is_unsent() || entry.qos != Qos::ExactlyOnce;
        if entry.group != GroupId::NONE && movable {
            self.share_again(turn, &entry.message, entry.group, &[]);
        }
    }

    /// What was shared to this session and waits goes to another member: of `left`, the group that
    /// it unsubscribed from, to anyone; of all groups, because its connection is over, to a
    /// member that is connected. What was sent stays (MQTT-3.10.4-3).
    pub(crate) fn hand_over_waiting(&mut self, turn: &Turn, slot: u32, left: Option<GroupId>) {
        let mut from = 0;
        let shared = |e: &Entry| e.group != GroupId::NONE && left.is_none_or(|g| g == e.group);
        while let Some(at) = self.sessions.at(slot).and_then(|s| s.queue.find_unsent(from, shared))
        {
            from = at;
            let Some(entry) = self.sessions.at(slot).and_then(|s| s.queue.get(at)) else { return };
            let group = entry.group;
            if left.is_none() && !self.has_other_connected(group, slot, &entry.message) {
                from = at + 1;
                continue;
            }
            let Some(entry) = self.remove_entry(slot, at) else { return };
            self.share_again(turn, &entry.message, group, &[slot]);
        }
    }

    fn has_other_connected(&self, group: GroupId, slot: u32, message: &Message) -> bool {
        let members = self.groups.get(group).map_or(&[][..], |g| g.members.as_slice());
        let connected = |slot: u32| self.sessions.at(slot).is_some_and(|s| s.connected);
        let wanted = Wanted {
            strategy: self.config.shared_strategy,
            topic: message.topic.as_str(),
            passed: &[slot],
            spares_dollar: self.is_spared(group, message),
        };
        members.iter().any(|member| wanted.may_take(member) && connected(member.slot))
    }

    /// Whoever held it does not any more: for another it is new, and expires as such.
    pub(crate) fn share_again(
        &mut self,
        turn: &Turn,
        message: &Arc<Message>,
        group: GroupId,
        passed: &[u32],
    ) -> Option<(SessionId, DeliveryId)> {
        let (session, mut reason) = (None, Reason::NoReceiver);
        if message.is_expired(turn.now) {
            reason = Reason::MessageExpired;
        } else if let Some(taken) = self.share(turn, message, group, passed) {
            return Some(taken);
        } else if !passed.is_empty() && self.groups.get(group).is_some() {
            reason = Reason::TooLarge; // for all
        }
        self.effects.push_back(Effect::Dropped { session, reason });
        None
    }

    /// A message that was shared to this session is too large for its client: the next member gets
    /// it (MQTT 5 §3.1.2.11.4 lets the server choose another).
    pub(crate) fn too_large(
        &mut self,
        turn: &Turn,
        id: SessionId,
        delivery: DeliveryId,
        message: &Arc<Message>,
        group: GroupId,
    ) {
        let of = |p: &Passed| p.session == id && p.delivery == delivery;
        let known = self.passed.iter().position(of).and_then(|at| self.passed.remove(at));
        let mut slots = known.map_or_else(Vec::new, |passed| passed.slots);
        let slot = self.sessions.get(id).map(|session| session.slot());
        if let Some(slot) = slot {
            let started = self.sessions.at(slot).and_then(|s| s.queue.find_started(delivery));
            started.and_then(|at| self.remove_entry(slot, at));
            slots.push(slot);
        }
        if slots.len() > MAX_TRIES {
            let (session, reason) = (None, Reason::TooLarge);
            self.effects.push_back(Effect::Dropped { session, reason });
        } else if let Some((session, delivery)) = self.share_again(turn, message, group, &slots) {
            if self.passed.len() >= MAX_PASSED {
                self.passed.pop_front(); // then it may be offered to one of those again
            }
            self.passed.push_back(Passed { session, delivery, slots });
        }
        if let Some(slot) = slot {
            self.pump(turn, slot);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::subscriptions::{Grant, Marks};
    use alloc::vec::Vec;
    use motegate_message::Qos;

    fn group(slots: &[u32]) -> Group {
        let mut members = Subscribers::None;
        for slot in slots {
            let grant = Grant {
                identifier: 0,
                qos: Qos::AtLeastOnce,
                no_local: false,
                retain_as_published: false,
                marks: Marks::default(),
            };
            members.set(Subscriber { slot: *slot, grant });
        }
        Group { name: "g".into(), filter: FilterId::new(0), members, last: None }
    }

    fn next(strategy: SharedStrategy) -> Wanted<'static> {
        Wanted { strategy, topic: "t", passed: &[], spares_dollar: false }
    }

    fn pick(
        group: &mut Group,
        wanted: Wanted<'_>,
        readiness: impl Fn(&Subscriber) -> Readiness,
    ) -> Option<u32> {
        let picked = group.choose(wanted, readiness)?.slot;
        group.took(picked);
        Some(picked)
    }

    const IN_TURN: SharedStrategy = SharedStrategy::RoundRobin;

    #[test]
    fn members_take_turns_also_when_one_leaves() {
        let mut group = group(&[1, 2, 3]);
        let picks = |n: usize, group: &mut Group| -> Vec<u32> {
            let one = |_| pick(group, next(IN_TURN), |_| Readiness::Ready);
            (0..n).filter_map(one).collect()
        };
        assert_eq!(picks(6, &mut group), [1, 2, 3, 1, 2, 3]);
        assert_eq!(picks(1, &mut group), [1]);
        group.members.remove(1);
        assert_eq!(picks(3, &mut group), [2, 3, 2], "nobody is passed over");
    }

    #[test]
    fn the_readiest_is_served_first() {
        let mut group = group(&[1, 2, 3, 4]);
        let by_slot = |member: &Subscriber| match member.slot {
            1 => Readiness::Offline,
            2 => Readiness::Connected,
            3 => Readiness::Ready,
            _ => Readiness::Dropping,
        };
        let passing = |passed| Wanted { passed, ..next(IN_TURN) };
        let mut picks = Vec::new();
        for passed in [&[][..], &[3], &[3, 2], &[3, 2, 1], &[1, 2, 3, 4]] {
            picks.push(pick(&mut group, passing(passed), by_slot));
        }
        assert_eq!(picks, [Some(3), Some(2), Some(1), Some(4), None]);
    }

    #[test]
    fn one_keeps_it_or_the_topic_decides() {
        let mut group = group(&[1, 2, 3]);
        let ready = |_: &Subscriber| Readiness::Ready;
        let sticky = next(SharedStrategy::Sticky);
        let only_2 = |m: &Subscriber| {
            if m.slot == 2 { Readiness::Ready } else { Readiness::Connected }
        };
        assert_eq!(pick(&mut group, sticky, ready), Some(1));
        assert_eq!(pick(&mut group, sticky, ready), Some(1));
        assert_eq!(pick(&mut group, sticky, only_2), Some(2));
        assert_eq!(pick(&mut group, sticky, ready), Some(2), "also when the other is back");
        group.members.remove(2);
        assert_eq!(pick(&mut group, sticky, ready), Some(3));
        let mut by_topic = |topic| {
            let wanted = Wanted { topic, ..next(SharedStrategy::HashTopic) };
            pick(&mut group, wanted, ready)
        };
        let topics = ["a", "b", "c", "d", "e", "f"];
        let first: Vec<_> = topics.map(&mut by_topic).into();
        assert_eq!(first, topics.map(&mut by_topic));
        assert!(first.contains(&Some(1)) && first.contains(&Some(3)), "{first:?}");
    }
}
