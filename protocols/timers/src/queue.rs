//! [`TimerQueue`]: deadlines for a million owners, each re-armed far more often than it fires.
//!
//! A keep-alive deadline moves at every packet and fires perhaps once a day, so moving a deadline
//! *later* costs one store in its owner ([`Timer`]) and leaves the heap alone; the heap entry that
//! surfaces too early is pushed back then. Only an *earlier* deadline is a heap operation.
//! An owner that goes away need not say so: its entry surfaces once and is dropped.

use alloc::collections::BinaryHeap;
use core::cmp::Reverse;

use crate::Instant;

/// An owner's side of one deadline: 16 bytes that live beside what they time.
#[derive(Debug, Clone, Copy)]
pub struct Timer {
    deadline: Instant,
    /// Where the heap holds an entry for this timer; `FAR_FUTURE` when it holds none.
    queued: Instant,
}

impl Default for Timer {
    fn default() -> Self {
        Timer { deadline: Instant::FAR_FUTURE, queued: Instant::FAR_FUTURE }
    }
}

impl Timer {
    /// The deadline, unless cleared.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        (self.deadline != Instant::FAR_FUTURE).then_some(self.deadline)
    }

    /// Whether the queue holds no entry for it: its owner may forget it.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.queued == Instant::FAR_FUTURE
    }

    /// Forgets the deadline; the heap entry, if any, dies when it surfaces.
    pub fn clear(&mut self) {
        self.deadline = Instant::FAR_FUTURE;
    }
}

/// Deadlines by key. `K` names an owner, and should change when the owner does (an index with a
/// generation), so that a stale entry finds nobody.
///
/// ```
/// use core::time::Duration;
/// use motegate_timers::{Instant, Timer, TimerQueue};
///
/// let mut queue = TimerQueue::new();
/// let mut timer = Timer::default();
/// queue.set(&mut timer, 7_u32, Instant::from_secs(10));
/// queue.set(&mut timer, 7_u32, Instant::from_secs(20)); // later: no heap operation
/// assert_eq!(queue.next_deadline(), Some(Instant::from_secs(10))); // a lower bound
/// let key = queue.pop(Instant::from_secs(10)).unwrap();
/// assert!(!queue.fires(&mut timer, key, Instant::from_secs(10))); // moved: pushed back
/// let key = queue.pop(Instant::from_secs(20)).unwrap();
/// assert!(queue.fires(&mut timer, key, Instant::from_secs(20)));
/// assert_eq!(queue.pop(Instant::from_secs(99)), None);
/// ```
#[derive(Debug)]
pub struct TimerQueue<K> {
    heap: BinaryHeap<Reverse<(Instant, K)>>,
}

impl<K: Ord> Default for TimerQueue<K> {
    fn default() -> Self {
        TimerQueue { heap: BinaryHeap::new() }
    }
}

impl<K: Ord + Copy> TimerQueue<K> {
    /// An empty queue; allocates nothing until a deadline is set.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets or moves the deadline of the owner `key`.
    pub fn set(&mut self, timer: &mut Timer, key: K, deadline: Instant) {
        timer.deadline = deadline;
        if deadline < timer.queued {
            timer.queued = deadline;
            self.heap.push(Reverse((deadline, key)));
        }
    }

    /// The time at which [`pop`](Self::pop) should be called next: never later than the earliest
    /// deadline, possibly earlier (a spurious wake-up is harmless).
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }

    /// The next owner whose entry is due at `now`. The caller finds the owner's [`Timer`] and asks
    /// [`fires`](Self::fires); an owner that is gone is simply skipped.
    pub fn pop(&mut self, now: Instant) -> Option<K> {
        if self.next_deadline()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse((_, key))| key)
    }

    /// Whether the owner whose entry was just popped is really due. If its deadline has moved
    /// later the entry is pushed back; if it is due the timer is cleared.
    pub fn fires(&mut self, timer: &mut Timer, key: K, now: Instant) -> bool {
        // An entry superseded by an earlier one surfaces later; the owner may hold a newer one.
        if timer.queued <= now {
            timer.queued = Instant::FAR_FUTURE;
        }
        if timer.deadline <= now {
            timer.clear();
            return true;
        }
        if timer.deadline < timer.queued {
            timer.queued = timer.deadline;
            self.heap.push(Reverse((timer.deadline, key)));
        }
        false
    }

    /// Entries held, stale ones included (for tests and memory figures).
    #[must_use]
    pub fn len(&self) -> usize {
        self.heap.len()
    }

    /// Whether no entry is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }
}

#[cfg(test)]
#[allow(clippy::cast_possible_truncation)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    fn drain(queue: &mut TimerQueue<u32>, timers: &mut [Timer], now: Instant) -> Vec<u32> {
        let mut fired = Vec::new();
        while let Some(key) = queue.pop(now) {
            if queue.fires(&mut timers[key as usize], key, now) {
                fired.push(key);
            }
        }
        fired
    }

    #[test]
    fn re_arming_later_adds_no_entry_and_still_fires() {
        let mut queue = TimerQueue::new();
        let mut timers = [Timer::default()];
        for sec in 1..1_000 {
            queue.set(&mut timers[0], 0, Instant::from_secs(sec));
        }
        assert_eq!(queue.len(), 1);
        assert!(drain(&mut queue, &mut timers, Instant::from_secs(998)).is_empty());
        assert_eq!(drain(&mut queue, &mut timers, Instant::from_secs(999)), [0]);
        assert!(queue.is_empty());
    }

    #[test]
    fn earlier_deadlines_fire_in_time_and_once() {
        let mut queue = TimerQueue::new();
        let mut timers = [Timer::default(); 2];
        queue.set(&mut timers[0], 0, Instant::from_secs(10));
        queue.set(&mut timers[0], 0, Instant::from_secs(5));
        queue.set(&mut timers[1], 1, Instant::from_secs(7));
        assert_eq!(drain(&mut queue, &mut timers, Instant::from_secs(5)), [0]);
        assert_eq!(drain(&mut queue, &mut timers, Instant::from_secs(20)), [1]);
        assert!(queue.is_empty());
    }

    #[test]
    fn a_cleared_timer_is_silent_and_can_be_set_again() {
        let mut queue = TimerQueue::new();
        let mut timers = [Timer::default()];
        queue.set(&mut timers[0], 0, Instant::from_secs(5));
        timers[0].clear();
        assert_eq!(timers[0].deadline(), None);
        assert!(drain(&mut queue, &mut timers, Instant::from_secs(6)).is_empty());
        queue.set(&mut timers[0], 0, Instant::from_secs(8));
        assert_eq!(drain(&mut queue, &mut timers, Instant::from_secs(8)), [0]);
    }

    /// A reference that keeps every deadline in a map agrees on who fires when.
    #[test]
    fn agrees_with_a_naive_model() {
        let mut queue = TimerQueue::new();
        let mut timers = [Timer::default(); 20];
        let mut model = [None; 20];
        let mut seed = 0x9e37_79b9_u64;
        let mut now = Instant::ZERO;
        for _ in 0..20_000 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let key = (seed >> 33) as u32 % 20;
            match (seed >> 40) % 8 {
                0 => {
                    timers[key as usize].clear();
                    model[key as usize] = None;
                }
                1 => {
                    now += core::time::Duration::from_millis((seed >> 50) % 100);
                    let mut fired = drain(&mut queue, &mut timers, now);
                    fired.sort_unstable();
                    let mut expected = Vec::new();
                    for (key, slot) in model.iter_mut().enumerate() {
                        if slot.is_some_and(|at| at <= now) {
                            *slot = None;
                            expected.push(key as u32);
                        }
                    }
                    assert_eq!(fired, expected);
                }
                _ => {
                    let at = now + core::time::Duration::from_millis((seed >> 45) % 500);
                    queue.set(&mut timers[key as usize], key, at);
                    model[key as usize] = Some(at);
                }
            }
        }
    }
}
