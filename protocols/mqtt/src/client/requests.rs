//! SUBSCRIBE and UNSUBSCRIBE (MQTT 5 §3.8…§3.11), and the subscriptions that are asked for again
//! when the server has lost the session.
//!
//! A request without an answer when the connection ends is sent again on the next one. Requests
//! go ahead of queued publishes, so that who subscribes and then asks hears the answer.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::num::NonZeroU16;

use hashbrown::HashMap;
use motegate_message::SubscriptionFilter;
use motegate_timers::Instant;

use super::contract::{Event, Filter, Token};
use super::error::{RequestError, Violation};
use super::ids::Holder;
use super::{Client, Phase};
use crate::packet::{Packet, PacketType, Sender, SubAck, Subscribe, SubscribeFilter, Unsubscribe};
use crate::properties::{Properties, Property, PropertyBuf, Scope};
use crate::reason::ReasonCode;

#[derive(Debug)]
enum Ask {
    Subscribe { filters: Vec<Filter>, again: bool },
    Unsubscribe(Vec<String>),
}

#[derive(Debug)]
struct Request {
    token: Token,
    ask: Ask,
    properties: Arc<PropertyBuf>,
    id: Option<NonZeroU16>,
    /// On this connection.
    sent: bool,
}

/// A granted subscription.
#[derive(Debug)]
struct Kept {
    /// Of its SUBSCRIBE.
    serial: u64,
    token: Token,
    filter: Filter,
    properties: Arc<PropertyBuf>,
}

#[derive(Debug, Default)]
pub(super) struct Requests {
    open: VecDeque<Request>,
    unsent: usize,
    kept: HashMap<String, Kept>,
    serial: u64,
}

impl Requests {
    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    pub(super) fn lose_connection(&mut self) {
        for request in &mut self.open {
            request.sent = false;
        }
        self.unsent = self.open.len();
    }

    fn push(&mut self, token: Token, ask: Ask, properties: PropertyBuf) {
        let properties = Arc::new(properties);
        self.open.push_back(Request { token, ask, properties, id: None, sent: false });
        self.unsent += 1;
    }

    fn filters(&self) -> usize {
        let of = |request: &Request| match &request.ask {
            Ask::Subscribe { filters, again: false } => filters.len(),
            _ => 0,
        };
        self.kept.len() + self.open.iter().map(of).sum::<usize>()
    }

    fn keep(&mut self, request: &Request, filters: &[Filter], codes: &[ReasonCode]) {
        self.serial += 1;
        for (filter, code) in filters.iter().zip(codes) {
            if code.is_error() {
                // A subscription that existed goes on, but not when the session was lost.
                if matches!(request.ask, Ask::Subscribe { again: true, .. }) {
                    self.kept.remove(&filter.filter);
                }
                continue;
            }
            let kept = Kept {
                serial: self.serial,
                token: request.token,
                filter: filter.clone(),
                properties: request.properties.clone(),
            };
            self.kept.insert(filter.filter.clone(), kept);
        }
    }
}

fn check_properties(properties: &PropertyBuf, kind: PacketType) -> Result<(), RequestError> {
    let scope = Scope::Packet(kind, Sender::Client);
    match Properties::check(properties.as_properties().as_bytes(), scope) {
        Ok(_) => Ok(()),
        Err(_) => Err(RequestError::BadOption),
    }
}

impl Client {
    pub(super) fn take_subscribe(
        &mut self,
        filters: &[Filter],
        properties: &PropertyBuf,
        token: Token,
    ) -> Result<(), RequestError> {
        if filters.is_empty() {
            return Err(RequestError::Empty); // [MQTT-3.8.3-2]
        }
        for item in filters {
            let filter =
                SubscriptionFilter::new(&item.filter).map_err(|_| RequestError::BadFilter)?;
            // [MQTT-3.8.3-4]
            if filter.share.is_some() && item.no_local && self.version.is_v5() {
                return Err(RequestError::BadFilter);
            }
            if item.retain_handling > 2 {
                return Err(RequestError::BadOption);
            }
        }
        check_properties(properties, PacketType::Subscribe)?;
        let many = self.requests.open.len() >= self.config.max_requests
            || self.requests.filters() + filters.len() > self.config.max_subscriptions;
        if many {
            return Err(RequestError::TooMany);
        }
        let ask = Ask::Subscribe { filters: filters.to_vec(), again: false };
        self.requests.push(token, ask, properties.clone());
        self.pump_requests();
        Ok(())
    }

    pub(super) fn take_unsubscribe(
        &mut self,
        filters: &[&str],
        properties: &PropertyBuf,
        token: Token,
    ) -> Result<(), RequestError> {
        if filters.is_empty() {
            return Err(RequestError::Empty); // [MQTT-3.10.3-2]
        }
        for filter in filters {
            SubscriptionFilter::new(filter).map_err(|_| RequestError::BadFilter)?;
        }
        check_properties(properties, PacketType::Unsubscribe)?;
        if self.requests.open.len() >= self.config.max_requests {
            return Err(RequestError::TooMany);
        }
        let filters = filters.iter().map(|filter| String::from(*filter)).collect();
        self.requests.push(token, Ask::Unsubscribe(filters), properties.clone());
        self.pump_requests();
        Ok(())
    }

    /// The server holds no subscription of ours.
    pub(super) fn subscribe_again(&mut self) {
        let requests = &mut self.requests;
        // What of an earlier such attempt is unanswered is asked for anew.
        requests.open.retain(|request| {
            let again = matches!(request.ask, Ask::Subscribe { again: true, .. });
            if let Some(id) = request.id.filter(|_| again) {
                self.ids.give_back(id);
            }
            !again
        });
        let mut kept: Vec<&Kept> = requests.kept.values().collect();
        kept.sort_by(|a, b| (a.serial, &a.filter.filter).cmp(&(b.serial, &b.filter.filter)));
        for group in kept.chunk_by(|a, b| a.serial == b.serial).rev() {
            let Some(first) = group.first() else { continue };
            let filters = group.iter().map(|kept| kept.filter.clone()).collect();
            requests.open.push_front(Request {
                token: first.token,
                ask: Ask::Subscribe { filters, again: true },
                properties: first.properties.clone(),
                id: None,
                sent: false,
            });
        }
        requests.unsent = requests.open.len();
    }

    /// Sends what was not yet sent on this connection.
    pub(super) fn pump_requests(&mut self) {
        let mut i = 0;
        while self.phase == Phase::Open && self.requests.unsent > 0 {
            let Some(request) = self.requests.open.get_mut(i) else { break };
            if request.sent {
                i += 1;
                continue;
            }
            if request.id.is_none() {
                request.id = self.ids.take(Holder::Request);
            }
            let Some(id) = request.id else { break };
            request.sent = true;
            self.requests.unsent -= 1;
            match self.send_request(i, id) {
                Ok(()) => i += 1,
                Err(error) => {
                    self.ids.give_back(id);
                    if let Some(request) = self.requests.open.remove(i) {
                        let token = request.token;
                        self.events.push_back(Event::RequestFailed { token, error });
                    }
                }
            }
        }
    }

    fn send_request(&mut self, i: usize, id: NonZeroU16) -> Result<(), RequestError> {
        let Some(request) = self.requests.open.get(i) else { return Ok(()) };
        let all = request.properties.clone();
        let properties = all.as_properties();
        let start = self.outbox.buffer().len();
        let out = self.outbox.buffer();
        let encoded = match &request.ask {
            Ask::Subscribe { filters, .. } => {
                if self.version.is_v5() {
                    supported(&self.link, filters, properties)?;
                }
                let filters = filters.iter().map(wire_filter).collect();
                let packet = Packet::Subscribe(Subscribe { id, properties, filters });
                crate::codec::encode(&packet, self.version, out)
            }
            Ask::Unsubscribe(filters) => {
                let filters = filters.iter().map(String::as_str).collect();
                let packet = Packet::Unsubscribe(Unsubscribe { id, properties, filters });
                crate::codec::encode(&packet, self.version, out)
            }
        };
        if encoded.is_err() || out.len() - start > self.link.max_packet as usize {
            out.truncate(start);
            return Err(RequestError::TooLarge);
        }
        Ok(())
    }

    /// SUBACK or UNSUBACK.
    pub(super) fn on_sub_ack(&mut self, now: Instant, ack: SubAck<'_>, subscribe: bool) {
        let found = |request: &Request| {
            let same = matches!(request.ask, Ask::Subscribe { .. }) == subscribe;
            request.id == Some(ack.id) && request.sent && same
        };
        let Some(i) = self.requests.open.iter().position(found) else {
            self.counters.unknown_acks += 1;
            return;
        };
        let Some(request) = self.requests.open.remove(i) else { return };
        if self.requests.open.is_empty() {
            self.requests.open = VecDeque::new();
        }
        self.ids.give_back(ack.id);
        let text = reason_string(ack.properties);
        let (token, codes) = (request.token, ack.codes);
        match &request.ask {
            Ask::Subscribe { filters, again } => {
                if codes.len() != filters.len() {
                    return self.violate(now, Violation::WrongCount); // [MQTT-3.8.4-6]
                }
                if self.config.resubscribe {
                    self.requests.keep(&request, filters, &codes);
                }
                self.events.push_back(Event::Subscribed { token, codes, again: *again, text });
            }
            Ask::Unsubscribe(filters) => {
                if self.version.is_v5() && codes.len() != filters.len() {
                    return self.violate(now, Violation::WrongCount); // [MQTT-3.11.3-2]
                }
                for (i, filter) in filters.iter().enumerate() {
                    if codes.get(i).is_none_or(|code| !code.is_error()) {
                        self.requests.kept.remove(filter);
                    }
                }
                self.events.push_back(Event::Unsubscribed { token, codes, text });
            }
        }
    }

    /// Drops every request without an answer.
    pub(super) fn drop_requests(&mut self) {
        for request in core::mem::take(&mut self.requests.open) {
            if let Some(id) = request.id {
                self.ids.give_back(id);
            }
            let (token, error) = (request.token, RequestError::GivenUp);
            self.events.push_back(Event::RequestFailed { token, error });
        }
        self.requests.unsent = 0;
    }
}

fn wire_filter(item: &Filter) -> SubscribeFilter<'_> {
    SubscribeFilter {
        filter: &item.filter,
        qos: item.qos,
        no_local: item.no_local,
        retain_as_published: item.retain_as_published,
        retain_handling: item.retain_handling,
    }
}

/// Whether the server offers what a SUBSCRIBE asks for (MQTT 5 §3.2.2.3.11…13).
fn supported(
    link: &super::connection::Link,
    filters: &[Filter],
    properties: Properties<'_>,
) -> Result<(), RequestError> {
    let no = |code| Err(RequestError::NotSupported(code));
    let identifier = |p: &Property<'_>| matches!(p, Property::SubscriptionIdentifier(_));
    if !link.subscription_ids && properties.iter().any(|p| identifier(&p)) {
        return no(ReasonCode::SubscriptionIdentifiersNotSupported);
    }
    for item in filters {
        let shared = item.filter.starts_with("$share/");
        if shared && !link.shared {
            return no(ReasonCode::SharedSubscriptionsNotSupported);
        }
        if item.filter.contains(['+', '#']) && !link.wildcards {
            return no(ReasonCode::WildcardSubscriptionsNotSupported);
        }
    }
    Ok(())
}

fn reason_string(properties: Properties<'_>) -> Option<Box<str>> {
    properties.iter().find_map(|property| match property {
        Property::ReasonString(text) => Some(text.into()),
        _ => None,
    })
}
