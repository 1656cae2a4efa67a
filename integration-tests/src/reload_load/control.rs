//! The one who changes the configuration of a gateway under load, and looks what became of it.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::file::{self, MISTAKES};
use super::world::Shared;
use crate::gateway::{Gateway, binary};

/// How often a configuration is changed.
const EVERY: Duration = Duration::from_secs(1);
/// How long a change may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(10);

/// Who asks the gateway to reload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// SIGHUP and `motegate reload` in turn.
    Asking,
    /// The gateway itself: `run --watch`.
    Watching,
}

/// What the changes came to.
#[derive(Debug, Default)]
pub struct Told {
    /// Good ones that hold.
    pub applied: u32,
    /// Bad ones that were refused, and told as such.
    pub refused: u32,
    /// Times that the moving rule's observer has followed it.
    pub followed: u32,
    /// Good ones after which the renamed client must register anew.
    pub renames: u64,
    /// What went wrong.
    pub faults: Vec<String>,
}

/// Starts a gateway with the first good version.
///
/// # Panics
/// If it does not come up.
#[must_use]
pub fn start(by: By) -> (Gateway, PathBuf) {
    let arguments: &[&str] = if by == By::Watching { &["run", "--watch"] } else { &["run"] };
    let gateway = Gateway::of_file(&binary(), arguments, &file::text(0, None));
    let file = gateway.file().expect("it was started with one");
    (gateway, file)
}

/// Changes the configuration every second for so long.
pub fn run(pid: u32, file: &Path, by: By, shared: &Shared, time: Duration) -> Told {
    let mut change = Changes {
        pid,
        file,
        by,
        shared,
        taken: TcpListener::bind("127.0.0.1:0").expect("a free port"),
        version: 0,
        asked: 0,
        mistakes: 0,
        told: Told::default(),
    };
    while !shared.flowing.load(Ordering::Acquire) {
        if shared.over.load(Ordering::Acquire) {
            return change.told;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let began = Instant::now();
    let mut next = began + EVERY / 2;
    let mut good = true;
    while next < began + time {
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
        // A change that took longer is no reason to hurry after it.
        next = Instant::now().max(next) + EVERY;
        if good {
            change.good()
        } else {
            change.bad()
        }
        good = !good;
    }
    shared.over.store(true, Ordering::Release);
    change.told
}

struct Changes<'c> {
    pid: u32,
    file: &'c Path,
    by: By,
    shared: &'c Shared,
    /// Its address cannot be had.
    taken: TcpListener,
    /// The one that holds.
    version: u32,
    asked: u32,
    mistakes: usize,
    told: Told,
}

impl Changes<'_> {
    fn good(&mut self) {
        let version = self.version + 1;
        let before = self.last().map(|last| last["at_ms"].clone());
        self.write(&file::text(version, None));
        let moved = usize::from(file::letter(version) == 'b');
        self.reload(0);
        if !self.is_told(before, true, "config ok") {
            return;
        }
        self.told.applied += 1;
        self.told.renames += u64::from(file::renames(self.version));
        self.version = version;
        self.shared.moved.store(moved, Ordering::Release);
        let until = Instant::now() + PATIENCE;
        while self.shared.heard.load(Ordering::Acquire) != moved {
            if Instant::now() > until {
                let text = format!("version {version}: the observer of /moving did not follow");
                return self.told.faults.push(text);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        self.told.followed += 1;
    }

    fn bad(&mut self) {
        let mistake = MISTAKES[self.mistakes % MISTAKES.len()];
        self.mistakes += 1;
        let before = self.last().map(|last| last["at_ms"].clone());
        let taken = self.taken.local_addr().expect("it has one");
        // All else in the file is that of the next version: nothing of it may be applied.
        self.write(&file::text(self.version + 1, Some((mistake, taken))));
        let (words, code) = mistake.told();
        self.reload(code);
        self.told.refused += u32::from(self.is_told(before, false, words));
        let letter = usize::from(file::letter(self.version) == 'b');
        if self.shared.heard.load(Ordering::Acquire) != letter {
            self.told.faults.push(format!("{mistake:?}: the bad file's rules hold"));
        }
    }

    fn write(&self, text: &str) {
        let beside = self.file.with_extension("new");
        std::fs::write(&beside, text).expect("the scratch directory takes a file");
        std::fs::rename(&beside, self.file).expect("a file can be replaced");
    }

    /// Has it reload, in one way or the other.
    fn reload(&mut self, code: i32) {
        if self.by == By::Watching {
            return;
        }
        self.asked += 1;
        // In turn, so that every mistake is asked for in both ways.
        if (self.asked / 2 + self.asked / 8).is_multiple_of(2) {
            let status = Command::new("kill").args(["-HUP", &self.pid.to_string()]).status();
            assert!(status.is_ok_and(|status| status.success()), "kill -HUP {}", self.pid);
            return;
        }
        let output = self.command("reload").output().expect("the program runs");
        if output.status.code() != Some(code) {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            let text = format!("motegate reload: {}, not {code}: {said}", output.status);
            self.told.faults.push(text);
        }
    }

    fn command(&self, word: &str) -> Command {
        let mut command = Command::new(binary());
        command.arg(word).arg("--control").arg(self.socket()).env_remove("MOTEGATE_LOG");
        command
    }

    fn socket(&self) -> PathBuf {
        let folder = self.file.parent().expect("a file is in a folder");
        folder.join("motegate-data").join("control.sock")
    }

    fn last(&self) -> Option<Value> {
        let output = self.command("status").args(["-o", "json"]).output().ok()?;
        let status: Value = serde_json::from_slice(&output.stdout).ok()?;
        status.get("last_reload").filter(|last| !last.is_null()).cloned()
    }

    /// Waits until `status` tells of a reload after `before` that ended so.
    fn is_told(&mut self, before: Option<Value>, successful: bool, words: &str) -> bool {
        let until = Instant::now() + PATIENCE;
        loop {
            let last = self.last();
            let after = last.as_ref().filter(|last| Some(&last["at_ms"]) != before.as_ref());
            if let Some(last) = after {
                let text = last["text"].as_str().unwrap_or_default();
                if last["successful"] == successful && text.contains(words) {
                    return true;
                }
                let text = format!("wanted {words:?} (successful: {successful}), is told {last}");
                self.told.faults.push(text);
                return false;
            }
            if Instant::now() > until {
                self.told.faults.push(format!("no reload within {PATIENCE:?} ({words:?})"));
                return false;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}
