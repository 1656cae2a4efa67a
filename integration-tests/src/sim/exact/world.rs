//! One run: the script acts on the core and on the reference alike, and after a few actions what the
//! core said is held against what it must have said.

use std::collections::BTreeMap;

use super::host::Host;
use super::reference::{Full, Ms, Reference};
use super::script::{Action, Script};
use super::wire::{Connect, Version};
use super::{Kind, Report, Spoil, core_config, settings};
use crate::sim::rng::Rng;

/// The core, the reference, and what was done since they were compared.
pub(super) struct World {
    rng: Rng,
    kind: Kind,
    host: Host,
    reference: Reference,
    script: Script,
    clients: usize,
    window: Vec<Action>,
    v5: BTreeMap<u32, bool>,
    now: Ms,
    report: Report,
}

impl World {
    pub(super) fn new(seed: u64, fault: Option<Spoil>, verbose: bool) -> Self {
        let mut rng = Rng::new(seed);
        let mut kind = Kind::of(&mut rng);
        let settings = settings(&mut rng, &kind);
        // Where a full queue ends several connections at once, whether a will finds a place in
        // another of those queues depends on their order, which is nobody's promise.
        kind.wills = !matches!(settings.bound, Some((_, Full::Disconnect)));
        let clients = 3 + rng.index(4);
        let mut reference = Reference::new(settings.clone());
        reference.notes = verbose.then(Vec::new);
        let mut host = Host::new(core_config(&settings, &kind));
        (host.fault, host.verbose) = (fault, verbose);
        host.note(|| format!("{kind:?} {settings:?}"));
        World {
            script: Script::new(&mut rng, kind, clients),
            reference,
            host,
            kind,
            clients,
            window: Vec::new(),
            v5: BTreeMap::new(),
            now: 0,
            report: Report::default(),
            rng,
        }
    }

    fn failed(&self) -> bool {
        self.reference.failure.is_some() || self.host.failure.is_some()
    }

    pub(super) fn run(mut self) -> Report {
        let steps = self.rng.range(60, 260);
        for _ in 0..steps {
            if self.failed() {
                break;
            }
            self.step();
        }
        if !self.failed() {
            self.finish();
        }
        let failure = self.host.failure.take().or(self.reference.failure.take());
        Report {
            failure,
            delivered: self.reference.delivered,
            lines: std::mem::take(&mut self.host.log),
            ..self.report
        }
    }

    fn step(&mut self) {
        self.report.steps += 1;
        match self.rng.below(1000) {
            0..15 if self.kind.crashes => self.crash(),
            15..130 => {
                let by = *self.rng.pick(&[1, 250, 999, 1000, 1001, 2000, 5000, 20_000]);
                self.advance(by);
            }
            _ => {
                let next = self.script.next(&mut self.rng, &self.reference);
                // Not twice for one delivery, which nobody has looked at since.
                let again = |a: &Action| self.window.iter().any(|b| a.is_same_acknowledgement(b));
                if let Some(action) = next.filter(|action| !again(action)) {
                    self.act(action);
                }
            }
        }
    }

    fn act(&mut self, action: Action) {
        if action.ends() || self.kind.one_by_one {
            self.look();
        }
        self.host.note(|| format!("{action:?}"));
        if let Action::Connect(_, conn, connect) = &action {
            let Connect { version, max_packet, .. } = **connect;
            let bounded = version == Version::V5 && max_packet > 0;
            let max_packet = if bounded { max_packet as usize } else { usize::MAX };
            self.v5.insert(*conn, version == Version::V5);
            self.host.open(*conn, version, max_packet);
        }
        let v5 = |conn: &u32| self.v5.get(conn).copied().unwrap_or_default();
        match &action {
            Action::Lose(conn) => self.host.lose(*conn),
            done => {
                let told = self.host.fault.and_then(|fault| fault.told(done));
                let other = told.as_ref().unwrap_or(done);
                let of = other.bytes(false).map(|(conn, _)| v5(&conn)).unwrap_or_default();
                if let Some((conn, bytes)) = other.bytes(of) {
                    let cut = self.rng.index(bytes.len() * 2 + 1);
                    self.host.send(conn, &bytes, cut);
                }
            }
        }
        self.window.push(action);
        if self.rng.chance(500) {
            self.look();
        }
    }

    /// What was handed over is stored, and what was said meanwhile is judged.
    fn look(&mut self) {
        if self.window.is_empty() || self.failed() {
            return self.window.clear();
        }
        self.settle_host();
        self.reference.heard = std::mem::take(&mut self.host.heard);
        for action in std::mem::take(&mut self.window) {
            action.apply(&mut self.reference);
            self.read_notes();
        }
        if self.reference.next_at() <= self.now {
            self.reference.advance(self.now);
        }
        self.reference.settle();
    }

    fn read_notes(&mut self) {
        for note in self.reference.notes.iter_mut().flat_map(|notes| notes.drain(..)) {
            self.host.note(|| format!("      {note}"));
        }
    }

    fn settle_host(&mut self) {
        self.host.commit();
        self.host.advance(self.now);
        self.host.commit();
    }

    fn advance(&mut self, by: Ms) {
        self.look();
        let target = self.now + by;
        self.host.note(|| format!("---- {by} ms"));
        while self.now < target && !self.failed() {
            let next = self.host.next_at().min(self.reference.next_at()).min(target);
            self.now = next.max(self.now);
            self.host.advance(self.now);
            self.settle_host();
            self.reference.heard = std::mem::take(&mut self.host.heard);
            self.reference.advance(self.now);
            self.read_notes();
            self.reference.settle();
            if self.reference.next_at() <= self.now {
                let at = self.reference.next_at();
                self.host.failure.get_or_insert(format!("the check is stuck at {at}"));
            }
        }
    }

    /// Either what was done last is stored, or it is lost, and what was said of it with it.
    fn crash(&mut self) {
        if self.rng.chance(500) {
            self.look();
        }
        self.window.clear();
        self.host.note(|| "---- crash".into());
        self.report.restarts += 1;
        self.host.crash();
        self.now += *self.rng.pick(&[1, 1000, 4000, 30_000]);
        self.host.restart(self.now);
        self.settle_host();
        self.reference.heard = std::mem::take(&mut self.host.heard);
        self.reference.restart(self.now);
        self.read_notes();
        self.reference.settle();
    }

    /// Everybody comes back and takes what there is: nothing may be left then.
    fn finish(&mut self) {
        self.look();
        self.host.note(|| "---- the end".into());
        for round in 0..20_000 {
            // Also whose queue was full again.
            let away = |who: &usize| self.reference.link(*who).is_none();
            let back =
                (0..self.clients).find(|who| round == *who || round >= self.clients && away(who));
            let next = match back {
                Some(who) if round < self.clients || self.reference.sessions.contains_key(&who) => {
                    Some(self.script.come_back(who))
                }
                _ => self.reference.sessions.values().find_map(Script::finish),
            };
            let Some(action) = next.filter(|_| !self.failed()) else { break };
            self.act(action);
            self.look();
        }
        if self.failed() {
            return;
        }
        let left: usize = self.reference.sessions.values().map(|s| s.queue.len()).sum();
        if left + self.reference.unresolved() > 0 {
            self.host.failure = Some(format!("{left} messages are left"));
        }
        for topic in Script::topics(self.clients) {
            let known = self.reference.retained.get(&topic).map(|m| m.payload.clone());
            if self.host.retained(&topic) != known && !self.failed() {
                self.host.failure = Some(format!("it does not retain {known:?} under {topic}"));
            }
        }
        let told = self.host.counts();
        let sessions = &self.reference.sessions;
        let subscriptions = sessions.values().map(|s| s.subscriptions.len()).sum();
        let known = Some((sessions.len(), subscriptions, self.reference.retained.len()));
        if told != known && !self.failed() {
            self.host.failure = Some(format!("it counts {told:?} instead of {known:?}"));
        }
    }
}
