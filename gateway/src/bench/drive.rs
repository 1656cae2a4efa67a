//! The event loop: opens the devices, has them publish, waits for what is under way, closes them.
//!
//! A turn reads everything that came, publishes what may be published, and then writes once for
//! each client that has something to write: messages share system calls as far as they come
//! together, and a lone one is answered without a detour.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mio::{Events, Poll, Token};
use motegate_timers::{Instant, TimerQueue, earliest};

use super::cost::{Cpu, Process};
use super::device::{Around, Device, Fact, Role, Taken};
use super::ending::{self, Outcome};
use super::load::{Counts, Load};
use super::pace::Pacer;
use super::plan::{Mode, Plan};
use super::report::Report;
use super::setup::{self, Crowd};
use super::wire::Batch;
use crate::client::Error;
use crate::clock::Clock;

/// Bytes read at a time from a stream.
const CHUNK: usize = 64 * 1024;
/// Publishes before the sockets are looked at again.
const BURST: usize = 4096;
/// Devices that are opened at the same time.
const OPENING: usize = 64;
/// How often losses, signals and the progress are looked at.
const TICK: Duration = Duration::from_millis(100);
/// For [`Fact::Settled`] and for taking leave.
const LEAVE: Duration = Duration::from_secs(5);
/// For those that are being accepted while another is refused.
const GIVE_UP: Duration = Duration::from_secs(1);
/// Tokens of datagram sockets begin here, devices before.
const WIRES: usize = usize::MAX / 2;
const PACER: Token = Token(usize::MAX - 1);

/// Set from elsewhere, it ends a run early, with its report.
pub(crate) type Stop = Arc<AtomicBool>;

/// Tells how far a run is: thousandths, and what was counted.
pub(crate) type Tell<'a> = dyn FnMut(u64, &Counts) + 'a;

/// Does what the plan says.
pub(crate) fn run(
    plan: &Plan,
    clock: Clock,
    stop: &Stop,
    tell: &mut Tell<'_>,
) -> Result<Outcome, Error> {
    plan.check()?;
    let poll = Poll::new().map_err(|error| Error::file("epoll", error))?;
    let crowd = setup::crowd(plan, clock, poll.registry())?;
    let mut drive = Drive::new(plan, clock, poll, crowd)?;
    if let Err(error) = drive.open_all(stop) {
        drive.give_up();
        return Err(error);
    }
    let outcome = drive.measure(stop, tell)?;
    if !matches!(outcome.ended, Some(Error::NoProgress { .. } | Error::Ended { .. })) {
        drive.leave();
    }
    Ok(outcome)
}

#[derive(Debug)]
struct Drive<'a> {
    plan: &'a Plan,
    clock: Clock,
    poll: Poll,
    pacer: Pacer,
    pacer_at: Option<Instant>,
    crowd: Crowd,
    batch: Batch,
    chunk: Vec<u8>,
    payload: Vec<u8>,
    facts: Vec<Fact>,
    timers: TimerQueue<usize>,
    dirty: Vec<usize>,
    dirty_wires: Vec<usize>,
    load: Load,
    /// Publishers whose device took nothing just now.
    parked: Vec<u32>,
    /// When each device was opened.
    since: Vec<Instant>,
    to_open: VecDeque<usize>,
    opening: usize,
    /// Answers to `settle` or `close` that are still to come.
    awaited: usize,
    /// Publishers and subscribers that live.
    living: [usize; 2],
    /// A failure that ends the run.
    fatal: Option<Error>,
    /// Why the last device is gone.
    last_gone: Option<Error>,
    closing: bool,
}

impl<'a> Drive<'a> {
    fn new(plan: &'a Plan, clock: Clock, poll: Poll, crowd: Crowd) -> Result<Self, Error> {
        let pacer = Pacer::new(poll.registry(), PACER);
        let pacer = pacer.map_err(|error| Error::file("timer", error))?;
        let patience = Duration::from_secs(if plan.qos == 0 { 2 } else { 10 });
        let conn = plan.mode == Mode::Conn;
        let devices = crowd.devices.len();
        Ok(Drive {
            plan,
            clock,
            poll,
            pacer,
            pacer_at: None,
            batch: Batch::new(),
            chunk: vec![0; CHUNK],
            payload: vec![b'.'; plan.payload],
            facts: Vec::new(),
            timers: TimerQueue::new(),
            dirty: Vec::new(),
            dirty_wires: Vec::new(),
            load: Load::new(plan, patience),
            parked: Vec::new(),
            since: vec![Instant::ZERO; devices],
            to_open: if conn { VecDeque::new() } else { (0..devices).collect() },
            opening: 0,
            awaited: 0,
            living: [crowd.publishers.len(), devices - crowd.publishers.len()],
            fatal: None,
            last_gone: None,
            closing: false,
            crowd,
        })
    }

    /// Everyone becomes ready; the first failure is that of the run.
    fn open_all(&mut self, stop: &Stop) -> Result<(), Error> {
        let (mut opening, mut moved) = (0, self.clock.now());
        while self.opening > 0 || !self.to_open.is_empty() {
            let now = self.clock.now();
            let left = self.opening + self.to_open.len();
            if left != opening {
                (opening, moved) = (left, now);
            } else if now.saturating_since(moved) >= self.plan.wait {
                return Err(ending::stuck(self.plan, "becomes ready"));
            }
            while self.opening < OPENING
                && let Some(index) = self.to_open.pop_front()
            {
                self.open(index, now);
            }
            self.turn(now, now + TICK)?;
            if let Some(error) = self.fatal.take() {
                return Err(error);
            }
            if stop.load(Ordering::Relaxed) {
                return Err(Error::Failed("interrupted before it began".to_owned()));
            }
        }
        Ok(())
    }

    fn measure(&mut self, stop: &Stop, tell: &mut Tell<'_>) -> Result<Outcome, Error> {
        let process = self.plan.pid.and_then(Process::look);
        let cpu = Cpu::own();
        let start = self.clock.now();
        if self.plan.mode == Mode::Conn {
            (0..self.plan.publishers).for_each(|publisher| self.load.set_alive(publisher, true));
        }
        self.load.start(start, self.plan.time);
        let mut tick = start;
        loop {
            let now = self.clock.now();
            if now >= tick {
                tick = now + TICK;
                self.load.give_up(now);
                tell(self.load.permille(now), &self.load.counts);
                if stop.load(Ordering::Relaxed) {
                    self.load.stop(now);
                }
            }
            let alone = self.living[0] == 0 || (self.plan.subscribers > 0 && self.living[1] == 0);
            if self.fatal.is_none() && self.load.is_stuck(now) {
                self.fatal = Some(ending::stuck(self.plan, "moves"));
            }
            if self.load.is_over(now) || alone || self.fatal.is_some() {
                break;
            }
            self.pump(now);
            self.turn(now, tick)?;
        }
        self.settle()?;
        let process = process.zip(self.plan.pid.and_then(Process::look));
        let report = Report::new(self.plan, &self.load, Cpu::own().since(cpu), process);
        let through = self.load.counts.through > 0;
        let ended = self.verdict(stop.load(Ordering::Relaxed));
        Ok(Outcome { report: (through || ended.is_none()).then_some(report), ended })
    }

    /// Why a run was none, or ended before its time; that devices broke away is the report's to say.
    fn verdict(&mut self, stopped: bool) -> Option<Error> {
        // A gateway that was at work and is gone: the report has its broken connections.
        let worked = self.load.counts.through > 0;
        let fatal = self.fatal.take_if(|error| !(worked && matches!(error, Error::Ended { .. })));
        if fatal.is_some() {
            return fatal;
        }
        let alone = self.living[0] == 0 || self.plan.subscribers > 0 && self.living[1] == 0;
        if alone && let Some(error) = ending::closed(self.plan, &self.load, self.last_gone.as_ref())
        {
            return Some(error);
        }
        (self.load.counts.sent == 0).then(|| ending::nothing_sent(stopped))
    }

    /// Publishes what may be published.
    fn pump(&mut self, now: Instant) {
        for publisher in self.parked.drain(..) {
            self.load.queue(publisher);
        }
        for _ in 0..BURST {
            if self.is_full() {
                return;
            }
            let Some(stamp) = self.load.next(now) else { return };
            let Some(&index) = self.crowd.publishers.get(stamp.publisher as usize) else { return };
            if self.crowd.devices.get(index).is_some_and(|device| device.gone) {
                self.load.park(); // for good
                continue;
            }
            if self.plan.mode == Mode::Conn {
                self.load.set_alive(stamp.publisher, false); // one connection at a time
                self.load.sent(now);
                self.open(index, stamp.since);
                continue;
            }
            stamp.write(self.crowd.run, &mut self.payload);
            let payload = std::mem::take(&mut self.payload);
            let taken = self
                .with(index, now, |device, around| device.publish(&payload, stamp.since, around));
            self.payload = payload;
            match taken {
                Some(Taken::Yes) => self.load.sent(now),
                Some(Taken::Never(error)) => {
                    self.fatal.get_or_insert(error);
                    return;
                }
                Some(Taken::NotNow) | None => self.parked.extend(self.load.park()),
            }
            self.mark(index);
            self.absorb(index, now);
        }
    }

    /// Whether as many connections are under way as may be.
    fn is_full(&self) -> bool {
        self.plan.mode == Mode::Conn && self.opening >= self.plan.window as usize
    }

    /// Writes, sleeps until something happens, at most until `limit`, and reads.
    fn turn(&mut self, now: Instant, limit: Instant) -> Result<(), Error> {
        let through = self.load.counts.through;
        self.flush(now);
        // What is through by being written may have been the last: nothing else would wake us.
        let written = self.load.counts.through != through;
        let timeout = if written { Duration::ZERO } else { self.timeout(now, limit) };
        let mut events = Events::with_capacity(1024);
        match self.poll.poll(&mut events, Some(timeout)) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                return Err(Error::file("epoll", error));
            }
            _ => {}
        }
        for event in &events {
            let token = event.token();
            if token == PACER {
                self.pacer_at = None;
            } else if let Some(wire) = token.0.checked_sub(WIRES) {
                self.receive(wire);
                self.mark_wire(wire);
            } else {
                let now = self.clock.now();
                let (readable, writable) = (event.is_readable(), event.is_writable());
                self.with(token.0, now, |device, around| device.ready(readable, writable, around));
                self.absorb(token.0, now);
            }
        }
        let now = self.clock.now();
        while let Some(index) = self.timers.pop(now) {
            let Some(device) = self.crowd.devices.get_mut(index) else { continue };
            if self.timers.fires(&mut device.timer, index, now) {
                self.with(index, now, |device, around| device.timeout(around));
                self.mark(index);
                self.absorb(index, now);
            }
        }
        Ok(())
    }

    fn timeout(&mut self, now: Instant, limit: Instant) -> Duration {
        if !self.is_full() && self.load.next(now).is_some() {
            return Duration::ZERO;
        }
        let due = self.load.due(now).filter(|due| *due > now);
        if due != self.pacer_at
            && let Some(due) = due
        {
            self.pacer_at = Some(due);
            if self.pacer.wake_in(due.saturating_since(now)).is_err() {
                self.pacer_at = None;
                return Duration::from_millis(1);
            }
        }
        let retry = (!self.parked.is_empty()).then(|| now + Duration::from_millis(1));
        let wake = earliest(retry, self.timers.next_deadline());
        earliest(wake, Some(limit)).unwrap_or(limit).saturating_since(now)
    }

    fn flush(&mut self, now: Instant) {
        let mut dirty = std::mem::take(&mut self.dirty);
        for index in dirty.drain(..) {
            if let Some(device) = self.crowd.devices.get_mut(index) {
                device.dirty = false;
            }
            self.with(index, now, |device, around| device.flush(around));
            self.absorb(index, now);
        }
        if self.dirty.is_empty() {
            self.dirty = dirty; // keeps its room
        }
        let mut wires = std::mem::take(&mut self.dirty_wires);
        for index in wires.drain(..) {
            let Some(wire) = self.crowd.wires.get_mut(index) else { continue };
            wire.dirty = false;
            if let Err(error) = wire.flush(&mut self.batch) {
                self.fail(&error);
            }
        }
        self.dirty_wires = wires;
    }

    /// All datagrams of a socket.
    fn receive(&mut self, index: usize) {
        loop {
            let Some(wire) = self.crowd.wires.get(index) else { return };
            let received = match wire.receive(&mut self.batch) {
                Ok(received) => received,
                Err(error) => return self.fail(&error),
            };
            let now = self.clock.now();
            let owner = self.crowd.owners.get(index).copied().flatten();
            let batch = std::mem::replace(&mut self.batch, Batch::empty());
            for bytes in (0..received).filter_map(|slot| batch.get(slot)) {
                let found = match owner {
                    Some(owner) => Some((owner, bytes)),
                    None => setup::unwrap(bytes),
                };
                if let Some((device, bytes)) = found {
                    self.with(device, now, |device, around| device.datagram(bytes, around));
                    self.absorb(device, now);
                }
            }
            self.batch = batch;
            if received < Batch::SIZE {
                return;
            }
        }
    }

    /// A socket says that nobody is there.
    fn fail(&mut self, error: &io::Error) {
        if self.fatal.is_none() {
            self.load.counts.broken += 1;
            self.fatal = Some(Error::Ended {
                text: format!("the gateway is gone: {error}"),
                hint: "is it still up?",
            });
        }
    }

    fn open(&mut self, index: usize, since: Instant) {
        let now = self.clock.now();
        self.opening += 1;
        if let Some(at) = self.since.get_mut(index) {
            *at = since;
        }
        self.with(index, now, |device, around| device.open(around));
        self.mark(index);
        self.absorb(index, now);
    }

    /// Hands a device what it needs; its timer and its datagrams are seen to.
    fn with<R>(
        &mut self,
        index: usize,
        now: Instant,
        work: impl FnOnce(&mut Device, &mut Around<'_>) -> R,
    ) -> Option<R> {
        let device = self.crowd.devices.get_mut(index)?;
        let wire = device.wire;
        let mut around = Around {
            now,
            run: self.crowd.run,
            registry: self.poll.registry(),
            facts: &mut self.facts,
            wire: wire.and_then(|wire| self.crowd.wires.get_mut(wire)),
            chunk: &mut self.chunk,
        };
        let result = work(device, &mut around);
        match device.deadline() {
            Some(deadline) => self.timers.set(&mut device.timer, index, deadline),
            None => device.timer.clear(),
        }
        if let Some(wire) = wire {
            self.mark_wire(wire);
        }
        Some(result)
    }

    fn mark(&mut self, index: usize) {
        if let Some(device) = self.crowd.devices.get_mut(index)
            && !device.dirty
        {
            device.dirty = true;
            self.dirty.push(index);
        }
    }

    fn mark_wire(&mut self, index: usize) {
        if let Some(wire) = self.crowd.wires.get_mut(index)
            && !wire.dirty
            && wire.backlog() > 0
        {
            wire.dirty = true;
            self.dirty_wires.push(index);
        }
    }

    /// Takes what a device has told.
    fn absorb(&mut self, index: usize, now: Instant) {
        while !self.facts.is_empty() {
            let mut facts = std::mem::take(&mut self.facts);
            for fact in facts.drain(..) {
                self.take(index, fact, now);
            }
            if self.facts.is_empty() {
                self.facts = facts; // keeps its room
                return;
            }
        }
    }

    fn take(&mut self, index: usize, fact: Fact, now: Instant) {
        let Some(device) = self.crowd.devices.get_mut(index) else { return };
        match (fact, &device.role) {
            (Fact::Delivered(stamp), Role::Subscribe { subscriber, .. }) => {
                self.load.delivered(*subscriber, stamp, now);
            }
            (Fact::Through { since, ok }, Role::Publish { publisher, .. }) => {
                self.load.through(*publisher, since, ok, now);
            }
            (Fact::Ready, role) => {
                let publisher = match role {
                    Role::Publish { publisher, .. } => Some(*publisher),
                    _ => None,
                };
                device.ready = true;
                if std::mem::take(&mut device.opening) {
                    self.opening -= 1;
                }
                match publisher {
                    Some(publisher) => self.load.set_alive(publisher, true),
                    None if self.plan.mode == Mode::Conn => self.connected(index, now),
                    None => {}
                }
            }
            (Fact::Left, Role::Connect) if !self.closing => {
                let publisher = u32::try_from(index).unwrap_or(u32::MAX);
                self.load.set_alive(publisher, true);
                self.load.queue(publisher);
            }
            (Fact::Settled | Fact::Left, _) => {
                self.awaited = self.awaited.saturating_sub(1);
                self.load.settled(now);
            }
            (Fact::Gone(error), _) => self.gone(index, error),
            (Fact::Delivered(_) | Fact::Through { .. }, _) => {}
        }
    }

    fn connected(&mut self, index: usize, now: Instant) {
        let since = self.since.get(index).copied().unwrap_or(now);
        let publisher = u32::try_from(index).unwrap_or(u32::MAX);
        self.load.through(publisher, since, true, now);
        // More connections than clients: each makes several.
        if self.plan.count.is_none_or(|count| count > self.plan.publishers.into()) {
            self.with(index, now, |device, around| device.close(around));
            self.mark(index);
        }
    }

    fn gone(&mut self, index: usize, error: Error) {
        let Some(device) = self.crowd.devices.get_mut(index) else { return };
        if self.closing {
            self.awaited = self.awaited.saturating_sub(1);
            return;
        }
        if std::mem::take(&mut device.opening) {
            self.opening -= 1;
            self.fatal.get_or_insert(error);
        } else {
            self.last_gone = Some(error);
        }
        device.gone = true;
        self.load.counts.broken += 1;
        match device.role {
            Role::Publish { publisher, .. } => self.load.set_alive(publisher, false),
            Role::Connect | Role::Subscribe { .. } => {}
        }
        let kind = usize::from(matches!(device.role, Role::Subscribe { .. }));
        self.living[kind] = self.living[kind].saturating_sub(1);
    }

    /// At QoS 0 nobody says when a message was handled: the answer to a last request does.
    fn settle(&mut self) -> Result<(), Error> {
        if self.plan.acknowledges() || self.plan.mode != Mode::Pub || self.fatal.is_some() {
            return Ok(());
        }
        let publishers = self.crowd.publishers.iter().copied();
        let alive = |index: &usize| self.crowd.devices.get(*index).is_some_and(|d| !d.gone);
        let alive = publishers.filter(alive).collect();
        self.each(alive, Device::settle)?;
        self.load.handled = self.awaited == 0;
        Ok(())
    }

    /// One cannot do what it shall, so that there is nothing to measure: those that can take leave, or
    /// a server would think for a while that they are there.
    fn give_up(&mut self) {
        self.to_open.clear();
        let end = self.clock.now() + GIVE_UP;
        // Whoever is about to be accepted is so in a moment.
        while self.opening > 0 && self.fatal.is_none() {
            let now = self.clock.now();
            if now >= end || self.turn(now, end).is_err() {
                break;
            }
        }
        self.fatal = None;
        for device in &mut self.crowd.devices {
            device.gone |= !device.ready;
        }
        self.leave();
    }

    fn leave(&mut self) {
        if self.fatal.is_some() {
            return; // nobody is there
        }
        self.closing = true;
        let devices = self.crowd.devices.iter().enumerate();
        let left = devices.filter(|(_, device)| !device.gone).map(|(index, _)| index).collect();
        let _ = self.each(left, Device::close);
    }

    /// Asks devices for something that each will answer, and waits a little for that.
    fn each(
        &mut self,
        indices: Vec<usize>,
        ask: impl Fn(&mut Device, &mut Around<'_>),
    ) -> Result<(), Error> {
        let end = self.clock.now() + LEAVE;
        self.awaited = indices.len();
        for index in indices {
            let now = self.clock.now();
            self.with(index, now, &ask);
            self.mark(index);
            self.absorb(index, now);
        }
        while self.awaited > 0 && self.fatal.is_none() {
            let now = self.clock.now();
            if now >= end {
                break;
            }
            self.turn(now, end)?;
        }
        Ok(())
    }
}

/// The token of a datagram socket.
pub(super) const fn wire_token(index: usize) -> Token {
    Token(WIRES + index)
}
