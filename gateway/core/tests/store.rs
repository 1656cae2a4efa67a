//! A store that fails, is slow, and comes back.

mod common;

use core::time::Duration;

use common::{COAP, Gateway, SN, coap, config, peer, publish, sn, sn_connect};
use motegate_core::{Config, Input};
use motegate_message::{ConnectionId, Reason};

fn gateway() -> Gateway {
    Gateway::new(Config { durable: true, ..config() })
}

/// An MQTT 5 connection; with an expiry its session is durable.
fn v5(gateway: &mut Gateway, client_id: &str, expiry: u32) -> (ConnectionId, Vec<u8>) {
    let mut body = b"\x00\x04MQTT\x05\x00\x00\x3c\x05\x11".to_vec();
    body.extend_from_slice(&expiry.to_be_bytes());
    body.extend_from_slice(&u16::try_from(client_id.len()).expect("short").to_be_bytes());
    body.extend_from_slice(client_id.as_bytes());
    let mut packet = vec![0x10, u8::try_from(body.len()).expect("short")];
    packet.extend_from_slice(&body);
    let conn = gateway.open();
    gateway.send(conn, &packet);
    let connack = gateway.received(conn);
    (conn, connack)
}

/// PUBLISH of MQTT 5 at QoS 1.
fn publish5(topic: &str, payload: &[u8], retain: bool, id: u8) -> Vec<u8> {
    let head = [
        0x32 | u8::from(retain),
        u8::try_from(2 + topic.len() + 3 + payload.len()).expect("short"),
    ];
    let topic_len = u8::try_from(topic.len()).expect("short");
    [&head[..], &[0, topic_len], topic.as_bytes(), &[0, id, 0], payload].concat()
}

fn coap_code(gateway: &mut Gateway, code: u8, path: &[&str], mid: u16) -> Option<u8> {
    let request = coap(0, code, mid, b"t", None, path, b"x");
    gateway.datagram(COAP, peer(7), &request).first().map(|answer| answer[1])
}

#[test]
fn while_the_store_fails_what_needs_none_goes_on_and_the_rest_is_refused() {
    let mut gateway = gateway();
    gateway.commit_at_once = true;
    let (lasting, _) = v5(&mut gateway, "lasting", 100);
    gateway.send(lasting, b"\x82\x09\x00\x01\x00\x00\x03t/#\x01");
    let (clean, _) = v5(&mut gateway, "clean", 0);
    gateway.send(clean, b"\x82\x09\x00\x01\x00\x00\x03c/#\x01");
    gateway.datagram(SN, peer(9), &sn_connect("mote", true, 60));
    gateway.received(lasting);
    gateway.received(clean);
    gateway.commit_at_once = false;
    gateway.input(Input::StoreFailed);

    let (publisher, connack) = v5(&mut gateway, "publisher", 0);
    assert_eq!(connack[3], 0, "a session that ends with its connection needs no disk");
    let mut answer = |topic: &str, retain| {
        gateway.send(publisher, &publish5(topic, b"x", retain, 1));
        gateway.received(publisher).get(4).copied().unwrap_or(0)
    };
    assert_eq!(answer("c/x", false), 0x00, "nobody durable hears it");
    assert_eq!(answer("t/x", false), 0x97, "a durable session would keep it");
    assert_eq!(answer("c/x", true), 0x97, "it would be retained");
    assert_eq!(gateway.received(clean).len(), 11, "PUBLISH of c/x");
    gateway.send(publisher, &publish("t/x", b"y", 0, false, 0));
    let (_, connack) = v5(&mut gateway, "another", 100);
    assert_eq!(connack[3], 0x88, "server unavailable: {connack:02x?}");
    gateway.send(lasting, b"\x82\x09\x00\x02\x00\x00\x03u/#\x01");
    assert_eq!(*gateway.received(lasting).last().expect("a SUBACK"), 0x97);

    assert_eq!(coap_code(&mut gateway, 3, &["mqtt", "v"], 1), Some(0xa3), "PUT: 5.03");
    assert_eq!(coap_code(&mut gateway, 2, &["mqtt", "c", "v"], 2), Some(0x44), "POST: 2.04");
    // MQTT-SN 1.2 §5.3.10: congestion.
    let regack = gateway.datagram(SN, peer(9), &sn(0x0a, b"\x00\x00\x00\x01t/1"));
    assert_eq!(regack, [sn(0x0b, &[0, 0, 0, 1, 1])]);
    let puback =
        gateway.datagram(SN, peer(9), &sn(0x0c, &[&[0x32, b't', b't', 0, 2][..], b"x"].concat()));
    assert_eq!(puback, [sn(0x0d, &[b't', b't', 0, 2, 1])]);
    assert!(gateway.uncommitted.is_empty(), "nothing was written: {:?}", gateway.uncommitted);
}

/// A full disk is freed by those who take what waits for them: a session that goes on as it was needs
/// nothing stored. Whatever would change it is refused.
#[test]
fn a_session_may_drain_while_the_store_fails() {
    let mut gateway = gateway();
    gateway.commit_at_once = true;
    let (lasting, _) = v5(&mut gateway, "lasting", 100);
    gateway.send(lasting, b"\x82\x09\x00\x01\x00\x00\x03t/#\x01");
    gateway.send(lasting, &[0xe0, 0]);
    let (publisher, _) = v5(&mut gateway, "publisher", 0);
    for id in 1..=2 {
        gateway.send(publisher, &publish5("t/x", b"x", false, id));
    }
    gateway.commit_at_once = false;
    let (unheard, connack) = v5(&mut gateway, "unheard", 100);
    assert_eq!(connack, b"", "the session is not stored");
    gateway.input(Input::Closed { conn: unheard, reason: Reason::ConnectionLost });
    gateway.input(Input::StoreFailed);
    let (_, connack) = v5(&mut gateway, "unheard", 100);
    assert_eq!(connack, b"", "it still is not: not announced as present");
    let mut resumed = |clean: u8, expiry: u8| {
        let conn = gateway.open();
        let connect = b"\x10\x19\x00\x04MQTT\x05\x00\x00\x3c\x05\x11\x00\x00\x00";
        let mut connect = [&connect[..], &[expiry], b"\x00\x07lasting"].concat();
        connect[9] = clean;
        gateway.send(conn, &connect);
        let got = gateway.received(conn);
        (conn, got[2], got[3], got)
    };
    assert_eq!(resumed(0, 99).2, 0x88, "another expiry");
    assert_eq!(resumed(2, 100).2, 0x88, "another session");
    let (conn, present, code, got) = resumed(0, 100);
    assert_eq!((present, code), (1, 0), "{got:02x?}");
    assert!(got.ends_with(b"x"), "what waited: {got:02x?}");
    gateway.send(conn, b"\x40\x02\x00\x01\x40\x02\x00\x02");
    gateway.commit_at_once = true;
    gateway.commit();
    gateway.send(conn, &[0xe0, 0]);
    let (conn, _) = (gateway.open(), ());
    gateway
        .send(conn, b"\x10\x19\x00\x04MQTT\x05\x00\x00\x3c\x05\x11\x00\x00\x00\x64\x00\x07lasting");
    assert!(!gateway.received(conn).ends_with(b"x"), "it was drained");
}

#[test]
fn mqtt_3_is_closed_rather_than_acknowledged() {
    let mut gateway = gateway();
    gateway.commit_at_once = true;
    let mqtt = gateway.mqtt("old", true);
    gateway.input(Input::StoreFailed);
    gateway.send(mqtt, &publish("t", b"x", 1, true, 1));
    assert_eq!(gateway.received(mqtt), b"", "no PUBACK");
    assert_eq!(gateway.closed.get(&mqtt), Some(&Reason::StorageFull));
}

#[test]
fn what_waited_is_acknowledged_when_the_store_is_well_again() {
    let mut gateway = gateway();
    gateway.commit_at_once = true;
    let (lasting, _) = v5(&mut gateway, "lasting", 100);
    gateway.send(lasting, b"\x82\x09\x00\x01\x00\x00\x03t/#\x01");
    let (publisher, _) = v5(&mut gateway, "publisher", 0);
    gateway.commit_at_once = false;
    gateway.send(publisher, &publish5("t/x", b"x", false, 1));
    gateway.input(Input::StoreFailed);
    assert_eq!(gateway.received(publisher), b"", "not stored, not acknowledged");
    assert_eq!(coap_code(&mut gateway, 3, &["mqtt", "v"], 1), Some(0xa3));
    gateway.commit();
    assert_eq!(gateway.received(publisher), b"\x40\x02\x00\x01");
    gateway.commit_at_once = true;
    assert_eq!(coap_code(&mut gateway, 3, &["mqtt", "v"], 2), Some(0x41));
}

/// What was taken in just before the store failed is neither acknowledged nor refused: who waits for
/// that is not left without a word.
#[test]
fn who_waits_for_a_store_that_fails_is_told() {
    let mut gateway = gateway();
    gateway.commit_at_once = true;
    let (lasting, _) = v5(&mut gateway, "lasting", 100);
    gateway.send(lasting, b"\x82\x09\x00\x01\x00\x00\x03t/#\x01");
    let (publisher, _) = v5(&mut gateway, "publisher", 0);
    let (idle, _) = v5(&mut gateway, "idle", 0);
    let old = gateway.mqtt("old", true);
    for conn in [lasting, publisher, idle] {
        gateway.received(conn);
    }
    gateway.commit_at_once = false;
    gateway.send(publisher, &publish5("t/x", b"x", false, 1));
    gateway.send(old, &publish("t/x", b"y", 1, false, 1));
    gateway.notices.clear();
    gateway.input(Input::StoreFailed);
    let told: Vec<_> = gateway.notices.iter().filter_map(|n| n.text.as_deref()).collect();
    assert!(told.len() == 1 && told[0].contains("2 MQTT connections"), "{told:?}");
    assert_eq!(gateway.notices[0].limit, Some("storage_full"));

    gateway.advance(Duration::from_secs(20));
    // It tries again, and fails again: one wait, told once.
    gateway.input(Input::StoreFailed);
    assert_eq!(gateway.notices.len(), 1, "{:?}", gateway.notices);
    gateway.advance(Duration::from_secs(9));
    assert!(gateway.closed.is_empty(), "{:?}", gateway.closed);
    gateway.advance(Duration::from_secs(1));
    let closed: Vec<_> = gateway.closed.iter().map(|(conn, why)| (*conn, *why)).collect();
    assert_eq!(closed, [(publisher, Reason::StorageFull), (old, Reason::StorageFull)]);
    let got = gateway.received(publisher);
    assert_eq!((got[0], got[2]), (0xe0, 0x97), "DISCONNECT, no PUBACK: {got:02x?}");
    assert_eq!(gateway.received(old), b"", "MQTT 3 has no word for it");

    gateway.commit();
    gateway.send(idle, &publish5("t/x", b"z", false, 1));
    gateway.advance(Duration::from_secs(40));
    assert_eq!(gateway.closed.len(), 2, "slow is not failed: {:?}", gateway.closed);
    assert_eq!(gateway.received(idle), b"", "not stored yet");
    gateway.commit();
    assert_eq!(gateway.received(idle), b"\x40\x02\x00\x01");
}

/// Refused and closed, it was never taken over: the repeat on the next connection counts, also of
/// what came behind it in the same piece.
#[test]
fn mqtt_3_repeats_what_was_not_stored_at_qos_2() {
    let mut gateway = gateway();
    gateway.commit_at_once = true;
    let (lasting, _) = v5(&mut gateway, "lasting", 100);
    gateway.send(lasting, b"\x82\x09\x00\x01\x00\x00\x03t/#\x01");
    gateway.received(lasting);
    let first = gateway.mqtt("old", false);
    gateway.input(Input::StoreFailed);
    let both = [publish("t/x", b"one", 2, false, 1), publish("t/x", b"two", 2, false, 2)];
    gateway.send(first, &both.concat());
    assert_eq!(gateway.received(first), b"", "no PUBREC");
    assert_eq!(gateway.closed.get(&first), Some(&Reason::StorageFull));
    gateway.commit();
    let second = gateway.mqtt("old", false);
    for (place, id) in [(0, 1), (1, 2)] {
        let mut again = both[place].clone();
        again[0] |= 8; // DUP
        gateway.send(second, &again);
        assert_eq!(gateway.received(second), [0x50, 2, 0, id], "PUBREC");
        let heard = gateway.received(lasting);
        assert!(heard.ends_with(&both[place][both[place].len() - 3..]), "{heard:02x?}");
    }
}
