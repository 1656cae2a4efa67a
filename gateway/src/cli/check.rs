//! `motegate check`: is this configuration good?

use clap::{Args, ValueEnum};
use motegate_config::Resolved;

use super::layers::From;
use super::{Exit, refuse};
use crate::selftest;

/// Check a configuration without serving
///
/// Prints one line for a good one. Otherwise it prints every fault with its place and its remedy,
/// and the exit code is 3. The tests that it holds are run as `motegate test` does; if one fails,
/// the exit code is 7.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  motegate check
  motegate check site.yaml
  motegate check -c base.yaml -c site.yaml --deny warnings
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
}

/// What else is a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Deny {
    Warnings,
}

impl Check {
    pub(super) fn run(self) -> Exit {
        check(&self.from, self.deny == Some(Deny::Warnings), !self.no_tests)
    }
}

/// Checks a configuration: the verdict on stdout, warnings and faults on stderr.
pub(super) fn check(from: &From, deny_warnings: bool, tests: bool) -> Exit {
    match from.layers().load() {
        Ok(resolved) => {
            for warning in &resolved.warnings {
                eprintln!("{warning}\n");
            }
            if deny_warnings && !resolved.warnings.is_empty() {
                eprintln!("motegate: refused for its warnings (--deny warnings)");
                return Exit::Config;
            }
            if tests && !resolved.tests.is_empty() {
                return test(&resolved);
            }
            println!("{}", resolved.summary());
            Exit::Ok
        }
        Err(findings) => refuse(&findings),
    }
}

/// Runs the tests that it holds.
fn test(resolved: &Resolved) -> Exit {
    let report = selftest::run(resolved, None);
    for verdict in report.failed() {
        eprintln!("{verdict}\n");
    }
    if !report.passed() {
        eprintln!("motegate: {} (motegate test shows all)", report.summary());
        return Exit::Tests;
    }
    let rules = resolved.rules;
    let plural = if rules == 1 { "" } else { "s" };
    println!("config ok: {rules} rule{plural}, {}.", report.summary());
    Exit::Ok
}
