//! [`Stats`]: what happened, in numbers.

use motegate_message::Reason;

/// Counters since the start.
#[derive(Debug, Clone, Default)]
pub struct Stats {
    dropped: Vec<u64>,
}

impl Stats {
    /// Counts one refusal, close or drop.
    pub(crate) fn count(&mut self, reason: Reason) {
        self.dropped.resize(Reason::ALL.len(), 0);
        self.dropped[reason as usize] += 1;
    }

    /// How often something was refused, closed or dropped for this reason.
    #[must_use]
    pub fn dropped(&self, reason: Reason) -> u64 {
        self.dropped.get(reason as usize).copied().unwrap_or(0)
    }
}
