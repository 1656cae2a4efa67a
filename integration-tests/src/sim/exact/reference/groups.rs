//! Shared subscriptions: who may get a message, and that the choice among those is the documented
//! one wherever that can be told: when all could take it.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::{Entry, GroupName, Message, Place, Reference, Strategy, Subscription};

/// One group, as long as it has members.
#[derive(Debug, Clone)]
pub(super) struct Group {
    instance: u32,
    /// Who got the last ones, while all could take them.
    turns: Vec<usize>,
    by_topic: BTreeMap<String, usize>,
}

/// How well a session can take a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Class {
    /// Now.
    Ready,
    /// Now, unless what is in its queue only perhaps is there, or what was too large has its place.
    Perhaps,
    /// Later.
    Connected,
    /// When it is back.
    Offline,
    /// Never.
    Dropping,
}

impl Reference {
    pub(super) fn joined(&mut self, name: &GroupName) {
        let instance = self.number();
        let new = Group { instance, turns: Vec::new(), by_topic: BTreeMap::new() };
        let group = self.groups.entry(name.clone()).or_insert(new);
        (group.turns, group.by_topic) = (Vec::new(), BTreeMap::new());
    }

    /// A session does not have this subscription any more.
    pub(super) fn left(&mut self, subscription: &Subscription) {
        let Some(name) = &subscription.group else { return };
        if self.members(name).is_empty() {
            self.groups.remove(name);
        } else if let Some(group) = self.groups.get_mut(name) {
            (group.turns, group.by_topic) = (Vec::new(), BTreeMap::new());
        }
    }

    pub(super) fn forget_turns(&mut self) {
        for group in self.groups.values_mut() {
            (group.turns, group.by_topic) = (Vec::new(), BTreeMap::new());
        }
    }

    pub(super) fn instance(&self, name: &GroupName) -> u32 {
        self.groups.get(name).map_or(0, |group| group.instance)
    }

    fn members(&self, name: &GroupName) -> Vec<(usize, Subscription)> {
        let of = |s: &&Subscription| s.group.as_ref() == Some(name);
        let found = self.sessions.iter().filter_map(|(who, session)| {
            session.subscriptions.iter().find(of).map(|s| (*who, s.clone()))
        });
        found.collect()
    }

    pub(super) fn class(&self, who: usize, qos: u8) -> Class {
        let Some(session) = self.sessions.get(&who) else { return Class::Dropping };
        let Some(link) = &session.link else {
            let kept = qos > 0 || self.settings.queue_qos0;
            return if kept { Class::Offline } else { Class::Dropping };
        };
        let flying = session.queue.iter().filter(|e| e.flying).count();
        let rejected = if link.rejected.0 == self.event { link.rejected.1 } else { 0 };
        let waits = |e: &&Entry| !e.flying && (e.sent || e.maybe.is_none());
        if session.queue.iter().any(|e| waits(&e)) || flying >= link.window {
            Class::Connected
        } else if session.queue.iter().any(|e| !e.flying) || flying + rejected >= link.window {
            Class::Perhaps
        } else {
            Class::Ready
        }
    }

    /// Who of a group may get a message: the readiest; and whether all are ready.
    fn candidates(
        &self,
        message: &Message,
        name: &GroupName,
        passed: &[usize],
    ) -> (Vec<(usize, Subscription)>, bool) {
        let members = self.members(name);
        let classes: Vec<(Class, &(usize, Subscription))> = (members.iter())
            .filter(|(who, _)| !passed.contains(who))
            .map(|member| (self.class(member.0, message.qos.min(member.1.qos)), member))
            .collect();
        let best = classes.iter().map(|(class, _)| *class).filter(|c| *c != Class::Perhaps).min();
        let best = best.unwrap_or(Class::Perhaps);
        // Who is ready perhaps is as good as ready, or as connected.
        let fits = |class: Class| class == best || class == Class::Perhaps;
        let found: Vec<_> =
            classes.iter().filter(|(c, _)| fits(*c)).map(|(_, m)| (*m).clone()).collect();
        let takes = |(who, subscription): &(usize, Subscription)| {
            self.link(*who).is_some_and(|link| self.is_small_enough(message, subscription, link))
        };
        let all_ready = passed.is_empty()
            && classes.iter().all(|(c, member)| *c == Class::Ready && takes(member));
        let dropping = found
            .iter()
            .all(|(who, s)| self.class(*who, message.qos.min(s.qos)) == Class::Dropping);
        if dropping { (Vec::new(), false) } else { (found, all_ready) }
    }

    /// Whether somebody is in two of these groups.
    pub(super) fn share_members(&self, names: &[GroupName]) -> bool {
        let mut seen = Vec::new();
        for (who, _) in names.iter().flat_map(|name| self.members(name)) {
            if seen.contains(&who) {
                return true;
            }
            seen.push(who);
        }
        false
    }

    /// Nobody knows which of several groups comes first: one may take the credit that makes a
    /// member ready for another. Whoever is connected may get it then.
    fn in_any_order(
        &self,
        message: &Message,
        name: &GroupName,
        passed: &[usize],
    ) -> Vec<(usize, Subscription)> {
        let (found, _) = self.candidates(message, name, passed);
        if !found.iter().any(|(who, _)| self.link(*who).is_some()) {
            return found;
        }
        let takes = |who: usize| self.link(who).is_some() && !passed.contains(&who);
        self.members(name).into_iter().filter(|(who, _)| takes(*who)).collect()
    }

    /// A message for a group; whether it has a member. `apart`: nobody is in another group that it
    /// goes to.
    pub(super) fn share(
        &mut self,
        message: &Rc<Message>,
        name: &GroupName,
        place: Place,
        apart: bool,
    ) -> bool {
        let (found, all_ready) = match apart {
            true => self.candidates(message, name, &[]),
            false => (self.in_any_order(message, name, &[]), false),
        };
        if !all_ready && let Some(group) = self.groups.get_mut(name) {
            group.turns.clear();
        }
        let instance = self.instance(name);
        let maybe = match found.len() {
            0 | 1 => None,
            _ => Some(self.new_maybe(name, all_ready, false)),
        };
        if let [(only, _)] = &*found {
            self.took(name, *only, &message.topic, all_ready);
        }
        let group = Some((name.clone(), instance));
        self.enter(Entry { group, maybe, ..Entry::new(place, message.clone()) }, &found);
        true
    }

    /// A message of a group enters the queues of those that may have it; whether one of them cannot
    /// take it.
    fn enter(&mut self, mut common: Entry, found: &[(usize, Subscription)]) -> bool {
        let message = common.message.clone();
        let too_large = |(who, s): &(usize, Subscription)| {
            self.link(*who).is_some_and(|link| !self.is_small_enough(&message, s, link))
        };
        // Given to one that cannot take it, it comes to the next behind what is given meanwhile.
        let passes = found.iter().any(too_large);
        if found.len() > 1 && passes {
            common.place = self.begin_lane();
        }
        for (who, subscription) in found {
            let entry = Entry {
                qos: message.qos.min(subscription.qos),
                retain: message.retain && subscription.as_published,
                ids: subscription.id.into_iter().collect(),
                ..common.clone()
            };
            self.offer(*who, entry);
        }
        passes
    }

    /// What this session had, or perhaps had, goes to another member; whether that, or one that it
    /// may be, cannot take it.
    fn share_again(&mut self, entry: Entry, passed: &[usize], place: Place, exact: bool) -> bool {
        let Some((name, instance)) = entry.group.clone() else { return false };
        if !self.arrives(&entry) {
            return false;
        }
        if let Some(group) = self.groups.get_mut(&name) {
            group.turns.clear();
        }
        let expired = entry.message.is_expired(self.now);
        let found = match self.groups.contains_key(&name) && !expired {
            true if exact => self.candidates(&entry.message, &name, passed).0,
            true => self.but_suspects(&entry, &name, passed),
            false => Vec::new(),
        };
        // A group of that name came again: whether it is the same one is nobody's promise.
        let another = self.instance(&name) != instance;
        let suspect = |(who, _): &(usize, _)| entry.suspects.contains(who);
        let unsure = another || found.iter().all(suspect); // then perhaps nobody is left
        let mut maybe = entry.maybe;
        match maybe {
            Some(id) if found.is_empty() || unsure => self.gone_perhaps(id),
            None if found.len() > 1 || unsure && !found.is_empty() => {
                maybe = Some(self.new_maybe(&name, false, unsure));
            }
            _ => {}
        }
        let group = Some((name.clone(), self.instance(&name)));
        let passes = self.enter(Entry { group, place, maybe, ..entry.moved() }, &found);
        if let Some(id) = maybe {
            self.one_less(id);
        }
        if exact {
            self.pump_all();
        }
        passes
    }

    /// Who may get it, whether those count as tried that may have been or not.
    fn but_suspects(
        &self,
        entry: &Entry,
        name: &GroupName,
        passed: &[usize],
    ) -> Vec<(usize, Subscription)> {
        let mut found = self.in_any_order(&entry.message, name, passed);
        let tried: Vec<usize> = passed.iter().chain(&entry.suspects).copied().collect();
        for other in self.in_any_order(&entry.message, name, &tried) {
            if !found.iter().any(|(who, _)| *who == other.0) {
                found.push(other);
            }
        }
        found
    }

    /// These were taken out of a queue and go to other members, in their order. Where one of them was
    /// there only perhaps, nobody knows who is how ready for the next.
    pub(super) fn share_all(&mut self, entries: Vec<Entry>, passed: &[usize]) {
        let beside = |pair: &[Entry]| pair[0].place.is_beside(pair[1].place);
        let mut exact = !self.at_once
            && entries.iter().all(|entry| entry.maybe.is_none() && entry.suspects.is_empty())
            && !entries.windows(2).any(beside);
        self.moving(&entries);
        let mut place = self.begin_lane();
        let mut before: Option<Place> = None;
        for entry in entries {
            // What stood side by side does so again.
            place.step += u32::from(before.is_none_or(|other| !entry.place.is_beside(other)));
            before = Some(entry.place);
            let tried = entry.tried.clone();
            let passed = if tried.is_empty() { passed } else { &tried };
            // What is too large for a client has its place in the window until that is known, which
            // is when all have been given away.
            exact &= !self.share_again(entry, passed, place, exact);
        }
        self.pump_all();
    }

    /// The connection is lost: what waits goes to a member that is connected, if there is one.
    pub(super) fn hand_over_lost(&mut self, who: usize) {
        let connected = |r: &Reference, name: &GroupName| {
            r.members(name).iter().any(|(other, _)| *other != who && r.link(*other).is_some())
        };
        let names: Vec<GroupName> =
            self.groups.keys().filter(|name| connected(self, name)).cloned().collect();
        let moves = |e: &Entry| !e.sent && e.group.as_ref().is_some_and(|(n, _)| names.contains(n));
        let entries = self.take_entries(who, moves);
        self.share_all(entries, &[who]);
    }

    /// A member got a message: is that what the strategy says?
    pub(super) fn took(&mut self, name: &GroupName, who: usize, topic: &str, all_ready: bool) {
        let members = self.members(name).len();
        let Some(group) = self.groups.get_mut(name) else { return };
        if !all_ready {
            return;
        }
        let latest = group.turns.iter().rev().take(members - 1);
        let wrong = match self.settings.strategy {
            Strategy::RoundRobin => latest.into_iter().any(|other| *other == who),
            Strategy::Sticky => group.turns.last().is_some_and(|other| *other != who),
            Strategy::HashTopic => *group.by_topic.entry(topic.into()).or_insert(who) != who,
        };
        group.turns.push(who);
        if wrong {
            let turns = format!("{:?}", group.turns);
            self.fail(format!("it was not the turn of client {who} in {name:?}: {turns}"));
        }
    }
}
