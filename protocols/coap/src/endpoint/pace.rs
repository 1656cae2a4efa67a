//! The pace of notifications: an update that thousands of observers wait for leaves in portions, so
//! that their acknowledgements, which come as fast, find room in the socket's buffer and are read in
//! between. RFC 7641 §4.5.1 wants a server of many observers not to burst; §1.3 lets it: an observer
//! that waits gets the newest value.

use alloc::collections::VecDeque;
use core::time::Duration;

use motegate_timers::Instant;

use crate::slab::Key;

/// So many notifications leave in one [`INTERVAL`]: fewer than the datagrams that a socket's usual
/// buffer holds (a Linux system's 212,992 bytes hold 277 small ones).
const PORTION: u32 = 128;
const INTERVAL: Duration = Duration::from_millis(1);

/// Who waits for the next portion, and what is left of the present one.
#[derive(Debug, Default)]
pub(super) struct Pace {
    since: Instant,
    sent: u32,
    waiting: VecDeque<Key>,
}

impl Pace {
    /// Whether a notification may leave now; those that wait are first.
    pub(super) fn admits(&mut self, now: Instant) -> bool {
        self.waiting.is_empty() && self.has_room(now)
    }

    fn has_room(&mut self, now: Instant) -> bool {
        if now >= self.since + INTERVAL {
            (self.since, self.sent) = (now, 0);
        }
        let room = self.sent < PORTION;
        self.sent += u32::from(room);
        room
    }

    /// This observation's notification waits for its portion.
    pub(super) fn wait(&mut self, observation: Key) {
        self.waiting.push_back(observation);
    }

    /// The next that may leave now.
    pub(super) fn next(&mut self, now: Instant) -> Option<Key> {
        if self.waiting.is_empty() || !self.has_room(now) {
            return None;
        }
        let next = self.waiting.pop_front();
        if self.waiting.is_empty() {
            self.waiting = VecDeque::new(); // thousands waited, perhaps for once
        }
        next
    }

    /// When the next portion is due.
    pub(super) fn deadline(&self) -> Option<Instant> {
        (!self.waiting.is_empty()).then(|| self.since + INTERVAL)
    }
}
