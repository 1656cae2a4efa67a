//! What a session gets, and gets again after a broken connection.

use motegate_tests::gateway::Gateway;
use motegate_tests::wire::{Version, Wire, connect, packet, publish, subscribe};

fn resume(gateway: &Gateway) -> Wire {
    let mut wire = Wire::open(gateway.mqtt);
    wire.send(&connect(Version::V311, "durable", false, 60));
    assert_eq!(wire.connack(Version::V311).1, 0);
    wire
}

/// [MQTT-4.4.0-1]: unacknowledged PUBLISH again with DUP and the same id; released ones as PUBREL;
/// in the order sent.
#[test]
fn what_was_not_acknowledged_comes_again() {
    let gateway = Gateway::dev();
    let mut sub = resume(&gateway);
    sub.send(&subscribe(Version::V311, "a", 2));
    sub.packet();
    let mut publisher = Wire::connect(gateway.mqtt, Version::V311, "publisher");
    for (flags, payload) in [(2, b"1"), (4, b"2"), (4, b"3"), (2, b"4")] {
        publisher.send(&publish(Version::V311, flags, 1, "a", payload));
        if publisher.packet()[0] == 0x50 {
            publisher.send(&packet(0x62, &[0, 1]));
            publisher.packet();
        }
    }
    let sent: Vec<Vec<u8>> = (0..4).map(|_| sub.packet()).collect();
    let ids: Vec<[u8; 2]> = sent.iter().map(|one| [one[5], one[6]]).collect();
    // The second goes as far as PUBREL.
    sub.send(&packet(0x50, &ids[1]));
    sub.expect(&packet(0x62, &ids[1]));
    drop(sub);

    let mut sub = resume(&gateway);
    let again = |at: usize| {
        let mut bytes = sent[at].clone();
        bytes[0] |= 0x08;
        bytes
    };
    sub.expect(&again(0));
    sub.expect(&again(2));
    sub.expect(&again(3));
    sub.expect(&packet(0x62, &ids[1])); // sent first behind the fourth
    // Acknowledged now: nothing comes a third time.
    sub.send(&packet(0x40, &ids[0]));
    sub.send(&packet(0x70, &ids[1]));
    sub.send(&packet(0x50, &ids[2]));
    sub.expect(&packet(0x62, &ids[2]));
    sub.send(&packet(0x70, &ids[2]));
    sub.send(&packet(0x40, &ids[3]));
    sub.alive();
    drop(sub);
    resume(&gateway).alive();
}

/// A QoS 2 id stays held while its client is away.
#[test]
fn a_received_qos_2_id_survives_the_connection() {
    let gateway = Gateway::dev();
    let mut watcher = Wire::connect(gateway.mqtt, Version::V311, "watcher");
    watcher.send(&subscribe(Version::V311, "a", 0));
    watcher.packet();
    let mut first = resume(&gateway);
    first.send(&publish(Version::V311, 4, 5, "a", b"x"));
    first.expect(&[0x50, 2, 0, 5]);
    drop(first);
    let mut second = resume(&gateway);
    second.send(&publish(Version::V311, 0x0C, 5, "a", b"x"));
    second.expect(&[0x50, 2, 0, 5]);
    second.send(&packet(0x62, &[0, 5]));
    second.expect(&[0x70, 2, 0, 5]);
    watcher.expect(&publish(Version::V311, 0, 0, "a", b"x"));
    watcher.alive();
}

/// SUBACK first, then the retained messages, in topic order.
#[test]
fn retained_messages_follow_suback() {
    let gateway = Gateway::dev();
    let mut wire = Wire::connect(gateway.mqtt, Version::V311, "case");
    for topic in ["r/b", "r/a", "r/c"] {
        wire.send(&publish(Version::V311, 1, 0, topic, b"x"));
    }
    wire.send(&subscribe(Version::V311, "r/#", 0));
    wire.expect(&[0x90, 3, 0, 1, 0]);
    for topic in ["r/a", "r/b", "r/c"] {
        wire.expect(&publish(Version::V311, 1, 0, topic, b"x"));
    }
    wire.alive();
}

/// [MQTT-3.8.4-3]: the same filter again replaces, and the retained message comes again.
#[test]
fn the_same_filter_again() {
    let gateway = Gateway::dev();
    let mut wire = Wire::connect(gateway.mqtt, Version::V311, "case");
    wire.send(&publish(Version::V311, 1, 0, "r", b"x"));
    for qos in [0, 1] {
        wire.send(&subscribe(Version::V311, "r", qos));
        wire.expect(&[0x90, 3, 0, 1, qos]);
        wire.expect(&publish(Version::V311, 1, 0, "r", b"x"));
    }
    wire.send(&publish(Version::V311, 2, 7, "r", b"y"));
    let mut got = [wire.packet()[0], wire.packet()[0]];
    got.sort_unstable();
    assert_eq!(got, [0x32, 0x40], "one delivery, at the new QoS\n{}", wire.story());
    wire.alive();
}
