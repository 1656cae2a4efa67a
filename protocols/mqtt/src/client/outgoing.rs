//! The publishes that are not through: in flight first, then those that wait, in the order in
//! which they were given (MQTT 5 §4.4, §4.6).
//!
//! Topics, properties and payloads lie one behind the other in one buffer, so that a publish costs
//! no allocation. `next` walks over the entries: what is before it was sent on this connection. A
//! new connection puts it back to the front, and what was sent is sent again.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::num::NonZeroU16;

use motegate_message::Qos;

use super::contract::{Publish, Token};
use super::error::PublishError;
use super::ids::{Holder, PacketIds};
use crate::packet::{self, PacketType, Sender};
use crate::properties::{Properties, Scope};
use crate::reason::ReasonCode;

/// Bytes and places that an emptied queue keeps.
const KEPT: usize = 1024;
const KEPT_ENTRIES: usize = 32;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Never sent in this session.
    Waiting,
    /// Sent, PUBACK or PUBREC is to come.
    Sent,
    /// PUBREC came, PUBCOMP is to come.
    Released,
    /// Through; the entry goes when it is the first.
    Done,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    at: u64,
    pub(super) token: Token,
    properties: u32,
    payload: u32,
    topic: u16,
    pub(super) id: Option<NonZeroU16>,
    pub(super) qos: Qos,
    retain: bool,
    pub(super) state: State,
    /// What PUBREC said.
    pub(super) code: ReasonCode,
}

impl Entry {
    const fn len(&self) -> usize {
        self.topic as usize + self.properties as usize + self.payload as usize
    }
}

#[derive(Debug, Default)]
pub(super) struct Outgoing {
    entries: VecDeque<Entry>,
    /// The number of the first entry.
    base: u64,
    /// The number of the first entry that was not yet sent on this connection.
    pub(super) next: u64,
    bytes: Vec<u8>,
    /// The place of the first byte, as entries count.
    start: u64,
    live: usize,
    live_bytes: usize,
}

fn index(distance: u64) -> usize {
    usize::try_from(distance).unwrap_or(usize::MAX)
}

impl Outgoing {
    /// Publishes that are not through.
    pub(super) const fn len(&self) -> usize {
        self.live
    }

    pub(super) const fn bytes(&self) -> usize {
        self.live_bytes
    }

    fn end(&self) -> u64 {
        self.base + self.entries.len() as u64
    }

    /// Whether everything was sent on this connection.
    pub(super) fn all_sent(&self) -> bool {
        self.next >= self.end()
    }

    pub(super) fn get(&mut self, number: u64) -> Option<&mut Entry> {
        self.entries.get_mut(index(number.checked_sub(self.base)?))
    }

    /// Takes a publish that the caller has checked.
    pub(super) fn push(&mut self, publish: &Publish<'_>, token: Token) -> Result<(), PublishError> {
        let too_large = PublishError::TooLarge { max: u32::MAX as usize };
        let properties = publish.properties.as_bytes();
        let entry = Entry {
            at: self.start + self.bytes.len() as u64,
            token,
            properties: u32::try_from(properties.len()).map_err(|_| too_large.clone())?,
            payload: u32::try_from(publish.payload.len()).map_err(|_| too_large)?,
            topic: u16::try_from(publish.topic.len()).map_err(|_| PublishError::BadTopic)?,
            id: None,
            qos: publish.qos,
            retain: publish.retain,
            state: State::Waiting,
            code: ReasonCode::Success,
        };
        self.bytes.extend_from_slice(publish.topic.as_bytes());
        self.bytes.extend_from_slice(properties);
        self.bytes.extend_from_slice(publish.payload);
        self.entries.push_back(entry);
        self.live += 1;
        self.live_bytes += entry.len();
        Ok(())
    }

    /// The packet of an entry, with a full topic.
    pub(super) fn packet(&self, entry: &Entry) -> packet::Publish<'_> {
        let bytes = self.bytes.get(index(entry.at - self.start)..).unwrap_or_default();
        let (topic, bytes) = bytes.split_at_checked(entry.topic.into()).unwrap_or_default();
        let cut = bytes.split_at_checked(entry.properties as usize);
        let (properties, bytes) = cut.unwrap_or_default();
        let scope = Scope::Packet(PacketType::Publish, Sender::Client);
        packet::Publish {
            dup: entry.state == State::Sent,
            qos: entry.qos,
            retain: entry.retain,
            // Both were checked when they came.
            topic: core::str::from_utf8(topic).unwrap_or_default(),
            id: entry.id,
            properties: Properties::check(properties, scope).unwrap_or(Properties::EMPTY),
            payload: bytes.get(..entry.payload as usize).unwrap_or_default(),
        }
    }

    /// An entry is through.
    pub(super) fn finish(&mut self, number: u64, ids: &mut PacketIds) {
        let Some(entry) = self.get(number).filter(|entry| entry.state != State::Done) else {
            return;
        };
        entry.state = State::Done;
        let (id, len) = (entry.id.take(), entry.len());
        if let Some(id) = id {
            ids.give_back(id);
        }
        self.live -= 1;
        self.live_bytes -= len;
        while self.entries.front().is_some_and(|entry| entry.state == State::Done) {
            self.entries.pop_front();
            self.base += 1;
        }
        self.next = self.next.max(self.base);
        self.give_back(ids);
    }

    /// Gives back memory that holds nothing any more.
    fn give_back(&mut self, ids: &mut PacketIds) {
        let Some(front) = self.entries.front() else {
            self.start += self.bytes.len() as u64;
            self.bytes.clear();
            self.bytes.shrink_to(KEPT);
            self.entries.shrink_to(KEPT_ENTRIES);
            return ids.shrink();
        };
        let dead = index(front.at - self.start);
        if dead > KEPT && dead >= self.bytes.len() / 2 {
            self.bytes.drain(..dead);
            self.start += dead as u64;
        }
    }

    /// Drops what is through between what is not, when it is the greater part: one message that
    /// is never acknowledged must not hold all those behind it. Numbers change by that.
    pub(super) fn tidy(&mut self, ids: &mut PacketIds) {
        if self.entries.len() <= 64 || self.live >= self.entries.len() / 2 {
            return;
        }
        let entries = core::mem::take(&mut self.entries);
        let old = core::mem::take(&mut self.bytes);
        let sent = index(self.next - self.base);
        let mut next = self.base;
        for (i, mut entry) in entries.into_iter().enumerate() {
            if entry.state == State::Done {
                continue;
            }
            let from = index(entry.at - self.start);
            let number = self.end();
            entry.at = self.start + self.bytes.len() as u64;
            self.bytes.extend_from_slice(old.get(from..from + entry.len()).unwrap_or_default());
            if let Some(id) = entry.id {
                ids.set(id, Holder::Publish(number));
            }
            self.entries.push_back(entry);
            if i < sent {
                next = self.end();
            }
        }
        self.next = next;
    }

    /// A new connection: everything is to be sent again. Tells which entry is through by that.
    pub(super) fn rewind(&mut self, session_present: bool, ids: &mut PacketIds) -> Vec<u64> {
        let mut through = Vec::new();
        self.next = self.base;
        if session_present {
            return through; // [MQTT-4.4.0-1]
        }
        for (number, entry) in (self.base..).zip(&mut self.entries) {
            match entry.state {
                // The server has never heard of it, or forgot: a new message, with a new id.
                State::Sent => {
                    entry.state = State::Waiting;
                    if let Some(id) = entry.id.take() {
                        ids.give_back(id);
                    }
                }
                // The server had taken it over. Sent again it would come twice. [MQTT-4.3.3-6]
                State::Released => through.push(number),
                State::Waiting | State::Done => {}
            }
        }
        through
    }

    /// Everything that is not through, for giving up.
    pub(super) fn numbers(&self) -> Vec<u64> {
        let open = (self.base..).zip(&self.entries).filter(|(_, e)| e.state != State::Done);
        open.map(|(number, _)| number).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    fn push(out: &mut Outgoing, n: u64) {
        let payload = format!("message {n}");
        out.push(&Publish::new("a/b", payload.as_bytes(), Qos::AtLeastOnce), n).unwrap();
    }

    fn send(out: &mut Outgoing, ids: &mut PacketIds) {
        while !out.all_sent() {
            let number = out.next;
            let entry = out.get(number).unwrap();
            entry.id = ids.take(Holder::Publish(number));
            entry.state = State::Sent;
            out.next += 1;
        }
    }

    #[test]
    fn an_entry_is_small() {
        assert!(size_of::<Entry>() <= 32, "{}", size_of::<Entry>());
    }

    #[test]
    fn one_that_is_never_acknowledged_does_not_hold_the_others() {
        let (mut out, mut ids) = (Outgoing::default(), PacketIds::default());
        push(&mut out, 0);
        push(&mut out, 1);
        send(&mut out, &mut ids);
        for n in 2..5_000 {
            push(&mut out, n);
            send(&mut out, &mut ids);
            // Numbers move when the queue is packed, ids do not.
            let id = NonZeroU16::new(u16::try_from(n).unwrap()).unwrap();
            let Some(Holder::Publish(number)) = ids.holder(id) else { panic!("{n}") };
            let entry = *out.get(number).unwrap();
            assert_eq!((entry.token, entry.id), (n - 1, Some(id)));
            assert_eq!(out.packet(&entry).payload, format!("message {}", n - 1).as_bytes());
            out.finish(number, &mut ids);
            out.tidy(&mut ids);
        }
        assert_eq!(out.len(), 2);
        assert!(out.entries.len() < 200 && out.bytes.len() < 8_000);
        for number in out.numbers() {
            out.finish(number, &mut ids);
        }
        assert_eq!((out.len(), out.bytes(), out.entries.len()), (0, 0, 0));
        assert!(out.bytes.capacity() <= KEPT && out.all_sent());
    }

    #[test]
    fn a_lost_session_makes_new_messages_of_what_was_sent() {
        let (mut out, mut ids) = (Outgoing::default(), PacketIds::default());
        for n in 0..3 {
            push(&mut out, n);
        }
        send(&mut out, &mut ids);
        out.get(1).unwrap().state = State::Released;
        assert_eq!(out.rewind(false, &mut ids), [1]);
        let first = *out.get(0).unwrap();
        assert_eq!((first.state, first.id, out.next), (State::Waiting, None, 0));
        assert_eq!(ids.holder(NonZeroU16::MIN), None);
    }
}
