//! Enhanced authentication (MQTT 5 §4.12) on the client's side: whose turn it is. The mechanism is
//! the driver's: it is asked by `Event::AuthWanted` and answers by `Client::authenticate`.

use bytes::Bytes;
use motegate_timers::Instant;

use super::contract::Event;
use super::error::Violation;
use super::{Client, Phase};
use crate::packet::{Auth, ConnAck, Packet};
use crate::properties::{Properties, Property, PropertyBuf};
use crate::reason::ReasonCode;

/// How far an exchange is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Exchange {
    /// There is none.
    #[default]
    Idle,
    /// The transport is open, CONNECT waits for the first word.
    First,
    /// The server wants to know more.
    Ours,
    /// The server has the next word.
    Theirs,
}

impl Client {
    /// The transport is open: CONNECT, or first the word to begin it with.
    pub(super) fn begin(&mut self, now: Instant) {
        self.exchange = Exchange::Idle;
        if self.config.auth_method.is_none() {
            return self.send_connect(now, None);
        }
        self.exchange = Exchange::First;
        self.events.push_back(Event::AuthWanted { data: None });
    }

    pub(super) fn take_auth_data(&mut self, now: Instant, data: &[u8]) -> bool {
        match (self.phase, self.exchange) {
            (Phase::Opening, Exchange::First) => self.send_connect(now, Some(data)),
            (Phase::Connecting | Phase::Open, Exchange::Ours) => {
                self.send_auth(ReasonCode::ContinueAuthentication, data); // [MQTT-4.12.0-3]
            }
            // [MQTT-4.12.1-1]
            (Phase::Open, Exchange::Idle) if self.config.auth_method.is_some() => {
                self.send_auth(ReasonCode::ReAuthenticate, data);
            }
            _ => return false,
        }
        self.exchange = Exchange::Theirs;
        true
    }

    fn send_auth(&mut self, code: ReasonCode, data: &[u8]) {
        let mut properties = PropertyBuf::new();
        if let Some(method) = &self.config.auth_method {
            properties.push(Property::AuthenticationMethod(method)); // [MQTT-4.12.0-5]
        }
        properties.push(Property::AuthenticationData(data));
        self.send(&Packet::Auth(Auth { code, properties: properties.as_properties() }));
    }

    /// AUTH from the server.
    pub(super) fn on_auth(&mut self, now: Instant, auth: &Auth<'_>) {
        let (same, data) = self.read_auth(auth.properties);
        if !same || self.exchange != Exchange::Theirs {
            return self.violate(now, Violation::UnexpectedAuth);
        }
        match (auth.code, self.phase) {
            (ReasonCode::ContinueAuthentication, _) => {
                self.exchange = Exchange::Ours;
                self.events.push_back(Event::AuthWanted { data: Some(data) });
            }
            (ReasonCode::Success, Phase::Open) => {
                self.exchange = Exchange::Idle;
                self.events.push_back(Event::Authenticated { data });
            }
            _ => self.violate(now, Violation::UnexpectedAuth),
        }
    }

    /// Whether an accepting CONNACK ends the exchange as it must. [MQTT-4.12.0-5, -6]
    pub(super) fn is_authenticated(&mut self, ack: &ConnAck<'_>) -> bool {
        let (same, _) = self.read_auth(ack.properties);
        same && matches!(core::mem::take(&mut self.exchange), Exchange::Idle | Exchange::Theirs)
    }

    /// Whether the method is ours, or none where there is none; and the data.
    fn read_auth(&self, properties: Properties<'_>) -> (bool, Bytes) {
        let (mut method, mut data) = (None, Bytes::new());
        for property in properties.iter() {
            match property {
                Property::AuthenticationMethod(name) => method = Some(name),
                Property::AuthenticationData(bytes) => data = Bytes::copy_from_slice(bytes),
                _ => {}
            }
        }
        (method == self.config.auth_method.as_deref(), data)
    }
}
