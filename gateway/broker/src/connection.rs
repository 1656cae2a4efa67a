//! Sessions are opened, taken over, closed and ended.

use core::time::Duration;

use motegate_message::{DeliveryId, Qos, Reason, Seq, SessionId, SessionKey, Turn};

use crate::delivery::group_text;
use crate::journal::FilterText;
use crate::queue::{Entry, Load};
use crate::session::micros;
use crate::shared::GroupId;
use crate::subscriptions::Held;
use crate::will::WillState;
use crate::{Broker, Effect, Handle, Open, QueuePolicy, TakeoverWill, WillChange};

impl Broker {
    pub(crate) fn open(&mut self, turn: &Turn, open: Open) {
        let known = open.key.as_ref().and_then(|key| self.sessions.find(key));
        if known.is_none() && self.sessions.len() >= self.config.max_sessions {
            let (ticket, reason) = (open.ticket, Reason::QuotaExceeded);
            self.acted.max_sessions += 1;
            return self.effects.push_back(Effect::OpenRefused { ticket, reason });
        }
        let unstored = self.store_failed && turn.durable;
        if unstored && self.open_needs_store(turn, &open, known) {
            let (ticket, reason) = (open.ticket, Reason::StorageFull);
            return self.effects.push_back(Effect::OpenRefused { ticket, reason });
        }
        let resumed = known.filter(|id| self.take_over(turn, *id, open.clean));
        // The old will is routed before the new connection hears anything (mqtt.md 2.1 d).
        self.settle(turn);
        let id = match resumed {
            Some(id) => id,
            None => self.create(turn, open.key.clone(), open.queue),
        };
        let Some(session) = self.sessions.get_mut(id) else { return };
        let slot = session.slot();
        self.sessions.attach(slot);
        let Some(session) = self.sessions.at_mut(slot) else { return };
        session.handle = open.handle;
        (session.window, session.room) = (open.window, open.room);
        session.journaled_window = 0; // the largest of this connection
        session.policy = open.queue;
        session.ends = motegate_timers::Instant::FAR_FUTURE;
        // A session that nobody can name cannot be resumed.
        let expiry = if session.key.is_some() { open.expiry } else { Duration::ZERO };
        session.set_expiry_micros(micros(expiry));
        match open.will {
            WillChange::Set(will) => self.replace_will(turn, slot, will),
            WillChange::Keep => self.rearm_will(turn, slot),
        }
        self.update_durability(turn, slot);
        let mut after = self.journal.after(turn);
        if unstored && resumed.is_some() {
            // The store has this session as it is, but for one that it has never heard of.
            let fresh = self.fresh.iter().rev().find(|(_, fresh)| *fresh == id);
            after = fresh.map_or(Seq::NONE, |(seq, _)| *seq);
        } else if known.is_some() {
            // A repeated clean start: the end of the session before both may not be stored yet.
            after = after.max(self.journal.after_latest());
        }
        self.effects.push_back(Effect::Opened {
            ticket: open.ticket,
            session: id,
            present: resumed.is_some(),
            after,
        });
        self.purge_expired(turn, slot);
        self.arm(slot);
        self.pump(turn, slot);
    }

    /// Whether the session, or what it replaces, is durable, and the store does not have it so: one that
    /// only goes on as it was makes nothing grow, and may drain its queue.
    fn open_needs_store(&self, turn: &Turn, open: &Open, known: Option<SessionId>) -> bool {
        let known = known.and_then(|id| self.sessions.get(id));
        let has_will = matches!(&open.will, WillChange::Set(Some(_)));
        let goes_on = known.is_some_and(|known| {
            let same = !open.clean && micros(open.expiry) == known.expiry_micros();
            let lives = known.durable && !known.is_transient() && known.ends > turn.now;
            same && lives && known.will.is_none() && !has_will
        });
        if goes_on {
            return false;
        }
        open.key.is_some() && !open.expiry.is_zero() || known.is_some_and(|known| known.durable)
    }

    fn create(&mut self, turn: &Turn, key: Option<SessionKey>, queue: QueuePolicy) -> SessionId {
        let id = self.sessions.add(key, queue);
        if turn.durable {
            self.journal.generation_used(id.generation());
        }
        id
    }

    /// What becomes of the session that has the name; whether it goes on.
    fn take_over(&mut self, turn: &Turn, id: SessionId, clean: bool) -> bool {
        let Some(session) = self.sessions.get_mut(id) else { return false };
        let slot = session.slot();
        let was_connected = session.connected;
        if was_connected {
            let (handle, reason) = (session.handle, Reason::TakenOver);
            self.effects.push_back(Effect::Closed { session: id, handle, reason });
            self.sessions.detach(slot);
        }
        let Some(session) = self.sessions.at(slot) else { return false };
        // An old session that would end with its connection ends, whoever came first (2.1 e).
        if clean || session.is_transient() || session.ends <= turn.now {
            self.end(turn, id);
            return false;
        }
        let published = self.config.takeover_will == TakeoverWill::Published;
        let publishes = session.will.as_ref().is_some_and(|held| match held.state {
            // Delay 0 is published in every version; a delay is not over yet (MQTT-3.1.3-9).
            // Of a connection that a restart closed, and that is resumed, nothing was missed.
            WillState::Armed => was_connected && held.will.delay.is_zero() && published,
            WillState::Due(at) => at <= turn.now,
            WillState::Spent => false,
        });
        if publishes {
            self.spend_will(turn, slot);
        }
        true
    }

    pub(crate) fn close(
        &mut self,
        turn: &Turn,
        id: SessionId,
        handle: Handle,
        drop_will: bool,
        expiry: Option<Duration>,
    ) {
        let Some(session) = self.sessions.get_mut(id) else { return };
        if !session.connected || session.handle != handle {
            return; // the late close of a connection that was taken over (2.1 b)
        }
        if let Some(expiry) = expiry.filter(|_| session.key.is_some()) {
            session.set_expiry_micros(micros(expiry));
        }
        if drop_will && let Some(held) = &mut session.will {
            held.state = WillState::Spent; // MQTT-3.14.4-3
            if session.durable {
                self.journal.will(turn, id, held);
            }
        }
        self.disconnect(turn, id);
    }

    pub(crate) fn disconnect_overflowed(&mut self, turn: &Turn, id: SessionId) {
        let Some(session) = self.sessions.get(id).filter(|s| s.connected) else {
            return;
        };
        let (handle, reason) = (session.handle, Reason::QueueFull);
        self.effects.push_back(Effect::Closed { session: id, handle, reason });
        self.disconnect(turn, id);
    }

    /// The connection is over; the session goes on for its expiry.
    fn disconnect(&mut self, turn: &Turn, id: SessionId) {
        let Some(session) = self.sessions.get_mut(id) else { return };
        let slot = session.slot();
        self.sessions.detach(slot);
        let Some(session) = self.sessions.at_mut(slot) else { return };
        if session.is_transient() {
            return self.end(turn, id);
        }
        session.ends = session.end_after(turn.now);
        self.release_will(turn, slot);
        self.hand_over_waiting(turn, slot, None);
        self.drop_qos0(slot);
        self.update_durability(turn, slot);
        self.spill(turn, slot);
        self.arm(slot);
    }

    /// QoS 0 waited for room; without a connection it waits only if the policy says so.
    fn drop_qos0(&mut self, slot: u32) {
        let Some(session) = self.sessions.at(slot).filter(|s| !s.policy.queue_qos0) else { return };
        let id = session.id;
        let mut from = 0;
        let unsent = |e: &Entry| e.qos == Qos::AtMostOnce;
        while let Some(at) = self.sessions.at(slot).and_then(|s| s.queue.find_unsent(from, unsent))
        {
            from = at;
            self.remove_entry(slot, at);
            self.dropped(id, Reason::NoReceiver);
        }
        // What is on disk only goes when it is read.
        if let Some(session) = self.sessions.at_mut(slot) {
            let last = DeliveryId(session.delivery_mark().saturating_sub(1));
            if let Some(disk) = session.queue.disk_mut() {
                disk.restored = disk.restored.max(last);
            }
        }
    }

    /// The session is over: subscriptions, queue and name go, its will is due.
    pub(crate) fn end(&mut self, turn: &Turn, id: SessionId) {
        let Some(mut session) = self.sessions.remove(id) else { return };
        let slot = session.slot();
        for held in session.subscriptions.as_slice() {
            self.forget_subscription(slot, id, session.durable, *held);
        }
        self.queued.changed(session.queue.load(), Load::default());
        self.disk_bytes -= session.queue.on_disk();
        for entry in session.queue.iter() {
            self.hand_over_ended(turn, entry);
            if session.durable {
                self.journal.entry_gone(id, entry);
            }
        }
        // MQTT-3.1.2-8: at the latest when the session ends.
        let will = session.will.as_mut().and_then(|w| w.spend(turn.now, session.key.as_ref()));
        self.due_wills.extend(will);
        if session.durable {
            if session.will.is_some() {
                self.journal.will_gone(id);
            }
            match session.queue.take_disk() {
                Some(disk) => self.end_on_disk(turn, &session, disk),
                None => self.journal.session_gone(id),
            }
        }
        self.effects.push_back(Effect::Ended { session: id, key: session.key.take() });
    }

    /// Takes a subscription out of the index; its session forgets it itself.
    pub(crate) fn forget_subscription(
        &mut self,
        slot: u32,
        id: SessionId,
        durable: bool,
        held: Held,
    ) {
        if durable && let Some(text) = self.subscription_text(held) {
            // The text lives in the index: copy it for the record.
            let (share, filter) = (text.share.map(alloc::string::String::from), text.filter.into());
            let filter: alloc::string::String = filter;
            let text = FilterText { share: share.as_deref(), filter: &filter };
            self.journal.subscription_gone(id, text);
        }
        self.subscribed -= 1;
        self.shared_subscribed -= usize::from(held.group != GroupId::NONE);
        if held.group == GroupId::NONE {
            if let Some(filter) = self.subscriptions.get_mut(held.filter) {
                filter.subscribers.remove(slot);
            }
        } else if self.groups.leave(held.group, slot)
            && let Some(filter) = self.subscriptions.get_mut(held.filter)
        {
            filter.remove_group(held.group);
        }
        self.subscriptions.prune(held.filter);
    }

    /// The text of a subscription that a session holds.
    pub(crate) fn subscription_text(&self, held: Held) -> Option<FilterText<'_>> {
        if held.group != GroupId::NONE {
            return group_text(&self.groups, &self.subscriptions, held.group);
        }
        let filter = self.subscriptions.get(held.filter)?.text.as_str();
        Some(FilterText { share: None, filter })
    }

    /// The session's record after it was opened or closed; everything of it when it becomes
    /// durable or ceases to be.
    fn update_durability(&mut self, turn: &Turn, slot: u32) {
        let Some(session) = self.sessions.at_mut(slot) else { return };
        let was = session.durable;
        // What is on disk only cannot be forgotten there before it is delivered.
        let kept = !session.is_transient() || session.queue.disk().is_some();
        session.durable = turn.durable && session.key.is_some() && kept;
        if session.durable {
            self.journal.session(turn, session);
        }
        if was != session.durable {
            if session.durable {
                self.fresh.push_back((turn.seq, session.id));
            }
            self.journal_contents(turn, slot);
        }
    }

    /// Writes, or deletes, the records of a session whose durability has changed.
    fn journal_contents(&mut self, turn: &Turn, slot: u32) {
        let Broker { sessions, journal, groups, subscriptions, .. } = self;
        let Some(session) = sessions.at(slot) else { return };
        let id = session.id;
        if !session.durable {
            journal.session_gone(id);
        }
        match &session.will {
            Some(held) if session.durable => journal.will(turn, id, held),
            Some(_) => journal.will_gone(id),
            None => {}
        }
        for held in session.subscriptions.as_slice() {
            let Some(filter) = subscriptions.get(held.filter) else { continue };
            let group = groups.get(held.group);
            let text = FilterText { share: group.map(|g| &*g.name), filter: filter.text.as_str() };
            let members = group.map_or(&filter.subscribers, |g| &g.members);
            match members.get(slot) {
                Some(grant) if session.durable => journal.subscription(id, text, grant),
                _ => journal.subscription_gone(id, text),
            }
        }
        for entry in session.queue.iter().filter(|entry| entry.is_journaled()) {
            if session.durable {
                let text = group_text(groups, subscriptions, entry.group);
                journal.entry(turn, id, entry, text);
            } else {
                journal.entry_gone(id, entry);
            }
        }
    }
}
