//! What leaves on connections: answers and notifications by their tokens (RFC 8323 §3.3, §7), signals
//! (§5), and the end.
//!
//! There are no message ids, no acknowledgements and no repetitions. What a peer does not read waits
//! in its outbox, up to `max_outbox_bytes`; then it is asked nothing more, and of what it observes the
//! latest value waits until it has read.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use motegate_message::Reason;

use super::Endpoint;
use super::block::Room;
use super::body::Body;
use super::connection::{Place, State};
use super::contract::{Code, Event, Notification};
use super::observe::{Observation, Phase};
use super::peers::OVER;
use crate::ListenerBounds;
use crate::frame::{self, MAX_HEADER};
use crate::message::Token;
use crate::signal::{self, ABORT, BASE_MESSAGE_SIZE, CSM, PING, PONG, RELEASE};
use crate::slab::Key;

impl Endpoint {
    /// The slot of a peer's connection; `None` of whoever sends datagrams.
    pub(super) fn connection_of(&self, peer: Key) -> Option<u32> {
        let state = self.peers.get(peer)?;
        state.is_connected().then_some(state.connection)
    }

    /// What a message to a peer may carry beside `overhead`; `None` of whoever sends datagrams.
    pub(super) fn connection_room(&self, peer: Key, overhead: usize) -> Option<Room> {
        let connection = self.connections.at(self.connection_of(peer)?);
        let theirs = connection.map_or(BASE_MESSAGE_SIZE, |c| c.max_message);
        // RFC 8323 §5.3.1: what it can receive; and no more than we would, so that none is large
        // against the outbox.
        let most = theirs.min(self.config.max_message_size) as usize;
        // RFC 8323 §5.3.2
        let bert = connection.is_some_and(|c| c.block_wise) && theirs > BASE_MESSAGE_SIZE;
        Some(Room { payload: most.saturating_sub(overhead), bert })
    }

    /// An answer, or a notification of `observation`.
    pub(super) fn send_body(
        &mut self,
        slot: u32,
        token: &Token,
        body: &Body,
        observation: Option<Key>,
    ) {
        let observed = observation.and_then(|key| self.observations.get_mut(key));
        // RFC 8323 §7.1: the value may be empty and is ignored; clients that compare it all the same
        // find it growing.
        let sequence = observed.map(|observation| observation.next_sequence());
        let max = self.connections.at(slot).map_or(0, |c| c.max_message as usize);
        let fits = |rest: usize| rest + MAX_HEADER + token.as_slice().len() <= max;
        let mut scratch = self.scratch();
        body.encode_content(&mut scratch, sequence);
        let mut code = body.code;
        if !fits(scratch.len()) {
            // RFC 8323 §5.3.1: what it cannot receive is not sent. The code says what happened, if it
            // says all.
            scratch.clear();
            if code.class() == 2 {
                code = Code::INTERNAL_SERVER_ERROR;
            }
        }
        self.push(slot, code.0, token, scratch);
    }

    fn scratch(&mut self) -> Vec<u8> {
        let mut scratch = core::mem::take(&mut self.connections.scratch);
        scratch.clear();
        scratch
    }

    /// Appends a message to an outbox.
    fn push(&mut self, slot: u32, code: u8, token: &Token, mut rest: Vec<u8>) {
        if let Some((connection, pool)) = self.connections.with_pool(slot)
            && connection.state != State::Closing
        {
            frame::write(connection.outbox.buffer(pool), code, token, &rest);
            self.counters.connection_messages_sent += 1;
        }
        rest.clear();
        rest.shrink_to(64 * 1024);
        self.connections.scratch = rest;
        self.settle(slot);
    }

    /// A new value for an observer, now or when it has read what is before it.
    pub(super) fn notify_on_connection(&mut self, slot: u32, key: Key, notification: Notification) {
        let bounds = self.bounds_at(slot);
        let Some(connection) = self.connections.at_mut(slot) else { return };
        let full = connection.is_full(&bounds);
        if full && !core::mem::replace(&mut connection.held_back, true) {
            let (conn, peer, limit) = (connection.id, connection.name(), "max_outbox_bytes");
            self.counters.outboxes_full += 1;
            self.events.push_back(Event::Limited { conn, peer, limit });
        }
        let Some(observation) = self.observations.get_mut(key) else { return };
        if full {
            observation.phase = Phase::Busy;
            let replaced = observation.wait_with(self.now, notification);
            return self.notified(key, replaced);
        }
        observation.phase = Phase::Idle;
        let (peer, token) = (observation.peer(), observation.token);
        let delivery = notification.delivery;
        let room = self.notification_room_of(peer);
        let Some(observation) = self.observations.get(key) else { return };
        let body = observation.body(notification, room);
        self.send_body(slot, &token, &body, Some(key));
        self.notified(key, Some(delivery));
    }

    /// Tells a peer that has read what it observes now.
    pub(super) fn tell_held_back(&mut self, slot: u32) {
        let Some(connection) = self.connections.at(slot) else { return };
        let Some(state) = self.peers.get(connection.peer) else { return };
        let observed: Vec<Key> =
            self.observations.from(state.first_observation).map(|id| Key::from_u64(id.0)).collect();
        for key in observed {
            let waits = self.observations.get(key).is_some_and(Observation::waits);
            if waits {
                if let Some(observation) = self.observations.get_mut(key)
                    && observation.phase == Phase::Busy
                {
                    observation.phase = Phase::Idle;
                }
                self.flush_pending(self.now, key);
            }
        }
    }

    /// A request has its answer, or is given up.
    pub(super) fn connection_answered(&mut self, slot: u32, place: Place) {
        let Some(connection) = self.connections.at_mut(slot) else { return };
        let mut pong = connection.answered(place);
        while let Some(token) = pong {
            self.send_pong(slot, &token, true);
            pong = self.connections.at_mut(slot).and_then(|c| c.next_pong());
        }
        match self.connections.at(slot).map(|connection| connection.state) {
            Some(State::Releasing) => self.close_released(slot),
            _ => self.settle(slot),
        }
    }

    /// There is room for more requests of a connection, and some may have come.
    fn list(&mut self, slot: u32) {
        let Some(connection) = self.connections.at_mut(slot) else { return };
        let conn = connection.id;
        if !core::mem::replace(&mut connection.listed, true) {
            self.connections.listed.push_back(conn);
        }
    }

    pub(super) fn send_csm(&mut self, slot: u32) {
        let mut scratch = self.scratch();
        signal::write_csm(&mut scratch, self.config.max_message_size);
        self.push(slot, CSM, &Token::default(), scratch);
    }

    pub(super) fn send_pong(&mut self, slot: u32, token: &Token, custody: bool) {
        let mut scratch = self.scratch();
        signal::write_pong(&mut scratch, custody);
        self.push(slot, PONG, token, scratch);
    }

    pub(super) fn send_ping(&mut self, slot: u32) {
        self.counters.pings_sent += 1;
        let scratch = self.scratch();
        self.push(slot, PING, &signal::ping_token(), scratch);
    }

    /// RFC 8323 §5.6: says why, and ends.
    pub(super) fn abort(
        &mut self,
        slot: u32,
        reason: Reason,
        limit: Option<&'static str>,
        text: &str,
    ) {
        self.abort_with(slot, reason, limit, None, text);
    }

    pub(super) fn abort_with(
        &mut self,
        slot: u32,
        reason: Reason,
        limit: Option<&'static str>,
        bad_csm_option: Option<u16>,
        text: &str,
    ) {
        self.counters.aborts += 1;
        let mut scratch = self.scratch();
        signal::write_abort(&mut scratch, bad_csm_option, text);
        self.push(slot, ABORT, &Token::default(), scratch);
        self.end_connection(slot, reason, limit, Some(text.to_string()));
        self.close_transport(slot, reason);
    }

    /// Ends a connection from above: its peer may go on elsewhere.
    pub(super) fn release_connection(&mut self, slot: u32, reason: Reason) {
        let text = match reason {
            Reason::Shutdown => "the gateway stops",
            _ => "the gateway's configuration has changed",
        };
        let mut scratch = self.scratch();
        signal::write_release(&mut scratch, text);
        self.push(slot, RELEASE, &Token::default(), scratch);
        self.end_connection(slot, reason, None, None);
        self.close_transport(slot, reason);
    }

    /// The peer has released it: it ends once what came before is answered (RFC 8323 §5.5).
    pub(super) fn close_released(&mut self, slot: u32) {
        if self.connections.at(slot).is_some_and(|connection| connection.is_quiet()) {
            self.end_connection(slot, Reason::ClientDisconnect, None, None);
            self.close_transport(slot, Reason::ClientDisconnect);
        }
    }

    /// What the peer had ends with its connection: observations, bodies in parts (RFC 8323 §3.4, §7.4).
    /// What it has asked is done all the same, and its answers go nowhere.
    pub(super) fn end_connection(
        &mut self,
        slot: u32,
        reason: Reason,
        limit: Option<&'static str>,
        text: Option<String>,
    ) {
        let now = self.now;
        let Some((connection, _)) = self.connections.with_pool(slot) else { return };
        let state = core::mem::replace(&mut connection.state, State::Closing);
        if state == State::Closing {
            return;
        }
        connection.partial = Vec::new();
        let (conn, peer, key, listener) =
            (connection.id, connection.name(), connection.peer, connection.listener);
        let transfers = connection.transfers().map(core::mem::take).unwrap_or_default();
        drop(connection.take_message());
        if state == State::Fresh {
            self.connections.half_open.remove(listener);
        }
        for transfer in transfers {
            self.end_transfer(now, transfer);
        }
        while let Some(state) = self.peers.get(key) {
            let Some(id) = self.observations.from(state.first_observation).next() else { break };
            self.lose_observation(now, Key::from_u64(id.0), Reason::ConnectionLost);
        }
        if let Some(state) = self.peers.get_mut(key) {
            state.connection = OVER;
            self.peers.release(key.slot, now);
        }
        self.disconnected((conn, peer, state != State::Fresh), reason, limit, text);
    }

    /// Has the transport write what is left, and end.
    pub(super) fn close_transport(&mut self, slot: u32, reason: Reason) {
        let Some(connection) = self.connections.at(slot) else { return };
        let conn = connection.id;
        self.connections.tell_close(conn, reason);
        self.settle(slot);
    }

    /// After every change: what is to be told to the transport, and when it is due. Once over, and
    /// its bytes written, it is forgotten.
    pub(super) fn settle(&mut self, slot: u32) {
        let bounds = self.bounds_at(slot);
        let now = self.now;
        let Some(connection) = self.connections.at_mut(slot) else { return };
        if connection.is_over() {
            return self.connections.remove(slot);
        }
        let conn = connection.id;
        let begins = !connection.write_told && !connection.outbox.is_empty();
        if begins && connection.state != State::Closing {
            connection.write_told = true;
            connection.progress = now;
            self.connections.tell_write(conn);
        }
        self.settle_reads(slot, &bounds);
        let Some((connection, timers)) = self.connections.with_timers(slot) else { return };
        let deadline = connection.deadline(&bounds);
        if deadline != connection.timer.deadline() {
            match deadline {
                Some(at) => timers.set(&mut connection.timer, conn, at),
                None => connection.timer.clear(),
            }
        }
    }

    fn settle_reads(&mut self, slot: u32, bounds: &ListenerBounds) {
        let Some(connection) = self.connections.at_mut(slot) else { return };
        let conn = connection.id;
        let pause = connection.must_pause(bounds);
        let goes_on = connection.blocked && !pause && connection.state == State::Open;
        if pause != connection.pause_told && !connection.reads_queued {
            connection.reads_queued = true;
            self.connections.tell_reads(conn);
        }
        if goes_on {
            self.list(slot);
        }
    }
}
