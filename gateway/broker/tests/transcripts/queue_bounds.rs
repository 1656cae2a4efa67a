//! What a full queue drops (notes choice 11, 12).

use super::bench::*;
use motegate_broker::{Config, Open, Overflow, QueuePolicy, Request};
use std::time::Duration;

fn bounded(overflow: Overflow, max_messages: u32) -> QueuePolicy {
    QueuePolicy { max_messages, overflow, queue_qos0: true, ..policy() }
}

/// A session without a connection, and with these bounds.
fn offline(b: &mut Bench, queue: QueuePolicy) {
    let client = b.listener(Open { queue, ..open("a") }, &[sub("#", 1)]);
    b.close(client);
}

fn got(b: &mut Bench) -> Vec<String> {
    b.open(open("a")).1[1..].iter().map(|s| s["a <- ".len()..].to_string()).collect()
}

#[test]
fn drop_oldest_gives_up_qos_0_first() {
    let mut b = Bench::new();
    offline(&mut b, bounded(Overflow::DropOldest, 3));
    for text in ["t=1@1", "t=2@0", "t=3@1", "t=4@1", "t=5@1"] {
        b.publish(text);
    }
    assert_eq!(b.publish("t=6@0"), ["accepted 1", "dropped queue_full"]);
    assert_eq!(got(&mut b), ["t=3@1", "t=4@1", "t=5@1"]);
}

#[test]
fn drop_newest_refuses_what_arrives() {
    let mut b = Bench::new();
    offline(&mut b, bounded(Overflow::DropNewest, 2));
    b.publish("t=1@0");
    b.publish("t=2@1");
    assert_eq!(b.publish("t=3@1"), ["accepted 1", "dropped queue_full"]);
    assert_eq!(got(&mut b), ["t=1@0", "t=2@1"]);
}

#[test]
fn latest_per_topic_replaces_when_full() {
    let mut b = Bench::new();
    offline(&mut b, bounded(Overflow::LatestPerTopic, 2));
    b.publish("t=1@1");
    b.publish("u=2@1");
    assert_eq!(b.publish("t=3@1"), ["accepted 1"]);
    assert_eq!(b.publish("v=4@1"), ["accepted 1", "dropped queue_full"]);
    assert_eq!(got(&mut b), ["t=3@1", "v=4@1"]);
}

#[test]
fn disconnect_ends_the_connection_once_and_its_will_is_due() {
    let mut b = Bench::new();
    b.listener(clean("w"), &[sub("w", 0)]);
    let queue = bounded(Overflow::Disconnect, 1);
    let will = motegate_broker::WillChange::Set(Some(will("w=x", Duration::ZERO)));
    let (a, _) = b.open(Open { queue, window: 0, will, ..open("a") });
    b.subscribe(a, &[sub("t", 1)]);
    b.publish("t=1@1");
    assert_eq!(
        b.publish("t=2@1"),
        ["accepted 1", "dropped queue_full", "a closed queue_full", "w <- w=x@0"]
    );
    assert_eq!(b.publish("t=3@1"), ["accepted 1", "dropped queue_full"], "offline: drop newest");
    assert_eq!(b.close(a), none(), "no close is owed for it");
    assert_eq!(b.open(open("a")).1, ["opened again", "a <- t=1@1"]);
}

/// As many bytes may be in flight as may wait: a client that reads and acknowledges nothing pins no
/// more. One message may exceed them, and none that was sent is dropped.
#[test]
fn bytes_in_flight_are_bounded() {
    let mut b = Bench::new();
    let queue = QueuePolicy { max_bytes: 10, ..bounded(Overflow::DropOldest, 100) };
    let a = b.listener(Open { queue, ..open("a") }, &[sub("t", 1)]);
    assert_eq!(b.publish("t=12345@1"), ["accepted 1", "a <- t=12345@1"]);
    assert_eq!(b.publish("t=23456@1"), ["accepted 1", "a <- t=23456@1"], "six are less than ten");
    assert_eq!(b.publish("t=34567@1"), ["accepted 1"], "twelve are in flight");
    assert_eq!(b.publish("t=q0@0"), ["accepted 1"], "nothing overtakes");
    let dropped = ["accepted 1", "dropped queue_full"];
    assert_eq!(b.publish("t=456789@1"), [&dropped[..], &["dropped queue_full"]].concat());
    assert_eq!(b.ack(a, 1), ["a <- t=456789@1"], "by the rule of a full queue");
    assert_eq!(b.broker.acted().max_inflight, 3);
    // What is larger than the bound is delivered alone.
    assert_eq!(b.ack(a, 2), none());
    assert_eq!(b.ack(a, 5), none());
    assert_eq!(b.publish("t=12345678901234@1"), ["accepted 1", "a <- t=12345678901234@1"]);
    assert_eq!(b.publish("t=1@1"), ["accepted 1"]);
    b.close(a);
    let (_, said) = b.open(Open { queue, ..open("a") });
    assert_eq!(said, ["opened again", "a <- t=12345678901234@1 again"]);
    assert_eq!(b.ack(a, 6), ["a <- t=1@1"]);
}

#[test]
fn bytes_bound_as_well_as_messages() {
    let mut b = Bench::new();
    offline(&mut b, QueuePolicy { max_bytes: 10, ..bounded(Overflow::DropOldest, 100) });
    b.publish("t=1234@1"); // 5 bytes
    b.publish("t=5678@1");
    assert_eq!(b.publish("t=9@1"), ["accepted 1", "dropped queue_full"]);
    assert_eq!(b.publish("t=larger than all@1"), ["accepted 1", "dropped queue_full"]);
    assert_eq!(got(&mut b), ["t=5678@1", "t=9@1"]);
}

#[test]
fn qos_0_waits_for_a_connection_only_if_asked() {
    let mut b = Bench::new();
    offline(&mut b, policy());
    assert_eq!(b.publish("t=1@0"), ["accepted 1", "dropped no_receiver"]);
    assert_eq!(got(&mut b), none());
}

#[test]
fn qos_0_waits_for_room_and_is_given_up_with_the_connection() {
    let mut b = Bench::new();
    let (a, _) = b.open(Open { room: 1, ..open("a") });
    b.subscribe(a, &[sub("#", 1)]);
    assert_eq!(b.publish("t=may exceed"), ["accepted 1", "a <- t=may exceed@0"]);
    assert_eq!(b.publish("t=2"), ["accepted 1"]);
    assert_eq!(b.credit(a, 10, 100), ["a <- t=2@0"]);
    b.credit(a, 10, 0);
    b.publish("t=3");
    b.publish("t=4@1");
    assert_eq!(b.close(a), ["dropped no_receiver"]);
    assert_eq!(got(&mut b), ["t=4@1"]);
}

#[test]
fn a_sleepers_full_queue_has_its_own_reason() {
    let mut b = Bench::new();
    let queue = bounded(Overflow::DropOldest, 1);
    let (a, _) = b.open(Open { window: 0, room: 0, queue, ..open("a") });
    b.subscribe(a, &[sub("#", 1)]);
    b.publish("t=1@0");
    assert_eq!(b.publish("t=2@0"), ["accepted 1", "dropped sleep_queue_full"]);
    assert_eq!(b.credit(a, 1, 100), ["a <- t=2@0"]);
}

#[test]
fn new_bounds_hold_at_once() {
    let mut b = Bench::new();
    let (a, _) = b.open(Open { window: 0, room: 0, ..open("a") });
    b.subscribe(a, &[sub("#", 1)]);
    for i in 1..=4 {
        b.publish(&format!("t={i}@1"));
    }
    let session = a.session;
    let bound = |overflow, n| Request::Bound { session, queue: bounded(overflow, n) };
    assert_eq!(b.ask(bound(Overflow::DropOldest, 3)), ["dropped sleep_queue_full"]);
    assert_eq!(b.ask(bound(Overflow::DropNewest, 2)), ["dropped sleep_queue_full"]);
    assert_eq!(b.credit(a, 9, 100), ["a <- t=2@1", "a <- t=3@1"]);
}

#[test]
fn beyond_the_memory_of_all_queues_the_longest_is_cut() {
    let config = Config { max_memory_queued: 160, ..Config::default() };
    let mut b = Bench::with(config, false);
    for (name, filter) in [("a", "t"), ("b", "u")] {
        let client = b.listener(open(name), &[sub(filter, 1)]);
        b.close(client);
    }
    b.publish("u=123456789@1"); // 10 bytes
    for i in 0..15 {
        assert_eq!(b.publish(&format!("t={i:09}@1")), ["accepted 1"]);
    }
    assert_eq!(
        b.publish("t=000000015@1"),
        ["accepted 1", "dropped queue_full", "dropped queue_full"]
    );
    assert_eq!(b.open(open("b")).1, ["opened again", "b <- u=123456789@1"]);
    let first = &b.open(Open { window: 1, ..open("a") }).1[1];
    assert_eq!(first, "a <- t=000000002@1");
}
