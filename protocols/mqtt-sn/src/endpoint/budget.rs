//! How much is sent to a client that has not proved its address: the source of a datagram can be
//! forged, and MQTT-SN 1.2 asks for no answer from where it says.
//!
//! A client proves it by an answer with a message id that only a reader of what is sent there
//! knows: REGACK, or PUBACK of a delivery. CONNECT, SUBSCRIBE, WILLTOPIC, PINGRESP are said
//! blindly. Until then it is sent [`FLOOR`] octets, which a network address has once in
//! [`FLOOR_EVERY`], and [`FACTOR`] times what it sends. Answers are shorter than that and always
//! leave. A delivery that does not fit is preceded by a REGISTER, also of an id that the client
//! knows; where that does not fit either, it waits (QoS 1 and 2) or is dropped (QoS 0). Both bounds have
//! a row in the status ([`Endpoint::unproven`]).
//!
//! Loopback cannot be forged from outside, and a forwarder that the settings list answers for its
//! nodes.

use alloc::boxed::Box;
use alloc::vec;
use core::hash::BuildHasher;
use core::net::IpAddr;
use core::time::Duration;

use foldhash::fast::FixedState;
use motegate_message::{Peer, Qos, Reason, Turn};
use motegate_timers::Instant;

use super::Endpoint;
use super::clients::{Client, Slot};
use super::config::Forwarders;
use super::contract::Names;
use super::downlink::MAX_REGISTERS;
use super::line::Line;
use super::wire::{Current, Item, Stage};
use crate::{Packet, TopicId};

/// Octets that an unproven client is sent in any case, so that ordinary ones notice nothing.
pub(super) const FLOOR: u16 = 1500;
/// How often one network address has the floor, however often it connects.
const FLOOR_EVERY: Duration = Duration::from_secs(60);
/// Octets sent for one that was received.
pub(super) const FACTOR: usize = 3;
/// Octets that deliveries leave for the REGISTER that proves the address, and its repeats.
pub(super) const RESERVE: usize = 256;
/// Places for addresses; two that share one share its floor.
const PLACES: usize = 4096;

/// Octets that may go to a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Budget(u16);

impl Budget {
    /// Its address is proved: no bound.
    pub(super) const PROVEN: Budget = Budget(u16::MAX);

    pub(super) fn is_proven(self) -> bool {
        self == Budget::PROVEN
    }

    /// So much came from it.
    pub(super) fn earn(&mut self, octets: usize) {
        if !self.is_proven() {
            let more = u16::try_from(octets.saturating_mul(FACTOR)).unwrap_or(u16::MAX);
            self.0 = self.0.saturating_add(more).min(u16::MAX - 1);
        }
    }

    fn spend(&mut self, octets: usize) {
        if !self.is_proven() {
            self.0 = self.0.saturating_sub(u16::try_from(octets).unwrap_or(u16::MAX));
        }
    }

    pub(super) fn affords(self, octets: usize) -> bool {
        self.is_proven() || octets <= usize::from(self.0)
    }
}

impl Client {
    /// `packet` is sent to it.
    pub(super) fn spend(&mut self, packet: &Packet<'_>) {
        if !self.budget.is_proven() {
            self.budget.spend(packet.encoded_len() + self.overhead());
        }
    }
}

/// Which network addresses have had the floor lately. Its size does not grow with their number.
#[derive(Debug)]
pub(super) struct Floors {
    places: Option<Box<[Option<Instant>]>>,
    hasher: FixedState,
}

impl Floors {
    /// Who shares a place with whom follows from `seed`, as everything random does.
    pub(super) fn new(seed: u64) -> Self {
        Floors { places: None, hasher: FixedState::with_seed(seed) }
    }

    fn grants(&mut self, now: Instant, ip: IpAddr) -> bool {
        let network = match ip.to_canonical() {
            IpAddr::V4(ip) => u64::from(u32::from(ip)),
            // Whoever has one address of a /64 has them all.
            IpAddr::V6(ip) => u64::try_from(u128::from(ip) >> 64).unwrap_or(u64::MAX),
        };
        let places = self.places.get_or_insert_with(|| vec![None; PLACES].into());
        let place = self.hasher.hash_one(network) % PLACES as u64;
        let Some(last) = usize::try_from(place).ok().and_then(|place| places.get_mut(place)) else {
            return false;
        };
        let grants = last.is_none_or(|last| now.saturating_since(last) >= FLOOR_EVERY);
        if grants {
            *last = Some(now);
        }
        grants
    }
}

impl Endpoint {
    /// What may be sent to a client that comes from here.
    pub(super) fn budget_of(&mut self, turn: &Turn, peer: &Peer) -> Budget {
        let ip = peer.addr.ip();
        let listed = matches!(self.config.forwarders, Forwarders::From(_)) && peer.node.is_some();
        if ip.to_canonical().is_loopback() || listed {
            return Budget::PROVEN;
        }
        Budget(if self.floors.grants(turn.now, ip) { FLOOR } else { 0 })
    }

    /// Message ids to an unproven address begin where nobody can guess: who had the session
    /// elsewhere knows the last ones.
    pub(super) fn renumber(&mut self, turn: &Turn, slot: Slot) {
        let salt = self.seed ^ self.next_ticket.rotate_left(20) ^ turn.now.as_micros();
        if let Some(line) = self.line(turn, slot)
            && !line.client.budget.is_proven()
        {
            let id = mix(salt ^ line.wire.session.get()) % u64::from(u16::MAX) + 1;
            line.wire.begin_msg_ids(u16::try_from(id).unwrap_or(1));
        }
    }
}

impl Line<'_> {
    /// The client is to show that it hears before it is sent as much: its REGACK does. What has no
    /// id to register waits until the client has sent more, or is dropped at QoS 0.
    pub(super) fn challenge(
        &mut self,
        item: Item,
        topic: TopicId,
        registers: u8,
    ) -> Option<Current> {
        *self.unproven_held += 1;
        let known = self.wire.topics.id(&item.names.name);
        let id = match known {
            Some(id) if self.wire.topics.is_refused(id) => None,
            None if self.register_len(&item) > self.config.max_datagram => None,
            known => known.or_else(|| self.allocate(&item.names.name)),
        };
        match id.filter(|_| registers < MAX_REGISTERS) {
            Some(id) => self.register(item, id, registers),
            None if item.delivery.qos == Qos::AtMostOnce => {
                self.give_up(&item, Reason::SnAddressUnproven);
                None
            }
            None => {
                let msg_id = match item.delivery.qos {
                    Qos::ExactlyOnce => self.begin_sending(item.delivery.id),
                    _ => self.wire.take_msg_id(),
                };
                Some(self.enter(item, Stage::Publish, msg_id, topic, registers))
            }
        }
    }

    /// A message at QoS 0 whose client subscribed by a pre-defined id or a short name, and does not
    /// answer the REGISTER that was to prove its address: perhaps it knows no REGISTER. It goes on
    /// with as much as it sends allows.
    pub(super) fn passes_over(&mut self) -> bool {
        let Some(out) = &mut self.wire.out else { return false };
        let unproven = !self.client.budget.is_proven();
        let exchange = &self.wire.exchange;
        let typed = |names: &Names| {
            let ids = [names.predefined.map(TopicId::Predefined), names.short.map(TopicId::Short)];
            let by = |id| exchange.as_ref().is_some_and(|exchange| exchange.is_subscribed_by(id));
            ids.into_iter().flatten().any(by)
        };
        let Some(current) = out.current.take_if(|current| {
            unproven
                && current.stage == Stage::Register
                && current.item.delivery.qos == Qos::AtMostOnce
                && typed(&current.item.names)
        }) else {
            return false;
        };
        self.give_up(&current.item, Reason::SnAddressUnproven);
        self.pump();
        true
    }
}

/// The finalizer of SplitMix64: one bit of `x` changes half of the result's.
fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::{Ipv4Addr, Ipv6Addr};

    #[test]
    fn what_comes_is_worth_three_times_as_much_until_the_address_is_proved() {
        let mut budget = Budget(0);
        budget.earn(10);
        assert!(budget.affords(30) && !budget.affords(31));
        budget.spend(29);
        assert!(budget.affords(1) && !budget.affords(2));
        budget.earn(1_000_000);
        assert!(!budget.is_proven(), "however much it sends");
        let mut budget = Budget::PROVEN;
        budget.spend(100_000);
        assert!(budget.affords(usize::MAX));
    }

    #[test]
    fn an_address_has_the_floor_once_a_minute() {
        let mut floors = Floors::new(1);
        let victim = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 9));
        let mut granted = |secs: u64, ip| floors.grants(Instant::from_secs(secs), ip);
        assert_eq!(
            [0, 1, 59, 60, 61].map(|secs| granted(secs, victim)),
            [true, false, false, true, false]
        );
        let in_one_net = |last| IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0, last));
        assert_eq!([1, 2].map(|last| granted(0, in_one_net(last))), [true, false]);
    }
}
