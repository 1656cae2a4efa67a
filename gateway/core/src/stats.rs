//! [`Stats`]: what happened, in numbers, and which of it is worth a line in the log.

use std::time::Duration;

use motegate_message::Reason;
use motegate_timers::Instant;

/// Between two notices for the same reason.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// Counters since the start.
#[derive(Debug, Clone)]
pub struct Stats {
    dropped: Vec<u64>,
    told: Vec<Told>,
}

/// What the log knows of one reason.
#[derive(Debug, Clone, Copy, Default)]
struct Told {
    last: Option<Instant>,
    untold: u64,
}

impl Default for Stats {
    fn default() -> Self {
        let reasons = Reason::ALL.len();
        Stats { dropped: vec![0; reasons], told: vec![Told::default(); reasons] }
    }
}

impl Stats {
    /// Counts one refusal, close or drop.
    pub(crate) fn count(&mut self, reason: Reason) {
        self.dropped[reason as usize] += 1;
    }

    /// Whether a refusal or drop is worth a notice: at most one a second for each reason. `Some`
    /// says how many were passed over since the last.
    pub(crate) fn tell(&mut self, now: Instant, reason: Reason) -> Option<u64> {
        let told = &mut self.told[reason as usize];
        if told.last.is_some_and(|last| now.saturating_since(last) < TELL_EVERY) {
            told.untold += 1;
            return None;
        }
        told.last = Some(now);
        Some(core::mem::take(&mut told.untold))
    }

    /// How often something was refused, closed or dropped for this reason.
    #[must_use]
    pub fn dropped(&self, reason: Reason) -> u64 {
        self.dropped[reason as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeats_are_counted_and_told_once_a_second() {
        let mut stats = Stats::default();
        let at = Instant::from_millis;
        let told: Vec<Option<u64>> = [1_000, 1_001, 1_999, 2_000, 2_500, 4_000]
            .into_iter()
            .map(|ms| {
                stats.count(Reason::NoReceiver);
                stats.tell(at(ms), Reason::NoReceiver)
            })
            .collect();
        assert_eq!(told, [Some(0), None, None, Some(2), None, Some(1)]);
        assert_eq!(stats.dropped(Reason::NoReceiver), 6);
        assert_eq!(stats.tell(at(4_001), Reason::QueueFull), Some(0), "reasons are apart");
    }
}
