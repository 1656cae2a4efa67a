//! [`Backoff`]: when to send again, and when to give up.

use core::time::Duration;

/// A retransmission schedule: a first timeout, a factor a step and a number of repeats.
///
/// CoAP doubles a randomised first timeout (RFC 7252 §4.2); MQTT-SN repeats at a constant
/// Tretry, Nretry times (MQTT-SN 1.2 §6.13).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    next: Duration,
    left: u8,
    doubling: bool,
}

impl Backoff {
    /// `repeats` timeouts of `timeout` each.
    #[must_use]
    pub const fn constant(timeout: Duration, repeats: u8) -> Self {
        Backoff { next: timeout, left: repeats, doubling: false }
    }

    /// `repeats` timeouts, the first of `timeout`, each twice the one before.
    #[must_use]
    pub const fn doubling(timeout: Duration, repeats: u8) -> Self {
        Backoff { next: timeout, left: repeats, doubling: true }
    }

    /// How long to wait for an answer to what was just sent.
    #[must_use]
    pub const fn timeout(&self) -> Duration {
        self.next
    }

    /// Called when that wait was in vain: `true` means send again (and wait
    /// [`timeout`](Self::timeout) once more), `false` means every repeat is used up.
    pub fn retry(&mut self) -> bool {
        if self.left == 0 {
            return false;
        }
        self.left -= 1;
        if self.doubling {
            self.next = self.next.saturating_mul(2);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coap_spans_max_transmit_wait() {
        // RFC 7252 §4.8.2: ACK_TIMEOUT * (2^(MAX_RETRANSMIT + 1) - 1) = 62 s without the factor.
        let mut backoff = Backoff::doubling(Duration::from_secs(2), 4);
        let mut waited = backoff.timeout();
        let mut repeats = 0;
        while backoff.retry() {
            repeats += 1;
            waited += backoff.timeout();
        }
        assert_eq!((repeats, waited), (4, Duration::from_secs(62)));
    }

    #[test]
    fn constant_repeats_n_times() {
        let mut backoff = Backoff::constant(Duration::from_secs(10), 3);
        for _ in 0..3 {
            assert!(backoff.retry());
            assert_eq!(backoff.timeout(), Duration::from_secs(10));
        }
        assert!(!backoff.retry());
    }
}
