//! Who is really at the address that a request claims to come from (RFC 9175 §2.4, RFC 7252 §11.3).
//!
//! Until that is known of a peer, what it is sent stays within `amplification` times what came, both
//! counted with their headers, and no notifications leave for it. It is known by an Echo option that
//! comes back, by the acknowledgement of a message of ours, and with [`EchoWhen::Auto`] of addresses
//! that only the own network can use. An Echo is a time and a MAC of it and of the address: nothing is
//! kept of peers that do not come back. What is known holds for [`VERIFIED_SECS`] and as long as the
//! peer is remembered at all.

use core::net::IpAddr;

use hmac::{Hmac, KeyInit as _, Mac as _};
use motegate_message::{Turn, is_private};
use motegate_timers::Instant;
use sha2::Sha256;

use super::Endpoint;
use super::block::Room;
use super::body::Body;
use super::contract::{Code, ExchangeId, Response};
use crate::config::{EchoWhen, Unverified};
use crate::slab::Key;

/// How long an address is taken for reachable after it proved to be.
pub(super) const VERIFIED_SECS: u32 = 60 * 60;
/// How long an Echo may take to come back (RFC 9175 §2.3: the threshold T).
const FRESH_SECS: u32 = 5 * 60;
/// Bytes of a MAC.
const MAC: usize = 8;
/// Bytes of an Echo option: seconds, then a MAC (RFC 9175 appendix A).
pub(super) const ECHO: usize = 4 + MAC;
/// RFC 9175 §2.4: Ethernet, IP and UDP headers are sent, too.
const HEADERS_V4: usize = 14 + 20 + 8;
const HEADERS_V6: usize = 14 + 40 + 8;

/// Makes and recognises Echo options. The key never leaves, and is not what message ids come from.
#[derive(Clone)]
pub(super) struct Echo(Hmac<Sha256>);

impl core::fmt::Debug for Echo {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Echo")
    }
}

impl Echo {
    /// A key for each purpose, and a seed for what anybody sees.
    pub(super) fn from_seed(seed: u64) -> (Self, u64) {
        let derive = |purpose: &[u8]| {
            let mac = Hmac::<Sha256>::new_from_slice(&seed.to_be_bytes());
            let mac = mac.expect("HMAC takes a key of any length");
            mac.chain_update(purpose).finalize().into_bytes()
        };
        let key = derive(b"Echo");
        let echo = Hmac::new_from_slice(&key).expect("HMAC takes a key of any length");
        let public = derive(b"message ids");
        (Echo(echo), public.iter().take(8).fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
    }

    fn mac(&self, secs: u32, ip: IpAddr) -> Hmac<Sha256> {
        let mac = self.0.clone().chain_update(secs.to_be_bytes());
        match ip {
            IpAddr::V4(ip) => mac.chain_update(ip.octets()),
            IpAddr::V6(ip) => mac.chain_update(ip.octets()),
        }
    }

    /// The option for an address.
    pub(super) fn option(&self, now: Instant, ip: IpAddr) -> [u8; ECHO] {
        let secs = secs(now);
        let mac = self.mac(secs, ip).finalize().into_bytes();
        let mut option = [0; ECHO];
        for (place, byte) in option.iter_mut().zip(secs.to_be_bytes().into_iter().chain(mac)) {
            *place = byte;
        }
        option
    }

    /// Whether we sent it to that address, and lately.
    pub(super) fn is_right(&self, now: Instant, ip: IpAddr, option: &[u8; ECHO]) -> bool {
        let Some((time, mac)) = option.split_first_chunk() else { return false };
        let then = u32::from_be_bytes(*time);
        let fresh = secs(now).checked_sub(then).is_some_and(|age| age < FRESH_SECS);
        fresh && self.mac(then, ip).verify_truncated_left(mac).is_ok()
    }
}

/// Seconds of the endpoint's clock.
pub(super) fn secs(now: Instant) -> u32 {
    u32::try_from(now.as_micros() / 1_000_000).unwrap_or(u32::MAX)
}

impl Unverified {
    /// Whether nobody outside the own network can claim the address.
    pub(super) fn trusts(self, ip: IpAddr) -> bool {
        match self.echo {
            EchoWhen::Off => true,
            EchoWhen::Always => false,
            EchoWhen::Auto => is_private(ip),
        }
    }

    /// The largest answer to a request of so many bytes.
    pub(super) const fn room(self, ip: IpAddr, request: usize) -> usize {
        let headers = if ip.is_ipv4() { HEADERS_V4 } else { HEADERS_V6 };
        let sent = (request + headers).saturating_mul(self.amplification as usize);
        sent.saturating_sub(headers)
    }
}

impl Endpoint {
    /// Takes what an Echo option proves; the room that an answer has if the address is in doubt still.
    pub(super) fn room(
        &mut self,
        now: Instant,
        peer: Key,
        echo: Option<[u8; ECHO]>,
        length: usize,
    ) -> Option<usize> {
        let unverified = self.config.unverified;
        let state = self.peers.get_mut(peer)?;
        if state.is_connected() {
            return None; // its address has completed the handshake of TCP
        }
        let ip = state.peer.addr.ip();
        if unverified.trusts(ip) {
            return None;
        }
        if echo.is_some_and(|echo| self.echo.is_right(now, ip, &echo)) {
            self.counters.echoes += 1;
            state.verified_until = secs(now).saturating_add(VERIFIED_SECS);
        }
        (state.verified_until <= secs(now)).then(|| unverified.room(ip, length))
    }

    /// A message of ours has been acknowledged, or reset: somebody is at that address.
    pub(super) fn is_there(&mut self, now: Instant, peer: Key) {
        if let Some(state) = self.peers.get_mut(peer) {
            state.verified_until = secs(now).saturating_add(VERIFIED_SECS);
        }
    }

    pub(super) fn echo_for(&self, now: Instant, peer: Key) -> Option<[u8; ECHO]> {
        let state = self.peers.get(peer)?;
        Some(self.echo.option(now, state.peer.addr.ip()))
    }

    /// The payload that an answer may have.
    pub(super) fn payload_room(&self, key: Key, body: &Body) -> Room {
        let max = self.config.block_size;
        let Some(exchange) = self.exchanges.get(key) else { return max.into() };
        // A header of a connection's message has up to two bytes more than a datagram's.
        let overhead = body.overhead(&exchange.token) + 2;
        if let Some(room) = self.connection_room(exchange.peer, overhead) {
            return room;
        }
        let room = exchange.room.map(|room| room.saturating_sub(body.overhead(&exchange.token)));
        room.map_or(max, |room| max.min(room)).into()
    }

    /// Whether the address that a request came from may be another's: of a datagram, from outside the
    /// own network, without an Echo option of ours (RFC 9175 §2.4).
    #[must_use]
    pub fn is_in_doubt(&self, exchange: ExchangeId) -> bool {
        let exchange = self.exchanges.get(Key::from_u64(exchange.0));
        exchange.is_some_and(|exchange| exchange.room.is_some())
    }

    /// Answers a request 4.01 with an Echo option: who sends it again with that has the address.
    pub fn ask_for_echo(&mut self, turn: &Turn, exchange: ExchangeId) {
        self.now = turn.now;
        self.challenge(turn.now, Key::from_u64(exchange.0));
    }

    /// RFC 9175 §2.4 item 3: the client sends the request again, with this option.
    pub(super) fn challenge(&mut self, now: Instant, key: Key) {
        let Some(exchange) = self.exchanges.get_mut(key) else { return };
        let peer = exchange.peer;
        self.counters.echo_challenges += 1;
        // RFC 9175 §2.4: piggybacked or non-confirmable, never a message that is repeated.
        exchange.confirmable &= !exchange.acknowledged;
        let text = "send it again with this Echo option";
        let mut body = Body::from(Response::error(Code::UNAUTHORIZED, text));
        body.echo = self.echo_for(now, peer);
        self.answer(now, key, body, None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_echo_holds_for_one_address_and_so_long() {
        let (echo, _) = Echo::from_seed(1);
        let (other, _) = Echo::from_seed(2);
        let at = Instant::from_secs;
        let (a, b) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        let option = echo.option(at(1_000), a);
        assert_eq!(&option[..4], 1_000_u32.to_be_bytes());
        assert!(echo.is_right(at(1_000), a, &option) && echo.is_right(at(1_299), a, &option));
        assert!(!echo.is_right(at(1_300), a, &option), "too old");
        assert!(!echo.is_right(at(999), a, &option), "of the future");
        assert!(!echo.is_right(at(1_000), b, &option), "another's");
        assert!(!other.is_right(at(1_000), a, &option), "another gateway's");
        for byte in 0..ECHO {
            let mut forged = option;
            forged[byte] ^= 1;
            assert!(!echo.is_right(at(1_000), a, &forged), "{byte}");
        }
    }

    #[test]
    fn message_ids_say_nothing_of_the_key() {
        let (_, public) = Echo::from_seed(1);
        assert!(public != 1 && public != Echo::from_seed(2).1);
    }

    /// RFC 9175 §2.4: 136 bytes are safe for the smallest request over IPv6.
    #[test]
    fn answers_are_within_the_factor() {
        let unverified = Unverified::default();
        assert_eq!(unverified.room(IpAddr::from([0_u16; 8]), 4), 136);
        assert_eq!(unverified.room(IpAddr::from([192, 0, 2, 1]), 10), 3 * 52 - 42);
    }

    #[test]
    fn the_own_network_is_trusted_by_default() {
        let auto = Unverified::default();
        for (text, private) in [
            ("127.0.0.1", true),
            ("10.9.9.9", true),
            ("192.168.1.1", true),
            ("169.254.0.1", true),
            ("::1", true),
            ("fe80::1", true),
            ("fd00::1", true),
            ("::ffff:10.0.0.1", true),
            ("192.0.2.1", false),
            ("100.64.0.1", false),
            ("2001:db8::1", false),
            ("::ffff:192.0.2.1", false),
        ] {
            let ip = text.parse().unwrap();
            assert_eq!(auto.trusts(ip), private, "{text}");
            assert!(Unverified { echo: EchoWhen::Off, ..auto }.trusts(ip));
            assert!(!Unverified { echo: EchoWhen::Always, ..auto }.trusts(ip));
        }
    }
}
