//! Stream connections: one `mio::Poll` in one `AsyncFd`, connections as table entries.
//!
//! Readiness is edge-triggered: a connection is read until a read comes up short, or is listed
//! for the next turn when its share of this one ran out. Writes come straight from the core's
//! outbox; what the kernel does not take waits there for a writable edge. Closing is orderly:
//! write what is left, half-close, drain up to a second, close, so that no unread byte of the
//! peer turns our last packet into a reset.
//!
//! `accept` has the listening sockets; `layered` the connections that have TLS, WebSocket or a PROXY
//! header below MQTT. Unix sockets are connections like the others.

mod accept;
mod half_open;
mod layered;

use std::collections::VecDeque;
use std::io::{self, Read as _};
use std::net::Shutdown;
use std::task::{Context, Poll};
use std::time::Duration;

use hashbrown::HashMap;
use mio::Events;
use motegate_core::Input;
use motegate_message::{ConnectionId, Reason};
use motegate_timers::{Instant, earliest};
use nix::libc::MSG_NOSIGNAL;
use socket2::Socket;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

pub(crate) use accept::{Acceptor, Opened, Serving};

use crate::machine::{Machine, Order};
use crate::net::causes::Told;
use crate::net::connections::{Connections, Flags};
use crate::net::handshakes::Handshakes;
use crate::net::layer::{self, Inside, Layer};
use crate::net::{Counters, watch};
use accept::Listener;
use half_open::HalfOpen;

/// A connection's share of a turn: one read of this many bytes.
const READ_BUFFER: usize = 64 * 1024;
/// Bytes handed to the core between two flushes: keeps what one turn puts into outboxes small
/// against `max_outbox_bytes`, whatever the number of publishers.
const FLUSH_EVERY: usize = 16 * 1024;
/// Bytes a turn takes from all connections together; the others are listed for the next.
const TURN_BYTES: usize = 1024 * 1024;
/// Events taken from the poll in a turn.
const TURN_EVENTS: usize = 1024;
/// Connections accepted from a listener in a turn.
const TURN_ACCEPTS: usize = 64;
/// Connections accepted from a listener whose socket is about to be closed.
const MAX_REST: usize = 1024;
/// How long a closed connection's outbox may take to leave.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the peer may take to end its half. [MQTT-4.13.1-1] closes; this keeps it readable.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);
/// Pause after `accept` failed for want of a descriptor or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Tokens from here on are listeners, below it slots of connections.
const FIRST_LISTENER: usize = usize::MAX - u16::MAX as usize;

/// All stream listeners and connections of a worker.
#[derive(Debug)]
pub(crate) struct Tcp {
    poll: AsyncFd<mio::Poll>,
    events: Events,
    listeners: Vec<Listener>,
    /// What the connections of a listener go through, by its number.
    serving: Vec<Option<Serving>>,
    connections: Connections,
    /// Of those that have something between their socket and MQTT.
    layers: HashMap<ConnectionId, Box<Layer>>,
    /// Of these, those that the core does not know yet.
    half_open: HalfOpen,
    handshakes: Handshakes,
    max_connections: usize,
    counters: Counters,
    told: Told,
    buffer: Box<[u8]>,
    /// Of the connection at hand: what was in TLS, and what of it is MQTT's or CoAP's. Empty in between.
    clear: Vec<u8>,
    inside: Inside,
    /// For the next batch that is wrapped.
    spare: Vec<u8>,
    /// Connections to visit in the next turn without an event.
    listed: Vec<ConnectionId>,
    /// Those visited in this turn; kept for its memory.
    visits: Vec<ConnectionId>,
    /// Connections whose peer has ended, to be closed once the answers to its last bytes left.
    ended: Vec<ConnectionId>,
    /// When an outbox must have left, in order.
    flushing: VecDeque<(Instant, ConnectionId)>,
    /// When a half-closed connection goes, in order.
    draining: VecDeque<(Instant, ConnectionId)>,
    /// More events wait in the poll than one turn takes.
    more_events: bool,
}

impl Tcp {
    /// Takes opened listeners; must be called within the runtime.
    pub(crate) fn new(
        sockets: Vec<Opened>,
        serving: Vec<Option<Serving>>,
        max_connections: usize,
    ) -> io::Result<Self> {
        let mut tcp = Tcp {
            poll: watch(mio::Poll::new()?, Interest::READABLE)?,
            events: Events::with_capacity(TURN_EVENTS),
            listeners: Vec::new(),
            serving,
            connections: Connections::default(),
            layers: HashMap::new(),
            half_open: HalfOpen::default(),
            handshakes: Handshakes::default(),
            max_connections,
            counters: Counters::default(),
            told: Told::default(),
            buffer: vec![0; READ_BUFFER].into_boxed_slice(),
            clear: Vec::new(),
            inside: Inside::default(),
            spare: Vec::new(),
            listed: Vec::new(),
            visits: Vec::new(),
            ended: Vec::new(),
            flushing: VecDeque::new(),
            draining: VecDeque::new(),
            more_events: false,
        };
        tcp.listeners = tcp.watch(sockets)?;
        Ok(tcp)
    }

    /// Another bound holds for the next connections.
    pub(crate) fn set_max_connections(&mut self, max: usize) {
        self.max_connections = max;
    }

    /// Ready when the poll has events.
    pub(crate) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let returned = self.handshakes.poll_ready(cx).is_ready();
        let sockets = self.poll.poll_read_ready(cx).is_ready();
        if returned || sockets { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Whether the next turn has work without waiting.
    pub(crate) fn has_more(&self) -> bool {
        let accepting = |l: &Listener| l.ready && l.paused_until.is_none();
        self.more_events
            || self.handshakes.has_more()
            || !self.listed.is_empty()
            || self.listeners.iter().any(accepting)
    }

    /// How many connections are open, those being closed included.
    pub(crate) fn len(&self) -> usize {
        self.connections.len()
    }

    /// How many of them the core does not know yet.
    pub(crate) fn half_open_len(&self) -> usize {
        self.half_open.of(None).len()
    }

    /// When `turn` is wanted although nothing is ready.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let front = |queue: &VecDeque<(Instant, _)>| queue.front().map(|(at, _)| *at);
        let accept = self.listeners.iter().filter_map(|listener| listener.paused_until).min();
        let half_open = self.half_open.of(None).first().map(|(at, _)| *at);
        let closing = earliest(front(&self.flushing), front(&self.draining));
        earliest(earliest(closing, accept), half_open)
    }

    /// What it had to refuse, and how often it did what is counted.
    pub(crate) fn counters(&self) -> Counters {
        self.counters
    }

    /// No connection is accepted from now on; those that the core does not know yet end.
    pub(crate) fn stop_accepting(&mut self, machine: &mut Machine) {
        self.listeners.clear();
        self.drop_half_open(None, machine);
    }

    /// Closes what is left, without manners.
    pub(crate) fn abort(&mut self, machine: &mut Machine) {
        let left: Vec<_> = self.connections.ids().collect();
        for conn in left {
            self.drop_connection(conn, Reason::Shutdown, machine);
        }
    }

    /// Reads what is ready, hands it to the core, accepts, and closes what is due.
    pub(crate) fn turn(&mut self, machine: &mut Machine) {
        let mut visits = std::mem::take(&mut self.visits);
        visits.append(&mut self.listed);
        for conn in &visits {
            if let Some(connection) = self.connections.get(*conn) {
                connection.flags.clear(Flags::LISTED);
            }
        }
        self.take_events(&mut visits, machine);
        self.take_handshakes(machine);
        self.flush(machine);
        self.read_all(&visits, machine);
        self.accept_all(machine);
        self.close_due(machine);
        self.flush(machine);
        visits.clear();
        self.visits = visits;
    }

    /// Notes what the poll says; connections to be read are added to `visits`.
    fn take_events(&mut self, visits: &mut Vec<ConnectionId>, machine: &mut Machine) {
        let events = &mut self.events;
        // "Would block" tells the runtime that everything was taken.
        let taken = self.poll.try_io_mut(Interest::READABLE, |poll| {
            poll.poll(events, Some(Duration::ZERO))?;
            let full = events.iter().count() >= TURN_EVENTS;
            if full { Ok(()) } else { Err(io::ErrorKind::WouldBlock.into()) }
        });
        self.more_events = taken.is_ok();
        if let Err(error) = &taken
            && error.kind() != io::ErrorKind::WouldBlock
        {
            tracing::error!(%error, "poll failed");
            return;
        }
        for event in &self.events {
            let token = event.token().0;
            if token >= FIRST_LISTENER {
                let here = |listener: &&mut Listener| listener.token == token;
                if let Some(listener) = self.listeners.iter_mut().find(here) {
                    listener.ready = true;
                }
                continue;
            }
            let Some(conn) = self.connections.at(token) else { continue };
            let Some(connection) = self.connections.get(conn) else { continue };
            if event.is_read_closed() || event.is_error() {
                connection.flags.set(Flags::READ_CLOSED);
            }
            if event.is_readable() || event.is_read_closed() || event.is_error() {
                connection.flags.set(Flags::READABLE);
                visits.push(conn);
            }
            if event.is_writable() && connection.flags.any(Flags::BLOCKED) {
                connection.flags.clear(Flags::BLOCKED);
                machine.orders.push_back(Order::Write(conn));
            }
        }
        // Not a second time: a later turn may come without a poll.
        self.events.clear();
    }

    fn read_all(&mut self, visits: &[ConnectionId], machine: &mut Machine) {
        let (mut taken, mut unflushed) = (0, 0);
        for conn in visits {
            if taken >= TURN_BYTES {
                self.list(*conn);
                continue;
            }
            let read = self.read(*conn, &mut unflushed, machine);
            taken += read;
        }
        self.flush(machine);
        let mut ended = std::mem::take(&mut self.ended);
        for conn in ended.drain(..) {
            self.drop_connection(conn, Reason::ConnectionLost, machine);
        }
        self.ended = ended;
    }

    /// One read of a connection that may have bytes. Says how many came.
    fn read(&mut self, conn: ConnectionId, unflushed: &mut usize, machine: &mut Machine) -> usize {
        let Some(connection) = self.connections.get(conn) else { return 0 };
        let wanted = !connection.flags.any(Flags::PAUSED.or(Flags::CLOSING))
            || connection.flags.any(Flags::DRAINING);
        if !connection.flags.any(Flags::READABLE) || !wanted {
            return 0;
        }
        let draining = connection.flags.any(Flags::DRAINING);
        let layered = connection.flags.any(Flags::LAYERED);
        let fresh = connection.flags.any(Flags::FRESH);
        // A helper has it, or it does not read what it asked for: it is listed again after that.
        if layered && !draining && !self.layers.get(&conn).is_some_and(|layer| layer.takes()) {
            return 0;
        }
        match connection.stream.read(&mut self.buffer) {
            Ok(0) => {
                connection.flags.clear(Flags::READABLE);
                self.end(conn, draining, machine);
                0
            }
            Ok(n) => {
                // A short read has emptied the socket (epoll(7)), unless its end was announced:
                // that is seen only by reading on.
                if n < READ_BUFFER && !connection.flags.any(Flags::READ_CLOSED) {
                    connection.flags.clear(Flags::READABLE);
                } else {
                    self.list(conn);
                }
                if draining {
                    return n;
                }
                if layered {
                    self.unwrap_bytes(conn, n, unflushed, machine);
                } else {
                    let buffer = std::mem::take(&mut self.buffer);
                    let bytes = buffer.get(..n).unwrap_or_default();
                    if fresh {
                        self.look_at_first(conn, bytes, machine);
                    }
                    self.feed(conn, bytes, unflushed, machine);
                    self.buffer = buffer;
                }
                n
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                connection.flags.clear(Flags::READABLE);
                0
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                self.list(conn);
                0
            }
            Err(_) => {
                self.end(conn, draining, machine);
                0
            }
        }
    }

    /// Hands bytes to the core, in pieces between which its answers leave.
    fn feed(
        &mut self,
        conn: ConnectionId,
        bytes: &[u8],
        unflushed: &mut usize,
        machine: &mut Machine,
    ) {
        for chunk in bytes.chunks(FLUSH_EVERY) {
            machine.feed(Input::Bytes { conn, chunk });
            *unflushed += chunk.len();
            if *unflushed >= FLUSH_EVERY {
                self.flush(machine);
                *unflushed = 0;
            }
            // The core closed it: what follows in this read is nobody's.
            if self.connections.get(conn).is_none_or(|c| c.flags.any(Flags::CLOSING)) {
                break;
            }
        }
    }

    /// Hands parts of messages to the core, which end where they do.
    fn feed_parts(&mut self, conn: ConnectionId, inside: &Inside, machine: &mut Machine) {
        let mut from = 0;
        for end in &inside.ends {
            let chunk = inside.bytes.get(from..*end).unwrap_or_default();
            machine.feed(Input::Part { conn, chunk, is_last: true });
            from = *end;
            if self.connections.get(conn).is_none_or(|c| c.flags.any(Flags::CLOSING)) {
                return;
            }
        }
        let chunk = inside.bytes.get(from..).unwrap_or_default();
        if !chunk.is_empty() {
            machine.feed(Input::Part { conn, chunk, is_last: false });
        }
        self.flush(machine);
    }

    /// Says so where the first bytes of a plain connection are TLS or HTTP: MQTT calls them malformed.
    fn look_at_first(&mut self, conn: ConnectionId, bytes: &[u8], machine: &Machine) {
        let Some(connection) = self.connections.get(conn) else { return };
        if !connection.flags.any(Flags::FRESH) {
            return;
        }
        connection.flags.clear(Flags::FRESH);
        if let Some((cause, what)) = layer::strange(bytes) {
            self.refuse(conn, cause, what, machine);
        }
    }

    /// The peer's half is over, or the transport failed.
    fn end(&mut self, conn: ConnectionId, draining: bool, machine: &mut Machine) {
        if draining {
            self.drop_connection(conn, Reason::ConnectionLost, machine);
        } else {
            self.ended.push(conn);
        }
    }

    fn list(&mut self, conn: ConnectionId) {
        if let Some(connection) = self.connections.get(conn)
            && !connection.flags.any(Flags::LISTED)
        {
            connection.flags.set(Flags::LISTED);
            self.listed.push(conn);
        }
    }

    /// Carries out the core's orders until none is left.
    pub(crate) fn flush(&mut self, machine: &mut Machine) {
        while let Some(order) = machine.orders.pop_front() {
            match order {
                Order::Write(conn) => self.write(conn, machine),
                Order::Close(conn, _) => self.close(conn, machine),
                Order::Pause(conn) => {
                    if let Some(connection) = self.connections.get(conn) {
                        connection.flags.set(Flags::PAUSED);
                    }
                }
                Order::Resume(conn) => {
                    if let Some(connection) = self.connections.get(conn) {
                        connection.flags.clear(Flags::PAUSED);
                        self.list(conn);
                    }
                }
            }
        }
    }

    fn write(&mut self, conn: ConnectionId, machine: &mut Machine) {
        let Some(connection) = self.connections.get(conn) else { return };
        if connection.flags.any(Flags::BLOCKED.or(Flags::DRAINING)) {
            return;
        }
        if connection.flags.any(Flags::LAYERED) {
            return self.write_wrapped(conn, machine);
        }
        let closing = connection.flags.any(Flags::CLOSING);
        let outbox = machine.core.outbox(conn);
        let waiting = outbox.len();
        if waiting > 0 {
            match send(connection.stream, outbox) {
                Ok(n) => {
                    // A short write has filled the socket (epoll(7)).
                    if n < waiting {
                        connection.flags.set(Flags::BLOCKED);
                    }
                    machine.feed(Input::Written { conn, n });
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    connection.flags.set(Flags::BLOCKED);
                }
                Err(_) => {
                    self.drop_connection(conn, Reason::ConnectionLost, machine);
                    return;
                }
            }
        }
        if closing && machine.core.outbox(conn).is_empty() {
            self.half_close(conn, machine);
        }
    }

    /// The core is done with the connection but for its outbox.
    fn close(&mut self, conn: ConnectionId, machine: &mut Machine) {
        let Some(connection) = self.connections.get(conn) else { return };
        if connection.flags.any(Flags::CLOSING) {
            return;
        }
        connection.flags.set(Flags::CLOSING);
        self.flushing.push_back((machine.now() + FLUSH_TIMEOUT, conn));
        self.write(conn, machine);
    }

    /// Everything was written: our half ends, and the peer's bytes are thrown away until its
    /// half ends too.
    fn half_close(&mut self, conn: ConnectionId, machine: &mut Machine) {
        let Some(connection) = self.connections.get(conn) else { return };
        if connection.stream.shutdown(Shutdown::Write).is_err() {
            self.drop_connection(conn, Reason::ConnectionLost, machine);
            return;
        }
        connection.flags.set(Flags::DRAINING.or(Flags::READABLE));
        self.draining.push_back((machine.now() + DRAIN_TIMEOUT, conn));
        self.list(conn);
    }

    fn close_due(&mut self, machine: &mut Machine) {
        let now = machine.now();
        self.close_half_open(machine);
        while let Some(conn) = pop_due(&mut self.flushing, now) {
            let unwritten =
                self.connections.get(conn).is_some_and(|c| !c.flags.any(Flags::DRAINING));
            if unwritten {
                self.drop_connection(conn, Reason::SlowConsumer, machine);
            }
        }
        while let Some(conn) = pop_due(&mut self.draining, now) {
            self.drop_connection(conn, Reason::ConnectionLost, machine);
        }
    }

    /// Closes the socket and says so to the core, which may have forgotten it already.
    fn drop_connection(&mut self, conn: ConnectionId, reason: Reason, machine: &mut Machine) {
        let layer = self.layers.remove(&conn);
        if let (Some(layer), Some(connection)) = (&layer, self.connections.get(conn)) {
            self.half_open.remove(connection.listener, (layer.deadline, conn));
        }
        let Some(stream) = self.connections.remove(conn) else { return };
        drop(stream); // closing the descriptor takes it out of the poll
        if layer.is_none_or(|layer| layer.known) {
            machine.feed(Input::Closed { conn, reason });
        }
    }
}

fn pop_due(queue: &mut VecDeque<(Instant, ConnectionId)>, now: Instant) -> Option<ConnectionId> {
    if queue.front()?.0 > now {
        return None;
    }
    queue.pop_front().map(|(_, conn)| conn)
}

fn send(stream: &Socket, bytes: &[u8]) -> io::Result<usize> {
    loop {
        match stream.send_with_flags(bytes, MSG_NOSIGNAL) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
