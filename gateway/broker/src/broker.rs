//! [`Broker`]: requests in, effects and records out.
//!
//! This file holds the state and the dispatch. Sessions open and end in `connection.rs`, filters
//! come and go in `subscribe.rs`, messages are routed in `publish.rs` and travel in `delivery.rs`.
//! What one request causes beyond its own answer (wills, overflowed connections) waits in two
//! lists that [`Broker::settle`] empties in a loop: nothing here calls itself.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;

use motegate_message::{Message, Record, Seq, SessionId, TopicFilter, TopicName, Turn};
use motegate_timers::{Instant, TimerQueue, earliest};

use crate::journal::Journal;
use crate::publish::{Hit, Identifiers};
use crate::queue::Load;
use crate::restore::Restoring;
use crate::retained::Retained;
use crate::session::Sessions;
use crate::shared::{GroupId, Groups, Passed};
use crate::subscriptions::{FilterId, Subscriptions};
use crate::view::Acted;
use crate::{Config, Effect, Request, Ticket};

/// All sessions, subscriptions, queues, retained messages and wills of one worker.
#[derive(Debug)]
pub struct Broker {
    pub(crate) config: Config,
    pub(crate) sessions: Sessions,
    pub(crate) subscriptions: Subscriptions,
    pub(crate) groups: Groups,
    /// Shared messages that were too large for somebody; the oldest are forgotten.
    pub(crate) passed: VecDeque<Passed>,
    /// Subscriptions of all sessions.
    pub(crate) subscribed: usize,
    /// Of these, shared ones.
    pub(crate) shared_subscribed: usize,
    /// Some subscription has [`Subscribe::spares_dollar`](crate::Subscribe), or had: where none
    /// has, no topic is looked at for it.
    pub(crate) some_spare_dollar: bool,
    /// Some subscription has [`Subscribe::hears_expiry`](crate::Subscribe), or had.
    pub(crate) some_hear_expiry: bool,
    pub(crate) retained: Retained,
    /// What the gateway says of itself.
    pub(crate) own: Retained,
    pub(crate) journal: Journal,
    pub(crate) timers: TimerQueue<SessionId>,
    pub(crate) effects: VecDeque<Effect>,
    /// What waits in all queues, in memory.
    pub(crate) queued: Load,
    /// Bytes that wait on disk only, as far as they were counted.
    pub(crate) disk_bytes: u64,
    /// Wills whose time has come.
    pub(crate) due_wills: VecDeque<Message>,
    /// Sessions whose connection ends because of [`crate::Overflow::Disconnect`].
    pub(crate) overflowed: VecDeque<SessionId>,
    pub(crate) identifiers: Identifiers,
    pub(crate) acted: Acted,
    /// Sessions that ended because their time was over.
    pub(crate) expired_sessions: u64,
    pub(crate) store_failed: bool,
    /// Sessions that have become durable in batches that are not stored yet.
    pub(crate) fresh: VecDeque<(Seq, SessionId)>,
    /// Sessions that have ended and whose part on disk is still to be handed over to their groups:
    /// nameless ones that have nothing else.
    pub(crate) ended_on_disk:
        hashbrown::HashMap<SessionId, alloc::boxed::Box<crate::session::Session>>,
    /// Reused by every publish.
    pub(crate) hits: Vec<Hit>,
    pub(crate) matched: Vec<FilterId>,
    /// Records of an earlier life, until `restored`.
    pub(crate) restoring: Option<alloc::boxed::Box<Restoring>>,
    /// Restored sessions whose connection may be opened again; until then their wills wait.
    pub(crate) resuming: alloc::vec::Vec<SessionId>,
}

impl Broker {
    /// A broker with nothing in it.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Broker {
            config,
            sessions: Sessions::default(),
            subscriptions: Subscriptions::default(),
            groups: Groups::default(),
            passed: VecDeque::new(),
            subscribed: 0,
            shared_subscribed: 0,
            some_spare_dollar: false,
            some_hear_expiry: false,
            retained: Retained::default(),
            own: Retained::default(),
            journal: Journal::default(),
            timers: TimerQueue::new(),
            effects: VecDeque::new(),
            queued: Load::default(),
            disk_bytes: 0,
            due_wills: VecDeque::new(),
            overflowed: VecDeque::new(),
            identifiers: Identifiers::default(),
            acted: Acted::default(),
            expired_sessions: 0,
            store_failed: false,
            fresh: VecDeque::new(),
            ended_on_disk: hashbrown::HashMap::new(),
            hits: Vec::new(),
            matched: Vec::new(),
            restoring: None,
            resuming: alloc::vec::Vec::new(),
        }
    }

    /// Other bounds hold from now on; what is beyond a smaller one already stays.
    pub fn reconfigure(&mut self, config: Config) {
        self.config = config;
    }

    /// Whether records cannot be stored now. While it is so, what would make the durable state grow
    /// is refused ([`Reason::StorageFull`](motegate_message::Reason::StorageFull)); all else goes on.
    pub fn set_store_failed(&mut self, failed: bool) {
        self.store_failed = failed;
    }

    /// Batches up to `seq` are stored.
    pub fn handle_committed(&mut self, seq: Seq) {
        self.store_failed = false;
        while self.fresh.front().is_some_and(|(at, _)| *at <= seq) {
            self.fresh.pop_front();
        }
        if self.fresh.is_empty() {
            self.fresh = VecDeque::new();
        }
    }

    /// What [`set_store_failed`](Self::set_store_failed) said last.
    #[must_use]
    pub fn is_store_failed(&self) -> bool {
        self.store_failed
    }

    /// Does what is asked; the answers are polled.
    pub fn handle(&mut self, turn: &Turn, request: Request) {
        self.journal.begin(turn);
        match request {
            Request::Open(open) => self.open(turn, open),
            Request::Publish { ticket, message, precondition } => {
                self.publish(turn, ticket, message, precondition);
            }
            Request::Read { ticket, topic } => self.read(turn, ticket, &topic),
            Request::List { ticket, filter, limit } => self.list(turn, ticket, &filter, limit),
            Request::Subscribe { ticket, session, filters, most } => {
                self.subscribe(turn, ticket, session, &filters, most);
            }
            Request::Unsubscribe { ticket, session, filters } => {
                self.unsubscribe(turn, ticket, session, &filters);
            }
            Request::Resubscribe { ticket, session, from, to } => {
                self.resubscribe(turn, ticket, session, &from, &to);
            }
            Request::Ack { session, delivery } => self.ack(turn, session, delivery),
            Request::PutAside { session, delivery } => self.put_aside(turn, session, delivery),
            Request::TooLarge { session, delivery, message, share } => {
                self.too_large(turn, session, delivery, &message, GroupId::new(share));
            }
            Request::Credit { session, window, room } => self.credit(turn, session, window, room),
            Request::Drain { ticket, session, window, room } => {
                self.drain(turn, ticket, session, window, room);
            }
            Request::Bound { session, queue } => self.bound(turn, session, queue),
            Request::SetWill { session, will } => self.set_will(turn, session, will),
            Request::GetWill { ticket, session } => self.get_will(ticket, session),
            Request::Close { session, handle, drop_will, expiry } => {
                self.close(turn, session, handle, drop_will, expiry);
            }
        }
        self.settle(turn);
    }

    /// Deadlines up to `turn.now` are due: wills, session and message expiry.
    pub fn handle_timeout(&mut self, turn: &Turn) {
        self.journal.begin(turn);
        while let Some(id) = self.timers.pop(turn.now) {
            if let Some(session) = self.sessions.get_mut(id)
                && self.timers.fires(&mut session.timer, id, turn.now)
            {
                self.session_due(turn, id);
            }
        }
        while let Some(message) = self.retained.pop_expired(turn.now) {
            if turn.durable {
                self.journal.retained_gone(&message.topic);
            }
            self.tell_expired(turn, &message.topic);
        }
        self.settle(turn);
    }

    /// One deadline of a session has come.
    fn session_due(&mut self, turn: &Turn, id: SessionId) {
        let Some(session) = self.sessions.get_mut(id) else { return };
        if session.ends <= turn.now {
            self.expired_sessions += 1;
            return self.end(turn, id);
        }
        let slot = session.slot();
        if session.will.as_ref().is_some_and(|will| will.due() <= turn.now) {
            self.spend_will(turn, slot);
        }
        self.purge_expired(turn, slot);
        self.pump(turn, slot);
        self.arm(slot);
    }

    /// Sets the session's timer to its earliest deadline.
    pub(crate) fn arm(&mut self, slot: u32) {
        let Some(session) = self.sessions.at_mut(slot) else { return };
        let at = session.deadline();
        if at == Instant::FAR_FUTURE {
            session.timer.clear();
        } else if session.timer.deadline() != Some(at) {
            self.timers.set(&mut session.timer, session.id, at);
        }
    }

    /// Does what the request caused besides its answer, until nothing is left.
    pub(crate) fn settle(&mut self, turn: &Turn) {
        loop {
            if let Some(id) = self.overflowed.pop_front() {
                self.disconnect_overflowed(turn, id);
            } else if let Some(will) = self.due_wills.pop_front() {
                self.publish_will(turn, will);
            } else {
                return;
            }
        }
    }

    fn read(&mut self, turn: &Turn, ticket: Ticket, topic: &TopicName) {
        let message = self.retained(topic, turn.now).cloned();
        self.effects.push_back(Effect::Value { ticket, message });
    }

    fn list(&mut self, turn: &Turn, ticket: Ticket, filter: &TopicFilter, limit: usize) {
        let topics: Vec<Arc<Message>> = self.retained.matching(filter, turn.now, limit);
        self.effects.push_back(Effect::Topics { ticket, topics });
    }

    /// The next answer.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        let effect = self.effects.pop_front();
        if self.effects.is_empty() && self.effects.capacity() > 1_024 {
            self.effects = VecDeque::new();
        }
        effect
    }

    /// The next change to the durable state.
    pub fn poll_record(&mut self) -> Option<Record> {
        self.journal.pop()
    }

    /// When `handle_timeout` is wanted.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        earliest(self.timers.next_deadline(), self.retained.next_expiry())
    }
}
