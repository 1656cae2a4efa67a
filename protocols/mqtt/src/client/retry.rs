//! When to connect again: exponential waits with jitter, so that a thousand clients of a server
//! that restarts do not come back at once.

use core::time::Duration;

use motegate_timers::Instant;

use super::config::Reconnect;

#[derive(Debug)]
pub(super) struct Retry {
    /// Failures in a row.
    failures: u32,
    random: u64,
}

impl Retry {
    pub(super) const fn new(seed: u64) -> Self {
        Retry { failures: 0, random: seed }
    }

    /// The application wants a connection: as if nothing had failed.
    pub(super) const fn reset(&mut self) {
        self.failures = 0;
    }

    /// After a connection that lasted `lasted` (`None`: it came to none): the next attempt.
    pub(super) fn plan(
        &mut self,
        now: Instant,
        plan: &Reconnect,
        lasted: Option<Duration>,
    ) -> Option<Instant> {
        // A server that accepts and throws out must not be hammered.
        if lasted.is_some_and(|lasted| lasted >= plan.max) {
            self.failures = 0;
        }
        if plan.attempts.is_some_and(|attempts| self.failures >= attempts) {
            return None;
        }
        let factor = 1_u32.checked_shl(self.failures).unwrap_or(u32::MAX);
        self.failures = self.failures.saturating_add(1);
        let wait = plan.first.saturating_mul(factor).min(plan.max);
        let micros = u64::try_from(wait.as_micros()).unwrap_or(u64::MAX);
        let off = self.next_random() % (micros / 2 + 1);
        Some(now + Duration::from_micros(micros - off))
    }

    /// splitmix64
    const fn next_random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn waits_double_up_to_the_maximum_with_up_to_a_half_off() {
        let plan = Reconnect::default();
        let waits = |seed| {
            let mut retry = Retry::new(seed);
            let mut next = || retry.plan(Instant::ZERO, &plan, None).unwrap();
            (0..40).map(|_| next().as_micros()).collect::<Vec<_>>()
        };
        let (a, b) = (waits(1), waits(2));
        assert_ne!(a, b, "two clients do not come back in step");
        for (i, wait) in a.iter().enumerate() {
            let full = (1_000_000_u64 << i.min(20)).min(60_000_000);
            assert!((full / 2..=full).contains(wait), "{i}: {wait}");
        }
    }

    #[test]
    fn attempts_are_counted_in_a_row() {
        let plan = Reconnect { attempts: Some(2), ..Reconnect::default() };
        let mut retry = Retry::new(1);
        assert!(retry.plan(Instant::ZERO, &plan, None).is_some());
        assert!(retry.plan(Instant::ZERO, &plan, Some(Duration::from_secs(59))).is_some());
        assert_eq!(retry.plan(Instant::ZERO, &plan, None), None);
        assert!(retry.plan(Instant::ZERO, &plan, Some(plan.max)).is_some());
    }
}
