//! Several filters of one session match (MQTT 5 §3.3.4, notes 2.6), and replacing one.

use super::bench::*;
use motegate_broker::{Config, Subscribe};

#[test]
fn one_copy_at_the_highest_qos_with_every_identifier() {
    let mut b = Bench::new();
    let id = |filter, qos, id| Subscribe { identifier: Some(id), ..sub(filter, qos) };
    b.listener(clean("a"), &[id("t/#", 0, 9), id("t/+", 2, 5), sub("#", 1), id("x", 2, 1)]);
    assert_eq!(b.publish("t/1=x@2"), ["accepted 1", "a <- t/1=x@2 ids [5, 9]"]);
    assert_eq!(b.publish("t/1=x@1"), ["accepted 1", "a <- t/1=x@1 ids [5, 9]"]);
    assert_eq!(b.publish("y=x@2"), ["accepted 1", "a <- y=x@1"]);
}

#[test]
fn no_local_is_judged_per_filter() {
    let mut b = Bench::new();
    let no_local =
        |filter, qos| Subscribe { no_local: true, identifier: Some(1), ..sub(filter, qos) };
    let (a, _) = b.open(clean("a"));
    b.subscribe(a, &[no_local("t", 2)]);
    assert_eq!(b.publish_as("a", "t=x@2"), ["accepted 0"]);
    assert_eq!(b.publish_as("b", "t=x@2"), ["accepted 1", "a <- t=x@2 ids [1]"]);
    b.subscribe(a, &[sub("#", 1)]);
    assert_eq!(b.publish_as("a", "t=x@2"), ["accepted 1", "a <- t=x@1"]);
}

#[test]
fn retain_as_published_of_any_filter_counts() {
    let mut b = Bench::new();
    let rap = Subscribe { retain_as_published: true, ..sub("t", 0) };
    b.listener(clean("a"), &[rap, sub("#", 0)]);
    assert_eq!(b.publish("!t=x"), ["accepted 1 created", "a <- !t=x@0"]);
}

#[test]
fn the_same_filter_replaces_identifier_and_qos() {
    let mut b = Bench::new();
    let (a, _) = b.open(clean("a"));
    b.subscribe(a, &[Subscribe { identifier: Some(3), ..sub("t", 0) }]);
    b.subscribe(a, &[sub("t", 1)]);
    assert_eq!(b.publish("t=x@2"), ["accepted 1", "a <- t=x@1"]);
    assert_eq!(b.unsubscribe(a, "t"), ["unsubscribed [true]"]);
    assert_eq!(b.publish("t=x@2"), ["accepted 0"]);
}

#[test]
fn identifiers_are_those_of_the_time_of_the_match() {
    let mut b = Bench::new();
    let (a, _) = b.open(motegate_broker::Open { window: 0, ..open("a") });
    b.subscribe(a, &[Subscribe { identifier: Some(1), ..sub("t", 1) }]);
    b.publish("t=x@1");
    b.subscribe(a, &[Subscribe { identifier: Some(2), ..sub("t", 1) }]);
    assert_eq!(b.credit(a, 1, 100), ["a <- t=x@1 ids [1]"]);
}

#[test]
fn unsubscribing_takes_the_exact_text_only() {
    let mut b = Bench::new();
    let a = b.listener(clean("a"), &[sub("a/+", 0), sub("a/#", 0)]);
    assert_eq!(b.unsubscribe(a, "a/b"), ["unsubscribed [false]"]);
    assert_eq!(b.unsubscribe(a, "a/+"), ["unsubscribed [true]"]);
    assert_eq!(b.publish("a/b=x"), ["accepted 1", "a <- a/b=x@0"]);
    assert_eq!(b.unsubscribe(a, "a/#"), ["unsubscribed [true]"]);
    assert_eq!(b.publish("a/b=x"), ["accepted 0"]);
}

#[test]
fn unsubscribing_drops_what_waits_and_lets_finish_what_was_started() {
    let mut b = Bench::new();
    let (a, _) = b.open(motegate_broker::Open { window: 1, ..open("a") });
    b.subscribe(a, &[sub("t", 1), sub("u", 1)]);
    assert_eq!(b.publish("t=1@1"), ["accepted 1", "a <- t=1@1"]);
    b.publish("t=2@1");
    b.publish("u=3@1");
    assert_eq!(b.unsubscribe(a, "t"), ["unsubscribed [true]"]);
    assert_eq!(b.ack(a, 1), ["a <- u=3@1"]);
}

#[test]
fn limits_are_answered_filter_by_filter() {
    let config = Config {
        max_subscriptions_per_session: 2,
        max_subscriptions: 3,
        max_share_groups: 0,
        ..Config::default()
    };
    let mut b = Bench::with(config, false);
    let (a, _) = b.open(clean("a"));
    let three = [sub("a", 0), sub("b", 1), sub("c", 0), sub("a", 1)];
    assert_eq!(b.subscribe(a, &three), ["subscribed 0 1 quota_exceeded 1"]);
    let (c, _) = b.open(clean("c"));
    assert_eq!(b.subscribe(c, &[sub("$share/g/t", 0)]), ["subscribed quota_exceeded"]);
    assert_eq!(b.subscribe(c, &three[..2]), ["subscribed 0 quota_exceeded"]);
    b.close(a);
    assert_eq!(b.subscribe(c, &three[..2]), ["subscribed 0 1"]);
}

#[test]
fn level_edges() {
    let mut b = Bench::new();
    let filters =
        ["/", "+/+", "/+", "+/", "#", "+", "+/+/+", "a/#", "a/+"].map(|filter| sub(filter, 0));
    for (i, filter) in filters.into_iter().enumerate() {
        b.listener(clean(&format!("{i}")), &[filter]);
    }
    let mut who = |topic: &str| {
        let said = b.publish(&format!("{topic}=x"));
        said[1..].iter().map(|s| s[..1].to_string()).collect::<String>()
    };
    assert_eq!(who("/"), "01234");
    assert_eq!(who("//"), "46");
    assert_eq!(who("a"), "457");
    assert_eq!(who("a/"), "13478");
    assert_eq!(who("a/b"), "1478");
    assert_eq!(who("$x/y"), "");
}
