//! [`HalfOpen`]: connections that have not said who they are (CONNECT of MQTT, the first CSM of CoAP),
//! by age: where there are too many, of a listener or in all, the oldest of them gives way.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use motegate_timers::Instant;

use crate::{ConnectionId, ListenerId};

/// A queue for each listener, so that the oldest of one is found without a look at the others'.
#[derive(Debug, Default)]
pub struct HalfOpen {
    queues: Vec<Queue>,
    count: usize,
}

/// Those that have said it meanwhile stay in the queue until they come to its front, or are more
/// than the others.
#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<ConnectionId>,
    count: usize,
}

impl HalfOpen {
    /// One came. `since` says when, of one that still waits.
    pub fn add(
        &mut self,
        listener: ListenerId,
        conn: ConnectionId,
        since: impl Fn(ConnectionId) -> Option<Instant>,
    ) {
        let number = usize::from(listener.0);
        if self.queues.len() <= number {
            self.queues.resize_with(number + 1, Queue::default);
        }
        let Some(queue) = self.queues.get_mut(number) else { return };
        if queue.waiting.len() > 2 * queue.count + SLACK {
            queue.waiting.retain(|conn| since(*conn).is_some());
        }
        queue.waiting.push_back(conn);
        queue.count += 1;
        self.count += 1;
    }

    /// One has said it, or is over.
    pub fn remove(&mut self, listener: ListenerId) {
        let Some(queue) = self.queues.get_mut(usize::from(listener.0)) else { return };
        queue.count -= 1;
        self.count -= 1;
        if queue.count == 0 {
            queue.waiting.clear();
            queue.waiting.shrink_to(SLACK);
        }
    }

    /// How many there are, of a listener or in all.
    #[must_use]
    pub fn len(&self, of: Option<ListenerId>) -> usize {
        let Some(listener) = of else { return self.count };
        self.queues.get(usize::from(listener.0)).map_or(0, |queue| queue.count)
    }

    /// The oldest, of a listener or of all, which stays, and since when it waits.
    pub fn oldest(
        &mut self,
        of: Option<ListenerId>,
        since: impl Fn(ConnectionId) -> Option<Instant>,
    ) -> Option<(Instant, ConnectionId)> {
        let queues = match of {
            Some(listener) => {
                let number = usize::from(listener.0);
                self.queues.get_mut(number..=number)?
            }
            None => self.queues.as_mut_slice(),
        };
        queues.iter_mut().filter_map(|queue| queue.oldest(&since)).min_by_key(|(at, _)| *at)
    }
}

impl Queue {
    fn oldest(
        &mut self,
        since: impl Fn(ConnectionId) -> Option<Instant>,
    ) -> Option<(Instant, ConnectionId)> {
        while let Some(conn) = self.waiting.front().copied() {
            if let Some(at) = since(conn) {
                return Some((at, conn));
            }
            self.waiting.pop_front();
        }
        None
    }
}

/// Places in a queue that are not worth a search.
const SLACK: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn conn(n: u32) -> ConnectionId {
        ConnectionId::new(n, 0)
    }

    #[test]
    fn the_oldest_is_one_that_still_waits_and_the_queue_stays_short() {
        let mut half_open = HalfOpen::default();
        let since = |conn: ConnectionId| {
            (conn.slot() % 100 == 7).then(|| Instant::from_secs(conn.slot() as u64))
        };
        let of = ListenerId(1);
        for n in 0..10_000 {
            half_open.add(of, conn(n), since);
            if since(conn(n)).is_none() {
                half_open.remove(of);
            }
            let queue = &half_open.queues[1];
            assert!(queue.waiting.len() <= 2 * queue.count + SLACK + 1);
        }
        assert_eq!((half_open.len(None), half_open.len(Some(of))), (100, 100));
        assert_eq!(half_open.oldest(None, since), Some((Instant::from_secs(7), conn(7))));
        let later = |conn: ConnectionId| since(conn).filter(|_| conn.slot() > 7);
        assert_eq!(half_open.oldest(Some(of), later), Some((Instant::from_secs(107), conn(107))));
    }

    #[test]
    fn the_oldest_of_all_is_of_any_listener() {
        let mut half_open = HalfOpen::default();
        let since = |conn: ConnectionId| Some(Instant::from_secs(conn.slot() as u64));
        for (listener, n) in [(3, 5), (0, 6), (3, 7)] {
            half_open.add(ListenerId(listener), conn(n), since);
        }
        let mut oldest =
            |of: Option<u16>| half_open.oldest(of.map(ListenerId), since).map(|(_, c)| c.slot());
        assert_eq!([oldest(None), oldest(Some(0)), oldest(Some(3))], [Some(5), Some(6), Some(5)]);
        assert_eq!([oldest(Some(1)), oldest(Some(9))], [None; 2]);
        half_open.remove(ListenerId(3));
        assert_eq!((half_open.len(None), half_open.len(Some(ListenerId(3)))), (2, 1));
    }
}
