//! Listening sockets, and the connections that come from them.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::sync::Arc;

use mio::Token;
use mio::event::Source;
use mio::unix::SourceFd;
use motegate_config::Transport;
use motegate_core::Input;
use motegate_message::ListenerId;
use motegate_timers::Instant;
use socket2::Socket;

use super::{ACCEPT_PAUSE, FIRST_LISTENER, MAX_REST, TURN_ACCEPTS, Tcp};
use crate::control::socket::SocketFile;
use crate::machine::Machine;
use crate::net::canonical;
use crate::net::causes::Cause;
use crate::net::connections::Flags;
use crate::net::layer::Layer;
use crate::net::ws::upgrade::contains;

/// A listening socket of a stream protocol, as it was opened.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) id: ListenerId,
    pub(crate) socket: Acceptor,
}

/// Where connections come from.
#[derive(Debug)]
pub(crate) enum Acceptor {
    Tcp(mio::net::TcpListener),
    /// Its file goes with it.
    Unix {
        socket: mio::net::UnixListener,
        _file: SocketFile,
    },
}

/// A listening socket that the poll watches.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: Acceptor,
    /// Of the poll; it stays where the listener changes.
    pub(super) token: usize,
    pub(super) id: ListenerId,
    /// Connections may wait.
    pub(super) ready: bool,
    /// Not before this, after a failure.
    pub(super) paused_until: Option<Instant>,
    /// The last `accept` failed: said once in the log.
    failing: bool,
}

/// What a listener's connections go through, from the configuration.
#[derive(Debug, Clone)]
pub(crate) struct Serving {
    pub(crate) name: Arc<str>,
    pub(crate) transport: Arc<Transport>,
}

impl Acceptor {
    fn source(&mut self) -> &mut dyn Source {
        match self {
            Acceptor::Tcp(socket) => socket,
            Acceptor::Unix { socket, .. } => socket,
        }
    }

    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        match self {
            Acceptor::Tcp(socket) => socket.as_fd(),
            Acceptor::Unix { socket, .. } => socket.as_fd(),
        }
    }

    fn accept(&self) -> io::Result<(Socket, Option<SocketAddr>)> {
        match self {
            Acceptor::Tcp(socket) => {
                let (stream, peer) = socket.accept()?;
                Ok((Socket::from(OwnedFd::from(stream)), Some(canonical(peer))))
            }
            Acceptor::Unix { socket, .. } => {
                let (stream, _) = socket.accept()?;
                Ok((Socket::from(OwnedFd::from(stream)), None))
            }
        }
    }
}

impl Tcp {
    /// Has the poll watch sockets for [`change`](Self::change).
    pub(crate) fn watch(&self, sockets: Vec<Opened>) -> io::Result<Vec<Listener>> {
        let registry = self.poll.get_ref().registry();
        let taken = |token: &usize| self.listeners.iter().any(|l| l.token == *token);
        let mut free = (FIRST_LISTENER..=usize::MAX).filter(|token| !taken(token));
        let watched = sockets.into_iter().map(|Opened { id, mut socket }| {
            let token = free.next().ok_or_else(|| io::Error::other("too many listeners"))?;
            registry.register(socket.source(), Token(token), mio::Interest::READABLE)?;
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

    /// What connections that come from now on go through, by listener.
    pub(crate) fn serve(&mut self, serving: Vec<Option<Serving>>) {
        self.serving = serving;
    }

    /// The socket of a listener.
    pub(crate) fn descriptor(&self, id: ListenerId) -> Option<BorrowedFd<'_>> {
        let listener = self.listeners.iter().find(|listener| listener.id == id)?;
        Some(listener.socket.descriptor())
    }

    /// Takes what waits at sockets that are about to be closed.
    pub(crate) fn accept_rest(&mut self, closed: &[ListenerId], machine: &mut Machine) {
        for index in 0..self.listeners.len() {
            let mut taken = 0;
            while let Some(listener) = self.listeners.get(index)
                && taken < MAX_REST
                && closed.contains(&listener.id)
                && let Ok((stream, peer)) = listener.socket.accept()
            {
                let id = listener.id;
                self.open(stream, peer, id, machine);
                taken += 1;
            }
        }
    }

    pub(super) fn accept_all(&mut self, machine: &mut Machine) {
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
                        self.open(stream, peer, id, machine);
                    }
                    Err(error) => {
                        let counted = listener.failed(&error, machine.now());
                        self.counters.accept_errors += u64::from(counted);
                    }
                }
            }
        }
    }

    fn open(
        &mut self,
        stream: Socket,
        peer: Option<SocketAddr>,
        listener: ListenerId,
        machine: &mut Machine,
    ) {
        let since = machine.now();
        let full = self.full(listener, machine);
        let Some(slot) = self.connections.next_slot().filter(|_| full.is_none()) else {
            self.counters.refused += 1;
            let name = self.name(listener);
            let text = full.unwrap_or_default();
            self.told.tell(since, Cause::MaxConnections, &text, &name, peer);
            return; // closed by being dropped
        };
        let interest = mio::Interest::READABLE | mio::Interest::WRITABLE;
        let registry = self.poll.get_ref().registry();
        let mut source = SourceFd(&stream.as_raw_fd());
        if let Err(error) = source.register(registry, Token(slot as usize), interest) {
            tracing::warn!(%error, "connection not taken: the poll refuses it");
            self.counters.accept_errors += 1;
            return;
        }
        self.counters.accepted += 1;
        let serving = self.serving.get(usize::from(listener.0)).and_then(Option::as_ref);
        let transport = serving.map(|serving| &serving.transport).filter(|t| !t.is_plain());
        let Some(transport) = transport.cloned() else {
            self.make_room(listener, machine);
            let conn = self.connections.insert(slot, stream, listener, Flags::FRESH);
            machine.feed(Input::Opened { conn, listener, peer, identity: None, host: None, since });
            return;
        };
        // Whoever is believed can claim any address; over a Unix socket files say who may.
        let stranger =
            |from: &[motegate_message::Network]| peer.is_some_and(|at| !contains(from, at.ip()));
        if transport.proxy.as_ref().is_some_and(|proxy| stranger(&proxy.from)) {
            self.counters.causes.count(Cause::ProxySource);
            let name = self.name(listener);
            self.told.tell(since, Cause::ProxySource, "", &name, peer);
            return; // mio forgets it with its descriptor
        }
        self.make_room(listener, machine);
        let deadline = since + bounds(machine, listener).connect_timeout;
        let layer = Layer::new(transport, peer, since, deadline);
        let conn = self.connections.insert(slot, stream, listener, Flags::LAYERED);
        self.half_open(listener, conn, layer);
    }

    /// Which bound leaves no room for one more connection of a listener.
    fn full(&self, listener: ListenerId, machine: &Machine) -> Option<String> {
        if self.len() >= self.max_connections {
            return Some(format!("{} of all listeners are open", self.max_connections));
        }
        let most = machine.core.config().own(listener)?.max_connections;
        let full = self.connections.of(listener) >= most;
        full.then(|| format!("{most} of this listener are open"))
    }

    /// What a listener is called.
    pub(super) fn name(&self, listener: ListenerId) -> Arc<str> {
        let serving = self.serving.get(usize::from(listener.0)).and_then(Option::as_ref);
        serving.map(|serving| serving.name.clone()).unwrap_or_default()
    }
}

/// The bounds of MQTT on a listener: its own, or everybody's.
pub(super) fn bounds(machine: &Machine, listener: ListenerId) -> &motegate_mqtt::Config {
    machine.core.config().mqtt_of(listener)
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
