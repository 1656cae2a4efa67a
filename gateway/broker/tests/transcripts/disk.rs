//! Queues that are larger than memory.

use super::bench::*;
use motegate_broker::{Config, Open, Overflow, QueuePolicy, Request};
use motegate_message::{Message, SessionId};

/// At most two messages of a queue in memory, one of a session that is away.
fn small_config() -> Config {
    Config { head_messages: 2, head_messages_away: 1, ..Config::default() }
}

fn small() -> Bench {
    Bench::with(small_config(), true)
}

fn payloads(said: &[String]) -> Vec<&str> {
    let payload = |line: &String| Some(line.split_once('=')?.1.split_once('@')?.0.len());
    let at = |line: &String| line.find('=').map(|at| at + 1);
    said.iter().filter_map(|line| Some(&line[at(line)?..][..payload(line)?])).collect()
}

/// Messages and bytes that wait for a session, as its bounds count them.
fn waiting(b: &Bench, session: SessionId) -> (u32, u64) {
    let view = b.broker.session(session).expect("it is there");
    (view.queued_messages, view.queued_bytes)
}

#[test]
fn what_waits_comes_in_order_whether_it_was_in_memory_or_not() {
    let mut b = small();
    let queue = QueuePolicy { max_messages: 200, ..policy() };
    let a = b.listener(Open { queue, ..open("a") }, &[sub("t", 1)]);
    b.close(a);
    for i in 0..200 {
        assert_eq!(b.publish(&format!("t={i}@1")), ["accepted 1 stored"]);
    }
    assert_eq!(waiting(&b, a.session).0, 200);
    let (a, mut said) = b.open(Open { window: 3, queue, ..open("a") });
    let mut acked = 0;
    while acked < said.len() {
        said.extend(b.ack(a, acked as u64 + 1));
        acked += 1;
    }
    let expected: Vec<String> = (0..200).map(|i| i.to_string()).collect();
    assert_eq!(payloads(&said), expected);
    assert_eq!(waiting(&b, a.session), (0, 0));
    assert_eq!(b.journal.len(), 3, "a session, a subscription and the marks");
    assert_eq!(b.publish("t=live@1"), ["accepted 1 stored", "a <- t=live@1"]);
}

#[test]
fn a_full_queue_gives_up_its_oldest_from_the_disk() {
    let mut b = small();
    let queue = QueuePolicy { max_messages: 50, ..policy() };
    let a = b.listener(Open { queue, ..open("a") }, &[sub("t", 1)]);
    b.close(a);
    let mut dropped = 0;
    for i in 0..500 {
        let said = b.publish(&format!("t={i:04}@1"));
        dropped += said.iter().filter(|line| *line == "dropped queue_full").count();
        assert!(waiting(&b, a.session).0 <= 50, "{said:?}");
    }
    assert_eq!(dropped, 450);
    let (_, said) = b.open(Open { window: 1_000, queue, ..open("a") });
    let expected: Vec<String> = (450..500).map(|i| format!("{i:04}")).collect();
    assert_eq!(payloads(&said), expected);
}

#[test]
fn what_came_first_is_counted_after_a_restart_before_anything_is_dropped() {
    let mut b = small();
    let queue = QueuePolicy { max_messages: 4, ..policy() };
    let a = b.listener(Open { queue, window: 2, ..open("a") }, &[sub("t", 1)]);
    b.publish("t=stuck@1");
    // One is never acknowledged, many are: the ids on disk are far apart.
    for i in 0..100 {
        b.publish(&format!("t={i}@1"));
        b.ack(a, i + 2);
    }
    b.close(a);
    b.publish("t=x@1");
    b.restart(SECOND);
    assert_eq!(b.publish("t=y@1"), ["accepted 1 stored"]);
    assert_eq!(b.publish("t=z@1"), ["accepted 1 stored"]);
    let (_, said) = b.open(open("a"));
    assert_eq!(payloads(&said), ["stuck", "x", "y", "z"]);
}

#[test]
fn a_drain_reads_everything_that_waited_and_nothing_that_comes_later() {
    let mut b = small();
    let (a, _) = b.open(Open { window: 0, room: 0, ..open("a") });
    b.subscribe(a, &[sub("t", 1)]);
    for i in 0..70 {
        b.publish(&format!("t={i}@1"));
    }
    let drain = Request::Drain { ticket: 7, session: a.session, window: 1, room: 10_000 };
    let mut said = b.ask(drain);
    b.publish("t=late@1");
    let mut next = 1;
    while said.last().is_none_or(|last| last != "a drained 7") {
        said.extend(b.ack(a, next));
        next += 1;
        assert!(next < 100, "{said:?}");
    }
    assert_eq!(payloads(&said).len(), 70);
    assert!(!payloads(&said).contains(&"late"));
    assert_eq!(waiting(&b, a.session).0, 1);
}

#[test]
fn what_expired_on_disk_is_not_delivered() {
    let mut b = small();
    let a = b.listener(open("a"), &[sub("t", 1)]);
    b.close(a);
    let expires = Some(b.turn.now + SECOND);
    for i in 0..10 {
        let message = message(&format!("t={i}@1"));
        let expires = expires.filter(|_| i % 2 == 0);
        b.publish_message(Message { expires, ..message });
    }
    b.advance(SECOND * 2);
    let (_, said) = b.open(open("a"));
    assert_eq!(payloads(&said), ["1", "3", "5", "7", "9"]);
}

#[test]
fn a_session_that_ends_leaves_nothing_on_disk() {
    let mut b = small();
    let all: Vec<Client> =
        (0..5).map(|i| b.listener(open(&format!("{i}")), &[sub("t", 1)])).collect();
    for client in &all {
        b.close(*client);
    }
    for i in 0..20 {
        b.publish(&format!("t={i}@1"));
    }
    assert_eq!(b.journal.len(), 20 + 5 * 20 + 5 + 5 + 1, "each message once");
    b.open(Open { clean: true, ..clean("0") });
    b.advance(HOUR);
    assert_eq!(b.journal.len(), 1, "the marks");
}

#[test]
fn memory_that_is_short_makes_queues_go_to_disk_and_loses_nothing() {
    let config = Config { max_memory_queued: 2_000, ..Config::default() };
    let mut b = Bench::with(config, true);
    let queue = QueuePolicy { max_messages: 1_000, ..policy() };
    let names = ["a", "b", "c"];
    let clients = names.map(|n| b.listener(Open { window: 0, queue, ..open(n) }, &[sub("t", 1)]));
    for i in 0..100 {
        assert_eq!(b.publish(&format!("t={i:04}{:0100}@1", 0)), ["accepted 3 stored"]);
    }
    assert!(b.broker.usage().queued_bytes <= 2_000);
    for client in clients {
        let said = b.credit(client, 1_000, u32::MAX);
        let numbers: Vec<&str> = payloads(&said).iter().map(|text| &text[..4]).collect();
        let expected: Vec<String> = (0..100).map(|i| format!("{i:04}")).collect();
        assert_eq!(numbers, expected);
    }
}

#[test]
fn qos_0_waits_behind_what_is_on_disk() {
    let mut b = small();
    let queue = QueuePolicy { queue_qos0: true, ..policy() };
    let a = b.listener(Open { queue, ..open("a") }, &[sub("t", 1)]);
    b.close(a);
    for i in 0..10 {
        b.publish(&format!("t={i}@{}", i % 2));
    }
    let (a, mut said) = b.open(Open { queue, window: 1, ..open("a") });
    for id in 1..=10 {
        said.extend(b.ack(a, id));
    }
    assert_eq!(payloads(&said), ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]);
    assert_eq!(b.journal.len(), 3);
}

#[test]
fn the_latest_of_each_topic_is_kept_in_memory_and_comes_back() {
    let mut b = small();
    let queue = QueuePolicy { overflow: Overflow::LatestPerTopic, max_messages: 3, ..policy() };
    let a = b.listener(Open { queue, ..open("a") }, &[sub("t/+", 1)]);
    b.close(a);
    for i in 0..30 {
        b.publish(&format!("t/{}={i}@1", i % 3));
    }
    b.restart(SECOND);
    b.publish("t/0=30@1");
    let (_, said) = b.open(Open { queue, ..open("a") });
    assert_eq!(payloads(&said), ["28", "29", "30"]);
}

#[test]
fn damage_on_disk_is_told_and_the_rest_comes() {
    let mut b = small();
    let a = b.listener(open("a"), &[sub("t", 1)]);
    b.close(a);
    for i in 0..5 {
        b.publish(&format!("t={i}@1"));
    }
    b.damage(3);
    let (_, said) = b.open(open("a"));
    assert_eq!(payloads(&said), ["0", "1", "3", "4"]);
    assert_eq!(said.iter().filter(|line| *line == "dropped store_damaged").count(), 1);
}

#[test]
fn what_would_go_beyond_the_disk_quota_is_dropped() {
    let mut b = Bench::with(Config { max_disk_queued: 300, ..small_config() }, true);
    let clients = ["a", "b"].map(|name| b.listener(open(name), &[sub(name, 1)]));
    clients.iter().for_each(|client| drop(b.close(*client)));
    let mut dropped = 0;
    for i in 0..50 {
        for topic in ["a", "b"] {
            let said = b.publish(&format!("{topic}={i:02}@1"));
            dropped += said.iter().filter(|line| *line == "dropped queue_full").count();
        }
    }
    let usage = b.broker.usage();
    assert!((280..=300).contains(&usage.disk_bytes), "{usage:?}");
    assert_eq!(b.broker.acted().max_disk_queued, dropped as u64);
    let kept = clients.map(|client| waiting(&b, client.session).0 as usize);
    assert_eq!(kept[0] + kept[1] + dropped, 100);
    for (name, kept) in ["a", "b"].into_iter().zip(kept) {
        let (_, said) = b.open(Open { window: 100, ..open(name) });
        let first: Vec<String> = (0..kept).map(|i| format!("{i:02}")).collect();
        assert_eq!(payloads(&said), first);
    }
    assert_eq!(b.broker.usage().disk_bytes, 0);
}

/// Found by the model check: what waits at QoS 0 goes with the connection, on disk too.
#[test]
fn qos_0_on_disk_is_given_up_with_the_connection() {
    let config = Config { head_messages: 1, head_messages_away: 1, ..Config::default() };
    let mut b = Bench::with(config, true);
    let (a, _) = b.open(Open { window: 1, ..open("a") });
    b.subscribe(a, &[sub("#", 1)]);
    for text in ["t=1@1", "t=2@1", "t=3@1", "t=4@0", "t=5@1"] {
        b.publish(text);
    }
    b.close(a);
    let said = b.open(open("a")).1;
    let got: Vec<&String> = said.iter().filter(|s| s.starts_with("a <-")).collect();
    assert_eq!(got, ["a <- t=1@1 again", "a <- t=2@1", "a <- t=3@1", "a <- t=5@1"]);
}

/// Found by the model check: what waited at QoS 0 at a crash may have been delivered, and does not
/// go to another member of its group when the session ends (MQTT 5 §4.3.1).
#[test]
fn qos_0_of_an_earlier_life_goes_to_no_other_member() {
    let config = Config { head_messages: 1, head_messages_away: 1, ..Config::default() };
    let mut b = Bench::with(config, true);
    let queue = QueuePolicy { queue_qos0: true, ..policy() };
    let a = b.listener(Open { queue, ..open("a") }, &[sub("$share/g/t", 1)]);
    b.close(a);
    for text in ["t=1@1", "t=2@1", "t=3@0", "t=4@1"] {
        b.publish(text);
    }
    b.restart(std::time::Duration::from_secs(1));
    b.listener(open("c"), &[sub("$share/g/t", 1)]);
    let said = b.open(Open { clean: true, queue, ..open("a") }).1;
    let got: Vec<&String> = said.iter().filter(|s| s.starts_with("c <-")).collect();
    assert_eq!(got, ["c <- t=1@1", "c <- t=2@1", "c <- t=4@1"]);
}

/// A session that ended is read while another has its place and its name: that one is not taken for
/// it after a crash, and neither loses anything. [MQTT-4.1.0-1, MQTT-4.8.2-5]
#[test]
fn a_session_in_the_place_of_one_that_ended_outlives_a_crash() {
    let mut b = small();
    let (a, _) = b.open(open("a"));
    b.subscribe(a, &[sub("$share/g/t", 2)]);
    b.close(a);
    let all: Vec<String> = (0..100).map(|i| i.to_string()).collect();
    all.iter().for_each(|i| drop(b.publish(&format!("t={i}@2"))));
    b.restart(SECOND);
    b.listener(Open { window: 1_000, ..open("c") }, &[sub("$share/g/t", 2)]);
    b.open_and_die(Open { clean: true, ..open("a") }, SECOND);
    let (_, said) = b.open(open("a"));
    assert!(
        said.iter().any(|said| said.starts_with("opened again")),
        "its CONNECT was stored: {said:?}"
    );
    let (_, mut said) = b.open(Open { window: 1_000, ..open("c") });
    said.extend(b.advance(SECOND));
    assert_eq!(payloads(&said), all);
}

/// The process dies while the queue of a session that ended is read: what was shared to it goes to
/// others all the same, but for QoS 2 that was sent. [MQTT-4.8.2-5]
#[test]
fn a_crash_while_a_session_ends_loses_nothing_that_was_shared_to_it() {
    let mut b = small();
    let (a, _) = b.open(Open { window: 1, ..open("a") });
    b.subscribe(a, &[sub("$share/g/t", 2)]);
    b.publish("t=sent@2");
    b.close(a);
    let all: Vec<String> = (0..100).map(|i| i.to_string()).collect();
    all.iter().for_each(|i| drop(b.publish(&format!("t={i}@2"))));
    b.restart(SECOND);
    b.listener(Open { window: 1_000, ..open("c") }, &[sub("$share/g/t", 2)]);
    let said = b.open_and_die(clean("a"), SECOND);
    assert_eq!(said, none());
    let (_, mut said) = b.open(Open { window: 1_000, ..open("c") });
    said.extend(b.advance(SECOND));
    assert_eq!(payloads(&said), all);
    b.open(Open { clean: true, ..clean("c") });
    assert_eq!(b.journal.len(), 1, "the marks");
}
