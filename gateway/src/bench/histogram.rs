//! [`Histogram`]: times in microseconds, in log-linear buckets.
//!
//! Below 64 µs each microsecond has its bucket, above it 32 buckets share each doubling: a value
//! read back is at most 3 % too high. Minimum, maximum and mean are exact. 8 kB whatever is
//! recorded.

use std::time::Duration;

/// Buckets a doubling is shared by, from `2 * SHARE` on.
const SHARE: u64 = 32;
/// Doublings above the exact part: up to 2^37 µs, a day and a half.
const DOUBLINGS: u64 = 32;
const BUCKETS: u64 = SHARE * (DOUBLINGS + 1);

/// Recorded times.
#[derive(Debug, Clone)]
pub(super) struct Histogram {
    buckets: Box<[u64]>,
    count: u64,
    sum: u64,
    max: u64,
}

impl Histogram {
    pub(super) fn new() -> Self {
        let buckets = std::iter::repeat_n(0, index(u64::MAX) + 1).collect();
        Histogram { buckets, count: 0, sum: 0, max: 0 }
    }

    pub(super) fn record(&mut self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        if let Some(bucket) = self.buckets.get_mut(index(micros)) {
            *bucket += 1;
        }
        self.count += 1;
        self.sum = self.sum.saturating_add(micros);
        self.max = self.max.max(micros);
    }

    pub(super) const fn count(&self) -> u64 {
        self.count
    }

    /// In microseconds.
    pub(super) const fn max(&self) -> u64 {
        self.max
    }

    /// In microseconds; 0 when nothing was recorded.
    pub(super) fn mean(&self) -> u64 {
        self.sum.checked_div(self.count).unwrap_or(0)
    }

    /// The time, in microseconds, that `permille` of all stay within: the upper edge of its bucket.
    pub(super) fn quantile(&self, permille: u64) -> u64 {
        let rank = (self.count * permille).div_ceil(1000).max(1);
        let mut below = 0;
        for (bucket, upper) in self.buckets.iter().zip((0..).map(upper)) {
            below += bucket;
            if below >= rank {
                return upper.min(self.max);
            }
        }
        self.max
    }
}

fn index(micros: u64) -> usize {
    let doubling = u64::from(micros.max(1).ilog2()).saturating_sub(u64::from(SHARE.ilog2()));
    let bucket = doubling * SHARE + (micros >> doubling);
    usize::try_from(bucket.min(BUCKETS - 1)).unwrap_or(0)
}

/// The largest value of a bucket.
fn upper(bucket: u64) -> u64 {
    let doubling = (bucket / SHARE).saturating_sub(1);
    ((bucket - doubling * SHARE + 1) << doubling) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_join_without_gaps_and_are_narrow() {
        for bucket in 1..BUCKETS - 1 {
            let (lowest, highest) = (upper(bucket - 1) + 1, upper(bucket));
            assert_eq!(index(lowest) as u64, bucket, "{lowest}");
            assert_eq!(index(highest) as u64, bucket, "{highest}");
            assert!((highest - lowest) * 32 <= lowest, "{lowest}..={highest}");
        }
        assert_eq!(index(u64::MAX) as u64, BUCKETS - 1);
    }

    #[test]
    fn quantiles_are_those_of_a_sorted_list() {
        let mut histogram = Histogram::new();
        assert_eq!((histogram.quantile(500), histogram.mean()), (0, 0));
        for micros in (1..=10_000_u64).rev() {
            histogram.record(Duration::from_micros(micros));
        }
        for (permille, exact) in [(1, 10), (500, 5000), (990, 9900), (999, 9990)] {
            let read = histogram.quantile(permille);
            assert!((exact..=exact + exact / 32).contains(&read), "{permille}: {read}");
        }
        assert_eq!((histogram.quantile(1000), histogram.max()), (10_000, 10_000));
        assert_eq!((histogram.count(), histogram.mean()), (10_000, 5000));
    }
}
