//! Opening, resuming, taking over, closing, expiring (MQTT 5 §3.1.4, notes 2.1, 2.3).

use super::bench::*;
use motegate_broker::{Config, Open, Request};
use motegate_message::SessionId;
use std::time::Duration;

#[test]
fn a_session_is_present_if_it_is_still_there() {
    let mut b = Bench::new();
    let (a, said) = b.open(open("a"));
    assert_eq!(said, ["opened new"]);
    assert_eq!(b.close(a), none());
    let (again, said) = b.open(open("a"));
    assert_eq!(said, ["opened again"]);
    assert_eq!(again.session, a.session);
}

#[test]
fn an_old_connection_is_closed_before_the_new_one_is_opened() {
    let mut b = Bench::new();
    b.open(open("a"));
    let (_, said) = b.open(open("a"));
    assert_eq!(said, ["a closed taken_over", "opened again"]);
}

#[test]
fn the_late_close_of_a_taken_over_connection_touches_nothing() {
    let mut b = Bench::new();
    let (old, _) = b.open(open("a"));
    let will = motegate_broker::WillChange::Set(Some(will("w=gone", Duration::ZERO)));
    let (new, _) = b.open(Open { will, ..open("a") });
    let watcher = b.listener(clean("w"), &[sub("#", 0)]);
    assert_eq!(old.session, new.session);
    assert_eq!(b.close(old), none());
    b.subscribe(new, &[sub("x", 0)]);
    assert_eq!(b.publish("x=1"), ["accepted 2", "a <- x=1@0", "w <- x=1@0"]);
    assert_eq!(b.close(new), ["w <- w=gone@0"]);
    let _ = watcher;
}

#[test]
fn a_session_that_ends_with_its_connection_is_not_resumed_by_takeover() {
    let mut b = Bench::new();
    let (old, _) = b.open(clean("a"));
    let (new, said) = b.open(open("a"));
    assert_eq!(said, ["a closed taken_over", "ended a", "opened new"]);
    assert_ne!(new.session, old.session);
}

#[test]
fn clean_start_discards_subscriptions_and_queue() {
    let mut b = Bench::new();
    let a = b.listener(open("a"), &[sub("t", 1)]);
    b.close(a);
    assert_eq!(b.publish("t=1@1"), ["accepted 1"]);
    let (_, said) = b.open(Open { clean: true, ..open("a") });
    assert_eq!(said, ["ended a", "opened new"]);
    assert_eq!(b.publish("t=2@1"), ["accepted 0"]);
}

#[test]
fn expiry_runs_from_the_close_and_takes_subscriptions_along() {
    let mut b = Bench::new();
    let a = b.listener(Open { expiry: SECOND * 10, ..open("a") }, &[sub("t", 1)]);
    assert_eq!(b.advance(HOUR), none(), "an open connection does not expire");
    b.close(a);
    assert_eq!(b.advance(SECOND * 9), none());
    assert_eq!(b.publish("t=1@1"), ["accepted 1"]);
    assert_eq!(b.advance(SECOND), ["ended a"]);
    assert_eq!(b.publish("t=1@1"), ["accepted 0"]);
}

#[test]
fn a_session_without_end_stays() {
    let mut b = Bench::new();
    let (a, _) = b.open(Open { expiry: NEVER, ..open("a") });
    b.close(a);
    assert_eq!(b.broker.poll_timeout(), None);
    assert_eq!(b.advance(HOUR * 24 * 365 * 100), none());
    assert_eq!(b.open(open("a")).1, ["opened again"]);
}

#[test]
fn the_close_may_change_the_expiry() {
    let mut b = Bench::new();
    let (a, _) = b.open(open("a"));
    assert_eq!(b.close_with(a, true, Some(Duration::ZERO)), ["ended a"]);
    let (a, _) = b.open(open("a"));
    b.close_with(a, true, Some(SECOND));
    assert_eq!(b.advance(SECOND), ["ended a"]);
}

#[test]
fn a_nameless_session_ends_with_its_connection() {
    let mut b = Bench::new();
    let (one, said) = b.open(Open { key: None, ..open("") });
    assert_eq!(said, ["opened new"]);
    let (two, _) = b.open(Open { key: None, ..open("") });
    assert_ne!(one.session, two.session);
    assert_eq!(b.close_with(one, false, Some(HOUR)), ["ended -"]);
    let (three, _) = b.open(Open { key: None, ..open("") });
    assert_ne!(three.session, one.session, "an id is never used twice");
}

#[test]
fn sessions_have_a_limit_but_known_ones_come_in() {
    let mut b = Bench::with(Config { max_sessions: 1, ..Config::default() }, false);
    let (a, _) = b.open(open("a"));
    assert_eq!(b.ask(Request::Open(open("b"))), ["open refused quota_exceeded"]);
    b.close(a);
    assert_eq!(b.ask(Request::Open(open("b"))), ["open refused quota_exceeded"]);
    assert_eq!(b.open(open("a")).1, ["opened again"]);
    assert_eq!(
        b.open(Open { clean: true, ..open("a") }).1,
        ["a closed taken_over", "ended a", "opened new"]
    );
}

#[test]
fn unacknowledged_deliveries_go_again_in_order_then_the_queue() {
    let mut b = Bench::new();
    let a = b.listener(Open { window: 2, ..open("a") }, &[sub("t", 2)]);
    for text in ["t=1@1", "t=2@2", "t=3@1"] {
        b.publish(text);
    }
    b.close(a);
    b.publish("t=4@2");
    let (_, said) = b.open(Open { window: 10, ..open("a") });
    let expected =
        ["opened again", "a <- t=1@1 again", "a <- t=2@2 again", "a <- t=3@1", "a <- t=4@2"];
    assert_eq!(said, expected);
}

#[test]
fn repetitions_count_against_the_new_window() {
    let mut b = Bench::new();
    let a = b.listener(Open { window: 3, ..open("a") }, &[sub("t", 1)]);
    for i in 1..=4 {
        b.publish(&format!("t={i}@1"));
    }
    b.close(a);
    let (a, said) = b.open(Open { window: 1, ..open("a") });
    assert_eq!(said, ["opened again", "a <- t=1@1 again"]);
    assert_eq!(b.ack(a, 1), ["a <- t=2@1 again"]);
    assert_eq!(b.ack(a, 2), ["a <- t=3@1 again"]);
    assert_eq!(b.ack(a, 3), ["a <- t=4@1"]);
    assert_eq!(b.ack(a, 4), none());
}

#[test]
fn no_retained_messages_on_resume() {
    let mut b = Bench::new();
    let a = b.listener(open("a"), &[sub("t", 1)]);
    b.close(a);
    b.publish("!t=1@0");
    assert_eq!(b.open(open("a")).1, ["opened again"]);
}

#[test]
fn requests_for_unknown_sessions_are_harmless() {
    let mut b = Bench::new();
    let client = Client { session: SessionId::new(7, 9), handle: motegate_broker::Handle(1) };
    assert_eq!(b.subscribe(client, &[sub("t", 0)]), ["subscribed session_expired"]);
    assert_eq!(b.unsubscribe(client, "t"), ["unsubscribed [false]"]);
    assert_eq!(b.ack(client, 1), none());
    assert_eq!(b.credit(client, 1, 1), none());
    assert_eq!(b.close(client), none());
    let session = client.session;
    assert_eq!(b.ask(Request::GetWill { ticket: 0, session }), ["no will"]);
}

#[test]
fn filters_that_are_replaced_may_be_each_other() {
    let mut b = Bench::new();
    let a = b.listener(open("a"), &[sub("a", 1), sub("b", 1), sub("c", 1)]);
    let said = b.resubscribe(a, &["a", "b", "c"], &[sub("b", 1), sub("c", 0), sub("d", 2)]);
    assert_eq!(said, ["subscribed 1 0 2"]);
    assert_eq!(b.publish("a=1@1"), ["accepted 0"]);
    assert_eq!(b.publish("b=1@1"), ["accepted 1", "a <- b=1@1"]);
    assert_eq!(b.publish("c=1@1"), ["accepted 1", "a <- c=1@0"]);
    assert_eq!(b.publish("d=1@1"), ["accepted 1", "a <- d=1@1"]);
}

#[test]
fn what_waits_because_of_a_replaced_filter_goes_on_waiting() {
    let mut b = Bench::new();
    b.publish("!new=kept@1");
    let a = b.listener(Open { window: 1, ..open("a") }, &[sub("old", 1), sub("other", 1)]);
    assert_eq!(b.publish("old=1@1"), ["accepted 1", "a <- old=1@1"]);
    b.publish("old=2@1");
    b.publish("other=3@1");
    assert_eq!(b.resubscribe(a, &["old"], &[sub("new", 1)]), ["subscribed 1"]);
    // Also when the client leaves another filter of its own will.
    assert_eq!(b.unsubscribe(a, "other"), ["unsubscribed [true]"]);
    assert_eq!(b.ack(a, 1), ["a <- old=2@1"]);
    assert_eq!(b.ack(a, 2), ["a <- !new=kept@1"]);
    assert_eq!(b.publish("old=4@1"), ["accepted 0"]);
}

#[test]
fn a_replaced_filter_is_replaced_in_the_journal_too() {
    let mut b = Bench::durable();
    let a = b.listener(open("a"), &[sub("a", 1), sub("b", 1)]);
    b.close(a);
    b.publish("a=1@1");
    let said = b.resubscribe(a, &["a", "b"], &[sub("b", 1), sub("c", 1)]);
    assert_eq!(said, ["subscribed 1 1 stored"]);
    b.restart(SECOND);
    for (topic, said) in
        [("a", "accepted 0"), ("b", "accepted 1 stored"), ("c", "accepted 1 stored")]
    {
        assert_eq!(b.publish(&format!("{topic}=2@1")), [said]);
    }
    let (_, said) = b.open(open("a"));
    assert_eq!(said[1..], ["a <- a=1@1", "a <- b=2@1", "a <- c=2@1"]);
}
