//! [`Random`]: a small seeded generator (SplitMix64) for message ids, tokens and back-off.
//!
//! Not for secrets: it only has to be unpredictable enough that somebody off the path cannot
//! guess a message id (RFC 7252 §4.4) before the seed is known, and repeatable in a simulation.

use core::time::Duration;

#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) const fn new(seed: u64) -> Self {
        Random(seed)
    }

    pub(crate) const fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) const fn next_u16(&mut self) -> u16 {
        let [high, low, ..] = self.next_u64().to_be_bytes();
        u16::from_be_bytes([high, low])
    }

    /// ACK_TIMEOUT times a random factor from 1 to `factor_permille / 1000` (RFC 7252 §4.2).
    pub(crate) fn first_timeout(
        &mut self,
        ack_timeout: Duration,
        factor_permille: u32,
    ) -> Duration {
        let spread = u64::from(factor_permille.saturating_sub(1_000));
        let micros = u64::try_from(ack_timeout.as_micros()).unwrap_or(u64::MAX);
        let extra = micros.saturating_mul(spread) / 1_000;
        let random = if extra == 0 { 0 } else { self.next_u64() % (extra + 1) };
        Duration::from_micros(micros.saturating_add(random))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_timeout_keeps_its_bounds() {
        let mut random = Random::new(7);
        let (mut low, mut high) = (Duration::MAX, Duration::ZERO);
        for _ in 0..10_000 {
            let timeout = random.first_timeout(Duration::from_secs(2), 1_500);
            low = low.min(timeout);
            high = high.max(timeout);
        }
        assert!(low >= Duration::from_secs(2) && low < Duration::from_millis(2_010));
        assert!(high <= Duration::from_secs(3) && high > Duration::from_millis(2_990));
        assert_eq!(random.first_timeout(Duration::from_secs(2), 1_000), Duration::from_secs(2));
        assert_eq!(random.first_timeout(Duration::from_secs(2), 0), Duration::from_secs(2));
    }
}
