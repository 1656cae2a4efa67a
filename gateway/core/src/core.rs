//! [`Core`]: the three endpoints, the mapping and the broker, composed by value.

use std::sync::Arc;

use motegate_mapping::Table;
use motegate_message::{ConnectionId, DatagramQueue, Wall};
use motegate_timers::Instant;

use crate::{Config, Input, Output, Stats};

/// One whole gateway.
#[derive(Debug)]
pub struct Core {}

#[allow(unused_variables)]
impl Core {
    /// A gateway with nothing connected. `seed` feeds everything random.
    pub fn new(config: Config, table: Arc<Table>, seed: u64) -> Self {
        todo!()
    }
    /// Rebuilds what a journal holds, before anything else is handled: every live key with its
    /// value, in any order. Returns how many records were damaged.
    pub fn restore<'a>(
        &mut self,
        now: Instant,
        wall: Wall,
        records: impl Iterator<Item = (&'a [u8], &'a [u8])>,
    ) -> usize {
        0
    }
    /// One mutation; then drain `poll_output` and `datagrams`.
    pub fn handle(&mut self, now: Instant, wall: Wall, input: Input<'_>) {}
    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        None
    }
    /// Datagrams to send, each queue to be cleared by the caller: MQTT-SN, CoAP.
    pub fn datagrams(&mut self) -> [&mut DatagramQueue; 2] {
        todo!()
    }
    /// Bytes to write to a connection.
    pub fn outbox(&self, conn: ConnectionId) -> &[u8] {
        &[]
    }
    /// When `Input::Timeout` is wanted.
    pub fn poll_timeout(&self) -> Option<Instant> {
        None
    }
    /// Counters.
    pub fn stats(&self) -> &Stats {
        todo!()
    }
}
