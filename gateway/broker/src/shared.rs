//! Groups of shared subscriptions (MQTT 5 §4.8.2): one copy goes to one member.
//!
//! A group is a share name and a filter. Members take turns: first those that can take the
//! message now, then those that are connected, then those that queue it offline. When a member's
//! session ends, what it held goes to another; what a member without a durable session held at a
//! crash is not in the journal and is lost with it.

use alloc::sync::Arc;

use hashbrown::HashMap;
use motegate_message::{Qos, Reason, Turn};

use crate::queue::{Entry, Progress};
use crate::subscriptions::{FilterId, Subscriber, Subscribers};
use crate::{Broker, Effect};

/// A group's number, never used twice while anything can still name it; 0 is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct GroupId(u32);

impl GroupId {
    /// No group: an ordinary subscription.
    pub(crate) const NONE: GroupId = GroupId(0);
}

/// How well a member can take a message; the lowest is best.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Readiness {
    Ready,
    Connected,
    Offline,
}

/// One group.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) name: Arc<str>,
    pub(crate) filter: FilterId,
    pub(crate) members: Subscribers,
    /// Whose turn it is.
    turn: usize,
}

impl Group {
    /// The member whose turn it is among the readiest; `except` is passed by.
    pub(crate) fn pick(
        &mut self,
        except: Option<u32>,
        readiness: impl Fn(u32) -> Readiness,
    ) -> Option<Subscriber> {
        let at = self.find(except, readiness)?;
        self.turn = at + 1;
        self.members.as_slice().get(at).copied()
    }

    /// The member that `pick` would take.
    pub(crate) fn choose(
        &self,
        except: Option<u32>,
        readiness: impl Fn(u32) -> Readiness,
    ) -> Option<Subscriber> {
        let at = self.find(except, readiness)?;
        self.members.as_slice().get(at).copied()
    }

    fn find(&self, except: Option<u32>, readiness: impl Fn(u32) -> Readiness) -> Option<usize> {
        let members = self.members.as_slice();
        let count = members.len();
        let mut best: Option<(Readiness, usize)> = None;
        for step in 0..count {
            let at = (self.turn + step) % count;
            let slot = members[at].slot;
            if except == Some(slot) {
                continue;
            }
            let ready = readiness(slot);
            if best.is_none_or(|(so_far, _)| ready < so_far) {
                best = Some((ready, at));
            }
            if ready == Readiness::Ready {
                break;
            }
        }
        best.map(|(_, at)| at)
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
                let group = Group { name, filter, members: Subscribers::None, turn: 0 };
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
        let movable = entry.progress == Progress::Waiting || entry.qos != Qos::ExactlyOnce;
        if entry.group == GroupId::NONE || !movable {
            return;
        }
        if !self.share(turn, &entry.message, entry.group, None) {
            self.effects.push_back(Effect::Dropped { session: None, reason: Reason::NoReceiver });
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
            let (message, group) = (entry.message.clone(), entry.group);
            if left.is_none() && !self.has_other_connected(group, slot) {
                from = at + 1;
                continue;
            }
            let taken = self.share(turn, &message, group, Some(slot));
            self.remove_entry(slot, at);
            if !taken {
                let (session, reason) = (None, Reason::NoReceiver);
                self.effects.push_back(Effect::Dropped { session, reason });
            }
        }
    }

    fn has_other_connected(&self, group: GroupId, slot: u32) -> bool {
        let members = self.groups.get(group).map_or(&[][..], |g| g.members.as_slice());
        let connected = |slot: u32| self.sessions.at(slot).is_some_and(|s| s.connected);
        members.iter().any(|member| member.slot != slot && connected(member.slot))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::subscriptions::Grant;
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
            };
            members.set(Subscriber { slot: *slot, grant });
        }
        Group { name: "g".into(), filter: FilterId::new(0), members, turn: 0 }
    }

    #[test]
    fn members_take_turns() {
        let mut group = group(&[1, 2, 3]);
        let picks: Vec<u32> =
            (0..6).filter_map(|_| group.pick(None, |_| Readiness::Ready)).map(|s| s.slot).collect();
        assert_eq!(picks, [1, 2, 3, 1, 2, 3]);
    }

    #[test]
    fn the_readiest_is_served_first() {
        let mut group = group(&[1, 2, 3]);
        let by_slot = |slot| match slot {
            1 => Readiness::Offline,
            2 => Readiness::Connected,
            _ => Readiness::Ready,
        };
        assert_eq!(group.pick(None, by_slot).map(|s| s.slot), Some(3));
        assert_eq!(group.pick(Some(3), by_slot).map(|s| s.slot), Some(2));
        assert_eq!(group.pick(None, |_| Readiness::Offline).map(|s| s.slot), Some(3));
        let mut alone = self::group(&[7]);
        assert!(alone.pick(Some(7), |_| Readiness::Ready).is_none());
    }
}
