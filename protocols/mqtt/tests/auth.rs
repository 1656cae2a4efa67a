//! Enhanced authentication and the time that authentication may take (protocols/mqtt.md §1.2,
//! §2.15; MQTT 5 §3.15, §4.12). The mechanism is played by the test.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod common;

use std::time::Duration;

use common::{World, connect_bytes, connect_with_will, field, hex, packet};
use motegate_message::{ConnectionId, Qos, Reason, Seq, SessionId};
use motegate_mqtt::Config;
use motegate_mqtt::endpoint::{Accept, Event};

/// Method `X`, without and with data.
fn method() -> String {
    format!("15 {}", field("X"))
}

fn words(data: &str) -> String {
    format!("{} 16 {}", method(), field(data))
}

/// An AUTH packet.
fn auth(code: u8, properties: &str) -> String {
    let len = hex(properties).len();
    packet(0xf0, &format!("{code:02x} {len:02x} {properties}"))
}

/// CONNECT with method `X`.
fn connect(id: &str, data: &str) -> String {
    connect_bytes(5, 2, 60, &words(data), id)
}

fn refusal(code: u8, phrase: &str) -> String {
    let reason = format!("1f {}", field(phrase));
    packet(0x20, &format!("00 {code:02x} {:02x} {reason}", hex(&reason).len()))
}

fn goodbye(code: u8, phrase: &str) -> String {
    let reason = format!("1f {}", field(phrase));
    packet(0xe0, &format!("{code:02x} {:02x} {reason}", hex(&reason).len()))
}

fn out_of_turn() -> String {
    refusal(0x82, "protocol error")
}

/// A connection that has authenticated in one step.
fn authenticated(w: &mut World, id: &str) -> ConnectionId {
    let c = w.open();
    w.send(c, &connect(id, "a"));
    w.allow(c, None);
    assert_eq!(w.take(c)[3], 0);
    w.asked.clear();
    c
}

/// MQTT-4.12.0-2, -3, -5: challenge, answer, and a CONNACK that repeats the method.
#[test]
fn an_exchange_ends_in_the_connack() {
    let mut w = World::new();
    let c = w.open();
    w.send(c, &connect("a", "client first"));
    w.expect(c, "");
    w.challenge(c, "server first");
    w.expect(c, &auth(0x18, &words("server first")));
    w.send(c, &auth(0x18, &words("client final")));
    w.challenge(c, "one more");
    w.expect(c, &auth(0x18, &words("one more")));
    w.send(c, &auth(0x18, &method()));
    w.allow(c, Some("server final"));
    let properties = format!("21 0400 27 00200000 22 0040 {}", words("server final"));
    let length = hex(&properties).len();
    w.expect(c, &packet(0x20, &format!("00 00 {length:02x} {properties}")));
    assert_eq!(w.asked, ["X client first", "X client final", "X -"]);
    w.send(c, "c000");
    w.expect(c, "d000");
}

/// Data is optional, in CONNECT as in CONNACK (MQTT 5 §4.12).
#[test]
fn a_method_without_data_is_enough() {
    let mut w = World::new();
    let c = w.open();
    w.send(c, &connect_bytes(5, 2, 60, &method(), "a"));
    w.allow(c, None);
    let properties = format!("21 0400 27 00200000 22 0040 {}", method());
    w.expect(c, &packet(0x20, &format!("00 00 {:02x} {properties}", hex(&properties).len())));
    assert_eq!(w.asked, ["X -"]);
}

/// MQTT-4.12.0-1, -4: a CONNACK with a code and the close; never AUTH, never DISCONNECT.
#[test]
fn a_failure_is_a_connack() {
    let mut w = World::new();
    for (reason, code, phrase) in [
        (Reason::AuthFailed, 0x87, "not authorized"),
        (Reason::AuthMethod, 0x8c, "authentication method not supported"),
        (Reason::Overloaded, 0x89, "server busy"),
        (Reason::LockedOut, 0x8a, "banned"),
    ] {
        for challenged in [false, true] {
            let c = w.open();
            w.send(c, &connect("a", "x"));
            if challenged {
                w.challenge(c, "y");
                w.take(c);
                w.send(c, &auth(0x18, &words("z")));
            }
            w.deny(c, reason);
            w.expect_close(c, &refusal(code, phrase), reason);
        }
    }
    assert!(w.sessions.is_empty() && w.log.is_empty());
}

/// MQTT-3.1.2-30: until the CONNACK a client sends AUTH and DISCONNECT only.
#[test]
fn nothing_else_is_taken_before_the_connack() {
    let publish = packet(0x30, &format!("{} 00 \"x\"", field("t")));
    let others = [
        publish.clone(),
        "c000".into(),
        packet(0x82, &format!("0001 00 {} 00", field("t"))),
        connect("a", "x"),
        "30".into(), // by the first byte
    ];
    for bytes in &others {
        // In the client's turn …
        let mut w = World::new();
        let c = w.open();
        w.send(c, &connect("a", "x"));
        w.challenge(c, "y");
        w.take(c);
        w.send(c, bytes);
        w.expect_close(c, &out_of_turn(), Reason::ProtocolError);
        // … in the server's …
        let c = w.open();
        w.send(c, &connect("b", "x"));
        w.send(c, bytes);
        w.expect_close(c, &out_of_turn(), Reason::ProtocolError);
        w.allow(c, None); // finds nobody
        w.expect(c, "");
        // … and in one piece with the packet before.
        let c = w.open();
        w.send(c, &(connect("c", "x") + bytes));
        w.expect_close(c, &out_of_turn(), Reason::ProtocolError);
        let c = w.open();
        w.send(c, &connect("d", "x"));
        w.challenge(c, "y");
        w.take(c);
        w.send(c, &(auth(0x18, &words("z")) + bytes));
        w.expect_close(c, &out_of_turn(), Reason::ProtocolError);
        assert!(w.published.is_empty());
    }
}

/// The CONNACK waits for a commit: the exchange is not over for the client.
#[test]
fn nothing_else_is_taken_while_the_connack_waits_for_its_commit() {
    let mut w = World::durable();
    w.script.manual = true;
    let c = w.open();
    w.send(c, &connect("a", "x"));
    let turn = w.turn();
    let accept = Accept { session: SessionId::new(0, 0), present: false, after: Seq(7) };
    w.endpoint.authenticated(&turn, c, None);
    w.endpoint.accept(&turn, c, accept);
    w.send(c, "c000");
    w.expect_close(c, &out_of_turn(), Reason::ProtocolError);
}

/// An AUTH that nobody asked for is a protocol error.
#[test]
fn each_side_waits_for_its_turn() {
    for bytes in [
        auth(0x18, &words("again")), // while the verdict is under way
        auth(0x19, &words("anew")),
    ] {
        let mut w = World::new();
        let c = w.open();
        w.send(c, &connect("a", "x"));
        w.send(c, &bytes);
        w.expect_close(c, &out_of_turn(), Reason::ProtocolError);
    }
    let mut w = World::new();
    let c = w.open();
    w.send(c, &connect("a", "x"));
    w.challenge(c, "y");
    w.take(c);
    w.send(c, &auth(0x19, &words("z"))); // no re-authentication before the first
    w.expect_close(c, &out_of_turn(), Reason::ProtocolError);
}

/// MQTT-4.12.0-5, -6: one method from the first packet to the last.
#[test]
fn the_method_stays() {
    for properties in [format!("15 {}", field("Y")), String::new()] {
        let mut w = World::new();
        let c = w.open();
        w.send(c, &connect("a", "x"));
        w.challenge(c, "y");
        w.take(c);
        w.send(c, &auth(0x18, &properties));
        w.expect_close(c, &out_of_turn(), Reason::ProtocolError);
        // MQTT-4.12.1-1
        let c = authenticated(&mut w, "b");
        w.send(c, &auth(0x19, &properties));
        w.expect_close(c, &goodbye(0x82, "protocol error"), Reason::ProtocolError);
    }
}

/// MQTT-3.15.2-1, MQTT-2.1.3-1, MQTT 5 §3.15.2.2: codes of the table, well-formed properties.
#[test]
fn a_bad_auth_is_answered_by_its_class() {
    for (bytes, code) in [
        (auth(0x00, &words("z")), 0x82), // the server's code
        (auth(0x87, &words("z")), 0x82),
        ("f0 00".into(), 0x82),
        (packet(0xf1, &format!("18 05 {}", method())), 0x81),
        (auth(0x18, &format!("{} {}", method(), method())), 0x82),
        (auth(0x18, "16 0001 41"), 0x82), // data without a method
        (auth(0x18, &format!("{} 21 0001", method())), 0x81),
        (packet(0xf0, "18 09 15"), 0x81),
    ] {
        let mut w = World::new();
        let c = w.open();
        w.send(c, &connect("a", "x"));
        w.challenge(c, "y");
        w.take(c);
        w.send(c, &bytes);
        let got = w.take(c);
        assert_eq!((got[0], got[3]), (0x20, code), "{bytes}");
        let c = authenticated(&mut w, "b");
        w.send(c, &bytes);
        let got = w.take(c);
        assert_eq!((got[0], got[2]), (0xe0, code), "{bytes}");
    }
}

/// MQTT-4.12.0-7, MQTT-4.12.1-1: whoever named no method sends no AUTH.
#[test]
fn no_method_no_auth() {
    let mut w = World::new();
    for code in [0x18, 0x19] {
        let c = w.connect_v5("b", "");
        w.send(c, &auth(code, &words("x")));
        w.expect_close(c, &goodbye(0x82, "protocol error"), Reason::ProtocolError);
    }
    let c = w.connect_311("c");
    w.send(c, "f0 00");
    w.expect_close(c, "", Reason::Malformed);
    // Data without a method (MQTT 5 §3.1.2.11.10).
    let c = w.open();
    w.send(c, &connect_bytes(5, 2, 60, "16 0001 41", "a"));
    w.expect_close(c, &out_of_turn(), Reason::ProtocolError);
}

/// MQTT-4.12.1-1, -2: the old identity holds until the new one is proved, and traffic goes on.
#[test]
fn traffic_goes_on_while_a_client_authenticates_again() {
    let mut w = World::new();
    let c = authenticated(&mut w, "a");
    w.send(c, &packet(0x82, &format!("0001 00 {} 01", field("t"))));
    w.take(c);
    w.send(c, &(auth(0x19, &words("first")) + "c000"));
    w.expect(c, "d000");
    w.inject("t", Qos::AtMostOnce, b"1");
    assert_eq!(w.take(c)[0], 0x30);
    w.challenge(c, "tell me");
    w.expect(c, &auth(0x18, &words("tell me")));
    w.send(c, &packet(0x30, &format!("{} 00 \"x\"", field("u"))));
    assert_eq!(w.published.len(), 1);
    w.send(c, &auth(0x18, &words("final")));
    w.allow(c, Some("well done"));
    w.expect(c, &auth(0x00, &words("well done")));
    assert_eq!(w.asked, ["X first again", "X final"]);
    // And once more, in one step.
    w.send(c, &auth(0x19, &method()));
    w.allow(c, None);
    w.expect(c, &auth(0x00, &method()));
    assert!(w.log.is_empty(), "{:?}", w.log);
}

/// A failure ends the connection, its will is due, and there is no second CONNACK.
#[test]
fn a_failed_re_authentication_disconnects() {
    let mut w = World::new();
    let c = w.open();
    w.send(c, &connect_with_will(5, &words("a"), "a", "will"));
    w.allow(c, None);
    w.take(c);
    w.send(c, &auth(0x19, &words("b")));
    w.deny(c, Reason::AuthFailed);
    w.expect_close(c, &goodbye(0x87, "not authorized"), Reason::AuthFailed);
    assert_eq!(w.log, ["disconnected auth_failed drop_will=false"]);
    assert_eq!(w.wills.len(), 1);
}

/// Two exchanges at once are a protocol error, in whoever's turn it is.
#[test]
fn one_re_authentication_at_a_time() {
    for challenged in [false, true] {
        let mut w = World::new();
        let c = authenticated(&mut w, "a");
        w.send(c, &auth(0x19, &words("b")));
        if challenged {
            w.challenge(c, "c");
            w.take(c);
        }
        w.send(c, &auth(0x19, &words("b")));
        w.expect_close(c, &goodbye(0x82, "protocol error"), Reason::ProtocolError);
    }
    let mut w = World::new();
    let c = authenticated(&mut w, "a");
    w.send(c, &auth(0x18, &words("b"))); // an answer to nothing
    w.expect_close(c, &goodbye(0x82, "protocol error"), Reason::ProtocolError);
}

/// `auth_timeout`: CONNACK 0x87, in MQTT 3 return code 5; the steps share it.
#[test]
fn authentication_has_its_time() {
    let mut w =
        World::with(Config { connect_timeout: Duration::from_secs(1), ..Config::default() });
    let c = w.open();
    w.send(c, &connect("a", "x"));
    w.advance(Duration::from_secs(10));
    w.challenge(c, "y");
    w.take(c);
    w.advance(Duration::from_millis(4999));
    w.expect(c, "");
    w.advance(Duration::from_millis(1));
    w.expect_close(c, &refusal(0x87, "not authorized"), Reason::AuthTimeout);

    // Waiting for a password's verdict, of both versions.
    for (level, answer) in [(4, "20020005".to_owned()), (5, refusal(0x87, "not authorized"))] {
        let mut w = World::new();
        w.script.manual = true;
        let c = w.open();
        w.send(c, &connect_bytes(level, 2, 60, "", "a"));
        w.advance(Duration::from_secs(15));
        w.expect_close(c, &answer, Reason::AuthTimeout);
        assert!(!w.endpoint.is_connecting(c));
    }

    // A re-authentication, while the keep alive is served.
    let mut w = World::new();
    let c = authenticated(&mut w, "a");
    w.send(c, &auth(0x19, &words("b")));
    w.advance(Duration::from_secs(14));
    w.send(c, "c000");
    w.take(c);
    w.advance(Duration::from_secs(1));
    w.expect_close(c, &goodbye(0x87, "not authorized"), Reason::AuthTimeout);

    // Once it is through, no deadline is left.
    let c = authenticated(&mut w, "b");
    w.send(c, &auth(0x19, &words("b")));
    w.allow(c, None);
    w.take(c);
    w.advance(Duration::from_secs(60));
    w.expect(c, "");
}

/// DISCONNECT in the middle of an exchange is no protocol error; there is no session to end.
#[test]
fn a_client_may_give_up() {
    let mut w = World::new();
    let c = w.open();
    w.send(c, &connect("a", "x"));
    w.challenge(c, "y");
    w.take(c);
    w.send(c, "e0 00");
    w.expect_close(c, "", Reason::ClientDisconnect);
    // In the server's turn it waits for its answer.
    let c = w.open();
    w.send(c, &connect("b", "x"));
    w.send(c, "e0 00");
    w.expect(c, "");
    w.challenge(c, "y");
    w.expect_close(c, &auth(0x18, &words("y")), Reason::ClientDisconnect);
    assert!(w.log.is_empty());
}

/// A connection that is lost during its exchange is forgotten at once; a late verdict finds nobody.
#[test]
fn a_lost_connection_takes_its_exchange_along() {
    for challenged in [false, true] {
        let mut w = World::new();
        let c = w.open();
        w.send(c, &connect("a", "x"));
        if challenged {
            w.challenge(c, "y");
            w.take(c);
        }
        w.lose(c);
        assert!(!w.endpoint.is_connecting(c));
        w.advance(Duration::from_secs(60));
        assert_eq!(w.endpoint.poll_timeout(), None);
        w.challenge(c, "z");
        w.deny(c, Reason::AuthFailed);
        let turn = w.turn();
        let accept = Accept { session: SessionId::new(0, 0), present: false, after: Seq::NONE };
        w.endpoint.accept(&turn, c, accept);
        assert!(matches!(w.endpoint.poll_event(), Some(Event::Disconnected { .. })));
        w.expect(c, "");
    }
}

/// MQTT-3.1.2-24 holds for AUTH, too; and ours for what a client sends before it has proved itself.
#[test]
fn an_auth_has_its_largest_size() {
    let mut w = World::new();
    let c = w.open();
    let small = format!("27 00000020 {}", words("x"));
    w.send(c, &connect_bytes(5, 2, 60, &small, "a"));
    w.challenge(c, "a challenge of more than thirty-two bytes");
    w.expect_close(c, &refusal(0x95, "packet too large"), Reason::TooLarge);

    let mut w = World::with(Config { max_connect_size: 100, ..Config::default() });
    let c = w.open();
    w.send(c, &connect("a", "x"));
    w.challenge(c, "y");
    w.take(c);
    w.send(c, "f0 64");
    w.expect_close(c, &refusal(0x95, "packet too large"), Reason::TooLarge);
}

/// The wire state of the session is taken over as with any CONNECT; the old connection is not
/// touched before the new one has proved itself (mqtt.md §2.1(a)).
#[test]
fn a_takeover_waits_for_the_proof() {
    let mut w = World::new();
    let old = w.connect_v5("a", "");
    let new = w.open();
    w.send(new, &connect("a", "x"));
    w.challenge(new, "y");
    w.take(new);
    w.send(old, "c000");
    w.expect(old, "d000");
    w.send(new, &auth(0x18, &words("wrong")));
    w.deny(new, Reason::AuthFailed);
    w.send(old, "c000");
    w.expect(old, "d000");
    let new = w.open();
    w.send(new, &connect("a", "x"));
    w.allow(new, None);
    assert_eq!(w.take(new)[3], 0);
    assert_eq!(w.closed.get(&old), Some(&Reason::TakenOver));
}
