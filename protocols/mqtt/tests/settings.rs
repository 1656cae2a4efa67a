//! What settings of MQTT 5 change on the wire, and that a client may rely on what its CONNACK said.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod common;

use common::*;
use motegate_message::Reason;
use motegate_mqtt::{Config, PacketType, ReasonCode};

/// Code of a goodbye, after which the connection is closed.
#[track_caller]
fn goodbye(w: &mut World, conn: motegate_message::ConnectionId) -> u8 {
    let got = w.take(conn);
    assert!(w.closed.contains_key(&conn), "still open");
    assert_eq!(got[0], 0xe0, "{}", show(&got));
    got[2]
}

fn publish(first: u8, id: &str, properties: &str, payload: &str) -> String {
    let len = hex(properties).len();
    packet(first, &format!("{} {id} {len:02x} {properties} {payload}", field("t")))
}

/// [MQTT-3.1.2-28]: never unasked; choice 20: none unless there is something to say.
#[test]
fn response_information_on_request() {
    let text = format!("1a {}", field("reply/dev-7/"));
    for (prefix, asked, told) in [
        ("reply/", "19 01", true),
        ("reply/", "19 00", false),
        ("reply/", "", false),
        ("", "19 01", false),
    ] {
        let mut w = World::with(Config { response_prefix: prefix.into(), ..Config::default() });
        let c = w.open();
        w.send(c, &connect_bytes(5, 2, 60, asked, "dev-7"));
        let connack = show(&w.take(c));
        assert_eq!(connack.contains(&show(&hex(&text))), told, "{prefix} {asked}: {connack}");
    }
    // An assigned client id is part of it.
    let mut w = World::with(Config {
        response_prefix: "r/".into(),
        assigned_prefix: "field-".into(),
        ..Config::default()
    });
    let c = w.open();
    w.send(c, &connect_bytes(5, 2, 60, "19 01", ""));
    let connack = w.take(c);
    let text = String::from_utf8_lossy(&connack).into_owned();
    let id = w.sessions.keys().next().unwrap();
    assert!(id.starts_with("field-") && text.contains(&format!("r/{id}/")), "{text}");
}

/// MQTT 5 §4.11: whoever comes is sent elsewhere, and no session is made.
#[test]
fn clients_are_sent_to_another_server() {
    let reference = format!("1c {}", field("b.example:1883"));
    for (moved, code, phrase) in [(false, "9c", "use another server"), (true, "9d", "server moved")]
    {
        let mut w = World::with(Config {
            server_reference: "b.example:1883".into(),
            server_moved: moved,
            ..Config::default()
        });
        let answer = |properties: &str| {
            packet(0x20, &format!("00 {code} {:02x} {properties}", hex(properties).len()))
        };
        let c = w.open();
        w.send(c, &connect_bytes(5, 2, 60, "", "a"));
        let full = answer(&format!("{reference} 1f {}", field(phrase)));
        w.expect_close(c, &full, Reason::ServerMoved);
        // [MQTT-3.2.2-19]: the reason goes first, the reference last.
        let c = w.open();
        w.send(c, &connect_bytes(5, 2, 60, "27 0000001b", "a"));
        w.expect_close(c, &answer(&reference), Reason::ServerMoved);
        let c = w.open();
        w.send(c, &connect_bytes(5, 2, 60, "27 00000006", "a"));
        w.expect_close(c, &answer(""), Reason::ServerMoved);
        for level in [3, 4] {
            let c = w.open();
            w.send(c, &connect_bytes(level, 2, 60, "", "a"));
            w.expect_close(c, "20 02 00 03", Reason::ServerMoved);
        }
        assert!(w.sessions.is_empty());
    }
}

/// §2.21: 0x99 where an acknowledgement can say it, goodbye where none does.
#[test]
fn payloads_that_are_not_what_they_say() {
    let mut w = World::with(Config { validate_payload_format: true, ..Config::default() });
    let c = w.connect(&connect_bytes(5, 2, 60, "17 00", "a"));
    w.send(c, &publish(0x32, "0001", "01 01", "c3 28"));
    w.send(c, &publish(0x34, "0002", "01 01", "ff"));
    w.expect(c, "40 03 0001 99  50 03 0002 99");
    // A refused id is free again ([MQTT-4.3.3-9]), and what is UTF-8, or does not say so, passes.
    w.send(c, &publish(0x34, "0002", "01 01", "c3 a9"));
    w.send(c, &publish(0x32, "0003", "01 00", "ff"));
    w.send(c, &publish(0x32, "0004", "", "ff"));
    w.expect(c, "50 03 0002 10  40 03 0003 10  40 03 0004 10");
    assert_eq!(w.published.len(), 3);
    w.send(c, &publish(0x30, "", "01 01", "ff"));
    assert_eq!(goodbye(&mut w, c), 0x99);
    let c = w.open();
    let will = format!("02 01 01 {} 0001 ff", field("will"));
    w.send(c, &packet(0x10, &format!("{} 05 06 003c 00 {} {will}", field("MQTT"), field("b"))));
    let got = w.take(c);
    assert_eq!((got[0], got[3], w.closed[&c]), (0x20, 0x99, Reason::BadPayload));
    // Off by default.
    let mut w = World::new();
    let c = w.connect_v5("a", "");
    w.send(c, &publish(0x32, "0001", "01 01", "ff"));
    assert_eq!((w.take(c)[4], w.published.len()), (0x10, 1));
}

/// Choice 14: a refusal is answered, or ends the connection with the will due.
#[test]
fn a_denied_request_may_end_the_connection() {
    let denied = |disconnect: bool| {
        let mut w = World::with(Config { deny_disconnects: disconnect, ..Config::default() });
        w.script.refuse_publish = Some(Reason::AclDeny);
        w.script.refuse_filter.insert("t".into(), Reason::AclDeny);
        w
    };
    let subscribe = packet(0x82, &format!("0001 00 {} 01", field("t")));
    for request in [
        publish(0x30, "", "", "61"),
        publish(0x32, "0001", "", "61"),
        publish(0x34, "0001", "", "61"),
        subscribe.clone(),
    ] {
        let mut w = denied(false);
        let c = w.connect(&connect_with_will(5, "17 00", "a", "will"));
        w.send(c, &request);
        assert!(!w.closed.contains_key(&c), "{request}");
        let got = w.take(c);
        assert!(got.is_empty() && request.starts_with("30") || got[got.len() - 1] == 0x87);

        let mut w = denied(true);
        let c = w.connect(&connect_with_will(5, "", "a", "will"));
        w.send(c, &request);
        assert_eq!(goodbye(&mut w, c), 0x87, "{request}");
        assert_eq!((w.closed[&c], w.wills.len()), (Reason::AclDeny, 1));
    }
    let mut w = denied(true);
    let c = w.connect(&connect_with_will(4, "", "a", "will"));
    w.send(c, &packet(0x32, &format!("{} 0001 61", field("t"))));
    w.expect_close(c, "", Reason::AclDeny);
    // A refused QoS 2 publish is not held: sent again after the reconnect it counts.
    let mut w = denied(true);
    let c = w.resume_v5("a");
    w.send(c, &publish(0x34, "0001", "", "61"));
    assert_eq!(goodbye(&mut w, c), 0x87);
    w.script.refuse_publish = None;
    let c = w.resume_v5("a");
    w.send(c, &publish(0x3c, "0001", "", "61"));
    w.expect(c, "50 03 0001 10");
    assert_eq!(w.published.len(), 1);
}

/// [MQTT-3.3.2-12], [MQTT-3.2.2-15]: what a CONNACK granted holds while its connection lasts.
#[test]
fn a_reload_takes_nothing_back_that_was_granted() {
    let mut w = World::new();
    let old = w.connect_v5("old", "17 00");
    w.endpoint.reconfigure(Config {
        receive_maximum: 1,
        topic_alias_maximum: 2,
        max_packet_size: 64,
        max_qos: 0,
        retain_available: false,
        ..Config::default()
    });
    w.script.manual = true;
    w.send(old, &publish(0x35, "0001", "23 0040", "61"));
    w.send(old, &publish(0x35, "0002", "23 0040", &"61".repeat(100)));
    assert_eq!((w.events.len(), w.closed.len()), (2, 0));
    w.script.manual = false;
    for (request, code) in [
        (publish(0x32, "0001", "", "61"), 0x9b),
        (publish(0x31, "", "", "61"), 0x9a),
        (publish(0x30, "", "23 0003", "61"), 0x94),
        (publish(0x30, "", "", &"61".repeat(100)), 0x95),
    ] {
        let new = w.open();
        w.send(new, &connect_bytes(5, 2, 60, "", "new"));
        let connack = show(&w.take(new));
        assert!(connack.contains("21 00 01 24 00 25 00 27 00 00 00 40 22 00 02"), "{connack}");
        w.send(new, &request);
        assert_eq!(goodbye(&mut w, new), code);
    }
}

/// Who could not know that something is switched off is answered filter by filter.
#[test]
fn a_reload_refuses_filters_one_by_one() {
    let mut w = World::new();
    let c = w.connect_v5("old", "17 00");
    w.endpoint.reconfigure(Config {
        wildcard_subscriptions: false,
        shared_subscriptions: false,
        subscription_identifiers: false,
        ..Config::default()
    });
    let filters = format!("{} 01 {} 01 {} 01", field("a/+"), field("$share/g/t"), field("t"));
    w.send(c, &packet(0x82, &format!("0001 00 {filters}")));
    w.expect(c, "90 06 0001 00 a2 9e 01");
    w.send(c, &packet(0x82, &format!("0002 02 0b 07 {filters}")));
    w.expect(c, "90 06 0002 00 a1 a1 a1");
    // With the old settings back nothing needs to be remembered.
    w.endpoint.reconfigure(Config::default());
    w.send(c, &packet(0x82, &format!("0003 02 0b 07 {filters}")));
    w.expect(c, "90 06 0003 00 01 01 01");
}

/// §1.10: no packet leaves with a code that is not in its table, whoever asks for it.
#[test]
fn codes_outside_the_table_are_not_written() {
    use motegate_mqtt::packet::{Ack, ConnAck, Disconnect, Packet, SubAck};
    use motegate_mqtt::{Properties, Version, codec};
    let id = std::num::NonZeroU16::MIN;
    let properties = Properties::EMPTY;
    for code in ReasonCode::ALL.iter().copied() {
        let ack = Ack::new(id, code);
        let list = SubAck { id, properties, codes: vec![ReasonCode::Success, code] };
        for (kind, packet) in [
            (
                PacketType::ConnAck,
                Packet::ConnAck(ConnAck { session_present: false, code, properties }),
            ),
            (PacketType::PubAck, Packet::PubAck(ack)),
            (PacketType::PubRec, Packet::PubRec(ack)),
            (PacketType::PubRel, Packet::PubRel(ack)),
            (PacketType::PubComp, Packet::PubComp(ack)),
            (PacketType::SubAck, Packet::SubAck(list.clone())),
            (PacketType::UnsubAck, Packet::UnsubAck(list)),
            (PacketType::Disconnect, Packet::Disconnect(Disconnect { code, properties })),
        ] {
            let mut out = vec![7];
            let written = codec::encode(&packet, Version::V5, &mut out).is_ok();
            assert_eq!(
                (written, out.len() > 1),
                (code.is_of(kind), code.is_of(kind)),
                "{code:?} {kind:?}"
            );
        }
    }
}
