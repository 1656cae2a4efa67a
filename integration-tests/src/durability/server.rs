//! [`Server`]: `motegate run` with a data directory, killed and started again, and looked at.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::gateway::{binary, scratch};

/// How long a start may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// A gateway that speaks MQTT.
#[derive(Debug)]
pub struct Server {
    /// Where.
    pub mqtt: SocketAddr,
    directory: PathBuf,
    child: Option<Child>,
}

/// What `motegate status` says of the store.
#[derive(Debug, Clone, Copy, Default)]
pub struct Stored {
    /// Batches, one a message or acknowledgement that changes something.
    pub batches: u64,
    /// Group commits.
    pub groups: u64,
    /// Records.
    pub records: u64,
    /// Median of the last syncs, in microseconds.
    pub sync_us: u64,
}

impl Server {
    /// Starts one that keeps things so durably, with room for everything.
    ///
    /// # Panics
    /// If the binary is not built or does not come up.
    #[must_use]
    pub fn start(durability: &str) -> Server {
        let directory = scratch("durability");
        let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let mqtt = free.local_addr().expect("it is bound");
        drop(free);
        let text = format!(
            "version: 1\ndurability: {durability}\ndata_dir: data\nlog: {{level: error}}\n\
             listeners:\n  - {{protocol: mqtt, bind: \"{mqtt}\", anonymous: true}}\n\
             limits: {{max_sessions: 100000, max_connections: 100000, \
             max_queued_messages: 1000000, max_queued_bytes: 1GiB}}\n"
        );
        std::fs::write(directory.join("motegate.yaml"), text).expect("it takes a file");
        let mut server = Server { mqtt, directory, child: None };
        server.live();
        server
    }

    /// Starts it again; how long until a connection was accepted.
    ///
    /// # Panics
    /// If it does not come up.
    pub fn live(&mut self) -> Duration {
        let began = Instant::now();
        let mut command = Command::new(binary());
        command.args(["run", "-c", "motegate.yaml"]).current_dir(&self.directory);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        self.child = Some(command.spawn().expect("the gateway starts"));
        while std::net::TcpStream::connect(self.mqtt).is_err() {
            assert!(began.elapsed() < PATIENCE, "the gateway does not start");
            std::thread::sleep(Duration::from_millis(1));
        }
        began.elapsed()
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// The process.
    ///
    /// # Panics
    /// If it was killed.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.as_ref().expect("it runs").id()
    }

    /// Resident memory now and at most, in bytes.
    #[must_use]
    pub fn memory(&self) -> (u64, u64) {
        resident(self.id())
    }

    /// Bytes of its data directory on the disk.
    #[must_use]
    pub fn disk(&self) -> u64 {
        blocks_below(&self.directory.join("data"))
    }

    /// What the store has done; nothing where there is none.
    #[must_use]
    pub fn stored(&self) -> Stored {
        let mut command = Command::new(binary());
        command.args(["status", "-c", "motegate.yaml", "-o", "json"]);
        let output = command.current_dir(&self.directory).output();
        let told = output.ok().and_then(|out| serde_json::from_slice::<Value>(&out.stdout).ok());
        let number =
            |name: &str| told.as_ref().and_then(|told| told["store"][name].as_u64()).unwrap_or(0);
        Stored {
            batches: number("batches"),
            groups: number("groups"),
            records: number("records"),
            sync_us: number("sync_p50_us"),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// Resident memory of a process now and at most, in bytes; 0 where it is gone.
#[must_use]
pub fn resident(process: u32) -> (u64, u64) {
    let text = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let bytes = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        let number = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        number.unwrap_or(0) * 1024
    };
    (bytes("VmRSS:"), bytes("VmHWM:"))
}

fn blocks_below(path: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    let sizes = entries.map(|entry| match entry.metadata() {
        Ok(found) if found.is_dir() => blocks_below(&entry.path()),
        Ok(found) => found.blocks() * 512,
        Err(_) => 0,
    });
    sizes.sum()
}
