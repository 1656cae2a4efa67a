//! [`Line`]: one connected client, its session's wire state, and the endpoint's outputs, borrowed
//! together for the time of one packet. What a client does is written as methods of this in the
//! modules `session`, `subscribe`, `uplink`, `downlink` and `will`.

use alloc::collections::VecDeque;

use hashbrown::HashMap;
use motegate_message::{DatagramQueue, Gate, Qos, Reason, Record, Seq, Turn};
use motegate_timers::{Instant, TimerQueue};

use super::clients::{Client, State};
use super::config::{Config, ListenerBounds};
use super::contract::{ClientRef, Event, Ticket};
use super::forwarder;
use super::locals::Locals;
use super::wire::Wire;
use super::{Held, Pending, TimerKey, TimerKind};
use crate::{Packet, ReturnCode};

/// Most questions of one client that the layer above may owe an answer to.
const MAX_PENDING: u8 = 16;

/// Most answers to one client that wait for the store, SUBACKs apart. Beyond that nothing is
/// answered, and the client repeats what it asked.
const MAX_HELD: u16 = 64;

pub(super) struct Line<'a> {
    pub(super) turn: &'a Turn,
    pub(super) config: &'a Config,
    pub(super) locals: &'a Locals,
    pub(super) bounds: ListenerBounds,
    pub(super) at: ClientRef,
    pub(super) client: &'a mut Client,
    pub(super) wire: &'a mut Wire,
    pub(super) committed: Seq,
    pub(super) gate: &'a mut Gate<Held>,
    pub(super) events: &'a mut VecDeque<Event>,
    pub(super) records: &'a mut VecDeque<Record>,
    pub(super) out: &'a mut DatagramQueue,
    pub(super) topics_refused: &'a mut u64,
    /// Deliveries that had to wait for proof of an address.
    pub(super) unproven_held: &'a mut u64,
    pub(super) timers: &'a mut TimerQueue<TimerKey>,
    pub(super) pending: &'a mut HashMap<Ticket, Pending>,
    pub(super) next_ticket: &'a mut Ticket,
}

impl Line<'_> {
    /// Sends at once.
    pub(super) fn send(&mut self, packet: &Packet<'_>) {
        self.client.spend(packet);
        forwarder::send(self.out, &self.client.peer, 0, packet);
    }

    /// Sends when `after` and everything this session wrote is stored.
    pub(super) fn reply(&mut self, after: Seq, packet: Packet<'static>) {
        self.follow(after.max(self.wire.written), packet);
    }

    /// Sends when `after` is stored, and behind every answer that still waits: the copy of a
    /// request is not answered before the request, and what lets the client sleep is the last.
    pub(super) fn follow(&mut self, after: Seq, packet: Packet<'static>) {
        if self.may_answer(after) {
            self.send(&packet);
        } else if self.client.held >= MAX_HELD {
            self.dropped(Reason::Overloaded);
        } else {
            self.hold(after, Held::Packet(self.at, packet));
        }
    }

    /// Whether an answer that depends on the batch `after` overtakes nothing.
    pub(super) fn may_answer(&self, after: Seq) -> bool {
        self.client.held == 0 && after <= self.committed
    }

    /// An answer waits for `after` and for its turn.
    pub(super) fn hold(&mut self, after: Seq, answer: Held) {
        self.client.held = self.client.held.saturating_add(1);
        self.gate.push(after, answer);
    }

    pub(super) fn dropped(&mut self, reason: Reason) {
        self.events.push_back(Event::Dropped { peer: self.client.peer.clone(), reason });
    }

    /// Notes a question to the layer above; `None` when the client asks too much at once.
    pub(super) fn ask(&mut self, context: Pending) -> Option<Ticket> {
        if self.client.pending >= MAX_PENDING {
            self.dropped(Reason::Overloaded);
            return None;
        }
        self.client.pending += 1;
        *self.next_ticket += 1;
        self.pending.insert(*self.next_ticket, context);
        Some(*self.next_ticket)
    }

    /// Something came: supervision starts anew (MQTT-SN 1.2 §7.2: any message counts).
    pub(super) fn touch(&mut self) {
        let secs = match self.client.state {
            State::Connecting => return,
            State::Active => self.client.keep_alive,
            State::Asleep | State::Awake => self.client.sleep,
        };
        if secs == 0 {
            // 1.2 says nothing of a Duration of 0; its keep-alive is that of MQTT (§6.11), where 0 is
            // none. What is sent to such a client at QoS 1 and 2 tells whether it is there.
            self.client.alive.clear();
            return;
        }
        self.client.overdue = false;
        let patience = match self.client.state {
            State::Active => tolerated(secs),
            State::Asleep => overdue_after(self.config, secs),
            _ => patience(self.config, secs),
        };
        let deadline = self.turn.now + core::time::Duration::from_millis(patience);
        self.timers.set(&mut self.client.alive, TimerKey::new(self.at, TimerKind::Alive), deadline);
    }

    pub(super) fn arm_retry(&mut self) {
        let deadline: Instant = self.turn.now + self.config.retry_timeout;
        let retry = self.client.retry.get_or_insert_default();
        self.timers.set(retry, TimerKey::new(self.at, TimerKind::Retry), deadline);
    }
}

/// Milliseconds that a sleeper is waited for. A sleep longer than `max_sleep` is granted (the
/// DISCONNECT has no field to say otherwise), but not waited for.
pub(super) fn patience(config: &Config, sleep: u16) -> u64 {
    let longest = u64::try_from(config.max_sleep.as_millis()).unwrap_or(u64::MAX);
    tolerated(sleep).min(longest.saturating_add(longest / 10))
}

/// Milliseconds after which a sleeper is overdue: half of what is tolerated is over. It is told once,
/// then what is left of [`patience`] begins.
pub(super) fn overdue_after(config: &Config, sleep: u16) -> u64 {
    let longest = u64::try_from(config.max_sleep.as_millis()).unwrap_or(u64::MAX);
    let patience = patience(config, sleep);
    let late = patience.saturating_sub(longest.min(u64::from(sleep) * 1000));
    patience - late / 2
}

/// Milliseconds of silence that a keep-alive or sleep of `secs` allows: half more up to a minute,
/// a tenth more beyond (MQTT-SN 1.2 §7.2).
fn tolerated(secs: u16) -> u64 {
    let millis = u64::from(secs) * 1000;
    if secs <= 60 { millis + millis / 2 } else { millis + millis / 10 }
}

/// The one place where a reason becomes a return code (MQTT-SN 1.2 §5.3.10).
pub(super) fn reply_for(reason: Reason) -> ReturnCode {
    match reason {
        // "Congestion": the client may try the same again after T_WAIT.
        Reason::QuotaExceeded
        | Reason::RateLimited
        | Reason::Overloaded
        | Reason::QueueFull
        | Reason::SleepQueueFull
        | Reason::StorageFull
        | Reason::Shutdown
        | Reason::ConfigReload => ReturnCode::Congestion,
        Reason::SnUnknownTopicId | Reason::BadTopic | Reason::NoRule | Reason::SnTopicTooLong => {
            ReturnCode::InvalidTopicId
        }
        _ => ReturnCode::NotSupported,
    }
}

/// The wire's bits for a QoS.
pub(super) fn bits(qos: Qos) -> crate::QosBits {
    match qos {
        Qos::AtMostOnce => crate::QosBits::Zero,
        Qos::AtLeastOnce => crate::QosBits::One,
        Qos::ExactlyOnce => crate::QosBits::Two,
    }
}

/// The QoS of the wire's bits; `None` is −1.
pub(super) fn qos(bits: crate::QosBits) -> Option<Qos> {
    match bits {
        crate::QosBits::Zero => Some(Qos::AtMostOnce),
        crate::QosBits::One => Some(Qos::AtLeastOnce),
        crate::QosBits::Two => Some(Qos::ExactlyOnce),
        crate::QosBits::MinusOne => None,
    }
}

/// A number that is the same for a retransmission and, but for 1 in 2^32, differs otherwise
/// (FNV-1a: the same after a restart, unlike the tables' hash).
pub(super) fn fingerprint(parts: &[&[u8]]) -> u32 {
    let mut hash = 0x811c_9dc5_u32;
    for part in parts {
        for byte in *part {
            hash = (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
        }
        // Parts of other lengths are other contents.
        hash = (hash ^ 0xff).wrapping_mul(0x0100_0193);
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_is_tolerated_as_recommended() {
        // MQTT-SN 1.2 §7.2
        assert_eq!(tolerated(10), 15_000);
        assert_eq!(tolerated(60), 90_000);
        assert_eq!(tolerated(61), 67_100);
        assert_eq!(tolerated(u16::MAX), 72_088_500);
    }

    #[test]
    fn every_reason_has_one_of_the_four_codes() {
        for reason in Reason::ALL {
            assert!(matches!(reply_for(*reason).to_u8(), 1..=3), "{reason}");
        }
        assert_eq!(reply_for(Reason::SnUnknownTopicId), ReturnCode::InvalidTopicId);
        assert_eq!(reply_for(Reason::Overloaded), ReturnCode::Congestion);
        assert_eq!(reply_for(Reason::AclDeny), ReturnCode::NotSupported);
    }

    #[test]
    fn fingerprints_tell_contents_apart() {
        assert_eq!(fingerprint(&[b"a", b"b"]), fingerprint(&[b"a", b"b"]));
        assert_ne!(fingerprint(&[b"a", b"b"]), fingerprint(&[b"ab", b""]));
        assert_ne!(fingerprint(&[b"21.5"]), fingerprint(&[b"21.6"]));
    }
}
