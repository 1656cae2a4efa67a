//! [`Model`]: the naive reference broker. It hears only what the scripted clients know: what was
//! published and which of it they saw acknowledged, what is subscribed and since when. From that it
//! says which deliveries are wrong at once, and which are still owed.
//!
//! Guarantees it holds the gateway to:
//! - nothing arrives that was not published, nor without a subscription, nor altered;
//! - acknowledged QoS 1/2 reaches every subscription that was acknowledged before the publish began
//!   and still stands, across crashes if the session is durable;
//! - QoS 2 reaches a session once; a publish is executed no oftener than its sender sent it anew
//!   (CoAP: once, plus once for each crash that lost the deduplication state);
//! - first arrivals keep the order of publisher, topic and QoS (not for QoS 0 over UDP);
//! - a retained value read or delivered is never older than the last one acknowledged before the
//!   request. Retained topics have one writer each.
//!
//! "Time" in here is a tick, the number of the simulation step.

use std::collections::{BTreeSet, HashMap};

use super::ctx::Micros;
use super::outage::Outage;
use super::payload::{longer, matches, parse};

/// Number of a published message; also its place in the order of beginnings.
pub type MsgId = u32;

/// How a message got on its way; it decides what the model may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Over a stream.
    Mqtt,
    /// Over datagrams, MQTT-SN.
    Sn,
    /// A CoAP request, confirmable or not.
    Coap,
    /// The same on a connection: sent again only where nobody knows whether it was done.
    Stream,
    /// A will: begun by the gateway when the connection ends.
    Will,
}

/// One publish.
#[derive(Debug, Clone)]
pub struct Publish {
    /// Client that sent it.
    pub publisher: usize,
    /// Topic.
    pub topic: String,
    /// QoS it was sent with; CoAP: CON 1, NON 0.
    pub qos: u8,
    /// Sent with RETAIN.
    pub retain: bool,
    /// An empty payload clears the retained value.
    pub empty: bool,
    origin: Origin,
    begun: u64,
    acked: Option<u64>,
    sent: u32,
    crashes: u32,
    crashes_done: Option<u32>,
    refused: bool,
}

#[derive(Debug)]
struct Subscription {
    filter: String,
    qos: u8,
    /// Tick of the first SUBSCRIBE of the session.
    asked: u64,
    /// Tick of the SUBACK, while the subscription certainly stands.
    since: Option<u64>,
    /// Tick of the UNSUBACK, until subscribed again.
    ended: Option<u64>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Arrivals {
    all: u16,
    fresh: u16,
    exactly: u16,
    retained: u16,
}

/// What the model knows of one client as a receiver.
#[derive(Debug)]
pub struct Receiver {
    durable: bool,
    udp: bool,
    subscriptions: Vec<Subscription>,
    /// All that it ever subscribed to.
    filters: BTreeSet<String>,
    arrivals: Vec<Arrivals>,
    order: HashMap<(usize, String, u8), MsgId>,
}

/// A PUBLISH as a client received it; repetitions that its own protocol state recognised are not
/// reported.
#[derive(Debug, Clone, Copy)]
pub struct Arrival<'a> {
    /// Topic.
    pub topic: &'a str,
    /// Payload.
    pub payload: &'a [u8],
    /// QoS of the delivery.
    pub qos: u8,
    /// DUP.
    pub dup: bool,
    /// RETAIN.
    pub retain: bool,
}

/// The reference broker.
#[derive(Debug, Default)]
pub struct Model {
    /// Number of the present step.
    pub tick: u64,
    /// Whether the link is already healed: then a transient MQTT-SN session is certain too.
    pub healing: bool,
    publishes: Vec<Publish>,
    receivers: Vec<Receiver>,
    crashes: u32,
    /// Deliveries seen.
    pub delivered: u64,
    /// Publishes in blocks that were acknowledged.
    pub in_blocks: u64,
    /// Values in blocks that were read on connections.
    pub in_blocks_read: u64,
    /// A queue was read that is damaged: its messages may be missing, or come late.
    pub damaged: bool,
    /// Messages of which earlier lives of the gateway have said that the disk has lost them.
    pub told_damaged: u64,
    /// Whether its store fails, and what was refused for that.
    pub outage: Outage,
    /// Queues may have overflowed: nothing is owed, only bounds are checked.
    pub lossy_queues: bool,
}

impl Model {
    /// Adds a receiver; its number is the client's.
    pub fn receiver(&mut self, durable: bool, udp: bool) {
        self.receivers.push(Receiver {
            durable,
            udp,
            subscriptions: Vec::new(),
            filters: BTreeSet::new(),
            arrivals: Vec::new(),
            order: HashMap::new(),
        });
    }

    /// How often the gateway has crashed.
    #[must_use]
    pub fn crashes(&self) -> u32 {
        self.crashes
    }

    /// Publishes in all.
    #[must_use]
    pub fn published(&self) -> usize {
        self.publishes.len()
    }

    /// A publish begins now (a will: is lodged). Gives its number and its payload.
    pub fn begin(
        &mut self,
        publisher: usize,
        origin: Origin,
        topic: &str,
        qos: u8,
        flags: (bool, bool),
    ) -> (MsgId, Vec<u8>) {
        self.begin_of(publisher, origin, topic, (qos, 0), flags)
    }

    /// The same with so many bytes more.
    pub fn begin_of(
        &mut self,
        publisher: usize,
        origin: Origin,
        topic: &str,
        (qos, extra): (u8, usize),
        flags: (bool, bool),
    ) -> (MsgId, Vec<u8>) {
        let id = MsgId::try_from(self.publishes.len()).expect("few messages");
        let (retain, empty) = flags;
        self.publishes.push(Publish {
            publisher,
            topic: topic.into(),
            qos,
            retain,
            empty,
            origin,
            begun: self.tick,
            acked: None,
            sent: 1,
            crashes: self.crashes,
            crashes_done: None,
            refused: false,
        });
        (id, if empty { Vec::new() } else { longer(id, extra) })
    }

    /// The message is sent again in a way that a gateway may take for a new one (MQTT QoS 1 on a
    /// new connection).
    pub fn resent(&mut self, id: MsgId) {
        self.publishes[id as usize].sent += 1;
    }

    /// The publisher saw its acknowledgement: from now on it is owed.
    pub fn acked(&mut self, id: MsgId) {
        let (tick, crashes) = (self.tick, self.crashes);
        let publish = &mut self.publishes[id as usize];
        publish.acked.get_or_insert(tick);
        publish.crashes_done.get_or_insert(crashes);
    }

    /// The connection that lodged this will ended without a goodbye, and its client knows: the will
    /// is due, since the step `ended` if the gateway ended it.
    pub fn will_due(&mut self, id: MsgId, ended: Option<u64>) {
        self.publishes[id as usize].begun = ended.unwrap_or(self.tick);
        self.acked(id);
    }

    /// Whether every certain publish of `publisher` was acknowledged is its own business; this is
    /// one of them.
    #[must_use]
    pub fn publish(&self, id: MsgId) -> &Publish {
        &self.publishes[id as usize]
    }

    /// A SUBSCRIBE is on its way.
    pub fn subscribing(&mut self, client: usize, filter: &str, qos: u8) {
        let tick = self.tick;
        let receiver = &mut self.receivers[client];
        receiver.filters.insert(filter.into());
        match receiver.subscriptions.iter_mut().find(|s| s.filter == filter) {
            Some(s) => s.ended = None,
            None => receiver.subscriptions.push(Subscription {
                filter: filter.into(),
                qos,
                asked: tick,
                since: None,
                ended: None,
            }),
        }
    }

    /// Its SUBACK came.
    pub fn subscribed(&mut self, client: usize, filter: &str) {
        let (tick, healing) = (self.tick, self.healing);
        let receiver = &mut self.receivers[client];
        let certain = receiver.durable || !receiver.udp || healing;
        for s in receiver.subscriptions.iter_mut().filter(|s| s.filter == filter) {
            if certain && s.since.is_none() {
                s.since = Some(tick);
            }
        }
    }

    /// An UNSUBSCRIBE is on its way.
    pub fn unsubscribing(&mut self, client: usize, filter: &str) {
        let receiver = &mut self.receivers[client];
        for s in receiver.subscriptions.iter_mut().filter(|s| s.filter == filter) {
            s.since = None;
        }
    }

    /// Its UNSUBACK came.
    pub fn unsubscribed(&mut self, client: usize, filter: &str) {
        let tick = self.tick;
        let receiver = &mut self.receivers[client];
        for s in receiver.subscriptions.iter_mut().filter(|s| s.filter == filter) {
            s.ended = Some(tick);
        }
    }

    /// The client's subscriptions are uncertain from now on (its transient session may be over).
    pub fn unsure(&mut self, client: usize) {
        for s in &mut self.receivers[client].subscriptions {
            s.since = None;
        }
    }

    /// A new session begins: what an old one received does not count.
    pub fn new_session(&mut self, client: usize) {
        let receiver = &mut self.receivers[client];
        receiver.subscriptions.clear();
        receiver.arrivals.clear();
        receiver.order.clear();
    }

    /// The publish was refused because the store fails: nobody may get it.
    ///
    /// # Errors
    /// The store does not fail, or nothing of this publish needs it.
    pub fn refused(&mut self, id: MsgId, now: Micros) -> Result<(), String> {
        self.outage.check(now, self.publishes[id as usize].begun)?;
        let crashes = self.crashes;
        let p = &mut self.publishes[id as usize];
        // Otherwise it may have been executed once, or a copy of the datagram comes later.
        let once = matches!(p.origin, Origin::Mqtt | Origin::Coap | Origin::Stream);
        p.refused = once && p.sent == 1 && p.crashes == crashes;
        let p = &self.publishes[id as usize];
        // Also in a session that was given up: its end may have been refused.
        let kept = |r: &Receiver| r.filters.iter().any(|filter| matches(filter, &p.topic));
        let needs = p.retain || self.receivers.iter().any(|r| r.durable && kept(r));
        if needs { Ok(()) } else { Err(format!("message {id} needs no disk and was refused")) }
    }

    /// The gateway crashed: transient sessions are gone.
    pub fn crash(&mut self, now: Micros) {
        self.outage.is_over(now, self.tick);
        self.crashes += 1;
        for receiver in self.receivers.iter_mut().filter(|r| !r.durable) {
            for s in &mut receiver.subscriptions {
                s.since = None;
            }
        }
    }

    /// How often the broker may have taken the message over by itself.
    fn executions(&self, p: &Publish) -> u32 {
        match (p.origin, p.qos) {
            // MQTT-SN keeps a will that was published (1.2 §6.3): it may be due again.
            (Origin::Will, _) if self.receivers[p.publisher].udp => u32::MAX / 4,
            (Origin::Mqtt, 0 | 2) | (Origin::Sn, 2) | (Origin::Will, _) => 1,
            (Origin::Mqtt, _) | (Origin::Stream, _) => p.sent,
            (Origin::Sn, _) => u32::MAX / 4,
            (Origin::Coap, _) => 1 + p.crashes_done.unwrap_or(self.crashes) - p.crashes,
        }
    }

    /// A message came to a client: checks everything that can be said at once.
    ///
    /// # Errors
    /// The rule that is broken, in words.
    pub fn arrived(&mut self, client: usize, a: &Arrival<'_>) -> Result<(), String> {
        self.delivered += 1;
        if a.payload.is_empty() {
            let cleared = self.publishes.iter().any(|p| p.empty && p.topic == a.topic);
            return if cleared { Ok(()) } else { Err("an empty message nobody published".into()) };
        }
        let id = parse(a.payload).ok_or("a payload that nobody published")?;
        let p = self.publishes.get(id as usize).ok_or("a message from the future")?.clone();
        if p.topic != a.topic {
            return Err(format!("message {id} was published to {}, not {}", p.topic, a.topic));
        }
        if a.qos > p.qos {
            return Err(format!("message {id} at QoS {} was published at {}", a.qos, p.qos));
        }
        if p.refused {
            return Err(format!("message {id} was refused"));
        }
        self.check_wanted(client, a, id, &p)?;
        if a.retain {
            let receiver = &mut self.receivers[client];
            arrivals(receiver, id).retained += 1;
            // A snapshot may wait long for credit, so it is judged by the first SUBSCRIBE.
            let matching = receiver.subscriptions.iter().filter(|s| matches(&s.filter, a.topic));
            let asked = matching.map(|s| s.asked).min().unwrap_or(0);
            return self.check_read(a.topic, Some(a.payload), asked);
        }
        // A crash may lose a batch whose deliveries at QoS 0 and 1 have left; its publisher was
        // not answered and sends the message again.
        let again =
            if p.qos > 0 || p.origin == Origin::Will { self.crashes - p.crashes } else { 0 };
        let limit = self.executions(&p).saturating_mul(1 + again);
        let receiver = &mut self.receivers[client];
        let udp = receiver.udp;
        let n = arrivals(receiver, id);
        n.all += 1;
        n.fresh += u16::from(!a.dup);
        n.exactly += u16::from(a.qos == 2);
        let (first, fresh, exactly) = (n.all == 1, n.fresh, n.exactly);
        if exactly > 1 {
            return Err(format!("message {id} at QoS 2 came {exactly} times"));
        }
        if a.qos < 2 && !udp && u32::from(fresh) > limit {
            return Err(format!("message {id} came {fresh} times as new, published {limit} times"));
        }
        let orderly = p.qos > 0 || p.origin == Origin::Mqtt;
        if first && orderly && p.origin != Origin::Will && (!udp || a.qos > 0) {
            let stood = receiver.subscriptions.iter().any(|s| {
                s.qos >= a.qos
                    && matches(&s.filter, a.topic)
                    && s.since.is_some_and(|since| since < p.begun)
            });
            let key = (p.publisher, p.topic, a.qos);
            let last = receiver.order.entry(key).or_insert(id);
            // Who subscribed between two publishes may see the repeat of the first behind the second,
            // and so may who was away when the first left at QoS 0.
            // A full queue may have dropped the first and taken its repeat; a store that failed may
            // have refused it, and the client never have heard of that.
            let repeat = a.qos > 0 && stood && !self.outage.was_there();
            let certain = !self.lossy_queues && !self.damaged && (p.sent == 1 || repeat);
            if *last > id && certain {
                return Err(format!("message {id} came after {last} of the same publisher"));
            }
            *last = id.max(*last);
        }
        Ok(())
    }

    fn check_wanted(
        &self,
        client: usize,
        a: &Arrival<'_>,
        id: MsgId,
        p: &Publish,
    ) -> Result<(), String> {
        let receiver = &self.receivers[client];
        let mut ended = None;
        for s in receiver.subscriptions.iter().filter(|s| matches(&s.filter, a.topic)) {
            match s.ended {
                None => return Ok(()),
                Some(tick) => ended = ended.max(Some(tick)),
            }
        }
        match ended {
            None => Err(format!("message {id} to {} without a subscription", a.topic)),
            // [MQTT-3.10.4-2]: nothing new after the UNSUBACK.
            Some(tick) if p.begun > tick && p.origin != Origin::Will => {
                Err(format!("message {id} was published after the UNSUBACK for {}", a.topic))
            }
            Some(_) => Ok(()),
        }
    }

    /// Judges a retained value (or its absence) asked for at tick `since`.
    ///
    /// # Errors
    /// Says which newer acknowledged value should have been seen.
    pub fn check_read(&self, topic: &str, value: Option<&[u8]>, since: u64) -> Result<(), String> {
        let writes =
            || self.publishes.iter().enumerate().filter(|(_, p)| p.retain && p.topic == topic);
        let value = value.filter(|v| !v.is_empty());
        let last = writes().rfind(|(_, p)| p.acked.is_some_and(|at| at < since));
        let Some((last, write)) = last else {
            return match value {
                Some(v) if parse(v).is_none() => Err(format!("{topic} holds nonsense")),
                _ => Ok(()),
            };
        };
        match value {
            None if write.empty || writes().any(|(id, p)| id > last && p.empty) => Ok(()),
            None => Err(format!("{topic} is empty, {last} was acknowledged")),
            Some(v) => match parse(v) {
                Some(id) if id as usize >= last => Ok(()),
                Some(id) => Err(format!("{topic} holds {id}, the later {last} was acknowledged")),
                None => Err(format!("{topic} holds nonsense")),
            },
        }
    }

    /// Topics that have a retained value for certain.
    #[must_use]
    pub fn retained_topics(&self) -> Vec<String> {
        let mut topics: Vec<String> =
            self.publishes.iter().filter(|p| p.retain).map(|p| p.topic.clone()).collect();
        topics.sort();
        topics.dedup();
        topics
    }

    /// Acknowledged messages that `client` should still get.
    #[must_use]
    pub fn owed(&self, client: usize) -> Vec<MsgId> {
        let receiver = &self.receivers[client];
        if self.lossy_queues || receiver.subscriptions.iter().all(|s| s.since.is_none()) {
            return Vec::new();
        }
        let mut owed = Vec::new();
        for (index, p) in self.publishes.iter().enumerate() {
            if p.qos == 0 || p.empty || p.acked.is_none() || self.came(receiver, index) {
                continue;
            }
            let certain = receiver.subscriptions.iter().any(|s| {
                s.qos > 0
                    && s.since.is_some_and(|since| since < p.begun)
                    && matches(&s.filter, &p.topic)
            });
            if certain {
                owed.push(MsgId::try_from(index).expect("few messages"));
            }
        }
        owed
    }

    /// What a sleeper's queue must hold now. Wills are not in it: their clients know earlier than
    /// the gateway that they are due.
    #[must_use]
    pub fn queued(&self, client: usize) -> Vec<MsgId> {
        if self.damaged {
            return Vec::new();
        }
        let mut owed = self.owed(client);
        owed.retain(|id| self.publishes[*id as usize].origin != Origin::Will);
        owed
    }

    /// Whether `client` has the message.
    #[must_use]
    pub fn has(&self, client: usize, id: MsgId) -> bool {
        self.came(&self.receivers[client], id as usize)
    }

    /// Whether `client` still has a certain subscription for the message.
    #[must_use]
    pub fn wants(&self, client: usize, id: MsgId) -> bool {
        let topic = &self.publishes[id as usize].topic;
        let subs = &self.receivers[client].subscriptions;
        subs.iter().any(|s| s.since.is_some() && matches(&s.filter, topic))
    }

    /// Tick at which the message was begun.
    #[must_use]
    pub fn begun(&self, payload: &[u8]) -> Option<u64> {
        parse(payload).and_then(|id| self.publishes.get(id as usize)).map(|p| p.begun)
    }

    fn came(&self, receiver: &Receiver, index: usize) -> bool {
        receiver.arrivals.get(index).is_some_and(|n| n.all > 0)
    }
}

fn arrivals(receiver: &mut Receiver, id: MsgId) -> &mut Arrivals {
    let index = id as usize;
    if receiver.arrivals.len() <= index {
        receiver.arrivals.resize(index + 1, Arrivals::default());
    }
    &mut receiver.arrivals[index]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrival<'a>(topic: &'a str, payload: &'a [u8], qos: u8) -> Arrival<'a> {
        Arrival { topic, payload, qos, dup: false, retain: false }
    }

    fn one_subscriber(qos: u8) -> Model {
        let mut model = Model { tick: 1, ..Model::default() };
        model.receiver(true, false);
        model.subscribing(0, "t/#", qos);
        model.tick = 2;
        model.subscribed(0, "t/#");
        model.tick = 3;
        model
    }

    #[test]
    fn it_sees_losses_and_doubles() {
        let mut model = one_subscriber(2);
        let (id, payload) = model.begin(1, Origin::Mqtt, "t/a", 2, (false, false));
        assert!(model.owed(0).is_empty(), "not acknowledged yet");
        model.acked(id);
        assert_eq!(model.owed(0), [id]);
        assert_eq!(model.arrived(0, &arrival("t/a", &payload, 2)), Ok(()));
        assert!(model.owed(0).is_empty());
        assert!(model.arrived(0, &arrival("t/a", &payload, 2)).is_err(), "twice");
    }

    #[test]
    fn it_sees_inventions() {
        let mut model = one_subscriber(1);
        let (_, payload) = model.begin(1, Origin::Mqtt, "u/a", 1, (false, false));
        assert!(model.arrived(0, &arrival("t/a", b"9.x", 0)).is_err(), "never published");
        assert!(model.arrived(0, &arrival("t/a", &payload, 0)).is_err(), "another topic");
        assert!(model.arrived(0, &arrival("u/a", &payload, 0)).is_err(), "no subscription");
    }

    #[test]
    fn it_sees_overtaking() {
        let mut model = one_subscriber(1);
        let (_, first) = model.begin(1, Origin::Mqtt, "t/a", 1, (false, false));
        let (_, second) = model.begin(1, Origin::Mqtt, "t/a", 1, (false, false));
        assert_eq!(model.arrived(0, &arrival("t/a", &second, 1)), Ok(()));
        assert!(model.arrived(0, &arrival("t/a", &first, 1)).is_err());
    }

    #[test]
    fn it_sees_stale_retained_values() {
        let mut model = one_subscriber(1);
        let (first, old) = model.begin(1, Origin::Mqtt, "r/a", 1, (true, false));
        model.acked(first);
        assert!(model.check_read("r/a", None, 9).is_err());
        assert_eq!(model.check_read("r/a", Some(&old), 9), Ok(()));
        model.tick = 10;
        let (second, new) = model.begin(1, Origin::Mqtt, "r/a", 1, (true, false));
        assert_eq!(model.check_read("r/a", Some(&new), 11), Ok(()), "later and unacknowledged");
        model.acked(second);
        assert_eq!(model.check_read("r/a", Some(&old), 10), Ok(()), "asked before");
        assert!(model.check_read("r/a", Some(&old), 11).is_err());
    }
}
