//! Stream connections: one `mio::Poll` in one `AsyncFd`, connections as table entries.
//!
//! Readiness is edge-triggered: a connection is read until a read comes up short, or is listed
//! for the next turn when its share of this one ran out. Writes come straight from the core's
//! outbox; what the kernel does not take waits there for a writable edge. Closing is orderly:
//! write what is left, half-close, drain up to a second, close, so that no unread byte of the
//! peer turns our last packet into a reset.

use std::collections::VecDeque;
use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::task::{Context, Poll};
use std::time::Duration;

use mio::net::TcpStream;
use mio::{Events, Token};
use motegate_core::Input;
use motegate_message::{ConnectionId, ListenerId, Reason};
use motegate_timers::{Instant, earliest};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::machine::{Machine, Order};
use crate::net::connections::{Connections, Flags};
use crate::net::{Counters, canonical, watch};

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
    connections: Connections,
    max_connections: usize,
    buffer: Box<[u8]>,
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

/// A socket that connections come from.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: mio::net::TcpListener,
    /// Of the poll; it stays where the listener changes.
    token: usize,
    id: ListenerId,
    /// Connections may wait.
    ready: bool,
    /// Not before this, after a failure.
    paused_until: Option<Instant>,
    /// The last `accept` failed: said once in the log.
    failing: bool,
}

impl Tcp {
    /// Takes opened listeners; must be called within the runtime.
    pub(crate) fn new(
        sockets: Vec<(ListenerId, mio::net::TcpListener)>,
        max_connections: usize,
    ) -> io::Result<Self> {
        let mut tcp = Tcp {
            poll: watch(mio::Poll::new()?, Interest::READABLE)?,
            events: Events::with_capacity(TURN_EVENTS),
            listeners: Vec::new(),
            connections: Connections::default(),
            max_connections,
            buffer: vec![0; READ_BUFFER].into_boxed_slice(),
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

    /// Has the poll watch sockets for [`change`](Self::change).
    pub(crate) fn watch(
        &self,
        sockets: Vec<(ListenerId, mio::net::TcpListener)>,
    ) -> io::Result<Vec<Listener>> {
        let registry = self.poll.get_ref().registry();
        let taken = |token: &usize| self.listeners.iter().any(|l| l.token == *token);
        let mut free = (FIRST_LISTENER..=usize::MAX).filter(|token| !taken(token));
        let watched = sockets.into_iter().map(|(id, mut socket)| {
            let token = free.next().ok_or_else(|| io::Error::other("too many listeners"))?;
            registry.register(&mut socket, Token(token), mio::Interest::READABLE)?;
            // Connections may have come before it was watched.
            Ok(Listener { socket, token, id, ready: true, paused_until: None, failing: false })
        });
        watched.collect()
    }

    /// Sockets are closed (the connections that they brought stay), accept for another listener,
    /// or come.
    pub(crate) fn change(
        &mut self,
        closed: &[ListenerId],
        handed: &[(ListenerId, ListenerId)],
        opened: Vec<Listener>,
    ) {
        self.listeners.retain(|listener| !closed.contains(&listener.id));
        for listener in &mut self.listeners {
            if let Some((_, to)) = handed.iter().find(|(from, _)| *from == listener.id) {
                listener.id = *to;
            }
        }
        self.listeners.extend(opened);
    }

    /// The socket of a listener.
    pub(crate) fn descriptor(&self, id: ListenerId) -> Option<BorrowedFd<'_>> {
        let listener = self.listeners.iter().find(|listener| listener.id == id)?;
        Some(listener.socket.as_fd())
    }

    /// Takes what waits at sockets that are about to be closed.
    pub(crate) fn accept_rest(
        &mut self,
        closed: &[ListenerId],
        machine: &mut Machine,
        counters: &mut Counters,
    ) {
        for index in 0..self.listeners.len() {
            let mut taken = 0;
            while let Some(listener) = self.listeners.get(index)
                && taken < MAX_REST
                && closed.contains(&listener.id)
                && let Ok((stream, peer)) = listener.socket.accept()
            {
                let id = listener.id;
                self.open(stream, peer, id, machine, counters);
                taken += 1;
            }
        }
    }

    /// Another bound holds for the next connections.
    pub(crate) fn set_max_connections(&mut self, max: usize) {
        self.max_connections = max;
    }

    /// Ready when the poll has events.
    pub(crate) fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.poll.poll_read_ready(cx).map(|_| ())
    }

    /// Whether the next turn has work without waiting.
    pub(crate) fn has_more(&self) -> bool {
        let accepting = |l: &Listener| l.ready && l.paused_until.is_none();
        self.more_events || !self.listed.is_empty() || self.listeners.iter().any(accepting)
    }

    /// How many connections are open, those being closed included.
    pub(crate) fn len(&self) -> usize {
        self.connections.len()
    }

    /// When `turn` is wanted although nothing is ready.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let front = |queue: &VecDeque<(Instant, _)>| queue.front().map(|(at, _)| *at);
        let accept = self.listeners.iter().filter_map(|listener| listener.paused_until).min();
        earliest(earliest(front(&self.flushing), front(&self.draining)), accept)
    }

    /// No connection is accepted from now on.
    pub(crate) fn stop_accepting(&mut self) {
        self.listeners.clear();
    }

    /// Closes what is left, without manners.
    pub(crate) fn abort(&mut self, machine: &mut Machine) {
        let left: Vec<_> = self.connections.ids().collect();
        for conn in left {
            self.drop_connection(conn, Reason::Shutdown, machine);
        }
    }

    /// Reads what is ready, hands it to the core, accepts, and closes what is due.
    pub(crate) fn turn(&mut self, machine: &mut Machine, counters: &mut Counters) {
        let mut visits = std::mem::take(&mut self.visits);
        visits.append(&mut self.listed);
        for conn in &visits {
            if let Some(connection) = self.connections.get(*conn) {
                connection.flags.clear(Flags::LISTED);
            }
        }
        self.take_events(&mut visits, machine);
        self.flush(machine);
        self.read_all(&visits, machine);
        self.accept_all(machine, counters);
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
                if !draining {
                    self.feed_bytes(conn, n, unflushed, machine);
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

    fn feed_bytes(
        &mut self,
        conn: ConnectionId,
        n: usize,
        unflushed: &mut usize,
        machine: &mut Machine,
    ) {
        let mut fed = 0;
        while fed < n {
            let end = (fed + FLUSH_EVERY).min(n);
            let Some(chunk) = self.buffer.get(fed..end) else { break };
            machine.feed(Input::Bytes { conn, chunk });
            *unflushed += end - fed;
            fed = end;
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
        let closing = connection.flags.any(Flags::CLOSING);
        let outbox = machine.core.outbox(conn);
        let waiting = outbox.len();
        if waiting > 0 {
            match write(connection.stream, outbox) {
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
        if let Some(stream) = self.connections.remove(conn) {
            drop(stream); // closing the descriptor takes it out of the poll
            machine.feed(Input::Closed { conn, reason });
        }
    }

    fn accept_all(&mut self, machine: &mut Machine, counters: &mut Counters) {
        for index in 0..self.listeners.len() {
            let Some(listener) = self.listeners.get_mut(index) else { break };
            if listener.paused_until.is_some_and(|at| at > machine.now()) {
                continue;
            }
            listener.paused_until = None;
            for _ in 0..TURN_ACCEPTS {
                let Some(listener) = self.listeners.get_mut(index) else { break };
                if !listener.ready || listener.paused_until.is_some() {
                    break;
                }
                let id = listener.id;
                match listener.socket.accept() {
                    Ok((stream, peer)) => {
                        listener.failing = false;
                        self.open(stream, peer, id, machine, counters);
                    }
                    Err(error) => {
                        counters.accept_errors += u64::from(listener.failed(&error, machine.now()));
                    }
                }
            }
        }
    }

    fn open(
        &mut self,
        mut stream: TcpStream,
        peer: SocketAddr,
        listener: ListenerId,
        machine: &mut Machine,
        counters: &mut Counters,
    ) {
        let slot = self.connections.next_slot().filter(|_| self.len() < self.max_connections);
        let Some(slot) = slot else {
            counters.refused += 1;
            return; // closed by being dropped
        };
        let interest = mio::Interest::READABLE | mio::Interest::WRITABLE;
        let token = Token(slot as usize);
        if let Err(error) = self.poll.get_ref().registry().register(&mut stream, token, interest) {
            tracing::warn!(%error, "connection not taken: the poll refuses it");
            counters.accept_errors += 1;
            return;
        }
        counters.accepted += 1;
        let conn = self.connections.insert(slot, stream, listener);
        let (peer, since) = (Some(canonical(peer)), machine.now());
        machine.feed(Input::Opened { conn, listener, peer, identity: None, since });
    }
}

impl Listener {
    /// Whether a failed `accept` is worth counting; decides when to try again.
    fn failed(&mut self, error: &io::Error, now: Instant) -> bool {
        use nix::libc::{EMFILE, ENFILE, ENOBUFS, ENOMEM};
        match error.raw_os_error() {
            _ if error.kind() == io::ErrorKind::WouldBlock => {
                self.ready = false;
                false
            }
            Some(EMFILE | ENFILE | ENOBUFS | ENOMEM) => {
                // The connection stays in the kernel's queue; trying at once would only spin.
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::warn!(%error, "connections wait: raise `ulimit -n`");
                }
                self.paused_until = Some(now + ACCEPT_PAUSE);
                true
            }
            // The connection died in the queue, or its network did: the next one may be well.
            _ => true,
        }
    }
}

fn pop_due(queue: &mut VecDeque<(Instant, ConnectionId)>, now: Instant) -> Option<ConnectionId> {
    if queue.front()?.0 > now {
        return None;
    }
    queue.pop_front().map(|(_, conn)| conn)
}

fn write(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<usize> {
    loop {
        match stream.write(bytes) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
