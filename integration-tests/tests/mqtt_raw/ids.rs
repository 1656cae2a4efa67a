//! Packet ids and the order of packets: whose id an answer has, which ids are taken, what comes
//! first.

use motegate_tests::gateway::Gateway;
use motegate_tests::wire::{VERSIONS, Version, Wire, packet, publish, string, subscribe};

use crate::{STRICT, finish, suback};

/// (UN)SUBSCRIBE with this packet id.
fn request(first: u8, version: Version, id: u16, rest: &[u8]) -> Vec<u8> {
    let properties: &[u8] = if version == Version::V5 { &[0] } else { &[] };
    packet(first, &[&id.to_be_bytes()[..], properties, rest].concat())
}

fn listen(gateway: &Gateway, version: Version, filter: &str, qos: u8) -> Wire {
    let mut wire = Wire::connect(gateway.mqtt, version, "subscriber");
    wire.send(&subscribe(version, filter, qos));
    wire.expect(&suback(version, &[qos]));
    wire
}

/// The packet id of a PUBLISH above QoS 0 on a topic of one letter.
fn id_of(publish: &[u8]) -> u16 {
    u16::from_be_bytes([publish[5], publish[6]])
}

/// [MQTT-2.3.1-6], [MQTT-2.3.1-7], [MQTT-3.8.4-1], [MQTT-3.8.4-2], [MQTT-3.10.4-4], 5.0
/// [MQTT-2.2.1-5], [MQTT-2.2.1-6].
#[test]
fn answers_have_the_id_of_their_request() {
    let gateway = Gateway::dev();
    for version in VERSIONS {
        let mut wire = Wire::connect(gateway.mqtt, version, "case");
        for id in [1_u16, 0x00FF, 0x1234, 0xFFFF] {
            let bytes = id.to_be_bytes();
            let filter = string("elsewhere");
            let requests = [
                (request(0x82, version, id, &[&filter[..], &[1]].concat()), 0x90),
                (request(0xA2, version, id, &filter), 0xB0),
                (publish(version, 2, id, "a", b"x"), 0x40),
                (publish(version, 4, id, "a", b"x"), 0x50),
                (publish(version, 0x0C, id, "a", b"x"), 0x50),
                (packet(0x62, &bytes), 0x70),
            ];
            for (sent, answer) in requests {
                wire.send(&sent);
                let got = wire.packet();
                assert_eq!((got[0], &got[2..4]), (answer, &bytes[..]), "{}", wire.story());
            }
        }
        wire.alive();
    }
}

/// protocols/mqtt.md §2.11: two id spaces, and a SUBSCRIBE whose id a publish holds is answered
/// like any other.
#[test]
fn the_two_sides_number_on_their_own() {
    let gateway = Gateway::dev();
    for version in VERSIONS {
        let mut wire = Wire::connect(gateway.mqtt, version, "case");
        wire.send(&publish(version, 4, 1, "b", b"held"));
        assert_eq!(wire.packet()[..4], [&[0x50], &wire_len(version)[..], &[0, 1]].concat());
        wire.send(&subscribe(version, "a", 2)); // id 1
        wire.expect(&suback(version, &[2]));
        // Our id 1, the client's id 1, at the same time.
        wire.send(&publish(version, 2, 2, "a", b"x"));
        let mut got = [wire.packet(), wire.packet()];
        got.sort();
        assert_eq!(got[0], publish(version, 2, 1, "a", b"x"), "{}", wire.story());
        assert_eq!(got[1][..4], [0x40, 2, 0, 2], "{}", wire.story());
        wire.send(&packet(0x62, &[0, 1]));
        wire.expect(&[0x70, 2, 0, 1]);
        wire.send(&packet(0x40, &[0, 1]));
        wire.alive();
    }
}

/// The length of a PUBREC when nobody listens: 5.0 says so.
fn wire_len(version: Version) -> [u8; 1] {
    [if version == Version::V5 { 3 } else { 2 }]
}

/// [MQTT-2.3.1-4], [MQTT-4.3.2-1], [MQTT-4.3.3-1], 5.0 [MQTT-2.2.1-4]: every delivery that is not
/// finished has an id of its own, DUP is 0.
#[test]
fn unfinished_deliveries_have_different_ids() {
    let gateway = Gateway::dev();
    for version in VERSIONS {
        let mut wire = listen(&gateway, version, "a", 2);
        let mut publisher = Wire::connect(gateway.mqtt, version, "publisher");
        for number in 0..40 {
            publisher.send(&publish(version, 2 + 2 * (number % 2), 1, "a", &[number]));
            finish(&mut publisher, 2 + 2 * (number % 2));
        }
        let got: Vec<Vec<u8>> = (0..40).map(|_| wire.packet()).collect();
        let mut ids: Vec<u16> = got.iter().map(|one| id_of(one)).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!((ids.len(), ids.contains(&0)), (40, false), "{}", wire.story());
        assert!(got.iter().all(|one| [0x32, 0x34].contains(&one[0])), "{}", wire.story());
        wire.alive();
    }
}

/// [MQTT-2.3.1-5], [MQTT-4.3.1-1], [MQTT-3.3.1-2]: at QoS 0 what follows the topic is payload, in
/// both directions.
#[test]
fn a_qos_0_publish_has_no_id() {
    let gateway = Gateway::dev();
    for version in VERSIONS {
        let mut wire = listen(&gateway, version, "a", 2);
        wire.send(&publish(version, 0, 0, "a", &[0, 7, b'x']));
        wire.expect(&publish(version, 0, 0, "a", &[0, 7, b'x']));
        wire.send(&publish(version, 0, 0, "a", b""));
        wire.expect(&publish(version, 0, 0, "a", b""));
        wire.alive();
    }
}

/// [MQTT-3.3.1-3]: DUP says whether *this* packet is sent again.
#[test]
fn dup_is_not_passed_on() {
    let gateway = Gateway::dev();
    for version in VERSIONS {
        let mut wire = listen(&gateway, version, "a", 2);
        let mut publisher = Wire::connect(gateway.mqtt, version, "publisher");
        for (id, flags) in [(1, 0x0A), (2, 0x0C), (3, 0x02)] {
            publisher.send(&publish(version, flags, 9, "a", b"x"));
            finish(&mut publisher, flags);
            wire.expect(&publish(version, flags & 6, id, "a", b"x"));
        }
    }
}

/// [MQTT-4.3.2-2]: once it is acknowledged, the same packet is a new publication, DUP or not.
#[test]
fn a_qos_1_publish_counts_again_after_its_puback() {
    let gateway = Gateway::dev();
    for version in VERSIONS {
        let mut wire = listen(&gateway, version, "a", 0);
        let mut publisher = Wire::connect(gateway.mqtt, version, "publisher");
        for flags in [0x02, 0x0A, 0x02] {
            publisher.send(&publish(version, flags, 9, "a", b"x"));
            publisher.expect(&[0x40, 2, 0, 9]);
            wire.expect(&publish(version, 0, 0, "a", b"x"));
        }
    }
}

/// [MQTT-3.8.4-6], [MQTT-3.8.4-5], 5.0 [MQTT-3.8.4-8]: the lower of the published and the granted.
#[test]
fn the_lower_qos_is_delivered() {
    let gateway = Gateway::dev();
    for version in VERSIONS {
        for granted in [0, 1, 2] {
            let mut wire = listen(&gateway, version, "a", granted);
            let mut publisher = Wire::connect(gateway.mqtt, version, "publisher");
            let mut id = 0;
            for published in [0, 1, 2] {
                publisher.send(&publish(version, published << 1, 9, "a", b"x"));
                finish(&mut publisher, published << 1);
                let qos = published.min(granted);
                id += u16::from(qos > 0);
                wire.expect(&publish(version, qos << 1, id, "a", b"x"));
            }
        }
    }
}

/// [MQTT-4.6.0-5], [MQTT-4.6.0-6]: what one client publishes comes in its order, and here of all
/// QoS together; the publisher's answers as well ([MQTT-4.6.0-2], [MQTT-4.6.0-3]).
#[test]
fn everything_comes_in_its_order() {
    let gateway = Gateway::dev();
    for version in VERSIONS {
        let mut wire = listen(&gateway, version, "a", 2);
        let mut publisher = Wire::connect(gateway.mqtt, version, "publisher");
        let numbers: Vec<u8> = (1..=60).collect();
        let bytes = numbers
            .iter()
            .flat_map(|n| publish(version, (n % 3) << 1, u16::from(*n), "a", &[*n]))
            .collect::<Vec<u8>>();
        publisher.send(&bytes);
        let wanted = |rest: u8| numbers.iter().copied().filter(move |n| n % 3 == rest);
        let mut answers: [Vec<u8>; 2] = [Vec::new(), Vec::new()];
        for _ in 0..40 {
            let got = publisher.packet();
            answers[usize::from(got[0] == 0x50)].push(got[3]);
        }
        assert_eq!(answers, [wanted(1).collect::<Vec<_>>(), wanted(2).collect()]);
        let (mut got, mut received) = (Vec::new(), Vec::new());
        for _ in &numbers {
            let one = wire.packet();
            got.push(*one.last().expect("a payload"));
            match one[0] {
                0x32 => wire.send(&packet(0x40, &one[5..7])),
                0x34 => received.push(one[5..7].to_vec()),
                _ => {}
            }
        }
        assert_eq!(got, numbers, "{}", wire.story());
        // [MQTT-4.6.0-4]: PUBRELs in the order of the PUBRECs, which is not that of the ids.
        received.reverse();
        received.rotate_left(7);
        wire.send(&received.iter().flat_map(|id| packet(0x50, id)).collect::<Vec<u8>>());
        for id in &received {
            wire.expect(&packet(0x62, id));
        }
        wire.alive();
    }
}

/// [MQTT-4.5.0-1]: every matching session has its copy, at its own QoS.
#[test]
fn every_matching_session_has_the_message() {
    let gateway = Gateway::dev();
    for version in STRICT {
        let mut wires = Vec::new();
        for (at, filter) in ["#", "+", "a", "a/#"].into_iter().enumerate() {
            let mut wire = Wire::connect(gateway.mqtt, version, &format!("session {at}"));
            wire.send(&subscribe(version, filter, u8::from(at % 2 == 1)));
            wire.packet();
            wires.push(wire);
        }
        let mut publisher = Wire::connect(gateway.mqtt, version, "publisher");
        publisher.send(&publish(version, 4, 9, "a", b"x"));
        finish(&mut publisher, 4);
        for (at, wire) in wires.iter_mut().enumerate() {
            let flags = if at % 2 == 1 { 2 } else { 0 };
            wire.expect(&publish(version, flags, 1, "a", b"x"));
            wire.alive();
        }
    }
}
