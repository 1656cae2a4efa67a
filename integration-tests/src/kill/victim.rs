//! [`Victim`]: the gateway as a process that is killed and started again, and [`Shared`], what the
//! clients know of that.

use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::Fault;
use crate::gateway::{binary, scratch};
use crate::sim::rng::Rng;

/// Topic ids that are configured: id 1 is each client's own, ids 2 and 3 are for everybody.
pub(super) const OWN_ID: u16 = 1;
/// What ids 2 and 3 mean.
pub(super) const PREDEFINED: [(u16, &str); 2] = [(2, "k/slow/1"), (3, "k/slow/2")];

/// How long a start may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// What the disk that lies has not kept.
const UNSYNCED: Duration = Duration::from_millis(100);

/// What the killer tells the clients.
#[derive(Debug, Default)]
pub struct Shared {
    /// Number of the gateway's present life.
    pub life: AtomicU32,
    /// Messages flow: kills may begin.
    pub flowing: AtomicBool,
    /// No more kills.
    pub over: AtomicBool,
}

/// The gateway.
#[derive(Debug)]
pub struct Victim {
    /// Where it speaks MQTT.
    pub mqtt: SocketAddr,
    /// Where it speaks MQTT-SN.
    pub mqtt_sn: SocketAddr,
    /// Where it speaks CoAP.
    pub coap: SocketAddr,
    directory: PathBuf,
    child: Option<Child>,
    /// Where this life's part of the log begins.
    born: u64,
    fault: Option<Fault>,
    rng: Rng,
    faults: Vec<String>,
}

/// Addresses that nobody has now.
fn free_addresses() -> [SocketAddr; 3] {
    let tcp = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let udp = [0, 1].map(|_| UdpSocket::bind("127.0.0.1:0").expect("a free port"));
    let [sn, coap] = udp.each_ref().map(|socket| socket.local_addr().expect("it is bound"));
    [tcp.local_addr().expect("it is bound"), sn, coap]
}

fn configuration([mqtt, sn, coap]: [SocketAddr; 3], durability: &str) -> String {
    let ids = PREDEFINED.map(|(id, topic)| format!("{id}: \"{topic}\"")).join(", ");
    format!(
        "version: 1\ndurability: {durability}\ndata_dir: data\nlisteners:\n\
         \x20 - {{protocol: mqtt, bind: \"{mqtt}\", anonymous: true}}\n\
         \x20 - {{protocol: mqttsn, bind: \"{sn}\", anonymous: true}}\n\
         \x20 - {{protocol: coap, bind: \"{coap}\", anonymous: true}}\n\
         limits: {{max_queued_messages: 1000000, max_queued_bytes: 256MiB}}\n\
         mqtt: {{receive_maximum: 64}}\n\
         mqttsn: {{retry_timeout: 1s, max_retries: 10, \
         when_asleep: {{max_messages: 100000, max_bytes: 64MiB}}}}\n\
         mappings: {{mqttsn: {{topic_ids: {{all: {{{OWN_ID}: \"k/sn/{{client}}\", {ids}}}}}}}}}\n"
    )
}

impl Victim {
    /// Its first life.
    ///
    /// # Panics
    /// If the binary is not built.
    #[must_use]
    pub fn start(durability: &str, fault: Option<Fault>, seed: u64) -> Victim {
        let directory = scratch("kill");
        let durability = if fault == Some(Fault::Forget) { "none" } else { durability };
        let addresses = free_addresses();
        let [mqtt, mqtt_sn, coap] = addresses;
        let text = configuration(addresses, durability);
        fs::write(directory.join("motegate.yaml"), text).expect("the directory takes a file");
        let (rng, faults) = (Rng::new(seed), Vec::new());
        let mut victim =
            Victim { mqtt, mqtt_sn, coap, directory, child: None, born: 0, fault, rng, faults };
        victim.live();
        victim
    }

    fn log(&self) -> PathBuf {
        self.directory.join("gateway.log")
    }

    fn live(&mut self) {
        let mut log = File::options().create(true).append(true).open(self.log()).expect("a log");
        let _ = writeln!(log, "---- a life begins");
        self.born = log.metadata().map_or(0, |metadata| metadata.len());
        let mut command = Command::new(binary());
        command.args(["run", "-c", "motegate.yaml"]).current_dir(&self.directory);
        let errors = log.try_clone().expect("a file can be had twice");
        command.stdin(Stdio::null()).stdout(log).stderr(errors);
        self.child = Some(command.spawn().expect("the gateway starts"));
    }

    /// Lets it live: one life in five ends while it starts, most soon after they serve.
    fn let_live(&mut self, shared: &Shared) {
        let micros = match self.rng.below(100) {
            0..20 => {
                let micros = self.rng.range(300, 60_000);
                return std::thread::sleep(Duration::from_micros(micros));
            }
            20..40 => self.rng.range(0, 20_000),
            40..93 => self.rng.range(20_000, 300_000),
            _ => self.rng.range(300_000, 1_500_000),
        };
        let began = Instant::now();
        while !self.is_ready() && !shared.over.load(Ordering::Acquire) {
            if began.elapsed() > PATIENCE {
                return self.faults.push("the gateway does not start".into());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_micros(micros));
    }

    /// Whether this life's log says so.
    fn is_ready(&self) -> bool {
        let Ok(mut log) = File::open(self.log()) else { return false };
        let mut text = String::new();
        let read = log.seek(SeekFrom::Start(self.born)).and_then(|_| log.read_to_string(&mut text));
        read.is_ok() && text.contains("\"message\":\"ready\"")
    }

    /// Kills it so often. Gives what it did wrong by itself.
    #[must_use]
    pub fn kill(mut self, kills: u32, shared: &Shared) -> Victim {
        while !shared.flowing.load(Ordering::Acquire) && !shared.over.load(Ordering::Acquire) {
            std::thread::sleep(Duration::from_millis(2));
        }
        for _ in 0..kills {
            if shared.over.load(Ordering::Acquire) || self.faults.len() > 5 {
                break;
            }
            self.let_live(shared);
            let rollback = self.fault == Some(Fault::Rollback) && self.rng.chance(200);
            if rollback {
                self.copy("data", "kept");
                std::thread::sleep(UNSYNCED);
            }
            self.end();
            if rollback {
                self.copy("kept", "data");
            }
            shared.life.fetch_add(1, Ordering::AcqRel);
            if self.rng.chance(300) {
                std::thread::sleep(Duration::from_micros(self.rng.below(50_000)));
            }
            self.live();
        }
        shared.over.store(true, Ordering::Release);
        self
    }

    fn end(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        match child.try_wait() {
            Ok(None) => {}
            other => self.faults.push(format!("the gateway ended by itself: {other:?}")),
        }
        // SIGKILL; it may just have ended by itself.
        let _ = child.kill();
        let _ = child.wait();
    }

    fn copy(&mut self, from: &str, to: &str) {
        let [from, to] = [from, to].map(|name| self.directory.join(name));
        let _ = fs::remove_dir_all(&to);
        copy_below(&from, &to);
    }

    /// Lives that came so far that they served, and those that found a torn write.
    #[must_use]
    pub fn lives(&self) -> (usize, usize) {
        let log = fs::read_to_string(self.log()).unwrap_or_default();
        let with = |word: &str| log.lines().filter(|line| line.contains(word)).count();
        (with("\"message\":\"ready\""), with("an unfinished write at the end"))
    }

    /// Ends the last life; everything that it did wrong, and what its log says of the store.
    #[must_use]
    pub fn verdict(mut self) -> Vec<String> {
        self.end();
        let log = fs::read(self.log()).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let mut told: Vec<String> =
            log.lines().filter(|line| is_bad(line)).map(|line| format!("log: {line}")).collect();
        told.truncate(10);
        let mut faults = std::mem::take(&mut self.faults);
        faults.append(&mut told);
        if !faults.is_empty() {
            let kept = std::env::temp_dir().join("motegate-kill-last.log");
            if fs::copy(self.log(), &kept).is_ok() {
                faults.push(format!("its whole log: {}", kept.display()));
            }
        }
        faults
    }
}

/// Whether a line of the log says that something has gone wrong.
fn is_bad(line: &str) -> bool {
    // A kill in the midst of a write; requests that are repeated while they are answered.
    let expected = [
        "an unfinished write at the end",
        "\"reason\":\"coap_dedup\"",
        "\"reason\":\"sn_not_connected\"",
    ];
    let words = ["\"level\":\"ERROR\"", "\"level\":\"WARN\"", "panicked", "error: "];
    words.iter().any(|word| line.contains(word)) && !expected.iter().any(|word| line.contains(word))
}

/// Copies files as they are now; one that is written or goes meanwhile is taken as it is.
fn copy_below(from: &Path, to: &Path) {
    let _ = fs::create_dir_all(to);
    for entry in fs::read_dir(from).into_iter().flatten().flatten() {
        let target = to.join(entry.file_name());
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => copy_below(&entry.path(), &target),
            Ok(kind) if kind.is_file() => drop(fs::copy(entry.path(), target)),
            _ => {}
        }
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        self.end();
        let _ = fs::remove_dir_all(&self.directory);
    }
}
