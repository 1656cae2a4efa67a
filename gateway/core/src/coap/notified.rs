//! [`Notified`]: representations that observers were notified of and have not whole.
//!
//! A notification larger than a message is its first block; the client fetches the rest with GETs
//! (RFC 7959 §3.4), and gets that of the very representation, found by its ETag where the client says
//! one, even if the topic has a newer value meanwhile. One is kept an observation, until the next,
//! for `block_timeout`, and within [`MAX_ENTRIES`] and [`MAX_BYTES`]; the oldest goes first, and its
//! client reads the topic, begins anew, or gets 4.04.

use std::collections::VecDeque;

use motegate_coap::endpoint::{Code, ObservationId, Response};
use motegate_timers::Instant;

use super::value::Shown;

/// Notifications kept at a time.
const MAX_ENTRIES: usize = 256;
/// Bytes of them.
const MAX_BYTES: usize = 4 << 20;

/// The latest large notifications, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Notified {
    entries: VecDeque<Entry>,
    bytes: usize,
}

#[derive(Debug)]
struct Entry {
    observation: ObservationId,
    told: Told,
}

/// What an observation is told.
#[derive(Debug)]
pub(super) struct Told {
    /// How long it is kept.
    pub(super) until: Instant,
    /// When its Max-Age is over, if it says one.
    pub(super) stale: Option<Instant>,
    pub(super) shown: Shown,
}

impl Notified {
    /// Keeps what an observation is told.
    pub(super) fn keep(&mut self, now: Instant, observation: ObservationId, told: Told) {
        self.forget(observation);
        self.bytes += told.shown.payload.len();
        self.entries.push_back(Entry { observation, told });
        let over = |entry: &Entry, all: &Notified| {
            entry.told.until <= now || all.entries.len() > MAX_ENTRIES || all.bytes > MAX_BYTES
        };
        while let Some(oldest) = self.entries.front().filter(|entry| over(entry, self)) {
            self.bytes -= oldest.told.shown.payload.len();
            self.entries.pop_front();
        }
        if self.entries.is_empty() {
            self.entries = VecDeque::new();
        }
    }

    /// The observation has a newer value, or is over.
    pub(super) fn forget(&mut self, observation: ObservationId) {
        let Some(at) = self.entries.iter().position(|entry| entry.observation == observation)
        else {
            return;
        };
        if let Some(gone) = self.entries.remove(at) {
            self.bytes -= gone.told.shown.payload.len();
        }
    }

    /// What the one observation that `is_asked_for` was told last; with `etags` one of those.
    pub(super) fn find(
        &self,
        now: Instant,
        etags: &[Vec<u8>],
        mut is_asked_for: impl FnMut(ObservationId) -> bool,
    ) -> Option<Response> {
        let named = |shown: &Shown| {
            etags.is_empty() || etags.iter().any(|etag| etag[..] == shown.etag.to_be_bytes())
        };
        let mut kept =
            self.entries.iter().rev().filter(|e| e.told.until > now && named(&e.told.shown));
        let Told { shown, stale, .. } = &kept.find(|entry| is_asked_for(entry.observation))?.told;
        Some(Response {
            payload: shown.payload.clone(),
            content_format: Some(shown.format),
            etag: Some(shown.etag),
            max_age: stale.map(|at| at.saturating_since(now)),
            ..Response::new(Code::CONTENT)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Kept for 30 s.
    fn told(at: u64, bytes: usize) -> Told {
        let shown = Shown { payload: vec![0; bytes].into(), format: 0, etag: 1 };
        Told { until: Instant::from_secs(at + 30), stale: None, shown }
    }

    #[test]
    fn what_is_kept_is_bounded_in_number_size_and_time() {
        let at = Instant::from_secs;
        let mut notified = Notified::default();
        for id in 0..1_000 {
            notified.keep(at(1), ObservationId(id), told(1, 1));
        }
        assert_eq!((notified.entries.len(), notified.bytes), (MAX_ENTRIES, MAX_ENTRIES));
        notified.keep(at(2), ObservationId(2_000), told(2, MAX_BYTES - 10));
        assert_eq!((notified.entries.len(), notified.bytes), (11, MAX_BYTES));
        notified.keep(at(2), ObservationId(2_000), told(2, 5));
        assert_eq!((notified.entries.len(), notified.bytes), (11, 15), "one an observation");
        assert!(
            notified.find(at(31), &[], |id| id == ObservationId(999)).is_none(),
            "30 s are over"
        );
        assert!(notified.find(at(31), &[], |id| id == ObservationId(2_000)).is_some());
        notified.keep(at(40), ObservationId(3), told(40, MAX_BYTES + 1));
        assert_eq!((notified.entries.len(), notified.bytes), (0, 0), "no place for that one");
    }
}
