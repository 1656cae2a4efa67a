//! `motegate test`: runs the tests that the configuration holds.

use std::fmt::Write as _;

use clap::{Args, ValueEnum};
use motegate_config::Resolved;
use serde::Serialize;

use super::layers::Options;
use super::pages::write;
use super::{Exit, fail, refuse};
use crate::selftest::{self, Coverage, Report, Verdict};

/// Run the tests of the configuration
///
/// Each test of the `tests` block has a gateway of its own, without sockets and with a clock that
/// stands: nothing is served, nothing is stored, and who may connect is not asked (`explain` says where
/// a listener lets nobody in). `check` runs them too. A failing test prints
/// what was expected and what came; the exit code is then 7.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  motegate test
  motegate test senml                    those whose name contains it
  motegate test --coverage               which rules no test hits
  motegate test -c base.yaml -c site.yaml -o json")]
pub(super) struct Test {
    /// Only the tests whose names contain this, whatever its case
    #[arg(value_name = "NAME")]
    name: Option<String>,
    #[command(flatten)]
    from: Options,
    /// Say how often each rule was hit, and which never were
    #[arg(long)]
    coverage: bool,
    /// Format: text or json
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t)]
    #[arg(hide_possible_values = true)]
    output: Format,
}

/// How it is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(super) enum Format {
    #[default]
    Text,
    Json,
}

/// The whole result, for JSON.
#[derive(Serialize)]
struct Told<'r> {
    passed: usize,
    failed: usize,
    tests: &'r [Verdict],
    #[serde(skip_serializing_if = "Option::is_none")]
    coverage: Option<&'r Coverage>,
}

impl Test {
    pub(super) fn run(self) -> Exit {
        let resolved = match self.from.layers().load() {
            Ok(resolved) => resolved,
            Err(findings) => return refuse(&findings),
        };
        let report = selftest::run(&resolved, self.name.as_deref());
        if let (Some(name), true) = (&self.name, report.verdicts.is_empty()) {
            return fail(Exit::Usage, &nothing_named(&resolved, name));
        }
        let written = match self.output {
            Format::Text => write(text(&report, self.coverage).as_bytes()),
            Format::Json => {
                let failed = report.failed().count();
                let told = Told {
                    passed: report.verdicts.len() - failed,
                    failed,
                    tests: &report.verdicts,
                    coverage: self.coverage.then_some(&report.coverage),
                };
                let text = serde_json::to_string_pretty(&told).unwrap_or_default();
                write(format!("{text}\n").as_bytes())
            }
        };
        if report.passed() { written } else { Exit::Tests }
    }
}

fn nothing_named(resolved: &Resolved, name: &str) -> String {
    let mut text = format!("no test has {name:?} in its name");
    for test in &resolved.tests {
        let _ = write!(text, "\n  {}", test.name);
    }
    text
}

fn text(report: &Report, coverage: bool) -> String {
    let mut text = String::new();
    for verdict in &report.verdicts {
        let _ = writeln!(text, "{verdict}");
    }
    let _ = writeln!(text, "{}.", report.summary());
    if coverage {
        text.push('\n');
        let _ = write!(text, "{}", report.coverage);
    }
    text
}
