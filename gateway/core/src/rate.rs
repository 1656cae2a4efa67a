//! [`RateLimit`]: so many events in so much time for each source address.

use std::net::IpAddr;
use std::time::Duration;

use hashbrown::HashMap;
use motegate_timers::Instant;

/// Addresses remembered at once; a flood from more of them is refused, not remembered.
const MAX_ADDRESSES: usize = 4_096;

/// Counts in windows that start with an address's first event.
#[derive(Debug, Default)]
pub(crate) struct RateLimit {
    windows: HashMap<IpAddr, (Instant, u32)>,
}

impl RateLimit {
    /// Whether one more event from `source` is within `count` in `per`.
    pub(crate) fn admits(
        &mut self,
        now: Instant,
        source: IpAddr,
        count: u32,
        per: Duration,
    ) -> bool {
        if self.windows.len() >= MAX_ADDRESSES && !self.windows.contains_key(&source) {
            self.windows.retain(|_, (start, _)| now.saturating_since(*start) < per);
            if self.windows.len() >= MAX_ADDRESSES {
                return false;
            }
        }
        let (start, seen) = self.windows.entry(source).or_insert((now, 0));
        if now.saturating_since(*start) >= per {
            (*start, *seen) = (now, 0);
        }
        *seen = seen.saturating_add(1);
        *seen <= count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_address_has_its_own_window() {
        let mut limit = RateLimit::default();
        let (a, b): (IpAddr, IpAddr) = ([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
        let second = Duration::from_secs(1);
        let admits: Vec<bool> =
            (0..4).map(|_| limit.admits(Instant::from_secs(1), a, 3, second)).collect();
        assert_eq!(admits, [true, true, true, false]);
        assert!(limit.admits(Instant::from_secs(1), b, 3, second));
        assert!(limit.admits(Instant::from_secs(2), a, 3, second));
    }

    #[test]
    fn a_flood_of_addresses_is_refused_and_forgotten() {
        let mut limit = RateLimit::default();
        let second = Duration::from_secs(1);
        let address = |n: u32| IpAddr::from(n.to_be_bytes());
        let refused = (0..5_000)
            .filter(|n| !limit.admits(Instant::from_secs(1), address(*n), 1, second))
            .count();
        assert_eq!(refused, 5_000 - MAX_ADDRESSES);
        assert!(limit.admits(Instant::from_secs(3), address(9_999), 1, second));
        assert_eq!(limit.windows.len(), 1);
    }
}
