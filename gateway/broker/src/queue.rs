//! What is on its way to one session: one FIFO in the order of [`DeliveryId`]s.
//!
//! From the front: deliveries that are *flying* (made on this connection, not acknowledged), then
//! others that were *started* on an earlier one and must go again, then those that *wait*. Only
//! the last count against the session's bounds, retained messages of a SUBSCRIBE excepted.
//! Nothing overtakes, QoS 0 neither (MQTT-4.6.0-6). An empty queue holds no memory. Behind what is
//! in memory there may be a part that is on disk only ([`OnDisk`]).

use alloc::boxed::Box;
use alloc::collections::VecDeque;

use motegate_message::{DeliveryId, Qos};
use motegate_timers::Instant;

use crate::entry::size;
pub(crate) use crate::entry::{Entry, Progress};
use crate::perhaps::Perhaps;
use crate::shared::GroupId;

/// Messages and bytes that count against the bounds, and retained messages, which do not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Tally {
    pub(crate) count: u32,
    pub(crate) bytes: u64,
    pub(crate) snapshots: u32,
}

impl Tally {
    /// One more.
    pub(crate) fn add(&mut self, size: u64, snapshot: bool) {
        if snapshot {
            self.snapshots = self.snapshots.saturating_add(1);
        } else {
            self.count = self.count.saturating_add(1);
            self.bytes = self.bytes.saturating_add(size);
        }
    }

    /// One less.
    pub(crate) fn take(&mut self, size: u64, snapshot: bool) {
        if snapshot {
            self.snapshots = self.snapshots.saturating_sub(1);
        } else {
            self.count = self.count.saturating_sub(1);
            self.bytes = self.bytes.saturating_sub(size);
        }
    }
}

/// What the store was asked for, and what was written behind it since.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked {
    pub(crate) from: DeliveryId,
    /// What was written since has at least this id…
    pub(crate) mark: DeliveryId,
    /// …and is so much, together with what was put in front.
    pub(crate) since: Tally,
    /// Only to be counted; so far.
    pub(crate) counted: Option<Tally>,
}

/// What waits in memory, of one queue or of all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Load {
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
}

impl Load {
    /// Of all queues: one that had `before` has `now`.
    pub(crate) fn changed(&mut self, before: Load, now: Load) {
        self.messages = self.messages + now.messages - before.messages;
        self.bytes = self.bytes + now.bytes - before.bytes;
    }
}

/// The part of a queue that is on disk only.
#[derive(Debug)]
pub(crate) struct OnDisk {
    /// None of its entries has a lower id.
    pub(crate) from: DeliveryId,
    pub(crate) tally: Tally,
    /// After a restart nobody has counted.
    pub(crate) is_exact: bool,
    /// Some may have been shared out of a group.
    pub(crate) grouped: bool,
    /// Deliveries up to this one were started on an earlier connection…
    pub(crate) started: DeliveryId,
    /// …and perhaps some more.
    pub(crate) perhaps: Perhaps,
    /// Up to this one it is of an earlier life, or waited for a connection that is over: QoS 0 among
    /// it is over too.
    pub(crate) restored: DeliveryId,
    pub(crate) asked: Option<Asked>,
}

impl OnDisk {
    pub(crate) fn new(from: DeliveryId) -> Self {
        OnDisk {
            from,
            tally: Tally::default(),
            is_exact: true,
            grouped: false,
            started: DeliveryId(0),
            perhaps: Perhaps::default(),
            restored: DeliveryId(0),
            asked: None,
        }
    }
}

/// A session's FIFO.
#[derive(Debug)]
pub(crate) struct Queue {
    entries: VecDeque<Entry>,
    /// Behind them all.
    disk: Option<Box<OnDisk>>,
    /// Bytes that count.
    bytes: u64,
    /// No waiting entry expires before this.
    next_expiry: Instant,
    /// Leading entries delivered on the present connection.
    flying: u32,
    /// Bytes of them, without those put aside.
    flying_bytes: u32,
    /// Of them, put aside.
    aside: u32,
    /// Bytes of these.
    aside_bytes: u32,
    /// Leading entries ever delivered; at least `flying`.
    started: u32,
    /// Entries that count.
    waiting: u32,
    /// Of these, at QoS 0.
    waiting_qos0: u32,
}

impl Default for Queue {
    fn default() -> Self {
        Queue {
            entries: VecDeque::new(),
            disk: None,
            bytes: 0,
            next_expiry: Instant::FAR_FUTURE,
            flying: 0,
            flying_bytes: 0,
            aside: 0,
            aside_bytes: 0,
            started: 0,
            waiting: 0,
            waiting_qos0: 0,
        }
    }
}

impl Queue {
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }

    pub(crate) fn get(&self, index: usize) -> Option<&Entry> {
        self.entries.get(index)
    }

    /// Bytes that count against the bounds.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes + self.disk.as_ref().map_or(0, |disk| disk.tally.bytes)
    }

    /// Of these, in memory.
    pub(crate) fn memory(&self) -> u64 {
        self.bytes
    }

    /// Of these, on disk only.
    pub(crate) fn on_disk(&self) -> u64 {
        self.bytes() - self.memory()
    }

    /// Entries that count against the bounds.
    pub(crate) fn waiting(&self) -> u32 {
        self.waiting + self.disk.as_ref().map_or(0, |disk| disk.tally.count)
    }

    /// What counts, in memory.
    pub(crate) fn load(&self) -> Load {
        Load { messages: u64::from(self.waiting), bytes: self.bytes }
    }

    /// Entries in memory that were not delivered on this connection.
    pub(crate) fn unsent_in_memory(&self) -> usize {
        self.entries.len() - self.flying()
    }

    /// The part that is on disk only.
    pub(crate) fn disk(&self) -> Option<&OnDisk> {
        self.disk.as_deref()
    }

    /// The part that is on disk only.
    pub(crate) fn disk_mut(&mut self) -> Option<&mut OnDisk> {
        self.disk.as_deref_mut()
    }

    /// It goes with the session.
    pub(crate) fn take_disk(&mut self) -> Option<OnDisk> {
        self.disk.take().map(|disk| *disk)
    }

    /// Sets it, or forgets it.
    pub(crate) fn set_disk(&mut self, disk: Option<OnDisk>) {
        self.disk = disk.map(Box::new);
        self.give_back();
    }

    /// The bytes and messages that `bytes` and `waiting` say are right: nobody has to count first.
    pub(crate) fn is_exact(&self) -> bool {
        self.disk.as_ref().is_none_or(|disk| disk.is_exact)
    }

    /// An entry was written behind all others and is not kept in memory.
    pub(crate) fn append_to_disk(&mut self, entry: &Entry) {
        let disk = self.disk.get_or_insert_with(|| Box::new(OnDisk::new(entry.id)));
        let size = entry.message.size() as u64;
        disk.tally.add(size, entry.snapshot);
        disk.grouped |= entry.group != GroupId::NONE;
        if let Some(asked) = &mut disk.asked {
            asked.since.add(size, entry.snapshot);
        }
    }

    /// The last entry in memory, if it was never started, is from now on only on disk.
    pub(crate) fn spill_last(&mut self) -> Option<Entry> {
        if self.entries.len() <= self.started() {
            return None;
        }
        self.uncount(self.entries.len() - 1);
        let entry = self.entries.pop_back()?;
        let disk = self.disk.get_or_insert_with(|| Box::new(OnDisk::new(entry.id)));
        disk.from = entry.id;
        let size = entry.message.size() as u64;
        disk.tally.add(size, entry.snapshot);
        if let Some(asked) = &mut disk.asked {
            asked.since.add(size, entry.snapshot);
        }
        disk.grouped |= entry.group != GroupId::NONE;
        self.give_back();
        Some(entry)
    }

    /// A lower bound of the first expiry among waiting entries.
    pub(crate) fn next_expiry(&self) -> Instant {
        self.next_expiry
    }

    /// Deliveries of this connection that are not acknowledged.
    pub(crate) fn flying(&self) -> usize {
        self.flying as usize
    }

    /// Of these, those that take a place in the window.
    pub(crate) fn in_window(&self) -> usize {
        self.flying.saturating_sub(self.aside) as usize
    }

    /// Bytes of those that take a place in the window.
    pub(crate) fn flying_bytes(&self) -> u32 {
        self.flying_bytes
    }

    /// Deliveries put aside on this connection, and their bytes.
    pub(crate) fn aside(&self) -> (u32, u32) {
        (self.aside, self.aside_bytes)
    }

    /// A delivery of this connection takes no place in the window from now on, until the next.
    pub(crate) fn put_aside(&mut self, index: usize) {
        let flying = index < self.flying();
        let Some(entry) = self.entries.get_mut(index).filter(|_| flying) else { return };
        entry.progress = match entry.progress {
            Progress::First => Progress::Aside,
            Progress::Sent => Progress::AsideSent,
            _ => return,
        };
        let size = size(entry);
        self.flying_bytes = self.flying_bytes.saturating_sub(size);
        self.aside += 1;
        self.aside_bytes = self.aside_bytes.saturating_add(size);
        if let Some(expires) = entry.message.expires.filter(|_| entry.progress.is_unsent()) {
            self.next_expiry = self.next_expiry.min(expires);
        }
    }

    /// Deliveries of this and earlier connections that are not acknowledged.
    pub(crate) fn started(&self) -> usize {
        self.started as usize
    }

    /// Whether nothing is left to deliver on this connection.
    pub(crate) fn is_caught_up(&self) -> bool {
        self.flying() == self.entries.len() && self.disk.is_none()
    }

    /// Retained messages of a SUBSCRIBE that still wait.
    pub(crate) fn snapshots(&self) -> usize {
        let on_disk = self.disk.as_ref().map_or(0, |disk| disk.tally.snapshots);
        self.entries.len() - self.started() - self.waiting as usize + on_disk as usize
    }

    /// Appends an entry. One that was sent is flying, so everything before it must be.
    pub(crate) fn push(&mut self, entry: Entry) {
        match entry.progress {
            Progress::First | Progress::Sent => {
                self.flying += 1;
                self.flying_bytes = self.flying_bytes.saturating_add(size(&entry));
                self.started += 1;
            }
            Progress::Perhaps | Progress::Aside | Progress::AsideSent => self.started += 1,
            Progress::Waiting | Progress::Kept => {
                let expires = entry.message.expires.unwrap_or(Instant::FAR_FUTURE);
                self.next_expiry = self.next_expiry.min(expires);
            }
        }
        if entry.counts() {
            self.bytes += entry.message.size() as u64;
            self.waiting += 1;
            self.waiting_qos0 += u32::from(entry.qos == Qos::AtMostOnce);
        }
        self.entries.push_back(entry);
    }

    /// Appends an entry that was on disk; what was started on an earlier connection is not flying.
    pub(crate) fn push_fetched(&mut self, entry: Entry) {
        let (sent, size) = (entry.progress == Progress::Sent, size(&entry));
        self.push(entry);
        if sent {
            self.flying -= 1;
            self.flying_bytes = self.flying_bytes.saturating_sub(size);
        }
    }

    fn uncount(&mut self, index: usize) {
        let Some(entry) = self.entries.get(index).filter(|e| e.counts()) else { return };
        self.bytes -= entry.message.size() as u64;
        self.waiting -= 1;
        self.waiting_qos0 -= u32::from(entry.qos == Qos::AtMostOnce);
    }

    /// Takes an entry out.
    pub(crate) fn remove(&mut self, index: usize) -> Option<Entry> {
        self.uncount(index);
        let entry = self.entries.remove(index)?;
        if index < self.flying() {
            self.flying -= 1;
            if entry.progress.is_aside() {
                self.aside = self.aside.saturating_sub(1);
                self.aside_bytes = self.aside_bytes.saturating_sub(size(&entry));
            } else {
                self.flying_bytes = self.flying_bytes.saturating_sub(size(&entry));
            }
        }
        self.started -= u32::from(index < self.started());
        self.give_back();
        Some(entry)
    }

    fn give_back(&mut self) {
        let (len, capacity) = (self.entries.len(), self.entries.capacity());
        if len == 0 {
            *self = Queue { disk: self.disk.take(), ..Queue::default() };
        } else if capacity > 64 && len < capacity / 4 {
            self.entries.shrink_to(len * 2);
        }
    }

    /// The entry after the flying ones takes off: it is delivered now.
    pub(crate) fn take_off(&mut self) {
        let index = self.flying();
        self.uncount(index);
        if let Some(entry) = self.entries.get_mut(index) {
            let unsent = entry.progress.is_unsent();
            entry.progress = if unsent { Progress::First } else { Progress::Sent };
            self.flying += 1;
            self.flying_bytes = self.flying_bytes.saturating_add(size(entry));
            self.started = self.started.max(self.flying);
        }
    }

    /// The connection is over: what was flying must go again on the next.
    pub(crate) fn land(&mut self) {
        (self.flying, self.flying_bytes) = (0, 0);
        (self.aside, self.aside_bytes) = (0, 0);
    }

    /// Where the started delivery of this id is.
    pub(crate) fn find_started(&self, id: DeliveryId) -> Option<usize> {
        let index = self.entries.binary_search_by_key(&id, |e| e.id).ok()?;
        (index < self.started()).then_some(index)
    }

    /// The first entry at or after `from` that counts and satisfies `wanted`.
    pub(crate) fn find_waiting(
        &self,
        from: usize,
        wanted: impl Fn(&Entry) -> bool,
    ) -> Option<usize> {
        let from = from.max(self.started());
        let tail = self.entries.iter().enumerate().skip(from);
        tail.filter(|(_, e)| e.counts()).find(|(_, e)| wanted(e)).map(|(at, _)| at)
    }

    /// What a full queue gives up first: its oldest QoS 0 message in memory, else its oldest.
    /// `None` while what is oldest is still to be read from the disk.
    pub(crate) fn oldest(&self) -> Option<usize> {
        let qos0 = |e: &Entry| self.waiting_qos0 == 0 || e.qos == Qos::AtMostOnce;
        self.find_waiting(0, qos0)
    }

    /// Whether some QoS 0 message waits in memory.
    pub(crate) fn has_qos0(&self) -> bool {
        self.waiting_qos0 > 0
    }

    /// The last entry that counts; `None` while it is on disk.
    pub(crate) fn newest(&self) -> Option<usize> {
        if self.disk.is_some() {
            return None;
        }
        let tail = self.entries.iter().enumerate().skip(self.started());
        tail.rev().find(|(_, e)| e.counts()).map(|(at, _)| at)
    }

    /// The first entry at or after `from` that was not sent and whose time is over.
    pub(crate) fn find_expired(&self, from: usize, now: Instant) -> Option<usize> {
        let mut tail = self.entries.iter().enumerate().skip(from);
        tail.find(|(_, e)| e.is_expired(now)).map(|(at, _)| at)
    }

    /// The first entry at or after `from` that was not sent and satisfies `wanted`, retained
    /// messages of a SUBSCRIBE included.
    pub(crate) fn find_unsent(
        &self,
        from: usize,
        wanted: impl Fn(&Entry) -> bool,
    ) -> Option<usize> {
        let mut tail = self.entries.iter().enumerate().skip(from);
        tail.find(|(_, e)| e.progress.is_unsent() && wanted(e)).map(|(at, _)| at)
    }

    /// Looks again for the first expiry; called when what had expired is gone.
    pub(crate) fn refresh_expiry(&mut self) {
        let unsent = self.entries.iter().filter(|e| e.progress.is_unsent());
        self.next_expiry =
            unsent.filter_map(|e| e.message.expires).min().unwrap_or(Instant::FAR_FUTURE);
    }

    /// The lowest id that is not over.
    pub(crate) fn head(&self) -> Option<DeliveryId> {
        self.get(0).map(|entry| entry.id).or(self.disk().map(|disk| disk.from))
    }

    /// The id of the last delivery that was started.
    pub(crate) fn last_started(&self) -> Option<DeliveryId> {
        let in_memory = self.started().checked_sub(1).and_then(|at| self.get(at)).map(|e| e.id);
        in_memory.max(self.disk().map(|disk| disk.started))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::sync::Arc;
    use bytes::Bytes;
    use motegate_message::{Message, TopicName};

    fn entry(id: u64, qos: Qos) -> Entry {
        let topic = TopicName::new("t").unwrap();
        Entry {
            id: DeliveryId(id),
            message: Arc::new(Message::new(topic, Bytes::from_static(b"four"))),
            identifiers: None,
            group: GroupId::NONE,
            qos,
            retain: false,
            progress: Progress::Waiting,
            snapshot: false,
        }
    }

    #[test]
    fn counts_follow_every_step() {
        let mut queue = Queue::default();
        for id in 1..=4 {
            queue.push(entry(id, if id == 3 { Qos::AtMostOnce } else { Qos::AtLeastOnce }));
        }
        queue.push(Entry { snapshot: true, ..entry(5, Qos::AtMostOnce) });
        assert_eq!((queue.waiting(), queue.bytes(), queue.snapshots()), (4, 20, 1));
        queue.take_off();
        assert_eq!((queue.waiting(), queue.flying(), queue.started()), (3, 1, 1));
        assert_eq!(queue.oldest(), Some(2), "QoS 0 first");
        queue.remove(2);
        assert_eq!(queue.oldest(), Some(1));
        assert_eq!(queue.newest(), Some(2));
        queue.land();
        assert_eq!((queue.flying(), queue.started()), (0, 1));
        assert_eq!(queue.find_started(DeliveryId(1)), Some(0));
        assert_eq!(queue.find_started(DeliveryId(2)), None);
        while queue.remove(0).is_some() {}
        assert_eq!((queue.waiting(), queue.bytes(), queue.started()), (0, 0, 0));
        assert_eq!(queue.entries.capacity(), 0);
    }

    #[test]
    fn a_drained_queue_gives_memory_back() {
        let mut queue = Queue::default();
        for id in 0..1_000 {
            queue.push(entry(id, Qos::AtLeastOnce));
        }
        for _ in 0..990 {
            queue.remove(0);
        }
        assert!(queue.entries.capacity() <= 128, "{}", queue.entries.capacity());
    }

    #[test]
    fn an_entry_is_forty_bytes() {
        assert_eq!(size_of::<Entry>(), 40);
    }
}
