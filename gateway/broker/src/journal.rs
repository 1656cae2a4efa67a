//! What the broker writes so that its state outlives the process.
//!
//! Keys (after [`owner::BROKER`]; numbers big-endian):
//! `S` session → its record · `F` session, share, filter → subscription · `Q` session, delivery →
//! queue entry · `M` message number → message · `R` topic → retained message · `W` session → will ·
//! `G` → marks above every session generation and message number used.
//!
//! A message that several queues hold is written once; the queues hold its number and a count in
//! memory says when the last is gone. Nothing is written at delivery: the session record says,
//! whenever it is written, up to which delivery an offline session has got, and for a connection
//! that was open at a crash the first `window` deliveries count as perhaps made.
//! QoS 0 copies are not written. Values start with a version byte. Reading is in `restore.rs`.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;

use hashbrown::HashMap;
use motegate_message::journal::{Writer, owner};
use motegate_message::{DeliveryId, Message, Qos, Record, Seq, SessionId, TopicName, Turn, Will};
use motegate_timers::Instant;

use crate::Overflow;
use crate::queue::Entry;
use crate::session::{Session, micros};
use crate::subscriptions::Grant;
use crate::will::{HeldWill, WillState};

/// Version of every value but a message's.
pub(crate) const FORMAT: u8 = 1;

/// Delivery ids that a session may use before its record must be written again.
const DELIVERY_CHUNK: u64 = 4_096;
/// Generations and message numbers that may be used before the marks must be written again.
const GENERATION_CHUNK: u32 = 1_024;
const MESSAGE_CHUNK: u64 = 65_536;

/// Second byte of a key.
pub(crate) mod kind {
    pub(crate) const SESSION: u8 = b'S';
    pub(crate) const SUBSCRIPTION: u8 = b'F';
    pub(crate) const ENTRY: u8 = b'Q';
    pub(crate) const MESSAGE: u8 = b'M';
    pub(crate) const RETAINED: u8 = b'R';
    pub(crate) const WILL: u8 = b'W';
    pub(crate) const MARKS: u8 = b'G';
}

/// A message in the journal, and how many queue entries need it.
#[derive(Debug)]
struct Stored {
    number: u64,
    entries: u32,
}

/// The text of a subscription: share name and filter.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FilterText<'a> {
    pub(crate) share: Option<&'a str>,
    pub(crate) filter: &'a str,
}

/// Records to write, and what is known of those written.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    records: VecDeque<Record>,
    /// By address: an entry holds the message, so nothing else can be there.
    messages: HashMap<usize, Stored>,
    next_message: u64,
    message_mark: u64,
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
        value.u64(self.message_mark);
        // No reply depends on a mark alone.
        let (wrote, latest) = (self.wrote, self.latest);
        self.set(key(kind::MARKS), value);
        (self.wrote, self.latest) = (wrote, latest);
    }

    /// The session's record; delivery ids are reserved with it.
    pub(crate) fn session(&mut self, turn: &Turn, session: &mut Session) {
        session.reserved = session.delivery_mark().saturating_add(DELIVERY_CHUNK);
        session.journaled_window = session.window.max(session.journaled_window);
        let mut value = Writer::default();
        value.u8(FORMAT);
        value.option(session.key.as_ref(), |value, key| value.str(key.as_str()));
        value.u8(u8::from(session.connected));
        value.u64(session.expiry_micros());
        let ends = (session.ends != Instant::FAR_FUTURE).then_some(session.ends);
        value.option(ends, |value, at| value.u64(turn.to_wall(at).as_millis()));
        value.u64(session.reserved);
        value.u64(session.queue.last_started().map_or(0, |id| id.0));
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
        value.u8(u8::from(policy.queue_qos0));
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
        let flags = u8::from(grant.no_local) | u8::from(grant.retain_as_published) << 1;
        value.u8(grant.qos as u8 | flags << 2);
        value.u64(u64::from(grant.identifier));
        self.set(subscription_key(session, text), value);
    }

    pub(crate) fn subscription_gone(&mut self, session: SessionId, text: FilterText<'_>) {
        self.delete(subscription_key(session, text));
    }

    /// A queue entry of a durable session; QoS 0 is not written.
    pub(crate) fn entry(
        &mut self,
        turn: &Turn,
        session: SessionId,
        entry: &Entry,
        group: Option<FilterText<'_>>,
    ) {
        if entry.qos == Qos::AtMostOnce {
            return;
        }
        let number = self.hold_message(turn, &entry.message);
        let mut key = session_key(kind::ENTRY, session);
        key.u64(entry.id.0);
        let mut value = Writer::default();
        value.u8(FORMAT);
        value.u64(number);
        let flags = u8::from(entry.retain) | u8::from(entry.snapshot) << 1;
        value.u8(entry.qos as u8 | flags << 2);
        value.option(group, |value, text| {
            value.str(text.share.unwrap_or_default());
            value.str(text.filter);
        });
        let identifiers: &[u32] = entry.identifiers.as_deref().unwrap_or_default();
        for identifier in identifiers {
            value.u64(u64::from(*identifier));
        }
        self.set(key, value);
    }

    pub(crate) fn entry_gone(&mut self, session: SessionId, entry: &Entry) {
        if entry.qos == Qos::AtMostOnce {
            return;
        }
        let mut key = session_key(kind::ENTRY, session);
        key.u64(entry.id.0);
        self.delete(key);
        self.release_message(&entry.message);
    }

    /// One more entry needs the message; the first writes it.
    fn hold_message(&mut self, turn: &Turn, message: &Arc<Message>) -> u64 {
        if let Some(stored) = self.messages.get_mut(&address(message)) {
            stored.entries += 1;
            return stored.number;
        }
        let number = self.next_message;
        self.next_message = number.saturating_add(1);
        if number >= self.message_mark {
            self.message_mark = number.saturating_add(MESSAGE_CHUNK);
            self.write_marks();
        }
        self.messages.insert(address(message), Stored { number, entries: 1 });
        let mut key = key(kind::MESSAGE);
        key.u64(number);
        let mut value = Writer::default();
        message.encode(turn, &mut value);
        self.set(key, value);
        number
    }

    fn release_message(&mut self, message: &Arc<Message>) {
        let Some(stored) = self.messages.get_mut(&address(message)) else { return };
        stored.entries -= 1;
        if stored.entries > 0 {
            return;
        }
        let number = stored.number;
        self.messages.remove(&address(message));
        if self.messages.is_empty() {
            self.messages = HashMap::new();
        }
        self.message_gone(number);
    }

    pub(crate) fn message_gone(&mut self, number: u64) {
        let mut key = key(kind::MESSAGE);
        key.u64(number);
        self.delete(key);
    }

    /// A queue entry came back that holds this message.
    pub(crate) fn restore_message(&mut self, message: &Arc<Message>, number: u64) {
        let stored = self.messages.entry(address(message)).or_insert(Stored { number, entries: 0 });
        stored.entries += 1;
    }

    /// Goes on above every number used in earlier lives.
    pub(crate) fn restore_marks(&mut self, generation: u32, message: u64) {
        self.generation_mark = self.generation_mark.max(generation);
        self.next_message = self.next_message.max(message);
        self.message_mark = self.message_mark.max(message);
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

/// The key of a queue entry.
pub(crate) fn entry_key(session: SessionId, delivery: DeliveryId) -> Vec<u8> {
    let mut key = session_key(kind::ENTRY, session);
    key.u64(delivery.0);
    key.into_vec()
}
