//! A broker with a virtual clock, an in-memory journal and words for what it says.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use motegate_broker::*;
use motegate_message::journal::{MemoryStore, PageRequest, Saved};
use motegate_message::*;
use motegate_timers::Instant;

pub(crate) const SECOND: Duration = Duration::from_secs(1);
pub(crate) const HOUR: Duration = Duration::from_secs(3_600);
pub(crate) const NEVER: Duration = Duration::MAX;

pub(crate) struct Bench {
    pub(crate) broker: Broker,
    pub(crate) turn: Turn,
    pub(crate) config: Config,
    pub(crate) journal: MemoryStore,
    fetches: VecDeque<PageRequest>,
    names: BTreeMap<u64, String>,
    next_handle: u64,
}

/// Bounds that nothing reaches by accident.
pub(crate) fn policy() -> QueuePolicy {
    QueuePolicy {
        max_messages: 100,
        max_bytes: 100_000,
        overflow: Overflow::DropOldest,
        queue_qos0: false,
        max_payload: u16::MAX,
    }
}

pub(crate) fn open(name: &str) -> Open {
    Open {
        ticket: 0,
        key: Some(SessionKey::new("r", name)),
        handle: Handle(0),
        clean: false,
        expiry: HOUR,
        will: WillChange::Set(None),
        window: 10,
        room: 100_000,
        queue: policy(),
    }
}

pub(crate) fn clean(name: &str) -> Open {
    Open { clean: true, expiry: Duration::ZERO, ..open(name) }
}

pub(crate) fn will(text: &str, delay: Duration) -> Will {
    Will { message: message(text), expiry: None, delay }
}

/// `topic=payload`, with `!` in front for RETAIN, at the QoS given after `@`.
pub(crate) fn message(text: &str) -> Message {
    let (text, retain) = text.strip_prefix('!').map_or((text, false), |rest| (rest, true));
    let (text, qos) = text.rsplit_once('@').map_or((text, "0"), |(text, qos)| (text, qos));
    let (topic, payload) = text.split_once('=').unwrap();
    let mut message =
        Message::new(TopicName::new(topic).unwrap(), Bytes::copy_from_slice(payload.as_bytes()));
    message.retain = retain;
    message.qos = Qos::from_bits(qos.parse().unwrap()).unwrap();
    message
}

pub(crate) fn sub(filter: &str, qos: u8) -> Subscribe {
    Subscribe {
        filter: SubscriptionFilter::new(filter).unwrap(),
        qos: Qos::from_bits(qos).unwrap(),
        no_local: false,
        retain_as_published: false,
        retain_handling: RetainHandling::Always,
        identifier: None,
        spares_dollar: false,
        by_rule: false,
        hears_expiry: false,
    }
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Client {
    pub(crate) session: SessionId,
    pub(crate) handle: Handle,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self::with(Config::default(), false)
    }

    pub(crate) fn durable() -> Self {
        Self::with(Config::default(), true)
    }

    pub(crate) fn with(config: Config, durable: bool) -> Self {
        let wall = Wall::from_millis(1_700_000_000_000);
        let turn = Turn { now: Instant::from_secs(1_000), wall, seq: Seq(1), durable };
        Bench {
            broker: Broker::new(config),
            turn,
            config,
            journal: MemoryStore::default(),
            fetches: VecDeque::new(),
            names: BTreeMap::new(),
            next_handle: 1,
        }
    }

    fn store(&mut self) {
        let batch = std::iter::from_fn(|| self.broker.poll_record()).collect();
        self.journal.apply(batch);
        self.turn.seq = self.turn.seq.next();
    }

    /// What the broker says; what it wants from the store is answered at once.
    pub(crate) fn effects(&mut self) -> Vec<Effect> {
        let mut effects = Vec::new();
        loop {
            while let Some(effect) = self.broker.poll_effect() {
                match effect {
                    Effect::Fetch(wanted) => self.fetches.push_back(wanted),
                    other => effects.push(other),
                }
            }
            let Some(wanted) = self.fetches.pop_front() else { return effects };
            self.store();
            let page = self.journal.page(wanted);
            self.broker.fetched(&self.turn, wanted.session, &page);
        }
    }

    /// One request; its effects in words.
    pub(crate) fn ask(&mut self, request: Request) -> Vec<String> {
        self.broker.handle(&self.turn, request);
        let said = self.say();
        self.store();
        said
    }

    fn say(&mut self) -> Vec<String> {
        let effects = self.effects();
        effects.iter().map(|effect| self.word(effect)).collect()
    }

    fn name(&self, handle: Handle) -> String {
        self.names.get(&handle.0).cloned().unwrap_or_else(|| "?".into())
    }

    fn word(&self, effect: &Effect) -> String {
        let after = |seq: Seq| if seq == Seq::NONE { "" } else { " stored" };
        match effect {
            Effect::Opened { present, after: seq, .. } => {
                format!("opened {}{}", if *present { "again" } else { "new" }, after(*seq))
            }
            Effect::OpenRefused { reason, .. } => format!("open refused {reason}"),
            Effect::Accepted { created, matched, after: seq, .. } => {
                let created = if *created { " created" } else { "" };
                format!("accepted {matched}{created}{}", after(*seq))
            }
            Effect::Refused { reason, .. } => format!("refused {reason}"),
            Effect::Value { message, .. } => match message {
                Some(m) => format!("value {}", String::from_utf8_lossy(&m.payload)),
                None => "no value".into(),
            },
            Effect::Topics { topics, .. } => {
                let topics: Vec<&str> = topics.iter().map(|m| m.topic.as_str()).collect();
                format!("topics {}", topics.join(" "))
            }
            Effect::Subscribed { outcomes, after: seq, .. } => {
                let outcomes: Vec<String> = outcomes
                    .iter()
                    .map(|o| match o {
                        SubscribeOutcome::Granted(qos) => format!("{}", *qos as u8),
                        SubscribeOutcome::Refused(reason) => reason.to_string(),
                    })
                    .collect();
                format!("subscribed {}{}", outcomes.join(" "), after(*seq))
            }
            Effect::Unsubscribed { existed, after: seq, .. } => {
                format!("unsubscribed {existed:?}{}", after(*seq))
            }
            Effect::Deliver { handle, delivery, .. } => self.delivery(*handle, delivery),
            Effect::Drained { ticket, handle, .. } => {
                format!("{} drained {ticket}", self.name(*handle))
            }
            Effect::WillValue { will, .. } => match will {
                Some(will) => format!("will {}", will.message.topic),
                None => "no will".into(),
            },
            Effect::Closed { handle, reason, .. } => {
                format!("{} closed {reason}", self.name(*handle))
            }
            Effect::Ended { key, .. } => {
                format!("ended {}", key.as_ref().map_or("-", |key| key.client_id()))
            }
            Effect::Dropped { reason, .. } => format!("dropped {reason}"),
            Effect::Fetch(_) => unreachable!("answered in `effects`"),
        }
    }

    fn delivery(&self, handle: Handle, d: &Delivery) -> String {
        let payload = String::from_utf8_lossy(&d.message.payload);
        let mut text = format!(
            "{} <- {}{}={payload}@{}",
            self.name(handle),
            if d.retain { "!" } else { "" },
            d.message.topic,
            d.qos as u8
        );
        if d.again {
            text.push_str(" again");
        }
        if let Some(ids) = &d.identifiers {
            text.push_str(&format!(" ids {ids:?}"));
        }
        text
    }

    /// Opens, with a handle of its own; panics if refused.
    pub(crate) fn open(&mut self, open: Open) -> (Client, Vec<String>) {
        let handle = Handle(self.next_handle);
        self.next_handle += 1;
        let name = open.key.as_ref().map_or("-", |key| key.client_id());
        self.names.insert(handle.0, name.to_string());
        self.broker.handle(&self.turn, Request::Open(Open { handle, ..open }));
        let effects = self.effects();
        self.store();
        let session = effects.iter().find_map(|e| match e {
            Effect::Opened { session, .. } => Some(*session),
            _ => None,
        });
        let said = effects.iter().map(|e| self.word(e)).collect();
        (Client { session: session.expect("opened"), handle }, said)
    }

    /// Opens; the process dies before the store has answered, with what was written by then.
    pub(crate) fn open_and_die(&mut self, open: Open, later: Duration) -> Vec<String> {
        self.broker.handle(&self.turn, Request::Open(open));
        self.store();
        self.restart(later)
    }

    pub(crate) fn subscribe(&mut self, client: Client, filters: &[Subscribe]) -> Vec<String> {
        let (session, filters) = (client.session, filters.to_vec());
        self.ask(Request::Subscribe { ticket: 0, session, filters, most: None })
    }

    pub(crate) fn unsubscribe(&mut self, client: Client, filter: &str) -> Vec<String> {
        let filters = vec![SubscriptionFilter::new(filter).unwrap()];
        self.ask(Request::Unsubscribe { ticket: 0, session: client.session, filters })
    }

    pub(crate) fn resubscribe(
        &mut self,
        client: Client,
        from: &[&str],
        to: &[Subscribe],
    ) -> Vec<String> {
        let from = from.iter().map(|filter| SubscriptionFilter::new(filter).unwrap()).collect();
        let (session, to) = (client.session, to.to_vec());
        self.ask(Request::Resubscribe { ticket: 0, session, from, to })
    }

    /// A subscribed client with plenty of credit.
    pub(crate) fn listener(&mut self, open: Open, filters: &[Subscribe]) -> Client {
        let (client, _) = self.open(open);
        self.subscribe(client, filters);
        client
    }

    pub(crate) fn publish(&mut self, text: &str) -> Vec<String> {
        self.publish_message(message(text))
    }

    pub(crate) fn publish_message(&mut self, message: Message) -> Vec<String> {
        self.ask(Request::Publish { ticket: 0, message, precondition: None })
    }

    pub(crate) fn publish_as(&mut self, client: &str, text: &str) -> Vec<String> {
        let publisher = Some(SessionKey::new("r", client));
        self.publish_message(Message { publisher, ..message(text) })
    }

    pub(crate) fn close(&mut self, client: Client) -> Vec<String> {
        self.close_with(client, false, None)
    }

    pub(crate) fn close_with(
        &mut self,
        client: Client,
        drop_will: bool,
        expiry: Option<Duration>,
    ) -> Vec<String> {
        let Client { session, handle } = client;
        self.ask(Request::Close { session, handle, drop_will, expiry })
    }

    pub(crate) fn ack(&mut self, client: Client, id: u64) -> Vec<String> {
        self.ask(Request::Ack { session: client.session, delivery: DeliveryId(id) })
    }

    pub(crate) fn put_aside(&mut self, client: Client, id: u64) -> Vec<String> {
        self.ask(Request::PutAside { session: client.session, delivery: DeliveryId(id) })
    }

    pub(crate) fn credit(&mut self, client: Client, window: u16, room: u32) -> Vec<String> {
        self.ask(Request::Credit { session: client.session, window, room })
    }

    pub(crate) fn advance(&mut self, by: Duration) -> Vec<String> {
        let until = self.turn.now + by;
        let mut said = Vec::new();
        while let Some(at) = self.broker.poll_timeout().filter(|at| *at <= until) {
            let at = at.max(self.turn.now);
            self.turn.wall = self.turn.to_wall(at);
            self.turn.now = at;
            self.broker.handle_timeout(&self.turn);
            said.extend(self.say());
            self.store();
        }
        self.turn.wall = self.turn.to_wall(until);
        self.turn.now = until;
        said
    }

    /// The disk spoils the queue entry of this delivery.
    pub(crate) fn damage(&mut self, delivery: u64) {
        let of = |key: &[u8]| journal::QueueKey::from_bytes(key).map(|key| key.delivery.0);
        let key = self.journal.iter().map(|(key, _)| key).find(|key| of(key) == Some(delivery));
        let key = key.expect("it is on disk").to_vec();
        self.journal.apply([Record { key, value: Some(b"spoilt".to_vec()) }].into());
    }

    /// The process dies now and comes back `later`, with a monotonic clock that starts anew.
    pub(crate) fn restart(&mut self, later: Duration) -> Vec<String> {
        let wall = self.turn.to_wall(self.turn.now + later);
        self.turn = Turn { now: Instant::from_secs(5_000), wall, ..self.turn };
        self.broker = Broker::new(self.config);
        let Bench { broker, turn, journal, .. } = self;
        journal.state(&mut |key, value| assert!(broker.restore(turn, key, value), "{key:?}"));
        broker.restored(turn, journal);
        let said = self.say();
        self.store();
        said
    }
}

pub(crate) fn none() -> Vec<String> {
    Vec::new()
}
