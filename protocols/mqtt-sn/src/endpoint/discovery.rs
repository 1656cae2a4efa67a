//! Gateway discovery (MQTT-SN 1.2 §6.1), by multicast too, and the DISCONNECT that tells an unknown sender to
//! connect (§5.4.21), bounded so that a forged source address gains nothing.

use alloc::boxed::Box;
use alloc::vec;
use core::hash::BuildHasher;
use core::time::Duration;

use foldhash::fast::FixedState;
use motegate_message::{Announcement, Group, ListenerId, Reason, Turn};
use motegate_timers::Instant;

use super::Endpoint;
use super::contract::Event;
use super::forwarder::{self, Source};
use crate::Packet;

impl Endpoint {
    /// SEARCHGW: GWINFO to the asker, without the address that only other clients put in (§5.4.3).
    /// It has 3 octets as the question has, so nothing is amplified. What was asked of a group is
    /// answered there as well, so that others need not ask.
    ///
    /// A gateway that can take nobody says nothing: the asker finds another one.
    pub(super) fn on_search(&mut self, turn: &Turn, source: Source<'_>, radius: u8) {
        if self.busy || self.clients.len() >= self.config.max_clients {
            return self.drop_from(source, Reason::Overloaded);
        }
        let info = Packet::GwInfo { gateway_id: self.config.gateway_id, address: &[] };
        // §6.1: with the radius of the request; a forwarder has two bits for it.
        forwarder::send_to(&mut self.out, source.route, source.node, radius.min(3), &info);
        let Some(group) = source.group else { return };
        if self.strangers.admits(turn.now, group) {
            self.announce(Some(source.route.listener), group.clone(), radius, &info);
        } else {
            self.drop_from(source, Reason::RateLimited);
        }
    }

    fn announce(&mut self, listener: Option<ListenerId>, to: Group, hops: u8, packet: &Packet<'_>) {
        let mut bytes = vec![0; packet.encoded_len()];
        packet.encode(&mut bytes).expect("the buffer was measured");
        self.announced.0 += 1;
        self.announced.1 += bytes.len() as u64;
        self.announcements.push_back(Announcement { listener, to, hops, bytes: bytes.into() });
    }

    /// ADVERTISE to every configured group, every T_ADV (§6.1); none are configured by default.
    pub(super) fn advertise(&mut self, now: Instant) {
        if self.config.advertise_to.is_empty() || self.next_advertise.is_some_and(|at| at > now) {
            return;
        }
        let every = self.config.advertise_every.max(Duration::from_secs(1));
        let duration = u16::try_from(every.as_secs()).unwrap_or(u16::MAX);
        let packet = Packet::Advertise { gateway_id: self.config.gateway_id, duration };
        for to in self.config.advertise_to.clone() {
            self.announce(None, to, 0, &packet);
        }
        self.next_advertise = Some(now + Duration::from_secs(u64::from(duration)));
    }

    /// A packet that only a connected client may send.
    pub(super) fn on_stranger(&mut self, turn: &Turn, source: Source<'_>) {
        let reason = if self.strangers.admits(turn.now, &(source.route.addr, source.node)) {
            let packet = Packet::Disconnect { duration: None };
            forwarder::send_to(&mut self.out, source.route, source.node, 0, &packet);
            Reason::SnNotConnected
        } else {
            Reason::RateLimited
        };
        self.events.push_back(Event::Dropped { peer: source.to_peer(), reason });
    }
}

/// Answers to one unknown peer: so many at once, then one a second.
const PEER_BURST: u16 = 8;
/// Answers to all unknown peers together: so many at once, and as many a second.
const TOTAL_BURST: u16 = 1000;
/// Places for peers; two peers that share one share its allowance.
const PLACES: usize = 256;

/// A token bucket; refilled by whole seconds.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    left: u16,
    since: Instant,
}

impl Bucket {
    fn take(&mut self, now: Instant, burst: u16, per_second: u16) -> bool {
        let secs = now.saturating_since(self.since).as_secs();
        if secs > 0 {
            let refill = u16::try_from(secs).unwrap_or(u16::MAX).saturating_mul(per_second);
            self.left = self.left.saturating_add(refill).min(burst);
            self.since = now;
        }
        let some = self.left > 0;
        self.left = self.left.saturating_sub(1);
        some
    }
}

/// Limits what is sent to peers that nobody knows. Its size does not grow with their number.
#[derive(Debug)]
pub(super) struct Strangers {
    total: Bucket,
    peers: Option<Box<[Bucket; PLACES]>>,
    hasher: FixedState,
}

impl Strangers {
    /// Who shares a place with whom follows from `seed`, as everything random does.
    pub(super) fn new(seed: u64) -> Self {
        let total = Bucket { left: TOTAL_BURST, since: Instant::ZERO };
        Strangers { total, peers: None, hasher: FixedState::with_seed(seed) }
    }

    fn admits(&mut self, now: Instant, peer: &impl core::hash::Hash) -> bool {
        let full = Bucket { left: PEER_BURST, since: Instant::ZERO };
        let peers = self.peers.get_or_insert_with(|| Box::new([full; PLACES]));
        let place = self.hasher.hash_one(peer) % PLACES as u64;
        let mine = usize::try_from(place).ok().and_then(|place| peers.get_mut(place));
        mine.is_some_and(|bucket| bucket.take(now, PEER_BURST, 1))
            && self.total.take(now, TOTAL_BURST, TOTAL_BURST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_peer_gets_a_burst_then_one_a_second() {
        let mut strangers = Strangers::new(1);
        let mut admitted = |secs, tries: usize| {
            (0..tries).filter(|_| strangers.admits(Instant::from_secs(secs), &1)).count()
        };
        assert_eq!(admitted(100, 50), usize::from(PEER_BURST));
        assert_eq!(admitted(101, 50), 1);
        assert_eq!(admitted(200, 50), usize::from(PEER_BURST));
    }

    #[test]
    fn all_peers_together_are_bounded() {
        let mut strangers = Strangers::new(1);
        let admitted = (0..100_000).filter(|n| strangers.admits(Instant::from_secs(9), n)).count();
        assert_eq!(admitted, usize::from(TOTAL_BURST));
    }
}
