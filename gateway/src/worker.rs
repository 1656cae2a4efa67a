//! The worker: one thread that owns the core and its sockets.
//!
//! It waits until a socket, a deadline, the store or the owner wants it, stamps the time once,
//! moves bytes in and out, and waits again. Datagrams and their answers never leave this thread.
//! A turn is bounded by each socket's share; what is left is taken up in the next one, after the
//! other sockets had theirs.

use std::future::poll_fn;
use std::io;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use motegate_core::{Input, Reload, Touched};
use motegate_message::{Group, ListenerId};
use motegate_timers::{Instant, earliest};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Sleep;

use crate::control::ask::{Asked, Shell};
use crate::machine::Machine;
use crate::net::Counters;
use crate::net::tcp::{Opened, Serving, Tcp};
use crate::net::udp::Udp;

/// What the worker's owner may ask of it.
#[derive(Debug)]
pub(crate) enum Command {
    /// Clients are told, what is in flight leaves, at most this long.
    Stop(Duration),
    /// Ends at once.
    Abort,
    /// Another configuration holds from now on.
    Reload(Box<Changeover>, oneshot::Sender<io::Result<Vec<Touched>>>),
    /// Duplicates of the sockets of these listeners.
    Lend(Vec<ListenerId>, oneshot::Sender<io::Result<Vec<OwnedFd>>>),
    /// What would a reload do?
    Preview(Box<Reload>, oneshot::Sender<Vec<Touched>>),
}

/// A reload that is ready to be carried out: its sockets are open.
#[derive(Debug)]
pub(crate) struct Changeover {
    /// For the core.
    pub(crate) reload: Reload,
    /// Of new listeners, and of those that moved.
    pub(crate) opened: Sockets,
    /// Sockets that serve another listener from now on: of which, and which.
    pub(crate) handed: Vec<(ListenerId, ListenerId)>,
    /// Listeners whose old socket is closed.
    pub(crate) closed: Vec<ListenerId>,
    /// What listeners join.
    pub(crate) groups: Vec<(ListenerId, Group)>,
    /// What new connections go through, by listener.
    pub(crate) serving: Vec<Option<Serving>>,
    /// Most stream connections open at a time.
    pub(crate) max_connections: usize,
}

/// Opened sockets, by listener.
#[derive(Debug, Default)]
pub(crate) struct Sockets {
    pub(crate) udp: Vec<(ListenerId, std::net::UdpSocket)>,
    pub(crate) tcp: Vec<Opened>,
    /// What they join.
    pub(crate) groups: Vec<(ListenerId, Group)>,
}

/// One thread's whole state.
#[derive(Debug)]
pub(crate) struct Worker {
    machine: Machine,
    udp: Udp,
    tcp: Tcp,
    commands: mpsc::Receiver<Command>,
    /// What the control interface wants to know, if there is one.
    asked: Option<Asked>,
    counters: Counters,
    /// A datagram socket may hold more than its share of the last turn.
    more_datagrams: bool,
    /// Set while stopping: the latest end.
    stop_by: Option<Instant>,
}

/// How a turn ends.
enum Next {
    /// Wait; the deadline, if any, is the next one.
    Wait(Option<Instant>),
    /// The worker is done.
    End,
}

impl Worker {
    /// Must be called within the runtime that then runs it.
    pub(crate) fn new(
        machine: Machine,
        sockets: Sockets,
        serving: Vec<Option<Serving>>,
        max_connections: usize,
        commands: mpsc::Receiver<Command>,
        asked: Option<Asked>,
    ) -> io::Result<Self> {
        let mut udp = Udp::new(sockets.udp)?;
        udp.set_groups(&sockets.groups, machine.now());
        udp.set_locals(&machine.core.locals());
        Ok(Worker {
            machine,
            udp,
            tcp: Tcp::new(sockets.tcp, serving, max_connections)?,
            commands,
            asked,
            counters: Counters::default(),
            more_datagrams: false,
            stop_by: None,
        })
    }

    /// Runs until it is told to stop.
    pub(crate) async fn run(mut self) {
        let clock = self.machine.clock();
        // The first turn is at once: something may be due before anybody comes.
        let mut armed = self.machine.now();
        let sleep = tokio::time::sleep_until(clock.to_std(armed).into());
        let mut sleep = std::pin::pin!(sleep);
        loop {
            let command = self.wait(sleep.as_mut()).await;
            self.machine.stamp();
            match self.turn(command) {
                Next::End => break,
                Next::Wait(deadline) => {
                    let deadline = deadline.unwrap_or(Instant::FAR_FUTURE);
                    // A deadline that moves further away (it does with every packet) is found
                    // out when the timer fires; arming it each turn would cost more.
                    if deadline < armed || sleep.is_elapsed() {
                        sleep.as_mut().reset(clock.to_std(deadline).into());
                        armed = deadline;
                    }
                }
            }
        }
        tracing::debug!(udp = ?self.counters, tcp = ?self.tcp.counters(), "worker ended");
    }

    /// Waits until there is something to do; `Some` if it is a command.
    async fn wait(&mut self, mut sleep: Pin<&mut Sleep>) -> Option<Command> {
        let more = self.more_datagrams || self.tcp.has_more() || !self.machine.orders.is_empty();
        if more {
            // Lets the runtime look at all sockets, so that a busy one does not hide the others.
            tokio::task::yield_now().await;
        }
        poll_fn(|cx| self.poll_ready(cx, sleep.as_mut(), more)).await
    }

    fn poll_ready(
        &mut self,
        cx: &mut Context<'_>,
        sleep: Pin<&mut Sleep>,
        more: bool,
    ) -> Poll<Option<Command>> {
        match self.commands.poll_recv(cx) {
            Poll::Ready(Some(command)) => return Poll::Ready(Some(command)),
            // Without an owner there is nobody to run for.
            Poll::Ready(None) if self.stop_by.is_none() => {
                return Poll::Ready(Some(Command::Abort));
            }
            _ => {}
        }
        let udp = self.udp.poll_ready(cx).is_ready();
        let tcp = self.tcp.poll_ready(cx).is_ready();
        let store = self.machine.store.poll_ready(cx).is_ready();
        let auth = self.machine.auth.poll_ready(cx).is_ready();
        let asked = self.asked.as_mut().is_some_and(|asked| asked.poll_ready(cx).is_ready());
        let time = sleep.poll(cx).is_ready();
        let any = udp || tcp || store || auth || asked || time || more;
        if any { Poll::Ready(None) } else { Poll::Pending }
    }

    fn turn(&mut self, command: Option<Command>) -> Next {
        match command {
            None => {}
            Some(Command::Stop(timeout)) => self.stop(timeout),
            Some(Command::Abort) => {
                self.tcp.abort(&mut self.machine);
                return Next::End;
            }
            Some(Command::Reload(change, done)) => {
                let _ = done.send(self.reload(*change));
            }
            Some(Command::Lend(ids, done)) => {
                let _ = done.send(self.lend(&ids));
            }
            Some(Command::Preview(reload, done)) => {
                let _ = done.send(self.machine.core.preview(&reload));
            }
        }
        let Worker { machine, udp, tcp, counters, .. } = self;
        machine.feed_reports();
        machine.feed_verdicts();
        if let Some(asked) = &mut self.asked {
            // Each counts what it does.
            let Counters { truncated, send_errors, send_dropped, .. } = *counters;
            let counters = Counters { truncated, send_errors, send_dropped, ..tcp.counters() };
            asked.turn(
                machine,
                Shell { connections: tcp.len(), half_open: tcp.half_open_len(), counters },
            );
        }
        udp.tend_groups(machine.now());
        self.more_datagrams = udp.turn(machine, counters);
        tcp.turn(machine);
        let core_deadline = machine.feed_timeout();
        // Either side may have woken the other: a CoAP PUT reaches MQTT, a close publishes a will.
        tcp.flush(machine);
        udp.flush(machine, counters);
        let sockets = earliest(udp.next_deadline(), tcp.next_deadline());
        let deadline = earliest(core_deadline, sockets);
        self.stopped(deadline)
    }

    /// Everything that may fail comes first: a failed reload changes nothing.
    fn reload(&mut self, change: Changeover) -> io::Result<Vec<Touched>> {
        if self.stop_by.is_some() {
            return Err(io::Error::other("the gateway is stopping"));
        }
        let udp = Udp::watch(change.opened.udp)?;
        let tcp = self.tcp.watch(change.opened.tcp)?;
        let Changeover { reload, handed, closed, serving, .. } = change;
        let removed = reload.removed.clone();
        let moved: Vec<ListenerId> =
            closed.iter().filter(|id| !reload.removed.contains(id)).copied().collect();
        let touched = self.machine.reload(reload);
        // Last words leave by the old sockets.
        self.tcp.flush(&mut self.machine);
        self.udp.flush(&mut self.machine, &mut self.counters);
        self.tcp.accept_rest(&moved, &mut self.machine);
        self.udp.change(&closed, &handed, udp);
        self.udp.set_groups(&change.groups, self.machine.now());
        self.tcp.change(&closed, &handed, tcp);
        self.tcp.serve(serving);
        self.tcp.drop_half_open(Some(&removed), &mut self.machine);
        self.tcp.set_max_connections(change.max_connections);
        Ok(touched)
    }

    fn lend(&self, ids: &[ListenerId]) -> io::Result<Vec<OwnedFd>> {
        let of = |id: &ListenerId| self.udp.descriptor(*id).or_else(|| self.tcp.descriptor(*id));
        ids.iter().filter_map(of).map(|socket| socket.try_clone_to_owned()).collect()
    }

    fn stop(&mut self, timeout: Duration) {
        if self.stop_by.is_none() {
            self.stop_by = Some(self.machine.now() + timeout);
            self.tcp.stop_accepting(&mut self.machine);
            tracing::info!(connections = self.tcp.len(), "stopping: clients are told");
            self.machine.feed(Input::Shutdown);
        }
    }

    fn stopped(&mut self, deadline: Option<Instant>) -> Next {
        let Some(stop_by) = self.stop_by else { return Next::Wait(deadline) };
        if self.tcp.len() == 0 && self.udp.is_flushed() && self.machine.orders.is_empty() {
            return Next::End;
        }
        if self.machine.now() >= stop_by {
            tracing::warn!(connections = self.tcp.len(), "stopping: time is over");
            self.tcp.abort(&mut self.machine);
            return Next::End;
        }
        Next::Wait(earliest(deadline, Some(stop_by)))
    }
}
