//! A session's will: when it is due and what it becomes (MQTT 5 §3.1.2.5, `protocols/mqtt.md` 2.2).
//!
//! A will that was dropped or published is *spent*, not forgotten: an MQTT CONNECT replaces it in
//! any case, and MQTT-SN 1.2 §6.3 keeps the will data of a session for the next connection.

use motegate_message::{Message, SessionKey, Will};
use motegate_timers::Instant;

/// Whether, and when, a will is published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WillState {
    /// The connection is open: due when it ends without a goodbye.
    Armed,
    /// The connection is over: due then, or when the session ends.
    Due(Instant),
    /// Published or dropped.
    Spent,
}

/// The will that a session holds.
#[derive(Debug)]
pub(crate) struct HeldWill {
    pub(crate) will: Will,
    pub(crate) state: WillState,
}

impl HeldWill {
    pub(crate) fn new(will: Will) -> Self {
        HeldWill { will, state: WillState::Armed }
    }

    /// When it is due, if it waits for a time.
    pub(crate) fn due(&self) -> Instant {
        match self.state {
            WillState::Due(at) => at,
            _ => Instant::FAR_FUTURE,
        }
    }

    /// The message to publish now; its expiry starts (MQTT 5 §3.1.3.2.4). `None` if it is spent.
    pub(crate) fn spend(&mut self, now: Instant, key: Option<&SessionKey>) -> Option<Message> {
        if self.state == WillState::Spent {
            return None;
        }
        self.state = WillState::Spent;
        let mut message = self.will.message.clone();
        message.expires = self.will.expiry.map(|expiry| now + expiry);
        if message.publisher.is_none() {
            message.publisher = key.cloned(); // "no local" applies to it (mqtt.md 2.2)
        }
        Some(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use core::time::Duration;
    use motegate_message::TopicName;

    #[test]
    fn expiry_starts_at_publication_and_only_once() {
        let message = Message::new(TopicName::new("w").unwrap(), Bytes::new());
        let expiry = Some(Duration::from_secs(5));
        let mut held = HeldWill::new(Will { message, expiry, delay: Duration::ZERO });
        let key = SessionKey::new("mqtt", "me");
        let sent = held.spend(Instant::from_secs(10), Some(&key)).unwrap();
        assert_eq!(sent.expires, Some(Instant::from_secs(15)));
        assert_eq!(sent.publisher, Some(key));
        assert_eq!(held.spend(Instant::from_secs(11), None), None);
    }
}
