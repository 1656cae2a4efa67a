//! What the broker tells of itself: the same that a publish would do.

use super::bench::*;
use motegate_broker::{Config, Overflow, QueuePolicy, Reach, Receiver};
use motegate_message::{Qos, TopicName};

fn topic(text: &str) -> TopicName {
    TopicName::new(text).unwrap()
}

fn receivers(b: &mut Bench, name: &str, qos: Qos) -> Vec<(String, u8, u32, Reach)> {
    let found = b.broker.receivers(&topic(name), qos, 0, 100);
    let word = |r: &Receiver| {
        let session = b.broker.session(r.session).unwrap();
        (session.key.unwrap().client_id().to_string(), r.qos as u8, r.filters, r.reach)
    };
    found.iter().map(word).collect()
}

#[test]
fn receivers_are_those_of_a_publish() {
    let mut b = Bench::new();
    b.listener(open("near"), &[sub("a/+", 0), sub("a/b", 1), sub("other", 2)]);
    let away = b.listener(open("away"), &[sub("#", 2)]);
    let asleep = b.listener(open("asleep"), &[sub("a/#", 0)]);
    b.close(away);
    b.credit(asleep, 0, 0);
    let line = |name: &str, qos, filters, reach| (name.to_string(), qos, filters, reach);
    let expected = [
        line("near", 1, 2, Reach::Now),
        line("away", 1, 1, Reach::Queued),
        line("asleep", 0, 1, Reach::Dropped),
    ];
    assert_eq!(receivers(&mut b, "a/b", Qos::AtLeastOnce), expected);
    let said = b.publish("a/b=1@1");
    assert_eq!(said, ["accepted 3", "near <- a/b=1@1", "dropped no_receiver"]);
    let view = b.broker.session(away.session).unwrap();
    assert_eq!((view.queued_messages, view.in_flight, view.subscriptions), (1, 0, 1));
    assert!(view.handle.is_none() && view.ends == Some(b.turn.now + HOUR) && view.kept);
    assert_eq!(receivers(&mut b, "elsewhere", Qos::AtLeastOnce).len(), 1);
}

#[test]
fn receivers_come_in_pages() {
    let mut b = Bench::new();
    for name in ["a", "b", "c", "d", "e"] {
        b.listener(clean(name), &[sub("t", 0), sub("+", 0)]);
    }
    let mut from = 0;
    let mut pages = Vec::new();
    loop {
        let page = b.broker.receivers(&topic("t"), Qos::AtMostOnce, from, 2);
        let Some(last) = page.last() else { break };
        from = u32::try_from(last.session.slot()).unwrap() + 1;
        assert!(page.iter().all(|r| r.filters == 2));
        pages.push(page.len());
    }
    assert_eq!(pages, [2, 2, 1]);
}

#[test]
fn a_group_says_whose_turn_it_is_and_does_not_move() {
    let mut b = Bench::new();
    b.listener(open("a"), &[sub("$share/g/t", 1)]);
    b.listener(open("b"), &[sub("$share/g/t", 1)]);
    for _ in 0..2 {
        let groups = b.broker.groups_of(&topic("t"), Qos::AtLeastOnce, 10);
        let [group] = &groups[..] else { panic!("{groups:?}") };
        assert_eq!((&*group.share, group.filter.as_str(), group.members), ("g", "t", 2));
        let next = b.broker.session(group.next.unwrap().session).unwrap();
        assert_eq!(next.key.unwrap().client_id(), "a");
    }
    assert_eq!(b.publish("t=1"), ["accepted 1", "a <- t=1@0"]);
}

#[test]
fn subscriptions_are_told_as_made() {
    let mut b = Bench::new();
    let a = b.listener(open("a"), &[sub("x/+", 1), sub("$share/g/y", 2)]);
    let told = b.broker.subscriptions_of(a.session, 10);
    let mut told: Vec<(Option<&str>, &str, u8)> =
        told.iter().map(|s| (s.share.as_deref(), s.filter.as_str(), s.qos as u8)).collect();
    told.sort_unstable();
    assert_eq!(told, [(None, "x/+", 1), (Some("g"), "y", 2)]);
    assert_eq!(b.broker.subscriptions_of(a.session, 1).len(), 1);
}

#[test]
fn each_limit_counts_for_itself() {
    let config = Config {
        max_sessions: 2,
        max_subscriptions_per_session: 1,
        max_subscriptions: 2,
        max_retained_messages: 1,
        max_retained_bytes: 20,
        ..Config::default()
    };
    let mut b = Bench::with(config, false);
    let queue = QueuePolicy { max_messages: 1, overflow: Overflow::DropNewest, ..policy() };
    let a = b.listener(motegate_broker::Open { queue, ..open("a") }, &[sub("t", 1), sub("u", 1)]);
    b.close(a);
    b.publish("t=1@1");
    b.publish("t=2@1");
    b.publish("!r=1");
    b.publish("!s=1");
    let queue = QueuePolicy { max_bytes: 1, ..policy() };
    let c = b.listener(motegate_broker::Open { queue, ..open("c") }, &[sub("t", 1)]);
    b.close(c);
    b.publish("t=3@1");
    b.ask(motegate_broker::Request::Open(open("third")));
    let acted = *b.broker.acted();
    assert_eq!(acted.max_sessions, 1);
    assert_eq!((acted.max_subscriptions_per_session, acted.max_subscriptions), (1, 0));
    assert_eq!((acted.max_queued_messages, acted.max_queued_bytes), (2, 1));
    assert_eq!((acted.max_retained_messages, acted.max_retained_bytes), (1, 0));
    let usage = b.broker.usage();
    assert_eq!((usage.sessions, usage.subscriptions, usage.retained_messages), (2, 2, 1));
    assert_eq!(usage.retained_bytes, 2);
}
