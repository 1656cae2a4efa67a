//! The scripted MQTT-SN client: REGISTER both ways, QoS 0 to 2 both ways, retransmission with Tretry
//! and Nretry, wills, sleep with PINGREQ cycles. One transaction at a time, as MQTT-SN 1.2 §6.6 has it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::ctx::{
    Act, Ctx, FILTERS, MAX_DELAY, MS, Micros, PREDEFINED, SEC, TOPICS, retained_topic,
};
use super::model::{Arrival, MsgId, Origin};
use super::mqtt::{first_wanted, qos_for};
use super::sn_wire::{self as wire, CLEAN, DUP, PUBCOMP, PUBREC, PUBREL, Packet, RETAIN, WILL};

const RETRY: Micros = 10 * SEC;
const TRIES: u32 = 5;
/// The return code of a gateway whose store fails.
const CONGESTION: u8 = 1;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Off,
    Connecting,
    Active,
    Asleep,
    Awake,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Doing {
    Nothing,
    Connect,
    Register { mid: u16, name: String },
    Publish { mid: u16, id: MsgId, tid: [u8; 2], flags: u8, payload: Vec<u8>, released: bool },
    Subscribe { mid: u16, filter: String },
    Unsubscribe { mid: u16, filter: String },
    Ping,
    Drain,
    Sleep,
    Goodbye,
}

/// What a client is for the whole run.
#[derive(Debug, Clone)]
pub struct Traits {
    /// Its number.
    pub index: usize,
    /// Keeps its session.
    pub durable: bool,
    /// Sleeps from time to time.
    pub sleeper: bool,
    /// Hears nothing while it sleeps.
    pub radio_off: bool,
    /// Lodges wills.
    pub wills: bool,
}

/// A scripted client.
#[derive(Debug)]
pub struct Client {
    traits: Traits,
    name: String,
    state: State,
    /// When it acts next.
    pub wake: Micros,
    doing: Doing,
    last_packet: Vec<u8>,
    last_tx: Micros,
    tries: u32,
    next_mid: u16,
    ids: BTreeMap<u16, String>,
    names: BTreeMap<String, u16>,
    held: BTreeSet<u16>,
    done: VecDeque<(u16, Micros)>,
    unfinished: Option<Doing>,
    wanted: BTreeMap<String, u8>,
    will: Option<MsgId>,
    said_last: u8,
    reconnect: bool,
    connected_at: Micros,
}

impl Client {
    /// A client that has never connected.
    #[must_use]
    pub fn new(traits: Traits, wake: Micros) -> Self {
        Client {
            name: format!("sn-c{}", traits.index),
            state: State::Off,
            wake,
            doing: Doing::Nothing,
            last_packet: Vec::new(),
            last_tx: 0,
            tries: 0,
            next_mid: 0,
            ids: BTreeMap::new(),
            names: BTreeMap::new(),
            held: BTreeSet::new(),
            done: VecDeque::new(),
            unfinished: None,
            wanted: first_wanted(traits.index, &["t/#"]),
            will: None,
            said_last: 0,
            reconnect: false,
            connected_at: 0,
            traits,
        }
    }

    /// Whether nothing of its own is unfinished; `damaged`: what the gateway has begun may be lost.
    #[must_use]
    pub fn idle(&self, damaged: bool) -> bool {
        self.state == State::Active
            && self.doing == Doing::Nothing
            && self.unfinished.is_none()
            && (self.held.is_empty() || damaged)
            && self.said_last >= 2
    }

    /// Whether the client is connected and has subscribed to what it wants.
    #[must_use]
    pub fn settled(&self) -> bool {
        self.state == State::Active
            && self.doing == Doing::Nothing
            && !self.reconnect
            && self.missing().is_none()
    }

    /// For the report of a run that does not come to rest.
    #[must_use]
    pub fn describe(&self) -> String {
        let Client { name, state, doing, unfinished, .. } = self;
        format!("{name} {state:?} {doing:?} unfinished {unfinished:?}")
    }

    fn missing(&self) -> Option<(String, u8)> {
        self.wanted.iter().find(|(_, qos)| **qos & 0x80 != 0).map(|(f, q)| (f.clone(), q & 3))
    }

    /// The healing phase begins: whatever it slept for, it comes back now.
    pub fn heal(&mut self, now: Micros) {
        if matches!(self.state, State::Asleep | State::Awake | State::Off) {
            self.state = State::Off;
            self.doing = Doing::Nothing;
        }
        // The gateway may have forgotten it meanwhile; then a new CONNECT is needed.
        self.reconnect = true;
        self.wake = now + 5 * SEC;
    }

    /// Its time has come.
    pub fn on_wake(&mut self, ctx: &mut Ctx<'_>) {
        if self.doing != Doing::Nothing {
            return self.retry(ctx);
        }
        if !ctx.healing && ctx.rng.chance(60) {
            self.publish_without_session(ctx);
        }
        match self.state {
            State::Off => self.connect(ctx),
            State::Active if self.reconnect => self.connect(ctx),
            State::Asleep => {
                if ctx.rng.chance(150) {
                    ctx.acts.push(Act::NewPort);
                }
                self.state = State::Awake;
                self.begin(ctx, Doing::Drain, wire::ping(&self.name));
            }
            State::Active => {
                self.pause(ctx);
                self.act(ctx);
            }
            State::Connecting | State::Awake => self.give_up(ctx),
        }
    }

    fn pause(&mut self, ctx: &mut Ctx<'_>) {
        let pause = if ctx.healing { 300 * MS } else { ctx.rng.range(50 * MS, 2 * SEC) };
        self.wake = ctx.now.max(self.last_tx + MAX_DELAY) + pause;
    }

    fn begin(&mut self, ctx: &mut Ctx<'_>, doing: Doing, packet: Vec<u8>) {
        self.doing = doing;
        self.tries = 0;
        self.last_packet = packet;
        self.transmit(ctx);
    }

    fn transmit(&mut self, ctx: &mut Ctx<'_>) {
        self.tries += 1;
        self.last_tx = ctx.now;
        self.wake = ctx.now + RETRY + ctx.rng.below(SEC);
        ctx.acts.push(Act::Datagram(self.last_packet.clone()));
    }

    fn retry(&mut self, ctx: &mut Ctx<'_>) {
        if self.tries >= TRIES {
            return self.give_up(ctx);
        }
        // DUP on what has the flag: PUBLISH and SUBSCRIBE.
        if let Doing::Publish { released: false, .. } | Doing::Subscribe { .. } = self.doing {
            let at = if self.last_packet[0] == 1 { 4 } else { 2 };
            self.last_packet[at] |= DUP;
        }
        self.transmit(ctx);
    }

    /// The gateway does not answer, or has said goodbye.
    fn give_up(&mut self, ctx: &mut Ctx<'_>) {
        if let Doing::Publish { .. } = self.doing {
            self.unfinished = Some(std::mem::replace(&mut self.doing, Doing::Nothing));
        }
        self.doing = Doing::Nothing;
        self.state = State::Off;
        if !self.traits.durable {
            ctx.model.unsure(self.traits.index);
        }
        // Longer than a late answer to the last CONNECT can be under way.
        self.wake = ctx.now + 5 * SEC + if ctx.healing { 0 } else { ctx.rng.below(10 * SEC) };
    }

    fn connect(&mut self, ctx: &mut Ctx<'_>) {
        let t = &self.traits;
        if !t.durable {
            ctx.model.new_session(t.index);
            self.ids.clear();
            self.names.clear();
            self.held.clear();
            self.done.clear();
            self.unfinished = None;
            for qos in self.wanted.values_mut() {
                *qos |= 0x80;
            }
        }
        let mut flags = if t.durable { 0 } else { CLEAN };
        self.will = None;
        if t.wills && !ctx.healing && ctx.rng.chance(400) {
            let (id, _) = ctx.model.begin(t.index, Origin::Will, "t/b", 1, (false, false));
            self.will = Some(id);
            flags |= WILL;
        }
        self.reconnect = false;
        self.state = State::Connecting;
        self.begin(ctx, Doing::Connect, wire::connect(flags, 60, &self.name));
    }

    fn mid(&mut self) -> u16 {
        self.next_mid = self.next_mid.checked_add(1).unwrap_or(1);
        self.next_mid
    }

    fn act(&mut self, ctx: &mut Ctx<'_>) {
        if let Some(doing) = self.unfinished.take() {
            let packet = match &doing {
                Doing::Publish { mid, released: true, .. } => wire::flow(PUBREL, *mid),
                Doing::Publish { mid, tid, flags, payload, .. } => {
                    wire::publish(flags | DUP, *tid, *mid, payload)
                }
                _ => return,
            };
            return self.begin(ctx, doing, packet);
        }
        if let Some((filter, qos)) = self.missing() {
            return self.subscribe(ctx, filter, qos);
        }
        if ctx.healing {
            if ctx.last_round && self.said_last < 2 {
                self.said_last += u8::from(self.publish(ctx, self.said_last + 1));
            }
            return;
        }
        match ctx.rng.below(100) {
            0..50 => {
                let qos = u8::try_from(ctx.rng.below(3)).unwrap_or(0);
                self.publish(ctx, qos);
            }
            50..68 => {
                let filter = *ctx.rng.pick(&FILTERS);
                self.subscribe(ctx, filter.into(), qos_for(self.traits.index, filter));
            }
            68..73 if !self.wanted.is_empty() => {
                let at = ctx.rng.index(self.wanted.len());
                let filter = self.wanted.keys().nth(at).cloned().unwrap_or_default();
                ctx.model.unsubscribing(self.traits.index, &filter);
                self.wanted.remove(&filter);
                let mid = self.mid();
                let packet = wire::subscribe(0x14, 0, mid, &filter);
                self.begin(ctx, Doing::Unsubscribe { mid, filter }, packet);
            }
            73..77 => self.begin(ctx, Doing::Ping, wire::ping("")),
            77..80 => self.begin(ctx, Doing::Goodbye, wire::disconnect(None)),
            _ if self.traits.sleeper => {
                let packet = wire::disconnect(Some(60));
                self.begin(ctx, Doing::Sleep, packet);
            }
            _ => {}
        }
    }

    /// How a PUBLISH names the topic: type bits and two octets; `None` if it must be registered.
    fn name(&self, ctx: &mut Ctx<'_>, topic: &str) -> Option<(u8, [u8; 2])> {
        if let Ok(short) = <[u8; 2]>::try_from(topic.as_bytes()) {
            return Some((2, short));
        }
        let predefined = (1u16..).zip(PREDEFINED).find(|(_, name)| *name == topic);
        if let Some((id, _)) = predefined.filter(|_| ctx.rng.chance(400)) {
            return Some((1, id.to_be_bytes()));
        }
        self.names.get(topic).map(|id| (0, id.to_be_bytes()))
    }

    /// QoS −1, to the only topic that takes it (MQTT-SN 1.2 §6.8): at any time, no answer.
    fn publish_without_session(&mut self, ctx: &mut Ctx<'_>) {
        let flags = (false, false);
        let (_, payload) = ctx.model.begin(self.traits.index, Origin::Sn, PREDEFINED[0], 0, flags);
        ctx.acts.push(Act::Datagram(wire::publish(wire::qos_bits(3) | 1, [0, 1], 0, &payload)));
    }

    /// Publishes, or registers the topic first; true when the PUBLISH went out.
    fn publish(&mut self, ctx: &mut Ctx<'_>, qos: u8) -> bool {
        let retain = qos > 0 && ctx.rng.chance(250);
        let topic = if retain {
            retained_topic(self.traits.index)
        } else {
            (*ctx.rng.pick(&TOPICS)).to_string()
        };
        let Some((kind, tid)) = self.name(ctx, &topic) else {
            let mid = self.mid();
            let packet = wire::register(mid, &topic);
            self.begin(ctx, Doing::Register { mid, name: topic }, packet);
            return false;
        };
        let flags = (retain, false);
        let (id, payload) = ctx.model.begin(self.traits.index, Origin::Sn, &topic, qos, flags);
        let mid = if qos > 0 { self.mid() } else { 0 };
        let flags = kind | wire::qos_bits(qos) | if retain { RETAIN } else { 0 };
        let packet = wire::publish(flags, tid, mid, &payload);
        if qos == 0 {
            self.last_tx = ctx.now;
            ctx.acts.push(Act::Datagram(packet));
        } else {
            let doing = Doing::Publish { mid, id, tid, flags, payload, released: false };
            self.begin(ctx, doing, packet);
        }
        true
    }

    fn subscribe(&mut self, ctx: &mut Ctx<'_>, filter: String, qos: u8) {
        ctx.model.subscribing(self.traits.index, &filter, qos);
        self.wanted.insert(filter.clone(), qos | 0x80);
        let mid = self.mid();
        let packet = wire::subscribe(0x12, wire::qos_bits(qos), mid, &filter);
        self.begin(ctx, Doing::Subscribe { mid, filter }, packet);
    }

    /// What was begun has ended well.
    fn finish(&mut self, ctx: &mut Ctx<'_>) {
        self.doing = Doing::Nothing;
        self.pause(ctx);
    }

    /// A datagram came.
    pub fn on_datagram(&mut self, ctx: &mut Ctx<'_>, bytes: &[u8]) {
        if self.state == State::Asleep && self.traits.radio_off || self.state == State::Off {
            return;
        }
        let packet = match wire::decode(bytes) {
            Ok(packet) => packet,
            Err(e) => return ctx.fail(&self.name, format!("malformed datagram: {e}")),
        };
        // A late packet of the session before this one must not be taken for one of this.
        let strange = matches!(packet, Packet::Register { .. } | Packet::Publish { .. })
            && !self.traits.durable
            && (self.state == State::Connecting || ctx.now < self.connected_at + MAX_DELAY);
        if strange {
            return;
        }
        let (name, now) = (&self.name, ctx.now);
        ctx.trace.line(now, || format!("  {name} gets {packet:?}"));
        if self.state == State::Awake {
            self.wake = self.wake.max(ctx.now + RETRY);
        }
        match packet {
            Packet::ConnAck(code) => self.on_connack(ctx, code),
            Packet::WillTopicReq if self.doing == Doing::Connect && self.will.is_some() => {
                self.answer(ctx, wire::packet(0x07, &[&[wire::qos_bits(1)], b"t/b"]));
            }
            Packet::WillMsgReq if self.doing == Doing::Connect => {
                if let Some(id) = self.will {
                    let payload = super::payload::payload(id);
                    self.answer(ctx, wire::packet(0x09, &[&payload]));
                }
            }
            Packet::RegAck { tid, mid, code } => self.on_regack(ctx, tid, mid, code),
            Packet::Register { tid, mid, name } => {
                self.learn(ctx, tid, &name);
                self.answer(ctx, wire::regack(tid, mid, 0));
            }
            Packet::Publish { flags, tid, mid, payload } => {
                self.on_publish(ctx, flags, tid, mid, &payload);
            }
            Packet::PubAck { mid, code, .. } => self.on_puback(ctx, mid, code),
            Packet::Flow(kind, mid) => self.on_flow(ctx, kind, mid),
            Packet::SubAck { flags, tid, mid, code } => self.on_suback(ctx, flags, tid, mid, code),
            Packet::UnsubAck(mid) => {
                if let Doing::Unsubscribe { mid: m, filter } = &self.doing
                    && *m == mid
                {
                    ctx.model.unsubscribed(self.traits.index, filter);
                    self.finish(ctx);
                }
            }
            Packet::PingReq(_) => self.answer(ctx, wire::packet(0x17, &[])),
            Packet::PingResp => match self.doing {
                Doing::Ping => self.finish(ctx),
                Doing::Drain => self.fall_asleep(ctx),
                _ => {}
            },
            Packet::Disconnect(_) => match self.doing {
                Doing::Sleep => self.fall_asleep(ctx),
                Doing::Connect => {} // late; the gateway does not know us yet
                _ => self.give_up(ctx),
            },
            // The will dialogue may come twice, or late.
            Packet::WillTopicReq | Packet::WillMsgReq => {}
            Packet::Advertise | Packet::GwInfo => {}
            other => ctx.fail(&self.name, format!("unexpected {other:?}")),
        }
    }

    fn answer(&mut self, ctx: &mut Ctx<'_>, bytes: Vec<u8>) {
        ctx.acts.push(Act::Datagram(bytes));
    }

    fn fall_asleep(&mut self, ctx: &mut Ctx<'_>) {
        self.doing = Doing::Nothing;
        self.state = State::Asleep;
        // Now and then it oversleeps: the gateway gives it up.
        let nap = if ctx.rng.chance(40) { 100 * SEC } else { ctx.rng.range(2 * SEC, 40 * SEC) };
        self.wake = ctx.now + nap;
        if ctx.healing {
            self.state = State::Off;
            self.wake = ctx.now + 5 * SEC;
        } else if ctx.rng.chance(300) {
            self.state = State::Off; // wakes by CONNECT
            self.wake = self.wake.max(ctx.now + 5 * SEC);
        }
    }

    fn on_connack(&mut self, ctx: &mut Ctx<'_>, code: u8) {
        if self.doing != Doing::Connect {
            return;
        }
        if code == CONGESTION {
            self.congested(ctx);
            return self.give_up(ctx);
        }
        if code != 0 {
            return ctx.fail(&self.name, format!("CONNECT refused: {code}"));
        }
        self.state = State::Active;
        self.connected_at = ctx.now;
        self.finish(ctx);
    }

    /// Topic ids never change their meaning within a session.
    fn learn(&mut self, ctx: &mut Ctx<'_>, tid: u16, name: &str) {
        if tid == 0 || tid == 0xffff {
            return ctx.fail(&self.name, format!("topic id {tid:#x} is reserved"));
        }
        match self.ids.get(&tid) {
            Some(old) if old != name => {
                let text = format!("topic id {tid} meant {old} and means {name} now");
                ctx.fail(&self.name, text);
            }
            _ => {
                self.ids.insert(tid, name.into());
                self.names.insert(name.into(), tid);
            }
        }
    }

    /// Refused because the store fails; asks again later.
    fn congested(&mut self, ctx: &mut Ctx<'_>) {
        let result = ctx.model.outage.check(ctx.now, u64::MAX);
        self.finish(ctx);
        ctx.check(&self.name, result);
    }

    fn on_regack(&mut self, ctx: &mut Ctx<'_>, tid: u16, mid: u16, code: u8) {
        let Doing::Register { mid: m, name } = &self.doing else { return };
        if *m != mid {
            return;
        }
        match code {
            0 => {}
            CONGESTION => return self.congested(ctx),
            _ => return ctx.fail(&self.name, format!("REGISTER refused: {code}")),
        }
        let name = name.clone();
        self.learn(ctx, tid, &name);
        self.finish(ctx);
    }

    fn on_publish(&mut self, ctx: &mut Ctx<'_>, flags: u8, tid: u16, mid: u16, payload: &[u8]) {
        let qos = wire::qos_of(flags);
        if qos == 3 {
            return ctx.fail(&self.name, "a PUBLISH at QoS -1 from the gateway");
        }
        let topic = match flags & 3 {
            0 => self.ids.get(&tid).cloned(),
            1 => {
                let name = PREDEFINED.get(usize::from(tid).wrapping_sub(1));
                name.map(|name| (*name).to_string())
            }
            2 => String::from_utf8(tid.to_be_bytes().to_vec()).ok(),
            _ => None,
        };
        let Some(topic) = topic else {
            return self.answer(ctx, wire::puback(tid, mid, 2));
        };
        self.done.retain(|(_, at)| *at + MAX_DELAY > ctx.now);
        let repeated =
            qos == 2 && (self.done.iter().any(|(done, _)| *done == mid) || !self.held.insert(mid));
        if !repeated {
            let retain = flags & RETAIN != 0;
            let a = Arrival { topic: &topic, payload, qos, dup: flags & DUP != 0, retain };
            let result = ctx.model.arrived(self.traits.index, &a);
            ctx.check(&self.name, result);
        }
        match qos {
            1 => self.answer(ctx, wire::puback(tid, mid, 0)),
            2 => self.answer(ctx, wire::flow(PUBREC, mid)),
            _ => {}
        }
    }

    fn on_puback(&mut self, ctx: &mut Ctx<'_>, mid: u16, code: u8) {
        if code == CONGESTION {
            let Doing::Publish { mid: m, id, released: false, .. } = self.doing else { return };
            let result = if m == mid { ctx.model.refused(id, ctx.now) } else { return };
            self.finish(ctx);
            return ctx.check(&self.name, result);
        }
        if code != 0 {
            return ctx.fail(&self.name, format!("PUBACK {code} for {mid}"));
        }
        if let Doing::Publish { mid: m, id, flags, .. } = self.doing
            && wire::qos_of(flags) == 1
            && m == mid
        {
            ctx.model.acked(id);
            self.finish(ctx);
        }
    }

    fn on_flow(&mut self, ctx: &mut Ctx<'_>, kind: u8, mid: u16) {
        if kind == PUBREL {
            if self.held.remove(&mid) {
                self.done.push_back((mid, ctx.now));
            }
            return self.answer(ctx, wire::flow(PUBCOMP, mid));
        }
        let Doing::Publish { mid: m, id, flags, released, .. } = &mut self.doing else { return };
        if *m != mid || wire::qos_of(*flags) != 2 {
            return;
        }
        ctx.model.acked(*id);
        if kind == PUBREC && !*released {
            *released = true;
            self.last_packet = wire::flow(PUBREL, mid);
            // The PUBREL must not overtake a copy of the PUBLISH that is still under way.
            self.tries = 0;
            self.wake = ctx.now.max(self.last_tx + MAX_DELAY) + MS;
        } else if kind == PUBCOMP && *released {
            self.finish(ctx);
        }
    }

    fn on_suback(&mut self, ctx: &mut Ctx<'_>, flags: u8, tid: u16, mid: u16, code: u8) {
        let Doing::Subscribe { mid: m, filter } = &self.doing else { return };
        if *m != mid {
            return;
        }
        let filter = filter.clone();
        let qos = self.wanted.get(&filter).map_or(0, |q| q & 3);
        if code == CONGESTION {
            return self.congested(ctx); // and asks again
        }
        if code != 0 || wire::qos_of(flags) != qos {
            let text = format!("SUBACK {code} QoS {} for {filter}", wire::qos_of(flags));
            return ctx.fail(&self.name, text);
        }
        if !filter.contains(['+', '#']) {
            self.learn(ctx, tid, &filter);
        }
        ctx.model.subscribed(self.traits.index, &filter);
        self.wanted.insert(filter, qos);
        self.finish(ctx);
    }
}
