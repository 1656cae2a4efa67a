//! [`Message`]: a PUBLISH that came, owning its bytes without a copy of its own.

use alloc::sync::Arc;
use core::fmt;
use core::num::{NonZeroU16, NonZeroU64};

use bytes::Bytes;
use motegate_message::Qos;

use crate::packet::{PacketType, Publish, Sender};
use crate::properties::{Properties, Property, Scope};

/// Names a message for [`Client::acknowledge`](super::Client::acknowledge).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AckHandle(NonZeroU64);

impl AckHandle {
    /// The `serial`-th message of its QoS.
    pub(super) fn new(serial: u64, qos2: bool) -> Self {
        AckHandle(NonZeroU64::MIN.saturating_add(serial << 1 | u64::from(qos2)))
    }

    pub(super) fn is_qos2(self) -> bool {
        (self.0.get() - 1) & 1 != 0
    }

    pub(super) fn serial(self) -> u64 {
        (self.0.get() - 1) >> 1
    }
}

/// A message from the server. It shares the bytes of the chunk that it came in, so copy what is
/// kept for long.
#[derive(Clone, PartialEq, Eq)]
pub struct Message {
    /// The body of the PUBLISH.
    body: Bytes,
    /// What the topic alias stands for, when only that was sent.
    alias: Option<Arc<str>>,
    properties_len: u32,
    payload_at: u32,
    topic_len: u16,
    qos: Qos,
    retain: bool,
    dup: bool,
    ack: Option<AckHandle>,
}

impl Message {
    /// `publish` was decoded from `body`.
    pub(super) fn new(
        body: Bytes,
        publish: &Publish<'_>,
        alias: Option<Arc<str>>,
        ack: Option<AckHandle>,
    ) -> Self {
        // A packet has at most 2^28 bytes.
        let len = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Message {
            payload_at: len(body.len() - publish.payload.len()),
            properties_len: len(publish.properties.as_bytes().len()),
            topic_len: u16::try_from(publish.topic.len()).unwrap_or(u16::MAX),
            qos: publish.qos,
            retain: publish.retain,
            dup: publish.dup,
            body,
            alias,
            ack,
        }
    }

    /// Topic Name, a topic alias resolved.
    #[must_use]
    pub fn topic(&self) -> &str {
        match &self.alias {
            Some(topic) => topic,
            // It was checked when it was decoded.
            None => self
                .body
                .get(2..2 + usize::from(self.topic_len))
                .and_then(|bytes| core::str::from_utf8(bytes).ok())
                .unwrap_or_default(),
        }
    }

    /// Application message.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        self.body.get(self.payload_at as usize..).unwrap_or_default()
    }

    /// The application message, shared.
    #[must_use]
    pub fn payload_bytes(&self) -> Bytes {
        self.body.slice(self.payload_at as usize..)
    }

    /// Properties (5.0).
    #[must_use]
    pub fn properties(&self) -> Properties<'_> {
        let end = self.payload_at as usize;
        let start = end - self.properties_len as usize;
        let bytes = self.body.get(start..end).unwrap_or_default();
        let scope = Scope::Packet(PacketType::Publish, Sender::Server);
        Properties::check(bytes, scope).unwrap_or(Properties::EMPTY)
    }

    /// The identifiers of the subscriptions that it matched (5.0).
    pub fn subscription_ids(&self) -> impl Iterator<Item = u32> + '_ {
        self.properties().iter().filter_map(|property| match property {
            Property::SubscriptionIdentifier(id) => Some(id),
            _ => None,
        })
    }

    /// QoS.
    #[must_use]
    pub const fn qos(&self) -> Qos {
        self.qos
    }

    /// RETAIN.
    #[must_use]
    pub const fn retain(&self) -> bool {
        self.retain
    }

    /// Packet Identifier; `None` at QoS 0.
    #[must_use]
    pub fn packet_id(&self) -> Option<NonZeroU16> {
        let at = 2 + usize::from(self.topic_len);
        let bytes = self.body.get(at..at + 2).filter(|_| self.qos != Qos::AtMostOnce)?;
        NonZeroU16::new(u16::from_be_bytes(bytes.try_into().ok()?))
    }

    /// DUP: perhaps it came before (QoS 1 only; at QoS 2 the machine has seen to it).
    #[must_use]
    pub const fn dup(&self) -> bool {
        self.dup
    }

    /// What to acknowledge it by; `None` at QoS 0 and without `manual_ack`.
    #[must_use]
    pub const fn ack(&self) -> Option<AckHandle> {
        self.ack
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("topic", &self.topic())
            .field("payload", &self.payload_bytes())
            .field("qos", &self.qos)
            .field("retain", &self.retain)
            .field("dup", &self.dup)
            .finish_non_exhaustive()
    }
}
