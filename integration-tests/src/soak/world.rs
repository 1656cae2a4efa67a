//! [`World`]: the gateway, the devices and the operator, one event at a time in virtual time.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use motegate_core::{Input, Output};
use motegate_message::{ConnectionId, ListenerId, LocalId};

use super::device::{Counts, Device, parse};
use super::ledger::Account;
use super::operator::{Operator, Told};
use super::{Fault, Report, Settings};
use crate::sim::Scene;
use crate::sim::ctx::{MAX_DELAY, Micros, SEC};
use crate::sim::gateway::{self, Gateway, MQTT, SN};
use crate::sim::link::Link;
use crate::sim::rng::Rng;
use crate::sim::sn_wire;
use crate::sim::sn_wire::Packet;
use crate::sim::store::{Done, Store};

/// Once nothing is lost any more everything must have come within so many sleeps.
const SLEEPS: u64 = 12;

const HOUR: Micros = 3_600 * SEC;

/// A run.
#[derive(Debug)]
pub struct World {
    settings: Settings,
    rng: Rng,
    now: Micros,
    gateway: Gateway,
    /// The operator's connection, while the gateway is up; each life has another.
    conn: Option<ConnectionId>,
    lives: u32,
    link: Link,
    devices: Vec<Device>,
    accounts: Vec<Account>,
    operator: Operator,
    /// Devices by when they want to be called, one entry each…
    wakes: BTreeSet<(Micros, usize)>,
    /// …which is at this time.
    wakes_at: Vec<Micros>,
    /// When chance strikes, by what.
    fates: BTreeMap<(Micros, u64), Fate>,
    fates_made: u64,
    healing: bool,
    counts: Counts,
    sent: (u64, u64),
    commands: u64,
    failure: Option<String>,
}

/// What happens to the world by chance.
#[derive(Debug, Clone, Copy)]
enum Fate {
    Command(usize),
    NoPower(usize),
    Crash,
    Restart,
    Heal,
}

impl World {
    /// The run of these settings.
    #[must_use]
    pub fn new(settings: Settings) -> World {
        let mut rng = Rng::new(settings.seed);
        let mut config = gateway::config(&mut rng, None, false);
        config.mqtt_sn.faults.early_pingresp = settings.fault == Some(Fault::EarlyPingresp);
        config.mqtt_sn.faults.no_duplicate_check = settings.fault == Some(Fault::NoDuplicateCheck);
        let mut link = Link::new(&mut rng);
        (link.loss, link.doubling, link.late) = (settings.loss, settings.loss / 2, settings.loss);
        let begins = |rng: &mut Rng| rng.below(60 * SEC);
        let devices: Vec<Device> = (0..settings.devices)
            .map(|number| Device::new(number, settings.sleep, begins(&mut rng)))
            .collect();
        let mut world = World {
            now: 0,
            gateway: Gateway::new(config, settings.seed, Scene::All),
            conn: None,
            lives: 0,
            link,
            accounts: devices.iter().map(|_| Account::default()).collect(),
            wakes: devices.iter().enumerate().map(|(at, d)| (d.next(), at)).collect(),
            wakes_at: devices.iter().map(Device::next).collect(),
            devices,
            operator: Operator::new(),
            fates: BTreeMap::new(),
            fates_made: 0,
            healing: false,
            counts: Counts::default(),
            sent: (0, 0),
            commands: 0,
            failure: None,
            settings,
            rng,
        };
        world.cast_fates();
        world.connect_operator();
        world
    }

    fn fate(&mut self, at: Micros, fate: Fate) {
        self.fates_made += 1;
        self.fates.insert((at, self.fates_made), fate);
    }

    fn cast_fates(&mut self) {
        let end = self.settings.hours * HOUR;
        for device in 0..self.settings.devices {
            let first = 60 * SEC + self.rng.below(2 * self.settings.pace * SEC);
            self.fate(first, Fate::Command(device));
            if self.settings.power > 0 {
                let at = self.rng.below(2 * self.settings.power * 24 * HOUR);
                self.fate(at, Fate::NoPower(device));
            }
        }
        let part = end / (self.settings.crashes + 1);
        for crash in 1..=self.settings.crashes {
            let at = part * crash + self.rng.below(part / 4 + 1);
            self.fate(at, Fate::Crash);
        }
        self.fate(end, Fate::Heal);
    }

    /// Runs to the end.
    #[must_use]
    pub fn run(mut self) -> Report {
        let end = self.settings.hours * HOUR;
        let deadline = end + SLEEPS * u64::from(self.settings.sleep) * SEC;
        while self.failure.is_none() && !(self.healing && self.is_done()) {
            if self.now > deadline {
                let owed = self.owed();
                self.fail(format!("not at rest long after the end: {owed}"));
                break;
            }
            self.step();
        }
        let up = self.accounts.iter().flat_map(|account| &account.up);
        Report {
            failure: self.failure,
            commands: self.commands,
            readings: up.map(super::ledger::Lane::count).sum(),
            awakenings: self.counts.awakenings,
            lost: self.counts.lost,
            powerless: self.counts.powerless,
            datagrams: self.sent,
            crashes: u64::from(self.gateway.crashes),
        }
    }

    fn fail(&mut self, text: impl std::fmt::Display) {
        if self.failure.is_none() {
            self.failure = Some(format!("after {} s: {text}", self.now / SEC));
        }
    }

    fn is_done(&self) -> bool {
        self.operator.is_idle()
            && self.devices.iter().all(Device::is_idle)
            && self.accounts.iter().all(|account| {
                let lanes = account.down.iter().chain(&account.up);
                lanes.flat_map(super::ledger::Lane::owed).next().is_none()
            })
    }

    fn owed(&self) -> String {
        let mut text = String::new();
        for (number, account) in self.accounts.iter().enumerate() {
            let down: Vec<_> =
                account.down.iter().map(|lane| lane.owed().collect::<Vec<_>>()).collect();
            let up: Vec<_> =
                account.up.iter().map(|lane| lane.owed().collect::<Vec<_>>()).collect();
            if down.iter().chain(&up).any(|owed| !owed.is_empty()) && text.len() < 2_000 {
                text.push_str(&format!("mote-{number} down {down:?} up {up:?}; "));
            }
        }
        text
    }

    fn step(&mut self) {
        let fate = self.fates.first_key_value().map_or(Micros::MAX, |((at, _), _)| *at);
        let device = self.wakes.first().map_or(Micros::MAX, |(at, _)| *at);
        let core = if self.gateway.is_up() { self.gateway.next_at() } else { Micros::MAX };
        let commit = self.gateway.store.due.filter(|_| self.gateway.is_up()).unwrap_or(Micros::MAX);
        let flight = self.link.next_at();
        let next = [fate, device, core, commit, flight].into_iter().min().unwrap_or(Micros::MAX);
        self.now = self.now.max(next);
        if next == fate {
            self.strike();
        } else if next == flight {
            self.flight();
        } else if next == commit {
            if let Done::Committed(seq) = self.gateway.store.commit(&mut self.rng, self.now) {
                self.gateway.handle(self.now, Input::Committed(seq));
            }
            self.pump();
        } else if next == core {
            self.gateway.handle(self.now, Input::Timeout);
            self.pump();
        } else if let Some((_, at)) = self.wakes.first().copied() {
            let account = &mut self.accounts[at];
            let (counts, rng) = (&mut self.counts, &mut self.rng);
            self.devices[at].wake(self.now, account, counts, rng, self.healing);
            self.sends(at);
        }
    }

    /// What a device has to send leaves, and when it wants to be called next is noted.
    fn sends(&mut self, at: usize) {
        while let Some(datagram) = self.devices[at].transmit() {
            self.send((true, at, SN), &datagram);
        }
        let next = self.devices[at].next().max(self.now + 1);
        self.wakes.remove(&(self.wakes_at[at], at));
        self.wakes.insert((next, at));
        self.wakes_at[at] = next;
    }

    fn send(&mut self, to: (bool, usize, ListenerId), bytes: &[u8]) {
        self.sent.0 += 1;
        let before = self.link.under_way();
        self.link.send(&mut self.rng, self.now, to, bytes);
        self.sent.1 += u64::from(self.link.under_way() == before);
    }

    fn strike(&mut self) {
        let Some((_, fate)) = self.fates.pop_first() else { return };
        match fate {
            Fate::Command(_) | Fate::NoPower(_) | Fate::Crash if self.healing => {}
            Fate::Command(device) => {
                let lane = self.rng.index(2);
                let number = self.accounts[device].down[lane].begin();
                self.operator.command((device, lane, number));
                self.operator.send();
                self.operator_writes();
                let pause = self.rng.below(2 * self.settings.pace * SEC);
                self.fate(self.now + pause, Fate::Command(device));
            }
            Fate::NoPower(device) => {
                let (account, counts) = (&self.accounts[device], &mut self.counts);
                self.devices[device].lose_power(self.now, account, counts, &mut self.rng);
                self.sends(device);
                let pause = self.rng.below(2 * self.settings.power * 24 * HOUR);
                self.fate(self.now + pause, Fate::NoPower(device));
            }
            Fate::Crash => {
                if self.settings.trace.is_some() {
                    println!("{:>8} ---- crash", self.now / SEC);
                }
                self.gateway.crash(&mut self.rng);
                if self.settings.fault == Some(Fault::Forget) {
                    self.gateway.store = Store::default();
                }
                self.conn = None;
                self.accounts.iter_mut().for_each(Account::crash);
                let downtime = MAX_DELAY + self.rng.below(120 * SEC);
                self.fate(self.now + downtime, Fate::Restart);
            }
            Fate::Restart => {
                if let Err(text) = self.gateway.restart(&mut self.rng, self.now) {
                    self.fail(text);
                }
                self.pump();
                self.connect_operator();
            }
            Fate::Heal => {
                self.healing = true;
                self.link.heal();
                self.gateway.store.heal();
            }
        }
    }

    fn trace(&self, at: usize, what: &str, packet: &Packet) {
        if self.settings.trace == Some(at) {
            let (secs, micros) = (self.now / SEC, self.now % SEC);
            println!("{secs:>8}.{micros:06} {what:<18} {packet:?}");
        }
    }

    // ---- the operator -------------------------------------------------------------------------

    fn connect_operator(&mut self) {
        self.lives += 1;
        let conn = ConnectionId::new(0, self.lives);
        self.conn = Some(conn);
        let (since, _) = self.gateway.clocks(self.now);
        let peer = Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 1)));
        self.gateway.handle(
            self.now,
            Input::Opened { conn, listener: MQTT, peer, identity: None, host: None, since },
        );
        self.operator.connect();
        self.operator_writes();
    }

    /// What the operator has to say reaches the gateway, if that is up.
    fn operator_writes(&mut self) {
        let Some(conn) = self.conn else { return };
        while !self.operator.output.is_empty() {
            let chunk = std::mem::take(&mut self.operator.output);
            self.gateway.handle(self.now, Input::Bytes { conn, chunk: &chunk });
            self.pump();
        }
    }

    fn operator_reads(&mut self, conn: ConnectionId) {
        let Some(core) = self.gateway.core() else { return };
        let bytes = core.outbox(conn).to_vec();
        self.gateway.handle(self.now, Input::Written { conn, n: bytes.len() });
        self.operator.input.extend(bytes);
        match self.operator.read() {
            Ok(told) => told.into_iter().for_each(|told| self.told(told)),
            Err(text) => self.fail(text),
        }
    }

    fn told(&mut self, told: Told) {
        match told {
            Told::Acknowledged((device, lane, number)) => {
                self.commands += 1;
                self.accounts[device].down[lane].acknowledge(number);
            }
            Told::Reading(topic, payload) => {
                let device = topic.strip_prefix("up/mote-").and_then(|text| text.parse().ok());
                let account = device.and_then(|at: usize| self.accounts.get_mut(at));
                let result = match account {
                    None => Err("nobody publishes there".to_string()),
                    Some(account) => parse(&payload).and_then(|(lane, number)| {
                        account.up[lane].arrive(number, lane == 1, None)
                    }),
                };
                if let Err(text) = result {
                    self.fail(format!("{topic}: {text}"));
                }
            }
        }
    }

    // ---- datagrams and the shell --------------------------------------------------------------

    fn flight(&mut self) {
        let Some(flight) = self.link.pop() else { return };
        let at = flight.client;
        if flight.upward {
            if self.gateway.is_up() {
                if let Ok(packet) = sn_wire::decode(&flight.bytes) {
                    self.trace(at, "to the gateway", &packet);
                    self.accounts[at].upward(&packet);
                }
                let input = Input::Datagram {
                    listener: SN,
                    local: LocalId::ANY,
                    peer: address(at),
                    bytes: &flight.bytes,
                };
                self.gateway.handle(self.now, input);
                self.pump();
            }
            return;
        }
        if let Ok(packet) = sn_wire::decode(&flight.bytes) {
            self.trace(at, "  comes to it", &packet);
        }
        let account = &mut self.accounts[at];
        let (counts, rng) = (&mut self.counts, &mut self.rng);
        let result = self.devices[at].receive(self.now, &flight.bytes, account, counts, rng);
        if let Err(text) = result {
            self.fail(format!("mote-{at}: {text}"));
        }
        self.sends(at);
    }

    /// Does what the core wants done.
    fn pump(&mut self) {
        loop {
            let Some(output) = self.gateway.core().and_then(|core| core.poll_output()) else {
                self.datagrams();
                match self.gateway.store.fetched(&mut self.rng) {
                    Some((session, page)) => {
                        self.gateway.handle(self.now, Input::Fetched { session, page });
                    }
                    None if self.operator.output.is_empty() => return,
                    None => return self.operator_writes(),
                }
                continue;
            };
            match output {
                Output::Write(conn) => self.operator_reads(conn),
                Output::Records { seq, batch } => {
                    let pushed = self.gateway.store.push(&mut self.rng, self.now, seq, batch);
                    if let Err(text) = pushed {
                        self.fail(text);
                    }
                }
                Output::Fetch(wanted) => self.gateway.store.fetch(wanted),
                Output::Close(_, reason) => self.fail(format!("the operator is closed: {reason}")),
                // The operator's stream has no buffer: what it has written is read.
                _ => {}
            }
        }
    }

    fn datagrams(&mut self) {
        let mut out: Vec<(SocketAddr, Vec<u8>)> = Vec::new();
        if let Some(core) = self.gateway.core() {
            for queue in core.datagrams() {
                out.extend(queue.iter().map(|(to, bytes)| (to.addr, bytes.to_vec())));
                queue.clear();
            }
        }
        for (addr, bytes) in out {
            let at = device_at(addr);
            let result =
                sn_wire::decode(&bytes).and_then(|packet| self.accounts[at].downward(&packet));
            if let Err(text) = result {
                self.fail(format!("to mote-{at}: {text}"));
            }
            self.send((false, at, SN), &bytes);
        }
    }
}

fn address(at: usize) -> SocketAddr {
    let number = u32::try_from(at).expect("fewer than 2^24 devices");
    SocketAddr::from((Ipv4Addr::from(0x0a00_0000 + number), 1885))
}

fn device_at(addr: SocketAddr) -> usize {
    let IpAddr::V4(ip) = addr.ip() else { return usize::MAX };
    usize::try_from(u32::from(ip) - 0x0a00_0000).unwrap_or(usize::MAX)
}
