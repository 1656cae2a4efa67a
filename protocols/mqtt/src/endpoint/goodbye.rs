//! The end of a connection: what is said, what is still answered, what becomes of its session (MQTT 5
//! §3.14, §4.13).

use core::time::Duration;

use motegate_message::{Reason, Seq, Turn};

use super::connection::{Connection, State};
use super::limits::Limit;
use super::reply::{self, Violation};
use super::shared::{Orphan, Place, Shared, Signal};
use crate::endpoint::Event;
use crate::packet::{Disconnect, Packet};
use crate::properties::{Properties, Property, PropertyBuf};
use crate::reason::ReasonCode;

/// The end of a connection that is still owed answers.
#[derive(Debug)]
pub(super) struct Leaving {
    reason: Reason,
    /// Of the DISCONNECT behind them; none where the client has said goodbye.
    code: Option<ReasonCode>,
    /// When its session's wire state was last written.
    pub(super) written: Seq,
}

/// How a connection ended, for the layer above.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Goodbye {
    pub(super) drop_will: bool,
    pub(super) expiry: Option<Duration>,
}

impl Connection {
    /// A fault of the client's: says goodbye as its version allows, and ends.
    pub(super) fn fail(&mut self, shared: &mut Shared, turn: &Turn, violation: Violation) {
        let (code, reason) = self.count(shared, violation);
        self.say_why(shared, code, reason);
        self.end(shared, turn, reason, Some(Goodbye::default()));
    }

    /// The same for a packet that breaks a rule: what came before it is answered first.
    pub(super) fn fail_in_turn(&mut self, shared: &mut Shared, turn: &Turn, violation: Violation) {
        if self.state != State::Open || self.acks.len() == 0 {
            return self.fail(shared, turn, violation);
        }
        let (code, reason) = self.count(shared, violation);
        self.leave(shared, turn, reason, Goodbye::default(), Some(code));
    }

    fn count(&self, shared: &mut Shared, violation: Violation) -> (ReasonCode, Reason) {
        let (code, reason) = reply::reply_for(violation);
        if let Some(limit) = violation.limit(self.state == State::Fresh) {
            shared.hit(self.id, limit, true);
        }
        let counters = &mut shared.counters;
        match reason {
            Reason::Malformed => counters.malformed += 1,
            Reason::KeepaliveTimeout => counters.timeouts += 1,
            Reason::TooLarge | Reason::QuotaExceeded => counters.limits += 1,
            _ => counters.protocol_errors += 1,
        }
        (code, reason)
    }

    /// The client is done, or we are done with it. What it asked before is answered first, and the
    /// DISCONNECT with this code comes last; its session is free at once.
    pub(super) fn leave(
        &mut self,
        shared: &mut Shared,
        turn: &Turn,
        reason: Reason,
        goodbye: Goodbye,
        code: Option<ReasonCode>,
    ) {
        self.flush_acks(shared);
        if self.acks.len() == 0 {
            if let Some(code) = code {
                self.say_goodbye(shared, code);
            }
            return self.end(shared, turn, reason, Some(goodbye));
        }
        let written = self.let_go(shared, turn, reason, Some(goodbye));
        self.state = State::Leaving;
        self.heard = turn.now;
        let leaving = Leaving { reason, code, written };
        self.aliases.get_or_insert_default().leaving = Some(leaving);
    }

    /// Everything is answered.
    pub(super) fn take_leave(&mut self, shared: &mut Shared, turn: &Turn) {
        let leaving = self.aliases.as_mut().and_then(|aliases| aliases.leaving.take());
        let Some(Leaving { reason, code, .. }) = leaving else { return };
        if let Some(code) = code {
            self.say_goodbye(shared, code);
        }
        self.end(shared, turn, reason, None);
    }

    /// Ended from above: the client hears the reason, the layer above nothing.
    pub(super) fn close(&mut self, shared: &mut Shared, turn: &Turn, reason: Reason) {
        self.say_why(shared, reply::disconnect_code(reason), reason);
        self.end(shared, turn, reason, None);
    }

    /// Why the connection ends, in the packet that may say it by now; the code is that of a DISCONNECT.
    fn say_why(&mut self, shared: &mut Shared, code: ReasonCode, reason: Reason) {
        match self.state {
            State::Open => self.say_goodbye(shared, code),
            // No DISCONNECT before the CONNACK. [MQTT-3.14.0-1]
            State::Pending | State::Challenged | State::Gated => {
                self.send_refusal(shared, reply::connack_code(reason));
            }
            State::Fresh | State::Leaving | State::Closing => {}
        }
    }

    /// DISCONNECT; before 5.0 a server has none.
    pub(super) fn say_goodbye(&mut self, shared: &mut Shared, code: ReasonCode) {
        self.flush_acks(shared);
        if !self.version.is_v5() {
            return;
        }
        let mut properties = PropertyBuf::new();
        if let Some(phrase) = reply::phrase(code) {
            properties.push(Property::ReasonString(phrase));
        }
        let explained = Disconnect { code, properties: properties.as_properties() };
        if !self.send(shared, &Packet::Disconnect(explained)) {
            let plain = Disconnect { code, properties: Properties::EMPTY };
            self.send(shared, &Packet::Disconnect(plain)); // [MQTT-3.14.2-3]
        }
    }

    /// Ends the connection: its wire state goes back to its session, its outbox is left to the
    /// transport. `announce`: unless the layer above ended it itself.
    pub(super) fn end(
        &mut self,
        shared: &mut Shared,
        turn: &Turn,
        reason: Reason,
        announce: Option<Goodbye>,
    ) {
        if self.state == State::Closing {
            return;
        }
        self.state = State::Closing;
        if !self.gone {
            shared.signals.push_back(Signal::Close(self.id, reason));
        }
        self.let_go(shared, turn, reason, announce);
        self.acks.clear();
        self.aliases = None;
        self.timer.clear();
    }

    /// Parts from its session, and from everything that it needs no more. When the session's wire
    /// state was last written.
    fn let_go(
        &mut self,
        shared: &mut Shared,
        turn: &Turn,
        reason: Reason,
        announce: Option<Goodbye>,
    ) -> Seq {
        let written = self.detach(shared, turn);
        if let Some(session) = self.session {
            let (conn, durable) = (self.id, self.durable);
            let orphan = |(ticket, id)| Orphan { conn, ticket, session, durable, id };
            shared.orphans.extend(self.acks.unanswered().map(orphan));
        }
        if let (Some(session), Some(goodbye)) = (self.session.take(), announce) {
            let Goodbye { drop_will, expiry } = goodbye;
            let conn = self.id;
            shared.events.push_back(Event::Disconnected {
                conn,
                session,
                reason,
                drop_will,
                expiry,
            });
        }
        shared.pool.give(core::mem::take(&mut self.partial));
        self.parcels = None;
        self.connecting = None;
        written
    }

    /// Gives the wire state back to the session, unless the session is over or elsewhere.
    fn detach(&mut self, shared: &mut Shared, turn: &Turn) -> Seq {
        let (Some(session), wire) = (self.session, self.wire.take()) else { return Seq::NONE };
        match shared.sessions.get(&session) {
            Some(Place::Attached(conn)) if *conn == self.id => {}
            _ => return Seq::NONE,
        }
        match wire.filter(|wire| !wire.is_empty()) {
            Some(mut wire) => {
                wire.detach(&mut self.journal(shared, turn));
                let most = usize::from(shared.config.of(self.listener).max_awaiting_release);
                if !self.version.is_v5()
                    && wire.forget_oldest(most, &mut self.journal(shared, turn))
                {
                    shared.acted.count(Limit::MaxAwaitingRelease);
                }
                let written = wire.last_record;
                shared.sessions.insert(session, Place::Detached(wire));
                written
            }
            None => {
                shared.sessions.remove(&session);
                Seq::NONE
            }
        }
    }
}
