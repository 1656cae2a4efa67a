//! Deliveries that do not get through: whose client asks for time, that are given up at once, or
//! after all repeats of several connections or awakenings.

use motegate_message::{Qos, Reason};

use super::clients::State;
use super::line::Line;
use super::wire::{Current, Item};

/// So many connections or awakenings repeat a message in vain. Chance does that to one of 10^10 with
/// half of all datagrams lost, and the usual repeats.
const MAX_VAIN_ROUNDS: u8 = 16;

impl Line<'_> {
    /// "Congestion": the client asks for time, and the same comes again at the next T_RETRY. It has
    /// answered, so that it is not lost after N_RETRY of them (MQTT-SN 1.2 §6.13 ends who does not);
    /// one that sleeps has the rest at its next awakening.
    pub(super) fn give_time(&mut self, mut current: Current) {
        if self.client.state == State::Active {
            current.retries = self.config.max_retries;
        }
        self.arm_retry();
        self.put_back(Some(current));
    }

    /// N_RETRY repeats of the delivery in flight were in vain: who does not hear it is lost, or sleeps
    /// on, and has it again when it is back. One that was in vain so often, each time to a client that
    /// had come back for it, is too long for its radio, or kills it: it is given up, so that it does
    /// not stop all behind it. Whether it is.
    pub(super) fn was_in_vain(&mut self) -> bool {
        let current = self.wire.out.as_ref().and_then(|out| out.current.as_ref());
        let Some(id) = current.map(|current| current.item.delivery.id) else { return false };
        #[allow(clippy::cast_possible_truncation)] // the low bits tell neighbours apart
        let low = id.0 as u32;
        let exchange = self.wire.exchange();
        let rounds = if exchange.vain == low { exchange.vain_rounds.saturating_add(1) } else { 1 };
        (exchange.vain, exchange.vain_rounds) = (low, rounds);
        if rounds < MAX_VAIN_ROUNDS {
            return false;
        }
        exchange.vain_rounds = 0;
        let current = self.wire.out.as_mut().and_then(|out| out.current.take());
        self.client.stop_retry();
        if let Some(current) = current {
            self.give_up(&current.item, Reason::RetryExhausted);
        }
        self.pump();
        true
    }

    /// The delivery will not happen.
    pub(super) fn give_up(&mut self, item: &Item, reason: Reason) {
        self.done_with(item);
        self.dropped(reason);
    }

    pub(super) fn done_with(&mut self, item: &Item) {
        if item.delivery.qos != Qos::AtMostOnce {
            self.finish(item.delivery.id);
        }
    }
}
