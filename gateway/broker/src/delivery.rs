//! A message travels to one session: at once if credit allows, through the queue if not.
//!
//! Credit is a window of unacknowledged QoS 1/2 deliveries and room in bytes. Whatever is not
//! delivered at once waits in the session's FIFO within its bounds; retained messages of a
//! SUBSCRIBE wait there outside them.

use alloc::boxed::Box;
use alloc::collections::BinaryHeap;
use alloc::sync::Arc;

use motegate_message::{Delivery, DeliveryId, Message, Qos, Reason, SessionId, Turn};

use crate::journal::FilterText;
use crate::queue::{Entry, Progress};
use crate::session::{Drain, Session};
use crate::shared::GroupId;
use crate::{Broker, Effect, Overflow, QueuePolicy, Ticket};

/// Retained messages of SUBSCRIBEs that may wait for a session however few may be retained: each
/// filter sends for itself.
const MIN_SNAPSHOTS: usize = 10_000;

/// How many filters that match everything may send all retained messages before any has left.
const OVERLAPS: usize = 4;

/// How one copy of a message must look.
#[derive(Debug, Clone)]
pub(crate) struct Outgoing {
    pub(crate) qos: Qos,
    pub(crate) retain: bool,
    pub(crate) identifiers: Option<Arc<[u32]>>,
    pub(crate) group: GroupId,
    /// A retained message sent because of a SUBSCRIBE.
    pub(crate) snapshot: bool,
}

impl Broker {
    pub(crate) fn dropped(&mut self, session: SessionId, reason: Reason) {
        self.effects.push_back(Effect::Dropped { session: Some(session), reason });
    }

    /// Delivers a copy, or queues it, or drops it as the session's policy says.
    pub(crate) fn offer(&mut self, turn: &Turn, slot: u32, message: &Arc<Message>, out: Outgoing) {
        let Some(session) = self.sessions.at(slot) else { return };
        if session.takes_now(out.qos) {
            return self.deliver_at_once(turn, slot, message, out);
        }
        self.offer_later(turn, slot, message, out);
    }

    /// It is not taken now. Apart, so that the path of nearly every message stays short.
    #[inline(never)]
    fn offer_later(&mut self, turn: &Turn, slot: u32, message: &Arc<Message>, out: Outgoing) {
        let Some(session) = self.sessions.at(slot) else { return };
        let id = session.id;
        if !out.snapshot && session.loses(out.qos) {
            return self.dropped(id, Reason::NoReceiver);
        }
        // A member of a group that cannot take it says so itself, and another one gets it.
        let too_long = message.payload.len() > usize::from(session.policy.max_payload);
        if too_long && session.policy.max_payload < u16::MAX && out.group == GroupId::NONE {
            return self.dropped(id, Reason::TooLarge);
        }
        // Also an interval of 0: for those who can take it at once only (mqtt.md 2.14).
        if message.is_expired(turn.now) {
            return self.dropped(id, Reason::MessageExpired);
        }
        if out.snapshot {
            if self.holds_all_snapshots(session) {
                return self.dropped(id, Reason::QueueFull);
            }
        } else if !self.make_room(turn, slot, message, out.qos) {
            return self.pump(turn, slot); // a drain may be over by what was dropped
        }
        let waits_for_acks =
            self.sessions.at(slot).is_some_and(|s| s.connected && s.window > 0 && !s.has_place());
        self.acted.max_inflight += u64::from(waits_for_acks);
        self.enqueue(turn, slot, message, out, Progress::Waiting);
        if self.queued.bytes > self.config.max_memory_queued as u64 {
            self.cut_longest(turn);
        }
        self.pump(turn, slot);
        self.arm(slot);
    }

    /// Whether a session has as many retained messages waiting as it may. References only, but not
    /// without end: a client may repeat its SUBSCRIBE.
    pub(crate) fn holds_all_snapshots(&self, session: &Session) -> bool {
        let all = self.retained.len().saturating_mul(OVERLAPS);
        let most = all.min(self.config.max_retained_messages).max(MIN_SNAPSHOTS);
        session.queue.snapshots() >= most
    }

    /// The path of nearly every message: nothing waits and there is credit.
    fn deliver_at_once(&mut self, turn: &Turn, slot: u32, message: &Arc<Message>, out: Outgoing) {
        let (qos, retain, share) = (out.qos, out.retain, out.group.get());
        let (delivery_id, identifiers) = if qos == Qos::AtMostOnce {
            (self.next_delivery(turn, slot), out.identifiers)
        } else {
            let identifiers = out.identifiers.clone();
            (self.enqueue(turn, slot, message, out, Progress::First), identifiers)
        };
        let Some(session) = self.sessions.at_mut(slot) else { return };
        charge(session, message);
        self.effects.push_back(Effect::Deliver {
            session: session.id,
            handle: session.handle,
            delivery: Delivery {
                id: delivery_id,
                message: message.clone(),
                qos,
                retain,
                again: false,
                identifiers,
                share,
            },
        });
    }

    fn next_delivery(&mut self, turn: &Turn, slot: u32) -> DeliveryId {
        let Some(session) = self.sessions.at_mut(slot) else { return DeliveryId(0) };
        // Before the id is used: the record says where the queue begins.
        if session.durable && session.reserved == 0 {
            self.journal.session(turn, session);
        }
        session.next_delivery()
    }

    fn enqueue(
        &mut self,
        turn: &Turn,
        slot: u32,
        message: &Arc<Message>,
        out: Outgoing,
        progress: Progress,
    ) -> DeliveryId {
        let id = self.next_delivery(turn, slot);
        let entry = Entry {
            id,
            message: message.clone(),
            identifiers: out.identifiers,
            group: out.group,
            qos: out.qos,
            retain: out.retain,
            progress,
            snapshot: out.snapshot,
        };
        let to_disk = progress == Progress::Waiting
            && self.sessions.at(slot).is_some_and(|session| self.goes_to_disk(session));
        let Some(session) = self.sessions.at_mut(slot) else { return id };
        if session.durable && (to_disk || entry.is_journaled()) {
            let text = group_text(&self.groups, &self.subscriptions, entry.group);
            self.journal.entry(turn, session.id, &entry, text);
        }
        if to_disk {
            self.journal.entry_spilled(&entry.message);
            let before = session.queue.on_disk();
            session.queue.append_to_disk(&entry);
            self.disk_bytes += session.queue.on_disk() - before;
            return id;
        }
        let before = session.queue.load();
        session.queue.push(entry);
        self.queued.changed(before, session.queue.load());
        id
    }

    /// Takes an entry out of a session's queue, its record and its bytes with it.
    pub(crate) fn remove_entry(&mut self, slot: u32, index: usize) -> Option<Entry> {
        let session = self.sessions.at_mut(slot)?;
        let before = session.queue.load();
        let entry = session.queue.remove(index)?;
        self.queued.changed(before, session.queue.load());
        if session.durable {
            self.journal.entry_gone(session.id, &entry);
        }
        Some(entry)
    }

    /// Makes the queue fit one more message; `false` if that one is the one to drop. A queue whose
    /// oldest is on disk, or whose part on disk is not counted, gives up its excess once it is read.
    fn make_room(&mut self, turn: &Turn, slot: u32, message: &Message, qos: Qos) -> bool {
        self.purge_expired(turn, slot); // before counting (mqtt.md 2.14)
        let size = message.size() as u64;
        loop {
            let Some(session) = self.sessions.at_mut(slot) else { return false };
            let (id, queue, policy) = (session.id, &session.queue, session.policy);
            let max_bytes = u64::from(policy.max_bytes);
            if queue.waiting() < policy.max_messages && queue.bytes() + size <= max_bytes {
                return self.has_disk_for(slot, size);
            }
            if !queue.is_exact() {
                self.count_disk(slot);
                return true;
            }
            let on_disk = queue.disk().is_some();
            let by_count = queue.waiting() >= policy.max_messages;
            let reason = full_reason(session);
            let victim = if size > max_bytes {
                None
            } else {
                match policy.overflow {
                    Overflow::DropNewest | Overflow::Disconnect => None,
                    // What arrives at QoS 0 does not displace what was acknowledged.
                    Overflow::DropOldest if qos == Qos::AtMostOnce && !queue.has_qos0() => None,
                    Overflow::DropOldest => match queue.oldest() {
                        None if on_disk => return self.has_disk_for(slot, size),
                        oldest => oldest,
                    },
                    Overflow::LatestPerTopic => {
                        let older = queue.find_waiting(0, |e| e.message.topic == message.topic);
                        if let Some(older) = older {
                            self.remove_entry(slot, older); // replaced, not lost
                            continue;
                        }
                        queue.oldest()
                    }
                }
            };
            // Named twice it ends once.
            let ends = policy.overflow == Overflow::Disconnect && session.connected;
            if ends && self.overflowed.back() != Some(&id) {
                self.overflowed.push_back(id);
            }
            if by_count {
                self.acted.max_queued_messages += 1;
            } else {
                self.acted.max_queued_bytes += 1;
            }
            self.dropped(id, reason);
            let Some(victim) = victim else { return false };
            self.remove_entry(slot, victim);
        }
    }

    /// Whether one more message may go to disk, if it would; counted and told if not.
    fn has_disk_for(&mut self, slot: u32, size: u64) -> bool {
        let Some(session) = self.sessions.at(slot) else { return false };
        let fits = self.disk_bytes + size <= self.config.max_disk_queued as u64;
        if fits || !self.goes_to_disk(session) {
            return true;
        }
        let (id, reason) = (session.id, full_reason(session));
        self.acted.max_disk_queued += 1;
        self.dropped(id, reason);
        false
    }

    /// Drops what waited too long.
    pub(crate) fn purge_expired(&mut self, turn: &Turn, slot: u32) {
        let Some(session) = self.sessions.at(slot) else { return };
        if session.queue.next_expiry() > turn.now {
            return;
        }
        let id = session.id;
        let mut from = 0;
        while let Some(at) =
            self.sessions.at(slot).and_then(|s| s.queue.find_expired(from, turn.now))
        {
            from = at;
            self.remove_entry(slot, at);
            self.dropped(id, Reason::MessageExpired);
        }
        if let Some(session) = self.sessions.at_mut(slot) {
            session.queue.refresh_expiry();
        }
    }

    /// All queues together are too big: the longest go to disk, or give up their oldest where they
    /// cannot, down to a little below the limit, so that the next message does not search again.
    fn cut_longest(&mut self, turn: &Turn) {
        let limit = self.config.max_memory_queued as u64;
        let target = limit - limit / 16;
        let mut by_size: BinaryHeap<(u64, u32)> = self
            .sessions
            .iter()
            .filter(|s| s.queue.memory() > 0)
            .map(|s| (s.queue.memory(), s.slot()))
            .collect();
        while self.queued.bytes > target {
            let Some((_, slot)) = by_size.pop() else { return };
            let next = by_size.peek().map_or(0, |(bytes, _)| *bytes);
            while let Some(session) = self.sessions.at(slot) {
                let (id, bytes) = (session.id, session.queue.memory());
                if bytes < next || self.queued.bytes <= target {
                    by_size.push((bytes, slot));
                    break;
                }
                if self.spill_last(turn, slot) {
                    continue;
                }
                let Some(session) = self.sessions.at(slot) else { break };
                let Some(oldest) = session.queue.oldest() else { break };
                self.remove_entry(slot, oldest);
                self.acted.max_memory_queued += 1;
                self.dropped(id, Reason::QueueFull);
            }
            self.pump(turn, slot);
        }
    }

    /// Delivers what credit allows, in order; ends a drain that is done.
    pub(crate) fn pump(&mut self, turn: &Turn, slot: u32) {
        loop {
            let Some(session) = self.sessions.at_mut(slot) else { return };
            if !session.connected {
                break;
            }
            let at = session.queue.flying();
            let Some(entry) = session.queue.get(at) else { break };
            if session.drain.as_ref().is_some_and(|drain| entry.id > drain.upto) {
                break;
            }
            if entry.is_expired(turn.now) {
                let id = session.id;
                self.remove_entry(slot, at);
                self.dropped(id, Reason::MessageExpired);
                continue;
            }
            if !session.has_credit(entry.qos) {
                break;
            }
            self.deliver_queued(slot, at);
        }
        self.end_drain(slot);
        self.read_on(slot);
        if self.sessions.at(slot).is_some_and(Session::takes_nothing) {
            self.spill(turn, slot);
        }
    }

    fn deliver_queued(&mut self, slot: u32, at: usize) {
        let Some(session) = self.sessions.at_mut(slot) else { return };
        let Some(entry) = session.queue.get(at).cloned() else { return };
        charge(session, &entry.message);
        let (session_id, handle) = (session.id, session.handle);
        if entry.qos == Qos::AtMostOnce {
            self.remove_entry(slot, at);
        } else {
            let before = session.queue.load();
            session.queue.take_off();
            self.queued.changed(before, session.queue.load());
        }
        self.effects.push_back(Effect::Deliver {
            session: session_id,
            handle,
            delivery: Delivery {
                id: entry.id,
                message: entry.message,
                qos: entry.qos,
                retain: entry.retain,
                again: entry.progress.is_sent(),
                identifiers: entry.identifiers,
                share: entry.group.get(),
            },
        });
    }

    /// A drain is over when everything queued at its start has left and been acknowledged.
    fn end_drain(&mut self, slot: u32) {
        let Some(session) = self.sessions.at_mut(slot) else { return };
        let Some(drain) = &session.drain else { return };
        if session.queue.head().is_some_and(|first| first <= drain.upto) {
            return;
        }
        let effect =
            Effect::Drained { ticket: drain.ticket, session: session.id, handle: session.handle };
        session.drain = None;
        (session.window, session.room) = (0, 0);
        self.effects.push_back(effect);
    }

    pub(crate) fn ack(&mut self, turn: &Turn, session: SessionId, delivery: DeliveryId) {
        let Some(session) = self.sessions.get(session) else { return };
        let slot = session.slot();
        let Some(at) = session.queue.find_started(delivery) else { return };
        self.remove_entry(slot, at);
        self.pump(turn, slot);
    }

    /// A delivery that this connection cannot be given waits for the next, within the bounds of the
    /// queue: what goes beyond them is dropped.
    pub(crate) fn put_aside(&mut self, turn: &Turn, session: SessionId, delivery: DeliveryId) {
        let Some(session) = self.sessions.get_mut(session) else { return };
        let (id, slot, policy) = (session.id, session.slot(), session.policy);
        let Some(at) = session.queue.find_started(delivery) else { return };
        let Some(entry) = session.queue.get(at) else { return };
        let (count, bytes) = session.queue.aside();
        let size = entry.message.size() as u64;
        let by_count = count >= policy.max_messages;
        if !by_count && u64::from(bytes) + size <= u64::from(policy.max_bytes) {
            session.queue.put_aside(at);
        } else {
            if by_count {
                self.acted.max_queued_messages += 1;
            } else {
                self.acted.max_queued_bytes += 1;
            }
            self.remove_entry(slot, at);
            self.dropped(id, Reason::QueueFull);
        }
        self.pump(turn, slot);
        self.arm(slot);
    }

    pub(crate) fn credit(&mut self, turn: &Turn, session: SessionId, window: u16, room: u32) {
        let Some(session) = self.sessions.get_mut(session) else { return };
        if !session.connected {
            return;
        }
        let slot = session.slot();
        (session.window, session.room) = (window, room);
        if session.durable && window > session.journaled_window {
            self.journal.session(turn, session);
        }
        self.pump(turn, slot);
    }

    pub(crate) fn drain(
        &mut self,
        turn: &Turn,
        ticket: Ticket,
        session: SessionId,
        window: u16,
        room: u32,
    ) {
        let Some(session) = self.sessions.get_mut(session) else { return };
        if !session.connected {
            return;
        }
        if let Some(drain) = &mut session.drain {
            drain.ticket = ticket;
            return;
        }
        let upto = DeliveryId(session.delivery_mark() - 1);
        session.drain = Some(Box::new(Drain { ticket, upto }));
        let id = session.id;
        self.credit(turn, id, window, room);
    }

    /// New bounds; what no longer fits is dropped from the end that the policy names.
    pub(crate) fn bound(&mut self, turn: &Turn, session: SessionId, policy: QueuePolicy) {
        let Some(session) = self.sessions.get_mut(session) else { return };
        let slot = session.slot();
        let changed = session.policy != policy;
        session.policy = policy;
        if session.durable && changed {
            self.journal.session(turn, session);
        }
        self.purge_expired(turn, slot);
        self.shrink(slot);
        self.spill(turn, slot);
        self.pump(turn, slot);
        self.arm(slot);
    }

    /// Drops what no longer fits, as far as it is in memory and counted.
    pub(crate) fn shrink(&mut self, slot: u32) {
        loop {
            let Some(session) = self.sessions.at(slot) else { return };
            let (id, queue, policy) = (session.id, &session.queue, session.policy);
            let fits = queue.waiting() <= policy.max_messages
                && queue.bytes() <= u64::from(policy.max_bytes);
            if fits || !queue.is_exact() {
                return;
            }
            let victim = match policy.overflow {
                Overflow::DropOldest | Overflow::LatestPerTopic => queue.oldest(),
                Overflow::DropNewest | Overflow::Disconnect => queue.newest(),
            };
            let by_count = queue.waiting() > policy.max_messages;
            let reason = full_reason(session);
            let Some(victim) = victim else { return };
            if by_count {
                self.acted.max_queued_messages += 1;
            } else {
                self.acted.max_queued_bytes += 1;
            }
            self.remove_entry(slot, victim);
            self.dropped(id, reason);
        }
    }
}

/// While some room is left a delivery may exceed it.
fn charge(session: &mut Session, message: &Message) {
    let size = u32::try_from(message.size()).unwrap_or(u32::MAX);
    session.room = session.room.saturating_sub(size);
}

fn full_reason(session: &Session) -> Reason {
    if session.connected && session.is_away() { Reason::SleepQueueFull } else { Reason::QueueFull }
}

/// What the journal calls a group.
pub(crate) fn group_text<'a>(
    groups: &'a crate::shared::Groups,
    subscriptions: &'a crate::subscriptions::Subscriptions,
    group: GroupId,
) -> Option<FilterText<'a>> {
    let group = groups.get(group)?;
    let filter = subscriptions.get(group.filter)?.text.as_str();
    Some(FilterText { share: Some(&group.name), filter })
}
