//! The wire state of one session: packet ids and QoS states, ours and the client's
//! (MQTT 5 §4.3). It is keyed by the session and outlives the connection until the broker says
//! that the session is over. The messages themselves are the broker's.
//!
//! Durable sessions journal it: `m` session `o` id → our packet id, its state, delivery and place;
//! `m` session `i` id → a received QoS 2 packet id.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::num::NonZeroU16;

use motegate_message::journal::{Reader, Writer, owner};
use motegate_message::{DeliveryId, Record, Seq, SessionId};
use motegate_timers::Instant;

use super::outgoing::OutgoingTable;
pub(super) use super::outgoing::{Flow, Outgoing};
use super::resume::Resume;

/// A QoS 2 packet id that the client has not released.
#[derive(Debug, Clone, Copy)]
pub(super) struct Incoming {
    /// Of topic and payload.
    pub(super) hash: u32,
    /// Whether the message is taken over (the broker answered).
    pub(super) taken: bool,
    /// Whether it counts against the receive maximum of this connection.
    pub(super) counted: bool,
    recorded: bool,
    /// Its place among those of this life, around the end of the numbers.
    order: u32,
}

impl Incoming {
    pub(super) fn new(hash: u32) -> Self {
        Incoming { hash, taken: false, counted: true, recorded: false, order: 0 }
    }
}

/// Where records go.
pub(super) struct Journal<'a> {
    pub(super) records: &'a mut VecDeque<Record>,
    pub(super) session: SessionId,
    /// The batch they will be in; `None` when nothing is kept (not durable).
    pub(super) seq: Option<Seq>,
}

/// Packet ids and states of one session.
#[derive(Debug, Default)]
pub(super) struct Wire {
    pub(super) out: OutgoingTable,
    /// The last place given.
    order: u64,
    /// While something of an earlier connection has to go again.
    pub(super) resume: Option<Box<Resume>>,
    /// Ordered, so that a batch's records come in the same order in every run.
    held: BTreeMap<u16, Incoming>,
    /// The last place given to one of them.
    held_order: u32,
    /// Since when more of them are held than may be.
    pub(super) over_since: Option<Instant>,
    /// The highest delivery that may be known here: they come in their order, each connection anew.
    pub(super) newest: Option<DeliveryId>,
    /// The youngest batch with records of ours.
    pub(super) last_record: Seq,
}

impl Wire {
    pub(super) fn is_empty(&self) -> bool {
        self.out.is_empty() && self.held.is_empty()
    }

    /// The delivery under an id of ours.
    pub(super) fn outgoing(&mut self, id: NonZeroU16) -> Option<&mut Outgoing> {
        self.out.get_mut(id)
    }

    /// The state of a delivery that was begun before.
    pub(super) fn by_delivery(&self, delivery: DeliveryId) -> Option<Outgoing> {
        if self.newest < Some(delivery) {
            return None;
        }
        match self.resume.as_ref().and_then(|resume| resume.find(delivery)) {
            Some(id) => self.out.get(id).filter(|out| out.delivery == delivery).copied(),
            None => self.out.iter().find(|out| out.delivery == delivery).copied(),
        }
    }

    /// Begins a delivery under the next free id; `None` when all 65,535 are taken.
    /// [MQTT-2.2.1-3]
    pub(super) fn begin(
        &mut self,
        delivery: DeliveryId,
        flow: Flow,
        journal: &mut Journal<'_>,
    ) -> Option<NonZeroU16> {
        let id = self.out.free_id()?;
        self.order += 1;
        let mut entry = Outgoing {
            delivery,
            order: self.order,
            id,
            flow,
            sent: false,
            due: false,
            handed: true,
            recorded: false,
        };
        self.note(record_outgoing(&mut entry, journal));
        self.newest = self.newest.max(Some(delivery));
        self.out.insert(entry);
        Some(id)
    }

    /// Moves a delivery on to [`Flow::Released`]: its place is behind all others.
    pub(super) fn release(&mut self, id: NonZeroU16, journal: &mut Journal<'_>) {
        let Some(entry) = self.out.get_mut(id) else { return };
        self.order += 1;
        (entry.flow, entry.order) = (Flow::Released, self.order);
        if let Some(resume) = &mut self.resume {
            resume.release(entry);
        }
        let seq = record_outgoing(entry, journal);
        self.note(seq);
    }

    /// The client is done with a delivery that the broker has not handed out on this connection:
    /// it is kept in mind until it comes.
    pub(super) fn complete(&mut self, id: NonZeroU16, journal: &mut Journal<'_>) {
        let Some(entry) = self.out.get_mut(id) else { return };
        if let Some(resume) = &mut self.resume {
            resume.leave(entry);
        }
        (entry.flow, entry.due) = (Flow::Complete, false);
        let seq = record_outgoing(entry, journal);
        self.note(seq);
    }

    /// The broker hands a delivery to this connection that was begun on another.
    pub(super) fn hand(&mut self, id: NonZeroU16) {
        if let Some(entry) = self.out.get_mut(id) {
            entry.handed = true;
        }
    }

    /// A delivery is over: its id is free again.
    pub(super) fn finish(&mut self, id: NonZeroU16, journal: &mut Journal<'_>) {
        let Some(entry) = self.out.remove(id) else { return };
        if let Some(resume) = &mut self.resume {
            resume.leave(&entry);
        }
        if entry.recorded {
            journal.delete(outgoing_key(journal.session, entry.id.get()));
        }
    }

    /// The state of a QoS 2 id of the client's.
    pub(super) fn incoming(&mut self, id: NonZeroU16) -> Option<&mut Incoming> {
        self.held.get_mut(&id.get())
    }

    pub(super) fn held_len(&self) -> usize {
        self.held.len()
    }

    /// Holds a QoS 2 id of the client's; journalled once its message is taken.
    pub(super) fn hold(&mut self, id: NonZeroU16, incoming: Incoming, journal: &mut Journal<'_>) {
        self.drop_held(id, journal);
        self.held_order = self.held_order.wrapping_add(1);
        self.held.insert(id.get(), Incoming { order: self.held_order, ..incoming });
    }

    /// Forgets the oldest held ids beyond so many; whether there were any. Their PUBRECs left first:
    /// whoever has one sends PUBREL, which is answered whatever is known.
    pub(super) fn forget_oldest(&mut self, most: usize, journal: &mut Journal<'_>) -> bool {
        let beyond = self.held.len().saturating_sub(most);
        if beyond == 0 {
            return false;
        }
        let age = |incoming: &Incoming| self.held_order.wrapping_sub(incoming.order);
        let mut by_age: Vec<_> = self.held.iter().map(|(id, held)| (age(held), *id)).collect();
        by_age.sort_unstable_by(|a, b| b.cmp(a));
        for (_, id) in by_age.into_iter().take(beyond) {
            if let Some(id) = NonZeroU16::new(id) {
                self.drop_held(id, journal);
            }
        }
        true
    }

    /// The message under a held id is taken over. `keep` false: in this process only.
    pub(super) fn take(&mut self, id: NonZeroU16, keep: bool, journal: &mut Journal<'_>) {
        let Some(incoming) = self.held.get_mut(&id.get()) else { return };
        incoming.taken = true;
        if keep {
            let seq = record_incoming(id.get(), incoming, journal);
            self.note(seq);
        }
    }

    /// A held id is released or refused.
    pub(super) fn drop_held(
        &mut self,
        id: NonZeroU16,
        journal: &mut Journal<'_>,
    ) -> Option<Incoming> {
        let incoming = self.held.remove(&id.get())?;
        if incoming.recorded {
            let seq = journal.delete(incoming_key(journal.session, id.get()));
            self.note(seq);
        }
        if self.held.is_empty() {
            self.held = BTreeMap::new();
        }
        Some(incoming)
    }

    /// The connection is over. What was handed to the broker counts as taken: its answer finds
    /// nobody any more.
    pub(super) fn detach(&mut self, journal: &mut Journal<'_>) {
        (self.resume, self.over_since) = (None, None);
        let mut noted = None;
        for (id, incoming) in &mut self.held {
            incoming.counted = false;
            if !incoming.taken {
                incoming.taken = true;
                noted = noted.max(record_incoming(*id, incoming, journal));
            }
        }
        self.note(noted);
    }

    /// A new connection: a session that has become durable journals what it holds.
    pub(super) fn attach(&mut self, journal: &mut Journal<'_>) {
        let mut noted = None;
        for id in self.out.ids(|entry| !entry.recorded) {
            let Some(entry) = self.out.get_mut(id) else { continue };
            noted = noted.max(record_outgoing(entry, journal));
        }
        for (id, incoming) in self.held.iter_mut().filter(|(_, incoming)| !incoming.recorded) {
            noted = noted.max(record_incoming(*id, incoming, journal));
        }
        self.note(noted);
    }

    /// The session is over: every record of it is deleted.
    pub(super) fn forget(&self, journal: &mut Journal<'_>) {
        for id in self.out.ids(|entry| entry.recorded) {
            journal.delete(outgoing_key(journal.session, id.get()));
        }
        for (id, _) in self.held.iter().filter(|(_, incoming)| incoming.recorded) {
            journal.delete(incoming_key(journal.session, *id));
        }
    }

    /// Puts a record of an earlier life back.
    pub(super) fn restore(&mut self, record: Restored) {
        match record {
            Restored::Outgoing { id, flow, delivery, order } => {
                let (sent, recorded) = (true, true);
                let entry = Outgoing {
                    delivery,
                    order,
                    id,
                    flow,
                    sent,
                    due: false,
                    handed: false,
                    recorded,
                };
                self.order = self.order.max(order);
                self.newest = self.newest.max(Some(delivery));
                self.out.insert(entry);
            }
            Restored::Incoming { id, hash } => {
                let incoming =
                    Incoming { hash, taken: true, counted: false, recorded: true, order: 0 };
                self.held.insert(id, incoming);
            }
        }
    }

    /// A record was written in this batch: what depends on it waits for it.
    fn note(&mut self, written: Option<Seq>) {
        self.last_record = self.last_record.max(written.unwrap_or(Seq::NONE));
    }
}

impl Journal<'_> {
    fn set(&mut self, key: Vec<u8>, value: Vec<u8>) -> Option<Seq> {
        self.records.push_back(Record { key, value: Some(value) });
        self.seq
    }

    /// Also where nothing new is kept: what an earlier durable life wrote must go.
    fn delete(&mut self, key: Vec<u8>) -> Option<Seq> {
        self.records.push_back(Record { key, value: None });
        self.seq
    }
}

/// Writes the state of a delivery and gives the batch it is in, if it is in one.
fn record_outgoing(entry: &mut Outgoing, journal: &mut Journal<'_>) -> Option<Seq> {
    if journal.seq.is_none() && !entry.recorded {
        return None;
    }
    entry.recorded = true;
    let mut value = Writer::default();
    value.u8(ORDERED);
    value.u8(entry.flow as u8);
    value.u64(entry.delivery.0);
    value.u64(entry.order);
    journal.set(outgoing_key(journal.session, entry.id.get()), value.into_vec())
}

fn record_incoming(id: u16, incoming: &mut Incoming, journal: &mut Journal<'_>) -> Option<Seq> {
    if incoming.recorded {
        return None;
    }
    journal.seq?;
    incoming.recorded = true;
    let mut value = Writer::default();
    value.u8(FORMAT);
    value.u64(u64::from(incoming.hash));
    journal.set(incoming_key(journal.session, id), value.into_vec())
}

const FORMAT: u8 = 1;
/// Of a record that has its place; one without is where its delivery is.
const ORDERED: u8 = 2;

fn key(session: SessionId, kind: u8, id: u16) -> Vec<u8> {
    let mut key = Writer::key(owner::MQTT);
    key.u64(session.get());
    key.u8(kind);
    key.u16(id);
    key.into_vec()
}

fn outgoing_key(session: SessionId, id: u16) -> Vec<u8> {
    key(session, b'o', id)
}

fn incoming_key(session: SessionId, id: u16) -> Vec<u8> {
    key(session, b'i', id)
}

/// What one record says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Restored {
    Outgoing { id: NonZeroU16, flow: Flow, delivery: DeliveryId, order: u64 },
    Incoming { id: u16, hash: u32 },
}

/// Reads a record; `None` when it is damaged, newer or not ours.
pub(super) fn read_record(key: &[u8], value: &[u8]) -> Option<(SessionId, Restored)> {
    let mut key = Reader::new(key);
    if key.u8()? != owner::MQTT {
        return None;
    }
    let session = SessionId::from_u64(key.u64()?);
    let kind = key.u8()?;
    let id = NonZeroU16::new(key.u16()?)?;
    let mut value = Reader::new(value);
    let format = value.u8()?;
    if format != FORMAT && (format, kind) != (ORDERED, b'o') {
        return None;
    }
    let restored = match kind {
        b'o' => {
            let flow = match value.u8()? {
                1 => Flow::AtLeastOnce,
                2 => Flow::ExactlyOnce,
                3 => Flow::Released,
                4 => Flow::Complete,
                _ => return None,
            };
            let delivery = DeliveryId(value.u64()?);
            let order = if format == ORDERED { value.u64()? } else { 0 };
            Restored::Outgoing { id, flow, delivery, order }
        }
        b'i' => Restored::Incoming { id: id.get(), hash: u32::try_from(value.u64()?).ok()? },
        _ => return None,
    };
    (key.is_empty() && value.is_empty()).then_some((session, restored))
}

/// Hash of a message that tells a repeat from new content under a reused id. Kept in the journal:
/// it must not change.
pub(super) fn content_hash(topic: &str, payload: &[u8]) -> u32 {
    const PRIME: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut hash = PRIME ^ topic.len() as u64;
    for part in [topic.as_bytes(), payload] {
        let mut chunks = part.chunks_exact(8);
        for chunk in &mut chunks {
            let word = chunk.try_into().map_or(0, u64::from_le_bytes);
            hash = (hash ^ word).wrapping_mul(PRIME).rotate_left(29);
        }
        for byte in chunks.remainder() {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(PRIME).rotate_left(29);
        }
    }
    let [a, b, c, d, ..] = (hash ^ hash >> 32).to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn journal(records: &mut VecDeque<Record>, seq: Option<Seq>) -> Journal<'_> {
        Journal { records, session: SessionId::new(3, 1), seq }
    }

    #[test]
    fn ids_are_searched_not_counted() {
        let mut records = VecDeque::new();
        let journal = &mut journal(&mut records, None);
        let mut wire = Wire::default();
        let mut begin = |wire: &mut Wire| {
            wire.begin(DeliveryId(0), Flow::AtLeastOnce, journal).map(NonZeroU16::get)
        };
        assert_eq!(begin(&mut wire), Some(1));
        assert_eq!(begin(&mut wire), Some(2));
        assert_eq!(begin(&mut wire), Some(3));
        let mut empty = VecDeque::new();
        let mut other = Journal { records: &mut empty, session: SessionId::new(0, 0), seq: None };
        wire.finish(NonZeroU16::new(2).unwrap(), &mut other);
        for expected in 4..=65_535 {
            assert_eq!(begin(&mut wire), Some(expected));
        }
        assert_eq!(begin(&mut wire), Some(2), "1 and 3 are still taken");
        assert_eq!(begin(&mut wire), None, "all are taken");
        wire.finish(NonZeroU16::new(40_000).unwrap(), &mut other);
        assert_eq!(begin(&mut wire), Some(40_000));
    }

    #[test]
    fn records_round_trip_and_end() {
        let mut records = VecDeque::new();
        let mut j = journal(&mut records, Some(Seq(5)));
        let mut wire = Wire::default();
        let id = wire.begin(DeliveryId(9), Flow::ExactlyOnce, &mut j).unwrap();
        wire.release(id, &mut j);
        let held = NonZeroU16::new(7).unwrap();
        wire.hold(held, Incoming::new(42), &mut j);
        wire.take(held, true, &mut j);
        assert_eq!(wire.last_record, Seq(5));
        let mut state = alloc::collections::BTreeMap::new();
        for record in records.drain(..) {
            state.insert(record.key, record.value);
        }
        let mut back = Wire::default();
        for (key, value) in &state {
            let value = value.as_ref().unwrap();
            let (session, record) = read_record(key, value).unwrap();
            assert_eq!(session, SessionId::new(3, 1));
            back.restore(record);
            for cut in 0..value.len() {
                assert_eq!(read_record(key, &value[..cut]), None);
            }
        }
        assert_eq!(back.by_delivery(DeliveryId(9)).map(|out| out.flow), Some(Flow::Released));
        assert_eq!(back.incoming(held).map(|held| held.hash), Some(42));
        let mut j = journal(&mut records, None);
        back.forget(&mut j);
        for record in records.drain(..) {
            assert_eq!(record.value, None);
            assert!(state.remove(&record.key).is_some());
        }
        assert!(state.is_empty());
    }

    #[test]
    fn content_is_told_apart() {
        assert_eq!(content_hash("a", b"bc"), content_hash("a", b"bc"));
        assert_ne!(content_hash("a", b"bc"), content_hash("ab", b"c"));
        assert_ne!(content_hash("a", b"12345678"), content_hash("a", b"12345679"));
        assert_eq!(content_hash("site/door", b"open"), 4073573674, "journalled: fixed for good");
    }
}
