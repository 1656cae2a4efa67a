//! Connections that have not said CONNECT, by age: where there are too many, the oldest gives way.

use alloc::collections::VecDeque;

use motegate_message::ConnectionId;

/// Those that have said it meanwhile stay in the queue until they come to its front, or are more
/// than the others.
#[derive(Debug, Default)]
pub(super) struct HalfOpen {
    queue: VecDeque<ConnectionId>,
    count: usize,
}

impl HalfOpen {
    /// One came.
    pub(super) fn add(&mut self, conn: ConnectionId, is_fresh: impl Fn(ConnectionId) -> bool) {
        if self.queue.len() > 2 * self.count + SLACK {
            self.queue.retain(|conn| is_fresh(*conn));
        }
        self.queue.push_back(conn);
        self.count += 1;
    }

    /// One has said CONNECT, or is over.
    pub(super) fn remove(&mut self) {
        self.count -= 1;
        if self.count == 0 {
            self.queue.clear();
            self.queue.shrink_to(SLACK);
        }
    }

    /// How many there are.
    pub(super) const fn len(&self) -> usize {
        self.count
    }

    /// The oldest, which stays.
    pub(super) fn first(&self, is_fresh: impl Fn(ConnectionId) -> bool) -> Option<ConnectionId> {
        self.queue.iter().copied().find(|conn| is_fresh(*conn))
    }

    /// Takes the oldest.
    pub(super) fn oldest(
        &mut self,
        is_fresh: impl Fn(ConnectionId) -> bool,
    ) -> Option<ConnectionId> {
        while let Some(conn) = self.queue.pop_front() {
            if is_fresh(conn) {
                return Some(conn);
            }
        }
        None
    }
}

/// Places in the queue that are not worth a search.
const SLACK: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_is_one_that_still_waits_and_the_queue_stays_short() {
        let mut half_open = HalfOpen::default();
        let conn = |n| ConnectionId::new(n, 0);
        let fresh = |conn: ConnectionId| conn.slot() % 100 == 7;
        for n in 0..10_000 {
            half_open.add(conn(n), fresh);
            if !fresh(conn(n)) {
                half_open.remove();
            }
            assert!(half_open.queue.len() <= 2 * half_open.len() + SLACK + 1);
        }
        assert_eq!(half_open.len(), 100);
        assert_eq!(half_open.first(fresh), Some(conn(7)));
        assert_eq!(half_open.oldest(fresh), Some(conn(7)));
        assert_eq!(half_open.oldest(fresh), Some(conn(107)));
    }
}
