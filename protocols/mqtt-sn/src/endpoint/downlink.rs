//! Deliveries to a client: REGISTER when it does not know the id, then PUBLISH, then the handshake
//! of its QoS (MQTT-SN 1.2 §6.6, §6.10), one packet in flight, strictly in order.
//!
//! Retransmission: REGISTER, PUBLISH (with DUP) and PUBREL are repeated every T_RETRY, N_RETRY
//! times, then the client counts as lost. §6.13 words that for clients only; over UDP a gateway
//! needs it as well.
//!
//! A delivery that is unanswered when its client falls asleep stays here and is the first thing
//! sent at its next awakening; the broker repeats deliveries to a new connection only.

use alloc::boxed::Box;

use motegate_message::{DeliveryId, Qos, Reason, Seq};

use super::Held;
use super::budget::{Budget, RESERVE};
use super::clients::State;
use super::config::PUBLISH_HEAD;
use super::contract::Event;
use super::journal::{self, Key};
use super::line::{Line, bits};
use super::wire::{Current, Handshake, Item, Sending, Stage};
use crate::{Packet, ReturnCode, TopicId};

/// Bytes that a client's endpoint side takes beyond what it has sent. UDP never blocks: this only
/// keeps a burst of QoS 0 behind an unanswered packet in the broker's queue, where its policy
/// holds.
pub(super) const ROOM: u32 = 64 * 1024;

/// Most deliveries that wait here, however small.
const MAX_QUEUED: usize = 1024;

/// REGISTERs for one delivery before the client's answers are taken for a refusal.
pub(super) const MAX_REGISTERS: u8 = 2;

/// How a delivery's topic is to be named.
enum Naming {
    Id(TopicId),
    Register(u16),
    Refused(Reason),
    /// Not in the format of the id that the client subscribed with.
    Unsayable(Box<str>),
}

/// What is sent under this id.
fn payload(item: &Item, topic: TopicId) -> &[u8] {
    match (topic, &item.names.by_predefined) {
        (TopicId::Predefined(_), Some(Ok(payload))) => payload,
        _ => &item.delivery.message.payload,
    }
}

impl Line<'_> {
    /// A message for the client.
    pub(super) fn deliver(&mut self, item: Item) {
        let size = u32::try_from(item.delivery.message.size()).unwrap_or(u32::MAX);
        self.client.spent = self.client.spent.saturating_add(size);
        if item.delivery.qos != Qos::AtMostOnce && !item.delivery.again {
            self.unpublished(true);
        }
        if self.wire.out.is_none() && self.may_send() {
            // The common case costs no queue.
            if let Some(current) = self.start(item, 0) {
                self.wire.out.get_or_insert_default().current = Some(current);
            }
        } else {
            let out = self.wire.out.get_or_insert_default();
            if out.queue.len() >= MAX_QUEUED && item.delivery.qos == Qos::AtMostOnce {
                self.dropped(Reason::QueueFull);
            } else {
                out.enqueue(item);
            }
        }
        self.pump();
    }

    /// Sends what may be sent, then settles credit and the end of an awake phase.
    pub(super) fn pump(&mut self) {
        while self.may_send() {
            let Some(out) = &mut self.wire.out else { break };
            if out.current.is_some() {
                break;
            }
            let Some(item) = out.queue.pop_front() else {
                self.wire.out = None;
                break;
            };
            let current = self.start(item, 0);
            if let Some(out) = &mut self.wire.out {
                out.current = current;
            }
        }
        self.settle();
    }

    /// Nothing is ever sent to a sleeper (§6.14), and no delivery before the SUBACK that gives
    /// its topic id.
    fn may_send(&self) -> bool {
        matches!(self.client.state, State::Active | State::Awake) && self.client.subacks_held == 0
    }

    fn settle(&mut self) {
        if self.client.state == State::Awake && self.client.drained && self.wire.out.is_none() {
            self.fall_asleep_again();
            return;
        }
        if self.client.spent < ROOM / 2 {
            return;
        }
        let waiting = self.wire.out.as_ref().map_or(0, |out| {
            let current = out.current.as_ref().map(|current| &current.item);
            current.into_iter().chain(&out.queue).map(|item| item.delivery.message.size()).sum()
        });
        let waiting = u32::try_from(waiting).unwrap_or(u32::MAX);
        if self.client.spent.saturating_sub(waiting) >= ROOM / 2 {
            self.client.spent = waiting;
            self.credit();
        }
    }

    /// Says anew what is taken. An awake client is still a sleeper to the bounds of its queue.
    pub(super) fn credit(&mut self) {
        let session = self.wire.session;
        let room = ROOM.saturating_sub(self.client.spent);
        let listener = self.client.peer.listener;
        let (window, room, asleep) = match self.client.state {
            State::Awake => {
                self.client.credited = true;
                (1, room, true)
            }
            State::Active => (1, room, false),
            State::Connecting | State::Asleep => (0, 0, true),
        };
        self.events.push_back(Event::Credit { session, listener, window, room, asleep });
    }

    /// Begins a delivery; gives back what then waits for an answer.
    fn start(&mut self, item: Item, registers: u8) -> Option<Current> {
        if let Some(sending) = self.sending(item.delivery.id) {
            match sending.handshake {
                Handshake::Publish => {}
                Handshake::Release => {
                    let topic = TopicId::Normal(0);
                    return Some(self.enter(
                        item,
                        Stage::Release,
                        sending.msg_id,
                        topic,
                        registers,
                    ));
                }
                Handshake::Complete => {
                    self.finish(item.delivery.id);
                    return None;
                }
            }
        }
        if item.delivery.message.is_expired(self.turn.now) {
            self.give_up(&item, Reason::MessageExpired);
            return None;
        }
        match self.naming(&item) {
            Naming::Refused(reason) => {
                self.give_up(&item, reason);
                None
            }
            Naming::Unsayable(text) => {
                self.done_with(&item);
                self.events.push_back(Event::Undeliverable { client: self.at, text });
                None
            }
            Naming::Register(_) if registers >= MAX_REGISTERS => {
                self.give_up(&item, Reason::SnRegisterRefused);
                None
            }
            Naming::Register(id) => self.register(item, id, registers),
            Naming::Id(topic) => self.publish(item, topic, registers),
        }
    }

    /// Bytes of a PUBLISH of this item, wrapper included.
    fn publish_len(&self, item: &Item, topic: TopicId) -> usize {
        payload(item, topic).len() + PUBLISH_HEAD + self.client.overhead()
    }

    /// Bytes of a REGISTER of this item's name, wrapper included.
    pub(super) fn register_len(&self, item: &Item) -> usize {
        item.names.name.as_str().len() + 8 + self.client.overhead()
    }

    pub(super) fn register(&mut self, item: Item, id: u16, registers: u8) -> Option<Current> {
        let reaches = self.client.budget.affords(self.register_len(&item));
        if !reaches && item.delivery.qos == Qos::AtMostOnce {
            self.give_up(&item, Reason::SnAddressUnproven);
            return None;
        }
        let msg_id = self.wire.take_msg_id();
        Some(self.enter(item, Stage::Register, msg_id, TopicId::Normal(id), registers + 1))
    }

    fn publish(&mut self, item: Item, topic: TopicId, registers: u8) -> Option<Current> {
        let length = self.publish_len(&item, topic);
        // MQTT-SN 1.2 §6.10: what is too long for the network is dropped towards the client.
        if length > self.config.max_datagram {
            self.give_up(&item, Reason::TooLarge);
            return None;
        }
        if !self.client.budget.affords(length + RESERVE) {
            return self.challenge(item, topic, registers);
        }
        let msg_id = match item.delivery.qos {
            Qos::AtMostOnce => {
                self.send_publish(&item, topic, 0, false); // §5.4.12: MsgId 0x0000
                return None;
            }
            Qos::AtLeastOnce => self.wire.take_msg_id(),
            Qos::ExactlyOnce => self.begin_sending(item.delivery.id),
        };
        Some(self.enter(item, Stage::Publish, msg_id, topic, registers))
    }

    fn naming(&mut self, item: &Item) -> Naming {
        let names = &item.names;
        if let Some(exchange) = &self.wire.exchange {
            // §6.10, in the words of the checklist: the type subscribed with.
            let alternatives =
                [names.predefined.map(TopicId::Predefined), names.short.map(TopicId::Short)];
            let typed =
                alternatives.into_iter().flatten().find(|id| exchange.is_subscribed_by(*id));
            match (typed, &names.by_predefined) {
                (Some(TopicId::Predefined(_)), Some(Err(text))) => {
                    return Naming::Unsayable(text.clone());
                }
                (Some(typed), _) => return Naming::Id(typed),
                (None, _) => {}
            }
        }
        let known = self.wire.topics.id(&names.name);
        if let Some(id) = known {
            if self.wire.topics.is_refused(id) {
                return Naming::Refused(Reason::SnRegisterRefused);
            }
            if self.wire.topics.is_known(id) {
                return Naming::Id(TopicId::Normal(id));
            }
        }
        if self.register_len(item) > self.config.max_datagram {
            return Naming::Refused(Reason::SnTopicTooLong); // §6.10
        }
        if self.publish_len(item, TopicId::Normal(0)) > self.config.max_datagram {
            // No id is given out for what cannot follow.
            return Naming::Refused(Reason::TooLarge);
        }
        match known.or_else(|| self.allocate(&names.name)) {
            Some(id) => Naming::Register(id),
            None => Naming::Refused(Reason::QuotaExceeded),
        }
    }

    /// One packet waits for its answer from now on; it leaves when what it tells is stored.
    pub(super) fn enter(
        &mut self,
        item: Item,
        stage: Stage,
        msg_id: u16,
        topic: TopicId,
        registers: u8,
    ) -> Current {
        let after = match stage {
            Stage::Publish if item.delivery.qos != Qos::ExactlyOnce => Seq::NONE,
            _ => self.wire.written,
        };
        let retries = self.config.max_retries;
        let mut current =
            Current { item, stage, msg_id, topic, after, sent: false, retries, registers };
        if after <= self.committed {
            self.transmit(&mut current);
        } else {
            self.gate.push(after, Held::Downlink(self.at));
        }
        current
    }

    fn transmit(&mut self, current: &mut Current) {
        let length = match current.stage {
            Stage::Register => self.register_len(&current.item),
            Stage::Publish => self.publish_len(&current.item, current.topic),
            Stage::Release => 0,
        };
        if !self.client.budget.affords(length) {
            *self.unproven_held += 1;
            return self.arm_retry(); // it may have sent more by then
        }
        let again = core::mem::replace(&mut current.sent, true);
        let msg_id = current.msg_id;
        match current.stage {
            Stage::Register => self.send(&Packet::Register {
                topic_id: current.topic.raw(),
                msg_id,
                name: current.item.names.name.as_str(),
            }),
            Stage::Publish => {
                // §5.3.4: what the broker handed to an earlier connection may have come no further than
                // its REGISTER.
                let new = self.unpublished(false);
                let dup = again || current.item.delivery.again && !new;
                self.send_publish(&current.item, current.topic, msg_id, dup);
            }
            Stage::Release => self.send(&Packet::PubRel { msg_id }),
        }
        self.arm_retry();
    }

    /// Notes whether the last delivery has never been published; what was noted before.
    fn unpublished(&mut self, now: bool) -> bool {
        let exchange = self.wire.exchange.as_mut();
        exchange.is_some_and(|exchange| core::mem::replace(&mut exchange.unpublished, now))
    }

    fn send_publish(&mut self, item: &Item, topic: TopicId, msg_id: u16, dup: bool) {
        self.send(&Packet::Publish {
            dup,
            qos: bits(item.delivery.qos),
            retain: item.delivery.retain,
            topic,
            msg_id,
            data: payload(item, topic),
        });
    }

    /// A batch that the packet in flight waited for is stored.
    pub(super) fn released(&mut self) {
        if self.may_send() {
            self.with_current(|line, current| {
                if !current.sent && current.after <= line.committed {
                    line.transmit(current);
                }
            });
        }
    }

    /// The client woke: what was unanswered goes first, then what waits.
    pub(super) fn resume_downlink(&mut self) {
        let current = self.wire.out.as_ref().and_then(|out| out.current.as_ref());
        if current.is_some_and(|current| current.sent) && self.was_in_vain() {
            return;
        }
        let retries = self.config.max_retries;
        self.with_current(|line, current| {
            current.retries = retries;
            if current.after <= line.committed {
                line.transmit(current);
            }
        });
        self.pump();
    }

    /// T_RETRY is over; `false` when N_RETRY repeats were in vain.
    pub(super) fn retry(&mut self) -> bool {
        if !self.may_send() {
            if self.client.state != State::Asleep {
                self.arm_retry(); // a SUBACK is held: not lost, only later
            }
            return true;
        }
        let mut lost = false;
        self.with_current(|line, current| {
            if current.after > line.committed {
                return; // its first copy waits for the store
            }
            match current.retries.checked_sub(1) {
                Some(left) => {
                    current.retries = left;
                    line.transmit(current);
                }
                // It was never sent because the client has not proved its address: that is the
                // gateway's doubt and no silence of the client's.
                None if !current.sent && line.client.state == State::Active => {
                    line.transmit(current);
                }
                None => lost = true,
            }
        });
        if lost && self.client.state == State::Awake {
            self.sleeps_unheard(); // counted when it wakes
            return true;
        }
        !lost || self.was_in_vain() || self.passes_over()
    }

    fn with_current(&mut self, f: impl FnOnce(&mut Self, &mut Current)) {
        let current = self.wire.out.as_mut().and_then(|out| out.current.take());
        if let Some(mut current) = current {
            f(self, &mut current);
            if let Some(out) = &mut self.wire.out {
                out.current = Some(current);
            }
        }
    }

    /// Takes the delivery in flight if it is this one that `msg_id` answers.
    fn take_current(&mut self, msg_id: u16, stage: Stage) -> Option<Current> {
        let out = self.wire.out.as_mut()?;
        let current = out.current.take_if(|c| c.msg_id == msg_id && c.stage == stage && c.sent)?;
        self.client.stop_retry();
        // Only who reads what is sent there knows the id; at QoS 2 it may be of an earlier
        // connection from elsewhere.
        if current.item.delivery.qos == Qos::AtLeastOnce || stage == Stage::Register {
            self.client.budget = Budget::PROVEN;
        }
        Some(current)
    }

    pub(super) fn put_back(&mut self, current: Option<Current>) {
        self.wire.out.get_or_insert_with(Box::default).current = current;
    }

    /// The next packet of a delivery, at the client's next awakening if it has fallen asleep.
    fn go_on(&mut self, current: Current) {
        if self.may_send() {
            let current = self.start(current.item, current.registers);
            self.put_back(current);
        } else {
            self.wire.out.get_or_insert_default().queue.push_front(current.item);
        }
    }

    pub(super) fn on_regack(&mut self, msg_id: u16, code: ReturnCode) {
        let Some(current) = self.take_current(msg_id, Stage::Register) else { return };
        match code {
            ReturnCode::Accepted => {
                self.wire.topics.set_known(current.topic.raw(), true);
                self.go_on(current);
            }
            ReturnCode::Congestion => self.give_time(current),
            _ => {
                // MQTT-SN 1.2 §6.10: the rejection unsubscribes this name, not the wildcard.
                self.set_refused(current.topic.raw(), true);
                self.give_up(&current.item, Reason::SnRegisterRefused);
            }
        }
        self.pump();
    }

    pub(super) fn on_puback(&mut self, topic_id: u16, msg_id: u16, code: ReturnCode) {
        let Some(current) = self.take_current(msg_id, Stage::Publish) else {
            if code == ReturnCode::InvalidTopicId {
                // For a PUBLISH at QoS 0 that is gone; the next one registers first.
                self.wire.topics.set_known(topic_id, false);
            }
            return;
        };
        let qos1 = current.item.delivery.qos == Qos::AtLeastOnce;
        match (code, current.topic) {
            (ReturnCode::Accepted, _) if qos1 => self.finish(current.item.delivery.id),
            (ReturnCode::InvalidTopicId, TopicId::Normal(id)) => {
                // MQTT-SN 1.2 §6.10: the mapping is forgotten, registered again, and used again.
                self.wire.topics.set_known(id, false);
                self.go_on(current);
            }
            (ReturnCode::Congestion, _) => self.give_time(current),
            (ReturnCode::Accepted, _) => {
                self.arm_retry();
                self.put_back(Some(current));
            }
            (ReturnCode::InvalidTopicId, _) => {
                self.give_up(&current.item, Reason::SnUnknownTopicId);
            }
            (ReturnCode::NotSupported | ReturnCode::Reserved(_), _) => {
                self.give_up(&current.item, Reason::NotSupported);
            }
        }
        self.pump();
    }

    pub(super) fn on_pubrec(&mut self, msg_id: u16) {
        let at_qos2 = self.wire.exchange.as_ref().and_then(|exchange| exchange.sending);
        let Some(sending) = at_qos2.filter(|sending| sending.msg_id == msg_id) else {
            // Nothing is known of it: PUBREL lets the client finish.
            self.send(&Packet::PubRel { msg_id });
            return;
        };
        if sending.handshake != Handshake::Publish {
            let waiting = self.take_current(msg_id, Stage::Release);
            match waiting {
                Some(mut current) => {
                    self.transmit(&mut current);
                    self.put_back(Some(current));
                }
                // Its PUBREL waits for the store, or for the client to wake.
                None if self.has_current(sending.delivery) => {}
                None => self.reply(Seq::NONE, Packet::PubRel { msg_id }),
            }
            return;
        }
        self.set_sending(Some(Sending { handshake: Handshake::Release, ..sending }));
        match self.take_current(msg_id, Stage::Publish) {
            Some(current) => {
                let Current { item, topic, registers, .. } = current;
                let current = self.enter(item, Stage::Release, msg_id, topic, registers);
                self.put_back(Some(current));
            }
            // The delivery has not come again on this connection yet.
            None => self.reply(Seq::NONE, Packet::PubRel { msg_id }),
        }
    }

    pub(super) fn on_pubcomp(&mut self, msg_id: u16) {
        let at_qos2 = self.wire.exchange.as_ref().and_then(|exchange| exchange.sending);
        let answers = |s: &Sending| s.msg_id == msg_id && s.handshake == Handshake::Release;
        let Some(sending) = at_qos2.filter(answers) else { return };
        if self.take_current(msg_id, Stage::Release).is_some() || self.take_queued(sending.delivery)
        {
            self.finish(sending.delivery);
        } else if !self.has_current(sending.delivery) {
            self.set_sending(Some(Sending { handshake: Handshake::Complete, ..sending }));
        }
        self.pump();
    }

    /// Takes a delivery that a new connection has again, behind others.
    fn take_queued(&mut self, delivery: DeliveryId) -> bool {
        let Some(out) = &mut self.wire.out else { return false };
        let before = out.queue.len();
        out.queue.retain(|item| item.delivery.id != delivery);
        out.queue.len() < before
    }

    /// Whether this delivery is the one in flight.
    fn has_current(&self, delivery: DeliveryId) -> bool {
        let current = self.wire.out.as_ref().and_then(|out| out.current.as_ref());
        current.is_some_and(|current| current.item.delivery.id == delivery)
    }

    /// The delivery is done with.
    pub(super) fn finish(&mut self, delivery: DeliveryId) {
        if self.sending(delivery).is_some() {
            self.set_sending(None);
        }
        self.events.push_back(Event::Acked { session: self.wire.session, delivery });
    }

    fn sending(&self, delivery: DeliveryId) -> Option<Sending> {
        let sending = self.wire.exchange.as_ref()?.sending;
        sending.filter(|sending| sending.delivery == delivery)
    }

    /// The message id of a QoS 2 delivery: the one it had on an earlier connection, or a new one.
    pub(super) fn begin_sending(&mut self, delivery: DeliveryId) -> u16 {
        if let Some(sending) = self.sending(delivery) {
            return sending.msg_id;
        }
        let msg_id = self.wire.take_msg_id();
        self.set_sending(Some(Sending { delivery, msg_id, handshake: Handshake::Publish }));
        msg_id
    }

    fn set_sending(&mut self, sending: Option<Sending>) {
        let was = core::mem::replace(&mut self.wire.exchange().sending, sending);
        if let Some(was) = was.filter(|was| sending.is_none_or(|now| now.delivery != was.delivery))
        {
            self.record(Key::Sending(was.delivery), None);
        }
        if let Some(now) = sending {
            self.record(Key::Sending(now.delivery), Some(journal::sending_value(now)));
        }
    }
}
