//! What bounds a connection in time: how fast it may publish, and how long it may last. Only
//! connections of which either is asked have one.

use core::time::Duration;

use motegate_timers::{Instant, earliest};

/// A client that has sent faster for so long without a pause is sent away.
const PATIENCE: Duration = Duration::from_secs(60);
/// Bytes that may come in that time and be one burst: sockets on both sides hold as much that was sent
/// at once, and what comes out of them later says nothing of how fast its client is now.
const BUFFERED: u32 = 256 * 1024;
/// How far ahead of its rate a client may be before it is held back.
const AHEAD: Duration = Duration::from_secs(1);
/// How far when it goes on: not for each publish anew.
const GOES_ON: Duration = Duration::from_millis(900);

/// Of one connection. Whoever is ahead of its rate is held back: what came is not looked at, and
/// nothing more is read, until its time. How fast a client is shows only where new bytes come: what
/// we have kept ourselves is no fault of its.
#[derive(Debug)]
pub(super) struct Pace {
    /// When it must end.
    ends: Option<Instant>,
    /// Between two publishes at the highest rate; zero: any rate.
    interval: Duration,
    /// When all publishes so far would have come at the highest rate.
    due: Instant,
    /// Since when it has been ahead of its rate without a pause.
    fast: Option<Instant>,
    /// Bytes that have come since.
    came: u32,
    held: bool,
    /// Bytes wait that came before it was held back.
    pub(super) waits: bool,
}

impl Pace {
    /// `rate` in publishes a second, `age` of the connection; zero is no bound.
    pub(super) fn new(now: Instant, rate: u32, age: Duration) -> Option<Self> {
        let interval = Duration::from_secs(1).checked_div(rate).unwrap_or_default();
        let ends = (!age.is_zero()).then(|| now + age);
        (ends.is_some() || !interval.is_zero()).then_some(Pace {
            ends,
            interval,
            due: now,
            fast: None,
            came: 0,
            held: false,
            waits: false,
        })
    }

    /// A publish came; whether the client is held back from here on, for the first time since it
    /// last paused.
    pub(super) fn publish(&mut self, now: Instant) -> bool {
        if self.interval.is_zero() {
            return false;
        }
        if self.due <= now {
            (self.due, self.fast, self.came) = (now, None, 0);
        }
        self.due += self.interval;
        if self.held || self.due.saturating_since(now) <= AHEAD {
            return false;
        }
        self.held = true;
        let first = self.fast.is_none();
        self.fast = self.fast.or(Some(now));
        first
    }

    /// Lets a client go on that has waited long enough.
    pub(super) fn refresh(&mut self, now: Instant) {
        if self.due.saturating_since(now) <= GOES_ON {
            self.held = false;
        }
    }

    /// Whether it is not heard now.
    pub(super) const fn is_held(&self) -> bool {
        self.held
    }

    /// So many bytes came. Whether it has been too fast for too long: they hold it back again, and are
    /// more than a burst that was sent before.
    pub(super) fn is_too_fast(&mut self, now: Instant, bytes: usize) -> bool {
        let Some(since) = self.fast else { return false };
        self.came = self.came.saturating_add(u32::try_from(bytes).unwrap_or(u32::MAX));
        self.held && since + PATIENCE <= now && self.came > BUFFERED
    }

    /// Whether it has lasted long enough.
    pub(super) fn is_too_old(&self, now: Instant) -> bool {
        self.ends.is_some_and(|at| at <= now)
    }

    /// When something of it is due.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let goes_on = || Instant::ZERO + self.due.saturating_since(Instant::ZERO + GOES_ON);
        let held = self.held.then(goes_on);
        earliest(self.ends, held)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    fn at(ms: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(ms)
    }

    #[test]
    fn a_second_ahead_is_allowed_and_then_one_waits() {
        let mut pace = Pace::new(at(0), 10, Duration::ZERO).unwrap();
        assert!((0..10).all(|_| !pace.publish(at(0))));
        assert!(pace.publish(at(0)), "the eleventh");
        assert!(!pace.publish(at(0)), "told once");
        assert_eq!(pace.deadline(), Some(at(300)));
        pace.refresh(at(299));
        assert!(pace.is_held());
        pace.refresh(at(300));
        assert!(!pace.is_held());
        assert_eq!(pace.deadline(), None);
    }

    #[test]
    fn who_never_slows_down_is_too_fast() {
        let mut pace = Pace::new(at(0), 10, Duration::ZERO).unwrap();
        let second = |pace: &mut Pace, s: u64| {
            pace.refresh(at(s * 1000));
            (0..12).for_each(|_| {
                pace.publish(at(s * 1000));
            });
            pace.is_too_fast(at(s * 1000), 6_000)
        };
        let fast: Vec<u64> = (0..100).filter(|s| second(&mut pace, *s)).collect();
        assert_eq!(fast, (60..100).collect::<Vec<_>>());
        // One that pauses for as long as it was ahead begins anew.
        assert!((200..260).all(|s| !second(&mut pace, s)) && second(&mut pace, 260));
    }

    /// What buffers on the way have held is no speed, however long it takes to go through.
    #[test]
    fn a_burst_in_many_pieces_is_no_speed() {
        let mut pace = Pace::new(at(0), 10, Duration::ZERO).unwrap();
        let mut piece = |s: u64| {
            pace.refresh(at(s * 1000));
            (0..12).for_each(|_| {
                pace.publish(at(s * 1000));
            });
            pace.is_too_fast(at(s * 1000), 2_048)
        };
        assert!((0..128).all(|s| !piece(s)) && piece(128));
    }

    #[test]
    fn age_ends_a_connection_and_nothing_costs_nothing() {
        let pace = Pace::new(at(5), 0, Duration::from_secs(1)).unwrap();
        assert_eq!(pace.deadline(), Some(at(1_005)));
        assert!(!pace.is_too_old(at(1_004)) && pace.is_too_old(at(1_005)));
        assert!(Pace::new(at(5), 0, Duration::ZERO).is_none());
    }
}
