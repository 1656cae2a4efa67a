//! [`Stage`]: who is who, what is under way, and the lines that are printed.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io::{self, Write as _};
use std::time::Duration;

use motegate_timers::Instant;

use crate::client::{Error, random};
use crate::clock::Clock;

/// A device of the demo.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Actor {
    pub(super) protocol: &'static str,
    pub(super) name: &'static str,
}

/// How a message came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Straight,
    /// Kept by the gateway for a sleeper.
    Queued,
}

/// Messages of a topic that are remembered.
const REMEMBERED: usize = 8;

#[derive(Debug, Clone)]
struct Sent {
    from: Actor,
    value: Vec<u8>,
    at: Instant,
}

/// See the module. All devices share one thread.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) clock: Clock,
    start: Instant,
    /// The last messages of each topic.
    sent: RefCell<HashMap<String, VecDeque<Sent>>>,
    /// Deliveries, by the protocols they went from and to.
    counts: RefCell<BTreeMap<(&'static str, &'static str), u64>>,
    woken: Cell<u64>,
    seed: Cell<u64>,
}

impl Stage {
    pub(super) fn new(clock: Clock) -> Self {
        Stage {
            clock,
            start: clock.now(),
            sent: RefCell::default(),
            counts: RefCell::default(),
            woken: Cell::new(0),
            seed: Cell::new(random() | 1),
        }
    }

    /// A message leaves; the line is printed when it arrives.
    pub(super) fn sends(&self, from: Actor, topic: &str, value: &str) {
        let mut sent = self.sent.borrow_mut();
        let of_topic = sent.entry(topic.to_owned()).or_default();
        of_topic.truncate(REMEMBERED - 1);
        of_topic.push_front(Sent { from, value: value.into(), at: self.clock.now() });
    }

    /// A message arrived.
    pub(super) fn got(&self, to: Actor, topic: &str, value: &[u8], way: Way) -> Result<(), Error> {
        let now = self.clock.now();
        let sent = self.sent.borrow();
        // What somebody else publishes to our topics is shown, too.
        let found = sent.get(topic).and_then(|all| all.iter().find(|one| one.value == value));
        let (from, took) = match found {
            Some(sent) => (sent.from, Some(now.saturating_since(sent.at))),
            None => (Actor { protocol: "?", name: "someone" }, None),
        };
        *self.counts.borrow_mut().entry((from.protocol, to.protocol)).or_default() += 1;
        let note = match (took, way) {
            (Some(took), Way::Queued) => format!("  (waited {:.1} s)", took.as_secs_f64()),
            (Some(took), Way::Straight) => format!("  ({})", millis(took)),
            (None, _) => String::new(),
        };
        let value = String::from_utf8_lossy(value);
        self.line(&format!("{} → {}{topic} = {value}{note}", who(from), who(to)))
    }

    /// What a device does by itself.
    pub(super) fn does(&self, actor: Actor, what: &str) -> Result<(), Error> {
        self.line(&format!("{} {what}", who(actor)))
    }

    /// A sleeper is awake.
    pub(super) fn woke(&self, actor: Actor, waited: usize) -> Result<(), Error> {
        self.woken.set(self.woken.get() + 1);
        let what = match waited {
            0 => "woke up, nothing had waited".to_owned(),
            1 => "woke up, 1 message had waited:".to_owned(),
            _ => format!("woke up, {waited} messages had waited:"),
        };
        self.does(actor, &what)
    }

    /// The last lines.
    pub(super) fn close(&self) -> Result<(), Error> {
        let mut out = io::stdout().lock();
        let secs = self.clock.now().saturating_since(self.start).as_secs();
        let woken = match self.woken.get() {
            1 => "once".to_owned(),
            times => format!("{times} times"),
        };
        writeln!(out, "\n{secs} s, a sleeper woke up {woken}. Messages:")?;
        for ((from, to), count) in self.counts.borrow().iter() {
            writeln!(out, "  {from:<7} → {to:<7} {count:>4}")?;
        }
        Ok(())
    }

    /// A whole number below `below`.
    pub(super) fn random(&self, below: u64) -> u64 {
        let mut x = self.seed.get(); // xorshift64: for numbers that look alive
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        self.seed.set(x);
        x % below.max(1)
    }

    fn line(&self, text: &str) -> Result<(), Error> {
        let at = self.clock.now().saturating_since(self.start);
        let (secs, tenths) = (at.as_secs(), at.subsec_millis() / 100);
        writeln!(io::stdout().lock(), "{secs:>3}.{tenths}  {text}")?;
        Ok(())
    }
}

/// In columns.
fn who(actor: Actor) -> String {
    format!("{:<7} {:<11}", actor.protocol, actor.name)
}

fn millis(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}
