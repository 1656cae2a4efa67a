//! Topics and filters at their edges: length, depth, bytes that look alike; UNSUBSCRIBE.

use motegate_tests::gateway::{Gateway, binary};
use motegate_tests::wire::{VERSIONS, Version, Wire, packet, publish, string, subscribe};

use crate::{MALFORMED, STRICT, finish, refused, suback};

fn unsubscribe(version: Version, filters: &[&str]) -> Vec<u8> {
    let properties: &[u8] = if version == Version::V5 { &[0] } else { &[] };
    let filters: Vec<u8> = filters.iter().flat_map(string).collect();
    packet(0xA2, &[&[0, 1], properties, &filters].concat())
}

fn unsuback(version: Version, codes: &[u8]) -> Vec<u8> {
    match version {
        Version::V5 => packet(0xB0, &[&[0, 1, 0], codes].concat()),
        _ => vec![0xB0, 2, 0, 1],
    }
}

fn listen(wire: &mut Wire, version: Version, filter: &str, qos: u8) {
    wire.send(&subscribe(version, filter, qos));
    wire.expect(&suback(version, &[qos]));
}

/// [MQTT-3.10.4-1], [MQTT-3.10.4-5]: byte for byte, without wildcards and without likeness.
#[test]
fn only_the_very_filter_is_unsubscribed() {
    let gateway = Gateway::dev();
    for version in VERSIONS {
        let mut wire = Wire::connect(gateway.mqtt, version, "case");
        listen(&mut wire, version, "a/b", 0);
        for other in ["a/+", "+/b", "#", "A/b", "a/b/", "/a/b", "a/b/#"] {
            wire.send(&unsubscribe(version, &[other]));
            wire.expect(&unsuback(version, &[0x11]));
            wire.send(&publish(version, 0, 0, "a/b", b"x"));
            wire.expect(&publish(version, 0, 0, "a/b", b"x"));
        }
        listen(&mut wire, version, "a/+", 0);
        wire.send(&unsubscribe(version, &["a/+"]));
        wire.expect(&unsuback(version, &[0]));
        wire.send(&publish(version, 0, 0, "a/b", b"x"));
        wire.expect(&publish(version, 0, 0, "a/b", b"x"));
        wire.send(&publish(version, 0, 0, "a/c", b"x"));
        wire.alive();
    }
}

/// [MQTT-3.10.4-6]: several filters in one packet, one answer.
#[test]
fn several_filters_are_unsubscribed_at_once() {
    let gateway = Gateway::dev();
    for version in VERSIONS {
        let mut wire = Wire::connect(gateway.mqtt, version, "case");
        for filter in ["a", "b", "c"] {
            listen(&mut wire, version, filter, 0);
        }
        wire.send(&unsubscribe(version, &["a", "never", "c", "a"]));
        wire.expect(&unsuback(version, &[0, 0x11, 0, 0x11]));
        for topic in ["a", "c", "b"] {
            wire.send(&publish(version, 0, 0, topic, b"x"));
        }
        wire.expect(&publish(version, 0, 0, "b", b"x"));
        wire.alive();
    }
}

/// [MQTT-3.10.4-2], [MQTT-3.10.4-3]: nothing new, but what was begun is finished.
#[test]
fn what_was_begun_is_finished_after_unsubscribing() {
    let gateway = Gateway::dev();
    for version in VERSIONS {
        let mut wire = Wire::connect(gateway.mqtt, version, "case");
        listen(&mut wire, version, "a", 2);
        let mut publisher = Wire::connect(gateway.mqtt, version, "publisher");
        let mut put = |flags: u8| {
            publisher.send(&publish(version, flags, 9, "a", b"x"));
            finish(&mut publisher, flags);
        };
        put(2);
        put(4);
        put(4);
        wire.expect(&publish(version, 2, 1, "a", b"x"));
        wire.expect(&publish(version, 4, 2, "a", b"x"));
        wire.expect(&publish(version, 4, 3, "a", b"x"));
        wire.send(&packet(0x50, &[0, 3]));
        wire.expect(&packet(0x62, &[0, 3]));
        wire.send(&unsubscribe(version, &["a"]));
        wire.expect(&unsuback(version, &[0]));
        put(2);
        wire.send(&packet(0x40, &[0, 1]));
        wire.send(&packet(0x50, &[0, 2]));
        wire.expect(&packet(0x62, &[0, 2]));
        wire.send(&packet(0x70, &[0, 2]));
        wire.send(&packet(0x70, &[0, 3]));
        wire.alive();
    }
}

/// [MQTT-3.10.3-1], 5.0 [MQTT-3.10.3-1].
#[test]
fn filters_of_unsubscribe_are_utf_8() {
    let gateway = Gateway::dev();
    for text in [&[b'a', 0x80][..], &[0xC0, 0xAF], &[0xED, 0xA0, 0x80], &[b'a', 0]] {
        refused(&gateway, &format!("{text:02x?}"), MALFORMED, |version| {
            let properties: &[u8] = if version == Version::V5 { &[0] } else { &[] };
            packet(0xA2, &[&[0, 1], properties, &string(text)].concat())
        });
    }
}

/// [MQTT-4.7.3-3], [MQTT-4.7.1-3]: 65,535 bytes, as a topic and as a filter.
#[test]
fn the_longest_topic() {
    let gateway = Gateway::dev();
    let topic = "x".repeat(65_535);
    for version in VERSIONS {
        let mut wire = Wire::connect(gateway.mqtt, version, "case");
        for filter in [&topic[..], "+"] {
            listen(&mut wire, version, filter, 0);
        }
        wire.send(&publish(version, 0, 0, &topic[1..], b"shorter"));
        wire.expect(&publish(version, 0, 0, &topic[1..], b"shorter"));
        wire.send(&publish(version, 3, 9, &topic, b"x"));
        let mut first = [wire.packet()[0], wire.packet()[0]];
        first.sort_unstable();
        assert_eq!(first, [0x30, 0x40]);
        wire.send(&unsubscribe(version, &["+"]));
        wire.expect(&unsuback(version, &[0]));
        listen(&mut wire, version, &topic, 0);
        wire.expect(&publish(version, 1, 0, &topic, b"x"));
        wire.send(&publish(version, 1, 0, &topic, b""));
        wire.expect(&publish(version, 0, 0, &topic, b""));
        wire.alive();
    }
}

/// 65,535 slashes are 65,536 levels: matched where the bound allows them, refused where not, and
/// never a recursion.
#[test]
fn the_deepest_topic() {
    let slashes = "/".repeat(65_535);
    let gateway = Gateway::dev();
    refused(&gateway, "as a topic", 0x90, |version| publish(version, 0, 0, &slashes, b""));
    refused(&gateway, "as a filter", 0x8F, |version| subscribe(version, &slashes, 0));
    let gateway = Gateway::run("limits: {max_topic_levels: 65536}\n");
    let plus = "+/".repeat(32_767) + "+"; // 32,768 levels in as many bytes as there can be
    for version in STRICT {
        let mut wire = Wire::connect(gateway.mqtt, version, "case");
        for filter in [&slashes[..], &plus, "/#"] {
            listen(&mut wire, version, filter, 0);
        }
        wire.send(&publish(version, 1, 0, &slashes, b"x"));
        wire.expect(&publish(version, 0, 0, &slashes, b"x"));
        wire.send(&publish(version, 0, 0, &"/".repeat(32_767), b"y"));
        wire.expect(&publish(version, 0, 0, &"/".repeat(32_767), b"y"));
        listen(&mut wire, version, "#", 0);
        wire.expect(&publish(version, 1, 0, &slashes, b"x"));
        wire.alive();
        drop(wire);
        let mut wire = Wire::connect(gateway.mqtt, version, "case");
        wire.send(&publish(version, 1, 0, &slashes, b""));
        wire.alive();
    }
}

/// Choice 1 with `utf8: lenient`: through the broker, retained, and below a mount.
#[test]
fn control_characters_where_they_are_let_pass() {
    let text = "version: 1\ndurability: none\nmqtt: {utf8: lenient}\nlisteners:\n  \
                - {protocol: mqtt, bind: \"127.0.0.1:0\", anonymous: true, mount: m/}\n  \
                - {protocol: mqttsn, bind: \"127.0.0.1:0\", anonymous: true}\n  \
                - {protocol: coap, bind: \"127.0.0.1:0\", anonymous: true}\n";
    let gateway = Gateway::of_file(&binary(), &["run"], text);
    for version in VERSIONS {
        let mut wire = Wire::connect(gateway.mqtt, version, "a\u{7}");
        listen(&mut wire, version, "+/\u{1}", 0);
        wire.send(&publish(version, 1, 0, "\u{ffff}/\u{1}", b"x"));
        wire.expect(&publish(version, 0, 0, "\u{ffff}/\u{1}", b"x"));
        listen(&mut wire, version, "\u{ffff}/#", 0);
        wire.expect(&publish(version, 1, 0, "\u{ffff}/\u{1}", b"x"));
        wire.send(&publish(version, 1, 0, "\u{ffff}/\u{1}", b""));
        wire.expect(&publish(version, 0, 0, "\u{ffff}/\u{1}", b""));
        wire.send_regardless(&publish(version, 0, 0, "a\0", b""));
        wire.refused(version, MALFORMED);
    }
}

/// [MQTT-4.7.3-4]: nothing is made alike, neither case nor composed characters nor slashes.
#[test]
fn alike_is_not_the_same() {
    let gateway = Gateway::dev();
    let cases = [
        ("a", "A"),
        ("\u{e9}", "e\u{301}"),
        ("\u{212b}", "\u{c5}"),
        ("\u{fb01}", "fi"),
        ("a", "a/"),
        ("a", "/a"),
        ("a//b", "a/b"),
        ("a b", "a\u{a0}b"),
        ("a", " a"),
        ("./a", "a"),
        ("%61", "a"),
        ("\u{feff}a", "a"),
    ];
    for version in STRICT {
        let mut wire = Wire::connect(gateway.mqtt, version, "case");
        for (one, other) in cases {
            for (filter, topic) in [(one, other), (other, one)] {
                listen(&mut wire, version, filter, 0);
                wire.send(&publish(version, 0, 0, topic, b"other"));
                wire.send(&publish(version, 0, 0, filter, b"same"));
                wire.expect(&publish(version, 0, 0, filter, b"same"));
                wire.send(&unsubscribe(version, &[topic, filter]));
                wire.expect(&unsuback(version, &[0x11, 0]));
            }
        }
    }
}
