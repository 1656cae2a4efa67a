//! [`Counters`]: what the store has done, written by its thread, read by whoever asks.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};

/// Durations of syncs that are remembered.
const SYNCS: usize = 256;

/// Since the start of the program, unless said otherwise.
#[derive(Debug)]
pub(crate) struct Counters {
    /// Batches that are stored.
    pub(crate) batches: AtomicU64,
    /// Groups that they were written in.
    pub(crate) groups: AtomicU64,
    /// Records that came in.
    pub(crate) records: AtomicU64,
    /// Bytes of them.
    pub(crate) bytes: AtomicU64,
    /// Parts of queues that were read.
    pub(crate) fetches: AtomicU64,
    /// Writes, syncs and reopenings that failed.
    pub(crate) failures: AtomicU64,
    /// Whether it fails now.
    pub(crate) failing: AtomicBool,
    /// Acknowledged batches that were missing at the start.
    pub(crate) lost: AtomicU64,
    /// Records that could not be read or were not understood.
    pub(crate) damaged: AtomicU64,
    /// The last batch that is stored, over all lives of the store.
    pub(crate) applied: AtomicU64,
    /// Microseconds of the last syncs, at `synced % SYNCS`.
    syncs: [AtomicU32; SYNCS],
    synced: AtomicU64,
}

impl Default for Counters {
    fn default() -> Self {
        Counters {
            batches: AtomicU64::new(0),
            groups: AtomicU64::new(0),
            records: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            fetches: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            failing: AtomicBool::new(false),
            lost: AtomicU64::new(0),
            damaged: AtomicU64::new(0),
            applied: AtomicU64::new(0),
            syncs: std::array::from_fn(|_| AtomicU32::new(0)),
            synced: AtomicU64::new(0),
        }
    }
}

impl Counters {
    /// A sync took so long.
    pub(crate) fn synced(&self, micros: u64) {
        let number = self.synced.fetch_add(1, Relaxed);
        let place = usize::try_from(number % SYNCS as u64).unwrap_or(0);
        self.syncs[place].store(u32::try_from(micros).unwrap_or(u32::MAX), Relaxed);
    }

    /// Median and 99th percentile of the last syncs, in microseconds.
    pub(crate) fn sync_micros(&self) -> Option<(u32, u32)> {
        let known = usize::try_from(self.synced.load(Relaxed)).unwrap_or(SYNCS).min(SYNCS);
        let mut times: Vec<u32> =
            self.syncs[..known].iter().map(|time| time.load(Relaxed)).collect();
        times.sort_unstable();
        let at =
            |share: usize| times.get((times.len() * share / 100).min(known.max(1) - 1)).copied();
        at(50).zip(at(99))
    }
}

/// Adds to a counter that one thread writes.
pub(crate) fn add(counter: &AtomicU64, amount: u64) {
    counter.fetch_add(amount, Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_the_last_syncs() {
        let counters = Counters::default();
        assert_eq!(counters.sync_micros(), None);
        counters.synced(7);
        assert_eq!(counters.sync_micros(), Some((7, 7)));
        for micros in 0..2_560 {
            counters.synced(micros);
        }
        assert_eq!(counters.sync_micros(), Some((2_432, 2_557)));
    }
}
