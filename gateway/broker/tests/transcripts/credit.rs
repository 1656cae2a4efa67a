//! Window and room (notes 2.10).

use super::bench::*;
use motegate_broker::Open;

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
