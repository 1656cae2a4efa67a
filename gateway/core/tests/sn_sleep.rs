//! The queue of a sleeping MQTT-SN client: its bounds, what a full one does, QoS 0, expiry, and that a
//! clean awakening discards it (MQTT-SN 1.2 §6.14; rows 42, 44 and 47 of the checklist, threads 1 to 6).

mod common;

use std::time::Duration;

use common::{Gateway, SN, config, peer, publish, sn, sn_connect};
use motegate_core::Config;
use motegate_core::settings::{Overflow, QueuePolicy};
use motegate_message::{ConnectionId, ListenerId, Reason};

const MOTE: u16 = 2_002;

/// `mote`, subscribed to a/+, b/+ and c at QoS 1, has gone to sleep; somebody publishes by MQTT.
fn asleep(when_asleep: QueuePolicy) -> (Gateway, ConnectionId) {
    let mut gateway = Gateway::new(Config { when_asleep, ..config() });
    gateway.datagram(SN, peer(MOTE), &sn_connect("mote", false, 60));
    for (filter, id) in [("a/+", 1), ("b/+", 2), ("c", 3)] {
        let body = [&[0x20, 0, id][..], filter.as_bytes()].concat();
        assert_eq!(gateway.datagram(SN, peer(MOTE), &sn(0x12, &body))[0][1], 0x13);
    }
    assert_eq!(gateway.datagram(SN, peer(MOTE), &sn(0x18, &[0, 200])), [sn(0x18, &[])]);
    let phone = gateway.mqtt("phone", true);
    (gateway, phone)
}

fn policy() -> QueuePolicy {
    QueuePolicy { max_messages: 3, ..Config::default().when_asleep }
}

/// Answers what comes until PINGRESP or nothing does: the payloads, and whether PINGRESP came.
fn fetched(gateway: &mut Gateway, first: Vec<Vec<u8>>) -> (String, bool) {
    let mut seen = String::new();
    let mut answers = std::collections::VecDeque::from(first);
    while let Some(mut packet) = answers.pop_front() {
        if packet[0] == 1 {
            packet.drain(..2); // the long form of the length
        }
        let more = match packet[1] {
            0x17 => {
                assert!(answers.is_empty(), "PINGRESP is the last");
                return (seen, true);
            }
            0x0a => gateway.datagram(SN, peer(MOTE), &sn(0x0b, &[&packet[2..6], &[0]].concat())),
            0x0c => {
                seen.push_str(std::str::from_utf8(&packet[7..]).expect("text"));
                match packet[2] & 0x60 {
                    0 => continue,
                    _ => {
                        let ack = [&packet[3..7], &[0]].concat();
                        gateway.datagram(SN, peer(MOTE), &sn(0x0d, &ack))
                    }
                }
            }
            _ => continue,
        };
        answers.extend(more);
    }
    (seen, false)
}

fn wakes(gateway: &mut Gateway) -> String {
    let first = gateway.datagram(SN, peer(MOTE), &sn(0x16, b"mote"));
    let (seen, ended) = fetched(gateway, first);
    assert!(ended, "no PINGRESP after {seen}");
    seen
}

fn says(gateway: &mut Gateway, phone: ConnectionId, topics: &[(&str, &str)], qos: u8) {
    for (topic, text) in topics {
        gateway.send(phone, &publish(topic, text.as_bytes(), qos, false, 9));
    }
}

const FIVE: [(&str, &str); 5] =
    [("a/1", "1"), ("b/1", "2"), ("a/2", "3"), ("a/1", "4"), ("c", "5")];

#[test]
fn row_44_a_full_queue_does_what_it_is_told_and_counts_it() {
    for (overflow, kept) in [
        (Overflow::DropOldest, "345"),
        (Overflow::DropNewest, "123"),
        (Overflow::LatestPerTopic, "345"),
    ] {
        let (mut gateway, phone) = asleep(QueuePolicy { overflow, ..policy() });
        says(&mut gateway, phone, &FIVE, 1);
        let dropped = gateway.core.stats().dropped(Reason::SleepQueueFull);
        assert_eq!(wakes(&mut gateway), kept, "{overflow:?}");
        assert!(dropped > 0, "{overflow:?}");
        // What is new afterwards finds room.
        says(&mut gateway, phone, &FIVE[..2], 1);
        assert_eq!(wakes(&mut gateway), "12", "{overflow:?}");
    }
}

#[test]
fn row_44_the_latest_of_each_topic_is_kept_however_often_it_changes() {
    let (mut gateway, phone) =
        asleep(QueuePolicy { overflow: Overflow::LatestPerTopic, ..policy() });
    for _ in 0..10 {
        says(&mut gateway, phone, &[("a/1", "old"), ("b/1", "old"), ("c", "old")], 1);
    }
    says(&mut gateway, phone, &[("c", "C"), ("a/1", "A"), ("b/1", "B")], 1);
    let mut seen: Vec<char> = wakes(&mut gateway).chars().collect();
    seen.sort_unstable();
    assert_eq!(seen, ['A', 'B', 'C']);
}

#[test]
fn row_44_qos_0_waits_too_unless_it_is_told_not_to() {
    for (queue_qos0, kept) in [(true, "12"), (false, "")] {
        let (mut gateway, phone) = asleep(QueuePolicy { queue_qos0, ..policy() });
        says(&mut gateway, phone, &FIVE[..2], 0);
        assert_eq!(wakes(&mut gateway), kept);
        says(&mut gateway, phone, &[("c", "q")], 1);
        assert_eq!(wakes(&mut gateway), "q");
    }
}

#[test]
fn row_44_bytes_are_bounded_as_well() {
    let (mut gateway, phone) =
        asleep(QueuePolicy { max_messages: 100, max_bytes: 256, ..policy() });
    let long = "x".repeat(60);
    says(&mut gateway, phone, &[("c", long.as_str()); 10], 1);
    says(&mut gateway, phone, &[("c", "last")], 1);
    let seen = wakes(&mut gateway);
    assert!(seen.ends_with("last") && seen.len() < 256, "{seen}");
}

#[test]
fn row_44_what_expires_while_its_receiver_sleeps_is_not_delivered() {
    let (mut gateway, _) = asleep(policy());
    // MQTT 5, clean; then one message that lives 10 s and one that lives on.
    let conn = gateway.open();
    gateway.send(conn, b"\x10\x0e\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x01p");
    assert_eq!(gateway.received(conn)[3], 0);
    gateway.send(conn, b"\x30\x0a\x00\x01c\x05\x02\x00\x00\x00\x0ax");
    gateway.send(conn, b"\x30\x05\x00\x01c\x00y");
    gateway.advance(Duration::from_secs(20));
    assert_eq!(wakes(&mut gateway), "y");
}

#[test]
fn row_42_waking_by_connect_delivers_the_buffer_or_discards_it() {
    for (clean, kept) in [(false, "12"), (true, "")] {
        let (mut gateway, phone) = asleep(policy());
        says(&mut gateway, phone, &FIVE[..2], 1);
        let first = gateway.datagram(SN, peer(MOTE), &sn_connect("mote", clean, 60));
        assert_eq!(first[0], sn(0x05, &[0]));
        assert_eq!(fetched(&mut gateway, first).0, kept);
    }
}

#[test]
fn thread_4_a_sleep_may_be_longer_than_the_keep_alive() {
    let (mut gateway, _) = asleep(policy());
    gateway.advance(Duration::from_secs(199)); // the keep-alive is 60 s
    let phone = gateway.mqtt("another phone", true);
    says(&mut gateway, phone, &FIVE[..1], 1);
    assert_eq!(wakes(&mut gateway), "1");
}

/// What is on disk names listeners, not their numbers: the sleeper is found when they are in
/// another order, and its name means nobody else where its listener has gone or has another realm.
#[test]
fn a_sleeper_is_found_among_other_listeners_after_a_restart() {
    let [mqtt, sn_listener, coap] = [0, 1, 2].map(|at: usize| config().listeners[at].clone());
    let elsewhere = motegate_core::Listener { realm: "mqtt".into(), ..sn_listener.clone() };
    let orders = [
        (vec![coap.clone(), mqtt.clone(), sn_listener.clone()], Some(2)),
        (vec![mqtt.clone()], None),
        (vec![mqtt, elsewhere, coap], None),
    ];
    for (listeners, place) in orders {
        let (mut gateway, phone) = asleep(policy());
        gateway.streams.remove(&phone);
        gateway.crash(Config { listeners, ..config() });
        let wake = gateway.datagram(ListenerId(place.unwrap_or(1)), peer(MOTE), &sn(0x16, b"mote"));
        match place {
            Some(_) => assert_eq!(wake, [sn(0x17, &[])]),
            None => assert!(wake.iter().all(|packet| packet[..] == sn(0x18, &[])), "{wake:?}"),
        }
    }
}

/// §6.9: of two words that are one filter the one that is left has what it was granted.
#[test]
fn a_filter_goes_on_at_the_qos_of_the_word_that_is_left() {
    let mut gateway = Gateway::new(config());
    gateway.datagram(SN, peer(MOTE), &sn_connect("mote", false, 60));
    for (flags, topic) in [(0x00, &b"ab"[..]), (0x22, b"ab")] {
        let answer = gateway.datagram(SN, peer(MOTE), &sn(0x12, &[&[flags, 0, 1], topic].concat()));
        assert_eq!(answer[0][1], 0x13);
    }
    let phone = gateway.mqtt("phone", true);
    let qos = |gateway: &mut Gateway| {
        gateway.send(phone, &publish("ab", b"x", 1, false, 9));
        gateway.datagrams_to(peer(MOTE)).iter().find(|p| p[1] == 0x0c).map(|p| p[2] >> 5 & 3)
    };
    assert_eq!(qos(&mut gateway), Some(1));
    gateway.datagram(SN, peer(MOTE), &sn(0x0d, &[b'a', b'b', 0, 1, 0]));
    let answer = gateway.datagram(SN, peer(MOTE), &sn(0x14, &[&[0x02, 0, 2], &b"ab"[..]].concat()));
    assert_eq!(answer[0][1], 0x15);
    assert_eq!(qos(&mut gateway), Some(0));
}

/// mapping.md §2.13: a client that roams within a realm keeps what it subscribed to over MQTT, at
/// its CONNECT, at a restart and when the rules change.
#[test]
fn subscriptions_made_over_mqtt_are_left_alone() {
    let mut config = config();
    config.listeners[1].realm = "mqtt".into();
    let mut gateway = Gateway::new(config.clone());
    let pump = gateway.mqtt("mote", false);
    gateway.send(pump, &[0x82, 8, 0, 1, 0, 3, b'a', b'/', b'1', 1]);
    gateway.send(pump, &[0xe0, 0]);
    for _ in 0..2 {
        gateway.datagram(SN, peer(MOTE), &sn_connect("mote", false, 60));
        gateway.datagram(SN, peer(MOTE), &sn(0x12, &[&[0x20, 0, 1], &b"sn"[..]].concat()));
        let phone = gateway.mqtt("phone", true);
        gateway.send(phone, &publish("a/1", b"x", 0, false, 9));
        let register = sn(0x0a, &[&[0, 2, 0, 1], &b"a/1"[..]].concat());
        let sent = gateway.datagrams_to(peer(MOTE));
        assert!(
            sent.iter().any(|packet| packet[1] == 0x0a && packet[6..] == register[6..]),
            "{sent:?}"
        );
        gateway.crash(config.clone());
    }
}

/// §6.10, row 27: too long for the network is dropped, and first of all it takes nobody's place.
#[test]
fn row_27_what_fits_no_datagram_pushes_out_nothing_and_gets_no_topic_id() {
    for offline in [false, true] {
        let (mut gateway, phone) = asleep(policy());
        says(&mut gateway, phone, &FIVE[..3], 1);
        if offline {
            gateway.datagram(SN, peer(MOTE), &sn(0x18, &[]));
        }
        let long = "z".repeat(1_392);
        let before = gateway.core.stats().dropped(Reason::TooLarge);
        for topic in ["a/1", "b/1", "a/9", "c"] {
            gateway.send(phone, &long_publish(topic, &long, 1));
        }
        assert_eq!(gateway.core.stats().dropped(Reason::TooLarge) - before, 4, "offline {offline}");
        if offline {
            let first = gateway.datagram(SN, peer(MOTE), &sn_connect("mote", false, 60));
            assert_eq!(fetched(&mut gateway, first).0, "123");
        } else {
            assert_eq!(wakes(&mut gateway), "123");
        }
    }
    let (mut gateway, phone) = asleep(policy());
    gateway.send(phone, &long_publish("c", &"z".repeat(1_391), 0));
    assert_eq!(wakes(&mut gateway).len(), 1_391, "the longest there is");
    // Awake and active it is dropped on its way, without a REGISTER.
    gateway.datagram(SN, peer(MOTE), &sn_connect("mote", false, 60));
    gateway.datagrams.clear();
    gateway.send(phone, &long_publish("a/new", &"z".repeat(1_392), 0));
    assert_eq!(gateway.datagrams_to(peer(MOTE)), Vec::<Vec<u8>>::new());
}

/// PUBLISH of MQTT with a length of two bytes.
fn long_publish(topic: &str, payload: &str, qos: u8) -> Vec<u8> {
    let id: &[u8] = if qos > 0 { &[0, 9] } else { &[] };
    let len = 2 + topic.len() + id.len() + payload.len();
    let byte = |n: usize| u8::try_from(n).expect("short");
    let head = [0x30 | qos << 1, byte(len % 128) | 0x80, byte(len / 128), 0, byte(topic.len())];
    [&head[..], topic.as_bytes(), id, payload.as_bytes()].concat()
}
