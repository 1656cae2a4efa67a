//! The broker, and a naive model beside it: a list of copies that must arrive.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use motegate_broker::*;
use motegate_message::journal::MemoryStore;
use motegate_message::*;
use motegate_timers::Instant;

use crate::{CLIENTS, FILTERS, Op, TOPICS, key, qos, store, subscription};

/// One copy that a session must get: payloads are unique.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Copy {
    topic: String,
    payload: Bytes,
    qos: Qos,
    retain: bool,
    identifiers: Vec<u32>,
}

#[derive(Debug)]
struct Item {
    copy: Copy,
    snapshot: bool,
}

#[derive(Debug)]
struct Model {
    id: SessionId,
    handle: Option<Handle>,
    window: usize,
    room: u64,
    subscriptions: BTreeMap<&'static str, Subscribe>,
    waiting: Vec<Item>,
    /// Delivered and not acknowledged: id, copy, and whether on this connection.
    unacked: Vec<(DeliveryId, Copy, bool)>,
    last_id: u64,
    /// Copies that `Dropped` effects announced.
    announced: usize,
    /// How many of these are found to be missing, at least and at most: what an UNSUBSCRIBE takes
    /// away may have been dropped before.
    missing: usize,
    missing_at_most: usize,
}

/// The broker, the model beside it.
pub(crate) struct Pair {
    broker: Broker,
    store: MemoryStore,
    spills: bool,
    turn: Turn,
    sessions: BTreeMap<usize, Model>,
    retained: BTreeMap<String, Message>,
    next_handle: u64,
    next_payload: u64,
    max_queue: u32,
}

impl Pair {
    /// With `spills`, sessions are durable, and nearly all of their queues is on disk.
    pub(crate) fn new(max_queue: u32, spills: bool) -> Self {
        let turn = Turn::new(Instant::from_secs(1), Wall::from_millis(1_000_000));
        let turn = Turn { durable: spills, ..turn };
        Pair {
            broker: Broker::new(store::config(spills)),
            store: MemoryStore::default(),
            spills,
            turn,
            sessions: BTreeMap::new(),
            retained: BTreeMap::new(),
            next_handle: 1,
            next_payload: 0,
            max_queue,
        }
    }

    fn policy(&self) -> QueuePolicy {
        QueuePolicy {
            max_messages: self.max_queue,
            max_bytes: 10_000,
            overflow: Overflow::DropOldest,
            queue_qos0: false,
            max_payload: u16::MAX,
        }
    }

    fn ask(&mut self, request: Request) -> Vec<Effect> {
        self.broker.handle(&self.turn, request);
        store::effects(&mut self.broker, &mut self.store, &self.turn)
    }

    pub(crate) fn apply(&mut self, op: &Op) {
        match op.clone() {
            Op::Open { client, clean, lasting, window, room } => {
                self.open(client, clean, lasting, window, room);
            }
            Op::Close { client, drop_will } => self.close(client, drop_will),
            Op::Subscribe { client, filters } => self.subscribe(client, &filters),
            // What waits on disk is not dropped by an UNSUBSCRIBE.
            Op::Unsubscribe { client, filter } if self.spills => {
                self.resubscribe(client, &[filter], &[]);
            }
            Op::Unsubscribe { client, filter } => self.unsubscribe(client, FILTERS[filter]),
            Op::Resubscribe { client, from, to } => self.resubscribe(client, &from, &to),
            Op::Publish { client, topic, qos: bits, retain, empty } => {
                self.publish(client, TOPICS[topic], qos(bits), retain, empty);
            }
            Op::Ack { client, nth } => self.ack(client, nth),
            Op::Credit { client, window, room } => self.credit(client, window, room),
        }
        for model in self.sessions.values() {
            let undelivered = model.waiting.iter().filter(|i| !i.snapshot).count();
            let held = undelivered.saturating_sub(model.announced - model.missing);
            let snapshots = model.waiting.iter().filter(|i| i.snapshot).count();
            assert!(held <= self.max_queue as usize + snapshots, "the bound holds: {model:?}");
        }
    }

    fn open(&mut self, client: usize, clean: bool, lasting: bool, window: u16, room: u32) {
        let handle = Handle(self.next_handle);
        self.next_handle += 1;
        let expiry = if lasting { Duration::MAX } else { Duration::ZERO };
        let open = Open {
            ticket: 5,
            key: Some(key(client)),
            handle,
            clean,
            expiry,
            will: WillChange::Set(None),
            window,
            room,
            queue: self.policy(),
        };
        let existed = self.sessions.contains_key(&client);
        let was = self.sessions.get(&client).and_then(|m| m.handle.map(|h| (m.id, h)));
        let effects = self.ask(Request::Open(open));
        let mut effects = effects.into_iter();
        if let Some((session, handle)) = was {
            let closed = Effect::Closed { session, handle, reason: Reason::TakenOver };
            assert_eq!(effects.next(), Some(closed));
        }
        let mut rest: Vec<Effect> = effects.collect();
        if matches!(rest.first(), Some(Effect::Ended { .. })) {
            self.sessions.remove(&client).expect("it was there");
            rest.remove(0);
        } else {
            assert!(!(existed && clean), "clean start ends the old session");
        }
        let Some(Effect::Opened { session, present, .. }) = rest.first() else {
            panic!("not opened: {rest:?}");
        };
        assert_eq!(*present, self.sessions.contains_key(&client));
        let model = self.sessions.entry(client).or_insert_with(|| Model {
            id: *session,
            handle: None,
            window: 0,
            room: 0,
            subscriptions: BTreeMap::new(),
            waiting: Vec::new(),
            unacked: Vec::new(),
            last_id: 0,
            announced: 0,
            missing: 0,
            missing_at_most: 0,
        });
        assert_eq!(model.id, *session);
        model.handle = Some(handle);
        (model.window, model.room) = (usize::from(window), u64::from(room));
        model.unacked.iter_mut().for_each(|(_, _, flying)| *flying = false);
        self.check(&rest[1..]);
    }

    fn close(&mut self, client: usize, drop_will: bool) {
        let Some(model) = self.sessions.get_mut(&client) else { return };
        let (session, handle) = (model.id, model.handle.take().unwrap_or(Handle(0)));
        let effects = self.ask(Request::Close { session, handle, drop_will, expiry: None });
        if matches!(effects.last(), Some(Effect::Ended { .. })) {
            self.sessions.remove(&client);
        } else {
            self.check(&effects);
        }
    }

    fn subscribe(&mut self, client: usize, filters: &[(usize, u8, u8)]) {
        let Some(session) = self.sessions.get(&client).map(|model| model.id) else { return };
        let filters_of = self.model_subscribe(client, filters);
        let effects =
            self.ask(Request::Subscribe { ticket: 1, session, filters: filters_of, most: None });
        self.check_subscribed(&effects);
    }

    /// As a SUBSCRIBE, but what waits because of the old filters goes on waiting.
    fn resubscribe(&mut self, client: usize, from: &[usize], to: &[(usize, u8, u8)]) {
        let Some(model) = self.sessions.get_mut(&client) else { return };
        let session = model.id;
        for filter in from {
            model.subscriptions.remove(FILTERS[*filter]);
        }
        let to = self.model_subscribe(client, to);
        let from =
            from.iter().map(|filter| SubscriptionFilter::new(FILTERS[*filter]).unwrap()).collect();
        let effects = self.ask(Request::Resubscribe { ticket: 1, session, from, to });
        self.check_subscribed(&effects);
    }

    fn check_subscribed(&mut self, effects: &[Effect]) {
        let Some(Effect::Subscribed { outcomes, .. }) = effects.first() else { panic!() };
        assert!(outcomes.iter().all(|o| matches!(o, SubscribeOutcome::Granted(_))));
        self.check(&effects[1..]);
    }

    /// What the model expects of new subscriptions, which it returns.
    fn model_subscribe(&mut self, client: usize, filters: &[(usize, u8, u8)]) -> Vec<Subscribe> {
        let filters_of: Vec<Subscribe> = filters.iter().copied().map(subscription).collect();
        let Some(model) = self.sessions.get_mut(&client) else { return filters_of };
        let mut sent = Vec::new();
        for (asked, (filter, ..)) in filters_of.iter().zip(filters) {
            let old = model.subscriptions.insert(FILTERS[*filter], asked.clone());
            if asked.retain_handling == RetainHandling::Always
                || asked.retain_handling == RetainHandling::IfNew && old.is_none()
            {
                sent.push(asked.clone());
            }
        }
        for asked in sent {
            for (topic, message) in &self.retained {
                let own = asked.no_local && message.publisher == Some(key(client));
                if topic_matches(asked.filter.filter.as_str(), topic) && !own {
                    let copy = Copy {
                        topic: topic.clone(),
                        payload: message.payload.clone(),
                        qos: message.qos.min(asked.qos),
                        retain: true,
                        identifiers: asked.identifier.into_iter().collect(),
                    };
                    model.waiting.push(Item { copy, snapshot: true });
                }
            }
        }
        filters_of
    }

    fn unsubscribe(&mut self, client: usize, filter: &'static str) {
        let Some(model) = self.sessions.get_mut(&client) else { return };
        let session = model.id;
        let existed = vec![model.subscriptions.remove(filter).is_some()];
        let subscriptions = &model.subscriptions;
        if existed[0] {
            let before = model.waiting.len();
            model.waiting.retain(|item| {
                !topic_matches(filter, &item.copy.topic)
                    || subscriptions.keys().any(|filter| topic_matches(filter, &item.copy.topic))
            });
            let (gone, left) = (before - model.waiting.len(), model.waiting.len());
            let at_least = model.announced - model.missing_at_most;
            model.missing_at_most += gone.min(model.announced - model.missing);
            model.missing += at_least.saturating_sub(left);
        }
        let filters = vec![SubscriptionFilter::new(filter).unwrap()];
        let effects = self.ask(Request::Unsubscribe { ticket: 1, session, filters });
        let said = Effect::Unsubscribed { ticket: 1, existed, after: Seq::NONE };
        assert_eq!(effects.first(), Some(&said));
        self.check(&effects[1..]);
    }

    fn publish(&mut self, client: usize, topic: &str, qos: Qos, retain: bool, empty: bool) {
        self.next_payload += 1;
        let payload =
            if empty { Bytes::new() } else { Bytes::from(format!("{}", self.next_payload)) };
        let mut message = Message::new(TopicName::new(topic).unwrap(), payload.clone());
        (message.qos, message.retain) = (qos, retain);
        message.publisher = Some(key(client));
        let mut receivers = 0;
        for (who, model) in &mut self.sessions {
            let matching: Vec<&Subscribe> = model
                .subscriptions
                .iter()
                .filter(|(filter, s)| {
                    topic_matches(filter, topic) && !(s.no_local && *who == client)
                })
                .map(|(_, s)| s)
                .collect();
            let Some(granted) = matching.iter().map(|s| s.qos).max() else { continue };
            receivers += 1;
            let mut identifiers: Vec<u32> = matching.iter().filter_map(|s| s.identifier).collect();
            identifiers.sort_unstable();
            let copy = Copy {
                topic: topic.into(),
                payload: payload.clone(),
                qos: qos.min(granted),
                retain: retain && matching.iter().any(|s| s.retain_as_published),
                identifiers,
            };
            model.waiting.push(Item { copy, snapshot: false });
        }
        let mut created = false;
        if retain && empty {
            self.retained.remove(topic);
        } else if retain {
            created = self.retained.insert(topic.into(), message.clone()).is_none();
        }
        let effects = self.ask(Request::Publish { ticket: 2, message, precondition: None });
        let accepted =
            Effect::Accepted { ticket: 2, created, matched: receivers, after: Seq::NONE };
        assert_eq!(effects.first(), Some(&accepted));
        self.check(&effects[1..]);
    }

    fn ack(&mut self, client: usize, nth: usize) {
        let Some(model) = self.sessions.get_mut(&client) else { return };
        let flying = model.unacked.iter().filter(|(_, _, flying)| *flying).count();
        if nth >= flying {
            return;
        }
        let (delivery, ..) = model.unacked.remove(nth);
        let session = model.id;
        let effects = self.ask(Request::Ack { session, delivery });
        self.check(&effects);
    }

    fn credit(&mut self, client: usize, window: u16, room: u32) {
        let Some(model) = self.sessions.get_mut(&client).filter(|m| m.handle.is_some()) else {
            return;
        };
        (model.window, model.room) = (usize::from(window), u64::from(room));
        let session = model.id;
        let effects = self.ask(Request::Credit { session, window, room });
        self.check(&effects);
    }

    fn check(&mut self, effects: &[Effect]) {
        for effect in effects {
            match effect {
                Effect::Deliver { session, handle, delivery } => {
                    let model =
                        self.sessions.values_mut().find(|m| m.id == *session).expect("known");
                    assert_eq!(model.handle, Some(*handle));
                    model.delivered(delivery);
                }
                Effect::Dropped { session: Some(session), .. } => {
                    let model =
                        self.sessions.values_mut().find(|m| m.id == *session).expect("known");
                    model.announced += 1;
                }
                other => panic!("unexpected {other:?}"),
            }
        }
        for model in self.sessions.values().filter(|m| m.handle.is_some()) {
            model.assert_nothing_held_back();
        }
    }

    /// All credit there is, everything acknowledged: what is left never comes.
    pub(crate) fn finish(&mut self) {
        for client in 0..CLIENTS {
            if self.sessions.contains_key(&client) {
                self.open(client, false, true, 50, 1_000_000);
            }
            while self.sessions.get(&client).is_some_and(|m| !m.unacked.is_empty()) {
                self.ack(client, 0);
            }
            if let Some(model) = self.sessions.get(&client) {
                let left = model.waiting.len();
                let explained = model.missing + left..=model.missing_at_most + left;
                assert!(explained.contains(&model.announced), "{model:?}");
            }
        }
        for filter in ["#", "$x/#"] {
            let filter = TopicFilter::new(filter).unwrap();
            let effects = self.ask(Request::List { ticket: 0, filter: filter.clone(), limit: 99 });
            let Some(Effect::Topics { topics, .. }) = effects.first() else { panic!() };
            let listed: Vec<&Message> = topics.iter().map(|m| &**m).collect();
            let expected: Vec<&Message> = self
                .retained
                .iter()
                .filter(|(topic, _)| topic_matches(filter.as_str(), topic))
                .map(|(_, message)| message)
                .collect();
            assert_eq!(listed, expected);
        }
    }
}

impl Model {
    fn delivered(&mut self, delivery: &Delivery) {
        let message = &delivery.message;
        let copy = Copy {
            topic: message.topic.as_str().into(),
            payload: message.payload.clone(),
            qos: delivery.qos,
            retain: delivery.retain,
            identifiers: delivery.identifiers.iter().flat_map(|i| i.iter().copied()).collect(),
        };
        assert!(self.room > 0, "no room for {copy:?}");
        self.room = self.room.saturating_sub(message.size() as u64);
        let flying = self.unacked.iter().filter(|(_, _, flying)| *flying).count();
        if delivery.again {
            // In the original order, with the original id.
            let (id, sent, was_flying) = &mut self.unacked[flying];
            assert_eq!((*id, &*sent), (delivery.id, &copy));
            assert!(!*was_flying);
            *was_flying = true;
        } else {
            assert_eq!(flying, self.unacked.len(), "repetitions go first");
            assert!(delivery.id.0 > self.last_id, "ids grow");
            self.last_id = delivery.id.0;
            let at = self.waiting.iter().position(|item| item.copy == copy);
            let at = at.unwrap_or_else(|| panic!("not expected: {copy:?} of {:?}", self.waiting));
            self.missing += at; // what it passed by must have been dropped
            self.missing_at_most = (self.missing_at_most + at).min(self.announced);
            self.waiting.drain(..=at);
            assert!(self.missing <= self.announced, "lost before {copy:?}");
            if delivery.qos != Qos::AtMostOnce {
                self.unacked.push((delivery.id, copy, true));
            }
        }
        if delivery.qos != Qos::AtMostOnce {
            assert!(flying < self.window, "window");
        }
    }

    /// Whatever could go has gone.
    fn assert_nothing_held_back(&self) {
        let flying = self.unacked.iter().filter(|(_, _, flying)| *flying).count();
        let unexplained = self.announced - self.missing;
        if self.room > 0 && flying < self.window && flying == self.unacked.len() {
            assert!(self.waiting.len() <= unexplained, "held back: {self:?}");
        }
    }
}
