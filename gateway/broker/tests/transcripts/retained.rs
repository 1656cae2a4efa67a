//! Retained messages: kept, replaced, cleared, sent at SUBSCRIBE (MQTT 5 §3.3.1.3, notes 2.4, 2.5).

use super::bench::*;
use motegate_broker::{Config, Open, Request, RetainHandling, Subscribe};
use motegate_message::{TopicFilter, TopicName};

fn read(b: &mut Bench, topic: &str) -> Vec<String> {
    b.ask(Request::Read { ticket: 0, topic: TopicName::new(topic).unwrap() })
}

#[test]
fn the_last_one_is_kept_and_an_empty_one_clears() {
    let mut b = Bench::new();
    assert_eq!(b.publish("!t=1"), ["accepted 0 created"]);
    assert_eq!(b.publish("!t=2"), ["accepted 0"]);
    assert_eq!(b.publish("t=3"), ["accepted 0"], "without RETAIN it leaves the stored one alone");
    assert_eq!(read(&mut b, "t"), ["value 2"]);
    assert_eq!(b.publish("!t="), ["accepted 0"]);
    assert_eq!(read(&mut b, "t"), ["no value"]);
}

#[test]
fn live_without_the_flag_unless_as_published() {
    let mut b = Bench::new();
    b.listener(clean("a"), &[sub("t", 0)]);
    b.listener(clean("b"), &[Subscribe { retain_as_published: true, ..sub("t", 0) }]);
    assert_eq!(b.publish("!t=1"), ["accepted 2 created", "a <- t=1@0", "b <- !t=1@0"]);
    assert_eq!(b.publish("!t="), ["accepted 2", "a <- t=@0", "b <- !t=@0"], "clearing too");
}

#[test]
fn as_published_survives_the_queue() {
    let mut b = Bench::new();
    let a = b.listener(open("a"), &[Subscribe { retain_as_published: true, ..sub("t", 1) }]);
    b.close(a);
    b.publish("!t=1@1");
    assert_eq!(b.open(open("a")).1, ["opened again", "a <- !t=1@1"]);
}

#[test]
fn suback_then_retained_by_filter_and_topic_then_live() {
    let mut b = Bench::new();
    for text in ["!b/2=x", "!b/1=x@1", "!a=x@2", "!c=x"] {
        b.publish(text);
    }
    let (a, _) = b.open(clean("a"));
    let filters = [Subscribe { identifier: Some(7), ..sub("b/+", 2) }, sub("a", 1), sub("b/1", 0)];
    let said = b.subscribe(a, &filters);
    let expected = [
        "subscribed 2 1 0",
        "a <- !b/1=x@1 ids [7]",
        "a <- !b/2=x@0 ids [7]",
        "a <- !a=x@1",
        "a <- !b/1=x@0", // each filter sends for itself
    ];
    assert_eq!(said, expected);
}

/// One SUBSCRIBE may ask for everything as often as it has filters: beyond what may wait nothing
/// is looked for, and one drop stands for a filter.
#[test]
fn a_snapshot_has_an_end() {
    let mut b = Bench::new();
    for i in 1..=10 {
        b.publish(&format!("!t/{i}=old@1"));
    }
    let (a, _) = b.open(Open { window: 1, ..clean("a") });
    let said = b.subscribe(a, &vec![sub("t/#", 1); 1_500]);
    let count = |word: &str| said.iter().filter(|line| line.contains(word)).count();
    // The first was sent at once, 10,000 wait, and what was left of a filter counts as one.
    assert_eq!((count("a <- "), count("dropped queue_full"), said.len()), (1, 500, 502));
    assert_eq!(b.ack(a, 1), ["a <- !t/10=old@1"], "the others follow as they would");
}

#[test]
fn the_snapshot_is_fed_by_credit_and_live_messages_queue_behind_it() {
    let mut b = Bench::new();
    for i in 1..=3 {
        b.publish(&format!("!t/{i}=old@1"));
    }
    let (a, _) = b.open(Open { window: 1, ..clean("a") });
    assert_eq!(b.subscribe(a, &[sub("t/#", 1)]), ["subscribed 1", "a <- !t/1=old@1"]);
    assert_eq!(b.publish("t/3=new@1"), ["accepted 1"]);
    assert_eq!(b.publish("t/3=newer@0"), ["accepted 1"], "QoS 0 does not overtake");
    assert_eq!(b.ack(a, 1), ["a <- !t/2=old@1"]);
    assert_eq!(b.ack(a, 2), ["a <- !t/3=old@1"]);
    assert_eq!(b.ack(a, 3), ["a <- t/3=new@1", "a <- t/3=newer@0"]);
}

#[test]
fn the_snapshot_is_outside_the_bound() {
    let mut b = Bench::new();
    for i in 0..50 {
        b.publish(&format!("!t/{i:02}=x@1"));
    }
    let queue = motegate_broker::QueuePolicy { max_messages: 2, ..policy() };
    let (a, _) = b.open(Open { window: 1, queue, ..clean("a") });
    assert_eq!(b.subscribe(a, &[sub("#", 1)]).len(), 2);
    for text in ["n=1@1", "n=2@1"] {
        assert_eq!(b.publish(text), ["accepted 1"]);
    }
    assert_eq!(b.publish("n=3@1"), ["accepted 1", "dropped queue_full"]);
    let mut last = Vec::new();
    for id in 1..=52 {
        last.extend(b.ack(a, id));
    }
    assert_eq!(last.len(), 51);
    assert_eq!(last[48..], ["a <- !t/49=x@1", "a <- n=2@1", "a <- n=3@1"]);
}

#[test]
fn retain_handling_is_judged_before_the_filter_is_replaced() {
    let mut b = Bench::new();
    b.publish("!t=1");
    let handling = |h| [Subscribe { retain_handling: h, ..sub("t", 0) }];
    let (a, _) = b.open(open("a"));
    assert_eq!(b.subscribe(a, &handling(RetainHandling::Never)), ["subscribed 0"]);
    assert_eq!(b.subscribe(a, &handling(RetainHandling::IfNew)), ["subscribed 0"]);
    let sent = ["subscribed 0", "a <- !t=1@0"];
    assert_eq!(b.subscribe(a, &handling(RetainHandling::Always)), sent);
    b.unsubscribe(a, "t");
    assert_eq!(b.subscribe(a, &handling(RetainHandling::IfNew)), sent);
    b.close(a);
    let (a, _) = b.open(open("a"));
    assert_eq!(b.subscribe(a, &handling(RetainHandling::IfNew)), ["subscribed 0"]);
    assert_eq!(b.subscribe(a, &handling(RetainHandling::Always)), sent);
}

#[test]
fn no_local_holds_for_retained_messages_over_reconnects() {
    let mut b = Bench::new();
    b.publish_as("a", "!t=mine");
    let (a, _) = b.open(clean("a"));
    let no_local = Subscribe { no_local: true, ..sub("t", 0) };
    assert_eq!(b.subscribe(a, std::slice::from_ref(&no_local)), ["subscribed 0"]);
    let (c, _) = b.open(clean("c"));
    assert_eq!(b.subscribe(c, &[no_local]), ["subscribed 0", "c <- !t=mine@0"]);
}

#[test]
fn a_leading_wildcard_passes_dollar_topics_by() {
    let mut b = Bench::new();
    b.publish("!$SYS/x=1");
    let (a, _) = b.open(clean("a"));
    assert_eq!(b.subscribe(a, &[sub("#", 0), sub("+/x", 0)]), ["subscribed 0 0"]);
    assert_eq!(b.subscribe(a, &[sub("$SYS/#", 0)]), ["subscribed 0", "a <- !$SYS/x=1@0"]);
    assert_eq!(b.publish("$SYS/x=2"), ["accepted 1", "a <- $SYS/x=2@0"]);
}

#[test]
fn limits_refuse_a_new_topic_before_it_is_routed_but_not_a_new_value() {
    let config = Config { max_retained_messages: 1, max_retained_bytes: 10, ..Config::default() };
    let mut b = Bench::with(config, false);
    b.listener(clean("a"), &[sub("#", 0)]);
    b.publish("!t=1");
    assert_eq!(b.publish("!u=1"), ["refused quota_exceeded"]);
    assert_eq!(b.publish("!t=longer than ten bytes").len(), 2);
    assert_eq!(b.publish("!u="), ["accepted 1", "a <- u=@0"], "clearing needs no place");
    b.publish("!t=");
    assert_eq!(b.publish("!t=longer than ten bytes"), ["refused quota_exceeded"]);
}

#[test]
fn topics_are_listed_in_byte_order_up_to_a_limit() {
    let mut b = Bench::new();
    for text in ["!a/b=1", "!a=1", "!a-b=1", "!b=1", "!a/c=1"] {
        b.publish(text);
    }
    let list = |filter: &str, limit| Request::List {
        ticket: 0,
        filter: TopicFilter::new(filter).unwrap(),
        limit,
    };
    assert_eq!(b.ask(list("#", 9)), ["topics a a-b a/b a/c b"]);
    assert_eq!(b.ask(list("a/#", 2)), ["topics a a/b"]);
    assert_eq!(b.ask(list("b", 0)), ["topics "]);
}

/// Each filter sends for itself, so more may wait than are retained.
#[test]
fn a_low_limit_of_retained_messages_eats_none_of_them() {
    let config = Config { max_retained_messages: 1, ..Config::default() };
    let mut b = Bench::with(config, false);
    b.publish("!t=1@1");
    let (a, _) = b.open(Open { window: 0, ..clean("a") });
    assert_eq!(b.subscribe(a, &[sub("#", 1), sub("+", 1), sub("t", 1)]), ["subscribed 1 1 1"]);
    assert_eq!(b.credit(a, 9, 1_000), ["a <- !t=1@1"; 3]);
}
