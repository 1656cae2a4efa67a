//! PUBLISH and PUBREL of clients; who gets a message.

use std::rc::Rc;

use super::{Entry, Message, Place, Reference, Subscription, matches};
use crate::sim::exact::wire::{Outgoing, PUBACK, PUBCOMP, PUBREC, Packet, Version};

impl Reference {
    /// PUBLISH.
    pub fn publish(&mut self, conn: u32, p: &Outgoing) {
        self.begin_event();
        let Some(who) = self.whose(conn) else { return };
        let v5 = self.link(who).is_some_and(|link| link.version == Version::V5);
        let content = (p.topic.clone(), p.payload.clone());
        let held = self.sessions.get(&who).and_then(|s| s.held.get(&p.pid));
        if p.qos == 2 && held.is_some_and(|held| p.dup || *held == content) {
            self.expect(conn, &Packet::Ack(PUBREC, p.pid, 0));
            return;
        }
        let message = Rc::new(Message {
            topic: p.topic.clone(),
            payload: p.payload.clone(),
            qos: p.qos,
            retain: p.retain,
            expires: p.expiry.filter(|_| v5).map(|secs| self.now + u64::from(secs) * 1000),
            publisher: who,
            carried: if v5 { p.carried.clone() } else { Default::default() },
        });
        let place = self.begin_lane();
        let code = match self.route(message, place) {
            Some(false) => 0x10,
            Some(true) => 0,
            None => 0x97,
        };
        if let (2, Some(session)) = (p.qos, self.sessions.get_mut(&who)) {
            session.held.remove(&p.pid);
            if code < 0x80 || !v5 {
                session.held.insert(p.pid, content);
            }
        }
        let code = if v5 { code } else { 0 };
        match p.qos {
            0 => {}
            1 => drop(self.expect(conn, &Packet::Ack(PUBACK, p.pid, code))),
            _ => drop(self.expect(conn, &Packet::Ack(PUBREC, p.pid, code))),
        }
        self.conclude();
    }

    /// PUBREL.
    pub fn release(&mut self, conn: u32, pid: u16) {
        self.begin_event();
        let Some(who) = self.whose(conn) else { return };
        let v5 = self.link(who).is_some_and(|link| link.version == Version::V5);
        let held = self.sessions.get_mut(&who).and_then(|s| s.held.remove(&pid));
        let code = if held.is_some() || !v5 { 0 } else { 0x92 };
        self.expect(conn, &Packet::Ack(PUBCOMP, pid, code));
    }

    /// A message goes to whoever is subscribed: whether that is anybody; `None`: it is refused.
    pub(super) fn route(&mut self, message: Rc<Message>, place: Place) -> Option<bool> {
        let now = self.now;
        let clears = message.payload.is_empty() || message.is_expired(now);
        if message.retain && !clears {
            let room = self.retained.len() < self.settings.max_retained;
            if !room && !self.retained.contains_key(&message.topic) {
                return None;
            }
            self.retained.insert(message.topic.clone(), message.clone());
        } else if message.retain {
            self.retained.remove(&message.topic);
        }
        let mut matched = false;
        let all: Vec<usize> = self.sessions.keys().copied().collect();
        for who in all {
            matched |= self.copy_for(who, &message, place);
        }
        let topic = &message.topic;
        let names: Vec<_> =
            self.groups.keys().filter(|(_, filter)| matches(filter, topic)).cloned().collect();
        self.pump_all();
        let apart = !self.at_once && !self.share_members(&names);
        for name in names {
            matched |= self.share(&message, &name, place, apart);
            if apart {
                self.pump_all();
            }
        }
        self.pump_all();
        Some(matched)
    }

    /// One copy for all the ordinary subscriptions of a session (`protocols/mqtt.md` 2.6).
    fn copy_for(&mut self, who: usize, message: &Rc<Message>, place: Place) -> bool {
        let Some(session) = self.sessions.get(&who) else { return false };
        let own = message.publisher == who;
        let hits: Vec<&Subscription> = (session.subscriptions.iter())
            .filter(|s| s.group.is_none() && matches(&s.filter, &message.topic))
            .filter(|s| !(own && s.no_local))
            .collect();
        let Some(granted) = hits.iter().map(|s| s.qos).max() else { return false };
        let mut ids: Vec<u32> = hits.iter().filter_map(|s| s.id).collect();
        ids.sort_unstable();
        let entry = Entry {
            qos: message.qos.min(granted),
            retain: message.retain && hits.iter().any(|s| s.as_published),
            ids,
            ..Entry::new(place, message.clone())
        };
        self.offer(who, entry);
        true
    }
}
