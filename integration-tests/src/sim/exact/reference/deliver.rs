//! From the queue to the wire: what must be said now, and whether it was.

use std::rc::Rc;

use super::groups::Class;
use super::{Entry, Full, Link, Message, Place, Reference};
use crate::sim::exact::wire::{Publish, Version, length};

/// What became of one look at a queue.
pub(super) enum Step {
    /// Something changed.
    Again,
    /// Nothing must be said.
    Done,
}

impl Entry {
    pub(super) fn new(place: Place, message: Rc<Message>) -> Self {
        Entry {
            place,
            message,
            qos: 0,
            retain: false,
            ids: Vec::new(),
            group: None,
            snapshot: false,
            sent: false,
            turn: (0, 0),
            released_at: (0, 0),
            released_here: false,
            flying: false,
            released: false,
            pid: 0,
            maybe: None,
            fresh: true,
            behind: (0, 0),
            tried: Vec::new(),
            suspects: Vec::new(),
            weighed: false,
        }
    }

    /// The same for another session, to which nothing was said of it.
    pub(super) fn moved(&self) -> Self {
        Entry {
            tried: self.tried.clone(),
            suspects: self.suspects.clone(),
            ..Entry::new(self.place, self.message.clone())
        }
    }

    /// Nobody remembers any more who could not take it.
    pub(super) fn forget_tries(&mut self) {
        self.tried.clear();
        self.suspects.clear();
    }

    /// As it must look on the wire.
    pub(super) fn packet(&self, link: &Link, now: u64) -> Publish {
        let v5 = link.version == Version::V5;
        let left = |at: u64| u32::try_from(at.saturating_sub(now).div_ceil(1000)).unwrap_or(0);
        let again = u32::from(self.sent);
        Publish {
            dup: self.sent,
            qos: self.qos,
            retain: self.retain,
            topic: self.message.topic.clone(),
            pid: self.pid,
            payload: self.message.payload.clone(),
            expiry: self.message.expires.filter(|_| v5).map(|at| left(at).max(again)),
            ids: if v5 { self.ids.clone() } else { Vec::new() },
            alias: None,
            carried: if v5 { self.message.carried.clone() } else { Default::default() },
        }
    }
}

impl Reference {
    /// A copy for a session: delivered at the next look, or queued, or dropped.
    pub(super) fn offer(&mut self, who: usize, entry: Entry) {
        let class = self.class(who, entry.qos);
        if class == Class::Dropping && !entry.snapshot {
            return;
        }
        // With an interval of 0 it is delivered at the next look, or never.
        let queued = class > Class::Ready && !entry.message.is_expired(self.now);
        if queued && !entry.snapshot && entry.maybe.is_none() && !self.make_room(who, entry.qos) {
            return;
        }
        self.push(who, entry);
    }

    fn push(&mut self, who: usize, entry: Entry) {
        self.note(|| format!("client {who}: queued: {entry:?}"));
        if let Some(session) = self.sessions.get_mut(&who) {
            session.queue.push(entry);
        }
    }

    /// Whether one more fits, after what the policy gives up.
    fn make_room(&mut self, who: usize, qos: u8) -> bool {
        let Some((max, full)) = self.settings.bound else { return true };
        self.purge(who);
        let Some(session) = self.sessions.get_mut(&who) else { return false };
        let counts = |e: &Entry| !e.sent && !e.snapshot;
        let waiting = session.queue.iter().filter(|e| counts(e)).count();
        if waiting < max {
            return true;
        }
        match full {
            Full::DropNewest => false,
            Full::Disconnect => {
                if session.link.is_some() && !self.overflowed.contains(&who) {
                    self.overflowed.push(who);
                }
                false
            }
            Full::DropOldest => {
                let qos0 = session.queue.iter().position(|e| counts(e) && e.qos == 0);
                let victim = match qos0 {
                    None if qos == 0 => return false,
                    None => session.queue.iter().position(counts),
                    some => some,
                };
                if let Some(at) = victim {
                    session.queue.remove(at);
                }
                true
            }
        }
    }

    /// What waited too long goes.
    fn purge(&mut self, who: usize) {
        let now = self.now;
        self.drop_waiting(who, |e| !e.fresh && e.message.is_expired(now));
    }

    /// Everything that must be said now was said.
    pub(super) fn pump_all(&mut self) {
        let mut again = !self.at_once;
        while again {
            let who: Vec<usize> = self.sessions.keys().copied().collect();
            again = who.into_iter().fold(false, |again, who| again | self.pump(who));
        }
    }

    /// The same, and what follows from queues that were full.
    pub(super) fn conclude(&mut self) {
        loop {
            self.pump_all();
            if self.share_rejected() {
                continue;
            }
            if let Some(who) = self.overflowed.pop() {
                let link = self.link(who).cloned();
                if let Some(link) = link {
                    if link.version == Version::V5 {
                        let goodbye = crate::sim::exact::wire::Packet::Disconnect(0x97);
                        self.expect(link.conn, &goodbye);
                    }
                    self.expect_closed(link.conn);
                    self.disconnect(who, false);
                }
            } else {
                return self.passed_by();
            }
        }
    }

    /// Whether anything changed.
    fn pump(&mut self, who: usize) -> bool {
        let mut changed = false;
        let mut last = [0; 2];
        while self.failure.is_none() {
            self.purge(who);
            let Some(link) = self.link(who).cloned() else { break };
            let step = match self.resume(who, &link, &mut last) {
                Some(step) => step,
                None => self.look(who, &link),
            };
            match step {
                Step::Again => changed = true,
                Step::Done => break,
            }
        }
        if let Some(session) = self.sessions.get_mut(&who) {
            session.queue.iter_mut().for_each(|e| e.fresh = false);
        }
        self.purge(who);
        changed
    }

    pub(super) fn flying(&self, who: usize) -> usize {
        self.sessions.get(&who).map_or(0, |s| s.queue.iter().filter(|e| e.flying).count())
    }

    /// One look at what waits.
    fn look(&mut self, who: usize, link: &Link) -> Step {
        let Some(session) = self.sessions.get(&who) else { return Step::Done };
        let credit = |e: &Entry| e.qos == 0 || self.flying(who) < link.window;
        let waiting: Vec<(usize, &Entry)> =
            session.queue.iter().enumerate().filter(|(_, e)| !e.sent).collect();
        // In front: nothing certain is before it.
        let ahead =
            |e: &Entry| waiting.iter().any(|(_, o)| o.maybe.is_none() && o.place.precedes(e.place));
        let front: Vec<(usize, &Entry)> =
            waiting.iter().filter(|(_, e)| !ahead(e)).copied().collect();
        let blocked = |at: usize, e: &Entry| {
            let stops = |o: &Entry| !credit(o) && !e.place.precedes(o.place);
            waiting.iter().any(|(other, o)| *other != at && stops(o))
        };
        let large = |e: &Entry| length(&e.packet(link, self.now)) > link.max_packet;
        // Its turn comes whatever the order of what stands beside it.
        let alone = |at: usize, e: &Entry| {
            let before =
                |o: &&(usize, &Entry)| o.0 != at && o.1.qos > 0 && !e.place.precedes(o.1.place);
            let all = waiting.iter().filter(before).count();
            let small = waiting.iter().filter(before).filter(|(_, o)| !large(o)).count();
            let left = link.window.saturating_sub(self.flying(who));
            // Each of those takes a place, and stops what is behind it where there is none.
            e.qos > 0 && small == 0 || e.qos == 0 && (small < left || small == left && all == small)
        };
        let heavy =
            |(at, e): &&(usize, &Entry)| credit(e) && large(e) && (alone(*at, e) || !e.weighed);
        if let Some((at, e)) = front.iter().find(heavy) {
            let (at, alone) = (*at, alone(*at, e));
            match alone {
                true => self.too_large(who, at),
                false => self.perhaps_too_large(who, at),
            }
            return Step::Again;
        }
        let said = self.heard.0.get(&link.conn).map(|s| &s.publishes);
        // What one event causes side by side may come in any order; `in_order` sees to the rest.
        // What stands beside something without credit may have to wait for it: then only the next.
        let fits = |at: usize, e: &Entry| {
            let within = if blocked(at, e) { 1 } else { usize::MAX };
            said.filter(|_| credit(e))?.iter().take(within).map(|(_, said)| said).position(|said| {
                let expected = Publish { pid: said.pid, ..e.packet(link, self.now) };
                *said == expected
            })
        };
        // What was said first; of what looks alike the certain, then the one in front.
        let matching = front.iter().filter_map(|(at, e)| {
            let Place { event, lane, step } = e.place;
            Some((fits(*at, e)?, e.maybe.is_some(), (event, lane, step), *at))
        });
        if let Some((nth, _, _, at)) = matching.min() {
            self.said(who, link, at, nth);
            return Step::Again;
        }
        // With credit it would have been said: it is not here.
        let absent = front
            .iter()
            .find(|(at, e)| e.maybe.is_some() && !e.weighed && credit(e) && !blocked(*at, e));
        if let Some((at, _)) = absent {
            let at = *at;
            self.not_here(who, at);
            return Step::Again;
        }
        let missing =
            front.iter().find(|(at, e)| e.maybe.is_none() && credit(e) && !blocked(*at, e));
        if let Some((_, e)) = missing {
            let text = format!(
                "client {who}, connection {}: {:?} instead of {:?}",
                link.conn,
                said.and_then(|said| said.front()),
                e.packet(link, self.now)
            );
            self.fail(text);
        }
        Step::Done
    }

    /// This came behind what must come before it.
    pub(super) fn in_order(&mut self, conn: u32, at: u64, place: Place) {
        let stream = self.heard.of(conn);
        let last = stream.last.replace((at, place));
        stream.latest = stream.latest.max(at);
        if last.is_some_and(|(before, other)| before > at && !place.is_beside(other)) {
            self.fail(format!("connection {conn}: packet {at} came too early"));
        }
    }

    /// An event is over: nothing was passed by.
    fn passed_by(&mut self) {
        let passed = |s: &crate::sim::exact::heard::Stream| {
            s.publishes.front().filter(|(at, _)| *at < s.latest).cloned()
        };
        let found = self.heard.0.iter().find_map(|(conn, s)| Some((*conn, passed(s)?)));
        if let Some((conn, (_, publish))) = found {
            self.fail(format!("connection {conn} was told too early: {publish:?}"));
        }
    }

    /// This entry was said, by the nth PUBLISH.
    fn said(&mut self, who: usize, link: &Link, at: usize, nth: usize) {
        let Some((place, said)) = self.heard.of(link.conn).publishes.remove(nth) else { return };
        let Some(session) = self.sessions.get_mut(&who) else { return };
        let used = session.queue.iter().any(|e| e.sent && e.pid == said.pid);
        let Some(entry) = session.queue.get_mut(at) else { return };
        (entry.sent, entry.flying, entry.pid) = (true, true, said.pid);
        entry.turn = (link.conn, place);
        let entry = entry.clone();
        self.note(|| format!("client {who}: said: {entry:?}"));
        self.delivered += 1;
        self.in_order(link.conn, place, entry.place);
        if entry.behind.0 == link.conn && place < entry.behind.1 {
            self.fail(format!("client {who}: {said:?} ahead of its SUBACK"));
        }
        if used && said.qos > 0 {
            self.fail(format!("client {who}: identifier {} twice", said.pid));
        }
        if let Some(id) = entry.maybe {
            self.found(who, id, &entry);
        }
        if entry.qos == 0
            && let Some(session) = self.sessions.get_mut(&who)
        {
            session.queue.retain(|e| !(e.flying && e.qos == 0));
        }
        // Nothing overtakes: what was before it is not here.
        let before = |e: &Entry| !e.sent && e.maybe.is_some() && e.place.precedes(entry.place);
        while let Some(at) = self.sessions.get(&who).and_then(|s| s.queue.iter().position(before)) {
            self.not_here(who, at);
        }
    }

    fn not_here(&mut self, who: usize, at: usize) {
        let Some(session) = self.sessions.get_mut(&who) else { return };
        let entry = session.queue.remove(at);
        self.note(|| format!("client {who}: not here: {entry:?}"));
        if entry.weighed && entry.group.is_some() {
            return self.reject(who, entry); // its turn may have come just now
        }
        if let Some(id) = entry.maybe {
            self.one_less(id);
        }
    }
}
