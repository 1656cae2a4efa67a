//! The scripted CoAP client: a requester (PUT, POST, GET, DELETE; CON with retransmission, NON; bodies
//! in one message or in blocks, RFC 7959 §2.5) or an observer (RFC 7641) that resets notifications it
//! does not know. It proves its address where it is asked to (RFC 9175 §2.3).

use std::collections::BTreeMap;

use super::coap_wire::{
    self as wire, ACK, BLOCK1, CON, DELETE, ECHO, GET, Message, NON, OBSERVE, POST, PUT, RST,
};
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
    /// Its body goes in blocks.
    upload: Option<Upload>,
}

/// A body of which a block is under way.
#[derive(Debug, Clone)]
struct Upload {
    body: Vec<u8>,
    /// Where that block begins.
    at: usize,
    /// 16 or 32 bytes.
    exponent: u8,
    /// When it began, and how often the gateway had died by then.
    since: Micros,
    crashes: u32,
}

impl Upload {
    /// What `ctx` chooses for this body, which is longer than a block.
    fn new(ctx: &mut Ctx<'_>, body: Vec<u8>) -> Upload {
        let exponent = u8::from(body.len() > 32 && ctx.rng.chance(500));
        Upload { body, at: 0, exponent, since: ctx.now, crashes: ctx.model.crashes() }
    }

    fn block(&self) -> &[u8] {
        let end = self.body.len().min(self.at + self.size());
        &self.body[self.at..end]
    }

    fn size(&self) -> usize {
        16 << self.exponent
    }

    fn more(&self) -> bool {
        self.at + self.size() < self.body.len()
    }

    /// The value of the Block1 option: number, more, exponent.
    fn option(&self) -> Vec<u8> {
        let number = self.at / self.size();
        vec![
            u8::try_from(number).expect("few blocks") << 4
                | u8::from(self.more()) << 3
                | self.exponent,
        ]
    }
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
    /// Whether the link loses datagrams to the end: then an observer registers again after silence
    /// there, too, because notifications that no repetition brought are not repeated for ever.
    pub lossy: bool,
}

/// What is asked next.
struct Asked {
    code: u8,
    confirmable: bool,
    topic: String,
    message: Option<MsgId>,
    payload: Vec<u8>,
    upload: Option<Upload>,
    echo: Option<Vec<u8>>,
}

impl Asked {
    fn new(code: u8, confirmable: bool, topic: String) -> Asked {
        let (message, payload, upload, echo) = (None, Vec::new(), None, None);
        Asked { code, confirmable, topic, message, payload, upload, echo }
    }
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
            lossy: false,
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
                let asked = Asked::new(GET, confirmable, retained_topic(target));
                self.ask(ctx, asked);
            }
        }
    }

    fn watch(&mut self, ctx: &mut Ctx<'_>) {
        let due = |o: &Observation| o.seen + 60 * SEC < ctx.now && (self.lossy || !ctx.healing);
        let targets = self.targets.iter().map(|t| retained_topic(*t));
        let next = targets.into_iter().find(|t| self.observed.get(t).is_none_or(due));
        if let Some(topic) = next {
            self.registering = Some(topic.clone());
            self.ask(ctx, Asked::new(GET, true, topic));
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
        let in_blocks = payload.len() > 16 && ctx.rng.chance(400);
        let mut asked = Asked { message: Some(id), ..Asked::new(code, confirmable, topic) };
        match in_blocks {
            true => asked.upload = Some(Upload::new(ctx, payload)),
            false => asked.payload = payload,
        }
        self.ask(ctx, asked);
    }

    fn ask(&mut self, ctx: &mut Ctx<'_>, asked: Asked) {
        let Asked { code, confirmable, topic, message, payload, upload, echo } = asked;
        self.next_mid = self.next_mid.wrapping_add(1);
        self.next_token += 1;
        let token = self.next_token.to_be_bytes().to_vec();
        let mut options = path(&topic);
        if self.registering.is_some() {
            options.insert(0, (OBSERVE, Vec::new()));
        }
        let payload = match &upload {
            Some(upload) => {
                options.push((BLOCK1, upload.option()));
                upload.block().to_vec()
            }
            None => payload,
        };
        options.extend(echo.map(|value| (ECHO, value)));
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
            upload,
        });
    }

    /// The same again: another block of it, or with what the gateway asked for.
    fn ask_on(&mut self, ctx: &mut Ctx<'_>, r: Request, echo: Option<Vec<u8>>) {
        let Request { code, confirmable, topic, message, upload, .. } = r;
        let payload = Vec::new();
        self.ask(ctx, Asked { code, confirmable, topic, message, payload, upload, echo });
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
        let Some(mut r) = self.request.take() else { return };
        if let Some(upload) = &mut r.upload
            && upload.more()
        {
            return match m.code {
                // RFC 7959 §2.5: the next one, after what the answer names.
                0x5f if m.option(BLOCK1) == Some(&upload.option()[..]) => {
                    upload.at += upload.size();
                    self.ask_on(ctx, r, None);
                }
                0x88 => self.begin_again(ctx, r),
                code => {
                    let answer = format!("{}.{:02}", code >> 5, code & 31);
                    ctx.fail(&self.name, format!("{answer} to a block that is not the last block"));
                }
            };
        }
        match (m.code, m.option(ECHO)) {
            // RFC 9175 §2.3
            (0x81, Some(echo)) if r.code == GET => return self.ask_on(ctx, r, Some(echo.to_vec())),
            (0x88, _) if r.upload.is_some() => return self.begin_again(ctx, r),
            _ => {}
        }
        let found = match (r.code, m.code) {
            (PUT, 0x41 | 0x44) | (POST, 0x44) | (DELETE, 0x42) => {
                if let Some(id) = r.message {
                    ctx.model.acked(id);
                }
                ctx.model.in_blocks += u64::from(r.upload.is_some());
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

    /// 4.08: the blocks before are not there any more, so the body begins anew. They may be lost with
    /// the process, or forgotten after `block_timeout`, 30 s.
    fn begin_again(&mut self, ctx: &mut Ctx<'_>, mut r: Request) {
        let Some(upload) = &mut r.upload else { return };
        let crashed = upload.crashes < ctx.model.crashes();
        if !crashed && ctx.now < upload.since + 30 * SEC {
            return ctx.fail(&self.name, "blocks are gone without a reason");
        }
        upload.at = 0;
        self.ask_on(ctx, r, None);
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
