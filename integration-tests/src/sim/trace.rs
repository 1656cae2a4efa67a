//! [`Trace`]: what happened in a run: always as a hash (two runs of one seed must agree), and as
//! lines where somebody wants to read them.

use std::collections::VecDeque;
use std::fmt::Write;

/// How much of a run is kept as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// Only the hash: the fast way.
    Hash,
    /// The last lines, for the report of a failure.
    Tail(usize),
    /// Printed as it happens.
    Print,
}

/// The record of one run.
#[derive(Debug)]
pub struct Trace {
    hash: u64,
    detail: Detail,
    lines: VecDeque<String>,
}

impl Trace {
    /// An empty record.
    #[must_use]
    pub fn new(detail: Detail) -> Self {
        Trace { hash: 0xcbf2_9ce4_8422_2325, detail, lines: VecDeque::new() }
    }

    /// Something happened at `now` (microseconds) that is made of bytes.
    pub fn event(&mut self, now: u64, what: &str, who: usize, bytes: &[u8]) {
        self.mix(now);
        self.mix(who as u64 ^ (what.len() as u64) << 32);
        for byte in what.bytes().chain(bytes.iter().copied()) {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        if self.detail != Detail::Hash {
            let mut line = String::new();
            for byte in bytes.iter().take(28) {
                let _ = write!(line, "{byte:02x}");
            }
            let text: String = bytes
                .iter()
                .map(|b| if b.is_ascii_graphic() { char::from(*b) } else { '·' })
                .take(72)
                .collect();
            self.push(now, format!("{what:<14} #{who} {:>4} B {line} {text}", bytes.len()));
        }
    }

    /// Something worth a line; `text` is only made when somebody reads it.
    pub fn line(&mut self, now: u64, text: impl FnOnce() -> String) {
        if self.detail != Detail::Hash {
            self.push(now, text());
        }
    }

    /// The hash of everything so far.
    #[must_use]
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// The lines kept.
    #[must_use]
    pub fn into_lines(self) -> Vec<String> {
        self.lines.into()
    }

    fn mix(&mut self, value: u64) {
        self.hash = (self.hash ^ value).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(23);
    }

    fn push(&mut self, now: u64, text: String) {
        let line = format!("{:>10.3} {text}", now as f64 / 1e6);
        match self.detail {
            Detail::Hash => {}
            Detail::Print => println!("{line}"),
            Detail::Tail(limit) => {
                if self.lines.len() >= limit {
                    self.lines.pop_front();
                }
                self.lines.push_back(line);
            }
        }
    }
}
