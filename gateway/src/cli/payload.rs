//! Where the payload of `pub`, `rr`, `put` and `post` comes from: mosquitto's options.

use std::io::{BufRead as _, Read as _};
use std::path::PathBuf;

use clap::Args;
use tokio::sync::mpsc;

use crate::client::Error;

/// Lines that wait to be sent.
const LINES: usize = 64;

/// One of them.
#[derive(Debug, Args)]
#[group(id = "payload", multiple = false)]
pub(super) struct Payload {
    /// Send this text
    #[arg(short = 'm', long = "message", value_name = "TEXT", allow_hyphen_values = true)]
    message: Option<String>,
    /// Send the contents of a file; - is stdin
    #[arg(short = 'f', long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Send everything from stdin as one message
    #[arg(short = 's', long, alias = "stdin-file")]
    stdin: bool,
    /// Send an empty message
    #[arg(short = 'n', long = "null", alias = "null-message")]
    null: bool,
}

impl Payload {
    /// Whether one was chosen.
    pub(super) fn is_given(&self) -> bool {
        self.message.is_some() || self.file.is_some() || self.stdin || self.null
    }

    /// The bytes; nothing when none was chosen.
    pub(super) fn read(&self) -> Result<Vec<u8>, Error> {
        let from_stdin =
            self.stdin || self.file.as_ref().is_some_and(|file| file.as_os_str() == "-");
        if from_stdin {
            let mut bytes = Vec::new();
            let read = std::io::stdin().lock().read_to_end(&mut bytes);
            return read.map(|_| bytes).map_err(|error| Error::file("stdin", error));
        }
        if let Some(file) = &self.file {
            return std::fs::read(file).map_err(|error| Error::file(file.display(), error));
        }
        Ok(self.message.clone().unwrap_or_default().into_bytes())
    }
}

/// The lines of stdin as they come, without their ends; a thread reads them.
pub(super) fn stdin_lines() -> mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel(LINES);
    std::thread::spawn(move || {
        let mut stdin = std::io::stdin().lock();
        loop {
            let mut line = Vec::new();
            match stdin.read_until(b'\n', &mut line) {
                Ok(0) | Err(_) => return,
                Ok(_) => {
                    if line.last() == Some(&b'\n') {
                        line.pop();
                    }
                    if sender.blocking_send(line).is_err() {
                        return;
                    }
                }
            }
        }
    });
    receiver
}
