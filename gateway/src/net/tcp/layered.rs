//! Connections that have something between their socket and MQTT.
//!
//! Until their stages are done they are *half open*: the core does not know them, `connect_timeout`
//! ends them, and together with those in the core that have not said CONNECT they are at most
//! `max_half_open`, of the listener and in all: the oldest goes. The core hears how much has left when the kernel has taken
//! the whole batch that it is in, so that its stall timeout sees a peer that does not read behind TLS,
//! too.

use motegate_core::Input;
use motegate_message::{ConnectionId, ListenerId, Reason};
use socket2::Socket;

use super::accept::bounds;
use super::{Tcp, send};
use crate::machine::Machine;
use crate::net::causes::Cause;
use crate::net::connections::Flags;
use crate::net::layer::{Layer, Step};

/// What a write came to.
enum Written {
    /// Everything that was there has left.
    All,
    /// The kernel takes no more.
    Blocked,
    Failed,
}

impl Tcp {
    /// Takes in a connection that the core does not know yet.
    pub(super) fn half_open(&mut self, listener: ListenerId, conn: ConnectionId, layer: Layer) {
        self.half_open.add(listener, (layer.deadline, conn));
        self.layers.insert(conn, Box::new(layer));
    }

    /// Lets the oldest go that has not said CONNECT, here or in the core, until one more may come by a
    /// listener.
    pub(super) fn make_room(&mut self, listener: ListenerId, machine: &mut Machine) {
        let own = bounds(machine, listener).max_half_open;
        let all = machine.core.config().mqtt.max_half_open;
        for (of, most) in [(Some(listener), own), (None, all)] {
            self.make_room_among(of, most.max(1), machine);
        }
    }

    fn make_room_among(&mut self, of: Option<ListenerId>, most: usize, machine: &mut Machine) {
        while self.half_open.of(of).len() + machine.core.half_open(of) >= most {
            let ours = self.half_open.of(of).first().copied();
            let since = ours.and_then(|(_, conn)| self.layers.get(&conn)).map(|l| l.since);
            let theirs = machine.core.oldest_half_open(of);
            let younger = |ours| theirs.is_some_and(|theirs| theirs < ours);
            match ours {
                Some((_, conn)) if !since.is_some_and(younger) => {
                    self.refuse(conn, Cause::HalfOpen, "", machine);
                    self.drop_connection(conn, Reason::ConnectTimeout, machine);
                }
                _ if theirs.is_some() => machine.feed(Input::CloseHalfOpen(of)),
                _ => return,
            }
        }
    }

    /// Bytes of the socket, `n` in the buffer.
    pub(super) fn unwrap_bytes(
        &mut self,
        conn: ConnectionId,
        n: usize,
        unflushed: &mut usize,
        machine: &mut Machine,
    ) {
        let max_frame = self.max_frame(conn, machine);
        let Some(layer) = self.layers.get_mut(&conn) else { return };
        let bytes = self.buffer.get_mut(..n).unwrap_or_default();
        let step = layer.receive(bytes, max_frame, &mut self.clear, &mut self.inside);
        self.carry_on(conn, step, unflushed, machine);
    }

    /// Takes up the handshakes that helpers bring back.
    pub(super) fn take_handshakes(&mut self, machine: &mut Machine) {
        let mut unflushed = 0;
        while let Some(mut done) = self.handshakes.pop() {
            let max_frame = self.max_frame(done.conn, machine);
            let Some(layer) = self.layers.get_mut(&done.conn) else { continue };
            let (session, clear) = (done.session, &mut done.clear);
            let step =
                layer.returned(session, &done.out, done.result, clear, max_frame, &mut self.inside);
            self.counters.handshakes += u64::from(layer.is_secured());
            self.carry_on(done.conn, step, &mut unflushed, machine);
            // What came meanwhile waits in the socket.
            self.list(done.conn);
        }
    }

    /// The longest WebSocket frame: as long as the longest packet. Of CoAP the core judges messages, and
    /// says so by an Abort.
    fn max_frame(&mut self, conn: ConnectionId, machine: &Machine) -> u64 {
        if self.layers.get(&conn).is_some_and(|layer| layer.is_coap()) {
            return u64::MAX;
        }
        let Some(connection) = self.connections.get(conn) else { return 0 };
        u64::from(bounds(machine, connection.listener).max_packet_size)
    }

    /// Does what follows from bytes: MQTT's and CoAP's are in `self.inside`.
    fn carry_on(
        &mut self,
        conn: ConnectionId,
        step: Step,
        unflushed: &mut usize,
        machine: &mut Machine,
    ) {
        if matches!(step, Step::Opened) {
            self.known(conn, machine);
        }
        let mut inside = std::mem::take(&mut self.inside);
        if inside.is_parts {
            self.feed_parts(conn, &inside, machine);
        } else if !inside.bytes.is_empty() {
            // What came in one piece with a PROXY header; whatever follows is not the first any more.
            self.look_at_first(conn, &inside.bytes, machine);
            self.feed(conn, &inside.bytes, unflushed, machine);
        }
        inside.clear();
        self.inside = inside;
        match step {
            // What the core has to say follows with the others' at the next flush.
            Step::More | Step::Opened => {
                if self.layers.get(&conn).is_some_and(|layer| !layer.unsent().is_empty()) {
                    self.write(conn, machine);
                }
            }
            Step::Handshake(session, bytes) => self.handshakes.submit(conn, session, bytes),
            Step::Ended => {
                // The answers to its last packets first: it may have said goodbye.
                self.flush(machine);
                self.lose(conn, machine);
            }
            Step::Over(cause, detail) => {
                // The answers to what came before it, too.
                self.flush(machine);
                self.refuse(conn, cause, &detail, machine);
                self.lose(conn, machine);
            }
        }
    }

    /// Tells the core of a connection whose stages are done.
    fn known(&mut self, conn: ConnectionId, machine: &mut Machine) {
        let Some(connection) = self.connections.get(conn) else { return };
        let listener = connection.listener;
        let Some(layer) = self.layers.get_mut(&conn) else { return };
        self.half_open.remove(listener, (layer.deadline, conn));
        layer.known = true;
        let (peer, since) = (layer.peer, layer.since);
        let (identity, host) = (layer.identity.take(), layer.host.take());
        if layer.is_plain() {
            connection.flags.clear(Flags::LAYERED);
            connection.flags.set(Flags::FRESH);
            self.layers.remove(&conn);
        }
        machine.feed(Input::Opened { conn, listener, peer, identity, host, since });
    }

    /// Counts and says why a connection ends.
    pub(super) fn refuse(
        &mut self,
        conn: ConnectionId,
        cause: Cause,
        detail: &str,
        machine: &Machine,
    ) {
        self.counters.causes.count(cause);
        let Some(connection) = self.connections.get(conn) else { return };
        let listener = connection.listener;
        let name = self.name(listener);
        let peer = self.layers.get(&conn).and_then(|layer| layer.peer);
        self.told.tell(machine.now(), cause, detail, &name, peer);
    }

    /// The connection is over for the core; last words are still sent.
    fn lose(&mut self, conn: ConnectionId, machine: &mut Machine) {
        let Some(connection) = self.connections.get(conn) else { return };
        let listener = connection.listener;
        let Some(layer) = self.layers.get_mut(&conn) else { return };
        self.half_open.remove(listener, (layer.deadline, conn));
        if std::mem::take(&mut layer.known) {
            machine.feed(Input::Closed { conn, reason: Reason::ConnectionLost });
        }
        self.close(conn, machine);
    }

    /// Half-open connections whose time is over.
    pub(super) fn close_half_open(&mut self, machine: &mut Machine) {
        while let Some((at, conn)) = self.half_open.of(None).first().copied()
            && at <= machine.now()
        {
            self.refuse(conn, Cause::Timeout, "", machine);
            self.drop_connection(conn, Reason::ConnectTimeout, machine);
        }
    }

    /// Ends those of some listeners, or of all.
    pub(crate) fn drop_half_open(&mut self, of: Option<&[ListenerId]>, machine: &mut Machine) {
        let all: Vec<ConnectionId> =
            self.half_open.of(None).iter().map(|(_, conn)| *conn).collect();
        for conn in all {
            let listener = self.connections.get(conn).map(|connection| connection.listener);
            if of.is_none_or(|of| listener.is_some_and(|listener| of.contains(&listener))) {
                self.drop_connection(conn, Reason::ConfigReload, machine);
            }
        }
    }

    /// Writes what is wrapped, then wraps and writes what the core has, a batch at a time.
    pub(super) fn write_wrapped(&mut self, conn: ConnectionId, machine: &mut Machine) {
        loop {
            let Some(connection) = self.connections.get(conn) else { return };
            let closing = connection.flags.any(Flags::CLOSING);
            let Some(layer) = self.layers.get_mut(&conn) else { return };
            match write_out(connection.stream, layer, &mut self.spare) {
                Written::All => {}
                Written::Blocked => {
                    connection.flags.set(Flags::BLOCKED);
                    return;
                }
                Written::Failed => {
                    self.drop_connection(conn, Reason::ConnectionLost, machine);
                    return;
                }
            }
            let taken = std::mem::take(&mut layer.taken);
            let known = layer.known;
            if taken > 0 && known {
                // What was thrown away meanwhile has not left.
                let n = taken.min(machine.core.outbox(conn).len());
                machine.feed(Input::Written { conn, n });
            }
            let outbox = machine.core.outbox(conn);
            let Some(layer) = self.layers.get_mut(&conn) else { return };
            if !outbox.is_empty() && known {
                layer.wrap(outbox, &mut self.spare);
            } else if closing {
                if !layer.farewell() {
                    self.half_close(conn, machine);
                    return;
                }
            } else {
                break;
            }
        }
        // Reading stopped where answers piled up.
        if self.connections.get(conn).is_some_and(|c| c.flags.any(Flags::READABLE)) {
            self.list(conn);
        }
    }
}

fn write_out(stream: &Socket, layer: &mut Layer, spare: &mut Vec<u8>) -> Written {
    while !layer.unsent().is_empty() {
        match send(stream, layer.unsent()) {
            Ok(n) => {
                let short = n < layer.unsent().len();
                layer.advance(n, spare);
                // A short write has filled the socket (epoll(7)).
                if short {
                    return Written::Blocked;
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                return Written::Blocked;
            }
            Err(_) => return Written::Failed,
        }
    }
    Written::All
}
