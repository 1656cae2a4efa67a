//! `motegate check`: is this configuration good? And whom would it touch?

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use motegate_config::Resolved;

use super::layers::From;
use super::reload::{changes, lines, touched};
use super::running::{Failure, ask_at, count, named_socket, print};
use super::{Exit, refuse};
use crate::control::api::model::Status;
use crate::control::api::reload::Reloaded;
use crate::control::client::AskError;
use crate::control::socket::in_directory;
use crate::selftest;

/// Check a configuration without serving
///
/// Prints one line for a good one. Otherwise it prints every fault with its place and its remedy,
/// and the exit code is 3. The tests that it holds are run as `motegate test` does; if one fails,
/// the exit code is 7. With --live it then asks the running gateway whom a reload would touch.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  motegate check
  motegate check site.yaml
  motegate check -c base.yaml -c site.yaml --deny warnings
  motegate check --live                  and whom a reload would touch
  motegate help E0312                    what a code means")]
pub(super) struct Check {
    #[command(flatten)]
    from: From,
    /// Treat as faults: warnings
    #[arg(long, value_name = "WHAT", value_enum, hide_possible_values = true)]
    deny: Option<Deny>,
    /// Do not run the tests that it holds
    #[arg(long)]
    no_tests: bool,
    /// Ask the running gateway what a reload would change for whom
    #[arg(long)]
    live: bool,
    /// Ask the gateway at this control socket; default: in data_dir
    #[arg(long, value_name = "PATH", requires = "live")]
    control: Option<PathBuf>,
}

/// What else is a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Deny {
    Warnings,
}

impl Check {
    pub(super) fn run(self) -> Exit {
        let warnings = self.deny == Some(Deny::Warnings);
        match checked(&self.from, warnings, !self.no_tests) {
            Ok((resolved, verdict)) if self.live => live(&self.socket(&resolved), &verdict),
            Ok((_, verdict)) => good(&verdict),
            Err(exit) => exit,
        }
    }

    fn socket(&self, resolved: &Resolved) -> PathBuf {
        let named = self.control.clone().or_else(named_socket);
        named.unwrap_or_else(|| in_directory(&resolved.data_dir))
    }
}

/// Checks a configuration and runs its tests: the verdict on stdout, the rest on stderr.
pub(super) fn check(from: &From) -> Exit {
    match checked(from, false, true) {
        Ok((_, verdict)) => good(&verdict),
        Err(exit) => exit,
    }
}

fn good(verdict: &str) -> Exit {
    print(&format!("{verdict}\n"));
    Exit::Ok
}

/// A good configuration and what is said of it; warnings and faults are said on stderr.
fn checked(from: &From, deny_warnings: bool, tests: bool) -> Result<(Resolved, String), Exit> {
    let resolved = from.layers().load().map_err(|findings| refuse(&findings))?;
    for warning in &resolved.warnings {
        eprintln!("{warning}\n");
    }
    if deny_warnings && !resolved.warnings.is_empty() {
        eprintln!("motegate: refused for its warnings (--deny warnings)");
        return Err(Exit::Config);
    }
    let verdict = match tests && !resolved.tests.is_empty() {
        true => test(&resolved)?,
        false => resolved.summary(),
    };
    Ok((resolved, verdict))
}

/// Runs the tests that it holds.
fn test(resolved: &Resolved) -> Result<String, Exit> {
    let report = selftest::run(resolved, None);
    for verdict in report.failed() {
        eprintln!("{verdict}\n");
    }
    if !report.passed() {
        eprintln!("motegate: {} (motegate test shows all)", report.summary());
        return Err(Exit::Tests);
    }
    let rules = count(resolved.rules as u64, "rule");
    Ok(format!("config ok: {rules}, {}.", report.summary()))
}

/// Asks the running gateway what a reload of its files would do; they need not be those that were
/// checked here.
fn live(socket: &Path, verdict: &str) -> Exit {
    let asked = ask_at(socket, async |connection| {
        let told: Reloaded = connection.post("/reload", &[("dry_run", "true")]).await?;
        let status: Status = connection.get("/status", &[]).await?;
        Ok((told, status))
    });
    match asked {
        Ok((told, status)) => {
            let devices = status.clients.iter().map(|clients| clients.count).sum();
            let verdict = verdict.trim_end_matches('.');
            let sentence = sentence(&told, devices);
            print(&format!("{verdict}.   If reloaded now: {sentence}\n{}", lines(&told)));
            Exit::Ok
        }
        Err(failure) => {
            if let Failure::Ask(AskError::Refused(problem)) = &failure
                && problem.status == 422
            {
                eprintln!("motegate: the files that the running gateway reads are not good:");
            }
            failure.said()
        }
    }
}

/// `2 changes touch 3 of 57 devices`.
fn sentence(told: &Reloaded, devices: u64) -> String {
    let touched = touched(told);
    let devices = count(devices.max(touched), "device");
    match changes(told).len() {
        0 => format!("none of {devices} is touched"),
        1 => format!("1 change touches {touched} of {devices}"),
        changes => format!("{changes} changes touch {touched} of {devices}"),
    }
}
