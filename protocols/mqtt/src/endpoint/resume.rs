//! What goes again on a new connection (MQTT 5 §4.4): everything that is not acknowledged, in the
//! order in which it was last begun: a PUBLISH where it was sent first, a PUBREL where its PUBREC
//! came. [MQTT-4.6.0-1, -4]
//!
//! The messages are the broker's, and it delivers them in their order as far as the window goes; a
//! PUBREL needs none and goes when all that was begun before it has gone. A PUBLISH for which the
//! window has no place yet is not waited for: no PUBREL is held back for that (MQTT 5 §4.9).

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::num::NonZeroU16;

use motegate_message::{DeliveryId, Seq, Turn};

use super::acks::Owed;
use super::connection::Connection;
use super::outbound::Parcel;
use super::session::{Flow, Outgoing, Wire};
use super::shared::Shared;
use crate::reason::ReasonCode;

/// Deliveries of an earlier connection that have to go again on this one, or are waited for: those
/// that [are due](Outgoing::due). Each is passed once, so that however many there are none costs
/// more than finding it.
#[derive(Debug, Default)]
pub(super) struct Resume {
    due: usize,
    /// All in the order of the broker; those before `passed` it has got to.
    deliveries: Vec<(DeliveryId, NonZeroU16)>,
    passed: usize,
    /// All that were due, in the order begun; one that has a later place by now is there again.
    turns: VecDeque<(u64, NonZeroU16)>,
}

impl Resume {
    fn is_over(&self) -> bool {
        self.due == 0 && self.passed == self.deliveries.len()
    }

    /// The id of a delivery of an earlier connection.
    pub(super) fn find(&self, delivery: DeliveryId) -> Option<NonZeroU16> {
        let at = self.deliveries.binary_search_by_key(&delivery, |(delivery, _)| *delivery).ok()?;
        self.deliveries.get(at).map(|(_, id)| *id)
    }

    /// A delivery is over.
    pub(super) fn leave(&mut self, out: &Outgoing) {
        self.due -= usize::from(out.due);
    }

    /// PUBREC, the last of all so far: its PUBREL has to wait for its turn if another does.
    pub(super) fn release(&mut self, out: &mut Outgoing) {
        if self.due > 0 {
            self.due += usize::from(!out.due);
            out.due = true;
            self.turns.push_back((out.order, out.id));
        }
    }
}

impl Wire {
    /// A new connection with this window: everything goes again.
    pub(super) fn begin_again(&mut self, window: u16) {
        let mut deliveries: Vec<_> = self.out.iter().map(|out| (out.delivery, out.id)).collect();
        deliveries.sort_unstable();
        // What comes again in order is behind these or one of them; the rest was never begun.
        self.newest = deliveries.last().map(|(delivery, _)| *delivery);
        let last = deliveries.get(usize::from(window)).map(|(delivery, _)| *delivery);
        let mut turns = Vec::new();
        for out in self.out.iter_mut() {
            let in_window = last.is_none_or(|last| out.delivery < last);
            out.handed = false;
            out.due = match out.flow {
                Flow::AtLeastOnce | Flow::ExactlyOnce => in_window,
                Flow::Released => true,
                Flow::Complete => false,
            };
            if out.due {
                turns.push((out.order, out.delivery, out.id));
            }
        }
        turns.sort_unstable();
        let due = turns.len();
        let turns = turns.into_iter().map(|(order, _, id)| (order, id)).collect();
        let resume = Resume { due, deliveries, passed: 0, turns };
        self.resume = (!resume.is_over()).then(|| Box::new(resume));
    }

    /// The PUBREL of the delivery waits for its turn.
    fn waits(&self, id: NonZeroU16) -> bool {
        self.resume.is_some() && self.out.get(id).is_some_and(|out| out.due)
    }

    /// The broker has got to this delivery: PUBLISHes before it are not there any more, and with
    /// `itself` it has gone.
    fn got_to(&mut self, delivery: DeliveryId, itself: bool) {
        let Some(resume) = &mut self.resume else { return };
        while let Some((known, id)) = resume.deliveries.get(resume.passed) {
            if *known > delivery || *known == delivery && !itself {
                return;
            }
            resume.passed += 1;
            let out = self.out.get_mut(*id).filter(|out| out.delivery == *known);
            if let Some(out) = out.filter(|out| out.due && out.flow != Flow::Released) {
                out.due = false;
                resume.due -= 1;
            }
        }
    }

    /// The next PUBREL, if nothing that was begun before it has yet to go.
    fn next_release(&mut self) -> Option<NonZeroU16> {
        let resume = self.resume.as_mut()?;
        while let Some((order, id)) = resume.turns.front().copied() {
            let out = self.out.get_mut(id).filter(|out| out.due && out.order == order);
            if let Some(out) = out {
                if out.flow != Flow::Released {
                    return None;
                }
                out.due = false;
                resume.due -= 1;
                resume.turns.pop_front();
                return Some(id);
            }
            resume.turns.pop_front();
        }
        if resume.is_over() {
            self.resume = None;
        }
        None
    }
}

impl Connection {
    /// PUBRELs whose turn it is before a delivery, or after one that has gone (`itself`).
    pub(super) fn go_on(&mut self, delivery: DeliveryId, itself: bool) {
        if let Some(wire) = self.wire.as_mut().filter(|wire| wire.resume.is_some()) {
            wire.got_to(delivery, itself);
            self.release_again();
        }
    }

    /// PUBRELs whose turn it is, behind the deliveries that came before.
    pub(super) fn release_again(&mut self) {
        let Some(wire) = self.wire.as_mut() else { return };
        while let Some(id) = wire.next_release() {
            self.parcels.get_or_insert_default().push(wire.last_record, Parcel::Release(id));
        }
    }

    /// PUBREL for a PUBREC that came on this connection.
    pub(super) fn owe_release(&mut self, id: NonZeroU16, after: Seq) {
        if self.wire.as_ref().is_some_and(|wire| wire.waits(id)) {
            return self.release_again();
        }
        match &mut self.parcels {
            // Behind those that were due before. [MQTT-4.6.0-4]
            Some(parcels) if parcels.has_releases() => parcels.push(after, Parcel::Release(id)),
            _ => {
                self.acks.owe(after, Owed::PubRel(id, ReasonCode::Success));
            }
        }
    }

    /// Ends a delivery on the wire.
    pub(super) fn finish_wire(&mut self, shared: &mut Shared, turn: &Turn, id: NonZeroU16) {
        let mut journal = self.journal(shared, turn);
        let Some(wire) = self.wire.as_mut() else { return };
        wire.finish(id, &mut journal);
        self.release_again();
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use crate::endpoint::session::Journal;
    use motegate_message::SessionId;

    /// 65,535 deliveries, acknowledged in another order than they were sent, and resumed in
    /// between: nobody else's turn waits for that. Work that grows with the square takes minutes.
    #[test]
    #[allow(clippy::disallowed_methods)] // what is measured is the work itself
    fn many_in_flight_cost_no_more_each_than_few() {
        let begun = std::time::Instant::now();
        let mut records = VecDeque::new();
        let session = SessionId::new(1, 1);
        let journal = &mut Journal { records: &mut records, session, seq: None };
        let mut wire = Wire::default();
        let all = 1..=65_535;
        let mut ids: Vec<_> = all
            .clone()
            .filter_map(|n| wire.begin(DeliveryId(n), Flow::ExactlyOnce, journal))
            .collect();
        assert_eq!(ids.len(), 65_535);
        let mut random = 7u32;
        for at in (1..ids.len()).rev() {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            ids.swap(at, random as usize % at);
        }
        let (released, rest) = ids.split_at(30_000);
        released.iter().for_each(|id| wire.release(*id, journal));

        // Every PUBREL comes in the order of the PUBRECs [MQTT-4.6.0-4], here all at the end.
        wire.begin_again(u16::MAX);
        let mut again = Vec::new();
        for delivery in all.map(DeliveryId) {
            let out = wire.by_delivery(delivery).unwrap();
            assert_eq!(out.delivery, delivery);
            if out.flow != Flow::Released {
                wire.got_to(delivery, false);
                again.extend(core::iter::from_fn(|| wire.next_release()));
                wire.got_to(delivery, true);
                again.extend(core::iter::from_fn(|| wire.next_release()));
            }
        }
        assert!(again == released);
        for (nth, id) in rest.iter().chain(released).enumerate() {
            wire.finish(*id, journal);
            // One comes for each that goes.
            let id = wire.begin(DeliveryId(70_000 + nth as u64), Flow::AtLeastOnce, journal);
            assert!(id.is_some());
        }
        assert!(begun.elapsed().as_secs() < 20, "{:?}", begun.elapsed());
    }

    /// Deliveries that earlier connections passed over are unknown here: finding that costs nothing,
    /// however many have been begun meanwhile.
    #[test]
    #[allow(clippy::disallowed_methods)] // what is measured is the work itself
    fn what_was_never_begun_costs_no_search() {
        let begun = std::time::Instant::now();
        let mut records = VecDeque::new();
        let session = SessionId::new(1, 1);
        let journal = &mut Journal { records: &mut records, session, seq: None };
        let mut wire = Wire::default();
        let last = wire.begin(DeliveryId(100_000), Flow::AtLeastOnce, journal).unwrap();
        wire.finish(last, journal);
        wire.begin_again(u16::MAX);
        for n in 1..=65_535 {
            assert!(wire.by_delivery(DeliveryId(n)).is_none());
            wire.begin(DeliveryId(n), Flow::AtLeastOnce, journal).unwrap();
        }
        assert_eq!(wire.by_delivery(DeliveryId(7)).map(|out| out.delivery), Some(DeliveryId(7)));
        assert!(begun.elapsed().as_secs() < 5, "{:?}", begun.elapsed());
    }
}
