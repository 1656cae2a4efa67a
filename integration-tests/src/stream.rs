//! A stream of numbered lines into a publisher, and what of it a subscriber printed.
#![allow(clippy::disallowed_methods)] // a test harness has a clock of its own: real processes run in real time

use std::collections::HashSet;
use std::time::{Duration, Instant};

use crate::process::Process;

/// The longest that a feed goes on.
const DEADLINE: Duration = Duration::from_secs(60);
/// Between two lines: a stream and not one burst.
const PACE: Duration = Duration::from_millis(5);

/// Lines that were given to a publisher.
#[derive(Debug, Default)]
pub struct Feed {
    lines: Vec<String>,
}

impl Feed {
    /// All of them.
    pub fn lines(&self) -> &[String] {
        &self.lines
    }

    /// `count` more lines.
    pub fn more(&mut self, publisher: &mut Process, count: usize) {
        let end = self.lines.len() + count;
        while self.lines.len() < end {
            let line = format!("line {}", self.lines.len());
            publisher.say(&line);
            self.lines.push(line);
            std::thread::sleep(PACE);
        }
    }

    /// Line after line until it is so.
    ///
    /// # Panics
    /// If it never is.
    pub fn until(&mut self, publisher: &mut Process, done: impl Fn() -> bool) {
        let deadline = Instant::now() + DEADLINE;
        while !done() {
            assert!(Instant::now() < deadline, "fed {} lines", self.lines.len());
            self.more(publisher, 1);
        }
    }
}

/// The payloads that a subscriber prints (as [`MESSAGE`](crate::peer::MESSAGE)), up to the one
/// that is `end`.
pub fn until_end(subscriber: &mut Process) -> Vec<String> {
    let mut got = Vec::new();
    loop {
        let line = subscriber.wait_for("message", |line| line.starts_with("> "));
        let payload = line.splitn(5, ' ').nth(4).unwrap_or_default();
        if payload == "end" {
            return got;
        }
        got.push(payload.to_owned());
    }
}

/// What is wrong with `got` where each of `lines` should have come once and in order; empty: nothing.
pub fn wrong(got: &[String], lines: &[String]) -> String {
    let mut text = String::new();
    let mut say = |what: &str, which: Vec<&String>| {
        if !which.is_empty() {
            text.push_str(&format!("{what}: {which:?}\n"));
        }
    };
    let times = |line: &&String| got.iter().filter(|other| other == line).count();
    say("missing", lines.iter().filter(|line| times(line) == 0).collect());
    say("more than once", lines.iter().filter(|line| times(line) > 1).collect());
    let place = |line: &String| lines.iter().position(|other| other == line);
    let behind = got.windows(2).filter(|pair| place(&pair[0]) > place(&pair[1]));
    say("too late", behind.map(|pair| &pair[1]).collect());
    say("strange", got.iter().filter(|line| place(line).is_none()).collect());
    text
}

/// Without what came before.
pub fn first_times(all: &[String]) -> Vec<String> {
    let mut seen = HashSet::new();
    all.iter().filter(|line| seen.insert(line.as_str())).cloned().collect()
}
