//! SUBSCRIBE and UNSUBSCRIBE.

use super::{Entry, Place, Reference, Subscription, matches};
use crate::sim::exact::wire::{Item, Packet, Version};

/// So many of a queue are in memory at least while its session is connected. What is on disk only
/// may be delivered although its filter was left (MQTT 5 §3.10.4).
const IN_MEMORY: usize = 32;

impl Reference {
    /// SUBSCRIBE.
    pub fn subscribe(&mut self, conn: u32, pid: u16, items: &[Item], id: Option<u32>) {
        self.begin_event();
        let Some(who) = self.whose(conn) else { return };
        let Some(link) = self.link(who).cloned() else { return };
        let mut codes = Vec::new();
        let mut wanted = Vec::new();
        for item in items {
            let subscription = subscription(item, id, link.version, link.bridge);
            let new = self.add(who, &subscription);
            codes.push(match (new, link.version) {
                (Some(_), _) | (None, Version::V31) => item.qos,
                (None, Version::V311) => 0x80,
                (None, Version::V5) => 0x97,
            });
            let handling = if link.version == Version::V5 { item.handling } else { 0 };
            let sends = handling == 0 || handling == 1 && new == Some(true);
            if sends && new.is_some() && subscription.group.is_none() {
                wanted.push(subscription);
            }
        }
        let behind = (conn, self.expect(conn, &Packet::SubAck(pid, codes)));
        let mut place = self.begin_lane();
        for subscription in wanted {
            self.send_retained(who, &subscription, &mut place, behind);
        }
        self.conclude();
    }

    /// `None`: refused; otherwise whether the session did not have it.
    fn add(&mut self, who: usize, new: &Subscription) -> Option<bool> {
        let all: usize = self.sessions.values().map(|s| s.subscriptions.len()).sum();
        let groups = self.groups.len();
        let (of_one, of_all) = self.settings.max_subscriptions;
        let group_exists = new.group.as_ref().is_none_or(|name| self.groups.contains_key(name));
        let session = self.sessions.get_mut(&who)?;
        if let Some(old) = session.subscriptions.iter_mut().find(|old| old.text == new.text) {
            *old = new.clone();
            return Some(false);
        }
        let full = session.subscriptions.len() >= of_one || all >= of_all;
        if full || !group_exists && groups >= self.settings.max_groups {
            return None;
        }
        session.subscriptions.push(new.clone());
        if let Some(name) = &new.group {
            self.joined(name);
        }
        Some(true)
    }

    fn send_retained(
        &mut self,
        who: usize,
        subscription: &Subscription,
        place: &mut Place,
        behind: (u32, u64),
    ) {
        let now = self.now;
        let under: Vec<_> = (self.retained.values())
            .filter(|m| matches(&subscription.filter, &m.topic) && !m.is_expired(now))
            .filter(|m| !(subscription.no_local && m.publisher == who))
            .cloned()
            .collect();
        for message in under {
            place.step += 1;
            let entry = Entry {
                qos: message.qos.min(subscription.qos),
                retain: true,
                ids: subscription.id.into_iter().collect(),
                snapshot: true,
                behind,
                ..Entry::new(*place, message)
            };
            self.offer(who, entry);
        }
    }

    /// UNSUBSCRIBE.
    pub fn unsubscribe(&mut self, conn: u32, pid: u16, filters: &[String]) {
        self.begin_event();
        let Some(who) = self.whose(conn) else { return };
        let Some(link) = self.link(who).cloned() else { return };
        let mut codes = Vec::new();
        let mut gone = Vec::new();
        for text in filters {
            let Some(session) = self.sessions.get_mut(&who) else { return };
            let at = session.subscriptions.iter().position(|s| s.text == *text);
            codes.push(if at.is_some() { 0 } else { 0x11 });
            if let Some(at) = at {
                // Which of that name it was: another may come to have it.
                let left = session.subscriptions.remove(at);
                let instance = left.group.as_ref().map(|name| self.instance(name));
                self.left(&left);
                gone.push((left, instance));
            }
        }
        let codes = if link.version == Version::V5 { codes } else { Vec::new() };
        self.expect(conn, &Packet::UnsubAck(pid, codes));
        self.drop_left(who, &gone.iter().map(|(s, _)| s).collect::<Vec<_>>());
        let left: Vec<_> = gone
            .iter()
            .filter_map(|(s, instance)| Some((s.group.clone()?, (*instance)?)))
            .collect();
        let of = |e: &Entry| !e.sent && e.group.as_ref().is_some_and(|group| left.contains(group));
        let mut entries = self.take_entries(who, of);
        for group in &left {
            let of_it = |e: &Entry| e.group.as_ref() == Some(group);
            let (these, others) = entries.into_iter().partition(of_it);
            entries = others;
            self.share_all(these, &[who]);
        }
        self.conclude();
    }

    /// What waits only because of what was left is dropped.
    fn drop_left(&mut self, who: usize, gone: &[&Subscription]) {
        let Some(session) = self.sessions.get(&who) else { return };
        let ordinary = |s: &&Subscription| s.group.is_none();
        let left: Vec<String> =
            gone.iter().copied().filter(ordinary).map(|s| s.filter.clone()).collect();
        let kept: Vec<String> =
            session.subscriptions.iter().filter(ordinary).map(|s| s.filter.clone()).collect();
        let gone = |entry: &Entry| {
            let topic = &entry.message.topic;
            entry.group.is_none()
                && left.iter().any(|filter| matches(filter, topic))
                && !kept.iter().any(|filter| matches(filter, topic))
        };
        let far = if self.settings.spills { IN_MEMORY } else { usize::MAX };
        let waiting = session.queue.iter().filter(|entry| !entry.flying).skip(far);
        let far: Vec<Place> =
            waiting.filter(|entry| !entry.sent && gone(entry)).map(|entry| entry.place).collect();
        for place in &far {
            let maybe = Some(self.new_maybe(&Default::default(), false, true));
            let queue = self.sessions.get_mut(&who).map(|session| &mut session.queue);
            let entry = queue.into_iter().flatten().find(|entry| entry.place == *place);
            entry.into_iter().for_each(|entry| entry.maybe = maybe);
        }
        self.drop_waiting(who, |entry| gone(entry) && entry.maybe.is_none());
    }
}

fn subscription(item: &Item, id: Option<u32>, version: Version, bridge: bool) -> Subscription {
    let shared = item.filter.strip_prefix("$share/").and_then(|rest| rest.split_once('/'));
    let (group, filter) = match shared {
        Some((name, filter)) => (Some((name.into(), filter.into())), filter.to_string()),
        None => (None, item.filter.clone()),
    };
    let v5 = version == Version::V5;
    let bridge = bridge && group.is_none();
    Subscription {
        text: item.filter.clone(),
        group,
        filter,
        qos: item.qos,
        no_local: v5 && item.no_local || bridge,
        as_published: v5 && item.as_published || bridge,
        id: id.filter(|_| v5),
    }
}
