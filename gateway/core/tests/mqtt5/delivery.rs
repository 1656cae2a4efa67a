//! Order, flow control and what a session keeps (MQTT 5 §4.1…§4.6, §4.9).

use crate::wire::*;

/// [MQTT-3.3.4-9], [MQTT-3.3.4-10], [MQTT-4.9.0-1], [MQTT-4.9.0-2], [MQTT-4.9.0-3]: never more at
/// once than the client's Receive Maximum; PUBACK, PUBCOMP and an error PUBREC give one back, a
/// PUBREC does not; everything else goes on, and nothing overtakes.
#[test]
fn the_clients_receive_maximum() {
    let mut w = World::new();
    let c = w.client("a", "21 0002");
    w.subscribed(c, "t", 2);
    let p = w.client("p", "");
    let mut sent = 0;
    let mut more = |w: &mut World, first: u8| {
        sent += 1;
        let id = if first == 0x30 { "" } else { "0001" };
        w.send(p, &publish(first, "t", id, "", &format!("{sent:02x}")));
        w.send(p, "62 02 0001");
        w.take(p);
    };
    for first in [0x34, 0x32, 0x34, 0x30, 0x32, 0x34] {
        more(&mut w, first);
    }
    w.expect(c, &(publish(0x34, "t", "0001", "", "01") + &publish(0x32, "t", "0002", "", "02")));
    // Other packets are answered.
    w.alive(c);
    w.send(c, &subscribe("0007", "", "u", "01"));
    w.expect(c, "90 04 0007 00 01");
    w.send(c, &unsubscribe("0008", "u"));
    w.expect(c, "b0 04 0008 00 00");
    w.send(c, &publish(0x32, "v", "0009", "", "61"));
    w.expect(c, "40 03 0009 10");
    w.send(c, "50 02 0001");
    w.expect(c, "62 02 0001");
    // PUBCOMP: the third, and the QoS 0 message that waited for its turn.
    w.send(c, "70 02 0001");
    w.expect(c, &(publish(0x34, "t", "0003", "", "03") + &publish(0x30, "t", "", "", "04")));
    // PUBACK: the fifth.
    w.send(c, "40 02 0002");
    w.expect(c, &publish(0x32, "t", "0004", "", "05"));
    // An error PUBREC: the sixth.
    w.send(c, "50 03 0003 80");
    w.expect(c, &publish(0x34, "t", "0005", "", "06"));
    // What was given back twice gives no more.
    w.send(c, "40 02 0004 40 02 0004 50 03 0005 80");
    for first in [0x32, 0x32, 0x32] {
        more(&mut w, first);
    }
    assert_eq!(packets(&w.take(c)).len(), 2);
}

/// §2.10: on each connection the quota starts anew, and what is sent again is charged to it first.
#[test]
fn the_quota_starts_anew() {
    let mut w = World::new();
    let c = w.enter(&connect(0, "11 00000e10 21 0004", &field("a")), false);
    w.subscribed(c, "t", 2);
    let p = w.client("p", "");
    for (first, id) in [(0x34, "0001"), (0x32, "0002"), (0x32, "0003"), (0x32, "0004")] {
        w.send(p, &publish(first, "t", id, "", id));
    }
    assert_eq!(packets(&w.take(c)).len(), 4);
    w.send(c, "50 02 0001");
    w.take(c);
    w.lose(c);
    let c = w.enter(&connect(0, "11 00000e10 21 0002", &field("a")), true);
    w.expect(c, &(publish(0x3a, "t", "0002", "", "0002") + "62 02 0001"));
    w.send(c, "40 02 0002");
    w.expect(c, &publish(0x3a, "t", "0003", "", "0003"));
    w.send(c, "70 02 0001");
    w.expect(c, &publish(0x3a, "t", "0004", "", "0004"));
}

/// [MQTT-4.6.0-5], [MQTT-4.6.0-6]: per publisher, topic and QoS in the order received, live, queued
/// and over a reconnect.
#[test]
fn order_is_kept() {
    let mut w = World::new();
    let c = w.durable("a", false);
    w.subscribed(c, "#", 2);
    let (p, q) = (w.client("p", ""), w.client("q", ""));
    let mut expected = std::collections::BTreeMap::<(u8, u8), Vec<u8>>::new();
    let mut seen = std::collections::BTreeMap::<(u8, u8), Vec<u8>>::new();
    let mut note = |w: &mut World, conn| {
        for packet in packets(&w.take(conn)).iter().filter(|packet| packet[0] >> 4 == 3) {
            let payload = &packet[packet.len() - 3..];
            seen.entry((payload[0], payload[1])).or_default().push(payload[2]);
            if packet[0] & 6 == 2 {
                w.gateway.send(conn, &[0x40, 2, packet[5], packet[6]]);
            }
        }
    };
    let mut conn = c;
    for n in 0..30_u8 {
        if n == 10 {
            w.lose(conn);
        }
        if n == 20 {
            conn = w.durable("a", true);
        }
        for (who, publisher) in [(b'p', p), (b'q', q)] {
            for topic in [b'x', b'y'] {
                w.send(publisher, &publish(0x32, "t", "0001", "", &show(&[who, topic, n])));
                expected.entry((who, topic)).or_default().push(n);
            }
        }
        note(&mut w, conn);
    }
    for _ in 0..50 {
        note(&mut w, conn);
    }
    assert_eq!(seen, expected);
}

/// [MQTT-4.5.0-1], [MQTT-4.1.0-1]: a message that was acknowledged is in the session of each that it
/// is for, connected or not.
#[test]
fn every_matching_session_has_it() {
    let mut w = World::new();
    let away = w.durable("away", false);
    w.subscribed(away, "t", 2);
    w.lose(away);
    let slow = w.enter(&connect(0, "11 00000e10 21 0001", &field("slow")), false);
    w.subscribed(slow, "t", 1);
    let p = w.client("p", "");
    for id in ["0001", "0002", "0003"] {
        w.send(p, &publish(0x32, "t", id, "", id));
        w.expect(p, &format!("40 02 {id}"));
    }
    w.gateway.crash(crate::common::config());
    let away = w.durable("away", true);
    let slow = w.durable("slow", true);
    for c in [away, slow] {
        let got = w.take(c);
        let payloads: Vec<u8> =
            packets(&got).iter().map(|packet| packet[packet.len() - 1]).collect();
        assert_eq!(payloads, [1, 2, 3], "{}", show(&got));
    }
}

/// Choice 11: QoS 0 waits for nobody who is away, unless it is asked to.
#[test]
fn qos_0_while_away() {
    for queued in [false, true] {
        let mut w = World::with(|config| config.queue.queue_qos0 = queued);
        let c = w.durable("a", false);
        w.subscribed(c, "t", 2);
        w.lose(c);
        let p = w.client("p", "");
        for (first, id, payload) in [(0x30, "", "61"), (0x32, "0001", "62"), (0x30, "", "63")] {
            w.send(p, &publish(first, "t", id, "", payload));
        }
        let c = w.durable("a", true);
        let got = w.take(c);
        let payloads: Vec<u8> =
            packets(&got).iter().map(|packet| packet[packet.len() - 1]).collect();
        assert_eq!(payloads, if queued { &b"abc"[..] } else { b"b" });
    }
}

/// [MQTT-4.7.3-1], [MQTT-4.7.3-3]: topics of one character and of 65,535 bytes.
#[test]
fn topics_of_all_lengths() {
    let mut w = World::with_mqtt(Mqtt { max_packet_size: 1 << 20, ..Mqtt::default() });
    let c = w.client("a", "");
    for topic in ["x", &"x".repeat(65_535)] {
        w.subscribed(c, topic, 0);
        let message = publish(0x30, topic, "", "", "61");
        w.send(c, &message);
        w.expect(c, &message);
    }
}
