//! Bytes from a client: cut into packets, and each packet handled by the state of its connection
//! and session (MQTT 5 §3.3…§3.14, §4.3).
//!
//! A packet that lies whole in a chunk is decoded where it lies; only an incomplete one is
//! copied. It is judged by its fixed header before its body is buffered.

use alloc::boxed::Box;
use bytes::Bytes;
use core::num::NonZeroU16;
use core::time::Duration;

use motegate_message::{Message, Properties as Carried, Qos, Seq, TopicName, Turn};

use super::acks::{NO_TICKET, Owed};
use super::connect::capped_expiry;
use super::connection::{Connection, State};
use super::goodbye::Goodbye;
use super::limits::{Limit, topic_limit, user_limit};
use super::reply::{self, Violation};
use super::session::{Flow, Incoming, content_hash};
use super::shared::Shared;
use crate::codec::{self, Header};
use crate::config::Config;
use crate::endpoint::Event;
use crate::error::DecodeError;
use crate::packet::{Ack, Disconnect, Packet, PacketType, Publish, Sender};
use crate::properties::{Properties, Property};
use crate::reason::ReasonCode;

/// What travels with the message unaltered. [MQTT-3.3.2-4, -15…-18, -20]
pub(super) fn message_properties(properties: Properties<'_>) -> Option<Box<Carried>> {
    if properties.is_empty() {
        return None;
    }
    let mut carried = Carried::default();
    for property in properties.iter() {
        match property {
            Property::PayloadFormatIndicator(utf8) => carried.payload_utf8 = Some(utf8),
            Property::ContentType(text) => carried.content_type = Some(text.into()),
            Property::ResponseTopic(text) => carried.response_topic = Some(text.into()),
            Property::CorrelationData(data) => {
                carried.correlation_data = Some(Bytes::copy_from_slice(data));
            }
            Property::UserProperty(name, value) => carried.user.push((name.into(), value.into())),
            _ => {}
        }
    }
    (!carried.is_empty()).then(|| Box::new(carried))
}

/// Why a PUBLISH is refused by the endpoint itself, if it is: in its acknowledgement, where it has
/// one.
fn refused(config: &Config, publish: &Publish<'_>) -> Option<Violation> {
    if let Some(limit) = user_limit(config, publish.properties) {
        return Some(Violation::UserProperties(limit));
    }
    breaks_format(config, publish.properties, publish.payload).then_some(Violation::PayloadFormat)
}

/// Whether a payload says that it is UTF-8, is not, and that is looked at (MQTT 5 §3.3.2.3.2).
pub(super) fn breaks_format(config: &Config, properties: Properties<'_>, payload: &[u8]) -> bool {
    config.validate_payload_format
        && properties.iter().any(|p| p == Property::PayloadFormatIndicator(true))
        && core::str::from_utf8(payload).is_err()
}

impl Connection {
    /// Takes a chunk: completes the packet begun before, then packet after packet in place.
    pub(super) fn process(&mut self, shared: &mut Shared, turn: &Turn, chunk: &[u8]) {
        let mut input = chunk;
        if !self.partial.is_empty() && !self.complete(shared, turn, &mut input) {
            return;
        }
        while !input.is_empty() {
            match self.state {
                State::Open if self.is_held() => return self.hold_back(input),
                State::Fresh | State::Open | State::Challenged => {}
                // Behind a CONNECT that is not answered yet.
                State::Pending | State::Gated => return self.keep_early(shared, turn, input),
                State::Leaving | State::Closing => return,
            }
            let header = match self.frame(shared, input) {
                Ok(header) => header,
                Err(violation) => return self.fail_in_turn(shared, turn, violation),
            };
            let Some((header, packet)) =
                header.and_then(|h| Some((h, input.split_at_checked(h.packet_len())?)))
            else {
                if self.silence_ms == 0 && self.state == State::Open {
                    self.heard = turn.now; // a started packet has its own deadline
                }
                self.partial = shared.pool.take();
                self.partial.extend_from_slice(input);
                return;
            };
            input = packet.1;
            self.handle_packet(shared, turn, header, packet.0);
        }
    }

    /// Feeds the buffered packet byte by byte until its header, then to its end; says whether it
    /// was completed.
    fn complete(&mut self, shared: &mut Shared, turn: &Turn, input: &mut &[u8]) -> bool {
        loop {
            let header = match self.frame(shared, &self.partial) {
                Ok(header) => header,
                Err(violation) => {
                    self.fail_in_turn(shared, turn, violation);
                    return false;
                }
            };
            let missing = header.map_or(1, |h| h.packet_len().saturating_sub(self.partial.len()));
            if let (Some(header), 0) = (header, missing) {
                let packet = core::mem::take(&mut self.partial);
                self.handle_packet(shared, turn, header, &packet);
                shared.pool.give(packet);
                return true;
            }
            let (head, rest) = input.split_at(missing.min(input.len()));
            if head.is_empty() {
                return false;
            }
            self.partial.extend_from_slice(head); // memory grows as bytes come
            *input = rest;
        }
    }

    /// Judges the packet at the front of `bytes` by what is there of its fixed header.
    fn frame(&self, shared: &Shared, bytes: &[u8]) -> Result<Option<Header>, Violation> {
        let Some(first) = bytes.first().copied() else { return Ok(None) };
        if self.state == State::Fresh {
            if PacketType::from_first_byte(first) != Some(PacketType::Connect) {
                return Err(Violation::NotConnect); // [MQTT-3.1.0-1]
            }
            let header = codec::header(bytes)?;
            let config = shared.config.of(self.listener);
            let max = config.max_connect_size.min(config.max_packet_size);
            if header.is_some_and(|h| h.packet_len() > max as usize) {
                return Err(Violation::PacketTooLarge);
            }
            return Ok(header);
        }
        let kind = codec::check_first(first, self.version, Sender::Client)?;
        if kind == PacketType::Connect {
            return Err(Violation::SecondConnect); // [MQTT-3.1.0-2], whatever is in it
        }
        let mut max = self.offered(shared.config.of(self.listener)).max_packet_size;
        if self.state == State::Challenged {
            self.judge_early(first)?;
            max = max.min(shared.config.of(self.listener).max_connect_size);
        }
        let Some(header) = codec::header(bytes)? else { return Ok(None) };
        codec::check_length(kind, self.version, header.remaining)?;
        if self.version.is_v5() && !header.is_shortest() {
            return Err(DecodeError::IntegerNotShortest.into()); // [MQTT-1.5.5-1]
        }
        if header.packet_len() > max as usize {
            return Err(Violation::PacketTooLarge); // [MQTT-3.2.2-15]
        }
        Ok(Some(header))
    }

    fn handle_packet(&mut self, shared: &mut Shared, turn: &Turn, header: Header, packet: &[u8]) {
        self.heard = turn.now;
        shared.counters.packets_received += 1;
        let body = packet.get(header.len..).unwrap_or_default();
        if self.state == State::Fresh {
            shared.counters.connects_received += 1;
            return self.on_connect(shared, turn, header, body);
        }
        let (version, utf8) = (self.version, shared.config.of(self.listener).utf8);
        let handled = codec::decode_with(header.first, body, version, Sender::Client, utf8)
            .map_err(Violation::from)
            .and_then(|packet| self.on_packet(shared, turn, &packet));
        if let Err(violation) = handled {
            self.fail_in_turn(shared, turn, violation);
        }
    }

    fn on_packet(
        &mut self,
        shared: &mut Shared,
        turn: &Turn,
        packet: &Packet<'_>,
    ) -> Result<(), Violation> {
        let properties = match packet {
            Packet::PubAck(ack) | Packet::PubRec(ack) => ack.properties,
            Packet::PubRel(ack) | Packet::PubComp(ack) => ack.properties,
            Packet::Disconnect(disconnect) => disconnect.properties,
            Packet::Auth(auth) => auth.properties,
            _ => Properties::EMPTY, // judged where a code can answer
        };
        if let Some(limit) = user_limit(shared.config.of(self.listener), properties) {
            return Err(Violation::UserProperties(limit));
        }
        match packet {
            Packet::Connect(_) => return Err(Violation::SecondConnect), // [MQTT-3.1.0-2]
            Packet::Publish(publish) => return self.on_publish(shared, turn, publish),
            Packet::PubAck(ack) => return self.on_puback(shared, turn, ack),
            Packet::PubRec(ack) => return self.on_pubrec(shared, turn, ack),
            Packet::PubRel(ack) => self.on_pubrel(shared, turn, ack),
            Packet::PubComp(ack) => return self.on_pubcomp(shared, turn, ack),
            Packet::Subscribe(subscribe) => {
                return self.on_subscribe(shared, subscribe);
            }
            Packet::Unsubscribe(unsubscribe) => {
                return self.on_unsubscribe(shared, unsubscribe);
            }
            Packet::PingReq => {
                self.send(shared, &Packet::PingResp); // [MQTT-3.12.4-1]
            }
            Packet::Disconnect(disconnect) => {
                return self.on_disconnect(shared, turn, disconnect);
            }
            Packet::Auth(auth) => return self.on_auth(shared, turn, auth),
            Packet::ConnAck(_) | Packet::SubAck(_) | Packet::UnsubAck(_) | Packet::PingResp => {
                return Err(crate::DecodeError::WrongDirection.into());
            }
        }
        Ok(())
    }

    fn on_publish(
        &mut self,
        shared: &mut Shared,
        turn: &Turn,
        publish: &Publish<'_>,
    ) -> Result<(), Violation> {
        shared.counters.publishes_received += 1;
        shared.counters.payload_received += publish.payload.len() as u64;
        if self.pace_mut().is_some_and(|pace| pace.publish(turn.now)) {
            shared.hit(self.id, Limit::MaxPublishRate, false);
        }
        let topic = self.resolve_topic(shared.config.of(self.listener), publish)?;
        let offer = self.offered(shared.config.of(self.listener));
        if publish.qos as u8 > offer.max_qos {
            return Err(Violation::QosNotSupported); // [MQTT-3.2.2-11]
        }
        if publish.retain && !offer.retain_available {
            return Err(Violation::RetainNotSupported); // [MQTT-3.2.2-14]
        }
        let refused = refused(shared.config.of(self.listener), publish);
        let Some(id) = publish.id else {
            if let Some(violation) = refused {
                return Err(violation);
            }
            self.offer(shared, turn, publish, topic, NO_TICKET);
            return Ok(());
        };
        if publish.qos == Qos::ExactlyOnce && self.is_repeat(shared, turn, publish, &topic, id) {
            return Ok(());
        }
        self.count_open(shared)?;
        self.judge_held(shared, turn);
        if let Some(violation) = refused {
            if let Some(limit) = violation.limit(false) {
                shared.hit(self.id, limit, false);
            }
            let (code, _) = reply::reply_for(violation);
            let refused = match publish.qos {
                Qos::ExactlyOnce => Owed::PubRec(id, code),
                _ => Owed::PubAck(id, code),
            };
            self.acks.owe(Seq::NONE, refused);
            return Ok(());
        }
        let ticket = if publish.qos == Qos::ExactlyOnce {
            let incoming = Incoming::new(content_hash(topic.as_str(), publish.payload));
            let mut journal = self.journal(shared, turn);
            self.wire_mut().hold(id, incoming, &mut journal);
            self.acks.ask(Owed::PubRec(id, ReasonCode::Success))
        } else {
            self.acks.ask(Owed::PubAck(id, ReasonCode::Success))
        };
        self.offer(shared, turn, publish, topic, ticket);
        Ok(())
    }

    /// The topic name, by itself or by its alias (MQTT 5 §3.3.2.3.4). An alias is set whatever
    /// becomes of the message.
    fn resolve_topic(
        &mut self,
        config: &Config,
        publish: &Publish<'_>,
    ) -> Result<TopicName, Violation> {
        let alias = publish.properties.iter().find_map(|property| match property {
            Property::TopicAlias(alias) => Some(alias),
            _ => None,
        });
        // [MQTT-3.3.2-8, -9]
        if alias.is_some_and(|alias| alias == 0 || alias > self.offered(config).topic_alias_maximum)
        {
            return Err(Violation::TopicAlias);
        }
        if publish.topic.is_empty() {
            let known = self.aliases.as_ref().zip(alias).and_then(|(a, n)| a.inbound.get(n));
            return known.cloned().ok_or(Violation::Decode(crate::DecodeError::NoTopic));
        }
        if let Some(limit) = topic_limit(config, publish.topic) {
            return Err(Violation::TopicInvalid(limit));
        }
        let topic = TopicName::lenient(publish.topic)
            .map_err(|_| Violation::Decode(crate::DecodeError::BadTopicName))?;
        if let Some(alias) = alias {
            self.aliases.get_or_insert_default().inbound.set(alias, topic.clone());
        }
        Ok(topic)
    }

    /// Whether a QoS 2 publish is one that is held already; then it is answered again and goes
    /// no further. [MQTT-4.3.3-10]
    fn is_repeat(
        &mut self,
        shared: &mut Shared,
        turn: &Turn,
        publish: &Publish<'_>,
        topic: &TopicName,
        id: NonZeroU16,
    ) -> bool {
        let Some(wire) = self.wire.as_mut() else { return false };
        let after = wire.last_record;
        let Some(incoming) = wire.incoming(id) else { return false };
        let same = incoming.hash == content_hash(topic.as_str(), publish.payload);
        if !publish.dup && !same {
            // A client that lost its state reuses the id: its message must not vanish.
            shared.counters.reused_ids += 1;
            let counted = incoming.counted;
            let mut journal = self.journal(shared, turn);
            self.wire_mut().drop_held(id, &mut journal);
            self.open_publishes = self.open_publishes.saturating_sub(u16::from(counted));
            return false;
        }
        shared.counters.duplicates += 1;
        if !core::mem::replace(&mut incoming.counted, true) {
            self.open_publishes = self.open_publishes.saturating_add(1);
        }
        if incoming.taken {
            self.acks.owe(after, Owed::PubRec(id, ReasonCode::Success));
        } else if self.acks.unanswered().any(|(_, of)| of == id) {
            self.acks.ask_again(id);
        }
        true
    }

    /// Counts a publish against our Receive Maximum. [MQTT-3.3.4-9]
    fn count_open(&mut self, shared: &Shared) -> Result<(), Violation> {
        let max = self.offered(shared.config.of(self.listener)).receive_maximum.max(1);
        let held = self.wire.as_ref().map_or(0, |wire| wire.held_len());
        // What earlier connections left held is no fault of this one, but is bounded too.
        let full = self.open_publishes >= max || held >= 2 * usize::from(max);
        if full && self.version.is_v5() {
            return Err(Violation::ReceiveMaximum);
        }
        self.open_publishes = self.open_publishes.saturating_add(1);
        Ok(())
    }

    /// MQTT 3 has no word for how many publishes may be open. Who releases them as they are answered
    /// may have any number for a while; who does not is told of, and closed when that lasts.
    fn judge_held(&mut self, shared: &mut Shared, turn: &Turn) {
        if self.version.is_v5() {
            return;
        }
        let most = usize::from(shared.config.of(self.listener).max_awaiting_release);
        let Some(wire) = self.wire.as_mut() else { return };
        let over = wire.held_len() > most;
        if over && wire.over_since.is_none() {
            wire.over_since = Some(turn.now);
            shared.hit(self.id, Limit::MaxAwaitingRelease, false);
        } else if !over {
            wire.over_since = None;
        }
    }

    /// Hands a message to the layer above: topic and payload are copied here, once.
    fn offer(
        &mut self,
        shared: &mut Shared,
        turn: &Turn,
        publish: &Publish<'_>,
        topic: TopicName,
        ticket: u64,
    ) {
        let Some(session) = self.session else { return };
        let mut message = Message::new(topic, Bytes::copy_from_slice(publish.payload));
        message.qos = publish.qos;
        message.retain = publish.retain;
        message.expires = publish.properties.iter().find_map(|property| match property {
            Property::MessageExpiryInterval(secs) => {
                Some(turn.now + Duration::from_secs(u64::from(secs)))
            }
            _ => None,
        });
        message.properties = message_properties(publish.properties);
        let conn = self.id;
        shared.events.push_back(Event::Publish { conn, session, ticket, message });
    }

    /// PUBREL of the client's: the id is free again once that is committed. [MQTT-4.3.3-11]
    fn on_pubrel(&mut self, shared: &mut Shared, turn: &Turn, ack: &Ack<'_>) {
        let mut journal = self.journal(shared, turn);
        let found = self.wire.as_mut().map(|wire| {
            let incoming = wire.drop_held(ack.id, &mut journal);
            (incoming, wire.last_record)
        });
        let owed = match found {
            Some((Some(incoming), after)) => {
                (after, Owed::PubComp(ack.id, ReasonCode::Success, incoming.counted))
            }
            other => {
                shared.counters.unknown_acks += 1;
                let after = other.map_or(Seq::NONE, |(_, after)| after);
                (after, Owed::PubComp(ack.id, ReasonCode::PacketIdentifierNotFound, false))
            }
        };
        self.acks.owe(owed.0, owed.1);
        self.judge_held(shared, turn);
    }

    /// The state of a delivery under an id of ours, and what to do with an unknown id.
    fn flow(&mut self, shared: &mut Shared, id: NonZeroU16) -> Option<Flow> {
        let flow = self.wire.as_mut().and_then(|wire| wire.outgoing(id)).map(|out| out.flow);
        if flow.is_none() {
            shared.counters.unknown_acks += 1;
        }
        flow
    }

    fn on_puback(
        &mut self,
        shared: &mut Shared,
        turn: &Turn,
        ack: &Ack<'_>,
    ) -> Result<(), Violation> {
        match self.flow(shared, ack.id) {
            Some(Flow::AtLeastOnce) => self.finish(shared, turn, ack.id),
            Some(Flow::Complete) => {}
            Some(_) => return Err(Violation::WrongFlow),
            None => {}
        }
        Ok(())
    }

    fn on_pubrec(
        &mut self,
        shared: &mut Shared,
        turn: &Turn,
        ack: &Ack<'_>,
    ) -> Result<(), Violation> {
        let failed = ack.code.is_error(); // before 5.0 there is no refusal
        match self.flow(shared, ack.id) {
            Some(Flow::AtLeastOnce) => return Err(Violation::WrongFlow),
            // [MQTT-4.3.3-4]: it ends here, without a PUBREL.
            Some(_) if failed => self.finish(shared, turn, ack.id),
            Some(flow) => {
                let mut journal = self.journal(shared, turn);
                let wire = self.wire_mut();
                if flow == Flow::ExactlyOnce {
                    wire.release(ack.id, &mut journal);
                }
                let after = wire.last_record;
                self.owe_release(ack.id, after);
            }
            None if failed => {}
            None => {
                let code = ReasonCode::PacketIdentifierNotFound;
                self.acks.owe(Seq::NONE, Owed::PubRel(ack.id, code));
            }
        }
        Ok(())
    }

    fn on_pubcomp(
        &mut self,
        shared: &mut Shared,
        turn: &Turn,
        ack: &Ack<'_>,
    ) -> Result<(), Violation> {
        match self.flow(shared, ack.id) {
            Some(Flow::Released) => self.finish(shared, turn, ack.id),
            Some(Flow::Complete) => {}
            Some(_) => return Err(Violation::WrongFlow),
            None => {}
        }
        Ok(())
    }

    /// A delivery of ours is over on the wire.
    pub(super) fn finish(&mut self, shared: &mut Shared, turn: &Turn, id: NonZeroU16) {
        let mut journal = self.journal(shared, turn);
        let Some(wire) = self.wire.as_mut() else { return };
        let out = wire.outgoing(id).copied();
        if out.is_some_and(|out| !out.handed) {
            wire.complete(id, &mut journal);
            return self.release_again();
        }
        let delivery = out.map(|out| out.delivery);
        self.finish_wire(shared, turn, id);
        if let (Some(session), Some(delivery)) = (self.session, delivery) {
            shared.events.push_back(Event::Acked { session, delivery });
        }
    }

    /// MQTT 5 §3.14.4. What came behind it is not read.
    fn on_disconnect(
        &mut self,
        shared: &mut Shared,
        turn: &Turn,
        disconnect: &Disconnect<'_>,
    ) -> Result<(), Violation> {
        let expiry = disconnect.properties.iter().find_map(|property| match property {
            Property::SessionExpiryInterval(secs) => Some(secs),
            _ => None,
        });
        // MQTT 5 §3.14.2.2.2: judged by what CONNECT carried.
        if self.expiry_zero && expiry.is_some_and(|secs| secs != 0) {
            return Err(Violation::ExpiryFromZero);
        }
        let goodbye = Goodbye {
            drop_will: disconnect.code == ReasonCode::Success, // [MQTT-3.14.4-3]
            expiry: expiry.map(|secs| capped_expiry(secs, shared.config.of(self.listener))),
        };
        let reason = motegate_message::Reason::ClientDisconnect;
        self.leave(shared, turn, reason, goodbye, None);
        Ok(())
    }
}
