//! `motegate check`: is this configuration good? And whom would it touch?

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use motegate_config::{Finding, Layers, Resolved};
use serde::Serialize;

use super::Exit;
use super::layers::From;
use super::message::Output;
use super::reload::{changes, lines, touched};
use super::running::{Failure, ask_at, count, named_socket, print, print_json};
use super::test::Format;
use crate::control::api::model::Status;
use crate::control::api::reload::Reloaded;
use crate::control::client::AskError;
use crate::control::socket::in_directory;
use crate::selftest::{self, Report, Verdict};

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
  motegate check - < site.yaml
  motegate check -o json                 for a program that reads it
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
    /// Format: text or json
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t)]
    #[arg(hide_possible_values = true)]
    output: Format,
}

/// What else is a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Deny {
    Warnings,
}

/// What came of it.
struct Judged {
    exit: Exit,
    resolved: Option<Resolved>,
    findings: Vec<Finding>,
    report: Option<Report>,
    /// What is said of it on stderr.
    said: String,
}

/// `-o json`.
#[derive(Serialize)]
struct Document<'a> {
    ok: bool,
    /// `config ok: 1 rule, 2 tests passed.`
    summary: Option<String>,
    rules: Option<usize>,
    listeners: Option<usize>,
    findings: &'a [Finding],
    /// `None`: none were run.
    tests: Option<Tests<'a>>,
    /// With --live: what a reload would change for whom.
    #[serde(skip_serializing_if = "Option::is_none")]
    live: Option<&'a Reloaded>,
}

#[derive(Serialize)]
struct Tests<'a> {
    run: usize,
    failed: Vec<&'a Verdict>,
}

impl Check {
    pub(super) fn run(self) -> Exit {
        let layers = match self.from.layers_or_stdin() {
            Ok(layers) => layers,
            Err(exit) => return exit,
        };
        let warnings = self.deny == Some(Deny::Warnings);
        let judged = Judged::of(&layers, warnings, !self.no_tests);
        if self.output == Format::Text {
            eprint!("{}", judged.said);
        }
        let live = match &judged.resolved {
            Some(resolved) if self.live && judged.exit == Exit::Ok => {
                Some(ask(&self.socket(resolved)))
            }
            _ => None,
        };
        if let Some(Err(failure)) = &live {
            return not_live(failure);
        }
        let live = live.and_then(Result::ok);
        match self.output {
            Format::Json => {
                let document = judged.document(live.as_ref().map(|(told, _)| told));
                print_json(&document, Output::Json);
            }
            Format::Text => match (judged.summary(), &live) {
                (Some(verdict), Some((told, devices))) => {
                    let (verdict, sentence) =
                        (verdict.trim_end_matches('.'), sentence(told, *devices));
                    print(&format!("{verdict}.   If reloaded now: {sentence}\n{}", lines(told)));
                }
                (Some(verdict), None) => print(&format!("{verdict}\n")),
                (None, _) => {}
            },
        }
        judged.exit
    }

    fn socket(&self, resolved: &Resolved) -> PathBuf {
        let named = self.control.clone().or_else(named_socket);
        named.unwrap_or_else(|| in_directory(&resolved.data_dir))
    }
}

/// Checks a configuration and runs its tests: the verdict on stdout, the rest on stderr.
pub(super) fn check(from: &From) -> Exit {
    let judged = Judged::of(&from.layers(), false, true);
    eprint!("{}", judged.said);
    if let Some(verdict) = judged.summary() {
        print(&format!("{verdict}\n"));
    }
    judged.exit
}

impl Judged {
    fn of(layers: &Layers, deny_warnings: bool, tests: bool) -> Judged {
        let resolved = match layers.load() {
            Ok(resolved) => resolved,
            Err(found) => {
                let (findings, said) = (found.list(), format!("{found}\n"));
                let (resolved, report) = (None, None);
                return Judged { exit: Exit::Config, resolved, findings, report, said };
            }
        };
        let mut said =
            resolved.warnings.iter().fold(String::new(), |said, warning| said + warning + "\n\n");
        let findings = resolved.warned.clone();
        if deny_warnings && !findings.is_empty() {
            said.push_str("motegate: refused for its warnings (--deny warnings)\n");
            let (resolved, report) = (Some(resolved), None);
            return Judged { exit: Exit::Config, resolved, findings, report, said };
        }
        let run = tests && !resolved.tests.is_empty();
        let report = run.then(|| selftest::run(&resolved, None));
        let mut exit = Exit::Ok;
        if let Some(report) = report.as_ref().filter(|report| !report.passed()) {
            exit = Exit::Tests;
            for verdict in report.failed() {
                let _ = writeln!(said, "{verdict}\n");
            }
            let _ = writeln!(said, "motegate: {} (motegate test shows all)", report.summary());
        }
        Judged { exit, resolved: Some(resolved), findings, report, said }
    }

    /// What is said of a good one.
    fn summary(&self) -> Option<String> {
        let resolved = self.resolved.as_ref().filter(|_| self.exit == Exit::Ok)?;
        let Some(report) = &self.report else { return Some(resolved.summary()) };
        let rules = count(resolved.rules as u64, "rule");
        Some(format!("config ok: {rules}, {}.", report.summary()))
    }

    fn document<'a>(&'a self, live: Option<&'a Reloaded>) -> Document<'a> {
        let resolved = self.resolved.as_ref();
        let listeners = |resolved: &Resolved| {
            let mut names: Vec<&str> = resolved.listeners.iter().map(|bind| &*bind.name).collect();
            names.dedup();
            names.len()
        };
        Document {
            ok: self.exit == Exit::Ok,
            summary: self.summary(),
            rules: resolved.map(|resolved| resolved.rules),
            listeners: resolved.map(listeners),
            findings: &self.findings,
            tests: self.report.as_ref().map(|report| Tests {
                run: report.verdicts.len(),
                failed: report.failed().collect(),
            }),
            live,
        }
    }
}

/// Asks the running gateway what a reload of its files would do, and how many devices it has; the
/// files need not be those that were checked here.
fn ask(socket: &Path) -> Result<(Reloaded, u64), Failure> {
    ask_at(socket, async |connection| {
        let told: Reloaded = connection.post("/reload", &[("dry_run", "true")]).await?;
        let status: Status = connection.get("/status", &[]).await?;
        Ok((told, status.clients.iter().map(|clients| clients.count).sum()))
    })
}

fn not_live(failure: &Failure) -> Exit {
    if let Failure::Ask(AskError::Refused(problem)) = failure
        && problem.status == 422
    {
        eprintln!("motegate: the files that the running gateway reads are not good:");
    }
    failure.said()
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
