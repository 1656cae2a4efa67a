//! The command line: what can be typed, and what the exit code says.
//!
//! Data goes to stdout, talk and logs to stderr.

mod check;
mod dev;
mod run;

use std::fmt::Display;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::clock::Clock;
use crate::recorder::install_panic_hook;

/// What the program's exit code means; the same for every command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Exit {
    /// Done.
    Ok = 0,
    /// It failed; stderr says why.
    Failed = 1,
    // 2 is clap's: usage.
    /// The configuration is refused.
    Config = 3,
}

/// Motegate: MQTT-SN, CoAP and MQTT devices meet on one broker.
///
/// Constrained devices speak MQTT-SN or CoAP over UDP, everything else speaks MQTT over TCP; a
/// topic published by one is received by all. Without a command it is `motegate dev`.
#[derive(Debug, Parser)]
#[command(
    name = "motegate",
    version,
    max_term_width = 80,
    after_help = "\
Try it:
  motegate                                      serve on the usual ports
  mosquitto_sub -t 'site/#' -v                  in a second terminal
  mosquitto_pub -t site/door -m open            in a third

Exit codes: 0 ok, 1 failed, 2 usage, 3 configuration.
Logs go to stderr; MOTEGATE_LOG=debug (or any RUST_LOG filter) says more."
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    Dev(dev::Dev),
    Run(run::Run),
    Check(check::Check),
    /// Print the version
    Version,
}

/// Reads the command line, does what it says, and gives the exit code.
#[must_use]
pub fn main() -> ExitCode {
    let clock = Clock::start();
    install_panic_hook();
    // clap prints help and version on stdout (0) and usage errors on stderr (2), and exits.
    let cli = Cli::parse();
    let exit = match cli.command.unwrap_or_else(|| Command::Dev(dev::Dev::default())) {
        Command::Dev(dev) => dev.run(clock),
        Command::Run(run) => run.run(clock),
        Command::Check(check) => check.run(),
        Command::Version => {
            println!("motegate {}", env!("CARGO_PKG_VERSION"));
            Exit::Ok
        }
    };
    ExitCode::from(exit as u8)
}

/// Says on stderr why a command failed.
fn fail(exit: Exit, error: &impl Display) -> Exit {
    eprintln!("motegate: {error}");
    exit
}

/// Says on stderr what is wrong with a configuration.
fn refuse(findings: &impl Display) -> Exit {
    eprintln!("{findings}");
    Exit::Config
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn help_fits_80_columns() {
        let mut command = Cli::command();
        command.build();
        let names: Vec<_> = command.get_subcommands().map(|c| c.get_name().to_owned()).collect();
        let mut texts = vec![command.render_long_help().to_string()];
        for name in names {
            let sub = command.find_subcommand_mut(&name).unwrap();
            texts.push(sub.render_long_help().to_string());
        }
        for line in texts.iter().flat_map(|text| text.lines()) {
            assert!(line.chars().count() <= 80, "{line}");
        }
    }
}
