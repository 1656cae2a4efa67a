//! TD_COAP_OBS_06, the server's reboot: what observers of before are to a gateway that was killed and
//! started again with its journal. Observations are not journaled (RFC 7641 §3.6 and §4.5 let a server
//! forget; §3.3.1 has the client register again when its value is stale): nothing goes to an old token,
//! nothing of before is resumed, and what clients still send for it does no harm.
#![allow(clippy::cast_possible_truncation)] // option lengths and numbers are small

mod common;

use std::time::Duration;

use common::{COAP, Gateway, coap, config, option, peer};
use motegate_core::Config;
use motegate_timers::Instant;

const CON: u8 = 0;
const ACK: u8 = 2;
const RST: u8 = 3;
const CONTENT: u8 = 0x45;
const OBSERVE: u16 = 6;
const VALUE: [&str; 2] = ["mqtt", "test"];

/// One observer, and another client that writes.
struct Site {
    gateway: Gateway,
    mid: u16,
}

fn settings() -> Config {
    // Nothing but CoAP has a deadline.
    Config { sys_interval: Duration::ZERO, ..config() }
}

fn kind(packet: &[u8]) -> u8 {
    packet[0] >> 4 & 3
}

/// Observe: 24 bits (RFC 7641 §2).
fn number(packet: &[u8]) -> u32 {
    let value = option(packet, OBSERVE).expect("Observe");
    value.iter().fold(0, |sum, byte| sum << 8 | u32::from(*byte))
}

/// RFC 7641 §3.4 within 128 seconds.
fn is_newer(v1: u32, v2: u32) -> bool {
    const HALF: u32 = 1 << 23;
    (v1 < v2 && v2 - v1 < HALF) || (v1 > v2 && v1 - v2 > HALF)
}

impl Site {
    fn new() -> Self {
        Site { gateway: Gateway::new(settings()), mid: 0 }
    }

    fn register(&mut self, mid: u16) -> Vec<u8> {
        let bytes = coap(CON, 1, mid, b"tk", Some(0), &VALUE, b"");
        let answers = self.gateway.datagram(COAP, peer(4_000), &bytes);
        assert_eq!((answers.len(), answers[0][1]), (1, CONTENT));
        answers[0].clone()
    }

    /// Somebody writes; what the observer is told.
    fn update(&mut self, value: &[u8]) -> Vec<Vec<u8>> {
        self.mid += 1;
        let put = coap(CON, 3, self.mid, b"w", None, &VALUE, value);
        self.gateway.datagram(COAP, peer(4_001), &put);
        self.gateway.datagrams_to(peer(4_000))
    }

    /// An Empty message of the observer; what comes of it.
    fn empty(&mut self, kind: u8, of: &[u8]) -> Vec<Vec<u8>> {
        self.gateway.datagram(COAP, peer(4_000), &[0x40 | kind << 4, 0, of[2], of[3]])
    }

    /// Killed, and started again after a while.
    fn reboot(&mut self, after: Duration) {
        self.gateway.datagrams.clear();
        self.gateway.now += after;
        self.gateway.crash(settings());
    }

    fn observers(&mut self) -> Option<u64> {
        self.gateway.limit("max_observers").used
    }
}

/// The old token gets nothing, a notification that was in flight is not repeated, and what the client
/// says of it is passed over in silence (RFC 7252 §4.2: an ACK or RST that matches nothing).
#[test]
fn td_coap_obs_06_reboot_forgets_observers_and_what_was_in_flight() {
    let mut site = Site::new();
    site.update(b"1");
    let registered = site.register(100);
    let told = site.update(b"2");
    assert_eq!((told.len(), kind(&told[0])), (1, CON), "it waits for its acknowledgement");
    site.reboot(Duration::from_secs(1));
    assert_eq!(site.gateway.datagrams.len(), 0, "nothing is sent at the start");
    site.gateway.advance(Duration::from_secs(300));
    assert_eq!(site.gateway.datagrams.len(), 0, "nor later: MAX_TRANSMIT_WAIT is over");
    assert_eq!(site.observers(), Some(0));
    for kind in [ACK, RST] {
        for of in [&told[0], &registered] {
            assert!(site.empty(kind, of).is_empty(), "{kind}");
        }
    }
    assert!(site.update(b"3").is_empty(), "the old token observes nothing");
    let get = coap(CON, 1, 101, b"g", None, &VALUE, b"");
    let answer = &site.gateway.datagram(COAP, peer(4_000), &get)[0];
    assert!(answer.ends_with(b"\xff3"), "what was stored is there");
    site.gateway.advance(Duration::from_secs(25 * 3_600));
    assert_eq!(site.gateway.datagrams_to(peer(4_000)).len(), 0, "and nobody is asked once a day");
}

/// RFC 7641 §3.3.1, §3.4, §4.4: whoever registers again, with the same token, gets numbers that it
/// takes as newer than those of before, and a message of its own for the next value.
#[test]
fn td_coap_obs_06_reboot_a_client_registers_again() {
    // Also where the machine was away for less than a notification takes, and for a minute.
    for (away, updates) in [(0, 1), (5, 3), (2_000, 50), (60_000, 3)] {
        let mut site = Site::new();
        site.update(b"0");
        let (mut last, mut before) = (number(&site.register(100)), Vec::new());
        for value in 0..updates {
            before = site.update(format!("{value}").as_bytes()).remove(0);
            last = number(&before);
            site.empty(ACK, &before);
            site.gateway.advance(Duration::from_millis(1));
        }
        site.reboot(Duration::from_millis(away));
        // The repetition of an old registration is one as well: nothing is remembered of it.
        let answer = site.register(100);
        assert!(is_newer(last, number(&answer)), "{away} ms: {last} {}", number(&answer));
        assert_eq!(site.observers(), Some(1));
        last = number(&answer);
        // A late acknowledgement or reset of before is none of the new observation.
        site.empty(ACK, &before);
        site.empty(RST, &before);
        let told = site.update(b"new");
        assert_eq!((told.len(), &told[0][4..6]), (1, &b"tk"[..]), "{away} ms");
        assert!(is_newer(last, number(&told[0])), "{away} ms");
        site.empty(ACK, &told[0]);
        assert_eq!(site.update(b"newer").len(), 1);
    }
}

/// §3.4 "where that is possible": a board that has no clock while it is off goes on from its journal's
/// last record (`journal_clock`), and its numbers with it.
#[test]
fn td_coap_obs_06_reboot_without_a_clock() {
    let mut site = Site::new();
    site.gateway.advance(Duration::from_secs(1_000));
    site.update(b"0");
    site.register(100);
    site.gateway.advance(Duration::from_secs(5));
    let told = site.update(b"1"); // and this is a record
    let last = number(&told[0]);
    // It boots with the time of its first start.
    site.gateway.now = Instant::from_secs(1);
    site.reboot(Duration::from_secs(2));
    assert!(is_newer(last, number(&site.register(101))));
}
