//! [`Load`]: who publishes when, and what became of it. No sockets and no clock.
//!
//! A publisher may publish while fewer than `window` of its messages are unfinished: not
//! acknowledged (without subscribers), or not delivered to all of its subscribers. A message that
//! stays away for long is given up, so that a loss does not stop its publisher; it counts as lost,
//! unless it comes after all. Where a newer value replaces an older one (CoAP's Observe), what was
//! skipped is finished, and counts as replaced instead. With a rate, messages fall due at fixed times and their latency
//! counts from then, also when the gateway was too slow to take them in time.

use std::collections::VecDeque;
use std::time::Duration;

use motegate_timers::{Instant, earliest};

use super::histogram::Histogram;
use super::plan::Plan;
use super::stamp::Stamp;
use super::stream::{Arrival, Stream};
use crate::client::Scheme;

/// A connection that lives so long has had a message taken.
const SHOWN: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Default)]
struct Publisher {
    /// Its device is ready and lives.
    alive: bool,
    queued: bool,
    sent: u32,
    /// Acknowledged or refused.
    through: u32,
    /// Deliveries of its messages.
    delivered: u64,
    /// Deliveries that are not waited for any more.
    given_up: u64,
    progress: Instant,
}

/// What was counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Counts {
    pub(crate) sent: u64,
    /// Acknowledged; at QoS 0 handed to the system.
    pub(crate) through: u64,
    /// Turned down by the gateway.
    pub(crate) refused: u64,
    /// Each message at each subscriber once.
    pub(crate) delivered: u64,
    pub(crate) duplicates: u64,
    /// Not delivered, for a newer value took their place.
    pub(crate) replaced: u64,
    /// After a later message of the same publisher.
    pub(crate) out_of_order: u64,
    /// Connections that ended before their time.
    pub(crate) broken: u64,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Load {
    window: u64,
    fan_out: u64,
    fan_in: u32,
    topics: u32,
    /// Newer values replace older ones.
    replaces: bool,
    rate: Option<f64>,
    count: u64,
    patience: Duration,
    wait: Duration,
    publishers: Vec<Publisher>,
    /// Who may publish, in turn.
    ready: VecDeque<u32>,
    /// By subscriber, then by publisher of its topic.
    streams: Vec<Stream>,
    start: Option<Instant>,
    until: Instant,
    last: Instant,
    /// What nobody acknowledged was handled, too.
    pub(super) handled: bool,
    /// The first message that was sent after the last sign of one.
    unanswered: Option<Instant>,
    pub(super) latency: Histogram,
    pub(super) counts: Counts,
}

impl Load {
    /// `patience` is how long an unfinished message is waited for.
    pub(super) fn new(plan: &Plan, patience: Duration) -> Self {
        let streams = plan.subscribers as usize * plan.fan_in() as usize;
        Load {
            window: plan.window.into(),
            fan_out: plan.fan_out().into(),
            fan_in: plan.fan_in(),
            topics: plan.topics().max(1),
            replaces: plan.to.scheme == Scheme::Coap,
            rate: plan.rate,
            count: plan.count.unwrap_or(u64::MAX),
            patience,
            wait: plan.wait,
            publishers: vec![Publisher::default(); plan.publishers as usize],
            ready: VecDeque::new(),
            streams: vec![Stream::default(); streams],
            start: None,
            until: Instant::FAR_FUTURE,
            last: Instant::ZERO,
            handled: false,
            unanswered: None,
            latency: Histogram::new(),
            counts: Counts::default(),
        }
    }

    /// Publishing begins now.
    pub(super) fn start(&mut self, now: Instant, time: Option<Duration>) {
        self.start = Some(now);
        self.last = now;
        self.until = time.map_or(Instant::FAR_FUTURE, |time| now + time);
        for index in 0..self.publishers.len() {
            self.touch(u32::try_from(index).unwrap_or(u32::MAX), now);
        }
    }

    /// The device of a publisher can be used, or cannot any more.
    pub(super) fn set_alive(&mut self, publisher: u32, alive: bool) {
        if let Some(publisher) = self.publishers.get_mut(publisher as usize) {
            publisher.alive = alive;
        }
    }

    /// Publishes no more.
    pub(super) fn stop(&mut self, now: Instant) {
        self.until = self.until.min(now);
    }

    /// What to publish next; [`sent`](Self::sent) or [`park`](Self::park) must follow.
    pub(super) fn next(&mut self, now: Instant) -> Option<Stamp> {
        let since = self.due(now).filter(|due| *due <= now)?;
        let &publisher = self.ready.front()?;
        let number = self.publishers.get(publisher as usize)?.sent;
        Some(Stamp { publisher, number, since })
    }

    /// When the next message is due; `None`: there will be none.
    pub(super) fn due(&self, now: Instant) -> Option<Instant> {
        let start = self.start?;
        if self.counts.sent >= self.count {
            return None;
        }
        let due = match self.rate {
            None => now,
            #[allow(clippy::cast_precision_loss, reason = "not before 2^52 messages")]
            Some(rate) => start + Duration::from_secs_f64(self.counts.sent as f64 / rate),
        };
        (due < self.until && now < self.until).then_some(due)
    }

    /// The next one was published.
    pub(super) fn sent(&mut self, now: Instant) {
        let Some(index) = self.ready.pop_front() else { return };
        let Some(publisher) = self.publishers.get_mut(index as usize) else { return };
        publisher.queued = false;
        publisher.sent += 1;
        publisher.progress = now;
        self.counts.sent += 1;
        self.last = now;
        self.unanswered.get_or_insert(now);
        self.queue(index);
    }

    /// The next one cannot be published by this publisher now: [`queue`](Self::queue) it later.
    pub(super) fn park(&mut self) -> Option<u32> {
        let index = self.ready.pop_front()?;
        self.publishers.get_mut(index as usize)?.queued = false;
        Some(index)
    }

    /// A publisher may have become able to publish.
    pub(super) fn touch(&mut self, publisher: u32, now: Instant) {
        if let Some(of) = self.publishers.get_mut(publisher as usize) {
            of.progress = now;
        }
        self.queue(publisher);
    }

    /// Puts a publisher in line if it may publish.
    pub(super) fn queue(&mut self, index: u32) {
        let room = self.unfinished(index) < self.window;
        let Some(publisher) = self.publishers.get_mut(index as usize) else { return };
        if room && publisher.alive && !publisher.queued {
            publisher.queued = true;
            self.ready.push_back(index);
        }
    }

    /// Messages of a publisher that are waited for.
    fn unfinished(&self, index: u32) -> u64 {
        let Some(of) = self.publishers.get(index as usize) else { return 0 };
        let done = of.delivered + of.given_up;
        if self.fan_out == 0 {
            return u64::from(of.sent).saturating_sub(u64::from(of.through) + of.given_up);
        }
        (u64::from(of.sent) * self.fan_out).saturating_sub(done).div_ceil(self.fan_out)
    }

    /// A message was acknowledged, or refused.
    pub(super) fn through(&mut self, publisher: u32, since: Instant, ok: bool, now: Instant) {
        if let Some(of) = self.publishers.get_mut(publisher as usize) {
            of.through += 1;
        }
        if ok {
            self.counts.through += 1;
        } else {
            self.counts.refused += 1;
        }
        if self.fan_out == 0 && ok {
            self.latency.record(now.saturating_since(since));
        }
        self.sign(now);
        self.touch(publisher, now);
    }

    /// A message came to a subscriber.
    pub(super) fn delivered(&mut self, subscriber: u32, stamp: Stamp, now: Instant) {
        let slot = subscriber * self.fan_in + stamp.publisher / self.topics;
        let Some(stream) = self.streams.get_mut(slot as usize) else { return };
        let replaced = match stream.take(stamp.number) {
            Arrival::Duplicate => {
                self.counts.duplicates += 1;
                return;
            }
            Arrival::Late => {
                self.counts.out_of_order += 1;
                0
            }
            Arrival::Next { skipped } => u64::from(if self.replaces { skipped } else { 0 }),
        };
        self.counts.delivered += 1;
        self.counts.replaced += replaced;
        self.sign(now);
        self.latency.record(now.saturating_since(stamp.since));
        if let Some(of) = self.publishers.get_mut(stamp.publisher as usize) {
            of.delivered += 1 + replaced;
        }
        self.touch(stamp.publisher, now);
    }

    /// The gateway has shown that it is at work.
    fn sign(&mut self, now: Instant) {
        self.last = now;
        self.unanswered = None;
    }

    /// A publisher's last message was handled, too.
    pub(super) fn settled(&mut self, now: Instant) {
        self.last = self.last.max(now);
    }

    /// Whether nothing moves any more: what was sent is not answered, or what is due is not sent.
    pub(super) fn is_stuck(&self, now: Instant) -> bool {
        let due = self.due(now).map(|due| if self.rate.is_some() { due } else { self.last });
        let late = due.map(|due| due.max(self.last));
        earliest(self.unanswered, late)
            .is_some_and(|since| now.saturating_since(since) >= self.wait)
    }

    /// Whether the gateway has shown that it takes messages. At QoS 0 without subscribers only time
    /// shows it: what is not taken ends its connection when its header is read.
    pub(super) fn is_accepted(&self, acknowledges: bool) -> bool {
        match (self.fan_out, acknowledges) {
            (1.., _) => self.counts.delivered > 0,
            (0, true) => self.counts.through > 0,
            (0, false) => self.lasted() >= SHOWN,
        }
    }

    /// Gives up what has not come for long; to be called now and then.
    pub(super) fn give_up(&mut self, now: Instant) {
        for index in 0..self.publishers.len() {
            let index = u32::try_from(index).unwrap_or(u32::MAX);
            let open = self.unfinished(index);
            let Some(of) = self.publishers.get_mut(index as usize) else { return };
            if open > 0 && now.saturating_since(of.progress) >= self.patience {
                let sent = u64::from(of.sent) * self.fan_out.max(1);
                let done = if self.fan_out == 0 { of.through.into() } else { of.delivered };
                of.given_up = sent.saturating_sub(done);
                of.progress = now;
                self.queue(index);
            }
        }
    }

    /// Nothing more will be published, and nothing more is expected.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        let acknowledged = self.counts.through + self.counts.refused >= self.counts.sent;
        let all = acknowledged && self.lost() == 0;
        let waited = now.saturating_since(self.last) >= self.patience;
        self.due(now).is_none() && (all || waited)
    }

    /// Deliveries that have not come; without subscribers, messages that nobody acknowledged.
    pub(super) fn lost(&self) -> u64 {
        let done = self.counts.through + self.counts.refused;
        if self.fan_out == 0 {
            return self.counts.sent.saturating_sub(done);
        }
        let Counts { sent, delivered, replaced, .. } = self.counts;
        (sent * self.fan_out).saturating_sub(delivered + replaced)
    }

    /// From the first message to the last sign of one.
    pub(super) fn lasted(&self) -> Duration {
        self.start.map_or(Duration::ZERO, |start| self.last.saturating_since(start))
    }

    /// How far it is, in thousandths of the count or the time.
    pub(super) fn permille(&self, now: Instant) -> u64 {
        let Some(start) = self.start else { return 0 };
        let counted = match self.count {
            u64::MAX | 0 => 0,
            count => self.counts.sent.saturating_mul(1000) / count,
        };
        let whole = self.until.saturating_since(start).as_micros().max(1);
        let timed = now.saturating_since(start).as_micros().saturating_mul(1000) / whole;
        counted.max(u64::try_from(timed).unwrap_or(1000)).min(1000)
    }
}

#[cfg(test)]
mod tests {
    use super::super::plan::Mode;
    use super::*;
    use motegate_mqtt::Version;

    fn plan(mode: Mode, publishers: u32, subscribers: u32) -> Plan {
        let target: crate::client::Target = "mqtt://h".parse().unwrap();
        Plan {
            mode,
            from: target.clone(),
            to: target,
            publishers,
            subscribers,
            rate: None,
            count: None,
            time: None,
            wait: Duration::from_secs(15),
            window: 2,
            payload: 64,
            qos: 0,
            version: Version::V5,
            forwarder: false,
            pid: None,
        }
    }

    fn load(plan: &Plan) -> Load {
        let mut load = Load::new(plan, Duration::from_secs(1));
        (0..plan.publishers).for_each(|index| load.set_alive(index, true));
        load.start(Instant::ZERO, plan.time);
        load
    }

    fn send_all(load: &mut Load, now: Instant) -> Vec<Stamp> {
        let mut sent = Vec::new();
        while let Some(stamp) = load.next(now) {
            sent.push(stamp);
            load.sent(now);
        }
        sent
    }

    #[test]
    fn a_window_closes_and_opens_by_deliveries_to_all() {
        let at = Instant::from_millis;
        let mut load = load(&plan(Mode::Sub, 1, 2));
        let sent = send_all(&mut load, at(0));
        assert_eq!(sent.iter().map(|stamp| stamp.number).collect::<Vec<_>>(), [0, 1]);
        load.delivered(0, sent[0], at(1));
        assert!(load.next(at(1)).is_none());
        load.delivered(1, sent[0], at(2));
        assert_eq!(send_all(&mut load, at(2)).len(), 1);
        load.delivered(1, sent[0], at(3));
        assert_eq!(load.counts.duplicates, 1);
        assert_eq!((load.lost(), load.latency.count()), (4, 2));
    }

    #[test]
    fn a_count_is_shared_in_turn_and_ends() {
        let mut plan = plan(Mode::Pub, 3, 0);
        plan.count = Some(7);
        let mut load = load(&plan);
        let now = Instant::ZERO;
        let mut sent = send_all(&mut load, now);
        let publishers: Vec<_> = sent.iter().map(|stamp| stamp.publisher).collect();
        assert_eq!(publishers, [0, 1, 2, 0, 1, 2]);
        sent.extend({
            load.through(1, now, true, now);
            send_all(&mut load, now)
        });
        assert_eq!(sent.last().unwrap().publisher, 1);
        assert!(!load.is_over(now));
        for stamp in &sent[..6] {
            load.through(stamp.publisher, now, stamp.number == 0, now);
        }
        assert!(load.is_over(now) && load.lost() == 0 && load.permille(now) == 1000);
        assert_eq!((load.counts.through, load.counts.refused), (4, 3));
    }

    #[test]
    fn with_a_rate_latency_counts_from_when_it_was_due() {
        let at = Instant::from_millis;
        let mut plan = plan(Mode::Rtt, 2, 2);
        (plan.rate, plan.time) = (Some(100.0), Some(Duration::from_millis(65)));
        let mut load = load(&plan);
        assert_eq!(send_all(&mut load, at(0)).len(), 1);
        assert_eq!(load.due(at(0)), Some(at(10)));
        let late = send_all(&mut load, at(25));
        assert_eq!(late.iter().map(|stamp| stamp.since).collect::<Vec<_>>(), [at(10), at(20)]);
        load.delivered(1, late[0], at(26));
        assert_eq!(load.latency.max(), 16_000);
        assert!(load.due(at(64)).is_some());
        assert_eq!(load.due(at(65)), None);
    }

    #[test]
    fn a_lost_message_is_given_up_and_counted() {
        let at = Instant::from_millis;
        let mut load = load(&plan(Mode::Rtt, 1, 1));
        let sent = send_all(&mut load, at(0));
        load.give_up(at(999));
        assert!(load.next(at(999)).is_none());
        load.give_up(at(1000));
        assert_eq!(send_all(&mut load, at(1000)).len(), 2);
        load.stop(at(1000));
        load.counts.through = 4;
        assert!(!load.is_over(at(1999)) && load.is_over(at(2000)));
        load.delivered(0, sent[1], at(2000));
        assert_eq!((load.lost(), load.counts.out_of_order), (3, 0));
    }

    #[test]
    fn it_is_stuck_when_nothing_is_answered_or_what_is_due_is_not_sent() {
        let at = Instant::from_millis;
        let mut plan = plan(Mode::Pub, 1, 0);
        (plan.qos, plan.wait) = (1, Duration::from_secs(3));
        let mut silent = load(&plan);
        send_all(&mut silent, at(0));
        assert!(!silent.is_stuck(at(2999)) && silent.is_stuck(at(3000)));
        let mut full = load(&plan);
        full.through(0, at(0), true, at(1000));
        assert!(!full.is_stuck(at(3999)) && full.is_stuck(at(4000)));
        // What is not due yet is no reason.
        plan.rate = Some(0.1);
        let mut slow = load(&plan);
        send_all(&mut slow, at(0));
        slow.through(0, at(0), true, at(1));
        assert!(!slow.is_stuck(at(12_999)) && slow.is_stuck(at(13_000)));
    }

    #[test]
    fn what_is_replaced_is_not_lost() {
        let mut plan = plan(Mode::Rtt, 1, 1);
        plan.to = "coap://h".parse().unwrap();
        let mut load = load(&plan);
        let sent = send_all(&mut load, Instant::ZERO);
        load.delivered(0, sent[1], Instant::ZERO);
        assert_eq!((load.counts.delivered, load.counts.replaced, load.lost()), (1, 1, 0));
        assert_eq!(send_all(&mut load, Instant::ZERO).len(), 2);
    }

    #[test]
    fn fan_in_keeps_publishers_apart() {
        let mut load = load(&plan(Mode::Sub, 3, 1));
        let sent = send_all(&mut load, Instant::ZERO);
        sent.iter().for_each(|stamp| load.delivered(0, *stamp, Instant::ZERO));
        assert_eq!((load.counts.delivered, load.counts.duplicates), (6, 0));
    }
}
