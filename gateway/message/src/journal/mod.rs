//! The journal's vocabulary: how a machine says what must outlive the process.
//!
//! A [`Record`] sets or deletes one key. All records of one `Core::handle` form one atomic batch
//! with one [`Seq`]; the shell stores batches in order and reports how far it came. A machine
//! that owes a reply for something durable holds it in a [`Gate`] until that report.
//!
//! Keys start with one byte that names their owner (see [`owner`]); the rest is the owner's own.
//! Values carry their own version byte. Numbers in keys are big-endian, so that a scan of a prefix
//! comes in order.
//!
//! Two owners are known to the store as well, because what they hold may be larger than memory:
//! [`owner::QUEUE`] and [`owner::CONTENT`] (see [`QueueKey`]). All others are *state*: read as a
//! whole at the start. What a store can be asked then and later is [`Saved`].

mod code;
mod gate;
mod memory;
mod queue;

use alloc::vec::Vec;
use core::time::Duration;

use motegate_timers::Instant;

pub use code::{Reader, Writer};
pub use gate::Gate;
pub use memory::MemoryStore;
pub use queue::{Page, PageRequest, QueueKey, QueuedRecord, Saved, content_key, content_number};

/// First byte of every key: whose record it is.
pub mod owner {
    /// Broker: sessions, subscriptions, queues, retained messages, wills.
    pub const BROKER: u8 = b'b';
    /// MQTT endpoint: packet identifiers and QoS 2 states.
    pub const MQTT: u8 = b'm';
    /// MQTT-SN endpoint: topic ids, msg ids, sleep states, last addresses.
    pub const MQTT_SN: u8 = b's';
    /// Core: the latest wall clock seen.
    pub const CORE: u8 = b'c';
    /// Broker: entries of the sessions' queues. Not read at the start.
    pub const QUEUE: u8 = b'q';
    /// Broker: messages that several queue entries share. Not read at the start.
    pub const CONTENT: u8 = b'p';
}

/// Number of a batch of records; they are committed in order. [`Seq::NONE`] depends on nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Seq(pub u64);

impl Seq {
    /// Before every batch: already committed.
    pub const NONE: Seq = Seq(0);

    /// The next batch.
    #[must_use]
    pub const fn next(self) -> Seq {
        Seq(self.0 + 1)
    }
}

/// One change to the durable state: the value of `key` from now on, or its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Owner byte, then the owner's own bytes.
    pub key: Vec<u8>,
    /// `None` deletes the key.
    pub value: Option<Vec<u8>>,
}

/// A wall clock: milliseconds since 1970-01-01T00:00:00Z. Only persisted deadlines use it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Wall(u64);

impl Wall {
    /// From milliseconds since the epoch.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Wall(millis)
    }

    /// Milliseconds since the epoch.
    #[must_use]
    pub const fn as_millis(self) -> u64 {
        self.0
    }
}

/// What a machine is told about the moment it is called in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turn {
    /// The monotonic clock; never goes backwards.
    pub now: Instant,
    /// The clock of persisted deadlines at `now`: within one life of the process it goes as `now`
    /// does, from one to the next as the wall clock does.
    pub wall: Wall,
    /// The batch that records written in this turn will belong to.
    pub seq: Seq,
    /// Whether records are wanted at all: `false` (`durability: none`) means that nothing
    /// outlives the process and nothing waits.
    pub durable: bool,
}

impl Turn {
    /// A turn of a gateway that keeps nothing: no records, no waiting.
    #[must_use]
    pub const fn new(now: Instant, wall: Wall) -> Self {
        Turn { now, wall, seq: Seq::NONE, durable: false }
    }

    /// The wall-clock time of a monotonic one.
    #[must_use]
    pub fn to_wall(&self, at: Instant) -> Wall {
        let wall = if at >= self.now {
            let ahead = at.saturating_since(self.now).as_millis();
            self.wall.0.saturating_add(u64::try_from(ahead).unwrap_or(u64::MAX))
        } else {
            let behind = self.now.saturating_since(at).as_millis();
            self.wall.0.saturating_sub(u64::try_from(behind).unwrap_or(u64::MAX))
        };
        Wall(wall)
    }

    /// The monotonic time of a persisted one; what lies before the origin is the origin.
    #[must_use]
    pub fn from_wall(&self, at: Wall) -> Instant {
        if at >= self.wall {
            self.now + Duration::from_millis(at.0 - self.wall.0)
        } else {
            self.now - Duration::from_millis(self.wall.0 - at.0)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_convert_both_ways() {
        let turn = Turn::new(Instant::from_secs(50), Wall::from_millis(1_000_000));
        for secs in [0, 49, 50, 51, 500] {
            let at = Instant::from_secs(secs);
            assert_eq!(turn.from_wall(turn.to_wall(at)), at);
        }
        assert_eq!(turn.from_wall(Wall::from_millis(0)), Instant::ZERO);
    }
}
