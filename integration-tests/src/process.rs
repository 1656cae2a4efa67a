//! A child process under a deadline.
//!
//! Its two outputs are read line by line on threads of their own; a test waits for a line or for
//! the end, never for a time. Whatever is still running when the value is dropped is killed. Every
//! failure shows all that was printed.
#![allow(clippy::disallowed_methods)] // a test harness has a clock of its own: real processes run in real time

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::{Duration, Instant};

/// The longest any single wait may take; generous, because the machine may be busy.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// Which output a line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

/// A running child.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    stdin: Option<ChildStdin>,
    events: Receiver<Event>,
    open_streams: usize,
    seen: Vec<(Stream, String)>,
    taken: usize,
    ended: bool,
    patience: Duration,
}

#[derive(Debug)]
enum Event {
    Line(Stream, String),
    End,
}

/// What a child left behind.
#[derive(Debug)]
pub struct Finished {
    /// How it ended.
    pub status: ExitStatus,
    /// Lines of standard output.
    pub stdout: Vec<String>,
    /// Lines of standard error.
    pub stderr: Vec<String>,
}

impl Process {
    /// Starts `command` with all three streams piped.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn start(mut command: Command) -> Process {
        let name = command.get_program().to_string_lossy().into_owned();
        let shown = format!("{command:?}");
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {shown}: {error}"));
        let (sender, events) = mpsc::channel();
        let out = child.stdout.take().expect("standard output was piped");
        let err = child.stderr.take().expect("standard error was piped");
        read_lines(Stream::Out, out, sender.clone());
        read_lines(Stream::Err, err, sender);
        let stdin = child.stdin.take();
        let seen = Vec::new();
        Process {
            name,
            child,
            stdin,
            events,
            open_streams: 2,
            seen,
            taken: 0,
            ended: false,
            patience: DEADLINE,
        }
    }

    /// The same with another deadline for every wait.
    #[must_use]
    pub fn patient(mut self, patience: Duration) -> Process {
        self.patience = patience;
        self
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Writes a line to its standard input.
    ///
    /// # Panics
    /// If it no longer reads.
    pub fn say(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().expect("standard input is open");
        writeln!(stdin, "{line}").unwrap_or_else(|error| panic!("{}: {error}", self.name));
    }

    /// The next line, not yet taken, for which `wanted` holds; those before it are passed over.
    ///
    /// # Panics
    /// If the child ends or the deadline passes first.
    pub fn wait_for(&mut self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + self.patience;
        loop {
            while let Some((_, line)) = self.seen.get(self.taken) {
                self.taken += 1;
                if wanted(line) {
                    return line.clone();
                }
            }
            if !self.read_more(deadline) {
                panic!("{}: no {what}\n{}", self.name, self.transcript());
            }
        }
    }

    /// The next line that holds `text`.
    ///
    /// # Panics
    /// As [`wait_for`](Process::wait_for).
    pub fn wait_for_text(&mut self, text: &str) -> String {
        self.wait_for(&format!("line with {text:?}"), |line| line.contains(text))
    }

    /// The next line, not yet taken; `None` if the child ends or the deadline passes first.
    pub fn next_line(&mut self, deadline: Instant) -> Option<String> {
        while self.taken == self.seen.len() {
            if !self.read_more(deadline) {
                return None;
            }
        }
        self.taken += 1;
        self.seen.get(self.taken - 1).map(|(_, line)| line.clone())
    }

    /// Whether a line that holds `text` comes in so short a time; what came is passed over. For a
    /// caller who does something and asks again.
    ///
    /// # Panics
    /// If the child ends.
    pub fn prints_within(&mut self, text: &str, time: Duration) -> bool {
        let deadline = Instant::now() + time;
        loop {
            while let Some((_, line)) = self.seen.get(self.taken) {
                self.taken += 1;
                if line.contains(text) {
                    return true;
                }
            }
            if !self.read_more(deadline) {
                assert!(self.open_streams > 0, "{} ended\n{}", self.name, self.transcript());
                return false;
            }
        }
    }

    /// Makes the lines that were passed over or taken count again.
    pub fn rewind(&mut self) {
        self.taken = 0;
    }

    /// Waits until the child has ended by itself.
    ///
    /// # Panics
    /// If it has not when the deadline passes.
    pub fn finish(mut self) -> Finished {
        self.stdin = None;
        let deadline = Instant::now() + self.patience;
        while self.open_streams > 0 {
            let was_open = self.open_streams;
            if !self.read_more(deadline) && was_open == self.open_streams {
                panic!("{} did not end\n{}", self.name, self.transcript());
            }
        }
        let status = self.child.wait().expect("the child is ours to wait for");
        self.ended = true;
        let of = |stream| {
            let lines = self.seen.iter().filter(|(from, _)| *from == stream);
            lines.map(|(_, line)| line.clone()).collect()
        };
        Finished { status, stdout: of(Stream::Out), stderr: of(Stream::Err) }
    }

    /// Waits for the end and insists on exit status 0; the lines of standard output.
    ///
    /// # Panics
    /// If it failed, or did not end.
    pub fn succeed(self) -> Vec<String> {
        let name = self.name.clone();
        let finished = self.finish();
        assert!(finished.status.success(), "{name} failed: {finished:#?}");
        finished.stdout
    }

    /// Sends a signal by name, such as `TERM`.
    ///
    /// # Panics
    /// If `kill` fails.
    pub fn signal(&self, name: &str) {
        let status =
            Command::new("kill").args([&format!("-{name}"), &self.id().to_string()]).status();
        assert!(status.is_ok_and(|status| status.success()), "kill -{name} {}", self.id());
    }

    /// All that was printed so far, for a message of failure.
    pub fn transcript(&self) -> String {
        let mut text = format!("--- {} printed ---\n", self.name);
        for (stream, line) in &self.seen {
            text.push_str(if *stream == Stream::Out { "  | " } else { "  ! " });
            text.push_str(line);
            text.push('\n');
        }
        text
    }

    /// Takes one event in; false when there is none before the deadline, or both streams have
    /// ended.
    fn read_more(&mut self, deadline: Instant) -> bool {
        if self.open_streams == 0 {
            return false;
        }
        let left = deadline.saturating_duration_since(Instant::now());
        match self.events.recv_timeout(left) {
            Ok(Event::Line(stream, line)) => self.seen.push((stream, line)),
            Ok(Event::End) => self.open_streams -= 1,
            Err(_) => return false,
        }
        true
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        // It may have ended by itself: then there is nothing to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            while let Ok(event) = self.events.recv_timeout(Duration::from_millis(200)) {
                if let Event::Line(stream, line) = event {
                    self.seen.push((stream, line));
                }
            }
            eprintln!("{}", self.transcript());
        }
    }
}

fn read_lines(stream: Stream, from: impl Read + Send + 'static, to: Sender<Event>) {
    std::thread::spawn(move || {
        let mut from = BufReader::new(from);
        let mut line = Vec::new();
        while from.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
            let text = String::from_utf8_lossy(&line).trim_end_matches(['\n', '\r']).to_owned();
            line.clear();
            if to.send(Event::Line(stream, text)).is_err() {
                return;
            }
        }
        // Nobody waits any more: nothing to tell.
        let _ = to.send(Event::End);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Process {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Process::start(command)
    }

    #[test]
    fn lines_of_both_streams_are_seen_and_the_end_too() {
        let mut process = shell("echo one; echo two >&2; read line; echo \"got $line\"; exit 3");
        process.wait_for_text("one");
        process.say("three");
        process.wait_for_text("got three");
        let finished = process.finish();
        assert_eq!(finished.status.code(), Some(3));
        assert_eq!(finished.stdout, ["one", "got three"]);
        assert_eq!(finished.stderr, ["two"]);
    }

    #[test]
    #[should_panic(expected = "no line with \"never\"")]
    fn a_line_that_never_comes_fails_at_the_end_of_the_child() {
        shell("echo something").wait_for_text("never");
    }
}
