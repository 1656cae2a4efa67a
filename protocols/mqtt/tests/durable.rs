//! What is acknowledged is committed, and survives the process (architecture.md §3).
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod common;

use common::{World, connect_bytes, field, packet, show};
use motegate_message::{Qos, Reason};

fn publish(first: u8, id: &str, payload: &str) -> String {
    packet(first, &format!("{} {id} 00 \"{payload}\"", field("t")))
}

fn held() -> World {
    let mut w = World::durable();
    w.auto_commit = false;
    w.script.after_turn = true;
    w
}

#[test]
fn nothing_leaves_before_its_commit_and_all_in_order() {
    let mut w = held();
    let c = w.open();
    w.send(c, &(connect_bytes(5, 0, 60, "11 00000e10", "a") + &publish(0x32, "0001", "x")));
    w.expect(c, "");
    assert!(w.published.is_empty(), "nothing is handled before the CONNACK leaves");
    w.commit();
    assert_eq!(w.take(c)[0], 0x20);
    assert_eq!(w.published.len(), 1);
    w.send(c, &publish(0x34, "0002", "y"));
    w.send(c, "c000");
    w.expect(c, "d000");
    w.commit();
    w.expect(c, "40 03 0001 10 50 03 0002 10");
    w.send(c, "62 02 0002");
    w.expect(c, "");
    w.commit();
    w.expect(c, "70 02 0002");
    assert!(w.journal.is_empty(), "the id is released for good");
}

#[test]
fn deliveries_wait_behind_their_suback() {
    let mut w = held();
    let c = w.open();
    w.send(c, &connect_bytes(5, 0, 60, "11 00000e10", "a"));
    w.commit();
    w.take(c);
    w.send(c, &packet(0x82, &format!("0001 00 {} 01", field("t"))));
    w.inject("t", Qos::AtMostOnce, b"1");
    w.inject("t", Qos::AtLeastOnce, b"2");
    w.expect(c, "");
    w.commit();
    let live = packet(0x30, &format!("{} 00 \"1\"", field("t"))) + &publish(0x32, "0001", "2");
    w.expect(c, &("90 04 0001 00 01".to_string() + &live));
}

#[test]
fn qos_2_waits_for_its_record_and_qos_1_does_not() {
    let mut w = World::durable();
    let c = w.resume_v5("a");
    w.send(c, &packet(0x82, &format!("0001 00 {} 02", field("t"))));
    w.take(c);
    w.auto_commit = false;
    w.inject("t", Qos::AtLeastOnce, b"1");
    w.expect(c, &publish(0x32, "0001", "1"));
    w.inject("t", Qos::ExactlyOnce, b"2");
    w.inject("t", Qos::AtMostOnce, b"3");
    w.expect(c, "");
    w.commit();
    let rest = packet(0x30, &format!("{} 00 \"3\"", field("t")));
    w.expect(c, &(publish(0x34, "0002", "2") + &rest));
    w.send(c, "50 02 0002");
    w.expect(c, "");
    w.commit();
    w.expect(c, "62 02 0002");
    w.send(c, "40020001 70020002");
    w.commit();
    assert!(w.journal.is_empty());
}

#[test]
fn wire_states_survive_a_crash() {
    let mut w = World::durable();
    let c = w.resume_v5("a");
    w.send(c, &packet(0x82, &format!("0001 00 {} 02", field("t"))));
    for (qos, payload) in
        [(Qos::AtLeastOnce, b"1"), (Qos::ExactlyOnce, b"2"), (Qos::ExactlyOnce, b"3")]
    {
        w.inject("t", qos, payload);
    }
    w.send(c, "50 02 0002");
    w.send(c, &packet(0x34, &format!("{} 0009 00 \"in\"", field("u"))));
    assert_eq!(w.journal.len(), 4);
    w.crash();
    let c = w.open();
    w.send(c, &connect_bytes(5, 0, 60, "11 00000e10 22 0004", "a"));
    // Sent again with its topic in full, aliases or not.
    let got = show(&w.take(c));
    let rest = publish(0x3a, "0001", "1") + &publish(0x3c, "0003", "3") + "62 02 0002";
    assert!(got.ends_with(&show(&common::hex(&rest))), "{got}");
    // The id that the client had not released: no second delivery.
    w.send(c, &packet(0x3c, &format!("{} 0009 00 \"in\"", field("u"))));
    w.expect(c, "50 02 0009");
    assert_eq!(w.published.len(), 1);
    w.send(c, "62020009 40020001 70020002 50020003");
    w.expect(c, "70020009 62020003");
    // A new delivery takes an id that is free.
    w.inject("t", Qos::AtLeastOnce, b"4");
    w.expect(c, r#"32 0a 0001 "t" 0001 03 23 0001 "4""#);
    w.send(c, "70020003 40020001");
    assert!(w.journal.is_empty(), "{:?}", w.journal);
}

#[test]
fn an_uncommitted_id_is_not_remembered() {
    let mut w = World::durable();
    let c = w.resume_v5("a");
    w.auto_commit = false;
    w.send(c, &publish(0x34, "0009", "x"));
    w.expect(c, "");
    w.crash();
    w.auto_commit = true;
    let c = w.resume_v5("a");
    w.send(c, &publish(0x3c, "0009", "x"));
    w.expect(c, "50 03 0009 10");
    assert_eq!(w.published.len(), 2, "the first was never acknowledged nor kept");
}

#[test]
fn the_end_of_a_session_deletes_its_records() {
    let mut w = World::durable();
    for clean_end in [true, false] {
        let c = w.resume_v5("a");
        w.send(c, &packet(0x82, &format!("0001 00 {} 02", field("t"))));
        w.inject("t", Qos::AtLeastOnce, b"1");
        w.inject("t", Qos::ExactlyOnce, b"2");
        w.send(c, &packet(0x34, &format!("{} 0009 00 \"in\"", field("u"))));
        assert_eq!(w.journal.len(), 3);
        if clean_end {
            w.connect_v5("a", ""); // takes over and starts clean
            let c = w.sessions["a"].conn.unwrap();
            w.send(c, "e000");
        } else {
            w.send(c, "e0 07 00 05 11 00000000");
        }
        assert!(w.journal.is_empty(), "{:?}", w.journal);
    }
}

#[test]
fn a_session_without_expiry_journals_nothing() {
    let mut w = World::durable();
    let c = w.connect_v5("a", "");
    w.send(c, &packet(0x82, &format!("0001 00 {} 02", field("t"))));
    w.auto_commit = false;
    w.take(c);
    w.inject("t", Qos::ExactlyOnce, b"2");
    w.send(c, &packet(0x34, &format!("{} 0009 00 \"in\"", field("u"))));
    w.expect(c, &(publish(0x34, "0001", "2") + "50 03 0009 10"));
    w.commit();
    assert!(w.journal.is_empty());
}

#[test]
fn a_publish_followed_by_garbage_is_still_exactly_once() {
    let mut w = World::durable();
    let c = w.resume_v5("a");
    w.send(c, &(publish(0x34, "0009", "x") + "ff"));
    assert_eq!(w.closed[&c], Reason::Malformed);
    assert_eq!(w.published.len(), 1);
    let c = w.resume_v5("a");
    w.send(c, &publish(0x3c, "0009", "x"));
    w.expect(c, "50 02 0009");
    assert_eq!(w.published.len(), 1);
}

#[test]
fn damaged_records_are_told_and_skipped() {
    let mut w = World::durable();
    let turn = w.turn();
    assert!(!w.endpoint.restore(&turn, b"b123", b"1"));
    assert!(!w.endpoint.restore(&turn, b"m", b""));
    assert!(!w.endpoint.restore(&turn, &[b'm', 0, 0, 0, 0, 0, 0, 0, 1, b'o', 0, 0], &[1, 1]));
}
