//! The command line: what can be typed, and what the exit code says.
//!
//! Data goes to stdout, talk and logs to stderr.

mod answer;
mod bench;
mod check;
mod clients;
mod config;
mod demo;
mod dev;
mod discover;
mod explain;
mod fmt;
mod format;
mod help;
mod import;
mod init;
mod json;
mod layers;
mod link;
mod message;
mod observe;
mod overview;
mod pages;
mod passwd;
mod payload;
mod properties;
mod publish;
mod receivers;
mod reload;
mod reply;
mod resource;
mod run;
mod running;
mod schema;
mod status;
mod store;
mod subscribe;
mod talk;
mod test;
mod time;
mod tls;
mod topics;

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
    /// The command line makes no sense; clap's code, too.
    Usage = 2,
    /// The configuration is refused.
    Config = 3,
    /// The other side said no.
    Refused = 4,
    /// No such host, nothing listens, no way there, or the connection broke.
    Unreachable = 5,
    /// The other side breaks its protocol.
    Protocol = 6,
    /// Tests of the configuration fail.
    Tests = 7,
    /// No answer in time; mosquitto's code.
    TimedOut = 27,
}

/// Motegate: MQTT-SN, CoAP and MQTT devices meet on one broker.
///
/// Constrained devices speak MQTT-SN or CoAP, everything else speaks MQTT over TCP; a
/// topic published by one is received by all. Without a command it is `motegate dev`.
#[derive(Debug, Parser)]
#[command(
    name = "motegate",
    version,
    max_term_width = 80,
    disable_help_subcommand = true,
    help_template = overview::template(),
    after_help = "\
Try it:
  motegate                                            serve on the usual ports
  motegate sub -t 'site/#' -v                         in a second terminal
  motegate put coap://localhost/mqtt/site/door open   in a third
  motegate pub mqttsn://localhost -t site/door -m closed
  mosquitto_pub -t site/door -m ajar                  your usual tools work

Exit codes: 0 ok, 1 failed, 2 usage, 3 configuration, 4 refused,
5 unreachable, 6 protocol error, 7 tests failed, 27 timed out.
Data goes to stdout, talk and logs to stderr; MOTEGATE_LOG=debug (or any RUST_LOG filter) says more."
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    /// Color on stderr: auto, always or never
    #[arg(
        long,
        global = true,
        value_enum,
        value_name = "WHEN",
        default_value_t,
        hide_possible_values = true
    )]
    color: talk::Color,
}

#[derive(Debug, Subcommand)]
enum Command {
    Dev(dev::Dev),
    Run(run::Run),
    Init(init::Init),
    Check(check::Check),
    Test(test::Test),
    Explain(explain::Explain),
    Fmt(fmt::Fmt),
    Schema(schema::Schema),
    Config(config::Config),
    Import(import::Import),
    Passwd(passwd::Passwd),
    Reload(reload::Reload),
    Status(status::Status),
    Clients(clients::Clients),
    Topics(topics::Topics),
    Backup(store::Backup),
    Restore(store::Restore),
    Store(store::Store),
    Pub(publish::Pub),
    Sub(subscribe::Sub),
    Rr(reply::Rr),
    Get(resource::Get),
    Put(resource::Put),
    Post(resource::Post),
    Delete(resource::Delete),
    Observe(observe::Observe),
    Discover(discover::Discover),
    Ping(discover::Ping),
    Demo(demo::Demo),
    Bench(bench::Bench),
    Completions(pages::Completions),
    Man(pages::Man),
    Help(help::Help),
    /// Print the version
    Version,
}

/// Reads the command line, does what it says, and gives the exit code.
#[must_use]
pub fn main() -> ExitCode {
    let clock = Clock::start();
    install_panic_hook();
    // clap prints help and version on stdout (0) and usage errors on stderr (2), and exits.
    let cli = Cli::try_parse().unwrap_or_else(|error| without_guess(error).exit());
    let exit = match cli.command.unwrap_or_else(|| Command::Dev(dev::Dev::default())) {
        Command::Dev(dev) => dev.run(clock),
        Command::Run(run) => run.run(clock),
        Command::Check(check) => check.run(),
        Command::Test(test) => test.run(),
        Command::Explain(explain) => explain.run(),
        Command::Import(import) => import.run(),
        Command::Passwd(passwd) => passwd.run(),
        Command::Init(init) => init.run(),
        Command::Fmt(fmt) => fmt.run(),
        Command::Config(config) => config.run(),
        Command::Schema(schema) => schema.run(),
        Command::Reload(reload) => reload.run(),
        Command::Status(status) => status.run(),
        Command::Clients(clients) => clients.run(),
        Command::Topics(topics) => topics.run(),
        Command::Backup(backup) => backup.run(),
        Command::Restore(restore) => restore.run(),
        Command::Store(store) => store.run(),
        Command::Pub(publish) => publish.run(clock),
        Command::Sub(subscribe) => subscribe.run(clock),
        Command::Rr(request) => request.run(clock),
        Command::Get(get) => get.run(clock),
        Command::Put(put) => put.run(clock),
        Command::Post(post) => post.run(clock),
        Command::Delete(delete) => delete.run(clock),
        Command::Observe(observe) => observe.run(clock),
        Command::Discover(discover) => discover.run(clock),
        Command::Ping(ping) => ping.run(clock),
        Command::Bench(bench) => bench.run(clock),
        Command::Demo(demo) => demo.run(clock),
        Command::Completions(completions) => completions.run(),
        Command::Man(man) => man.run(),
        Command::Help(help) => help.run(),
        Command::Version => {
            println!("motegate {}", env!("CARGO_PKG_VERSION"));
            Exit::Ok
        }
    };
    ExitCode::from(exit as u8)
}

/// clap finds `bench` in `nosuch`: a command is suggested where two letters at most are other ones.
fn without_guess(mut error: clap::Error) -> clap::Error {
    use clap::error::{ContextKind, ContextValue};
    let Some(ContextValue::String(typed)) = error.get(ContextKind::InvalidSubcommand) else {
        return error;
    };
    let near = |known: &String| strsim::osa_distance(typed, known) <= 2;
    let guesses = match error.get(ContextKind::SuggestedSubcommand) {
        Some(ContextValue::String(guess)) => vec![guess.clone()],
        Some(ContextValue::Strings(guesses)) => guesses.clone(),
        _ => return error,
    };
    let kept: Vec<String> = guesses.into_iter().filter(near).collect();
    error.remove(ContextKind::SuggestedSubcommand);
    if !kept.is_empty() {
        error.insert(ContextKind::SuggestedSubcommand, ContextValue::Strings(kept));
    }
    error
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
    fn only_a_slip_is_put_right() {
        let said = |word: &str| {
            without_guess(Cli::try_parse_from(["motegate", word]).unwrap_err()).to_string()
        };
        for (word, meant) in [("statsu", "status"), ("chek", "check"), ("subs", "sub")] {
            assert!(said(word).contains(&format!("'{meant}'")), "{}", said(word));
        }
        for word in ["nosuch", "bridge", "xyzzy"] {
            assert!(!said(word).contains("similar"), "{}", said(word));
        }
    }

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_help_fits_80_columns_and_every_command_says_what_it_is() {
        let mut root = Cli::command();
        root.build();
        let mut open = vec![root];
        let mut seen = 0;
        while let Some(mut command) = open.pop() {
            seen += 1;
            for text in [command.render_help(), command.render_long_help()] {
                for line in text.to_string().lines() {
                    assert!(line.chars().count() <= 80, "{}: {line}", command.get_name());
                }
            }
            assert!(command.get_about().is_some(), "{} says nothing", command.get_name());
            open.extend(command.get_subcommands().cloned());
        }
        assert!(seen > 30, "{seen}");
    }
}
