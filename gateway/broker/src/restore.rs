//! The journal is read back: records of the state in any order first ([`Broker::restore`]), then
//! everything is linked ([`Broker::restored`]). Queues stay on disk, but for those that are always in
//! memory: the restart takes time by the number of sessions, not of messages.
//!
//! Sessions keep their [`SessionId`]s, deliveries their [`DeliveryId`]s and their order. An open
//! connection counts as closed at the restart (`protocols/mqtt.md` 2.2): its session's expiry and
//! its will's delay start then, unless a protocol opens it again ([`Broker::will_resume`]). What was in flight for a session that was offline goes out with
//! `again` set; for a connection that was open at the crash nothing says what was delivered, so
//! the first `window` deliveries neither expire nor move at QoS 2 but come with `again` unset. Once
//! they are read the journal names them, so that after another crash they are not counted once more.
//! An endpoint that journals packet identifiers by delivery id knows better.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use motegate_message::journal::{PageRequest, Reader, Saved, owner};
use motegate_message::{
    DeliveryId, Message, Qos, SessionId, SessionKey, SubscriptionFilter, TopicFilter, Turn, Wall,
    Will,
};
use motegate_timers::Instant;

use crate::journal::{FORMAT, kind};
use crate::perhaps::{Perhaps, Window};
use crate::queue::OnDisk;
use crate::session::Session;
use crate::subscriptions::{Grant, Marks};
use crate::will::{HeldWill, WillState};
use crate::{Broker, Overflow, QueuePolicy};

#[derive(Debug)]
struct SavedSession {
    session: Session,
    connected: bool,
    started: u64,
    perhaps: Perhaps,
    /// No entry of its queue has a lower id.
    head: u64,
}

/// Records of an earlier life, by owner.
#[derive(Debug, Default)]
pub(crate) struct Restoring {
    sessions: BTreeMap<SessionId, SavedSession>,
    subscriptions: Vec<(SessionId, SubscriptionFilter, Grant, Vec<u8>)>,
    wills: Vec<(SessionId, HeldWill)>,
    generation_mark: u32,
    content_mark: u64,
}

impl Broker {
    /// One record of an earlier life, before anything else is handled; `false` when it is damaged.
    pub fn restore(&mut self, turn: &Turn, key: &[u8], value: &[u8]) -> bool {
        self.restore_record(turn, key, value).is_some()
    }

    fn restore_record(&mut self, turn: &Turn, key: &[u8], value: &[u8]) -> Option<()> {
        let (mut key_in, mut input) = (Reader::new(key), Reader::new(value));
        if key_in.u8()? != owner::BROKER {
            return None;
        }
        let kind = key_in.u8()?;
        let state = self.restoring.get_or_insert_default();
        if kind == kind::RETAINED {
            let message = Message::decode(turn, &mut input).filter(|_| input.is_empty())?;
            if message.topic.as_str().as_bytes() != key_in.tail() {
                return None;
            }
            self.retained.set(&Arc::new(message));
            return Some(());
        }
        if input.u8()? != FORMAT {
            return None;
        }
        match kind {
            kind::MARKS if key_in.is_empty() => {
                let generation = u32::try_from(input.u64()?).ok()?;
                let content = input.u64().filter(|_| input.is_empty())?;
                state.generation_mark = state.generation_mark.max(generation);
                state.content_mark = state.content_mark.max(content);
            }
            kind::SESSION => {
                let id = read_id(&mut key_in).filter(|_| key_in.is_empty())?;
                // Slots are handed out from 0 up: one past any real table is damage, not a size.
                if id.slot() > self.config.max_sessions.saturating_mul(2).max(1 << 20) {
                    return None;
                }
                let saved = read_session(turn, id, &mut input).filter(|_| input.is_empty())?;
                state.sessions.insert(id, saved);
            }
            kind::SUBSCRIPTION => {
                let id = read_id(&mut key_in)?;
                let filter = read_filter(&mut key_in)?;
                let grant = read_grant(&mut input).filter(|_| input.is_empty())?;
                state.subscriptions.push((id, filter, grant, key.to_vec()));
            }
            kind::WILL => {
                let id = read_id(&mut key_in).filter(|_| key_in.is_empty())?;
                let held = read_will(turn, &mut input).filter(|_| input.is_empty())?;
                state.wills.push((id, held));
            }
            _ => return None,
        }
        Some(())
    }

    /// After the last `restore`: open connections count as closed now. What becomes of queues is
    /// asked of `saved`.
    pub fn restored(&mut self, turn: &Turn, saved: &mut dyn Saved) {
        self.journal.begin(turn);
        let Some(state) = self.restoring.take() else { return };
        let mut state = *state;
        let (mut open, mut queues, mut ended) = (Vec::new(), Vec::new(), Vec::new());
        for (id, session) in core::mem::take(&mut state.sessions) {
            state.generation_mark = state.generation_mark.max(id.generation().saturating_add(1));
            if session.session.key.is_none() {
                // It has ended, and its place may be another's.
                ended.push(session);
                continue;
            }
            let window = session.session.journaled_window;
            let slot = session.session.slot();
            if self.sessions.restore(session.session) {
                // All that was there when a connection died may have been sent; what came after an
                // earlier death, to a session that has not been back since, was not.
                let perhaps = match session.connected {
                    true => session.perhaps.died(window),
                    false => session.perhaps,
                };
                let on_disk = OnDisk {
                    started: DeliveryId(session.started),
                    perhaps,
                    is_exact: false,
                    grouped: true,
                    ..OnDisk::new(DeliveryId(session.head))
                };
                queues.push((slot, on_disk));
                open.extend(session.connected.then_some(slot));
            } else {
                self.journal.session_gone(id); // its place or its name is another's
                self.journal.queue_gone(id);
            }
        }
        self.journal.restore_marks(state.generation_mark, state.content_mark);
        self.sessions.restored(self.journal.generation_mark());
        for (id, held) in state.wills {
            match self.sessions.get_mut(id) {
                Some(session) => session.will = Some(alloc::boxed::Box::new(held)),
                None => self.journal.will_gone(id),
            }
        }
        for (id, filter, grant, key) in state.subscriptions {
            let Some(slot) = self.sessions.get(id).map(Session::slot) else {
                self.journal.orphan(key);
                continue;
            };
            let held = self.find_held(&filter).unwrap_or_else(|| self.add_filter(&filter));
            self.link(slot, held, grant);
        }
        for (slot, on_disk) in queues {
            self.restore_queue(turn, slot, on_disk, saved);
        }
        for session in ended {
            self.end_once_more(turn, session, saved);
        }
        self.close_restored(turn, &open);
    }

    /// The process died before the queue of a session that had ended was read to its end.
    fn end_once_more(&mut self, turn: &Turn, ended: SavedSession, saved: &mut dyn Saved) {
        let SavedSession { mut session, started, perhaps, head, .. } = ended;
        let id = session.id;
        let mut on_disk = OnDisk {
            started: DeliveryId(started),
            perhaps,
            is_exact: false,
            grouped: true,
            ..OnDisk::new(DeliveryId(head))
        };
        if let Some([first, last]) = saved.queue_ends(id, on_disk.from) {
            session.restore_mark(last.key.delivery.next().0);
            on_disk.from = first.key.delivery;
            on_disk.restored = last.key.delivery;
            on_disk.perhaps.end_at(last.key.delivery);
        }
        self.end_on_disk(turn, &session, on_disk);
    }

    fn restore_queue(
        &mut self,
        turn: &Turn,
        slot: u32,
        mut on_disk: OnDisk,
        saved: &mut dyn Saved,
    ) {
        let Some(session) = self.sessions.at_mut(slot) else { return };
        let (id, from) = (session.id, on_disk.from);
        let Some([first, last]) = saved.queue_ends(id, from) else { return };
        session.restore_mark(last.key.delivery.next().0);
        on_disk.from = first.key.delivery;
        on_disk.restored = last.key.delivery;
        on_disk.perhaps.end_at(last.key.delivery);
        // An estimate until somebody counts.
        let ids = last.key.delivery.0 - first.key.delivery.0;
        on_disk.tally.count = u32::try_from(ids).unwrap_or(u32::MAX).saturating_add(1);
        let in_memory = session.policy.overflow == Overflow::LatestPerTopic;
        session.queue.set_disk(Some(on_disk));
        while in_memory && let Some(from) = self.expect_page(slot, None) {
            let (session, max_entries, max_bytes) = (id, 1_024, usize::MAX);
            let page = saved.page(PageRequest { session, from, max_entries, max_bytes });
            self.fetched_for(turn, slot, &page);
        }
    }

    /// Before `restored`: a protocol means to open the connections of these sessions again, as if
    /// they had never closed. Their wills stay armed until [`resumed`](Self::resumed).
    pub fn will_resume(&mut self, sessions: impl IntoIterator<Item = SessionId>) {
        self.resuming.extend(sessions);
        self.resuming.sort_unstable();
    }

    /// All that could be opened again is open: whoever is not has lost its connection, and its
    /// will is decided like any other.
    pub fn resumed(&mut self, turn: &Turn) {
        self.journal.begin(turn);
        for id in core::mem::take(&mut self.resuming) {
            let Some(session) = self.sessions.get(id).filter(|s| !s.connected) else { continue };
            let slot = session.slot();
            self.release_will(turn, slot);
            self.arm(slot);
        }
        self.settle(turn);
    }

    /// Wills and expiries of connections that were open start now.
    fn close_restored(&mut self, turn: &Turn, open: &[u32]) {
        for slot in open {
            let Some(session) = self.sessions.at_mut(*slot) else { continue };
            session.ends = session.end_after(turn.now);
            if self.resuming.binary_search(&session.id).is_err() {
                self.release_will(turn, *slot);
            }
            if let Some(session) = self.sessions.at_mut(*slot)
                && turn.durable
            {
                self.journal.session(turn, session);
            }
        }
        let slots: Vec<u32> = self.sessions.iter().map(Session::slot).collect();
        for slot in slots {
            self.arm(slot);
        }
        self.settle(turn);
    }
}

fn read_id(input: &mut Reader<'_>) -> Option<SessionId> {
    input.u64().map(SessionId::from_u64)
}

fn read_session(turn: &Turn, id: SessionId, input: &mut Reader<'_>) -> Option<SavedSession> {
    let key = input.option(Reader::str)?;
    let key = match key {
        Some(text) => Some(SessionKey::from_text(text)?),
        None => None,
    };
    let connected = input.u8()? != 0;
    let expiry = input.u64()?;
    let ends = input.option(Reader::u64)?;
    let reserved = input.u64()?;
    let started = input.u64()?;
    let last_count = input.u16()?;
    let head = input.u64()?;
    let window = input.u16()?;
    let max_messages = u32::try_from(input.u64()?).ok()?;
    let max_bytes = u32::try_from(input.u64()?).ok()?;
    let overflow = match input.u8()? {
        0 => Overflow::DropOldest,
        1 => Overflow::DropNewest,
        2 => Overflow::Disconnect,
        3 => Overflow::LatestPerTopic,
        _ => return None,
    };
    let flags = input.u8()?;
    let queue_qos0 = flags & 1 != 0;
    let max_payload = if flags & 2 != 0 { input.u16()? } else { u16::MAX };
    let policy = QueuePolicy { max_messages, max_bytes, overflow, queue_qos0, max_payload };
    let upto = if input.is_empty() { u64::MAX } else { input.u64()? };
    let last = Window { count: last_count, upto: DeliveryId(upto) };
    let earlier = match input.is_empty() {
        true => Window::default(),
        false => Window { count: input.u16()?, upto: DeliveryId(input.u64()?) },
    };
    let perhaps = Perhaps::new(last, earlier);
    let mut session = Session::new(id, key, policy);
    session.set_expiry_micros(expiry);
    session.ends = ends.map_or(Instant::FAR_FUTURE, |ms| turn.from_wall(Wall::from_millis(ms)));
    session.restore_mark(reserved);
    session.journaled_window = window;
    session.durable = turn.durable;
    Some(SavedSession { session, connected, started, perhaps, head })
}

fn read_filter(input: &mut Reader<'_>) -> Option<SubscriptionFilter> {
    let share = input.option(Reader::str)?.map(Arc::from);
    let filter = core::str::from_utf8(input.tail()).ok()?;
    Some(SubscriptionFilter { share, filter: TopicFilter::lenient(filter).ok()? })
}

fn read_grant(input: &mut Reader<'_>) -> Option<Grant> {
    let flags = input.u8()?;
    Some(Grant {
        qos: Qos::from_bits(flags & 3)?,
        no_local: flags & 4 != 0,
        retain_as_published: flags & 8 != 0,
        marks: Marks::from_bits(flags >> 4),
        identifier: u32::try_from(input.u64()?).ok()?,
    })
}

fn read_will(turn: &Turn, input: &mut Reader<'_>) -> Option<HeldWill> {
    let state = match input.u8()? {
        0 => WillState::Armed,
        1 => WillState::Spent,
        2 => WillState::Due(turn.from_wall(Wall::from_millis(input.u64()?))),
        _ => return None,
    };
    let expiry = input.option(Reader::u64)?.map(Duration::from_micros);
    let delay = Duration::from_micros(input.u64()?);
    let message = Message::decode(turn, input)?;
    Some(HeldWill { will: Will { message, expiry, delay }, state })
}
