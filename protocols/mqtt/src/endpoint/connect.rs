//! From CONNECT to CONNACK (MQTT 5 §3.1, §3.2): what is refused at once, what the layer above is
//! asked, and what its answer becomes.

use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use bytes::Bytes;
use core::time::Duration;

use motegate_message::{ListenerId, Message, Reason, Seq, SessionId, TopicName, Turn, Will};
use motegate_timers::Instant;

use super::acks::Owed;
use super::auth::Exchange;
use super::connection::{Connection, State};
use super::goodbye::Goodbye;
use super::inbound;
use super::limits::{Limit, topic_limit, user_limit};
use super::pace::Pace;
use super::reply;
use super::shared::{Place, Shared};
use crate::codec::{self, Dialect, Header};
use crate::config::Config;
use crate::endpoint::{Accept, AuthStart, Connect as Request, Event};
use crate::packet::{self, ConnAck, Packet, Sender, Version};
use crate::properties::{Properties, Property, PropertyBuf};
use crate::reason::ReasonCode;

/// MQTT 3: connection refused, unacceptable protocol version (MQTT 3.1.1 §3.2.2.3).
const UNACCEPTABLE_VERSION: [u8; 4] = [0x20, 0x02, 0x00, 0x01];

/// What the CONNACK will say, kept until the CONNECT is answered.
#[derive(Debug, Default)]
pub(super) struct Connecting {
    /// Assigned Client Identifier.
    assigned: Option<String>,
    /// Server Keep Alive, in seconds.
    keep_alive: Option<u16>,
    /// Session Expiry Interval in seconds, when it was clamped.
    expiry: Option<u32>,
    /// Response Information.
    response: Option<String>,
    /// The latest answer.
    pub(super) by: Instant,
    /// Kept for the time after the CONNACK, too.
    pub(super) exchange: Option<Exchange>,
}

/// What a CONNACK offers and the client may rely on until its connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Offer {
    pub(super) max_packet_size: u32,
    pub(super) receive_maximum: u16,
    pub(super) topic_alias_maximum: u16,
    pub(super) max_qos: u8,
    pub(super) retain_available: bool,
    pub(super) wildcard_subscriptions: bool,
    pub(super) shared_subscriptions: bool,
    pub(super) subscription_identifiers: bool,
}

impl Offer {
    pub(super) fn of(config: &Config) -> Self {
        Offer {
            max_packet_size: config.max_packet_size,
            receive_maximum: config.receive_maximum,
            topic_alias_maximum: config.topic_alias_maximum,
            max_qos: config.max_qos,
            retain_available: config.retain_available,
            wildcard_subscriptions: config.wildcard_subscriptions,
            shared_subscriptions: config.shared_subscriptions,
            subscription_identifiers: config.subscription_identifiers,
        }
    }
}

/// Why the endpoint refuses a CONNECT itself.
#[derive(Debug, Clone, Copy)]
pub(super) struct Refusal {
    code: ReasonCode,
    reason: Reason,
    /// The bound that it is beyond.
    limit: Option<Limit>,
}

impl From<(ReasonCode, Reason)> for Refusal {
    fn from((code, reason): (ReasonCode, Reason)) -> Self {
        Refusal { code, reason, limit: None }
    }
}

/// `protocols/mqtt.md` §4.
impl From<Limit> for Refusal {
    fn from(limit: Limit) -> Self {
        use ReasonCode as C;
        let (code, reason) = match limit {
            Limit::MaxClientIdLength => (C::ClientIdentifierNotValid, Reason::BadClientId),
            Limit::MaxTopicLength | Limit::MaxTopicLevels => {
                (C::TopicNameInvalid, Reason::BadTopic)
            }
            Limit::MaxWillPayload => (C::PacketTooLarge, Reason::TooLarge),
            // The code that MQTT 3 has a return code 2 for.
            Limit::MaxKeepAlive => (C::ClientIdentifierNotValid, Reason::NotSupported),
            _ => (C::QuotaExceeded, Reason::QuotaExceeded),
        };
        Refusal { code, reason, limit: Some(limit) }
    }
}

/// The properties of a CONNECT that matter, with their defaults (MQTT 5 §3.1.2.11).
struct Asked<'a> {
    expiry: u32,
    receive_maximum: u16,
    max_packet: u32,
    alias_max: u16,
    problem_info: bool,
    response_info: bool,
    method: Option<&'a str>,
    data: Option<&'a [u8]>,
}

impl<'a> Asked<'a> {
    fn read(connect: &packet::Connect<'a>) -> Self {
        let mut asked = Asked {
            expiry: 0,
            receive_maximum: u16::MAX,
            max_packet: u32::MAX,
            alias_max: 0,
            problem_info: true,
            response_info: false,
            method: None,
            data: None,
        };
        for property in connect.properties.iter() {
            match property {
                Property::SessionExpiryInterval(secs) => asked.expiry = secs,
                Property::ReceiveMaximum(max) => asked.receive_maximum = max,
                Property::MaximumPacketSize(max) => asked.max_packet = max,
                Property::TopicAliasMaximum(max) => asked.alias_max = max,
                Property::RequestProblemInformation(wanted) => asked.problem_info = wanted,
                Property::RequestResponseInformation(wanted) => asked.response_info = wanted,
                Property::AuthenticationMethod(method) => asked.method = Some(method),
                Property::AuthenticationData(data) => asked.data = Some(data),
                _ => {}
            }
        }
        // Before 5.0 the session stays unless it is clean: for ever, as far as we let it.
        if !connect.version.is_v5() {
            asked.expiry = if connect.clean { 0 } else { u32::MAX };
        }
        asked
    }
}

/// An expiry interval as the session gets it; 0xFFFFFFFF stands for ever (MQTT 5 §3.1.2.11.2).
pub(super) fn capped_expiry(secs: u32, config: &Config) -> Duration {
    Duration::from_secs(u64::from(secs)).min(config.max_session_expiry)
}

impl Connection {
    /// The first packet, whole.
    pub(super) fn on_connect(
        &mut self,
        shared: &mut Shared,
        turn: &Turn,
        header: Header,
        body: &[u8],
    ) {
        let config = shared.config.of(self.listener);
        let version = match codec::dialect(body) {
            Dialect::Known(version, _) => version,
            // [MQTT-3.1.2-2], in the form that every version reads.
            Dialect::UnknownLevel(_) => return self.refuse_version(shared, turn),
            Dialect::Foreign => {
                shared.counters.malformed += 1;
                return self.end(shared, turn, Reason::Malformed, None); // [MQTT-3.1.2-1]
            }
        };
        let allowed = match version {
            Version::V31 => config.allow_v31,
            Version::V311 => config.allow_v311,
            Version::V5 => config.allow_v5,
        };
        if !allowed && !version.is_v5() {
            return self.refuse_version(shared, turn);
        }
        self.version = version;
        if !allowed {
            let refusal = (ReasonCode::UnsupportedProtocolVersion, Reason::UnsupportedVersion);
            return self.refuse_with(shared, turn, refusal.into());
        }
        if version.is_v5() && !header.is_shortest() {
            return self.refuse_malformed(shared, turn, ReasonCode::MalformedPacket);
        }
        match codec::decode_with(header.first, body, version, Sender::Client, config.utf8) {
            Ok(Packet::Connect(connect)) => self.judge_connect(shared, turn, &connect),
            Ok(_) => self.end(shared, turn, Reason::ProtocolError, None),
            Err(fault) => self.refuse_malformed(shared, turn, fault.code()),
        }
    }

    fn refuse_version(&mut self, shared: &mut Shared, turn: &Turn) {
        self.outbox.buffer(&mut shared.pool).extend_from_slice(&UNACCEPTABLE_VERSION);
        shared.counters.refused += 1;
        self.end(shared, turn, Reason::UnsupportedVersion, None);
    }

    /// [MQTT-3.1.4-1]: before 5.0 there is no CONNACK for a bad packet.
    fn refuse_malformed(&mut self, shared: &mut Shared, turn: &Turn, code: ReasonCode) {
        let reason = if code == ReasonCode::ProtocolError {
            shared.counters.protocol_errors += 1;
            Reason::ProtocolError
        } else {
            shared.counters.malformed += 1;
            Reason::Malformed
        };
        if self.version.is_v5() {
            self.send_refusal(shared, code);
        }
        self.end(shared, turn, reason, None);
    }

    fn refuse_with(&mut self, shared: &mut Shared, turn: &Turn, refusal: Refusal) {
        let Refusal { code, reason, limit } = refusal;
        shared.counters.refused += 1;
        if let Some(limit) = limit {
            shared.hit(self.id, limit, true);
        }
        self.send_refusal(shared, code);
        self.end(shared, turn, reason, None);
    }

    /// CONNACK with a code; nothing where MQTT 3 has none that fits. [MQTT-3.2.2-6]
    pub(super) fn send_refusal(&mut self, shared: &mut Shared, code: ReasonCode) {
        let ack =
            |properties| Packet::ConnAck(ConnAck { session_present: false, code, properties });
        let mut reference = PropertyBuf::new();
        if matches!(code, ReasonCode::UseAnotherServer | ReasonCode::ServerMoved) {
            reference
                .push(Property::ServerReference(&shared.config.of(self.listener).server_reference));
        }
        let mut explained = reference.clone();
        if let Some(phrase) = reply::phrase(code) {
            explained.push(Property::ReasonString(phrase));
        }
        // [MQTT-3.2.2-19]
        for properties in [explained.as_properties(), reference.as_properties(), Properties::EMPTY]
        {
            if self.send(shared, &ack(properties)) {
                return;
            }
        }
    }

    /// What the client may rely on.
    pub(super) fn offered(&self, config: &Config) -> Offer {
        let kept = self.aliases.as_ref().and_then(|rare| rare.offer);
        kept.unwrap_or_else(|| Offer::of(config))
    }

    /// Other settings hold than those that its CONNACK was written by.
    pub(super) fn keep_offer(&mut self, old: Offer, new: Offer) {
        if self.version.is_v5() && matches!(self.state, State::Gated | State::Open) {
            let rare = self.aliases.get_or_insert_default();
            rare.offer = Some(rare.offer.unwrap_or(old)).filter(|told| *told != new);
        }
    }

    fn judge_connect(&mut self, shared: &mut Shared, turn: &Turn, connect: &packet::Connect<'_>) {
        let asked = Asked::read(connect);
        self.bridge = connect.bridge;
        self.problem_info = asked.problem_info;
        self.max_packet = asked.max_packet;
        self.alias_max = asked.alias_max.min(shared.config.of(self.listener).topic_alias_maximum);
        self.expiry_zero = asked.expiry == 0;
        self.window = asked.receive_maximum.min(shared.config.of(self.listener).max_inflight);
        self.room = shared.config.of(self.listener).max_outbox_bytes;
        match self.admit(shared, turn, connect, &asked) {
            Ok(request) => {
                self.state = State::Pending;
                shared.events.push_back(Event::Connect(Box::new(request)));
            }
            Err(refusal) => self.refuse_with(shared, turn, refusal),
        }
    }

    /// Everything about a CONNECT that only limits and settings decide.
    fn admit(
        &mut self,
        shared: &mut Shared,
        turn: &Turn,
        connect: &packet::Connect<'_>,
        asked: &Asked<'_>,
    ) -> Result<Request, Refusal> {
        let config = shared.config.of(self.listener);
        if !config.server_reference.is_empty() {
            let moved = config.server_moved;
            let code = if moved { ReasonCode::ServerMoved } else { ReasonCode::UseAnotherServer };
            return Err((code, Reason::ServerMoved).into());
        }
        if let Some(limit) = user_limit(config, connect.properties) {
            return Err(limit.into());
        }
        let by = turn.now + config.auth_timeout;
        let mut answer = Connecting { by, ..Connecting::default() };
        let keep_alive = self.keep_alive(config, connect.keep_alive, &mut answer)?;
        let will = connect.will.as_ref().map(|will| read_will(config, will)).transpose()?;
        let expiry = capped_expiry(asked.expiry, config);
        if connect.version.is_v5() && expiry < Duration::from_secs(u64::from(asked.expiry)) {
            answer.expiry = u32::try_from(expiry.as_secs()).ok();
        }
        let pace = Pace::new(turn.now, config.max_publish_rate, config.max_connection_age);
        if pace.is_some() {
            self.aliases.get_or_insert_default().pace = pace;
        }
        if answer.expiry.is_some() {
            shared.hit(self.id, Limit::MaxSessionExpiry, false);
        }
        if answer.keep_alive.is_some() {
            shared.hit(self.id, Limit::MaxKeepAlive, false);
        }
        self.silence_ms = u32::from(keep_alive) * 1500; // [MQTT-3.1.2-22]
        self.durable = !expiry.is_zero();
        let client_id = client_id(shared, self.listener, connect, &mut answer)?;
        if asked.response_info && !shared.config.of(self.listener).response_prefix.is_empty() {
            answer.response =
                Some([&shared.config.of(self.listener).response_prefix, &*client_id, "/"].concat());
        }
        let auth = asked.method.map(|method| {
            let method: Arc<str> = method.into();
            answer.exchange = Some(Exchange::new(method.clone(), by));
            AuthStart { method, data: asked.data.map(Bytes::copy_from_slice) }
        });
        self.connecting = Some(Box::new(answer));
        Ok(Request {
            conn: self.id,
            listener: self.listener,
            client_id,
            clean: connect.clean,
            expiry,
            will,
            user_name: connect.user_name.map(ToString::to_string),
            password: connect.password.map(Bytes::copy_from_slice),
            auth,
            window: self.window,
            room: self.room,
        })
    }

    /// The keep alive that holds, in seconds; told when it is not the client's (MQTT 5
    /// §3.2.2.3.14). MQTT 3 cannot be told.
    fn keep_alive(
        &self,
        config: &Config,
        asked: u16,
        answer: &mut Connecting,
    ) -> Result<u16, Refusal> {
        let max = u16::try_from(config.max_keep_alive.as_secs()).unwrap_or(u16::MAX);
        if max == 0 || (1..=max).contains(&asked) {
            return Ok(asked);
        }
        if !self.version.is_v5() {
            return Err(Limit::MaxKeepAlive.into());
        }
        answer.keep_alive = Some(max);
        Ok(max)
    }

    /// The CONNECT is accepted.
    pub(super) fn accept(&mut self, shared: &mut Shared, turn: &Turn, accept: Accept) {
        let mut answer = self.connecting.take().unwrap_or_default();
        self.session = Some(accept.session);
        self.attach(shared, turn, accept.session);
        let Some(bytes) = self.connack(shared, &mut answer, accept.present) else {
            // A CONNACK that does not fit the client's Maximum Packet Size.
            return self.end(shared, turn, Reason::TooLarge, Some(Goodbye::default()));
        };
        self.state = State::Gated;
        if let exchange @ Some(_) = answer.exchange.take() {
            self.connecting = Some(Box::new(Connecting { exchange, ..Connecting::default() }));
        }
        self.acks.owe(accept.after.max(Seq::NONE), Owed::ConnAck(bytes.into()));
        if self.gone {
            // The client sent what it had and left.
            self.handle_closed(shared, turn, Reason::ConnectionLost);
        }
    }

    /// Takes over the wire state that an earlier connection left.
    fn attach(&mut self, shared: &mut Shared, turn: &Turn, session: SessionId) {
        let place = shared.sessions.insert(session, Place::Attached(self.id));
        if let Some(Place::Detached(wire)) = place {
            self.wire = Some(wire);
        }
        if let Some(mut wire) = self.wire.take() {
            wire.attach(&mut self.journal(shared, turn));
            wire.begin_again(self.window);
            self.wire = Some(wire);
            self.release_again();
        }
    }

    fn connack(&self, shared: &Shared, answer: &mut Connecting, present: bool) -> Option<Vec<u8>> {
        let mut properties = PropertyBuf::new();
        if self.version.is_v5() {
            capabilities(shared.config.of(self.listener), answer, &mut properties);
            if let Some(exchange) = &mut answer.exchange {
                exchange.conclude(&mut properties);
            }
        }
        let packet = Packet::ConnAck(ConnAck {
            session_present: present,
            code: ReasonCode::Success,
            properties: properties.as_properties(),
        });
        let mut bytes = Vec::new();
        codec::encode(&packet, self.version, &mut bytes).ok()?;
        (bytes.len() <= self.max_packet as usize).then_some(bytes)
    }

    /// The CONNECT is refused: nothing that came behind it is handled. [MQTT-3.1.4-6]
    pub(super) fn refuse(&mut self, shared: &mut Shared, turn: &Turn, reason: Reason) {
        self.refuse_with(shared, turn, (self.refusal_code(reason), reason).into());
    }
}

/// What the server offers: what differs from the default, and always the three that clients
/// plan by.
fn capabilities(config: &Config, answer: &Connecting, properties: &mut PropertyBuf) {
    if let Some(secs) = answer.expiry {
        properties.push(Property::SessionExpiryInterval(secs));
    }
    properties.push(Property::ReceiveMaximum(config.receive_maximum.max(1)));
    if config.max_qos < 2 {
        properties.push(Property::MaximumQos(config.max_qos == 1)); // [MQTT-3.2.2-9]
    }
    if !config.retain_available {
        properties.push(Property::RetainAvailable(false)); // [MQTT-3.2.2-13]
    }
    properties.push(Property::MaximumPacketSize(config.max_packet_size.max(1)));
    if let Some(id) = &answer.assigned {
        properties.push(Property::AssignedClientIdentifier(id)); // [MQTT-3.2.2-16]
    }
    properties.push(Property::TopicAliasMaximum(config.topic_alias_maximum));
    if !config.wildcard_subscriptions {
        properties.push(Property::WildcardSubscriptionAvailable(false));
    }
    if !config.subscription_identifiers {
        properties.push(Property::SubscriptionIdentifierAvailable(false));
    }
    if !config.shared_subscriptions {
        properties.push(Property::SharedSubscriptionAvailable(false));
    }
    if let Some(text) = &answer.response {
        properties.push(Property::ResponseInformation(text)); // [MQTT-3.1.2-28]
    }
    if let Some(secs) = answer.keep_alive {
        properties.push(Property::ServerKeepAlive(secs)); // [MQTT-3.2.2-22]
    }
}

/// The client id, assigned where the client may leave it to us. [MQTT-3.1.3-6, -7]
fn client_id(
    shared: &mut Shared,
    listener: ListenerId,
    connect: &packet::Connect<'_>,
    answer: &mut Connecting,
) -> Result<String, Refusal> {
    let refused = Err((ReasonCode::ClientIdentifierNotValid, Reason::BadClientId).into());
    if connect.client_id.len() > shared.config.of(listener).max_client_id_length {
        return Err(Limit::MaxClientIdLength.into());
    }
    if !connect.client_id.is_empty() {
        return Ok(connect.client_id.into());
    }
    match connect.version {
        Version::V31 => return refused,
        Version::V311 if !connect.clean => return refused, // [MQTT-3.1.3-8] of 3.1.1
        _ => {}
    }
    let id = shared.assigned_client_id(listener);
    answer.assigned = Some(id.clone());
    Ok(id)
}

fn read_will(config: &Config, will: &packet::Will<'_>) -> Result<Will, Refusal> {
    if will.qos as u8 > config.max_qos {
        return Err((ReasonCode::QosNotSupported, Reason::NotSupported).into()); // [MQTT-3.2.2-12]
    }
    if will.retain && !config.retain_available {
        return Err((ReasonCode::RetainNotSupported, Reason::NotSupported).into()); // [MQTT-3.2.2-13]
    }
    if will.payload.len() > config.max_will_payload {
        return Err(Limit::MaxWillPayload.into());
    }
    if let Some(limit) = user_limit(config, will.properties) {
        return Err(limit.into());
    }
    if inbound::breaks_format(config, will.properties, will.payload) {
        return Err((ReasonCode::PayloadFormatInvalid, Reason::BadPayload).into());
    }
    if let Some(limit) = topic_limit(config, will.topic) {
        return Err(limit.into());
    }
    let topic = TopicName::lenient(will.topic)
        .map_err(|_| Refusal::from((ReasonCode::TopicNameInvalid, Reason::BadTopic)))?;
    let mut delay = 0;
    let mut expiry = None;
    for property in will.properties.iter() {
        match property {
            Property::WillDelayInterval(secs) => delay = secs,
            Property::MessageExpiryInterval(secs) => expiry = Some(secs),
            _ => {}
        }
    }
    let mut message = Message::new(topic, Bytes::copy_from_slice(will.payload));
    message.qos = will.qos;
    message.retain = will.retain;
    message.properties = inbound::message_properties(will.properties);
    let secs = |secs| Duration::from_secs(u64::from(secs));
    Ok(Will { message, expiry: expiry.map(secs), delay: secs(delay) })
}
