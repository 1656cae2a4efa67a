//! `$share/group/filter` (MQTT 5 §4.8.2, notes 2.7).

use super::bench::*;
use motegate_broker::{Config, Effect, Open, Request, SharedStrategy, Subscribe};
use motegate_message::{Message, Qos, TopicName};
use std::time::Duration;

fn members(b: &mut Bench, names: &[&str], qos: u8) -> Vec<Client> {
    names.iter().map(|name| b.listener(open(name), &[sub("$share/g/t", qos)])).collect()
}

/// [MQTT-4.7.2-1]: who sees topics from the wildcard on gets none that begins with `$` there, nor
/// inherits one; who sees the whole topic does.
#[test]
fn members_below_a_mount_get_no_dollar() {
    let mut b = Bench::new();
    let below = Subscribe { spares_dollar: true, ..sub("$share/g/m/#", 1) };
    let a = b.listener(open("a"), &[below]);
    assert_eq!(b.publish("m/$x=1@1"), ["accepted 0"]);
    assert_eq!(b.publish("m/x=2@1"), ["accepted 1", "a <- m/x=2@1"]);
    let c = b.listener(Open { window: 1, ..open("c") }, &[sub("$share/g/m/#", 1)]);
    assert_eq!(b.publish("m/$x=3@1"), ["accepted 1", "c <- m/$x=3@1"]);
    assert_eq!(b.publish("m/$x=4@1"), ["accepted 1"], "it waits for c");
    assert_eq!(b.close(c), none(), "and for nobody else");
    let (_, said) = b.open(open("c"));
    assert_eq!(said, ["opened again", "c <- m/$x=3@1 again", "c <- m/$x=4@1"]);
    b.ack(a, 1);
    let matched: Vec<u32> = ["m/$x", "m/x", "m"]
        .map(|topic| b.broker.groups_of(&TopicName::new(topic).unwrap(), Qos::AtLeastOnce, 9))
        .iter()
        .map(|groups| u32::from(groups[0].next.is_some_and(|next| next.session == a.session)))
        .collect();
    assert_eq!(matched, [0, 1, 1]);
}

#[test]
fn members_take_turns_and_groups_are_apart() {
    let mut b = Bench::new();
    members(&mut b, &["a", "b"], 1);
    b.listener(clean("c"), &[sub("$share/h/t", 0)]);
    assert_eq!(b.publish("t=1@1"), ["accepted 2", "a <- t=1@1", "c <- t=1@0"]);
    assert_eq!(b.publish("t=2@1"), ["accepted 2", "b <- t=2@1", "c <- t=2@0"]);
    assert_eq!(b.publish("t=3@1"), ["accepted 2", "a <- t=3@1", "c <- t=3@0"]);
}

#[test]
fn credit_first_then_connected_then_offline() {
    let mut b = Bench::new();
    let all = members(&mut b, &["a", "b", "c"], 1);
    b.close(all[0]);
    b.credit(all[1], 0, 0);
    assert_eq!(b.publish("t=1@1"), ["accepted 1", "c <- t=1@1"]);
    b.close(all[2]);
    assert_eq!(b.publish("t=2@1"), ["accepted 1"]);
    assert_eq!(b.credit(all[1], 5, 100), ["b <- t=2@1"]);
    b.close(all[1]);
    b.publish("t=3@1");
    let mut got = Vec::new();
    for name in ["a", "b", "c"] {
        got.extend(b.open(open(name)).1);
    }
    let three = got.iter().filter(|s| s.ends_with("t=3@1")).count();
    assert_eq!(three, 1, "one offline member queues it: {got:?}");
}

#[test]
fn ordinary_and_shared_subscriptions_of_one_session_both_deliver() {
    let mut b = Bench::new();
    let id = |filter, id| Subscribe { identifier: Some(id), ..sub(filter, 1) };
    b.listener(clean("a"), &[id("$share/g/t", 1), id("t", 2), id("#", 3)]);
    let said = b.publish("t=1@1");
    assert_eq!(said, ["accepted 2", "a <- t=1@1 ids [2, 3]", "a <- t=1@1 ids [1]"]);
}

#[test]
fn no_retained_messages_for_a_group_but_the_flag_as_published() {
    let mut b = Bench::new();
    b.publish("!t=1");
    let rap = Subscribe { retain_as_published: true, ..sub("$share/g/t", 0) };
    let (a, _) = b.open(clean("a"));
    assert_eq!(b.subscribe(a, &[rap]), ["subscribed 0"]);
    assert_eq!(b.publish("!t=2"), ["accepted 1", "a <- !t=2@0"]);
}

#[test]
fn a_members_end_moves_its_messages_in_order_except_started_qos_2() {
    let mut b = Bench::new();
    let (a, _) = b.open(Open { window: 2, expiry: Duration::ZERO, ..open("a") });
    b.subscribe(a, &[sub("$share/g/t", 2)]);
    for text in ["t=1@1", "t=2@2", "t=3@2", "t=4@1"] {
        b.publish(text);
    }
    b.listener(open("b"), &[sub("$share/g/t", 2)]);
    let said = b.close(a);
    // Not `t=2`: it may have been received, and exactly once is once (MQTT-4.8.2-5).
    assert_eq!(said, ["b <- t=1@1", "b <- t=3@2", "b <- t=4@1", "ended a"]);
}

#[test]
fn unsubscribing_moves_what_waits_and_finishes_what_was_started() {
    let mut b = Bench::new();
    let (a, _) = b.open(Open { window: 1, ..open("a") });
    b.subscribe(a, &[sub("$share/g/t", 1)]);
    b.publish("t=1@1");
    b.publish("t=2@1");
    b.listener(open("b"), &[sub("$share/g/t", 1)]);
    assert_eq!(b.unsubscribe(a, "t"), ["unsubscribed [false]"], "the whole text is needed");
    assert_eq!(b.unsubscribe(a, "$share/g/t"), ["unsubscribed [true]", "b <- t=2@1"]);
    assert_eq!(b.ack(a, 1), none());
}

#[test]
fn a_started_message_of_a_left_group_still_moves_when_the_session_ends() {
    let mut b = Bench::new();
    let a = b.listener(clean("a"), &[sub("$share/g/t", 1)]);
    b.publish("t=1@1");
    b.listener(open("b"), &[sub("$share/g/t", 1)]);
    b.unsubscribe(a, "$share/g/t");
    assert_eq!(b.close(a), ["b <- t=1@1", "ended a"]);
}

#[test]
fn a_lost_connection_moves_the_queue_but_not_what_is_in_flight() {
    let mut b = Bench::new();
    let (a, _) = b.open(Open { window: 1, ..open("a") });
    b.subscribe(a, &[sub("$share/g/t", 1)]);
    b.publish("t=1@1");
    b.publish("t=2@1");
    b.listener(open("b"), &[sub("$share/g/t", 1)]);
    assert_eq!(b.close(a), ["b <- t=2@1"]);
    assert_eq!(b.open(open("a")).1, ["opened again", "a <- t=1@1 again"]);
}

#[test]
fn with_nobody_else_connected_the_queue_stays() {
    let mut b = Bench::new();
    let (a, _) = b.open(Open { window: 0, ..open("a") });
    b.subscribe(a, &[sub("$share/g/t", 1)]);
    let c = b.listener(open("b"), &[sub("$share/g/t", 1)]);
    b.close(c);
    b.publish("t=1@1");
    assert_eq!(b.close(a), none());
    assert_eq!(b.open(open("a")).1, ["opened again", "a <- t=1@1"]);
}

#[test]
fn the_last_member_takes_the_queue_along_and_it_is_counted() {
    let mut b = Bench::new();
    let (a, _) = b.open(Open { window: 0, ..open("a") });
    b.subscribe(a, &[sub("$share/g/t", 1)]);
    b.publish("t=1@1");
    assert_eq!(b.unsubscribe(a, "$share/g/t"), ["unsubscribed [true]", "dropped no_receiver"]);
    assert_eq!(b.publish("t=1@1"), ["accepted 0"]);
}

#[test]
fn dollar_topics_need_their_filter() {
    let mut b = Bench::new();
    b.listener(clean("a"), &[sub("$share/g/#", 0)]);
    b.listener(clean("b"), &[sub("$share/g/$SYS/#", 0)]);
    assert_eq!(b.publish("$SYS/x=1"), ["accepted 1", "b <- $SYS/x=1@0"]);
}

#[test]
fn bounds_hold_for_moved_messages_too() {
    let mut b = Bench::new();
    let (a, _) = b.open(Open { window: 0, ..clean("a") });
    b.subscribe(a, &[sub("$share/g/t", 1)]);
    for i in 0..5 {
        b.publish(&format!("t={i}@1"));
    }
    let queue = motegate_broker::QueuePolicy {
        max_messages: 2,
        overflow: motegate_broker::Overflow::Disconnect,
        ..policy()
    };
    let (c, _) = b.open(Open { window: 0, queue, expiry: Duration::ZERO, ..open("c") });
    b.subscribe(c, &[sub("$share/g/t", 1)]);
    let said = b.close(a);
    assert_eq!(said.iter().filter(|s| *s == "c closed queue_full").count(), 1, "{said:?}");
    assert_eq!(said.last().unwrap(), "ended c");
    let session = a.session;
    assert_eq!(b.ask(Request::GetWill { ticket: 0, session }), ["no will"]);
}

#[test]
fn one_member_keeps_getting_what_is_shared_or_each_topic_has_its_own() {
    let config = |shared_strategy| Config { shared_strategy, ..Config::default() };
    let mut b = Bench::with(config(SharedStrategy::Sticky), false);
    let all = members(&mut b, &["a", "b"], 0);
    let mut got = Vec::new();
    for i in 0..5 {
        if i == 2 {
            b.close(all[0]);
        }
        got.extend(b.publish(&format!("t={i}"))[1..].iter().cloned());
    }
    assert_eq!(got, ["a <- t=0@0", "a <- t=1@0", "b <- t=2@0", "b <- t=3@0", "b <- t=4@0"]);

    let mut b = Bench::with(config(SharedStrategy::HashTopic), false);
    for name in ["a", "b", "c"] {
        b.listener(clean(name), &[sub("$share/g/#", 0)]);
    }
    let mut to = |topic: usize| b.publish(&format!("{topic}=x"))[1][..1].to_string();
    let first: Vec<String> = (0..20).map(&mut to).collect();
    assert_eq!(first, (0..20).map(&mut to).collect::<Vec<_>>());
    assert!(["a", "b", "c"].iter().all(|name| first.iter().any(|got| got == name)), "{first:?}");
}

#[test]
fn a_member_is_as_ready_as_its_own_qos_makes_it() {
    let mut b = Bench::new();
    let (a, _) = b.open(Open { window: 1, ..open("a") });
    b.subscribe(a, &[sub("$share/g/t", 0)]);
    b.listener(open("b"), &[sub("$share/g/t", 1)]);
    // QoS 0 takes no place in the window.
    assert_eq!(b.publish("t=1@1"), ["accepted 1", "a <- t=1@0"]);
    assert_eq!(b.publish("t=2@1"), ["accepted 1", "b <- t=2@1"]);
    assert_eq!(b.publish("t=3@1"), ["accepted 1", "a <- t=3@0"]);
}

#[test]
fn who_keeps_nothing_gets_it_last() {
    let mut b = Bench::new();
    let a = b.listener(open("a"), &[sub("$share/g/t", 0)]);
    let c = b.listener(open("c"), &[sub("$share/g/t", 1)]);
    b.close(a);
    b.close(c);
    assert_eq!(b.publish("t=1@1"), ["accepted 1"]);
    assert_eq!(b.publish("t=2@1"), ["accepted 1"]);
    assert_eq!(b.publish("t=3@0"), ["accepted 1", "dropped no_receiver"]);
    assert_eq!(b.open(open("c")).1, ["opened again", "c <- t=1@1", "c <- t=2@1"]);
}

/// What its endpoint says when the client's Maximum Packet Size is smaller.
fn too_large(b: &mut Bench, client: Client, text: &str) -> Vec<String> {
    b.broker.handle(
        &b.turn,
        Request::Publish { ticket: 0, message: message(text), precondition: None },
    );
    let mut said = Vec::new();
    let mut effects = b.effects();
    while let Some(at) = effects.iter().position(
        |effect| matches!(effect, Effect::Deliver { session, .. } if *session == client.session),
    ) {
        let Effect::Deliver { session, delivery, .. } = effects.remove(at) else { unreachable!() };
        let (share, delivery, message) = (delivery.share, delivery.id, delivery.message);
        said.extend(b.ask(Request::TooLarge { session, delivery, message, share }));
    }
    said
}

#[test]
fn what_is_too_large_for_one_goes_to_the_next() {
    for qos in 0..3 {
        let mut b = Bench::new();
        let small = b.listener(Open { window: 1, ..open("a") }, &[sub("$share/g/t", qos)]);
        b.listener(open("b"), &[sub("$share/g/t", qos)]);
        let said = too_large(&mut b, small, &format!("t=1@{qos}"));
        assert_eq!(said, [format!("b <- t=1@{qos}")]);
        // The place in the window is free again.
        assert_eq!(b.publish("t=2@1").len(), 2);
    }
}

#[test]
fn what_is_too_large_for_all_is_dropped_and_counted() {
    let mut b = Bench::new();
    let a = b.listener(open("a"), &[sub("$share/g/t", 1)]);
    assert_eq!(too_large(&mut b, a, "t=1@1"), ["dropped too_large"]);
    assert_eq!(b.publish("t=2@1"), ["accepted 1", "a <- t=2@1"]);
}

#[test]
fn what_moves_has_not_been_sent_to_its_new_member_and_may_expire() {
    let mut b = Bench::new();
    let a = b.listener(clean("a"), &[sub("$share/g/t", 1)]);
    let expires = Some(b.turn.now + SECOND);
    b.publish_message(Message { expires, ..message("t=1@1") });
    b.listener(open("b"), &[sub("$share/g/t", 1)]);
    b.advance(SECOND);
    assert_eq!(b.close(a), ["dropped message_expired", "ended a"]);
}

#[test]
fn what_was_on_disk_moves_when_it_is_read() {
    let config = Config { head_messages: 2, head_messages_away: 1, ..Config::default() };
    let mut b = Bench::with(config, true);
    let (a, _) = b.open(Open { window: 1, ..open("a") });
    b.subscribe(a, &[sub("$share/g/t", 1), sub("u", 1)]);
    for i in 0..6 {
        b.publish(&format!("t={i}@1"));
    }
    b.publish("u=6@1");
    b.listener(open("b"), &[sub("$share/g/t", 1)]);
    let mut moved = b.unsubscribe(a, "$share/g/t");
    moved.extend(b.ack(a, 1));
    let to_b: Vec<&String> = moved.iter().filter(|said| said.starts_with('b')).collect();
    assert_eq!(to_b, ["b <- t=1@1", "b <- t=2@1", "b <- t=3@1", "b <- t=4@1", "b <- t=5@1"]);
    assert_eq!(
        moved.iter().filter(|said| said.starts_with('a')).collect::<Vec<_>>(),
        ["a <- u=6@1"]
    );
}

/// mqtt.md 2.7: never to a member whose credit is 0 while another has some, QoS 0 neither; where
/// nobody has any, to anyone who takes it.
#[test]
fn qos_0_goes_to_who_has_credit() {
    let mut b = Bench::new();
    let a = b.listener(Open { window: 1, ..open("a") }, &[sub("$share/g/t", 1)]);
    assert_eq!(b.publish("t=1@1"), ["accepted 1", "a <- t=1@1"]);
    assert_eq!(b.publish("t=alone@0"), ["accepted 1", "a <- t=alone@0"]);
    let c = b.listener(Open { window: 1, ..open("c") }, &[sub("$share/g/t", 1)]);
    for n in 2..6 {
        assert_eq!(b.publish(&format!("t={n}@0")), ["accepted 1".into(), format!("c <- t={n}@0")]);
    }
    assert_eq!(b.publish("t=6@1"), ["accepted 1", "c <- t=6@1"]);
    let who = |said: &[String]| said[1].chars().next();
    let got = [b.publish("t=7@0"), b.publish("t=8@0")].map(|said| who(&said));
    assert_eq!(got, [Some('a'), Some('c')], "in turn");
    b.ack(a, 1);
    assert_eq!(b.publish("t=9@0"), ["accepted 1", "a <- t=9@0"]);
    assert_eq!(b.publish("t=0@0"), ["accepted 1", "a <- t=0@0"]);
    b.ack(c, 5);
}
