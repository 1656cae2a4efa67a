//! [`MessageIds`]: the message ids of what goes to one peer (RFC 7252 §4.4).
//!
//! They begin where nobody can guess and count up. None comes twice within EXCHANGE_LIFETIME: a peer
//! would take the second message for a copy of the first and drop it. So no more than 65,536 are taken
//! in that time, [`BURST`] of them at once and the rest evenly; whoever has something that can wait asks
//! [`MessageIds::ready_at`] first. A response to a non-confirmable request does not wait: its peer has
//! used as many ids in the same time.

use core::time::Duration;

use motegate_timers::Instant;

/// Ids that may follow one another without a pause.
const BURST: u32 = 16_384;
/// Time is counted in ticks of 1.024 ms, which come round after 50 days.
const TICK: u32 = 10;
/// One id in so many ticks for good: with a burst before it, 65,536 ids last longer than
/// EXCHANGE_LIFETIME.
const INTERVAL: u32 = 5;
/// How many ticks the even rate may be run ahead of.
const AHEAD: u32 = INTERVAL * (BURST - 1);

/// Four bytes for when the next id would be taken at an even rate: there is one for each peer.
#[derive(Debug)]
pub(super) struct MessageIds {
    even: u32,
    next: u16,
}

#[allow(clippy::cast_possible_truncation)] // it comes round
const fn ticks(now: Instant) -> u32 {
    (now.as_micros() >> TICK) as u32
}

impl MessageIds {
    pub(super) const fn beginning_with(next: u16) -> MessageIds {
        MessageIds { even: 0, next }
    }

    /// Ticks from `now` to `even`; more than are ever run ahead are of another round.
    fn ahead(&self, now: Instant) -> u32 {
        let ahead = self.even.wrapping_sub(ticks(now));
        if ahead > AHEAD + INTERVAL { 0 } else { ahead }
    }

    /// From when on the next id is one that has not been used for EXCHANGE_LIFETIME.
    pub(super) fn ready_at(&self, now: Instant) -> Option<Instant> {
        let wait = self.ahead(now).saturating_sub(AHEAD);
        let wait = Duration::from_micros(u64::from(wait) << TICK);
        (!wait.is_zero()).then(|| now + wait)
    }

    /// The next id.
    pub(super) fn take(&mut self, now: Instant) -> u16 {
        let id = self.next;
        self.next = id.wrapping_add(1);
        // What could not wait is no debt without end for what can.
        self.even = ticks(now).wrapping_add(self.ahead(now).min(AHEAD) + INTERVAL);
        id
    }
}

#[cfg(test)]
mod tests {
    use super::super::peers::EXCHANGE_LIFETIME;
    use super::*;
    use alloc::collections::VecDeque;

    /// At any rate, also one that changes, an id is not taken again before its time.
    #[test]
    fn no_id_comes_twice_within_exchange_lifetime() {
        for pauses in
            [[1, 1, 1], [4_000, 4_000, 4_000], [1, 3_000_000, 10], [200_000_000, 1, 5_000]]
        {
            let mut ids = MessageIds::beginning_with(65_000);
            let mut taken: VecDeque<Instant> = VecDeque::new();
            let mut now = Instant::from_micros(5);
            for n in 0..300_000_usize {
                now = ids.ready_at(now).unwrap_or(now);
                assert_eq!(ids.ready_at(now), None);
                let id = ids.take(now);
                assert_eq!(usize::from(id), (65_000 + n) % 65_536);
                taken.push_back(now);
                if taken.len() > 65_536 {
                    let before = taken.pop_front().unwrap();
                    assert!(now.saturating_since(before) >= EXCHANGE_LIFETIME, "{pauses:?} {n}");
                }
                let pause = if n % 20_000 == 0 { pauses[n / 20_000 % 3] } else { pauses[2].min(3) };
                now += Duration::from_micros(pause);
            }
        }
    }

    /// Nearly all of them are used: a peer is told 195 things a second for good.
    #[test]
    fn the_rate_is_what_the_ids_allow() {
        let mut ids = MessageIds::beginning_with(0);
        let mut now = Instant::from_micros(5);
        for _ in 0..BURST {
            assert_eq!(ids.ready_at(now), None);
            ids.take(now);
        }
        let begun = now;
        for _ in 0..49_000 {
            now = ids.ready_at(now).expect("an even rate");
            ids.take(now);
        }
        let took = now.saturating_since(begun);
        assert!((247..253).contains(&took.as_secs()), "{took:?}");
        now += EXCHANGE_LIFETIME;
        for _ in 0..BURST {
            assert_eq!(ids.ready_at(now), None, "the burst is there again");
            ids.take(now);
        }
    }

    /// What does not ask does not keep away for ever who does.
    #[test]
    fn answers_that_cannot_wait_leave_no_debt() {
        let mut ids = MessageIds::beginning_with(0);
        let now = Instant::from_micros(5);
        for _ in 0..1_000_000 {
            ids.take(now);
        }
        let ready = ids.ready_at(now).unwrap();
        assert!(ready.saturating_since(now) < Duration::from_millis(6));
    }
}
