//! A sleeping client wakes, gets what was queued, and sleeps again (MQTT-SN 1.2 §6.14).

use super::bench::*;
use motegate_broker::{Open, QueuePolicy, Request};
use motegate_message::Message;

fn sleeper(b: &mut Bench) -> Client {
    let queue = QueuePolicy { queue_qos0: true, ..policy() };
    let (a, _) = b.open(Open { window: 0, room: 0, queue, ..open("a") });
    b.subscribe(a, &[sub("#", 1)]);
    a
}

fn drain(b: &mut Bench, client: Client, ticket: u64) -> Vec<String> {
    b.ask(Request::Drain { ticket, session: client.session, window: 1, room: 1_000 })
}

#[test]
fn an_empty_queue_is_drained_at_once() {
    let mut b = Bench::new();
    let a = sleeper(&mut b);
    assert_eq!(drain(&mut b, a, 7), ["a drained 7"]);
    assert_eq!(b.publish("t=1@1"), ["accepted 1"], "asleep again");
}

#[test]
fn one_by_one_and_the_end_after_the_last_acknowledgement() {
    let mut b = Bench::new();
    let a = sleeper(&mut b);
    for text in ["t=1@1", "t=2@0", "t=3@1"] {
        b.publish(text);
    }
    assert_eq!(drain(&mut b, a, 1), ["a <- t=1@1", "a <- t=2@0"]);
    assert_eq!(b.ack(a, 1), ["a <- t=3@1"]);
    assert_eq!(b.ack(a, 3), ["a drained 1"]);
}

#[test]
fn what_arrives_meanwhile_stays_queued() {
    let mut b = Bench::new();
    let a = sleeper(&mut b);
    b.publish("t=1@1");
    drain(&mut b, a, 1);
    assert_eq!(b.publish("t=2@1"), ["accepted 1"]);
    assert_eq!(b.publish("t=3@0"), ["accepted 1"]);
    assert_eq!(b.ack(a, 1), ["a drained 1"]);
    assert_eq!(drain(&mut b, a, 2), ["a <- t=2@1", "a <- t=3@0"]);
    assert_eq!(b.ack(a, 2), ["a drained 2"]);
}

#[test]
fn a_second_drain_only_replaces_the_ticket() {
    let mut b = Bench::new();
    let a = sleeper(&mut b);
    b.publish("t=1@1");
    assert_eq!(drain(&mut b, a, 1), ["a <- t=1@1"]);
    b.publish("t=2@1");
    assert_eq!(drain(&mut b, a, 2), none());
    assert_eq!(b.ack(a, 1), ["a drained 2"]);
}

#[test]
fn what_expires_counts_as_gone() {
    let mut b = Bench::new();
    let a = sleeper(&mut b);
    b.publish("t=1@1");
    let expires = Some(b.turn.now + SECOND);
    b.publish_message(Message { expires, ..message("t=2@1") });
    assert_eq!(drain(&mut b, a, 1), ["a <- t=1@1"]);
    assert_eq!(b.advance(SECOND), ["dropped message_expired"]);
    assert_eq!(b.ack(a, 1), ["a drained 1"]);
}

#[test]
fn credit_during_a_drain_refills_the_room() {
    let mut b = Bench::new();
    let a = sleeper(&mut b);
    b.publish("t=1");
    b.publish("t=2");
    b.publish("t=3@1");
    let session = a.session;
    let said = b.ask(Request::Drain { ticket: 1, session, window: 1, room: 1 });
    assert_eq!(said, ["a <- t=1@0"]);
    b.publish("t=4");
    assert_eq!(b.credit(a, 1, 100), ["a <- t=2@0", "a <- t=3@1"]);
    assert_eq!(b.ack(a, 3), ["a drained 1"]);
}

#[test]
fn in_flight_from_before_the_sleep_holds_the_end_back() {
    let mut b = Bench::new();
    let a = sleeper(&mut b);
    b.credit(a, 1, 100);
    assert_eq!(b.publish("t=1@1"), ["accepted 1", "a <- t=1@1"]);
    b.credit(a, 0, 0);
    assert_eq!(drain(&mut b, a, 1), none(), "the endpoint repeats it on the wire");
    assert_eq!(b.ack(a, 1), ["a drained 1"]);
}

#[test]
fn a_close_forgets_the_drain() {
    let mut b = Bench::new();
    let a = sleeper(&mut b);
    b.publish("t=1@1");
    drain(&mut b, a, 1);
    b.close(a);
    let (a, said) = b.open(open("a"));
    assert_eq!(said, ["opened again", "a <- t=1@1 again"]);
    assert_eq!(b.ack(a, 1), none());
}
