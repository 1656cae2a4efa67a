//! A message on its way to one session ([`Delivery`]), and one that waits for its publisher's end
//! ([`Will`]).

use alloc::sync::Arc;
use core::time::Duration;

use crate::{Message, Qos};

/// One delivery within a session, in the order of queueing; the same after a restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeliveryId(pub u64);

impl DeliveryId {
    /// The one behind it.
    #[must_use]
    pub const fn next(self) -> Self {
        DeliveryId(self.0.saturating_add(1))
    }
}

/// One message on its way to one session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// For the acknowledgement and for the endpoint's wire state.
    pub id: DeliveryId,
    /// Shared with every other receiver.
    pub message: Arc<Message>,
    /// The lower of the published and the granted one.
    pub qos: Qos,
    /// RETAIN as this receiver must see it.
    pub retain: bool,
    /// Whether this delivery was already made on an earlier connection and not acknowledged.
    pub again: bool,
    /// Subscription Identifiers of every matching subscription (MQTT-3.3.4-3…5). Shared: the same
    /// few lists recur.
    pub identifiers: Option<Arc<[u32]>>,
    /// The group of a shared subscription that it comes from, 0 for none; means something only to
    /// the broker, to whom it goes back with a message that is too large for its receiver.
    pub share: u32,
}

/// A will message and when it is due (MQTT 5 §3.1.2.5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Will {
    /// As it will be published; its `expires` is unset, see `expiry`.
    pub message: Message,
    /// Message Expiry Interval, counted from publication.
    pub expiry: Option<Duration>,
    /// Will Delay Interval: published at the earlier of this and the session's end.
    pub delay: Duration,
}
