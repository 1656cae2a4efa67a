//! The running gateway that a command asks: where its control socket is, and what it means when it
//! does not answer.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use clap::Args;
use motegate_config::Layers;
use serde::Serialize;

use super::message::Output;
use super::{Exit, fail, refuse};
use crate::control::api::reload::TESTS_FAILED;
use crate::control::client::{AskError, Connection, converse};
use crate::control::socket::{answers, in_directory, running_dev, runtime_directory};
use crate::setup::DEFAULT_FILE;

/// Names the socket.
const VARIABLE: &str = "MOTEGATE_CONTROL";
/// Where the socket is unless a configuration says otherwise.
const DEFAULT_DIRECTORY: &str = "motegate-data";

/// What stands below the options of every command: examples, and how the socket is found.
pub(super) fn help(examples: &str) -> String {
    // A literal that begins with a broken line has lost its first indentation.
    format!("Examples:\n  {}\n\n{SEARCH}", examples.trim_start())
}

const SEARCH: &str = "\
Without --control (or $MOTEGATE_CONTROL) and -c it asks the gateway whose data
directory motegate.yaml names, the one in ./motegate-data, or this user's
`motegate dev`, whichever answers first.";

/// Why a conversation came to nothing.
#[derive(Debug)]
pub(super) enum Failure {
    /// The gateway, or the way to it.
    Ask(AskError),
    /// This machine.
    Here(io::Error),
}

impl Failure {
    /// Says so on stderr.
    pub(super) fn said(&self) -> Exit {
        match self {
            Failure::Ask(error) => said(error),
            Failure::Here(error) => fail(Exit::Failed, error),
        }
    }
}

/// Talks with the gateway at this socket.
pub(super) fn ask_at<T>(
    socket: &Path,
    talk: impl AsyncFnOnce(&mut Connection) -> Result<T, AskError>,
) -> Result<T, Failure> {
    let conversation = async {
        let mut connection = Connection::open(socket).await?;
        talk(&mut connection).await
    };
    converse(conversation).map_err(Failure::Here)?.map_err(Failure::Ask)
}

/// The socket that the environment names.
pub(super) fn named_socket() -> Option<PathBuf> {
    std::env::var_os(VARIABLE).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// Options of commands that ask a running gateway.
#[derive(Debug, Args)]
pub(super) struct Running {
    /// Ask the gateway of this configuration (its data_dir)
    #[arg(short, long = "config", value_name = "FILE", help_heading = "Gateway")]
    config: Vec<PathBuf>,
    /// Ask the gateway at this control socket
    #[arg(long, value_name = "PATH", help_heading = "Gateway")]
    control: Option<PathBuf>,
    /// Format: text, json or ndjson
    #[arg(
        short,
        long,
        value_enum,
        value_name = "FORMAT",
        default_value_t,
        hide_possible_values = true,
        help_heading = "Output"
    )]
    pub(super) output: Output,
}

impl Running {
    /// Finds the gateway and talks with it; failures are said on stderr.
    pub(super) fn ask(
        &self,
        talk: impl AsyncFnOnce(&mut Connection) -> Result<(), AskError>,
    ) -> Exit {
        let socket = match self.socket() {
            Ok(socket) => socket,
            Err(exit) => return exit,
        };
        match (ask_at(&socket, talk), self.config.first(), &self.control) {
            (Ok(()), ..) => Exit::Ok,
            // It was said where it is: what is left is that it does not run.
            (Err(Failure::Ask(error @ AskError::NoGateway(_))), Some(file), None) => {
                let file = file.display();
                let start = format!("start it: motegate run -c {file}");
                said_with(&error, Exit::Unreachable, &start)
            }
            (Err(Failure::Ask(error @ AskError::NoGateway(_))), _, Some(_)) => said_with(
                &error,
                Exit::Unreachable,
                "check the path of --control, or start the gateway that has it",
            ),
            (Err(failure), ..) => failure.said(),
        }
    }

    fn socket(&self) -> Result<PathBuf, Exit> {
        if let Some(path) = self.control.clone() {
            return Ok(path);
        }
        if !self.config.is_empty() {
            let layers = layers(&self.config);
            // What is wrong in a file is the gateway's to say; that it is not there is said here.
            if self.config.iter().any(|file| !file.exists())
                && let Err(findings) = layers.load()
            {
                return Err(refuse(&findings));
            }
            return Ok(in_directory(&layers.data_dir()));
        }
        if let Some(path) = named_socket() {
            return Ok(path);
        }
        self::search().map_err(|error| said(&error))
    }
}

fn layers(files: &[PathBuf]) -> Layers {
    Layers::new().files(files.iter().cloned()).environment(std::env::vars_os())
}

/// The first gateway that answers.
fn search() -> Result<PathBuf, AskError> {
    let mut looked = Vec::new();
    let file = Path::new(DEFAULT_FILE);
    if file.exists() {
        looked.push(in_directory(&layers(&[file.to_owned()]).data_dir()));
    }
    let default = in_directory(&Path::new(".").join(DEFAULT_DIRECTORY));
    if !looked.contains(&default) {
        looked.push(default);
    }
    if let Some(found) = looked.iter().find(|path| answers(path)) {
        return Ok(found.clone());
    }
    let mut running = running_dev();
    match (running.pop(), running.is_empty()) {
        (Some(only), true) => Ok(only),
        (Some(last), false) => {
            running.push(last);
            Err(AskError::Several(running))
        }
        (None, _) => {
            looked.push(runtime_directory());
            Err(AskError::NoGateway(looked))
        }
    }
}

/// Says why there is no answer.
fn said(error: &AskError) -> Exit {
    let (exit, hint) = match error {
        AskError::NoGateway(looked) if looked.len() == 1 => (
            Exit::Unreachable,
            "start it (`motegate run`), or name the socket of another with --control",
        ),
        AskError::NoGateway(_) => (
            Exit::Unreachable,
            "start one (`motegate dev`), or, if one runs as a file says that is not here, name that file with -c or its socket with --control",
        ),
        AskError::Several(_) => (Exit::Usage, "name one with --control"),
        AskError::Forbidden(_) => (Exit::Refused, "run this as the gateway's user"),
        AskError::Lost { .. } => (Exit::Unreachable, ""),
        AskError::TimedOut(_) => (Exit::TimedOut, ""),
        AskError::Refused(problem) => match problem.status {
            400 => (Exit::Usage, ""),
            422 if problem.code == TESTS_FAILED => (Exit::Tests, ""),
            422 => (Exit::Config, ""),
            503 => (Exit::Unreachable, ""),
            _ => (Exit::Failed, ""),
        },
        AskError::Strange { .. } => (Exit::Protocol, "is it of the same version?"),
    };
    said_with(error, exit, hint)
}

fn said_with(error: &AskError, exit: Exit, hint: &str) -> Exit {
    fail(exit, error);
    if !hint.is_empty() {
        eprintln!("  try: {hint}");
    }
    exit
}

/// Data on stdout. Whoever has closed it wants no more.
pub(super) fn print(text: &str) {
    let mut out = io::stdout();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// A value as `-o json` or, on one line, `-o ndjson` has it.
pub(super) fn print_json(value: &impl Serialize, output: Output) {
    let text = match output {
        Output::Ndjson => serde_json::to_string(value),
        Output::Json | Output::Text => serde_json::to_string_pretty(value),
    };
    print(&(text.unwrap_or_default() + "\n"));
}

/// A time in two units: `42 s`, `3 min 5 s`, `2 d 4 h`.
pub(super) fn span(millis: u64) -> String {
    let secs = millis / 1000;
    let two = |a: u64, unit: &str, b: u64, part: &str| match b {
        0 => format!("{a} {unit}"),
        _ => format!("{a} {unit} {b} {part}"),
    };
    match secs {
        0 => format!("{millis} ms"),
        1..60 => format!("{secs} s"),
        60..3_600 => two(secs / 60, "min", secs % 60, "s"),
        3_600..86_400 => two(secs / 3_600, "h", secs / 60 % 60, "min"),
        _ => two(secs / 86_400, "d", secs / 3_600 % 24, "h"),
    }
}

/// `1 client`, `2 clients`.
pub(super) fn count(number: u64, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// Text of others on a terminal: no control characters.
pub(super) fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// Rows under each other, columns as wide as their widest.
pub(super) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(&format!("{cell:<width$}  "));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_two_units() {
        let all = [0, 999, 42_000, 185_000, 3_600_000, 7_500_000, 187_200_000];
        let expected = ["0 ms", "999 ms", "42 s", "3 min 5 s", "1 h", "2 h 5 min", "2 d 4 h"];
        assert_eq!(all.map(span), expected);
    }

    #[test]
    fn columns_are_as_wide_as_their_widest() {
        let row = |cells: &[&str]| cells.iter().map(|cell| (*cell).to_owned()).collect();
        assert_eq!(table(&[row(&["a", "bb"]), row(&["ccc", "", "d"])]), "a    bb\nccc      d\n");
        assert_eq!(plain("a\x1b[31mb\n"), "a\u{fffd}[31mb\u{fffd}");
    }
}
