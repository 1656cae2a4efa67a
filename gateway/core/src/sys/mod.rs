//! `$SYS`: what the gateway tells of itself, under mosquitto's names (`protocols/mqtt.md` §5).
//!
//! Retained, at QoS 2, plain decimal text, every `mqtt.sys_interval` by the wall clock and only
//! where something changed. In no journal, and outside the bounds of what clients retain. Where
//! the interval is zero nothing is published or woken for. The numbers of MQTT are
//! MQTT's packets and bytes; MQTT-SN and CoAP have theirs below `$SYS/motegate/`.

mod figures;
mod load;

use std::time::Duration;

use bytes::Bytes;
use motegate_message::{Message, Qos, TopicName, Wall};
use motegate_timers::Instant;

pub(crate) use figures::Datagrams;
use figures::{Figures, HEAP, HIGHEST, LOADS, ROWS, Row};
use load::{Load, WINDOWS};

use crate::{Core, Protocol};

/// When, and what was told last.
#[derive(Debug)]
pub(crate) struct Sys {
    interval: Duration,
    /// When the next round is due; `FAR_FUTURE` where the interval is zero.
    next: Instant,
    /// When the first round was, and the last one.
    rounds: Option<(Instant, Instant)>,
    /// What was told last: of `ROWS`, `HIGHEST` and `HEAP`.
    told: Vec<Option<u64>>,
    loads: [Load; LOADS.len()],
    /// Stream connections so far.
    pub(crate) sockets: u64,
    /// Messages that were dropped by the broker.
    pub(crate) dropped: u64,
    /// Resident memory now and at most, in bytes: the shell knows.
    pub(crate) heap: Option<(u64, u64)>,
    sn: Datagrams,
    coap: Datagrams,
}

impl Sys {
    pub(crate) fn new(interval: Duration) -> Self {
        Sys {
            interval,
            next: if interval.is_zero() { Instant::FAR_FUTURE } else { Instant::ZERO },
            rounds: None,
            told: Vec::new(),
            loads: [Load::default(); LOADS.len()],
            sockets: 0,
            dropped: 0,
            heap: None,
            sn: Datagrams::default(),
            coap: Datagrams::default(),
        }
    }

    /// When the next round is due, if ever.
    pub(crate) fn next(&self) -> Option<Instant> {
        (self.next != Instant::FAR_FUTURE).then_some(self.next)
    }

    /// The datagrams of a protocol that has them.
    pub(crate) fn of(&self, protocol: Protocol) -> &Datagrams {
        if protocol == Protocol::MqttSn { &self.sn } else { &self.coap }
    }

    /// As [`of`](Self::of), to be counted up.
    pub(crate) fn of_mut(&mut self, protocol: Protocol) -> &mut Datagrams {
        if protocol == Protocol::MqttSn { &mut self.sn } else { &mut self.coap }
    }

    /// The next multiple of the interval on the wall clock. A timer may fire a little early by
    /// that clock: then that multiple is this round's.
    fn schedule(&mut self, now: Instant, wall: Wall) {
        let interval = u64::try_from(self.interval.as_millis()).unwrap_or(u64::MAX).max(1);
        let mut wait = interval - wall.as_millis() % interval;
        if self.rounds.is_some() && wait < interval / 2 {
            wait = wait.saturating_add(interval);
        }
        self.next = now + Duration::from_millis(wait);
    }
}

impl Core {
    /// Whether a round of `$SYS` is due: the shell may want to say first what only it knows
    /// ([`set_memory`](Self::set_memory)).
    #[must_use]
    pub fn sys_is_due(&self, now: Instant) -> bool {
        self.sys.next().is_some_and(|at| at <= now)
    }

    /// Resident memory of the process now and at most, in bytes; told as `heap/current` and
    /// `heap/maximum`, which are left out as long as nobody says them.
    pub fn set_memory(&mut self, now: u64, at_most: u64) {
        self.sys.heap = Some((now, at_most));
    }

    /// Another interval holds. Switched off, what was told is forgotten; switched on, all is told
    /// anew.
    pub(crate) fn sys_reconfigure(&mut self) {
        let interval = self.config.sys_interval;
        if interval == self.sys.interval {
            return;
        }
        self.broker.forget_own();
        let Sys { sockets, dropped, heap, sn, coap, .. } = self.sys;
        self.sys = Sys { sockets, dropped, heap, sn, coap, ..Sys::new(interval) };
    }

    /// One round, if it is due.
    pub(crate) fn sys_round(&mut self) {
        let now = self.turn.now;
        if !self.sys_is_due(now) {
            return;
        }
        let first = self.sys.rounds.is_none();
        let (begun, last) = self.sys.rounds.unwrap_or((now, now));
        if first {
            self.sys_tell(
                "broker/version",
                concat!("motegate version ", env!("CARGO_PKG_VERSION")),
            );
        }
        let uptime = format!("{} seconds", now.saturating_since(begun).as_secs());
        self.sys_tell("broker/uptime", &uptime);
        let figures = self.figures();
        self.sys_loads(&figures, now.saturating_since(last).as_secs_f64(), first);
        self.sys_rows(&figures);
        self.sys.rounds = Some((begun, now));
        let wall = self.wall;
        self.sys.schedule(now, wall);
    }

    fn sys_loads(&mut self, figures: &Figures, elapsed: f64, first: bool) {
        for (place, (name, of)) in LOADS.iter().enumerate() {
            let averages = self.sys.loads[place].update(of(figures), elapsed);
            for ((average, moved), (window, _)) in averages.into_iter().zip(WINDOWS) {
                if moved || first {
                    let topic = format!("broker/load/{name}/{window}");
                    self.sys_tell(&topic, &format!("{average:.2}"));
                }
            }
        }
    }

    fn sys_rows(&mut self, figures: &Figures) {
        let heap: &[Row] = if self.sys.heap.is_some() { HEAP } else { &[] };
        let rows = ROWS.iter().map(|row| (row, false));
        let rows = rows.chain(HIGHEST.iter().map(|row| (row, true)));
        let rows = rows.chain(heap.iter().map(|row| (row, false)));
        for (place, ((name, of), highest)) in rows.enumerate() {
            if self.sys.told.len() <= place {
                self.sys.told.push(None);
            }
            let (value, told) = (of(figures), self.sys.told[place]);
            let changed = match told {
                Some(told) if highest => value > told,
                told => told != Some(value),
            };
            if changed {
                self.sys.told[place] = Some(value);
                self.sys_tell(name, &value.to_string());
            }
        }
    }

    fn sys_tell(&mut self, name: &str, text: &str) {
        let topic = TopicName::new(&["$SYS/", name].concat()).expect("the names are topics");
        let mut message = Message::new(topic, Bytes::copy_from_slice(text.as_bytes()));
        message.qos = Qos::ExactlyOnce;
        self.broker.announce(&self.turn, message);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_keep_to_the_wall_clock() {
        let mut sys = Sys::new(Duration::from_secs(10));
        assert_eq!(sys.next(), Some(Instant::ZERO));
        let at = |ms: u64| Instant::ZERO + Duration::from_millis(ms);
        sys.schedule(at(500), Wall::from_millis(1_003_000));
        assert_eq!(sys.next(), Some(at(7_500)), "the first wait is what is left of the interval");
        sys.rounds = Some((at(500), at(500)));
        sys.schedule(at(7_500), Wall::from_millis(1_009_998));
        assert_eq!(sys.next(), Some(at(17_502)), "2 ms early by the wall clock is this round");
        sys.schedule(at(17_502), Wall::from_millis(1_020_001));
        assert_eq!(sys.next(), Some(at(27_501)));
    }

    #[test]
    fn an_interval_of_zero_wakes_nobody() {
        assert_eq!(Sys::new(Duration::ZERO).next(), None);
    }
}
