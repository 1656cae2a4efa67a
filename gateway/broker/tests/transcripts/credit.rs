//! Window and room (notes 2.10).

use super::bench::*;
use motegate_broker::{Open, QueuePolicy};

#[test]
fn the_window_counts_unacknowledged_deliveries() {
    let mut b = Bench::new();
    let (a, _) = b.open(Open { window: 2, ..open("a") });
    b.subscribe(a, &[sub("t", 2)]);
    assert_eq!(b.publish("t=1@2").len(), 2);
    assert_eq!(b.publish("t=2@1").len(), 2);
    assert_eq!(b.publish("t=3@1"), ["accepted 1"]);
    assert_eq!(b.ack(a, 2), ["a <- t=3@1"], "acknowledgements may come out of order");
    assert_eq!(b.ack(a, 2), none());
    assert_eq!(b.ack(a, 1), none());
    assert_eq!(b.publish("t=4@1").len(), 2);
}

#[test]
fn qos_0_needs_room_only_but_never_overtakes() {
    let mut b = Bench::new();
    let (a, _) = b.open(Open { window: 1, ..open("a") });
    b.subscribe(a, &[sub("t", 2)]);
    b.publish("t=1@1");
    assert_eq!(b.publish("t=2@0"), ["accepted 1", "a <- t=2@0"]);
    assert_eq!(b.publish("t=3@1"), ["accepted 1"]);
    assert_eq!(b.publish("t=4@0"), ["accepted 1"]);
    assert_eq!(b.ack(a, 1), ["a <- t=3@1", "a <- t=4@0"]);
}

#[test]
fn what_waits_cannot_be_acknowledged() {
    let mut b = Bench::new();
    let (a, _) = b.open(Open { window: 0, ..open("a") });
    b.subscribe(a, &[sub("t", 1)]);
    b.publish("t=1@1");
    b.ack(a, 1);
    assert_eq!(b.credit(a, 1, 10), ["a <- t=1@1"]);
}

#[test]
fn room_is_absolute_and_may_be_exceeded_once() {
    let mut b = Bench::new();
    let (a, _) = b.open(Open { room: 0, ..open("a") });
    b.subscribe(a, &[sub("t", 1)]);
    for i in 1..=4 {
        b.publish(&format!("t={i:09}@1"));
    }
    assert_eq!(b.credit(a, 10, 11), ["a <- t=000000001@1", "a <- t=000000002@1"]);
    assert_eq!(b.credit(a, 10, 10), ["a <- t=000000003@1"]);
}

#[test]
fn a_window_of_zero_holds_and_a_smaller_one_waits_for_acknowledgements() {
    let mut b = Bench::new();
    let a = b.listener(open("a"), &[sub("t", 1)]);
    b.publish("t=1@1");
    b.publish("t=2@1");
    b.credit(a, 1, 1_000);
    b.publish("t=3@1");
    assert_eq!(b.ack(a, 1), none());
    assert_eq!(b.ack(a, 2), ["a <- t=3@1"]);
}

/// What is put aside takes neither a place in the window nor bytes of those that may fly, and comes on
/// the next connection, in its order; only what was sent is sent again.
#[test]
fn what_is_put_aside_holds_up_nothing() {
    let mut b = Bench::new();
    let queue = QueuePolicy { max_bytes: 33, ..policy() };
    let a = b.listener(Open { window: u16::MAX, queue, ..open("a") }, &[sub("#", 2)]);
    for n in 1..=3 {
        assert_eq!(b.publish(&format!("t=nameless{n}@2")).len(), 2);
        assert_eq!(b.put_aside(a, n), none());
    }
    for n in 4..=6 {
        assert_eq!(b.publish(&format!("t=named67890{n}@1")).len(), 2, "{n}");
    }
    assert_eq!(b.publish("t=x@1"), ["accepted 1"], "as much flies as may wait");
    assert_eq!(b.ack(a, 4), ["a <- t=x@1"]);
    b.credit(a, 2, 100_000);
    assert_eq!(b.publish("t=y@1"), ["accepted 1"]);
    assert_eq!(b.ack(a, 5), none());
    assert_eq!(b.ack(a, 6), ["a <- t=y@1"]);
    b.ack(a, 8);
    b.close(a);
    let said = b.open(Open { queue, ..open("a") }).1;
    let aside = ["a <- t=nameless1@2", "a <- t=nameless2@2", "a <- t=nameless3@2"];
    assert_eq!(said[1..], [&aside[..], &["a <- t=x@1 again"]].concat());
    assert_eq!(b.ack(a, 1), none());
}

/// So many may be put aside as may wait.
#[test]
fn what_is_put_aside_is_bounded() {
    let mut b = Bench::new();
    let queue = QueuePolicy { max_messages: 2, max_bytes: 30, ..policy() };
    let a = b.listener(Open { queue, ..open("a") }, &[sub("#", 1)]);
    for (n, text) in [(1, "t=1@1"), (2, "t=2@1")] {
        b.publish(text);
        assert_eq!(b.put_aside(a, n), none());
    }
    b.publish("t=3@1");
    assert_eq!(b.put_aside(a, 3), ["dropped queue_full"]);
    assert_eq!(b.put_aside(a, 3), none());
    b.ack(a, 1);
    b.publish("t=long-long-long-long-long-long@1");
    assert_eq!(b.put_aside(a, 4), ["dropped queue_full"]);
}
