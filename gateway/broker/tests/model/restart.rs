//! A restart from the journal, compared with the process that lived on.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use motegate_broker::*;
use motegate_message::journal::{MemoryStore, content_number};
use motegate_message::*;
use motegate_timers::Instant;

use crate::{CLIENTS, FILTERS, Op, TOPICS, key, qos, store, subscription};

#[derive(Default)]
struct Run {
    handles: BTreeMap<usize, (SessionId, Handle)>,
    unacked: BTreeMap<SessionId, Vec<DeliveryId>>,
    journal: MemoryStore,
    next: u64,
}

/// What a session is sent, but for QoS 0 and for what the journal cannot know.
type Seen = Vec<(SessionId, DeliveryId, String, Qos, bool, Option<Vec<u32>>)>;

fn turn(seq: u64) -> Turn {
    let wall = Wall::from_millis(1_700_000_000_000);
    Turn { now: Instant::from_secs(9), wall, seq: Seq(seq), durable: true }
}

fn ask(broker: &mut Broker, run: &mut Run, request: Request) -> Seen {
    run.next += 1;
    broker.handle(&turn(run.next), request);
    drain(broker, run)
}

fn drain(broker: &mut Broker, run: &mut Run) -> Seen {
    let mut seen = Vec::new();
    for effect in store::effects(broker, &mut run.journal, &turn(run.next)) {
        match effect {
            Effect::Deliver { session, delivery, .. } if delivery.qos != Qos::AtMostOnce => {
                run.unacked.entry(session).or_default().push(delivery.id);
                let text = format!(
                    "{}={}",
                    delivery.message.topic,
                    String::from_utf8_lossy(&delivery.message.payload)
                );
                let identifiers = delivery.identifiers.map(|i| i.to_vec());
                let (id, qos, retain) = (delivery.id, delivery.qos, delivery.retain);
                seen.push((session, id, text, qos, retain, identifiers));
            }
            Effect::Ended { session, .. } => {
                run.unacked.remove(&session);
            }
            _ => {}
        }
    }
    seen
}

fn opening(run: &mut Run, client: usize, clean: bool, lasting: bool, window: u16) -> Open {
    let handle = Handle(run.next + 1_000);
    let will = lasting.then(|| Will {
        message: Message {
            qos: Qos::AtLeastOnce,
            ..Message::new(TopicName::new("a").unwrap(), Bytes::from(format!("will {client}")))
        },
        expiry: None,
        delay: Duration::from_secs(client as u64 % 2),
    });
    Open {
        ticket: 0,
        key: Some(key(client)),
        handle,
        clean,
        expiry: if lasting { Duration::from_secs(100) } else { Duration::ZERO },
        will: WillChange::Set(will),
        window,
        room: 1_000_000,
        queue: QueuePolicy {
            max_messages: 1_000,
            max_bytes: 1_000_000,
            overflow: Overflow::DropOldest,
            queue_qos0: false,
            max_payload: u16::MAX,
        },
    }
}

fn request(run: &mut Run, op: &Op) -> Option<Request> {
    Some(match op.clone() {
        Op::Open { client, clean, lasting, window, .. } => {
            Request::Open(opening(run, client, clean, lasting, window))
        }
        Op::Close { client, drop_will } => {
            let (session, handle) = run.handles.remove(&client)?;
            Request::Close { session, handle, drop_will, expiry: None }
        }
        Op::Subscribe { client, filters } => Request::Subscribe {
            ticket: 0,
            session: run.handles.get(&client)?.0,
            filters: filters.into_iter().map(subscription).collect(),
            most: None,
        },
        Op::Unsubscribe { client, filter } => Request::Unsubscribe {
            ticket: 0,
            session: run.handles.get(&client)?.0,
            filters: vec![SubscriptionFilter::new(FILTERS[filter]).unwrap()],
        },
        Op::Resubscribe { client, from, to } => Request::Resubscribe {
            ticket: 0,
            session: run.handles.get(&client)?.0,
            from: from.iter().map(|at| SubscriptionFilter::new(FILTERS[*at]).unwrap()).collect(),
            to: to.into_iter().map(subscription).collect(),
        },
        Op::Publish { client, topic, qos: bits, retain, empty } => {
            let payload = if empty { String::new() } else { format!("{}", run.next) };
            let topic = TopicName::new(TOPICS[topic]).unwrap();
            let mut message = Message::new(topic, payload.into());
            (message.qos, message.retain) = (qos(bits), retain);
            message.publisher = Some(key(client));
            Request::Publish { ticket: 0, message, precondition: None }
        }
        Op::Ack { client, nth } => {
            let session = run.handles.get(&client)?.0;
            let unacked = run.unacked.get_mut(&session)?;
            let delivery = (nth < unacked.len()).then(|| unacked.remove(nth))?;
            Request::Ack { session, delivery }
        }
        Op::Credit { client, window, .. } => {
            Request::Credit { session: run.handles.get(&client)?.0, window, room: 1_000_000 }
        }
    })
}

fn replay(ops: &[Op], spills: bool) -> (Broker, Run) {
    let (mut broker, mut run) = (Broker::new(store::config(spills)), Run::default());
    for op in ops {
        let Some(request) = request(&mut run, op) else { continue };
        let opened = match (&request, op) {
            (Request::Open(open), Op::Open { client, .. }) => Some((*client, open.handle)),
            _ => None,
        };
        run.next += 1;
        broker.handle(&turn(run.next), request);
        if let Some((client, handle)) = opened {
            // Find the id without losing the other effects.
            let mut session = None;
            let mut later = Vec::new();
            for effect in store::effects(&mut broker, &mut run.journal, &turn(run.next)) {
                if let Effect::Opened { session: id, .. } = &effect {
                    session = Some(*id);
                }
                later.push(effect);
            }
            let session = session.expect("opened");
            run.handles.insert(client, (session, handle));
            run.unacked.insert(session, Vec::new());
            for effect in later {
                if let Effect::Deliver { delivery, .. } = effect
                    && delivery.qos != Qos::AtMostOnce
                {
                    run.unacked.entry(session).or_default().push(delivery.id);
                }
            }
        }
        drain(&mut broker, &mut run);
    }
    (broker, run)
}

/// Everything that a client could see of the state, by opening every session.
fn inspect(broker: &mut Broker, run: &mut Run) -> (Seen, Vec<String>) {
    let mut seen = Seen::new();
    for client in 0..CLIENTS {
        let open = opening(run, client, false, true, 60_000);
        seen.extend(ask(broker, run, Request::Open(open)));
    }
    for topic in TOPICS {
        let message = Message {
            qos: Qos::ExactlyOnce,
            retain: true,
            ..Message::new(TopicName::new(topic).unwrap(), "probe".into())
        };
        let list = Request::Read { ticket: 0, topic: message.topic.clone() };
        broker.handle(&turn(0), list);
        let value = broker.poll_effect();
        let text = match value {
            Some(Effect::Value { message: Some(m), .. }) => {
                format!("{:?} {:?} {:?}", m.payload, m.qos, m.publisher)
            }
            _ => "none".into(),
        };
        seen.push((SessionId::new(0, 0), DeliveryId(0), text, Qos::AtMostOnce, false, None));
        // Without the ids: a restart skips some.
        let probes = ask(broker, run, Request::Publish { ticket: 0, message, precondition: None });
        seen.extend(probes.into_iter().map(|mut p| {
            p.1 = DeliveryId(0);
            p
        }));
    }
    // Whether a message is a content of its own depends on who else got it.
    let keys = run.journal.iter().filter(|(key, _)| content_number(key).is_none());
    let names = keys.map(|(key, _)| format!("{} {}", key[0], key[1])).collect();
    (seen, names)
}

pub(crate) fn compare(ops: &[Op], spills: bool) {
    let (mut before, mut run) = replay(ops, spills);
    let mut again = Run { journal: run.journal.clone(), next: run.next, ..Run::default() };
    // In the one that lives on, all connections are lost, in the order of their sessions.
    let mut open: Vec<(SessionId, Handle)> = run.handles.values().copied().collect();
    open.sort_unstable_by_key(|(session, _)| *session);
    for (session, handle) in open {
        let close = Request::Close { session, handle, drop_will: false, expiry: None };
        ask(&mut before, &mut run, close);
    }
    let mut after = store::restart(&mut again.journal, &turn(0), spills);
    drain(&mut after, &mut again);
    let (expected, records) = inspect(&mut before, &mut run);
    let (found, records_again) = inspect(&mut after, &mut again);
    // Ids given to the wills of the last moment differ: the marks moved on.
    let strip = |seen: Seen| -> Seen {
        seen.into_iter()
            .map(|mut s| {
                if s.2.contains("=will") {
                    s.1 = DeliveryId(0);
                }
                // A session that begins now has the same place but not the same generation.
                s.0 = SessionId::new(u32::try_from(s.0.slot()).unwrap(), 0);
                s
            })
            .collect()
    };
    assert_eq!(strip(found), strip(expected), "after {ops:?}");
    assert_eq!(records_again, records);
}
