//! REGISTER, SUBSCRIBE and UNSUBSCRIBE from clients (MQTT-SN 1.2 §6.5, §6.9), and the records of
//! what they leave behind.

use motegate_message::{Qos, Reason, Seq, TopicFilter, TopicName};

use super::contract::{Event, Filter};
use super::journal::{self, Key};
use super::line::{Line, bits, fingerprint, qos, reply_for};
use super::wire::LastSubscribe;
use super::{Held, Pending};
use crate::{Packet, QosBits, ReturnCode, TopicRef, is_reserved_topic_id};

/// Most SUBACKs of one client that may wait for a commit.
const MAX_SUBACKS_HELD: u8 = 64;

impl Line<'_> {
    pub(super) fn on_register(&mut self, msg_id: u16, name: &str) {
        let Ok(name) = TopicName::new(name) else {
            return self.refuse_register(msg_id, Reason::BadTopic);
        };
        if let Some(id) = self.wire.topics.id(&name) {
            // §6.5: the same name has the same id, however often it is registered.
            self.accept_register(id, msg_id);
            return;
        }
        if self.topics_full() {
            return self.refuse_register(msg_id, Reason::QuotaExceeded);
        }
        let context = Pending::Register { client: self.at, msg_id, name: name.clone() };
        match self.ask(context) {
            Some(ticket) => {
                self.events.push_back(Event::Register { client: self.at, ticket, name });
            }
            None => self.refuse_register(msg_id, Reason::Overloaded),
        }
    }

    /// Answer to `Event::Register`.
    pub(super) fn registered(&mut self, msg_id: u16, name: &TopicName, result: Result<(), Reason>) {
        if let Err(reason) = result {
            return self.refuse_register(msg_id, reason);
        }
        match self.wire.topics.id(name).or_else(|| self.allocate(name)) {
            Some(id) => self.accept_register(id, msg_id),
            None => self.refuse_register(msg_id, Reason::QuotaExceeded),
        }
    }

    fn accept_register(&mut self, topic_id: u16, msg_id: u16) {
        self.wire.topics.set_known(topic_id, true);
        self.reply(Seq::NONE, Packet::RegAck { topic_id, msg_id, code: ReturnCode::Accepted });
    }

    fn refuse_register(&mut self, msg_id: u16, reason: Reason) {
        self.dropped(reason);
        self.send(&Packet::RegAck { topic_id: 0, msg_id, code: reply_for(reason) });
    }

    fn topics_full(&mut self) -> bool {
        let full = self.wire.topics.len() >= self.bounds.max_topics_per_client.min(0xfffe);
        *self.topics_refused += u64::from(full);
        full
    }

    /// Every subscription is remembered in the client's own words: one that is not would be taken
    /// for one that the rules do not give any more. Those under way count.
    fn subscriptions_full(&mut self, filter: &Filter) -> bool {
        let words = self.wire.exchange.as_ref().map_or(&[][..], |exchange| &exchange.subscribed);
        let full = words.len() + usize::from(self.client.subacks_held)
            >= self.config.max_topics_per_client
            && !words.iter().any(|(known, _)| known == filter);
        *self.topics_refused += u64::from(full);
        full
    }

    /// A new topic id, journaled.
    pub(super) fn allocate(&mut self, name: &TopicName) -> Option<u16> {
        let Some(id) = self.wire.topics.allocate(name, self.bounds.max_topics_per_client) else {
            *self.topics_refused += 1;
            return None;
        };
        self.record(Key::Topic(id), Some(journal::topic_value(name, false)));
        Some(id)
    }

    pub(super) fn set_refused(&mut self, id: u16, refused: bool) {
        if self.wire.topics.set_refused(id, refused)
            && let Some(name) = self.wire.topics.name(id).cloned()
        {
            self.record(Key::Topic(id), Some(journal::topic_value(&name, refused)));
        }
    }

    pub(super) fn on_subscribe(
        &mut self,
        dup: bool,
        wanted: QosBits,
        msg_id: u16,
        topic: TopicRef<'_>,
    ) {
        let hash = match topic {
            TopicRef::Name(name) => fingerprint(&[b"n", name.as_bytes()]),
            TopicRef::Predefined(id) => fingerprint(&[b"p", &id.to_be_bytes()]),
            TopicRef::Short(name) => fingerprint(&[b"s", &name]),
        };
        let Some(wanted) = qos(wanted) else {
            return self.refuse_subscribe(msg_id, 0, Reason::NotSupported);
        };
        if dup && self.repeat_suback(msg_id, hash) {
            return;
        }
        let filter = match parse(topic) {
            Ok(filter) => filter,
            Err(reason) => return self.refuse_subscribe(msg_id, echo(topic), reason),
        };
        if let Filter::Name(filter) = &filter
            && let Some(name) = filter.as_name()
            && self.wire.topics.id(&name).is_none()
            && self.topics_full()
        {
            return self.refuse_subscribe(msg_id, 0, Reason::QuotaExceeded);
        }
        if self.subscriptions_full(&filter) {
            return self.refuse_subscribe(msg_id, echo(topic), Reason::QuotaExceeded);
        }
        if self.client.subacks_held >= MAX_SUBACKS_HELD {
            return self.refuse_subscribe(msg_id, echo(topic), Reason::Overloaded);
        }
        let context = Pending::Subscribe { client: self.at, msg_id, hash, filter: filter.clone() };
        let Some(ticket) = self.ask(context) else {
            return self.refuse_subscribe(msg_id, echo(topic), Reason::Overloaded);
        };
        let (client, session) = (self.at, self.wire.session);
        // Deliveries must not overtake the SUBACK, which may give the topic id.
        self.client.subacks_held += 1;
        self.events.push_back(Event::Subscribe { client, session, ticket, filter, qos: wanted });
    }

    /// A repeated SUBSCRIBE gets its SUBACK again (§6.13), not its retained messages.
    fn repeat_suback(&mut self, msg_id: u16, hash: u32) -> bool {
        let last = self.wire.exchange.as_ref().and_then(|exchange| exchange.last_sub);
        let patience = self.config.retry_timeout * u32::from(self.config.max_retries) * 2;
        let Some(last) = last.filter(|last| {
            last.msg_id == msg_id
                && last.hash == hash
                && self.turn.now.saturating_since(last.at) <= patience
        }) else {
            return false;
        };
        let code = ReturnCode::Accepted;
        let (qos, topic_id) = (bits(last.qos), last.topic_id);
        self.reply(last.after, Packet::SubAck { qos, topic_id, msg_id, code });
        true
    }

    fn refuse_subscribe(&mut self, msg_id: u16, topic_id: u16, reason: Reason) {
        self.dropped(reason);
        let code = reply_for(reason);
        self.send(&Packet::SubAck { qos: QosBits::Zero, topic_id, msg_id, code });
    }

    /// Answer to `Event::Subscribe`.
    pub(super) fn subscribed(
        &mut self,
        (msg_id, hash): (u16, u32),
        filter: &Filter,
        result: Result<(Qos, Seq), Reason>,
    ) {
        let result = result.and_then(|(qos, after)| {
            let topic_id = match filter {
                Filter::Name(filter) => self.subscribe_name(filter)?,
                Filter::Predefined(id) => *id,
                // §5.4.16: the id is not relevant for a short name.
                Filter::Short(_) => 0,
            };
            self.remember_subscribed(filter, qos);
            Ok((qos, topic_id, after.max(self.wire.written)))
        });
        let (qos, topic_id, after) = match result {
            Ok(granted) => granted,
            Err(reason) => {
                self.client.subacks_held = self.client.subacks_held.saturating_sub(1);
                let echoed = if let Filter::Predefined(id) = filter { *id } else { 0 };
                self.refuse_subscribe(msg_id, echoed, reason);
                self.released();
                self.pump();
                return;
            }
        };
        let at = self.turn.now;
        self.wire.exchange().last_sub =
            Some(LastSubscribe { msg_id, hash, qos, topic_id, after, at });
        let packet =
            Packet::SubAck { qos: bits(qos), topic_id, msg_id, code: ReturnCode::Accepted };
        if self.may_answer(after) {
            self.suback(&packet);
        } else {
            self.hold(after, Held::SubAck(self.at, packet));
        }
    }

    /// A SUBACK leaves, and what waited behind it.
    pub(super) fn suback(&mut self, packet: &Packet<'_>) {
        self.client.subacks_held = self.client.subacks_held.saturating_sub(1);
        self.send(packet);
        self.released();
        self.pump();
    }

    /// The id in the SUBACK: of a name its topic id, 0x0000 with wildcards (§5.4.16).
    fn subscribe_name(&mut self, filter: &TopicFilter) -> Result<u16, Reason> {
        // Asked for again: refusals by REGACK are void.
        for id in self.wire.topics.refused_under(filter) {
            self.set_refused(id, false);
        }
        let Some(name) = filter.as_name() else { return Ok(0) };
        let id = self.wire.topics.id(&name).or_else(|| self.allocate(&name));
        let id = id.ok_or(Reason::QuotaExceeded)?;
        self.wire.topics.set_known(id, true);
        Ok(id)
    }

    /// For when the rules change, and for the type of a delivery's topic id (§6.10).
    fn remember_subscribed(&mut self, filter: &Filter, qos: Qos) {
        let subscribed = &mut self.wire.exchange().subscribed;
        match subscribed.iter().position(|(known, _)| known == filter) {
            Some(at) if subscribed[at].1 == qos => return,
            Some(at) => subscribed[at].1 = qos,
            None => {
                if subscribed.is_empty() {
                    subscribed.reserve_exact(1); // many clients have one and no more
                }
                subscribed.push((filter.clone(), qos));
            }
        }
        self.record(Key::Subscribed(filter), Some(journal::subscribed_value(qos)));
    }

    pub(super) fn on_unsubscribe(&mut self, msg_id: u16, topic: TopicRef<'_>) {
        let Ok(filter) = parse(topic) else {
            // §6.9: UNSUBACK has no code; what cannot be subscribed is not subscribed.
            self.send(&Packet::UnsubAck { msg_id });
            return;
        };
        let (client, session) = (self.at, self.wire.session);
        let context = Pending::Unsubscribe { client, msg_id, filter: filter.clone() };
        if let Some(ticket) = self.ask(context) {
            self.events.push_back(Event::Unsubscribe { client, session, ticket, filter });
        }
    }

    /// Answer to `Event::Unsubscribe`.
    pub(super) fn unsubscribed(&mut self, msg_id: u16, filter: &Filter, after: Seq) {
        if let Some(exchange) = &mut self.wire.exchange {
            exchange.last_sub = None;
            let before = exchange.subscribed.len();
            exchange.subscribed.retain(|(known, _)| known != filter);
            if exchange.subscribed.len() < before {
                self.record(Key::Subscribed(filter), None);
            }
        }
        self.reply(after.max(self.wire.written), Packet::UnsubAck { msg_id });
    }
}

fn parse(topic: TopicRef<'_>) -> Result<Filter, Reason> {
    match topic {
        TopicRef::Name(name) => {
            TopicFilter::new(name).map(Filter::Name).map_err(|_| Reason::BadTopic)
        }
        TopicRef::Predefined(id) if is_reserved_topic_id(id) => Err(Reason::SnUnknownTopicId),
        TopicRef::Predefined(id) => Ok(Filter::Predefined(id)),
        TopicRef::Short(name) => Ok(Filter::Short(name)),
    }
}

/// The id in a refusing SUBACK.
fn echo(topic: TopicRef<'_>) -> u16 {
    if let TopicRef::Predefined(id) = topic { id } else { 0 }
}
