//! Connections: CONNECT and its answer, DISCONNECT, PINGREQ, sleep and awakening (MQTT-SN 1.2
//! §6.2, §6.11, §6.12, §6.14), and their end.

use alloc::boxed::Box;
use core::time::Duration;

use motegate_message::{ListenerId, Peer, Reason, SessionId, Turn};

use super::clients::{Client, Slot, State};
use super::config::Rebind;
use super::contract::{Accept, ClientRef, Connect, Event, WillChange};
use super::forwarder::{self, Source};
use super::journal::Key;
use super::line::{overdue_after, patience, reply_for};
use super::view::is_lost;
use super::will::{Dialogue, DialogueStage};
use super::{Endpoint, Held, TimerKey, TimerKind};
use crate::{PROTOCOL_ID, Packet, ReturnCode};

/// The fields of a CONNECT.
#[derive(Debug, Clone, Copy)]
pub(super) struct ConnectFields<'a> {
    pub(super) will: bool,
    pub(super) clean: bool,
    pub(super) protocol_id: u8,
    pub(super) duration: u16,
    pub(super) client_id: &'a str,
}

impl Endpoint {
    pub(super) fn on_connect(&mut self, turn: &Turn, source: Source<'_>, f: ConnectFields<'_>) {
        if let Some(reason) = self.objection(source.route.listener, &f) {
            return self.refuse_stateless(source, reason);
        }
        let mut known = source.slot;
        if let Some(slot) = known.take_if(|slot| self.sleeps_under_another_name(*slot, &f)) {
            // A sleeper is known by its id and not by its address, which somebody else has got.
            self.clients.leave_address(slot);
        }
        let slot = match known {
            Some(slot) if self.is_repeated_connect(turn, slot, &f) => return,
            Some(slot) => slot,
            None => {
                if self.clients.len() >= self.config.max_clients {
                    return self.refuse_stateless(source, Reason::QuotaExceeded);
                }
                let peer = source.to_peer();
                let budget = self.budget_of(turn, &peer);
                let slot = self.clients.insert(Client { budget, ..Client::connecting(peer) });
                self.arm_dialogue(turn, slot);
                if f.will {
                    self.begin_dialogue(turn, slot);
                }
                slot
            }
        };
        let Some(client) = self.clients.get_mut(slot) else { return };
        client.dialogue = Some(Box::new(Dialogue {
            stage: DialogueStage::WillTopic,
            client_id: f.client_id.into(),
            clean: f.clean,
            with_will: f.will,
            keep_alive: f.duration,
            topic: None,
            resumed: None,
            asleep: false,
        }));
        match (f.will, f.clean) {
            (true, _) => self.send_to(slot, &Packet::WillTopicReq),
            // §6.3: a clean start deletes the will, any other without Will keeps it.
            (false, true) => self.open(turn, slot, WillChange::Set(None)),
            (false, false) => self.open(turn, slot, WillChange::Keep),
        }
    }

    fn sleeps_under_another_name(&self, slot: Slot, f: &ConnectFields<'_>) -> bool {
        let client = self.clients.get(slot);
        client.is_some_and(|client| client.state == State::Asleep && client.id() != f.client_id)
    }

    fn objection(&self, listener: ListenerId, f: &ConnectFields<'_>) -> Option<Reason> {
        if f.protocol_id != PROTOCOL_ID {
            return Some(Reason::UnsupportedVersion);
        }
        // §5.3.1 says 1 to 23 characters; longer ones are in use.
        let length = f.client_id.len();
        let most = super::bounds(&self.config, &self.bounds, listener).max_client_id_length;
        let sound = (1..=most).contains(&length);
        (!sound || f.client_id.contains('\0')).then_some(Reason::BadClientId)
    }

    /// CONNACK with a reason to somebody of whom nothing is kept.
    fn refuse_stateless(&mut self, source: Source<'_>, reason: Reason) {
        let packet = Packet::ConnAck { code: reply_for(reason) };
        forwarder::send_to(&mut self.out, source.route, source.node, 0, &packet);
        self.events.push_back(Event::Dropped { peer: source.to_peer(), reason });
    }

    /// §6.13: a client repeats CONNECT when its answer was lost. Before the answer it is one
    /// question; right after it, the same answer.
    fn is_repeated_connect(&mut self, turn: &Turn, slot: Slot, f: &ConnectFields<'_>) -> bool {
        let Some(client) = self.clients.get_mut(slot) else { return false };
        let opening = |d: &Dialogue| d.stage == DialogueStage::Opening && d.resumed.is_none();
        if client.dialogue.as_deref().is_some_and(opening) {
            return true;
        }
        let same = client.id() == f.client_id
            && client.clean == f.clean
            && client.keep_alive == f.duration
            && client.with_will == f.will;
        // With a will the dialogue begins again: the client may have changed it.
        if client.fresh && client.state == State::Active && same && !f.will {
            self.send_to(slot, &Packet::ConnAck { code: ReturnCode::Accepted });
            if let Some(mut line) = self.line(turn, slot) {
                line.touch();
            }
            return true;
        }
        false
    }

    pub(super) fn arm_dialogue(&mut self, turn: &Turn, slot: Slot) {
        let patience = self.config.retry_timeout * (u32::from(self.config.max_retries) + 1);
        let at = self.clients.ref_of(slot);
        if let Some(client) = self.clients.get_mut(slot) {
            let deadline = turn.now + patience;
            self.timers.set(&mut client.alive, TimerKey::new(at, TimerKind::Alive), deadline);
        }
    }

    /// The dialogue is over: the layer above decides.
    pub(super) fn open(&mut self, turn: &Turn, slot: Slot, will: WillChange) {
        let Some(client) = self.clients.get_mut(slot) else { return };
        let Some(dialogue) = &mut client.dialogue else { return };
        dialogue.stage = DialogueStage::Opening;
        let client_id = dialogue.client_id.clone();
        let clean = dialogue.clean;
        if client.session.is_none() {
            self.end_sleeper_elsewhere(turn, slot, &client_id, clean);
        } else if client.id() == &*client_id {
            self.end_renewed(turn, slot, clean);
        } else {
            // Another client at the same address: the one before is gone.
            self.end_session(turn, slot, Reason::ConnectionLost, false);
        }
        let new = self.clients.renew(slot);
        self.arm_dialogue(turn, slot);
        let Some(client) = self.clients.get_mut(slot) else { return };
        let expiry = if clean { Duration::ZERO } else { self.config.session_expiry };
        self.events.push_back(Event::Connect(Box::new(Connect {
            client: new,
            peer: client.peer.clone(),
            client_id: client_id.into(),
            clean,
            expiry,
            will,
            resumed: None,
            asleep: false,
        })));
    }

    /// The same client connects again from where it was: to wake (§6.14), because CONNACK was
    /// lost, or after a restart of its own. It is here, so its will is not due: the connection
    /// ends without one before the new one begins. `clean` is the CleanSession of the new one.
    fn end_renewed(&mut self, turn: &Turn, slot: Slot, clean: bool) {
        let at = self.clients.ref_of(slot);
        let Some(client) = self.clients.get(slot) else { return };
        let Some(session) = client.session else { return };
        // §6.14: a sleeper that becomes active goes on, also where its session would have ended
        // with the connection; only a clean start discards what was buffered.
        let lives_on = client.sleeps() && client.clean && !clean;
        let expiry = lives_on.then_some(self.config.session_expiry);
        // What waits at QoS 0 stays in the wire state, for `Wire::resume`.
        let peer = Some(client.peer.clone());
        self.drop_connection_record(turn, session);
        self.leave_wire(session, slot);
        let (reason, drop_will) = (Reason::TakenOver, true);
        self.events.push_back(Event::Disconnected {
            client: at,
            peer,
            session,
            reason,
            drop_will,
            expiry,
        });
    }

    /// A sleeper that wakes by CONNECT, from another address that may continue its session.
    fn end_sleeper_elsewhere(&mut self, turn: &Turn, slot: Slot, id: &str, clean: bool) {
        let Some(peer) = self.clients.get(slot).map(|client| client.peer.clone()) else { return };
        let other = self.clients.find_id(peer.listener, id).filter(|other| *other != slot);
        if let Some(other) = other.filter(|other| self.may_rebind(*other, &peer)) {
            self.end_renewed(turn, other, clean);
            self.clients.remove(other);
        }
    }

    fn leave_wire(&mut self, session: SessionId, slot: Slot) {
        let Some(client) = self.clients.get(slot) else { return };
        if let Some(wire) = self.wires.get_mut(session).filter(|wire| wire.slot == Some(slot)) {
            wire.leave(&client.peer);
        }
    }

    pub(super) fn accept_client(&mut self, turn: &Turn, at: ClientRef, accept: Accept) {
        let Accept { key, session, present, mut after } = accept;
        let Some(slot) = self.clients.slot_of(at) else {
            // It went away while it was being opened.
            let reason = Reason::ConnectionLost;
            self.events.push_back(Event::Disconnected {
                client: at,
                peer: None,
                session,
                reason,
                drop_will: true,
                expiry: None,
            });
            return;
        };
        let Some(client) = self.clients.get_mut(slot) else { return };
        let Some(dialogue) = client.dialogue.as_ref() else { return };
        if client.session.is_some() || dialogue.stage != DialogueStage::Opening {
            return;
        }
        let (resumed, asleep) = (dialogue.resumed, dialogue.asleep);
        client.clean = dialogue.clean;
        client.keep_alive = dialogue.keep_alive;
        client.with_will = dialogue.with_will;
        client.session = Some(session);
        client.key = Some(key);
        let clean = client.clean;
        if let Some(old) = resumed.filter(|old| *old != session || !present) {
            // What it had is gone: it is told so when it speaks, and subscribes anew.
            self.drop_wire(turn, old);
            let client = self.clients.remove(slot).map(|client| (at, client.peer));
            self.events.extend(client.map(|(client, peer)| Event::Disconnected {
                client,
                peer: Some(peer),
                session,
                reason: Reason::SessionExpired,
                drop_will: true,
                expiry: Some(Duration::ZERO),
            }));
            return;
        }
        let begins = self.take_wire(turn, slot, session, present, clean);
        self.renumber(turn, slot);
        self.clients.index_id(slot);
        if resumed.is_some() {
            self.clients.set_state(slot, if asleep { State::Asleep } else { State::Active });
            self.with_line(turn, slot, |line| {
                line.client.dialogue = None;
                line.touch();
                line.credit();
                line.pump();
            });
            return;
        }
        self.with_line(turn, slot, |line| {
            line.record_connection();
            if begins {
                line.record_contents();
            }
            after = after.max(line.wire.written);
        });
        if after <= self.committed {
            self.opened(turn, slot);
        } else {
            self.gate.push(after, Held::Opened(at));
        }
    }

    /// The session's wire state belongs to the client in `slot` from now on. Whether it begins to
    /// be journaled.
    fn take_wire(
        &mut self,
        turn: &Turn,
        slot: Slot,
        session: SessionId,
        present: bool,
        clean: bool,
    ) -> bool {
        if !present {
            self.drop_wire(turn, session);
        }
        let wire = self.wires.get_or_insert(session);
        wire.home = None;
        let other = wire.slot.filter(|other| *other != slot);
        let begins = !clean && !wire.durable;
        wire.durable = !clean;
        wire.resume();
        wire.slot = Some(slot);
        wire.lost = false;
        if let Some(other) = other {
            // The same client id at another address; the layer above knows it as taken over.
            self.close_client(turn, other, Reason::TakenOver);
        }
        begins
    }

    /// CONNACK leaves.
    pub(super) fn opened(&mut self, turn: &Turn, slot: Slot) {
        self.clients.set_state(slot, State::Active);
        self.with_line(turn, slot, |line| {
            line.client.dialogue = None;
            line.client.fresh = true;
            line.client.spent = 0;
            line.send(&Packet::ConnAck { code: ReturnCode::Accepted });
            line.touch();
            line.credit();
            line.pump();
        });
    }

    /// CONNACK with the endpoint's own reason.
    pub(super) fn refuse_connect(&mut self, turn: &Turn, slot: Slot, reason: Reason) {
        if let Some(client) = self.clients.get(slot) {
            let peer = client.peer.clone();
            self.events.push_back(Event::Dropped { peer, reason });
        }
        let ended = self.end_refused(turn, slot);
        self.refuse_client(turn, slot, reason);
        if ended {
            self.clients.remove(slot);
        }
    }

    /// Whoever says CONNECT has no connection any more, also where that one is refused (§6.2): the one
    /// before ends as `open` ends it, and its session stays as it was. Whether there was one.
    fn end_refused(&mut self, turn: &Turn, slot: Slot) -> bool {
        let Some(client) = self.clients.get(slot) else { return false };
        let Some(dialogue) = &client.dialogue else { return false };
        if client.session.is_none() || dialogue.stage == DialogueStage::Opening {
            return false;
        }
        if client.id() == &*dialogue.client_id {
            // As a clean start, which does not lengthen the life of the session; it is not begun.
            self.end_renewed(turn, slot, true);
        } else {
            self.end_session(turn, slot, Reason::ConnectionLost, false);
        }
        true
    }

    pub(super) fn refuse_client(&mut self, turn: &Turn, slot: Slot, reason: Reason) {
        let Some(client) = self.clients.get_mut(slot) else { return };
        let dialogue = client.dialogue.take();
        if let Some(session) = dialogue.as_ref().and_then(|dialogue| dialogue.resumed) {
            // Nobody asked: nothing is answered, and it is not tried again.
            self.drop_connection_record(turn, session);
            self.clients.remove(slot);
            return;
        }
        self.send_to(slot, &Packet::ConnAck { code: reply_for(reason) });
        if self.clients.get(slot).is_some_and(|client| client.state == State::Connecting) {
            self.clients.remove(slot);
        }
    }

    pub(super) fn on_disconnect(&mut self, turn: &Turn, slot: Slot, duration: Option<u16>) {
        match duration {
            // A sleep of no time is none.
            Some(secs @ 1..) if self.is_connected(slot) => {
                self.with_line(turn, slot, |line| line.fall_asleep(secs));
            }
            _ => {
                self.send_to(slot, &Packet::Disconnect { duration: None });
                self.remove_client(turn, slot, Reason::ClientDisconnect, true);
            }
        }
    }

    pub(super) fn is_connected(&self, slot: Slot) -> bool {
        self.clients.get(slot).is_some_and(|client| client.state != State::Connecting)
    }

    /// PINGREQ with a client id: a sleeper wakes (§6.14), perhaps at a new address.
    pub(super) fn on_ping_id(&mut self, turn: &Turn, source: Source<'_>, id: &str) {
        let here = source
            .slot
            .filter(|slot| self.clients.get(*slot).is_some_and(|client| client.id() == id));
        let slot = here.or_else(|| self.rebound(turn, source, id));
        match slot {
            Some(slot) if self.is_connected(slot) => {
                self.with_line(turn, slot, |line| line.on_ping_id());
            }
            Some(_) => {}
            None => self.on_stranger(turn, source),
        }
    }

    /// The sleeper `id`, moved to where it now speaks from, if that is allowed.
    fn rebound(&mut self, turn: &Turn, source: Source<'_>, id: &str) -> Option<Slot> {
        if source.slot.is_some() {
            return None; // the address of another client
        }
        let slot = self.clients.find_id(source.route.listener, id)?;
        let peer = source.to_peer();
        if !self.may_rebind(slot, &peer) {
            return None;
        }
        if self.clients.get(slot).is_none_or(|client| client.peer.addr.ip() != peer.addr.ip()) {
            let budget = self.budget_of(turn, &peer);
            if let Some(client) = self.clients.get_mut(slot) {
                client.budget = budget;
            }
            self.renumber(turn, slot);
        }
        self.clients.rebind(slot, peer);
        self.with_line(turn, slot, |line| line.record_connection());
        Some(slot)
    }

    /// Whether `peer` may go on where the sleeper in `slot` stopped.
    fn may_rebind(&self, slot: Slot, peer: &Peer) -> bool {
        let Some(client) = self.clients.get(slot) else { return false };
        client.sleeps()
            && match self.config.rebind {
                Rebind::Never => false,
                Rebind::Any => true,
                Rebind::SameHost => {
                    client.peer.addr.ip() == peer.addr.ip() && client.peer.node == peer.node
                }
            }
    }

    /// Ends a connection: the layer above is told, the client's place is free.
    pub(super) fn remove_client(
        &mut self,
        turn: &Turn,
        slot: Slot,
        reason: Reason,
        drop_will: bool,
    ) {
        self.end_session(turn, slot, reason, drop_will);
        self.clients.remove(slot);
    }

    fn end_session(&mut self, turn: &Turn, slot: Slot, reason: Reason, drop_will: bool) {
        let client = self.clients.ref_of(slot);
        let Some(known) = self.clients.get(slot) else { return };
        let Some(session) = known.session else { return };
        let peer = Some(known.peer.clone());
        self.detach(turn, slot, session);
        if let Some(wire) = self.wires.get_mut(session) {
            wire.lost = is_lost(reason);
        }
        let expiry = None;
        self.events.push_back(Event::Disconnected {
            client,
            peer,
            session,
            reason,
            drop_will,
            expiry,
        });
    }

    /// The session has no connection from now on, if it had this one.
    fn detach(&mut self, turn: &Turn, slot: Slot, session: SessionId) {
        if self.wires.get(session).is_some_and(|wire| wire.slot == Some(slot)) {
            self.with_line(turn, slot, |line| {
                line.record(Key::Connection, None);
                line.wire.disconnect(&line.client.peer);
            });
        }
    }

    /// Closed from above: no event.
    pub(super) fn close_client(&mut self, turn: &Turn, slot: Slot, reason: Reason) {
        let Some(client) = self.clients.get(slot) else { return };
        let (state, session) = (client.state, client.session);
        // Nothing is ever sent to a sleeper (§6.14): it learns at its next PINGREQ.
        if state != State::Asleep {
            self.send_to(slot, &Packet::Disconnect { duration: None });
        }
        if let Some(session) = session {
            if state == State::Asleep && reason == Reason::Shutdown {
                // Its record stays: it is served after the restart as if nothing had happened.
                self.leave_wire(session, slot);
            } else {
                self.detach(turn, slot, session);
            }
        }
        self.clients.remove(slot);
    }

    /// The supervision of `slot` ran out.
    pub(super) fn on_silence(&mut self, turn: &Turn, slot: Slot) {
        let at = self.clients.ref_of(slot);
        let Some(client) = self.clients.get_mut(slot) else { return };
        if client.state == State::Asleep && !client.overdue {
            client.overdue = true;
            let left =
                patience(&self.config, client.sleep) - overdue_after(&self.config, client.sleep);
            let lost_at = turn.now + Duration::from_millis(left);
            self.timers.set(&mut client.alive, TimerKey::new(at, TimerKind::Alive), lost_at);
            self.events.push_back(Event::Overdue { client: at, lost_at });
            return;
        }
        let reason = match client.state {
            State::Connecting => Reason::ConnectTimeout,
            State::Active => Reason::KeepaliveTimeout,
            State::Asleep | State::Awake => Reason::SleepExpired,
        };
        if client.session.is_none() {
            let peer = client.peer.clone();
            self.events.push_back(Event::Dropped { peer, reason });
        }
        self.remove_client(turn, slot, reason, false);
    }
}
