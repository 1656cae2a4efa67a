//! Transcripts of the message ids that the gateway gives (RFC 7252 §4.4): where they begin, and when
//! one may come again.
#![allow(missing_docs, clippy::unwrap_used, clippy::cast_possible_truncation)]

mod support;

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use motegate_coap::Config;
use motegate_coap::endpoint::Endpoint;
use support::{GET, Msg, Server, content};

/// RFC 7252 §4.4, §11.4: what the first message id to a peer is follows neither from that to another
/// peer nor from that of another gateway, or of the same one after a restart.
#[test]
fn s4_4_first_message_ids_are_not_to_be_guessed() {
    let first_ids = |seed: u64| -> Vec<u16> {
        let mut server = Server::new();
        server.endpoint = Endpoint::new(Config::default(), seed);
        let answered = (1..=100).map(|port| {
            server.msg(port, &Msg::non(GET, 1).path("x"));
            let exchange = server.request().exchange;
            server.respond(exchange, content("v"));
            server.last_id()
        });
        answered.collect()
    };
    let all = [first_ids(1), first_ids(2), first_ids(3)];
    for ids in &all {
        let steps: HashSet<u16> = ids.windows(2).map(|two| two[1].wrapping_sub(two[0])).collect();
        assert!(steps.len() > 90, "{ids:?}");
        let high: HashSet<u16> = ids.iter().map(|id| id >> 12).collect();
        assert!(high.len() > 12, "over all 65,536: {ids:?}");
    }
    let same = |a: &[u16], b: &[u16]| a.iter().zip(b).filter(|(a, b)| a == b).count();
    assert!(same(&all[0], &all[1]) + same(&all[1], &all[2]) + same(&all[0], &all[2]) < 5);
}

/// RFC 7252 §4.4: no message id comes twice to a peer within EXCHANGE_LIFETIME, however fast what it
/// observes changes: once ids are scarce the newest value waits for one, and no observer is left with
/// an older value (RFC 7641 §1.3). A response does not wait for notifications.
#[test]
fn s4_4_message_ids_do_not_come_round_too_soon() {
    const LIFETIME: Duration = Duration::from_secs(247);
    let mut server = Server::new();
    let observation = server.register(1, 1, b"t", "0");
    let mut used = HashMap::new();
    let mut latest = String::new();
    let mut told = 0;
    let mut look = |server: &mut Server, told: &mut u32| {
        while !server.sent.is_empty() {
            let mut owed = Vec::new();
            for (_, bytes) in &server.sent {
                let packet = coap_lite::Packet::from_bytes(bytes).unwrap();
                let id = packet.header.message_id;
                let before = used.insert(id, server.now);
                let since = before.map(|before| server.now.saturating_since(before));
                assert!(since.is_none_or(|since| since >= LIFETIME), "{id} again after {since:?}");
                latest = String::from_utf8(packet.payload).unwrap();
                *told += 1;
                if bytes[0] & 0x30 == 0 {
                    owed.push(id);
                }
            }
            server.sent.clear();
            for id in owed {
                server.msg(1, &Msg::ack(id));
            }
        }
        server.events.clear();
        latest.clone()
    };
    for value in 1..=400_000_u32 {
        server.notify(observation, value.into(), &value.to_string());
        look(&mut server, &mut told);
        server.advance(Duration::from_millis(1));
        look(&mut server, &mut told);
    }
    // 16,384 and one each 5.12 ms.
    assert!((90_000..100_000).contains(&told), "{told}");
    assert!(server.endpoint.counters().message_ids_awaited > 0);
    server.advance(Duration::from_millis(10));
    assert_eq!(look(&mut server, &mut told), "400000");
    assert!(server.dropped.is_empty());
}
