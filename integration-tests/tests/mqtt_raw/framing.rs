//! Fixed header, lengths, strings, and packets that come in pieces.

use motegate_tests::gateway::Gateway;
use motegate_tests::wire::{VERSIONS, Version, Wire, connect, packet, publish, string, subscribe};

use crate::{MALFORMED, PROTOCOL, STRICT, refused, refused_in};

/// [MQTT-2.2.2-2], 5.0 [MQTT-2.1.3-1].
#[test]
fn reserved_bits_of_the_fixed_header() {
    let gateway = Gateway::dev();
    let one = |first| move |_| packet(first, &[0, 1]);
    for first in [0x41, 0x51, 0x60, 0x61, 0x6A, 0x71] {
        refused(&gateway, &format!("{first:#04x} acknowledgement"), MALFORMED, one(first));
    }
    let filter = |version| subscribe(version, "a", 0);
    refused(&gateway, "SUBSCRIBE with 0000", MALFORMED, |version| {
        [&[0x80], &filter(version)[1..]].concat()
    });
    refused(&gateway, "SUBSCRIBE with 1010", MALFORMED, |version| {
        [&[0x8A], &filter(version)[1..]].concat()
    });
    refused(&gateway, "UNSUBSCRIBE with 0000", MALFORMED, |version| {
        let properties: &[u8] = if version == Version::V5 { &[0] } else { &[] };
        packet(0xA0, &[&[0, 1], properties, &string("a")].concat())
    });
    refused(&gateway, "PINGREQ with 0001", MALFORMED, |_| vec![0xC1, 0]);
    refused(&gateway, "DISCONNECT with 0001", MALFORMED, |_| vec![0xE1, 0]);
}

/// 3.1 has no rule for these bits, and DUP on SUBSCRIBE is legal there.
#[test]
fn version_3_1_overlooks_reserved_bits() {
    let gateway = Gateway::dev();
    let mut wire = Wire::connect(gateway.mqtt, Version::V31, "old");
    let bytes = subscribe(Version::V31, "a", 1);
    wire.send(&[&[0x8A], &bytes[1..]].concat());
    wire.expect(&[0x90, 3, 0, 1, 1]);
    wire.alive();
}

#[test]
fn a_length_of_five_bytes() {
    let gateway = Gateway::dev();
    refused(&gateway, "fifth byte", MALFORMED, |_| vec![0x30, 0xFF, 0xFF, 0xFF, 0xFF, 0x01]);
    refused(&gateway, "fourth byte goes on", MALFORMED, |_| vec![0x30, 0x80, 0x80, 0x80, 0x80]);
}

/// Announced, not sent: judged by the header alone.
#[test]
fn more_than_the_maximum_packet_size() {
    let gateway = Gateway::dev();
    refused(&gateway, "256 MB of PUBLISH", 0x95, |_| vec![0x30, 0xFF, 0xFF, 0xFF, 0x7F]);
}

#[test]
fn bodies_that_do_not_fit_their_packet() {
    let gateway = Gateway::dev();
    refused(&gateway, "PINGREQ with a body", MALFORMED, |_| vec![0xC0, 1, 0]);
    refused(&gateway, "PUBLISH without a body", MALFORMED, |_| vec![0x30, 0]);
    refused(&gateway, "topic longer than the packet", MALFORMED, |_| packet(0x30, &[0, 5, b'a']));
    refused(&gateway, "no room for the packet id", MALFORMED, |_| packet(0x32, &string("a")));
    refused(&gateway, "PUBACK of one byte", MALFORMED, |_| packet(0x40, &[0]));
    refused(&gateway, "SUBSCRIBE cut in the filter", MALFORMED, |version| {
        let properties: &[u8] = if version == Version::V5 { &[0] } else { &[] };
        packet(0x82, &[&[0, 1], properties, &[0, 9, b'a']].concat())
    });
    refused(&gateway, "SUBSCRIBE without the options byte", MALFORMED, |version| {
        let properties: &[u8] = if version == Version::V5 { &[0] } else { &[] };
        packet(0x82, &[&[0, 1], properties, &string("a")].concat())
    });
    refused_in(
        &gateway,
        "3.1.1 PUBACK of three bytes",
        Version::V311,
        MALFORMED,
        &packet(0x40, &[0, 1, 0]),
    );
}

/// 5.0 [MQTT-1.5.5-1], §2.2.2.
#[test]
fn property_lengths() {
    let gateway = Gateway::dev();
    let topic = string("a");
    for (name, properties) in [
        ("beyond the packet", &[5, 1, 0][..]),
        ("not in its shortest form", &[0x80, 0]),
        ("four bytes and more", &[0xFF, 0xFF, 0xFF, 0xFF, 1]),
        ("cut in a property", &[1, 2]),
        ("unknown property", &[2, 0x7E, 0]),
        ("property of another packet", &[3, 0x21, 0, 1]),
    ] {
        let bytes = packet(0x30, &[&topic[..], properties].concat());
        refused_in(&gateway, name, Version::V5, MALFORMED, &bytes);
    }
    for (name, properties) in [
        ("format indicator twice", &[4, 1, 0, 1, 0][..]),
        ("format indicator of 2", &[2, 1, 2]),
        ("subscription id from a client", &[2, 0x0B, 1]),
    ] {
        let bytes = packet(0x30, &[&topic[..], properties].concat());
        refused_in(&gateway, name, Version::V5, PROTOCOL, &bytes);
    }
}

/// [MQTT-1.5.3-1], [MQTT-1.5.3-2], 5.0 [MQTT-1.5.4-1], [MQTT-1.5.4-2], and control characters,
/// which we refuse too.
#[test]
fn strings_that_are_not_utf_8() {
    let gateway = Gateway::dev();
    let bad: [(&str, &[u8]); 8] = [
        ("a lone continuation byte", &[b'a', 0x80]),
        ("a sequence cut short", &[0xE2, 0x82]),
        ("an overlong form", &[0xC0, 0xAF]),
        ("a surrogate", &[0xED, 0xA0, 0x80]),
        ("beyond U+10FFFF", &[0xF4, 0x90, 0x80, 0x80]),
        ("U+0000", &[b'a', 0]),
        ("U+0001", &[b'a', 1]),
        ("U+FFFF", &[0xEF, 0xBF, 0xBF]),
    ];
    for (name, text) in bad {
        refused(&gateway, &format!("{name} in a topic"), MALFORMED, |version| {
            let properties: &[u8] = if version == Version::V5 { &[0] } else { &[] };
            packet(0x30, &[&string(text), properties].concat())
        });
        refused(&gateway, &format!("{name} in a filter"), MALFORMED, |version| {
            let properties: &[u8] = if version == Version::V5 { &[0] } else { &[] };
            packet(0x82, &[&[0, 1], properties, &string(text), &[0]].concat())
        });
        let user = [&[0x26], &string("k")[..], &string(text)].concat();
        let length = u8::try_from(user.len()).expect("a short property");
        let bytes = packet(0x30, &[&string("a")[..], &[length], &user].concat());
        refused_in(&gateway, &format!("{name} in a user property"), Version::V5, MALFORMED, &bytes);
    }
}

/// [MQTT-1.5.3-3]: U+FEFF is a character, not a mark to strip.
#[test]
fn a_byte_order_mark_stays_where_it_is() {
    let gateway = Gateway::dev();
    for version in STRICT {
        let mut wire = Wire::connect(gateway.mqtt, version, "mark");
        wire.send(&subscribe(version, "\u{FEFF}a", 0));
        wire.packet();
        wire.send(&publish(version, 0, 0, "a", b"without"));
        wire.send(&publish(version, 0, 0, "\u{FEFF}a", b"with"));
        wire.expect(&publish(version, 0, 0, "\u{FEFF}a", b"with"));
        wire.alive();
    }
}

/// Types that only a server sends, and those that nobody sends.
#[test]
fn packets_that_are_not_a_clients() {
    let gateway = Gateway::dev();
    for bytes in [&[0x20, 2, 0, 0][..], &[0x90, 3, 0, 1, 0], &[0xB0, 2, 0, 1], &[0xD0, 0]] {
        for version in STRICT {
            let mut wire = Wire::connect(gateway.mqtt, version, "case");
            wire.send_regardless(bytes);
            if version == Version::V5 {
                let answer = wire.packet();
                assert_eq!(answer[0], 0xE0, "{}", wire.story());
                assert!([MALFORMED, PROTOCOL].contains(&answer[2]), "{}", wire.story());
            }
            wire.closed();
        }
    }
    refused_in(&gateway, "type 15 in 3.1.1", Version::V311, MALFORMED, &[0xF0, 0]);
    refused_in(&gateway, "AUTH without a method", Version::V5, PROTOCOL, &[0xF0, 2, 0x19, 0]);
    refused_in(&gateway, "type 0", Version::V311, MALFORMED, &[0x00, 0]);
}

/// Every packet may come a byte at a time, and several at once.
#[test]
fn packets_in_pieces_and_in_one_piece() {
    let gateway = Gateway::dev();
    for version in VERSIONS {
        let mut all = connect(version, "pieces", true, 60);
        all.extend(subscribe(version, "a", 0));
        all.extend(publish(version, 0, 0, "a", b"x"));
        all.extend([0xC0, 0]);
        let suback =
            if version == Version::V5 { &[0x90, 4, 0, 1, 0, 0][..] } else { &[0x90, 3, 0, 1, 0] };

        for pieces in [1, 2, 3, 7, all.len()] {
            let mut wire = Wire::open(gateway.mqtt);
            for piece in all.chunks(pieces) {
                wire.send(piece);
            }
            assert_eq!(wire.connack(version), (0, 0));
            // PINGRESP may overtake what the broker has to say.
            let mut got: Vec<Vec<u8>> = (0..3).map(|_| wire.packet()).collect();
            got.retain(|packet| packet[..] != [0xD0, 0]);
            assert_eq!(got, [suback.to_vec(), publish(version, 0, 0, "a", b"x")]);
        }
    }
}
