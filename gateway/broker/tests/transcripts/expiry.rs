//! Message Expiry (MQTT 5 §3.3.2.3.3, notes 2.14).

use super::bench::*;
use motegate_broker::{Open, QueuePolicy, Request};
use motegate_message::{Message, TopicName};
use std::time::Duration;

fn expiring(b: &Bench, text: &str, after: Duration) -> Message {
    Message { expires: Some(b.turn.now + after), ..message(text) }
}

#[test]
fn a_queued_copy_is_dropped_by_a_timer() {
    let mut b = Bench::new();
    let a = b.listener(open("a"), &[sub("t", 1)]);
    b.close(a);
    let m = expiring(&b, "t=1@1", SECOND * 5);
    b.publish_message(m);
    b.publish("t=2@1");
    assert_eq!(b.advance(SECOND * 4), none());
    assert_eq!(b.advance(SECOND), ["dropped message_expired"]);
    assert_eq!(b.open(open("a")).1, ["opened again", "a <- t=2@1"]);
}

#[test]
fn expired_copies_do_not_count_against_the_bound() {
    let mut b = Bench::new();
    let queue = QueuePolicy { max_messages: 1, ..policy() };
    let a = b.listener(Open { queue, ..open("a") }, &[sub("t", 1)]);
    b.close(a);
    let m = expiring(&b, "t=1@1", SECOND);
    b.publish_message(m);
    b.turn.now += SECOND; // the timer was not served yet
    assert_eq!(b.publish("t=2@1"), ["accepted 1", "dropped message_expired"]);
    assert_eq!(b.open(open("a")).1, ["opened again", "a <- t=2@1"]);
}

#[test]
fn once_sent_it_expires_no_more() {
    let mut b = Bench::new();
    let a = b.listener(open("a"), &[sub("t", 2)]);
    let m = expiring(&b, "t=1@2", SECOND);
    b.publish_message(m);
    b.close(a);
    assert_eq!(b.advance(SECOND * 10), none());
    assert_eq!(b.open(open("a")).1, ["opened again", "a <- t=1@2 again"]);
}

/// What was delivered and put aside was not sent: its time goes on, on this connection and after it.
#[test]
fn what_is_put_aside_expires_unless_it_was_sent() {
    let mut b = Bench::new();
    let a = b.listener(open("a"), &[sub("t", 2)]);
    for (text, seconds) in [("t=sent@2", 5), ("t=1@2", 5), ("t=2@2", 10), ("t=3@2", 20)] {
        let m = expiring(&b, text, SECOND * seconds);
        b.publish_message(m);
    }
    b.close(a);
    let (a, said) = b.open(Open { window: 1, ..open("a") });
    assert_eq!(said.len(), 2, "{said:?}");
    b.put_aside(a, 1);
    b.credit(a, 10, 100_000);
    // The others were sent on the first connection, as far as the broker knows.
    b.publish_message(expiring(&b, "t=4@2", SECOND * 5));
    b.publish_message(expiring(&b, "t=5@2", SECOND * 10));
    b.publish_message(expiring(&b, "t=6@2", SECOND * 30));
    for n in 2..=7 {
        assert_eq!(b.put_aside(a, n), none());
    }
    assert_eq!(b.advance(SECOND * 5), ["dropped message_expired"]);
    b.close(a);
    assert_eq!(b.advance(SECOND * 5), ["dropped message_expired"]);
    let again = ["a <- t=sent@2 again", "a <- t=1@2 again", "a <- t=2@2 again", "a <- t=3@2 again"];
    let said = b.open(open("a")).1;
    assert_eq!(said[1..], [&again[..], &["a <- t=6@2"]].concat());
}

#[test]
fn interval_zero_goes_to_those_who_can_take_it_and_is_stored_nowhere() {
    let mut b = Bench::new();
    b.listener(open("a"), &[sub("t", 1)]);
    let c = b.listener(open("c"), &[sub("t", 1)]);
    b.close(c);
    let m = expiring(&b, "!t=1@1", Duration::ZERO);
    let said = b.publish_message(m);
    assert_eq!(said, ["accepted 2", "a <- t=1@1", "dropped message_expired"]);
    let topic = TopicName::new("t").unwrap();
    assert_eq!(b.ask(Request::Read { ticket: 0, topic }), ["no value"]);
    assert_eq!(b.open(open("c")).1, ["opened again"]);
}

#[test]
fn a_retained_message_expires_without_waiting_for_a_subscriber() {
    let mut b = Bench::durable();
    let m = expiring(&b, "!t=1", SECOND);
    b.publish_message(m);
    assert_eq!(b.journal.len(), 1);
    assert_eq!(b.advance(SECOND), none());
    assert!(b.journal.is_empty());
    assert_eq!(b.publish("!t=2"), ["accepted 0 created stored"]);
}

#[test]
fn a_new_value_forgets_the_old_deadline() {
    let mut b = Bench::new();
    let m = expiring(&b, "!t=1", SECOND);
    b.publish_message(m);
    b.publish("!t=2");
    assert_eq!(b.broker.poll_timeout(), None);
    b.advance(SECOND * 2);
    let topic = TopicName::new("t").unwrap();
    assert_eq!(b.ask(Request::Read { ticket: 0, topic }), ["value 2"]);
}
