//! The one place of the program that reads a clock.
//!
//! The worker stamps a turn once and hands the same `now` and `wall` to everything the turn does,
//! so that the core stays a function of its inputs.

use motegate_message::Wall;
use motegate_timers::Instant;
use std::time::{Duration, UNIX_EPOCH};

/// A monotonic clock that counts from its own start, and the wall clock beside it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    origin: std::time::Instant,
}

impl Clock {
    /// A clock whose `Instant::ZERO` is now.
    #[allow(clippy::disallowed_methods, reason = "this file is the program's source of time")]
    pub(crate) fn start() -> Self {
        Clock { origin: std::time::Instant::now() }
    }

    /// Monotonic time since the start.
    #[allow(clippy::disallowed_methods, reason = "this file is the program's source of time")]
    pub(crate) fn now(&self) -> Instant {
        let micros = std::time::Instant::now().duration_since(self.origin).as_micros();
        Instant::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
    }

    /// The wall clock; a machine whose clock lies before 1970 is at its beginning.
    #[allow(clippy::disallowed_methods, reason = "this file is the program's source of time")]
    pub(crate) fn wall() -> Wall {
        let since = std::time::SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Wall::from_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    /// The same point for a timer of the runtime. Deadlines further away than a day are cut: the
    /// worker looks again then.
    pub(crate) fn to_std(self, at: Instant) -> std::time::Instant {
        let latest = self.now() + Duration::from_secs(86_400);
        self.origin + at.min(latest).saturating_since(Instant::ZERO)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_goes_forward_from_zero() {
        let clock = Clock::start();
        let first = clock.now();
        assert!(first < Instant::from_secs(60));
        assert!(clock.now() >= first);
        assert!(Clock::wall() > Wall::from_millis(1_700_000_000_000));
    }

    #[test]
    fn far_deadlines_are_cut() {
        let clock = Clock::start();
        let a_day = clock.to_std(Instant::FAR_FUTURE).duration_since(clock.origin);
        assert!(a_day >= Duration::from_secs(86_400) && a_day < Duration::from_secs(86_460));
    }
}
