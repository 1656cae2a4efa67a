//! [`supervise`]: what a gateway's foreground does while the worker works: it waits for signals,
//! for changed files and for requests from the control interface, stops the gateway, and has it
//! reload its configuration.
//!
//! The first SIGTERM or SIGINT stops gracefully, the second at once, whatever else goes on: a
//! configuration is read on a thread of its own, one at a time, and a reload that is asked for
//! meanwhile follows when it is done. SIGHUP stops a gateway without files (`motegate dev`), as it
//! does any program whose terminal is closed; with files it reloads: the files are
//! read and checked as `motegate check` does, their tests included (mapping.md §2.18), then
//! [`Handle::reload`] changes over. A configuration with a mistake or a failing test changes nothing
//! and is told in the log and to whoever asked. At its start a gateway does not run tests.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use motegate_config::{Findings, Layers};
use motegate_core::Touched;
use motegate_message::{ListenerId, Wall};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::clock::Clock;
use crate::file_watch::{FileWatch, Seen};
use crate::gateway::{Handle, STOP_TIMEOUT};
use crate::notices;
use crate::reload::{Changes, ReloadError};
use crate::selftest::{self, Report};
use crate::setup::{self, Bind, Configured};
use crate::shutdown::{Ended, Signals};

/// Requests that wait; the next one waits on the asking side.
pub(crate) const REQUESTS: usize = 4;
/// A configuration that is read and tested for so long is worth a word.
const SLOW: Duration = Duration::from_secs(10);
/// Lines of the log that one reload may take.
const MAX_LOGGED: usize = 100;

/// Where a gateway's configuration comes from, to be read again.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) layers: Layers,
    /// What cannot change while it runs.
    pub(crate) fixed: setup::Fixed,
    /// Its files as they were read, if their changes are to be reloaded unasked.
    pub(crate) seen: Option<Seen>,
}

/// A request to reload, or to say what that would do.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) dry_run: bool,
    pub(crate) reply: oneshot::Sender<Result<Reloaded, Refused>>,
}

/// What a reload did, or would do.
#[derive(Debug)]
pub(crate) struct Reloaded {
    /// The configuration in a line.
    pub(crate) summary: String,
    pub(crate) changes: Changes,
    /// Keys that have changed in the files and count from the next start.
    pub(crate) at_next_start: Vec<&'static str>,
}

/// Why nothing was changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    #[error("the configuration has mistakes; nothing was changed\n\n{0}")]
    Config(Findings),
    #[error("tests of the configuration fail; nothing was changed\n\n{0}")]
    Tests(String),
    #[error("nothing was changed: {0}")]
    Reload(#[from] ReloadError),
    #[error("nothing was changed: the gateway is stopping")]
    Stopping,
    #[error("nothing was changed: reading the configuration failed, which is a bug; see the log")]
    Failed,
    #[error("this gateway was started without a configuration file: there is nothing to reload")]
    NoFile,
}

/// What changes while a gateway runs, for whoever asks.
#[derive(Debug, Clone, Default)]
pub(crate) struct Standing {
    /// Where it listens now.
    pub(crate) listeners: Vec<Bind>,
    /// Their ids.
    pub(crate) ids: Vec<ListenerId>,
    /// Of every listener that there was, by its id.
    pub(crate) names: Vec<Arc<str>>,
    /// Most stream connections.
    pub(crate) max_connections: usize,
    /// The last reload.
    pub(crate) last_reload: Option<LastReload>,
}

/// How the last reload went.
#[derive(Debug, Clone)]
pub(crate) struct LastReload {
    pub(crate) at: Wall,
    /// The configuration in a line.
    pub(crate) result: Result<String, String>,
}

/// What woke the supervisor.
enum Woken {
    Ended,
    Signal(&'static str),
    Hangup,
    Files,
    Asked(Request),
    Read(Box<Read>),
    /// The configuration is still being read.
    Slow,
}

/// Waits until the gateway has ended.
pub(crate) async fn supervise(handle: Handle, signals: Signals, source: Option<Source>) -> Ended {
    let mut handle = handle;
    let requests = handle.take_requests();
    let watch = source.as_ref().and_then(watch_files);
    let source = source.map(Arc::new);
    let (stopping, reading, again) = (false, None, None);
    Supervisor { handle, signals, source, watch, requests, stopping, reading, again }.run().await
}

fn watch_files(source: &Source) -> Option<FileWatch> {
    let watch = FileWatch::new(source.layers.clone(), source.seen.clone()?);
    watch.inspect_err(|error| tracing::error!(%error, "files are not watched")).ok()
}

struct Supervisor {
    handle: Handle,
    signals: Signals,
    source: Option<Arc<Source>>,
    watch: Option<FileWatch>,
    requests: Option<mpsc::Receiver<Request>>,
    /// The gateway was asked to stop.
    stopping: bool,
    reading: Option<Reading>,
    /// Who asked for a reload while one was under way, which may have read what was there before.
    again: Option<&'static str>,
}

/// A configuration that is being read.
struct Reading {
    purpose: Purpose,
    result: JoinHandle<Read>,
    /// When it has taken long; `None` once that was said.
    slow_at: Option<Instant>,
}

/// What is done with it.
enum Purpose {
    Reload(&'static str),
    Answer(Request),
}

/// A configuration that was read.
struct Read {
    result: Result<(Configured, Vec<&'static str>), Refused>,
    /// The files as they were just before.
    seen: Seen,
}

impl Supervisor {
    async fn run(mut self) -> Ended {
        loop {
            match self.next().await {
                Woken::Ended if self.stopping => return Ended::Stopped,
                Woken::Ended => return Ended::Died,
                Woken::Signal(name) if self.stopping => {
                    tracing::warn!(signal = name, "second signal: ending at once");
                    return Ended::Forced;
                }
                Woken::Signal(name) => {
                    tracing::info!(signal = name, "stopping");
                    self.stop();
                }
                // The terminal was closed, twice perhaps: by its program and by the system.
                Woken::Hangup if self.source.is_none() => {
                    if !self.stopping {
                        tracing::info!(signal = "SIGHUP", "stopping");
                        self.stop();
                    }
                }
                Woken::Hangup => self.reload("SIGHUP"),
                Woken::Files => self.reload("changed files"),
                Woken::Asked(request) if self.stopping => {
                    let _ = request.reply.send(Err(Refused::Stopping));
                }
                Woken::Asked(request) => self.begin(Purpose::Answer(request)),
                Woken::Read(read) => self.finish(*read).await,
                Woken::Slow => tracing::warn!(
                    "the configuration is still being read and tested: is one of its files on a \
                     file system that does not answer?"
                ),
            }
        }
    }

    /// Everything that may come, at any time: reading a configuration takes as long as its files
    /// and its tests do, and must not keep a signal waiting.
    async fn next(&mut self) -> Woken {
        let Supervisor { handle, signals, watch, requests, reading, stopping, .. } = self;
        // While one is answered, the next ones wait on the asking side.
        let requests = requests.as_mut().filter(|_| reading.is_none() || *stopping);
        let watch = watch.as_mut().filter(|_| !*stopping);
        let slow_at = reading.as_ref().and_then(|reading| reading.slow_at);
        tokio::select! {
            () = handle.ended() => Woken::Ended,
            _ = signals.terminate.recv() => Woken::Signal("SIGTERM"),
            _ = signals.interrupt.recv() => Woken::Signal("SIGINT"),
            _ = signals.hangup.recv() => Woken::Hangup,
            Some(()) = if_some(watch.map(FileWatch::changed)) => Woken::Files,
            Some(Some(request)) = if_some(requests.map(mpsc::Receiver::recv)) => {
                Woken::Asked(request)
            }
            Some(read) = if_some(reading.as_mut().map(|reading| &mut reading.result)) => {
                Woken::Read(Box::new(read.unwrap_or_else(|_| Read::nothing())))
            }
            Some(()) = if_some(slow_at.map(tokio::time::sleep_until)) => {
                if let Some(reading) = reading {
                    reading.slow_at = None;
                }
                Woken::Slow
            }
        }
    }

    fn stop(&mut self) {
        self.stopping = true;
        self.again = None;
        self.handle.request_stop(STOP_TIMEOUT);
        // Whatever it comes to, it comes too late.
        if let Some(Reading { purpose: Purpose::Answer(request), .. }) = self.reading.take() {
            let _ = request.reply.send(Err(Refused::Stopping));
        }
    }

    fn reload(&mut self, asked_by: &'static str) {
        if self.stopping {
            return;
        }
        match self.reading {
            Some(_) => self.again = Some(asked_by),
            None => self.begin(Purpose::Reload(asked_by)),
        }
    }

    fn begin(&mut self, purpose: Purpose) {
        let source = self.source.clone();
        let known = self.watch.as_ref().map(|watch| watch.files()).unwrap_or_default();
        self.reading = Some(Reading {
            purpose,
            result: tokio::task::spawn_blocking(move || read(source.as_deref(), known)),
            slow_at: Some(Instant::now() + SLOW),
        });
    }

    async fn finish(&mut self, read: Read) {
        let Some(Reading { purpose, .. }) = self.reading.take() else { return };
        match purpose {
            Purpose::Answer(Request { dry_run: true, reply }) => {
                let _ = reply.send(self.preview(read).await);
            }
            Purpose::Answer(Request { dry_run: false, reply }) => {
                let _ = reply.send(self.change_and_tell(read, "control interface").await);
            }
            Purpose::Reload(asked_by) => drop(self.change_and_tell(read, asked_by).await),
        }
        if let Some(asked_by) = self.again.take() {
            self.begin(Purpose::Reload(asked_by));
        }
    }

    async fn preview(&self, read: Read) -> Result<Reloaded, Refused> {
        let (configured, at_next_start) = read.result?;
        let summary = configured.summary;
        let changes = self.handle.preview(configured.setup).await?;
        Ok(Reloaded { summary, changes, at_next_start })
    }

    async fn change_and_tell(&mut self, read: Read, asked_by: &str) -> Result<Reloaded, Refused> {
        if let Some(watch) = &mut self.watch {
            watch.follow(read.seen);
        }
        let result = match read.result {
            Ok((configured, at_next_start)) => self.change(configured, at_next_start).await,
            Err(refused) => Err(refused),
        };
        let at = Clock::wall();
        let told = match &result {
            Ok(reloaded) => {
                log(reloaded, asked_by);
                Ok(reloaded.summary.clone())
            }
            Err(refused) => {
                tracing::error!(asked_by, reason = "config_reload", "{refused}");
                Err(refused.to_string())
            }
        };
        self.handle.note_reload(LastReload { at, result: told });
        result
    }

    async fn change(
        &mut self,
        configured: Configured,
        at_next_start: Vec<&'static str>,
    ) -> Result<Reloaded, Refused> {
        for warning in &configured.warnings {
            tracing::warn!("{warning}");
        }
        let changes = self.handle.reload(configured.setup).await?;
        Ok(Reloaded { summary: configured.summary, changes, at_next_start })
    }
}

/// Never ready where there is nothing to wait for.
async fn if_some<F: Future>(future: Option<F>) -> Option<F::Output> {
    match future {
        Some(future) => Some(future.await),
        None => std::future::pending().await,
    }
}

impl Read {
    /// The reader itself failed.
    fn nothing() -> Read {
        Read { result: Err(Refused::Failed), seen: Seen::default() }
    }
}

/// Reads, checks and tests, on a thread of its own. `known` are files that the last configuration
/// spoke of.
fn read(source: Option<&Source>, known: Vec<PathBuf>) -> Read {
    let Some(source) = source else {
        return Read { result: Err(Refused::NoFile), seen: Seen::default() };
    };
    let before = Seen::of(source.layers.paths().into_iter().chain(known));
    let resolved = match source.layers.load() {
        Ok(resolved) => resolved,
        Err(findings) => {
            let seen = before.of_these(&findings.files);
            return Read { result: Err(Refused::Config(findings)), seen };
        }
    };
    let seen = before.of_these(&resolved.files);
    let report = selftest::run(&resolved, None);
    if !report.passed() {
        return Read { result: Err(Refused::Tests(told(&report))), seen };
    }
    let configured = Configured::from(resolved);
    let at_next_start = source.fixed.differences(&configured.fixed);
    Read { result: Ok((configured, at_next_start)), seen }
}

/// Every test that fails, and how many.
fn told(report: &Report) -> String {
    let failed = report.failed().map(|verdict| format!("{verdict}\n\n"));
    failed.collect::<String>() + &report.summary()
}

fn log(reloaded: &Reloaded, asked_by: &str) {
    let Changes { listeners, touched } = &reloaded.changes;
    for change in listeners.iter().take(MAX_LOGGED) {
        tracing::info!("reload: {change}");
    }
    for Touched { protocol, client, change, .. } in touched.iter().take(MAX_LOGGED) {
        tracing::info!(proto = notices::protocol(*protocol), client, "reload: {change}");
    }
    for key in &reloaded.at_next_start {
        tracing::warn!(key, "reload: this key counts from the next start");
    }
    tracing::info!(asked_by, changes = touched.len(), "reloaded: {}", reloaded.summary);
}
