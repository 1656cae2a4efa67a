//! [`Backpressure`]: how much has been written by clients and is not yet on disk.
//!
//! Past the bound (`max_uncommitted_bytes`) MQTT publishers are no longer read, and MQTT-SN and
//! CoAP publishes are refused as overload; below half of it reading goes on.

use std::collections::VecDeque;

use motegate_message::{ConnectionId, Record, Seq};

/// Bytes between "written by a client" and "committed", and who waits for them.
#[derive(Debug)]
pub(crate) struct Backpressure {
    bound: usize,
    waiting: usize,
    batches: VecDeque<(Seq, usize)>,
    paused: Vec<ConnectionId>,
    paused_so_far: u64,
}

impl Backpressure {
    pub(crate) fn new(bound: usize) -> Self {
        Backpressure {
            bound,
            waiting: 0,
            batches: VecDeque::new(),
            paused: Vec::new(),
            paused_so_far: 0,
        }
    }

    /// Whether publishers must be held back.
    pub(crate) fn is_over(&self) -> bool {
        self.waiting > self.bound
    }

    /// Bytes that wait for the store.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting
    }

    /// How often a connection was not read because of them.
    pub(crate) fn paused_so_far(&self) -> u64 {
        self.paused_so_far
    }

    /// Notes that a connection is not read any more until the store has caught up.
    pub(crate) fn pause(&mut self, conn: ConnectionId) {
        self.paused.push(conn);
        self.paused_so_far += 1;
    }

    /// A batch goes to the store.
    pub(crate) fn written(&mut self, seq: Seq, batch: &[Record]) {
        let bytes = batch.iter().map(|r| r.key.len() + r.value.as_ref().map_or(0, Vec::len)).sum();
        self.waiting += bytes;
        self.batches.push_back((seq, bytes));
    }

    /// The store has caught up to `seq`: the connections that may be read again.
    pub(crate) fn committed(&mut self, seq: Seq) -> Vec<ConnectionId> {
        while let Some((at, bytes)) = self.batches.front().copied() {
            if at > seq {
                break;
            }
            self.waiting -= bytes;
            self.batches.pop_front();
        }
        if self.waiting > self.bound / 2 {
            return Vec::new();
        }
        core::mem::take(&mut self.paused)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(bytes: usize) -> Vec<Record> {
        vec![Record { key: vec![0; bytes], value: None }]
    }

    #[test]
    fn reading_stops_past_the_bound_and_goes_on_below_half() {
        let mut pressure = Backpressure::new(100);
        let conn = ConnectionId::new(1, 1);
        pressure.written(Seq(1), &batch(60));
        assert!(!pressure.is_over());
        pressure.written(Seq(2), &batch(60));
        assert!(pressure.is_over());
        pressure.pause(conn);
        assert!(pressure.committed(Seq(1)).is_empty(), "60 of 100 still wait");
        assert!(!pressure.is_over());
        assert_eq!(pressure.committed(Seq(2)), [conn]);
        assert!(pressure.committed(Seq(2)).is_empty());
    }
}
