//! [`Host`]: the core under test, run as the shell would run it, at once: what it hands to the store
//! is committed when the run says so, and what it wants written is taken whole.

use std::collections::BTreeMap;
use std::sync::Arc;

use motegate_core::admin::{Answer, Query};
use motegate_core::{ClientFrom, Config, Core, Input, Listener, Output, Protocol, Sources};
use motegate_mapping::Table;
use motegate_message::journal::{MemoryStore, Saved};
use motegate_message::{ConnectionId, ListenerId, Reason, Record, Seq, TopicName, Wall};
use motegate_timers::Instant;

use super::Spoil;
use super::heard::Heard;
use super::reader;
use super::reference::Ms;
use super::wire::{Packet, Version};

/// 2026-01-01T00:00:00Z.
const START_OF_TIME: u64 = 1_767_225_600_000;

/// A connection as its client sees it.
#[derive(Debug)]
struct Line {
    id: ConnectionId,
    version: Version,
    max_packet: usize,
    buffer: Vec<u8>,
    packets: u64,
    aliases: BTreeMap<u16, String>,
    open: bool,
}

/// The core, its store, its connections.
#[derive(Debug)]
pub struct Host {
    core: Option<Core>,
    config: Config,
    table: Arc<Table>,
    /// Of this process.
    started: Ms,
    now: Ms,
    lives: u64,
    /// What a crash leaves.
    disk: MemoryStore,
    /// What reads see.
    file: MemoryStore,
    uncommitted: Vec<(Seq, Vec<Record>)>,
    lines: BTreeMap<u32, Line>,
    /// What was said and not yet looked at.
    pub heard: Heard,
    /// For whoever reads along.
    pub log: Vec<String>,
    /// Whether somebody does.
    pub verbose: bool,
    /// What no gateway may do.
    pub failure: Option<String>,
    /// What is said, or stored, is falsified so.
    pub fault: Option<Spoil>,
    spoilt: u32,
}

/// The one listener.
#[must_use]
pub fn listener() -> Listener {
    Listener {
        name: "mqtt".into(),
        protocol: Protocol::Mqtt,
        anonymous: true,
        sources: Sources::Any,
        realm: "mqtt".into(),
        tenant: "".into(),
        mount: "".into(),
        client_from: ClientFrom::Address,
        connection_required: false,
        client_id_from_identity: false,
        limits: None,
    }
}

impl Host {
    /// A gateway that starts for the first time.
    #[must_use]
    pub fn new(config: Config) -> Self {
        let table = Arc::new(Table::passthrough(""));
        Host {
            core: Some(Core::new(config.clone(), table.clone(), 1)),
            config,
            table,
            started: 0,
            now: 0,
            lives: 1,
            disk: MemoryStore::default(),
            file: MemoryStore::default(),
            uncommitted: Vec::new(),
            lines: BTreeMap::new(),
            heard: Heard::default(),
            log: Vec::new(),
            verbose: false,
            failure: None,
            fault: None,
            spoilt: 0,
        }
    }

    fn say(&mut self, text: impl FnOnce() -> String) {
        if self.verbose {
            let line = format!("{:>9} {}", self.now, text());
            self.log.push(line);
        }
    }

    /// A note for whoever reads along.
    pub fn note(&mut self, text: impl FnOnce() -> String) {
        self.say(text);
    }

    fn fail(&mut self, text: String) {
        self.failure.get_or_insert(text);
    }

    fn clocks(&self) -> (Instant, Wall) {
        let micros = (self.now - self.started) * 1000;
        (Instant::from_micros(micros), Wall::from_millis(START_OF_TIME + self.now))
    }

    fn handle(&mut self, input: Input<'_>) {
        let (instant, wall) = self.clocks();
        if let Some(core) = &mut self.core {
            core.handle(instant, wall, input);
        }
        self.drain();
    }

    /// Does what the core wants.
    fn drain(&mut self) {
        while let Some(output) = self.core.as_mut().and_then(Core::poll_output) {
            match output {
                Output::Write(conn) => self.write(conn),
                Output::Close(conn, reason) => {
                    self.write(conn);
                    self.say(|| format!("  closed {conn:?} {reason}"));
                    if let Some(n) = self.number(conn) {
                        self.heard.of(n).closed = true;
                        self.lines.remove(&n);
                    }
                }
                Output::Records { seq, batch } => {
                    self.file.apply(batch.clone());
                    self.uncommitted.push((seq, batch));
                }
                Output::Fetch(wanted) => {
                    let page = self.file.page(wanted);
                    let (instant, wall) = self.clocks();
                    let fetched = Input::Fetched { session: wanted.session, page };
                    if let Some(core) = &mut self.core {
                        core.handle(instant, wall, fetched);
                    }
                }
                Output::PauseReads(_) | Output::ResumeReads(_) => {}
                Output::Notice(notice) => self.say(|| format!("  {:?}", notice.kind)),
                other => self.fail(format!("nobody asked for {other:?}")),
            }
        }
    }

    fn number(&self, conn: ConnectionId) -> Option<u32> {
        self.lines.iter().find(|(_, line)| line.id == conn).map(|(n, _)| *n)
    }

    fn write(&mut self, conn: ConnectionId) {
        let Some(core) = &self.core else { return };
        let bytes = core.outbox(conn).to_vec();
        let Some(n) = self.number(conn) else {
            return self.fail(format!("it writes to {conn:?}, which is over"));
        };
        if let Some(line) = self.lines.get_mut(&n) {
            line.buffer.extend_from_slice(&bytes);
        }
        self.read(n);
        let (instant, wall) = self.clocks();
        if let Some(core) = &mut self.core {
            core.handle(instant, wall, Input::Written { conn, n: bytes.len() });
        }
    }

    /// The client reads what came.
    fn read(&mut self, n: u32) {
        while let Some(line) = self.lines.get_mut(&n) {
            let (packet, size) = match reader::decode(line.version, &mut line.buffer) {
                Ok(Some(read)) => read,
                Ok(None) => return,
                Err(text) => return self.fail(format!("connection {n}: {text}")),
            };
            let (place, max) = (line.packets, line.max_packet);
            line.packets += 1;
            let packet = match packet {
                Packet::Publish(mut p) => {
                    if let Some(fault) = self.fault {
                        fault.said(&mut p, &mut self.spoilt);
                    }
                    if let Some(alias) = p.alias.take() {
                        if p.topic.is_empty() {
                            p.topic = line.aliases.get(&alias).cloned().unwrap_or_default();
                        } else {
                            line.aliases.insert(alias, p.topic.clone());
                        }
                    }
                    Packet::Publish(p)
                }
                other => other,
            };
            self.say(|| format!("  -> {n}: {packet:?}"));
            if size > max {
                self.fail(format!("connection {n}: {size} bytes, more than {max}: {packet:?}"));
            }
            self.heard.push(n, place, packet);
        }
    }

    /// A client connects.
    pub fn open(&mut self, n: u32, version: Version, max_packet: usize) {
        let id = ConnectionId::new(n % 1024, n / 1024 + 1);
        let (buffer, aliases) = (Vec::new(), BTreeMap::new());
        let line = Line { id, version, max_packet, buffer, packets: 0, aliases, open: true };
        self.lines.insert(n, line);
        let since = self.clocks().0;
        let input = Input::Opened {
            conn: id,
            listener: ListenerId(0),
            peer: None,
            identity: None,
            host: None,
            since,
        };
        self.handle(input);
    }

    /// A client sends, in one piece or several.
    pub fn send(&mut self, n: u32, bytes: &[u8], cut: usize) {
        let (head, tail) = bytes.split_at(cut.min(bytes.len()));
        for chunk in [head, tail].into_iter().filter(|chunk| !chunk.is_empty()) {
            let Some(conn) = self.lines.get(&n).filter(|line| line.open).map(|line| line.id) else {
                return;
            };
            self.handle(Input::Bytes { conn, chunk });
        }
    }

    /// A transport is gone.
    pub fn lose(&mut self, n: u32) {
        if let Some(line) = self.lines.remove(&n) {
            let reason = Reason::ConnectionLost;
            self.handle(Input::Closed { conn: line.id, reason });
        }
    }

    /// What was handed over is stored, and the core is told.
    pub fn commit(&mut self) {
        while !self.uncommitted.is_empty() {
            let last = self.uncommitted.last().map(|(seq, _)| *seq);
            for (_, batch) in std::mem::take(&mut self.uncommitted) {
                self.disk.apply(batch);
            }
            if let Some(seq) = last {
                self.handle(Input::Committed(seq));
            }
        }
    }

    /// When the core wants to be told of the time.
    #[must_use]
    pub fn next_at(&self) -> Ms {
        let at = self.core.as_ref().and_then(Core::poll_timeout);
        at.map_or(Ms::MAX, |at| self.started + at.as_micros().div_ceil(1000))
    }

    /// Time has passed; the core is told when it wants to be.
    pub fn advance(&mut self, now: Ms) {
        self.now = now;
        for _ in 0..1_000 {
            if self.next_at() > now {
                return;
            }
            self.handle(Input::Timeout);
        }
        self.fail("it asks for the same moment for ever".into());
    }

    /// The process dies; what was not committed is lost, and what it said last with it.
    pub fn crash(&mut self) {
        self.core = None;
        self.uncommitted.clear();
        if self.fault.is_some_and(|fault| fault.crashed(&mut self.disk)) {
            self.say(|| "the store forgets a shared message".into());
        }
        self.file = self.disk.clone();
        self.lines.clear();
        self.heard = Heard::default();
    }

    /// A new process.
    pub fn restart(&mut self, now: Ms) {
        (self.now, self.started) = (now, now.saturating_sub(self.lives * 17));
        self.lives += 1;
        let (instant, wall) = self.clocks();
        let mut core = Core::new(self.config.clone(), self.table.clone(), self.lives);
        let damaged = core.restore(instant, wall, &mut self.disk);
        self.core = Some(core);
        if damaged > 0 {
            self.fail(format!("{damaged} records called damaged"));
        }
        self.drain();
        self.advance(now);
    }

    fn ask(&mut self, query: Query) -> Option<Answer> {
        let (instant, wall) = self.clocks();
        let core = self.core.as_mut()?;
        core.handle(instant, wall, Input::Admin { ticket: 1, query });
        let mut told = None;
        while let Some(output) = core.poll_output() {
            if let Output::Answer { answer, .. } = output {
                told = Some(answer);
            }
        }
        told
    }

    /// Sessions, subscriptions and retained messages as the core counts them.
    pub fn counts(&mut self) -> Option<(usize, usize, usize)> {
        match self.ask(Query::Status)? {
            Answer::Status(s) => Some((s.sessions, s.subscriptions, s.retained.0)),
            _ => None,
        }
    }

    /// What it retains under a topic.
    pub fn retained(&mut self, topic: &str) -> Option<Vec<u8>> {
        let topic = TopicName::new(topic).ok()?;
        match self.ask(Query::Retained { topic })? {
            Answer::Retained(found) => found.map(|(message, _)| message.payload.to_vec()),
            _ => None,
        }
    }
}
