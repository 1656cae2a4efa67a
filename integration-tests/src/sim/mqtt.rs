//! The scripted MQTT client, 3.1.1 or 5.0: persistent or transient session, QoS 0 to 2 both ways
//! with re-sending after a reconnect, subscriptions that come and go, wills, lazy acknowledgements,
//! connections that break.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::ctx::{Act, Ctx, FILTERS, MS, Micros, SEC, TOPICS, retained_topic};
use super::model::{Arrival, MsgId, Origin};
use super::mqtt_wire::{self as wire, Connect, PUBACK, PUBCOMP, PUBREC, PUBREL, Packet};

/// Quota exceeded: the store fails.
const FULL: u8 = 0x97;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Link {
    Down,
    Opening,
    Up,
}

#[derive(Debug)]
struct Outbound {
    pid: u16,
    id: MsgId,
    topic: String,
    payload: Vec<u8>,
    qos: u8,
    retain: bool,
    released: bool,
}

/// What a client is for the whole run.
#[derive(Debug, Clone)]
pub struct Traits {
    /// Its number.
    pub index: usize,
    /// 5.0 instead of 3.1.1.
    pub v5: bool,
    /// Keeps its session.
    pub durable: bool,
    /// Holds acknowledgements back for a while.
    pub lazy: bool,
    /// Lodges wills.
    pub wills: bool,
    /// Takes no part but for reading the retained values at the end.
    pub probe: bool,
}

/// A scripted client.
#[derive(Debug)]
pub struct Client {
    traits: Traits,
    name: String,
    link: Link,
    /// When it acts next.
    pub wake: Micros,
    buffer: Vec<u8>,
    next_pid: u16,
    outbound: VecDeque<Outbound>,
    held: BTreeSet<u16>,
    unacked: BTreeSet<u16>,
    lazy_acks: Vec<Vec<u8>>,
    known: bool,
    resetting: bool,
    will: Option<MsgId>,
    /// The step in which the gateway ended the connection, of which the client does not know yet.
    ended: Option<u64>,
    pending: Option<(u16, String, bool)>,
    wanted: BTreeMap<String, u8>,
    aliases: BTreeMap<u16, String>,
    receive_maximum: u16,
    granted_quota: usize,
    connect_sent: Micros,
    last_sent: Micros,
    said_last: bool,
    /// Retained values that came to the probe.
    pub retained: BTreeMap<String, Vec<u8>>,
    /// Whether the probe has subscribed.
    pub probed: bool,
    bound: Option<(u64, u32)>,
    /// Most messages that may have waited while it was away, in a run with tight queues.
    pub queue_bound: Option<u32>,
}

impl Client {
    /// A client that has never connected.
    #[must_use]
    pub fn new(traits: Traits, wake: Micros) -> Self {
        Client {
            name: format!("mqtt{}-c{}", if traits.v5 { 5 } else { 4 }, traits.index),
            link: Link::Down,
            wake,
            buffer: Vec::new(),
            next_pid: 0,
            outbound: VecDeque::new(),
            held: BTreeSet::new(),
            unacked: BTreeSet::new(),
            lazy_acks: Vec::new(),
            known: false,
            resetting: false,
            will: None,
            ended: None,
            pending: None,
            wanted: if traits.probe {
                BTreeMap::new()
            } else {
                first_wanted(traits.index, &["t/+", "v/x"])
            },
            aliases: BTreeMap::new(),
            receive_maximum: if traits.v5 {
                1 + u16::try_from(traits.index).unwrap_or(0) * 3
            } else {
                0
            },
            granted_quota: 0,
            connect_sent: 0,
            last_sent: 0,
            said_last: false,
            retained: BTreeMap::new(),
            probed: false,
            bound: None,
            queue_bound: None,
            traits,
        }
    }

    /// Whether nothing of its own is unfinished.
    #[must_use]
    pub fn idle(&self) -> bool {
        self.link == Link::Up
            && self.outbound.is_empty()
            && self.pending.is_none()
            && self.lazy_acks.is_empty()
            && self.unacked.is_empty()
            && (self.traits.probe || self.said_last)
    }

    /// Whether the client is connected and has subscribed to what it wants.
    #[must_use]
    pub fn settled(&self) -> bool {
        self.link == Link::Up && self.pending.is_none() && self.missing().is_none()
    }

    /// For the report of a run that does not come to rest.
    #[must_use]
    pub fn describe(&self) -> String {
        format!(
            "{} {:?} outbound {:?} pending {:?} held {:?}",
            self.name,
            self.link,
            self.outbound.iter().map(|o| (o.pid, o.id, o.released)).collect::<Vec<_>>(),
            self.pending,
            self.held
        )
    }

    /// The gateway ends the connection.
    pub fn ended(&mut self, tick: u64) {
        self.ended = Some(tick);
    }

    /// The connection ended; `retry` says when to think of a new one.
    pub fn on_closed(&mut self, ctx: &mut Ctx<'_>) {
        if self.link == Link::Down {
            return;
        }
        let ended = self.ended.take();
        if let Some(will) = self.will.take() {
            // Only a durable session's will survives whatever happens next.
            if self.link == Link::Up && self.traits.durable {
                ctx.model.will_due(will, ended);
            }
        }
        self.link = Link::Down;
        self.buffer.clear();
        self.lazy_acks.clear();
        self.unacked.clear();
        self.aliases.clear();
        if !self.traits.durable {
            ctx.model.unsure(self.traits.index);
        }
        let pause = if ctx.healing { 100 * MS } else { ctx.rng.range(20 * MS, 6 * SEC) };
        self.wake = ctx.now + pause;
    }

    /// Its time has come.
    pub fn on_wake(&mut self, ctx: &mut Ctx<'_>) {
        self.wake =
            ctx.now + if ctx.healing { 200 * MS } else { ctx.rng.range(30 * MS, 1500 * MS) };
        match self.link {
            Link::Down => self.connect(ctx),
            Link::Opening => {
                if ctx.now > self.connect_sent + 25 * SEC {
                    ctx.acts.push(Act::Break);
                    self.on_closed(ctx);
                }
            }
            Link::Up => {
                for ack in std::mem::take(&mut self.lazy_acks) {
                    self.send(ctx, ack);
                }
                self.unacked.clear();
                self.act(ctx);
            }
        }
    }

    fn connect(&mut self, ctx: &mut Ctx<'_>) {
        let t = &self.traits;
        self.will = None;
        let mut will_payload = Vec::new();
        if t.wills && !ctx.healing && ctx.rng.chance(600) {
            let qos = u8::try_from(ctx.rng.below(3)).unwrap_or(0);
            let flags = (false, false);
            let (id, payload) = ctx.model.begin(t.index, Origin::Will, "t/a", qos, flags);
            self.will = Some(id);
            will_payload = payload;
        }
        let will = self.will.map(|id| ("t/a", will_payload.as_slice(), ctx.model.publish(id).qos));
        // A durable client starts anew now and then; until that is certain it insists.
        self.resetting |= t.durable && t.v5 && !ctx.healing && ctx.rng.chance(40);
        let clean = !t.durable || self.resetting;
        if clean {
            ctx.model.new_session(t.index);
            self.outbound.clear();
            self.held.clear();
            self.known = false;
        }
        self.pending = None;
        let connect = wire::connect(&Connect {
            v5: t.v5,
            id: &self.name,
            clean,
            keep_alive: 30,
            expiry: if t.durable { 86_400 } else { 0 },
            receive_maximum: self.receive_maximum,
            alias_maximum: if t.v5 && t.lazy { 3 } else { 0 },
            will,
            will_delay: 0,
        });
        self.link = Link::Opening;
        self.connect_sent = ctx.now;
        ctx.acts.push(Act::Open);
        self.send(ctx, connect);
    }

    fn send(&mut self, ctx: &mut Ctx<'_>, bytes: Vec<u8>) {
        self.last_sent = ctx.now;
        ctx.acts.push(Act::Tcp(bytes));
    }

    /// The wanted filter that is not certainly subscribed.
    fn missing(&self) -> Option<(String, u8)> {
        self.wanted.iter().find(|(_, qos)| **qos & 0x80 != 0).map(|(f, q)| (f.clone(), q & 3))
    }

    fn act(&mut self, ctx: &mut Ctx<'_>) {
        if ctx.now > self.last_sent + 12 * SEC {
            return self.send(ctx, wire::ping());
        }
        if self.pending.is_none()
            && let Some((filter, qos)) = self.missing()
        {
            return self.subscribe(ctx, &filter, qos);
        }
        if self.traits.probe {
            if ctx.probing && !self.probed && self.pending.is_none() {
                self.probed = true;
                self.subscribe(ctx, "r/#", 1);
            }
            return;
        }
        if ctx.healing {
            if ctx.last_round && !self.said_last && self.outbound.is_empty() {
                self.said_last = true;
                self.publish(ctx, 1);
                self.publish(ctx, 2);
            }
            return;
        }
        match ctx.rng.below(100) {
            0..60 => {
                for _ in 0..ctx.rng.range(1, 3) {
                    let qos = u8::try_from(ctx.rng.below(3)).unwrap_or(0);
                    self.publish(ctx, qos);
                }
            }
            60..78 if self.pending.is_none() => {
                let filter = *ctx.rng.pick(&FILTERS);
                self.subscribe(ctx, filter, qos_for(self.traits.index, filter));
            }
            78..84 if self.pending.is_none() && !self.wanted.is_empty() => {
                let filter = ctx.rng.index(self.wanted.len());
                let filter = self.wanted.keys().nth(filter).cloned().unwrap_or_default();
                self.unsubscribe(ctx, filter);
            }
            84..88 => self.send(ctx, wire::ping()),
            88..92 => {
                self.send(ctx, wire::disconnect());
                self.will = None;
                ctx.acts.push(Act::Fin);
                self.on_closed(ctx);
            }
            92..96 => {
                ctx.acts.push(Act::Break);
                self.on_closed(ctx);
            }
            _ => {}
        }
    }

    fn pid(&mut self) -> u16 {
        loop {
            self.next_pid = self.next_pid.checked_add(1).unwrap_or(1);
            let pid = self.next_pid;
            let taken = self.outbound.iter().any(|o| o.pid == pid)
                || self.pending.as_ref().is_some_and(|p| p.0 == pid);
            if !taken {
                return pid;
            }
        }
    }

    fn publish(&mut self, ctx: &mut Ctx<'_>, qos: u8) {
        if qos > 0 && self.outbound.len() >= self.granted_quota.min(6) {
            return;
        }
        let retain = qos > 0 && ctx.rng.chance(250);
        // One QoS for all that it retains: a QoS 1 repeat after a reconnect may rightly overtake
        // a QoS 2 publish that was executed before.
        let qos = if retain { 1 + u8::from(self.traits.index.is_multiple_of(2)) } else { qos };
        let empty = retain && !ctx.healing && ctx.rng.chance(80);
        let topic = if retain {
            retained_topic(self.traits.index)
        } else {
            (*ctx.rng.pick(&TOPICS)).to_string()
        };
        let flags = (retain, empty);
        let (id, payload) = ctx.model.begin(self.traits.index, Origin::Mqtt, &topic, qos, flags);
        let pid = if qos > 0 { self.pid() } else { 0 };
        let bytes = wire::publish(self.traits.v5, &topic, &payload, qos, (false, retain), pid);
        self.send(ctx, bytes);
        if qos > 0 {
            self.outbound.push_back(Outbound {
                pid,
                id,
                topic,
                payload,
                qos,
                retain,
                released: false,
            });
        }
    }

    fn subscribe(&mut self, ctx: &mut Ctx<'_>, filter: &str, qos: u8) {
        let pid = self.pid();
        self.pending = Some((pid, filter.into(), true));
        self.wanted.insert(filter.into(), qos | 0x80);
        ctx.model.subscribing(self.traits.index, filter, qos);
        let bytes = wire::subscribe(self.traits.v5, pid, &[(filter.into(), qos)]);
        self.send(ctx, bytes);
    }

    fn unsubscribe(&mut self, ctx: &mut Ctx<'_>, filter: String) {
        let pid = self.pid();
        ctx.model.unsubscribing(self.traits.index, &filter);
        self.wanted.remove(&filter);
        let bytes = wire::unsubscribe(self.traits.v5, pid, &filter);
        self.pending = Some((pid, filter, false));
        self.send(ctx, bytes);
    }

    /// Bytes came, cut anywhere.
    pub fn on_bytes(&mut self, ctx: &mut Ctx<'_>, bytes: &[u8]) {
        if self.link == Link::Down {
            return;
        }
        self.buffer.extend_from_slice(bytes);
        loop {
            match wire::decode(self.traits.v5, &mut self.buffer) {
                Ok(Some(packet)) => self.on_packet(ctx, packet),
                Ok(None) => return,
                Err(e) => return ctx.fail(&self.name, format!("malformed bytes: {e}")),
            }
        }
    }

    fn on_packet(&mut self, ctx: &mut Ctx<'_>, packet: Packet) {
        let (name, now) = (&self.name, ctx.now);
        ctx.trace.line(now, || format!("  {name} gets {packet:?}"));
        if self.link == Link::Opening && !matches!(packet, Packet::ConnAck { .. }) {
            return ctx.fail(&self.name, "a packet before CONNACK");
        }
        match packet {
            Packet::ConnAck { present, code, receive_maximum } => {
                self.on_connack(ctx, present, code, receive_maximum);
            }
            Packet::Publish { dup, qos, retain, topic, alias, pid, payload } => {
                let topic = match alias {
                    Some(alias) if topic.is_empty() => {
                        self.aliases.get(&alias).cloned().unwrap_or_default()
                    }
                    Some(alias) => {
                        self.aliases.insert(alias, topic.clone());
                        topic
                    }
                    None => topic,
                };
                let a = Arrival { topic: &topic, payload: &payload, qos, dup, retain };
                self.on_publish(ctx, pid, &a);
            }
            Packet::Ack(kind, pid, code) => self.on_ack(ctx, kind, pid, code),
            Packet::SubAck(pid, codes) => self.on_suback(ctx, pid, &codes),
            Packet::UnsubAck(pid) => {
                if let Some((_, filter, false)) = self.pending.take_if(|p| p.0 == pid) {
                    ctx.model.unsubscribed(self.traits.index, &filter);
                }
            }
            Packet::PingResp => {}
            Packet::Disconnect(code) => {
                // 0x8b: the gateway stops; 0x8d after a silence; 0x8e when it opened a second
                // connection itself.
                if !matches!(code, 0x8b | 0x8d | 0x8e) {
                    ctx.fail(&self.name, format!("DISCONNECT {code:#x}"));
                }
            }
        }
    }

    fn on_connack(&mut self, ctx: &mut Ctx<'_>, present: bool, code: u8, quota: u16) {
        if self.link == Link::Up {
            return ctx.fail(&self.name, "a second CONNACK");
        }
        if matches!((self.traits.v5, code), (true, 0x88) | (false, 3)) {
            return; // the gateway stops, or its store fails
        }
        if self.traits.v5 && code == FULL {
            let result = ctx.model.outage.check(ctx.now, u64::MAX);
            return ctx.check(&self.name, result);
        }
        if code != 0 {
            return ctx.fail(&self.name, format!("CONNECT refused: {code:#x}"));
        }
        if present && (!self.traits.durable || self.resetting) {
            return ctx.fail(&self.name, "Session Present after a clean start");
        }
        if self.known && !present {
            return ctx.fail(&self.name, "an acknowledged session is gone");
        }
        self.known = self.traits.durable;
        self.resetting = false;
        self.link = Link::Up;
        self.granted_quota = usize::from(quota);
        self.bound = self.queue_bound.map(|_| (ctx.model.tick, 0));
        if !present {
            for qos in self.wanted.values_mut() {
                *qos |= 0x80;
            }
        }
        // A SUBSCRIBE whose answer was lost is simply sent again; an UNSUBSCRIBE too.
        let resend: Vec<Vec<u8>> = self.outbound.iter().map(|o| self.again(o)).collect();
        for o in self.outbound.iter().filter(|o| !o.released) {
            ctx.model.resent(o.id);
        }
        for bytes in resend {
            self.send(ctx, bytes);
        }
    }

    fn again(&self, o: &Outbound) -> Vec<u8> {
        if o.released {
            wire::ack(PUBREL, o.pid)
        } else {
            // [MQTT-4.4.0-1]
            let flags = (true, o.retain);
            wire::publish(self.traits.v5, &o.topic, &o.payload, o.qos, flags, o.pid)
        }
    }

    fn on_publish(&mut self, ctx: &mut Ctx<'_>, pid: u16, a: &Arrival<'_>) {
        if self.traits.probe && a.retain {
            self.retained.insert(a.topic.into(), a.payload.to_vec());
        }
        if let Some((since, count)) = &mut self.bound {
            let waited = ctx.model.begun(a.payload).is_some_and(|at| at < *since);
            *count += u32::from(waited && !a.retain);
            if self.queue_bound.is_some_and(|bound| *count > bound) {
                let text = format!("{count} messages had waited in its queue");
                return ctx.fail(&self.name, text);
            }
        }
        if a.qos < 2 || self.held.insert(pid) {
            let result = ctx.model.arrived(self.traits.index, a);
            ctx.check(&self.name, result);
        }
        if a.qos == 0 {
            return;
        }
        self.unacked.insert(pid);
        if self.receive_maximum > 0 && self.unacked.len() > usize::from(self.receive_maximum) {
            ctx.fail(&self.name, "more than Receive Maximum deliveries at once");
        }
        self.answer(ctx, if a.qos == 1 { PUBACK } else { PUBREC }, pid);
    }

    /// Answers, at once or with the next step. A PUBLISH counts as unacknowledged until then (QoS
    /// 2: to be lenient, until its PUBREC).
    fn answer(&mut self, ctx: &mut Ctx<'_>, kind: u8, pid: u16) {
        let bytes = wire::ack(kind, pid);
        if self.traits.lazy {
            self.lazy_acks.push(bytes);
        } else {
            self.unacked.remove(&pid);
            self.send(ctx, bytes);
        }
    }

    fn on_ack(&mut self, ctx: &mut Ctx<'_>, kind: u8, pid: u16, code: u8) {
        if kind == PUBREL {
            self.held.remove(&pid);
            return self.answer(ctx, PUBCOMP, pid);
        }
        let Some(at) = self.outbound.iter().position(|o| o.pid == pid) else {
            return ctx.fail(&self.name, format!("acknowledgement {kind} of unknown id {pid}"));
        };
        let o = &mut self.outbound[at];
        if self.traits.v5 && code == FULL && matches!(kind, PUBACK | PUBREC) && !o.released {
            let result = ctx.model.refused(o.id, ctx.now);
            self.outbound.remove(at);
            return ctx.check(&self.name, result);
        }
        let fits = match kind {
            PUBACK => o.qos == 1,
            PUBREC => o.qos == 2,
            _ => o.released,
        };
        // 0x92: our PUBREL was taken before the connection was lost, its answer was not.
        let good = code < 0x80 || kind == PUBCOMP && code == 0x92;
        if !fits || !good {
            return ctx.fail(&self.name, format!("acknowledgement {kind} {code:#x} of {pid}"));
        }
        ctx.model.acked(o.id);
        if kind == PUBREC {
            o.released = true;
            self.send(ctx, wire::ack(PUBREL, pid));
        } else {
            self.outbound.remove(at);
        }
    }

    fn on_suback(&mut self, ctx: &mut Ctx<'_>, pid: u16, codes: &[u8]) {
        let Some((_, filter, true)) = self.pending.take_if(|p| p.0 == pid) else {
            return ctx.fail(&self.name, "a SUBACK that nobody asked for");
        };
        let qos = self.wanted.get(&filter).map_or(0, |q| q & 3);
        if codes == [if self.traits.v5 { FULL } else { 0x80 }] && self.traits.durable {
            let result = ctx.model.outage.check(ctx.now, u64::MAX); // and asks again
            return ctx.check(&self.name, result);
        }
        if codes != [qos] {
            return ctx.fail(&self.name, format!("SUBACK {codes:x?} for QoS {qos} of {filter}"));
        }
        ctx.model.subscribed(self.traits.index, &filter);
        self.wanted.insert(filter, qos);
    }
}

/// The QoS a client always asks for with a filter.
#[must_use]
pub fn qos_for(client: usize, filter: &str) -> u8 {
    let n = filter.bytes().fold(client, |n, b| n * 31 + usize::from(b));
    match n % 5 {
        0 => 0,
        1 | 2 => 1,
        _ => 2,
    }
}

/// What a client subscribes to first, so that there is something to deliver from the start.
#[must_use]
pub fn first_wanted(client: usize, filters: &[&str]) -> BTreeMap<String, u8> {
    filters.iter().map(|f| ((*f).to_string(), qos_for(client, f) | 0x80)).collect()
}
