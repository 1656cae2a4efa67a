//! The journal's vocabulary: how a machine says what must outlive the process.
//!
//! A [`Record`] sets or deletes one key. All records of one `Core::handle` form one atomic batch
//! with one [`Seq`]; the shell stores batches in order and reports how far it came. A machine
//! that owes a reply for something durable holds it in a [`Gate`] until that report.
//!
//! Keys start with one byte that names their owner (see [`owner`]); the rest is the owner's own.
//! Values carry their own version byte. Numbers in keys are big-endian, so that a scan of a prefix
//! comes in order.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::time::Duration;

use motegate_timers::Instant;

/// First byte of every key: whose record it is.
pub mod owner {
    /// Broker: sessions, subscriptions, queues, retained messages, wills.
    pub const BROKER: u8 = b'b';
    /// MQTT endpoint: packet identifiers and QoS 2 states.
    pub const MQTT: u8 = b'm';
    /// MQTT-SN endpoint: topic ids, msg ids, sleep states, last addresses.
    pub const MQTT_SN: u8 = b's';
    /// Core: the latest wall clock seen.
    pub const CORE: u8 = b'c';
}

/// Number of a batch of records; they are committed in order. [`Seq::NONE`] depends on nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Seq(pub u64);

impl Seq {
    /// Before every batch: already committed.
    pub const NONE: Seq = Seq(0);

    /// The next batch.
    #[must_use]
    pub const fn next(self) -> Seq {
        Seq(self.0 + 1)
    }
}

/// One change to the durable state: the value of `key` from now on, or its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Owner byte, then the owner's own bytes.
    pub key: Vec<u8>,
    /// `None` deletes the key.
    pub value: Option<Vec<u8>>,
}

/// The wall clock: milliseconds since 1970-01-01T00:00:00Z. Only persisted deadlines use it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Wall(u64);

impl Wall {
    /// From milliseconds since the epoch.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Wall(millis)
    }

    /// Milliseconds since the epoch.
    #[must_use]
    pub const fn as_millis(self) -> u64 {
        self.0
    }
}

/// What a machine is told about the moment it is called in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turn {
    /// The monotonic clock; never goes backwards.
    pub now: Instant,
    /// The wall clock at `now`; may jump.
    pub wall: Wall,
    /// The batch that records written in this turn will belong to.
    pub seq: Seq,
    /// Whether records are wanted at all: `false` (`durability: none`) means that nothing
    /// outlives the process and nothing waits.
    pub durable: bool,
}

impl Turn {
    /// A turn of a gateway that keeps nothing: no records, no waiting.
    #[must_use]
    pub const fn new(now: Instant, wall: Wall) -> Self {
        Turn { now, wall, seq: Seq::NONE, durable: false }
    }

    /// The wall-clock time of a monotonic one.
    #[must_use]
    pub fn to_wall(&self, at: Instant) -> Wall {
        let wall = if at >= self.now {
            let ahead = at.saturating_since(self.now).as_millis();
            self.wall.0.saturating_add(u64::try_from(ahead).unwrap_or(u64::MAX))
        } else {
            let behind = self.now.saturating_since(at).as_millis();
            self.wall.0.saturating_sub(u64::try_from(behind).unwrap_or(u64::MAX))
        };
        Wall(wall)
    }

    /// The monotonic time of a persisted one; what lies before the origin is the origin.
    #[must_use]
    pub fn from_wall(&self, at: Wall) -> Instant {
        if at >= self.wall {
            self.now + Duration::from_millis(at.0 - self.wall.0)
        } else {
            self.now - Duration::from_millis(self.wall.0 - at.0)
        }
    }
}

/// Items that must not leave before a batch is committed, in order: an item behind a waiting one
/// waits too. Holds no memory while empty.
#[derive(Debug)]
pub struct Gate<T> {
    waiting: VecDeque<(Seq, T)>,
}

impl<T> Default for Gate<T> {
    fn default() -> Self {
        Gate { waiting: VecDeque::new() }
    }
}

impl<T> Gate<T> {
    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// How many wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Puts `item` behind what waits. The caller has seen that it may not pass at once: `after`
    /// is not yet committed, or the gate is not empty.
    pub fn push(&mut self, after: Seq, item: T) {
        self.waiting.push_back((after, item));
    }

    /// The next item that may leave when everything up to `committed` is stored.
    pub fn pop(&mut self, committed: Seq) -> Option<T> {
        if self.waiting.front()?.0 > committed {
            return None;
        }
        let item = self.waiting.pop_front().map(|(_, item)| item);
        if self.waiting.is_empty() {
            self.waiting = VecDeque::new();
        }
        item
    }

    /// Every item still waiting, in order, without removing them.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.waiting.iter().map(|(_, item)| item)
    }
}

/// Writes a record's key or value.
#[derive(Debug, Default)]
pub struct Writer(Vec<u8>);

impl Writer {
    /// Starts a key of `owner`.
    #[must_use]
    pub fn key(owner: u8) -> Self {
        Writer(alloc::vec![owner])
    }

    /// What was written.
    #[must_use]
    pub fn into_vec(self) -> Vec<u8> {
        self.0
    }

    /// One byte.
    pub fn u8(&mut self, value: u8) {
        self.0.push(value);
    }

    /// Two bytes, big-endian.
    pub fn u16(&mut self, value: u16) {
        self.0.extend_from_slice(&value.to_be_bytes());
    }

    /// Eight bytes, big-endian (in keys it keeps the order).
    pub fn u64(&mut self, value: u64) {
        self.0.extend_from_slice(&value.to_be_bytes());
    }

    /// Bytes with their length before them.
    pub fn bytes(&mut self, value: &[u8]) {
        // Payloads are bounded by 256 MiB.
        let len = u32::try_from(value.len()).unwrap_or(u32::MAX);
        self.0.extend_from_slice(&len.to_be_bytes());
        self.0.extend_from_slice(value);
    }

    /// Text with its length before it.
    pub fn str(&mut self, value: &str) {
        self.bytes(value.as_bytes());
    }

    /// Bytes to the end: the last part of a key.
    pub fn tail(&mut self, value: &[u8]) {
        self.0.extend_from_slice(value);
    }

    /// A byte that says whether a value follows.
    pub fn option<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Writer, T)) {
        self.u8(u8::from(value.is_some()));
        if let Some(value) = value {
            write(self, value);
        }
    }
}

/// Reads a record's key or value; every method gives `None` at the end or on damage.
#[derive(Debug)]
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Reads from `bytes`.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Reader(bytes)
    }

    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(len)?;
        self.0 = tail;
        Some(head)
    }

    /// One byte.
    pub fn u8(&mut self) -> Option<u8> {
        self.take(1).map(|b| b[0])
    }

    /// Two bytes, big-endian.
    pub fn u16(&mut self) -> Option<u16> {
        self.take(2)?.try_into().ok().map(u16::from_be_bytes)
    }

    /// Eight bytes, big-endian.
    pub fn u64(&mut self) -> Option<u64> {
        self.take(8)?.try_into().ok().map(u64::from_be_bytes)
    }

    /// Bytes with their length before them.
    pub fn bytes(&mut self) -> Option<&'a [u8]> {
        let len = u32::from_be_bytes(self.take(4)?.try_into().ok()?);
        self.take(usize::try_from(len).ok()?)
    }

    /// Text with its length before it.
    pub fn str(&mut self) -> Option<&'a str> {
        core::str::from_utf8(self.bytes()?).ok()
    }

    /// What is left.
    pub fn tail(&mut self) -> &'a [u8] {
        core::mem::take(&mut self.0)
    }

    /// A value that may be absent; the outer `None` means damage.
    pub fn option<T>(&mut self, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<Option<T>> {
        match self.u8()? {
            0 => Some(None),
            1 => read(self).map(Some),
            _ => None,
        }
    }

    /// Whether everything was read.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gate_keeps_order_and_waits() {
        let mut gate = Gate::default();
        gate.push(Seq(2), 'a');
        gate.push(Seq::NONE, 'b'); // free itself, but behind a waiting one
        gate.push(Seq(3), 'c');
        assert_eq!(gate.pop(Seq(1)), None);
        assert_eq!(gate.pop(Seq(2)), Some('a'));
        assert_eq!(gate.pop(Seq(2)), Some('b'));
        assert_eq!(gate.pop(Seq(2)), None);
        assert_eq!(gate.pop(Seq(3)), Some('c'));
        assert!(gate.is_empty());
    }

    #[test]
    fn clocks_convert_both_ways() {
        let turn = Turn::new(Instant::from_secs(50), Wall::from_millis(1_000_000));
        for secs in [0, 49, 50, 51, 500] {
            let at = Instant::from_secs(secs);
            assert_eq!(turn.from_wall(turn.to_wall(at)), at);
        }
        assert_eq!(turn.from_wall(Wall::from_millis(0)), Instant::ZERO);
    }

    #[test]
    fn what_is_written_is_read() {
        let mut out = Writer::key(owner::BROKER);
        out.u16(500);
        out.u64(7);
        out.str("é");
        out.option(Some(3), Writer::u8);
        out.option(None, Writer::u8);
        out.tail(b"rest");
        let bytes = out.into_vec();
        let mut input = Reader::new(&bytes);
        assert_eq!(input.u8(), Some(owner::BROKER));
        assert_eq!(input.u16(), Some(500));
        assert_eq!(input.u64(), Some(7));
        assert_eq!(input.str(), Some("é"));
        assert_eq!(input.option(Reader::u8), Some(Some(3)));
        assert_eq!(input.option(Reader::u8), Some(None));
        assert_eq!(input.tail(), b"rest");
        assert!(input.is_empty());
        assert_eq!(input.u8(), None);
    }
}
