//! [`Gateway`]: starts a worker on a thread of its own; [`Handle`] is what its owner holds.

use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::BuildHasher as _;
use std::io::{self, Read as _};
use std::net::SocketAddr;
use std::path::Path;
use std::thread::JoinHandle;
use std::time::Duration;

use motegate_config::ResourceDirectory;
use motegate_core::Protocol;
use tokio::sync::{mpsc, oneshot, watch};

use crate::clock::Clock;
use crate::control::server::{Identity, Server};
use crate::control::socket::ControlSocket;
use crate::control::{ControlError, ask};
use crate::directory::{Means, Registrar};
use crate::listening::Listening;
use crate::machine::Machine;
use crate::net::listen::Lent;
use crate::reload::{Changes, ReloadError};
use crate::setup::{Bind, Control, Setup};
use crate::store::{self, StoreError};
use crate::supervisor::{LastReload, REQUESTS, Request, Standing};
use crate::worker::{Command, Worker};

/// How long a graceful stop may take unless said otherwise.
pub const STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// Commands that wait for the worker; the next caller waits.
const COMMANDS: usize = 16;

/// Starts gateways; see [`Gateway::builder`].
#[derive(Debug)]
pub struct Gateway {}

impl Gateway {
    /// A gateway as `motegate dev` runs it, until the builder is told otherwise.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), motegate::StartError> {
    /// let gateway = motegate::Gateway::builder()
    ///     .bind(motegate::Protocol::Mqtt, ([127, 0, 0, 1], 0).into())
    ///     .spawn()?;
    /// println!("MQTT on {:?}", gateway.address(motegate::Protocol::Mqtt));
    /// gateway.stop();
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn builder() -> Builder {
        Builder { setup: Setup::dev(false), supervised: false }
    }
}

/// What a gateway will be started with.
#[derive(Debug, Clone)]
pub struct Builder {
    setup: Setup,
    supervised: bool,
}

impl Builder {
    /// Replaces everything.
    #[must_use]
    pub fn setup(mut self, setup: Setup) -> Self {
        self.setup = setup;
        self
    }

    /// Somebody answers what the control interface asks of the gateway's owner.
    pub(crate) fn supervised(mut self) -> Self {
        self.supervised = true;
        self
    }

    /// Moves the listeners of a protocol; port 0 lets the system choose.
    #[must_use]
    pub fn bind(mut self, protocol: Protocol, addr: SocketAddr) -> Self {
        self.setup.rebind(protocol, addr);
        self
    }

    /// Opens the sockets, starts the worker's thread and returns: clients may connect.
    ///
    /// # Errors
    /// A listener's address is taken, forbidden or not of this machine, or the system gives no
    /// thread, no random seed or no poll.
    pub fn spawn(self) -> Result<Handle, StartError> {
        let Setup { core, table, binds, groups, directory, max_connections, store, control } =
            self.setup;
        let clock = Clock::start();
        let name = core.gateway_name.clone();
        let seed = seed();
        let (listening, sockets) = Listening::open(&core.listeners, &binds, &groups)?;
        let serving = listening.serving();
        let opened = store.as_ref().map(store::open).transpose()?;
        let bound = listening.bound();
        let (requests_to, requests) = mpsc::channel(REQUESTS);
        let requests = self.supervised.then_some(requests);
        let (standing, stands) = watch::channel(listening.standing(max_connections));
        let control = control.map(|control| open_control(&control, &bound)).transpose()?.flatten();
        let (asker, asked) = ask::channel();
        let means = Means {
            asker: asker.clone(),
            standing: stands.clone(),
            status: watch::Sender::new(None),
            clock,
        };
        let (commands, inbox) = mpsc::channel(COMMANDS);
        let (started, start) = std::sync::mpsc::sync_channel::<Result<_, StartError>>(1);
        let (alive, ended) = oneshot::channel();
        let thread =
            std::thread::Builder::new().name("motegate-worker".into()).spawn(move || {
                let _alive: oneshot::Sender<()> = alive;
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                let runtime = match runtime {
                    Ok(runtime) => runtime,
                    Err(error) => return drop(started.send(Err(error.into()))),
                };
                let mut machine = Machine::new(core, table, seed);
                let stored = match opened.map(|opened| machine.restore(opened)).transpose() {
                    Ok(stored) => stored,
                    Err(error) => return drop(started.send(Err(error.into()))),
                };
                let _inside = runtime.enter();
                match Worker::new(machine, sockets, serving, max_connections, inbox, Some(asked)) {
                    Ok(worker) => {
                        let _ = started.send(Ok(stored));
                        runtime.block_on(worker.run());
                    }
                    Err(error) => drop(started.send(Err(error.into()))),
                }
            })?;
        let mut handle = Handle {
            bound,
            listening,
            commands,
            ended: Some(ended),
            thread: Some(thread),
            registrar: None,
            control: None,
            means,
            standing,
            requests,
        };
        let stored = start.recv().unwrap_or(Err(StartError::Died))?;
        if let Some(socket) = control {
            let identity = Identity {
                name,
                clock,
                standing: stands,
                directory: handle.means.status.subscribe(),
                requests: requests_to,
                stored,
            };
            handle.control = Some(Server::start(socket, identity, asker)?);
        }
        handle.register(directory)?;
        Ok(handle)
    }
}

/// Everything random comes from here; the kernel's source, or what the standard library seeds
/// its hash tables from.
fn seed() -> u64 {
    let mut bytes = [0; 8];
    match std::fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes)) {
        Ok(()) => u64::from_ne_bytes(bytes),
        Err(_) => RandomState::new().hash_one(std::process::id()),
    }
}

/// The control interface's socket; `None` where it cannot be had and the gateway does without.
fn open_control(control: &Control, bound: &[Bind]) -> Result<Option<ControlSocket>, ControlError> {
    match control.place.open(bound) {
        Ok(socket) => Ok(Some(socket)),
        Err(error) if control.required => Err(error),
        Err(error) => {
            tracing::warn!(
                %error,
                "no control interface: `motegate status` and its like cannot ask this gateway"
            );
            Ok(None)
        }
    }
}

/// A running gateway. Dropping it ends the gateway at once; [`stop`](Self::stop) is kinder.
#[derive(Debug)]
pub struct Handle {
    bound: Vec<Bind>,
    listening: Listening,
    commands: mpsc::Sender<Command>,
    /// `None` once the worker has ended.
    ended: Option<oneshot::Receiver<()>>,
    thread: Option<JoinHandle<()>>,
    /// Whoever keeps the registration at a resource directory, once one was wanted.
    registrar: Option<Registrar>,
    means: Means,
    /// Ends after the worker: who asks while it stops is answered.
    control: Option<Server>,
    standing: watch::Sender<Standing>,
    requests: Option<mpsc::Receiver<Request>>,
}

impl Handle {
    /// The control interface's socket, if there is one.
    #[must_use]
    pub fn control(&self) -> Option<&Path> {
        self.control.as_ref().map(Server::path)
    }

    /// Where it listens, in the order of the configuration, with the ports the system chose.
    #[must_use]
    pub fn listeners(&self) -> &[Bind] {
        &self.bound
    }

    /// Where it listens for a protocol, if it does; an address that stands for all of them is
    /// given as loopback, so that one can connect to it.
    #[must_use]
    pub fn address(&self, protocol: Protocol) -> Option<SocketAddr> {
        let of_it = self.bound.iter().filter(|bind| bind.protocol == protocol);
        let mut addr = of_it.filter_map(|bind| bind.addr.ip()).next()?;
        if addr.ip().is_unspecified() {
            addr.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
        }
        Some(addr)
    }

    /// Changes to another configuration: sockets of new listeners are opened, then the rules,
    /// limits and listeners change between two packets, then sockets that are no more are closed.
    /// No connection is closed but those of removed listeners, no message is lost. Tells what it
    /// did. `durable` and the control interface stay as they were at the start.
    ///
    /// # Errors
    /// A new listener's address cannot be had, or the gateway is stopping. Nothing has changed
    /// then.
    pub async fn reload(&mut self, setup: Setup) -> Result<Changes, ReloadError> {
        let max_connections = setup.max_connections;
        let directory = setup.directory.clone();
        let moves = self.listening.moves(setup)?;
        let lent = match self.listening.in_the_way(&moves) {
            ids if ids.is_empty() => Lent::default(),
            ids => Lent::new(self.command(|lent| Command::Lend(ids, lent)).await??)?,
        };
        let (listening, listeners, change) = self.listening.change(moves, &lent)?;
        drop(lent);
        let touched = self.command(|done| Command::Reload(Box::new(change), done)).await??;
        self.bound = listening.bound();
        let now = listening.standing(max_connections);
        self.standing.send_modify(|standing| {
            *standing = Standing { last_reload: standing.last_reload.take(), ..now };
        });
        self.listening = listening;
        if let Err(error) = self.register(directory) {
            tracing::error!(%error, "the gateway does not register itself: there is no thread for it");
        }
        Ok(Changes { listeners, touched })
    }

    /// What [`reload`](Self::reload) would do now. New addresses are tried and let go at once.
    ///
    /// # Errors
    /// A new listener's address cannot be had, or the gateway has ended.
    pub async fn preview(&self, setup: Setup) -> Result<Changes, ReloadError> {
        let (listeners, reload) = self.listening.preview(setup)?;
        let touched = self.command(|done| Command::Preview(Box::new(reload), done)).await?;
        Ok(Changes { listeners, touched })
    }

    /// What the worker answers.
    async fn command<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<T>) -> Command,
    ) -> Result<T, ReloadError> {
        let (done, answer) = oneshot::channel();
        self.commands.send(command(done)).await.map_err(|_| ReloadError::Ended)?;
        answer.await.map_err(|_| ReloadError::Ended)
    }

    /// What the control interface asks of the supervisor.
    pub(crate) fn take_requests(&mut self) -> Option<mpsc::Receiver<Request>> {
        self.requests.take()
    }

    pub(crate) fn note_reload(&self, last: LastReload) {
        self.standing.send_modify(|standing| standing.last_reload = Some(last));
    }

    /// Registers as is wanted; where nothing ever was, there is no thread for it.
    fn register(&mut self, wanted: Option<ResourceDirectory>) -> io::Result<()> {
        match (&self.registrar, wanted) {
            (Some(registrar), wanted) => registrar.change(wanted),
            (None, Some(wanted)) => {
                self.registrar = Some(Registrar::start(self.means.clone(), wanted)?);
            }
            (None, None) => {}
        }
        Ok(())
    }

    /// Asks for a graceful stop and returns; [`ended`](Self::ended) says when it is done.
    pub fn request_stop(&self, timeout: Duration) {
        if let Some(registrar) = &self.registrar {
            registrar.stop();
        }
        let _ = self.commands.try_send(Command::Stop(timeout));
    }

    /// Ready when the gateway has ended, for whatever reason, and is no longer registered.
    pub async fn ended(&mut self) {
        if let Some(ended) = &mut self.ended {
            let _ = ended.await;
            self.ended = None;
        }
        if let Some(registrar) = &mut self.registrar {
            registrar.stop();
            registrar.stopped().await;
        }
    }

    /// Tells clients, lets what is in flight leave (at most [`STOP_TIMEOUT`]) and waits for the end.
    pub fn stop(mut self) {
        if let Some(registrar) = &self.registrar {
            registrar.stop();
        }
        let _ = self.commands.blocking_send(Command::Stop(STOP_TIMEOUT));
        self.join();
    }

    fn join(&mut self) {
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if self.thread.is_some() {
            let _ = self.commands.try_send(Command::Abort);
            self.join();
        }
    }
}

/// Why a gateway could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A listener's address cannot be had.
    #[error("{}", BindProblem { bind, source })]
    Bind {
        /// Which listener.
        bind: Bind,
        /// What the system said.
        source: io::Error,
    },
    /// The system refused a thread, a poll or a timer.
    #[error("the system refuses a thread or a poll: {0}")]
    System(#[from] io::Error),
    /// The control interface's socket cannot be had.
    #[error("no control interface: {0}")]
    Control(#[from] ControlError),
    /// The store cannot be had, or what is in it cannot be read.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// More than 65,536.
    #[error("too many listeners: at most 65536")]
    TooManyListeners,
    /// The worker ended before it began; a bug.
    #[error("the worker ended before it began; its last words are above")]
    Died,
}

/// Says what is wrong with an address and what to do about it.
struct BindProblem<'a> {
    bind: &'a Bind,
    source: &'a io::Error,
}

impl fmt::Display for BindProblem<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Bind { name, protocol, addr, .. } = self.bind;
        let word = self.bind.word();
        let Some(addr) = addr.ip() else { return self.path(f) };
        let (port, udp) = (addr.port(), *protocol != Protocol::Mqtt);
        let transport = if udp { "udp" } else { "tcp" };
        write!(f, "{word} cannot listen on {addr}/{transport} (listener {name}): ")?;
        match self.source.kind() {
            io::ErrorKind::AddrInUse => write!(
                f,
                "port {port} is taken.\n  Another program has it; `ss -{}lnp 'sport = :{port}'` \
                 says which. Stop it, or give\n  the listener another port.",
                if udp { 'u' } else { 't' },
            ),
            io::ErrorKind::PermissionDenied => write!(
                f,
                "not permitted.\n  Ports below 1024 need CAP_NET_BIND_SERVICE; choose a higher \
                 one, or grant it with\n  `sudo setcap cap_net_bind_service=+ep` on the program."
            ),
            io::ErrorKind::AddrNotAvailable => write!(
                f,
                "this machine has no address {}.\n  `ip addr` lists those it has; 0.0.0.0 and \
                 [::] mean all of them.",
                addr.ip()
            ),
            _ => write!(f, "{}", self.source),
        }
    }
}

impl BindProblem<'_> {
    /// Of a Unix socket.
    fn path(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Bind { name, addr, .. } = self.bind;
        write!(f, "{} cannot listen on {addr} (listener {name}): ", self.bind.word())?;
        match self.source.kind() {
            io::ErrorKind::AddrInUse => f.write_str(
                "somebody answers there.\n  Another gateway has it; stop that one, or give the \
                 listener another path.",
            ),
            io::ErrorKind::NotFound => f.write_str(
                "there is no such folder.\n  Make it first, writable for the gateway's user.",
            ),
            io::ErrorKind::PermissionDenied => f.write_str(
                "not permitted.\n  The gateway's user has to be able to write into the folder.",
            ),
            _ => write!(f, "{}", self.source),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_says_which_and_what_to_do() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = taken.local_addr().unwrap();
        let bind = Bind {
            name: "lan".into(),
            protocol: Protocol::Mqtt,
            addr: addr.into(),
            transport: Default::default(),
        };
        let error = Listening::open(&[], &[bind], &[]).unwrap_err().to_string();
        let port = addr.port();
        assert!(error.starts_with(&format!("mqtt cannot listen on {addr}/tcp (listener lan)")));
        assert!(error.contains(&format!("port {port} is taken")), "{error}");
    }

    #[test]
    fn seeds_differ() {
        assert_ne!(seed(), seed());
    }
}
