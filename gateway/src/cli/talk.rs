//! What the client commands say beside their data, and how they end.
//!
//! Talk goes to stderr: one line of steps (`CONNECT ok · PUBLISH qos 0 → site/door`), warnings,
//! and errors with a line on what to try next. `NO_COLOR` and `--color` are obeyed.

use std::future::Future;
use std::io::IsTerminal as _;
use std::time::Duration;

use clap::ValueEnum;
use tokio::signal::unix::{SignalKind, signal};

use super::Exit;
use crate::client::Error;

/// `--color`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(super) enum Color {
    /// On a terminal, unless NO_COLOR is set
    #[default]
    Auto,
    /// Also into a file or pipe
    Always,
    /// Not at all
    Never,
}

impl Color {
    fn wanted(self) -> bool {
        let allowed = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        match self {
            Color::Auto => allowed && std::io::stderr().is_terminal(),
            Color::Always => true,
            Color::Never => false,
        }
    }
}

/// The voice of a command.
#[derive(Debug)]
pub(super) struct Talk {
    quiet: bool,
    color: bool,
    steps: Vec<String>,
}

impl Talk {
    pub(super) fn new(quiet: bool, color: Color) -> Self {
        Talk { quiet, color: color.wanted(), steps: Vec::new() }
    }

    /// Adds to the line of steps.
    pub(super) fn step(&mut self, text: impl Into<String>) {
        self.steps.push(text.into());
    }

    /// Says the steps so far.
    pub(super) fn say_steps(&mut self) {
        let steps = std::mem::take(&mut self.steps);
        if !steps.is_empty() {
            self.say(&steps.join(" · "));
        }
    }

    /// Says one line.
    pub(super) fn say(&self, text: &str) {
        if !self.quiet {
            eprintln!("{text}");
        }
    }

    /// Says what does not go as it should, but goes on.
    pub(super) fn warn(&mut self, text: &str) {
        self.say_steps();
        let mark = self.paint("33", "motegate:");
        self.say(&format!("{mark} {text}"));
    }

    /// The end: the exit code, after the words for it.
    pub(super) fn end(self, result: Result<(), Error>) -> Exit {
        self.end_with(result, Error::hint)
    }

    /// The same with hints that fit the options of a command that has others.
    pub(super) fn end_with(
        mut self,
        result: Result<(), Error>,
        hint: impl FnOnce(&Error) -> Option<&str>,
    ) -> Exit {
        self.say_steps();
        let Err(error) = result else { return Exit::Ok };
        let exit = Exit::of(&error);
        if !self.quiet && !matches!(error, Error::Unread) {
            eprintln!("{} {error}", self.paint("31", "motegate:"));
            if let Some(hint) = hint(&error) {
                eprintln!("  {} {hint}", self.paint("36", "try:"));
            }
        }
        exit
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.color { format!("\x1b[1;{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

impl Exit {
    /// What a client's failure means.
    fn of(error: &Error) -> Exit {
        match error {
            Error::Usage(_) => Exit::Usage,
            Error::NoSuchHost { .. } | Error::NothingListens { .. } | Error::Unreachable { .. } => {
                Exit::Unreachable
            }
            Error::Ended { .. } => Exit::Unreachable,
            Error::TimedOut { .. } => Exit::TimedOut,
            Error::Refused { .. } => Exit::Refused,
            Error::Protocol(_) | Error::NoProgress { .. } => Exit::Protocol,
            Error::Failed(_) | Error::File { .. } => Exit::Failed,
            Error::Unread => Exit::Ok,
        }
    }
}

/// Runs a client on this thread.
pub(super) fn drive(work: impl Future<Output = Result<(), Error>>) -> Result<(), Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Error::file("the runtime", error))?;
    runtime.block_on(work)
}

/// The work, or the end of the patience with it, or the user's (a signal, which is a good end).
pub(super) async fn bounded(
    patience: Option<Duration>,
    what: &str,
    work: impl Future<Output = Result<(), Error>>,
) -> Result<(), Error> {
    let limit = async {
        match patience {
            Some(patience) => tokio::time::sleep(patience).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        result = work => result,
        () = limit => {
            let patience = patience.unwrap_or_default().as_secs_f64();
            Err(Error::timed_out(format!("{what} within {patience} s")))
        }
        () = interrupted() => Ok(()),
    }
}

/// SIGINT or SIGTERM.
async fn interrupted() {
    let (Ok(mut int), Ok(mut term)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = int.recv() => {}
        _ = term.recv() => {}
    }
}

/// For clap: seconds, perhaps with a fraction.
pub(super) fn seconds(text: &str) -> Result<Duration, String> {
    let secs: f64 = text.parse().map_err(|_| "not a number of seconds".to_owned())?;
    Duration::try_from_secs_f64(secs)
        .ok()
        .filter(|time| !time.is_zero())
        .ok_or_else(|| "a number of seconds above 0".to_owned())
}
