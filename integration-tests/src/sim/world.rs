//! [`World`]: one simulated run: a gateway, its clients, the network between them, one event at a
//! time in virtual time.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use motegate_core::{Input, Output};
use motegate_message::{ConnectionId, ListenerId, Reason};

use super::ctx::{Act, Ctx, MAX_DELAY, MS, Micros, SEC};
use super::gateway::{self, Gateway};
use super::link::{Happening, Link, Stream};
use super::model::Model;
use super::rng::Rng;
use super::sleep::Sleepers;
use super::trace::{Detail, Trace};
use super::{Fault, Report, coap, mqtt, sn};

#[derive(Debug)]
enum Client {
    Mqtt(mqtt::Client),
    Sn(sn::Client),
    Coap(coap::Client),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
enum Phase {
    Active,
    Healing,
    LastRound,
    Probing,
    Resting(Micros),
}

#[derive(Debug, Clone, Copy)]
enum Event {
    Restart,
    Commit,
    Flight,
    Stream(usize, Happening),
    Client(usize),
    Timeout,
}

/// One run.
#[derive(Debug)]
pub struct World {
    now: Micros,
    steps: u64,
    rng: Rng,
    trace: Trace,
    model: Model,
    gateway: Gateway,
    link: Link,
    streams: Vec<Stream>,
    generations: Vec<u32>,
    clients: Vec<Client>,
    sleepers: Sleepers,
    fault: Option<Fault>,
    phase: Phase,
    active_steps: u64,
    crash_steps: Vec<u64>,
    down_until: Option<Micros>,
    heal_deadline: Micros,
    idle_timeouts: u32,
    write_now: Vec<ConnectionId>,
    commit_now: Vec<motegate_message::Seq>,
    failure: Option<String>,
    max_outbox: usize,
}

fn address(client: usize) -> SocketAddr {
    let n = u8::try_from(client).expect("few clients");
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, n + 1)), 40_000 + u16::from(n))
}

fn client_of(addr: SocketAddr) -> Option<usize> {
    usize::from(addr.port()).checked_sub(40_000)
}

impl World {
    /// The run that `seed` describes.
    #[must_use]
    pub fn new(seed: u64, fault: Option<Fault>, detail: Detail) -> Self {
        let mut rng = Rng::new(seed);
        let tight = fault.is_none() && seed % 10 == 9;
        let config = gateway::config(&mut rng, fault, tight);
        let mut model = Model::default();
        model.lossy_queues = tight;
        let inflight = u32::from(config.mqtt.max_inflight);
        let clients = cast(&mut rng, &mut model, tight.then_some(6 + inflight + 20));
        let active_steps = rng.range(600, 1400);
        let crashes = rng.range(1, 3);
        let mut crash_steps: Vec<u64> =
            (0..crashes).map(|_| rng.range(120, active_steps)).collect();
        crash_steps.sort_unstable();
        World {
            now: 0,
            steps: 0,
            link: Link::new(&mut rng),
            sleepers: Sleepers::new(clients.len(), if tight { 5 + 12 } else { 1_000 }),
            max_outbox: config.mqtt.max_outbox_bytes as usize,
            gateway: Gateway::new(config, seed),
            trace: Trace::new(detail),
            streams: Vec::new(),
            generations: Vec::new(),
            clients,
            fault,
            phase: Phase::Active,
            active_steps,
            crash_steps,
            down_until: None,
            heal_deadline: Micros::MAX,
            idle_timeouts: 0,
            write_now: Vec::new(),
            commit_now: Vec::new(),
            failure: None,
            model,
            rng,
        }
    }

    /// Runs to the end.
    #[must_use]
    pub fn run(mut self) -> Report {
        while self.failure.is_none() && !self.is_done() {
            self.step();
        }
        Report {
            failure: self.failure,
            steps: self.steps,
            messages: self.model.delivered,
            published: self.model.published() as u64,
            restarts: u64::from(self.gateway.crashes),
            batches: self.gateway.store.batches,
            virtual_secs: self.now / SEC,
            hash: self.trace.hash(),
            lines: self.trace.into_lines(),
        }
    }

    fn fail(&mut self, text: impl Into<String>) {
        if self.failure.is_none() {
            self.failure = Some(text.into());
        }
    }

    fn is_done(&mut self) -> bool {
        let Phase::Resting(until) = self.phase else { return false };
        if self.now < until {
            return false;
        }
        let live = self.gateway.store.len();
        let bound = 30 * self.clients.len() + 40;
        if live > bound && !self.model.lossy_queues {
            let census = self.gateway.store.census();
            self.fail(format!("{live} keys in the journal after everything is done: {census:?}"));
        }
        true
    }

    fn next(&self) -> (Micros, Event) {
        let mut best = (Micros::MAX, Event::Timeout);
        let mut offer = |at: Micros, event: Event| {
            if at < best.0 {
                best = (at, event);
            }
        };
        if let Some(at) = self.down_until {
            offer(at, Event::Restart);
        } else {
            offer(self.gateway.next_at(), Event::Timeout);
            offer(self.gateway.store.due.unwrap_or(Micros::MAX), Event::Commit);
        }
        offer(self.link.next_at(), Event::Flight);
        for (i, stream) in self.streams.iter().enumerate() {
            if let Some((at, what)) = stream.next() {
                offer(at, Event::Stream(i, what));
            }
        }
        for (i, client) in self.clients.iter().enumerate() {
            let at = match client {
                Client::Mqtt(c) => c.wake,
                Client::Sn(c) => c.wake,
                Client::Coap(c) => c.wake,
            };
            offer(at, Event::Client(i));
        }
        best
    }

    fn step(&mut self) {
        let (at, event) = self.next();
        if !matches!(event, Event::Timeout) || at > self.now {
            self.idle_timeouts = 0;
        }
        self.now = self.now.max(at);
        self.steps += 1;
        self.model.tick = self.steps;
        match event {
            Event::Restart => self.restart(),
            Event::Commit => self.commit(),
            Event::Flight => self.flight(),
            Event::Stream(i, what) => self.stream(i, what),
            Event::Client(i) => {
                self.with_client(i, |client, ctx| match client {
                    Client::Mqtt(c) => c.on_wake(ctx),
                    Client::Sn(c) => c.on_wake(ctx),
                    Client::Coap(c) => c.on_wake(ctx),
                });
            }
            Event::Timeout => {
                self.idle_timeouts += 1;
                if self.idle_timeouts > 500 {
                    self.fail("poll_timeout asks for the same moment for ever");
                }
                self.trace.event(self.now, "timeout", 0, &[]);
                self.gateway.handle(self.now, Input::Timeout);
                self.pump(None);
            }
        }
        self.streams.retain(|s| !s.is_over());
        self.advance();
    }

    // ---- phases -------------------------------------------------------------------------------

    fn advance(&mut self) {
        match self.phase {
            Phase::Active => {
                if self.down_until.is_none()
                    && self.crash_steps.first().is_some_and(|at| *at <= self.steps)
                {
                    self.crash_steps.remove(0);
                    self.crash();
                } else if self.steps >= self.active_steps
                    && self.crash_steps.is_empty()
                    && self.down_until.is_none()
                {
                    self.heal();
                }
            }
            Phase::Healing if self.all(|c, model| c.settled(model)) => {
                self.trace.line(self.now, || "---- last round".into());
                self.phase = Phase::LastRound;
            }
            Phase::LastRound if self.all(|c, _| c.idle()) && self.satisfied().is_ok() => {
                self.trace.line(self.now, || "---- probing".into());
                self.phase = Phase::Probing;
            }
            Phase::Probing if self.satisfied().is_ok() && self.probe().is_ok() => {
                self.trace.line(self.now, || "---- resting".into());
                self.phase = Phase::Resting(self.now + 25 * SEC);
            }
            _ => {}
        }
        if self.now > self.heal_deadline {
            let phase = self.phase;
            let why = self.satisfied().and_then(|()| self.probe()).err().unwrap_or_default();
            let unfinished = |c: &&Client| {
                if phase == Phase::Healing { !c.settled(&self.model) } else { !c.idle() }
            };
            let who: Vec<String> =
                self.clients.iter().filter(unfinished).map(Client::describe).collect();
            self.fail(format!("does not come to rest in {phase:?}: {why} {who:#?}"));
        }
    }

    fn all(&self, what: impl Fn(&Client, &Model) -> bool) -> bool {
        self.clients.iter().all(|c| what(c, &self.model))
    }

    fn heal(&mut self) {
        self.trace.line(self.now, || "---- healing".into());
        self.phase = Phase::Healing;
        self.heal_deadline = self.now + 500 * SEC;
        self.link.heal();
        self.gateway.store.fast = true;
        self.model.healing = true;
        for client in &mut self.clients {
            match client {
                Client::Mqtt(_) => {}
                Client::Sn(c) => c.heal(self.now),
                Client::Coap(c) => c.heal(self.now),
            }
        }
    }

    /// Everything that is owed has come.
    fn satisfied(&self) -> Result<(), String> {
        for client in 0..self.clients.len() {
            let owed = self.model.owed(client);
            if !owed.is_empty() {
                let messages: Vec<_> =
                    owed.iter().map(|id| (*id, self.model.publish(*id))).collect();
                return Err(format!("client {client} was never given {messages:?}"));
            }
        }
        self.clients.iter().try_for_each(|client| match client {
            Client::Coap(c) => c.check_observed(&self.model),
            _ => Ok(()),
        })
    }

    /// What the probe read is what was written last.
    fn probe(&self) -> Result<(), String> {
        let Some(probe) = self.clients.iter().find_map(|c| match c {
            Client::Mqtt(c) if c.probed => Some(c),
            _ => None,
        }) else {
            return Err("the probe has not read yet".into());
        };
        self.model.retained_topics().iter().try_for_each(|topic| {
            let value = probe.retained.get(topic).map(Vec::as_slice);
            self.model.check_read(topic, value, self.model.tick)
        })
    }

    // ---- the gateway --------------------------------------------------------------------------

    fn crash(&mut self) {
        self.trace.line(self.now, || "---- crash".into());
        self.gateway.crash(&mut self.rng);
        self.model.crash();
        self.sleepers.crash();
        for stream in &mut self.streams {
            stream.gateway_open = false;
            stream.downward_ended = true;
            stream.downward_at = stream.downward_at.max(self.now + self.rng.below(200 * MS));
        }
        let downtime = MAX_DELAY + MS + self.rng.below(5 * SEC);
        self.down_until = Some(self.now + downtime);
    }

    fn restart(&mut self) {
        self.trace.line(self.now, || "---- restart".into());
        self.down_until = None;
        let result = self.gateway.restart(&mut self.rng, self.now);
        if let Err(text) = result {
            self.fail(text);
        }
        self.pump(None);
    }

    fn commit(&mut self) {
        let done = self.gateway.store.commit(&mut self.rng, self.now);
        self.trace.event(self.now, "commit", 0, &done.unwrap_or_default().0.to_be_bytes());
        if self.fault == Some(Fault::AckBeforeCommit) {
            return; // was reported when the batch was handed over
        }
        if let Some(seq) = done {
            self.gateway.handle(self.now, Input::Committed(seq));
            self.pump(None);
        }
    }

    /// Does what the core wants done, until it wants nothing more.
    fn pump(&mut self, answering: Option<usize>) {
        loop {
            let Some(output) = self.gateway.core().and_then(|core| core.poll_output()) else {
                self.datagrams(answering);
                if let Some(conn) = self.write_now.pop() {
                    self.write(conn, false);
                } else if let Some(seq) = self.commit_now.pop() {
                    self.gateway.handle(self.now, Input::Committed(seq));
                } else {
                    return;
                }
                continue;
            };
            self.output(output);
        }
    }

    fn output(&mut self, output: Output) {
        match output {
            Output::Write(conn) => {
                if self.stream_of(conn, "Write").is_some() {
                    self.write_now.push(conn);
                }
            }
            Output::Close(conn, reason) => {
                if self.stream_of(conn, "Close").is_none() {
                    return;
                }
                self.trace.event(self.now, "gateway closes", 0, reason.as_str().as_bytes());
                self.write(conn, true);
                if let Some(i) = self.stream_of(conn, "Close") {
                    let stream = &mut self.streams[i];
                    stream.gateway_open = false;
                    stream.downward_ended = true;
                }
                if self.rng.chance(500) {
                    let reason = Reason::ConnectionLost;
                    self.gateway.handle(self.now, Input::Closed { conn, reason });
                }
            }
            Output::PauseReads(conn) => {
                if let Some(i) = self.stream_of(conn, "PauseReads") {
                    self.streams[i].paused = true;
                }
            }
            Output::ResumeReads(conn) => {
                if let Some(i) = self.stream_of(conn, "ResumeReads") {
                    self.streams[i].paused = false;
                    self.streams[i].upward_at = self.now;
                }
            }
            Output::Records { seq, batch } => {
                for record in &batch {
                    self.trace.event(self.now, "record", batch.len(), &record.key);
                }
                let pushed = self.gateway.store.push(&mut self.rng, self.now, seq, batch);
                if let Err(text) = pushed {
                    self.fail(text);
                }
                if self.fault == Some(Fault::AckBeforeCommit) {
                    self.commit_now.push(seq);
                    self.gateway.store.due = self.gateway.store.due.map(|at| at + 500 * MS);
                }
            }
            Output::Notice(notice) => self.trace.line(self.now, || format!("  {notice:?}")),
        }
    }

    /// The stream that an output concerns; the gateway must not speak of one that is over.
    fn stream_of(&mut self, conn: ConnectionId, what: &str) -> Option<usize> {
        let found = self.streams.iter().position(|s| s.conn == conn && s.gateway_open);
        if found.is_none() {
            self.fail(format!("{what} for {conn:?}, which is closed"));
        }
        found
    }

    fn write(&mut self, conn: ConnectionId, all: bool) {
        let Some(i) = self.streams.iter().position(|s| s.conn == conn && s.gateway_open) else {
            return;
        };
        let stream = &mut self.streams[i];
        let Some(core) = self.gateway.core() else { return };
        let outbox = core.outbox(conn);
        if outbox.len() > self.max_outbox + 64 * 1024 {
            let text = format!("{} bytes in an outbox", outbox.len());
            return self.fail(text);
        }
        let n = if all || self.rng.chance(800) {
            outbox.len()
        } else {
            self.rng.index(outbox.len() + 1)
        };
        if n > 0 {
            self.trace.event(self.now, "to mqtt", stream.client, &outbox[..n]);
            if stream.client_open {
                if stream.downward.is_empty() {
                    stream.downward_at = self.now + self.rng.range(MS, 30 * MS);
                }
                stream.downward.extend_from_slice(&outbox[..n]);
            }
            self.gateway.handle(self.now, Input::Written { conn, n });
        }
        let left = self.gateway.core().is_some_and(|core| !core.outbox(conn).is_empty());
        let stream = &mut self.streams[i];
        stream.unwritten = left;
        stream.write_at = self.now + self.rng.range(MS, 300 * MS);
    }

    fn datagrams(&mut self, answering: Option<usize>) {
        let mut out: Vec<(ListenerId, SocketAddr, Vec<u8>)> = Vec::new();
        if let Some(core) = self.gateway.core() {
            for queue in core.datagrams() {
                out.extend(queue.iter().map(|(l, a, b)| (l, a, b.to_vec())));
                queue.clear();
            }
        }
        for (listener, addr, bytes) in out {
            let known = client_of(addr).filter(|c| *c < self.clients.len());
            let Some(client) = known else {
                return self.fail(format!("a datagram to {addr}, who never sent one"));
            };
            let what = if listener == gateway::SN { "to sn" } else { "to coap" };
            self.trace.event(self.now, what, client, &bytes);
            if listener == gateway::SN {
                let answering = answering == Some(client);
                let result = self.sleepers.downward(client, &bytes, answering, &self.model);
                if let Err(text) = result {
                    self.fail(text);
                }
            }
            self.link.send(&mut self.rng, self.now, (false, client, listener), &bytes);
        }
    }

    // ---- the network --------------------------------------------------------------------------

    fn flight(&mut self) {
        let Some(flight) = self.link.pop() else { return };
        let client = flight.client;
        if flight.upward {
            self.trace.event(self.now, "from udp", client, &flight.bytes);
            if !self.gateway.is_up() {
                return;
            }
            if flight.listener == gateway::SN {
                self.sleepers.upward(client, &flight.bytes, &self.model);
            }
            let (listener, peer) = (flight.listener, address(client));
            let input = Input::Datagram { listener, peer, bytes: &flight.bytes };
            self.gateway.handle(self.now, input);
            self.pump(Some(client));
        } else {
            self.with_client(client, |c, ctx| match c {
                Client::Mqtt(_) => {}
                Client::Sn(c) => c.on_datagram(ctx, &flight.bytes),
                Client::Coap(c) => c.on_datagram(ctx, &flight.bytes),
            });
        }
    }

    fn stream(&mut self, i: usize, what: Happening) {
        let stream = &mut self.streams[i];
        let (conn, client) = (stream.conn, stream.client);
        match what {
            Happening::GatewayWrites => {
                self.write(conn, false);
                self.pump(None);
            }
            Happening::GatewayReads if stream.upward.is_empty() || stream.paused => {
                stream.gateway_open = false;
                self.trace.event(self.now, "closed", client, &[]);
                let input = Input::Closed { conn, reason: Reason::ConnectionLost };
                self.gateway.handle(self.now, input);
                self.pump(None);
            }
            Happening::GatewayReads => {
                let n = piece(&mut self.rng, stream.upward.len());
                let chunk: Vec<u8> = stream.upward.drain(..n).collect();
                stream.upward_at = self.now + self.rng.range(0, 10 * MS);
                self.trace.event(self.now, "from mqtt", client, &chunk);
                self.gateway.handle(self.now, Input::Bytes { conn, chunk: &chunk });
                self.pump(None);
            }
            Happening::ClientReads if stream.downward.is_empty() => {
                stream.client_open = false;
                stream.upward_ended = true;
                self.with_client(client, |c, ctx| {
                    if let Client::Mqtt(c) = c {
                        c.on_closed(ctx);
                    }
                });
            }
            Happening::ClientReads => {
                let n = piece(&mut self.rng, stream.downward.len());
                let chunk: Vec<u8> = stream.downward.drain(..n).collect();
                stream.downward_at = self.now + self.rng.range(0, 10 * MS);
                // A cable is pulled now and then, anywhere in the stream.
                let cut = self.phase == Phase::Active && self.rng.chance(4);
                if cut {
                    stream.break_off(&mut self.rng, self.now);
                }
                self.with_client(client, |c, ctx| {
                    if let Client::Mqtt(c) = c {
                        c.on_bytes(ctx, &chunk);
                        if cut {
                            c.on_closed(ctx);
                        }
                    }
                });
            }
        }
    }

    // ---- the clients --------------------------------------------------------------------------

    fn with_client(&mut self, i: usize, call: impl FnOnce(&mut Client, &mut Ctx<'_>)) {
        let mut acts = Vec::new();
        let mut ctx = Ctx {
            now: self.now,
            rng: &mut self.rng,
            model: &mut self.model,
            trace: &mut self.trace,
            acts: &mut acts,
            healing: self.phase != Phase::Active,
            last_round: self.phase >= Phase::LastRound,
            probing: self.phase >= Phase::Probing,
            failure: &mut self.failure,
        };
        call(&mut self.clients[i], &mut ctx);
        for act in acts {
            self.perform(i, act);
        }
    }

    fn perform(&mut self, client: usize, act: Act) {
        let stream = self.streams.iter().position(|s| s.client == client && s.client_open);
        match act {
            Act::Open => self.open(client),
            Act::Tcp(bytes) => {
                if let Some(i) = stream {
                    let stream = &mut self.streams[i];
                    if stream.upward.is_empty() {
                        stream.upward_at =
                            stream.upward_at.max(self.now + self.rng.range(MS, 40 * MS));
                    }
                    stream.upward.extend_from_slice(&bytes);
                }
            }
            Act::Fin => {
                if let Some(i) = stream {
                    self.streams[i].client_open = false;
                    self.streams[i].upward_ended = true;
                }
            }
            Act::Break => {
                if let Some(i) = stream {
                    self.streams[i].break_off(&mut self.rng, self.now);
                }
            }
            Act::Datagram(bytes) => {
                let listener = match self.clients[client] {
                    Client::Coap(_) => gateway::COAP,
                    _ => gateway::SN,
                };
                self.link.send(&mut self.rng, self.now, (true, client, listener), &bytes);
            }
        }
    }

    fn open(&mut self, client: usize) {
        let taken = |slot: &usize| self.streams.iter().any(|s| s.conn.slot() == *slot);
        let slot = (0..).find(|slot| !taken(slot)).unwrap_or(0);
        if self.generations.len() <= slot {
            self.generations.resize(slot + 1, 0);
        }
        self.generations[slot] += 1;
        let conn = ConnectionId::new(u32::try_from(slot).unwrap_or(0), self.generations[slot]);
        let mut stream = Stream::new(conn, client);
        if self.gateway.is_up() {
            let (listener, peer) = (gateway::MQTT, Some(address(client)));
            self.trace.event(self.now, "opened", client, &conn.get().to_be_bytes());
            self.streams.push(stream);
            self.gateway.handle(self.now, Input::Opened { conn, listener, peer });
            self.pump(None);
        } else {
            // Connection refused.
            stream.gateway_open = false;
            stream.downward_ended = true;
            stream.downward_at = self.now + 10 * MS;
            self.streams.push(stream);
        }
    }
}

/// How many of `len` bytes one read gives.
fn piece(rng: &mut Rng, len: usize) -> usize {
    if rng.chance(500) { len } else { 1 + rng.index(len.min(40)) }
}

impl Client {
    fn settled(&self, model: &Model) -> bool {
        match self {
            Client::Mqtt(c) => c.settled(model),
            Client::Sn(c) => c.settled(),
            Client::Coap(c) => c.settled(),
        }
    }

    fn idle(&self) -> bool {
        match self {
            Client::Mqtt(c) => c.idle(),
            Client::Sn(c) => c.idle(),
            Client::Coap(c) => c.idle(),
        }
    }

    fn describe(&self) -> String {
        match self {
            Client::Mqtt(c) => c.describe(),
            Client::Sn(c) => c.describe(),
            Client::Coap(c) => c.describe(),
        }
    }
}

/// The cast of a run: four MQTT clients (one only probes at the end), three MQTT-SN, two CoAP
/// requesters, two observers.
fn cast(rng: &mut Rng, model: &mut Model, queue_bound: Option<u32>) -> Vec<Client> {
    let mut clients = Vec::new();
    for (v5, durable, probe) in [
        (false, true, false),
        (true, true, false),
        (rng.chance(500), false, false),
        (true, false, true),
    ] {
        let index = clients.len();
        let lazy = !probe && rng.chance(300);
        let wills = rng.chance(500);
        model.receiver(durable, false);
        let traits = mqtt::Traits { index, v5, durable, lazy, wills, probe };
        let mut client = mqtt::Client::new(traits, rng.range(MS, SEC));
        client.queue_bound = queue_bound.filter(|_| durable);
        clients.push(Client::Mqtt(client));
    }
    for (durable, sleeper) in [(true, true), (true, false), (false, rng.chance(500))] {
        let index = clients.len();
        model.receiver(durable, true);
        let (radio_off, wills) = (rng.chance(500), rng.chance(300));
        let traits = sn::Traits { index, durable, sleeper, radio_off, wills };
        clients.push(Client::Sn(sn::Client::new(traits, rng.range(MS, SEC))));
    }
    for observer in [false, false, true, true] {
        let index = clients.len();
        model.receiver(false, true);
        let targets =
            if observer { vec![index % 4, 4 + index % 3, 7, 8] } else { vec![0, 1, 4, 5, 7] };
        let seed = u16::try_from(rng.below(60_000)).unwrap_or(0);
        let client = coap::Client::new(index, observer, targets, seed, rng.range(MS, SEC));
        clients.push(Client::Coap(client));
    }
    clients
}
