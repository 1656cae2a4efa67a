//! Requests over a connection (RFC 8323): no message ids, acknowledgements or repetitions; answers by
//! their tokens, in any order; signals (§5); what ends with a connection.
//!
//! Our CSM is the first message and requests follow it at once (§5.3). Only a body that fits no message
//! of 1,152 bytes waits for the server's, which says how much goes into one, and whether in several
//! blocks (BERT, §6). A request of the server's is answered 5.01: this is a client alone.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

use motegate_timers::Instant;

use super::blocks::Upload;
use super::connection::{Connection, Loss, State, Wanted};
use super::transfer::{Part, Transfer};
use super::{
    CON_PATIENCE, Client, Event, Flaw, Pending, Phase, RequestId, Response, unknown_critical,
};
use crate::Config;
use crate::block::{BERT, LARGEST, size_of};
use crate::endpoint::Code;
use crate::frame::{self, MAX_HEADER, Span};
use crate::message::{EMPTY, Message, Token};
use crate::options::BLOCK1;
use crate::signal::{self, ABORT, CSM, Fault, PING, PONG, RELEASE, Signal};

/// Bytes of the options that say which part of a body a message has: Block1, Size1, Request-Tag.
const PART_OPTIONS: usize = 24;
/// How often in a row a server may send a request elsewhere by a Release.
const MAX_RELEASES: u8 = 3;

impl Client {
    /// A client over a connection of TCP, TLS or WebSocket; of `config` count Max-Message-Size and the
    /// time until the server's CSM. Its driver does what [`poll_wanted`](Self::poll_wanted) says.
    #[must_use]
    pub fn over_connection(config: Config, seed: u64) -> Self {
        let mut client = Client::new(config, seed);
        client.connection = Some(Box::new(Connection::new()));
        client.block_exponent = BERT;
        client
    }

    /// What is wanted of the connection's driver.
    pub fn poll_wanted(&mut self) -> Option<Wanted> {
        self.connection.as_mut()?.poll_wanted()
    }

    /// Bytes to write, as they stand on a byte stream; for a WebSocket
    /// [`for_websocket`](crate::for_websocket) takes messages from them.
    #[must_use]
    pub fn outbox(&self) -> &[u8] {
        self.connection.as_deref().map_or(&[], Connection::outbox)
    }

    /// The first `len` bytes of the outbox are written.
    pub fn handle_written(&mut self, len: usize) {
        if let Some(connection) = &mut self.connection {
            connection.written(len);
        }
    }

    /// The connection that was wanted is open.
    pub fn handle_opened(&mut self, now: Instant) {
        let patience = self.config.connect_timeout;
        let max_message_size = self.config.max_message_size;
        let Some(connection) = self.connection.as_deref_mut() else { return };
        if connection.state != State::Opening {
            return;
        }
        connection.state = State::Fresh;
        connection.deadline = Some(now + patience);
        // RFC 8323 §5.3: the first message, and it waits for nothing.
        let mut rest = Vec::new();
        signal::write_csm(&mut rest, max_message_size);
        connection.push(CSM, &Token::default(), &rest);
        self.pump(now);
    }

    /// The connection is closed, or there is none to be had.
    pub fn handle_closed(&mut self, now: Instant) {
        let Some(connection) = self.connection.as_deref_mut() else { return };
        let was = connection.state;
        let text = core::mem::take(&mut connection.farewell);
        let again = connection.releases < MAX_RELEASES;
        connection.reset();
        match was {
            State::None => return,
            State::Opening => self.lose(&Loss::Unreachable, true),
            State::Fresh => self.lose(&Loss::ClosedEarly, true),
            State::Open => self.lose(&Loss::Closed, true),
            // What has not been sent goes by the next one.
            State::Released | State::Closing if again => {
                self.lose(&Loss::Released { text }, false);
            }
            State::Released | State::Closing => self.lose(&Loss::Released { text }, true),
        }
        self.pump(now);
    }

    /// Bytes of the connection, cut anywhere.
    pub fn handle_bytes(&mut self, now: Instant, chunk: &[u8]) {
        let Some(connection) = self.hearing() else { return };
        let mut bytes = core::mem::take(&mut connection.partial);
        bytes.extend_from_slice(chunk);
        let mut used = 0;
        while self.hearing().is_some() {
            let rest = bytes.get(used..).unwrap_or_default();
            match frame::span(rest) {
                Ok(None) => break,
                Ok(Some(span)) if span.total > self.max_message() => self.too_large(),
                Ok(Some(span)) => {
                    let Some(message) = rest.get(..span.total) else { break };
                    used += span.total;
                    self.take_message(now, message, span);
                }
                Err(malformed) => self.breach(malformed.to_string()),
            }
        }
        if let Some(connection) = self.hearing() {
            bytes.drain(..used);
            connection.partial = bytes;
        }
        self.pump(now);
    }

    /// A whole message of a WebSocket (RFC 8323 §4.2).
    pub fn handle_message(&mut self, now: Instant, message: &[u8]) {
        if self.hearing().is_none() {
            return;
        }
        match frame::websocket_span(message) {
            Ok(span) if span.total > self.max_message() => self.too_large(),
            Ok(span) => self.take_message(now, message, span),
            Err(malformed) => self.breach(malformed.to_string()),
        }
        self.pump(now);
    }

    /// Ends all requests and observations without a word, and the connection by a Release.
    pub fn disconnect(&mut self) {
        let Some(connection) = self.connection.as_deref_mut() else { return };
        if connection.hears() {
            connection.push(RELEASE, &Token::default(), &[]);
            connection.close();
        } else if connection.state == State::Opening {
            connection.close();
        }
        self.pending.clear();
        self.tokens.clear();
        self.queue.clear();
        self.events.clear();
    }

    fn max_message(&self) -> usize {
        self.config.max_message_size as usize
    }

    fn hearing(&mut self) -> Option<&mut Connection> {
        self.connection.as_deref_mut().filter(|connection| connection.hears())
    }

    /// Goes on where the connection allows.
    pub(super) fn pump_connection(&mut self, now: Instant) {
        let Some(connection) = self.connection.as_deref_mut() else { return };
        match connection.state {
            State::None if !self.queue.is_empty() => connection.open(now),
            State::Fresh | State::Open => {
                let mut waiting = VecDeque::new();
                while let Some(token) = self.queue.pop_front() {
                    if !self.transmit_connected(now, token) {
                        waiting.push_back(token);
                    }
                }
                self.queue = waiting;
            }
            State::Released => {
                // RFC 8323 §5.5: what is in flight is answered still.
                let asks = |phase: &Phase| matches!(phase, Phase::Waiting);
                if !self.pending.values().any(|pending| asks(&pending.phase)) {
                    let text = connection.farewell.clone();
                    connection.close();
                    self.lose(&Loss::Released { text }, false);
                }
            }
            _ => {}
        }
    }

    /// The connection's own deadline.
    pub(super) fn connection_timeout(&mut self, now: Instant) {
        let Some(connection) = self.connection.as_deref_mut() else { return };
        if connection.state == State::Fresh && connection.deadline.is_some_and(|at| at <= now) {
            let patience = self.config.connect_timeout;
            self.abort(None, "no CSM has come", &Loss::Silent(patience));
        }
    }

    /// Sends a request; `false` while it has to wait for the server's CSM.
    fn transmit_connected(&mut self, now: Instant, token: Token) -> bool {
        let ask = self.wanted_blocks();
        let (Some(pending), Some(connection)) =
            (self.pending.get_mut(&token), self.connection.as_deref_mut())
        else {
            return true;
        };
        if pending.pings {
            connection.push(PING, &token, &[]);
            pending.phase = Phase::Waiting;
            self.timers.set(&mut pending.timer, token, now + CON_PATIENCE);
            return true;
        }
        if connection.state == State::Fresh && pending.request.payload.len() > size_of(LARGEST) {
            return false;
        }
        let max = connection.max_message as usize;
        let bert = connection.takes_bert();
        let limits = Limits { max, bert, exponent: self.block_exponent, ask };
        let mut rest = core::mem::take(&mut connection.scratch);
        // RFC 8323 §5.3.1: what it cannot receive is not sent.
        let fits = pending.encode_within(&limits, &token, self.echo.take(), &mut rest);
        if fits {
            connection.push(pending.request.code(), &token, &rest);
            pending.phase = Phase::Waiting;
            self.timers.set(&mut pending.timer, token, now + CON_PATIENCE);
        }
        rest.clear();
        rest.shrink_to(64 * 1024);
        connection.scratch = rest;
        if !fits {
            self.break_off(token, Flaw::TooLong { max });
        }
        true
    }

    fn take_message(&mut self, now: Instant, message: &[u8], span: Span) {
        let Some(connection) = self.hearing() else { return };
        let fresh = connection.state == State::Fresh;
        let message = match frame::read(message, span, &mut connection.scratch) {
            Ok(message) => message,
            Err(malformed) => return self.breach(malformed.to_string()),
        };
        let code = message.head.code;
        match code >> 5 {
            _ if code == EMPTY => {} // RFC 8323 §3.4: ignored, at any time
            // RFC 8323 §3.3
            _ if fresh && code != CSM => self.breach("its first message is no CSM".to_string()),
            7 => self.take_signal(now, message),
            0 => {
                let Some(connection) = self.hearing() else { return };
                let code = Code::NOT_IMPLEMENTED.0;
                connection.push(code, &message.token, b"\xffthis is a client alone");
            }
            _ => self.take_response(now, message),
        }
    }

    fn take_response(&mut self, now: Instant, message: Message) {
        let token = message.token;
        // One that nobody waits for is ignored: there is no RST (RFC 8323 §3.3).
        let known = self.pending.get(&token).is_some_and(|pending| {
            !pending.pings && matches!(pending.phase, Phase::Waiting | Phase::Observing)
        });
        if !known {
            return;
        }
        if let Some(connection) = self.hearing() {
            connection.releases = 0;
        }
        if let Some(flaw) = unknown_critical(&message) {
            return self.break_off(token, flaw);
        }
        if let Some((token, response)) = Response::read(message, false) {
            self.responded(now, token, response);
        }
    }

    fn take_signal(&mut self, now: Instant, message: Message) {
        let Message { head, token, packet } = message;
        let Some(packet) = packet else { return };
        let signal = match signal::read(head.code, &packet) {
            Ok(signal) => signal,
            Err(Fault { bad_csm_option, text }) => {
                let loss = Loss::Breach(text.clone());
                return self.abort(bad_csm_option, &text, &loss);
            }
        };
        match signal {
            Signal::Csm { max_message_size, block_wise } => {
                let Some(connection) = self.hearing() else { return };
                // RFC 8323 §5.3: what it says counts until it says something else.
                connection.max_message = max_message_size.unwrap_or(connection.max_message);
                connection.block_wise |= block_wise;
                if connection.state == State::Fresh {
                    connection.state = State::Open;
                    connection.deadline = None;
                }
            }
            Signal::Ping { custody } => {
                let Some(connection) = self.hearing() else { return };
                let mut rest = Vec::new();
                signal::write_pong(&mut rest, custody); // all that came before is done with
                connection.push(PONG, &token, &rest);
            }
            Signal::Pong => self.take_pong(token),
            Signal::Release { hold_off, text } => self.released(now, hold_off, text),
            Signal::Abort(text) => {
                self.lose(&Loss::Aborted { text }, true);
                if let Some(connection) = self.hearing() {
                    connection.close();
                }
            }
            Signal::Unknown => {}
        }
    }

    /// RFC 8323 §5.4: it has the token of its Ping. libcoap's 4.3 has none: then it is that of the oldest.
    fn take_pong(&mut self, token: Token) {
        let pings = self.pending.iter().filter(|(_, pending)| pending.pings);
        let mut pings: Vec<(RequestId, Token)> = pings.map(|(token, p)| (p.id, *token)).collect();
        pings.sort_unstable();
        let is_it = |(_, ping): &&(RequestId, Token)| *ping == token || token == Token::default();
        if let Some((request, token)) = pings.iter().find(is_it).copied() {
            self.end(token);
            self.events.push_back(Event::Pong { request });
        }
    }

    /// RFC 8323 §5.5: further requests go by another connection.
    fn released(&mut self, now: Instant, hold_off: Option<Duration>, text: String) {
        let Some(connection) = self.hearing() else { return };
        connection.state = State::Released;
        connection.deadline = None;
        connection.hold_off = hold_off.map(|time| now + time);
        connection.farewell = text;
        connection.releases = connection.releases.saturating_add(1);
    }

    fn too_large(&mut self) {
        let max = self.config.max_message_size;
        self.breach(alloc::format!("a message of more than the {max} bytes that we take"));
    }

    fn breach(&mut self, text: String) {
        self.abort(None, &text, &Loss::Breach(text.clone()));
    }

    /// RFC 8323 §5.6: says why, and ends.
    fn abort(&mut self, bad_csm_option: Option<u16>, text: &str, loss: &Loss) {
        self.lose(loss, true);
        let Some(connection) = self.hearing() else { return };
        let mut rest = Vec::new();
        signal::write_abort(&mut rest, bad_csm_option, text);
        connection.push(ABORT, &Token::default(), &rest);
        connection.close();
    }

    /// What was asked is not answered any more, and observations end (RFC 8323 §7.4); those may be
    /// registered again. Requests in the queue have not been sent.
    fn lose(&mut self, loss: &Loss, queued: bool) {
        let concerns = |phase: &Phase| match phase {
            Phase::Queued => queued,
            Phase::Lost => false,
            _ => true,
        };
        let lost = self.pending.iter().filter(|(_, pending)| concerns(&pending.phase));
        let mut lost: Vec<(RequestId, Token)> = lost.map(|(token, p)| (p.id, *token)).collect();
        lost.sort_unstable();
        for (request, token) in lost {
            let Some(pending) = self.pending.get_mut(&token) else { continue };
            // A part of an observation, which tells.
            if pending.transfer.as_ref().is_some_and(|transfer| transfer.of.is_some()) {
                self.remove(token);
                continue;
            }
            if pending.request.observe {
                pending.phase = Phase::Lost;
                pending.newest = None;
                pending.transfer = None;
                pending.timer.clear();
                self.drop_parts(token);
            } else {
                self.remove(token);
            }
            self.events.push_back(Event::Lost { request, loss: loss.clone() });
        }
        if queued {
            self.queue.clear();
        }
    }
}

/// What a message may be.
#[derive(Debug)]
struct Limits {
    /// The server's Max-Message-Size.
    max: usize,
    /// Whether several blocks may be in it.
    bert: bool,
    /// Of the largest block.
    exponent: u32,
    /// Of the blocks that are asked for.
    ask: Option<u32>,
}

impl Pending {
    /// Options and payload of the next message: the whole body, or the part that fits. `false` where
    /// nothing does.
    fn encode_within(
        &mut self,
        limits: &Limits,
        token: &Token,
        echo: Option<Vec<u8>>,
        rest: &mut Vec<u8>,
    ) -> bool {
        let &Limits { max, bert, exponent, ask } = limits;
        let header = MAX_HEADER + token.as_slice().len();
        rest.clear();
        let bare = Part { range: (0, 0), ..Part::of(self, ask) };
        self.request.encode(rest, &bare);
        let echo_option = echo.as_ref().map_or(0, |echo| echo.len() + 3);
        let spare = max.saturating_sub(header + rest.len() + 1 + echo_option);
        let length = self.request.payload.len();
        let by_hand = self.request.options.iter().any(|(number, _)| *number == BLOCK1);
        let in_blocks = length > spare || exponent < BERT && length > size_of(exponent);
        if self.transfer.is_none() && !by_hand && in_blocks {
            let upload = Some(Upload::new(length, exponent));
            let transfer = Transfer { upload, tagged: true, ..Transfer::default() };
            self.transfer = Some(Box::new(transfer));
        }
        let upload = self.transfer.as_mut().and_then(|transfer| transfer.upload.as_mut());
        let room = spare.saturating_sub(PART_OPTIONS);
        if !upload.is_none_or(|upload| upload.fit(room, bert)) {
            return false;
        }
        rest.clear();
        self.request.encode(rest, &Part { echo, ..Part::of(self, ask) });
        header + rest.len() <= max
    }
}
