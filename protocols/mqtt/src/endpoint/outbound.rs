//! Packets to a client: deliveries with their packet ids and aliases, and what is owed.
//!
//! Deliveries leave in the order in which they come. One at QoS 2 of a durable session waits for
//! the record of its packet id, those behind it wait too; all wait behind a SUBACK that waits.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;
use core::num::NonZeroU16;

use motegate_message::{Delivery, Qos, Reason, Seq, Turn};
use motegate_timers::Instant;

use super::acks::{NO_TICKET, Owed, codes};
use super::alias::Choice;
use super::connection::{Connection, State};
use super::reply::{self, Violation};
use super::session::Flow;
use super::shared::Shared;
use crate::codec;
use crate::endpoint::{Event, Published, Ticket};
use crate::packet::{Ack, Packet, PacketType, Publish, SubAck, Version};
use crate::properties::{Properties, Property, PropertyBuf};
use crate::reason::ReasonCode;

/// One delivery on its way, its packet id given.
#[derive(Debug)]
pub(super) enum Parcel {
    Publish {
        delivery: Delivery,
        /// Replaces the message's topic.
        topic: Option<String>,
        stage: Stage,
    },
    /// PUBREL: the message is the client's already.
    Release(NonZeroU16),
}

/// How the delivery goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// QoS 0.
    Plain,
    /// PUBLISH under this id; the flag says that it was sent before. [MQTT-3.3.1-1]
    Publish(NonZeroU16, bool),
}

/// Deliveries that wait, in order.
#[derive(Debug, Default)]
pub(super) struct Parcels {
    waiting: VecDeque<(Seq, Parcel)>,
    releases: usize,
}

impl Parcels {
    /// The batch that the first waits for.
    pub(super) fn waits_for(&self) -> Option<Seq> {
        self.waiting.front().map(|(after, _)| *after)
    }

    pub(super) fn push(&mut self, after: Seq, parcel: Parcel) {
        self.releases += usize::from(matches!(parcel, Parcel::Release(_)));
        self.waiting.push_back((after, parcel));
    }

    /// Whether a PUBREL waits among them.
    pub(super) fn has_releases(&self) -> bool {
        self.releases > 0
    }

    fn pop(&mut self) -> Option<Parcel> {
        let (_, parcel) = self.waiting.pop_front()?;
        self.releases -= usize::from(matches!(parcel, Parcel::Release(_)));
        Some(parcel)
    }
}

/// Seconds left as they are sent: rounded up, at least 1 for what was begun in time and is sent late,
/// or again (MQTT 5 §3.3.2.3.3). An interval of 0 is sent as it came. [MQTT-3.3.2-6]
fn seconds_left(expires: Instant, now: Instant, repeat: bool) -> u32 {
    let left = expires.saturating_since(now).as_micros().div_ceil(1_000_000);
    let left = u32::try_from(left).unwrap_or(u32::MAX);
    if repeat || expires < now { left.max(1) } else { left }
}

impl Connection {
    /// A message for the session.
    pub(super) fn deliver(
        &mut self,
        shared: &mut Shared,
        turn: &Turn,
        delivery: Delivery,
        topic: Option<String>,
    ) {
        if !matches!(self.state, State::Open | State::Gated) {
            return; // the broker keeps it for the next connection
        }
        self.charge(&delivery);
        // Also one that the broker does not call a repetition: after a crash it cannot know.
        let known = self.wire.as_ref().and_then(|wire| wire.by_delivery(delivery.id));
        let (id, mut after) = (delivery.id, Seq::NONE);
        let stage = match known {
            _ if delivery.qos == Qos::AtMostOnce => Stage::Plain,
            Some(out) => {
                self.wire_mut().hand(out.id);
                match out.flow {
                    Flow::Complete => return self.finish(shared, turn, out.id),
                    Flow::Released => return, // its PUBREL needs no word
                    Flow::AtLeastOnce | Flow::ExactlyOnce => {}
                }
                self.go_on(id, false);
                after = self.wire.as_ref().map_or(Seq::NONE, |wire| wire.last_record);
                Stage::Publish(out.id, out.sent)
            }
            None => {
                self.go_on(id, false);
                let Some(id) = self.begin(shared, turn, &delivery, topic.as_deref()) else {
                    return;
                };
                // The packet id must be known after a crash; at QoS 1 a repeat is allowed.
                if delivery.qos == Qos::ExactlyOnce && self.durable && turn.durable {
                    after = turn.seq;
                }
                Stage::Publish(id, false)
            }
        };
        if self.parcels.is_none() && after <= shared.committed && self.may_deliver() {
            self.send_publish(shared, turn, &delivery, topic.as_deref(), stage);
        } else {
            let parcel = Parcel::Publish { delivery, topic, stage };
            self.parcels.get_or_insert_default().push(after, parcel);
        }
        self.go_on(id, true);
    }

    /// A delivery that has no name on this connection: its room is given back.
    pub(super) fn pass_over(&mut self, delivery: &Delivery) {
        if !matches!(self.state, State::Open | State::Gated) {
            return;
        }
        self.charge(delivery);
        self.go_on(delivery.id, true); // no PUBREL waits for it
    }

    /// Takes the room of a delivery, as the broker does on its side.
    fn charge(&mut self, delivery: &Delivery) {
        let size = u32::try_from(delivery.message.size()).unwrap_or(u32::MAX);
        self.room = self.room.saturating_sub(size);
    }

    fn may_deliver(&self) -> bool {
        self.state == State::Open && !self.acks.holds_deliveries()
    }

    /// Gives a new delivery its packet id; one that the client cannot take gets none and is over
    /// (MQTT 5 §3.1.2.11.4).
    fn begin(
        &mut self,
        shared: &mut Shared,
        turn: &Turn,
        delivery: &Delivery,
        topic: Option<&str>,
    ) -> Option<NonZeroU16> {
        if self.max_packet != u32::MAX {
            let probe = Stage::Publish(NonZeroU16::MIN, false);
            let (len, _) = self.measure(shared, turn, delivery, topic, probe);
            if len > self.max_packet as usize {
                self.too_large(shared, delivery, false);
                return None;
            }
        }
        let flow = match delivery.qos {
            Qos::ExactlyOnce => Flow::ExactlyOnce,
            _ => Flow::AtLeastOnce,
        };
        let mut journal = self.journal(shared, turn);
        self.wire_mut().begin(delivery.id, flow, &mut journal)
    }

    /// The client cannot take it: it is as good as delivered, unless another member of its group
    /// can. [MQTT-3.1.2-24, -25] What was sent at QoS 2 stays with who may have it.
    /// [MQTT-4.8.2-5]
    fn too_large(&self, shared: &mut Shared, delivery: &Delivery, sent: bool) {
        shared.counters.oversize_dropped += 1;
        let Some(session) = self.session else { return };
        let may_have_it = (sent || delivery.again) && delivery.qos == Qos::ExactlyOnce;
        if delivery.share != 0 && !may_have_it {
            let delivery = Box::new(delivery.clone());
            shared.events.push_back(Event::TooLarge { session, delivery });
        } else if delivery.qos != Qos::AtMostOnce {
            shared.events.push_back(Event::Acked { session, delivery: delivery.id });
        }
    }

    /// Sends deliveries that wait no longer.
    pub(super) fn flush_parcels(&mut self, shared: &mut Shared, turn: &Turn) {
        while self.may_deliver() {
            let Some(parcels) = self.parcels.as_mut() else { return };
            if parcels.waits_for().is_some_and(|after| after > shared.committed) {
                return;
            }
            let Some(parcel) = parcels.pop() else {
                self.parcels = None;
                return;
            };
            match parcel {
                Parcel::Release(id) => {
                    self.send_owed(shared, Owed::PubRel(id, ReasonCode::Success));
                }
                Parcel::Publish { delivery, stage: Stage::Plain, .. }
                    if delivery.message.expires.is_some_and(|at| at < turn.now) =>
                {
                    shared.counters.expired_dropped += 1; // [MQTT-3.3.2-5]
                }
                Parcel::Publish { delivery, topic, stage } => {
                    self.send_publish(shared, turn, &delivery, topic.as_deref(), stage);
                }
            }
        }
    }

    fn send_publish(
        &mut self,
        shared: &mut Shared,
        turn: &Turn,
        delivery: &Delivery,
        topic: Option<&str>,
        stage: Stage,
    ) {
        let (len, choice) = self.measure(shared, turn, delivery, topic, stage);
        if len > self.max_packet as usize {
            if let Stage::Publish(id, _) = stage {
                self.finish_wire(shared, turn, id);
            }
            return self.too_large(shared, delivery, matches!(stage, Stage::Publish(_, true)));
        }
        let name = topic.unwrap_or(delivery.message.topic.as_str());
        let (id, dup) = match stage {
            Stage::Publish(id, sent) => (Some(id), sent),
            Stage::Plain => (None, false),
        };
        let publish = Publish {
            dup,
            qos: delivery.qos,
            retain: delivery.retain,
            topic: if matches!(choice, Choice::Use(_)) { "" } else { name },
            id,
            properties: shared.scratch.as_properties(),
            payload: &delivery.message.payload,
        };
        let out = self.outbox.buffer(&mut shared.pool);
        if codec::encode_publish(&publish, self.version, out).is_err() {
            return; // neither topic nor payload can be longer than MQTT allows
        }
        shared.counters.packets_sent += 1;
        shared.counters.publishes_sent += 1;
        shared.counters.payload_sent += delivery.message.payload.len() as u64;
        if choice != Choice::Plain || self.alias_max > 0 && !delivery.again && !dup {
            self.aliases.get_or_insert_default().outbound.commit(name, choice);
        }
        if let Some(out) = id.and_then(|id| self.wire.as_mut()?.outgoing(id)) {
            out.sent = true;
        }
    }

    /// Bytes of the PUBLISH and how it names its topic; its properties are then in
    /// `shared.scratch`.
    fn measure(
        &self,
        shared: &mut Shared,
        turn: &Turn,
        delivery: &Delivery,
        topic: Option<&str>,
        stage: Stage,
    ) -> (usize, Choice) {
        let name = topic.unwrap_or(delivery.message.topic.as_str());
        // What is sent again carries its topic in full.
        let repeat = delivery.again || matches!(stage, Stage::Publish(_, true));
        let choice = if self.alias_max == 0 || repeat {
            Choice::Plain
        } else {
            match &self.aliases {
                Some(aliases) => aliases.outbound.choose(name, self.alias_max),
                None => Choice::Set(1),
            }
        };
        shared.scratch.clear();
        if self.version.is_v5() {
            write_properties(&mut shared.scratch, turn, delivery, choice, repeat);
        }
        let publish = Publish {
            dup: false,
            qos: delivery.qos,
            retain: delivery.retain,
            topic: if matches!(choice, Choice::Use(_)) { "" } else { name },
            id: (stage != Stage::Plain).then_some(NonZeroU16::MIN),
            properties: shared.scratch.as_properties(),
            payload: &delivery.message.payload,
        };
        (codec::publish_len(&publish, self.version), choice)
    }

    /// The layer above has taken a publish over, or refused it.
    pub(super) fn published(
        &mut self,
        shared: &mut Shared,
        turn: &Turn,
        ticket: Ticket,
        result: Result<Published, Reason>,
    ) {
        let v5 = self.version.is_v5();
        let fatal = match result {
            Err(reason)
                if shared.config.of(self.listener).deny_disconnects && reply::is_denial(reason) =>
            {
                Some(Violation::Denied)
            }
            Err(Reason::BadPayload) if ticket == NO_TICKET && v5 => Some(Violation::PayloadFormat),
            // [MQTT-3.3.5-2] of 3.1.1: acknowledged, or closed. It comes again with the session.
            Err(Reason::StorageFull) if ticket != NO_TICKET && !v5 => Some(Violation::NotStored),
            _ => None,
        };
        if ticket == NO_TICKET && result.is_err() {
            shared.counters.refused_qos0 += 1;
        }
        if let Some(violation) = fatal {
            self.fail(shared, turn, violation);
            return shared.orphan_answered(turn, (self.id, ticket), false);
        }
        let leaving = self.aliases.as_ref().and_then(|aliases| aliases.leaving.as_ref());
        let left = leaving.map(|leaving| leaving.written);
        let Some(owed) = self.acks.asked(ticket) else { return };
        let answer = match result {
            Ok(published) if published.matched || !v5 => ReasonCode::Success,
            Ok(_) => ReasonCode::NoMatchingSubscribers,
            Err(reason) if v5 => reply::publish_code(reason),
            // What would be refused for good is acknowledged in MQTT 3: [MQTT-3.3.5-2].
            Err(_) => ReasonCode::Success,
        };
        let mut after = result.map_or(Seq::NONE, |published| published.after);
        match owed {
            Owed::PubAck(_, code) => *code = answer,
            Owed::PubRec(id, code) => {
                *code = answer;
                let id = *id;
                if let Some(written) = left {
                    // Its session has what it needs; an orphan was told.
                    self.acks.answer(ticket, after.max(written));
                    return self.acks.answer_again(id, answer, after.max(written));
                }
                let mut journal = self.journal(shared, turn);
                let wire = self.wire_mut();
                if answer.is_error() {
                    wire.drop_held(id, &mut journal);
                } else if wire.incoming(id).is_some() {
                    wire.take(id, result.is_ok(), &mut journal);
                    after = after.max(wire.last_record);
                }
                self.acks.answer_again(id, answer, after);
            }
            _ => return,
        }
        self.acks.answer(ticket, after);
    }

    /// Writes what is owed.
    pub(super) fn send_owed(&mut self, shared: &mut Shared, owed: Owed) {
        match owed {
            Owed::PubAck(id, code) => {
                self.open_publishes = self.open_publishes.saturating_sub(1);
                self.send_ack(shared, id, code, PacketType::PubAck);
            }
            Owed::PubRec(id, code) => {
                if code.is_error() {
                    self.open_publishes = self.open_publishes.saturating_sub(1);
                }
                self.send_ack(shared, id, code, PacketType::PubRec);
            }
            Owed::PubRecAgain(id, code) => self.send_ack(shared, id, code, PacketType::PubRec),
            Owed::PubRel(id, code) => self.send_ack(shared, id, code, PacketType::PubRel),
            Owed::PubComp(id, code, counted) => {
                self.open_publishes = self.open_publishes.saturating_sub(u16::from(counted));
                self.send_ack(shared, id, code, PacketType::PubComp);
            }
            Owed::SubAck(id, answers) => {
                let codes = codes(&answers, self.version == Version::V31);
                self.send_list(shared, id, codes, PacketType::SubAck);
            }
            Owed::UnsubAck(id, codes) => {
                self.send_list(shared, id, codes.into_vec(), PacketType::UnsubAck);
            }
            Owed::ConnAck(_) => {}
        }
    }

    /// The phrase for a failure, where the client wants one (MQTT 5 §3.1.2.11.7).
    fn explain(&self, code: ReasonCode) -> Option<PropertyBuf> {
        let wanted = self.version.is_v5() && self.problem_info && code.is_error();
        let phrase = reply::phrase(code).filter(|_| wanted)?; // [MQTT-3.1.2-29]
        Some([Property::ReasonString(phrase)].into_iter().collect())
    }

    fn send_ack(
        &mut self,
        shared: &mut Shared,
        id: NonZeroU16,
        code: ReasonCode,
        kind: PacketType,
    ) {
        let explained = self.explain(code).is_some_and(|properties| {
            let properties = properties.as_properties();
            self.send(shared, &ack_packet(kind, Ack { id, code, properties }))
        });
        if !explained {
            self.send(shared, &ack_packet(kind, Ack::new(id, code)));
        }
    }

    /// A list that does not fit even without its reason string ends the connection.
    fn send_list(
        &mut self,
        shared: &mut Shared,
        id: NonZeroU16,
        codes: Vec<ReasonCode>,
        kind: PacketType,
    ) {
        let failure = codes.iter().copied().find(|code| code.is_error());
        let explained = failure.and_then(|code| self.explain(code)).is_some_and(|properties| {
            let properties = properties.as_properties();
            self.send(shared, &list_packet(kind, SubAck { id, properties, codes: codes.clone() }))
        });
        let plain = SubAck { id, properties: Properties::EMPTY, codes };
        if !explained && !self.send(shared, &list_packet(kind, plain)) {
            self.unsendable = true;
        }
    }
}

fn ack_packet(kind: PacketType, ack: Ack<'_>) -> Packet<'_> {
    match kind {
        PacketType::PubRec => Packet::PubRec(ack),
        PacketType::PubRel => Packet::PubRel(ack),
        PacketType::PubComp => Packet::PubComp(ack),
        _ => Packet::PubAck(ack),
    }
}

fn list_packet(kind: PacketType, list: SubAck<'_>) -> Packet<'_> {
    if kind == PacketType::UnsubAck { Packet::UnsubAck(list) } else { Packet::SubAck(list) }
}

/// The properties of a PUBLISH to this receiver.
fn write_properties(
    out: &mut PropertyBuf,
    turn: &Turn,
    delivery: &Delivery,
    choice: Choice,
    repeat: bool,
) {
    let message = &delivery.message;
    if let Some(carried) = &message.properties {
        if let Some(utf8) = carried.payload_utf8 {
            out.push(Property::PayloadFormatIndicator(utf8));
        }
        if let Some(text) = &carried.content_type {
            out.push(Property::ContentType(text));
        }
        if let Some(text) = &carried.response_topic {
            out.push(Property::ResponseTopic(text));
        }
        if let Some(data) = &carried.correlation_data {
            out.push(Property::CorrelationData(data));
        }
        for (name, value) in &carried.user {
            out.push(Property::UserProperty(name, value)); // [MQTT-3.3.2-18]: in order
        }
    }
    if let Some(expires) = message.expires {
        let left = seconds_left(expires, turn.now, repeat);
        out.push(Property::MessageExpiryInterval(left));
    }
    for id in delivery.identifiers.iter().flat_map(|ids| ids.iter()) {
        out.push(Property::SubscriptionIdentifier(*id)); // [MQTT-3.3.4-3…5]
    }
    if let Choice::Set(alias) | Choice::Use(alias) = choice {
        out.push(Property::TopicAlias(alias));
    }
}
