//! What a connection owes its client, in the order in which the packets came: an acknowledgement
//! leaves when everything before it has left, its answer is there and the batch that it depends
//! on is committed ([MQTT-4.6.0-2…4]). Holds no memory while nothing is owed.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::num::NonZeroU16;

use motegate_message::{Qos, Seq};

use crate::endpoint::Ticket;
use crate::reason::ReasonCode;

/// Of a slot whose answer is not there yet; never committed.
const UNANSWERED: Seq = Seq(u64::MAX);

/// Ticket of a QoS 0 publish: nothing is owed.
pub(super) const NO_TICKET: Ticket = 0;

/// What is owed.
#[derive(Debug)]
pub(super) enum Owed {
    /// A whole encoded CONNACK.
    ConnAck(Box<[u8]>),
    PubAck(NonZeroU16, ReasonCode),
    PubRec(NonZeroU16, ReasonCode),
    /// To a copy that came before the answer to the first was there: it has the same.
    PubRecAgain(NonZeroU16, ReasonCode),
    PubRel(NonZeroU16, ReasonCode),
    /// Whether the publish is counted against the receive maximum.
    PubComp(NonZeroU16, ReasonCode, bool),
    SubAck(NonZeroU16, Box<[Answer]>),
    UnsubAck(NonZeroU16, Box<[ReasonCode]>),
}

/// The answer to one filter of a SUBSCRIBE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Answer {
    /// What the client asked for; MQTT 3.1 hears this even when it is refused.
    pub(super) asked: Qos,
    /// Given by the endpoint itself; `None` until the broker answers.
    pub(super) code: Option<ReasonCode>,
}

/// What is owed, oldest first.
#[derive(Debug, Default)]
pub(super) struct Acks {
    slots: VecDeque<(Seq, Owed)>,
    /// Tickets given so far; the last is the youngest slot's.
    issued: Ticket,
    /// SUBACKs that only wait for their commit: deliveries wait behind them.
    granted: u16,
    /// Copies of publishes that wait for the answer to the first.
    repeats: u16,
}

impl Acks {
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Owes something whose answer comes with the ticket.
    pub(super) fn ask(&mut self, owed: Owed) -> Ticket {
        self.owe(UNANSWERED, owed)
    }

    /// Owes something that may leave after `after`.
    pub(super) fn owe(&mut self, after: Seq, owed: Owed) -> Ticket {
        self.slots.push_back((after, owed));
        self.issued += 1;
        self.issued
    }

    /// What is owed under an unanswered ticket.
    pub(super) fn asked(&mut self, ticket: Ticket) -> Option<&mut Owed> {
        let (after, owed) = self.slot(ticket)?;
        (*after == UNANSWERED).then_some(owed)
    }

    /// The answer to `ticket` is there.
    pub(super) fn answer(&mut self, ticket: Ticket, after: Seq) {
        if let Some(slot) = self.slot(ticket)
            && slot.0 == UNANSWERED
        {
            slot.0 = after;
            if matches!(slot.1, Owed::SubAck(..)) {
                self.granted = self.granted.saturating_add(1);
            }
        }
    }

    /// Owes a copy of a publish at QoS 2 the answer that the first will have.
    pub(super) fn ask_again(&mut self, id: NonZeroU16) {
        self.repeats = self.repeats.saturating_add(1);
        self.ask(Owed::PubRecAgain(id, ReasonCode::Success));
    }

    /// The answer to the publish of this id is there: its copies have it too.
    pub(super) fn answer_again(&mut self, id: NonZeroU16, answer: ReasonCode, after: Seq) {
        if self.repeats == 0 {
            return;
        }
        for (stored, owed) in &mut self.slots {
            if let Owed::PubRecAgain(of, code) = owed
                && *stored == UNANSWERED
                && *of == id
            {
                (*stored, *code) = (after, answer);
                self.repeats -= 1;
            }
        }
    }

    fn slot(&mut self, ticket: Ticket) -> Option<&mut (Seq, Owed)> {
        let behind = self.issued.checked_sub(ticket)?;
        let index = self.slots.len().checked_sub(usize::try_from(behind).ok()?.checked_add(1)?)?;
        self.slots.get_mut(index)
    }

    /// What may leave now.
    pub(super) fn pop(&mut self, committed: Seq) -> Option<Owed> {
        if self.slots.front()?.0 > committed {
            return None;
        }
        let (_, owed) = self.slots.pop_front()?;
        if self.slots.is_empty() {
            self.slots = VecDeque::new();
        }
        if matches!(owed, Owed::SubAck(..)) {
            self.granted = self.granted.saturating_sub(1);
        }
        Some(owed)
    }

    /// The batch that the oldest waits for, if it waits for one.
    pub(super) fn waits_for(&self) -> Option<Seq> {
        self.slots.front().map(|(after, _)| *after).filter(|after| *after != UNANSWERED)
    }

    /// Whether deliveries would overtake a SUBACK.
    pub(super) fn holds_deliveries(&self) -> bool {
        self.granted > 0
    }

    /// PUBRECs whose answer is not there yet, by ticket.
    pub(super) fn unanswered(&self) -> impl Iterator<Item = (Ticket, NonZeroU16)> + '_ {
        let youngest_first = self.slots.iter().rev().zip(0..);
        youngest_first.filter_map(|((after, owed), behind)| match owed {
            Owed::PubRec(id, _) if *after == UNANSWERED => Some((self.issued - behind, *id)),
            _ => None,
        })
    }

    /// Nothing is owed any more.
    pub(super) fn clear(&mut self) {
        self.slots = VecDeque::new();
        (self.granted, self.repeats) = (0, 0);
    }

    /// Fills the open answers of a SUBACK in order and returns the codes.
    pub(super) fn fill(answers: &mut [Answer], codes: impl IntoIterator<Item = ReasonCode>) {
        let open = answers.iter_mut().filter(|answer| answer.code.is_none());
        for (answer, code) in open.zip(codes) {
            answer.code = Some(code);
        }
    }
}

/// The codes as a SUBACK carries them.
pub(super) fn codes(answers: &[Answer], granted_always: bool) -> Vec<ReasonCode> {
    answers
        .iter()
        .map(|answer| match answer.code.unwrap_or(ReasonCode::UnspecifiedError) {
            // MQTT 3.1 has no failure: a denied filter is answered as granted.
            code if code.is_error() && granted_always => granted(answer.asked),
            code => code,
        })
        .collect()
}

pub(super) const fn granted(qos: Qos) -> ReasonCode {
    match qos {
        Qos::AtMostOnce => ReasonCode::Success,
        Qos::AtLeastOnce => ReasonCode::GrantedQos1,
        Qos::ExactlyOnce => ReasonCode::GrantedQos2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(id: u16) -> NonZeroU16 {
        NonZeroU16::new(id).unwrap()
    }

    fn puback(n: u16) -> Owed {
        Owed::PubAck(id(n), ReasonCode::Success)
    }

    fn pop(acks: &mut Acks, committed: u64) -> Option<u16> {
        match acks.pop(Seq(committed))? {
            Owed::PubAck(id, _) => Some(id.get()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn answers_out_of_order_leave_in_order() {
        let mut acks = Acks::default();
        let (a, b) = (acks.ask(puback(1)), acks.ask(puback(2)));
        acks.answer(b, Seq::NONE);
        assert_eq!(pop(&mut acks, 9), None);
        assert_eq!(acks.waits_for(), None);
        acks.answer(a, Seq(4));
        acks.answer(a, Seq(1)); // a second answer changes nothing
        assert_eq!(acks.waits_for(), Some(Seq(4)));
        assert_eq!(pop(&mut acks, 3), None);
        assert_eq!(pop(&mut acks, 4), Some(1));
        assert_eq!(pop(&mut acks, 4), Some(2));
        assert_eq!(acks.slots.capacity(), 0);
        assert!(acks.asked(a).is_none() && acks.asked(99).is_none());
        let c = acks.ask(puback(3));
        assert!(acks.asked(c).is_some() && acks.asked(b).is_none());
    }
}
