//! What the broker writes so that its state outlives the process.
//!
//! Keys (after [`owner::BROKER`]; numbers big-endian):
//! `S` session → its record · `F` session, share, filter → subscription · `R` topic → retained
//! message · `W` session → will · `G` → marks above every session generation and content number
//! used. Queue entries and the messages that several of them share have owners of their own, as
//! they may be larger than memory ([`QueueKey`]): an entry holds its message itself, unless the
//! message went to several sessions at once. Nothing is written at delivery: the session record says,
//! whenever it is written, up to which delivery an offline session has got, and for a connection
//! that was open at a crash the first `window` deliveries count as perhaps made.
//! QoS 0 copies are not written, unless they wait behind what is on disk only. Values start with a
//! version byte. Reading is in `restore.rs` and `disk.rs`.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;

use hashbrown::HashMap;
use motegate_message::journal::{QueueKey, Writer, content_key, owner};
use motegate_message::{Message, Record, Seq, SessionId, TopicName, Turn, Will};
use motegate_timers::Instant;

use crate::Overflow;
use crate::queue::Entry;
use crate::session::{Session, micros};
use crate::subscriptions::Grant;
use crate::will::{HeldWill, WillState};

/// Version of every value but a message's.
pub(crate) const FORMAT: u8 = 1;

/// Delivery ids that a session may use before its record must be written again.
const DELIVERY_CHUNK: u16 = 1_024;
/// Generations and content numbers that may be used before the marks must be written again.
const GENERATION_CHUNK: u32 = 1_024;
const CONTENT_CHUNK: u64 = 65_536;

/// Second byte of a key.
pub(crate) mod kind {
    pub(crate) const SESSION: u8 = b'S';
    pub(crate) const SUBSCRIPTION: u8 = b'F';
    pub(crate) const RETAINED: u8 = b'R';
    pub(crate) const WILL: u8 = b'W';
    pub(crate) const MARKS: u8 = b'G';
}

/// A message that is a content of its own in the journal, and how many entries in memory hold it.
#[derive(Debug)]
struct Shared {
    number: u64,
    entries: u32,
}

/// The text of a subscription: share name and filter.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FilterText<'a> {
    pub(crate) share: Option<&'a str>,
    pub(crate) filter: &'a str,
}

impl FilterText<'_> {
    /// Bytes of both.
    pub(crate) fn len(&self) -> u32 {
        let len = self.filter.len() + self.share.map_or(0, str::len);
        u32::try_from(len).unwrap_or(u32::MAX)
    }
}

/// Records to write, and what is known of those written.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    records: VecDeque<Record>,
    /// By address: an entry holds the message, so nothing else can be there.
    shared: HashMap<usize, Shared>,
    /// Address of the message being routed, if it goes to several sessions: it is written once.
    /// Others that leave memory meanwhile are not.
    fans_out: Option<usize>,
    next_content: u64,
    content_mark: u64,
    generation_mark: u32,
    /// Whether a record was written since [`begin`](Self::begin).
    wrote: bool,
    /// The batch of the present turn.
    present: Seq,
    /// The last batch with a record in it.
    latest: Seq,
}

fn key(kind: u8) -> Writer {
    let mut key = Writer::key(owner::BROKER);
    key.u8(kind);
    key
}

fn session_key(kind: u8, session: SessionId) -> Writer {
    let mut key = key(kind);
    key.u64(session.get());
    key
}

fn subscription_key(session: SessionId, text: FilterText<'_>) -> Writer {
    let mut key = session_key(kind::SUBSCRIPTION, session);
    key.option(text.share, Writer::str);
    key.tail(text.filter.as_bytes());
    key
}

fn address(message: &Arc<Message>) -> usize {
    Arc::as_ptr(message) as usize
}

impl Journal {
    pub(crate) fn pop(&mut self) -> Option<Record> {
        let record = self.records.pop_front();
        if self.records.is_empty() && self.records.capacity() > 1_024 {
            self.records = VecDeque::new();
        }
        record
    }

    /// A new request: nothing is written for it yet.
    pub(crate) fn begin(&mut self, turn: &Turn) {
        self.wrote = false;
        self.present = turn.seq;
    }

    /// What a reply must wait for: this turn's batch if the request changed the durable state.
    pub(crate) fn after(&self, turn: &Turn) -> Seq {
        if self.wrote { turn.seq } else { Seq::NONE }
    }

    /// What the reply "it is so already" must wait for: the batch that made it so may not be
    /// stored yet. Nobody keeps which one that was; none is later than the last.
    pub(crate) fn after_latest(&self) -> Seq {
        self.latest
    }

    fn set(&mut self, key: Writer, value: Writer) {
        self.latest = self.present;
        self.wrote = true;
        self.records.push_back(Record { key: key.into_vec(), value: Some(value.into_vec()) });
    }

    fn delete(&mut self, key: Writer) {
        self.latest = self.present;
        self.wrote = true;
        self.records.push_back(Record { key: key.into_vec(), value: None });
    }

    /// A generation is in use from now on.
    pub(crate) fn generation_used(&mut self, generation: u32) {
        if generation >= self.generation_mark {
            self.generation_mark = generation.saturating_add(GENERATION_CHUNK);
            self.write_marks();
        }
    }

    fn write_marks(&mut self) {
        let mut value = Writer::default();
        value.u8(FORMAT);
        value.u64(u64::from(self.generation_mark));
        value.u64(self.content_mark);
        // No reply depends on a mark alone.
        let (wrote, latest) = (self.wrote, self.latest);
        self.set(key(kind::MARKS), value);
        (self.wrote, self.latest) = (wrote, latest);
    }

    /// The session's record; delivery ids are reserved with it.
    pub(crate) fn session(&mut self, turn: &Turn, session: &mut Session) {
        session.reserved = DELIVERY_CHUNK;
        session.journaled_window = session.window.max(session.journaled_window);
        let mut value = Writer::default();
        value.u8(FORMAT);
        value.option(session.key.as_ref(), |value, key| value.str(key.as_str()));
        value.u8(u8::from(session.connected));
        value.u64(session.expiry_micros());
        let ends = (session.ends != Instant::FAR_FUTURE).then_some(session.ends);
        value.option(ends, |value, at| value.u64(turn.to_wall(at).as_millis()));
        value.u64(session.delivery_mark().saturating_add(u64::from(DELIVERY_CHUNK)));
        value.u64(session.queue.last_started().map_or(0, |id| id.0));
        let perhaps = session.queue.disk().map(|disk| disk.perhaps.left()).unwrap_or_default();
        value.u16(perhaps.last.count);
        value.u64(session.queue.head().map_or(session.delivery_mark(), |id| id.0));
        value.u16(session.journaled_window);
        let policy = session.policy;
        value.u64(u64::from(policy.max_messages));
        value.u64(u64::from(policy.max_bytes));
        value.u8(match policy.overflow {
            Overflow::DropOldest => 0,
            Overflow::DropNewest => 1,
            Overflow::Disconnect => 2,
            Overflow::LatestPerTopic => 3,
        });
        let bounded = policy.max_payload < u16::MAX;
        value.u8(u8::from(policy.queue_qos0) | u8::from(bounded) << 1);
        if bounded {
            value.u16(policy.max_payload);
        }
        // Only where it says something.
        if perhaps.last.count.max(perhaps.earlier.count) > 0 {
            value.u64(perhaps.last.upto.0);
        }
        if perhaps.earlier.count > 0 {
            value.u16(perhaps.earlier.count);
            value.u64(perhaps.earlier.upto.0);
        }
        self.set(session_key(kind::SESSION, session.id), value);
    }

    pub(crate) fn session_gone(&mut self, session: SessionId) {
        self.delete(session_key(kind::SESSION, session));
    }

    /// The session's will as it is.
    pub(crate) fn will(&mut self, turn: &Turn, session: SessionId, held: &HeldWill) {
        self.will_in_state(turn, session, &held.will, held.state);
    }

    pub(crate) fn will_in_state(
        &mut self,
        turn: &Turn,
        id: SessionId,
        will: &Will,
        state: WillState,
    ) {
        let mut value = Writer::default();
        value.u8(FORMAT);
        match state {
            WillState::Armed => value.u8(0),
            WillState::Spent => value.u8(1),
            WillState::Due(at) => {
                value.u8(2);
                value.u64(turn.to_wall(at).as_millis());
            }
        }
        value.option(will.expiry, |value, expiry| value.u64(micros(expiry)));
        value.u64(micros(will.delay));
        will.message.encode(turn, &mut value);
        self.set(session_key(kind::WILL, id), value);
    }

    pub(crate) fn will_gone(&mut self, session: SessionId) {
        self.delete(session_key(kind::WILL, session));
    }

    pub(crate) fn subscription(&mut self, session: SessionId, text: FilterText<'_>, grant: Grant) {
        let mut value = Writer::default();
        value.u8(FORMAT);
        let flags = u8::from(grant.no_local)
            | u8::from(grant.retain_as_published) << 1
            | grant.marks.bits() << 2;
        value.u8(grant.qos as u8 | flags << 2);
        value.u64(u64::from(grant.identifier));
        self.set(subscription_key(session, text), value);
    }

    pub(crate) fn subscription_gone(&mut self, session: SessionId, text: FilterText<'_>) {
        self.delete(subscription_key(session, text));
    }

    /// A queue entry of a durable session.
    pub(crate) fn entry(
        &mut self,
        turn: &Turn,
        session: SessionId,
        entry: &Entry,
        group: Option<FilterText<'_>>,
    ) {
        let content = self.hold_shared(turn, &entry.message);
        let mut value = Writer::default();
        value.u8(FORMAT);
        let flags = u8::from(entry.retain) | u8::from(entry.snapshot) << 1;
        value.u8(entry.qos as u8 | flags << 2);
        value.u64(entry.message.size() as u64);
        value.option(group, |value, text| {
            value.str(text.share.unwrap_or_default());
            value.str(text.filter);
        });
        let identifiers: &[u32] = entry.identifiers.as_deref().unwrap_or_default();
        value.u64(identifiers.len() as u64);
        for identifier in identifiers {
            value.u64(u64::from(*identifier));
        }
        if content == 0 {
            entry.message.encode(turn, &mut value);
        }
        let key = QueueKey { session, delivery: entry.id, content };
        self.set(Writer::from(key.to_bytes().to_vec()), value);
    }

    /// An entry of a durable session is over.
    pub(crate) fn entry_gone(&mut self, session: SessionId, entry: &Entry) {
        if !entry.is_journaled() {
            return;
        }
        let content = self.release_shared(&entry.message);
        self.entry_gone_by_key(QueueKey { session, delivery: entry.id, content });
    }

    /// As `entry_gone`, for one that is not in memory.
    pub(crate) fn entry_gone_by_key(&mut self, key: QueueKey) {
        self.delete(Writer::from(key.to_bytes().to_vec()));
    }

    /// An entry leaves memory but not the journal.
    pub(crate) fn entry_spilled(&mut self, message: &Arc<Message>) {
        self.release_shared(message);
    }

    /// An entry came back into memory that shares this content.
    pub(crate) fn entry_fetched(&mut self, message: &Arc<Message>, number: u64) {
        if number != 0 {
            let shared = self.shared.entry(address(message));
            shared.or_insert(Shared { number, entries: 0 }).entries += 1;
        }
    }

    /// The whole queue of a session, wherever it is.
    pub(crate) fn queue_gone(&mut self, session: SessionId) {
        self.delete(Writer::from(QueueKey::prefix(session)));
    }

    /// This message goes to several sessions now.
    pub(crate) fn begin_fan_out(&mut self, message: &Arc<Message>) {
        self.fans_out = Some(address(message));
    }

    /// It has been routed.
    pub(crate) fn end_fan_out(&mut self, message: &Arc<Message>) {
        if self.fans_out.take().is_some() {
            self.release_shared(message);
        }
    }

    /// One more entry in memory holds the message: its number, 0 if it is written with the entry.
    fn hold_shared(&mut self, turn: &Turn, message: &Arc<Message>) -> u64 {
        if let Some(shared) = self.shared.get_mut(&address(message)) {
            shared.entries += 1;
            return shared.number;
        }
        if self.fans_out != Some(address(message)) {
            return 0;
        }
        let number = self.next_content.max(1); // 0 is none
        self.next_content = number.saturating_add(1);
        if number >= self.content_mark {
            self.content_mark = number.saturating_add(CONTENT_CHUNK);
            self.write_marks();
        }
        // The fan-out itself holds it too: its first entries may leave memory at once.
        self.shared.insert(address(message), Shared { number, entries: 2 });
        let mut value = Writer::default();
        message.encode(turn, &mut value);
        self.set(Writer::from(content_key(number)), value);
        number
    }

    fn release_shared(&mut self, message: &Arc<Message>) -> u64 {
        let Some(shared) = self.shared.get_mut(&address(message)) else { return 0 };
        shared.entries -= 1;
        let number = shared.number;
        if shared.entries == 0 {
            self.shared.remove(&address(message));
            if self.shared.is_empty() {
                self.shared = HashMap::new();
            }
        }
        number
    }

    /// Goes on above every number used in earlier lives.
    pub(crate) fn restore_marks(&mut self, generation: u32, content: u64) {
        self.generation_mark = self.generation_mark.max(generation);
        self.next_content = self.next_content.max(content);
        self.content_mark = self.content_mark.max(content);
    }

    /// Above every generation used.
    pub(crate) fn generation_mark(&self) -> u32 {
        self.generation_mark
    }

    pub(crate) fn retained(&mut self, turn: &Turn, message: &Message) {
        let mut key = key(kind::RETAINED);
        key.tail(message.topic.as_str().as_bytes());
        let mut value = Writer::default();
        message.encode(turn, &mut value);
        self.set(key, value);
    }

    pub(crate) fn retained_gone(&mut self, topic: &TopicName) {
        let mut key = key(kind::RETAINED);
        key.tail(topic.as_str().as_bytes());
        self.delete(key);
    }

    /// A record of an earlier life that belongs to nothing.
    pub(crate) fn orphan(&mut self, key: Vec<u8>) {
        self.records.push_back(Record { key, value: None });
    }
}

#[cfg(test)]
mod tests {
    use motegate_message::{DeliveryId, Qos, Wall};
    use motegate_timers::Instant;

    use super::*;
    use crate::queue::Progress;

    fn entry(id: u64, message: &Arc<Message>) -> Entry {
        Entry {
            id: DeliveryId(id),
            message: message.clone(),
            identifiers: None,
            group: crate::shared::GroupId::NONE,
            qos: Qos::AtLeastOnce,
            retain: false,
            progress: Progress::Waiting,
            snapshot: false,
        }
    }

    /// Contents are known by the address of their message, so they must be let go with it.
    #[test]
    fn only_the_message_that_is_routed_becomes_a_content() {
        let turn = Turn { durable: true, ..Turn::new(Instant::ZERO, Wall::default()) };
        let topic = || TopicName::new("t").expect("a topic");
        let [routed, other] = [0, 1].map(|_| Arc::new(Message::new(topic(), Default::default())));
        let session = SessionId::from_u64(1);
        let mut journal = Journal::default();
        journal.begin(&turn);
        journal.begin_fan_out(&routed);
        journal.entry(&turn, session, &entry(1, &other), None); // spilled by the first
        journal.entry(&turn, session, &entry(2, &routed), None);
        journal.entry_spilled(&other);
        journal.entry_spilled(&routed);
        journal.end_fan_out(&routed);
        assert!(journal.shared.is_empty(), "{:?}", journal.shared);
        let keys = core::iter::from_fn(|| journal.pop());
        let keys: Vec<_> = keys.filter_map(|record| QueueKey::from_bytes(&record.key)).collect();
        assert_eq!(keys.iter().map(|key| key.content).collect::<Vec<_>>(), [0, 1]);
    }
}
