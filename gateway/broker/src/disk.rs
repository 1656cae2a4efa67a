//! Queues that are larger than memory.
//!
//! What waits for a durable session is in the journal anyway, so memory needs to hold only the head
//! of its queue: more of it while the session takes messages, less while it is away. The rest is on
//! disk only ([`OnDisk`]); it is read by page ([`Effect::Fetch`], [`Broker::fetched`]) when the head
//! runs low, when the oldest must go because the queue is full, and once after a restart, to be
//! counted. Until it is counted the bounds of such a queue drop nothing.
//!
//! Queues that keep the latest message of each topic are always in memory: they are searched.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use motegate_message::journal::{Page, PageRequest, QueuedRecord, Reader};
use motegate_message::{
    DeliveryId, Message, Qos, Reason, SessionId, SubscriptionFilter, TopicFilter, Turn,
};

use crate::delivery::group_text;
use crate::journal::FORMAT;
use crate::queue::{Asked, Entry, OnDisk, Progress, Tally};
use crate::session::Session;
use crate::shared::GroupId;
use crate::{Broker, Effect, Overflow};

/// Bytes of a head, while the session takes messages and while it is away.
const HEAD_BYTES: u64 = 1024 * 1024;
const HEAD_BYTES_AWAY: u64 = 32 * 1024;

/// Entries and bytes that are read at a time.
const PAGE_ENTRIES: usize = 64;
const PAGE_BYTES: usize = 64 * 1024;
/// To be given up, because the queue is full.
const OLDEST_ENTRIES: usize = 16;
/// To be counted only.
const COUNT_ENTRIES: usize = 1_024;

/// A queue entry as it was written, but for its message.
struct SavedEntry<'a> {
    qos: Qos,
    retain: bool,
    snapshot: bool,
    size: u64,
    group: Option<SubscriptionFilter>,
    identifiers: alloc::vec::Vec<u32>,
    /// Its message, if it holds it itself.
    inline: &'a [u8],
}

impl Broker {
    /// Whether what is queued now is kept on disk only.
    pub(crate) fn goes_to_disk(&self, session: &Session) -> bool {
        session.queue.disk().is_some()
            || self.may_spill(session) && !self.is_within_head(session, 1)
    }

    fn may_spill(&self, session: &Session) -> bool {
        session.durable && session.policy.overflow != Overflow::LatestPerTopic
    }

    fn is_within_head(&self, session: &Session, more: usize) -> bool {
        let (messages, bytes) = match session.takes_nothing() {
            true => (self.config.head_messages_away, HEAD_BYTES_AWAY),
            false => (self.config.head_messages, HEAD_BYTES),
        };
        session.queue.unsent_in_memory() + more <= messages && session.queue.memory() <= bytes
    }

    /// What is beyond the head is from now on only on disk; not while the oldest is looked for that
    /// a full queue must give up.
    pub(crate) fn spill(&mut self, turn: &Turn, slot: u32) {
        while let Some(session) = self.sessions.at(slot)
            && self.may_spill(session)
            && !is_over(session)
            && !self.is_within_head(session, 0)
            && self.spill_last(turn, slot)
        {}
    }

    /// The last entry of the head; `false` if there is none.
    pub(crate) fn spill_last(&mut self, turn: &Turn, slot: u32) -> bool {
        let Some(session) = self.sessions.at(slot).filter(|session| self.may_spill(session)) else {
            return false;
        };
        let id = session.id;
        let Some(session) = self.sessions.at_mut(slot) else { return false };
        let (before, disk) = (session.queue.load(), session.queue.on_disk());
        let Some(entry) = session.queue.spill_last() else { return false };
        self.queued.changed(before, session.queue.load());
        self.disk_bytes += session.queue.on_disk() - disk;
        if !entry.is_journaled() {
            let text = group_text(&self.groups, &self.subscriptions, entry.group);
            self.journal.entry(turn, id, &entry, text);
        }
        self.journal.entry_spilled(&entry.message);
        true
    }

    /// Reads on where the session can take what is on disk, or must give it up.
    pub(crate) fn read_on(&mut self, slot: u32) {
        let Some(session) = self.sessions.at(slot) else { return };
        let queue = &session.queue;
        let Some(disk) = queue.disk().filter(|disk| disk.asked.is_none()) else { return };
        let runs_low = session.connected
            && session.room > 0
            && session.window > 0
            && queue.unsent_in_memory() < PAGE_ENTRIES / 2
            && session.drain.as_ref().is_none_or(|drain| disk.from <= drain.upto);
        let must_give = is_over(session) && queue.is_exact() && queue.oldest().is_none();
        if runs_low || must_give {
            self.ask(slot, None);
        }
    }

    /// Has a queue counted that was not yet.
    pub(crate) fn count_disk(&mut self, slot: u32) {
        let asked = self.sessions.at(slot).and_then(|s| s.queue.disk()).and_then(|d| d.asked);
        if asked.is_none() {
            self.ask(slot, Some(Tally::default()));
        }
    }

    fn ask(&mut self, slot: u32, counted: Option<Tally>) {
        let Some(from) = self.expect_page(slot, counted) else { return };
        let Some(session) = self.sessions.at(slot) else { return };
        let (id, away) = (session.id, session.takes_nothing());
        let max_entries = match (counted, away) {
            (Some(_), _) => COUNT_ENTRIES,
            (None, true) => OLDEST_ENTRIES,
            (None, false) => PAGE_ENTRIES,
        };
        self.fetch(id, from, max_entries);
    }

    /// The next page of this session begins where it says.
    pub(crate) fn expect_page(&mut self, slot: u32, counted: Option<Tally>) -> Option<DeliveryId> {
        let session = self.sessions.at_mut(slot)?;
        let mark = DeliveryId(session.delivery_mark());
        let disk = session.queue.disk_mut()?;
        let from = disk.from;
        disk.asked = Some(Asked { from, mark, since: Tally::default(), counted });
        Some(from)
    }

    fn fetch(&mut self, session: SessionId, from: DeliveryId, max_entries: usize) {
        let max_bytes = PAGE_BYTES;
        let wanted = PageRequest { session, from, max_entries, max_bytes };
        self.effects.push_back(Effect::Fetch(wanted));
    }

    /// The answer to an [`Effect::Fetch`].
    pub fn fetched(&mut self, turn: &Turn, id: SessionId, page: &Page) {
        self.journal.begin(turn);
        match self.sessions.get(id).map(Session::slot) {
            Some(slot) => self.fetched_for(turn, slot, page),
            None => self.fetched_for_ended(turn, id, page),
        }
        self.settle(turn);
    }

    pub(crate) fn fetched_for(&mut self, turn: &Turn, slot: u32, page: &Page) {
        let Some(session) = self.sessions.at_mut(slot) else { return };
        let before = session.queue.on_disk();
        let Some(disk) = session.queue.disk_mut() else { return };
        let Some(asked) = disk.asked.take() else { return };
        let mut moved = Vec::new();
        match asked.counted {
            Some(counted) => self.counted(slot, asked, counted, page),
            // Otherwise something was put in front of it meanwhile, and goes first.
            None if disk.from == asked.from => moved = self.append_page(turn, slot, asked, page),
            None => {}
        }
        let now = self.sessions.at(slot).map_or(0, |session| session.queue.on_disk());
        self.disk_bytes = (self.disk_bytes + now).saturating_sub(before);
        for (message, group) in moved {
            self.share_again(turn, &message, group, &[slot]);
        }
        // What could not be dropped before it was read.
        self.purge_expired(turn, slot);
        self.shrink(slot);
        self.pump(turn, slot);
        self.arm(slot);
    }

    fn counted(&mut self, slot: u32, asked: Asked, mut counted: Tally, page: &Page) {
        let Some(session) = self.sessions.at_mut(slot) else { return };
        let id = session.id;
        let Some(disk) = session.queue.disk_mut() else { return };
        let mut next = asked.from;
        for entry in &page.entries {
            next = entry.key.delivery.next();
            if let Some(saved) = read_entry(&entry.value).filter(|_| next <= asked.mark) {
                counted.add(saved.size, saved.snapshot);
            }
        }
        if page.ends() || next >= asked.mark {
            let Tally { count, bytes, snapshots } = asked.since;
            disk.tally = Tally {
                count: counted.count.saturating_add(count),
                bytes: counted.bytes.saturating_add(bytes),
                snapshots: counted.snapshots.saturating_add(snapshots),
            };
            disk.is_exact = true;
        } else {
            disk.asked = Some(Asked { from: next, counted: Some(counted), ..asked });
            self.fetch(id, next, COUNT_ENTRIES);
        }
    }

    /// A page joins the head; what this session has left the group of is returned.
    fn append_page(
        &mut self,
        turn: &Turn,
        slot: u32,
        mut asked: Asked,
        page: &Page,
    ) -> Vec<(Arc<Message>, GroupId)> {
        let mut moved = Vec::new();
        let mut perhaps_sent = false;
        for record in &page.entries {
            let Some(session) = self.sessions.at_mut(slot) else { return moved };
            let id = session.id;
            let Some(disk) = session.queue.disk_mut() else { return moved };
            let (saved, delivery) = (read_entry(&record.value), record.key.delivery);
            if let Some(saved) = &saved {
                disk.tally.take(saved.size, saved.snapshot);
                if delivery >= asked.mark {
                    asked.since.take(saved.size, saved.snapshot);
                }
            }
            disk.from = delivery.next();
            let qos = saved.as_ref().map_or(Qos::AtLeastOnce, |saved| saved.qos);
            if disk.is_over(qos, delivery) {
                self.journal.entry_gone_by_key(record.key);
                self.dropped(id, Reason::NoReceiver);
                continue;
            }
            let progress = disk.progress(qos, delivery);
            let was_shared = saved.as_ref().is_some_and(|saved| saved.group.is_some());
            match saved.and_then(|saved| self.decode_entry(turn, record, saved, progress)) {
                Some(entry) if entry.is_expired(turn.now) => {
                    self.journal.entry_gone_by_key(record.key);
                    self.dropped(id, Reason::MessageExpired);
                }
                Some(entry) if self.has_left(slot, was_shared, &entry) => {
                    self.journal.entry_gone_by_key(record.key);
                    moved.push((entry.message, entry.group));
                }
                Some(entry) => {
                    self.journal.entry_fetched(&entry.message, record.key.content);
                    let Some(session) = self.sessions.at_mut(slot) else { return moved };
                    perhaps_sent |= entry.progress == Progress::Perhaps;
                    let before = session.queue.load();
                    session.queue.push_fetched(entry);
                    self.queued.changed(before, session.queue.load());
                }
                None => {
                    self.journal.entry_gone_by_key(record.key);
                    self.dropped(id, Reason::StoreDamaged);
                }
            }
        }
        self.end_page(slot, asked, page);
        if perhaps_sent && let Some(session) = self.sessions.at_mut(slot) {
            // By name from now on: counted from the front once more, when some of them are done,
            // it would be others that were never sent.
            self.journal.session(turn, session);
        }
        moved
    }

    /// Whether it was shared out of a group that this session has left meanwhile, and never sent.
    fn has_left(&self, slot: u32, was_shared: bool, entry: &Entry) -> bool {
        let members = self.groups.get(entry.group).map(|group| &group.members);
        was_shared
            && entry.progress.waits()
            && members.is_none_or(|members| members.get(slot).is_none())
    }

    fn end_page(&mut self, slot: u32, asked: Asked, page: &Page) {
        let Some(session) = self.sessions.at_mut(slot) else { return };
        let id = session.id;
        let Some(disk) = session.queue.disk_mut() else { return };
        if !page.ends() {
            return;
        }
        let lost =
            if page.is_damaged { disk.tally.count.saturating_sub(asked.since.count) } else { 0 };
        disk.tally = asked.since;
        disk.is_exact = true;
        if asked.since == Tally::default() {
            session.queue.set_disk(None);
        } else {
            disk.from = disk.from.max(asked.mark);
        }
        for _ in 0..lost {
            self.dropped(id, Reason::StoreDamaged);
        }
    }

    /// A session with a part of its queue on disk has ended: what was shared to it goes to other
    /// members of its groups first.
    pub(crate) fn end_on_disk(&mut self, turn: &Turn, session: &Session, disk: OnDisk) {
        let id = session.id;
        if !disk.grouped {
            self.journal.queue_gone(id);
            self.journal.session_gone(id);
            return;
        }
        // Its name may be another's meanwhile.
        let mut ended = Session::new(id, None, session.policy);
        ended.ends = turn.now;
        ended.restore_mark(session.delivery_mark());
        self.read_ended(turn, ended, disk);
    }

    /// What is left of the queue of a session that has ended is read. Should the process die before it
    /// has been, the session ends once more, with just that.
    fn read_ended(&mut self, turn: &Turn, mut ended: Session, mut disk: OnDisk) {
        disk.perhaps.read_is_gone();
        let (id, from) = (ended.id, disk.from);
        ended.queue.set_disk(Some(disk));
        self.journal.session(turn, &mut ended);
        self.ended_on_disk.insert(id, Box::new(ended));
        self.fetch(id, from, PAGE_ENTRIES);
    }

    fn fetched_for_ended(&mut self, turn: &Turn, id: SessionId, page: &Page) {
        let Some(mut ended) = self.ended_on_disk.remove(&id) else { return };
        let Some(mut disk) = ended.queue.take_disk() else { return };
        for record in &page.entries {
            disk.from = record.key.delivery.next();
            let saved = read_entry(&record.value);
            let qos = saved.as_ref().map_or(Qos::AtLeastOnce, |saved| saved.qos);
            let progress = disk.progress(qos, record.key.delivery);
            self.journal.entry_gone_by_key(record.key);
            if disk.is_over(qos, record.key.delivery) {
                let (session, reason) = (None, Reason::NoReceiver);
                self.effects.push_back(Effect::Dropped { session, reason });
                continue;
            }
            let entry = saved.and_then(|saved| self.decode_entry(turn, record, saved, progress));
            if let Some(entry) = entry {
                self.hand_over_ended(turn, &entry);
            }
        }
        if page.ends() {
            self.journal.queue_gone(id);
            self.journal.session_gone(id);
        } else {
            self.read_ended(turn, *ended, disk);
        }
    }

    /// `None` when its message, or the content that it shares, is damaged.
    fn decode_entry(
        &mut self,
        turn: &Turn,
        record: &QueuedRecord,
        saved: SavedEntry<'_>,
        progress: Progress,
    ) -> Option<Entry> {
        let message = match record.key.content {
            0 => saved.inline,
            _ => record.content.as_deref().filter(|_| saved.inline.is_empty())?,
        };
        let mut input = Reader::new(message);
        let message = Message::decode(turn, &mut input).filter(|_| input.is_empty())?;
        let group = saved.group.and_then(|text| self.find_held(&text)).map(|held| held.group);
        Some(Entry {
            id: record.key.delivery,
            message: Arc::new(message),
            identifiers: self.identifiers.list(saved.identifiers.into_iter()),
            group: group.unwrap_or(GroupId::NONE),
            qos: saved.qos,
            retain: saved.retain,
            progress,
            snapshot: saved.snapshot,
        })
    }
}

fn is_over(session: &Session) -> bool {
    session.queue.waiting() > session.policy.max_messages
        || session.queue.bytes() > u64::from(session.policy.max_bytes)
}

impl OnDisk {
    /// QoS 0 of an earlier life may have been delivered; at most once (MQTT 5 §4.3.1).
    fn is_over(&self, qos: Qos, delivery: DeliveryId) -> bool {
        qos == Qos::AtMostOnce && delivery <= self.restored
    }

    /// How far the next entry had come before the restart.
    pub(crate) fn progress(&mut self, qos: Qos, delivery: DeliveryId) -> Progress {
        if qos == Qos::AtMostOnce {
            return Progress::Kept;
        }
        let perhaps = self.perhaps.covers(delivery);
        match delivery <= self.started {
            true => Progress::Sent,
            false if perhaps => Progress::Perhaps,
            // What was queued since the restart, too, was sent to nobody.
            false => Progress::Waiting,
        }
    }
}

fn read_entry(value: &[u8]) -> Option<SavedEntry<'_>> {
    let mut input = Reader::new(value);
    if input.u8()? != FORMAT {
        return None;
    }
    let flags = input.u8()?;
    let size = input.u64()?;
    let group = input.option(|input| {
        let share = Arc::from(String::from(input.str()?));
        let filter = TopicFilter::lenient(input.str()?).ok()?;
        Some(SubscriptionFilter { share: Some(share), filter })
    })?;
    let count = input.u64()?;
    let mut identifiers = alloc::vec::Vec::new();
    for _ in 0..count {
        identifiers.push(u32::try_from(input.u64()?).ok()?);
    }
    let (retain, snapshot) = (flags & 4 != 0, flags & 8 != 0);
    let qos = Qos::from_bits(flags & 3)?;
    let inline = input.tail();
    Some(SavedEntry { qos, retain, snapshot, size, group, identifiers, inline })
}
