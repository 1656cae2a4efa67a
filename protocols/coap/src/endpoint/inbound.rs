//! From the bytes of a connection to its messages, and what each of them means there (RFC 8323 §3, §4,
//! §5): requests, signals, and nothing else.
//!
//! Bytes come cut anywhere; messages of a WebSocket come in parts, of which the last says so. What is
//! kept is one message that has not come whole, at most `max_message_size` of it, and what came behind
//! requests that are enough for now: nothing is read until some of them have their answers.

use alloc::format;
use alloc::string::{String, ToString};

use motegate_message::{ConnectionId, Reason, Turn};

use super::Endpoint;
use super::connection::State;
use super::contract::Event;
use super::contract::Method;
use super::reachability::secs;
use super::request::method;
use crate::frame::{self, Malformed, Span};
use crate::message::{EMPTY, Message};
use crate::signal::{self, CSM, Fault, Signal};

impl Endpoint {
    /// Bytes came on a connection of TCP or TLS, cut anywhere.
    pub fn handle_bytes(&mut self, turn: &Turn, conn: ConnectionId, chunk: &[u8]) {
        let Some(slot) = self.heard(turn, conn, chunk.len()) else { return };
        let Some(connection) = self.connections.at_mut(slot) else { return };
        if connection.partial.is_empty() {
            connection.begun = turn.now;
            let used = self.take_messages(slot, chunk);
            self.keep(slot, chunk.get(used..).unwrap_or_default());
        } else {
            connection.partial.extend_from_slice(chunk);
            self.take_kept(slot);
        }
        self.settle(slot);
    }

    /// A part of a message came on a connection of WebSocket, the last if it says so (RFC 8323 §4.2).
    pub fn handle_part(&mut self, turn: &Turn, conn: ConnectionId, chunk: &[u8], is_last: bool) {
        let Some(slot) = self.heard(turn, conn, chunk.len()) else { return };
        let max = self.config.max_message_size as usize;
        let Some(connection) = self.connections.at_mut(slot) else { return };
        let is_first = !connection.has_message();
        let before = if is_first { 0 } else { connection.message().len() };
        if before + chunk.len() > max {
            return self.too_large(slot);
        }
        if is_first && connection.partial.is_empty() {
            connection.begun = turn.now;
        }
        if !is_last {
            connection.message().extend_from_slice(chunk);
        } else if is_first {
            self.take_whole(slot, chunk);
        } else {
            connection.message().extend_from_slice(chunk);
            let message = connection.take_message();
            self.take_whole(slot, &message);
        }
        self.settle(slot);
    }

    /// Notes that a peer is there; its slot if what it says is heard.
    fn heard(&mut self, turn: &Turn, conn: ConnectionId, bytes: usize) -> Option<u32> {
        self.now = turn.now;
        self.counters.connection_bytes_received += bytes as u64;
        let slot = self.connections.find(conn)?;
        let connection = self.connections.at_mut(slot)?;
        connection.heard = secs(turn.now);
        connection.pinged = false;
        matches!(connection.state, State::Fresh | State::Open).then_some(slot)
    }

    /// Looks at what was kept, as far as there is room for its answers.
    pub(super) fn take_kept(&mut self, slot: u32) {
        let Some(connection) = self.connections.at_mut(slot) else { return };
        let kept = core::mem::take(&mut connection.partial);
        let used = self.take_messages(slot, &kept);
        let Some(connection) = self.connections.at_mut(slot) else { return };
        if matches!(connection.state, State::Fresh | State::Open) && used < kept.len() {
            connection.partial = kept;
            connection.partial.drain(..used);
            if used > 0 {
                connection.begun = self.now;
            }
        }
    }

    fn keep(&mut self, slot: u32, rest: &[u8]) {
        let Some(connection) = self.connections.at_mut(slot) else { return };
        if matches!(connection.state, State::Fresh | State::Open) && !rest.is_empty() {
            connection.partial.extend_from_slice(rest);
        }
    }

    /// Takes messages from the front of bytes; how many bytes those were.
    fn take_messages(&mut self, slot: u32, bytes: &[u8]) -> usize {
        let (bounds, mut used) = (self.bounds_at(slot), 0);
        loop {
            let Some(connection) = self.connections.at_mut(slot) else { return bytes.len() };
            let heard = matches!(connection.state, State::Fresh | State::Open);
            connection.blocked = !connection.takes_more(&bounds) && used < bytes.len();
            if !heard || connection.blocked {
                return used;
            }
            let rest = bytes.get(used..).unwrap_or_default();
            match frame::span(rest) {
                Err(malformed) => {
                    self.malformed(slot, malformed);
                    return used;
                }
                Ok(None) => return used,
                // Judged by its header alone: nothing of it has to be kept.
                Ok(Some(span)) if span.total > self.config.max_message_size as usize => {
                    self.too_large(slot);
                    return used;
                }
                Ok(Some(span)) => {
                    let Some(message) = rest.get(..span.total) else { return used };
                    used += span.total;
                    self.take(slot, message, span);
                }
            }
        }
    }

    /// A message of a WebSocket; it waits behind those that wait already.
    fn take_whole(&mut self, slot: u32, message: &[u8]) {
        let span = match frame::websocket_span(message) {
            Ok(span) => span,
            Err(malformed) => return self.malformed(slot, malformed),
        };
        let bounds = self.bounds_at(slot);
        let Some(connection) = self.connections.at_mut(slot) else { return };
        if connection.partial.is_empty() && connection.takes_more(&bounds) {
            self.take(slot, message, span);
        } else {
            connection.blocked = true;
            frame::restream(&mut connection.partial, message, span);
        }
    }

    /// One whole message.
    fn take(&mut self, slot: u32, message: &[u8], span: Span) {
        self.counters.connection_messages += 1;
        let mut scratch = core::mem::take(&mut self.connections.scratch);
        let read = frame::read(message, span, &mut scratch);
        self.connections.scratch = scratch;
        let message = match read {
            Ok(message) => message,
            Err(malformed) => return self.malformed(slot, malformed),
        };
        let Some(connection) = self.connections.at(slot) else { return };
        let code = message.head.code;
        if code == EMPTY {
            return; // RFC 8323 §3.4: ignored, at any time
        }
        if connection.state == State::Fresh && code != CSM {
            // RFC 8323 §3.3
            let text = "the first message must be a CSM";
            return self.abort(slot, Reason::ProtocolError, None, text);
        }
        match code >> 5 {
            0 => self.handle_connected(slot, message),
            7 => self.handle_signal(slot, message),
            _ => {
                // A response that nobody asked for (RFC 7252 §5.3.2): we ask nothing.
                let peer = connection.name();
                self.dropped(peer, Reason::ProtocolError);
            }
        }
    }

    fn handle_connected(&mut self, slot: u32, message: Message) {
        let now = self.now;
        let rate = self.bounds_at(slot).max_request_rate;
        let Some(connection) = self.connections.at_mut(slot) else { return };
        if rate > 0 && connection.rate.is_too_fast(secs(now), rate) {
            return self.refuse_connected_rate(slot, &message);
        }
        if self.exchanges.len() >= self.config.max_exchanges {
            return self.refuse_connected_overload(slot, &message);
        }
        let reads = matches!(method(message.head.code), Some(Method::Get | Method::Fetch));
        let place = connection.began(reads);
        let (peer, name) = (connection.peer, connection.name());
        let peer = match self.peers.get(peer) {
            Some(_) => peer,
            None => {
                let peer = self.peers.insert_connected(name, slot);
                if let Some(connection) = self.connections.at_mut(slot) {
                    connection.peer = peer;
                }
                peer
            }
        };
        self.handle_connected_request(now, peer, place, message);
    }

    fn handle_signal(&mut self, slot: u32, message: Message) {
        let Message { head, token, packet } = message;
        let Some(packet) = packet else { return };
        let signal = match signal::read(head.code, &packet) {
            Ok(signal) => signal,
            Err(Fault { bad_csm_option, text }) => {
                return self.abort_with(slot, Reason::BadOption, None, bad_csm_option, &text);
            }
        };
        match signal {
            Signal::Csm { max_message_size, block_wise } => {
                self.handle_csm(slot, max_message_size, block_wise);
            }
            Signal::Ping { custody } => {
                self.counters.pings += 1;
                let Some(connection) = self.connections.at_mut(slot) else { return };
                let quiet = connection.is_quiet();
                if custody && !quiet && connection.keeps_ping(token) {
                    return; // RFC 8323 §5.4.1: "SHOULD delay its Pong"
                }
                self.send_pong(slot, &token, quiet);
            }
            // It was heard, which is all that matters.
            Signal::Pong | Signal::Unknown => {}
            Signal::Release { .. } => {
                let Some(connection) = self.connections.at_mut(slot) else { return };
                connection.state = State::Releasing;
                self.close_released(slot);
            }
            Signal::Abort(text) => {
                let text = Some(text).filter(|text| !text.is_empty());
                let text = text.map(|text| format!("aborted by the client: {text}"));
                self.end_connection(slot, Reason::ClientDisconnect, None, text);
                self.close_transport(slot, Reason::ClientDisconnect);
            }
        }
    }

    /// RFC 8323 §5.3: what it says counts until it says something else.
    fn handle_csm(&mut self, slot: u32, max_message_size: Option<u32>, block_wise: bool) {
        let Some(connection) = self.connections.at_mut(slot) else { return };
        connection.max_message = max_message_size.unwrap_or(connection.max_message);
        connection.block_wise |= block_wise;
        if connection.state == State::Fresh {
            connection.state = State::Open;
            let (conn, peer, listener) = (connection.id, connection.name(), connection.listener);
            self.connections.half_open.remove(listener);
            self.events.push_back(Event::Connected { conn, peer });
        }
    }

    fn malformed(&mut self, slot: u32, malformed: Malformed) {
        // RFC 8323 §5.6: rejected by an Abort, and not processed.
        self.abort(slot, Reason::Malformed, None, &malformed.to_string());
    }

    fn too_large(&mut self, slot: u32) {
        self.counters.messages_too_large += 1;
        let text: String = format!("a message has at most {} bytes", self.config.max_message_size);
        self.abort(slot, Reason::TooLarge, Some("max_message_size"), &text);
    }

    /// Goes on with connections whose requests have been answered.
    pub(super) fn go_on(&mut self) -> bool {
        let Some(conn) = self.connections.listed.pop_front() else { return false };
        if let Some(slot) = self.connections.find(conn) {
            if let Some(connection) = self.connections.at_mut(slot) {
                connection.listed = false;
            }
            self.take_kept(slot);
            self.settle(slot);
        }
        true
    }
}
