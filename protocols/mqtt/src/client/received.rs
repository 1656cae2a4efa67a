//! Messages from the server, and their acknowledgement: exactly once at QoS 2 for as long as the
//! session lasts, over any number of connections (MQTT 5 §4.3).
//!
//! Acknowledgements leave in the order in which the messages came [MQTT-4.6.0-2, -3]; with
//! `manual_ack` one that is not given holds those behind it.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use core::num::NonZeroU16;

use bytes::Bytes;
use hashbrown::HashMap;
use motegate_message::Qos;
use motegate_timers::Instant;

use super::alias;
use super::contract::Event;
use super::error::Violation;
use super::message::{AckHandle, Message};
use super::{Client, Phase};
use crate::packet::{Ack, PacketType, Publish};
use crate::properties::Property;
use crate::reason::ReasonCode;

/// A QoS 2 message that came and whose PUBREL has not.
#[derive(Debug, Clone, Copy)]
struct Held {
    /// On this connection: it counts against the receive maximum, and PUBREC can be sent.
    seen: bool,
    /// The application has not acknowledged it.
    unacked: bool,
}

/// Messages of one QoS that the application has not acknowledged, in the order they came.
#[derive(Debug, Default)]
struct Unacked {
    /// The number of the first.
    base: u64,
    list: VecDeque<(NonZeroU16, Option<ReasonCode>)>,
}

impl Unacked {
    fn push(&mut self, id: NonZeroU16) -> u64 {
        self.list.push_back((id, None));
        self.base + self.list.len() as u64 - 1
    }

    /// `false`: it is not known any more.
    fn mark(&mut self, serial: u64, code: ReasonCode) -> bool {
        let i = serial.checked_sub(self.base).and_then(|i| usize::try_from(i).ok());
        match i.and_then(|i| self.list.get_mut(i)) {
            Some((_, mark)) => mark.replace(code).is_none(),
            None => false,
        }
    }

    /// The first, if it was acknowledged.
    fn pop(&mut self) -> Option<(NonZeroU16, ReasonCode)> {
        let (id, code) = *self.list.front()?;
        let code = code?;
        self.list.pop_front();
        self.base += 1;
        Some((id, code))
    }

    fn clear(&mut self) {
        self.base += self.list.len() as u64;
        self.list = VecDeque::new();
    }
}

#[derive(Debug, Default)]
pub(super) struct Received {
    held: HashMap<NonZeroU16, Held>,
    qos1: Unacked,
    qos2: Unacked,
    /// QoS 1/2 messages of this connection that are not through (MQTT 5 §4.9).
    open: u32,
    aliases: alias::Inbound,
}

impl Received {
    pub(super) fn lose_connection(&mut self) {
        self.open = 0;
        self.aliases = alias::Inbound::default();
        // The server sends them again.
        self.qos1.clear();
        for held in self.held.values_mut() {
            held.seen = false;
        }
    }

    /// The session is lost.
    pub(super) fn forget(&mut self) {
        self.held = HashMap::new();
        self.qos1.clear();
        self.qos2.clear();
    }
}

impl Client {
    /// PUBLISH.
    pub(super) fn on_publish(
        &mut self,
        now: Instant,
        publish: &Publish<'_>,
        body: impl FnOnce() -> Bytes,
    ) {
        let topic = match self.topic_alias(publish) {
            Ok(topic) => topic,
            Err(violation) => return self.violate(now, violation),
        };
        let Some(id) = publish.id else {
            return self.hand_up(Message::new(body(), publish, topic, None));
        };
        let repeated = publish.qos == Qos::ExactlyOnce && self.received.held.contains_key(&id);
        if repeated {
            return self.on_repetition(now, id);
        }
        let max = u32::from(self.config.receive_maximum);
        if self.version.is_v5() && self.received.open >= max {
            return self.violate(now, Violation::ReceiveMaximum); // [MQTT-3.3.4-9]
        }
        let ack = if publish.qos == Qos::ExactlyOnce {
            self.receive_qos2(id)
        } else {
            self.receive_qos1(id)
        };
        self.hand_up(Message::new(body(), publish, topic, ack));
    }

    fn hand_up(&mut self, message: Message) {
        self.counters.messages += 1;
        self.link.useful = true;
        self.events.push_back(Event::Message(message));
    }

    /// What an alias stands for when it stands alone.
    fn topic_alias(&mut self, publish: &Publish<'_>) -> Result<Option<Arc<str>>, Violation> {
        if publish.properties.is_empty() {
            return Ok(None);
        }
        let alias = publish.properties.iter().find_map(|property| match property {
            Property::TopicAlias(alias) => Some(alias),
            _ => None,
        });
        let Some(alias) = alias else { return Ok(None) };
        if alias == 0 || alias > self.config.topic_alias_maximum {
            return Err(Violation::TopicAlias); // [MQTT-3.3.2-8, -9]
        }
        if publish.topic.is_empty() {
            return match self.received.aliases.get(alias) {
                Some(topic) => Ok(Some(topic.clone())),
                None => Err(Violation::TopicAlias),
            };
        }
        self.received.aliases.set(alias, publish.topic);
        Ok(None)
    }

    fn receive_qos1(&mut self, id: NonZeroU16) -> Option<AckHandle> {
        if self.config.manual_ack {
            self.received.open += 1;
            return Some(AckHandle::new(self.received.qos1.push(id), false));
        }
        self.send_ack(PacketType::PubAck, Ack::new(id, ReasonCode::Success)); // [MQTT-4.3.2-4]
        None
    }

    fn receive_qos2(&mut self, id: NonZeroU16) -> Option<AckHandle> {
        let unacked = self.config.manual_ack;
        self.received.open += 1;
        self.received.held.insert(id, Held { seen: true, unacked });
        if unacked {
            return Some(AckHandle::new(self.received.qos2.push(id), true));
        }
        self.send_ack(PacketType::PubRec, Ack::new(id, ReasonCode::Success)); // [MQTT-4.3.3-8]
        None
    }

    /// A QoS 2 message that is held: it is not handed up again. [MQTT-4.3.3-10]
    fn on_repetition(&mut self, now: Instant, id: NonZeroU16) {
        self.counters.duplicates += 1;
        let max = u32::from(self.config.receive_maximum);
        let Some(held) = self.received.held.get_mut(&id) else { return };
        if !held.seen {
            if self.version.is_v5() && self.received.open >= max {
                return self.violate(now, Violation::ReceiveMaximum);
            }
            held.seen = true;
            self.received.open += 1;
        }
        if !held.unacked {
            self.send_ack(PacketType::PubRec, Ack::new(id, ReasonCode::Success));
        }
    }

    /// PUBREL.
    pub(super) fn on_pub_rel(&mut self, now: Instant, id: NonZeroU16) {
        let code = match self.received.held.get(&id) {
            Some(held) if held.unacked => return self.violate(now, Violation::WrongFlow),
            Some(held) => {
                self.received.open -= u32::from(held.seen);
                self.received.held.remove(&id);
                ReasonCode::Success
            }
            None => ReasonCode::PacketIdentifierNotFound,
        };
        if self.received.held.is_empty() && self.received.held.capacity() > 256 {
            self.received.held = HashMap::new();
        }
        self.send_ack(PacketType::PubComp, Ack::new(id, code)); // [MQTT-4.3.3-11]
    }

    /// The application is done with a message.
    pub(super) fn take_ack(&mut self, handle: AckHandle, code: ReasonCode) -> bool {
        // A code that PUBACK and PUBREC cannot have says less than a plain failure.
        let fits = code.is_allowed(PacketType::PubAck, crate::packet::Sender::Client);
        let code = if fits { code } else { ReasonCode::UnspecifiedError };
        if handle.is_qos2() {
            let known = self.received.qos2.mark(handle.serial(), code);
            while let Some((id, code)) = self.received.qos2.pop() {
                self.acknowledge_qos2(id, code);
            }
            return known;
        }
        let known = self.received.qos1.mark(handle.serial(), code);
        while let Some((id, code)) = self.received.qos1.pop() {
            self.received.open -= 1;
            self.send_ack(PacketType::PubAck, Ack::new(id, code));
        }
        known
    }

    fn acknowledge_qos2(&mut self, id: NonZeroU16, code: ReasonCode) {
        let Some(held) = self.received.held.get_mut(&id) else { return };
        held.unacked = false;
        let seen = held.seen && self.phase == Phase::Open;
        // Before 5.0 there is no refusal. MQTT 5 §4.3.3: after one the id is free.
        if code.is_error() && self.version.is_v5() {
            self.received.open -= u32::from(held.seen);
            self.received.held.remove(&id);
        }
        if seen {
            self.send_ack(PacketType::PubRec, Ack::new(id, code));
        }
    }
}
