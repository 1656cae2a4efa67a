//! A session's will: when it is due and what it becomes (MQTT 5 §3.1.2.5, `protocols/mqtt.md` 2.2).
//!
//! A will that was dropped or published is *spent*, not forgotten: an MQTT CONNECT replaces it in
//! any case, and MQTT-SN 1.2 §6.3 keeps the will data of a session for the next connection.

use alloc::boxed::Box;
use alloc::vec::Vec;

use motegate_message::{Message, SessionId, SessionKey, Turn, Will};
use motegate_timers::Instant;

use crate::session::Session;
use crate::{Broker, Effect, Ticket};

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

impl Broker {
    /// The connection is over without a goodbye: the will is due now or after its delay.
    pub(crate) fn release_will(&mut self, turn: &Turn, slot: u32) {
        let Some(session) = self.sessions.at_mut(slot) else { return };
        let Some(held) = session.will.as_mut() else { return };
        if held.state != WillState::Armed {
            return;
        }
        if held.will.delay.is_zero() {
            return self.spend_will(turn, slot);
        }
        held.state = WillState::Due(turn.now + held.will.delay);
        if session.durable {
            self.journal.will(turn, session.id, held);
        }
    }

    /// Publishes the will with the next [`settle`](Self::settle).
    pub(crate) fn spend_will(&mut self, turn: &Turn, slot: u32) {
        let Some(session) = self.sessions.at_mut(slot) else { return };
        let Some(held) = session.will.as_mut() else { return };
        if let Some(message) = held.spend(turn.now, session.key.as_ref()) {
            self.due_wills.push_back(message);
            if session.durable {
                self.journal.will(turn, session.id, held);
            }
        }
    }

    pub(crate) fn rearm_will(&mut self, turn: &Turn, slot: u32) {
        let Some(session) = self.sessions.at_mut(slot) else { return };
        if let Some(held) = session.will.as_mut()
            && held.state != WillState::Armed
        {
            held.state = WillState::Armed;
            if session.durable {
                self.journal.will(turn, session.id, held);
            }
        }
    }

    pub(crate) fn replace_will(&mut self, turn: &Turn, slot: u32, will: Option<Will>) {
        let Some(session) = self.sessions.at_mut(slot) else { return };
        let had = session.will.is_some();
        session.will = will.map(|will| Box::new(HeldWill::new(will)));
        match &session.will {
            Some(held) if session.durable => self.journal.will(turn, session.id, held),
            None if session.durable && had => self.journal.will_gone(session.id),
            _ => {}
        }
    }

    pub(crate) fn set_will(&mut self, turn: &Turn, id: SessionId, will: Option<Will>) {
        if let Some(session) = self.sessions.get(id).filter(|s| s.connected) {
            let slot = session.slot();
            self.replace_will(turn, slot, will);
        }
    }

    pub(crate) fn get_will(&mut self, ticket: Ticket, id: SessionId) {
        let will = self.sessions.get(id).and_then(|s| s.will.as_ref()).map(|w| w.will.clone());
        self.effects.push_back(Effect::WillValue { ticket, will });
    }

    /// The gateway stops: wills without delay of open connections are published; delayed ones
    /// keep their deadline in the journal. Connections that `goes_on` names are opened again after
    /// a restart as if they had never closed: their wills stay armed.
    pub fn shutdown(&mut self, turn: &Turn, goes_on: impl Fn(SessionId) -> bool) {
        self.journal.begin(turn);
        let open: Vec<u32> = self
            .sessions
            .iter()
            .filter(|s| s.connected && !goes_on(s.id))
            .map(Session::slot)
            .collect();
        for slot in open {
            let Some(session) = self.sessions.at(slot) else { continue };
            let Some(held) = session.will.as_ref() else { continue };
            if held.state != WillState::Armed {
                continue;
            }
            // A session that ends with its connection has nothing that outlives the process.
            if held.will.delay.is_zero() || session.is_transient() {
                self.spend_will(turn, slot);
            } else if session.durable {
                let state = WillState::Due(turn.now + held.will.delay);
                self.journal.will_in_state(turn, session.id, &held.will, state);
            }
        }
        self.settle(turn);
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
