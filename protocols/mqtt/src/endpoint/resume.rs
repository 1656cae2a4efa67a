//! What goes again on a new connection (MQTT 5 §4.4): everything that is not acknowledged, in the
//! order in which it was last begun: a PUBLISH where it was sent first, a PUBREL where its PUBREC
//! came. [MQTT-4.6.0-1, -4]
//!
//! The messages are the broker's, and it delivers them in their order as far as the window goes; a
//! PUBREL needs none and goes when all that was begun before it has gone. A PUBLISH for which the
//! window has no place yet is not waited for: no PUBREL is held back for that (MQTT 5 §4.9).

use core::num::NonZeroU16;

use motegate_message::{DeliveryId, Seq, Turn};

use super::acks::Owed;
use super::connection::Connection;
use super::outbound::Parcel;
use super::session::{Flow, Outgoing, Wire};
use super::shared::Shared;
use crate::reason::ReasonCode;

/// Deliveries of an earlier connection that have to go again on this one, or are waited for: those
/// that [are due](Outgoing::due).
#[derive(Debug, Default)]
pub(super) struct Resume {
    due: usize,
}

impl Resume {
    /// A delivery is over.
    pub(super) fn leave(&mut self, out: &Outgoing) {
        self.due -= usize::from(out.due);
    }

    /// PUBREC: whether its PUBREL has to wait for its turn.
    pub(super) fn release(&mut self, out: &mut Outgoing) -> bool {
        if self.due == 0 {
            return false;
        }
        self.due += usize::from(!out.due);
        out.due = true;
        true
    }
}

impl Wire {
    /// A new connection with this window: everything goes again.
    pub(super) fn begin_again(&mut self, window: u16) {
        let out = self.out.make_contiguous();
        out.sort_unstable_by_key(|out| out.delivery);
        for (place, out) in out.iter_mut().enumerate() {
            out.due = out.flow == Flow::Released || place < usize::from(window);
        }
        out.sort_unstable_by_key(|out| (out.order, out.delivery));
        self.resume.due = out.iter().filter(|out| out.due).count();
    }

    /// The PUBREL of the delivery waits for its turn.
    fn waits(&self, id: NonZeroU16) -> bool {
        self.resume.due > 0 && self.out.iter().any(|out| out.id == id && out.due)
    }

    /// The broker has got to this delivery: PUBLISHes before it are not there any more, and with
    /// `itself` it has gone.
    fn got_to(&mut self, delivery: DeliveryId, itself: bool) {
        for out in self.out.iter_mut().filter(|out| out.due && out.flow != Flow::Released) {
            if out.delivery < delivery || itself && out.delivery == delivery {
                out.due = false;
                self.resume.due -= 1;
            }
        }
    }

    /// The next PUBREL, if nothing that was begun before it has yet to go.
    fn next_release(&mut self) -> Option<NonZeroU16> {
        let next = self.out.iter_mut().find(|out| out.due)?;
        if next.flow != Flow::Released {
            return None;
        }
        next.due = false;
        self.resume.due -= 1;
        Some(next.id)
    }
}

impl Connection {
    /// PUBRELs whose turn it is before a delivery, or after one that has gone (`itself`).
    pub(super) fn go_on(&mut self, delivery: DeliveryId, itself: bool) {
        if let Some(wire) = self.wire.as_mut().filter(|wire| wire.resume.due > 0) {
            wire.got_to(delivery, itself);
            self.release_again();
        }
    }

    /// PUBRELs whose turn it is, behind the deliveries that came before.
    pub(super) fn release_again(&mut self) {
        let Some(wire) = self.wire.as_mut() else { return };
        while wire.resume.due > 0
            && let Some(id) = wire.next_release()
        {
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
