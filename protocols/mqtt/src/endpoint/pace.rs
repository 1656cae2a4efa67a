//! What bounds a connection in time: how fast it may publish, and how long it may last. Only
//! connections of which either is asked have one.

use core::time::Duration;

use motegate_timers::{Instant, earliest};

/// A client that was held back for so long without a pause is sent away.
const PATIENCE: Duration = Duration::from_secs(60);
/// How far ahead of its rate a client may be before it is held back.
const AHEAD: Duration = Duration::from_secs(1);

/// Of one connection.
#[derive(Debug)]
pub(super) struct Pace {
    /// When it must end.
    ends: Option<Instant>,
    /// Between two publishes at the highest rate; zero: any rate.
    interval: Duration,
    /// When all publishes so far would have come at the highest rate.
    due: Instant,
    /// Since when it is held back.
    held: Option<Instant>,
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
            held: None,
        })
    }

    /// A publish came; whether the client is held back from here on.
    pub(super) fn publish(&mut self, now: Instant) -> bool {
        if self.interval.is_zero() {
            return false;
        }
        self.due = self.due.max(now) + self.interval;
        let begins = self.held.is_none() && self.due.saturating_since(now) > AHEAD;
        if begins {
            self.held = Some(now);
        }
        begins
    }

    /// Lets a client go on that has waited long enough.
    pub(super) fn refresh(&mut self, now: Instant) {
        if self.due.saturating_since(now) <= AHEAD {
            self.held = None;
        }
    }

    /// Whether it is not read now.
    pub(super) const fn is_held(&self) -> bool {
        self.held.is_some()
    }

    /// Whether it was held back for too long.
    pub(super) fn is_too_fast(&self, now: Instant) -> bool {
        self.held.is_some_and(|since| since + PATIENCE <= now)
    }

    /// Whether it has lasted long enough.
    pub(super) fn is_too_old(&self, now: Instant) -> bool {
        self.ends.is_some_and(|at| at <= now)
    }

    /// When something of it is due.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let held = self.held.map(|since| {
            let goes_on = Instant::ZERO + self.due.saturating_since(Instant::ZERO + AHEAD);
            goes_on.min(since + PATIENCE)
        });
        earliest(self.ends, held)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(ms)
    }

    #[test]
    fn a_second_ahead_is_allowed_and_then_one_waits() {
        let mut pace = Pace::new(at(0), 10, Duration::ZERO).unwrap();
        assert!((0..10).all(|_| !pace.publish(at(0))));
        assert!(pace.publish(at(0)), "the eleventh");
        assert!(!pace.publish(at(0)), "told once");
        assert_eq!(pace.deadline(), Some(at(200)));
        pace.refresh(at(199));
        assert!(pace.is_held());
        pace.refresh(at(200));
        assert!(!pace.is_held());
        assert_eq!(pace.deadline(), None);
    }

    #[test]
    fn who_never_slows_down_is_too_fast() {
        let mut pace = Pace::new(at(0), 1, Duration::ZERO).unwrap();
        (0..200).for_each(|_| {
            pace.publish(at(0));
        });
        assert_eq!(pace.deadline(), Some(at(60_000)));
        assert!(!pace.is_too_fast(at(59_999)) && pace.is_too_fast(at(60_000)));
    }

    #[test]
    fn age_ends_a_connection_and_nothing_costs_nothing() {
        let pace = Pace::new(at(5), 0, Duration::from_secs(1)).unwrap();
        assert_eq!(pace.deadline(), Some(at(1_005)));
        assert!(!pace.is_too_old(at(1_004)) && pace.is_too_old(at(1_005)));
        assert!(Pace::new(at(5), 0, Duration::ZERO).is_none());
    }
}
