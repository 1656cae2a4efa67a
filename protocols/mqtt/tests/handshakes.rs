//! Both QoS tables of protocols/mqtt.md §2.9, cell by cell, in every version: what is answered,
//! whether the connection ends, what becomes of the message, and what a resume sends.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod common;

use common::{World, connect_bytes, field, hex, packet, show};
use motegate_message::{ConnectionId, Qos, Reason};

const LEVELS: [u8; 3] = [3, 4, 5];

/// Not clean, session expiry 1 h, no reason strings.
fn connect(level: u8) -> String {
    let properties = if level == 5 { "11 00000e10 17 00" } else { "" };
    connect_bytes(level, 0, 60, properties, "c")
}

/// The properties of a packet without any.
fn none(level: u8) -> &'static str {
    if level == 5 { "00" } else { "" }
}

fn publish(level: u8, first: u8, id: u16, payload: &str) -> String {
    packet(first, &format!("{} {id:04x} {} \"{payload}\"", field("t"), none(level)))
}

/// An acknowledgement with a code that only 5.0 can say; 0 is left out there, too.
fn ack(level: u8, first: u8, id: u16, code: u8) -> String {
    let code = if level == 5 && code != 0 { format!("{code:02x}") } else { String::new() };
    packet(first, &format!("{id:04x} {code}"))
}

/// What happened to a delivery.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Outcome {
    /// It goes on.
    Open,
    /// It is over and its id is free.
    Done,
    /// The connection ended for a protocol error.
    Fault,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Sent {
    /// PUBLISH at QoS 1.
    One,
    /// PUBLISH at QoS 2.
    Two,
    /// PUBREL.
    Released,
}

/// A subscriber that has one delivery of ours, under packet id 1, in this state.
fn delivering(w: &mut World, level: u8, sent: Sent) -> ConnectionId {
    let c = w.connect(&connect(level));
    w.send(c, &packet(0x82, &format!("0009 {} {} 02", none(level), field("t"))));
    w.take(c);
    let qos = if sent == Sent::One { Qos::AtLeastOnce } else { Qos::ExactlyOnce };
    w.inject("t", qos, b"x");
    w.expect(c, &publish(level, 0x30 | (qos as u8) << 1, 1, "x"));
    if sent == Sent::Released {
        w.send(c, &ack(level, 0x50, 1, 0));
        w.expect(c, &ack(level, 0x62, 1, 0));
    }
    w.log.clear();
    c
}

/// What a resume sends for a delivery in this state. [MQTT-4.4.0-1], [MQTT-4.3.3-1]
fn repeat(level: u8, sent: Sent) -> String {
    match sent {
        Sent::One => publish(level, 0x3a, 1, "x"),
        Sent::Two => publish(level, 0x3c, 1, "x"),
        Sent::Released => ack(level, 0x62, 1, 0),
    }
}

/// Loses the connection and connects again: what comes behind the CONNACK.
fn resumed(w: &mut World, level: u8, old: ConnectionId) -> (ConnectionId, String) {
    w.lose(old);
    let c = w.open();
    w.send(c, &connect(level));
    let got = w.take(c);
    let len = 2 + usize::from(got[1]);
    assert_eq!(got[..1], [0x20]);
    (c, show(&got[len..]))
}

fn judge(w: &mut World, level: u8, c: ConnectionId, state: Sent, cell: (&str, &str, Outcome)) {
    let (name, answer, outcome) = cell;
    let story = format!("level {level}, {state:?}, {name}");
    let got = w.take(c);
    match outcome {
        Outcome::Fault => {
            // Whatever Request Problem Information says, DISCONNECT may explain itself.
            let goodbye = packet(0xe0, &format!("82 11 1f {}", field("protocol error")));
            let goodbye = if level == 5 { goodbye } else { String::new() };
            assert_eq!(show(&got), show(&hex(&goodbye)), "{story}");
            assert_eq!(w.closed.get(&c), Some(&Reason::ProtocolError), "{story}");
        }
        _ => {
            assert_eq!(show(&got), show(&hex(answer)), "{story}");
            assert_eq!(w.closed.get(&c), None, "{story}");
        }
    }
    let done = w.log.iter().any(|line| line == "acked 1");
    assert_eq!(done, outcome == Outcome::Done, "{story}");
    // The state is seen in what a resume sends; a PUBREC has moved it on.
    let state = if name == "PUBREC" && state == Sent::Two { Sent::Released } else { state };
    let (_, got) = resumed(w, level, c);
    let wanted = if done { String::new() } else { repeat(level, state) };
    assert_eq!(got, show(&hex(&wanted)), "{story}, resumed");
}

/// [MQTT-4.3.2-1], [MQTT-4.3.3-1], 5.0 [MQTT-4.3.3-3] to [MQTT-4.3.3-6].
#[test]
fn the_senders_table() {
    use Outcome::{Done, Fault, Open};
    for level in LEVELS {
        let release = ack(level, 0x62, 1, 0);
        let cells = [
            (Sent::One, 0x40, 0, ("PUBACK", "", Done)),
            (Sent::One, 0x50, 0, ("PUBREC", "", Fault)),
            (Sent::One, 0x70, 0, ("PUBCOMP", "", Fault)),
            (Sent::Two, 0x40, 0, ("PUBACK", "", Fault)),
            (Sent::Two, 0x50, 0, ("PUBREC", &release, Open)),
            (Sent::Two, 0x70, 0, ("PUBCOMP", "", Fault)),
            (Sent::Released, 0x40, 0, ("PUBACK", "", Fault)),
            (Sent::Released, 0x50, 0, ("PUBREC", &release, Open)),
            (Sent::Released, 0x70, 0, ("PUBCOMP", "", Done)),
        ];
        let refusals = [
            (Sent::One, 0x40, 0x87, ("PUBACK 87", "", Done)),
            (Sent::One, 0x50, 0x87, ("PUBREC 87", "", Fault)),
            (Sent::One, 0x70, 0x92, ("PUBCOMP 92", "", Fault)),
            (Sent::Two, 0x40, 0x87, ("PUBACK 87", "", Fault)),
            (Sent::Two, 0x50, 0x87, ("PUBREC 87", "", Done)),
            (Sent::Two, 0x70, 0x92, ("PUBCOMP 92", "", Fault)),
            (Sent::Released, 0x40, 0x87, ("PUBACK 87", "", Fault)),
            (Sent::Released, 0x50, 0x87, ("PUBREC 87", "", Done)),
            (Sent::Released, 0x70, 0x92, ("PUBCOMP 92", "", Done)),
        ];
        let refusals = refusals.into_iter().filter(|_| level == 5);
        for (state, first, code, cell) in cells.into_iter().chain(refusals) {
            let mut w = World::new();
            let c = delivering(&mut w, level, state);
            w.send(c, &ack(level, first, 1, code));
            judge(&mut w, level, c, state, cell);
        }
    }
}

/// Nobody's id: ignored and counted, but PUBREC is answered, so that the client can forget it.
#[test]
fn acknowledgements_of_unknown_ids() {
    for level in LEVELS {
        let mut w = World::new();
        let c = delivering(&mut w, level, Sent::Two);
        w.send(c, &(ack(level, 0x40, 7, 0) + &ack(level, 0x70, 7, 0)));
        w.expect(c, "");
        w.send(c, &ack(level, 0x50, 7, 0));
        w.expect(c, &ack(level, 0x62, 7, 0x92));
        let mut count = 3;
        if level == 5 {
            w.send(c, "50 03 0007 80 40 03 0007 80 70 03 0007 92");
            w.expect(c, "");
            count = 6;
        }
        assert_eq!((w.closed.len(), w.log.len()), (0, 0));
        assert_eq!(w.endpoint.counters().unknown_acks, count);
        // The delivery beside it goes on.
        w.send(c, &ack(level, 0x50, 1, 0));
        w.expect(c, &ack(level, 0x62, 1, 0));
    }
}

/// [MQTT-2.3.1-3], [MQTT-4.3.3-1]: a released id stays taken until PUBCOMP, across a resume, too.
#[test]
fn a_released_id_is_not_given_again() {
    for level in LEVELS {
        let mut w = World::new();
        let c = delivering(&mut w, level, Sent::Released);
        w.inject("t", Qos::AtLeastOnce, b"x");
        w.expect(c, &publish(level, 0x32, 2, "x"));
        let (c, got) = resumed(&mut w, level, c);
        assert_eq!(got, show(&hex(&(ack(level, 0x62, 1, 0) + &publish(level, 0x3a, 2, "x")))));
        w.inject("t", Qos::AtLeastOnce, b"x");
        w.expect(c, &publish(level, 0x32, 3, "x"));
    }
}

/// What the answer to a PUBLISH at QoS 2 that nobody subscribes to says.
fn received(level: u8, id: u16) -> String {
    ack(level, 0x50, id, 0x10)
}

/// [MQTT-4.3.3-2], 5.0 [MQTT-4.3.3-8] to [MQTT-4.3.3-12]: on one connection, after a resume, and
/// after a crash.
#[test]
fn the_receivers_table() {
    for level in LEVELS {
        for again in ["at once", "after a resume", "after a crash"] {
            let mut w = World::durable();
            let story = format!("level {level}, {again}");
            let away = |w: &mut World, c: ConnectionId| match again {
                "at once" => c,
                "after a resume" => resumed(w, level, c).0,
                _ => {
                    w.crash();
                    let c = w.open();
                    w.send(c, &connect(level));
                    w.take(c);
                    c
                }
            };
            let c = w.connect(&connect(level));
            // Unknown: PUBREL is answered and closes nothing.
            w.send(c, &ack(level, 0x62, 5, 0));
            w.expect(c, &ack(level, 0x70, 5, 0x92));
            // Unknown: routed once, then held. DUP on an unknown id means nothing.
            w.send(c, &publish(level, 0x3c, 5, "one"));
            w.expect(c, &received(level, 5));
            assert_eq!(w.published.len(), 1, "{story}");
            let c = away(&mut w, c);
            // Held: answered, not delivered, with DUP and without.
            for first in [0x3c, 0x34] {
                w.send(c, &publish(level, first, 5, "one"));
                w.expect(c, &ack(level, 0x50, 5, 0));
            }
            assert_eq!(w.published.len(), 1, "{story}");
            // Another id is another message.
            w.send(c, &publish(level, 0x34, 6, "one"));
            w.expect(c, &received(level, 6));
            assert_eq!(w.published.len(), 2, "{story}");
            let c = away(&mut w, c);
            // Released: 00, also where it was held before.
            w.send(c, &ack(level, 0x62, 5, 0));
            w.expect(c, &ack(level, 0x70, 5, 0));
            let c = away(&mut w, c);
            w.send(c, &ack(level, 0x62, 5, 0));
            w.expect(c, &ack(level, 0x70, 5, 0x92));
            // Free: the same packet is a new message.
            w.send(c, &publish(level, 0x3c, 5, "one"));
            w.expect(c, &received(level, 5));
            assert_eq!(w.published.len(), 3, "{story}");
            assert!(w.closed.is_empty(), "{story}");
        }
    }
}

/// Refused with PUBREC ≥ 80 it is not held. Before 5.0 there is no refusal: it is acknowledged,
/// and the handshake goes on as if it had been taken.
#[test]
fn a_refused_publish_is_not_held() {
    for level in LEVELS {
        let mut w = World::new();
        let c = w.connect(&connect(level));
        w.script.refuse_publish = Some(Reason::AclDeny);
        w.send(c, &publish(level, 0x34, 5, "one"));
        w.expect(c, &ack(level, 0x50, 5, 0x87));
        w.script.refuse_publish = None;
        if level == 5 {
            w.send(c, &publish(level, 0x34, 5, "one"));
            w.expect(c, &received(level, 5));
            assert_eq!(w.published.len(), 1, "a new message");
            w.script.refuse_publish = Some(Reason::AclDeny);
            w.send(c, &publish(level, 0x34, 6, "one"));
            w.take(c);
            w.send(c, &ack(level, 0x62, 6, 0));
            w.expect(c, &ack(level, 0x70, 6, 0x92));
        } else {
            w.send(c, &publish(level, 0x3c, 5, "one"));
            w.expect(c, &ack(level, 0x50, 5, 0));
            assert!(w.published.is_empty(), "a repeat of what was dropped");
            w.send(c, &ack(level, 0x62, 5, 0));
            w.expect(c, &ack(level, 0x70, 5, 0));
        }
    }
}

/// DUP 0 with another topic or payload under a held id: a client that lost its state. Its message
/// must not vanish; with DUP 1 it is a repeat, whatever it holds.
#[test]
fn other_content_under_a_held_id() {
    for level in LEVELS {
        for again in [false, true] {
            let mut w = World::durable();
            let mut c = w.connect(&connect(level));
            w.send(c, &publish(level, 0x34, 5, "one"));
            w.take(c);
            if again {
                w.crash(); // the hash is in the journal
                c = w.open();
                w.send(c, &connect(level));
                w.take(c);
            }
            w.send(c, &publish(level, 0x3c, 5, "two"));
            w.expect(c, &ack(level, 0x50, 5, 0));
            assert_eq!(w.published.len(), 1);
            w.send(c, &publish(level, 0x34, 5, "two"));
            w.expect(c, &received(level, 5));
            assert_eq!(w.published.len(), 2);
            let other = packet(0x34, &format!("{} 0005 {} \"two\"", field("u"), none(level)));
            w.send(c, &other);
            w.expect(c, &received(level, 5));
            assert_eq!((w.published.len(), w.endpoint.counters().reused_ids), (3, 2));
            w.send(c, &other);
            w.expect(c, &ack(level, 0x50, 5, 0));
            w.send(c, &ack(level, 0x62, 5, 0));
            w.expect(c, &ack(level, 0x70, 5, 0));
            assert_eq!(w.published.len(), 3);
        }
    }
}

/// QoS 1 from a client: nothing is held, each PUBLISH counts. [MQTT-4.3.2-2]
#[test]
fn the_receivers_table_of_qos_1() {
    for level in LEVELS {
        let mut w = World::new();
        let c = w.connect(&connect(level));
        for (count, first) in [(1, 0x32), (2, 0x3a), (3, 0x32)] {
            w.send(c, &publish(level, first, 5, "one"));
            w.expect(c, &ack(level, 0x40, 5, 0x10));
            assert_eq!(w.published.len(), count);
        }
        // A QoS 1 PUBLISH under an id that a QoS 2 one holds touches nothing of it.
        w.send(c, &publish(level, 0x34, 6, "two"));
        w.send(c, &publish(level, 0x32, 6, "one"));
        w.send(c, &publish(level, 0x3c, 6, "two"));
        let wanted = received(level, 6) + &ack(level, 0x40, 6, 0x10) + &ack(level, 0x50, 6, 0);
        w.expect(c, &wanted);
        assert_eq!(w.published.len(), 5);
    }
}

/// Choice 8: nothing is sent again while the connection stands, in no version.
#[test]
fn nothing_is_sent_again_on_the_same_connection() {
    for level in LEVELS {
        for state in [Sent::One, Sent::Two, Sent::Released] {
            let mut w = World::new();
            let c = delivering(&mut w, level, state);
            for _ in 0..10 {
                w.advance(std::time::Duration::from_secs(50));
                w.send(c, "c0 00");
                w.expect(c, "d0 00");
            }
        }
    }
}
