//! QoS 1 and 2 in both directions, across resume; receive maximum (protocols/mqtt.md §2.9, 2.10).
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod common;

use std::time::Duration;

use common::{World, connect_bytes, field, packet, show};
use motegate_message::{Qos, Reason};
use motegate_mqtt::Config;

fn publish(first: u8, id: &str, payload: &str) -> String {
    packet(first, &format!("{} {id} 00 \"{payload}\"", field("t")))
}

fn publish_3(first: u8, id: &str, payload: &str) -> String {
    packet(first, &format!("{} {id} \"{payload}\"", field("t")))
}

fn subscribe(qos: u8) -> String {
    packet(0x82, &format!("0001 00 {} {qos:02x}", field("t")))
}

/// The receiver's table of §2.9.
#[test]
fn qos_2_from_a_client() {
    let mut w = World::new();
    let c = w.resume_v5("a");
    w.send(c, &publish(0x34, "0005", "one"));
    w.expect(c, "50 03 0005 10");
    w.send(c, &publish(0x3c, "0005", "one"));
    w.expect(c, "50 02 0005");
    assert_eq!(w.published.len(), 1, "no second delivery");
    w.send(c, "62 02 0005");
    w.expect(c, "70 02 0005");
    let text = field("packet identifier not found");
    w.send(c, "62 02 0005");
    w.expect(c, &packet(0x70, &format!("0005 92 1e 1f {text}")));
    // The id is free: a new message, whatever DUP says.
    w.send(c, &publish(0x3c, "0005", "one"));
    w.expect(c, "50 03 0005 10");
    assert_eq!(w.published.len(), 2);
    // Held across a resume; the PUBREL after it is no error.
    w.lose(c);
    let c = w.resume_v5("a");
    w.send(c, &publish(0x3c, "0005", "one"));
    w.expect(c, "50 02 0005");
    w.send(c, "62 02 0005");
    w.expect(c, "70 02 0005");
    assert_eq!(w.published.len(), 2);
}

#[test]
fn a_client_that_lost_its_state_is_not_robbed() {
    let mut w = World::new();
    let c = w.resume_v5("a");
    w.send(c, &publish(0x34, "0005", "one"));
    w.send(c, &publish(0x34, "0005", "two")); // DUP 0, other content
    w.send(c, &publish(0x34, "0005", "two")); // DUP 0, the same content
    w.expect(c, "50 03 0005 10  50 03 0005 10  50 02 0005");
    assert_eq!(w.published.len(), 2);
    w.send(c, &publish(0x3c, "0005", "odd")); // DUP 1: a repeat, whatever it holds
    w.expect(c, "50 02 0005");
    assert_eq!(w.published.len(), 2);
    assert_eq!(w.endpoint.counters().reused_ids, 1);
    assert_eq!(w.endpoint.counters().duplicates, 2);
}

#[test]
fn a_refused_publish() {
    let mut w = World::new();
    w.script.refuse_publish = Some(Reason::AclDeny);
    let c = w.connect_v5("a", "");
    let text = field("not authorized");
    w.send(c, &publish(0x32, "0001", "x"));
    w.expect(c, &packet(0x40, &format!("0001 87 11 1f {text}")));
    w.send(c, &publish(0x34, "0002", "x"));
    w.expect(c, &packet(0x50, &format!("0002 87 11 1f {text}")));
    w.send(c, "62 02 0002");
    assert_eq!(w.take(c)[4], 0x92, "refused means not held");
    w.send(c, &packet(0x30, &format!("{} 00 \"x\"", field("t"))));
    w.expect(c, "");
    assert_eq!(w.endpoint.counters().refused_qos0, 1);
    // MQTT 3 is acknowledged all the same.
    let c = w.connect_311("b");
    w.send(c, &publish_3(0x32, "0001", "x"));
    w.send(c, &publish_3(0x34, "0002", "x"));
    w.send(c, "62 02 0002");
    w.expect(c, "40020001 50020002 70020002");
    assert!(w.published.is_empty());
}

#[test]
fn publish_reasons_have_codes() {
    for (reason, code) in [
        (Reason::AclDeny, 0x87),
        (Reason::QuotaExceeded, 0x97),
        (Reason::BadPayload, 0x99),
        (Reason::BadTopic, 0x90),
        (Reason::TooLarge, 0x97),
    ] {
        let mut w = World::new();
        w.script.refuse_publish = Some(reason);
        let c = w.connect_v5("a", "17 00");
        w.send(c, &publish(0x32, "0001", "x"));
        // Problem information 0: no reason string.
        w.expect(c, &format!("40 03 0001 {code:02x}"));
    }
    let mut w = World::new();
    w.script.refuse_publish = Some(Reason::BadPayload);
    let c = w.connect_v5("a", "");
    w.send(c, &packet(0x30, &format!("{} 00 \"x\"", field("t"))));
    assert_eq!(w.take(c)[2], 0x99, "at QoS 0 the connection ends");
}

/// A subscriber with what it was sent: QoS 1 under id 1, QoS 2 under id 2.
fn subscriber(w: &mut World) -> motegate_message::ConnectionId {
    let c = w.resume_v5("sub");
    w.send(c, &subscribe(2));
    w.expect(c, "90 04 0001 00 02");
    w.inject("t", Qos::AtLeastOnce, b"1");
    w.inject("t", Qos::ExactlyOnce, b"2");
    w.expect(c, &(publish(0x32, "0001", "1") + &publish(0x34, "0002", "2")));
    c
}

/// The sender's table of §2.9, the good ways.
#[test]
fn deliveries_end_in_their_way() {
    let mut w = World::new();
    let c = subscriber(&mut w);
    w.send(c, "40 02 0001");
    w.send(c, "50 02 0002");
    w.expect(c, "62 02 0002");
    assert_eq!(w.log, ["acked 1"]);
    w.send(c, "50 02 0002"); // again
    w.expect(c, "62 02 0002");
    w.send(c, "70 02 0002");
    assert_eq!(w.log, ["acked 1", "acked 2"]);
    // Unknown ids: ignored, but for PUBREC.
    w.send(c, "40020001 70020002 50 03 0009 80");
    w.expect(c, "");
    let text = field("packet identifier not found");
    w.send(c, "50 02 0009");
    w.expect(c, &packet(0x62, &format!("0009 92 1e 1f {text}")));
    assert_eq!(w.log.len(), 2);
    assert_eq!(w.endpoint.counters().unknown_acks, 4);
}

#[test]
fn an_error_pubrec_ends_a_delivery() {
    let mut w = World::new();
    let c = subscriber(&mut w);
    w.send(c, "50 03 0002 80");
    w.expect(c, "");
    assert_eq!(w.log, ["acked 2"]);
    w.send(c, "40 03 0001 87");
    assert_eq!(w.log, ["acked 2", "acked 1"]);
}

#[test]
fn acknowledgements_of_the_wrong_kind_are_protocol_errors() {
    for wrong in ["50 02 0001", "70 02 0001", "40 02 0002", "70 02 0002"] {
        let mut w = World::new();
        let c = subscriber(&mut w);
        w.send(c, wrong);
        let got = w.take(c);
        assert_eq!((got[0], got[2], w.closed[&c]), (0xe0, 0x82, Reason::ProtocolError), "{wrong}");
    }
    let mut w = World::new();
    let c = subscriber(&mut w);
    w.send(c, "50020002");
    w.expect(c, "62020002");
    w.send(c, "40020002");
    assert_eq!(w.take(c)[2], 0x82);
}

/// Unacknowledged ones come again in their order, PUBLISH and PUBREL interleaved, then the rest.
#[test]
fn resume_sends_again_in_order() {
    let mut w = World::new();
    let c = subscriber(&mut w);
    w.inject("t", Qos::ExactlyOnce, b"3");
    w.inject("t", Qos::AtLeastOnce, b"4");
    w.take(c);
    w.send(c, "50 02 0002");
    w.take(c);
    w.lose(c);
    w.inject("t", Qos::AtLeastOnce, b"5");
    let c = w.open();
    w.send(c, &connect_bytes(5, 0, 60, "11 00000e10", "sub"));
    let got = show(&w.take(c));
    // The PUBREL was begun behind 3 and 4.
    let rest = publish(0x3a, "0001", "1")
        + &publish(0x3c, "0003", "3")
        + &publish(0x3a, "0004", "4")
        + "62 02 0002"
        + &publish(0x32, "0005", "5");
    assert!(got.ends_with(&show(&common::hex(&rest))), "{got}");
    // Released ids stay taken, and finish.
    w.send(c, "70 02 0002");
    assert_eq!(w.log.last().unwrap(), "acked 2");
}

/// [MQTT-4.3.3-7] Exactly once, also when PUBCOMP comes before the broker has handed the delivery to
/// this connection: no word reaches it yet, and when it comes it is over.
#[test]
fn a_pubcomp_before_its_delivery_ends_it_all_the_same() {
    let mut w = World::new();
    let c = subscriber(&mut w);
    w.send(c, "50 02 0002");
    w.expect(c, "62 02 0002");
    w.lose(c);
    let enter = |w: &mut World| {
        w.put_on_disk("sub");
        let c = w.open();
        w.send(c, &connect_bytes(5, 0, 60, "11 00000e10 21 0001", "sub"));
        (c, show(&w.take(c)))
    };
    let acked = |w: &World| w.log.iter().filter(|line| *line == "acked 2").count();
    let (c, got) = enter(&mut w);
    assert!(got.contains(&show(&common::hex("62 02 0002"))), "{got}");
    for _ in 0..2 {
        w.send(c, "70 02 0002"); // the client may repeat it
        w.expect(c, "");
    }
    assert_eq!(acked(&w), 0, "its place in the window is that of the first");
    w.lose(c);
    let (c, got) = enter(&mut w);
    assert!(got.ends_with(&show(&common::hex(&publish(0x3a, "0001", "1")))), "{got}");
    w.send(c, "40 02 0001");
    w.expect(c, "");
    assert_eq!(acked(&w), 1);
    w.inject("t", Qos::AtLeastOnce, b"3");
    let got = show(&w.take(c));
    assert!(got.contains("33"), "{got}");
}

#[test]
fn nothing_is_sent_again_while_connected() {
    let mut w = World::new();
    let c = subscriber(&mut w);
    w.advance(std::time::Duration::from_secs(80));
    w.send(c, "c000");
    w.expect(c, "d000");
}

#[test]
fn our_quota_starts_anew_at_the_lower_maximum() {
    let mut w = World::new();
    let c = w.connect_v5("sub", "21 0002 11 00000e10");
    w.send(c, &subscribe(1));
    w.take(c);
    for payload in [b"1", b"2", b"3"] {
        w.inject("t", Qos::AtLeastOnce, payload);
    }
    w.expect(c, &(publish(0x32, "0001", "1") + &publish(0x32, "0002", "2")));
    w.send(c, "c000");
    w.expect(c, "d000");
    w.send(c, "40020001");
    w.expect(c, &publish(0x32, "0003", "3"));
}

#[test]
fn the_receive_maximum_binds_a_v5_client() {
    let mut w = World::with(Config { receive_maximum: 2, ..Config::default() });
    let c = w.connect_v5("a", "");
    for id in ["0001", "0002"] {
        w.send(c, &publish(0x34, id, "x"));
    }
    w.send(c, &publish(0x3c, "0001", "x")); // a repeat counts once
    w.take(c);
    w.send(c, "62020001");
    w.take(c);
    w.send(c, &publish(0x34, "0003", "x"));
    w.expect(c, "50 03 0003 10");
    w.send(c, &publish(0x34, "0004", "x"));
    let got = w.take(c);
    assert_eq!((got[0], got[2], w.closed[&c]), (0xe0, 0x93, Reason::QuotaExceeded));
}

#[test]
fn an_mqtt_3_client_is_slowed_down_instead() {
    let mut w = World::with(Config { receive_maximum: 16, ..Config::default() });
    w.script.manual = true;
    let c = w.open();
    w.send(c, &connect_bytes(4, 2, 60, "", "a"));
    w.script.manual = false;
    let event = w.events.pop_front().unwrap();
    let motegate_mqtt::endpoint::Event::Connect(connect) = event else { panic!("{event:?}") };
    let accept = motegate_mqtt::endpoint::Accept {
        session: motegate_message::SessionId::new(1, 1),
        present: false,
        after: motegate_message::Seq::NONE,
    };
    let turn = w.turn();
    w.endpoint.accept(&turn, connect.conn, accept);
    w.script.manual = true;
    for id in 1..=17 {
        w.send(c, &publish_3(0x32, &format!("{id:04x}"), "x"));
    }
    assert_eq!(w.paused.get(&c), Some(&true));
    assert!(w.closed.is_empty());
    let turn = w.turn();
    while let Some(event) = w.events.pop_front() {
        if let motegate_mqtt::endpoint::Event::Publish { conn, ticket, .. } = event {
            let published = motegate_mqtt::endpoint::Published {
                matched: true,
                after: motegate_message::Seq::NONE,
            };
            w.endpoint.published(&turn, conn, ticket, Ok(published));
        }
    }
    w.send(c, "c000");
    assert_eq!(w.paused.get(&c), Some(&false));
}

fn resume_311(w: &mut World) -> motegate_message::ConnectionId {
    let c = w.open();
    w.send(c, &connect_bytes(4, 0, 0, "", "a"));
    assert_eq!(w.take(c)[3], 0);
    c
}

/// MQTT 3 has no Receive Maximum: a client that releases its QoS 2 publishes as they are answered may
/// send any number at once; one that does not for a minute is closed, and told of once. A session
/// keeps the youngest of them.
#[test]
fn an_mqtt_3_client_must_release_what_it_publishes() {
    let config = Config { max_awaiting_release: 3, ..Config::default() };
    let mut w = World::with(config);
    let c = resume_311(&mut w);
    let all = |ids: std::ops::RangeInclusive<u16>, packet: &dyn Fn(&str) -> String| -> String {
        ids.map(|id| packet(&format!("{id:04x}"))).collect()
    };
    let publishes = |ids| all(ids, &|id| publish_3(0x34, id, "x"));
    w.send(c, &publishes(1..=20));
    w.expect(c, &all(1..=20, &|id| format!("5002{id}")));
    assert_eq!(w.limits, ["max_awaiting_release"]);
    w.advance(Duration::from_secs(59));
    assert!(w.closed.is_empty());
    w.send(c, &all(1..=17, &|id| format!("6202{id}")));
    w.expect(c, &all(1..=17, &|id| format!("7002{id}")));
    w.advance(Duration::from_secs(30));
    assert!(w.closed.is_empty(), "it has released them in time");
    w.send(c, &publishes(21..=22));
    w.expect(c, &all(21..=22, &|id| format!("5002{id}")));
    w.advance(Duration::from_secs(59));
    w.send(c, "c000");
    w.expect(c, "d000");
    w.advance(Duration::from_secs(1));
    assert_eq!(w.closed[&c], Reason::QuotaExceeded);
    let limits = ["max_awaiting_release", "max_awaiting_release", "max_awaiting_release!"];
    assert_eq!(w.limits, limits);
    // Of 18 to 22 the oldest two are forgotten: their PUBRECs were answered long ago, or never will
    // be. The others are no new messages when they come again. [MQTT-4.3.3-2]
    let (c, before) = (resume_311(&mut w), w.published.len());
    w.send(c, &all(20..=22, &|id| publish_3(0x3c, id, "x")));
    w.expect(c, &all(20..=22, &|id| format!("5002{id}")));
    assert_eq!(w.published.len(), before);
    w.send(c, "62020012 62020013");
    w.expect(c, "70020012 70020013");
    let acted = w.endpoint.acted().of(motegate_mqtt::endpoint::Limit::MaxAwaitingRelease);
    assert_eq!(acted, 4, "and once as its connection ended");
}

#[test]
fn answers_leave_in_the_order_of_the_publishes() {
    use motegate_mqtt::endpoint::{Event, Published};
    let mut w = World::new();
    let c = w.connect_v5("a", "");
    w.script.manual = true;
    for id in ["0001", "0002", "0003"] {
        w.send(c, &publish(0x32, id, "x"));
    }
    let tickets: Vec<u64> = w
        .events
        .iter()
        .map(|event| match event {
            Event::Publish { ticket, .. } => *ticket,
            other => panic!("{other:?}"),
        })
        .collect();
    let turn = w.turn();
    for ticket in tickets.iter().rev() {
        let published = Published { matched: true, after: motegate_message::Seq::NONE };
        w.endpoint.published(&turn, c, *ticket, Ok(published));
    }
    w.read_outbox(c, usize::MAX);
    w.expect(c, "40020001 40020002 40020003");
}

/// PUBLISH and PUBREL in one segment: the peer does not wait, the order still holds.
#[test]
fn a_pubrel_may_be_pipelined() {
    let mut w = World::new();
    let c = w.connect_311("a");
    w.send(c, &(publish_3(0x34, "0001", "x") + "62020001" + &publish_3(0x34, "0001", "y")));
    w.expect(c, "50020001 70020001 50020001");
    assert_eq!(w.published.len(), 2);
}

/// What an earlier connection left held is not charged to this one, nor given back by it.
#[test]
fn the_clients_quota_starts_anew() {
    let mut w = World::with(Config { receive_maximum: 2, ..Config::default() });
    let c = w.resume_v5("a");
    w.send(c, &publish(0x34, "0001", "x"));
    w.lose(c);
    let c = w.resume_v5("a");
    w.send(c, &(publish(0x34, "0003", "x") + &publish(0x34, "0004", "x") + "62020001"));
    w.expect(c, "50 03 0003 10 50 03 0004 10 70 02 0001");
    w.send(c, &publish(0x34, "0005", "x"));
    assert_eq!(w.take(c)[2], 0x93);
}

/// The exact word of the transport: `Write` once until the outbox was emptied.
#[test]
fn write_is_said_once() {
    use motegate_mqtt::endpoint::Transmit;
    let mut w = World::new();
    let c = w.connect_311("a");
    let turn = w.turn();
    w.endpoint.handle_bytes(&turn, c, &[0xc0, 0]);
    w.endpoint.handle_bytes(&turn, c, &[0xc0, 0]);
    assert_eq!(w.endpoint.poll_transmit(), Some(Transmit::Write(c)));
    assert_eq!(w.endpoint.poll_transmit(), None);
    w.endpoint.handle_written(&turn, c, 3);
    w.endpoint.handle_bytes(&turn, c, &[0xc0, 0]);
    assert_eq!(w.endpoint.poll_transmit(), None, "three bytes are left");
    w.endpoint.handle_written(&turn, c, 3);
    assert_eq!(w.endpoint.outbox(c), []);
    // A goodbye is left to the transport, and freed when it is written.
    w.endpoint.handle_bytes(&turn, c, &[0xc0, 0, 0xe0, 0]);
    assert_eq!(w.endpoint.poll_transmit(), Some(Transmit::Close(c, Reason::ClientDisconnect)));
    assert_eq!(w.endpoint.outbox(c), [0xd0, 0]);
    w.endpoint.handle_written(&turn, c, 2);
    assert_eq!(w.endpoint.outbox(c), []);
}
