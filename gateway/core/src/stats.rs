//! [`Stats`]: what happened, in numbers, and which of it is worth a line in the log.

use std::time::Duration;

use motegate_message::{ListenerId, Reason};
use motegate_timers::Instant;

use crate::{Notice, Protocol};

/// How long repeats of a refusal or drop are only counted.
const FOLD: Duration = Duration::from_secs(10);

/// What makes a repeat. Bounded by reasons and limits × listeners.
type Kind = (Option<Reason>, Option<&'static str>, Option<ListenerId>, Option<Protocol>);

/// Counters since the start.
#[derive(Debug, Clone)]
pub struct Stats {
    dropped: Vec<u64>,
    /// When each kind was last told, and how many came since.
    told: Vec<(Kind, Instant, u64)>,
}

impl Default for Stats {
    fn default() -> Self {
        Stats { dropped: vec![0; Reason::ALL.len()], told: Vec::new() }
    }
}

impl Stats {
    /// Counts one refusal, close or drop.
    pub(crate) fn count(&mut self, reason: Reason) {
        self.dropped[reason as usize] += 1;
    }

    /// Whether a refusal or drop is worth a line in the log: the first of its kind is, and one
    /// every ten seconds after that. `Some` says how many were passed over since the last.
    pub(crate) fn tell(&mut self, now: Instant, notice: &Notice) -> Option<u64> {
        let kind = (notice.reason(), notice.limit, notice.listener, notice.protocol);
        let Some((_, last, untold)) = self.told.iter_mut().find(|(known, ..)| *known == kind)
        else {
            self.told.push((kind, now, 0));
            return Some(0);
        };
        if now.saturating_since(*last) < FOLD {
            *untold += 1;
            return None;
        }
        *last = now;
        Some(core::mem::take(untold))
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
    use crate::NoticeKind;

    #[test]
    fn repeats_are_counted_and_told_now_and_then() {
        let mut stats = Stats::default();
        let reason = Reason::Malformed;
        let on = |listener| Notice {
            listener: Some(ListenerId(listener)),
            ..Notice::new(NoticeKind::Dropped(reason))
        };
        let mut tell = |secs, listener| {
            stats.count(reason);
            stats.tell(Instant::from_secs(secs), &on(listener))
        };
        assert_eq!([tell(100, 0), tell(101, 0), tell(109, 0)], [Some(0), None, None]);
        assert_eq!(tell(101, 1), Some(0), "listeners are apart");
        assert_eq!([tell(110, 0), tell(111, 0), tell(150, 0)], [Some(2), None, Some(1)]);
        assert_eq!(stats.dropped(reason), 7);
    }
}
