//! [`supervise`]: what a gateway's foreground does while the worker works: it waits for signals,
//! for changed files and for requests from the control interface, stops the gateway, and has it
//! reload its configuration.
//!
//! The first SIGTERM or SIGINT stops gracefully, the second at once. SIGHUP reloads: the files are
//! read and checked as `motegate check` does, their tests included (mapping.md §2.18), then
//! [`Handle::reload`] changes over. A configuration with a mistake or a failing test changes nothing
//! and is told in the log and to whoever asked. At its start a gateway does not run tests.

use std::sync::Arc;

use motegate_config::{Findings, Layers};
use motegate_core::Touched;
use motegate_message::Wall;
use tokio::sync::{mpsc, oneshot};

use crate::clock::Clock;
use crate::file_watch::{FileWatch, Seen};
use crate::gateway::{Handle, STOP_TIMEOUT};
use crate::notices;
use crate::reload::ReloadError;
use crate::selftest::{self, Report};
use crate::setup::{self, Bind, Configured};
use crate::shutdown::{Ended, Signals};

/// Requests that wait; the next one waits on the asking side.
pub(crate) const REQUESTS: usize = 4;
/// Lines of the log that one reload may take.
const MAX_LOGGED: usize = 100;

/// Where a gateway's configuration comes from, to be read again.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) layers: Layers,
    /// What cannot change while it runs.
    pub(crate) fixed: setup::Fixed,
    /// Files whose changes are reloaded unasked.
    pub(crate) files: Option<Seen>,
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
    pub(crate) touched: Vec<Touched>,
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
    #[error("this gateway was started without a configuration file: there is nothing to reload")]
    NoFile,
}

/// What changes while a gateway runs, for whoever asks.
#[derive(Debug, Clone, Default)]
pub(crate) struct Standing {
    /// Where it listens now.
    pub(crate) listeners: Vec<Bind>,
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
}

/// Waits until the gateway has ended.
pub(crate) async fn supervise(
    mut handle: Handle,
    mut signals: Signals,
    source: Option<Source>,
) -> Ended {
    let mut requests = handle.take_requests();
    let mut watch = source.as_ref().and_then(watch_files);
    let mut asked = None;
    loop {
        match next(&mut handle, &mut signals, &mut watch, &mut requests).await {
            Woken::Ended => return if asked.is_some() { Ended::Stopped } else { Ended::Died },
            Woken::Signal(name) if asked.is_some() => {
                tracing::warn!(signal = name, "second signal: ending at once");
                return Ended::Forced;
            }
            Woken::Signal(name) => {
                tracing::info!(signal = name, "stopping");
                asked = Some(name);
                handle.request_stop(STOP_TIMEOUT);
            }
            Woken::Hangup => {
                let _ = reload(&mut handle, source.as_ref(), &mut watch, "SIGHUP").await;
            }
            Woken::Files => {
                let _ = reload(&mut handle, source.as_ref(), &mut watch, "changed files").await;
            }
            Woken::Asked(Request { dry_run: true, reply }) => {
                let _ = reply.send(preview(&handle, source.as_ref()).await);
            }
            Woken::Asked(Request { dry_run: false, reply }) => {
                let by = "control interface";
                let result = reload(&mut handle, source.as_ref(), &mut watch, by).await;
                let _ = reply.send(result);
            }
        }
    }
}

fn watch_files(source: &Source) -> Option<FileWatch> {
    let watch = FileWatch::new(source.files.clone()?);
    watch.inspect_err(|error| tracing::error!(%error, "files are not watched")).ok()
}

async fn next(
    handle: &mut Handle,
    signals: &mut Signals,
    watch: &mut Option<FileWatch>,
    requests: &mut Option<mpsc::Receiver<Request>>,
) -> Woken {
    let changed = async {
        match watch {
            Some(watch) => watch.changed().await,
            None => std::future::pending().await,
        }
    };
    let asked = async {
        match requests {
            Some(requests) => match requests.recv().await {
                Some(request) => request,
                None => std::future::pending().await,
            },
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = handle.ended() => Woken::Ended,
        _ = signals.terminate.recv() => Woken::Signal("SIGTERM"),
        _ = signals.interrupt.recv() => Woken::Signal("SIGINT"),
        _ = signals.hangup.recv() => Woken::Hangup,
        () = changed => Woken::Files,
        request = asked => Woken::Asked(request),
    }
}

/// Reads, checks and tests; this takes its time, and the worker serves on meanwhile.
fn read(source: Option<&Source>) -> Result<(Configured, Vec<&'static str>), Refused> {
    let source = source.ok_or(Refused::NoFile)?;
    let resolved = source.layers.load().map_err(Refused::Config)?;
    let report = selftest::run(&resolved, None);
    if !report.passed() {
        return Err(Refused::Tests(told(&report)));
    }
    let configured = Configured::from(resolved);
    let at_next_start = source.fixed.differences(&configured.fixed);
    Ok((configured, at_next_start))
}

/// Every test that fails, and how many.
fn told(report: &Report) -> String {
    let failed = report.failed().map(|verdict| format!("{verdict}\n\n"));
    failed.collect::<String>() + &report.summary()
}

async fn preview(handle: &Handle, source: Option<&Source>) -> Result<Reloaded, Refused> {
    let (configured, at_next_start) = read(source)?;
    let summary = configured.summary;
    let touched = handle.preview(configured.setup).await?;
    Ok(Reloaded { summary, touched, at_next_start })
}

async fn reload(
    handle: &mut Handle,
    source: Option<&Source>,
    watch: &mut Option<FileWatch>,
    asked_by: &str,
) -> Result<Reloaded, Refused> {
    let result = change(handle, source, watch.as_mut()).await;
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
    handle.note_reload(LastReload { at, result: told });
    result
}

async fn change(
    handle: &mut Handle,
    source: Option<&Source>,
    watch: Option<&mut FileWatch>,
) -> Result<Reloaded, Refused> {
    let (configured, at_next_start) = read(source)?;
    for warning in &configured.warnings {
        tracing::warn!("{warning}");
    }
    let touched = handle.reload(configured.setup).await?;
    if let Some(watch) = watch {
        watch.follow(&configured.files);
    }
    Ok(Reloaded { summary: configured.summary, touched, at_next_start })
}

fn log(reloaded: &Reloaded, asked_by: &str) {
    for Touched { protocol, client, change, .. } in reloaded.touched.iter().take(MAX_LOGGED) {
        tracing::info!(proto = notices::protocol(*protocol), client, "reload: {change}");
    }
    for key in &reloaded.at_next_start {
        tracing::warn!(key, "reload: this key counts from the next start");
    }
    let touched = reloaded.touched.len();
    tracing::info!(asked_by, changes = touched, "reloaded: {}", reloaded.summary);
}
