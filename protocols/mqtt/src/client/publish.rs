//! Publishing: from the caller into the queue, from the queue onto the wire, and what the server
//! answers (MQTT 5 §4.3).

use core::num::NonZeroU16;

use motegate_message::Qos;
use motegate_timers::Instant;

use super::alias::Choice;
use super::connection::{Link, refusal};
use super::contract::{Event, Publish, Token};
use super::error::{PublishError, Violation};
use super::ids::Holder;
use super::outbox::Outbox;
use super::outgoing::{Entry, State};
use super::{Client, Phase};
use crate::codec;
use crate::packet::{self, Ack, Packet, PacketType, Sender, Version};
use crate::properties::{Properties, Property, PropertyBuf, Scope};
use crate::reason::ReasonCode;

/// Whether a client may publish that at all.
fn check(publish: &Publish<'_>) -> Result<(), PublishError> {
    let topic = publish.topic.as_bytes();
    let wild = topic.iter().any(|b| matches!(b, b'+' | b'#'));
    let long = topic.len() > usize::from(u16::MAX);
    // [MQTT-3.3.2-2], [MQTT-4.7.3-1]
    if topic.is_empty() || wild || long || codec::read::text(topic, codec::Utf8::Strict).is_err() {
        return Err(PublishError::BadTopic);
    }
    if publish.properties.is_empty() {
        return Ok(());
    }
    let scope = Scope::Packet(PacketType::Publish, Sender::Client);
    let checked = Properties::check(publish.properties.as_bytes(), scope)
        .map_err(|_| PublishError::BadProperty)?;
    if checked.iter().any(|property| matches!(property, Property::TopicAlias(_))) {
        return Err(PublishError::BadProperty);
    }
    Ok(())
}

/// Whether the server takes it.
fn check_limits(
    link: &Link,
    version: Version,
    publish: &packet::Publish<'_>,
) -> Result<(), PublishError> {
    if publish.qos > link.max_qos {
        return Err(PublishError::QosNotSupported); // [MQTT-3.2.2-11]
    }
    if publish.retain && !link.retain {
        return Err(PublishError::RetainNotSupported); // [MQTT-3.2.2-14]
    }
    // Without an alias: what fits on this connection fits on the next.
    let max = (link.max_packet as usize).min(MAX_PACKET);
    if codec::publish_len(publish, version) > max {
        return Err(PublishError::TooLarge { max }); // [MQTT-3.2.2-15]
    }
    Ok(())
}

/// The largest packet of MQTT, header included.
const MAX_PACKET: usize = 5 + 268_435_455;

/// Appends a PUBLISH that is within the limits, named as short as can be.
fn write(
    outbox: &mut Outbox,
    link: &mut Link,
    scratch: &mut PropertyBuf,
    version: Version,
    publish: &packet::Publish<'_>,
) {
    let choice = link.aliases.choose(publish.topic);
    let encoded = match choice {
        Choice::Plain => codec::encode_publish(publish, version, outbox.buffer()),
        Choice::Set(alias) | Choice::Use(alias) => {
            scratch.clear();
            scratch.extend(publish.properties).push(Property::TopicAlias(alias));
            let topic = if matches!(choice, Choice::Use(_)) { "" } else { publish.topic };
            let properties = scratch.as_properties();
            let short = packet::Publish { topic, properties, ..publish.clone() };
            // Setting an alias takes three bytes more.
            if codec::publish_len(&short, version) > link.max_packet as usize {
                codec::encode_publish(publish, version, outbox.buffer())
            } else {
                link.aliases.commit(publish.topic, choice);
                codec::encode_publish(&short, version, outbox.buffer())
            }
        }
    };
    encoded.expect("topic and packet length were checked");
}

impl Client {
    pub(super) fn take_publish(
        &mut self,
        publish: &Publish<'_>,
        token: Token,
    ) -> Result<(), PublishError> {
        check(publish)?;
        let open = self.phase == Phase::Open;
        let packet = packet::Publish {
            dup: false,
            qos: publish.qos,
            retain: publish.retain,
            topic: publish.topic,
            id: (publish.qos != Qos::AtMostOnce).then_some(NonZeroU16::MIN),
            properties: publish.properties,
            payload: publish.payload,
        };
        check_limits(&self.link, self.version, &packet)?;
        // QoS 0 with nothing before it needs no queue.
        let direct = open && publish.qos == Qos::AtMostOnce && self.outgoing.all_sent();
        if direct && self.outbox.len() < self.config.max_outbox_bytes {
            write(&mut self.outbox, &mut self.link, &mut self.scratch, self.version, &packet);
            self.outbox.mark(token);
            self.counters.publishes_sent += 1;
            return Ok(());
        }
        let len = publish.topic.len() + publish.properties.as_bytes().len() + publish.payload.len();
        let max = self.config.max_queue_bytes;
        if len > max {
            return Err(PublishError::TooLarge { max });
        }
        if self.outgoing.len() >= self.config.max_queue || self.outgoing.bytes() + len > max {
            self.blocked = true;
            return Err(PublishError::QueueFull);
        }
        self.outgoing.push(publish, token)?;
        self.pump();
        Ok(())
    }

    /// Sends from the queue what may be sent, in its order. [MQTT-4.6.0-1]
    pub(super) fn pump(&mut self) {
        while self.phase == Phase::Open && self.outbox.len() < self.config.max_outbox_bytes {
            let number = self.outgoing.next;
            let Some(entry) = self.outgoing.get(number).copied() else { break };
            let went = match entry.state {
                State::Done => {
                    self.outgoing.next = number + 1;
                    true
                }
                State::Released => self.send_again_release(number, &entry),
                State::Waiting | State::Sent => self.send_publish(number, &entry),
            };
            if !went {
                break;
            }
        }
    }

    fn send_again_release(&mut self, number: u64, entry: &Entry) -> bool {
        if self.link.quota == 0 {
            return false;
        }
        let Some(id) = entry.id else { return false };
        self.link.quota -= 1;
        self.outgoing.next = number + 1;
        self.send_ack(PacketType::PubRel, Ack::new(id, ReasonCode::Success));
        true
    }

    /// `false`: it must wait, and all behind it.
    fn send_publish(&mut self, number: u64, entry: &Entry) -> bool {
        let acknowledged = entry.qos != Qos::AtMostOnce;
        if acknowledged && self.link.quota == 0 {
            return false; // [MQTT-3.3.4-7]
        }
        let mut entry = *entry;
        if acknowledged && entry.id.is_none() {
            let Some(id) = self.ids.take(Holder::Publish(number)) else { return false };
            entry.id = Some(id);
        }
        let packet = self.outgoing.packet(&entry);
        let (token, repeated) = (entry.token, packet.dup);
        if let Err(error) = check_limits(&self.link, self.version, &packet) {
            self.set(number, entry);
            self.outgoing.next = number + 1;
            self.outgoing.finish(number, &mut self.ids);
            self.events.push_back(Event::PublishFailed { token, error });
            return true;
        }
        write(&mut self.outbox, &mut self.link, &mut self.scratch, self.version, &packet);
        self.counters.publishes_sent += 1;
        self.counters.publishes_repeated += u64::from(repeated);
        self.outgoing.next = number + 1;
        if acknowledged {
            self.link.quota -= 1;
            entry.state = State::Sent;
            self.set(number, entry);
        } else {
            self.outbox.mark(token);
            self.outgoing.finish(number, &mut self.ids);
        }
        true
    }

    fn set(&mut self, number: u64, entry: Entry) {
        if let Some(place) = self.outgoing.get(number) {
            *place = entry;
        }
    }

    /// PUBACK, PUBREC or PUBCOMP.
    pub(super) fn on_ack(&mut self, now: Instant, kind: PacketType, ack: &Ack<'_>) {
        let number = match self.ids.holder(ack.id) {
            Some(Holder::Publish(number)) => number,
            Some(Holder::Request) | None => return self.on_unknown_ack(kind, ack.id),
        };
        let Some(entry) = self.outgoing.get(number) else { return };
        match (kind, entry.qos, entry.state) {
            (PacketType::PubAck, Qos::AtLeastOnce, State::Sent) => {
                self.complete(number, ack.code, ack.properties);
            }
            (PacketType::PubRec, Qos::ExactlyOnce, State::Sent) if ack.code.is_error() => {
                self.complete(number, ack.code, ack.properties); // MQTT 5 §4.3.3
            }
            (PacketType::PubRec, Qos::ExactlyOnce, State::Sent | State::Released) => {
                if entry.state == State::Sent {
                    entry.state = State::Released;
                    entry.code = ack.code;
                }
                // [MQTT-4.3.3-4]
                self.send_ack(PacketType::PubRel, Ack::new(ack.id, ReasonCode::Success));
            }
            (PacketType::PubComp, Qos::ExactlyOnce, State::Released) => {
                let code = entry.code;
                self.complete(number, code, Properties::EMPTY);
            }
            _ => self.violate(now, Violation::WrongFlow),
        }
    }

    fn on_unknown_ack(&mut self, kind: PacketType, id: NonZeroU16) {
        self.counters.unknown_acks += 1;
        if kind == PacketType::PubRec {
            // The server waits for it, whatever became of the message.
            self.send_ack(PacketType::PubRel, Ack::new(id, ReasonCode::PacketIdentifierNotFound));
        }
    }

    fn complete(&mut self, number: u64, code: ReasonCode, properties: Properties<'_>) {
        let Some(entry) = self.outgoing.get(number) else { return };
        let token = entry.token;
        self.link.useful = true;
        if number < self.outgoing.next {
            self.link.quota = (self.link.quota + 1).min(self.link.quota_max);
        }
        self.outgoing.finish(number, &mut self.ids);
        self.outgoing.tidy(&mut self.ids);
        self.events.push_back(if code.is_error() {
            let error = PublishError::Refused(refusal(code, properties));
            Event::PublishFailed { token, error }
        } else {
            Event::Published { token, code }
        });
    }

    /// Appends PUBACK, PUBREC, PUBREL or PUBCOMP.
    pub(super) fn send_ack(&mut self, kind: PacketType, ack: Ack<'_>) {
        let before = self.outbox.len();
        self.send(&match kind {
            PacketType::PubAck => Packet::PubAck(ack),
            PacketType::PubRec => Packet::PubRec(ack),
            PacketType::PubComp => Packet::PubComp(ack),
            _ => Packet::PubRel(ack),
        });
        self.link.ack_bytes += self.outbox.len() - before;
    }

    /// Reports the QoS 0 publishes that are written.
    pub(super) fn take_written(&mut self) {
        while let Some(token) = self.outbox.pop_written() {
            self.events.push_back(Event::Published { token, code: ReasonCode::Success });
        }
    }

    /// Drops every publish that is not through; with a connection, those that were not sent.
    pub(super) fn drop_publishes(&mut self) {
        for number in self.outgoing.numbers() {
            let Some(entry) = self.outgoing.get(number) else { continue };
            let (token, sent) = (entry.token, entry.state != State::Waiting);
            if sent && self.phase == Phase::Open {
                continue;
            }
            self.state_lost |= sent;
            let error = PublishError::GivenUp;
            self.events.push_back(Event::PublishFailed { token, error });
            self.outgoing.finish(number, &mut self.ids);
        }
    }
}
