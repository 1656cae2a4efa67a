//! Messages from clients (MQTT-SN 1.2 §6.6, §6.8): topic id → name, the check for duplicates, and
//! the acknowledgements, which leave when the broker's batch is stored.
//!
//! QoS 2 is exactly once: a message id is remembered, in the journal too, from PUBLISH to PUBREL.
//! At QoS 1 the latest message is remembered for as long as its client may still repeat it, so
//! that a lost PUBACK costs no second message; that memory is not journaled.

use bytes::Bytes;
use core::time::Duration;
use motegate_message::{Qos, Reason, Seq, Turn};

use super::clients::State;
use super::contract::{Event, Topic};
use super::forwarder::Source;
use super::journal::{self, Key};
use super::line::{Line, fingerprint, reply_for};
use super::wire::{LastPublish, Received, Released};
use super::{Endpoint, Pending};
use crate::{Packet, ReturnCode, TopicId, is_reserved_topic_id};

/// How long a copy of a datagram can be under way.
const LATE: Duration = Duration::from_secs(5);
/// Most QoS 2 exchanges that one client may leave open. §6.6 allows one; some have more.
const MAX_RECEIVED: usize = 8;

/// A PUBLISH that is not QoS −1.
#[derive(Debug, Clone, Copy)]
pub(super) struct Uplink<'a> {
    pub(super) dup: bool,
    pub(super) qos: Qos,
    pub(super) retain: bool,
    pub(super) topic: TopicId,
    pub(super) msg_id: u16,
    pub(super) data: &'a [u8],
}

impl Uplink<'_> {
    fn fingerprint(&self) -> u32 {
        let [high, low] = self.topic.raw().to_be_bytes();
        let head = [self.topic.type_bits(), high, low, u8::from(self.retain)];
        fingerprint(&[&head, self.data])
    }
}

impl Endpoint {
    /// QoS −1 (MQTT-SN 1.2 §6.8): from anybody, at any time, never answered.
    pub(super) fn on_publish_unasked(
        &mut self,
        turn: &Turn,
        source: Source<'_>,
        topic: TopicId,
        retain: bool,
        data: &[u8],
    ) {
        let topic = match topic {
            TopicId::Predefined(id) if !is_reserved_topic_id(id) => Topic::Predefined(id),
            TopicId::Short(name) => Topic::Short(name),
            // Registered ids need a connection (§6.8).
            TopicId::Predefined(_) | TopicId::Normal(_) => {
                let reason = Reason::SnUnknownTopicId;
                self.events.push_back(Event::Dropped { peer: source.to_peer(), reason });
                return;
            }
        };
        let known = source.slot.and_then(|slot| {
            let session = self.clients.get(slot)?.session?;
            Some((self.clients.ref_of(slot), session))
        });
        if let Some(mut line) = source.slot.and_then(|slot| self.line(turn, slot)) {
            line.touch();
        }
        self.next_ticket += 1;
        self.events.push_back(Event::Publish {
            client: known,
            peer: source.to_peer(),
            ticket: self.next_ticket,
            topic,
            qos: None,
            retain,
            payload: Bytes::copy_from_slice(data),
        });
    }
}

impl Line<'_> {
    pub(super) fn on_publish(&mut self, publish: Uplink<'_>) {
        let hash = publish.fingerprint();
        if self.is_repeated(&publish, hash) {
            return;
        }
        let Some(topic) = self.resolve(publish.topic) else {
            self.refuse_publish(&publish, Reason::SnUnknownTopicId);
            return;
        };
        if publish.qos == Qos::ExactlyOnce && !self.has_room_for_exchange() {
            self.refuse_publish(&publish, Reason::Overloaded);
            return;
        }
        let (topic_id, msg_id, qos) = (publish.topic.raw(), publish.msg_id, publish.qos);
        let context = Pending::Publish { client: self.at, topic_id, msg_id, qos, hash };
        let Some(ticket) = self.ask(context) else {
            self.refuse_publish(&publish, Reason::Overloaded);
            return;
        };
        match qos {
            Qos::AtMostOnce => {}
            Qos::AtLeastOnce => {
                let last = LastPublish { msg_id, hash, acked: None };
                self.wire.exchange().last = Some(last);
            }
            Qos::ExactlyOnce => {
                let received = Received { msg_id, hash, after: None, earlier: false };
                self.wire.exchange().received.push(received);
            }
        }
        self.events.push_back(Event::Publish {
            client: Some((self.at, self.wire.session)),
            peer: self.client.peer.clone(),
            ticket,
            topic,
            qos: Some(qos),
            retain: publish.retain,
            payload: Bytes::copy_from_slice(publish.data),
        });
    }

    /// What the client means, as the layer above can understand it.
    fn resolve(&mut self, topic: TopicId) -> Option<Topic> {
        match topic {
            TopicId::Normal(id) => {
                let name = self.wire.topics.name(id)?.clone();
                // It has used the id: no need to tell it again.
                self.wire.topics.set_known(id, true);
                Some(Topic::Name(name))
            }
            TopicId::Predefined(id) => (!is_reserved_topic_id(id)).then_some(Topic::Predefined(id)),
            TopicId::Short(name) => Some(Topic::Short(name)),
        }
    }

    /// Whether one more QoS 2 exchange may begin. The oldest that an earlier connection left open
    /// makes room: its client goes on with new message ids (§6.6 allows it one at a time).
    fn has_room_for_exchange(&mut self) -> bool {
        let Some(exchange) = &mut self.wire.exchange else { return true };
        if exchange.received.len() < MAX_RECEIVED {
            return true;
        }
        let given_up = |received: &Received| received.earlier && received.after.is_some();
        let Some(place) = exchange.received.iter().position(given_up) else { return false };
        let Received { msg_id, .. } = exchange.received.remove(place);
        self.record(Key::Received(msg_id), None);
        true
    }

    /// Answers a repeated PUBLISH as the first one was answered; `false` when it is new.
    fn is_repeated(&mut self, publish: &Uplink<'_>, hash: u32) -> bool {
        #[cfg(feature = "planted-faults")]
        if self.config.faults.no_duplicate_check {
            if let Some(exchange) = &mut self.wire.exchange {
                exchange.received.retain(|received| received.msg_id != publish.msg_id);
            }
            return false;
        }
        match publish.qos {
            Qos::AtMostOnce => false,
            Qos::AtLeastOnce => self.is_repeated_qos1(publish, hash),
            Qos::ExactlyOnce => self.is_repeated_qos2(publish, hash),
        }
    }

    fn is_repeated_qos1(&mut self, publish: &Uplink<'_>, hash: u32) -> bool {
        let last = self.wire.exchange.as_ref().and_then(|exchange| exchange.last);
        let same = last.filter(|last| last.msg_id == publish.msg_id && last.hash == hash);
        let Some(last) = same else { return false };
        let Some((at, after)) = last.acked else {
            return true; // being published: its answer is on the way
        };
        let held = after.max(self.wire.written) > self.committed;
        let patience = self.config.retry_timeout * u32::from(self.config.max_retries) * 2;
        let recent = self.turn.now.saturating_since(at) <= patience;
        if !(held || publish.dup && recent) {
            return false;
        }
        self.ack(after, publish.topic.raw(), publish.msg_id, ReturnCode::Accepted);
        true
    }

    fn is_repeated_qos2(&mut self, publish: &Uplink<'_>, hash: u32) -> bool {
        let Some(exchange) = &mut self.wire.exchange else { return false };
        let same = |received: &Received| received.msg_id == publish.msg_id;
        let Some(found) = exchange.received.iter().copied().find(same) else {
            // UDP may deliver a copy after the PUBREL: for as long as one can be under way it is
            // not taken for a new message. Its answer goes the whole way again.
            let released = exchange.released.iter().any(|released| {
                let age = self.turn.now.saturating_since(released.at);
                released.msg_id == publish.msg_id && released.hash == hash && age < LATE
            });
            if released {
                self.reply(Seq::NONE, Packet::PubRec { msg_id: publish.msg_id });
            }
            return released;
        };
        if found.hash != hash {
            // Other contents under an old number: the client gave the old exchange up.
            exchange.received.retain(|received| !same(received));
            return false;
        }
        if let Some(after) = found.after {
            self.reply(after, Packet::PubRec { msg_id: publish.msg_id });
        }
        true
    }

    fn ack(&mut self, after: Seq, topic_id: u16, msg_id: u16, code: ReturnCode) {
        self.reply(after, Packet::PubAck { topic_id, msg_id, code });
    }

    /// An error is answered at any QoS (MQTT-SN 1.2 §5.4.13, §6.6), at once: nothing was written.
    fn refuse_publish(&mut self, publish: &Uplink<'_>, reason: Reason) {
        let (topic_id, msg_id) = (publish.topic.raw(), publish.msg_id);
        self.dropped(reason);
        self.send(&Packet::PubAck { topic_id, msg_id, code: reply_for(reason) });
    }

    /// Answer to `Event::Publish`.
    pub(super) fn published(
        &mut self,
        (topic_id, msg_id, qos, hash): (u16, u16, Qos, u32),
        result: Result<Seq, Reason>,
    ) {
        match result {
            Err(reason) => {
                if let Some(exchange) = &mut self.wire.exchange {
                    // A repeat is a new attempt.
                    exchange.last.take_if(|last| last.msg_id == msg_id);
                    exchange.received.retain(|r| r.msg_id != msg_id || r.after.is_some());
                }
                self.dropped(reason);
                self.send(&Packet::PubAck { topic_id, msg_id, code: reply_for(reason) });
            }
            Ok(after) => match qos {
                Qos::AtMostOnce => {}
                Qos::AtLeastOnce => {
                    let now = self.turn.now;
                    let last = self.wire.exchange().last.as_mut();
                    if let Some(last) = last.filter(|l| l.msg_id == msg_id && l.hash == hash) {
                        last.acked = Some((now, after));
                    }
                    self.ack(after, topic_id, msg_id, ReturnCode::Accepted);
                }
                Qos::ExactlyOnce => {
                    self.record(Key::Received(msg_id), Some(journal::received_value(hash)));
                    let after = after.max(self.wire.written);
                    let received = &mut self.wire.exchange().received;
                    if let Some(received) = received.iter_mut().find(|r| r.msg_id == msg_id) {
                        received.after = Some(after);
                    }
                    self.reply(after, Packet::PubRec { msg_id });
                }
            },
        }
    }

    /// PUBREL: the message id is free again. Answered whatever is known (a lost PUBCOMP).
    pub(super) fn on_pubrel(&mut self, msg_id: u16) {
        if let Some(exchange) = &mut self.wire.exchange {
            let is = |r: &Received| r.msg_id == msg_id && r.after.is_some();
            if let Some(place) = exchange.received.iter().position(is) {
                let Received { hash, .. } = exchange.received.remove(place);
                if exchange.released.len() >= MAX_RECEIVED {
                    exchange.released.remove(0);
                }
                exchange.released.push(Released { msg_id, hash, at: self.turn.now });
                self.record(Key::Received(msg_id), None);
            }
        }
        self.reply(Seq::NONE, Packet::PubComp { msg_id });
    }

    /// Whether the client has a session and may speak.
    pub(super) fn is_connected(&self) -> bool {
        self.client.state != State::Connecting
    }
}
