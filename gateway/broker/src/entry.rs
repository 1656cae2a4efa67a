//! One delivery of a session that is not finished, and how far it has come: what may still expire,
//! be dropped or move to another member of its group, and what the client may have
//! (MQTT-4.3.3-7, MQTT-4.8.2-5).

use alloc::sync::Arc;

use motegate_message::{DeliveryId, Message, Qos};
use motegate_timers::Instant;

use crate::shared::GroupId;

/// How far a delivery has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Not delivered yet: it expires, may be dropped and may move to another member of its group.
    Waiting,
    /// Restored from the journal of a connection that was open at the crash: perhaps delivered.
    /// It neither expires nor moves at QoS 2 (MQTT-4.3.3-7), but is not called a repetition.
    Perhaps,
    /// Delivered on one connection, perhaps the present one, and not acknowledged.
    First,
    /// Delivered on more than one and not acknowledged.
    Sent,
    /// As `Waiting`, at QoS 0, and in the journal all the same: it came from the disk.
    Kept,
    /// Delivered, but not sent: put aside until the next connection. It expires, and may move to
    /// another member of its group.
    Aside,
    /// Put aside, and sent on an earlier connection.
    AsideSent,
}

impl Progress {
    /// Not delivered yet.
    pub(crate) fn waits(self) -> bool {
        matches!(self, Progress::Waiting | Progress::Kept)
    }

    /// Certainly not sent to the client.
    pub(crate) fn is_unsent(self) -> bool {
        self.waits() || self == Progress::Aside
    }

    /// Certainly sent to the client, as far as a delivery is.
    pub(crate) fn is_sent(self) -> bool {
        matches!(self, Progress::First | Progress::Sent | Progress::AsideSent)
    }

    /// Waits for the next connection.
    pub(crate) fn is_aside(self) -> bool {
        matches!(self, Progress::Aside | Progress::AsideSent)
    }
}

/// One delivery that is not finished.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) id: DeliveryId,
    pub(crate) message: Arc<Message>,
    pub(crate) identifiers: Option<Arc<[u32]>>,
    /// The group that it was shared out of.
    pub(crate) group: GroupId,
    pub(crate) qos: Qos,
    pub(crate) retain: bool,
    pub(crate) progress: Progress,
    /// A retained message sent because of a SUBSCRIBE: outside the bounds.
    pub(crate) snapshot: bool,
}

impl Entry {
    /// Whether a durable session's journal holds it.
    pub(crate) fn is_journaled(&self) -> bool {
        self.qos != Qos::AtMostOnce || self.progress == Progress::Kept
    }

    /// Whether it counts against the bounds of its queue.
    pub(crate) fn counts(&self) -> bool {
        self.progress.waits() && !self.snapshot
    }

    /// Whether it can be dropped because its time is over.
    pub(crate) fn is_expired(&self, now: Instant) -> bool {
        self.progress.is_unsent() && self.message.is_expired(now)
    }
}

/// Its bytes.
pub(crate) fn size(entry: &Entry) -> u32 {
    u32::try_from(entry.message.size()).unwrap_or(u32::MAX)
}
