//! One connection after the other: CONNECT and CONNACK, keep alive, and how connections end.

use alloc::boxed::Box;
use core::time::Duration;

use motegate_message::Qos;
use motegate_timers::Instant;

use super::alias;
use super::contract::{Connected, Event, Goodbye, Transmit};
use super::error::{ClientError, PublishError, Refusal, Violation};
use super::stream::Partial;
use super::{Client, Phase};
use crate::codec;
use crate::packet::{ConnAck, Disconnect, Packet, Version};
use crate::properties::{Properties, Property, PropertyBuf};
use crate::reason::ReasonCode;

/// What holds for the present connection; its server's limits (MQTT 5 §3.2.2.3).
#[derive(Debug)]
pub(super) struct Link {
    /// QoS 1/2 publishes that may still be sent, and may be in flight (MQTT 5 §4.9).
    pub(super) quota: u16,
    pub(super) quota_max: u16,
    pub(super) max_packet: u32,
    pub(super) max_qos: Qos,
    pub(super) retain: bool,
    pub(super) wildcards: bool,
    pub(super) subscription_ids: bool,
    pub(super) shared: bool,
    pub(super) aliases: alias::Outbound,
    /// Zero: none.
    keep_alive: Duration,
    last_in: Instant,
    last_out: Instant,
    ping_sent: Option<Instant>,
    since: Option<Instant>,
    /// A publish was acknowledged or a message came: the server is not one that only accepts.
    pub(super) useful: bool,
    /// CONNECT asked for a new session.
    clean: bool,
    /// Bytes of acknowledgements that wait at most.
    pub(super) ack_bytes: usize,
    pub(super) paused: bool,
}

impl Default for Link {
    fn default() -> Self {
        Link {
            quota: 0,
            quota_max: 0,
            max_packet: u32::MAX,
            max_qos: Qos::ExactlyOnce,
            retain: true,
            wildcards: true,
            subscription_ids: true,
            shared: true,
            aliases: alias::Outbound::default(),
            keep_alive: Duration::ZERO,
            last_in: Instant::ZERO,
            last_out: Instant::ZERO,
            ping_sent: None,
            since: None,
            useful: false,
            clean: false,
            ack_bytes: 0,
            paused: false,
        }
    }
}

impl Link {
    pub(super) fn heard(&mut self, now: Instant) {
        self.last_in = now;
    }

    pub(super) fn wrote(&mut self, now: Instant) {
        self.last_out = now;
    }

    /// When a PINGREQ is due, or its answer is overdue.
    fn deadline(&self, ping_timeout: Duration) -> Option<Instant> {
        if let Some(sent) = self.ping_sent {
            return Some(sent.max(self.last_in) + ping_timeout);
        }
        // [MQTT-3.1.2-20]; and where nothing comes, whether the server is there at all.
        let idle = self.last_in.min(self.last_out);
        (!self.keep_alive.is_zero()).then(|| idle + self.keep_alive)
    }
}

/// The words of a refusal.
pub(super) fn refusal(code: ReasonCode, properties: Properties<'_>) -> Box<Refusal> {
    let mut out = Box::new(Refusal { code, text: None, server_reference: None });
    for property in properties.iter() {
        match property {
            Property::ReasonString(text) => out.text = Some(text.into()),
            Property::ServerReference(server) => out.server_reference = Some(server.into()),
            _ => {}
        }
    }
    out
}

impl Client {
    /// Begins an attempt.
    pub(super) fn open(&mut self, now: Instant) {
        self.phase = Phase::Opening;
        self.retry_at = None;
        self.connect_by = now + self.config.connect_timeout;
        self.signals.push_back(Transmit::Open);
    }

    /// The transport is open: CONNECT. [MQTT-3.1.0-1]
    pub(super) fn send_connect(&mut self, now: Instant, auth_data: Option<&[u8]>) {
        self.outbox.clear();
        // What was once connected and outlives its connection is not discarded by coming back.
        let resumes = self.version.is_v5() && self.config.session_expiry_secs != 0 && self.had_one;
        let clean = self.state_lost || (self.config.clean && !resumes);
        self.link = Link { last_in: now, last_out: now, clean, ..Link::default() };
        let out = self.outbox.buffer();
        self.config
            .encode(self.version, &self.client_id, clean, auth_data, out)
            .expect("the same fields were encoded when the client was made");
        self.phase = Phase::Connecting;
    }

    /// CONNACK.
    pub(super) fn on_conn_ack(&mut self, now: Instant, ack: &ConnAck<'_>) {
        if ack.code.is_error() {
            let falls = ack.code == ReasonCode::UnsupportedProtocolVersion
                && self.config.fall_back
                && self.version.is_v5();
            self.fail(now, ClientError::Refused(refusal(ack.code, ack.properties)), None);
            if falls {
                self.version = Version::V311;
                self.retry_at = Some(now);
                if let Some(Event::Disconnected { retry_at, .. }) = self.events.back_mut() {
                    *retry_at = Some(now);
                }
            }
            return;
        }
        if !self.is_authenticated(ack) {
            return self.violate(now, Violation::NotAuthenticated);
        }
        // [MQTT-3.2.2-4]. Where Clean Start is 0 "no state" is a state, too: a tool that comes
        // back for what waits for it has nothing else.
        if ack.session_present && self.link.clean {
            return self.violate(now, Violation::UnexpectedSession);
        }
        let connected = self.read_conn_ack(ack);
        self.phase = Phase::Open;
        // MQTT 3.1 does not tell: what is sent again does no harm to a server that forgot, and
        // new ids would harm one that did not.
        let untold = self.version == Version::V31 && !self.link.clean && self.had_one;
        self.had_one = true;
        self.was_connected = true;
        self.state_lost = false;
        self.counters.connects += 1;
        self.link.since = Some(now);
        self.link.keep_alive = Duration::from_secs(connected.keep_alive_secs.into());
        self.events.push_back(Event::Connected(Box::new(connected)));
        self.resume(ack.session_present || untold);
        if !ack.session_present {
            self.subscribe_again();
        }
    }

    fn read_conn_ack(&mut self, ack: &ConnAck<'_>) -> Connected {
        let mut properties = PropertyBuf::new();
        properties.extend(ack.properties);
        let mut out = Connected {
            version: self.version,
            session_present: ack.session_present,
            client_id: self.client_id.clone(),
            keep_alive_secs: self.config.keep_alive_secs,
            session_expiry_secs: self.config.session_expiry_secs,
            receive_maximum: u16::MAX,
            max_packet_size: u32::MAX,
            topic_alias_maximum: 0,
            max_qos: Qos::ExactlyOnce,
            retain: true,
            wildcards: true,
            subscription_ids: true,
            shared: true,
            properties,
        };
        for property in ack.properties.iter() {
            match property {
                Property::ServerKeepAlive(secs) => out.keep_alive_secs = secs, // [MQTT-3.2.2-21]
                Property::SessionExpiryInterval(secs) => out.session_expiry_secs = secs,
                Property::ReceiveMaximum(max) => out.receive_maximum = max,
                Property::MaximumPacketSize(max) => out.max_packet_size = max,
                Property::TopicAliasMaximum(max) => out.topic_alias_maximum = max,
                Property::MaximumQos(one) => {
                    out.max_qos = if one { Qos::AtLeastOnce } else { Qos::AtMostOnce };
                }
                Property::RetainAvailable(is) => out.retain = is,
                Property::WildcardSubscriptionAvailable(is) => out.wildcards = is,
                Property::SubscriptionIdentifierAvailable(is) => out.subscription_ids = is,
                Property::SharedSubscriptionAvailable(is) => out.shared = is,
                // Kept, so that the next connection finds the session again. [MQTT-3.2.2-16]
                Property::AssignedClientIdentifier(id) => out.client_id = id.into(),
                _ => {}
            }
        }
        self.client_id.clone_from(&out.client_id);
        out.receive_maximum = out.receive_maximum.min(self.config.max_inflight);
        self.link.quota = out.receive_maximum;
        self.link.quota_max = out.receive_maximum;
        self.link.max_packet = out.max_packet_size;
        self.link.max_qos = out.max_qos;
        self.link.retain = out.retain;
        self.link.wildcards = out.wildcards;
        self.link.subscription_ids = out.subscription_ids;
        self.link.shared = out.shared;
        self.link.aliases.max = out.topic_alias_maximum.min(self.config.max_topic_aliases);
        out
    }

    /// The session goes on, or began anew.
    fn resume(&mut self, session_present: bool) {
        for number in self.outgoing.rewind(session_present, &mut self.ids) {
            if let Some(entry) = self.outgoing.get(number) {
                let (token, code) = (entry.token, entry.code);
                self.events.push_back(Event::Published { token, code });
            }
            self.outgoing.finish(number, &mut self.ids);
        }
        if !session_present {
            self.received.forget();
        }
    }

    /// DISCONNECT from the server (5.0).
    pub(super) fn on_disconnect(&mut self, now: Instant, disconnect: &Disconnect<'_>) {
        let refusal = refusal(disconnect.code, disconnect.properties);
        self.fail(now, ClientError::Ended(refusal), None);
    }

    /// The application takes leave.
    pub(super) fn say_goodbye(&mut self, goodbye: &Goodbye) {
        let code =
            if goodbye.with_will { ReasonCode::DisconnectWithWill } else { ReasonCode::Success };
        let mut properties = PropertyBuf::new();
        // [MQTT-3.14.2-2]: not after a CONNECT without.
        let had = self.config.session_expiry_secs != 0;
        if let Some(secs) = goodbye.session_expiry_secs.filter(|_| had) {
            properties.push(Property::SessionExpiryInterval(secs));
        }
        let plain = Disconnect { code, properties: properties.as_properties() };
        let mut full = properties.clone();
        full.extend(goodbye.properties.as_properties());
        let full = Disconnect { code, properties: full.as_properties() };
        if !self.send(&Packet::Disconnect(full)) {
            self.send(&Packet::Disconnect(plain));
        }
    }

    /// Appends a packet; `false`: it is larger than the server takes. [MQTT-3.2.2-15]
    pub(super) fn send(&mut self, packet: &Packet<'_>) -> bool {
        let out = self.outbox.buffer();
        let start = out.len();
        let encoded = codec::encode(packet, self.version, out).is_ok();
        if encoded && out.len() - start <= self.link.max_packet as usize {
            return true;
        }
        out.truncate(start);
        false
    }

    /// The server's fault: says so where the version allows, and ends.
    pub(super) fn violate(&mut self, now: Instant, violation: Violation) {
        self.fail(now, ClientError::Violation(violation), Some(violation.code()));
    }

    /// Ends the connection from this side.
    pub(super) fn fail(&mut self, now: Instant, error: ClientError, code: Option<ReasonCode>) {
        if let Some(code) = code.filter(|_| self.phase == Phase::Open && self.version.is_v5()) {
            self.send(&Packet::Disconnect(Disconnect { code, properties: Properties::EMPTY }));
        }
        self.close(now, Some(error));
    }

    /// Has the driver close the transport.
    pub(super) fn close(&mut self, now: Instant, error: Option<ClientError>) {
        self.signals.push_back(Transmit::Close);
        self.end(now, error);
        self.phase = Phase::Closing;
    }

    /// The connection or the attempt is over, the session not.
    pub(super) fn end(&mut self, now: Instant, error: Option<ClientError>) {
        self.retry_at = error.as_ref().and_then(|error| self.plan(now, error));
        self.link = Link::default();
        self.partial = Partial::new();
        self.received.lose_connection();
        self.requests.lose_connection();
        self.events.push_back(Event::Disconnected { error, retry_at: self.retry_at });
    }

    fn plan(&mut self, now: Instant, error: &ClientError) -> Option<Instant> {
        let plan = self.config.reconnect.filter(|_| !error.is_final())?;
        if !self.was_connected && !plan.initially {
            return None;
        }
        if self.link.useful {
            self.retry.reset();
        }
        let lasted = self.link.since.map(|since| now.saturating_since(since));
        self.retry.plan(now, &plan, lasted)
    }

    /// The transport is gone.
    pub(super) fn after_close(&mut self) {
        self.take_written();
        while let Some(token) = self.outbox.pop_lost() {
            let error = PublishError::ConnectionLost;
            self.events.push_back(Event::PublishFailed { token, error });
        }
        self.outbox.clear();
        self.phase = if self.retry_at.is_some() { Phase::Waiting } else { Phase::Idle };
    }

    /// When `handle_timeout` is wanted.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.phase {
            Phase::Opening | Phase::Connecting => Some(self.connect_by),
            Phase::Open => self.link.deadline(self.config.ping_timeout),
            Phase::Waiting => self.retry_at,
            Phase::Closing | Phase::Idle => None,
        }
    }

    /// The deadline has passed.
    pub(super) fn on_deadline(&mut self, now: Instant) {
        match self.phase {
            Phase::Opening | Phase::Connecting => {
                self.fail(now, ClientError::ConnectTimeout, None);
            }
            Phase::Open if self.link.ping_sent.is_some() => {
                self.fail(now, ClientError::PingTimeout, None);
            }
            Phase::Open => {
                self.send(&Packet::PingReq);
                self.link.ping_sent = Some(now);
            }
            Phase::Waiting => self.open(now),
            Phase::Closing | Phase::Idle => {}
        }
    }

    pub(super) fn on_ping_resp(&mut self) {
        self.link.ping_sent = None;
    }
}
