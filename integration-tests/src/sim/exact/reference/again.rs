//! What goes again on a new connection, and what a client cannot take because of its size.

use super::deliver::Step;
use super::{Entry, Link, Message, Reference, Subscription};
use crate::sim::exact::wire::{Publish, length};

impl Reference {
    /// What was sent on an earlier connection goes again, PUBLISHes in their order and PUBRELs in
    /// theirs (MQTT-4.6.0-1, MQTT-4.6.0-4), before all else (MQTT-4.4.0-1); `None` when there is
    /// nothing of that kind. The window has its places in the order of the PUBLISHes; PUBRELs wait
    /// for none. Where the PUBRELs lie among the PUBLISHes is for tests that see when a PUBREC came.
    pub(super) fn resume(&mut self, who: usize, link: &Link, last: &mut [u64; 2]) -> Option<Step> {
        let places = link.window.saturating_sub(self.flying(who));
        let session = self.sessions.get_mut(&who)?;
        let again = |e: &Entry| e.sent && !e.flying;
        let mut all: Vec<usize> =
            (0..session.queue.len()).filter(|at| again(&session.queue[*at])).collect();
        if all.is_empty() {
            return None;
        }
        all.sort_unstable_by_key(|at| session.queue[*at].turn);
        let goes = |(nth, at): (usize, &usize)| {
            let e = &session.queue[*at];
            if e.released { !e.released_here } else { nth < places }
        };
        let going = all.iter().enumerate().filter(|(nth, at)| goes((*nth, *at))).map(|(_, at)| *at);
        let begun = |e: &Entry| (e.released, if e.released { e.released_at } else { e.turn });
        let Some(at) = going.min_by_key(|at| begun(&session.queue[*at])) else {
            // Nothing goes; released ones take the places that are left.
            let taken = all.iter().take(places);
            taken.for_each(|at| session.queue[*at].flying = true);
            return Some(if places == 0 { Step::Done } else { Step::Again });
        };
        let entry = self.sessions.get(&who)?.queue.get(at)?.clone();
        let expected = entry.packet(link, self.now);
        let place = if entry.released {
            let release = self.heard.of(link.conn).releases.pop_front();
            release.filter(|(_, pid, code)| (*pid, *code) == (entry.pid, 0)).map(|(at, ..)| at)
        } else if length(&expected) > link.max_packet {
            self.too_large(who, at);
            return Some(Step::Again);
        } else {
            let publish = self.heard.of(link.conn).publishes.pop_front();
            let fits = |said: &Publish| *said == expected || self.is_twin(who, at, said, link);
            publish.filter(|(_, said)| fits(said)).map(|(place, said)| {
                if said != expected {
                    self.swap_twins(who, at, &said, link);
                }
                place
            })
        };
        let last = &mut last[usize::from(entry.released)];
        match place.filter(|place| place > last) {
            Some(at) => {
                *last = at;
                if !entry.released {
                    self.in_order(link.conn, at, entry.place);
                }
            }
            None => self.fail(format!(
                "client {who}, connection {}: what was sent before did not come again in its \
                 place: {expected:?}, released {}",
                link.conn, entry.released
            )),
        }
        let sent = self.sessions.get_mut(&who)?.queue.get_mut(at)?;
        if sent.released {
            sent.released_here = true;
        } else {
            sent.flying = true;
        }
        Some(Step::Again)
    }

    /// Whether this is how another entry would look under the identifier of this one: two copies of
    /// one message that an earlier version could not tell apart.
    fn is_twin(&self, who: usize, at: usize, said: &Publish, link: &Link) -> bool {
        self.twin_of(who, at, said, link).is_some()
    }

    fn twin_of(&self, who: usize, at: usize, said: &Publish, link: &Link) -> Option<usize> {
        let queue = &self.sessions.get(&who)?.queue;
        let entry = queue.get(at)?;
        queue.iter().position(|e| {
            let same = e.sent && !e.flying && !e.released && e.message == entry.message;
            same && Publish { pid: entry.pid, ..e.packet(link, self.now) } == *said
        })
    }

    fn swap_twins(&mut self, who: usize, at: usize, said: &Publish, link: &Link) {
        let Some(twin) = self.twin_of(who, at, said, link) else { return };
        let Some(session) = self.sessions.get_mut(&who) else { return };
        let (a, b) = (session.queue[at].clone(), session.queue[twin].clone());
        session.queue[at] = Entry { pid: a.pid, turn: a.turn, ..b.clone() };
        session.queue[twin] = Entry { pid: b.pid, turn: b.turn, ..a };
    }

    /// Whether a client takes what this member of a group would get.
    pub(super) fn is_small_enough(
        &self,
        message: &Message,
        subscription: &Subscription,
        link: &Link,
    ) -> bool {
        let packet = Publish {
            qos: message.qos.min(subscription.qos),
            topic: message.topic.clone(),
            payload: message.payload.clone(),
            expiry: message.expires.map(|_| 0),
            ids: subscription.id.into_iter().collect(),
            carried: message.carried.clone(),
            ..Publish::default()
        };
        length(&packet) <= link.max_packet
    }

    /// The client cannot take it: as if delivered, unless another member of its group can, once
    /// what is being done is done.
    pub(super) fn too_large(&mut self, who: usize, at: usize) {
        let Some(session) = self.sessions.get_mut(&who) else { return };
        let entry = session.queue.remove(at);
        let event = self.event;
        if let Some(link) = session.link.as_mut().filter(|_| entry.qos > 0) {
            let before = if link.rejected.0 == event { link.rejected.1 } else { 0 };
            link.rejected = (event, before + 1);
        }
        self.note(|| format!("client {who}: too large: {entry:?}"));
        if entry.group.is_none() || entry.sent && entry.qos == 2 {
            if let Some(id) = entry.maybe {
                self.gone_perhaps(id);
            }
            return;
        }
        self.reject(who, entry);
    }

    /// It goes to another member, once what is being done is done.
    pub(super) fn reject(&mut self, who: usize, mut entry: Entry) {
        // Whoever else has it now, perhaps this one could not take it before.
        let others = self.sessions.iter_mut().filter(|(other, _)| **other != who);
        let same = |e: &&mut Entry| e.maybe.is_some() && e.maybe == entry.maybe;
        for other in others.flat_map(|(_, session)| &mut session.queue).filter(same) {
            other.suspects.push(who);
        }
        entry.tried.push(who);
        self.moving(std::slice::from_ref(&entry));
        self.rejected.push(entry);
    }

    /// It is, but whether its turn has come nobody knows: something stands beside it.
    pub(super) fn perhaps_too_large(&mut self, who: usize, at: usize) {
        let Some(mut entry) = self.sessions.get(&who).map(|s| s.queue[at].clone()) else { return };
        self.note(|| format!("client {who}: perhaps too large: {entry:?}"));
        let name = entry.group.as_ref().map(|(name, _)| name.clone()).unwrap_or_default();
        // Out of a group it is perhaps with another member; else it is perhaps gone.
        let id = entry.maybe.unwrap_or_else(|| self.new_maybe(&name, false, entry.group.is_none()));
        (entry.weighed, entry.maybe) = (true, Some(id));
        if let Some(session) = self.sessions.get_mut(&who) {
            session.queue[at] = entry.clone();
        }
        if entry.group.is_some() {
            self.reject(who, entry);
        }
    }

    pub(super) fn share_rejected(&mut self) -> bool {
        let rejected = std::mem::take(&mut self.rejected);
        let any = !rejected.is_empty();
        for entry in rejected {
            self.arrives(&entry); // it was held since
            self.share_all(vec![entry], &[]);
        }
        any
    }
}
