//! [`Lockout`]: an address from which too many wrong passwords came is not listened to for a while.
//!
//! Of IPv6 the first 64 bits are an address, for a host has all the others. Bounded: when the table
//! is full, the address with the fewest failures that is not locked out makes place.

use std::net::IpAddr;
use std::time::Duration;

use hashbrown::HashMap;
use motegate_message::ListenerId;
use motegate_timers::Instant;

use crate::admission::network;

/// Addresses remembered at once.
const MAX_ADDRESSES: usize = 4_096;
/// How long an address is not listened to.
pub(crate) const LOCKED: Duration = Duration::from_secs(60);

/// How many failures are too many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FailureRate {
    /// So many lock out; at least 1.
    pub count: u32,
    /// In so much time.
    pub per: Duration,
}

impl Default for FailureRate {
    fn default() -> Self {
        FailureRate { count: 10, per: Duration::from_secs(60) }
    }
}

#[derive(Debug, Clone, Copy)]
struct Failures {
    /// A new count begins then.
    until: Instant,
    count: u32,
    /// Too many came; until then.
    locked_until: Option<Instant>,
}

impl Failures {
    fn is_locked(&self, now: Instant) -> bool {
        self.locked_until.is_some_and(|until| now < until)
    }

    fn is_over(&self, now: Instant) -> bool {
        let counts = self.locked_until.is_none() && now < self.until;
        !counts && !self.is_locked(now)
    }
}

/// An address; `None`: on all listeners together.
type Key = (Option<ListenerId>, IpAddr);

/// Failures by address, in windows that begin with an address's first one. A listener that has a
/// bound of its own counts for itself, too, and locks out of itself alone.
#[derive(Debug, Default)]
pub(crate) struct Lockout {
    by_address: HashMap<Key, Failures>,
}

impl Lockout {
    /// Whether an address is not listened to now on a listener.
    pub(crate) fn is_locked(&self, now: Instant, addr: IpAddr, listener: ListenerId) -> bool {
        let addr = network(addr);
        let is_locked = |of| self.by_address.get(&(of, addr)).is_some_and(|f| f.is_locked(now));
        is_locked(None) || is_locked(Some(listener))
    }

    /// Counts a failure; `own` is what the listener bounds itself. Says whether it was the one too many.
    pub(crate) fn failed(
        &mut self,
        now: Instant,
        addr: IpAddr,
        rate: FailureRate,
        own: Option<(ListenerId, FailureRate)>,
    ) -> bool {
        let addr = network(addr);
        let by_own = own.is_some_and(|(of, rate)| self.count(now, (Some(of), addr), rate));
        self.count(now, (None, addr), rate) || by_own
    }

    fn count(&mut self, now: Instant, key: Key, rate: FailureRate) -> bool {
        if self.by_address.len() >= MAX_ADDRESSES && !self.by_address.contains_key(&key) {
            self.make_place(now);
        }
        let fresh = Failures { until: now + rate.per, count: 0, locked_until: None };
        let failures = self.by_address.entry(key).or_insert(fresh);
        if failures.is_over(now) {
            *failures = fresh;
        }
        failures.count = failures.count.saturating_add(1);
        let locks = failures.count >= rate.count && failures.locked_until.is_none();
        if locks {
            failures.locked_until = Some(now + LOCKED);
        }
        locks
    }

    /// Addresses that are not listened to now.
    pub(crate) fn locked(&self, now: Instant) -> usize {
        self.by_address.values().filter(|failures| failures.is_locked(now)).count()
    }

    fn make_place(&mut self, now: Instant) {
        self.by_address.retain(|_, failures| !failures.is_over(now));
        if self.by_address.len() < MAX_ADDRESSES {
            return;
        }
        let rank = |failures: &Failures| (failures.locked_until.is_some(), failures.count);
        let least = self.by_address.iter().min_by_key(|(_, f)| rank(f)).map(|(key, _)| *key);
        if let Some(key) = least {
            self.by_address.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: FailureRate = FailureRate { count: 3, per: Duration::from_secs(60) };
    const HERE: ListenerId = ListenerId(0);

    fn at(secs: u64) -> Instant {
        Instant::from_secs(1000 + secs)
    }

    fn address(n: u32) -> IpAddr {
        IpAddr::from(n.to_be_bytes())
    }

    #[test]
    fn the_third_failure_in_a_minute_locks_for_a_minute() {
        let mut lockout = Lockout::default();
        let addr = address(1);
        let failed: Vec<bool> =
            [0, 30, 59].iter().map(|s| lockout.failed(at(*s), addr, RATE, None)).collect();
        assert_eq!(failed, [false, false, true]);
        assert!(!lockout.failed(at(60), addr, RATE, None), "one that was under way");
        assert!(lockout.is_locked(at(118), addr, HERE) && !lockout.is_locked(at(119), addr, HERE));
        assert!(!lockout.is_locked(at(60), address(2), HERE));
        assert!(!lockout.failed(at(119), addr, RATE, None), "a new count");
        assert_eq!(lockout.locked(at(119)), 0);
    }

    #[test]
    fn slow_failures_lock_nobody_out() {
        let mut lockout = Lockout::default();
        let locked = (0..20).any(|n| lockout.failed(at(n * 31), address(1), RATE, None));
        assert!(!locked);
    }

    #[test]
    fn a_listener_with_a_lower_bound_locks_out_of_itself() {
        let mut lockout = Lockout::default();
        let (low, addr) = (FailureRate { count: 2, ..RATE }, address(1));
        let mut fail = |s, own| lockout.failed(at(s), addr, RATE, own);
        let own = Some((ListenerId(7), low));
        assert_eq!([fail(0, own), fail(1, own), fail(2, own)], [false, true, true]);
        assert!(
            lockout.is_locked(at(3), addr, ListenerId(7)) && lockout.is_locked(at(3), addr, HERE)
        );
        let mut lockout = Lockout::default();
        let mut fail = |s, own| lockout.failed(at(s), addr, RATE, own);
        assert_eq!([fail(0, own), fail(1, own)], [false, true]);
        assert!(lockout.is_locked(at(2), addr, ListenerId(7)));
        assert!(!lockout.is_locked(at(2), addr, HERE), "the others have not had three");
        assert!(lockout.failed(at(2), addr, RATE, None), "they count together");
    }

    #[test]
    fn a_host_of_ipv6_has_one_count() {
        let mut lockout = Lockout::default();
        let addr = |text: &str| text.parse::<IpAddr>().unwrap();
        for text in ["2001:db8::1", "2001:db8::2", "2001:db8::ffff:3"] {
            lockout.failed(at(0), addr(text), RATE, None);
        }
        assert!(lockout.is_locked(at(1), addr("2001:db8::9"), HERE));
        assert!(!lockout.is_locked(at(1), addr("2001:db8:0:1::9"), HERE));
        assert_eq!(network(addr("::ffff:10.0.0.1")), addr("10.0.0.1"));
    }

    #[test]
    fn a_flood_of_addresses_does_not_free_one_that_is_locked_out() {
        let mut lockout = Lockout::default();
        for _ in 0..3 {
            lockout.failed(at(0), address(0), RATE, None);
        }
        for n in 1..6_000 {
            lockout.failed(at(1), address(n), RATE, None);
        }
        assert_eq!(lockout.by_address.len(), MAX_ADDRESSES);
        assert!(lockout.is_locked(at(2), address(0), HERE));
        lockout.failed(at(200), address(9_999), RATE, None);
        assert_eq!(lockout.by_address.len(), 1);
    }
}
