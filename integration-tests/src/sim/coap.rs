//! The scripted CoAP client: a requester (PUT, POST, GET, DELETE; CON with retransmission, NON) or an
//! observer (RFC 7641) that resets notifications it does not know.

use std::collections::BTreeMap;

use super::coap_wire::{self as wire, ACK, CON, DELETE, GET, Message, NON, POST, PUT, RST};
use super::ctx::{Act, Ctx, MAX_DELAY, MS, Micros, SEC, TOPICS, retained_topic};
use super::model::{Model, MsgId, Origin};

#[derive(Debug)]
struct Request {
    mid: u16,
    token: Vec<u8>,
    bytes: Vec<u8>,
    confirmable: bool,
    code: u8,
    message: Option<MsgId>,
    topic: String,
    since: u64,
    tries: u32,
    timeout: Micros,
    acked: bool,
}

#[derive(Debug, Clone)]
struct Observation {
    token: Vec<u8>,
    /// Observe value and time of the newest notification.
    newest: Option<(u32, Micros)>,
    value: Vec<u8>,
    seen: Micros,
}

/// A scripted client.
#[derive(Debug)]
pub struct Client {
    index: usize,
    name: String,
    observer: bool,
    /// When it acts next.
    pub wake: Micros,
    request: Option<Request>,
    next_mid: u16,
    next_token: u32,
    last_tx: Micros,
    observed: BTreeMap<String, Observation>,
    registering: Option<String>,
    said_last: u8,
    healed: bool,
    targets: Vec<usize>,
}

fn path(topic: &str) -> Vec<(u16, Vec<u8>)> {
    let segments = std::iter::once("mqtt").chain(topic.split('/'));
    segments.map(|s| (11, s.as_bytes().to_vec())).collect()
}

impl Client {
    /// A client; an observer watches the retained topics of the clients in `targets`.
    #[must_use]
    pub fn new(index: usize, observer: bool, targets: Vec<usize>, seed: u16, wake: Micros) -> Self {
        Client {
            index,
            name: format!("coap-c{index}"),
            observer,
            wake,
            request: None,
            next_mid: seed,
            next_token: u32::from(seed) << 8,
            last_tx: 0,
            observed: BTreeMap::new(),
            registering: None,
            said_last: 0,
            healed: false,
            targets,
        }
    }

    /// Whether nothing of its own is unfinished.
    #[must_use]
    pub fn idle(&self) -> bool {
        self.request.is_none() && (self.observer || self.said_last >= 2)
    }

    /// Whether an observer has registered anew in the healing phase.
    #[must_use]
    pub fn settled(&self) -> bool {
        self.request.is_none() && (!self.observer || self.healed)
    }

    /// For the report of a run that does not come to rest.
    #[must_use]
    pub fn describe(&self) -> String {
        let request = self.request.as_ref().map(|r| (r.code, &r.topic, r.tries));
        format!("{} request {request:?} observed {:?}", self.name, self.observed)
    }

    /// Whether every observed value is the last one.
    ///
    /// # Errors
    /// The first that is not.
    pub fn check_observed(&self, model: &Model) -> Result<(), String> {
        for (topic, o) in &self.observed {
            if self.healed {
                model
                    .check_read(topic, Some(&o.value), model.tick)
                    .map_err(|e| format!("{} observes: {e}", self.name))?;
            }
        }
        Ok(())
    }

    /// The healing phase begins: observers register anew.
    pub fn heal(&mut self, now: Micros) {
        self.observed.clear();
        self.healed = false;
        self.wake = self.wake.min(now + SEC);
    }

    /// Its time has come.
    pub fn on_wake(&mut self, ctx: &mut Ctx<'_>) {
        match &mut self.request {
            None => self.act(ctx),
            Some(r) if r.confirmable && !r.acked && r.tries < 5 => {
                // RFC 7252 §4.2
                r.tries += 1;
                r.timeout *= 2;
                self.wake = ctx.now + r.timeout;
                self.last_tx = ctx.now;
                ctx.acts.push(Act::Datagram(r.bytes.clone()));
            }
            Some(_) => {
                // Given up; whether it was done is not known.
                self.request = None;
                self.registering = None;
                self.pause(ctx);
            }
        }
    }

    fn pause(&mut self, ctx: &mut Ctx<'_>) {
        let pause = if ctx.healing { 200 * MS } else { ctx.rng.range(50 * MS, 2 * SEC) };
        self.wake = ctx.now.max(self.last_tx + MAX_DELAY) + pause;
    }

    fn act(&mut self, ctx: &mut Ctx<'_>) {
        self.pause(ctx);
        if self.observer {
            return self.watch(ctx);
        }
        if ctx.healing {
            if ctx.last_round && self.said_last < 2 {
                self.said_last += 1;
                let code = if self.said_last == 1 { POST } else { PUT };
                self.write(ctx, code, true);
            }
            return;
        }
        let confirmable = ctx.rng.chance(750);
        match ctx.rng.below(100) {
            0..40 => self.write(ctx, PUT, confirmable),
            40..70 => self.write(ctx, POST, confirmable),
            70..76 => self.write(ctx, DELETE, confirmable),
            _ => {
                let target = *ctx.rng.pick(&self.targets);
                self.ask(ctx, GET, confirmable, retained_topic(target), None, Vec::new(), None);
            }
        }
    }

    fn watch(&mut self, ctx: &mut Ctx<'_>) {
        let due = |o: &Observation| o.seen + 60 * SEC < ctx.now;
        let targets = self.targets.iter().map(|t| retained_topic(*t));
        let next = targets.into_iter().find(|t| self.observed.get(t).is_none_or(due));
        if let Some(topic) = next {
            self.registering = Some(topic.clone());
            self.ask(ctx, GET, true, topic, None, Vec::new(), Some(0));
        } else {
            self.healed = ctx.healing;
            if !ctx.healing && ctx.rng.chance(60) {
                // Forgets one: its next notification is reset.
                let at = ctx.rng.index(self.observed.len());
                let topic = self.observed.keys().nth(at).cloned().unwrap_or_default();
                self.observed.remove(&topic);
            }
        }
    }

    fn write(&mut self, ctx: &mut Ctx<'_>, code: u8, confirmable: bool) {
        let retain = code != POST;
        let topic =
            if retain { retained_topic(self.index) } else { (*ctx.rng.pick(&TOPICS)).to_string() };
        let flags = (retain, code == DELETE);
        let qos = u8::from(confirmable);
        let (id, payload) = ctx.model.begin(self.index, Origin::Coap, &topic, qos, flags);
        self.ask(ctx, code, confirmable, topic, Some(id), payload, None);
    }

    #[allow(clippy::too_many_arguments)] // the parts of a request
    fn ask(
        &mut self,
        ctx: &mut Ctx<'_>,
        code: u8,
        confirmable: bool,
        topic: String,
        message: Option<MsgId>,
        payload: Vec<u8>,
        observe: Option<u32>,
    ) {
        self.next_mid = self.next_mid.wrapping_add(1);
        self.next_token += 1;
        let token = self.next_token.to_be_bytes().to_vec();
        let mut options = path(&topic);
        if observe == Some(0) {
            options.insert(0, (6, Vec::new()));
        }
        let kind = if confirmable { CON } else { NON };
        let mid = self.next_mid;
        let bytes = Message { kind, code, mid, token: token.clone(), options, payload }.encode();
        let timeout = 2 * SEC + ctx.rng.below(SEC);
        self.wake = ctx.now + if confirmable { timeout } else { 8 * SEC };
        self.last_tx = ctx.now;
        ctx.acts.push(Act::Datagram(bytes.clone()));
        let since = ctx.model.tick;
        self.request = Some(Request {
            mid,
            token,
            bytes,
            confirmable,
            code,
            message,
            topic,
            since,
            tries: 1,
            timeout,
            acked: false,
        });
    }

    /// A datagram came.
    pub fn on_datagram(&mut self, ctx: &mut Ctx<'_>, bytes: &[u8]) {
        let message = match wire::decode(bytes) {
            Ok(message) => message,
            Err(e) => return ctx.fail(&self.name, format!("malformed datagram: {e}")),
        };
        let (name, now) = (&self.name, ctx.now);
        ctx.trace.line(now, || format!("  {name} gets {message:?}"));
        if message.code == 0 {
            return self.on_empty(ctx, &message);
        }
        if message.code < 0x40 {
            return ctx.fail(&self.name, "a request from the gateway");
        }
        let answers = self.request.as_ref().is_some_and(|r| {
            r.token == message.token && (message.kind != ACK || message.mid == r.mid)
        });
        if answers {
            if message.kind == CON {
                self.reply(ctx, ACK, message.mid);
            }
            return self.on_response(ctx, &message);
        }
        let topic =
            self.observed.iter().find(|(_, o)| o.token == message.token).map(|(t, _)| t.clone());
        match topic {
            Some(topic) if message.kind != ACK => {
                if message.kind == CON {
                    self.reply(ctx, ACK, message.mid);
                }
                self.on_notification(ctx, &topic, &message);
            }
            // RFC 7641 §3.6: what nobody waits for is reset, CON or NON.
            None if message.kind != ACK => self.reply(ctx, RST, message.mid),
            _ => {}
        }
    }

    fn reply(&mut self, ctx: &mut Ctx<'_>, kind: u8, mid: u16) {
        ctx.acts.push(Act::Datagram(Message { kind, mid, ..Message::default() }.encode()));
    }

    fn on_empty(&mut self, ctx: &mut Ctx<'_>, message: &Message) {
        let Some(r) = self.request.as_mut().filter(|r| r.mid == message.mid) else { return };
        if message.kind == ACK {
            // The response comes by itself.
            r.acked = true;
            self.wake = ctx.now + 60 * SEC;
        } else if message.kind == RST {
            ctx.fail(&self.name, "a good request was reset");
        }
    }

    fn on_response(&mut self, ctx: &mut Ctx<'_>, m: &Message) {
        let Some(r) = self.request.take() else { return };
        let found = match (r.code, m.code) {
            (PUT, 0x41 | 0x44) | (POST, 0x44) | (DELETE, 0x42) => {
                if let Some(id) = r.message {
                    ctx.model.acked(id);
                }
                Ok(())
            }
            // 5.03: the store fails.
            (PUT | POST | DELETE, 0xa3) => {
                r.message.map_or(Ok(()), |id| ctx.model.refused(id, ctx.now))
            }
            (GET, 0x45) if self.registering.is_none() => {
                ctx.model.check_read(&r.topic, Some(&m.payload), r.since)
            }
            (GET, 0x84) if self.registering.is_none() => {
                ctx.model.check_read(&r.topic, None, r.since)
            }
            (GET, 0x45) => self.on_registered(ctx, &r, m),
            // Its answer was lost, and the gateway stops: the last notification is the first heard.
            (GET, 0xa3) if self.registering.is_some() && m.kind != ACK => Ok(()),
            (code, answer) => {
                Err(format!("{}.{:02} to method {code} of {}", answer >> 5, answer & 31, r.topic))
            }
        };
        self.registering = None;
        ctx.check(&self.name, found);
        self.pause(ctx);
    }

    fn on_registered(&mut self, ctx: &mut Ctx<'_>, r: &Request, m: &Message) -> Result<(), String> {
        let Some(observe) = m.observe() else { return Err("2.05 without Observe".into()) };
        self.observed.insert(
            r.topic.clone(),
            Observation {
                token: r.token.clone(),
                newest: Some((observe, ctx.now)),
                value: m.payload.clone(),
                seen: ctx.now,
            },
        );
        ctx.model.check_read(&r.topic, Some(&m.payload), r.since)
    }

    fn on_notification(&mut self, ctx: &mut Ctx<'_>, topic: &str, m: &Message) {
        let Some(o) = self.observed.get_mut(topic) else { return };
        if m.code == 0xa3 {
            self.observed.remove(topic); // 5.03: the gateway stops
            return;
        }
        if m.code != 0x45 {
            let text = format!("notification {}.{:02}", m.code >> 5, m.code & 31);
            return ctx.fail(&self.name, text);
        }
        let Some(v2) = m.observe() else {
            return ctx.fail(&self.name, "a notification without Observe");
        };
        // RFC 7641 §3.4
        let fresh = o.newest.is_none_or(|(v1, t1)| {
            v1 < v2 && v2 - v1 < 1 << 23 || v1 > v2 && v1 - v2 > 1 << 23 || ctx.now > t1 + 128 * SEC
        });
        if fresh {
            o.newest = Some((v2, ctx.now));
            o.value = m.payload.clone();
            o.seen = ctx.now;
            // It may be old news, but never an invention.
            let result = ctx.model.check_read(topic, Some(&m.payload), 0);
            ctx.check(&self.name, result);
        }
    }
}
