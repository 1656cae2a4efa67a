//! [`Outage`]: whether the gateway's store fails, as its clients may notice it.

use super::ctx::{Micros, SEC};

/// So long after the store works again an answer from before may come.
const LATE: Micros = 10 * SEC;

/// The store fails, or failed a moment ago.
#[derive(Debug, Default)]
pub struct Outage {
    failing: bool,
    /// When it last began to work again, or crashed: time and tick.
    worked_at: Option<(Micros, u64)>,
    /// Requests that were refused meanwhile.
    pub refusals: u64,
}

impl Outage {
    /// The store fails from now on.
    pub fn begins(&mut self) {
        self.failing = true;
    }

    /// Whether it ever failed.
    #[must_use]
    pub fn was_there(&self) -> bool {
        self.failing || self.worked_at.is_some()
    }

    /// The store works.
    pub fn is_over(&mut self, now: Micros, tick: u64) {
        if std::mem::take(&mut self.failing) {
            self.worked_at = Some((now, tick));
        }
    }

    /// An answer to a request of tick `since` says that the store fails. It may be the repetition of
    /// an older answer (RFC 7252 §4.5).
    ///
    /// # Errors
    /// It does not.
    pub fn check(&mut self, now: Micros, since: u64) -> Result<(), String> {
        self.refusals += 1;
        if self.failing || self.worked_at.is_some_and(|(at, tick)| now < at + LATE || tick >= since)
        {
            return Ok(());
        }
        Err("refused as if the store failed".into())
    }
}
