//! The scripted CoAP client on a connection (RFC 8323): its connection is cut anywhere, stalls, is released
//! and opened anew; requests are pipelined; bodies go and come whole, in blocks and in several blocks at once
//! (BERT), by what the CSMs say.
//!
//! There are three kinds: a requester (`values`), an observer, which must have the latest value without
//! asking again while its connection stands (`observer`), and one that configures topics of the
//! collection (`topics`). Of what was on its way when a connection ended nobody knows whether it was
//! done: it is given up, or sent again once the gateway can have nothing left of that connection.

pub mod frames;
mod observer;
mod topics;
mod values;

use std::collections::BTreeMap;

use super::coap_wire::{Message, OBSERVE, URI_PATH};
use super::ctx::{Act, Ctx, MS, Micros, SEC};
use super::model::{Model, MsgId};
use super::rng::Rng;
use frames::{ABORT, BASE, BLOCK_WISE, CSM, FIRST, PING, PONG, RELEASE};
use observer::Observation;
use topics::{Op, Topics};
use values::{Download, Write};

/// On a stream everything is answered; no stall is so long.
const PATIENCE: Micros = 150 * SEC;
/// As long as the gateway may have something to read of a connection that its client has given up.
const EMBARGO: Micros = 15 * SEC;
/// Whom nothing is heard of for this long may be given up: it is asked at least 20 s before.
const SILENCE: Micros = 30 * SEC;
/// Requests that wait for their answers, at most.
const PIPELINED: usize = 12;

/// A request: code, options, payload.
type Asked = (u8, Vec<(u16, Vec<u8>)>, Vec<u8>);

/// What a client is there for.
#[derive(Debug)]
enum Role {
    /// Writes and reads values.
    Requester,
    /// Observes values.
    Observer,
    /// Configures topics.
    Topics(Topics),
}

#[derive(Debug)]
enum What {
    Write(Write),
    Read(Download),
    /// Of a notification that came in part.
    Rest(Download),
    Register(String),
    /// By the token of the observation.
    Cancel(String),
    Topic(Op),
}

#[derive(Debug)]
struct Request {
    token: Vec<u8>,
    at: Micros,
    /// The model's time.
    since: u64,
    what: What,
}

/// A Ping, and the requests before it that were not answered.
#[derive(Debug)]
struct Ping {
    token: Vec<u8>,
    at: Micros,
    before: Vec<Vec<u8>>,
}

/// A scripted client.
#[derive(Debug)]
pub struct Client {
    index: usize,
    name: String,
    role: Role,
    /// When it acts next.
    pub wake: Micros,
    open: bool,
    buffer: Vec<u8>,
    out: Vec<u8>,
    /// Our Max-Message-Size and Block-Wise-Transfer; without the first, the base value.
    max: Option<usize>,
    block_wise: bool,
    /// The gateway's, once its CSM came.
    theirs: Option<usize>,
    /// When it wrote last.
    said: Micros,
    /// When it last wrote after a long silence.
    was_silent: Option<Micros>,
    bert: bool,
    /// Either side has said Release.
    released: Option<Micros>,
    requests: Vec<Request>,
    pings: Vec<Ping>,
    next_token: u32,
    /// What was on its way when a connection ended, and is to be done all the same.
    retry: Vec<Write>,
    /// The newest that was acknowledged, by topic.
    newest: BTreeMap<String, MsgId>,
    /// Topics that are not written to until then.
    uncertain: BTreeMap<String, Micros>,
    observed: BTreeMap<String, Observation>,
    targets: Vec<usize>,
    said_last: u8,
}

fn path(segments: impl IntoIterator<Item = String>) -> Vec<(u16, Vec<u8>)> {
    segments.into_iter().map(|s| (URI_PATH, s.into_bytes())).collect()
}

fn value_path(topic: &str) -> Vec<(u16, Vec<u8>)> {
    path(std::iter::once("mqtt").chain(topic.split('/')).map(str::to_owned))
}

/// An option in its place.
fn with(mut options: Vec<(u16, Vec<u8>)>, number: u16, value: Vec<u8>) -> Vec<(u16, Vec<u8>)> {
    let at = options.partition_point(|(before, _)| *before <= number);
    options.insert(at, (number, value));
    options
}

fn dotted(code: u8) -> String {
    format!("{}.{:02}", code >> 5, code & 31)
}

impl Client {
    fn of(index: usize, role: Role, rng: &mut Rng) -> Client {
        let name = match role {
            Role::Requester => format!("stream-c{index}"),
            Role::Observer => format!("stream-o{index}"),
            Role::Topics(_) => format!("stream-t{index}"),
        };
        Client {
            index,
            name,
            role,
            wake: rng.range(MS, SEC),
            open: false,
            buffer: Vec::new(),
            out: Vec::new(),
            max: *rng.pick(&[None, Some(1_300), Some(2_400), Some(5_000), Some(1 << 20)]),
            block_wise: rng.chance(700),
            theirs: None,
            said: 0,
            was_silent: None,
            bert: false,
            released: None,
            requests: Vec::new(),
            pings: Vec::new(),
            next_token: 0,
            retry: Vec::new(),
            newest: BTreeMap::new(),
            uncertain: BTreeMap::new(),
            observed: BTreeMap::new(),
            targets: Vec::new(),
            said_last: 0,
        }
    }

    /// One that writes and reads values, those of the clients in `targets`.
    #[must_use]
    pub fn requester(index: usize, targets: Vec<usize>, rng: &mut Rng) -> Client {
        Client { targets, ..Client::of(index, Role::Requester, rng) }
    }

    /// One that observes the values of the clients in `targets`.
    #[must_use]
    pub fn observer(index: usize, targets: Vec<usize>, rng: &mut Rng) -> Client {
        Client { targets, ..Client::of(index, Role::Observer, rng) }
    }

    /// One that configures topics.
    #[must_use]
    pub fn topics(index: usize, rng: &mut Rng) -> Client {
        Client::of(index, Role::Topics(Topics::new(index)), rng)
    }

    /// Whether nothing of its own is unfinished.
    #[must_use]
    pub fn idle(&self) -> bool {
        let done = match &self.role {
            Role::Requester => self.said_last >= 2,
            Role::Observer => true,
            Role::Topics(topics) => topics.is_read(),
        };
        done && self.settled()
    }

    /// Whether it is connected and nothing is on its way.
    #[must_use]
    pub fn settled(&self) -> bool {
        let is_observer = matches!(self.role, Role::Observer);
        let observes = !is_observer || self.observed.len() == self.targets.len();
        self.open && self.requests.is_empty() && self.retry.is_empty() && observes
    }

    /// For the report of a run that does not come to rest.
    #[must_use]
    pub fn describe(&self) -> String {
        let Client { name, open, requests, retry, observed, uncertain, .. } = self;
        format!(
            "{name} open {open} {requests:?} again {retry:?} {uncertain:?} observed {observed:?}"
        )
    }

    /// Its time has come.
    pub fn on_wake(&mut self, ctx: &mut Ctx<'_>) {
        self.pause(ctx);
        if !self.open {
            return self.connect(ctx);
        }
        if let Some(late) = self.requests.iter().find(|r| r.at + PATIENCE < ctx.now) {
            let text = format!("no answer came to {late:?}");
            return ctx.fail(&self.name, text);
        }
        if self.pings.iter().any(|ping| ping.at + PATIENCE < ctx.now) {
            return ctx.fail(&self.name, "no Pong came");
        }
        if let Some(at) = self.released {
            if at + PATIENCE < ctx.now {
                ctx.fail(&self.name, "a released connection is not closed");
            }
            return;
        }
        if !ctx.healing && ctx.rng.chance(15) {
            ctx.acts.push(Act::Break);
            return self.lost(ctx);
        }
        match self.role {
            Role::Requester => self.ask_of_values(ctx),
            Role::Observer => self.watch(ctx),
            Role::Topics(_) => self.configure(ctx),
        }
        if !ctx.healing && ctx.rng.chance(30) {
            self.ping(ctx);
        }
        if !ctx.healing && self.requests.is_empty() && ctx.rng.chance(8) {
            self.signal(RELEASE, Vec::new(), Vec::new());
            self.released = Some(ctx.now);
        }
        self.flush(ctx);
    }

    fn pause(&mut self, ctx: &mut Ctx<'_>) {
        let pause = if ctx.healing { 200 * MS } else { ctx.rng.range(50 * MS, 2 * SEC) };
        self.wake = ctx.now + pause;
    }

    fn connect(&mut self, ctx: &mut Ctx<'_>) {
        ctx.acts.push(Act::Open);
        (self.open, self.said, self.was_silent) = (true, ctx.now, None);
        let mut options = Vec::new();
        options.extend(self.max.map(|max| (FIRST, frames::uint(u32::try_from(max).unwrap_or(0)))));
        options.extend(self.block_wise.then(|| (BLOCK_WISE, Vec::new())));
        self.signal(CSM, Vec::new(), options);
        self.flush(ctx);
        // Some do not wait for the other's CSM (RFC 8323 §3.3).
        self.wake = ctx.now + ctx.rng.range(MS, 300 * MS);
    }

    fn signal(&mut self, code: u8, token: Vec<u8>, options: Vec<(u16, Vec<u8>)>) {
        let message = Message { code, token, options, ..Message::default() };
        self.out.extend_from_slice(&frames::encode(&message));
    }

    /// RFC 8323 §5.4.1: with Custody the Pong comes behind the answers to what came before.
    fn ping(&mut self, ctx: &mut Ctx<'_>) {
        let token = self.token();
        let custody = if ctx.rng.chance(700) { vec![(FIRST, Vec::new())] } else { Vec::new() };
        self.signal(PING, token.clone(), custody);
        let before = self.requests.iter().map(|r| r.token.clone()).collect();
        self.pings.push(Ping { token, at: ctx.now, before });
    }

    /// Tokens of each length but none at all, which could not be told apart.
    fn token(&mut self) -> Vec<u8> {
        self.next_token += 1;
        let bytes = u64::from(self.next_token).to_be_bytes();
        let zeros = usize::try_from(self.next_token.leading_zeros() / 8).unwrap_or(0);
        let extra = usize::try_from(self.next_token % 4).unwrap_or(0);
        bytes[4 + zeros - extra..].to_vec()
    }

    /// Writes what was asked, all at once: requests are pipelined.
    fn flush(&mut self, ctx: &mut Ctx<'_>) {
        if !self.out.is_empty() {
            if ctx.now >= self.said + SILENCE {
                // What it hears next may have been said meanwhile.
                self.was_silent = Some(ctx.now);
            }
            self.said = ctx.now;
            ctx.acts.push(Act::Tcp(std::mem::take(&mut self.out)));
        }
    }

    fn ask(&mut self, ctx: &Ctx<'_>, (code, options, payload): Asked, what: What) -> Vec<u8> {
        let token = self.token();
        self.ask_by(ctx, token.clone(), (code, options, payload), what);
        token
    }

    fn ask_by(
        &mut self,
        ctx: &Ctx<'_>,
        token: Vec<u8>,
        (code, options, payload): Asked,
        what: What,
    ) {
        let message =
            Message { code, token: token.clone(), options, payload, ..Message::default() };
        let bytes = frames::encode(&message);
        assert!(bytes.len() <= self.room(), "the script keeps to the gateway's CSM");
        self.out.extend_from_slice(&bytes);
        self.requests.push(Request { token, at: ctx.now, since: ctx.model.tick, what });
    }

    /// Bytes that a message to the gateway may have.
    fn room(&self) -> usize {
        self.theirs.unwrap_or(BASE)
    }

    /// Bytes came.
    pub fn on_bytes(&mut self, ctx: &mut Ctx<'_>, chunk: &[u8]) {
        self.buffer.extend_from_slice(chunk);
        loop {
            match frames::take(&mut self.buffer) {
                Ok(Some((message, length))) => self.on_message(ctx, &message, length),
                Ok(None) => break,
                Err(e) => return ctx.fail(&self.name, format!("malformed: {e}")),
            }
        }
        if self.open {
            self.flush(ctx);
        }
    }

    fn on_message(&mut self, ctx: &mut Ctx<'_>, m: &Message, length: usize) {
        let (name, now) = (&self.name, ctx.now);
        ctx.trace.line(now, || format!("  {name} gets {m:?}"));
        // RFC 8323 §5.3.1
        if length > self.max.unwrap_or(BASE) {
            return ctx.fail(&self.name, format!("a message of {length} bytes: {m:?}"));
        }
        if self.theirs.is_none() && m.code != CSM {
            return ctx.fail(&self.name, "the first message is no CSM");
        }
        match m.code {
            CSM => {
                let number = |value: &[u8]| value.iter().fold(0, |n, b| n << 8 | usize::from(*b));
                let theirs = m.option(FIRST).map_or(BASE, number);
                self.theirs = Some(theirs);
                self.bert = m.option(BLOCK_WISE).is_some() && theirs > BASE;
            }
            PING => self.signal(PONG, m.token.clone(), Vec::new()),
            PONG => self.on_pong(ctx, m),
            RELEASE => self.released = self.released.or(Some(ctx.now)),
            ABORT => self.on_abort(ctx, m),
            0x40..=0xbf => self.on_response(ctx, m),
            code => ctx.fail(&self.name, format!("{} from the gateway", dotted(code))),
        }
    }

    /// Nothing that it does is a reason but silence: its own stalls.
    fn on_abort(&mut self, ctx: &mut Ctx<'_>, m: &Message) {
        let text = String::from_utf8_lossy(&m.payload).into_owned();
        let was_silent = self.was_silent.is_some_and(|at| ctx.now < at + PATIENCE);
        let silent = was_silent || ctx.now >= self.said + SILENCE;
        if !(silent && text.starts_with("nothing was heard")) {
            ctx.fail(&self.name, format!("Abort: {text}"));
        }
    }

    fn on_pong(&mut self, ctx: &mut Ctx<'_>, m: &Message) {
        let Some(at) = self.pings.iter().position(|ping| ping.token == m.token) else {
            return ctx.fail(&self.name, "a Pong that nobody asked for");
        };
        let ping = self.pings.remove(at);
        if m.option(FIRST).is_some() && !ping.before.is_empty() {
            ctx.fail(&self.name, "Custody before the answers to what came before the Ping");
        }
    }

    fn on_response(&mut self, ctx: &mut Ctx<'_>, m: &Message) {
        // An observation is ended by its own token; until then it is notified.
        let notified =
            |r: &&mut Request| matches!(r.what, What::Cancel(_)) && m.observe().is_some();
        let asked = self.requests.iter_mut().find(|r| r.token == m.token);
        let cancels = asked.as_ref().is_some_and(notified);
        if asked.is_none() || cancels {
            return self.on_notification(ctx, m);
        }
        let at = self.requests.iter().position(|r| r.token == m.token);
        let Some(request) = at.map(|at| self.requests.remove(at)) else { return };
        let Request { token, since, what, .. } = request;
        for ping in &mut self.pings {
            // An observation is ended by the token that began it.
            ping.before.retain(|waited| *waited != token);
        }
        let found = match what {
            What::Write(write) => self.on_written(ctx, write, m),
            What::Read(download) => self.on_read(ctx, download, m),
            What::Rest(download) => self.on_rest(ctx, download, m),
            What::Register(topic) => self.on_registered(ctx, topic, since, m),
            What::Cancel(topic) => {
                self.observed.remove(&topic);
                Ok(())
            }
            What::Topic(op) => self.on_configured(ctx, op, since, m),
        };
        ctx.check(&self.name, found);
    }

    /// Its connection has ended.
    pub fn on_closed(&mut self, ctx: &mut Ctx<'_>) {
        self.lost(ctx);
    }

    fn lost(&mut self, ctx: &mut Ctx<'_>) {
        (self.open, self.theirs, self.bert, self.released) = (false, None, false, None);
        self.buffer.clear();
        self.out.clear();
        self.pings.clear();
        self.observed.clear();
        let until = ctx.now + EMBARGO;
        for request in std::mem::take(&mut self.requests) {
            match request.what {
                What::Write(write) => {
                    self.uncertain.insert(write.topic.clone(), until);
                    let overtaken = self.newest.get(&write.topic) > Some(&write.id);
                    if !overtaken && ctx.rng.chance(600) {
                        self.retry.push(write);
                    }
                }
                What::Topic(op) => {
                    self.uncertain.insert(op.name.clone(), until);
                }
                _ => {}
            }
        }
        // In the order of their beginnings.
        self.retry.sort_by_key(|write| write.id);
        let pause = if ctx.healing { 500 * MS } else { ctx.rng.range(MS, 4 * SEC) };
        self.wake = ctx.now + pause;
    }

    /// Whether nobody knows what of this topic is still to come.
    fn is_uncertain(&self, ctx: &Ctx<'_>, topic: &str) -> bool {
        self.uncertain.get(topic).is_some_and(|until| ctx.now < *until)
    }

    /// Whether every observed value is the last one.
    ///
    /// # Errors
    /// The first that is not.
    pub fn check_observed(&self, model: &Model) -> Result<(), String> {
        self.observed.iter().try_for_each(|(topic, o)| {
            o.check(topic, model).map_err(|e| format!("{} observes: {e}", self.name))
        })
    }
}

/// The option of a registration, or of its end.
fn observe(end: bool) -> (u16, Vec<u8>) {
    (OBSERVE, if end { vec![1] } else { Vec::new() })
}
