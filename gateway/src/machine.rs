//! [`Machine`]: the core with its store beside it.
//!
//! One input goes in, and everything that follows from it is drained before the next: batches of
//! records go to the store, its commits come back in the same call, and what concerns a
//! connection waits in `orders` until the worker turns to its sockets.

use std::collections::VecDeque;
use std::sync::Arc;

use motegate_core::admin::Answer;
use motegate_core::{Config, Core, Input, Output, Reload, Touched};
use motegate_mapping::Table;
use motegate_message::{Announcement, ConnectionId, Reason, Wall};
use motegate_timers::Instant;

use crate::auth::Auth;
use crate::clock::Clock;
use crate::memory;
use crate::notices::Notices;
use crate::recorder;
use crate::store::{Opened, Report, Store, StoreError, Stored};

/// What a connection's socket has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// The outbox has bytes.
    Write(ConnectionId),
    /// Write what the outbox holds, half-close, drain, close.
    Close(ConnectionId, Reason),
    /// Stop reading.
    Pause(ConnectionId),
    /// Go on reading.
    Resume(ConnectionId),
}

/// The core, its clock and its store.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) core: Core,
    pub(crate) orders: VecDeque<Order>,
    pub(crate) store: Store,
    /// Who clients are.
    pub(crate) auth: Auth,
    /// What the control interface asked for, by ticket.
    pub(crate) answers: VecDeque<(u64, Answer)>,
    /// Datagrams for groups.
    pub(crate) announcements: VecDeque<Announcement>,
    /// Of the reload that is going on.
    reloaded: Vec<Touched>,
    notices: Notices,
    clock: Clock,
    now: Instant,
    wall: Wall,
}

impl Machine {
    /// A gateway with nothing connected.
    pub(crate) fn new(config: Config, table: Arc<Table>, seed: u64) -> Self {
        let clock = Clock::start();
        let notices = Notices::new(&config.listeners);
        let mut core = Core::new(config, table, seed);
        let mut secret = [0; 32];
        // Without it the seed alone is what tokens are made from, as everything else is.
        if getrandom::fill(&mut secret).is_ok() {
            core.add_secret(seed, &secret);
        }
        Machine {
            core,
            orders: VecDeque::new(),
            store: Store::default(),
            auth: Auth::default(),
            answers: VecDeque::new(),
            announcements: VecDeque::new(),
            reloaded: Vec::new(),
            notices,
            clock,
            now: clock.now(),
            wall: Clock::wall(),
        }
    }

    /// Begins a turn: everything until the next call happens at this moment.
    pub(crate) fn stamp(&mut self) {
        self.now = self.clock.now();
        self.wall = Clock::wall();
    }

    /// The moment of this turn.
    pub(crate) const fn now(&self) -> Instant {
        self.now
    }

    /// For the runtime's timers.
    pub(crate) const fn clock(&self) -> Clock {
        self.clock
    }

    /// One mutation, then drain.
    pub(crate) fn feed(&mut self, input: Input<'_>) {
        recorder::record(self.now, &input);
        self.core.handle(self.now, self.wall, input);
        self.drain();
        self.feed_reports();
        self.feed_verdicts();
    }

    /// Another configuration from now on; what it did, by client.
    pub(crate) fn reload(&mut self, reload: Reload) -> Vec<Touched> {
        self.notices = Notices::new(&reload.config.listeners);
        self.feed(Input::Reload(Box::new(reload)));
        std::mem::take(&mut self.reloaded)
    }

    /// Takes up what an earlier life has stored, before anything else happens.
    pub(crate) fn restore(&mut self, mut opened: Opened) -> Result<Stored, StoreError> {
        opened.restore(&mut self.core, self.now, self.wall)?;
        let directory = opened.directory().to_owned();
        let started = opened.start(None);
        let (disk, stored) = started.map_err(StoreError::at("has no thread", &directory))?;
        self.store = Store::Disk(Box::new(disk));
        self.drain();
        Ok(stored)
    }

    /// Tells the core what the store has done since it was last asked.
    pub(crate) fn feed_reports(&mut self) {
        while let Some(report) = self.store.poll_report() {
            let input = match report {
                Report::Committed(seq) => Input::Committed(seq),
                Report::Failed => Input::StoreFailed,
                Report::Fetched { session, page } => Input::Fetched { session, page },
            };
            recorder::record(self.now, &input);
            self.core.handle(self.now, self.wall, input);
            self.drain();
        }
    }

    /// Tells the core who clients are, as far as that was found out.
    pub(crate) fn feed_verdicts(&mut self) {
        while let Some((ticket, verdict)) = self.auth.poll_verdict() {
            let input = Input::Verdict { ticket, verdict };
            recorder::record(self.now, &input);
            self.core.handle(self.now, self.wall, input);
            self.drain();
        }
    }

    /// Lets the core act on deadlines that have passed. Returns the next one.
    pub(crate) fn feed_timeout(&mut self) -> Option<Instant> {
        if self.core.poll_timeout().is_some_and(|deadline| deadline <= self.now) {
            if self.core.sys_is_due(self.now)
                && let Some((now, at_most)) = memory::resident()
            {
                self.core.set_memory(now, at_most);
            }
            self.feed(Input::Timeout);
        }
        self.core.poll_timeout()
    }

    fn drain(&mut self) {
        while let Some(output) = self.core.poll_output() {
            let order = match output {
                Output::Write(conn) => Order::Write(conn),
                Output::Close(conn, reason) => Order::Close(conn, reason),
                Output::PauseReads(conn) => Order::Pause(conn),
                Output::ResumeReads(conn) => Order::Resume(conn),
                Output::Records { seq, batch } => {
                    self.store.append(seq, batch);
                    continue;
                }
                Output::Fetch(wanted) => {
                    self.store.fetch(wanted);
                    continue;
                }
                Output::Authenticate(request) => {
                    self.auth.ask(*request);
                    continue;
                }
                Output::Answer { ticket, answer } => {
                    self.answers.push_back((ticket, answer));
                    continue;
                }
                Output::Announce(announcement) => {
                    self.announcements.push_back(*announcement);
                    continue;
                }
                Output::Reloaded(touched) => {
                    self.reloaded = touched;
                    continue;
                }
                Output::Notice(notice) => {
                    self.notices.log(&notice);
                    continue;
                }
            };
            self.orders.push_back(order);
        }
    }
}
