//! What the shell does around the core, in the simulation: outputs carried out, batches stored, the
//! process killed and started again.

use std::net::SocketAddr;

use motegate_core::{Input, Output};
use motegate_message::{ConnectionId, ListenerId, Reason};

use super::Fault;
use super::cast::Client;
use super::ctx::{MAX_DELAY, MS, SEC};
use super::falsify;
use super::gateway;
use super::store::Done;
use super::world::{Phase, World};

/// What a client has not read that writes no more of it can be taken for it.
const UNREAD: usize = 2_048;

impl World {
    pub(super) fn crash(&mut self) {
        if self.rng.chance(250) {
            self.shut_down();
        }
        self.trace.line(self.now, || "---- crash".into());
        self.model.told_damaged += self.gateway.told_damaged();
        self.gateway.crash(&mut self.rng);
        self.model.crash(self.now);
        self.write_now.clear();
        self.commit_now.clear();
        self.sleepers.crash();
        for stream in &mut self.streams {
            stream.gateway_open = false;
            stream.downward_ended = true;
            stream.downward_at = stream.downward_at.max(self.now + self.rng.below(200 * MS));
        }
        let downtime = MAX_DELAY + MS + self.rng.below(5 * SEC);
        self.down_until = Some(self.now + downtime);
    }

    /// An orderly end: clients are told, what is uncommitted is stored, then the process goes.
    fn shut_down(&mut self) {
        self.trace.line(self.now, || "---- shutdown".into());
        self.gateway.handle(self.now, Input::Shutdown);
        self.pump();
        while self.gateway.store.due.is_some() {
            self.commit();
            if self.gateway.store.is_failing() && self.rng.chance(300) {
                return; // it has tried long enough
            }
        }
    }

    pub(super) fn restart(&mut self) {
        self.trace.line(self.now, || "---- restart".into());
        self.down_until = None;
        let result = self.gateway.restart(&mut self.rng, self.now);
        if let Err(text) = result {
            self.fail(text);
        }
        if self.phase > Phase::Active {
            // An observer hears of a restart by the silence behind Max-Age alone (RFC 7641 §3.3.1).
            let coap = self.clients.iter_mut().filter_map(|client| match client {
                Client::Coap(client) => Some(client),
                Client::Mqtt(_) | Client::Sn(_) | Client::Stream(_) => None,
            });
            coap.for_each(|client| client.heal(self.now));
        }
        self.pump();
    }

    pub(super) fn commit(&mut self) {
        let done = self.gateway.store.commit(&mut self.rng, self.now);
        let seq = if let Done::Committed(seq) = done { seq.0 } else { 0 };
        self.trace.event(self.now, "commit", 0, &seq.to_be_bytes());
        if self.fault == Some(Fault::AckBeforeCommit) {
            return; // was reported when the batch was handed over
        }
        match done {
            Done::Nothing => {}
            Done::Committed(seq) => {
                self.model.outage.is_over(self.now, self.steps);
                self.gateway.handle(self.now, Input::Committed(seq));
            }
            Done::Failed => {
                self.trace.line(self.now, || "---- the store fails".into());
                self.model.outage.begins();
                self.gateway.handle(self.now, Input::StoreFailed);
                if !self.crash_steps.is_empty() && self.rng.chance(250) {
                    self.crash_steps[0] = self.steps + self.rng.below(40);
                }
            }
        }
        // What was written can be read.
        self.pump();
    }

    /// Does what the core wants done, until it wants nothing more.
    pub(super) fn pump(&mut self) {
        loop {
            if std::mem::take(&mut self.crash_now) {
                self.crash();
            }
            let Some(output) = self.gateway.core().and_then(|core| core.poll_output()) else {
                self.datagrams();
                if let Some(conn) = self.write_now.pop() {
                    self.write(conn, false);
                } else if let Some(seq) = self.commit_now.pop() {
                    self.gateway.handle(self.now, Input::Committed(seq));
                } else if let Some((session, page)) = self.gateway.store.fetched(&mut self.rng) {
                    self.model.damaged |= page.is_damaged;
                    self.gateway.handle(self.now, Input::Fetched { session, page });
                } else {
                    return;
                }
                continue;
            };
            self.output(output);
        }
    }

    fn output(&mut self, output: Output) {
        match output {
            Output::Fetch(wanted) => self.gateway.store.fetch(wanted),
            Output::Write(conn) => {
                if self.stream_of(conn, "Write").is_some() {
                    self.write_now.push(conn);
                }
            }
            Output::Close(conn, reason) => {
                if self.stream_of(conn, "Close").is_none() {
                    return;
                }
                self.trace.event(self.now, "gateway closes", 0, reason.as_str().as_bytes());
                self.write(conn, true);
                if let Some(i) = self.stream_of(conn, "Close") {
                    let stream = &mut self.streams[i];
                    stream.gateway_open = false;
                    stream.downward_ended = true;
                    let (client, tick) = (stream.client, self.model.tick);
                    if stream.client_open
                        && let Client::Mqtt(client) = &mut self.clients[client]
                    {
                        client.ended(tick);
                    }
                }
                if self.rng.chance(500) {
                    let reason = Reason::ConnectionLost;
                    self.gateway.handle(self.now, Input::Closed { conn, reason });
                }
            }
            Output::PauseReads(conn) => {
                if let Some(i) = self.stream_of(conn, "PauseReads") {
                    self.streams[i].paused = true;
                    self.trace.event(self.now, "pause", self.streams[i].client, &[]);
                }
            }
            Output::ResumeReads(conn) => {
                if let Some(i) = self.stream_of(conn, "ResumeReads") {
                    self.streams[i].paused = false;
                    self.trace.event(self.now, "resume", self.streams[i].client, &[]);
                    self.streams[i].upward_at = self.now;
                }
            }
            Output::Records { seq, batch } => {
                for record in &batch {
                    self.trace.event(self.now, "record", batch.len(), &record.key);
                }
                let pushed = self.gateway.store.push(&mut self.rng, self.now, seq, batch);
                if let Err(text) = pushed {
                    self.fail(text);
                }
                self.batches += 1;
                self.crash_now = self.crash_batch == Some(self.batches);
                if self.fault == Some(Fault::AckBeforeCommit) {
                    self.commit_now.push(seq);
                    self.gateway.store.due = self.gateway.store.due.map(|at| at + 500 * MS);
                }
            }
            Output::Answer { .. } | Output::Announce(_) => {} // nobody asks
            Output::Authenticate(asked) => {
                self.fail(format!("nobody has a password, but {asked:?}"))
            }
            Output::Reloaded(touched) if touched.is_empty() => {}
            Output::Reloaded(touched) => self.fail(format!("nothing changed, but {touched:?}")),
            Output::Notice(notice) => {
                self.held_back += u64::from(notice.limit == Some("max_outbox_bytes"));
                self.trace.line(self.now, || format!("  {notice:?}"));
            }
        }
    }

    /// The stream that an output concerns; the gateway must not speak of one that is over.
    fn stream_of(&mut self, conn: ConnectionId, what: &str) -> Option<usize> {
        let found = self.streams.iter().position(|s| s.conn == conn && s.gateway_open);
        if found.is_none() {
            self.fail(format!("{what} for {conn:?}, which is closed"));
        }
        found
    }

    pub(super) fn write(&mut self, conn: ConnectionId, all: bool) {
        let Some(i) = self.streams.iter().position(|s| s.conn == conn && s.gateway_open) else {
            return;
        };
        let stream = &mut self.streams[i];
        let Some(core) = self.gateway.core() else { return };
        let outbox = core.outbox(conn);
        if outbox.len() > self.max_outbox + 64 * 1024 {
            let text = format!("{} bytes in an outbox", outbox.len());
            return self.fail(text);
        }
        let mut n = if all || self.rng.chance(800) {
            outbox.len()
        } else {
            self.rng.index(outbox.len() + 1)
        };
        if stream.bounded && !all {
            n = n.min(UNREAD.saturating_sub(stream.downward.len()));
        }
        if n > 0 {
            self.trace.event(self.now, "to mqtt", stream.client, &outbox[..n]);
            if stream.client_open {
                if stream.downward.is_empty() {
                    stream.downward_at = self.now + self.rng.range(MS, 30 * MS);
                }
                stream.downward.extend_from_slice(&outbox[..n]);
            }
            self.gateway.handle(self.now, Input::Written { conn, n });
        }
        let left = self.gateway.core().is_some_and(|core| !core.outbox(conn).is_empty());
        let stream = &mut self.streams[i];
        stream.unwritten = left;
        let stalled = stream.downward_at > self.now + SEC;
        let soon = if stalled { stream.downward_at } else { self.now };
        stream.write_at = soon + self.rng.range(MS, 300 * MS);
    }

    fn datagrams(&mut self) {
        let mut out: Vec<(ListenerId, SocketAddr, Vec<u8>)> = Vec::new();
        if let Some(core) = self.gateway.core() {
            for queue in core.datagrams() {
                out.extend(queue.iter().map(|(to, b)| (to.listener, to.addr, b.to_vec())));
                queue.clear();
            }
        }
        for (listener, addr, bytes) in out {
            let Some(client) = self.client_at(addr) else {
                return self.fail(format!("a datagram to {addr}, who never sent one"));
            };
            let what = if listener == gateway::SN { "to sn" } else { "to coap" };
            self.trace.event(self.now, what, client, &bytes);
            if listener == gateway::SN {
                let result = self.sleepers.downward(client, &bytes, &self.model);
                if let Err(text) = result {
                    self.fail(text);
                }
            }
            let lost = self.fault == Some(Fault::NotificationLost)
                && listener == gateway::COAP
                && falsify::is_forgotten(&bytes);
            if addr.port() == self.ports[client] && !lost {
                let to = (false, client, listener);
                self.link.send(&mut self.rng, self.now, to, &bytes);
            }
        }
    }
}
