//! What survives a restart, and what an answer waits for (notes 2.2, 2.3).

use super::bench::*;
use motegate_broker::{Effect, Open, Overflow, QueuePolicy, Request, Subscribe, WillChange};
use motegate_message::journal::{MemoryStore, Saved};
use motegate_message::{Message, Record, TopicName};
use std::time::Duration;

#[test]
fn only_what_is_durable_is_written_and_waited_for() {
    let mut b = Bench::durable();
    let (a, said) = b.open(clean("a"));
    assert_eq!(said, ["opened new"]);
    assert_eq!(b.subscribe(a, &[sub("t", 2)]), ["subscribed 2"]);
    assert_eq!(b.publish("t=1@2"), ["accepted 1", "a <- t=1@2"]);
    assert_eq!(b.journal.len(), 1, "the mark of generations");
    let (c, said) = b.open(open("c"));
    assert_eq!(said, ["opened new stored"]);
    assert_eq!(b.subscribe(c, &[sub("t", 2)]), ["subscribed 2 stored"]);
    assert_eq!(b.publish("t=2@0"), ["accepted 2", "a <- t=2@0", "c <- t=2@0"]);
    assert_eq!(b.publish("t=3@1"), ["accepted 2 stored", "a <- t=3@1", "c <- t=3@1"]);
    assert_eq!(b.publish("u=4@1"), ["accepted 0"]);
    assert_eq!(b.publish("!u=4"), ["accepted 0 created stored"]);
    assert_eq!(b.unsubscribe(c, "t"), ["unsubscribed [true] stored"]);
    assert_eq!(b.unsubscribe(a, "u"), ["unsubscribed [false]"], "nothing of it is stored");
}

#[test]
fn that_it_is_so_already_is_said_when_what_made_it_so_is_stored() {
    // mqtt.md 2.3: the copy of a request is answered no sooner than the request.
    let mut b = Bench::durable();
    let c = b.listener(open("c"), &[sub("t", 2)]);
    assert_eq!(b.unsubscribe(c, "t"), ["unsubscribed [true] stored"]);
    assert_eq!(b.unsubscribe(c, "t"), ["unsubscribed [false] stored"]);
    b.publish("!u=4");
    assert_eq!(b.publish("!u="), ["accepted 0 stored"]);
    assert_eq!(b.publish("!u="), ["accepted 0 stored"]);
    let (_, said) = b.open(clean("c"));
    assert_eq!(said, ["c closed taken_over", "ended c", "opened new stored"]);
    let (_, said) = b.open(clean("c"));
    assert_eq!(said, ["c closed taken_over", "ended c", "opened new stored"]);
    assert_eq!(b.publish("t=5@1"), ["accepted 0"], "a message says nothing of the kind");
}

#[test]
fn without_durability_nothing_is_written() {
    let mut b = Bench::new();
    let a = b.listener(open("a"), &[sub("t", 1)]);
    b.publish("!t=1@1");
    b.close(a);
    assert!(b.journal.is_empty());
}

#[test]
fn a_fan_out_writes_the_message_once_and_the_last_ack_deletes_it() {
    let mut b = Bench::durable();
    let all: Vec<Client> =
        (0..10).map(|i| b.listener(open(&format!("{i}")), &[sub("t", 1)])).collect();
    let before = b.journal.len();
    b.publish("t=1@1");
    assert_eq!(b.journal.len() - before, 1 + 10, "the message and ten entries");
    for client in all {
        b.ack(client, 1);
    }
    assert_eq!(b.journal.len(), before);
}

#[test]
fn ended_sessions_leave_only_marks() {
    let mut b = Bench::durable();
    let will = WillChange::Set(Some(will("w=x", SECOND)));
    let a = b.listener(Open { will, ..open("a") }, &[sub("t", 1), sub("$share/g/+", 1)]);
    b.publish("t=1@1");
    b.close_with(a, true, Some(Duration::ZERO));
    let kinds: Vec<u8> = b.journal.iter().map(|(key, _)| key[1]).collect();
    assert_eq!(kinds, [b'G']);
}

#[test]
fn everything_of_a_session_comes_back() {
    let mut b = Bench::durable();
    let rap = Subscribe { retain_as_published: true, identifier: Some(5), ..sub("t/+", 2) };
    let (a, _) = b.open(Open { window: 1, ..open("a") });
    b.subscribe(a, &[rap, sub("u", 1)]);
    b.publish("t/1=1@2"); // in flight
    b.publish("!t/2=2@1");
    b.close(a);
    b.publish("u=3@1");
    b.restart(SECOND);
    let (again, said) = b.open(open("a"));
    assert_eq!(again.session, a.session);
    let expected = [
        "opened again stored",
        "a <- t/1=1@2 again ids [5]",
        "a <- !t/2=2@1 ids [5]",
        "a <- u=3@1",
    ];
    assert_eq!(said, expected);
    assert_eq!(b.ack(a, 1), none());
    assert_eq!(b.publish("!t/9=x@1"), ["accepted 1 created stored", "a <- !t/9=x@1 ids [5]"]);
}

#[test]
fn delivery_ids_are_the_same_and_never_used_again() {
    let mut b = Bench::durable();
    let a = b.listener(open("a"), &[sub("t", 1)]);
    let mut seen = Vec::new();
    for round in 0..3 {
        for _ in 0..5_000 {
            b.publish("t=x@0");
        }
        b.broker.handle(&b.turn, publish("t=x@1"));
        seen.extend(ids(&b.effects()));
        b.ask(publish("v=store what was written"));
        b.restart(SECOND);
        let (a_again, _) = b.open(Open { window: 0, ..open("a") });
        assert_eq!(a_again.session, a.session);
        b.broker.handle(&b.turn, Request::Credit { session: a.session, window: 9, room: u32::MAX });
        let again = ids(&b.effects());
        assert_eq!(again, seen[..], "round {round}");
    }
    let count = seen.len();
    seen.dedup();
    assert_eq!(seen.len(), count);
}

fn publish(text: &str) -> Request {
    Request::Publish { ticket: 0, message: message(text), precondition: None }
}

fn ids(effects: &[Effect]) -> Vec<u64> {
    let id = |e: &Effect| match e {
        Effect::Deliver { delivery, .. } => Some(delivery.id.0),
        _ => None,
    };
    effects.iter().filter_map(id).collect()
}

#[test]
fn session_ids_are_not_used_again_after_a_restart() {
    let mut b = Bench::durable();
    let (a, _) = b.open(clean("a"));
    let (c, _) = b.open(clean("c"));
    b.restart(SECOND);
    let (d, _) = b.open(clean("d"));
    assert!(d.session != a.session && d.session != c.session);
}

#[test]
fn an_open_connection_counts_as_closed_at_the_restart() {
    let mut b = Bench::durable();
    b.listener(Open { expiry: NEVER, ..open("sub") }, &[sub("w/#", 1)]);
    let with = |name: &str, delay, expiry| Open {
        will: WillChange::Set(Some(will(&format!("w/{name}=x@1"), delay))),
        expiry,
        ..open(name)
    };
    b.open(with("now", Duration::ZERO, HOUR));
    b.open(with("later", SECOND * 10, HOUR));
    b.open(with("end", HOUR, SECOND * 5));
    b.open(with("lost", Duration::ZERO, Duration::ZERO)); // nothing of it is durable
    b.restart(HOUR);
    b.advance(SECOND * 9);
    let (s, said) = b.open(open("sub"));
    assert_eq!(said, ["opened again stored", "sub <- w/now=x@1", "sub <- w/end=x@1"]);
    assert_eq!(b.advance(SECOND), ["sub <- w/later=x@1"]);
    let _ = s;
}

#[test]
fn deadlines_run_on_while_the_process_is_down() {
    let mut b = Bench::durable();
    let a = b.listener(Open { expiry: SECOND * 100, ..open("a") }, &[sub("t", 1)]);
    b.close(a);
    let expires = Some(b.turn.now + SECOND * 10);
    b.publish_message(Message { expires, ..message("t=1@1") });
    b.publish_message(Message { expires, ..message("!r=1@1") });
    b.restart(SECOND * 50);
    assert_eq!(b.advance(Duration::ZERO), none(), "a queue is not looked through on disk");
    let topic = TopicName::new("r").unwrap();
    assert_eq!(b.ask(Request::Read { ticket: 0, topic }), ["no value"]);
    assert_eq!(b.advance(SECOND * 49), none());
    assert_eq!(b.advance(SECOND), ["ended a"]);
    assert_eq!(b.journal.len(), 1, "the marks");
}

#[test]
fn a_pending_will_keeps_its_deadline() {
    let mut b = Bench::durable();
    b.listener(Open { expiry: NEVER, ..open("sub") }, &[sub("w", 1)]);
    let will = WillChange::Set(Some(will("w=x@1", SECOND * 20)));
    let (a, _) = b.open(Open { will, ..open("a") });
    b.close(a);
    b.restart(SECOND * 15);
    b.open(open("sub"));
    assert_eq!(b.advance(SECOND * 4), none());
    assert_eq!(b.advance(SECOND), ["sub <- w=x@1"]);
    b.restart(SECOND);
    assert_eq!(b.open(open("sub")).1, ["opened again stored", "sub <- w=x@1"], "once");
}

#[test]
fn shutdown_keeps_the_deadline_of_a_delayed_will() {
    let mut b = Bench::durable();
    b.listener(Open { expiry: NEVER, ..open("sub") }, &[sub("w", 1)]);
    let will = WillChange::Set(Some(will("w=x@1", SECOND * 20)));
    b.open(Open { will, ..open("a") });
    b.broker.shutdown(&b.turn, |_| false);
    b.ask(publish("v=store what was written"));
    b.restart(SECOND * 15);
    b.open(open("sub"));
    assert_eq!(b.advance(SECOND * 5), ["sub <- w=x@1"]);
}

#[test]
fn after_a_crash_what_was_perhaps_sent_neither_expires_nor_is_called_a_repetition() {
    let mut b = Bench::durable();
    let (a, _) = b.open(Open { window: 1, ..open("a") });
    b.subscribe(a, &[sub("t", 2)]);
    for i in 1..=2 {
        let expires = Some(b.turn.now + SECOND);
        b.publish_message(Message { expires, ..message(&format!("t={i}@2")) });
    }
    b.restart(SECOND * 5);
    // The second cannot have been sent.
    let said = ["opened again stored", "dropped message_expired", "a <- t=1@2"];
    assert_eq!(b.open(open("a")).1, said);
}

/// The window of the connection that was open at an earlier death reaches to what there was then.
#[test]
fn a_large_window_before_an_earlier_crash_covers_nothing_that_came_later() {
    let mut b = Bench::durable();
    let (a, _) = b.open(Open { window: 20, ..open("a") });
    b.subscribe(a, &[sub("t", 2)]);
    b.publish("t=1@2");
    b.restart(SECOND);
    b.open(Open { window: 1, ..open("a") });
    let expires = Some(b.turn.now + SECOND);
    b.publish_message(Message { expires, ..message("t=2@2") });
    b.restart(SECOND * 5);
    // The second cannot have been sent: it has expired, and would go to another member of a group.
    let (_, said) = b.open(Open { window: 20, ..open("a") });
    assert!(said.contains(&"dropped message_expired".to_string()), "{said:?}");
    assert!(!said.iter().any(|said| said.contains("t=2")), "{said:?}");
}

#[test]
fn bounds_survive() {
    let mut b = Bench::durable();
    let queue = QueuePolicy { max_messages: 1, overflow: Overflow::DropNewest, ..policy() };
    let a = b.listener(Open { queue, ..open("a") }, &[sub("t", 1)]);
    b.close(a);
    b.publish("t=1@1");
    b.restart(SECOND);
    // What is on disk is counted first, so the message has been written.
    assert_eq!(b.publish("t=2@1"), ["accepted 1 stored", "dropped queue_full"]);
    assert_eq!(b.publish("t=3@1"), ["accepted 1", "dropped queue_full"]);
    assert_eq!(b.open(open("a")).1, ["opened again stored", "a <- t=1@1"]);
}

#[test]
fn groups_come_back_with_their_queues() {
    let mut b = Bench::durable();
    let a = b.listener(open("a"), &[sub("$share/g/t", 1)]);
    b.close(a);
    b.publish("t=1@1");
    b.restart(SECOND);
    let c = b.listener(open("c"), &[sub("$share/g/t", 1)]);
    assert_eq!(b.publish("t=2@1"), ["accepted 1 stored", "c <- t=2@1"]);
    let said = b.open(Open { clean: true, ..open("a") }).1;
    assert_eq!(said, ["ended a", "opened new stored", "c <- t=1@1"]);
    assert!(b.ack(c, 2).is_empty() && b.ack(c, 3).is_empty());
    let _ = c;
}

#[test]
fn a_session_that_becomes_transient_leaves_the_journal() {
    let mut b = Bench::durable();
    let a = b.listener(open("a"), &[sub("t", 1)]);
    b.close(a);
    b.publish("t=1@1");
    let (_, said) = b.open(Open { expiry: Duration::ZERO, ..open("a") });
    assert_eq!(said, ["opened again stored", "a <- t=1@1"]);
    let kinds: Vec<u8> = b.journal.iter().map(|(key, _)| key[1]).collect();
    assert_eq!(kinds, [b'G']);
}

#[test]
fn damaged_records_are_refused_and_the_rest_stands() {
    let mut b = Bench::durable();
    let will = WillChange::Set(Some(will("w=x", SECOND)));
    let a = b.listener(Open { will, ..open("a") }, &[sub("t", 1), sub("$share/g/+", 1)]);
    b.publish("!t=1@1");
    b.close(a);
    let (mut records, mut nothing) = (Vec::new(), MemoryStore::default());
    b.journal.state(&mut |key, value| records.push((key.to_vec(), value.to_vec())));
    for (key, value) in &records {
        for cut in 0..value.len() {
            let mut broker = motegate_broker::Broker::new(b.config);
            assert!(!broker.restore(&b.turn, key, &value[..cut]), "{key:?} cut at {cut}");
            broker.restored(&b.turn, &mut nothing);
        }
        for cut in 0..key.len() {
            let mut broker = motegate_broker::Broker::new(b.config);
            broker.restore(&b.turn, &key[..cut], value);
            broker.restored(&b.turn, &mut nothing);
        }
    }
    // Each record alone belongs to nothing; nothing of it stays.
    for (key, value) in records.iter().filter(|(key, _)| b"FW".contains(&key[1])) {
        let mut broker = motegate_broker::Broker::new(b.config);
        assert!(broker.restore(&b.turn, key, value));
        broker.restored(&b.turn, &mut nothing);
        let deleted = std::iter::from_fn(|| broker.poll_record()).any(|r| r.key == *key);
        assert!(deleted, "{}", key[1] as char);
    }
}

#[test]
fn a_sleepers_window_that_grew_is_known() {
    let mut b = Bench::durable();
    let (a, _) = b.open(Open { window: 0, room: 0, ..open("a") });
    b.subscribe(a, &[sub("t", 2)]);
    let expires = Some(b.turn.now + SECOND);
    b.publish_message(Message { expires, ..message("t=1@2") });
    assert_eq!(b.credit(a, 1, 100), ["a <- t=1@2"]);
    b.restart(SECOND * 5);
    assert_eq!(b.advance(SECOND), none(), "it was sent, and must be finished");
}

#[test]
fn a_will_dropped_by_a_goodbye_does_not_come_back() {
    let mut b = Bench::durable();
    b.listener(Open { expiry: NEVER, ..open("sub") }, &[sub("w", 1)]);
    let will = WillChange::Set(Some(will("w=x@1", Duration::ZERO)));
    let (a, _) = b.open(Open { will, ..open("a") });
    b.close_with(a, true, None);
    b.restart(SECOND);
    assert_eq!(b.open(open("sub")).1, ["opened again stored"]);
}

/// Every byte of every record turned over, one at a time: no panic, and the broker still works.
#[test]
fn a_turned_byte_harms_nobody_else() {
    let mut b = Bench::durable();
    let will = WillChange::Set(Some(will("w=x", SECOND)));
    let (a, _) = b.open(Open { will, window: 1, ..open("a") });
    b.subscribe(a, &[sub("t", 1), sub("$share/g/+", 1)]);
    b.publish("!t=1@1");
    b.publish("t=2@1");
    let journal = b.journal.clone();
    for (key, value) in journal.iter() {
        for at in 0..key.len() + value.len() {
            let (mut key, mut value, old) = (key.to_vec(), value.to_vec(), key.to_vec());
            match at.checked_sub(key.len()) {
                None => key[at] ^= 0xff,
                Some(at) => value[at] ^= 0xff,
            }
            let mut damaged = journal.clone();
            let old = Record { key: old, value: None };
            damaged.apply([old, Record { key, value: Some(value) }].into());
            b.broker = motegate_broker::Broker::new(b.config);
            damaged.state(&mut |key, value| {
                b.broker.restore(&b.turn, key, value);
            });
            b.broker.restored(&b.turn, &mut damaged);
            b.journal = damaged;
            b.effects();
            for name in ["a", "z"] {
                let (client, _) = b.open(open(name));
                b.subscribe(client, &[sub("t", 1)]);
            }
            let said = b.publish("t=3@1");
            assert!(said[0].starts_with("accepted "), "{said:?}");
            assert!(said.iter().any(|s| s == "z <- t=3@1"), "{said:?}");
            b.advance(HOUR * 2);
        }
    }
}

/// Found by the model check: so many deliveries as the window allows count as perhaps sent after a
/// crash, but not what came later to a session that has not been back.
#[test]
fn what_comes_after_a_restart_was_sent_to_nobody() {
    for restarts in 1..3 {
        let mut b = Bench::durable();
        b.listener(open("a"), &[sub("t", 2)]);
        b.publish("t=sent@2");
        b.restart(SECOND);
        let expires = Some(b.turn.now + SECOND * 5);
        b.publish_message(Message { expires, ..message("t=late@2") });
        for _ in 1..restarts {
            b.restart(SECOND);
        }
        b.advance(SECOND * 10);
        let (_, said) = b.open(open("a"));
        let delivered: Vec<&String> = said.iter().filter(|s| s.starts_with("a <-")).collect();
        assert_eq!(delivered, ["a <- t=sent@2"], "after {restarts}");
    }
}

/// Found by the model check: what was perhaps sent before a crash is done, and as many again that
/// wait are no more so after the next. [MQTT-3.3.2-5]
#[test]
fn after_a_second_crash_nothing_more_counts_as_perhaps_sent() {
    let mut b = Bench::durable();
    let (a, _) = b.open(Open { window: 2, ..open("a") });
    b.subscribe(a, &[sub("t", 2)]);
    ["t=1@2", "t=2@2"].into_iter().for_each(|text| drop(b.publish(text)));
    let expires = Some(b.turn.now + SECOND * 5);
    b.publish_message(Message { expires, ..message("t=waits@2") });
    b.restart(SECOND);
    let (a, said) = b.open(Open { window: 1, ..open("a") });
    assert_eq!(said, ["opened again stored", "a <- t=1@2"]);
    assert_eq!(b.ack(a, 1), ["a <- t=2@2"]);
    b.restart(SECOND * 10);
    let (_, said) = b.open(open("a"));
    let delivered: Vec<&String> = said.iter().filter(|s| s.contains("a <-")).collect();
    assert_eq!(delivered, ["a <- t=2@2 again"], "{said:?}");
}

/// A page of the queue is read, and with it a part of what was perhaps sent; the rest stays so.
/// [MQTT-4.3.3-7]
#[test]
fn a_crash_while_the_queue_is_read_forgets_nothing_that_was_perhaps_sent() {
    let mut b = Bench::durable();
    let (a, _) = b.open(Open { window: 100, ..open("a") });
    b.subscribe(a, &[sub("t", 2)]);
    let expires = Some(b.turn.now + SECOND * 5);
    for i in 1..=100 {
        b.publish_message(Message { expires, ..message(&format!("t={i}@2")) });
    }
    b.restart(SECOND);
    assert_eq!(b.open(Open { window: 1, ..open("a") }).1.last().unwrap(), "a <- t=1@2");
    b.restart(SECOND * 10);
    let (_, said) = b.open(Open { window: 100, ..open("a") });
    let delivered = said.iter().filter(|s| s.contains("a <-"));
    assert_eq!(delivered.count(), 100, "{said:?}");
}
