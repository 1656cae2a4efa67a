//! Ends of sessions, wills, the clock, the process's death.

use std::rc::Rc;

use super::{Entry, Message, Ms, NEVER, Reference, Session, WillState};

impl Reference {
    /// The connection is over; the session goes on for its expiry.
    pub(super) fn disconnect(&mut self, who: usize, drop_will: bool) {
        let now = self.now;
        let Some(session) = self.sessions.get_mut(&who) else { return };
        session.link = None;
        session.queue.iter_mut().for_each(Entry::lands);
        if let Some(will) = session.will.as_mut().filter(|_| drop_will) {
            will.state = WillState::Spent;
        }
        if session.expiry == 0 {
            return self.end(who);
        }
        session.ends = after(now, session.expiry);
        let due = release_will(session, now);
        self.hand_over_lost(who);
        if !self.settings.queue_qos0 {
            self.drop_waiting(who, |entry| entry.qos == 0);
        }
        if due {
            self.publish_will(who);
        }
    }

    /// The session is over.
    pub(super) fn end(&mut self, who: usize) {
        let Some(session) = self.sessions.remove(&who) else { return };
        for subscription in &session.subscriptions {
            self.left(subscription);
        }
        let movable = |e: &Entry| e.group.is_some() && (e.qos < 2 || !e.sent); // MQTT-4.8.2-5
        let mut moved: Vec<Entry> = session.queue.into_iter().filter(movable).collect();
        moved.iter_mut().for_each(Entry::forget_tries);
        let will = session.will.filter(|will| will.state != WillState::Spent);
        // Whether the will goes before what is read from the disk first is nobody's promise.
        let beside = !moved.is_empty() && will.is_some();
        let at_once = self.at_once;
        self.at_once |= beside && self.settings.bound.is_none();
        self.share_all(moved, &[]);
        if let Some(will) = will {
            let message = will_message(&will.spec, who, self.now);
            let place = self.begin_lane();
            self.route(message, place);
        }
        self.at_once = at_once;
        self.pump_all();
    }

    pub(super) fn publish_will(&mut self, who: usize) {
        let now = self.now;
        let will = self.sessions.get_mut(&who).and_then(|s| s.will.as_mut());
        let Some(will) = will.filter(|will| will.state != WillState::Spent) else { return };
        will.state = WillState::Spent;
        let message = will_message(&will.spec, who, now);
        let place = self.begin_lane();
        self.route(message, place);
    }

    /// When something happens by itself.
    #[must_use]
    pub fn next_at(&self) -> Ms {
        let mut next = NEVER;
        for session in self.sessions.values() {
            next = next.min(session.ends);
            if let Some(WillState::Due(at)) = session.will.as_ref().map(|will| will.state) {
                next = next.min(at);
            }
            let waiting = session.queue.iter().filter(|e| !e.sent);
            next = waiting.filter_map(|e| e.message.expires).fold(next, Ms::min);
        }
        self.retained.values().filter_map(|m| m.expires).fold(next, Ms::min)
    }

    /// Time has passed, up to the next such moment at most.
    pub fn advance(&mut self, now: Ms) {
        self.now = now;
        self.begin_event();
        self.retained.retain(|_, message| !message.is_expired(now));
        let due = |s: &Session| {
            let will = s.will.as_ref().map(|will| will.state);
            s.ends <= now || matches!(will, Some(WillState::Due(at)) if at <= now)
        };
        let who: Vec<usize> =
            self.sessions.iter().filter(|(_, s)| due(s)).map(|(who, _)| *who).collect();
        self.at_once = who.len() > 1 && self.settings.bound.is_none();
        self.end_or_publish(&who);
        self.at_once = false;
        self.conclude();
    }

    /// The process died, and is there again at `now`: an open connection counts as closed now. What
    /// ends with its connection is lost, its will too; QoS 0 that waited is lost.
    pub fn restart(&mut self, now: Ms) {
        self.now = now;
        self.begin_event();
        let lost: Vec<usize> =
            self.sessions.iter().filter(|(_, s)| s.expiry == 0).map(|(who, _)| *who).collect();
        for who in lost {
            let Some(session) = self.sessions.remove(&who) else { continue };
            session.subscriptions.iter().for_each(|subscription| self.left(subscription));
            session.queue.iter().filter_map(|e| e.maybe).for_each(|m| self.gone_perhaps(m));
        }
        let all: Vec<usize> = self.sessions.keys().copied().collect();
        for who in &all {
            self.drop_waiting(*who, |entry| entry.qos == 0);
        }
        let mut due = Vec::new();
        for (who, session) in &mut self.sessions {
            for entry in &mut session.queue {
                entry.lands();
                entry.forget_tries();
            }
            if session.link.take().is_some() {
                session.ends = after(now, session.expiry);
                due.extend(release_will(session, now).then_some(*who));
            }
        }
        self.retained.retain(|_, message| !message.is_expired(now));
        self.forget_turns();
        let over = |s: &Session| {
            let will = s.will.as_ref().map(|will| will.state);
            s.ends <= now || matches!(will, Some(WillState::Due(at)) if at <= now)
        };
        let over: Vec<usize> =
            self.sessions.iter().filter(|(_, s)| over(s)).map(|(who, _)| *who).collect();
        self.at_once = due.len() + over.len() > 1 && self.settings.bound.is_none();
        due.into_iter().for_each(|who| self.publish_will(who));
        self.end_or_publish(&over);
        self.at_once = false;
        self.conclude();
    }

    /// Of each of these either the session is over or its will is due.
    fn end_or_publish(&mut self, who: &[usize]) {
        for who in who {
            if self.sessions.get(who).is_some_and(|s| s.ends <= self.now) {
                self.end(*who);
            } else {
                self.publish_will(*who);
            }
        }
    }
}

fn after(now: Ms, expiry: Ms) -> Ms {
    now.saturating_add(expiry)
}

/// The connection is over without a goodbye; whether the will is due at once.
fn release_will(session: &mut Session, now: Ms) -> bool {
    let Some(will) = session.will.as_mut().filter(|will| will.state == WillState::Armed) else {
        return false;
    };
    if will.spec.delay > 0 {
        will.state = WillState::Due(now + u64::from(will.spec.delay) * 1000);
    }
    will.spec.delay == 0
}

fn will_message(spec: &super::WillSpec, who: usize, now: Ms) -> Rc<Message> {
    Rc::new(Message {
        topic: spec.topic.clone(),
        payload: spec.payload.clone(),
        qos: spec.qos,
        retain: spec.retain,
        expires: spec.expiry.map(|secs| now + u64::from(secs) * 1000),
        publisher: who,
        carried: super::Carried::default(),
    })
}
