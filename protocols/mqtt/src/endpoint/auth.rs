//! Enhanced authentication (MQTT 5 §4.12): who may send AUTH when, and what is answered. The
//! mechanism itself is opaque here: its data goes up in events and comes down in answers.
//!
//! From a CONNECT with an Authentication Method to its CONNACK only AUTH and DISCONNECT are taken,
//! AUTH only in the client's turn ([MQTT-3.1.2-30], [MQTT-4.12.0-1…7]). Afterwards the client may
//! authenticate again at any time, with the same method, while everything else goes on
//! ([MQTT-4.12.1-1, -2]). A failure is a CONNACK before that, a DISCONNECT after.

use alloc::sync::Arc;
use bytes::Bytes;

use motegate_message::{Reason, Turn};
use motegate_timers::Instant;

use super::connection::{Connection, State};
use super::goodbye::Goodbye;
use super::reply::{self, Violation};
use super::shared::Shared;
use crate::endpoint::Event;
use crate::packet::{Auth, Packet, PacketType};
use crate::properties::{Properties, Property, PropertyBuf};
use crate::reason::ReasonCode;

/// Who has the next word in an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// There is no exchange.
    Nobody,
    /// The layer above was asked.
    Server,
    /// A challenge was sent.
    Client,
}

/// The method that a client and the layer above agree on, and how far they are.
#[derive(Debug)]
pub(super) struct Exchange {
    /// Authentication Method of the CONNECT.
    method: Arc<str>,
    next: Next,
    /// The latest end of the exchange that goes on.
    by: Instant,
    /// Authentication Data of the CONNACK.
    last_words: Option<Bytes>,
}

impl Exchange {
    /// An exchange that a CONNECT begins.
    pub(super) const fn new(method: Arc<str>, by: Instant) -> Self {
        Exchange { method, next: Next::Server, by, last_words: None }
    }

    /// When it fails, if one goes on.
    pub(super) fn deadline(&self) -> Option<Instant> {
        (self.next != Next::Nobody).then_some(self.by)
    }

    /// The CONNACK that accepts: the same method and the last data. [MQTT-4.12.0-5]
    pub(super) fn conclude(&mut self, properties: &mut PropertyBuf) {
        self.next = Next::Nobody;
        push(properties, &self.method, self.last_words.take().as_deref());
    }
}

fn push(properties: &mut PropertyBuf, method: &str, data: Option<&[u8]>) {
    properties.push(Property::AuthenticationMethod(method));
    if let Some(data) = data {
        properties.push(Property::AuthenticationData(data));
    }
}

/// Method and data of an AUTH.
fn read(properties: Properties<'_>) -> (Option<&str>, Option<Bytes>) {
    let (mut method, mut data) = (None, None);
    for property in properties.iter() {
        match property {
            Property::AuthenticationMethod(name) => method = Some(name),
            Property::AuthenticationData(bytes) => data = Some(Bytes::copy_from_slice(bytes)),
            _ => {}
        }
    }
    (method, data)
}

impl Connection {
    fn exchange(&self) -> Option<&Exchange> {
        self.connecting.as_deref()?.exchange.as_ref()
    }

    fn exchange_mut(&mut self) -> Option<&mut Exchange> {
        self.connecting.as_deref_mut()?.exchange.as_mut()
    }

    /// Whether an exchange goes on that keeps the CONNACK back.
    pub(super) fn is_authenticating(&self) -> bool {
        self.state != State::Open && self.exchange().is_some()
    }

    /// When waiting for an answer to the CONNECT, or for the end of an exchange, ends.
    pub(super) fn auth_deadline(&self) -> Option<Instant> {
        match self.state {
            State::Pending | State::Challenged => self.connecting.as_ref().map(|c| c.by),
            State::Open => self.exchange().and_then(Exchange::deadline),
            _ => None,
        }
    }

    /// What a client may send before its CONNACK, judged by the first byte. [MQTT-3.1.2-30]
    pub(super) fn judge_early(&self, first: u8) -> Result<(), Violation> {
        match PacketType::from_first_byte(first) {
            Some(PacketType::Disconnect) => Ok(()),
            Some(PacketType::Auth) if self.state == State::Challenged => Ok(()),
            Some(PacketType::Auth) => Err(Violation::AuthOutOfTurn),
            _ => Err(Violation::BeforeConnAck),
        }
    }

    /// AUTH from the client (MQTT 5 §3.15).
    pub(super) fn on_auth(
        &mut self,
        shared: &mut Shared,
        turn: &Turn,
        auth: &Auth<'_>,
    ) -> Result<(), Violation> {
        let open = self.state == State::Open;
        let conn = self.id;
        let by = turn.now + shared.config.of(self.listener).auth_timeout;
        // [MQTT-4.12.0-7]: the client's CONNECT named no method.
        let Some(exchange) = self.exchange_mut() else { return Err(Violation::UnexpectedAuth) };
        let (method, data) = read(auth.properties);
        // [MQTT-4.12.0-5], [MQTT-4.12.1-1]; leaving it out is an error, too (§3.15.2.2.2).
        if method != Some(&*exchange.method) {
            return Err(Violation::AuthMethodChanged);
        }
        let again = match (auth.code, exchange.next) {
            (ReasonCode::ContinueAuthentication, Next::Client) => false, // [MQTT-4.12.0-3]
            (ReasonCode::ReAuthenticate, Next::Nobody) if open => true,
            _ => return Err(Violation::AuthOutOfTurn),
        };
        if again {
            exchange.by = by;
        }
        exchange.next = Next::Server;
        let method = exchange.method.clone();
        if !open {
            self.state = State::Pending;
        }
        shared.events.push_back(Event::Auth { conn, method, data, again });
        Ok(())
    }

    /// The layer above wants to know more: AUTH 0x18. [MQTT-4.12.0-2]
    pub(super) fn challenge(&mut self, shared: &mut Shared, turn: &Turn, data: &[u8]) {
        let Some(exchange) = self.exchange_mut().filter(|e| e.next == Next::Server) else { return };
        exchange.next = Next::Client;
        let mut properties = PropertyBuf::new();
        push(&mut properties, &exchange.method, Some(data));
        if !self.send_auth(shared, ReasonCode::ContinueAuthentication, &properties) {
            return self.fail(shared, turn, Violation::PacketTooLarge);
        }
        if self.state == State::Pending {
            self.state = State::Challenged;
            // What came behind the client's last word is judged now.
            let early = core::mem::take(&mut self.partial);
            self.process(shared, turn, &early);
            shared.pool.give(early);
        }
    }

    /// The client has proved who it is: its CONNACK will carry `data`, which `accept` sends, or,
    /// where the connection is open, AUTH 0x00 carries it at once.
    pub(super) fn authenticated(&mut self, shared: &mut Shared, turn: &Turn, data: Option<Bytes>) {
        let open = self.state == State::Open;
        let Some(exchange) = self.exchange_mut().filter(|e| e.next == Next::Server) else { return };
        exchange.last_words = data;
        if !open {
            return;
        }
        let mut properties = PropertyBuf::new();
        exchange.conclude(&mut properties);
        if !self.send_auth(shared, ReasonCode::Success, &properties) {
            self.fail(shared, turn, Violation::PacketTooLarge);
        }
    }

    /// A re-authentication has failed: DISCONNECT 0x87 or what else the reason asks for.
    /// [MQTT-4.12.1-2]
    pub(super) fn refuse_again(&mut self, shared: &mut Shared, turn: &Turn, reason: Reason) {
        if self.exchange().is_none_or(|exchange| exchange.next != Next::Server) {
            return;
        }
        shared.counters.refused += 1;
        self.say_goodbye(shared, reply::disconnect_code(reason));
        self.end(shared, turn, reason, Some(Goodbye::default()));
    }

    /// The code of a CONNACK that refuses: in an exchange there is no user name to blame (§4.12).
    pub(super) fn refusal_code(&self, reason: Reason) -> ReasonCode {
        match reply::connack_code(reason) {
            ReasonCode::BadUserNameOrPassword if self.exchange().is_some() => {
                ReasonCode::NotAuthorized
            }
            code => code,
        }
    }

    fn send_auth(&mut self, shared: &mut Shared, code: ReasonCode, list: &PropertyBuf) -> bool {
        self.send(shared, &Packet::Auth(Auth { code, properties: list.as_properties() }))
    }
}
