//! [`World`]: one simulated run: a gateway, its clients, the network between them, one event at a
//! time in virtual time.

use motegate_core::Input;
use motegate_message::{ConnectionId, Seq};

use super::cast::{self, Client};
use super::ctx::{Micros, SEC};
use super::falsify::Overheard;
use super::gateway::{self, Gateway};
use super::link::{Happening, Link, Stream};
use super::model::Model;
use super::rng::Rng;
use super::sleep::Sleepers;
use super::store::Troubles;
use super::trace::{Detail, Trace};
use super::{Fault, Report, Scene};

/// How far a run has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
pub(super) enum Phase {
    /// Everything goes wrong that can.
    Active,
    /// Nothing goes wrong any more; everybody comes back.
    Healing,
    /// Everybody publishes once more.
    LastRound,
    /// The probe reads the retained values.
    Probing,
    /// Nothing must happen any more, until then.
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
pub(super) struct World {
    pub(super) now: Micros,
    pub(super) steps: u64,
    pub(super) rng: Rng,
    pub(super) trace: Trace,
    pub(super) model: Model,
    pub(super) gateway: Gateway,
    pub(super) link: Link,
    /// The link stays as bad as it is.
    pub(super) lossy: bool,
    pub(super) streams: Vec<Stream>,
    pub(super) generations: Vec<u32>,
    pub(super) clients: Vec<Client>,
    pub(super) sleepers: Sleepers,
    pub(super) fault: Option<Fault>,
    pub(super) phase: Phase,
    pub(super) active_steps: u64,
    pub(super) crash_steps: Vec<u64>,
    pub(super) down_until: Option<Micros>,
    pub(super) heal_deadline: Micros,
    pub(super) idle_timeouts: u32,
    pub(super) write_now: Vec<ConnectionId>,
    pub(super) commit_now: Vec<Seq>,
    /// Batches handed over.
    pub(super) batches: u64,
    /// It crashes when this one is.
    pub(super) crash_batch: Option<u64>,
    pub(super) crash_now: bool,
    pub(super) failure: Option<String>,
    pub(super) max_outbox: usize,
    /// With [`Fault::BodyDoubled`], by client.
    pub(super) overheard: Vec<Overheard>,
    /// Times that an outbox of CoAP was full for a notification.
    pub(super) held_back: u64,
    /// The UDP port each client sends from now.
    pub(super) ports: Vec<u16>,
}

impl World {
    /// The run that `seed` describes.
    #[must_use]
    pub(super) fn new(
        seed: u64,
        fault: Option<Fault>,
        detail: Detail,
        crash_batch: Option<u64>,
        scene: Scene,
    ) -> Self {
        let mut rng = Rng::new(seed);
        let lossy = scene == Scene::Coap;
        let tight = scene == Scene::All && fault.is_none() && seed % 10 == 9;
        let mut config = gateway::config(&mut rng, fault, tight);
        if scene == Scene::Streams {
            gateway::connections(&mut rng, &mut config, fault);
        }
        let mut model = Model::default();
        model.lossy_queues = tight;
        let inflight = u32::from(config.mqtt.max_inflight);
        let max_outbox = config.mqtt.max_outbox_bytes as usize;
        let clients = match scene {
            Scene::All => cast::cast(&mut rng, &mut model, tight.then_some(6 + inflight + 20)),
            Scene::Coap => cast::cast_of_coap(&mut rng, &mut model),
            Scene::Streams => cast::cast_of_streams(&mut rng, &mut model),
        };
        let active_steps = match scene {
            Scene::Streams => rng.range(2_000, 4_000),
            Scene::All | Scene::Coap => rng.range(600, 1_400),
        };
        let troubles = if lossy { Troubles::default() } else { troubles(&mut rng, seed, fault) };
        let crashes = if lossy { 0 } else { rng.range(1, 3) };
        let mut crash_steps: Vec<u64> =
            (0..crashes).map(|_| rng.range(120, active_steps)).collect();
        crash_steps.sort_unstable();
        let mut gateway = Gateway::new(config, seed, scene);
        gateway.store.troubles = troubles;
        World {
            now: 0,
            steps: 0,
            link: if lossy { Link::losing(200) } else { Link::new(&mut rng) },
            lossy,
            sleepers: Sleepers::new(clients.len(), if tight { 5 + 12 } else { 1_000 }),
            overheard: clients.iter().map(|_| Overheard::default()).collect(),
            ports: (0..clients.len()).map(|_| 40_000).collect(),
            max_outbox,
            held_back: 0,
            gateway,
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
            batches: 0,
            crash_batch,
            crash_now: false,
            failure: None,
            model,
            rng,
        }
    }

    /// Runs to the end.
    #[must_use]
    pub(super) fn run(mut self) -> Report {
        while self.failure.is_none() && !self.is_done() {
            self.step();
        }
        Report {
            failure: self.failure,
            steps: self.steps,
            messages: self.model.delivered,
            published: self.model.published() as u64,
            in_blocks: self.model.in_blocks,
            in_blocks_read: self.model.in_blocks_read,
            held_back: self.held_back,
            restarts: u64::from(self.gateway.crashes),
            batches: self.batches,
            failures: self.gateway.store.failures,
            refused: self.model.outage.refusals,
            damaged: self.gateway.store.damaged,
            virtual_secs: self.now / SEC,
            hash: self.trace.hash(),
            lines: self.trace.into_lines(),
        }
    }

    pub(super) fn fail(&mut self, text: impl Into<String>) {
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
        if live > bound && !self.model.lossy_queues && !self.model.damaged {
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
            offer(client.wake(), Event::Client(i));
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
            Event::Client(i) => self.with_client(i, Client::on_wake),
            Event::Timeout => {
                self.idle_timeouts += 1;
                if self.idle_timeouts > 500 {
                    self.fail("poll_timeout asks for the same moment for ever");
                }
                self.trace.event(self.now, "timeout", 0, &[]);
                self.gateway.handle(self.now, Input::Timeout);
                self.pump();
            }
        }
        if self.rng.chance(2) && self.gateway.reload(self.now) {
            self.pump();
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
            Phase::Healing if self.all(Client::settled) => {
                self.trace.line(self.now, || "---- last round".into());
                self.phase = Phase::LastRound;
            }
            Phase::LastRound
                if self.all(|client| client.idle(self.model.damaged))
                    && self.satisfied().is_ok() =>
            {
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
                if phase == Phase::Healing { !c.settled() } else { !c.idle(self.model.damaged) }
            };
            let who: Vec<String> =
                self.clients.iter().filter(unfinished).map(Client::describe).collect();
            self.fail(format!("does not come to rest in {phase:?}: {why} {who:#?}"));
        }
    }

    fn all(&self, what: impl Fn(&Client) -> bool) -> bool {
        self.clients.iter().all(what)
    }

    fn heal(&mut self) {
        self.trace.line(self.now, || "---- healing".into());
        self.phase = Phase::Healing;
        self.heal_deadline = self.now + 500 * SEC;
        if !self.lossy {
            self.link.heal();
        }
        self.gateway.store.heal();
        self.model.healing = true;
        for client in &mut self.clients {
            match client {
                Client::Mqtt(_) | Client::Stream(_) => {}
                Client::Sn(c) => c.heal(self.now),
                Client::Coap(c) => c.heal(self.now),
            }
        }
    }

    /// Everything that is owed has come, or the gateway has said that its disk has lost something.
    fn satisfied(&self) -> Result<(), String> {
        let excused = self.model.told_damaged + self.gateway.told_damaged() > 0;
        for client in 0..self.clients.len() {
            let owed = self.model.owed(client);
            if !owed.is_empty() && !excused {
                let messages: Vec<_> =
                    owed.iter().map(|id| (*id, self.model.publish(*id))).collect();
                return Err(format!("client {client} was never given {messages:?}"));
            }
        }
        self.clients.iter().try_for_each(|client| match client {
            Client::Coap(c) => c.check_observed(&self.model),
            Client::Stream(c) => c.check_observed(&self.model),
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
}

/// What the disk of a run suffers from.
fn troubles(rng: &mut Rng, seed: u64, fault: Option<Fault>) -> Troubles {
    let mut troubles = Troubles::default();
    match fault {
        Some(Fault::AckOnFailedSync) => {
            troubles.failures = rng.range(20, 100);
            troubles.lies = true;
        }
        None if seed.is_multiple_of(2) => {
            troubles.failures = rng.range(5, 150);
            troubles.damages = if seed % 8 == 4 { 60 } else { 0 };
        }
        _ => {}
    }
    troubles
}
