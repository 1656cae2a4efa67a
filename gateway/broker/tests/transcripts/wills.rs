//! When a will is published (MQTT 5 §3.1.2.5, notes 2.2).

use super::bench::*;
use motegate_broker::{Config, Open, Request, TakeoverWill, WillChange};
use motegate_message::Will;
use std::time::Duration;

fn with_will(name: &str, delay: Duration, expiry: Duration) -> Open {
    Open { will: WillChange::Set(Some(will("w=x@1", delay))), expiry, ..open(name) }
}

fn bench() -> Bench {
    let mut b = Bench::new();
    b.listener(clean("sub"), &[sub("w", 1)]);
    b
}

const SENT: &str = "sub <- w=x@1";

#[test]
fn without_delay_at_the_close() {
    let mut b = bench();
    let (a, _) = b.open(with_will("a", Duration::ZERO, HOUR));
    assert_eq!(b.close(a), [SENT]);
    assert_eq!(b.advance(HOUR), ["ended a"], "once");
}

#[test]
fn a_goodbye_drops_it() {
    let mut b = bench();
    let (a, _) = b.open(with_will("a", Duration::ZERO, HOUR));
    assert_eq!(b.close_with(a, true, None), none());
    assert_eq!(b.advance(HOUR), ["ended a"]);
}

#[test]
fn after_its_delay() {
    let mut b = bench();
    let (a, _) = b.open(with_will("a", SECOND * 5, HOUR));
    assert_eq!(b.close(a), none());
    assert_eq!(b.advance(SECOND * 4), none());
    assert_eq!(b.advance(SECOND), [SENT]);
}

#[test]
fn at_the_sessions_end_if_that_is_earlier() {
    let mut b = bench();
    let (a, _) = b.open(with_will("a", SECOND * 50, SECOND * 5));
    assert_eq!(b.close(a), none());
    assert_eq!(b.advance(SECOND * 5), ["ended a", SENT]);
    let (a, _) = b.open(with_will("a", SECOND * 50, Duration::ZERO));
    assert_eq!(b.close(a), ["ended a", SENT]);
    let (a, _) = b.open(with_will("a", SECOND * 50, HOUR));
    assert_eq!(b.close_with(a, false, Some(Duration::ZERO)), ["ended a", SENT]);
}

#[test]
fn a_new_connection_within_the_delay_drops_it() {
    let mut b = bench();
    let (a, _) = b.open(with_will("a", SECOND * 5, HOUR));
    b.close(a);
    b.advance(SECOND);
    assert_eq!(b.open(open("a")).1, ["opened again"]);
    assert_eq!(b.advance(HOUR), none());
}

#[test]
fn takeover_publishes_it_without_delay_before_the_new_one_is_opened() {
    let mut b = bench();
    b.open(with_will("a", Duration::ZERO, HOUR));
    let said = b.open(with_will("a", SECOND, HOUR)).1;
    assert_eq!(said, ["a closed taken_over", SENT, "opened again"]);
    let said = b.open(open("a")).1;
    assert_eq!(said, ["a closed taken_over", "opened again"], "delay: the session goes on");
}

#[test]
fn clean_start_publishes_it_whatever_its_delay() {
    let mut b = bench();
    b.open(with_will("a", SECOND * 5, HOUR));
    let said = b.open(clean("a")).1;
    assert_eq!(said, ["a closed taken_over", "ended a", SENT, "opened new"]);
    let (a, _) = b.open(with_will("a", SECOND * 5, HOUR));
    b.close(a);
    assert_eq!(b.open(clean("a")).1, ["ended a", SENT, "opened new"]);
}

#[test]
fn its_expiry_starts_at_publication() {
    let mut b = Bench::new();
    let watcher = b.listener(open("sub"), &[sub("w", 1)]);
    b.close(watcher);
    let will = Will { expiry: Some(SECOND * 10), ..will("w=x@1", SECOND * 20) };
    let (a, _) = b.open(Open { will: WillChange::Set(Some(will)), ..open("a") });
    b.close(a);
    b.advance(SECOND * 29);
    assert_eq!(b.open(open("sub")).1, ["opened again", SENT]);
}

#[test]
fn a_retained_will_stays_and_an_empty_one_clears() {
    let mut b = Bench::new();
    let state =
        |text| Open { will: WillChange::Set(Some(will(text, Duration::ZERO))), ..open("a") };
    let (a, _) = b.open(state("!s=off"));
    b.close(a);
    let topic = motegate_message::TopicName::new("s").unwrap();
    let read = Request::Read { ticket: 0, topic };
    assert_eq!(b.ask(read.clone()), ["value off"]);
    let (a, _) = b.open(state("!s="));
    b.close(a);
    assert_eq!(b.ask(read), ["no value"]);
}

#[test]
fn no_local_applies_to_it() {
    let mut b = Bench::new();
    let own = motegate_broker::Subscribe { no_local: true, ..sub("w", 1) };
    let (a, _) = b.open(with_will("a", Duration::ZERO, HOUR));
    b.subscribe(a, &[own]);
    b.close(a);
    assert_eq!(b.open(open("a")).1, ["opened again"]);
}

#[test]
fn mqtt_sn_keeps_the_will_data_over_a_goodbye() {
    let mut b = bench();
    let keep = || Open { will: WillChange::Keep, ..open("a") };
    let (a, _) = b.open(with_will("a", Duration::ZERO, HOUR));
    assert_eq!(b.close_with(a, true, None), none());
    let (a, _) = b.open(keep());
    assert_eq!(b.close(a), [SENT]);
    let (a, _) = b.open(keep());
    assert_eq!(b.close(a), [SENT], "kept although it was published");
    let (a, _) = b.open(open("a"));
    assert_eq!(b.close(a), none(), "replaced by none");
}

#[test]
fn it_can_be_read_and_replaced_while_connected() {
    let mut b = bench();
    let (a, _) = b.open(open("a"));
    let session = a.session;
    let get = Request::GetWill { ticket: 0, session };
    assert_eq!(b.ask(get.clone()), ["no will"]);
    let will = Some(will("w=x@1", Duration::ZERO));
    assert_eq!(b.ask(Request::SetWill { session, will }), none());
    assert_eq!(b.ask(get), ["will w"]);
    assert_eq!(b.close(a), [SENT]);
}

#[test]
fn shutdown_publishes_what_has_no_delay() {
    let mut b = bench();
    b.open(with_will("a", Duration::ZERO, HOUR));
    b.open(with_will("b", SECOND, HOUR));
    b.open(with_will("c", SECOND, Duration::ZERO));
    b.broker.shutdown(&b.turn, |_| false);
    assert_eq!(b.effects().len(), 2);
    b.broker.shutdown(&b.turn, |_| false);
    assert_eq!(b.effects().len(), 0);
}

#[test]
fn a_will_that_finds_no_place_is_counted() {
    let config = Config { max_retained_messages: 0, ..Config::default() };
    let mut b = Bench::with(config, false);
    let will = WillChange::Set(Some(will("!s=off", Duration::ZERO)));
    let (a, _) = b.open(Open { will, ..open("a") });
    assert_eq!(b.close(a), ["dropped quota_exceeded"]);
}

#[test]
fn takeover_may_publish_it_only_with_the_sessions_end() {
    let config = Config { takeover_will: TakeoverWill::EndedSession, ..Config::default() };
    let mut b = Bench::with(config, false);
    b.listener(clean("sub"), &[sub("w", 1)]);
    b.open(with_will("a", Duration::ZERO, HOUR));
    let (a, said) = b.open(with_will("a", Duration::ZERO, HOUR));
    assert_eq!(said, ["a closed taken_over", "opened again"]);
    let said = b.open(Open { clean: true, ..with_will("a", Duration::ZERO, HOUR) }).1;
    assert_eq!(said, ["a closed taken_over", "ended a", SENT, "opened new"]);
    assert_eq!(b.close(a), none());
    let (a, _) = b.open(with_will("a", Duration::ZERO, Duration::ZERO));
    assert_eq!(b.open(open("a")).1, ["a closed taken_over", "ended a", SENT, "opened new"]);
    let _ = a;
}
